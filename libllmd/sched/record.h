/* The bytes of a record (docs/records.md tells strangers the same). Little-endian, nothing aligned, one pass.
 *
 *   magic[8] version flags bytes checksum │ what was decided on                                         │ what came out
 *   └──────────── 32 bytes ─────────────┘   identity, facts, view, rows, candidates, sources, columns,    result
 *                                           texts, failed calls, answers of tables
 *
 * checksum = FNV-1a, 64 bits, of everything after itself. A string is its length and its bytes; length 0xffffffff is
 * no string. */
#ifndef LLMD_SCHED_RECORD_H
#define LLMD_SCHED_RECORD_H

#include "sched/decision.h"

#define LLMD__RECORD_MAGIC "LLMDREC1"
#define LLMD__RECORD_VERSION 2u
#define LLMD__RECORD_HEAD 32u

#define LLMD__FNV_BASIS 0xcbf29ce484222325u

static inline uint64_t llmd__fnv(uint64_t h, const void *ptr, size_t len)
{
  const unsigned char *p = ptr;
  for (size_t i = 0; i < len; i++)
    h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

#define LLMD__SOURCE_FILLED 1u /* some plugin read it */
#define LLMD__SOURCE_TEXT 2u   /* the texts of its ids are in the record */

/* What a source is, for whoever has another configuration. The texts live as long as the scheduler, but for producer,
 * which may stand in buf. */
typedef struct llmd__source_name {
  llmd_str name, producer;
  char buf[160];
} llmd__source_name;
void llmd__source_name_of(const llmd_scheduler *s, uint32_t source, llmd__source_name *out);

#endif
