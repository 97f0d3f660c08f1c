/* engine_tool.h: whether an answer calls one of the request's functions, and with what. */
#ifndef ENGINE_TOOL_H
#define ENGINE_TOOL_H

#include "engine_ask.h"

/* Looks at tools, tool_choice and the last message: it calls when it must, or when the last message is a user's and
 * names a function. *name (the caller frees) and arguments, made up from the function's parameters, are set then.
 * -1: refused. */
int engine_tool_call(const cJSON *body, char **name, struct engine_text *arguments, struct engine_refusal *refusal);

#endif
