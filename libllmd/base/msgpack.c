#include "base/msgpack.h"

#include <string.h>

#include <llmd/error.h>

/* Arrays shorter than this are not worth a look for runs of integers. */
#define RUN_LEAST 8u

#define UINT64_HEAD 0xcf /* hashes: many, and always nine bytes */
#define UINT64_BYTES 9

void llmd__msgpack_init(llmd__msgpack *r, const void *ptr, size_t len)
{
  static const uint8_t none[1] = {0};
  r->begin = r->at = len ? ptr : none;
  r->end = r->begin + len;
}

/* ---- big-endian numbers ------------------------------------------------------------------------------------------ */

static uint64_t big(const uint8_t *p, uint32_t bytes)
{
  uint64_t v = 0;
  for (uint32_t i = 0; i < bytes; i++)
    v = v << 8 | p[i];
  return v;
}

/* The low `bytes` of u as a signed number, in 64 bits. */
static uint64_t widen(uint64_t u, uint32_t bytes)
{
  const uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
  return (u ^ sign) - sign;
}

static double real(uint64_t u, uint32_t bytes)
{
  const uint32_t low = (uint32_t)u;
  float narrow;
  double wide;
  memcpy(&narrow, &low, sizeof narrow);
  memcpy(&wide, &u, sizeof wide);
  return bytes == 4 ? (double)narrow : wide;
}

/* ---- one value --------------------------------------------------------------------------------------------------- */

/* Sets *r behind a value of `head` bytes and, for text, `body` more. */
static int advance(llmd__msgpack *r, size_t head, uint64_t body)
{
  const size_t left = (size_t)(r->end - r->at);
  if (left < head || left - head < body)
    return LLMD_E_TRUNCATED;
  r->at += head + (size_t)body;
  return 0;
}

static int number(llmd__msgpack *r, llmd__msgpack_value *out, uint32_t kind, uint32_t bytes)
{
  const uint8_t *p = r->at + 1;
  if (advance(r, 1 + bytes, 0))
    return LLMD_E_TRUNCATED;
  out->kind = kind;
  out->u = big(p, bytes);
  if (kind == LLMD__MSGPACK_INT) {
    out->u = widen(out->u, bytes);
    out->kind = out->u >> 63 ? LLMD__MSGPACK_INT : LLMD__MSGPACK_UINT;
  }
  if (kind == LLMD__MSGPACK_FLOAT)
    out->f = real(out->u, bytes);
  return 0;
}

/* `bytes` of length follow the head; 0: the length is `n`. ext: a byte of type stands before the text. */
static int text(llmd__msgpack *r, llmd__msgpack_value *out, uint32_t kind, uint32_t bytes, uint64_t n)
{
  const uint8_t *p = r->at + 1;
  const uint32_t type = kind == LLMD__MSGPACK_EXT;
  if ((size_t)(r->end - r->at) < 1u + bytes + type)
    return LLMD_E_TRUNCATED;
  n = bytes ? big(p, bytes) : n;
  if (advance(r, 1u + bytes + type, n))
    return LLMD_E_TRUNCATED;
  out->kind = kind;
  out->u = type ? p[bytes] : 0;
  out->text.ptr = (const char *)p + bytes + type;
  out->text.len = (size_t)n;
  return 0;
}

static int list(llmd__msgpack *r, llmd__msgpack_value *out, uint32_t kind, uint32_t bytes, uint64_t n)
{
  const uint8_t *p = r->at + 1;
  const size_t left = (size_t)(r->end - r->at);
  if (left < 1u + bytes)
    return LLMD_E_TRUNCATED;
  n = bytes ? big(p, bytes) : n;
  if ((kind == LLMD__MSGPACK_MAP ? 2 * n : n) > left - 1 - bytes)
    return LLMD_E_TRUNCATED;
  r->at = p + bytes;
  out->kind = kind;
  out->n = (uint32_t)n;
  return 0;
}

static int constant(llmd__msgpack *r, llmd__msgpack_value *out, uint32_t kind, uint64_t u)
{
  r->at++;
  out->kind = kind;
  out->u = u;
  return 0;
}

/* Heads 0xc0..0xdf. */
static int long_form(llmd__msgpack *r, llmd__msgpack_value *out, uint8_t head)
{
  switch (head) {
  case 0xc0: return constant(r, out, LLMD__MSGPACK_NIL, 0);
  case 0xc2: case 0xc3: return constant(r, out, LLMD__MSGPACK_BOOL, head & 1u);
  case 0xc4: case 0xc5: case 0xc6: return text(r, out, LLMD__MSGPACK_BIN, 1u << (head - 0xc4u), 0);
  case 0xc7: case 0xc8: case 0xc9: return text(r, out, LLMD__MSGPACK_EXT, 1u << (head - 0xc7u), 0);
  case 0xca: case 0xcb: return number(r, out, LLMD__MSGPACK_FLOAT, 4u << (head - 0xcau));
  case 0xcc: case 0xcd: case 0xce: case 0xcf: return number(r, out, LLMD__MSGPACK_UINT, 1u << (head - 0xccu));
  case 0xd0: case 0xd1: case 0xd2: case 0xd3: return number(r, out, LLMD__MSGPACK_INT, 1u << (head - 0xd0u));
  case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8:
    return text(r, out, LLMD__MSGPACK_EXT, 0, (uint64_t)1 << (head - 0xd4u));
  case 0xd9: case 0xda: case 0xdb: return text(r, out, LLMD__MSGPACK_STR, 1u << (head - 0xd9u), 0);
  case 0xdc: case 0xdd: return list(r, out, LLMD__MSGPACK_ARRAY, 2u << (head - 0xdcu), 0);
  case 0xde: case 0xdf: return list(r, out, LLMD__MSGPACK_MAP, 2u << (head - 0xdeu), 0);
  default: return LLMD_E_SYNTAX;
  }
}

