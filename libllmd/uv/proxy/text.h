/* Bytes put one after the other into room that somebody else owns. What does not fit makes it `full`; nothing is cut in
 * the middle of a put. */
#ifndef LLMD_UV_PROXY_TEXT_H
#define LLMD_UV_PROXY_TEXT_H

#include <string.h>

#include <llmd/types.h>

typedef struct llmd__text {
  char *at;
  size_t len, cap;
  int full;
} llmd__text;

static inline void llmd__text_put(llmd__text *t, const char *p, size_t n)
{
  if (t->full || n > t->cap - t->len) {
    t->full = 1;
    return;
  }
  if (n)
    memcpy(t->at + t->len, p, n);
  t->len += n;
}

/* A string literal or other NUL-terminated text. */
static inline void llmd__text_add(llmd__text *t, const char *text)
{
  llmd__text_put(t, text, strlen(text));
}

static inline void llmd__text_str(llmd__text *t, llmd_str s)
{
  llmd__text_put(t, s.ptr, s.len);
}

static inline void llmd__text_uint(llmd__text *t, uint64_t v)
{
  char digits[24];
  size_t k = sizeof digits;
  do
    digits[--k] = (char)('0' + v % 10);
  while (v /= 10);
  llmd__text_put(t, digits + k, sizeof digits - k);
}

/* v with three decimals; not negative, below 2^53 / 1000. */
static inline void llmd__text_milli(llmd__text *t, uint64_t thousandths)
{
  char rest[4] = {'.', (char)('0' + thousandths / 100 % 10), (char)('0' + thousandths / 10 % 10),
                  (char)('0' + thousandths % 10)};
  llmd__text_uint(t, thousandths / 1000);
  llmd__text_put(t, rest, 4);
}

/* As a JSON string. Bytes from 0x80 on pass as they are, control bytes as \u00XX. */
static inline void llmd__text_json(llmd__text *t, llmd_str s)
{
  static const char hex[] = "0123456789abcdef";
  size_t from = 0;
  llmd__text_put(t, "\"", 1);
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.ptr[i];
    char escaped[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
      continue;
    llmd__text_put(t, s.ptr + from, i - from);
    llmd__text_put(t, escaped, 6);
    from = i + 1;
  }
  llmd__text_put(t, s.ptr + from, s.len - from);
  llmd__text_put(t, "\"", 1);
}

#endif
