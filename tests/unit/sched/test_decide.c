/* One decision: its statuses, who may be chosen, what is charged, what a failing part costs, what the answer holds. */
#include "small_rig.h"

#include "../module_dir.h"
#include "sched/scheduler.h"

#define BODY "{\"model\":\"m\",\"prompt\":\"hello\"}"
#define QUEUE HEAD "- type: queue-scorer\n- type: max-score-picker\n"

/* ---- statuses --------------------------------------------------------------------------------------------------- */

static void wants_the_whole_body(void **state)
{
  static const char body[] = BODY;
  rig r;
  (void)state;
  rig_open(&r, 3, QUEUE, NULL, NULL);
  assert_int_equal(rig_decide(&r, 1), LLMD_NEED_BODY);
  assert_int_equal(llmd_request_feed(r.request, body, 10, LLMD_FEED_KEEP), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_NEED_BODY);
  assert_true(r.d.ticket == 0 && r.d.n_targets == 0);
  assert_int_equal(llmd_request_feed(r.request, body + 10, sizeof body - 11, LLMD_FEED_FINAL), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  rig_close(&r);
}

static void misuse_is_told_from_refusal(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  r.d.size = 8;
  assert_int_equal(llmd_decide(r.lane, r.request, &r.now, 1, &r.d), LLMD_E_INVALID);
  r.d.size = sizeof r.d;
  assert_int_equal(llmd_decide(NULL, r.request, &r.now, 1, &r.d), LLMD_E_INVALID);
  assert_int_equal(llmd_decide(r.lane, NULL, &r.now, 1, &r.d), LLMD_E_INVALID);
  assert_int_equal(llmd_decide(r.lane, r.request, NULL, 1, &r.d), LLMD_E_INVALID);
  assert_int_equal(llmd_decide(r.lane, r.request, &r.now, 1, NULL), LLMD_E_INVALID);
  r.d.status = LLMD_REJECTED;
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), LLMD_E_INVALID);
  assert_int_equal(llmd_report(r.lane, 1, 99, NULL, &r.now), LLMD_E_INVALID);
  assert_int_equal(llmd_report(r.lane, 1, LLMD_REPORT_END, NULL, &r.now), LLMD_E_STALE);
  rig_close(&r);
}

static void rejected(rig *r, uint32_t reason, uint32_t code)
{
  assert_int_equal(rig_decide(r, 1), LLMD_REJECTED);
  assert_int_equal(r->d.reason, reason);
  assert_int_equal(r->d.code, code);
  assert_int_equal(r->d.n_targets, 0);
  assert_true(r->d.ticket == 0);
  assert_true(r->d.primary == 0xffffffffu);
}

static void an_empty_pool_has_nobody(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 0, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503); /* nothing was ever published */
  assert_string_equal(rig_sets(&r, "x-llm-d-request-dropped-reason"), "rejected-no-endpoints");
  rig_publish(&r);
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503);
  r.id[0] = rig_add(&r, "10.0.0.1", 1);
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503); /* not seen yet */
  rig_publish(&r);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  rig_close(&r);
}

static void a_broken_body_is_refused(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE, NULL, NULL);
  llmd_request_reset(r.request);
  assert_int_equal(llmd_request_feed(r.request, "{\"model\": nope}", 15, LLMD_FEED_FINAL), LLMD_E_SYNTAX);
  rejected(&r, LLMD_REASON_BAD_REQUEST, 400);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  rig_close(&r);
}

static void a_prefix_of_a_body_is_decided(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE, NULL, NULL);
  assert_int_equal(llmd_request_feed(r.request, "{\"model\":\"m\",\"prompt\":\"hel", 24,
                                     LLMD_FEED_FINAL | LLMD_FEED_TRUNCATED),
                   0);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(r.d.flags, LLMD_DECISION_TRUNCATED);
  rig_close(&r);
}

