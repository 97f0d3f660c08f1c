/* A small table of plugin state: 128-bit key -> 64-bit value with an optional time to live, over region memory. Buckets
 * of eight; in a full bucket the entry written longest ago goes. One writer; readers take no lock, and a reader that
 * meets an entry being changed simply does not find it. */
#ifndef LLMD_MODEL_TABLE_H
#define LLMD_MODEL_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct llmd__table llmd__table;

size_t llmd__table_bytes(uint32_t entries);
/* Clears mem. The shape of llmd__region_state's init. */
int llmd__table_init(void *mem, size_t bytes, void *ud);
/* Could these bytes be a table? (For those who trust nothing.) */
int llmd__table_sound(const void *mem, size_t bytes);
int llmd__table_get(const llmd__table *t, uint64_t lo, uint64_t hi, uint64_t now, uint64_t *value);
void llmd__table_put(llmd__table *t, uint64_t lo, uint64_t hi, uint64_t value, uint64_t now, uint64_t ttl);
void llmd__table_del(llmd__table *t, uint64_t lo, uint64_t hi);

#endif
