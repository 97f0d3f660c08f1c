/* After load nothing that one call leaves can be seen by the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>

#include "state_rig.h"

/* Every way to write must fail; read, afterwards and in the next call, tells the old value. */
static const struct {
  const char *load, *write, *read, *value;
} writes[] = {
  {"", "count = 1", "count", "nil"},
  {"count = 7", "count = 1", "count", "7"},
  {"count = 7", "_ENV.count = 1", "count", "7"},
  {"count = 7", "local e = _ENV e.count = nil", "count", "7"},
  {"", "type = nil", "type(1)", "number"},
  {"", "pairs = function() end", "type(pairs({}))", "function"},
  {"lib = {a = {b = 1}}", "lib.a.b = 2", "lib.a.b", "1"},
  {"lib = {a = {b = 1}}", "lib.a = {b = 2}", "lib.a.b", "1"},
  {"local t = {n = 1}", "t.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "t.m = 2", "t.m", "nil"},
  {"local t = {1, 2, 3}", "t[#t + 1] = 4", "#t", "3"},
  {"local t = {{{{n = 1}}}}", "t[1][1][1].n = 2", "t[1][1][1].n", "1"},
  {"local t = {n = 1} t.t = t", "t.t.t.t.n = 2", "t.t.n", "1"},
  {"local t = {n = 1} local u = {t = t}", "u.t.n = 2", "t.n", "1"},
  {"local t = {n = 1} local function get() return t end", "get().n = 2", "get().n", "1"},
  {"local t = {n = 1} local function get() return {t = t} end", "get().t.n = 2", "get().t.n", "1"},
  {"local function make() local t = {n = 1} return {set = function(x) t.n = x end, get = function() return t.n end} "
   "end local o = make()", "o.set(5)", "o.get()", "1"},
  {"local t = {f = function() end} local k = {} t[k] = {n = 1}", "t[k].n = 2", "t[k].n", "1"},
  {"local t = {n = 1}", "for k, v in pairs({t}) do v.n = 2 end", "t.n", "1"},
  {"local t = {{n = 1}}", "for k, v in pairs(t) do v.n = 2 end", "t[1].n", "1"},
  {"local t = {{n = 1}}", "for k, v in ipairs(t) do v.n = 2 end", "t[1].n", "1"},
  {"local t = {n = 1}", "local it, st = pairs(t) st.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local it, st = ipairs(t) st.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local u = select(1, t) u.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local u = assert(t) u.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local ok, u = pcall(function() return t end) u.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local ok, u = pcall(error, t) u.n = 2", "t.n", "1"},
  {"local t = {n = 1}", "local function f(...) local u = ... u.n = 2 end f(t)", "t.n", "1"},
  {"local t = {n = 1}", "t.__index = 2", "t.__index", "nil"},
  {"local t = {n = 1}", "t[1] = 2", "t[1]", "nil"},
  {"local M = {} M.n = 1 local function own() return M end", "own().n = 2", "M.n", "1"},
};

static void tables_cannot_be_written(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
    char text[1024];
    rig r;
    snprintf(text, sizeof text, "%s\nreturn {f = function() %s end, g = function() return tostring(%s) end}",
             writes[i].load, writes[i].write, writes[i].read);
    rig_start(&r, text);
    for (int k = 0; k < 2; k++) {
      int rc = rig_call(&r, "f");
      if (rc != LLMD_E_PLUGIN)
        print_message("# not refused: %s\n", text);
      assert_int_equal(rc, LLMD_E_PLUGIN);
      assert_int_equal(rig_call(&r, "g"), 0);
      if (strcmp(r.text, writes[i].value) != 0)
        print_message("# %s: %s\n", text, r.lua.trouble);
      assert_string_equal(r.text, writes[i].value);
    }
    rig_close(&r);
  }
}

