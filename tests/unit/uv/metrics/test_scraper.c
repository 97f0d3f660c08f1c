/* The scraper on real sockets: pages come into the pool; what is no page makes its endpoint stale, then unknown; it is
 * back with the first good one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <llmd/uv.h>

#include "engine.h"

#define ENGINES 6

typedef struct rig {
  uv_loop_t loop;
  uv_timer_t publish;
  llmd_service service;
  llmd_pool *pool;
  llmd_scraper *s;
  engine e[ENGINES];
  llmd_endpoint_id id[ENGINES];
  unsigned n;
  unsigned changed;
  uint64_t want;
  double value;
  int stopped;
} rig;

static void must(int rc)
{
  if (rc < 0)
    fail_msg("%s", llmd_errname(rc));
}

static void on_publish(uv_timer_t *t)
{
  rig *r = t->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  must(llmd_pool_tick(r->pool, &now, &next));
  must(llmd_pool_publish(r->pool, &now));
}

static llmd_endpoint_id add(rig *r, unsigned port, const llmd_label *labels, unsigned n)
{
  const llmd_endpoint e = {.size = sizeof e, .address = {"127.0.0.1", 9}, .port = port, .labels = labels, .n_labels = n};
  llmd_endpoint_id id = 0;
  must(llmd_pool_add(r->pool, &e, &id));
  return id;
}

static void on_changed(void *ud)
{
  ((rig *)ud)->changed++;
}

static void open_rig(rig *r, unsigned n, engine_fn fn)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = 16, .max_models = 4, .max_lanes = 2,
                                      .state_bytes = 1 << 20};
  const llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &region};
  memset(r, 0, sizeof *r);
  r->n = n;
  r->service = (llmd_service){.size = sizeof r->service,
                              .metrics = {.enabled = 1, .period_ms = 10, .timeout_ms = 20000, .connect_ms = 5000,
                                          .max_bytes = 200000, .stale_ms = 30000, .unknown_ms = 60000, .parallel = 64,
                                          .path = "/metrics", .models_path = "/v1/models"}};
  must(uv_loop_init(&r->loop));
  must(llmd_pool_open(&o, &r->pool, NULL));
  for (unsigned i = 0; i < n; i++) {
    engine_start(&r->e[i], &r->loop, fn, r);
    r->id[i] = add(r, r->e[i].port, NULL, 0);
  }
  uv_timer_init(&r->loop, &r->publish);
  r->publish.data = r;
  uv_timer_start(&r->publish, on_publish, 0, 5);
}

static void start(rig *r)
{
  const llmd_feeder f = {.size = sizeof f, .loop = &r->loop, .pool = r->pool, .service = &r->service,
                         .changed = on_changed, .changed_ud = r};
  llmd_err err = LLMD_ERR_INIT;
  if (llmd_scraper_start(&f, &r->s, &err))
    fail_msg("%s", err.text);
}

static void on_stopped(void *ud)
{
  ((rig *)ud)->stopped = 1;
}

static void close_rig(rig *r)
{
  llmd_scraper_stop(r->s, on_stopped, r);
  uv_close((uv_handle_t *)&r->publish, NULL);
  for (unsigned i = 0; i < r->n; i++)
    engine_stop(&r->e[i]);
  engine_loop_end(&r->loop);
  assert_int_equal(r->stopped, 1);
  llmd_pool_close(r->pool);
}

static llmd_scraper_stats stats(const rig *r)
{
  llmd_scraper_stats s = {.size = sizeof s};
  must(llmd_scraper_stats_get(r->s, &s));
  return s;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

#define OK "HTTP/1.1 200 OK\r\n"
#define PAGE                                                          \
  "# HELP vllm:num_requests_running Number of requests.\n"            \
  "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"    \
  "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 7.0\n"    \
  "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n"    \
  "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"99\"} 1.0\n" \
  "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"sql,law\",waiting_lora_adapters=\"\"} 1.0\n"

static void good(caller *c, const char *request, size_t len)
{
  (void)len;
  if (strncmp(request, "GET /metrics ", 13) == 0)
    caller_answer(c, OK, PAGE, sizeof PAGE - 1);
  else
    caller_answer(c, "HTTP/1.1 404 Not Found\r\n", "", 0);
}

static int pages_came(void *ud)
{
  const rig *r = ud;
  return stats(r).pages >= r->want;
}

static int values_are_there(void *ud)
{
  const rig *r = ud;
  unsigned n = 0;
  for (unsigned i = 0; i < r->n; i++)
    n += llmd_pool_value(r->pool, r->id[i], LLMD_ATTR_WAITING) == 7;
  return n == r->n;
}

static int value_is_unknown(void *ud)
{
  const rig *r = ud;
  return isnan(llmd_pool_value(r->pool, r->id[0], LLMD_ATTR_WAITING)) != 0;
}

static void pages_come_into_the_pool(void **state)
{
  rig r;
  llmd_str names[4];
  (void)state;
  open_rig(&r, 3, good);
  start(&r);
  engine_until(&r.loop, values_are_there, &r, "the values are in the pool");
  assert_true(llmd_pool_value(r.pool, r.id[1], LLMD_ATTR_RUNNING) == 3);
  assert_true(llmd_pool_value(r.pool, r.id[1], LLMD_ATTR_KV_USAGE) == 0.25);
  assert_true(llmd_pool_value(r.pool, r.id[1], LLMD_ATTR_BLOCK_SIZE) == 16);
  assert_int_equal(llmd_pool_models(r.pool, r.id[1], LLMD_ATTR_ACTIVE_MODELS, names, 4), 2);
  r.want = 60;
  engine_until(&r.loop, pages_came, &r, "60 pages");
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(r.e[i].connections, 1);
    assert_int_equal(r.e[i].most_busy, 1);
  }
  assert_int_equal(stats(&r).endpoints, 3);
  assert_int_equal(stats(&r).fresh, 3);
  assert_int_equal(stats(&r).failed + stats(&r).refused, 0);
  assert_true(r.changed >= 60);
  close_rig(&r);
}

/* ---- what is no page --------------------------------------------------------------------------------------------- */

