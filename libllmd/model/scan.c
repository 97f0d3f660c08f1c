#include "model/scan.h"

#include <string.h>

#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static unsigned byte_at(const char *p)
{
  return (unsigned char)*p;
}

static int is_plain_ascii(unsigned c)
{
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Length of the whole valid character at p, 0 when it is malformed or cut off. The common three-byte ones come first:
 * leads E1..EC, EE and EF put no condition on the second byte but that it continues. */
static size_t character(const char *p, const char *end)
{
  uint32_t cp;
  unsigned lead = byte_at(p);
  if (end - p >= 3 && lead > 0xe0 && lead < 0xf0 && lead != 0xed)
    return (byte_at(p + 1) & 0xc0) == 0x80 && (byte_at(p + 2) & 0xc0) == 0x80 ? 3 : 0;
  return llmd__utf8_read(p, (size_t)(end - p), &cp);
}

int llmd__scan_is_escape(char c)
{
  return c == 'n' || c == '"' || c == '\\' || c == 't' || c == 'r' || c == '/' || c == 'b' || c == 'f';
}

/* Byte by byte, at most until `stop` is passed: the last bytes of a piece, and single characters. */
static const char *step_text(const char *p, const char *stop, const char *end, uint64_t *escapes, int *special)
{
  while (p < stop) {
    unsigned c = byte_at(p);
    size_t len = c < 0x80 ? (size_t)is_plain_ascii(c) : character(p, end);
    if (c == '\\' && end - p >= 2 && llmd__scan_is_escape(p[1])) {
      len = 2;
      ++*escapes;
    }
    if (len == 0) {
      *special = 1;
      return p;
    }
    p += len;
  }
  return p;
}

/* 0x80 in each byte that is no plain ASCII (borrows may add a false one, only above a true one). */
static uint64_t special8(uint64_t w)
{
  const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
  uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
  uint64_t control = (w - ones * 0x20) & ~w;
  return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | control | w) & high;
}

const char *llmd__scan_text_plain(const char *begin, const char *p, const char *end, uint64_t *escapes)
{
  (void)begin;
  for (;;) {
    uint64_t w;
    int special = 0;
    while (end - p >= 8 && (memcpy(&w, p, 8), special8(w) == 0))
      p += 8;
    if (p == end)
      return p;
    p = step_text(p, end - p > 8 ? p + 8 : end, end, escapes, &special);
    if (special)
      return p;
  }
}

#if defined(__SSE2__)

