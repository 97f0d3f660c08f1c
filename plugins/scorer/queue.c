/* queue-scorer: the shorter an endpoint's waiting queue, the better.
 *
 *   score = (longest - w) / (longest - shortest) over the candidates; all equal: 1
 *
 * An unknown queue counts as 0 under compat = strict, as in the reference. Otherwise an endpoint whose queue is
 * unknown, infinite or negative takes no part in shortest and longest and gets 0.5: behind a queue known to be short,
 * before one known to be long (and 1 when no queue is known). */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *waiting = b->f64[0];
  const double bottom = b->strict ? -DBL_MAX : 0;
  double least = INFINITY, most = -INFINITY, unknown;
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    int known = waiting[i] >= bottom && waiting[i] <= DBL_MAX;
    least = known && waiting[i] < least ? waiting[i] : least;
    most = known && waiting[i] > most ? waiting[i] : most;
  }
  unknown = least <= most ? 0.5 : 1;
  for (i = 0; i < b->n; i++) {
    int known = waiting[i] >= bottom && waiting[i] <= DBL_MAX;
    double share = most == least ? 1 : (most - waiting[i]) / (most - least);
    out[i] = known ? share : unknown;
  }
  return 0;
}

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__queue_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "queue-scorer", .summary = "prefers short waiting queues",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__queue_scorer);
