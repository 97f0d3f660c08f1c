/* How an engine makes its names, told by the names themselves: the first block of a prompt is hashed in the ways that
 * are known, with the seeds that are usual, until one gives the name that the event has. */
#ifndef LLMD_PREFIX_APPLY_SCHEME_H
#define LLMD_PREFIX_APPLY_SCHEME_H

#include "prefix/source.h"

/* event: a store of a prompt's first blocks. Looks at few of them only, and at none once the scheme is known. */
void llmd__apply_scheme(llmd_events *e, llmd__source *s, llmd_endpoint_id endpoint, const llmd_event *event);

#endif
