/* Whom a decision may choose: candidates, peer, columns that the host alone fills, references between plugins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/llmd.h>

#define HEAD "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
#define ENDPOINTS 4

typedef struct rig {
  llmd_pool *pool;
  llmd_endpoint_id id[ENDPOINTS];
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  void *memory;
  llmd_request *request;
  llmd_decision decision;
} rig;

static const llmd_now now = {1000000000, 1};

static llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

/* Four endpoints; host "a" for the first two, "b" for the others. */
static void fill_pool(rig *r)
{
  int host = llmd_pool_attribute(r->pool, "Topology.hostname", "topology-extractor", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  assert_true(host >= 0);
  for (uint32_t i = 0; i < ENDPOINTS; i++) {
    llmd_endpoint e;
    memset(&e, 0, sizeof e);
    e.size = sizeof e;
    e.address = str("10.0.0.1");
    e.port = 8000 + i;
    assert_int_equal(llmd_pool_add(r->pool, &e, &r->id[i]), 0);
    assert_int_equal(llmd_pool_set_text(r->pool, r->id[i], (uint32_t)host, i < 2 ? "a" : "b", 1), 0);
  }
  assert_int_equal(llmd_pool_publish(r->pool, &now), 0);
}

static void ask(rig *r)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello\"}";
  llmd_request_reset(r->request);
  assert_int_equal(llmd_request_feed(r->request, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
}

static void open_rig(rig *r, const char *config, uint32_t fail)
{
  llmd_scheduler_options so;
  llmd_request_options ro;
  llmd_err err = LLMD_ERR_INIT;
  memset(r, 0, sizeof *r);
  memset(&so, 0, sizeof so);
  memset(&ro, 0, sizeof ro);
  so.size = sizeof so;
  so.fail = fail;
  ro.size = sizeof ro;
  ro.max_values = 16;
  r->decision.size = sizeof r->decision;
  assert_int_equal(llmd_pool_open(NULL, &r->pool, &err), 0);
  fill_pool(r);
  if (llmd_scheduler_create(&so, r->pool, config, strlen(config), &r->scheduler, &err))
    fail_msg("%s: %s", err.path, err.text);
  assert_int_equal(llmd_lane_create(r->scheduler, LLMD_LANE_WRITER, &r->lane), 0);
  r->memory = malloc(llmd_request_size(&ro));
  assert_non_null(r->memory);
  assert_int_equal(llmd_request_init(r->memory, llmd_request_size(&ro), &ro, &r->request), 0);
  ask(r);
}

static void close_rig(rig *r)
{
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->memory);
}

static llmd_endpoint_id decide(rig *r, uint64_t seed)
{
  assert_int_equal(llmd_decide(r->lane, r->request, &now, seed, &r->decision), 0);
  return r->decision.status == LLMD_ROUTED ? r->decision.target[0].id : 0;
}

/* ---- candidates --------------------------------------------------------------------------------------------------- */

static const char nobody[] =
    HEAD "- type: label-selector-filter\n  parameters: {matchLabels: {none: has}}\n- type: max-score-picker\n";

static void failing_open_stays_among_the_candidates(void **state)
{
  rig r;
  llmd_endpoint_id seen[2] = {0, 0};
  (void)state;
  open_rig(&r, nobody, LLMD_FAIL_OPEN);
  assert_int_equal(llmd_request_set_exclude(r.request, &r.id[2], 2), 0);
  for (uint64_t seed = 1; seed <= 8; seed++) {
    llmd_endpoint_id id = decide(&r, seed);
    assert_true(id == r.id[0] || id == r.id[1]);
    assert_true(r.decision.ladder & LLMD_LADDER_OPEN);
    seen[id == r.id[1]] = id;
  }
  assert_true(seen[0] && seen[1]);
  ask(&r);
  assert_int_equal(llmd_request_set_subset(r.request, &r.id[3], 1), 0);
  for (uint64_t seed = 1; seed <= 4; seed++)
    assert_true(decide(&r, seed) == r.id[3]);
  close_rig(&r);
}

static void failing_open_without_candidates(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, nobody, LLMD_FAIL_OPEN);
  assert_int_equal(llmd_request_set_exclude(r.request, r.id, ENDPOINTS), 0);
  assert_true(decide(&r, 1) == 0);
  assert_int_equal(r.decision.reason, LLMD_REASON_NO_ENDPOINTS);
  close_rig(&r);
}

/* ---- peer --------------------------------------------------------------------------------------------------------- */

