/* table: Lua's own functions believe what `#` says, and a table with 62 elements can say 2^62. Here every element that
 * may be moved is paid for before the first one moves, and nothing is asked of metatables. */
#include "api.h"

#include <string.h>

#include <lauxlib.h>

#define RESULTS 4096 /* values that one call gives back */

/* ---- one element ------------------------------------------------------------------------------------------------ */

static void check_target(lua_State *L, int arg)
{
  if (lua_type(L, arg) != LUA_TTABLE)
    llmd__lua_expected(L, arg, "table");
  llmd__lua_stack(L, 8);
  llmd__lua_check_writable(L, arg);
}

int llmd__lua_table_insert(lua_State *L)
{
  int n = lua_gettop(L);
  lua_Integer end, at;
  check_target(L, 1);
  end = (lua_Integer)((lua_Unsigned)lua_rawlen(L, 1) + 1);
  if (n != 2 && n != 3)
    return llmd__lua_misused(L, "2 or 3 arguments expected, got %d", n);
  at = n == 2 ? end : lua_isinteger(L, 2) ? lua_tointeger(L, 2) : 0;
  if (at < 1 || at > end)
    return llmd__lua_misused(L, "the position is none of 1 to the length + 1");
  llmd__lua_charge(L, (uint64_t)(end - at) / 4);
  for (lua_Integer i = end; i > at; i--) {
    llmd__lua_long(L, (uint64_t)i);
    lua_rawgeti(L, 1, i - 1);
    llmd__lua_put(L, 1, i);
  }
  lua_settop(L, n);
  llmd__lua_put(L, 1, at);
  return 0;
}

int llmd__lua_table_remove(lua_State *L)
{
  lua_Integer n, at;
  check_target(L, 1);
  n = (lua_Integer)lua_rawlen(L, 1);
  at = llmd__lua_arg_integer_or(L, 2, n);
  if (at != n && (at < 1 || at - 1 > n))
    return llmd__lua_misused(L, "the position is none of 1 to the length + 1");
  llmd__lua_charge(L, at < n ? (uint64_t)(n - at) / 4 : 0);
  lua_settop(L, 1);
  lua_rawgeti(L, 1, at);
  for (; at < n; at++) {
    llmd__lua_long(L, (uint64_t)at);
    lua_rawgeti(L, 1, at + 1);
    llmd__lua_put(L, 1, at);
  }
  lua_pushnil(L);
  llmd__lua_put(L, 1, at);
  return 1;
}

/* ---- many elements ---------------------------------------------------------------------------------------------- */

int llmd__lua_table_move(lua_State *L)
{
  lua_Integer first = llmd__lua_arg_integer(L, 2), last = llmd__lua_arg_integer(L, 3);
  lua_Integer to = llmd__lua_arg_integer(L, 4);
  int target = lua_isnoneornil(L, 5) ? 1 : 5;
  check_target(L, target);
  if (lua_type(L, 1) != LUA_TTABLE)
    return llmd__lua_expected(L, 1, "table");
  lua_settop(L, 5);
  if (last >= first) {
    lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first; /* one less than there are */
    int same = target == 1 || lua_rawequal(L, 1, target);
    if (n >= LLMD__LUA_LIST || to > LUA_MAXINTEGER - (lua_Integer)n)
      return llmd__lua_misused(L, "too many elements");
    llmd__lua_charge(L, n / 4 + 1);
    llmd__lua_unwrap(L, 1);
    if (same && to > first && to <= last)
      for (lua_Integer i = (lua_Integer)n; i >= 0; i--) {
        llmd__lua_long(L, (uint64_t)i);
        lua_rawgeti(L, 1, first + i);
        llmd__lua_put(L, target, to + i);
      }
    else
      for (lua_Integer i = 0; i <= (lua_Integer)n; i++) {
        llmd__lua_long(L, (uint64_t)i);
        lua_rawgeti(L, 1, first + i);
        llmd__lua_put(L, target, to + i);
      }
  }
  lua_settop(L, target);
  return 1;
}

