/* A recorded vLLM speaks again, over real sockets: half of it live, half of it in replays. The index must come to hold
 * what it holds when the same frames are fed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "stand.h"

#define TOPIC "kv@127.0.0.1:18000@tiny-llama"

static stand t;

static const char *shared_folder(void)
{
  const char *from = getenv("LLMD_SHARED");
  return from && *from ? from : LLMD_SHARED_DEFAULT;
}

static llmd_str from_hex(const char *hex)
{
  const size_t len = strlen(hex) / 2;
  char *out = malloc(len + 1);
  assert_non_null(out);
  for (size_t i = 0; i < len; i++) {
    char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
    out[i] = (char)strtoul(two, NULL, 16);
  }
  return (llmd_str){out, len};
}

/* Payloads in order; their numbers are 0, 1, ... */
static uint32_t read_frames(const char *name, llmd_str *payload, uint32_t room)
{
  static char line[1 << 20];
  char path[1024];
  uint32_t n = 0;
  FILE *f;
  snprintf(path, sizeof path, "%s/data/vllm/%s/frames.jsonl", shared_folder(), name);
  f = fopen(path, "r");
  if (!f)
    return 0;
  while (fgets(line, sizeof line, f)) {
    cJSON *json = cJSON_Parse(line), *frames = cJSON_GetObjectItem(json, "frames");
    assert_non_null(json);
    assert_true(n < room);
    assert_int_equal(strtoull(cJSON_GetArrayItem(frames, 1)->valuestring, NULL, 16), n);
    payload[n++] = from_hex(cJSON_GetArrayItem(frames, 2)->valuestring);
    cJSON_Delete(json);
  }
  fclose(f);
  return n;
}

static uint64_t held(llmd_index *index)
{
  llmd_index_stats s = {.size = sizeof s};
  while (llmd_index_tick(index, 0, 0) == 1)
    ;
  assert_int_equal(llmd_index_stats_get(index, &s), 0);
  return s.held;
}

static llmd_source_stats fed_by_hand(const llmd_str *payload, uint32_t n, uint64_t *blocks)
{
  const llmd_index_options o = {.size = sizeof o, .rows = 8, .bytes = 8 << 20, .seed = 7};
  const llmd_source source = {.size = sizeof source, .endpoint = UINT64_C(1) << 32};
  llmd_events_options eo = {.size = sizeof eo};
  llmd_source_stats s = {.size = sizeof s};
  const size_t len = llmd_index_size(&o);
  void *mem = aligned_alloc(64, (len + 63) / 64 * 64);
  llmd_events *events;
  llmd_source_id id;
  assert_non_null(mem);
  assert_int_equal(llmd_index_format(mem, len, &o), 0);
  assert_int_equal(llmd_index_open(mem, len, NULL, &eo.index, NULL), 0);
  assert_int_equal(llmd_events_open(&eo, &events, NULL), 0);
  assert_int_equal(llmd_events_source(events, &source, &id), 0);
  for (uint32_t i = 0; i < n; i++) {
    const char seq[8] = {0, 0, 0, 0, 0, 0, (char)(i >> 8), (char)i};
    const llmd_str frame[3] = {{TOPIC, strlen(TOPIC)}, {seq, 8}, payload[i]};
    llmd_now now = {1000000000, 0};
    llmd_ask ask = {.size = sizeof ask};
    assert_true(llmd_events_feed(events, id, LLMD_FRAMES_LIVE, frame, 3, &now, &ask) >= 0);
  }
  assert_int_equal(llmd_events_stats(events, id, &s), 0);
  *blocks = held(eo.index);
  llmd_events_close(events);
  llmd_index_close(eo.index);
  free(mem);
  return s;
}

static void replay_recording(const char *name)
{
  static llmd_str payload[512];
  const uint32_t n = read_frames(name, payload, 512);
  llmd_source_stats by_hand;
  llmd_subscriber_stats s;
  uint64_t blocks;
  engine *e;
  if (n == 0) {
    print_message("skipped: needs the recordings of shared/data/vllm (LLMD_SHARED)\n");
    skip();
  }
  by_hand = fed_by_hand(payload, n, &blocks);
  stand_open(&t);
  e = engine_add(&t, 0);
  e->topic = TOPIC;
  engine_open(e, 1, NULL);
  for (uint32_t i = 0; i < n / 4; i++) /* before anybody listens */
    engine_send(e, payload[i].ptr, payload[i].len, 0);
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 1 && stand_stats(&t).events > 0 && !stand_stats(&t).degraded);
  for (uint32_t i = n / 4; i < n; i++) { /* some are lost on the way */
    engine_send(e, payload[i].ptr, payload[i].len, i % 50 > 44 && i + 1 < n);
    if (i % 7 == 0)
      stand_turn(&t, uv_hrtime());
  }
  for (uint64_t began = uv_hrtime(), next = began; s = stand_stats(&t), s.events != by_hand.events || s.degraded;) {
    static const uint8_t nothing[] = {0x93, 0xc0, 0x90, 0xc0}; /* in case the last was lost: nobody would know */
    if (uv_hrtime() >= next) {
      engine_send(e, nothing, sizeof nothing, 0);
      next = uv_hrtime() + UINT64_C(100000000);
    }
    assert_true(stand_turn(&t, began));
  }
  assert_int_equal(s.blocks, by_hand.blocks);
  assert_int_equal(s.bad, 0);
  assert_int_equal(s.restarts, 0);
  assert_true(s.gaps > 0);
  assert_int_equal(held(t.index), blocks);
  stand_close(&t);
  for (uint32_t i = 0; i < n; i++)
    free((void *)(uintptr_t)payload[i].ptr);
}

static void test_numbers(void **state)
{
  (void)state;
  replay_recording("sha256_cbor_seed0");
}

static void test_digests(void **state)
{
  (void)state;
  replay_recording("sha256_noseed_bytes");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_digests)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
