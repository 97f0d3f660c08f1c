/* What is read from answers as they pass: server-sent events however they are cut, usage in all its spellings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/refusal.h"
#include "uv/proxy/sse.h"
#include "uv/proxy/usage.h"

static llmd_allocator alloc;

static uint64_t dice;

static uint32_t roll(uint32_t n)
{
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(dice >> 33) % n;
}

typedef struct buffer {
  char at[65536];
  size_t len;
} buffer;

static void add(buffer *b, const char *p, size_t n)
{
  assert_true(n <= sizeof b->at - b->len);
  memcpy(b->at + b->len, p, n);
  b->len += n;
}

static void add_text(buffer *b, const char *text)
{
  add(b, text, strlen(text));
}

static void feed(llmd__sse *s, llmd_str in, buffer *out)
{
  llmd_str piece[LLMD__SSE_PIECES];
  while (in.len) {
    int n = llmd__sse_feed(s, &alloc, &in, piece);
    assert_in_range(n, 0, LLMD__SSE_PIECES);
    for (int i = 0; i < n; i++)
      add(out, piece[i].ptr, piece[i].len);
    llmd__sse_sent(s, &alloc);
  }
}

/* ---- events ---- */

#define USAGE "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5}}"

static const char *const events[] = {
  "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", ": ping", "event: x\ndata: 1\nid: 7", "data: [DONE]", "data",
  "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"}}],\"usage\":null}", "",
  "data: {\"choices\":[],\"usage\":null}",
};

/* A stream of events, and what the client is to see of it. */
static void make_stream(buffer *in, buffer *want, int take_out)
{
  const char *const ends[] = {"\n", "\r\n"};
  const char *end = ends[roll(2)];
  uint32_t n = 1 + roll(12), ours = roll(n);
  in->len = want->len = 0;
  for (uint32_t i = 0; i < n; i++) {
    const char *event = i == ours ? USAGE : events[roll(sizeof events / sizeof *events)];
    size_t from = in->len;
    for (const char *p = event; *p; p++)
      *p == '\n' ? add_text(in, end) : add(in, p, 1);
    add_text(in, end);
    if (event[0])
      add_text(in, end);
    if (i != ours || !take_out)
      add(want, in->at + from, in->len - from);
  }
}

static void test_cuts(void **state)
{
  static buffer in, want, out;
  (void)state;
  dice = 1;
  for (int round = 0; round < 20000; round++) {
    int take_out = roll(4) != 0;
    llmd__sse s;
    size_t at = 0;
    uint32_t most = 1 + roll(roll(2) ? 4 : 200);
    make_stream(&in, &want, take_out);
    out.len = 0;
    llmd__sse_init(&s, LLMD__USAGE_KEY, 4096, take_out);
    while (at < in.len) {
      size_t n = 1 + roll(most);
      n = n < in.len - at ? n : in.len - at;
      feed(&s, (llmd_str){in.at + at, n}, &out);
      at += n;
    }
    assert_int_equal(llmd__sse_rest(&s).len, 0);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.at, want.at, want.len);
    assert_true(s.usage.prompt_tokens == 11 && s.usage.output_tokens == 5);
    assert_int_equal(s.removed, take_out);
    assert_int_equal(s.raw, 0);
    llmd__sse_free(&s, &alloc);
  }
}

/* An event is passed on as soon as it is whole. */
static void test_at_once(void **state)
{
  static buffer out;
  llmd__sse s;
  (void)state;
  llmd__sse_init(&s, LLMD__USAGE_KEY, 4096, 1);
  out.len = 0;
  feed(&s, (llmd_str){": ping\n\n", 8}, &out);
  assert_int_equal(out.len, 8);
  assert_int_equal(s.data, 0);
  feed(&s, (llmd_str){"data: 1\n", 8}, &out);
  assert_int_equal(out.len, 8);
  feed(&s, (llmd_str){"\n", 1}, &out);
  assert_int_equal(out.len, 17);
  assert_int_equal(s.data, 1);
  feed(&s, (llmd_str){"data: 2\n\ndat", 12}, &out);
  assert_int_equal(out.len, 26);
  assert_int_equal(llmd__sse_rest(&s).len, 3);
  llmd__sse_free(&s, &alloc);
}

