/* A state's memory, budget and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <cmocka.h>

#include <lauxlib.h>

#include "state_rig.h"

#define MODULE(body) "local function f() " body " end return {f = f, g = function() return 42 end}"

/* ---- budgets ---------------------------------------------------------------------------------------------------- */

static const struct {
  const char *body;
  int code;
  const char *trouble;
} runaways[] = {
  {"while true do end", LLMD_E_LIMIT, "test.lua:1: more than 100000 instructions"},
  {"repeat local x = 1 until false", LLMD_E_LIMIT, "more than"},
  {"for i = 1, 1e9 do end", LLMD_E_LIMIT, "more than"},
  {"while true do pcall(function() while true do end end) end", LLMD_E_LIMIT, "more than"},
  {"while true do pcall(error) end", LLMD_E_LIMIT, "more than"},
  {"while true do pcall(pcall, pcall, error, 'x') end", LLMD_E_LIMIT, "more than"},
  {"local ok = pcall(function() while true do end end) return ok", LLMD_E_LIMIT, "more than"},
  {"local function h() while true do end end pcall(function() error(h()) end)", LLMD_E_LIMIT, "more than"},
  {"goto a ::a:: goto a", LLMD_E_LIMIT, "more than"},
  {"local function r() return r() end r()", LLMD_E_LIMIT, "more than"}, /* tail calls */
  {"local function r() return 1 + r() end r()", LLMD_E_NOMEM, "262144 bytes of memory are not enough"},
  {"local t = {} for i = 1, 1e9 do t[i] = i end", LLMD_E_NOMEM, "262144 bytes of memory are not enough"},
  {"local t = {} for i = 1, 1e9 do t[i] = {} end", LLMD_E_NOMEM, "memory"},
  {"local t = {} for i = 1, 1e9 do t['k' .. i] = 'v' .. i end", LLMD_E_NOMEM, "memory"},
  {"local s = 'x' while true do s = s .. s end", LLMD_E_NOMEM, "a string longer than 16384 bytes"},
  {"local s = 'x' while true do pcall(function() s = s .. s end) end", LLMD_E_NOMEM, "a string longer than"},
  {"local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end", LLMD_E_NOMEM, "memory"},
  {"while true do local t = {1, 2, 3, 4, 5, 6, 7, 8} end", LLMD_E_LIMIT, "more than"},
  {"while true do local f = function() return f end end", LLMD_E_LIMIT, "more than"},
  {"local i = 0 while true do i = i + 1 local s = 'abc' .. i end", LLMD_E_LIMIT, "more than"},
  {"for k in pairs({1, 2, 3}) do while true do end end", LLMD_E_LIMIT, "more than"},
  {"while true do for k in pairs({a = 1, b = 2}) do end end", LLMD_E_LIMIT, "more than"},
};

static void nothing_runs_away(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof runaways / sizeof runaways[0]; i++) {
    char text[512];
    snprintf(text, sizeof text, MODULE("%s"), runaways[i].body);
    assert_fails(text, runaways[i].code, runaways[i].trouble);
  }
}

/* Recursion through pcall ends by one limit or another: which one is Lua's business, but it does end. */
static void recursion_through_pcall_ends(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, MODULE("local function r() pcall(r) end while true do r() end"));
  assert_int_not_equal(rig_call(&r, "f"), 0);
  assert_int_equal(rig_call(&r, "g"), 0);
  rig_close(&r);
}

static void instructions_are_counted(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, MODULE("for i = 1, 1000 do end"));
  r.limits.instructions = 900;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_LIMIT);
  assert_int_equal(r.lua.trouble_line, 1);
  r.limits.instructions = 1200;
  assert_int_equal(rig_call(&r, "f"), 0);
  r.limits.instructions = 3;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_LIMIT);
  r.limits.instructions = 0;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_LIMIT);
  rig_close(&r);
}

/* The same script under the same budget ends at the same place: nothing but what it does counts. */
static void instructions_are_the_same_each_time(void **state)
{
  int64_t left[2];
  (void)state;
  for (int i = 0; i < 2; i++) {
    rig r;
    rig_start(&r, MODULE("local t = {} for i = 1, 300 do t[i] = 'x' .. i end local n = 0 "
                         "for k, v in pairs({a = 1, b = 2, c = 3}) do n = n + v end return #t + n"));
    assert_int_equal(rig_call(&r, "f"), 0);
    assert_string_equal(r.text, "306");
    left[i] = r.lua.left;
    rig_close(&r);
  }
  assert_int_equal(left[0], left[1]);
}

