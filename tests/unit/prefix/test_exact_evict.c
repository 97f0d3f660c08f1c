/* At the cap: what goes, and what stays. Never a byte more than allowed, never a block before its descendants, the
 * least recently hit or stored first - up to the granularity of an epoch, about 1/48 of the capacity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pair.h"

#define ENDPOINT (UINT64_C(1) << 32)
#define WINDOW 32u

static uint64_t evicted(const pair *p)
{
  llmd_index_stats s = {.size = sizeof s};
  assert_int_equal(llmd_index_stats_get(p->index, &s), 0);
  assert_true(s.used <= s.bytes);
  return s.evicted;
}

static int knows(pair *p, uint64_t name)
{
  llmd_block at;
  return llmd_index_find(p->index, ENDPOINT, name, &at) == 0;
}

/* The prompt's blocks that are left are its first ones. Returns how many. */
static uint32_t left_of(pair *p, const document *d)
{
  uint32_t n = 0;
  while (n < d->n && knows(p, d->name[n]))
    n++;
  for (uint32_t i = n; i < d->n; i++)
    assert_false(knows(p, d->name[i]));
  return n;
}

static void no_block_goes_before_its_descendants(void **state)
{
  enum { documents = 400, stores = 6000 };
  document *d = documents_make(documents, 250, 6, 17);
  pair *p = pair_make(4, 160 << 10, 1, 17);
  uint64_t seed = 5, whole = 0, part = 0, gone = 0;
  (void)state;
  for (uint32_t k = 0; k < stores; k++) {
    const document *at = &d[roll(&seed, documents)];
    assert_int_equal(pair_store(p, ENDPOINT | roll(&seed, 2), LLMD_TIER_GPU, NULL, at->key, at->name, at->n, NULL),
                     at->n);
    at = &d[roll(&seed, 20)];
    pair_query(p, at->key, at->n);
    evicted(p);
    if (k % 300 != 299)
      continue;
    for (uint32_t i = 0; i < documents; i++) {
      uint32_t n = left_of(p, &d[i]);
      whole += n == d[i].n;
      part += n != 0 && n < d[i].n;
      gone += n == 0;
    }
  }
  print_message("# %llu prompts seen whole, %llu in part, %llu gone\n", (unsigned long long)whole,
                (unsigned long long)part, (unsigned long long)gone);
  assert_true(whole > 100 && part > 100 && gone > 100 && evicted(p) > 1000);
  pair_free(p);
  free(d);
}

/* Prompts of one window each, none like another. */
static document *windows(uint32_t n)
{
  document *d = documents_make(n, 1, 1, 23);
  uint64_t seed = 29;
  for (uint32_t i = 0; i < n; i++) {
    d[i].n = WINDOW;
    for (uint32_t b = 0; b < WINDOW; b++) {
      d[i].key[b].lo = llmd_random(&seed);
      d[i].key[b].hi = llmd_random(&seed);
      d[i].name[b] = llmd_random(&seed);
    }
  }
  return d;
}

static void put(pair *p, const document *d)
{
  assert_int_equal(pair_store(p, ENDPOINT, LLMD_TIER_GPU, NULL, d->key, d->name, d->n, NULL), d->n);
}

/* As many as fit. */
static uint32_t capacity(const document *d, uint32_t n, uint64_t bytes)
{
  pair *p = pair_make(4, bytes, 1, 3);
  uint32_t k = 0;
  while (k < n && !evicted(p))
    put(p, &d[k++]);
  assert_true(k > 60 && k < n / 4);
  pair_free(p);
  return k;
}