static void the_error_says_what_to_do(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local t = {}\nreturn {f = function()\n  count = 1\nend, h = function()\n  t[1] = 1\nend}");
  assert_int_equal(rig_call(&r, "f"), LLMD_E_PLUGIN);
  assert_string_equal(r.lua.trouble, "test.lua:3: 'count' cannot be set: globals are read-only after load, use "
                      "llmd.store");
  assert_int_equal(rig_call(&r, "h"), LLMD_E_PLUGIN);
  assert_string_equal(r.lua.trouble, "test.lua:5: cannot be set: this table is read-only, use a local one, or "
                      "llmd.store");
  rig_close(&r);
}

/* What can be seen through a proxy is what was there. */
static void frozen_tables_read_as_before(void **state)
{
  (void)state;
  assert_gives("local t = {10, 20, 30, x = 'y', deep = {list = {1, 2}}, [true] = 1} return {f = function() local s = ''"
               " for k, v in pairs(t) do s = s .. tostring(k) .. '=' .. tostring(v) .. ' ' end "
               "for i, v in ipairs(t) do s = s .. i .. ':' .. v .. ' ' end "
               "return s .. #t .. rawlen(t) .. t.x .. #t.deep.list .. t[2] .. type(t) end}",
               "1=10 2=20 3=30 deep=table x=y true=1 1:10 2:20 3:30 33y220table");
  assert_gives("local t = {} local u = {t, t, k = {t}} return {f = function() return tostring(u[1] == t) .. "
               "tostring(rawequal(u[2], u.k[1])) .. tostring(u == t) end}", "truetruefalse");
  assert_gives("local t = {} t.me = t local k = {} t[k] = 'by table' return {f = function() return t.me.me[k] .. "
               "tostring(t.me == t) end}", "by tabletrue");
  assert_gives("function double(x) return 2 * x end local function quad(x) return double(double(x)) end "
               "return {f = function() return quad(4) end}", "16");
  assert_gives("local n, s, b, z = 1, 'a', true, nil return {f = function() return n .. s .. tostring(b) .. "
               "tostring(z) end}",
               "1atruenil");
}

static void locals_of_a_call_may_be_written(void **state)
{
  (void)state;
  assert_gives("local base = {1, 2, 3} return {f = function() local sum, t = 0, {} "
               "local function add(x) sum = sum + x t[#t + 1] = x end for _, v in ipairs(base) do add(v) end "
               "return sum .. #t end}", "63");
  assert_gives("local function counter() local n = 0 return function() n = n + 1 return n end end "
               "return {f = function() local c = counter() c() return c() end}", "2");
}

/* Every function that scripts have, called with a frozen table in every place: whatever comes back and can be written
 * is not what is behind the proxy, and nothing has changed there. */
