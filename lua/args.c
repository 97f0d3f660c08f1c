/* The parameters of a verb's function: their names say what it wants.
 *
 *   verb       once per decision                  once per endpoint (none of cols, eps, out, keep, total)
 *   filter     req cols eps keep n p              req ep n p and columns
 *   score      req cols eps out n p               req ep n p and columns
 *   pick       req cols eps total n p             never
 *   decide     req cols eps n p                   req ep n p and columns: of the endpoint asked about. One that asks
 *                                                 for neither ep nor columns is called once, endpoint or not
 *   produce    req cols eps out n p               req ep n p and columns
 *   commit     req target p
 *   report     kind target usage p
 *   profiles   req runs turn p
 *   primary    req runs p
 *
 * A function that is called once per endpoint declares the short names that it uses by using them. */
#include <string.h>

#include "module.h"

#define BIT(what) (1u << LLMD__LUA_ARG_##what)
#define COMMON (BIT(P) | BIT(REQ))
#define BATCH (COMMON | BIT(COLS) | BIT(EPS) | BIT(N))
#define IS_BATCH (BIT(COLS) | BIT(EPS) | BIT(OUT) | BIT(KEEP) | BIT(TOTAL))
#define EACH (COMMON | BIT(EP) | BIT(N))

static const struct {
  uint32_t all;  /* what it may ask for */
  uint32_t each; /* not 0: what it may ask for when called once per endpoint */
} allowed[LLMD__LUA_VERBS] = {
  [LLMD__LUA_FILTER] = {BATCH | BIT(KEEP), EACH},
  [LLMD__LUA_SCORE] = {BATCH | BIT(OUT), EACH},
  [LLMD__LUA_PICK] = {BATCH | BIT(TOTAL), 0},
  [LLMD__LUA_DECIDE] = {BATCH, EACH},
  [LLMD__LUA_PRODUCE] = {BATCH | BIT(OUT), EACH},
  [LLMD__LUA_COMMIT] = {COMMON | BIT(TARGET), 0},
  [LLMD__LUA_REPORT] = {BIT(P) | BIT(KIND) | BIT(TARGET) | BIT(USAGE), 0},
  [LLMD__LUA_PROFILES] = {COMMON | BIT(RUNS) | BIT(TURN), 0},
  [LLMD__LUA_PRIMARY] = {COMMON | BIT(RUNS), 0},
};

static const struct {
  const char *name;
  uint32_t what;
} words[] = {
#define LLMD__LUA_WORD_ARG(WHAT, name, type, doc) {#name, LLMD__LUA_ARG_##WHAT},
#include "words.def"
};
#define N_WORDS (sizeof words / sizeof *words)

/* One function while it is looked at: it lies at the top of the stack. */
typedef struct function {
  llmd__lua_maker *m;
  const char *verb;
  uint32_t number, line, n;
  uint32_t asked; /* bits of the words that it asks for */
  const char *name[LLMD__LUA_ARGS];
} function;

static uint32_t word_of(const char *name)
{
  for (size_t i = 0; i < N_WORDS; i++)
    if (!strcmp(words[i].name, name))
      return words[i].what;
  return LLMD__LUA_ARG_READ;
}

/* What it may ask for; each: when called once per endpoint. */
static uint32_t may_ask(const function *f)
{
  const llmd__lua_verb *v = &f->m->p->verb[f->number];
  return v->each ? allowed[f->number].each : allowed[f->number].all;
}

/* ---- what is wrong ---------------------------------------------------------------------------------------------- */

static int not_for_it(const function *f, const char *name, uint32_t what)
{
  const llmd__lua_verb *v = &f->m->p->verb[f->number];
  if (v->each && allowed[f->number].all & (1u << what))
    return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line, "%s: %s does not go with being called once per endpoint",
                           f->verb, name);
  if (what == LLMD__LUA_ARG_EP && allowed[f->number].each)
    return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line,
                           "%s: ep is for functions called once per endpoint; with cols, eps or the like write eps[i]",
                           f->verb);
  return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line, "%s cannot ask for %s", f->verb, name);
}

static int not_known(const function *f, const char *name)
{
  llmd__lua_near near = {name, NULL, 0};
  char hint[80];
  for (size_t i = 0; i < N_WORDS; i++)
    if (may_ask(f) & (1u << words[i].what))
      llmd__lua_near_try(&near, words[i].name);
  if (f->m->p->verb[f->number].each) {
    llmd__lua_known_near(&near);
    for (uint32_t i = 0; i < f->m->p->n_reads; i++)
      llmd__lua_near_try(&near, f->m->p->read[i].field);
  }
  return llmd__lua_wrong(f->m, LLMD_E_UNKNOWN_REF, f->line, "%s asks for \"%s\", which is not known%s", f->verb, name,
                         llmd__lua_near_text(&near, hint));
}

/* A name that is no word, though the function is not called once per endpoint. */
static int not_here(const function *f, const char *name)
{
  int read = llmd__lua_read_find(f->m->p, name) != LLMD_NO_INDEX || llmd__lua_known_find(name);
  if (!read)
    return not_known(f, name);
  if (f->asked & IS_BATCH)
    return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line,
                           "%s is called once per decision: write cols.%s[i], or eps[i].%s", f->verb, name, name);
  return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line, "%s cannot ask for columns of endpoints (%s)", f->verb, name);
}

/* ---- one parameter ---------------------------------------------------------------------------------------------- */

