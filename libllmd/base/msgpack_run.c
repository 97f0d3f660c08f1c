/* Runs of small unsigned integers: a prompt's token ids, the bulk of what engines publish.
 *
 * Ids of one, two, three and five bytes come in any order, so a branch on the form is a coin toss, and a look-up of the
 * length waits for the one before. Instead the forms of 64 bytes are found at once, as bits, whether a value begins
 * there or not, and the walk from value to value is done on bits: four instructions deep, not a load.
 *
 *   bytes   ce 00 01 f4 00 cd 23 a5 07 ...
 *   wide4    1  .  .  .  .  .  .  .  .        a value that begins here is five bytes long
 *   wide2    .  .  .  .  .  1  .  .  .        three
 *   tiny     .  1  1  .  1  .  1  .  1        one: itself */
#include "base/msgpack.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define WINDOW 64
#define SLACK 8 /* bytes behind a window that loads of its last value may touch */

typedef struct forms {
  uint64_t tiny, wide1, wide2, wide4;
} forms;

#if defined(__SSE2__)
static uint64_t bits(__m128i same, int at)
{
  return (uint64_t)(uint32_t)_mm_movemask_epi8(same) << at;
}

static void find_forms(const uint8_t *p, forms *out)
{
  const __m128i one = _mm_set1_epi8((char)0xcc), two = _mm_set1_epi8((char)0xcd), four = _mm_set1_epi8((char)0xce);
  forms f = {0, 0, 0, 0};
  for (int at = 0; at < WINDOW; at += 16) {
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
    f.tiny |= bits(v, at);
    f.wide1 |= bits(_mm_cmpeq_epi8(v, one), at);
    f.wide2 |= bits(_mm_cmpeq_epi8(v, two), at);
    f.wide4 |= bits(_mm_cmpeq_epi8(v, four), at);
  }
  f.tiny = ~f.tiny;
  *out = f;
}
#else
/* Eight bytes: which of them are `byte`, as the top bits of the bytes. */
static uint64_t same(uint64_t v, uint64_t byte)
{
  const uint64_t x = v ^ byte * 0x0101010101010101u;
  return ~(((x & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | x) & 0x8080808080808080u;
}

/* Top bits of eight bytes, first byte lowest. */
static uint64_t gather(uint64_t top)
{
  return (top >> 7) * 0x0102040810204080u >> 56;
}

static void find_forms(const uint8_t *p, forms *out)
{
  forms f = {0, 0, 0, 0};
  for (int at = 0; at < WINDOW; at += 8) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
      v |= (uint64_t)p[at + i] << 8 * i;
    f.tiny |= gather(~v & 0x8080808080808080u) << at;
    f.wide1 |= gather(same(v, 0xcc)) << at;
    f.wide2 |= gather(same(v, 0xcd)) << at;
    f.wide4 |= gather(same(v, 0xce)) << at;
  }
  *out = f;
}
#endif

static uint64_t load_big(const uint8_t *p)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
#else
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v = v << 8 | p[i];
  return v;
#endif
}

/* The values that begin in the 64 bytes at p, at most n. *bytes: how far they reach; below 64 when something else
 * stands there (or there were n). */
static uint32_t walk(const uint8_t *p, const forms *f, uint32_t *out, uint32_t n, uint32_t *bytes)
{
  const uint64_t any = f->tiny | f->wide1 | f->wide2 | f->wide4;
  uint32_t got = 0;
  uint64_t at = 0;
  while (at < WINDOW && got < n && any >> at & 1) {
    const uint64_t tiny = f->tiny >> at & 1;
    const uint64_t behind = (f->wide1 >> at & 1) + 2 * (f->wide2 >> at & 1) + 4 * (f->wide4 >> at & 1);
    if (out)
      out[got] = (uint32_t)(load_big(p + at) << (8 - 8 * tiny) >> (64 - 8 * (behind + tiny)));
    got++;
    at += 1 + behind;
  }
  *bytes = (uint32_t)at;
  return got;
}

/* One value, near the end of the payload. */
static int one(llmd__msgpack *r, uint32_t *out)
{
  const size_t left = (size_t)(r->end - r->at);
  const uint8_t *p = r->at;
  const uint32_t behind = left == 0 ? 8 : p[0] < 0x80 ? 0 : p[0] >= 0xcc && p[0] <= 0xce ? 1u << (p[0] - 0xccu) : 8;
  uint32_t v = 0;
  if (behind == 8 || left < 1 + behind)
    return 0;
  for (uint32_t i = behind ? 1 : 0; i <= behind; i++)
    v = v << 8 | p[i];
  if (out)
    *out = v;
  r->at += 1 + behind;
  return 1;
}

uint32_t llmd__msgpack_run(llmd__msgpack *r, uint32_t *out, uint32_t n)
{
  uint32_t got = 0, bytes = WINDOW;
  while (got < n && bytes >= WINDOW && r->end - r->at >= WINDOW + SLACK) {
    forms f;
    find_forms(r->at, &f);
    got += walk(r->at, &f, out ? out + got : NULL, n - got, &bytes);
    r->at += bytes;
  }
  while (got < n && one(r, out ? out + got : NULL))
    got++;
  return got;
}
