/* The bytes of a prefix index, for index.c (which lays them out) and store.c (which writes them).
 *
 *   head │ tag[rows] │ slot[rows] │ work[rows] │ line[] │ node[] │ bucket[] │ chunk[] │ bucket of sets[]
 *
 * Numbers of nodes and chunks begin at 1; 0 = none. So zeroed memory is empty lists. */
#ifndef LLMD_PREFIX_LAYOUT_H
#define LLMD_PREFIX_LAYOUT_H

#include "prefix/index.h"

#define LLMD__INDEX_MAGIC 0x3158444944504c4cu /* "LLPDIDX1" */

/* A list of nodes by recency. */
typedef struct llmd__list {
  uint32_t newest, oldest;
} llmd__list;

/* The lists a node is in. */
#define LLMD__OWN 0u /* its endpoint's; once that is forgotten, the dead's */
#define LLMD__ALL 1u

/* One block on one endpoint. */
typedef struct llmd__node {
  uint32_t cell;
  uint32_t holder;
  uint32_t hash;
  uint32_t chain; /* next in the bucket; next in the free list */
  struct {
    uint32_t newer, older;
  } by[2];
} llmd__node;

typedef struct llmd__index_slot {
  llmd__list list;
  uint32_t n;
  uint32_t capacity; /* 0 = the index's */
} llmd__index_slot;

typedef struct llmd__index_head {
  uint64_t magic;
  uint64_t bytes;
  uint32_t rows;
  uint32_t capacity;
  uint32_t nodes;
  _Atomic uint32_t dirty; /* a write is going on, or its writer died in it */
  uint32_t fresh;         /* nodes ever taken */
  uint32_t free;          /* list of free nodes */
  llmd__list all;
  llmd__list dead;
  llmd__holders_state sets;
  _Atomic uint64_t blocks, holders, dead_holders, n_sets;
  _Atomic uint64_t evicted_own, evicted_all, dropped, resets;
} llmd__index_head;

#endif
