#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/quantity.h"

#include <llmd/error.h>

#include <inttypes.h>
#include <string.h>

#define S INT64_C(1000000000)

/* What Go's time.ParseDuration answers. */
static const struct {
  const char *text;
  int64_t ns;
} durations[] = {
    {"0", 0}, {"-0", 0}, {"+0", 0}, {"0s", 0}, {"5s", 5 * S}, {"+5s", 5 * S}, {"-5s", -5 * S}, {"60s", 60 * S},
    {"1m30s", 90 * S}, {"200ms", S / 5}, {"1h", 3600 * S}, {"500us", 500000}, {"1.5s", 3 * S / 2}, {"1.s", S},
    {".5s", S / 2}, {"3\xc2\xb5s", 3000}, {"3\xce\xbcs", 3000}, {"7ns", 7}, {"1.9ns", 1}, {"10.5s4m", 250 * S + S / 2},
    {"1h1h", 7200 * S}, {"39h9m14.425s", 140954 * S + 425000000}, {"0.3333333333333333333h", 1200 * S},
    {"0.100000000000000000000h", 360 * S}, {"9007199254.740993ms", INT64_C(9007199254740993)},
    {"9223372036854775807ns", INT64_MAX}, {"2562047h47m16.854775807s", INT64_MAX},
    {"-9223372036854775808ns", INT64_MIN}, {"-2562047h47m16.854775808s", INT64_MIN}};

static const struct {
  const char *text;
  int rc;
} bad_durations[] = {
    {"", LLMD_E_SYNTAX}, {"-", LLMD_E_SYNTAX}, {"3", LLMD_E_SYNTAX}, {"00", LLMD_E_SYNTAX}, {"s", LLMD_E_SYNTAX},
    {".", LLMD_E_SYNTAX}, {".s", LLMD_E_SYNTAX}, {"1d", LLMD_E_SYNTAX}, {"1 s", LLMD_E_SYNTAX}, {" 1s", LLMD_E_SYNTAX},
    {"1s ", LLMD_E_SYNTAX}, {"1S", LLMD_E_SYNTAX}, {"1m-30s", LLMD_E_SYNTAX}, {"--1s", LLMD_E_SYNTAX},
    {"1e3s", LLMD_E_SYNTAX}, {"9223372036854775808ns", LLMD_E_RANGE}, {"-9223372036854775809ns", LLMD_E_RANGE},
    {"99999999999999999999s", LLMD_E_RANGE}, {"3000000h", LLMD_E_RANGE}, {"2562047h47m16.854775808s", LLMD_E_RANGE}};

static void durations_as_go_reads_them(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
    int64_t ns = -99;
    assert_int_equal(llmd__parse_duration(durations[i].text, strlen(durations[i].text), &ns), LLMD_OK);
    assert_true(ns == durations[i].ns);
  }
  for (size_t i = 0; i < sizeof bad_durations / sizeof *bad_durations; i++) {
    int64_t ns = -99;
    const char *text = bad_durations[i].text;
    assert_int_equal(llmd__parse_duration(text, strlen(text), &ns), bad_durations[i].rc);
    assert_true(ns == -99);
  }
}

static void durations_are_written_short(void **state)
{
  static const struct {
    int64_t ns;
    const char *text;
  } rows[] = {{0, "0s"}, {1, "1ns"}, {-1, "-1ns"}, {1500, "1.5us"}, {200 * 1000000, "200ms"}, {S, "1s"}, {90 * S,
      "1m30s"},
              {60 * S, "1m"}, {3600 * S, "1h"}, {3600 * S + 5, "1h0.000000005s"}, {3660 * S, "1h1m"},
              {INT64_MIN, "-2562047h47m16.854775808s"}, {INT64_MAX, "2562047h47m16.854775807s"}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[LLMD__DURATION_LEN];
    assert_int_equal(llmd__format_duration(rows[i].ns, text), strlen(rows[i].text));
    assert_string_equal(text, rows[i].text);
  }
}

static void durations_round_trip(void **state)
{
  uint64_t x = 1;
  (void)state;
  for (unsigned i = 0; i < 20000; i++) {
    char text[LLMD__DURATION_LEN];
    int64_t ns = 0, back = 1;
    x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t v = x >> (i % 64);
    memcpy(&ns, &v, sizeof ns);
    assert_int_equal(llmd__parse_duration(text, llmd__format_duration(ns, text), &back), LLMD_OK);
    assert_true(back == ns);
  }
}

static const struct {
  const char *text;
  int64_t value;
} quantities[] = {
    {"0", 0}, {"5000", 5000}, {"+5", 5}, {"-5", -5}, {"1k", 1000}, {"1M", 1000000}, {"1G", 1000000000},
    {"1T", INT64_C(1000000000000)}, {"1P", INT64_C(1000000000000000)}, {"1E", INT64_C(1000000000000000000)},
    {"1Ki", 1024}, {"1Mi", 1048576}, {"1Gi", 1073741824}, {"1Ti", INT64_C(1) << 40}, {"1Pi", INT64_C(1) << 50},
    {"7Ei", INT64_C(7) << 60}, {"100m", 1}, {"1000m", 1}, {"1001m", 2}, {"-1001m", -2}, {"1u", 1}, {"1n", 1}, {"0n", 0},
    {"1.5Gi", 1610612736}, {"0.1Ki", 103}, {"1.5", 2}, {"-1.5", -2}, {"1.", 1}, {".5", 1}, {"1.50k", 1500}, {"5e3",
        5000},
    {"5E3", 5000}, {"5e+3", 5000}, {"5e-3", 1}, {"12E-1", 2}, {"1e-999999999999", 1}, {"0e999999999999", 0},
    {"007", 7}, {"9223372036854775807", INT64_MAX}, {"9223372036854775808", INT64_MAX}, {"8Ei", INT64_MAX},
    {"-8Ei", -INT64_MAX}, {"10E", INT64_MAX}, {"1e400", INT64_MAX}, {"12345678901234567890123m", INT64_MAX},
    {"12345678901234567890m", INT64_C(12345678901234568)}, {"1.00000000000000000000000001", 2},
    {"1.00000000000000000000000000", 1}};

static void quantities_as_kubernetes_reads_them(void **state)
{
  static const char *const bad[] = {"", "-", ".", "m", "Ki", "1Kx", "1ki", "1K", "1mi", "1 G", "1G ", "1e", "1e+",
                                    "1ex", "1Gi1", "0x10", "1_000", "nan", "1i", "--1", "1,5"};
  (void)state;
  for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++) {
    int64_t v = -99;
    assert_int_equal(llmd__parse_quantity(quantities[i].text, strlen(quantities[i].text), &v), LLMD_OK);
    assert_true(v == quantities[i].value);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int64_t v = -99;
    assert_int_equal(llmd__parse_quantity(bad[i], strlen(bad[i]), &v), LLMD_E_SYNTAX);
    assert_true(v == -99);
  }
  int64_t v = -99;
  assert_int_equal(llmd__parse_quantity("1\0", 2, &v), LLMD_E_SYNTAX);
  assert_int_equal(llmd__parse_quantity("1\0i", 3, &v), LLMD_E_SYNTAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(durations_as_go_reads_them),
      cmocka_unit_test(durations_are_written_short),
      cmocka_unit_test(durations_round_trip),
      cmocka_unit_test(quantities_as_kubernetes_reads_them),
  };
  return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
