/* Records: what is written decides again the same, anywhere; what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "explained.h"

#define HEAD 32u /* bytes before what the checksum covers */

static bytes record;

static void write_record(const llmd_lane *lane)
{
  record.len = record.stop_at = 0;
  assert_int_equal(llmd_record_write(lane, to_bytes, &record), 0);
}

/* Makes the checksum right again. */
static void seal(char *data, size_t len)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = HEAD; i < len; i++)
    h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
  for (int i = 0; i < 8; i++)
    data[24 + i] = (char)(h >> 8 * i & 0xff);
}

/* A lane elsewhere: the same configuration on a pool of its own, without endpoints. */
typedef struct elsewhere {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
} elsewhere;

static void open_elsewhere(elsewhere *e, const rig *r, const situation *s, uint32_t endpoints, uint32_t explain)
{
  llmd_region_options ro = {
      .size = sizeof ro, .max_endpoints = endpoints, .prefix_bytes = 1 << 20, .index_bytes = 1 << 20,
      .state_bytes = 4 << 20, .seed = 99};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .compat = s->compat, .fail = s->fail, .explain = explain};
  assert_int_equal(llmd_pool_open(&po, &e->pool, NULL), 0);
  assert_int_equal(
      llmd_scheduler_create(&so, e->pool, r->config, r->config ? strlen(r->config) : 0, &e->scheduler, NULL), 0);
  assert_int_equal(llmd_lane_create(e->scheduler, 0, &e->lane), 0);
}

static void close_elsewhere(elsewhere *e)
{
  llmd_lane_free(e->lane);
  llmd_scheduler_free(e->scheduler);
  llmd_pool_close(e->pool);
}

/* The explanation, but for the ticket, which a replay does not have. */
static const char *explained(const llmd_lane *lane, bytes *to)
{
  char *at;
  to->len = 0;
  assert_int_equal(llmd_explain_json(lane, to_bytes, to), 0);
  at = strstr(to->data, "\"ticket\":\"");
  assert_non_null(at);
  for (at += 10; *at != '"'; at++)
    *at = '0';
  return to->data;
}

static const char *without_zeros(char *text)
{
  char *at = strstr(text, "\"ticket\":\"") + 10, *end = strchr(at, '"');
  memmove(at, end, strlen(end) + 1);
  return text;
}

static void every_situation_replays_elsewhere(void **state)
{
  static bytes here, there;
  (void)state;
  for (unsigned i = 0; i < n_situations; i++) {
    llmd_decision d = {.size = sizeof d};
    elsewhere e;
    int same = 0;
    rig r;
    rig_make(&r, situations[i].name);
    open_elsewhere(&e, &r, &situations[i], 8, 1);
    write_record(r.lane);
    assert_int_equal(llmd_replay(e.lane, record.data, record.len, &d, &same), (int64_t)record.len);
    assert_int_equal(same, 1);
    assert_int_equal(d.status, r.decision.status);
    assert_int_equal(d.n_targets, r.decision.n_targets);
    assert_int_equal(d.text_len, r.decision.text_len);
    assert_memory_equal(d.text, r.decision.text, d.text_len);
    assert_memory_equal(d.target, r.decision.target, d.n_targets * sizeof *d.target);
    assert_int_equal(d.ticket, 0);
    explained(r.lane, &here);
    explained(e.lane, &there);
    assert_string_equal(without_zeros(here.data), without_zeros(there.data));
    close_elsewhere(&e);
    rig_close(&r);
  }
}

