#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/plugin.h>

#include "prefix/scheme.h"

/* Bit-exactness is tests/conformance/hash_vectors.py's matter. Here: the edges, and what a stranger could do. */

#define SCHEMES 9u /* 1..9; native is the tenth */

static uint32_t counting[256]; /* 1, 2, 3, ... */

static int set_up(void **state)
{
  (void)state;
  for (uint32_t i = 0; i < 256; i++)
    counting[i] = i + 1;
  return 0;
}

static llmd_hash_input input_of(uint32_t scheme, uint32_t block_tokens, const uint32_t *tokens, size_t n)
{
  llmd_hash_input in = {.size = sizeof in, .scheme = scheme, .block_tokens = block_tokens, .tokens = tokens,
                        .n_tokens = n, .model = {"m", 1}, .seed = {"0", 1}, .has_seed = 1};
  return in;
}

static void names(void **state)
{
  static const struct { const char *name; uint32_t scheme; } rows[] = {
    {"vllm-sha256", 1}, {"sha256", 1}, {"sha256_cbor", 2}, {"vllm-xxhash", 3}, {"xxhash_cbor", 4}, {"sglang", 5},
    {"dynamo", 6}, {"mooncake", 6}, {"llmd-cbor-fnv", 7}, {"xxh64", 8}, {"llmd-approx", 9}, {"native", 10},
    {"", 0}, {"sha", 0}, {"sha2567", 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_int_equal(llmd_hash_by_name(rows[i].name, strlen(rows[i].name)), rows[i].scheme);
  assert_int_equal(llmd_hash_by_name(NULL, 0), LLMD_HASH_UNKNOWN);
  for (uint32_t s = 1; s <= LLMD_HASH_NATIVE; s++)
    assert_int_equal(llmd_hash_by_name(llmd_hash_name(s), strlen(llmd_hash_name(s))), s);
  assert_null(llmd_hash_name(0));
  assert_null(llmd_hash_name(11));
}

/* Cut anywhere and gone on with the digest before, the blocks are the same; parts count from the cut. */
static void every_scheme_resumes(void **state)
{
  (void)state;
  for (uint32_t s = 1; s <= SCHEMES; s++) {
    const llmd_hash_part part = {{"id", 2}, 77, 20, 30, LLMD_PART_MEDIA};
    llmd_hash_input in = input_of(s, 8, counting, 96);
    llmd_digest all[12], rest[12];
    in.parts = &part;
    in.n_parts = s == LLMD_HASH_SGLANG ? 0 : 1;
    assert_int_equal(llmd_hash_blocks(&in, all, 12), 12);
    for (uint32_t cut = 1; cut < 12; cut++) {
      llmd_hash_part moved = part;
      in = input_of(s, 8, counting + cut * 8, 96 - cut * 8);
      moved.offset -= cut * 8;
      in.parts = &moved;
      in.n_parts = s == LLMD_HASH_SGLANG ? 0 : 1;
      in.parent = all[cut - 1].bytes;
      in.parent_len = all[cut - 1].len;
      assert_int_equal(llmd_hash_blocks(&in, rest, 12), 12 - cut);
      assert_memory_equal(rest, all + cut, (12 - cut) * sizeof *all);
    }
  }
}

static void whole_blocks_and_caps(void **state)
{
  (void)state;
  for (uint32_t s = 1; s <= SCHEMES; s++) {
    const int partial = s == LLMD_HASH_LLMD_APPROX;
    llmd_hash_input in = input_of(s, 16, counting, 40);
    llmd_digest out[4];
    assert_int_equal(llmd_hash_blocks(&in, out, 4), 2 + partial);
    assert_int_equal(llmd_hash_blocks(&in, out, 1), 1);
    assert_int_equal(llmd_hash_blocks(&in, out, 0), 0);
    in.n_tokens = 7;
    assert_int_equal(llmd_hash_blocks(&in, out, 4), partial);
    in.n_tokens = 0;
    in.tokens = NULL;
    assert_int_equal(llmd_hash_blocks(&in, out, 4), 0);
    in.block_tokens = 0;
    assert_int_equal(llmd_hash_blocks(&in, out, 4), LLMD_E_INVALID);
    in.block_tokens = LLMD__SCHEME_BLOCK_TOKENS + 1;
    assert_int_equal(llmd_hash_blocks(&in, out, 4), LLMD_E_LIMIT);
  }
}

/* llm-d: the salt is one more text behind the media of the first block, the adapter's name stands in for the model's.
 * Dynamo: numbers count, not their order. */
static void parts_have_their_places(void **state)
{
  const llmd_hash_part two[2] = {{{"img", 3}, 9, 0, 4, LLMD_PART_MEDIA}, {{"salt", 4}, 5, 4, 1, LLMD_PART_MEDIA}};
  const llmd_hash_part turned[2] = {{{"", 0}, 5, 0, 4, LLMD_PART_MEDIA}, {{"", 0}, 9, 4, 1, LLMD_PART_MEDIA}};
  (void)state;
  for (uint32_t s = LLMD_HASH_DYNAMO; s <= LLMD_HASH_LLMD_XXH64; s++) {
    llmd_hash_input in = input_of(s, 8, counting, 16), other = in;
    llmd_digest a[2], b[2];
    in.parts = two;
    in.n_parts = 2;
    other.parts = s == LLMD_HASH_DYNAMO ? turned : two;
    other.n_parts = s == LLMD_HASH_DYNAMO ? 2 : 1;
    if (s != LLMD_HASH_DYNAMO) {
      other.salt.ptr = "salt", other.salt.len = 4;
      other.model.ptr = "base", other.model.len = 4;
      other.lora = in.model;
    }
    assert_int_equal(llmd_hash_blocks(&in, a, 2), 2);
    assert_int_equal(llmd_hash_blocks(&other, b, 2), 2);
    assert_memory_equal(a, b, sizeof a);
    other.n_parts = 0;
    assert_int_equal(llmd_hash_blocks(&other, b, 2), 2);
    assert_true(a[0].name != b[0].name);
  }
}

static void what_cannot_be_known_is_refused(void **state)
{
  llmd_hash_input in = input_of(LLMD_HASH_VLLM_SHA256, 16, counting, 32);
  llmd_digest out[2], other;
  (void)state;
  in.has_seed = 0;
  assert_int_equal(llmd_hash_root(&in, &out[0]), 0);
  in.seed.ptr = "vllm-none-hash";
  in.seed.len = 14;
  in.has_seed = 1;
  assert_int_equal(llmd_hash_root(&in, &other), 0);
  assert_memory_equal(&out[0], &other, sizeof other);
  in.has_seed = 0;
  in.extras = LLMD_EXTRAS_OFFSETS;
  assert_int_equal(llmd_hash_root(&in, out), LLMD_E_UNSUPPORTED);
  assert_int_equal(llmd_hash_blocks(&in, out, 2), LLMD_E_UNSUPPORTED);
  in.extras = LLMD_EXTRAS_TAGGED;
  in.scheme = LLMD_HASH_VLLM_XXHASH_CBOR;
  assert_int_equal(llmd_hash_blocks(&in, out, 2), LLMD_E_UNSUPPORTED);
  in.parent = other.bytes; /* whoever knows a digest needs no seed */
  in.parent_len = 16;
  assert_int_equal(llmd_hash_blocks(&in, out, 2), 2);
  in = input_of(LLMD_HASH_SGLANG, 16, counting, 32);
  in.salt.ptr = "s", in.salt.len = 1;
  assert_int_equal(llmd_hash_blocks(&in, out, 2), LLMD_E_UNSUPPORTED);
  in = input_of(LLMD_HASH_SGLANG, 16, counting, 32);
  in.lora.ptr = "l", in.lora.len = 1;
  assert_int_equal(llmd_hash_blocks(&in, out, 2), LLMD_E_UNSUPPORTED);
  in = input_of(LLMD_HASH_NATIVE, 16, counting, 32);
  assert_int_equal(llmd_hash_blocks(&in, out, 2), LLMD_E_UNSUPPORTED);
}

static void wrong_input_is_refused(void **state)
{
  static const char digest[32] = "0123456789abcdef0123456789abcde";
  static char long_text[70000];
  llmd_hash_part part[65];
  llmd_hash_input in = input_of(LLMD_HASH_VLLM_SHA256, 16, counting, 16);
  llmd_digest out[1];
  (void)state;
  memset(long_text, 'x', sizeof long_text);
  for (size_t i = 0; i < 65; i++)
    part[i] = (llmd_hash_part){{"id", 2}, 0, 3, 1, LLMD_PART_MEDIA};
  in.parts = part;
  in.n_parts = 64;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), 1);
  in.n_parts = 65;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_LIMIT);
  in.n_parts = 2;
  part[0].offset = 4;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_RANGE);
  part[1].offset = INT64_MAX;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_RANGE);
  in.n_parts = 1;
  part[0].kind = 2;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_INVALID);
  part[0].kind = LLMD_PART_EMBEDS; /* of two bytes */
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_INVALID);
  part[0].id.ptr = digest;
  part[0].id.len = 32;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), 1);
  in.scheme = LLMD_HASH_DYNAMO;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_UNSUPPORTED);
  in = input_of(LLMD_HASH_VLLM_SHA256, 16, counting, 16);
  in.salt.ptr = long_text, in.salt.len = sizeof long_text; /* CPython would cut the pickle into frames */
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_LIMIT);
  in.scheme = LLMD_HASH_VLLM_SHA256_CBOR;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), 1);
  in.parent = (const uint8_t *)digest;
  in.parent_len = 16; /* this scheme's digests have 32 */
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_INVALID);
  in.parent_len = 0;
  in.extras = 3;
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_INVALID);
  in = input_of(0, 16, counting, 16);
  assert_int_equal(llmd_hash_blocks(&in, out, 1), LLMD_E_INVALID);
  in.scheme = 11;
  assert_int_equal(llmd_hash_root(&in, out), LLMD_E_INVALID);
}