static void no_function_leads_behind_a_proxy(void **state)
{
  static const char text[] =
    "local deep = {7, 8, 9}\n"
    "local t = {3, 1, 2, deep, x = 5, y = 'text', deep = deep}\n"
    "local calls, back = 0, 0\n"
    "local function intact()\n"
    "  local n = 0\n"
    "  for k, v in pairs(t) do n = n + 1 end\n"
    "  return n == 7 and #t == 4 and t[1] == 3 and t[2] == 1 and t[3] == 2 and t[4] == deep and t.x == 5\n"
    "    and t.y == 'text' and t.deep == deep and #deep == 3 and deep[1] == 7 and deep[2] == 8 and deep[3] == 9\n"
    "end\n"
    "local function spoil(r, depth)\n"
    "  if type(r) ~= 'table' then return 0 end\n"
    "  pcall(function() r[1] = 99 end)\n"
    "  pcall(function() r.x = 99 end)\n"
    "  for k, v in ipairs(r) do if depth < 3 then spoil(v, depth + 1) end end\n"
    "  return 1\n"
    "end\n"
    "local function try(name, f, ...)\n"
    "  local seen = {pcall(f, ...)}\n"
    "  local n = 1\n"
    "  for i = 2, 5 do n = n + spoil(seen[i], 0) end\n"
    "  if type(seen[2]) == 'function' then\n"
    "    local more = {pcall(seen[2], seen[3], seen[4])}\n"
    "    for i = 2, 5 do spoil(more[i], 0) end\n"
    "  end\n"
    "  if not intact() then error(name .. ' leads behind a proxy') end\n"
    "  return n\n"
    "end\n"
    "local function all(name, lib, seen)\n"
    "  local n = 0\n"
    "  for k, f in pairs(lib) do\n"
    "    if type(f) == 'table' and not seen[f] then\n"
    "      seen[f] = true\n"
    "      n = n + all(k, f, seen)\n"
    "    elseif type(f) == 'function' then\n"
    "      local function first(a, b) if a then spoil(a, 0) end if b then spoil(b, 0) end return a end\n"
    "      local args = {{t}, {t, t}, {t, 1}, {t, 1, 2}, {t, 1, t}, {t, 1, 2, 3}, {t, 1, 3, 1, t}, {1, t},\n"
    "        {t, first},\n"
    "        {first, t}, {t, 'x'}, {t, ''}, {'x', t}, {t, {1, 2, 3}}, {{4, 5, 6}, t}, {t, 1, {1}}, {{}, 1, t},\n"
    "        {first, t, t}}\n"
    "      for i = 1, #args do\n"
    "        local a = args[i]\n"
    "        n = n + try(k, f, a[1], a[2], a[3], a[4], a[5])\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  return n\n"
    "end\n"
    "return {f = function() return all('_ENV', _ENV, {}) > 1000 and 'done' end}\n";
  rig r;
  (void)state;
  memset(&r, 0, sizeof r);
  failing_alloc_init(&r.mem, 0);
  assert_int_equal(llmd__lua_open(&r.lua, &r.mem.a, (size_t)4 << 20), 0);
  r.lua.host = &r.host;
  r.limits.instructions = 100000000;
  assert_int_equal(rig_load(&r, text), 0);
  assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), 0);
  int rc = rig_call(&r, "f");
  if (rc != 0)
    print_message("# %d: %s\n", rc, r.lua.trouble);
  assert_int_equal(rc, 0);
  assert_string_equal(r.text, "done");
  rig_close(&r);
}

/* ---- variables -------------------------------------------------------------------------------------------------- */

static const struct {
  const char *load, *write, *read, *value, *name;
} upvalues[] = {
  {"local n = 0", "n = n + 1", "n", "0", "'n' was changed"},
  {"local n", "n = 1", "n", "nil", "'n' was changed"},
  {"local n = 1", "n = 1.0", "n", "1", "'n' was changed"},
  {"local n = 0.0", "n = -n", "n", "0.0", "'n' was changed"},
  {"local n = 'a'", "n = n .. 'b'", "n", "a", "'n' was changed"},
  {"local n = true", "n = false", "n", "true", "'n' was changed"},
  {"local n = {x = 1}", "n = {x = 2}", "n.x", "1", "'n' was changed"},
  {"local n = function() return 1 end", "n = function() return 2 end", "n()", "1", "'n' was changed"},
  {"local n = 0 local function up() n = n + 1 end", "up()", "n", "0", "'n' was changed"},
  {"local n = 0 local o = {deep = {up = function() n = n + 1 end}}", "o.deep.up()", "n", "0", "'n' was changed"},
  {"local n = 0 function up() n = n + 1 end", "up()", "n", "0", "'n' was changed"},
  {"local n = 0 local function make() return function() n = n + 1 end end", "make()()", "n", "0", "'n' was changed"},
  {"local function make() local n = 0 return function(d) n = n + d return n end end local up = make()", "up(1)",
   "up(0)", "0",
   "'n' was changed"},
  {"x = 7", "_ENV = {x = 8, tostring = tostring}", "x", "7", "'_ENV' was changed"},
};

