/* Endpoints: added, removed, relabelled in the staging copy; published; looked up. */
#include <string.h>

#include "model/columns.h"
#include "model/health.h"
#include "model/ledger.h"
#include "model/strings.h"

#define FORGET 0x80000000u /* row.flags of a free slot: plugins have not forgotten its last endpoint yet */

static int same_place(const llmd__row *r, uint32_t address, uint32_t port, uint32_t rank)
{
  return r->address == address && r->port == port && r->rank == rank;
}

/* A slot that is free and forgotten; LLMD__NO_ROW when all are taken. LLMD_E_DUPLICATE through *taken. */
static uint32_t free_slot(const llmd_pool *p, const llmd__row *want, int *taken)
{
  llmd__buffer_view v;
  uint32_t found = LLMD__NO_ROW;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  *taken = 0;
  for (uint32_t i = 0; i < p->g->caps.endpoints; i++) {
    const llmd__row *r = &v.row[i];
    if (!r->id && found == LLMD__NO_ROW && !(r->flags & FORGET))
      found = i;
    if (r->id && (r->name == want->name || same_place(r, want->address, want->port, want->rank)))
      *taken = 1;
    if (!r->id && i >= v.head->n)
      break; /* slots from head.n on were never used */
  }
  return found;
}

/* ---- what an endpoint is called --------------------------------------------------------------------------------- */

#define NAME_MAX 1024u
#define LABELS_MAX 64u
#define ADDRESS_MAX 255u /* a host name has 253 at most */

typedef struct name_buf {
  size_t len;
  char text[NAME_MAX];
} name_buf;

static int append(name_buf *b, const char *ptr, size_t len)
{
  if (len > sizeof b->text - b->len)
    return LLMD_E_LIMIT;
  if (len)
    memcpy(b->text + b->len, ptr, len);
  b->len += len;
  return 0;
}

static int append_number(name_buf *b, char before, uint32_t v)
{
  char digits[12];
  size_t at = sizeof digits;
  do
    digits[--at] = (char)('0' + v % 10);
  while (v /= 10);
  digits[--at] = before;
  return append(b, digits + at, sizeof digits - at);
}

/* "space/name" with the defaults filled in: "default", and "address:port" with "/rank" unless that is 0. */
static int full_name(const llmd_endpoint *e, name_buf *b)
{
  int rc;
  b->len = 0;
  rc = e->space.len ? append(b, e->space.ptr, e->space.len) : append(b, "default", 7);
  if (!rc)
    rc = append(b, "/", 1);
  if (rc || e->name.len)
    return rc ? rc : append(b, e->name.ptr, e->name.len);
  rc = append(b, e->address.ptr, e->address.len);
  if (!rc)
    rc = append_number(b, ':', e->port);
  return rc || !e->rank ? rc : append_number(b, '/', e->rank);
}

/* ids: room for two of each label. A key must say something; a value may be empty: 0. */
static int intern_labels(llmd_pool *p, const llmd_label *labels, uint32_t n, uint32_t *ids)
{
  if (n > p->g->caps.labels || n > LABELS_MAX)
    return LLMD_E_LIMIT;
  for (uint32_t i = 0; i < n; i++) {
    if (!labels[i].key.len)
      return LLMD_E_INVALID;
    ids[2 * i] = llmd__string_add(p, labels[i].key.ptr, labels[i].key.len);
    ids[2 * i + 1] = llmd__string_add(p, labels[i].value.ptr, labels[i].value.len);
    if (!ids[2 * i] || (!ids[2 * i + 1] && labels[i].value.len))
      return LLMD_E_FULL;
  }
  return 0;
}

/* Addresses go into headers, in lists: no blank, control character or comma, and brackets are ours to add. */
static int plain_address(const llmd_str *a)
{
  for (size_t i = 0; i < a->len; i++) {
    unsigned char c = (unsigned char)a->ptr[i];
    if (c <= ' ' || c == 0x7f || c == ',' || c == '[' || c == ']')
      return 0;
  }
  return a->len > 0;
}

