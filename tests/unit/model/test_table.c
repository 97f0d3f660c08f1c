/* The small table of plugin state: time to live, who goes first when a bucket is full, keys that share a bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/plugin.h>

#include "model/table.h"

static llmd__table *make(uint32_t entries)
{
  size_t bytes = llmd__table_bytes(entries);
  void *mem = calloc(1, bytes);
  assert_non_null(mem);
  assert_int_equal(llmd__table_init(mem, bytes, NULL), 0);
  return mem;
}

static int get(const llmd__table *t, uint64_t lo, uint64_t hi, uint64_t now)
{
  uint64_t v = 0;
  return llmd__table_get(t, lo, hi, now, &v) ? (int)v : -1;
}

static void puts_gets_deletes(void **state)
{
  llmd__table *t = make(100);
  uint64_t untouched = 42;
  (void)state;
  assert_int_equal(llmd__table_get(t, 1, 2, 0, &untouched), 0);
  assert_int_equal(untouched, 42);
  llmd__table_put(t, 1, 2, 10, 0, 0);
  llmd__table_put(t, 1, 3, 11, 0, 0); /* the halves both count */
  llmd__table_put(t, 0, 0, 12, 0, 0); /* a key of zeros is a key */
  assert_int_equal(get(t, 1, 2, 0), 10);
  assert_int_equal(get(t, 1, 3, 0), 11);
  assert_int_equal(get(t, 0, 0, 0), 12);
  llmd__table_put(t, 1, 2, 20, 0, 0);
  assert_int_equal(get(t, 1, 2, 0), 20);
  llmd__table_del(t, 1, 2);
  llmd__table_del(t, 9, 9);
  assert_int_equal(get(t, 1, 2, 0), -1);
  assert_int_equal(get(t, 1, 3, 0), 11);
  free(t);
}

static void values_live_as_long_as_they_should(void **state)
{
  llmd__table *t = make(100);
  (void)state;
  llmd__table_put(t, 1, 1, 5, 1000, 50);
  assert_int_equal(get(t, 1, 1, 1049), 5);
  assert_int_equal(get(t, 1, 1, 1050), -1);
  llmd__table_put(t, 1, 1, 6, 1040, 50); /* a write renews */
  assert_int_equal(get(t, 1, 1, 1080), 6);
  llmd__table_put(t, 1, 1, 7, 1080, 0);
  assert_int_equal(get(t, 1, 1, UINT64_MAX), 7);
  llmd__table_put(t, 2, 2, 8, 1000, UINT64_MAX); /* longer than there is time */
  assert_int_equal(get(t, 2, 2, UINT64_MAX - 1), 8);
  free(t);
}

/* Two buckets of eight, so that all even keys collide. */
static void put(llmd__table *t, uint64_t k, uint64_t now, uint64_t ttl)
{
  llmd__table_put(t, 2 * k, 0, k, now, ttl);
}

static int there(const llmd__table *t, uint64_t k, uint64_t now)
{
  int v = get(t, 2 * k, 0, now);
  assert_true(v == -1 || v == (int)k);
  return v >= 0;
}

static void the_one_written_longest_ago_goes(void **state)
{
  llmd__table *t = make(1);
  (void)state;
  for (uint64_t k = 0; k < 8; k++)
    put(t, k, 0, 0);
  put(t, 0, 0, 0);             /* no longer the oldest */
  assert_true(there(t, 1, 0)); /* reading does not count */
  put(t, 50, 0, 0);
  assert_false(there(t, 1, 0));
  put(t, 51, 0, 0);
  assert_false(there(t, 2, 0));
  assert_true(there(t, 0, 0) && there(t, 50, 0) && there(t, 51, 0));
  for (uint64_t k = 3; k < 8; k++)
    assert_true(there(t, k, 0));
  free(t);
}

static void dead_and_deleted_ones_go_first(void **state)
{
  llmd__table *t = make(1);
  (void)state;
  for (uint64_t k = 0; k < 8; k++)
    put(t, k, 0, k == 6 ? 10 : 0);
  put(t, 50, 5, 0); /* nobody is dead yet: the oldest */
  assert_false(there(t, 0, 5));
  assert_true(there(t, 6, 5));
  put(t, 51, 10, 0);
  assert_false(there(t, 6, 5));
  llmd__table_del(t, 2 * 4, 0);
  put(t, 52, 10, 0);
  for (uint64_t k = 1; k < 8; k++)
    assert_int_equal(there(t, k, 11), k != 4 && k != 6);
  assert_true(there(t, 50, 11) && there(t, 51, 11) && there(t, 52, 11));
  free(t);
}

/* As many as it was asked for do fit, but for unlucky buckets. */
static void holds_what_it_was_made_for(void **state)
{
  llmd__table *t = make(1000);
  uint64_t stream = 1, again = 1;
  uint32_t found = 0;
  (void)state;
  for (uint64_t k = 0; k < 1000; k++)
    llmd__table_put(t, llmd_random(&stream), k, k, 0, 0);
  for (uint64_t k = 0; k < 1000; k++)
    found += get(t, llmd_random(&again), k, 0) == (int)k;
  assert_true(found > 900);
  free(t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(puts_gets_deletes), cmocka_unit_test(values_live_as_long_as_they_should),
      cmocka_unit_test(the_one_written_longest_ago_goes), cmocka_unit_test(dead_and_deleted_ones_go_first),
      cmocka_unit_test(holds_what_it_was_made_for)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
