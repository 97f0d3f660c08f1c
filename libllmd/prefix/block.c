#include "prefix/block.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tokens are hashed as they lie in memory, which the key format says is little-endian"
#endif

static llmd_key hash128(const uint8_t *secret, const void *ptr, size_t len)
{
  XXH128_hash_t h = XXH3_128bits_withSecret(ptr, len, secret, LLMD_SECRET_BYTES);
  llmd_key k = {h.low64, h.high64};
  return k;
}

void llmd__hash_bytes(const uint8_t *secret, const void *ptr, size_t len, llmd_key *out)
{
  *out = hash128(secret, ptr, len);
}

/* How many whole blocks to hash now; *rest = tokens of the partial block to hash after them, 0 = none. */
static uint32_t split(const llmd__chain *c, size_t n, uint32_t flags, uint32_t cap, size_t *rest)
{
  size_t whole = n / c->block_tokens;
  *rest = (flags & LLMD_PREFIX_PARTIAL) && whole < cap ? n % c->block_tokens : 0;
  return whole < cap ? (uint32_t)whole : cap;
}

/* ---- native ------------------------------------------------------------------------------------------------------ */

/* The root is the hash of a record with fixed places: every part is there by its length and its own hash, so that no
 * two different lists of parts give the same record. */
static int native_begin(llmd__chain *c, const uint8_t *secret, const llmd__root *root, uint32_t block_tokens)
{
  const llmd_str part[5] = {root->model, root->lora, root->salt, root->tenant, root->modality};
  struct {
    uint32_t version;
    uint32_t block_tokens;
    struct {
      uint64_t len;
      llmd_key hash;
    } part[5];
  } record;
  if (block_tokens == 0)
    return LLMD_E_INVALID;
  record.version = 1;
  record.block_tokens = block_tokens;
  for (int i = 0; i < 5; i++) {
    record.part[i].len = part[i].len;
    record.part[i].hash = hash128(secret, part[i].ptr, part[i].len);
  }
  c->parent = hash128(secret, &record, sizeof record);
  c->block_tokens = block_tokens;
  c->blocks = 0;
  return 0;
}

static llmd_key native_link(const uint8_t *secret, llmd_key local, llmd_key parent)
{
  const llmd_key pair[2] = {local, parent};
  return hash128(secret, pair, sizeof pair);
}

static uint32_t native_extend(llmd__chain *c, const uint8_t *secret, const uint32_t *tokens, size_t n, uint32_t flags,
                              llmd_key *out, uint32_t cap)
{
  size_t rest;
  uint32_t whole = split(c, n, flags, cap, &rest);
  llmd_key key = c->parent;
  for (uint32_t i = 0; i < whole; i++, tokens += c->block_tokens) {
    key = native_link(secret, hash128(secret, tokens, sizeof *tokens * c->block_tokens), key);
    out[i] = key;
  }
  c->parent = key;
  c->blocks += whole;
  if (rest == 0)
    return whole;
  out[whole] = native_link(secret, hash128(secret, tokens, sizeof *tokens * rest), key);
  return whole + 1;
}

const llmd__hash_scheme llmd__hash_native = {"native", native_begin, native_extend};

/* ---- llm-d's approximate chain ----------------------------------------------------------------------------------- */

static int approx_begin(llmd__chain *c, const uint8_t *secret, const llmd__root *root, uint32_t block_tokens)
{
  XXH64_state_t state;
  (void)secret;
  if (block_tokens == 0)
    return LLMD_E_INVALID;
  XXH64_reset(&state, 0);
  if (root->model.len)
    XXH64_update(&state, root->model.ptr, root->model.len);
  if (root->salt.len)
    XXH64_update(&state, root->salt.ptr, root->salt.len);
  c->parent.lo = XXH64_digest(&state);
  c->parent.hi = 0;
  c->block_tokens = block_tokens;
  c->blocks = 0;
  return 0;
}

static uint64_t approx_link(const uint32_t *tokens, size_t n, uint64_t parent)
{
  const uint64_t pair[2] = {XXH64(tokens, sizeof *tokens * n, 0), parent};
  return XXH64(pair, sizeof pair, 0);
}

static uint32_t approx_extend(llmd__chain *c, const uint8_t *secret, const uint32_t *tokens, size_t n, uint32_t flags,
                              llmd_key *out, uint32_t cap)
{
  size_t rest;
  uint32_t whole = split(c, n, flags, cap, &rest);
  (void)secret;
  for (uint32_t i = 0; i < whole; i++, tokens += c->block_tokens) {
    c->parent.lo = approx_link(tokens, c->block_tokens, c->parent.lo);
    out[i] = c->parent;
  }
  c->blocks += whole;
  if (rest == 0)
    return whole;
  out[whole].lo = approx_link(tokens, rest, c->parent.lo);
  out[whole].hi = 0;
  return whole + 1;
}

const llmd__hash_scheme llmd__hash_llmd_approx = {"llm-d-approx", approx_begin, approx_extend};
