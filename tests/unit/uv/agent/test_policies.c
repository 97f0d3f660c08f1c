/* The agent and the files of policies: what is taken, what is refused and where it says so, and whose text counts when it
 * starts. Policies are of the toy language (tests/unit/sched/toy_loader.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <llmd/llmd.h>
#include <llmd/uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "uv/stats/records.h"

#include "../policy_folder.h"

#define DEADLINE_MS 30000u

static const char right[] = "read f64 WaitingQueueSize\nscore f64 0\nexample ok\n";
static const char other[] = "read f64 RunningRequestsSize\nscore f64 0\nexample ok\nexample ok\n";

static llmd_service *service;
static llmd_agent *agent;
static llmd_share *share; /* another process's, as it were */

static void write_file(const char *name, const char *text)
{
  FILE *f = fopen(in_folder("new"), "w");
  char from[128];
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
  strcpy(from, in_folder("new"));
  assert_int_equal(rename(from, in_folder(name)), 0);
}

static llmd_service *read_service(const char *file)
{
  char text[2048];
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *s = NULL;
  (void)snprintf(text, sizeof text,
                 "region: region\nadmin: \"\"\nmetrics: {enabled: false}\nendpoints: [127.0.0.1:9, 127.0.0.1:10]\n"
                 "caps: {state_bytes: 4MiB, prefix_bytes: 1MiB, index_bytes: 1MiB, max_endpoints: 8, max_lanes: 8}\n"
                 "loader_dir: " LLMD_TOYS "\npolicy:\n  apiVersion: llm-d.ai/v1alpha1\n  kind: EndpointPickerConfig\n"
                 "  plugins: [{type: toy, name: mine, parameters: {file: %s}}]\n"
                 "  schedulingProfiles: [{name: default, plugins: [{pluginRef: mine}]}]\n", file);
  if (llmd_service_read(text, strlen(text), folder, &s, &err))
    fail_msg("%u:%u: %s: %s", err.line, err.column, err.path, err.text);
  return s;
}

static int begin(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/llmd-policies-XXXXXX");
  said[0] = 0;
  if (!mkdtemp(folder) || uv_loop_init(&loop))
    return 1;
  service = read_service("one.toy");
  write_file("one.toy", right);
  return 0;
}

static int end(void **state)
{
  static const char *const names[] = {"region", "one.toy", "two.toy", "new", "link.toy"};
  (void)state;
  llmd_service_free(service);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    (void)unlink(in_folder(names[i]));
  return rmdir(folder) || uv_loop_close(&loop);
}

static void on_released(void *ud, const llmd_service *s)
{
  (void)ud;
  if (s != service)
    llmd_service_free((llmd_service *)(uintptr_t)s);
}

static int start(llmd_err *err)
{
  llmd_agent_options o = {.size = sizeof o, .loop = &loop, .service = service, .log = on_log, .released = on_released};
  llmd_share_options so = {.size = sizeof so, .path = service->region};
  int rc = llmd_agent_start(&o, &agent, err);
  if (!rc)
    assert_int_equal(llmd_share_open(&so, &share, err), 0);
  return rc;
}

static void on_stopped(void *ud)
{
  *(int *)ud = 1;
}

static void stop(void)
{
  int stopped = 0;
  llmd_share_close(share);
  llmd_agent_stop(agent, on_stopped, &stopped);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(stopped, 1);
}

static void starts(void)
{
  llmd_err err = LLMD_ERR_INIT;
  if (start(&err))
    fail_msg("%s: %s", err.path, err.text);
}

static void refuses_to_start(int code, uint32_t line)
{
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(start(&err), code);
  assert_int_equal(err.line, line);
  (void)uv_run(&loop, UV_RUN_DEFAULT);
}

/* The text that the region has of the file, and its number; 0 = none. */
static uint64_t number_of(const char *file, const char *text)
{
  char room[65536];
  uint64_t number = 0;
  size_t len = 0;
  if (llmd_pool_get_policy(llmd_share_pool(share), file, strlen(file), room, sizeof room, &len, &number))
    return 0;
  if (text && (len != strlen(text) || memcmp(room, text, len)))
    fail_msg("the region has another text: %.*s", (int)len, room);
  return number;
}

