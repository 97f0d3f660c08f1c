/* One decision from pin to charge. */
#include <math.h>
#include <string.h>

#include "model/ledger.h"
#include "sched/decision.h"

#define UNKNOWN ((double)NAN)

/* ---- admission -------------------------------------------------------------------------------------------------- */

/* The default path of the reference: sheddable requests are refused while the pool is saturated. */
static int shed(llmd_lane *l)
{
  const llmd__config *c = l->s->config;
  const llmd__instance *in;
  llmd__candidates cand = llmd__lane_start(l);
  llmd_batch b;
  double saturation = 1;
  if (l->view.priority >= 0 || c->detector >= c->n_instances)
    return 0;
  in = &c->instance[c->detector];
  if (cand.n && in->plugin->saturation) {
    llmd_str trouble;
    int rc;
    llmd__batch_build(l, c->detector, &cand, &b);
    if (llmd__call_told(l, &rc, &trouble))
      return 0;
    rc = in->plugin->saturation(in->self.self, &b, &saturation);
    if (rc < 0) {
      llmd__call_ended(l, c->detector, rc, &trouble);
      return 0;
    }
  }
  return saturation >= 1;
}

/* ---- the ladder's last steps ------------------------------------------------------------------------------------ */

/* To that row: no profile has chosen it. */
static void put_row(llmd_lane *l, llmd_decision *d, uint32_t row)
{
  llmd_outcome o;
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++)
    l->result[p].n = l->result[p].state = 0;
  l->result[0].state = LLMD_RUN_OK;
  l->result[0].n = 1;
  l->result[0].row[0] = row;
  l->result[0].total[0] = 0;
  memset(&o, 0, sizeof o);
  llmd__answer_routed(l, d, &o);
}

/* Round robin over the candidates before any filter: nothing that drains, nothing that the host ruled out. */
static int robin(llmd_lane *l, llmd_decision *d, uint32_t step)
{
  llmd__candidates c = llmd__lane_start(l);
  if (!c.n)
    return 0;
  if (!l->replaying)
    l->facts.robin = atomic_fetch_add_explicit(&l->pool->g->robin, 1, memory_order_relaxed);
  l->ladder |= step;
  put_row(l, d, c.row[l->facts.robin % c.n]);
  return 1;
}

static void no_target(llmd_lane *l, llmd_decision *d, int rc)
{
  uint32_t failed = 0;
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++)
    failed |= l->result[p].state == LLMD_RUN_FAILED;
  if (rc != LLMD_E_NONE && rc < 0 && robin(l, d, LLMD_LADDER_PLUGIN | LLMD_LADDER_ROBIN))
    return;
  if (l->s->options.fail == LLMD_FAIL_OPEN && robin(l, d, LLMD_LADDER_OPEN | LLMD_LADDER_ROBIN))
    return;
  llmd__answer_reject(d, failed ? LLMD_REASON_SATURATED : LLMD_REASON_NO_TARGET);
  llmd__answer_profiles(l, d, LLMD_NO_INDEX);
  d->n_targets = 0;
}

/* ---- charge ----------------------------------------------------------------------------------------------------- */

static int64_t charge_tokens(const llmd_lane *l, uint32_t row)
{
  double t = l->view.tokens;
  if (l->s->charge_column != LLMD__NONE && l->column_set[l->s->charge_column])
    t = l->column[l->s->charge_column][row];
  return t > 0 && t < 1e15 ? (int64_t)t : 0;
}

/* Ejected endpoints that were offered: the one that is charged is tried by this request, the others by somebody else. */
static void settle_trials(llmd_lane *l, const llmd__charge_in *in, uint32_t n, llmd_ticket t)
{
  for (uint32_t i = 0; i < l->n_trials; i++) {
    uint32_t k = 0;
    while (k < n && in[k].endpoint != l->trial[i])
      k++;
    if (k < n)
      llmd__health_tried(l->pool->g, l->trial[i], t);
    else
      llmd__health_untry(l->pool->g, l->trial[i], 0, l->now->mono);
  }
  l->n_trials = 0;
}

