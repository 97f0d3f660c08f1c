/* What explain says of decisions whose numbers are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "explained.h"

static void near(double got, double wanted)
{
  double d = got - wanted;
  if (!(d < 1e-12 && d > -1e-12))
    fail_msg("%.17g is not %.17g", got, wanted);
}

static void default_policy(void **state)
{
  rig r;
  llmd__tree *tree;
  const llmd__node *root, *profile;
  (void)state;
  rig_make(&r, "default");
  tree = explain_tree(r.lane);
  root = llmd__tree_root(tree);
  assert_string_equal(text_at(root, "decision.status"), "routed");
  assert_string_equal(text_at(root, "decision.primary"), "default");
  assert_string_equal(text_at(root, "decision.seed"), "4");
  assert_int_equal(count_at(root, "decision.ladder"), 0);
  assert_string_equal(text_at(root, "model"), "adapter-a");
  assert_int_equal(count_at(root, "profiles"), 1);
  profile = at(root, "profiles.0");
  assert_string_equal(text_at(profile, "state"), "ran");
  assert_int_equal(count_at(profile, "filters"), 0);
  assert_int_equal(count_at(profile, "scorers"), 3);
  assert_string_equal(text_at(profile, "scorers.0.name"), "queue-scorer");
  assert_string_equal(text_at(profile, "scorers.0.type"), "queue-scorer");
  near(number_at(profile, "scorers.0.weight"), 2);
  /* queues are 0..12: pod-1 has 3 */
  near(number_at(profile, "scorers.0.scores.default/pod-1"), 0.75);
  near(number_at(profile, "scorers.0.weighted.default/pod-1"), 1.5);
  near(number_at(profile, "scorers.1.scores.default/pod-2"), 0.875);
  near(number_at(profile, "scorers.2.weighted.default/pod-2"), 3);
  near(number_at(profile, "totals.default/pod-2"), 6.75);
  assert_string_equal(text_at(profile, "picker.name"), "max-score-picker");
  assert_int_equal(count_at(profile, "picked"), 1);
  assert_string_equal(text_at(profile, "picked.0"), "default/pod-2");
  assert_string_equal(text_at(profile, "runner_up.endpoint"), "default/pod-4");
  near(number_at(profile, "margin"), 6.75 - number_at(profile, "totals.default/pod-4"));
  assert_int_equal(count_at(root, "deciders"), 0);
  assert_string_equal(text_at(root, "targets.0.endpoint"), "default/pod-2");
  assert_string_equal(text_at(root, "targets.0.address"), "10.0.0.2");
  near(number_at(root, "targets.0.port"), 8000);
  assert_string_equal(text_at(root, "headers.0.name"), "x-gateway-destination-endpoint");
  assert_string_equal(text_at(root, "headers.0.value"), "10.0.0.2:8000");
  assert_int_equal(count_at(root, "endpoints"), 8);
  assert_string_equal(text_at(root, "endpoints.7.name"), "default/pod-8");
  llmd__tree_free(tree);
  rig_close(&r);
}

static const llmd__node *named(const llmd__node *list, const char *name)
{
  const llmd__node *n = list ? list->first : NULL;
  while (n && strcmp(text_at(n, "name"), name))
    n = n->next;
  assert_non_null(n);
  return n;
}

static void producers_show_their_columns(void **state)
{
  const llmd__node *column;
  llmd__tree *tree;
  rig r;
  (void)state;
  rig_make(&r, "default");
  tree = explain_tree(r.lane);
  column = named(at(llmd__tree_root(tree), "producers"), "PrefixCacheMatchInfo.match");
  assert_string_equal(text_at(column, "producer"), "approx-prefix-cache-producer");
  assert_string_equal(text_at(column, "set_by"), "producer");
  near(number_at(column, "values.default/pod-2"), 3);
  near(number_at(column, "values.default/pod-1"), 0);
  llmd__tree_free(tree);
  rig_close(&r);

  rig_make(&r, "latency");
  tree = explain_tree(r.lane);
  column = named(at(llmd__tree_root(tree), "producers"), "LatencyPredictionInfo.ttft_headroom");
  assert_string_equal(text_at(column, "set_by"), "host");
  near(number_at(column, "values.default/pod-3"), 80.25);
  llmd__tree_free(tree);
  rig_close(&r);
}

