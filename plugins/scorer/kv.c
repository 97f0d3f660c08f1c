/* kv-cache-utilization-scorer: the emptier an endpoint's KV cache, the better.
 *
 *   score = 1 - usage      (usage 0..1; the core clamps what lies outside)
 *
 * An unknown usage is 0 under compat = strict, as in the reference. Otherwise an endpoint whose usage is unknown,
 * infinite or negative gets 0.5: behind a cache known to be emptier than half, before one known to be fuller. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *usage = b->f64[0];
  const double bottom = b->strict ? -DBL_MAX : 0;
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    int known = usage[i] >= bottom && usage[i] <= DBL_MAX;
    out[i] = known ? 1 - usage[i] : 0.5;
  }
  return 0;
}

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .name = "KVCacheUsagePercent", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__kv_cache_utilization_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "kv-cache-utilization-scorer", .summary = "prefers endpoints with free KV cache",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__kv_cache_utilization_scorer);
