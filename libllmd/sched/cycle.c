/* The cycle: the profile handler says which profiles run, each runs filters, scorers and a picker over columns. */
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "sched/scheduler.h"

/* ---- candidates ------------------------------------------------------------------------------------------------- */

static void start_candidates(llmd_lane *l)
{
  llmd__candidates *c = &l->cand;
  c->n = l->start.n;
  c->identity = l->start.identity;
  c->version = l->start.version;
  if (c->identity)
    return; /* row and id are the lane's identity arrays: see rows_of */
  memcpy(c->row, l->start.row, c->n * sizeof *c->row);
  memcpy(c->id, l->start.id, c->n * sizeof *c->id);
}

/* While nothing was filtered out the candidate list is the snapshot itself. */
static llmd__candidates visible(const llmd_lane *l)
{
  llmd__candidates c = l->cand;
  if (c.identity) {
    c.row = l->all_row;
    c.id = l->all_id;
  }
  return c;
}

static int within(const uint32_t *order, uint32_t n, uint32_t end)
{
  for (uint32_t i = 0; i < n; i++)
    if (order[i] >= end)
      return 0;
  return 1;
}

/* order[0..n) holds positions of the survivors, in their new order. */
static void compact(llmd_lane *l, const uint32_t *order, uint32_t n)
{
  llmd__candidates from = visible(l);
  uint32_t *row = (uint32_t *)(void *)l->score; /* room for n rows: no scores are alive while filters run */
  for (uint32_t i = 0; i < n; i++)
    row[i] = from.row[order[i]];
  for (uint32_t i = 0; i < n; i++) {
    l->cand.row[i] = row[i];
    l->cand.id[i] = l->all_id[row[i]];
  }
  l->cand.n = n;
  l->cand.identity = 0;
  l->cand.version = ++l->version;
}

/* ---- one profile ------------------------------------------------------------------------------------------------ */

static void plugin_failed(llmd_lane *l)
{
  l->ladder |= LLMD_LADDER_PLUGIN;
  llmd__count(l, LLMD__COUNT_PLUGIN_ERRORS, 1);
}

/* Calls EXPR, a verb of the instance, unless a record says that it failed then. */
#define CALL(rc, trouble, l, instance, expr)        \
  do {                                              \
    if (!llmd__call_told((l), &(rc), &(trouble))) { \
      (rc) = (expr);                                \
      if ((rc) < 0)                                 \
        llmd__call_ended((l), (instance), (rc), &(trouble)); \
    }                                               \
  } while (0)

static void why_rows(llmd_lane *l, llmd__why *why, const llmd__candidates *c)
{
  (void)l;
  if (why && why->row)
    memcpy(why->row, c->row, c->n * sizeof *c->row);
}

static void note_filter(llmd_lane *l, uint32_t profile, uint32_t instance, uint32_t before, int rc, llmd_str trouble)
{
  llmd__candidates c = visible(l);
  llmd__why *why = llmd__why_add(l, LLMD__WHY_FILTER, profile, instance, c.n);
  if (!why)
    return;
  why->n_before = before;
  why->rc = rc;
  why->trouble = trouble;
  why_rows(l, why, &c);
}

static void run_filter(llmd_lane *l, uint32_t profile, uint32_t instance)
{
  const llmd__instance *in = &l->s->config->instance[instance];
  llmd__candidates c = visible(l);
  llmd_batch b;
  llmd_str trouble = {NULL, 0};
  uint32_t n = 0;
  int rc;
  memset(l->keep, 1, c.n);
  llmd__batch_build(l, instance, &c, &b);
  CALL(rc, trouble, l, instance, in->plugin->filter(in->self.self, &b, l->keep, l->order));
  if (rc > 0 && ((uint32_t)rc > c.n || !within(l->order, (uint32_t)rc, c.n)))
    rc = LLMD_E_TYPE;
  if (rc < 0) {
    plugin_failed(l);
  } else if (rc > 0) {
    compact(l, l->order, (uint32_t)rc);
  } else {
    for (uint32_t i = 0; i < c.n; i++) {
      l->order[n] = i;
      n += l->keep[i] != 0;
    }
    if (n < c.n)
      compact(l, l->order, n);
  }
  note_filter(l, profile, instance, c.n, rc, trouble);
}

/* Adds clamp01(score) * weight. NaN adds nothing: max and min give their second operand then, as the plain code does. */
static void add_scores(double *restrict total, const double *restrict score, double weight, uint32_t n)
{
  uint32_t i = 0;
#if defined(__SSE2__)
  const __m128d zero = _mm_setzero_pd(), one = _mm_set1_pd(1), w = _mm_set1_pd(weight);
  for (; i + 2 <= n; i += 2) {
    __m128d s = _mm_min_pd(_mm_max_pd(_mm_loadu_pd(score + i), zero), one);
    _mm_storeu_pd(total + i, _mm_add_pd(_mm_loadu_pd(total + i), _mm_mul_pd(s, w)));
  }
#endif
  for (; i < n; i++) {
    double s = score[i] > 0 ? score[i] : 0;
    s = s < 1 ? s : 1;
    total[i] += s * weight;
  }
}

