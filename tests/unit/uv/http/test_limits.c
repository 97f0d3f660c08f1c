/* Clients that are slow, too many or gone; draining and closing. */
#include "rig.h"
#include "messages.h"

#include <sys/resource.h>

static const char later[] = "GET /later HTTP/1.1\r\n" HOST "\r\n";
static const char hello[] = "GET /hello HTTP/1.1\r\n" HOST "\r\n";

static void test_slow_head(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .head_ms = 50 };
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  must_say(&r, fd, "GET /", 5, "HTTP/1.1 408 Request Timeout\r\n");
  assert_int_equal(r.status, 408);
  assert_string_equal(r.why, "the head came too slowly");
  (void)close(fd);
  rig_close(&r);
}

static void test_silent_body(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .body_ms = 50 };
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  must_say(&r, fd, POST HOST "Content-Length: 5\r\n\r\nab", strlen(POST HOST "Content-Length: 5\r\n\r\nab"),
           "HTTP/1.1 408 ");
  assert_string_equal(r.why, "no more of the body came");
  assert_int_equal(r.gone, 1); /* on_head had shown it */
  assert_int_equal(stats_of(&r).body_bytes, 0);
  (void)close(fd);
  rig_close(&r);
}

/* Never silent for long, and never done. */
static void test_dripping_body(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .body_ms = 2000, .body_rate = 100000 };
  heard h = { 0 };
  uint64_t stop = deadline();
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  say(&r, fd, POST HOST "Content-Length: 100000\r\n\r\n");
  while (r.refusals == 0 && uv_hrtime() < stop)
    say(&r, fd, "x");
  hear_end(&r, fd, &h);
  assert_int_equal(strncmp(h.text, "HTTP/1.1 408 ", 13), 0);
  assert_string_equal(r.why, "the body came too slowly");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_idle(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .idle_ms = 1000 };
  (void)state;
  rig_open(&r, &o);
  int never = rig_connect(&r), once = rig_connect(&r), busy = rig_connect(&r);
  say(&r, busy, later);
  must_say(&r, once, hello, sizeof hello - 1, "HTTP/1.1 200 OK\r\n");
  must_say(&r, never, "", 0, "");
  assert_int_equal(r.refusals, 0);
  assert_int_equal(stats_of(&r).connections, 1); /* an answer that is awaited is not idleness */
  assert_non_null(r.waiting);
  (void)close(never);
  (void)close(once);
  (void)close(busy);
  WAIT(&r, r.gone == 1);
  rig_close(&r);
}

static void test_slow_reader(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .write_ms = 50 };
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  say(&r, fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
  WAIT(&r, r.gone == 1);
  assert_int_equal(r.refusals, 1);
  assert_int_equal(r.status, 0);
  assert_int_equal(stats_of(&r).connections, 0);
  (void)close(fd);
  rig_close(&r);
}

static void reset(int fd)
{
  struct linger at_once = { 1, 0 };
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  (void)close(fd);
}

/* Gone while its answer is awaited: closed, reset, sending side ended, with and without another request behind. */
static void test_client_leaves(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, NULL);
  for (uint32_t i = 0; i < 6; i++) {
    int fd = rig_connect(&r);
    say(&r, fd, later);
    WAIT(&r, r.waiting != NULL);
    if (i >= 3) {
      say(&r, fd, hello);
      for (int k = 0; k < 20; k++)
        turn(&r, -1, 0);
    }
    if (i % 3 == 0)
      (void)close(fd);
    else if (i % 3 == 1)
      reset(fd);
    else
      assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT(&r, r.gone == i + 1);
    assert_null(r.waiting);
    if (i % 3 == 2)
      (void)close(fd);
  }
  assert_int_equal(stats_of(&r).calls, 0);
  WAIT(&r, stats_of(&r).connections == 0);
  rig_close(&r);
}

