/* The JSON side of sim_report.h. Names and nesting are those of inference-perf's *_lifecycle_metrics.json; what it does
 * not know (floor, imbalance, decisions) stands in "simulation" beside them. */
#include "sim_report.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

/* Every helper returns 1, or 0 when memory ran out: a tree is built completely or not at all. */

static int put(cJSON *object, const char *name, double value)
{
  return cJSON_AddNumberToObject(object, name, value) != NULL;
}

static int put_spread(cJSON *object, const char *name, const struct sim_spread *s)
{
  cJSON *o;
  if (s->n == 0)
    return cJSON_AddNullToObject(object, name) != NULL;
  o = cJSON_AddObjectToObject(object, name);
  return o && put(o, "mean", s->mean) && put(o, "min", s->min) && put(o, "max", s->max) && put(o, "p0.1", s->p0_1) &&
         put(o, "p1", s->p1) && put(o, "p5", s->p5) && put(o, "p10", s->p10) && put(o, "p25", s->p25) &&
         put(o, "median", s->p50) && put(o, "p75", s->p75) && put(o, "p90", s->p90) && put(o, "p95", s->p95) &&
         put(o, "p99", s->p99) && put(o, "p99.9", s->p99_9);
}

static int put_histogram(cJSON *object, const char *name, const struct sim_histogram *h, double unit)
{
  static const struct { const char *name; double q; } rows[] = {
    {"p0.1", .001}, {"p1", .01}, {"p5", .05}, {"p10", .1}, {"p25", .25}, {"median", .5},
    {"p75", .75}, {"p90", .9}, {"p95", .95}, {"p99", .99}, {"p99.9", .999},
  };
  cJSON *o;
  if (h->count == 0)
    return cJSON_AddNullToObject(object, name) != NULL;
  o = cJSON_AddObjectToObject(object, name);
  if (!o || !put(o, "mean", sim_histogram_mean(h) * unit) || !put(o, "min", h->min * unit) ||
      !put(o, "max", h->max * unit))
    return 0;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (!put(o, rows[i].name, sim_histogram_quantile(h, rows[i].q) * unit))
      return 0;
  return 1;
}

static int put_load(cJSON *root, const struct sim_result *run, uint32_t stage, const struct sim_summary *s)
{
  const struct sim_workload *w = run->config.workload;
  cJSON *o = cJSON_AddObjectToObject(root, "load_summary");
  double sent;
  if (!o || !put(o, "count", s->requests))
    return 0;
  if (stage == SIM_TOTAL || w->stages[stage].count == 0)
    return 1;
  sent = run->records[w->stages[stage].first + w->stages[stage].count - 1].sent -
         run->records[w->stages[stage].first].sent;
  return put(o, "send_duration", sent) && put(o, "requested_rate", w->stages[stage].rate) &&
         put(o, "achieved_rate", sent > 0 ? s->requests / sent : 0);
}

static int put_tokens(cJSON *object, const char *name, double total, const struct sim_summary *s, int with_cached)
{
  uint32_t n = s->requests - s->failed;
  cJSON *o = cJSON_AddObjectToObject(object, name);
  if (!o || !put(o, "total", total) || !put(o, "mean", n ? total / n : 0))
    return 0;
  return !with_cached || (put(o, "cached", s->cached_tokens) && put(o, "uncached", total - s->cached_tokens));
}

static int put_successes(cJSON *root, const struct sim_summary *s, const struct sim_histogram *gaps)
{
  cJSON *o = cJSON_AddObjectToObject(root, "successes");
  cJSON *latency = o ? cJSON_AddObjectToObject(o, "latency") : NULL;
  cJSON *speed = o ? cJSON_AddObjectToObject(o, "throughput") : NULL;
  return latency && speed && put(o, "count", s->requests - s->failed) &&
         put_spread(latency, "request_latency", &s->e2e) &&
         put_spread(latency, "normalized_time_per_output_token", &s->ntpot) &&
         put_spread(latency, "time_per_output_token", &s->tpot) &&
         put_spread(latency, "time_to_first_token", &s->ttft) &&
         put_histogram(latency, "inter_token_latency", gaps, 1) && put(speed, "input_tokens_per_sec", s->input_tok_s) &&
         put(speed, "output_tokens_per_sec", s->output_tok_s) &&
         put(speed, "total_tokens_per_sec", s->input_tok_s + s->output_tok_s) &&
         put(speed, "requests_per_sec", s->requests_s) &&
         put_tokens(o, "prompt_tokens", s->prompt_tokens, s, 1) &&
         put_tokens(o, "output_tokens", s->output_tokens, s, 0);
}

static int put_failures(cJSON *root, const struct sim_summary *s)
{
  cJSON *o = cJSON_AddObjectToObject(root, "failures");
  return o && put(o, "count", s->failed) && cJSON_AddNullToObject(o, "request_latency") &&
         cJSON_AddNullToObject(o, "prompt_tokens");
}

static int put_simulation(cJSON *root, const struct sim_summary *s, const struct sim_histogram *decisions)
{
  cJSON *o = cJSON_AddObjectToObject(root, "simulation");
  return o && put(o, "hit_rate", s->hit) && put(o, "ideal_hit_rate", s->ideal_hit) &&
         put(o, "time_to_first_token_floor", s->floor) && put(o, "time_to_first_token_over_floor", s->ttft_floor) &&
         put(o, "imbalance", s->imbalance) && put(o, "preemptions", (double)s->preemptions) &&
         put(o, "evictions", (double)s->evictions) && put(o, "engine_steps", (double)s->steps) &&
         put_histogram(o, "decision_us", decisions, 1e6);
}

