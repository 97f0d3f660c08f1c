#include "sim_cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim_events.h"
#include "sim_feed.h"
#include "sim_publisher.h"
#include "sim_rng.h"

#define ARRIVAL 1     /* subject: request */
#define DELIVERY 2    /* request: it reaches its engine */
#define STEP_END 3    /* engine */
#define FIRST_TOKEN 4 /* request: the client has it */
#define LAST_TOKEN 5
#define SCRAPE 6
#define METRICS 7     /* a scrape reaches the router; subject: place in the ring */
#define MESSAGE 8     /* engine: what it told is there */
#define ASKED 9       /* engine: it is asked for a replay */
#define REPLAY 10     /* engine: its answer is there */
#define TICK 11
#define RESTART 12

#define TICK_PERIOD 1.0
#define SETTLING 10.0 /* seconds after the end until the router's books are looked at: promises have ended by then */

#define ANEW 1u   /* a new process */
#define FORGET 2u /* the same one, told to forget */

struct sim_cluster {
  struct sim_config config;
  struct sim_router *router;
  struct sim_engine **engine;
  uint8_t *stepping; /* per engine */
  uint8_t *resetting; /* per engine, when its step ends: ANEW, FORGET */
  uint32_t n_restarts;
  struct sim_feed *feed; /* NULL: nobody listens */
  double ticks_until;
  struct sim_counters *before; /* per engine, at the start of the stage */
  struct sim_events events;
  double now;
  uint32_t stage;
  uint32_t left; /* requests of the stage that have not ended */
  uint32_t n_done;
  struct sim_metrics *seen;    /* what the router saw last */
  struct sim_metrics *scrapes; /* ring of scrapes on their way */
  uint32_t ring;
  uint32_t next_scrape;
  struct sim_result result;
  sim_progress_fn progress;
  void *ud;
  uint32_t told; /* progress in thousandths */
};

uint64_t sim_cluster_held(const struct sim_cluster *c)
{
  uint64_t n = 0;
  for (uint32_t i = 0; i < c->config.n_engines; i++)
    n += sim_engine_held(c->engine[i]);
  return n;
}

uint32_t sim_cluster_match(const struct sim_cluster *c, uint32_t engine, const struct sim_request *request)
{
  return sim_engine_match(c->engine[engine], request);
}

/* ---- life ---- */

static void destroy_cluster(struct sim_cluster *c)
{
  if (!c)
    return;
  for (uint32_t i = 0; c->engine && i < c->config.n_engines; i++)
    sim_engine_destroy(c->engine[i]);
  free(c->engine);
  free(c->stepping);
  free(c->resetting);
  sim_feed_destroy(c->feed);
  free(c->before);
  free(c->seen);
  free(c->scrapes);
  sim_events_free(&c->events);
  sim_result_free(&c->result);
  free(c);
}

static int fill_cluster(struct sim_cluster *c)
{
  uint32_t n = c->config.n_engines;
  int code;
  if (c->config.metrics_period > 0)
    c->ring = (uint32_t)(c->config.metrics_lag / c->config.metrics_period) + 2;
  c->engine = calloc(n, sizeof *c->engine);
  c->stepping = calloc(n, sizeof *c->stepping);
  c->resetting = calloc(n, sizeof *c->resetting);
  c->before = calloc(n, sizeof *c->before);
  c->seen = calloc(n, sizeof *c->seen);
  c->scrapes = calloc((size_t)n * (c->ring ? c->ring : 1), sizeof *c->scrapes);
  if (!c->engine || !c->stepping || !c->resetting || !c->before || !c->seen || !c->scrapes)
    return LLMD_E_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    code = sim_engine_create(&c->engine[i], c->config.model, c->config.workload->block_size);
    if (code)
      return code;
  }
  code = c->router->on_message ? sim_feed_create(&c->feed, &c->config, c->router) : 0;
  if (code)
    return code;
  for (uint32_t i = 0; c->feed && i < n; i++)
    sim_engine_publish(c->engine[i], sim_feed_publisher(c->feed, i));
  return sim_result_make(&c->result, &c->config, c->router->name);
}

/* ---- metrics ---- */

static void look(const struct sim_cluster *c, struct sim_metrics *per_engine)
{
  for (uint32_t i = 0; i < c->config.n_engines; i++)
    sim_engine_metrics(c->engine[i], &per_engine[i]);
}

static int show(struct sim_cluster *c)
{
  if (!c->router->on_metrics)
    return 0;
  return c->router->on_metrics(c->router->self, c->now, c->seen, c->config.n_engines);
}