static void a_peer_from_outside_draws_its_neighbours(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, HEAD "- type: topology-affinity-scorer\n- type: max-score-picker\n", LLMD_FAIL_CLOSED);
  assert_int_equal(llmd_request_set_peer(NULL, 1), LLMD_E_INVALID);
  for (uint32_t peer = 0; peer < ENDPOINTS; peer++) {
    uint32_t neighbour = peer ^ 1;
    assert_int_equal(llmd_request_set_peer(r.request, r.id[peer]), 0);
    assert_int_equal(llmd_request_set_exclude(r.request, &r.id[peer], 1), 0);
    for (uint64_t seed = 1; seed <= 8; seed++) {
      assert_true(decide(&r, seed) == r.id[neighbour]);
      assert_true(r.decision.target[0].score == 1);
    }
  }
  assert_int_equal(llmd_request_set_peer(r.request, 0), 0);
  assert_true(decide(&r, 1) != 0);
  assert_true(r.decision.target[0].score == 0);
  ask(&r); /* reset forgets it too */
  assert_int_equal(llmd_request_set_peer(r.request, r.id[0]), 0);
  ask(&r);
  decide(&r, 1);
  assert_true(r.decision.target[0].score == 0);
  close_rig(&r);
}

static void a_peer_that_left_is_none(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, HEAD "- type: topology-affinity-scorer\n- type: max-score-picker\n", LLMD_FAIL_CLOSED);
  assert_int_equal(llmd_request_set_peer(r.request, r.id[0]), 0);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[0]), 0);
  assert_int_equal(llmd_pool_publish(r.pool, &now), 0);
  assert_true(decide(&r, 1) != 0);
  assert_true(r.decision.target[0].score == 0);
  close_rig(&r);
}

/* ---- columns ------------------------------------------------------------------------------------------------------ */

/* prefix-cache-affinity-filter reads the predicted time as an option, so no producer of it is configured. */
static const char predicted[] =
    HEAD "- type: prefix-cache-affinity-filter\n  parameters: {ttftSource: latencyPredictor, maxTTFTPenaltyMs: 100}\n"
    "- type: max-score-picker\n";

static void set(rig *r, const char *attribute, const char *producer, const double *values)
{
  int a = llmd_pool_attribute(r->pool, attribute, producer, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
  assert_true(a >= 0);
  assert_int_equal(llmd_request_set_column(r->request, (uint32_t)a, r->id, values, ENDPOINTS), 0);
}

static void the_host_fills_a_column_without_producer(void **state)
{
  static const double match[] = {9, 0, 0, 0}, total[] = {10, 10, 10, 10};
  static const double near[] = {150, 100, 100, 100}, far[] = {900, 100, 100, 100};
  uint32_t elsewhere = 0;
  rig r;
  (void)state;
  open_rig(&r, predicted, LLMD_FAIL_CLOSED);
  set(&r, "PrefixCacheMatchInfo.match", "approx-prefix-cache-producer", match);
  set(&r, "PrefixCacheMatchInfo.total", "approx-prefix-cache-producer", total);
  set(&r, "LatencyPredictionInfo.ttft", "predicted-latency-producer", near);
  for (uint64_t seed = 1; seed <= 16; seed++)
    assert_true(decide(&r, seed) == r.id[0]);
  set(&r, "LatencyPredictionInfo.ttft", "predicted-latency-producer", far);
  for (uint64_t seed = 1; seed <= 16; seed++)
    elsewhere += decide(&r, seed) != r.id[0];
  assert_true(elsewhere > 0); /* 800 ms later than the others: nobody sticks */
  close_rig(&r);
}

/* ---- references --------------------------------------------------------------------------------------------------- */

static void refused(const char *config, int code, const char *path)
{
  llmd_pool *pool = NULL;
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(llmd_pool_open(NULL, &pool, &err), 0);
  assert_int_equal(llmd_scheduler_create(NULL, pool, config, strlen(config), &s, &err), code);
  assert_null(s);
  assert_string_equal(err.path, path);
  assert_int_equal(err.line, 7);
  assert_true(err.column > 20);
  llmd_pool_close(pool);
}

#define TWO_STAGES "schedulingProfiles:\n- {name: decode, plugins: []}\n- {name: prefill, plugins: []}\n"

static void a_handler_names_deciders(void **state)
{
  (void)state;
  refused(HEAD "- type: queue-scorer\n- type: max-score-picker\n- type: disagg-profile-handler\n"
               "  parameters: {deciders: {prefill: queue-scorer}}\n" TWO_STAGES,
          LLMD_E_TYPE, "plugins[2].parameters.deciders.prefill");
}

static void a_handler_is_not_its_own_decider(void **state)
{
  (void)state;
  refused(HEAD "- type: queue-scorer\n- type: max-score-picker\n- {type: disagg-profile-handler, name: h,\n"
               "  parameters: {deciders: {encode: h}}}\n" TWO_STAGES,
          LLMD_E_TYPE, "plugins[2].parameters.deciders.encode");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(failing_open_stays_among_the_candidates),
    cmocka_unit_test(failing_open_without_candidates),
    cmocka_unit_test(a_peer_from_outside_draws_its_neighbours),
    cmocka_unit_test(a_peer_that_left_is_none),
    cmocka_unit_test(the_host_fills_a_column_without_producer),
    cmocka_unit_test(a_handler_names_deciders),
    cmocka_unit_test(a_handler_is_not_its_own_decider),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
