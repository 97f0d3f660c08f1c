#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "model/engine.h"

static int is_text(llmd_str got, const char *expected)
{
  return got.len == strlen(expected) && memcmp(got.ptr, expected, got.len) == 0;
}

/* expected: name, then label, value, ... */
static void assert_spec(const char *text, uint32_t n_labels, const char *const *expected)
{
  llmd__metric_spec spec;
  if (llmd__metric_spec_parse(text, strlen(text), &spec) != 0 || spec.n_labels != n_labels ||
      !is_text(spec.name, expected[0]))
    fail_msg("'%s'", text);
  for (uint32_t i = 0; i < n_labels; i++)
    if (!is_text(spec.labels[i].name, expected[1 + 2 * i]) || !is_text(spec.labels[i].raw, expected[2 + 2 * i]))
      fail_msg("label %u of '%s'", i, text);
}

static void reads_specifications(void **state)
{
  static const char *const plain[] = {"queue:depth"}, *const one[] = {"queue:depth", "kind", "hot"};
  static const char *const two[] = {"q", "kind", "a=b/c", "zone", "eu"}, *const quoted[] = {"q", "kind", "a, }b"};
  static const char *const empty[] = {"q", "kind", ""};
  (void)state;
  assert_spec("queue:depth", 0, plain);
  assert_spec("\t queue:depth \n", 0, plain);
  assert_spec("queue:depth{}", 0, plain);
  assert_spec("queue:depth{kind=hot}", 1, one);
  assert_spec("queue:depth{kind=\"hot\"}", 1, one);
  assert_spec("queue:depth{kind=hot,}", 1, one);
  assert_spec(" queue:depth { kind = hot } ", 1, one);
  assert_spec("queue:depth{kind=cold,kind=hot}", 1, one);
  assert_spec("queue:depth{__meta=x,kind=hot}", 1, one);
  assert_spec("q{kind=a=b/c , zone = \"eu\"}", 2, two);
  assert_spec("q{kind=\"a, }b\"}", 1, quoted);
  assert_spec("q{kind=\"\"}", 1, empty);
}

static void an_empty_text_is_a_specification_not_set(void **state)
{
  llmd__metric_spec spec;
  const llmd__sample sample = {.name = {"", 0}};
  (void)state;
  assert_int_equal(llmd__metric_spec_parse("", 0, &spec), 0);
  assert_int_equal(spec.name.len, 0);
  assert_false(llmd__metric_spec_match(&spec, &sample));
}

static void refuses_bad_specifications(void **state)
{
  static const char *bad[] = {" ",       "{a=b}", "q{a=b",    "qa=b}",         "q{a}",        "q{a=}",
                              "q{=b}",   "q{ = }", "q{a=b}x", "q x",           "9q",          "q{a=b c=d}",
                              "q{a=\"b}", "q{,}",  "q{a=b,,}", "q{a=\\}",      "q{a=\"\\t\"}", "q{a=b}{c=d}",
                              "q{a",     "q{",    "sum(q)",   "q{a=b\"c\"}"};
  llmd__metric_spec spec = {.n_labels = 77};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (llmd__metric_spec_parse(bad[i], strlen(bad[i]), &spec) != LLMD_E_SYNTAX)
      fail_msg("'%s' was read", bad[i]);
  assert_int_equal(llmd__metric_spec_parse("q{a=~\"b\"}", 9, &spec), LLMD_E_UNSUPPORTED);
  assert_int_equal(llmd__metric_spec_parse("q{a!=\"b\"}", 9, &spec), LLMD_E_UNSUPPORTED);
  assert_int_equal(llmd__metric_spec_parse("q{a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1}", 38, &spec), LLMD_E_LIMIT);
  assert_int_equal(spec.n_labels, 77);
}

static int matches(const char *text, const char *line)
{
  llmd__metric_spec spec;
  llmd__exposition x;
  llmd__sample s;
  assert_int_equal(llmd__metric_spec_parse(text, strlen(text), &spec), 0);
  llmd__exposition_init(&x, line, strlen(line), NULL, 0);
  assert_int_equal(llmd__exposition_next(&x, &s), 1);
  return llmd__metric_spec_match(&spec, &s);
}

static void a_series_needs_the_name_and_every_label(void **state)
{
  const char *line = "q{kind=\"hot\",zone=\"e\\\"u\",none=\"\"} 1\n";
  (void)state;
  assert_true(matches("q", line));
  assert_true(matches("q{kind=hot}", line));
  assert_true(matches("q{zone=\"e\\\"u\",kind=hot}", line));
  assert_true(matches("q{none=\"\"}", line));
  assert_false(matches("qq", line));
  assert_false(matches("q{kind=cold}", line));
  assert_false(matches("q{kind=hot,zone=us}", line));
  assert_false(matches("q{absent=\"\"}", line));
  assert_false(matches("q{kind=hot}", "q 1\n"));
}

static void known_engines_are_found_by_name(void **state)
{
  const llmd__engine_spec *e = llmd__engine_find("triton-tensorrt-llm", 19);
  uint32_t n = 0;
  (void)state;
  assert_non_null(e);
  assert_true(is_text(e->running.labels[0].raw, "scheduled"));
  assert_true(is_text(llmd__engine_find("vllm", 4)->kv_usage.name, "vllm:kv_cache_usage_perc"));
  assert_true(is_text(llmd__engine_find("sglang", 6)->num_blocks_label, "num_pages"));
  assert_null(llmd__engine_find("vll", 3));
  assert_null(llmd__engine_find("", 0));
  while (llmd__engine_at(n))
    n++;
  assert_int_equal(n, 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_specifications),       cmocka_unit_test(an_empty_text_is_a_specification_not_set),
      cmocka_unit_test(refuses_bad_specifications), cmocka_unit_test(a_series_needs_the_name_and_every_label),
      cmocka_unit_test(known_engines_are_found_by_name)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
