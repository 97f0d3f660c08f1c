/* One decision from pin to charge. */
#include <math.h>
#include <string.h>

#include "model/columns.h"
#include "model/ledger.h"
#include "model/strings.h"
#include "sched/decision.h"

#define UNKNOWN ((double)NAN)

/* ---- the request as plugins see it ------------------------------------------------------------------------------ */

/* The header's rewrite, then the host's table's. A model is drawn once for a request: a retry keeps it. */
static void rewrite_model(llmd_lane *l, llmd_str *model)
{
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  const llmd_str *wanted = &l->info.model_rewrite;
  llmd_str to;
  if (st->rewritten)
    return;
  if (wanted->len && !model->len)
    *model = *wanted;
  else if (wanted->len && !llmd_request_set_model(l->req, wanted->ptr, wanted->len))
    llmd__request_model(l->req, model);
  if (!model->len || !llmd__tables_rewrite(l->pool, model, l->seed >> 7, &to) ||
      llmd_request_set_model(l->req, to.ptr, to.len))
    return;
  llmd__request_model(l->req, model);
  st->rewritten = 1;
}

static void view_model(llmd_lane *l)
{
  llmd_str model = {NULL, 0};
  llmd__request_model(l->req, &model);
  if (l->info.dialect != LLMD_DIALECT_PASSTHROUGH && !l->info.error)
    rewrite_model(l, &model);
  l->view.model = model;
  l->view.model_id = llmd__string_find(l->pool->g, model.ptr, model.len);
}

static uint32_t view_flags(const llmd_request_info *i)
{
  uint32_t f = 0;
  f |= i->flags & LLMD_REQUEST_MULTIMODAL ? LLMD_VIEW_MULTIMODAL : 0;
  f |= i->flags & LLMD_REQUEST_NO_BODY ? LLMD_VIEW_NO_BODY : 0;
  f |= i->flags & LLMD_REQUEST_TRUNCATED ? LLMD_VIEW_TRUNCATED : 0;
  f |= i->flags & LLMD_REQUEST_STREAM ? LLMD_VIEW_STREAM : 0;
  return f;
}

static void view_request(llmd_lane *l)
{
  const llmd_request_info *i = &l->info;
  int priority = llmd__request_priority(l->req);
  memset(&l->view, 0, sizeof l->view);
  l->view.size = sizeof l->view;
  l->view.flags = view_flags(i);
  l->view.priority = priority ? priority : llmd__tables_priority(l->pool, &i->objective);
  l->view.tokens = (double)llmd__request_token_count(l->req);
  l->view.max_tokens = i->max_tokens >= 0 ? (double)i->max_tokens : UNKNOWN;
  l->view.slo_ttft_ms = i->slo_ttft_ms;
  l->view.slo_tpot_ms = i->slo_tpot_ms;
  l->view.bytes = i->body_bytes;
}

void llmd__lane_recall(llmd_lane *l, llmd_request *r)
{
  l->req = r;
  l->info.size = sizeof l->info;
  llmd_request_get(r, &l->info);
  view_request(l);
  l->view.tokens = llmd__request_sched_state(r)->tokens;
  llmd__request_model(r, &l->view.model);
  l->view.model_id = llmd__string_find(l->pool->g, l->view.model.ptr, l->view.model.len);
}

/* ---- candidates ------------------------------------------------------------------------------------------------- */

/* The endpoint is gone since the lane looked last: its producers are told. */
static void forget(llmd_lane *l, llmd_endpoint_id id)
{
  llmd__candidates none = {0, 0, 0, NULL, NULL};
  for (uint32_t i = 0; i < l->s->config->n_producers; i++) {
    uint32_t k = l->s->config->producer[i];
    const llmd__instance *in = &l->s->config->instance[k];
    llmd__service_ctx ctx = {l, k, &none, 0};
    llmd_services sv;
    if (!in->plugin->forget)
      continue;
    llmd__services_init(&sv, &ctx);
    if (in->plugin->forget(in->self.self, &sv, id) < 0)
      llmd__count(l, LLMD__COUNT_PRODUCER_ERRORS, 1);
  }
}

