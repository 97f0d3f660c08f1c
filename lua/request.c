/* The request: req.F, every field written anew. Texts are compared first, so that none is made while nothing changes. */
#include "kept.h"

static void name_of(lua_State *L, int field)
{
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ_FIELD + field);
}

void llmd__lua_push_count(lua_State *L, double value)
{
  if (value >= 0 && value < 9007199254740992.0 && value == (double)(int64_t)value)
    lua_pushinteger(L, (lua_Integer)value);
  else if (value == value)
    lua_pushnumber(L, value);
  else
    lua_pushnil(L);
}

static void put_number(lua_State *L, int req, int field, double value)
{
  name_of(L, field);
  lua_pushnumber(L, value);
  lua_rawset(L, req);
}

static void put_count(lua_State *L, int req, int field, double value)
{
  name_of(L, field);
  llmd__lua_push_count(L, value);
  lua_rawset(L, req);
}

static void put_integer(lua_State *L, int req, int field, int64_t value)
{
  name_of(L, field);
  lua_pushinteger(L, value);
  lua_rawset(L, req);
}

static void put_flag(lua_State *L, int req, int field, uint32_t set)
{
  name_of(L, field);
  lua_pushboolean(L, set != 0);
  lua_rawset(L, req);
}

/* The key is on top, and popped. text NULL, or without ptr: nil. */
static void put_text(lua_State *L, int table, const llmd_str *text)
{
  lua_pushvalue(L, -1);
  lua_rawget(L, table);
  if (text && llmd__lua_is_text(L, -1, text)) {
    lua_pop(L, 2);
    return;
  }
  lua_pop(L, 1);
  if (text)
    lua_pushlstring(L, text->ptr, text->len);
  else
    lua_pushnil(L);
  lua_rawset(L, table);
}

/* Headers, and the prompt when the operator lets the policy see it. */
static void put_values(lua_State *L, const llmd__lua_work *w, int req)
{
  const llmd__lua_own *o = w->own;
  const llmd_str *prompt = NULL;
  int headers;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_HEADERS);
  headers = lua_gettop(L);
  for (uint32_t r = 0; r < o->policy->n_reads; r++) {
    const llmd__lua_read *read = &o->policy->read[r];
    const llmd_str *text = &w->value[r].str;
    if (read->shows == LLMD__LUA_SHOWS_PROMPT && o->self->prompt && text->ptr)
      prompt = text;
    if (read->shows != LLMD__LUA_SHOWS_HEADER)
      continue;
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_FIELD + (lua_Integer)r);
    put_text(L, headers, text->ptr ? text : NULL);
  }
  name_of(L, LLMD__LUA_REQ_headers);
  lua_pushvalue(L, headers);
  lua_rawset(L, req);
  name_of(L, LLMD__LUA_REQ_prompt);
  put_text(L, req, prompt);
}

static void put_view(lua_State *L, const llmd_request_view *v, int req)
{
  name_of(L, LLMD__LUA_REQ_model);
  put_text(L, req, &v->model);
  name_of(L, LLMD__LUA_REQ_tenant);
  put_text(L, req, &v->tenant);
  name_of(L, LLMD__LUA_REQ_session);
  put_text(L, req, &v->session);
  put_count(L, req, LLMD__LUA_REQ_tokens, v->tokens);
  put_count(L, req, LLMD__LUA_REQ_max_tokens, v->max_tokens);
  put_count(L, req, LLMD__LUA_REQ_slo_ttft_ms, v->slo_ttft_ms);
  put_count(L, req, LLMD__LUA_REQ_slo_tpot_ms, v->slo_tpot_ms);
  put_integer(L, req, LLMD__LUA_REQ_bytes, (int64_t)v->bytes);
  put_integer(L, req, LLMD__LUA_REQ_priority, v->priority);
  put_flag(L, req, LLMD__LUA_REQ_stream, v->flags & LLMD_VIEW_STREAM);
  put_flag(L, req, LLMD__LUA_REQ_multimodal, v->flags & LLMD_VIEW_MULTIMODAL);
  put_flag(L, req, LLMD__LUA_REQ_truncated, v->flags & LLMD_VIEW_TRUNCATED);
  put_flag(L, req, LLMD__LUA_REQ_real_tokens, v->flags & LLMD_VIEW_REAL_TOKENS);
}

void llmd__lua_request(lua_State *L, const llmd__lua_work *w)
{
  int req;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ);
  req = lua_gettop(L);
  put_view(L, w->request, req);
  put_values(L, w, req);
  put_number(L, req, LLMD__LUA_REQ_now, (double)w->now / 1e9);
  put_number(L, req, LLMD__LUA_REQ_wall, (double)w->wall / 1e9);
  put_integer(L, req, LLMD__LUA_REQ_n, w->n);
  lua_settop(L, req - 1);
}
