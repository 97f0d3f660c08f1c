/* The workload of the index bench: who stores, removes and asks what, as a pure function of constants.
 *
 *   documents   16 systems x 16 contexts x tails ─► (document, worker) pairs, shuffled ─► store events
 *   queries     sets Q1..Q4 of long chains, holders that drop out at cuts, 2 % holes in Q4
 *   trace       a published conversation trace, one chain a request
 *
 * Another program makes the same workload from the same constants for other indexes; the digests of work_check say
 * whether both are the same bit for bit. A block has a content (64 bits, stands for its tokens) and the name that its
 * engine has for it (a rolling hash of contents). */
#ifndef LLMD_TESTS_BENCH_INDEX_WORK_H
#define LLMD_TESTS_BENCH_INDEX_WORK_H

#include <stddef.h>
#include <stdint.h>

#define WORK_WORKERS 1000u /* of the documents */
#define WORK_BIG 1000u     /* the one that is cleared */
#define WORK_SLOTS 1024u
#define WORK_DOCUMENT_MAX 480u /* blocks */
#define WORK_HELD 16000000u    /* pairs of worker and block that the full workload aims at */

/* malloc, realloc, calloc that end the program when there is nothing left. */
void *work_need(void *p);

uint64_t work_mix(uint64_t z);
typedef struct work_rng {
  uint64_t state;
} work_rng;
uint64_t work_next(work_rng *r);
uint64_t work_below(work_rng *r, uint64_t n);
uint64_t work_content(uint64_t segment, uint64_t j);
uint64_t work_hash(const uint32_t *token, uint32_t n); /* content of a block of tokens: XXH3-64, seed 1337 */

/* ---- chains ------------------------------------------------------------------------------------------------------ */

typedef struct work_chain {
  uint32_t n, cap;
  uint64_t *content, *name;
} work_chain;
void work_chain_reset(work_chain *c, uint32_t n); /* room for n blocks, none there */
void work_chain_add(work_chain *c, uint64_t segment, uint32_t n);
void work_chain_name(work_chain *c); /* names of all blocks from their contents */
void work_chain_free(work_chain *c);

/* ---- answers ----------------------------------------------------------------------------------------------------- */

typedef struct work_depth {
  uint32_t worker, depth;
} work_depth;
/* Order does not matter, depth 0 does not count. */
uint64_t work_digest(const work_depth *d, uint32_t n);

/* ---- documents --------------------------------------------------------------------------------------------------- */

typedef struct work_document {
  uint32_t context, tail, holders;
  uint32_t holder[4];
} work_document;
typedef struct work_pair {
  uint32_t document, worker;
} work_pair;
typedef struct work_fill {
  work_document *document;
  uint32_t documents, cap_documents;
  work_pair *pair; /* shuffled */
  uint32_t pairs, cap_pairs;
  uint8_t (*system)[WORK_WORKERS];  /* [16]: the worker holds it in the end */
  uint8_t (*context)[WORK_WORKERS]; /* [256] */
  uint64_t held, distinct;
} work_fill;
void work_fill_open(work_fill *f, uint64_t held);
void work_fill_close(work_fill *f);
/* The chain of document d, whether it is one of the fill or not. Returns its context. */
uint32_t work_document_chain(uint64_t d, work_chain *out);
/* The right answer for document d of the fill when all pairs are stored; out[WORK_WORKERS]. */
uint32_t work_document_answer(const work_fill *f, uint32_t d, work_depth *out);

/* What workers hold of systems and contexts while documents are being stored. */
typedef struct work_shared {
  uint8_t system[16][WORK_SLOTS];
  uint8_t context[256][WORK_SLOTS];
} work_shared;
/* How many leading blocks of a document with this context the worker has already; from now on it has them all. */
uint32_t work_shared_take(work_shared *s, uint32_t worker, uint32_t context);

/* ---- query sets -------------------------------------------------------------------------------------------------- */

typedef struct work_set {
  const char *name;
  uint64_t segment;
  uint32_t length, holders, cuts, chains;
  int holes;
} work_set;
extern const work_set work_sets[4];

typedef struct work_query {
  work_chain chain;
  uint32_t holders;
  work_depth *stored; /* [holders] */
  uint32_t *n_holes;  /* [holders]; NULL without holes */
  uint32_t **hole;    /* [holders][n_holes], ascending */
  work_depth *answer; /* [answers] */
  uint32_t answers;
} work_query;
/* Chains of a set, at most `chains` of them (0 = all). */
work_query *work_queries(const work_set *set, uint32_t *chains);
void work_queries_free(work_query *q, uint32_t chains);

/* ---- events ------------------------------------------------------------------------------------------------------ */

typedef struct work_event {
  uint32_t worker, remove;
  uint32_t n, has_parent;
  uint64_t parent; /* name */
  size_t at;       /* in the batch's arrays */
} work_event;
/* Events as a decoder hands them out: names and tokens in a row. A content is two tokens. */
typedef struct work_batch {
  work_event *event;
  size_t events, cap_events;
  uint64_t *name;
  uint32_t (*token)[2];
  size_t blocks, cap_blocks;
} work_batch;
void work_batch_free(work_batch *b);
/* chain[from, to) stored by the worker in events of 16 to 64 blocks. */
void work_store(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to, uint64_t salt);
/* The same removed, leaf first. */
void work_remove(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to, uint64_t salt);
/* One event: blocks [from, to) stored; or the listed ones removed. */
void work_store_one(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to);
void work_remove_some(work_batch *b, uint32_t worker, const work_chain *c, const uint32_t *at, uint32_t n);

/* ---- the conversation trace -------------------------------------------------------------------------------------- */

typedef struct work_trace {
  work_chain *request;
  uint32_t requests;
} work_trace;
/* At most `most` requests. Returns 0 when the file cannot be read. */
int work_trace_open(work_trace *t, const char *path, uint32_t most);
void work_trace_close(work_trace *t);
typedef struct work_replay {
  uint32_t *have;   /* [requests] leading blocks that its worker holds already */
  uint64_t *digest; /* [requests] of the right answer */
  uint64_t held;
} work_replay;
/* Request i asks, then worker i % workers stores what it lacks. workers <= 256. */
void work_replay_open(work_replay *r, const work_trace *t, uint32_t workers);
void work_replay_close(work_replay *r);

/* ---- digests ----------------------------------------------------------------------------------------------------- */

/* Compares the generator with the published digests; trace NULL = without it. Returns how many differ; says so on
 * stderr. */
int work_check(const char *trace);

#endif