/* The first `kept` are asked for all along; of the others the oldest go. */
static void the_least_recent_goes_first(void **state)
{
  enum { n = 3000, kept = 16 };
  static const uint64_t bytes = 256 << 10;
  document *d = windows(n);
  pair *p = pair_make(4, bytes, 1, 3);
  uint32_t fits = capacity(d, n, bytes), slack = fits / 16 + 2, oldest, newest_gone = 0;
  (void)state;
  for (uint32_t i = 0; i < n; i++) {
    put(p, &d[i]);
    if (i >= kept && i % (fits / 40 + 1) == 0)
      for (uint32_t k = 0; k < kept; k++)
        pair_query(p, d[k].key, d[k].n);
  }
  for (uint32_t k = 0; k < kept; k++)
    assert_int_equal(left_of(p, &d[k]), WINDOW);
  for (oldest = kept; oldest < n && left_of(p, &d[oldest]) == 0;)
    oldest++;
  for (uint32_t i = kept; i < n; i++)
    newest_gone = left_of(p, &d[i]) == 0 ? i : newest_gone;
  print_message("# room for %u: oldest left %u, newest gone %u of %u\n", fits, oldest, newest_gone, (unsigned)n);
  assert_true(newest_gone < oldest + slack);
  assert_true(n - oldest > (fits - kept) * 3 / 4);
  pair_free(p);
  free(d);
}

/* Storing a prompt again is as good as asking for it. */
static void storing_again_keeps(void **state)
{
  enum { n = 2000, kept = 8 };
  document *d = windows(n);
  pair *p = pair_make(4, 256 << 10, 1, 3);
  (void)state;
  for (uint32_t i = 0; i < n; i++) {
    put(p, &d[i]);
    if (i % 10 == 0)
      for (uint32_t k = 0; k < kept; k++)
        put(p, &d[k]);
  }
  for (uint32_t k = 0; k < kept; k++)
    assert_int_equal(left_of(p, &d[k]), WINDOW);
  assert_true(evicted(p) > 1000 * WINDOW);
  pair_free(p);
  free(d);
}

/* Whatever was asked for last, there is room for what comes: all are asked for, and still one more is stored. */
static void what_everybody_asks_for_goes_too(void **state)
{
  enum { n = 600 };
  document *d = documents_make(n, 250, 3, 17);
  pair *p = pair_make(4, 128 << 10, 1, 3);
  (void)state;
  for (uint32_t i = 0; i < n; i++) {
    put(p, &d[i]);
    for (uint32_t k = 0; k <= i; k += 1 + i / 60)
      pair_query(p, d[k].key, d[k].n);
  }
  assert_true(evicted(p) > 0);
  pair_free(p);
  free(d);
}

/* One prompt longer than all there is room for: its beginning stays, the rest is told to be dropped. */
static void more_than_all(void **state)
{
  enum { n = 40000 };
  llmd_key *key = calloc(n, sizeof *key);
  uint64_t *name = calloc(n, sizeof *name), seed = 3;
  pair *p = pair_make(4, 128 << 10, 1, 3);
  llmd_index_stats s = {.size = sizeof s};
  int stored, again;
  (void)state;
  for (uint32_t i = 0; i < n; i++) {
    key[i].lo = llmd_random(&seed);
    key[i].hi = llmd_random(&seed);
    name[i] = llmd_random(&seed);
  }
  stored = pair_store(p, ENDPOINT, LLMD_TIER_GPU, NULL, key, name, n, NULL);
  assert_true(stored > 1000 && stored < n);
  assert_int_equal(llmd_index_stats_get(p->index, &s), 0);
  assert_int_equal(s.dropped, n - stored);
  assert_true(s.used <= s.bytes);
  pair_query(p, key, n);
  assert_int_equal(p->got[0].blocks, stored);
  again = pair_store(p, ENDPOINT | 1, LLMD_TIER_GPU, NULL, key, name, n, NULL);
  assert_int_equal(again, stored);
  pair_query(p, key, n);
  pair_free(p);
  free(key);
  free(name);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_block_goes_before_its_descendants), cmocka_unit_test(the_least_recent_goes_first),
    cmocka_unit_test(storing_again_keeps),                  cmocka_unit_test(what_everybody_asks_for_goes_too),
    cmocka_unit_test(more_than_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
