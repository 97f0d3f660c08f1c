/* An engine's metrics page, with vLLM's names. The families that say something come first; the rest of the page, when
 * one of a real engine's size is asked for, are vLLM's other histograms and its web server's, at zero. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define MOST_NAMED 64 /* adapters on the page */

const double engine_first_bounds[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20,
                                      40, 80, 160, 640, 2560, HUGE_VAL};
const double engine_gap_bounds[] = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
                                    HUGE_VAL};
const double engine_whole_bounds[] = {.3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960,
                                      1920, 7680, HUGE_VAL};
const double engine_token_bounds[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000,
                                      100000, HUGE_VAL};

void engine_count(struct engine_bucket_counts *h, const double *bounds, double value)
{
  uint32_t i = 0;
  while (value > bounds[i])
    i++;
  h->bucket[i]++;
  h->count++;
  h->sum += value;
}

/* ---- lines ---- */

struct page {
  struct engine_text *out;
  const char *model; /* as the inside of a label's value */
  double started;
};

static void head(const struct page *p, const char *name, const char *type, const char *help)
{
  engine_text_add(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* label: ",name=\"value\"" between the two that all have, or "". */
static void line(const struct page *p, const char *name, const char *label, double value)
{
  engine_text_add(p->out, "%s{engine=\"0\",model_name=\"%s\"%s} %.17g%s\n", name, p->model, label, value,
                  fabs(value) < 1e15 && floor(value) == value ? ".0" : "");
}

static void gauge(const struct page *p, const char *name, const char *help, double value)
{
  head(p, name, "gauge", help);
  line(p, name, "", value);
}

static void created(const struct page *p, const char *family)
{
  char name[128];
  (void)snprintf(name, sizeof name, "%s_created", family);
  gauge(p, name, "when it began", p->started);
}

static void counter(const struct page *p, const char *family, const char *help, double value)
{
  char name[128];
  (void)snprintf(name, sizeof name, "%s_total", family);
  head(p, name, "counter", help);
  line(p, name, "", value);
  created(p, family);
}

static void bound_text(double bound, char *out, size_t room)
{
  if (bound == HUGE_VAL)
    (void)snprintf(out, room, "+Inf");
  else
    (void)snprintf(out, room, floor(bound) == bound ? "%.1f" : "%g", bound);
}

static void histogram(const struct page *p, const char *family, const char *help, const double *bounds,
                      const struct engine_bucket_counts *h)
{
  char text[64], name[128];
  uint64_t sum = 0;
  head(p, family, "histogram", help);
  for (uint32_t i = 0; i == 0 || bounds[i - 1] != HUGE_VAL; i++) {
    sum += h->bucket[i];
    bound_text(bounds[i], text, sizeof text);
    engine_text_add(p->out, "%s_bucket{engine=\"0\",le=\"%s\",model_name=\"%s\"} %" PRIu64 ".0\n", family, text,
                    p->model, sum);
  }
  (void)snprintf(name, sizeof name, "%s_count", family);
  line(p, name, "", (double)h->count);
  (void)snprintf(name, sizeof name, "%s_sum", family);
  line(p, name, "", h->sum);
  created(p, family);
}

/* ---- what says something ---- */

static void put_load(const struct page *p, const struct engine *e)
{
  struct sim_metrics m = {.running = e->n_calls};
  if (e->sim)
    sim_engine_metrics(e->sim, &m);
  gauge(p, "vllm:num_requests_running", "Requests being computed.", m.running);
  gauge(p, "vllm:num_requests_waiting", "Requests in the queue.", m.waiting);
  head(p, "vllm:num_requests_waiting_by_reason", "gauge", "Requests in the queue, by what they wait for.");
  line(p, "vllm:num_requests_waiting_by_reason", ",reason=\"capacity\"", m.waiting);
  line(p, "vllm:num_requests_waiting_by_reason", ",reason=\"deferred\"", 0);
  head(p, "vllm:engine_sleep_state", "gauge", "Whether it sleeps, and how deep.");
  line(p, "vllm:engine_sleep_state", ",sleep_state=\"awake\"", 1);
  line(p, "vllm:engine_sleep_state", ",sleep_state=\"weights_offloaded\"", 0);
  line(p, "vllm:engine_sleep_state", ",sleep_state=\"discard_all\"", 0);
  gauge(p, "vllm:kv_cache_usage_perc", "Part of the cache in use, 1 = all of it.", m.kv_usage);
}

static void put_counters(const struct page *p, const struct engine *e)
{
  static const char *const reasons[] = {",finished_reason=\"length\"", ",finished_reason=\"stop\"",
                                        ",finished_reason=\"abort\"", ",finished_reason=\"error\""};
  const struct engine_figures *f = &e->figures;
  struct sim_counters c = {.prompt_tokens = f->prompt_tokens};
  if (e->sim)
    sim_engine_counters(e->sim, &c);
  counter(p, "vllm:prefix_cache_queries", "Tokens looked for in the cache.", (double)c.prompt_tokens);
  counter(p, "vllm:prefix_cache_hits", "Tokens found in the cache.", (double)c.cached_tokens);
  counter(p, "vllm:num_preemptions", "Requests that lost their blocks to others.", (double)c.preemptions);
  counter(p, "vllm:prompt_tokens", "Prompt tokens of requests.", (double)f->prompt_tokens);
  counter(p, "vllm:prompt_tokens_cached", "Prompt tokens that were cached.", (double)f->cached_tokens);
  counter(p, "vllm:generation_tokens", "Tokens generated.", (double)f->generated_tokens);
  head(p, "vllm:request_success_total", "counter", "Requests that ended, by how.");
  line(p, "vllm:request_success_total", reasons[0], (double)f->finished[ENGINE_LENGTH]);
  line(p, "vllm:request_success_total", reasons[1], (double)(f->finished[ENGINE_STOP] + f->finished[ENGINE_TOOL]));
  line(p, "vllm:request_success_total", reasons[2], (double)f->aborted);
  line(p, "vllm:request_success_total", reasons[3], 0);
}

/* ---- adapters ---- */

static void put_names(const struct engine *e, const uint8_t *on, struct engine_text *out)
{
  const char *comma = "";
  for (uint32_t i = 0; i < e->options.models.n_lora && i < MOST_NAMED; i++)
    if (on[i]) {
      engine_text_add(out, "%s%s", comma, e->options.models.lora[i]);
      comma = ",";
    }
}

/* Who waits stands in the simulator's queue; all others with work run. */
static void put_adapters(const struct page *p, const struct engine *e)
{
  uint8_t running[MOST_NAMED] = {0}, waiting[MOST_NAMED] = {0};
  const uint32_t cap = e->n_table ? e->n_table : 1;
  uint32_t *tag = malloc(cap * sizeof *tag);
  uint32_t n = tag && e->sim ? sim_engine_waiting(e->sim, tag, cap) : 0;
  llmd_now now;
  for (uint32_t i = 0; i < n; i++)
    if (e->table[tag[i]] && e->table[tag[i]]->ask.lora >= 0 && e->table[tag[i]]->ask.lora < MOST_NAMED)
      waiting[e->table[tag[i]]->ask.lora] = 1;
  for (const struct engine_call *call = e->calls; call; call = call->next) {
    int waits = 0;
    for (uint32_t i = 0; i < n && !waits; i++)
      waits = call->computing && tag[i] == call->tag;
    if (call->ask.lora >= 0 && call->ask.lora < MOST_NAMED && !waits && (call->computing || !e->sim))
      running[call->ask.lora] = 1;
  }
  free(tag);
  llmd_clock(&now);
  head(p, "vllm:lora_requests_info", "gauge", "Adapters with requests; the latest value counts.");
  engine_text_add(p->out, "vllm:lora_requests_info{max_lora=\"%" PRIu32 "\",running_lora_adapters=\"",
                  e->options.models.n_lora);
  put_names(e, running, p->out);
  engine_text_add(p->out, "\",waiting_lora_adapters=\"");
  put_names(e, waiting, p->out);
  engine_text_add(p->out, "\"} %.6f\n", (double)now.wall / 1e9);
}

static void put_config(const struct page *p, const struct engine *e)
{
  const struct engine_options *o = &e->options;
  const uint32_t blocks = o->model.kv_tokens / o->block_size;
  head(p, "vllm:cache_config_info", "gauge", "How the cache is set up.");
  engine_text_add(p->out, "vllm:cache_config_info{_block_size_resolved=\"True\",block_size=\"%" PRIu32 "\","
                  "cache_dtype=\"auto\",enable_prefix_caching=\"True\",engine=\"0\",gpu_memory_utilization=\"0.92\","
                  "hash_block_size=\"None\",is_attention_free=\"False\","
                  "kv_cache_size_tokens=\"%" PRIu32 "\",num_cpu_blocks=\"None\","
                  "num_gpu_blocks=\"%" PRIu32 "\",num_gpu_blocks_override=\"None\",prefix_caching_hash_algo=\"%s\","
                  "sliding_window=\"None\"} 1.0\n", o->block_size, blocks * o->block_size, blocks, o->algorithm);
}

/* ---- what fills a page ---- */

static void put_padding(const struct page *p, size_t least)
{
  static const char *const families[] = {
    "vllm:request_queue_time_seconds", "vllm:request_inference_time_seconds", "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds", "vllm:request_time_per_output_token_seconds", "vllm:iteration_tokens_total",
    "vllm:request_max_num_generation_tokens", "vllm:request_params_n", "vllm:request_params_max_tokens",
    "vllm:request_num_preemptions", "vllm:request_prefill_kv_computed_tokens",
  };
  static const struct engine_bucket_counts nothing;
  const size_t n = sizeof families / sizeof families[0];
  for (size_t i = 0; i < n && p->out->len < least; i++)
    histogram(p, families[i], "Not measured here.", engine_first_bounds, &nothing);
  if (p->out->len >= least)
    return;
  head(p, "http_request_duration_seconds", "histogram", "Not measured here.");
  for (uint32_t i = 0; p->out->len < least && !p->out->failed; i++) {
    for (uint32_t k = 0; k == 0 || engine_gap_bounds[k - 1] != HUGE_VAL; k++) {
      char text[64];
      bound_text(engine_gap_bounds[k], text, sizeof text);
      engine_text_add(p->out, "http_request_duration_seconds_bucket{handler=\"/page/%" PRIu32 "\",le=\"%s\",method="
                      "\"GET\"} 0.0\n", i, text);
    }
    engine_text_add(p->out, "http_request_duration_seconds_count{handler=\"/page/%" PRIu32 "\",method=\"GET\"} 0.0\n"
                    "http_request_duration_seconds_sum{handler=\"/page/%" PRIu32 "\",method=\"GET\"} 0.0\n", i, i);
  }
}

/* ---- the page ---- */

/* It never changes, so it is made once, as long as the page is too short without it. */
static void put_filling(struct engine *e, const struct page *p)
{
  const struct page filling = {&e->filling, p->model, p->started};
  if (e->filling.len == 0 && p->out->len < e->options.page_bytes)
    put_padding(&filling, e->options.page_bytes - p->out->len);
  engine_text_put(p->out, e->filling.ptr, e->filling.len);
  p->out->failed |= e->filling.failed;
}

static void put_page(struct engine *e, const char *model, struct engine_text *out)
{
  const struct page p = {out, model, (double)e->started};
  const struct engine_figures *f = &e->figures;
  put_load(&p, e);
  put_counters(&p, e);
  if (e->options.models.n_lora)
    put_adapters(&p, e);
  histogram(&p, "vllm:request_prompt_tokens", "Prompt tokens of requests.", engine_token_bounds, &f->prompt);
  histogram(&p, "vllm:request_generation_tokens", "Tokens of answers.", engine_token_bounds, &f->answer);
  histogram(&p, "vllm:time_to_first_token_seconds", "Time to the first token.", engine_first_bounds, &f->first);
  histogram(&p, "vllm:inter_token_latency_seconds", "Time from token to token.", engine_gap_bounds, &f->gap);
  histogram(&p, "vllm:e2e_request_latency_seconds", "Time of whole requests.", engine_whole_bounds, &f->whole);
  put_filling(e, &p);
  put_config(&p, e);
}

void engine_metrics_page(struct engine *e, struct engine_text *out)
{
  struct engine_text model = {0}; /* a label's value is quoted nearly as JSON is */
  engine_text_quote(&model, e->options.models.name, strlen(e->options.models.name));
  put_page(e, model.ptr ? model.ptr : "", out);
  out->failed |= model.failed;
  engine_text_free(&model);
}
