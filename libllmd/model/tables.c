/* Objectives and model rewrites: small tables that the host supplies. They are read while deciding, so a change makes a
 * new immutable copy and swaps one pointer. A lane looks at a copy only while it pins a snapshot: old copies go at the
 * first change that finds none of this handle's lanes with a pin. */
#include <stdatomic.h>
#include <string.h>

#include "model/pool.h"

#define MAX_ROWS 4096u

typedef struct target {
  uint32_t off, len, weight;
} target;

typedef struct row {
  uint32_t off, len; /* name */
  int32_t priority;
  uint32_t first, n; /* targets; n = 0: an objective */
  uint32_t kind;     /* 0 objective, 1 rewrite */
} row;

/* One immutable copy: header, rows, targets, text. */
typedef struct copy {
  struct copy *older;
  size_t bytes;
  uint32_t n_rows, n_targets, text_bytes, reserved;
} copy;

struct llmd__tables {
  _Atomic(copy *) now;
};

static row *rows_of(const copy *c)
{
  return (row *)(uintptr_t)(c + 1);
}

static target *targets_of(const copy *c)
{
  return (target *)(void *)(rows_of(c) + c->n_rows);
}

static char *text_of(const copy *c)
{
  return (char *)(targets_of(c) + c->n_targets);
}

int llmd__tables_init(llmd_pool *p)
{
  p->tables = llmd__calloc(&p->alloc, 1, sizeof *p->tables);
  return p->tables ? 0 : LLMD_E_NOMEM;
}

static void free_copies(llmd_pool *p, copy *c)
{
  while (c) {
    copy *older = c->older;
    llmd__free(&p->alloc, c, c->bytes);
    c = older;
  }
}

void llmd__tables_free(llmd_pool *p)
{
  if (!p->tables)
    return;
  free_copies(p, atomic_load(&p->tables->now));
  llmd__free(&p->alloc, p->tables, sizeof *p->tables);
  p->tables = NULL;
}

static const row *find(const copy *c, uint32_t kind, const char *name, size_t len)
{
  for (uint32_t i = 0; c && i < c->n_rows; i++) {
    const row *r = &rows_of(c)[i];
    if (r->kind == kind && r->len == len && !memcmp(text_of(c) + r->off, name, len))
      return r;
  }
  return NULL;
}

/* What a change puts in the place of row (kind, name). */
typedef struct change {
  uint32_t kind;
  const char *name;
  size_t len;
  const int32_t *priority;
  const llmd_rewrite_target *targets;
  uint32_t n;
} change;

static uint32_t put_text(copy *c, const char *ptr, size_t len)
{
  uint32_t off = c->text_bytes;
  if (len)
    memcpy(text_of(c) + off, ptr, len);
  c->text_bytes += (uint32_t)len;
  return off;
}

static void put_row(copy *to, uint32_t *n_targets, const copy *from, const row *r)
{
  row *out = &rows_of(to)[to->reserved++];
  *out = *r;
  out->off = put_text(to, text_of(from) + r->off, r->len);
  out->first = *n_targets;
  for (uint32_t k = 0; k < r->n; k++) {
    const target *t = &targets_of(from)[r->first + k];
    target *o = &targets_of(to)[(*n_targets)++];
    o->off = put_text(to, text_of(from) + t->off, t->len);
    o->len = t->len;
    o->weight = t->weight;
  }
}

static void put_change(copy *to, uint32_t *n_targets, const change *ch)
{
  row *out = &rows_of(to)[to->reserved++];
  out->kind = ch->kind;
  out->off = put_text(to, ch->name, ch->len);
  out->len = (uint32_t)ch->len;
  out->priority = ch->priority ? *ch->priority : 0;
  out->first = *n_targets;
  out->n = ch->n;
  for (uint32_t k = 0; k < ch->n; k++) {
    target *o = &targets_of(to)[(*n_targets)++];
    o->off = put_text(to, ch->targets[k].model.ptr, ch->targets[k].model.len);
    o->len = (uint32_t)ch->targets[k].model.len;
    o->weight = ch->targets[k].weight;
  }
}

