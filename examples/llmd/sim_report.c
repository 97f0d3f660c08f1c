#include "sim_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- spreads ---- */

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(const double *sorted, uint32_t n, double p)
{
  double rank = p / 100 * (n - 1);
  uint32_t low = (uint32_t)rank;
  uint32_t high = low + 1 < n ? low + 1 : low;
  return sorted[low] + (sorted[high] - sorted[low]) * (rank - low);
}

static void spread(double *values, uint32_t n, struct sim_spread *s)
{
  double sum = 0;
  memset(s, 0, sizeof *s);
  if (n == 0)
    return;
  qsort(values, n, sizeof *values, ascending);
  for (uint32_t i = 0; i < n; i++)
    sum += values[i];
  *s = (struct sim_spread){
    .n = n, .mean = sum / n, .min = values[0], .max = values[n - 1],
    .p0_1 = percentile(values, n, 0.1), .p1 = percentile(values, n, 1), .p5 = percentile(values, n, 5),
    .p10 = percentile(values, n, 10), .p25 = percentile(values, n, 25), .p50 = percentile(values, n, 50),
    .p75 = percentile(values, n, 75), .p90 = percentile(values, n, 90), .p95 = percentile(values, n, 95),
    .p99 = percentile(values, n, 99), .p99_9 = percentile(values, n, 99.9),
  };
}

/* ---- one summary ---- */

struct gathering {
  const struct sim_result *run;
  double *ttft, *tpot, *e2e, *ntpot; /* four parts of one allocation */
  uint32_t n, n_tpot;
  double ideal_tokens, floor_sum;
  double *busy; /* per engine */
  struct sim_histogram decisions;
  uint32_t n_stages;
};

static void gather_request(struct gathering *g, uint32_t number, struct sim_summary *s, double *output, double *input)
{
  const struct sim_record *r = &g->run->records[number];
  const struct sim_request *q = &g->run->config.workload->requests[number];
  const struct sim_model *m = g->run->config.model;
  double ttft = r->first - r->sent, e2e = r->done - r->sent;
  if (r->status != SIM_DONE) {
    s->failed++;
    return;
  }
  g->ttft[g->n] = ttft;
  g->e2e[g->n] = e2e;
  g->ntpot[g->n++] = e2e / q->output_tokens;
  if (q->output_tokens > 1)
    g->tpot[g->n_tpot++] = (e2e - ttft) / (q->output_tokens - 1);
  g->ideal_tokens += q->ideal_tokens;
  g->floor_sum += m->t_in + m->t_out + sim_model_prefill(m, q->ideal_tokens, q->prompt_tokens);
  s->cached_tokens += r->cached_tokens;
  *output += q->output_tokens;
  *input += q->prompt_tokens;
}

static void gather_stage(struct gathering *g, uint32_t number, struct sim_summary *s)
{
  const struct sim_stage *stage = &g->run->config.workload->stages[number];
  const struct sim_span *span = &g->run->spans[number];
  double output = 0, input = 0, first = INFINITY, last = -INFINITY, seconds;
  uint32_t done = g->n;
  if (stage->count == 0)
    return;
  for (uint32_t i = stage->first; i < stage->first + stage->count; i++) {
    gather_request(g, i, s, &output, &input);
    first = fmin(first, g->run->records[i].sent);
    last = fmax(last, g->run->records[i].done);
  }
  seconds = last - first;
  s->requests += stage->count;
  s->seconds += seconds;
  s->output_tokens += output;
  s->prompt_tokens += input;
  if (seconds > 0) {
    s->output_tok_s += output / seconds;
    s->input_tok_s += input / seconds;
    s->requests_s += (g->n - done) / seconds;
  }
  s->preemptions += span->preemptions;
  s->evictions += span->evictions;
  s->steps += span->steps;
  for (uint32_t i = 0; i < g->run->config.n_engines; i++)
    g->busy[i] += span->busy[i];
  sim_histogram_merge(&g->decisions, span->decisions);
  g->n_stages++;
}

