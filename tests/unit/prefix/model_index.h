/* A slow and obvious model of the exact index: for each block and endpoint the set of tiers it lies in, nothing more.
 * It answers what prefix.h promises by its words: no windows, no sets, no sharing, no cap.
 *
 * What it takes the words to mean where they leave room:
 *  - a block that an endpoint holds has at most one name there, the newest; the name goes with the last tier that the
 *    engine told of;
 *  - a name that comes to mean another block takes the old block with it, unless it is promised: nobody could ever
 *    remove that one again;
 *  - a promise is a tier of its own: a block stored and removed meanwhile is still promised. LLMD_TIER_ANY ends it too.
 */
#ifndef LLMD_TESTS_MODEL_INDEX_H
#define LLMD_TESTS_MODEL_INDEX_H

#include <llmd/prefix.h>

typedef struct model model;

typedef struct model_answer {
  uint32_t blocks, lower[3];
} model_answer;

/* Endpoint slots 0..rows-1, and the shared store. Aborts when there is no memory. */
model *model_make(uint32_t rows);
void model_free(model *m);

/* As llmd_index_*; store, hold, drop return what those return when nothing is evicted. */
int model_find(const model *m, llmd_endpoint_id endpoint, uint64_t name, llmd_key *out);
int model_store(model *m, llmd_endpoint_id endpoint, uint32_t tier, const llmd_key *keys, const uint64_t *names,
                uint32_t n);
int model_hold(model *m, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n);
int model_drop(model *m, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n);
int model_expect(model *m, llmd_endpoint_id endpoint, const llmd_key *keys, uint32_t n, uint64_t until);
int model_clear(model *m, llmd_endpoint_id endpoint);
void model_tick(model *m, uint64_t mono);

/* out[rows]: what each slot has of the chain, the shared store's part included. Returns the shared store's own part. */
uint32_t model_query(const model *m, const llmd_key *keys, uint32_t n, model_answer *out);
/* Tiers of a block there, as bits 1 << LLMD_TIER_*. slot rows = the shared store. */
uint32_t model_tiers(const model *m, uint32_t slot, const llmd_key *key);
/* 0: the slot never had one. */
llmd_endpoint_id model_endpoint(const model *m, uint32_t slot);

/* Counted one by one: (endpoint, tier, block), names, distinct blocks somebody holds. */
typedef struct model_count {
  uint64_t held, names, blocks, renamed;
} model_count;
void model_counted(const model *m, model_count *out);

#endif