static void until_number(const char *file, uint64_t number)
{
  const uint64_t late = uv_now(&loop) + DEADLINE_MS;
  while (number_of(file, NULL) != number && uv_now(&loop) < late)
    (void)uv_run(&loop, UV_RUN_ONCE); /* its tick wakes it */
  assert_int_equal(number_of(file, NULL), number);
}

static void until_said(const char *text)
{
  const uint64_t late = uv_now(&loop) + DEADLINE_MS;
  while (!strstr(said, text) && uv_now(&loop) < late)
    (void)uv_run(&loop, UV_RUN_ONCE);
  if (!strstr(said, text))
    fail_msg("never said \"%s\": %s", text, said);
}

static void changes(void **state)
{
  (void)state;
  starts();
  assert_int_equal(number_of("one.toy", right), 1);
  write_file("one.toy", other);
  until_number("one.toy", 2);
  (void)number_of("one.toy", other);
  until_said("one.toy: text 2 is in use; tried: examples 2, recorded requests 0");
  write_file("one.toy", other); /* the same again is no change */
  write_file("one.toy", right);
  until_number("one.toy", 3);
  stop();
}

static void refused(void **state)
{
  (void)state;
  starts();
  write_file("one.toy", "read f64 WaitingQueueSize\nnonsense\n");
  until_said("one.toy:2:1: not a line of a toy; the former text stays");
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nexample wrong\n");
  until_said("one.toy: an example came out differently; the former text stays");
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nfail bind -6 ouch\n"); /* a line, but of another file */
  until_said("one.toy: the configuration does not fit it, line ");
  assert_int_equal(chmod(in_folder("one.toy"), 0666), 0);
  until_said("one.toy: everybody may write it (chmod go-w mends that); its last text stays");
  assert_int_equal(unlink(in_folder("one.toy")), 0);
  until_said("one.toy: not there; its last text stays");
  write_file("two.toy", other);
  assert_int_equal(symlink("two.toy", in_folder("one.toy")), 0);
  until_said("one.toy: a link; its last text stays");
  assert_int_equal(number_of("one.toy", right), 1);
  assert_int_equal(unlink(in_folder("one.toy")), 0);
  write_file("one.toy", other);
  until_number("one.toy", 2);
  stop();
}

/* The file counts when it is right, else what the region has of the former agent. */
static void starts_again(void **state)
{
  (void)state;
  starts();
  stop();
  write_file("one.toy", "nonsense\n");
  starts();
  assert_int_equal(number_of("one.toy", right), 1);
  until_said("one.toy:1:1: not a line of a toy; the former text stays");
  stop();
  write_file("one.toy", other);
  starts();
  assert_int_equal(number_of("one.toy", other), 2);
  stop();
  assert_int_equal(unlink(in_folder("one.toy")), 0);
  starts();
  assert_int_equal(number_of("one.toy", other), 2);
  stop();
}

static void nothing_to_start_with(void **state)
{
  (void)state;
  write_file("one.toy", "read f64 WaitingQueueSize\nnonsense\n");
  refuses_to_start(LLMD_E_SYNTAX, 2);
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nexample wrong\n");
  refuses_to_start(LLMD_E_PLUGIN, 0);
  write_file("one.toy", right);
  starts();
  stop();
}

/* ---- recorded requests ------------------------------------------------------------------------------------------- */

typedef struct record {
  char bytes[65536];
  size_t len;
} record;

static int collect(void *ud, const char *ptr, size_t len)
{
  record *r = ud;
  assert_true(len <= sizeof r->bytes - r->len);
  memcpy(r->bytes + r->len, ptr, len);
  r->len += len;
  return 0;
}

