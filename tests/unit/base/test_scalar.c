#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/scalar.h"
#include "base/tree.h"

#include <math.h>
#include <string.h>

static llmd__scalar scalar_of(const char *text)
{
  llmd__scalar s;
  llmd__scalar_read(text, strlen(text), &s);
  return s;
}

static void kinds(void **state)
{
  static const struct {
    const char *words[24];
    uint8_t kind;
  } rows[] = {
      {{"", "~", "null", "Null", "NULL"}, LLMD__NULL},
      {{"true", "True", "TRUE", "false", "False", "FALSE"}, LLMD__BOOL},
      {{"0", "-0", "7", "+7", "-7", "123456", "0x1F", "0xff", "0o17", "9223372036854775807", "-9223372036854775808"},
       LLMD__INT},
      {{"0.5", "-.5", "5.", "+1.5e3", "1e3", "1E-3", "00.5", "9223372036854775808", ".inf", "-.Inf", "+.INF", ".nan",
        ".NaN", ".NAN", "1e999"}, LLMD__FLOAT},
      {{"nULL", "tRUE", "yes", "no", "on", "off", "y", "010", "-010", "00", "0b1", "1_000", "0x", "0xg", "0o8",
        "-0x1", "1e", "1e+", ".", "-", "+", "e5", "1.2.3", "inf"}, LLMD__STR},
      {{"nan", "NaN", "+.nan", "--1", "1 ", " 1", "1:30", "0x8000000000000000", "60s", "1G", "..5", "true ", "~~"},
       LLMD__STR},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t j = 0; j < 24 && rows[i].words[j]; j++)
      assert_int_equal(scalar_of(rows[i].words[j]).kind, rows[i].kind);
}

static void values(void **state)
{
  (void)state;
  assert_int_equal(scalar_of("true").integer, 1);
  assert_int_equal(scalar_of("TRUE").integer, 1);
  assert_int_equal(scalar_of("False").integer, 0);
  assert_int_equal(scalar_of("+7").integer, 7);
  assert_true(scalar_of("+7").real == 7);
  assert_int_equal(scalar_of("-7").integer, -7);
  assert_int_equal(scalar_of("0x1F").integer, 31);
  assert_true(scalar_of("0x1F").real == 31);
  assert_int_equal(scalar_of("0o17").integer, 15);
  assert_true(scalar_of("0x7fffffffffffffff").integer == INT64_MAX);
  assert_true(scalar_of("9223372036854775807").integer == INT64_MAX);
  assert_true(scalar_of("-9223372036854775808").integer == INT64_MIN);
  assert_true(scalar_of("9007199254740993").integer == INT64_C(9007199254740993)); /* exact beyond 2^53 */
  assert_true(scalar_of("0.1").real == 0.1);
  assert_true(scalar_of("-.5").real == -0.5);
  assert_true(scalar_of("+1.5e3").real == 1500);
  assert_true(scalar_of("-.INF").real == -INFINITY);
  assert_true(scalar_of("+.inf").real == INFINITY);
  assert_true(isnan(scalar_of(".nan").real));
  assert_true(scalar_of("-1e999").real == -INFINITY);
}

static void integers_beyond_int64_are_marked(void **state)
{
  char long_number[401];
  (void)state;
  assert_int_equal(scalar_of("9223372036854775808").flags, LLMD__NODE_BIG);
  assert_true(scalar_of("9223372036854775808").real == 9223372036854775808.0);
  assert_true(scalar_of("+18446744073709551616").real == 18446744073709551616.0);
  assert_int_equal(scalar_of("-9223372036854775809").flags, LLMD__NODE_BIG);
  assert_int_equal(scalar_of("1e20").flags, 0);
  memset(long_number, '9', 400);
  long_number[400] = 0;
  assert_int_equal(scalar_of(long_number).flags, LLMD__NODE_BIG);
  assert_true(scalar_of(long_number).real == INFINITY);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kinds),
      cmocka_unit_test(values),
      cmocka_unit_test(integers_beyond_int64_are_marked),
  };
  return cmocka_run_group_tests_name("scalar", tests, NULL, NULL);
}
