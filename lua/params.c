/* Parameters. Some are every policy's and the operator's (where the text is, what it may cost); those of the text,
 *
 *   params = {queue = {default = 2, min = 0, max = 10}, mode = {default = "fast", values = {...}}, dry = false}
 *
 * become rows of their own under `params`, so that the core reads, checks and describes them as it does for C plugins:
 *
 *   parameters: {file: blend.lua, params: {queue: 3, mode: slow}}
 *
 * Numbers are floats, whatever the default looks like. */
#include <float.h>
#include <stddef.h>
#include <string.h>

#include "module.h"

#define MOST_VALUES 32u
#define VALUE_LEN 63u
#define TEXT_LEN 255u
#define DOC_LEN 200u

static const llmd_param operators[] = {
  {.name = "file", .type = LLMD_PARAM_STRING, .offset = offsetof(llmd__lua_self, file),
   .doc = "file that holds the policy"},
  {.name = "source", .type = LLMD_PARAM_STRING, .offset = offsetof(llmd__lua_self, source),
   .doc = "the policy itself, instead of a file"},
  {.name = "memory", .type = LLMD_PARAM_QUANTITY, .offset = offsetof(llmd__lua_self, memory), .preset = "0", .min = 0,
   .max = 1073741824, .doc = "bytes that each lane's state may use; 0 = 256Ki and 1Ki per endpoint"},
  {.name = "instructions", .type = LLMD_PARAM_INT, .offset = offsetof(llmd__lua_self, instructions), .preset = "0",
   .min = 0, .max = 1e12, .doc = "instructions that one call may take; 0 = 100000 and 300 per endpoint"},
  {.name = "time", .type = LLMD_PARAM_DURATION, .offset = offsetof(llmd__lua_self, time), .preset = "2ms", .min = 0,
   .max = 6e10, .doc = "time that one call may take; 0 = no limit"},
  {.name = "prompt", .type = LLMD_PARAM_BOOL, .offset = offsetof(llmd__lua_self, prompt), .preset = "false",
   .doc = "the policy may read the beginning of prompts"},
  {.name = "bypass", .type = LLMD_PARAM_DURATION, .offset = offsetof(llmd__lua_self, bypass), .preset = "30s", .min = 0,
   .max = 86400e9, .doc = "how long the policy is left out after three failures within a minute"}};
#define N_OPERATORS (sizeof operators / sizeof *operators)

/* What a row of the text says, before it is checked. */
typedef struct row {
  const llmd__lua_maker *m;
  const char *name;
  uint32_t line;
  llmd_param *out;
  llmd__lua_param *param;
} row;

static const char *const words[] = {
#define LLMD__LUA_WORD_PARAM(name, type, doc) #name,
#include "words.def"
  NULL};

/* ---- one row ---------------------------------------------------------------------------------------------------- */

static int check_words(const row *r, int spec)
{
  const char *key[16];
  int n = llmd__lua_keys(r->m, spec, r->name, 0, key, 16);
  for (int i = 0; i < n; i++) {
    llmd__lua_near near = {key[i], NULL, 0};
    const char *const *w = words;
    while (*w && strcmp(*w, key[i]))
      llmd__lua_near_try(&near, *w++);
    if (!*w)
      return llmd__lua_unknown(r->m, "a parameter", key[i], &near);
  }
  return n < 0 ? n : 0;
}

/* A finite number of the spec; *given says whether there is one. */
static int take_number(const row *r, int spec, const char *key, double *out, int *given)
{
  lua_State *L = r->m->L;
  double v = 0;
  int rc = 0;
  llmd__lua_get(L, spec, key);
  *given = !lua_isnil(L, -1);
  if (lua_type(L, -1) == LUA_TNUMBER)
    v = lua_tonumber(L, -1);
  else if (*given)
    rc = llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s: %s must be a number, not %s", r->name, key,
                         llmd__lua_kind_at(L, -1));
  if (v - v != 0)
    rc = llmd__lua_wrong(r->m, LLMD_E_RANGE, r->line, "params.%s: %s must be finite", r->name, key);
  lua_pop(L, 1);
  if (!rc && *given)
    *out = v;
  return rc;
}

static int take_range(const row *r, int spec)
{
  int has_min = 0, has_max = 0;
  double min = -DBL_MAX, max = DBL_MAX;
  int rc = take_number(r, spec, "min", &min, &has_min);
  if (!rc)
    rc = take_number(r, spec, "max", &max, &has_max);
  if (rc || (!has_min && !has_max))
    return rc;
  if (r->out->type != LLMD_PARAM_FLOAT)
    return llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s is no number: it has no min and max", r->name);
  if (!(min < max))
    return llmd__lua_wrong(r->m, LLMD_E_RANGE, r->line, "params.%s: min must be less than max", r->name);
  if (r->param->number < min || r->param->number > max)
    return llmd__lua_wrong(r->m, LLMD_E_RANGE, r->line, "params.%s: its default is out of its range", r->name);
  r->out->min = min;
  r->out->max = max;
  return 0;
}

