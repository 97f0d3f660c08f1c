/* What a policy reads and writes.
 *
 *   reads = {"waiting", "header:x-canary", zone = "label:zone"}
 *
 *   "NAME"                known by a short name: names.def
 *   "label:KEY"           the endpoint's label                             text
 *   "attr:NAME/PRODUCER"  an attribute that this producer writes           number
 *   "id:NAME/PRODUCER"    an attribute that is text                        text
 *   "has:SET", "size:SET" does the set hold the request's model; members   number
 *   "header:NAME"         a header of the request: req.headers.NAME
 *   "prompt"              the prompt's beginning: req.prompt
 *
 * The producer stands behind the last slash; without one it is the pool's own metrics. An attribute that has a slash in
 * its own name ends with one: "attr:example.org/load/". */
#include <math.h>
#include <string.h>

#include "module.h"

#define SPEC_LEN 200u
#define UNKNOWN ((double)NAN)

/* One entry while it is read. */
typedef struct entry {
  const llmd__lua_maker *m;
  const char *spec; /* whole, with NUL */
  const char *rest; /* behind the colon */
  const char *field; /* NULL = to be taken from the spec */
  uint32_t line;
  llmd_read read;
  uint32_t shows;
} entry;

/* ---- forms ------------------------------------------------------------------------------------------------------ */

static const struct {
  const char *prefix;
  uint32_t kind, flags, shows;
} forms[] = {
  {"label:", LLMD_READ_LABEL, LLMD_READ_TEXT, LLMD__LUA_SHOWS_TEXT},
  {"header:", LLMD_READ_HEADER, 0, LLMD__LUA_SHOWS_HEADER},
  {"attr:", LLMD_READ_F64, 0, LLMD__LUA_SHOWS_NUMBER},
  {"id:", LLMD_READ_ID, LLMD_READ_TEXT, LLMD__LUA_SHOWS_TEXT},
  {"has:", LLMD_READ_HAS_MODEL, 0, LLMD__LUA_SHOWS_NUMBER},
  {"size:", LLMD_READ_SET_SIZE, 0, LLMD__LUA_SHOWS_NUMBER},
};

/* What C plugins put in place of what is unknown when they reproduce the reference: 0 for plain metrics and loads. */
static double unknown_strict(const llmd_read *r)
{
  static const char *const zero[] = {"WaitingQueueSize", "RunningRequestsSize", "KVCacheUsagePercent",
                                     "MaxActiveModels", "InFlightLoad.requests", "InFlightLoad.tokens", "InFlightLoad.uncached",
                                     "LatencyPredictionInfo.ttft_headroom", "LatencyPredictionInfo.tpot_headroom",
                                     "LatencyPredictionInfo.dispatched"};
  if (r->kind == LLMD_READ_HAS_MODEL || r->kind == LLMD_READ_SET_SIZE)
    return 0;
  for (size_t i = 0; r->kind == LLMD_READ_F64 && i < sizeof zero / sizeof *zero; i++)
    if (!strcmp(zero[i], r->name))
      return 0;
  return UNKNOWN;
}

static void use_known(entry *e, const llmd__lua_known *k)
{
  int number = !strcmp(k->unit, "id");
  int text = !number && (k->kind == LLMD_READ_ID || k->kind == LLMD_READ_NAME || k->kind == LLMD_READ_ADDRESS);
  e->read.kind = k->kind;
  e->read.flags = text ? LLMD_READ_TEXT : 0;
  e->read.name = *k->attribute ? k->attribute : NULL;
  e->read.from = *k->producer ? k->producer : NULL;
  e->shows = number ? LLMD__LUA_SHOWS_ENDPOINT : text ? LLMD__LUA_SHOWS_TEXT : LLMD__LUA_SHOWS_NUMBER;
  if (!e->field)
    e->field = k->field;
}

static int is_header_name(const char *p)
{
  for (; *p; p++)
    if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("!#$%&'*+-.^_`|~", *p)))
      return 0;
  return 1;
}