static int counts(const struct sim_result *run, uint32_t stage, uint32_t i)
{
  return stage == SIM_TOTAL ? sim_workload_counts(run->config.workload, i) : i == stage;
}

static int put_metrics(cJSON *o, const struct sim_result *run, uint32_t stage)
{
  struct sim_summary s;
  struct sim_histogram *both = calloc(2, sizeof *both);
  int ok = both != NULL && sim_summarize(run, stage, &s) == 0;
  for (uint32_t i = 0; ok && i < run->config.workload->n_stages; i++)
    if (counts(run, stage, i)) {
      sim_histogram_merge(&both[0], run->spans[i].gaps);
      sim_histogram_merge(&both[1], run->spans[i].decisions);
    }
  ok = ok && cJSON_AddTrueToObject(o, "simulated") && put(o, "benchmark_time_seconds", s.seconds) &&
       put_load(o, run, stage, &s) && put_successes(o, &s, &both[0]) && put_failures(o, &s) &&
       put_simulation(o, &s, &both[1]);
  free(both);
  return ok;
}

static int put_stages(cJSON *root, const struct sim_result *run)
{
  const struct sim_workload *w = run->config.workload;
  cJSON *list = cJSON_AddArrayToObject(root, "stages");
  for (uint32_t i = 0; list && i < w->n_stages; i++) {
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o)) {
      cJSON_Delete(o);
      return 0;
    }
    if (!put(o, "stage", i) || !cJSON_AddBoolToObject(o, "warmup", w->stages[i].warmup != 0) || !put_metrics(o, run, i))
      return 0;
  }
  return list != NULL;
}

static int put_config(cJSON *root, const struct sim_result *run)
{
  const struct sim_config *k = &run->config;
  cJSON *o = cJSON_AddObjectToObject(root, "config");
  return o && cJSON_AddStringToObject(o, "workload", k->workload->name) &&
         cJSON_AddStringToObject(o, "engine_model", k->model->name) && put(o, "engines", k->n_engines) &&
         put(o, "block_size", k->workload->block_size) && put(o, "kv_tokens", k->model->kv_tokens) &&
         put(o, "cpu_tokens", k->model->cpu_tokens) &&
         put(o, "seed", (double)k->seed) && put(o, "metrics_period", k->metrics_period) &&
         put(o, "metrics_lag", k->metrics_lag);
}

static int put_heard(cJSON *root, const struct sim_result *run)
{
  const struct sim_heard *h = &run->heard;
  const struct { const char *name; uint64_t value; } rows[] = {
    {"messages", h->messages}, {"bytes", h->bytes}, {"events", h->events}, {"blocks", h->blocks}, {"lost", h->lost},
    {"gaps", h->gaps}, {"replays", h->replays}, {"restarts", h->restarts}, {"decisions", h->decisions},
    {"decisions_agreed", h->agreed}, {"blocks_held", h->held}, {"blocks_known", h->known}, {"blocks_wrong", h->wrong},
    {"blocks_promised", h->promised}, {"settled_held", h->end_held}, {"settled_known", h->end_known},
    {"settled_wrong", h->end_wrong}, {"engine_blocks", h->engine_blocks}, {"index_blocks", h->index_blocks},
    {"index_bytes", h->index_bytes},
  };
  cJSON *o;
  if (!run->listened)
    return 1;
  o = cJSON_AddObjectToObject(root, "kv_events");
  for (size_t i = 0; o && i < sizeof rows / sizeof rows[0]; i++)
    if (!put(o, rows[i].name, (double)rows[i].value))
      return 0;
  return o != NULL;
}

static int put_request(cJSON *list, const struct sim_result *run, uint32_t i)
{
  const struct sim_request *q = &run->config.workload->requests[i];
  const struct sim_record *r = &run->records[i];
  cJSON *o = cJSON_CreateObject();
  if (!o || !cJSON_AddItemToArray(list, o)) {
    cJSON_Delete(o);
    return 0;
  }
  if (!put(o, "stage", q->stage) || !put(o, "start_time", r->sent) || !put(o, "end_time", r->done) ||
      !put(o, "input_tokens", q->prompt_tokens))
    return 0;
  if (r->status != SIM_DONE)
    return cJSON_AddStringToObject(o, "error", r->status == SIM_REFUSED ? "refused" : "too long") != NULL;
  return put(o, "first_token_time", r->first) && put(o, "output_tokens", q->output_tokens) &&
         put(o, "cached_tokens", r->cached_tokens) && put(o, "engine", r->engine);
}

static int put_requests(cJSON *root, const struct sim_result *run)
{
  cJSON *list = cJSON_AddArrayToObject(root, "requests");
  for (uint32_t i = 0; list && i < run->config.workload->n_requests; i++)
    if (!put_request(list, run, i))
      return 0;
  return list != NULL;
}

struct cJSON *sim_report_json(const struct sim_result *run, int per_request)
{
  cJSON *root = cJSON_CreateObject();
  cJSON *summary;
  if (!root)
    return NULL;
  if (cJSON_AddTrueToObject(root, "simulated") && cJSON_AddStringToObject(root, "router", run->router) &&
      put_config(root, run) && (summary = cJSON_AddObjectToObject(root, "summary")) &&
      put_metrics(summary, run, SIM_TOTAL) && put_stages(root, run) && put_heard(root, run) &&
      (!per_request || put_requests(root, run)))
    return root;
  cJSON_Delete(root);
  return NULL;
}
