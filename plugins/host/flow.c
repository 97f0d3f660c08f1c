/* Flow control policies: who waits, in what order, up to what load, and who is thrown out. They rule the queues of the
 * flowControl gate, which belongs to the host; here their parameters are checked and nothing runs. */
#include <llmd/plugin.h>

#include <float.h>
#include <stdio.h>

#define POLICY(name_, state, about) \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = name_, .summary = about, .kind = LLMD_INERT, \
   .stability = (state), .self_size = 1}

/* ---- fairness: which flow of a band is next ---------------------------------------------------------------------- */
const llmd_plugin llmd__global_strict_fairness_policy =
  POLICY("global-strict-fairness-policy", LLMD_BETA, "the best request of all flows is next");
const llmd_plugin llmd__round_robin_fairness_policy =
  POLICY("round-robin-fairness-policy", LLMD_BETA, "flows take turns");

typedef struct program_aware {
  uint32_t strategy;
  double ttl, sweep;
  double service, wait, half_life;
} program_aware;

static const llmd_enum strategies[] = {{"las", 0}, {"", 0}, {0}};

#define SECONDS(called, field, preset_text, flag, text)                                                            \
  {.name = called, .type = LLMD_PARAM_FLOAT, .flags = (flag), .offset = offsetof(program_aware, field), .min = 0, \
   .max = DBL_MAX, .preset = preset_text, .doc = text}
static const llmd_param program_aware_params[] = {
  {.name = "strategy", .type = LLMD_PARAM_ENUM, .offset = offsetof(program_aware, strategy), .preset = "las",
   .values = strategies, .doc = "las: least attained service first"},
  SECONDS("evictionTtlSeconds", ttl, "3600", 0, "a program not seen for so long is forgotten; 0 = never"),
  SECONDS("evictionSweepSeconds", sweep, "300", LLMD_PARAM_ABOVE_MIN, "how often that is looked after"),
  SECONDS("lasWeightService", service, "0.8", 0, "weight of little service so far"),
  SECONDS("lasWeightHeadWait", wait, "0.2", 0, "weight of a long wait"),
  SECONDS("lasHalfLifeSeconds", half_life, "60", 0, "service counts half after so long"),
  {0}};

const llmd_plugin llmd__program_aware_fairness = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "program-aware-fairness", .summary = "the flow that got least service and waited longest is next",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(program_aware), .params = program_aware_params};

/* ---- ordering: which request of a flow is next ------------------------------------------------------------------- */
const llmd_plugin llmd__fcfs_ordering_policy = POLICY("fcfs-ordering-policy", LLMD_BETA, "first come, first served");
const llmd_plugin llmd__edf_ordering_policy = POLICY("edf-ordering-policy", LLMD_BETA, "earliest deadline first");
const llmd_plugin llmd__slo_deadline_ordering_policy =
  POLICY("slo-deadline-ordering-policy", LLMD_BETA, "earliest time-to-first-token objective first");

/* ---- usage limits: how full the pool may get for a band ---------------------------------------------------------- */
typedef struct static_limit {
  double threshold;
} static_limit;

static const llmd_param static_limit_params[] = {
  {.name = "threshold", .type = LLMD_PARAM_FLOAT, .offset = offsetof(static_limit, threshold), .preset = "1",
   .doc = "saturation above which nothing is sent, for every priority"},
  {0}};

const llmd_plugin llmd__static_usage_limit_policy = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "static-usage-limit-policy", .summary = "one limit for all priorities",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(static_limit), .params = static_limit_params};

typedef struct holdback {
  uint32_t shape, domain;
  double least, most;
} holdback;

static int validate_holdback(void *self, llmd_err *err)
{
  const holdback *p = self;
  if (p->least < p->most)
    return 0;
  snprintf(err->path, sizeof err->path, "minCeiling");
  snprintf(err->text, sizeof err->text, "must be less than maxCeiling");
  return LLMD_E_RANGE;
}

static const llmd_enum shapes[] = {{"linear", 0}, {0}};
static const llmd_enum domains[] = {{"rank", 0}, {"value", 1}, {0}};
static const llmd_param holdback_params[] = {
  {.name = "shape", .type = LLMD_PARAM_ENUM, .offset = offsetof(holdback, shape), .preset = "linear", .values = shapes,
   .doc = "how limits lie between the lowest and the highest"},
  {.name = "domain", .type = LLMD_PARAM_ENUM, .offset = offsetof(holdback, domain), .preset = "rank",
   .values = domains, .doc = "by the rank of a priority, or by its value"},
  {.name = "minCeiling", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(holdback, least),
   .min = 0, .max = 1, .doc = "limit of the lowest priority; below maxCeiling"},
  {.name = "maxCeiling", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_ABOVE_MIN, .offset = offsetof(holdback, most),
   .preset = "1", .min = 0, .max = 1, .doc = "limit of the highest priority"},
  {0}};

const llmd_plugin llmd__priority_holdback_policy = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "priority-holdback-policy", .summary = "the lower the priority, the lower the limit",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = sizeof(holdback), .params = holdback_params,
  .validate = validate_holdback};

const llmd_plugin llmd__soft_reflective_ceiling_policy =
  POLICY("soft-reflective-ceiling-policy", LLMD_ALPHA, "lower priorities are let through less often as load rises");

/* ---- eviction: who is cancelled when something better waits ------------------------------------------------------ */
const llmd_plugin llmd__sheddable_eviction_filter =
  POLICY("sheddable-eviction-filter", LLMD_ALPHA, "only requests of negative priority can be cancelled");
const llmd_plugin llmd__priority_then_time_eviction_order_policy =
  POLICY("priority-then-time-eviction-order-policy", LLMD_ALPHA, "lowest priority first, then the newest");

LLMD_MODULE(&llmd__global_strict_fairness_policy, &llmd__round_robin_fairness_policy, &llmd__program_aware_fairness,
            &llmd__fcfs_ordering_policy, &llmd__edf_ordering_policy, &llmd__slo_deadline_ordering_policy,
            &llmd__static_usage_limit_policy, &llmd__priority_holdback_policy, &llmd__soft_reflective_ceiling_policy,
            &llmd__sheddable_eviction_filter, &llmd__priority_then_time_eviction_order_policy);
