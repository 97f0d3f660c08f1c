/* What functions have left in out and keep, or returned: read raw, checked, and put back for the next call. */
#include <math.h>
#include <string.h>

#include "kept.h"

#define UNSET ((double)NAN)

const char *llmd__lua_verb_name(const llmd__lua_work *w)
{
  return llmd__lua_verb_names[w->verb];
}

/* ---- out and keep as functions must find them ------------------------------------------------------------------- */

static uint32_t is_stained(const llmd__lua_work *w)
{
  const llmd__lua_kept *k = w->own->kept;
  return k->stained >> w->verb & 1;
}

/* Cells 1..n of the table at index are the value on top, which is popped. */
static void clear_cells(lua_State *L, int table, uint32_t n, uint32_t *shown, uint32_t stained)
{
  uint32_t first = stained ? 0 : *shown;
  if (*shown > n)
    llmd__lua_cut(L, table, n, shown);
  for (uint32_t i = first; i < n; i++) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, table, (lua_Integer)i + 1);
  }
  *shown = n;
  lua_pop(L, 1);
}

static void clear_writes(lua_State *L, const llmd__lua_work *w)
{
  llmd__lua_kept *k = w->own->kept;
  int wrote = lua_gettop(L) + 1;
  uint32_t shown = k->wrote;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_WROTE);
  for (uint32_t i = 0; i < w->own->policy->n_writes; i++) {
    shown = k->wrote;
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_NAME + (lua_Integer)i);
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_CELLS + (lua_Integer)i);
    lua_pushnumber(L, UNSET);
    clear_cells(L, wrote + 2, w->n, &shown, is_stained(w));
    lua_rawset(L, wrote);
  }
  k->wrote = shown;
}

void llmd__lua_clear(lua_State *L, const llmd__lua_work *w, uint32_t wants)
{
  llmd__lua_kept *k = w->own->kept;
  int top = lua_gettop(L);
  k->places = w->n;
  if (wants & LLMD__LUA_WANTS_OUT && w->verb == LLMD__LUA_PRODUCE) {
    clear_writes(L, w);
  } else if (wants & LLMD__LUA_WANTS_OUT) {
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_OUT);
    lua_pushnumber(L, UNSET);
    clear_cells(L, top + 1, w->n, &k->out, is_stained(w));
  }
  if (wants & LLMD__LUA_WANTS_KEEP) {
    lua_settop(L, top);
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_KEEP);
    lua_pushboolean(L, 1);
    clear_cells(L, top + 1, w->n, &k->keep, is_stained(w));
  }
  lua_settop(L, top);
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static int refuse(lua_State *L, const llmd__lua_work *w, uint32_t i, const char *wanted)
{
  return llmd__lua_refuse(L, "%s of endpoint %d is %s, not %s", llmd__lua_verb_name(w), (int)i + 1,
                          lua_typename(L, lua_type(L, -1)), wanted);
}

/* The value on top, of that type: nil stands for NaN when it may. */
static double number_of(lua_State *L, const llmd__lua_work *w, uint32_t i, int type, int nil_too)
{
  double v;
  if (type == LUA_TNIL && nil_too)
    return UNSET;
  if (type != LUA_TNUMBER)
    refuse(L, w, i, "a number");
  v = lua_tonumber(L, -1);
  if (isinf(v))
    llmd__lua_refuse(L, "%s of endpoint %d is infinite", llmd__lua_verb_name(w), (int)i + 1);
  return v;
}

/* Reads cells and puts NaN back. */
static void take_numbers(lua_State *L, const llmd__lua_work *w, int table, double *out)
{
  for (uint32_t i = 0; i < w->n; i++) {
    int type = lua_rawgeti(L, table, (lua_Integer)i + 1);
    out[i] = number_of(L, w, i, type, 1);
    lua_pop(L, 1);
    lua_pushnumber(L, UNSET);
    lua_rawseti(L, table, (lua_Integer)i + 1);
  }
}

