/* The control plane's HTTP client against engines that behave and engines that do not. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <llmd/error.h>

#include "engine.h"
#include "uv/fetch/fetch.h"

typedef struct rig {
  uv_loop_t loop;
  engine e;
  llmd__fetch *f;
  unsigned answers, want;
  int rc;
  unsigned status;
  char body[512];
  size_t len;
  int closed;
} rig;

static void on_answer(void *ud, const llmd__fetch_answer *a)
{
  rig *r = ud;
  r->answers++;
  r->rc = a->rc;
  r->status = a->status;
  if (a->rc) {
    assert_non_null(a->text);
    return;
  }
  assert_non_null(a->body);
  assert_int_equal(a->body[a->len], 0);
  r->len = a->len;
  snprintf(r->body, sizeof r->body, "%s", a->body);
}

static void open_rig(rig *r, engine_fn fn)
{
  const llmd__fetch_options o = {.max_bytes = 100000, .total_ms = 20000, .connect_ms = 5000};
  memset(r, 0, sizeof *r);
  assert_int_equal(uv_loop_init(&r->loop), 0);
  engine_start(&r->e, &r->loop, fn, r);
  assert_int_equal(llmd__fetch_open(&r->loop, &o, &r->f), 0);
}

static void on_closed(void *ud)
{
  ((rig *)ud)->closed = 1;
}

static void close_rig(rig *r)
{
  if (!r->closed)
    llmd__fetch_close(r->f, on_closed, r);
  engine_stop(&r->e);
  engine_loop_end(&r->loop);
  assert_int_equal(r->closed, 1);
}

static llmd__fetch_request request(rig *r, const char *path)
{
  return (llmd__fetch_request){.address = "127.0.0.1", .port = r->e.port, .path = path, .fn = on_answer, .ud = r};
}

static int enough(void *ud)
{
  const rig *r = ud;
  return r->answers >= r->want;
}

static void ask(rig *r, const llmd__fetch_request *q)
{
  const uint32_t others = llmd__fetch_count(r->f);
  r->want = r->answers + 1;
  assert_int_equal(llmd__fetch_go(r->f, q, NULL), 0);
  engine_until(&r->loop, enough, r, "an answer");
  assert_int_equal(r->answers, r->want);
  assert_int_equal(llmd__fetch_count(r->f), others);
}

static void get(rig *r)
{
  const llmd__fetch_request q = request(r, "/metrics");
  ask(r, &q);
}

#define OK "HTTP/1.1 200 OK\r\nServer: x\r\n"

static void well(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_answer(c, OK, "hello\n", 6);
}

/* ---- engines that behave ----------------------------------------------------------------------------------------- */

static void connections_are_kept(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, well);
  for (int i = 0; i < 8; i++) {
    get(&r);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello\n");
  }
  assert_int_equal(r.e.connections, 1);
  assert_non_null(strstr(r.e.last, "GET /metrics HTTP/1.1\r\n"));
  assert_null(strstr(r.e.last, "Cookie"));
  assert_null(strstr(r.e.last, "Accept-Encoding"));
  close_rig(&r);
}

static void answer_and_close(caller *c, const char *request_text, size_t len)
{
  well(c, request_text, len);
  caller_hang_up(c);
}

static int nobody_is_connected(void *ud)
{
  return ((rig *)ud)->e.open == 0;
}

static void a_kept_connection_may_have_gone(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, well);
  get(&r);
  while (r.e.callers)
    caller_hang_up(r.e.callers);
  engine_until(&r.loop, nobody_is_connected, &r, "the connection goes");
  get(&r);
  assert_int_equal(r.rc, 0);
  assert_int_equal(r.e.connections, 2);
  close_rig(&r);
}

static void a_post_carries_its_body(void **state)
{
  rig r;
  char body[3000];
  llmd__fetch_request q;
  (void)state;
  open_rig(&r, well);
  memset(body, 'b', sizeof body);
  q = request(&r, "/v1/completions/render?x=1");
  q.body = body;
  q.len = sizeof body;
  ask(&r, &q);
  assert_int_equal(r.rc, 0);
  assert_non_null(strstr(r.e.last, "POST /v1/completions/render?x=1 HTTP/1.1\r\n"));
  assert_non_null(strstr(r.e.last, "Content-Type: application/json\r\n"));
  assert_non_null(strstr(r.e.last, "Content-Length: 3000\r\n"));
  assert_null(strstr(r.e.last, "Expect"));
  assert_int_equal(strlen(strstr(r.e.last, "\r\n\r\n") + 4), 3000);
  get(&r); /* the same handle asks for something else now */
  assert_int_equal(r.rc, 0);
  assert_non_null(strstr(r.e.last, "GET /metrics HTTP/1.1\r\n"));
  assert_null(strstr(r.e.last, "Content-Type"));
  close_rig(&r);
}