static int is_row(const llmd_lane *l, llmd_endpoint_id id)
{
  uint32_t row = l->snap.view.row_of[llmd__slot_of(id)];
  return row < l->snap.n && l->snap.view.row[row].id == id;
}

void llmd__lane_ids(llmd_lane *l)
{
  if (l->ids_shape == l->snap.shape + 1)
    return;
  for (uint32_t i = 0; i < l->n_ids && l->ids_shape; i++)
    if (!is_row(l, l->all_id[i]))
      forget(l, l->all_id[i]);
  l->n_ids = l->snap.n;
  for (uint32_t i = 0; i < l->snap.n; i++)
    l->all_id[i] = l->snap.view.row[i].id;
  l->ids_shape = l->snap.shape + 1;
}

static uint32_t row_of(const llmd_lane *l, llmd_endpoint_id id)
{
  uint32_t slot = llmd__slot_of(id), row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
  return id && row < l->snap.n && l->all_id[row] == id ? row : LLMD__NONE;
}

/* keep[row] = value for the rows of these endpoints. */
static void mark(llmd_lane *l, const llmd_endpoint_id *ids, size_t n, uint8_t value)
{
  for (size_t i = 0; i < n; i++) {
    uint32_t row = row_of(l, ids[i]);
    if (row != LLMD__NONE)
      l->keep[row] = value;
  }
}

static void narrow(llmd_lane *l)
{
  size_t n_subset = 0, n_exclude = 0;
  const llmd_endpoint_id *subset = llmd__request_subset(l->req, &n_subset);
  const llmd_endpoint_id *exclude = llmd__request_exclude(l->req, &n_exclude);
  llmd__candidates *c = &l->start;
  c->n = 0;
  c->identity = 0;
  memset(l->keep, !subset, l->snap.n);
  if (subset)
    mark(l, subset, n_subset, 1);
  mark(l, exclude, n_exclude, 0);
  for (uint32_t i = 0; i < l->snap.n; i++) {
    if (!l->keep[i] || (l->snap.view.row[i].flags & LLMD__ROW_DRAIN))
      continue;
    c->row[c->n] = i;
    c->id[c->n++] = l->all_id[i];
  }
}

static void list_candidates(llmd_lane *l)
{
  size_t n_exclude = 0, n_subset = 0;
  int subset = llmd__request_subset(l->req, &n_subset) != NULL;
  llmd__request_exclude(l->req, &n_exclude);
  l->start.version = ++l->version;
  if (subset || n_exclude || l->snap.view.head->drained) {
    narrow(l);
    return;
  }
  l->start.n = l->snap.n;
  l->start.identity = 1;
}

llmd__candidates llmd__lane_start(const llmd_lane *l)
{
  llmd__candidates c = l->start;
  if (c.identity) {
    c.row = l->all_row;
    c.id = l->all_id;
  }
  return c;
}

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
    llmd__batch_build(l, c->detector, &cand, &b);
    if (in->plugin->saturation(in->self.self, &b, &saturation) < 0)
      return 0;
  }
  return saturation >= 1;
}

/* ---- results
 * -------------------------------------------------------------------------------------------------------------------
 */

/* Of a decision's text: kept free of names and addresses, for headers; and of these, for the destination's. */
#define HEADER_ROOM 1536u
#define DESTINATION_ROOM 320u

static size_t text_left(const llmd_decision *d, size_t keep)
{
  size_t left = sizeof d->text - d->text_len;
  return left > keep ? left - keep : 0;
}

static llmd_span put_text(llmd_decision *d, const char *ptr, size_t len)
{
  llmd_span s = {d->text_len, (uint32_t)len};
  if (len > sizeof d->text - d->text_len)
    s.len = 0;
  memcpy(d->text + d->text_len, ptr, s.len);
  d->text_len += s.len;
  return s;
}

/* A refusal tells its reason in the reference's header. */
static void put_reason(llmd_decision *d)
{
  const char *text = llmd_reason_text(d->reason);
  if (!*text)
    return;
  d->header[0].name = put_text(d, "x-llm-d-request-dropped-reason", 30);
  d->header[0].value = put_text(d, text, strlen(text));
  d->n_headers = 1;
}

