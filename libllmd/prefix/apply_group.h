/* Groups of layers. An engine tells of each group's part of a block by itself:
 *
 *   full attention    decides: these are the blocks that the index counts
 *   sliding window    lies in a tier of its own, of which an endpoint has two (further groups of the same window
 *                     share one); a prefix can be used where its last blocks are there too
 *   all else          is only counted
 *
 * What kind a group is, its stores say and its removals do not; so it is remembered, in the source's record. */
#ifndef LLMD_PREFIX_APPLY_GROUP_H
#define LLMD_PREFIX_APPLY_GROUP_H

#include "prefix/source.h"

/* 1: the event is to be applied, and *tier is where its blocks lie. 0: it does not decide. */
int llmd__apply_group(llmd_events *e, llmd__source *s, const llmd_event *event, uint32_t *tier);

#endif
