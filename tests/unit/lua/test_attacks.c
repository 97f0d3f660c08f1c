/* Ways out of the sandbox that were found by trying: what lasts from one decision to the next, what hangs on addresses
 * or on garbage, what works for long without looking at the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hostile.h"

#define SCORE(body) "return { reads = {\"waiting\"}, score = function(req, cols, out, p) " body " end }"

static uint64_t ticks;

/* A clock that passes a millisecond whenever it is looked at. */
static uint64_t clock_of_looks(void *ctx)
{
  (void)ctx;
  return ticks += 1000000;
}

static void open_text(victim *v, const char *text)
{
  assert_int_equal(victim_load(v, text, strlen(text), 0), 0);
  assert_int_equal(victim_open(v), 0);
}

static void close_it(victim *v)
{
  victim_free(v);
  assert_int_equal(v->tally.blocks, 0);
}

/* The first score of each decision, which is to be the same. */
static void scores_stay(const char *text, uint32_t n, double expected)
{
  victim v = {0};
  double out[VICTIM_ROWS];
  open_text(&v, text);
  v.batch.n = n;
  for (int i = 0; i < 6; i++) {
    if (victim_score(&v, i % 2, out) != 0 && i % 2 == 0)
      fail_msg("%s", ((llmd__lua_own *)v.own)->lua.trouble);
    if (i % 2 == 0 && out[0] != expected)
      fail_msg("decision %d gave %g: %s", i, out[0], text);
  }
  close_it(&v);
}

/* ---- what lasts ------------------------------------------------------------------------------------------------- */

/* The table behind the methods of strings is no global any more. */
static void methods_of_strings_keep_nothing(void **state)
{
  victim v = {0};
  double out[VICTIM_ROWS];
  (void)state;
  open_text(&v, "local t = {n = 0} function string.bump() t.n = t.n + 1 return t.n end string = {} "
                SCORE("out[1] = (\"\"):bump()"));
  assert_int_equal(victim_score(&v, 0, out), LLMD_E_PLUGIN);
  assert_non_null(strstr(((llmd__lua_own *)v.own)->lua.trouble, "read-only"));
  close_it(&v);
  v = (victim){0};
  open_text(&v, "local n = 0 function string.bump() n = n + 1 return n end string = nil "
                SCORE("out[1] = (\"\"):bump()"));
  assert_int_equal(victim_score(&v, 0, out), LLMD_E_PLUGIN);
  assert_int_equal(victim_score(&v, 0, out), LLMD_E_PLUGIN);
  close_it(&v);
  scores_stay("function string.twice(s) return #s * 2 end string = nil "
              SCORE("out[1] = (\"ab\"):upper():twice()"), 8, 4);
}

/* Lua may note in a table what `#` found, and start there next time. */
static void lengths_are_not_remembered(void **state)
{
  (void)state;
  scores_stay(SCORE("local w = cols.waiting if req.priority == 0 then w[4] = nil out[1] = #w else local x = #w end"), 5,
              3);
  scores_stay(SCORE("if req.priority == 0 then out[4] = nil out[1] = #out else local x = #out end"), 5, 3);
}

/* A list of the policy's own is read-only, and a result as good as any. */
static void lists_of_the_policy_are_results(void **state)
{
  victim v = {0};
  uint8_t keep[VICTIM_ROWS];
  uint32_t order[VICTIM_ROWS], picked[VICTIM_ROWS];
  double total[VICTIM_ROWS] = {0};
  (void)state;
  open_text(&v, "local first = {3, 1} "
                "return { filter = function(eps) return first end, pick = function(eps) return first end }");
  memset(keep, 1, sizeof keep);
  assert_int_equal(v.plugin->filter(v.self, &v.batch, keep, order), 2);
  assert_int_equal(order[0], 2);
  assert_int_equal(order[1], 0);
  assert_int_equal(v.plugin->pick(v.self, &v.batch, total, picked, VICTIM_ROWS), 2);
  assert_int_equal(picked[0], 2);
  close_it(&v);
}

/* ---- what hangs on addresses and garbage ------------------------------------------------------------------------ */

static void order_of_tables_is_not_told(void **state)
{
  static const char *const keys[] = {"{[{}] = 1}", "{[function() end] = 1}"};
  char text[2][LLMD__LUA_TROUBLE + 1];
  (void)state;
  for (int i = 0; i < 2; i++) {
    victim v = {0};
    double out[VICTIM_ROWS];
    char script[256];
    snprintf(script, sizeof script, SCORE("pairs(%s)"), keys[i]);
    open_text(&v, script);
    assert_int_equal(victim_score(&v, 0, out), LLMD_E_PLUGIN);
    memcpy(text[i], ((llmd__lua_own *)v.own)->lua.trouble, sizeof text[i]);
    close_it(&v);
  }
  assert_string_equal(text[0], text[1]);
}

