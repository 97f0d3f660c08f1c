/* utilization-detector: saturation by what the engines report, q = waiting queue, kv = KV cache usage.
 *
 *   saturation = mean over the endpoints of max(q / queueDepthThreshold, kv / kvCacheUtilThreshold); no endpoints: 1
 *   as filter:   keeps q < queueDepthThreshold * (1 + headroom) and kv < kvCacheUtilThreshold * (1 + headroom);
 *                fails open: when none is left, all are kept
 *
 * compat = strict: stale metrics make an endpoint saturated (1) and are dropped by the filter, as in the reference;
 * missing values are 0. Otherwise stale is not saturated: endpoints whose metrics are stale, or whose values are
 * unknown, infinite or negative, are left out of the mean (0.5 when nothing is known), and the filter keeps them only
 * when no endpoint is known to be within the limits. Which metrics are stale is the snapshot's verdict, the same for
 * every plugin; metricsStalenessThreshold is checked but does not decide. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

enum { WAITING, USAGE, FRESH };
enum { DROP, PASS, UNKNOWN };

typedef struct utilization_detector {
  int64_t queue;
  double usage;
  int64_t staleness; /* not used */
  double headroom;
} utilization_detector;

static int known(const llmd_batch *b, uint32_t i)
{
  const double bottom = b->strict ? -DBL_MAX : 0;
  double waiting = b->f64[WAITING][i], usage = b->f64[USAGE][i];
  return b->f64[FRESH][i] > 0 && waiting >= bottom && waiting <= DBL_MAX && usage >= bottom && usage <= DBL_MAX;
}

static int saturation(const void *self, const llmd_batch *b, double *out)
{
  const utilization_detector *p = self;
  double sum = 0;
  uint32_t i, n = 0;
  for (i = 0; i < b->n; i++) {
    double waiting = b->f64[WAITING][i] / (double)p->queue, usage = b->f64[USAGE][i] / p->usage;
    if (known(b, i))
      sum += waiting > usage ? waiting : usage;
    else if (b->strict)
      sum += 1;
    else
      continue;
    n++;
  }
  *out = b->n == 0 ? 1 : n == 0 ? 0.5 : sum / n;
  return 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const utilization_detector *p = self;
  const double queue_limit = (double)p->queue * (1 + p->headroom), usage_limit = p->usage * (1 + p->headroom);
  uint32_t n[3] = {0}, i;
  (void)order;
  for (i = 0; i < b->n; i++) {
    int within = b->f64[WAITING][i] < queue_limit && b->f64[USAGE][i] < usage_limit;
    keep[i] = known(b, i) ? (within ? PASS : DROP) : b->strict ? DROP : UNKNOWN;
    n[keep[i]]++;
  }
  for (i = 0; i < b->n; i++)
    keep[i] = n[PASS] ? keep[i] == PASS : n[UNKNOWN] ? keep[i] == UNKNOWN : 1;
  return 0;
}

static const llmd_param params[] = {
  {.name = "queueDepthThreshold", .type = LLMD_PARAM_INT, .offset = offsetof(utilization_detector, queue),
   .preset = "5", .min = 1, .max = 9e18, .doc = "waiting requests at which an endpoint is saturated"},
  {.name = "kvCacheUtilThreshold", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_ABOVE_MIN,
   .offset = offsetof(utilization_detector, usage), .preset = "0.8", .min = 0, .max = 1,
   .doc = "KV cache usage at which an endpoint is saturated"},
  {.name = "metricsStalenessThreshold", .type = LLMD_PARAM_DURATION,
   .flags = LLMD_PARAM_IGNORED | LLMD_PARAM_ABOVE_MIN, .offset = offsetof(utilization_detector, staleness),
   .preset = "200ms", .min = 0, .max = 9e18, .doc = "has no effect: the snapshot's own verdict decides"},
  {.name = "headroom", .type = LLMD_PARAM_FLOAT, .offset = offsetof(utilization_detector, headroom), .preset = "0",
   .min = 0, .max = DBL_MAX, .doc = "as filter: fraction by which the thresholds may be passed"},
  {0}};

static const llmd_read reads[] = {
  [WAITING] = {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = 0},
  [USAGE] = {.kind = LLMD_READ_F64, .name = "KVCacheUsagePercent", .if_unknown = NAN, .if_unknown_strict = 0},
  [FRESH] = {.kind = LLMD_READ_FRESH},
  {0}};

const llmd_plugin llmd__utilization_detector = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "utilization-detector", .summary = "saturation by reported queues and KV cache usage",
  .kind = LLMD_DETECTOR | LLMD_FILTER, .stability = LLMD_BETA, .self_size = sizeof(utilization_detector),
  .params = params, .reads = reads,
  .filter = filter, .saturation = saturation};
LLMD_MODULE(&llmd__utilization_detector);
