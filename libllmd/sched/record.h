/* The bytes of a record (docs/records.md tells strangers the same). Little-endian, nothing aligned, one pass.
 *
 *   magic[8] version flags bytes checksum │ what was decided on                                         │ what came out
 *   └──────────── 32 bytes ─────────────┘   identity, facts, view, rows, candidates, sources, columns     result
 *
 * checksum = FNV-1a, 64 bits, of everything after itself. A string is its length and its bytes; length 0xffffffff is
 * no string. */
#ifndef LLMD_SCHED_RECORD_H
#define LLMD_SCHED_RECORD_H

#include "sched/decision.h"

#define LLMD__RECORD_MAGIC "LLMDREC1"
#define LLMD__RECORD_VERSION 1u
#define LLMD__RECORD_HEAD 32u

#define LLMD__FNV_BASIS 0xcbf29ce484222325u

static inline uint64_t llmd__fnv(uint64_t h, const void *ptr, size_t len)
{
  const unsigned char *p = ptr;
  for (size_t i = 0; i < len; i++)
    h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

/* Bytes of a cell of a source of this kind; 0 = it has none (a header). */
static inline uint32_t llmd__record_cell(uint32_t kind)
{
  switch (kind) {
  case LLMD_READ_HEADER:
  case LLMD_READ_HEADER_IDS:
    return 0;
  case LLMD_READ_ID:
  case LLMD_READ_LABEL:
  case LLMD_READ_NAME:
  case LLMD_READ_ADDRESS:
    return 4;
  default:
    return 8;
  }
}

#endif