static void filters_name_what_they_dropped(void **state)
{
  const llmd__node *filters;
  llmd__tree *tree;
  rig r;
  (void)state;
  rig_make(&r, "load");
  tree = explain_tree(r.lane);
  filters = at(llmd__tree_root(tree), "profiles.0.filters");
  assert_string_equal(text_at(filters, "0.name"), "label-selector-filter");
  near(number_at(filters, "0.before"), 8);
  assert_int_equal(count_at(filters, "0.kept"), 6);
  assert_int_equal(count_at(filters, "0.dropped"), 2);
  assert_string_equal(text_at(filters, "0.dropped.0"), "default/pod-5");
  assert_string_equal(text_at(filters, "0.dropped.1"), "default/pod-6");
  assert_string_equal(text_at(filters, "1.name"), "utilization-filter");
  near(number_at(filters, "1.before"), 6);
  assert_int_equal(count_at(filters, "1.dropped"), 1);
  assert_string_equal(text_at(filters, "1.dropped.0"), "default/pod-3");
  assert_string_equal(text_at(filters, "1.kept.0"), "default/pod-1");
  assert_int_equal(count_at(llmd__tree_root(tree), "profiles.0.picked"), 3);
  llmd__tree_free(tree);
  rig_close(&r);
}

/* Subset, exclusion and drain come before any filter: what they took away is in no list. */
static void narrowed_candidates(void **state)
{
  llmd__tree *tree;
  rig r;
  (void)state;
  rig_make(&r, "default-narrowed");
  tree = explain_tree(r.lane);
  assert_int_equal(count_at(llmd__tree_root(tree), "profiles.0.totals"), 3);
  assert_null(at(llmd__tree_root(tree), "profiles.0.totals.default/pod-1"));
  assert_null(at(llmd__tree_root(tree), "profiles.0.totals.default/pod-4"));
  assert_non_null(at(llmd__tree_root(tree), "profiles.0.totals.default/pod-5"));
  assert_int_equal(count_at(llmd__tree_root(tree), "endpoints"), 8);
  llmd__tree_free(tree);
  rig_close(&r);
}

static void disaggregation(void **state)
{
  const llmd__node *root;
  llmd__tree *tree;
  rig r;
  (void)state;
  rig_make(&r, "disagg-image");
  tree = explain_tree(r.lane);
  root = llmd__tree_root(tree);
  assert_int_equal(count_at(root, "deciders"), 2);
  assert_string_equal(text_at(root, "deciders.0.name"), "always-disagg-multimodal-decider");
  assert_int_equal(at(root, "deciders.0.answer")->integer, 1);
  assert_string_equal(text_at(root, "decision.primary"), "decode");
  assert_string_equal(text_at(root, "profiles.0.name"), "prefill");
  assert_string_equal(text_at(root, "profiles.0.picked.0"), "default/pod-6");
  assert_string_equal(text_at(root, "profiles.2.picked.0"), "default/pod-7");
  assert_null(at(root, "profiles.2.runner_up"));
  assert_int_equal(count_at(root, "headers"), 3);
  llmd__tree_free(tree);
  rig_close(&r);
}

static void rejections_are_explained_too(void **state)
{
  const llmd__node *root;
  llmd__tree *tree;
  rig r;
  (void)state;
  rig_make(&r, "saturated");
  tree = explain_tree(r.lane);
  root = llmd__tree_root(tree);
  assert_string_equal(text_at(root, "decision.status"), "rejected");
  assert_string_equal(text_at(root, "decision.reason"), "saturated");
  assert_string_equal(text_at(root, "decision.reference_reason"), "rejected-saturated");
  assert_int_equal(at(root, "decision.primary")->kind, LLMD__NULL);
  assert_string_equal(text_at(root, "profiles.0.state"), "failed");
  assert_int_equal(count_at(root, "profiles.0.filters.0.dropped"), 8);
  assert_int_equal(count_at(root, "targets"), 0);
  llmd__tree_free(tree);
  rig_close(&r);

  rig_make(&r, "saturated-open");
  tree = explain_tree(r.lane);
  root = llmd__tree_root(tree);
  assert_string_equal(text_at(root, "decision.status"), "routed");
  assert_string_equal(text_at(root, "decision.ladder.0"), "robin");
  assert_string_equal(text_at(root, "decision.ladder.1"), "open");
  assert_int_equal(count_at(root, "profiles.0.picked"), 1);
  llmd__tree_free(tree);
  rig_close(&r);
}

