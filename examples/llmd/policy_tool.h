/* policy_tool.h: what the commands under `llmd policy` have in common. Each is a file of its own, policy_<name>.c. */
#ifndef POLICY_TOOL_H
#define POLICY_TOOL_H

#include "json.h"
#include "session.h"
#include "shell.h"

extern const struct command policy_check, policy_replay, policy_explain, policy_repl;

/* What the library says of the scheduler's policy number i, as JSON (llmd_scheduler_policy_write). NULL: there is none,
 * or memory ran out. cJSON_Delete it. */
cJSON *policy_describe(const llmd_scheduler *s, uint32_t i);

/* A configuration, JSON, of the policy whose text is here. NULL: memory ran out. free it. */
char *policy_wrap(const char *text);

/* What policy_describe says of a policy whose text is here, made for no other purpose, on the session's pool. NULL: err
 * says why. */
cJSON *policy_describe_text(const struct session *s, const struct session_options *options, const char *text,
                            llmd_err *err);

/* "" when it has no such text. */
const char *policy_text(const cJSON *o, const char *name);
/* The list, or NULL. */
const cJSON *policy_list(const cJSON *o, const char *name);

/* Why a policy failed, out of what llmd_explain_json says: "sticky: LLMD_E_LIMIT: ...", of the first. 0 = none did. */
int policy_failure(const cJSON *why, char *text, size_t size);

/* Of all that failed, to a list of strings: "sticky.lua:7: ..."; where no place is known, as above. LLMD_E_NOMEM. */
int policy_failures(const cJSON *why, cJSON *texts);

/* For people: scores, totals and picks of each endpoint, and who dropped it, out of what llmd_explain_json says. */
void policy_print_scores(const cJSON *why);

/* A read as people say it: "WaitingQueueSize", "label zone", "PrefixCacheMatchInfo.match of NAME". Returns text. */
const char *policy_read_name(const cJSON *read, char *text, size_t size);

#endif
