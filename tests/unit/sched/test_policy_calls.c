/* Verbs of policies that fail, look at the clock, at texts, at the prompt and at their table: what the decision makes of
 * it, what explain and metrics say, and that a record decides the same again. */
#include "small_rig.h"
#include "toy.h"

#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Say \\\"caf\\u00e9\\\"\"}]}"

static said record, json, table;

static void feed(rig *r)
{
  llmd_request_reset(r->request);
  assert_int_equal(llmd_request_line(r->request, "POST", 4, "/v1/chat/completions", 20), 0);
  assert_int_equal(llmd_request_feed(r->request, BODY, sizeof BODY - 1, LLMD_FEED_FINAL), 0);
}

static void open_toys(rig *r, uint32_t n, const char *config, llmd_scheduler_options *so)
{
  llmd_scheduler_options plain = {.size = sizeof plain};
  so = so ? so : &plain;
  so->explain = 1;
  so->loader_dir = LLMD_TOYS;
  rig_open(r, n, config, so, NULL);
  feed(r);
}

static void write_record(const llmd_lane *lane)
{
  record.len = 0;
  assert_int_equal(llmd_record_write(lane, said_more, &record), 0);
}

static void explain(const llmd_lane *lane)
{
  json.len = table.len = 0;
  assert_int_equal(llmd_explain_json(lane, said_more, &json), 0);
  assert_int_equal(llmd_explain_table(lane, said_more, &table), 0);
  for (const char *at = table.text; *at; at += strcspn(at, "\n") + 1)
    assert_true(strcspn(at, "\n") <= 110); /* 100 characters, one of them an arrow */
}

/* The record of the lane's last decision decides the same on a lane elsewhere, and is written the same. */
static void replays_elsewhere(const rig *r, const char *config)
{
  static said again, why;
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = LLMD_TOYS};
  llmd_decision d = {.size = sizeof d};
  int same = 0;
  rig e;
  write_record(r->lane);
  explain(r->lane);
  rig_open(&e, 0, config, &so, NULL);
  assert_int_equal(llmd_replay(e.lane, record.text, record.len, &d, &same), (int64_t)record.len);
  assert_int_equal(same, 1);
  again.len = 0;
  assert_int_equal(llmd_record_write(e.lane, said_more, &again), 0);
  assert_int_equal(again.len, record.len);
  assert_memory_equal(again.text, record.text, record.len);
  why.len = 0;
  assert_int_equal(llmd_explain_table(e.lane, said_more, &why), 0);
  assert_string_equal(why.text, table.text);
  rig_close(&e);
}

typedef struct wanted {
  const char *reason;
  double value;
} wanted;

static int look(void *ud, const char *name, uint32_t type, const char *help, const char *const *labels, uint32_t n,
                double value)
{
  wanted *w = ud;
  (void)type;
  (void)help;
  if (!strcmp(name, "llmd_policy_failures_total") && n == 1 && !strcmp(labels[1], w->reason))
    w->value = value;
  return 0;
}

static double failures(const rig *r, const char *reason)
{
  wanted w = {reason, -1};
  assert_int_equal(llmd_metrics_visit(r->scheduler, look, &w), 0);
  return w.value;
}

/* The policy is left out, the decision is made all the same; everybody hears why. */
static void failures_are_told(void **state)
{
  static const struct {
    int code;
    const char *reason;
  } rows[] = {{LLMD_E_PLUGIN, "error"}, {LLMD_E_TYPE, "type"}, {LLMD_E_LIMIT, "instructions"}, {LLMD_E_TIMEOUT, "time"},
              {LLMD_E_NOMEM, "memory"}, {LLMD_E_BYPASSED, "bypassed"}, {LLMD_E_STATE, "error"}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char lines[128], config[4096];
    rig r;
    snprintf(lines, sizeof lines, "fail score %d line 3 of it: number %d is no good", rows[i].code, (int)i);
    snprintf(config, sizeof config, "%s", toy_config(lines));
    open_toys(&r, 3, config, NULL);
    assert_int_equal(rig_decide(&r, 5), LLMD_ROUTED);
    assert_int_equal(r.d.ladder, LLMD_LADDER_PLUGIN);
    assert_true(failures(&r, rows[i].reason) == 1);
    replays_elsewhere(&r, config);
    assert_non_null(strstr(json.text, "\"trouble\":\"line 3 of it: number"));
    assert_non_null(strstr(json.text, llmd_errname(rows[i].code)));
    assert_non_null(strstr(json.text, "\"policies\":[{\"name\":\"toy\",\"type\":\"toy\",\"file\":\"\","
                                      "\"number\":\"0\",\"text\":\""));
    assert_non_null(strstr(table.text, llmd_strerror(rows[i].code)));
    assert_non_null(strstr(table.text, "\n        line 3 of it: number"));
    assert_true(failures(&r, rows[i].reason) == 1);
    rig_close(&r);
  }
}