static void a_request_without_body_is_routed(void **state)
{
  llmd_scheduler_options strict = {.size = sizeof strict, .compat = LLMD_COMPAT_STRICT};
  uint32_t seen[3] = {0};
  rig r;
  (void)state;
  rig_open(&r, 3, QUEUE, NULL, NULL);
  assert_int_equal(llmd_request_line(r.request, "GET", 3, "/v1/models", 10), 0);
  assert_int_equal(llmd_request_feed(r.request, NULL, 0, LLMD_FEED_FINAL), 0);
  for (uint64_t seed = 0; seed < 8; seed++)
    assert_int_equal(rig_goes_to(&r, seed), 0); /* by the policy */
  rig_close(&r);
  rig_open(&r, 3, QUEUE, &strict, NULL);
  assert_int_equal(llmd_request_line(r.request, "GET", 3, "/v1/models", 10), 0);
  assert_int_equal(llmd_request_feed(r.request, NULL, 0, LLMD_FEED_FINAL), 0);
  for (uint64_t seed = 0; seed < 32; seed++)
    seen[rig_goes_to(&r, seed)]++;
  assert_true(seen[0] && seen[1] && seen[2]); /* as the reference: anybody */
  rig_close(&r);
}

/* ---- who may be chosen ------------------------------------------------------------------------------------------ */

static void only_some_never_some(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 4, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(llmd_request_set_subset(r.request, &r.id[2], 2), 0);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  assert_int_equal(llmd_request_set_exclude(r.request, &r.id[2], 1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 3);
  assert_int_equal(llmd_request_set_exclude(r.request, &r.id[2], 2), 0);
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503);
  rig_body(&r, BODY);
  assert_int_equal(llmd_request_set_subset(r.request, r.id, 0), 0); /* present but empty: nobody */
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503);
  assert_int_equal(llmd_request_set_subset(r.request, NULL, 0), 0); /* no subset */
  assert_int_equal(rig_goes_to(&r, 1), 0);
  rig_close(&r);
}

static void draining_endpoints_get_nothing_new(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  assert_int_equal(llmd_pool_drain(r.pool, r.id[0], 1), 0);
  rig_publish(&r);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_int_equal(llmd_pool_drain(r.pool, r.id[0], 0), 0);
  rig_publish(&r);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(llmd_pool_drain(r.pool, r.id[i], 1), 0);
  rig_publish(&r);
  rejected(&r, LLMD_REASON_NO_ENDPOINTS, 503);
  rig_close(&r);
}

/* ---- admission -------------------------------------------------------------------------------------------------- */

static void sheddable_requests_go_when_it_is_full(void **state)
{
  int32_t below = -1, above = 7;
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE, NULL, NULL);
  for (uint32_t i = 0; i < 2; i++)
    llmd_pool_set(r.pool, r.id[i], LLMD_ATTR_KV_USAGE, 0.1);
  rig_publish(&r);
  rig_body(&r, BODY);
  assert_int_equal(llmd_request_set_priority(r.request, -1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 0); /* room enough */
  for (uint32_t i = 0; i < 2; i++)
    llmd_pool_set(r.pool, r.id[i], LLMD_ATTR_WAITING, 50);
  rig_publish(&r);
  rejected(&r, LLMD_REASON_SHEDDABLE, 429);
  assert_int_equal(llmd_request_set_priority(r.request, 1), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_pool_objective(r.pool, "batch", 5, &below), 0);
  assert_int_equal(llmd_pool_objective(r.pool, "chat", 4, &above), 0);
  rig_body(&r, BODY);
  rig_header(&r, "x-llm-d-inference-objective", "batch");
  rejected(&r, LLMD_REASON_SHEDDABLE, 429);
  rig_header(&r, "x-llm-d-inference-objective", "chat");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  rig_header(&r, "x-llm-d-inference-objective", "unheard-of");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  rig_close(&r);
}

