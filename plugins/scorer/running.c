/* running-requests-size-scorer: the fewer requests an endpoint is running, the better.
 *
 *   score = (most - r) / (most - least) over the candidates; all equal: 1
 *
 * An unknown count is 0 under compat = strict, as in the reference. Otherwise an endpoint whose count is unknown,
 * infinite or negative takes no part in least and most and gets 0.5: behind one known to be free, before one known to
 * be busy (and 1 when no count is known). */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *running = b->f64[0];
  const double bottom = b->strict ? -DBL_MAX : 0;
  double least = INFINITY, most = -INFINITY, unknown;
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    int known = running[i] >= bottom && running[i] <= DBL_MAX;
    least = known && running[i] < least ? running[i] : least;
    most = known && running[i] > most ? running[i] : most;
  }
  unknown = least <= most ? 0.5 : 1;
  for (i = 0; i < b->n; i++) {
    int known = running[i] >= bottom && running[i] <= DBL_MAX;
    double share = most == least ? 1 : (most - running[i]) / (most - least);
    out[i] = known ? share : unknown;
  }
  return 0;
}

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .name = "RunningRequestsSize", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__running_requests_size_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "running-requests-size-scorer", .summary = "prefers endpoints that run few requests",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__running_requests_size_scorer);