/* Whatever part the policy plays. */
static void every_part_may_fail(void **state)
{
  static const struct {
    const char *lines, *says;
    uint32_t ladder;
  } rows[] = {
      {"fail filter -24 filter: no", "filter: no", LLMD_LADDER_PLUGIN},
      {"produce 1\nfail produce -24 producer: no", "producer toy", LLMD_LADDER_PLUGIN},
      {"profiles\nfail next -24 handler: no", "handler toy", LLMD_LADDER_PLUGIN | LLMD_LADDER_ROBIN},
      {"profiles\nfail finish -24 handler: no", "handler toy", LLMD_LADDER_PLUGIN | LLMD_LADDER_ROBIN},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char config[4096];
    rig r;
    int listed = i == 0;
    snprintf(config, sizeof config, "%s", toy_config(rows[i].lines));
    if (!listed) { /* handlers and producers stand in no profile */
      char *at = strstr(config, "  - pluginRef: toy\n");
      memmove(at, at + 19, strlen(at + 19) + 1);
    }
    open_toys(&r, 3, config, NULL);
    assert_int_equal(rig_decide(&r, 5), LLMD_ROUTED);
    assert_int_equal(r.d.ladder, rows[i].ladder);
    assert_true(failures(&r, "error") == 1);
    replays_elsewhere(&r, config);
    assert_non_null(strstr(table.text, rows[i].says));
    assert_non_null(strstr(table.text, ": no\n"));
    rig_close(&r);
  }
}