int llmd__endpoint_intern(llmd_pool *p, const llmd_endpoint *e, llmd__row *row, uint32_t *labels)
{
  name_buf name;
  int rc;
  if (!plain_address(&e->address) || e->port > 65535 || (e->space.len && memchr(e->space.ptr, '/', e->space.len)))
    return LLMD_E_INVALID;
  if (e->address.len > ADDRESS_MAX)
    return LLMD_E_LIMIT;
  rc = full_name(e, &name);
  if (rc)
    return rc;
  memset(row, 0, sizeof *row);
  row->address = llmd__string_add(p, e->address.ptr, e->address.len);
  row->name = llmd__string_add(p, name.text, name.len);
  row->port = e->port;
  row->rank = e->rank;
  row->n_labels = e->n_labels;
  return row->address && row->name ? intern_labels(p, e->labels, e->n_labels, labels) : LLMD_E_FULL;
}

/* A name that finds no room may find it after a sweep; ids from before it are not held. */
static int intern_or_sweep(llmd_pool *p, const llmd_endpoint *e, llmd__row *row, uint32_t *labels)
{
  int rc = llmd__endpoint_intern(p, e, row, labels);
  if (rc == LLMD_E_FULL && llmd__strings_rescue(p))
    rc = llmd__endpoint_intern(p, e, row, labels);
  if (rc == LLMD_E_FULL)
    llmd__pool_log(p, LLMD_LOG_ERROR, "pool", "the region's room for names and labels is full: an endpoint is refused");
  return rc;
}

/* What the compiler may not move past: a writer that dies leaves memory as it stood at one of these. */
static void step(void)
{
  atomic_signal_fence(memory_order_seq_cst);
}

static void store_labels(const llmd_pool *p, llmd__buffer_view *v, uint32_t slot, const uint32_t *ids, uint32_t n)
{
  if (n)
    memcpy(v->label + (size_t)slot * p->g->caps.labels * 2, ids, n * 2 * sizeof *ids);
  v->row[slot].n_labels = n;
}

/* The id comes last: until then the slot is free, whatever stands in it. The shape changes first: what is published
 * meanwhile by a successor is copied anew. */
static void place_row(llmd_pool *p, const llmd__row *row, const uint32_t *labels)
{
  llmd__buffer_view v;
  llmd__row nobody = *row;
  uint32_t slot = row->slot;
  nobody.id = 0;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  p->g->shape++;
  step();
  v.row[slot] = nobody;
  store_labels(p, &v, slot, labels, row->n_labels);
  llmd__columns_clear(p, slot);
  llmd__ledger_slot(p->g, row->id);
  llmd__health_slot(p->g, slot);
  step();
  if (slot >= v.head->n)
    v.head->n = slot + 1;
  step();
  v.row[slot].id = row->id;
}

int llmd_pool_add(llmd_pool *pool, const llmd_endpoint *e, llmd_endpoint_id *out)
{
  llmd__row row;
  uint32_t labels[2 * LABELS_MAX], slot;
  int taken, rc;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!e || e->size < sizeof *e || !out)
    return LLMD_E_INVALID;
  rc = intern_or_sweep(pool, e, &row, labels);
  if (rc)
    return rc;
  slot = free_slot(pool, &row, &taken);
  if (taken)
    return LLMD_E_DUPLICATE;
  if (slot == LLMD__NO_ROW)
    return LLMD_E_FULL;
  row.id = (uint64_t)(atomic_load(&llmd__region_totals(pool->g)[slot].generation) + 1) << 32 | slot;
  row.slot = slot;
  place_row(pool, &row, labels);
  *out = row.id;
  return 0;
}

int llmd_pool_remove(llmd_pool *pool, llmd_endpoint_id id)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  pool->g->shape++;
  step();
  row->flags = FORGET;
  step();
  row->id = 0;
  step();
  llmd__health_slot(pool->g, row->slot);
  return 0;
}

int llmd_pool_drain(llmd_pool *pool, llmd_endpoint_id id, int on)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  pool->g->shape++;
  step();
  row->flags = on ? row->flags | LLMD__ROW_DRAIN : row->flags & ~LLMD__ROW_DRAIN;
  return 0;
}

