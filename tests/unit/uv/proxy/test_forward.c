/* The head that goes to an engine, and the one that goes to the client. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "uv/proxy/forward.h"
#include "uv/proxy/inner.h"

#define STR(text) {text, sizeof(text) - 1}

typedef struct row {
  llmd_http_header header;
  int passes;
} row;

/* From a client. */
static const row rows[] = {
  {{STR("accept"), STR("*/*")}, 1}, {{STR("Authorization"), STR("Bearer x")}, 1}, {{STR("content-type"), STR("a/b")}, 1},
  {{STR("traceparent"), STR("00")}, 1}, {{STR("tracestate"), STR("a=b")}, 1}, {{STR("X-Session-Id"), STR("s")}, 1},
  {{STR("X-Forwarded-Proto"), STR("https")}, 1}, {{STR("user-agent"), STR("")}, 1}, {{STR("x-gateway-other"), STR("1")}, 1},
  {{STR("openai-organization"), STR("o")}, 1}, {{STR("prefer"), STR("if-available")}, 1}, {{STR("x-api-key"), STR("k")}, 1},
  {{STR("Host"), STR("evil")}, 0}, {{STR("connection"), STR("keep-alive")}, 0}, {{STR("Keep-Alive"), STR("1")}, 0},
  {{STR("TE"), STR("trailers")}, 0}, {{STR("Trailer"), STR("a")}, 0}, {{STR("Transfer-Encoding"), STR("chunked")}, 0},
  {{STR("Content-Length"), STR("9")}, 0}, {{STR("Upgrade"), STR("h2c")}, 0}, {{STR("HTTP2-Settings"), STR("a")}, 0},
  {{STR("Proxy-Connection"), STR("a")}, 0}, {{STR("Proxy-Authorization"), STR("a")}, 0}, {{STR("Expect"), STR("1")}, 0},
  {{STR("Accept-Encoding"), STR("gzip")}, 0}, {{STR("x-request-id"), STR("a")}, 0},
  {{STR("x-gateway-destination-endpoint"), STR("a")}, 0}, {{STR("x_data_parallel_rank"), STR("a")}, 0},
};

static llmd_decision decision;

static void decide(const char *address, uint32_t port)
{
  memset(&decision, 0, sizeof decision);
  decision.size = sizeof decision;
  decision.text_len = (uint32_t)snprintf(decision.text, sizeof decision.text, "%s%s%s", address,
                                         "x-gateway-destination-endpoint", "decided:1");
  decision.target[0].address.len = (uint32_t)strlen(address);
  decision.target[0].port = port;
  decision.target[1] = decision.target[0];
  decision.n_headers = 1;
  decision.header[0].name.off = (uint32_t)strlen(address);
  decision.header[0].name.len = 30;
  decision.header[0].value.off = (uint32_t)strlen(address) + 30;
  decision.header[0].value.len = 9;
}

static const char *forward(const llmd_http_header *h, uint32_t n, const char *client, uint64_t body, uint32_t target)
{
  static char head[4096];
  llmd_http_request q = {.size = sizeof q, .n_headers = n, .header = h, .method = STR("POST"), .target = STR("/a?b"),
                         .has_body = 1};
  llmd__forward f = {&q, &decision, &decision.target[target], STR("id-1"), body};
  int64_t len;
  q.client = (llmd_str){client, strlen(client)};
  len = llmd__forward_head(&f, head, sizeof head - 1);
  assert_true(len > 0);
  head[len] = 0;
  return head;
}

static void test_rows(void **state)
{
  (void)state;
  decide("10.0.0.1", 8000);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char line[128];
    const char *head = forward(&rows[i].header, 1, "1.2.3.4:5", 0, 0);
    snprintf(line, sizeof line, "\r\n%s: %s\r\n", rows[i].header.name.ptr, rows[i].header.value.ptr);
    if (!!strstr(head, line) != rows[i].passes)
      fail_msg("%s in %s", rows[i].header.name.ptr, head);
  }
}

static void test_whole_head(void **state)
{
  const llmd_http_header h[] = {{STR("Host"), STR("proxy")}, {STR("A"), STR("b")}};
  (void)state;
  decide("10.0.0.1", 8000);
  assert_string_equal(forward(h, 2, "1.2.3.4:5", 42, 0),
                      "POST /a?b HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nA: b\r\nX-Forwarded-For: 1.2.3.4\r\nx-request-id: id-1\r\n"
                      "x-gateway-destination-endpoint: decided:1\r\nContent-Length: 42\r\n\r\n");
  decide("fe80::1", 80);
  decision.target[1].rank = 3;
  assert_string_equal(forward(h, 0, "[::1]:5", 0, 1),
                      "POST /a?b HTTP/1.1\r\nHost: [fe80::1]:80\r\nX-Forwarded-For: ::1\r\nx-request-id: id-1\r\n"
                      "x-gateway-destination-endpoint: [fe80::1]:80\r\nX-Data-Parallel-Rank: 3\r\nContent-Length: 0\r\n\r\n");
}

static void test_forwarded(void **state)
{
  const llmd_http_header h[] = {{STR("X-Forwarded-For"), STR("a")}, {STR("x-forwarded-for"), STR("b, c")}};
  (void)state;
  decide("e", 1);
  assert_non_null(strstr(forward(h, 2, "1.2.3.4:5", 0, 0), "X-Forwarded-For: a, b, c, 1.2.3.4\r\n"));
  assert_non_null(strstr(forward(h, 1, "unix", 0, 0), "X-Forwarded-For: a\r\n"));
  assert_null(strstr(forward(h, 0, "unix", 0, 0), "X-Forwarded-For"));
}

