/* The cache of tokens: what is found is what was stored under that key, whatever happens to the words; the oldest goes
 * first; and what is too large is not kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/error.h>

#include "model/token_cache.h"

#define BYTES 65536u
#define CAP 20000u

typedef struct rig {
  llmd__token_cache *c;
  size_t bytes;
  uint32_t ids[CAP];
  llmd_feature feature[LLMD__TOKENS_FEATURES];
  char text[LLMD__TOKENS_TEXT];
  llmd__cached_tokens got;
} rig;

static rig *open_rig(size_t bytes)
{
  rig *r = malloc(sizeof *r);
  assert_non_null(r);
  r->bytes = bytes;
  r->c = aligned_alloc(64, bytes);
  memset(r->c, 0x5a, bytes);
  assert_int_equal(llmd__token_cache_init(r->c, bytes, NULL), 0);
  assert_true(llmd__token_cache_sound(r->c, bytes));
  return r;
}

static void close_rig(rig *r)
{
  free(r->c);
  free(r);
}

static uint64_t splitmix(uint64_t *x)
{
  uint64_t z = (*x += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Key number k, and what is stored under it: ids by their place, version after version. */
static llmd_key key_of(uint64_t k)
{
  uint64_t x = k;
  llmd_key key;
  key.lo = splitmix(&x);
  key.hi = splitmix(&x);
  return key;
}

static uint32_t id_of(uint64_t k, uint64_t version, size_t i)
{
  return (uint32_t)(k * 1000003 + version * 7919 + i);
}

static int put(rig *r, uint64_t k, uint64_t version, size_t n)
{
  llmd_key key = key_of(k);
  uint32_t *ids = malloc((n + 1) * sizeof *ids);
  int rc;
  for (size_t i = 0; i < n; i++)
    ids[i] = id_of(k, version, i);
  rc = llmd__token_cache_put(r->c, r->bytes, &key, ids, n, NULL, 0);
  free(ids);
  return rc;
}

static int find(rig *r, uint64_t k)
{
  llmd_key key = key_of(k);
  llmd__cached_tokens want = {r->ids, CAP, r->feature, r->text, 0, 0};
  r->got = want;
  memset(r->ids, 0xee, sizeof r->ids);
  return llmd__token_cache_find(r->c, r->bytes, &key, &r->got);
}

static void expect(rig *r, uint64_t k, uint64_t version, size_t n)
{
  assert_int_equal(find(r, k), 1);
  assert_int_equal(r->got.n, n);
  assert_int_equal(r->got.n_features, 0);
  for (size_t i = 0; i < n; i++)
    assert_int_equal(r->ids[i], id_of(k, version, i));
}

static void finds_what_was_stored(void **state)
{
  static const size_t sizes[] = {0, 1, 2, 3, 100, 101, 2000, 5001};
  rig *r = open_rig(BYTES);
  (void)state;
  assert_int_equal(find(r, 0), 0);
  for (uint64_t k = 0; k < 8; k++)
    assert_int_equal(put(r, k, 0, sizes[k]), 0);
  for (uint64_t k = 0; k < 8; k++)
    expect(r, k, 0, sizes[k]);
  assert_int_equal(find(r, 8), 0);
  assert_int_equal(put(r, 3, 1, 500), 0); /* the renderer has another template now */
  expect(r, 3, 1, 500);
  close_rig(r);
}

static void more_ids_than_there_is_room_for_are_counted(void **state)
{
  llmd_key key = key_of(1);
  rig *r = open_rig(BYTES);
  llmd__cached_tokens few = {r->ids, 3, r->feature, r->text, 0, 0};
  (void)state;
  assert_int_equal(put(r, 1, 0, 9), 0);
  memset(r->ids, 0, sizeof r->ids);
  assert_int_equal(llmd__token_cache_find(r->c, r->bytes, &key, &few), 1);
  assert_int_equal(few.n, 9);
  assert_int_equal(r->ids[2], id_of(1, 0, 2));
  assert_int_equal(r->ids[3], 0);
  close_rig(r);
}

