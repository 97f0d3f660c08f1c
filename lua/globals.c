/* Remarks about names that nobody defines: Lua takes every one that is no local variable and no parameter for a global,
 * and a global that is not there for nil, which shows when the line runs for the first time, if then.
 *
 *   compiled code ─► names of globals read and set ─► not there after load ─► the nearest name that is
 *
 * A global reached in another way than by its name is not seen. */
#include <string.h>

#include "module.h"

#include <lauxlib.h>

#define MOST 16u /* remarks */
#define ROOM 64u

typedef struct missing {
  char name[ROOM], near[ROOM];
  llmd__lua_near best; /* of near, or of text that stays */
  uint32_t line;       /* the first */
  uint32_t set;
  uint32_t elsewhere;  /* it is a name of something, but not where it stands */
} missing;

typedef struct search {
  const llmd__lua_maker *m;
  uint32_t n;
  missing found[MOST];
} search;

static int is_there(lua_State *L, const char *name, size_t len)
{
  int there;
  lua_pushglobaltable(L);
  lua_pushlstring(L, name, len);
  there = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 2);
  return there;
}

static void take(void *ud, uint32_t what, const char *name, size_t len, uint32_t line)
{
  search *s = ud;
  missing *f = s->found;
  if (what == LLMD__LUA_NAME_LOCAL || len >= ROOM || is_there(s->m->L, name, len))
    return;
  while (f < s->found + s->n && (strlen(f->name) != len || memcmp(f->name, name, len)))
    f++;
  if (f == s->found + MOST)
    return;
  if (f == s->found + s->n) {
    memcpy(f->name, name, len);
    f->name[len] = 0;
    f->best.word = f->name;
    f->line = line;
    s->n++;
  }
  f->line = line < f->line ? line : f->line;
  f->set |= what == LLMD__LUA_NAME_SET;
}

/* ---- what was meant --------------------------------------------------------------------------------------------- */

static void try(search *s, const char *name)
{
  for (uint32_t i = 0; i < s->n; i++) {
    if (!strcmp(s->found[i].name, name))
      s->found[i].elsewhere = 1;
    else
      llmd__lua_near_try(&s->found[i].best, name);
  }
}

/* Locals, whose names go again. */
static void try_local(void *ud, uint32_t what, const char *name, size_t len, uint32_t line)
{
  search *s = ud;
  char copy[ROOM];
  (void)line;
  if (what != LLMD__LUA_NAME_LOCAL || len >= ROOM)
    return;
  memcpy(copy, name, len);
  copy[len] = 0;
  try(s, copy);
  for (uint32_t i = 0; i < s->n; i++)
    if (s->found[i].best.best == copy) {
      memcpy(s->found[i].near, copy, len + 1);
      s->found[i].best.best = s->found[i].near;
    }
}

static void try_all(search *s)
{
  static const char *const arguments[] = {
#define LLMD__LUA_WORD_ARG(WHAT, name, type, doc) #name,
#include "words.def"
  };
  const llmd__lua_known *k;
  lua_State *L = s->m->L;
  for (uint32_t i = 0; i < s->m->p->n_reads; i++)
    try(s, s->m->p->read[i].field);
  for (uint32_t i = 0; (k = llmd__lua_known_at(i)) != NULL; i++)
    try(s, k->field);
  for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
    try(s, arguments[i]);
  lua_pushglobaltable(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING)
      try(s, lua_tostring(L, -1));
  }
  lua_pop(L, 1);
}

/* ---- what is said ----------------------------------------------------------------------------------------------- */

/* Among so many names one is always near: two letters may be wrong, and half of a short word. */
static const char *meant(missing *f, char hint[80])
{
  if (f->best.distance > 2 || 2 * f->best.distance > strlen(f->name))
    f->best.best = NULL;
  return llmd__lua_near_text(&f->best, hint);
}

/* Of Lua itself, and left out on purpose. */
static int is_left_out(const char *name)
{
  static const char *const names[] = {"_G",       "collectgarbage", "coroutine", "debug",        "dofile", "getmetatable",
                                      "io",       "load",           "loadfile",  "loadstring",   "next",   "os",
                                      "package",  "print",          "rawget",    "rawset",       "require", "setfenv",
                                      "setmetatable", "unpack",     "utf8",      "warn",         "xpcall", "bit32"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i], name))
      return 1;
  return 0;
}

static void tell(const llmd__lua_maker *m, missing *f)
{
  char hint[80];
  if (f->set)
    llmd__lua_remark(m, f->line, "global '%s' cannot be set after load: write local %s = ...", f->name, f->name);
  else if (is_left_out(f->name))
    llmd__lua_remark(m, f->line, "global '%s' is not there: policies have no such thing", f->name);
  else if (f->elsewhere)
    llmd__lua_remark(m, f->line, "global '%s' is not known: it is no local variable and no parameter here", f->name);
  else
    llmd__lua_remark(m, f->line, "global '%s' is not known%s", f->name, meant(f, hint));
}

/* In the order of lines. */
static void tell_all(search *s)
{
  for (uint32_t told = 0; told < s->n; told++) {
    missing *first = NULL;
    for (uint32_t i = 0; i < s->n; i++)
      if (s->found[i].name[0] && (!first || s->found[i].line < first->line))
        first = &s->found[i];
    tell(s->m, first);
    first->name[0] = 0;
  }
}

void llmd__lua_lint_globals(const llmd__lua_maker *m)
{
  search s = {.m = m};
  lua_State *L = m->L;
  if (!m->in->log)
    return;
  size_t mark = llmd__lua_mark(m->p->text, m->p->len);
  if (luaL_loadbufferx(L, m->p->text + mark, m->p->len - mark, "=lint", "t") != LUA_OK)
    lua_error(L);
  if (!llmd__lua_scan_names(L, take, &s) && s.n) {
    try_all(&s);
    llmd__lua_scan_names(L, try_local, &s);
    tell_all(&s);
  }
  lua_pop(L, 1);
}