static void test_room(void **state)
{
  const llmd_http_header h[] = {{STR("A"), STR("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")}};
  llmd_http_request q = {.size = sizeof q, .n_headers = 1, .header = h, .method = STR("GET"), .target = STR("/"),
                         .client = STR("1.2.3.4:5")};
  llmd__forward f = {&q, &decision, &decision.target[0], STR("id"), 0};
  char head[256];
  (void)state;
  decide("10.0.0.1", 8000);
  int64_t len = llmd__forward_head(&f, head, sizeof head);
  assert_true(len > 0);
  for (int64_t cap = 0; cap < len; cap++)
    assert_int_equal(llmd__forward_head(&f, head, (size_t)cap), LLMD_E_LIMIT);
  assert_int_equal(llmd__forward_head(&f, head, (size_t)len), len);
}

static void test_answer(void **state)
{
  const llmd_http_header h[] = {
    {STR("Server"), STR("uvicorn")}, {STR("Connection"), STR("close, X-Hop")}, {STR("x-hop"), STR("1")},
    {STR("Set-Cookie"), STR("a")}, {STR("set-cookie"), STR("b")}, {STR("Transfer-Encoding"), STR("chunked")},
    {STR("X-Prefiller-Host-Port"), STR("1:2")}, {STR("x-request-id"), STR("e")}, {STR("host"), STR("passes")},
  };
  llmd_http_header out[16];
  (void)state;
  assert_int_equal(llmd__forward_answer(h, 9, out, 16), 4);
  assert_string_equal(out[0].name.ptr, "Server");
  assert_string_equal(out[1].value.ptr, "a");
  assert_string_equal(out[2].value.ptr, "b");
  assert_string_equal(out[3].name.ptr, "host");
  assert_int_equal(llmd__forward_answer(h, 9, out, 3), LLMD_E_LIMIT);
}

static void test_ids(void **state)
{
  (void)state;
#define SANE(text) llmd__forward_id_is_sane((llmd_str)STR(text))
  assert_int_equal(SANE("550e8400-e29b-41d4-a716-446655440000"), 1);
  assert_int_equal(SANE("chatcmpl-a_b.C"), 1);
  assert_int_equal(SANE(""), 0);
  assert_int_equal(SANE("a b"), 0);
  assert_int_equal(SANE("a:1"), 0);
  assert_int_equal(SANE("a/b"), 0);
  assert_int_equal(SANE("___prefill_addr_x"), 0);
  assert_int_equal(SANE("xADDRx"), 0);
  assert_int_equal(SANE("0123456789012345678901234567890123456789012345678901234567890123"), 1);
  assert_int_equal(SANE("01234567890123456789012345678901234567890123456789012345678901234"), 0);
}

static void test_paths(void **state)
{
  char out[32];
  (void)state;
#define PATH(text, want)                                                                  \
  do {                                                                                    \
    assert_int_equal(llmd__forward_path((llmd_str)STR(text), out, 32), sizeof(want) - 1); \
    assert_memory_equal(out, want, sizeof(want) - 1);                                     \
  } while (0)
  PATH("/a?b%20", "/a");
  PATH("/%61%2Fb%2fc", "/a/b/c");
  PATH("/%2561", "/%61");
  PATH("/%", "/%");
  PATH("/%6", "/%6");
  PATH("/%zz", "/%zz");
  assert_int_equal(llmd__forward_path((llmd_str)STR("/1234567890123456789012345678901234567890"), out, 32), LLMD_E_LIMIT);
}

static void test_guard(void **state)
{
  (void)state;
#define LOOKS(text) llmd__guard_looks((llmd_str)STR(text))
  assert_int_equal(LOOKS(""), 0);
  assert_int_equal(LOOKS("--x\r\n{\"kv_transfer_params\""), 0);
  assert_int_equal(LOOKS("{\"a\":1}"), 0);
  assert_int_equal(LOOKS("{\"kv_transfer_params\":1}"), 1);
  assert_int_equal(LOOKS(" \n[{\"bootstrap_host\":1}]"), 1);
  assert_int_equal(LOOKS("\xef\xbb\xbf{\"mm_hashes\":1}"), 1);
  assert_int_equal(LOOKS("{\"\\u006b\":1}"), 1);
  assert_int_equal(LOOKS("{\"data_parallel_rank\":1}"), 1);
  assert_int_equal(LOOKS("{\"routed_dp_rank\":1}"), 1);
  assert_int_equal(LOOKS("{\0\"\0"), -1);
  assert_int_equal(LOOKS("\0{\0\""), -1);
  assert_int_equal(LOOKS("\0\0\0{\0\0\0}"), -1);
  assert_int_equal(LOOKS("\xff\xfe{"), -1);
  assert_int_equal(LOOKS("\0\0\0 ftypisom"), 0); /* a video */
  assert_int_equal(LOOKS("RIFF\0\0\0\0"), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),   cmocka_unit_test(test_whole_head), cmocka_unit_test(test_forwarded),
    cmocka_unit_test(test_room),   cmocka_unit_test(test_answer),     cmocka_unit_test(test_ids),
    cmocka_unit_test(test_paths),  cmocka_unit_test(test_guard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
