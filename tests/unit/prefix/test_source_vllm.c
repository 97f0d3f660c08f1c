/* A recorded vLLM: its events, fed in order, and what it said of each request's cached tokens.
 *
 * A request's cached tokens are decided in the step that schedules it, and that step's batch stores the rest of its
 * prompt. The recording had twelve requests under way at a time, and a step may schedule several, so the events are fed
 * one by one here: right before the last event that made the prompt longer in the index, the index must say what vLLM
 * said. A prompt that was whole already makes no event; then the index must have had all of it. The same frames fed as
 * they came must lead to the same end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "speaker.h"

#define FRAMES 512
#define REQUESTS 512
#define BLOCK 32u
#define PROMPT 1024u
#define LATE 0.05   /* between a step and its answer clocks and threads differ by so much */
#define UNDER_WAY 3 /* seconds a request takes at most */

typedef struct frame {
  double t;
  uint64_t seq;
  uint8_t *payload;
  size_t len;
} frame;

typedef struct request {
  double t;
  llmd_key key[PROMPT / BLOCK];
  uint32_t n;      /* whole blocks */
  uint32_t most;   /* blocks that can count as cached: one token is always computed */
  uint32_t cached; /* what vLLM said, in blocks */
  uint32_t now;    /* what the index says */
  int rose, whole; /* blocks before the last rise, -1 = none; 1: it had all that count while this was under way */
} request;

typedef struct recording {
  frame frame[FRAMES], replay[FRAMES];
  uint32_t n_frames, n_replay;
  request request[REQUESTS];
  uint32_t n_requests;
} recording;

static recording rec;

/* ---- reading the recording --------------------------------------------------------------------------------------- */

static const char *shared_folder(void)
{
  const char *from = getenv("LLMD_SHARED");
  return from && *from ? from : LLMD_SHARED_DEFAULT;
}

/* Calls fn for each line. 0: there is no such file. */
static int each_line(const char *name, const char *file, void (*fn)(const cJSON *line, void *ud), void *ud)
{
  static char line[1 << 20];
  char path[1024];
  FILE *f;
  snprintf(path, sizeof path, "%s/data/vllm/%s/%s", shared_folder(), name, file);
  f = fopen(path, "r");
  if (!f)
    return 0;
  while (fgets(line, sizeof line, f)) {
    cJSON *json = cJSON_Parse(line);
    assert_non_null(json);
    fn(json, ud);
    cJSON_Delete(json);
  }
  fclose(f);
  return 1;
}

static uint8_t *from_hex(const char *hex, size_t *len)
{
  uint8_t *out;
  *len = strlen(hex) / 2;
  out = malloc(*len + 1);
  assert_non_null(out);
  for (size_t i = 0; i < *len; i++) {
    char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
    out[i] = (uint8_t)strtoul(two, NULL, 16);
  }
  return out;
}

static const char *frame_text(const cJSON *frames, int i)
{
  return cJSON_GetArrayItem(frames, i)->valuestring;
}

static void on_frame(const cJSON *line, void *ud)
{
  const cJSON *frames = cJSON_GetObjectItem(line, "frames");
  frame *f = &rec.frame[rec.n_frames++];
  (void)ud;
  assert_true(rec.n_frames < FRAMES);
  f->t = cJSON_GetObjectItem(line, "t")->valuedouble;
  f->seq = strtoull(frame_text(frames, 1), NULL, 16);
  f->payload = from_hex(frame_text(frames, 2), &f->len);
}

/* Answers of a DEALER: "", topic, seq, payload. */
static void on_replay(const cJSON *line, void *ud)
{
  const cJSON *frames = cJSON_GetObjectItem(line, "frames");
  (void)ud;
  if (!frames)
    return;
  frame *f = &rec.replay[rec.n_replay++];
  assert_true(rec.n_replay < FRAMES);
  f->seq = strtoull(frame_text(frames, 2), NULL, 16);
  f->payload = from_hex(frame_text(frames, 3), &f->len);
}

