/* Passive health in decisions: an endpoint on which requests fail is left out, tried by one request at a time, and
 * back; explanations, records and metrics say so. */
#include "small_rig.h"

#define POLICY                                                                                                         \
  HEAD "- type: queue-scorer\n- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"            \
       "  - pluginRef: queue-scorer\n  - pluginRef: max-score-picker\n"
#define BODY "{\"model\":\"m\",\"prompt\":\"hello\"}"

typedef struct text {
  size_t len;
  char data[65536];
} text;

static int to_text(void *ud, const char *ptr, size_t len)
{
  text *t = ud;
  assert_true(len < sizeof t->data - t->len);
  memcpy(t->data + t->len, ptr, len);
  t->len += len;
  t->data[t->len] = 0;
  return 0;
}

static void open_explained(rig *r, uint32_t n)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  rig_open(r, n, POLICY, &so, NULL);
}

/* Decides anew, and sends it. */
static int sent(rig *r)
{
  int to;
  rig_body(r, BODY);
  to = rig_goes_to(r, 1);
  if (to >= 0)
    assert_int_equal(llmd_commit(r->lane, r->request, &r->d, 0, &r->now), 0);
  return to;
}

static void report(rig *r, uint32_t kind)
{
  assert_int_equal(llmd_report(r->lane, r->d.ticket, kind, NULL, &r->now), 0);
}

static void fail_at(rig *r, uint32_t i, uint32_t times)
{
  for (uint32_t k = 0; k < times; k++) {
    rig_body(r, BODY);
    assert_int_equal(llmd_request_set_subset(r->request, &r->id[i], 1), 0);
    assert_int_equal(rig_goes_to(r, 1), (int)i);
    assert_int_equal(llmd_commit(r->lane, r->request, &r->d, 0, &r->now), 0);
    report(r, LLMD_REPORT_ERROR);
  }
}

static uint32_t health(const rig *r, uint32_t i)
{
  uint32_t state = 9;
  uint64_t until;
  assert_int_equal(llmd_pool_health(r->pool, r->id[i], &state, &until), 0);
  return state;
}

static void three_errors_send_requests_elsewhere(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(sent(&r), 0);
    report(&r, LLMD_REPORT_ERROR);
  }
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  assert_int_equal(sent(&r), 1);
  assert_int_equal(r.d.ladder, 0);
  report(&r, LLMD_REPORT_CANCEL);
  r.now.mono += SECOND - 1000000;
  assert_int_equal(sent(&r), 1);
  report(&r, LLMD_REPORT_END);
  rig_close(&r);
}

static void cancelled_and_finished_requests_are_no_failures(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  for (int i = 0; i < 12; i++) {
    assert_int_equal(sent(&r), 0);
    report(&r, i % 3 ? i % 3 == 1 ? LLMD_REPORT_CANCEL : LLMD_REPORT_END : LLMD_REPORT_PROGRESS);
  }
  assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  rig_close(&r);
}

static void one_request_tries_it(void **state)
{
  llmd_ticket trial;
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  fail_at(&r, 0, 3);
  r.now.mono += SECOND;
  assert_int_equal(sent(&r), 0);
  trial = r.d.ticket;
  assert_int_equal(health(&r, 0), LLMD_HEALTH_HALF_OPEN);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(sent(&r), 1);
    report(&r, LLMD_REPORT_END);
  }
  assert_int_equal(llmd_report(r.lane, trial, LLMD_REPORT_FIRST, NULL, &r.now), 0);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  assert_int_equal(sent(&r), 0);
  rig_close(&r);
}

static void a_failed_trial_is_out_for_longer(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  fail_at(&r, 0, 3);
  r.now.mono += SECOND;
  assert_int_equal(sent(&r), 0);
  report(&r, LLMD_REPORT_ERROR);
  r.now.mono += 2 * SECOND - 1000000;
  assert_int_equal(sent(&r), 1);
  r.now.mono += 1000000;
  assert_int_equal(sent(&r), 0);
  rig_close(&r);
}