/* ---- chosen collisions ------------------------------------------------------------------------------------------- */

#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu

static uint64_t inverse(uint64_t odd)
{
  uint64_t x = odd; /* right in 3 bits; each step doubles them */
  for (int i = 0; i < 5; i++)
    x *= 2 - odd * x;
  return x;
}

static uint64_t word_at(const uint32_t *block, uint32_t i)
{
  return block[2 * i] | (uint64_t)block[2 * i + 1] << 32;
}

static void set_word(uint32_t *block, uint32_t i, uint64_t v)
{
  block[2 * i] = (uint32_t)v;
  block[2 * i + 1] = (uint32_t)(v >> 32);
}

/* XXH64 takes words 0 and 4 of a 16-token block into one lane: v = rotl(v + word * PRIME_2, 31) * PRIME_1, twice.
 * Flipping the top bit of the first word changes the lane by 2^30 * PRIME_1 or by minus that, whatever the seed or the
 * parent; the second word takes it back. So the block collides with one or the other for every seed. */
static void make_triple(uint32_t triple[3][16], uint64_t *state)
{
  const uint64_t step = (UINT64_C(1) << 30) * PRIME_1 * inverse(PRIME_2);
  for (uint32_t i = 0; i < 16; i++)
    triple[0][i] = (uint32_t)llmd_random(state);
  for (int k = 1; k < 3; k++) {
    memcpy(triple[k], triple[0], sizeof triple[k]);
    set_word(triple[k], 0, word_at(triple[0], 0) ^ UINT64_C(1) << 63);
    set_word(triple[k], 4, word_at(triple[0], 4) + (k == 1 ? step : -step));
  }
}