static void variables_have_their_values_again(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof upvalues / sizeof upvalues[0]; i++) {
    char text[1024];
    rig r;
    snprintf(text, sizeof text, "%s\nreturn {f = function() %s end, g = function() return tostring(%s) end}",
             upvalues[i].load, upvalues[i].write, upvalues[i].read);
    rig_start(&r, text);
    assert_non_null(r.lua.guard);
    for (int k = 0; k < 2; k++) {
      assert_int_equal(rig_call(&r, "f"), LLMD_E_PLUGIN);
      if (strstr(r.lua.trouble, upvalues[i].name) == NULL)
        print_message("# %s: %s\n", text, r.lua.trouble);
      assert_non_null(strstr(r.lua.trouble, upvalues[i].name));
      assert_int_equal(rig_call(&r, "g"), 0);
      assert_string_equal(r.text, upvalues[i].value);
    }
    rig_close(&r);
  }
}

/* Whatever ends the call, and its code stays what it was. */
static void variables_are_restored_after_failures(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local n = 0 return {f = function() n = 1 error('x') end, h = function() n = 2 while true do end end, "
                "m = function() n = 3 local t = {} while true do t[#t + 1] = {} end end, g = function() return n end}");
  static const struct {
    const char *name;
    int code;
  } calls[] = {{"f", LLMD_E_PLUGIN}, {"h", LLMD_E_LIMIT}, {"m", LLMD_E_NOMEM}};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    assert_int_equal(rig_call(&r, calls[i].name), calls[i].code);
    assert_null(strstr(r.lua.trouble, "was changed"));
    assert_int_equal(rig_call(&r, "g"), 0);
    assert_string_equal(r.text, "0");
  }
  rig_close(&r);
}

static void writing_the_same_value_is_no_change(void **state)
{
  (void)state;
  assert_gives("local n, nan = 5, 0 / 0 return {f = function() n = n + 1 n = n - 1 nan = nan return n end}", "5");
}

static void without_writers_there_is_no_guard(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local n, t = 0, {} n = n + 1 t.x = n return {f = function() local m = n m = m + 1 return m + t.x "
                "end}");
  assert_null(r.lua.guard);
  assert_int_equal(r.lua.scan, 0);
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_equal(r.text, "3");
  rig_close(&r);
}

/* ---- what cannot be kept ---------------------------------------------------------------------------------------- */

static int closure(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

static int plant(lua_State *L)
{
  lua_newtable(L);
  lua_pushcclosure(L, closure, 1);
  lua_setglobal(L, "planted");
  return 0;
}

static void what_cannot_be_kept_is_refused(void **state)
{
  static const char *const texts[] = {
    "local it, st = pairs({a = 1}) return {f = function() return st end}",
    "local it, st = pairs({a = 1}) local t = {{st}} return {f = function() return t end}",
    "local it, st = pairs({a = 1}) kept = st return {}",
    "local it, st = pairs({a = 1}) local t = {} t[st] = 1 return {f = function() return t end}",
  };
  rig r;
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
    assert_int_equal(rig_load(&r, texts[i]), 0);
    assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), LLMD_E_TYPE);
    assert_non_null(strstr(r.err.text, "cannot be kept"));
    rig_close(&r);
  }
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, NULL, plant, NULL), 0);
  assert_int_equal(rig_load(&r, "return {}"), 0);
  assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), LLMD_E_TYPE);
  rig_close(&r);
}

