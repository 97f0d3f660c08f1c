/* What a client sees of the server, over real sockets. */
#include "rig.h"
#include "messages.h"

#include <sys/un.h>

#define HEAD_OF(path) "GET " path " HTTP/1.1\r\n" HOST

static void test_keep_alive(void **state)
{
  rig r;
  heard h = { 0 };
  struct sockaddr_in a;
  socklen_t len = sizeof a;
  char name[64];
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, HEAD_OF("/one") "\r\n");
  size_t at = hear(&r, fd, &h, 0, "\r\n\r\n/one");
  say(&r, fd, HEAD_OF("/two") "\r\n");
  hear(&r, fd, &h, at, "\r\n\r\n/two");
  assert_non_null(strstr(h.text, "HTTP/1.1 200 OK\r\nDate: "));
  assert_non_null(strstr(h.text, "\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\n"));
  assert_null(strstr(h.text, "Connection"));
  llmd_http_stats s = stats_of(&r);
  assert_int_equal(s.requests, 2);
  assert_int_equal(s.accepted, 1);
  assert_int_equal(s.connections, 1);
  assert_int_equal(s.calls, 0);
  assert_int_equal(s.bytes_out, h.len);
  assert_int_equal(r.number, 2);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
  (void)snprintf(name, sizeof name, "127.0.0.1:%u", ntohs(a.sin_port));
  assert_string_equal(r.client, name);
  (void)close(fd);
  WAIT(&r, stats_of(&r).connections == 0);
  free(h.text);
  rig_close(&r);
}

/* Answers come in the order of the requests, though the middle one takes its time and the last has come long ago. */
static void test_pipelining(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, HEAD_OF("/one") "\r\n" HEAD_OF("/later") "\r\n" HEAD_OF("/three") "\r\n" HEAD_OF("/four"));
  WAIT(&r, r.waiting != NULL);
  say(&r, fd, "\r\n"); /* the end of the fourth head waits in the socket */
  (void)hear(&r, fd, &h, 0, "/one");
  for (int i = 0; i < 50; i++)
    turn(&r, -1, 0);
  assert_int_equal(r.requests, 2);
  assert_int_equal(llmd_http_reply(r.waiting, 200, NULL, NULL, 0, "two", 3), 0);
  (void)hear(&r, fd, &h, hear(&r, fd, &h, hear(&r, fd, &h, 0, "\r\n\r\ntwo"), "\r\n\r\n/three"), "\r\n\r\n/four");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_pipelining_deep(void **state)
{
  enum { MANY = 3000 };
  rig r;
  heard h = { 0 };
  char *text = malloc(MANY * 64);
  size_t len = 0, at = 0;
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  for (int i = 0; i < MANY; i++)
    len += (size_t)sprintf(text + len, i % 2 == 0 ? HEAD_OF("/%d") "\r\n" : "PUT /%d HTTP/1.1\r\nHost: a\r\n"
                           "Content-Length: 3\r\n\r\nabc", i);
  give(&r, fd, text, len);
  for (int i = 0; i < MANY; i++) {
    char want[32];
    (void)snprintf(want, sizeof want, i % 2 == 0 ? "\r\n\r\n/%d" : "\r\n\r\nabc", i);
    at = hear(&r, fd, &h, at, want);
  }
  assert_int_equal(r.requests, MANY);
  assert_int_equal(h.len, at);
  (void)close(fd);
  free(h.text);
  free(text);
  rig_close(&r);
}

