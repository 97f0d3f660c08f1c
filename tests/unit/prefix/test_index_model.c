/* The index against a slow and obvious model: a list of (endpoint, block, time of last store), searched from end to
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/index.h"

#define SLOTS 12u
#define LENGTH 24u
#define OPERATIONS 400000u
#define MAX_PAIRS 2048u

typedef struct pair {
  uint32_t slot;
  uint64_t block;
  uint64_t stored;
} pair;

typedef struct model {
  pair at[MAX_PAIRS];
  uint32_t n, max;
  uint32_t capacity[SLOTS], preset;
  uint64_t clock;
} model;

static uint64_t seed;

static uint32_t roll(uint32_t n)
{
  return (uint32_t)(llmd_random(&seed) % n);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static pair *find(model *m, uint32_t slot, uint64_t block)
{
  for (uint32_t i = 0; i < m->n; i++)
    if (m->at[i].slot == slot && m->at[i].block == block)
      return &m->at[i];
  return NULL;
}

/* The least recent pair of the slot, or of all (slot == SLOTS), goes. */
static void evict(model *m, uint32_t slot)
{
  uint32_t oldest = m->n;
  for (uint32_t i = 0; i < m->n; i++)
    if ((slot == SLOTS || m->at[i].slot == slot) && (oldest == m->n || m->at[i].stored < m->at[oldest].stored))
      oldest = i;
  m->at[oldest] = m->at[--m->n];
}

static uint32_t count(const model *m, uint32_t slot)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->n; i++)
    n += m->at[i].slot == slot;
  return n;
}

static void model_store(model *m, uint32_t slot, const uint64_t *block, uint32_t n)
{
  while (count(m, slot) > m->capacity[slot])
    evict(m, slot);
  while (n--) {
    pair *p = find(m, slot, block[n]);
    if (!p && count(m, slot) == m->capacity[slot])
      evict(m, slot);
    if (!p && m->n == m->max)
      evict(m, SLOTS);
    if (!p) {
      p = &m->at[m->n++];
      p->slot = slot;
      p->block = block[n];
    }
    p->stored = ++m->clock;
  }
}

static void model_forget(model *m, uint32_t slot)
{
  for (uint32_t i = 0; i < m->n;)
    if (m->at[i].slot == slot)
      m->at[i] = m->at[--m->n];
    else
      i++;
}

static void model_match(const model *m, const uint64_t *block, uint32_t n, uint32_t flags, uint32_t *blocks)
{
  memset(blocks, 0, SLOTS * sizeof *blocks);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t holders = 0;
    for (uint32_t p = 0; p < m->n; p++) {
      uint32_t s = m->at[p].slot;
      if (m->at[p].block != block[i])
        continue;
      holders++;
      if ((flags & LLMD_PREFIX_ANY) || blocks[s] == i)
        blocks[s]++;
    }
    if (!holders)
      return;
  }
}

/* ---- chains: paths in a tree, so that they share beginnings ------------------------------------------------------ */

static llmd_key key_of(uint64_t block)
{
  uint64_t state = block;
  llmd_key k;
  k.lo = llmd_random(&state);
  k.hi = llmd_random(&state);
  return k;
}

static uint32_t walk_tree(uint64_t *block, llmd_key *key)
{
  uint32_t n = 1 + roll(LENGTH);
  uint64_t at = 1 + roll(3);
  for (uint32_t i = 0; i < n; i++) {
    block[i] = at;
    key[i] = key_of(at);
    at = at * 31 + 7 + (roll(8) == 0 ? roll(3) : 0);
  }
  return n;
}

/* ---- the comparison ---------------------------------------------------------------------------------------------- */

typedef struct pairing {
  llmd__index ix;
  model m;
  uint32_t scratch[SLOTS * 3];
  uint32_t generation[SLOTS];
} pairing;