static void charge(llmd_lane *l, llmd_decision *d)
{
  llmd__charge_in in[LLMD_MAX_PROFILES];
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  uint32_t n = 0;
  for (uint32_t k = 0; k <= d->n_profiles && n < LLMD_MAX_PROFILES; k++) {
    uint32_t p = k ? k - 1 : d->primary;
    const llmd__result *r = &l->result[p];
    if ((k && p == d->primary) || !r->n)
      continue;
    in[n].endpoint = l->all_id[r->row[0]];
    in[n].tokens = charge_tokens(l, r->row[0]);
    in[n++].early = k != 0;
    if (p < 8)
      st->picked[p] = l->all_id[r->row[0]];
  }
  d->ticket = llmd__ledger_reserve(l->pool->g, &l->charger, in, n, l->now->mono + l->pool->lease_ns);
  st->ticket = d->ticket;
  st->region = l->pool->g;
  settle_trials(l, in, n, d->ticket);
}

/* What the request keeps for commit, when the lane has long been at other requests. */
static void remember(llmd_lane *l, const llmd_decision *d)
{
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  uint32_t columns = l->s->n_columns;
  st->scheduler = l->s->identity;
  st->tokens = l->view.tokens;
  st->n_columns = columns;
  st->n_targets = 0;
  for (uint32_t t = 0; t < d->n_targets && (t + 1) * columns <= LLMD__REQUEST_VALUES; t++) {
    uint32_t row = llmd__lane_row(l, d->target[t].id);
    for (uint32_t k = 0; k < columns && row != LLMD__NONE; k++)
      st->value[t * columns + k] = l->column_set[k] ? l->column[k][row] : UNKNOWN;
    st->n_targets++;
  }
}

static uint64_t blocks(double n)
{
  return n > 0 && n < 1e15 ? (uint64_t)n : 0;
}

