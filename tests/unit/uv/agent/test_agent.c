/* An agent's life in a host's loop: it begins, fails to begin, reloads and ends, and every service comes back once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <llmd/uv.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define SERVICES 64

static char folder[64];
static uv_loop_t loop;
static const llmd_service *given[SERVICES];
static int came_back[SERVICES], n_given, stopped;

static int begin(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/llmd-agent-XXXXXX");
  n_given = stopped = 0;
  return !mkdtemp(folder) || uv_loop_init(&loop);
}

static int end(void **state)
{
  char path[100];
  (void)state;
  (void)snprintf(path, sizeof path, "%s/region", folder);
  (void)unlink(path);
  return rmdir(folder) || uv_loop_close(&loop);
}

static llmd_service *service(const char *more)
{
  char text[2048];
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *s = NULL;
  (void)snprintf(text, sizeof text,
                 "region: %s/region\ncaps: {state_bytes: 4MiB, prefix_bytes: 1MiB, index_bytes: 1MiB, max_endpoints: 8}\n"
                 "%s", folder, more);
  if (llmd_service_read(text, strlen(text), NULL, &s, &err))
    fail_msg("%u:%u: %s: %s", err.line, err.column, err.path, err.text);
  assert_true(n_given < SERVICES);
  came_back[n_given] = 0;
  given[n_given++] = s;
  return s;
}

static void on_released(void *ud, const llmd_service *s)
{
  (void)ud;
  for (int i = 0; i < n_given; i++)
    if (given[i] == s && !came_back[i]) {
      came_back[i] = 1;
      llmd_service_free((llmd_service *)(uintptr_t)s);
      return;
    }
  fail_msg("a service comes back that was not given, or twice");
}

static void on_stopped(void *ud)
{
  (void)ud;
  stopped++;
}

static int start(const llmd_service *s, llmd_agent **out, llmd_err *err)
{
  llmd_agent_options o = {.size = sizeof o, .loop = &loop, .service = s, .released = on_released};
  return llmd_agent_start(&o, out, err);
}

static void turn(int times)
{
  for (int i = 0; i < times; i++)
    (void)uv_run(&loop, UV_RUN_ONCE); /* its tick wakes it */
}

static void stop(llmd_agent *a)
{
  llmd_agent_stop(a, on_stopped, NULL);
  assert_int_equal(stopped, 0); /* never from within */
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(stopped, 1);
  for (int i = 0; i < n_given; i++)
    assert_int_equal(came_back[i], 1);
}

static const char two[] = "admin: 127.0.0.1:0\nendpoints: [127.0.0.1:9, 127.0.0.1:10]\n";

static void begins_and_ends(void **state)
{
  llmd_agent *a = NULL;
  (void)state;
  assert_int_equal(start(service(two), &a, NULL), 0);
  assert_true(llmd_agent_admin_port(a) > 0);
  turn(20);
  stop(a);
}

static void ends_at_once(void **state)
{
  llmd_agent *a = NULL;
  (void)state;
  assert_int_equal(start(service(two), &a, NULL), 0);
  stop(a);
}

static void without_pages_and_metrics(void **state)
{
  llmd_agent *a = NULL;
  (void)state;
  assert_int_equal(start(service("admin: \"\"\nendpoints: [127.0.0.1:9]\nmetrics: {enabled: false}\n"), &a, NULL), 0);
  assert_int_equal(llmd_agent_admin_port(a), 0);
  turn(10);
  stop(a);
}

/* A failing start leaves nothing but handles that close: the region can be had again. */
static void cannot_begin(const char *more, int code)
{
  llmd_service *s = service(more);
  llmd_err err = LLMD_ERR_INIT;
  llmd_agent *a = NULL;
  int rc = start(s, &a, &err);
  if (rc != code)
    fail_msg("%s: %s: %s", more, llmd_errname(rc), err.text);
  assert_null(a);
  assert_true(err.text[0] != 0);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(came_back[--n_given], 0);
  llmd_service_free(s);
}

static int taken_port(int *fd)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  *fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
  assert_int_equal(listen(*fd, 1), 0);
  assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &len), 0);
  return ntohs(a.sin_port);
}

static void fails_to_begin(void **state)
{
  char text[256];
  llmd_agent *a = NULL;
  int fd, port = taken_port(&fd);
  (void)state;
  (void)snprintf(text, sizeof text, "admin: 127.0.0.1:%d\nendpoints: [127.0.0.1:9]\n", port);
  cannot_begin(text, LLMD_E_BUSY);
  close(fd);
  cannot_begin("policy: {apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: nobody}]}\n",
               LLMD_E_UNKNOWN_TYPE);
  assert_int_equal(start(service(two), &a, NULL), 0);
  turn(3);
  stop(a);
}

static void one_at_a_time(void **state)
{
  llmd_agent *a = NULL, *b = NULL;
  llmd_service *s;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(start(service(two), &a, NULL), 0);
  s = service(two);
  assert_int_equal(start(s, &b, &err), LLMD_E_BUSY);
  assert_non_null(strstr(err.text, "writes this region"));
  turn(5);
  llmd_service_free(s);
  n_given--;
  stop(a);
}

static void reloads(void **state)
{
  static const char *const next[] = {
    "metrics: {period: 20ms}\n", "metrics: {period: 30ms}\n", "metrics: {enabled: false}\n", "fail_open: true\n",
    "events: {enabled: true}\n", "events: {enabled: true, topic: x@}\n", "dns: [{name: 127.0.0.1, port: 9}]\n", ""};
  llmd_err err = LLMD_ERR_INIT;
  llmd_agent *a = NULL;
  char text[512];
  (void)state;
  assert_int_equal(start(service(two), &a, NULL), 0);
  turn(3);
  for (int i = 0; i < 48; i++) {
    (void)snprintf(text, sizeof text, "%s%s", two, next[(i / 2 + i % 3) % 8]);
    if (llmd_agent_reload(a, service(text), &err))
      fail_msg("%s: %s", text, err.text);
    turn(i % 4 * 2);
  }
  stop(a); /* while parts of the last reload may be leaving */
}

static void a_wrong_reload_changes_nothing(void **state)
{
  llmd_agent *a = NULL;
  llmd_service *s;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(start(service(two), &a, NULL), 0);
  turn(3);
  s = service("policy: {apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: nobody}]}\n");
  assert_int_equal(llmd_agent_reload(a, s, &err), LLMD_E_UNKNOWN_TYPE);
  llmd_service_free(s);
  n_given--;
  turn(3);
  stop(a);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(begins_and_ends, begin, end),
    cmocka_unit_test_setup_teardown(ends_at_once, begin, end),
    cmocka_unit_test_setup_teardown(without_pages_and_metrics, begin, end),
    cmocka_unit_test_setup_teardown(fails_to_begin, begin, end),
    cmocka_unit_test_setup_teardown(one_at_a_time, begin, end),
    cmocka_unit_test_setup_teardown(reloads, begin, end),
    cmocka_unit_test_setup_teardown(a_wrong_reload_changes_nothing, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
