/* The scorers that look at who an endpoint is, and at what happened before: labels, headers, topology, predictions, the
 * list of least recently used endpoints, sessions. */
#include "expect.h"

#include <string.h>

extern const llmd_plugin llmd__header_label_affinity_scorer, llmd__context_length_aware, llmd__topology_affinity_scorer,
  llmd__latency_scorer, llmd__no_hit_lru_scorer, llmd__session_affinity_scorer, llmd__session_affinity_filter,
  llmd__multicluster_session_affinity_filter;

static void tables(void **state)
{
  static const llmd_plugin *const all[] = {
    &llmd__header_label_affinity_scorer, &llmd__context_length_aware, &llmd__topology_affinity_scorer,
    &llmd__latency_scorer, &llmd__no_hit_lru_scorer, &llmd__session_affinity_scorer, &llmd__session_affinity_filter,
    &llmd__multicluster_session_affinity_filter};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    const char *fault = bench_table_fault(all[i]);
    if (fault)
      fail_msg("%s: %s", all[i]->type, fault);
  }
}

static void header_label(void **state)
{
  bench *b = bench_new(&llmd__header_label_affinity_scorer);
  uint32_t mode;
  (void)state;
  bench_text(b, "headerName", "x-team");
  bench_text(b, "labelKey", "team");
  assert_int_equal(bench_validate(b), 0);
  FILL_IDS(b, LLMD_READ_LABEL, "team", "red", "blue", NULL, "red");
  for (mode = SAFE; mode <= STRICT; mode++) {
    bench_header(b, "x-team", "red");
    SCORES(b, mode, 1, 0, 0, 1);
    bench_header(b, "x-team", "green");
    SCORES(b, mode, 0, 0, 0, 0);
    bench_header(b, "x-team", "");
    SCORES(b, mode, 0, 0, 0, 0);
    bench_header(b, "x-team", NULL);
    SCORES(b, mode, 0, 0, 0, 0);
  }
  bench_text(b, "labelKey", "");
  expect_refused(b, LLMD_E_MISSING, "labelKey");
  bench_text(b, "headerName", "");
  expect_refused(b, LLMD_E_MISSING, "headerName");
  bench_free(b);
}

/* ---- context length --------------------------------------------------------------------------------------------- */
static const char range_label[] = "llm-d.ai/context-length-range";

static void context_ranges(void **state)
{
  bench *b = bench_new(&llmd__context_length_aware);
  static const char *const bad[] = {"",      "100",  "9-3",  "x-y", "1-2-3", "-5", "5-", "1.5-2",
                                    "1e2-3", "0x1-9", "- ", "9223372036854775808-9223372036854775809"};
  static const char *const good[] = {"0-50", "\t10 - 40\r", "+10-+40", "26-26", "0026-26"};
  uint32_t i, n_bad = sizeof bad / sizeof bad[0], n_good = sizeof good / sizeof good[0];
  double out[BENCH_MOST];
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  b->request.tokens = 26;
  b->n = n_bad;
  for (i = 0; i < n_bad; i++)
    bench_label(b, i, range_label, bad[i]);
  bench_score(b, STRICT, out);
  for (i = 0; i < n_bad; i++)
    expect_near(bad[i], i, out[i], 0, __LINE__);
  bench_free(b);
  b = bench_new(&llmd__context_length_aware);
  assert_int_equal(bench_validate(b), 0);
  b->request.tokens = 26;
  b->n = n_good;
  for (i = 0; i < n_good; i++)
    bench_label(b, i, range_label, good[i]);
  bench_score(b, STRICT, out);
  for (i = 0; i < n_good; i++)
    assert_true(out[i] > 0.3);
  expect_near("width 0", 3, out[3], 1, __LINE__);
  bench_free(b);
}

