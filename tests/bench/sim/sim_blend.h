/* sim_blend.h: a throw-away router for checking the simulator without libllmd: a weighted sum of queue, free cache and
 * longest cached prefix over exact state (the simulator's own caches), ties at random. */
#ifndef SIM_BLEND_H
#define SIM_BLEND_H

#include <stdint.h>

#include "sim_router.h"

struct sim_blend {
  double queue;  /* weight of (most waiting - waiting) / (most - least waiting), 1 when all are equal */
  double kv;     /* of 1 - usage */
  double prefix; /* of matched blocks / blocks of the prompt */
};

/* weights are borrowed. */
struct sim_router sim_blend_router(const char *name, const struct sim_blend *weights);

#endif
