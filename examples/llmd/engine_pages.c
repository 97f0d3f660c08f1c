/* Everything that is no completion: what an engine says of itself, tokens, and what it is made to do wrong. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/version.h>

#include "engine.h"

static const char json_type[] = "application/json";

/* ---- models ---- */

static void put_model(const struct engine *e, const char *name, const char *parent, struct engine_text *out)
{
  engine_text_add(out, "{\"id\":\"");
  engine_text_quote(out, name, strlen(name));
  engine_text_add(out, "\",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"vllm\",\"root\":\"", e->started);
  engine_text_quote(out, name, strlen(name));
  engine_text_add(out, "\",\"parent\":");
  if (parent) {
    engine_text_add(out, "\"");
    engine_text_quote(out, parent, strlen(parent));
    engine_text_add(out, "\",\"max_model_len\":null");
  } else
    engine_text_add(out, "null,\"max_model_len\":%" PRIu32, e->options.models.most_tokens);
  engine_text_add(out, ",\"permission\":[{\"id\":\"modelperm-0\",\"object\":\"model_permission\",\"created\":%" PRId64
                  ",\"allow_create_engine\":false,\"allow_sampling\":true,\"allow_logprobs\":true,"
                  "\"allow_search_indices\":false,\"allow_view\":true,\"allow_fine_tuning\":false,"
                  "\"organization\":\"*\",\"group\":null,\"is_blocking\":false}]}", e->started);
}

static void models(struct engine *e, llmd_http_call *http)
{
  const struct engine_models *m = &e->options.models;
  engine_text_reset(&e->body);
  engine_text_add(&e->body, "{\"object\":\"list\",\"data\":[");
  put_model(e, m->name, NULL, &e->body);
  for (uint32_t i = 0; i < m->n_lora; i++) {
    engine_text_add(&e->body, ",");
    put_model(e, m->lora[i], m->name, &e->body);
  }
  engine_text_add(&e->body, "]}");
  engine_reply(e, http, 200, json_type, &e->body);
}

/* ---- small ones ---- */

static void say(struct engine *e, llmd_http_call *http, uint32_t status, const char *text)
{
  engine_text_reset(&e->body);
  engine_text_add(&e->body, "%s", text);
  engine_reply(e, http, status, json_type, &e->body);
}

static void health(struct engine *e, llmd_http_call *http)
{
  engine_text_reset(&e->body);
  engine_reply(e, http, 200, NULL, &e->body);
}

static void version(struct engine *e, llmd_http_call *http)
{
  char text[64];
  (void)snprintf(text, sizeof text, "{\"version\":\"llmd-engine-%d.%d.%d\"}", LLMD_VERSION_MAJOR, LLMD_VERSION_MINOR,
                 LLMD_VERSION_PATCH);
  say(e, http, 200, text);
}

static void load(struct engine *e, llmd_http_call *http)
{
  char text[64];
  (void)snprintf(text, sizeof text, "{\"server_load\":%" PRIu32 "}", e->n_calls);
  say(e, http, 200, text);
}

static void event_sources(struct engine *e, llmd_http_call *http)
{
  engine_text_reset(&e->body);
  engine_events_sources(e->events, &e->body);
  engine_reply(e, http, 200, json_type, &e->body);
}

/* Not while blocks are in use: vLLM does not either. */
static void reset_prefix_cache(struct engine *e, llmd_http_call *http)
{
  struct sim_metrics m = {0};
  if (e->sim)
    sim_engine_metrics(e->sim, &m);
  if (m.running || m.waiting || e->step) {
    say(e, http, 200, "{\"success\":false}");
    return;
  }
  if (e->sim)
    sim_engine_reset(e->sim);
  if (e->events) {
    sim_publisher_cleared(engine_events_publisher(e->events));
    engine_events_send(e->events);
  }
  say(e, http, 200, "{\"success\":true}");
}

/* ---- tokens ---- */

static void put_ids(const struct engine_ids *ids, size_t n, struct engine_text *out)
{
  engine_text_add(out, "[");
  for (size_t i = 0; i < n; i++)
    engine_text_add(out, i ? ",%" PRIu32 : "%" PRIu32, ids->id[i]);
  engine_text_add(out, "]");
}

