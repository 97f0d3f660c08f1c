#include "model/strings.h"

#include <string.h>

#define UNIT LLMD__STRING_UNIT
#define TRIES 64u /* walks that a reader begins anew when the writer takes entries from under it */

uint32_t llmd__string_hash_of(const llmd__region *g, const char *ptr, size_t len)
{
  uint64_t h; /* FNV-1a started from the secret, so that strangers cannot aim at one chain */
  memcpy(&h, g->secret, 8);
  for (size_t i = 0; i < len; i++)
    h = (h ^ (unsigned char)ptr[i]) * 0x100000001b3u;
  return (uint32_t)(h ^ (h >> 32));
}

/* Eight bytes of the text, zeros after its end. */
static uint64_t word_of(const char *ptr, size_t len, size_t at)
{
  uint64_t w = 0;
  memcpy(&w, ptr + at, len - at < sizeof w ? len - at : sizeof w);
  return w;
}

/* Word by word: the writer may be giving these bytes to another string. */
static int same_text(const _Atomic uint64_t *e, const char *ptr, size_t len)
{
  for (size_t at = 0; at < len; at += sizeof(uint64_t))
    if (atomic_load_explicit(++e, memory_order_relaxed) != word_of(ptr, len, at))
      return 0;
  return 1;
}

/* One walk of a chain. 1: *id is it; 0: it is not there; -1: the writer took an entry from under it. An entry that went
 * to another chain meanwhile shows by its hash; one that came back to this chain is its first, so nothing is missed. */
static int walk(const llmd__region *g, uint32_t hash, const char *ptr, size_t len, uint32_t *id)
{
  uint32_t mask = g->caps.string_slots - 1, same = mask & 0x7ffffu;
  uint32_t at = atomic_load_explicit(&llmd__string_table(g)[hash & mask], memory_order_acquire);
  for (uint32_t steps = 0; at; steps++) {
    uint64_t word;
    if (!llmd__string_fits(g, at, 0) || steps > mask)
      return -1;
    word = atomic_load_explicit(llmd__string_at(g, at), memory_order_acquire);
    if (!llmd__string_len(word) || ((llmd__string_hash(word) ^ hash) & same))
      return -1;
    if (llmd__string_len(word) == len && llmd__string_hash(word) == (hash & 0x7ffffu) &&
        llmd__string_fits(g, at, (uint32_t)len) && same_text(llmd__string_at(g, at), ptr, len)) {
      *id = at;
      return 1;
    }
    at = llmd__string_next(word);
  }
  return 0;
}

static uint32_t find(const llmd__region *g, uint32_t hash, const char *ptr, size_t len)
{
  uint32_t id = 0;
  int found = -1;
  for (uint32_t i = 0; i < TRIES && found < 0; i++)
    found = walk(g, hash, ptr, len, &id);
  return found > 0 ? id : 0;
}

uint32_t llmd__string_find(const llmd__region *g, const char *ptr, size_t len)
{
  if (!len || len > LLMD__STRING_MOST)
    return 0;
  return find(g, llmd__string_hash_of(g, ptr, len), ptr, len);
}

llmd_str llmd__string_text(const llmd__region *g, uint32_t id)
{
  llmd_str s = {"", 0};
  uint32_t len;
  if (!llmd__string_fits(g, id, 0))
    return s;
  len = llmd__string_len(atomic_load_explicit(llmd__string_at(g, id), memory_order_acquire));
  if (!len || !llmd__string_fits(g, id, len))
    return s;
  s.ptr = (const char *)(const void *)(llmd__string_at(g, id) + 1);
  s.len = len;
  return s;
}

/* ---- the writer's books ----------------------------------------------------------------------------------------- */

static void take_units(llmd__books *b, uint32_t id, uint64_t units)
{
  for (uint64_t i = 0; i < units; i++)
    llmd__bit_set(b->taken, id - 1 + i);
}

/* The first free units of [from, to), n in a row; UINT64_MAX = there are none. */
static uint64_t find_units(const llmd__books *b, uint64_t from, uint64_t to, uint64_t n)
{
  uint64_t at = from, have = 0;
  while (at < to) {
    if (!(at % 64) && b->taken[at / 64] == UINT64_MAX) {
      at += 64;
      have = 0;
      continue;
    }
    have = llmd__bit(b->taken, at++) ? 0 : have + 1;
    if (have == n)
      return at - n;
  }
  return UINT64_MAX;
}

static uint32_t take_room(llmd__books *b, uint64_t n)
{
  uint64_t at = find_units(b, b->cursor, b->units, n);
  if (at == UINT64_MAX)
    at = find_units(b, 0, b->cursor + n < b->units ? b->cursor + n : b->units, n);
  if (at == UINT64_MAX)
    return 0;
  b->cursor = at + n;
  take_units(b, (uint32_t)at + 1, n);
  return (uint32_t)at + 1;
}

static void write_text(_Atomic uint64_t *e, const char *ptr, size_t len)
{
  for (size_t at = 0; at <= len; at += sizeof(uint64_t)) /* <=: a NUL follows */
    atomic_store_explicit(++e, at < len ? word_of(ptr, len, at) : 0, memory_order_relaxed);
}