/* Many records after each other, as `llmd replay` reads them. */
static void records_follow_each_other(void **state)
{
  static char both[1 << 16];
  llmd_decision d = {.size = sizeof d};
  size_t len, first;
  int same = 0;
  rig r;
  (void)state;
  rig_make(&r, "default");
  write_record(r.lane);
  first = record.len;
  memcpy(both, record.data, first);
  assert_int_equal(llmd_decide(r.lane, r.request, &r.now, 1234, &d), 0);
  write_record(r.lane);
  memcpy(both + first, record.data, record.len);
  len = first + record.len;
  assert_int_equal(llmd_replay(r.lane, both, len, &d, &same), (int64_t)first);
  assert_int_equal(d.seed, 4);
  assert_int_equal(llmd_replay(r.lane, both + first, len - first, &d, &same), (int64_t)record.len);
  assert_int_equal(d.seed, 1234);
  assert_int_equal(same, 1);
  rig_close(&r);
}

/* Replays leave nothing behind: the lane goes on deciding as one that never replayed. */
static void lane_decides_on(void **state)
{
  llmd_decision a = {.size = sizeof a}, b = {.size = sizeof b};
  llmd_lane *other;
  int same;
  rig r;
  (void)state;
  for (unsigned i = 0; i < n_situations; i++) {
    rig_make(&r, situations[i].name);
    assert_int_equal(llmd_lane_create(r.scheduler, LLMD_LANE_WRITER, &other), 0);
    write_record(r.lane);
    assert_true(llmd_replay(r.lane, record.data, record.len, &a, &same) > 0);
    if (r.decision.status == LLMD_ROUTED) /* of the decision before the replay */
      assert_int_equal(llmd_commit(r.lane, r.request, &r.decision, 0, &r.now), 0);
    assert_int_equal(llmd_decide(other, r.request, &r.now, 55, &b), 0);
    if (b.status == LLMD_ROUTED)
      assert_int_equal(llmd_report(other, b.ticket, LLMD_REPORT_END, NULL, &r.now), 0);
    assert_int_equal(llmd_decide(r.lane, r.request, &r.now, 55, &a), 0);
    assert_int_equal(a.status, b.status);
    if (!(a.ladder & LLMD_LADDER_ROBIN)) {
      assert_int_equal(a.n_targets, b.n_targets);
      assert_memory_equal(a.target, b.target, a.n_targets * sizeof *a.target);
    }
    llmd_lane_free(other);
    rig_close(&r);
  }
}

/* A record whose columns would decide otherwise is replayed, and the difference told. */
static void differences_are_told(void **state)
{
  const double was = 3, will_be = -5;
  llmd_decision d = {.size = sizeof d};
  uint32_t changed = 0;
  int same = 1;
  rig r;
  (void)state;
  rig_make(&r, "default");
  write_record(r.lane);
  for (size_t i = HEAD; i + sizeof was <= record.len; i++)
    if (!memcmp(record.data + i, &was, sizeof was)) {
      memcpy(record.data + i, &will_be, sizeof will_be);
      changed++;
    }
  assert_true(changed > 0);
  seal(record.data, record.len);
  assert_int_equal(llmd_replay(r.lane, record.data, record.len, &d, &same), (int64_t)record.len);
  assert_int_equal(same, 0);
  rig_close(&r);
}

static void other_configurations_are_refused(void **state)
{
  static const situation other = {.name = "other", .config = "random", .path = "/", .body = ""};
  static const situation strict = {.name = "strict", .path = "/", .body = "", .compat = LLMD_COMPAT_STRICT};
  static const situation open = {.name = "open", .path = "/", .body = "", .fail = LLMD_FAIL_OPEN};
  const situation *const wrong[] = {&other, &strict, &open};
  llmd_decision d = {.size = sizeof d, .seed = 77};
  int same = 5;
  rig r;
  (void)state;
  rig_make(&r, "default");
  write_record(r.lane);
  for (int i = 0; i < 3; i++) {
    rig w;
    assert_int_equal(rig_open(&w, wrong[i], LLMD_GOLDEN), 0);
    assert_int_equal(llmd_replay(w.lane, record.data, record.len, &d, &same), LLMD_E_MISMATCH);
    assert_int_equal(d.seed, 77);
    assert_int_equal(same, 5);
    rig_close(&w);
  }
  record.data[8] = 3; /* a version to come */
  assert_int_equal(llmd_replay(r.lane, record.data, record.len, &d, &same), LLMD_E_MISMATCH);
  rig_close(&r);
}

