/* Messages from a hostile engine. The first byte says how the rest is cut into frames (its low bits; 0: all of it is one
 * payload) and which limits hold; frames that are a message have their payload read as well. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>
#include <llmd/events.h>

#include "base/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
  if (!holds)
    abort();
}

struct payload {
  const char *at;
  size_t len;
  const llmd_event_limits *limits;
  uint32_t seen;
  uint32_t last; /* offset of the event before */
};

static void must_lie_in(const struct payload *p, llmd_str s)
{
  must(s.len == 0 || (s.ptr >= p->at && s.ptr + s.len <= p->at + p->len));
}

static void check_lists(const struct payload *p, const llmd_event *e)
{
  const llmd_event_limits *l = p->limits;
  must(e->n_names <= l->names && e->n_tokens <= l->tokens && e->n_extra <= l->extras);
  must(e->n_tokens == 0 || e->block_size > 0);
  for (uint32_t i = 0; i < e->n_tokens; i++)
    must(e->token[i] <= 0x7fffffff);
  for (uint32_t i = 0; i < e->n_names && e->digest; i++) {
    must(e->digest[i].len > 0);
    must_lie_in(p, e->digest[i]);
  }
  for (uint32_t i = 0; i < e->n_extra; i++) {
    must(i == 0 || e->extra[i].block >= e->extra[i - 1].block);
    must_lie_in(p, e->extra[i].text);
  }
  must(!e->n_names || e->name_form == (e->digest ? LLMD_NAME_DIGEST : LLMD_NAME_INT));
}

static int check_event(void *ud, const llmd_batch_head *head, const llmd_event *e)
{
  struct payload *p = ud;
  must(p->seen++ < head->n && head->rank >= -1);
  must(e->kind >= LLMD_EVENT_STORED && e->kind <= LLMD_EVENT_BAD);
  must(e->offset < p->len && (e->kind == LLMD_EVENT_BAD) == (e->code < 0));
  must(e->kind == LLMD_EVENT_BAD || e->offset >= p->last);
  p->last = e->offset;
  must_lie_in(p, e->type);
  if (e->kind != LLMD_EVENT_STORED && e->kind != LLMD_EVENT_REMOVED)
    return 0;
  must(e->tier <= LLMD_TIER_REMOTE && e->attention <= LLMD_ATTENTION_OTHER);
  must_lie_in(p, e->lora);
  must_lie_in(p, e->medium);
  must_lie_in(p, e->locality);
  must_lie_in(p, e->ownership);
  must_lie_in(p, e->session);
  must_lie_in(p, e->salt);
  must_lie_in(p, e->parent_digest);
  check_lists(p, e);
  return 0;
}

/* The payload and the buffer lie in blocks of exactly their size. */
static void read_payload(const void *bytes, size_t len, const llmd_event_limits *limits)
{
  char *payload = malloc(len ? len : 1);
  void *buffer = malloc(llmd_events_buffer(limits));
  struct payload p = {payload, len, limits, 0, 0};
  uint32_t offset = UINT32_MAX;
  llmd__msgpack whole;
  int rc, broken;
  must(payload && buffer);
  memcpy(payload, bytes, len);
  rc = llmd_events_decode(payload, len, limits, buffer, check_event, &p, &offset);
  must(rc >= 0 ? (uint32_t)rc == p.seen : p.seen == 0 && offset <= len);
  llmd__msgpack_init(&whole, payload, len);
  broken = llmd__msgpack_skip(&whole) || whole.at != whole.end;
  must(!broken || rc < 0);
  must(broken || (rc != LLMD_E_TRUNCATED && rc != LLMD_E_SYNTAX));
  free(payload);
  free(buffer);
}

/* Each frame begins with its length. */
static uint32_t cut(const uint8_t *data, size_t size, llmd_str *frame, uint32_t most)
{
  uint32_t n = 0;
  while (n < most && size > 0) {
    size_t len = data[0];
    data++;
    size--;
    if (len > size || n + 1 == most)
      len = size;
    frame[n].ptr = (const char *)data;
    frame[n++].len = len;
    data += len;
    size -= len;
  }
  return n;
}

static void read_frames(uint32_t what, const llmd_str *frame, uint32_t n, const llmd_event_limits *limits)
{
  llmd_frames f = {.size = sizeof f, .seq = 77};
  const int rc = llmd_frames_read(what, frame, n, &f);
  must(rc == 0 || (rc == LLMD_E_SYNTAX && f.seq == 77));
  if (rc)
    return;
  must(n >= 3 && f.end == (f.seq == UINT64_MAX) && f.payload.ptr == frame[n - 1].ptr);
  must(!f.has_topic || f.topic.ptr == frame[n - 3].ptr);
  read_payload(f.payload.ptr, f.payload.len, limits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const llmd_event_limits wide = {sizeof wide, 1u << 20, 4096, 262144, 4096, 8};
  static const llmd_event_limits tight = {sizeof tight, 1u << 20, 3, 20, 2, 2};
  const llmd_event_limits *limits;
  llmd_str frame[7];
  uint32_t n;
  if (size == 0)
    return 0;
  limits = data[0] & 8 ? &tight : &wide;
  n = data[0] & 7;
  if (n == 0) {
    read_payload(data + 1, size - 1, limits);
    return 0;
  }
  n = cut(data + 1, size - 1, frame, n);
  read_frames(LLMD_FRAMES_LIVE, frame, n, limits);
  read_frames(LLMD_FRAMES_REPLAY, frame, n, limits);
  return 0;
}
