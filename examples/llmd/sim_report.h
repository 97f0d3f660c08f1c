/* sim_report.h: what a run was worth: figures by stage and over all, as a table for people and as JSON in the shape
 * of inference-perf's lifecycle reports, marked "simulated": true.
 *
 * Definitions are inference-perf's: TTFT from send to first token, TPOT (E2E - TTFT) / (tokens - 1), output tokens/s
 * over last end - first send, percentiles interpolated linearly. Hit rate: cached / prompt tokens, over requests. */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "sim_cluster.h"

struct cJSON;

struct sim_spread {
  uint32_t n;
  double mean, min, max;
  double p0_1, p1, p5, p10, p25, p50, p75, p90, p95, p99, p99_9;
};

struct sim_summary {
  double rate; /* asked for; 0 in totals and traces */
  uint32_t requests;
  uint32_t failed;
  double seconds; /* last end - first send */
  double output_tok_s;
  double input_tok_s;
  double requests_s;
  struct sim_spread ttft, tpot, e2e, ntpot;
  double hit;         /* 0..1 */
  double ideal_hit;   /* what one cache of unlimited size for all would have had */
  double floor;       /* mean TTFT of such a cache on idle engines */
  double ttft_floor;  /* mean TTFT / floor */
  double imbalance;   /* busiest engine's busy time / mean */
  double decision_us; /* mean; 0 when not timed */
  double decision_p99_us;
  double prompt_tokens, cached_tokens, output_tokens;
  uint64_t preemptions;
  uint64_t evictions;
  uint64_t steps;
};

#define SIM_TOTAL UINT32_MAX

/* One stage, or SIM_TOTAL: every stage but warm-ups (all of them when there is nothing else). In totals output_tok_s,
 * input_tok_s and requests_s are means over the stages, which is how ladders are quoted; the rest is over requests.
 * LLMD_E_INVALID (no such stage) or LLMD_E_NOMEM. */
int sim_summarize(const struct sim_result *result, uint32_t stage, struct sim_summary *summary);

/* One block of lines for each stage (and the total), a line for each run; all runs are of one workload. Warm-up stages
 * are left out. LLMD_E_NOMEM or LLMD_E_IO. */
int sim_report_table(FILE *out, const struct sim_result *runs, uint32_t n_runs);
/* Of the runs whose router listened to the engines: what it heard, and whether it was true. */
void sim_report_heard(FILE *out, const struct sim_result *runs, uint32_t n_runs);
/* Totals only: a line for each run. */
int sim_report_totals(FILE *out, const struct sim_result *runs, uint32_t n_runs);

/* One run: {"simulated": true, "router", "config", "summary": {...}, "stages": [{...}]}, each entry shaped as
 * stage_N_lifecycle_metrics.json. per_request adds "requests". The caller deletes it. NULL: out of memory. */
struct cJSON *sim_report_json(const struct sim_result *run, int per_request);

#endif
