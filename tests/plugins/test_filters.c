/* The filters: who stays and in what order, and what becomes of endpoints of which something is not known. */
#include "expect.h"

#include <string.h>

extern const llmd_plugin llmd__decode_filter, llmd__prefill_filter, llmd__encode_filter, llmd__label_selector_filter,
  llmd__by_label_selector, llmd__by_label, llmd__endpoint_attribute_filter, llmd__utilization_filter,
  llmd__topology_affinity_filter, llmd__prefix_cache_affinity_filter, llmd__slo_headroom_tier_filter,
  llmd__header_based_testing_filter;

static void tables(void **state)
{
  static const llmd_plugin *const all[] = {
    &llmd__decode_filter, &llmd__prefill_filter, &llmd__encode_filter, &llmd__label_selector_filter,
    &llmd__by_label_selector, &llmd__by_label, &llmd__endpoint_attribute_filter, &llmd__utilization_filter,
    &llmd__topology_affinity_filter, &llmd__prefix_cache_affinity_filter, &llmd__slo_headroom_tier_filter,
    &llmd__header_based_testing_filter};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    const char *fault = bench_table_fault(all[i]);
    if (fault)
      fail_msg("%s: %s", all[i]->type, fault);
  }
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */
static bench *role_bench(const llmd_plugin *plugin)
{
  static const char *const role[] = {"both",    "encode", "prefill-decode", "decode",        "encode-prefill-decode",
                                     "prefill", "Decode", "encode-prefill", "encode-decode", ""};
  bench *b = bench_new(plugin);
  uint32_t i;
  for (i = 0; i < 10; i++) {
    bench_label(b, i, "tier", "decode");
    bench_label(b, i, "llm-d.ai/role", role[i]);
  }
  bench_label(b, 10, "tier", "prefill");
  b->n = 12; /* 10 has another label, 11 has none */
  return b;
}

static void roles(void **state)
{
  bench *b = role_bench(&llmd__decode_filter);
  (void)state;
  KEEPS(b, STRICT, 0, 2, 3, 4, 10, 11);
  KEEPS(b, SAFE, 0, 2, 3, 4, 10, 11);
  bench_free(b);
  b = role_bench(&llmd__prefill_filter);
  KEEPS(b, STRICT, 0, 2, 4, 5, 7);
  bench_free(b);
  b = role_bench(&llmd__encode_filter);
  KEEPS(b, STRICT, 1, 4, 7);
  bench_free(b);
}

/* 0: a=1 b=2, 1: a=2, 2: b=, 3: nothing */
static bench *label_bench(const llmd_plugin *plugin)
{
  bench *b = bench_new(plugin);
  bench_label(b, 0, "a", "1");
  bench_label(b, 0, "b", "2");
  bench_label(b, 1, "a", "2");
  bench_label(b, 2, "b", "");
  b->n = 4;
  return b;
}

static bench *expression_bench(const char *key, const char *op, uint32_t n, const char *const *values)
{
  bench *b = label_bench(&llmd__label_selector_filter);
  bench_items(b, "matchExpressions", 1);
  bench_text(b, "matchExpressions[0].key", key);
  assert_int_equal(bench_text(b, "matchExpressions[0].operator", op), 0);
  bench_strings(b, "matchExpressions[0].values", n, values);
  return b;
}

static void selector_operators(void **state)
{
  static const char *const values[] = {"1", "3"}, *const empty[] = {""};
  bench *b = expression_bench("a", "In", 2, values);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 0);
  bench_free(b);
  b = expression_bench("a", "NotIn", 2, values);
  KEEPS(b, STRICT, 1, 2, 3);
  bench_free(b);
  b = expression_bench("b", "Exists", 0, NULL);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, SAFE, 0, 2);
  bench_free(b);
  b = expression_bench("b", "DoesNotExist", 0, NULL);
  KEEPS(b, SAFE, 1, 3);
  bench_free(b);
  b = expression_bench("b", "In", 1, empty);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 2);
  bench_free(b);
}