static void time_ends_a_call(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, MODULE("while true do end"));
  r.limits.instructions = UINT64_MAX;
  r.limits.time_ns = 2000000;
  r.clock.tick = 50000;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_TIMEOUT);
  assert_string_equal(r.lua.trouble, "test.lua:1: took longer than 2000 us");
  r.clock.tick = 0;
  assert_int_equal(rig_call(&r, "g"), 0);
  /* without a clock there is no limit of time, only of instructions */
  r.host.clock = NULL;
  r.limits.instructions = 5000;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_LIMIT);
  rig_close(&r);
}

static int charge_much(lua_State *L)
{
  const uint64_t *n = lua_touserdata(L, 1);
  llmd__lua_charge(L, *n);
  return 0;
}

static void functions_of_ours_charge(void **state)
{
  rig r;
  uint64_t n = 100001;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, charge_much, &n), LLMD_E_LIMIT);
  n = UINT64_MAX;
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, charge_much, &n), LLMD_E_LIMIT);
  n = 99000;
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, charge_much, &n), 0);
  n = 1 << 30;
  assert_int_equal(llmd__lua_call(&r.lua, NULL, charge_much, &n), 0);
  rig_close(&r);
}

/* Work that is charged in one piece does not wait for the next hundred instructions to look at the clock. */
static void much_work_looks_at_the_clock(void **state)
{
  rig r;
  uint64_t n = LLMD__LUA_MUCH;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  r.limits.time_ns = 1000;
  r.clock.tick = 5000;
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, charge_much, &n), LLMD_E_TIMEOUT);
  n = LLMD__LUA_MUCH - 1;
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, charge_much, &n), 0);
  rig_close(&r);
}

/* Bytes cost: what a script allocates and drops cannot keep a decision busy for long. */
static void memory_is_charged(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, MODULE("local s = '' for i = 1, 1000 do s = s .. 'xxxxxxxx' end"));
  r.limits.instructions = 20000;
  assert_int_equal(rig_call(&r, "f"), LLMD_E_LIMIT);
  r.limits.instructions = 100000;
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_true(r.lua.left < 100000 - (4000000 / 64));
  rig_close(&r);
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static void errors_say_where(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local M = {}\nfunction M.f()\n  local t = nil\n  return t.x\nend\nfunction M.g()\n error('no "
                "luck')\nend\n"
                "return M");
  assert_int_equal(rig_call(&r, "f"), LLMD_E_PLUGIN);
  assert_string_equal(r.lua.trouble, "test.lua:4: attempt to index a nil value (local 't')");
  assert_int_equal(r.lua.trouble_line, 4);
  assert_int_equal(rig_call(&r, "g"), LLMD_E_PLUGIN);
  assert_string_equal(r.lua.trouble, "test.lua:7: no luck");
  assert_int_equal(llmd__lua_fail(&r.lua, LLMD_E_PLUGIN, "test.lua", &r.err), LLMD_E_PLUGIN);
  assert_string_equal(r.err.path, "test.lua");
  assert_string_equal(r.err.text, "no luck");
  assert_int_equal(r.err.line, 7);
  assert_int_equal(r.err.code, LLMD_E_PLUGIN);
  rig_close(&r);
}

static void errors_are_cleaned(void **state)
{
  static const struct {
    const char *raise, *wanted;
  } cases[] = {
    {"error('a\\nb\\tc\\0d\\127', 0)", "a b c d?"},
    {"error('at 0x7ffee1234567 and 0xABCdef.', 0)", "at  and ."},
    {"error('0x and 0xg', 0)", "0x and 0xg"},
    {"error('\\xff\\xc3\\xa9\\xc3', 0)", "?\xc3\xa9?"},
    {"error('\\xc2\\x85\\xed\\xa0\\x80', 0)", "?????"},
    {"error({})", "an error without a text"},
    {"error()", "an error without a text"},
    {"error(12)", "an error without a text"},
    {"error(f)", "an error without a text"},
    {"error('', 0)", ""},
  };
  rig r;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[256];
    snprintf(text, sizeof text, "return {f = function() %s end}", cases[i].raise);
    rig_start(&r, text);
    assert_int_equal(rig_call(&r, "f"), LLMD_E_PLUGIN);
    assert_string_equal(r.lua.trouble, cases[i].wanted);
    assert_int_equal(r.lua.trouble_len, strlen(cases[i].wanted));
    rig_close(&r);
  }
}