static uint64_t name_of(uint32_t scheme, const uint32_t *block, const uint8_t *parent)
{
  llmd_hash_input in = input_of(scheme, 16, block, 16);
  llmd_digest out;
  in.parent = parent;
  in.parent_len = 8;
  assert_int_equal(llmd_hash_blocks(&in, &out, 1), 1);
  return out.name;
}

static void xxh64_collides_for_every_parent(void **state)
{
  uint64_t random = 11;
  (void)state;
  for (int i = 0; i < 1000; i++) {
    uint32_t triple[3][16];
    uint8_t parent[8];
    make_triple(triple, &random);
    for (int k = 0; k < 8; k++)
      parent[k] = (uint8_t)llmd_random(&random);
    for (uint32_t s = LLMD_HASH_LLMD_XXH64; s <= LLMD_HASH_LLMD_APPROX; s++) {
      const uint64_t a = name_of(s, triple[0], parent);
      assert_true((a == name_of(s, triple[1], parent)) != (a == name_of(s, triple[2], parent)));
    }
  }
}

static void native_keys_do_not_collide_on_them(void **state)
{
  const llmd_chain_root root = {sizeof root, 16, {"m", 1}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
  uint64_t random = 11;
  (void)state;
  for (int i = 0; i < 1000; i++) {
    uint8_t secret[LLMD_SECRET_BYTES];
    uint32_t triple[3][16];
    llmd_key key[3];
    make_triple(triple, &random);
    for (size_t k = 0; k < sizeof secret; k++)
      secret[k] = (uint8_t)llmd_random(&random);
    for (int k = 0; k < 3; k++) {
      llmd_chain c;
      assert_int_equal(llmd_chain_begin(&c, secret, &root), 0);
      assert_int_equal(llmd_chain_extend(&c, secret, triple[k], 16, NULL, 0, &key[k], 1), 1);
      for (int j = 0; j < k; j++) { /* not even half of them */
        assert_true(key[j].lo != key[k].lo);
        assert_true(key[j].hi != key[k].hi);
      }
    }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names),
    cmocka_unit_test(every_scheme_resumes),
    cmocka_unit_test(whole_blocks_and_caps),
    cmocka_unit_test(parts_have_their_places),
    cmocka_unit_test(what_cannot_be_known_is_refused),
    cmocka_unit_test(wrong_input_is_refused),
    cmocka_unit_test(xxh64_collides_for_every_parent),
    cmocka_unit_test(native_keys_do_not_collide_on_them),
  };
  return cmocka_run_group_tests(tests, set_up, NULL);
}
