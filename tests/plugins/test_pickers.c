/* The pickers: who is chosen, in what order, and how chance is shared out. */
#include "self.h"

#include <math.h>

extern const llmd_plugin llmd__max_score_picker, llmd__random_picker, llmd__weighted_random_picker;

#define MOST 1000

static const llmd_plugin *const all[] = {&llmd__max_score_picker, &llmd__random_picker, &llmd__weighted_random_picker};

/* Picks with maxNumOfEndpoints = max. Returns the number of picks. */
static int pick(const llmd_plugin *p, const char *max, const double *total, uint32_t n, uint64_t seed, uint32_t *out,
                uint32_t cap)
{
  static double scratch[MOST * 2];
  test_self self;
  llmd_batch b;
  self_init(&self, p);
  assert_int_equal(self_set(&self, p, "maxNumOfEndpoints", max), 0);
  assert_int_equal(self_check(&self, p), 0);
  assert_true(p->scratch_fixed + n * p->scratch_each <= sizeof scratch);
  memset(&b, 0, sizeof b);
  b.size = sizeof b;
  b.n = n;
  b.scratch = scratch;
  b.seed = seed;
  return p->pick(self.at.bytes, &b, total, out, cap);
}

static uint64_t seed_of(uint32_t i)
{
  uint64_t state = i;
  return llmd_random(&state);
}

/* count within 5 standard deviations of rounds * p */
static void assert_share(uint32_t count, uint32_t rounds, double p)
{
  double mean = rounds * p, sigma = sqrt(rounds * p * (1 - p));
  if (fabs(count - mean) > 5 * sigma)
    fail_msg("drawn %u times of %u, expected %.1f +- %.1f", (unsigned)count, (unsigned)rounds, mean, sigma);
}

static void descriptors(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    check_descriptor(all[i]);
}

static void highest_first(void **state)
{
  static const double unsorted[] = {10, 25, 15}, rising[] = {20, 25, 30};
  uint32_t out[4];
  (void)state;
  assert_int_equal(pick(&llmd__max_score_picker, "1", unsorted, 3, 7, out, 4), 1);
  assert_int_equal(out[0], 1);
  assert_int_equal(pick(&llmd__max_score_picker, "2", rising, 3, 7, out, 4), 2);
  assert_int_equal(out[0], 2);
  assert_int_equal(out[1], 1);
  assert_int_equal(pick(&llmd__max_score_picker, "4", rising, 3, 7, out, 4), 3);
  assert_int_equal(out[2], 0);
}

static void counts(void **state)
{
  static const double total[] = {3, 1, 2};
  uint32_t out[4], i;
  (void)state;
  for (i = 0; i < 3; i++) {
    assert_int_equal(pick(all[i], "0", total, 3, 1, out, 4), 1);
    assert_int_equal(pick(all[i], "-5", total, 3, 1, out, 4), 1);
    assert_int_equal(pick(all[i], "9000000000000", total, 3, 1, out, 4), 3);
    assert_int_equal(pick(all[i], "3", total, 3, 1, out, 2), 2);
    assert_int_equal(pick(all[i], "2", total, 0, 1, out, 4), 0);
    assert_int_equal(pick(all[i], "2", total, 1, 1, out, 4), 1);
    assert_int_equal(out[0], 0);
  }
}

static void ties_are_even(void **state)
{
  static const double total[] = {1, 5, -3, 5, 5, 4.999999};
  uint32_t count[6] = {0}, out[1], i, rounds = 30000;
  (void)state;
  for (i = 0; i < rounds; i++) {
    assert_int_equal(pick(&llmd__max_score_picker, "1", total, 6, seed_of(i), out, 1), 1);
    count[out[0]]++;
  }
  assert_share(count[1], rounds, 1.0 / 3);
  assert_share(count[3], rounds, 1.0 / 3);
  assert_share(count[4], rounds, 1.0 / 3);
  assert_int_equal(count[0] + count[2] + count[5], 0);
}

/* Three equal candidates have six orders. */
static void orders_are_even(const llmd_plugin *p, const double *total)
{
  uint32_t count[27] = {0}, out[3], i, rounds = 30000, kinds = 0;
  for (i = 0; i < rounds; i++) {
    assert_int_equal(pick(p, "3", total, 3, seed_of(i), out, 3), 3);
    count[out[0] * 9 + out[1] * 3 + out[2]]++;
  }
  for (i = 0; i < 27; i++)
    if (count[i]) {
      assert_share(count[i], rounds, 1.0 / 6);
      kinds++;
    }
  assert_int_equal(kinds, 6);
}

static void orders_of_equals(void **state)
{
  static const double same[] = {2, 2, 2}, zero[] = {0, 0, 0}, below[] = {-1, -1, -1};
  (void)state;
  orders_are_even(&llmd__max_score_picker, same);
  orders_are_even(&llmd__max_score_picker, below);
  orders_are_even(&llmd__random_picker, same);
  orders_are_even(&llmd__weighted_random_picker, same);
  orders_are_even(&llmd__weighted_random_picker, zero);
}

