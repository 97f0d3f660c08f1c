/* Engines with real sockets on loopback: what they say is in the index, whatever happens to them on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stand.h"

#include "uv/events/speaker.h"

static stand t;

static int set_up(void **state)
{
  (void)state;
  stand_open(&t);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  stand_close(&t);
  return 0;
}

/* An engine that is heard. */
static engine *heard(uint32_t i, int replays)
{
  engine *e = engine_add(&t, i);
  const uint32_t before = t.subscriber ? stand_stats(&t).connected : 0;
  engine_open(e, replays, NULL);
  if (!t.subscriber)
    stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == before + 1);
  return e;
}

/* ---- what an engine says ----------------------------------------------------------------------------------------- */

static void test_live(void **state)
{
  engine *e = heard(0, 1);
  llmd_subscriber_stats s;
  uint32_t asked;
  (void)state;
  for (uint32_t d = 0; d < 50; d++)
    engine_say(e, d);
  engine_drop(e, 7);
  for (uint32_t d = 50; d < 60; d++)
    engine_say(e, d);
  stand_until(&t, stand_blocks(&t, e, 59) == DOC_BLOCKS);
  for (uint32_t d = 0; d < 60; d++)
    assert_int_equal(stand_blocks(&t, e, d), d == 7 ? 0 : DOC_BLOCKS);
  s = stand_stats(&t);
  assert_int_equal(s.sources, 1);
  assert_int_equal(s.degraded, 0);
  assert_int_equal(s.events, 61);
  assert_int_equal(s.bad, 0);
  assert_true(s.messages >= 61 && s.bytes > 61 * 100);
  asked = e->asked; /* who is connected is not asked again */
  for (uint64_t end = uv_hrtime() + UINT64_C(300000000); uv_hrtime() < end;)
    stand_turn(&t, uv_hrtime());
  assert_int_equal(e->asked, asked);
}

static void test_what_was_before_us(void **state)
{
  engine *e = engine_add(&t, 0);
  (void)state;
  engine_open(e, 1, NULL);
  for (uint32_t d = 0; d < KEEP - 1; d++) /* more than a line holds */
    engine_say(e, d);
  stand_start(&t);
  stand_until(&t, stand_blocks(&t, e, KEEP - 2) == DOC_BLOCKS);
  stand_until(&t, stand_stats(&t).degraded == 0);
  assert_int_equal(e->from, 0);
}

static void gap(int old_way)
{
  engine *e = heard(0, 1);
  uint64_t replays;
  event_socket_answer_old_way(e->socket, old_way);
  engine_say(e, 1);
  stand_until(&t, stand_blocks(&t, e, 1) == DOC_BLOCKS && !stand_stats(&t).degraded);
  replays = stand_stats(&t).replays;
  e->from = UINT64_MAX;
  engine_lose(e, 2);
  engine_lose(e, 3);
  engine_say_until_heard(e, 4);
  assert_int_equal(stand_blocks(&t, e, 2), DOC_BLOCKS);
  assert_int_equal(stand_blocks(&t, e, 3), DOC_BLOCKS);
  stand_until(&t, !stand_stats(&t).degraded);
  assert_true(stand_stats(&t).replays > replays);
  assert_true(stand_stats(&t).gaps > 0);
  assert_int_equal(e->from, 0); /* the last that was applied: message 0 */
}

static void test_gap(void **state)
{
  (void)state;
  gap(0);
}

static void test_gap_old_way(void **state)
{
  (void)state;
  gap(1);
}

static void test_gap_without_replay(void **state)
{
  engine *e = heard(0, 0);
  (void)state;
  engine_say_until_heard(e, 1);
  engine_lose(e, 2);
  engine_say_until_heard(e, 3);
  assert_int_equal(stand_blocks(&t, e, 1), 0); /* what cannot be known is forgotten */
}

/* ---- an engine that goes and comes ------------------------------------------------------------------------------- */

static void test_restart_elsewhere(void **state)
{
  engine *e = heard(0, 1);
  (void)state;
  for (uint32_t d = 0; d < 9; d++)
    engine_say(e, d);
  stand_until(&t, stand_blocks(&t, e, 8) == DOC_BLOCKS);
  engine_restart(e);
  stand_until(&t, stand_stats(&t).connected == 0);
  engine_open(e, 1, NULL); /* on other ports: the HTTP port tells of them */
  engine_say(e, 100);
  stand_until(&t, stand_blocks(&t, e, 100) == DOC_BLOCKS);
  assert_int_equal(stand_blocks(&t, e, 8), 0);
  assert_int_equal(stand_stats(&t).restarts, 1);
}

