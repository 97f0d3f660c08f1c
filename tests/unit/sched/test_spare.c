/* Other schedulers under lanes that are at work: switched, or prepared elsewhere and taken. */
#include "small_rig.h"

#include <pthread.h>
#include <time.h>

#include "toy.h"

#define BODY "{\"model\":\"m\",\"prompt\":\"hi\"}"

static llmd_scheduler_options with_toys(void)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  return so;
}

static const char *const prefers[] = {"read name\nscore text 0 default/10.0.0.1:8000",
                                      "read name\nscore text 0 default/10.0.0.2:8000"};

static void pointers_are_exchanged(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_scheduler *other;
  llmd_spare *spare = NULL;
  said s;
  rig r;
  (void)state;
  rig_open(&r, 3, toy_config(prefers[0]), &so, NULL);
  rig_body(&r, BODY);
  other = rig_schedule(&r, toy_config(prefers[1]), &so);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(llmd_lane_prepare(r.lane, other, &spare), 0);
  llmd_scheduler_free(other); /* the spare keeps it */
  assert_int_equal(rig_goes_to(&r, 1), 0);
  for (int i = 0; i < 6; i++) {
    llmd_lane_take(r.lane, spare);
    s.len = 0;
    assert_int_equal(llmd_explain_json(r.lane, said_more, &s), LLMD_E_NONE); /* that was another one's */
    assert_int_equal(rig_goes_to(&r, 1), i % 2 ? 0 : 1);
    assert_string_equal(toy_eval(r.lane, "get x"), "0 0");
  }
  llmd_spare_free(spare);
  llmd_spare_free(NULL);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(rig_inflight(&r, 0), 1); /* one request, decided again and again */
  assert_int_equal(rig_inflight(&r, 1), 0);
  rig_close(&r);
  toy_balance();
}

/* A request that was decided before the exchange is carried out and reported on after it. */
static void requests_outlive_it(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_scheduler *other;
  llmd_spare *spare;
  rig r;
  (void)state;
  rig_open(&r, 3, toy_config("score try x\nput home 1"), &so, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  other = rig_schedule(&r, toy_config("score store home\nput home 2"), &so);
  assert_int_equal(llmd_lane_prepare(r.lane, other, &spare), 0);
  llmd_lane_take(r.lane, spare);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_FIRST, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_END, NULL, &r.now), 0);
  assert_string_equal(toy_eval(r.lane, "get home"), "1 2"); /* the new text's commit ran; the table is the name's */
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  llmd_spare_free(spare);
  llmd_scheduler_free(other);
  rig_close(&r);
  toy_balance();
}

static void only_of_the_same_pool(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_spare *spare = NULL;
  rig a, b;
  (void)state;
  rig_open(&a, 1, toy_config(prefers[0]), &so, NULL);
  rig_open(&b, 1, toy_config(prefers[0]), &so, NULL);
  assert_int_equal(llmd_lane_prepare(a.lane, b.scheduler, &spare), LLMD_E_INVALID);
  assert_int_equal(llmd_lane_switch(a.lane, b.scheduler), LLMD_E_INVALID);
  assert_int_equal(llmd_lane_prepare(NULL, a.scheduler, &spare), LLMD_E_INVALID);
  assert_int_equal(llmd_lane_prepare(a.lane, a.scheduler, NULL), LLMD_E_INVALID);
  assert_null(spare);
  rig_close(&b);
  rig_close(&a);
  toy_balance();
}

static void switched(void **state)
{
  llmd_scheduler_options so = with_toys();
  llmd_scheduler *other, *plain;
  rig r;
  (void)state;
  rig_open(&r, 3, toy_config(prefers[0]), &so, NULL);
  rig_body(&r, BODY);
  other = rig_schedule(&r, toy_config(prefers[1]), &so);
  plain = rig_schedule(&r, HEAD "- type: queue-scorer\n", NULL);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(llmd_lane_switch(r.lane, other), 0);
    assert_int_equal(rig_goes_to(&r, 1), 1);
    assert_int_equal(llmd_lane_switch(r.lane, plain), 0);
    assert_int_equal(rig_goes_to(&r, 1), 0);
  }
  llmd_scheduler_free(other);
  llmd_scheduler_free(plain);
  rig_close(&r);
  toy_balance();
}

/* ---- while the lane decides ------------------------------------------------------------------------------------- */