/* After the swap: a lane without a pin will look at the new copy when it has one (both sides are sequentially
 * consistent, as with snapshots). */
static void free_old(llmd_pool *p, copy *now)
{
  for (uint32_t i = 0; i < p->g->caps.lanes; i++)
    if (llmd__pool_lane_pins(p, i))
      return;
  free_copies(p, now->older);
  now->older = NULL;
}

static int apply(llmd_pool *p, const change *ch)
{
  copy *old = atomic_load(&p->tables->now), *c;
  const row *gone = find(old, ch->kind, ch->name, ch->len);
  int adds = ch->priority || ch->n;
  uint32_t rows = (old ? old->n_rows : 0) - (gone ? 1 : 0) + (adds ? 1 : 0), n_targets = 0;
  uint32_t targets = (old ? old->n_targets : 0) - (gone ? gone->n : 0) + ch->n;
  size_t text = (old ? old->text_bytes : 0) + ch->len, bytes;
  if (rows > MAX_ROWS || ch->len > 4096)
    return LLMD_E_LIMIT;
  for (uint32_t k = 0; k < ch->n; k++)
    text += ch->targets[k].model.len;
  bytes = sizeof *c + rows * sizeof(row) + targets * sizeof(target) + text;
  c = llmd__calloc(&p->alloc, 1, bytes);
  if (!c)
    return LLMD_E_NOMEM;
  c->bytes = bytes;
  c->n_rows = rows;
  c->n_targets = targets;
  for (uint32_t i = 0; old && i < old->n_rows; i++)
    if (&rows_of(old)[i] != gone)
      put_row(c, &n_targets, old, &rows_of(old)[i]);
  if (adds)
    put_change(c, &n_targets, ch);
  c->reserved = 0;
  c->older = old;
  atomic_store(&p->tables->now, c);
  free_old(p, c);
  return 0;
}

int llmd_pool_objective(llmd_pool *pool, const char *name, size_t len, const int32_t *priority)
{
  change ch = {0, name, len, priority, NULL, 0};
  return name && len ? apply(pool, &ch) : LLMD_E_INVALID;
}

int llmd_pool_rewrite(llmd_pool *pool, const char *model, size_t len, const llmd_rewrite_target *targets, uint32_t n)
{
  change ch = {1, model ? model : "", len, NULL, targets, n};
  if ((!model && len) || (!targets && n))
    return LLMD_E_INVALID;
  for (uint32_t i = 0; i < n; i++)
    if (!targets[i].model.len || targets[i].model.len > 4096 || targets[i].weight > 1000000)
      return LLMD_E_INVALID;
  return n <= 64 ? apply(pool, &ch) : LLMD_E_LIMIT;
}

int32_t llmd__tables_priority(const llmd_pool *p, const llmd_str *name)
{
  const row *r =
      name->len ? find(atomic_load(&p->tables->now), 0, name->ptr, name->len) : NULL;
  return r ? r->priority : 0;
}

/* Which of the row's targets chance falls on. */
static const target *draw(const copy *c, const row *r, uint64_t chance)
{
  const target *t = &targets_of(c)[r->first];
  uint64_t sum = 0;
  for (uint32_t i = 0; i < r->n; i++)
    sum += t[i].weight;
  if (!sum)
    return &t[chance % r->n];
  chance %= sum;
  for (uint32_t i = 0; i < r->n; i++) {
    if (chance < t[i].weight)
      return &t[i];
    chance -= t[i].weight;
  }
  return &t[r->n - 1];
}

int llmd__tables_rewrite(const llmd_pool *p, const llmd_str *model, uint64_t chance, llmd_str *out)
{
  const copy *c = atomic_load(&p->tables->now);
  const row *r = find(c, 1, model->ptr, model->len);
  const target *t;
  if (!r)
    r = find(c, 1, "", 0);
  if (!r)
    return 0;
  t = draw(c, r, chance);
  out->ptr = text_of(c) + t->off;
  out->len = t->len;
  return 1;
}
