/* The ladder of llm-d's guide, every decision made by libllmd: random choice and three blends of prefix, queue and KV
 * cache scores, next to what was published; and the time and memory that a whole trace takes.
 *
 *   sim-check [--seeds N] [--lag SECONDS] [--json] [--trace FILE | --tiered]
 *
 * --tiered: the benchmark of tiered caches instead, decided by the exact index fed with events.
 * --json prints one {"row", "value", "unit"} a line. It prints; it never judges. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "published.h"
#include "sim_cluster.h"
#include "sim_report.h"
#include "sim_router_llmd.h"
#include "tiered.h"

#define COLLAPSED 5.0 /* seconds of mean TTFT */
#define PERIOD 0.05   /* of scrapes: the reference's */

enum { RANDOM, BLEND, APPROX, FLAT, N_POLICIES, MOST_SEEDS = 16, MOST_RUNGS = 32 };

struct options {
  uint32_t seeds;
  double lag;
  int json, tiered;
  const char *trace;
  const char *shared;
};

struct cell {
  double tok_s[MOST_SEEDS];
  double ttft[MOST_SEEDS];
};

static const struct {
  const char *name;
  int prefix, queue, kv; /* weights; none: random */
  int exact;             /* the prefix column comes from the engines' own caches */
} policies[N_POLICIES] = {
  [RANDOM] = {"random", 0, 0, 0, 0},
  [BLEND] = {"blend 3:2:2", 3, 2, 2, 1},
  [APPROX] = {"blend 3:2:2, approximate", 3, 2, 2, 0},
  [FLAT] = {"blend 1:1:1", 1, 1, 1, 1},
};

