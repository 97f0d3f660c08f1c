/* approx-prefix-cache-producer: guesses how much of a prompt each endpoint has cached, from where earlier prompts went.
 *
 *    produce   prompt ──► chain of block keys ──► index: leading blocks known for each candidate ──► columns
 *    commit    the chain is now on the destination, and on the pick of the profile named `prefill`
 *
 * Block size: the engine's own when autoTune knows it (CacheBlockSize of the first candidate), else blockSizeTokens;
 * never below 64: the index has an entry per endpoint and block, and 16-token blocks would make it four times as large
 * for little. The last block of a prompt may be partial and counts like the others.
 *
 * compat = strict counts as the reference does: a block an endpoint holds is a match whether or not it holds the blocks
 * before, and an endpoint keeps CacheNumBlocks entries although its blocks are smaller than ours. Otherwise matches are
 * contiguous, and the entries kept are worth as many tokens as the engine's cache. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_MIN 64
#define BLOCK_MAX 1048576 /* keeps block counts and sizes in 32 bits */
#define BLOCK_PRESET 16
#define CAPACITY_PRESET 31250

typedef struct approx_prefix {
  uint32_t auto_tune;
  int64_t block, block_old;
  int64_t max_blocks, max_tokens;
  int64_t capacity;
} approx_prefix;

enum { ENGINE_BLOCK, ENGINE_BLOCKS };
enum { MATCH, CACHED, TOTAL, BLOCK };

static int refuse(llmd_err *err, const char *path, const char *text, int64_t value)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s, got %lld", text, (long long)value);
  return LLMD_E_RANGE;
}

static int validate(void *self, llmd_err *err)
{
  approx_prefix *p = self;
  if (p->block_old > 0 && p->block == BLOCK_PRESET)
    p->block = p->block_old;
  p->block_old = 0;
  if (!p->auto_tune && p->block <= 0)
    return refuse(err, "blockSizeTokens", "must be above 0 when autoTune is off", p->block);
  if (p->max_tokens < 0)
    return refuse(err, "maxPrefixTokensToMatch", "must not be negative", p->max_tokens);
  return 0;
}

static uint32_t block_tokens(const approx_prefix *p, const llmd_batch *b)
{
  double engine = b->n > 0 ? b->f64[ENGINE_BLOCK][0] : NAN;
  int64_t tokens = p->block;
  if (p->auto_tune && engine >= 1 && engine <= BLOCK_MAX)
    tokens = (int64_t)engine;
  return tokens < BLOCK_MIN ? BLOCK_MIN : tokens > BLOCK_MAX ? BLOCK_MAX : (uint32_t)tokens;
}

/* How many blocks of a prompt are looked at. A cap in tokens smaller than one block means none. */
static int64_t most_blocks(const approx_prefix *p, uint32_t block)
{
  if (p->max_tokens > 0)
    return p->max_tokens / block;
  return p->max_blocks != 0 ? p->max_blocks : INT64_MAX;
}

static void fill(double *column, uint32_t n, double value)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    column[i] = value;
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const approx_prefix *p = self;
  uint32_t block = block_tokens(p, b), total = 0;
  int64_t most = most_blocks(p, block);
  int rc = LLMD_E_NONE;
  if (most > 0)
    rc = s->chain(s->ctx, block, most < UINT32_MAX ? (uint32_t)most : 0, LLMD_PREFIX_PARTIAL, &total);
  if (rc >= 0 && total > 0)
    rc = s->prefix_match(s->ctx, b->strict ? LLMD_PREFIX_ANY : 0, out[MATCH]);
  else
    fill(out[MATCH], b->n, 0);
  if (rc < 0 && rc != LLMD_E_NONE)
    return rc;
  memcpy(out[CACHED], out[MATCH], b->n * sizeof(double));
  fill(out[TOTAL], b->n, total);
  fill(out[BLOCK], b->n, block);
  return 0;
}

static uint32_t capacity(const approx_prefix *p, const llmd_commit_info *c, uint32_t i)
{
  const llmd_batch *b = c->batch;
  double blocks = b->f64[ENGINE_BLOCKS][i], engine = b->f64[ENGINE_BLOCK][i], ours = c->wrote[BLOCK][i];
  if (p->auto_tune && blocks >= 1) {
    if (!b->strict && engine >= 1 && ours > engine)
      blocks = blocks * engine / ours;
    return blocks < 1 ? 1 : blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
  }
  if (p->capacity <= 0)
    return CAPACITY_PRESET;
  return p->capacity < UINT32_MAX ? (uint32_t)p->capacity : UINT32_MAX;
}