static void chunked(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
}

static void chunks_are_put_together(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, chunked);
  get(&r);
  assert_int_equal(r.rc, 0);
  assert_string_equal(r.body, "abcde");
  close_rig(&r);
}

static void many_at_once(void **state)
{
  rig r;
  llmd__fetch_request q;
  (void)state;
  open_rig(&r, well);
  q = request(&r, "/");
  r.want = 300;
  for (int i = 0; i < 300; i++)
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), 0);
  assert_int_equal(r.answers, 0); /* never from within */
  assert_int_equal(llmd__fetch_count(r.f), 300);
  engine_until(&r.loop, enough, &r, "300 answers");
  assert_int_equal(r.rc, 0);
  assert_int_equal(r.e.requests, 300);
  close_rig(&r);
}

static void elsewhere(caller *c, const char *request_text, size_t len)
{
  char head[200];
  (void)request_text;
  (void)len;
  snprintf(head, sizeof head, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/other\r\nSet-Cookie: a=b\r\n",
           caller_engine(c)->port);
  caller_answer(c, head, "", 0);
}

static void nothing_is_followed_or_remembered(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, elsewhere);
  get(&r);
  assert_int_equal(r.rc, 0);
  assert_int_equal(r.status, 302);
  get(&r);
  assert_int_equal(r.e.requests, 2);
  assert_null(strstr(r.e.last, "Cookie"));
  close_rig(&r);
}

static void the_environment_does_not_matter(void **state)
{
  rig r;
  (void)state;
  setenv("http_proxy", "http://127.0.0.1:1/", 1);
  setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
  open_rig(&r, well);
  get(&r);
  assert_int_equal(r.rc, 0);
  close_rig(&r);
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
}

/* ---- engines that do not ----------------------------------------------------------------------------------------- */

static char junk[4096];

static void endless(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "\r\n");
  caller_drip(c, junk, sizeof junk, 1);
}

static void announces_much(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Content-Length: 10485760\r\n\r\n");
}

static void announces_nonsense(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Content-Length: 5x\r\n\r\nhello");
}

static void endless_chunks(caller *c, const char *request_text, size_t len)
{
  static const char chunk[] = "400\r\n";
  static char bytes[sizeof chunk - 1 + 1024 + 2];
  (void)request_text;
  (void)len;
  memcpy(bytes, chunk, sizeof chunk - 1);
  memset(bytes + sizeof chunk - 1, 'x', 1024);
  memcpy(bytes + sizeof bytes - 2, "\r\n", 2);
  caller_text(c, OK "Transfer-Encoding: chunked\r\n\r\n");
  caller_drip(c, bytes, sizeof bytes, 1);
}

static void head_flood(caller *c, const char *request_text, size_t len)
{
  static const char line[] = "X-Flood: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
  (void)request_text;
  (void)len;
  caller_text(c, OK);
  caller_drip(c, line, sizeof line - 1, 1);
}

static void endless_continue(caller *c, const char *request_text, size_t len)
{
  static const char line[] = "HTTP/1.1 100 Continue\r\nX: 01234567890123456789012345678901234567890123456789\r\n\r\n";
  (void)request_text;
  (void)len;
  caller_drip(c, line, sizeof line - 1, 1);
}

static void drips(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Content-Length: 5000\r\n\r\n");
  caller_drip(c, "x", 1, 10);
}

static void says_nothing(caller *c, const char *request_text, size_t len)
{
  (void)c;
  (void)request_text;
  (void)len;
}

static void vanishes(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Content-Length: 5000\r\n\r\nhello");
  caller_hang_up(c);
}

static void vanishes_in_a_chunk(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  caller_hang_up(c);
}

static void vanishes_at_once(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_hang_up(c);
}

static void resets(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_reset(c);
}

static void zipped(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_answer(c, OK "content-encoding: gzip\r\n", "\x1f\x8b\x08", 3);
}

static void zipped_in_transfer(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, OK "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
}

static void not_http(caller *c, const char *request_text, size_t len)
{
  (void)request_text;
  (void)len;
  caller_text(c, "220 mail.example.com ESMTP\r\n\r\n");
  caller_hang_up(c);
}