static void context_score(void **state)
{
  bench *b = bench_new(&llmd__context_length_aware);
  uint32_t mode;
  (void)state;
  bench_text(b, "label", "fits");
  assert_int_equal(bench_validate(b), 0);
  bench_label(b, 0, "fits", "0-10000");
  bench_label(b, 1, "fits", "0-1000");
  bench_label(b, 2, "fits", "5000-8000");
  bench_label(b, 4, "other", "0-10000");
  b->n = 5;
  b->request.tokens = 4000;
  for (mode = SAFE; mode <= STRICT; mode++)
    SCORES(b, mode, 0.3 + 0.7 * (0.7 / 2 + 0.3 * 0.6), 0.3 / 4, 0.3 / 2, 0.5, 0.5);
  b->request.tokens = 0; /* unknown */
  SCORES(b, STRICT, 0.3 + 0.7 * (0.7 / 2 + 0.3), 0.3 + 0.7 * (0.7 / 1.1 + 0.3), 0.3 / 6, 0.5, 0.5);
  bench_text(b, "label", "");
  expect_refused(b, LLMD_E_MISSING, "label");
  bench_free(b);
}

static void context_filter(void **state)
{
  bench *b = bench_new(&llmd__context_length_aware);
  (void)state;
  bench_label(b, 0, range_label, "0-100");
  bench_label(b, 1, range_label, "101-200");
  bench_label(b, 2, range_label, "nonsense");
  bench_label(b, 4, range_label, "100-101");
  b->n = 5;
  b->request.tokens = 100;
  KEEPS(b, STRICT, 0, 1, 2, 3, 4);
  bench_number(b, "enableFiltering", 1);
  assert_int_equal(bench_validate(b), 0);
  KEEPS(b, STRICT, 0, 3, 4);
  KEEPS(b, SAFE, 0, 3, 4);
  b->request.tokens = 300;
  KEEPS(b, STRICT, 3);
  bench_free(b);
}

/* ---- topology --------------------------------------------------------------------------------------------------- */
static void topology(void **state)
{
  bench *b = bench_new(&llmd__topology_affinity_scorer);
  uint32_t mode;
  (void)state;
  FILL_IDS(b, LLMD_READ_ID, "Topology.hostname", "a", "b", "c", "d", NULL, "", "a");
  FILL_IDS(b, LLMD_READ_ID, "Topology.rack", "r1", "r1", "r2", "r2", NULL, "r1", "r9");
  FILL_IDS(b, LLMD_READ_ID, "Topology.zone", "z1", "z1", "z1", "z2", NULL, "z2", "z9");
  FILL_IDS(b, LLMD_READ_ID, "Topology.region", "g1", "g1", "g1", "g1", NULL, "g9", "g9");
  for (mode = SAFE; mode <= STRICT; mode++) {
    b->has_peer = 0;
    SCORES(b, mode, 0, 0, 0, 0, 0, 0, 0);
    bench_peer(b, LLMD_READ_ID, "Topology.hostname", "a");
    bench_peer(b, LLMD_READ_ID, "Topology.rack", "r1");
    bench_peer(b, LLMD_READ_ID, "Topology.zone", "z1");
    bench_peer(b, LLMD_READ_ID, "Topology.region", "g1");
    SCORES(b, mode, 1, 0.2, 0.05, 0.02, 0, 0.2, 1);
    bench_peer(b, LLMD_READ_ID, "Topology.hostname", ""); /* not known: nobody's host is the same */
    bench_peer(b, LLMD_READ_ID, "Topology.rack", NULL);
    SCORES(b, mode, 0.05, 0.05, 0.05, 0.02, 0, 0, 0);
  }
  bench_free(b);
}

/* ---- latency ---------------------------------------------------------------------------------------------------- */
#define LATENCY "LatencyPredictionInfo."