static char junk[4096];

static void html(caller *c, const char *request, size_t len)
{
  static const char page[] = "<!DOCTYPE html><html><body>Please log in</body></html>\n";
  (void)request;
  (void)len;
  caller_answer(c, OK "Content-Type: text/html\r\n", page, sizeof page - 1);
}

static void empty(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, OK, "", 0);
}

static void error_500(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, "HTTP/1.1 500 Oops\r\n", PAGE, sizeof PAGE - 1);
}

static void redirect(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, "HTTP/1.1 301 Moved\r\nLocation: /metrics\r\n", PAGE, sizeof PAGE - 1);
}

static void zipped(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_answer(c, OK "Content-Encoding: gzip\r\n", PAGE, sizeof PAGE - 1);
}

static void huge(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_text(c, OK "\r\n" PAGE);
  caller_drip(c, junk, sizeof junk, 1);
}

static void drips(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_text(c, OK "Content-Length: 100000\r\n\r\n" PAGE);
  caller_drip(c, "#", 1, 20);
}

static void lies(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_text(c, OK "Content-Length: 100000\r\n\r\n" PAGE);
  caller_hang_up(c);
}

static void resets(caller *c, const char *request, size_t len)
{
  (void)request;
  (void)len;
  caller_reset(c);
}

static void absurd(caller *c, const char *request, size_t len)
{
  static const char page[] = "vllm:num_requests_waiting -1000000\nvllm:num_requests_running NaN\n";
  (void)request;
  (void)len;
  caller_answer(c, OK, page, sizeof page - 1);
}

static int troubles_came(void *ud)
{
  const rig *r = ud;
  const llmd_scraper_stats s = stats(r);
  return s.failed + s.refused >= r->want;
}

static void what_is_no_page_is_refused(void **state)
{
  static const struct {
    const char *name;
    engine_fn fn;
  } cases[] = {{"HTML", html},     {"nothing", empty}, {"500", error_500}, {"301", redirect}, {"gzip", zipped},
               {"endless", huge},  {"drips", drips},   {"lies", lies},     {"resets", resets}};
  (void)state;
  memset(junk, '#', sizeof junk);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    open_rig(&r, 1, cases[i].fn);
    r.service.metrics.timeout_ms = cases[i].fn == drips ? 60 : 20000;
    start(&r);
    r.want = 2;
    engine_until(&r.loop, troubles_came, &r, cases[i].name);
    assert_int_equal(stats(&r).pages, 0);
    assert_int_equal(stats(&r).fresh, 0);
    assert_true(isnan(llmd_pool_value(r.pool, r.id[0], LLMD_ATTR_WAITING)));
    assert_int_equal(r.e[0].most_busy, 1);
    r.e[0].on_request = good;
    engine_until(&r.loop, values_are_there, &r, "it is back");
    close_rig(&r);
  }
}

