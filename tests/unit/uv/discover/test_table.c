/* How the pool becomes what is wanted, in time that the test makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <llmd/uv.h>

#include "uv/discover/table.h"

#define SECOND 1000000000ull

static llmd_pool *new_pool(uint32_t endpoints)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = endpoints, .max_lanes = 2,
                                      .state_bytes = 1 << 20};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  llmd_pool *p;
  assert_int_equal(llmd_pool_open(&o, &p, NULL), 0);
  return p;
}

static void publish(llmd_pool *p)
{
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  for (int i = 0; i < 4; i++) { /* what left is swept, so that its slots are free */
    assert_true(llmd_pool_tick(p, &now, &next) >= 0);
    assert_int_equal(llmd_pool_publish(p, &now), 0);
  }
}

static void want(llmd__entries *l, const char *name, const char *address, uint32_t port, uint32_t origin)
{
  const llmd_endpoint e = {.size = sizeof e, .name = {name, strlen(name)}, .address = {address, strlen(address)}, .port = port};
  assert_int_equal(llmd__entries_add(l, &e, origin), 0);
}

static llmd_endpoint_id find(llmd_pool *p, const char *text)
{
  publish(p);
  return llmd_pool_find(p, text, strlen(text));
}

static void a_file_rules_at_once(void **state)
{
  llmd_pool *p = new_pool(8);
  llmd__table t = {.pool = p};
  llmd__entries w = {0};
  llmd_endpoint_id a;
  (void)state;
  want(&w, "a", "10.0.0.1", 80, LLMD__FROM_FILE);
  want(&w, "", "10.0.0.2", 80, LLMD__FROM_FILE);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 1), 2);
  a = find(p, "10.0.0.1:80");
  assert_int_not_equal(a, 0);
  assert_int_not_equal(find(p, "default/10.0.0.2:80"), 0);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 2), 0); /* nothing to do */
  llmd__entries_remove(&w, 1);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 3), 1);
  assert_int_equal(find(p, "10.0.0.2:80"), 0);
  assert_int_equal(find(p, "10.0.0.1:80"), a);
  llmd__entries_clear(&w);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

static void a_name_lets_go_slowly(void **state)
{
  llmd_pool *p = new_pool(8);
  llmd__table t = {.pool = p};
  llmd__entries w = {0}, none = {0};
  llmd_endpoint_id a;
  (void)state;
  want(&w, "", "10.0.0.1", 80, LLMD__FROM_DNS);
  assert_int_equal(llmd__table_apply(&t, &w, 1, SECOND), 1);
  a = find(p, "10.0.0.1:80");
  assert_int_equal(llmd__table_apply(&t, &none, 1, 2 * SECOND), 1); /* drained */
  assert_int_not_equal(t.held.at[0].leaving, 0);
  assert_int_equal(llmd__table_apply(&t, &none, 1, 3 * SECOND), 0);
  assert_int_equal(llmd__table_tick(&t, 31 * SECOND), 0);
  assert_int_equal(find(p, "10.0.0.1:80"), a);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 31 * SECOND), 1); /* it is back, and the same */
  assert_int_equal(t.held.at[0].leaving, 0);
  assert_int_equal(find(p, "10.0.0.1:80"), a);
  assert_int_equal(llmd__table_tick(&t, 100 * SECOND), 0);
  assert_int_equal(llmd__table_apply(&t, &none, 1, 100 * SECOND), 1);
  assert_int_equal(llmd__table_tick(&t, 129 * SECOND), 0);
  assert_int_equal(llmd__table_tick(&t, 130 * SECOND), 1);
  assert_int_equal(find(p, "10.0.0.1:80"), 0);
  assert_int_equal(t.held.n, 0);
  llmd__entries_clear(&w);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

/* A name or place that is wanted by somebody new is given up at once, draining or not. */
static void places_and_names_change_hands(void **state)
{
  llmd_pool *p = new_pool(8);
  llmd__table t = {.pool = p};
  llmd__entries w = {0}, v = {0};
  (void)state;
  want(&w, "a", "10.0.0.1", 80, LLMD__FROM_DNS);
  want(&w, "b", "10.0.0.2", 80, LLMD__FROM_DNS);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 1), 2);
  want(&v, "a", "10.0.0.9", 80, LLMD__FROM_FILE);
  want(&v, "c", "10.0.0.2", 80, LLMD__FROM_FILE);
  assert_int_equal(llmd__table_apply(&t, &v, 1, 2), 4);
  assert_int_equal(t.retry, 0);
  assert_int_equal(find(p, "10.0.0.1:80"), 0);
  assert_int_not_equal(find(p, "default/a"), 0);
  assert_int_equal(find(p, "default/a"), find(p, "10.0.0.9:80"));
  assert_int_equal(find(p, "default/b"), 0);
  assert_int_equal(find(p, "default/c"), find(p, "10.0.0.2:80"));
  assert_int_equal(llmd_pool_count(p), 2);
  llmd__entries_clear(&w);
  llmd__entries_clear(&v);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