typedef struct exchange {
  const llmd_lane *lane;
  llmd_scheduler *s[2];
  _Atomic(llmd_spare *) offered, returned;
  _Atomic int stop;
  int made;
} exchange;

static void *prepare_on(void *ud)
{
  exchange *x = ud;
  while (!atomic_load(&x->stop)) {
    llmd_spare *back = atomic_exchange(&x->returned, NULL), *next = NULL;
    llmd_spare_free(back);
    if (atomic_load(&x->offered))
      continue;
    if (llmd_lane_prepare(x->lane, x->s[x->made % 2], &next))
      return x;
    x->made++;
    atomic_store(&x->offered, next);
  }
  return NULL;
}

/* Every decision is by one text or the other, and agrees with the name of the scheduler that made it. */
static void prepared_on_another_thread(void **state)
{
  llmd_scheduler_options so = with_toys();
  exchange x = {.made = 0};
  pthread_t thread;
  void *failed = NULL;
  int by = 0, seen[2] = {0, 0};
  rig r;
  (void)state;
  rig_open(&r, 3, toy_config(prefers[1]), &so, NULL);
  rig_body(&r, BODY);
  x.lane = r.lane;
  for (int i = 0; i < 2; i++)
    x.s[i] = rig_schedule(&r, toy_config(prefers[i]), &so);
  by = 1;
  assert_int_equal(pthread_create(&thread, NULL, prepare_on, &x), 0);
  for (int taken = 0; taken < 300;) {
    llmd_spare *spare = atomic_exchange(&x.offered, NULL);
    if (spare) {
      llmd_lane_take(r.lane, spare);
      while (atomic_load(&x.returned))
        ;
      atomic_store(&x.returned, spare);
      by = taken++ % 2;
    }
    assert_int_equal(rig_goes_to(&r, 1), by);
    seen[by]++;
  }
  atomic_store(&x.stop, 1);
  pthread_join(thread, &failed);
  assert_null(failed);
  assert_true(seen[0] && seen[1]);
  llmd_spare_free(atomic_load(&x.offered));
  llmd_spare_free(atomic_load(&x.returned));
  for (int i = 0; i < 2; i++)
    llmd_scheduler_free(x.s[i]);
  rig_close(&r);
  toy_balance();
}

/* The whole way: a new text in the region, a scheduler, a spare, an exchange. How long the lane is held is printed. */
static void by_the_region(void **state)
{
  llmd_scheduler_options so = with_toys();
  struct timespec a, b;
  char config[1024];
  rig r;
  (void)state;
  rig_open(&r, 3, NULL, NULL, NULL);
  snprintf(config, sizeof config, "%s", toy_file("a.toy"));
  assert_int_equal(llmd_pool_put_policy(r.pool, "a.toy", 5, prefers[1], strlen(prefers[1]), NULL), 0);
  llmd_scheduler *now = rig_schedule(&r, config, &so);
  assert_int_equal(llmd_lane_switch(r.lane, now), 0);
  rig_body(&r, BODY);
  for (int i = 0; i < 10; i++) {
    llmd_scheduler *next;
    llmd_spare *spare;
    assert_int_equal(rig_goes_to(&r, 1), (i + 1) % 2);
    assert_int_equal(llmd_scheduler_outdated(now), 0);
    assert_int_equal(llmd_pool_put_policy(r.pool, "a.toy", 5, prefers[i % 2], strlen(prefers[i % 2]), NULL), 0);
    assert_int_equal(llmd_scheduler_outdated(now), 1);
    next = rig_schedule(&r, config, &so);
    assert_int_equal(llmd_lane_prepare(r.lane, next, &spare), 0);
    clock_gettime(CLOCK_MONOTONIC, &a);
    llmd_lane_take(r.lane, spare);
    clock_gettime(CLOCK_MONOTONIC, &b);
    llmd_spare_free(spare);
    llmd_scheduler_free(now);
    now = next;
  }
  print_message("# taken in %ld ns\n", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
  llmd_scheduler_free(now);
  rig_close(&r);
  toy_balance();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pointers_are_exchanged),
      cmocka_unit_test(requests_outlive_it),
      cmocka_unit_test(only_of_the_same_pool),
      cmocka_unit_test(switched),
      cmocka_unit_test(prepared_on_another_thread),
      cmocka_unit_test(by_the_region),
  };
  return cmocka_run_group_tests_name("spare", tests, NULL, NULL);
}