static const char nobody[] =
    HEAD "- type: label-selector-filter\n  parameters: {matchLabels: {none: has}}\n- type: max-score-picker\n";

static void filters_may_leave_nobody(void **state)
{
  llmd_scheduler_options open = {.size = sizeof open, .fail = LLMD_FAIL_OPEN};
  rig r;
  (void)state;
  rig_open(&r, 3, nobody, NULL, NULL);
  rig_body(&r, BODY);
  rejected(&r, LLMD_REASON_SATURATED, 429);
  assert_string_equal(rig_sets(&r, "x-llm-d-request-dropped-reason"), "rejected-saturated");
  rig_close(&r);
  rig_open(&r, 3, nobody, &open, NULL);
  rig_body(&r, BODY);
  for (uint64_t i = 0; i < 6; i++) {
    assert_int_equal(rig_goes_to(&r, 5), (int)(i % 3)); /* in turn */
    assert_int_equal(r.d.ladder, LLMD_LADDER_OPEN | LLMD_LADDER_ROBIN);
    assert_true(r.d.ticket != 0);
  }
  rig_close(&r);
}

static void a_handler_may_find_no_profile(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2,
           QUEUE "- type: header-profile-handler\nschedulingProfiles:\n- {name: a, plugins: []}\n"
                 "- {name: b, plugins: []}\n",
           NULL, NULL);
  rig_body(&r, BODY);
  rig_header(&r, "EPP-Profile", "c");
  rejected(&r, LLMD_REASON_NO_TARGET, 429);
  assert_null(rig_sets(&r, "x-llm-d-request-dropped-reason"));
  rig_header(&r, "EPP-Profile", "b");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(r.d.primary, 1);
  rig_close(&r);
}

static const char cached[] = HEAD "- type: prefix-cache-scorer\n- type: max-score-picker\n";

static void only_where_it_is_cached(void **state)
{
  char body[800];
  rig r;
  (void)state;
  rig_open(&r, 3, cached, NULL, NULL);
  snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"%0600d\"}", 7);
  rig_body(&r, body);
  rig_header(&r, "Prefer", "if-available");
  rejected(&r, LLMD_REASON_PRECONDITION, 412);
  rig_body(&r, body);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[1], &r.now), 0);
  rig_body(&r, body);
  rig_header(&r, "Prefer", "if-available");
  assert_int_equal(rig_goes_to(&r, 1), 1);
  rig_close(&r);
  rig_open(&r, 3,
           HEAD "- {type: approx-prefix-cache-producer, name: other}\n- type: approx-prefix-cache-producer\n"
                "- {type: approx-prefix-cache-producer, name: third}\n- type: queue-scorer\n- type: max-score-picker\n",
           NULL, NULL);
  rig_body(&r, body);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(r.lane->s->match_column, 4); /* the default one's, whatever stands around it */
  rig_close(&r);
  rig_open(&r, 3, QUEUE, NULL, NULL); /* nobody knows what is cached */
  rig_body(&r, body);
  rig_header(&r, "Prefer", "if-available");
  rejected(&r, LLMD_REASON_PRECONDITION, 412);
  rig_close(&r);
}

/* ---- models ----------------------------------------------------------------------------------------------------- */

static void assert_rewrites(rig *r, const char *body, const char *want)
{
  char out[256];
  llmd_edit e[4];
  size_t n = 0, at = 0;
  int edits = llmd_request_edits(r->request, e, 4);
  for (int i = 0; i < edits; i++) {
    memcpy(out + n, body + at, (size_t)e[i].offset - at);
    n += (size_t)e[i].offset - at;
    memcpy(out + n, e[i].text.ptr, e[i].text.len);
    n += e[i].text.len;
    at = (size_t)(e[i].offset + e[i].removed);
  }
  snprintf(out + n, sizeof out - n, "%s", body + at);
  assert_string_equal(out, want);
}