static void tokenize(struct engine *e, llmd_http_call *http)
{
  struct engine_refusal refusal;
  struct engine_ask ask;
  if (engine_ask_read(&e->options.models, 0, ENGINE_TOKENIZE, llmd_http_request_of(http)->body, &ask, &refusal)) {
    engine_reply_refusal(e, http, &refusal);
    return;
  }
  engine_text_reset(&e->body);
  engine_text_add(&e->body, "{\"count\":%" PRIu32 ",\"max_model_len\":%" PRIu32 ",\"tokens\":", ask.n_prompt,
                  e->options.models.most_tokens);
  put_ids(&ask.ids, ask.n_prompt, &e->body);
  engine_text_add(&e->body, ",\"token_strs\":null}");
  engine_ask_free(&ask);
  engine_reply(e, http, 200, json_type, &e->body);
}

static void put_rendered(struct engine *e, const struct engine_ask *ask, struct engine_text *out)
{
  const struct engine_models *m = &e->options.models;
  const char *name = ask->lora == ENGINE_BASE ? m->name : m->lora[ask->lora];
  engine_text_add(out, "{\"request_id\":\"%s-%016" PRIx64 "\",\"token_ids\":", ask->chat ? "chatcmpl" : "cmpl",
                  sim_mix(++e->numbers));
  put_ids(&ask->ids, ask->n_prompt, out);
  engine_text_add(out, ",\"token_offsets\":null,\"features\":null,\"content_parts\":null,\"sampling_params\":"
                  "{\"presence_penalty\":0.0,\"frequency_penalty\":0.0,\"repetition_penalty\":1.0,\"temperature\":1.0,"
                  "\"stop\":[],\"stop_token_ids\":[],\"max_tokens\":%" PRIu32 ",\"output_kind\":2,\"skip_clone\":true,"
                  "\"bad_words\":[],\"skip_reading_prefix_cache\":false},\"model\":\"", ask->n_answer);
  engine_text_quote(out, name, strlen(name));
  engine_text_add(out, "\",\"reasoning_ended\":null,\"reasoning_parser_kwargs\":null,\"return_token_ids\":null,"
                  "\"output_mode\":\"tokens\",\"stream\":%s,\"stream_options\":null,\"cache_salt\":",
                  ask->stream ? "true" : "false");
  if (ask->salt) {
    engine_text_add(out, "\"");
    engine_text_quote(out, ask->salt, strlen(ask->salt));
    engine_text_add(out, "\"");
  } else
    engine_text_add(out, "null");
  engine_text_add(out, ",\"priority\":0,\"kv_transfer_params\":null,\"ec_transfer_params\":null}");
}

static void render(struct engine *e, llmd_http_call *http, int chat)
{
  struct engine_refusal refusal;
  struct engine_ask ask;
  if (engine_ask_read(&e->options.models, chat, ENGINE_RENDER, llmd_http_request_of(http)->body, &ask, &refusal)) {
    engine_reply_refusal(e, http, &refusal);
    return;
  }
  engine_text_reset(&e->body);
  if (!chat)
    engine_text_add(&e->body, "["); /* one for each prompt */
  put_rendered(e, &ask, &e->body);
  if (!chat)
    engine_text_add(&e->body, "]");
  engine_ask_free(&ask);
  engine_reply(e, http, 200, json_type, &e->body);
}

static void render_chat(struct engine *e, llmd_http_call *http)
{
  render(e, http, 1);
}

static void render_completion(struct engine *e, llmd_http_call *http)
{
  render(e, http, 0);
}

/* ---- metrics, right and wrong ---- */

/* A page that is sent slowly, or without an end. */
struct stream {
  struct engine_listener listener;
  llmd_http_call *http;
  struct engine_text page;
  struct engine_fault fault;
  uv_timer_t timer;
  size_t at;
};

static void on_stream_closed(uv_handle_t *handle)
{
  struct stream *s = handle->data;
  engine_text_free(&s->page);
  free(s);
}

static void end_stream(struct stream *s)
{
  s->http = NULL;
  if (!uv_is_closing((uv_handle_t *)&s->timer))
    uv_close((uv_handle_t *)&s->timer, on_stream_closed);
}

static void stream_gone(struct engine_listener *l)
{
  end_stream((struct stream *)l);
}

