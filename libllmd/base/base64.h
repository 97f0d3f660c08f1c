/* Base64, RFC 4648 §4: the standard alphabet, padding required, nothing else between. */
#ifndef LLMD_BASE_BASE64_H
#define LLMD_BASE_BASE64_H

#include <stddef.h>

/* Characters that n bytes become, without the NUL. n must be below SIZE_MAX / 2. */
#define LLMD__BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes LLMD__BASE64_LEN(n) characters and a NUL; LLMD_E_LIMIT, with out untouched, when they do not fit in cap. */
int llmd__base64_encode(const void *data, size_t n, char *out, size_t cap);

/* Decodes the whole text: writes the bytes to out and their number to *out_len. LLMD_E_SYNTAX: a character outside the
 * alphabet, wrong or missing padding, or bits set that no byte owns (so every byte string has exactly one spelling).
 * LLMD_E_LIMIT: does not fit in cap. out and *out_len are untouched on failure. */
int llmd__base64_decode(const char *text, size_t n, void *out, size_t cap, size_t *out_len);

#endif
