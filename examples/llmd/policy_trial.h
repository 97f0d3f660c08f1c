/* policy_trial.h: policies decide requests that are made up, and what failed is told. */
#ifndef POLICY_TRIAL_H
#define POLICY_TRIAL_H

#include "policy_stage.h"

/* Decides, commits and reports on the session's lane, whose pool is empty before. policies: what policy_describe says
 * of each. Each text of what failed is added to remarks, a list of strings, once. 0, or an exit code after a line on
 * standard error: the trial itself went wrong. */
int policy_trial(struct session *session, const struct session_options *options, const cJSON *policies, cJSON *remarks);

/* What the session's log says meanwhile goes here: in commit and report failures are told nowhere else. */
void policy_trial_hear(cJSON *remarks, int level, const char *text, size_t len);

#endif
