/* Block keys: a prompt's tokens become a chain of keys, one per block, each standing for the whole prompt up to there.
 *
 *   root parts ──► root ─┐
 *   tokens[0..B)   ──► local ──► key 0 = H(local ‖ root) ─┐
 *   tokens[B..2B)  ──► local ──────────────► key 1 = H(local ‖ key 0) ─► ...
 *
 * The locals do not depend on each other, so the CPU hashes several at once; only the short link is serial. What a
 * block is made of besides tokens (extras) goes into its local. Native keys (llmd_chain_begin and llmd_chain_extend of
 * <llmd/prefix.h>) are 128 bits wide and made with a secret, so that nobody outside can construct two prompts with one
 * key. Foreign schemes reproduce other programs' names bit for bit: scheme.h.
 *
 * xxHash is included by block.c alone; the others have it through this header. No state but what the caller holds; any
 * thread. */
#ifndef LLMD_PREFIX_BLOCK_H
#define LLMD_PREFIX_BLOCK_H

#include <llmd/prefix.h>

/* A keyed hash of any bytes, for table keys. */
void llmd__hash_bytes(const uint8_t *secret, const void *ptr, size_t len, llmd_key *out);

/* Hashes without a secret, of one piece or fed in pieces. Never for a table that strangers can fill. 64 bits: in lo,
 * hi = 0. LLMD__XXH3_128: seed 0. */
#define LLMD__XXH64 0u
#define LLMD__XXH3_64 1u
#define LLMD__XXH3_128 2u
typedef struct llmd__xxh {
  _Alignas(64) uint8_t state[576]; /* xxHash's own */
  uint32_t kind;
} llmd__xxh;

void llmd__xxh_begin(llmd__xxh *x, uint32_t kind, uint64_t seed);
/* 128 bits with a secret, fed in pieces: as llmd__hash_bytes of all of them. secret stays until the end. */
void llmd__xxh_begin_keyed(llmd__xxh *x, const uint8_t *secret);
void llmd__xxh_add(llmd__xxh *x, const void *ptr, size_t len);
void llmd__xxh_end(const llmd__xxh *x, llmd_key *out);
uint64_t llmd__xxh64(const void *ptr, size_t len); /* seed 0 */
uint64_t llmd__xxh3_64(const void *ptr, size_t len, uint64_t seed);

#endif