static void models_are_rewritten(void **state)
{
  llmd_rewrite_target to[2] = {{{"new", 3}, 0, 0}, {{"newer", 5}, 1, 0}}, next = {{"newest", 6}, 1, 0};
  llmd_str adapter = {"newer", 5};
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: lora-affinity-scorer\n- type: max-score-picker\n", NULL, NULL);
  assert_int_equal(llmd_pool_rewrite(r.pool, "m", 1, to, 2), 0);
  assert_int_equal(llmd_pool_rewrite(r.pool, "newer", 5, &next, 1), 0);
  assert_int_equal(llmd_pool_set_models(r.pool, r.id[2], LLMD_ATTR_ACTIVE_MODELS, &adapter, 1), 0);
  rig_publish(&r);
  rig_body(&r, BODY);
  for (uint64_t seed = 0; seed < 4; seed++) { /* once, however often it is tried; and routed as what it became */
    assert_int_equal(rig_goes_to(&r, seed), 2);
    assert_rewrites(&r, BODY, "{\"model\":\"newer\",\"prompt\":\"hello\"}");
  }
  rig_body(&r, BODY);
  rig_header(&r, "x-llm-d-model-name-rewrite", "other");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_rewrites(&r, BODY, "{\"model\":\"other\",\"prompt\":\"hello\"}");
  rig_body(&r, BODY);
  rig_header(&r, "x-llm-d-model-name-rewrite", "newer"); /* the header names what the table speaks of */
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_rewrites(&r, BODY, "{\"model\":\"newest\",\"prompt\":\"hello\"}");
  rig_close(&r);
}

/* ---- charges ---------------------------------------------------------------------------------------------------- */

static void a_retry_gives_the_former_charge_back(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(rig_goes_to(&r, 1), 0);
    assert_int_equal(rig_inflight(&r, 0), 1);
  }
  assert_int_equal(llmd_request_set_exclude(r.request, r.id, 1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_true(rig_inflight(&r, 0) == 0 && rig_inflight(&r, 1) == 1);
  assert_int_equal(llmd_request_set_exclude(r.request, r.id, 2), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_REJECTED);
  assert_true(rig_inflight(&r, 0) == 0 && rig_inflight(&r, 1) == 0);
  rig_close(&r);
}

static void after_commit_the_ticket_is_the_host_s(void **state)
{
  llmd_ticket t;
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  t = r.d.ticket;
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[1], &r.now), 0); /* it went elsewhere */
  assert_true(rig_inflight(&r, 0) == 0 && rig_inflight(&r, 1) == 1);
  assert_int_equal(rig_goes_to(&r, 1), 0); /* the same request once more: another charge */
  assert_true(rig_inflight(&r, 0) == 1 && rig_inflight(&r, 1) == 1);
  assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_FIRST, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_PROGRESS, NULL, &r.now), 0);
  assert_int_equal(rig_inflight(&r, 1), 1);
  assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_ERROR, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, t, LLMD_REPORT_END, NULL, &r.now), LLMD_E_STALE);
  assert_true(rig_inflight(&r, 0) == 1 && rig_inflight(&r, 1) == 0);
  assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_CANCEL, NULL, &r.now), 0);
  assert_int_equal(rig_inflight(&r, 0), 0);
  rig_close(&r);
}

