/* table: what moves elements, and sort. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api.h"
#include "api_rig.h"

/* `#` of this table is 2^62 and more, and it has 63 elements. */
#define LIAR "local t = {} for i = 62, 0, -1 do t[1 << i] = 1 end "

static void insert_and_remove(void **state)
{
  (void)state;
  api_gives_body("local t = {} table.insert(t, 1) table.insert(t, 2) table.insert(t, 1, 0) table.insert(t, 4, 9) "
                 "table.insert(t, nil) return show(t)", "{0 1 2 9}");
  api_gives_body("local t = {1, 2, 3, 4} return show(table.remove(t), table.remove(t, 1), t)", "4 1 {2 3}");
  api_gives_body("local t = {} return show(table.remove(t), table.remove(t, 0), #t)", "nil nil 0");
  api_gives_body("local t = {1} return show(table.remove(t, 2), t)", "nil {1}");
}

static void move_and_unpack(void **state)
{
  (void)state;
  api_gives("table.move({1, 2, 3}, 1, 3, 2)", "{1 1 2 3}");
  api_gives("table.move({1, 2, 3}, 2, 3, 1)", "{2 3 3}");
  api_gives("table.move({1, 2, 3}, 1, 3, 2, {9})", "{9 1 2 3}");
  api_gives("table.move({1, 2}, 3, 1, 1), table.move({5}, 1, 1, 1)", "{1 2} {5}");
  api_gives("table.move(frozen, 1, 3, 1, {})", "{3 1 2}");
  api_gives("#table.move({}, math.mininteger, math.mininteger, math.maxinteger)", "0");
  api_gives("table.unpack({1, 2, 3})", "1 2 3");
  api_gives("table.unpack({1, 2, 3}, 2)", "2 3");
  api_gives("table.unpack({1, 2}, 0, 3)", "nil 1 2 nil");
  api_gives("table.unpack(frozen)", "3 1 2");
  api_gives("#table.unpack({'x'}, 1, 1), table.unpack({}, 2, 1)", "1");
  api_gives("table.unpack({}, math.maxinteger, math.maxinteger)", "nil");
}

static void concat(void **state)
{
  (void)state;
  api_gives("table.concat({'a', 'b', 'c'}), table.concat({'a', 'b', 'c'}, ', '), '[' .. table.concat({}) .. ']'",
            "abc a, b, c []");
  api_gives("table.concat({1, 2.5, 'x', 1e15, 3.0, nan}, ' ')", "1 2.5 x 1e+15 3.0 nan");
  api_gives("table.concat({1, 2, 3, 4}, '-', 2, 3), table.concat(frozen, '+')", "2-3 3+1+2");
  api_gives_body("local s = 'x' for i = 1, 13 do s = s .. s end return show(#table.concat({s, s}))", "16384");
}

static void sort(void **state)
{
  (void)state;
  api_gives_body("local t = {3, 1, 2} table.sort(t) return show(t)", "{1 2 3}");
  api_gives_body("local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return show(t)", "{3 2 1}");
  api_gives_body("local t = {2, 1.5, math.maxinteger, -inf, 9007199254740993} table.sort(t) return show(t)",
                 "{-inf 1.5 2 9007199254740993 9223372036854775807}");
  api_gives_body("local t = {nan, 2, nan, 1} table.sort(t) return show(t)", "{1 2 nan nan}");
  api_gives_body("local t = {'b', 'a', 'B', 'ab', '', 'a\\0'} table.sort(t) return show(#t[1], t[2], t[3], #t[4], t[5], t[6])",
                 "0 B a 2 ab b");
  api_gives_body("local t = {} table.sort(t) table.sort({1}) return show(t, table.sort({2, 1}))", "{}");
  api_gives_body("local t = {2, 1} for i = 3, 9 do t[i] = i * 7 % 11 end table.sort(t, math.ult) return show(t)",
                 "{1 1 2 2 5 6 8 9 10}");
}

static void sort_is_stable_and_right(void **state)
{
  (void)state;
  api_gives_body("local bad = 0 for n = 1, 40 do local t = {} for i = 1, n do t[i] = {key = llmd.random(5), place = i} end "
                 "table.sort(t, function(a, b) return a.key < b.key end) "
                 "for i = 2, n do local a, b = t[i - 1], t[i] "
                 "if a.key > b.key or a.key == b.key and a.place > b.place then bad = bad + 1 end end end "
                 "return show(bad)", "0");
}

/* Whatever a comparison answers, sorting ends, and every element is still there. */
static void sort_with_lies(void **state)
{
  static const char *const lies[] = {"true", "false", "llmd.random(2) == 1", "a >= b", "nil"};
  char body[512];
  (void)state;
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    snprintf(body, sizeof body,
             "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) return %s end) "
             "table.sort(t) local bad = 0 for i = 1, 100 do if t[i] ~= i then bad = bad + 1 end end return show(bad, #t)",
             lies[i]);
    api_gives_body(body, "0 100");
  }
}

static void sort_that_is_disturbed(void **state)
{
  (void)state;
  api_gives_body("local t = {3, 2, 1} local ok = pcall(table.sort, t, function() error('no') end) return show(ok, t)",
                 "false {3 2 1}");
  api_gives_body("local t = {3, 2, 1} table.sort(t, function(a, b) t[1], t[2], t[3] = nil, nil, nil return a < b end) "
                 "return show(t)", "{1 2 3}");
  api_gives_body("local t = {3, 2, 1} table.sort(t, function(a, b) table.sort(t) table.insert(t, 9) return a < b end) "
                 "return show(t[1], t[2], t[3])", "1 2 3");
}