static void reject(llmd_decision *d, uint32_t reason)
{
  static const uint16_t code[] = {200, 503, 429, 429, 429, 400, 412, 500};
  d->status = LLMD_REJECTED;
  d->reason = reason;
  d->code = code[reason];
  d->primary = LLMD_NO_INDEX;
  d->n_targets = 0;
  d->n_headers = 0;
  put_reason(d);
}

static void put_target(llmd_lane *l, llmd_decision *d, uint32_t profile, uint32_t row, double score)
{
  const llmd__row *r = &l->snap.view.row[row];
  llmd_str address = llmd__lane_text(l, r->address);
  llmd_target *t = &d->target[d->n_targets];
  if (d->n_targets == LLMD_MAX_TARGETS || address.len > text_left(d, HEADER_ROOM))
    return;
  memset(t, 0, sizeof *t);
  t->id = r->id;
  t->profile = profile;
  t->port = r->port;
  t->rank = r->rank;
  t->score = score;
  t->address = put_text(d, address.ptr, address.len);
  d->n_targets++;
}

static void put_profile(llmd_lane *l, llmd_decision *d, uint32_t p)
{
  const llmd__result *r = &l->result[p];
  d->profile[p].first = d->n_targets;
  for (uint32_t i = 0; i < r->n; i++)
    put_target(l, d, p, r->row[i], r->total[i]);
  d->profile[p].n = d->n_targets - d->profile[p].first;
}

static void put_profiles(llmd_lane *l, llmd_decision *d, uint32_t primary)
{
  d->n_profiles = l->s->config->n_profiles;
  for (uint32_t p = 0; p < d->n_profiles; p++) {
    memset(&d->profile[p], 0, sizeof d->profile[p]);
    d->profile[p].name = put_text(d, l->profile_name[p].ptr, l->profile_name[p].len);
    d->profile[p].state = l->result[p].state;
  }
  if (primary < d->n_profiles)
    put_profile(l, d, primary);
  for (uint32_t p = 0; p < d->n_profiles; p++)
    if (p != primary)
      put_profile(l, d, p);
}

/* "address:port", brackets around IPv6. Returns its length; 0 when it does not fit. */
static size_t host_port(const llmd_decision *d, const llmd_target *t, char *buf, size_t cap)
{
  const char *address = d->text + t->address.off;
  int six = memchr(address, ':', t->address.len) != NULL;
  char digits[10];
  uint32_t port = t->port;
  size_t n = 0, k = sizeof digits;
  do
    digits[--k] = (char)('0' + port % 10);
  while (port /= 10);
  if (t->address.len + (sizeof digits - k) + 3 > cap)
    return 0;
  if (six)
    buf[n++] = '[';
  memcpy(buf + n, address, t->address.len);
  n += t->address.len;
  if (six)
    buf[n++] = ']';
  buf[n++] = ':';
  memcpy(buf + n, digits + k, sizeof digits - k);
  return n + sizeof digits - k;
}

/* The picks as a list, of which the end is cut when it does not fit. */
static size_t list_picks(const llmd_decision *d, const llmd_header_rule *rule, char *buf, size_t cap)
{
  const llmd_profile_pick *p = &d->profile[rule->profile];
  uint32_t n = rule->what == LLMD_HEADER_ALL ? p->n : p->n ? 1 : 0;
  size_t len = 0;
  for (uint32_t i = 0; i < n; i++) {
    size_t at = len + (i > 0), more = at < cap ? host_port(d, &d->target[p->first + i], buf + at, cap - at) : 0;
    if (!more)
      break;
    if (i)
      buf[len] = ',';
    len = at + more;
  }
  return len;
}

static void put_header(llmd_decision *d, const llmd_header_rule *rule, size_t keep)
{
  char buf[1024];
  size_t name = strlen(rule->name), room = text_left(d, keep + name), len;
  llmd_header *h = &d->header[d->n_headers];
  len = list_picks(d, rule, buf, room < sizeof buf ? room : sizeof buf);
  if (!len || d->n_headers == LLMD_MAX_HEADERS)
    return;
  h->name = put_text(d, rule->name, name);
  h->value = put_text(d, buf, len);
  d->n_headers++;
}

