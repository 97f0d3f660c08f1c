/* Metrics out: names, numbers, and the page that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/exposition.h"
#include "explained.h"
#include "model/pool.h"

/* What is looked for: name, and one label value that must be among the labels ("" = any). */
typedef struct wanted {
  const char *name, *label;
  double value;
  unsigned found, type;
} wanted;

static int look(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels, uint32_t n,
                double value)
{
  wanted *w = ud;
  int hit = !strcmp(name, w->name) && !*w->label;
  assert_true(*help != 0);
  for (uint32_t i = 0; i < 2 * n; i++)
    hit |= !strcmp(name, w->name) && !strcmp(labels[i], w->label);
  if (hit) {
    w->value = value;
    w->type = type;
    w->found++;
  }
  return 0;
}

static double metric(const rig *r, const char *name, const char *label)
{
  wanted w = {name, label, 0, 0, 0};
  assert_int_equal(llmd_metrics_visit(r->scheduler, look, &w), 0);
  if (w.found != 1)
    fail_msg("%s{%s} is there %u times", name, label, w.found);
  assert_int_equal(w.type, strstr(name, "_total") ? LLMD_METRIC_COUNTER : LLMD_METRIC_GAUGE);
  return w.value;
}

static void is(double got, double should)
{
  if (!(fabs(got - should) < 1e-9))
    fail_msg("%.17g is not %.17g", got, should);
}

static void counters(void **state)
{
  llmd_usage usage = {.size = sizeof usage, .prompt_tokens = 141, .output_tokens = 20, .cached_tokens = 128};
  rig r;
  (void)state;
  rig_make(&r, "default"); /* four decisions, three carried out */
  is(metric(&r, "llmd_decisions_total", ""), 4);
  is(metric(&r, "llm_d_epp_scheduler_attempts_total", "success"), 4);
  is(metric(&r, "llm_d_epp_scheduler_attempts_total", "failure"), 0);
  is(metric(&r, "llmd_commits_total", ""), 3);
  is(metric(&r, "llmd_rejected_total", "saturated"), 0);
  is(metric(&r, "llmd_ladder_total", "stale"), 0);
  is(metric(&r, "llmd_snapshot_generation", ""), 1);
  is(metric(&r, "llmd_lanes", ""), 1);
  /* the first prompt was cold, the three after it found all their blocks */
  is(metric(&r, "llmd_prefix_blocks_total", ""), 12);
  is(metric(&r, "llmd_prefix_hit_blocks_total", ""), 9);
  is(metric(&r, "llm_d_epp_prefix_indexer_hit_ratio", ""), 0.75);
  is(metric(&r, "llm_d_epp_prefix_indexer_size", "approx-prefix-cache-producer"), 3);
  assert_int_equal(llmd_report(r.lane, r.decision.ticket, LLMD_REPORT_FIRST, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, r.decision.ticket, LLMD_REPORT_END, &usage, &r.now), 0);
  is(metric(&r, "llmd_reports_total", "first-token"), 1);
  is(metric(&r, "llmd_reports_total", "end"), 1);
  is(metric(&r, "llmd_reports_total", "error"), 0);
  is(metric(&r, "llmd_tokens_total", "prompt"), 141);
  is(metric(&r, "llmd_tokens_total", "output"), 20);
  is(metric(&r, "llmd_tokens_total", "cached"), 128);
  rig_close(&r);
}

static void pool_gauges(void **state)
{
  rig r;
  (void)state;
  rig_make(&r, "default-narrowed");
  is(metric(&r, "llm_d_epp_ready_endpoints", ""), 7);
  is(metric(&r, "llm_d_epp_average_queue_size", ""), (3 + 0 + 7 + 1 + 12 + 0 + 2 + 5) / 8.0);
  is(metric(&r, "llm_d_epp_average_running_requests", ""), (8 + 2 + 5 + 9 + 1 + 4 + 3 + 7) / 8.0);
  is(metric(&r, "llm_d_epp_average_kv_cache_utilization", ""),
     (0.5 + 0.125 + 0.7 + 0.3 + 0.05 + 0.9 + 0.45 + 0.61) / 8.0);
  is(metric(&r, "llm_d_epp_std_dev_queue_size", ""), sqrt(232 / 8.0 - 3.75 * 3.75));
  is(metric(&r, "llm_d_epp_per_endpoint_queue_size", "pod-3"), 7);
  is(metric(&r, "llm_d_epp_inflight_requests", "pod-2"), 1); /* decided, not ended */
  is(metric(&r, "llm_d_epp_inflight_requests", "pod-3"), 0);
  assert_true(metric(&r, "llm_d_epp_inflight_tokens", "pod-2") >= 100);
  is(metric(&r, "llm_d_epp_info", llmd_version_text()), 1);
  rig_close(&r);
}

