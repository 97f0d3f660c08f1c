#include "sim_test.h"

#include <math.h>

#include "sim_cluster.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static const struct sim_rate rungs[] = {{5, 20, 0}, {15, 20, 0}};

struct bench { /* a small ladder on small engines */
  struct sim_model model;
  struct sim_workload workload;
  struct sim_config config;
};

static void set_up(struct bench *b, uint64_t seed)
{
  struct sim_ladder ladder = {.groups = 10, .prompts_per_group = 4, .system_tokens = 2000, .question_tokens = 300,
                              .output_tokens = 100, .block_size = 16, .pause = 5, .seed = seed, .rates = rungs,
                              .n_rates = 2};
  sim_model_default(&b->model);
  b->model.kv_tokens = 20000;
  assert_int_equal(sim_workload_ladder(&b->workload, &ladder, NULL), 0);
  b->config = (struct sim_config){.model = &b->model, .workload = &b->workload, .n_engines = 3, .seed = seed};
}

static struct sim_result run_random(const struct sim_config *config)
{
  struct sim_router router;
  struct sim_result result;
  assert_int_equal(sim_router_random(&router, config->seed), 0);
  assert_int_equal(sim_run(config, &router, &result, NULL, NULL), 0);
  router.destroy(router.self);
  return result;
}

static int same_records(const struct sim_result *a, const struct sim_result *b)
{
  for (uint32_t i = 0; i < a->config.workload->n_requests; i++) {
    const struct sim_record *x = &a->records[i], *y = &b->records[i];
    if (x->sent != y->sent || x->first != y->first || x->done != y->done || x->engine != y->engine ||
        x->cached_tokens != y->cached_tokens || x->status != y->status)
      return 0;
  }
  return 1;
}

static void a_seed_repeats_a_run(void **state)
{
  struct bench b;
  struct sim_result first, again, other;
  (void)state;
  set_up(&b, 4);
  first = run_random(&b.config);
  again = run_random(&b.config);
  b.config.seed = 5;
  other = run_random(&b.config);
  assert_true(same_records(&first, &again));
  assert_false(same_records(&first, &other));
  for (uint32_t i = 0; i < b.workload.stages[0].count; i++) /* the same arrivals whoever decides */
    assert_true(first.records[i].sent == other.records[i].sent);
  sim_result_free(&first);
  sim_result_free(&again);
  sim_result_free(&other);
  sim_workload_free(&b.workload);
}

static void stages_follow_each_other(void **state)
{
  struct bench b;
  struct sim_result r;
  double last = 0;
  (void)state;
  set_up(&b, 1);
  r = run_random(&b.config);
  for (uint32_t i = 0; i < b.workload.n_requests; i++) {
    const struct sim_record *x = &r.records[i];
    assert_int_equal(x->status, SIM_DONE);
    assert_true(x->sent < x->first && x->first < x->done);
    NEAR(x->sent, r.spans[b.workload.requests[i].stage].start + b.workload.requests[i].offset);
    if (b.workload.requests[i].stage == 0)
      last = fmax(last, x->done);
  }
  NEAR(r.spans[0].end, last);
  NEAR(r.spans[1].start, last + 5);
  sim_result_free(&r);
  sim_workload_free(&b.workload);
}

static void an_idle_engine_answers_at_the_floor(void **state)
{
  struct bench b;
  struct sim_request request = {.prompt_tokens = 7200, .output_tokens = 2};
  struct sim_stage stage = {.count = 1};
  struct sim_result r;
  double step;
  (void)state;
  set_up(&b, 1);
  sim_workload_free(&b.workload);
  b.workload = (struct sim_workload){.block_size = 16, .n_requests = 1, .n_stages = 1, .requests = &request,
                                     .stages = &stage};
  r = run_random(&b.config);
  NEAR(r.records[0].first, 0.040 + sim_model_prefill(&b.model, 0, 7200));
  step = b.model.tw + b.model.tc + b.model.tkv * 7201 + b.model.tb;
  NEAR(r.records[0].done - r.records[0].first, step);
  assert_int_equal(r.spans[0].gaps->count, 1);
  NEAR(r.spans[0].busy[0] + r.spans[0].busy[1] + r.spans[0].busy[2], step + sim_model_prefill(&b.model, 0, 7200));
  sim_result_free(&r);
}

