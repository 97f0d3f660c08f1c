/* slo-headroom-tier-filter: keeps the endpoints that are predicted to meet the request's latency objectives.
 *
 *   positive  both headrooms (objective - prediction) are 0 or more
 *   negative  one is not; after them, those without a prediction
 *
 * The positive tier is kept if it has a member, but with probability epsilonExploreNeg the negative one instead, so
 * that predictions for it stay fresh. Nothing is dropped when there is one candidate or no prediction at all. Both
 * modes agree; outside compat = strict an unknown headroom is not 0 or more. */
#include <llmd/plugin.h>

#include <math.h>

enum { TTFT, TPOT, VALID };
enum { POSITIVE, NEGATIVE, NONE };

typedef struct slo_headroom {
  llmd_str producer;
  double epsilon;
} slo_headroom;

static uint8_t tier(const llmd_batch *b, uint32_t i)
{
  if (b->f64[VALID][i] != b->f64[VALID][i])
    return NONE;
  return b->f64[TTFT][i] >= 0 && b->f64[TPOT][i] >= 0 ? POSITIVE : NEGATIVE;
}

/* Candidates of the tier, in their order, into order[at..]. */
static uint32_t append(const uint8_t *tiers, uint32_t n, uint8_t wanted, uint32_t *order, uint32_t at)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    if (tiers[i] == wanted)
      order[at++] = i;
  return at;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const slo_headroom *p = self;
  uint8_t *tiers = b->scratch;
  uint32_t n[3] = {0}, i, positive;
  uint64_t seed = b->seed;
  if (b->n <= 1)
    return 0;
  for (i = 0; i < b->n; i++)
    n[tiers[i] = tier(b, i)]++;
  if (n[NONE] == b->n)
    return 0;
  positive = n[POSITIVE] && (n[POSITIVE] == b->n || !(llmd_random_unit(&seed) < p->epsilon));
  for (i = 0; i < b->n; i++)
    keep[i] = (tiers[i] == POSITIVE) == positive;
  if (positive)
    return 0;
  i = append(tiers, b->n, NEGATIVE, order, 0);
  return (int)append(tiers, b->n, NONE, order, i);
}

static const llmd_param params[] = {
  {.name = "epsilonExploreNeg", .type = LLMD_PARAM_FLOAT, .offset = offsetof(slo_headroom, epsilon), .preset = "0.01",
   .min = 0, .max = 1, .doc = "how often the endpoints that are predicted to be late are kept instead"},
  {.name = "latencyPredictionInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(slo_headroom, producer),
   .doc = "producer of the predictions (predicted-latency-producer)"},
  {0}};

#define PREDICTION(what, strict_value)                                                                         \
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "LatencyPredictionInfo." what,                 \
   .from = "predicted-latency-producer", .from_offset = offsetof(slo_headroom, producer), .if_unknown = NAN,   \
   .if_unknown_strict = strict_value}
static const llmd_read reads[] = {
  [TTFT] = PREDICTION("ttft_headroom", 0), [TPOT] = PREDICTION("tpot_headroom", 0), [VALID] = PREDICTION("valid", NAN),
  {0}};

const llmd_plugin llmd__slo_headroom_tier_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "slo-headroom-tier-filter", .summary = "keeps endpoints predicted to meet the latency objectives",
  .kind = LLMD_FILTER, .stability = LLMD_BETA, .self_size = sizeof(slo_headroom), .scratch_each = 1,
  .params = params, .reads = reads,
  .filter = filter};
LLMD_MODULE(&llmd__slo_headroom_tier_filter);