/* Beyond the limit nothing is held, and nothing is lost. */
static void test_long_event(void **state)
{
  static buffer in, out;
  llmd__sse s;
  (void)state;
  for (int i = 0; i < 3000; i++)
    add_text(&in, "0123456789");
  add_text(&in, "\n\n" USAGE "\n\n");
  llmd__sse_init(&s, LLMD__USAGE_KEY, 1000, 1);
  for (size_t at = 0; at < in.len; at += 100)
    feed(&s, (llmd_str){in.at + at, in.len - at < 100 ? in.len - at : 100}, &out);
  assert_int_equal(s.raw, 1);
  assert_int_equal(out.len, in.len);
  assert_memory_equal(out.at, in.at, in.len);
  llmd__sse_free(&s, &alloc);
}

static void test_no_memory(void **state)
{
  static buffer out;
  llmd__sse s;
  (void)state;
  llmd__sse_init(&s, LLMD__USAGE_KEY, 1, 1);
  out.len = 0;
  feed(&s, (llmd_str){"data: 1\n\nda", 11}, &out);
  feed(&s, (llmd_str){"ta: 2\r", 6}, &out);
  assert_int_equal(out.len, 17);
  assert_memory_equal(out.at, "data: 1\n\ndata: 2\r", 17);
}

static void test_lone_cr(void **state)
{
  static buffer out;
  llmd__sse s;
  (void)state;
  llmd__sse_init(&s, LLMD__USAGE_KEY, 4096, 1);
  out.len = 0;
  feed(&s, (llmd_str){"data: 1\r\rdata: 2\r", 17}, &out);
  assert_int_equal(out.len, 17);
  assert_int_equal(s.raw, 1);
}

/* ---- usage ---- */

static void expect(const char *text, const char *key, double prompt, double output, double cached)
{
  llmd_usage u;
  llmd__usage_init(&u);
  (void)llmd__usage_read((llmd_str){text, strlen(text)}, key, &u);
  if (!((u.prompt_tokens == prompt || (isnan(prompt) && isnan(u.prompt_tokens))) &&
        (u.output_tokens == output || (isnan(output) && isnan(u.output_tokens))) &&
        (u.cached_tokens == cached || (isnan(cached) && isnan(u.cached_tokens)))))
    fail_msg("%s: %g %g %g", text, u.prompt_tokens, u.output_tokens, u.cached_tokens);
}

static void test_usage(void **state)
{
  const double none = (double)NAN;
  (void)state;
  expect("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}", LLMD__USAGE_KEY, 1, 2, none);
  expect("{ \"usage\" : { \"prompt_tokens\" : 1e3 , \"prompt_tokens_details\" : { \"cached_tokens\" : 16 } } }",
         LLMD__USAGE_KEY, 1000, none, 16);
  expect("{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"cache_creation_input_tokens\":2,"
         "\"output_tokens\":4}}", LLMD__USAGE_KEY, 17, 4, 5);
  expect("{\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":4,"
         "\"output_tokens_details\":{\"reasoning_tokens\":9,\"cached_tokens\":8}}}", LLMD__USAGE_KEY, 10, 4, 3);
  expect("{\"usage\":null}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"usage\":{}}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"usage\":[1]}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":9}\"}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"content\":\"usage\",\"x\":{\"prompt_tokens\":9}}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"usage\":{\"prompt_tokens\":9}", LLMD__USAGE_KEY, 9, none, none);
  expect("{\"usage\":{\"prompt_tokens\":9", LLMD__USAGE_KEY, none, none, none);
  expect("{\"usage\":{\"prompt_tokens\":-9,\"completion_tokens\":1e300}}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"usage\":{\"prompt_tokens\":\"9\",\"completion_tokens\":2}}", LLMD__USAGE_KEY, none, 2, none);
  expect("{\"usage\":{\"a\":{\"prompt_tokens\":9},\"completion_tokens\":2}}", LLMD__USAGE_KEY, none, 2, none);
  expect("{\"usage\":{\"a\":[[[[[[[[[[[[1]]]]]]]]]]]],\"completion_tokens\":2}}", LLMD__USAGE_KEY, none, none, none);
  expect("{\"text\":\"a\",\"meta_info\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"cached_tokens\":4}}",
         LLMD__USAGE_META, 5, 6, 4);
}

