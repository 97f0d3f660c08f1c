/* What the body reader finds, for a differential test: reads (path length, path, body length, body) again and again
 * from stdin, lengths as 4 bytes little-endian, and prints one line of JSON for each. Text is in hexadecimal.
 *
 * Every body is read whole and in pieces of changing size; "split" says whether both agree. "edite"
     "d" is the body with the
 * edits of a rewrite to "rewritten" applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/request.h>

#include "model/request.h"

#define MOST_TOKENS 65536u
#define MOST_PROMPTS 4096u
#define MOST_EDITS 1024u

static const llmd_request_options options = {.size = sizeof options, .max_edits = MOST_EDITS, .max_pieces = 65536,
                                             .max_segments = 16384, .text_bytes = 262144};

typedef struct job {
  char *path, *body;
  uint32_t path_len, body_len;
} job;

static uint32_t tokens[MOST_TOKENS], prompt_end[MOST_PROMPTS];

static void die(const char *what)
{
  fprintf(stderr, "body_dump: %s\n", what);
  exit(2);
}

static int read_block(char **out, uint32_t *len)
{
  unsigned char head[4];
  if (fread(head, 1, 4, stdin) != 4)
    return 0;
  *len = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
  *out = malloc((size_t)*len + 1);
  if (!*out || fread(*out, 1, *len, stdin) != *len)
    die("the input ends within a block");
  return 1;
}

static llmd_request *make(void)
{
  llmd_request *r = NULL;
  size_t size = llmd_request_size(&options);
  void *mem = malloc(size);
  if (!mem || llmd_request_init(mem, size, &options, &r))
    die("no request");
  return r;
}

static void start(llmd_request *r, const job *j)
{
  llmd_request_reset(r);
  if (llmd_request_line(r, "POST", 4, j->path, j->path_len))
    die("the path was refused");
}

static void feed_whole(llmd_request *r, const job *j)
{
  start(r, j);
  llmd_request_feed(r, j->body, j->body_len, LLMD_FEED_FINAL);
}

/* Each piece in memory of its own, so that nothing adjoins and nothing can be read beyond. */
static void feed_split(llmd_request *r, const job *j, char **pieces)
{
  uint32_t at = 0, n = 0;
  start(r, j);
  while (at < j->body_len) {
    uint32_t take = 1 + (at * 7 + j->body_len) % 19;
    take = take < j->body_len - at ? take : j->body_len - at;
    pieces[n] = malloc(take);
    if (!pieces[n])
      die("no memory");
    memcpy(pieces[n], j->body + at, take);
    llmd_request_feed(r, pieces[n++], take, LLMD_FEED_KEEP);
    at += take;
  }
  llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL);
  pieces[n] = NULL;
}

static void print_hex(const char *name, const void *p, size_t n)
{
  printf(", \"%s\": \"", name);
  for (size_t i = 0; i < n; i++)
    printf("%02x", ((const unsigned char *)p)[i]);
  printf("\"");
}

static void print_text(const char *name, llmd_str s)
{
  if (s.ptr)
    print_hex(name, s.ptr, s.len);
}

