#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "base/number.h"

static uint64_t bits_of(double v)
{
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static double of_bits(uint64_t bits)
{
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

static uint64_t next_random(uint64_t *s)
{
  *s ^= *s << 13;
  *s ^= *s >> 7;
  *s ^= *s << 17;
  return *s;
}

static void assert_reads(const char *text, uint64_t bits)
{
  double v = -1;
  assert_int_equal(llmd__parse_double(text, strlen(text), &v), 0);
  if (bits_of(v) != bits)
    fail_msg("%s read as %a, not %a", text, v, of_bits(bits));
}

static void reads_plain_numbers(void **state)
{
  static const struct {
    const char *text;
    double v;
  } cases[] = {{"0", 0},          {"7.0", 7},     {"+3", 3},       {".5", 0.5},   {"5.", 5},
               {"1e3", 1000},     {"1E+3", 1000}, {"25e-1", 2.5},  {"-1.5", -1.5}, {"000.10", 0.1},
               {"0e999999", 0},   {"1e22", 1e22}, {"1e37", 1e37},  {"1.0e23", 1e23}, {"123e34", 123e34},
               {"0.2947368421052632", 0.2947368421052632}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_reads(cases[i].text, bits_of(cases[i].v));
  assert_reads("-0", (uint64_t)1 << 63);
  assert_reads("-0.0e5", (uint64_t)1 << 63);
}

/* Expected bits were computed with exact rational arithmetic. */
static void rounds_correctly(void **state)
{
  (void)state;
  assert_reads("9007199254740993", 0x4340000000000000);                     /* a tie goes to even */
  assert_reads("9007199254740993.00000000000000000001", 0x4340000000000001); /* anything above it does not */
  assert_reads("9007199254740995", 0x4340000000000002);
  assert_reads("0.30000000000000004", 0x3fd3333333333334);
  assert_reads("5.141e+51", 0x4aab7b3ad9ed0ee7);
  assert_reads("123456789012345678901234567890", 0x45f8ee90ff6c373e);
  assert_reads("2.2250738585072011e-308", 0x000fffffffffffff);
  assert_reads("2.2250738585072014e-308", 0x0010000000000000);
  assert_reads("4.9406564584124654e-324", 1);
  assert_reads("2.4703282292062327e-324", 0);
  assert_reads("2.4703282292062328e-324", 1);
  assert_reads("1e-400", 0);
  assert_reads("1.7976931348623157e308", 0x7fefffffffffffff);
  assert_reads("1.7976931348623158079e308", 0x7fefffffffffffff);
}

/* 1 + 2^-53, the tie between 1 and its neighbour, with n zeros and then `last` behind it. */
static void long_tie(char *out, size_t zeros, char last)
{
  strcpy(out, "1.00000000000000011102230246251565404236316680908203125");
  out += strlen(out);
  memset(out, '0', zeros);
  out[zeros] = last;
  out[zeros + 1] = 0;
}

static void digits_beyond_all_tables_still_count(void **state)
{
  static char text[5000];
  (void)state;
  long_tie(text, 10, '0');
  assert_reads(text, 0x3ff0000000000000);
  long_tie(text, 4000, '0');
  assert_reads(text, 0x3ff0000000000000);
  long_tie(text, 4000, '1');
  assert_reads(text, 0x3ff0000000000001);
  strcat(text, "e-2");
  assert_reads(text, 0x3f847ae147ae147c);
}

static void assert_refused(const char *text, int code)
{
  double v = 42;
  assert_int_equal(llmd__parse_double(text, strlen(text), &v), code);
  assert_true(v == 42);
}

static void refuses_what_is_no_number(void **state)
{
  static const char *bad[] = {"",    ".",   "+",   "-",   "e5",  "1e",   "1e+",  "1 ",  " 1",       "1.2.3", "0x10",
                              "nan", "inf", "1_0", "1,5", "--1", "1e5.", "1e5e", "+-1", "Infinity", "1d5",   ".e1"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_refused(bad[i], LLMD_E_SYNTAX);
  assert_refused("1e309", LLMD_E_RANGE);
  assert_refused("-1.7976931348623159e308", LLMD_E_RANGE);
  assert_refused("1e99999999999999999999", LLMD_E_RANGE);
  assert_int_equal(llmd__parse_double(NULL, 0, &(double){0}), LLMD_E_SYNTAX);
}

static void reads_only_the_bytes_given(void **state)
{
  double v;
  (void)state;
  assert_int_equal(llmd__parse_double("1234", 2, &v), 0);
  assert_true(v == 12);
}

static void integers_are_exact(void **state)
{
  int64_t i = 1;
  uint64_t u = 1;
  (void)state;
  assert_int_equal(llmd__parse_u64("18446744073709551615", 20, &u), 0);
  assert_true(u == UINT64_MAX);
  assert_int_equal(llmd__parse_u64("18446744073709551616", 20, &u), LLMD_E_RANGE);
  assert_int_equal(llmd__parse_u64("-1", 2, &u), LLMD_E_SYNTAX);
  assert_int_equal(llmd__parse_u64("", 0, &u), LLMD_E_SYNTAX);
  assert_int_equal(llmd__parse_u64("99999999999999999999x", 21, &u), LLMD_E_SYNTAX);
  assert_true(u == UINT64_MAX);
  assert_int_equal(llmd__parse_i64("-9223372036854775808", 20, &i), 0);
  assert_true(i == INT64_MIN);
  assert_int_equal(llmd__parse_i64("9223372036854775807", 19, &i), 0);
  assert_true(i == INT64_MAX);
  assert_int_equal(llmd__parse_i64("9223372036854775808", 19, &i), LLMD_E_RANGE);
  assert_int_equal(llmd__parse_i64("-9223372036854775809", 20, &i), LLMD_E_RANGE);
  assert_int_equal(llmd__parse_i64("-", 1, &i), LLMD_E_SYNTAX);
  assert_int_equal(llmd__parse_i64("1.0", 3, &i), LLMD_E_SYNTAX);
  assert_true(i == INT64_MAX);
}

static void writes_the_shortest_text(void **state)
{
  static const struct {
    double v;
    const char *text;
  } cases[] = {{0, "0"},
               {3, "3"},
               {-3, "-3"},
               {0.5, "0.5"},
               {0.1, "0.1"},
               {0.1 + 0.2, "0.30000000000000004"},
               {1e21, "1e+21"},
               {123456789012345680000.0, "123456789012345680000"},
               {9007199254740991.0, "9007199254740991"},
               {1e-6, "0.000001"},
               {1e-7, "1e-7"},
               {1.25e-9, "1.25e-9"},
               {1795264432.34, "1795264432.34"},
               {5e-324, "5e-324"},
               {2.2250738585072014e-308, "2.2250738585072014e-308"},
               {1.7976931348623157e308, "1.7976931348623157e+308"},
               {9.5367431640625e-07, "9.5367431640625e-7"}};
  char out[LLMD__NUMBER_ROOM];
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(llmd__format_double(cases[i].v, out), strlen(cases[i].text));
    assert_string_equal(out, cases[i].text);
  }
  llmd__format_double(of_bits((uint64_t)1 << 63), out);
  assert_string_equal(out, "-0");
  llmd__format_double(of_bits((uint64_t)0x7ff << 52), out);
  assert_string_equal(out, "+Inf");
  llmd__format_double(of_bits((uint64_t)0xfff << 52), out);
  assert_string_equal(out, "-Inf");
  llmd__format_double(of_bits(((uint64_t)0x7ff << 52) + 1), out);
  assert_string_equal(out, "NaN");
}

static void assert_round_trip(uint64_t bits)
{
  char out[LLMD__NUMBER_ROOM];
  double back = 0;
  const size_t n = llmd__format_double(of_bits(bits), out);
  assert_int_equal(n, strlen(out));
  assert_true(n <= 25);
  assert_int_equal(llmd__parse_double(out, n, &back), 0);
  if (bits_of(back) != bits)
    fail_msg("%a was written as %s", of_bits(bits), out);
}

static void every_double_comes_back(void **state)
{
  uint64_t seed = 88172645463325252u;
  (void)state;
  for (int i = 0; i < 40000; i++) {
    const uint64_t bits = next_random(&seed);
    if ((bits >> 52 & 0x7ff) != 0x7ff)
      assert_round_trip(bits);
    assert_round_trip(bits >> 12 >> (i % 52)); /* subnormals and zero */
  }
  for (uint64_t e = 0; e < 0x7ff; e++) { /* powers of two and their neighbours: uneven gaps */
    assert_round_trip(e << 52);
    assert_round_trip((e << 52) + 1);
    assert_round_trip((e << 52) + (((uint64_t)1 << 52) - 1));
  }
}

/* The C library reads the same, in the C locale that a test program starts in. */
static void agrees_with_the_c_library(void **state)
{
  uint64_t seed = 1442695040888963407u;
  char text[1024];
  (void)state;
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = next_random(&seed);
    if ((bits >> 52 & 0x7ff) == 0x7ff)
      continue;
    snprintf(text, sizeof text, "%.*e", (int)(next_random(&seed) % (i % 16 ? 24 : 800)), of_bits(bits));
    if (strtod(text, NULL) - strtod(text, NULL) == 0)
      assert_reads(text, bits_of(strtod(text, NULL)));
    else
      assert_refused(text, LLMD_E_RANGE);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_plain_numbers),        cmocka_unit_test(rounds_correctly),
      cmocka_unit_test(digits_beyond_all_tables_still_count),
      cmocka_unit_test(refuses_what_is_no_number),  cmocka_unit_test(reads_only_the_bytes_given),
      cmocka_unit_test(integers_are_exact),         cmocka_unit_test(writes_the_shortest_text),
      cmocka_unit_test(every_double_comes_back),    cmocka_unit_test(agrees_with_the_c_library)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