static void a_former_agents_endpoints_stay(void **state)
{
  llmd_pool *p = new_pool(8);
  llmd__table old = {.pool = p}, t = {.pool = p};
  llmd__entries w = {0}, none = {0};
  llmd_endpoint_id a;
  (void)state;
  want(&w, "a", "10.0.0.1", 80, LLMD__FROM_FILE);
  want(&w, "b", "10.0.0.2", 80, LLMD__FROM_FILE);
  assert_int_equal(llmd__table_apply(&old, &w, 1, 1), 2);
  a = find(p, "default/a");
  assert_int_equal(llmd__table_adopt(&t), 0);
  assert_int_equal(llmd__table_adopt(&t), 0);
  assert_int_equal(t.held.n, 2);
  assert_int_equal(llmd__table_apply(&t, &none, 0, 2), 0); /* not everybody has spoken */
  llmd__entries_remove(&w, 1);
  assert_int_equal(llmd__table_apply(&t, &w, 0, 3), 1);
  assert_int_equal(find(p, "default/a"), a);
  assert_int_equal(t.held.at[1].leaving, 0);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 4), 1); /* everybody has: the other one is drained */
  assert_int_equal(t.held.at[1].leaving, 4);
  assert_int_equal(llmd__table_tick(&t, 4 + 30 * SECOND), 1);
  assert_int_equal(find(p, "default/a"), a);
  assert_int_equal(llmd_pool_count(p), 1);
  llmd__entries_clear(&w);
  llmd__table_clear(&old);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

static int count_labels(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  (void)id;
  *(uint32_t *)ud = e->n_labels;
  return 0;
}

static void labels_change_in_place(void **state)
{
  const llmd_label labels[2] = {{{"llm-d.ai/role", 13}, {"decode", 6}}, {{"x", 1}, {"", 0}}};
  llmd_endpoint e = {.size = sizeof e, .address = {"::1", 3}, .port = 80};
  llmd_pool *p = new_pool(8);
  llmd__table t = {.pool = p};
  llmd__entries w = {0};
  llmd_endpoint_id a;
  uint32_t n = 9;
  (void)state;
  assert_int_equal(llmd__entries_add(&w, &e, LLMD__FROM_FILE), 0);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 1), 1);
  a = find(p, "::1:80");
  llmd__entries_clear(&w);
  e.labels = labels;
  e.n_labels = 2;
  assert_int_equal(llmd__entries_add(&w, &e, LLMD__FROM_FILE), 0);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 2), 1);
  assert_int_equal(llmd__table_apply(&t, &w, 1, 3), 0);
  assert_int_equal(find(p, "::1:80"), a);
  assert_int_equal(llmd_pool_each(p, count_labels, &n), 0);
  assert_int_equal(n, 2);
  llmd__entries_clear(&w);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

static void what_does_not_fit_is_tried_again(void **state)
{
  llmd_pool *p = new_pool(2);
  llmd__table t = {.pool = p};
  llmd__entries w = {0};
  char address[20];
  (void)state;
  for (unsigned i = 1; i <= 3; i++) {
    snprintf(address, sizeof address, "10.0.0.%u", i);
    want(&w, "", address, 80, LLMD__FROM_FILE);
  }
  assert_int_equal(llmd__table_apply(&t, &w, 1, 7), 2);
  assert_int_equal(t.retry, 7 + SECOND);
  assert_int_equal(t.held.n, 2);
  llmd__entries_remove(&w, 0);
  (void)llmd__table_apply(&t, &w, 1, 8); /* the slot may not be free yet */
  publish(p);
  (void)llmd__table_apply(&t, &w, 1, 9);
  assert_int_equal(t.retry, 0);
  assert_int_not_equal(find(p, "10.0.0.3:80"), 0);
  llmd__entries_clear(&w);
  llmd__table_clear(&t);
  llmd_pool_close(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_rules_at_once),
      cmocka_unit_test(a_name_lets_go_slowly),
      cmocka_unit_test(places_and_names_change_hands),
      cmocka_unit_test(a_former_agents_endpoints_stay),
      cmocka_unit_test(labels_change_in_place),
      cmocka_unit_test(what_does_not_fit_is_tried_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
