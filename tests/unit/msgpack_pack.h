/* Test payloads as a person writes them:
 *
 *     pack(&p, "[1.5, [{type: BlockStored, block_hashes: [-1, 18446744073709551615], token_ids: [1]}], null]");
 *
 * Words are strings, also between quotes ('a b'); x0aff is bytes; \c1 is a raw byte. Integers take their shortest form.
 * An @ before a value sets `mark` to where it begins. */
#ifndef LLMD_TESTS_MSGPACK_PACK_H
#define LLMD_TESTS_MSGPACK_PACK_H

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct packed {
  uint8_t bytes[1 << 16];
  size_t len;
  size_t mark;
};

static inline void pack_big(struct packed *p, uint64_t v, int bytes)
{
  for (int i = bytes - 1; i >= 0; i--)
    p->bytes[p->len++] = (uint8_t)(v >> 8 * i);
}

static inline void pack_head(struct packed *p, unsigned head, uint64_t v, int bytes)
{
  p->bytes[p->len++] = (uint8_t)head;
  pack_big(p, v, bytes);
}

static inline void pack_uint(struct packed *p, uint64_t v)
{
  if (v < 128)
    pack_big(p, v, 1);
  else if (v < 256)
    pack_head(p, 0xcc, v, 1);
  else if (v < 65536)
    pack_head(p, 0xcd, v, 2);
  else if (v <= UINT32_MAX)
    pack_head(p, 0xce, v, 4);
  else
    pack_head(p, 0xcf, v, 8);
}

static inline void pack_int(struct packed *p, int64_t v)
{
  if (v >= -32)
    pack_big(p, (uint64_t)v, 1);
  else
    pack_head(p, 0xd3, (uint64_t)v, 8);
}

static inline void pack_text(struct packed *p, unsigned head, const char *text, size_t len)
{
  if (head == 0xd9 && len < 32)
    pack_big(p, 0xa0 | len, 1);
  else
    pack_head(p, head, len, 1);
  memcpy(p->bytes + p->len, text, len);
  p->len += len;
}

static inline void pack_hex(struct packed *p, const char *text, size_t len)
{
  char bytes[256];
  for (size_t i = 0; i < len / 2; i++) {
    const char pair[3] = {text[2 * i], text[2 * i + 1], 0};
    bytes[i] = (char)strtoul(pair, NULL, 16);
  }
  pack_text(p, 0xc4, bytes, len / 2);
}

static inline void pack_word(struct packed *p, const char *text, size_t len)
{
  char number[40] = {0};
  double real;
  uint64_t bits;
  if (len == 4 && memcmp(text, "null", 4) == 0)
    pack_big(p, 0xc0, 1);
  else if (len == 4 && memcmp(text, "true", 4) == 0)
    pack_big(p, 0xc3, 1);
  else if (*text == 'x' && len % 2 && strspn(text + 1, "0123456789abcdef") >= len - 1)
    pack_hex(p, text + 1, len - 1);
  else if (!isdigit((unsigned char)*text) && *text != '-')
    pack_text(p, 0xd9, text, len);
  else {
    memcpy(number, text, len < sizeof number ? len : sizeof number - 1);
    if (strchr(number, '.')) {
      real = strtod(number, NULL);
      memcpy(&bits, &real, sizeof bits);
      pack_head(p, 0xcb, bits, 8);
    } else if (*number == '-')
      pack_int(p, strtoll(number, NULL, 10));
    else
      pack_uint(p, strtoull(number, NULL, 10));
  }
}

static inline const char *pack_value(struct packed *p, const char *at);

static inline const char *pack_list(struct packed *p, const char *at)
{
  const int map = *at++ == '{';
  const size_t count = p->len + 1;
  unsigned n = 0;
  pack_head(p, map ? 0xde : 0xdc, 0, 2);
  for (at += strspn(at, " \n"); *at != ']' && *at != '}'; at += strspn(at, ", :\n")) {
    at = pack_value(p, at);
    n++;
  }
  n /= map ? 2 : 1;
  p->bytes[count] = (uint8_t)(n >> 8);
  p->bytes[count + 1] = (uint8_t)n;
  return at + 1;
}

static inline const char *pack_value(struct packed *p, const char *at)
{
  size_t len;
  at += strspn(at, " \n");
  if (*at == '@') {
    p->mark = p->len;
    at++;
  }
  if (*at == '[' || *at == '{')
    return pack_list(p, at);
  if (*at == '\\') {
    const char pair[3] = {at[1], at[2], 0};
    pack_big(p, strtoul(pair, NULL, 16), 1);
    return at + 3;
  }
  if (*at == '\'') {
    len = strcspn(at + 1, "'");
    pack_text(p, 0xd9, at + 1, len);
    return at + len + 2;
  }
  len = strcspn(at, " ,:]}\n");
  pack_word(p, at, len);
  return at + len;
}

static inline void pack(struct packed *p, const char *text)
{
  p->len = p->mark = 0;
  pack_value(p, text);
}

#endif
