/* The head of an index that somebody else made: whatever it says, with a sum that is right, nothing in it may point
 * outside what it says it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/block.h"
#include "prefix/exact.h"

#define FROM offsetof(llmd__x_head, bytes)
#define TO offsetof(llmd__x_head, sum)

static void *made(size_t *len)
{
  llmd_index_options o = {.size = sizeof o, .rows = 40, .bytes = 1u << 20};
  void *mem;
  *len = llmd_index_size(&o);
  mem = aligned_alloc(64, (*len + 63u) & ~(size_t)63u);
  assert_non_null(mem);
  assert_int_equal(llmd_index_format(mem, *len, &o), 0);
  return mem;
}

static void sum_again(llmd__x_head *h)
{
  static const uint8_t zero[LLMD_SECRET_BYTES];
  llmd_key k;
  llmd__hash_bytes(zero, (const char *)h + FROM, TO - FROM, &k);
  h->sum = k.lo;
}

static int opens(void *mem, size_t len)
{
  llmd_index *x;
  int rc = llmd_index_open(mem, len, NULL, &x, NULL);
  if (rc == 0)
    llmd_index_close(x);
  return rc;
}

static void test_a_head_as_it_was_made_opens(void **state)
{
  size_t len;
  void *mem = made(&len);
  (void)state;
  sum_again(mem);
  assert_int_equal(opens(mem, len), 0);
  assert_int_equal(opens(mem, len - 1), LLMD_E_MISMATCH);
  free(mem);
}

/* Each of its words, a little more, a little less, and far away. */
static void test_no_number_of_a_head_can_be_forged(void **state)
{
  static const int64_t by[] = {1, -1, 64, -64, 4096, -4096, 1 << 30, INT64_C(1) << 40};
  size_t len;
  void *mem = made(&len);
  (void)state;
  for (size_t at = FROM; at < TO; at += 4)
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
      uint32_t was, is;
      memcpy(&was, (char *)mem + at, 4);
      is = was + (uint32_t)by[i] + (uint32_t)(by[i] >> 32);
      memcpy((char *)mem + at, &is, 4);
      sum_again(mem);
      if (opens(mem, len) != LLMD_E_MISMATCH)
        fail_msg("word at %zu of the head, %u for %u: opened", at, is, was);
      memcpy((char *)mem + at, &was, 4);
    }
  sum_again(mem);
  assert_int_equal(opens(mem, len), 0);
  free(mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_head_as_it_was_made_opens),
      cmocka_unit_test(test_no_number_of_a_head_can_be_forged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
