#include "prefix/block.h"

#include <string.h>

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

/* ---- native keys ------------------------------------------------------------------------------------------------- */

/* How a part is there in a record: no two different lists of parts give the same record. */
typedef struct part {
  uint64_t len;
  llmd_key hash;
} part;

static part part_of(const uint8_t *secret, llmd_str text)
{
  part p = {text.len, hash128(secret, text.ptr, text.len)};
  return p;
}

int llmd_chain_begin(llmd_chain *chain, const uint8_t *secret, const llmd_chain_root *root)
{
  llmd_chain_root r;
  struct {
    uint32_t version;
    uint32_t block_tokens;
    part part[5];
  } record;
  memset(&r, 0, sizeof r);
  memcpy(&r, root, root->size < sizeof r ? root->size : sizeof r);
  if (r.block_tokens == 0)
    return LLMD_E_INVALID;
  record.version = 1;
  record.block_tokens = r.block_tokens;
  record.part[0] = part_of(secret, r.model);
  record.part[1] = part_of(secret, r.lora);
  record.part[2] = part_of(secret, r.salt);
  record.part[3] = part_of(secret, r.tenant);
  record.part[4] = part_of(secret, r.modality);
  chain->parent = hash128(secret, &record, sizeof record);
  chain->block_tokens = r.block_tokens;
  chain->blocks = 0;
  return 0;
}

/* The local of a block that is not tokens alone: a record of it and the texts. */
static llmd_key seal(const uint8_t *secret, llmd_key local, const llmd_extra *extra, uint64_t n)
{
  XXH3_state_t state;
  XXH128_hash_t h;
  llmd_key k;
  XXH3_128bits_reset_withSecret(&state, secret, LLMD_SECRET_BYTES);
  XXH3_128bits_update(&state, &local, sizeof local);
  XXH3_128bits_update(&state, &n, sizeof n);
  for (uint64_t i = 0; i < n; i++) {
    const part p = part_of(secret, extra[i].text);
    XXH3_128bits_update(&state, &p, sizeof p);
  }
  h = XXH3_128bits_digest(&state);
  k.lo = h.low64;
  k.hi = h.high64;
  return k;
}

static llmd_key native_link(const uint8_t *secret, llmd_key local, llmd_key parent)
{
  const llmd_key pair[2] = {local, parent};
  return hash128(secret, pair, sizeof pair);
}

static int in_order(const llmd_extra *extra, size_t n)
{
  for (size_t i = 1; i < n; i++)
    if (extra[i].block < extra[i - 1].block)
      return 0;
  return 1;
}

/* How many whole blocks to hash now. */
static uint32_t whole_blocks(const llmd_chain *chain, size_t n, uint32_t cap)
{
  const uint32_t left = UINT32_MAX - chain->blocks, most = cap < INT32_MAX ? cap : INT32_MAX;
  const size_t whole = n / chain->block_tokens;
  const uint32_t room = most < left ? most : left;
  return whole < room ? (uint32_t)whole : room;
}

int llmd_chain_extend(llmd_chain *chain, const uint8_t *secret, const uint32_t *tokens, size_t n,
                      const llmd_extra *extra, size_t n_extra, llmd_key *out, uint32_t cap)
{
  const uint32_t size = chain->block_tokens;
  llmd_key key = chain->parent;
  uint32_t whole;
  size_t x = 0;
  if (size == 0)
    return LLMD_E_INVALID;
  if (!in_order(extra, n_extra))
    return LLMD_E_RANGE;
  whole = whole_blocks(chain, n, cap);
  for (uint32_t i = 0; i < whole; i++, tokens += size) {
    llmd_key local = hash128(secret, tokens, sizeof *tokens * size);
    const size_t first = x;
    while (x < n_extra && extra[x].block == i)
      x++;
    if (x > first)
      local = seal(secret, local, extra + first, x - first);
    key = native_link(secret, local, key);
    out[i] = key;
  }
  chain->parent = key;
  chain->blocks += whole;
  return (int)whole;
}

/* ---- for foreign schemes ----------------------------------------------------------------------------------------- */

uint64_t llmd__xxh64(const void *ptr, size_t len)
{
  return XXH64(ptr, len, 0);
}

uint64_t llmd__xxh3_64(const void *ptr, size_t len, uint64_t seed)
{
  return XXH3_64bits_withSeed(ptr, len, seed);
}

_Static_assert(sizeof(XXH3_state_t) <= sizeof(((llmd__xxh *)0)->state), "room for xxHash's state");
_Static_assert(sizeof(XXH64_state_t) <= sizeof(((llmd__xxh *)0)->state), "room for xxHash's state");

void llmd__xxh_begin(llmd__xxh *x, uint32_t kind, uint64_t seed)
{
  void *state = x->state;
  x->kind = kind;
  if (kind == LLMD__XXH64)
    XXH64_reset(state, seed);
  else if (kind == LLMD__XXH3_64)
    XXH3_64bits_reset_withSeed(state, seed);
  else
    XXH3_128bits_reset(state);
}

void llmd__xxh_begin_keyed(llmd__xxh *x, const uint8_t *secret)
{
  void *state = x->state;
  x->kind = LLMD__XXH3_128;
  XXH3_128bits_reset_withSecret(state, secret, LLMD_SECRET_BYTES);
}

void llmd__xxh_add(llmd__xxh *x, const void *ptr, size_t len)
{
  void *state = x->state;
  if (len == 0)
    return;
  if (x->kind == LLMD__XXH64)
    XXH64_update(state, ptr, len);
  else if (x->kind == LLMD__XXH3_64)
    XXH3_64bits_update(state, ptr, len);
  else
    XXH3_128bits_update(state, ptr, len);
}

void llmd__xxh_end(const llmd__xxh *x, llmd_key *out)
{
  const void *state = x->state;
  out->hi = 0;
  if (x->kind == LLMD__XXH64) {
    out->lo = XXH64_digest(state);
  } else if (x->kind == LLMD__XXH3_64) {
    out->lo = XXH3_64bits_digest(state);
  } else {
    const XXH128_hash_t h = XXH3_128bits_digest(state);
    out->lo = h.low64;
    out->hi = h.high64;
  }
}
