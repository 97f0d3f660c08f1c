#define _POSIX_C_SOURCE 200809L
#include "sim_router_llmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <llmd/llmd.h>

#include "sim_cluster.h"
#include "sim_listener.h"

#define PREFIX_PRODUCER "approx-prefix-cache-producer"
#define N_PREFIX_COLUMNS 4
/* A proxy renews its tickets while tokens flow; the cluster tells only the first and the last. */
#define LEASE_NS ((uint64_t)7 * 86400 * 1000000000)
#define STATE_BYTES ((uint64_t)160 << 20)
#define LEAST_INDEX ((uint64_t)32 << 20)
#define MOST_INDEX ((uint64_t)4 << 30)
#define INDEX_PER_BLOCK 80u
#define START 1.0 /* the router's clock when the simulation begins: 0 would read as "never" */

struct llmd_router {
  struct sim_llmd_options options;
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  llmd_endpoint_id *endpoint;              /* per engine */
  uint32_t *engine_of;                     /* by the endpoint's slot number */
  uint32_t n_slots;
  llmd_ticket *ticket;                     /* per request of the workload */
  uint32_t *tokens;                        /* of the prompt at hand */
  double *values;                          /* of one column */
  uint32_t attribute[N_PREFIX_COLUMNS];
  struct sim_listener *listener; /* NULL: the policy has no use for events */
  llmd_decision decision;
  uint64_t next_tick;
  uint64_t spent; /* ns in the last llmd_decide */
  int error;      /* of a report, told at the next decision */
};

static uint64_t clock_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static llmd_now at(double seconds)
{
  uint64_t ns = (uint64_t)((seconds + START) * 1e9);
  return (llmd_now){ns, ns};
}

/* ---- what the router sees ---- */

static int set_metrics(struct llmd_router *r, uint32_t engine, const struct sim_metrics *m, uint64_t mono)
{
  llmd_endpoint_id id = r->endpoint[engine];
  int rc = llmd_pool_set(r->pool, id, LLMD_ATTR_WAITING, m->waiting);
  if (rc == 0)
    rc = llmd_pool_set(r->pool, id, LLMD_ATTR_RUNNING, m->running);
  if (rc == 0)
    rc = llmd_pool_set(r->pool, id, LLMD_ATTR_KV_USAGE, m->kv_usage);
  return rc ? rc : llmd_pool_touch(r->pool, id, mono);
}

static int see_metrics(void *self, double now, const struct sim_metrics *per_engine, uint32_t n_engines)
{
  struct llmd_router *r = self;
  llmd_now then = at(now);
  for (uint32_t i = 0; i < n_engines; i++) {
    int rc = set_metrics(r, i, &per_engine[i], then.mono);
    if (rc)
      return rc;
  }
  int rc = llmd_pool_publish(r->pool, &then);
  if (rc == 0 && then.mono >= r->next_tick)
    rc = llmd_pool_tick(r->pool, &then, &r->next_tick);
  return rc;
}

/* ---- one request ---- */

static int feed(struct llmd_router *r, const struct sim_view *view, const struct sim_request *q)
{
  static const char path[] = "/v1/completions";
  char body[512];
  int len = snprintf(body, sizeof body, "{\"model\":\"%s\",\"prompt\":\"\",\"stream\":true,\"max_tokens\":%u}",
                     view->model, q->output_tokens);
  int rc;
  if (len < 0 || (size_t)len >= sizeof body)
    return LLMD_E_LIMIT;
  llmd_request_reset(r->request);
  rc = llmd_request_line(r->request, "POST", 4, path, sizeof path - 1);
  if (rc == 0)
    rc = llmd_request_feed(r->request, body, (size_t)len, LLMD_FEED_COPY | LLMD_FEED_FINAL);
  sim_listener_spell(q, view->block_size, r->tokens);
  return rc ? rc : llmd_request_set_tokens(r->request, r->tokens, q->prompt_tokens);
}

/* The engines' caches as they are, in the columns that the approximate index would fill. */
static int set_prefix(struct llmd_router *r, const struct sim_view *view, const struct sim_request *q)
{
  int rc = 0;
  for (uint32_t i = 0; i < view->n_engines; i++)
    r->values[i] = sim_cluster_match(view->cluster, i, q);
  for (uint32_t c = 0; c < N_PREFIX_COLUMNS && rc == 0; c++) {
    for (uint32_t i = 0; c >= 2 && i < view->n_engines; i++)
      r->values[i] = c == 2 ? q->n_blocks : view->block_size;
    rc = llmd_request_set_column(r->request, r->attribute[c], r->endpoint, r->values, view->n_engines);
  }
  return rc;
}

