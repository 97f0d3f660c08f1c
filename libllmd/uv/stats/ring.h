/* A ring of texts that all processes on a share write into and read: explanations, records. A writer that dies halfway,
 * or is overtaken, leaves a slot that readers skip.
 *
 *   slot:  state  wall  length  check  text ...      all of one size; the one that was written longest ago is next */
#ifndef LLMD_UV_STATS_RING_H
#define LLMD_UV_STATS_RING_H

#include <llmd/uv.h>

typedef struct llmd__ring {
  void *area;   /* zero at first, aligned to 8 bytes */
  size_t bytes; /* of the area */
  size_t slot;  /* of one slot: a multiple of 8 */
} llmd__ring;

#define LLMD__RING_HEAD 32u
/* Longest text of a slot of so many bytes. A word stays free, so that the last one is written whole. */
#define LLMD__RING_MOST(slot) ((slot) - LLMD__RING_HEAD - 8u)

/* LLMD_E_LIMIT: too long, nothing was written. wall: ns. Any process. */
int llmd__ring_put(const llmd__ring *ring, uint64_t wall, const void *text, size_t len);

/* The newest first, until fn returns non-zero. room: ring->slot bytes, aligned to 8, where each text is copied to before it
 * is shown. Returns how many were shown. */
typedef int (*llmd__ring_fn)(void *ud, uint64_t number, uint64_t wall, const char *text, size_t len);
int llmd__ring_visit(const llmd__ring *ring, void *room, llmd__ring_fn fn, void *ud);

#endif
