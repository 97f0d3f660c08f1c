/* Nothing that one decision leaves in a state may change a later one: lanes would diverge, and records would not
 * replay. So after load everything that functions can reach is read-only.
 *
 *   function ─ upvalue ─► table            function ─ upvalue ─► proxy ─ metatable ─ __index ─► copy
 *                           └─► table  ==>                       (empty)                         └─► proxy ─► ...
 *   function ─ upvalue ─► 3                function ─ upvalue ─► 3   compared after each call, and put back (guard)
 *
 * Tables are copied rather than changed: the module's own table stays as the policy wrote it, and whoever kept an
 * original sees nothing of it any more. A table reached twice has one proxy. Globals are a table like any other, behind
 * the upvalue _ENV; so is the table behind the methods of strings. The guard costs nothing where the scan found no
 * function that writes an outer variable. */
#include "state.h"

#include <string.h>

#include <lauxlib.h>

/* A proxy's metatable has the real table at [1], which nobody else's has. */
#define REAL 1

static const char guard_key = 0, functions_key = 0, values_key = 0;

/* ---- proxies ---------------------------------------------------------------------------------------------------- */

static int refuse_write(lua_State *L, const char *what)
{
  if (lua_type(L, 2) == LUA_TSTRING)
    return luaL_error(L, "'%s' cannot be set: %s", lua_tostring(L, 2), what);
  return luaL_error(L, "cannot be set: %s", what);
}

static int refuse_global(lua_State *L)
{
  return refuse_write(L, "globals are read-only after load, use llmd.store");
}

static int refuse_field(lua_State *L)
{
  return refuse_write(L, "this table is read-only, use a local one, or llmd.store");
}

static int real_length(lua_State *L)
{
  lua_settop(L, 1);
  llmd__lua_unwrap(L, 1);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

/* Replaces the table on the top by a proxy of it. */
static void wrap(lua_State *L, lua_CFunction refuse)
{
  llmd__lua_stack(L, 4);
  lua_newtable(L);
  lua_createtable(L, 1, 4);
  lua_pushvalue(L, -3);
  lua_rawseti(L, -2, REAL);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, refuse);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, real_length);
  lua_setfield(L, -2, "__len");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
}

void llmd__lua_protect(lua_State *L)
{
  wrap(L, refuse_field);
}

int llmd__lua_unwrap(lua_State *L, int idx)
{
  if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx))
    return 0;
  if (lua_rawgeti(L, -1, REAL) != LUA_TTABLE) {
    lua_pop(L, 2);
    return 0;
  }
  lua_replace(L, idx < 0 ? idx - 2 : idx);
  lua_pop(L, 1);
  return 1;
}

void llmd__lua_check_writable(lua_State *L, int arg)
{
  luaL_checktype(L, arg, LUA_TTABLE);
  if (!lua_getmetatable(L, arg))
    return;
  if (lua_rawgeti(L, -1, REAL) == LUA_TTABLE)
    luaL_argerror(L, arg, "this table is read-only");
  lua_pop(L, 2);
}

/* ---- the walk --------------------------------------------------------------------------------------------------- */

/* Where things stand on the stack of freeze. */
#define SEEN 2    /* [table] = its proxy, [function] = true */
#define QUEUE 3   /* tables and functions yet to be gone through */
#define PLAIN 4   /* [table] = true: tables of the module that were looked through */

static void enqueue(lua_State *L)
{
  llmd__lua_stack(L, 4);
  lua_pushvalue(L, -1);
  lua_rawseti(L, QUEUE, (lua_Integer)lua_rawlen(L, QUEUE) + 1);
}

/* A copy with the same number of fields, still empty. */
static void push_empty_like(lua_State *L, int table)
{
  int n = 0, list = (int)lua_rawlen(L, table);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    n++;
  }
  lua_createtable(L, list, n > list ? n - list : 0);
}