/* The header every reference deployment routes by: destination, then fallbacks. */
static void put_destination(llmd_decision *d)
{
  llmd_header_rule rule = {"x-gateway-destination-endpoint", d->primary, LLMD_HEADER_ALL};
  put_header(d, &rule, 0);
}

static int has_header(const llmd_outcome *o, const char *name)
{
  for (uint32_t i = 0; i < o->n_headers && i < 8; i++)
    if (!strcmp(o->header[i].name, name))
      return 1;
  return 0;
}

/* 0 decode only, 1 prefill and decode, 2 encode and decode, 3 all three: by the headers that tell the engines. */
static uint32_t disagg_type(const llmd_outcome *o)
{
  return (has_header(o, "x-prefiller-host-port") ? 1u : 0u) + (has_header(o, "x-encoder-hosts-ports") ? 2u : 0u);
}

static void put_routed(llmd_lane *l, llmd_decision *d, const llmd_outcome *o)
{
  d->status = LLMD_ROUTED;
  d->code = 200;
  d->primary = o->primary;
  put_profiles(l, d, o->primary);
  for (uint32_t i = 0; i < o->n_headers && i < 8; i++)
    if (o->header[i].profile < d->n_profiles)
      put_header(d, &o->header[i], DESTINATION_ROOM);
  for (uint32_t i = 0; o->port && i < d->profile[o->primary].n; i++)
    d->target[d->profile[o->primary].first + i].port = o->port;
  put_destination(d);
  if (d->n_profiles > 1)
    llmd__count(l, LLMD__COUNT_DISAGG + disagg_type(o), 1);
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
  put_routed(l, d, &o);
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
  reject(d, failed ? LLMD_REASON_SATURATED : LLMD_REASON_NO_TARGET);
  put_profiles(l, d, LLMD_NO_INDEX);
  d->n_targets = 0;
}

/* ---- charge
 * ------------------------------------------------------------------------------------------------------------------------
 */

static int64_t charge_tokens(const llmd_lane *l, uint32_t row)
{
  double t = l->view.tokens;
  if (l->s->charge_column != LLMD__NONE && l->column_set[l->s->charge_column])
    t = l->column[l->s->charge_column][row];
  return t > 0 && t < 1e15 ? (int64_t)t : 0;
}

static void charge(llmd_lane *l, llmd_decision *d)
{
  llmd__charge_in in[LLMD__CHARGES];
  llmd__request_sched *st = llmd__request_sched_state(l->req);
  uint32_t n = 0;
  for (uint32_t k = 0; k <= d->n_profiles && n < LLMD__CHARGES; k++) {
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
  d->ticket = llmd__ledger_reserve(l->pool->g, l->slot, &l->ticket_hint, in, n, l->now->mono + l->pool->lease_ns);
  st->ticket = d->ticket;
  st->region = l->pool->g;
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
    uint32_t row = row_of(l, d->target[t].id);
    for (uint32_t k = 0; k < columns && row != LLMD__NONE; k++)
      st->value[t * columns + k] = l->column_set[k] ? l->column[k][row] : UNKNOWN;
    st->n_targets++;
  }
}

static void count_prefix(llmd_lane *l, const llmd_decision *d)
{
  uint32_t n = 0;
  double hit;
  if (l->s->match_column != LLMD__NONE && !l->replaying)
    n = llmd__chain_keys(l, l->s->column[l->s->match_column].instance);
  if (!n)
    return;
  hit = l->column[l->s->match_column][l->result[d->primary].row[0]];
  llmd__count(l, LLMD__COUNT_PREFIX_BLOCKS, n);
  llmd__count(l, LLMD__COUNT_PREFIX_HITS, hit > 0 && hit < 1e15 ? (uint64_t)hit : 0);
}

