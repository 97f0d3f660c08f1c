/* Python's pickle, protocol 5, as CPython writes it: the few opcodes that tuples of bytes, numbers and texts need.
 *
 * Bytes, texts and tuples are remembered (MEMOIZE) in the order in which they are complete; an object that comes again
 * is fetched by its number (BINGET). Which texts are one object in CPython: literals of vLLM's source, the empty text,
 * and texts of one Latin-1 character. */
#include <string.h>

#include "prefix/scheme.h"

#define PROTO 0x80u
#define FRAME 0x95u
#define STOP '.'
#define NONE 'N'
#define MARK '('
#define TUPLE 't'
#define EMPTY_TUPLE ')'
#define TUPLE1 0x85u /* TUPLE2, TUPLE3 follow */
#define MEMOIZE 0x94u
#define BINGET 'h'
#define SHORT_BINBYTES 'C'
#define SHORT_BINUNICODE 0x8cu
#define BINUNICODE 'X'
#define BININT 'J'
#define BININT1 'K'
#define BININT2 'M'
#define LONG1 0x8au

void llmd__pickle_begin(llmd__sink *s, uint64_t len)
{
  llmd__sink_byte(s, PROTO);
  llmd__sink_byte(s, 5);
  llmd__sink_byte(s, FRAME);
  llmd__sink_number(s, len, 8);
}

void llmd__pickle_end(llmd__sink *s)
{
  llmd__sink_byte(s, STOP);
}

static void memoize(llmd__writer *w)
{
  llmd__sink_byte(w->sink, MEMOIZE);
  w->memo++;
}

static void open_tuple(llmd__writer *w, uint32_t n)
{
  if (n > 3)
    llmd__sink_byte(w->sink, MARK);
}

static void close_tuple(llmd__writer *w, uint32_t n)
{
  llmd__sink_byte(w->sink, n > 3 ? TUPLE : n == 0 ? EMPTY_TUPLE : TUPLE1 + n - 1);
  if (n > 0)
    memoize(w);
}

static void bytes(llmd__writer *w, const uint8_t *ptr, uint32_t len) /* digests: short */
{
  llmd__sink_byte(w->sink, SHORT_BINBYTES);
  llmd__sink_byte(w->sink, len);
  llmd__sink_add(w->sink, ptr, len);
  memoize(w);
}

static int one_object(llmd_str t, uint32_t literal)
{
  const uint8_t lead = t.len ? (uint8_t)t.ptr[0] : 0;
  return literal || t.len == 0 || (t.len == 1 && lead < 0x80) || (t.len == 2 && (lead == 0xc2 || lead == 0xc3));
}

/* The text's number is written if it was there before; else, if it may come again, it is noted. */
static int fetch(llmd__writer *w, llmd_str t, uint32_t literal)
{
  if (!one_object(t, literal))
    return 0;
  for (uint32_t i = 0; i < w->n_shared; i++) {
    const llmd_str have = w->shared[i].text;
    if (have.len != t.len || (t.len && memcmp(have.ptr, t.ptr, t.len)))
      continue;
    llmd__sink_byte(w->sink, BINGET);
    llmd__sink_byte(w->sink, w->shared[i].memo);
    return 1;
  }
  w->shared[w->n_shared].text = t;
  w->shared[w->n_shared++].memo = w->memo;
  return 0;
}

static void text(llmd__writer *w, llmd_str t, uint32_t literal)
{
  if (fetch(w, t, literal))
    return;
  llmd__sink_byte(w->sink, t.len <= UINT8_MAX ? SHORT_BINUNICODE : BINUNICODE);
  llmd__sink_number(w->sink, t.len, t.len <= UINT8_MAX ? 1 : 4);
  llmd__sink_add(w->sink, t.ptr, t.len);
  memoize(w);
}

static void integer(llmd__writer *w, int64_t v)
{
  uint32_t bytes_needed = 1;
  if (v >= 0 && v <= UINT16_MAX) {
    llmd__sink_byte(w->sink, v <= UINT8_MAX ? BININT1 : BININT2);
    llmd__sink_number(w->sink, (uint64_t)v, v <= UINT8_MAX ? 1 : 2);
    return;
  }
  if (v >= INT32_MIN && v <= INT32_MAX) {
    llmd__sink_byte(w->sink, BININT);
    llmd__sink_number(w->sink, (uint64_t)v, 4);
    return;
  }
  while (bytes_needed < 8 && (v < -(INT64_C(1) << (8 * bytes_needed - 1)) || v >= INT64_C(1) << (8 * bytes_needed - 1)))
    bytes_needed++;
  llmd__sink_byte(w->sink, LONG1);
  llmd__sink_byte(w->sink, bytes_needed);
  llmd__sink_number(w->sink, (uint64_t)v, bytes_needed);
}

static void none(llmd__writer *w)
{
  llmd__sink_byte(w->sink, NONE);
}

const llmd__codec llmd__codec_pickle = {open_tuple, close_tuple, bytes, text, integer, none, 1};
