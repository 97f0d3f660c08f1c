/* prefix-cache-affinity-filter: keeps the endpoints that have most of the prompt in their KV cache (sticky: matched
 * blocks / all blocks >= affinityThreshold), unless that would cost too much time.
 *
 *   all are kept when  the threshold is 0 or less, or there is one candidate
 *                      chance wants to explore (explorationProbability)
 *                      nobody is sticky
 *                      best TTFT of the sticky - best TTFT of the others > maxTTFTPenaltyMs   (0 = not asked)
 *
 * TTFT is tokens in flight / peakPrefillThroughput * 1000, or a prediction; without a prediction it is endless. Tokens
 * in flight that are unknown are 0 under compat = strict, as in the reference. Otherwise they too make the TTFT
 * endless, and infinite, negative or impossible (match above total) numbers count as unknown. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <stdio.h>

enum { THROUGHPUT, PREDICTOR };
enum { MATCH, TOTAL, TOKENS, TTFT };

typedef struct prefix_affinity {
  llmd_str prefixes, predictions, loads; /* producers */
  double threshold, exploration, penalty, throughput;
  uint32_t source;
} prefix_affinity;

static int validate(void *self, llmd_err *err)
{
  const prefix_affinity *p = self;
  if (p->source == THROUGHPUT && p->penalty > 0 && p->throughput == 0) {
    snprintf(err->path, sizeof err->path, "peakPrefillThroughput");
    snprintf(err->text, sizeof err->text, "must be greater than 0 when ttftSource is prefillThroughput");
    return LLMD_E_RANGE;
  }
  return 0;
}

static int sticky(const prefix_affinity *p, const llmd_batch *b, uint32_t i)
{
  double match = b->f64[MATCH][i], total = b->f64[TOTAL][i], most = b->strict ? DBL_MAX : total;
  int usable = total > 0 && total <= DBL_MAX && match >= 0 && match <= most;
  return (usable ? match / total : 0) >= p->threshold;
}

static double ttft(const prefix_affinity *p, const llmd_batch *b, uint32_t i)
{
  double value = p->source == PREDICTOR ? b->f64[TTFT][i] : b->f64[TOKENS][i];
  if (!(value >= (b->strict ? -DBL_MAX : 0) && value <= DBL_MAX))
    return DBL_MAX;
  return p->source == PREDICTOR ? value : value / p->throughput * 1000;
}

/* Is the fastest sticky endpoint so much slower than the fastest other one? */
static int too_slow(const prefix_affinity *p, const llmd_batch *b, const uint8_t *keep)
{
  double best[2] = {DBL_MAX, DBL_MAX};
  uint32_t i;
  for (i = 0; i < b->n; i++) {
    double t = ttft(p, b, i);
    best[keep[i]] = t < best[keep[i]] ? t : best[keep[i]];
  }
  return best[1] - best[0] > p->penalty;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const prefix_affinity *p = self;
  uint64_t seed = b->seed;
  uint32_t i, kept = 0;
  (void)order;
  if (b->n <= 1 || p->threshold <= 0 || llmd_random_unit(&seed) < p->exploration)
    return 0;
  for (i = 0; i < b->n; i++) {
    keep[i] = (uint8_t)sticky(p, b, i);
    kept += keep[i];
  }
  if (kept == 0 || (p->penalty > 0 && kept < b->n && too_slow(p, b, keep)))
    for (i = 0; i < b->n; i++)
      keep[i] = 1;
  return 0;
}

static const llmd_enum sources[] = {{"prefillThroughput", THROUGHPUT}, {"latencyPredictor", PREDICTOR}, {0}};

static const llmd_param params[] = {
  {.name = "affinityThreshold", .type = LLMD_PARAM_FLOAT, .offset = offsetof(prefix_affinity, threshold),
   .preset = "0.80", .min = -DBL_MAX, .max = 1, .doc = "share of the prompt that makes an endpoint sticky; 0 = off"},
  {.name = "explorationProbability", .type = LLMD_PARAM_FLOAT, .offset = offsetof(prefix_affinity, exploration),
   .preset = "0", .min = 0, .max = 1, .doc = "how often all are kept all the same"},
  {.name = "maxTTFTPenaltyMs", .type = LLMD_PARAM_FLOAT, .offset = offsetof(prefix_affinity, penalty),
   .preset = "18000", .min = 0, .max = DBL_MAX, .doc = "time to first token that stickiness may cost; 0 = any"},
  {.name = "ttftSource", .type = LLMD_PARAM_ENUM, .offset = offsetof(prefix_affinity, source),
   .preset = "prefillThroughput", .values = sources, .doc = "how the time to first token is known"},
  {.name = "peakPrefillThroughput", .type = LLMD_PARAM_FLOAT, .offset = offsetof(prefix_affinity, throughput),
   .preset = "15928", .min = 0, .max = DBL_MAX, .doc = "prompt tokens per second that an endpoint can take in"},
  {.name = "prefixMatchInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(prefix_affinity, prefixes),
   .doc = "producer of the match information (approx-prefix-cache-producer)"},
  {.name = "latencyPredictionInfoProducerName", .type = LLMD_PARAM_STRING,
   .offset = offsetof(prefix_affinity, predictions), .doc = "producer of the predictions (predicted-latency-producer)"},
  {.name = "inFlightLoadProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(prefix_affinity, loads),
   .doc = "producer of the load in flight (inflight-load-producer)"},
  {0}};

static const llmd_read reads[] = {
  [MATCH] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo.match",
             .from = "approx-prefix-cache-producer", .from_offset = offsetof(prefix_affinity, prefixes),
             .if_unknown = NAN, .if_unknown_strict = NAN},
  [TOTAL] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo.total",
             .from = "approx-prefix-cache-producer", .from_offset = offsetof(prefix_affinity, prefixes),
             .if_unknown = NAN, .if_unknown_strict = NAN},
  [TOKENS] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.tokens",
              .from = "inflight-load-producer", .from_offset = offsetof(prefix_affinity, loads),
              .if_unknown = NAN, .if_unknown_strict = 0},
  [TTFT] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_FROM_PARAM,
            .name = "LatencyPredictionInfo.ttft", .from = "predicted-latency-producer",
            .from_offset = offsetof(prefix_affinity, predictions),
            .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__prefix_cache_affinity_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "prefix-cache-affinity-filter", .summary = "keeps endpoints that hold most of the prompt",
  .kind = LLMD_FILTER, .stability = LLMD_BETA, .self_size = sizeof(prefix_affinity), .params = params, .reads = reads,
  .validate = validate, .filter = filter};
LLMD_MODULE(&llmd__prefix_cache_affinity_filter);
