/* From text to policy: compiled once, looked through, described as the core wants it (llmd_plugin). What is wrong is
 * said here, with file and line, before any lane runs it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "module.h"

#include <lauxlib.h>

#define LOAD_MEMORY ((size_t)2 << 20) /* of the state in which the text is looked through */
#define NAME_LEN 63u
#define SUMMARY_LEN 200u
#define MOST_STORE (1u << 24)
#define MOST_EXAMPLES 1000u

const char *const llmd__lua_verb_names[LLMD__LUA_VERBS] = {"filter", "score",  "pick",     "decide", "produce",
                                                           "commit", "report", "profiles", "primary"};

/* ---- what it keeps ---------------------------------------------------------------------------------------------- */

typedef union block {
  struct {
    union block *next;
    size_t bytes;
  } head;
  max_align_t align;
} block;

void *llmd__lua_block(const llmd_allocator *a, void **list, size_t bytes)
{
  block *b = bytes < SIZE_MAX / 2 ? a->fn(a->ud, NULL, 0, sizeof *b + bytes) : NULL;
  if (!b)
    return NULL;
  memset(b, 0, sizeof *b + bytes);
  b->head.bytes = sizeof *b + bytes;
  b->head.next = *list;
  *list = b;
  return b + 1;
}

void llmd__lua_blocks_free(const llmd_allocator *a, void **list)
{
  block *b = *list;
  while (b) {
    block *next = b->head.next;
    a->fn(a->ud, b, b->head.bytes, 0);
    b = next;
  }
  *list = NULL;
}

void *llmd__lua_room(llmd__lua_policy *p, size_t bytes)
{
  return llmd__lua_block(p->alloc, &p->blocks, bytes);
}

const char *llmd__lua_keep(llmd__lua_policy *p, const char *text, size_t len)
{
  char *copy = llmd__lua_room(p, len + 1);
  if (copy && len)
    memcpy(copy, text, len);
  return copy;
}

void llmd__lua_policy_free(llmd__lua_policy *p)
{
  const llmd_allocator *a;
  if (!p)
    return;
  a = p->alloc;
  llmd__lua_blocks_free(a, &p->blocks);
  if (p->text)
    a->fn(a->ud, p->text, p->len + 1, 0);
  a->fn(a->ud, p, sizeof *p, 0);
}

/* ---- what is wrong with it -------------------------------------------------------------------------------------- */

static void printable(char *s)
{
  for (; *s; s++)
    if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f)
      *s = '?';
}

static int say(llmd_err *err, int code, uint32_t line, const char *path, const char *fmt, va_list ap)
{
  if (!err || err->size < sizeof *err)
    return code;
  err->code = code;
  err->line = line;
  err->column = 0;
  snprintf(err->path, sizeof err->path, "%s", path ? path : "");
  vsnprintf(err->text, sizeof err->text, fmt, ap);
  printable(err->path);
  printable(err->text);
  return code;
}

int llmd__lua_say(llmd_err *err, int code, uint32_t line, const char *path, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  say(err, code, line, path, fmt, ap);
  va_end(ap);
  return code;
}

int llmd__lua_wrong(const llmd__lua_maker *m, int code, uint32_t line, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  say(m->err, code, line, m->p->chunk, fmt, ap);
  va_end(ap);
  return code;
}

void llmd__lua_remark(const llmd__lua_maker *m, uint32_t line, const char *fmt, ...)
{
  char text[400];
  va_list ap;
  int n;
  if (!m->in->log)
    return;
  n = snprintf(text, sizeof text, "%.127s:%u: ", m->p->chunk, (unsigned)line);
  va_start(ap, fmt);
  vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
  va_end(ap);
  printable(text);
  m->in->log(m->in->log_ud, LLMD_LOG_WARN, "policy", text, strlen(text));
}

int llmd__lua_nomem(const llmd__lua_maker *m)
{
  return llmd__lua_wrong(m, LLMD_E_NOMEM, 0, "out of memory");
}

/* ---- reading tables, raw ---------------------------------------------------------------------------------------- */

int llmd__lua_text_at(lua_State *L, int index, size_t max, llmd_str *out)
{
  if (lua_type(L, index) != LUA_TSTRING)
    return 0;
  out->ptr = lua_tolstring(L, index, &out->len);
  return out->len <= max && !memchr(out->ptr, 0, out->len);
}

const char *llmd__lua_kind_at(lua_State *L, int index)
{
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    return "nothing";
  case LUA_TBOOLEAN:
    return "a boolean";
  case LUA_TNUMBER:
    return "a number";
  case LUA_TSTRING:
    return "a string";
  case LUA_TTABLE:
    return "a table";
  case LUA_TFUNCTION:
    return "a function";
  default:
    return "something else";
  }
}

void llmd__lua_get(lua_State *L, int table, const char *key)
{
  table = lua_absindex(L, table);
  lua_pushstring(L, key);
  lua_rawget(L, table);
}

