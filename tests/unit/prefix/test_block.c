#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/block.h"

/* The literal keys below were computed with the xxHash shared library from Python, root record and chain put together
 * there by hand; llm-d's come from its own test tables. */

static uint8_t secret[LLMD_SECRET_BYTES];
static uint32_t counting[256]; /* 1, 2, 3, ... */

static int set_up(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof secret; i++)
    secret[i] = (uint8_t)(7 * i + 3);
  for (uint32_t i = 0; i < 256; i++)
    counting[i] = i + 1;
  return 0;
}

static llmd_str str(const char *text)
{
  llmd_str s = {text, text ? strlen(text) : 0};
  return s;
}

static llmd__root root_of(const char *model, const char *lora, const char *salt, const char *tenant,
                          const char *modality)
{
  llmd__root r = {str(model), str(lora), str(salt), str(tenant), str(modality)};
  return r;
}

static void assert_key(llmd_key got, uint64_t lo, uint64_t hi)
{
  assert_true(got.lo == lo);
  assert_true(got.hi == hi);
}

static int same(llmd_key a, llmd_key b)
{
  return a.lo == b.lo && a.hi == b.hi;
}

static void native_keys_are_these(void **state)
{
  llmd__root r = root_of("test-model", NULL, "salt", NULL, NULL);
  llmd__chain c;
  llmd_key k[8];
  (void)state;
  assert_int_equal(llmd__hash_native.begin(&c, secret, &r, 16), 0);
  assert_key(c.parent, 0xcb203324b3622015u, 0xa16cce6c22bbafa9u);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting, 40, LLMD_PREFIX_PARTIAL, k, 8), 3);
  assert_key(k[0], 0xaeaf51ea77e587bdu, 0xa9e78a50dcb37de2u);
  assert_key(k[1], 0x5e88a77bb4964ac8u, 0x64ab81421bb197acu);
  assert_key(k[2], 0x2e4d14d0ca17e488u, 0xe7328ea415d5ea74u);

  r = root_of("m", "lora", "", "tenant", "image");
  assert_int_equal(llmd__hash_native.begin(&c, secret, &r, 64), 0);
  assert_key(c.parent, 0x17c69ff3477f6edau, 0x7b75bb381d047a86u);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting, 128, 0, k, 8), 2);
  assert_key(k[0], 0x46190d9b9968bff9u, 0x6a754c51ff9bc8d0u);
  assert_key(k[1], 0xa7f84fa731acff41u, 0x888bce8698783ed9u);
}

static void llmd_approx_keys_are_these(void **state)
{
  llmd__root r = root_of("test-model", NULL, NULL, NULL, NULL);
  llmd__chain c;
  llmd_key k[8];
  (void)state;
  assert_int_equal(llmd__hash_llmd_approx.begin(&c, NULL, &r, 64), 0);
  assert_key(c.parent, 0x33b20d944a6db4a4u, 0);
  assert_int_equal(llmd__hash_llmd_approx.extend(&c, NULL, counting, 200, LLMD_PREFIX_PARTIAL, k, 8), 4);
  assert_key(k[0], 0x30dc65b8a97dceacu, 0);
  assert_key(k[1], 0x2aedede5aa61b73eu, 0);
  assert_key(k[2], 0x8e59d93b9d0473ffu, 0);
  assert_key(k[3], 0xb9d1c4d02a77655du, 0);

  r = root_of("m", "ignored", "salt", "ignored", "ignored");
  assert_int_equal(llmd__hash_llmd_approx.begin(&c, NULL, &r, 2), 0);
  assert_key(c.parent, 0xd91548f60ba19b9bu, 0);
  assert_int_equal(llmd__hash_llmd_approx.extend(&c, NULL, counting, 4, 0, k, 8), 2);
  assert_key(k[0], 0x6b0e68c54f9ceac3u, 0);
  assert_key(k[1], 0xf1433d4ff41f4429u, 0);
}

/* Moving a byte from one part to the next, or naming another part, gives another root. llm-d's scheme confuses the
 * first. */
