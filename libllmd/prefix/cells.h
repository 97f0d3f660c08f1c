/* The key table of a prefix index: open addressing over lines of one cache line, three cells a line.
 *
 *   line │ lo lo lo │ hi hi hi │ set set set │ away │        a cell = a 128-bit key + the word that names its holders
 *
 * Keys are uniformly random, so their low bits choose the home line. A key whose home is full lives some hops
 * further; `away` counts the home's absent keys (low half) and how far the farthest may be (high half), so that most
 * searches, also the vain ones, look at one line.
 *
 * One writer, any number of readers in any thread or process. A set word of 0 marks a free cell. The writer empties a
 * cell (set, then lo) before it takes it for another key and publishes the new key by its set word; a reader looks at
 * lo before and after set, so it never pairs one key with another key's holders. */
#ifndef LLMD_PREFIX_CELLS_H
#define LLMD_PREFIX_CELLS_H

#include <llmd/plugin.h>

#include <stdatomic.h>

#define LLMD__LINE_CELLS 3u
#define LLMD__NO_CELL 0xffffffffu
#define LLMD__MAX_HOPS 32u

typedef struct llmd__line {
  _Atomic uint64_t lo[LLMD__LINE_CELLS];
  _Atomic uint64_t hi[LLMD__LINE_CELLS];
  _Atomic uint32_t set[LLMD__LINE_CELLS];
  _Atomic uint32_t away;
} llmd__line;

/* A cell is named line * 4 + place. n > LLMD__MAX_HOPS. */
typedef struct llmd__cells {
  llmd__line *line;
  uint32_t n;
} llmd__cells;

#if defined(__GNUC__)
#define LLMD__PREFETCH(p) __builtin_prefetch(p)
#else
#define LLMD__PREFETCH(p) ((void)(p))
#endif

/* Spreads 32 random bits over [0, n). */
static inline uint32_t llmd__spread(uint32_t bits, uint32_t n)
{
  return (uint32_t)((uint64_t)bits * n >> 32);
}

static inline uint32_t llmd__cells_home(const llmd__cells *t, uint64_t lo)
{
  return llmd__spread((uint32_t)lo, t->n);
}

static inline void llmd__cells_prefetch(const llmd__cells *t, const llmd_key *key)
{
  LLMD__PREFETCH(&t->line[llmd__cells_home(t, key->lo)]);
}

/* The next line of the search: steps grow, so that neighbours do not pile up. */
static inline uint32_t llmd__cells_hop(const llmd__cells *t, uint32_t line, uint32_t hops)
{
  line += hops;
  return line >= t->n ? line - t->n : line;
}

/* The set word of the key in this line, 0 = not here; *place is its cell in the line. */
static inline uint32_t llmd__line_find(llmd__line *l, const llmd_key *key, uint32_t *place)
{
  uint32_t at = (uint32_t)(atomic_load_explicit(&l->lo[1], memory_order_acquire) == key->lo) |
                (uint32_t)(atomic_load_explicit(&l->lo[2], memory_order_acquire) == key->lo) << 1;
  uint32_t set;
  if (at == 3)
    at = 1; /* a reader in the middle of a move may see the key twice */
  if (atomic_load_explicit(&l->lo[at], memory_order_acquire) != key->lo ||
      atomic_load_explicit(&l->hi[at], memory_order_relaxed) != key->hi)
    return 0;
  set = atomic_load_explicit(&l->set[at], memory_order_acquire);
  if (atomic_load_explicit(&l->lo[at], memory_order_relaxed) != key->lo)
    return 0;
  *place = at;
  return set;
}

/* The cell of a key and its set word, or LLMD__NO_CELL. At most LLMD__MAX_HOPS lines are looked at. */
static inline uint32_t llmd__cells_find(const llmd__cells *t, const llmd_key *key, uint32_t *set)
{
  uint32_t line = llmd__cells_home(t, key->lo), place = 0, far;
  uint32_t word = llmd__line_find(&t->line[line], key, &place);
  if (word == 0) {
    far = atomic_load_explicit(&t->line[line].away, memory_order_relaxed) >> 16;
    for (uint32_t hops = 1; word == 0; hops++) {
      if (hops > far || hops > LLMD__MAX_HOPS)
        return LLMD__NO_CELL;
      line = llmd__cells_hop(t, line, hops);
      word = llmd__line_find(&t->line[line], key, &place);
    }
  }
  *set = word;
  return line * 4 + place;
}

static inline uint32_t llmd__cells_get(const llmd__cells *t, uint32_t cell)
{
  return atomic_load_explicit(&t->line[cell / 4].set[cell % 4], memory_order_acquire);
}

/* Writer only. Changes the set word of a taken cell (not to 0). */
static inline void llmd__cells_put(const llmd__cells *t, uint32_t cell, uint32_t set)
{
  atomic_store_explicit(&t->line[cell / 4].set[cell % 4], set, memory_order_release);
}

/* Writer only. Takes a free cell for a key that is not in the table. LLMD__NO_CELL: all lines within reach are full. */
uint32_t llmd__cells_take(const llmd__cells *t, const llmd_key *key, uint32_t set);

/* Writer only. Frees a taken cell. */
void llmd__cells_drop(const llmd__cells *t, uint32_t cell);

/* Frees everything; also makes a table of any bytes. */
void llmd__cells_reset(const llmd__cells *t);

#endif
