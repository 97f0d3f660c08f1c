/* Runs that take more than a look at one set: cohorts, sets that end before the chain does, a store that all can read. */
#include "prefix/exact_walk.h"

/* ---- several sets ------------------------------------------------------------------------------------------------ */

/* Those who have more first. */
static void sort_sets(walk *w)
{
  for (uint32_t i = 1; i < w->n_some; i++) {
    some s = w->some[i];
    uint32_t j = i;
    for (; j > 0 && w->some[j - 1].n < s.n; j--)
      w->some[j] = w->some[j - 1];
    w->some[j] = s;
  }
}

/* Who of the alive is in set number i, of one group. */
static uint64_t *plane(walk *w, uint32_t i)
{
  return &w->sets[i * w->words];
}

void llmd__walk_read_all(walk *w)
{
  sort_sets(w);
  for (uint32_t i = 0; i < w->n_some; i++) {
    beside b;
    beside_begin(&b, w->x, w->some[i].word);
    for (uint32_t k = 0; k < w->n_groups; k++) {
      uint32_t g = w->group[k];
      const _Atomic uint64_t *s = beside_group(&b, w->x, g);
      uint64_t *to = plane(w, i) + g * WORDS;
      for (uint32_t j = 0; j < WORDS; j++)
        to[j] = s ? LLMD__GET(&s[j]) : 0;
    }
  }
}

/* What the sets say of a holder. */
static uint32_t in_sets(walk *w, uint32_t holder)
{
  for (uint32_t i = 0; i < w->n_some; i++)
    if (plane(w, i)[holder / 64] >> (holder % 64) & 1u)
      return llmd__low(w->some[i].n);
  return 0;
}

/* Those with entries: who stays is marked in w->keep, who does not drops out. */
static void apply_odd(walk *w, uint32_t m, uint32_t base)
{
  for (uint32_t i = 0; i < w->n_odd; i++) {
    const odd_one *o = &w->odd[i];
    uint64_t bit = UINT64_C(1) << o->holder % 64;
    uint32_t n;
    if (!is_alive(w, o->holder))
      continue;
    n = llmd__walk_judge(w, o, in_sets(w, o->holder), m);
    if (w->reach != NULL)
      llmd__reach_judge(w, o, in_sets(w, o->holder), 0, n, base);
    if (n == m) {
      w->keep[o->holder / 64] |= bit;
      continue;
    }
    llmd__walk_emit(w, o->holder, base + n);
    w->alive[o->holder / 64] &= ~bit;
  }
}

static void apply_word(walk *w, uint32_t k, uint32_t m, uint32_t base)
{
  uint64_t alive = w->alive[k], stay = alive & w->keep[k], left = alive & ~stay;
  for (uint32_t i = 0; i < w->n_some && left != 0; i++) {
    uint64_t here = left & plane(w, i)[k];
    if (w->some[i].n >= m)
      stay |= here;
    else
      llmd__walk_emit_word(w, k, here, base + w->some[i].n);
    left &= ~here;
  }
  llmd__walk_emit_word(w, k, left, base);
  w->alive[k] = stay;
}

void llmd__walk_apply_all(walk *w, uint32_t m, uint32_t base)
{
  for (uint32_t i = 0; i < w->n_groups; i++)
    memset(&w->keep[w->group[i] * WORDS], 0, WORDS * sizeof *w->keep);
  apply_odd(w, m, base);
  for (uint32_t i = 0; i < w->n_groups; i++)
    for (uint32_t k = w->group[i] * WORDS; k < (w->group[i] + 1u) * WORDS; k++)
      if (w->alive[k] != 0)
        apply_word(w, k, m, base);
  llmd__walk_shrink(w);
}

/* ---- a store that all can read ----------------------------------------------------------------------------------- */

