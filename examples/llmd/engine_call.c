/* A completion: asked, computed, answered.
 *
 * produced tokens (the model) ─┬─► min ─► written tokens (the client), as long as he keeps up
 * allowed tokens (a fault)  ───┘
 *
 * A call lives until its answer is whole (or its client has gone) and the model needs it no more. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include <llmd/prefix.h>

#include "engine.h"

#define MS 1000000u

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle)
{
  free(handle);
}

static void stop_timer(struct engine_call *call)
{
  if (!call->timer)
    return;
  uv_close((uv_handle_t *)call->timer, on_timer_closed);
  call->timer = NULL;
}

static void destroy(struct engine_call *call)
{
  struct engine *e = call->engine;
  stop_timer(call);
  engine_events_forget(&call->blocks);
  if (call->back) {
    *call->back = call->next;
    if (call->next)
      call->next->back = call->back;
    e->n_calls--;
  }
  free(call->blocks.name);
  free(call->blocks.block);
  engine_ask_free(&call->ask);
  free(call);
}

void engine_call_release(struct engine_call *call)
{
  if (!call->http && !call->computing)
    destroy(call);
}

/* Nobody waits for the answer any more. */
static void lose(struct engine_call *call)
{
  struct engine *e = call->engine;
  call->http = NULL;
  stop_timer(call);
  if (call->computing)
    engine_model_abandon(e);
  else
    destroy(call);
}

/* Hangs up on the client, too. */
static void hang_up(struct engine_call *call)
{
  llmd_http_abort(call->http);
  lose(call);
}

void engine_calls_drop(struct engine *e)
{
  while (e->calls) {
    if (e->calls->http)
      llmd_http_abort(e->calls->http);
    destroy(e->calls);
  }
}

static void on_gone(struct engine_listener *l)
{
  struct engine_call *call = (struct engine_call *)l;
  if (call->http)
    lose(call);
}

/* ---- figures ---- */

static void count_token(struct engine_call *call, uint64_t now)
{
  struct engine_figures *f = &call->engine->figures;
  f->generated_tokens++;
  if (call->produced == 1) {
    f->prompt_tokens += call->ask.n_prompt;
    f->cached_tokens += call->cached;
    engine_count(&f->first, engine_first_bounds, (double)(now - call->arrived) / 1e9);
  } else
    engine_count(&f->gap, engine_gap_bounds, (double)(now - call->last) / 1e9);
  call->last = now;
}

static void count_end(const struct engine_call *call, uint64_t now)
{
  struct engine_figures *f = &call->engine->figures;
  f->finished[call->ask.finish]++;
  engine_count(&f->whole, engine_whole_bounds, (double)(now - call->arrived) / 1e9);
  engine_count(&f->prompt, engine_token_bounds, call->ask.n_prompt);
  engine_count(&f->answer, engine_token_bounds, call->ask.n_answer);
}

/* ---- answering ---- */

static void answered(struct engine_call *call)
{
  call->http = NULL;
  stop_timer(call);
  engine_call_release(call);
}

/* How many bytes of the body go out before the connection breaks; UINT64_MAX = all. */
static uint64_t breaks_after(const struct engine_call *call, size_t whole)
{
  if (call->fault.kind == ENGINE_RESET)
    return call->fault.bytes;
  return call->fault.kind == ENGINE_HALF ? whole / 2 : UINT64_MAX;
}

static int begin(struct engine_call *call, const char *type, int64_t length)
{
  const struct engine *e = call->engine;
  const llmd_http_header headers[] = {{{"content-type", 12}, {type, strlen(type)}},
                                      {{"server", 6}, {"llmd-engine", 11}},
                                      {{"x-engine", 8}, {e->address, strlen(e->address)}}};
  call->begun = 1;
  return llmd_http_begin(call->http, 200, headers, sizeof headers / sizeof headers[0], length);
}

/* The first part of a body that will never be whole. */
static void break_off(struct engine_call *call, const struct engine_text *body, uint64_t n)
{
  const llmd_str piece = {body->ptr, n < body->len ? (size_t)n : body->len};
  if (piece.len)
    (void)llmd_http_write(call->http, &piece, 1);
  hang_up(call);
}

