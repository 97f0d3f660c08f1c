#include "model/text.h"

#include <string.h>

#include <llmd/error.h>

#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define REPLACEMENT 0xfffdu

void llmd__sink_put(llmd__sink *out, const void *bytes, size_t n)
{
  size_t room = (size_t)(out->end - out->p);
  if (n > room) {
    n = room;
    out->cut = 1;
  }
  if (n)
    memcpy(out->p, bytes, n);
  out->p += n;
}

/* Value of a hexadecimal digit, with 16 added to tell it from what is none. */
static const uint8_t hex_value[256] = {
    ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23,
    ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31,
    ['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29, ['E'] = 30, ['F'] = 31};

int llmd__text_hex(char c)
{
  return hex_value[(unsigned char)c] - 16 < 0 ? -1 : hex_value[(unsigned char)c] - 16;
}

int llmd__text_hex4(const char *p)
{
  unsigned a = hex_value[(unsigned char)p[0]], b = hex_value[(unsigned char)p[1]];
  unsigned c = hex_value[(unsigned char)p[2]], d = hex_value[(unsigned char)p[3]];
  if (!(a & b & c & d & 16))
    return -1;
  return (int)((a & 15) << 12 | (b & 15) << 8 | (c & 15) << 4 | (d & 15));
}

/* An unescaper that can stop after any byte, since a string may be spread over pieces. */
typedef struct unescaper {
  uint32_t high;  /* \uD800..\uDBFF that waits for its partner, or 0 */
  uint32_t hex;
  uint32_t state; /* 0 plain, 1 after a backslash, 2..5 before a hexadecimal digit */
} unescaper;

static void put_character(llmd__sink *out, uint32_t cp)
{
  char utf8[4];
  if (cp >= 0x800 && cp < 0x10000 && out->end - out->p >= 3) { /* nearly all that is escaped so */
    out->p[0] = (unsigned char)(0xe0 | cp >> 12);
    out->p[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
    out->p[2] = (unsigned char)(0x80 | (cp & 0x3f));
    out->p += 3;
  } else {
    llmd__sink_put(out, utf8, llmd__utf8_write(utf8, cp));
  }
}

static void give_up_high(unescaper *u, llmd__sink *out)
{
  if (u->high)
    put_character(out, REPLACEMENT);
  u->high = 0;
}

/* One \uXXXX. */
static void put_unit(unescaper *u, uint32_t unit, llmd__sink *out)
{
  if (u->high && unit >= 0xdc00 && unit < 0xe000) {
    put_character(out, 0x10000 + ((u->high - 0xd800) << 10 | (unit - 0xdc00)));
    u->high = 0;
    return;
  }
  give_up_high(u, out);
  if (unit >= 0xd800 && unit < 0xdc00)
    u->high = unit;
  else
    put_character(out, unit >= 0xdc00 && unit < 0xe000 ? REPLACEMENT : unit);
}

/* What a short escape stands for; 0 for a byte that makes none. */
static const char short_escape[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                       ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

static void put_short(unescaper *u, char c, llmd__sink *out)
{
  give_up_high(u, out);
  llmd__sink_put(out, &short_escape[(unsigned char)c], 1);
}

static void step(unescaper *u, char c, llmd__sink *out)
{
  if (u->state == 1) {
    u->state = c == 'u' ? 2 : 0;
    u->hex = 0;
    if (c != 'u')
      put_short(u, c, out);
    return;
  }
  u->hex = u->hex << 4 | (uint32_t)llmd__text_hex(c);
  if (++u->state == 6) {
    u->state = 0;
    put_unit(u, u->hex, out);
  }
}

#if defined(__SSE2__)
/* While sixteen bytes can be read and written at once: copies up to the next backslash, then takes the short escapes
 * there. Comes back before \uXXXX or near an end. */
static const char *fast_run(const char *p, const char *end, llmd__sink *out)
{
  unsigned char *to = out->p;
  while (end - p >= 18 && out->end - to >= 18) {
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    int stop = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    int n = stop ? __builtin_ctz((unsigned)stop) : 16;
    _mm_storeu_si128((__m128i *)(void *)to, v);
    p += n;
    to += n;
    if (stop) {
      char plain = short_escape[(unsigned char)p[1]];
      if (plain == 0)
        break;
      *to++ = (unsigned char)plain;
      p += 2;
    }
  }
  out->p = to;
  return p;
}
#else
static const char *fast_run(const char *p, const char *end, llmd__sink *out)
{
  (void)end;
  (void)out;
  return p;
}
#endif

/* Up to the first backslash; returns where that is (or end). */
static const char *copy_plain(const char *p, const char *end, llmd__sink *out)
{
  const char *slash = memchr(p, '\\', (size_t)(end - p));
  const char *stop = slash ? slash : end;
  llmd__sink_put(out, p, (size_t)(stop - p));
  return stop;
}

static void unescape_run(unescaper *u, const char *p, const char *end, llmd__sink *out)
{
  while (p < end && !out->cut) {
    if (u->state) {
      step(u, *p++, out);
    } else if (end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
      put_unit(u, (uint32_t)llmd__text_hex4(p + 2), out);
      p += 6;
    } else {
      const char *from = p;
      if (*p != '\\' || (end - p > 1 && p[1] != 'u'))
        give_up_high(u, out);
      p = fast_run(p, end, out);
      if (p != from)
        continue;
      if (*p != '\\') {
        p = copy_plain(p, end, out);
      } else {
        u->state = 1;
        p++;
      }
    }
  }
}

void llmd__text_unescape(const llmd__pieces *ps, const llmd__span *span, llmd__sink *out)
{
  unescaper u = {0, 0, 0};
  for (uint64_t done = 0; done < span->bytes && !out->cut;) {
    size_t avail;
    const char *run = llmd__pieces_run(ps, span->offset + done, &avail);
    size_t take = avail < span->bytes - done ? avail : (size_t)(span->bytes - done);
    if (span->escaped)
      unescape_run(&u, run, run + take, out);
    else
      llmd__sink_put(out, run, take);
    done += take;
  }
  give_up_high(&u, out);
}

int64_t llmd__text_copy(const llmd__pieces *ps, const llmd__span *span, char *buf, size_t cap)
{
  llmd__sink out = {(unsigned char *)buf, (unsigned char *)buf + cap, 0};
  if (span->decoded > cap)
    return LLMD_E_LIMIT;
  llmd__text_unescape(ps, span, &out);
  return (int64_t)(out.p - (unsigned char *)buf);
}

static void quote_byte(llmd__sink *out, char c)
{
  static const char digits[] = "0123456789abcdef";
  unsigned char b = (unsigned char)c;
  if (c == '"' || c == '\\') {
    char pair[2] = {'\\', c};
    llmd__sink_put(out, pair, 2);
  } else if (b < 0x20) {
    char escape[6] = {'\\', 'u', '0', '0', digits[b >> 4], digits[b & 15]};
    llmd__sink_put(out, escape, 6);
  } else {
    llmd__sink_put(out, &c, 1);
  }
}

int64_t llmd__text_quote(const char *text, size_t n, char *buf, size_t cap)
{
  llmd__sink out = {(unsigned char *)buf, (unsigned char *)buf + cap, 0};
  if (llmd__utf8_valid(text, n) != n)
    return LLMD_E_UTF8;
  llmd__sink_put(&out, "\"", 1);
  for (size_t i = 0; i < n && !out.cut; i++)
    quote_byte(&out, text[i]);
  llmd__sink_put(&out, "\"", 1);
  return out.cut ? LLMD_E_LIMIT : (int64_t)(out.p - (unsigned char *)buf);
}