/* A decision that is not carried out there leaves the trial to the next. */
static void a_trial_that_was_none_is_given_back(void **state)
{
  llmd_ticket ticket;
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  fail_at(&r, 0, 3);
  r.now.mono += SECOND;
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(llmd_request_set_exclude(r.request, &r.id[0], 1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 1); /* decided again, without it */
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[2], &r.now), 0); /* sent elsewhere */
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  assert_int_equal(sent(&r), 0);
  report(&r, LLMD_REPORT_CANCEL);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  assert_int_equal(llmd_pool_set(r.pool, r.id[0], LLMD_ATTR_WAITING, 50), 0);
  rig_publish(&r);
  assert_int_equal(sent(&r), 1); /* a candidate, but not the best one */
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  rig_body(&r, BODY);
  assert_int_equal(llmd_commit_routed(r.lane, r.request, r.id[3], &r.now, &ticket), 0);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  rig_close(&r);
}

static void those_that_are_all_out_stay_in(void **state)
{
  llmd_health_options o = {.size = sizeof o, .failures = 3, .most_percent = 100};
  llmd_endpoint_id subset[2];
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  subset[0] = r.id[1];
  subset[1] = r.id[2];
  fail_at(&r, 1, 3);
  fail_at(&r, 2, 3);
  rig_body(&r, BODY);
  assert_int_equal(llmd_request_set_subset(r.request, subset, 2), 0);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_int_equal(r.d.ladder, LLMD_LADDER_EJECTED);
  assert_int_equal(sent(&r), 0);
  assert_int_equal(r.d.ladder, 0);
  assert_int_equal(llmd_pool_set_health(r.pool, &o), 0);
  fail_at(&r, 0, 3);
  assert_int_equal(sent(&r), 3);
  fail_at(&r, 3, 3);
  assert_int_equal(sent(&r), 0); /* all are out: the best of all */
  assert_int_equal(r.d.ladder, LLMD_LADDER_EJECTED);
  r.now.mono += SECOND;
  assert_int_equal(sent(&r), 0); /* each is tried by one */
  assert_int_equal(sent(&r), 1);
  assert_int_equal(sent(&r), 2);
  assert_int_equal(r.d.ladder, 0);
  rig_close(&r);
}

static void no_more_than_half_stay_out_of_a_pool_that_shrinks(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  fail_at(&r, 0, 3);
  fail_at(&r, 1, 3);
  fail_at(&r, 2, 3); /* one too many */
  assert_int_equal(health(&r, 2), LLMD_HEALTH_WELL);
  assert_int_equal(sent(&r), 2);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[2]), 0);
  rig_publish(&r);
  assert_int_equal(sent(&r), 1); /* one of three is out, by row; the other is a candidate */
  assert_int_equal(r.d.ladder, 0);
  rig_close(&r);
}

static void a_single_endpoint_is_never_out(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, POLICY, NULL, NULL);
  fail_at(&r, 0, 9);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  assert_int_equal(sent(&r), 0);
  assert_int_equal(r.d.ladder, 0);
  rig_close(&r);
}

static void failures_between_requests_that_work_eject_nobody(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  for (uint32_t turn = 0; turn < 12; turn++) {
    fail_at(&r, 0, 2);
    assert_int_equal(sent(&r), 0);
    report(&r, LLMD_REPORT_END);
    assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  }
  fail_at(&r, 0, 2);
  assert_int_equal(sent(&r), 0);
  report(&r, LLMD_REPORT_PROGRESS); /* say nothing */
  report(&r, LLMD_REPORT_CANCEL);
  fail_at(&r, 0, 1);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  rig_close(&r);
}

/* Every request begins well there, and breaks. */
static void streams_that_break_eject(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
    assert_int_equal(sent(&r), 0);
    report(&r, LLMD_REPORT_FIRST);
    report(&r, LLMD_REPORT_ERROR);
  }
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  rig_close(&r);
}

#define TWO_PROFILES                                                                                                   \
  HEAD "- type: queue-scorer\n- type: max-score-picker\n- type: prefill-filter\n- type: decode-filter\n"                \
       "- type: always-disagg-pd-decider\n- type: disagg-profile-handler\n"                                             \
       "  parameters: {deciders: {prefill: always-disagg-pd-decider}}\nschedulingProfiles:\n"                           \
       "- name: prefill\n  plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer},"                           \
       " {pluginRef: max-score-picker}]\n"                                                                              \
       "- name: decode\n  plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer},"                             \
       " {pluginRef: max-score-picker}]\n"

