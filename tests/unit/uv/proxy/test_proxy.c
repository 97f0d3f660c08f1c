/* The proxy between clients and engines, all on one loop: what passes, what is sent again, and that every charge is
 * given back however a request ends (rig_stop checks that). */
#include "rig.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char chat[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char streaming[] = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char usage[] = RIG_JSON_ANSWER "100\r\nX-Engine: yes\r\nx-request-id: engine\r\nConnection: x-secret\r\n"
  "X-Secret: 1\r\nx-gateway-destination-endpoint: 1.2.3.4:5\r\n\r\n"
  "{\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4}}}     ";

static void has(const char *text, const char *what)
{
  if (!strstr(text, what))
    fail_msg("no '%s' in: %s", what, text);
}

static void has_not(const char *text, const char *what)
{
  if (strstr(text, what))
    fail_msg("'%s' in: %s", what, text);
}

/* n bytes of one long prompt; the caller frees them. */
static char *large_body(size_t n)
{
  char *body = malloc(n);
  assert_non_null(body);
  memset(body, 'a', n);
  memcpy(body, "{\"prompt\":\"", 11);
  memcpy(body + n - 2, "\"}", 2);
  return body;
}

static char *post_chat(rig *r)
{
  return rig_post(r, "/v1/chat/completions", "", chat, sizeof chat - 1);
}

static void expect_status(char *answer, const char *status)
{
  if (strncmp(answer, "HTTP/1.1 ", 9) || strncmp(answer + 9, status, 3))
    fail_msg("not %s: %s", status, answer);
  free(answer);
}

/* ---- conditions ---- */

static int was_asked(void *ud)
{
  return ((rig_engine *)ud)->requests > 0;
}

static int has_lost_link(void *ud)
{
  return ((rig_engine *)ud)->closed > 0;
}

static int has_bytes(void *ud)
{
  return ((rig_client *)ud)->total > 0;
}

/* ---- whole answers ---- */

static void test_whole(void **state)
{
  static rig r;
  char *answer, *line;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].answer = usage;
  answer = rig_post(&r, "/v1/chat/completions?a=b", "x-request-id: mine-1\r\nAccept-Encoding: gzip\r\n"
                    "X-Forwarded-For: 9.9.9.9\r\ntraceparent: 00-1-2-3\r\nAuthorization: Bearer k\r\n", chat, sizeof chat - 1);
  has(answer, "HTTP/1.1 200");
  has(answer, "X-Engine: yes");
  has(answer, "x-request-id: mine-1");
  has(answer, "\"cached_tokens\":4");
  has_not(answer, "engine\r\n");
  has_not(answer, "X-Secret");
  has_not(answer, "1.2.3.4");
  has(r.engine[0].seen, "POST /v1/chat/completions?a=b HTTP/1.1\r\n");
  has(r.engine[0].seen, "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n");
  has(r.engine[0].seen, "traceparent: 00-1-2-3\r\n");
  has(r.engine[0].seen, "Authorization: Bearer k\r\n");
  has(r.engine[0].seen, "x-request-id: mine-1\r\n");
  has(r.engine[0].seen, chat);
  has_not(r.engine[0].seen, "gzip");
  line = rig_log(&r);
  has(line, "\"id\":\"mine-1\"");
  has(line, "\"prompt_tokens\":7,\"output_tokens\":3,\"cached_tokens\":4");
  has(line, "\"path\":\"/v1/chat/completions\"");
  has(line, "\"endpoint\":\"127.0.0.1:");
  free(line);
  free(answer);
  rig_stop(&r);
}

static void test_kept_connection(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  for (int i = 0; i < 5; i++)
    expect_status(post_chat(&r), "200");
  assert_int_equal(r.engine[0].connections, 1);
  assert_int_equal(r.engine[0].requests, 5);
  rig_stop(&r);
}

static void test_methods(void **state)
{
  static const char *const requests[] = {
    "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "DELETE /v1/files/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /reset HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
  };
  static const char head[] = "HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  static const char connect[] = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n";
  static rig r;
  char *answer;
  (void)state;
  rig_start(&r, 1, "");
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    expect_status(rig_ask(&r, requests[i], strlen(requests[i])), "200");
    assert_memory_equal(r.engine[0].seen, requests[i], strcspn(requests[i], "\r"));
  }
  has(r.engine[0].seen, "Content-Length: 0");
  r.engine[0].answer = "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n";
  answer = rig_ask(&r, head, sizeof head - 1);
  has(answer, "Content-Length: 77");
  free(answer);
  r.engine[0].answer = "HTTP/1.1 200 OK\r\n\r\n";
  answer = rig_ask(&r, head, sizeof head - 1);
  has_not(answer, "Content-Length"); /* nobody has said that GET's would be empty */
  free(answer);
  expect_status(rig_ask(&r, connect, sizeof connect - 1), "501");
  rig_stop(&r);
}

