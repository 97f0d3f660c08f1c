#include "prefix/apply_copies.h"

#include <string.h>

#include "base/alloc.h"

int llmd__block_copies_open(llmd__block_copies *c, const llmd_allocator *alloc, uint64_t bytes)
{
  uint32_t n = 64;
  while (n < (1u << 30) && 2 * n * sizeof *c->slot <= bytes)
    n *= 2;
  c->alloc = *alloc;
  c->used = 0;
  c->slot = llmd__calloc(alloc, n, sizeof *c->slot);
  if (!c->slot)
    return LLMD_E_NOMEM;
  c->slots = n;
  for (uint32_t i = 0; i < n; i++)
    c->slot[i].who = LLMD__COPIES_NOBODY;
  return 0;
}

void llmd__block_copies_close(llmd__block_copies *c)
{
  if (c->slots)
    llmd__free(&c->alloc, c->slot, sizeof *c->slot * c->slots);
  memset(c, 0, sizeof *c);
}

static uint32_t home(const llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name)
{
  uint64_t h = name + ((uint64_t)who << 24 ^ (uint64_t)tier << 16 ^ group) * UINT64_C(0x9e3779b97f4a7c15);
  h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t)(h ^ h >> 31) & (c->slots - 1);
}

/* Its place, or the free one where it would be. */
static uint32_t place(const llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name)
{
  uint32_t i = home(c, who, tier, group, name);
  for (; c->slot[i].who != LLMD__COPIES_NOBODY; i = (i + 1) & (c->slots - 1)) {
    const llmd__copy *s = &c->slot[i];
    if (s->name == name && s->who == who && s->tier == tier && s->group == group)
      break;
  }
  return i;
}

void llmd__block_copies_add(llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name)
{
  llmd__copy *s = &c->slot[place(c, who, tier, group, name)];
  if (s->who == LLMD__COPIES_NOBODY) {
    if (c->used >= c->slots / 4 * 3)
      return;
    c->used++;
    s->name = name;
    s->who = who;
    s->tier = (uint8_t)tier;
    s->group = (uint8_t)group;
    s->count = 0;
  }
  if (s->count < UINT16_MAX)
    s->count++;
}

/* Those behind it move up, so that no search ends too early. */
static void remove_at(llmd__block_copies *c, uint32_t i)
{
  const uint32_t mask = c->slots - 1;
  uint32_t hole = i;
  for (uint32_t j = (i + 1) & mask; c->slot[j].who != LLMD__COPIES_NOBODY; j = (j + 1) & mask) {
    const llmd__copy *s = &c->slot[j];
    if (((j - home(c, s->who, s->tier, s->group, s->name)) & mask) >= ((j - hole) & mask)) {
      c->slot[hole] = *s;
      hole = j;
    }
  }
  c->slot[hole].who = LLMD__COPIES_NOBODY;
  c->used--;
}

int llmd__block_copies_take(llmd__block_copies *c, uint32_t who, uint32_t tier, uint32_t group, uint64_t name)
{
  const uint32_t i = place(c, who, tier, group, name);
  if (c->slot[i].who == LLMD__COPIES_NOBODY)
    return 1;
  if (--c->slot[i].count)
    return 0;
  remove_at(c, i);
  return 1;
}

/* From a free place on, all round: what moves up then comes from what is still to be seen. */
void llmd__block_copies_forget(llmd__block_copies *c, uint32_t who)
{
  const uint32_t mask = c->slots - 1;
  uint32_t from = 0;
  if (c->slots == 0 || c->used == 0)
    return;
  while (c->slot[from].who != LLMD__COPIES_NOBODY)
    from++;
  for (uint32_t k = 1; k < c->slots; k++) {
    const uint32_t i = (from + k) & mask;
    while (c->slot[i].who == who)
      remove_at(c, i);
  }
}