static void every_endpoint_s_load_is_seen(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: active-request-scorer\n- type: max-score-picker\n", NULL, NULL);
  for (uint32_t i = 0; i < 12; i++) { /* 3, 4 and 5 on them */
    rig_body(&r, BODY);
    assert_int_equal(rig_decide(&r, i), LLMD_ROUTED);
    assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[i < 3 ? 0 : i < 7 ? 1 : 2], &r.now), 0);
  }
  assert_true(rig_inflight(&r, 0) == 3 && rig_inflight(&r, 1) == 4 && rig_inflight(&r, 2) == 5);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_true(r.d.target[0].score == 2.0 / 5);
  assert_int_equal(llmd_request_set_exclude(r.request, r.id, 1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_true(r.d.target[0].score == 1.0 / 5);
  rig_close(&r);
}

static void forgotten_tickets_expire(void **state)
{
  uint64_t next = 0;
  rig r;
  (void)state;
  rig_open(&r, 1, QUEUE, NULL, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  r.now.mono += 299 * SECOND;
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, &next), 0);
  assert_true(next > r.now.mono);
  assert_int_equal(rig_inflight(&r, 0), 1);
  r.now.mono += 2 * SECOND;
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, &next), 0);
  assert_int_equal(rig_inflight(&r, 0), 0);
  assert_int_equal(llmd_report(r.lane, r.d.ticket, LLMD_REPORT_END, NULL, &r.now), LLMD_E_STALE);
  rig_close(&r);
}

static void a_full_ledger_still_routes(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 1, QUEUE, NULL, NULL);
  for (int i = 0; i < 64; i++) {
    rig_body(&r, BODY); /* reset: nobody gives the former charge back */
    assert_int_equal(rig_goes_to(&r, 1), 0);
    assert_true(r.d.ticket != 0);
  }
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_true(r.d.ticket == 0);
  assert_int_equal(rig_inflight(&r, 0), 64);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  rig_close(&r);
}

/* ---- the ladder ------------------------------------------------------------------------------------------------- */

static void stale_metrics_give_way_to_own_counts(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 3, QUEUE, NULL, NULL);
  for (uint32_t i = 0; i < 3; i++)
    llmd_pool_touch(r.pool, r.id[i], r.now.mono);
  rig_publish(&r);
  rig_body(&r, BODY);
  r.now.mono += 2 * SECOND;
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(r.d.ladder, 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0); /* one in flight on 0 */
  r.now.mono += 1;
  rig_body(&r, BODY);
  for (uint64_t seed = 0; seed < 8; seed++) {
    assert_true(rig_goes_to(&r, seed) >= 1);
    assert_int_equal(r.d.ladder, LLMD_LADDER_STALE);
  }
  llmd_pool_touch(r.pool, r.id[2], r.now.mono - 2 * SECOND); /* one is just fresh: the others are merely unknown */
  rig_publish(&r);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  assert_true(r.d.target[0].score == 1);
  assert_int_equal(r.d.ladder, 0);
  rig_close(&r);
}

static module_dir dir;

static int with_strangers(void **state)
{
  (void)state;
  module_dir_make(&dir);
  module_dir_copy(&dir, "stranger", "stranger.so", 0600);
  return 0;
}

static int without_strangers(void **state)
{
  (void)state;
  module_dir_remove(&dir);
  return 0;
}

static void with_a_failing(const char *plugin, uint32_t ladder)
{
  char config[512];
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  rig r;
  snprintf(config, sizeof config, HEAD "%s- type: queue-scorer\n- type: max-score-picker\n", plugin);
  rig_open(&r, 3, config, &so, NULL);
  rig_body(&r, BODY);
  for (int i = 0; i < 3; i++) {
    int to = rig_goes_to(&r, 1);
    if (ladder & LLMD_LADDER_ROBIN ? to != i : to != 0)
      fail_msg("%s: to %d", plugin, to);
    assert_int_equal(r.d.ladder, ladder);
    assert_true(r.d.ticket != 0);
  }
  rig_close(&r);
}

