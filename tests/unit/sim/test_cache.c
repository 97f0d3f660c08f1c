#include "sim_test.h"

#include <llmd/error.h>

#include "sim_cache.h"
#include "sim_rng.h"

static void oldest_goes_first(void **state)
{
  struct sim_cache c;
  (void)state;
  assert_int_equal(sim_cache_init(&c, 4), 0);
  assert_int_equal(c.n_free, 4);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(sim_cache_take(&c), i);
  assert_int_equal(sim_cache_take(&c), SIM_NO_BLOCK);
  sim_cache_drop(&c, 2);
  sim_cache_drop(&c, 0);
  sim_cache_drop(&c, 3);
  assert_int_equal(c.n_free, 3);
  assert_int_equal(sim_cache_take(&c), 2);
  assert_int_equal(sim_cache_take(&c), 0);
  assert_int_equal(sim_cache_take(&c), 3);
  sim_cache_free(&c);
}

static void names_live_until_taken(void **state)
{
  struct sim_cache c;
  uint32_t a, b;
  (void)state;
  assert_int_equal(sim_cache_init(&c, 2), 0);
  a = sim_cache_take(&c);
  sim_cache_name(&c, a, 77);
  assert_int_equal(sim_cache_find(&c, 77), a);
  sim_cache_drop(&c, a);
  assert_int_equal(sim_cache_find(&c, 77), a);
  sim_cache_hold(&c, a); /* back into use, off the list */
  assert_int_equal(c.n_free, 1);
  b = sim_cache_take(&c);
  assert_int_not_equal(a, b);
  assert_int_equal(c.evictions, 0);
  sim_cache_drop(&c, a);
  assert_int_equal(sim_cache_take(&c), a);
  assert_int_equal(sim_cache_find(&c, 77), SIM_NO_BLOCK);
  assert_int_equal(c.evictions, 1);
  sim_cache_free(&c);
}

static void two_blocks_of_one_name(void **state)
{
  struct sim_cache c;
  (void)state;
  assert_int_equal(sim_cache_init(&c, 2), 0);
  assert_int_equal(sim_cache_take(&c), 0);
  assert_int_equal(sim_cache_take(&c), 1);
  sim_cache_name(&c, 1, 5);
  sim_cache_name(&c, 0, 5);
  assert_int_equal(sim_cache_find(&c, 5), 1); /* the first named */
  sim_cache_drop(&c, 1);
  assert_int_equal(sim_cache_take(&c), 1);
  assert_int_equal(sim_cache_find(&c, 5), 0); /* the other one still has it */
  sim_cache_free(&c);
}

static void bad_sizes(void **state)
{
  struct sim_cache c;
  (void)state;
  assert_int_equal(sim_cache_init(&c, 0), LLMD_E_INVALID);
  assert_int_equal(sim_cache_init(&c, UINT32_MAX), LLMD_E_INVALID);
  sim_cache_free(&c);
}

/* Against a plain model: an array of blocks with a time of last drop. */
static void random_walk_agrees_with_a_model(void **state)
{
  enum { N = 37, NAMES = 60 };
  struct { uint32_t refs; uint64_t name, dropped; } model[N] = {{0}};
  struct sim_cache c;
  struct sim_rng rng;
  uint64_t clock = N;
  (void)state;
  sim_rng_init(&rng, 9, 9);
  assert_int_equal(sim_cache_init(&c, N), 0);
  for (uint32_t i = 0; i < N; i++)
    model[i].dropped = i;
  for (int step = 0; step < 20000; step++) {
    uint32_t i = sim_rng_below(&rng, N);
    if (sim_rng_below(&rng, 3) && model[i].refs) {
      sim_cache_drop(&c, i);
      if (--model[i].refs == 0)
        model[i].dropped = clock++;
    } else if (sim_rng_below(&rng, 2) && model[i].name) {
      sim_cache_hold(&c, i);
      model[i].refs++;
    } else {
      uint32_t oldest = SIM_NO_BLOCK;
      for (uint32_t j = 0; j < N; j++)
        if (model[j].refs == 0 && (oldest == SIM_NO_BLOCK || model[j].dropped < model[oldest].dropped))
          oldest = j;
      assert_int_equal(sim_cache_take(&c), oldest);
      if (oldest == SIM_NO_BLOCK)
        continue;
      model[oldest].refs = 1;
      model[oldest].name = 1 + sim_rng_below(&rng, NAMES);
      sim_cache_name(&c, oldest, model[oldest].name);
    }
    uint64_t name = 1 + sim_rng_below(&rng, NAMES);
    uint32_t found = sim_cache_find(&c, name), there = 0;
    for (uint32_t j = 0; j < N; j++)
      there |= model[j].name == name;
    assert_int_equal(found != SIM_NO_BLOCK, there);
    if (found != SIM_NO_BLOCK)
      assert_int_equal(model[found].name, name);
  }
  sim_cache_free(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(oldest_goes_first),        cmocka_unit_test(names_live_until_taken),
    cmocka_unit_test(two_blocks_of_one_name),   cmocka_unit_test(bad_sizes),
    cmocka_unit_test(random_walk_agrees_with_a_model),
  };
  return cmocka_run_group_tests_name("sim/cache", tests, NULL, NULL);
}