/* Unparsed, byte for byte. */
static void test_multipart(void **state)
{
  static const char body[] = "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
                             "\xff\xfe\x00{\"kv_transfer_params\":1}\r\n--x--";
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  expect_status(rig_post(&r, "/v1/audio/transcriptions", "Content-Type: multipart/form-data; boundary=x\r\n", body,
                         sizeof body - 1), "200");
  assert_memory_equal(r.engine[0].seen + r.engine[0].seen_len - (sizeof body - 1), body, sizeof body - 1);
  rig_stop(&r);
}

static void test_large_body(void **state)
{
  const size_t n = 3u << 20;
  static rig r;
  char *body = large_body(n);
  (void)state;
  rig_start(&r, 1, "");
  for (int i = 0; i < 2; i++)
    expect_status(rig_post(&r, "/v1/completions", "", body, n), "200");
  assert_int_equal(r.engine[0].requests, 2);
  free(body);
  rig_stop(&r);
}

/* ---- streams ---- */

static void test_stream(void **state)
{
  static const char stream[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    "1b\r\ndata: {\"choices\":[{\"a\":1}]}\r\n2\r\n\n\n\r\n"
    "3d\r\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_to\r\n"
    "f\r\nkens\":5}}\n\ndata\r\n"
    "a\r\n: [DONE]\n\n\r\n0\r\n\r\n";
  static rig r;
  char *answer, *line;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].answer = stream;
  answer = rig_post(&r, "/v1/chat/completions", "", streaming, sizeof streaming - 1);
  has(r.engine[0].seen, "\"stream_options\":{\"include_usage\":true}");
  has(answer, "data: {\"choices\":[{\"a\":1}]}\n\n");
  has(answer, "data: [DONE]\n\n");
  has_not(answer, "usage");
  has(answer, "\r\n0\r\n\r\n");
  line = rig_log(&r);
  has(line, "\"stream\":true");
  has(line, "\"prompt_tokens\":9,\"output_tokens\":5");
  has(line, "\"ttft_ms\":");
  free(line);
  free(answer);
  rig_stop(&r);
}

/* An engine that breaks off: the client must see that its answer is not whole. */
static void test_broken_stream(void **state)
{
  static rig r;
  char *answer;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_LAST;
  r.engine[0].answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "9\r\ndata: 1\n\n\r\n";
  answer = rig_post(&r, "/v1/chat/completions", "", streaming, sizeof streaming - 1);
  has_not(answer, "\r\n0\r\n\r\n");
  free(answer);
  rig_stop(&r);
}

static void test_answer_until_close(void **state)
{
  static rig r;
  char *answer;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_LAST;
  r.engine[0].answer = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it";
  answer = post_chat(&r);
  has(answer, "all of it");
  has(answer, "\r\n0\r\n\r\n");
  free(answer);
  rig_stop(&r);
}

/* ---- failures ---- */

static void test_refused(void **state)
{
  static rig r;
  char *line;
  uint32_t had = 0;
  (void)state;
  rig_start(&r, 3, "");
  expect_status(post_chat(&r), "200");
  while (!r.engine[had].requests)
    had++;
  rig_engine_down(&r, had); /* where the prompt is cached, so where it is sent again */
  expect_status(post_chat(&r), "200");
  line = rig_log(&r);
  has(line, "\"attempts\":2");
  free(line);
  rig_engine_down(&r, (had + 1) % 3);
  for (int i = 0; i < 12; i++)
    expect_status(post_chat(&r), "200");
  rig_stop(&r);
}

static void test_reset(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 2, "");
  r.engine[0].does = RIG_RESET;
  r.engine[1].does = RIG_CLOSE;
  for (int i = 0; i < 4; i++)
    expect_status(post_chat(&r), "502");
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 8); /* each once a request: there is no third */
  r.engine[1].does = RIG_ANSWER;
  for (int i = 0; i < 8; i++)
    expect_status(post_chat(&r), "200");
  rig_stop(&r);
}

#define LOCK "LOCK /v1/files/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

/* What may have had an effect is not sent again. */
static void test_not_repeatable(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 2, "");
  r.engine[0].does = r.engine[1].does = RIG_CLOSE;
  expect_status(rig_post(&r, "/v1/files", "", "x", 1), "502");
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 1);
  expect_status(rig_ask(&r, LOCK, sizeof LOCK - 1), "502");
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 2);
  rig_stop(&r);
}

