#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stand.h"

#include "../../prefix/speaker.h"

#define DEADLINE UINT64_C(60000000000)

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void on_pulse(uv_timer_t *timer)
{
  stand *t = timer->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  (void)llmd_pool_tick(t->pool, &now, &next);
  (void)llmd_pool_publish(t->pool, &now);
}

int stand_turn(stand *t, uint64_t began)
{
  uv_run(&t->loop, UV_RUN_ONCE);
  return uv_hrtime() - began < DEADLINE;
}

static void keep_line(void *ud, int level, const char *component, const char *text, size_t len)
{
  stand *t = ud;
  const size_t have = strlen(t->log);
  (void)level;
  (void)component;
  if (have + len + 2 < sizeof t->log)
    snprintf(t->log + have, sizeof t->log - have, "%.*s\n", (int)len, text);
}

void stand_open(stand *t)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = 64, .index_bytes = 8 << 20,
                                      .state_bytes = 16 << 20, .prefix_bytes = 1 << 20, .seed = 7};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  memset(t, 0, sizeof *t);
  assert_int_equal(uv_loop_init(&t->loop), 0);
  uv_timer_init(&t->loop, &t->pulse);
  t->pulse.data = t;
  assert_int_equal(llmd_pool_open(&o, &t->pool, NULL), 0);
  assert_int_equal(llmd_pool_index(t->pool, &t->index), 0);
  t->scratch = calloc(1, llmd_index_scratch(t->index));
  uv_timer_start(&t->pulse, on_pulse, 0, 5);
  t->service.size = sizeof t->service;
  t->service.events.enabled = 1;
  t->service.events.port = 1; /* nobody is there */
  t->service.events.replay_port = 1;
  t->service.events.retry_ms = 200;
  t->service.events.bind = "";
  t->service.events.topic = "kv@";
  t->service.events.discover_ms = 50;
  t->service.caps.max_endpoints = 64;
}

void stand_start(stand *t)
{
  const llmd_feeder f = {.size = sizeof f, .loop = &t->loop, .pool = t->pool, .service = &t->service, .log = keep_line,
                         .log_ud = t};
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_subscriber_start(&f, &t->subscriber, &err))
    fail_msg("%s", err.text);
}

static void on_done(void *ud)
{
  stand *t = ud;
  t->closing--;
}

void stand_stop(stand *t)
{
  t->closing++;
  llmd_subscriber_stop(t->subscriber, on_done, t);
  t->subscriber = NULL;
  stand_until(t, t->closing == 0);
}

static void close_handle(uv_handle_t *handle, void *ud)
{
  (void)ud;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

void stand_close(stand *t)
{
  if (t->subscriber)
    stand_stop(t);
  for (uint32_t i = 0; i < ENGINES; i++) {
    engine_close(&t->engine[i]);
    for (uint32_t k = 0; k < KEEP; k++)
      free((void *)(uintptr_t)t->engine[i].kept[k].ptr);
  }
  uv_walk(&t->loop, close_handle, NULL);
  uv_run(&t->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&t->loop), 0);
  llmd_pool_close(t->pool);
  free(t->scratch);
}

