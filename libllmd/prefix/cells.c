#include "prefix/cells.h"

static void note_away(llmd__line *home, uint32_t hops)
{
  uint32_t away = atomic_load_explicit(&home->away, memory_order_relaxed);
  uint32_t far = away >> 16 > hops ? away >> 16 : hops;
  atomic_store_explicit(&home->away, far << 16 | ((away & 0xffff) + 1), memory_order_relaxed);
}

static void note_back(llmd__line *home)
{
  uint32_t away = atomic_load_explicit(&home->away, memory_order_relaxed);
  away = (away & 0xffff) > 1 ? away - 1 : 0;
  atomic_store_explicit(&home->away, away, memory_order_relaxed);
}

static int free_place(llmd__line *l, uint32_t *place)
{
  for (uint32_t i = 0; i < LLMD__LINE_CELLS; i++)
    if (atomic_load_explicit(&l->set[i], memory_order_relaxed) == 0) {
      *place = i;
      return 1;
    }
  return 0;
}

uint32_t llmd__cells_take(const llmd__cells *t, const llmd_key *key, uint32_t set)
{
  uint32_t home = llmd__cells_home(t, key->lo), line = home, hops = 0, place = 0;
  llmd__line *l = &t->line[home];
  while (!free_place(l, &place)) {
    if (++hops > LLMD__MAX_HOPS)
      return LLMD__NO_CELL;
    line = llmd__cells_hop(t, line, hops);
    l = &t->line[line];
  }
  if (hops)
    note_away(&t->line[home], hops);
  atomic_store_explicit(&l->lo[place], key->lo, memory_order_release);
  atomic_store_explicit(&l->hi[place], key->hi, memory_order_release);
  atomic_store_explicit(&l->set[place], set, memory_order_release);
  return line * 4 + place;
}

void llmd__cells_drop(const llmd__cells *t, uint32_t cell)
{
  llmd__line *l = &t->line[cell / 4];
  uint32_t home = llmd__cells_home(t, atomic_load_explicit(&l->lo[cell % 4], memory_order_relaxed));
  if (home != cell / 4)
    note_back(&t->line[home]);
  atomic_store_explicit(&l->set[cell % 4], 0, memory_order_release);
  atomic_store_explicit(&l->lo[cell % 4], 0, memory_order_release);
}

void llmd__cells_reset(const llmd__cells *t)
{
  for (uint32_t i = 0; i < t->n; i++) {
    llmd__line *l = &t->line[i];
    for (uint32_t c = 0; c < LLMD__LINE_CELLS; c++) {
      /* Words that are zero stay untouched, and with them the pages of a fresh mapping. */
      if (atomic_load_explicit(&l->set[c], memory_order_relaxed))
        atomic_store_explicit(&l->set[c], 0, memory_order_release);
      if (atomic_load_explicit(&l->lo[c], memory_order_relaxed))
        atomic_store_explicit(&l->lo[c], 0, memory_order_release);
    }
    if (atomic_load_explicit(&l->away, memory_order_relaxed))
      atomic_store_explicit(&l->away, 0, memory_order_relaxed);
  }
}
