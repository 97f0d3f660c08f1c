/* llm-d's own hash chains, where the collected vectors are at hand (LLMD_SHARED). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

#include "prefix/block.h"

#ifndef LLMD_SHARED_DEFAULT
#define LLMD_SHARED_DEFAULT "../shared"
#endif

#define MOST 1024u

static cJSON *load(const char *name)
{
  const char *shared = getenv("LLMD_SHARED");
  char path[1024], *text;
  long len;
  cJSON *json;
  FILE *f;
  snprintf(path, sizeof path, "%s/vectors/%s", shared && *shared ? shared : LLMD_SHARED_DEFAULT, name);
  f = fopen(path, "rb");
  if (!f) {
    print_message("skipped: needs the collected vectors (LLMD_SHARED)\n");
    skip();
    return NULL;
  }
  fseek(f, 0, SEEK_END);
  len = ftell(f);
  rewind(f);
  text = malloc((size_t)len);
  assert_non_null(text);
  assert_int_equal(fread(text, 1, (size_t)len, f), len);
  fclose(f);
  json = cJSON_ParseWithLength(text, (size_t)len);
  free(text);
  assert_non_null(json);
  return json;
}

static llmd_str text_of(const cJSON *v, const char *name)
{
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(v, name));
  llmd_str out = {s, s ? strlen(s) : 0};
  return out;
}

/* "tokens": [...] or "tokensRule": "first..last". */
static size_t tokens_of(const cJSON *v, uint32_t *out)
{
  const char *rule = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(v, "tokensRule"));
  const cJSON *t, *list = cJSON_GetObjectItemCaseSensitive(v, "tokens");
  size_t n = 0;
  if (rule) {
    unsigned first, last;
    assert_int_equal(sscanf(rule, "%u..%u", &first, &last), 2);
    assert_true(last - first < MOST);
    while (first <= last)
      out[n++] = first++;
    return n;
  }
  assert_true(cJSON_IsArray(list));
  cJSON_ArrayForEach(t, list) {
    assert_true(n < MOST);
    out[n++] = (uint32_t)t->valuedouble;
  }
  return n;
}

static uint32_t number_of(const cJSON *v, const char *name, uint32_t otherwise)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(v, name);
  return cJSON_IsNumber(item) ? (uint32_t)item->valuedouble : otherwise;
}

/* The chain that the vector describes; root and keys. */
static uint32_t hash(const cJSON *v, const char *salt, uint64_t *start, llmd_key *out)
{
  llmd__root root = {.model = text_of(v, "model"), .salt = text_of(v, salt)};
  uint32_t tokens[MOST];
  size_t n = tokens_of(v, tokens);
  llmd__chain c;
  assert_int_equal(llmd__hash_llmd_approx.begin(&c, NULL, &root, number_of(v, "blockSizeTokens", 0)), 0);
  *start = c.parent.lo;
  return llmd__hash_llmd_approx.extend(&c, NULL, tokens, n, LLMD_PREFIX_PARTIAL, out, number_of(v, "maxBlocks", MOST));
}

static uint64_t hex(const cJSON *item)
{
  return strtoull(cJSON_GetStringValue(item), NULL, 16);
}

static void golden_hashes(void **state)
{
  cJSON *json = load("llm-d-router.json");
  const cJSON *v, *vectors = cJSON_GetObjectItemCaseSensitive(
                      cJSON_GetObjectItemCaseSensitive(json, "golden_hashes"), "vectors");
  int checked = 0;
  (void)state;
  cJSON_ArrayForEach(v, vectors) {
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(v, "keys");
    llmd_key got[MOST];
    uint64_t start;
    uint32_t n;
    if (strcmp(text_of(v, "algo").ptr, "approx-xxh64"))
      continue;
    n = hash(v, "cacheSalt", &start, got);
    assert_int_equal(n, cJSON_GetArraySize(keys));
    assert_true(start == hex(cJSON_GetObjectItemCaseSensitive(v, "initHash")));
    for (uint32_t i = 0; i < n; i++)
      assert_true(got[i].lo == hex(cJSON_GetArrayItem(keys, (int)i)));
    checked++;
  }
  assert_true(checked >= 7);
  cJSON_Delete(json);
}

/* Here the keys are JSON numbers beyond 2^53: compared as the nearest doubles. */
static void approximate_block_hashes(void **state)
{
  cJSON *json = load("prefix-and-events.json");
  const cJSON *set, *v;
  int checked = 0;
  (void)state;
  cJSON_ArrayForEach(set, cJSON_GetObjectItemCaseSensitive(json, "sets")) {
    if (strcmp(text_of(set, "name").ptr, "llm-d.approx_prefix.block_hashes"))
      continue;
    cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive(set, "vectors")) {
      const cJSON *keys = cJSON_GetObjectItemCaseSensitive(v, "block_hashes");
      llmd_key got[MOST];
      uint64_t start;
      uint32_t n = hash(v, "cache_salt", &start, got);
      assert_int_equal(n, cJSON_GetArraySize(keys));
      assert_true((double)start == cJSON_GetObjectItemCaseSensitive(v, "init")->valuedouble);
      for (uint32_t i = 0; i < n; i++)
        assert_true((double)got[i].lo == cJSON_GetArrayItem(keys, (int)i)->valuedouble);
      checked++;
    }
  }
  assert_true(checked >= 3);
  cJSON_Delete(json);
}

static void block_counts(void **state)
{
  cJSON *json = load("llm-d-router.json");
  const cJSON *set, *v;
  int checked = 0;
  (void)state;
  cJSON_ArrayForEach(set, cJSON_GetObjectItemCaseSensitive(json, "sets")) {
    if (strcmp(text_of(set, "id").ptr, "prefix-blocks"))
      continue;
    cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive(set, "cases")) {
      const cJSON *blocks = cJSON_GetObjectItemCaseSensitive(v, "blocks");
      const uint32_t size = number_of(v, "bs", 0);
      uint32_t tokens[MOST];
      llmd_key got[MOST];
      llmd__root root = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
      llmd__chain c;
      if (!blocks)
        continue; /* several prompts, each a chain of its own: the services' matter */
      assert_int_equal(llmd__hash_native.begin(&c, (const uint8_t[LLMD_SECRET_BYTES]){0}, &root, size),
                       size ? 0 : LLMD_E_INVALID);
      checked++;
      if (!size)
        continue;
      assert_int_equal(llmd__hash_native.extend(&c, (const uint8_t[LLMD_SECRET_BYTES]){0}, tokens, tokens_of(v, tokens),
                                                LLMD_PREFIX_PARTIAL, got, MOST), cJSON_GetArraySize(blocks));
    }
  }
  assert_true(checked >= 2);
  cJSON_Delete(json);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_hashes),
    cmocka_unit_test(approximate_block_hashes),
    cmocka_unit_test(block_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
