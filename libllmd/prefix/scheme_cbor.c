/* Canonical CBOR: shortest heads, definite lengths. */
#include "prefix/scheme.h"

void llmd__cbor_head(llmd__sink *s, uint32_t major, uint64_t value)
{
  uint8_t b[9];
  const uint32_t bytes = value < 24 ? 0 : value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
  const uint32_t shape = bytes == 0 ? (uint32_t)value : bytes == 1 ? 24 : bytes == 2 ? 25 : bytes == 4 ? 26 : 27;
  b[0] = (uint8_t)(major << 5 | shape);
  for (uint32_t i = 0; i < bytes; i++)
    b[1 + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
  llmd__sink_add(s, b, 1 + bytes);
}

void llmd__cbor_text(llmd__sink *s, llmd_str text)
{
  llmd__cbor_head(s, LLMD__CBOR_TEXT, text.len);
  llmd__sink_add(s, text.ptr, text.len);
}

static void open_array(llmd__writer *w, uint32_t n)
{
  llmd__cbor_head(w->sink, LLMD__CBOR_ARRAY, n);
}

static void close_array(llmd__writer *w, uint32_t n)
{
  (void)w, (void)n;
}

static void bytes(llmd__writer *w, const uint8_t *ptr, uint32_t len)
{
  llmd__cbor_head(w->sink, LLMD__CBOR_BYTES, len);
  llmd__sink_add(w->sink, ptr, len);
}

static void text(llmd__writer *w, llmd_str t, uint32_t literal)
{
  (void)literal;
  llmd__cbor_text(w->sink, t);
}

static void integer(llmd__writer *w, int64_t v)
{
  if (v >= 0)
    llmd__cbor_head(w->sink, LLMD__CBOR_UINT, (uint64_t)v);
  else
    llmd__cbor_head(w->sink, LLMD__CBOR_NEGATIVE, (uint64_t)(-1 - v));
}

static void none(llmd__writer *w)
{
  llmd__sink_byte(w->sink, LLMD__CBOR_NULL);
}

const llmd__codec llmd__codec_cbor = {open_array, close_array, bytes, text, integer, none, 0};
