/* Endpoints: eps[i].F. Every field that some function of the policy looks at is written anew (kept.h says why), and so
 * is the list of the tables, from one that scripts do not see. */
#include <lauxlib.h>

#include "kept.h"

/* What goes into one field: cells of numbers, or, when NULL, the column of texts at that place on the stack. */
typedef struct source {
  const double *cell;
  int column, name;
} source;

static uint32_t gather(lua_State *L, const llmd__lua_work *w, source *from)
{
  const llmd__lua_policy *p = w->own->policy;
  uint32_t n = 0;
  llmd__lua_stack(L, 2 * (int)p->n_reads + 8);
  for (uint32_t r = 0; r < p->n_reads; r++) {
    uint32_t shows = p->read[r].shows;
    if (!(p->read[r].used & LLMD__LUA_WANTS_EPS) || !llmd__lua_is_column(shows))
      continue;
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_FIELD + (lua_Integer)r);
    from[n].name = lua_gettop(L);
    from[n].cell = shows == LLMD__LUA_SHOWS_NUMBER ? w->batch->f64[r] : NULL;
    if (!from[n].cell) {
      lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_COLUMN + (lua_Integer)r);
      from[n].column = lua_gettop(L);
    }
    n++;
  }
  return n;
}

static void fill(lua_State *L, const source *from, uint32_t n, uint32_t i)
{
  int ep = lua_gettop(L);
  for (uint32_t f = 0; f < n; f++) {
    lua_pushvalue(L, from[f].name);
    if (from[f].cell)
      lua_pushnumber(L, from[f].cell[i]);
    else
      lua_rawgeti(L, from[f].column, (lua_Integer)i + 1);
    lua_rawset(L, ep);
  }
}

void llmd__lua_endpoints(lua_State *L, const llmd__lua_work *w)
{
  llmd__lua_kept *k = w->own->kept;
  source from[LLMD__LUA_READS];
  int top = lua_gettop(L), eps, list;
  uint32_t n;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_EPS);
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_EP_LIST);
  eps = top + 1;
  list = top + 2;
  n = gather(L, w, from);
  for (uint32_t i = 0; i < w->n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    fill(L, from, n, i);
    lua_rawseti(L, eps, (lua_Integer)i + 1);
  }
  if (k->eps > w->n)
    llmd__lua_cut(L, eps, w->n, &k->eps);
  k->eps = w->n;
  lua_settop(L, top);
}
