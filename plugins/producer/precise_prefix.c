/* precise-prefix-cache-producer: how much of a prompt each endpoint has cached, by what the engines themselves tell of
 * their caches (KV events, fed into the pool's exact index).
 *
 *    produce   the prompt's real token ids ──► index: unbroken prefix of each candidate, by cache tier ──► columns
 *              no token ids, or no engine that tells ──► the columns of approx-prefix-cache-producer
 *    commit    speculativeIndexing: the destination, and the pick of the profile named `prefill`, count as holders for
 *              a while, until their own events say so
 *
 * A block counts by the weight of the best tier it lies in. `match` is that sum without its fraction, as in the
 * reference, `cached` counts every block as one.
 *
 * compat = strict: a tier without a weight counts 1, and a prompt without token ids has no match information at all.
 * Otherwise a tier without a weight counts as the one above it: what is slower is never worth more by being unnamed.
 *
 * precise-prefix-cache-scorer is the reference's older spelling: this producer and prefix-cache-scorer in one. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_PRESET 16
#define BLOCK_MAX 1048576 /* keeps block counts and sizes in 32 bits */
#define TTL_PRESET INT64_C(2000000000)
#define TIERS 4

typedef struct token_processor {
  int64_t block, block_old;
  uint32_t configured; /* block is not the preset */
  llmd_str seed;
  uint32_t algorithm;
} token_processor;

typedef struct in_memory {
  int64_t size, holders;
} in_memory;

typedef struct word {
  llmd_str value;
} word;

typedef struct block_index {
  in_memory in_memory;
  word redis;
  word cost_aware;
  uint32_t has_cost_aware, metrics;
  int64_t log_interval;
} block_index;

typedef struct indexer {
  block_index index;
  llmd_list backends; /* of backend */
  uint32_t has_backends;
  uint32_t has_pool;
} indexer;

typedef struct backend {
  llmd_str name;
  double weight;
} backend;

typedef struct discovery {
  llmd_str selector, space;
  int64_t port, replay_port;
} discovery;

typedef struct events {
  llmd_str endpoint, topic;
  int64_t concurrency;
  uint32_t engine, discover;
  discovery discovery;
} events;

typedef struct precise {
  token_processor tokens;
  indexer indexer;
  events events;
  uint32_t speculative;
  int64_t ttl;
  /* prepared: by tier; NAN = the file has none */
  double weight[TIERS];
} precise;

/* reads: those of the approximate producer, then the scorer's of its own */
enum { APPROX_MATCH, APPROX_CACHED, APPROX_TOTAL, APPROX_BLOCK, OWN_MATCH, OWN_TOTAL };
/* writes */
enum { MATCH, CACHED, TOTAL, BLOCK, WEIGHTED, GPU, CPU, DISK, REMOTE, EXACT, DEGRADED };

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static int refuse(llmd_err *err, int code, const char *path, const char *text, long long value)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, text, value);
  return code;
}

static int is(const llmd_str *s, const char *name)
{
  return s->len == strlen(name) && !memcmp(s->ptr, name, s->len);
}

