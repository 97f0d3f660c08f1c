#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/index.h"

#define CAP 64u

/* An index on memory of its own, filled with rubbish before it is made. */
typedef struct fixture {
  llmd__index ix;
  void *mem, *scratch;
  size_t size;
  llmd_endpoint_id who[CAP];
  uint32_t blocks[CAP];
} fixture;

static fixture *make(uint64_t bytes, uint32_t rows, uint32_t capacity)
{
  llmd__index_options o = {bytes, rows, capacity, 0};
  fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->size = llmd__index_size(&o);
  assert_true(f->size > 0 && f->size <= bytes);
  f->mem = aligned_alloc(64, f->size);
  assert_non_null(f->mem);
  memset(f->mem, 0xa5, f->size);
  assert_int_equal(llmd__index_format(f->mem, f->size, &o), 0);
  assert_int_equal(llmd__index_attach(&f->ix, f->mem, f->size), 0);
  f->scratch = calloc(1, llmd__index_scratch_size(&f->ix));
  assert_non_null(f->scratch);
  return f;
}

static void drop(fixture *f)
{
  free(f->scratch);
  free(f->mem);
  free(f);
}

static llmd_endpoint_id id(uint32_t slot, uint32_t generation)
{
  return (uint64_t)generation << 32 | slot;
}

/* A chain of keys that differs from all others of another number. */
static void make_chain(uint64_t number, llmd_key *out, uint32_t n)
{
  uint64_t seed = number * 1000003;
  for (uint32_t i = 0; i < n; i++) {
    out[i].lo = llmd_random(&seed);
    out[i].hi = llmd_random(&seed);
  }
}

/* Blocks that the endpoint holds of the chain, 0 = it is not in the answer. */
static uint32_t held(fixture *f, const llmd_key *chain, uint32_t n, uint32_t flags, llmd_endpoint_id endpoint)
{
  uint32_t found = llmd__index_match(&f->ix, f->scratch, chain, n, flags, f->who, f->blocks, CAP);
  for (uint32_t i = 0; i < found; i++)
    if (f->who[i] == endpoint)
      return f->blocks[i];
  return 0;
}

static llmd__index_stats stats(const fixture *f)
{
  llmd__index_stats s;
  llmd__index_stats_get(&f->ix, &s);
  return s;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void finds_what_was_stored(void **state)
{
  fixture *f = make(1 << 20, 8, 100);
  llmd_key a[10], b[10];
  (void)state;
  make_chain(1, a, 10);
  make_chain(2, b, 10);
  memcpy(b, a, 4 * sizeof *a); /* a fork after four blocks */
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 10, 0, f->who, f->blocks, CAP), 0);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 0, 0, f->who, f->blocks, CAP), 0);
  assert_int_equal(llmd__index_store(&f->ix, id(0, 1), a, 10), 0);
  assert_int_equal(llmd__index_store(&f->ix, id(3, 7), b, 6), 0);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 10, 0, f->who, f->blocks, CAP), 2);
  assert_int_equal(held(f, a, 10, 0, id(0, 1)), 10);
  assert_int_equal(held(f, a, 10, 0, id(3, 7)), 4);
  assert_int_equal(held(f, b, 10, 0, id(0, 1)), 4);
  assert_int_equal(held(f, b, 10, 0, id(3, 7)), 6);
  assert_int_equal(held(f, b, 3, 0, id(3, 7)), 3);
  assert_int_equal(stats(f).blocks, 12);
  assert_int_equal(stats(f).holders, 16);
  assert_int_equal(stats(f).sets, 1);
  drop(f);
}

