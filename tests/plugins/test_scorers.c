/* The scorers that look at numbers: formulas, edges, and what becomes of values that are unknown or absurd. */
#include "expect.h"

extern const llmd_plugin llmd__queue_scorer, llmd__running_requests_size_scorer, llmd__kv_cache_utilization_scorer,
  llmd__lora_affinity_scorer, llmd__prefix_cache_scorer, llmd__multicluster_prefix_cache_scorer,
  llmd__token_load_scorer, llmd__load_aware_scorer, llmd__active_request_scorer, llmd__endpoint_attribute_scorer,
  llmd__mm_embeddings_cache_scorer, llmd__multicluster_queue_scorer, llmd__multicluster_kv_cache_utilization_scorer;

static void tables(void **state)
{
  static const llmd_plugin *const all[] = {
    &llmd__queue_scorer, &llmd__running_requests_size_scorer, &llmd__kv_cache_utilization_scorer,
    &llmd__lora_affinity_scorer, &llmd__prefix_cache_scorer, &llmd__multicluster_prefix_cache_scorer,
    &llmd__token_load_scorer, &llmd__load_aware_scorer, &llmd__active_request_scorer, &llmd__endpoint_attribute_scorer,
    &llmd__mm_embeddings_cache_scorer, &llmd__multicluster_queue_scorer,
    &llmd__multicluster_kv_cache_utilization_scorer};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    const char *fault = bench_table_fault(all[i]);
    if (fault)
      fail_msg("%s: %s", all[i]->type, fault);
  }
}

/* ---- load ------------------------------------------------------------------------------------------------------- */
/* queue-scorer and running-requests-size-scorer have one rule. */
static void relative_load(void **state)
{
  static const struct {
    const llmd_plugin *plugin;
    const char *column;
  } both[] = {{&llmd__queue_scorer, "WaitingQueueSize"}, {&llmd__running_requests_size_scorer, "RunningRequestsSize"}};
  size_t i;
  (void)state;
  for (i = 0; i < 2; i++) {
    bench *b = bench_new(both[i].plugin);
    const char *load = both[i].column;
    uint32_t mode;
    for (mode = SAFE; mode <= STRICT; mode++) {
      FILL(b, load, 12, 6, 0, 3);
      SCORES(b, mode, 0, 0.5, 1, 0.75);
      FILL(b, load, 7, 7, 7);
      SCORES(b, mode, 1, 1, 1);
      FILL(b, load, 0, 0);
      SCORES(b, mode, 1, 1);
      FILL(b, load, 1e6);
      SCORES(b, mode, 1);
    }
    FILL(b, load, NAN, 8, 4);
    SCORES(b, STRICT, 1, 0, 0.5);
    SCORES(b, SAFE, 0.5, 0, 1);
    FILL(b, load, NAN, NAN);
    SCORES(b, STRICT, 1, 1);
    SCORES(b, SAFE, 1, 1);
    FILL(b, load, NAN, 4, 4);
    SCORES(b, SAFE, 0.5, 1, 1);
    FILL(b, load, INFINITY, -INFINITY, -3, 4, 8);
    SCORES(b, SAFE, 0.5, 0.5, 0.5, 1, 0);
    bench_free(b);
  }
}

static void kv_usage(void **state)
{
  bench *b = bench_new(&llmd__kv_cache_utilization_scorer);
  (void)state;
  FILL(b, "KVCacheUsagePercent", 0.9, 0.25, 0, 1, 1.25);
  SCORES(b, STRICT, 0.1, 0.75, 1, 0, -0.25);
  SCORES(b, SAFE, 0.1, 0.75, 1, 0, -0.25);
  FILL(b, "KVCacheUsagePercent", NAN, -0.5, INFINITY, 0.3);
  SCORES(b, SAFE, 0.5, 0.5, 0.5, 0.7);
  FILL(b, "KVCacheUsagePercent", NAN, 0.3);
  SCORES(b, STRICT, 1, 0.7);
  bench_free(b);
}