int llmd__msgpack_next(llmd__msgpack *r, llmd__msgpack_value *out)
{
  uint8_t head;
  if (r->at == r->end)
    return LLMD_E_TRUNCATED;
  head = *r->at;
  if (head < 0x80)
    return constant(r, out, LLMD__MSGPACK_UINT, head);
  if (head >= 0xe0)
    return constant(r, out, LLMD__MSGPACK_INT, widen(head, 1));
  if (head >= 0xc0)
    return long_form(r, out, head);
  if (head >= 0xa0)
    return text(r, out, LLMD__MSGPACK_STR, 0, head & 0x1fu);
  return list(r, out, head >= 0x90 ? LLMD__MSGPACK_ARRAY : LLMD__MSGPACK_MAP, 0, head & 0x0fu);
}

/* ---- whole values ------------------------------------------------------------------------------------------------ */

static uint64_t inside(const llmd__msgpack_value *v)
{
  return v->kind == LLMD__MSGPACK_ARRAY ? v->n : v->kind == LLMD__MSGPACK_MAP ? 2 * (uint64_t)v->n : 0;
}

static uint32_t keep_run(llmd__msgpack *r, llmd__msgpack_runs *keep, uint32_t n)
{
  const uint8_t *at = r->at;
  uint32_t got;
  if (!keep || keep->n == LLMD__MSGPACK_RUNS || n > keep->room - keep->used)
    return llmd__msgpack_run(r, NULL, n);
  got = llmd__msgpack_run(r, keep->value + keep->used, n);
  if (got) {
    keep->run[keep->n].at = at;
    keep->run[keep->n].end = r->at;
    keep->run[keep->n].first = keep->used;
    keep->run[keep->n++].n = got;
    keep->used += got;
  }
  return got;
}

int llmd__msgpack_skip_keeping(llmd__msgpack *r, llmd__msgpack_runs *keep)
{
  for (uint64_t left = 1; left > 0;) {
    llmd__msgpack_value v;
    int rc;
    if (r->end - r->at >= UINT64_BYTES && *r->at == UINT64_HEAD) {
      r->at += UINT64_BYTES;
      left--;
      continue;
    }
    rc = left > (uint64_t)(r->end - r->at) ? LLMD_E_TRUNCATED : llmd__msgpack_next(r, &v);
    if (rc)
      return rc;
    left += inside(&v) - 1;
    if (v.kind == LLMD__MSGPACK_ARRAY && v.n >= RUN_LEAST)
      left -= keep_run(r, keep, v.n);
  }
  return 0;
}

int llmd__msgpack_skip(llmd__msgpack *r)
{
  return llmd__msgpack_skip_keeping(r, NULL);
}

const uint32_t *llmd__msgpack_kept(llmd__msgpack *r, const llmd__msgpack_runs *keep, uint32_t n)
{
  for (uint32_t i = 0; i < keep->n; i++)
    if (keep->run[i].at == r->at && keep->run[i].n == n) {
      r->at = keep->run[i].end;
      return keep->value + keep->run[i].first;
    }
  return NULL;
}

int llmd__msgpack_skip_within(llmd__msgpack *r, uint32_t depth)
{
  uint64_t left[LLMD__MSGPACK_DEPTH_MAX + 1] = {1};
  const uint32_t most = depth < LLMD__MSGPACK_DEPTH_MAX ? depth : LLMD__MSGPACK_DEPTH_MAX;
  for (uint32_t level = 0;;) {
    llmd__msgpack_value v;
    const uint8_t *at = r->at;
    int rc;
    while (left[level] == 0)
      if (level-- == 0)
        return 0;
    rc = llmd__msgpack_next(r, &v);
    if (rc)
      return rc;
    left[level]--;
    if (v.kind != LLMD__MSGPACK_ARRAY && v.kind != LLMD__MSGPACK_MAP)
      continue;
    if (level == most) {
      r->at = at;
      return LLMD_E_DEPTH;
    }
    left[++level] = inside(&v);
    if (v.kind == LLMD__MSGPACK_ARRAY)
      left[level] -= llmd__msgpack_run(r, NULL, v.n);
  }
}