static void absurd_values_never_help(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, 1, absurd);
  start(&r);
  r.want = 3;
  engine_until(&r.loop, troubles_came, &r, "it is refused");
  assert_true(isnan(llmd_pool_value(r.pool, r.id[0], LLMD_ATTR_WAITING)));
  assert_int_equal(stats(&r).fresh, 0);
  close_rig(&r);
}

/* ---- silence ----------------------------------------------------------------------------------------------------- */

static int nobody_is_fresh(void *ud)
{
  return stats(ud).fresh == 0;
}

static int all_are_fresh(void *ud)
{
  return stats(ud).fresh == ((rig *)ud)->n;
}

static int all_are_unknown(void *ud)
{
  return stats(ud).unknown == ((rig *)ud)->n;
}

static void silence_makes_stale_then_unknown(void **state)
{
  rig r;
  llmd_str names[4];
  (void)state;
  open_rig(&r, 1, good);
  r.service.metrics.stale_ms = 300;
  r.service.metrics.unknown_ms = 600;
  start(&r);
  engine_until(&r.loop, values_are_there, &r, "the values are in the pool");
  r.e[0].on_request = resets;
  engine_until(&r.loop, nobody_is_fresh, &r, "it is stale");
  engine_until(&r.loop, all_are_unknown, &r, "it is unknown");
  engine_until(&r.loop, value_is_unknown, &r, "its value is unknown");
  assert_true(isnan(llmd_pool_value(r.pool, r.id[0], LLMD_ATTR_KV_USAGE)));
  assert_int_equal(llmd_pool_models(r.pool, r.id[0], LLMD_ATTR_ACTIVE_MODELS, names, 4), 0);
  r.e[0].on_request = good;
  engine_until(&r.loop, values_are_there, &r, "it is back");
  engine_until(&r.loop, all_are_fresh, &r, "it is fresh");
  close_rig(&r);
}

static void the_dead_are_asked_seldom(void **state)
{
  rig r;
  const engine *e = &r.e[0];
  (void)state;
  open_rig(&r, 1, resets);
  start(&r);
  r.want = 9;
  engine_until(&r.loop, troubles_came, &r, "9 failures");
  assert_true(e->asked[8] - e->asked[7] >= 850000000ull); /* a second, less the jitter */
  assert_true(e->asked[4] - e->asked[3] >= 120000000ull);
  close_rig(&r);
}

/* ---- at most ----------------------------------------------------------------------------------------------------- */

static void says_nothing(caller *c, const char *request, size_t len)
{
  (void)c;
  (void)request;
  (void)len;
}

static unsigned busy(const rig *r)
{
  unsigned n = 0;
  for (unsigned i = 0; i < r->n; i++)
    n += r->e[i].busy;
  return n;
}

static int three_are_busy(void *ud)
{
  return busy(ud) == 3;
}

static void no_more_than_parallel(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, ENGINES, says_nothing);
  r.service.metrics.parallel = 3;
  start(&r);
  engine_until(&r.loop, three_are_busy, &r, "three requests are under way");
  engine_pass(&r.loop, 100);
  assert_int_equal(busy(&r), 3);
  for (unsigned i = 0; i < ENGINES; i++)
    assert_in_range(r.e[i].most_busy, 0, 1);
  close_rig(&r);
}

/* ---- the pool changes -------------------------------------------------------------------------------------------- */

static int the_first_is_busy(void *ud)
{
  return ((rig *)ud)->e[0].busy == 1;
}

static int the_first_is_left_alone(void *ud)
{
  return ((rig *)ud)->e[0].open == 0;
}

static int values_of_the_last(void *ud)
{
  const rig *r = ud;
  return llmd_pool_value(r->pool, r->id[r->n - 1], LLMD_ATTR_WAITING) == 7;
}

static void endpoints_come_and_go(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, 2, good);
  r.e[0].on_request = says_nothing;
  start(&r);
  engine_until(&r.loop, the_first_is_busy, &r, "the first is asked");
  must(llmd_pool_remove(r.pool, r.id[0]));
  engine_until(&r.loop, the_first_is_left_alone, &r, "its request is taken back");
  engine_start(&r.e[2], &r.loop, good, &r);
  r.id[2] = add(&r, r.e[2].port, NULL, 0);
  r.n = 3;
  engine_until(&r.loop, values_of_the_last, &r, "the new one is asked");
  assert_int_equal(stats(&r).endpoints, 2);
  assert_int_equal(stats(&r).fresh, 2);
  assert_int_equal(r.e[0].requests, 1);
  close_rig(&r);
}

