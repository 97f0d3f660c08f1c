/* table.sort: a merge sort from the bottom up. It is stable, takes the same steps on every machine, and ends after n log n
 * comparisons whatever the comparison answers.
 *
 * It works on a copy that no script sees: the values lie on the stack, and what moves is their order. A comparison may
 * change the list or fail: what it leaves is overwritten, or stays as it was. Only long lists leave garbage. */
#include "api.h"

#include <string.h>

#include <lauxlib.h>

#define SHORT 64u

/* Where things lie on the stack: the a-th value at VALUES + a. */
enum { LIST = 1, BEFORE = 2, VALUES = 3 };

/* Numbers with NaN last; texts byte by byte. Both are of one kind (check_kinds). */
static int naturally_before(lua_State *L, int a, int b)
{
  size_t n, m;
  const char *p, *q;
  int order;
  if (lua_type(L, a) == LUA_TNUMBER) {
    double x = lua_tonumber(L, a), y = lua_tonumber(L, b);
    return y != y ? x == x : lua_compare(L, a, b, LUA_OPLT);
  }
  p = lua_tolstring(L, a, &n);
  q = lua_tolstring(L, b, &m);
  llmd__lua_charge(L, (n < m ? n : m) / 16);
  order = memcmp(p, q, n < m ? n : m);
  return order ? order < 0 : n < m;
}

/* Does the a-th value come before the b-th? */
static int before(lua_State *L, uint32_t a, uint32_t b)
{
  int result;
  if (lua_isnil(L, BEFORE))
    return naturally_before(L, VALUES + (int)a, VALUES + (int)b);
  lua_pushvalue(L, BEFORE);
  lua_pushvalue(L, VALUES + (int)a);
  lua_pushvalue(L, VALUES + (int)b);
  lua_call(L, 2, 1);
  result = lua_toboolean(L, -1);
  lua_pop(L, 1);
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
  for (uint32_t i = lo; i < hi; i++) {
    llmd__lua_long(L, i);
    to[i] = a < mid && (b >= hi || !before(L, from[b], from[a])) ? from[a++] : from[b++];
  }
}

/* The order of n values: somewhere in the 2n numbers of work. */
static const uint32_t *sorted(lua_State *L, uint32_t *work, uint32_t n)
{
  uint32_t *from = work, *to = work + n, *other;
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
    int type = lua_type(L, VALUES + (int)i);
    if (type != LUA_TNUMBER && type != LUA_TSTRING)
      llmd__lua_misused(L, "element %d: number or string expected, got %s", (int)i, lua_typename(L, type));
    if (kind != LUA_TNONE && type != kind)
      llmd__lua_misused(L, "numbers and strings have no common order");
    kind = type;
  }
}

int llmd__lua_table_sort(lua_State *L)
{
  uint32_t here[2 * SHORT], *work = here, n;
  const uint32_t *order;
  lua_settop(L, 2);
  if (!lua_isnil(L, BEFORE))
    llmd__lua_arg_function(L, BEFORE);
  if (lua_type(L, LIST) == LUA_TTABLE)
    llmd__lua_check_writable(L, LIST);
  n = llmd__lua_arg_list(L, LIST, 0, 4);
  if (n > SHORT)
    work = lua_newuserdatauv(L, 2 * (size_t)n * sizeof *work, 0);
  lua_settop(L, VALUES);
  llmd__lua_stack(L, (int)n + 8);
  for (uint32_t i = 1; i <= n; i++)
    lua_rawgeti(L, LIST, i);
  if (lua_isnil(L, BEFORE))
    check_kinds(L, n);
  order = sorted(L, work, n);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushvalue(L, VALUES + (int)order[i]);
    llmd__lua_put(L, LIST, (lua_Integer)i + 1);
  }
  return 0;
}
