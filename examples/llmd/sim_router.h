/* sim_router.h: whoever decides where a request goes. The cluster calls, one thread, in order of simulated time.
 *
 *   on_metrics ... route -> (the request travels t_in, waits, is computed) -> on_first_token -> on_done
 *
 * Times are seconds of the simulation from 0. Verbs other than route may be NULL. */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include <stdint.h>

#include "sim_engine.h"
#include "sim_workload.h"

struct sim_cluster;

/* What is known when a request arrives. Valid during the call. */
struct sim_view {
  double now;
  uint64_t seed; /* for this decision: from the run's seed and the request */
  uint32_t n_engines;
  uint32_t block_size;
  const char *model;
  const struct sim_metrics *metrics; /* per engine, what on_metrics brought last; zeros before the first time */
  const struct sim_cluster *cluster; /* for sim_cluster_match: the engines' caches as they are */
};

struct sim_outcome {
  uint32_t engine;
  uint32_t prompt_tokens;
  uint32_t cached_tokens; /* as `usage` reports them */
  uint32_t output_tokens;
  double ttft;
  double e2e;
};

struct sim_router {
  const char *name;
  void *self;
  /* 0: *engine is chosen. Positive: refused, the request ends at once and counts as failed. Negative LLMD_E_*: the run
   * ends with it. */
  int (*route)(void *self, const struct sim_view *view, const struct sim_request *request, uint32_t *engine);
  /* As the client sees them, t_out after the engine. */
  void (*on_first_token)(void *self, double now, const struct sim_request *request, uint32_t engine);
  void (*on_done)(void *self, double now, const struct sim_request *request, const struct sim_outcome *outcome);
  /* One scrape of all engines, taken `lag` ago; with a period of 0, before every route and true at that moment.
   * Returns 0, or a negative LLMD_E_* that ends the run. */
  int (*on_metrics)(void *self, double now, const struct sim_metrics *per_engine, uint32_t n_engines);
  /* Nanoseconds the last decision alone took, where the router knows better than a clock around route. */
  uint64_t (*decision_ns)(void *self);
  void (*destroy)(void *self);
};

/* Whole blocks of the request's longest prefix that are in the engine's cache now. */
uint32_t sim_cluster_match(const struct sim_cluster *cluster, uint32_t engine, const struct sim_request *request);

/* For tests and comparisons. LLMD_E_NOMEM. Free with router->destroy(router->self). */
int sim_router_random(struct sim_router *router, uint64_t seed);
int sim_router_round_robin(struct sim_router *router);

#endif