static void features_come_back(void **state)
{
  const llmd_feature f[3] = {{5, 100, {"a name", 6}}, {200, 0, {"", 0}}, {300, 7, {"sixteen bytes...", 16}}};
  llmd_feature many[LLMD__TOKENS_FEATURES + 1];
  char *text = malloc(LLMD__TOKENS_TEXT + 1);
  const uint32_t ids[2] = {1, 2};
  llmd_key key = key_of(7);
  rig *r = open_rig(BYTES);
  (void)state;
  memset(text, 'x', LLMD__TOKENS_TEXT + 1);
  assert_int_equal(llmd__token_cache_put(r->c, r->bytes, &key, ids, 2, f, 3), 0);
  assert_int_equal(find(r, 7), 1);
  assert_int_equal(r->got.n, 2);
  assert_int_equal(r->got.n_features, 3);
  for (int i = 0; i < 3; i++) {
    assert_true(r->feature[i].offset == f[i].offset && r->feature[i].length == f[i].length);
    assert_true(r->feature[i].hash.len == f[i].hash.len);
    assert_memory_equal(r->feature[i].hash.ptr, f[i].hash.ptr, f[i].hash.len);
  }
  for (uint32_t i = 0; i <= LLMD__TOKENS_FEATURES; i++)
    many[i] = (llmd_feature){i, 1, {"h", 1}};
  assert_int_equal(llmd__token_cache_put(r->c, r->bytes, &key, ids, 2, many, LLMD__TOKENS_FEATURES), 0);
  assert_int_equal(find(r, 7), 1);
  assert_int_equal(r->got.n_features, LLMD__TOKENS_FEATURES);
  assert_int_equal(llmd__token_cache_put(r->c, r->bytes, &key, ids, 2, many, LLMD__TOKENS_FEATURES + 1), LLMD_E_LIMIT);
  many[0].hash = (llmd_str){text, LLMD__TOKENS_TEXT};
  assert_int_equal(llmd__token_cache_put(r->c, r->bytes, &key, ids, 2, many, 1), 0);
  many[0].hash.len++;
  assert_int_equal(llmd__token_cache_put(r->c, r->bytes, &key, ids, 2, many, 1), LLMD_E_LIMIT);
  assert_int_equal(find(r, 7), 1);
  assert_int_equal(r->feature[0].hash.len, LLMD__TOKENS_TEXT);
  close_rig(r);
  free(text);
}

static void the_oldest_go_first(void **state)
{
  rig *r = open_rig(BYTES);
  uint32_t there = 0;
  (void)state;
  for (uint64_t k = 0; k < 100; k++) {
    assert_int_equal(put(r, k, 0, 1000), 0); /* 4 KiB each: some fifteen have room */
    expect(r, k, 0, 1000);
  }
  for (uint64_t k = 0; k < 100; k++)
    there += (uint32_t)find(r, k);
  assert_in_range(there, 10, 16);
  for (uint64_t k = 93; k < 100; k++)
    expect(r, k, 0, 1000);
  assert_int_equal(find(r, 80), 0);
  for (uint64_t k = 100; k < 140; k++) { /* one that is stored again and again stays */
    assert_int_equal(put(r, k, 0, 1000), 0);
    assert_int_equal(put(r, 99, 0, 1000), 0);
    expect(r, 99, 0, 1000);
  }
  close_rig(r);
}

static void the_same_again_takes_no_room(void **state)
{
  llmd__token_cache_stats before, after;
  rig *r = open_rig(BYTES);
  (void)state;
  assert_int_equal(put(r, 1, 0, 1000), 0);
  llmd__token_cache_stats_get(r->c, r->bytes, &before);
  for (int i = 0; i < 100; i++)
    assert_int_equal(put(r, 1, 0, 1000), 0);
  llmd__token_cache_stats_get(r->c, r->bytes, &after);
  assert_int_equal(after.used, before.used);
  assert_int_equal(after.entries, 1);
  close_rig(r);
}