/* Anthropic's two events add up. */
static void test_usage_in_turn(void **state)
{
  static const char begin[] = "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}";
  static const char end[] = "{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":30}}";
  llmd_usage u;
  (void)state;
  llmd__usage_init(&u);
  assert_int_equal(llmd__usage_read((llmd_str){begin, sizeof begin - 1}, LLMD__USAGE_KEY, &u), 1);
  assert_int_equal(llmd__usage_read((llmd_str){end, sizeof end - 1}, LLMD__USAGE_KEY, &u), 1);
  assert_true(u.prompt_tokens == 9 && u.output_tokens == 30);
}

/* Bytes of any kind: nothing is read beyond them (sanitizers look). */
static void test_usage_garbage(void **state)
{
  static const char *const parts[] = {"\"usage\"", ":", "{", "}", "\"prompt_tokens\"",
                                      "\"", "\\", "1", "e", "[", "]", ",", " ", "-"};
  (void)state;
  dice = 2;
  for (int round = 0; round < 20000; round++) {
    llmd_usage u;
    size_t len = 0;
    char text[256], *exact;
    for (uint32_t i = roll(24); i-- > 0;) {
      const char *p = parts[roll(sizeof parts / sizeof *parts)];
      memcpy(text + len, p, strlen(p));
      len += strlen(p);
      if (len > 200)
        break;
    }
    exact = malloc(len + !len);
    assert_non_null(exact);
    memcpy(exact, text, len);
    llmd__usage_init(&u);
    (void)llmd__usage_read((llmd_str){exact, len}, LLMD__USAGE_KEY, &u);
    (void)llmd__usage_no_choices((llmd_str){exact, len});
    free(exact);
  }
}

static void test_tail(void **state)
{
  llmd__tail t = {NULL, 0, 0};
  static char piece[50000];
  (void)state;
  for (int i = 0; i < 40; i++) {
    size_t n = 1 + (size_t)i * 1237;
    memset(piece, 'a' + i % 26, n);
    assert_int_equal(llmd__tail_add(&t, &alloc, (llmd_str){piece, n}), 0);
    assert_true(t.len >= n && t.cap <= 2 * (size_t)LLMD__TAIL);
    assert_memory_equal(t.at + t.len - n, piece, n);
  }
  assert_true(t.len >= LLMD__TAIL);
  llmd__tail_free(&t, &alloc);
}

static void test_no_choices(void **state)
{
  (void)state;
#define IS(text) llmd__usage_no_choices((llmd_str){text, sizeof(text) - 1})
  assert_int_equal(IS("{\"choices\":[],\"usage\":{}}"), 1);
  assert_int_equal(IS("{ \"choices\" : [ ] }"), 1);
  assert_int_equal(IS("{\"choices\":[{}]}"), 0);
  assert_int_equal(IS("{\"choices\":["), 0);
  assert_int_equal(IS("{\"usage\":{}}"), 0);
  assert_int_equal(IS("{\\\"choices\\\":[]}"), 0);
}

/* ---- errors ---- */

static void test_refusal(void **state)
{
  char body[LLMD__REFUSAL_ROOM + 1], message[400];
  size_t n;
  (void)state;
  n = llmd__refusal_body(429, "saturated", "say \"no\"\n", 0, body);
  body[n] = 0;
  assert_string_equal(body, "{\"error\":{\"message\":\"say \\u0022no\\u0022\\u000a\",\"type\":\"rate_limit_error\","
                            "\"param\":null,\"code\":\"saturated\"}}");
  memset(message, 1, sizeof message - 1);
  message[sizeof message - 1] = 0;
  n = llmd__refusal_body(503, "no_endpoints", message, 1, body);
  assert_true(n < LLMD__REFUSAL_ROOM && body[n - 1] == '}' && body[n - 2] == '}');
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_cuts),          cmocka_unit_test(test_at_once), cmocka_unit_test(test_long_event),
    cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_lone_cr), cmocka_unit_test(test_usage),
    cmocka_unit_test(test_usage_in_turn), cmocka_unit_test(test_usage_garbage), cmocka_unit_test(test_tail),
    cmocka_unit_test(test_no_choices),    cmocka_unit_test(test_refusal),
  };
  llmd__alloc_init(&alloc, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