static llmd_endpoint_id id(const pairing *p, uint32_t slot)
{
  return (uint64_t)p->generation[slot] << 32 | slot;
}

static void compare(pairing *p, const uint64_t *block, const llmd_key *key, uint32_t n, uint32_t flags)
{
  uint32_t want[SLOTS], got[SLOTS] = {0}, blocks[SLOTS], found;
  llmd_endpoint_id who[SLOTS];
  model_match(&p->m, block, n, flags, want);
  found = llmd__index_match(&p->ix, p->scratch, key, n, flags, who, blocks, SLOTS);
  for (uint32_t i = 0; i < found; i++) {
    assert_true(who[i] == id(p, (uint32_t)who[i]));
    assert_true(blocks[i] > 0);
    got[(uint32_t)who[i]] = blocks[i];
  }
  assert_memory_equal(got, want, sizeof want);
}

static void one_operation(pairing *p)
{
  uint64_t block[LENGTH];
  llmd_key key[LENGTH];
  uint32_t n = walk_tree(block, key), slot = roll(SLOTS), from = roll(10) ? 0 : roll(n), dice = roll(1000);
  if (dice < 400) {
    assert_int_equal(llmd__index_store(&p->ix, id(p, slot), key + from, n - from), 0);
    model_store(&p->m, slot, block + from, n - from);
  } else if (dice < 980) {
    compare(p, block, key, n, dice & 1 ? LLMD_PREFIX_ANY : 0);
  } else if (dice < 986) {
    assert_int_equal(llmd__index_forget(&p->ix, id(p, slot)), 0);
    model_forget(&p->m, slot);
  } else if (dice < 988) {
    p->generation[slot]++;
    assert_int_equal(llmd__index_store(&p->ix, id(p, slot), key, n), 0);
    model_forget(&p->m, slot);
    p->m.capacity[slot] = p->m.preset;
    model_store(&p->m, slot, block, n);
  } else if (dice < 992) {
    p->m.capacity[slot] = 1 + roll(120);
    assert_int_equal(llmd__index_set_capacity(&p->ix, id(p, slot), p->m.capacity[slot]), 0);
  } else {
    llmd__index_tick(&p->ix, roll(40));
  }
}

static void run(uint64_t bytes, uint32_t capacity, uint64_t first_seed)
{
  llmd__index_options o = {bytes, SLOTS, capacity, 0};
  size_t size = llmd__index_size(&o);
  void *mem = aligned_alloc(64, size);
  pairing *p = calloc(1, sizeof *p);
  llmd__index_stats s;
  assert_non_null(mem);
  assert_non_null(p);
  seed = first_seed;
  assert_int_equal(llmd__index_format(mem, size, &o), 0);
  assert_int_equal(llmd__index_attach(&p->ix, mem, size), 0);
  llmd__index_stats_get(&p->ix, &s);
  assert_true(s.max_holders < MAX_PAIRS);
  p->m.max = (uint32_t)s.max_holders;
  p->m.preset = capacity;
  for (uint32_t i = 0; i < SLOTS; i++) {
    p->generation[i] = 1;
    p->m.capacity[i] = capacity;
  }
  for (uint32_t i = 0; i < OPERATIONS / 2; i++) {
    one_operation(p);
    if (i % 64)
      continue;
    llmd__index_stats_get(&p->ix, &s);
    assert_int_equal(s.holders, p->m.n);
    assert_int_equal(s.dropped, 0);
  }
  assert_true(s.evicted_own > 0);
  assert_int_equal(s.evicted_all > 0, s.max_holders < SLOTS * capacity);
  free(p);
  free(mem);
}

static void agrees_while_there_is_room(void **state)
{
  (void)state;
  run(180 << 10, 120, 1);
}

static void agrees_when_it_is_full(void **state)
{
  (void)state;
  run(40 << 10, MAX_PAIRS, 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_while_there_is_room),
    cmocka_unit_test(agrees_when_it_is_full),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