static void test_bounded_retries(void **state)
{
  static rig r;
  char *answer;
  (void)state;
  rig_start(&r, 4, "upstream: {retries: 1}\n");
  for (int i = 0; i < 4; i++)
    r.engine[i].does = RIG_CLOSE;
  answer = post_chat(&r);
  has(answer, "HTTP/1.1 502");
  has(answer, "{\"error\":{\"message\":\"no engine answered: ");
  has(answer, "\"type\":\"server_error\",\"param\":null,\"code\":\"engine_unreachable\"}}");
  free(answer);
  assert_int_equal(r.engine[0].requests + r.engine[1].requests + r.engine[2].requests + r.engine[3].requests, 2);
  rig_stop(&r);
}

/* A kept connection that its engine closes as the next request arrives: again on a new one, to the same engine. */
static void test_stale(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 1, "upstream: {retries: 0}\n");
  expect_status(post_chat(&r), "200");
  r.engine[0].does = RIG_CLOSE;
  expect_status(post_chat(&r), "502"); /* the new one is closed, too */
  assert_int_equal(r.engine[0].requests, 3);
  assert_int_equal(r.engine[0].connections, 2);
  rig_stop(&r);
}

static uint32_t health(rig *r, uint32_t i)
{
  uint32_t how = 99;
  uint64_t until;
  assert_int_equal(llmd_pool_health(r->pool, r->engine[i].id, &how, &until), 0);
  return how;
}

/* A failure that an engine says itself: the client gets it, it is not asked again for the client, and it counts. */
static void test_failures(void **state)
{
#define BODY "{\"error\":{},\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":0}}"
  static const char *const answers[] = {
    "HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 62\r\n\r\n" BODY,
    "HTTP/1.1 503 Later\r\nRetry-After: 7\r\nContent-Type: application/json\r\n\r\n" BODY, /* in two reads */
    "HTTP/1.1 500 Oops\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: " BODY "\n\n",
  };
  static rig r;
  char *answer, *line;
  (void)state;
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    rig_start(&r, 2, "");
    for (int k = 0; k < 2; k++) {
      r.engine[k].does = RIG_LAST;
      r.engine[k].answer = answers[i];
    }
    for (int k = 0; k < 6; k++) {
      answer = post_chat(&r);
      has(answer, i == 1 ? "HTTP/1.1 503 " : "HTTP/1.1 500 ");
      has(answer, BODY);
      if (i == 1)
        has(answer, "Retry-After: 7\r\n");
      free(answer);
    }
    assert_int_equal(r.engine[0].requests + r.engine[1].requests, 6);
    assert_int_equal((health(&r, 0) != LLMD_HEALTH_WELL) + (health(&r, 1) != LLMD_HEALTH_WELL), 1); /* at most half */
    line = rig_log(&r);
    has(line, "\"prompt_tokens\":7");
    has_not(line, "ttft");
    free(line);
    rig_stop(&r);
  }
#undef BODY
}

/* Where the ledger has no room, engines are judged all the same. */
static void test_full_ledger(void **state)
{
  static llmd_ticket ticket[1 << 16];
  const llmd_request_options o = {.size = sizeof o};
  static rig r;
  void *mem = malloc(llmd_request_size(&o));
  llmd_request *q;
  llmd_now now;
  uint32_t n = 0;
  (void)state;
  rig_start(&r, 2, "");
  llmd_clock(&now);
  assert_int_equal(llmd_request_init(mem, llmd_request_size(&o), &o, &q), 0);
  assert_int_equal(llmd_request_line(q, "GET", 3, "/", 1), 0);
  assert_int_equal(llmd_request_feed(q, NULL, 0, LLMD_FEED_FINAL), 0);
  do
    assert_int_equal(llmd_commit_routed(r.proxy->lane, q, r.engine[0].id, &now, &ticket[n]), 0);
  while (ticket[n] && ++n < sizeof ticket / sizeof *ticket);
  assert_int_equal(ticket[n], 0);
  expect_status(post_chat(&r), "200");
  r.engine[0].does = r.engine[1].does = RIG_CLOSE;
  for (int i = 0; i < 4; i++)
    expect_status(post_chat(&r), "502");
  assert_int_equal((health(&r, 0) != LLMD_HEALTH_WELL) + (health(&r, 1) != LLMD_HEALTH_WELL), 1);
  while (n)
    assert_int_equal(llmd_report(r.proxy->lane, ticket[--n], LLMD_REPORT_CANCEL, NULL, &now), 0);
  rig_stop(&r);
  free(mem);
}