static void long_errors_are_cut(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "return {f = function() local s = 'x' for i = 1, 10 do s = s .. s end error(s .. '\\xc3\\xa9', 0) end,"
                "g = function() local s = '' for i = 1, 199 do s = s .. 'x' end error(s .. '\\xc3\\xa9', 0) end}");
  assert_int_equal(rig_call(&r, "f"), LLMD_E_PLUGIN);
  assert_int_equal(r.lua.trouble_len, LLMD__LUA_TROUBLE);
  assert_int_equal(strlen(r.lua.trouble), LLMD__LUA_TROUBLE);
  assert_int_equal(rig_call(&r, "g"), LLMD_E_PLUGIN);
  assert_int_equal(r.lua.trouble_len, 199); /* not half a character */
  rig_close(&r);
}

static int refuse_it(lua_State *L)
{
  return llmd__lua_refuse(L, "scores are %s", "numbers");
}

static int catch_it(lua_State *L)
{
  lua_getglobal(L, "pcall");
  lua_pushcfunction(L, refuse_it);
  lua_call(L, 1, 2);
  if (lua_touserdata(L, 1) == NULL)
    return 0;
  return luaL_error(L, "another");
}

static void a_refusal_is_a_matter_of_type(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, refuse_it, NULL), LLMD_E_TYPE);
  assert_string_equal(r.lua.trouble, "scores are numbers");
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, catch_it, NULL), 0);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, catch_it, &r), LLMD_E_PLUGIN);
  rig_close(&r);
}

