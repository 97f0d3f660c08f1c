/* Plugin state in the region: which plugins have a prefix index, and where. */
#ifndef LLMD_SCHED_STATE_H
#define LLMD_SCHED_STATE_H

#include "prefix/index.h"
#include "sched/scheduler.h"

#define LLMD__STATE_TABLE 1u
#define LLMD__STATE_PREFIX 2u

/* Finds or makes the state of a producer. LLMD_E_FULL: no room in the region. */
int llmd__state_bind(llmd_scheduler *s, uint32_t instance);
/* A view of the instance's prefix index; LLMD_E_NONE when it has none. */
int llmd__state_prefix(const llmd_scheduler *s, uint32_t instance, llmd__index *out);

#endif