static void selector_and(void **state)
{
  static const char *const labels[] = {"a", "1", "b", "2"}, *const other[] = {"a", "1", "b", "1"};
  bench *b = label_bench(&llmd__by_label_selector);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 0, 1, 2, 3); /* asks for nothing */
  bench_map(b, "matchLabels", 2, labels);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 0);
  bench_map(b, "matchLabels", 2, other);
  KEEPS_NONE(b, STRICT);
  bench_map(b, "matchLabels", 1, labels);
  bench_items(b, "matchExpressions", 1);
  bench_text(b, "matchExpressions[0].key", "b");
  bench_text(b, "matchExpressions[0].operator", "DoesNotExist");
  KEEPS_NONE(b, STRICT);
  bench_free(b);
}

static void selector_parameters(void **state)
{
  static const char *const value[] = {"ok"}, *const bad_value[] = {"-x"}, *const bad_label[] = {"a", "no spaces"};
  static const char *const bad_key[] = {"", "-a", "a-", "a b", "/a", "a/", "Ex.ample/a", "a/b/c", "x..y/a", "x.-y/a",
                                        "x-.y/a", "-x/a", "x-/a", ".x/a", "x./a", "x_y/a",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
  static const char *const good_key[] = {"app.kubernetes.io/part-of_1.x", "a", "Zz09", "a/b", "a-b.c-0.z9/A", "a--b/c",
                                         "012345678901234567890123456789012345678901234567890123456789012"};
  bench *b = expression_bench("a", "In", 0, NULL);
  size_t i;
  (void)state;
  assert_int_equal(bench_text(b, "matchExpressions[0].operator", "in"), LLMD_E_RANGE);
  expect_refused(b, LLMD_E_MISSING, "matchExpressions[0]");
  bench_free(b);
  b = expression_bench("a", "Exists", 1, value);
  expect_refused(b, LLMD_E_INVALID, "matchExpressions[0]");
  bench_free(b);
  b = expression_bench("a", "NotIn", 1, bad_value);
  expect_refused(b, LLMD_E_INVALID, "matchExpressions[0]");
  bench_free(b);
  b = expression_bench("a", "NotIn", 0, NULL);
  expect_refused(b, LLMD_E_MISSING, "matchExpressions[0]");
  bench_free(b);
  b = expression_bench("a", "In", 1, value);
  for (i = 0; i < sizeof good_key / sizeof good_key[0]; i++) {
    bench_text(b, "matchExpressions[0].key", good_key[i]);
    assert_int_equal(bench_validate(b), 0);
  }
  for (i = 0; i < sizeof bad_key / sizeof bad_key[0]; i++) {
    bench_text(b, "matchExpressions[0].key", bad_key[i]);
    expect_refused(b, LLMD_E_INVALID, "matchExpressions[0]");
  }
  bench_map(b, "matchLabels", 1, bad_label);
  expect_refused(b, LLMD_E_INVALID, "matchLabels[0]");
  bench_free(b);
}

static void by_label(void **state)
{
  static const char *const values[] = {"2", "3"}, *const empty[] = {""};
  bench *b = label_bench(&llmd__by_label);
  (void)state;
  expect_refused(b, LLMD_E_MISSING, "label");
  bench_text(b, "label", "a");
  expect_refused(b, LLMD_E_MISSING, "validValues");
  bench_strings(b, "validValues", 2, values);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 1);
  bench_number(b, "allowsNoLabel", 1);
  KEEPS(b, STRICT, 1, 2, 3);
  bench_strings(b, "validValues", 0, NULL);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, SAFE, 2, 3);
  bench_text(b, "label", "b");
  bench_number(b, "allowsNoLabel", 0);
  bench_strings(b, "validValues", 1, empty);
  KEEPS(b, SAFE, 2); /* an empty value is a value */
  bench_free(b);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */
static bench *threshold_bench(const char *op)
{
  bench *b = bench_new(&llmd__endpoint_attribute_filter);
  bench_text(b, "attribute", "temperature");
  bench_text(b, "algorithm.type", "threshold");
  bench_text(b, "algorithm.threshold.operator", op);
  bench_number(b, "algorithm.threshold.value", 20);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "temperature", 30, 20, 10, NAN, -5);
  return b;
}

