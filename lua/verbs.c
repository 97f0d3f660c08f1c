/* The verbs of a policy's descriptor. Each makes its work and runs it:
 *
 *   llmd__lua_run ──► left out? made anew? ──► llmd__lua_call ──► body: refresh what the function asks for
 *                                                                       call it, once or for each endpoint
 *                                                                       read what it left or returned
 *
 * Everything that may raise happens in the body. */
#include <string.h>

#include <lauxlib.h>

#include "kept.h"
#include "strikes.h"

#define INSTRUCTIONS 100000
#define INSTRUCTIONS_EACH 300
#define REPLAY_TIMES 10

/* ---- what functions are given ----------------------------------------------------------------------------------- */

static const char *kind_name(uint32_t kind)
{
  switch (kind) {
#define LLMD__LUA_WORD_KIND(WHAT, name, doc) \
  case LLMD_REPORT_##WHAT:                   \
    return #name;
#include "words.def"
  default:
    return "";
  }
}

static void put_count(lua_State *L, const char *name, double value)
{
  lua_pushstring(L, name);
  llmd__lua_push_count(L, value);
  lua_rawset(L, -3);
}

static void push_usage(lua_State *L, const llmd_report_info *r)
{
  lua_createtable(L, 0, 3);
#define LLMD__LUA_WORD_USAGE(name, type, doc) put_count(L, #name, r->name);
#include "words.def"
}

static llmd_endpoint_id target_of(const llmd__lua_work *w)
{
  const llmd_commit_info *c = w->commit;
  if (!c)
    return w->report->endpoint;
  return c->primary < c->batch->n ? c->batch->endpoint[c->primary] : 0;
}

static int kept_at(uint32_t what, uint32_t verb)
{
  switch (what) {
  case LLMD__LUA_ARG_REQ:
    return LLMD__LUA_AT_REQ;
  case LLMD__LUA_ARG_COLS:
    return LLMD__LUA_AT_COLS;
  case LLMD__LUA_ARG_EPS:
    return LLMD__LUA_AT_EPS;
  case LLMD__LUA_ARG_EP:
    return LLMD__LUA_AT_EP_LIST;
  case LLMD__LUA_ARG_OUT:
    return verb == LLMD__LUA_PRODUCE ? LLMD__LUA_AT_WROTE : LLMD__LUA_AT_OUT;
  case LLMD__LUA_ARG_KEEP:
    return LLMD__LUA_AT_KEEP;
  case LLMD__LUA_ARG_TOTAL:
    return LLMD__LUA_AT_TOTAL;
  default:
    return 0;
  }
}

/* What is the same for all endpoints; for a column the column, for ep the list of them. */
static void push_arg(lua_State *L, const llmd__lua_work *w, const llmd__lua_arg *a)
{
  switch (a->what) {
  case LLMD__LUA_ARG_READ:
    lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_COLUMN + (lua_Integer)a->read);
    break;
  case LLMD__LUA_ARG_P:
    llmd__lua_push_params(w->own);
    break;
  case LLMD__LUA_ARG_N:
    lua_pushinteger(L, (lua_Integer)w->n);
    break;
  case LLMD__LUA_ARG_RUNS:
    llmd__lua_push_runs(L, w);
    break;
  case LLMD__LUA_ARG_TURN:
    lua_pushinteger(L, (lua_Integer)w->stages->turn);
    break;
  case LLMD__LUA_ARG_TARGET:
    lua_pushinteger(L, (lua_Integer)target_of(w));
    break;
  case LLMD__LUA_ARG_KIND:
    lua_pushstring(L, kind_name(w->report->kind));
    break;
  case LLMD__LUA_ARG_USAGE:
    push_usage(L, w->report);
    break;
  default:
    lua_rawgeti(L, LLMD__LUA_KEPT, kept_at(a->what, w->verb));
    break;
  }
}

static void put_total(lua_State *L, const llmd__lua_work *w)
{
  llmd__lua_kept *k = w->own->kept;
  int total = lua_gettop(L) + 1;
  lua_rawgeti(L, LLMD__LUA_KEPT, LLMD__LUA_AT_TOTAL);
  for (uint32_t i = 0; i < w->n; i++) {
    lua_pushnumber(L, w->total[i]);
    lua_rawseti(L, total, (lua_Integer)i + 1);
  }
  llmd__lua_cut(L, total, w->n, &k->total);
  k->total = w->n;
  lua_pop(L, 1);
}