static void unknown_is_not_zero(void **state)
{
  rig r;
  (void)state;
  rig_make(&r, "default");
  for (unsigned i = 0; i < SITUATION_ENDPOINTS; i++)
    assert_int_equal(llmd_pool_set(r.pool, r.id[i], LLMD_ATTR_WAITING, (double)NAN), 0);
  assert_int_equal(llmd_pool_publish(r.pool, &r.now), 0);
  assert_true(isnan(metric(&r, "llm_d_epp_average_queue_size", "")));
  assert_true(isnan(metric(&r, "llm_d_epp_per_endpoint_queue_size", "pod-3")));
  assert_int_equal(llmd_pool_set(r.pool, r.id[2], LLMD_ATTR_WAITING, 6), 0);
  assert_int_equal(llmd_pool_publish(r.pool, &r.now), 0);
  is(metric(&r, "llm_d_epp_average_queue_size", ""), 6);
  rig_close(&r);
}

static void rejections_and_the_ladder(void **state)
{
  rig r;
  (void)state;
  rig_make(&r, "saturated");
  is(metric(&r, "llmd_rejected_total", "saturated"), 1);
  is(metric(&r, "llm_d_epp_scheduler_attempts_total", "failure"), 1);
  rig_close(&r);
  rig_make(&r, "saturated-open");
  is(metric(&r, "llmd_ladder_total", "open"), 4);
  is(metric(&r, "llmd_ladder_total", "robin"), 4);
  rig_close(&r);
  rig_make(&r, "default-shed");
  is(metric(&r, "llmd_rejected_total", "sheddable"), 1);
  rig_close(&r);
  rig_make(&r, "default-stale");
  is(metric(&r, "llmd_ladder_total", "stale"), 3);
  rig_close(&r);
}

static void disaggregation(void **state)
{
  rig r;
  (void)state;
  rig_make(&r, "disagg-decode"); /* once cold, once warm */
  is(metric(&r, "llm_d_epp_disagg_decision_total", "decode-only"), 1);
  is(metric(&r, "llm_d_epp_disagg_decision_total", "prefill-decode"), 1);
  is(metric(&r, "llm_d_epp_disagg_decision_total", "encode-prefill-decode"), 0);
  rig_close(&r);
  rig_make(&r, "disagg-image");
  is(metric(&r, "llm_d_epp_disagg_decision_total", "encode-prefill-decode"), 1);
  rig_close(&r);
}

/* Replays are not traffic. */
static void replays_do_not_count(void **state)
{
  static bytes record;
  llmd_decision d = {.size = sizeof d};
  double before;
  int same;
  rig r;
  (void)state;
  rig_make(&r, "disagg-image");
  record.len = 0;
  assert_int_equal(llmd_record_write(r.lane, to_bytes, &record), 0);
  before = metric(&r, "llm_d_epp_inflight_requests", "pod-5");
  assert_true(llmd_replay(r.lane, record.data, record.len, &d, &same) > 0);
  is(metric(&r, "llmd_decisions_total", ""), 1);
  is(metric(&r, "llm_d_epp_disagg_decision_total", "encode-prefill-decode"), 1);
  is(metric(&r, "llm_d_epp_inflight_requests", "pod-5"), before);
  rig_close(&r);
}