/* A write finds out first: it says so, and on_gone comes from the loop. */
static void test_write_to_nobody(void **state)
{
  static char block[65536];
  llmd_str piece = { block, sizeof block };
  rig r;
  int rc = 0;
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, later);
  WAIT(&r, r.waiting != NULL);
  assert_int_equal(llmd_http_begin(r.waiting, 200, NULL, 0, -1), 0);
  reset(fd);
  for (int i = 0; i < 100 && rc >= 0; i++) /* the loop does not turn meanwhile */
    rc = llmd_http_write(r.waiting, &piece, 1);
  assert_int_equal(rc, LLMD_E_CLOSED);
  assert_int_equal(r.gone, 0);
  assert_int_equal(llmd_http_write(r.waiting, &piece, 1), LLMD_E_CLOSED);
  WAIT(&r, r.gone == 1);
  fd = rig_connect(&r);
  say(&r, fd, later);
  WAIT(&r, r.waiting != NULL);
  reset(fd);
  assert_int_equal(llmd_http_reply(r.waiting, 200, NULL, NULL, 0, "x", 1), LLMD_E_CLOSED);
  WAIT(&r, stats_of(&r).connections == 0);
  assert_int_equal(r.gone, 1); /* the call had ended with the reply */
  rig_close(&r);
}

static void test_max_connections(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .max_connections = 1 };
  (void)state;
  rig_open(&r, &o);
  int first = rig_connect(&r);
  WAIT(&r, stats_of(&r).connections == 1);
  int second = rig_connect(&r);
  must_say(&r, second, "", 0, "HTTP/1.1 503 Service Unavailable\r\n");
  assert_int_equal(r.status, 503);
  (void)close(first);
  WAIT(&r, stats_of(&r).connections == 0);
  int third = rig_connect(&r);
  must_say(&r, third, "GET / HTTP/1.0\r\n\r\n", 18, "HTTP/1.1 200");
  (void)close(second);
  (void)close(third);
  rig_close(&r);
}

static void test_max_calls(void **state)
{
  rig r;
  heard h = { 0 };
  llmd_http_options o = { .size = sizeof o, .max_calls = 2 };
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  for (int i = 0; i < 3; i++)
    say(&r, fd, hello);
  hear_end(&r, fd, &h);
  assert_int_equal(r.requests, 2);
  assert_non_null(strstr(strstr(h.text, "/hello"), "Connection: close\r\n"));
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_max_bodies(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .max_bodies = 8192 };
  static const char some[] = "PUT /later HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n";
  (void)state;
  rig_open(&r, &o);
  int first = rig_connect(&r), second = rig_connect(&r);
  say(&r, first, some);
  WAIT(&r, stats_of(&r).body_bytes == 8192);
  must_say(&r, second, some, sizeof some - 1, "HTTP/1.1 503 ");
  (void)close(second);
  (void)close(first);
  WAIT(&r, stats_of(&r).body_bytes == 0);
  int third = rig_connect(&r);
  say(&r, third, some);
  WAIT(&r, stats_of(&r).body_bytes == 8192);
  char body[5000];
  memset(body, 'x', sizeof body);
  give(&r, third, body, sizeof body);
  WAIT(&r, r.waiting != NULL);
  llmd_http_drop_body(r.waiting);
  assert_int_equal(stats_of(&r).body_bytes, 0);
  assert_int_equal(llmd_http_request_of(r.waiting)->body.len, 0);
  (void)close(third);
  rig_close(&r);
}

/* No descriptor is left: the server waits without turning in circles, and goes on when there is one. */
static void test_no_descriptors(void **state)
{
  rig r;
  struct rlimit had, none;
  llmd_http_options o = { .size = sizeof o, .idle_ms = 4000 }; /* looks again every second */
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
  none = had;
  none.rlim_cur = 0;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  uint64_t stop = uv_hrtime() + 300000000u;
  uint32_t turns = 0;
  while (uv_hrtime() < stop) { /* blocks while there is nothing to do */
    (void)uv_run(&r.loop, UV_RUN_ONCE);
    turns++;
  }
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
  assert_true(turns < 20);
  must_say(&r, fd, "GET / HTTP/1.0\r\n\r\n", 18, "HTTP/1.1 200");
  (void)close(fd);
  rig_close(&r);
}

