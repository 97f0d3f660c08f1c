/* llmd: what policies do with columns. A value that nobody knows (NaN, nil) is never the best, never counts, and stays
 * unknown: an endpoint gains nothing by not telling. */
#include "api.h"

#include <math.h>

#include <lauxlib.h>

/* ---- one number ------------------------------------------------------------------------------------------------- */

int llmd__lua_llmd_known(lua_State *L)
{
  double x;
  int known = !lua_isnoneornil(L, 1);
  if (lua_type(L, 1) == LUA_TNUMBER) {
    x = lua_tonumber(L, 1);
    known = x == x;
  } else if (lua_type(L, 1) == LUA_TSTRING)
    known = lua_rawlen(L, 1) > 0;
  lua_pushboolean(L, known);
  return 1;
}

/* What comes out is one of the arguments as it is, so integers stay integers. */
int llmd__lua_llmd_clamp(lua_State *L)
{
  int result = 1;
  for (int i = 1; i <= 3; i++)
    llmd__lua_arg_number(L, i);
  if (!lua_compare(L, 2, 3, LUA_OPLE))
    return llmd__lua_misused(L, "lo is not below hi");
  if (lua_compare(L, 1, 2, LUA_OPLT))
    result = 2;
  else if (lua_compare(L, 3, 1, LUA_OPLT))
    result = 3;
  lua_pushvalue(L, result);
  return 1;
}

/* ---- a list ----------------------------------------------------------------------------------------------------- */

/* Index of the largest (sign 1) or smallest (-1) known number of the n in argument 1; 0 = none. */
static uint32_t best_of(lua_State *L, uint32_t n, double sign, double *out)
{
  uint32_t best = 0;
  for (uint32_t i = 1; i <= n; i++) {
    double x = llmd__lua_at(L, 1, i);
    if (x == x && (!best || x * sign > *out * sign)) {
      *out = x;
      best = i;
    }
  }
  return best;
}

static int push_best(lua_State *L, double sign, int index)
{
  double x = (double)NAN;
  uint32_t best = best_of(L, llmd__lua_arg_list(L, 1, 2, 1), sign, &x);
  if (!index)
    lua_pushnumber(L, x);
  else if (best)
    lua_pushinteger(L, best);
  else
    lua_pushnil(L);
  return 1;
}

int llmd__lua_llmd_max(lua_State *L)
{
  return push_best(L, 1, 0);
}

int llmd__lua_llmd_min(lua_State *L)
{
  return push_best(L, -1, 0);
}

int llmd__lua_llmd_argmax(lua_State *L)
{
  return push_best(L, 1, 1);
}

int llmd__lua_llmd_argmin(lua_State *L)
{
  return push_best(L, -1, 1);
}

static uint32_t add_up(lua_State *L, double *sum)
{
  uint32_t n = llmd__lua_arg_list(L, 1, 2, 1), known = 0;
  *sum = 0;
  for (uint32_t i = 1; i <= n; i++) {
    double x = llmd__lua_at(L, 1, i);
    if (x == x) {
      *sum += x;
      known++;
    }
  }
  return known;
}

int llmd__lua_llmd_sum(lua_State *L)
{
  double sum;
  add_up(L, &sum);
  lua_pushnumber(L, sum);
  return 1;
}

int llmd__lua_llmd_mean(lua_State *L)
{
  double sum;
  uint32_t known = add_up(L, &sum);
  lua_pushnumber(L, known ? sum / known : (double)NAN);
  return 1;
}

/* ---- from list to list ------------------------------------------------------------------------------------------ */

/* Least and greatest of the finite numbers; 0 = there is none. */
static int range_of(lua_State *L, uint32_t n, double *lo, double *hi)
{
  int found = 0;
  for (uint32_t i = 1; i <= n; i++) {
    double x = llmd__lua_at(L, 1, i);
    if (x - x != 0)
      continue;
    *lo = !found || x < *lo ? x : *lo;
    *hi = !found || x > *hi ? x : *hi;
    found = 1;
  }
  return found;
}

/* Where x lies between lo and hi: 0 to 1. What is infinite lies at an end. */
static double place_of(double x, double lo, double hi)
{
  double span = hi - lo;
  if (x != x || x >= hi || x <= lo)
    return x != x ? x : x >= hi ? 1 : 0;
  return span - span == 0 ? (x - lo) / span : (x / 2 - lo / 2) / (hi / 2 - lo / 2);
}

