/* string, and what llmd has for texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api.h"
#include "api_rig.h"

static void bytes(void **state)
{
  (void)state;
  api_gives("('hello'):sub(2, 3), ('hello'):sub(-3), ('hello'):sub(2), ('hello'):sub(4, 2)", "el llo ello ");
  api_gives("('hello'):sub(0), ('hello'):sub(-99, 2), ('hello'):sub(2, 99), ('hello'):sub(9)", "hello he ello ");
  api_gives("('hello'):sub(math.mininteger, math.maxinteger), ('hello'):sub(math.maxinteger)", "hello ");
  api_gives("('a'):byte(), ('abc'):byte(-1)", "97 99");
  api_gives("('abc'):byte(1, -1)", "97 98 99");
  api_gives("('\\0\\xff'):byte(1, 2)", "0 255");
  api_gives("('abc'):byte(10)", "");
  api_gives("#string.char(), string.char(72, 105), #string.char(0, 255)", "0 Hi 2");
  api_gives("('x'):len(), string.len(''), ('a\\0b'):len()", "1 0 3");
  api_gives("('aBc-9\\xe4'):upper() == 'ABC-9\\xe4', ('ABC\\xc4'):lower() == 'abc\\xc4', (''):upper()", "true true ");
  api_gives("('@[`{AZaz'):lower(), ('@[`{AZaz'):upper()", "@[`{azaz @[`{AZAZ");
  api_gives("('abc'):reverse(), (''):reverse()", "cba ");
}

static void finding(void **state)
{
  (void)state;
  api_gives("string.find('a.b.c', '.')", "2 2");
  api_gives("string.find('a.b.c', '.', 3)", "4 4");
  api_gives("string.find('a.b.c', '%a')", "nil");
  api_gives("string.find('hello', 'lo', 1, true)", "4 5");
  api_gives("string.find('hello', 'l', -2)", "4 4");
  api_gives("string.find('hello', '')", "1 0");
  api_gives("string.find('hello', '', 6)", "6 5");
  api_gives("string.find('hello', '', 7)", "nil");
  api_gives("string.find('hello', 'hello there')", "nil");
  api_gives("string.find('aab', 'ab')", "2 3");
  api_gives("string.find('a\\0b', '\\0')", "2 2");
  api_gives("string.find('xxabcabcabdyy', 'abcabcabd')", "3 11");
  api_gives("string.find('xxabcabcabdyy', 'abcabcabe')", "nil");
  api_gives("llmd.find('hello', 'ell')", "2 4");
}

/* Against the plain way, over texts with few letters. */
static void finding_everything(void **state)
{
  (void)state;
  api_gives_body("local bad = 0 for round = 1, 60 do local s, p = '', '' "
                 "for i = 1, 40 do s = s .. (llmd.random(2) == 1 and 'a' or 'b') end "
                 "for i = 1, 1 + round // 5 do p = p .. (llmd.random(2) == 1 and 'a' or 'b') end "
                 "if round % 2 == 0 then local at = llmd.random(40 - #p) p = s:sub(at, at + #p - 1) end "
                 "local want for i = 1, #s - #p + 1 do if s:sub(i, i + #p - 1) == p then want = i break end end "
                 "if s:find(p) ~= want then bad = bad + 1 end end return show(bad)", "0");
}

static void beginnings_and_ends(void **state)
{
  (void)state;
  api_gives("('llama-3'):starts_with('llama'), ('llama'):starts_with('llama-3'), ('x'):starts_with('')",
            "true false true");
  api_gives("('a.gguf'):ends_with('.gguf'), ('f'):ends_with('ff'), llmd.ends_with('x', '')", "true false true");
  api_gives("llmd.starts_with('abc', 'abd'), llmd.starts_with('abc', 'abc')", "false true");
  api_gives("'[' .. (' \\t a b\\n\\r'):trim() .. ']', '[' .. llmd.trim('   ') .. ']'", "[a b] []");
}

