/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef LLMD_BASE_UTF8_H
#define LLMD_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Reads one character. Returns its length (1..4) and writes *cp; 0 (and *cp untouched) when the bytes at p are not
 * a whole valid character or n is 0. */
size_t llmd__utf8_read(const char *p, size_t n, uint32_t *cp);

/* Writes cp (a valid scalar value) to p and returns its length, 1..4. */
size_t llmd__utf8_write(char p[4], uint32_t cp);

/* How many leading bytes are valid: n when all are. */
size_t llmd__utf8_valid(const char *p, size_t n);

#endif
