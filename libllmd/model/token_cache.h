/* Token ids of prompts, by 128-bit key, over region memory: a ring of entries, the newest at its head, and a hash table
 * of where they are. What does not fit pushes out what was stored longest ago; an entry that is stored again from the
 * ring's older half moves to the head.
 *
 *    slots [buckets][4] ── place ──┐
 *    ring  ...dead... │tail  entry  entry ▼entry   head│ ...dead...        places count up for ever; ring = place % size
 *
 * One writer; readers take no lock. An entry is behind the tail before its bytes change, and tells its own place, key
 * and a sum over all of it, so a reader that meets one being overwritten does not find it. A writer may die at any
 * instruction: what it was storing is not there, and its successor stores on. Any words are sane: nothing is read
 * outside of the memory, whatever stands in it. Shape and size follow from `bytes` alone. */
#ifndef LLMD_MODEL_TOKEN_CACHE_H
#define LLMD_MODEL_TOKEN_CACHE_H

#include <llmd/request.h>

#define LLMD__TOKENS_FEATURES 64u   /* most of one prompt, */
#define LLMD__TOKENS_TEXT 8192u     /* and bytes of their names */

typedef struct llmd__token_cache llmd__token_cache;

/* Where a reader wants things, and what it got. */
typedef struct llmd__cached_tokens {
  uint32_t *ids;
  size_t cap;            /* more ids than that are counted, not written */
  llmd_feature *feature; /* [LLMD__TOKENS_FEATURES] their names in text */
  char *text;            /* [LLMD__TOKENS_TEXT] */
  uint64_t n;
  uint32_t n_features;
} llmd__cached_tokens;

/* Clears mem (multiple of 64 bytes, aligned so). The shape of llmd__region_state's init. LLMD_E_RANGE: too small. */
int llmd__token_cache_init(void *mem, size_t bytes, void *ud);
/* Could these bytes be a cache? */
int llmd__token_cache_sound(const void *mem, size_t bytes);
/* 1 found, 0 not. */
int llmd__token_cache_find(const llmd__token_cache *c, size_t bytes, const llmd_key *key, llmd__cached_tokens *out);
/* (writer) Stores, or keeps what is there when it is the same. LLMD_E_LIMIT: larger than half the ring, or too many
 * features. */
int llmd__token_cache_put(llmd__token_cache *c, size_t bytes, const llmd_key *key, const uint32_t *ids, size_t n,
                          const llmd_feature *feature, size_t n_features);

typedef struct llmd__token_cache_stats {
  uint64_t entries, used, bytes; /* that can be found; bytes of them; of the ring */
} llmd__token_cache_stats;
void llmd__token_cache_stats_get(const llmd__token_cache *c, size_t bytes, llmd__token_cache_stats *out);

#endif
