/* lora-affinity-scorer: prefers endpoints that have the request's LoRA adapter loaded, then those with room for it.
 *
 *   1    the adapter is active
 *   0.8  active + waiting adapters < the endpoint's maximum: it can be loaded
 *   0.6  it is already waiting to be loaded
 *   0    otherwise
 *
 * Unknown sets and maxima are empty and 0 under compat = strict, as in the reference. Otherwise what is not known is
 * not there: a set that is unknown neither has the adapter nor has room, and an infinite maximum is no maximum. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

enum { ACTIVE, N_ACTIVE, WAITING, N_WAITING, MAX_ACTIVE };

static int score(const void *self, const llmd_batch *b, double *out)
{
  const double *active = b->f64[ACTIVE], *n_active = b->f64[N_ACTIVE];
  const double *waiting = b->f64[WAITING], *n_waiting = b->f64[N_WAITING];
  const double *max = b->f64[MAX_ACTIVE];
  uint32_t i;
  (void)self;
  for (i = 0; i < b->n; i++) {
    int room = n_active[i] + n_waiting[i] < max[i] && max[i] <= DBL_MAX; /* false for NaN */
    out[i] = active[i] > 0 ? 1.0 : room ? 0.8 : waiting[i] > 0 ? 0.6 : 0.0;
  }
  return 0;
}

static const llmd_read reads[] = {
  [ACTIVE] = {.kind = LLMD_READ_HAS_MODEL, .name = "ActiveModels", .if_unknown = NAN, .if_unknown_strict = 0},
  [N_ACTIVE] = {.kind = LLMD_READ_SET_SIZE, .name = "ActiveModels", .if_unknown = NAN, .if_unknown_strict = 0},
  [WAITING] = {.kind = LLMD_READ_HAS_MODEL, .name = "WaitingModels", .if_unknown = NAN, .if_unknown_strict = 0},
  [N_WAITING] = {.kind = LLMD_READ_SET_SIZE, .name = "WaitingModels", .if_unknown = NAN, .if_unknown_strict = 0},
  [MAX_ACTIVE] = {.kind = LLMD_READ_F64, .name = "MaxActiveModels", .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__lora_affinity_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "lora-affinity-scorer", .summary = "prefers endpoints that have the LoRA adapter, or room for it",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = 1, .reads = reads,
  .score = score};
LLMD_MODULE(&llmd__lora_affinity_scorer);
