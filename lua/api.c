/* The libraries that scripts have, out of one table (api.def), and how their functions look at arguments. */
#include "api.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>

typedef struct row {
  const char *table, *name;
  lua_CFunction function; /* NULL: a constant */
  const char *signature;
} row;

static const row rows[] = {
#define LLMD__LUA_FUNCTION(table, name, function, signature, doc) {table, #name, function, signature},
#include "api.def"
};
#define ROWS (sizeof rows / sizeof rows[0])

/* ---- registration ----------------------------------------------------------------------------------------------- */

/* Pushes the table of that name ("llmd", "llmd.store") of the one at index; makes it when it is not there. */
static void push_table(lua_State *L, int globals, const char *path)
{
  const char *dot = strchr(path, '.');
  lua_pushvalue(L, globals);
  for (const char *at = path; at; at = dot ? dot + 1 : NULL) {
    dot = strchr(at, '.');
    lua_pushlstring(L, at, dot ? (size_t)(dot - at) : strlen(at));
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, -5);
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
}

static void add_constants(lua_State *L, int globals)
{
#define LLMD__LUA_NUMBER(table, name, value, doc) \
  push_table(L, globals, table);                  \
  lua_pushnumber(L, value);                       \
  lua_setfield(L, -2, #name);                     \
  lua_pop(L, 1);
#define LLMD__LUA_INTEGER(table, name, value, doc) \
  push_table(L, globals, table);                   \
  lua_pushinteger(L, value);                       \
  lua_setfield(L, -2, #name);                      \
  lua_pop(L, 1);
#include "api.def"
}

/* text:sub(1, 3) finds sub in the table that scripts know as `string`, and nothing else. */
static void add_methods(lua_State *L, int globals)
{
  lua_pushliteral(L, "");
  lua_createtable(L, 0, 1);
  push_table(L, globals, "string");
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

void llmd__lua_open_api(lua_State *L)
{
  int globals = lua_gettop(L);
  llmd__lua_stack(L, 8);
  add_constants(L, globals);
  for (size_t i = 0; i < ROWS; i++) {
    push_table(L, globals, rows[i].table);
    lua_pushcfunction(L, rows[i].function);
    lua_setfield(L, -2, rows[i].name);
    lua_pop(L, 1);
  }
  add_methods(L, globals);
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* The row of the function that runs. */
static const row *running(lua_State *L)
{
  lua_Debug ar;
  lua_CFunction function = NULL;
  if (lua_getstack(L, 0, &ar) && lua_getinfo(L, "f", &ar)) {
    function = lua_tocfunction(L, -1);
    lua_pop(L, 1);
  }
  for (size_t i = 0; i < ROWS; i++)
    if (rows[i].function == function)
      return &rows[i];
  return NULL;
}

/* Pushes "llmd.clamp", or only "find" where a function stands in several tables. */
static const char *push_name(lua_State *L, const row *r)
{
  size_t n = 0;
  for (size_t i = 0; r && i < ROWS; i++)
    n += rows[i].function == r->function;
  if (n == 1)
    return lua_pushfstring(L, "%s.%s", r->table, r->name);
  return lua_pushstring(L, r ? r->name : "?");
}

/* Pushes the name of the n-th argument out of "(x: number, lo?: number, visit: fun(a: any, b: any))". */
static const char *push_argument(lua_State *L, const row *r, int n)
{
  const char *at = r ? r->signature + 1 : "";
  for (int depth = 0; n > 1 && *at; at++) {
    depth += (*at == '(') - (*at == ')');
    if (depth < 0)
      break;
    if (*at == ',' && !depth) {
      n--;
      at += 1 + (at[1] == ' ');
      at--;
    }
  }
  size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
  return n == 1 && len ? lua_pushlstring(L, at, len) : lua_pushliteral(L, "an argument");
}

int llmd__lua_expected(lua_State *L, int arg, const char *what)
{
  const row *r = running(L);
  const char *got = luaL_typename(L, arg);
  const char *name = push_name(L, r);
  return luaL_error(L, "%s: %s expected for %s, got %s", name, what, push_argument(L, r, arg), got);
}

int llmd__lua_misused(lua_State *L, const char *fmt, ...)
{
  va_list ap;
  luaL_where(L, 1);
  push_name(L, running(L));
  lua_pushliteral(L, ": ");
  va_start(ap, fmt);
  lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  lua_concat(L, 4);
  return lua_error(L);
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

double llmd__lua_arg_number(lua_State *L, int arg)
{
  if (lua_type(L, arg) != LUA_TNUMBER)
    llmd__lua_expected(L, arg, "number");
  return lua_tonumber(L, arg);
}

double llmd__lua_arg_number_or(lua_State *L, int arg, double otherwise)
{
  return lua_isnoneornil(L, arg) ? otherwise : llmd__lua_arg_number(L, arg);
}

lua_Integer llmd__lua_arg_integer(lua_State *L, int arg)
{
  int whole = 0;
  lua_Integer i = 0;
  if (lua_type(L, arg) == LUA_TNUMBER)
    i = lua_tointegerx(L, arg, &whole);
  if (!whole)
    llmd__lua_expected(L, arg, "integer");
  return i;
}

lua_Integer llmd__lua_arg_integer_or(lua_State *L, int arg, lua_Integer otherwise)
{
  return lua_isnoneornil(L, arg) ? otherwise : llmd__lua_arg_integer(L, arg);
}

const char *llmd__lua_arg_text(lua_State *L, int arg, size_t *len)
{
  if (lua_type(L, arg) != LUA_TSTRING)
    llmd__lua_expected(L, arg, "string");
  return lua_tolstring(L, arg, len);
}

void llmd__lua_arg_function(lua_State *L, int arg)
{
  if (lua_type(L, arg) != LUA_TFUNCTION)
    llmd__lua_expected(L, arg, "function");
}

/* ---- lists ------------------------------------------------------------------------------------------------------ */

uint32_t llmd__lua_arg_list(lua_State *L, int arg, int n_arg, uint32_t cost)
{
  int given = n_arg && !lua_isnoneornil(L, n_arg);
  lua_Integer n = given ? llmd__lua_arg_integer(L, n_arg) : 0;
  if (lua_type(L, arg) != LUA_TTABLE)
    llmd__lua_expected(L, arg, "table");
  if (n < 0)
    llmd__lua_misused(L, "n is negative");
  llmd__lua_stack(L, 8);
  llmd__lua_unwrap(L, arg);
  if (!given)
    n = (lua_Integer)lua_rawlen(L, arg);
  if (n > LLMD__LUA_LIST)
    llmd__lua_misused(L, "a list of more than %d elements", LLMD__LUA_LIST);
  llmd__lua_charge(L, 1 + (uint64_t)n * cost / 4);
  return (uint32_t)n;
}

double llmd__lua_at(lua_State *L, int arg, uint32_t i)
{
  double x = (double)NAN;
  int type = lua_rawgeti(L, arg, i);
  llmd__lua_long(L, i);
  if (type == LUA_TNUMBER)
    x = lua_tonumber(L, -1);
  else if (type != LUA_TNIL)
    llmd__lua_misused(L, "element %d: number expected, got %s", (int)i, lua_typename(L, type));
  lua_pop(L, 1);
  return x;
}

void llmd__lua_arg_target(lua_State *L, int arg, uint32_t n)
{
  if (!lua_isnoneornil(L, arg)) {
    if (lua_type(L, arg) != LUA_TTABLE)
      llmd__lua_expected(L, arg, "table");
    llmd__lua_check_writable(L, arg);
    return;
  }
  if (lua_gettop(L) < arg)
    lua_settop(L, arg);
  lua_createtable(L, (int)n, 0);
  lua_replace(L, arg);
}

void llmd__lua_put(lua_State *L, int arg, lua_Integer i)
{
  if (lua_getmetatable(L, arg)) {
    lua_pop(L, 1);
    lua_seti(L, arg, i);
  } else
    lua_rawseti(L, arg, i);
}
