/* Engines that tell, a policy that listens: whatever is lost, late or restarted, in the end the exact index says what
 * the engines hold; and it is worth something. */
#include "sim_test.h"

#include "sim_cluster.h"
#include "sim_report.h"
#include "sim_router_llmd.h"

#define HEAD "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
#define BLEND \
  "- type: queue-scorer\n- type: kv-cache-utilization-scorer\n- type: max-score-picker\n" \
  "schedulingProfiles:\n- name: default\n  plugins:\n  - {pluginRef: prefix-cache-scorer, weight: 3}\n" \
  "  - {pluginRef: queue-scorer, weight: 2}\n  - {pluginRef: kv-cache-utilization-scorer, weight: 2}\n" \
  "  - pluginRef: max-score-picker\n"

static const char approximate[] = HEAD "- type: prefix-cache-scorer\n" BLEND;
static const char precise[] = HEAD
  "- type: precise-prefix-cache-producer\n"
  "- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n" BLEND;

/* Four times what the engines' caches hold. */
struct bench {
  struct sim_model model;
  struct sim_workload workload;
  struct sim_config config;
};

static void set_up(struct bench *b)
{
  static const struct sim_rate rungs[] = {{6, 12, 0}, {10, 12, 0}};
  struct sim_ladder ladder = {.groups = 40, .prompts_per_group = 3, .system_tokens = 4000, .question_tokens = 300,
                              .output_tokens = 40, .block_size = 16, .pause = 1, .seed = 3, .rates = rungs,
                              .n_rates = 2};
  sim_model_default(&b->model);
  b->model.kv_tokens = 20000;
  assert_int_equal(sim_workload_ladder(&b->workload, &ladder, NULL), 0);
  b->config = (struct sim_config){.model = &b->model, .workload = &b->workload, .n_engines = 3, .seed = 3,
                                  .metrics_period = 0.05, .metrics_lag = 0.01, .event_lag = 0.01};
}

static struct sim_result run(const struct bench *b, const char *config)
{
  llmd_err err = LLMD_ERR_INIT;
  struct sim_llmd_options options = {.name = "policy", .config = config, .config_len = strlen(config),
                                     .workload = &b->workload, .model = &b->model, .n_engines = b->config.n_engines,
                                     .seed = b->config.seed};
  struct sim_router router;
  struct sim_result result;
  assert_int_equal(sim_router_llmd(&router, &options, &err), 0);
  assert_int_equal(sim_run(&b->config, &router, &result, NULL, NULL), 0);
  router.destroy(router.self);
  return result;
}

/* One run of the precise policy; what it heard. In the end nothing is wrong. */
static struct sim_heard hear(const struct bench *b)
{
  struct sim_result r = run(b, precise);
  struct sim_heard h = r.heard;
  assert_true(r.listened);
  assert_int_equal(h.decisions, b->workload.n_requests);
  assert_true(h.messages > 0 && h.events > 0 && h.blocks >= h.index_blocks && h.bytes > h.blocks * 16);
  assert_true(h.end_held > 0 && h.engine_blocks > 0);
  assert_int_equal(h.end_wrong, 0);
  sim_result_free(&r);
  return h;
}

static void assert_settled(const struct sim_heard *h)
{
  assert_int_equal(h->end_known, h->end_held);
  assert_int_equal(h->index_blocks, h->engine_blocks);
}

static void without_lag_the_index_is_the_caches(void **state)
{
  struct bench b;
  struct sim_heard h;
  (void)state;
  set_up(&b);
  b.config.event_lag = 0;
  h = hear(&b);
  assert_settled(&h);
  assert_int_equal(h.lost + h.gaps + h.restarts, 0);
  assert_int_equal(h.replays, 2 * b.config.n_engines); /* a new source asks, and so does a new connection */
  b.config.event_lag = 2;
  struct sim_heard late = hear(&b);
  assert_settled(&late);
  assert_true(late.wrong > h.wrong && late.agreed < h.agreed && late.held - late.known > h.held - h.known);
  sim_workload_free(&b.workload);
}

static void what_is_lost_is_asked_for(void **state)
{
  struct bench b;
  struct sim_heard h;
  (void)state;
  set_up(&b);
  b.config.event_loss = 0.2;
  b.config.event_lag = 0.1;
  h = hear(&b);
  assert_settled(&h);
  assert_true(h.lost > 50 && h.gaps > 50 && h.replays > 20);
  b.config.event_keep = 2; /* engines that cannot repeat much: blocks are missed, none is made up */
  h = hear(&b);
  assert_true(h.end_known < h.end_held && h.index_blocks < h.engine_blocks);
  sim_workload_free(&b.workload);
}

static void engines_forget(void **state)
{
  struct bench b;
  struct sim_heard h;
  (void)state;
  set_up(&b);
  b.config.restart_period = 3;
  h = hear(&b);
  assert_settled(&h);
  assert_true(h.restarts >= 3);
  b.config.event_loss = 0.2;
  b.config.event_lag = 0.2;
  b.model.cpu_tokens = 30000;
  h = hear(&b);
  assert_settled(&h);
  sim_workload_free(&b.workload);
}

static struct sim_summary total(const struct bench *b, const char *config)
{
  struct sim_result r = run(b, config);
  struct sim_summary s;
  assert_int_equal(sim_summarize(&r, SIM_TOTAL, &s), 0);
  assert_int_equal(s.failed, 0);
  sim_result_free(&r);
  return s;
}

/* Engines evict, and what they evict stays in CPU memory: only who listens knows. (Where it is gone, a guess that keeps
 * sending a prompt to where it once was is as good.) */
static void knowing_beats_guessing(void **state)
{
  struct bench b;
  (void)state;
  set_up(&b);
  b.model.cpu_tokens = 90000;
  struct sim_summary guessed = total(&b, approximate), known = total(&b, precise);
  assert_true(known.evictions > 1000);
  assert_true(known.hit > guessed.hit * 1.05 && known.ttft.mean < guessed.ttft.mean * 0.9);
  sim_workload_free(&b.workload);
}

/* The shape of the published tiered benchmark: all that is cached fits into CPU memory. */
static void a_tier_below_holds_what_falls_out(void **state)
{
  struct bench b;
  (void)state;
  set_up(&b);
  struct sim_summary gpu = total(&b, precise);
  b.model.cpu_tokens = 90000;
  struct sim_summary both = total(&b, precise);
  assert_true(both.hit > gpu.hit + 0.1 && both.ttft.mean < gpu.ttft.mean * 0.8);
  struct sim_heard h = hear(&b);
  assert_settled(&h);
  assert_true(h.index_blocks > (uint64_t)b.config.n_engines * b.model.kv_tokens / 16); /* of both tiers */
  sim_workload_free(&b.workload);
}

static void who_does_not_listen_hears_nothing(void **state)
{
  struct bench b;
  (void)state;
  set_up(&b);
  struct sim_result r = run(&b, approximate);
  assert_false(r.listened);
  assert_int_equal(r.heard.messages, 0);
  sim_result_free(&r);
  sim_workload_free(&b.workload);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_lag_the_index_is_the_caches), cmocka_unit_test(what_is_lost_is_asked_for),
    cmocka_unit_test(engines_forget), cmocka_unit_test(knowing_beats_guessing),
    cmocka_unit_test(a_tier_below_holds_what_falls_out), cmocka_unit_test(who_does_not_listen_hears_nothing),
  };
  return cmocka_run_group_tests_name("sim/feed", tests, NULL, NULL);
}
