/* Reading the kept why: what explain_json.c and explain_table.c share. */
#ifndef LLMD_SCHED_EXPLAIN_H
#define LLMD_SCHED_EXPLAIN_H

#include "sched/decision.h"

/* Entry of the kind and profile at or after *at, *at moved past it; NULL = no more. */
const llmd__why *llmd__why_next(const llmd_lane *l, uint32_t *at, uint32_t kind, uint32_t profile);
/* "space/name" of a row. */
llmd_str llmd__why_name(const llmd_lane *l, uint32_t row);
const char *llmd__why_plugin(const llmd_lane *l, const llmd__why *w);
/* Rows that the filter entry w dropped, in the order they had. Returns how many; *out is the lane's scratch. */
uint32_t llmd__why_dropped(const llmd_lane *l, const llmd__why *w, const uint32_t **out);
/* The profile's last picker entry, NULL when it came to none. */
const llmd__why *llmd__why_picker(const llmd_lane *l, uint32_t profile);
/* Position in w of the best total that was not picked, -1 = none. */
int64_t llmd__why_runner_up(const llmd_lane *l, const llmd__why *w);
/* Place of the row among the profile's picks, from 1; 0 = not picked. */
uint32_t llmd__why_picked(const llmd_lane *l, uint32_t profile, uint32_t row);
/* Does a scorer's value count, and as what? */
int llmd__why_scored(const llmd__why *w, uint32_t i, double *weighted);
/* Is the column there to be shown, and was it made? */
int llmd__why_note(const llmd_lane *l, uint32_t column);

#endif