/* Sorted, so that the same text always gives the same rows and the same complaint. */
static uint32_t insert(const char **names, uint32_t n, const char *name)
{
  uint32_t i = n;
  for (; i && strcmp(names[i - 1], name) > 0; i--)
    names[i] = names[i - 1];
  names[i] = name;
  return n + 1;
}

int llmd__lua_keys(const llmd__lua_maker *m, int table, const char *what, uint32_t list, const char **out, uint32_t cap)
{
  lua_State *L = m->L;
  uint32_t n = 0;
  llmd_str key;
  table = lua_absindex(L, table);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    if (list && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= (lua_Integer)list)
      continue;
    if (!llmd__lua_text_at(L, -1, NAME_LEN, &key))
      return llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, what),
                             list ? "%s has %s as a name; names are strings of at most %u bytes, lists have no gaps"
                                  : "%s has %s as a name; names are strings of at most %u bytes",
                             what, llmd__lua_kind_at(L, -1), NAME_LEN);
    if (n == cap)
      return llmd__lua_wrong(m, LLMD_E_LIMIT, llmd__lua_line_of(m->p, what), "%s has more than %u entries", what,
                             (unsigned)cap);
    n = insert(out, n, key.ptr);
  }
  return (int)n;
}

int llmd__lua_unknown(const llmd__lua_maker *m, const char *what, const char *name, llmd__lua_near *near)
{
  char hint[80];
  return llmd__lua_wrong(m, LLMD_E_UNKNOWN_FIELD, llmd__lua_line_of(m->p, name), "%s has no \"%s\"%s", what, name,
                         llmd__lua_near_text(near, hint));
}

/* ---- the table that the text returns ---------------------------------------------------------------------------- */

static const char *const words[] = {
#define LLMD__LUA_WORD_MODULE(name, type, doc) #name,
#include "words.def"
  NULL};

static int is_verb(const char *name)
{
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++)
    if (!strcmp(llmd__lua_verb_names[v], name))
      return 1;
  return 0;
}

static int check_words(const llmd__lua_maker *m)
{
  const char *key[64];
  int n = llmd__lua_keys(m, m->module, "the policy", 0, key, 64);
  for (int i = 0; i < n; i++) {
    llmd__lua_near near = {key[i], NULL, 0};
    const char *const *w = words;
    while (*w && strcmp(*w, key[i]))
      llmd__lua_near_try(&near, *w++);
    if (*w || is_verb(key[i]))
      continue;
    for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++)
      llmd__lua_near_try(&near, llmd__lua_verb_names[v]);
    return llmd__lua_unknown(m, "a policy", key[i], &near);
  }
  return n < 0 ? n : 0;
}

static int take_text(const llmd__lua_maker *m, const char *key, uint32_t max, const char **out)
{
  llmd_str text;
  int rc = 0;
  llmd__lua_get(m->L, m->module, key);
  if (!lua_isnil(m->L, -1)) {
    if (!llmd__lua_text_at(m->L, -1, max, &text) || !text.len)
      rc = llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, key), "%s must be a string of 1 to %u bytes, not %s",
                           key, (unsigned)max, llmd__lua_kind_at(m->L, -1));
    else if (!(*out = llmd__lua_keep(m->p, text.ptr, text.len)))
      rc = llmd__lua_nomem(m);
  }
  lua_pop(m->L, 1);
  return rc;
}

static int take_store(const llmd__lua_maker *m)
{
  lua_Integer n = 0;
  int rc = 0;
  llmd__lua_get(m->L, m->module, "store");
  if (!lua_isnil(m->L, -1)) {
    n = lua_isinteger(m->L, -1) ? lua_tointeger(m->L, -1) : 0;
    if (n < 1 || n > (lua_Integer)MOST_STORE)
      rc = llmd__lua_wrong(m, LLMD_E_RANGE, llmd__lua_line_of(m->p, "store"),
                           "store is the number of entries that llmd.store has room for, 1 to %u", MOST_STORE);
  }
  lua_pop(m->L, 1);
  m->p->plugin.table_entries = rc ? 0 : (uint32_t)n;
  return rc;
}

static int take_examples(const llmd__lua_maker *m)
{
  lua_Unsigned n = 0;
  int rc = 0;
  llmd__lua_get(m->L, m->module, "examples");
  if (lua_istable(m->L, -1))
    n = lua_rawlen(m->L, -1);
  else if (!lua_isnil(m->L, -1))
    rc = llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, "examples"), "examples must be a list, not %s",
                         llmd__lua_kind_at(m->L, -1));
  if (n > MOST_EXAMPLES)
    rc = llmd__lua_wrong(m, LLMD_E_LIMIT, llmd__lua_line_of(m->p, "examples"), "more than %u examples", MOST_EXAMPLES);
  lua_pop(m->L, 1);
  m->p->n_examples = rc ? 0 : (uint32_t)n;
  return rc;
}