static void test_expect_continue(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, POST HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  size_t at = hear(&r, fd, &h, 0, "HTTP/1.1 100 Continue\r\n\r\n");
  assert_int_equal(at, h.len);
  say(&r, fd, "12345");
  at = hear(&r, fd, &h, at, "\r\n\r\n12345");
  /* Whose body has come already needs no leave. */
  say(&r, fd, POST HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n67890");
  assert_int_equal(hear(&r, fd, &h, at, "HTTP/1.1 200"), at + 12);
  (void)hear(&r, fd, &h, at, "67890");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_chunked(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, "GET /chunks HTTP/1.1\r\n" HOST TE "\r\n3\r\nabc\r\n");
  say(&r, fd, "2\r\nde\r\n0\r\nTrailer: x\r\n\r\n");
  size_t at = hear(&r, fd, &h, 0, "\r\nTransfer-Encoding: chunked\r\n\r\n");
  assert_int_equal(hear(&r, fd, &h, at, "5\r\nhello\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"), at + 35);
  say(&r, fd, POST HOST TE "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  at = hear(&r, fd, &h, at + 35, "\r\nContent-Length: 5\r\n");
  (void)hear(&r, fd, &h, at, "\r\n\r\nabcde");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void send_large(rig *r, int fd, const char *body, size_t len, int chunked)
{
  char head[256];
  if (!chunked) {
    (void)snprintf(head, sizeof head, POST HOST "Content-Length: %zu\r\n\r\n", len);
    say(r, fd, head);
    give(r, fd, body, len);
    return;
  }
  say(r, fd, POST HOST TE "\r\n");
  for (size_t at = 0; at < len;) {
    size_t n = len - at < 99999 ? len - at : 99999;
    (void)snprintf(head, sizeof head, "%zx\r\n", n);
    say(r, fd, head);
    give(r, fd, body + at, n);
    say(r, fd, "\r\n");
    at += n;
  }
  say(r, fd, "0\r\n\r\n");
}

/* Through every size that memory comes in, and back while the client is slow. */
static void test_large_bodies(void **state)
{
  static const size_t sizes[] = { 1, 4095, 4096, 65535, 65536, 65537, 220000, 524288, 524289, 3000000 };
  rig r;
  char *body = malloc(3000000);
  (void)state;
  for (uint32_t i = 0, x = 1; i < 3000000; i++, x = x * 1664525u + 1013904223u)
    body[i] = (char)(x >> 24);
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
    heard h = { 0 };
    size_t len = sizes[i / 2];
    send_large(&r, fd, body, len, i % 2 != 0);
    size_t at = hear(&r, fd, &h, 0, "\r\n\r\n");
    uint64_t stop = deadline();
    while (h.len < at + len && !h.ended && uv_hrtime() < stop)
      (void)hear_some(&r, fd, &h);
    assert_int_equal(h.len, at + len);
    assert_memory_equal(h.text + at, body, len);
    free(h.text);
  }
  assert_int_equal(stats_of(&r).body_bytes, 0);
  (void)close(fd);
  free(body);
  rig_close(&r);
}

static void test_back_pressure(void **state)
{
  rig r;
  heard h = { 0 };
  llmd_http_options o = { .size = sizeof o, .max_pending = 100000 };
  (void)state;
  rig_open(&r, &o);
  int fd = rig_connect(&r);
  say(&r, fd, "GET /flood HTTP/1.0\r\n\r\n");
  WAIT(&r, r.requests == 1);
  for (int i = 0; i < 50; i++)
    turn(&r, -1, 0);
  assert_int_equal(r.rc, 1); /* told to wait, and waits */
  assert_true(r.flooded < FLOOD);
  assert_int_equal(r.drains, 0);
  hear_end(&r, fd, &h);
  assert_true(r.drains > 0);
  assert_int_equal(r.rc, 0);
  assert_int_equal(h.ended, 1);
  assert_int_equal((size_t)(h.text + h.len - (strstr(h.text, "\r\n\r\n") + 4)), FLOOD);
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_http_10(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  size_t at = hear(&r, fd, &h, 0, "/x");
  assert_non_null(strstr(h.text, "\r\nConnection: keep-alive\r\n"));
  say(&r, fd, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  at = hear(&r, fd, &h, at, "\r\nConnection: close\r\n\r\n");
  hear_end(&r, fd, &h);
  assert_string_equal(h.text + at, "hellohellohello");
  (void)close(fd);
  fd = rig_connect(&r);
  h.len = 0;
  h.ended = 0;
  say(&r, fd, "GET /x HTTP/1.0\r\n\r\n");
  hear_end(&r, fd, &h);
  assert_int_equal(h.ended, 1);
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_head_has_no_body(void **state)
{
  rig r;
  heard h = { 0 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, "HEAD /chunks HTTP/1.1\r\n" HOST "\r\n" "HEAD /abcd HTTP/1.1\r\n" HOST "\r\n" HEAD_OF("/x") "\r\n");
  size_t at = hear(&r, fd, &h, 0, "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200");
  at = hear(&r, fd, &h, at, "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nHTTP/1.1 200");
  (void)hear(&r, fd, &h, at, "\r\n\r\n/x");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

/* The client must see that an answer is not whole. */
static void test_broken_answers(void **state)
{
  static const char *const asks[] = { HEAD_OF("/abort") "\r\n", HEAD_OF("/short") "\r\n" };
  rig r;
  (void)state;
  rig_open(&r, NULL);
  for (int i = 0; i < 2; i++) {
    heard h = { 0 };
    int fd = rig_connect(&r);
    say(&r, fd, asks[i]);
    hear_end(&r, fd, &h);
    assert_int_equal(h.ended, 2);
    (void)close(fd);
    free(h.text);
  }
  assert_int_equal(r.gone, 0);
  assert_int_equal(stats_of(&r).calls, 0);
  rig_close(&r);
}

static void test_refused_by_head(void **state)
{
  rig r;
  heard h = { 0 };
  static char body[300000];
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, HEAD_OF("/denied") "\r\n" HEAD_OF("/x") "\r\n"); /* no body: the connection lives on */
  (void)hear(&r, fd, &h, hear(&r, fd, &h, 0, "HTTP/1.1 403"), "\r\n\r\n/x");
  assert_int_equal(r.heads, 2);
  assert_int_equal(r.requests, 1);
  say(&r, fd, "PUT /denied HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
  give(&r, fd, body, sizeof body); /* sent to the end, and the answer is seen all the same */
  hear_end(&r, fd, &h);
  assert_non_null(strstr(h.text, "/xHTTP/1.1 403 Forbidden\r\n"));
  assert_non_null(strstr(h.text, "Connection: close\r\n"));
  assert_int_equal(r.requests, 1);
  (void)close(fd);
  /* Answered while the body is still coming. */
  fd = rig_connect(&r);
  say(&r, fd, "PUT /early HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\nabc");
  WAIT(&r, r.waiting != NULL);
  assert_int_equal(llmd_http_reply(r.waiting, 429, NULL, NULL, 0, "later", 5), 0);
  h.len = 0;
  h.ended = 0;
  hear_end(&r, fd, &h);
  assert_int_equal(strncmp(h.text, "HTTP/1.1 429", 12), 0);
  assert_int_equal(r.requests, 1);
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

static void test_order_of_calls(void **state)
{
  rig r;
  heard h = { 0 };
  llmd_http_header bad[] = { { { "A", 1 }, { "b\r\nC: d", 7 } }, { { "A:", 2 }, { "b", 1 } }, { { "", 0 }, { "b", 1 } },
                             { { "A", 1 }, { "b\0", 2 } }, { { "A\n", 2 }, { "b", 1 } } };
  llmd_http_header ours[] = { { { "content-length", 14 }, { "7", 1 } }, { { "Connection", 10 }, { "upgrade", 7 } },
                              { { "Transfer-Encoding", 17 }, { "x", 1 } }, { { "DATE", 4 }, { "x", 1 } },
                              { { "X-Mine", 6 }, { "yes", 3 } } };
  llmd_str value, piece = { "0123456789", 10 };
  (void)state;
  rig_open(&r, NULL);
  int fd = rig_connect(&r);
  say(&r, fd, "GET /later HTTP/1.1\r\nhOsT: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n");
  WAIT(&r, r.waiting != NULL);
  llmd_http_call *call = r.waiting;
  assert_int_equal(llmd_http_header_of(call, "X-TWO", &value), 0);
  assert_memory_equal(value.ptr, "1", 1);
  assert_int_equal(llmd_http_header_of(call, "X-Three", &value), LLMD_E_NONE);
  llmd_http_set_data(call, &r);
  assert_ptr_equal(llmd_http_data(call), &r);
  assert_int_equal(llmd_http_write(call, &piece, 1), LLMD_E_STATE);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(llmd_http_begin(call, 200, &bad[i], 1, -1), LLMD_E_INVALID);
  assert_int_equal(llmd_http_begin(call, 101, NULL, 0, -1), LLMD_E_INVALID);
  assert_int_equal(llmd_http_begin(call, 200, ours, 5, 15), 0);
  assert_int_equal(llmd_http_begin(call, 200, NULL, 0, 15), LLMD_E_STATE);
  uint64_t head = llmd_http_sent(call);
  assert_true(head > 0);
  assert_int_equal(llmd_http_write(call, &piece, 1), 0);
  assert_int_equal(llmd_http_sent(call), head + 10);
  assert_int_equal(llmd_http_write(call, &piece, 1), LLMD_E_RANGE);
  assert_int_equal(llmd_http_end(call, &piece_hello, 1), 0);
  (void)hear(&r, fd, &h, 0, "\r\nContent-Length: 15\r\nX-Mine: yes\r\n\r\n0123456789hello");
  (void)close(fd);
  free(h.text);
  rig_close(&r);
}

/* What the reader refuses is answered with its status, on every connection anew, and the server lives. */
static void test_refusals(void **state)
{
  rig r;
  llmd_http_options o = { .size = sizeof o, .max_head = 600, .max_headers = 8, .max_body = 100000 };
  uint32_t n = sizeof bad_requests / sizeof *bad_requests;
  (void)state;
  rig_open(&r, &o);
  for (uint32_t i = 0; i < n; i++) {
    char answer[32];
    int fd = rig_connect(&r);
    (void)snprintf(answer, sizeof answer, "HTTP/1.1 %u ", bad_requests[i].status);
    must_say(&r, fd, bad_requests[i].text, bad_requests[i].len, answer);
    assert_int_equal(r.status, bad_requests[i].status);
    assert_int_equal(strncmp(r.why, bad_requests[i].why, strlen(bad_requests[i].why)), 0);
    (void)close(fd);
  }
  assert_int_equal(r.requests, 0);
  assert_int_equal(r.refusals, n);
  WAIT(&r, stats_of(&r).connections == 0);
  rig_close(&r);
}

static void test_unix_socket(void **state)
{
  rig r;
  char folder[] = "/tmp/llmd-http-XXXXXX", path[64], address[80];
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  (void)state;
  assert_non_null(mkdtemp(folder));
  (void)snprintf(path, sizeof path, "%s/s", folder);
  (void)snprintf(address, sizeof address, "unix:%s", path);
  memcpy(a.sun_path, path, strlen(path) + 1);
  rig_open_at(&r, NULL, address, -1);
  assert_int_equal(llmd_http_port(r.server), 0);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
  must_say(&r, fd, "GET /x HTTP/1.0\r\n\r\n", 19, "HTTP/1.1 200");
  assert_string_equal(r.client, "unix:");
  (void)close(fd);
  rig_close(&r);
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(rmdir(folder), 0);
}

static void test_listen_fails(void **state)
{
  static const char *const bad[] = { "", "x", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "host:80", "[::1]",
                                     "[::1:80", "::1:80", "[127.0.0.1]:80", "unix:", "127.0.0.1:-1" };
  rig r;
  uv_loop_t loop;
  llmd_http_server *s = NULL;
  llmd_http_handler h = { .size = sizeof h, .on_request = rig_on_request };
  char taken[32];
  (void)state;
  rig_open(&r, NULL);
  assert_int_equal(uv_loop_init(&loop), 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    llmd_err err = LLMD_ERR_INIT;
    assert_int_equal(llmd_http_listen(&loop, bad[i], -1, &h, NULL, &s, &err), LLMD_E_INVALID);
    assert_int_equal(err.code, LLMD_E_INVALID);
  }
  (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", llmd_http_port(r.server));
  assert_int_equal(llmd_http_listen(&loop, taken, -1, &h, NULL, &s, NULL), LLMD_E_BUSY);
  assert_null(s);
  assert_int_equal(uv_loop_close(&loop), 0);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_keep_alive), cmocka_unit_test(test_pipelining), cmocka_unit_test(test_pipelining_deep),
    cmocka_unit_test(test_expect_continue), cmocka_unit_test(test_chunked), cmocka_unit_test(test_large_bodies),
    cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_http_10), cmocka_unit_test(test_head_has_no_body),
    cmocka_unit_test(test_broken_answers), cmocka_unit_test(test_refused_by_head), cmocka_unit_test(test_order_of_calls),
    cmocka_unit_test(test_refusals), cmocka_unit_test(test_unix_socket), cmocka_unit_test(test_listen_fails) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
