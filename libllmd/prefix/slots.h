/* A table of 64-bit slots in lines of one cache line:
 *
 *   line │ slot x 7 │ away: how many slots whose home is here live further on, and how far at most │
 *
 * Slots say nothing of their key but a tag of some bits; whoever searches looks at each slot with the right tag. The
 * home line comes from the key. Full homes spill into the following lines; `away` ends most searches after one line.
 * Nothing moves, so readers beside the one writer need no care: `away` rises before a slot is put there and falls after
 * it is gone. */
#ifndef LLMD_PREFIX_SLOTS_H
#define LLMD_PREFIX_SLOTS_H

#include <stdatomic.h>
#include <stdint.h>

#define LLMD__SLOTS 7u
#define LLMD__SLOTS_FAR 250u /* no slot lives further from home */

typedef struct llmd__slots {
  _Atomic uint64_t *word; /* [lines][8] */
  uint32_t lines;
} llmd__slots;

/* A search: slots are handed out one by one. */
typedef struct llmd__slots_at {
  uint32_t line, left, i;
} llmd__slots_at;

static inline uint32_t llmd__slots_home(const llmd__slots *t, uint64_t hash)
{
  return (uint32_t)((hash & 0xffffffffu) * t->lines >> 32);
}

static inline void llmd__slots_begin(llmd__slots_at *at, uint32_t home)
{
  at->line = home;
  at->left = UINT32_MAX;
  at->i = 0;
}

/* The next slot s with s >> shift == tag; 0 = no more. *where its place. */
static inline uint64_t llmd__slots_next(const llmd__slots *t, llmd__slots_at *at, uint32_t shift, uint64_t tag,
                                        _Atomic uint64_t **where)
{
  for (;;) {
    _Atomic uint64_t *line = &t->word[(uint64_t)at->line * 8];
    uint32_t hits = 0;
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) /* no branches: which one it is, nobody can guess */
      hits |= (uint32_t)(atomic_load_explicit(&line[i], memory_order_acquire) >> shift == tag) << i;
    for (hits = hits >> at->i << at->i; hits != 0; hits &= hits - 1u) {
      uint32_t i = (uint32_t)__builtin_ctz(hits);
      uint64_t s = atomic_load_explicit(&line[i], memory_order_acquire);
      if (s >> shift == tag && s != 0) {
        at->i = i + 1;
        *where = &line[i];
        return s;
      }
    }
    if (at->left == UINT32_MAX) {
      uint64_t away = atomic_load_explicit(&line[LLMD__SLOTS], memory_order_acquire);
      at->left = (uint32_t)(away >> 32);
      if (at->left > LLMD__SLOTS_FAR)
        at->left = LLMD__SLOTS_FAR;
    }
    if (at->left == 0)
      return 0;
    at->left--;
    at->i = 0;
    at->line = at->line + 1 == t->lines ? 0 : at->line + 1;
  }
}

/* Writer. A place for a slot with this home, its `away` counted; NULL = all full within reach. */
_Atomic uint64_t *llmd__slots_take(const llmd__slots *t, uint32_t home);
/* Writer. Empties a slot with this home. */
void llmd__slots_drop(const llmd__slots *t, _Atomic uint64_t *where, uint32_t home);

static inline void llmd__slots_prefetch(const llmd__slots *t, uint32_t home)
{
#if defined(__GNUC__)
  __builtin_prefetch((const void *)&t->word[(uint64_t)home * 8]);
#else
  (void)t, (void)home;
#endif
}

#endif
