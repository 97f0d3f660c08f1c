/* Natural numbers of fixed room, on the stack: what exact conversion between decimal and binary needs, and no more.
 *
 * limb[0] is the least significant 32 bits; limb[n - 1] is never 0, so zero has n == 0. The largest number anybody
 * makes here is the divisor of a decimal fraction of 770 digits near the smallest double: 5^1100, 2,555 bits; its
 * neighbours in the same computation stay below 2,700. Going past the room is a bug (assert). */
#ifndef LLMD_BASE_BIGNUM_H
#define LLMD_BASE_BIGNUM_H

#include <stdint.h>

#define LLMD__BIGNUM_LIMBS 96

typedef struct llmd__bignum {
  uint32_t n;
  uint32_t limb[LLMD__BIGNUM_LIMBS];
} llmd__bignum;

void llmd__bignum_set(llmd__bignum *b, uint64_t v);
void llmd__bignum_copy(llmd__bignum *b, const llmd__bignum *from);
uint32_t llmd__bignum_bits(const llmd__bignum *b); /* length in bits; 0 for zero */

void llmd__bignum_muladd(llmd__bignum *b, uint32_t factor, uint32_t addend); /* b = b * factor + addend */
void llmd__bignum_mul_pow5(llmd__bignum *b, uint32_t exponent);
void llmd__bignum_mul_pow10(llmd__bignum *b, uint32_t exponent);
void llmd__bignum_shl(llmd__bignum *b, uint32_t bits);
void llmd__bignum_add(llmd__bignum *b, const llmd__bignum *other);
void llmd__bignum_sub(llmd__bignum *b, const llmd__bignum *other); /* other <= b */

int llmd__bignum_cmp(const llmd__bignum *a, const llmd__bignum *b); /* < 0, 0, > 0 */

#endif
