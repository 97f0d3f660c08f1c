/* Records decided by another configuration than their own: what would have happened? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "explained.h"
/* the rig of situation.h is the one used here; this one brings the toys */
#define rig small_rig
#define rig_open small_open
#define rig_close small_close
#define rig_decide small_decide
#include "small_rig.h"
#undef rig
#undef rig_open
#undef rig_close
#undef rig_decide
#include "toy.h"

static said record, again;

static void write_record(const llmd_lane *lane, said *to)
{
  to->len = 0;
  assert_int_equal(llmd_record_write(lane, said_more, to), 0);
}

static void same_choice(const llmd_decision *a, const llmd_decision *b)
{
  assert_int_equal(a->status, b->status);
  assert_int_equal(a->reason, b->reason);
  assert_int_equal(a->code, b->code);
  assert_int_equal(a->primary, b->primary);
  assert_int_equal(a->n_targets, b->n_targets);
  for (uint32_t i = 0; i < a->n_targets; i++) {
    assert_int_equal(a->target[i].id, b->target[i].id);
    assert_int_equal(a->target[i].profile, b->target[i].profile);
    assert_int_equal(a->target[i].port, b->target[i].port);
    assert_memory_equal(&a->target[i].score, &b->target[i].score, sizeof(double));
  }
}

/* By its own configuration a record comes out as it was, also by this way; and what was is told. */
static void of_its_own_configuration(void **state)
{
  (void)state;
  for (unsigned i = 0; i < n_situations; i++) {
    llmd_decision d = {.size = sizeof d}, was = {.size = sizeof was};
    uint32_t missing = 7;
    int same = 0;
    rig r;
    rig_make(&r, situations[i].name);
    write_record(r.lane, &record);
    assert_int_equal(llmd_replay_other(r.lane, record.text, record.len, &d, &was, &missing), (int64_t)record.len);
    assert_int_equal(missing, 0);
    same_choice(&was, &r.decision);
    same_choice(&d, &r.decision);
    assert_int_equal(was.ladder, r.decision.ladder);
    assert_int_equal(d.ladder, r.decision.ladder);
    assert_int_equal(was.n_profiles, r.decision.status == LLMD_ROUTED ? r.decision.n_profiles : was.n_profiles);
    write_record(r.lane, &again);
    assert_int_equal(llmd_replay(r.lane, again.text, again.len, &d, &same), (int64_t)again.len);
    assert_int_equal(same, 1);
    rig_close(&r);
  }
}

/* A lane of another configuration on the pool of r. */
typedef struct beside {
  llmd_scheduler *scheduler;
  llmd_lane *lane;
} beside;

static void beside_open(beside *b, llmd_pool *pool, const char *config)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_scheduler_create(&so, pool, config, strlen(config), &b->scheduler, &err))
    fail_msg("%s: %s", err.path, err.text);
  assert_int_equal(llmd_lane_create(b->scheduler, 0, &b->lane), 0);
}

static void beside_close(beside *b)
{
  llmd_lane_free(b->lane);
  llmd_scheduler_free(b->scheduler);
}

static const char everything[] = HEAD "- type: queue-scorer\n- type: kv-cache-utilization-scorer\n"
                                      "- type: running-requests-size-scorer\n- type: lora-affinity-scorer\n"
                                      "- type: max-score-picker\n";

static void set_up(small_rig *r, const char *config)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  small_open(r, 6, config, &so, NULL);
  for (uint32_t i = 0; i < 6; i++) {
    assert_int_equal(llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_KV_USAGE, 0.9 - 0.13 * i), 0);
    assert_int_equal(llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_RUNNING, i * 5 % 7), 0);
  }
  assert_int_equal(llmd_pool_set(r->pool, r->id[4], LLMD_ATTR_KV_USAGE, (double)NAN), 0);
  rig_publish(r);
  rig_body(r, "{\"model\":\"m\",\"prompt\":\"hi\"}");
}

