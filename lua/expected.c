/* What an example says must come out. */
#include "input.h"

#include <string.h>

/* A number per endpoint, from the table at the top. */
static double *numbers_at(llmd__lua_in *r, const char *what)
{
  int list = lua_gettop(r->L);
  double *out = NULL;
  if (!lua_istable(r->L, list) || lua_rawlen(r->L, list) != r->s->n)
    llmd__lua_in_wrong(r, "%s must be a list with a number for each of %u endpoints", what, (unsigned)r->s->n);
  else
    out = llmd__lua_in_room(r, r->s->n * sizeof *out);
  for (uint32_t i = 0; i < r->s->n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    if (lua_isboolean(r->L, -1))
      out[i] = lua_toboolean(r->L, -1);
    else if (lua_type(r->L, -1) == LUA_TNUMBER)
      out[i] = lua_tonumber(r->L, -1);
    else
      llmd__lua_in_wrong(r, "%s[%u] must be a number, not %s", what, (unsigned)i + 1, llmd__lua_kind_at(r->L, -1));
    lua_pop(r->L, 1);
  }
  return r->rc ? NULL : out;
}

static double *take_numbers(llmd__lua_in *r, const char *key)
{
  double *out = NULL;
  if (!r->rc && llmd__lua_in_field(r, r->at, key))
    out = numbers_at(r, key);
  lua_settop(r->L, r->at);
  return out;
}

static void take_keep(llmd__lua_in *r)
{
  double *numbers = take_numbers(r, "keep");
  r->s->keep = numbers ? llmd__lua_in_room(r, r->s->n) : NULL;
  for (uint32_t i = 0; r->s->keep && i < r->s->n; i++)
    r->s->keep[i] = numbers[i] != 0;
}

/* The index at the top. */
static void take_index(llmd__lua_in *r, const char *what)
{
  lua_Integer i = lua_isinteger(r->L, -1) ? lua_tointeger(r->L, -1) : 0;
  if (i < 1 || i > (lua_Integer)r->s->n)
    llmd__lua_in_wrong(r, "%s is no index of an endpoint, 1 to %u", what, (unsigned)r->s->n);
  else
    r->s->picks[r->s->n_picks++] = (uint32_t)i - 1;
}

static void take_picks(llmd__lua_in *r)
{
  int list;
  r->s->n_picks = -1;
  r->s->picks = llmd__lua_in_room(r, r->s->n * sizeof *r->s->picks);
  if (!r->rc && llmd__lua_in_field(r, r->at, "pick")) {
    r->s->n_picks = 0;
    r->s->first_only = 1;
    take_index(r, "pick");
  }
  lua_settop(r->L, r->at);
  list = r->rc ? 0 : llmd__lua_in_table(r, r->at, "picks");
  if (!list)
    return;
  r->s->first_only = 0;
  r->s->n_picks = 0;
  if (lua_rawlen(r->L, list) > r->s->n)
    llmd__lua_in_wrong(r, "picks has more indexes than there are endpoints");
  for (lua_Integer i = 1; !r->rc && i <= (lua_Integer)lua_rawlen(r->L, list); i++) {
    lua_rawgeti(r->L, list, i);
    take_index(r, "an entry of picks");
    lua_pop(r->L, 1);
  }
  lua_settop(r->L, r->at);
}

static void take_writes(llmd__lua_in *r)
{
  const llmd__lua_policy *p = r->s->p;
  const char *names[LLMD__LUA_WRITES + 1] = {NULL};
  int table = r->rc ? 0 : llmd__lua_in_table(r, r->at, "writes");
  for (uint32_t i = 0; i < p->n_writes; i++)
    names[i] = p->plugin.writes[i].name;
  if (!table || llmd__lua_in_words(r, table, "writes", names))
    return;
  r->s->writes = llmd__lua_in_room(r, (p->n_writes + 1) * sizeof *r->s->writes);
  for (uint32_t i = 0; i < p->n_writes && !r->rc; i++) {
    if (llmd__lua_in_field(r, table, names[i]))
      r->s->writes[i] = numbers_at(r, names[i]);
    lua_settop(r->L, table);
  }
  lua_settop(r->L, r->at);
}

static void take_profiles(llmd__lua_in *r)
{
  int list = r->rc ? 0 : llmd__lua_in_table(r, r->at, "profiles");
  lua_Unsigned n = list ? lua_rawlen(r->L, list) : 0;
  r->s->n_profiles = -1;
  if (n > LLMD__LUA_SAMPLE_RUNS)
    llmd__lua_in_wrong(r, "profiles has more than %u names", LLMD__LUA_SAMPLE_RUNS);
  if (!list || r->rc)
    return;
  r->s->n_profiles = (int)n;
  r->s->profiles = llmd__lua_in_room(r, n * sizeof *r->s->profiles);
  for (lua_Unsigned i = 0; i < n && !r->rc; i++) {
    lua_rawgeti(r->L, list, (lua_Integer)i + 1);
    llmd__lua_in_text(r, "an entry of profiles", &r->s->profiles[i]);
    lua_pop(r->L, 1);
  }
  lua_settop(r->L, r->at);
}

static int says_nothing(const llmd__lua_sample *s)
{
  return !s->scores && !s->keep && s->n_picks < 0 && s->decide < 0 && !s->writes && s->n_profiles < 0 &&
         !s->primary.ptr;
}

int llmd__lua_in_expected(llmd__lua_in *r)
{
  double *total = take_numbers(r, "total"), decide = -1;
  if (total)
    r->s->total = total;
  r->s->scores = take_numbers(r, "scores");
  take_keep(r);
  take_picks(r);
  take_writes(r);
  take_profiles(r);
  if (r->rc)
    return r->rc;
  llmd__lua_in_number(r, r->at, "decide", &decide);
  r->s->decide = decide < 0 ? -1 : decide != 0;
  llmd__lua_in_text_of(r, r->at, "primary", &r->s->primary);
  if (!r->rc && says_nothing(r->s))
    return llmd__lua_in_wrong(r, "it does not say what must come out: scores, keep, pick, ...");
  return r->rc;
}

