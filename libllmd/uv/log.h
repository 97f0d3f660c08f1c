/* A line to the host's log function, printf-like. */
#ifndef LLMD_UV_LOG_H
#define LLMD_UV_LOG_H

#include <llmd/log.h>

#include "base/error.h"

/* log NULL: nothing. Lines are cut at 511 bytes. */
void llmd__log(llmd_log_fn log, void *ud, int level, const char *component, const char *fmt, ...) LLMD__PRINTF(5, 6);

#endif
