/* latency-scorer: works on predictions of this request's latency at each endpoint. Headroom = objective - prediction,
 * for the time to first token (TTFT) and per output token (TPOT); negative = the objective would be missed.
 *
 *   group      who                           when
 *   FINE       no headroom is negative       somebody is fine: only these are scored
 *   IDLE       nothing dispatched to them    nobody is fine
 *   TPOT_LATE  only TPOT is missed           nobody is idle either: the first of these three groups with a member
 *   TTFT_LATE  only TTFT is missed
 *   BOTH_LATE  both are
 *
 * Inside the group |headroom| is normalised to 0..1 per dimension (a dimension in which all are equal gives 0.5, and
 * its weight to the other), c = weighted sum, score = (int((1 - c) * 100) + 1) / 100 for strategy least, int(c * 100)
 * for most; the strategy counts only among FINE. Everybody else gets 0. 1.01 is possible; the core clamps.
 *
 * Without any prediction: round(100 * (kv * (1 - usage) + queue * (longest - w) / longest + prefix * ratio)) / 100,
 * the three weights normalised to 1.
 *
 * compat = strict: an endpoint without prediction is FINE with headroom 0, as in the reference, and so wins under
 * "least". Otherwise it is UNKNOWN: when somebody is FINE it gets 0.005, behind all of these and before those known to
 * be late; when nobody is, the UNKNOWN are the group that is scored. So is an endpoint of which one headroom is
 * unknown and the other not negative. In the fallback an unknown usage or queue counts half. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <string.h>

#define STEPS 100
#define SAME 1e-9      /* a range below this is none */
#define BEHIND 0.005   /* less than the lowest score inside a group */

typedef struct latency {
  llmd_str predictions, prefixes; /* producers */
  llmd_str strategy;
  double ttft, tpot;
  double kv, queue, prefix;
  uint32_t most; /* strategy is "most" */
} latency;

enum { TTFT, TPOT, DISPATCHED, VALID, WAITING, USAGE, MATCH, TOTAL };
enum { FINE = 1, UNKNOWN = 2, IDLE = 4, TPOT_LATE = 8, TTFT_LATE = 16, BOTH_LATE = 32 };

/* Normalises one dimension of one group. */
typedef struct span {
  double least, range, weight;
} span;

static int validate(void *self, llmd_err *err)
{
  latency *p = self;
  (void)err;
  /* Anything else is least: the reference does not check it. */
  p->most = p->strategy.len == 4 && memcmp(p->strategy.ptr, "most", 4) == 0;
  return 0;
}

static int is_finite(double x)
{
  return x >= -DBL_MAX && x <= DBL_MAX;
}

static uint8_t group_of(const llmd_batch *b, uint32_t i)
{
  double ttft = b->f64[TTFT][i], tpot = b->f64[TPOT][i];
  int predicted = b->f64[VALID][i] == b->f64[VALID][i], late;
  if (!predicted || !(ttft < 0 || tpot < 0))
    return b->strict || (predicted && is_finite(ttft) && is_finite(tpot)) ? FINE : UNKNOWN;
  late = ttft < 0 && tpot < 0 ? BOTH_LATE : ttft < 0 ? TTFT_LATE : TPOT_LATE;
  return (uint8_t)(late | (b->f64[DISPATCHED][i] == 0 ? IDLE : 0));
}

static span span_of(const double *headroom, const uint8_t *group, uint8_t wanted, uint32_t n, double weight)
{
  double least = DBL_MAX, most = -DBL_MAX;
  span s;
  uint32_t i;
  for (i = 0; i < n; i++) {
    double h = fabs(headroom[i]);
    if (!(group[i] & wanted) || !is_finite(h))
      continue;
    least = h < least ? h : least;
    most = h > most ? h : most;
  }
  s.least = least;
  s.range = most - least;
  s.weight = weight;
  return s;
}

static double place(const span *s, double headroom)
{
  return s->range > SAME && is_finite(headroom) ? (fabs(headroom) - s->least) / s->range : 0.5;
}

/* Whole steps of a share, towards zero; weights are free, so it may lie outside 0..1. */
static double steps(double share)
{
  double x = share * STEPS;
  return x > -1e15 && x < 1e15 ? (double)(int64_t)x : 0;
}

static void score_group(const latency *p, const llmd_batch *b, const uint8_t *group, uint8_t wanted, double *out)
{
  double sum = p->ttft + p->tpot;
  span ttft = span_of(b->f64[TTFT], group, wanted, b->n, sum > 0 ? p->ttft / sum : 1);
  span tpot = span_of(b->f64[TPOT], group, wanted, b->n, sum > 0 ? p->tpot / sum : 0);
  uint32_t i;
  if (ttft.range <= SAME && tpot.range > SAME) {
    ttft.weight = 0;
    tpot.weight = 1;
  } else if (tpot.range <= SAME && ttft.range > SAME) {
    ttft.weight = 1;
    tpot.weight = 0;
  }
  for (i = 0; i < b->n; i++) {
    double c;
    if (!(group[i] & wanted))
      continue;
    c = ttft.weight * place(&ttft, b->f64[TTFT][i]) + tpot.weight * place(&tpot, b->f64[TPOT][i]);
    out[i] = (steps(p->most && wanted == FINE ? c : 1 - c) + 1) / STEPS;
  }
}