/* Its new process says nothing, and yet what the old one held is forgotten. */
static void test_restart_in_silence(void **state)
{
  engine *e = heard(0, 1);
  (void)state;
  engine_say(e, 1);
  stand_until(&t, stand_blocks(&t, e, 1) == DOC_BLOCKS);
  engine_restart(e);
  engine_open(e, 1, NULL);
  stand_until(&t, stand_blocks(&t, e, 1) == 0);
}

/* The connection breaks, the process lives: what it said meanwhile is asked for, and nothing is forgotten. */
static void test_reconnect(void **state)
{
  engine *e = heard(0, 1);
  (void)state;
  engine_say(e, 1);
  engine_say(e, 2);
  stand_until(&t, stand_blocks(&t, e, 2) == DOC_BLOCKS && !stand_stats(&t).degraded);
  engine_close(e);
  stand_until(&t, stand_stats(&t).connected == 0);
  engine_lose(e, 3);
  engine_open(e, 1, NULL);
  stand_until(&t, stand_blocks(&t, e, 3) == DOC_BLOCKS);
  assert_int_equal(e->from, 1);
  assert_int_equal(stand_blocks(&t, e, 1), DOC_BLOCKS);
  assert_int_equal(stand_stats(&t).restarts, 0);
}

/* libzmq's own way back: to the same port. */
static void test_reconnect_to_the_same_port(void **state)
{
  engine *e = engine_add(&t, 0);
  (void)state;
  engine_open(e, 0, NULL);
  t.service.events.port = event_socket_port(e->socket);
  t.service.events.replay_port = 0;
  e->status = 404;
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 1);
  engine_say_until_heard(e, 1);
  engine_close(e);
  stand_until(&t, stand_stats(&t).connected == 0);
  {
    char at[64];
    snprintf(at, sizeof at, "tcp://127.0.0.1:%u", t.service.events.port);
    if (event_socket_open(&t.loop, at, NULL, NULL, NULL, &e->socket)) {
      print_message("somebody else took the port meanwhile\n");
      skip();
    }
  }
  stand_until(&t, stand_stats(&t).connected == 1);
  engine_say_until_heard(e, 2);
}

/* It names an address of its own and listens there all the same; nobody could find us. */
static void test_own_address_but_listens(void **state)
{
  engine *e = engine_add(&t, 0);
  char *star;
  (void)state;
  engine_open(e, 1, NULL);
  while ((star = strchr(e->answer, '*')) != NULL)
    *star = '7';
  stand_start(&t);
  engine_say(e, 1);
  stand_until(&t, stand_blocks(&t, e, 1) == DOC_BLOCKS);
  assert_non_null(strstr(t.log, "events.bind"));
}

/* Nobody answers at the port where replays are guessed to be: live events count all the same, and stay. */
static void test_no_replay_port(void **state)
{
  engine *e = engine_add(&t, 0);
  (void)state;
  engine_open(e, 0, NULL);
  t.service.events.port = event_socket_port(e->socket);
  e->status = 404;
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 1);
  engine_say_until_heard(e, 1);
  stand_until(&t, t.subscriber->by_slot[(uint32_t)e->id]->mute);
  engine_say_until_heard(e, 2);
  engine_say_until_heard(e, 3);
  assert_int_equal(stand_blocks(&t, e, 2), DOC_BLOCKS);
  assert_int_equal(t.subscriber->replays, 0);
}

/* The replay port takes the question and never answers. */
static void test_replay_never_comes(void **state)
{
  engine *e = engine_add(&t, 0), *deaf = engine_add(&t, 1);
  llmd__speaker *s;
  (void)state;
  engine_open(e, 1, NULL);
  e->status = 404;
  t.service.events.port = event_socket_port(e->socket);
  t.service.events.replay_port = deaf->port; /* which speaks HTTP: no handshake comes about */
  stand_start(&t);
  s = NULL;
  stand_until(&t, t.subscriber->by_slot && (s = t.subscriber->by_slot[(uint32_t)e->id]) != NULL && s->mute);
  engine_say_until_heard(e, 1);
}

