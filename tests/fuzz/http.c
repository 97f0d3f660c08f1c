/* HTTP messages from hostile clients and engines. The first byte says requests or answers (bit 0), an answer to HEAD (bit
 * 1), and how the rest is cut (the others); the rest is one message behind the other. Whole or cut, the outcome is the
 * same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "uv/http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
  if (!holds)
    abort();
}

/* A running sum over everything that was seen. */
typedef struct outcome {
  uint64_t sum;
  uint64_t body;
  size_t used;
  int rc;
  uint32_t status;
} outcome;

static void mix(outcome *o, const void *p, size_t len)
{
  const uint8_t *byte = p;
  for (size_t i = 0; i < len; i++)
    o->sum = (o->sum ^ byte[i]) * 0x100000001b3u;
  o->sum = (o->sum ^ len) * 0x100000001b3u;
}

static void check_span(const llmd__http_reader *r, llmd_str s, uint8_t which)
{
  must(s.len == 0 || s.ptr != NULL);
  must(s.len == 0 || (s.ptr >= r->block && s.ptr + s.len <= r->block + r->head_len));
  for (size_t i = 0; i < s.len; i++)
    must((llmd__http_bytes[(uint8_t)s.ptr[i]] & which) != 0);
}

/* What leaves the reader cannot split or smuggle. */
static void check_head(const llmd__http_reader *r, outcome *o)
{
  const llmd__http_head *h = &r->head;
  uint32_t framers = 0, hosts = 0;
  must(h->minor <= 1 && h->framing <= LLMD__HTTP_CLOSE && h->n_headers <= r->limits->max_headers);
  for (uint32_t i = 0; i < h->n_headers; i++) {
    llmd_str name = h->header[i].name;
    must(name.len != 0);
    check_span(r, name, LLMD__HTTP_TOKEN);
    check_span(r, h->header[i].value, LLMD__HTTP_VALUE);
    framers += (uint32_t)(llmd__http_is(name, "content-length") + llmd__http_is(name, "transfer-encoding"));
    hosts += (uint32_t)llmd__http_is(name, "host");
    mix(o, name.ptr, name.len);
    mix(o, h->header[i].value.ptr, h->header[i].value.len);
  }
  must(framers <= 1);
  check_span(r, h->reason, LLMD__HTTP_VALUE);
  if (r->kind == LLMD__HTTP_REQUEST) {
    check_span(r, h->method, LLMD__HTTP_TOKEN);
    must(hosts == 1 || (hosts == 0 && h->minor == 0));
    must(h->target.len != 0 && (h->target.ptr[0] == '/' || (h->target.ptr[0] == '*' && h->target.len == 1)));
    must(h->framing != LLMD__HTTP_CLOSE && (framers == 1) == (h->framing != LLMD__HTTP_NONE));
    for (size_t i = 0; i < h->target.len; i++)
      must((llmd__http_bytes[(uint8_t)h->target.ptr[i]] & LLMD__HTTP_TARGET) != 0);
    mix(o, h->target.ptr, h->target.len);
  }
  mix(o, &h->framing, sizeof h->framing);
  mix(o, &h->length, sizeof h->length);
}

/* Reads messages from one piece. Its bytes lie in a block of their own. */
static void feed(llmd__http_reader *r, const uint8_t *data, size_t len, outcome *o)
{
  char *copy = malloc(len + 1);
  size_t at = 0;
  must(copy != NULL);
  memcpy(copy, data, len);
  do {
    size_t used = 0;
    llmd_str piece = { NULL, 0 };
    o->rc = llmd__http_feed(r, copy + at, len - at, &used, &piece);
    must(used <= len - at);
    at += used;
    if (o->rc == LLMD__HTTP_HEAD) {
      check_head(r, o);
    } else if (o->rc == LLMD__HTTP_BODY) {
      must(piece.len != 0 && piece.ptr >= copy && piece.ptr + piece.len <= copy + at);
      for (size_t i = 0; i < piece.len; i++)
        o->body = (o->body ^ (uint8_t)piece.ptr[i]) * 0x100000001b3u;
    } else if (o->rc == LLMD__HTTP_END) {
      mix(o, &o->body, sizeof o->body);
      o->used++;
      llmd__http_next(r);
    } else if (o->rc < 0) {
      must(r->text != NULL && r->status >= 400 && r->status <= 505);
      o->status = r->status;
      mix(o, r->text, strlen(r->text));
    }
  } while (o->rc > 0);
  must(o->rc < 0 || at == len);
  free(copy);
}

static outcome read_all(const uint8_t *data, size_t size, uint8_t how, uint32_t cut)
{
  llmd__http_limits limits = { .max_head = 2048, .max_headers = 16, .max_body = 65536 };
  llmd__http_reader r;
  outcome o = { .sum = 1 };
  llmd__alloc_init(&limits.alloc, NULL);
  llmd__http_reader_init(&r, (how & 1) != 0 ? LLMD__HTTP_ANSWER : LLMD__HTTP_REQUEST, &limits);
  if ((how & 2) != 0)
    llmd__http_answers_head(&r);
  for (size_t at = 0; at < size && o.rc >= 0;) {
    size_t n = cut == 0 ? size : 1 + cut % 61;
    cut = cut * 1664525u + 1013904223u;
    n = n < size - at ? n : size - at;
    feed(&r, data + at, n, &o);
    at += n;
  }
  if (o.rc >= 0) {
    int rc = llmd__http_finish(&r);
    mix(&o, &rc, sizeof rc);
  }
  llmd__http_reader_free(&r);
  return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  outcome whole = read_all(data + 1, size - 1, data[0], 0);
  outcome pieces = read_all(data + 1, size - 1, data[0], 1u + data[0]);
  must(whole.rc == pieces.rc && whole.status == pieces.status && whole.used == pieces.used);
  must(whole.sum == pieces.sum);
  return 0;
}
