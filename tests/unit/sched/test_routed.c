/* Traffic that somebody else routed: charged and learnt from like one's own. */
#include "small_rig.h"

static const char policy[] = HEAD "- type: prefix-cache-scorer\n- type: active-request-scorer\nschedulingProfiles:\n"
                                  "- name: default\n  plugins:\n  - pluginRef: prefix-cache-scorer\n    weight: 5\n"
                                  "  - pluginRef: active-request-scorer\n";

static void body(rig *r, unsigned text)
{
  static char b[1024]; /* the request keeps it */
  int n = snprintf(b, sizeof b, "{\"model\":\"m\",\"prompt\":\"%u ", text);
  for (unsigned i = 0; i < 600; i++)
    b[n++] = (char)('a' + (i * (text + 3)) % 26);
  snprintf(b + n, sizeof b - (size_t)n, "\"}");
  rig_body(r, b);
}

static void it_is_charged_and_given_back(void **state)
{
  llmd_ticket t = 0, u = 0;
  rig r;
  (void)state;
  rig_open(&r, 4, policy, NULL, NULL);
  body(&r, 1);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[2], &r.now, &t), 0);
  assert_true(t != 0);
  assert_int_equal(rig_inflight(&r, 2), 1);
  body(&r, 1); /* the next request; the first stays charged */
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[2], &r.now, &u), 0);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[1], &r.now, NULL), 0);
  assert_int_equal(rig_inflight(&r, 2), 2);
  assert_int_equal(rig_inflight(&r, 1), 1);
  assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_END, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, u, LLMD_REPORT_END, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, u, LLMD_REPORT_END, NULL, &r.now), LLMD_E_STALE);
  assert_int_equal(rig_inflight(&r, 2), 0);
  rig_close(&r);
}

static void it_is_learnt_from(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 8, policy, NULL, NULL);
  for (unsigned k = 0; k < 8; k++) {
    llmd_ticket t;
    body(&r, k);
    assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[7 - k], &r.now, &t), 0);
    assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_END, NULL, &r.now), 0);
  }
  for (unsigned k = 0; k < 8; k++) {
    body(&r, k);
    assert_int_equal(rig_goes_to(&r, k), (int)(7 - k));
  }
  rig_close(&r);
}

static void a_decision_that_came_before_is_taken_back(void **state)
{
  int first;
  rig r;
  (void)state;
  rig_open(&r, 4, policy, NULL, NULL);
  body(&r, 1);
  first = rig_goes_to(&r, 1);
  assert_true(first >= 0);
  assert_int_equal(rig_inflight(&r, (uint32_t)first), 1);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[(first + 1) % 4], &r.now, NULL), 0);
  assert_int_equal(rig_inflight(&r, (uint32_t)first), 0);
  assert_int_equal(rig_inflight(&r, (uint32_t)(first + 1) % 4), 1);
  rig_close(&r);
}

static void what_cannot_be_is_refused(void **state)
{
  static const char half[] = "{\"model\":\"m\",";
  llmd_ticket t = 77;
  rig r;
  (void)state;
  rig_open(&r, 2, policy, NULL, NULL);
  body(&r, 1);
  assert_int_equal(llmd_commit_routed(NULL, r.request, r.id[0], &r.now, &t), LLMD_E_INVALID);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, 0, &r.now, &t), LLMD_E_INVALID);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[0] + ((uint64_t)1 << 32), &r.now, &t), LLMD_E_STALE);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[0] + 40000, &r.now, &t), LLMD_E_STALE);
  llmd_request_reset(r.request);
  assert_int_equal(llmd_request_feed(r.request, half, sizeof half - 1, 0), 0);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[0], &r.now, &t), LLMD_E_STATE);
  assert_true(t == 77);
  assert_int_equal(rig_inflight(&r, 0) + rig_inflight(&r, 1), 0);
  rig_close(&r);
}

/* An endpoint that drains takes no new requests by decision; whoever sent one there anyway is charged. */
static void a_draining_endpoint_is_charged_too(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, policy, NULL, NULL);
  assert_int_equal(llmd_pool_drain(r.pool, r.id[0], 1), 0);
  rig_publish(&r);
  body(&r, 1);
  assert_int_equal(rig_goes_to(&r, 1), -1);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[0], &r.now, NULL), 0);
  assert_int_equal(rig_inflight(&r, 0), 1);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_charged_and_given_back), cmocka_unit_test(it_is_learnt_from),
      cmocka_unit_test(a_decision_that_came_before_is_taken_back), cmocka_unit_test(what_cannot_be_is_refused),
      cmocka_unit_test(a_draining_endpoint_is_charged_too)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