static void a_failing_plugin_is_left_out(void **state)
{
  (void)state;
  with_a_failing("- {type: strangers-scorer, parameters: {fail: true, value: 2}}\n", LLMD_LADDER_PLUGIN);
  with_a_failing("- {type: strangers-filter, parameters: {fail: true}}\n", LLMD_LADDER_PLUGIN);
  with_a_failing("- {type: strangers-picker, parameters: {fail: true}}\n", LLMD_LADDER_PLUGIN);
  with_a_failing("- {type: strangers-producer, parameters: {fail: true}}\n", LLMD_LADDER_PLUGIN);
  with_a_failing("- {type: strangers-handler, parameters: {fail: true}}\n", LLMD_LADDER_PLUGIN | LLMD_LADDER_ROBIN);
  with_a_failing("- {type: strangers-filter, parameters: {wild: true}}\n", LLMD_LADDER_PLUGIN);
  with_a_failing("- {type: strangers-handler, parameters: {wild: true}}\n", 0); /* stopped after many turns */
  with_a_failing("- {type: strangers-handler}\n", 0);
  with_a_failing("- {type: strangers-filter, parameters: {order: 1}}\n", 0);
}

/* A picker that names nobody real gives no result; failing closed or open is the host's choice. */
static void a_picker_that_points_nowhere(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: queue-scorer\n- {type: strangers-picker, parameters: {wild: true}}\n", &so, NULL);
  rig_body(&r, BODY);
  rejected(&r, LLMD_REASON_SATURATED, 429);
  rig_close(&r);
}

static void a_handler_that_names_no_profile(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  rig r;
  (void)state;
  rig_open(&r, 3, HEAD "- type: queue-scorer\n- {type: strangers-handler, parameters: {order: 1}}\n", &so, NULL);
  rig_body(&r, BODY);
  rejected(&r, LLMD_REASON_NO_TARGET, 429);
  rig_close(&r);
}

static uint64_t slow_clock(void *ud)
{
  return *(uint64_t *)ud += 400000; /* each look costs 0.4 ms */
}

static void past_the_budget_scorers_are_left_out(void **state)
{
  uint64_t clock = 0;
  llmd_scheduler_options so = {.size = sizeof so, .clock = slow_clock, .clock_ud = &clock};
  rig r;
  (void)state;
  rig_open(&r, 3,
           QUEUE "- {type: queue-scorer, name: b}\n- {type: queue-scorer, name: c}\n"
                 "- {type: queue-scorer, name: d}\n",
           &so, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(r.d.ladder, LLMD_LADDER_BUDGET);
  assert_true(r.d.target[0].score == 2); /* two of the four had their say */
  rig_close(&r);
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

static void the_same_seed_decides_the_same(void **state)
{
  int to[64], differ = 0;
  rig r;
  (void)state;
  rig_open(&r, 8, HEAD "- type: random-picker\n", NULL, NULL);
  rig_body(&r, BODY);
  for (uint64_t seed = 0; seed < 64; seed++) {
    to[seed] = rig_goes_to(&r, seed);
    differ += to[seed] != to[0];
  }
  assert_true(differ > 40);
  for (uint64_t seed = 0; seed < 64; seed++) {
    assert_int_equal(rig_goes_to(&r, seed), to[seed]);
    assert_true(r.d.seed == seed);
  }
  rig_close(&r);
}

static void several_picks_are_fallbacks_in_order(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 5, HEAD "- type: queue-scorer\n- {type: max-score-picker, parameters: {maxNumOfEndpoints: 3}}\n", NULL,
           NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_int_equal(r.d.n_targets, 3);
  assert_true(r.d.target[1].id == r.id[1] && r.d.target[2].id == r.id[2]);
  assert_true(r.d.target[0].score == 1 && r.d.target[1].score == 0.75 && r.d.target[2].score == 0.5);
  assert_string_equal(rig_sets(&r, "x-gateway-destination-endpoint"), "10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000");
  assert_int_equal(r.d.code, 200);
  assert_true(rig_inflight(&r, 0) == 1 && rig_inflight(&r, 1) == 0); /* fallbacks are not charged */
  rig_close(&r);
}

static void one_port_for_all_ranks(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 2, QUEUE "- {type: data-parallel-profile-handler, parameters: {primaryPort: 9000}}\n", NULL, NULL);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_string_equal(rig_sets(&r, "x-data-parallel-host-port"), "10.0.0.1:8000");
  assert_string_equal(rig_sets(&r, "x-gateway-destination-endpoint"), "10.0.0.1:9000");
  assert_int_equal(r.d.target[0].port, 9000);
  rig_close(&r);
}

static void ipv6_stands_in_brackets(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, 0, QUEUE, NULL, NULL);
  r.id[0] = rig_add(&r, "fd00::1", 8000);
  rig_publish(&r);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_string_equal(rig_sets(&r, "x-gateway-destination-endpoint"), "[fd00::1]:8000");
  assert_int_equal(r.d.target[0].address.len, 7); /* without them */
  rig_close(&r);
}