/* A router that writes down what it is told, and tells how it wants to behave. */
struct witness {
  double period, lag;
  uint32_t n_metrics, n_routes, n_first, n_done;
  uint32_t running; /* requests sent and not done */
  int refuse;       /* every other request */
  int answer;       /* instead of routing */
  uint32_t engine;
  int metrics_answer;
};

static int witness_route(void *self, const struct sim_view *view, const struct sim_request *request, uint32_t *engine)
{
  struct witness *w = self;
  assert_int_equal(view->n_engines, 3);
  assert_int_equal(view->block_size, 16);
  if (w->period == 0)
    assert_int_equal(w->n_metrics, w->n_routes + 1); /* fresh before each decision */
  w->n_routes++;
  if (w->answer)
    return w->answer;
  if (w->refuse && request->id % 2)
    return 1;
  *engine = w->engine == 99 ? (uint32_t)(request->id % 3) : w->engine;
  assert_true(*engine >= 3 || sim_cluster_match(view->cluster, *engine, request) <= request->n_blocks);
  w->running++;
  return 0;
}

static int witness_metrics(void *self, double now, const struct sim_metrics *per_engine, uint32_t n)
{
  struct witness *w = self;
  assert_int_equal(n, 3);
  if (w->period > 0)
    NEAR(now, w->n_metrics * w->period + w->lag);
  w->n_metrics++;
  for (uint32_t i = 0; i < n; i++)
    assert_true(per_engine[i].kv_usage >= 0 && per_engine[i].kv_usage <= 1);
  return w->metrics_answer;
}

static void witness_first(void *self, double now, const struct sim_request *request, uint32_t engine)
{
  struct witness *w = self;
  (void)request;
  assert_true(now > 0 && engine < 3);
  w->n_first++;
}

static void witness_done(void *self, double now, const struct sim_request *request, const struct sim_outcome *outcome)
{
  struct witness *w = self;
  assert_true(now > 0 && outcome->cached_tokens <= request->prompt_tokens && outcome->ttft <= outcome->e2e);
  w->n_done++;
  w->running--;
}

static struct sim_router witness_router(struct witness *w)
{
  return (struct sim_router){.name = "witness", .self = w, .route = witness_route, .on_metrics = witness_metrics,
                             .on_first_token = witness_first, .on_done = witness_done};
}

static void routers_hear_everything_once(void **state)
{
  struct bench b;
  struct sim_result r;
  (void)state;
  set_up(&b, 1);
  for (int lagged = 0; lagged < 2; lagged++) {
    struct witness w = {.engine = 99, .period = lagged ? 0.25 : 0, .lag = lagged ? 0.6 : 0};
    struct sim_router router = witness_router(&w);
    b.config.metrics_period = w.period;
    b.config.metrics_lag = w.lag;
    assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), 0);
    assert_int_equal(w.n_routes, b.workload.n_requests);
    assert_int_equal(w.n_first, b.workload.n_requests);
    assert_int_equal(w.n_done, b.workload.n_requests);
    assert_int_equal(w.running, 0);
    assert_true(w.n_metrics > 100);
    assert_string_equal(r.router, "witness");
    sim_result_free(&r);
  }
  sim_workload_free(&b.workload);
}

static void refused_and_too_long_requests_end(void **state)
{
  struct bench b;
  struct sim_result r;
  struct witness w = {.engine = 99, .refuse = 1};
  struct sim_router router = witness_router(&w);
  uint32_t refused = 0;
  (void)state;
  set_up(&b, 1);
  assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), 0);
  for (uint32_t i = 0; i < b.workload.n_requests; i++)
    refused += r.records[i].status == SIM_REFUSED;
  assert_int_equal(refused, b.workload.n_requests / 2);
  assert_int_equal(w.n_done, b.workload.n_requests - refused);
  sim_result_free(&r);
  b.model.kv_tokens = 2000;
  w = (struct witness){.engine = 99};
  assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), 0);
  for (uint32_t i = 0; i < b.workload.n_requests; i++)
    assert_int_equal(r.records[i].status, SIM_TOO_LONG);
  assert_int_equal(w.n_done, b.workload.n_requests);
  sim_result_free(&r);
  sim_workload_free(&b.workload);
}