static void load_aware(void **state)
{
  bench *b = bench_new(&llmd__load_aware_scorer);
  (void)state;
  assert_int_equal(bench_number(b, "threshold", 8), 0);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "WaitingQueueSize", 0, 2, 8, 9, NAN);
  SCORES(b, STRICT, 0.5, 0.375, 0, 0, 0.5);
  SCORES(b, SAFE, 0.5, 0.375, 0, 0, 0.25);
  FILL(b, "WaitingQueueSize", -1, INFINITY);
  SCORES(b, SAFE, 0.25, 0.25);
  assert_int_equal(bench_number(b, "threshold", -3), 0);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "WaitingQueueSize", 64);
  SCORES(b, STRICT, 0.25);
  bench_number(b, "threshold", 0);
  assert_int_equal(bench_validate(b), 0);
  SCORES(b, STRICT, 0.25);
  bench_free(b);
}

static void token_load(void **state)
{
  bench *b = bench_new(&llmd__token_load_scorer);
  (void)state;
  bench_number(b, "queueThresholdTokens", 2000);
  assert_int_equal(bench_validate(b), 0);
  b->request.tokens = 600;
  FILL(b, "InFlightLoad.uncached", 0, 0, 500, 500, 0);
  FILL(b, "InFlightLoad.tokens", 0, 1000, 1000, 9000, -5);
  SCORES(b, STRICT, 1, 0.5, 0.25, 0, 1);
  SCORES(b, SAFE, 1, 0.5, 0.25, 0, 0.5);
  FILL(b, "InFlightLoad.uncached", NAN, NAN);
  FILL(b, "InFlightLoad.tokens", NAN, 1000);
  SCORES(b, STRICT, 1, 0.5);
  SCORES(b, SAFE, 0.5, 0.2); /* the whole prompt is uncached */
  FILL(b, "InFlightLoad.tokens", INFINITY, -INFINITY);
  SCORES(b, SAFE, 0.5, 0.5);
  bench_number(b, "queueThresholdTokens", 0);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "InFlightLoad.uncached", 0);
  FILL(b, "InFlightLoad.tokens", 1048576);
  SCORES(b, STRICT, 0.75);
  bench_free(b);
}

static void active_requests(void **state)
{
  bench *b = bench_new(&llmd__active_request_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "InFlightLoad.requests", 2, 0, 8);
  SCORES(b, STRICT, 0.75, 1, 0);
  SCORES(b, SAFE, 0.75, 1, 0);
  FILL(b, "InFlightLoad.requests", 8, NAN, 2);
  SCORES(b, STRICT, 0, 1, 0.75);
  SCORES(b, SAFE, 0, 0.5, 0.75);
  FILL(b, "InFlightLoad.requests", -4, INFINITY, 3, NAN);
  SCORES(b, SAFE, 0.5, 0.5, 0, 0.5);
  bench_number(b, "idleThreshold", 2);
  bench_number(b, "maxBusyScore", 0.4);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "InFlightLoad.requests", 2, 3, 4, NAN);
  SCORES(b, STRICT, 1, 0.1, 0, 1);
  SCORES(b, SAFE, 1, 0.1, 0, 0.2);
  bench_number(b, "maxBusyScore", 0);
  assert_int_equal(bench_validate(b), 0);
  SCORES(b, STRICT, 1, 0, 0, 1);
  bench_number(b, "idleThreshold", -7);
  bench_number(b, "maxBusyScore", 1.5);
  bench_text(b, "requestTimeout", "not a duration");
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "InFlightLoad.requests", 0, 1, 4);
  SCORES(b, STRICT, 1, 0.75, 0);
  bench_free(b);
}

