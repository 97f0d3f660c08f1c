#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"

#include <string.h>

static void every_scalar_value_round_trips(void **state)
{
  (void)state;
  for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
    char text[4];
    uint32_t back = 0;
    if (cp >= 0xd800 && cp <= 0xdfff)
      continue;
    size_t n = llmd__utf8_write(text, cp);
    assert_int_equal(llmd__utf8_read(text, n, &back), n);
    assert_int_equal(back, cp);
    assert_int_equal(llmd__utf8_read(text, n - 1, &back), 0); /* cut short */
  }
}

/* How many sequences of exactly n bytes are one valid character: nothing but what was written above may be read. */
static size_t count_valid(size_t n, const unsigned char *tails, size_t n_tails)
{
  size_t valid = 0;
  for (unsigned lead = 0; lead < 256; lead++)
    for (unsigned second = 0; second < (n > 1 ? 256 : 1); second++)
      for (size_t third = 0; third < (n > 2 ? n_tails : 1); third++)
        for (size_t fourth = 0; fourth < (n > 3 ? n_tails : 1); fourth++) {
          unsigned char s[4] = {(unsigned char)lead, (unsigned char)second, tails[third], tails[fourth]};
          uint32_t cp = 0;
          valid += llmd__utf8_read((const char *)s, n, &cp) == n;
        }
  return valid;
}

static void nothing_else_is_valid(void **state)
{
  unsigned char all[256];
  static const unsigned char edges[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
  (void)state;
  for (unsigned i = 0; i < 256; i++)
    all[i] = (unsigned char)i;
  assert_int_equal(count_valid(1, all, 256), 0x80);
  assert_int_equal(count_valid(2, all, 256), 0x800 - 0x80);
  assert_int_equal(count_valid(3, all, 256), 0x10000 - 0x800 - 0x800);
  assert_int_equal(count_valid(4, edges, 6), 0x100000 / 4096 * 4); /* 2 of 64 in each of two tails */
}

static void first_bad_byte_is_found_everywhere(void **state)
{
  char text[64];
  (void)state;
  for (size_t n = 0; n <= sizeof text; n++)
    for (size_t bad = 0; bad < n; bad++) {
      memset(text, 'a', sizeof text);
      text[bad] = (char)0x80;
      assert_int_equal(llmd__utf8_valid(text, n), bad);
    }
  memset(text, 'a', sizeof text);
  assert_int_equal(llmd__utf8_valid(text, sizeof text), sizeof text);
  memcpy(text + 30, "\xf0\x9f\x98\x80", 4);
  assert_int_equal(llmd__utf8_valid(text, sizeof text), sizeof text);
  assert_int_equal(llmd__utf8_valid(text, 33), 30);
  assert_int_equal(llmd__utf8_valid(NULL, 0), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_scalar_value_round_trips),
      cmocka_unit_test(nothing_else_is_valid),
      cmocka_unit_test(first_bad_byte_is_found_everywhere),
  };
  return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