static void each_is_refused(void **state)
{
  static const struct {
    const char *name;
    engine_fn fn;
    int rc;
    unsigned total_ms; /* 0 = as ever: it must not be time that ends it */
  } cases[] = {
      {"endless", endless, LLMD_E_LIMIT, 0},
      {"10 MiB announced", announces_much, LLMD_E_LIMIT, 0},
      {"a length that is none", announces_nonsense, LLMD_E_SYNTAX, 0},
      {"endless chunks", endless_chunks, LLMD_E_LIMIT, 0},
      {"a flood of headers", head_flood, LLMD_E_LIMIT, 0},
      {"endless 100", endless_continue, LLMD_E_LIMIT, 0},
      {"drips", drips, LLMD_E_TIMEOUT, 100},
      {"says nothing", says_nothing, LLMD_E_TIMEOUT, 100},
      {"vanishes", vanishes, LLMD_E_CLOSED, 0},
      {"vanishes in a chunk", vanishes_in_a_chunk, LLMD_E_CLOSED, 0},
      {"vanishes at once", vanishes_at_once, LLMD_E_CLOSED, 0},
      {"resets", resets, LLMD_E_CLOSED, 0},
      {"gzip", zipped, LLMD_E_UNSUPPORTED, 0},
      {"gzip in transfer", zipped_in_transfer, LLMD_E_UNSUPPORTED, 0},
      {"not HTTP", not_http, LLMD_E_SYNTAX, 0},
  };
  (void)state;
  memset(junk, 'j', sizeof junk);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rig r;
    llmd__fetch_request q;
    open_rig(&r, cases[i].fn);
    q = request(&r, "/metrics");
    q.total_ms = cases[i].total_ms;
    ask(&r, &q);
    if (r.rc != cases[i].rc)
      fail_msg("%s: %s, not %s", cases[i].name, llmd_errname(r.rc), llmd_errname(cases[i].rc));
    r.e.on_request = well; /* it has done no harm to the next one */
    get(&r);
    assert_int_equal(r.rc, 0);
    close_rig(&r);
  }
}

static void nobody_listens(void **state)
{
  rig r;
  llmd__fetch_request q;
  engine gone;
  (void)state;
  open_rig(&r, well);
  engine_start(&gone, &r.loop, well, NULL);
  engine_stop(&gone);
  q = request(&r, "/");
  q.port = gone.port;
  ask(&r, &q);
  assert_int_equal(r.rc, LLMD_E_CLOSED);
  close_rig(&r);
}

/* What was a refused one's descriptor is another one's next. */
static void refusals_and_answers_in_turns(void **state)
{
  rig r;
  llmd__fetch_request good, bad;
  engine gone, other;
  (void)state;
  open_rig(&r, well);
  engine_start(&gone, &r.loop, well, NULL);
  engine_stop(&gone);
  good = bad = request(&r, "/");
  bad.port = gone.port;
  for (int i = 0; i < 40; i++) {
    unsigned had;
    r.want = r.answers + 9;
    for (int k = 0; k < 9; k++)
      assert_int_equal(llmd__fetch_go(r.f, k % 3 ? &bad : &good, NULL), 0);
    engine_until(&r.loop, enough, &r, "nine answers");
    had = r.e.requests;
    engine_start(&other, &r.loop, well, NULL); /* takes numbers that are free now */
    ask(&r, &bad);
    assert_int_equal(r.rc, LLMD_E_CLOSED);
    ask(&r, &good);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.e.requests, had + 1);
    engine_stop(&other);
    if (i % 2 && r.e.callers)
      caller_hang_up(r.e.callers);
  }
  close_rig(&r);
}

/* A listener that accepts nobody, with room for one or two: connections to it stay half open. */
static int deaf_listener(unsigned *port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_true(fd >= 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
  assert_int_equal(listen(fd, 0), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
  *port = ntohs(a.sin_port);
  return fd;
}

/* Given up while it connects, by time, by hand and by closing: libcurl closes such a socket without telling. */
static void given_up_while_connecting(void **state)
{
  rig r;
  llmd__fetch_request q;
  uint64_t number[8];
  unsigned port;
  const int deaf = deaf_listener(&port);
  (void)state;
  open_rig(&r, well);
  q = request(&r, "/");
  q.port = port;
  q.connect_ms = 50;
  q.total_ms = 100;
  r.want = 8;
  for (int i = 0; i < 8; i++)
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), 0);
  engine_until(&r.loop, enough, &r, "all are given up");
  assert_int_equal(r.rc, LLMD_E_TIMEOUT);
  q.connect_ms = q.total_ms = 20000;
  for (int i = 0; i < 8; i++)
    assert_int_equal(llmd__fetch_go(r.f, &q, &number[i]), 0);
  engine_pass(&r.loop, 20);
  for (int i = 0; i < 4; i++)
    llmd__fetch_cancel(r.f, number[i]);
  get(&r);
  assert_int_equal(r.rc, 0);
  assert_int_equal(llmd__fetch_count(r.f), 4);
  close_rig(&r);
  assert_int_equal(close(deaf), 0);
}