static void answer_whole(struct engine_call *call)
{
  struct engine *e = call->engine;
  struct engine_text *body = &e->body;
  uint64_t most;
  engine_text_reset(body);
  engine_answer_whole(call, body);
  most = breaks_after(call, body->len);
  if (most >= body->len || body->failed) {
    llmd_http_call *http = call->http;
    call->http = NULL;
    engine_reply(e, http, 200, "application/json", body);
    answered(call);
    return;
  }
  if (most > 0 && begin(call, "application/json", (int64_t)body->len) == 0)
    break_off(call, body, most);
  else
    hang_up(call);
}

/* The events up to the token that is next. 1: the answer is whole with these. */
static int spell_events(struct engine_call *call, struct engine_text *body)
{
  engine_text_reset(body);
  if (call->ask.chat && !call->role_sent)
    engine_answer_role(call, body);
  call->role_sent = 1;
  engine_answer_token(call, body);
  call->written++;
  if (call->written < call->ask.n_answer)
    return 0;
  engine_answer_end(call, body);
  return 1;
}

static int is_broken_now(const struct engine_call *call, const struct engine_text *body)
{
  if (call->fault.kind == ENGINE_HALF)
    return call->written > call->ask.n_answer / 2;
  return call->fault.kind == ENGINE_RESET && call->sent + body->len > call->fault.bytes;
}

/* One event, or the last ones. 0 = go on, -1 = the call may be gone. */
static int write_event(struct engine_call *call)
{
  struct engine_text *body = &call->engine->body;
  const int whole = spell_events(call, body);
  llmd_str piece;
  if (is_broken_now(call, body) || body->failed) {
    break_off(call, body, call->fault.kind == ENGINE_RESET ? call->fault.bytes - call->sent : 0);
    return -1;
  }
  piece.ptr = body->ptr;
  piece.len = body->len;
  call->sent += body->len;
  if (whole) {
    llmd_http_call *http = call->http;
    call->http = NULL;
    (void)llmd_http_end(http, &piece, 1);
    answered(call);
    return -1;
  }
  if (llmd_http_write(call->http, &piece, 1) == 1)
    call->blocked = 1;
  return call->http && !call->blocked ? 0 : -1;
}

/* As much as is there, allowed, and taken. The call may be gone afterwards. */
static void push(struct engine_call *call)
{
  const uint32_t n_answer = call->ask.n_answer;
  if (!call->http || call->blocked)
    return;
  if (!call->ask.stream) {
    if (call->produced == n_answer && call->allowed == n_answer)
      answer_whole(call);
    return;
  }
  if (call->produced == 0 || call->allowed == 0)
    return;
  if (!call->begun && begin(call, "text/event-stream; charset=utf-8", -1)) {
    hang_up(call);
    return;
  }
  while (call->written < call->produced && call->written < call->allowed)
    if (write_event(call))
      return;
}

static void on_drained(struct engine_listener *l)
{
  struct engine_call *call = (struct engine_call *)l;
  call->blocked = 0;
  push(call);
}

void engine_call_token(struct engine_call *call, uint32_t cached, int last, uint64_t now)
{
  call->cached = cached;
  call->produced++;
  count_token(call, now);
  if (last) {
    call->computing = 0;
    call->engine->table[call->tag] = NULL;
    engine_events_forget(&call->blocks);
    if (call->http)
      count_end(call, now);
    else
      call->engine->figures.aborted++;
  }
  if (call->http)
    push(call);
  else
    engine_call_release(call);
}

/* ---- slow ones ---- */

static void on_timer(uv_timer_t *timer)
{
  struct engine_call *call = timer->data;
  const uint32_t step = call->fault.token_ms;
  call->allowed = step && call->allowed < call->ask.n_answer ? call->allowed + 1 : call->ask.n_answer;
  if (call->allowed < call->ask.n_answer)
    (void)uv_timer_start(timer, on_timer, step, 0);
  push(call);
}

static int be_slow(struct engine_call *call)
{
  call->timer = malloc(sizeof *call->timer);
  if (!call->timer)
    return LLMD_E_NOMEM;
  (void)uv_timer_init(call->engine->options.loop, call->timer);
  call->timer->data = call;
  call->allowed = 0;
  return uv_timer_start(call->timer, on_timer, call->fault.first_ms, 0);
}

/* ---- starting ---- */