/* ---- the whole
 * -----------------------------------------------------------------------------------------------------------------------
 */

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
  put_routed(l, d, &o);
  if (precondition_fails(l, d)) {
    reject(d, LLMD_REASON_PRECONDITION);
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
    reject(d, LLMD_REASON_NO_ENDPOINTS);
}

void llmd__decision_run(llmd_lane *l, llmd_decision *d)
{
  int no_body = (l->view.flags & LLMD_VIEW_NO_BODY) && l->s->options.compat == LLMD_COMPAT_STRICT;
  if (l->facts.bad_request) {
    reject(d, LLMD_REASON_BAD_REQUEST);
    return;
  }
  if (no_body) {
    run_random(l, d);
    return;
  }
  if (!l->replaying && l->start.n)
    llmd__produce_all(l); /* before admission: a detector may read what is produced */
  if (shed(l))
    reject(d, LLMD_REASON_SHEDDABLE);
  else if (!l->start.n)
    reject(d, LLMD_REASON_NO_ENDPOINTS);
  else
    run_policy(l, d);
}

/* The reference refuses a body without a model. */
static uint32_t bad_request(const llmd_lane *l)
{
  int nameless = l->info.dialect != LLMD_DIALECT_PASSTHROUGH && !l->view.model.len &&
                 !(l->info.flags & LLMD_REQUEST_NO_BODY);
  return l->info.error || (nameless && l->s->options.compat == LLMD_COMPAT_STRICT);
}

static void decide_pinned(llmd_lane *l, llmd_decision *d)
{
  llmd__lane_ids(l);
  llmd__lane_attributes(l);
  view_request(l);
  view_model(l);
  l->peer_row = row_of(l, llmd__request_peer(l->req)); /* until the handler names one */
  l->facts.peer = l->peer_row;
  l->facts.if_available = prefers_available(l);
  l->facts.bad_request = bad_request(l);
  d->tokens = l->view.tokens;
  l->fresh = l->snap.view.head->oldest == UINT64_MAX || l->snap.view.head->oldest + l->pool->stale_ns >= l->now->mono;
  list_candidates(l);
  l->deciding = 1;
  llmd__decision_run(l, d);
  l->deciding = 0;
  if (d->status == LLMD_ROUTED)
    charge(l, d);
  remember(l, d);
}

/* Nothing was ever published. */
static void decide_nowhere(llmd_lane *l, llmd_decision *d)
{
  memset(&l->snap, 0, sizeof l->snap);
  memset(&l->view, 0, sizeof l->view);
  l->start.n = l->start.identity = 0;
  reject(d, LLMD_REASON_NO_ENDPOINTS);
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
  l->seed = seed;
  l->ladder = 0;
  l->n_chains = l->n_prompts = 0;
  l->tokens_kind = 0;
  l->peer_row = LLMD__NONE;
  l->scored = 0;
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

int llmd_decide(llmd_lane *lane, llmd_request *r, const llmd_now *now, uint64_t seed, llmd_decision *out)
{
  llmd_lane *l = lane;
  llmd__request_sched *st;
  if (!lane || !r || !now || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  st = llmd__request_sched_state(r);
  if (st->ticket && st->region == l->pool->g)
    llmd__ledger_release(l->pool->g, st->ticket);
  st->ticket = 0;
  st->n_chains = 0;
  llmd__decision_begin(l, out, now, seed);
  l->req = r;
  l->info.size = sizeof l->info;
  llmd_request_get(r, &l->info);
  if (!(l->info.flags & LLMD_REQUEST_FINAL) && !l->info.error) {
    out->status = LLMD_NEED_BODY;
    llmd__count(l, LLMD__COUNT_NEED, 1);
    return 0;
  }
  if (llmd__pool_pin(l->pool, l->slot, &l->snap))
    decide_nowhere(l, out);
  else
    decide_pinned(l, out);
  l->decided = l->produced == l->decision ? l->decision : 0;
  l->decided_shape = l->snap.shape;
  out->ladder = l->ladder;
  count_result(l, out);
  llmd__why_keep(l, out);
  llmd__pool_unpin(l->pool, l->slot);
  return 0;
}