static int descending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Against sorting everything, with many ties. */
static void best_k_of_many(void **state)
{
  static double total[MOST], sorted[MOST];
  uint64_t rng = 42;
  uint32_t round, i, j, out[32];
  (void)state;
  for (round = 0; round < 200; round++) {
    uint32_t n = 1 + (uint32_t)(llmd_random(&rng) % MOST), k = 1 + (uint32_t)(llmd_random(&rng) % 32);
    char max[16];
    int got;
    for (i = 0; i < n; i++)
      total[i] = sorted[i] = (double)(llmd_random(&rng) % (round % 2 ? 7 : 100000));
    qsort(sorted, n, sizeof *sorted, descending);
    snprintf(max, sizeof max, "%u", (unsigned)k);
    got = pick(&llmd__max_score_picker, max, total, n, rng, out, 32);
    assert_int_equal(got, k < n ? k : n);
    for (i = 0; i < (uint32_t)got; i++) {
      assert_true(out[i] < n);
      assert_true(total[out[i]] == sorted[i]);
      for (j = 0; j < i; j++)
        assert_int_not_equal(out[i], out[j]);
    }
  }
}

static void same_seed_same_pick(void **state)
{
  static const double total[] = {1, 1, 1, 1, 1, 1, 1, 1};
  uint32_t a[4], b[4], i, s, changed;
  (void)state;
  for (i = 0; i < 3; i++)
    for (s = 0, changed = 0; s < 50; s++) {
      pick(all[i], "4", total, 8, seed_of(s), a, 4);
      pick(all[i], "4", total, 8, seed_of(s), b, 4);
      assert_memory_equal(a, b, sizeof a);
      pick(all[i], "4", total, 8, seed_of(s + 1000), b, 4);
      changed += memcmp(a, b, sizeof a) != 0;
      assert_true(s < 49 || changed > 25);
    }
}

static void random_is_even(void **state)
{
  static const double total[] = {9, 1, 0, -2, 5};
  uint32_t first[5] = {0}, any[5] = {0}, out[3], i, j, rounds = 20000;
  (void)state;
  for (i = 0; i < rounds; i++) {
    assert_int_equal(pick(&llmd__random_picker, "1", total, 5, seed_of(i), out, 3), 1);
    first[out[0]]++;
    assert_int_equal(pick(&llmd__random_picker, "3", total, 5, seed_of(i), out, 3), 3);
    for (j = 0; j < 3; j++)
      any[out[j]]++;
    assert_true(out[0] != out[1] && out[0] != out[2] && out[1] != out[2]);
  }
  for (i = 0; i < 5; i++) {
    assert_share(first[i], rounds, 0.2);
    assert_share(any[i], rounds, 0.6);
  }
}

static void weights_count(void **state)
{
  static const double total[] = {1, 2, 3, 4, 0, -1};
  uint32_t first[6] = {0}, pair[6][6] = {{0}}, out[2], i, j, rounds = 40000;
  (void)state;
  for (i = 0; i < rounds; i++) {
    assert_int_equal(pick(&llmd__weighted_random_picker, "1", total, 6, seed_of(i), out, 2), 1);
    first[out[0]]++;
    assert_int_equal(pick(&llmd__weighted_random_picker, "2", total, 6, seed_of(i), out, 2), 2);
    pair[out[0]][out[1]]++;
  }
  for (i = 0; i < 4; i++) {
    assert_share(first[i], rounds, total[i] / 10);
    for (j = 0; j < 4; j++)
      if (i != j)
        assert_share(pair[i][j], rounds, total[i] / 10 * total[j] / (10 - total[i]));
  }
  assert_int_equal(first[4] + first[5], 0);
}

static void zeros_only_fill(void **state)
{
  static const double total[] = {30, 0, 0, 0}, tiny[] = {1e-300, 1, 0};
  uint32_t second[4] = {0}, out[3], i, rounds = 20000;
  (void)state;
  for (i = 0; i < rounds; i++) {
    assert_int_equal(pick(&llmd__weighted_random_picker, "2", total, 4, seed_of(i), out, 3), 2);
    assert_int_equal(out[0], 0);
    second[out[1]]++;
    assert_int_equal(pick(&llmd__weighted_random_picker, "3", tiny, 3, seed_of(i), out, 3), 3);
    assert_true(out[0] == 1 && out[1] == 0 && out[2] == 2);
  }
  for (i = 1; i < 4; i++)
    assert_share(second[i], rounds, 1.0 / 3);
}

/* The short cut by log(U) <= U - 1 must change nothing: all keys, by another logarithm, and the largest. */
static void weighted_by_definition(void **state)
{
  static double total[MOST];
  uint64_t rng = 7;
  uint32_t round, i, out[1];
  (void)state;
  for (round = 0; round < 300; round++) {
    uint32_t n = 1 + (uint32_t)(llmd_random(&rng) % MOST), best = 0;
    uint64_t seed = llmd_random(&rng), stream = seed;
    long double highest = 0;
    for (i = 0; i < n; i++) {
      long double u, key;
      total[i] = 0.001 + llmd_random_unit(&rng) * (round % 3 ? 1 : 1000);
      u = ((long double)(llmd_random(&stream) >> 12) + 0.5L) / 4503599627370496.0L;
      key = logl(u) / (long double)total[i];
      if (i == 0 || key > highest) {
        highest = key;
        best = i;
      }
    }
    assert_int_equal(pick(&llmd__weighted_random_picker, "1", total, n, seed, out, 1), 1);
    assert_int_equal(out[0], best);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors),      cmocka_unit_test(highest_first),    cmocka_unit_test(counts),
    cmocka_unit_test(ties_are_even),    cmocka_unit_test(orders_of_equals), cmocka_unit_test(best_k_of_many),
    cmocka_unit_test(same_seed_same_pick), cmocka_unit_test(random_is_even), cmocka_unit_test(weights_count),
    cmocka_unit_test(zeros_only_fill),  cmocka_unit_test(weighted_by_definition),
  };
  return cmocka_run_group_tests_name("pickers", tests, NULL, NULL);
}
