#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json_write.h"

#include <llmd/error.h>

#include <math.h>
#include <string.h>

/* Keeps what is written; stops after `calls` pieces. */
struct sink {
  char text[8192];
  size_t len, pieces, longest, stop_at;
};

static int take(void *ud, const char *p, size_t n)
{
  struct sink *s = ud;
  if (++s->pieces == s->stop_at)
    return 1;
  assert_true(n > 0 && s->len + n < sizeof s->text);
  memcpy(s->text + s->len, p, n);
  s->len += n;
  s->text[s->len] = 0;
  if (n > s->longest)
    s->longest = n;
  return 0;
}

static void structure(void **state)
{
  struct sink s = {.len = 0};
  llmd__json w;
  (void)state;
  llmd__json_init(&w, take, &s);
  llmd__json_begin_map(&w);
  llmd__json_key(&w, "a");
  llmd__json_begin_list(&w);
  llmd__json_int(&w, 1);
  llmd__json_begin_list(&w);
  llmd__json_end(&w);
  llmd__json_begin_map(&w);
  llmd__json_end(&w);
  llmd__json_bool(&w, 1);
  llmd__json_bool(&w, 0);
  llmd__json_null(&w);
  llmd__json_raw(&w, "1e9999", 6);
  llmd__json_end(&w);
  llmd__json_key_n(&w, "bc", 1);
  llmd__json_text(&w, "x");
  llmd__json_key(&w, "");
  llmd__json_text(&w, NULL);
  llmd__json_end(&w);
  assert_int_equal(llmd__json_finish(&w), LLMD_OK);
  assert_string_equal(s.text, "{\"a\":[1,[],{},true,false,null,1e9999],\"b\":\"x\",\"\":null}");
}

static void numbers(void **state)
{
  struct sink s = {.len = 0};
  llmd__json w;
  (void)state;
  llmd__json_init(&w, take, &s);
  llmd__json_begin_list(&w);
  llmd__json_int(&w, 0);
  llmd__json_int(&w, INT64_MIN);
  llmd__json_int(&w, INT64_MAX);
  llmd__json_uint(&w, UINT64_MAX);
  llmd__json_double(&w, 0.1);
  llmd__json_double(&w, -2.5);
  llmd__json_double(&w, 3);
  llmd__json_double(&w, 1e21);
  llmd__json_double(&w, NAN);
  llmd__json_double(&w, INFINITY);
  llmd__json_double(&w, -INFINITY);
  llmd__json_end(&w);
  assert_int_equal(llmd__json_finish(&w), LLMD_OK);
  assert_string_equal(s.text,
                      "[0,-9223372036854775808,9223372036854775807,18446744073709551615,0.1,-2.5,3,1e+21,"
                      "null,null,null]");
}

