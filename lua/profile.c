/* A policy as profile handler: `profiles` says which profiles run now, `primary` whose pick gets the request. What a
 * policy leaves out happens as it mostly does: all profiles run once, and the last that found somebody counts. */
#include <string.h>

#include "kept.h"

/* ---- what they see ---------------------------------------------------------------------------------------------- */

static void put_flag(lua_State *L, const char *name, int set)
{
  lua_pushstring(L, name);
  lua_pushboolean(L, set);
  lua_rawset(L, -3);
}

/* Made anew for each call: there are few profiles. */
void llmd__lua_push_runs(lua_State *L, const llmd__lua_work *w)
{
  const llmd_stages *s = w->stages;
  lua_createtable(L, 0, (int)s->n);
  for (uint32_t i = 0; i < s->n; i++) {
    const llmd_run *run = &s->run[i];
    lua_pushlstring(L, s->name[i].ptr, s->name[i].len);
    lua_createtable(L, 0, 3);
    put_flag(L, "ran", run->state != LLMD_RUN_NOT);
    put_flag(L, "ok", run->state == LLMD_RUN_OK);
    lua_pushstring(L, "n");
    lua_pushinteger(L, run->state == LLMD_RUN_NOT ? 0 : (lua_Integer)run->n);
    lua_rawset(L, -3);
    lua_rawset(L, -3);
  }
}

/* ---- what they return ------------------------------------------------------------------------------------------- */

/* The profile that the value on top names. */
static uint32_t profile_of(lua_State *L, const llmd__lua_work *w)
{
  const llmd_stages *s = w->stages;
  if (lua_type(L, -1) != LUA_TSTRING)
    llmd__lua_refuse(L, "%s gave a %s, not the name of a profile", llmd__lua_verb_name(w),
                     lua_typename(L, lua_type(L, -1)));
  for (uint32_t i = 0; i < s->n; i++)
    if (llmd__lua_is_text(L, -1, &s->name[i]))
      return i;
  llmd__lua_refuse(L, "%s gave \"%s\": there is no such profile", llmd__lua_verb_name(w), lua_tostring(L, -1));
  return 0;
}

void llmd__lua_take_profiles(lua_State *L, llmd__lua_work *w)
{
  lua_Unsigned n;
  uint64_t run = 0;
  if (lua_type(L, -1) == LUA_TNIL)
    return;
  if (lua_type(L, -1) != LUA_TTABLE) {
    w->next->run = (uint64_t)1 << profile_of(L, w);
    return;
  }
  llmd__lua_unwrap(L, -1);
  n = lua_rawlen(L, -1);
  if (n > w->stages->n)
    llmd__lua_refuse(L, "profiles gave more names than there are profiles");
  for (lua_Unsigned i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    run |= (uint64_t)1 << profile_of(L, w);
    lua_pop(L, 1);
  }
  w->next->run = run;
}

void llmd__lua_take_primary(lua_State *L, llmd__lua_work *w)
{
  if (lua_type(L, -1) == LUA_TNIL)
    w->result = LLMD_E_NONE;
  else
    w->outcome->primary = profile_of(L, w);
}

/* ---- the verbs -------------------------------------------------------------------------------------------------- */

static int run_all_once(const llmd_stages *s, llmd_next *out)
{
  if (!s->turn)
    out->run = s->n < 64 ? ((uint64_t)1 << s->n) - 1 : UINT64_MAX;
  return 0;
}

static int last_that_succeeded(const llmd_stages *s, llmd_outcome *out)
{
  for (uint32_t i = s->n; i--;)
    if (s->run[i].state == LLMD_RUN_OK) {
      out->primary = i;
      return 0;
    }
  return LLMD_E_NONE;
}

static void from_stages(llmd__lua_work *w, uint32_t verb, const llmd_stages *s)
{
  memset(w, 0, sizeof *w);
  w->own = s->own;
  w->verb = verb;
  w->n = s->n;
  w->flags = s->flags;
  w->request = s->request;
  w->value = s->value;
  w->seed = s->seed;
  w->now = s->now;
  w->wall = s->wall;
  w->stages = s;
}

int llmd__lua_next(const void *self, const llmd_stages *s, llmd_next *out)
{
  llmd__lua_work w;
  (void)self;
  from_stages(&w, LLMD__LUA_PROFILES, s);
  w.next = out;
  return w.own->policy->verb[LLMD__LUA_PROFILES].present ? llmd__lua_run(&w) : run_all_once(s, out);
}

int llmd__lua_finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  llmd__lua_work w;
  (void)self;
  from_stages(&w, LLMD__LUA_PRIMARY, s);
  w.outcome = out;
  return w.own->policy->verb[LLMD__LUA_PRIMARY].present ? llmd__lua_run(&w) : last_that_succeeded(s, out);
}
