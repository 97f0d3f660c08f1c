/* Filling the caller's llmd_err. */
#ifndef LLMD_BASE_ERROR_H
#define LLMD_BASE_ERROR_H

#include <llmd/error.h>

#if defined(__GNUC__)
#define LLMD__PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define LLMD__PRINTF(f, a)
#endif

/* Writes code, place and text into *err (NULL allowed) and returns code, so that
 * `return llmd__fail(err, LLMD_E_TYPE, line, col, path, "...")` reads well. path may be NULL.
 * Bytes below 0x20 in the text are shown as '?'. */
int llmd__fail(llmd_err *err, int code, uint32_t line, uint32_t column, const char *path, const char *fmt, ...)
    LLMD__PRINTF(6, 7);

#endif