static void count_prefix(llmd_lane *l, const llmd_decision *d)
{
  uint32_t row = l->result[d->primary].row[0];
  const llmd_scheduler *s = l->s;
  uint64_t n;
  if (s->match_column == LLMD__NONE || l->replaying)
    return;
  n = s->total_column != LLMD__NONE ? blocks(l->column[s->total_column][row])
                                    : llmd__chain_keys(l, s->column[s->match_column].instance);
  llmd__count(l, LLMD__COUNT_PREFIX_BLOCKS, n);
  llmd__count(l, LLMD__COUNT_PREFIX_HITS, n ? blocks(l->column[s->match_column][row]) : 0);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static uint32_t prefers_available(const llmd_lane *l)
{
  llmd_str v;
  return !llmd_request_find_header(l->req, "prefer", 6, &v) && v.len == 12 && !memcmp(v.ptr, "if-available", 12);
}

/* `Prefer: if-available`: only where something is cached. */
static int precondition_fails(const llmd_lane *l, const llmd_decision *d)
{
  double match;
  if (!l->facts.if_available)
    return 0;
  if (l->s->match_column == LLMD__NONE || !l->column_set[l->s->match_column])
    return 1;
  match = l->column[l->s->match_column][l->result[d->primary].row[0]];
  return !(match > 0);
}

static void run_policy(llmd_lane *l, llmd_decision *d)
{
  llmd_outcome o;
  int rc = llmd__cycle(l, &o);
  if (rc < 0 || o.primary >= l->s->config->n_profiles || !l->result[o.primary].n) {
    no_target(l, d, rc < 0 ? rc : LLMD_E_NONE);
    return;
  }
  llmd__answer_routed(l, d, &o);
  if (precondition_fails(l, d)) {
    llmd__answer_reject(d, LLMD_REASON_PRECONDITION);
    return;
  }
  count_prefix(l, d);
}

/* A request without body, as the reference does it: any endpoint, no admission, no plugins. */
static void run_random(llmd_lane *l, llmd_decision *d)
{
  llmd__candidates c = llmd__lane_start(l);
  uint64_t state = l->seed;
  if (c.n)
    put_row(l, d, c.row[llmd_random(&state) % c.n]);
  else
    llmd__answer_reject(d, LLMD_REASON_NO_ENDPOINTS);
}

void llmd__decision_run(llmd_lane *l, llmd_decision *d)
{
  int no_body = (l->view.flags & LLMD_VIEW_NO_BODY) && l->s->options.compat == LLMD_COMPAT_STRICT;
  if (l->facts.bad_request) {
    llmd__answer_reject(d, LLMD_REASON_BAD_REQUEST);
    return;
  }
  if (no_body) {
    run_random(l, d);
    return;
  }
  if (!l->replaying && l->start.n)
    llmd__produce_all(l); /* before admission: a detector may read what is produced */
  l->cycling = 1;
  if (shed(l))
    llmd__answer_reject(d, LLMD_REASON_SHEDDABLE);
  else if (!l->start.n)
    llmd__answer_reject(d, LLMD_REASON_NO_ENDPOINTS);
  else
    run_policy(l, d);
  l->cycling = 0;
}

/* The reference refuses a body without a model. */
static uint32_t bad_request(const llmd_lane *l)
{
  int nameless = l->info.dialect != LLMD_DIALECT_PASSTHROUGH && !l->view.model.len &&
                 !(l->info.flags & LLMD_REQUEST_NO_BODY);
  return l->info.error || (nameless && l->s->options.compat == LLMD_COMPAT_STRICT);
}

/* What is known before anything is decided: the request as plugins see it, and the candidates. */
static void look_at(llmd_lane *l, llmd_decision *d)
{
  llmd__lane_ids(l);
  llmd__lane_attributes(l);
  llmd__view_request(l);
  llmd__view_model(l);
  l->peer_row = llmd__lane_row(l, llmd__request_peer(l->req)); /* until the handler names one */
  l->facts.peer = l->peer_row;
  l->facts.if_available = prefers_available(l);
  l->facts.bad_request = bad_request(l);
  d->tokens = l->view.tokens;
  d->flags = l->view.flags & LLMD_VIEW_TRUNCATED ? LLMD_DECISION_TRUNCATED : 0;
  llmd__tokens_look(l, d);
  l->fresh = l->snap.view.head->oldest == UINT64_MAX || l->snap.view.head->oldest + l->pool->stale_ns >= l->now->mono;
  llmd__list_candidates(l);
}

static void decide_pinned(llmd_lane *l, llmd_decision *d)
{
  look_at(l, d);
  if (l->need_tokens && l->start.n && !l->facts.bad_request) {
    settle_trials(l, NULL, 0, 0);
    d->status = LLMD_NEED_TOKENS;
    return;
  }
  l->deciding = 1;
  llmd__decision_run(l, d);
  l->deciding = 0;
  if (d->status == LLMD_ROUTED)
    charge(l, d);
  else
    settle_trials(l, NULL, 0, 0);
  remember(l, d);
}

/* Nothing was ever published. */
static void decide_nowhere(llmd_lane *l, llmd_decision *d)
{
  memset(&l->snap, 0, sizeof l->snap);
  memset(&l->view, 0, sizeof l->view);
  l->start.n = l->start.identity = 0;
  llmd__answer_reject(d, LLMD_REASON_NO_ENDPOINTS);
}

static void count_result(const llmd_lane *l, const llmd_decision *d)
{
  llmd__count(l, LLMD__COUNT_DECISIONS, 1);
  if (d->status == LLMD_ROUTED)
    llmd__count(l, LLMD__COUNT_ROUTED, 1);
  else
    llmd__count(l, LLMD__COUNT_REJECTED + d->reason, 1);
  for (uint32_t bit = 0; d->ladder >> bit; bit++)
    if (d->ladder >> bit & 1)
      llmd__count(l, LLMD__COUNT_LADDER + bit, 1);
}

static void count_asked(llmd_lane *l)
{
  l->decided = 0;
  llmd__count(l, LLMD__COUNT_NEED, 1);
  llmd__count(l, LLMD__COUNT_TOKENS_ASKED, 1);
}

static void end_decision(llmd_lane *l, llmd_decision *d)
{
  l->decided = l->produced == l->decision ? l->decision : 0;
  l->decided_shape = l->snap.shape;
  d->ladder = l->ladder;
  count_result(l, d);
  llmd__why_keep(l, d);
}

void llmd__decision_begin(llmd_lane *l, llmd_decision *d, const llmd_now *now, uint64_t seed)
{
  uint32_t size = d->size;
  memset(d, 0, offsetof(llmd_decision, target));
  d->size = size;
  d->seed = seed;
  d->primary = LLMD_NO_INDEX;
  d->text_len = 0;
  l->decision++;
  l->now = now;
  l->kept.now = *now;
  l->seed = seed;
  l->ladder = 0;
  l->n_chains = 0;
  llmd__exact_begin(l);
  l->peer_row = LLMD__NONE;
  l->n_trials = l->n_out = 0;
  l->scored = 0;
  l->calls = l->reads = 0;
  l->kept.n_failed = l->kept.n_answers = l->kept.n_id_texts = 0;
  l->n_why = 0;
  l->arena_used = 0;
  l->last_valid = 0;
  l->kept.replayed = l->kept.lost = 0;
  l->kept.text_used = 0;
  memset(&l->facts, 0, sizeof l->facts);
  l->facts.peer = LLMD__NONE;
  memset(l->column_set, 0, l->s->n_columns);
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++)
    l->result[p].n = l->result[p].state = 0;
  l->deadline = l->s->options.clock ? l->s->options.clock(l->s->options.clock_ud) + l->s->options.budget_ns : 0;
}

