/* Where somebody has layers with a sliding window: how far a prefix can be used.
 *
 *   dense   ■ ■ ■ ■ ■ ■ ■ ■ ■ □      unbroken: 9
 *   window  □ □ ■ ■ ■ ■ □ ■ ■ □      3 blocks needed: at 9 there are 2 in a row, at 6 there are 4 ─► 6
 *
 * All that must be remembered of a holder is how many blocks in a row each group has up to where the walk is. At p
 * blocks a group is content when that is its window, or p. What lies in windows is in entries, so a run in which a
 * holder has none need not be looked at: nothing of its windows is there. */
#include "prefix/exact_walk.h"

static const llmd__x_row *row_of(const walk *w, uint32_t holder)
{
  uint64_t endpoint = LLMD__GET(&w->x->who[holder]);
  uint32_t slot = (uint32_t)endpoint;
  return endpoint != 0 && slot < w->x->head->rows ? &w->x->row[slot] : NULL;
}

void llmd__reach_begin(walk *w, uint32_t holder, uint32_t base)
{
  const llmd__x_row *row = row_of(w, holder);
  reach *at = &w->reach[holder];
  at->turn = w->turn;
  at->upto = base;
  for (uint32_t g = 0; g < 2; g++) {
    at->window[g] = row ? LLMD__GET(&row->window[g]) : 0;
    at->held[g] = base;
  }
  at->blocks = base;
  at->lower[LLMD_TIER_CPU - 1] = at->lower[LLMD_TIER_DISK - 1] = 0;
  at->lower[LLMD_TIER_REMOTE - 1] = base;
}

/* The bit after the last one that is missing among the first n: 0 = none is. */
static uint32_t after_gap(uint32_t held, uint32_t n)
{
  uint32_t missing = ~held & llmd__low(n);
  return missing == 0 ? 0 : 32u - (uint32_t)__builtin_clz(missing);
}

/* Blocks in a row before block n of the run, `before` of them before its first. */
static uint32_t in_a_row(uint32_t before, uint32_t held, uint32_t n)
{
  uint32_t from = after_gap(held, n);
  return from == 0 ? before + n : n - from;
}

/* The most of the run's first n blocks at which both groups are content; 0 = none. */
static uint32_t usable(const reach *at, const uint32_t held[2], uint32_t n, uint32_t base)
{
  uint32_t g = 0;
  while (g < 2 && n != 0) {
    uint32_t row = in_a_row(at->held[g], held[g], n), from = after_gap(held[g], n);
    if (row >= at->window[g] || row == base + n) {
      g++;
      continue;
    }
    n = from ? from - 1u : 0; /* nearer to the gap there are fewer, and at it none */
    g = 0;
  }
  return n;
}

/* The lower tiers of the run's first p blocks: all that was counted of the first n, less those between. */
static void count_lower(const walk *w, reach *at, const odd_one *o, uint32_t in_set, uint32_t p, uint32_t n)
{
  uint32_t between = llmd__low(n) & ~llmd__low(p) & ~in_set;
  between &= ~(o->mask[LLMD_TIER_GPU] | o->mask[LLMD_TIER_SPECULATIVE]);
  for (uint32_t t = LLMD_TIER_CPU; t <= LLMD_TIER_REMOTE; t++) {
    at->lower[t - 1] = w->lower[o->holder][t - 1] - (uint32_t)__builtin_popcount(between & o->mask[t]);
    between &= ~o->mask[t];
  }
}

static reach *known(walk *w, uint32_t holder)
{
  if (w->reach[holder].turn != w->turn)
    llmd__reach_begin(w, holder, 0);
  return &w->reach[holder];
}

uint32_t llmd__reach_of(walk *w, uint32_t holder, uint32_t blocks, const uint32_t **lower)
{
  const reach *at = known(w, holder);
  if ((at->window[0] | at->window[1]) == 0)
    return blocks;
  *lower = at->lower;
  return at->blocks;
}

void llmd__reach_judge(walk *w, const odd_one *o, uint32_t in_set, uint32_t shared, uint32_t n, uint32_t base)
{
  reach *at = known(w, o->holder);
  uint32_t held[2], p;
  if ((at->window[0] | at->window[1]) == 0)
    return;
  if (at->upto < base)
    at->held[0] = at->held[1] = 0;
  for (uint32_t g = 0; g < 2; g++)
    held[g] = o->mask[LLMD_TIER_WINDOW + g] | o->mask[LLMD_TIER_SPECULATIVE] | shared;
  p = usable(at, held, n, base);
  if (p != 0) {
    at->blocks = base + p;
    count_lower(w, at, o, in_set, p, n);
  }
  for (uint32_t g = 0; g < 2; g++)
    at->held[g] = in_a_row(at->held[g], held[g], n);
  at->upto = base + n;
}