/* What is said to have happened is what the other configuration does on the same pool. */
static void as_the_other_would(void **state)
{
  static const char *const others[] = {
      HEAD "- type: queue-scorer\n- type: max-score-picker\n  parameters: {maxNumOfEndpoints: 3}\n",
      HEAD "- type: kv-cache-utilization-scorer\n- type: max-score-picker\n  parameters: {maxNumOfEndpoints: 6}\n",
      HEAD "- type: running-requests-size-scorer\n- type: kv-cache-utilization-scorer\n- type: weighted-random-picker\n",
      HEAD "- type: toy\n  parameters: {source: \"read f64 KVCacheUsagePercent\\nread f64 WaitingQueueSize\\nread name\\n"
           "score f64 0\\nscore f64 1\\nscore text 2 default/10.0.0.3:8000\"}\n- type: queue-scorer\n"
           "- type: max-score-picker\n  parameters: {maxNumOfEndpoints: 4}\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    llmd_decision live = {.size = sizeof live}, d = {.size = sizeof d}, was = {.size = sizeof was};
    uint32_t missing = 7;
    int same = 0, toy = i == 3;
    small_rig r;
    beside b;
    set_up(&r, everything);
    assert_int_equal(small_decide(&r, 42), LLMD_ROUTED);
    write_record(r.lane, &record);
    beside_open(&b, r.pool, others[i]);
    assert_int_equal(llmd_replay(b.lane, record.text, record.len, &d, &same), LLMD_E_MISMATCH);
    assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, &was, &missing), (int64_t)record.len);
    assert_int_equal(missing, toy); /* nobody had asked for names */
    same_choice(&was, &r.d);
    write_record(b.lane, &again); /* the decision of now, as a record of its own configuration */
    assert_int_equal(llmd_decide(b.lane, r.request, &r.now, 42, &live), 0);
    if (!toy)
      same_choice(&d, &live);
    assert_int_equal(llmd_replay(b.lane, again.text, again.len, &live, &same), (int64_t)again.len);
    assert_int_equal(same, 1);
    same_choice(&d, &live);
    beside_close(&b);
    small_close(&r);
  }
}

/* What the record does not hold is unknown, and counted; what was not asked for is not. */
static void unknown_is_counted(void **state)
{
  static const char wants[] = HEAD "- type: toy\n  parameters: {source: \"read f64 KVCacheUsagePercent\\n"
                                   "read f64 RunningRequestsSize\\nread f64 WaitingQueueSize\\n"
                                   "read header x-zone\\nscore f64 2\"}\n"
                                   "- type: max-score-picker\n";
  llmd_decision d = {.size = sizeof d};
  uint32_t missing = 7;
  small_rig r;
  beside b;
  (void)state;
  set_up(&r, HEAD "- type: queue-scorer\n");
  assert_int_equal(small_decide(&r, 42), LLMD_ROUTED);
  write_record(r.lane, &record);
  beside_open(&b, r.pool, wants);
  assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, NULL, &missing), (int64_t)record.len);
  assert_int_equal(missing, 3);
  assert_int_equal(d.target[0].id, r.id[0]);
  assert_true(d.target[0].score == 1);
  assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, NULL, NULL), (int64_t)record.len);
  beside_close(&b);
  small_close(&r);
}

/* Columns that producers made are found by name, whether somebody read them or not. */
static void columns_by_name(void **state)
{
  static const char makes[] = HEAD "- type: toy\n  name: maker\n  parameters: {source: \"produce 3\"}\n"
                                   "- type: queue-scorer\n- type: max-score-picker\n";
  static const char *const reads[] = {
      HEAD "- type: toy\n  name: maker\n  parameters: {source: \"produce 9\"}\n"
           "- type: toy\n  parameters: {source: \"read f64 Toy\\nscore f64 0\"}\n- type: max-score-picker\n"
           "schedulingProfiles:\n- name: default\n  plugins: [{pluginRef: toy}, {pluginRef: max-score-picker}]\n",
      HEAD "- type: toy\n  parameters: {source: \"read f64 Toy\\nscore f64 0\"}\n- type: max-score-picker\n",
      HEAD "- type: toy\n  name: another\n  parameters: {source: \"produce 9\"}\n- type: queue-scorer\n"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    llmd_decision d = {.size = sizeof d};
    uint32_t missing = 7;
    small_rig r;
    beside b;
    set_up(&r, makes);
    assert_int_equal(small_decide(&r, 42), LLMD_ROUTED);
    write_record(r.lane, &record);
    beside_open(&b, r.pool, reads[i]);
    assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, NULL, &missing), (int64_t)record.len);
    assert_int_equal(missing, 0);
    assert_true(d.target[0].score == (i < 2 ? 0.25 : 1));
    beside_close(&b);
    small_close(&r);
  }
}

static void label_all(small_rig *r)
{
  for (uint32_t i = 0; i < 6; i++) {
    char zone[8];
    llmd_label l = {str("zone"), {zone, 2}};
    snprintf(zone, sizeof zone, "z%u", i);
    assert_int_equal(llmd_pool_set_labels(r->pool, r->id[i], &l, 1), 0);
  }
  rig_publish(r);
}

static const char *zone_toy(unsigned zone)
{
  char lines[64];
  snprintf(lines, sizeof lines, "read label zone\nscore text 0 z%u", zone);
  return toy_config(lines);
}