static void take_kept_numbers(lua_State *L, const llmd__lua_work *w, int at, double *out)
{
  lua_rawgeti(L, LLMD__LUA_KEPT, at);
  take_numbers(L, w, lua_gettop(L), out);
  lua_pop(L, 1);
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

static int truth_of(lua_State *L, const llmd__lua_work *w, uint32_t i)
{
  if (lua_type(L, -1) != LUA_TBOOLEAN)
    refuse(L, w, i, "true or false");
  return lua_toboolean(L, -1);
}

static void take_keep(lua_State *L, const llmd__lua_work *w)
{
  int table = lua_gettop(L) + 1;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_KEEP);
  for (uint32_t i = 0; i < w->n; i++) {
    lua_rawgeti(L, table, (lua_Integer)i + 1);
    if (!truth_of(L, w, i)) {
      w->keep[i] = 0;
      lua_pushboolean(L, 1);
      lua_rawseti(L, table, (lua_Integer)i + 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* An index 1..n that was not there before, as a position. */
static uint32_t position_of(lua_State *L, const llmd__lua_work *w)
{
  llmd__lua_kept *k = w->own->kept;
  int whole = 0;
  lua_Integer i = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
  if (!whole || i < 1 || i > (lua_Integer)w->n)
    llmd__lua_refuse(L, "%s gave %s, not an index of 1 to %d", llmd__lua_verb_name(w),
                     lua_type(L, -1) == LUA_TNUMBER ? "a number" : lua_typename(L, lua_type(L, -1)), (int)w->n);
  if (k->mark[i - 1])
    llmd__lua_refuse(L, "%s gave endpoint %d twice", llmd__lua_verb_name(w), (int)i);
  k->mark[i - 1] = 1;
  return (uint32_t)(i - 1);
}

/* The list on top, which may be one of the policy's own (read-only): positions into out, of which there is room for cap.
 * How many it has. */
static uint32_t take_list(lua_State *L, const llmd__lua_work *w, uint32_t *out, uint32_t cap)
{
  llmd__lua_kept *k = w->own->kept;
  lua_Unsigned n;
  llmd__lua_unwrap(L, -1);
  n = lua_rawlen(L, -1);
  if (n > w->n)
    llmd__lua_refuse(L, "%s gave more endpoints than there are", llmd__lua_verb_name(w));
  llmd__lua_charge(L, n / 4);
  memset(k->mark, 0, w->n);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t at;
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    at = position_of(L, w);
    lua_pop(L, 1);
    if (i < cap)
      out[i] = at;
  }
  return (uint32_t)n;
}

/* A list that filter returned is who stays, in that order. */
static void take_order(lua_State *L, llmd__lua_work *w)
{
  const llmd__lua_kept *k = w->own->kept;
  if (lua_type(L, -1) == LUA_TNIL)
    return;
  if (lua_type(L, -1) != LUA_TTABLE)
    llmd__lua_refuse(L, "filter gave a %s, not a list of indexes", lua_typename(L, lua_type(L, -1)));
  w->result = (int)take_list(L, w, w->order, w->n);
  for (uint32_t i = 0; i < w->n; i++) {
    if (k->mark[i] && !w->keep[i])
      llmd__lua_refuse(L, "filter gave endpoint %d, which it has dropped", (int)i + 1);
    w->keep[i] = k->mark[i];
  }
}

/* ---- the other verbs -------------------------------------------------------------------------------------------- */

static void take_picks(lua_State *L, llmd__lua_work *w)
{
  const uint32_t room = w->cap;
  uint32_t n;
  if (lua_type(L, -1) == LUA_TTABLE) {
    n = take_list(L, w, w->pick, room);
    w->result = (int)(n < room ? n : room);
    return;
  }
  memset(((llmd__lua_kept *)w->own->kept)->mark, 0, w->n);
  n = position_of(L, w);
  if (room)
    w->pick[0] = n;
  w->result = room != 0;
}

static void take_answer(lua_State *L, llmd__lua_work *w)
{
  if (lua_type(L, -1) != LUA_TBOOLEAN)
    llmd__lua_refuse(L, "decide gave a %s, not true or false", lua_typename(L, lua_type(L, -1)));
  w->result = lua_toboolean(L, -1);
}

void llmd__lua_take(lua_State *L, llmd__lua_work *w)
{
  const llmd__lua_policy *p = w->own->policy;
  switch (w->verb) {
  case LLMD__LUA_FILTER:
    if (((llmd__lua_kept *)w->own->kept)->wants[w->verb] & LLMD__LUA_WANTS_KEEP)
      take_keep(L, w);
    take_order(L, w);
    break;
  case LLMD__LUA_SCORE:
    take_kept_numbers(L, w, LLMD__LUA_AT_OUT, w->score);
    break;
  case LLMD__LUA_PICK:
    take_picks(L, w);
    break;
  case LLMD__LUA_DECIDE:
    take_answer(L, w);
    break;
  case LLMD__LUA_PRODUCE:
    for (uint32_t i = 0; i < p->n_writes; i++)
      take_kept_numbers(L, w, LLMD__LUA_AT_CELLS + (int)i, w->wrote[i]);
    break;
  case LLMD__LUA_PROFILES:
    llmd__lua_take_profiles(L, w);
    break;
  case LLMD__LUA_PRIMARY:
    llmd__lua_take_primary(L, w);
    break;
  default:
    break;
  }
}

void llmd__lua_take_each(lua_State *L, llmd__lua_work *w, uint32_t i, int first)
{
  const llmd__lua_policy *p = w->own->policy;
  switch (w->verb) {
  case LLMD__LUA_FILTER:
    w->keep[i] = (uint8_t)truth_of(L, w, i);
    break;
  case LLMD__LUA_SCORE:
    w->score[i] = number_of(L, w, i, lua_type(L, first), 0);
    break;
  case LLMD__LUA_DECIDE:
    take_answer(L, w);
    break;
  case LLMD__LUA_PRODUCE:
    for (uint32_t k = 0; k < p->n_writes; k++) {
      lua_pushvalue(L, first + (int)k);
      w->wrote[k][i] = number_of(L, w, i, lua_type(L, -1), 1);
      lua_pop(L, 1);
    }
    break;
  default:
    break;
  }
}
