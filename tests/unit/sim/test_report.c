#include "sim_test.h"

#include <math.h>

#include <cjson/cJSON.h>

#include "sim_report.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

/* Two stages laid out by hand: a warm-up of one request, then four, of which the last one fails. */
struct fixture {
  struct sim_model model;
  struct sim_request requests[5];
  struct sim_stage stages[2];
  struct sim_workload workload;
  struct sim_record records[5];
  struct sim_span spans[2];
  double busy[2][2];
  uint64_t work[2][2];
  struct sim_histogram histograms[4];
  struct sim_result result;
};

static int set_up(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  if (!f)
    return -1;
  sim_model_default(&f->model);
  for (uint32_t i = 0; i < 5; i++) {
    f->requests[i] = (struct sim_request){.id = i, .stage = i > 0, .prompt_tokens = 100,
                                          .output_tokens = i == 2 ? 1 : 11, .ideal_tokens = 48};
    f->records[i] = (struct sim_record){.sent = 10.0 + i, .first = 10.5 + i * 1.5, .done = 13 + i * 2.0,
                                        .cached_tokens = i * 16};
  }
  f->records[2].done = f->records[2].first;
  f->records[4].status = SIM_REFUSED;
  f->stages[0] = (struct sim_stage){.rate = 1, .count = 1, .warmup = 1};
  f->stages[1] = (struct sim_stage){.rate = 2, .first = 1, .count = 4};
  f->busy[1][0] = 3;
  f->busy[1][1] = 1;
  for (uint32_t i = 0; i < 2; i++)
    f->spans[i] = (struct sim_span){.busy = f->busy[i], .work = f->work[i], .gaps = &f->histograms[i],
                                    .decisions = &f->histograms[2 + i], .preemptions = i};
  sim_histogram_add(&f->histograms[3], 2e-6, 4);
  sim_histogram_add(&f->histograms[1], 0.02, 20);
  f->workload = (struct sim_workload){.name = "by hand", .block_size = 16, .n_requests = 5, .n_stages = 2,
                                      .requests = f->requests, .stages = f->stages};
  f->result = (struct sim_result){.config = {.model = &f->model, .workload = &f->workload, .n_engines = 2},
                                  .router = "a\"b", .records = f->records, .spans = f->spans};
  *state = f;
  return 0;
}

static int tear_down(void **state)
{
  free(*state);
  return 0;
}

static void a_stage_summed_up(void **state)
{
  struct fixture *f = *state;
  struct sim_summary s;
  assert_int_equal(sim_summarize(&f->result, 1, &s), 0);
  assert_int_equal(s.requests, 4);
  assert_int_equal(s.failed, 1);
  NEAR(s.seconds, 21 - 11); /* first send to last end, the failed one's too */
  NEAR(s.output_tok_s, (11 + 1 + 11) / 10.0);
  NEAR(s.input_tok_s, 30);
  NEAR(s.requests_s, 0.3);
  NEAR(s.ttft.mean, (1 + 1.5 + 2) / 3);
  NEAR(s.ttft.p50, 1.5);
  NEAR(s.ttft.p90, 1.9);
  assert_int_equal(s.tpot.n, 2); /* an answer of one token has none */
  NEAR(s.tpot.mean, ((15 - 12.0) / 10 + (19 - 15.0) / 10) / 2);
  NEAR(s.hit, (16 + 32 + 48) / 300.0);
  NEAR(s.ideal_hit, 0.48);
  NEAR(s.floor, 0.04 + sim_model_prefill(&f->model, 48, 100));
  NEAR(s.ttft_floor, s.ttft.mean / s.floor);
  NEAR(s.imbalance, 1.5);
  NEAR(s.decision_us, 2);
  assert_int_equal(s.preemptions, 1);
  NEAR(s.rate, 2);
  assert_int_equal(sim_summarize(&f->result, 2, &s), LLMD_E_INVALID);
}