static void run_scorer(llmd_lane *l, uint32_t profile, const llmd__use *use)
{
  const llmd__instance *in = &l->s->config->instance[use->instance];
  llmd__candidates c = visible(l);
  llmd_batch b;
  llmd__why *why;
  llmd_str trouble = {NULL, 0};
  int rc;
  llmd__batch_build(l, use->instance, &c, &b);
  CALL(rc, trouble, l, use->instance, in->plugin->score(in->self.self, &b, l->score));
  if (rc < 0)
    plugin_failed(l);
  else
    add_scores(l->total, l->score, use->weight, c.n);
  why = llmd__why_add(l, LLMD__WHY_SCORER, profile, use->instance, c.n);
  if (!why)
    return;
  why->rc = rc;
  why->trouble = trouble;
  why->weight = use->weight;
  why_rows(l, why, &c);
  if (why->value)
    memcpy(why->value, l->score, c.n * sizeof *l->score);
}

/* Past the budget no further scorer runs: filters and pickers always do. A replay stops where the record says. */
static int out_of_time(llmd_lane *l)
{
  const llmd_scheduler_options *o = &l->s->options;
  if (l->ladder & LLMD_LADDER_BUDGET)
    return !l->replaying || l->scored >= l->facts.scored;
  if (l->replaying || !o->clock || o->clock(o->clock_ud) < l->deadline)
    return 0;
  l->ladder |= LLMD_LADDER_BUDGET;
  l->facts.scored = l->scored;
  return 1;
}

/* The picker failed or picked nothing: the best total, first in order. */
static int pick_best(const double *total, uint32_t n, uint32_t *out)
{
  uint32_t best = 0;
  for (uint32_t i = 1; i < n; i++)
    best = total[i] > total[best] ? i : best;
  *out = best;
  return 1;
}

static void run_picker(llmd_lane *l, uint32_t profile, uint32_t instance)
{
  const llmd__instance *in = &l->s->config->instance[instance];
  llmd__candidates c = visible(l);
  llmd__result *r = &l->result[profile];
  uint32_t pick[LLMD_MAX_TARGETS];
  llmd_batch b;
  llmd__why *why;
  llmd_str trouble = {NULL, 0};
  int rc, said;
  llmd__batch_build(l, instance, &c, &b);
  CALL(rc, trouble, l, instance, in->plugin->pick(in->self.self, &b, l->total, pick, LLMD_MAX_TARGETS));
  said = rc;
  if (rc <= 0) {
    plugin_failed(l);
    rc = pick_best(l->total, c.n, pick);
  }
  r->n = 0;
  for (int i = 0; i < rc && i < LLMD_MAX_TARGETS; i++) {
    if (pick[i] >= c.n)
      continue;
    r->row[r->n] = c.row[pick[i]];
    r->total[r->n++] = l->total[pick[i]];
  }
  r->state = r->n ? LLMD_RUN_OK : LLMD_RUN_FAILED;
  why = llmd__why_add(l, LLMD__WHY_PICKER, profile, instance, c.n);
  if (!why)
    return;
  why->rc = said;
  why->trouble = trouble;
  why_rows(l, why, &c);
  if (why->value)
    memcpy(why->value, l->total, c.n * sizeof *l->total);
}

void llmd__profile_run(llmd_lane *l, uint32_t p)
{
  const llmd__profile *profile = &l->s->config->profile[p];
  l->result[p].state = LLMD_RUN_FAILED;
  l->result[p].n = 0;
  start_candidates(l);
  for (uint32_t i = 0; i < profile->n_filters && l->cand.n; i++)
    run_filter(l, p, profile->filter[i].instance);
  if (!l->cand.n)
    return;
  memset(l->total, 0, l->cand.n * sizeof *l->total);
  for (uint32_t i = 0; i < profile->n_scorers && !out_of_time(l); i++, l->scored++)
    run_scorer(l, p, &profile->scorer[i]);
  run_picker(l, p, profile->picker);
}

/* ---- the handler's loop ----------------------------------------------------------------------------------------- */

static void publish_run(llmd_lane *l, uint32_t p)
{
  const llmd__result *r = &l->result[p];
  l->run[p].state = r->state;
  l->run[p].n = r->n;
  l->run[p].first = r->n ? l->all_id[r->row[0]] : 0;
}

