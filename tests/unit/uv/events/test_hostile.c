/* Engines that say too much, or what makes no sense, or say it in a way that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <zmq.h>

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

/* A publisher without manners, on a thread of its own. */
typedef struct rude {
  void *context, *socket;
  uint32_t port;
  pthread_t thread;
  atomic_int stop;
  atomic_ullong sent;
  char payload[512];
  size_t len;
} rude;

static void open_rude(rude *r, const char *address)
{
  char where[128];
  size_t len = sizeof where;
  const int none = 0;
  memset(r, 0, sizeof *r);
  r->context = zmq_ctx_new();
  r->socket = zmq_socket(r->context, ZMQ_PUB);
  assert_int_equal(zmq_bind(r->socket, address), 0);
  assert_int_equal(zmq_getsockopt(r->socket, ZMQ_LAST_ENDPOINT, where, &len), 0);
  zmq_setsockopt(r->socket, ZMQ_LINGER, &none, sizeof none);
  r->port = (uint32_t)strtoul(strrchr(where, ':') + 1, NULL, 10);
}

static void close_rude(rude *r)
{
  zmq_close(r->socket);
  zmq_ctx_term(r->context);
}

/* The engine's answer leads to the rude one. */
static void lead_to(engine *e, const rude *r)
{
  e->status = 200;
  snprintf(e->answer, sizeof e->answer, "{\"0\": {\"endpoint\": \"tcp://*:%u\"}}", r->port);
}

static void say_parts(rude *r, uint32_t n, size_t len)
{
  char *bytes = calloc(1, len + 1);
  for (uint32_t i = 0; i < n; i++) {
    for (size_t k = 0; k < len && k < 64; k++)
      bytes[k] = (char)(i * 7 + k * 13);
    zmq_send(r->socket, bytes, len, i + 1 < n ? ZMQ_SNDMORE : 0);
  }
  free(bytes);
}

static void *flood(void *ud)
{
  rude *r = ud;
  uint64_t seq = 0;
  while (!atomic_load(&r->stop)) {
    uint8_t number[8];
    for (int i = 0; i < 8; i++)
      number[i] = (uint8_t)(seq >> 8 * (7 - i));
    seq++;
    zmq_send(r->socket, "kv@x", 4, ZMQ_SNDMORE);
    zmq_send(r->socket, number, 8, ZMQ_SNDMORE);
    zmq_send(r->socket, r->payload, r->len, 0);
    atomic_fetch_add(&r->sent, 1);
  }
  return NULL;
}

/* What a turn of the loop took at most. */
typedef struct meter {
  uv_check_t check;
  uint64_t before, most, ticks;
  uv_timer_t timer;
} meter;

static void on_check(uv_check_t *check)
{
  meter *m = check->data;
  const uint64_t now = t.subscriber ? stand_stats(&t).messages : m->before;
  if (now - m->before > m->most)
    m->most = now - m->before;
  m->before = now;
}

static void on_tick(uv_timer_t *timer)
{
  meter *m = timer->data;
  m->ticks++;
}

/* One who floods gets slices: timers tick, another engine is heard. */
static void test_flood(void **state)
{
  engine *loud = engine_add(&t, 0), *quiet = engine_add(&t, 1);
  static const uint8_t batch[] = {0x93, 0xcb, 0x40, 0x8f, 0x40, 0, 0, 0, 0, 0, 0x90, 0xc0}; /* no events */
  static rude r;
  static meter m;
  uint64_t heard;
  (void)state;
  open_rude(&r, "tcp://127.0.0.1:*");
  memcpy(r.payload, batch, r.len = sizeof batch);
  lead_to(loud, &r);
  engine_open(quiet, 1, NULL);
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 2);
  memset(&m, 0, sizeof m);
  uv_check_init(&t.loop, &m.check);
  uv_timer_init(&t.loop, &m.timer);
  m.check.data = m.timer.data = &m;
  uv_check_start(&m.check, on_check);
  uv_timer_start(&m.timer, on_tick, 5, 5);
  assert_int_equal(pthread_create(&r.thread, NULL, flood, &r), 0);
  stand_until(&t, stand_stats(&t).messages > 20000);
  heard = m.ticks;
  engine_say_until_heard(quiet, 5);
  stand_until(&t, m.ticks > heard + 20 && stand_stats(&t).messages > 60000);
  atomic_store(&r.stop, 1);
  pthread_join(r.thread, NULL);
  stand_stop(&t);
  close_rude(&r);
  assert_in_range(m.most, 1, 256);
}

