#include "base/sha256.h"

#include <string.h>

#define BLOCK 64u

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t right(uint32_t v, unsigned by)
{
  return v >> by | v << (32 - by);
}

static uint32_t big_endian(const uint8_t *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_big_endian(uint8_t *p, uint32_t v)
{
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static void expand(uint32_t w[64], const uint8_t *block)
{
  for (int i = 0; i < 16; i++)
    w[i] = big_endian(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (right(a, 7) ^ right(a, 18) ^ a >> 3) + w[i - 7] + (right(b, 17) ^ right(b, 19) ^ b >> 10);
  }
}

/* One round. The eight words take turns at the places a..h, so nothing is moved: d and h are what changes. */
static inline void turn(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f, uint32_t g, uint32_t *h,
                        uint32_t kw)
{
  const uint32_t one = *h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + (g ^ (e & (f ^ g))) + kw;
  *d += one;
  *h = one + (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & b) | (c & (a | b)));
}

/* One block of 64 bytes. */
static void compress(uint32_t state[8], const uint8_t *block)
{
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  uint32_t w[64];
  expand(w, block);
  for (int i = 0; i < 64; i += 8) {
    turn(a, b, c, &d, e, f, g, &h, k[i] + w[i]);
    turn(h, a, b, &c, d, e, f, &g, k[i + 1] + w[i + 1]);
    turn(g, h, a, &b, c, d, e, &f, k[i + 2] + w[i + 2]);
    turn(f, g, h, &a, b, c, d, &e, k[i + 3] + w[i + 3]);
    turn(e, f, g, &h, a, b, c, &d, k[i + 4] + w[i + 4]);
    turn(d, e, f, &g, h, a, b, &c, k[i + 5] + w[i + 5]);
    turn(c, d, e, &f, g, h, a, &b, k[i + 6] + w[i + 6]);
    turn(b, c, d, &e, f, g, h, &a, k[i + 7] + w[i + 7]);
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void llmd__sha256_begin(llmd__sha256 *s)
{
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(s->h, start, sizeof start);
  s->len = 0;
}

void llmd__sha256_add(llmd__sha256 *s, const void *ptr, size_t len)
{
  const uint8_t *p = ptr;
  const size_t have = s->len % BLOCK;
  if (len == 0)
    return;
  s->len += len;
  if (have) {
    const size_t take = len < BLOCK - have ? len : BLOCK - have;
    memcpy(s->tail + have, p, take);
    p += take, len -= take;
    if (have + take < BLOCK)
      return;
    compress(s->h, s->tail);
  }
  for (; len >= BLOCK; p += BLOCK, len -= BLOCK)
    compress(s->h, p);
  memcpy(s->tail, p, len);
}

void llmd__sha256_end(llmd__sha256 *s, uint8_t out[LLMD__SHA256_BYTES])
{
  static const uint8_t pad[BLOCK] = {0x80};
  const uint64_t bits = s->len * 8;
  uint8_t length[8];
  store_big_endian(length, (uint32_t)(bits >> 32));
  store_big_endian(length + 4, (uint32_t)bits);
  llmd__sha256_add(s, pad, 1 + (BLOCK + 55 - s->len % BLOCK) % BLOCK);
  llmd__sha256_add(s, length, sizeof length);
  for (int i = 0; i < 8; i++)
    store_big_endian(out + 4 * i, s->h[i]);
}
