/* What a compiled function does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>

#include "state_rig.h"

typedef struct look {
  const char *text;
  int rc;
  uint32_t found, line;
} look;

static int scan(lua_State *L)
{
  look *k = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, k->text, strlen(k->text), "=test", "t") != LUA_OK)
    return lua_error(L);
  int top = lua_gettop(L);
  k->rc = llmd__lua_scan(L, &k->found, &k->line);
  return lua_gettop(L) == top ? 0 : luaL_error(L, "the stack has changed");
}

static look scanned(const char *text)
{
  rig r;
  look k = {text, 0, 0, 0};
  assert_int_equal(rig_open(&r, RIG_MEMORY * 4), 0);
  int rc = llmd__lua_call(&r.lua, NULL, scan, &k);
  if (rc != 0)
    print_message("# %s: %s\n", text, r.lua.trouble);
  assert_int_equal(rc, 0);
  assert_int_equal(k.rc, 0);
  rig_close(&r);
  return k;
}

#define POW LLMD__LUA_HAS_POW
#define SET LLMD__LUA_HAS_SETUPVAL

static void finds_instructions(void **state)
{
  static const look cases[] = {
    {"return 1", 0, 0, 0},
    {"", 0, 0, 0},
    {"local a, b = ... return a + b * a / b // a % b & a | b ~ a << b >> a .. b", 0, 0, 0},
    {"local a, b = ...\nreturn a ^ b", 0, POW, 2},
    {"local a = ...\n\nreturn a ^ 2", 0, POW, 3},
    {"local a = ...\nreturn 2 ^ a", 0, POW, 2},
    {"local x\nreturn function()\n return function(a)\n  return a ^ x\n end\nend", 0, POW, 4},
    {"return function(a)\n return a ^ 3\nend, ... ^ 2", 0, POW, 2},
    {"return function(a) return 1 end,\n(...) ^ (...)", 0, POW, 2},
    {"local n = 0 return function() n = n + 1 end", 0, SET, 0},
    {"local n = 0 return function() return function() n = {} end end", 0, SET, 0},
    {"local n = 0 return function() local m = 0 return function() m = m + n end end", 0, SET, 0},
    {"local n = 0 n = n + 1 return function() return n end", 0, 0, 0},
    {"return function() _ENV = {} end", 0, SET, 0},
    {"return function() x = 1 end", 0, 0, 0},
    {"local t = {} return function() t.x = 1 end", 0, 0, 0},
    {"local n return function(a) n = a ^ a end", 0, POW | SET, 1},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    look k = scanned(cases[i].text);
    if (k.found != cases[i].found || k.line != cases[i].line)
      print_message("# %s: %u at %u\n", k.text, k.found, k.line);
    assert_int_equal(k.found, cases[i].found);
    assert_int_equal(k.line, cases[i].line);
  }
}

/* Lines far apart, functions of many instructions, many constants: the tables of lines and counts of several bytes. */
static void reads_long_programs(void **state)
{
  static char text[60000];
  size_t at = 0;
  (void)state;
  at += (size_t)snprintf(text, sizeof text, "local a = ...\nlocal t = {}\n");
  for (int i = 0; i < 900; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "t.field%d = a + %d.5\n", i, i);
  for (int i = 0; i < 300; i++)
    text[at++] = '\n';
  at += (size_t)snprintf(text + at, sizeof text - at, "t.power = a\n^ a\nt.text = [[%0600d]]\n", 7);
  for (int i = 0; i < 100; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "t.f%d = function(x) return x, %d end\n", i, i);
  look k = scanned(text);
  assert_int_equal(k.found, POW);
  assert_in_range(k.line, 1203, 1204);
  char *hat = strchr(text, '^');
  assert_non_null(hat);
  assert_int_equal(llmd__lua_scan_text(text, at), 1204);
  *hat = '*';
  k = scanned(text);
  assert_int_equal(k.found, 0);
}

