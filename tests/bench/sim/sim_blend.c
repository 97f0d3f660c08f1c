#include "sim_blend.h"

#include "sim_rng.h"

struct queue_range {
  uint32_t least;
  uint32_t most;
};

static struct queue_range range_of(const struct sim_view *view)
{
  struct queue_range r = {UINT32_MAX, 0};
  for (uint32_t i = 0; i < view->n_engines; i++) {
    if (view->metrics[i].waiting < r.least)
      r.least = view->metrics[i].waiting;
    if (view->metrics[i].waiting > r.most)
      r.most = view->metrics[i].waiting;
  }
  return r;
}

static double score(const struct sim_blend *w, const struct sim_view *view, const struct sim_request *request,
                    const struct queue_range *range, uint32_t i)
{
  const struct sim_metrics *m = &view->metrics[i];
  double queue = range->most == range->least ? 1 : (double)(range->most - m->waiting) / (range->most - range->least);
  double match = 0;
  if (w->prefix > 0 && request->n_blocks)
    match = (double)sim_cluster_match(view->cluster, i, request) / request->n_blocks;
  return w->queue * queue + w->kv * (1 - m->kv_usage) + w->prefix * match;
}

static int route_blend(void *self, const struct sim_view *view, const struct sim_request *request, uint32_t *engine)
{
  struct queue_range range = range_of(view);
  struct sim_rng rng;
  double best = -1;
  uint32_t ties = 0;
  sim_rng_init(&rng, view->seed, 5);
  for (uint32_t i = 0; i < view->n_engines; i++) {
    double s = score(self, view, request, &range, i);
    if (s > best)
      ties = 0;
    if (s >= best && sim_rng_below(&rng, ++ties) == 0)
      *engine = i;
    if (s > best)
      best = s;
  }
  return 0;
}

struct sim_router sim_blend_router(const char *name, const struct sim_blend *weights)
{
  return (struct sim_router){.name = name, .self = (void *)(uintptr_t)weights, .route = route_blend};
}