/* "NAME" or "NAME/PRODUCER" behind the colon. */
static int split_attribute(entry *e)
{
  const char *slash = strrchr(e->rest, '/');
  size_t n = slash ? (size_t)(slash - e->rest) : strlen(e->rest);
  if (!n)
    return llmd__lua_wrong(e->m, LLMD_E_SYNTAX, e->line, "reads: \"%s\" names no attribute", e->spec);
  e->read.name = llmd__lua_keep(e->m->p, e->rest, n);
  if (!e->read.name)
    return llmd__lua_nomem(e->m);
  if (slash && slash[1])
    e->read.from = slash + 1;
  return 0;
}

static int use_form(entry *e, size_t form)
{
  int rc = 0;
  e->rest = e->spec + strlen(forms[form].prefix);
  e->read.kind = forms[form].kind;
  e->read.flags = forms[form].flags;
  e->read.name = e->rest;
  e->shows = forms[form].shows;
  if (!*e->rest)
    return llmd__lua_wrong(e->m, LLMD_E_SYNTAX, e->line, "reads: \"%s\" names nothing", e->spec);
  if (e->read.kind == LLMD_READ_HEADER && !is_header_name(e->rest))
    return llmd__lua_wrong(e->m, LLMD_E_SYNTAX, e->line, "reads: \"%s\" is no name of a header in lower case", e->spec);
  if (e->read.kind != LLMD_READ_HEADER && e->read.kind != LLMD_READ_LABEL)
    rc = split_attribute(e);
  if (!rc && !e->field)
    e->field = e->read.kind == LLMD_READ_LABEL ? e->rest : e->read.name;
  return rc;
}

static int use_prompt(entry *e)
{
  if (e->field)
    return llmd__lua_wrong(e->m, LLMD_E_INVALID, e->line,
                           "reads: \"prompt\" shows as req.prompt, and under no other name");
  e->read.kind = LLMD_READ_PROMPT;
  e->shows = LLMD__LUA_SHOWS_PROMPT;
  e->field = "prompt";
  return 0;
}

static int not_known(const entry *e)
{
  llmd__lua_near near = {e->spec, NULL, 0};
  char hint[80];
  llmd__lua_known_near(&near);
  return llmd__lua_wrong(e->m, LLMD_E_UNKNOWN_REF, e->line, "reads: \"%s\" is not known%s", e->spec,
                         near.best ? llmd__lua_near_text(&near, hint)
                                   : " (others than the short names are label:, attr:, id:, has:, size:, header:)");
}

static int parse(entry *e)
{
  const llmd__lua_known *k = llmd__lua_known_find(e->spec);
  if (k) {
    use_known(e, k);
    return 0;
  }
  if (!strcmp(e->spec, "prompt"))
    return use_prompt(e);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (!strncmp(e->spec, forms[i].prefix, strlen(forms[i].prefix)))
      return use_form(e, i);
  return not_known(e);
}

/* ---- the rows --------------------------------------------------------------------------------------------------- */

uint32_t llmd__lua_read_find(const llmd__lua_policy *p, const char *field)
{
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (!strcmp(p->read[i].field, field))
      return i;
  return LLMD_NO_INDEX;
}

static int same_text(const char *a, const char *b)
{
  return a == b || (a && b && !strcmp(a, b));
}

static int same_read(const llmd_read *a, const llmd_read *b)
{
  return a->kind == b->kind && a->flags == b->flags && same_text(a->name, b->name) && same_text(a->from, b->from);
}

static int add(const entry *e)
{
  llmd__lua_policy *p = e->m->p;
  llmd_read *read = &e->m->reads[p->n_reads];
  for (uint32_t i = 0; i < p->n_reads; i++)
    if (same_read(&e->m->reads[i], &e->read))
      llmd__lua_remark(e->m, e->line, "reads: \"%s\" is read twice, as %s and as %s", e->spec, p->read[i].field,
                       e->field);
  if (p->n_reads == LLMD__LUA_READS)
    return llmd__lua_wrong(e->m, LLMD_E_LIMIT, e->line, "the policy reads more than %u things", LLMD__LUA_READS);
  *read = e->read;
  read->if_unknown = UNKNOWN;
  read->if_unknown_strict = unknown_strict(read);
  p->read[p->n_reads].field = e->field;
  p->read[p->n_reads].shows = e->shows;
  return (int)p->n_reads++;
}

