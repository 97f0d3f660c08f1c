/* After the decision: where the request really went, and what became of it. */
#include <math.h>
#include <string.h>

#include "model/ledger.h"
#include "sched/decision.h"

/* ---- commit
 * --------------------------------------------------------------------------------------------------------------------
 */

/* The targets as candidates: the primary first, then each other profile's first pick. Names go along. */
static uint32_t list_targets(llmd_lane *l, const llmd_decision *d, llmd_endpoint_id used, llmd__candidates *c,
                             llmd_str *name, uint32_t *primary)
{
  uint32_t n = 0;
  *primary = LLMD_NO_INDEX;
  for (uint32_t k = 0; k <= d->n_profiles; k++) {
    uint32_t p = k ? k - 1 : d->primary, slot, row;
    const llmd_profile_pick *pick = &d->profile[p];
    llmd_endpoint_id id;
    if ((k && p == d->primary) || !pick->n)
      continue;
    id = k ? d->target[pick->first].id : used;
    slot = llmd__slot_of(id);
    row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
    if (row >= l->snap.n || l->all_id[row] != id)
      continue;
    if (!k)
      *primary = n;
    c->row[n] = row;
    c->id[n] = id;
    name[n].ptr = d->text + pick->name.off;
    name[n++].len = pick->name.len;
  }
  return n;
}

static void commit_one(llmd_lane *l, uint32_t instance, const llmd__candidates *c, const llmd_str *name,
                       uint32_t primary)
{
  const llmd__instance *in = &l->s->config->instance[instance];
  const llmd__binding *b = &l->s->binding[instance];
  llmd__service_ctx ctx = {l, instance, c, 0};
  llmd_commit_info info;
  llmd_services sv;
  llmd_batch batch;
  int rc;
  if (!in->plugin->commit)
    return;
  for (uint32_t w = 0; w < b->n_writes; w++) {
    l->out[w] = l->temp + (size_t)w * l->cap;
    for (uint32_t i = 0; i < c->n; i++)
      l->out[w][i] = l->column[b->column[w]][c->row[i]];
  }
  llmd__services_init(&sv, &ctx);
  llmd__batch_build(l, instance, c, &batch);
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  info.primary = primary;
  info.batch = &batch;
  info.profile = name;
  info.wrote = (const double *const *)(void *)l->out;
  l->own[instance].sv = &sv;
  rc = in->plugin->commit(in->self.self, &sv, &info);
  l->own[instance].sv = NULL;
  if (rc < 0)
    llmd__learn_ended(l, instance, rc);
}

/* Is the lane still as that decision left it? Then columns and chain are at hand; else only what the request kept. */
static int same_decision(const llmd_lane *l, const llmd_request *r, const llmd_decision *d)
{
  return l->req == r && l->seed == d->seed && l->decision == l->decided && l->snap.shape == l->decided_shape;
}

/* Columns as the request kept them for its targets, unknown elsewhere. */
static void recall_columns(llmd_lane *l, const llmd_decision *d, const llmd__request_sched *st)
{
  uint32_t n = l->s->n_columns;
  memset(l->column_set, 0, n);
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t i = 0; i < l->snap.n; i++)
      l->column[k][i] = (double)NAN;
  for (uint32_t t = 0; t < st->n_targets && t < d->n_targets && st->n_columns == n; t++) {
    uint32_t slot = llmd__slot_of(d->target[t].id), row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
    for (uint32_t k = 0; k < n && row < l->snap.n && l->all_id[row] == d->target[t].id; k++)
      l->column[k][row] = st->value[t * n + k];
  }
}

static void commit_plugins(llmd_lane *l, llmd_request *r, const llmd_decision *d, llmd_endpoint_id used)
{
  llmd__request_sched *st = llmd__request_sched_state(r);
  llmd_str name[LLMD_MAX_PROFILES];
  llmd__candidates c = l->cand;
  uint32_t primary;
  int same = same_decision(l, r, d);
  l->decision++; /* sources are read anew: their columns may point into a buffer of then */
  if (st->scheduler != l->s->identity) /* another configuration decided: its plugins have other numbers */
    st->n_chains = st->n_columns = st->n_targets = 0;
  if (same) {
    l->decided = l->decision;
  } else {
    llmd__lane_recall(l, r);
    recall_columns(l, d, st);
  }
  c.identity = 0;
  c.version = ++l->version;
  c.n = list_targets(l, d, used, &c, name, &primary);
  if (!c.n)
    return;
  for (uint32_t i = 0; i < l->s->config->n_producers; i++)
    commit_one(l, l->s->config->producer[i], &c, name, primary);
}

