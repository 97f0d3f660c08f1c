/* A policy that keeps failing is left out for a while: three failures within a minute, and its verbs answer
 * LLMD_E_BYPASSED at once until parameters.bypass has passed. Commit and report, which come after the decision, are
 * counted apart and left out alone: a report that fails takes no good score with it. Times are those that the host
 * gives with each decision. Strikes belong to the lane. A replay neither counts nor leaves out: the record says what
 * failed. A call that ran out of time with nine tenths of its instructions left does not count either: the machine was
 * busy with something else. */
#ifndef LLMD_LUA_STRIKES_H
#define LLMD_LUA_STRIKES_H

#include "policy.h"

/* Is that verb left out at this time? */
int llmd__lua_bypassed(const llmd__lua_own *o, uint32_t verb, uint64_t now);
/* It has failed; lua.trouble says why. */
void llmd__lua_strike(llmd__lua_own *o, uint32_t verb, uint64_t now);
/* What failed was `verb`, and no decision's explanation will tell of it: the log does, for whoever listens closely. */
void llmd__lua_unseen(const llmd__lua_own *o, uint32_t verb);

#endif