int llmd__lua_add_known(llmd__lua_maker *m, const llmd__lua_known *k, uint32_t line)
{
  entry e = {.m = m, .spec = k->field, .line = line};
  use_known(&e, k);
  return add(&e);
}

/* Words that functions may name as parameters are no fields. */
static int is_argument(const char *field)
{
  static const char *const args[] = {
#define LLMD__LUA_WORD_ARG(WHAT, name, type, doc) #name,
#include "words.def"
  };
  for (size_t i = 0; i < sizeof args / sizeof *args; i++)
    if (!strcmp(args[i], field))
      return 1;
  return 0;
}

static int check_field(const entry *e)
{
  uint32_t same = llmd__lua_read_find(e->m->p, e->field);
  if (llmd__lua_is_column(e->shows)) {
    if (!llmd__lua_identifier(e->field, strlen(e->field)))
      return llmd__lua_wrong(e->m, LLMD_E_SYNTAX, e->line, "reads: \"%s\" needs a name: NAME = \"%s\"", e->spec,
                             e->spec);
    if (is_argument(e->field))
      return llmd__lua_wrong(e->m, LLMD_E_INVALID, e->line,
                             "reads: %s means something else to functions, take another name", e->field);
  }
  if (same == LLMD_NO_INDEX)
    return 0;
  if (same_read(&e->m->reads[same], &e->read)) {
    llmd__lua_remark(e->m, e->line, "reads: \"%s\" stands there twice", e->spec);
    return 1;
  }
  return llmd__lua_wrong(e->m, LLMD_E_DUPLICATE, e->line, "reads: there are two things called %s", e->field);
}

/* The spec at the top of the stack. field NULL: an array entry. */
static int take_one(llmd__lua_maker *m, const char *field)
{
  entry e = {.m = m, .field = field};
  llmd_str spec = {NULL, 0};
  int rc;
  if (!llmd__lua_text_at(m->L, -1, SPEC_LEN, &spec))
    return llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, field ? field : "reads"),
                           "reads: an entry must be a string of at most %u bytes, not %s", SPEC_LEN,
                           llmd__lua_kind_at(m->L, -1));
  e.spec = llmd__lua_keep(m->p, spec.ptr, spec.len);
  if (field)
    e.field = llmd__lua_keep(m->p, field, strlen(field));
  if (!e.spec || (field && !e.field))
    return llmd__lua_nomem(m);
  e.line = llmd__lua_line_of(m->p, e.spec);
  rc = parse(&e);
  if (!rc)
    rc = check_field(&e);
  if (rc)
    return rc < 0 ? rc : 0;
  rc = add(&e);
  return rc < 0 ? rc : 0;
}

static int take_all(llmd__lua_maker *m, int reads)
{
  const char *key[LLMD__LUA_READS];
  lua_Unsigned n = lua_rawlen(m->L, reads);
  int rc = 0, named;
  if (n > LLMD__LUA_READS)
    return llmd__lua_wrong(m, LLMD_E_LIMIT, llmd__lua_line_of(m->p, "reads"), "the policy reads more than %u things",
                           LLMD__LUA_READS);
  named = llmd__lua_keys(m, reads, "reads", (uint32_t)n, key, LLMD__LUA_READS);
  for (lua_Integer i = 1; !rc && i <= (lua_Integer)n; i++) {
    lua_rawgeti(m->L, reads, i);
    rc = take_one(m, NULL);
    lua_pop(m->L, 1);
  }
  for (int i = 0; !rc && i < named; i++) {
    llmd__lua_get(m->L, reads, key[i]);
    rc = take_one(m, key[i]);
    lua_pop(m->L, 1);
  }
  return named < 0 ? named : rc;
}