static void test_drain(void **state)
{
  rig r;
  heard h = { 0 }, half = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int idle = rig_connect(&r), busy = rig_connect(&r), begun = rig_connect(&r);
  say(&r, busy, later);
  WAIT(&r, r.waiting != NULL);
  say(&r, begun, "GET /x HTTP/1.1\r\n");
  WAIT(&r, stats_of(&r).connections == 3 && stats_of(&r).bytes_in == sizeof later - 1 + 17);
  uint32_t port = llmd_http_port(r.server);
  llmd_http_drain(r.server, rig_done, &r);
  must_say(&r, idle, "", 0, "");
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                           .sin_addr = { htonl(INADDR_LOOPBACK) } };
  int late = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(late, (struct sockaddr *)&a, sizeof a), -1);
  say(&r, begun, HOST "\r\n");
  hear_end(&r, begun, &half);
  assert_non_null(strstr(half.text, "Connection: close\r\n"));
  assert_int_equal(r.done, 0);
  assert_int_equal(llmd_http_reply(r.waiting, 200, NULL, NULL, 0, "bye", 3), 0);
  hear_end(&r, busy, &h);
  assert_non_null(strstr(h.text, "Connection: close\r\n"));
  assert_non_null(strstr(h.text, "\r\n\r\nbye"));
  WAIT(&r, r.done == 1);
  (void)close(idle);
  (void)close(busy);
  (void)close(begun);
  (void)close(late);
  free(h.text);
  free(half.text);
  rig_close(&r);
}

static void test_drain_of_nobody(void **state)
{
  rig r;
  (void)state;
  rig_open(&r, NULL);
  llmd_http_drain(r.server, rig_done, &r);
  assert_int_equal(r.done, 0); /* it comes from the loop */
  WAIT(&r, r.done == 1);
  rig_close(&r);
}

static void test_close(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int busy = rig_connect(&r), idle = rig_connect(&r), flood = rig_connect(&r);
  say(&r, busy, later);
  say(&r, flood, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
  WAIT(&r, r.waiting != NULL && r.requests == 2);
  llmd_http_close(r.server, rig_done, &r);
  assert_int_equal(r.gone, 2);
  WAIT(&r, r.done == 1);
  assert_int_equal(uv_run(&r.loop, UV_RUN_NOWAIT), 0);
  assert_int_equal(uv_loop_close(&r.loop), 0);
  ssize_t n = recv(busy, &h, 1, 0);
  assert_true(n < 0 && errno == ECONNRESET);
  (void)close(busy);
  (void)close(idle);
  (void)close(flood);
  llmd_http_close(NULL, rig_done, &r);
  assert_int_equal(r.done, 2);
}

/* A descriptor that listens already, as a worker gets it from its supervisor. */
static void test_given_descriptor(void **state)
{
  rig r;
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
  socklen_t len = sizeof a;
  int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)state;
  assert_int_equal(bind(listening, (struct sockaddr *)&a, sizeof a), 0);
  assert_int_equal(listen(listening, 8), 0);
  assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &len), 0);
  rig_open_at(&r, NULL, NULL, listening);
  assert_int_equal(llmd_http_port(r.server), ntohs(a.sin_port));
  int fd = rig_connect(&r);
  must_say(&r, fd, "GET / HTTP/1.0\r\n\r\n", 18, "HTTP/1.1 200");
  (void)close(fd);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_slow_head), cmocka_unit_test(test_silent_body), cmocka_unit_test(test_dripping_body),
    cmocka_unit_test(test_idle), cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_client_leaves),
    cmocka_unit_test(test_write_to_nobody), cmocka_unit_test(test_max_connections), cmocka_unit_test(test_max_calls),
    cmocka_unit_test(test_max_bodies), cmocka_unit_test(test_no_descriptors), cmocka_unit_test(test_drain),
    cmocka_unit_test(test_drain_of_nobody), cmocka_unit_test(test_close), cmocka_unit_test(test_given_descriptor) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
