/* The engine against real ones: 300 requests each, served by vLLM 0.19 on known hardware, with a time for every one.
 * The coefficients were fitted on these very runs, so this holds the scheduler in place (chunks, order, pre-emption),
 * not the physics. */
#include "sim_test.h"

#include <math.h>

#include <cjson/cJSON.h>

#include "sim_cluster.h"
#include "sim_text.h"

enum { MOST = 400 };

struct run {
  struct sim_request requests[MOST];
  double e2e[MOST]; /* seconds, from the queue to the last token */
  uint32_t n;
};

static double field(const cJSON *o, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
  assert_true(cJSON_IsNumber(item));
  return item->valuedouble;
}

static int by_offset(const void *a, const void *b)
{
  const struct sim_request *x = a, *y = b;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

static void read_run(const char *path, struct run *run)
{
  char *text;
  size_t len;
  double start = INFINITY;
  double queued[MOST], last[MOST];
  run->n = 0;
  assert_int_equal(sim_text_read(path, 1 << 24, &text, &len, NULL), 0);
  for (char *line = text; *line; line = strchr(line, '\n') + 1) {
    cJSON *o = cJSON_Parse(line);
    assert_true(o && run->n < MOST);
    queued[run->n] = field(o, "queued_ts");
    last[run->n] = field(o, "last_token_ts");
    run->requests[run->n] = (struct sim_request){.id = run->n, .prompt_tokens = (uint32_t)field(o, "input_toks"),
                                                 .output_tokens = (uint32_t)field(o, "output_toks")};
    start = fmin(start, queued[run->n++]);
    cJSON_Delete(o);
  }
  free(text);
  for (uint32_t i = 0; i < run->n; i++) {
    run->requests[i].offset = queued[i] - start;
    run->e2e[i] = last[i] - queued[i];
  }
  qsort(run->requests, run->n, sizeof run->requests[0], by_offset);
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void compare(const char *folder, const char *set, uint32_t kv_tokens, double most_mean, uint64_t preemptions)
{
  static struct run run;
  struct sim_model model;
  struct sim_workload w = {.block_size = 16, .n_stages = 1, .requests = run.requests};
  struct sim_stage stage = {0};
  struct sim_router router;
  struct sim_result r;
  char name[256];
  double error[MOST], sum = 0;
  (void)snprintf(name, sizeof name, "data/llmservingsim/%s/requests.jsonl", folder);
  read_run(shared_file(name), &run);
  assert_int_equal(sim_model_load(&model, shared_file("data/engine_model/coefficients.json"), set, NULL), 0);
  model.t_in = model.t_out = 0; /* the times are the engine's own */
  if (kv_tokens)
    model.kv_tokens = kv_tokens;
  stage.count = w.n_requests = run.n;
  w.stages = &stage;
  struct sim_config config = {.model = &model, .workload = &w, .n_engines = 1};
  assert_int_equal(sim_router_round_robin(&router), 0);
  assert_int_equal(sim_run(&config, &router, &r, NULL, NULL), 0);
  router.destroy(router.self);
  for (uint32_t i = 0; i < run.n; i++) {
    double real = run.e2e[run.requests[i].id];
    error[i] = fabs((r.records[i].done - r.records[i].sent) / real - 1);
    sum += error[i];
  }
  qsort(error, run.n, sizeof error[0], ascending);
  print_message("# %s: E2E of %u requests off by %.2f %% (mean), %.2f %% (p95); %llu pre-emptions\n", folder, run.n,
                sum / run.n * 100, error[run.n * 95 / 100] * 100, (unsigned long long)r.spans[0].preemptions);
  assert_true(sum / run.n < most_mean);
  assert_true((r.spans[0].preemptions > 0) == (preemptions > 0));
  sim_result_free(&r);
}

static void rtx4090_with_preemptions(void **state)
{
  (void)state;
  compare("RTX4090_Llama-3.1-8B", "llama-3.1-8b-bf16_rtx4090_tp1_vllm0.19", 0, 0.03, 1);
}

static void rtxpro6000_llama(void **state)
{
  (void)state;
  compare("RTXPRO6000_Llama-3.1-8B", "llama-3.1-8b-bf16_rtxpro6000_tp1_vllm0.19", 2000000, 0.03, 0);
}

static void rtxpro6000_qwen(void **state)
{
  (void)state;
  compare("RTXPRO6000_Qwen3-32B", "qwen3-32b-bf16_rtxpro6000_tp2_vllm0.19", 2000000, 0.03, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rtx4090_with_preemptions), cmocka_unit_test(rtxpro6000_llama), cmocka_unit_test(rtxpro6000_qwen),
  };
  return cmocka_run_group_tests_name("sim/real_engine", tests, NULL, NULL);
}
