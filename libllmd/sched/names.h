/* Words for the numbers of a decision, the same in explanations and metrics. Static text, never NULL. */
#ifndef LLMD_SCHED_NAMES_H
#define LLMD_SCHED_NAMES_H

#include <stdint.h>

#define LLMD__LADDER_BITS 7u
#define LLMD__REASONS 8u
#define LLMD__POLICY_FAILURES 6u

const char *llmd__status_name(uint32_t status);
const char *llmd__reason_name(uint32_t reason);
const char *llmd__ladder_name(uint32_t bit); /* bit number, not mask */
const char *llmd__run_name(uint32_t state);
/* Why a verb of a policy failed, by its code. */
uint32_t llmd__failure_of(int rc);
const char *llmd__failure_name(uint32_t failure);

#endif
