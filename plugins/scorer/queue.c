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

/* The usual case: every queue is known. Two passes that a compiler can do several at a time. */
static void score_known(const double *waiting, uint32_t n, double least, double most, double *out)
{
  const double range = most - least;
  for (uint32_t i = 0; i < n; i++)
    out[i] = range > 0 ? (most - waiting[i]) / range : 1;
}

static void score_some(const double *waiting, uint32_t n, double bottom, double *out)
{
  double least = INFINITY, most = -INFINITY, unknown;
  uint32_t i;
  for (i = 0; i < n; i++) {
    int known = waiting[i] >= bottom && waiting[i] <= DBL_MAX;
    least = known && waiting[i] < least ? waiting[i] : least;
    most = known && waiting[i] > most ? waiting[i] : most;
  }
  unknown = least <= most ? 0.5 : 1;
  for (i = 0; i < n; i++) {
    int known = waiting[i] >= bottom && waiting[i] <= DBL_MAX;
    double share = most == least ? 1 : (most - waiting[i]) / (most - least);
    out[i] = known ? share : unknown;
  }
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *waiting = b->f64[0];
  const double bottom = b->strict ? -DBL_MAX : 0;
  double least = INFINITY, most = -INFINITY, sum = 0;
  (void)self;
  for (uint32_t i = 0; i < b->n; i++) {
    least = waiting[i] < least ? waiting[i] : least;
    most = waiting[i] > most ? waiting[i] : most;
    sum += waiting[i]; /* NaN in any of them shows here, which a comparison would pass over */
  }
  if (sum == sum && least >= bottom && most <= DBL_MAX)
    score_known(waiting, b->n, least, most, out);
  else
    score_some(waiting, b->n, bottom, out);
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
