/* The exact index against its model, by random operations: prompts that share beginnings, stores cut into events that
 * go on from a parent's name, holes and their healing, tiers, promises, names shared or private or in conflict, clears
 * and new generations with a sweep between. While nothing is evicted the answers are equal exactly.
 *
 *   test_exact_model [OPERATIONS [SEED [WORLD]]]     LLMD_LONG=1: ten times as many operations */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pair.h"

typedef struct world {
  const char *title;
  uint32_t rows, documents, max, roots;
  uint64_t bytes;
  uint32_t share;     /* of all operations, in percent */
  uint32_t conflicts; /* 1 in so many stores has a wrong or another name; 0 = never */
  uint32_t shared;    /* 1 in so many stores goes to the shared store */
  uint32_t promises;  /* 1 in so many operations; 0 = never */
  int capped;         /* 1: at the cap; 2: names in conflict: never more than the model knows */
} world;

static const world worlds[] = {
    {"two endpoints, three prompts", 2, 3, 70, 3, 8 << 20, 15, 0, 40, 20, 0},
    {"one endpoint", 1, 40, 300, 4, 16 << 20, 10, 0, 0, 0, 0},
    {"a few endpoints, all tiers", 8, 60, 300, 6, 32 << 20, 25, 0, 20, 30, 0},
    {"names in conflict", 5, 12, 100, 3, 16 << 20, 15, 6, 20, 30, 2},
    {"400 endpoints", 400, 60, 200, 8, 128 << 20, 5, 0, 50, 100, 0},
    {"at the cap", 8, 300, 300, 8, 256 << 10, 15, 0, 30, 30, 1},
    {"at the cap, names in conflict", 40, 300, 200, 8, 384 << 10, 15, 6, 30, 30, 2},
};

#define PROMISES 30u /* at most so many at a time: at the index's cap of promises the oldest ends early */

static uint32_t operations = 100000;
static uint64_t first_seed = 1;

typedef struct play {
  const world *w;
  pair *p;
  document *d;
  uint64_t dice, mono;
  uint32_t generation[512], promised;
} play;

static uint32_t die(play *g, uint32_t n)
{
  return roll(&g->dice, n);
}

static llmd_endpoint_id endpoint(const play *g, uint32_t slot)
{
  return (uint64_t)g->generation[slot] << 32 | slot;
}

static llmd_endpoint_id someone(play *g)
{
  if (g->w->shared && die(g, g->w->shared) == 0)
    return LLMD_INDEX_SHARED;
  return endpoint(g, die(g, g->w->rows));
}

/* Some engines tell no names: nothing but a clear takes their blocks away. */
static int nameless(llmd_endpoint_id e)
{
  return e != LLMD_INDEX_SHARED && (uint32_t)e % 7 == 4;
}

/* Every third endpoint has names of its own. */
static void names_of(const document *d, llmd_endpoint_id e, uint32_t from, uint32_t n, uint64_t *out)
{
  uint32_t slot = (uint32_t)e;
  for (uint32_t i = 0; i < n; i++)
    out[i] = slot % 3 == 2 ? document_private_name(d->name[from + i], slot) : d->name[from + i];
}

static const document *any(play *g)
{
  return &g->d[die(g, g->w->documents)];
}

static uint32_t any_tier(play *g, llmd_endpoint_id e)
{
  uint32_t tier = die(g, 12);
  return e == LLMD_INDEX_SHARED ? LLMD_TIER_REMOTE : tier < 4 ? tier : LLMD_TIER_GPU;
}

