/* sim_text.h: reading a whole text file, and saying what is wrong with it. */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <llmd/error.h>

/* The whole file ("-": standard input), NUL-terminated, *len without the NUL; the caller frees. LLMD_E_IO, _NOMEM or
 * _LIMIT (over max). */
int sim_text_read(const char *path, size_t max, char **text, size_t *len, llmd_err *err);

/* Fills err (may be NULL) and returns code. */
int sim_fail(llmd_err *err, int code, const char *path, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
