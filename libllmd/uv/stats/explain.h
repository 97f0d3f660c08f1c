/* The last decisions that were explained, of all processes on a share: a ring of texts. */
#ifndef LLMD_UV_STATS_EXPLAIN_H
#define LLMD_UV_STATS_EXPLAIN_H

#include "uv/stats/ring.h"

/* area: the share's LLMD__AREA_EXPLAIN (share/share.h), or zeroed memory of slots of LLMD__EXPLAIN_SLOT_BYTES. */

/* Longest text that a slot takes. */
#define LLMD__EXPLAIN_MOST 8152u

/* LLMD_E_LIMIT: too long, nothing was written. wall: of the decision, ns. Any process. */
int llmd__explain_put(void *area, size_t bytes, uint64_t wall, const char *text, size_t len);

/* The newest first, until fn returns non-zero. text is borrowed for the call. Returns how many were shown. */
int llmd__explain_visit(const void *area, size_t bytes, llmd__ring_fn fn, void *ud);

#endif