static void latency_headroom(void **state)
{
  bench *b = bench_new(&llmd__latency_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, LATENCY "valid", 3, 3, 3, 3);
  FILL(b, LATENCY "dispatched", 1, 1, 1, 1);
  FILL(b, LATENCY "ttft_headroom", 100, 300, 200, -5);
  FILL(b, LATENCY "tpot_headroom", 10, 10, 10, 10);
  SCORES(b, STRICT, 1.01, 0.01, 0.51, 0); /* all weight on the dimension that differs */
  SCORES(b, SAFE, 1.01, 0.01, 0.51, 0);
  bench_text(b, "headroomSelectionStrategy", "most");
  assert_int_equal(bench_validate(b), 0);
  SCORES(b, STRICT, 0.01, 1.01, 0.51, 0);
  bench_text(b, "headroomSelectionStrategy", "whatever");
  assert_int_equal(bench_validate(b), 0);
  FILL(b, LATENCY "ttft_headroom", 0, 100, 0, 0);
  FILL(b, LATENCY "tpot_headroom", 50, 0, 50, 50);
  SCORES(b, STRICT, 0.81, 0.2, 0.81, 0.81); /* (1 - 0.8) * 100 is less than 20 */
  bench_number(b, "ttftWeight", 0.5);
  bench_number(b, "tpotWeight", 1.5);
  SCORES(b, STRICT, 0.26, 0.76, 0.26, 0.26);
  bench_number(b, "ttftWeight", -1.5); /* no weight: TTFT alone */
  SCORES(b, STRICT, 1.01, 0.01, 1.01, 1.01);
  FILL(b, LATENCY "ttft_headroom", 7, 7, 7, 7);
  FILL(b, LATENCY "tpot_headroom", 3, 3, 3, 3);
  SCORES(b, STRICT, 0.51, 0.51, 0.51, 0.51);
  bench_free(b);
}

static void latency_late(void **state)
{
  bench *b = bench_new(&llmd__latency_scorer);
  (void)state;
  bench_text(b, "headroomSelectionStrategy", "most");
  assert_int_equal(bench_validate(b), 0);
  FILL(b, LATENCY "valid", 3, 3, 3, 3, 3);
  FILL(b, LATENCY "ttft_headroom", -10, 10, -5, 20, -20);
  FILL(b, LATENCY "tpot_headroom", 5, -1, -1, -3, 5);
  FILL(b, LATENCY "dispatched", 2, 1, 1, 1, 1);
  SCORES(b, STRICT, 0, 1.01, 0, 0.01, 0); /* only TPOT is late; least, whatever the strategy */
  FILL(b, LATENCY "tpot_headroom", 5, 5, -1, 5, 5);
  FILL(b, LATENCY "ttft_headroom", -10, -20, -5, -15, -20);
  SCORES(b, STRICT, 1.01, 0.01, 0, 0.51, 0.01);
  FILL(b, LATENCY "dispatched", 2, 0, 0, 1, 1);
  FILL(b, LATENCY "tpot_headroom", 1, 1, -1, 1, 1);
  FILL(b, LATENCY "ttft_headroom", -10, -20, -5, -15, -20);
  SCORES(b, STRICT, 0, 0.01, 1.01, 0, 0);
  SCORES(b, SAFE, 0, 0.01, 1.01, 0, 0);
  FILL(b, LATENCY "tpot_headroom", -1, -1, -1, -1, -1);
  FILL(b, LATENCY "dispatched", 1, 1, 1, 1, 1);
  SCORES(b, STRICT, 0.67, 0.01, 1.01, 0.34, 0.01);
  bench_free(b);
}

static void latency_unknown(void **state)
{
  bench *b = bench_new(&llmd__latency_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, LATENCY "valid", NAN, 3, 3, 3, 3);
  FILL(b, LATENCY "ttft_headroom", NAN, 100, 200, -1, NAN);
  FILL(b, LATENCY "tpot_headroom", NAN, 5, 5, 5, 5);
  FILL(b, LATENCY "dispatched", NAN, 1, 1, 1, 1);
  SCORES(b, STRICT, 1.01, 0.4, 0.01, 0, 0.81);  /* as if its headroom were 0 */
  SCORES(b, SAFE, 0.005, 1.01, 0.01, 0, 0.005); /* behind the good, before the bad */
  FILL(b, LATENCY "ttft_headroom", NAN, -1, -2, -1, INFINITY);
  SCORES(b, SAFE, 0.51, 0, 0, 0, 0.51);
  FILL(b, LATENCY "ttft_headroom", NAN, -1, -INFINITY, NAN, -1);
  FILL(b, LATENCY "valid", 3, 3, 3, 3, 3);
  FILL(b, LATENCY "tpot_headroom", -4, 1, 1, -8, 1);
  SCORES(b, SAFE, 1.01, 0, 0, 0.01, 0); /* one headroom unknown, the other late: late */
  bench_free(b);
}