/* Of every so many requests one is recorded. */
static int is_wanted(const struct llmd_router *r, const struct sim_request *q)
{
  uint64_t n = r->options.n_records, all = r->options.workload->n_requests;
  if (!r->options.record)
    return 0;
  return n >= all || q->id * n / all != (q->id + 1) * n / all;
}

static int decide(struct llmd_router *r, const struct sim_view *view, const struct sim_request *q)
{
  llmd_now now = at(view->now);
  uint64_t start = clock_ns();
  int rc = llmd_decide(r->lane, r->request, &now, view->seed, &r->decision);
  r->spent = clock_ns() - start;
  if (rc)
    return rc;
  if (is_wanted(r, q))
    rc = llmd_record_write(r->lane, r->options.record, r->options.record_ud);
  if (rc)
    return rc;
  if (r->decision.status == LLMD_REJECTED)
    return 1;
  if (r->decision.status != LLMD_ROUTED)
    return LLMD_E_STATE;
  return llmd_commit(r->lane, r->request, &r->decision, 0, &now);
}

static int route(void *self, const struct sim_view *view, const struct sim_request *q, uint32_t *engine)
{
  struct llmd_router *r = self;
  int rc = r->error ? r->error : feed(r, view, q);
  uint32_t slot;
  if (rc == 0 && r->options.exact)
    rc = set_prefix(r, view, q);
  if (rc == 0 && r->listener)
    rc = sim_listener_check(r->listener, view->cluster, q, r->tokens);
  if (rc == 0)
    rc = decide(r, view, q);
  if (rc)
    return rc;
  slot = (uint32_t)r->decision.target[0].id;
  if (slot >= r->n_slots)
    return LLMD_E_STALE;
  r->ticket[q->id] = r->decision.ticket;
  *engine = r->engine_of[slot];
  return r->listener ? sim_listener_sent(r->listener, q, *engine) : 0;
}

static void report(struct llmd_router *r, double now, const struct sim_request *q, uint32_t kind,
                   const llmd_usage *usage)
{
  llmd_now then = at(now);
  int rc = r->ticket[q->id] ? llmd_report(r->lane, r->ticket[q->id], kind, usage, &then) : 0;
  if (rc)
    r->error = rc;
}

static void see_first_token(void *self, double now, const struct sim_request *q, uint32_t engine)
{
  struct llmd_router *r = self;
  (void)engine;
  if (r->listener)
    sim_listener_answered(r->listener, q);
  report(r, now, q, LLMD_REPORT_FIRST, NULL);
}

static void see_done(void *self, double now, const struct sim_request *q, const struct sim_outcome *outcome)
{
  llmd_usage usage = {.size = sizeof usage, .prompt_tokens = outcome->prompt_tokens,
                      .output_tokens = outcome->output_tokens, .cached_tokens = outcome->cached_tokens};
  struct llmd_router *r = self;
  if (r->listener) /* it may have got none */
    sim_listener_answered(r->listener, q);
  report(r, now, q, LLMD_REPORT_END, &usage);
}

static uint64_t last_spent(void *self)
{
  return ((const struct llmd_router *)self)->spent;
}

/* ---- what engines tell ---- */

static int hear(void *self, double now, uint32_t engine, uint32_t what, const llmd_str *frame, uint32_t n,
                uint64_t *from)
{
  llmd_now then = at(now);
  return sim_listener_message(((struct llmd_router *)self)->listener, &then, engine, what, frame, n, from);
}

static int hear_tick(void *self, double now, uint32_t *engine, uint64_t *from)
{
  struct llmd_router *r = self;
  llmd_now then = at(now);
  int rc = llmd_pool_tick(r->pool, &then, &r->next_tick);
  return rc < 0 ? rc : sim_listener_tick(r->listener, &then, engine, from);
}

static int hear_connect(void *self, double now, uint32_t engine)
{
  llmd_now then = at(now);
  return sim_listener_connect(((struct llmd_router *)self)->listener, &then, engine);
}

