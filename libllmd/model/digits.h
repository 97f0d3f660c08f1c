/* Decimal digits, eight at a time. Prompts of token ids are little else. */
#ifndef LLMD_MODEL_DIGITS_H
#define LLMD_MODEL_DIGITS_H

#include <stdint.h>
#include <string.h>

#define LLMD__DIGITS_ONES UINT64_C(0x0101010101010101)

/* The eight bytes at p with the first one lowest, whatever the machine's order. */
static inline uint64_t llmd__digits_load(const char *p)
{
  uint64_t w = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  memcpy(&w, p, sizeof w);
#else
  for (unsigned i = 0; i < 8; i++)
    w |= (uint64_t)(unsigned char)p[i] << (8 * i);
#endif
  return w;
}

/* How many digits begin the eight bytes at p. */
static inline unsigned llmd__digits(const char *p)
{
  uint64_t w = llmd__digits_load(p);
  uint64_t other = (((w ^ LLMD__DIGITS_ONES * 0x30) + LLMD__DIGITS_ONES * 0x76) | w) & LLMD__DIGITS_ONES << 7;
  return other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
}

/* Value of the n digits (1..8) at p; eight bytes are read. Neighbours are joined to pairs, pairs to fours, fours to
 * all. */
static inline uint32_t llmd__digits_value(const char *p, unsigned n)
{
  uint64_t v = (llmd__digits_load(p) ^ LLMD__DIGITS_ONES * 0x30) << (64 - 8 * n);
  v = ((v & UINT64_C(0x0f0f0f0f0f0f0f0f)) * 2561) >> 8;
  v = ((v & UINT64_C(0x00ff00ff00ff00ff)) * 6553601) >> 16;
  v = ((v & UINT64_C(0x0000ffff0000ffff)) * UINT64_C(42949672960001)) >> 32;
  return (uint32_t)v;
}

#endif