/* Whoever catches the end of memory does not go on, were it for one instruction: it ends elsewhere each time. */
static void errors_without_room(void **state)
{
  (void)state;
  assert_fails(MODULE("local t = {} pcall(function() while true do t[#t + 1] = 'x' .. #t end end) "
                      "error('no room for ' .. #t .. ' and more')"), LLMD_E_NOMEM, "memory are not enough");
  assert_fails(MODULE("local function deep(n) if n == 0 then error('deep') end return 1 + deep(n - 1) end deep(500)"),
               LLMD_E_PLUGIN, "deep");
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void an_empty_state_is_small(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  print_message("# an empty state takes %zu bytes, at most %zu while it opens\n", llmd__lua_used(&r.lua),
                llmd__lua_peak(&r.lua));
  assert_true(llmd__lua_used(&r.lua) <= 65536);
  assert_int_equal(r.mem.calls, 1);
  rig_close(&r);
}

static int use_arena(const llmd_allocator *a, void *ctx)
{
  llmd__lua s;
  (void)ctx;
  int rc = llmd__lua_open(&s, a, RIG_MEMORY);
  llmd__lua_close(&s);
  return rc;
}

static void the_host_may_refuse(void **state)
{
  (void)state;
  assert_int_equal(fail_each_allocation(use_arena, NULL), 1);
}

/* Each allocation of open is once the one that does not fit. */
static void too_little_memory_to_open(void **state)
{
  size_t bytes = 0;
  rig r;
  int rc = LLMD_E_NOMEM;
  (void)state;
  while (rc != 0) {
    bytes += 16;
    assert_true(bytes < 65536);
    rc = rig_open(&r, bytes);
    assert_int_equal(rc == 0 ? LLMD_E_NOMEM : rc, LLMD_E_NOMEM);
    if (rc == 0)
      assert_int_equal(llmd__lua_reopen(&r.lua), 0);
    rig_close(&r);
  }
  print_message("# an empty state opens in %zu bytes\n", bytes);
  for (size_t more = bytes; more < bytes + 2048; more += 16) {
    assert_int_equal(rig_open(&r, more), 0);
    rc = rig_load(&r, "return {f = function() return 1 end}");
    assert_int_equal(rc == 0 ? LLMD_E_NOMEM : rc, LLMD_E_NOMEM);
    rig_close(&r);
  }
}

static const char *const sweep[] = {
  MODULE("return 1"),
  MODULE("local t = {} for i = 1, 2000 do t[i] = {i} end return #t"),
  MODULE("local s = '' for i = 1, 200 do s = s .. i end return s"),
  MODULE("local n = 0 for i = 1, 100 do for k, v in pairs({a = 1, b = {}, c = 'x'}) do n = n + 1 end end return n"),
  MODULE("local n = 0 while true do local ok = pcall(function() local t = {} for i = 1, 1e6 do t[i] = i end end) end"),
  MODULE("local function r(n) return n == 0 and 0 or 1 + r(n - 1) end return r(150)"),
};

/* With whatever little memory: it works or answers, the next call is unaffected, and nothing is left behind. */
static void any_amount_of_memory(void **state)
{
  size_t step = getenv("LLMD_LONG") ? 64 : 1024;
  unsigned opened = 0, refused = 0;
  (void)state;
  for (size_t bytes = 1024; bytes <= 96 * 1024; bytes += step) {
    for (size_t i = 0; i < sizeof sweep / sizeof sweep[0]; i++) {
      rig r;
      int rc = rig_open(&r, bytes);
      if (rc == 0)
        rc = rig_load(&r, sweep[i]);
      if (rc == 0)
        rc = llmd__lua_freeze(&r.lua, &r.err);
      if (rc != 0) {
        assert_int_equal(rc, LLMD_E_NOMEM);
        refused++;
      } else {
        opened++;
        rc = rig_call(&r, "f");
        assert_true(rc == 0 || rc == LLMD_E_NOMEM || rc == LLMD_E_LIMIT);
        rc = rig_call(&r, "g");
        assert_true(rc == 0 || rc == LLMD_E_NOMEM);
      }
      assert_true(llmd__lua_peak(&r.lua) <= bytes);
      rig_close(&r);
    }
  }
  assert_true(opened > 100 && refused > 20);
}

static void after_memory_ran_out_it_is_made_anew(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, MODULE("local t = {} for i = 1, 1e9 do t[i] = i end"));
  size_t used = llmd__lua_used(&r.lua);
  size_t calls = r.mem.calls;
  for (int i = 0; i < 5; i++) {
    assert_int_equal(rig_call(&r, "f"), LLMD_E_NOMEM);
    assert_int_equal(llmd__lua_reopen(&r.lua), 0);
    assert_ptr_equal(r.lua.host, &r.host);
    assert_int_equal(rig_load(&r, MODULE("return 7")), 0);
    assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), 0);
    assert_int_equal(rig_call(&r, "f"), 0);
    assert_string_equal(r.text, "7");
    assert_int_equal(llmd__lua_reopen(&r.lua), 0);
    assert_int_equal(rig_load(&r, MODULE("local t = {} for i = 1, 1e9 do t[i] = i end")), 0);
    assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), 0);
    assert_true(llmd__lua_used(&r.lua) <= used + 256 && llmd__lua_used(&r.lua) + 256 >= used);
  }
  assert_int_equal(r.mem.calls, calls); /* all that in the same block */
  rig_close(&r);
}

static void without_a_state_calls_are_answered(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(rig_open(&r, 4096), LLMD_E_NOMEM);
  assert_int_equal(llmd__lua_call(&r.lua, NULL, refuse_it, NULL), LLMD_E_NOMEM);
  assert_string_equal(r.lua.trouble, "4096 bytes of memory are not enough");
  assert_int_equal(llmd__lua_reopen(&r.lua), LLMD_E_STATE);
  assert_int_equal(llmd__lua_used(&r.lua), 0);
  rig_close(&r);
}

/* Each of these fits, once the one before is collected. */
static int waste(lua_State *L)
{
  const int *n = lua_touserdata(L, 1);
  lua_gc(L, LUA_GCSTOP);
  for (int i = 0; i < *n; i++) {
    lua_newuserdatauv(L, RIG_MEMORY / 2, 0);
    lua_pop(L, 1);
  }
  lua_gc(L, LUA_GCRESTART);
  return 0;
}

static void collections_in_need_are_few(void **state)
{
  rig r;
  int n = 3;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, waste, &n), 0);
  assert_in_range(r.lua.refused, 1, 2);
  n = 1000;
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, waste, &n), LLMD_E_NOMEM);
  assert_in_range(r.lua.refused, 3, 5);
  rig_close(&r);
}