/* Replaces a table on the top by its proxy, whose copy is filled when its turn comes. */
static void convert_table(lua_State *L, lua_CFunction refuse)
{
  int table = lua_gettop(L);
  llmd__lua_stack(L, 8);
  if (lua_getmetatable(L, table)) {
    if (lua_rawgeti(L, -1, REAL) != LUA_TTABLE)
      llmd__lua_refuse(L, "a table with a metatable cannot be kept");
    lua_settop(L, table);
    return;
  }
  lua_pushvalue(L, table);
  if (lua_rawget(L, SEEN) == LUA_TNIL) {
    lua_pop(L, 1);
    enqueue(L);
    push_empty_like(L, table);
    wrap(L, refuse);
    lua_pushvalue(L, table);
    lua_pushvalue(L, -2);
    lua_rawset(L, SEEN);
  }
  lua_replace(L, table);
}

static void convert_function(lua_State *L)
{
  llmd__lua_stack(L, 4);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, SEEN) == LUA_TNIL) {
    lua_pushvalue(L, -2);
    lua_pushboolean(L, 1);
    lua_rawset(L, SEEN);
    lua_pop(L, 1);
    enqueue(L);
    return;
  }
  lua_pop(L, 1);
}

/* The value on the top becomes what may stand in its place. */
static void convert(lua_State *L)
{
  switch (lua_type(L, -1)) {
  case LUA_TTABLE: convert_table(L, refuse_field); break;
  case LUA_TFUNCTION: convert_function(L); break;
  case LUA_TUSERDATA:
  case LUA_TLIGHTUSERDATA:
  case LUA_TTHREAD: llmd__lua_refuse(L, "what pairs gave cannot be kept beyond load"); break;
  default: break;
  }
}

static void go_through_function(lua_State *L)
{
  int f = lua_gettop(L);
  if (lua_iscfunction(L, f)) {
    if (lua_getupvalue(L, f, 1) != NULL)
      llmd__lua_refuse(L, "this function of C cannot be kept beyond load");
    return;
  }
  for (int i = 1; lua_getupvalue(L, f, i) != NULL; i++) {
    int is_table = lua_istable(L, -1);
    convert(L);
    if (is_table)
      lua_setupvalue(L, f, i);
    lua_settop(L, f);
  }
}

static void go_through_table(lua_State *L)
{
  int table = lua_gettop(L), copy = table + 1;
  lua_pushvalue(L, table);
  lua_rawget(L, SEEN);
  llmd__lua_unwrap(L, copy);
  lua_pushnil(L);
  for (uint64_t i = 0; lua_next(L, table); i++) {
    llmd__lua_long(L, i);
    lua_pushvalue(L, -2);
    convert(L);
    lua_insert(L, -2);
    convert(L);
    lua_rawset(L, copy);
  }
}

static void go_through_queue(lua_State *L)
{
  for (lua_Integer n; (n = (lua_Integer)lua_rawlen(L, QUEUE)) > 0;) {
    int top = lua_gettop(L);
    llmd__lua_look(L);
    lua_rawgeti(L, QUEUE, n);
    lua_pushnil(L);
    lua_rawseti(L, QUEUE, n);
    if (lua_istable(L, -1))
      go_through_table(L);
    else
      go_through_function(L);
    lua_settop(L, top);
  }
}

/* The module's tables are looked through for functions, and not changed. PLAIN is a set and, by number, a list of those
 * found. */
static void find_plain(lua_State *L)
{
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, PLAIN) == LUA_TNIL) {
      lua_pushvalue(L, -2);
      lua_pushboolean(L, 1);
      lua_rawset(L, PLAIN);
      lua_pushvalue(L, -2);
      lua_rawseti(L, PLAIN, (lua_Integer)lua_rawlen(L, PLAIN) + 1);
    }
    lua_pop(L, 1);
  } else if (lua_isfunction(L, -1)) {
    convert_function(L);
  }
}

static void go_through_module(lua_State *L)
{
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  find_plain(L);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, PLAIN); i++) {
    lua_settop(L, top);
    lua_rawgeti(L, PLAIN, i);
    lua_pushnil(L);
    while (lua_next(L, top + 1)) {
      find_plain(L);
      lua_pop(L, 1);
      find_plain(L);
    }
  }
  lua_settop(L, top);
}

/* Methods of strings are looked up in the table that was `string` when the state was opened, whatever the global is by
 * now. What they find from here on is the copy of it, which nobody can get at. */