static int is_there(const llmd_lane *l, llmd_endpoint_id id)
{
  uint32_t slot = llmd__slot_of(id), row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
  return row < l->snap.n && l->snap.view.row[row].id == id;
}

/* The request that was to try an ejected endpoint may have gone elsewhere. */
static void move_charge(const llmd_lane *l, llmd_ticket t, llmd_endpoint_id used, uint64_t mono)
{
  llmd_endpoint_id was = llmd__health_any(l->pool->g) ? llmd__ledger_endpoint(l->pool->g, t) : 0;
  llmd__ledger_move(l->pool->g, t, used);
  if (was && was != used)
    llmd__health_untry(l->pool->g, was, t, mono);
}

int llmd_commit(llmd_lane *lane, llmd_request *r, const llmd_decision *d, llmd_endpoint_id used, const llmd_now *now)
{
  llmd_lane *l = lane;
  if (!lane || !r || !d || !now || d->status != LLMD_ROUTED)
    return LLMD_E_INVALID;
  if (!used)
    used = d->target[d->profile[d->primary].first].id;
  if (llmd__pool_pin(l->pool, l->slot, &l->snap))
    return LLMD_E_NONE;
  if (!is_there(l, used)) {
    llmd__pool_unpin(l->pool, l->slot);
    return LLMD_E_STALE;
  }
  if (d->ticket)
    move_charge(l, d->ticket, used, now->mono);
  l->now = now;
  llmd__lane_ids(l);
  llmd__lane_attributes(l);
  commit_plugins(l, r, d, used);
  llmd__pool_unpin(l->pool, l->slot);
  llmd__count(l, LLMD__COUNT_COMMITS, 1);
  llmd__request_sched_state(r)->ticket = 0; /* from now on the ticket is the host's to report on */
  return 0;
}

/* ---- reports ---------------------------------------------------------------------------------------------------- */

void llmd__report_plugins(llmd_lane *l, llmd_ticket t, uint32_t kind, const llmd_usage *u)
{
  llmd__candidates none = {0, 0, 0, NULL, NULL};
  llmd_request *last = l->req;
  llmd_report_info info;
  l->req = NULL; /* the ticket's request is not at hand */
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  info.kind = kind;
  info.ticket = t;
  info.endpoint = llmd__ledger_endpoint(l->pool->g, t);
  info.now = l->now->mono;
  info.prompt_tokens = u ? u->prompt_tokens : (double)NAN;
  info.output_tokens = u ? u->output_tokens : (double)NAN;
  info.cached_tokens = u ? u->cached_tokens : (double)NAN;
  for (uint32_t i = 0; i < l->s->config->n_producers; i++) {
    uint32_t k = l->s->config->producer[i];
    const llmd__instance *in = &l->s->config->instance[k];
    llmd__service_ctx ctx = {l, k, &none, t};
    llmd_services sv;
    int rc;
    if (!in->plugin->report)
      continue;
    llmd__services_init(&sv, &ctx);
    info.own = l->own[k].own;
    l->own[k].sv = &sv;
    rc = in->plugin->report(in->self.self, &sv, &info);
    l->own[k].sv = NULL;
    if (rc < 0)
      llmd__learn_ended(l, k, rc);
  }
  l->req = last;
}

static void count_usage(const llmd_lane *l, const llmd_usage *u)
{
  const double v[3] = {u->prompt_tokens, u->output_tokens, u->cached_tokens};
  for (uint32_t i = 0; i < 3; i++)
    if (v[i] > 0 && v[i] < 1e12)
      llmd__count(l, LLMD__COUNT_PROMPT_TOKENS + i, (uint64_t)v[i]);
}