static void refresh(lua_State *L, const llmd__lua_work *w)
{
  const llmd__lua_kept *k = w->own->kept;
  uint32_t wants = k->wants[w->verb];
  if (w->batch && wants & (LLMD__LUA_WANTS_ARGS | LLMD__LUA_WANTS_COLS | LLMD__LUA_WANTS_EPS))
    llmd__lua_columns(L, w, wants);
  if (wants & LLMD__LUA_WANTS_EPS)
    llmd__lua_endpoints(L, w);
  if (wants & LLMD__LUA_WANTS_REQ)
    llmd__lua_request(L, w);
  if (wants & LLMD__LUA_WANTS_TOTAL)
    put_total(L, w);
  if (wants & (LLMD__LUA_WANTS_OUT | LLMD__LUA_WANTS_KEEP))
    llmd__lua_clear(L, w, wants);
}

/* ---- calling them ----------------------------------------------------------------------------------------------- */

static void call_once(lua_State *L, llmd__lua_work *w)
{
  const llmd__lua_verb *v = &w->own->policy->verb[w->verb];
  llmd__lua_push_verb(w->own, w->verb);
  for (uint32_t a = 0; a < v->n_args; a++)
    push_arg(L, w, &v->arg[a]);
  lua_call(L, (int)v->n_args, 1);
  llmd__lua_take(L, w);
}

/* An argument at endpoint i; same: what push_arg has pushed for it. */
static void push_at(lua_State *L, const llmd__lua_work *w, const llmd__lua_arg *a, int same, uint32_t i)
{
  if (a->what == LLMD__LUA_ARG_READ && w->own->policy->read[a->read].shows == LLMD__LUA_SHOWS_NUMBER)
    lua_pushnumber(L, w->batch->f64[a->read][i]);
  else if (a->what == LLMD__LUA_ARG_READ || a->what == LLMD__LUA_ARG_EP)
    lua_rawgeti(L, same, (lua_Integer)i + 1);
  else
    lua_pushvalue(L, same);
}

static void call_each(lua_State *L, llmd__lua_work *w)
{
  const llmd__lua_verb *v = &w->own->policy->verb[w->verb];
  int results = w->verb == LLMD__LUA_PRODUCE ? (int)w->own->policy->n_writes : 1;
  int fn = lua_gettop(L) + 1, top;
  llmd__lua_push_verb(w->own, w->verb);
  for (uint32_t a = 0; a < v->n_args; a++)
    push_arg(L, w, &v->arg[a]);
  top = lua_gettop(L);
  for (uint32_t i = 0; i < w->n; i++) {
    lua_pushvalue(L, fn);
    for (uint32_t a = 0; a < v->n_args; a++)
      push_at(L, w, &v->arg[a], fn + 1 + (int)a, i);
    lua_call(L, (int)v->n_args, results);
    llmd__lua_take_each(L, w, i, top + 1);
    lua_settop(L, top);
  }
}

static int body(lua_State *L)
{
  llmd__lua_work *w = lua_touserdata(L, 1);
  llmd__lua_kept *k = w->own->kept;
  llmd__lua_stack(L, 3 * (int)LLMD__LUA_ARGS + (int)LLMD__LUA_WRITES);
  llmd__lua_kept_push(L);
  refresh(L, w);
  k->stained |= 1u << w->verb;
  if (w->own->policy->verb[w->verb].each)
    call_each(L, w);
  else
    call_once(L, w);
  k->stained &= ~(1u << w->verb);
  return 0;
}

/* ---- within limits ---------------------------------------------------------------------------------------------- */

static void limit(const llmd__lua_work *w, llmd__lua_limits *l)
{
  const llmd__lua_self *self = w->own->self;
  l->instructions = self->instructions > 0 ? (uint64_t)self->instructions
                                           : INSTRUCTIONS + (uint64_t)w->n * INSTRUCTIONS_EACH;
  l->time_ns = self->time > 0 ? (uint64_t)self->time : 0;
  if (!(w->flags & LLMD_BATCH_REPLAY))
    return;
  l->time_ns = 0;
  if (w->flags & LLMD_BATCH_OTHER)
    return;
  l->instructions = l->instructions < UINT64_MAX / REPLAY_TIMES ? l->instructions * REPLAY_TIMES : UINT64_MAX;
}

static int call(llmd__lua_work *w, const llmd__lua_limits *l)
{
  llmd__lua_own *o = w->own;
  int rc = o->rebuild ? llmd__lua_own_rebuild(o, l->time_ns) : 0;
  if (rc) {
    o->lua.left = 0; /* it does not count how much of the budget for loading is left */
    return rc;
  }
  o->lua.writing = w->verb == LLMD__LUA_COMMIT || w->verb == LLMD__LUA_REPORT;
  o->lua.random = w->seed;
  o->lua.now = w->now;
  o->lua.wall = w->wall;
  rc = llmd__lua_call(&o->lua, l, body, w);
  o->lua.until = 0;
  o->lua.writing = 0;
  o->rebuild = rc == LLMD_E_NOMEM;
  return rc;
}