static void commit_may_fail(void **state)
{
  rig r;
  (void)state;
  open_toys(&r, 2, toy_config("score try x\nfail commit -3 no room"), NULL);
  assert_int_equal(rig_decide(&r, 5), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  assert_true(failures(&r, "instructions") == 1);
  rig_close(&r);
}

static uint64_t hasty_clock(void *ud)
{
  return *(uint64_t *)ud += 200000; /* every look costs 0.2 ms */
}

/* A verb that was cut by time is not called again: on the machine that replays it might have been fast enough. */
static void time_is_recorded(void **state)
{
  uint64_t clock = 0;
  llmd_scheduler_options so = {.size = sizeof so, .budget_ns = 1000000000, .clock = hasty_clock, .clock_ud = &clock};
  char config[4096];
  int calls;
  rig r;
  (void)state;
  snprintf(config, sizeof config, "%s", toy_config("read f64 WaitingQueueSize\nscore f64 0\nlate score"));
  open_toys(&r, 3, config, &so);
  assert_int_equal(rig_decide(&r, 5), LLMD_ROUTED);
  assert_int_equal(r.d.ladder, LLMD_LADDER_PLUGIN);
  assert_true(r.d.target[0].score == 0);
  assert_true(failures(&r, "time") == 1);
  calls = toy_count()->calls;
  replays_elsewhere(&r, config);
  assert_int_equal(toy_count()->calls, calls);
  rig_close(&r);
}

/* A replay reads no clock, and gives the verb all the time it wants. */
static void a_replay_has_time(void **state)
{
  uint64_t clock = 0;
  llmd_scheduler_options so = {.size = sizeof so, .budget_ns = 1000000000, .clock = hasty_clock, .clock_ud = &clock};
  llmd_decision d = {.size = sizeof d};
  char config[4096];
  int same = 0;
  rig r, e;
  (void)state;
  snprintf(config, sizeof config, "%s", toy_config("read f64 WaitingQueueSize\nscore f64 0\nlate score"));
  open_toys(&r, 3, config, NULL); /* without a clock it is never late */
  assert_int_equal(rig_decide(&r, 5), LLMD_ROUTED);
  assert_int_equal(r.d.ladder, 0);
  write_record(r.lane);
  so.budget_ns = 1;
  open_toys(&e, 0, config, &so);
  assert_int_equal(llmd_replay(e.lane, record.text, record.len, &d, &same), (int64_t)record.len);
  assert_int_equal(same, 1);
  rig_close(&e);
  rig_close(&r);
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static void label(rig *r, uint32_t i, const char *key, const char *value)
{
  llmd_label l = {str(key), str(value)};
  assert_int_equal(llmd_pool_set_labels(r->pool, r->id[i], &l, 1), 0);
}

/* Ids are a region's own: what they say goes along in the record. */
static void texts_replay(void **state)
{
  char config[4096], ask[32];
  rig r, other;
  (void)state;
  snprintf(config, sizeof config, "%s", toy_config("read label zone\nscore text 0 eu-2"));
  open_toys(&r, 4, config, NULL);
  label(&r, 0, "zone", "eu-1");
  label(&r, 1, "zone", "eu-2");
  label(&r, 3, "zone", "eu-1");
  rig_publish(&r);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_true(r.d.target[0].score == 1);
  replays_elsewhere(&r, config);
  /* on a region where the numbers mean something else, also after the replay */
  open_toys(&other, 2, config, NULL);
  for (uint32_t i = 0; i < 6; i++) {
    char zone[16];
    snprintf(zone, sizeof zone, "other-%u", i);
    label(&other, 0, "zone", zone);
  }
  rig_publish(&other);
  assert_true(llmd_replay(other.lane, record.text, record.len, &(llmd_decision){.size = sizeof(llmd_decision)}, NULL) > 0);
  int found = 0;
  for (int id = 0; id < 2000; id++) {
    snprintf(ask, sizeof ask, "text %d", id);
    const char *text = toy_eval(other.lane, ask);
    assert_null(strstr(text, "other"));
    found += !strcmp(text, "eu-1") || !strcmp(text, "eu-2");
  }
  assert_int_equal(found, 2);
  assert_int_equal(rig_decide(&other, 1), LLMD_ROUTED); /* live again */
  rig_close(&other);
  rig_close(&r);
}

/* All endpoints have names of their own. */
static void many_texts(void **state)
{
  char config[4096];
  rig r;
  (void)state;
  snprintf(config, sizeof config, "%s",
           toy_config("read name\nread label zone\nscore text 0 default/10.0.0.31:8000\nscore text 1 z7"));
  open_toys(&r, RIG_MOST, config, NULL);
  for (uint32_t i = 0; i < RIG_MOST; i++) {
    char zone[16];
    snprintf(zone, sizeof zone, "z%u", i % 9);
    label(&r, i, "zone", zone);
  }
  rig_publish(&r);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.d.target[0].score > 0);
  replays_elsewhere(&r, config);
  rig_close(&r);
}

/* Who the request is of is in the record as well. */
static void tenants_replay(void **state)
{
  rig r;
  (void)state;
  open_toys(&r, 2, toy_config("score try x"), NULL);
  rig_header(&r, "x-llm-d-inference-fairness-id", "team-blue");
  rig_header(&r, "x-session-id", "session-77");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  write_record(r.lane);
  assert_non_null(memmem(record.text, record.len, "team-blue", 9));
  assert_non_null(memmem(record.text, record.len, "session-77", 10));
  replays_elsewhere(&r, toy_config("score try x"));
  rig_close(&r);
}

/* ---- the prompt ------------------------------------------------------------------------------------------------- */

static void prompts_only_when_read(void **state)
{
  static const char *const lines[] = {"score try x", "read prompt\nscore prompt 0 Say"};
  (void)state;
  for (int reads = 0; reads < 2; reads++) {
    char config[4096];
    rig r;
    snprintf(config, sizeof config, "%s", toy_config(lines[reads]));
    open_toys(&r, 3, config, NULL);
    assert_int_equal(rig_goes_to(&r, 1), reads ? 0 : rig_goes_to(&r, 1));
    write_record(r.lane);
    assert_int_equal(memmem(record.text, record.len, "Say \"caf\xc3\xa9\"", 11) != NULL, reads);
    replays_elsewhere(&r, config);
    rig_close(&r);
  }
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void answers_replay(void **state)
{
  char config[4096];
  rig r;
  (void)state;
  snprintf(config, sizeof config, "%s", toy_config("score store home\nput home 2"));
  open_toys(&r, 3, config, NULL);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.d.target[0].score == 0);
  replays_elsewhere(&r, config);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  assert_string_equal(toy_eval(r.lane, "get home"), "1 2");
  feed(&r);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  assert_true(r.d.target[0].score == 1);
  replays_elsewhere(&r, config); /* there the table is empty */
  assert_string_equal(toy_eval(r.lane, "get home"), "1 2"); /* a tool's question is no part of the record */
  replays_elsewhere(&r, config);
  rig_close(&r);
}

/* What a producer asks is in its columns, and not mixed up with what the cycle asks. */
static void producers_answers_are_columns(void **state)
{
  static const char config[] = HEAD "- type: toy\n  name: maker\n"
                                    "  parameters: {source: \"get base\\nproduce 1\\nput base 6\"}\n"
                                    "- type: toy\n  name: reader\n  parameters: {source: \"read f64 Toy\\nscore f64 0\\n"
                                    "score store home\\nput home 1\"}\n"
                                    "- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
                                    "  - pluginRef: reader\n  - pluginRef: max-score-picker\n";
  rig r;
  (void)state;
  open_toys(&r, 3, config, NULL);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.d.target[0].score == 0.5);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  feed(&r);
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_true(r.d.target[0].score == 1); /* 1/8 + 1, cut */
  replays_elsewhere(&r, config);
  rig_close(&r);
}