/* How many endpoints are published with this one; 0 = it is not. */
static uint32_t published_with(const llmd_lane *l, llmd_endpoint_id id)
{
  llmd__snapshot snap;
  uint32_t slot = llmd__slot_of(id), row, n;
  if (llmd__pool_pin(l->pool, l->slot, &snap))
    return 0;
  row = slot < l->cap ? snap.view.row_of[slot] : LLMD__NO_ROW;
  n = row < snap.n && snap.view.row[row].id == id ? snap.n : 0;
  llmd__pool_unpin(l->pool, l->slot);
  return n;
}

static void count_failure(const llmd_lane *l, llmd_endpoint_id id, uint64_t mono)
{
  uint32_t n = published_with(l, id);
  if (n)
    llmd__health_failed(l->pool->g, id, n, mono);
}

/* What a report says of an endpoint: t = 0, that is all that is known. A first token ends a trial; that a request worked
 * is only known at its end, or streams that break would never count. */
static void tell_of(const llmd_lane *l, llmd_endpoint_id id, llmd_ticket t, uint32_t kind, uint64_t mono)
{
  if (kind == LLMD_REPORT_ERROR)
    count_failure(l, id, mono);
  else if (kind == LLMD_REPORT_CANCEL)
    llmd__health_untry(l->pool->g, id, t, mono);
  else if (kind == LLMD_REPORT_END || (kind == LLMD_REPORT_FIRST && llmd__health_any(l->pool->g) &&
                                       llmd__health_unwell(l->pool->g, id)))
    llmd__health_worked(l->pool->g, id, mono);
}

/* The report is of the primary's endpoint. Those of the other profiles, whose failures it does not know, end a trial with
 * it: well when it is, else as if they had not been asked. */
static void tell_health(const llmd_lane *l, llmd_ticket t, uint32_t kind, uint64_t mono)
{
  llmd__region *g = l->pool->g;
  llmd_endpoint_id id[LLMD_MAX_PROFILES];
  uint32_t n;
  if (kind == LLMD_REPORT_PROGRESS)
    return;
  tell_of(l, llmd__ledger_endpoint(g, t), t, kind, mono);
  n = llmd__health_any(g) ? llmd__ledger_endpoints(g, t, id, LLMD_MAX_PROFILES) : 0;
  for (uint32_t i = 1; i < n; i++)
    if (kind < LLMD_REPORT_ERROR)
      llmd__health_tried_well(g, id[i], t, mono);
    else
      llmd__health_untry(g, id[i], t, mono);
}

static int known_kind(uint32_t kind)
{
  return kind >= LLMD_REPORT_FIRST && kind <= LLMD_REPORT_CANCEL;
}

int llmd_report(llmd_lane *lane, llmd_ticket ticket, uint32_t kind, const llmd_usage *usage, const llmd_now *now)
{
  static const uint32_t counter[] = {0,
                                     LLMD__COUNT_FIRST,
                                     LLMD__COUNT_LAST,
                                     LLMD__COUNT_DONE,
                                     LLMD__COUNT_FAILED,
                                     LLMD__COUNT_CANCELLED};
  llmd__region *g;
  int rc;
  if (!lane || !now || !known_kind(kind) || (usage && usage->size < sizeof *usage))
    return LLMD_E_INVALID;
  g = lane->pool->g;
  rc = llmd__ledger_renew(g, ticket, lane->charger.owner, now->mono + lane->pool->lease_ns);
  if (rc)
    return rc;
  lane->now = now;
  if (kind == LLMD_REPORT_FIRST)
    llmd__ledger_first(g, ticket);
  tell_health(lane, ticket, kind, now->mono);
  llmd__report_plugins(lane, ticket, kind, usage);
  if (kind >= LLMD_REPORT_END) {
    rc = llmd__ledger_release(g, ticket);
    if (!rc)
      lane->charger.hint = llmd__ledger_place(ticket);
    if (!rc && usage)
      count_usage(lane, usage);
  }
  if (!rc && counter[kind] != LLMD__COUNT_LAST)
    llmd__count(lane, counter[kind], 1);
  return rc;
}

int llmd_report_endpoint(llmd_lane *lane, llmd_endpoint_id endpoint, uint32_t kind, const llmd_now *now)
{
  if (!lane || !endpoint || !now || !known_kind(kind))
    return LLMD_E_INVALID;
  if (!published_with(lane, endpoint))
    return LLMD_E_STALE;
  tell_of(lane, endpoint, 0, kind, now->mono);
  return 0;
}
