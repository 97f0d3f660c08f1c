#include "model/strings.h"

#include <string.h>

typedef struct entry {
  uint32_t len, hash;
} entry;

#define UNIT 8u
#define MAX_LEN 4096u

static uint32_t hash_of(const llmd__region *g, const char *p, size_t n)
{
  uint64_t h; /* FNV-1a started from the secret, so that strangers cannot aim at one slot */
  memcpy(&h, g->secret, 8);
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
  return (uint32_t)(h ^ (h >> 32));
}

static _Atomic uint32_t *table(const llmd__region *g)
{
  return (_Atomic uint32_t *)llmd__at(g, g->table_off);
}

static const entry *entry_at(const llmd__region *g, uint32_t id)
{
  return (const entry *)llmd__at(g, g->string_off + (uint64_t)(id - 1) * UNIT);
}

/* The slot that holds the string, or the free slot where it belongs; NULL when the table is full. */
static _Atomic uint32_t *probe(const llmd__region *g, const char *ptr, size_t len, uint32_t hash, uint32_t *id)
{
  uint32_t mask = g->caps.string_slots - 1;
  for (uint32_t i = 0; i <= mask; i++) {
    _Atomic uint32_t *slot = &table(g)[(hash + i) & mask];
    const entry *e;
    *id = atomic_load_explicit(slot, memory_order_acquire);
    if (!*id)
      return slot;
    e = entry_at(g, *id);
    if (e->hash == hash && e->len == len && !memcmp(e + 1, ptr, len))
      return slot;
  }
  return NULL;
}

uint32_t llmd__string_find(const llmd__region *g, const char *ptr, size_t len)
{
  uint32_t id = 0;
  if (!len || len > MAX_LEN)
    return 0;
  return probe(g, ptr, len, hash_of(g, ptr, len), &id) ? id : 0;
}

uint32_t llmd__string_add(llmd__region *g, const char *ptr, size_t len)
{
  uint32_t id = 0, hash, count;
  uint64_t used, need = (sizeof(entry) + len + 1 + UNIT - 1) / UNIT * UNIT;
  _Atomic uint32_t *slot;
  entry *e;
  if (!len || len > MAX_LEN)
    return 0;
  hash = hash_of(g, ptr, len);
  slot = probe(g, ptr, len, hash, &id);
  if (slot && id)
    return id;
  used = atomic_load_explicit(&g->string_used, memory_order_relaxed);
  count = atomic_load_explicit(&g->string_count, memory_order_relaxed);
  /* a quarter of the table stays free, so that look-ups of unknown strings end soon */
  if (!slot || used + need > g->caps.string_bytes || count >= g->caps.string_slots / 4 * 3) {
    atomic_fetch_add_explicit(&g->strings_refused, 1, memory_order_relaxed);
    return 0;
  }
  id = (uint32_t)(used / UNIT) + 1;
  e = (entry *)llmd__at(g, g->string_off + used);
  e->len = (uint32_t)len;
  e->hash = hash;
  memcpy(e + 1, ptr, len);
  ((char *)(e + 1))[len] = 0;
  atomic_store_explicit(&g->string_used, used + need, memory_order_relaxed);
  atomic_store_explicit(&g->string_count, count + 1, memory_order_relaxed);
  atomic_store_explicit(slot, id, memory_order_release);
  return id;
}

llmd_str llmd__string_text(const llmd__region *g, uint32_t id)
{
  llmd_str s = {"", 0};
  const entry *e;
  if (!id || (uint64_t)id * UNIT > g->caps.string_bytes)
    return s;
  e = entry_at(g, id);
  s.ptr = (const char *)(e + 1);
  s.len = e->len;
  return s;
}
