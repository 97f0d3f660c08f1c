#include "sim_router.h"

#include <stdlib.h>

#include "sim_rng.h"

static int route_random(void *self, const struct sim_view *view, const struct sim_request *request, uint32_t *engine)
{
  (void)request;
  *engine = sim_rng_below(self, view->n_engines);
  return 0;
}

static int route_next(void *self, const struct sim_view *view, const struct sim_request *request, uint32_t *engine)
{
  uint32_t *turn = self;
  (void)request;
  *engine = *turn % view->n_engines;
  *turn = *engine + 1;
  return 0;
}

int sim_router_random(struct sim_router *router, uint64_t seed)
{
  struct sim_rng *rng = malloc(sizeof *rng);
  if (!rng)
    return LLMD_E_NOMEM;
  sim_rng_init(rng, seed, 4);
  *router = (struct sim_router){.name = "random", .self = rng, .route = route_random, .destroy = free};
  return 0;
}

int sim_router_round_robin(struct sim_router *router)
{
  uint32_t *turn = calloc(1, sizeof *turn);
  if (!turn)
    return LLMD_E_NOMEM;
  *router = (struct sim_router){.name = "round-robin", .self = turn, .route = route_next, .destroy = free};
  return 0;
}