/* No descriptor is left: that is our own trouble. */
static void test_out_of_descriptors(void **state)
{
  enum { MOST = 256 };
  static rig r;
  rig_client c;
  struct rlimit was, few = {MOST, 0};
  char text[512];
  int n, fd[MOST], held = 0;
  (void)state;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
  rig_start(&r, 2, "");
  n = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n"
               "Expect: 100-continue\r\n\r\n", sizeof chat - 1);
  for (int i = 0; i < 4; i++) {
    rig_client_open(&r, &c, text, (size_t)n);
    rig_until(&r, has_bytes, &c); /* the client's connection stands */
    few.rlim_max = was.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (held < MOST && (fd[held] = dup(0)) >= 0)
      held++;
    c.total = 0;
    rig_client_send(&c, chat, sizeof chat - 1);
    rig_until(&r, has_bytes, &c);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    while (held)
      close(fd[--held]);
    has(c.got, "HTTP/1.1 503 ");
    rig_client_close(&c);
    free(c.got);
  }
  assert_int_equal(health(&r, 0), LLMD_HEALTH_WELL);
  assert_int_equal(health(&r, 1), LLMD_HEALTH_WELL);
  expect_status(post_chat(&r), "200");
  rig_stop(&r);
}

/* Some servers unpack bodies unasked: what is packed cannot be searched. */
static void test_coded_body(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  expect_status(rig_post(&r, "/invocations", "Content-Encoding: gzip\r\n", "\x1f\x8b\x08", 3), "415");
  expect_status(rig_post(&r, "/v1/chat/completions", "content-encoding: br\r\n", chat, sizeof chat - 1), "415");
  expect_status(rig_post(&r, "/x", "Content-Encoding: identity\r\nContent-Encoding: zstd\r\n", "x", 1), "415");
  assert_int_equal(r.engine[0].requests, 0);
  expect_status(rig_post(&r, "/invocations", "Content-Encoding: identity\r\n", "x", 1), "200");
  rig_stop(&r);
}

/* A line of the log is JSON, whatever a model is called. */
static void test_long_model(void **state)
{
  static rig r;
  char body[512], *line, want[256];
  size_t n, k;
  (void)state;
  n = (size_t)sprintf(body, "{\"messages\":[],\"model\":\"a");
  k = (size_t)sprintf(want, "\"model\":\"a");
  for (int i = 0; i < 60; i++)
    n += (size_t)sprintf(body + n, "\xc3\xa9");
  for (int i = 0; i < 47; i++)
    k += (size_t)sprintf(want + k, "\xc3\xa9");
  n += (size_t)sprintf(body + n, "\"}");
  strcpy(want + k, "\"");
  rig_start(&r, 1, "");
  expect_status(rig_post(&r, "/v1/chat/completions", "", body, n), "200");
  line = rig_log(&r);
  has(line, want);
  free(line);
  rig_stop(&r);
}

static void test_malformed(void **state)
{
  static const char *const answers[] = {
    "HTTP/2 200 OK\r\n\r\n", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 777 Odd\r\nContent-Length: 0\r\n\r\n",
  };
  static rig r;
  (void)state;
  rig_start(&r, 1, "");
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    r.engine[0].answer = answers[i];
    expect_status(post_chat(&r), "502");
  }
  rig_stop(&r);
}

static void test_timeouts(void **state)
{
  static rig r;
  char *line;
  (void)state;
  rig_start(&r, 2, "upstream: {first_byte: 200ms}\n");
  r.engine[0].does = r.engine[1].does = RIG_SILENT;
  expect_status(post_chat(&r), "504");
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 1);
  line = rig_log(&r);
  has(line, "\"reason\":\"no answer in time\"");
  free(line);
  rig_stop(&r);
  rig_start(&r, 1, "limits: {total: 300ms}\n");
  r.engine[0].does = RIG_SILENT;
  expect_status(post_chat(&r), "504");
  line = rig_log(&r);
  has(line, "\"reason\":\"no answer in time\"");
  free(line);
  rig_stop(&r);
  rig_start(&r, 1, "upstream: {idle: 200ms}\n");
  r.engine[0].answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "9\r\ndata: 1\n\n\r\n";
  free(post_chat(&r)); /* ends: the client is not left waiting */
  rig_stop(&r);
}

/* ---- where engines are ---- */