static void conclude(struct gathering *g, struct sim_summary *s)
{
  uint32_t n_engines = g->run->config.n_engines;
  double most = 0, sum = 0;
  spread(g->ttft, g->n, &s->ttft);
  spread(g->tpot, g->n_tpot, &s->tpot);
  spread(g->e2e, g->n, &s->e2e);
  spread(g->ntpot, g->n, &s->ntpot);
  s->hit = s->prompt_tokens > 0 ? s->cached_tokens / s->prompt_tokens : 0;
  s->ideal_hit = s->prompt_tokens > 0 ? g->ideal_tokens / s->prompt_tokens : 0;
  s->floor = g->n ? g->floor_sum / g->n : 0;
  s->ttft_floor = s->floor > 0 ? s->ttft.mean / s->floor : 0;
  for (uint32_t i = 0; i < n_engines; i++) {
    most = fmax(most, g->busy[i]);
    sum += g->busy[i];
  }
  s->imbalance = sum > 0 ? most * n_engines / sum : 0;
  s->decision_us = sim_histogram_mean(&g->decisions) * 1e6;
  s->decision_p99_us = sim_histogram_quantile(&g->decisions, 0.99) * 1e6;
  if (g->n_stages > 1) {
    s->output_tok_s /= g->n_stages;
    s->input_tok_s /= g->n_stages;
    s->requests_s /= g->n_stages;
  }
}

int sim_summarize(const struct sim_result *run, uint32_t stage, struct sim_summary *summary)
{
  const struct sim_workload *w = run->config.workload;
  struct sim_summary s = {0};
  struct gathering *g;
  double *room;
  if (stage != SIM_TOTAL && stage >= w->n_stages)
    return LLMD_E_INVALID;
  g = calloc(1, sizeof *g);
  room = malloc(((size_t)w->n_requests * 4 + run->config.n_engines) * sizeof *room);
  if (!g || !room) {
    free(g);
    free(room);
    return LLMD_E_NOMEM;
  }
  g->run = run;
  g->ttft = room;
  g->tpot = room + w->n_requests;
  g->e2e = room + (size_t)w->n_requests * 2;
  g->ntpot = room + (size_t)w->n_requests * 3;
  g->busy = room + (size_t)w->n_requests * 4;
  memset(g->busy, 0, run->config.n_engines * sizeof *g->busy);
  for (uint32_t i = 0; i < w->n_stages; i++)
    if (stage == SIM_TOTAL ? sim_workload_counts(w, i) : i == stage)
      gather_stage(g, i, &s);
  conclude(g, &s);
  s.rate = stage == SIM_TOTAL ? 0 : w->stages[stage].rate;
  free(room);
  free(g);
  *summary = s;
  return 0;
}

/* ---- the table ---- */

static void print_head(FILE *out)
{
  fprintf(out, "%-8s %-20s %7s %7s %8s %8s %8s %8s %7s %8s %6s %7s %6s %7s\n", "req/s", "policy", "done", "tok/s",
          "TTFT", "p50", "p90", "p99", "TPOT", "E2E", "hit", "/floor", "imbal", "decide");
  fprintf(out, "%-8s %-20s %7s %7s %8s %8s %8s %8s %7s %8s %6s %7s %6s %7s\n", "", "", "", "", "s", "s", "s", "s", "ms",
          "s", "%", "", "", "us");
}

static void print_row(FILE *out, const char *label, const char *policy, const struct sim_summary *s)
{
  fprintf(out, "%-8s %-20.20s %7u %7.0f %8.3f %8.3f %8.3f %8.3f %7.1f %8.2f %6.1f %7.2f %6.2f ", label, policy,
          s->requests - s->failed, s->output_tok_s, s->ttft.mean, s->ttft.p50, s->ttft.p90, s->ttft.p99,
          s->tpot.mean * 1e3, s->e2e.mean, s->hit * 100, s->ttft_floor, s->imbalance);
  if (s->decision_us > 0)
    fprintf(out, "%7.2f\n", s->decision_us);
  else
    fprintf(out, "%7s\n", "-");
}

