/* engine_skim.h: a request's body looked at in passing: its top level's few members that decide what an answer looks
 * like. Strings are stepped over, not read, so 220 KB of prompt cost what memchr costs. */
#ifndef ENGINE_SKIM_H
#define ENGINE_SKIM_H

#include <llmd/types.h>

struct engine_skim {
  llmd_str model; /* as it stands between the quotes; ptr NULL = none */
  int stream, include_usage;
  double max_tokens; /* 0 = none */
};

/* LLMD_E_SYNTAX: no object, or one that does not end. What is between its members is not checked further. */
int engine_skim(llmd_str body, struct engine_skim *out);

#endif
