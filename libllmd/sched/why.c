/* Keeping the why of a decision while it is made (explain.c and record.c read it afterwards). */
#include <stddef.h>
#include <string.h>

#include "model/strings.h"
#include "sched/decision.h"

static void *take(llmd_lane *l, size_t bytes)
{
  void *p = l->arena + l->arena_used;
  bytes = (bytes + 63u) & ~(size_t)63u;
  if (l->arena_used + bytes > l->arena_len)
    return NULL;
  l->arena_used += bytes;
  return p;
}

llmd__why *llmd__why_add(llmd_lane *l, uint32_t kind, uint32_t profile, uint32_t instance, uint32_t n)
{
  llmd__why *w;
  if (!l->s->options.explain || l->n_why == l->max_why)
    return NULL;
  w = &l->why[l->n_why++];
  memset(w, 0, sizeof *w);
  w->kind = kind;
  w->profile = profile;
  w->instance = instance;
  w->n = n;
  if (n)
    w->row = take(l, n * sizeof *w->row);
  if (n && kind != LLMD__WHY_FILTER)
    w->value = take(l, n * sizeof *w->value);
  if (n && (!w->row || (kind != LLMD__WHY_FILTER && !w->value))) {
    l->n_why--;
    return NULL;
  }
  return w;
}

void llmd__why_failed(llmd_lane *l, uint32_t kind, uint32_t instance, int rc, llmd_str trouble)
{
  llmd__why *w = llmd__why_add(l, kind, LLMD__NONE, instance, 0);
  if (!w)
    return;
  w->rc = rc;
  w->trouble = trouble;
}

/* ---- the columns ------------------------------------------------------------------------------------------------ */

const char *llmd__kept_text(llmd_lane *l, const char *ptr, size_t len)
{
  llmd__kept *k = &l->kept;
  char *to = k->text + k->text_used;
  if (len > k->text_len - k->text_used) {
    k->lost = 1;
    return NULL;
  }
  if (len)
    memcpy(to, ptr, len);
  k->text_used += len;
  return to;
}

llmd_str llmd__lane_text(const llmd_lane *l, uint32_t id)
{
  llmd_str s = {"", 0};
  uint32_t len;
  if (!l->kept.replayed)
    return llmd__string_text(l->pool->g, id);
  if (!id)
    return s;
  memcpy(&len, l->kept.text + id - 1, sizeof len);
  s.ptr = l->kept.text + id - 1 + sizeof len;
  s.len = len;
  return s;
}

/* Is the endpoint of that row still published? Then its name and address are what they were. */
static int is_published(const llmd_lane *l, const llmd__row *r)
{
  llmd__snapshot s;
  uint32_t row;
  int same;
  if (r->slot >= l->cap || llmd__pool_pin(l->pool, l->slot, &s))
    return 0;
  row = s.view.row_of[r->slot];
  same = row < s.n && s.view.row[row].id == r->id;
  llmd__pool_unpin(l->pool, l->slot);
  return same;
}

llmd_str llmd__kept_string(const llmd_lane *l, uint32_t row, uint32_t id)
{
  static const llmd_str gone = {"(gone)", 6};
  uint64_t freed = atomic_load_explicit(&l->pool->g->strings_freed, memory_order_acquire);
  if (!l->kept.replayed && freed != l->kept.freed && !is_published(l, &l->kept.row[row]))
    return gone;
  return llmd__lane_text(l, id);
}

static void keep_str(llmd_lane *l, llmd_str *s)
{
  if (s->ptr)
    s->ptr = llmd__kept_text(l, s->ptr, s->len);
  if (!s->ptr)
    s->len = 0;
}

static void keep_source(llmd_lane *l, uint32_t source)
{
  const llmd__full *f = &l->full[source];
  llmd__kept_source *k = &l->kept.source[source];
  uint32_t kind = l->s->source[source].kind, cell = llmd__source_cell(kind);
  k->filled = f->decision == l->decision;
  k->n_ids = 0;
  k->text.ptr = NULL;
  k->text.len = 0;
  if (!k->filled)
    return;
  if (!cell) {
    k->text = f->value.str;
    keep_str(l, &k->text);
    k->n_ids = kind == LLMD_READ_HEADER_IDS ? f->value.n_ids : 0;
    if (k->n_ids)
      memcpy(k->cells, f->value.ids, k->n_ids * sizeof(uint32_t));
  } else if (l->snap.n) {
    memcpy(k->cells, f->col, (size_t)l->snap.n * cell);
  }
}

/* The ids mean something while the snapshot is pinned; the record is written later. */
static void keep_texts(llmd_lane *l)
{
  llmd__kept *k = &l->kept;
  llmd__texts_list(l);
  for (uint32_t i = 0; i < k->n_id_texts; i++) {
    k->id_text[i].text = llmd__string_text(l->pool->g, k->id_text[i].id);
    keep_str(l, &k->id_text[i].text);
  }
}

static void keep_columns(llmd_lane *l)
{
  llmd__kept *k = &l->kept;
  for (uint32_t i = 0; i < l->s->n_sources; i++)
    keep_source(l, i);
  memcpy(k->column_set, l->column_set, l->s->n_columns);
  for (uint32_t i = 0; i < l->s->n_columns; i++)
    if (k->column_set[i] && l->snap.n)
      memcpy(k->column[i], l->column[i], l->snap.n * sizeof **k->column);
  if (l->snap.n)
    memcpy(k->row, l->snap.view.row, l->snap.n * sizeof *k->row);
  for (uint32_t i = 0; i < l->snap.n && l->n_out; i++)
    k->row[i].flags |= k->ejected[i] ? LLMD__ROW_EJECTED : 0;
}

/* A decision is large, and little of it is in use. */
static void copy_decision(llmd_decision *to, const llmd_decision *d)
{
  memcpy(to, d, offsetof(llmd_decision, target));
  memcpy(to->target, d->target, d->n_targets * sizeof *d->target);
  memcpy(to->profile, d->profile, d->n_profiles * sizeof *d->profile);
  memcpy(to->header, d->header, d->n_headers * sizeof *d->header);
  to->text_len = d->text_len;
  memcpy(to->text, d->text, d->text_len);
}

void llmd__why_keep(llmd_lane *l, const llmd_decision *d)
{
  llmd__kept *k = &l->kept;
  if (!l->s->options.explain)
    return;
  k->n = l->snap.n;
  k->now = *l->now;
  if (!l->replaying) {
    keep_columns(l);
    keep_texts(l);
    k->freed = atomic_load_explicit(&l->pool->g->strings_freed, memory_order_relaxed);
    k->view = l->view;
    keep_str(l, &k->view.model);
    keep_str(l, &k->view.tenant);
    keep_str(l, &k->view.session);
  }
  if (d != &l->last)
    copy_decision(&l->last, d);
  l->last_valid = 1;
}