static int scrape(struct sim_cluster *c)
{
  uint32_t place = c->next_scrape;
  int code;
  look(c, c->scrapes + (size_t)place * c->config.n_engines);
  c->next_scrape = (place + 1) % c->ring;
  code = sim_events_push(&c->events, c->now + c->config.metrics_lag, METRICS, place);
  return code ? code : sim_events_push(&c->events, c->now + c->config.metrics_period, SCRAPE, 0);
}

static int receive_metrics(struct sim_cluster *c, uint32_t place)
{
  memcpy(c->seen, c->scrapes + (size_t)place * c->config.n_engines, c->config.n_engines * sizeof *c->seen);
  return show(c);
}

/* ---- stages ---- */

static int start_stage(struct sim_cluster *c, double now)
{
  const struct sim_stage *stage = &c->config.workload->stages[c->stage];
  c->left = stage->count;
  c->result.spans[c->stage].start = now;
  for (uint32_t i = 0; i < c->config.n_engines; i++)
    sim_engine_counters(c->engine[i], &c->before[i]);
  if (stage->count == 0)
    return 0;
  return sim_events_push(&c->events, now + c->config.workload->requests[stage->first].offset, ARRIVAL, stage->first);
}

static void close_stage(struct sim_cluster *c)
{
  struct sim_span *span = &c->result.spans[c->stage];
  struct sim_counters now;
  span->end = c->now;
  for (uint32_t i = 0; i < c->config.n_engines; i++) {
    sim_engine_counters(c->engine[i], &now);
    span->busy[i] = now.busy - c->before[i].busy;
    span->work[i] = now.computed_tokens - c->before[i].computed_tokens;
    span->preemptions += now.preemptions - c->before[i].preemptions;
    span->evictions += now.evictions - c->before[i].evictions;
    span->steps += now.steps - c->before[i].steps;
  }
}

/* Ends the stage when nothing of it is left, and those after it that are empty. */
static int advance(struct sim_cluster *c)
{
  const struct sim_workload *w = c->config.workload;
  double start = c->now;
  while (c->left == 0 && c->stage < w->n_stages) {
    int code;
    close_stage(c);
    start += w->stages[c->stage].pause;
    if (++c->stage == w->n_stages)
      return 0;
    code = start_stage(c, start);
    if (code)
      return code;
  }
  return 0;
}

static int tell_progress(struct sim_cluster *c)
{
  uint32_t now = (uint32_t)((uint64_t)c->n_done * 1000 / c->config.workload->n_requests);
  if (!c->progress || now == c->told)
    return 0;
  c->told = now;
  return c->progress(c->ud, now / 1000.0) ? LLMD_E_STOPPED : 0;
}

static int end_request(struct sim_cluster *c, uint32_t number, uint32_t status)
{
  struct sim_record *record = &c->result.records[number];
  int code;
  record->done = c->now;
  record->status = status;
  c->n_done++;
  c->left--;
  code = advance(c);
  return code ? code : tell_progress(c);
}

/* ---- one request ---- */

static int decide(struct sim_cluster *c, const struct sim_request *request, uint32_t *engine)
{
  const struct sim_config *k = &c->config;
  struct sim_view view = {
    .now = c->now, .seed = sim_mix(k->seed ^ sim_mix(request->id)), .n_engines = k->n_engines,
    .block_size = k->workload->block_size, .model = k->workload->model, .metrics = c->seen, .cluster = c,
  };
  uint64_t start = k->clock_ns ? k->clock_ns() : 0;
  int code = c->router->route(c->router->self, &view, request, engine);
  uint64_t spent = k->clock_ns ? k->clock_ns() - start : 0;
  if (code)
    return code;
  if (*engine >= k->n_engines)
    return LLMD_E_INVALID;
  if (k->clock_ns && c->router->decision_ns)
    spent = c->router->decision_ns(c->router->self);
  if (k->clock_ns)
    sim_histogram_add(c->result.spans[c->stage].decisions, (double)spent * 1e-9, 1);
  return 0;
}

static int arrive(struct sim_cluster *c, uint32_t number)
{
  const struct sim_workload *w = c->config.workload;
  const struct sim_stage *stage = &w->stages[c->stage];
  struct sim_record *record = &c->result.records[number];
  uint32_t engine = 0;
  int code = 0;
  record->sent = c->now;
  if (number + 1 < stage->first + stage->count)
    code = sim_events_push(&c->events, c->result.spans[c->stage].start + w->requests[number + 1].offset, ARRIVAL,
                           number + 1);
  if (code == 0 && c->config.metrics_period == 0) {
    look(c, c->seen);
    code = show(c);
  }
  if (code)
    return code;
  code = decide(c, &w->requests[number], &engine);
  if (code)
    return code < 0 ? code : end_request(c, number, SIM_REFUSED);
  record->engine = engine;
  return sim_events_push(&c->events, c->now + c->config.model->t_in, DELIVERY, number);
}