/* ---- caches ----------------------------------------------------------------------------------------------------- */
static void prefix_ratio(void **state)
{
  bench *b = bench_new(&llmd__prefix_cache_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.block", 16, 16, 16, 16, NAN);
  FILL(b, "PrefixCacheMatchInfo.total", 8, 8, 8, 0, NAN);
  FILL(b, "PrefixCacheMatchInfo.match", 8, 2, 0, 0, NAN);
  SCORES(b, STRICT, 1, 0.25, 0, 0, 0);
  SCORES(b, SAFE, 1, 0.25, 0, 0, 0);
  FILL(b, "PrefixCacheMatchInfo.block", 16, 16, 16, 16);
  FILL(b, "PrefixCacheMatchInfo.total", 8, 8, INFINITY, 8);
  FILL(b, "PrefixCacheMatchInfo.match", 16, INFINITY, INFINITY, -2);
  SCORES(b, SAFE, 0, 0, 0, 0);
  FILL(b, "PrefixCacheMatchInfo.match", 16, 4, 4, 4);
  SCORES(b, STRICT, 2, 0.5, 0, 0.5);
  bench_free(b);
}

static void prefix_length(void **state)
{
  bench *b = bench_new(&llmd__multicluster_prefix_cache_scorer);
  (void)state;
  bench_number(b, "matchLengthWeight", 0.5);
  bench_number(b, "matchLengthScaleTokens", 200);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.block", 2, 2, 0, 64, 32);
  FILL(b, "PrefixCacheMatchInfo.total", 10, 100, 10, 10, 10);
  FILL(b, "PrefixCacheMatchInfo.match", 5, 50, 5, 10, 10);
  SCORES(b, STRICT, 0.25125, 0.375, 0.25, 1, 1);
  SCORES(b, SAFE, 0.25125, 0.375, 0.25, 1, 1);
  bench_free(b);
}

static void prefix_parameters(void **state)
{
  bench *b = bench_new(&llmd__prefix_cache_scorer);
  (void)state;
  assert_int_equal(bench_number(b, "matchLengthWeight", 1.1), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "matchLengthWeight", -0.1), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "matchLengthScaleTokens", 0), 0);
  assert_int_equal(bench_validate(b), 0); /* not used with weight 0 */
  assert_int_equal(bench_number(b, "matchLengthWeight", 1), 0);
  expect_refused(b, LLMD_E_RANGE, "matchLengthScaleTokens");
  bench_free(b);
}

static void embeddings(void **state)
{
  bench *b = bench_new(&llmd__mm_embeddings_cache_scorer);
  (void)state;
  FILL(b, "EncoderCacheMatchInfo.total", 400, 400, 400, 0, NAN, 400);
  FILL(b, "EncoderCacheMatchInfo.matched", 100, 400, 0, 0, NAN, NAN);
  SCORES(b, STRICT, 0.25, 1, 0, 0, 0, 0);
  SCORES(b, SAFE, 0.25, 1, 0, 0, 0, 0);
  FILL(b, "EncoderCacheMatchInfo.total", 400, 400, -1, INFINITY);
  FILL(b, "EncoderCacheMatchInfo.matched", 800, INFINITY, 4, INFINITY);
  SCORES(b, SAFE, 0, 0, 0, 0);
  bench_free(b);
}

static void lora(void **state)
{
  bench *b = bench_new(&llmd__lora_affinity_scorer);
  (void)state;
  FILL_KIND(b, LLMD_READ_HAS_MODEL, "ActiveModels", 1, 0, 0, 0, 0, 1);
  FILL_KIND(b, LLMD_READ_SET_SIZE, "ActiveModels", 4, 1, 2, 2, 0, 1);
  FILL_KIND(b, LLMD_READ_HAS_MODEL, "WaitingModels", 0, 1, 1, 0, 0, 1);
  FILL_KIND(b, LLMD_READ_SET_SIZE, "WaitingModels", 0, 1, 1, 1, 0, 1);
  FILL(b, "MaxActiveModels", 4, 3, 3, 3, 0, 0);
  SCORES(b, STRICT, 1, 0.8, 0.6, 0, 0, 1);
  SCORES(b, SAFE, 1, 0.8, 0.6, 0, 0, 1);
  FILL_KIND(b, LLMD_READ_HAS_MODEL, "ActiveModels", NAN, NAN, 0, 0);
  FILL_KIND(b, LLMD_READ_SET_SIZE, "ActiveModels", NAN, NAN, 0, 0);
  FILL_KIND(b, LLMD_READ_HAS_MODEL, "WaitingModels", NAN, NAN, 0, 1);
  FILL_KIND(b, LLMD_READ_SET_SIZE, "WaitingModels", NAN, NAN, 0, 1);
  FILL(b, "MaxActiveModels", NAN, 4, INFINITY, INFINITY);
  SCORES(b, SAFE, 0, 0, 0, 0.6);
  SCORES(b, STRICT, 0, 0.8, 0, 0.6);
  bench_free(b);
}

/* ---- any number ------------------------------------------------------------------------------------------------- */
static bench *attribute_bench(const char *type)
{
  bench *b = bench_new(&llmd__endpoint_attribute_scorer);
  bench_text(b, "attributeKey", "gpu");
  assert_int_equal(bench_text(b, "algorithm.type", type), 0);
  return b;
}