static void latency_without(void **state)
{
  bench *b = bench_new(&llmd__latency_scorer);
  (void)state;
  bench_number(b, "compositeKVWeight", 2);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "WaitingQueueSize", 4, 0, 1, NAN);
  FILL(b, "KVCacheUsagePercent", 0.5, 0, 1, NAN);
  FILL(b, "PrefixCacheMatchInfo.match", 4, 0, NAN, 2);
  FILL(b, "PrefixCacheMatchInfo.total", 4, 4, NAN, 4);
  SCORES(b, STRICT, 0.5, 0.75, 0.19, 0.88); /* 0.1875 and 0.875, to whole steps */
  SCORES(b, SAFE, 0.5, 0.75, 0.19, 0.5);
  FILL(b, "WaitingQueueSize", 0, 0, 0, -1);
  FILL(b, "KVCacheUsagePercent", 0.5, 0, 1, INFINITY);
  FILL(b, "PrefixCacheMatchInfo.match", 8, 0, NAN, -4);
  SCORES(b, SAFE, 0.5, 0.75, 0.25, 0.38); /* 0.375 rounds up */
  bench_number(b, "compositeKVWeight", 0);
  bench_number(b, "compositeQueueWeight", 0);
  bench_number(b, "compositePrefixWeight", 0);
  SCORES(b, SAFE, 0.5, 1, 0, 0.5); /* the KV cache alone */
  FILL(b, "KVCacheUsagePercent", 0.4455, 0.4545, 0.45, 1.0055);
  SCORES(b, STRICT, 0.55, 0.55, 0.55, -0.01);
  bench_free(b);
}

/* ---- least recently used ---------------------------------------------------------------------------------------- */
static const char *const one_profile[] = {"default"};

static void cold_request_to(bench *b, uint32_t endpoint)
{
  bench_produce(b, STRICT);
  bench_commit(b, 1, &endpoint, one_profile);
}

static void lru_order(void **state)
{
  bench *b = bench_new(&llmd__no_hit_lru_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.match", 0, NAN, 0);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 1, 0.5, 0);
  SCORES(b, SAFE, 1, 0.5, 0);
  cold_request_to(b, 0);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0.5);
  FILL(b, "PrefixCacheMatchInfo.match", 0, 3, 0); /* warm: neutral, and the list stays as it is */
  cold_request_to(b, 1);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0.5, 0.5, 0.5);
  FILL(b, "PrefixCacheMatchInfo.match", 0, 0, 0);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0.5);
  cold_request_to(b, 1);
  cold_request_to(b, 2);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 1, 0.5, 0);
  cold_request_to(b, 0);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0.5);
  bench_free(b);
}

static void lru_size(void **state)
{
  bench *b = bench_new(&llmd__no_hit_lru_scorer);
  uint32_t i;
  (void)state;
  bench_number(b, "lruSize", 2);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.match", 0, 0, 0, 0, 0);
  for (i = 0; i < 4; i++)
    cold_request_to(b, i);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 1, 0.75, 0.25, 0, 0.5); /* 0 and 1 have fallen off the list */
  cold_request_to(b, 2);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 1, 0.75, 0, 0.25, 0.5);
  bench_free(b);
}

