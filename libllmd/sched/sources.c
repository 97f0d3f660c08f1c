/* Filling sources: what plugins read, as full columns over the rows of the pinned snapshot. What does not change
 * between decisions (metrics of one generation, labels of one shape) is kept from the last one. */
#include <math.h>
#include <string.h>

#include "model/columns.h"
#include "model/strings.h"
#include "sched/scheduler.h"

#define UNKNOWN ((double)NAN)

static uint32_t rows(const llmd_lane *l)
{
  return l->snap.n;
}

static int row_fresh(const llmd_lane *l, uint32_t row)
{
  uint64_t t = l->snap.view.row[row].updated;
  return !t || t + l->pool->stale_ns >= l->now->mono;
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static int32_t look_up(const llmd_lane *l, int32_t known, const char *name, const char *producer, uint32_t type,
                       uint32_t scope)
{
  uint32_t have_type = 0, have_scope = 0;
  int i = known >= 0 ? known : llmd__pool_find_attribute(l->pool, name, producer, &have_type, &have_scope);
  return known >= 0 || (i >= 0 && have_type == type && have_scope == scope) ? i : -1;
}

static uint32_t type_of(uint32_t kind)
{
  switch (kind) {
  case LLMD_READ_F64:
    return LLMD_TYPE_F64;
  case LLMD_READ_ID:
    return LLMD_TYPE_ID;
  case LLMD_READ_HAS_MODEL:
  case LLMD_READ_SET_SIZE:
    return LLMD_TYPE_SET;
  default:
    return 0; /* reads no attribute */
  }
}

/* Another process registers attributes when it likes; a scheduler is made once. */
void llmd__lane_attributes(llmd_lane *l)
{
  const llmd_scheduler *s = l->s;
  uint32_t n = atomic_load_explicit(&l->pool->g->n_attributes, memory_order_acquire);
  if (n + 1 == l->n_attributes)
    return;
  l->n_attributes = n + 1;
  for (uint32_t i = 0; i < s->n_sources; i++) {
    const llmd__source *src = &s->source[i];
    int wanted = type_of(src->kind) && src->column == LLMD__NONE;
    l->attribute[i] = -1;
    if (wanted)
      l->attribute[i] = look_up(l, src->attribute, src->name, src->producer, type_of(src->kind), LLMD_SCOPE_ENDPOINT);
  }
  for (uint32_t i = 0; i < s->n_columns; i++)
    l->column_attribute[i] = look_up(l, s->column[i].attribute, s->column[i].name, s->column[i].producer,
                                     LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
}

/* ---- endpoint columns ------------------------------------------------------------------------------------------- */

/* Copies src to dst with unknown values filled. Returns 1 when nothing had to be changed. */
static int fill_copy(double *dst, const double *src, uint32_t n, double fill)
{
  int same = 1;
  for (uint32_t i = 0; i < n; i++) {
    int unknown = src[i] != src[i];
    dst[i] = unknown ? fill : src[i];
    same &= !unknown;
  }
  return same;
}

/* All metrics are stale: the lane's own knowledge, requests in flight, stands in for them. */
static void fill_inflight(llmd_lane *l, double *dst)
{
  const llmd__total *total = llmd__region_totals(l->pool->g);
  for (uint32_t i = 0; i < rows(l); i++) {
    int64_t r = atomic_load_explicit(&total[l->snap.view.row[i].slot].requests, memory_order_relaxed);
    dst[i] = r > 0 ? (double)r : 0;
  }
  l->ladder |= LLMD_LADDER_STALE;
}

/* A metric while some endpoints are stale: their values are unknown. */
static void fill_stale(llmd_lane *l, const llmd__source *src, double *dst, const double *col)
{
  uint32_t known = 0;
  for (uint32_t i = 0; i < rows(l); i++) {
    double v = row_fresh(l, i) ? col[i] : UNKNOWN;
    known += v == v;
    dst[i] = v;
  }
  if (!known && src->load == 2)
    fill_inflight(l, dst);
  if (src->fill == src->fill)
    fill_copy(dst, dst, rows(l), src->fill);
}

static void fill_endpoint(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  int32_t attribute = l->attribute[src - l->s->source];
  const double *col;
  uint64_t key = l->snap.generation * 2 + 1;
  if (attribute < 0 || (uint32_t)attribute >= l->snap.view.head->n_attributes) {
    for (uint32_t i = 0; i < rows(l); i++)
      ((double *)f->own)[i] = src->fill;
    f->col = f->own;
    f->key = 0;
    return;
  }
  col = llmd__column_f64(&l->snap.view, l->pool->g, (uint32_t)attribute);
  if (src->load && !l->fresh && l->s->options.compat != LLMD_COMPAT_STRICT) {
    fill_stale(l, src, f->own, col);
    f->col = f->own;
    f->key = 0;
  } else if (src->fill != src->fill) {
    f->col = col;
  } else if (f->key != key) {
    f->col = fill_copy(f->own, col, rows(l), src->fill) ? (const void *)col : f->own;
    f->key = key;
    f->borrowed = f->col == (const void *)col;
  } else {
    f->col = f->borrowed ? (const void *)col : f->own;
  }
}

static void fill_produced(const llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  const double *col = l->column[src->column];
  f->col = col;
  if (src->fill == src->fill) {
    fill_copy(f->own, col, rows(l), src->fill);
    f->col = f->own;
  }
}

/* ---- sets, labels, identity ------------------------------------------------------------------------------------- */

static void fill_set(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  int32_t attribute = l->attribute[src - l->s->source];
  double *out = f->own;
  uint32_t set;
  f->col = out;
  if (attribute < 0) {
    memset(out, 0, rows(l) * sizeof *out);
    return;
  }
  set = llmd__region_attributes(l->pool->g)[attribute].set;
  for (uint32_t i = 0; i < rows(l); i++) {
    const uint32_t *s = llmd__column_set(&l->snap.view, l->pool->g, set, i);
    double v = 0;
    if (src->kind == LLMD_READ_SET_SIZE)
      v = s[0];
    else
      for (uint32_t k = 1; k <= s[0] && l->view.model_id; k++)
        v = s[k] == l->view.model_id ? 1 : v;
    out[i] = v;
  }
}

static uint32_t label_of(const llmd_lane *l, uint32_t row, uint32_t key)
{
  const uint32_t *pair = l->snap.view.label + (size_t)row * l->pool->g->caps.labels * 2;
  for (uint32_t k = 0; k < l->snap.view.row[row].n_labels; k++)
    if (pair[2 * k] == key)
      return pair[2 * k + 1];
  return 0;
}

static void fill_label(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  uint32_t *out = f->own;
  uint32_t key = src->name ? llmd__string_find(l->pool->g, src->name, strlen(src->name)) : 0;
  for (uint32_t i = 0; i < rows(l); i++)
    out[i] = key ? label_of(l, i, key) : 0;
}

void llmd__identity(const llmd_lane *l, uint32_t row, llmd_pair *labels, llmd_identity *who)
{
  const llmd__row *r = &l->snap.view.row[row];
  const uint32_t *pair = l->snap.view.label + (size_t)row * l->pool->g->caps.labels * 2;
  llmd_str full = llmd__string_text(l->pool->g, r->name);
  const char *slash = full.len ? memchr(full.ptr, '/', full.len) : NULL;
  memset(who, 0, sizeof *who);
  who->size = sizeof *who;
  who->n_labels = r->n_labels < 64 ? r->n_labels : 64;
  who->label = labels;
  for (uint32_t k = 0; k < who->n_labels; k++) {
    labels[k].key = llmd__string_text(l->pool->g, pair[2 * k]);
    labels[k].value = llmd__string_text(l->pool->g, pair[2 * k + 1]);
  }
  who->space = full;
  who->name = full;
  if (slash) {
    who->space.len = (size_t)(slash - full.ptr);
    who->name.ptr = slash + 1;
    who->name.len = full.len - who->space.len - 1;
  }
  who->address = llmd__string_text(l->pool->g, r->address);
  who->port = r->port;
  who->rank = r->rank;
}

static void fill_derived(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  const llmd__instance *in = &l->s->config->instance[src->instance];
  llmd_pair labels[64];
  llmd_identity who;
  for (uint32_t i = 0; i < rows(l); i++) {
    double v = UNKNOWN;
    llmd__identity(l, i, labels, &who);
    if (in->plugin->derive)
      v = in->plugin->derive(in->self.self, src->read, &who);
    ((double *)f->own)[i] = v == v ? v : src->fill;
  }
}

static void fill_ids(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  uint32_t *out = f->own;
  for (uint32_t i = 0; i < rows(l); i++)
    out[i] = src->kind == LLMD_READ_NAME ? l->snap.view.row[i].name : l->snap.view.row[i].address;
}

/* What depends on endpoints and labels alone is kept as long as these stay. */
static void fill_shape(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  uint64_t key = l->snap.shape + 1;
  if (f->key != key) {
    if (src->kind == LLMD_READ_LABEL)
      fill_label(l, src, f);
    else if (src->kind == LLMD_READ_DERIVED)
      fill_derived(l, src, f);
    else
      fill_ids(l, src, f);
    f->key = key;
  }
  f->col = f->own;
}

static void fill_id_attribute(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  int32_t attribute = l->attribute[src - l->s->source];
  if (attribute >= 0 && (uint32_t)attribute < l->snap.view.head->n_attributes) {
    f->col = llmd__column_id(&l->snap.view, l->pool->g, (uint32_t)attribute);
  } else {
    memset(f->own, 0, rows(l) * 4);
    f->col = f->own;
  }
}

/* compat = strict: metrics that never came are stale, as the zero time is in the reference. */
static void fill_fresh(llmd_lane *l, llmd__full *f)
{
  int strict = l->s->options.compat == LLMD_COMPAT_STRICT;
  double *out = f->own;
  for (uint32_t i = 0; i < rows(l); i++)
    out[i] = (l->fresh || row_fresh(l, i)) && (!strict || l->snap.view.row[i].updated);
  f->col = out;
}

/* ---- texts of the request ---------------------------------------------------------------------------------------- */

static void fill_header(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  memset(&f->value, 0, sizeof f->value);
  f->value.num = UNKNOWN;
  if (src->name && l->req)
    llmd_request_find_header(l->req, src->name, strlen(src->name), &f->value.str);
}

static void fill_header_ids(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  const llmd__instance *in = &l->s->config->instance[src->instance];
  llmd_str part[LLMD__HEADER_IDS];
  int n = 0;
  fill_header(l, src, f);
  if (!f->value.str.ptr)
    return;
  if (in->plugin->split)
    n = in->plugin->split(in->self.self, src->read, &f->value.str, l->header_buf, part, LLMD__HEADER_IDS);
  else {
    part[0] = f->value.str;
    n = 1;
  }
  if (n > (int)LLMD__HEADER_IDS)
    n = (int)LLMD__HEADER_IDS;
  for (int i = 0; i < n; i++)
    ((uint32_t *)f->own)[i] = llmd__string_find(l->pool->g, part[i].ptr, part[i].len);
  f->value.ids = f->own;
  f->value.n_ids = n > 0 ? (uint32_t)n : 0;
}

static void fill_prompt(llmd_lane *l, llmd__full *f)
{
  int64_t n = l->req ? llmd__request_prompt_text(l->req, f->own, LLMD_PROMPT_BYTES) : LLMD_E_NONE;
  memset(&f->value, 0, sizeof f->value);
  f->value.num = UNKNOWN;
  if (n < 0)
    return;
  f->value.str.ptr = f->own;
  f->value.str.len = (size_t)n;
}

/* ---- one source ------------------------------------------------------------------------------------------------- */

static void fill_one(llmd_lane *l, const llmd__source *src, llmd__full *f)
{
  switch (src->kind) {
  case LLMD_READ_F64:
    if (src->column != LLMD__NONE)
      fill_produced(l, src, f);
    else
      fill_endpoint(l, src, f);
    break;
  case LLMD_READ_ID:
    fill_id_attribute(l, src, f);
    break;
  case LLMD_READ_HAS_MODEL:
  case LLMD_READ_SET_SIZE:
    fill_set(l, src, f);
    break;
  case LLMD_READ_FRESH:
    fill_fresh(l, f);
    break;
  case LLMD_READ_HEADER:
    fill_header(l, src, f);
    break;
  case LLMD_READ_HEADER_IDS:
    fill_header_ids(l, src, f);
    break;
  case LLMD_READ_PROMPT:
    fill_prompt(l, f);
    break;
  default:
    fill_shape(l, src, f);
    break;
  }
}

static int is_id(uint32_t kind)
{
  return llmd__source_cell(kind) == 4;
}

void llmd__source_fill(llmd_lane *l, uint32_t source)
{
  llmd__full *f = &l->full[source];
  if (f->decision == l->decision)
    return;
  if (!l->replaying)
    fill_one(l, &l->s->source[source], f);
  f->decision = l->decision;
}

const void *llmd__source_cells(llmd_lane *l, uint32_t source, const llmd__candidates *c)
{
  llmd__full *f = &l->full[source];
  llmd__source_fill(l, source);
  if (c->identity || !f->col || f->gathered == c->version)
    return c->identity ? f->col : f->col ? f->gather : NULL;
  if (is_id(l->s->source[source].kind)) {
    for (uint32_t i = 0; i < c->n; i++)
      ((uint32_t *)f->gather)[i] = ((const uint32_t *)f->col)[c->row[i]];
  } else {
    for (uint32_t i = 0; i < c->n; i++)
      ((double *)f->gather)[i] = ((const double *)f->col)[c->row[i]];
  }
  f->gathered = c->version;
  return f->gather;
}

static void peer_value(llmd_lane *l, uint32_t source, llmd_read_value *v)
{
  const llmd__full *f = &l->full[source];
  uint32_t kind = l->s->source[source].kind;
  if (!llmd__source_cell(kind)) {
    *v = f->value;
    return;
  }
  memset(v, 0, sizeof *v);
  v->num = UNKNOWN;
  if (l->peer_row == LLMD__NONE || !f->col)
    return;
  if (is_id(kind))
    v->id = ((const uint32_t *)f->col)[l->peer_row];
  else
    v->num = ((const double *)f->col)[l->peer_row];
}

void llmd__batch_build(llmd_lane *l, uint32_t instance, const llmd__candidates *c, llmd_batch *out)
{
  const llmd__binding *b = &l->s->binding[instance];
  const void **f64 = l->pointers, **id = l->pointers + l->max_reads;
  for (uint32_t r = 0; r < b->n_reads; r++) {
    uint32_t source = b->source[r];
    const void *cells = llmd__source_cells(l, source, c);
    int ids = is_id(l->s->source[source].kind);
    f64[r] = ids ? NULL : cells;
    id[r] = ids ? cells : NULL;
    peer_value(l, source, &l->values[r]);
  }
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->n = c->n;
  out->f64 = (const double *const *)(const void *)f64;
  out->id = (const uint32_t *const *)(const void *)id;
  out->value = l->values;
  out->endpoint = c->id;
  out->request = &l->view;
  out->scratch = l->scratch;
  out->seed = l->seed ^ (instance + 1) * 0x9e3779b97f4a7c15u;
  out->now = l->now->mono;
  out->strict = l->s->options.compat == LLMD_COMPAT_STRICT;
  out->has_peer = l->peer_row != LLMD__NONE;
  out->own = l->own[instance].own;
  out->wall = l->now->wall;
  out->flags = (l->replaying ? LLMD_BATCH_REPLAY : 0) | (l->replaying == LLMD__REPLAY_OTHER ? LLMD_BATCH_OTHER : 0);
}
