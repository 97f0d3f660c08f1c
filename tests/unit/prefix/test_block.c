#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/block.h"

/* The literal keys below were computed with the xxHash shared library from Python, root record and chain put together
 * there by hand. */

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

static llmd_chain_root root_of(uint32_t block_tokens, const char *model, const char *lora, const char *salt,
                               const char *tenant, const char *modality)
{
  llmd_chain_root r = {sizeof r, block_tokens, str(model), str(lora), str(salt), str(tenant), str(modality)};
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
  llmd_chain_root r = root_of(16, "test-model", NULL, "salt", NULL, NULL);
  llmd_chain c;
  llmd_key k[8];
  (void)state;
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  assert_key(c.parent, 0xcb203324b3622015u, 0xa16cce6c22bbafa9u);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 40, NULL, 0, k, 8), 2);
  assert_key(k[0], 0xaeaf51ea77e587bdu, 0xa9e78a50dcb37de2u);
  assert_key(k[1], 0x5e88a77bb4964ac8u, 0x64ab81421bb197acu);
  c.block_tokens = 8; /* a last, shorter block */
  assert_int_equal(llmd_chain_extend(&c, secret, counting + 32, 8, NULL, 0, k, 8), 1);
  assert_key(k[0], 0x2e4d14d0ca17e488u, 0xe7328ea415d5ea74u);

  r = root_of(64, "m", "lora", "", "tenant", "image");
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  assert_key(c.parent, 0x17c69ff3477f6edau, 0x7b75bb381d047a86u);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 128, NULL, 0, k, 8), 2);
  assert_key(k[0], 0x46190d9b9968bff9u, 0x6a754c51ff9bc8d0u);
  assert_key(k[1], 0xa7f84fa731acff41u, 0x888bce8698783ed9u);
}

/* Moving a byte from one part to the next, or naming another part, gives another root. */
static void root_parts_are_separate(void **state)
{
  llmd_chain_root roots[] = {
    root_of(16, "m", "ab", NULL, NULL, NULL),    root_of(16, "ma", "b", NULL, NULL, NULL),
    root_of(16, "mab", NULL, NULL, NULL, NULL),  root_of(16, NULL, "mab", NULL, NULL, NULL),
    root_of(16, NULL, NULL, "mab", NULL, NULL),  root_of(16, NULL, NULL, NULL, "mab", NULL),
    root_of(16, NULL, NULL, NULL, NULL, "mab"),  root_of(16, "m", NULL, "ab", NULL, NULL),
    root_of(16, "m", NULL, NULL, "ab", NULL),    root_of(16, "m", NULL, NULL, NULL, "ab"),
    root_of(16, NULL, NULL, NULL, NULL, NULL),   root_of(64, "m", "ab", NULL, NULL, NULL),
  };
  llmd_chain a, b;
  (void)state;
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
    assert_int_equal(llmd_chain_begin(&a, secret, &roots[i]), 0);
    for (size_t j = 0; j < i; j++) {
      assert_int_equal(llmd_chain_begin(&b, secret, &roots[j]), 0);
      assert_false(same(a.parent, b.parent));
    }
  }
}

static void secret_decides_the_keys(void **state)
{
  llmd_chain_root r = root_of(16, "m", NULL, NULL, NULL, NULL);
  uint8_t other[LLMD_SECRET_BYTES];
  llmd_chain a, b;
  llmd_key k;
  (void)state;
  memcpy(other, secret, sizeof other);
  other[0] ^= 1;
  assert_int_equal(llmd_chain_begin(&a, secret, &r), 0);
  assert_int_equal(llmd_chain_begin(&b, other, &r), 0);
  assert_false(same(a.parent, b.parent));
  llmd__hash_bytes(secret, "hello", 5, &k);
  assert_key(k, 0x123fc2971046b843u, 0xa863330aa71cb38eu);
}

/* In pieces of any size the chain is the one made in one go. */
static void chain_resumes(void **state)
{
  llmd_chain_root r = root_of(8, "m", NULL, "s", NULL, NULL);
  llmd_extra extra[2] = {{3, 0, {"image", 5}}, {17, 0, {"image", 5}}};
  llmd_chain whole, grown;
  llmd_key all[64], got[64];
  (void)state;
  assert_int_equal(llmd_chain_begin(&whole, secret, &r), 0);
  assert_int_equal(llmd_chain_extend(&whole, secret, counting, 250, extra, 2, all, 64), 31);
  assert_int_equal(whole.blocks, 31);
  for (uint32_t step = 1; step < 80; step++) {
    assert_int_equal(llmd_chain_begin(&grown, secret, &r), 0);
    for (uint32_t end = step; end - step < 250; end += step) {
      const uint32_t done = grown.blocks, from = done * 8, upto = end < 250 ? end : 250;
      llmd_extra left[2];
      size_t n = 0;
      for (size_t i = 0; i < 2; i++)
        if (extra[i].block >= done) {
          left[n] = extra[i];
          left[n++].block -= done;
        }
      assert_true(llmd_chain_extend(&grown, secret, counting + from, upto - from, left, n, got + done, 64 - done) >= 0);
    }
    assert_int_equal(grown.blocks, 31);
    assert_memory_equal(got, all, 31 * sizeof *all);
    assert_true(same(grown.parent, whole.parent));
  }
}