/* Some range of a document, often to its end. */
static uint32_t range(play *g, const document *d, uint32_t *from)
{
  *from = die(g, d->n);
  return die(g, 3) ? 1 + die(g, d->n - *from) : d->n - *from;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

/* One wrong name among those of an event: of another block, or new for this one. */
static void confuse(play *g, llmd_endpoint_id e, uint64_t *names, uint32_t n)
{
  const document *other = any(g);
  uint32_t at = die(g, n);
  if (die(g, 2))
    names_of(other, e, die(g, other->n), 1, &names[at]);
  else
    names[at] = llmd_random(&g->dice);
}

/* A prompt from its beginning or from a block that the engine has, in events of random length: each goes on from its
 * parent, which is found by name or is still at hand. */
static void store(play *g)
{
  const document *d = any(g);
  llmd_endpoint_id e = someone(g);
  uint64_t names[DOCUMENT_BLOCKS];
  uint32_t tier = any_tier(g, e), at = die(g, 3) ? 0 : die(g, d->n), end = at + 1 + die(g, d->n - at);
  int at_hand = 0;
  llmd_block parent;
  while (at < end) {
    uint32_t n = 1 + die(g, end - at);
    if (at && (!at_hand || (die(g, 2) && !nameless(e)))) {
      names_of(d, e, at - 1, 1, names);
      if (nameless(e) || pair_find(g->p, e, names[0], &parent) || parent.depth + 1 != at)
        return;
    }
    names_of(d, e, at, n, names);
    if (g->w->conflicts && die(g, g->w->conflicts) == 0)
      confuse(g, e, names, n);
    if (pair_store(g->p, e, tier, at ? &parent : NULL, d->key + at, nameless(e) ? NULL : names, n, &parent) < (int)n)
      return;
    at_hand = 1;
    at += n;
  }
}

/* Keeps the names that the engine told itself, and, when they are to be removed, those of blocks it has not: what it
 * makes of a name that only others told is the index's affair. */
static uint32_t told(const play *g, llmd_endpoint_id e, const document *d, uint32_t from, uint64_t *names, uint32_t n,
                     int removed)
{
  uint32_t known = 0, slot = e == LLMD_INDEX_SHARED ? g->w->rows : (uint32_t)e;
  llmd_key key;
  names_of(d, e, from, n, names);
  for (uint32_t i = 0; i < n; i++)
    if (!model_find(g->p->m, e, names[i], &key) || (removed && !model_tiers(g->p->m, slot, &d->key[from + i])))
      names[known++] = names[i];
  return known;
}

static void drop(play *g)
{
  const document *d = any(g);
  llmd_endpoint_id e = someone(g);
  uint64_t names[DOCUMENT_BLOCKS];
  uint32_t from, n = range(g, d, &from), tier = die(g, 3) ? any_tier(g, e) : LLMD_TIER_ANY;
  if (die(g, 3) == 0)
    n = 1 + die(g, n < 4 ? n : 4);
  if (nameless(e))
    return;
  n = told(g, e, d, from, names, n, 1);
  if (die(g, 2)) /* engines free a request's blocks from its last one on */
    for (uint32_t i = 0; i < n / 2; i++) {
      uint64_t name = names[i];
      names[i] = names[n - 1 - i];
      names[n - 1 - i] = name;
    }
  if (n)
    pair_drop(g->p, e, tier, names, n);
}

static void hold(play *g)
{
  const document *d = any(g);
  llmd_endpoint_id e = someone(g);
  uint64_t names[DOCUMENT_BLOCKS];
  uint32_t from, n = range(g, d, &from);
  if (nameless(e))
    return;
  n = told(g, e, d, from, names, n, 0);
  if (n)
    pair_hold(g->p, e, e == LLMD_INDEX_SHARED ? LLMD_TIER_REMOTE : die(g, 4), names, n);
}

/* Promises that overlap end together: a later one keeps all of a window alive. */
static void promise(play *g)
{
  const document *d = any(g);
  if (g->promised++ < PROMISES) {
    pair_expect(g->p, endpoint(g, die(g, g->w->rows)), d->key, 1 + die(g, d->n), g->mono + 1000);
    return;
  }
  g->promised = 0;
  pair_tick(g->p, g->mono += 1001, 1);
}

/* A new process on the slot: by its first store or by a clear; who speaks for the old one is not heard. */
static void restart(play *g)
{
  uint32_t slot = die(g, g->w->rows);
  llmd_endpoint_id old = endpoint(g, slot);
  const document *d = any(g);
  uint64_t names[DOCUMENT_BLOCKS];
  g->generation[slot]++;
  names_of(d, old, 0, d->n, names);
  if (die(g, 2))
    pair_clear(g->p, endpoint(g, slot));
  else
    pair_store(g->p, endpoint(g, slot), LLMD_TIER_GPU, NULL, d->key, nameless(old) ? NULL : names, d->n, NULL);
  pair_store(g->p, old, LLMD_TIER_GPU, NULL, d->key, d->name, 1, NULL);
  pair_hold(g->p, old, LLMD_TIER_CPU, d->name, 1);
  pair_drop(g->p, old, LLMD_TIER_ANY, d->name, d->n);
  pair_clear(g->p, old);
}

/* A prompt, a part of it, or one that leaves it for blocks nobody has seen. */
static void query(play *g)
{
  const document *d = any(g);
  llmd_key keys[DOCUMENT_BLOCKS];
  uint32_t n = die(g, 2) ? d->n : 1 + die(g, d->n), known = die(g, 4) ? n : die(g, n + 1);
  memcpy(keys, d->key, n * sizeof *keys);
  for (uint32_t i = known; i < n; i++)
    keys[i].lo = llmd_random(&g->dice);
  pair_query(g->p, keys, n);
}

static void operate(play *g)
{
  uint32_t kind = die(g, 1000);
  if (kind < 240)
    store(g);
  else if (kind < 350)
    drop(g);
  else if (kind < 420)
    hold(g);
  else if (kind < 424)
    pair_clear(g->p, someone(g));
  else if (kind < 426)
    restart(g);
  else if (kind < 500)
    pair_tick(g->p, g->mono, 1 + die(g, 50));
  else if (g->w->promises && die(g, g->w->promises) == 0)
    promise(g);
  else
    query(g);
}

static void look_at_all(play *g)
{
  pair_settle(g->p, g->mono);
  pair_count(g->p);
  for (uint32_t i = 0; i < g->w->documents; i++)
    pair_query(g->p, g->d[i].key, g->d[i].n);
}

/* When everybody is gone, nothing is left. */
static void empty_it(play *g, uint64_t used)
{
  llmd_index_stats s = {.size = sizeof s};
  for (uint32_t slot = 0; slot < g->w->rows; slot++)
    pair_clear(g->p, endpoint(g, slot));
  pair_clear(g->p, LLMD_INDEX_SHARED);
  look_at_all(g);
  assert_int_equal(llmd_index_stats_get(g->p->index, &s), 0);
  assert_int_equal(s.held, 0);
  assert_int_equal(s.blocks, 0);
  assert_int_equal(s.names, 0);
  assert_int_equal(s.sets, 0);
  assert_int_equal(s.dead, 0);
  assert_int_equal(s.used, used);
}

static void agrees(void **state)
{
  play g = {.w = *state};
  uint64_t seed = first_seed * 1000 + (uint64_t)(g.w - worlds), n = (uint64_t)operations * g.w->share / 100;
  llmd_index_stats s = {.size = sizeof s};
  uint64_t used;
  print_message("# %s: seed %llu, %llu operations\n", g.w->title, (unsigned long long)seed, (unsigned long long)n);
  g.p = pair_make(g.w->rows, g.w->bytes, g.w->capped, seed);
  g.d = documents_make(g.w->documents, g.w->max, g.w->roots, seed);
  assert_non_null(g.d);
  g.dice = ~seed; /* not the numbers again that the documents are made of */
  g.mono = 1000;
  for (uint32_t i = 0; i < g.w->rows; i++)
    g.generation[i] = 1;
  assert_int_equal(llmd_index_stats_get(g.p->index, &s), 0);
  used = s.used;
  for (uint64_t i = 0; i < n; i++) {
    operate(&g);
    if (i % 1000 == 999)
      look_at_all(&g);
  }
  assert_int_equal(llmd_index_stats_get(g.p->index, &s), 0);
  print_message("# %llu hits, %llu misses, %llu held, %llu evicted, %llu used\n", (unsigned long long)g.p->hits,
                (unsigned long long)g.p->misses, (unsigned long long)s.held, (unsigned long long)s.evicted,
                (unsigned long long)s.used);
  assert_true(g.p->hits * 20 > g.p->misses);
  assert_true(g.p->hits * 5 > g.p->wanted); /* it knows less at times, not next to nothing */
  assert_int_equal(s.evicted > 0, g.w->bytes <= 1 << 20);
  empty_it(&g, used);
  free(g.d);
  pair_free(g.p);
}

int main(int argc, char **argv)
{
  enum { n_worlds = sizeof worlds / sizeof *worlds };
  struct CMUnitTest tests[n_worlds], *one;
  if (getenv("LLMD_LONG"))
    operations *= 10;
  if (argc > 1)
    operations = (uint32_t)strtoul(argv[1], NULL, 10);
  if (argc > 2)
    first_seed = strtoul(argv[2], NULL, 10);
  memset(tests, 0, sizeof tests);
  for (unsigned i = 0; i < n_worlds; i++) {
    tests[i].name = worlds[i].title;
    tests[i].test_func = agrees;
    tests[i].initial_state = (void *)(uintptr_t)&worlds[i];
  }
  if (argc > 3 && strtoul(argv[3], NULL, 10) < n_worlds) {
    one = &tests[strtoul(argv[3], NULL, 10)];
    tests[0] = *one;
    memset(tests + 1, 0, sizeof tests - sizeof *tests);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
