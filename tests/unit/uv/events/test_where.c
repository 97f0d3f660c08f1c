/* What engines answer when they are asked where they speak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "uv/events/where.h"

static int read_text(const char *json, uint32_t rank, llmd__where *w)
{
  memset(w, 0xee, sizeof *w);
  return llmd__where_read(json, strlen(json), rank, w);
}

/* What vLLM 0.32 sent. */
static void test_recorded(void **state)
{
  llmd__where w;
  (void)state;
  assert_int_equal(read_text("{\"0\":{\"enable_kv_cache_events\":true,\"publisher\":\"zmq\",\"endpoint\":"
                             "\"tcp://127.0.0.1:15557\",\"replay_endpoint\":\"tcp://127.0.0.1:15558\",\"buffer_steps\":"
                             "10000,\"hwm\":100000,\"max_queue_size\":100000,\"topic\":\"kv@127.0.0.1:18000@tiny\"}}",
                             0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_SPEAKS); /* an address of its own: it connects */
  assert_int_equal(w.told, 1);
  assert_int_equal(w.replay_port, 15558);
  assert_int_equal(w.topic_len, 23);
  assert_memory_equal(w.topic, "kv@127.0.0.1:18000@tiny", 23);
}

static void test_kinds(void **state)
{
  llmd__where w;
  (void)state;
  assert_int_equal(read_text("{\"0\": {\"endpoint\": \"tcp://*:5557\", \"replay_endpoint\": null}}", 0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_LISTENS);
  assert_int_equal(w.port, 5557);
  assert_int_equal(w.replay_port, 0);
  assert_int_equal(w.topic_len, 0);
  assert_int_equal(read_text("{\"0\": {\"endpoint\": \"tcp://[::]:5557\"}}", 0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_LISTENS);
  assert_int_equal(read_text("{\"0\": {\"endpoint\": \"ipc:///tmp/x\"}}", 0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_SILENT);
  assert_int_equal(read_text("{\"0\": {\"endpoint\": \"tcp://*:5557\", \"enable_kv_cache_events\": false}}", 0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_SILENT);
  assert_int_equal(read_text("{\"0\": {\"endpoint\": \"tcp://*:5557\", \"publisher\": \"null\"}}", 0, &w), 0);
  assert_int_equal(w.kind, LLMD__WHERE_SILENT);
}

static void test_ports(void **state)
{
  static const char *const bad[] = {"tcp://*:", "tcp://*", "tcp://*:0", "tcp://*:65536", "tcp://*:99999999999999999999",
                                    "tcp://*:55x7", "tcp://*: 5557", "*:5557", "tcp:", "tcp://"};
  llmd__where w;
  char json[128];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(json, sizeof json, "{\"0\": {\"endpoint\": \"%s\"}}", bad[i]);
    assert_int_equal(read_text(json, 0, &w), 0);
    assert_int_equal(w.kind, LLMD__WHERE_SILENT);
  }
}

static void test_ranks(void **state)
{
  const char *shifted = "{\"0\": {\"endpoint\": \"tcp://*:5557\"}, \"1\": {\"endpoint\": \"tcp://*:5558\"}}";
  const char *same = "{\"0\": {\"endpoint\": \"tcp://*:5557\", \"replay_endpoint\": \"tcp://*:6000\"},"
                     " \"2\": {\"endpoint\": \"tcp://*:5557\", \"replay_endpoint\": \"tcp://*:6000\"}}";
  llmd__where w;
  (void)state;
  assert_int_equal(read_text(shifted, 1, &w), 0);
  assert_int_equal(w.port, 5558);
  assert_int_equal(read_text(same, 2, &w), 0);
  assert_int_equal(w.port, 5559);
  assert_int_equal(w.replay_port, 6002);
  assert_int_equal(read_text(same, 0, &w), 0);
  assert_int_equal(w.port, 5557);
  assert_int_equal(read_text(shifted, 7, &w), LLMD_E_NONE);
  assert_int_equal(read_text("{\"3\": {\"endpoint\": \"tcp://*:5557\"}}", 0, &w), 0); /* its own rank's server */
  assert_int_equal(w.port, 5557);
}

static void test_no_answer_at_all(void **state)
{
  static const char *const bad[] = {"", "[]", "7", "null", "{\"0\": 7}", "{\"0\": {\"endpoint\": 7}}", "<html>", "{",
                                    "{\"0\": {\"endpoint\": \"tcp://*:1\", \"topic\": {}}}"};
  llmd__where w;
  char *long_topic = calloc(1, 1024);
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_true(read_text(bad[i], 0, &w) < 0);
  strcpy(long_topic, "{\"0\": {\"endpoint\": \"tcp://*:1\", \"topic\": \"");
  memset(long_topic + strlen(long_topic), 'x', 300);
  strcat(long_topic, "\"}}");
  assert_true(read_text(long_topic, 0, &w) < 0);
  free(long_topic);
  assert_int_equal(read_text("{}", 0, &w), LLMD_E_NONE);
}

static void test_addresses(void **state)
{
  static const char *const bad[] = {"", "localhost", "1.2.3.4;9.9.9.9", "1.2.3.4:5", "*", "[::1]", "1.2.3.4/8"};
  char out[LLMD__ADDRESS_ROOM];
  (void)state;
  assert_int_equal(llmd__where_spell("10.0.0.7", 5557, out), 0);
  assert_string_equal(out, "tcp://10.0.0.7:5557");
  assert_int_equal(llmd__where_spell("fd00::7", 65535, out), 0);
  assert_string_equal(out, "tcp://[fd00::7]:65535");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(llmd__where_spell(bad[i], 5557, out), LLMD_E_INVALID);
  assert_int_equal(llmd__where_spell("10.0.0.7", 0, out), LLMD_E_INVALID);
  assert_int_equal(llmd__where_spell("10.0.0.7", 65536, out), LLMD_E_INVALID);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_recorded), cmocka_unit_test(test_kinds), cmocka_unit_test(test_ports),
    cmocka_unit_test(test_ranks), cmocka_unit_test(test_no_answer_at_all), cmocka_unit_test(test_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
