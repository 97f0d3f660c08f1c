/* One example of a policy, as C has it: the situation that a verb is called in, and what must come out. */
#ifndef LLMD_LUA_SAMPLE_H
#define LLMD_LUA_SAMPLE_H

#include "module.h"

#define LLMD__LUA_SAMPLE_ROWS 256u
#define LLMD__LUA_SAMPLE_RUNS 16u

typedef struct llmd__lua_stored {
  llmd_str name;
  uint64_t value;
} llmd__lua_stored;

typedef struct llmd__lua_sample {
  const llmd__lua_policy *p;
  void *blocks;         /* what it owns */
  llmd__lua_self *self; /* defaults, and the example's parameters */
  const char *name;
  uint32_t line;
  char why[200];        /* what is wrong with it, or came out differently */

  /* the situation */
  uint32_t n; /* endpoints */
  double **f64;
  uint32_t **id; /* text[id - 1] */
  llmd_str *text;
  uint32_t n_texts;
  llmd_read_value *value;
  llmd_endpoint_id *endpoint;
  llmd_request_view view;
  uint64_t seed, now, wall;
  double *total;
  llmd__lua_stored *stored;
  uint32_t n_stored;
  llmd_str profile[LLMD__LUA_SAMPLE_RUNS];
  llmd_run run[LLMD__LUA_SAMPLE_RUNS];
  uint32_t n_runs, turn;

  /* what must come out: NULL, or -1 where that says nothing */
  double *scores;
  uint8_t *keep;
  uint32_t *picks; /* from 0 */
  int n_picks, first_only, decide, n_profiles;
  double **writes; /* [write], NULL = not said */
  llmd_str *profiles;
  llmd_str primary;
} llmd__lua_sample;

/* sample.c: the i-th example (from 1) of the policy whose text is loaded in s. self gives what the operator says
 * (limits). 0; LLMD_E_PLUGIN: there is something wrong with it, why says what; another code: s or memory failed. *out is to be
 * freed in any case. */
int llmd__lua_sample_read(llmd__lua *s, const llmd__lua_self *self, uint32_t i, llmd__lua_sample *out);
void llmd__lua_sample_free(llmd__lua_sample *s);

#endif
