/* llmd/log.h: log lines go to a callback. Nothing is ever printed by the library. */
#ifndef LLMD_LOG_H
#define LLMD_LOG_H

#include <llmd/types.h>

LLMD_BEGIN

#define LLMD_LOG_ERROR 1
#define LLMD_LOG_WARN 2
#define LLMD_LOG_INFO 3
#define LLMD_LOG_DEBUG 4

/* text: one line without newline, borrowed for the call. component: "config", "pool", ... NUL-terminated, static. */
typedef void (*llmd_log_fn)(void *ud, int level, const char *component, const char *text, size_t len);

LLMD_END
#endif