static int begin_step(struct sim_cluster *c, uint32_t engine)
{
  double duration;
  if (c->stepping[engine] || !sim_engine_begin(c->engine[engine], &duration))
    return 0;
  c->stepping[engine] = 1;
  return sim_events_push(&c->events, c->now + duration, STEP_END, engine);
}

static int deliver(struct sim_cluster *c, uint32_t number)
{
  uint32_t engine = c->result.records[number].engine;
  const struct sim_request *request = &c->config.workload->requests[number];
  int code = sim_engine_submit(c->engine[engine], request, number);
  if (code == LLMD_E_LIMIT) {
    struct sim_outcome nothing = {.engine = engine, .prompt_tokens = request->prompt_tokens};
    if (c->router->on_done)
      c->router->on_done(c->router->self, c->now, request, &nothing);
    return end_request(c, number, SIM_TOO_LONG);
  }
  return code ? code : begin_step(c, engine);
}

/* ---- what engines tell ---- */

static int send_events(struct sim_cluster *c, uint32_t engine)
{
  int sent = c->feed ? sim_feed_send(c->feed, engine, c->now) : 0;
  return sent == 1 ? sim_events_push(&c->events, c->now + c->config.event_lag, MESSAGE, engine) : sent;
}

/* code 1: the router wants a replay of the engine. */
static int ask_engine(struct sim_cluster *c, uint32_t engine, int code)
{
  return code == 1 ? sim_events_push(&c->events, c->now + c->config.event_lag, ASKED, engine) : code;
}

static int answer_replay(struct sim_cluster *c, uint32_t engine)
{
  sim_feed_answer(c->feed, engine);
  return sim_events_push(&c->events, c->now + c->config.event_lag, REPLAY, engine);
}

static int tick(struct sim_cluster *c)
{
  uint32_t engine;
  int code;
  while ((code = sim_feed_tick(c->feed, c->now, &engine)) == 1) {
    code = ask_engine(c, engine, 1);
    if (code)
      return code;
  }
  if (code || c->now + TICK_PERIOD > c->ticks_until)
    return code;
  return sim_events_push(&c->events, c->now + TICK_PERIOD, TICK, 0);
}

static int reset_engine(struct sim_cluster *c, uint32_t engine, uint8_t how)
{
  struct sim_publisher *publisher = c->feed ? sim_feed_publisher(c->feed, engine) : NULL;
  c->resetting[engine] = 0;
  sim_engine_reset(c->engine[engine]);
  if (publisher && how == ANEW)
    sim_publisher_restart(publisher);
  else if (publisher)
    sim_publisher_cleared(publisher);
  return send_events(c, engine);
}

static int restart(struct sim_cluster *c)
{
  uint32_t turn = c->n_restarts++;
  uint32_t engine = turn % c->config.n_engines;
  uint8_t how = turn % 2 ? FORGET : ANEW;
  int code = sim_events_push(&c->events, c->now + c->config.restart_period, RESTART, 0);
  if (code || c->stepping[engine]) {
    c->resetting[engine] = how;
    return code;
  }
  code = reset_engine(c, engine, how);
  return code ? code : begin_step(c, engine);
}

static int end_step(struct sim_cluster *c, uint32_t engine)
{
  const struct sim_token *token;
  uint32_t n = sim_engine_end(c->engine[engine], c->now, &token, c->result.spans[c->stage].gaps);
  c->stepping[engine] = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t kind = token[i].what == SIM_FIRST_TOKEN ? FIRST_TOKEN : LAST_TOKEN;
    int code = sim_events_push(&c->events, c->now + c->config.model->t_out, kind, token[i].tag);
    if (code)
      return code;
    c->result.records[token[i].tag].cached_tokens = token[i].cached_tokens;
  }
  int code = send_events(c, engine);
  if (code == 0 && c->resetting[engine])
    code = reset_engine(c, engine, c->resetting[engine]);
  return code ? code : begin_step(c, engine);
}

static int first_token(struct sim_cluster *c, uint32_t number)
{
  struct sim_record *record = &c->result.records[number];
  record->first = c->now;
  if (c->router->on_first_token)
    c->router->on_first_token(c->router->self, c->now, &c->config.workload->requests[number], record->engine);
  return 0;
}