static void readdress(rig *r, const char *address, uint32_t port)
{
  llmd_endpoint row = {.size = sizeof row, .address = {address, strlen(address)}, .port = port};
  llmd_now now;
  llmd_clock(&now);
  assert_int_equal(llmd_pool_remove(r->pool, r->engine[0].id), 0);
  assert_int_equal(llmd_pool_add(r->pool, &row, &r->engine[0].id), 0);
  assert_int_equal(llmd_pool_publish(r->pool, &now), 0);
}

/* A machine without a file of hosts may not know itself. */
static void need_localhost(void)
{
  const struct addrinfo want = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  int known = getaddrinfo("localhost", NULL, &want, &found) == 0;
  if (known)
    known = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  if (found)
    freeaddrinfo(found);
  if (!known) {
    print_message("skipped: needs localhost among the hosts\n");
    skip();
  }
}

/* localhost is often ::1 first, where nobody listens. */
static void test_names(void **state)
{
  static rig r;
  (void)state;
  need_localhost();
  rig_start(&r, 1, "upstream: {retries: 0}\n");
  readdress(&r, "localhost", r.engine[0].port);
  for (int i = 0; i < 3; i++)
    expect_status(post_chat(&r), "200");
  has(r.engine[0].seen, "Host: localhost:");
  assert_int_equal(r.engine[0].connections, 1);
  rig_stop(&r);
}

static uv_sem_t busy;

static void on_work(uv_work_t *w)
{
  (void)w;
  uv_sem_wait(&busy);
}

static void on_worked(uv_work_t *w, int status)
{
  (void)status;
  free(w);
}

/* Nobody resolves the name: the loop's threads have other things to do. */
static void test_slow_name(void **state)
{
  static rig r;
  char *line;
  (void)state;
  need_localhost();
  rig_start(&r, 1, "upstream: {connect: 300ms, retries: 0}\n");
  readdress(&r, "localhost", r.engine[0].port);
  assert_int_equal(uv_sem_init(&busy, 0), 0);
  for (int i = 0; i < 4; i++) {
    uv_work_t *w = malloc(sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_queue_work(&r.loop, w, on_work, on_worked), 0);
  }
  expect_status(post_chat(&r), "504");
  line = rig_log(&r);
  has(line, "\"reason\":\"no connection in time\"");
  free(line);
  for (int i = 0; i < 4; i++)
    uv_sem_post(&busy);
  expect_status(post_chat(&r), "200");
  rig_stop(&r);
  uv_sem_destroy(&busy);
}

static void test_nobody_there(void **state)
{
  static rig r;
  (void)state;
  rig_start(&r, 1, "upstream: {connect: 300ms}\n");
  rig_engine_down(&r, 0);
  expect_status(post_chat(&r), "502");
  readdress(&r, "127.0.0.1", 70000 - 65535);
  expect_status(post_chat(&r), "502");
  rig_stop(&r);
}

/* An engine that answers before it has read the request. */
static void test_early_answer(void **state)
{
  const size_t n = 8u << 20;
  static rig r;
  char *body = large_body(n);
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].early = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
  for (int i = 0; i < 3; i++)
    expect_status(rig_post(&r, "/v1/completions", "", body, n), "413");
  assert_int_equal(r.engine[0].connections, 3); /* none of them can be used again */
  free(body);
  rig_stop(&r);
}

/* One that stops reading the request. */
static void test_engine_stops_reading(void **state)
{
  const size_t n = 15u << 20;
  static rig r;
  char *body = large_body(n);
  (void)state;
  rig_start(&r, 1, "upstream: {idle: 300ms}\n");
  r.engine[0].deaf = 1;
  expect_status(rig_post(&r, "/v1/completions", "", body, n), "504");
  free(body);
  rig_stop(&r);
}

/* ---- clients ---- */

static void test_client_leaves(void **state)
{
  static rig r;
  rig_client c;
  char text[512], *line;
  int n;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_SILENT;
  n = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, was_asked, &r.engine[0]);
  assert_int_equal(rig_inflight(&r), 1);
  rig_client_close(&c);
  rig_until(&r, has_lost_link, &r.engine[0]);
  assert_int_equal(rig_inflight(&r), 0);
  line = rig_log(&r);
  has(line, "\"status\":499");
  free(line);
  free(c.got);
  /* in the midst of an answer */
  r.engine[0].closed = r.engine[0].requests = 0;
  r.engine[0].does = RIG_ANSWER;
  r.engine[0].answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "9\r\ndata: 1\n\n\r\n";
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, has_bytes, &c);
  rig_client_close(&c);
  rig_until(&r, has_lost_link, &r.engine[0]);
  free(c.got);
  rig_stop(&r);
}