int llmd_pool_set_labels(llmd_pool *pool, llmd_endpoint_id id, const llmd_label *labels, uint32_t n)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  uint32_t ids[2 * LABELS_MAX];
  int rc;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  rc = intern_labels(pool, labels, n, ids);
  if (rc == LLMD_E_FULL && llmd__strings_rescue(pool))
    rc = intern_labels(pool, labels, n, ids);
  if (rc)
    return rc;
  pool->g->shape++;
  atomic_store(&pool->g->relabelled, row->slot + 1);
  step();
  store_labels(pool, &v, row->slot, ids, n);
  step();
  atomic_store(&pool->g->relabelled, 0);
  return 0;
}

/* Labels of which some are new and some old: those that are published stand again. An endpoint that was never published
 * goes: nobody knows its number. */
static void restore_labels(llmd_pool *p, uint32_t slot)
{
  llmd__buffer_view v, from;
  uint32_t at = atomic_load(&p->g->current), row;
  size_t most = (size_t)p->g->caps.labels * 2;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  llmd__region_view(p->g, at ? at - 1 : 0, &from);
  row = at ? from.row_of[slot] : LLMD__NO_ROW;
  if (row >= p->g->caps.endpoints || from.row[row].id != v.row[slot].id) {
    v.row[slot].flags = FORGET;
    step();
    v.row[slot].id = 0;
    return;
  }
  memcpy(v.label + slot * most, from.label + row * most, most * sizeof *v.label);
  step();
  v.row[slot].n_labels = from.row[row].n_labels;
}

void llmd__staging_repair(llmd_pool *p)
{
  llmd__buffer_view v;
  uint32_t slot = atomic_load(&p->g->relabelled);
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  if (slot && slot <= v.head->n && v.row[slot - 1].id) {
    p->g->shape++;
    restore_labels(p, slot - 1);
  }
  step();
  atomic_store(&p->g->relabelled, 0);
  for (uint32_t i = 0; i < v.head->n; i++)
    if (v.row[i].id)
      v.row[i].flags &= ~FORGET; /* it was about to be removed */
}

uint32_t llmd__pool_next_forgotten(llmd_pool *p, uint32_t from, uint32_t *slot)
{
  llmd__buffer_view v;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  for (uint32_t i = from; i < v.head->n; i++)
    if (!v.row[i].id && (v.row[i].flags & FORGET)) {
      *slot = i;
      return 1;
    }
  return 0;
}

void llmd__pool_forgotten(llmd_pool *p, uint32_t slot)
{
  llmd__buffer_view v;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  v.row[slot].flags &= ~FORGET;
}

/* ---- publishing ------------------------------------------------------------------------------------------------- */

static int pinned(const llmd_pool *p, uint32_t buffer)
{
  llmd__lane_slot *slots = llmd__region_lanes(p->g);
  for (uint32_t i = 0; i < p->g->caps.lanes; i++)
    if (atomic_load(&slots[i].pin) == buffer + 1)
      return 1;
  return 0;
}

/* Rows and labels, compacted. */
static void copy_shape(const llmd_pool *p, const llmd__buffer_view *from, llmd__buffer_view *to)
{
  uint32_t n = 0, labels = p->g->caps.labels;
  to->head->drained = 0;
  for (uint32_t slot = 0; slot < from->head->n; slot++) {
    const llmd__row *r = &from->row[slot];
    to->row_of[slot] = LLMD__NO_ROW;
    if (!r->id)
      continue;
    to->row[n] = *r;
    to->head->drained += r->flags & LLMD__ROW_DRAIN;
    memcpy(to->label + (size_t)n * labels * 2, from->label + (size_t)slot * labels * 2, r->n_labels * 8);
    to->row_of[slot] = n++;
  }
  for (uint32_t slot = from->head->n; slot < p->g->caps.endpoints; slot++)
    to->row_of[slot] = LLMD__NO_ROW;
  to->head->n = n;
  to->head->shape = p->g->shape;
}