static int look_at_module(lua_State *L)
{
  rig *r = lua_touserdata(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  if (lua_getmetatable(L, -1) || lua_getfield(L, -1, "params") != LUA_TTABLE || lua_getmetatable(L, -1))
    return luaL_error(L, "the module has been changed");
  lua_getfield(L, -1, "queue");
  if (lua_getmetatable(L, -1) || lua_getfield(L, -1, "default") != LUA_TNUMBER)
    return luaL_error(L, "the parameters have been changed");
  snprintf(r->text, sizeof r->text, "%s", lua_tostring(L, -1));
  return 0;
}

/* Also when its functions can reach it: they see a copy. */
static void the_module_itself_is_not_changed(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local M = {params = {queue = {default = 2}}} function M.f() return M.params.queue.default end "
                "function M.h() M.params.queue.default = 3 end return M");
  assert_int_equal(llmd__lua_call(&r.lua, NULL, look_at_module, &r), 0);
  assert_string_equal(r.text, "2");
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_equal(r.text, "2");
  assert_int_equal(rig_call(&r, "h"), LLMD_E_PLUGIN);
  rig_close(&r);
}

/* ---- for C ------------------------------------------------------------------------------------------------------ */

static int use_proxies(lua_State *L)
{
  lua_newtable(L);
  lua_pushinteger(L, 5);
  lua_rawseti(L, -2, 1);
  llmd__lua_check_writable(L, -1);
  lua_pushvalue(L, -1);
  llmd__lua_protect(L);
  if (lua_rawlen(L, -1) != 0 || luaL_len(L, -1) != 1 || lua_rawequal(L, -1, -2))
    return luaL_error(L, "this is no proxy");
  lua_pushvalue(L, -1);
  if (!llmd__lua_unwrap(L, -1) || !lua_rawequal(L, -1, -3) || llmd__lua_unwrap(L, -1))
    return luaL_error(L, "this is not the real one");
  lua_pop(L, 1);
  int top = lua_gettop(L);
  lua_pushvalue(L, top);
  if (!llmd__lua_unwrap(L, top + 1) || lua_gettop(L) != top + 1 || !lua_rawequal(L, -1, top - 1))
    return luaL_error(L, "by its number it is another one");
  lua_pushnil(L);
  if (llmd__lua_unwrap(L, -1) || !lua_isnil(L, -1))
    return luaL_error(L, "nil is no table");
  lua_settop(L, top);
  llmd__lua_check_writable(L, top);
  return 0;
}

static void proxies_from_c(void **state)
{
  rig r;
  (void)state;
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, NULL, use_proxies, NULL), LLMD_E_PLUGIN);
  assert_non_null(strstr(r.lua.trouble, "this table is read-only"));
  rig_close(&r);
}

/* A thousand tables in a ring, and a thousand inside one another. */
static void depth_and_cycles(void **state)
{
  rig r;
  (void)state;
  memset(&r, 0, sizeof r);
  failing_alloc_init(&r.mem, 0);
  assert_int_equal(llmd__lua_open(&r.lua, &r.mem.a, (size_t)4 << 20), 0);
  r.limits.instructions = 100000;
  assert_int_equal(rig_load(&r, "local first = {} local at = first for i = 1, 5000 do at.next = {i = i} at = "
                   "at.next end "
                                "at.next = first return {f = function() local n, t = 0, first repeat t = t.next n = "
                                "n + 1 "
                                "until t == first return n end, h = function() first.next.next.next.i = 4 end}"), 0);
  assert_int_equal(llmd__lua_freeze(&r.lua, &r.err), 0);
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_equal(r.text, "5001");
  assert_int_equal(rig_call(&r, "h"), LLMD_E_PLUGIN);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_cannot_be_written),         cmocka_unit_test(the_error_says_what_to_do),
      cmocka_unit_test(frozen_tables_read_as_before),     cmocka_unit_test(locals_of_a_call_may_be_written),
      cmocka_unit_test(variables_have_their_values_again), cmocka_unit_test(variables_are_restored_after_failures),
      cmocka_unit_test(writing_the_same_value_is_no_change), cmocka_unit_test(without_writers_there_is_no_guard),
      cmocka_unit_test(what_cannot_be_kept_is_refused),   cmocka_unit_test(the_module_itself_is_not_changed),
      cmocka_unit_test(no_function_leads_behind_a_proxy),
      cmocka_unit_test(proxies_from_c),                   cmocka_unit_test(depth_and_cycles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
