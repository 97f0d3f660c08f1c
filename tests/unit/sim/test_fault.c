/* Every allocation of a whole run is failed once: out of memory comes back as such, and nothing is lost or used after.
 * Run it under AddressSanitizer or valgrind to see the second half. */
#include "sim_test.h"

#include <llmd/error.h>

#include "sim_cluster.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static uint64_t left = UINT64_MAX; /* allocations until one fails */

static int allowed(void)
{
  if (left == UINT64_MAX)
    return 1;
  return left != 0 && left-- != 0;
}

void *__wrap_malloc(size_t n)
{
  return allowed() ? __real_malloc(n) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
  return allowed() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
  return allowed() ? __real_realloc(p, n) : NULL;
}

static int hear(void *self, double now, uint32_t engine, uint32_t what, const llmd_str *frame, uint32_t n,
                uint64_t *from)
{
  (void)self;
  (void)now;
  (void)frame;
  (void)n;
  *from = 0;
  return what == SIM_LIVE && engine == 0; /* a listener that cannot hear enough */
}

static int hear_tick(void *self, double now, uint32_t *engine, uint64_t *from)
{
  (void)self;
  (void)now;
  (void)engine;
  (void)from;
  return 0;
}

static int scenario(void)
{
  static const struct sim_rate rungs[] = {{20, 2, 0}, {60, 4, 0}};
  struct sim_ladder ladder = {.groups = 4, .prompts_per_group = 2, .system_tokens = 200, .question_tokens = 30,
                              .output_tokens = 5, .block_size = 16, .pause = 1, .seed = 1, .rates = rungs,
                              .n_rates = 2};
  struct sim_workload w;
  struct sim_model model;
  struct sim_router router;
  struct sim_result result;
  int code = sim_workload_ladder(&w, &ladder, NULL);
  if (code)
    return code;
  sim_model_default(&model);
  model.kv_tokens = 4000;
  model.cpu_tokens = 2000;
  struct sim_config config = {.model = &model, .workload = &w, .n_engines = 2, .metrics_period = 0.05,
                              .metrics_lag = 0.05, .event_lag = 0.02, .event_loss = 0.1, .event_keep = 8,
                              .restart_period = 2};
  code = sim_router_random(&router, 1);
  if (code == 0) {
    router.on_message = hear;
    router.on_tick = hear_tick;
    code = sim_run(&config, &router, &result, NULL, NULL);
    router.destroy(router.self);
    if (code == 0)
      sim_result_free(&result);
  }
  sim_workload_free(&w);
  return code;
}

static void every_allocation_fails_once(void **state)
{
  uint64_t k = 0;
  int code;
  (void)state;
  do {
    left = k++;
    code = scenario();
    left = UINT64_MAX;
    assert_true(code == 0 || code == LLMD_E_NOMEM);
    assert_true(k < 5000);
  } while (code);
  assert_true(k > 300); /* one for each request at least */
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once)};
  return cmocka_run_group_tests_name("sim/fault", tests, NULL, NULL);
}
