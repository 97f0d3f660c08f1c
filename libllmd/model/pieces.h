/* The body as the host handed it over: runs of bytes, in order, that stay where they are until reset.
 * Everything else names a place in the body by its offset and comes here for the bytes. */
#ifndef LLMD_MODEL_PIECES_H
#define LLMD_MODEL_PIECES_H

#include <stddef.h>
#include <stdint.h>

typedef struct llmd__piece {
  uint64_t offset; /* of its first byte in the body */
  uint64_t len;
  const char *ptr;
} llmd__piece;

typedef struct llmd__pieces {
  llmd__piece *at;
  uint32_t n, max;
  uint64_t total; /* bytes in all */
} llmd__pieces;

/* Appends; bytes that adjoin the last piece in memory make it longer. LLMD_E_LIMIT when all `max` are used. */
int llmd__pieces_add(llmd__pieces *ps, const char *ptr, size_t len);

/* Bytes that lie in one run from offset on (offset < total); *avail >= 1 says how many. */
const char *llmd__pieces_run(const llmd__pieces *ps, uint64_t offset, size_t *avail);

/* [offset, offset + len) as one run: a pointer into the piece that holds it all, or a copy in buf. LLMD_E_RANGE past
 * the end, LLMD_E_LIMIT when a copy is needed and larger than cap. */
int llmd__pieces_bytes(const llmd__pieces *ps, uint64_t offset, uint64_t len, char *buf, size_t cap, const char **out);

#endif
