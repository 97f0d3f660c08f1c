#include "model/media.h"

#include <string.h>

#define DEFAULT_WIDTH 640u
#define DEFAULT_HEIGHT 360u
#define PIXELS_PER_TOKEN 1024u
#define VIDEO_SECONDS 10.0
#define FRAMES_PER_SECOND 2.0
#define LOOK_AT 4096u /* bytes of an image that are read in search of its size, jumps aside */

/* Base64 text of the body as bytes. Backslashes are skipped: encoders write '/' as "\/". */
typedef struct source {
  const llmd__pieces *ps;
  const char *run;
  uint64_t offset, left;
  size_t avail;
  uint32_t bits, n_bits;
  uint32_t given;
  int escaped;
} source;

static void source_at(source *s, const llmd__pieces *ps, const llmd__segment *at, uint64_t skip)
{
  memset(s, 0, sizeof *s);
  s->ps = ps;
  s->offset = at->offset + skip;
  s->left = at->bytes - skip;
  s->escaped = at->escaped;
}

static int next_char(source *s)
{
  if (s->left == 0)
    return -1;
  if (s->avail == 0)
    s->run = llmd__pieces_run(s->ps, s->offset, &s->avail);
  s->offset++;
  s->left--;
  s->avail--;
  return (unsigned char)*s->run++;
}

