/* Pieces of a decision that replay shares with decide. */
#ifndef LLMD_SCHED_DECISION_H
#define LLMD_SCHED_DECISION_H

#include "sched/scheduler.h"

/* Clears the head of *d and the lane's state of its last decision. */
void llmd__decision_begin(llmd_lane *l, llmd_decision *d, const llmd_now *now, uint64_t seed);
/* The lane's array of endpoint ids by row, for the pinned snapshot. */
void llmd__lane_ids(llmd_lane *l);
/* The candidates before any filter. */
llmd__candidates llmd__lane_start(const llmd_lane *l);
/* Copies what explain and record need out of the snapshot, so that no buffer stays pinned (options.explain). */
void llmd__why_keep(llmd_lane *l, const llmd_decision *d);

#endif
