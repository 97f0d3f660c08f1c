/* The functions of Lua's base library that scripts have. Missing on purpose: whatever loads code (load, dofile,
 * require), reaches outside (print, io, os), sees behind values (metatables, debug, rawget, rawset, next), or runs
 * something else than a plain call (coroutine, xpcall, collectgarbage).
 *
 * What differs from Lua's: pairs goes through keys in order, numbers before strings before booleans, so that a replay
 * sees what the decision saw; pcall catches no spent budget; tostring shows no addresses. */
#include "state.h"

#include <string.h>

#include <lauxlib.h>

/* What these cost in instructions, roughly. */
#define NUMBER_OF_TEXT 4u
#define CAUGHT 8u
#define PAIRS 20u /* and what it finds */

/* ---- numbers and text ------------------------------------------------------------------------------------------- */

static int base_tostring(lua_State *L)
{
  char text[LLMD__LUA_NUMBER_ROOM];
  luaL_checkany(L, 1);
  switch (lua_type(L, 1)) {
  case LUA_TSTRING: lua_settop(L, 1); break;
  case LUA_TNUMBER:
    lua_pushlstring(L, text, llmd__lua_number_text(L, 1, text));
    break;
  case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false"); break;
  default: lua_pushstring(L, luaL_typename(L, 1)); break;
  }
  return 1;
}