static void totals_leave_warmups_out(void **state)
{
  struct fixture *f = *state;
  struct sim_summary total, stage;
  assert_int_equal(sim_summarize(&f->result, SIM_TOTAL, &total), 0);
  assert_int_equal(sim_summarize(&f->result, 1, &stage), 0);
  assert_int_equal(total.requests, 4);
  NEAR(total.output_tok_s, stage.output_tok_s);
  f->stages[0].warmup = 0;
  assert_int_equal(sim_summarize(&f->result, SIM_TOTAL, &total), 0);
  assert_int_equal(total.requests, 5);
  NEAR(total.output_tok_s, (stage.output_tok_s + 11 / 3.0) / 2); /* the mean of the rungs */
  f->stages[0].warmup = f->stages[1].warmup = 1;
  assert_int_equal(sim_summarize(&f->result, SIM_TOTAL, &total), 0);
  assert_int_equal(total.requests, 5);
}

static double number_at(const cJSON *o, const char *path)
{
  char name[64];
  while (o && *path) {
    size_t n = strcspn(path, "/");
    memcpy(name, path, n);
    name[n] = 0;
    o = cJSON_GetObjectItemCaseSensitive(o, name);
    path += n + (path[n] == '/');
  }
  assert_true(cJSON_IsNumber(o));
  return o->valuedouble;
}

static void json_has_inference_perfs_shape(void **state)
{
  struct fixture *f = *state;
  cJSON *root = sim_report_json(&f->result, 1), *stage;
  assert_non_null(root);
  assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "simulated")));
  assert_string_equal(cJSON_GetObjectItemCaseSensitive(root, "router")->valuestring, "a\"b");
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "stages")), 2);
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "requests")), 5);
  stage = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "stages"), 1);
  assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(stage, "simulated")));
  NEAR(number_at(stage, "benchmark_time_seconds"), 10);
  NEAR(number_at(stage, "load_summary/count"), 4);
  NEAR(number_at(stage, "load_summary/requested_rate"), 2);
  NEAR(number_at(stage, "load_summary/send_duration"), 3);
  NEAR(number_at(stage, "successes/count"), 3);
  NEAR(number_at(stage, "successes/latency/time_to_first_token/median"), 1.5);
  NEAR(number_at(stage, "successes/latency/time_per_output_token/mean"), 0.35);
  NEAR(number_at(stage, "successes/latency/request_latency/max"), 6);
  NEAR(number_at(stage, "successes/latency/inter_token_latency/mean"), 0.02);
  NEAR(number_at(stage, "successes/throughput/output_tokens_per_sec"), 2.3);
  NEAR(number_at(stage, "successes/throughput/total_tokens_per_sec"), 32.3);
  NEAR(number_at(stage, "successes/prompt_tokens/cached"), 96);
  NEAR(number_at(stage, "failures/count"), 1);
  NEAR(number_at(stage, "simulation/imbalance"), 1.5);
  NEAR(number_at(root, "summary/successes/count"), 3);
  NEAR(number_at(root, "config/engines"), 2);
  cJSON_Delete(root);
}

static void the_table_has_a_line_for_each_run(void **state)
{
  struct fixture *f = *state;
  struct sim_result runs[2] = {f->result, f->result};
  char text[4096] = {0};
  FILE *file = tmpfile();
  uint32_t lines = 0;
  assert_non_null(file);
  assert_int_equal(sim_report_table(file, runs, 2), 0);
  rewind(file);
  assert_true(fread(text, 1, sizeof text - 1, file) > 0);
  fclose(file);
  for (const char *p = text; *p; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 2 + 2); /* a head of two, one stage that counts: no total beside it */
  assert_non_null(strstr(text, "a\"b"));
  assert_null(strstr(text, "nan"));
  assert_int_equal(sim_report_table(stdout, runs, 0), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_stage_summed_up, set_up, tear_down),
    cmocka_unit_test_setup_teardown(totals_leave_warmups_out, set_up, tear_down),
    cmocka_unit_test_setup_teardown(json_has_inference_perfs_shape, set_up, tear_down),
    cmocka_unit_test_setup_teardown(the_table_has_a_line_for_each_run, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("sim/report", tests, NULL, NULL);
}