static int base64_value(int c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The next byte of the image, -1 at its end, at what is no base64, or after LOOK_AT bytes. */
static int next_byte(source *s)
{
  while (s->n_bits < 8) {
    int c = next_char(s);
    int v = base64_value(c);
    if (c == '\\')
      continue;
    if (v < 0)
      return -1;
    s->bits = s->bits << 6 | (uint32_t)v;
    s->n_bits += 6;
  }
  s->n_bits -= 8;
  return ++s->given > LOOK_AT ? -1 : (int)(s->bits >> s->n_bits & 0xff);
}

/* Passes over n bytes: four characters hold three of them, unless there are backslashes between. */
static int skip_bytes(source *s, int64_t n)
{
  while (n && (s->n_bits || s->escaped || n < 3)) {
    if (next_byte(s) < 0)
      return 0;
    n--;
  }
  uint64_t jump = (uint64_t)n / 3 * 4;
  if (jump > s->left)
    return 0;
  s->offset += jump;
  s->left -= jump;
  s->avail = 0;
  for (n %= 3; n; n--)
    if (next_byte(s) < 0)
      return 0;
  return 1;
}

static int expect(source *s, const char *bytes, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (next_byte(s) != (unsigned char)bytes[i])
      return 0;
  return 1;
}

/* n bytes, the highest first; -1 when they are not there. */
static int64_t big_endian(source *s, unsigned n)
{
  int64_t v = 0;
  while (n--) {
    int b = next_byte(s);
    if (b < 0)
      return -1;
    v = v << 8 | b;
  }
  return v;
}

static int png_size(source *s, uint64_t *w, uint64_t *h)
{
  if (!expect(s, "PNG\r\n\x1a\n", 7) || big_endian(s, 4) != 13 || !expect(s, "IHDR", 4))
    return 0;
  int64_t a = big_endian(s, 4), b = big_endian(s, 4);
  *w = (uint64_t)a;
  *h = (uint64_t)b;
  return a > 0 && b > 0;
}

static int gif_size(source *s, uint64_t *w, uint64_t *h)
{
  int version;
  if (!expect(s, "IF8", 3) || ((version = next_byte(s)) != '7' && version != '9') || !expect(s, "a", 1))
    return 0;
  int64_t a = big_endian(s, 2), b = big_endian(s, 2);
  *w = (uint64_t)((a & 0xff) << 8 | a >> 8);
  *h = (uint64_t)((b & 0xff) << 8 | b >> 8);
  return a > 0 && b > 0;
}

/* Segments until the frame header (SOF0..SOF2), which has the size. */
static int jpeg_size(source *s, uint64_t *w, uint64_t *h)
{
  if (next_byte(s) != 0xd8)
    return 0;
  for (;;) {
    int marker;
    if (next_byte(s) != 0xff)
      return 0;
    while ((marker = next_byte(s)) == 0xff)
      ;
    int64_t len = big_endian(s, 2);
    if (len < 2)
      return 0;
    if (marker >= 0xc0 && marker <= 0xc2) {
      int64_t precision = big_endian(s, 1), b = big_endian(s, 2), a = big_endian(s, 2);
      *w = (uint64_t)a;
      *h = (uint64_t)b;
      return precision > 0 && a > 0 && b > 0;
    }
    if (!skip_bytes(s, len - 2))
      return 0;
  }
}

static int image_size(source *s, uint64_t *w, uint64_t *h)
{
  switch (next_byte(s)) {
  case 0x89:
    return png_size(s, w, h);
  case 'G':
    return gif_size(s, w, h);
  case 0xff:
    return jpeg_size(s, w, h);
  default:
    return 0;
  }
}

/* Where the base64 of a data URL begins; 0 for other text, which may be plain base64. */
static uint64_t payload(const llmd__pieces *ps, const llmd__segment *s)
{
  char head[160];
  const char *p;
  size_t n = s->bytes < sizeof head ? (size_t)s->bytes : sizeof head;
  if (llmd__pieces_bytes(ps, s->offset, n, head, sizeof head, &p) || n < 5 || memcmp(p, "data:", 5) != 0)
    return 0;
  for (size_t i = 5; i + 7 <= n; i++)
    if (memcmp(p + i, "base64,", 7) == 0)
      return i + 7;
  return 0;
}

static uint32_t bounded(double tokens)
{
  return tokens < 1 ? 1 : tokens > LLMD__MEDIA_MOST ? LLMD__MEDIA_MOST : (uint32_t)tokens;
}

static double pixels_to_tokens(double pixels)
{
  return bounded(pixels / PIXELS_PER_TOKEN);
}

static uint32_t image_tokens(const llmd__pieces *ps, const llmd__segment *s)
{
  uint64_t w, h, skip = payload(ps, s);
  source src;
  source_at(&src, ps, s, skip);
  if (!image_size(&src, &w, &h)) {
    w = DEFAULT_WIDTH;
    h = DEFAULT_HEIGHT;
  }
  return bounded(pixels_to_tokens((double)w * (double)h));
}

static uint32_t video_tokens(const llmd__video *v)
{
  double pixels = v->width ? (double)v->width * v->height : (double)DEFAULT_WIDTH * DEFAULT_HEIGHT;
  double seconds = v->seconds > 0 ? v->seconds : VIDEO_SECONDS;
  double frames = seconds > LLMD__MEDIA_MOST ? LLMD__MEDIA_MOST : (double)(uint32_t)(seconds * FRAMES_PER_SECOND);
  return bounded(frames * pixels_to_tokens(pixels));
}

uint32_t llmd__media_tokens(const llmd__pieces *ps, const llmd__segment *s, const llmd__video *v)
{
  switch (s->media) {
  case LLMD__MEDIA_IMAGE:
    return image_tokens(ps, s);
  case LLMD__MEDIA_VIDEO:
    return video_tokens(v);
  default:
    return bounded((double)(s->decoded / 4 + (s->decoded % 4 != 0)));
  }
}

static uint32_t leading_number(const char **p, const char *end)
{
  uint32_t v = 0;
  for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
    v = v > 99999 ? v : v * 10 + (uint32_t)(**p - '0');
  return v;
}

void llmd__media_resolution(const char *text, size_t len, llmd__video *v)
{
  const char *p = text, *end = text + len;
  uint32_t w = leading_number(&p, end), h;
  if (w == 0 || p == end || (*p != 'x' && *p != 'X'))
    return;
  p++;
  h = leading_number(&p, end);
  if (h == 0 || p != end)
    return;
  v->width = w;
  v->height = h;
}

/* ---- the name ---- */

/* Four lanes that take eight bytes each in turn, so that the multiplications overlap. */
typedef struct namer {
  uint64_t lane[4];
  char buf[32];
  size_t n;
} namer;

#define ODD1 UINT64_C(0x9fb21c651e98df25)
#define ODD2 UINT64_C(0xd6e8feb86659fd93)

static uint64_t mix(uint64_t h)
{
  h ^= h >> 32;
  h *= ODD1;
  h ^= h >> 29;
  h *= ODD2;
  return h ^ h >> 32;
}

static void take_block(namer *m, const char *p)
{
  for (unsigned i = 0; i < 4; i++) {
    uint64_t w;
    memcpy(&w, p + 8 * i, sizeof w);
    m->lane[i] = (m->lane[i] ^ w) * ODD1;
    m->lane[i] ^= m->lane[i] >> 31;
  }
}

static void take(namer *m, const char *p, size_t n)
{
  while (n) {
    if (m->n == 0 && n >= 32) {
      take_block(m, p);
      p += 32;
      n -= 32;
      continue;
    }
    size_t k = 32 - m->n < n ? 32 - m->n : n;
    memcpy(m->buf + m->n, p, k);
    m->n += k;
    p += k;
    n -= k;
    if (m->n == 32) {
      take_block(m, m->buf);
      m->n = 0;
    }
  }
}

void llmd__media_name(const llmd__pieces *ps, const llmd__segment *s, uint32_t name[4])
{
  namer m = {{ODD1, ODD2, ODD1 ^ ODD2, s->bytes}, {0}, 0};
  for (uint64_t done = 0; done < s->bytes;) {
    size_t avail;
    const char *run = llmd__pieces_run(ps, s->offset + done, &avail);
    size_t n = avail < s->bytes - done ? avail : (size_t)(s->bytes - done);
    take(&m, run, n);
    done += n;
  }
  memset(m.buf + m.n, 0, sizeof m.buf - m.n);
  take_block(&m, m.buf);
  uint64_t a = mix(m.lane[0] + mix(m.lane[1] + mix(m.lane[2] + mix(m.lane[3]))));
  uint64_t b = mix(a ^ m.lane[1]) + mix(m.lane[0] ^ m.lane[3]);
  name[0] = (uint32_t)a;
  name[1] = (uint32_t)(a >> 32);
  name[2] = (uint32_t)b;
  name[3] = (uint32_t)(b >> 32);
}
