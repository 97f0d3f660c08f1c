/* math, and the exp and log that every machine computes alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "api.h"
#include "api_rig.h"

#define BITS 0x3608dcb9064da729u

static void rounding(void **state)
{
  (void)state;
  api_gives("math.floor(2.7), math.floor(-2.7), math.floor(5), math.floor(2.0)", "2 -3 5 2");
  api_gives("math.ceil(2.1), math.ceil(-2.1), math.ceil(5)", "3 -2 5");
  api_gives("math.floor(1e300) == 1e300, math.ceil(-inf), math.floor(nan)", "true -inf nan");
  api_gives("math.abs(-3), math.abs(-3.5), math.abs(math.mininteger) == math.mininteger", "3 3.5 true");
  api_gives("math.fmod(7, 3), math.fmod(-7, 3), math.fmod(7, -3), math.fmod(5.5, 2)", "1 -1 1 1.5");
  api_gives("math.fmod(math.mininteger, -1), math.fmod(1, 0.0), math.fmod(-6, 2.0)", "0 nan -0.0");
  api_gives("math.sqrt(9), math.sqrt(2) == 1.4142135623730951, math.sqrt(-1), math.sqrt(inf)", "3.0 true nan inf");
}

static void comparing(void **state)
{
  (void)state;
  api_gives("math.max(1, 3, 2), math.min(4, 2.5, 9), math.max(7)", "3 2.5 7");
  api_gives("math.max(2, 2.0), math.max(math.maxinteger, 9007199254740993.0)", "2 9223372036854775807");
  api_gives("math.type(1), math.type(1.0), math.type('1'), math.type()", "integer float nil nil");
  api_gives("math.tointeger(3.0), math.tointeger(3.5), math.tointeger('8'), math.tointeger(kinds)", "3 nil nil nil");
  api_gives("math.ult(1, -1), math.ult(-1, 1)", "true false");
  api_gives("math.huge, math.pi == 3.141592653589793, math.maxinteger, math.mininteger",
            "inf true 9223372036854775807 -9223372036854775808");
}

static void nothing_that_differs_between_machines(void **state)
{
  (void)state;
  api_gives("math.sin, math.exp, math.log, math.random, math.pow, math.randomseed", "nil nil nil nil nil nil");
}

static void wrong_arguments(void **state)
{
  (void)state;
  api_refuses("math.floor('3')", "math.floor: number expected for x, got string");
  api_refuses("math.ceil()", "math.ceil: number expected for x, got no value");
  api_refuses("math.abs(nil)", "math.abs: number expected for x, got nil");
  api_refuses("math.fmod(1, true)", "math.fmod: number expected for y, got boolean");
  api_refuses("math.fmod(1, 0)", "math.fmod: y is 0");
  api_refuses("math.sqrt(frozen)", "math.sqrt: number expected for x, got table");
  api_refuses("math.max()", "math.max: number expected for x, got no value");
  api_refuses("math.min(1, '2')", "math.min: number expected for an argument, got string");
  api_refuses("math.ult(1, 2.5)", "math.ult: integer expected for n, got number");
  api_refuses("llmd.exp('1')", "llmd.exp: number expected for x, got string");
  api_refuses("llmd.log()", "llmd.log: number expected for x, got no value");
}

/* How many doubles lie between a and b. */
static double ulps(double a, double b)
{
  int64_t x, y;
  memcpy(&x, &a, sizeof x);
  memcpy(&y, &b, sizeof y);
  return (double)(x > y ? x - y : y - x);
}

static void exp_is_near(void **state)
{
  double worst = 0;
  uint64_t seed = 7;
  (void)state;
  for (int i = 0; i < 200000; i++) {
    double x = (llmd_random_unit(&seed) * 2 - 1) * (i % 2 ? 700 : 3);
    double d = ulps(llmd__lua_exp(x), exp(x));
    worst = d > worst ? d : worst;
  }
  print_message("# exp: %g ulp off at most\n", worst);
  assert_true(worst <= 2);
}