static void attribute_operators(void **state)
{
  static const struct {
    const char *op;
    uint32_t n, kept[5];
  } cases[] = {{"LessThan", 3, {2, 3, 4}},    {"LessThanOrEqual", 4, {1, 2, 3, 4}}, {"GreaterThan", 2, {0, 3}},
               {"GreaterThanOrEqual", 3, {0, 1, 3}}, {"Equal", 2, {1, 3}},           {"NotEqual", 4, {0, 2, 3, 4}}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    bench *b = threshold_bench(cases[i].op);
    expect_kept(b, STRICT, cases[i].n, cases[i].kept, __LINE__);
    expect_kept(b, SAFE, cases[i].n, cases[i].kept, __LINE__);
    bench_free(b);
  }
}

static void attribute_missing(void **state)
{
  bench *b = threshold_bench("LessThan");
  (void)state;
  assert_int_equal(bench_text(b, "onMissing", ""), 0);
  KEEPS(b, STRICT, 2, 3, 4);
  bench_text(b, "onMissing", "Fail");
  KEEPS(b, STRICT, 2, 4);
  FILL(b, "temperature", -INFINITY, 25, NAN);
  KEEPS_NONE(b, STRICT);
  bench_number(b, "fallbackOnEmpty", 1);
  KEEPS(b, SAFE, 0, 1, 2);
  FILL(b, "temperature", 15, 25, NAN);
  KEEPS(b, STRICT, 0);
  assert_int_equal(bench_text(b, "onMissing", "pass"), LLMD_E_RANGE);
  assert_int_equal(bench_text(b, "algorithm.type", "topk"), LLMD_E_RANGE);
  assert_int_equal(bench_text(b, "algorithm.threshold.operator", "<"), LLMD_E_RANGE);
  bench_text(b, "attribute", "a/b");
  expect_refused(b, LLMD_E_INVALID, "attribute");
  bench_text(b, "producer", "p");
  assert_int_equal(bench_validate(b), 0);
  bench_text(b, "attribute", "");
  expect_refused(b, LLMD_E_MISSING, "attribute");
  bench_free(b);
}

static void utilization(void **state)
{
  bench *b = bench_new(&llmd__utilization_filter);
  (void)state;
  bench_items(b, "conditions", 2);
  bench_text(b, "conditions[0].metric", "running-requests");
  bench_number(b, "conditions[0].maxValue", 30);
  bench_text(b, "conditions[1].metric", "waiting-queue");
  bench_number(b, "conditions[1].maxValue", 0);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "RunningRequestsSize", 30, 31, 5, NAN, 40);
  FILL(b, "WaitingQueueSize", 0, 0, 1, 0, NAN);
  KEEPS(b, STRICT, 0, 3);
  KEEPS(b, SAFE, 0); /* 3 may be idle, but nobody knows */
  FILL(b, "RunningRequestsSize", 31, 5, NAN, 40, -1);
  FILL(b, "WaitingQueueSize", 0, 1, 0, NAN, INFINITY);
  KEEPS(b, SAFE, 2, 4); /* nobody is known to pass */
  FILL(b, "RunningRequestsSize", 31, 32);
  FILL(b, "WaitingQueueSize", 0, NAN);
  KEEPS_NONE(b, STRICT);
  KEEPS_NONE(b, SAFE);
  bench_number(b, "fallbackOnEmpty", 1);
  KEEPS(b, STRICT, 0, 1);
  KEEPS(b, SAFE, 0, 1);
  bench_free(b);
}

static void utilization_metrics(void **state)
{
  static const struct {
    const char *metric, *column;
  } metrics[] = {{"active-requests", "InFlightLoad.requests"}, {"running-requests", "RunningRequestsSize"},
                 {"waiting-queue", "WaitingQueueSize"}, {"kv-cache-utilization", "KVCacheUsagePercent"}};
  size_t i;
  (void)state;
  for (i = 0; i < 4; i++) {
    bench *b = bench_new(&llmd__utilization_filter);
    bench_items(b, "conditions", 1);
    bench_text(b, "conditions[0].metric", metrics[i].metric);
    bench_number(b, "conditions[0].maxValue", 0.5);
    FILL(b, metrics[i].column, 0.6, 0.5, 0.4);
    KEEPS(b, STRICT, 1, 2);
    bench_free(b);
  }
}