static int take_default_number(const row *r, double v)
{
  char text[LLMD__LUA_NUMBER_ROOM];
  if (v - v != 0)
    return llmd__lua_wrong(r->m, LLMD_E_RANGE, r->line, "params.%s: its default must be finite", r->name);
  llmd__lua_real_text(v, text);
  r->out->type = LLMD_PARAM_FLOAT;
  r->out->preset = llmd__lua_keep(r->m->p, text, strlen(text));
  r->param->number = v;
  return r->out->preset ? 0 : llmd__lua_nomem(r->m);
}

static int take_default_text(const row *r)
{
  llmd_str text;
  if (!llmd__lua_text_at(r->m->L, -1, TEXT_LEN, &text))
    return llmd__lua_wrong(r->m, LLMD_E_LIMIT, r->line, "params.%s: a text has at most %u bytes and no NUL", r->name,
                           TEXT_LEN);
  r->out->type = LLMD_PARAM_STRING;
  r->out->preset = llmd__lua_keep(r->m->p, text.ptr, text.len);
  r->param->text.ptr = r->out->preset;
  r->param->text.len = text.len;
  return r->out->preset ? 0 : llmd__lua_nomem(r->m);
}

/* Of the value at the top. Its type is the parameter's. */
static int take_default(const row *r)
{
  lua_State *L = r->m->L;
  switch (lua_type(L, -1)) {
  case LUA_TBOOLEAN:
    r->out->type = LLMD_PARAM_BOOL;
    r->out->preset = lua_toboolean(L, -1) ? "true" : "false";
    r->param->number = lua_toboolean(L, -1);
    return 0;
  case LUA_TNUMBER:
    return take_default_number(r, lua_tonumber(L, -1));
  case LUA_TSTRING:
    return take_default_text(r);
  case LUA_TNIL:
    return llmd__lua_wrong(r->m, LLMD_E_MISSING, r->line, "params.%s needs a default", r->name);
  default:
    return llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line,
                           "params.%s: the default must be a number, a string or a boolean, not %s", r->name,
                           llmd__lua_kind_at(L, -1));
  }
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static int take_value(const row *r, int list, lua_Integer i, llmd_enum *out)
{
  llmd_str text = {NULL, 0};
  int rc = 0;
  lua_rawgeti(r->m->L, list, i);
  if (!llmd__lua_text_at(r->m->L, -1, VALUE_LEN, &text) || !text.len)
    rc = llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s: values are strings of 1 to %u bytes", r->name,
                         VALUE_LEN);
  else if (!(out->name = llmd__lua_keep(r->m->p, text.ptr, text.len)))
    rc = llmd__lua_nomem(r->m);
  out->value = (uint32_t)i - 1;
  lua_pop(r->m->L, 1);
  return rc;
}

static int take_default_of(const row *r, const llmd_enum *values)
{
  for (const llmd_enum *e = values; e->name; e++)
    if (!strcmp(e->name, r->out->preset)) {
      r->param->number = e->value;
      r->out->type = LLMD_PARAM_ENUM;
      r->out->values = values;
      return 0;
    }
  return llmd__lua_wrong(r->m, LLMD_E_RANGE, r->line, "params.%s: its default is none of its values", r->name);
}

static int take_values(const row *r, int spec)
{
  lua_State *L = r->m->L;
  llmd_enum *values;
  lua_Unsigned n;
  int rc = 0, list;
  llmd__lua_get(L, spec, "values");
  list = lua_gettop(L);
  if (lua_isnil(L, list)) {
    lua_pop(L, 1);
    return 0;
  }
  n = lua_istable(L, list) ? lua_rawlen(L, list) : 0;
  if (!n || n > MOST_VALUES)
    rc = llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s: values must be a list of 1 to %u strings", r->name,
                         MOST_VALUES);
  else if (r->out->type != LLMD_PARAM_STRING)
    rc = llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s is no string: it has no values", r->name);
  values = rc ? NULL : llmd__lua_room(r->m->p, (n + 1) * sizeof *values);
  if (!rc && !values)
    rc = llmd__lua_nomem(r->m);
  for (lua_Integer i = 1; !rc && i <= (lua_Integer)n; i++)
    rc = take_value(r, list, i, &values[i - 1]);
  if (!rc)
    rc = take_default_of(r, values);
  lua_settop(L, list - 1);
  return rc;
}

