/* multicluster-queue-scorer: queue-scorer where each endpoint is a whole cluster and the queue is its average.
 *
 *   score = (longest - q) / (longest - shortest) over the clusters that report one; all equal: 1
 *
 * A cluster that does not report gets no score at all (it adds nothing), in both modes; infinite and, outside compat =
 * strict, negative values count as not reported. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *queue = b->f64[0];
  const double bottom = b->strict ? -DBL_MAX : 0;
  double least = INFINITY, most = -INFINITY;
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    int known = queue[i] >= bottom && queue[i] <= DBL_MAX;
    least = known && queue[i] < least ? queue[i] : least;
    most = known && queue[i] > most ? queue[i] : most;
  }
  for (i = 0; i < b->n; i++) {
    int known = queue[i] >= bottom && queue[i] <= DBL_MAX;
    double share = most == least ? 1 : (most - queue[i]) / (most - least);
    out[i] = known ? share : NAN;
  }
  return 0;
}

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL, .name = "llm-d.ai/multicluster-queue-size",
   .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__multicluster_queue_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "multicluster-queue-scorer", .summary = "prefers clusters with short queues",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__multicluster_queue_scorer);
