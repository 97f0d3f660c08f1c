#include "base/bignum.h"

#include <assert.h>
#include <string.h>

static void trim(llmd__bignum *b)
{
  while (b->n && b->limb[b->n - 1] == 0)
    b->n--;
}

static void push(llmd__bignum *b, uint32_t limb)
{
  assert(b->n < LLMD__BIGNUM_LIMBS);
  b->limb[b->n++] = limb;
}

void llmd__bignum_set(llmd__bignum *b, uint64_t v)
{
  b->n = 2;
  b->limb[0] = (uint32_t)v;
  b->limb[1] = (uint32_t)(v >> 32);
  trim(b);
}

/* Only the limbs in use: a struct assignment would copy the whole room each time. */
void llmd__bignum_copy(llmd__bignum *b, const llmd__bignum *from)
{
  b->n = from->n;
  memcpy(b->limb, from->limb, from->n * sizeof *from->limb);
}

uint32_t llmd__bignum_bits(const llmd__bignum *b)
{
  uint32_t bits = b->n * 32;
  if (b->n == 0)
    return 0;
  for (uint32_t top = b->limb[b->n - 1]; !(top & 0x80000000u); top <<= 1)
    bits--;
  return bits;
}

void llmd__bignum_muladd(llmd__bignum *b, uint32_t factor, uint32_t addend)
{
  uint64_t carry = addend;
  for (uint32_t i = 0; i < b->n; i++) {
    carry += (uint64_t)b->limb[i] * factor;
    b->limb[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry)
    push(b, (uint32_t)carry);
}

void llmd__bignum_mul_pow5(llmd__bignum *b, uint32_t exponent)
{
  static const uint32_t small[13] = {1,     5,      25,      125,     625,      3125,     15625,
                                     78125, 390625, 1953125, 9765625, 48828125, 244140625};
  const uint32_t pow5_13 = 1220703125;
  for (; exponent >= 13; exponent -= 13)
    llmd__bignum_muladd(b, pow5_13, 0);
  if (exponent)
    llmd__bignum_muladd(b, small[exponent], 0);
}

void llmd__bignum_mul_pow10(llmd__bignum *b, uint32_t exponent)
{
  llmd__bignum_mul_pow5(b, exponent);
  llmd__bignum_shl(b, exponent);
}

void llmd__bignum_shl(llmd__bignum *b, uint32_t bits)
{
  const uint32_t whole = bits / 32, part = bits % 32;
  if (b->n == 0 || bits == 0)
    return;
  if (part) {
    const uint32_t over = b->limb[b->n - 1] >> (32 - part);
    for (uint32_t i = b->n; --i;)
      b->limb[i] = b->limb[i] << part | b->limb[i - 1] >> (32 - part);
    b->limb[0] <<= part;
    if (over)
      push(b, over);
  }
  if (whole) {
    assert(b->n + whole <= LLMD__BIGNUM_LIMBS);
    memmove(b->limb + whole, b->limb, b->n * sizeof *b->limb);
    memset(b->limb, 0, whole * sizeof *b->limb);
    b->n += whole;
  }
}

void llmd__bignum_add(llmd__bignum *b, const llmd__bignum *other)
{
  uint64_t carry = 0;
  while (b->n < other->n)
    push(b, 0);
  for (uint32_t i = 0; i < b->n; i++) {
    carry += (uint64_t)b->limb[i] + (i < other->n ? other->limb[i] : 0);
    b->limb[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry)
    push(b, (uint32_t)carry);
}

void llmd__bignum_sub(llmd__bignum *b, const llmd__bignum *other)
{
  uint64_t borrow = 0;
  for (uint32_t i = 0; i < b->n; i++) {
    const uint64_t d = (uint64_t)b->limb[i] - (i < other->n ? other->limb[i] : 0) - borrow;
    b->limb[i] = (uint32_t)d;
    borrow = d >> 63;
  }
  assert(borrow == 0);
  trim(b);
}

int llmd__bignum_cmp(const llmd__bignum *a, const llmd__bignum *b)
{
  if (a->n != b->n)
    return a->n < b->n ? -1 : 1;
  for (uint32_t i = a->n; i-- > 0;)
    if (a->limb[i] != b->limb[i])
      return a->limb[i] < b->limb[i] ? -1 : 1;
  return 0;
}