static int print_stage(FILE *out, const struct sim_result *runs, uint32_t n_runs, uint32_t stage)
{
  char label[32];
  struct sim_summary s;
  for (uint32_t i = 0; i < n_runs; i++) {
    int code = sim_summarize(&runs[i], stage, &s);
    if (code)
      return code;
    if (stage == SIM_TOTAL)
      (void)snprintf(label, sizeof label, "%s", "all");
    else if (s.rate > 0)
      (void)snprintf(label, sizeof label, "%g", s.rate);
    else
      (void)snprintf(label, sizeof label, "%.2f", s.requests / fmax(s.seconds, 1e-9));
    print_row(out, i == 0 ? label : "", runs[i].router, &s);
  }
  return 0;
}

/* ---- what engines told ---- */

static double part(uint64_t of, uint64_t all)
{
  return all ? 100.0 * (double)of / (double)all : 100;
}

static void print_heard(FILE *out, const char *policy, const struct sim_heard *h)
{
  fprintf(out, "%-20.20s %8" PRIu64 " %9" PRIu64 " %9" PRIu64 " %7.1f %8.0f %6.0f %6" PRIu64 " %5" PRIu64 " %7" PRIu64
          " %8" PRIu64 "\n", policy, h->messages, h->events, h->blocks, (double)h->bytes / 1e6,
          h->seconds > 0 ? (double)h->events / h->seconds : 0, h->seconds > 0 ? (double)h->bytes / h->seconds / 1e6 : 0,
          h->lost, h->gaps, h->replays, h->restarts);
}

static void print_truth(FILE *out, const char *policy, const struct sim_heard *h)
{
  fprintf(out, "%-20.20s %8" PRIu64 " %9" PRIu64 " %9.4f %9.4f %9" PRIu64 " %8" PRIu64 " %10" PRIu64 "\n", policy,
          h->decisions, h->agreed, part(h->known, h->held), part(h->wrong, h->known + h->wrong), h->held - h->known,
          h->wrong, h->promised);
  fprintf(out, "  settled: %" PRIu64 " prompts, %" PRIu64 " blocks of them held, %" PRIu64 " not known, %" PRIu64
          " wrong; %" PRIu64 " blocks in engines, %" PRIu64 " in the index (%.1f MiB)\n", h->prompts, h->end_held,
          h->end_held - h->end_known, h->end_wrong, h->engine_blocks, h->index_blocks,
          (double)h->index_bytes / 1048576);
}

void sim_report_heard(FILE *out, const struct sim_result *runs, uint32_t n_runs)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < n_runs; i++) {
    if (runs[i].listened && n++ == 0)
      fprintf(out, "\n%-20s %8s %9s %9s %7s %8s %6s %6s %5s %7s %8s\n", "engines told", "messages", "events", "blocks",
              "MB", "events/s", "MB/s", "lost", "gaps", "replays", "restarts");
    if (runs[i].listened)
      print_heard(out, runs[i].router, &runs[i].heard);
  }
  for (uint32_t i = 0; i < n_runs; i++) {
    if (runs[i].listened && n) {
      fprintf(out, "%-20s %8s %9s %9s %9s %9s %8s %10s\n", "the index was asked", "times", "agreed", "known %", "wrong %",
              "missed", "wrong", "promised");
      n = 0;
    }
    if (runs[i].listened)
      print_truth(out, runs[i].router, &runs[i].heard);
  }
}

int sim_report_totals(FILE *out, const struct sim_result *runs, uint32_t n_runs)
{
  int code;
  print_head(out);
  code = print_stage(out, runs, n_runs, SIM_TOTAL);
  return code ? code : ferror(out) ? LLMD_E_IO : 0;
}

int sim_report_table(FILE *out, const struct sim_result *runs, uint32_t n_runs)
{
  const struct sim_workload *w;
  uint32_t shown = 0;
  if (n_runs == 0)
    return 0;
  w = runs[0].config.workload;
  print_head(out);
  for (uint32_t i = 0; i < w->n_stages; i++) {
    int code = sim_workload_counts(w, i) ? print_stage(out, runs, n_runs, i) : 0;
    if (code)
      return code;
    shown += (uint32_t)sim_workload_counts(w, i);
  }
  if (shown != 1) {
    int code = print_stage(out, runs, n_runs, SIM_TOTAL);
    if (code)
      return code;
  }
  return ferror(out) ? LLMD_E_IO : 0;
}