/* Counters first: a writer that dies leaves too much in them, which its successor counts again. */
static uint32_t enter(llmd_pool *p, uint32_t hash, const char *ptr, size_t len)
{
  llmd__region *g = p->g;
  llmd__books *b = p->books;
  uint64_t need = llmd__string_need((uint32_t)len);
  _Atomic uint32_t *head = &llmd__string_table(g)[hash & (g->caps.string_slots - 1)];
  uint32_t id = take_room(b, need / UNIT);
  if (!id) {
    atomic_fetch_add_explicit(&g->strings_refused, 1, memory_order_relaxed);
    return 0;
  }
  atomic_fetch_add_explicit(&g->string_used, need, memory_order_relaxed);
  atomic_fetch_add_explicit(&g->string_count, 1, memory_order_relaxed);
  write_text(llmd__string_at(g, id), ptr, len);
  atomic_store_explicit(llmd__string_at(g, id),
                        llmd__string_word(atomic_load_explicit(head, memory_order_relaxed), hash, (uint32_t)len),
                        memory_order_release);
  atomic_store_explicit(head, id, memory_order_release);
  b->added++;
  return id;
}

uint32_t llmd__string_add(llmd_pool *p, const char *ptr, size_t len)
{
  uint32_t hash, id;
  if (!len || len > LLMD__STRING_MOST)
    return 0;
  hash = llmd__string_hash_of(p->g, ptr, len);
  id = find(p->g, hash, ptr, len);
  if (!id)
    id = enter(p, hash, ptr, len);
  if (id)
    llmd__bit_set(p->books->named, id - 1);
  return id;
}

void llmd__string_drop(llmd_pool *p, uint32_t bucket, uint32_t before, uint32_t id)
{
  llmd__region *g = p->g;
  _Atomic uint64_t *e = llmd__string_at(g, id);
  uint64_t word = atomic_load_explicit(e, memory_order_relaxed);
  uint64_t need = llmd__string_need(llmd__string_len(word));
  uint32_t next = llmd__string_next(word);
  if (before) {
    uint64_t w = atomic_load_explicit(llmd__string_at(g, before), memory_order_relaxed);
    atomic_store_explicit(llmd__string_at(g, before), (w & ~(uint64_t)UINT32_MAX) | next, memory_order_release);
  } else {
    atomic_store_explicit(&llmd__string_table(g)[bucket], next, memory_order_release);
  }
  atomic_store_explicit(e, 0, memory_order_release);
  for (uint64_t i = 0; i < need / UNIT; i++)
    llmd__bit_clear(p->books->taken, id - 1 + i);
  atomic_fetch_sub_explicit(&g->string_used, need, memory_order_relaxed);
  atomic_fetch_sub_explicit(&g->string_count, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&g->strings_freed, 1, memory_order_relaxed);
}

/* ---- a new writer ----------------------------------------------------------------------------------------------- */

/* Can the entry be, and are its units nobody's yet? */
static int sound(const llmd__region *g, const llmd__books *b, uint32_t id)
{
  uint64_t word;
  uint32_t len;
  if (!llmd__string_fits(g, id, 0))
    return 0;
  word = atomic_load_explicit(llmd__string_at(g, id), memory_order_relaxed);
  len = llmd__string_len(word);
  if (!len || !llmd__string_fits(g, id, len))
    return 0;
  for (uint64_t i = 0; i < llmd__string_need(len) / UNIT; i++)
    if (llmd__bit(b->taken, id - 1 + i))
      return 0;
  return 1;
}

/* Counts one chain. A chain that leads astray (damage: no death does that) ends before it does. */
static int count_chain(llmd_pool *p, uint32_t bucket, uint64_t *used, uint32_t *count)
{
  llmd__region *g = p->g;
  _Atomic uint32_t *head = &llmd__string_table(g)[bucket];
  uint32_t id = atomic_load_explicit(head, memory_order_relaxed), before = 0;
  while (id && sound(g, p->books, id)) {
    uint64_t word = atomic_load_explicit(llmd__string_at(g, id), memory_order_relaxed);
    uint64_t need = llmd__string_need(llmd__string_len(word));
    take_units(p->books, id, need / UNIT);
    *used += need;
    ++*count;
    before = id;
    id = llmd__string_next(word);
  }
  if (id && before) {
    uint64_t w = atomic_load_explicit(llmd__string_at(g, before), memory_order_relaxed);
    atomic_store_explicit(llmd__string_at(g, before), w & ~(uint64_t)UINT32_MAX, memory_order_release);
  } else if (id) {
    atomic_store_explicit(head, 0, memory_order_release);
  }
  return id != 0;
}

static void count_all(llmd_pool *p)
{
  llmd__region *g = p->g;
  uint64_t used = 0;
  uint32_t count = 0, astray = 0;
  if (!atomic_load(&g->string_count)) /* counted before it is entered: there is none */
    return;
  for (uint32_t i = 0; i < g->caps.string_slots; i++)
    astray += (uint32_t)count_chain(p, i, &used, &count);
  atomic_store(&g->string_used, used);
  atomic_store(&g->string_count, count);
  p->books->added = count;
  if (astray)
    llmd__pool_log(p, LLMD_LOG_ERROR, "pool", "damaged strings: %u chains of names were cut", astray);
}

int llmd__strings_open(llmd_pool *p)
{
  llmd__books *b = llmd__calloc(&p->alloc, 1, sizeof *b);
  if (!b)
    return LLMD_E_NOMEM;
  p->books = b;
  b->units = p->g->caps.string_bytes / UNIT;
  b->words = (b->units + 63) / 64;
  b->taken = llmd__calloc(&p->alloc, (size_t)b->words * 3, sizeof *b->taken);
  if (!b->taken)
    return LLMD_E_NOMEM;
  b->named = b->taken + b->words;
  b->doubted = b->named + b->words;
  count_all(p);
  return 0;
}

void llmd__strings_close(llmd_pool *p)
{
  llmd__books *b = p->books;
  if (!b)
    return;
  if (b->taken)
    llmd__free(&p->alloc, b->taken, (size_t)b->words * 3 * sizeof *b->taken);
  llmd__free(&p->alloc, b, sizeof *b);
  p->books = NULL;
}
