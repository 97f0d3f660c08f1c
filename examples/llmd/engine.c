#define _GNU_SOURCE
#include "engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t engine_mono(void)
{
  llmd_now now;
  llmd_clock(&now);
  return now.mono;
}

/* ---- answers ---- */

void engine_reply(struct engine *e, llmd_http_call *http, uint32_t status, const char *type,
                  const struct engine_text *body)
{
  static const char sorry[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"InternalServerError\","
                              "\"param\":null,\"code\":500}}";
  const llmd_http_header headers[] = {{{"server", 6}, {"llmd-engine", 11}},
                                      {{"x-engine", 8}, {e->address, strlen(e->address)}}};
  const uint32_t n = sizeof headers / sizeof headers[0];
  if (body->failed)
    (void)llmd_http_reply(http, 500, "application/json", headers, n, sorry, sizeof sorry - 1);
  else
    (void)llmd_http_reply(http, status, type, headers, n, body->ptr, body->len);
}

void engine_reply_refusal(struct engine *e, llmd_http_call *http, const struct engine_refusal *refusal)
{
  engine_text_reset(&e->body);
  engine_refusal_text(refusal, &e->body);
  engine_reply(e, http, refusal->status, "application/json", &e->body);
}

/* ---- what arrives ---- */

static int is(llmd_str s, const char *text)
{
  return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

/* Whether this connection carried a request before. */
static int seen_before(struct engine *e, llmd_str client)
{
  uint64_t hash = 1, *slot;
  int seen;
  for (size_t i = 0; i < client.len; i++)
    hash = sim_mix(hash ^ (unsigned char)client.ptr[i]);
  slot = &e->seen[hash % (sizeof e->seen / sizeof e->seen[0])];
  seen = *slot == hash;
  *slot = hash;
  return seen;
}

static void record(struct engine *e, const llmd_http_request *r)
{
  struct engine_text *out = &e->received;
  engine_text_reset(out);
  engine_text_add(out, "{\"method\":\"");
  engine_text_quote(out, r->method.ptr, r->method.len);
  engine_text_add(out, "\",\"target\":\"");
  engine_text_quote(out, r->target.ptr, r->target.len);
  engine_text_add(out, "\",\"headers\":[");
  for (uint32_t i = 0; i < r->n_headers; i++) {
    engine_text_add(out, i ? ",[\"" : "[\"");
    engine_text_quote(out, r->header[i].name.ptr, r->header[i].name.len);
    engine_text_add(out, "\",\"");
    engine_text_quote(out, r->header[i].value.ptr, r->header[i].value.len);
    engine_text_add(out, "\"]");
  }
  engine_text_add(out, "],\"body\":\"");
  engine_text_quote(out, r->body.ptr, r->body.len);
  engine_text_add(out, "\"}");
}

/* 1: the fault was all there is to say. */
static int strike(struct engine *e, llmd_http_call *http, const struct engine_fault *f)
{
  struct engine_refusal refusal;
  switch (f->kind) {
  case ENGINE_ERROR:
    (void)engine_refuse(&refusal, f->status, f->status == 503 ? "ServiceUnavailableError" : "InternalServerError",
                        NULL, "The engine was asked to fail.");
    engine_reply_refusal(e, http, &refusal);
    return 1;
  case ENGINE_CLOSE:
    llmd_http_abort(http);
    return 1;
  case ENGINE_JUNK:
    engine_text_reset(&e->body);
    engine_text_put(&e->body, "\x00\xff{\"choices\": [\x80}}}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 43);
    engine_reply(e, http, 200, "application/json", &e->body);
    return 1;
  default:
    return 0;
  }
}

static void on_request(void *ud, llmd_http_call *http)
{
  struct engine *e = ud;
  const llmd_http_request *r = llmd_http_request_of(http);
  const char *query = memchr(r->target.ptr, '?', r->target.len);
  const llmd_str path = {r->target.ptr, query ? (size_t)(query - r->target.ptr) : r->target.len};
  const int chat = is(path, "/v1/chat/completions"), post = is(r->method, "POST");
  const int again = seen_before(e, r->client);
  struct engine_fault fault = {0};
  llmd_http_set_data(http, NULL);
  if (e->faults.n && !is(path, "/fault"))
    fault = engine_fault_strike(&e->faults, path.ptr, path.len, again);
  if (e->options.record && post && !is(path, "/fault"))
    record(e, r);
  if (strike(e, http, &fault))
    return;
  if (post && (chat || is(path, "/v1/completions"))) {
    engine_call_start(e, http, chat, &fault);
    return;
  }
  if (fault.kind == ENGINE_HANG) /* until the client has enough */
    return;
  if (fault.kind == ENGINE_RESET || fault.kind == ENGINE_HALF) {
    llmd_http_abort(http);
    return;
  }
  if (engine_page(e, http, r, path, &fault)) {
    engine_text_reset(&e->body);
    engine_text_add(&e->body, "{\"detail\":\"%s\"}", chat || is(path, "/v1/completions") ? "Method Not Allowed"
                                                                                         : "Not Found");
    engine_reply(e, http, chat || is(path, "/v1/completions") ? 405 : 404, "application/json", &e->body);
  }
}

static void on_gone(void *ud, llmd_http_call *http)
{
  struct engine_listener *l = llmd_http_data(http);
  (void)ud;
  if (l)
    l->gone(l);
}

static void on_drain(void *ud, llmd_http_call *http)
{
  struct engine_listener *l = llmd_http_data(http);
  (void)ud;
  if (l)
    l->drained(l);
}

/* ---- life ---- */

static void finish(struct engine *e)
{
  void (*done)(void *ud) = e->done;
  void *ud = e->done_ud;
  engine_model_close(e);
  free(e->table);
  engine_text_free(&e->filling);
  engine_text_free(&e->body);
  engine_text_free(&e->received);
  free(e);
  if (done)
    done(ud);
}

static void one_less(struct engine *e)
{
  if (--e->handles == 0)
    finish(e);
}

static void on_part_done(void *ud)
{
  one_less(ud);
}

static void on_timer_closed(uv_handle_t *handle)
{
  one_less(handle->data);
}

static int listen_on(struct engine *e, llmd_err *err)
{
  const llmd_http_handler handler = {.size = sizeof handler, .ud = e, .on_request = on_request, .on_gone = on_gone,
                                     .on_drain = on_drain};
  const llmd_http_options limits = {.size = sizeof limits, .max_body = (uint64_t)64 << 20,
                                    .idle_ms = e->options.idle_ms, .max_calls = e->options.most_calls};
  int rc;
  (void)snprintf(e->address, sizeof e->address, "%s:%" PRIu32, e->options.host, e->options.port);
  rc = llmd_http_listen(e->options.loop, e->address, -1, &handler, &limits, &e->server, err);
  if (rc)
    return rc;
  (void)snprintf(e->address, sizeof e->address, "%s:%" PRIu32, e->options.host, llmd_http_port(e->server));
  return 0;
}

static int open_events(struct engine *e, llmd_err *err)
{
  const struct engine_options *o = &e->options;
  char topic[600];
  const struct engine_events_options options = {
    .loop = o->loop, .host = o->host, .topic = topic, .connect = o->events_connect, .port = o->events_port,
    .replay_port = o->replay_port,
    .keep = o->events_keep, .block_size = o->block_size, .n_blocks = o->model.kv_tokens / o->block_size};
  int rc;
  (void)snprintf(topic, sizeof topic, "kv@%s@%s", e->address, o->models.name);
  rc = engine_events_open(&options, &e->events);
  if (rc && err) {
    err->code = rc;
    (void)snprintf(err->text, sizeof err->text, "events cannot be sent on ports %" PRIu32 " and %" PRIu32,
                   o->events_port, o->replay_port);
  }
  return rc;
}

int engine_open(const struct engine_options *options, struct engine **out, llmd_err *err)
{
  struct engine *e = calloc(1, sizeof *e);
  llmd_now now;
  int rc;
  if (!e)
    return LLMD_E_NOMEM;
  e->options = *options;
  e->faults = *options->faults;
  llmd_clock(&now);
  e->started = (int64_t)(now.wall / 1000000000u);
  (void)uv_timer_init(options->loop, &e->timer);
  e->timer.data = e;
  e->handles = 1;
  rc = listen_on(e, err);
  if (rc == 0 && options->events)
    rc = open_events(e, err);
  if (rc == 0 && !options->instant)
    rc = engine_model_open(e);
  if (rc) {
    engine_close(e, NULL, NULL);
    return rc;
  }
  *out = e;
  return 0;
}

void engine_close(struct engine *e, void (*done)(void *ud), void *ud)
{
  if (!e || e->closing)
    return;
  e->closing = 1;
  e->done = done;
  e->done_ud = ud;
  uv_timer_stop(&e->timer);
  if (e->sim)
    engine_model_restart(e);
  engine_calls_drop(e);
  if (e->server) {
    e->handles++;
    llmd_http_close(e->server, on_part_done, e);
  }
  if (e->events) {
    e->handles++;
    engine_events_close(e->events, on_part_done, e);
    e->events = NULL;
  }
  uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

void engine_restart(struct engine *e)
{
  if (e->sim)
    engine_model_restart(e);
  engine_calls_drop(e);
  if (e->events)
    engine_events_restart(e->events);
  memset(&e->figures, 0, sizeof e->figures);
}