/* A column by its name: one of the policy's, else a short name, which is read from now on. */
static int take_read(const function *f, const char *name, llmd__lua_arg *out)
{
  llmd__lua_policy *p = f->m->p;
  uint32_t i = llmd__lua_read_find(p, name);
  const llmd__lua_known *k = llmd__lua_known_find(name);
  if (i == LLMD_NO_INDEX) {
    int added = k ? llmd__lua_add_known(f->m, k, f->line) : not_known(f, name);
    if (added < 0)
      return added;
    i = (uint32_t)added;
  }
  if (!llmd__lua_is_column(p->read[i].shows))
    return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line, "%s: %s belongs to the request, ask for req", f->verb, name);
  p->read[i].used |= 1;
  out->what = LLMD__LUA_ARG_READ;
  out->read = i;
  return 0;
}

static int take_arg(const function *f, const char *name, llmd__lua_arg *out)
{
  uint32_t what = word_of(name);
  if (what == LLMD__LUA_ARG_READ)
    return f->m->p->verb[f->number].each ? take_read(f, name, out) : not_here(f, name);
  if (!(may_ask(f) & (1u << what)))
    return not_for_it(f, name, what);
  out->what = what;
  return 0;
}

/* ---- one function ----------------------------------------------------------------------------------------------- */

static int take_names(function *f)
{
  lua_State *L = f->m->L;
  lua_Debug d;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">Su", &d);
  f->line = d.linedefined > 0 ? (uint32_t)d.linedefined : 1;
  f->n = d.nparams;
  if (d.isvararg || strcmp(d.what, "Lua"))
    return llmd__lua_wrong(f->m, LLMD_E_INVALID, f->line,
                           "%s must name its parameters: ... says nothing about what it wants", f->verb);
  if (f->n > LLMD__LUA_ARGS)
    return llmd__lua_wrong(f->m, LLMD_E_LIMIT, f->line, "%s has more than %u parameters", f->verb, LLMD__LUA_ARGS);
  for (uint32_t i = 0; i < f->n; i++) {
    f->name[i] = lua_getlocal(L, NULL, (int)i + 1);
    if (!f->name[i])
      return llmd__lua_wrong(f->m, LLMD_E_UNSUPPORTED, f->line, "%s: the names of its parameters are not known",
                             f->verb);
    if (word_of(f->name[i]) != LLMD__LUA_ARG_READ)
      f->asked |= 1u << word_of(f->name[i]);
  }
  return 0;
}

/* Tables that it is shown hold every column. */
static void mark_used(const function *f)
{
  uint32_t bits = (f->asked & BIT(COLS) ? 2u : 0) | (f->asked & (BIT(EPS) | BIT(EP)) ? 4u : 0);
  for (uint32_t i = 0; i < f->m->p->n_reads; i++)
    if (llmd__lua_is_column(f->m->p->read[i].shows))
      f->m->p->read[i].used |= bits;
}

/* A decider that does not, decides also when there is no endpoint to ask about. */
static int asks_about_endpoint(const function *f)
{
  for (uint32_t i = 0; i < f->n; i++)
    if (word_of(f->name[i]) == LLMD__LUA_ARG_READ || word_of(f->name[i]) == LLMD__LUA_ARG_EP)
      return 1;
  return 0;
}

static int take_function(llmd__lua_maker *m, uint32_t verb)
{
  function f = {.m = m, .verb = llmd__lua_verb_names[verb], .number = verb};
  llmd__lua_verb *v = &m->p->verb[verb];
  int rc;
  if (!lua_isfunction(m->L, -1))
    return llmd__lua_wrong(m, LLMD_E_TYPE, llmd__lua_line_of(m->p, f.verb), "%s must be a function, not %s", f.verb,
                           llmd__lua_kind_at(m->L, -1));
  rc = take_names(&f);
  if (rc)
    return rc;
  v->present = 1;
  v->each = allowed[verb].each && !(f.asked & IS_BATCH) && (verb != LLMD__LUA_DECIDE || asks_about_endpoint(&f));
  for (uint32_t i = 0; !rc && i < f.n; i++)
    rc = take_arg(&f, f.name[i], &v->arg[i]);
  v->n_args = f.n;
  if (!rc && !v->each && allowed[verb].all & BIT(OUT) && !(f.asked & BIT(OUT)))
    return llmd__lua_wrong(m, LLMD_E_MISSING, f.line,
                           "%s is called once per decision: it must ask for out, and write %s", f.verb,
                           verb == LLMD__LUA_SCORE ? "out[i]" : "out.NAME[i]");
  if (!rc && verb == LLMD__LUA_PRODUCE && !m->p->n_writes)
    return llmd__lua_wrong(m, LLMD_E_MISSING, f.line, "produce needs writes = {\"NAME\", ...}");
  return rc;
}

/* Every column there is shows in tables, those of functions further down too. */
static void mark_all(llmd__lua_maker *m)
{
  for (uint32_t v = 0; v < LLMD__LUA_VERBS; v++) {
    function f = {.m = m};
    for (uint32_t i = 0; i < m->p->verb[v].n_args; i++)
      f.asked |= 1u << m->p->verb[v].arg[i].what;
    mark_used(&f);
  }
}

int llmd__lua_take_verbs(llmd__lua_maker *m)
{
  int rc = 0;
  for (uint32_t v = 0; v < LLMD__LUA_VERBS && !rc; v++) {
    llmd__lua_get(m->L, m->module, llmd__lua_verb_names[v]);
    if (!lua_isnil(m->L, -1))
      rc = take_function(m, v);
    lua_pop(m->L, 1);
  }
  if (!rc && m->p->n_writes && !m->p->verb[LLMD__LUA_PRODUCE].present)
    rc = llmd__lua_wrong(m, LLMD_E_MISSING, llmd__lua_line_of(m->p, "writes"), "there are writes, and no produce");
  if (!rc)
    mark_all(m);
  return rc;
}