static void metrics_may_be_at_another_port(void **state)
{
  rig r;
  char port[8];
  llmd_label label = {{"metricsPort", 11}, {port, 0}};
  (void)state;
  open_rig(&r, 1, good);
  label.value.len = (size_t)snprintf(port, sizeof port, "%u", r.e[0].port);
  must(llmd_pool_remove(r.pool, r.id[0]));
  r.id[0] = add(&r, r.e[0].port == 9 ? 10 : 9, &label, 1);
  start(&r);
  engine_until(&r.loop, values_are_there, &r, "it is asked there");
  label.value = (llmd_str){"nine", 4};
  must(llmd_pool_set_labels(r.pool, r.id[0], &label, 1));
  r.want = 1;
  engine_until(&r.loop, troubles_came, &r, "no port is no place");
  close_rig(&r);
}

static void names_are_not_asked(void **state)
{
  rig r;
  llmd_endpoint e = {.size = sizeof e, .address = {"localhost", 9}};
  llmd_endpoint_id id;
  (void)state;
  open_rig(&r, 1, good);
  e.port = r.e[0].port;
  must(llmd_pool_remove(r.pool, r.id[0]));
  must(llmd_pool_add(r.pool, &e, &id));
  start(&r);
  r.want = 2;
  engine_until(&r.loop, troubles_came, &r, "it cannot be asked");
  assert_int_equal(r.e[0].connections, 0);
  close_rig(&r);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static const char *models;

static void with_models(caller *c, const char *request, size_t len)
{
  if (strncmp(request, "GET /v1/models ", 15) == 0)
    caller_answer(c, OK "Content-Type: application/json\r\n", models, strlen(models));
  else
    good(c, request, len);
}

static int attribute(const rig *r)
{
  return llmd_pool_attribute(r->pool, "Models", "llmd", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT);
}

static int has_models(void *ud)
{
  const rig *r = ud;
  llmd_str names[8];
  return llmd_pool_models(r->pool, r->id[0], (uint32_t)attribute(r), names, 8) == (int)r->want;
}

static void models_come_into_a_set(void **state)
{
  rig r;
  llmd_str names[8];
  unsigned had;
  (void)state;
  open_rig(&r, 1, with_models);
  r.service.metrics.models_ms = 30;
  models = "{\"object\":\"list\",\"data\":[{\"id\":\"meta/llama\",\"object\":\"model\"},{\"id\":\"sql\",\"parent\":\"x\"}]}";
  start(&r);
  assert_true(attribute(&r) >= 0);
  r.want = 2;
  engine_until(&r.loop, has_models, &r, "two models");
  must(llmd_pool_models(r.pool, r.id[0], (uint32_t)attribute(&r), names, 8));
  assert_memory_equal(names[0].ptr, "meta/llama", 10);
  assert_memory_equal(names[1].ptr, "sql", 3);

  models = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
  had = r.e[0].requests;
  engine_pass(&r.loop, 100);
  assert_true(r.e[0].requests > had);
  assert_true(has_models(&r)); /* what is no list changes nothing */
  models = "{\"data\":{\"id\":\"x\"}}";
  engine_pass(&r.loop, 100);
  assert_true(has_models(&r));

  models = "{\"data\":[{\"id\":\"a\"},{\"id\":7},{\"id\":\"\"},{\"id\":\"b\\nc\"},\"d\",{\"id\":\"e\"},{\"id\":\"f\"}]}";
  r.want = 3;
  engine_until(&r.loop, has_models, &r, "names that are names");
  models = "{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"c\"},"
           "{\"id\":\"d\"},{\"id\":\"e\"},{\"id\":\"f\"},{\"id\":\"g\"}]}";
  r.want = 4; /* what the region has room for */
  engine_until(&r.loop, has_models, &r, "as many as there is room for");
  assert_int_equal(r.e[0].most_busy, 1);
  close_rig(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pages_come_into_the_pool),
      cmocka_unit_test(what_is_no_page_is_refused),
      cmocka_unit_test(absurd_values_never_help),
      cmocka_unit_test(silence_makes_stale_then_unknown),
      cmocka_unit_test(the_dead_are_asked_seldom),
      cmocka_unit_test(no_more_than_parallel),
      cmocka_unit_test(endpoints_come_and_go),
      cmocka_unit_test(metrics_may_be_at_another_port),
      cmocka_unit_test(names_are_not_asked),
      cmocka_unit_test(models_come_into_a_set),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