/* Two that prefill and two that decode. */
static void open_two_profiles(rig *r)
{
  rig_open(r, 0, TWO_PROFILES, NULL, NULL);
  for (uint32_t i = 0; i < 4; i++) {
    llmd_label role = {str("llm-d.ai/role"), str(i < 2 ? "prefill" : "decode")};
    llmd_endpoint e = {.size = sizeof e, .address = str("10.0.0.1"), .port = 8000 + i, .labels = &role, .n_labels = 1};
    assert_int_equal(llmd_pool_add(r->pool, &e, &r->id[i]), 0);
    assert_int_equal(llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_WAITING, i), 0);
  }
  rig_publish(r);
}

static void says(rig *r, uint32_t i, uint32_t kind)
{
  assert_int_equal(llmd_report_endpoint(r->lane, r->id[i], kind, &r->now), 0);
}

/* One that only prefills is ejected by what the host says of it, and tried by requests that decode elsewhere. */
static void other_profiles_try_too(void **state)
{
  static const struct {
    uint32_t kind, after;
  } ends[] = {{LLMD_REPORT_FIRST, LLMD_HEALTH_WELL},
              {LLMD_REPORT_END, LLMD_HEALTH_WELL},
              {LLMD_REPORT_ERROR, LLMD_HEALTH_EJECTED},
              {LLMD_REPORT_CANCEL, LLMD_HEALTH_EJECTED}};
  (void)state;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    rig r;
    open_two_profiles(&r);
    assert_int_equal(sent(&r), 2);
    assert_int_equal(r.d.n_profiles, 2);
    says(&r, 0, LLMD_REPORT_ERROR);
    says(&r, 0, LLMD_REPORT_ERROR);
    report(&r, LLMD_REPORT_END); /* of the one that decodes: the other one's failures are not forgotten */
    says(&r, 0, LLMD_REPORT_ERROR);
    assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
    r.now.mono += SECOND;
    rig_body(&r, BODY);
    assert_int_equal(rig_goes_to(&r, 1), 2);
    assert_int_equal(health(&r, 0), LLMD_HEALTH_HALF_OPEN);
    assert_int_equal(rig_goes_to(&r, 1), 2); /* decided again: it is tried again */
    assert_int_equal(llmd_request_set_exclude(r.request, &r.id[0], 1), 0);
    assert_int_equal(rig_goes_to(&r, 1), 2); /* not there */
    assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
    assert_int_equal(sent(&r), 2);
    assert_int_equal(health(&r, 0), LLMD_HEALTH_HALF_OPEN);
    report(&r, ends[i].kind);
    assert_int_equal(health(&r, 0), ends[i].after);
    assert_int_equal(health(&r, 2), LLMD_HEALTH_WELL);
    rig_close(&r);
  }
}

static void a_host_without_a_ticket_says_it_too(void **state)
{
  llmd_endpoint_id was;
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  for (int i = 0; i < 64; i++) { /* all tickets there are */
    assert_int_equal(sent(&r), 0);
    assert_int_not_equal(r.d.ticket, 0);
  }
  for (int i = 0; i < 3; i++) {
    assert_int_equal(sent(&r), 0);
    assert_int_equal(r.d.ticket, 0);
    assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_ERROR, NULL, &r.now), LLMD_E_STALE);
    says(&r, 0, LLMD_REPORT_PROGRESS);
    says(&r, 0, LLMD_REPORT_ERROR);
  }
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  r.now.mono += SECOND;
  assert_int_equal(sent(&r), 0);
  assert_int_equal(r.d.ticket, 0);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_HALF_OPEN);
  says(&r, 0, LLMD_REPORT_CANCEL);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_EJECTED);
  assert_int_equal(sent(&r), 0);
  says(&r, 0, LLMD_REPORT_END);
  assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  assert_int_equal(llmd_report_endpoint(NULL, r.id[0], LLMD_REPORT_END, &r.now), LLMD_E_INVALID);
  assert_int_equal(llmd_report_endpoint(r.lane, 0, LLMD_REPORT_END, &r.now), LLMD_E_INVALID);
  assert_int_equal(llmd_report_endpoint(r.lane, r.id[0], LLMD_REPORT_END, NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_report_endpoint(r.lane, r.id[0], 0, &r.now), LLMD_E_INVALID);
  assert_int_equal(llmd_report_endpoint(r.lane, r.id[0], LLMD_REPORT_CANCEL + 1, &r.now), LLMD_E_INVALID);
  was = r.id[3];
  assert_int_equal(llmd_pool_remove(r.pool, was), 0);
  rig_publish(&r);
  assert_int_equal(llmd_report_endpoint(r.lane, was, LLMD_REPORT_ERROR, &r.now), LLMD_E_STALE);
  rig_close(&r);
}