/* Media as the engines call them. -1 = none that the index tells apart. */
static int tier_of(const llmd_str *name)
{
  static const struct {
    const char *name;
    int tier;
  } rows[] = {{"gpu", 0},     {"cpu", 1},  {"cpu_pinned", 1}, {"cpu_tier1", 1}, {"disk", 2},
              {"storage", 2}, {"ssd", 2}, {"remote", 3},     {"external", 3},  {"shared_storage", 3}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (is(name, rows[i].name))
      return rows[i].tier;
  return -1;
}

/* An empty list takes all weights away, and says so in the file that is written of it. */
static const backend no_weights[] = {{{"gpu", 3}, 1}, {{"cpu", 3}, 1}};

static void prepare_weights(precise *p)
{
  llmd_list *l = &p->indexer.backends;
  for (int t = 0; t < TIERS; t++)
    p->weight[t] = NAN;
  if (!p->indexer.has_backends) {
    p->weight[0] = 1.0;
    p->weight[1] = 0.8;
    return;
  }
  if (!l->n) {
    l->n = 2;
    l->items = (void *)(uintptr_t)no_weights;
  }
  for (uint32_t i = 0; i < l->n; i++) {
    const backend *b = (const backend *)l->items + i;
    int tier = tier_of(&b->name);
    if (tier >= 0)
      p->weight[tier] = b->weight;
  }
}

static int check_block(token_processor *t, llmd_err *err)
{
  if (!t->block && t->block_old > 0)
    t->block = t->block_old;
  else if (!t->block && t->block_old < 0)
    return refuse(err, LLMD_E_RANGE, "tokenProcessorConfig.blockSize", "must be above 0, got %lld", t->block_old);
  t->block_old = 0;
  t->configured = t->block != 0;
  if (t->block < 0 || t->block > BLOCK_MAX)
    return refuse(err, LLMD_E_RANGE, "tokenProcessorConfig.blockSizeTokens", "must be above 0 and below 2^20, got %lld",
                  t->block);
  if (!t->block)
    t->block = BLOCK_PRESET;
  return 0;
}

/* "2GiB", "500 MB", "1.5g": digits, then a unit of bytes. */
static int is_size(const llmd_str *s)
{
  static const char *const units[] = {"", "b", "k", "kb", "kib", "m", "mb", "mib", "g", "gb", "gib", "t", "tb", "tib"};
  char unit[4] = "";
  size_t i = 0, n = 0;
  while (i < s->len && ((s->ptr[i] >= '0' && s->ptr[i] <= '9') || s->ptr[i] == '.' || s->ptr[i] == ','))
    i++;
  if (!i)
    return 0;
  while (i < s->len && s->ptr[i] == ' ')
    i++;
  if (s->len - i > 3)
    return 0;
  for (; i < s->len; i++)
    unit[n++] = (char)(s->ptr[i] >= 'A' && s->ptr[i] <= 'Z' ? s->ptr[i] + ('a' - 'A') : s->ptr[i]);
  for (i = 0; i < sizeof units / sizeof units[0]; i++)
    if (!strcmp(unit, units[i]))
      return 1;
  return 0;
}

static int check_index(const block_index *x, llmd_err *err)
{
  if (x->has_cost_aware && x->cost_aware.value.ptr && !is_size(&x->cost_aware.value))
    return refuse(err, LLMD_E_SYNTAX, "indexerConfig.kvBlockIndexConfig.costAwareMemoryConfig.size",
                  "must be a size in bytes such as 2GiB", 0);
  if (!x->has_cost_aware && x->in_memory.size <= 0)
    return refuse(err, LLMD_E_RANGE, "indexerConfig.kvBlockIndexConfig.inMemoryConfig.size",
                  "must be above 0, got %lld", x->in_memory.size);
  return 0;
}

static int validate_all(precise *p, llmd_err *err)
{
  int rc = check_block(&p->tokens, err);
  if (!rc)
    rc = check_index(&p->indexer.index, err);
  if (!rc && p->events.concurrency < 1)
    rc = refuse(err, LLMD_E_RANGE, "kvEventsConfig.concurrency", "must be at least 1, got %lld",
                p->events.concurrency);
  if (p->ttl <= 0)
    p->ttl = TTL_PRESET;
  prepare_weights(p);
  return rc;
}

static int validate_scorer(void *self, llmd_err *err)
{
  return validate_all(self, err);
}

static int validate(void *self, llmd_err *err)
{
  precise *p = self;
  if (p->indexer.has_pool)
    return refuse(err, LLMD_E_INVALID, "indexerConfig.tokenizersPoolConfig",
                  "is not supported: configure a token-producer", 0);
  return validate_all(p, err);
}

/* ---- produce ----------------------------------------------------------------------------------------------------- */

static void weights_of(const precise *p, uint32_t strict, double *w)
{
  for (int t = 0; t < TIERS; t++) {
    w[t] = p->weight[t];
    if (w[t] != w[t])
      w[t] = strict || !t ? 1 : w[t - 1];
  }
}

/* Sums of products may fall short of a whole number by a rounding. */
static double whole(double x)
{
  return (double)(int64_t)(x + 1e-9);
}

static void weigh(const precise *p, const llmd_batch *b, double *const *out)
{
  double w[TIERS];
  uint32_t i;
  weights_of(p, b->strict, w);
  for (i = 0; i < b->n; i++) {
    double gpu = out[CACHED][i] - out[CPU][i] - out[DISK][i] - out[REMOTE][i];
    out[GPU][i] = gpu;
    out[WEIGHTED][i] = gpu * w[0] + out[CPU][i] * w[1] + out[DISK][i] * w[2] + out[REMOTE][i] * w[3];
    out[MATCH][i] = whole(out[WEIGHTED][i]);
    out[EXACT][i] = 1;
  }
}

/* What the approximate producer thinks. Where blocks lie it does not know. */
static void guess(const llmd_batch *b, double *const *out)
{
  uint32_t i;
  for (i = 0; i < b->n; i++) {
    out[MATCH][i] = out[WEIGHTED][i] = b->f64[APPROX_MATCH][i];
    out[CACHED][i] = b->f64[APPROX_CACHED][i];
    out[TOTAL][i] = b->f64[APPROX_TOTAL][i];
    out[BLOCK][i] = b->f64[APPROX_BLOCK][i];
    out[GPU][i] = out[CPU][i] = out[DISK][i] = out[REMOTE][i] = out[DEGRADED][i] = NAN;
    out[EXACT][i] = 0;
  }
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const precise *p = self;
  llmd_precise ask = {.size = sizeof ask, .block_tokens = (uint32_t)p->tokens.block, .blocks = out[CACHED],
                      .total = out[TOTAL], .tokens = out[BLOCK], .lower = {out[CPU], out[DISK], out[REMOTE]},
                      .degraded = out[DEGRADED]};
  int rc;
  ask.flags = (p->speculative ? LLMD_PRECISE_EXPECTED : 0) | (b->strict ? LLMD_PRECISE_ALWAYS : 0) |
              (p->tokens.configured ? LLMD_PRECISE_CONFIGURED : 0);
  rc = s->precise_match(s->ctx, &ask);
  if (rc >= 0)
    weigh(p, b, out);
  else if (b->strict)
    return rc;
  else
    guess(b, out);
  return 0;
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

static int expect(const precise *p, const llmd_services *s, llmd_endpoint_id endpoint)
{
  int rc = s->precise_expect(s->ctx, endpoint, (uint32_t)p->tokens.block, (uint64_t)p->ttl);
  return rc < 0 && rc != LLMD_E_NONE ? rc : 0;
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  const precise *p = self;
  const llmd_endpoint_id *endpoint = c->batch->endpoint;
  uint32_t i;
  int rc;
  if (!p->speculative || c->primary >= c->batch->n)
    return 0;
  rc = expect(p, s, endpoint[c->primary]);
  for (i = 0; i < c->batch->n; i++)
    if (i != c->primary && endpoint[i] != endpoint[c->primary] && is(&c->profile[i], "prefill")) {
      int second = expect(p, s, endpoint[i]);
      rc = rc ? rc : second;
    }
  return rc;
}

/* ---- score ------------------------------------------------------------------------------------------------------- */

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *match = b->f64[OWN_MATCH], *total = b->f64[OWN_TOTAL];
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++)
    out[i] = total[i] > 0 && match[i] >= 0 ? match[i] / total[i] : 0;
  return 0;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

#define AT(type, field) .offset = offsetof(type, field)
#define HOST LLMD_PARAM_IGNORED

static const llmd_enum algorithms[] = {{"cbor-fnv", 0}, {"", 0}, {"xxh64", 1}, {0}};
static const llmd_enum engines[] = {{"vllm", 0}, {"", 0}, {"sglang", 1}, {0}};

static const llmd_param token_params[] = {
  {.name = "blockSizeTokens", .type = LLMD_PARAM_INT, AT(token_processor, block), .preset = "0",
   .doc = "tokens per block of endpoints whose engine's own block size is not known; 0 = 16"},
  {.name = "blockSize", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_OLD, AT(token_processor, block_old), .preset = "0",
   .doc = "old name of blockSizeTokens"},
  {.name = "hashSeed", .type = LLMD_PARAM_STRING, .flags = HOST, AT(token_processor, seed),
   .doc = "without effect: keys are made with the region's secret"},
  {.name = "hashAlgorithm", .type = LLMD_PARAM_ENUM, .flags = HOST, AT(token_processor, algorithm),
   .preset = "cbor-fnv", .values = algorithms, .doc = "without effect, see hashSeed"},
  {0}};

static const llmd_param memory_params[] = {
  {.name = "size", .type = LLMD_PARAM_INT, .flags = HOST, AT(in_memory, size), .preset = "100000000",
   .doc = "keys; the index has a cap in bytes, fixed with the region"},
  {.name = "podCacheSize", .type = LLMD_PARAM_INT, .flags = HOST, AT(in_memory, holders), .preset = "10",
   .doc = "holders of a block; the index has no such limit"},
  {0}};
static const llmd_param redis_params[] = {
  {.name = "address", .type = LLMD_PARAM_STRING, .flags = HOST, AT(word, value),
   .doc = "of a server that routers share; the index is shared through the region"},
  {0}};
static const llmd_param cost_params[] = {
  {.name = "size", .type = LLMD_PARAM_STRING, .flags = HOST, AT(word, value),
   .doc = "bytes; the index has a cap of its own, fixed with the region"},
  {0}};

#define OBJECT(called, owner, field, table, type_, how, text_)                                                \
  {.name = called, .type = LLMD_PARAM_OBJECT, .flags = how, AT(owner, field), .sub = table, .sub_size = sizeof(type_), \
   .doc = text_}

static const llmd_param block_index_params[] = {
  OBJECT("inMemoryConfig", block_index, in_memory, memory_params, in_memory, HOST, "the usual index"),
  OBJECT("redisConfig", block_index, redis, redis_params, word, HOST, "an index that several routers share"),
  {.name = "costAwareMemoryConfig", .type = LLMD_PARAM_OBJECT, .flags = HOST, AT(block_index, cost_aware),
   .given = offsetof(block_index, has_cost_aware), .sub = cost_params, .sub_size = sizeof(word),
   .doc = "an index with a cap in bytes"},
  {.name = "enableMetrics", .type = LLMD_PARAM_BOOL, .flags = HOST, AT(block_index, metrics), .preset = "false",
   .doc = "without effect: the metrics are always there"},
  {.name = "metricsLoggingInterval", .type = LLMD_PARAM_INT, .flags = HOST, AT(block_index, log_interval),
   .preset = "0", .doc = "nanoseconds between log lines; nothing is logged"},
  {0}};

static const llmd_param backend_params[] = {
  {.name = "name", .type = LLMD_PARAM_STRING, AT(backend, name),
   .doc = "gpu, cpu, disk (storage) or remote (external); other names are never met"},
  {.name = "weight", .type = LLMD_PARAM_FLOAT, AT(backend, weight), .preset = "0",
   .doc = "what a block counts that lies there and nowhere better"},
  {0}};

#define INDEXER_PARAMS(how, text_)                                                                           \
  {OBJECT("kvBlockIndexConfig", indexer, index, block_index_params, block_index, HOST,                        \
          "where the index is kept; here it is the region's, whatever this says"),                            \
   {.name = "kvCacheBackendConfigs", .type = LLMD_PARAM_LIST, AT(indexer, backends),                          \
    .given = offsetof(indexer, has_backends), .sub = backend_params, .sub_size = sizeof(backend),             \
    .doc = "weights of cache tiers; absent: gpu 1.0, cpu 0.8"},                                               \
   {.name = "tokenizersPoolConfig", .type = LLMD_PARAM_ANY, .flags = LLMD_PARAM_OLD | (how),                  \
    .given = offsetof(indexer, has_pool), .doc = text_},                                                      \
   {0}}
static const llmd_param indexer_params[] = INDEXER_PARAMS(0, "refused: configure a token-producer");
static const llmd_param old_indexer_params[] =
  INDEXER_PARAMS(HOST, "a tokenizer of the reference's own; here the host brings token ids");

static const llmd_param discovery_params[] = {
  {.name = "podLabelSelector", .type = LLMD_PARAM_STRING, .flags = HOST, AT(discovery, selector),
   .preset = "llm-d.ai/inference-serving=true", .doc = "pods to subscribe to"},
  {.name = "podNamespace", .type = LLMD_PARAM_STRING, .flags = HOST, AT(discovery, space), .doc = "their namespace"},
  {.name = "socketPort", .type = LLMD_PARAM_INT, .flags = HOST, AT(discovery, port), .preset = "5557",
   .doc = "port of an engine's event socket, for rank 0"},
  {.name = "replaySocketPort", .type = LLMD_PARAM_INT, .flags = HOST, AT(discovery, replay_port), .preset = "0",
   .doc = "port of its replay socket; 0 or less = none"},
  {0}};

static const llmd_param event_params[] = {
  {.name = "zmqEndpoint", .type = LLMD_PARAM_STRING, .flags = HOST, AT(events, endpoint),
   .doc = "one socket that all engines connect to"},
  {.name = "topicFilter", .type = LLMD_PARAM_STRING, .flags = HOST, AT(events, topic), .preset = "kv@",
   .doc = "topics subscribed to"},
  {.name = "concurrency", .type = LLMD_PARAM_INT, .flags = HOST, AT(events, concurrency), .preset = "4",
   .doc = "workers; here one writer applies all"},
  {.name = "engineType", .type = LLMD_PARAM_ENUM, .flags = HOST, AT(events, engine), .preset = "vllm",
   .values = engines, .doc = "whose events they are"},
  {.name = "discoverPods", .type = LLMD_PARAM_BOOL, .flags = HOST, AT(events, discover), .preset = "true",
   .doc = "subscribe to each pod"},
  OBJECT("podDiscoveryConfig", events, discovery, discovery_params, discovery, HOST, "which pods, which ports"),
  {0}};

#define PARAMS(of_indexer)                                                                                     \
  {OBJECT("tokenProcessorConfig", precise, tokens, token_params, token_processor, 0, "how prompts become blocks"), \
   OBJECT("indexerConfig", precise, indexer, of_indexer, indexer, 0, "the index, and what tiers are worth"),       \
   OBJECT("kvEventsConfig", precise, events, event_params, events, HOST,                                       \
          "where engines' events come from: checked, and left to whoever does I/O for the host"),              \
   {.name = "speculativeIndexing", .type = LLMD_PARAM_BOOL, AT(precise, speculative), .preset = "false",       \
    .doc = "count a destination as a holder at once, not only when its events say so"},                        \
   {.name = "speculativeTTL", .type = LLMD_PARAM_DURATION, AT(precise, ttl), .preset = "2s",                   \
    .doc = "for how long; 0 or less = 2s"},                                                                    \
   {0}}
static const llmd_param params[] = PARAMS(indexer_params);
static const llmd_param scorer_params[] = PARAMS(old_indexer_params);

#define READ(what, producer)                                                                               \
  {.kind = LLMD_READ_F64, .name = "PrefixCacheMatchInfo." what, .from = producer, .if_unknown = NAN, \
   .if_unknown_strict = NAN}
#define APPROX "approx-prefix-cache-producer"
static const llmd_read reads[] = {
  [APPROX_MATCH] = READ("match", APPROX), [APPROX_CACHED] = READ("cached", APPROX),
  [APPROX_TOTAL] = READ("total", APPROX), [APPROX_BLOCK] = READ("block", APPROX), {0}};
static const llmd_read scorer_reads[] = {
  [APPROX_MATCH] = READ("match", APPROX), [APPROX_CACHED] = READ("cached", APPROX),
  [APPROX_TOTAL] = READ("total", APPROX), [APPROX_BLOCK] = READ("block", APPROX),
  [OWN_MATCH] = READ("match", "@self"),   [OWN_TOTAL] = READ("total", "@self"),
  {0}};

static const llmd_write writes[] = {
  [MATCH] = {"PrefixCacheMatchInfo.match", "blocks", LLMD_WRITE_EXACT},
  [CACHED] = {"PrefixCacheMatchInfo.cached", "blocks", 0},
  [TOTAL] = {"PrefixCacheMatchInfo.total", "blocks", 0},
  [BLOCK] = {"PrefixCacheMatchInfo.block", "tokens", 0},
  [WEIGHTED] = {"PrefixCacheMatchInfo.weighted", "blocks", 0},
  [GPU] = {"PrefixCacheMatchInfo.gpu", "blocks", 0},
  [CPU] = {"PrefixCacheMatchInfo.cpu", "blocks", 0},
  [DISK] = {"PrefixCacheMatchInfo.disk", "blocks", 0},
  [REMOTE] = {"PrefixCacheMatchInfo.remote", "blocks", 0},
  [EXACT] = {"PrefixCacheMatchInfo.exact", "0/1", LLMD_WRITE_NOTE},
  [DEGRADED] = {"PrefixCacheMatchInfo.degraded", "0/1", LLMD_WRITE_NOTE},
  {0}};

const llmd_plugin llmd__precise_prefix_cache_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "precise-prefix-cache-producer",
  .summary = "cached prefix of each endpoint, by what the engines tell of their caches",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(precise), .params = params, .reads = reads, .writes = writes,
  .validate = validate, .produce = produce, .commit = commit};

const llmd_plugin llmd__precise_prefix_cache_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "precise-prefix-cache-scorer",
  .summary = "precise-prefix-cache-producer and prefix-cache-scorer in one; configure these instead",
  .kind = LLMD_SCORER | LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(precise), .params = scorer_params, .reads = scorer_reads, .writes = writes,
  .validate = validate_scorer, .produce = produce, .commit = commit, .score = score};

LLMD_MODULE(&llmd__precise_prefix_cache_producer, &llmd__precise_prefix_cache_scorer);