/* Its time is over, but it has hardly begun: the machine was busy with something else. */
static int is_blameless(const llmd__lua_work *w, const llmd__lua_limits *l, int rc)
{
  int64_t left = w->own->lua.left;
  return rc == LLMD_E_TIMEOUT && left > 0 && (uint64_t)left > l->instructions / 10 * 9;
}

int llmd__lua_run(llmd__lua_work *w)
{
  int replay = (w->flags & LLMD_BATCH_REPLAY) != 0, rc;
  llmd__lua_limits l;
  if (!replay && llmd__lua_bypassed(w->own, w->verb, w->now))
    return LLMD_E_BYPASSED;
  limit(w, &l);
  rc = call(w, &l);
  if (rc && (w->verb == LLMD__LUA_COMMIT || w->verb == LLMD__LUA_REPORT))
    llmd__lua_unseen(w->own, w->verb);
  if (rc && !replay && !is_blameless(w, &l, rc))
    llmd__lua_strike(w->own, w->verb, w->now);
  return rc ? rc : w->result;
}

/* ---- the descriptor's verbs ------------------------------------------------------------------------------------- */

static void from_batch(llmd__lua_work *w, uint32_t verb, const llmd_batch *b)
{
  memset(w, 0, sizeof *w);
  w->own = b->own;
  w->verb = verb;
  w->n = b->n;
  w->flags = b->flags;
  w->batch = b;
  w->request = b->request;
  w->value = b->value;
  w->seed = b->seed;
  w->now = b->now;
  w->wall = b->wall;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  llmd__lua_work w;
  (void)self;
  from_batch(&w, LLMD__LUA_FILTER, b);
  w.keep = keep;
  w.order = order;
  return llmd__lua_run(&w);
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  llmd__lua_work w;
  (void)self;
  from_batch(&w, LLMD__LUA_SCORE, b);
  w.score = out;
  return llmd__lua_run(&w);
}

static int pick(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap)
{
  llmd__lua_work w;
  (void)self;
  from_batch(&w, LLMD__LUA_PICK, b);
  w.total = total;
  w.pick = out;
  w.cap = cap;
  return llmd__lua_run(&w);
}

/* Without an endpoint a function that is asked about one is not called, and the answer is no. */
static int decide(const void *self, const llmd_batch *b)
{
  llmd__lua_work w;
  (void)self;
  from_batch(&w, LLMD__LUA_DECIDE, b);
  return llmd__lua_run(&w);
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  llmd__lua_work w;
  (void)self;
  (void)s;
  from_batch(&w, LLMD__LUA_PRODUCE, b);
  w.wrote = out;
  return llmd__lua_run(&w);
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  llmd__lua_work w;
  (void)self;
  (void)s;
  from_batch(&w, LLMD__LUA_COMMIT, c->batch);
  w.commit = c;
  return llmd__lua_run(&w);
}

/* No request is at hand: chance hangs on the ticket. */
static int report(const void *self, const llmd_services *s, const llmd_report_info *r)
{
  llmd__lua_work w;
  (void)self;
  (void)s;
  memset(&w, 0, sizeof w);
  w.own = r->own;
  w.verb = LLMD__LUA_REPORT;
  w.seed = r->ticket;
  w.now = r->now;
  w.report = r;
  return llmd__lua_run(&w);
}

static int trouble(const void *self, const void *own, char *buf, size_t cap)
{
  const llmd__lua_own *o = own;
  size_t n = o->lua.trouble_len < cap ? o->lua.trouble_len : cap;
  (void)self;
  memcpy(buf, o->lua.trouble, n);
  return (int)n;
}

void llmd__lua_verbs_install(llmd__lua_policy *p)
{
  const llmd__lua_verb *v = p->verb;
  llmd_plugin *d = &p->plugin;
  d->filter = v[LLMD__LUA_FILTER].present ? filter : NULL;
  d->score = v[LLMD__LUA_SCORE].present ? score : NULL;
  d->pick = v[LLMD__LUA_PICK].present ? pick : NULL;
  d->decide = v[LLMD__LUA_DECIDE].present ? decide : NULL;
  d->produce = v[LLMD__LUA_PRODUCE].present ? produce : NULL;
  d->commit = v[LLMD__LUA_COMMIT].present ? commit : NULL;
  d->report = v[LLMD__LUA_REPORT].present ? report : NULL;
  if (v[LLMD__LUA_PROFILES].present || v[LLMD__LUA_PRIMARY].present) {
    d->next = llmd__lua_next;
    d->finish = llmd__lua_finish;
  }
  d->trouble = trouble;
}
