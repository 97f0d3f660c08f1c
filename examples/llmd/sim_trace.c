/* Loads traces of real traffic. One line, one request; whatever is wrong with a line is said with its number. */
#include "sim_workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "sim_rng.h"
#include "sim_text.h"

#define FILE_MAX ((size_t)1 << 30)
#define MOST_REQUESTS ((uint32_t)1 << 24)
#define MOST_TOKENS ((double)(1u << 24))
#define MOST_MS 1e12
#define LAST_GAP 3.0 /* seconds after the last stamp: Mooncake's grid */

void sim_trace_default(struct sim_trace *t)
{
  static const struct sim_trace mooncake = {.block_size = 512, .speed = 1, .limit = 0, .seed = 1};
  *t = mooncake;
}

struct loader {
  struct sim_workload w;
  const struct sim_trace *trace;
  const char *path;
  llmd_err *err;
  uint32_t line;
  size_t block_room;
  uint32_t request_room;
};

#define FAIL(l, code, ...) sim_fail((l)->err, code, (l)->path, (l)->line, __VA_ARGS__)

static int whole_number(struct loader *l, const cJSON *item, const char *name, double least, double most, double *out)
{
  if (!item)
    return FAIL(l, LLMD_E_MISSING, "%s is missing", name);
  if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble))
    return FAIL(l, LLMD_E_TYPE, "%s must be a whole number", name);
  if (!(item->valuedouble >= least && item->valuedouble <= most))
    return FAIL(l, LLMD_E_RANGE, "%s must be between %.0f and %.0f", name, least, most);
  *out = item->valuedouble;
  return 0;
}

/* Room for one request more and n blocks more. */
static int make_room(struct loader *l, size_t n)
{
  if (l->w.n_requests == l->request_room) {
    uint32_t room = l->request_room ? l->request_room * 2 : 1024;
    void *more = realloc(l->w.requests, room * sizeof *l->w.requests);
    if (!more)
      return LLMD_E_NOMEM;
    l->w.requests = more;
    l->request_room = room;
  }
  if (l->w.n_blocks + n > l->block_room) {
    size_t room = (l->w.n_blocks + n) * 2;
    void *more = realloc(l->w.blocks, room * sizeof *l->w.blocks);
    if (!more)
      return LLMD_E_NOMEM;
    l->w.blocks = more;
    l->block_room = room;
  }
  return 0;
}

/* Whole blocks only: the last id of a prompt usually stands for part of a block. Ids are chained here, so that they
 * name all that comes before them even in a trace whose ids do not. */
static int read_blocks(struct loader *l, const cJSON *ids, struct sim_request *q)
{
  uint32_t want = q->prompt_tokens / l->trace->block_size + (q->prompt_tokens % l->trace->block_size != 0);
  const cJSON *item;
  double id;
  uint64_t chain = 0;
  uint32_t n = 0;
  if (!ids)
    return FAIL(l, LLMD_E_MISSING, "hash_ids is missing");
  if (!cJSON_IsArray(ids))
    return FAIL(l, LLMD_E_TYPE, "hash_ids must be a list");
  if (cJSON_GetArraySize(ids) < 0 || (uint32_t)cJSON_GetArraySize(ids) != want)
    return FAIL(l, LLMD_E_RANGE, "hash_ids has %d ids, %u tokens in blocks of %u need %u", cJSON_GetArraySize(ids),
                q->prompt_tokens, l->trace->block_size, want);
  if (make_room(l, want))
    return FAIL(l, LLMD_E_NOMEM, "out of memory");
  q->n_blocks = q->prompt_tokens / l->trace->block_size;
  cJSON_ArrayForEach(item, ids) {
    int code = whole_number(l, item, "every id in hash_ids", 0, 0x1p53, &id);
    if (code)
      return code;
    chain = sim_mix(chain ^ sim_mix((uint64_t)id));
    if (n++ < q->n_blocks)
      l->w.blocks[l->w.n_blocks++] = chain;
  }
  return 0;
}

static int read_request(struct loader *l, const cJSON *root)
{
  struct sim_request q = {0};
  double stamp, input, output;
  int code;
  if (!cJSON_IsObject(root))
    return FAIL(l, LLMD_E_TYPE, "a line must be an object");
  if ((code = whole_number(l, cJSON_GetObjectItemCaseSensitive(root, "timestamp"), "timestamp", 0, MOST_MS, &stamp)) ||
      (code = whole_number(l, cJSON_GetObjectItemCaseSensitive(root, "input_length"), "input_length", 1, MOST_TOKENS,
                           &input)) ||
      (code = whole_number(l, cJSON_GetObjectItemCaseSensitive(root, "output_length"), "output_length", 1, MOST_TOKENS,
                           &output)))
    return code;
  q.id = q.prompt = l->w.n_requests;
  q.offset = stamp / 1000;
  q.prompt_tokens = (uint32_t)input;
  q.output_tokens = (uint32_t)output;
  if (l->w.n_requests && q.offset < l->w.requests[l->w.n_requests - 1].offset)
    return FAIL(l, LLMD_E_RANGE, "timestamp goes back");
  code = read_blocks(l, cJSON_GetObjectItemCaseSensitive(root, "hash_ids"), &q);
  if (code == 0)
    l->w.requests[l->w.n_requests++] = q;
  return code;
}