static void copy_updated(const llmd__buffer_view *from, llmd__buffer_view *to)
{
  uint64_t oldest = UINT64_MAX;
  for (uint32_t i = 0; i < to->head->n; i++) {
    uint64_t t = from->row[to->row[i].slot].updated;
    to->row[i].updated = t;
    if (t && t < oldest) /* 0: the host does not track time, which is no reason to distrust */
      oldest = t;
  }
  to->head->oldest = oldest;
}

static void copy_columns(const llmd_pool *p, const llmd__buffer_view *from, llmd__buffer_view *to)
{
  const llmd__region *g = p->g;
  uint32_t n = to->head->n, n_attr = atomic_load(&g->n_attributes);
  for (uint32_t a = 0; a < n_attr; a++) {
    const llmd__attribute *attr = &llmd__region_attributes(g)[a];
    if (attr->scope != LLMD_SCOPE_ENDPOINT)
      continue;
    for (uint32_t i = 0; i < n; i++) {
      uint32_t slot = to->row[i].slot;
      if (attr->type == LLMD_TYPE_F64)
        llmd__column_f64(to, g, a)[i] = llmd__column_f64(from, g, a)[slot];
      else if (attr->type == LLMD_TYPE_ID)
        llmd__column_id(to, g, a)[i] = llmd__column_id(from, g, a)[slot];
      else {
        const uint32_t *set = llmd__column_set(from, g, attr->set, slot);
        memcpy(llmd__column_set(to, g, attr->set, i), set, (1 + set[0]) * sizeof *set);
      }
    }
  }
  to->head->n_attributes = n_attr;
}

int llmd_pool_publish(llmd_pool *pool, const llmd_now *now)
{
  llmd__region *g = pool->g;
  llmd__buffer_view from, to;
  uint32_t at = atomic_load(&g->current), b = 0;
  if (!pool->writer)
    return LLMD_E_DENIED;
  while (b < LLMD__BUFFERS && (b + 1 == at || pinned(pool, b)))
    b++;
  if (b == LLMD__BUFFERS)
    return LLMD_E_BUSY;
  llmd__region_view(g, LLMD__BUFFERS, &from);
  llmd__region_view(g, b, &to);
  if (to.head->shape != g->shape || !to.head->generation) {
    to.head->generation = 0; /* half a shape is none, whatever number it has */
    step();
    copy_shape(pool, &from, &to);
    step();
  }
  copy_updated(&from, &to);
  copy_columns(pool, &from, &to);
  to.head->generation = atomic_load(&g->generation) + 1;
  to.head->published = now->mono;
  atomic_store(&g->generation, to.head->generation);
  atomic_store(&g->current, b + 1);
  return 0;
}

/* ---- reading the published state -------------------------------------------------------------------------------- */

uint32_t llmd_pool_count(const llmd_pool *pool)
{
  llmd__snapshot snap;
  uint32_t lane;
  if (llmd__pool_glance(pool, &lane, &snap))
    return 0;
  llmd__pool_glance_end(pool, lane);
  return snap.n;
}

static const llmd__row *row_in(const llmd_pool *p, const llmd__snapshot *s, llmd_endpoint_id id)
{
  uint32_t slot = llmd__slot_of(id), row;
  if (!id || slot >= p->g->caps.endpoints)
    return NULL;
  row = s->view.row_of[slot];
  return row < s->n && s->view.row[row].id == id ? &s->view.row[row] : NULL;
}

double llmd__snapshot_value(const llmd_pool *p, const llmd__snapshot *s, uint32_t row, uint32_t attribute)
{
  const llmd__attribute *a;
  if (attribute >= s->view.head->n_attributes)
    return (double)__builtin_nan("");
  a = &llmd__region_attributes(p->g)[attribute];
  if (a->type != LLMD_TYPE_F64 || a->scope != LLMD_SCOPE_ENDPOINT)
    return (double)__builtin_nan("");
  return llmd__column_f64(&s->view, p->g, attribute)[row];
}

double llmd_pool_value(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute)
{
  double value = (double)__builtin_nan("");
  const llmd__row *row;
  llmd__snapshot snap;
  uint32_t lane;
  if (llmd__pool_glance(pool, &lane, &snap))
    return value;
  row = row_in(pool, &snap, id);
  if (row)
    value = llmd__snapshot_value(pool, &snap, (uint32_t)(row - snap.view.row), attribute);
  llmd__pool_glance_end(pool, lane);
  return value;
}