/* The result is that of a list turned round (sign -1) or as it is. It may be the list itself. */
static int spread(lua_State *L, double sign)
{
  double lo = 0, hi = 0;
  uint32_t n = llmd__lua_arg_list(L, 1, 3, 3);
  int found = range_of(L, n, &lo, &hi);
  llmd__lua_arg_target(L, 2, n);
  if (!found)
    lo = hi = 0;
  for (uint32_t i = 1; i <= n; i++) {
    double x = llmd__lua_at(L, 1, i);
    lua_pushnumber(L, sign > 0 ? place_of(x, lo, hi) : place_of(-x, -hi, -lo));
    llmd__lua_put(L, 2, i);
  }
  lua_settop(L, 2);
  return 1;
}

int llmd__lua_llmd_normalise(lua_State *L)
{
  return spread(L, 1);
}

int llmd__lua_llmd_lower_is_better(lua_State *L)
{
  return spread(L, -1);
}

/* exp((x - largest) / temperature): the largest has weight 1, so that the sum is no less, and nothing overflows. */
static double weight_of(lua_State *L, uint32_t i, double largest, double temperature)
{
  double x = llmd__lua_at(L, 1, i);
  return x != x || largest - largest != 0 ? 0 : llmd__lua_exp((x - largest) / temperature);
}

int llmd__lua_llmd_softmax(lua_State *L)
{
  double temperature = llmd__lua_arg_number_or(L, 2, 1), largest = -(double)HUGE_VAL, sum = 0;
  uint32_t n = llmd__lua_arg_list(L, 1, 4, 16);
  if (!(temperature > 0) || temperature - temperature != 0)
    return llmd__lua_misused(L, "the temperature is not above 0");
  best_of(L, n, 1, &largest);
  if (largest > 0 && largest - largest != 0)
    return llmd__lua_misused(L, "a number is infinite");
  llmd__lua_arg_target(L, 3, n);
  for (uint32_t i = 1; i <= n; i++)
    sum += weight_of(L, i, largest, temperature);
  for (uint32_t i = 1; i <= n; i++) {
    double weight = weight_of(L, i, largest, temperature);
    lua_pushnumber(L, sum > 0 ? weight / sum : 0);
    llmd__lua_put(L, 3, i);
  }
  lua_settop(L, 3);
  return 1;
}

int llmd__lua_llmd_each(lua_State *L)
{
  uint32_t n = llmd__lua_arg_list(L, 1, 3, 0);
  llmd__lua_arg_function(L, 2);
  for (uint32_t i = 1; i <= n; i++) {
    llmd__lua_charge(L, 2); /* each time: the function may be one of C, which takes no instruction */
    lua_pushvalue(L, 2);
    lua_rawgeti(L, 1, i);
    lua_pushinteger(L, i);
    lua_call(L, 2, 0);
  }
  return 0;
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

#define DAY 86400
#define FARTHEST 1e15 /* seconds: far beyond any calendar, and exact as a double */

/* Seconds since 1970 of a clock on the wall. */
static lua_Integer local_seconds(lua_State *L)
{
  double wall = llmd__lua_arg_number(L, 1);
  lua_Integer offset = llmd__lua_arg_integer_or(L, 2, 0);
  if (!(wall > -FARTHEST && wall < FARTHEST))
    return llmd__lua_misused(L, "wall is no time");
  if (offset < -1440 || offset > 1440)
    return llmd__lua_misused(L, "offset_minutes is more than a day");
  return (lua_Integer)floor(wall) + offset * 60;
}

static lua_Integer days_of(lua_Integer seconds)
{
  return seconds / DAY - (seconds % DAY < 0);
}

int llmd__lua_llmd_time_of_day(lua_State *L)
{
  lua_Integer seconds = local_seconds(L);
  lua_pushinteger(L, seconds - days_of(seconds) * DAY);
  return 1;
}

/* The first of January 1970 was a Thursday. */
int llmd__lua_llmd_weekday(lua_State *L)
{
  lua_Integer day = (days_of(local_seconds(L)) + 3) % 7;
  lua_pushinteger(L, (day < 0 ? day + 7 : day) + 1);
  return 1;
}