/* 32 long names do not fit: the list is cut at its end, and the destination is always there. */
static void a_list_too_long_is_cut(void **state)
{
  char address[256], want[300];
  const char *list;
  rig r;
  (void)state;
  rig_open(&r, 0, HEAD "- type: queue-scorer\n- {type: max-score-picker, parameters: {maxNumOfEndpoints: 32}}\n", NULL,
           NULL);
  for (uint32_t i = 0; i < 36; i++) {
    snprintf(address, sizeof address, "%0200u.example", i);
    r.id[i] = rig_add(&r, address, 8000);
    llmd_pool_set(r.pool, r.id[i], LLMD_ATTR_WAITING, i);
  }
  rig_publish(&r);
  rig_body(&r, BODY);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  list = rig_sets(&r, "x-gateway-destination-endpoint");
  assert_non_null(list);
  snprintf(want, sizeof want, "%0200u.example:8000,", 0u);
  assert_memory_equal(list, want, strlen(want));
  assert_int_equal(strlen(list) % strlen(want), strlen(want) - 1); /* whole entries */
  assert_true(r.d.n_targets > 4 && r.d.n_targets < 32);
  for (uint32_t i = 0; i < r.d.n_targets; i++)
    assert_int_equal(r.d.target[i].address.len, 208);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wants_the_whole_body),
      cmocka_unit_test(misuse_is_told_from_refusal),
      cmocka_unit_test(an_empty_pool_has_nobody),
      cmocka_unit_test(a_broken_body_is_refused),
      cmocka_unit_test(a_prefix_of_a_body_is_decided),
      cmocka_unit_test(a_request_without_body_is_routed),
      cmocka_unit_test(only_some_never_some),
      cmocka_unit_test(draining_endpoints_get_nothing_new),
      cmocka_unit_test(sheddable_requests_go_when_it_is_full),
      cmocka_unit_test(filters_may_leave_nobody),
      cmocka_unit_test(a_handler_may_find_no_profile),
      cmocka_unit_test(only_where_it_is_cached),
      cmocka_unit_test(models_are_rewritten),
      cmocka_unit_test(a_retry_gives_the_former_charge_back),
      cmocka_unit_test(after_commit_the_ticket_is_the_host_s),
      cmocka_unit_test(every_endpoint_s_load_is_seen),
      cmocka_unit_test(forgotten_tickets_expire),
      cmocka_unit_test(a_full_ledger_still_routes),
      cmocka_unit_test(stale_metrics_give_way_to_own_counts),
      cmocka_unit_test_setup_teardown(a_failing_plugin_is_left_out, with_strangers, without_strangers),
      cmocka_unit_test_setup_teardown(a_picker_that_points_nowhere, with_strangers, without_strangers),
      cmocka_unit_test_setup_teardown(a_handler_that_names_no_profile, with_strangers, without_strangers),
      cmocka_unit_test(past_the_budget_scorers_are_left_out),
      cmocka_unit_test(the_same_seed_decides_the_same),
      cmocka_unit_test(several_picks_are_fallbacks_in_order),
      cmocka_unit_test(one_port_for_all_ranks),
      cmocka_unit_test(ipv6_stands_in_brackets),
      cmocka_unit_test(a_list_too_long_is_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
