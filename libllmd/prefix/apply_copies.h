/* How many copies of a block an engine says it has, for engines that report each copy (LLMD_SOURCE_COUNTED): the block
 * goes with its last copy. One table for all sources, of a fixed size. When it is full a block counts as one copy: it
 * may be forgotten too early, never kept too long. */
#ifndef LLMD_PREFIX_APPLY_COPIES_H
#define LLMD_PREFIX_APPLY_COPIES_H

#include <llmd/alloc.h>
#include <llmd/error.h>

typedef struct llmd__copy {
  uint64_t name;
  uint32_t who;   /* whoever says so; LLMD__COPIES_NOBODY = free */
  uint16_t count;
  uint8_t tier, group;
} llmd__copy;

#define LLMD__COPIES_NOBODY UINT32_MAX

typedef struct llmd__block_copies {
  llmd_allocator alloc;
  llmd__copy *slot;
  uint32_t slots, used; /* slots: a power of two, 0 = not opened */
} llmd__block_copies;

int llmd__block_copies_open(llmd__block_copies *c, const llmd_allocator *alloc, uint64_t bytes);
void llmd__block_copies_close(llmd__block_copies *c);
void llmd__block_copies_add(llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name);
/* One copy less. 1: it was the last, or none was known. */
int llmd__block_copies_take(llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name);
/* All that he said. */
void llmd__block_copies_forget(llmd__block_copies *c, uint32_t who);

#endif