int llmd__lua_table_unpack(lua_State *L)
{
  lua_Integer i = llmd__lua_arg_integer_or(L, 2, 1), j;
  lua_Unsigned n;
  if (lua_type(L, 1) != LUA_TTABLE)
    return llmd__lua_expected(L, 1, "table");
  llmd__lua_stack(L, 4);
  llmd__lua_unwrap(L, 1);
  j = llmd__lua_arg_integer_or(L, 3, (lua_Integer)lua_rawlen(L, 1));
  if (i > j)
    return 0;
  n = (lua_Unsigned)j - (lua_Unsigned)i;
  if (n >= RESULTS)
    return llmd__lua_misused(L, "more than %d results", RESULTS);
  llmd__lua_stack(L, (int)n + 1);
  llmd__lua_charge(L, n / 4);
  for (lua_Unsigned k = 0; k <= n; k++)
    lua_rawgeti(L, 1, (lua_Integer)((lua_Unsigned)i + k));
  return (int)n + 1;
}

/* ---- concat ----------------------------------------------------------------------------------------------------- */

/* The text of list[i], which is pushed: a string, or a number's digits in buf. */
static const char *piece(lua_State *L, lua_Integer i, size_t *len, char buf[LLMD__LUA_NUMBER_ROOM])
{
  int type = lua_rawgeti(L, 1, i);
  if (type == LUA_TSTRING)
    return lua_tolstring(L, -1, len);
  if (type != LUA_TNUMBER)
    llmd__lua_misused(L, "element %I: string or number expected, got %s", (LUAI_UACINT)i, lua_typename(L, type));
  *len = llmd__lua_number_text(L, -1, buf);
  return buf;
}

/* Bytes of the result; its limit is that of every string. */
static size_t measure(lua_State *L, lua_Integer i, lua_Integer j, size_t between)
{
  char buf[LLMD__LUA_NUMBER_ROOM];
  size_t total = 0;
  for (lua_Integer k = i; k <= j; k++) {
    size_t len;
    piece(L, k, &len, buf);
    lua_pop(L, 1);
    total += len + (k < j ? between : 0);
    if (total > LLMD__LUA_STRING)
      llmd__lua_misused(L, "a text of more than %d bytes", (int)LLMD__LUA_STRING);
  }
  llmd__lua_charge(L, total / 16);
  return total;
}

int llmd__lua_table_concat(lua_State *L)
{
  char buf[LLMD__LUA_NUMBER_ROOM], *out, *at;
  size_t between = 0, total;
  const char *separator = lua_isnoneornil(L, 2) ? "" : llmd__lua_arg_text(L, 2, &between);
  lua_Integer i = llmd__lua_arg_integer_or(L, 3, 1), j;
  if (lua_type(L, 1) != LUA_TTABLE)
    return llmd__lua_expected(L, 1, "table");
  llmd__lua_stack(L, 8);
  llmd__lua_unwrap(L, 1);
  j = llmd__lua_arg_integer_or(L, 4, (lua_Integer)lua_rawlen(L, 1));
  if (i > j) {
    lua_pushliteral(L, "");
    return 1;
  }
  if ((lua_Unsigned)j - (lua_Unsigned)i >= LLMD__LUA_LIST || j == LUA_MAXINTEGER)
    return llmd__lua_misused(L, "too many elements");
  llmd__lua_charge(L, (uint64_t)(j - i) + 1);
  total = measure(L, i, j, between);
  out = at = lua_newuserdatauv(L, total + 1, 0);
  for (lua_Integer k = i; k <= j; k++) {
    size_t len;
    const char *text = piece(L, k, &len, buf);
    memcpy(at, text, len);
    at += len;
    if (k < j) {
      memcpy(at, separator, between);
      at += between;
    }
    lua_pop(L, 1);
  }
  lua_pushlstring(L, out, total);
  return 1;
}
