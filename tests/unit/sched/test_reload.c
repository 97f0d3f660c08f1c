/* Another configuration while lanes decide: what was learned stays, what cannot be loaded changes nothing. */
#include "small_rig.h"

#define BODY "{\"model\":\"m\",\"prompt\":\"%0600d\"}"
#define PREFIX HEAD "- type: prefix-cache-scorer\n- type: max-score-picker\n"

static const char *body_of(int i)
{
  static char body[800];
  snprintf(body, sizeof body, BODY, i);
  return body;
}

static void what_was_learned_is_found_after_a_reload(void **state)
{
  llmd_scheduler *next;
  rig r;
  (void)state;
  rig_open(&r, 4, PREFIX, NULL, NULL);
  for (int i = 0; i < 8; i++) {
    rig_body(&r, body_of(i));
    assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
    assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[i % 4], &r.now), 0);
  }
  next = rig_schedule(&r,
                      HEAD "- type: queue-scorer\n- type: prefix-cache-scorer\n- type: max-score-picker\n"
                           "schedulingProfiles:\n- name: default\n  plugins:\n"
                           "  - {pluginRef: queue-scorer, weight: 0.1}\n"
                           "  - {pluginRef: prefix-cache-scorer, weight: 3}\n",
                      NULL);
  assert_int_equal(llmd_lane_switch(r.lane, next), 0);
  llmd_scheduler_free(r.scheduler); /* the owner's; the lane has left it */
  r.scheduler = next;
  for (int i = 0; i < 8; i++) {
    rig_body(&r, body_of(i));
    assert_int_equal(rig_goes_to(&r, 7), i % 4);
    assert_true(r.d.target[0].score >= 3);
  }
  assert_int_equal(rig_inflight(&r, 0), 2 + 2); /* two committed, two decided again */
  rig_close(&r);
}

static void a_bad_configuration_leaves_the_old_one(void **state)
{
  static const char *const bad[] = {HEAD "- type: no-such-scorer\n", "]",
                                    HEAD "- type: queue-scorer\n- type: queue-scorer\n"};
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: queue-scorer\n- type: max-score-picker\n", NULL, NULL);
  rig_body(&r, body_of(1));
  for (int i = 0; i < 3; i++) {
    llmd_scheduler *s = (llmd_scheduler *)&r;
    llmd_err err = LLMD_ERR_INIT;
    assert_true(llmd_scheduler_create(NULL, r.pool, bad[i], strlen(bad[i]), &s, &err) < 0);
    assert_ptr_equal(s, &r); /* untouched */
    assert_true(err.text[0] != 0);
    assert_int_equal(rig_goes_to(&r, 1), 0);
  }
  rig_close(&r);
}

static void a_lane_switches_within_its_pool_only(void **state)
{
  llmd_scheduler *s;
  rig r, other;
  (void)state;
  rig_open(&r, 3, PREFIX, NULL, NULL);
  rig_open(&other, 2, PREFIX, NULL, NULL);
  assert_int_equal(llmd_lane_switch(r.lane, other.scheduler), LLMD_E_INVALID);
  rig_body(&r, body_of(1));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  s = r.scheduler;
  assert_int_equal(llmd_lane_switch(r.lane, s), 0); /* to itself is fine */
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  rig_close(&r);
  rig_close(&other);
}

/* The owner lets go first: the lanes keep it alive. */
static void lanes_hold_their_scheduler(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3, PREFIX, NULL, NULL);
  llmd_scheduler_free(r.scheduler);
  rig_body(&r, body_of(1));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  r.scheduler = NULL;
  rig_close(&r);
}

/* Two configurations on one pool at the same time, each with lanes of its own: a canary. */
static void two_configurations_share_the_pool(void **state)
{
  llmd_scheduler *canary;
  llmd_lane *lane, *first;
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: queue-scorer\n- type: max-score-picker\n", NULL, NULL);
  canary = rig_schedule(&r, HEAD "- type: active-request-scorer\n- type: max-score-picker\n", NULL);
  assert_int_equal(llmd_lane_create(canary, LLMD_LANE_WRITER, &lane), 0);
  rig_body(&r, body_of(1));
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  first = r.lane;
  r.lane = lane;
  rig_body(&r, body_of(2));
  for (uint64_t seed = 0; seed < 8; seed++)
    assert_true(rig_goes_to(&r, seed) >= 1); /* it sees the other's charge */
  r.lane = first;
  llmd_lane_free(lane);
  llmd_scheduler_free(canary);
  rig_close(&r);
}

static void lanes_are_counted(void **state)
{
  llmd_lane *lane[5], *more;
  rig r;
  (void)state;
  rig_open(&r, 1, PREFIX, NULL, NULL); /* room for six lanes, one is taken */
  for (int i = 0; i < 5; i++)
    assert_int_equal(llmd_lane_create(r.scheduler, 0, &lane[i]), 0);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &more), LLMD_E_FULL);
  assert_int_equal(llmd_pool_count(r.pool), 1); /* whoever looks needs no lane */
  llmd_lane_free(lane[2]);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &lane[2]), 0);
  for (int i = 0; i < 5; i++)
    llmd_lane_free(lane[i]);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_learned_is_found_after_a_reload),
      cmocka_unit_test(a_bad_configuration_leaves_the_old_one),
      cmocka_unit_test(a_lane_switches_within_its_pool_only),
      cmocka_unit_test(lanes_hold_their_scheduler),
      cmocka_unit_test(two_configurations_share_the_pool),
      cmocka_unit_test(lanes_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