static int settled(void *ud)
{
  static uint64_t last, since;
  rig_engine *e = ud;
  uint64_t now = uv_hrtime();
  if (e->flooded != last || !e->flooded) {
    last = e->flooded;
    since = now;
  }
  return e->flooded && now - since > 500000000u;
}

static int has_flood(void *ud)
{
  rig_client *c = ud;
  return c->total > c->rig->engine[0].flood;
}

static void on_taken(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  rig_client *c = stream->data;
  (void)buf;
  if (n > 0)
    c->total += (uint64_t)n;
}

static void on_space(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
  static char buffer[65536];
  (void)h;
  (void)wanted;
  *out = uv_buf_init(buffer, sizeof buffer);
}

static int never_reads(void *ud)
{
  rig_client *c = ud;
  c->keep = -1;
  return 1;
}

/* A client that does not read stops the engine; the proxy holds no more than it says. */
static void test_back_pressure(void **state)
{
  static rig r;
  rig_client c;
  char text[512];
  int n;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_FLOOD;
  r.engine[0].flood = UINT64_C(256) << 20;
  n = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, never_reads, &c);
  rig_until(&r, settled, &r.engine[0]);
  assert_in_range(r.engine[0].flooded, 1, UINT64_C(64) << 20); /* the sockets' buffers, and 256 KiB */
  uv_read_start((uv_stream_t *)&c.tcp, on_space, on_taken);
  rig_until(&r, has_flood, &c);
  rig_client_close(&c);
  free(c.got);
  rig_stop(&r);
}

/* ---- the pool and the policy change meanwhile ---- */

static void publish(rig *r)
{
  llmd_now now;
  llmd_clock(&now);
  assert_int_equal(llmd_pool_publish(r->pool, &now), 0);
}

static void test_empty_pool(void **state)
{
  static rig r;
  char *answer;
  (void)state;
  rig_start(&r, 1, "");
  assert_int_equal(llmd_pool_remove(r.pool, r.engine[0].id), 0);
  publish(&r);
  answer = post_chat(&r);
  has(answer, "HTTP/1.1 503");
  has(answer, "x-llm-d-request-dropped-reason: rejected-no-endpoints");
  has(answer, "\"code\":\"no_endpoints\"");
  free(answer);
  rig_stop(&r);
}