/* Every holder of the run becomes one with entries, so that each is judged by itself. */
void llmd__walk_read_shared(walk *w)
{
  for (uint32_t i = 0; i < w->n_some; i++) {
    uint32_t mask = llmd__low(w->some[i].n), n;
    beside b;
    beside_begin(&b, w->x, w->some[i].word);
    n = listed_count(&b);
    for (uint32_t k = 0; k < n; k++)
      if (listed_at(&b, k) < w->x->holders)
        llmd__walk_odd(w, listed_at(&b, k), LLMD_TIER_GPU, mask);
    for (; b.line != NULL; beside_next(&b, w->x))
      for (uint32_t k = 0; k < WORDS; k++)
        for (uint64_t bits = LLMD__GET(&b.line->w[k + 1]); bits != 0; bits &= bits - 1u) {
          uint64_t holder = b.group * LLMD__GROUP + k * 64u + (uint32_t)__builtin_ctzll(bits);
          if (holder < w->x->holders)
            llmd__walk_odd(w, (uint32_t)holder, LLMD_TIER_GPU, mask);
        }
  }
}

static uint32_t shared_mask(const walk *w)
{
  uint32_t at = w->odd_of[w->shared], mask = 0;
  for (uint32_t t = 0; at != 0 && t < LLMD_TIERS; t++)
    mask |= w->odd[at - 1].mask[t];
  return mask;
}

static void only_shared_reach(walk *w, uint32_t holder, uint32_t n, uint32_t base)
{
  odd_one o = {holder, {0}};
  o.mask[LLMD_TIER_REMOTE] = llmd__low(n);
  llmd__reach_judge(w, &o, 0, llmd__low(n), n, base);
}

/* One who is alive and has nothing of its own in this run. */
static void only_shared(walk *w, uint32_t holder, uint32_t n, uint32_t m, uint32_t base)
{
  w->lower[holder][LLMD_TIER_REMOTE - 1] += n;
  w->lowered |= n != 0;
  if (w->reach != NULL)
    only_shared_reach(w, holder, n, base);
  if (n == m)
    return;
  llmd__walk_emit(w, holder, base + n);
  w->alive[holder / 64] &= ~(UINT64_C(1) << holder % 64);
}

/* All so far have what the store has: a holder that first shows up here has lived on it until now. */
static void join_shared(walk *w, uint32_t holder, uint32_t base)
{
  if (is_alive(w, holder))
    return;
  llmd__walk_add(w, holder);
  if (is_alive(w, holder) && base != 0) {
    w->lower[holder][LLMD_TIER_REMOTE - 1] += base;
    w->lowered |= LOWERED_COUNTED;
    if (w->reach != NULL)
      llmd__reach_begin(w, holder, base);
  }
}

static void judge_shared(walk *w, odd_one *o, uint32_t mask, uint32_t m, uint32_t base)
{
  uint32_t n;
  if (w->rest_alive)
    join_shared(w, o->holder, base);
  if (!is_alive(w, o->holder))
    return;
  o->mask[LLMD_TIER_REMOTE] |= mask;
  n = llmd__walk_judge(w, o, 0, m);
  if (w->reach != NULL)
    llmd__reach_judge(w, o, 0, mask, n, base);
  w->keep[o->holder / 64] |= UINT64_C(1) << o->holder % 64;
  if (n == m)
    return;
  llmd__walk_emit(w, o->holder, base + n);
  w->alive[o->holder / 64] &= ~(UINT64_C(1) << o->holder % 64);
}

void llmd__walk_apply_shared(walk *w, uint32_t m, uint32_t base)
{
  uint32_t mask = shared_mask(w), n = mask == 0xffffffffu ? 32u : (uint32_t)__builtin_ctz(~mask);
  n = n < m ? n : m;
  if (w->rest_alive && n < m)
    w->rest = base + n;
  memset(w->keep, 0, w->words * sizeof *w->keep);
  for (uint32_t i = 0; i < w->n_odd; i++)
    if (w->odd[i].holder != w->shared)
      judge_shared(w, &w->odd[i], mask, m, base);
  for (uint32_t i = 0; i < w->n_groups; i++)
    for (uint32_t k = w->group[i] * WORDS; k < (w->group[i] + 1u) * WORDS; k++)
      for (uint64_t bits = w->alive[k] & ~w->keep[k]; bits != 0; bits &= bits - 1u)
        only_shared(w, k * 64u + (uint32_t)__builtin_ctzll(bits), n, m, base);
  llmd__walk_shrink(w);
  if (n < m)
    w->rest_alive = 0;
}
