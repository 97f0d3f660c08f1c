/* Checks the simulator itself, without libllmd: the ladder of llm-d's guide under random choice and under two blends of
 * exact state, next to what was published, and the time and memory a whole trace takes.
 *
 *   sim-check [--seeds N] [--lag SECONDS] [--json] [--trace FILE]
 *
 * --json prints one {"row", "value", "unit"} a line. It prints; it never judges. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "published.h"
#include "sim_blend.h"
#include "sim_cluster.h"
#include "sim_report.h"

#define COLLAPSED 5.0 /* seconds of mean TTFT */

enum { RANDOM, BLEND, FLAT, N_POLICIES, MOST_SEEDS = 16, MOST_RUNGS = 32 };

struct options {
  uint32_t seeds;
  double lag;
  int json;
  const char *trace;
  const char *shared;
};

struct cell {
  double tok_s[MOST_SEEDS];
  double ttft[MOST_SEEDS];
};

static const char *const policy_name[N_POLICIES] = {"random", "blend 3:2:2", "blend 1:1:1"};
static const struct sim_blend weights[N_POLICIES] = {{0, 0, 0}, {2, 2, 3}, {1, 1, 1}};

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

static struct sim_result run_policy(const struct sim_config *config, int policy)
{
  struct sim_router router = sim_blend_router(policy_name[policy], &weights[policy]);
  struct sim_result result = {0};
  int code = policy == RANDOM ? sim_router_random(&router, config->seed) : 0;
  if (code == 0)
    code = sim_run(config, &router, &result, NULL, NULL);
  if (code)
    die(policy_name[policy], code);
  if (router.destroy)
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
                              .metrics_period = o->lag, .metrics_lag = o->lag};
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

static void print_text(const struct options *o, const struct sim_rate *rate, const struct published_row *p,
                       const struct cell *c)
{
  double random = median(c[RANDOM].tok_s, o->seeds), blend = median(c[BLEND].tok_s, o->seeds);
  printf("%5g | %6.0f %6.0f %+6.1f%% %7.2f %7.2f | %6.0f %6.0f %+6.1f%% %6.3f %6.3f %6.3f | %6.0f %7.2f %7.2f\n",
         rate->rate, p ? p->baseline_tok_s : NAN, random, p ? (random / p->baseline_tok_s - 1) * 100 : NAN,
         p ? p->baseline_ttft : NAN, median(c[RANDOM].ttft, o->seeds), p ? p->routed_tok_s : NAN, blend,
         p ? (blend / p->routed_tok_s - 1) * 100 : NAN, p ? p->routed_ttft : NAN, median(c[BLEND].ttft, o->seeds),
         largest(c[BLEND].ttft, o->seeds), median(c[FLAT].tok_s, o->seeds), smallest(c[FLAT].ttft, o->seeds),
         largest(c[FLAT].ttft, o->seeds));
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
    (void)snprintf(name, sizeof name, "%s, output", policy_name[policy]);
    print_row(name, rate->rate, tok_s, "tok/s");
    (void)snprintf(name, sizeof name, "%s, mean TTFT", policy_name[policy]);
    print_row(name, rate->rate, median(c[policy].ttft, o->seeds), "s");
    (void)snprintf(name, sizeof name, "%s, off published output", policy_name[policy]);
    if (p && policy != FLAT)
      print_row(name, rate->rate, (tok_s / (policy == RANDOM ? p->baseline_tok_s : p->routed_tok_s) - 1) * 100, "%");
  }
}

static void print_knees(const struct options *o, const struct sim_ladder *ladder,
                        struct cell cells[MOST_RUNGS][N_POLICIES])
{
  for (int policy = 0; policy < N_POLICIES; policy++) {
    printf("%-12s mean TTFT above %g s from", policy_name[policy], COLLAPSED);
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
    printf("      | random: output tok/s, TTFT s            | blend 3:2:2: output tok/s, TTFT s (worst)    "
           "| blend 1:1:1\nreq/s |  publ.    sim   error   publ.     sim |  publ.    sim   error  publ.    sim  worst "
           "|    sim  TTFT from..to\n");
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
                              .metrics_period = o->lag, .metrics_lag = o->lag};
  for (int policy = 0; policy < N_POLICIES; policy++) {
    uint64_t start = clock_ns();
    struct sim_result result = run_policy(&config, policy);
    double seconds = (double)(clock_ns() - start) * 1e-9;
    if (o->json)
      printf("{\"row\": \"sim trace, %s\", \"value\": %.3f, \"unit\": \"s\"}\n", policy_name[policy], seconds);
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
  struct options o = {.seeds = 3};
  o.shared = getenv("LLMD_SHARED") ? getenv("LLMD_SHARED") : LLMD_SHARED_DEFAULT;
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--json") == 0)
      o.json = 1;
    else if (strcmp(argv[i], "--seeds") == 0 && atoi(value) > 0 && atoi(value) <= MOST_SEEDS)
      o.seeds = (uint32_t)atoi(argv[++i]);
    else if (strcmp(argv[i], "--lag") == 0 && *value)
      o.lag = atof(argv[++i]);
    else if (strcmp(argv[i], "--trace") == 0 && *value)
      o.trace = argv[++i];
    else {
      fprintf(stderr, "usage: sim-check [--seeds N] [--lag SECONDS] [--json] [--trace FILE]\n");
      return 2;
    }
  }
  if (o.trace)
    check_trace(&o);
  else
    check_ladder(&o);
  return 0;
}