/* A call that failed is not made again: what it asked before it failed is no answer to those who ask after it. */
static void a_failed_calls_questions(void **state)
{
  static const char config[] = HEAD "- type: toy\n  name: broken\n"
                                    "  parameters: {source: \"ask home\\nfail filter -24 asked in vain\"}\n"
                                    "- type: toy\n  name: store\n"
                                    "  parameters: {source: \"score store home\\nput home 0\"}\n"
                                    "- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
                                    "  - pluginRef: broken\n  - pluginRef: store\n  - pluginRef: max-score-picker\n";
  rig r;
  (void)state;
  open_toys(&r, 3, config, NULL);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  feed(&r);
  assert_int_equal(rig_goes_to(&r, 1), 0);
  assert_true(r.d.target[0].score == 1);
  replays_elsewhere(&r, config);
  rig_close(&r);
}

static void too_many_questions(void **state)
{
  char config[4096], lines[1024] = "";
  rig r;
  (void)state;
  for (int i = 0; i < 7; i++)
    strcat(lines, "score store home\n");
  snprintf(config, sizeof config, "%s", toy_config(lines));
  open_toys(&r, RIG_MOST, config, NULL); /* 280 questions */
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  replays_elsewhere(&r, config);
  rig_close(&r);
}

/* ---- hostile records -------------------------------------------------------------------------------------------- */

static void seal(char *data, size_t len)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 32; i < len; i++)
    h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
  for (int i = 0; i < 8; i++)
    data[24 + i] = (char)(h >> 8 * i & 0xff);
}

static void damaged(void **state)
{
  char config[4096];
  unsigned refused = 0, differing = 0;
  rig r;
  (void)state;
  snprintf(config, sizeof config, "%s",
           toy_config("read label zone\nread prompt\nread header x-zone\nscore text 0 eu-2\nscore prompt 1 Say\n"
                      "score store home\nput home 1\nfail filter -24 no filter today"));
  open_toys(&r, 3, config, NULL);
  label(&r, 0, "zone", "eu-1");
  label(&r, 1, "zone", "eu-2");
  rig_publish(&r);
  rig_header(&r, "x-zone", "eu-2");
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  replays_elsewhere(&r, config);
  for (size_t i = 32; i < record.len; i++)
    for (size_t bit = 0; bit < 8; bit += 1 + i % 3) {
      static char copy[sizeof record.text];
      llmd_decision d = {.size = sizeof d}, was = {.size = sizeof was};
      uint32_t missing;
      int same = 0;
      int64_t rc;
      memcpy(copy, record.text, record.len);
      copy[i] = (char)(copy[i] ^ 1 << bit);
      assert_int_equal(llmd_replay(r.lane, copy, record.len, &d, &same), LLMD_E_SYNTAX);
      seal(copy, record.len);
      rc = llmd_replay(r.lane, copy, record.len, &d, &same);
      refused += rc < 0;
      differing += rc > 0 && !same;
      rc = llmd_replay_other(r.lane, copy, record.len, &d, &was, &missing);
      if (rc > 0)
        explain(r.lane);
    }
  assert_true(refused > 100);
  assert_true(differing > 50);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(failures_are_told),
      cmocka_unit_test(every_part_may_fail),
      cmocka_unit_test(commit_may_fail),
      cmocka_unit_test(time_is_recorded),
      cmocka_unit_test(a_replay_has_time),
      cmocka_unit_test(texts_replay),
      cmocka_unit_test(many_texts),
      cmocka_unit_test(tenants_replay),
      cmocka_unit_test(prompts_only_when_read),
      cmocka_unit_test(answers_replay),
      cmocka_unit_test(producers_answers_are_columns),
      cmocka_unit_test(a_failed_calls_questions),
      cmocka_unit_test(too_many_questions),
      cmocka_unit_test(damaged),
  };
  return cmocka_run_group_tests_name("policy calls", tests, NULL, NULL);
}
