/* A worker takes up policies' new texts: whatever it is doing, however the text came, and whenever it is told to end.
 * Policies are of the toy language (tests/unit/sched/toy_loader.c); the region is a real one, with a pool that writes
 * beside the worker's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uv/proxy/inner.h"

#include "../policy_folder.h"

#define DEADLINE_MS 30000u

static const char right[] = "read f64 WaitingQueueSize\nscore f64 0\n";
static const char other[] = "read f64 RunningRequestsSize\nscore f64 0\n";

static llmd_service *service;
static llmd_share *writer, *share;
static llmd_proxy *proxy;
static int ended;

static llmd_service *read_service(const char *more)
{
  char text[2048];
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *s = NULL;
  (void)snprintf(text, sizeof text,
                 "region: region\nlisten: 127.0.0.1:0\nlog: {access: \"\"}\n%s"
                 "caps: {state_bytes: 4MiB, prefix_bytes: 1MiB, index_bytes: 1MiB, max_endpoints: 8, max_lanes: 8}\n"
                 "loader_dir: " LLMD_TOYS "\npolicy:\n  apiVersion: llm-d.ai/v1alpha1\n  kind: EndpointPickerConfig\n"
                 "  plugins:\n  - {type: toy, name: mine, parameters: {file: one.toy}}\n"
                 "  - {type: toy, name: also, parameters: {file: one.toy}}\n"
                 "  schedulingProfiles: [{name: default, plugins: [{pluginRef: mine}, {pluginRef: also}]}]\n", more);
  if (llmd_service_read(text, strlen(text), folder, &s, &err))
    fail_msg("%u:%u: %s: %s", err.line, err.column, err.path, err.text);
  return s;
}

static void put(const char *text)
{
  assert_int_equal(llmd_pool_put_policy(llmd_share_pool(writer), "one.toy", 7, text, strlen(text), NULL), 0);
}

static void start(void)
{
  llmd_proxy_options o = {.size = sizeof o, .fd = -1, .loop = &loop, .share = share, .service = service, .log = on_log};
  llmd_err err = LLMD_ERR_INIT;
  ended = 0;
  if (llmd_proxy_start(&o, &proxy, &err))
    fail_msg("%s", err.text);
}

static int begin(void **state)
{
  llmd_share_options o = {.size = sizeof o, .flags = LLMD_SHARE_WRITER | LLMD_SHARE_CREATE};
  (void)state;
  strcpy(folder, "/tmp/llmd-swap-XXXXXX");
  said[0] = 0;
  if (!mkdtemp(folder) || uv_loop_init(&loop))
    return 1;
  service = read_service("");
  o.path = service->region;
  o.region = &service->caps;
  if (llmd_share_open(&o, &writer, NULL))
    return 1;
  o.flags = 0;
  if (llmd_share_open(&o, &share, NULL))
    return 1;
  put(right);
  start();
  return 0;
}

static void on_end(void *ud)
{
  (void)ud;
  ended = 1;
}

static int end(void **state)
{
  (void)state;
  if (!ended) {
    llmd_proxy_close(proxy, on_end, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
  }
  llmd_share_close(share);
  llmd_share_close(writer);
  llmd_service_free(service);
  (void)unlink(in_folder("region"));
  return !ended || rmdir(folder) || uv_loop_close(&loop);
}

/* The number of the text that the worker decides by. */
static uint64_t number(void)
{
  llmd_policy_info info = {.size = sizeof info};
  assert_int_equal(llmd_scheduler_policy(proxy->scheduler, 0, &info), 0);
  return info.number;
}

/* Turns until the condition holds. */
#define UNTIL(condition) \
  do { \
    const uint64_t late = uv_now(&loop) + DEADLINE_MS; \
    while (!(condition) && uv_now(&loop) < late) \
      (void)uv_run(&loop, UV_RUN_ONCE); \
    assert_true(condition); \
  } while (0)

static uint32_t count(const char *text)
{
  uint32_t n = 0;
  for (const char *at = said; (at = strstr(at, text)) != NULL; at++)
    n++;
  return n;
}

static void follows(void **state)
{
  (void)state;
  assert_int_equal(number(), 1);
  for (uint64_t n = 2; n < 8; n++) {
    put(n % 2 ? right : other);
    llmd__swap_tick(proxy); /* the timer's would do, too */
    UNTIL(number() == n);
    UNTIL(proxy->swap.state == LLMD__SWAP_IDLE);
  }
  assert_int_equal(count("policy one.toy: decides by text 7"), 1); /* a line for a file, not for each that names it */
}