/* Every lane is taken: readers have slots of their own. When these are taken too, what needs no pin is still told. */
static void no_slot_left(void **state)
{
  wanted ready = {"llm_d_epp_ready_endpoints", "", 0, 0, 0}, all = {"llmd_decisions_total", "", 0, 0, 0};
  uint32_t pinned[64], n = 0;
  int64_t requests, tokens;
  llmd__snapshot snap;
  llmd_lane *more[4];
  rig r;
  (void)state;
  rig_make(&r, "default");
  for (int i = 0; i < 3; i++)
    assert_int_equal(llmd_lane_create(r.scheduler, 0, &more[i]), 0);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &more[3]), LLMD_E_FULL);
  is(metric(&r, "llmd_lanes", ""), 4);
  is(metric(&r, "llm_d_epp_ready_endpoints", ""), 8);
  is(llmd_pool_value(r.pool, r.id[0], LLMD_ATTR_WAITING), 3);
  assert_true(isnan(llmd_pool_value(r.pool, r.id[0], 4000000000u)));
  assert_int_equal(llmd_pool_inflight(r.pool, r.id[0], &requests, &tokens), 0);
  while (n < 64 && !llmd__pool_glance(r.pool, &pinned[n], &snap))
    n++;
  assert_in_range(n, 1, 63);
  assert_int_equal(llmd_metrics_visit(r.scheduler, look, &ready), 0);
  assert_int_equal(llmd_metrics_visit(r.scheduler, look, &all), 0);
  assert_int_equal(ready.found, 0);
  assert_int_equal(all.found, 1);
  assert_true(isnan(llmd_pool_value(r.pool, r.id[0], LLMD_ATTR_WAITING)));
  assert_int_equal(llmd_pool_inflight(r.pool, r.id[0], &requests, &tokens), LLMD_E_BUSY);
  assert_int_equal(llmd_pool_count(r.pool), 0);
  while (n)
    llmd__pool_glance_end(r.pool, pinned[--n]);
  assert_int_equal(llmd_pool_count(r.pool), 8);
  for (int i = 0; i < 3; i++)
    llmd_lane_free(more[i]);
  rig_close(&r);
}

/* The page reads back with the library's own reader: as many samples as were visited, none refused. */
static int count_sample(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels,
                        uint32_t n, double value)
{
  (void)name, (void)type, (void)help, (void)labels, (void)n, (void)value;
  ++*(unsigned *)ud;
  return 0;
}

static void the_page(void **state)
{
  static bytes page;
  unsigned visited = 0, read = 0;
  llmd__exposition x;
  llmd__sample s;
  rig r;
  (void)state;
  rig_make(&r, "disagg-image");
  page.len = page.stop_at = 0;
  assert_int_equal(llmd_metrics_write(r.scheduler, to_bytes, &page), 0);
  assert_int_equal(llmd_metrics_visit(r.scheduler, count_sample, &visited), 0);
  llmd__exposition_init(&x, page.data, page.len, NULL, 0);
  while (llmd__exposition_next(&x, &s))
    read++;
  assert_int_equal(x.refused, 0);
  assert_int_equal(read, visited);
  assert_true(visited > 60);
  assert_non_null(strstr(page.data, "# TYPE llmd_rejected_total counter\n"));
  assert_non_null(strstr(page.data, "\nllmd_rejected_total{reason=\"saturated\"} 0\n"));
  assert_non_null(strstr(page.data, "\nllm_d_epp_inflight_requests{endpoint_name=\"pod-5\",namespace=\"default\",port="
                                    "\"8000\"} 1\n"));
  assert_null(strstr(strstr(page.data, "# HELP llmd_rejected_total") + 1, "# HELP llmd_rejected_total"));
  page.len = 0;
  page.stop_at = 700;
  assert_int_equal(llmd_metrics_write(r.scheduler, to_bytes, &page), LLMD_E_STOPPED);
  page.stop_at = 0;
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counters),
      cmocka_unit_test(pool_gauges),
      cmocka_unit_test(unknown_is_not_zero),
      cmocka_unit_test(rejections_and_the_ladder),
      cmocka_unit_test(disaggregation),
      cmocka_unit_test(replays_do_not_count),
      cmocka_unit_test(no_slot_left),
      cmocka_unit_test(the_page),
  };
  return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
