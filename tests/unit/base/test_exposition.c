#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "base/exposition.h"

static void start(llmd__exposition *x, const char *page)
{
  llmd__exposition_init(x, page, strlen(page), NULL, 0);
}

static void assert_text(llmd_str got, const char *expected)
{
  if (got.len != strlen(expected) || memcmp(got.ptr, expected, got.len) != 0)
    fail_msg("'%.*s' instead of '%s'", (int)got.len, got.ptr, expected);
}

static void yields_samples_and_passes_over_the_rest(void **state)
{
  llmd__exposition x;
  llmd__sample s;
  (void)state;
  start(&x, "# HELP a Some text {with=\"braces\"} 3\n"
            "# TYPE a gauge\n"
            "\n"
            "   \t\n"
            "a 1\n"
            "\tb:c_9{x=\"1\"} 2.5 1700000000123\n"
            "c {x=\"1\", y = \"2\" , } \t +Inf  -5  \n"
            "# EOF\n");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_text(s.name, "a");
  assert_int_equal(s.labels.len, 0);
  assert_true(s.value == 1);
  assert_int_equal(s.has_timestamp, 0);
  assert_ptr_equal(x.page + s.offset, strstr(x.page, "\na 1") + 1);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_text(s.name, "b:c_9");
  assert_text(s.labels, "x=\"1\"");
  assert_true(s.value == 2.5);
  assert_int_equal(s.has_timestamp, 1);
  assert_true(s.timestamp == 1700000000123);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_text(s.name, "c");
  assert_true(isinf(s.value) && s.value > 0);
  assert_true(s.timestamp == -5);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(x.samples, 3);
  assert_int_equal(x.refused, 0);
}

static double only_value(const char *value)
{
  char page[128];
  llmd__exposition x;
  llmd__sample s;
  snprintf(page, sizeof page, "m{a=\"b\"} %s\n", value);
  start(&x, page);
  if (llmd__exposition_next(&x, &s) != 1)
    fail_msg("'%s' was refused", value);
  return s.value;
}

static void knows_every_spelling_of_a_value(void **state)
{
  (void)state;
  assert_true(isnan(only_value("NaN")));
  assert_true(only_value("Inf") > 1e308);
  assert_true(only_value("+Inf") > 1e308);
  assert_true(only_value("-Inf") < -1e308);
  assert_true(only_value("4.962185216e+09") == 4962185216.0);
  assert_true(only_value("-0.25") == -0.25);
  assert_true(only_value("17 # {trace_id=\"x\"} 0.67 1.5") == 17); /* an OpenMetrics exemplar */
  assert_true(only_value("3 # x") == 3);
  assert_true(only_value("3\r") == 3);
}

static void a_timestamp_with_a_point_is_in_seconds(void **state)
{
  llmd__exposition x;
  llmd__sample s;
  (void)state;
  start(&x, "a 1 1520879607.5\nb 1 1e13\n");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_true(s.timestamp == 1520879607500);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(x.refused, 1);
}

static void malformed_lines_are_counted_and_the_page_goes_on(void **state)
{
  static const char *bad[] = {"a",       "a ",         "9a 1",          "a{ 1",        "a{b} 1",        "a{b=} 1",
                              "a{b=c} 1", "a{b=\"c} 1", "a{b=\"c\" 1",   "a{=\"c\"} 1", "a{b=\"\\t\"} 1", "a{b=\"c\"}",
                              "a 1 x",   "a 1 2 3",    "a 0x10",        "a nan",       "a inf",         "a 1e999",
                              "a-1",     "{b=\"c\"} 1", "a{b=\"c\"}} 1", "a{,} 1",      "a{b=\"c\",,} 1", "a 1,5",
                              "a{b=\"c\"d=\"e\"} 1", "a 1 99999999999999999999", "\"a\" 1", "a{1b=\"c\"} 1"};
  char page[256];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    llmd__exposition x;
    llmd__sample s;
    snprintf(page, sizeof page, "# x\n%s\ngood 7\n", bad[i]);
    start(&x, page);
    if (llmd__exposition_next(&x, &s) != 1 || s.value != 7 || x.refused != 1 || x.first_refused != 4)
      fail_msg("'%s' was read", bad[i]);
    assert_int_equal(llmd__exposition_next(&x, &s), 0);
  }
}

static void an_unfinished_line_is_not_believed(void **state)
{
  llmd__exposition x;
  llmd__sample s;
  (void)state;
  start(&x, "a 1\nwaiting 1");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(x.refused, 1);
  assert_int_equal(x.first_refused, 4);
  start(&x, "a 1\n# EOF");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(x.refused, 0);
  llmd__exposition_init(&x, NULL, 0, NULL, 0);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
}

