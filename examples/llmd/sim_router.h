/* sim_router.h: whoever decides where a request goes. The cluster calls, one thread, in order of simulated time.
 *
 *   on_metrics ... route -> (the request travels t_in, waits, is computed) -> on_first_token -> on_done
 *
 * A router with on_message hears what the engines tell of their caches, too: on_message ... on_tick; and when all
 * requests have ended and all messages are there: on_connect, more messages, on_settled.
 *
 * Times are seconds of the simulation from 0. Verbs other than route may be NULL. */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include <stdint.h>

#include <llmd/types.h>

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

#define SIM_LIVE 1u   /* a message of the subscription: topic, number, payload */
#define SIM_REPLAY 2u /* of the answer to a replay request, the end mark at last */

/* What a router made of the engines' events. */
struct sim_heard {
  uint64_t messages, bytes; /* given to libllmd, replays and all */
  uint64_t events, blocks;  /* applied */
  uint64_t gaps, restarts, replays;
  uint64_t lost;            /* the cluster's count of messages that were never there */
  double seconds;           /* of the machine's time */
  /* At decisions: blocks that engines hold of the request, beside what the index says. */
  uint64_t decisions;
  uint64_t held;     /* by the engines */
  uint64_t known;    /* of them, by the index */
  uint64_t promised; /* by the index alone: of a request that was sent there and has not answered yet */
  uint64_t wrong;    /* by the index alone, for no such reason */
  uint64_t agreed;   /* decisions at which index and engines said the same, but for promises */
  /* After the end: the same for `prompts` prompts, and all blocks held, by the engines and in the index. */
  uint64_t prompts, end_held, end_known, end_wrong;
  uint64_t engine_blocks, index_blocks, index_bytes;
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
  /* A message, as frames. 1: the engine is to be asked for its messages from number *from on; 0; or a negative
   * LLMD_E_*, which ends the run. */
  int (*on_message)(void *self, double now, uint32_t engine, uint32_t what, const llmd_str *frame, uint32_t n,
                    uint64_t *from);
  /* Every second; until it returns 0. 1: that engine is to be asked. With on_message. */
  int (*on_tick)(void *self, double now, uint32_t *engine, uint64_t *from);
  int (*on_connect)(void *self, double now, uint32_t engine); /* the subscription was made anew */
  int (*on_settled)(void *self, double now, const struct sim_cluster *cluster);
  void (*heard)(void *self, struct sim_heard *heard);
  void (*destroy)(void *self);
};

/* Whole blocks of the request's longest prefix that the engine holds now. */
uint32_t sim_cluster_match(const struct sim_cluster *cluster, uint32_t engine, const struct sim_request *request);

uint64_t sim_cluster_held(const struct sim_cluster *cluster); /* blocks of all engines, by tier */

/* For tests and comparisons. LLMD_E_NOMEM. Free with router->destroy(router->self). */
int sim_router_random(struct sim_router *router, uint64_t seed);
int sim_router_round_robin(struct sim_router *router);

#endif
