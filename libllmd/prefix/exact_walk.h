/* A query on its way down a chain: the scratch, and what the two ways to apply a run share. exact_query.c walks and
 * takes the ways that are common; exact_apply.c those that are not. */
#ifndef LLMD_PREFIX_EXACT_WALK_H
#define LLMD_PREFIX_EXACT_WALK_H

#include <string.h>

#include "prefix/sets.h"

#define WORDS 7u /* of a group */
#define ENDS 16u
#define LATE 96u

#define LOWERED_COUNTED 1u /* there is something in walk.lower */
#define LOWERED_REACH 2u   /* hits are as walk.reach has them */

/* A holder that has entries in the run at hand. */
typedef struct odd_one {
  uint32_t holder;
  uint32_t mask[LLMD__X_TIERS];
} odd_one;

/* How far a holder's prefix can be used where somebody has sliding windows. */
typedef struct reach {
  uint32_t turn;      /* query that this is of */
  uint32_t upto;      /* blocks looked at; those that follow, as far as the walk is, have nothing in any window */
  uint32_t window[2]; /* blocks that each group needs */
  uint32_t held[2];   /* blocks in a row that it holds there, before upto */
  uint32_t blocks;    /* the longest that can be used so far */
  uint32_t lower[3];  /* of these */
} reach;

/* A set of holders that have the first n blocks: that of the run, or a cohort. */
typedef struct some {
  uint64_t word;
  uint32_t n;
} some;

/* The scratch. Bitmaps have a word per 64 holders, WORDS of them a group. */
typedef struct walk {
  const llmd_index *x;
  uint64_t *alive;      /* zero where nobody is; all zero between queries */
  uint64_t *set;        /* the run's set, or who drops out, for alive groups */
  uint64_t *keep;       /* of those with entries, who stays */
  uint64_t *sets;       /* the sets of w->some, one after the other */
  size_t words;         /* of a bitmap */
  uint16_t *group;      /* the groups with anybody alive, ascending */
  uint16_t *dirty;      /* those of which somebody may drop out */
  uint16_t *odd_of;     /* [holders] place in odd + 1; 0 = none */
  odd_one *odd;
  uint32_t (*lower)[3]; /* [holders] blocks by lower tier so far; kept zero between queries */
  uint32_t n_groups, n_dirty, n_odd, lowered; /* lowered: LOWERED_* */
  reach *reach;         /* [holders]; NULL = nobody has sliding windows */
  uint32_t turn;
  uint32_t tiers;       /* that entries are read of */
  some some[1 + LLMD__COHORTS]; /* sets of the run at hand */
  uint32_t n_some;
  uint64_t end[ENDS];   /* entries as they are, when all are plain: GPU, one a holder */
  uint32_t n_ends;
  uint64_t prev;        /* id of the set last applied: all alive are in it; 0 = not so */
  uint32_t shared;      /* holder that stands for all; 0 = none */
  uint32_t rest, rest_alive; /* with one: blocks that it alone gives everybody; all so far are such */
  llmd_hit *out;
  uint32_t n, cap;
  uint32_t late[LATE], n_late; /* hits that have the holder's number where the endpoint belongs, until the end */
} walk;

static inline int is_alive(const walk *w, uint32_t holder)
{
  return (int)(w->alive[holder / 64] >> (holder % 64) & 1u);
}

/* Walks a set's groups alongside the alive ones, both ascending. */
typedef struct beside {
  llmd__set_walk sw;
  const llmd__line64 *line; /* the set's group at hand; NULL = no more */
  uint64_t group;
  uint64_t listed[WORDS];
  uint64_t word;
  const llmd__set *set;
} beside;

static inline void beside_next(beside *b, const llmd_index *x)
{
  b->line = llmd__set_walk_next(&b->sw, x);
  b->group = b->line ? LLMD__GET(&b->line->w[0]) : UINT64_MAX;
}

static inline void beside_begin(beside *b, const llmd_index *x, uint64_t word)
{
  b->word = word;
  b->set = LLMD__SET_KIND(word) == LLMD__SET_INTERNED ? llmd__set_at(x, word) : NULL;
  b->line = NULL;
  b->group = UINT64_MAX;
  if (b->set == NULL || LLMD__GET(&b->set->groups) == 0)
    return;
  llmd__set_walk_begin(&b->sw, x, b->set);
  b->set = NULL;
  b->word = 0;
  beside_next(b, x);
}

/* One holder of an inline or small set. */
static inline uint32_t listed_at(const beside *b, uint32_t i)
{
  return b->set ? LLMD__GET(&b->set->ref[i / 2]) >> (i % 2 * 16) & 0xffffu : llmd__set_inline(b->word, i);
}

static inline uint32_t listed_count(const beside *b)
{
  uint32_t n = b->set ? LLMD__GET(&b->set->n) : LLMD__SET_KIND(b->word);
  return n < LLMD__SET_SMALL ? n : LLMD__SET_SMALL;
}

/* The set's WORDS of group g: a line of the set, or a copy; NULL = nobody there. */
static inline const _Atomic uint64_t *beside_group(beside *b, const llmd_index *x, uint32_t g)
{
  uint32_t n = listed_count(b), any = 0;
  while (b->group < g)
    beside_next(b, x);
  if (b->group == g)
    return &b->line->w[1];
  if (n == 0)
    return NULL;
  memset(b->listed, 0, sizeof b->listed);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t h = listed_at(b, i) - g * LLMD__GROUP;
    if (h < LLMD__GROUP) {
      b->listed[h / 64] |= UINT64_C(1) << h % 64;
      any = 1;
    }
  }
  return any ? (const _Atomic uint64_t *)(const void *)b->listed : NULL;
}

/* exact_query.c */
void llmd__walk_emit(walk *w, uint32_t holder, uint32_t blocks);
void llmd__walk_emit_word(walk *w, uint32_t word, uint64_t bits, uint32_t blocks);
void llmd__walk_shrink(walk *w);
void llmd__walk_add(walk *w, uint32_t holder);
void llmd__walk_odd(walk *w, uint32_t holder, uint32_t tier, uint32_t mask);
/* How many of the m blocks one with entries has, its sets' word for it being in_set; counts its lower tiers. */
uint32_t llmd__walk_judge(walk *w, const odd_one *o, uint32_t in_set, uint32_t m);

/* exact_apply.c: reads all sets in w->some into scratch; then, once that is known to be so, applies the run's m blocks
 * after base. */
void llmd__walk_read_all(walk *w);
void llmd__walk_apply_all(walk *w, uint32_t m, uint32_t base);
/* The same where a store stands for all. */
void llmd__walk_read_shared(walk *w);
void llmd__walk_apply_shared(walk *w, uint32_t m, uint32_t base);

/* exact_window.c. How far it can use the blocks that it has: *lower, of them in lower tiers. */
uint32_t llmd__reach_of(walk *w, uint32_t holder, uint32_t blocks, const uint32_t **lower);
/* A holder comes alive that has base blocks from the shared store. */
void llmd__reach_begin(walk *w, uint32_t holder, uint32_t base);
/* It has the first n of the run's blocks, which follow base others. in_set: what sets say of it; shared: what the shared
 * store has. Need not be called for runs in which the holder has no entries and the shared store nothing. */
void llmd__reach_judge(walk *w, const odd_one *o, uint32_t in_set, uint32_t shared, uint32_t n, uint32_t base);

#endif