static void utilization_parameters(void **state)
{
  bench *b = bench_new(&llmd__utilization_filter);
  (void)state;
  expect_refused(b, LLMD_E_MISSING, "conditions");
  bench_items(b, "conditions", 2);
  assert_int_equal(bench_text(b, "conditions[1].metric", "latency"), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "conditions[1].maxValue", -1), LLMD_E_RANGE);
  bench_text(b, "conditions[1].metric", "kv-cache-utilization");
  bench_number(b, "conditions[1].maxValue", 1.5);
  expect_refused(b, LLMD_E_RANGE, "conditions[1].maxValue");
  bench_number(b, "conditions[1].maxValue", 1);
  assert_int_equal(bench_validate(b), 0);
  bench_free(b);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */
static void topology(void **state)
{
  bench *b = bench_new(&llmd__topology_affinity_filter);
  (void)state;
  FILL_IDS(b, LLMD_READ_ID, "Topology.hostname", "a", "b", "c", "d", NULL);
  FILL_IDS(b, LLMD_READ_ID, "Topology.rack", "r1", "r1", "r2", "r2", NULL);
  FILL_IDS(b, LLMD_READ_ID, "Topology.zone", "z1", "z1", "z1", "z2", NULL);
  FILL_IDS(b, LLMD_READ_ID, "Topology.region", "g1", "g1", "g1", "g1", NULL);
  KEEPS(b, STRICT, 0, 1, 2, 3, 4); /* no peer */
  bench_peer(b, LLMD_READ_ID, "Topology.hostname", "a");
  bench_peer(b, LLMD_READ_ID, "Topology.rack", "r1");
  bench_peer(b, LLMD_READ_ID, "Topology.zone", "z1");
  bench_peer(b, LLMD_READ_ID, "Topology.region", "g1");
  KEEPS(b, STRICT, 0);
  bench_text(b, "minAffinity", "rack");
  KEEPS(b, SAFE, 0, 1);
  bench_text(b, "minAffinity", "zone");
  KEEPS(b, STRICT, 0, 1, 2);
  bench_text(b, "minAffinity", "region");
  KEEPS(b, STRICT, 0, 1, 2, 3);
  assert_int_equal(bench_text(b, "minAffinity", ""), 0); /* the default */
  bench_peer(b, LLMD_READ_ID, "Topology.hostname", "e");
  KEEPS(b, STRICT, 0, 1, 2, 3, 4); /* nobody is close enough */
  bench_peer(b, LLMD_READ_ID, "Topology.hostname", NULL);
  KEEPS(b, STRICT, 0, 1, 2, 3, 4); /* unknown is not the same as unknown */
  assert_int_equal(bench_text(b, "minAffinity", "continent"), LLMD_E_RANGE);
  bench_free(b);
}

/* ---- prefix ------------------------------------------------------------------------------------------------------ */
static bench *prefix_bench(void)
{
  bench *b = bench_new(&llmd__prefix_cache_affinity_filter);
  FILL(b, "PrefixCacheMatchInfo.total", 100, 100, 100, 100);
  FILL(b, "PrefixCacheMatchInfo.match", 95, 20, 80, 79);
  FILL(b, "InFlightLoad.tokens", 0, 0, 0, 0);
  return b;
}

static void prefix_sticky(void **state)
{
  bench *b = prefix_bench();
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 0, 2);
  KEEPS(b, SAFE, 0, 2);
  FILL(b, "PrefixCacheMatchInfo.match", 10, 20, NAN, 79);
  KEEPS(b, STRICT, 0, 1, 2, 3); /* nobody is sticky */
  FILL(b, "PrefixCacheMatchInfo.match", 100, 200, INFINITY, -1);
  KEEPS(b, SAFE, 0); /* more than all of the prompt cannot be */
  bench_number(b, "affinityThreshold", 0);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  bench_number(b, "affinityThreshold", -1);
  FILL(b, "PrefixCacheMatchInfo.match", 100, 0, 0, 0);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  bench_number(b, "affinityThreshold", 0.5);
  bench_number(b, "explorationProbability", 1);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  bench_free(b);
}

static void prefix_exploration(void **state)
{
  bench *b = prefix_bench();
  uint32_t kept[BENCH_MOST], explored = 0;
  (void)state;
  bench_number(b, "explorationProbability", 0.25);
  for (b->seed = 0; b->seed < 1000; b->seed++)
    explored += bench_filter(b, STRICT, kept) == 4;
  assert_in_range(explored, 200, 300);
  bench_free(b);
}

