/* What scripts have of Lua's base library, and what they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state_rig.h"

#define MODULE(body) "local function f() " body " end return {f = f, g = function() return 42 end}"

static void what_is_not_there(void **state)
{
  static const char *const names[] = {
    "load", "loadstring", "loadfile", "dofile", "require", "package", "module", "print", "warn", "io", "os", "debug",
    "coroutine", "collectgarbage", "setmetatable", "getmetatable", "rawget", "rawset", "next", "xpcall", "getfenv",
    "setfenv", "unpack", "_G", "_VERSION", "arg", "newproxy", "utf8", "bit32"};
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char text[128];
    snprintf(text, sizeof text, MODULE("return type(%s)"), names[i]);
    assert_gives(text, "nil");
  }
}

static void what_is_there(void **state)
{
  static const char *const names[] = {"assert", "error", "ipairs", "pairs", "pcall", "rawequal", "rawlen", "select",
                                      "tonumber", "tostring", "type"};
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char text[128];
    snprintf(text, sizeof text, MODULE("return type(%s)"), names[i]);
    assert_gives(text, "function");
  }
}

/* Everything reachable by name is a function of C, a number, or a table of such. */
static void tostring_shows_no_addresses(void **state)
{
  (void)state;
  assert_gives(MODULE("return tostring({})"), "table");
  assert_gives(MODULE("return tostring(f) .. tostring(type)"), "functionfunction");
  assert_gives(MODULE("local _, walk = pairs({}) return tostring(walk)"), "userdata");
  assert_gives(MODULE("return tostring(nil) .. tostring(true) .. tostring(false) .. tostring('x')"), "niltruefalsex");
}