static void root_parts_are_separate(void **state)
{
  const llmd__root roots[] = {
    root_of("m", "ab", NULL, NULL, NULL),    root_of("ma", "b", NULL, NULL, NULL),
    root_of("mab", NULL, NULL, NULL, NULL),  root_of(NULL, "mab", NULL, NULL, NULL),
    root_of(NULL, NULL, "mab", NULL, NULL),  root_of(NULL, NULL, NULL, "mab", NULL),
    root_of(NULL, NULL, NULL, NULL, "mab"),  root_of("m", NULL, "ab", NULL, NULL),
    root_of("m", NULL, NULL, "ab", NULL),    root_of("m", NULL, NULL, NULL, "ab"),
    root_of(NULL, NULL, NULL, NULL, NULL),
  };
  llmd__chain a, b;
  (void)state;
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
    assert_int_equal(llmd__hash_native.begin(&a, secret, &roots[i], 16), 0);
    assert_int_equal(llmd__hash_native.begin(&b, secret, &roots[i], 64), 0);
    assert_false(same(a.parent, b.parent));
    for (size_t j = 0; j < i; j++) {
      assert_int_equal(llmd__hash_native.begin(&b, secret, &roots[j], 16), 0);
      assert_false(same(a.parent, b.parent));
    }
  }
}

static void secret_decides_the_keys(void **state)
{
  llmd__root r = root_of("m", NULL, NULL, NULL, NULL);
  uint8_t one[LLMD_SECRET_BYTES], two[LLMD_SECRET_BYTES];
  llmd__chain a, b;
  llmd_key k;
  (void)state;
  memcpy(one, secret, sizeof one);
  memcpy(two, secret, sizeof two);
  two[0] ^= 1;
  assert_int_equal(llmd__hash_native.begin(&a, one, &r, 16), 0);
  assert_int_equal(llmd__hash_native.begin(&b, two, &r, 16), 0);
  assert_false(same(a.parent, b.parent));
  llmd__hash_bytes(secret, "hello", 5, &k);
  assert_key(k, 0x123fc2971046b843u, 0xa863330aa71cb38eu);
}

/* In pieces of any size, with the partial block hashed at every step, the chain is the one made in one go. */
static void chain_resumes(void **state)
{
  const llmd__hash_scheme *scheme[2] = {&llmd__hash_native, &llmd__hash_llmd_approx};
  llmd__root r = root_of("m", NULL, "s", NULL, NULL);
  (void)state;
  for (int s = 0; s < 2; s++) {
    for (uint32_t step = 1; step < 40; step++) {
      llmd__chain whole, grown;
      llmd_key all[64], got[64];
      uint32_t have, n = 0;
      assert_int_equal(scheme[s]->begin(&whole, secret, &r, 8), 0);
      assert_int_equal(scheme[s]->begin(&grown, secret, &r, 8), 0);
      have = scheme[s]->extend(&whole, secret, counting, 250, LLMD_PREFIX_PARTIAL, all, 64);
      assert_int_equal(have, 32);
      assert_int_equal(whole.blocks, 31);
      for (uint32_t end = step; end - step < 250; end += step) {
        uint32_t from = grown.blocks * 8, upto = end < 250 ? end : 250;
        n = grown.blocks;
        n += scheme[s]->extend(&grown, secret, counting + from, upto - from, LLMD_PREFIX_PARTIAL, got + n, 64 - n);
      }
      assert_int_equal(n, have);
      assert_memory_equal(got, all, have * sizeof *all);
      assert_true(same(grown.parent, whole.parent));
    }
  }
}

static void caps_and_edges(void **state)
{
  llmd__root r = root_of("m", NULL, NULL, NULL, NULL);
  llmd__chain c;
  llmd_key k[4] = {{0, 0}, {0, 0}, {0, 0}, {1, 2}};
  (void)state;
  assert_int_equal(llmd__hash_native.begin(&c, secret, &r, 0), LLMD_E_INVALID);
  assert_int_equal(llmd__hash_llmd_approx.begin(&c, secret, &r, 0), LLMD_E_INVALID);
  assert_int_equal(llmd__hash_native.begin(&c, secret, &r, 4), 0);
  assert_int_equal(llmd__hash_native.extend(&c, secret, NULL, 0, LLMD_PREFIX_PARTIAL, k, 4), 0);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting, 3, 0, k, 4), 0);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting, 3, LLMD_PREFIX_PARTIAL, k, 0), 0);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting, 14, LLMD_PREFIX_PARTIAL, k, 3), 3);
  assert_int_equal(c.blocks, 3);
  assert_key(k[3], 1, 2);
  assert_int_equal(llmd__hash_native.extend(&c, secret, counting + 12, 2, LLMD_PREFIX_PARTIAL, k + 3, 1), 1);
  assert_int_equal(c.blocks, 3);
  assert_false(same(k[3], c.parent));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(native_keys_are_these),   cmocka_unit_test(llmd_approx_keys_are_these),
    cmocka_unit_test(root_parts_are_separate), cmocka_unit_test(secret_decides_the_keys),
    cmocka_unit_test(chain_resumes),           cmocka_unit_test(caps_and_edges),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
