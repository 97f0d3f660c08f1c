/* llmd: chance, out of the decision's seed, and hashes, which are the same in every process and every version. */
#include "api.h"

#include <math.h>

#include <lauxlib.h>

/* ---- chance ----------------------------------------------------------------------------------------------------- */

/* 0 .. n - 1, each equally likely: draws that would favour the low ones are thrown away. */
static uint64_t below(llmd__lua *s, uint64_t n)
{
  uint64_t spare = (UINT64_MAX % n + 1) % n, draw;
  do
    draw = llmd_random(&s->random);
  while (draw > UINT64_MAX - spare);
  return draw % n;
}

int llmd__lua_llmd_random(lua_State *L)
{
  llmd__lua *s = llmd__lua_state(L);
  lua_Integer n;
  if (lua_gettop(L) == 0) {
    lua_pushnumber(L, llmd_random_unit(&s->random));
    return 1;
  }
  n = llmd__lua_arg_integer(L, 1);
  if (n < 1)
    return llmd__lua_misused(L, "n is less than 1");
  lua_pushinteger(L, (lua_Integer)below(s, (uint64_t)n) + 1);
  return 1;
}

/* The chance that an element has, 0 for none. */
static double chance_of(lua_State *L, uint32_t i)
{
  double x = llmd__lua_at(L, 1, i);
  if (x > 0 && x - x != 0)
    llmd__lua_misused(L, "element %d is infinite", (int)i);
  return x > 0 ? x : 0;
}

int llmd__lua_llmd_draw(lua_State *L)
{
  uint32_t n = llmd__lua_arg_list(L, 1, 2, 2), chosen = 0;
  double sum = 0, left;
  for (uint32_t i = 1; i <= n; i++)
    sum += chance_of(L, i);
  if (sum - sum != 0)
    return llmd__lua_misused(L, "the sum is infinite");
  left = llmd_random_unit(&llmd__lua_state(L)->random) * sum;
  for (uint32_t i = 1; i <= n && left >= 0; i++) {
    double x = chance_of(L, i);
    if (x > 0) {
      chosen = i;
      left -= x;
      if (left < 0)
        break;
    }
  }
  if (chosen)
    lua_pushinteger(L, chosen);
  else
    lua_pushnil(L);
  return 1;
}

/* Fisher and Yates, from the end. */
int llmd__lua_llmd_shuffle(lua_State *L)
{
  llmd__lua *s = llmd__lua_state(L);
  uint32_t n;
  if (lua_type(L, 1) == LUA_TTABLE)
    llmd__lua_check_writable(L, 1);
  n = llmd__lua_arg_list(L, 1, 2, 2);
  for (uint32_t i = n; i > 1; i--) {
    lua_Integer other = (lua_Integer)below(s, i) + 1;
    llmd__lua_long(L, i);
    lua_rawgeti(L, 1, i);
    lua_rawgeti(L, 1, other);
    llmd__lua_put(L, 1, i);
    llmd__lua_put(L, 1, other);
  }
  lua_settop(L, 1);
  return 1;
}

/* ---- hashes ----------------------------------------------------------------------------------------------------- */

uint64_t llmd__lua_hash_add(uint64_t state, const char *p, size_t len)
{
  for (size_t i = 0; i < len; i++)
    state = (state ^ (unsigned char)p[i]) * 0x100000001b3u;
  return state;
}

/* FNV leaves the last bytes' mark in few bits. This spreads it over all of them: the end of splitmix64. */
uint64_t llmd__lua_hash_end(uint64_t state)
{
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
  return state ^ (state >> 31);
}

int llmd__lua_llmd_hash(lua_State *L)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  llmd__lua_charge(L, len / 8);
  lua_pushinteger(L, (lua_Integer)llmd__lua_hash_end(llmd__lua_hash_add(LLMD__LUA_HASH_BEGIN, text, len)));
  return 1;
}

/* A name's hash goes on from the key's, which ends with a byte that no UTF-8 text has. */
int llmd__lua_llmd_rendezvous(lua_State *L)
{
  size_t len;
  const char *key = llmd__lua_arg_text(L, 1, &len), *name;
  uint32_t n = llmd__lua_arg_list(L, 2, 3, 4), best = 0;
  uint64_t begin, most = 0;
  llmd__lua_charge(L, len / 8);
  begin = llmd__lua_hash_add(llmd__lua_hash_add(LLMD__LUA_HASH_BEGIN, key, len), "\xff", 1);
  for (uint32_t i = 1; i <= n; i++) {
    int type = lua_rawgeti(L, 2, i);
    if (type != LUA_TSTRING && type != LUA_TNIL)
      return llmd__lua_misused(L, "name %d: string expected, got %s", (int)i, lua_typename(L, type));
    name = type == LUA_TSTRING ? lua_tolstring(L, -1, &len) : (len = 0, "");
    if (len) {
      uint64_t hash;
      llmd__lua_charge(L, len / 8);
      hash = llmd__lua_hash_end(llmd__lua_hash_add(begin, name, len));
      if (!best || hash > most) {
        most = hash;
        best = i;
      }
    }
    lua_pop(L, 1);
  }
  if (best)
    lua_pushinteger(L, best);
  else
    lua_pushnil(L);
  return 1;
}