/* What its metrics tell of its blocks is known before it says anything. */
static void test_told_by_metrics(void **state)
{
  const llmd_label sglang = {{LLMD_LABEL_ENGINE, strlen(LLMD_LABEL_ENGINE)}, {"sglang", 6}};
  engine *e = engine_add(&t, 0);
  llmd__speaker *s;
  (void)state;
  stand_start(&t);
  stand_until(&t, stand_stats(&t).sources == 1);
  s = t.subscriber->by_slot[(uint32_t)e->id];
  assert_int_equal(s->scheme, LLMD_HASH_UNKNOWN);
  assert_int_equal(s->block_tokens, 0);
  assert_int_equal(s->engine, LLMD_SOURCE_VLLM);
  assert_int_equal(llmd_pool_set(t.pool, e->id, LLMD_ATTR_BLOCK_SIZE, 32), 0);
  assert_int_equal(llmd_pool_set_text(t.pool, e->id, LLMD_ATTR_HASH_ALGO, "sha256_cbor", 11), 0);
  assert_int_equal(llmd_pool_set_labels(t.pool, e->id, &sglang, 1), 0);
  stand_until(&t, s->scheme == LLMD_HASH_VLLM_SHA256_CBOR && s->block_tokens == 32 && s->engine == LLMD_SOURCE_SGLANG);
}

/* ---- which there are --------------------------------------------------------------------------------------------- */

static void test_removed(void **state)
{
  engine *a = heard(0, 1), *b = heard(1, 1);
  llmd_endpoint_id old;
  (void)state;
  engine_say(a, 1);
  engine_say(b, 1);
  stand_until(&t, stand_blocks(&t, a, 1) == DOC_BLOCKS && stand_blocks(&t, b, 1) == DOC_BLOCKS);
  old = a->id;
  for (uint32_t d = 2; d < 200; d++) {
    engine_say(a, d);
    if (d == 100)
      engine_remove(a);
    if (d % 10 == 0)
      stand_turn(&t, uv_hrtime());
  }
  stand_until(&t, stand_stats(&t).sources == 1);
  assert_int_equal(stand_blocks(&t, a, 1), 0);
  assert_int_equal(stand_blocks(&t, b, 1), DOC_BLOCKS);
  assert_true(stand_stats(&t).events >= 2); /* counters never go back */
  engine_add(&t, 0);
  assert_true(a->id != old);
  stand_until(&t, stand_blocks(&t, a, 199) == DOC_BLOCKS);
  assert_int_equal(stand_blocks(&t, a, 1), DOC_BLOCKS); /* by its replay */
}

/* Who comes after us goes on where we stopped. */
static void test_takeover(void **state)
{
  engine *e = heard(0, 1);
  (void)state;
  for (uint32_t d = 0; d < 40; d++)
    engine_say(e, d);
  stand_until(&t, stand_blocks(&t, e, 39) == DOC_BLOCKS && !stand_stats(&t).degraded);
  stand_stop(&t);
  assert_int_equal(stand_blocks(&t, e, 39), DOC_BLOCKS);
  engine_lose(e, 40);
  engine_lose(e, 41);
  e->from = UINT64_MAX;
  stand_start(&t);
  stand_until(&t, stand_blocks(&t, e, 41) == DOC_BLOCKS);
  assert_int_equal(stand_blocks(&t, e, 0), DOC_BLOCKS);
  assert_int_equal(e->from, 39);
  assert_int_equal(stand_stats(&t).events, 2);
}

/* ---- engines that connect to us ---------------------------------------------------------------------------------- */

static void bound_at(char *out, size_t room)
{
  snprintf(out, room, "tcp://127.0.0.1:%u", llmd__line_port(t.subscriber->bound));
}

