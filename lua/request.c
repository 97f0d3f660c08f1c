/* The request: req.F. Scripts cannot write it (kept.h), so that what it holds is known, and only what differs is put
 * there. */
#include <string.h>

#include "kept.h"

void llmd__lua_push_count(lua_State *L, double value)
{
  if (value >= 0 && value < 9007199254740992.0 && value == (double)(int64_t)value)
    lua_pushinteger(L, (lua_Integer)value);
  else if (value == value)
    lua_pushnumber(L, value);
  else
    lua_pushnil(L);
}

/* req.FIELD = the value on top, which is popped. */
static void put(lua_State *L, int req, int field)
{
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ_FIELD + field);
  lua_insert(L, -2);
  lua_rawset(L, req);
}

static int same_number(double a, double b)
{
  return !memcmp(&a, &b, sizeof a);
}

static int same_text(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && !a->ptr == !b->ptr && (!a->len || !memcmp(a->ptr, b->ptr, a->len));
}

/* Pushes the text, or nil when it has no ptr; *shown is what Lua has of it. */
static void push_text(lua_State *L, const llmd_str *text, llmd_str *shown)
{
  shown->ptr = NULL;
  shown->len = 0;
  if (text->ptr)
    shown->ptr = lua_pushlstring(L, text->ptr, text->len);
  else
    lua_pushnil(L);
  shown->len = text->ptr ? text->len : 0;
}

static void put_text(lua_State *L, int req, int field, const llmd_str *text, llmd_str *shown)
{
  if (same_text(text, shown))
    return;
  push_text(L, text, shown);
  put(L, req, field);
}

/* "" stands for none. */
static void put_name(lua_State *L, int req, int field, const llmd_str *text, llmd_str *shown)
{
  const llmd_str none = {"", 0};
  put_text(L, req, field, text->ptr ? text : &none, shown);
}

static void put_count(lua_State *L, int req, int field, double value, double *shown, uint32_t valid)
{
  if (same_number(value, *shown) && valid)
    return;
  *shown = value;
  llmd__lua_push_count(L, value);
  put(L, req, field);
}

static void put_flags(lua_State *L, int req, uint32_t flags)
{
  static const struct {
    int field;
    uint32_t flag;
  } all[] = {{LLMD__LUA_REQ_stream, LLMD_VIEW_STREAM},
             {LLMD__LUA_REQ_multimodal, LLMD_VIEW_MULTIMODAL},
             {LLMD__LUA_REQ_truncated, LLMD_VIEW_TRUNCATED},
             {LLMD__LUA_REQ_real_tokens, LLMD_VIEW_REAL_TOKENS}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    lua_pushboolean(L, (flags & all[i].flag) != 0);
    put(L, req, all[i].field);
  }
}

static void put_view(lua_State *L, const llmd_request_view *v, int req, llmd__lua_shown *shown)
{
  llmd_request_view *was = &shown->view;
  put_name(L, req, LLMD__LUA_REQ_model, &v->model, &shown->model);
  put_name(L, req, LLMD__LUA_REQ_tenant, &v->tenant, &shown->tenant);
  put_name(L, req, LLMD__LUA_REQ_session, &v->session, &shown->session);
  put_count(L, req, LLMD__LUA_REQ_tokens, v->tokens, &was->tokens, shown->valid);
  put_count(L, req, LLMD__LUA_REQ_max_tokens, v->max_tokens, &was->max_tokens, shown->valid);
  put_count(L, req, LLMD__LUA_REQ_slo_ttft_ms, v->slo_ttft_ms, &was->slo_ttft_ms, shown->valid);
  put_count(L, req, LLMD__LUA_REQ_slo_tpot_ms, v->slo_tpot_ms, &was->slo_tpot_ms, shown->valid);
  if (v->bytes != was->bytes || !shown->valid) {
    lua_pushinteger(L, (lua_Integer)v->bytes);
    put(L, req, LLMD__LUA_REQ_bytes);
    was->bytes = v->bytes;
  }
  if (v->priority != was->priority || !shown->valid) {
    lua_pushinteger(L, v->priority);
    put(L, req, LLMD__LUA_REQ_priority);
    was->priority = v->priority;
  }
  if (v->flags != was->flags || !shown->valid)
    put_flags(L, req, v->flags);
  was->flags = v->flags;
}

static void put_header(lua_State *L, uint32_t r, const llmd_str *text, llmd_str *shown)
{
  if (same_text(text, shown))
    return;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_HEADERS_REAL);
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_FIELD + (lua_Integer)r);
  push_text(L, text, shown);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* Headers, and the prompt when the operator lets the policy see it. */
static void put_values(lua_State *L, const llmd__lua_work *w, int req, llmd__lua_shown *shown)
{
  const llmd__lua_own *o = w->own;
  for (uint32_t r = 0; r < o->policy->n_reads; r++) {
    uint32_t shows = o->policy->read[r].shows;
    if (shows == LLMD__LUA_SHOWS_HEADER)
      put_header(L, r, &w->value[r].str, &shown->header[r]);
    else if (shows == LLMD__LUA_SHOWS_PROMPT && o->self->prompt)
      put_text(L, req, LLMD__LUA_REQ_prompt, &w->value[r].str, &shown->prompt);
  }
}

static void put_time(lua_State *L, int req, int field, uint64_t ns, uint64_t *shown, uint32_t valid)
{
  if (ns == *shown && valid)
    return;
  lua_pushnumber(L, (double)ns / 1e9);
  put(L, req, field);
  *shown = ns;
}

void llmd__lua_request(lua_State *L, const llmd__lua_work *w)
{
  llmd__lua_shown *shown = &((llmd__lua_kept *)w->own->kept)->req;
  int req;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_REQ_REAL);
  req = lua_gettop(L);
  put_view(L, w->request, req, shown);
  put_values(L, w, req, shown);
  put_time(L, req, LLMD__LUA_REQ_now, w->now, &shown->now, shown->valid);
  put_time(L, req, LLMD__LUA_REQ_wall, w->wall, &shown->wall, shown->valid);
  if (w->n != shown->n || !shown->valid) {
    lua_pushinteger(L, (lua_Integer)w->n);
    put(L, req, LLMD__LUA_REQ_n);
    shown->n = w->n;
  }
  shown->valid = 1;
  lua_pop(L, 1);
}