/* What calls leave behind does not add up. */
static void memory_stays_flat(void **state)
{
  rig r;
  size_t most = 0;
  (void)state;
  rig_start(&r, MODULE("local t = {} for i = 1, 20 do t[i] = {i, 'n' .. i} end for k, v in pairs(t) do v[3] = k end "
                       "return #t"));
  for (int i = 0; i < 5000; i++) {
    assert_int_equal(rig_call(&r, "f"), 0);
    assert_int_equal(r.lua.refused, 0); /* no collection is forced by the cap */
    if (llmd__lua_used(&r.lua) > most)
      most = llmd__lua_used(&r.lua);
  }
  assert_true(most < 64 * 1024);
  rig_close(&r);
}

/* ---- load ------------------------------------------------------------------------------------------------------- */

static void load_refuses(void **state)
{
  static const struct {
    const char *text;
    size_t len;
    int code;
    uint32_t line;
    const char *why;
  } cases[] = {
    {"return {\n\nf = }", 0, LLMD_E_SYNTAX, 3, "unexpected symbol"},
    {"return {} \0", 11, LLMD_E_SYNTAX, 0, "NUL"},
    {"\033Lua", 0, LLMD_E_SYNTAX, 0, "compiled"},
    {"#!/usr/bin/lua\nreturn {}", 0, LLMD_E_SYNTAX, 1, "unexpected symbol"},
    {"return 1", 0, LLMD_E_TYPE, 0, "a policy ends with `return {...}`, this one gives a number"},
    {"", 0, LLMD_E_TYPE, 0, "a policy ends with `return {...}`, this one gives nothing"},
    {"\xef\xbb\xbf", 0, LLMD_E_TYPE, 0, "this one gives nothing"},
    {"\xef\xbb\xbf\nlocal x = = 1", 0, LLMD_E_SYNTAX, 2, "unexpected symbol"},
    {"\xef\xbb\xbf\033Lua", 0, LLMD_E_SYNTAX, 0, "compiled"},
    {"\xef\xbbreturn {}", 0, LLMD_E_SYNTAX, 1, "unexpected symbol"},
    {"local x\nlocal y = x.z", 0, LLMD_E_PLUGIN, 2, "index a nil value"},
    {"\nreturn {f = function(x) return x ^ 2 end}", 0, LLMD_E_UNSUPPORTED, 2, "math.sqrt"},
    {"return {x = 2\n^ 0.5}", 0, LLMD_E_UNSUPPORTED, 2, "operator ^"},
    {"while true do end", 0, LLMD_E_LIMIT, 1, "more than 10000000 instructions"},
    {"local t = {} while true do t[#t + 1] = {} end", 0, LLMD_E_NOMEM, 0, "memory"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    static const llmd__lua_limits limits = {10000000, 0};
    rig r;
    assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
    size_t len = cases[i].len ? cases[i].len : strlen(cases[i].text);
    int rc = llmd__lua_load(&r.lua, cases[i].text, len, "test.lua", &limits, &r.err);
    if (rc != cases[i].code || strstr(r.err.text, cases[i].why) == NULL)
      print_message("# %zu: %d line %u: %s\n", i, rc, r.err.line, r.err.text);
    assert_int_equal(rc, cases[i].code);
    assert_int_equal(r.err.line, cases[i].line);
    assert_non_null(strstr(r.err.text, cases[i].why));
    assert_string_equal(r.err.path, "test.lua");
    assert_null(strstr(r.err.text, "test.lua")); /* the place has fields of its own */
    assert_int_equal(rig_load(&r, "\xef\xbb\xbfreturn {g = function() return 42 end}"), 0);
    assert_int_equal(rig_call(&r, "g"), 0);
    assert_string_equal(r.text, "42");
    rig_close(&r);
  }
}

static void load_refuses_much_text(void **state)
{
  rig r;
  char *text = malloc(LLMD_POLICY_BYTES + 2);
  (void)state;
  assert_non_null(text);
  memset(text, ' ', LLMD_POLICY_BYTES + 1);
  memcpy(text, "return {}", 9);
  text[LLMD_POLICY_BYTES] = '\0';
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(rig_load(&r, text), 0);
  text[LLMD_POLICY_BYTES] = ' ';
  text[LLMD_POLICY_BYTES + 1] = '\0';
  assert_int_equal(rig_load(&r, text), LLMD_E_LIMIT);
  rig_close(&r);
  free(text);
}

static void nested_text_ends(void **state)
{
  static char text[60000];
  static const char *const brackets[] = {"(", "{", "(function() return ", "- "};
  (void)state;
  for (size_t k = 0; k < sizeof brackets / sizeof brackets[0]; k++) {
    rig r;
    strcpy(text, "return ");
    size_t at = strlen(text), n = strlen(brackets[k]);
    while (at + n + 1 < sizeof text) {
      memcpy(text + at, brackets[k], n);
      at += n;
    }
    text[at] = '\0';
    assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
    assert_int_equal(rig_load(&r, text), LLMD_E_SYNTAX);
    assert_non_null(strstr(r.err.text, "overflow"));
    rig_close(&r);
  }
}

static int run_compiled(lua_State *L)
{
  rig *r = lua_touserdata(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, r);
  lua_call(L, 0, 1);
  snprintf(r->text, sizeof r->text, "%s", luaL_tolstring(L, -1, NULL));
  return 0;
}

static void tools_compile_with_what_the_policy_sees(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "function twice(x) return 2 * x end return {}");
  assert_int_equal(llmd__lua_compile(&r.lua, "return twice(21)", 16, "=repl", &r.err), 0);
  lua_rawsetp(r.lua.L, LUA_REGISTRYINDEX, &r);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, run_compiled, &r), 0);
  assert_string_equal(r.text, "42");
  assert_int_equal(llmd__lua_compile(&r.lua, "x = 1", 5, "repl", &r.err), 0);
  lua_rawsetp(r.lua.L, LUA_REGISTRYINDEX, &r);
  assert_int_equal(llmd__lua_call(&r.lua, &r.limits, run_compiled, &r), LLMD_E_PLUGIN);
  assert_non_null(strstr(r.lua.trouble, "globals are read-only"));
  assert_int_equal(llmd__lua_compile(&r.lua, "return 2 ^ 3", 12, "repl", &r.err), LLMD_E_UNSUPPORTED);
  assert_int_equal(llmd__lua_compile(&r.lua, "return +", 8, "repl", &r.err), LLMD_E_SYNTAX);
  assert_int_equal(lua_gettop(r.lua.L), 0);
  rig_close(&r);
}