static void test_bound(void **state)
{
  engine *told = engine_add(&t, 0), *guessed = engine_add(&t, 1), *connected = engine_add(&t, 2);
  char at[64], topic[64];
  (void)state;
  t.service.events.bind = "tcp://127.0.0.1:*";
  t.service.events.port = 0;
  told->topic = "kv@somewhere@m";
  snprintf(topic, sizeof topic, "kv@127.0.0.1:%u@m", guessed->port);
  guessed->topic = topic;
  stand_start(&t);
  bound_at(at, sizeof at);
  connected->topic = "kv@other@m";
  engine_open(connected, 1, NULL);
  engine_open(told, 1, at);
  engine_open(guessed, 0, at);
  guessed->status = 404;
  for (uint32_t d = 1; d < 20; d++)
    engine_say(told, d);
  stand_until(&t, stand_blocks(&t, told, 19) == DOC_BLOCKS);
  assert_int_equal(stand_blocks(&t, told, 1), DOC_BLOCKS);
  engine_say_until_heard(guessed, 3);
  assert_int_equal(stand_blocks(&t, told, 3), DOC_BLOCKS);
  stand_until(&t, stand_stats(&t).connected == 1);
  engine_say(connected, 1);
  stand_until(&t, stand_blocks(&t, connected, 1) == DOC_BLOCKS);
}

/* A topic is no proof: whose connection we have is nobody else's to speak for; nor is somebody whom nobody knows. */
static void test_bound_impostor(void **state)
{
  engine *real = engine_add(&t, 0), *impostor = engine_add(&t, 1);
  char at[64], topic[64];
  uint64_t bad;
  (void)state;
  t.service.events.bind = "tcp://127.0.0.1:*";
  snprintf(topic, sizeof topic, "kv@127.0.0.1:%u@m", real->port);
  real->topic = topic;
  engine_open(real, 1, NULL);
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 1);
  engine_say(real, 1);
  stand_until(&t, stand_blocks(&t, real, 1) == DOC_BLOCKS);
  bound_at(at, sizeof at);
  impostor->topic = topic;
  engine_open(impostor, 0, at);
  impostor->status = 404;
  bad = stand_stats(&t).bad;
  for (uint64_t began = uv_hrtime(); stand_stats(&t).bad < bad + 3; assert_true(stand_turn(&t, began)))
    engine_say(impostor, 2);
  assert_int_equal(stand_blocks(&t, real, 2), 0);
  impostor->topic = "kv@10.1.2.3:99999@m";
  bad = stand_stats(&t).bad;
  for (uint64_t began = uv_hrtime(); stand_stats(&t).bad < bad + 3; assert_true(stand_turn(&t, began)))
    engine_say(impostor, 2);
  assert_int_equal(stand_stats(&t).events, 1);
}

/* ---- is anything wanted? ----------------------------------------------------------------------------------------- */

static int is_on(uint32_t enabled, const char *policy)
{
  int on;
  t.service.events.enabled = enabled;
  t.service.policy = (llmd_str){policy, strlen(policy)};
  stand_start(&t);
  on = (int)t.subscriber->on;
  assert_int_equal(stand_stats(&t).sources, 0);
  stand_stop(&t);
  return on;
}

static void test_enabled(void **state)
{
  (void)state;
  assert_int_equal(is_on(0, "plugins: [{type: precise-prefix-cache-producer}]"), 0);
  assert_int_equal(is_on(1, ""), 1);
  assert_int_equal(is_on(2, ""), 0);
  assert_int_equal(is_on(2, "plugins:\n- type: queue-scorer\n- type: precise-prefix-cache-producer\n"), 1);
  assert_int_equal(is_on(2, "{\"plugins\": [{\"type\": \"precise-prefix-cache-scorer\"}]}"), 1);
  assert_int_equal(is_on(2, "plugins:\n- type: queue-scorer\n  name: precise-prefix-cache-producer\n"), 0);
  assert_int_equal(is_on(2, "plugins: 7"), 0);
}

int main(void)
{
#define AT_STAND(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    AT_STAND(test_live),
    AT_STAND(test_what_was_before_us),
    AT_STAND(test_gap),
    AT_STAND(test_gap_old_way),
    AT_STAND(test_gap_without_replay),
    AT_STAND(test_restart_elsewhere),
    AT_STAND(test_restart_in_silence),
    AT_STAND(test_reconnect),
    AT_STAND(test_reconnect_to_the_same_port),
    AT_STAND(test_own_address_but_listens),
    AT_STAND(test_no_replay_port),
    AT_STAND(test_replay_never_comes),
    AT_STAND(test_told_by_metrics),
    AT_STAND(test_removed),
    AT_STAND(test_takeover),
    AT_STAND(test_bound),
    AT_STAND(test_bound_impostor),
    AT_STAND(test_enabled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