/* Ids are looked at by what they say, which the record has when somebody asked for it. */
static void texts_by_name(void **state)
{
  static const char ids_only[] = HEAD "- type: header-label-affinity-scorer\n"
                                      "  parameters: {headerName: x-zone, labelKey: zone}\n";
  llmd_decision d = {.size = sizeof d};
  uint32_t missing;
  small_rig r;
  beside b;
  (void)state;
  set_up(&r, zone_toy(1));
  label_all(&r);
  assert_int_equal(rig_goes_to(&r, 42), 1);
  write_record(r.lane, &record);
  beside_open(&b, r.pool, zone_toy(5));
  assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, NULL, &missing), (int64_t)record.len);
  assert_int_equal(missing, 0);
  assert_int_equal(d.target[0].id, r.id[5]);
  beside_close(&b);
  small_close(&r);
  set_up(&r, ids_only);
  label_all(&r);
  rig_header(&r, "x-zone", "z3");
  assert_int_equal(rig_goes_to(&r, 42), 3);
  write_record(r.lane, &record);
  beside_open(&b, r.pool, zone_toy(5));
  assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, NULL, &missing), (int64_t)record.len);
  assert_int_equal(missing, 1);
  assert_true(d.target[0].score == 0);
  beside_close(&b);
  small_close(&r);
}

/* What failed then was the other policy's; what fails now is told. Tables of then are not those of now. */
static void failures_are_ones_own(void **state)
{
  llmd_decision d = {.size = sizeof d}, was = {.size = sizeof was};
  static said why;
  small_rig r;
  beside good, bad;
  (void)state;
  set_up(&r, toy_config("score store home\nput home 4\nfail filter -26 too slow"));
  assert_int_equal(small_decide(&r, 42), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"hi\"}");
  assert_int_equal(rig_goes_to(&r, 42), 4);
  assert_int_equal(r.d.ladder, LLMD_LADDER_PLUGIN);
  write_record(r.lane, &record);
  beside_open(&good, r.pool, toy_config("score store home\nput home 4\nkeep nobody"));
  assert_int_equal(llmd_replay_other(good.lane, record.text, record.len, &d, &was, NULL), (int64_t)record.len);
  assert_int_equal(was.ladder, LLMD_LADDER_PLUGIN);
  assert_int_equal(d.ladder, 0);
  assert_true(was.target[0].score == 1 && d.target[0].score == 0);
  beside_close(&good);
  beside_open(&bad, r.pool, toy_config("fail score -24 broken on line 9"));
  assert_int_equal(llmd_replay_other(bad.lane, record.text, record.len, &d, &was, NULL), (int64_t)record.len);
  assert_int_equal(d.ladder, LLMD_LADDER_PLUGIN);
  why.len = 0;
  assert_int_equal(llmd_explain_table(bad.lane, said_more, &why), 0);
  assert_non_null(strstr(why.text, "broken on line 9"));
  write_record(bad.lane, &again); /* that it fails is part of its own record */
  assert_int_equal(llmd_replay(bad.lane, again.text, again.len, &d, NULL), (int64_t)again.len);
  beside_close(&bad);
  small_close(&r);
}

/* Refusals before the cycle, and steps of the ladder that the outside forced. */
static void what_the_outside_forced(void **state)
{
  static const char *const names[] = {"default-stale", "default-shed", "default-narrowed", "saturated"};
  (void)state;
  for (int i = 0; i < 4; i++) {
    llmd_decision d = {.size = sizeof d}, was = {.size = sizeof was};
    rig r;
    beside b;
    rig_make(&r, names[i]);
    write_record(r.lane, &record);
    beside_open(&b, r.pool, HEAD "- type: queue-scorer\n");
    assert_int_equal(llmd_replay_other(b.lane, record.text, record.len, &d, &was, NULL), (int64_t)record.len);
    same_choice(&was, &r.decision);
    assert_int_equal(d.ladder, r.decision.ladder & LLMD_LADDER_STALE);
    if (i == 3) /* nothing filters here */
      assert_int_equal(d.status, LLMD_ROUTED);
    beside_close(&b);
    rig_close(&r);
  }
}

static void misuse(void **state)
{
  llmd_decision d = {.size = sizeof d}, was = {.size = 8};
  small_rig r;
  (void)state;
  set_up(&r, everything);
  assert_int_equal(small_decide(&r, 42), LLMD_ROUTED);
  write_record(r.lane, &record);
  assert_int_equal(llmd_replay_other(r.lane, record.text, record.len, &d, &was, NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_replay_other(r.lane, NULL, 0, &d, NULL, NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_replay_other(r.lane, record.text, record.len - 1, &d, NULL, NULL), LLMD_E_TRUNCATED);
  record.text[8] = 1; /* a version of yore */
  assert_int_equal(llmd_replay_other(r.lane, record.text, record.len, &d, NULL, NULL), LLMD_E_MISMATCH);
  small_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_its_own_configuration),
      cmocka_unit_test(as_the_other_would),
      cmocka_unit_test(unknown_is_counted),
      cmocka_unit_test(columns_by_name),
      cmocka_unit_test(texts_by_name),
      cmocka_unit_test(failures_are_ones_own),
      cmocka_unit_test(what_the_outside_forced),
      cmocka_unit_test(misuse),
  };
  return cmocka_run_group_tests_name("replay other", tests, NULL, NULL);
}
