/* The saturation detectors: how full the pool is, and as filters, who still has room. */
#include "expect.h"

extern const llmd_plugin llmd__utilization_detector, llmd__concurrency_detector;

#define SATURATION(b, mode, want) expect_near((b)->plugin->type, 0, bench_saturation(b, mode), want, __LINE__)
#define FRESH(b, ...) FILL_KIND(b, LLMD_READ_FRESH, "", __VA_ARGS__)

static void tables(void **state)
{
  (void)state;
  assert_null(bench_table_fault(&llmd__utilization_detector));
  assert_null(bench_table_fault(&llmd__concurrency_detector));
}

/* ---- by what engines report -------------------------------------------------------------------------------------- */
static bench *utilization_bench(void)
{
  bench *b = bench_new(&llmd__utilization_detector);
  bench_number(b, "queueDepthThreshold", 10);
  bench_number(b, "kvCacheUtilThreshold", 0.8);
  assert_int_equal(bench_validate(b), 0);
  return b;
}

static void utilization_saturation(void **state)
{
  bench *b = utilization_bench();
  (void)state;
  b->n = 0;
  SATURATION(b, STRICT, 1);
  SATURATION(b, SAFE, 1);
  FRESH(b, 1, 1);
  FILL(b, "WaitingQueueSize", 5, 1);
  FILL(b, "KVCacheUsagePercent", 0.2, 0.6);
  SATURATION(b, STRICT, (0.5 + 0.75) / 2);
  SATURATION(b, SAFE, (0.5 + 0.75) / 2);
  FILL(b, "WaitingQueueSize", 30, 10);
  SATURATION(b, STRICT, 2);
  FRESH(b, 1, 0); /* stale is saturated for the reference, unknown here */
  SATURATION(b, STRICT, 2);
  SATURATION(b, SAFE, 3);
  FRESH(b, 0, 0);
  SATURATION(b, STRICT, 1);
  SATURATION(b, SAFE, 0.5);
  FRESH(b, 1, 1);
  FILL(b, "WaitingQueueSize", NAN, 5);
  FILL(b, "KVCacheUsagePercent", 0.4, NAN);
  SATURATION(b, STRICT, 0.5);
  SATURATION(b, SAFE, 0.5);
  FILL(b, "WaitingQueueSize", -1, 8);
  FILL(b, "KVCacheUsagePercent", 0.4, 0.2);
  SATURATION(b, SAFE, 0.8);
  bench_free(b);
}

static void utilization_filter(void **state)
{
  bench *b = utilization_bench();
  (void)state;
  bench_number(b, "headroom", 0.25);
  FRESH(b, 1, 1, 1, 1, 0, 1);
  FILL(b, "WaitingQueueSize", 12, 12.5, 0, 12, 0, NAN);
  FILL(b, "KVCacheUsagePercent", 0.9, 0.1, 1, 0.99, 0, 0.1);
  KEEPS(b, STRICT, 0, 3, 5);
  KEEPS(b, SAFE, 0, 3);
  FILL(b, "WaitingQueueSize", 13, 13, 13, 13, 0, NAN);
  KEEPS(b, STRICT, 5);
  KEEPS(b, SAFE, 4, 5); /* nobody is known to have room: those of whom nothing is known */
  FRESH(b, 1, 1, 0);
  FILL(b, "WaitingQueueSize", 13, 13, 13);
  FILL(b, "KVCacheUsagePercent", 0, 0, 0);
  KEEPS(b, STRICT, 0, 1, 2); /* fails open */
  KEEPS(b, SAFE, 2);
  FRESH(b, 1, 1, 1);
  KEEPS(b, SAFE, 0, 1, 2);
  bench_free(b);
}

static void utilization_parameters(void **state)
{
  bench *b = bench_new(&llmd__utilization_detector);
  (void)state;
  assert_int_equal(bench_number(b, "queueDepthThreshold", 0), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "kvCacheUtilThreshold", 0), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "kvCacheUtilThreshold", 1.01), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "metricsStalenessThreshold", 0), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "headroom", -0.5), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "headroom", 2), 0);
  FRESH(b, 1);
  FILL(b, "WaitingQueueSize", 4);
  FILL(b, "KVCacheUsagePercent", 0.2);
  SATURATION(b, STRICT, 0.8); /* defaults: 5 and 0.8 */
  bench_free(b);
}