static int digit_of(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

static int is_blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/* tonumber(text, base): wraps around like Lua's. 0 = not a number. */
static int parse_in_base(const char *p, size_t n, int base, lua_Integer *out)
{
  lua_Unsigned value = 0;
  size_t i = 0;
  while (i < n && is_blank(p[i]))
    i++;
  while (n > i && is_blank(p[n - 1]))
    n--;
  int negative = i < n && p[i] == '-';
  i += (size_t)negative;
  if (i == n)
    return 0;
  for (; i < n; i++) {
    if (digit_of(p[i]) >= base)
      return 0;
    value = value * (lua_Unsigned)base + (lua_Unsigned)digit_of(p[i]);
  }
  *out = (lua_Integer)(negative ? 0u - value : value);
  return 1;
}

static int base_tonumber(lua_State *L)
{
  size_t len;
  luaL_checkany(L, 1);
  if (lua_isnoneornil(L, 2)) {
    if (lua_type(L, 1) == LUA_TNUMBER) {
      lua_settop(L, 1);
      return 1;
    }
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    if (text != NULL) {
      llmd__lua_charge(L, NUMBER_OF_TEXT + len / 16);
      if (lua_stringtonumber(L, text) == len + 1)
        return 1;
    }
    lua_pushnil(L);
    return 1;
  }
  lua_Integer base = luaL_checkinteger(L, 2), value;
  luaL_checktype(L, 1, LUA_TSTRING);
  luaL_argcheck(L, base >= 2 && base <= 36, 2, "base out of range");
  const char *text = lua_tolstring(L, 1, &len);
  llmd__lua_charge(L, NUMBER_OF_TEXT + len / 4);
  if (parse_in_base(text, len, (int)base, &value))
    lua_pushinteger(L, value);
  else
    lua_pushnil(L);
  return 1;
}

static int base_type(lua_State *L)
{
  luaL_checkany(L, 1);
  lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static int base_error(lua_State *L)
{
  int level = (int)luaL_optinteger(L, 2, 1);
  lua_settop(L, 1);
  if (lua_type(L, 1) == LUA_TSTRING && level > 0) {
    luaL_where(L, level);
    lua_pushvalue(L, 1);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int base_assert(lua_State *L)
{
  luaL_checkany(L, 1);
  if (lua_toboolean(L, 1))
    return lua_gettop(L);
  lua_remove(L, 1);
  lua_pushliteral(L, "assertion failed!");
  lua_settop(L, 1);
  return base_error(L);
}

/* What ends the call is raised again: no script outlives its budget. Nor does it go on after memory was refused: when
 * that happens depends on garbage of earlier calls, so that a replay might go another way. */
static int base_pcall(lua_State *L)
{
  llmd__lua *s = llmd__lua_state(L);
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  int rc = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  if (rc != LUA_OK) {
    if (rc == LUA_ERRMEM && s->stop == 0)
      s->stop = LLMD_E_NOMEM;
    if (s->stop != 0)
      return lua_error(L);
    s->code = 0;
    llmd__lua_charge(L, CAUGHT);
    lua_pushboolean(L, 0);
    lua_replace(L, 1);
  }
  return lua_gettop(L);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static int base_select(lua_State *L)
{
  int n = lua_gettop(L);
  if (lua_type(L, 1) == LUA_TSTRING && *lua_tostring(L, 1) == '#') {
    lua_pushinteger(L, n - 1);
    return 1;
  }
  lua_Integer i = luaL_checkinteger(L, 1);
  if (i < 0)
    i = n + i;
  else if (i > n)
    i = n;
  luaL_argcheck(L, i >= 1, 1, "index out of range");
  return n - (int)i;
}

static int base_rawequal(lua_State *L)
{
  luaL_checkany(L, 1);
  luaL_checkany(L, 2);
  if (lua_type(L, 1) == LUA_TSTRING && lua_type(L, 2) == LUA_TSTRING)
    llmd__lua_charge(L, lua_rawlen(L, 1) / 16);
  lua_pushboolean(L, lua_rawequal(L, 1, 2));
  return 1;
}

static int base_rawlen(lua_State *L)
{
  int type = lua_type(L, 1);
  luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
  lua_settop(L, 1);
  llmd__lua_unwrap(L, 1);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

/* ---- ipairs ----------------------------------------------------------------------------------------------------- */

static int ipairs_next(lua_State *L)
{
  lua_Integer i = luaL_checkinteger(L, 2);
  luaL_checktype(L, 1, LUA_TTABLE);
  i = (lua_Integer)((lua_Unsigned)i + 1);
  lua_pushinteger(L, i);
  return lua_geti(L, 1, i) == LUA_TNIL ? 1 : 2;
}

static int base_ipairs(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushcfunction(L, ipairs_next);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

/* One run over a table: a userdata that a script may hold but not look into. Its user values are the keys as an array,
 * and the table. The keys are those of the beginning; what has been removed since is passed over. */
typedef struct walk {
  uint32_t n;
  uint32_t at;      /* where the last step ended: only a hint */
  uint32_t place[]; /* [n] order[i] = place of the i-th key in the array */
} walk;

typedef struct walk_key {
  int kind; /* 0 integer, 1 float, 2 string, 3 boolean */
  uint32_t place;
  union {
    lua_Integer integer;
    lua_Number number;
    const char *text;
  } as;
  size_t len;
} walk_key;

static const char walk_type = 0;

static int compare_numbers(const walk_key *a, const walk_key *b)
{
  if (a->kind == 0 && b->kind == 0)
    return a->as.integer < b->as.integer ? -1 : 1;
  /* a float among keys is never whole: where the integer loses digits by this, it is far from any */
  lua_Number x = a->kind == 0 ? (lua_Number)a->as.integer : a->as.number;
  lua_Number y = b->kind == 0 ? (lua_Number)b->as.integer : b->as.number;
  return x < y ? -1 : 1;
}

/* Keys of one table are never equal. */
static int compare_keys(const walk_key *a, const walk_key *b)
{
  if (a->kind <= 1 && b->kind <= 1)
    return compare_numbers(a, b);
  if (a->kind != b->kind)
    return a->kind < b->kind ? -1 : 1;
  if (a->kind == 3)
    return a->as.integer < b->as.integer ? -1 : 1;
  size_t n = a->len < b->len ? a->len : b->len;
  int c = memcmp(a->as.text, b->as.text, n);
  return c != 0 ? c : a->len < b->len ? -1 : 1;
}

static void sift(walk_key *keys, uint32_t from, uint32_t n)
{
  walk_key moved = keys[from];
  for (uint32_t child; (child = 2 * from + 1) < n; from = child) {
    if (child + 1 < n && compare_keys(&keys[child], &keys[child + 1]) < 0)
      child++;
    if (compare_keys(&moved, &keys[child]) > 0)
      break;
    keys[from] = keys[child];
  }
  keys[from] = moved;
}

static void sort_keys(lua_State *L, walk_key *keys, uint32_t n)
{
  uint32_t i = 1;
  while (i < n && compare_keys(&keys[i - 1], &keys[i]) < 0)
    i++;
  if (i >= n)
    return;
  for (i = n / 2; i-- > 0;) {
    llmd__lua_long(L, i);
    sift(keys, i, n);
  }
  for (i = n - 1; i > 0; i--) {
    walk_key last = keys[i];
    llmd__lua_long(L, i);
    keys[i] = keys[0];
    keys[0] = last;
    sift(keys, 0, i);
  }
}

/* How many keys the table at idx has, and the budget is charged for ordering them. */
static uint32_t count_keys(lua_State *L, int idx)
{
  uint64_t n = 0, bytes = 0, rounds = 1;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    llmd__lua_long(L, n++);
    if (lua_type(L, -1) == LUA_TSTRING)
      bytes += lua_rawlen(L, -1);
  }
  while (n >> rounds != 0)
    rounds++;
  llmd__lua_charge(L, PAIRS + (n + bytes / 16) * rounds / 4 + n);
  if (n > UINT32_MAX / sizeof(walk_key))
    luaL_error(L, "pairs: too many keys");
  return (uint32_t)n;
}

static void take_key(lua_State *L, int idx, walk_key *key)
{
  key->len = 0;
  switch (lua_type(L, idx)) {
  case LUA_TNUMBER:
    key->kind = lua_isinteger(L, idx) ? 0 : 1;
    if (key->kind == 0)
      key->as.integer = lua_tointeger(L, idx);
    else
      key->as.number = lua_tonumber(L, idx);
    break;
  case LUA_TSTRING:
    key->kind = 2;
    key->as.text = lua_tolstring(L, idx, &key->len);
    break;
  case LUA_TBOOLEAN:
    key->kind = 3;
    key->as.integer = lua_toboolean(L, idx);
    break;
  default:
    /* which one came first hangs on addresses: no script is to learn it */
    luaL_error(L, "pairs: only numbers, strings and booleans are keys that have a place in the order");
  }
}

static int walk_next(lua_State *L)
{
  walk *w = lua_touserdata(L, 1);
  lua_settop(L, 2);
  luaL_argexpected(L, lua_type(L, 1) == LUA_TUSERDATA && lua_getiuservalue(L, 1, 3) == LUA_TLIGHTUSERDATA &&
                   lua_touserdata(L, -1) == &walk_type, 1, "what pairs gave");
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  lua_getiuservalue(L, 1, 2);
  uint32_t i = 0;
  if (!lua_isnil(L, 2)) {
    i = w->at;
    int known = i != 0 && (lua_rawgeti(L, 3, w->place[i - 1]), lua_rawequal(L, 2, -1));
    for (i = known ? i : 0; !known && i < w->n; i++) {
      lua_settop(L, 4);
      llmd__lua_charge(L, 1);
      lua_rawgeti(L, 3, w->place[i]);
      known = lua_rawequal(L, 2, -1);
    }
    if (!known)
      return luaL_error(L, "pairs: not a key of this table");
  }
  while (i < w->n) {
    lua_settop(L, 4);
    lua_rawgeti(L, 3, w->place[i++]);
    lua_pushvalue(L, 5);
    if (lua_rawget(L, 4) != LUA_TNIL) {
      w->at = i;
      return 2;
    }
    llmd__lua_charge(L, 1);
  }
  lua_pushnil(L);
  return 1;
}

static int base_pairs(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  llmd__lua_unwrap(L, 1);
  uint32_t n = count_keys(L, 1), i = 0;
  lua_pushcfunction(L, walk_next);
  walk *w = lua_newuserdatauv(L, sizeof *w + n * sizeof w->place[0], 3);
  w->n = n;
  w->at = 0;
  walk_key *keys = lua_newuserdatauv(L, (n + 1) * sizeof *keys, 0);
  lua_createtable(L, (int)n, 0);
  lua_pushnil(L);
  while (i < n && lua_next(L, 1)) {
    lua_pop(L, 1);
    llmd__lua_long(L, i);
    take_key(L, -1, &keys[i]);
    keys[i].place = i + 1;
    lua_pushvalue(L, -1);
    lua_rawseti(L, 5, ++i);
  }
  lua_settop(L, 5);
  sort_keys(L, keys, n);
  for (i = 0; i < n; i++)
    w->place[i] = keys[i].place;
  lua_setiuservalue(L, 3, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, 2);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&walk_type);
  lua_setiuservalue(L, 3, 3);
  lua_settop(L, 3);
  return 2;
}

/* ---- the list --------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
  {"assert", base_assert},     {"error", base_error},       {"ipairs", base_ipairs},   {"pairs", base_pairs},
  {"pcall", base_pcall},       {"rawequal", base_rawequal}, {"rawlen", base_rawlen},   {"select", base_select},
  {"tonumber", base_tonumber}, {"tostring", base_tostring}, {"type", base_type},       {NULL, NULL}};

void llmd__lua_open_base(lua_State *L)
{
  luaL_setfuncs(L, functions, 0);
}