/* The why outlives commit, report, a new snapshot, and the request. */
static void the_why_stays(void **state)
{
  static bytes before, after;
  llmd_usage usage = {.size = sizeof usage, .prompt_tokens = 10, .output_tokens = 5, .cached_tokens = 0};
  rig r;
  (void)state;
  rig_make(&r, "session");
  before.len = after.len = 0;
  assert_int_equal(llmd_explain_json(r.lane, to_bytes, &before), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.decision, r.id[7], &r.now), 0);
  assert_int_equal(llmd_report(r.lane, r.decision.ticket, LLMD_REPORT_END, &usage, &r.now), 0);
  assert_int_equal(llmd_pool_set(r.pool, r.id[0], LLMD_ATTR_WAITING, 77), 0);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[4]), 0);
  assert_int_equal(llmd_pool_publish(r.pool, &r.now), 0);
  llmd_request_reset(r.request);
  memset(r.memory, 0x5a, 1024);
  assert_int_equal(llmd_explain_json(r.lane, to_bytes, &after), 0);
  assert_string_equal(before.data, after.data);
  rig_close(&r);
}

static int widest(const char *text)
{
  int most = 0, now = 0;
  for (; *text; text++) {
    now = *text == '\n' ? 0 : now + ((*text & 0xc0) != 0x80);
    most = now > most ? now : most;
  }
  return most;
}

static void tables(void **state)
{
  static bytes text;
  rig r;
  (void)state;
  for (unsigned i = 0; i < n_situations; i++) {
    rig_make(&r, situations[i].name);
    text.len = 0;
    assert_int_equal(llmd_explain_table(r.lane, to_bytes, &text), 0);
    assert_true(text.len > 40);
    assert_in_range(widest(text.data), 10, 100);
    rig_close(&r);
  }
  rig_make(&r, "load");
  text.len = 0;
  assert_int_equal(llmd_explain_table(r.lane, to_bytes, &text), 0);
  assert_non_null(strstr(text.data, "routed to default/pod-2 at 10.0.0.2:8000 (profile default, seed 14)\n"));
  assert_non_null(strstr(text.data, "label-selector-filter  8 \xe2\x86\x92 6  dropped default/pod-5, default/pod-6\n"));
  assert_non_null(strstr(text.data, "a = queue-scorer, weight 2\n"));
  assert_non_null(strstr(text.data, " 1> default/pod-2"));
  assert_non_null(strstr(text.data, "  ~ default/pod-1"));
  assert_non_null(strstr(text.data, "> picked by max-score-picker, ~ runner-up; margin "));
  rig_close(&r);
}

