/* Values of a policy's table, into C (input.h). */
#include "input.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int llmd__lua_in_wrong(llmd__lua_in *r, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->s->why, sizeof r->s->why, fmt, ap);
  va_end(ap);
  return r->rc = LLMD_E_PLUGIN;
}

void *llmd__lua_in_room(llmd__lua_in *r, size_t bytes)
{
  void *p = llmd__lua_block(r->s->p->alloc, &r->s->blocks, bytes ? bytes : 1);
  if (!p)
    r->rc = LLMD_E_NOMEM;
  return p;
}

static int unknown(llmd__lua_in *r, const char *what, const char *word, const llmd__lua_near *near)
{
  char hint[80];
  return llmd__lua_in_wrong(r, "%s has no \"%s\"%s", what, word, llmd__lua_near_text(near, hint));
}

int llmd__lua_in_field(llmd__lua_in *r, int table, const char *key)
{
  llmd__lua_get(r->L, table, key);
  return !lua_isnil(r->L, -1);
}

int llmd__lua_in_number(llmd__lua_in *r, int table, const char *key, double *out)
{
  if (llmd__lua_in_field(r, table, key)) {
    if (lua_type(r->L, -1) == LUA_TNUMBER)
      *out = lua_tonumber(r->L, -1);
    else if (lua_isboolean(r->L, -1))
      *out = lua_toboolean(r->L, -1);
    else
      llmd__lua_in_wrong(r, "%s must be a number, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return r->rc;
}

int llmd__lua_in_text(llmd__lua_in *r, const char *what, llmd_str *out)
{
  llmd_str text;
  char *copy;
  if (!llmd__lua_text_at(r->L, -1, LLMD__LUA_IN_TEXT, &text))
    return llmd__lua_in_wrong(r, "%s must be a string of at most %u bytes, not %s", what, LLMD__LUA_IN_TEXT,
                              llmd__lua_kind_at(r->L, -1));
  copy = llmd__lua_in_room(r, text.len + 1);
  if (!copy)
    return r->rc;
  memcpy(copy, text.ptr, text.len);
  out->ptr = copy;
  out->len = text.len;
  return 0;
}

int llmd__lua_in_text_of(llmd__lua_in *r, int table, const char *key, llmd_str *out)
{
  if (llmd__lua_in_field(r, table, key))
    llmd__lua_in_text(r, key, out);
  lua_pop(r->L, 1);
  return r->rc;
}

int llmd__lua_in_table(llmd__lua_in *r, int table, const char *key)
{
  if (llmd__lua_in_field(r, table, key)) {
    if (lua_istable(r->L, -1))
      return lua_gettop(r->L);
    llmd__lua_in_wrong(r, "%s must be a table, not %s", key, llmd__lua_kind_at(r->L, -1));
  }
  lua_pop(r->L, 1);
  return 0;
}

int llmd__lua_in_words(llmd__lua_in *r, int table, const char *what, const char *const *words)
{
  lua_pushnil(r->L);
  while (!r->rc && lua_next(r->L, table)) {
    llmd_str key = {"", 0};
    const char *const *w = words;
    lua_pop(r->L, 1);
    if (!llmd__lua_text_at(r->L, -1, 63, &key))
      return llmd__lua_in_wrong(r, "%s has %s as a name", what, llmd__lua_kind_at(r->L, -1));
    llmd__lua_near near = {key.ptr, NULL, 0};
    while (*w && strcmp(*w, key.ptr))
      llmd__lua_near_try(&near, *w++);
    if (!*w)
      return unknown(r, what, key.ptr, &near);
  }
  return r->rc;
}