static int store(const approx_prefix *p, const llmd_services *s, const llmd_commit_info *c, uint32_t i)
{
  int rc = s->prefix_store(s->ctx, c->batch->endpoint[i], capacity(p, c, i));
  return rc < 0 && rc != LLMD_E_NONE ? rc : 0;
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  const llmd_endpoint_id *endpoint = c->batch->endpoint;
  uint32_t i;
  int rc = 0;
  if (c->primary >= c->batch->n)
    return 0;
  rc = store(self, s, c, c->primary);
  for (i = 0; i < c->batch->n; i++)
    if (i != c->primary && endpoint[i] != endpoint[c->primary] && c->profile[i].len == 7 &&
        memcmp(c->profile[i].ptr, "prefill", 7) == 0) {
      int second = store(self, s, c, i);
      rc = rc ? rc : second;
    }
  return rc;
}

static int forget(const void *self, const llmd_services *s, llmd_endpoint_id endpoint)
{
  (void)self;
  return s->prefix_forget(s->ctx, endpoint);
}

static const llmd_param params[] = {
  {.name = "autoTune", .type = LLMD_PARAM_BOOL, .offset = offsetof(approx_prefix, auto_tune), .preset = "true",
   .doc = "take block size and cache size from the engines' metrics when they are known"},
  {.name = "blockSizeTokens", .type = LLMD_PARAM_INT, .offset = offsetof(approx_prefix, block), .preset = "16",
   .doc = "tokens per block; less than 64 means 64"},
  {.name = "blockSize", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_OLD, .offset = offsetof(approx_prefix, block_old),
   .preset = "0", .doc = "old name of blockSizeTokens"},
  {.name = "maxPrefixTokensToMatch", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_NO_RANGE,
   .offset = offsetof(approx_prefix, max_tokens), .preset = "131072", .min = 0, .max = 9007199254740992.0,
   .doc = "tokens of each prompt that are looked at; 0 = see maxPrefixBlocksToMatch"},
  {.name = "maxPrefixBlocksToMatch", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_OLD,
   .offset = offsetof(approx_prefix, max_blocks), .preset = "2048",
   .doc = "the same in blocks, used when maxPrefixTokensToMatch is 0; 0 = the whole prompt"},
  {.name = "lruCapacityPerServer", .type = LLMD_PARAM_INT, .offset = offsetof(approx_prefix, capacity),
   .preset = "31250", .doc = "blocks remembered per endpoint, when autoTune does not know better"},
  {0}};

static const llmd_read reads[] = {
  [ENGINE_BLOCK] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL, .name = "CacheBlockSize", .if_unknown = NAN,
                    .if_unknown_strict = NAN},
  [ENGINE_BLOCKS] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL, .name = "CacheNumBlocks", .if_unknown = NAN,
                     .if_unknown_strict = NAN},
  {0}};

#define WRITES(when)                                                    \
  {[MATCH] = {"PrefixCacheMatchInfo.match", "blocks", (when)},          \
   [CACHED] = {"PrefixCacheMatchInfo.cached", "blocks", (when)},        \
   [TOTAL] = {"PrefixCacheMatchInfo.total", "blocks", (when)},          \
   [BLOCK] = {"PrefixCacheMatchInfo.block", "tokens", (when)},          \
   {0}}

static const llmd_write writes[] = WRITES(LLMD_WRITE_DEFAULT);
static const llmd_write multicluster_writes[] = WRITES(0);

const llmd_plugin llmd__approx_prefix_cache_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "approx-prefix-cache-producer", .summary = "cached prefix of each endpoint, guessed from where prompts went",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(approx_prefix), .params = params, .reads = reads, .writes = writes,
  .validate = validate, .produce = produce, .commit = commit, .forget = forget};

/* Endpoints that are clusters are endpoints all the same. */
const llmd_plugin llmd__multicluster_approx_prefix_cache_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "multicluster-approx-prefix-cache-producer",
  .summary = "approx-prefix-cache-producer for endpoints that are clusters",
  .kind = LLMD_PRODUCER, .stability = LLMD_ALPHA,
  .self_size = sizeof(approx_prefix), .params = params, .reads = reads, .writes = multicluster_writes,
  .validate = validate, .produce = produce, .commit = commit, .forget = forget};

LLMD_MODULE(&llmd__approx_prefix_cache_producer, &llmd__multicluster_approx_prefix_cache_producer);
