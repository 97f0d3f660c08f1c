/* table.sort: a merge sort from the bottom up. It is stable, takes the same steps on every machine, and ends after n log n
 * comparisons whatever the comparison answers.
 *
 * It works on a copy that no script sees: values in a table, their order as numbers in two halves of one block. A
 * comparison may change the list or fail: what it leaves is overwritten, or stays as it was. */
#include "api.h"

#include <string.h>

#include <lauxlib.h>

/* Where things lie on the stack. */
enum { LIST = 1, BEFORE = 2, VALUES = 3, ORDERS = 4 };

/* Numbers with NaN last; texts byte by byte. Both are of one kind (check_kinds). */
static int naturally_before(lua_State *L)
{
  size_t n, m;
  const char *a, *b;
  int order;
  if (lua_type(L, -2) == LUA_TNUMBER) {
    double y = lua_tonumber(L, -1), x = lua_tonumber(L, -2);
    return y != y ? x == x : lua_compare(L, -2, -1, LUA_OPLT);
  }
  a = lua_tolstring(L, -2, &n);
  b = lua_tolstring(L, -1, &m);
  llmd__lua_charge(L, (n < m ? n : m) / 16);
  order = memcmp(a, b, n < m ? n : m);
  return order ? order < 0 : n < m;
}

/* Does the a-th value come before the b-th? */
static int before(lua_State *L, uint32_t a, uint32_t b)
{
  int top = lua_gettop(L), result;
  if (lua_isnil(L, BEFORE)) {
    lua_rawgeti(L, VALUES, a);
    lua_rawgeti(L, VALUES, b);
    result = naturally_before(L);
  } else {
    lua_pushvalue(L, BEFORE);
    lua_rawgeti(L, VALUES, a);
    lua_rawgeti(L, VALUES, b);
    lua_call(L, 2, 1);
    result = lua_toboolean(L, -1);
  }
  lua_settop(L, top);
  return result;
}

/* from[lo, mid) and from[mid, hi), both sorted, become to[lo, hi). Of equals the left one goes first. */
static void merge(lua_State *L, const uint32_t *from, uint32_t *to, uint32_t lo, uint32_t mid, uint32_t hi)
{
  uint32_t a = lo, b = mid;
  if (mid >= hi || !before(L, from[mid], from[mid - 1])) {
    memcpy(to + lo, from + lo, (hi - lo) * sizeof *to);
    return;
  }
  for (uint32_t i = lo; i < hi; i++)
    to[i] = a < mid && (b >= hi || !before(L, from[b], from[a])) ? from[a++] : from[b++];
}

/* The order of n values: a place in the block at ORDERS. */
static const uint32_t *sorted(lua_State *L, uint32_t n)
{
  uint32_t *from = lua_touserdata(L, ORDERS), *to = from + n, *other;
  for (uint32_t i = 0; i < n; i++)
    from[i] = i + 1;
  for (uint32_t width = 1; width < n; width *= 2) {
    llmd__lua_charge(L, n);
    for (uint32_t lo = 0; lo < n; lo += 2 * width) {
      uint32_t mid = n - lo < width ? n : lo + width, hi = n - mid < width ? n : mid + width;
      merge(L, from, to, lo, mid, hi);
    }
    other = from;
    from = to;
    to = other;
  }
  return from;
}

static void check_kinds(lua_State *L, uint32_t n)
{
  int kind = LUA_TNONE;
  for (uint32_t i = 1; i <= n; i++) {
    int type = lua_rawgeti(L, VALUES, i);
    lua_pop(L, 1);
    if (type != LUA_TNUMBER && type != LUA_TSTRING)
      llmd__lua_misused(L, "element %d: number or string expected, got %s", (int)i, lua_typename(L, type));
    if (kind != LUA_TNONE && type != kind)
      llmd__lua_misused(L, "numbers and strings have no common order");
    kind = type;
  }
}

int llmd__lua_table_sort(lua_State *L)
{
  const uint32_t *order;
  uint32_t n;
  lua_settop(L, 2);
  if (!lua_isnil(L, BEFORE))
    llmd__lua_arg_function(L, BEFORE);
  if (lua_type(L, LIST) == LUA_TTABLE)
    llmd__lua_check_writable(L, LIST);
  n = llmd__lua_arg_list(L, LIST, 0, 4);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 1; i <= n; i++) {
    lua_rawgeti(L, LIST, i);
    lua_rawseti(L, VALUES, i);
  }
  if (lua_isnil(L, BEFORE))
    check_kinds(L, n);
  lua_newuserdatauv(L, (n + 1) * 2 * sizeof *order, 0);
  order = sorted(L, n);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, VALUES, order[i]);
    llmd__lua_put(L, LIST, (lua_Integer)i + 1);
  }
  return 0;
}