/* A holder with a hole: it ends there, or counts on until nobody holds a block. */
static void gaps_count_only_when_asked(void **state)
{
  fixture *f = make(1 << 20, 8, 100);
  llmd_key a[10];
  (void)state;
  make_chain(1, a, 10);
  llmd__index_store(&f->ix, id(1, 1), a, 7);
  llmd__index_store(&f->ix, id(2, 1), a, 2);
  llmd__index_store(&f->ix, id(2, 1), a + 4, 2);
  llmd__index_store(&f->ix, id(2, 1), a + 8, 2);
  llmd__index_store(&f->ix, id(4, 1), a + 5, 1);
  assert_int_equal(held(f, a, 10, 0, id(2, 1)), 2);
  assert_int_equal(held(f, a, 10, 0, id(4, 1)), 0);
  assert_int_equal(held(f, a, 10, 0, id(1, 1)), 7);
  assert_int_equal(held(f, a, 10, LLMD_PREFIX_ANY, id(1, 1)), 7);
  assert_int_equal(held(f, a, 10, LLMD_PREFIX_ANY, id(2, 1)), 4); /* block 7 is nobody's: 8 and 9 do not count */
  assert_int_equal(held(f, a, 10, LLMD_PREFIX_ANY, id(4, 1)), 1);
  drop(f);
}

static void capacity_trims_the_tail_of_the_oldest(void **state)
{
  fixture *f = make(1 << 20, 4, 5);
  llmd_key a[8], b[8], c[8];
  (void)state;
  make_chain(1, a, 8);
  make_chain(2, b, 8);
  make_chain(3, c, 8);
  llmd__index_store(&f->ix, id(0, 1), a, 3);
  llmd__index_store(&f->ix, id(0, 1), b, 3);
  assert_int_equal(held(f, a, 8, 0, id(0, 1)), 2);
  assert_int_equal(held(f, b, 8, 0, id(0, 1)), 3);
  llmd__index_store(&f->ix, id(0, 1), a, 2); /* a is the fresher one now */
  llmd__index_store(&f->ix, id(0, 1), c, 2);
  assert_int_equal(held(f, a, 8, 0, id(0, 1)), 2);
  assert_int_equal(held(f, b, 8, 0, id(0, 1)), 1);
  llmd__index_store(&f->ix, id(0, 1), c, 8); /* longer than all it may keep */
  assert_int_equal(held(f, c, 8, 0, id(0, 1)), 5);
  assert_int_equal(held(f, a, 8, 0, id(0, 1)), 0);
  assert_int_equal(stats(f).holders, 5);
  assert_int_equal(llmd__index_set_capacity(&f->ix, id(0, 1), 2), 0);
  llmd__index_store(&f->ix, id(0, 1), c, 1);
  assert_int_equal(held(f, c, 8, 0, id(0, 1)), 2);
  assert_int_equal(stats(f).holders, 2);
  assert_int_equal(stats(f).evicted_all, 0);
  drop(f);
}

/* One block each, capacity two: the reference's own case. */
static void the_reference_keeps_the_last_two(void **state)
{
  fixture *f = make(1 << 20, 4, 2);
  llmd_key k[3];
  (void)state;
  make_chain(1, k, 3);
  for (int i = 0; i < 3; i++)
    llmd__index_store(&f->ix, id(0, 1), &k[i], 1);
  assert_int_equal(held(f, &k[0], 1, 0, id(0, 1)), 0);
  assert_int_equal(held(f, &k[1], 1, 0, id(0, 1)), 1);
  assert_int_equal(held(f, &k[2], 1, 0, id(0, 1)), 1);
  drop(f);
}

static void full_index_drops_the_least_recent_of_all(void **state)
{
  fixture *f = make(64 << 10, 4, 100000);
  uint32_t max = (uint32_t)stats(f).max_holders, each = max / 4;
  llmd_key *chain = malloc(sizeof *chain * each * 5);
  (void)state;
  assert_non_null(chain);
  assert_true(max >= 64);
  for (uint32_t i = 0; i < 5; i++) {
    make_chain(10 + i, chain + each * i, each);
    assert_int_equal(llmd__index_store(&f->ix, id(i % 4, 1), chain + each * i, each), 0);
  }
  assert_int_equal(held(f, chain, each, 0, id(0, 1)), max - 4 * each);
  for (uint32_t i = 1; i < 5; i++)
    assert_int_equal(held(f, chain + each * i, each, 0, id(i % 4, 1)), each);
  assert_int_equal(stats(f).holders, max);
  assert_true(stats(f).evicted_all > 0);
  assert_int_equal(stats(f).dropped, 0);
  free(chain);
  drop(f);
}