static uint32_t kind_of(const llmd__lua_policy *p)
{
  static const uint32_t kinds[LLMD__LUA_VERBS] = {
    LLMD_FILTER,   LLMD_SCORER,   LLMD_PICKER,          LLMD_DECIDER,        LLMD_PRODUCER,
    LLMD_PRODUCER, LLMD_PRODUCER, LLMD_PROFILE_HANDLER, LLMD_PROFILE_HANDLER};
  uint32_t kind = 0;
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++)
    if (p->verb[v].present)
      kind |= kinds[v];
  return kind;
}

static int look_through(llmd__lua_maker *m)
{
  llmd__lua_policy *p = m->p;
  int rc = check_words(m);
  if (!rc)
    rc = take_text(m, "name", NAME_LEN, &p->name);
  if (!rc)
    rc = take_text(m, "summary", SUMMARY_LEN, &p->summary);
  if (!rc)
    rc = take_store(m);
  if (!rc)
    rc = take_examples(m);
  if (!rc)
    rc = llmd__lua_take_params(m);
  if (!rc)
    rc = llmd__lua_take_reads(m);
  if (!rc)
    rc = llmd__lua_take_writes(m);
  if (!rc)
    rc = llmd__lua_take_verbs(m);
  if (rc)
    return rc;
  p->plugin.kind = kind_of(p);
  if (!p->plugin.kind)
    return llmd__lua_wrong(m, LLMD_E_MISSING, 1, "the policy does nothing: it has no filter, score, pick, ...");
  llmd__lua_lint_reads(m);
  llmd__lua_lint_globals(m);
  return 0;
}

static int look_through_it(lua_State *L)
{
  llmd__lua_maker *m = lua_touserdata(L, 1);
  m->L = L;
  luaL_checkstack(L, 40, NULL);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &llmd__lua_module_key);
  m->module = lua_gettop(L);
  m->rc = lua_istable(L, -1) ? look_through(m)
                             : llmd__lua_wrong(m, LLMD_E_TYPE, 1, "the text must return a table, not %s",
                                               llmd__lua_kind_at(L, -1));
  return 0;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static int take_program(llmd__lua_policy *p, const llmd_program *in, llmd_err *err)
{
  llmd_str called = in->file.ptr ? in->file : in->name;
  const char *why;
  p->chunk = llmd__lua_keep(p, called.ptr ? called.ptr : "", called.len);
  if (!p->chunk)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, NULL, "out of memory");
  if (!in->text.ptr)
    return llmd__lua_read_file(p->alloc, in->path.ptr, &p->text, &p->len, err);
  why = llmd__lua_text_refuse(in->text.ptr, in->text.len);
  if (why)
    return llmd__lua_say(err, in->text.len > LLMD_POLICY_BYTES ? LLMD_E_LIMIT : LLMD_E_SYNTAX, 0, p->chunk, "%s", why);
  p->text = p->alloc->fn(p->alloc->ud, NULL, 0, in->text.len + 1);
  if (!p->text)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, p->chunk, "out of memory");
  if (in->text.len)
    memcpy(p->text, in->text.ptr, in->text.len);
  p->text[in->text.len] = 0;
  p->len = in->text.len;
  return 0;
}

static int look(llmd__lua_maker *m)
{
  static const llmd__lua_limits limits = {LLMD__LUA_LOAD_INSTRUCTIONS, 0};
  llmd__lua s;
  int rc = llmd__lua_open(&s, m->p->alloc, LOAD_MEMORY);
  if (rc)
    return llmd__lua_say(m->err, rc, 0, m->p->chunk, "out of memory");
  rc = llmd__lua_load(&s, m->p->text, m->p->len, m->p->chunk, &limits, m->err);
  if (!rc) {
    rc = llmd__lua_call(&s, &limits, look_through_it, m);
    rc = rc ? llmd__lua_fail(&s, rc, m->p->chunk, m->err) : m->rc;
  }
  if (!rc)
    rc = llmd__lua_freeze(&s, m->err);
  llmd__lua_close(&s);
  return rc;
}

static void describe(llmd__lua_policy *p)
{
  llmd_plugin *d = &p->plugin;
  d->size = sizeof *d;
  d->abi = LLMD_PLUGIN_ABI;
  d->type = "lua";
  d->summary = p->summary ? p->summary : "a policy in Lua";
  d->aliases = p->calls_itself;
  d->stability = LLMD_STABLE;
  d->open = llmd__lua_open_verb;
  d->close = llmd__lua_close_verb;
  llmd__lua_verbs_install(p);
}

int llmd__lua_policy_make(const llmd_program *in, llmd__lua_policy **out, llmd_err *err)
{
  llmd__lua_policy *p = in->alloc->fn(in->alloc->ud, NULL, 0, sizeof *p);
  llmd__lua_maker m = {.in = in, .p = p, .err = err};
  int rc;
  if (!p)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, NULL, "out of memory");
  memset(p, 0, sizeof *p);
  p->alloc = in->alloc;
  rc = take_program(p, in, err);
  if (!rc)
    rc = look(&m);
  if (rc) {
    llmd__lua_policy_free(p);
    return rc;
  }
  p->calls_itself[0] = p->name;
  if (!p->name)
    p->name = p->chunk;
  describe(p);
  *out = p;
  return 0;
}