static void write_more(struct stream *s)
{
  const size_t step = s->fault.kind == ENGINE_DRIP ? 1 : s->page.len;
  const llmd_str piece = {s->page.ptr + s->at, step < s->page.len - s->at ? step : s->page.len - s->at};
  llmd_http_call *http = s->http;
  s->at += piece.len;
  if (s->at == s->page.len && s->fault.kind == ENGINE_DRIP) {
    end_stream(s);
    (void)llmd_http_end(http, &piece, 1);
    return;
  }
  s->at %= s->page.len;
  if (llmd_http_write(http, &piece, 1) == 1) /* until on_drain */
    (void)uv_timer_stop(&s->timer);
}

static void on_stream_timer(uv_timer_t *timer)
{
  struct stream *s = timer->data;
  if (s->http)
    write_more(s);
}

static void stream_drained(struct engine_listener *l)
{
  struct stream *s = (struct stream *)l;
  const uint32_t ms = s->fault.token_ms ? s->fault.token_ms : 1;
  if (s->http)
    (void)uv_timer_start(&s->timer, on_stream_timer, ms, ms);
}

static void stream_page(struct engine *e, llmd_http_call *http, const struct engine_fault *fault)
{
  const llmd_http_header header = {{"content-type", 12}, {"text/plain; version=0.0.4; charset=utf-8", 40}};
  struct stream *s = calloc(1, sizeof *s);
  if (s)
    engine_metrics_page(e, &s->page);
  if (!s || s->page.failed || llmd_http_begin(http, 200, &header, 1, -1)) {
    if (s)
      engine_text_free(&s->page);
    free(s);
    llmd_http_abort(http);
    return;
  }
  s->listener = (struct engine_listener){stream_gone, stream_drained};
  s->http = http;
  s->fault = *fault;
  (void)uv_timer_init(e->options.loop, &s->timer);
  s->timer.data = s;
  llmd_http_set_data(http, s);
  stream_drained(&s->listener);
}

/* The same names with values nobody can mean, or that cannot be. */
static void put_wrong(const struct engine *e, enum engine_fault_kind kind, struct engine_text *out)
{
  static const char *const names[] = {"vllm:num_requests_running", "vllm:num_requests_waiting",
                                      "vllm:kv_cache_usage_perc"};
  static const char *const lies[] = {"-5", "1e300", "17"}, *const nans[] = {"NaN", "+Inf", "-Inf"};
  for (size_t i = 0; i < 3; i++)
    engine_text_add(out, "# TYPE %s gauge\n%s{engine=\"0\",model_name=\"x\"} %s\n", names[i], names[i],
                    kind == ENGINE_NAN ? nans[i] : lies[i]);
  engine_text_add(out, "vllm:cache_config_info{block_size=\"%s\",engine=\"0\",num_gpu_blocks=\"-1\"} %s\n",
                  kind == ENGINE_NAN ? "NaN" : "99999999999", kind == ENGINE_NAN ? "NaN" : "1.0");
  (void)e;
}

static void put_binary(struct engine_text *out, uint64_t bytes)
{
  for (uint64_t i = 0; i < bytes / 8 && !out->failed; i++) {
    const uint64_t word = sim_mix(i);
    engine_text_put(out, (const char *)&word, sizeof word);
  }
}

static void put_huge(struct engine_text *out, uint64_t bytes)
{
  while (bytes > out->len && !out->failed)
    engine_text_add(out, "# %0100d\n", 0);
}

static void metrics(struct engine *e, llmd_http_call *http, const struct engine_fault *fault)
{
  struct engine_text *out = &e->body;
  if (fault->kind == ENGINE_DRIP || fault->kind == ENGINE_ENDLESS) {
    stream_page(e, http, fault);
    return;
  }
  engine_text_reset(out);
  if (fault->kind == ENGINE_NAN || fault->kind == ENGINE_LIE)
    put_wrong(e, fault->kind, out);
  else if (fault->kind == ENGINE_BINARY)
    put_binary(out, fault->bytes ? fault->bytes : 4096);
  else if (fault->kind != ENGINE_EMPTY)
    engine_metrics_page(e, out);
  if (fault->kind == ENGINE_HUGE)
    put_huge(out, fault->bytes);
  engine_reply(e, http, 200, "text/plain; version=0.0.4; charset=utf-8", out);
}

/* ---- faults ---- */

static double number_of(const cJSON *o, const char *name, double otherwise)
{
  const cJSON *m = cJSON_GetObjectItemCaseSensitive(o, name);
  return cJSON_IsNumber(m) && m->valuedouble >= 0 && m->valuedouble < 1e9 ? m->valuedouble : otherwise;
}