/* A text that no agent has tried: told of once, and not tried again until there is another. */
static void keeps_what_it_has(void **state)
{
  (void)state;
  put("nonsense\n");
  UNTIL(count("policies stay as they were"));
  UNTIL(proxy->ticks % 8 == 7); /* some more looks */
  assert_int_equal(count("policies stay as they were"), 1);
  assert_non_null(strstr(said, "one.toy:1:1: not a line of a toy"));
  assert_int_equal(number(), 1);
  put(other);
  UNTIL(number() == 3);
}

/* 0 nothing has begun, 1 it is being made, 2 the former is being swept away (or that was faster than we), 3 it is over. */
static void go_to_stage(uint32_t stage)
{
  if (!stage)
    return;
  llmd__swap_tick(proxy);
  assert_int_equal(proxy->swap.state, LLMD__SWAP_MAKING);
  if (stage > 1)
    UNTIL(proxy->swap.state != LLMD__SWAP_MAKING);
  if (stage > 2)
    UNTIL(proxy->swap.state == LLMD__SWAP_IDLE);
}

/* At any stage of it. */
static void ends(void **state)
{
  (void)state;
  for (uint32_t round = 0; round < 12; round++) {
    put(round % 2 ? right : other);
    go_to_stage(round % 4);
    if (round % 3)
      llmd_proxy_close(proxy, on_end, NULL);
    else
      llmd_proxy_drain(proxy, on_end, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(ended);
    start();
    assert_int_equal(number(), round + 2);
  }
}

/* Another service while what the former one came to is being made: that is dropped, and made anew. */
static void reloads(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  for (uint32_t round = 0; round < 12; round++) {
    llmd_service *next = read_service(round % 2 ? "fail_open: true\n" : "");
    put(round % 2 ? right : other);
    go_to_stage(round % 4);
    assert_int_equal(llmd_proxy_reload(proxy, next, &err), 0);
    llmd_service_free(service);
    service = next;
    assert_int_equal(number(), round + 2);
    UNTIL(proxy->swap.state == LLMD__SWAP_IDLE);
    assert_int_equal(number(), round + 2);
  }
}

/* The region's text does not fit another configuration, and the file does: its text counts until the region has one. */
static void file_before_agent(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *next;
  FILE *f = fopen(in_folder("one.toy"), "w");
  (void)state;
  assert_non_null(f);
  assert_true(fputs(other, f) >= 0);
  assert_int_equal(fclose(f), 0);
  put("nonsense\n");
  UNTIL(count("policies stay as they were"));
  next = read_service("fail_open: true\n");
  assert_int_equal(llmd_proxy_reload(proxy, next, &err), 0);
  llmd_service_free(service);
  service = next;
  assert_int_equal(number(), 0);
  put(right);
  UNTIL(number() == 3);
  (void)unlink(in_folder("one.toy"));
}

static void limit_descriptors(rlim_t most)
{
  struct rlimit r;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
  r.rlim_cur = most;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* A busy proxy has no descriptor left for a moment: no fault of the text, which is tried again after a while. */
static void trouble_that_passes(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  struct rlimit r;
  llmd_service *next;
  (void)state;
  assert_int_equal(mkdir(in_folder("mods"), 0700), 0);
  next = read_service("module_dir: mods\n"); /* which is looked through each time */
  assert_int_equal(llmd_proxy_reload(proxy, next, &err), 0);
  llmd_service_free(service);
  service = next;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
  limit_descriptors(0);
  put(other);
  UNTIL(count("policies stay as they were"));
  limit_descriptors(r.rlim_cur);
  UNTIL(proxy->swap.state == LLMD__SWAP_IDLE);
  for (uint32_t i = 0; i < 8; i++)
    llmd__swap_tick(proxy);
  assert_int_equal(proxy->swap.state, LLMD__SWAP_IDLE); /* not at once */
  for (uint32_t i = 0; i < 40 && proxy->swap.state == LLMD__SWAP_IDLE; i++)
    llmd__swap_tick(proxy);
  UNTIL(number() == 2);
  assert_int_equal(count("policies stay as they were"), 1);
  assert_int_equal(rmdir(in_folder("mods")), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(follows, begin, end),
    cmocka_unit_test_setup_teardown(keeps_what_it_has, begin, end),
    cmocka_unit_test_setup_teardown(ends, begin, end),
    cmocka_unit_test_setup_teardown(reloads, begin, end),
    cmocka_unit_test_setup_teardown(file_before_agent, begin, end),
    cmocka_unit_test_setup_teardown(trouble_that_passes, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