static void on_request(const cJSON *line, void *ud)
{
  const cJSON *ids = cJSON_GetObjectItem(line, "ids"), *salt = cJSON_GetObjectItem(line, "salt"), *id;
  const cJSON *usage = cJSON_GetObjectItem(line, "usage");
  const cJSON *cached = cJSON_GetObjectItem(cJSON_GetObjectItem(usage, "prompt_tokens_details"), "cached_tokens");
  request *q = &rec.request[rec.n_requests];
  const rig *r = ud;
  uint32_t token[PROMPT], n = 0;
  llmd_extra extra = {0, 0, {NULL, 0}};
  llmd_chain chain;
  llmd_chain_root root;
  if (!ids || !cJSON_IsNumber(cached))
    return;
  rec.n_requests++;
  assert_true(rec.n_requests < REQUESTS);
  cJSON_ArrayForEach(id, ids)
    if (n < PROMPT)
      token[n++] = (uint32_t)id->valuedouble;
  if (cJSON_IsString(salt))
    extra.text = (llmd_str){salt->valuestring, strlen(salt->valuestring)};
  memset(&root, 0, sizeof root);
  root.size = sizeof root;
  root.block_tokens = BLOCK;
  assert_int_equal(llmd_chain_begin(&chain, llmd_index_secret(r->index), &root), 0);
  q->n = (uint32_t)llmd_chain_extend(&chain, llmd_index_secret(r->index), token, n, &extra, extra.text.len != 0, q->key,
                                     PROMPT / BLOCK);
  q->most = (n - 1) / BLOCK;
  q->cached = (uint32_t)cached->valuedouble / BLOCK;
  q->t = cJSON_GetObjectItem(line, "t")->valuedouble;
  q->now = 0;
  q->rose = -1;
  q->whole = 0;
}

static int read_recording(const char *name, const rig *r)
{
  memset(&rec, 0, sizeof rec);
  if (!each_line(name, "frames.jsonl", on_frame, NULL))
    return 0;
  assert_true(each_line(name, "replay.jsonl", on_replay, NULL));
  assert_true(each_line(name, "requests.jsonl", on_request, (void *)(uintptr_t)r));
  return 1;
}

static void free_recording(void)
{
  for (uint32_t i = 0; i < FRAMES; i++) {
    free(rec.frame[i].payload);
    free(rec.replay[i].payload);
  }
}

/* ---- events one by one ------------------------------------------------------------------------------------------- */

typedef struct cuts {
  uint32_t at[256], n;
} cuts;

static int on_cut(void *ud, const llmd_batch_head *head, const llmd_event *event)
{
  cuts *c = ud;
  (void)head;
  assert_true(c->n < 255);
  c->at[c->n++] = event->offset;
  return 0;
}

static void ask_for_all(rig *r, double t)
{
  for (uint32_t i = 0; i < rec.n_requests; i++) {
    request *q = &rec.request[i];
    if (t > q->t + LATE)
      continue;
    const uint32_t now = rig_blocks(r, 1, q->key, q->n, NULL);
    if (now > q->now)
      q->rose = (int)q->now;
    q->now = now;
    q->whole |= t > q->t - UNDER_WAY && now >= q->most;
  }
}

/* Ten bytes of array and time, the number of events, the events, one byte of rank. */
static void feed_singly(rig *r, llmd_source_id s, uint64_t *seq)
{
  llmd_event_limits limits = {.size = sizeof limits};
  void *buffer = calloc(1, llmd_events_buffer(&limits));
  assert_non_null(buffer);
  for (uint32_t i = 0; i < rec.n_frames; i++) {
    const frame *f = &rec.frame[i];
    cuts c = {.n = 0};
    assert_true(llmd_events_decode(f->payload, f->len, &limits, buffer, on_cut, &c, NULL) > 0);
    c.at[c.n] = (uint32_t)f->len - 1;
    for (uint32_t k = 0; k < c.n; k++) {
      const size_t len = c.at[k + 1] - c.at[k];
      char *one = malloc(12 + len);
      assert_non_null(one);
      memcpy(one, f->payload, 10);
      one[10] = (char)0x91;
      memcpy(one + 11, f->payload + c.at[k], len);
      one[11 + len] = (char)f->payload[f->len - 1];
      assert_int_equal(rig_live(r, s, (*seq)++, (llmd_str){one, 12 + len}), 1);
      free(one);
      ask_for_all(r, f->t);
    }
  }
  free(buffer);
}

