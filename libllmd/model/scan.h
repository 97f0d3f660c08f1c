/* Looking for the end of plain text inside a JSON string, sixteen bytes at a time, checking UTF-8 on the way. */
#ifndef LLMD_MODEL_SCAN_H
#define LLMD_MODEL_SCAN_H

/* Returns the first place in [p, end) that is not whole, plain, valid UTF-8 text:
 *   - a quote, a backslash or a control character (below 0x20), or
 *   - the lead byte of a character that is malformed or cut off by `end`, or
 *   - end.
 * p is at a character boundary. begin <= p: bytes before p that may be read. */
const char *llmd__scan_text(const char *begin, const char *p, const char *end);

/* The same in plain C, for machines without SSE2 (and for the test that compares the two). */
const char *llmd__scan_text_plain(const char *begin, const char *p, const char *end);

#endif
