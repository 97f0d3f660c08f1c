/* The approximate prefix index: which endpoints were sent a block lately, for as long as memory lasts.
 *
 *   keys of a prompt ──► cell ──► set of holders          (cells.h, holders.h: all that readers touch)
 *                          ▲
 *   writer: one node per (block, endpoint), in two lists: the endpoint's own and everybody's, most recent first
 *
 * It lives in memory the caller gives and never grows. An endpoint keeps its `capacity` most recent blocks; when the
 * whole is full the least recent blocks of all go. A chain is stored tail first, so a chain wears off from its tail.
 *
 * One writer at a time (who that is, the caller settles), any number of readers in other threads and processes,
 * without locks. A reader may get a hint that is a moment old, never a wrong address: every number read is checked
 * against bounds that its own view holds. A writer may die at any instruction: its successor calls
 * llmd__index_takeover. */
#ifndef LLMD_PREFIX_INDEX_H
#define LLMD_PREFIX_INDEX_H

#include <llmd/plugin.h>

#include "prefix/cells.h"
#include "prefix/holders.h"

#define LLMD__INDEX_MAX_ROWS 16384u

/* 0 = the default in brackets. */
typedef struct llmd__index_options {
  uint64_t bytes;    /* [64 MiB] cap for all of it; about 90 bytes hold one block of one endpoint */
  uint32_t rows;     /* [1024] endpoint slots, at most LLMD__INDEX_MAX_ROWS */
  uint32_t capacity; /* [31250] blocks kept per endpoint */
  uint32_t zero;     /* 1: the memory to format is zero: it stays untouched where that will do */
} llmd__index_options;

/* A process's view of an index: made by attach, copied freely, worth nothing once the memory is unmapped. */
typedef struct llmd__index {
  struct llmd__index_head *head;
  struct llmd__index_slot *slot; /* [rows] */
  struct llmd__node *node;       /* [n_nodes]; node number i is node[i - 1] */
  uint32_t *bucket;              /* [n_buckets] nodes by (key, holder) */
  llmd__cells cells;
  llmd__holders holders;
  uint32_t n_nodes;
  uint32_t n_buckets;
  uint32_t rows;
} llmd__index;

typedef struct llmd__index_stats {
  uint64_t bytes;
  uint64_t blocks;      /* distinct blocks in the table */
  uint64_t holders;     /* (block, endpoint) pairs */
  uint64_t max_holders;
  uint64_t dead;        /* pairs of forgotten endpoints, not swept yet */
  uint64_t sets;        /* distinct sets of two holders or more */
  uint64_t evicted_own; /* pairs gone because their endpoint was at its capacity */
  uint64_t evicted_all; /* pairs gone because the index was full */
  uint64_t dropped;     /* pairs lost because no place was within reach (rare) */
  uint64_t resets;      /* takeovers from a writer that died at work */
} llmd__index_stats;

/* Bytes an index with these options (NULL = defaults) takes; never more than options->bytes. 0 = impossible options. */
size_t llmd__index_size(const llmd__index_options *options);

/* Makes an empty index in mem (aligned to 64). Memory that is zero already is not written where zero will do. */
int llmd__index_format(void *mem, size_t size, const llmd__index_options *options);

/* *ix = a view of the index in mem. LLMD_E_MISMATCH: there is none, or another layout or size. */
int llmd__index_attach(llmd__index *ix, void *mem, size_t size);

/* For a new writer, before its first write. Returns 1 when the last one died in the middle of a write: the index is
 * then emptied; else 0. */
int llmd__index_takeover(const llmd__index *ix);

/* ---- the writer -------------------------------------------------------------------------------------------------- */

/* These blocks are on this endpoint now: inserted, or made its most recent. Never fails for want of room: something
 * less recent goes. An id with a newer generation than the slot had makes the slot forget first; an older one is
 * LLMD_E_STALE; a slot beyond rows LLMD_E_RANGE. */
int llmd__index_store(const llmd__index *ix, llmd_endpoint_id endpoint, const llmd_key *chain, uint32_t n);

/* How many blocks the endpoint keeps, 0 = the index's default. Takes effect at the next store. */
int llmd__index_set_capacity(const llmd__index *ix, llmd_endpoint_id endpoint, uint32_t capacity);

/* The endpoint holds nothing any more. Constant time: no reader counts it from here on; its memory comes back by
 * tick, or when somebody needs it. LLMD_E_STALE, LLMD_E_RANGE as above. */
int llmd__index_forget(const llmd__index *ix, llmd_endpoint_id endpoint);

/* Sweeps up to `budget` pairs of forgotten endpoints; returns how many are left. */
uint32_t llmd__index_tick(const llmd__index *ix, uint32_t budget);

/* ---- readers ----------------------------------------------------------------------------------------------------- */

/* Bytes of scratch a match needs, aligned to 4. One per thread; its content does not matter, but a first filling with
 * anything keeps memory checkers calm. */
size_t llmd__index_scratch_size(const llmd__index *ix);

/* Who holds leading blocks of the chain, and how many: endpoint[i] holds blocks[i] >= 1. Returns the number of pairs
 * written, at most cap; room for `rows` is always enough. No order is promised.
 *   flags 0                the first blocks[i] blocks, without a gap
 *   flags LLMD_PREFIX_ANY  blocks among those up to the first that nobody holds, gaps or not: the reference's count */
uint32_t llmd__index_match(const llmd__index *ix, void *scratch, const llmd_key *chain, uint32_t n, uint32_t flags,
                           llmd_endpoint_id *endpoint, uint32_t *blocks, uint32_t cap);

/* Any thread; figures may be a moment apart. */
void llmd__index_stats_get(const llmd__index *ix, llmd__index_stats *out);

#endif
