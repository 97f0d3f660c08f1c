/* utilization-filter: keeps endpoints of which every condition "metric <= maxValue" holds. When nothing is left and
 * fallbackOnEmpty is set, everything is kept.
 *
 * An unknown metric is 0 under compat = strict, as in the reference, and so passes. Otherwise an endpoint with a metric
 * that is unknown, infinite or negative (and none above its limit) is kept only when no endpoint is known to pass. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <stdio.h>

enum { ACTIVE, RUNNING, WAITING, USAGE }; /* metrics and, in the same order, reads */
enum { DROP, PASS, UNKNOWN };

typedef struct condition {
  double max;
  uint32_t metric;
} condition;

typedef struct utilization {
  llmd_list conditions; /* of condition */
  llmd_str producer;
  uint32_t fallback;
} utilization;

static int validate(void *self, llmd_err *err)
{
  const utilization *p = self;
  const condition *c = p->conditions.items;
  uint32_t i;
  if (p->conditions.n == 0) {
    snprintf(err->path, sizeof err->path, "conditions");
    snprintf(err->text, sizeof err->text, "must have at least one condition");
    return LLMD_E_MISSING;
  }
  for (i = 0; i < p->conditions.n; i++)
    if (c[i].metric == USAGE && c[i].max > 1) {
      snprintf(err->path, sizeof err->path, "conditions[%u].maxValue", (unsigned)i);
      snprintf(err->text, sizeof err->text, "must be at most 1 for kv-cache-utilization, which is a fraction");
      return LLMD_E_RANGE;
    }
  return 0;
}

static uint8_t verdict(const utilization *p, const llmd_batch *b, uint32_t i)
{
  const condition *c = p->conditions.items;
  const double bottom = b->strict ? -DBL_MAX : 0;
  uint8_t result = PASS;
  uint32_t k;
  for (k = 0; k < p->conditions.n; k++) {
    double value = b->f64[c[k].metric][i];
    if (!(value >= bottom && value <= DBL_MAX))
      result = UNKNOWN;
    else if (value > c[k].max)
      return DROP;
  }
  return result;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const utilization *p = self;
  uint32_t n[3] = {0}, i;
  (void)order;
  for (i = 0; i < b->n; i++)
    n[keep[i] = verdict(p, b, i)]++;
  for (i = 0; i < b->n; i++)
    keep[i] = n[PASS] ? keep[i] == PASS : n[UNKNOWN] ? keep[i] == UNKNOWN : p->fallback != 0;
  return 0;
}

static const llmd_enum metrics[] = {
  {"active-requests", ACTIVE}, {"running-requests", RUNNING}, {"waiting-queue", WAITING},
  {"kv-cache-utilization", USAGE}, {0}};

static const llmd_param condition_params[] = {
  {.name = "metric", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(condition, metric),
   .values = metrics, .doc = "what is compared"},
  {.name = "maxValue", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(condition, max),
   .min = 0, .max = DBL_MAX, .doc = "highest value that passes; kv-cache-utilization is 0..1"},
  {0}};

static const llmd_param params[] = {
  {.name = "conditions", .type = LLMD_PARAM_LIST, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(utilization, conditions), .sub = condition_params, .sub_size = sizeof(condition),
   .doc = "all must hold"},
  {.name = "fallbackOnEmpty", .type = LLMD_PARAM_BOOL, .offset = offsetof(utilization, fallback), .preset = "false",
   .doc = "keep all when none passes"},
  {.name = "inFlightLoadProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(utilization, producer),
   .doc = "producer of the load in flight (inflight-load-producer)"},
  {0}};

static const llmd_read reads[] = {
  [ACTIVE] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.requests",
              .from = "inflight-load-producer", .from_offset = offsetof(utilization, producer),
              .if_unknown = NAN, .if_unknown_strict = 0},
  [RUNNING] = {.kind = LLMD_READ_F64, .name = "RunningRequestsSize", .if_unknown = NAN, .if_unknown_strict = 0},
  [WAITING] = {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = 0},
  [USAGE] = {.kind = LLMD_READ_F64, .name = "KVCacheUsagePercent", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__utilization_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "utilization-filter", .summary = "keeps endpoints whose load is within limits",
  .kind = LLMD_FILTER, .stability = LLMD_ALPHA, .self_size = sizeof(utilization), .params = params, .reads = reads,
  .validate = validate, .filter = filter};
LLMD_MODULE(&llmd__utilization_filter);
