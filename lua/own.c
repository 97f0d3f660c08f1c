/* What a lane has of a policy: a state in which the text is loaded and frozen, its functions and parameters at hand.
 *
 *   one block of the host's allocator: the own           made by open, gone with close;
 *   one more: the arena of the state                     a decision asks the host for nothing
 *
 * A state that has run out of memory is made anew in the same arena. */
#include <string.h>

#include "kept.h"
#include "module.h"

#include <lauxlib.h>

#define MEMORY_FIXED (256u << 10)
#define MEMORY_EACH 1024u

/* ---- what stands ready in the registry -------------------------------------------------------------------------- */

static void push_param(lua_State *L, const llmd__lua_param *p, const void *self)
{
  const char *at = (const char *)self + p->offset;
  llmd_str text;
  uint32_t v;
  double d;
  switch (p->type) {
  case LLMD_PARAM_FLOAT:
    memcpy(&d, at, sizeof d);
    lua_pushnumber(L, d);
    return;
  case LLMD_PARAM_STRING:
    memcpy(&text, at, sizeof text);
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
    return;
  default:
    memcpy(&v, at, sizeof v);
    break;
  }
  if (p->type == LLMD_PARAM_BOOL)
    lua_pushboolean(L, v != 0);
  else
    lua_pushstring(L, p->values[v].name);
}

static void anchor_params(lua_State *L, llmd__lua_own *o)
{
  const llmd__lua_policy *p = o->policy;
  lua_createtable(L, 0, (int)p->n_params);
  for (uint32_t i = 0; i < p->n_params; i++) {
    lua_pushstring(L, p->param[i].name);
    push_param(L, &p->param[i], o->self);
    lua_rawset(L, -3);
  }
  llmd__lua_absent_param(L);
  llmd__lua_protect(L);
  o->params_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int anchor(lua_State *L)
{
  llmd__lua_own *o = lua_touserdata(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++) {
    o->verb_ref[v] = LUA_NOREF;
    if (!o->policy->verb[v].present)
      continue;
    lua_pushstring(L, llmd__lua_verb_names[v]);
    lua_rawget(L, -2);
    o->verb_ref[v] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  anchor_params(L, o);
  lua_pushboolean(L, 0);
  o->eval_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

void llmd__lua_push_verb(const llmd__lua_own *o, uint32_t verb)
{
  lua_rawgeti(o->lua.L, LUA_REGISTRYINDEX, o->verb_ref[verb]);
}

void llmd__lua_push_params(const llmd__lua_own *o)
{
  lua_rawgeti(o->lua.L, LUA_REGISTRYINDEX, o->params_ref);
}

/* ---- open, close ------------------------------------------------------------------------------------------------ */

/* While it loads, the text sees nothing of the host: what it makes of itself is the same in every lane. */
static int load(llmd__lua_own *o, uint64_t time_ns, llmd_err *err)
{
  const llmd__lua_limits limits = {LLMD__LUA_LOAD_INSTRUCTIONS, time_ns};
  const llmd_host clock = {.size = sizeof clock, .ctx = o->host.ctx, .clock = o->host.clock};
  const llmd__lua_policy *p = o->policy;
  int rc;
  o->lua.host = &clock;
  rc = llmd__lua_load(&o->lua, p->text, p->len, p->chunk, &limits, err);
  if (!rc)
    rc = llmd__lua_freeze(&o->lua, err);
  if (!rc) {
    rc = llmd__lua_call(&o->lua, NULL, anchor, o);
    if (rc)
      llmd__lua_fail(&o->lua, rc, p->chunk, err);
  }
  o->lua.host = &o->host;
  if (rc)
    return rc;
  rc = llmd__lua_kept_open(o);
  return rc ? llmd__lua_say(err, rc, 0, p->chunk, "out of memory") : 0;
}

static size_t memory_of(const llmd__lua_self *self, const llmd_host *host)
{
  return self->memory ? (size_t)self->memory : MEMORY_FIXED + (size_t)host->rows * MEMORY_EACH;
}

int llmd__lua_own_try(const llmd__lua_self *self, const llmd_host *host, llmd__lua_own **out, llmd_err *err)
{
  llmd__lua_own *o = host->alloc->fn(host->alloc->ud, NULL, 0, sizeof *o);
  const char *chunk = self->policy->chunk;
  int rc;
  if (!o)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, chunk, "out of memory");
  memset(o, 0, sizeof *o);
  o->self = self;
  o->policy = self->policy;
  memcpy(&o->host, host, host->size < sizeof o->host ? host->size : sizeof o->host);
  rc = llmd__lua_open(&o->lua, o->host.alloc, memory_of(self, host));
  if (rc) {
    host->alloc->fn(host->alloc->ud, o, sizeof *o, 0);
    return llmd__lua_say(err, rc, 0, chunk, "out of memory");
  }
  o->lua.user = o;
  rc = load(o, 0, err);
  if (rc) {
    llmd__lua_own_close(o);
    return rc;
  }
  *out = o;
  return 0;
}

int llmd__lua_own_open(const llmd__lua_self *self, const llmd_host *host, llmd__lua_own **out)
{
  llmd_err err = LLMD_ERR_INIT;
  return llmd__lua_own_try(self, host, out, &err);
}

void llmd__lua_own_close(llmd__lua_own *o)
{
  const llmd_allocator *a;
  if (!o)
    return;
  a = o->host.alloc;
  llmd__lua_kept_close(o);
  llmd__lua_close(&o->lua);
  a->fn(a->ud, o, sizeof *o, 0);
}

int llmd__lua_own_rebuild(llmd__lua_own *o, uint64_t time_ns)
{
  llmd_err err = LLMD_ERR_INIT;
  int rc;
  llmd__lua_kept_close(o);
  rc = llmd__lua_reopen(&o->lua);
  o->lua.until = !rc && time_ns && o->host.clock ? o->host.clock(o->host.ctx) + time_ns : 0;
  if (!rc)
    rc = load(o, time_ns, &err);
  o->rebuild = rc != 0;
  if (rc)
    o->lua.until = 0;
  return rc;
}

int llmd__lua_open_verb(const void *self, const llmd_host *host, void **own)
{
  llmd__lua_own *o;
  int rc = llmd__lua_own_open(self, host, &o);
  if (!rc)
    *own = o;
  return rc;
}

void llmd__lua_close_verb(const void *self, void *own)
{
  (void)self;
  llmd__lua_own_close(own);
}