static void wide_pools_are_cut(void **state)
{
  static bytes text;
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 64, .prefix_bytes = 1 << 20, .state_bytes = 4 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  llmd_now now = {1, 1};
  llmd_pool *pool;
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_decision d = {.size = sizeof d};
  size_t bytes_of_request = llmd_request_size(NULL);
  void *memory = malloc(bytes_of_request);
  llmd_request *request;
  (void)state;
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  for (unsigned i = 0; i < 50; i++) {
    char name[96], address[32];
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    llmd_endpoint_id id;
    e.name.ptr = name;
    e.name.len = (size_t)snprintf(name, sizeof name,
                                  "a-rather-long-name-of-a-pod-\xc3\xa4\xc3\xb6\xc3\xbc-in-a-deployment-%u", i);
    e.address.ptr = address;
    e.address.len = (size_t)snprintf(address, sizeof address, "fd00::%u", i + 1);
    assert_int_equal(llmd_pool_add(pool, &e, &id), 0);
    assert_int_equal(llmd_pool_set(pool, id, LLMD_ATTR_WAITING, i), 0);
  }
  assert_int_equal(llmd_pool_publish(pool, &now), 0);
  assert_int_equal(llmd_scheduler_create(&so, pool, NULL, 0, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  assert_int_equal(llmd_request_init(memory, bytes_of_request, NULL, &request), 0);
  assert_int_equal(llmd_request_feed(request, "{\"model\":\"m\",\"prompt\":\"hi\"}", 27, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(lane, request, &now, 1, &d), 0);
  text.len = 0;
  assert_int_equal(llmd_explain_table(lane, to_bytes, &text), 0);
  assert_in_range(widest(text.data), 80, 120); /* the first line has the whole name */
  assert_non_null(strstr(text.data, "    30 more with lower totals\n"));
  assert_null(strstr(text.data, "deployment-49 "));
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(memory);
}

/* A writer that asks to stop is asked no more, and told so. */
static void stopping(void **state)
{
  static bytes text;
  rig r;
  (void)state;
  rig_make(&r, "default");
  text.len = 0;
  text.stop_at = 600;
  assert_int_equal(llmd_explain_json(r.lane, to_bytes, &text), LLMD_E_STOPPED);
  text.len = 0;
  assert_int_equal(llmd_explain_table(r.lane, to_bytes, &text), LLMD_E_STOPPED);
  text.stop_at = 0;
  rig_close(&r);
}

static void nothing_to_explain(void **state)
{
  llmd_decision d = {.size = sizeof d};
  static bytes text;
  llmd_lane *lane;
  rig r;
  (void)state;
  rig_make(&r, "default");
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &lane), 0);
  assert_int_equal(llmd_explain_json(lane, to_bytes, &text), LLMD_E_NONE);
  assert_int_equal(llmd_explain_table(lane, to_bytes, &text), LLMD_E_NONE);
  assert_int_equal(llmd_record_write(lane, to_bytes, &text), LLMD_E_NONE);
  llmd_request_reset(r.request);
  assert_int_equal(llmd_decide(r.lane, r.request, &r.now, 1, &d), 0);
  assert_int_equal(d.status, LLMD_NEED_BODY);
  assert_int_equal(llmd_explain_json(r.lane, to_bytes, &text), LLMD_E_NONE);
  llmd_lane_free(lane);
  rig_close(&r);
}

/* Nothing was ever published: still a decision, still explained. */
static void empty_pool(void **state)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hi\"}";
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  size_t size = llmd_request_size(NULL);
  void *memory = malloc(size);
  llmd_decision d = {.size = sizeof d};
  llmd_now now = {1, 1};
  llmd_request *request;
  llmd_scheduler *s;
  llmd_pool *pool;
  llmd_lane *lane;
  llmd__tree *tree;
  (void)state;
  assert_int_equal(llmd_pool_open(NULL, &pool, NULL), 0);
  assert_int_equal(llmd_scheduler_create(&so, pool, NULL, 0, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  assert_int_equal(llmd_request_init(memory, size, NULL, &request), 0);
  assert_int_equal(llmd_request_feed(request, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
  for (int published = 0; published < 2; published++) {
    if (published)
      assert_int_equal(llmd_pool_publish(pool, &now), 0);
    assert_int_equal(llmd_decide(lane, request, &now, 1, &d), 0);
    tree = explain_tree(lane);
    assert_string_equal(text_at(llmd__tree_root(tree), "decision.reason"), "no-endpoints");
    assert_int_equal(count_at(llmd__tree_root(tree), "endpoints"), 0);
    llmd__tree_free(tree);
  }
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(memory);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(default_policy),
      cmocka_unit_test(producers_show_their_columns),
      cmocka_unit_test(filters_name_what_they_dropped),
      cmocka_unit_test(narrowed_candidates),
      cmocka_unit_test(disaggregation),
      cmocka_unit_test(rejections_are_explained_too),
      cmocka_unit_test(the_why_stays),
      cmocka_unit_test(tables),
      cmocka_unit_test(wide_pools_are_cut),
      cmocka_unit_test(stopping),
      cmocka_unit_test(nothing_to_explain),
      cmocka_unit_test(empty_pool),
  };
  return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
