/* Exchanges that end in every way and at every point: clients that come, say half of it and leave, engines that answer,
 * fail, drip and vanish, an engine that is taken from the table, another policy, times that run out. By dice; whatever
 * happens, nothing is left: no exchange, no connection, no charge. */
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 12
#define LARGE (300u << 10)

static uint64_t dice;

static uint32_t roll(uint32_t n)
{
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(dice >> 33) % n;
}

static const char *const answers[] = {
  RIG_JSON_ANSWER "54\r\n\r\n{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}    ",
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
  "3a\r\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"x\":\"123\"}}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
  "9\r\ndata: 1\n\n\r\n8\r\ndata: 2\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2",
  "HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
  "HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{}",
  "HTTP/1.1 200 OK\r\nContent-Len",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
  "HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
  "garbage",
  "",
};
#define N_ANSWERS (sizeof answers / sizeof *answers)

static const char *const bodies[][2] = {
  {"POST /v1/chat/completions", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
  {"POST /v1/chat/completions", "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
  {"POST /v1/completions", "{\"prompt\":\"p\",\"kv_transfer_params\":1}"},
  {"POST /v1/files", "x"},
  {"POST /v1/chat/completions", "{not json"},
  {"GET /health", ""},
  {"HEAD /health", ""},
  {"OPTIONS *", ""},
  {"GET /%00", ""},
  {"DELETE /v1/files/1", ""},
};
#define N_BODIES (sizeof bodies / sizeof *bodies)

typedef struct stage {
  rig r;
  rig_client *client[CLIENTS];
  char *text;
} stage;

/* ---- what clients do ---- */

#define TIMES "limits: {total: 400ms, body_time: 300ms}\nupstream: {first_byte: 150ms, idle: 150ms}\n"

static size_t put_request(char *text)
{
  uint32_t k = roll(N_BODIES);
  const char *body = bodies[k][1];
  size_t len = strlen(body), pad = k < 3 && !roll(6) ? LARGE : 0;
  int n = sprintf(text, "%s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n", bodies[k][0],
                  roll(4) ? "" : "Connection: close\r\n", len + pad);
  memcpy(text + n, body, len);
  memset(text + (size_t)n + len, ' ', pad);
  return (size_t)n + len + pad;
}

static void client_opens(stage *s, rig_client **at)
{
  size_t n = put_request(s->text);
  if (!roll(4))
    n += put_request(s->text + n);
  if (!roll(4))
    n = roll((uint32_t)n);
  *at = malloc(sizeof **at);
  assert_non_null(*at);
  rig_client_open(&s->r, *at, s->text, n);
  if (!roll(4))
    (*at)->keep = roll(2) ? 0 : -1; /* -1: reads nothing */
}

static void client_leaves(rig_client **at)
{
  rig_client_close(*at);
  free((*at)->got);
  free(*at);
  *at = NULL;
}

static void client_acts(stage *s)
{
  rig_client **at = &s->client[roll(CLIENTS)];
  if (!*at)
    client_opens(s, at);
  else if ((*at)->ended || !roll(3))
    client_leaves(at);
  else if (!roll(3))
    rig_client_send(*at, s->text, put_request(s->text));
}

/* ---- what engines do ---- */

static void engine_acts(stage *s)
{
  static const int does[] = {RIG_ANSWER, RIG_ANSWER, RIG_ANSWER, RIG_LAST, RIG_LAST, RIG_CLOSE, RIG_RESET, RIG_SILENT,
                             RIG_FLOOD};
  rig_engine *e = &s->r.engine[roll(RIG_ENGINES)];
  switch (roll(4)) {
  case 0:
    e->does = does[roll(sizeof does / sizeof *does)];
    e->flood = roll(40) << 16;
    e->flooded = 0;
    break;
  case 1:
    e->answer = answers[roll(roll(2) ? 3 : N_ANSWERS)];
    break;
  case 2:
    e->early = roll(6) ? NULL : answers[roll(N_ANSWERS)];
    e->deaf = !roll(10);
    break;
  default:
    if (e->link) {
      const char *text = answers[roll(N_ANSWERS)];
      rig_engine_send(e, text, roll((uint32_t)strlen(text) + 1), !roll(3));
    }
  }
}

/* ---- what the operator does ---- */

static void operator_acts(stage *s)
{
  rig *r = &s->r;
  rig_engine *e = &r->engine[roll(RIG_ENGINES)];
  llmd_endpoint row = {.size = sizeof row, .address = {"127.0.0.1", 9}, .port = e->port};
  llmd_err err = LLMD_ERR_INIT;
  llmd_now now;
  llmd_clock(&now);
  if (roll(2)) {
    llmd_service *other = rig_service("log: {access: \"\"}\n" TIMES);
    assert_int_equal(llmd_proxy_reload(r->proxy, other, &err), 0);
    llmd_service_free(r->service);
    r->service = other;
    return;
  }
  assert_int_equal(llmd_pool_remove(r->pool, e->id), 0);
  (void)llmd_pool_publish(r->pool, &now);
  for (uint32_t i = roll(20); i; i--)
    uv_run(&r->loop, UV_RUN_NOWAIT);
  assert_int_equal(llmd_pool_add(r->pool, &row, &e->id), 0);
  (void)llmd_pool_publish(r->pool, &now);
}

static int nothing_is_left(void *ud)
{
  rig *r = ud;
  return !r->proxy->n_exchanges && !rig_inflight(r);
}

static void run(uint64_t seed, uint32_t steps)
{
  static stage s;
  uint32_t drains = roll(2);
  dice = seed;
  s.text = malloc(4 * LARGE);
  assert_non_null(s.text);
  rig_start(&s.r, RIG_ENGINES, TIMES);
  for (uint32_t i = 0; i < steps; i++) {
    if (!roll(200))
      operator_acts(&s);
    else if (roll(3))
      client_acts(&s);
    else
      engine_acts(&s);
    for (uint32_t k = roll(4); k; k--)
      uv_run(&s.r.loop, UV_RUN_NOWAIT);
  }
  if (drains) { /* or the proxy's end comes upon them */
    for (int i = 0; i < CLIENTS; i++)
      if (s.client[i])
        client_leaves(&s.client[i]);
    rig_until(&s.r, nothing_is_left, &s.r);
  }
  rig_stop(&s.r);
  for (int i = 0; i < CLIENTS; i++)
    if (s.client[i]) {
      free(s.client[i]->got);
      free(s.client[i]);
      s.client[i] = NULL;
    }
  free(s.text);
}

static void test_lives(void **state)
{
  uint32_t rounds = getenv("LLMD_LONG") ? 60 : 4;
  (void)state;
  for (uint32_t i = 1; i <= rounds; i++)
    run(i, 3000);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lives)};
  (void)signal(SIGPIPE, SIG_IGN); /* as every host of libuv does */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
