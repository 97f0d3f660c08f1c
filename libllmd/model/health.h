/* Passive health: an endpoint that failed so often in a row, and within a window, is ejected for a while, for every
 * process on the region at once. All of it is a word per endpoint that only changes whole, so that whoever dies or races
 * leaves one of its states, and a count of those that are not well.
 *
 *            failures in a row                         its time is over: one request is let through
 *    well ───────────────────────────► ejected ───────────────────────────────────────► trial
 *      ▲                                  ▲ ▲                                             │ │
 *      │                                  │ └── it failed: twice as long ─────────────────┘ │
 *      │                                  └──── it was not sent there after all ──────────┤
 *      └──────────────────────────────── it worked ───────────────────────────────────────┘
 *
 * The count is taken before a state is left and given back after it is entered again: it is never less than there are,
 * so no race ejects more than may be. What a dead process left in it the writer's recount takes out. */
#ifndef LLMD_MODEL_HEALTH_H
#define LLMD_MODEL_HEALTH_H

#include <llmd/pool.h>

#include "base/region.h"

#define LLMD__HEALTH_IN 0u  /* a candidate */
#define LLMD__HEALTH_OUT 1u /* ejected, or another request tries it */
#define LLMD__HEALTH_DUE 2u /* a candidate for who tries it */

/* Is anybody not well? What a decision asks first. */
static inline uint32_t llmd__health_any(const llmd__region *g)
{
  return atomic_load_explicit(&g->unwell, memory_order_relaxed);
}

/* How many of n endpoints may be out at a time. */
uint32_t llmd__health_most(const llmd__region *g, uint32_t n);
uint32_t llmd__health_look(const llmd__region *g, llmd_endpoint_id id, uint64_t mono);
/* Of one that is due: 1 when the caller's request is the one that is let through. */
int llmd__health_try(llmd__region *g, llmd_endpoint_id id, uint64_t mono);
/* It is charged there, by this ticket. */
void llmd__health_tried(llmd__region *g, llmd_endpoint_id id, llmd_ticket t);
/* It went elsewhere, or ended without a word of the engine. t: only if that ticket is the trial; 0 = whichever is. */
void llmd__health_untry(llmd__region *g, llmd_endpoint_id id, llmd_ticket t, uint64_t mono);
/* n: endpoints published. */
void llmd__health_failed(llmd__region *g, llmd_endpoint_id id, uint32_t n, uint64_t mono);
void llmd__health_worked(llmd__region *g, llmd_endpoint_id id, uint64_t mono);
/* Nothing failed, that is all: it worked if this ticket is the trial. */
void llmd__health_tried_well(llmd__region *g, llmd_endpoint_id id, llmd_ticket t, uint64_t mono);
/* (writer) An endpoint is new in this slot, or left it. */
void llmd__health_slot(llmd__region *g, uint32_t slot);
/* (writer) Puts the count right once the same difference was seen twice; *drift is the last one. */
void llmd__health_recount(llmd__region *g, int64_t *drift);
/* Is the endpoint ejected, or on trial? */
int llmd__health_unwell(const llmd__region *g, llmd_endpoint_id id);

#endif