static void lru_many(void **state)
{
  bench *b = bench_new(&llmd__no_hit_lru_scorer);
  double cold[BENCH_MOST] = {0}, want[BENCH_MOST];
  uint32_t i;
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  bench_fill(b, LLMD_READ_F64, "PrefixCacheMatchInfo.match", BENCH_MOST, cold);
  for (i = 0; i < 3 * BENCH_MOST; i++) {
    uint32_t endpoint = i * 7 % BENCH_MOST; /* each one three times, in an order of its own */
    cold_request_to(b, endpoint);
    want[endpoint] = 1 - (double)(i % BENCH_MOST) / (BENCH_MOST - 1);
  }
  bench_produce(b, STRICT);
  expect_scores(b, STRICT, BENCH_MOST, want, __LINE__);
  bench_free(b);
}

/* Positions count endpoints that are not candidates; nobody gets less than 0. */
static void lru_filtered(void **state)
{
  bench *b = bench_new(&llmd__no_hit_lru_scorer);
  uint32_t i;
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.match", 0, 0, 0, 0);
  for (i = 0; i < 4; i++)
    cold_request_to(b, 3 - i);
  bench_produce(b, STRICT);
  b->n = 3; /* endpoint 3, the least recent, was filtered out */
  SCORES(b, STRICT, 0, 0, 0.5);
  b->n = 1;
  SCORES(b, STRICT, 1);
  bench_free(b);
}

static void lru_prefill(void **state)
{
  static const char *const profiles[] = {"decode", "encode", "prefill"};
  static const char *const others[] = {"decode", "prefilL", "prefill2"};
  static const uint32_t target[] = {2, 1, 0};
  bench *b = bench_new(&llmd__no_hit_lru_scorer);
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "PrefixCacheMatchInfo.match", 0, 0, 0, 0, 0);
  bench_produce(b, STRICT);
  bench_commit(b, 3, target, profiles);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0.25, 0.75, 0.5); /* decode's before prefill's; encode's does not count */
  bench_commit(b, 3, target, others);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0.25, 1, 0, 0.75, 0.5);
  bench_forget(b, 2);
  bench_forget(b, 2);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0.75, 0.5, 0.25);
  bench_free(b);
}

/* ---- sessions --------------------------------------------------------------------------------------------------- */
static void session_token(void **state)
{
  bench *b = bench_new(&llmd__session_affinity_scorer);
  static const char *const none[] = {"", "%%%", "ZGVmYXVsdC9wb2QtMQ", "ZGVmYXVsdC9wb2QtMQ=", "ZGVmYXVsdC9wb2QtMQ===",
                                     "=ZGVmYXVsdC9wb2QtMQ", "ZGVmYXVsdC9nb25l", "ZGVm YXVsdC9wb2QtMQ==", "Z", "===="};
  char much[4 * 342 + 1];
  size_t i;
  (void)state;
  assert_int_equal(bench_validate(b), 0);
  b->n = 3;
  b->host[0].name = "n/>pp?zA~o?09z"; /* every class of base64 digit */
  SCORES(b, STRICT, 0, 0, 0);
  bench_header(b, "x-session-token", "bi8+cHA/ekF+bz8wOXo=");
  SCORES(b, STRICT, 1, 0, 0);
  memset(much, 'A', sizeof much);
  much[sizeof much - 1] = 0;
  bench_header(b, "x-session-token", much); /* 1026 bytes: more than there is room for */
  SCORES(b, STRICT, 0, 0, 0);
  bench_header(b, "x-session-token", "ZGVmYXVsdC9wb2QtMQ==");
  SCORES(b, STRICT, 0, 1, 0);
  SCORES(b, SAFE, 0, 1, 0);
  bench_header(b, "x-session-token", "ZGVmYXVsdC9wb2Qt\r\nMg==");
  SCORES(b, STRICT, 0, 0, 1);
  for (i = 0; i < sizeof none / sizeof none[0]; i++) {
    bench_header(b, "x-session-token", none[i]);
    SCORES(b, STRICT, 0, 0, 0);
  }
  bench_header(b, "x-session-token", NULL);
  SCORES(b, STRICT, 0, 0, 0);
  bench_free(b);
}

