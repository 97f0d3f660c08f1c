/* The reading side of a prefix index: who holds how much of a chain. No lock, no allocation, nothing written but the
 * caller's own memory. See index.h. */
#include "prefix/layout.h"

#define AHEAD 16u

/* One walk along a chain. The chain falls into runs of blocks with the same set; work is done once a run. */
typedef struct walk {
  const llmd__index *ix;
  const llmd_key *chain;
  uint32_t n;
  uint32_t *set;    /* [rows] holders of the present run */
  uint32_t *alive;  /* [rows] holders that have held every block so far */
  uint32_t *where;  /* [rows] place in the answer, of alive[i] or of slot i */
  llmd_endpoint_id *endpoint;
  uint32_t *blocks;
  uint32_t cap;
  uint32_t found;
} walk;

size_t llmd__index_scratch_size(const llmd__index *ix)
{
  return (size_t)ix->rows * 3 * sizeof(uint32_t);
}

static uint32_t look(const walk *w, uint32_t i, uint32_t *word)
{
  return llmd__cells_find(&w->ix->cells, &w->chain[i], word);
}

/* The live holders of block i, copied while its cell named the set; 0 = none. A second look if the set changed hands.
 * */
static uint32_t read_set(const walk *w, uint32_t i, uint32_t cell, uint32_t *word)
{
  for (int tries = 0; tries < 2 && cell != LLMD__NO_CELL; tries++) {
    uint32_t n = llmd__holders_copy(&w->ix->holders, *word, w->set);
    if (llmd__cells_get(&w->ix->cells, cell) == *word)
      return n;
    cell = look(w, i, word);
  }
  return 0;
}

static llmd_endpoint_id id_of(const walk *w, uint32_t holder)
{
  uint32_t slot = holder >> LLMD__EPOCH_BITS;
  const llmd__tag *tag = &w->ix->holders.tag[slot];
  return (uint64_t)atomic_load_explicit(&tag->generation, memory_order_acquire) << 32 | slot;
}

/* ---- without a gap ----------------------------------------------------------------------------------------------- */

/* The holders of the first run enter the answer and are alive. */
static uint32_t all_enter(walk *w, uint32_t n)
{
  if (n > w->cap)
    n = w->cap;
  for (uint32_t i = 0; i < n; i++) {
    w->alive[i] = w->set[i];
    w->where[i] = i;
    w->endpoint[i] = id_of(w, w->set[i]);
  }
  w->found = n;
  return n;
}

/* Whoever is not among the n holders of the run that begins at block `depth` ends there. Both lists ascend. */
static uint32_t some_leave(walk *w, uint32_t n_alive, uint32_t n, uint32_t depth)
{
  uint32_t kept = 0, j = 0;
  for (uint32_t i = 0; i < n_alive; i++) {
    while (j < n && w->set[j] < w->alive[i])
      j++;
    if (j < n && w->set[j] == w->alive[i]) {
      w->alive[kept] = w->alive[i];
      w->where[kept++] = w->where[i];
    } else {
      w->blocks[w->where[i]] = depth;
    }
  }
  return kept;
}

/* ---- gaps allowed ------------------------------------------------------------------------------------------------ */

/* `len` more blocks for each holder of the run. where[slot] is believed only if the answer agrees, so it needs no
 * clearing. */
static void all_gain(walk *w, uint32_t n, uint32_t len)
{
  for (uint32_t i = 0; i < n; i++) {
    uint32_t slot = w->set[i] >> LLMD__EPOCH_BITS, at = w->where[slot];
    if (at < w->found && (uint32_t)w->endpoint[at] == slot) {
      w->blocks[at] += len;
    } else if (w->found < w->cap) {
      at = w->found++;
      w->where[slot] = at;
      w->endpoint[at] = id_of(w, w->set[i]);
      w->blocks[at] = len;
    }
  }
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* End of the run of blocks from i on whose cells say *word; then *word and *cell are those of the block at the end. */
static uint32_t run_end(const walk *w, uint32_t i, uint32_t *word, uint32_t *cell)
{
  const uint32_t run = *word;
  for (i++; i < w->n; i++) {
    if (i + AHEAD < w->n)
      llmd__cells_prefetch(&w->ix->cells, &w->chain[i + AHEAD]);
    *cell = look(w, i, word);
    if (*cell == LLMD__NO_CELL || *word != run)
      break;
  }
  return i;
}

uint32_t llmd__index_match(const llmd__index *ix, void *scratch, const llmd_key *chain, uint32_t n, uint32_t flags,
                           llmd_endpoint_id *endpoint, uint32_t *blocks, uint32_t cap)
{
  uint32_t *room = scratch;
  walk w = {ix, chain, n, room, room + ix->rows, room + 2 * (size_t)ix->rows, endpoint, blocks, cap, 0};
  uint32_t i = 0, alive = 0, word = 0, cell;
  for (uint32_t k = 0; k < AHEAD && k < n; k++)
    llmd__cells_prefetch(&ix->cells, &chain[k]);
  cell = n ? look(&w, 0, &word) : LLMD__NO_CELL;
  while (i < n && cell != LLMD__NO_CELL) {
    uint32_t holders = read_set(&w, i, cell, &word), end;
    if (!(flags & LLMD_PREFIX_ANY))
      alive = i ? some_leave(&w, alive, holders, i) : all_enter(&w, holders);
    if (holders == 0 || (alive == 0 && !(flags & LLMD_PREFIX_ANY)))
      break;
    end = run_end(&w, i, &word, &cell);
    if (flags & LLMD_PREFIX_ANY)
      all_gain(&w, holders, end - i);
    i = end;
  }
  for (uint32_t k = 0; k < alive; k++)
    blocks[w.where[k]] = i;
  return w.found;
}