static void attribute_adaptive(void **state)
{
  bench *b = attribute_bench("linear_lower_is_better");
  uint32_t mode;
  (void)state;
  bench_object(b, "algorithm.normalization.adaptiveRange");
  assert_int_equal(bench_validate(b), 0);
  for (mode = SAFE; mode <= STRICT; mode++) {
    FILL(b, "gpu", 30, 20, -10, NAN);
    SCORES(b, mode, 0, 0.25, 1, 0);
    FILL(b, "gpu", 9, 9);
    SCORES(b, mode, 1, 1);
    FILL(b, "gpu", NAN, NAN);
    SCORES(b, mode, 0, 0);
    FILL(b, "gpu", INFINITY, -INFINITY, 1, 3);
    SCORES(b, mode, 0, 0, 1, 0);
  }
  bench_free(b);
  b = attribute_bench("linear_higher_is_better");
  FILL(b, "gpu", 30, 20, -10, NAN);
  SCORES(b, STRICT, 1, 0.75, 0, 0);
  bench_free(b);
}

static void attribute_fixed(void **state)
{
  bench *b = attribute_bench("linear_lower_is_better");
  (void)state;
  bench_number(b, "algorithm.normalization.fixedRange.min", 100);
  bench_number(b, "algorithm.normalization.fixedRange.max", 200);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "gpu", 180, 180, 90, 500, NAN);
  SCORES(b, STRICT, 0.2, 0.2, 1, 0, 0);
  SCORES(b, SAFE, 0.2, 0.2, 1, 0, 0);
  bench_free(b);
}

static void attribute_parameters(void **state)
{
  bench *b = attribute_bench("linear_lower_is_better");
  (void)state;
  assert_int_equal(bench_text(b, "algorithm.type", "linear"), LLMD_E_RANGE);
  bench_number(b, "algorithm.normalization.fixedRange.min", 4);
  bench_number(b, "algorithm.normalization.fixedRange.max", 4);
  expect_refused(b, LLMD_E_RANGE, "algorithm.normalization.fixedRange");
  bench_number(b, "algorithm.normalization.fixedRange.max", 5);
  assert_int_equal(bench_validate(b), 0);
  bench_object(b, "algorithm.normalization.adaptiveRange");
  expect_refused(b, LLMD_E_INVALID, "algorithm.normalization");
  bench_text(b, "attributeKey", "");
  expect_refused(b, LLMD_E_MISSING, "attributeKey");
  bench_free(b);
  b = attribute_bench("linear_lower_is_better");
  bench_text(b, "attributeKey", "gpu/dcgm-extractor");
  expect_refused(b, LLMD_E_INVALID, "attributeKey");
  bench_text(b, "producer", ""); /* set, if to nothing: the slash is part of the name */
  assert_int_equal(bench_validate(b), 0);
  bench_free(b);
}

/* ---- clusters --------------------------------------------------------------------------------------------------- */
static void clusters(void **state)
{
  bench *b = bench_new(&llmd__multicluster_queue_scorer);
  const char *queue = "llm-d.ai/multicluster-queue-size", *usage = "llm-d.ai/multicluster-kv-cache-utilization";
  uint32_t mode;
  (void)state;
  for (mode = SAFE; mode <= STRICT; mode++) {
    FILL(b, queue, 3, NAN, 11, 5);
    SCORES(b, mode, 1, NAN, 0, 0.75);
    FILL(b, queue, 6, 6);
    SCORES(b, mode, 1, 1);
    FILL(b, queue, NAN);
    SCORES(b, mode, NAN);
  }
  FILL(b, queue, -2, INFINITY, 4, 8, 0);
  SCORES(b, SAFE, NAN, NAN, 0.5, 0, 1);
  bench_free(b);
  b = bench_new(&llmd__multicluster_kv_cache_utilization_scorer);
  FILL(b, usage, 0.3, NAN, 0.95);
  SCORES(b, STRICT, 0.7, NAN, 0.05);
  FILL(b, usage, 0.3, -1, INFINITY, 0);
  SCORES(b, SAFE, 0.7, NAN, NAN, 1);
  bench_free(b);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tables), cmocka_unit_test(relative_load), cmocka_unit_test(kv_usage), cmocka_unit_test(load_aware),
    cmocka_unit_test(token_load), cmocka_unit_test(active_requests), cmocka_unit_test(prefix_ratio),
    cmocka_unit_test(prefix_length), cmocka_unit_test(prefix_parameters), cmocka_unit_test(embeddings),
    cmocka_unit_test(lora), cmocka_unit_test(attribute_adaptive), cmocka_unit_test(attribute_fixed),
    cmocka_unit_test(attribute_parameters), cmocka_unit_test(clusters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
