/* load-aware-scorer: an empty queue gets 0.5, a full one 0. It never says more than 0.5, so that an affinity scorer
 * beside it always weighs more.
 *
 *   w = 0: 0.5;  else 0.5 * (1 - min(w, threshold) / threshold)
 *
 * An unknown queue is empty under compat = strict, as in the reference. Otherwise a queue that is unknown, infinite or
 * negative gets 0.25, half of the range. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

#define THRESHOLD 128

typedef struct load_aware {
  int64_t threshold;
} load_aware;

static int validate(void *self, llmd_err *err)
{
  load_aware *p = self;
  (void)err;
  if (p->threshold <= 0)
    p->threshold = THRESHOLD;
  return 0;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const load_aware *p = self;
  const double *waiting = b->f64[0];
  const double threshold = (double)p->threshold, bottom = b->strict ? -DBL_MAX : 0;
  uint32_t i;
  for (i = 0; i < b->n; i++) {
    int known = waiting[i] >= bottom && waiting[i] <= DBL_MAX;
    double queue = waiting[i] < threshold ? waiting[i] : threshold;
    out[i] = known ? 0.5 * (1 - queue / threshold) : 0.25;
  }
  return 0;
}

static const llmd_param params[] = {
  {.name = "threshold", .type = LLMD_PARAM_INT, .offset = offsetof(load_aware, threshold), .preset = "128",
   .doc = "queue length at which the score reaches 0; 0 or less means the default"},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__load_aware_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "load-aware-scorer", .summary = "prefers short waiting queues, by an absolute measure",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(load_aware), .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__load_aware_scorer);
