/* multicluster-kv-cache-utilization-scorer: kv-cache-utilization-scorer where each endpoint is a whole cluster and the
 * usage is its average.
 *
 *   score = 1 - usage
 *
 * A cluster that does not report gets no score at all (it adds nothing), in both modes; infinite and, outside compat =
 * strict, negative values count as not reported. */
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
    out[i] = known ? 1 - usage[i] : NAN;
  }
  return 0;
}

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL, .name = "llm-d.ai/multicluster-kv-cache-utilization",
   .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__multicluster_kv_cache_utilization_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "multicluster-kv-cache-utilization-scorer", .summary = "prefers clusters with free KV cache",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__multicluster_kv_cache_utilization_scorer);