/* What is no fault of a request: 1, or 0. */
static int do_at_once(struct engine *e, const cJSON *o)
{
  const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "kind"));
  if (!kind)
    return 0;
  if (strcmp(kind, "none") == 0)
    e->faults.n = 0;
  else if (strcmp(kind, "restart") == 0)
    engine_restart(e);
  else if (strcmp(kind, "gap") == 0 && e->events)
    engine_events_skip(e->events, (uint32_t)number_of(o, "count", 1),
                       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "lost")));
  else
    return 0;
  return 1;
}

static void set_fault(struct engine *e, llmd_http_call *http)
{
  const llmd_str body = llmd_http_request_of(http)->body;
  cJSON *o = cJSON_ParseWithLength(body.ptr ? body.ptr : "", body.len);
  struct engine_refusal refusal;
  struct engine_fault fault;
  char why[160] = "no JSON object";
  int code = 0;
  if (!cJSON_IsObject(o))
    code = -1;
  else if (!do_at_once(e, o)) {
    code = engine_fault_read(o, &fault, why, sizeof why);
    if (code == 0 && engine_fault_add(&e->faults, &fault)) {
      code = -1;
      (void)snprintf(why, sizeof why, "no more than %d faults at a time", ENGINE_MOST_FAULTS);
    }
  }
  cJSON_Delete(o);
  if (code) {
    (void)engine_refuse(&refusal, 400, "BadRequestError", NULL, "%s", why);
    engine_reply_refusal(e, http, &refusal);
    return;
  }
  engine_text_reset(&e->body);
  engine_fault_print(&e->faults, &e->body);
  engine_reply(e, http, 200, json_type, &e->body);
}

static void show_faults(struct engine *e, llmd_http_call *http)
{
  engine_text_reset(&e->body);
  engine_fault_print(&e->faults, &e->body);
  engine_reply(e, http, 200, json_type, &e->body);
}

static void received(struct engine *e, llmd_http_call *http)
{
  if (e->received.len)
    engine_reply(e, http, 200, json_type, &e->received);
  else
    say(e, http, 404, "{\"detail\":\"Nothing was recorded\"}");
}

/* ---- routes ---- */

int engine_is_local(const llmd_http_request *request)
{
  const llmd_str c = request->client;
  return (c.len > 4 && memcmp(c.ptr, "127.", 4) == 0) || (c.len > 5 && memcmp(c.ptr, "[::1]", 5) == 0) ||
         (c.len > 17 && memcmp(c.ptr, "[::ffff:127.0.0.1", 17) == 0);
}

int engine_page(struct engine *e, llmd_http_call *http, const llmd_http_request *request, llmd_str path,
                const struct engine_fault *fault)
{
  static const struct {
    const char *method, *path;
    void (*answer)(struct engine *e, llmd_http_call *http);
    int local;
  } pages[] = {
    {"GET", "/health", health, 0}, {"GET", "/ping", health, 0}, {"GET", "/version", version, 0},
    {"GET", "/load", load, 0}, {"GET", "/v1/models", models, 0}, {"GET", "/kv_event_sources", event_sources, 0},
    {"POST", "/tokenize", tokenize, 0}, {"POST", "/v1/chat/completions/render", render_chat, 0},
    {"POST", "/v1/completions/render", render_completion, 0}, {"POST", "/reset_prefix_cache", reset_prefix_cache, 0},
    {"POST", "/fault", set_fault, 1}, {"GET", "/fault", show_faults, 1}, {"GET", "/received", received, 1},
  };
  int known = 0;
  if (path.len == 8 && memcmp(path.ptr, "/metrics", 8) == 0) {
    metrics(e, http, fault);
    return 0;
  }
  for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
    if (path.len != strlen(pages[i].path) || memcmp(path.ptr, pages[i].path, path.len))
      continue;
    known = 1;
    if (request->method.len != strlen(pages[i].method) ||
        memcmp(request->method.ptr, pages[i].method, request->method.len))
      continue;
    if (pages[i].local && !engine_is_local(request))
      say(e, http, 403, "{\"detail\":\"Only from this machine\"}");
    else
      pages[i].answer(e, http);
    return 0;
  }
  if (known)
    say(e, http, 405, "{\"detail\":\"Method Not Allowed\"}");
  return known ? 0 : -1;
}
