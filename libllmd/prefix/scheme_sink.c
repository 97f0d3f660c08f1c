/* Bytes into a hash. */
#include <string.h>

#include "prefix/scheme.h"

#define FNV_START 14695981039346656037u
#define FNV_PRIME 1099511628211u

void llmd__sink_begin(llmd__sink *s, uint32_t kind)
{
  s->kind = kind;
  s->n = 0;
  s->len = 0;
  if (kind == LLMD__SINK_SHA256)
    llmd__sha256_begin(&s->u.sha);
  else if (kind == LLMD__SINK_XXH3_128)
    llmd__xxh_begin(&s->u.xxh, LLMD__XXH3_128, 0);
  else if (kind == LLMD__SINK_XXH64)
    llmd__xxh_begin(&s->u.xxh, LLMD__XXH64, 0);
  else
    s->u.fnv = FNV_START;
}

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t len)
{
  for (size_t i = 0; i < len; i++)
    h = (h ^ p[i]) * FNV_PRIME;
  return h;
}

static void hash(llmd__sink *s, const void *ptr, size_t len)
{
  if (s->kind == LLMD__SINK_SHA256)
    llmd__sha256_add(&s->u.sha, ptr, len);
  else if (s->kind == LLMD__SINK_FNV)
    s->u.fnv = fnv(s->u.fnv, ptr, len);
  else if (s->kind != LLMD__SINK_COUNT)
    llmd__xxh_add(&s->u.xxh, ptr, len);
}

static void flush(llmd__sink *s)
{
  hash(s, s->wait, s->n);
  s->n = 0;
}

void llmd__sink_add(llmd__sink *s, const void *ptr, size_t len)
{
  if (len == 0)
    return;
  s->len += len;
  if (len > sizeof s->wait - s->n)
    flush(s);
  if (len > sizeof s->wait) {
    hash(s, ptr, len);
    return;
  }
  memcpy(s->wait + s->n, ptr, len);
  s->n += (uint32_t)len;
}

void llmd__sink_byte(llmd__sink *s, unsigned byte)
{
  const uint8_t b = (uint8_t)byte;
  llmd__sink_add(s, &b, 1);
}

void llmd__sink_number(llmd__sink *s, uint64_t v, uint32_t bytes)
{
  uint8_t b[8];
  for (uint32_t i = 0; i < bytes; i++)
    b[i] = (uint8_t)(v >> 8 * i);
  llmd__sink_add(s, b, bytes);
}

static void put(uint8_t *out, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)(v >> (56 - 8 * i));
}

uint64_t llmd__number_of(const uint8_t *big_endian)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v = v << 8 | big_endian[i];
  return v;
}

void llmd__digest_number(llmd_digest *out, uint64_t v)
{
  memset(out, 0, sizeof *out);
  put(out->bytes, v);
  out->len = 8;
  out->name = v;
}

void llmd__sink_end(llmd__sink *s, llmd_digest *out)
{
  llmd_key k = {0, 0};
  flush(s);
  if (s->kind == LLMD__SINK_SHA256) {
    memset(out, 0, sizeof *out);
    llmd__sha256_end(&s->u.sha, out->bytes);
    out->len = LLMD__SHA256_BYTES;
    return;
  }
  if (s->kind == LLMD__SINK_FNV)
    k.lo = s->u.fnv;
  else if (s->kind != LLMD__SINK_COUNT)
    llmd__xxh_end(&s->u.xxh, &k);
  llmd__digest_number(out, k.lo);
  if (s->kind == LLMD__SINK_XXH3_128) {
    put(out->bytes, k.hi);
    put(out->bytes + 8, k.lo);
    out->len = 16;
  }
}
