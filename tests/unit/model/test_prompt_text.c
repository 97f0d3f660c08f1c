/* The beginning of a prompt's text, as policies may see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "model/request.h"

#define CAP 4096u

static char text[CAP + 1];

/* The text of a body, fed in pieces of `step` bytes. */
static int64_t text_of(const char *path, const char *body, size_t step, size_t cap, uint32_t flags)
{
  size_t size = llmd_request_size(NULL), len = strlen(body);
  llmd_request_options o = {.size = sizeof o, .max_pieces = 4096};
  llmd_request *r;
  void *mem;
  int64_t n;
  size = llmd_request_size(&o);
  mem = malloc(size);
  assert_int_equal(llmd_request_init(mem, size, &o, &r), 0);
  assert_int_equal(llmd_request_line(r, "POST", 4, path, strlen(path)), 0);
  /* pieces that do not adjoin, so that strings lie in several */
  char *copy = malloc(2 * len + 2);
  for (size_t at = 0, to = 0; at < len; at += step, to += step + 1) {
    size_t n_piece = len - at < step ? len - at : step;
    assert_true(to + n_piece <= 2 * len + 1);
    memcpy(copy + to, body + at, n_piece);
    assert_int_equal(llmd_request_feed(r, copy + to, n_piece, LLMD_FEED_KEEP), 0);
  }
  assert_int_equal(llmd_request_feed(r, NULL, 0, LLMD_FEED_FINAL | flags), 0);
  n = llmd__request_prompt_text(r, text, cap);
  if (n >= 0) {
    assert_true((size_t)n <= cap);
    assert_int_equal(llmd__utf8_valid(text, (size_t)n), (size_t)n);
    text[n] = 0;
  }
  free(copy);
  free(mem);
  return n;
}

#define CHAT "/v1/chat/completions"
#define PLAIN "/v1/completions"

static void what_counts(void **state)
{
  static const struct {
    const char *path, *body, *text;
  } rows[] = {
      {PLAIN, "{\"model\":\"m\",\"prompt\":\"hello\"}", "hello"},
      {PLAIN, "{\"prompt\":[\"one\",\"two\"]}", "one\ntwo"},
      {PLAIN, "{\"prompt\":\"a\\\"b\\\\c\\n\\u00e9\\ud83d\\ude00\"}", "a\"b\\c\n\xc3\xa9\xf0\x9f\x98\x80"},
      {CHAT, "{\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hi\"}]}",
       "be brief\nhi"},
      {CHAT, "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\",\"image_url\":"
             "{\"url\":\"http://x/y.png\"}},{\"type\":\"text\",\"text\":\"here\"}],\"role\":\"user\"}]}",
       "look\nhere"},
      {CHAT, "{\"tools\":[{\"type\":\"function\"}],\"messages\":[{\"role\":\"user\",\"content\":\"with tools\"}]}",
       "with tools"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t step = 1; step < 40; step += 7) {
      assert_true(text_of(rows[i].path, rows[i].body, step, CAP, 0) >= 0);
      assert_string_equal(text, rows[i].text);
    }
}

static void nothing_to_see(void **state)
{
  (void)state;
  assert_int_equal(text_of(PLAIN, "{\"model\":\"m\"}", 100, CAP, 0), LLMD_E_NONE);
  assert_int_equal(text_of(PLAIN, "{\"prompt\":[1,2,3]}", 100, CAP, 0), LLMD_E_NONE);
  assert_int_equal(text_of(PLAIN, "", 100, CAP, 0), LLMD_E_NONE);
  assert_int_equal(text_of("/something/else", "{\"prompt\":\"x\"}", 100, CAP, 0), LLMD_E_NONE);
}

/* At every cap what comes is a beginning of the whole, cut between characters. */
static void cut_between_characters(void **state)
{
  static const char body[] = "{\"prompt\":\"a\\u00e9b\xe2\x82\xac\\ud83d\\ude00c\xf0\x9f\x98\x80 and so on, up to the end\"}";
  char whole[128];
  int64_t all, before = -1;
  (void)state;
  all = text_of(PLAIN, body, 100, CAP, 0);
  memcpy(whole, text, (size_t)all + 1);
  for (size_t cap = 0; cap <= (size_t)all + 2; cap++) {
    int64_t n = text_of(PLAIN, body, 3, cap, 0);
    assert_true(n >= before && n <= all && n + 3 >= (int64_t)(cap < (size_t)all ? cap : (size_t)all));
    assert_memory_equal(text, whole, (size_t)n);
    before = n;
  }
  assert_int_equal(before, all);
}

static void long_prompts(void **state)
{
  static char body[20000];
  size_t n = (size_t)snprintf(body, sizeof body, "{\"prompt\":\"");
  (void)state;
  while (n < 12000)
    n += (size_t)snprintf(body + n, sizeof body - n, "\\u20ac");
  snprintf(body + n, sizeof body - n, "\"}");
  assert_int_equal(text_of(PLAIN, body, 997, CAP, 0), CAP - CAP % 3);
  assert_memory_equal(text + CAP - CAP % 3 - 3, "\xe2\x82\xac", 3);
}

/* Of a body that the host could not show whole, what is there. */
static void truncated(void **state)
{
  int64_t n;
  (void)state;
  n = text_of(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"first\"},{\"role\":\"user\",\"content\":\"seco", 7, CAP,
              LLMD_FEED_TRUNCATED);
  assert_true(n >= 5);
  assert_memory_equal(text, "first", 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_counts),    cmocka_unit_test(nothing_to_see), cmocka_unit_test(cut_between_characters),
      cmocka_unit_test(long_prompts),   cmocka_unit_test(truncated),
  };
  return cmocka_run_group_tests_name("prompt text", tests, NULL, NULL);
}
