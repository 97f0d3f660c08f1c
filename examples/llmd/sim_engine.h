/* sim_engine.h: one vLLM engine (V1 scheduler), step by step.
 *
 *   submit -> waiting -> running (prompt in chunks, then one token a step) -> done
 *                ^----------'  pre-empted: out of blocks, all of its own blocks dropped, computed again later
 *
 * One step: running rows first, in order; then waiting ones, first come first served, while tokens of the budget and
 * row numbers are left and nobody was pre-empted. A row gets blocks for its chunk only. When there are none, the last
 * running row is pre-empted and goes to the front of the queue. The last token of a prompt is always computed.
 *
 * With a tier in CPU memory (sim_model.cpu_tokens) each block goes there, too, as soon as it is full. Where the cached
 * prefix of a prompt ends, blocks from there on are loaded instead of computed. Loading runs beside computing: a step
 * takes as long as the longer of the two. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include <stdint.h>

#include "sim_histogram.h"
#include "sim_model.h"
#include "sim_workload.h"

struct sim_engine;
struct sim_publisher;

struct sim_metrics { /* what a scrape shows */
  uint32_t waiting;
  uint32_t running;
  double kv_usage; /* blocks in use / all blocks */
};

struct sim_counters { /* since creation */
  uint64_t steps;
  uint64_t preemptions;
  uint64_t prompt_tokens; /* of requests admitted, once each */
  uint64_t cached_tokens; /* of those, found in the cache */
  uint64_t loaded_tokens; /* from CPU memory */
  uint64_t computed_tokens;
  uint64_t output_tokens;
  uint64_t evictions;
  double busy; /* seconds */
};

#define SIM_FIRST_TOKEN 1
#define SIM_LAST_TOKEN 2 /* an answer of one token gives two records, the first token's before the last one's */
#define SIM_NEXT_TOKEN 3 /* those between, when asked for */

struct sim_token { /* a token that a step produced */
  uint32_t tag;
  uint32_t what;
  uint32_t cached_tokens; /* of the prompt, at first admission */
};

/* model is borrowed. LLMD_E_INVALID (less than one block of cache, no block size) or LLMD_E_NOMEM. */
int sim_engine_create(struct sim_engine **engine, const struct sim_model *model, uint32_t block_size);
void sim_engine_destroy(struct sim_engine *engine); /* NULL is allowed */
/* From now on the publisher, borrowed, is told of every change of the cache. */
void sim_engine_publish(struct sim_engine *engine, struct sim_publisher *publisher);
/* From now on a step tells of every token, not of first and last ones alone. */
void sim_engine_tell_all(struct sim_engine *engine);
/* All caches are empty, and all rows wait again, in their order. Not while a step is under way. The publisher is not
 * told: sim_publisher_restart or _cleared. */
void sim_engine_reset(struct sim_engine *engine);

/* Takes a request into the queue; it is borrowed until its last token. tag is the caller's name for it.
 * LLMD_E_LIMIT: it can never fit into the cache (vLLM refuses it too). LLMD_E_NOMEM. */
int sim_engine_submit(struct sim_engine *engine, const struct sim_request *request, uint32_t tag);

/* Forgets the request with that tag, wherever it is: 1, or 0 when there is none. Not while a step is under way. */
int sim_engine_cancel(struct sim_engine *engine, uint32_t tag);
/* Tags of those that wait, in their order, at most cap. Returns how many wait. */
uint32_t sim_engine_waiting(const struct sim_engine *engine, uint32_t *tag, uint32_t cap);

/* Schedules the next step: 1 and its duration, or 0 when there is nothing to do. Not while a step is under way. */
int sim_engine_begin(struct sim_engine *engine, double *duration);
/* Ends the step begun, at time `now`. Returns the number of tokens in *tokens (valid until the next call): the first
 * and last ones, or all. gaps (may be NULL) receives the time between tokens of every row. Cannot fail. */
uint32_t sim_engine_end(struct sim_engine *engine, double now, const struct sim_token **tokens,
                        struct sim_histogram *gaps);

void sim_engine_metrics(const struct sim_engine *engine, struct sim_metrics *metrics);
void sim_engine_counters(const struct sim_engine *engine, struct sim_counters *counters);
/* Whole blocks of the prompt that the engine holds now, in whatever tier, from its start on without a hole. */
uint32_t sim_engine_match(const struct sim_engine *engine, const struct sim_request *request);

/* Blocks held: different names in the cache, plus those in CPU memory. */
uint64_t sim_engine_held(const struct sim_engine *engine);

struct sim_cache;
const struct sim_cache *sim_engine_cache(const struct sim_engine *engine); /* for tests */

#endif