static double nearest(double x)
{
  double whole;
  if (!(x > -1e15 && x < 1e15))
    return 0;
  whole = (double)(int64_t)x;
  return fabs(x - whole) < 0.5 ? whole : whole + (x < 0 ? -1 : 1);
}

/* Load and prefix instead of predictions. */
static void score_without(const latency *p, const llmd_batch *b, double *out)
{
  const double bottom = b->strict ? -DBL_MAX : 0;
  double sum = p->kv + p->queue + p->prefix, longest = 0;
  double kv = sum > 0 ? p->kv / sum : 1, queue = sum > 0 ? p->queue / sum : 0, prefix = sum > 0 ? p->prefix / sum : 0;
  uint32_t i;
  for (i = 0; i < b->n; i++)
    longest = b->f64[WAITING][i] > longest && is_finite(b->f64[WAITING][i]) ? b->f64[WAITING][i] : longest;
  for (i = 0; i < b->n; i++) {
    double waiting = b->f64[WAITING][i], usage = b->f64[USAGE][i];
    double ratio = b->f64[TOTAL][i] > 0 ? b->f64[MATCH][i] / b->f64[TOTAL][i] : 0;
    double unused = usage >= bottom && is_finite(usage) ? 1 - usage : 0.5;
    double shorter = longest > 0 ? (longest - waiting) / longest : 1;
    if (!(waiting >= bottom && is_finite(waiting)))
      shorter = 0.5;
    if (!(b->strict ? is_finite(ratio) : ratio >= 0 && ratio <= 1))
      ratio = 0;
    out[i] = nearest(STEPS * (kv * unused + queue * shorter + prefix * ratio)) / STEPS;
  }
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  static const uint8_t turn[] = {FINE, UNKNOWN, IDLE, TPOT_LATE, TTFT_LATE, BOTH_LATE};
  uint8_t *group = b->scratch, seen = 0;
  uint32_t i, predicted = 0;
  size_t t = 0;
  for (i = 0; i < b->n; i++) {
    predicted += b->f64[VALID][i] == b->f64[VALID][i];
    group[i] = group_of(b, i);
    seen |= group[i];
  }
  if (!predicted) {
    score_without(self, b, out);
    return 0;
  }
  while (!(seen & turn[t]))
    t++;
  for (i = 0; i < b->n; i++)
    out[i] = group[i] == UNKNOWN ? BEHIND : 0;
  score_group(self, b, group, turn[t], out);
  return 0;
}

#define WEIGHT(field, preset_text, text)                                                                   \
  .type = LLMD_PARAM_FLOAT, .offset = offsetof(latency, field), .preset = preset_text, .doc = text
static const llmd_param params[] = {
  {.name = "ttftWeight", WEIGHT(ttft, "0.8", "weight of the headroom in time to first token")},
  {.name = "tpotWeight", WEIGHT(tpot, "0.2", "weight of the headroom in time per output token")},
  {.name = "headroomSelectionStrategy", .type = LLMD_PARAM_STRING, .offset = offsetof(latency, strategy),
   .preset = "least", .doc = "least packs requests where headroom is small, most spreads them; anything else is least"},
  {.name = "compositeKVWeight", WEIGHT(kv, "1", "without predictions: weight of the free KV cache")},
  {.name = "compositeQueueWeight", WEIGHT(queue, "1", "without predictions: weight of the short queue")},
  {.name = "compositePrefixWeight", WEIGHT(prefix, "1", "without predictions: weight of the cached prefix")},
  {.name = "latencyPredictionInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(latency, predictions),
   .doc = "producer of the predictions (predicted-latency-producer)"},
  {.name = "prefixMatchInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(latency, prefixes),
   .doc = "producer of the match information (approx-prefix-cache-producer)"},
  {0}};

#define PREDICTION(what, strict_value)                                                                         \
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "LatencyPredictionInfo." what,                 \
   .from = "predicted-latency-producer", .from_offset = offsetof(latency, predictions), .if_unknown = NAN,     \
   .if_unknown_strict = strict_value}
#define MATCH_INFO(what)                                                                                       \
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo." what,                  \
   .from = "approx-prefix-cache-producer", .from_offset = offsetof(latency, prefixes), .if_unknown = NAN,      \
   .if_unknown_strict = NAN}
static const llmd_read reads[] = {
  [TTFT] = PREDICTION("ttft_headroom", 0),
  [TPOT] = PREDICTION("tpot_headroom", 0),
  [DISPATCHED] = PREDICTION("dispatched", 0),
  [VALID] = PREDICTION("valid", NAN),
  [WAITING] = {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = 0},
  [USAGE] = {.kind = LLMD_READ_F64, .name = "KVCacheUsagePercent", .if_unknown = NAN, .if_unknown_strict = 0},
  [MATCH] = MATCH_INFO("match"),
  [TOTAL] = MATCH_INFO("total"),
  {0}};

const llmd_plugin llmd__latency_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "latency-scorer", .summary = "scores by the headroom that predicted latencies leave",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(latency), .scratch_each = 1,
  .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__latency_scorer);
