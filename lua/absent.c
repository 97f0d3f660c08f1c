/* Reading a name that the table cannot have is an error, not nil: cols.waitng would show only where the line runs, and
 * what is said of nil there says little about the name. Names that are there are found before anybody looks here, so
 * that this costs them nothing. */
#include <string.h>

#include <lauxlib.h>

#include "kept.h"
#include "module.h"

/* What comparing names costs in instructions, roughly. */
#define EQUAL 4u
#define NEAR 100u

/* Whether arguments are a table and a name. Others are nil, as ever. */
static const llmd__lua_policy *asked(lua_State *L)
{
  const llmd__lua_own *o = llmd__lua_state(L)->user;
  if (lua_type(L, 2) != LUA_TSTRING)
    return NULL;
  llmd__lua_charge(L, EQUAL);
  return o->policy;
}

/* TABLE.NAME is not declared in PLACE; near has seen what is. Upvalue: the table. */
static int undeclared(lua_State *L, const llmd__lua_near *near, const char *place)
{
  char hint[80];
  return luaL_error(L, "%s.%s is not declared in %s%s", lua_tostring(L, lua_upvalueindex(1)), near->word, place,
                    llmd__lua_near_text(near, hint));
}

/* Of cols, or of ep. */
static int no_column(lua_State *L)
{
  const llmd__lua_policy *p = asked(L);
  llmd__lua_near near = {p ? lua_tostring(L, 2) : NULL, NULL, 0};
  if (!p)
    return 0;
  llmd__lua_charge(L, NEAR);
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (llmd__lua_is_column(p->read[i].shows))
      llmd__lua_near_try(&near, p->read[i].field);
  return undeclared(L, &near, "reads");
}

/* One that is declared is nil: the request has none. */
static int no_header(lua_State *L)
{
  const llmd__lua_policy *p = asked(L);
  if (!p)
    return 0;
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_HEADER && !strcmp(p->read[i].field, lua_tostring(L, 2)))
      return 0;
  return luaL_error(L, "req.headers[\"%s\"] is not declared in reads", lua_tostring(L, 2));
}

static int reads_prompt(const llmd__lua_policy *p)
{
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (p->read[i].shows == LLMD__LUA_SHOWS_PROMPT)
      return 1;
  return 0;
}

/* What has not been given is nil. */
static int no_field(lua_State *L)
{
  const llmd__lua_policy *p = asked(L);
  llmd__lua_near near = {NULL, NULL, 0};
  char hint[80];
  if (!p)
    return 0;
  near.word = lua_tostring(L, 2);
  if (!strcmp(near.word, llmd__lua_req_names[LLMD__LUA_REQ_prompt]) && !reads_prompt(p))
    return luaL_error(L, "req.prompt is not declared in reads");
  for (uint32_t i = 0; i < LLMD__LUA_REQ_FIELDS; i++)
    if (!strcmp(llmd__lua_req_names[i], near.word))
      return 0;
  llmd__lua_charge(L, NEAR);
  for (uint32_t i = 0; i < LLMD__LUA_REQ_FIELDS; i++)
    llmd__lua_near_try(&near, llmd__lua_req_names[i]);
  return luaL_error(L, "req has no '%s'%s", near.word, llmd__lua_near_text(&near, hint));
}

static int no_param(lua_State *L)
{
  const llmd__lua_policy *p = asked(L);
  llmd__lua_near near = {p ? lua_tostring(L, 2) : NULL, NULL, 0};
  if (!p)
    return 0;
  llmd__lua_charge(L, NEAR);
  for (uint32_t i = 0; i < p->n_params; i++)
    llmd__lua_near_try(&near, p->param[i].name);
  return undeclared(L, &near, "params");
}

/* The table on top answers by fn, with upvalue what, for names that are not there. */
static void answer(lua_State *L, lua_CFunction fn, const char *what)
{
  if (!lua_getmetatable(L, -1))
    lua_createtable(L, 0, 1);
  lua_pushstring(L, what);
  lua_pushcclosure(L, fn, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

void llmd__lua_absent_column(lua_State *L, const char *what)
{
  answer(L, no_column, what);
}

void llmd__lua_absent_field(lua_State *L)
{
  answer(L, no_field, "req");
}

void llmd__lua_absent_header(lua_State *L)
{
  answer(L, no_header, "headers");
}

void llmd__lua_absent_param(lua_State *L)
{
  answer(L, no_param, "p");
}
