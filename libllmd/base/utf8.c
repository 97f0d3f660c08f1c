#include "base/utf8.h"

#include <string.h>

static uint32_t tail(unsigned char c)
{
  return c & 0x3fu;
}

/* The second byte carries all the restrictions: overlong forms, surrogates and the upper bound show there. */
static int second_ok(unsigned char lead, unsigned char c)
{
  unsigned char lo = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char hi = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  return c >= lo && c <= hi;
}

size_t llmd__utf8_read(const char *p, size_t n, uint32_t *cp)
{
  const unsigned char *s = (const unsigned char *)p;
  if (n == 0)
    return 0;
  if (s[0] < 0x80) {
    *cp = s[0];
    return 1;
  }
  size_t len = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
  if (len == 0 || len > n || !second_ok(s[0], s[1]))
    return 0;
  uint32_t v = s[0] & (0xffu >> (len + 1));
  v = v << 6 | tail(s[1]);
  for (size_t i = 2; i < len; i++) {
    if ((s[i] & 0xc0u) != 0x80u)
      return 0;
    v = v << 6 | tail(s[i]);
  }
  *cp = v;
  return len;
}

size_t llmd__utf8_write(char p[4], uint32_t cp)
{
  unsigned char b[4];
  size_t len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
  static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = len - 1; i > 0; i--) {
    b[i] = (unsigned char)(0x80u | (cp & 0x3fu));
    cp >>= 6;
  }
  b[0] = (unsigned char)(lead[len] | cp);
  memcpy(p, b, len);
  return len;
}

size_t llmd__utf8_valid(const char *p, size_t n)
{
  size_t i = 0;
  while (i < n) {
    uint64_t eight;
    uint32_t cp;
    if (n - i >= sizeof eight) {
      memcpy(&eight, p + i, sizeof eight);
      if ((eight & UINT64_C(0x8080808080808080)) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    size_t len = llmd__utf8_read(p + i, n - i, &cp);
    if (len == 0)
      return i;
    i += len;
  }
  return n;
}