static int same_text(llmd_str a, llmd_str b)
{
  return (a.ptr == NULL) == (b.ptr == NULL) && a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static uint64_t token_hash(const llmd_request *r)
{
  uint32_t prompts = 0;
  uint64_t h = 0;
  int cut = 0;
  if (llmd__request_tokens(r, tokens, MOST_TOKENS, prompt_end, MOST_PROMPTS, &prompts, &cut) < 0)
    return 1;
  for (uint32_t i = 0; i < prompts; i++)
    h = (h ^ prompt_end[i]) * UINT64_C(0x9fb21c651e98df25);
  for (uint32_t i = 0; prompts && i < prompt_end[prompts - 1]; i++)
    h = (h ^ tokens[i]) * UINT64_C(0x9fb21c651e98df25);
  return h;
}

static int same(const llmd_request *a, const llmd_request *b)
{
  llmd_request_info x = {.size = sizeof x}, y = {.size = sizeof y};
  llmd_edit ea[MOST_EDITS], eb[MOST_EDITS];
  llmd_request_get(a, &x);
  llmd_request_get(b, &y);
  int n = llmd_request_edits(a, ea, MOST_EDITS);
  if (n != llmd_request_edits(b, eb, MOST_EDITS))
    return 0;
  for (int i = 0; i < n; i++)
    if (ea[i].offset != eb[i].offset || ea[i].removed != eb[i].removed)
      return 0;
  return x.error == y.error && x.error_offset == y.error_offset && x.flags == y.flags && x.body_bytes == y.body_bytes &&
         same_text(x.model, y.model) && same_text(x.cache_salt, y.cache_salt) && same_text(x.lora, y.lora) &&
         x.max_tokens == y.max_tokens && x.priority == y.priority && x.prompts == y.prompts &&
         x.segments == y.segments &&
         x.prompt_bytes == y.prompt_bytes && x.token_ids == y.token_ids && token_hash(a) == token_hash(b);
}

static void print_segments(const llmd_request *r, const job *j, uint32_t n)
{
  printf(", \"segments\": [");
  for (uint32_t i = 0; i < n; i++) {
    llmd_segment s = {.size = sizeof s};
    if (llmd_request_segment(r, i, &s))
      die("a segment is missing");
    printf("%s{\"kind\": %u, \"prompt\": %u, \"escaped\": %u", i ? ", " : "", s.kind, s.prompt, s.escaped);
    print_hex("raw", j->body + s.offset, s.bytes);
    printf("}");
  }
  printf("]");
}

static void print_tokens(const llmd_request *r)
{
  uint32_t prompts = 0;
  int cut = 0, kind = llmd__request_tokens(r, tokens, MOST_TOKENS, prompt_end, MOST_PROMPTS, &prompts, &cut);
  printf(", \"tokens_kind\": %d, \"cut\": %d, \"count\": %llu", kind, cut,
         (unsigned long long)llmd__request_token_count(r));
  printf(", \"ends\": [");
  for (uint32_t i = 0; i < prompts; i++)
    printf("%s%u", i ? ", " : "", prompt_end[i]);
  printf("]");
  if (prompts)
    print_hex("tokens", tokens, prompt_end[prompts - 1] * sizeof *tokens);
}

static void print_edited(const llmd_request *r, const job *j)
{
  llmd_edit e[MOST_EDITS];
  int n = llmd_request_edits(r, e, MOST_EDITS);
  uint64_t at = 0;
  if (n < 0 || (unsigned)n > MOST_EDITS)
    return;
  printf(", \"edited\": \"");
  for (int i = 0; i <= n; i++) {
    uint64_t stop = i < n ? e[i].offset : j->body_len;
    if (stop < at)
      die("edits overlap");
    for (; at < stop; at++)
      printf("%02x", (unsigned char)j->body[at]);
    for (size_t k = 0; i < n && k < e[i].text.len; k++)
      printf("%02x", (unsigned char)e[i].text.ptr[k]);
    at += i < n ? e[i].removed : 0;
  }
  printf("\"");
}

static void dump(llmd_request *whole, llmd_request *split, const job *j)
{
  llmd_request_info info = {.size = sizeof info};
  char **pieces = malloc(((size_t)j->body_len + 1) * sizeof *pieces);
  if (!pieces)
    die("no memory");
  feed_whole(whole, j);
  feed_split(split, j, pieces);
  llmd_request_set_model(whole, "rewritten", 9);
  llmd_request_set_model(split, "rewritten", 9);
  llmd_request_get(whole, &info);
  printf("{\"error\": \"%s\", \"offset\": %llu, \"dialect\": %u, \"flags\": %u, \"split\": %d",
      llmd_errname(info.error),
         (unsigned long long)info.error_offset, info.dialect, info.flags, same(whole, split));
  print_text("model", info.model);
  print_text("salt", info.cache_salt);
  print_text("lora", info.lora);
  printf(", \"max_tokens\": %lld, \"priority\": %lld, \"prompts\": %u", (long long)info.max_tokens,
         (long long)info.priority, info.prompts);
  if (info.error == 0) {
    print_segments(whole, j, info.segments);
    print_tokens(whole);
    print_edited(whole, j);
  }
  printf("}\n");
  for (char **p = pieces; *p; p++)
    free(*p);
  free(pieces);
}

int main(void)
{
  llmd_request *whole = make(), *split = make();
  job j;
  while (read_block(&j.path, &j.path_len)) {
    if (!read_block(&j.body, &j.body_len))
      die("a path without a body");
    dump(whole, split, &j);
    free(j.path);
    free(j.body);
  }
  free(whole);
  free(split);
  return 0;
}
