/* math: what is exact on every machine. The library of C rounds sqrt, fmod, floor and ceil as everybody's does; exp and
 * log it does not, so they are written out here (llmd.exp, llmd.log). Pow, sines and random numbers are left out. */
#include "api.h"

#include <math.h>
#include <string.h>

/* ---- integers and floats ---------------------------------------------------------------------------------------- */

/* An integer when it fits, else the float. */
static int push_whole(lua_State *L, double x)
{
  lua_Integer i;
  if (lua_numbertointeger(x, &i))
    lua_pushinteger(L, i);
  else
    lua_pushnumber(L, x);
  return 1;
}

int llmd__lua_math_floor(lua_State *L)
{
  double x = llmd__lua_arg_number(L, 1);
  if (!lua_isinteger(L, 1))
    return push_whole(L, floor(x));
  lua_settop(L, 1);
  return 1;
}

int llmd__lua_math_ceil(lua_State *L)
{
  double x = llmd__lua_arg_number(L, 1);
  if (!lua_isinteger(L, 1))
    return push_whole(L, ceil(x));
  lua_settop(L, 1);
  return 1;
}

int llmd__lua_math_abs(lua_State *L)
{
  double x = llmd__lua_arg_number(L, 1);
  if (lua_isinteger(L, 1)) {
    lua_Unsigned u = (lua_Unsigned)lua_tointeger(L, 1);
    lua_pushinteger(L, (lua_Integer)(u >> 63 ? 0 - u : u));
  } else
    lua_pushnumber(L, fabs(x));
  return 1;
}

int llmd__lua_math_fmod(lua_State *L)
{
  double x = llmd__lua_arg_number(L, 1), y = llmd__lua_arg_number(L, 2);
  if (lua_isinteger(L, 1) && lua_isinteger(L, 2)) {
    lua_Integer m = lua_tointeger(L, 1), n = lua_tointeger(L, 2);
    if (!n)
      return llmd__lua_misused(L, "y is 0");
    lua_pushinteger(L, n == -1 ? 0 : m % n); /* the smallest integer % -1 would overflow */
  } else
    lua_pushnumber(L, fmod(x, y));
  return 1;
}

int llmd__lua_math_sqrt(lua_State *L)
{
  double x = llmd__lua_arg_number(L, 1);
  lua_pushnumber(L, x < 0 ? (double)NAN : sqrt(x));
  return 1;
}

/* As in Lua: NaN stays when it comes first, and is passed over later. llmd.max knows better. */
static int extreme(lua_State *L, int sign)
{
  int n = lua_gettop(L), best = 1;
  llmd__lua_arg_number(L, 1);
  llmd__lua_charge(L, (uint64_t)n / 4);
  for (int i = 2; i <= n; i++) {
    llmd__lua_arg_number(L, i);
    if (sign > 0 ? lua_compare(L, best, i, LUA_OPLT) : lua_compare(L, i, best, LUA_OPLT))
      best = i;
  }
  lua_pushvalue(L, best);
  return 1;
}

int llmd__lua_math_max(lua_State *L)
{
  return extreme(L, 1);
}

int llmd__lua_math_min(lua_State *L)
{
  return extreme(L, -1);
}

int llmd__lua_math_tointeger(lua_State *L)
{
  int whole = 0;
  lua_Integer i = lua_type(L, 1) == LUA_TNUMBER ? lua_tointegerx(L, 1, &whole) : 0;
  if (whole)
    lua_pushinteger(L, i);
  else
    lua_pushnil(L);
  return 1;
}

int llmd__lua_math_type(lua_State *L)
{
  if (lua_type(L, 1) == LUA_TNUMBER)
    lua_pushstring(L, lua_isinteger(L, 1) ? "integer" : "float");
  else
    lua_pushnil(L);
  return 1;
}

int llmd__lua_math_ult(lua_State *L)
{
  lua_Integer m = llmd__lua_arg_integer(L, 1), n = llmd__lua_arg_integer(L, 2);
  lua_pushboolean(L, (lua_Unsigned)m < (lua_Unsigned)n);
  return 1;
}

/* ---- exp and log ------------------------------------------------------------------------------------------------ */

/* ln 2 in two parts: the upper has 40 bits, so that its product with an exponent is exact. */
#define LN2_UPPER 0x1.62e42fefa2000p-1
#define LN2_LOWER 0x1.9ef35793c7673p-41

/* 2^e for e in [-1022, 1023]. */
static double power_of_two(int e)
{
  uint64_t bits = (uint64_t)(e + 1023) << 52;
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* x = k ln 2 + r with |r| <= ln 2 / 2; e^x = 2^k e^r, and e^r is its series up to r^13 / 13!. The error of r is added
 * in at the end, where its derivative is e^r itself. */
double llmd__lua_exp(double x)
{
  static const double part[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,
                                1.0 / 6,          1.0 / 2};
  double upper, lower, r, sum = 0;
  int k, half;
  if (x != x)
    return x;
  if (x > 709.8)
    return (double)HUGE_VAL;
  if (x < -745.2)
    return 0;
  k = (int)(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
  upper = x - k * LN2_UPPER;
  lower = k * LN2_LOWER;
  r = upper - lower;
  lower = (upper - r) - lower;
  for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
    sum = sum * r + part[i];
  sum = 1 + (r + (r * r * sum + lower * (1 + r)));
  half = k / 2;
  return sum * power_of_two(half) * power_of_two(k - half);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), and |s| < 0.172, whose series is
 * cut where its terms no longer count. */
double llmd__lua_log(double x)
{
  static const double part[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  double m, s, z, f, sum = 0;
  uint64_t bits;
  int e = 0;
  if (!(x > 0))
    return x == 0 ? -(double)HUGE_VAL : (double)NAN;
  if (x - x != 0)
    return x;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    e = -54;
  }
  memcpy(&bits, &x, sizeof bits);
  e += (int)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    e++;
  }
  /* 2s = f - s f: so the largest part, f, is exact */
  f = m - 1;
  s = f / (m + 1);
  z = s * s;
  for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
    sum = sum * z + part[i];
  return e * LN2_UPPER + (f - (s * (f - 2 * z * sum) - e * LN2_LOWER));
}

int llmd__lua_llmd_exp(lua_State *L)
{
  lua_pushnumber(L, llmd__lua_exp(llmd__lua_arg_number(L, 1)));
  return 1;
}

int llmd__lua_llmd_log(lua_State *L)
{
  lua_pushnumber(L, llmd__lua_log(llmd__lua_arg_number(L, 1)));
  return 1;
}
