/* SHA-256 (FIPS 180-4), fed in pieces. For other programs' block names only; nothing here depends on its secrecy. */
#ifndef LLMD_BASE_SHA256_H
#define LLMD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define LLMD__SHA256_BYTES 32u

typedef struct llmd__sha256 {
  uint32_t h[8];
  uint64_t len; /* bytes fed so far */
  uint8_t tail[64];
} llmd__sha256;

void llmd__sha256_begin(llmd__sha256 *s);
void llmd__sha256_add(llmd__sha256 *s, const void *ptr, size_t len);
void llmd__sha256_end(llmd__sha256 *s, uint8_t out[LLMD__SHA256_BYTES]);

#endif