static void only_wanted_names_are_looked_at(void **state)
{
  static const llmd_str only[] = {{"up", 2}, {"vllm:x", 6}};
  static const char page[] = "vllm:x_total 1\nvllm:x{a=\"1\"} 2\nup_ 3\nup\t4\nnonsense {{{ 5\nvllm:x bad\nup 6\nup";
  llmd__exposition x;
  llmd__sample s;
  (void)state;
  llmd__exposition_init(&x, page, sizeof page - 1, only, 2);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_true(s.value == 2);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_true(s.value == 4);
  assert_text(s.name, "up");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_true(s.value == 6);
  assert_int_equal(llmd__exposition_next(&x, &s), 0);
  assert_int_equal(x.refused, 1); /* vllm:x bad */
  assert_int_equal(x.first_refused, strstr(page, "vllm:x bad") - page);
}

/* A line of `labels` labels, each name and value padded so that the line gets about `len` bytes. */
static size_t wide_line(char *out, int labels, size_t value_len)
{
  char *p = out;
  p += sprintf(p, "wide{");
  for (int i = 0; i < labels; i++) {
    p += sprintf(p, "l%d=\"", i);
    memset(p, 'v', value_len);
    p += value_len;
    p += sprintf(p, "\",");
  }
  p += sprintf(p, "} 1\nnext 2\n");
  return (size_t)(p - out);
}

static void assert_wide(int labels, size_t value_len, int readable)
{
  static char page[40000];
  llmd__exposition x;
  llmd__sample s;
  llmd__exposition_init(&x, page, wide_line(page, labels, value_len), NULL, 0);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  assert_text(s.name, readable ? "wide" : "next");
  assert_int_equal(x.refused, !readable);
}

static void lines_and_labels_are_bounded(void **state)
{
  (void)state;
  assert_wide(64, 4, 1);
  assert_wide(65, 4, 0);
  /* "wide{" "l0=\"" value "\"," "} 1" are 5 + 4 + n + 2 + 3 bytes */
  assert_wide(1, LLMD__EXPOSITION_LINE_MAX - 14, 1);
  assert_wide(1, LLMD__EXPOSITION_LINE_MAX - 13, 0);
}

static void labels_come_one_by_one_and_unescaped(void **state)
{
  llmd__exposition x;
  llmd__sample s;
  llmd__label l;
  llmd_str rest, value;
  char buf[16];
  (void)state;
  start(&x, "m{a=\"\",b=\"x\\\\y\\\"z\\n\" , c=\"},= \\\\\"} 1\n");
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  rest = s.labels;
  assert_int_equal(llmd__label_next(&rest, &l), 1);
  assert_text(l.name, "a");
  assert_int_equal(l.raw.len, 0);
  assert_int_equal(llmd__label_next(&rest, &l), 1);
  assert_text(l.name, "b");
  assert_int_equal(l.escaped, 1);
  assert_int_equal(llmd__label_value(&l, buf, sizeof buf, &value), 0);
  assert_text(value, "x\\y\"z\n");
  assert_int_equal(llmd__label_value(&l, buf, 6, &value), 0);
  assert_int_equal(llmd__label_value(&l, buf, 5, &value), LLMD_E_LIMIT);
  assert_int_equal(llmd__label_next(&rest, &l), 1);
  assert_int_equal(llmd__label_value(&l, buf, sizeof buf, &value), 0);
  assert_text(value, "},= \\");
  assert_int_equal(llmd__label_next(&rest, &l), 0);
  assert_int_equal(llmd__label_find(s.labels, "c", 1, &l), 1);
  assert_int_equal(llmd__label_find(s.labels, "d", 1, &l), 0);
}

static void values_compare_by_meaning(void **state)
{
  const llmd__label newline = {{"a", 1}, {"x\\n", 3}, 1}, plain = {{"b", 1}, {"x\n", 2}, 0};
  const llmd__label other = {{"c", 1}, {"x\\\\n", 4}, 1}, shorter = {{"d", 1}, {"x", 1}, 0};
  (void)state;
  assert_true(llmd__label_same(&newline, &plain));
  assert_true(llmd__label_same(&plain, &newline));
  assert_true(llmd__label_same(&other, &other));
  assert_false(llmd__label_same(&newline, &other));
  assert_false(llmd__label_same(&newline, &shorter));
  assert_false(llmd__label_same(&shorter, &plain));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(yields_samples_and_passes_over_the_rest),
                                     cmocka_unit_test(knows_every_spelling_of_a_value),
                                     cmocka_unit_test(a_timestamp_with_a_point_is_in_seconds),
                                     cmocka_unit_test(malformed_lines_are_counted_and_the_page_goes_on),
                                     cmocka_unit_test(an_unfinished_line_is_not_believed),
                                     cmocka_unit_test(only_wanted_names_are_looked_at),
                                     cmocka_unit_test(lines_and_labels_are_bounded),
                                     cmocka_unit_test(labels_come_one_by_one_and_unescaped),
                                     cmocka_unit_test(values_compare_by_meaning)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