int llmd__lua_take_reads(llmd__lua_maker *m)
{
  int rc = 0, reads;
  m->reads = llmd__lua_room(m->p, (LLMD__LUA_READS + 1) * sizeof *m->reads);
  if (!m->reads)
    return llmd__lua_nomem(m);
  m->p->plugin.reads = m->reads;
  llmd__lua_get(m->L, m->module, "reads");
  reads = lua_gettop(m->L);
  if (lua_istable(m->L, reads))
    rc = take_all(m, reads);
  else if (!lua_isnil(m->L, reads))
    rc = llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, "reads"), "reads must be a table, not %s",
                         llmd__lua_kind_at(m->L, reads));
  lua_settop(m->L, reads - 1);
  return rc;
}

/* ---- writes ----------------------------------------------------------------------------------------------------- */

static int take_write(llmd__lua_maker *m, llmd_write *w)
{
  llmd_str name = {NULL, 0};
  uint32_t line = llmd__lua_line_of(m->p, "writes");
  if (!llmd__lua_text_at(m->L, -1, 63, &name) || !llmd__lua_identifier(name.ptr, name.len))
    return llmd__lua_wrong(m, LLMD_E_TYPE, line, "writes: an entry must be a string that can be written as out.NAME");
  for (uint32_t i = 0; i < m->p->n_writes; i++)
    if (!strcmp(m->p->plugin.writes[i].name, name.ptr))
      return llmd__lua_wrong(m, LLMD_E_DUPLICATE, line, "writes: %s stands there twice", name.ptr);
  w->name = llmd__lua_keep(m->p, name.ptr, name.len);
  w->unit = "";
  m->p->n_writes++;
  return w->name ? 0 : llmd__lua_nomem(m);
}

static int take_all_writes(llmd__lua_maker *m, int list, llmd_write *w)
{
  lua_Unsigned n = lua_istable(m->L, list) ? lua_rawlen(m->L, list) : 0;
  const char *key[1];
  int rc;
  if (!n || n > LLMD__LUA_WRITES)
    return llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, "writes"), "writes must be a list of 1 to %u names",
                           LLMD__LUA_WRITES);
  rc = llmd__lua_keys(m, list, "writes", (uint32_t)n, key, 0);
  for (lua_Integer i = 1; rc >= 0 && i <= (lua_Integer)n; i++) {
    lua_rawgeti(m->L, list, i);
    rc = take_write(m, &w[i - 1]);
    lua_pop(m->L, 1);
  }
  return rc < 0 ? rc : 0;
}

int llmd__lua_take_writes(llmd__lua_maker *m)
{
  llmd_write *w = llmd__lua_room(m->p, (LLMD__LUA_WRITES + 1) * sizeof *w);
  int rc = 0;
  if (!w)
    return llmd__lua_nomem(m);
  m->p->plugin.writes = w;
  llmd__lua_get(m->L, m->module, "writes");
  if (!lua_isnil(m->L, -1))
    rc = take_all_writes(m, lua_gettop(m->L), w);
  lua_pop(m->L, 1);
  return rc;
}

/* ---- remarks ---------------------------------------------------------------------------------------------------- */

static int asks_for(const llmd__lua_policy *p, uint32_t what)
{
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++)
    for (uint32_t i = 0; i < p->verb[v].n_args; i++)
      if (p->verb[v].arg[i].what == what)
        return 1;
  return 0;
}

void llmd__lua_lint_reads(const llmd__lua_maker *m)
{
  const llmd__lua_policy *p = m->p;
  int req = asks_for(p, LLMD__LUA_ARG_REQ);
  for (uint32_t i = 0; i < p->n_reads; i++) {
    const llmd__lua_read *r = &p->read[i];
    uint32_t line = llmd__lua_line_of(p, r->field);
    if (!llmd__lua_is_column(r->shows)) {
      if (!req)
        llmd__lua_remark(m, line, "reads: %s shows in req, and no function asks for req", r->field);
    } else if (!r->used) {
      llmd__lua_remark(m, line, "reads: no function asks for %s, cols or eps", r->field);
    }
  }
}