/* No room on the stack is no memory, which ends the call. */
static void refused_stack_cannot_be_caught(void **state)
{
  static const char text[] = "local s = (function() local x = \"x\" for i = 1, 12 do x = x .. x end return x end)() "
                             SCORE("string.byte(s, 1, 1) pcall(string.byte, s, 1, req.priority * 4000) out[1] = 1");
  victim v = {0};
  double out[VICTIM_ROWS];
  llmd__lua *lua;
  (void)state;
  open_text(&v, text);
  assert_int_equal(victim_score(&v, 0, out), 0);
  lua = &((llmd__lua_own *)v.own)->lua;
  lua->fail_at = lua->fail_on = 1;
  assert_int_equal(victim_score(&v, 1, out), LLMD_E_NOMEM);
  lua->fail_at = lua->fail_on = 0;
  assert_int_equal(victim_score(&v, 1, out), 0);
  close_it(&v);
}

/* ---- what takes long -------------------------------------------------------------------------------------------- */

static void work_looks_at_the_clock(void **state)
{
  static const char *const texts[] = {
    SCORE("llmd.each({}, type, 50000)"),
    SCORE("llmd.sum({}, 50000)"),
    SCORE("llmd.softmax({1}, 1, {}, 50000)"),
    SCORE("local t = {} for i = 1, 150 do t[i] = 1 / (i + 2) end table.concat(t)"),
    SCORE("for i = 1, 40 do llmd.hash(\"abcdefgh\") llmd.max({}, 200) end"),
    "local T = {} for i = 1, 4000 do T[\"k\" .. i] = i end " SCORE("pairs(T)"),
    "local T = {} for i = 1, 5000 do T[i] = -i end " SCORE("table.move(T, 1, 5000, 1, {})"),
  };
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    victim v = {0};
    double out[VICTIM_ROWS];
    int rc;
    v.host.clock = clock_of_looks;
    assert_int_equal(victim_load(&v, texts[i], strlen(texts[i]), 1 << 20), 0);
    v.self->instructions = INT64_MAX / 4;
    assert_int_equal(victim_open(&v), 0);
    rc = victim_score(&v, 1, out);
    if (rc != LLMD_E_TIMEOUT)
      fail_msg("%d: %s", rc, texts[i]);
    close_it(&v);
  }
}

static uint64_t looks_of(const char *text)
{
  victim v = {0};
  double out[VICTIM_ROWS];
  uint64_t before;
  v.host.clock = clock_of_looks;
  open_text(&v, text);
  v.self->time = INT64_MAX / 4;
  before = ticks;
  assert_int_equal(victim_score(&v, 1, out), 0);
  before = (ticks - before) / 1000000;
  close_it(&v);
  return before;
}

/* Comparing two strings full of NUL takes long, and is one instruction: with long strings about, there are looks every
 * few of them, wherever the strings come from. */
static void long_strings_are_watched(void **state)
{
  static const char few[] = "local a, b = \"\", \"\" for i = 1, 400 do local c = a < b end";
  static const char made[] = "local a = \"\\0\" for i = 1, 13 do a = a .. a end "
                             "for i = 1, 400 do local c = a < a end";
  static const char kept[] = "local a = \"\\0\" for i = 1, 13 do a = a .. a end local b = a .. \"x\" "
                             "return { score = function(req, out) for i = 1, 400 do local c = a < b end end }";
  char text[512];
  uint64_t short_ones;
  (void)state;
  snprintf(text, sizeof text, "return { score = function(req, out) %s end }", few);
  short_ones = looks_of(text);
  snprintf(text, sizeof text, "return { score = function(req, out) %s end }", made);
  assert_true(looks_of(text) > 8 * short_ones);
  assert_true(looks_of(kept) > 8 * short_ones);
}

static uint64_t clock_of_short_looks(void *ctx)
{
  (void)ctx;
  return ticks += 2000;
}

/* A state that ran out of memory is made anew in the next decision, whose time that is. */
static void loading_anew_has_no_more_time(void **state)
{
  static const char bomb[] = "if req.priority == 1 then local s = \"x\" while true do s = s .. s end end out[1] = 7";
  static const char *const loads[] = {"", "local x = 0 for i = 1, 1200000 do x = x + 1 end "};
  (void)state;
  for (int slow = 0; slow < 2; slow++) {
    victim v = {0};
    double out[VICTIM_ROWS];
    char text[512];
    uint64_t before;
    snprintf(text, sizeof text, "%sreturn { score = function(req, out) %s end }", loads[slow], bomb);
    v.host.clock = clock_of_short_looks;
    open_text(&v, text);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(victim_score(&v, 1, out), i == 0 || !slow ? LLMD_E_NOMEM
                                                 : i == 1        ? LLMD_E_TIMEOUT
                                                                 : LLMD_E_BYPASSED);
      before = ticks;
      assert_int_equal(victim_score(&v, 0, out), !slow ? 0 : i == 0 ? LLMD_E_TIMEOUT : LLMD_E_BYPASSED);
      assert_true(ticks - before < 2100000);
      assert_true(slow || out[0] == 7);
      if (!slow)
        v.batch.now += 60000000000u;
    }
    close_it(&v);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(methods_of_strings_keep_nothing), cmocka_unit_test(lengths_are_not_remembered),
    cmocka_unit_test(lists_of_the_policy_are_results), cmocka_unit_test(order_of_tables_is_not_told),
    cmocka_unit_test(refused_stack_cannot_be_caught),  cmocka_unit_test(work_looks_at_the_clock),
    cmocka_unit_test(long_strings_are_watched),        cmocka_unit_test(loading_anew_has_no_more_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