static int watch(void *ud, double fraction)
{
  double *last = ud;
  assert_true(fraction > *last && fraction <= 1);
  *last = fraction;
  return 0;
}

static int stop_half_way(void *ud, double fraction)
{
  (void)ud;
  return fraction >= 0.5;
}

static void progress_and_stopping(void **state)
{
  struct bench b;
  struct sim_result r;
  struct witness w = {.engine = 99};
  struct sim_router router = witness_router(&w);
  double last = 0;
  (void)state;
  set_up(&b, 1);
  assert_int_equal(sim_run(&b.config, &router, &r, watch, &last), 0);
  assert_true(last == 1);
  sim_result_free(&r);
  w = (struct witness){.engine = 99};
  memset(&r, 0x5a, sizeof r);
  assert_int_equal(sim_run(&b.config, &router, &r, stop_half_way, NULL), LLMD_E_STOPPED);
  assert_int_equal(((unsigned char *)&r)[0], 0x5a); /* untouched */
  sim_workload_free(&b.workload);
}

static void failures_of_routers_and_configurations(void **state)
{
  struct bench b;
  struct sim_result r;
  struct witness w = {.answer = LLMD_E_PLUGIN};
  struct sim_router router = witness_router(&w);
  struct sim_config bad;
  (void)state;
  set_up(&b, 1);
  assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), LLMD_E_PLUGIN);
  w = (struct witness){.metrics_answer = LLMD_E_STATE};
  assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), LLMD_E_STATE);
  w = (struct witness){.engine = 3};
  assert_int_equal(sim_run(&b.config, &router, &r, NULL, NULL), LLMD_E_INVALID);
#define BAD(change) \
  bad = b.config;   \
  change;           \
  assert_int_equal(sim_run(&bad, &router, &r, NULL, NULL), LLMD_E_INVALID)
  BAD(bad.n_engines = 0);
  BAD(bad.n_engines = UINT32_MAX);
  BAD(bad.model = NULL);
  BAD(bad.workload = NULL);
  BAD(bad.metrics_lag = 0.1);
  BAD(bad.metrics_period = NAN);
  BAD(bad.metrics_period = 1e-9);
  BAD((bad.metrics_period = 1e-3, bad.metrics_lag = 1e6));
#undef BAD
  sim_workload_free(&b.workload);
}

/* Blocks found beforehand are what the engine reports afterwards, when one request is there at a time. */
static void match_foretells_the_hit(void **state)
{
  static const struct sim_rate slow = {0.2, 600, 0};
  struct sim_ladder ladder = {.groups = 3, .prompts_per_group = 4, .system_tokens = 2000, .question_tokens = 300,
                              .output_tokens = 2, .block_size = 16, .seed = 1, .rates = &slow, .n_rates = 1};
  struct bench b;
  struct sim_result r;
  uint32_t hits = 0;
  (void)state;
  set_up(&b, 1);
  sim_workload_free(&b.workload);
  assert_int_equal(sim_workload_ladder(&b.workload, &ladder, NULL), 0);
  b.config.n_engines = 1;
  b.model.kv_tokens = 307328;
  r = run_random(&b.config);
  for (uint32_t i = 0; i < b.workload.n_requests; i++) {
    assert_int_equal(r.records[i].cached_tokens, b.workload.requests[i].ideal_tokens);
    hits += r.records[i].cached_tokens > 0;
  }
  assert_true(hits > 100);
  sim_result_free(&r);
  sim_workload_free(&b.workload);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_seed_repeats_a_run),
    cmocka_unit_test(stages_follow_each_other),
    cmocka_unit_test(an_idle_engine_answers_at_the_floor),
    cmocka_unit_test(routers_hear_everything_once),
    cmocka_unit_test(refused_and_too_long_requests_end),
    cmocka_unit_test(progress_and_stopping),
    cmocka_unit_test(failures_of_routers_and_configurations),
    cmocka_unit_test(match_foretells_the_hit),
  };
  return cmocka_run_group_tests_name("sim/cluster", tests, NULL, NULL);
}
