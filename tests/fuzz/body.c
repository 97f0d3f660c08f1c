/* Request bodies from a hostile client. The first byte chooses the path, the second how the body is cut into pieces and
 * which caps hold; the rest is the body.
 *
 * Whatever the bytes: no crash, and
 *  - whole, in pieces, byte by byte and copied, the same is found, the same edits, the same error at the same place;
 *  - what is found lies within the body, and as many tokens are written as were counted;
 *  - before the place of an error the body is a valid beginning: cut off there, it is read without one;
 *  - with its edits applied, an accepted body is accepted, has the model that was set, asks for usage if it was
     to, has nothing left to edit, and means
 *    the same prompt. */
#include <llmd/request.h>

#include "model/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 16384u
#define NEW_MODEL "rewritten"

static const char *const paths[] = {"/v1/chat/completions", "/v1/completions",       "/v1/responses",
                                    "/v1/embeddings",       "/v1/messages",          "/inference/v1/generate",
                                    "/generate",            "/v1/images/generations", "/v1/models"};

static const llmd_request_options wide = {.size = sizeof wide, .copy_bytes = MOST, .max_pieces = MOST,
    .max_edits = 4096,
                                          .text_bytes = 4 * MOST, .max_segments = MOST, .max_keys = MOST,
                                          .max_tokens = MOST};
static const llmd_request_options narrow = {.size = sizeof narrow, .copy_bytes = MOST, .max_pieces = MOST,
    .max_edits = 2,
                                            .text_bytes = 64, .max_segments = 5, .max_keys = 12, .max_tokens = 9,
                                            .max_body = 900};

typedef struct input {
  const char *path, *body;
  size_t len;
  uint32_t flags; /* of the last feed */
} input;

static void require(int holds, const char *what)
{
  if (holds)
    return;
  fprintf(stderr, "body fuzz target: %s\n", what);
  abort();
}

static void *get(size_t n)
{
  void *p = malloc(n ? n : 1);
  require(p != NULL, "no memory");
  return p;
}

/* Requests are made once, since most of a run would go into that: slot 0..2, wide or narrow. */
static llmd_request *make(const llmd_request_options *o, unsigned slot)
{
  static llmd_request *made[2][3];
  llmd_request **r = &made[o == &narrow][slot];
  size_t n = llmd_request_size(o);
  if (*r)
    llmd_request_reset(*r);
  else
    require(llmd_request_init(get(n), n, o, r) == 0, "init");
  return *r;
}

static void begin(llmd_request *r, const input *in)
{
  require(llmd_request_line(r, "POST", 4, in->path, strlen(in->path)) == 0, "line");
}

/* In pieces of 1 .. most bytes, each in a block of its own. Returns the blocks, NULL at the end. */
static char **feed(llmd_request *r, const input *in, size_t most, uint32_t how)
{
  char **blocks = get((in->len + 1) * sizeof *blocks);
  size_t n = 0, at = 0;
  begin(r, in);
  while (at < in->len) {
    size_t take = most == 1 ? 1 : 1 + (at * 31 + in->len) % most;
    take = take < in->len - at ? take : in->len - at;
    blocks[n] = get(take);
    memcpy(blocks[n], in->body + at, take);
    llmd_request_feed(r, blocks[n], take, how);
    if (how & LLMD_FEED_COPY)
      memset(blocks[n], '!', take);
    n++;
    at += take;
  }
  blocks[n] = NULL;
  llmd_request_feed(r, NULL, 0, in->flags);
  return blocks;
}

static void release(char **blocks)
{
  for (char **b = blocks; *b; b++)
    free(*b);
  free(blocks);
}