static void limits(void **state)
{
  llmd_decision d = {.size = sizeof d};
  elsewhere e;
  int same;
  rig r;
  (void)state;
  rig_make(&r, "default");
  write_record(r.lane);
  open_elsewhere(&e, &r, situation_named("default"), 7, 1); /* room for seven rows */
  assert_int_equal(llmd_replay(e.lane, record.data, record.len, &d, &same), LLMD_E_LIMIT);
  assert_int_equal(llmd_explain_json(e.lane, to_bytes, &record), LLMD_E_NONE);
  close_elsewhere(&e);
  open_elsewhere(&e, &r, situation_named("default"), 8, 0); /* no room for the why */
  assert_int_equal(llmd_replay(e.lane, record.data, record.len, &d, &same), LLMD_E_STATE);
  close_elsewhere(&e);
  assert_int_equal(llmd_replay(r.lane, NULL, 0, &d, &same), LLMD_E_INVALID);
  d.size = 8;
  assert_int_equal(llmd_replay(r.lane, record.data, record.len, &d, &same), LLMD_E_INVALID);
  rig_close(&r);
}

/* Every prefix is an error, and none is mistaken for a record. */
static void cut_short(void **state)
{
  llmd_decision d = {.size = sizeof d, .seed = 77};
  int same = 5;
  rig r;
  (void)state;
  rig_make(&r, "disagg-image");
  write_record(r.lane);
  for (size_t len = 0; len < record.len; len++) {
    char *exact = malloc(len ? len : 1);
    memcpy(exact, record.data, len);
    assert_int_equal(llmd_replay(r.lane, exact, len, &d, &same), LLMD_E_TRUNCATED);
    free(exact);
  }
  assert_int_equal(llmd_replay(r.lane, "LLMDREX1", 8, &d, &same), LLMD_E_SYNTAX);
  assert_int_equal(d.seed, 77);
  assert_int_equal(same, 5);
  rig_close(&r);
}

/* One byte after the other is damaged: seen by the checksum; and with the checksum made right, harmless. */
static void damaged(void **state)
{
  static char copy[1 << 16];
  static bytes table;
  unsigned refused = 0, differing = 0;
  (void)state;
  for (unsigned k = 0; k < 3; k++) {
    static const char *const names[] = {"load", "disagg-image", "session"};
    llmd_decision d = {.size = sizeof d};
    int same;
    rig r;
    rig_make(&r, names[k]);
    write_record(r.lane);
    for (size_t i = 0; i < record.len; i++) {
      int64_t rc;
      memcpy(copy, record.data, record.len);
      copy[i] = (char)(copy[i] ^ (i % 2 ? 0x80 : 0x01));
      assert_true(llmd_replay(r.lane, copy, record.len, &d, &same) < 0);
      if (i < HEAD)
        continue;
      seal(copy, record.len);
      rc = llmd_replay(r.lane, copy, record.len, &d, &same);
      refused += rc < 0;
      differing += rc > 0 && !same;
      table.len = 0;
      llmd_explain_table(r.lane, to_bytes, &table);
    }
    assert_int_equal(llmd_replay(r.lane, record.data, record.len, &d, &same), (int64_t)record.len);
    assert_int_equal(same, 1);
    rig_close(&r);
  }
  assert_true(refused > 100);
  assert_true(differing > 100);
}

static uint64_t hasty_clock(void *ud)
{
  return *(uint64_t *)ud += 400000; /* every look costs 0.4 ms of the 1 ms */
}

