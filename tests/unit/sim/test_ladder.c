/* What the whole simulator must show, whatever is done to make it faster or finer: where policies break down. */
#include "sim_test.h"

#include "sim_blend.h"
#include "sim_cluster.h"
#include "sim_report.h"

#define COLLAPSED 5.0 /* seconds of mean TTFT */

static struct sim_result run(const struct sim_model *model, const struct sim_workload *w,
                             const struct sim_blend *weights)
{
  struct sim_config config = {.model = model, .workload = w, .n_engines = 8, .seed = 1};
  struct sim_router router = sim_blend_router("blend", weights);
  struct sim_result result;
  if (!weights)
    assert_int_equal(sim_router_random(&router, 1), 0);
  assert_int_equal(sim_run(&config, &router, &result, NULL, NULL), 0);
  if (router.destroy)
    router.destroy(router.self);
  return result;
}

/* Rate of the first rung whose mean TTFT is above COLLAPSED, or 0. */
static double knee(const struct sim_workload *w, const struct sim_blend *weights, double *output_tok_s)
{
  struct sim_model model;
  struct sim_result r;
  struct sim_summary s;
  double rate = 0;
  sim_model_default(&model);
  r = run(&model, w, weights);
  for (uint32_t i = 1; i < w->n_stages; i++) {
    assert_int_equal(sim_summarize(&r, i, &s), 0);
    if (rate == 0 && s.ttft.mean > COLLAPSED)
      rate = s.rate;
    output_tok_s[i] = s.output_tok_s;
  }
  sim_result_free(&r);
  return rate;
}

static void policies_break_down_where_published(void **state)
{
  static const double published_random[] = {0, 4215, 6205, 5702, 6336, 6551};
  static const double published_blend[] = {0, 5066, 11688, 13862, 16041, 17064};
  static const struct sim_blend blend = {2, 2, 3}, flat = {1, 1, 1};
  struct sim_ladder ladder;
  struct sim_workload w;
  double random_tok_s[8], blend_tok_s[8], flat_tok_s[8];
  (void)state;
  sim_ladder_quick(&ladder);
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  assert_true(knee(&w, NULL, random_tok_s) == 20);
  assert_true(knee(&w, &blend, blend_tok_s) == 0);
  assert_true(knee(&w, &flat, flat_tok_s) == 40);
  for (uint32_t i = 1; i < w.n_stages; i++) {
    assert_true(random_tok_s[i] > published_random[i] * 0.85 && random_tok_s[i] < published_random[i] * 1.15);
    assert_true(blend_tok_s[i] > published_blend[i] * 0.85 && blend_tok_s[i] < published_blend[i] * 1.15);
  }
  sim_workload_free(&w);
}

/* Every conversation starts with the same block: who follows the longest prefix alone sends all to one engine. */
static void greedy_prefix_uses_one_engine(void **state)
{
  static const struct sim_blend greedy = {0, 0, 1}, blend = {2, 2, 3};
  const char *path = shared_file("data/traces/mooncake_conversation.jsonl");
  struct sim_model model;
  struct sim_trace trace;
  struct sim_workload w;
  struct sim_result r;
  struct sim_summary s;
  (void)state;
  sim_model_default(&model);
  sim_trace_default(&trace);
  assert_int_equal(sim_workload_mooncake(&w, path, &trace, NULL), 0);
  r = run(&model, &w, &greedy);
  assert_int_equal(sim_summarize(&r, SIM_TOTAL, &s), 0);
  assert_true(s.imbalance > 7.9 && s.ttft.mean > 1000);
  sim_result_free(&r);
  r = run(&model, &w, &blend);
  assert_int_equal(sim_summarize(&r, SIM_TOTAL, &s), 0);
  assert_true(s.imbalance < 1.1 && s.ttft.mean < 2 && s.hit > 0.09 && s.hit < 0.12);
  sim_result_free(&r);
  sim_workload_free(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(policies_break_down_where_published),
    cmocka_unit_test(greedy_prefix_uses_one_engine),
  };
  return cmocka_run_group_tests_name("sim/ladder", tests, NULL, NULL);
}
