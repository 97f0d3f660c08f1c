/* Going over the inside of a JSON string, sixteen bytes at a time, checking UTF-8 on the way. */
#ifndef LLMD_MODEL_SCAN_H
#define LLMD_MODEL_SCAN_H

#include <stdint.h>

/* Returns the first place in [p, end) that is not whole, valid UTF-8 text or a short escape (a backslash with one of
 * "\/bfnrt after it):
 *   - a quote, a control character (below 0x20), or
 *   - a backslash that begins no short escape, or
 *   - the first byte of a character or escape that is malformed or cut off by `end`, or
 *   - end.
 * Adds the number of short escapes to *escapes. p is at the boundary of a character. begin <= p: bytes before p that
 * may be read. */
const char *llmd__scan_text(const char *begin, const char *p, const char *end, uint64_t *escapes);

/* The same in plain C, for machines without SSE2 (and for the test that compares the two). */
const char *llmd__scan_text_plain(const char *begin, const char *p, const char *end, uint64_t *escapes);

/* May this byte stand alone after a backslash? */
int llmd__scan_is_escape(char c);

#endif
