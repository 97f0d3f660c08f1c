/* sim_listener.h: the host's side of KV events: what arrives goes into the pool's exact index, what libllmd asks for is
 * asked for; and, since the simulator knows what is true, the index's answers are held against it.
 *
 *   messages ──► llmd_events_feed ──► llmd_pool_index ──► decisions
 *                     └─► ask                  └─► sim_listener_check: the same question, beside the engines' caches */
#ifndef SIM_LISTENER_H
#define SIM_LISTENER_H

#include <stdint.h>

#include <llmd/llmd.h>

#include "sim_router.h"
#include "sim_workload.h"

struct sim_listener;

struct sim_listener_options {
  llmd_pool *pool; /* all are borrowed */
  const llmd_endpoint_id *endpoint; /* [n_engines] */
  uint32_t n_engines;
  uint32_t slots; /* endpoint slots of the pool */
  uint64_t held; /* blocks that all engines can hold */
  const struct sim_workload *workload;
  llmd_log_fn log;
  void *log_ud;
};

/* Codes of libllmd, or LLMD_E_NOMEM. */
int sim_listener_open(struct sim_listener **listener, const struct sim_listener_options *options, llmd_err *err);
void sim_listener_close(struct sim_listener *listener); /* NULL is allowed */

/* As the router's verbs of these names. */
int sim_listener_message(struct sim_listener *listener, const llmd_now *now, uint32_t engine, uint32_t what,
                         const llmd_str *frame, uint32_t n, uint64_t *from);
int sim_listener_tick(struct sim_listener *listener, const llmd_now *now, uint32_t *engine, uint64_t *from);
int sim_listener_connect(struct sim_listener *listener, const llmd_now *now, uint32_t engine);
int sim_listener_settled(struct sim_listener *listener, const llmd_now *now, const struct sim_cluster *cluster);
void sim_listener_heard(struct sim_listener *listener, struct sim_heard *heard);

/* Before a decision: what does the index say of this request? tokens: the prompt's. */
int sim_listener_check(struct sim_listener *listener, const struct sim_cluster *cluster,
                       const struct sim_request *request, const uint32_t *tokens);
/* The request went there; and its first token came: until then its blocks may be promised. */
int sim_listener_sent(struct sim_listener *listener, const struct sim_request *request, uint32_t engine);
void sim_listener_answered(struct sim_listener *listener, const struct sim_request *request);

/* The prompt's tokens: those of its blocks, and a tail that nobody shares. */
void sim_listener_spell(const struct sim_request *request, uint32_t block_size, uint32_t *tokens);

#endif
