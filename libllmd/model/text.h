/* JSON strings in and out: unescaping runs of the body, quoting a text for it. */
#ifndef LLMD_MODEL_TEXT_H
#define LLMD_MODEL_TEXT_H

#include "model/pieces.h"

/* The inside of a string (or raw JSON) in the body. The reader has already found it valid. */
typedef struct llmd__span {
  uint64_t offset;
  uint64_t bytes;
  uint64_t decoded; /* bytes once unescaped */
  uint8_t escaped;  /* 1: contains escapes */
} llmd__span;

/* Receives bytes up to `end`; what does not fit is dropped and `cut` set. */
typedef struct llmd__sink {
  unsigned char *p, *end;
  int cut;
} llmd__sink;

void llmd__sink_put(llmd__sink *out, const void *bytes, size_t n);

/* Unescapes the span into out: exactly span->decoded bytes of UTF-8. An escaped surrogate without its partner becomes
 * U+FFFD, as in the reference (Python would keep the lone surrogate). */
void llmd__text_unescape(const llmd__pieces *ps, const llmd__span *span, llmd__sink *out);

/* Unescapes into buf. Returns the length, or LLMD_E_LIMIT when it is larger than cap. */
int64_t llmd__text_copy(const llmd__pieces *ps, const llmd__span *span, char *buf, size_t cap);

/* Writes "text" with its quotes, escaping what RFC 8259 demands. Returns the length, LLMD_E_LIMIT when it is larger
 * than cap, LLMD_E_UTF8 when text is not UTF-8. */
int64_t llmd__text_quote(const char *text, size_t n, char *buf, size_t cap);

/* Value of four hexadecimal digits, or -1. */
int llmd__text_hex4(const char *p);

/* Value of one hexadecimal digit, or -1. */
int llmd__text_hex(char c);

#endif
