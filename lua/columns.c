/* Columns: cols.F[i]. Numbers are written anew each time (kept.h says why). Texts are compared with what is there, so
 * that no string is made while nothing changes; never by their ids, which stand for another text once theirs was
 * dropped from the pool. */
#include "kept.h"

static void numbers(lua_State *L, int column, const double *cell, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    lua_pushnumber(L, cell[i]);
    lua_rawseti(L, column, (lua_Integer)i + 1);
  }
}

/* Neighbours often share a text: it is asked for once. */
static void texts(lua_State *L, int column, const llmd_host *host, const uint32_t *id, uint32_t n)
{
  llmd_str text = {"", 0};
  uint32_t asked = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (id[i] != asked) {
      text.ptr = "";
      text.len = 0;
      if (host->text(host->ctx, id[i], &text))
        text.len = 0;
      asked = id[i];
    }
    lua_rawgeti(L, column, (lua_Integer)i + 1);
    if (!llmd__lua_is_text(L, -1, &text)) {
      lua_pushlstring(L, text.ptr, text.len);
      lua_rawseti(L, column, (lua_Integer)i + 1);
    }
    lua_pop(L, 1);
  }
}

static void endpoints(lua_State *L, int column, const llmd_endpoint_id *id, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    lua_pushinteger(L, (lua_Integer)id[i]);
    lua_rawseti(L, column, (lua_Integer)i + 1);
  }
}

static int fill(lua_State *L, const llmd__lua_work *w, uint32_t r)
{
  const llmd__lua_own *o = w->own;
  llmd__lua_kept *k = o->kept;
  const llmd__lua_read *read = &o->policy->read[r];
  int column;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_COLUMN + (lua_Integer)r);
  column = lua_gettop(L);
  if (read->shows == LLMD__LUA_SHOWS_NUMBER)
    numbers(L, column, w->batch->f64[r], w->n);
  else if (read->shows == LLMD__LUA_SHOWS_ENDPOINT)
    endpoints(L, column, w->batch->endpoint, w->n);
  else
    texts(L, column, &o->host, w->batch->id[r], w->n);
  if (k->column[r] > w->n)
    llmd__lua_cut(L, column, w->n, &k->column[r]);
  k->column[r] = w->n;
  return column;
}

void llmd__lua_columns(lua_State *L, const llmd__lua_work *w, uint32_t wants)
{
  const llmd__lua_policy *p = w->own->policy;
  int top = lua_gettop(L), cols = 0;
  if (wants & LLMD__LUA_WANTS_COLS) {
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_COLS);
    cols = lua_gettop(L);
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_N);
    lua_pushinteger(L, (lua_Integer)w->n);
    lua_rawset(L, cols);
  }
  for (uint32_t r = 0; r < p->n_reads; r++) {
    uint32_t use = p->read[r].used & wants, shows = p->read[r].shows;
    int column;
    if (!llmd__lua_is_column(shows) || (shows == LLMD__LUA_SHOWS_NUMBER && !(use & LLMD__LUA_WANTS_COLS)))
      continue;
    if (!use)
      continue;
    column = fill(L, w, r);
    if (use & LLMD__LUA_WANTS_COLS) {
      lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_FIELD + (lua_Integer)r);
      lua_pushvalue(L, column);
      lua_rawset(L, cols);
    }
    lua_settop(L, column - 1);
  }
  lua_settop(L, top);
}
