#include "documents.h"

#include <stdlib.h>
#include <string.h>

uint32_t roll(uint64_t *seed, uint32_t n)
{
  return (uint32_t)((llmd_random(seed) >> 32) % n);
}

uint64_t document_private_name(uint64_t name, uint64_t slot)
{
  uint64_t state = name ^ (slot + 1) * 0x9e3779b97f4a7c15u;
  return llmd_random(&state);
}

/* Offsets that are a multiple of a window or next to one come more often than chance would have them. */
static uint32_t branch_at(uint64_t *seed, uint32_t n)
{
  uint32_t at = roll(seed, n + 1);
  uint32_t edge = at / 32 * 32 + roll(seed, 3);
  return roll(seed, 4) == 0 && edge <= n ? edge : at;
}

static void grow(document *d, uint32_t n, uint64_t *seed)
{
  for (uint32_t i = d->n; i < n; i++) {
    d->key[i].lo = llmd_random(seed);
    d->key[i].hi = llmd_random(seed);
    d->name[i] = llmd_random(seed);
  }
  d->n = n;
}

document *documents_make(uint32_t n, uint32_t max, uint32_t roots, uint64_t seed)
{
  document *all = calloc(n, sizeof *all);
  for (uint32_t i = 0; all && i < n; i++) {
    uint32_t blocks = 1 + roll(&seed, roll(&seed, 3) ? max : (max + 7) / 8);
    if (i && roll(&seed, roots)) {
      const document *from = &all[roll(&seed, i)];
      all[i].depth = branch_at(&seed, from->n < blocks ? from->n : blocks);
      memcpy(all[i].key, from->key, all[i].depth * sizeof *from->key);
      memcpy(all[i].name, from->name, all[i].depth * sizeof *from->name);
      all[i].n = all[i].depth;
    }
    grow(&all[i], blocks, &seed);
  }
  return all;
}