static void read_only_tables(void **state)
{
  static const char *const writers[] = {
    "table.insert(frozen, 1)", "table.remove(frozen)", "table.sort(frozen)", "table.move({1}, 1, 1, 1, frozen)",
    "table.move(frozen, 1, 2, 2)", "llmd.shuffle(frozen)", "llmd.normalise({1}, frozen)", "table.insert(math, 1)",
    "llmd.lower_is_better({1}, llmd)", "llmd.softmax({1}, 1, frozen)", "table.sort(llmd.store)"};
  (void)state;
  for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++)
    api_refuses(writers[i], "read-only");
}

static void lengths_that_lie(void **state)
{
  static const char *const users[] = {
    "table.insert(t, 1, 0)", "table.remove(t, 1)", "table.concat(t)", "table.unpack(t)", "table.sort(t)", "llmd.max(t)",
    "llmd.sum(t)", "llmd.argmin(t)", "llmd.draw(t)", "llmd.shuffle(t)", "llmd.normalise(t)", "llmd.softmax(t)",
    "llmd.each(t, show)", "llmd.rendezvous('k', t)", "table.move(t, 1, #t, 2)"};
  (void)state;
  for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
    char body[256];
    rig r;
    snprintf(body, sizeof body, LIAR " return show(#t > 1 << 60, %s)", users[i]);
    int rc = api_run(&r, body);
    if (rc != LLMD_E_PLUGIN && rc != LLMD_E_LIMIT)
      print_message("# %s: %d, %s\n", users[i], rc, r.lua.trouble);
    assert_true(rc == LLMD_E_PLUGIN || rc == LLMD_E_LIMIT);
    rig_close(&r);
  }
  api_gives_body(LIAR "return show(#t > 1 << 60)", "true");
}

static void wrong_arguments(void **state)
{
  (void)state;
  api_refuses("table.insert(1, 2)", "table.insert: table expected for list, got number");
  api_refuses("table.insert({})", "table.insert: 2 or 3 arguments expected, got 1");
  api_refuses("table.insert({}, 1, 2, 3)", "table.insert: 2 or 3 arguments expected, got 4");
  api_refuses("table.insert({}, 3, 1)", "table.insert: the position is none of 1 to the length + 1");
  api_refuses("table.insert({}, '1', 1)", "table.insert: the position");
  api_refuses("table.remove({1}, 3)", "table.remove: the position");
  api_refuses("table.remove({1}, 'x')", "table.remove: integer expected for position, got string");
  api_refuses("table.remove(nil)", "table.remove: table expected for list, got nil");
  api_refuses("table.move({}, 1, 1 << 40, 2)", "table.move: too many elements");
  api_refuses("table.move({}, math.mininteger, math.maxinteger, 2)", "table.move: too many elements");
  api_refuses("table.move({}, 1, 2, math.maxinteger)", "table.move: too many elements");
  api_refuses("table.move('x', 1, 2, 3, {})", "table.move: table expected for from, got string");
  api_refuses("table.move({}, 1, 2, 3, 'x')", "table.move: table expected for target, got string");
  api_refuses("table.unpack({}, 1, 5000)", "table.unpack: more than 4096 results");
  api_refuses("table.unpack({}, math.mininteger, math.maxinteger)", "table.unpack: more than 4096 results");
  api_refuses("table.unpack()", "table.unpack: table expected for list, got no value");
  api_refuses("table.concat({1, kinds})", "table.concat: element 2: string or number expected, got table");
  api_refuses("table.concat({1}, '', 1, 2)", "table.concat: element 2: string or number expected, got nil");
  api_refuses("table.concat({1}, 2)", "table.concat: string expected for separator, got number");
  api_refuses("table.concat({}, '', 1, math.maxinteger)", "table.concat: too many elements");
  api_refuses("table.concat({}, '', math.mininteger, 1)", "table.concat: too many elements");
  api_refuses("table.concat(table.move({('x'):upper()}, 1, 1, 2), (', '):sub(1), 1, 3)", "element 3");
  api_refuses("table.sort({1, 'a'})", "table.sort: numbers and strings have no common order");
  api_refuses("table.sort({1, kinds})", "table.sort: element 2: number or string expected, got table");
  api_refuses("table.sort({1}, 1)", "table.sort: function expected for before, got number");
  api_refuses("table.sort(nil)", "table.sort: table expected for list, got nil");
}

static void too_long_texts(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(api_run(&r, "local s = 'x' for i = 1, 13 do s = s .. s end return table.concat({s, s, 'y'})"),
                   LLMD_E_PLUGIN);
  assert_non_null(strstr(r.lua.trouble, "table.concat: a text of more than 16384 bytes"));
  rig_close(&r);
}

static void work_is_charged(void **state)
{
  static const char *const of_long[] = {
    "table.insert(t, 1, table.remove(t))", "table.remove(t, 1)", "table.sort(t)", "table.sort(t, math.ult)",
    "table.move(t, 1, 1000, 2)", "v = table.concat(t)", "v = #{table.unpack(t)}"};
  (void)state;
  for (size_t i = 0; i < sizeof of_long / sizeof of_long[0]; i++)
    api_costs("local t = {} for i = 1, 1900 do t[i] = 1 end", of_long[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(insert_and_remove), cmocka_unit_test(move_and_unpack), cmocka_unit_test(concat),
      cmocka_unit_test(sort), cmocka_unit_test(sort_is_stable_and_right), cmocka_unit_test(sort_with_lies),
      cmocka_unit_test(sort_that_is_disturbed), cmocka_unit_test(read_only_tables), cmocka_unit_test(lengths_that_lie),
      cmocka_unit_test(wrong_arguments), cmocka_unit_test(too_long_texts), cmocka_unit_test(work_is_charged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
