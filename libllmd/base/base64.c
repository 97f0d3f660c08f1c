#include "base/base64.h"

#include <llmd/error.h>

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int llmd__base64_encode(const void *data, size_t n, char *out, size_t cap)
{
  const unsigned char *in = data;
  if (n > SIZE_MAX / 2 || LLMD__BASE64_LEN(n) >= cap)
    return LLMD_E_LIMIT;
  for (size_t i = 0; i < n; i += 3) {
    size_t have = n - i < 3 ? n - i : 3;
    uint32_t v = (uint32_t)in[i] << 16;
    if (have > 1)
      v |= (uint32_t)in[i + 1] << 8;
    if (have > 2)
      v |= in[i + 2];
    *out++ = alphabet[v >> 18];
    *out++ = alphabet[v >> 12 & 63];
    *out++ = have > 1 ? alphabet[v >> 6 & 63] : '=';
    *out++ = have > 2 ? alphabet[v & 63] : '=';
  }
  *out = 0;
  return LLMD_OK;
}

/* 0..63, or 64 for a character outside the alphabet. */
static uint32_t sextet(char c)
{
  if (c >= 'A' && c <= 'Z')
    return (uint32_t)(c - 'A');
  if (c >= 'a' && c <= 'z')
    return (uint32_t)(c - 'a') + 26;
  if (c >= '0' && c <= '9')
    return (uint32_t)(c - '0') + 52;
  return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Checks everything before the first byte is written, so that a refused text leaves the output as it was. */
static int decoded_len(const char *text, size_t n, size_t *bytes)
{
  size_t pad = 0;
  if (n % 4)
    return LLMD_E_SYNTAX;
  while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
    pad++;
  for (size_t i = 0; i < n - pad; i++)
    if (sextet(text[i]) > 63)
      return LLMD_E_SYNTAX;
  /* One '=' leaves two bits of the last sextet unused, two leave four: they must be zero. */
  if (pad && sextet(text[n - 1 - pad]) & (pad == 1 ? 3u : 15u))
    return LLMD_E_SYNTAX;
  *bytes = n / 4 * 3 - pad;
  return LLMD_OK;
}

int llmd__base64_decode(const char *text, size_t n, void *out, size_t cap, size_t *out_len)
{
  unsigned char *to = out;
  size_t bytes = 0;
  int rc = decoded_len(text, n, &bytes);
  if (rc)
    return rc;
  if (bytes > cap)
    return LLMD_E_LIMIT;
  for (size_t i = 0; i < bytes; i++) {
    size_t at = i / 3 * 4 + i % 3;
    uint32_t pair = sextet(text[at]) << 6 | sextet(text[at + 1]);
    to[i] = (unsigned char)(pair >> (4 - 2 * (i % 3)));
  }
  *out_len = bytes;
  return LLMD_OK;
}