/* ---- the host's locale ------------------------------------------------------------------------------------------ */

static void the_hosts_locale_does_not_matter(void **state)
{
  static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
  const char *set = NULL;
  (void)state;
  for (size_t i = 0; set == NULL && i < sizeof names / sizeof names[0]; i++)
    set = setlocale(LC_ALL, names[i]);
  if (set == NULL)
    print_message("# skipped: needs a locale with a comma, de_DE.UTF-8 for example\n");
  assert_gives(MODULE("return 1.5 .. '/' .. tostring(0.1) .. '/' .. tonumber('2.5') * 2 .. '/' .. "
                      "tostring(tonumber('1,5'))"),
               "1.5/0.1/5.0/nil");
  assert_gives(MODULE("return tostring('B' < 'a') .. tostring('a' < 'b')"), "truetrue");
  setlocale(LC_ALL, "C");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_runs_away),
      cmocka_unit_test(recursion_through_pcall_ends),
      cmocka_unit_test(instructions_are_counted),
      cmocka_unit_test(instructions_are_the_same_each_time),
      cmocka_unit_test(time_ends_a_call),
      cmocka_unit_test(functions_of_ours_charge),
      cmocka_unit_test(much_work_looks_at_the_clock),
      cmocka_unit_test(memory_is_charged),
      cmocka_unit_test(errors_say_where),
      cmocka_unit_test(errors_are_cleaned),
      cmocka_unit_test(long_errors_are_cut),
      cmocka_unit_test(a_refusal_is_a_matter_of_type),
      cmocka_unit_test(errors_without_room),
      cmocka_unit_test(an_empty_state_is_small),
      cmocka_unit_test(the_host_may_refuse),
      cmocka_unit_test(too_little_memory_to_open),
      cmocka_unit_test(any_amount_of_memory),
      cmocka_unit_test(after_memory_ran_out_it_is_made_anew),
      cmocka_unit_test(without_a_state_calls_are_answered),
      cmocka_unit_test(collections_in_need_are_few),
      cmocka_unit_test(memory_stays_flat),
      cmocka_unit_test(load_refuses),
      cmocka_unit_test(load_refuses_much_text),
      cmocka_unit_test(nested_text_ends),
      cmocka_unit_test(tools_compile_with_what_the_policy_sees),
      cmocka_unit_test(the_hosts_locale_does_not_matter)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