/* A decision that was not carried out is no trial. */
static void take_back_trial(const llmd_lane *l, llmd_ticket t, uint64_t mono)
{
  llmd_endpoint_id id[LLMD_MAX_PROFILES];
  uint32_t n = llmd__health_any(l->pool->g) ? llmd__ledger_endpoints(l->pool->g, t, id, LLMD_MAX_PROFILES) : 0;
  for (uint32_t i = 0; i < n; i++)
    llmd__health_untry(l->pool->g, id[i], t, mono);
}

/* The lane turns to the request; what an earlier decision on it was charged goes back. */
static void begin(llmd_lane *l, llmd_request *r, const llmd_now *now, uint64_t seed, llmd_decision *out)
{
  llmd__request_sched *st = llmd__request_sched_state(r);
  int charged = st->ticket && st->region == l->pool->g;
  if (charged)
    take_back_trial(l, st->ticket, now->mono);
  if (charged && !llmd__ledger_release(l->pool->g, st->ticket))
    l->charger.hint = llmd__ledger_place(st->ticket);
  st->ticket = 0;
  st->n_chains = 0;
  llmd__decision_begin(l, out, now, seed);
  l->req = r;
  l->info.size = sizeof l->info;
  llmd_request_get(r, &l->info);
}

int llmd_decide(llmd_lane *lane, llmd_request *r, const llmd_now *now, uint64_t seed, llmd_decision *out)
{
  llmd_lane *l = lane;
  if (!lane || !r || !now || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  begin(l, r, now, seed, out);
  if (!(l->info.flags & LLMD_REQUEST_FINAL) && !l->info.error) {
    out->status = LLMD_NEED_BODY;
    llmd__count(l, LLMD__COUNT_NEED, 1);
    return 0;
  }
  if (llmd__pool_pin(l->pool, l->slot, &l->snap))
    decide_nowhere(l, out);
  else
    decide_pinned(l, out);
  if (out->status == LLMD_NEED_TOKENS)
    count_asked(l);
  else
    end_decision(l, out);
  llmd__pool_unpin(l->pool, l->slot);
  return 0;
}

/* As if profile 0 had chosen `used`: producers see the request, the endpoint is charged. */
static void route_to(llmd_lane *l, llmd_decision *d, uint32_t row)
{
  look_at(l, d);
  l->deciding = 1;
  if (l->start.n)
    llmd__produce_all(l);
  l->deciding = 0;
  put_row(l, d, row);
  charge(l, d);
  remember(l, d);
  l->decided = l->produced == l->decision ? l->decision : 0;
  l->decided_shape = l->snap.shape;
}

int llmd_commit_routed(llmd_lane *lane, llmd_request *r, llmd_endpoint_id used, const llmd_now *now,
                       llmd_ticket *ticket)
{
  llmd_lane *l = lane;
  llmd_decision d;
  uint32_t row;
  int rc;
  if (!lane || !r || !now || !used)
    return LLMD_E_INVALID;
  d.size = sizeof d;
  begin(l, r, now, 0, &d);
  if (!(l->info.flags & LLMD_REQUEST_FINAL) && !l->info.error)
    return LLMD_E_STATE;
  if (llmd__pool_pin(l->pool, l->slot, &l->snap))
    return LLMD_E_STALE;
  llmd__lane_ids(l);
  row = llmd__lane_row(l, used);
  if (row != LLMD__NONE)
    route_to(l, &d, row);
  llmd__pool_unpin(l->pool, l->slot);
  if (row == LLMD__NONE)
    return LLMD_E_STALE;
  rc = llmd_commit(lane, r, &d, used, now);
  if (!rc && ticket)
    *ticket = d.ticket;
  return rc;
}