static void what_is_no_address_is_not_asked(void **state)
{
  static const char *const addresses[] = {"localhost", "", "127.0.0.1:80", "127.1", "0x7f000001", "[::1]", "::1%lo",
                                          "127.0.0.1@10.0.0.1", "10.0.0.1/", NULL};
  static const char *const paths[] = {"metrics", "", "/a b", "/a\r\nX: y", "/\x01", "/a#b", NULL};
  rig r;
  (void)state;
  open_rig(&r, well);
  for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    llmd__fetch_request q = request(&r, "/");
    q.address = addresses[i];
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), LLMD_E_INVALID);
  }
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    llmd__fetch_request q = request(&r, paths[i]);
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), LLMD_E_INVALID);
  }
  for (unsigned port = 0; port <= 65536; port += 65536) {
    llmd__fetch_request q = request(&r, "/");
    q.port = port;
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), LLMD_E_INVALID);
  }
  assert_int_equal(r.e.connections, 0);
  close_rig(&r);
}

/* ---- second thoughts --------------------------------------------------------------------------------------------- */

static int it_was_asked(void *ud)
{
  return ((rig *)ud)->e.requests >= ((rig *)ud)->want;
}

static void cancelled_ones_stay_silent(void **state)
{
  rig r;
  llmd__fetch_request q;
  uint64_t a, b;
  (void)state;
  open_rig(&r, says_nothing);
  q = request(&r, "/");
  assert_int_equal(llmd__fetch_go(r.f, &q, &a), 0);
  llmd__fetch_cancel(r.f, a);
  assert_int_equal(llmd__fetch_count(r.f), 0);
  assert_int_equal(llmd__fetch_go(r.f, &q, &b), 0);
  assert_int_not_equal(a, b);
  llmd__fetch_cancel(r.f, a); /* of the past: the one that has its place now goes on */
  llmd__fetch_cancel(r.f, 0);
  assert_int_equal(llmd__fetch_count(r.f), 1);
  r.want = 1;
  engine_until(&r.loop, it_was_asked, &r, "it is asked");
  llmd__fetch_cancel(r.f, b);
  engine_until(&r.loop, nobody_is_connected, &r, "its connection goes");
  assert_int_equal(r.answers, 0);
  close_rig(&r);
}

static void close_from_within(void *ud, const llmd__fetch_answer *a)
{
  rig *r = ud;
  on_answer(ud, a);
  llmd__fetch_close(r->f, on_closed, r);
}

static int is_closed(void *ud)
{
  return ((rig *)ud)->closed;
}

static void closing_ends_everything(void **state)
{
  rig r;
  llmd__fetch_request q;
  (void)state;
  open_rig(&r, well);
  q = request(&r, "/");
  q.fn = close_from_within;
  for (int i = 0; i < 20; i++)
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), 0);
  engine_until(&r.loop, is_closed, &r, "closed");
  assert_int_equal(r.answers, 1);
  close_rig(&r);

  open_rig(&r, says_nothing);
  q = request(&r, "/");
  for (int i = 0; i < 20; i++)
    assert_int_equal(llmd__fetch_go(r.f, &q, NULL), 0);
  r.want = 20;
  engine_until(&r.loop, it_was_asked, &r, "all are asked");
  close_rig(&r);
  assert_int_equal(r.answers, 0);
  llmd__fetch_close(NULL, on_closed, &r);
}

static void again_from_within(void *ud, const llmd__fetch_answer *a)
{
  rig *r = ud;
  llmd__fetch_request q = request(r, "/again");
  on_answer(ud, a);
  q.fn = again_from_within;
  if (r->answers < r->want)
    assert_int_equal(llmd__fetch_go(r->f, &q, NULL), 0);
}

static void an_answer_may_ask_again(void **state)
{
  rig r;
  llmd__fetch_request q;
  (void)state;
  open_rig(&r, answer_and_close);
  q = request(&r, "/");
  q.fn = again_from_within;
  r.want = 50;
  assert_int_equal(llmd__fetch_go(r.f, &q, NULL), 0);
  engine_until(&r.loop, enough, &r, "50 answers");
  assert_int_equal(r.rc, 0);
  close_rig(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connections_are_kept),
      cmocka_unit_test(a_kept_connection_may_have_gone),
      cmocka_unit_test(a_post_carries_its_body),
      cmocka_unit_test(chunks_are_put_together),
      cmocka_unit_test(many_at_once),
      cmocka_unit_test(nothing_is_followed_or_remembered),
      cmocka_unit_test(the_environment_does_not_matter),
      cmocka_unit_test(each_is_refused),
      cmocka_unit_test(nobody_listens),
      cmocka_unit_test(refusals_and_answers_in_turns),
      cmocka_unit_test(given_up_while_connecting),
      cmocka_unit_test(what_is_no_address_is_not_asked),
      cmocka_unit_test(cancelled_ones_stay_silent),
      cmocka_unit_test(closing_ends_everything),
      cmocka_unit_test(an_answer_may_ask_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