/* ---- by what is in flight ---------------------------------------------------------------------------------------- */
static bench *concurrency_bench(const char *mode)
{
  bench *b = bench_new(&llmd__concurrency_detector);
  bench_number(b, "maxConcurrency", 20);
  bench_number(b, "maxTokenConcurrency", 1000);
  assert_int_equal(bench_text(b, "concurrencyMode", mode), 0);
  return b;
}

static void concurrency_saturation(void **state)
{
  static const struct {
    const char *mode;
    double strict, safe;
  } cases[] = {{"requests", 30.0 / 80, 30.0 / 60}, {"tokens", 1500.0 / 4000, 1500.0 / 3000},
               {"hybrid", (0.5 + 1.2 + 1.0 + 0) / 4, (0.5 + 1.2) / 2}};
  size_t i;
  (void)state;
  for (i = 0; i < 3; i++) {
    bench *b = concurrency_bench(cases[i].mode);
    b->n = 0;
    SATURATION(b, STRICT, 1);
    SATURATION(b, SAFE, 1);
    FILL(b, "InFlightLoad.requests", 10, 0, 20, NAN);
    FILL(b, "InFlightLoad.tokens", 300, 1200, NAN, 0);
    SATURATION(b, STRICT, cases[i].strict);
    SATURATION(b, SAFE, cases[i].safe);
    FILL(b, "InFlightLoad.requests", NAN, -1);
    FILL(b, "InFlightLoad.tokens", NAN, INFINITY);
    SATURATION(b, SAFE, 0.5);
    bench_free(b);
  }
}

static void concurrency_filter(void **state)
{
  bench *b = concurrency_bench("requests");
  (void)state;
  bench_number(b, "headroom", 0.12); /* 22.4 and 1120: whole loads below 22 and 1120 */
  FILL(b, "InFlightLoad.requests", 21, 22, 0, NAN);
  FILL(b, "InFlightLoad.tokens", 0, 0, 1120, 0);
  KEEPS(b, STRICT, 0, 2, 3);
  KEEPS(b, SAFE, 0, 2);
  bench_text(b, "concurrencyMode", "tokens");
  KEEPS(b, STRICT, 0, 1, 3);
  bench_text(b, "concurrencyMode", "hybrid");
  KEEPS(b, STRICT, 0, 3);
  KEEPS(b, SAFE, 0);
  FILL(b, "InFlightLoad.requests", 22, NAN, NAN, INFINITY);
  FILL(b, "InFlightLoad.tokens", 0, 0, 1120, 0);
  KEEPS(b, SAFE, 1, 3); /* 2 is full, whatever its requests are */
  FILL(b, "InFlightLoad.requests", 22, 40);
  FILL(b, "InFlightLoad.tokens", 0, 0);
  KEEPS_NONE(b, STRICT); /* fails closed */
  KEEPS_NONE(b, SAFE);
  bench_free(b);
}

static void concurrency_parameters(void **state)
{
  bench *b = bench_new(&llmd__concurrency_detector);
  (void)state;
  assert_int_equal(bench_number(b, "maxConcurrency", 0), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "maxTokenConcurrency", 0), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "headroom", -0.5), LLMD_E_RANGE);
  assert_int_equal(bench_text(b, "concurrencyMode", ""), LLMD_E_RANGE);
  assert_int_equal(bench_number(b, "headroom", 1e300), 0);
  FILL(b, "InFlightLoad.requests", 1e15, 50);
  FILL(b, "InFlightLoad.tokens", 0, 0);
  KEEPS(b, STRICT, 0, 1); /* the limit is cut to what fits */
  FILL(b, "InFlightLoad.requests", 10, 50);
  SATURATION(b, STRICT, 0.3); /* default: 100 requests */
  bench_free(b);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tables), cmocka_unit_test(utilization_saturation), cmocka_unit_test(utilization_filter),
    cmocka_unit_test(utilization_parameters), cmocka_unit_test(concurrency_saturation),
    cmocka_unit_test(concurrency_filter), cmocka_unit_test(concurrency_parameters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