static void splitting(void **state)
{
  (void)state;
  api_gives("('a,b,,c'):split(','), #(''):split(','), (','):split(',')", "{a b  c} 1 { }");
  api_gives("('a, b, c'):split(', ', 2), ('a'):split(',', 1), llmd.split('a::b', '::')", "{a b, c} {a} {a b}");
  api_gives("('k=v=w'):split('=', 2)", "{k v=w}");
}

/* Clients send long headers: a policy that looks at one must not fail. */
static void long_texts(void **state)
{
  (void)state;
  api_gives_body("local s = 'a' for i = 1, 14 do s = s .. s end "
                 "return show(#s, s:find('ab'), s:find(s:sub(1, 100) .. 'b'), #s:upper(), #s:reverse(), #s:trim(), "
                 "s:starts_with(s), #s:split('b'), #s:sub(2))",
                 "16384 nil nil 16384 16384 16384 true 1 16383");
  api_refuses("string.char(256)", "string.char: 256 is no byte");
}

static void what_is_not_there(void **state)
{
  (void)state;
  api_gives("string.rep, string.format, string.gsub, string.match, string.gmatch, string.dump, string.pack",
            "nil nil nil nil nil nil nil");
  api_gives("('x').rep, ('x').format, ('x').__index", "nil nil nil");
  api_refuses("('x').y.z", "attempt to index");
  api_refuses("pcall(function() string.sub = 1 end) or ('x'):nothing()", "attempt to call a nil value");
}

static void wrong_arguments(void **state)
{
  (void)state;
  api_refuses("string.find('a', 'a', 1, false)", "find: there are no patterns");
  api_refuses("string.find('a', 'a', 1, 1)", "find: there are no patterns");
  api_refuses("string.find('a')", "find: string expected for needle, got no value");
  api_refuses("string.find(12, '1')", "find: string expected for text, got number");
  api_refuses("('x'):sub()", "string.sub: integer expected for i, got no value");
  api_refuses("('x'):sub(1.5)", "string.sub: integer expected for i, got number");
  api_refuses("('x'):sub('1')", "string.sub: integer expected for i, got string");
  api_refuses("string.upper(nil)", "string.upper: string expected for text, got nil");
  api_refuses("string.lower(1)", "string.lower: string expected for text, got number");
  api_refuses("string.len(frozen)", "string.len: string expected for text, got table");
  api_refuses("string.reverse()", "string.reverse: string expected for text, got no value");
  api_refuses("string.byte('x', nan)", "string.byte: integer expected for i, got number");
  api_refuses("string.char('65')", "string.char: integer expected for an argument, got string");
  api_refuses("string.char(-1)", "string.char: -1 is no byte");
  api_refuses("llmd.starts_with('x')", "starts_with: string expected for start, got no value");
  api_refuses("llmd.ends_with('x', 1)", "ends_with: string expected for ending, got number");
  api_refuses("llmd.trim()", "trim: string expected for text, got no value");
  api_refuses("llmd.split('x', '')", "split: the separator is empty");
  api_refuses("llmd.split('x', ',', 0)", "split: max is less than 1");
  api_refuses("llmd.split('x')", "split: string expected for separator, got no value");
}

static void work_is_charged(void **state)
{
  static const char *const of_long[] = {
    "v = s:find('ab')", "v = s:find(t)", "v = s:sub(2)", "v = s:upper()", "v = s:lower()", "v = s:reverse()", "v = s:trim()",
    "v = s:starts_with(s)", "v = s:ends_with(s)", "v = llmd.hash(s)", "v = #{s:byte(1, 4000)}", "v = s:split('b')",
    "v = s:split('a')", "v = llmd.rendezvous(s, names)"};
  (void)state;
  for (size_t i = 0; i < sizeof of_long / sizeof of_long[0]; i++)
    api_costs("local s = 'a' for i = 1, 13 do s = s .. s end local t = s:sub(1, 2000) .. 'b'", of_long[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes),           cmocka_unit_test(finding),    cmocka_unit_test(finding_everything),
      cmocka_unit_test(beginnings_and_ends), cmocka_unit_test(splitting), cmocka_unit_test(long_texts),
      cmocka_unit_test(what_is_not_there), cmocka_unit_test(wrong_arguments), cmocka_unit_test(work_is_charged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
