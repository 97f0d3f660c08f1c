/* What scripts may call is what api.def says, no more and no less, and editors are told the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>

#include "api.h"
#include "api_rig.h"

/* Functions of scripts have no upvalues: these could lead to what a proxy hides. */
static void check_plain(lua_State *L, const char *name)
{
  assert_true(lua_iscfunction(L, -1));
  if (lua_getupvalue(L, -1, 1))
    fail_msg("%s has an upvalue", name);
}

/* Every global and every field of a global table: both states have it, of the same type; constants are equal. */
static void compare(lua_State *L, lua_State *stub, const char *path, int *names)
{
  luaL_checkstack(L, 8, NULL);
  luaL_checkstack(stub, 8, NULL);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    char here[128];
    const char *name = lua_tostring(L, -2);
    int type = lua_type(L, -1);
    snprintf(here, sizeof here, "%s%s%s", path, *path ? "." : "", name);
    lua_pushstring(stub, name);
    if (lua_rawget(stub, -2) != type)
      fail_msg("%s is a %s in the sandbox, and a %s in lua/library/llmd.lua", here, lua_typename(L, type),
               luaL_typename(stub, -1));
    if (type == LUA_TFUNCTION)
      check_plain(L, here);
    if (type == LUA_TNUMBER) {
      double a = lua_tonumber(L, -1), b = lua_tonumber(stub, -1);
      assert_true(a != a ? b != b : a == b);
      assert_int_equal(lua_isinteger(L, -1), lua_isinteger(stub, -1));
    }
    if (type == LUA_TTABLE)
      compare(L, stub, here, names);
    ++*names;
    lua_pop(stub, 1);
    lua_pop(L, 1);
  }
}

/* Every name of the stubs is in the sandbox. */
static void count(lua_State *stub, int *names)
{
  luaL_checkstack(stub, 8, NULL);
  lua_pushnil(stub);
  while (lua_next(stub, -2)) {
    if (lua_type(stub, -1) == LUA_TTABLE)
      count(stub, names);
    ++*names;
    lua_pop(stub, 1);
  }
}

static int compare_with_stubs(lua_State *L)
{
  lua_State *stub = lua_touserdata(L, 1);
  int names = 0, told = 0;
  lua_pushglobaltable(L);
  lua_pushglobaltable(stub);
  compare(L, stub, "", &names);
  lua_settop(stub, 0);
  lua_pushglobaltable(stub);
  count(stub, &told);
  lua_settop(stub, 0);
  print_message("# %d names\n", names);
  assert_int_equal(names, told);
  assert_true(names > 60);
  return 0;
}

static void stubs_are_the_sandbox(void **state)
{
  const char *source = getenv("LLMD_SOURCE");
  char path[1024];
  rig r;
  lua_State *stub = luaL_newstate();
  (void)state;
  assert_non_null(stub);
  assert_non_null(source);
  snprintf(path, sizeof path, "%s/lua/library/llmd.lua", source);
  if (luaL_dofile(stub, path))
    fail_msg("%s", lua_tostring(stub, -1));
  assert_int_equal(rig_open(&r, RIG_MEMORY), 0);
  assert_int_equal(llmd__lua_call(&r.lua, NULL, compare_with_stubs, stub), 0);
  rig_close(&r);
  lua_close(stub);
}

/* Rows of the table, and what they must have. */
static void rows_are_whole(void **state)
{
  static const struct {
    const char *table, *name, *signature, *doc;
  } rows[] = {
#define LLMD__LUA_FUNCTION(table, name, function, signature, doc) {table, #name, signature, doc},
#define LLMD__LUA_BASE(name, signature, doc) {"", #name, signature, doc},
#include "api.def"
  };
  size_t n = sizeof rows / sizeof rows[0];
  (void)state;
  for (size_t i = 0; i < n; i++) {
    assert_true(rows[i].signature[0] == '(');
    assert_true(strlen(rows[i].doc) > 3);
    for (size_t k = 0; k < i; k++)
      assert_false(!strcmp(rows[i].table, rows[k].table) && !strcmp(rows[i].name, rows[k].name));
  }
}

static void nothing_can_be_changed(void **state)
{
  (void)state;
  api_refuses("pcall(error) and 1 or (function() llmd.max = 1 end)()", "");
  api_refuses("(function() math.huge = 1 end)()", "");
  api_refuses("(function() llmd.store.get = nil end)()", "");
  api_refuses("(function() string.x = 1 end)()", "");
  api_gives("llmd.max({1}), ('x'):sub(1)", "1.0 x");
}

/* A policy may keep what it uses often in locals of its own. */
static void functions_in_locals(void **state)
{
  rig r;
  (void)state;
  rig_start(&r, "local max, store, s = llmd.max, llmd.store, string\n"
                "return {f = function() return s.sub('hello', 1, 2) .. max({1, 2}) .. type(store.get) end}");
  assert_int_equal(rig_call(&r, "f"), 0);
  assert_string_equal(r.text, "he2.0function");
  rig_close(&r);
}

/* Memory that runs out anywhere ends the call and nothing else. */
static void too_little_memory(void **state)
{
  static const char *const hungry[] = {
    "table.sort(t, function(a, b) return a < b end)", "u = llmd.normalise(t)", "u = llmd.softmax(t)",
    "u = table.concat(t, ', ')",
    "u = s:split(',')", "u = s:upper()", "u = table.move(t, 1, #t, 1, {})", "u = {table.unpack(t)}"};
  int refused = 0;
  (void)state;
  for (size_t memory = 16 << 10; memory < 64 << 10; memory += 1024)
    for (size_t i = 0; i < sizeof hungry / sizeof hungry[0]; i++) {
      char text[512];
      rig r;
      snprintf(text, sizeof text, "return {f = function() local u, t, s = nil, {}, '' for i = 1, 200 do t[i] = i %% 7 "
               "s = s .. ',' end local all = {} for i = 1, 20 do %s all[i] = u end end}", hungry[i]);
      int rc = rig_open(&r, memory);
      if (!rc)
        rc = rig_load(&r, text);
      if (!rc)
        rc = llmd__lua_freeze(&r.lua, &r.err);
      if (!rc)
        rc = rig_call(&r, "f");
      if (rc == LLMD_E_PLUGIN)
        assert_non_null(strstr(r.lua.trouble, "memory"));
      else
        assert_true(rc == 0 || rc == LLMD_E_NOMEM);
      refused += rc != 0;
      rig_close(&r);
    }
  assert_true(refused > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stubs_are_the_sandbox), cmocka_unit_test(rows_are_whole), cmocka_unit_test(nothing_can_be_changed),
      cmocka_unit_test(functions_in_locals), cmocka_unit_test(too_little_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