static void ask_decider(llmd_lane *l, const llmd_next *next)
{
  const llmd__instance *in = &l->s->config->instance[next->ask];
  llmd__candidates c = {0, 0, 0, NULL, NULL};
  uint32_t row;
  llmd_batch b;
  llmd__why *why;
  llmd_str trouble = {NULL, 0};
  int yes;
  c.version = ++l->version;
  c.row = &row;
  c.id = l->cand.id;
  if (next->ask_at < l->s->config->n_profiles && l->result[next->ask_at].n &&
      l->run[next->ask_at].state == LLMD_RUN_OK) {
    row = l->result[next->ask_at].row[0];
    l->cand.id[0] = l->all_id[row];
    c.n = 1;
  }
  llmd__batch_build(l, next->ask, &c, &b);
  CALL(yes, trouble, l, next->ask, in->plugin->decide ? in->plugin->decide(in->self.self, &b) : LLMD_E_PLUGIN);
  if (yes < 0)
    plugin_failed(l);
  l->answer[next->ask] = yes > 0;
  why = llmd__why_add(l, LLMD__WHY_DECIDER, next->ask_at, next->ask, 0);
  if (!why)
    return;
  why->rc = yes;
  why->trouble = trouble;
}

static void build_stages(llmd_lane *l, uint32_t turn, llmd_stages *st)
{
  uint32_t handler = l->s->config->handler;
  llmd__candidates none = {0, 0, 0, l->cand.row, l->cand.id};
  llmd_batch b;
  none.version = ++l->version;
  llmd__batch_build(l, handler, &none, &b);
  memset(st, 0, sizeof *st);
  st->size = sizeof *st;
  st->n = l->s->config->n_profiles;
  st->name = l->profile_name;
  st->run = l->run;
  st->answer = l->answer;
  st->value = b.value;
  st->request = &l->view;
  st->strict = b.strict;
  st->turn = turn;
  st->own = b.own;
  st->seed = b.seed;
  st->now = b.now;
  st->wall = b.wall;
  st->flags = b.flags;
}

/* Without a handler there is no cycle. */
static int handler_failed(llmd_lane *l, int rc, llmd_str trouble)
{
  llmd__count(l, LLMD__COUNT_PLUGIN_ERRORS, 1);
  llmd__why_failed(l, LLMD__WHY_HANDLER, l->s->config->handler, rc, trouble);
  return rc;
}

/* One turn. 1 = something was done, 0 = the handler is finished, negative = it failed. */
static int turn(llmd_lane *l, uint32_t number)
{
  const llmd__instance *in = &l->s->config->instance[l->s->config->handler];
  llmd_stages st;
  llmd_next next;
  llmd_str trouble = {NULL, 0};
  int rc;
  memset(&next, 0, sizeof next);
  next.size = sizeof next;
  next.ask = next.ask_at = next.peer = LLMD_NO_INDEX;
  build_stages(l, number, &st);
  CALL(rc, trouble, l, l->s->config->handler, in->plugin->next(in->self.self, &st, &next));
  if (rc < 0)
    return handler_failed(l, rc, trouble);
  if (next.peer < l->s->config->n_profiles && l->result[next.peer].n)
    l->peer_row = l->result[next.peer].row[0];
  if (next.ask < l->s->config->n_instances) {
    ask_decider(l, &next);
    return 1;
  }
  if (!next.run)
    return 0;
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++) {
    if (!(next.run >> p & 1))
      continue;
    llmd__profile_run(l, p);
    publish_run(l, p);
  }
  return 1;
}

int llmd__cycle(llmd_lane *l, llmd_outcome *outcome)
{
  const llmd__instance *in = &l->s->config->instance[l->s->config->handler];
  llmd_stages st;
  llmd_str trouble = {NULL, 0};
  uint32_t number = 0;
  int rc;
  memset(l->run, 0, sizeof l->run);
  memset(l->answer, -1, l->s->config->n_instances);
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++)
    l->result[p].state = l->result[p].n = 0;
  do
    rc = turn(l, number++);
  while (rc > 0 && number < 4 * LLMD_MAX_PROFILES);
  if (rc < 0)
    return rc;
  memset(outcome, 0, sizeof *outcome);
  outcome->size = sizeof *outcome;
  outcome->primary = LLMD_NO_INDEX;
  build_stages(l, number, &st);
  if (!llmd__call_told(l, &rc, &trouble)) {
    rc = in->plugin->finish(in->self.self, &st, outcome);
    if (rc < 0 && rc != LLMD_E_NONE) /* that is an answer */
      llmd__call_ended(l, l->s->config->handler, rc, &trouble);
  }
  return rc < 0 && rc != LLMD_E_NONE ? handler_failed(l, rc, trouble) : rc;
}