llmd_subscriber_stats stand_stats(const stand *t)
{
  llmd_subscriber_stats s = {.size = sizeof s};
  assert_int_equal(llmd_subscriber_stats_get(t->subscriber, &s), 0);
  return s;
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

static void spell(uint32_t document, uint32_t *token, uint64_t *name)
{
  for (uint32_t i = 0; i < DOC_BLOCKS * BLOCK; i++)
    token[i] = document * 1000 + i;
  for (uint32_t i = 0; i < DOC_BLOCKS; i++)
    name[i] = (uint64_t)(document + 1) << 8 | i;
}

uint32_t stand_blocks(stand *t, const engine *e, uint32_t document)
{
  const llmd_chain_root root = {.size = sizeof root, .block_tokens = BLOCK};
  uint32_t token[DOC_BLOCKS * BLOCK];
  uint64_t name[DOC_BLOCKS];
  llmd_key key[DOC_BLOCKS];
  llmd_hit hit[64];
  llmd_chain chain;
  int n;
  spell(document, token, name);
  assert_int_equal(llmd_chain_begin(&chain, llmd_index_secret(t->index), &root), 0);
  n = llmd_chain_extend(&chain, llmd_index_secret(t->index), token, DOC_BLOCKS * BLOCK, NULL, 0, key, DOC_BLOCKS);
  n = llmd_index_query(t->index, t->scratch, key, (uint32_t)n, hit, 64, NULL);
  for (int i = 0; i < n; i++)
    if (hit[i].endpoint == e->id)
      return hit[i].blocks;
  return 0;
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

typedef struct visit {
  uv_tcp_t tcp;
  uv_write_t write;
  engine *engine;
  char in[2048], out[1024];
  size_t len;
} visit;

static void on_visit_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_written(uv_write_t *write, int status)
{
  visit *v = write->data;
  (void)status;
  if (!uv_is_closing((uv_handle_t *)&v->tcp))
    uv_close((uv_handle_t *)&v->tcp, on_visit_closed);
}

static void give_room(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
  visit *v = handle->data;
  (void)hint;
  *buf = uv_buf_init(v->in + v->len, (unsigned)(sizeof v->in - v->len));
}

static void reply(visit *v)
{
  const engine *e = v->engine;
  uv_buf_t buf;
  snprintf(v->out, sizeof v->out, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", e->status,
           strlen(e->answer), e->answer);
  buf = uv_buf_init(v->out, (unsigned)strlen(v->out));
  v->write.data = v;
  uv_write(&v->write, (uv_stream_t *)&v->tcp, &buf, 1, on_written);
}

static void on_request(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  visit *v = stream->data;
  (void)buf;
  if (n < 0 || !v->engine->status) {
    if (!uv_is_closing((uv_handle_t *)stream))
      uv_close((uv_handle_t *)stream, on_visit_closed);
    return;
  }
  v->len += (size_t)n;
  if (v->len < 4 || memcmp(v->in + v->len - 4, "\r\n\r\n", 4))
    return;
  assert_memory_equal(v->in, "GET /kv_event_sources HTTP/1.1\r\n", 32);
  v->engine->asked++;
  reply(v);
}

static void on_visitor(uv_stream_t *server, int status)
{
  visit *v = calloc(1, sizeof *v);
  assert_int_equal(status, 0);
  assert_non_null(v);
  v->engine = server->data;
  uv_tcp_init(server->loop, &v->tcp);
  v->tcp.data = v;
  assert_int_equal(uv_accept(server, (uv_stream_t *)&v->tcp), 0);
  uv_read_start((uv_stream_t *)&v->tcp, give_room, on_request);
}

/* ---- engines ----------------------------------------------------------------------------------------------------- */

static void listen_http(engine *e)
{
  struct sockaddr_in at;
  int len = sizeof at;
  uv_ip4_addr("127.0.0.1", 0, &at);
  uv_tcp_init(&e->stand->loop, &e->http);
  e->http.data = e;
  assert_int_equal(uv_tcp_bind(&e->http, (const struct sockaddr *)&at, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&e->http, 64, on_visitor), 0);
  assert_int_equal(uv_tcp_getsockname(&e->http, (struct sockaddr *)&at, &len), 0);
  e->port = ntohs(at.sin_port);
}

engine *engine_add(stand *t, uint32_t i)
{
  engine *e = &t->engine[i];
  llmd_endpoint p = {.size = sizeof p, .address = {"127.0.0.1", 9}};
  if (!e->stand) {
    e->stand = t;
    e->status = 404;
    e->topic = "kv@engine@m";
    e->time = 1000;
    listen_http(e);
  }
  p.port = e->port;
  assert_int_equal(llmd_pool_add(t->pool, &p, &e->id), 0);
  return e;
}

void engine_remove(engine *e)
{
  assert_int_equal(llmd_pool_remove(e->stand->pool, e->id), 0);
}

static int answer(void *ud, uint64_t from, struct event_message *out)
{
  engine *e = ud;
  if (from < e->from)
    e->from = from;
  while (from < e->seq && !e->kept[from].ptr)
    from++;
  if (from >= e->seq)
    return 0;
  out->seq = from;
  out->topic = e->topic;
  out->topic_len = strlen(e->topic);
  out->payload = e->kept[from].ptr;
  out->len = e->kept[from].len;
  return 1;
}

void engine_open(engine *e, int replays, const char *bind_at)
{
  char at[128] = "tcp://127.0.0.1:0", replay[64] = "null";
  if (bind_at)
    snprintf(at, sizeof at, ">%s", bind_at);
  assert_int_equal(event_socket_open(&e->stand->loop, at, replays ? "tcp://127.0.0.1:0" : NULL, answer, e, &e->socket),
                   0);
  if (replays)
    snprintf(replay, sizeof replay, "\"tcp://*:%u\"", event_socket_replay_port(e->socket));
  e->from = UINT64_MAX;
  e->status = 200;
  snprintf(e->answer, sizeof e->answer,
           "{\"0\":{\"enable_kv_cache_events\":true,\"publisher\":\"zmq\",\"endpoint\":\"tcp://%s:%u\","
           "\"replay_endpoint\":%s,\"buffer_steps\":10000,\"hwm\":100000,\"topic\":\"%s\"}}",
           bind_at ? "10.9.9.9" : "*", bind_at ? 5557 : event_socket_port(e->socket), replay, e->topic);
}

void engine_close(engine *e)
{
  if (!e->socket)
    return;
  e->stand->closing++;
  event_socket_close(e->socket, on_done, e->stand);
  e->socket = NULL;
  stand_until(e->stand, e->stand->closing == 0);
}

void engine_restart(engine *e)
{
  engine_close(e);
  for (uint32_t i = 0; i < KEEP; i++) {
    free((void *)(uintptr_t)e->kept[i].ptr);
    e->kept[i].ptr = NULL;
  }
  e->seq = 0;
  e->time += 100;
}

void engine_send(engine *e, const void *payload, size_t len, int lose)
{
  char *copy = malloc(len + 1);
  assert_non_null(copy);
  assert_true(e->seq < KEEP);
  memcpy(copy, payload, len);
  e->kept[e->seq] = (llmd_str){copy, len};
  if (!lose && e->socket)
    assert_int_equal(event_socket_publish(e->socket, e->topic, strlen(e->topic), e->seq, payload, len), 0);
  e->seq++;
}

static void send_stored(engine *e, uint32_t document, int lose)
{
  uint32_t token[DOC_BLOCKS * BLOCK];
  uint64_t name[DOC_BLOCKS];
  batch_text b;
  llmd_str payload;
  const stored_text s = {.name = name, .n = DOC_BLOCKS, .token = token, .n_tokens = DOC_BLOCKS * BLOCK,
                         .block_size = BLOCK, .medium = "GPU", .group = -1};
  spell(document, token, name);
  batch_begin(&b, e->time += 1, -1);
  batch_stored(&b, &s);
  payload = batch_end(&b);
  engine_send(e, payload.ptr, payload.len, lose);
}

void engine_say(engine *e, uint32_t document)
{
  send_stored(e, document, 0);
}

void engine_lose(engine *e, uint32_t document)
{
  send_stored(e, document, 1);
}

void engine_drop(engine *e, uint32_t document)
{
  uint32_t token[DOC_BLOCKS * BLOCK];
  uint64_t name[DOC_BLOCKS];
  batch_text b;
  llmd_str payload;
  spell(document, token, name);
  batch_begin(&b, e->time += 1, -1);
  batch_removed(&b, name, DOC_BLOCKS, "GPU", -1);
  payload = batch_end(&b);
  engine_send(e, payload.ptr, payload.len, 0);
}

void engine_say_until_heard(engine *e, uint32_t document)
{
  for (uint64_t began = uv_hrtime(), next = 0; stand_blocks(e->stand, e, document) != DOC_BLOCKS;) {
    if (uv_hrtime() >= next) {
      engine_say(e, document);
      next = uv_hrtime() + UINT64_C(20000000);
    }
    assert_true(stand_turn(e->stand, began));
  }
}