static int hear_settled(void *self, double now, const struct sim_cluster *cluster)
{
  llmd_now then = at(now);
  return sim_listener_settled(((struct llmd_router *)self)->listener, &then, cluster);
}

static void tell_heard(void *self, struct sim_heard *heard)
{
  sim_listener_heard(((struct llmd_router *)self)->listener, heard);
}

/* ---- life ---- */

static void destroy(void *self)
{
  struct llmd_router *r = self;
  sim_listener_close(r->listener);
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->request);
  free(r->endpoint);
  free(r->engine_of);
  free(r->ticket);
  free(r->tokens);
  free(r->values);
  free(r);
}

/* Blocks that all engines can hold, in both tiers. */
static uint64_t most_held(const struct llmd_router *r)
{
  const struct sim_model *m = r->options.model;
  return ((uint64_t)m->kv_tokens + m->cpu_tokens) / r->options.workload->block_size * r->options.n_engines;
}

/* Enough for every block that the engines can hold, unless they are thousands. It is touched only as it fills. */
static uint64_t index_bytes(const struct llmd_router *r)
{
  uint64_t bytes = LEAST_INDEX + most_held(r) * INDEX_PER_BLOCK;
  return bytes < MOST_INDEX ? bytes : MOST_INDEX;
}

static int open_pool(struct llmd_router *r, llmd_err *err)
{
  uint32_t n_requests = r->options.workload->n_requests;
  llmd_region_options region = {
    .size = sizeof region, .max_endpoints = r->n_slots, .max_lanes = 1, .seed = r->options.seed,
    .max_tickets = n_requests < 16384 ? 16384 : n_requests > 1u << 20 ? 1u << 20 : n_requests,
    .index_bytes = index_bytes(r), .state_bytes = STATE_BYTES + index_bytes(r),
  };
  llmd_pool_options options = {.size = sizeof options, .flags = LLMD_POOL_WRITER, .region = &region,
                               .lease_ns = LEASE_NS};
  return llmd_pool_open(&options, &r->pool, err);
}

static int add_engine(struct llmd_router *r, uint32_t i)
{
  const struct sim_model *m = r->options.model;
  uint32_t block_size = r->options.workload->block_size;
  char address[32];
  int len = snprintf(address, sizeof address, "10.%u.%u.%u", (i + 1) >> 16 & 255, (i + 1) >> 8 & 255, (i + 1) & 255);
  llmd_endpoint e = {.size = sizeof e, .address = {address, (size_t)len}, .port = 8000};
  int rc = llmd_pool_add(r->pool, &e, &r->endpoint[i]);
  if (rc)
    return rc;
  if ((uint32_t)r->endpoint[i] >= r->n_slots)
    return LLMD_E_RANGE;
  r->engine_of[(uint32_t)r->endpoint[i]] = i;
  rc = llmd_pool_set(r->pool, r->endpoint[i], LLMD_ATTR_BLOCK_SIZE, block_size);
  return rc ? rc : llmd_pool_set(r->pool, r->endpoint[i], LLMD_ATTR_NUM_BLOCKS, m->kv_tokens / block_size);
}