static void forgetting_is_at_once(void **state)
{
  fixture *f = make(1 << 20, 8, 1000);
  llmd_key a[300];
  (void)state;
  make_chain(1, a, 300);
  llmd__index_store(&f->ix, id(1, 1), a, 300);
  llmd__index_store(&f->ix, id(2, 1), a, 200);
  assert_int_equal(llmd__index_forget(&f->ix, id(1, 1)), 0);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 300, 0, f->who, f->blocks, CAP), 1);
  assert_int_equal(held(f, a, 300, 0, id(2, 1)), 200);
  assert_int_equal(held(f, a, 300, LLMD_PREFIX_ANY, id(2, 1)), 200);
  assert_int_equal(stats(f).dead, 300);
  llmd__index_store(&f->ix, id(1, 1), a, 10); /* it may come back before it is swept */
  assert_int_equal(held(f, a, 300, 0, id(1, 1)), 10);
  assert_int_equal(llmd__index_tick(&f->ix, 100), 200);
  assert_int_equal(held(f, a, 300, 0, id(1, 1)), 10);
  assert_int_equal(llmd__index_tick(&f->ix, 1000), 0);
  assert_int_equal(held(f, a, 300, 0, id(1, 1)), 10);
  assert_int_equal(held(f, a, 300, 0, id(2, 1)), 200);
  assert_int_equal(stats(f).holders, 210);
  assert_int_equal(stats(f).blocks, 200);
  assert_int_equal(stats(f).dead, 0);
  drop(f);
}

static void generations_follow_each_other(void **state)
{
  fixture *f = make(1 << 20, 4, 100);
  llmd_key a[10];
  (void)state;
  make_chain(1, a, 10);
  llmd__index_store(&f->ix, id(1, 5), a, 10);
  assert_int_equal(llmd__index_store(&f->ix, id(1, 4), a, 10), LLMD_E_STALE);
  assert_int_equal(llmd__index_forget(&f->ix, id(1, 4)), LLMD_E_STALE);
  assert_int_equal(llmd__index_set_capacity(&f->ix, id(1, 4), 3), LLMD_E_STALE);
  assert_int_equal(llmd__index_store(&f->ix, id(4, 1), a, 10), LLMD_E_RANGE);
  assert_int_equal(llmd__index_forget(&f->ix, id(4, 1)), LLMD_E_RANGE);
  assert_int_equal(held(f, a, 10, 0, id(1, 5)), 10);
  llmd__index_store(&f->ix, id(1, 6), a, 3); /* nobody said forget: the newer one has its own blocks only */
  assert_int_equal(held(f, a, 10, 0, id(1, 6)), 3);
  assert_int_equal(held(f, a, 10, 0, id(1, 5)), 0);
  drop(f);
}

/* Epochs of a slot begin anew after 2^17 forgets; nothing old comes to life. */
static void epochs_wrap(void **state)
{
  fixture *f = make(1 << 20, 4, 100);
  llmd_key a[4], b[4];
  (void)state;
  make_chain(1, a, 4);
  make_chain(2, b, 4);
  llmd__index_store(&f->ix, id(0, 1), a, 4);
  llmd__index_store(&f->ix, id(1, 1), b, 4);
  llmd__index_forget(&f->ix, id(0, 1));
  for (uint32_t i = 1; i < 1u << LLMD__EPOCH_BITS; i++)
    llmd__index_forget(&f->ix, id(0, 1));
  assert_int_equal(held(f, a, 4, 0, id(0, 1)), 0);
  assert_int_equal(held(f, b, 4, 0, id(1, 1)), 4);
  assert_int_equal(stats(f).dead, 0);
  assert_int_equal(stats(f).blocks, 4);
  drop(f);
}

