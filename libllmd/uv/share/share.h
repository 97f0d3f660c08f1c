/* What other rooms of libllmd-uv use of the region's file beside <llmd/uv.h>: room for what all processes that are
 * attached share. It lies behind the region in the same file, so it lives as long as the region does and survives
 * whoever writes there. */
#ifndef LLMD_UV_SHARE_SHARE_H
#define LLMD_UV_SHARE_SHARE_H

#include <llmd/uv.h>

#define LLMD__AREA_STATS 0u   /* counters and histograms of requests */
#define LLMD__AREA_EXPLAIN 1u /* decisions explained lately */
#define LLMD__AREA_RECORDS 2u /* decisions recorded lately */
#define LLMD__AREAS 3u

#define LLMD__AREA_STATS_BYTES (4u << 20) /* pages that nobody touches cost nothing */
#define LLMD__EXPLAIN_SLOTS 64u
#define LLMD__EXPLAIN_SLOT_BYTES 8192u
#define LLMD__RECORD_SLOTS 16u
#define LLMD__RECORD_SLOT_BYTES (256u << 10) /* a decision among a thousand endpoints fits */

/* An area, aligned to 4096 bytes; NULL: no such one. All zero when the file is made, never cleared again. Any process
 * may die at any instruction while it writes there. A change of what lies in an area asks for another LLMD__HOST_LAYOUT
 * (share/host.h). */
void *llmd__share_area(llmd_share *share, uint32_t which, size_t *bytes);
/* The number of this process's attachment: never given twice for a file, never 0. */
uint64_t llmd__share_owner(const llmd_share *share);
/* 1: that attachment is there still: its process has not closed it, nor died and been reaped. Any process. */
int llmd__share_attached(const llmd_share *share, uint64_t owner);
/* The process that has the writer's lock, as it gave itself out; 0 = not known. */
uint32_t llmd__share_writer_pid(const llmd_share *share);

/* 1: the name still leads to this file. 0: it was removed or replaced, and whoever opens it now gets another one. */
int llmd__share_leads(const llmd_share *share, const char *path);

#endif
