/* Words for the numbers of a decision, the same in explanations and metrics. Static text, never NULL. */
#ifndef LLMD_SCHED_NAMES_H
#define LLMD_SCHED_NAMES_H

#include <stdint.h>

#define LLMD__LADDER_BITS 7u
#define LLMD__REASONS 8u

const char *llmd__status_name(uint32_t status);
const char *llmd__reason_name(uint32_t reason);
const char *llmd__ladder_name(uint32_t bit); /* bit number, not mask */
const char *llmd__run_name(uint32_t state);

#endif