static __m128i load16(const char *p)
{
  return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static __m128i all16(unsigned c)
{
  return _mm_set1_epi8((char)(unsigned char)c);
}

static __m128i at_least(__m128i v, unsigned c)
{
  return _mm_cmpeq_epi8(_mm_max_epu8(v, all16(c)), v);
}

static __m128i at_most(__m128i v, unsigned c)
{
  return _mm_cmpeq_epi8(_mm_min_epu8(v, all16(c)), v);
}

static __m128i is(__m128i v, unsigned c)
{
  return _mm_cmpeq_epi8(v, all16(c));
}

static uint32_t bits(__m128i v)
{
  return (uint32_t)_mm_movemask_epi8(v);
}

static unsigned first_bit(uint32_t mask)
{
  return (unsigned)__builtin_ctz(mask);
}

/* Quotes, backslashes and control characters. */
static __m128i marks(__m128i v)
{
  return _mm_or_si128(_mm_or_si128(is(v, '"'), is(v, '\\')), at_most(v, 0x1f));
}

/* Where the sixteen bytes at p break UTF-8, each judged from the three bytes before it:
 *   - a byte continues a character if and only if one to three bytes back a lead asks for it;
 *   - C0, C1 and F5..FF lead nothing;
 *   - after E0, ED, F0, F4 the second byte has a narrower range (overlong, surrogate, above U+10FFFF).
 * So the first bad byte is the same one at which a reader that goes byte by byte would stop. */
static __m128i faults(const char *p)
{
  __m128i v = load16(p), back1 = load16(p - 1), back2 = load16(p - 2), back3 = load16(p - 3);
  __m128i follows = _mm_cmplt_epi8(v, _mm_set1_epi8(-64));
  __m128i wanted = _mm_or_si128(at_least(back1, 0xc0), _mm_or_si128(at_least(back2, 0xe0), at_least(back3, 0xf0)));
  __m128i lead = _mm_or_si128(is(_mm_and_si128(v, all16(0xfe)), 0xc0), at_least(v, 0xf5));
  __m128i low = _mm_or_si128(_mm_and_si128(is(back1, 0xe0), at_most(v, 0x9f)),
                             _mm_and_si128(is(back1, 0xf0), at_most(v, 0x8f)));
  __m128i high = _mm_or_si128(_mm_and_si128(is(back1, 0xed), at_least(v, 0xa0)),
                              _mm_and_si128(is(back1, 0xf4), at_least(v, 0x90)));
  return _mm_or_si128(_mm_or_si128(_mm_xor_si128(wanted, follows), lead), _mm_or_si128(low, high));
}

/* p may stand inside a character whose bytes so far are fine: back to its lead. */
static const char *boundary(const char *begin, const char *p)
{
  for (int back = 1; back <= 3 && p - begin >= back; back++) {
    unsigned c = byte_at(p - back);
    if (c >= 0xc0)
      return (c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2) > back ? p - back : p;
    if (c < 0x80)
      break;
  }
  return p;
}

/* Over text that has non-ASCII in it; comes back at a character boundary when sixteen bytes were plain ASCII, when
 * fewer than sixteen are left, or (*special = 1) at what ends the text. */
static const char *wide_text(const char *begin, const char *p, const char *end, int *special)
{
  uint64_t none;
  if (p - begin < 3)
    return step_text(p, p + 1, end, &none, special);
  while (end - p >= 16) {
    __m128i v = load16(p);
    uint32_t stop = bits(_mm_or_si128(marks(v), faults(p)));
    if (stop) {
      *special = 1;
      return boundary(begin, p + first_bit(stop));
    }
    p += 16;
    if (bits(v) == 0)
      return p;
  }
  return boundary(begin, p);
}

/* A bit per byte of the 64 at p that is not plain ASCII; 0 in the common case is found sooner. */
static uint64_t special64(const char *p)
{
  __m128i a = load16(p), b = load16(p + 16), c = load16(p + 32), d = load16(p + 48);
  a = _mm_or_si128(marks(a), a);
  b = _mm_or_si128(marks(b), b);
  c = _mm_or_si128(marks(c), c);
  d = _mm_or_si128(marks(d), d);
  if (bits(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0)
    return 0;
  return (uint64_t)(bits(a) | bits(b) << 16) | (uint64_t)(bits(c) | bits(d) << 16) << 32;
}

/* Over ASCII, the short escapes included; comes back at the first byte that is something else, or with fewer than 65
 * bytes left (an escape may reach one byte beyond the 64). */
static const char *narrow_text(const char *p, const char *end, uint64_t *escapes, int *special)
{
  while (end - p > 64) {
    uint64_t where = special64(p);
    const char *next = p + 64;
    while (where) {
      unsigned at = (unsigned)__builtin_ctzll(where);
      if (p[at] != '\\' || !llmd__scan_is_escape(p[at + 1])) {
        *special = byte_at(p + at) < 0x80;
        return p + at;
      }
      ++*escapes;
      next = at == 63 ? p + 65 : next;
      where &= ~(UINT64_C(3) << at);
    }
    p = next;
  }
  return p;
}

/* The same sixteen at a time, for what is left; stops at every backslash. */
static const char *short_text(const char *p, const char *end)
{
  while (end - p >= 16) {
    __m128i v = load16(p);
    uint32_t stop = bits(_mm_or_si128(marks(v), v));
    if (stop)
      return p + first_bit(stop);
    p += 16;
  }
  return p;
}

/* Most strings are keys and words: sixteen bytes are looked at before 64. */
const char *llmd__scan_text(const char *begin, const char *p, const char *end, uint64_t *escapes)
{
  int special = 0;
  if (end - p >= 16) {
    __m128i v = load16(p);
    uint32_t stop = bits(_mm_or_si128(marks(v), v));
    p += stop ? first_bit(stop) : 16;
    if (stop && *p == '"')
      return p;
  }
  while (!special) {
    p = narrow_text(p, end, escapes, &special);
    if (special)
      return p;
    p = short_text(p, end);
    if (end - p < 16)
      return step_text(p, end, end, escapes, &special);
    if (byte_at(p) >= 0x80)
      p = wide_text(begin, p, end, &special);
    else if (*p != '\\')
      return p;
    if (p < end && *p == '\\') {
      special = 0;
      p = step_text(p, p + 1, end, escapes, &special);
    }
  }
  return p;
}

#else

const char *llmd__scan_text(const char *begin, const char *p, const char *end, uint64_t *escapes)
{
  return llmd__scan_text_plain(begin, p, end, escapes);
}

#endif