/* What the blocks of prompt and answer are called, by the engine's own hash. */
static int name_blocks(struct engine_call *call)
{
  const struct engine_options *o = &call->engine->options;
  const struct engine_ask *ask = &call->ask;
  const uint32_t n = (uint32_t)(ask->ids.n / o->block_size);
  const char *lora = ask->lora == ENGINE_BASE ? NULL : o->models.lora[ask->lora];
  llmd_hash_input in = {.size = sizeof in, .scheme = o->scheme, .block_tokens = o->block_size, .tokens = ask->ids.id,
                        .n_tokens = ask->ids.n};
  llmd_digest *digest = malloc((n + 1) * sizeof *digest);
  struct engine_blocks *b = &call->blocks;
  int rc = LLMD_E_NOMEM;
  b->name = malloc((n + 1) * sizeof *b->name);
  b->block = calloc(n + 1, sizeof *b->block);
  if (lora)
    in.lora = in.lora_path = (llmd_str){lora, strlen(lora)};
  if (ask->salt)
    in.salt = (llmd_str){ask->salt, strlen(ask->salt)};
  if (o->seed) {
    in.seed = (llmd_str){o->seed, strlen(o->seed)};
    in.has_seed = 1;
  }
  if (digest && b->name && b->block)
    rc = llmd_hash_blocks(&in, digest, n);
  for (uint32_t i = 0; rc >= 0 && i < n; i++)
    b->name[i] = digest[i].name;
  free(digest);
  if (rc < 0)
    return rc;
  b->n = n;
  b->tokens = ask->ids.id;
  b->lora = lora;
  b->salt = ask->salt;
  return 0;
}

static int compute(struct engine_call *call)
{
  struct engine *e = call->engine;
  int rc = name_blocks(call);
  if (rc)
    return rc;
  call->request = (struct sim_request){.id = call->number, .prompt_tokens = call->ask.n_prompt,
                                       .output_tokens = call->ask.n_answer, .n_blocks = call->blocks.n,
                                       .blocks = call->blocks.name};
  if (e->events)
    engine_events_know(e->events, &call->blocks);
  return engine_model_submit(e, call);
}

/* All tokens are there at once. */
static void compute_nothing(struct engine_call *call)
{
  const uint64_t now = call->arrived;
  call->produced = 1;
  count_token(call, now);
  call->produced = call->ask.n_answer;
  call->engine->figures.generated_tokens += call->ask.n_answer - 1;
  count_end(call, now);
}

static struct engine_call *make(struct engine *e, llmd_http_call *http, const struct engine_fault *fault,
                                struct engine_ask *ask)
{
  struct engine_call *call = calloc(1, sizeof *call);
  llmd_now now;
  if (!call)
    return NULL;
  llmd_clock(&now);
  call->listener = (struct engine_listener){on_gone, on_drained};
  call->engine = e;
  call->http = http;
  call->fault = *fault;
  call->ask = *ask;
  memset(ask, 0, sizeof *ask);
  call->allowed = call->ask.n_answer;
  call->arrived = now.mono;
  call->created = (int64_t)(now.wall / 1000000000u);
  call->number = sim_mix(now.wall ^ ++e->numbers);
  call->next = e->calls;
  call->back = &e->calls;
  if (call->next)
    call->next->back = &call->next;
  e->calls = call;
  e->n_calls++;
  llmd_http_set_data(http, call);
  return call;
}

static void fail(struct engine *e, llmd_http_call *http)
{
  struct engine_refusal r;
  (void)engine_refuse(&r, 500, "InternalServerError", NULL, "out of memory");
  engine_reply_refusal(e, http, &r);
}

void engine_call_start(struct engine *e, llmd_http_call *http, int chat, const struct engine_fault *fault)
{
  const llmd_str body = llmd_http_request_of(http)->body;
  struct engine_refusal refusal;
  struct engine_ask ask;
  struct engine_call *call;
  const int code = e->options.instant ? engine_ask_skim(&e->options.models, chat, body, &ask, &refusal)
                                      : engine_ask_read(&e->options.models, chat, ENGINE_ANSWER, body, &ask, &refusal);
  if (code) {
    engine_reply_refusal(e, http, &refusal);
    return;
  }
  call = make(e, http, fault, &ask);
  if (!call) {
    engine_ask_free(&ask);
    fail(e, http);
    return;
  }
  llmd_http_drop_body(http);
  if (fault->kind == ENGINE_HANG)
    return;
  if ((fault->kind == ENGINE_SLOW && be_slow(call)) || (e->sim && compute(call))) {
    call->http = NULL;
    destroy(call);
    fail(e, http);
    return;
  }
  if (!e->sim) {
    compute_nothing(call);
    push(call);
  }
}
