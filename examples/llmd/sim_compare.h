/* sim_compare.h: several policies, several seeds, the same arrivals: what came out, side by side. */
#ifndef SIM_COMPARE_H
#define SIM_COMPARE_H

#include <stdint.h>
#include <stdio.h>

#include "sim_report.h"

#define SIM_COLLAPSED 5.0 /* seconds of mean TTFT: nobody waits that long */

struct sim_compare {
  uint32_t n_policies;
  uint32_t n_seeds;
  uint32_t n_stages;
  const char *const *policy; /* names, as tables show them */
  const char *const *words;  /* names, as a sentence has them */
  struct sim_summary *cell;  /* [policy][seed][stage, then the total] */
};

/* Room for all summaries. LLMD_E_NOMEM. */
int sim_compare_init(struct sim_compare *c, uint32_t n_policies, uint32_t n_seeds, uint32_t n_stages);
void sim_compare_free(struct sim_compare *c); /* a zeroed one may be freed */

/* Takes the figures out of a run. LLMD_E_NOMEM. */
int sim_compare_add(struct sim_compare *c, uint32_t policy, uint32_t seed, const struct sim_result *run);

/* Medians over the seeds, and the worst mean TTFT, a block of lines for each rung. */
void sim_compare_table(FILE *out, const struct sim_compare *c, const struct sim_workload *workload);

/* From which rate on the first token takes longer than SIM_COLLAPSED, by seed. Only for ladders. */
void sim_compare_knees(FILE *out, const struct sim_compare *c, const struct sim_workload *workload);

/* The last rung (or the whole trace) in plain words. */
void sim_compare_words(FILE *out, const struct sim_compare *c, const struct sim_workload *workload);

#endif