/* Every shape that is none; after it a sound engine is still heard. */
static void test_garbage(void **state)
{
  engine *e = engine_add(&t, 0), *sound = engine_add(&t, 1);
  rude r;
  (void)state;
  t.service.events.topic = "";
  open_rude(&r, "tcp://127.0.0.1:*");
  lead_to(e, &r);
  engine_open(sound, 1, NULL);
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 2);
  for (uint64_t began = uv_hrtime(); stand_stats(&t).bad < 5000; assert_true(stand_turn(&t, began))) {
    for (uint32_t parts = 1; parts <= 9; parts++) {
      say_parts(&r, parts, 0);
      say_parts(&r, parts, 8);
      say_parts(&r, parts, 300);
    }
    say_parts(&r, 700, 3);
  }
  engine_say_until_heard(sound, 1);
  assert_int_equal(stand_blocks(&t, e, 1), 0);
  stand_stop(&t);
  close_rude(&r);
}

/* A part beyond the limit ends the connection; the line comes back. */
static void test_too_large(void **state)
{
  engine *e = engine_add(&t, 0);
  rude r;
  uint64_t bytes;
  (void)state;
  open_rude(&r, "tcp://127.0.0.1:*");
  lead_to(e, &r);
  stand_start(&t);
  stand_until(&t, stand_stats(&t).connected == 1);
  for (uint64_t began = uv_hrtime(); stand_stats(&t).connected == 1; assert_true(stand_turn(&t, began)))
    say_parts(&r, 1, (4 << 20) + 1);
  bytes = stand_stats(&t).bytes;
  assert_int_equal(bytes, 0);
  stand_until(&t, stand_stats(&t).connected == 1);
  for (uint64_t began = uv_hrtime(); stand_stats(&t).bytes == bytes; assert_true(stand_turn(&t, began)))
    say_parts(&r, 3, 8);
  stand_stop(&t);
  close_rude(&r);
}

/* Takes connections and says a byte now and then, of no protocol. */
typedef struct dripper {
  uv_tcp_t server, client[8];
  uint32_t n;
  uv_timer_t timer;
  uv_write_t write[8];
} dripper;

static void on_drip_closed(uv_write_t *write, int status)
{
  (void)write;
  (void)status;
}

static void on_drip(uv_timer_t *timer)
{
  dripper *d = timer->data;
  for (uint32_t i = 0; i < d->n; i++) {
    static char byte[] = "\xff";
    uv_buf_t buf = uv_buf_init(byte, 1);
    uv_write(&d->write[i], (uv_stream_t *)&d->client[i], &buf, 1, on_drip_closed);
  }
}

static void on_drip_visitor(uv_stream_t *server, int status)
{
  dripper *d = server->data;
  assert_int_equal(status, 0);
  if (d->n == 8)
    return;
  uv_tcp_init(server->loop, &d->client[d->n]);
  assert_int_equal(uv_accept(server, (uv_stream_t *)&d->client[d->n]), 0);
  d->n++;
}

static void test_drip(void **state)
{
  engine *e = engine_add(&t, 0), *sound = engine_add(&t, 1);
  static dripper d;
  struct sockaddr_in at;
  int len = sizeof at;
  (void)state;
  memset(&d, 0, sizeof d);
  uv_ip4_addr("127.0.0.1", 0, &at);
  uv_tcp_init(&t.loop, &d.server);
  uv_timer_init(&t.loop, &d.timer);
  d.server.data = d.timer.data = &d;
  assert_int_equal(uv_tcp_bind(&d.server, (const struct sockaddr *)&at, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&d.server, 8, on_drip_visitor), 0);
  assert_int_equal(uv_tcp_getsockname(&d.server, (struct sockaddr *)&at, &len), 0);
  uv_timer_start(&d.timer, on_drip, 1, 20);
  e->status = 200;
  snprintf(e->answer, sizeof e->answer, "{\"0\": {\"endpoint\": \"tcp://*:%u\"}}", ntohs(at.sin_port));
  engine_open(sound, 1, NULL);
  stand_start(&t);
  engine_say(sound, 1);
  stand_until(&t, d.n > 0 && stand_blocks(&t, sound, 1) == DOC_BLOCKS);
  assert_int_equal(stand_stats(&t).connected, 1);
}

int main(void)
{
#define AT_STAND(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    AT_STAND(test_flood), AT_STAND(test_garbage), AT_STAND(test_too_large), AT_STAND(test_drip),
  };
  signal(SIGPIPE, SIG_IGN); /* as every program on libuv does */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
