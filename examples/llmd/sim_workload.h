/* sim_workload.h: what is sent to the cluster, and when: all requests of a run, laid out before it starts.
 *
 * A workload is a row of stages. Offsets count from the start of the stage; a stage ends when all its requests have
 * ended, and the next one starts `pause` seconds later (as inference-perf does). Every policy sees the same workload.
 *
 * Prompts are chains of block ids: equal ids mean equal tokens in the block *and in everything before it*. Only whole
 * blocks have an id; the prompt_tokens % block_size tokens at the end are shared with nobody. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/error.h>

struct sim_request {
  uint64_t id;     /* position in the workload, from 0 */
  double offset;   /* seconds after the start of its stage, never falling within a stage */
  uint32_t stage;
  uint32_t group;  /* who shares a prefix with whom, where the workload knows (tenant); else 0 */
  uint32_t prompt; /* equal numbers: the same prompt, word for word */
  uint32_t prompt_tokens;
  uint32_t output_tokens;
  uint32_t n_blocks; /* prompt_tokens / block_size */
  const uint64_t *blocks;
  uint32_t ideal_tokens; /* prompt tokens that a cache of unlimited size would have had */
};

struct sim_stage {
  double rate; /* asked for, requests/s; 0 where a trace sets the times */
  double duration;
  double pause; /* before the next stage */
  uint32_t first;
  uint32_t count;
  uint32_t warmup; /* not 0: left out of totals */
};

struct sim_workload {
  char name[64];
  const char *model; /* what requests ask for */
  uint32_t block_size;
  uint32_t n_requests;
  uint32_t n_stages;
  struct sim_request *requests; /* by stage, then by offset */
  struct sim_stage *stages;
  uint64_t *blocks; /* all chains */
  size_t n_blocks;
};

struct sim_rate { /* one rung */
  double rate;
  double duration;
  uint32_t warmup;
};

/* The shared-prefix ladder. Prompts = groups * prompts_per_group, shuffled once by the seed, then sent in that order
 * round and round; every stage starts at the first again. Stages have int(rate * duration) requests. */
struct sim_ladder {
  uint32_t groups;
  uint32_t prompts_per_group;
  uint32_t system_tokens;
  uint32_t question_tokens;
  uint32_t output_tokens;
  uint32_t block_size;
  double pause;
  uint64_t seed;
  const struct sim_rate *rates;
  uint32_t n_rates;
};

/* llm-d's guide: 150 x 5 prompts of 6,000 + 1,200 tokens, 1,000 out, 3 to 60 requests/s; and five rungs of it. */
void sim_ladder_default(struct sim_ladder *ladder);
void sim_ladder_quick(struct sim_ladder *ladder);
/* llm-d's benchmark of tiered caches: 250 x 5 prompts of 16,000 + 256 tokens, 256 out, 5 to 40 requests/s: 4.3 million
 * distinct tokens on engines that hold 298,000 each in HBM. */
#define SIM_TIERED_KV_TOKENS 298000u
#define SIM_TIERED_CPU_TOKENS 1312000u /* of an engine, as published */
void sim_ladder_tiered(struct sim_ladder *ladder);

/* Rungs out of "RATE:SECONDS[w],..." ("15:50w,3:20,10:20"; w: warm-up). The caller frees *rates.
 * LLMD_E_SYNTAX, _RANGE, _LIMIT (more than 1,000 rungs) or _NOMEM; err->column says where. */
int sim_rates_parse(const char *text, struct sim_rate **rates, uint32_t *n_rates, llmd_err *err);

/* Errors: LLMD_E_INVALID (with err), LLMD_E_LIMIT (more than 2^24 requests), LLMD_E_NOMEM. */
int sim_workload_ladder(struct sim_workload *workload, const struct sim_ladder *ladder, llmd_err *err);

struct sim_trace {
  uint32_t block_size; /* tokens in each block of the trace: 512 for Mooncake's */
  double speed;        /* 2: twice as fast */
  uint32_t limit;      /* requests to take; 0 = all */
  uint64_t seed;       /* spreads requests with the same stamp inside the gap to the next one */
};

void sim_trace_default(struct sim_trace *trace);

/* Mooncake's JSONL: {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]} a line, one stage.
 * Strict: err->line and text say what is wrong (LLMD_E_SYNTAX, _MISSING, _TYPE, _RANGE, _LIMIT, _IO, _NOMEM). */
int sim_workload_mooncake(struct sim_workload *workload, const char *path, const struct sim_trace *trace,
                          llmd_err *err);

/* The tokens of a block: equal ids, equal tokens, of a vocabulary of 131,072. */
void sim_spell(uint64_t block, uint32_t *tokens, uint32_t n);

/* For whoever fills a workload by hand: works out ideal_tokens. LLMD_E_NOMEM leaves it as it was. */
int sim_workload_seal(struct sim_workload *workload);

/* Whether totals include stage i: it is no warm-up, or there is nothing but warm-ups. */
int sim_workload_counts(const struct sim_workload *workload, uint32_t i);

void sim_workload_free(struct sim_workload *workload); /* a zeroed one may be freed */

#endif
