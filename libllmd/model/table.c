#include "model/table.h"

#include <stdatomic.h>
#include <string.h>

#define WAYS 8u

typedef struct entry {
  _Atomic uint64_t lo, hi, value, expires; /* expires: mono ns, 0 = never */
  _Atomic uint64_t stamp;                  /* odd while it changes; 0 = empty; grows with each write */
} entry;

struct llmd__table {
  uint64_t buckets;
  _Atomic uint64_t clock;
  uint64_t pad[6];
};

static entry *bucket(const llmd__table *t, uint64_t lo)
{
  return (entry *)(uintptr_t)(t + 1) + lo % t->buckets * WAYS;
}

size_t llmd__table_bytes(uint32_t entries)
{
  size_t buckets = ((size_t)entries + WAYS - 1) / WAYS;
  return sizeof(llmd__table) + (buckets + buckets / 4 + 1) * WAYS * sizeof(entry);
}

int llmd__table_init(void *mem, size_t bytes, void *ud)
{
  llmd__table *t = mem;
  (void)ud;
  memset(mem, 0, bytes);
  t->buckets = (bytes - sizeof *t) / (WAYS * sizeof(entry));
  atomic_store(&t->clock, 2);
  return 0;
}

int llmd__table_sound(const void *mem, size_t bytes)
{
  const llmd__table *t = mem;
  return bytes > sizeof *t + WAYS * sizeof(entry) && t->buckets == (bytes - sizeof *t) / (WAYS * sizeof(entry));
}

static uint64_t load(const _Atomic uint64_t *p)
{
  return atomic_load_explicit(p, memory_order_acquire); /* a new value implies the stamp that goes with it */
}

static int is_key(const entry *e, uint64_t lo, uint64_t hi)
{
  return load(&e->lo) == lo && load(&e->hi) == hi;
}

int llmd__table_get(const llmd__table *t, uint64_t lo, uint64_t hi, uint64_t now, uint64_t *value)
{
  const entry *e = bucket(t, lo);
  for (uint32_t i = 0; i < WAYS; i++, e++) {
    uint64_t stamp = atomic_load_explicit(&e->stamp, memory_order_acquire), v, expires;
    if (!stamp || (stamp & 1) || !is_key(e, lo, hi))
      continue;
    v = load(&e->value);
    expires = load(&e->expires);
    if (atomic_load_explicit(&e->stamp, memory_order_acquire) != stamp || (expires && expires <= now))
      return 0;
    *value = v;
    return 1;
  }
  return 0;
}

/* The entry to write: the key's own, a free or expired one, else the oldest. */
static entry *victim(llmd__table *t, uint64_t lo, uint64_t hi, uint64_t now)
{
  entry *e = bucket(t, lo), *best = e;
  uint64_t best_age = UINT64_MAX;
  for (uint32_t i = 0; i < WAYS; i++, e++) {
    uint64_t stamp = load(&e->stamp), expires = load(&e->expires), age = stamp;
    if (stamp && is_key(e, lo, hi))
      return e;
    if (!stamp || (stamp & 1) || (expires && expires <= now))
      age = 0;
    if (age < best_age) {
      best = e;
      best_age = age;
    }
  }
  return best;
}

void llmd__table_put(llmd__table *t, uint64_t lo, uint64_t hi, uint64_t value, uint64_t now, uint64_t ttl)
{
  entry *e = victim(t, lo, hi, now);
  uint64_t stamp = load(&t->clock) + 2;
  atomic_store_explicit(&t->clock, stamp, memory_order_relaxed);
  atomic_exchange_explicit(&e->stamp, stamp | 1, memory_order_acq_rel);
  atomic_store_explicit(&e->lo, lo, memory_order_release);
  atomic_store_explicit(&e->hi, hi, memory_order_release);
  atomic_store_explicit(&e->value, value, memory_order_release);
  atomic_store_explicit(&e->expires, !ttl ? 0 : ttl < UINT64_MAX - now ? now + ttl : UINT64_MAX, memory_order_release);
  atomic_store_explicit(&e->stamp, stamp, memory_order_release);
}

void llmd__table_del(llmd__table *t, uint64_t lo, uint64_t hi)
{
  entry *e = bucket(t, lo);
  for (uint32_t i = 0; i < WAYS; i++, e++)
    if (load(&e->stamp) && is_key(e, lo, hi))
      atomic_store_explicit(&e->stamp, 0, memory_order_release);
}