static void what_is_too_large_is_not_kept(void **state)
{
  rig *r = open_rig(BYTES);
  (void)state;
  assert_int_equal(put(r, 1, 0, 7000), 0);
  assert_int_equal(put(r, 2, 0, 9000), LLMD_E_LIMIT);
  assert_int_equal(put(r, 2, 0, 1000000), LLMD_E_LIMIT);
  expect(r, 1, 0, 7000);
  assert_int_equal(find(r, 2), 0);
  assert_int_equal(llmd__token_cache_init(r->c, 512, NULL), LLMD_E_RANGE);
  assert_false(llmd__token_cache_sound(r->c, 512));
  close_rig(r);
}

/* Against what was last stored under each key. */
static void a_long_life(void **state)
{
  static uint64_t version[64];
  static size_t size[64];
  uint64_t dice = 3, found = 0, asked = 0;
  rig *r = open_rig(32768 + 64);
  (void)state;
  memset(version, 0, sizeof version);
  for (int turn = 0; turn < 60000; turn++) {
    uint64_t k = splitmix(&dice) % 64;
    if (splitmix(&dice) % 3 == 0) {
      uint64_t v = version[k] + splitmix(&dice) % 2;
      size_t n = v == version[k] && v ? size[k] : splitmix(&dice) % 700;
      v += !v;
      assert_int_equal(put(r, k, v, n), 0);
      version[k] = v;
      size[k] = n;
      expect(r, k, v, n);
    } else if (version[k]) {
      asked++;
      if (find(r, k)) {
        found++;
        expect(r, k, version[k], size[k]);
      }
    }
  }
  assert_true(found > asked / 4);
  close_rig(r);
}

/* Whatever stands in the words: nothing beyond the memory is touched (the sanitizers look), nothing false is found, and
 * the writer stores on. */
static void any_words_are_sane(void **state)
{
  uint64_t dice = 17, survived = 0;
  rig *r = open_rig(8192);
  uint64_t *words = (uint64_t *)(void *)r->c;
  (void)state;
  for (int round = 0; round < 4000; round++) {
    uint32_t hits = 1 + (uint32_t)(splitmix(&dice) % 6);
    for (uint64_t k = 0; k < 8; k++)
      assert_int_equal(put(r, k, 1, 50 + k), 0);
    for (uint32_t i = 0; i < hits; i++) {
      uint64_t at = round % 3 ? 1 + splitmix(&dice) % (r->bytes / 8 - 1) : 1 + splitmix(&dice) % 2;
      switch (splitmix(&dice) % 4) {
      case 0: words[at] ^= UINT64_C(1) << splitmix(&dice) % 64; break;
      case 1: words[at] = splitmix(&dice); break;
      case 2: words[at] = splitmix(&dice) % 10000; break;
      default: words[at] = 0 - splitmix(&dice) % 100; break;
      }
    }
    for (uint64_t k = 0; k < 8; k++) {
      if (!find(r, k))
        continue;
      survived++;
      assert_int_equal(r->got.n, 50 + k);
      for (size_t i = 0; i < 50 + k; i++)
        assert_int_equal(r->ids[i], id_of(k, 1, i));
    }
    assert_int_equal(put(r, 9, 1, 20), 0);
    expect(r, 9, 1, 20);
  }
  assert_true(survived > 4000);
  close_rig(r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_what_was_stored),
      cmocka_unit_test(more_ids_than_there_is_room_for_are_counted),
      cmocka_unit_test(features_come_back),
      cmocka_unit_test(the_oldest_go_first),
      cmocka_unit_test(the_same_again_takes_no_room),
      cmocka_unit_test(what_is_too_large_is_not_kept),
      cmocka_unit_test(a_long_life),
      cmocka_unit_test(any_words_are_sane),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