/* A block with extras is hash(local, count, (length, hash) of each), linked as any other. */
static void extras_are_a_record(void **state)
{
  llmd_chain_root r = root_of(16, "m", NULL, NULL, NULL, NULL);
  const llmd_extra extra[] = {{0, 0, {"ab", 2}}, {0, 0, {"c", 1}}};
  struct {
    llmd_key local;
    uint64_t count;
    struct {
      uint64_t len;
      llmd_key hash;
    } text[2];
  } record;
  llmd_chain c;
  llmd_key pair[2], expected, k[2], plain[2];
  (void)state;
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  llmd__hash_bytes(secret, counting, 64, &record.local);
  record.count = 2;
  for (int i = 0; i < 2; i++) {
    record.text[i].len = extra[i].text.len;
    llmd__hash_bytes(secret, extra[i].text.ptr, extra[i].text.len, &record.text[i].hash);
  }
  llmd__hash_bytes(secret, &record, sizeof record, &pair[0]);
  pair[1] = c.parent;
  llmd__hash_bytes(secret, pair, sizeof pair, &expected);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 32, extra, 2, k, 2), 2);
  assert_true(same(k[0], expected));
  llmd__hash_bytes(secret, counting + 16, 64, &pair[0]); /* the next block has none: as ever */
  pair[1] = k[0];
  llmd__hash_bytes(secret, pair, sizeof pair, &expected);
  assert_true(same(k[1], expected));
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 32, NULL, 0, plain, 2), 2);
  assert_false(same(plain[0], k[0]));
}

static void no_two_lists_of_extras_agree(void **state)
{
  static const char *const lists[][3] = {
    {"a", "bc", NULL}, {"ab", "c", NULL}, {"abc", NULL}, {"a", "b", "c"}, {"bc", "a", NULL}, {"", NULL}, {"", "", NULL},
    {NULL},
  };
  enum { N = sizeof lists / sizeof *lists };
  llmd_chain_root r = root_of(16, "m", NULL, NULL, NULL, NULL);
  llmd_key k[2 * N];
  (void)state;
  for (uint32_t i = 0; i < 2 * N; i++) { /* in the first block, in the second */
    llmd_extra extra[3];
    llmd_key two[2];
    llmd_chain c;
    size_t n = 0;
    for (; n < 3 && lists[i % N][n]; n++) {
      extra[n].block = i / N;
      extra[n].text = str(lists[i % N][n]);
    }
    assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
    assert_int_equal(llmd_chain_extend(&c, secret, counting, 32, extra, n, two, 2), 2);
    k[i] = two[1];
    for (uint32_t j = 0; j < i; j++)
      assert_int_equal(same(k[i], k[j]), i == 2 * N - 1 && j == N - 1); /* no extras: one key */
  }
}

static void caps_and_edges(void **state)
{
  llmd_chain_root r = root_of(0, "m", NULL, NULL, NULL, NULL);
  const llmd_extra wrong[2] = {{1, 0, {"a", 1}}, {0, 0, {"b", 1}}}, later[1] = {{9, 0, {"a", 1}}};
  llmd_chain c = {{1, 2}, 0, 0};
  llmd_key k[4] = {{0, 0}, {0, 0}, {0, 0}, {1, 2}}, one;
  (void)state;
  assert_int_equal(llmd_chain_begin(&c, secret, &r), LLMD_E_INVALID);
  assert_key(c.parent, 1, 2);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 4, NULL, 0, k, 4), LLMD_E_INVALID);
  r.block_tokens = 4;
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  assert_int_equal(llmd_chain_extend(&c, secret, NULL, 0, NULL, 0, k, 4), 0);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 3, NULL, 0, k, 4), 0);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 12, NULL, 0, k, 0), 0);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 12, wrong, 2, k, 4), LLMD_E_RANGE);
  assert_int_equal(c.blocks, 0);
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 16, later, 1, k, 3), 3);
  assert_int_equal(c.blocks, 3);
  assert_true(same(k[2], c.parent));
  assert_key(k[3], 1, 2);
  c.blocks = UINT32_MAX; /* full: nothing goes round */
  assert_int_equal(llmd_chain_extend(&c, secret, counting, 4, NULL, 0, &one, 1), 0);
  r.size = offsetof(llmd_chain_root, salt); /* a caller who knows less: the rest is absent */
  r.salt = str("unseen");
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  one = c.parent;
  r = root_of(4, "m", NULL, NULL, NULL, NULL);
  assert_int_equal(llmd_chain_begin(&c, secret, &r), 0);
  assert_true(same(one, c.parent));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(native_keys_are_these),   cmocka_unit_test(root_parts_are_separate),
    cmocka_unit_test(secret_decides_the_keys), cmocka_unit_test(chain_resumes),
    cmocka_unit_test(extras_are_a_record),     cmocka_unit_test(no_two_lists_of_extras_agree),
    cmocka_unit_test(caps_and_edges),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
