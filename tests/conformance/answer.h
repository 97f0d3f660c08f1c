/* A decision and its reasons in the shape of the oracle's expected results. */
#ifndef LLMD_CONFORMANCE_ANSWER_H
#define LLMD_CONFORMANCE_ANSWER_H

#include "situation.h"

/* The result of one case as a new object; NULL = out of memory, or explain's JSON was not understood. */
cJSON *answer_refused(const llmd_err *err);
cJSON *answer_decided(const situation *s, const llmd_decision *d);

#endif
