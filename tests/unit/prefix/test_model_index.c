/* The model itself, on cases worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_index.h"

enum { rows = 4, n = 6 };

static const llmd_key key[n] = {{1, 0}, {2, 0}, {3, 0}, {3, 1}, {5, 0}, {6, 0}};
static const uint64_t name[n] = {11, 12, 13, 14, 15, 16};
static const llmd_endpoint_id first = UINT64_C(1) << 32, second = UINT64_C(1) << 32 | 1, renewed = UINT64_C(2) << 32;

static void has(const model *m, uint32_t slot, uint32_t blocks, uint32_t cpu, uint32_t disk, uint32_t remote)
{
  model_answer out[rows];
  model_query(m, key, n, out);
  assert_int_equal(out[slot].blocks, blocks);
  assert_int_equal(out[slot].lower[0], cpu);
  assert_int_equal(out[slot].lower[1], disk);
  assert_int_equal(out[slot].lower[2], remote);
}

static void counts(const model *m, uint64_t held, uint64_t blocks, uint64_t names)
{
  model_count c;
  model_counted(m, &c);
  assert_int_equal(c.held, held);
  assert_int_equal(c.blocks, blocks);
  assert_int_equal(c.names, names);
}

static void holes_end_an_answer_until_they_heal(void **state)
{
  model *m = model_make(rows);
  llmd_key found;
  (void)state;
  assert_int_equal(model_store(m, first, LLMD_TIER_GPU, key, name, n), n);
  has(m, 0, 6, 0, 0, 0);
  has(m, 1, 0, 0, 0, 0);
  assert_int_equal(model_drop(m, first, LLMD_TIER_GPU, name + 3, 1), 1);
  assert_int_equal(model_drop(m, first, LLMD_TIER_GPU, name + 3, 1), 0);
  has(m, 0, 3, 0, 0, 0);
  assert_int_equal(model_find(m, first, name[3], &found), LLMD_E_NONE);
  assert_int_equal(model_find(m, first, name[4], &found), 0);
  assert_int_equal(found.lo, 5);
  assert_int_equal(model_store(m, first, LLMD_TIER_GPU, key + 3, name + 3, 1), 1);
  has(m, 0, 6, 0, 0, 0);
  counts(m, 6, 6, 6);
  model_free(m);
}

static void a_block_counts_at_its_best_tier(void **state)
{
  model *m = model_make(rows);
  (void)state;
  model_store(m, first, LLMD_TIER_GPU, key, name, 4);
  assert_int_equal(model_hold(m, first, LLMD_TIER_CPU, name + 1, 4), 3);
  assert_int_equal(model_hold(m, first, LLMD_TIER_DISK, name + 2, 1), 1);
  has(m, 0, 4, 0, 0, 0);
  assert_int_equal(model_drop(m, first, LLMD_TIER_GPU, name + 1, 3), 3);
  has(m, 0, 4, 3, 0, 0);
  assert_int_equal(model_drop(m, first, LLMD_TIER_CPU, name + 2, 1), 1);
  has(m, 0, 4, 2, 1, 0);
  assert_int_equal(model_drop(m, first, LLMD_TIER_ANY, name + 1, 1), 1);
  has(m, 0, 1, 0, 0, 0);
  counts(m, 3, 3, 3);
  model_free(m);
}

static void the_shared_store_counts_for_all(void **state)
{
  model *m = model_make(rows);
  model_answer out[rows];
  (void)state;
  model_store(m, LLMD_INDEX_SHARED, LLMD_TIER_REMOTE, key, name, 2);
  model_store(m, first, LLMD_TIER_GPU, key, name, 1);
  model_store(m, second, LLMD_TIER_CPU, key + 2, name + 2, 1);
  assert_int_equal(model_query(m, key, n, out), 2);
  has(m, 0, 2, 0, 0, 1);
  has(m, 1, 3, 1, 0, 2);
  has(m, 2, 2, 0, 0, 2);
  assert_int_equal(model_query(m, key + 1, 2, out), 1);
  model_clear(m, LLMD_INDEX_SHARED);
  has(m, 0, 1, 0, 0, 0);
  has(m, 1, 0, 0, 0, 0);
  model_free(m);
}

static void the_newest_meaning_of_a_name_wins(void **state)
{
  model *m = model_make(rows);
  model_count c;
  llmd_key found;
  (void)state;
  model_store(m, first, LLMD_TIER_GPU, key, name, 3);
  model_store(m, second, LLMD_TIER_GPU, key, name, 3);
  model_store(m, first, LLMD_TIER_GPU, key + 4, name + 1, 1); /* 12 means key 5 now */
  has(m, 0, 1, 0, 0, 0);
  has(m, 1, 3, 0, 0, 0);
  model_counted(m, &c);
  assert_int_equal(c.renamed, 1);
  assert_int_equal(model_find(m, first, 12, &found), 0);
  assert_int_equal(found.lo, 5);
  assert_int_equal(model_find(m, second, 12, &found), 0);
  assert_int_equal(found.lo, 2);
  model_store(m, second, LLMD_TIER_GPU, key, name + 5, 1); /* key 1 is called 16 now, no longer 11 */
  assert_int_equal(model_find(m, second, 11, &found), LLMD_E_NONE);
  assert_int_equal(model_drop(m, second, LLMD_TIER_GPU, name + 5, 1), 1);
  has(m, 1, 0, 0, 0, 0);
  model_free(m);
}

static void promises_end(void **state)
{
  model *m = model_make(rows);
  (void)state;
  model_expect(m, first, key, 3, 10);
  model_expect(m, first, key, 1, 5);
  has(m, 0, 3, 0, 0, 0);
  model_tick(m, 7);
  has(m, 0, 3, 0, 0, 0);
  model_store(m, first, LLMD_TIER_CPU, key, name, 2);
  has(m, 0, 3, 0, 0, 0);
  model_tick(m, 10);
  has(m, 0, 2, 2, 0, 0);
  counts(m, 2, 2, 2);
  model_free(m);
}

static void old_generations_are_not_heard(void **state)
{
  model *m = model_make(rows);
  llmd_key found;
  (void)state;
  model_store(m, first, LLMD_TIER_GPU, key, name, 3);
  assert_int_equal(model_store(m, renewed, LLMD_TIER_GPU, key, name, 1), 1);
  has(m, 0, 1, 0, 0, 0);
  assert_int_equal(model_store(m, first, LLMD_TIER_GPU, key, name, 3), LLMD_E_STALE);
  assert_int_equal(model_drop(m, first, LLMD_TIER_ANY, name, 1), LLMD_E_STALE);
  assert_int_equal(model_clear(m, first), LLMD_E_STALE);
  assert_int_equal(model_find(m, renewed, name[2], &found), LLMD_E_NONE);
  assert_int_equal(model_endpoint(m, 0), renewed);
  assert_int_equal(model_clear(m, renewed), 0);
  has(m, 0, 0, 0, 0, 0);
  assert_int_equal(model_store(m, UINT64_C(1) << 32 | rows, LLMD_TIER_GPU, key, name, 1), LLMD_E_RANGE);
  counts(m, 0, 0, 0);
  model_free(m);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(holes_end_an_answer_until_they_heal), cmocka_unit_test(a_block_counts_at_its_best_tier),
    cmocka_unit_test(the_shared_store_counts_for_all),     cmocka_unit_test(the_newest_meaning_of_a_name_wins),
    cmocka_unit_test(promises_end),                        cmocka_unit_test(old_generations_are_not_heard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
