/* A Lua state without a policy around it, for the tests of lua/state.h: load a text, call a function of the table that
 * it returned, see what came of it. Include after cmocka.h. */
#ifndef LLMD_TESTS_STATE_RIG_H
#define LLMD_TESTS_STATE_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

#include "../failing_alloc.h"

#define RIG_MEMORY ((size_t)256 << 10)

/* A clock that moves by itself: each look costs `tick`. */
typedef struct rig_clock {
  uint64_t now, tick;
} rig_clock;

typedef struct rig {
  failing_alloc mem;
  llmd__lua lua;
  llmd_host host;
  rig_clock clock;
  llmd__lua_limits limits; /* of rig_call */
  llmd_err err;
  char text[256]; /* what the last call returned, when that was a string or a number */
} rig;

static inline uint64_t rig_time(void *ctx)
{
  rig_clock *c = ctx;
  return c->now += c->tick;
}

static inline int rig_open(rig *r, size_t memory)
{
  memset(r, 0, sizeof *r);
  failing_alloc_init(&r->mem, 0);
  r->limits.instructions = 100000;
  r->err.size = sizeof r->err;
  int rc = llmd__lua_open(&r->lua, &r->mem.a, memory);
  r->host.clock = rig_time;
  r->host.ctx = &r->clock;
  r->lua.host = &r->host;
  return rc;
}

static inline void rig_close(rig *r)
{
  llmd__lua_close(&r->lua);
  assert_int_equal(r->mem.blocks, 0);
  assert_int_equal(r->mem.bytes, 0);
}

static inline int rig_load(rig *r, const char *text)
{
  static const llmd__lua_limits limits = {10000000, 0};
  return llmd__lua_load(&r->lua, text, strlen(text), "test.lua", &limits, &r->err);
}

/* Loads and freezes; both must work. */
static inline void rig_start(rig *r, const char *text)
{
  assert_int_equal(rig_open(r, RIG_MEMORY), 0);
  int rc = rig_load(r, text);
  if (rc == 0)
    rc = llmd__lua_freeze(&r->lua, &r->err);
  if (rc != 0)
    print_message("# %s:%u: %s\n", r->err.path, r->err.line, r->err.text);
  assert_int_equal(rc, 0);
}

typedef struct rig_turn {
  rig *r;
  const char *name;
} rig_turn;

static inline int rig_turn_run(lua_State *L)
{
  rig_turn *t = lua_touserdata(L, 1);
  size_t len = 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  lua_pushstring(L, t->name);
  lua_rawget(L, -2);
  lua_call(L, 0, 1);
  t->r->text[0] = '\0';
  if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER)
    snprintf(t->r->text, sizeof t->r->text, "%s", lua_tolstring(L, -1, &len));
  else
    snprintf(t->r->text, sizeof t->r->text, "%s", lua_toboolean(L, -1) ? "true" : lua_typename(L, lua_type(L, -1)));
  return 0;
}

static inline int rig_call(rig *r, const char *name)
{
  rig_turn t = {r, name};
  int top = lua_gettop(r->lua.L);
  int rc = llmd__lua_call(&r->lua, &r->limits, rig_turn_run, &t);
  assert_int_equal(lua_gettop(r->lua.L), top);
  assert_ptr_equal(lua_gethook(r->lua.L), NULL);
  return rc;
}

/* f of the text, called once: what it returns. */
static inline void assert_gives(const char *text, const char *wanted)
{
  rig r;
  rig_start(&r, text);
  int rc = rig_call(&r, "f");
  if (rc != 0)
    print_message("# %d: %s\n", rc, r.lua.trouble);
  assert_int_equal(rc, 0);
  assert_string_equal(r.text, wanted);
  rig_close(&r);
}

/* f of the text, called once: how it fails, and that nothing is left of it. */
static inline void assert_fails(const char *text, int code, const char *trouble)
{
  rig r;
  rig_start(&r, text);
  int rc = rig_call(&r, "f");
  if (rc != code || strstr(r.lua.trouble, trouble) == NULL)
    print_message("# %d: %s\n# of: %s\n", rc, r.lua.trouble, text);
  assert_int_equal(rc, code);
  assert_non_null(strstr(r.lua.trouble, trouble));
  assert_int_equal(rig_call(&r, "g"), 0);
  assert_string_equal(r.text, "42");
  rig_close(&r);
}

#endif