static void prefix_gate(void **state)
{
  bench *b = prefix_bench();
  (void)state;
  bench_number(b, "peakPrefillThroughput", 2000);
  bench_number(b, "maxTTFTPenaltyMs", 400);
  FILL(b, "InFlightLoad.tokens", 3000, 200, 1000, 5000);
  KEEPS(b, STRICT, 0, 2); /* 500 ms against 100: not more than 400 */
  FILL(b, "InFlightLoad.tokens", 3000, 200, 1002, 5000);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  KEEPS(b, SAFE, 0, 1, 2, 3);
  FILL(b, "InFlightLoad.tokens", NAN, 200, 5000, 5000);
  KEEPS(b, STRICT, 0, 2);
  KEEPS(b, SAFE, 0, 1, 2, 3); /* an unknown load makes nobody fast */
  FILL(b, "InFlightLoad.tokens", 3000, NAN, 5000, NAN);
  KEEPS(b, SAFE, 0, 2);
  bench_number(b, "maxTTFTPenaltyMs", 0);
  FILL(b, "InFlightLoad.tokens", 900000, 0, 900000, 0);
  KEEPS(b, STRICT, 0, 2);
  bench_free(b);
}

static void prefix_predicted(void **state)
{
  bench *b = prefix_bench();
  (void)state;
  bench_text(b, "ttftSource", "latencyPredictor");
  bench_number(b, "peakPrefillThroughput", 0);
  bench_number(b, "maxTTFTPenaltyMs", 50);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "LatencyPredictionInfo.ttft", 300, 270, 320, 400);
  KEEPS(b, STRICT, 0, 2);
  FILL(b, "LatencyPredictionInfo.ttft", 400, 270, 321, 400);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  FILL(b, "LatencyPredictionInfo.ttft", NAN, 270, NAN, 400);
  KEEPS(b, STRICT, 0, 1, 2, 3);
  FILL(b, "LatencyPredictionInfo.ttft", NAN, NAN, NAN, NAN);
  KEEPS(b, STRICT, 0, 2);
  bench_free(b);
}

static void prefix_parameters(void **state)
{
  bench *b = prefix_bench();
  (void)state;
  assert_int_equal(bench_number(b, "affinityThreshold", 1.5), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "affinityThreshold", -3), 0); /* off */
  assert_int_equal(bench_number(b, "explorationProbability", -0.1), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "maxTTFTPenaltyMs", -1), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "peakPrefillThroughput", -1), LLMD_E_RANGE);
  assert_int_equal(bench_text(b, "ttftSource", ""), LLMD_E_RANGE);
  assert_int_equal(bench_text(b, "ttftSource", "guess"), LLMD_E_RANGE);
  bench_number(b, "peakPrefillThroughput", 0);
  expect_refused(b, LLMD_E_RANGE, "peakPrefillThroughput");
  bench_number(b, "maxTTFTPenaltyMs", 0);
  assert_int_equal(bench_validate(b), 0);
  bench_free(b);
}

/* ---- predictions ------------------------------------------------------------------------------------------------- */
static void slo_tiers(void **state)
{
  bench *b = bench_new(&llmd__slo_headroom_tier_filter);
  (void)state;
  bench_number(b, "epsilonExploreNeg", 0);
  FILL(b, "LatencyPredictionInfo.valid", NAN, 3, 3, 3, NAN, 3);
  FILL(b, "LatencyPredictionInfo.ttft_headroom", NAN, 5, -1, 0, NAN, 9);
  FILL(b, "LatencyPredictionInfo.tpot_headroom", NAN, 5, 5, 0, NAN, -2);
  KEEPS(b, STRICT, 1, 3);
  KEEPS(b, SAFE, 1, 3);
  bench_number(b, "epsilonExploreNeg", 1);
  KEEPS(b, STRICT, 2, 5, 0, 4); /* those without prediction come last */
  FILL(b, "LatencyPredictionInfo.ttft_headroom", NAN, -5, -1, -1, NAN, -1);
  bench_number(b, "epsilonExploreNeg", 0);
  KEEPS(b, STRICT, 1, 2, 3, 5, 0, 4);
  FILL(b, "LatencyPredictionInfo.valid", NAN, NAN, NAN);
  KEEPS(b, STRICT, 0, 1, 2);
  FILL(b, "LatencyPredictionInfo.valid", 3);
  FILL(b, "LatencyPredictionInfo.ttft_headroom", -5);
  KEEPS(b, STRICT, 0);
  FILL(b, "LatencyPredictionInfo.valid", 3, 3);
  FILL(b, "LatencyPredictionInfo.ttft_headroom", NAN, 3);
  FILL(b, "LatencyPredictionInfo.tpot_headroom", 1, 1);
  KEEPS(b, SAFE, 1);
  KEEPS(b, STRICT, 0, 1);
  assert_int_equal(bench_number(b, "epsilonExploreNeg", 1.1), LLMD_E_RANGE);
  bench_free(b);
}

