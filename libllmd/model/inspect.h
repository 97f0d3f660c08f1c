/* Looks a region over and trusts nothing in it. Offsets and counts are copied before they are checked and used, so that
 * damage, or somebody at work, misleads nobody beyond the region's end or into an endless loop. */
#ifndef LLMD_MODEL_INSPECT_H
#define LLMD_MODEL_INSPECT_H

#include "base/region.h"

typedef struct llmd__inspector {
  const llmd__region *g;
  const llmd_allocator *alloc;
  llmd_fault_fn fn;
  void *ud;
  uint64_t *taken; /* bit per unit of the strings: belongs to an entry */
  uint64_t *entry; /* bit per unit: an entry begins there */
  uint64_t *named; /* bit per unit: a row has this name already */
  uint64_t units;
  int faults, enough, short_of_memory;
} llmd__inspector;

void llmd__fault(llmd__inspector *in, const void *where, const char *part, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

void llmd__inspect_attributes(llmd__inspector *in);
/* Fills the maps, which rows are held against. */
void llmd__inspect_strings(llmd__inspector *in);
void llmd__inspect_endpoints(llmd__inspector *in);
void llmd__inspect_tickets(llmd__inspector *in);

#endif