static void feed_frames(rig *r, llmd_source_id s, uint32_t from, uint32_t to)
{
  for (uint32_t i = from; i < to; i++)
    assert_true(rig_live(r, s, rec.frame[i].seq, (llmd_str){(char *)rec.frame[i].payload, rec.frame[i].len}) >= 0);
}

static void same_end(rig *a, rig *b)
{
  for (uint32_t i = 0; i < rec.n_requests; i++) {
    const request *q = &rec.request[i];
    assert_int_equal(rig_blocks(a, 1, q->key, q->n, NULL), rig_blocks(b, 1, q->key, q->n, NULL));
  }
}

static void cached_as_it_said(void)
{
  uint32_t told = 0, whole = 0;
  for (uint32_t i = 0; i < rec.n_requests; i++) {
    const request *q = &rec.request[i];
    const uint32_t rose = q->rose < 0 ? 0 : (uint32_t)q->rose;
    if (q->rose >= 0 && (rose < q->most ? rose : q->most) == q->cached)
      told++;
    else if (q->cached == q->most && q->whole)
      whole++;
    else
      fail_msg("request %u of %u blocks: vLLM had %u, the index %d", i, q->n, q->cached, q->rose);
  }
  print_message("# %u requests told by events, %u were whole\n", told, whole);
  assert_true(told > 2 * whole);
}

static void replay_closes_a_gap(rig *whole, llmd_events_options *o)
{
  rig r;
  uint32_t k = 0;
  rig_open(&r, 8, o);
  const llmd_source_id s = rig_source(&r, 1, 0);
  feed_frames(&r, s, 0, (uint32_t)rec.replay[0].seq);
  feed_frames(&r, s, rec.n_frames - 1, rec.n_frames);
  assert_int_equal(r.ask.what, LLMD_ASK_REPLAY);
  assert_int_equal(r.ask.from, rec.replay[0].seq - 1);
  for (; rec.replay[k].seq != UINT64_MAX; k++)
    rig_replayed(&r, s, rec.replay[k].seq, (llmd_str){(char *)rec.replay[k].payload, rec.replay[k].len}, 0);
  assert_int_equal(k + 1, rec.n_replay);
  rig_end(&r, s, 0);
  assert_int_equal(r.ask.what, LLMD_ASK_NOTHING);
  assert_int_equal(rig_stats(&r, s).last_seq, rec.frame[rec.n_frames - 1].seq);
  same_end(whole, &r);
  rig_close(&r);
}

static void recorded(const char *name, uint32_t scheme, uint32_t events)
{
  llmd_events_options o = {.size = sizeof o};
  llmd_index_row row = {.size = sizeof row};
  rig singly, framed;
  uint64_t seq = 0;
  rig_open(&singly, 8, &o);
  if (!read_recording(name, &singly)) {
    rig_close(&singly);
    print_message("# skipped: needs ../shared/data/vllm\n");
    skip();
  }
  feed_singly(&singly, rig_source(&singly, 1, 0), &seq);
  assert_int_equal(seq, events);
  cached_as_it_said();
  rig_open(&framed, 8, &o);
  const llmd_source_id s = rig_source(&framed, 1, 0);
  feed_frames(&framed, s, 0, rec.n_frames);
  same_end(&singly, &framed);
  const llmd_source_stats stats = rig_stats(&framed, s);
  assert_int_equal(stats.batches, rec.n_frames);
  assert_int_equal(stats.events, events);
  assert_int_equal(stats.bad + stats.unknown + stats.parked + stats.other_groups + stats.mismatches, 0);
  assert_int_equal(llmd_index_row_of(framed.index, rig_endpoint(1), &row), 0);
  assert_int_equal(row.block_tokens, BLOCK);
  assert_int_equal(row.scheme, scheme);
  replay_closes_a_gap(&framed, &o);
  free_recording();
  rig_close(&framed);
  rig_close(&singly);
}

static void test_sha256_cbor_with_a_seed(void **state)
{
  (void)state;
  recorded("sha256_cbor_seed0", LLMD_HASH_VLLM_SHA256_CBOR, 647);
}

static void test_sha256_whole_digests(void **state)
{
  (void)state;
  recorded("sha256_noseed_bytes", LLMD_HASH_VLLM_SHA256, 192);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sha256_cbor_with_a_seed),
      cmocka_unit_test(test_sha256_whole_digests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