/* Members of a set at one row of a pinned snapshot. Their text stays where it is as long as the region does. */
static int copy_models(const llmd_pool *p, const llmd__snapshot *s, uint32_t row, uint32_t attribute, llmd_str *out,
                       uint32_t cap)
{
  const llmd__attribute *a = &llmd__region_attributes(p->g)[attribute];
  const uint32_t *set;
  if (attribute >= s->view.head->n_attributes || a->type != LLMD_TYPE_SET)
    return LLMD_E_TYPE;
  set = llmd__column_set(&s->view, p->g, a->set, row);
  for (uint32_t i = 0; i < set[0] && i < cap; i++)
    out[i] = llmd__string_text(p->g, set[1 + i]);
  return (int)set[0];
}

static int text_at(const llmd_pool *p, const llmd__snapshot *s, uint32_t row, uint32_t attribute, llmd_str *out)
{
  const llmd__attribute *a = llmd__region_attributes(p->g);
  uint32_t text;
  if (attribute >= s->view.head->n_attributes || a[attribute].type != LLMD_TYPE_ID ||
      a[attribute].scope != LLMD_SCOPE_ENDPOINT)
    return LLMD_E_TYPE;
  text = llmd__column_id(&s->view, p->g, attribute)[row];
  if (!text)
    return LLMD_E_NONE;
  *out = llmd__string_text(p->g, text);
  return 0;
}

int llmd_pool_text(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, llmd_str *out)
{
  const llmd__row *row;
  llmd__snapshot snap;
  uint32_t lane;
  int rc;
  if (!pool || !out)
    return LLMD_E_INVALID;
  rc = llmd__pool_glance(pool, &lane, &snap);
  if (rc)
    return rc == LLMD_E_NONE ? LLMD_E_STALE : rc;
  row = row_in(pool, &snap, id);
  rc = row ? text_at(pool, &snap, (uint32_t)(row - snap.view.row), attribute, out) : LLMD_E_STALE;
  llmd__pool_glance_end(pool, lane);
  return rc;
}

int llmd_pool_models(const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, llmd_str *out, uint32_t cap)
{
  const llmd__row *row;
  llmd__snapshot snap;
  uint32_t lane;
  int n, rc = llmd__pool_glance(pool, &lane, &snap);
  if (rc)
    return rc == LLMD_E_NONE ? LLMD_E_STALE : rc;
  row = row_in(pool, &snap, id);
  n = row ? copy_models(pool, &snap, (uint32_t)(row - snap.view.row), attribute, out, cap) : LLMD_E_STALE;
  llmd__pool_glance_end(pool, lane);
  return n;
}

int llmd_pool_inflight(const llmd_pool *pool, llmd_endpoint_id id, int64_t *requests, int64_t *tokens)
{
  const llmd__total *total;
  llmd__snapshot snap;
  uint32_t lane;
  int there, rc = llmd__pool_glance(pool, &lane, &snap);
  if (rc)
    return rc == LLMD_E_NONE ? LLMD_E_STALE : rc;
  there = row_in(pool, &snap, id) != NULL;
  llmd__pool_glance_end(pool, lane);
  if (!there)
    return LLMD_E_STALE;
  total = &llmd__region_totals(pool->g)[llmd__slot_of(id)];
  *requests = atomic_load_explicit(&total->requests, memory_order_relaxed);
  *tokens = atomic_load_explicit(&total->tokens, memory_order_relaxed);
  return 0;
}