static void exp_at_the_ends(void **state)
{
  (void)state;
  assert_true(llmd__lua_exp(0) == 1);
  assert_true(llmd__lua_exp(1) == 2.718281828459045);
  assert_true(llmd__lua_exp(709.8) == HUGE_VAL || llmd__lua_exp(709.8) > 1e308);
  assert_true(isinf(llmd__lua_exp(710)));
  assert_true(isinf(llmd__lua_exp((double)INFINITY)));
  assert_true(llmd__lua_exp(-(double)INFINITY) == 0);
  assert_true(llmd__lua_exp(-746) == 0);
  assert_true(isnan(llmd__lua_exp((double)NAN)));
  for (double x = -745; x < -708; x += 0.25) /* subnormal results are rounded twice */
    assert_true(fabs(llmd__lua_exp(x) - exp(x)) <= 0x1p-1073);
  for (double x = 709; x < 709.78; x += 0.01)
    assert_true(ulps(llmd__lua_exp(x), exp(x)) <= 2);
}

static void log_is_near(void **state)
{
  double worst = 0;
  uint64_t seed = 9;
  (void)state;
  for (int i = 0; i < 200000; i++) {
    double x = i % 2 ? llmd_random_unit(&seed) * 4 + 1e-9 : exp((llmd_random_unit(&seed) * 2 - 1) * 700);
    double a = llmd__lua_log(x), b = log(x), d = a == b ? 0 : ulps(a, b);
    worst = d > worst ? d : worst;
  }
  print_message("# log: %g ulp off at most\n", worst);
  assert_true(worst <= 2);
}

static void log_at_the_ends(void **state)
{
  (void)state;
  assert_true(llmd__lua_log(1) == 0);
  assert_true(llmd__lua_log(0) == -HUGE_VAL);
  assert_true(llmd__lua_log(-0.0) == -HUGE_VAL);
  assert_true(isnan(llmd__lua_log(-1)));
  assert_true(isnan(llmd__lua_log((double)NAN)));
  assert_true(isinf(llmd__lua_log((double)INFINITY)));
  assert_true(ulps(llmd__lua_log(0x1p-1074), log(0x1p-1074)) <= 2);
  assert_true(ulps(llmd__lua_log(0x1.fffffffffffffp1023), log(0x1.fffffffffffffp1023)) <= 2);
  assert_true(ulps(llmd__lua_log(1 + 0x1p-52), log(1 + 0x1p-52)) <= 2);
  assert_true(ulps(llmd__lua_log(1 - 0x1p-53), log(1 - 0x1p-53)) <= 2);
  api_gives("llmd.exp(0), llmd.log(1), llmd.log(0), llmd.exp(llmd.log(8)) - 8 < 1e-14", "1.0 0.0 -inf true");
}

/* The bits are promised: whoever changes the series changes what records replay to. */
static void bits_are_fixed(void **state)
{
  uint64_t sum = LLMD__LUA_HASH_BEGIN, seed = 3;
  (void)state;
  for (int i = 0; i < 10000; i++) {
    double x = (llmd_random_unit(&seed) * 2 - 1) * 600, y;
    y = llmd__lua_exp(x);
    sum = llmd__lua_hash_add(sum, (const char *)&y, sizeof y);
    y = llmd__lua_log(y);
    sum = llmd__lua_hash_add(sum, (const char *)&y, sizeof y);
  }
  assert_true(sum == BITS);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rounding),        cmocka_unit_test(comparing),
      cmocka_unit_test(nothing_that_differs_between_machines),
      cmocka_unit_test(wrong_arguments), cmocka_unit_test(exp_is_near),
      cmocka_unit_test(exp_at_the_ends), cmocka_unit_test(log_is_near),
      cmocka_unit_test(log_at_the_ends), cmocka_unit_test(bits_are_fixed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