static void test_removed_meanwhile(void **state)
{
  static rig r;
  rig_client c;
  char text[512];
  int n;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_SILENT;
  n = snprintf(text, sizeof text,
               "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, was_asked, &r.engine[0]);
  assert_int_equal(llmd_pool_remove(r.pool, r.engine[0].id), 0);
  publish(&r);
  rig_engine_send(&r.engine[0], usage, strlen(usage), 0);
  rig_client_finish(&c);
  has(c.got, "HTTP/1.1 200");
  free(c.got);
  rig_stop(&r);
}

static void test_reload(void **state)
{
  static rig r;
  rig_client c;
  char text[512];
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *other, *bad;
  int n;
  (void)state;
  rig_start(&r, 2, "");
  r.engine[0].does = r.engine[1].does = RIG_SILENT;
  n = snprintf(text, sizeof text,
               "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  while (!r.engine[0].requests && !r.engine[1].requests)
    uv_run(&r.loop, UV_RUN_ONCE);
  bad = rig_service("policy: {kind: EndpointPickerConfig, apiVersion: llm-d.ai/v1alpha1, plugins: [{type: nonsense}]}\n");
  assert_true(llmd_proxy_reload(r.proxy, bad, &err) < 0);
  llmd_service_free(bad);
  for (int i = 0; i < 20; i++) {
    other = rig_service("log: {access: \"\"}\npolicy: {kind: EndpointPickerConfig, apiVersion: llm-d.ai/v1alpha1, "
                        "plugins: [{type: queue-scorer}, {type: max-score-picker}], schedulingProfiles: [{name: default, "
                        "plugins: [{pluginRef: queue-scorer}, {pluginRef: max-score-picker}]}]}\n");
    assert_int_equal(llmd_proxy_reload(r.proxy, other, &err), 0);
    llmd_service_free(r.service);
    r.service = other;
  }
  /* The first engine fails now: what was decided by the old policy goes to the other, decided by the new one. */
  rig_engine *had = &r.engine[r.engine[0].requests ? 0 : 1], *next = &r.engine[r.engine[0].requests ? 1 : 0];
  next->does = RIG_ANSWER;
  had->does = RIG_CLOSE;
  rig_engine_down(&r, had == &r.engine[0] ? 0 : 1);
  rig_client_finish(&c);
  has(c.got, "HTTP/1.1 200");
  assert_int_equal(next->requests, 1);
  free(c.got);
  rig_stop(&r);
}

static void set_flag(void *ud)
{
  *(int *)ud = 1;
}

static int is_set(void *ud)
{
  return *(int *)ud;
}

/* Prefill and decode apart: the prefiller is named to the decoder by the proxy alone, under an id of its own. */
static void test_disaggregated(void **state)
{
  static const char policy[] =
    "policy: {apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: [{type: prefill-filter}, "
    "{type: decode-filter}, {type: max-score-picker}, {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 1}}, "
    "{type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}], schedulingProfiles: ["
    "{name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: max-score-picker}]}, "
    "{name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: max-score-picker}]}]}\n";
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"a prompt that is long enough to be worth a transfer of its own\"}";
  llmd_label prefill = {{"llm-d.ai/role", 13}, {"prefill", 7}}, decode = {{"llm-d.ai/role", 13}, {"decode", 6}};
  static rig r;
  char line[64], *answer, *log;
  (void)state;
  rig_start(&r, 2, policy);
  assert_int_equal(llmd_pool_set_labels(r.pool, r.engine[0].id, &prefill, 1), 0);
  assert_int_equal(llmd_pool_set_labels(r.pool, r.engine[1].id, &decode, 1), 0);
  publish(&r);
  answer = rig_post(&r, "/v1/completions", "x-request-id: mine-1\r\nx-prefiller-host-port: 6.6.6.6:1\r\n", body,
                    sizeof body - 1);
  has(answer, "HTTP/1.1 200");
  snprintf(line, sizeof line, "x-prefiller-host-port: 127.0.0.1:%u\r\n", r.engine[0].port);
  has(r.engine[1].seen, line);
  has_not(r.engine[1].seen, "mine-1");
  has_not(r.engine[1].seen, "6.6.6.6");
  assert_int_equal(r.engine[0].requests, 0);
  log = rig_log(&r);
  has(log, "\"client_id\":\"mine-1\"");
  free(log);
  free(answer);
  rig_stop(&r);
}

/* Token ids are asked of an agent, which asks an engine; the next request finds them in the region. */
static void test_tokens(void **state)
{
  static const char policy[] =
    "tokens: {socket: %s}\npolicy: {apiVersion: llm-d.ai/v1alpha1, kind: EndpointPickerConfig, plugins: ["
    "{type: token-producer, parameters: {modelName: m, vllm: {}}}, {type: precise-prefix-cache-producer}, "
    "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}, "
    "{type: max-score-picker}], schedulingProfiles: [{name: default, plugins: [{pluginRef: prefix-cache-scorer}, "
    "{pluginRef: max-score-picker}]}]}\n";
  static rig r;
  llmd_feeder feeder = {.size = sizeof feeder, .loop = &r.loop};
  llmd_tokens *agent;
  llmd_err err = LLMD_ERR_INIT;
  char folder[] = "/tmp/llmd-rig-XXXXXX", socket[64], yaml[1024];
  uint32_t before, asked = 0;
  int gone = 0;
  (void)state;
  assert_non_null(mkdtemp(folder));
  snprintf(socket, sizeof socket, "%s/s", folder);
  snprintf(yaml, sizeof yaml, policy, socket);
  rig_start(&r, 1, yaml);
  r.engine[0].answer = RIG_JSON_ANSWER "21\r\n\r\n{\"token_ids\":[1,2,3]}";
  feeder.pool = r.pool;
  feeder.service = r.service;
  expect_status(post_chat(&r), "200"); /* no agent: decided without */
  assert_int_equal(r.engine[0].requests, 1);
  assert_int_equal(llmd_tokens_start(&feeder, &agent, &err), 0);
  for (int i = 0; i < 3000 && asked != 2; i++) { /* until the proxy has found the agent */
    before = r.engine[0].requests;
    expect_status(post_chat(&r), "200");
    asked = r.engine[0].requests - before;
  }
  assert_int_equal(asked, 2);
  for (int i = 0; i < 3000 && asked != 1; i++) { /* until they are filed */
    before = r.engine[0].requests;
    expect_status(post_chat(&r), "200");
    asked = r.engine[0].requests - before;
  }
  assert_int_equal(asked, 1);
  llmd_tokens_stop(agent, set_flag, &gone);
  rig_until(&r, is_set, &gone);
  rig_stop(&r);
  rmdir(folder);
}

static void on_drained(void *ud)
{
  ((rig *)ud)->done = 1;
}

static int is_over(void *ud)
{
  return ((rig *)ud)->done;
}

static void test_drain(void **state)
{
  static rig r;
  rig_client c;
  char text[512];
  int n;
  (void)state;
  rig_start(&r, 1, "");
  r.engine[0].does = RIG_SILENT;
  n = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, was_asked, &r.engine[0]);
  llmd_proxy_drain(r.proxy, on_drained, &r);
  for (int i = 0; i < 10; i++)
    uv_run(&r.loop, UV_RUN_ONCE);
  assert_int_equal(r.done, 0);
  rig_engine_send(&r.engine[0], usage, strlen(usage), 0);
  rig_client_finish(&c);
  has(c.got, "HTTP/1.1 200");
  has(c.got, "Connection: close");
  rig_until(&r, is_over, &r);
  free(c.got);
  rig_stop(&r);
}

static void test_drain_ends(void **state)
{
  static rig r;
  rig_client c;
  char text[512];
  int n;
  (void)state;
  rig_start(&r, 1, "limits: {drain: 100ms}\n");
  r.engine[0].does = RIG_SILENT;
  n = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
               sizeof chat - 1, chat);
  rig_client_open(&r, &c, text, (size_t)n);
  rig_until(&r, was_asked, &r.engine[0]);
  llmd_proxy_drain(r.proxy, on_drained, &r);
  rig_until(&r, is_over, &r);
  rig_client_finish(&c);
  free(c.got);
  rig_stop(&r);
}