static void finds_the_operator_in_text(void **state)
{
  static const struct {
    const char *text;
    uint32_t line;
  } cases[] = {
    {"", 0}, {"^", 1}, {"a\n^", 2}, {"a\r\n^", 2}, {"a\n\r\n^", 3}, {"a\r^", 2},
    {"-- ^\n", 0}, {"-- ^\n^", 2}, {"--[[ ^ \n ^ ]]", 0}, {"--[[ \n ]]^", 2}, {"--[==[ ]] ^ ]=] ]==]", 0},
    {"--[==[ ]==] ^", 1}, {"--[= ^\n", 0}, {"--[= ^\n^", 2},
    {"'^'", 0}, {"\"^\"", 0}, {"'\\'^'", 0}, {"'\\\\'^'", 1}, {"'\\\n^' ^", 2}, {"'\"' ^ '\"'", 1},
    {"[[^]]", 0}, {"[[^]^]]", 0}, {"[=[ ]] ^ ]=] ", 0}, {"[=[ ]] ]=]^", 1}, {"t[ [[^]] ]", 0}, {"t[a]^b", 1},
    {"a[b[c]]^2", 1}, {"a - b ^ c", 1}, {"a --b ^ c", 0}, {"'", 0}, {"'\\", 0}, {"[[", 0}, {"--[[", 0}, {"[", 0},
    {"--", 0}, {"]]", 0}, {"[==", 0}, {"'\\z  \n\n ^'^", 3},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    size_t n = strlen(cases[i].text);
    char *exact = malloc(n + 1); /* the sanitizer sees a look past the end */
    assert_non_null(exact);
    memcpy(exact, cases[i].text, n);
    uint32_t line = llmd__lua_scan_text(exact, n);
    free(exact);
    if (line != cases[i].line)
      print_message("# %s: %u\n", cases[i].text, line);
    assert_int_equal(line, cases[i].line);
  }
}

/* "r name 3;" for each; locals without a line. */
typedef struct told {
  const char *text;
  char names[400];
  int rc;
} told;

static void note(void *ud, uint32_t what, const char *name, size_t len, uint32_t line)
{
  told *t = ud;
  size_t at = strlen(t->names);
  assert_int_equal(line == 0, what == LLMD__LUA_NAME_LOCAL);
  snprintf(t->names + at, sizeof t->names - at, "%c %.*s %u;", "?rsl"[what], (int)len, name, line);
}

static int scan_names(lua_State *L)
{
  told *t = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, t->text, strlen(t->text), "=test", "t") != LUA_OK)
    return lua_error(L);
  t->rc = llmd__lua_scan_names(L, note, t);
  return 0;
}

static void finds_names(void **state)
{
  static const told cases[] = {
    {"return 1", "", 0},
    {"return a", "r a 1;", 0},
    {"\na = 1", "s a 2;", 0},
    {"local a\na = b\nc = a", "l a 0;r b 2;s c 3;", 0},
    {"return function(x)\n\n return function() return x + y end end", "r y 3;l x 0;", 0},
    {"return function() return function() a = 1 end, b end", "s a 1;r b 1;", 0},
    {"local _ENV = {} return a", "l _ENV 0;", 0},
    {"return function(_ENV) return a, function() return a end end", "l _ENV 0;", 0},
    {"local t = ... return t.a, t[b], 'c'", "l t 0;r b 1;", 0},
    {"for i = 1, n do f(i) end", "l i 0;r n 1;r f 1;", 0},
    {"local t = {} return function() t.x = 1 end", "l t 0;", 0},
    {"function f() end", "s f 1;", 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    rig r;
    told t = {cases[i].text, "", 77};
    assert_int_equal(rig_open(&r, RIG_MEMORY * 4), 0);
    assert_int_equal(llmd__lua_call(&r.lua, NULL, scan_names, &t), 0);
    assert_int_equal(t.rc, 0);
    assert_string_equal(t.names, cases[i].names);
    rig_close(&r);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(finds_instructions), cmocka_unit_test(reads_long_programs),
                                     cmocka_unit_test(finds_names), cmocka_unit_test(finds_the_operator_in_text)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
