/* Keeping the why of a decision while it is made (explain.c and record.c read it afterwards). */
#include <string.h>

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
  if (n && !w->row)
    w->n = 0;
  return w;
}

/* Every source, in the lane's own memory. */
static void keep_sources(llmd_lane *l)
{
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    llmd__full *f = &l->full[i];
    uint32_t kind = l->s->source[i].kind;
    int id = kind == LLMD_READ_ID || kind == LLMD_READ_LABEL || kind == LLMD_READ_NAME || kind == LLMD_READ_ADDRESS;
    llmd__source_fill(l, i);
    if (!f->col || f->col == f->own || kind == LLMD_READ_HEADER || kind == LLMD_READ_HEADER_IDS)
      continue;
    memcpy(f->own, f->col, l->snap.n * (id ? sizeof(uint32_t) : sizeof(double)));
    f->col = f->own;
    f->key = 0;
  }
}

void llmd__why_keep(llmd_lane *l, const llmd_decision *d)
{
  if (!l->s->options.explain)
    return;
  if (!l->replaying) {
    keep_sources(l);
    memcpy(l->kept_row, l->snap.view.row, l->snap.n * sizeof *l->kept_row);
  }
  l->n_kept = l->snap.n;
  l->last = *d;
  l->last_valid = 1;
}
