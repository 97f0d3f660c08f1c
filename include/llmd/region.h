/* llmd/region.h: the one block of memory that a pool lives in.
 *
 *   ┌ header ┬ attributes ┬ strings ┬ endpoints ┬ column buffers ┬ ledger ┬ health ┬ lanes + rings ┬ plugin state ┐
 *
 * Everything inside is addressed by offsets, so the same bytes may be mapped at different addresses by different
 * processes: heap memory for one process, any shared mapping for several. The caller maps and unmaps it; the library
 * never opens a file. Every part has a cap fixed here. The region carries the secret of the block keys: keep a file
 * that backs it at mode 0600. */
#ifndef LLMD_REGION_H
#define LLMD_REGION_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/types.h>

LLMD_BEGIN

#define LLMD_SECRET_BYTES 192u

/* Caps; 0 = the default in brackets. More than the most counts as the most. */
typedef struct llmd_region_options {
  uint32_t size;
  uint32_t max_endpoints;  /* [1024] at most 16384 */
  uint32_t max_attributes; /* [64] at most 4096 */
  uint32_t max_labels;     /* [16] labels of one endpoint, at most 64 */
  uint32_t max_models;     /* [32] members of one set attribute (loaded adapters) of one endpoint, at most 4096 */
  uint32_t max_lanes;      /* [64] deciding threads, all processes together, at most 65536 */
  uint32_t max_tickets;    /* [16384] requests in flight, at most 16777216 */
  uint32_t ring_bytes;     /* [65536] per lane: what it saw and the writer has not applied yet */
  uint64_t string_bytes;   /* [8 MiB] names, labels, models; those that nobody has any more go (docs/region.md) */
  uint64_t state_bytes;    /* [160 MiB] all state of plugins together */
  uint64_t prefix_bytes;   /* [64 MiB] of these for each prefix index */
  const uint8_t *secret;   /* LLMD_SECRET_BYTES random bytes, copied; NULL = derived from seed (tests, simulations) */
  uint64_t seed;
  uint64_t index_bytes;    /* [64 MiB] of state_bytes for the exact prefix index (prefix.h), once somebody asks for it */
  uint64_t token_bytes;    /* [16 MiB] of state_bytes for tokens of prompts (pool.h), once a configuration wants them */
  uint32_t zeroed;         /* 1: the memory to format is zero, as a new file's is: what needs no more stays untouched */
  uint32_t reserved;
} llmd_region_options;

/* Bytes a region with these options needs (NULL = defaults). Never fails. */
LLMD_API size_t llmd_region_size(const llmd_region_options *options);

/* Formats mem (aligned to 64 bytes) as an empty region. Whatever was there is lost. */
LLMD_API int llmd_region_format(void *mem, size_t len, const llmd_region_options *options);

/* Is this a region that this library can attach to? LLMD_E_MISMATCH names both versions in err. */
LLMD_API int llmd_region_check(const void *mem, size_t len, llmd_err *err);

/* ---- looking at a region ----------------------------------------------------------------------------------------- */
/* For tools. Nothing is written, no lock is taken, nothing that stands in the region is believed: it may be damaged,
 * and others may be at work on it (then figures are a moment apart). */

typedef struct llmd_region_stats {
  uint32_t size;
  uint32_t layout;
  uint64_t bytes;
  uint64_t writer;       /* 0 = nobody writes */
  uint64_t writer_owner; /* who the last writer is or was (llmd_pool_options.owner) */
  uint64_t generation;   /* how often was published */
  uint64_t published;    /* mono ns of the last time */
  uint32_t buffer;       /* that is published, from 1; 0 = none yet */
  uint32_t staged;       /* endpoints in the writer's copy */
  uint32_t endpoints, max_endpoints; /* published */
  uint32_t attributes, max_attributes;
  uint32_t max_labels, max_models;
  uint32_t lanes, max_lanes; /* taken; two more are for those who only look */
  uint32_t pinned;           /* lanes that read a buffer at this moment */
  uint32_t tickets, max_tickets; /* requests in flight */
  uint32_t halfway;              /* tickets between two states: somebody is at them, or died there */
  uint32_t strings;
  uint32_t states, max_states; /* pieces of plugin state */
  uint32_t making;             /* pieces in the making, or whose maker died */
  uint64_t string_used, string_bytes;
  uint64_t state_used, state_bytes;
  uint64_t state_free;   /* of state_used: came back, can be taken again */
  uint64_t prefix_bytes, index_bytes;
  uint64_t ring_bytes;   /* of one lane */
  uint64_t ring_most;    /* the fullest ring */
  uint64_t posts;        /* bytes in all rings that the writer has not applied */
  uint64_t strings_refused, strings_freed, posts_dropped, tickets_full, tickets_expired, samples_refused;
  uint64_t tickets_reclaimed; /* requests in flight of processes that died */
  uint64_t token_bytes;
  uint64_t ejected, ejections; /* endpoints that are out for their failures; times that one went out */
} llmd_region_stats;
/* LLMD_E_MISMATCH: as llmd_region_check. */
LLMD_API int llmd_region_stats_get(const void *mem, size_t len, llmd_region_stats *out, llmd_err *err);

/* One part of the layout, by number from 0; LLMD_E_NONE after the last. */
typedef struct llmd_region_part {
  uint32_t size;
  uint32_t reserved;
  const char *name;
  uint64_t offset, bytes;
} llmd_region_part;
LLMD_API int llmd_region_part_at(const void *mem, size_t len, uint32_t i, llmd_region_part *out);

/* One lane slot, by number from 0; LLMD_E_NONE after the last. */
typedef struct llmd_region_lane {
  uint32_t size;
  uint32_t pin;            /* buffer that it reads, from 1; 0 = none */
  uint64_t owner;          /* 0 = the slot is free */
  uint64_t posted, applied; /* bytes of its ring, ever */
} llmd_region_lane;
LLMD_API int llmd_region_lane_at(const void *mem, size_t len, uint32_t i, llmd_region_lane *out);

#define LLMD_STATE_TABLE 1u
#define LLMD_STATE_PREFIX 2u /* approximate index */
#define LLMD_STATE_INDEX 3u  /* exact index (prefix.h): llmd_index_open may be called on its bytes */
#define LLMD_STATE_TOKENS 4u /* tokens of prompts */
#define LLMD_STATE_POLICY 5u /* text of a policy */
/* One piece of plugin state, by number from 0; LLMD_E_NONE after the last. */
typedef struct llmd_region_state {
  uint32_t size;
  uint32_t kind; /* LLMD_STATE_* */
  uint64_t offset, bytes;
  char name[168]; /* NUL-terminated */
} llmd_region_state;
LLMD_API int llmd_region_state_at(const void *mem, size_t len, uint32_t i, llmd_region_state *out);

/* Something is wrong at that offset. part: of the layout; text: NUL-terminated, for the call. Non-zero = enough. */
typedef int (*llmd_fault_fn)(void *ud, uint64_t offset, const char *part, const char *text);
/* Everything that can be validated: head, attributes, strings, endpoints, tickets, lanes, rings, plugin state. Returns
 * how many faults it told of, 0 = sound. Of a region that others write to, what changes meanwhile may look like a fault:
 * check a copy, or stop them. alloc NULL = malloc; LLMD_E_NOMEM. */
LLMD_API int llmd_region_inspect(const void *mem, size_t len, const llmd_allocator *alloc, llmd_fault_fn fn, void *ud);

LLMD_END
#endif