/* What a worker does: decides, and leaves a record. */
static void decide_and_record(void)
{
  static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
  static record r;
  llmd_scheduler_options o = {.size = sizeof o, .explain = 1, .loader_dir = service->loader_dir,
                              .policy_dir = service->policy_dir};
  const llmd__ring ring = llmd__records_of(share);
  llmd_decision d = {.size = sizeof d};
  llmd_scheduler *s = NULL;
  llmd_lane *lane = NULL;
  size_t bytes = llmd_request_size(NULL);
  void *room = malloc(bytes);
  llmd_request *q = NULL;
  llmd_now now;
  r.len = 0;
  llmd_clock(&now);
  assert_int_equal(llmd_scheduler_create(&o, llmd_share_pool(share), service->policy.ptr, service->policy.len, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, 0, &lane), 0);
  assert_int_equal(llmd_request_init(room, bytes, NULL, &q), 0);
  assert_int_equal(llmd_request_line(q, "POST", 4, "/v1/chat/completions", 20), 0);
  assert_int_equal(llmd_request_feed(q, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(lane, q, &now, 1, &d), 0);
  assert_int_equal(d.status, LLMD_ROUTED);
  assert_int_equal(llmd_record_write(lane, collect, &r), 0);
  assert_int_equal(llmd__ring_put(&ring, now.wall, r.bytes, r.len), 0);
  free(room);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
}

static void starts_with_endpoints(void)
{
  const uint64_t late = uv_now(&loop) + DEADLINE_MS;
  starts();
  while (llmd_pool_count(llmd_share_pool(share)) < 2 && uv_now(&loop) < late)
    (void)uv_run(&loop, UV_RUN_ONCE);
}

static void tried_on_records(void **state)
{
  (void)state;
  starts_with_endpoints();
  decide_and_record();
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nfail score -6 ouch\n");
  until_said("one.toy: fails on a recorded request: ouch; the former text stays");
  assert_int_equal(number_of("one.toy", right), 1);
  write_file("one.toy", other);
  until_said("one.toy: text 2 is in use; tried: examples 2, recorded requests 1");
  stop();
}

/* Of three records it cannot be told. Nor of any when the text reads what they do not hold. */
static void refuses_everybody(void **state)
{
  (void)state;
  starts_with_endpoints();
  for (int i = 0; i < 3; i++)
    decide_and_record();
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nnobody\n");
  until_said("one.toy: text 2 is in use; tried: examples 0, recorded requests 3");
  write_file("one.toy", right);
  until_number("one.toy", 3);
  decide_and_record();
  write_file("one.toy", "read f64 WaitingQueueSize\nscore f64 0\nnobody\n");
  until_said("one.toy: refuses all of 4 recorded requests that were served; the former text stays");
  assert_int_equal(number_of("one.toy", right), 3);
  write_file("one.toy", "read f64 WaitingQueueSize\nread label zone\nscore f64 0\nnobody\n");
  until_said("one.toy: text 4 is in use; tried: examples 0, recorded requests 4");
  stop();
}

/* ---- another service --------------------------------------------------------------------------------------------- */

static void other_files(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *next = read_service("two.toy");
  (void)state;
  starts();
  assert_int_equal(llmd_agent_reload(agent, next, &err), LLMD_E_IO);
  write_file("two.toy", right);
  assert_int_equal(llmd_agent_reload(agent, next, &err), 0);
  assert_int_equal(number_of("two.toy", right), 1);
  write_file("one.toy", other); /* nobody looks at it any more */
  write_file("two.toy", other);
  until_number("two.toy", 2);
  assert_int_equal(number_of("one.toy", right), 1);
  stop();
}

/* A text that was refused is tried once more when somebody asks. */
static void asked_again(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  char *at;
  (void)state;
  starts();
  write_file("one.toy", "nonsense\n");
  until_said("one.toy:1:1: not a line");
  at = strstr(said, "one.toy:1:1");
  assert_non_null(at);
  *at = 'O';
  for (int i = 0; i < 40; i++)
    (void)uv_run(&loop, UV_RUN_ONCE);
  assert_null(strstr(said, "one.toy:1:1"));
  assert_int_equal(llmd_agent_reload(agent, read_service("one.toy"), &err), 0);
  until_said("one.toy:1:1: not a line");
  stop();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(changes, begin, end),
    cmocka_unit_test_setup_teardown(refused, begin, end),
    cmocka_unit_test_setup_teardown(starts_again, begin, end),
    cmocka_unit_test_setup_teardown(nothing_to_start_with, begin, end),
    cmocka_unit_test_setup_teardown(tried_on_records, begin, end),
    cmocka_unit_test_setup_teardown(refuses_everybody, begin, end),
    cmocka_unit_test_setup_teardown(other_files, begin, end),
    cmocka_unit_test_setup_teardown(asked_again, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
