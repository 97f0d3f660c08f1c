/* Pieces of a decision that replay shares with decide. */
#ifndef LLMD_SCHED_DECISION_H
#define LLMD_SCHED_DECISION_H

#include "sched/scheduler.h"

/* Clears the head of *d and the lane's state of its last decision. */
void llmd__decision_begin(llmd_lane *l, llmd_decision *d, const llmd_now *now, uint64_t seed);
/* The lane's view of a request that was decided before, as far as the request itself keeps it. */
void llmd__lane_recall(llmd_lane *l, llmd_request *r);
/* The lane's array of endpoint ids by row, for the pinned snapshot. */
void llmd__lane_ids(llmd_lane *l);
/* The candidates before any filter. */
llmd__candidates llmd__lane_start(const llmd_lane *l);
/* From facts to result: admission, cycle, ladder. Nothing is charged. */
void llmd__decision_run(llmd_lane *l, llmd_decision *d);
/* Text of row.name or row.address: the region's, or the record's while and after one is replayed. */
llmd_str llmd__lane_text(const llmd_lane *l, uint32_t id);
/* The name or address (id) of a kept row, after the decision: "(gone)" when the endpoint has left, and its strings may
 * have become others'. */
llmd_str llmd__kept_string(const llmd_lane *l, uint32_t row, uint32_t id);
/* A copy of s in the lane's own memory, until the next decision; NULL (and kept.lost) when it does not fit. */
const char *llmd__kept_text(llmd_lane *l, const char *ptr, size_t len);
/* Copies what explain and record need out of the snapshot, so that no buffer stays pinned (options.explain). */
void llmd__why_keep(llmd_lane *l, const llmd_decision *d);

/* view.c: fills l->view from l->req; lists l->start, the candidates before any filter. */
void llmd__view_request(llmd_lane *l);
void llmd__list_candidates(llmd_lane *l);
/* The model after all rewrites, into l->view. */
void llmd__view_model(llmd_lane *l);
/* Row of an endpoint in the pinned snapshot; LLMD__NONE = it is not there. */
uint32_t llmd__lane_row(const llmd_lane *l, llmd_endpoint_id id);

/* answer.c: writes the lane's results into *d as a refusal, as the profiles' picks (primary LLMD_NO_INDEX: none first), or
 * as a routed decision. */
void llmd__answer_reject(llmd_decision *d, uint32_t reason);
void llmd__answer_profiles(llmd_lane *l, llmd_decision *d, uint32_t primary);
void llmd__answer_routed(llmd_lane *l, llmd_decision *d, const llmd_outcome *o);

#endif