static uint64_t clock_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what, int code)
{
  fprintf(stderr, "sim-check: %s: error %d\n", what, code);
  exit(1);
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(const double *values, uint32_t n)
{
  double v[MOST_SEEDS];
  memcpy(v, values, n * sizeof *v);
  qsort(v, n, sizeof *v, ascending);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double largest(const double *values, uint32_t n)
{
  double most = values[0];
  for (uint32_t i = 1; i < n; i++)
    most = fmax(most, values[i]);
  return most;
}

static double smallest(const double *values, uint32_t n)
{
  double least = values[0];
  for (uint32_t i = 1; i < n; i++)
    least = fmin(least, values[i]);
  return least;
}

static int write_config(int policy, char *text, size_t size)
{
  static const char head[] = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n";
  if (policies[policy].prefix == 0)
    return snprintf(text, size, "%s- type: random-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
                    "  - pluginRef: random-picker\n", head);
  return snprintf(text, size, "%s- type: prefix-cache-scorer\n- type: queue-scorer\n"
                  "- type: kv-cache-utilization-scorer\n- type: max-score-picker\n"
                  "schedulingProfiles:\n- name: default\n  plugins:\n"
                  "  - {pluginRef: prefix-cache-scorer, weight: %d}\n  - {pluginRef: queue-scorer, weight: %d}\n"
                  "  - {pluginRef: kv-cache-utilization-scorer, weight: %d}\n  - pluginRef: max-score-picker\n",
                  head, policies[policy].prefix, policies[policy].queue, policies[policy].kv);
}

static struct sim_result run_policy(const struct sim_config *config, int policy)
{
  char text[1024];
  llmd_err err = LLMD_ERR_INIT;
  struct sim_llmd_options options = {
    .name = policies[policy].name, .config = text, .config_len = (size_t)write_config(policy, text, sizeof text),
    .workload = config->workload, .model = config->model, .n_engines = config->n_engines, .seed = config->seed,
    .exact = policies[policy].exact,
  };
  struct sim_router router;
  struct sim_result result = {0};
  int code = sim_router_llmd(&router, &options, &err);
  if (code)
    die(err.text, code);
  code = sim_run(config, &router, &result, NULL, NULL);
  if (code)
    die(policies[policy].name, code);
  router.destroy(router.self);
  return result;
}

/* One seed, all policies: fills column `seed` of the cells. */
static void run_ladder(const struct options *o, uint32_t seed, struct cell cells[MOST_RUNGS][N_POLICIES])
{
  struct sim_model model;
  struct sim_ladder ladder;
  struct sim_workload workload;
  int code;
  sim_model_default(&model);
  sim_ladder_default(&ladder);
  ladder.seed = seed + 1;
  code = sim_workload_ladder(&workload, &ladder, NULL);
  if (code)
    die("ladder", code);
  struct sim_config config = {.model = &model, .workload = &workload, .n_engines = 8, .seed = seed + 1,
                              .metrics_period = PERIOD, .metrics_lag = o->lag, .clock_ns = clock_ns};
  for (int policy = 0; policy < N_POLICIES; policy++) {
    struct sim_result result = run_policy(&config, policy);
    for (uint32_t i = 0; i < workload.n_stages; i++) {
      struct sim_summary s;
      code = sim_summarize(&result, i, &s);
      if (code)
        die("summary", code);
      cells[i][policy].tok_s[seed] = s.output_tok_s;
      cells[i][policy].ttft[seed] = s.ttft.mean;
    }
    sim_result_free(&result);
  }
  sim_workload_free(&workload);
}

static double off(double value, double published)
{
  return (value / published - 1) * 100;
}

static void print_text(const struct options *o, const struct sim_rate *rate, const struct published_row *p,
                       const struct cell *c)
{
  double random = median(c[RANDOM].tok_s, o->seeds), blend = median(c[BLEND].tok_s, o->seeds);
  double approx = median(c[APPROX].tok_s, o->seeds);
  printf("%5g | %6.0f %6.0f %+6.1f%% %7.2f %7.2f | %6.0f %6.0f %+6.1f%% %6.3f %6.3f %6.3f | %6.0f %+6.1f%% %6.3f %6.3f "
         "| %6.0f %7.2f %7.2f\n",
         rate->rate, p ? p->baseline_tok_s : NAN, random, p ? off(random, p->baseline_tok_s) : NAN,
         p ? p->baseline_ttft : NAN, median(c[RANDOM].ttft, o->seeds), p ? p->routed_tok_s : NAN, blend,
         p ? off(blend, p->routed_tok_s) : NAN, p ? p->routed_ttft : NAN, median(c[BLEND].ttft, o->seeds),
         largest(c[BLEND].ttft, o->seeds), approx, p ? off(approx, p->routed_tok_s) : NAN,
         median(c[APPROX].ttft, o->seeds), largest(c[APPROX].ttft, o->seeds), median(c[FLAT].tok_s, o->seeds),
         smallest(c[FLAT].ttft, o->seeds), largest(c[FLAT].ttft, o->seeds));
}

static void print_row(const char *name, double rate, double value, const char *unit)
{
  printf("{\"row\": \"sim ladder, %s, at %g req/s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, rate, value, unit);
}

static void print_json(const struct options *o, const struct sim_rate *rate, const struct published_row *p,
                       const struct cell *c)
{
  for (int policy = 0; policy < N_POLICIES; policy++) {
    char name[64];
    double tok_s = median(c[policy].tok_s, o->seeds);
    (void)snprintf(name, sizeof name, "%s, output", policies[policy].name);
    print_row(name, rate->rate, tok_s, "tok/s");
    (void)snprintf(name, sizeof name, "%s, mean TTFT", policies[policy].name);
    print_row(name, rate->rate, median(c[policy].ttft, o->seeds), "s");
    (void)snprintf(name, sizeof name, "%s, off published output", policies[policy].name);
    if (p && policy != FLAT)
      print_row(name, rate->rate, off(tok_s, policy == RANDOM ? p->baseline_tok_s : p->routed_tok_s), "%");
  }
}

static void print_knees(const struct options *o, const struct sim_ladder *ladder,
                        struct cell cells[MOST_RUNGS][N_POLICIES])
{
  for (int policy = 0; policy < N_POLICIES; policy++) {
    printf("%-25s mean TTFT above %g s from", policies[policy].name, COLLAPSED);
    for (uint32_t s = 0; s < o->seeds; s++) {
      uint32_t i = 0;
      while (i < ladder->n_rates && !(cells[i][policy].ttft[s] > COLLAPSED && !ladder->rates[i].warmup))
        i++;
      if (i < ladder->n_rates)
        printf(" %g", ladder->rates[i].rate);
      else
        printf(" never");
    }
    printf(" req/s (by seed)\n");
  }
}

static void check_ladder(const struct options *o)
{
  static struct cell cells[MOST_RUNGS][N_POLICIES];
  struct published published = {0};
  struct sim_ladder ladder;
  char path[4096];
  sim_ladder_default(&ladder);
  (void)snprintf(path, sizeof path, "%s/data/published/guide_optimized_vllm_qwen3-32b_8xTP2H100.csv", o->shared);
  if (published_read(&published, path) && !o->json)
    printf("skipped: needs the published table of the shared folder; simulated figures only\n");
  for (uint32_t seed = 0; seed < o->seeds; seed++)
    run_ladder(o, seed, cells);
  if (!o->json)
    printf("      | random: output tok/s, TTFT s            | blend 3:2:2, exact index: tok/s, TTFT s (worst) "
           "| approximate index              | blend 1:1:1, exact\nreq/s |  publ.    sim   error   publ.     sim "
           "|  publ.    sim   error  publ.    sim  worst |    sim   error    sim  worst |    sim  TTFT from..to\n");
  for (uint32_t i = 0; i < ladder.n_rates; i++)
    if (!ladder.rates[i].warmup)
      (o->json ? print_json : print_text)(o, &ladder.rates[i], published_at(&published, ladder.rates[i].rate),
                                          cells[i]);
  if (!o->json)
    print_knees(o, &ladder, cells);
}

static void check_trace(const struct options *o)
{
  struct sim_model model;
  struct sim_trace trace;
  struct sim_workload workload;
  llmd_err err = LLMD_ERR_INIT;
  struct rusage usage;
  sim_model_default(&model);
  model.beta = 1;
  sim_trace_default(&trace);
  if (sim_workload_mooncake(&workload, o->trace, &trace, &err)) {
    fprintf(stderr, "%s:%u: %s\n", err.path, err.line, err.text);
    exit(1);
  }
  struct sim_config config = {.model = &model, .workload = &workload, .n_engines = 8, .seed = 1,
                              .metrics_period = PERIOD, .metrics_lag = o->lag, .clock_ns = clock_ns};
  for (int policy = 0; policy < N_POLICIES; policy++) {
    uint64_t start = clock_ns();
    struct sim_result result = run_policy(&config, policy);
    double seconds = (double)(clock_ns() - start) * 1e-9;
    if (o->json)
      printf("{\"row\": \"sim trace, %s\", \"value\": %.3f, \"unit\": \"s\"}\n", policies[policy].name, seconds);
    else if (sim_report_totals(stdout, &result, 1) == 0)
      printf("computed in %.2f s\n", seconds);
    sim_result_free(&result);
  }
  sim_workload_free(&workload);
  getrusage(RUSAGE_SELF, &usage);
  printf(o->json ? "{\"row\": \"sim, peak memory\", \"value\": %.1f, \"unit\": \"MiB\"}\n" : "peak memory %.1f MiB\n",
         (double)usage.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
  struct options o = {.seeds = 3, .lag = 0.01};
  o.shared = getenv("LLMD_SHARED") ? getenv("LLMD_SHARED") : LLMD_SHARED_DEFAULT;
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--json") == 0)
      o.json = 1;
    else if (strcmp(argv[i], "--tiered") == 0)
      o.tiered = 1;
    else if (strcmp(argv[i], "--seeds") == 0 && atoi(value) > 0 && atoi(value) <= MOST_SEEDS)
      o.seeds = (uint32_t)atoi(argv[++i]);
    else if (strcmp(argv[i], "--lag") == 0 && *value)
      o.lag = atof(argv[++i]);
    else if (strcmp(argv[i], "--trace") == 0 && *value)
      o.trace = argv[++i];
    else {
      fprintf(stderr, "usage: sim-check [--seeds N] [--lag SECONDS] [--json] [--trace FILE | --tiered]\n");
      return 2;
    }
  }
  if (o.tiered)
    tiered_check(o.seeds, o.lag, o.json);
  else if (o.trace)
    check_trace(&o);
  else
    check_ladder(&o);
  return 0;
}
