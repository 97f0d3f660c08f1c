/* Sets of holders. A set word names one, and says how many leading blocks of its run they hold:
 *
 *   kind (3) │ flen - 1 (5) │ stamp (27) │ line (28)       kind 4: interned, so that runs with the same holders share it
 *   kind (3) │ flen - 1 (5) │ ..... │ holder (15) x kind   kind 1 to 3: so many holders, ascending; 0 = nobody
 *
 * An interned set never changes; its lines are used again when no run names it, and then under another stamp. So a
 * reader copies the set and looks whether the run still has the same word.
 *
 *   set    │ n │ groups │ hash │ refs │ chain │ stamp │ more │ ref[9] │      groups 0: up to 18 holders in ref[]
 *          │                            │ ref[5] │ but: two holders │ of: line, stamp │ but: two │
 *   group  │ number g │ bits of holders 448 g .. 448 g + 447 │
 *   refs   │ ref[15] │ next │                                            further groups
 *
 * of, but: this set is that one without these one to four, which stays true for ever. Down a prompt's runs, holders drop
 * out one by one, and a reader who knows the set before then need not look at this one at all. */
#ifndef LLMD_PREFIX_SETS_H
#define LLMD_PREFIX_SETS_H

#include "prefix/exact.h"

#define LLMD__SET_KIND(w) ((uint32_t)((w) >> 60) & 7u)
#define LLMD__SET_FLEN(w) (((uint32_t)((w) >> 55) & 31u) + 1u)
#define LLMD__SET_FLEN_BITS (UINT64_C(31) << 55)
#define LLMD__SET_ID(w) ((w) & ~LLMD__SET_FLEN_BITS)
#define LLMD__SET_LINE(w) ((uint32_t)(w) & (LLMD__X_MAX_LINES - 1u))
#define LLMD__SET_STAMP(w) ((uint32_t)((w) >> 28) & 0x7ffffffu)
#define LLMD__SET_INTERNED 4u
#define LLMD__SET_SMALL 18u
#define LLMD__GROUP 448u
#define LLMD__SET_REFS 5u     /* groups that a set names itself; their lines follow its own, mostly */
#define LLMD__SET_BUT_NONE 0xffffffffu

typedef struct llmd__set {
  _Atomic uint32_t n, groups, hash, refs, chain, stamp, more;
  _Atomic uint32_t ref[9];
} llmd__set;

static inline uint64_t llmd__set_word(uint64_t id, uint32_t flen)
{
  return id == 0 ? 0 : LLMD__SET_ID(id) | (uint64_t)(flen - 1u) << 55;
}

static inline uint32_t llmd__set_inline(uint64_t word, uint32_t i)
{
  return (uint32_t)(word >> (15u * i)) & 0x7fffu;
}

/* Line of group i of a set, following `more`; 0 = none. *at, *line: where the last call was; begin with 0, the set. */
typedef struct llmd__set_walk {
  const llmd__set *set;
  const llmd__line64 *refs; /* NULL = in the set itself */
  uint32_t i, left;
} llmd__set_walk;

static inline void llmd__set_walk_begin(llmd__set_walk *w, const llmd_index *x, const llmd__set *set)
{
  uint32_t most = x->holders / LLMD__GROUP + 1u, n = LLMD__GET(&set->groups);
  w->set = set;
  w->refs = NULL;
  w->i = 0;
  w->left = n < most ? n : most;
}

/* The next group line, NULL = no more (or what is read is not a set any more). */
static inline const llmd__line64 *llmd__set_walk_next(llmd__set_walk *w, const llmd_index *x)
{
  uint32_t n, next;
  if (w->left == 0)
    return NULL;
  if (w->i == (w->refs ? 15u : LLMD__SET_REFS)) {
    next = w->refs ? (uint32_t)(LLMD__GET(&w->refs->w[7]) >> 32) : LLMD__GET(&w->set->more);
    if (!llmd__line_ok(x, next))
      return NULL;
    w->refs = llmd__line_at(x, next);
    w->i = 0;
  }
  n = w->refs ? (uint32_t)(LLMD__GET(&w->refs->w[w->i / 2]) >> (w->i % 2 * 32)) : LLMD__GET(&w->set->ref[w->i]);
  w->i++;
  w->left--;
  return llmd__line_ok(x, n) ? llmd__line_at(x, n) : NULL;
}

static inline const llmd__set *llmd__set_at(const llmd_index *x, uint64_t word)
{
  return (const llmd__set *)(const void *)llmd__line_at(x, LLMD__SET_LINE(word));
}

/* The id of the set in this line. */
static inline uint64_t llmd__set_id(const llmd_index *x, uint32_t line)
{
  const llmd__set *s = (const llmd__set *)(const void *)llmd__line_at(x, line);
  return (uint64_t)LLMD__SET_INTERNED << 60 | (uint64_t)LLMD__GET(&s->stamp) << 28 | line;
}

/* Writer. What holds for all: `word` may be any set word, flen does not matter and is 1 in what is returned. */
int llmd__set_has(const llmd_index *x, uint64_t word, uint32_t holder);
uint32_t llmd__set_count(const llmd_index *x, uint64_t word);
/* Its holders, ascending; out has room for all there are. */
uint32_t llmd__set_list(const llmd_index *x, uint64_t word, uint16_t *out);
/* The set of these, ascending; a reference is taken. */
uint64_t llmd__set_of(llmd_index *x, const uint16_t *holders, uint32_t n);
/* The set and one more, or one less; a reference is taken on the result, that of `word` stays. */
uint64_t llmd__set_add(llmd_index *x, uint64_t word, uint32_t holder);
uint64_t llmd__set_remove(llmd_index *x, uint64_t word, uint32_t holder);
void llmd__set_release(llmd_index *x, uint64_t word);
/* Tells a set that it is `of` without one to four, when that is so. */
void llmd__set_relate(llmd_index *x, uint64_t word, uint64_t of);
/* For mending: enters a set that readers see into the books (references 1), or adds a reference. */
void llmd__set_adopt(llmd_index *x, uint64_t word);

#endif
