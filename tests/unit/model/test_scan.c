#include "read_request.h"

#include "model/digits.h"
#include "model/integral.h"
#include "model/scan.h"
#include "base/utf8.h"

typedef const char *(*scanner)(const char *begin, const char *p, const char *end, uint64_t *escapes);

/* The rule, one character at a time. */
static size_t slowly(const char *p, size_t n, uint64_t *escapes)
{
  size_t i = 0;
  while (i < n) {
    uint32_t cp;
    size_t len = llmd__utf8_read(p + i, n - i, &cp);
    if (p[i] == '\\' && i + 1 < n && strchr("\"\\/bfnrt", p[i + 1]) && p[i + 1]) {
      ++*escapes;
      len = 2;
    } else if (len == 1 && (cp < 0x20 || cp == '"' || cp == '\\')) {
      return i;
    }
    if (len == 0)
      return i;
    i += len;
  }
  return n;
}

static void check(const char *text, size_t n)
{
  static const scanner scanners[] = {llmd__scan_text, llmd__scan_text_plain};
  char *copy = malloc(n + 1); /* exactly as long: a sanitizer sees what is read beyond */
  assert_non_null(copy);
  memcpy(copy, text, n);
  uint64_t want_escapes = 0;
  size_t want = slowly(copy, n, &want_escapes);
  for (size_t i = 0; i < 2; i++) {
    uint64_t escapes = 0;
    assert_int_equal(scanners[i](copy, copy, copy + n, &escapes) - copy, want);
    assert_int_equal(escapes, want_escapes);
  }
  free(copy);
}

static const char *const parts[] = {
    "a", "plain ", "\\n", "\\\"", "\\\\", "\\u00e9", "\\x", "\"", "\x1f", "\x7f", "\xc3\xa9", "\xe4\xb8\xad",
        "\xef\xbf\xbf",
    "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80",
    /* broken: stray, overlong, surrogate, too high, cut, impossible */
    "\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
    "\xff", "\xe4\xb8", "\xf0\x9f\x98", "\xc3"};
#define GOOD 19 /* parts before the broken ones that are neither special nor cut: see random_text */

static uint64_t next_random(uint64_t *x)
{
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x;
}

static void each_part_at_each_place(void **state)
{
  char text[256];
  (void)state;
  for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
    for (size_t before = 0; before < 80; before++) {
      size_t n = strlen(parts[p]);
      memset(text, 'x', sizeof text);
      memcpy(text + before, parts[p], n);
      check(text, before + n);
      check(text, before + n + 1);
      check(text, before + n + 70);
      for (size_t i = 0; i + 3 <= before; i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
      check(text, before + n + 70);
    }
  }
}

static void random_texts(void **state)
{
  char text[512];
  uint64_t x = 88172645463325252u;
  (void)state;
  for (int round = 0; round < 20000; round++) {
    size_t n = 0;
    unsigned count = (unsigned)(next_random(&x) % 60);
    for (unsigned i = 0; i < count; i++) {
      size_t pick = next_random(&x) % (next_random(&x) % 40 ? GOOD : sizeof parts / sizeof *parts);
      if (pick >= 6 && pick <= 9 && next_random(&x) % 30)
        pick = 10;
      memcpy(text + n, parts[pick], strlen(parts[pick]));
      n += strlen(parts[pick]);
    }
    check(text, n);
  }
}

/* All pairs of a lead and a second byte, inside long text, so that the wide path sees them. */
static void every_lead_and_second_byte(void **state)
{
  char text[64];
  (void)state;
  for (unsigned lead = 0x80; lead < 0x100; lead++) {
    for (unsigned second = 0; second < 0x100; second++) {
      for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
      text[32] = (char)(unsigned char)lead;
      text[33] = (char)(unsigned char)second;
      text[34] = text[35] = (char)0x80u;
      check(text, sizeof text - 2);
    }
  }
}

static void digits_in_words(void **state)
{
  char text[16];
  (void)state;
  for (uint32_t v = 0; v < 10000000; v = v * 3 + 1) {
    snprintf(text, sizeof text, "%u, 77", v);
    unsigned n = (unsigned)strcspn(text, ",");
    assert_int_equal(llmd__digits(text), n);
    assert_int_equal(llmd__digits_value(text, n), v);
  }
  memcpy(text, "12345678", 8);
  assert_int_equal(llmd__digits(text), 8);
  assert_int_equal(llmd__digits_value(text, 8), 12345678);
  for (unsigned c = 0; c < 256; c++) {
    memset(text, '5', 8);
    text[3] = (char)(unsigned char)c;
    assert_int_equal(llmd__digits(text), c >= '0' && c <= '9' ? 8 : 3);
  }
}

static void whole_numbers_in_any_spelling(void **state)
{
  static const struct {
    const char *text;
    int whole, saturated;
    int64_t value;
  } cases[] = {
      {"1e3", 1, 0, 1000}, {"100.0", 1, 0, 100}, {"1.5", 0, 0, 0}, {"1.50e1", 1, 0, 15}, {"15e-1", 0, 0, 0},
      {"150e-1", 1, 0, 15}, {"-2E+2", 1, 0, -200}, {"0e999999999", 1, 0, 0}, {"1e999999999", 1, 1, INT64_MAX},
      {"-1e30", 1, 1, INT64_MIN}, {"1e-5", 0, 0, 0}, {"0.000e-5", 1, 0, 0},
      {"9007199254740993.0", 1, 0, INT64_C(9007199254740993)},
      {"9223372036854775807.0", 1, 0, INT64_MAX}, {"9223372036854775808e0", 1, 1, INT64_MAX},
      {"-9223372036854775808.0", 1, 0, INT64_MIN}, {"922337203685477580.7e1", 1, 0, INT64_MAX},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t v = 0;
    int saturated = 0;
    assert_int_equal(llmd__integral(cases[i].text, strlen(cases[i].text), &v, &saturated), cases[i].whole);
    if (cases[i].whole) {
      assert_int_equal(v, cases[i].value);
      assert_int_equal(saturated, cases[i].saturated);
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_part_at_each_place), cmocka_unit_test(random_texts),
      cmocka_unit_test(every_lead_and_second_byte), cmocka_unit_test(digits_in_words),
      cmocka_unit_test(whole_numbers_in_any_spelling),
  };
  return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
