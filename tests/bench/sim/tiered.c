#include "tiered.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim_report.h"
#include "sim_router_llmd.h"

#define N_RATES 4
#define N_TIERS 2
#define MOST_SEEDS 16

/* llm-d's guide, tiered prefix cache, Qwen3-32B on 16 x H100: total tokens/s and mean TTFT. */
static const struct {
  double rate, tok_s[N_TIERS], ttft[N_TIERS];
} published[N_RATES] = {
  {5, {74638.5, 82880.0}, {1.62, 1.17}},
  {10, {122387.7, 167027.5}, {8.08, 0.41}},
  {20, {114663.2, 300749.2}, {43.67, 0.89}},
  {40, {115645.0, 331212.6}, {115.57, 25.38}},
};

/* The guide's weights are 1 for queue, KV usage, prefix in GPU memory, prefix in CPU memory, and LRU. */
static const char config[] =
  "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
  "- type: precise-prefix-cache-producer\n  parameters: {speculativeIndexing: true}\n"
  "- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n"
  "- type: no-hit-lru-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n"
  "- type: queue-scorer\n- type: kv-cache-utilization-scorer\n- type: max-score-picker\n"
  "schedulingProfiles:\n- name: default\n  plugins:\n"
  "  - {pluginRef: prefix-cache-scorer, weight: 2}\n  - {pluginRef: no-hit-lru-scorer, weight: 1}\n"
  "  - {pluginRef: queue-scorer, weight: 1}\n  - {pluginRef: kv-cache-utilization-scorer, weight: 1}\n"
  "  - pluginRef: max-score-picker\n";

struct cell {
  double tok_s[MOST_SEEDS], ttft[MOST_SEEDS];
};

static void die(const char *what)
{
  fprintf(stderr, "sim-check: %s\n", what);
  exit(1);
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
  qsort(values, n, sizeof *values, ascending);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void run(const struct sim_workload *w, uint32_t seed, uint32_t tier, double lag, struct cell cells[][N_TIERS])
{
  llmd_err err = LLMD_ERR_INIT;
  struct sim_model model;
  struct sim_router router;
  struct sim_result result = {0};
  struct sim_summary s;
  sim_model_default(&model);
  model.kv_tokens = SIM_TIERED_KV_TOKENS;
  model.cpu_tokens = tier ? SIM_TIERED_CPU_TOKENS : 0;
  struct sim_llmd_options options = {.name = "tiered", .config = config, .config_len = sizeof config - 1, .workload = w,
                                     .model = &model, .n_engines = 8, .seed = seed + 1};
  struct sim_config k = {.model = &model, .workload = w, .n_engines = 8, .seed = seed + 1, .metrics_period = 0.05,
                         .metrics_lag = lag, .event_lag = lag};
  if (sim_router_llmd(&router, &options, &err))
    die(err.text);
  if (sim_run(&k, &router, &result, NULL, NULL))
    die("the run failed");
  router.destroy(router.self);
  for (uint32_t i = 0; i < N_RATES; i++) {
    if (sim_summarize(&result, i, &s))
      die("out of memory");
    cells[i][tier].tok_s[seed] = s.input_tok_s + s.output_tok_s;
    cells[i][tier].ttft[seed] = s.ttft.mean;
  }
  sim_result_free(&result);
}

static void print_cell(struct cell *c, uint32_t seeds, uint32_t i, uint32_t tier, int json)
{
  static const char *const name[N_TIERS] = {"HBM only", "HBM + CPU"};
  double tok_s = median(c->tok_s, seeds), ttft = median(c->ttft, seeds);
  double off = (tok_s / published[i].tok_s[tier] - 1) * 100;
  if (!json) {
    printf(" | %8.0f %8.0f %+6.1f%% %7.2f %7.2f", published[i].tok_s[tier], tok_s, off, published[i].ttft[tier], ttft);
    return;
  }
  printf("{\"row\": \"sim tiered, %s, at %g req/s, total\", \"value\": %.6g, \"unit\": \"tok/s\"}\n", name[tier],
         published[i].rate, tok_s);
  printf("{\"row\": \"sim tiered, %s, at %g req/s, off published\", \"value\": %.3g, \"unit\": \"%%\"}\n", name[tier],
         published[i].rate, off);
  printf("{\"row\": \"sim tiered, %s, at %g req/s, mean TTFT\", \"value\": %.4g, \"unit\": \"s\"}\n", name[tier],
         published[i].rate, ttft);
}

void tiered_check(uint32_t seeds, double lag, int json)
{
  static struct cell cells[N_RATES][N_TIERS];
  for (uint32_t seed = 0; seed < seeds; seed++) {
    struct sim_ladder ladder;
    struct sim_workload w;
    sim_ladder_tiered(&ladder);
    ladder.seed = seed + 1;
    if (sim_workload_ladder(&w, &ladder, NULL))
      die("out of memory");
    for (uint32_t tier = 0; tier < N_TIERS; tier++)
      run(&w, seed, tier, lag, cells);
    sim_workload_free(&w);
  }
  if (!json)
    printf("      | HBM only: total tok/s, TTFT s                | HBM + CPU\n"
           "req/s |    publ.      sim   error   publ.     sim |    publ.      sim   error   publ.     sim\n");
  for (uint32_t i = 0; i < N_RATES; i++) {
    if (!json)
      printf("%5g", published[i].rate);
    for (uint32_t tier = 0; tier < N_TIERS; tier++)
      print_cell(&cells[i][tier], seeds, i, tier, json);
    if (!json)
      printf("\n");
  }
}