static void go_through_strings(lua_State *L)
{
  int top = lua_gettop(L);
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_getfield(L, -1, "__index");
  convert_table(L, refuse_field);
  llmd__lua_unwrap(L, -1);
  lua_setfield(L, -2, "__index");
  lua_settop(L, top);
}

/* ---- the guard -------------------------------------------------------------------------------------------------- */

typedef struct guarded_upvalue {
  const char *name; /* of the function's */
  int index;
} guarded_upvalue;

typedef struct guard {
  int n;
  guarded_upvalue at[]; /* [n]; the functions and the values stand in two tables, by number from 1 */
} guard;

/* Calls visit for each upvalue of the functions seen, once, with the function below its value on the top; how many. */
static int each_upvalue(lua_State *L, guard *g)
{
  int n = 0, known = lua_gettop(L) + 1;
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, SEEN)) {
    lua_pop(L, 1);
    int f = lua_gettop(L);
    const char *name;
    for (int i = 1; lua_isfunction(L, f) && (name = lua_getupvalue(L, f, i)) != NULL; i++) {
      void *id = lua_upvalueid(L, f, i);
      int again = lua_rawgetp(L, known, id) != LUA_TNIL;
      lua_pop(L, 1);
      if (!again) {
        lua_pushboolean(L, 1);
        lua_rawsetp(L, known, id);
        n++;
      }
      if (!again && g != NULL) {
        g->at[n - 1] = (guarded_upvalue){name, i};
        lua_rawseti(L, known - 1, n);
        lua_pushvalue(L, f);
        lua_rawseti(L, known - 2, n);
      }
      lua_settop(L, f);
    }
  }
  lua_settop(L, known - 1);
  return n;
}

static void set_guard(lua_State *L)
{
  int n = each_upvalue(L, NULL);
  if (n == 0)
    return;
  guard *g = lua_newuserdatauv(L, sizeof *g + (size_t)n * sizeof g->at[0], 0);
  lua_createtable(L, n, 0);
  lua_createtable(L, n, 0);
  g->n = each_upvalue(L, g);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &values_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &guard_key);
  llmd__lua_state(L)->guard = g;
}

/* Are the two values on the top the same, to the bit? 1 and 1.0 are equal, and a script can tell them apart. */
static int same(lua_State *L)
{
  if (lua_type(L, -1) != LUA_TNUMBER || lua_type(L, -2) != LUA_TNUMBER)
    return lua_rawequal(L, -1, -2);
  if (lua_isinteger(L, -1) != lua_isinteger(L, -2))
    return 0;
  if (lua_isinteger(L, -1))
    return lua_tointeger(L, -1) == lua_tointeger(L, -2);
  lua_Number a = lua_tonumber(L, -1), b = lua_tonumber(L, -2);
  return memcmp(&a, &b, sizeof a) == 0;
}

int llmd__lua_restore(llmd__lua *s, const char **name)
{
  lua_State *L = s->L;
  const guard *g = s->guard;
  int rc = 0, functions = lua_gettop(L) + 1, values = functions + 1, f = functions + 2;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &values_key);
  for (int i = 1; i <= g->n; i++) {
    const guarded_upvalue *u = &g->at[i - 1];
    lua_rawgeti(L, functions, i);
    lua_getupvalue(L, f, u->index);
    lua_rawgeti(L, values, i);
    if (!same(L)) {
      lua_setupvalue(L, f, u->index);
      rc = LLMD_E_PLUGIN;
      *name = u->name;
    }
    lua_settop(L, values);
  }
  lua_settop(L, functions - 1);
  return rc;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static int freeze(lua_State *L)
{
  lua_settop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushglobaltable(L);
  convert_table(L, refuse_global);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  go_through_strings(L);
  go_through_module(L);
  go_through_queue(L);
  if (llmd__lua_state(L)->scan & LLMD__LUA_HAS_SETUPVAL)
    set_guard(L);
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

int llmd__lua_freeze(llmd__lua *s, llmd_err *err)
{
  int rc = llmd__lua_call(s, NULL, freeze, NULL);
  return rc == 0 ? 0 : llmd__lua_fail(s, rc, "policy", err);
}
