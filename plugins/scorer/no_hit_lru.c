/* no-hit-lru-scorer: spreads requests that hit no cache. When no candidate has any of the prompt, those that got such a
 * request least recently score highest; when some candidate has, all get 0.5 and the prefix scorers decide.
 *
 *   one candidate              1
 *   never used, i-th of these  1 - i / (n - 1)
 *   used                       1 - (never used + position) / (n - 1), at least 0
 *
 * position: 0 = least recently used, among all endpoints of the pool in the list, not only the candidates.
 *
 * The list is kept as one number per endpoint, the count of cold requests when it last got one; whoever is not among
 * the lruSize highest has fallen off. produce turns it into positions, commit moves the primary's target and then that
 * of the profile named "prefill" to the end. Both modes agree, except that commit asks "is it cold?" of all endpoints,
 * because a scorer cannot leave a note: the reference asks those which the filters left. */
#include <llmd/plugin.h>

#include <math.h>
#include <string.h>

#define LIST 1024
#define LIST_MOST 4095 /* what the table holds, beside the counter */

typedef struct no_hit_lru {
  llmd_str producer;
  llmd_str plugin_type, plugin_name; /* accepted, not used */
  int64_t size;
} no_hit_lru;

enum { MATCH, POSITION };      /* reads */
enum { OUT_POSITION, OUT_COLD }; /* writes */

typedef struct use {
  uint64_t when;
  uint32_t candidate;
} use;

static int validate(void *self, llmd_err *err)
{
  no_hit_lru *p = self;
  (void)err;
  if (p->size <= 0)
    p->size = LIST;
  if (p->size > LIST_MOST)
    p->size = LIST_MOST;
  return 0;
}

static int cold(const llmd_batch *b)
{
  uint32_t i;
  for (i = 0; i < b->n; i++)
    if (b->f64[MATCH][i] > 0)
      return 0;
  return 1;
}

/* One value for all: a cache is hit, or there is no choice. */
static int score_alike(uint32_t n, double value, double *out)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    out[i] = value;
  return 0;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *position = b->f64[POSITION];
  const double last = (double)b->n - 1;
  uint32_t unused = 0, i;
  (void)self;
  if (!cold(b))
    return score_alike(b->n, 0.5, out);
  if (b->n == 1)
    return score_alike(b->n, 1, out);
  for (i = 0; i < b->n; i++)
    if (position[i] != position[i])
      out[i] = 1 - unused++ / last;
  for (i = 0; i < b->n; i++)
    if (position[i] == position[i]) {
      double share = 1 - (unused + position[i]) / last;
      out[i] = share < 0 ? 0 : share;
    }
  return 0;
}

/* Endpoint ids are never 0, so the counter's key is none of theirs. */
static llmd_key key_of(llmd_endpoint_id id)
{
  llmd_key key = {id, 0};
  return key;
}

static int later(const use *a, const use *b)
{
  return a->when != b->when ? a->when > b->when : a->candidate > b->candidate;
}

static void sink(use *heap, uint32_t at, uint32_t n)
{
  use moved = heap[at];
  uint32_t child;
  for (; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && later(&heap[child + 1], &heap[child]))
      child++;
    if (!later(&heap[child], &moved))
      break;
    heap[at] = heap[child];
  }
  heap[at] = moved;
}

/* Least recent first. A heap sort: no allocation, no recursion, n log n whatever the order. */
static void sort(use *list, uint32_t n)
{
  uint32_t i;
  for (i = n / 2; i-- > 0;)
    sink(list, i, n);
  for (i = n; i-- > 1;) {
    use top = list[0];
    list[0] = list[i];
    list[i] = top;
    sink(list, 0, i);
  }
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const no_hit_lru *p = self;
  use *list = b->scratch;
  uint32_t n = 0, fallen, i;
  double is_cold = cold(b);
  for (i = 0; i < b->n; i++) {
    llmd_key key = key_of(b->endpoint[i]);
    int found = s->get(s->ctx, &key, &list[n].when);
    if (found < 0)
      return found;
    list[n].candidate = i;
    n += found > 0;
    out[OUT_COLD][i] = is_cold;
  }
  sort(list, n);
  fallen = n > p->size ? n - (uint32_t)p->size : 0;
  for (i = fallen; i < n; i++)
    out[OUT_POSITION][list[i].candidate] = i - fallen;
  return 0;
}

static int move_to_end(const llmd_services *s, llmd_endpoint_id endpoint)
{
  llmd_key counter = key_of(0), key = key_of(endpoint);
  uint64_t count = 0;
  int rc = s->get(s->ctx, &counter, &count);
  if (rc < 0)
    return rc;
  count++;
  rc = s->put(s->ctx, &counter, count, 0);
  return rc < 0 ? rc : s->put(s->ctx, &key, count, 0);
}

static int is_prefill(const llmd_str *name)
{
  return name->len == 7 && memcmp(name->ptr, "prefill", 7) == 0;
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  const llmd_batch *b = c->batch;
  uint32_t i;
  int rc = 0;
  (void)self;
  if (c->primary >= b->n || !(c->wrote[OUT_COLD][c->primary] > 0))
    return 0;
  rc = move_to_end(s, b->endpoint[c->primary]);
  for (i = 0; i < b->n && rc >= 0; i++)
    if (i != c->primary && is_prefill(&c->profile[i]))
      rc = move_to_end(s, b->endpoint[i]);
  return rc < 0 ? rc : 0;
}

static int forget(const void *self, const llmd_services *s, llmd_endpoint_id endpoint)
{
  llmd_key key = key_of(endpoint);
  int rc = s->del(s->ctx, &key);
  (void)self;
  return rc == LLMD_E_NONE ? 0 : rc;
}

static const llmd_param params[] = {
  {.name = "lruSize", .type = LLMD_PARAM_INT, .offset = offsetof(no_hit_lru, size), .preset = "1024",
   .doc = "endpoints remembered, at most 4095; 0 or less means the default"},
  {.name = "prefixMatchInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(no_hit_lru, producer),
   .doc = "producer of the match information (approx-prefix-cache-producer)"},
  {.name = "prefixPluginType", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_IGNORED | LLMD_PARAM_OLD,
   .offset = offsetof(no_hit_lru, plugin_type), .doc = "has no effect"},
  {.name = "prefixPluginName", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_IGNORED | LLMD_PARAM_OLD,
   .offset = offsetof(no_hit_lru, plugin_name), .doc = "has no effect"},
  {0}};

static const llmd_read reads[] = {
  [MATCH] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo.match",
             .from = "approx-prefix-cache-producer", .from_offset = offsetof(no_hit_lru, producer),
             .if_unknown = NAN, .if_unknown_strict = NAN},
  [POSITION] = {.kind = LLMD_READ_F64, .name = "NoHitLRU.position", .from = "@self",
                .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

static const llmd_write writes[] = {
  [OUT_POSITION] = {.name = "NoHitLRU.position", .unit = "rank"},
  [OUT_COLD] = {.name = "NoHitLRU.cold", .unit = "bool"},
  {0}};

const llmd_plugin llmd__no_hit_lru_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "no-hit-lru-scorer", .summary = "spreads requests that hit no cache over the least recently used endpoints",
  .kind = LLMD_SCORER | LLMD_PRODUCER, .stability = LLMD_BETA, .self_size = sizeof(no_hit_lru),
  .scratch_each = sizeof(use), .table_entries = LIST_MOST + 1,
  .params = params, .reads = reads, .writes = writes,
  .validate = validate, .score = score, .produce = produce, .commit = commit, .forget = forget};
LLMD_MODULE(&llmd__no_hit_lru_scorer);