static void explanations_and_records_say_who_is_out(void **state)
{
  static text json, table, record;
  llmd_decision again = {.size = sizeof again};
  llmd_endpoint_id subset[2];
  int same = 0;
  rig r;
  (void)state;
  open_explained(&r, 4);
  fail_at(&r, 0, 3);
  fail_at(&r, 2, 3);
  assert_int_equal(sent(&r), 1);
  json.len = table.len = record.len = 0;
  assert_int_equal(llmd_explain_json(r.lane, to_text, &json), 0);
  assert_int_equal(llmd_explain_table(r.lane, to_text, &table), 0);
  assert_int_equal(llmd_record_write(r.lane, to_text, &record), 0);
  assert_non_null(strstr(json.data, "\"ejected\":[\"default/10.0.0.1:8000\",\"default/10.0.0.3:8000\"]"));
  assert_non_null(strstr(table.data, "ejected: default/10.0.0.1:8000, default/10.0.0.3:8000\n"));
  assert_int_equal(llmd_replay(r.lane, record.data, record.len, &again, &same), (int64_t)record.len);
  assert_int_equal(same, 1);
  table.len = 0;
  assert_int_equal(llmd_explain_table(r.lane, to_text, &table), 0);
  assert_non_null(strstr(table.data, "ejected: default/10.0.0.1:8000, default/10.0.0.3:8000\n"));
  subset[0] = r.id[0];
  subset[1] = r.id[2];
  rig_body(&r, BODY);
  assert_int_equal(llmd_request_set_subset(r.request, subset, 2), 0);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  json.len = record.len = 0;
  assert_int_equal(llmd_explain_json(r.lane, to_text, &json), 0);
  assert_non_null(strstr(json.data, "\"ladder\":[\"ejected\"]"));
  assert_non_null(strstr(json.data, "\"ejected\":[]"));
  assert_int_equal(llmd_record_write(r.lane, to_text, &record), 0);
  assert_int_equal(llmd_replay(r.lane, record.data, record.len, &again, &same), (int64_t)record.len);
  assert_int_equal(same, 1);
  rig_close(&r);
}

static void metrics_count(void **state)
{
  static text page;
  rig r;
  (void)state;
  rig_open(&r, 4, POLICY, NULL, NULL);
  fail_at(&r, 1, 3);
  page.len = 0;
  assert_int_equal(llmd_metrics_write(r.scheduler, to_text, &page), 0);
  assert_non_null(strstr(page.data, "llmd_endpoint_ejected{endpoint_name=\"10.0.0.2:8000\",namespace=\"default\","
                                    "port=\"8000\"} 1\n"));
  assert_non_null(strstr(page.data, "llmd_endpoint_ejected{endpoint_name=\"10.0.0.1:8000\",namespace=\"default\","
                                    "port=\"8000\"} 0\n"));
  assert_non_null(strstr(page.data, "llmd_ejections_total 1\n"));
  assert_non_null(strstr(page.data, "llmd_ladder_total{step=\"ejected\"} 0\n"));
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(three_errors_send_requests_elsewhere),
      cmocka_unit_test(cancelled_and_finished_requests_are_no_failures),
      cmocka_unit_test(one_request_tries_it),
      cmocka_unit_test(a_failed_trial_is_out_for_longer),
      cmocka_unit_test(a_trial_that_was_none_is_given_back),
      cmocka_unit_test(those_that_are_all_out_stay_in),
      cmocka_unit_test(no_more_than_half_stay_out_of_a_pool_that_shrinks),
      cmocka_unit_test(a_single_endpoint_is_never_out),
      cmocka_unit_test(failures_between_requests_that_work_eject_nobody),
      cmocka_unit_test(streams_that_break_eject),
      cmocka_unit_test(other_profiles_try_too),
      cmocka_unit_test(a_host_without_a_ticket_says_it_too),
      cmocka_unit_test(explanations_and_records_say_who_is_out),
      cmocka_unit_test(metrics_count),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