/* Every endpoint holds the same system prompt: one set, and all are in the answer. */
static void many_holders_share_one_set(void **state)
{
  enum { rows = 2000 };
  fixture *f = make(32 << 20, rows, 1000);
  llmd_endpoint_id *who = malloc(sizeof *who * rows);
  uint32_t *blocks = malloc(sizeof *blocks * rows), sum = 0;
  llmd_key a[100];
  (void)state;
  make_chain(1, a, 100);
  for (uint32_t i = 0; i < rows; i++)
    llmd__index_store(&f->ix, id(i * 7 % rows, 1), a, 50 + i % 50);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 100, 0, who, blocks, rows), rows);
  for (uint32_t i = 0; i < rows; i++)
    sum += blocks[i];
  assert_int_equal(sum, rows / 50 * (50 * 50 + 49 * 50 / 2));
  assert_int_equal(stats(f).sets, 50);
  assert_int_equal(stats(f).dropped, 0);
  for (uint32_t i = 0; i < rows; i++)
    llmd__index_forget(&f->ix, id(i, 1));
  assert_int_equal(llmd__index_tick(&f->ix, 1u << 30), 0);
  assert_int_equal(stats(f).blocks, 0);
  assert_int_equal(stats(f).sets, 0);
  free(who);
  free(blocks);
  drop(f);
}

/* Pairs that readers see, over blocks 0 to n - 1. */
static uint64_t pairs_seen(fixture *f, uint32_t n)
{
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; i++) {
    llmd_key k[1];
    make_chain(i, k, 1);
    sum += llmd__index_match(&f->ix, f->scratch, k, 1, 0, f->who, f->blocks, CAP);
  }
  return sum;
}

/* Nearly every block has a set of its own, more than chunks can hold: things go early, nothing breaks, and what is
 * left is what readers see. */
static void sets_may_run_out(void **state)
{
  fixture *f = make(256 << 10, 64, 100000);
  uint32_t max = (uint32_t)stats(f).max_holders;
  uint64_t seed = 5;
  (void)state;
  for (uint32_t i = 0; i < 64; i++)
    llmd__index_set_capacity(&f->ix, id(i, 1), i % 2 ? 0 : max / 80);
  for (uint32_t i = 0; i < 40 * max; i++) {
    llmd_key k[1];
    make_chain(llmd_random(&seed) % (max / 3), k, 1);
    assert_int_equal(llmd__index_store(&f->ix, id((uint32_t)(llmd_random(&seed) % 64), 1), k, 1), 0);
  }
  assert_true(stats(f).dropped > 0);
  assert_int_equal(pairs_seen(f, max / 3), stats(f).holders);
  for (uint32_t i = 0; i < 64; i++)
    llmd__index_forget(&f->ix, id(i, 1));
  assert_int_equal(llmd__index_tick(&f->ix, 1u << 30), 0);
  assert_int_equal(stats(f).blocks, 0);
  assert_int_equal(stats(f).holders, 0);
  assert_int_equal(stats(f).sets, 0);
  drop(f);
}

/* The least recent are blocks of one holder, whose going frees no set: the block at hand keeps its newest holder. */
static void newest_holder_stays_without_sets(void **state)
{
  fixture *f = make(256 << 10, 64, 100000);
  uint32_t max = (uint32_t)stats(f).max_holders, n = max / 3, i = 0;
  llmd_key k[1];
  (void)state;
  for (; i < max / 4; i++) {
    make_chain(i, k, 1);
    llmd__index_store(&f->ix, id(i % 64, 1), k, 1);
  }
  for (; i < max / 4 + n && stats(f).dropped == 0; i++) { /* block i: holders i % 64 and some slots further */
    make_chain(i, k, 1);
    llmd__index_store(&f->ix, id(i % 64, 1), k, 1);
    llmd__index_store(&f->ix, id((i + 1 + i / 64 % 31) % 64, 1), k, 1);
  }
  assert_true(stats(f).dropped > 0);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, k, 1, 0, f->who, f->blocks, CAP), 1);
  i--;
  assert_true(f->who[0] == id((i + 1 + i / 64 % 31) % 64, 1));
  assert_int_equal(pairs_seen(f, i + 1), stats(f).holders);
  drop(f);
}

