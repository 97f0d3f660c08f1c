/* What a decision looks at: the request as plugins see it, and the candidates. */
#include <math.h>
#include <string.h>

#include "model/strings.h"
#include "sched/decision.h"

#define UNKNOWN ((double)NAN)
#define LEFT_OUT 2u /* keep[] of a row that would be a candidate, were it not ejected */

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

void llmd__view_model(llmd_lane *l)
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

void llmd__view_request(llmd_lane *l)
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
  l->view.tenant = i->fairness_id;
  l->view.session = i->session;
}

void llmd__lane_recall(llmd_lane *l, llmd_request *r)
{
  l->req = r;
  llmd__exact_begin(l);
  l->info.size = sizeof l->info;
  llmd_request_get(r, &l->info);
  llmd__view_request(l);
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

uint32_t llmd__lane_row(const llmd_lane *l, llmd_endpoint_id id)
{
  uint32_t slot = llmd__slot_of(id), row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
  return id && row < l->snap.n && l->all_id[row] == id ? row : LLMD__NONE;
}

/* keep[row] = value for the rows of these endpoints. */
static void mark(llmd_lane *l, const llmd_endpoint_id *ids, size_t n, uint8_t value)
{
  for (size_t i = 0; i < n; i++) {
    uint32_t row = llmd__lane_row(l, ids[i]);
    if (row != LLMD__NONE)
      l->keep[row] = value;
  }
}

/* keep[] of those that are ejected becomes 0, but for one that this request may try. A pool that has shrunk since may
 * have more of them than may be out: the rest stays. So do all when nobody else is left. */
static void leave_out_ejected(llmd_lane *l)
{
  llmd__region *g = l->pool->g;
  uint32_t most = llmd__health_most(g, l->snap.n), in = 0;
  for (uint32_t i = 0; i < l->snap.n; i++) {
    uint32_t look = l->keep[i] ? llmd__health_look(g, l->all_id[i], l->now->mono) : LLMD__HEALTH_IN;
    if (look == LLMD__HEALTH_DUE && l->n_trials < LLMD__TRIALS && llmd__health_try(g, l->all_id[i], l->now->mono))
      l->trial[l->n_trials++] = l->all_id[i];
    else if (look != LLMD__HEALTH_IN && l->n_out < most) {
      l->keep[i] = LEFT_OUT;
      l->n_out++;
      continue;
    }
    in += l->keep[i];
  }
  if (!in && l->n_out) {
    l->ladder |= LLMD_LADDER_EJECTED;
    l->n_out = 0;
  }
  for (uint32_t i = 0; i < l->snap.n; i++) {
    uint8_t out = l->keep[i] == LEFT_OUT && l->n_out;
    if (l->s->options.explain)
      l->kept.ejected[i] = out;
    l->keep[i] = l->keep[i] && !out;
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
  for (uint32_t i = 0; i < l->snap.n && l->snap.view.head->drained; i++)
    l->keep[i] &= !(l->snap.view.row[i].flags & LLMD__ROW_DRAIN);
  if (llmd__health_any(l->pool->g))
    leave_out_ejected(l);
  for (uint32_t i = 0; i < l->snap.n; i++) {
    if (!l->keep[i])
      continue;
    c->row[c->n] = i;
    c->id[c->n++] = l->all_id[i];
  }
}

void llmd__list_candidates(llmd_lane *l)
{
  size_t n_exclude = 0, n_subset = 0;
  int subset = llmd__request_subset(l->req, &n_subset) != NULL;
  llmd__request_exclude(l->req, &n_exclude);
  l->start.version = ++l->version;
  if (subset || n_exclude || l->snap.view.head->drained || llmd__health_any(l->pool->g)) {
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