/* Row i as the caller gave it to llmd_pool_add. labels: room for 64. */
static void describe_row(const llmd_pool *p, const llmd__snapshot *s, uint32_t i, llmd_label *labels, llmd_endpoint *e)
{
  const llmd__row *r = &s->view.row[i];
  llmd_str full = llmd__string_text(p->g, r->name);
  const char *slash = full.len ? memchr(full.ptr, '/', full.len) : NULL;
  memset(e, 0, sizeof *e);
  e->size = sizeof *e;
  e->rank = r->rank;
  e->port = r->port;
  e->address = llmd__string_text(p->g, r->address);
  e->space.ptr = full.ptr;
  e->space.len = slash ? (size_t)(slash - full.ptr) : 0;
  e->name.ptr = slash ? slash + 1 : full.ptr;
  e->name.len = full.len - e->space.len - (slash ? 1 : 0);
  e->n_labels = r->n_labels < 64 ? r->n_labels : 64;
  e->labels = labels;
  for (uint32_t k = 0; k < e->n_labels; k++) {
    const uint32_t *pair = s->view.label + ((size_t)i * p->g->caps.labels + k) * 2;
    labels[k].key = llmd__string_text(p->g, pair[0]);
    labels[k].value = llmd__string_text(p->g, pair[1]);
  }
}

int llmd_pool_each(const llmd_pool *pool, llmd_endpoint_fn fn, void *ud)
{
  llmd_label labels[64];
  llmd__snapshot snap;
  uint32_t lane;
  int rc = llmd__pool_glance(pool, &lane, &snap);
  if (rc)
    return rc == LLMD_E_NONE ? 0 : rc;
  for (uint32_t i = 0; i < snap.n && !rc; i++) {
    llmd_endpoint e;
    describe_row(pool, &snap, i, labels, &e);
    rc = fn(ud, snap.view.row[i].id, &e);
  }
  llmd__pool_glance_end(pool, lane);
  return rc;
}

/* The number that text ends with, and where it begins. 0 when there is none, or one of more than five digits. */
static int last_number(const char *text, size_t len, size_t *at, uint32_t *out)
{
  size_t i = len;
  uint32_t scale = 1, v = 0;
  for (; i > 0 && text[i - 1] >= '0' && text[i - 1] <= '9'; scale *= 10) {
    if (len - i == 5)
      return 0;
    v += (uint32_t)(text[--i] - '0') * scale;
  }
  *at = i;
  *out = v;
  return i < len;
}

/* "address:port" or "address:port/rank", an IPv6 address with or without brackets, cut into its parts; 0 when text is
 * not of that form. */
static int cut_place(const char *text, size_t len, llmd_str *address, uint32_t *port, uint32_t *rank)
{
  size_t at;
  *rank = 0;
  if (!last_number(text, len, &at, port) || !at)
    return 0;
  if (text[at - 1] == '/') {
    *rank = *port;
    if (!last_number(text, at - 1, &at, port) || !at)
      return 0;
  }
  if (text[at - 1] != ':')
    return 0;
  address->ptr = text;
  address->len = at - 1;
  if (address->len > 2 && text[0] == '[' && text[at - 2] == ']') {
    address->ptr++;
    address->len -= 2;
  }
  return 1;
}

static llmd_endpoint_id find_row(const llmd__buffer_view *v, uint32_t name, uint32_t address, uint32_t port,
                                 uint32_t rank)
{
  for (uint32_t i = 0; i < v->head->n; i++)
    if (v->row[i].id && ((name && v->row[i].name == name) || (address && same_place(&v->row[i], address, port, rank))))
      return v->row[i].id;
  return 0;
}

static llmd_endpoint_id find_in(const llmd_pool *p, const llmd__buffer_view *v, const char *text, size_t len)
{
  uint32_t name = llmd__string_find(p->g, text, len), address = 0, port = 0, rank = 0;
  llmd_str place;
  if (cut_place(text, len, &place, &port, &rank))
    address = llmd__string_find(p->g, place.ptr, place.len);
  return find_row(v, name, address, port, rank);
}

llmd_endpoint_id llmd_pool_find(const llmd_pool *pool, const char *text, size_t len)
{
  llmd_endpoint_id id;
  llmd__snapshot snap;
  uint32_t lane;
  if (pool->writer) {
    llmd__region_view(pool->g, LLMD__BUFFERS, &snap.view);
    return find_in(pool, &snap.view, text, len);
  }
  if (llmd__pool_glance(pool, &lane, &snap))
    return 0;
  id = find_in(pool, &snap.view, text, len);
  llmd__pool_glance_end(pool, lane);
  return id;
}
