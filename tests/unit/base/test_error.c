#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"

static void every_code_has_text(void **state)
{
  (void)state;
#define ROW(name, value, text)                                \
  assert_string_equal(llmd_errname(value), "LLMD_E_" #name);  \
  assert_string_equal(llmd_strerror(value), text);
  LLMD_ERROR_MAP(ROW)
#undef ROW
  assert_string_equal(llmd_strerror(-999), "unknown error");
}

static void fail_fills_and_returns(void **state)
{
  llmd_err e = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd__fail(&e, LLMD_E_TYPE, 3, 7, "a.b", "bad\n%s", "x"), LLMD_E_TYPE);
  assert_int_equal(e.line, 3);
  assert_string_equal(e.text, "bad?x");
  assert_int_equal(llmd__fail(NULL, LLMD_E_NOMEM, 0, 0, NULL, "x"), LLMD_E_NOMEM);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_code_has_text), cmocka_unit_test(fail_fills_and_returns)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
