/* The exact index and its model side by side: every call goes to both, and what they return is compared. */
#ifndef LLMD_TESTS_PAIR_H
#define LLMD_TESTS_PAIR_H

#include "documents.h"
#include "model_index.h"

#define PAIR_NOTES 32u
#define PAIR_NOTE 120u

typedef struct pair {
  llmd_index *index;
  void *mem, *scratch;
  size_t len;
  llmd_hit *hit;
  model *m;
  model_answer *want, *got;
  uint8_t *listed;
  uint32_t rows;
  int capped;            /* 1: blocks may have been evicted, so the index may know less than the model, never more;
                          * 2: and names conflict: counts of what was known by name may differ, too */
  uint64_t seed, step;   /* for the report of a failure */
  uint64_t hits, misses; /* of queries: (endpoint, query) with and without blocks */
  uint64_t wanted;       /* hits, had they gone to the model */
  char note[PAIR_NOTES][PAIR_NOTE];
} pair;

/* An empty index of at most `bytes`, and an empty model. */
pair *pair_make(uint32_t rows, uint64_t bytes, int capped, uint64_t seed);
void pair_free(pair *p);
/* Ends the test: prints what went wrong, the seed, and the last operations. */
void pair_fail(pair *p, const char *what, int64_t got, int64_t want);

/* parent: as in llmd_index_store; last may be NULL. */
int pair_store(pair *p, llmd_endpoint_id e, uint32_t tier, const llmd_block *parent, const llmd_key *keys,
               const uint64_t *names, uint32_t n, llmd_block *last);
int pair_find(pair *p, llmd_endpoint_id e, uint64_t name, llmd_block *out);
int pair_hold(pair *p, llmd_endpoint_id e, uint32_t tier, const uint64_t *names, uint32_t n);
int pair_drop(pair *p, llmd_endpoint_id e, uint32_t tier, const uint64_t *names, uint32_t n);
int pair_expect(pair *p, llmd_endpoint_id e, const llmd_key *keys, uint32_t n, uint64_t until);
int pair_clear(pair *p, llmd_endpoint_id e);
int pair_tick(pair *p, uint64_t mono, uint32_t budget);
/* The answers of both, for every slot. */
void pair_query(pair *p, const llmd_key *keys, uint32_t n);
/* What the index counts, held against the model counted out. Only where nothing is evicted. */
void pair_count(pair *p);
/* Sweeps to the end. */
void pair_settle(pair *p, uint64_t mono);

#endif