static void strings(void **state)
{
  static const struct {
    const char *bytes;
    size_t len;
    const char *json;
  } rows[] = {
      {"", 0, "\"\""},
      {"plain \xc3\xa9 \xf0\x9f\x98\x80 /", 15, "\"plain \xc3\xa9 \xf0\x9f\x98\x80 /\""},
      {"\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
      {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\""},
      {"a\xff" "b", 3, "\"a\xef\xbf\xbd" "b\""},
      {"\xe2\x82", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                     /* cut short */
      {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
      {"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},                     /* overlong */
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct sink s = {.len = 0};
    llmd__json w;
    llmd__json_init(&w, take, &s);
    llmd__json_str(&w, rows[i].bytes, rows[i].len);
    assert_int_equal(llmd__json_finish(&w), LLMD_OK);
    assert_string_equal(s.text, rows[i].json);
  }
}

/* Whatever the length, nothing is lost or doubled where the buffer is handed over. */
static void long_texts_cross_the_buffer(void **state)
{
  static char text[2000];
  (void)state;
  for (size_t i = 0; i < sizeof text; i++)
    text[i] = (char)('a' + i % 26);
  for (size_t n = 500; n < 530; n++) {
    struct sink s = {.len = 0};
    llmd__json w;
    llmd__json_init(&w, take, &s);
    llmd__json_begin_list(&w);
    llmd__json_str(&w, text, n);
    llmd__json_str(&w, text, sizeof text);
    llmd__json_end(&w);
    assert_int_equal(llmd__json_finish(&w), LLMD_OK);
    assert_int_equal(s.len, n + sizeof text + 7);
    assert_memory_equal(s.text + 2, text, n);
    assert_memory_equal(s.text + 2 + n, "\",\"", 3);
    assert_memory_equal(s.text + 5 + n, text, sizeof text);
    assert_true(s.pieces > 4 && s.longest <= sizeof w.buf);
  }
}

static void a_stop_is_final(void **state)
{
  struct sink s = {.stop_at = 2};
  llmd__json w;
  (void)state;
  llmd__json_init(&w, take, &s);
  llmd__json_begin_list(&w);
  for (int i = 0; i < 10000; i++)
    llmd__json_int(&w, i);
  llmd__json_end(&w);
  assert_int_equal(llmd__json_finish(&w), LLMD_E_STOPPED);
  assert_int_equal(s.pieces, 2);
  assert_int_equal(s.len, sizeof w.buf);
}

enum { MAP, LIST, END, KEY, VALUE, STOP };

static int run(const uint8_t *calls, struct sink *s)
{
  llmd__json w;
  llmd__json_init(&w, take, s);
  for (; *calls != STOP; calls++)
    switch (*calls) {
    case MAP:
      llmd__json_begin_map(&w);
      break;
    case LIST:
      llmd__json_begin_list(&w);
      break;
    case END:
      llmd__json_end(&w);
      break;
    case KEY:
      llmd__json_key(&w, "k");
      break;
    default:
      llmd__json_null(&w);
    }
  return llmd__json_finish(&w);
}

static void misuse_is_an_error(void **state)
{
  static const uint8_t good[][6] = {{VALUE, STOP}, {LIST, END, STOP}, {MAP, KEY, MAP, END, END, STOP}};
  static const uint8_t bad[][6] = {{STOP},
                                   {VALUE, VALUE, STOP},
                                   {KEY, STOP},
                                   {END, STOP},
                                   {LIST, STOP},
                                   {LIST, KEY, STOP},
                                   {LIST, END, END, STOP},
                                   {MAP, VALUE, STOP},
                                   {MAP, LIST, STOP},
                                   {MAP, KEY, END, STOP},
                                   {MAP, KEY, KEY, STOP},
                                   {LIST, END, LIST, END, STOP}};
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    assert_int_equal(run(good[i], &(struct sink){.len = 0}), LLMD_OK);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(run(bad[i], &(struct sink){.len = 0}), LLMD_E_STATE);
}

static void depth(void **state)
{
  for (int deep = LLMD__JSON_MAX_DEPTH; deep <= LLMD__JSON_MAX_DEPTH + 1; deep++) {
    struct sink s = {.len = 0};
    llmd__json w;
    llmd__json_init(&w, take, &s);
    for (int i = 0; i < deep; i++)
      llmd__json_begin_list(&w);
    for (int i = 0; i < deep; i++)
      llmd__json_end(&w);
    assert_int_equal(llmd__json_finish(&w), deep > LLMD__JSON_MAX_DEPTH ? LLMD_E_DEPTH : LLMD_OK);
  }
  (void)state;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(structure),
      cmocka_unit_test(numbers),
      cmocka_unit_test(strings),
      cmocka_unit_test(long_texts_cross_the_buffer),
      cmocka_unit_test(a_stop_is_final),
      cmocka_unit_test(misuse_is_an_error),
      cmocka_unit_test(depth),
  };
  return cmocka_run_group_tests_name("json_write", tests, NULL, NULL);
}