static int find_prefix_columns(struct llmd_router *r)
{
  static const char *const names[N_PREFIX_COLUMNS] = {"PrefixCacheMatchInfo.match", "PrefixCacheMatchInfo.cached",
                                                      "PrefixCacheMatchInfo.total", "PrefixCacheMatchInfo.block"};
  for (uint32_t c = 0; c < N_PREFIX_COLUMNS; c++) {
    int number = llmd_pool_attribute(r->pool, names[c], PREFIX_PRODUCER, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
    if (number < 0)
      return number;
    r->attribute[c] = (uint32_t)number;
  }
  return 0;
}

static int make_room(struct llmd_router *r)
{
  const struct sim_workload *w = r->options.workload;
  llmd_request_options options = {.size = sizeof options, .copy_bytes = 1024,
                                  .max_values = N_PREFIX_COLUMNS * r->options.n_engines};
  size_t bytes = llmd_request_size(&options);
  void *mem = malloc(bytes);
  uint32_t longest = 1;
  for (uint32_t i = 0; i < w->n_requests; i++)
    longest = w->requests[i].prompt_tokens > longest ? w->requests[i].prompt_tokens : longest;
  r->endpoint = calloc(r->options.n_engines, sizeof *r->endpoint);
  r->engine_of = calloc(r->n_slots, sizeof *r->engine_of);
  r->ticket = calloc(w->n_requests, sizeof *r->ticket);
  r->tokens = malloc((size_t)longest * sizeof *r->tokens);
  r->values = calloc(r->options.n_engines, sizeof *r->values);
  if (!mem || !r->endpoint || !r->engine_of || !r->ticket || !r->tokens || !r->values) {
    free(mem);
    return LLMD_E_NOMEM;
  }
  int rc = llmd_request_init(mem, bytes, &options, &r->request);
  if (rc)
    free(mem);
  return rc;
}

static int open_scheduler(struct llmd_router *r, llmd_err *err)
{
  const struct sim_llmd_options *o = &r->options;
  llmd_scheduler_options options = {
    .size = sizeof options, .compat = o->strict ? LLMD_COMPAT_STRICT : LLMD_COMPAT_SENSIBLE, .log = o->log,
    .log_ud = o->log_ud, .module_dir = o->modules,
    .loader_dir = o->loaders, .policy_dir = o->policies, .explain = o->record != NULL,
  };
  int rc = llmd_scheduler_create(&options, r->pool, o->config, o->config_len, &r->scheduler, err);
  return rc ? rc : llmd_lane_create(r->scheduler, LLMD_LANE_WRITER, &r->lane);
}

struct search { /* for a word, over pieces of text */
  const char *word;
  size_t matched;
};

static int look_for(void *ud, const char *text, size_t len)
{
  struct search *s = ud;
  for (size_t i = 0; i < len && s->word[s->matched]; i++)
    s->matched = text[i] == s->word[s->matched] ? s->matched + 1 : text[i] == s->word[0];
  return 0;
}

/* Only policies that read the exact index get events: they cost more than all the rest. */
static int listen_to_engines(struct llmd_router *r, llmd_err *err)
{
  struct search s = {.word = "type: precise-prefix-cache-"};
  struct sim_listener_options options = {
    .pool = r->pool, .endpoint = r->endpoint, .n_engines = r->options.n_engines, .slots = r->n_slots,
    .held = most_held(r), .workload = r->options.workload, .log = r->options.log, .log_ud = r->options.log_ud,
  };
  int rc = llmd_scheduler_write_config(r->scheduler, look_for, &s);
  if (rc < 0 || s.word[s.matched])
    return rc < 0 ? rc : 0;
  return sim_listener_open(&r->listener, &options, err);
}

static int open_router(struct llmd_router *r, llmd_err *err)
{
  llmd_now start = at(0);
  int rc = make_room(r);
  if (rc == 0)
    rc = open_pool(r, err);
  for (uint32_t i = 0; rc == 0 && i < r->options.n_engines; i++)
    rc = add_engine(r, i);
  if (rc == 0)
    rc = find_prefix_columns(r);
  if (rc == 0)
    rc = llmd_pool_publish(r->pool, &start);
  if (rc == 0)
    rc = open_scheduler(r, err);
  return rc ? rc : listen_to_engines(r, err);
}

int sim_router_llmd(struct sim_router *router, const struct sim_llmd_options *options, llmd_err *err)
{
  struct llmd_router *r = calloc(1, sizeof *r);
  int rc = r ? 0 : LLMD_E_NOMEM;
  err->code = 0;
  if (r) {
    r->options = *options;
    r->n_slots = options->n_engines < 64 ? 64 : options->n_engines;
    r->decision.size = sizeof r->decision;
    rc = open_router(r, err);
  }
  if (rc && err->code == 0) {
    err->code = rc;
    (void)snprintf(err->text, sizeof err->text, "%s", llmd_strerror(rc));
  }
  if (rc && r)
    destroy(r);
  if (rc)
    return rc;
  *router = (struct sim_router){.name = options->name, .self = r, .route = route, .on_first_token = see_first_token,
                                .on_done = see_done, .on_metrics = see_metrics, .decision_ns = last_spent,
                                .destroy = destroy};
  if (r->listener) {
    router->on_message = hear;
    router->on_tick = hear_tick;
    router->on_connect = hear_connect;
    router->on_settled = hear_settled;
    router->heard = tell_heard;
  }
  return 0;
}
