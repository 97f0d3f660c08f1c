/* For tools: a line of Lua, as if it stood in the policy's file, with the policy at hand:
 *
 *   p        its parameters          policy   its verbs: policy.score(...)          llmd, math, ... as ever
 *
 * An expression first (`p.queue * 2`), else statements; what comes back is written as Lua would be, tables one level
 * deep. */
#include <string.h>

#include "module.h"

#include <lauxlib.h>

#define NAMES "local p, policy = ...; "
#define CHUNK "input"
#define MOST_ENTRIES 200
#define INSTRUCTIONS_FIXED 100000u
#define INSTRUCTIONS_EACH 300u

typedef struct eval {
  llmd__lua_own *own;
  llmd_write_fn fn;
  void *ud;
  int stopped;
} eval;

/* ---- writing values --------------------------------------------------------------------------------------------- */

static void put(eval *e, const char *p, size_t n)
{
  if (!e->stopped && n)
    e->stopped = e->fn(e->ud, p, n);
}

static void put_text(eval *e, const char *text)
{
  put(e, text, strlen(text));
}

static void put_quoted(eval *e, const char *p, size_t n)
{
  static const char hex[] = "0123456789abcdef";
  put_text(e, "\"");
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)p[i];
    char escape[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
    if (c == '\n')
      put_text(e, "\\n");
    else if (c == '"' || c == '\\')
      put(e, (char[2]){'\\', (char)c}, 2);
    else if (c < 0x20 || c == 0x7f)
      put(e, escape, 4);
    else
      put(e, p + i, 1);
  }
  put_text(e, "\"");
}

/* The value at index, nothing inside it. */
static void put_plain(eval *e, lua_State *L, int index)
{
  char number[LLMD__LUA_NUMBER_ROOM];
  size_t len;
  const char *text;
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    put(e, number, llmd__lua_number_text(L, index, number));
    break;
  case LUA_TSTRING:
    text = lua_tolstring(L, index, &len);
    llmd__lua_charge(L, len / 16);
    put_quoted(e, text, len);
    break;
  case LUA_TBOOLEAN:
    put_text(e, lua_toboolean(L, index) ? "true" : "false");
    break;
  case LUA_TTABLE:
    put_text(e, "{...}");
    break;
  default:
    put_text(e, lua_typename(L, lua_type(L, index)));
    break;
  }
}

static void put_key(eval *e, lua_State *L, int index, lua_Integer *next)
{
  size_t len;
  const char *text;
  if (lua_isinteger(L, index) && lua_tointeger(L, index) == *next) {
    ++*next;
    return;
  }
  if (lua_type(L, index) == LUA_TSTRING) {
    text = lua_tolstring(L, index, &len);
    if (llmd__lua_identifier(text, len)) {
      put(e, text, len);
      put_text(e, " = ");
      return;
    }
  }
  put_text(e, "[");
  put_plain(e, L, index);
  put_text(e, "] = ");
}

/* By the sandbox's own pairs: sorted, and through read-only tables. */
static void put_table(eval *e, lua_State *L, int index)
{
  lua_Integer next = 1;
  int top = lua_gettop(L), n = 0;
  put_text(e, "{");
  lua_getglobal(L, "pairs");
  lua_pushvalue(L, index);
  lua_call(L, 1, 3);
  for (;; n++) {
    lua_pushvalue(L, top + 1);
    lua_pushvalue(L, top + 2);
    lua_pushvalue(L, top + 3);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2) || n == MOST_ENTRIES)
      break;
    put_text(e, n ? ", " : "");
    put_key(e, L, top + 4, &next);
    put_plain(e, L, top + 5);
    lua_pop(L, 1);
    lua_replace(L, top + 3);
  }
  put_text(e, lua_isnil(L, -2) ? "}" : ", ...}");
  lua_settop(L, top);
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void push_verbs(lua_State *L, const llmd__lua_own *o)
{
  lua_createtable(L, 0, LLMD__LUA_VERBS);
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++) {
    if (!o->policy->verb[v].present)
      continue;
    lua_pushstring(L, llmd__lua_verb_names[v]);
    llmd__lua_push_verb(o, v);
    lua_rawset(L, -3);
  }
}

static int run(lua_State *L)
{
  eval *e = lua_touserdata(L, 1);
  int top = lua_gettop(L), n;
  lua_rawgeti(L, LUA_REGISTRYINDEX, e->own->eval_ref);
  llmd__lua_push_params(e->own);
  push_verbs(L, e->own);
  lua_call(L, 2, LUA_MULTRET);
  n = lua_gettop(L);
  llmd__lua_stack(L, 10);
  for (int i = top + 1; i <= n; i++) {
    put_text(e, i > top + 1 ? "\t" : "");
    if (lua_istable(L, i))
      put_table(e, L, i);
    else
      put_plain(e, L, i);
  }
  if (n > top)
    put_text(e, "\n");
  return 0;
}

/* Compiles text behind before, and puts the function into its place, which is there already: nothing can fail. */
static int compile(llmd__lua_own *o, const char *before, const char *text, size_t len, llmd_err *err)
{
  const llmd_allocator *a = o->host.alloc;
  size_t n = strlen(before);
  char *whole = len <= LLMD_POLICY_BYTES ? a->fn(a->ud, NULL, 0, n + len + 1) : NULL;
  int rc;
  if (!whole)
    return llmd__lua_say(err, len > LLMD_POLICY_BYTES ? LLMD_E_LIMIT : LLMD_E_NOMEM, 0, CHUNK, "the text is too long");
  memcpy(whole, before, n);
  if (len)
    memcpy(whole + n, text, len);
  whole[n + len] = 0;
  rc = llmd__lua_compile(&o->lua, whole, n + len, CHUNK, err);
  a->fn(a->ud, whole, n + len + 1, 0);
  if (!rc)
    lua_rawseti(o->lua.L, LUA_REGISTRYINDEX, o->eval_ref);
  return rc;
}

static void limits_of(const llmd__lua_own *o, llmd__lua_limits *limits)
{
  const llmd__lua_self *s = o->self;
  limits->instructions = s->instructions ? (uint64_t)s->instructions
                                         : INSTRUCTIONS_FIXED + (uint64_t)o->host.rows * INSTRUCTIONS_EACH;
  limits->time_ns = (uint64_t)s->time;
}

int llmd__lua_eval(const void *self, void *own, const char *text, size_t len, llmd_write_fn fn, void *ud, llmd_err *err)
{
  llmd__lua_own *o = own;
  eval e = {o, fn, ud, 0};
  llmd__lua_limits limits;
  int rc = o->rebuild ? llmd__lua_own_rebuild(o, 0) : 0;
  (void)self;
  if (rc)
    return llmd__lua_say(err, rc, 0, CHUNK, "out of memory");
  rc = compile(o, NAMES "return ", text, len, err);
  if (rc && rc != LLMD_E_NOMEM)
    rc = compile(o, NAMES, text, len, err);
  if (rc)
    return rc;
  limits_of(o, &limits);
  o->lua.writing = 0;
  o->lua.random = 1;
  rc = llmd__lua_call(&o->lua, &limits, run, &e);
  if (rc == LLMD_E_NOMEM)
    o->rebuild = 1;
  if (rc)
    return llmd__lua_fail(&o->lua, rc, CHUNK, err);
  return e.stopped ? LLMD_E_STOPPED : 0;
}
