/* From one batch of events to calls of the index. Order is the batch's; one bad event costs itself. */
#ifndef LLMD_PREFIX_APPLY_H
#define LLMD_PREFIX_APPLY_H

#include "prefix/source.h"

/* Returns how many events were applied. Negative: the payload is no batch, and nothing changed. *failed: what the index
 * said when it took none of it (LLMD_E_STALE ...), else 0. */
int llmd__apply_batch(llmd_events *e, llmd__source *s, llmd_str payload, int *failed);
/* When the batch was made, by its engine's clock; NaN = not said. Looks no further than there. */
double llmd__apply_time(llmd_str payload);

#endif
