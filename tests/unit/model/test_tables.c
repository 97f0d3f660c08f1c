/* The host's tables: priorities by objective, models drawn by weight. */
#include "small_pool.h"

#include "model/pool.h"

static int32_t priority(const llmd_pool *p, const char *name)
{
  llmd_str s = str(name);
  return llmd__tables_priority(p, &s);
}

static void set_objective(llmd_pool *p, const char *name, int32_t v)
{
  assert_int_equal(llmd_pool_objective(p, name, strlen(name), &v), 0);
}

static void objectives(void **state)
{
  llmd_pool *p = small_pool(4);
  int32_t v = 1;
  (void)state;
  assert_int_equal(priority(p, "batch"), 0);
  set_objective(p, "batch", -5);
  set_objective(p, "chat", 10);
  assert_int_equal(priority(p, "batch"), -5);
  assert_int_equal(priority(p, "chat"), 10);
  assert_int_equal(priority(p, ""), 0);
  set_objective(p, "batch", 3);
  assert_int_equal(priority(p, "batch"), 3);
  assert_int_equal(llmd_pool_objective(p, "batch", 5, NULL), 0);
  assert_int_equal(priority(p, "batch"), 0);
  assert_int_equal(priority(p, "chat"), 10);
  assert_int_equal(llmd_pool_objective(p, "gone", 4, NULL), 0);
  assert_int_equal(llmd_pool_objective(p, "", 0, &v), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_objective(p, NULL, 3, &v), LLMD_E_INVALID);
  llmd_pool_close(p);
}

/* How often each target of `model` comes out of n different chances. */
static void draw(const llmd_pool *p, const char *model, uint64_t n, uint32_t *count)
{
  llmd_str from = str(model), to;
  memset(count, 0, 3 * sizeof *count);
  for (uint64_t chance = 0; chance < n; chance++) {
    assert_int_equal(llmd__tables_rewrite(p, &from, chance * 0x9e3779b97f4a7c15u >> 7, &to), 1);
    assert_int_equal(to.len, 1);
    count[to.ptr[0] - 'x']++;
  }
}

static void rewrites_by_weight(void **state)
{
  llmd_rewrite_target t[3] = {{{"x", 1}, 0, 0}, {{"y", 1}, 1, 0}, {{"z", 1}, 3, 0}};
  llmd_pool *p = small_pool(4);
  uint32_t n[3];
  (void)state;
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, t, 3), 0);
  draw(p, "m", 4000, n);
  assert_int_equal(n[0], 0); /* without weight, among weights: never */
  assert_true(n[1] > 850 && n[1] < 1150 && n[1] + n[2] == 4000);
  t[1].weight = t[2].weight = 0;
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, t, 3), 0);
  draw(p, "m", 3000, n);
  for (int i = 0; i < 3; i++)
    assert_true(n[i] > 850 && n[i] < 1150);
  llmd_pool_close(p);
}

static void exact_rules_before_the_general_one(void **state)
{
  llmd_rewrite_target x = {{"x", 1}, 1, 0}, y = {{"y", 1}, 1, 0};
  llmd_str m = {"m", 1}, other = {"other", 5}, to = {"untouched", 9};
  llmd_pool *p = small_pool(4);
  (void)state;
  assert_int_equal(llmd__tables_rewrite(p, &m, 0, &to), 0);
  assert_int_equal(to.len, 9);
  assert_int_equal(llmd_pool_rewrite(p, NULL, 0, &y, 1), 0);
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, &x, 1), 0);
  assert_int_equal(llmd__tables_rewrite(p, &m, 0, &to), 1);
  assert_int_equal(to.ptr[0], 'x');
  assert_int_equal(llmd__tables_rewrite(p, &other, 0, &to), 1);
  assert_int_equal(to.ptr[0], 'y');
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, NULL, 0), 0);
  assert_int_equal(llmd__tables_rewrite(p, &m, 0, &to), 1);
  assert_int_equal(to.ptr[0], 'y');
  assert_int_equal(llmd_pool_rewrite(p, "", 0, NULL, 0), 0);
  assert_int_equal(llmd__tables_rewrite(p, &m, 0, &to), 0);
  llmd_pool_close(p);
}

static void what_is_no_rule_is_refused(void **state)
{
  static llmd_rewrite_target many[65];
  llmd_rewrite_target bad = {{"", 0}, 1, 0}, heavy = {{"x", 1}, 1000001, 0};
  llmd_str m = {"m", 1}, to;
  llmd_pool *p = small_pool(4);
  (void)state;
  for (int i = 0; i < 65; i++)
    many[i].model = m;
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, &bad, 1), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, &heavy, 1), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, NULL, 1), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_rewrite(p, NULL, 1, many, 1), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_rewrite(p, "m", 1, many, 65), LLMD_E_LIMIT);
  assert_int_equal(llmd__tables_rewrite(p, &m, 0, &to), 0);
  llmd_pool_close(p);
}

/* What the allocator holds. */
static void *count_bytes(void *ud, void *ptr, size_t osize, size_t nsize)
{
  size_t *held = ud;
  *held += nsize - (ptr ? osize : 0);
  if (!nsize) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, nsize);
}

static void old_copies_go(void **state)
{
  size_t held = 0, before, one;
  llmd_allocator a = {sizeof a, 0, count_bytes, &held};
  llmd_region_options ro = small_region(4);
  llmd_pool_options po = {.size = sizeof po, .region = &ro, .alloc = &a};
  llmd__snapshot snap;
  llmd_pool *p;
  uint32_t lane;
  (void)state;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  publish(p);
  before = held;
  set_objective(p, "batch", -1);
  set_objective(p, "batch", 0);
  one = held - before;
  for (int32_t i = 1; i < 100; i++)
    set_objective(p, "batch", i);
  assert_int_equal(held, before + one);
  assert_int_equal(llmd__pool_lane_take(p, &lane), 0);
  assert_int_equal(llmd__pool_pin(p, lane, &snap), 0); /* a lane may be reading an old one */
  set_objective(p, "batch", 200);
  set_objective(p, "batch", 300);
  assert_int_equal(held, before + 3 * one);
  llmd__pool_unpin(p, lane);
  set_objective(p, "batch", 400);
  assert_int_equal(held, before + one);
  assert_int_equal(priority(p, "batch"), 400);
  llmd__pool_lane_leave(p, lane);
  llmd_pool_close(p);
  assert_int_equal(held, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(objectives), cmocka_unit_test(rewrites_by_weight),
                                     cmocka_unit_test(exact_rules_before_the_general_one),
                                     cmocka_unit_test(what_is_no_rule_is_refused), cmocka_unit_test(old_copies_go)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