static int last_token(struct sim_cluster *c, uint32_t number)
{
  const struct sim_request *request = &c->config.workload->requests[number];
  const struct sim_record *record = &c->result.records[number];
  struct sim_outcome outcome = {
    .engine = record->engine, .prompt_tokens = request->prompt_tokens, .cached_tokens = record->cached_tokens,
    .output_tokens = request->output_tokens, .ttft = record->first - record->sent, .e2e = c->now - record->sent,
  };
  if (c->router->on_done)
    c->router->on_done(c->router->self, c->now, request, &outcome);
  return end_request(c, number, SIM_DONE);
}

/* ---- the run ---- */

static int handle(struct sim_cluster *c, const struct sim_event *event)
{
  switch (event->kind) {
  case ARRIVAL:
    return arrive(c, event->subject);
  case DELIVERY:
    return deliver(c, event->subject);
  case STEP_END:
    return end_step(c, event->subject);
  case FIRST_TOKEN:
    return first_token(c, event->subject);
  case LAST_TOKEN:
    return last_token(c, event->subject);
  case MESSAGE:
    return ask_engine(c, event->subject, sim_feed_arrive(c->feed, event->subject, c->now));
  case ASKED:
    return answer_replay(c, event->subject);
  case REPLAY:
    return ask_engine(c, event->subject, sim_feed_replay(c->feed, event->subject, c->now));
  case TICK:
    return tick(c);
  case RESTART:
    return restart(c);
  case SCRAPE:
    return scrape(c);
  default:
    return receive_metrics(c, event->subject);
  }
}

/* Everything that engines told arrives; nothing else happens any more. */
static int drain(struct sim_cluster *c)
{
  struct sim_event event;
  int code = 0;
  while (code == 0 && sim_events_pop(&c->events, &event)) {
    if (event.kind != MESSAGE && event.kind != ASKED && event.kind != REPLAY && event.kind != TICK)
      continue;
    c->now = event.time;
    code = handle(c, &event);
  }
  return code;
}

/* A last message that was lost leaves no gap: only whoever connects anew hears of it. */
static int settle(struct sim_cluster *c)
{
  struct sim_router *r = c->router;
  int code = 0;
  c->ticks_until = c->now;
  for (uint32_t i = 0; code == 0 && i < c->config.n_engines; i++)
    code = send_events(c, i);
  if (code == 0)
    code = drain(c);
  for (uint32_t i = 0; code == 0 && r->on_connect && i < c->config.n_engines; i++)
    code = r->on_connect(r->self, c->now, i);
  c->ticks_until = c->now + SETTLING;
  if (code == 0)
    code = sim_events_push(&c->events, c->now, TICK, 0);
  if (code == 0)
    code = drain(c);
  if (code == 0 && r->on_settled)
    code = r->on_settled(r->self, c->now, c);
  if (code == 0 && r->heard) {
    r->heard(r->self, &c->result.heard);
    c->result.heard.lost = sim_feed_lost(c->feed);
    c->result.listened = 1;
  }
  return code;
}

static int run(struct sim_cluster *c)
{
  struct sim_event event;
  int code = c->ring ? sim_events_push(&c->events, 0, SCRAPE, 0) : 0;
  c->ticks_until = INFINITY;
  if (code == 0 && c->feed)
    code = sim_events_push(&c->events, 0, TICK, 0);
  if (code == 0 && c->config.restart_period > 0)
    code = sim_events_push(&c->events, c->config.restart_period, RESTART, 0);
  if (code == 0)
    code = start_stage(c, 0);
  if (code == 0)
    code = advance(c);
  while (code == 0 && c->stage < c->config.workload->n_stages && sim_events_pop(&c->events, &event)) {
    c->now = event.time;
    code = handle(c, &event);
  }
  return code || !c->feed ? code : settle(c);
}

int sim_run(const struct sim_config *config, struct sim_router *router, struct sim_result *result,
            sim_progress_fn progress, void *ud)
{
  int code = sim_config_check(config);
  struct sim_cluster *c;
  if (code)
    return code;
  c = calloc(1, sizeof *c);
  if (!c)
    return LLMD_E_NOMEM;
  c->config = *config;
  c->router = router;
  c->progress = progress;
  c->ud = ud;
  code = fill_cluster(c);
  if (code == 0)
    code = run(c);
  if (code == 0) {
    *result = c->result;
    memset(&c->result, 0, sizeof c->result);
  }
  destroy_cluster(c);
  return code;
}
