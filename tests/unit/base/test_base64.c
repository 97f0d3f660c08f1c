#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base64.h"

#include <llmd/error.h>

#include <string.h>

/* RFC 4648 §10, and the two characters that differ between alphabets. */
static const struct {
  const char *bytes, *text;
} pairs[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
             {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}};

static void published_pairs(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char text[16], bytes[16];
    size_t n = 99, len = strlen(pairs[i].bytes);
    assert_int_equal(LLMD__BASE64_LEN(len), strlen(pairs[i].text));
    assert_int_equal(llmd__base64_encode(pairs[i].bytes, len, text, sizeof text), LLMD_OK);
    assert_string_equal(text, pairs[i].text);
    assert_int_equal(llmd__base64_decode(text, strlen(text), bytes, sizeof bytes, &n), LLMD_OK);
    assert_int_equal(n, len);
    assert_memory_equal(bytes, pairs[i].bytes, len);
  }
}

/* Every pair of bytes has one spelling, and of all spellings of four characters only those decode. */
static void one_spelling_each(void **state)
{
  static const char some[] = "Aa9+/=-_ \nBQgw";
  size_t accepted = 0, n;
  unsigned char bytes[3];
  char text[5];
  (void)state;
  for (size_t i = 0; i < 38416; i++) { /* 14^4 */
    size_t v = i;
    for (size_t c = 0; c < 4; c++, v /= 14)
      text[c] = some[v % 14];
    if (llmd__base64_decode(text, 4, bytes, sizeof bytes, &n) != LLMD_OK)
      continue;
    char again[5];
    accepted++;
    assert_int_equal(llmd__base64_encode(bytes, n, again, sizeof again), LLMD_OK);
    assert_memory_equal(again, text, 4);
  }
  /* Nine characters are of the alphabet. Before '=' only those may stand whose low bits are zero: A, Q, g, w. */
  assert_int_equal(accepted, 9 * 9 * 9 * 9 + 9 * 9 * 4 + 9 * 4);
}

static void refusals_leave_the_output(void **state)
{
  static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg==Zg==", "=Zg=", "====", "Zm9v\n", "Zm9v====", "Zm-_",
                                    "Zh==", "Zm9="};
  char out[8] = "before";
  size_t n = 7;
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(llmd__base64_decode(bad[i], strlen(bad[i]), out, sizeof out, &n), LLMD_E_SYNTAX);
  assert_int_equal(llmd__base64_decode("Zm9v", 4, out, 2, &n), LLMD_E_LIMIT);
  assert_int_equal(llmd__base64_encode("foo", 3, out, 4), LLMD_E_LIMIT);
  assert_string_equal(out, "before");
  assert_int_equal(n, 7);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_pairs),
      cmocka_unit_test(one_spelling_each),
      cmocka_unit_test(refusals_leave_the_output),
  };
  return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