static void tostring_of_numbers(void **state)
{
  static const char *const cases[][2] = {
    {"1", "1"}, {"-0.0", "-0.0"}, {"1.0", "1.0"}, {"0.1", "0.1"}, {"1 / 3", "0.3333333333333333"},
    {"0.1 + 0.2", "0.30000000000000004"}, {"1e15", "1e+15"}, {"1e300 * 1e10", "inf"}, {"-1e300 * 1e10", "-inf"},
    {"0 / 0", "nan"}, {"-(0 / 0)", "nan"}, {"1 << 63", "-9223372036854775808"}, {"5e-324", "4.9406564584125e-324"},
    {"123456789012345678", "123456789012345678"}, {"2.5e10", "25000000000.0"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[160];
    snprintf(text, sizeof text, MODULE("return tostring(%s)"), cases[i][0]);
    assert_gives(text, cases[i][1]);
  }
}

static void tonumber_reads(void **state)
{
  static const char *const cases[][2] = {
    {"'12'", "12"}, {"' 12 '", "12"}, {"'1.5'", "1.5"}, {"'0x10'", "16"}, {"''", "nil"}, {"'1,5'", "nil"},
    {"'abc'", "nil"}, {"{}", "nil"}, {"nil", "nil"}, {"7", "7"}, {"'12\\0'", "nil"}, {"'inf'", "nil"}, {"'nan'", "nil"},
    {"'ff', 16", "255"}, {"'-ZZ', 36", "-1295"}, {"'8', 8", "nil"}, {"' 11 ', 2", "3"}, {"'', 10", "nil"},
    {"'-', 10", "nil"}, {"'1 1', 10", "nil"}, {"'1e1'", "10.0"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[160];
    snprintf(text, sizeof text, MODULE("return tostring(tonumber(%s))"), cases[i][0]);
    assert_gives(text, cases[i][1]);
  }
  assert_fails(MODULE("return tonumber('1', 99)"), LLMD_E_PLUGIN, "base out of range");
  assert_fails(MODULE("return tonumber(1, 10)"), LLMD_E_PLUGIN, "string expected");
  assert_fails(MODULE("return tonumber()"), LLMD_E_PLUGIN, "value expected");
}

static void select_counts(void **state)
{
  (void)state;
  assert_gives(MODULE("return select('#') .. select('#', nil, nil) .. select(2, 'a', 'b') .. select(-1, 'a', 'c')"),
               "02bc");
  assert_gives(MODULE("return type((select(9, 1)))"), "nil");
  assert_fails(MODULE("select(0)"), LLMD_E_PLUGIN, "index out of range");
  assert_fails(MODULE("select(-2, 1)"), LLMD_E_PLUGIN, "index out of range");
}

static void errors_travel(void **state)
{
  (void)state;
  assert_gives(MODULE("local ok, e = pcall(error, {a = 3}) return tostring(ok) .. e.a"), "false3");
  assert_gives(MODULE("local ok, e = pcall(error, 'x', 0) return e"), "x");
  assert_gives(MODULE("local ok, e = pcall(function() error('x') end) return e"), "test.lua:1: x");
  assert_gives(MODULE("local ok, e = pcall(function() local a; a() end) return e"),
               "test.lua:1: attempt to call a nil value (local 'a')");
  assert_gives(MODULE("return select('#', pcall(function() return 1, nil, nil end))"), "4");
  assert_gives(MODULE("return select(2, pcall(pcall))"), "bad argument #1 to '?' (value expected)");
  assert_gives(MODULE("return (select(2, assert(1, 2)))"), "2");
  assert_fails(MODULE("assert(false, 'so it is')"), LLMD_E_PLUGIN, "so it is");
  assert_fails(MODULE("assert(nil)"), LLMD_E_PLUGIN, "assertion failed!");
  assert_fails(MODULE("assert(false, {})"), LLMD_E_PLUGIN, "an error without a text");
}

static void pairs_goes_in_order(void **state)
{
  (void)state;
  assert_gives(MODULE("local s = '' for k in pairs({b = 1, a = 1, [true] = 1, [false] = 1, [2.5] = 1, [-1] = 1, "
                      "[10] = 1, "
                      "aa = 1, A = 1, [''] = 1, 'x', 'y'}) do s = s .. tostring(k) .. ' ' end return s"),
               "-1 1 2 2.5 10  A a aa b false true ");
  assert_gives(MODULE("local s = '' for k, v in pairs({z = 1, y = 2, x = 3}) do s = s .. k .. v end return s"),
                      "x3y2z1");
  assert_gives(MODULE("local s = 0 for k in pairs({}) do s = s + 1 end return s"), "0");
  assert_gives(MODULE("local s = '' for k in pairs({[1 << 53] = 1, [(1 << 53) + 1] = 1, [0.5] = 1, [1 / 0] = 1, "
                      "[-1 / 0] = 1, [1 << 63] = 1, [~(1 << 63)] = 1}) do s = s .. k .. ' ' end return s"),
               "-inf -9223372036854775808 0.5 9007199254740992 9007199254740993 9223372036854775807 inf ");
  assert_gives(MODULE("local t, last, n = {}, '', 0 for i = 1, 500 do t['k' .. i * 7919 % 1009] = i end "
                      "for k in pairs(t) do assert(last < k) last = k n = n + 1 end return n"), "500");
}

static void pairs_while_the_table_changes(void **state)
{
  (void)state;
  assert_gives(MODULE("local t = {a = 1, b = 2, c = 3} local s = '' for k, v in pairs(t) do s = s .. k t[k] = nil "
                      "t.b = nil "
                      "t['n' .. k] = 1 end return s"), "ac");
  assert_gives(MODULE("local t = {1, 2, 3} local s = '' for k, v in pairs(t) do t[k] = v + 1 s = s .. t[k] end "
                      "return s"),
               "234");
}

static void pairs_by_hand(void **state)
{
  (void)state;
  assert_gives(MODULE("local it, st = pairs({a = 1, b = 2, c = 3}) return it(st, 'b') .. it(st) .. it(st, 'a') .. "
                      "type((it(st, 'c')))"), "cabnil");
  assert_fails(MODULE("local it, st = pairs({a = 1}) it(st, 'q')"), LLMD_E_PLUGIN, "not a key");
  assert_fails(MODULE("local it = pairs({a = 1}) it({}, nil)"), LLMD_E_PLUGIN, "what pairs gave");
  assert_fails(MODULE("local it = pairs({a = 1}) it(nil, nil)"), LLMD_E_PLUGIN, "what pairs gave");
  assert_fails(MODULE("pairs()"), LLMD_E_PLUGIN, "table expected");
  assert_fails(MODULE("pairs('abc')"), LLMD_E_PLUGIN, "table expected");
  assert_fails(MODULE("for k in pairs({[{}] = 1}) do end"), LLMD_E_PLUGIN, "only numbers, strings and booleans");
  assert_fails(MODULE("for k in pairs({[type] = 1}) do end"), LLMD_E_PLUGIN, "only numbers, strings and booleans");
}

static void ipairs_stops_at_nil(void **state)
{
  (void)state;
  assert_gives(MODULE("local s = 0 for i, v in ipairs({4, 5, nil, 7}) do s = s + i * v end return s"), "14");
  assert_gives(MODULE("local s = 0 for i, v in ipairs({x = 1}) do s = s + 1 end return s"), "0");
  assert_fails(MODULE("ipairs(3)"), LLMD_E_PLUGIN, "table expected");
  assert_fails(MODULE("ipairs({})(3, 1)"), LLMD_E_PLUGIN, "table expected");
}

static void raw_looks(void **state)
{
  (void)state;
  assert_gives(MODULE("return rawlen({1, 2}) .. rawlen('abc')"), "23");
  assert_gives(MODULE("local t = {} return tostring(rawequal(t, t)) .. tostring(rawequal(t, {})) .. "
                      "tostring(rawequal(1, 1.0))"),
               "truefalsetrue");
  assert_fails(MODULE("rawlen(5)"), LLMD_E_PLUGIN, "table or string expected");
}

/* Strings are no numbers when one computes with them: that would be a second way to read numbers. */
static void text_is_no_number(void **state)
{
  (void)state;
  assert_fails(MODULE("return '10' + 1"), LLMD_E_PLUGIN, "attempt to perform arithmetic");
  assert_fails(MODULE("return -'10'"), LLMD_E_PLUGIN, "attempt to perform arithmetic");
}

/* Values to be closed and finalizers need metatables; nothing of the kind runs. */
static void nothing_runs_behind_ones_back(void **state)
{
  (void)state;
  assert_fails(MODULE("local x <close> = {}"), LLMD_E_PLUGIN, "non-closable value");
  assert_gives(MODULE("local x <close> = nil return 1"), "1");
  assert_gives(MODULE("local t = {__gc = function() while true do end end, __index = f, __tostring = f} "
                      "return tostring(t) .. type(t.x)"), "tablenil");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_there),       cmocka_unit_test(what_is_there),
      cmocka_unit_test(tostring_shows_no_addresses), cmocka_unit_test(tostring_of_numbers),
      cmocka_unit_test(tonumber_reads),          cmocka_unit_test(select_counts),
      cmocka_unit_test(errors_travel),           cmocka_unit_test(pairs_goes_in_order),
      cmocka_unit_test(pairs_while_the_table_changes), cmocka_unit_test(pairs_by_hand),
      cmocka_unit_test(ipairs_stops_at_nil),     cmocka_unit_test(raw_looks),
      cmocka_unit_test(text_is_no_number),       cmocka_unit_test(nothing_runs_behind_ones_back)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