static int read_line(struct loader *l, const char *text, size_t len)
{
  const char *end = NULL;
  cJSON *root;
  int code;
  if (l->w.n_requests == MOST_REQUESTS)
    return FAIL(l, LLMD_E_LIMIT, "more than %u requests", MOST_REQUESTS);
  if (memchr(text, 0, len))
    return FAIL(l, LLMD_E_SYNTAX, "a NUL byte");
  root = cJSON_ParseWithLengthOpts(text, len, &end, 0);
  if (!root)
    return FAIL(l, LLMD_E_SYNTAX, "not JSON near byte %zu", end ? (size_t)(end - text) + 1 : (size_t)1);
  while (end < text + len && (*end == ' ' || *end == '\t' || *end == '\r'))
    end++;
  code = end == text + len ? read_request(l, root) : FAIL(l, LLMD_E_SYNTAX, "text after the object");
  cJSON_Delete(root);
  return code;
}

static int read_lines(struct loader *l, const char *text, size_t len)
{
  size_t at = 0;
  while (at < len && (l->trace->limit == 0 || l->w.n_requests < l->trace->limit)) {
    const char *end = memchr(text + at, '\n', len - at);
    size_t n = (end ? (size_t)(end - text) : len) - at;
    int code;
    l->line++;
    if (n == 0)
      return FAIL(l, LLMD_E_SYNTAX, "an empty line");
    code = read_line(l, text + at, n);
    if (code)
      return code;
    at += n + (end != NULL);
  }
  l->line = 0;
  return l->w.n_requests ? 0 : FAIL(l, LLMD_E_MISSING, "no requests");
}

/* Stamps sit on a grid and many requests share one: each such run is spread over the gap to the next stamp, at random
 * but in order. Exponential gaps, scaled to leave room for one more, are sorted uniform points. */
static void spread(struct sim_request *q, uint32_t n, uint64_t seed)
{
  struct sim_rng rng;
  sim_rng_init(&rng, seed, 3);
  for (uint32_t i = 0, end; i < n; i = end) {
    double start = q[i].offset, gap, sum = 0;
    for (end = i; end < n && q[end].offset <= start; end++)
      ;
    gap = end < n ? q[end].offset - start : LAST_GAP;
    for (uint32_t j = i; j < end; j++)
      q[j].offset = sum += sim_rng_exponential(&rng);
    sum += sim_rng_exponential(&rng);
    for (uint32_t j = i; j < end; j++)
      q[j].offset = start + gap * q[j].offset / sum;
  }
}

static int finish(struct loader *l)
{
  struct sim_workload *w = &l->w;
  size_t at = 0;
  w->stages = calloc(1, sizeof *w->stages);
  if (!w->stages)
    return FAIL(l, LLMD_E_NOMEM, "out of memory");
  spread(w->requests, w->n_requests, l->trace->seed);
  for (uint32_t i = 0; i < w->n_requests; i++) {
    w->requests[i].offset /= l->trace->speed;
    w->requests[i].blocks = w->blocks + at;
    at += w->requests[i].n_blocks;
  }
  w->n_stages = 1;
  w->stages[0].count = w->n_requests;
  w->stages[0].duration = w->requests[w->n_requests - 1].offset;
  w->block_size = l->trace->block_size;
  return sim_workload_seal(w) ? FAIL(l, LLMD_E_NOMEM, "out of memory") : 0;
}

int sim_workload_mooncake(struct sim_workload *out, const char *path, const struct sim_trace *trace, llmd_err *err)
{
  struct loader l = {.trace = trace, .path = path, .err = err};
  char *text;
  size_t len;
  int code;
  if (trace->block_size == 0 || !(trace->speed > 0 && trace->speed <= 1e6))
    return sim_fail(err, LLMD_E_INVALID, path, 0, "block size and speed must be above 0");
  code = sim_text_read(path, FILE_MAX, &text, &len, err);
  if (code)
    return code;
  memcpy(l.w.name, "Mooncake trace", sizeof "Mooncake trace");
  l.w.model = "Qwen/Qwen3-32B";
  code = read_lines(&l, text, len);
  free(text);
  if (code == 0)
    code = finish(&l);
  if (code) {
    sim_workload_free(&l.w);
    return code;
  }
  *out = l.w;
  return 0;
}