static void test_models(void **state)
{
  static const char list[] = "GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  static const char one[] = "GET /v1/models/org%2Fbig HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  static const char none[] = "GET /v1/models/tiny HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  static rig r;
  llmd_str names[2] = {{"org/big", 7}, {"small", 5}};
  char *answer;
  int attribute;
  (void)state;
  rig_start(&r, 2, "");
  expect_status(rig_ask(&r, list, sizeof list - 1), "200"); /* nobody has said: an engine is asked */
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 1);
  attribute = llmd_pool_attribute(r.pool, "Models", "llmd", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT);
  assert_true(attribute >= 0);
  assert_int_equal(llmd_pool_set_models(r.pool, r.engine[0].id, (uint32_t)attribute, names, 2), 0);
  assert_int_equal(llmd_pool_set_models(r.pool, r.engine[1].id, (uint32_t)attribute, names, 1), 0);
  publish(&r);
  answer = rig_ask(&r, list, sizeof list - 1);
  has(answer, "{\"object\":\"list\",\"data\":[{\"id\":\"org/big\",\"object\":\"model\",\"created\":");
  has(answer, "\"owned_by\":\"llmd\"},{\"id\":\"small\",");
  assert_null(strstr(strstr(answer, "org/big") + 7, "org/big"));
  free(answer);
  expect_status(rig_ask(&r, one, sizeof one - 1), "200");
  expect_status(rig_ask(&r, none, sizeof none - 1), "404");
  assert_int_equal(r.engine[0].requests + r.engine[1].requests, 1);
  rig_stop(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_whole),        cmocka_unit_test(test_kept_connection), cmocka_unit_test(test_methods),
    cmocka_unit_test(test_multipart),    cmocka_unit_test(test_large_body),      cmocka_unit_test(test_stream),
    cmocka_unit_test(test_broken_stream), cmocka_unit_test(test_answer_until_close),
    cmocka_unit_test(test_refused),      cmocka_unit_test(test_reset),           cmocka_unit_test(test_not_repeatable),
    cmocka_unit_test(test_bounded_retries), cmocka_unit_test(test_stale),        cmocka_unit_test(test_malformed),
    cmocka_unit_test(test_timeouts),     cmocka_unit_test(test_names),           cmocka_unit_test(test_nobody_there),
    cmocka_unit_test(test_early_answer), cmocka_unit_test(test_engine_stops_reading),
    cmocka_unit_test(test_failures),     cmocka_unit_test(test_out_of_descriptors), cmocka_unit_test(test_coded_body),
    cmocka_unit_test(test_slow_name),    cmocka_unit_test(test_long_model),   cmocka_unit_test(test_full_ledger),
    cmocka_unit_test(test_client_leaves),   cmocka_unit_test(test_back_pressure),
    cmocka_unit_test(test_empty_pool),   cmocka_unit_test(test_removed_meanwhile), cmocka_unit_test(test_reload),
    cmocka_unit_test(test_drain),        cmocka_unit_test(test_drain_ends),      cmocka_unit_test(test_models),
    cmocka_unit_test(test_disaggregated), cmocka_unit_test(test_tokens),
  };
  (void)setenv("UV_THREADPOOL_SIZE", "4", 1); /* test_slow_name keeps all of them busy */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
