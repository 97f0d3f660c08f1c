#define SIM_TEST_TEMPORARY "test_sim_trace.tmp"
#include "sim_test.h"

#include <math.h>

#define LINE(stamp, in, out, ids) \
  "{\"timestamp\": " stamp ", \"input_length\": " in ", \"output_length\": " out ", \"hash_ids\": [" ids "]}"

static int load(const char *text, struct sim_workload *w, llmd_err *err)
{
  struct sim_trace trace;
  int code;
  sim_trace_default(&trace);
  code = sim_workload_mooncake(w, temporary_file(text, strlen(text)), &trace, err);
  (void)remove(SIM_TEST_TEMPORARY);
  return code;
}

static void a_small_trace(void **state)
{
  struct sim_workload w;
  (void)state;
  assert_int_equal(load(LINE("0", "1100", "5", "0, 1, 2") "\n" LINE("0", "512", "1", "0") "\r\n"
                        LINE("3000", "1024", "7", "0, 9007199254740992") "\n" LINE("3000", "1300", "2", "0, 1, 2"),
                        &w, NULL), 0);
  assert_int_equal(w.n_requests, 4);
  assert_int_equal(w.n_stages, 1);
  assert_int_equal(w.block_size, 512);
  assert_int_equal(w.requests[0].n_blocks, 2); /* the third block is not whole */
  assert_int_equal(w.requests[1].n_blocks, 1);
  assert_int_equal(w.requests[2].n_blocks, 2);
  assert_true(w.requests[0].blocks[0] == w.requests[1].blocks[0]);
  assert_true(w.requests[0].blocks[1] == w.requests[3].blocks[1]);
  assert_true(w.requests[0].blocks[1] != w.requests[2].blocks[1]);
  assert_int_equal(w.requests[1].ideal_tokens, 0); /* its only block holds the last token */
  assert_int_equal(w.requests[2].ideal_tokens, 512);
  assert_int_equal(w.requests[3].ideal_tokens, 1024);
  assert_true(0 < w.requests[0].offset && w.requests[0].offset < w.requests[1].offset && w.requests[1].offset < 3);
  assert_true(3 < w.requests[2].offset && w.requests[2].offset < w.requests[3].offset && w.requests[3].offset < 6);
  sim_workload_free(&w);
}

/* The same id after another start is another block. */
static void ids_are_chained(void **state)
{
  struct sim_workload w;
  (void)state;
  assert_int_equal(load(LINE("0", "1024", "5", "1, 7") "\n" LINE("0", "1024", "5", "2, 7") "\n", &w, NULL), 0);
  assert_true(w.requests[0].blocks[1] != w.requests[1].blocks[1]);
  sim_workload_free(&w);
}

static void malformed_lines_are_named(void **state)
{
  static const struct { const char *line; int code; } bad[] = {
    {"", LLMD_E_SYNTAX},
    {"{", LLMD_E_SYNTAX},
    {"[]", LLMD_E_TYPE},
    {"{} {}", LLMD_E_SYNTAX},
    {LINE("0", "512", "5", "0") " x", LLMD_E_SYNTAX},
    {LINE("-1", "512", "5", "0"), LLMD_E_RANGE},
    {LINE("0.5", "512", "5", "0"), LLMD_E_TYPE},
    {LINE("1e300", "512", "5", "0"), LLMD_E_RANGE},
    {LINE("\"0\"", "512", "5", "0"), LLMD_E_TYPE},
    {LINE("0", "0", "5", ""), LLMD_E_RANGE},
    {LINE("0", "512", "0", "0"), LLMD_E_RANGE},
    {LINE("0", "513", "5", "0"), LLMD_E_RANGE},
    {LINE("0", "512", "5", "0, 1"), LLMD_E_RANGE},
    {LINE("0", "512", "5", "-4"), LLMD_E_RANGE},
    {LINE("0", "512", "5", "null"), LLMD_E_TYPE},
    {LINE("0", "99999999", "5", "0"), LLMD_E_RANGE},
    {"{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 1}", LLMD_E_MISSING},
    {"{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": {}}", LLMD_E_TYPE},
    {"{\"input_length\": 512, \"output_length\": 1, \"hash_ids\": [0]}", LLMD_E_MISSING},
  };
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct sim_workload w;
    llmd_err err = LLMD_ERR_INIT;
    char text[512];
    (void)snprintf(text, sizeof text, "%s\n%s\n%s\n", LINE("0", "512", "5", "0"), bad[i].line,
                   LINE("0", "512", "5", "0"));
    assert_int_equal(load(text, &w, &err), bad[i].code);
    assert_int_equal(err.code, bad[i].code);
    assert_int_equal(err.line, 2);
    assert_true(err.text[0] != 0);
  }
}

static void other_errors(void **state)
{
  struct sim_workload w;
  struct sim_trace trace;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(load(LINE("5", "512", "5", "0") "\n" LINE("4", "512", "5", "0"), &w, &err), LLMD_E_RANGE);
  assert_int_equal(err.line, 2);
  assert_int_equal(load("", &w, &err), LLMD_E_MISSING);
  assert_int_equal(err.line, 0);
  sim_trace_default(&trace);
  assert_int_equal(sim_workload_mooncake(&w, "no/such/file", &trace, &err), LLMD_E_IO);
  assert_string_equal(err.path, "no/such/file");
  assert_int_equal(sim_workload_mooncake(&w, ".", &trace, &err), LLMD_E_IO);
  trace.speed = 0;
  assert_int_equal(sim_workload_mooncake(&w, "no/such/file", &trace, &err), LLMD_E_INVALID);
  assert_int_equal(sim_workload_mooncake(&w, temporary_file("\0\n", 2), &(struct sim_trace){512, 1, 0, 1}, &err),
                   LLMD_E_SYNTAX);
  (void)remove(SIM_TEST_TEMPORARY);
}

/* What is known of the conversation trace: 12,031 requests, 37.4 % of prompt tokens could come from a cache. */
static void the_conversation_trace(void **state)
{
  const char *path = shared_file("data/traces/mooncake_conversation.jsonl");
  struct sim_workload w;
  struct sim_trace trace;
  double ideal = 0, all = 0, last = 0;
  (void)state;
  sim_trace_default(&trace);
  assert_int_equal(sim_workload_mooncake(&w, path, &trace, NULL), 0);
  assert_int_equal(w.n_requests, 12031);
  for (uint32_t i = 0; i < w.n_requests; i++) {
    ideal += w.requests[i].ideal_tokens;
    all += w.requests[i].prompt_tokens;
    assert_true(w.requests[i].offset >= last);
    last = w.requests[i].offset;
  }
  assert_true(last > 3536 && last < 3541);
  assert_true(fabs(all / w.n_requests - 12035) < 5);
  assert_true(ideal / all > 0.36 && ideal / all < 0.375);
  sim_workload_free(&w);
  trace.limit = 10;
  trace.speed = 2;
  assert_int_equal(sim_workload_mooncake(&w, path, &trace, NULL), 0);
  assert_int_equal(w.n_requests, 10);
  sim_workload_free(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_small_trace), cmocka_unit_test(ids_are_chained), cmocka_unit_test(malformed_lines_are_named),
    cmocka_unit_test(other_errors), cmocka_unit_test(the_conversation_trace),
  };
  return cmocka_run_group_tests_name("sim/trace", tests, NULL, NULL);
}
