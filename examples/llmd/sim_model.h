/* sim_model.h: how long one scheduler iteration of an engine takes, and the coefficients that say so.
 *
 *   T = tw + tc * new_tokens + tkv * kv_read + ta * attention + tb * rows
 *
 *   new_tokens  prompt tokens computed plus one for each decoding row
 *   kv_read     context tokens that decoding rows read; a block shared by several is read once, and each further
 *               reader costs `beta` of it (1: no gain from sharing)
 *   attention   sum over prompt chunks of n * (context before + n / 2)
 *   rows        rows in the iteration */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdint.h>

#include <llmd/error.h>

struct sim_model {
  char name[64];
  double tw; /* seconds, all of them */
  double tc;
  double tkv;
  double ta;
  double tb;
  double beta;
  double t_in;  /* client to engine, and back */
  double t_out;
  double t_load; /* one token's keys and values from CPU memory */
  uint32_t kv_tokens;          /* capacity of the cache */
  uint32_t cpu_tokens;         /* of the tier below it, in CPU memory; 0 = there is none */
  uint32_t max_batched_tokens; /* new tokens of one iteration */
  uint32_t max_seqs;           /* rows of one iteration, at most max_batched_tokens */
};

struct sim_load { /* what one iteration has to do */
  uint32_t new_tokens;
  uint32_t rows;
  double kv_read;
  double attention;
};

#define SIM_MODEL_DEFAULT "qwen3-32b-bf16_h100_tp2_vllm2026-06"

/* The built-in set, named SIM_MODEL_DEFAULT. */
void sim_model_default(struct sim_model *model);

/* Set `name` out of a JSON file {"sets": {name: {tw, tc, tkv, ta, tb, beta?, tin_each_way?, t_load?,
 * kv_tokens?, mbt?, max_num_seqs?}}}. What is optional and absent comes from the built-in set (beta: 1).
 * Errors: LLMD_E_IO, _SYNTAX, _UNKNOWN_REF (no such set), _MISSING, _TYPE, _RANGE, _NOMEM; err says where. */
int sim_model_load(struct sim_model *model, const char *path, const char *name, llmd_err *err);

/* 0, or LLMD_E_RANGE with the field in err. */
int sim_model_check(const struct sim_model *model, llmd_err *err);

double sim_model_step(const struct sim_model *model, const struct sim_load *load);

/* Time an idle engine needs for the prompt tokens [cached, total), in chunks of max_batched_tokens. */
double sim_model_prefill(const struct sim_model *model, uint32_t cached, uint32_t total);

#endif