static int same_text(llmd_str a, llmd_str b)
{
  return !a.ptr == !b.ptr && a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void require_same_prompt(const llmd_request *a, const llmd_request *b)
{
  static uint32_t ta[MOST], tb[MOST], ea[64], eb[64];
  uint32_t na = 0, nb = 0;
  int ca = 0, cb = 0;
  int rc = llmd__request_tokens(a, ta, MOST, ea, 64, &na, &ca);
  require(rc == llmd__request_tokens(b, tb, MOST, eb, 64, &nb, &cb), "another kind of tokens");
  require(llmd__request_token_count(a) == llmd__request_token_count(b), "another count of tokens");
  require(na == nb && ca == cb && memcmp(ea, eb, na * sizeof *ea) == 0, "other prompts");
  require(na == 0 || memcmp(ta, tb, ea[na - 1] * sizeof *ta) == 0, "other tokens");
  require(ca || (na ? ea[na - 1] : 0) == llmd__request_token_count(a), "counted and written tokens differ");
}

static void require_same_fields(const llmd_request_info *x, const llmd_request_info *y)
{
  require(same_text(x->cache_salt, y->cache_salt) && same_text(x->lora, y->lora), "another salt or adapter");
  require(x->max_tokens == y->max_tokens && x->priority == y->priority && x->flags == y->flags,
      "other limits or flags");
  require(x->prompts == y->prompts && x->segments == y->segments && x->token_ids == y->token_ids &&
          x->prompt_bytes == y->prompt_bytes, "another prompt");
}

static void require_same(const llmd_request *a, const llmd_request *b)
{
  llmd_request_info x = {.size = sizeof x}, y = {.size = sizeof y};
  static llmd_edit ea[4096], eb[4096];
  llmd_request_get(a, &x);
  llmd_request_get(b, &y);
  require(x.error == y.error && x.error_offset == y.error_offset && x.body_bytes == y.body_bytes, "another error");
  require(same_text(x.model, y.model), "another model");
  require_same_fields(&x, &y);
  int n = llmd_request_edits(a, ea, 4096);
  require(n == llmd_request_edits(b, eb, 4096), "another number of edits");
  for (int i = 0; i < n; i++)
    require(ea[i].offset == eb[i].offset && ea[i].removed == eb[i].removed && same_text(ea[i].text, eb[i].text),
        "other edits");
  for (uint32_t i = 0; i < x.segments; i++) {
    llmd_segment s = {.size = sizeof s}, t = {.size = sizeof t};
    require(llmd_request_segment(a, i, &s) == 0 && llmd_request_segment(b, i, &t) == 0, "a segment is missing");
    require(memcmp(&s, &t, sizeof s) == 0, "another segment");
    require(s.offset <= x.body_bytes && s.bytes <= x.body_bytes - s.offset, "a segment outside of the body");
  }
  require_same_prompt(a, b);
}

/* The body with its edits applied. */
static char *apply(const llmd_request *r, const input *in, size_t *len)
{
  static llmd_edit e[4096];
  int n = llmd_request_edits(r, e, 4096);
  require(n >= 0 && n <= 4096, "edits of an accepted body");
  char *out = get(in->len + ((size_t)n + 1) * 64);
  size_t at = 0, to = 0;
  for (int i = 0; i <= n; i++) {
    size_t stop = i < n ? (size_t)e[i].offset : in->len;
    require(stop >= at && stop <= in->len, "edits overlap or are not in order");
    memcpy(out + to, in->body + at, stop - at);
    to += stop - at;
    at = stop;
    if (i < n && e[i].text.len)
      memcpy(out + to, e[i].text.ptr, e[i].text.len);
    to += i < n ? e[i].text.len : 0;
    at += i < n ? (size_t)e[i].removed : 0;
  }
  *len = to;
  return out;
}

static void check_edits(llmd_request *r, const input *in)
{
  llmd_request_info before = {.size = sizeof before}, after = {.size = sizeof after};
  input again = *in;
  llmd_edit e;
  llmd_request_set_model(r, NEW_MODEL, sizeof NEW_MODEL - 1);
  llmd_request_ask_usage(r);
  char *body = apply(r, in, &again.len);
  again.body = body;
  llmd_request *second = make(&wide, 1);
  begin(second, &again);
  require(llmd_request_feed(second, again.body, again.len, again.flags) == 0, "an edited body is refused");
  llmd_request_set_model(second, NEW_MODEL, sizeof NEW_MODEL - 1);
  require(llmd_request_ask_usage(second) == 0, "an edited body does not ask for usage");
  llmd_request_get(r, &before);
  llmd_request_get(second, &after);
  require(llmd_request_edits(second, &e, 1) == 0 || !after.model.ptr, "an edited body needs edits");
  require(!after.model.ptr || same_text(after.model, (llmd_str){NEW_MODEL, sizeof NEW_MODEL - 1}),
      "the model was not set");
  require_same_fields(&before, &after);
  require_same_prompt(r, second);
  free(body);
}

static void check_beginning(const input *in, uint64_t len)
{
  input cut = *in;
  cut.len = (size_t)len;
  cut.flags = LLMD_FEED_FINAL | LLMD_FEED_TRUNCATED;
  llmd_request *a = make(&wide, 1), *b = make(&wide, 2);
  begin(a, &cut);
  require(llmd_request_feed(a, cut.body, cut.len, cut.flags) == 0, "a valid beginning is refused");
  char **blocks = feed(b, &cut, 5, LLMD_FEED_KEEP);
  require_same(a, b);
  release(blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < 2 || size > MOST)
    return 0;
  /* a block of its own: reading beyond either end is seen */
  char *body = get(size - 2);
  memcpy(body, data + 2, size - 2);
  input in = {paths[data[0] % 9], body, size - 2, LLMD_FEED_FINAL};
  if (data[0] & 0x80)
    in.flags |= LLMD_FEED_TRUNCATED;
  const llmd_request_options *options = data[1] & 0x80 ? &narrow : &wide;
  llmd_request *whole = make(options, 0), *pieces = make(options, 1), *bytes = make(options, 2);
  llmd_request_info info = {.size = sizeof info};
  begin(whole, &in);
  llmd_request_feed(whole, in.body, in.len, in.flags);
  char **a = feed(pieces, &in, 2 + data[1] % 64, LLMD_FEED_KEEP);
  char **b = feed(bytes, &in, 1, LLMD_FEED_COPY);
  require_same(whole, pieces);
  require_same(whole, bytes);
  llmd_request_get(whole, &info);
  require(info.error <= 0 && info.error_offset <= in.len, "an error outside of the body");
  release(a);
  release(b);
  if (info.error && info.error != LLMD_E_LIMIT)
    check_beginning(&in, info.error_offset);
  if (info.error == 0 && info.dialect != LLMD_DIALECT_PASSTHROUGH) {
    check_beginning(&in, in.len ? (data[1] * 37u) % in.len : 0);
    if (!(in.flags & LLMD_FEED_TRUNCATED) && options == &wide)
      check_edits(whole, &in);
  }
  free(body);
  return 0;
}