static void answers_stay_in_their_room(void **state)
{
  fixture *f = make(1 << 20, 16, 100);
  llmd_key a[4];
  (void)state;
  make_chain(1, a, 4);
  for (uint32_t i = 0; i < 16; i++)
    llmd__index_store(&f->ix, id(i, 1), a, 1 + i % 4);
  f->who[5] = 99;
  f->blocks[5] = 99;
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 4, 0, f->who, f->blocks, 5), 5);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 4, LLMD_PREFIX_ANY, f->who, f->blocks, 5), 5);
  assert_int_equal(llmd__index_match(&f->ix, f->scratch, a, 4, 0, f->who, f->blocks, 0), 0);
  assert_int_equal(f->who[5], 99);
  assert_int_equal(f->blocks[5], 99);
  drop(f);
}

static void wrong_memory_is_refused(void **state)
{
  llmd__index_options o = {1 << 20, 8, 10, 0}, big = {1 << 20, LLMD__INDEX_MAX_ROWS + 1, 10, 0};
  llmd__index_options small = {4096, 8, 10, 0};
  fixture *f = make(1 << 20, 8, 10);
  llmd__index ix;
  (void)state;
  assert_int_equal(llmd__index_size(&big), 0);
  assert_int_equal(llmd__index_size(&small), 0);
  assert_true(llmd__index_size(NULL) > (60u << 20));
  assert_int_equal(llmd__index_format(f->mem, f->size - 1, &o), LLMD_E_INVALID);
  assert_int_equal(llmd__index_format((char *)f->mem + 8, f->size, &o), LLMD_E_INVALID);
  assert_int_equal(llmd__index_format(f->mem, f->size, &big), LLMD_E_RANGE);
  assert_int_equal(llmd__index_format(f->mem, f->size, &small), LLMD_E_LIMIT);
  assert_int_equal(llmd__index_attach(&ix, NULL, f->size), LLMD_E_INVALID);
  assert_int_equal(llmd__index_attach(&ix, f->mem, 10), LLMD_E_INVALID);
  assert_int_equal(llmd__index_attach(&ix, f->mem, f->size - 64), LLMD_E_MISMATCH);
  *(char *)f->mem ^= 1;
  assert_int_equal(llmd__index_attach(&ix, f->mem, f->size), LLMD_E_MISMATCH);
  drop(f);
}

/* A reader on bytes that mean nothing stays in bounds and ends (run under the sanitizers). */
static void readers_survive_rubbish(void **state)
{
  uint64_t seed = 11;
  (void)state;
  for (int round = 0; round < 300; round++) {
    fixture *f = make(128 << 10, 32, 1000);
    llmd_key a[40];
    uint32_t n;
    make_chain(1, a, 40);
    for (uint32_t i = 0; i < 32; i++)
      llmd__index_store(&f->ix, id(i, 1), a, i + 5);
    for (int hits = 0; hits < 4000; hits++) {
      size_t at = 256 + llmd_random(&seed) % (f->size - 256);
      ((unsigned char *)f->mem)[at] = (unsigned char)llmd_random(&seed);
    }
    n = llmd__index_match(&f->ix, f->scratch, a, 40, round % 2 ? LLMD_PREFIX_ANY : 0, f->who, f->blocks, CAP);
    assert_true(n <= 32);
    for (uint32_t i = 0; i < n; i++) {
      assert_true((uint32_t)f->who[i] < 32);
      assert_true(f->blocks[i] >= 1 && f->blocks[i] <= 40);
      for (uint32_t j = 0; j < i; j++)
        assert_true((uint32_t)f->who[i] != (uint32_t)f->who[j]);
    }
    drop(f);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(finds_what_was_stored),
    cmocka_unit_test(gaps_count_only_when_asked),
    cmocka_unit_test(capacity_trims_the_tail_of_the_oldest),
    cmocka_unit_test(the_reference_keeps_the_last_two),
    cmocka_unit_test(full_index_drops_the_least_recent_of_all),
    cmocka_unit_test(forgetting_is_at_once),
    cmocka_unit_test(generations_follow_each_other),
    cmocka_unit_test(epochs_wrap),
    cmocka_unit_test(many_holders_share_one_set),
    cmocka_unit_test(sets_may_run_out),
    cmocka_unit_test(newest_holder_stays_without_sets),
    cmocka_unit_test(answers_stay_in_their_room),
    cmocka_unit_test(wrong_memory_is_refused),
    cmocka_unit_test(readers_survive_rubbish),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