static void session_token_filter(void **state)
{
  bench *b = bench_new(&llmd__multicluster_session_affinity_filter);
  (void)state;
  bench_text(b, "encodedEndpointHeaderConfig.header", " sticky ");
  assert_int_equal(bench_validate(b), 0);
  b->n = 3;
  bench_filter(b, STRICT, (uint32_t[BENCH_MOST]){0}); /* so that the names are known */
  KEEPS(b, STRICT, 0, 1, 2);
  bench_header(b, "sticky", "ZGVmYXVsdC9wb2QtMQ==");
  KEEPS(b, STRICT, 1);
  KEEPS(b, SAFE, 1);
  b->n = 1; /* it is no candidate */
  KEEPS(b, STRICT, 0);
  bench_free(b);
}

static bench *session_bench(const llmd_plugin *plugin)
{
  bench *b = bench_new(plugin);
  assert_int_equal(bench_text(b, "strategy", "session_id"), 0);
  assert_int_equal(bench_validate(b), 0);
  b->n = 3;
  return b;
}

static void request_of(bench *b, const char *session, uint32_t endpoint)
{
  bench_header(b, "x-session-id", session);
  bench_produce(b, STRICT);
  bench_commit(b, 1, &endpoint, one_profile);
}

static void session_table(void **state)
{
  bench *b = session_bench(&llmd__session_affinity_scorer);
  (void)state;
  bench_header(b, "x-session-id", "ann");
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 0);
  request_of(b, "ann", 1);
  request_of(b, " bob ", 2);
  bench_header(b, "x-session-id", "ann");
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0);
  bench_header(b, "x-session-id", "bob");
  bench_produce(b, SAFE);
  SCORES(b, SAFE, 0, 0, 1);
  request_of(b, "bob", 0); /* sent elsewhere, but the bound one was there: it stays bound */
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 1);
  b->n = 2;
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0);
  request_of(b, "bob", 0); /* gone: the session moves */
  b->n = 3;
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 1, 0, 0);
  request_of(b, "", 1);
  request_of(b, NULL, 1);
  assert_int_equal(b->n_entries, 2);
  assert_true(b->entry[0].ttl == 300000000000u && b->entry[1].ttl == 300000000000u);
  bench_free(b);
}

/* Two requests of a new session at once: the first one to be sent binds it. */
static void session_race(void **state)
{
  bench *b = session_bench(&llmd__session_affinity_filter);
  uint32_t first = 0, second = 2;
  (void)state;
  bench_header(b, "x-session-id", "ann");
  bench_produce(b, STRICT);
  bench_commit(b, 1, &first, one_profile);
  bench_commit(b, 1, &second, one_profile);
  bench_produce(b, STRICT);
  KEEPS(b, STRICT, 0);
  bench_header(b, "x-session-id", "bob");
  bench_produce(b, STRICT);
  KEEPS(b, STRICT, 0, 1, 2);
  bench_free(b);
}

static void session_profile(void **state)
{
  static const char *const profiles[] = {"decode", "prefill"};
  static const uint32_t target[] = {0, 2};
  bench *b = session_bench(&llmd__session_affinity_scorer);
  (void)state;
  bench_text(b, "profileName", "prefill");
  bench_header(b, "x-session-id", "ann");
  bench_produce(b, STRICT);
  bench_commit(b, 1, target, profiles); /* that profile did not run */
  assert_int_equal(b->n_entries, 0);
  bench_commit(b, 2, target, profiles);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 1);
  bench_free(b);
}