/* The budget is the host's clock, which a replay must not need: it stops where the decision stopped. */
static void out_of_time(void **state)
{
  uint64_t clock = 0;
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .clock = hasty_clock, .clock_ud = &clock};
  llmd_decision d = {.size = sizeof d}, again = {.size = sizeof again};
  llmd_scheduler *s;
  llmd_lane *lane;
  elsewhere e;
  int same = 0;
  rig r;
  (void)state;
  rig_make(&r, "load");
  assert_int_equal(llmd_scheduler_create(&so, r.pool, r.config, strlen(r.config), &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, 0, &lane), 0);
  assert_int_equal(llmd_decide(lane, r.request, &r.now, 3, &d), 0);
  assert_int_equal(d.status, LLMD_ROUTED);
  assert_int_equal(d.ladder, LLMD_LADDER_BUDGET);
  write_record(lane);
  open_elsewhere(&e, &r, situation_named("load"), 8, 1);
  assert_int_equal(llmd_replay(e.lane, record.data, record.len, &again, &same), (int64_t)record.len);
  assert_int_equal(same, 1);
  assert_int_equal(again.ladder, LLMD_LADDER_BUDGET);
  assert_true(again.target[0].score < r.decision.target[0].score);
  close_elsewhere(&e);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  rig_close(&r);
}

static void stopping(void **state)
{
  rig r;
  (void)state;
  rig_make(&r, "default");
  record.len = 0;
  record.stop_at = 700;
  assert_int_equal(llmd_record_write(r.lane, to_bytes, &record), LLMD_E_STOPPED);
  rig_close(&r);
}

/* What does not fit in the lane is no record, and the decision is none the worse. */
static void too_much_text(void **state)
{
  static const char config[] = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
                               "- type: header-label-affinity-scorer\n"
                               "  parameters: {headerName: x-zone, labelKey: zone}\n";
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 1, .prefix_bytes = 1 << 20, .state_bytes = 4 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  llmd_request_options qo = {.size = sizeof qo, .text_bytes = 65536};
  llmd_endpoint endpoint = {.size = sizeof endpoint, .port = 1, .address = {"10.0.0.1", 8}};
  llmd_decision d = {.size = sizeof d};
  size_t size = llmd_request_size(&qo), long_len = 30000;
  char *memory = malloc(size), *value = malloc(long_len);
  llmd_now now = {1, 1};
  llmd_request *request;
  llmd_endpoint_id id;
  llmd_scheduler *s;
  llmd_pool *pool;
  llmd_lane *lane;
  (void)state;
  memset(value, 'z', long_len);
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  assert_int_equal(llmd_pool_add(pool, &endpoint, &id), 0);
  assert_int_equal(llmd_pool_publish(pool, &now), 0);
  assert_int_equal(llmd_scheduler_create(&so, pool, config, sizeof config - 1, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, 0, &lane), 0);
  assert_int_equal(llmd_request_init(memory, size, &qo, &request), 0);
  assert_int_equal(llmd_request_header(request, "x-zone", 6, value, long_len), 0);
  assert_int_equal(llmd_request_feed(request, "{\"model\":\"m\",\"prompt\":\"hi\"}", 27, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(lane, request, &now, 1, &d), 0);
  assert_int_equal(d.status, LLMD_ROUTED);
  assert_int_equal(llmd_record_write(lane, to_bytes, &record), LLMD_E_LIMIT);
  record.len = record.stop_at = 0;
  assert_int_equal(llmd_explain_table(lane, to_bytes, &record), 0);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(memory);
  free(value);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_situation_replays_elsewhere),
      cmocka_unit_test(records_follow_each_other),
      cmocka_unit_test(lane_decides_on),
      cmocka_unit_test(differences_are_told),
      cmocka_unit_test(other_configurations_are_refused),
      cmocka_unit_test(limits),
      cmocka_unit_test(cut_short),
      cmocka_unit_test(damaged),
      cmocka_unit_test(out_of_time),
      cmocka_unit_test(stopping),
      cmocka_unit_test(too_much_text),
  };
  return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
