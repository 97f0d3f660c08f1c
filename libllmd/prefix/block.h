/* Block keys: a prompt's tokens become a chain of keys, one per block, each standing for the whole prompt up to there.
 *
 *   root parts ──► root ─┐
 *   tokens[0..B)   ──► local ──► key 0 = H(local ‖ root) ─┐
 *   tokens[B..2B)  ──► local ──────────────► key 1 = H(local ‖ key 0) ─► ...
 *
 * The locals do not depend on each other, so the CPU hashes several at once; only the short link is serial.
 *
 * Native keys are 128 bits wide and made with a secret, so that nobody outside can construct two prompts with one key.
 * Foreign schemes exist to reproduce other programs' keys bit for bit. No state but what the caller holds; any thread.
 * xxHash is included by block.c alone. */
#ifndef LLMD_PREFIX_BLOCK_H
#define LLMD_PREFIX_BLOCK_H

#include <llmd/plugin.h>
#include <llmd/region.h>

/* What separates prompts that must never share a block. An absent part is the same as an empty one. */
typedef struct llmd__root {
  llmd_str model;
  llmd_str lora;
  llmd_str salt;
  llmd_str tenant;
  llmd_str modality;
} llmd__root;

/* Where a chain stands: extend continues from here, so a session that grows hashes only what is new. */
typedef struct llmd__chain {
  llmd_key parent; /* key of the last whole block, or the root */
  uint32_t block_tokens;
  uint32_t blocks; /* whole blocks behind parent */
} llmd__chain;

/* A way to make keys. secret is LLMD_SECRET_BYTES long; foreign schemes ignore it. */
typedef struct llmd__hash_scheme {
  const char *name;
  /* Stands *c at the root. LLMD_E_INVALID when block_tokens is 0. */
  int (*begin)(llmd__chain *c, const uint8_t *secret, const llmd__root *root, uint32_t block_tokens);
  /* Keys of the next blocks of tokens[0..n), at most cap; returns how many. Tokens behind the last whole block are
   * dropped, or make one last key with LLMD_PREFIX_PARTIAL. *c moves over whole blocks only: to go on, hand the
   * tokens from c->blocks * c->block_tokens onward, a partial block's again. */
  uint32_t (*extend)(llmd__chain *c, const uint8_t *secret, const uint32_t *tokens, size_t n, uint32_t flags,
                     llmd_key *out, uint32_t cap);
} llmd__hash_scheme;

/* XXH3-128 with secret; parts of the root separated by their lengths. */
extern const llmd__hash_scheme llmd__hash_native;
/* llm-d's approximate chain, 64 bits in lo, hi = 0: h0 = XXH64(model ‖ salt),
 * h(i) = XXH64(LE64(XXH64(LE32 tokens)) ‖ LE64(h(i-1))). Unkeyed: never for an index that strangers can fill. */
extern const llmd__hash_scheme llmd__hash_llmd_approx;

/* A keyed hash of any bytes, for table keys. */
void llmd__hash_bytes(const uint8_t *secret, const void *ptr, size_t len, llmd_key *out);

#endif