static int take_doc(const row *r, int spec)
{
  llmd_str text = {NULL, 0};
  int rc = 0;
  llmd__lua_get(r->m->L, spec, "doc");
  if (lua_isnil(r->m->L, -1))
    r->out->doc = "a parameter of the policy";
  else if (!llmd__lua_text_at(r->m->L, -1, DOC_LEN, &text))
    rc = llmd__lua_wrong(r->m, LLMD_E_TYPE, r->line, "params.%s: doc must be a string of at most %u bytes", r->name,
                         DOC_LEN);
  else if (!(r->out->doc = llmd__lua_keep(r->m->p, text.ptr, text.len)))
    rc = llmd__lua_nomem(r->m);
  lua_pop(r->m->L, 1);
  return rc;
}

static int take_spec(const row *r, int spec)
{
  int rc = check_words(r, spec);
  if (rc)
    return rc;
  llmd__lua_get(r->m->L, spec, "default");
  rc = take_default(r);
  lua_pop(r->m->L, 1);
  if (!rc)
    rc = take_range(r, spec);
  if (!rc)
    rc = take_values(r, spec);
  return rc ? rc : take_doc(r, spec);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static uint32_t size_of(uint32_t type)
{
  return type == LLMD_PARAM_FLOAT ? (uint32_t)sizeof(double)
       : type == LLMD_PARAM_STRING ? (uint32_t)sizeof(llmd_str)
                                   : (uint32_t)sizeof(uint32_t);
}

/* Room for its value, where that is aligned. offset: from the end of llmd__lua_self. */
static void place(const row *r, uint32_t *offset)
{
  uint32_t size = size_of(r->out->type);
  uint32_t align = size > 8 ? 8 : size;
  *offset = (*offset + align - 1) / align * align;
  r->out->offset = *offset;
  r->param->type = r->out->type;
  r->param->values = r->out->values;
  r->param->offset = (uint32_t)sizeof(llmd__lua_self) + *offset;
  *offset += size;
}

static int take_one(llmd__lua_maker *m, int params, const char *name, llmd_param *out, uint32_t *offset)
{
  llmd__lua_param *param = &m->p->param[m->p->n_params];
  row r = {m, name, llmd__lua_line_of(m->p, name), out, param};
  int rc;
  if (!llmd__lua_identifier(name, strlen(name)))
    return llmd__lua_wrong(m, LLMD_E_SYNTAX, r.line, "params: \"%s\" cannot be written as p.NAME", name);
  param->name = out->name = llmd__lua_keep(m->p, name, strlen(name));
  if (!param->name)
    return llmd__lua_nomem(m);
  llmd__lua_get(m->L, params, name);
  if (lua_istable(m->L, -1)) {
    rc = take_spec(&r, lua_gettop(m->L));
  } else {
    rc = take_default(&r);
    out->doc = "a parameter of the policy";
  }
  lua_pop(m->L, 1);
  if (rc)
    return rc;
  place(&r, offset);
  m->p->n_params++;
  return 0;
}

/* The operator's rows, and `params` with those of the policy under it. */
static int make_table(llmd__lua_maker *m, const llmd_param *sub, uint32_t bytes)
{
  uint32_t n = (uint32_t)N_OPERATORS;
  llmd_param *rows = llmd__lua_room(m->p, (n + 2) * sizeof *rows);
  if (!rows)
    return llmd__lua_nomem(m);
  memcpy(rows, operators, sizeof operators);
  rows[n].name = "params";
  rows[n].type = LLMD_PARAM_OBJECT;
  rows[n].offset = (uint32_t)sizeof(llmd__lua_self);
  rows[n].sub = sub;
  rows[n].sub_size = bytes;
  rows[n].doc = "the policy's own parameters";
  m->p->plugin.params = rows;
  m->p->plugin.self_size = (uint32_t)sizeof(llmd__lua_self) + bytes;
  return 0;
}

int llmd__lua_take_params(llmd__lua_maker *m)
{
  const char *key[LLMD__LUA_PARAMS];
  llmd_param *sub = llmd__lua_room(m->p, (LLMD__LUA_PARAMS + 1) * sizeof *sub);
  uint32_t bytes = 0;
  int n = 0, rc = 0, params;
  if (!sub)
    return llmd__lua_nomem(m);
  llmd__lua_get(m->L, m->module, "params");
  params = lua_gettop(m->L);
  if (lua_istable(m->L, params))
    n = llmd__lua_keys(m, params, "params", 0, key, LLMD__LUA_PARAMS);
  else if (!lua_isnil(m->L, params))
    n = llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, "params"), "params must be a table, not %s",
                        llmd__lua_kind_at(m->L, params));
  for (int i = 0; i < n && !rc; i++)
    rc = take_one(m, params, key[i], &sub[i], &bytes);
  lua_settop(m->L, params - 1);
  return n < 0 ? n : rc ? rc : make_table(m, sub, bytes);
}