static void session_sources(void **state)
{
  bench *b = bench_new(&llmd__session_affinity_scorer);
  (void)state;
  bench_text(b, "strategy", "session_id");
  bench_items(b, "sessionIdConfig.sources", 3);
  bench_text(b, "sessionIdConfig.sources[0].header", "x-user");
  bench_text(b, "sessionIdConfig.sources[1].attribute", "SessionIDDataKey");
  bench_text(b, "sessionIdConfig.sources[2].header", "x-chat");
  bench_number(b, "sessionIdConfig.evictionTtlSeconds", 1.5);
  assert_int_equal(bench_validate(b), 0);
  FILL(b, "SessionID.key", 42, 42, 42);
  bench_header(b, "x-chat", "c1");
  bench_produce(b, STRICT);
  bench_commit(b, 1, (const uint32_t[]){1}, one_profile);
  assert_true(b->entry[0].ttl == 1500000000u);
  bench_header(b, "x-chat", "c2"); /* the attribute comes first */
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 1, 0);
  bench_header(b, "x-user", "ann"); /* and the user before it */
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 0);
  bench_header(b, "x-user", NULL);
  FILL(b, "SessionID.key", NAN, NAN, NAN);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 0);
  bench_commit(b, 1, (const uint32_t[]){2}, one_profile); /* the chat c2, last of the sources */
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 1);
  bench_header(b, "x-chat", NULL);
  bench_produce(b, STRICT);
  SCORES(b, STRICT, 0, 0, 0);
  bench_free(b);
}

static void session_parameters(void **state)
{
  bench *b = bench_new(&llmd__session_affinity_scorer);
  static const char path[] = "sessionIdConfig.sources[1]";
  char name[200];
  (void)state;
  assert_int_equal(bench_text(b, "strategy", ""), LLMD_E_RANGE);
  bench_number(b, "sessionIdConfig.evictionTtlSeconds", -1);
  assert_int_equal(bench_validate(b), 0); /* not this strategy's business */
  bench_text(b, "strategy", "session_id");
  expect_refused(b, LLMD_E_RANGE, "sessionIdConfig.evictionTtlSeconds");
  bench_number(b, "sessionIdConfig.evictionTtlSeconds", 0);
  bench_number(b, "sessionIdConfig.evictionSweepSeconds", -1);
  expect_refused(b, LLMD_E_RANGE, "sessionIdConfig.evictionSweepSeconds");
  bench_number(b, "sessionIdConfig.evictionSweepSeconds", 1);
  bench_items(b, "sessionIdConfig.sources", 2);
  bench_text(b, "sessionIdConfig.sources[0].header", "a");
  expect_refused(b, LLMD_E_INVALID, path);
  bench_text(b, "sessionIdConfig.sources[1].header", "b");
  assert_int_equal(bench_validate(b), 0);
  bench_text(b, "sessionIdConfig.sources[1].attribute", "c");
  expect_refused(b, LLMD_E_INVALID, path);
  bench_text(b, "sessionIdConfig.sources[1].attribute", "");
  memset(name, 'x', sizeof name);
  name[sizeof name - 1] = 0;
  bench_text(b, "sessionIdConfig.sources[1].header", name);
  expect_refused(b, LLMD_E_LIMIT, path);
  bench_items(b, "sessionIdConfig.sources", 4);
  assert_int_equal(bench_validate(b), LLMD_E_INVALID);
  bench_items(b, "sessionIdConfig.sources", 5);
  expect_refused(b, LLMD_E_LIMIT, "sessionIdConfig.sources");
  bench_text(b, "encodedEndpointHeaderConfig.header", name);
  expect_refused(b, LLMD_E_LIMIT, "encodedEndpointHeaderConfig.header");
  bench_free(b);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test(tables), cmocka_unit_test(header_label), cmocka_unit_test(context_ranges),
    cmocka_unit_test(context_score), cmocka_unit_test(context_filter), cmocka_unit_test(topology),
    cmocka_unit_test(latency_headroom), cmocka_unit_test(latency_late), cmocka_unit_test(latency_unknown),
    cmocka_unit_test(latency_without), cmocka_unit_test(lru_order), cmocka_unit_test(lru_size),
    cmocka_unit_test(lru_many),
    cmocka_unit_test(lru_filtered), cmocka_unit_test(lru_prefill), cmocka_unit_test(session_token),
    cmocka_unit_test(session_token_filter), cmocka_unit_test(session_table), cmocka_unit_test(session_race),
    cmocka_unit_test(session_profile), cmocka_unit_test(session_sources), cmocka_unit_test(session_parameters)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
