/* Numbers as text: read and written the same on every machine, whatever the locale.
 *
 * Every reader of this library (exposition, YAML, JSON) and every writer goes through here. Reading is correctly
 * rounded (nearest, ties to even), also for 17 digits and more, subnormals included; writing gives the shortest text
 * that reads back as the same double. Nothing is allocated. */
#ifndef LLMD_BASE_NUMBER_H
#define LLMD_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* All n bytes must be the number; on failure *out stays. LLMD_E_SYNTAX: not a number. LLMD_E_RANGE: too large for the
 * type (a double too small becomes 0).
 *
 * A double is [+-] digits [. digits] [e [+-] digits], with digits on at least one side of the point. No blanks, no
 * hex, no inf or nan: a format that knows those handles them itself, and one whose grammar is narrower (JSON) checks
 * that itself. */
int llmd__parse_double(const char *p, size_t n, double *out);
int llmd__parse_i64(const char *p, size_t n, int64_t *out);  /* [-] digits */
int llmd__parse_u64(const char *p, size_t n, uint64_t *out); /* digits */

/* Writes v and a NUL; returns the length (at most 25). 3, 0.5, -0, 1e+21, 1e-7: plain between 1e-6 and 1e21, with an
 * exponent outside. What is no number is written as exposition spells it: NaN, +Inf, -Inf. */
#define LLMD__NUMBER_ROOM 32
size_t llmd__format_double(double v, char out[LLMD__NUMBER_ROOM]);

#endif