static void slo_exploration(void **state)
{
  bench *b = bench_new(&llmd__slo_headroom_tier_filter);
  uint32_t kept[BENCH_MOST], explored = 0;
  (void)state;
  FILL(b, "LatencyPredictionInfo.valid", 3, 3);
  FILL(b, "LatencyPredictionInfo.ttft_headroom", 3, -3);
  FILL(b, "LatencyPredictionInfo.tpot_headroom", 3, 3);
  for (b->seed = 0; b->seed < 4000; b->seed++)
    explored += bench_filter(b, STRICT, kept) == 1 && kept[0] == 1;
  assert_in_range(explored, 15, 80); /* 0.01, the default */
  bench_free(b);
}

/* ---- the header of tests ----------------------------------------------------------------------------------------- */
static void selection(void **state)
{
  static const char header[] = "test-epp-endpoint-selection";
  bench *b = bench_new(&llmd__header_based_testing_filter);
  (void)state;
  b->host[3].address = "10.0.0.1"; /* shares the address of 1 */
  b->host[3].port = 8001;
  b->host[4].address = "::1";
  b->n = 5;
  bench_filter(b, STRICT, (uint32_t[BENCH_MOST]){0}); /* so that the addresses are known */
  KEEPS_NONE(b, STRICT);
  bench_header(b, header, "");
  KEEPS_NONE(b, STRICT);
  bench_header(b, header, " , ,");
  KEEPS_NONE(b, SAFE);
  bench_header(b, header, "10.0.0.2, 10.0.0.9 ,10.0.0.0,10.0.0.2");
  KEEPS(b, STRICT, 2, 0);
  bench_header(b, header, "10.0.0.1");
  KEEPS(b, STRICT, 3); /* the last one of that address */
  bench_header(b, header, "10.0.0.1:8000,10.0.0.1:8001");
  KEEPS(b, STRICT, 1); /* one for each address */
  bench_header(b, header, "10.0.0.1:8002,10.0.0.0:08000,10.0.0.2:,:8000,10.0.0.0:x,10.0.0.0:123456");
  KEEPS(b, STRICT, 2);
  b->host[0].port = 10902;
  bench_header(b, header, "10.0.0.0:1090,10.0.0.0:10902");
  KEEPS(b, STRICT, 0);
  bench_header(b, header, "10.0.0.0:109:2,10.0.0.0:1/902,10.0.0.0:1:902");
  KEEPS_NONE(b, STRICT);
  bench_header(b, header, "\t[::1]:8000\r,\n10.0.0.0:10902");
  KEEPS(b, SAFE, 4, 0);
  bench_header(b, header, "[::1]");
  KEEPS(b, STRICT, 4);
  bench_header(b, header, "::1");
  KEEPS(b, STRICT, 4);
  bench_header(b, header, "[::1]:9,a:b:c");
  KEEPS_NONE(b, STRICT);
  bench_free(b);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tables), cmocka_unit_test(roles), cmocka_unit_test(selector_operators),
    cmocka_unit_test(selector_and), cmocka_unit_test(selector_parameters), cmocka_unit_test(by_label),
    cmocka_unit_test(attribute_operators), cmocka_unit_test(attribute_missing), cmocka_unit_test(utilization),
    cmocka_unit_test(utilization_metrics), cmocka_unit_test(utilization_parameters), cmocka_unit_test(topology),
    cmocka_unit_test(prefix_sticky), cmocka_unit_test(prefix_exploration), cmocka_unit_test(prefix_gate),
    cmocka_unit_test(prefix_predicted), cmocka_unit_test(prefix_parameters), cmocka_unit_test(slo_tiers),
    cmocka_unit_test(slo_exploration), cmocka_unit_test(selection)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
