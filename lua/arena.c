/* The memory of a Lua state: one block from the host, cut up by ourselves. A state that runs wild can neither take more
 * nor reach the host's allocator, and what a decision allocates costs no system call.
 *
 *   ┌─────────┬──────────────────────────────────────────────────────────────────────┬─────┐
 *   │ control │ tag payload │ tag next prev ····· size │ tag payload │ ...           │ end │
 *   └─────────┴──────────────────────────────────────────────────────────────────────┴─────┘
 *               in use        free
 *
 * Two-level segregated fit (Masmano, Ripoll, Crespo, Real 2004): free blocks hang in lists by size, 16 per power of
 * two; two bit maps find a list in a few instructions, however many blocks there are. A tag is the block's size with
 * two bits: it is free, the one before it is free (then that one's size stands right before this tag). Neighbours that
 * are free are joined at once. Payloads are aligned to 16; a block costs 8 bytes. */
#include "state.h"

#include <string.h>

#define ALIGN 16u
#define TAG sizeof(uint64_t)
#define LEAST 32u /* bytes of a block: tag, two links, its size at the end */
#define FREE 1u
#define FREE_BEFORE 2u
#define FLAGS 3u
#define SPLIT 16u  /* lists per level */
#define SMALL 256u /* below it a list per 16 bytes: level 0 */
#define LEVELS 24u /* up to 2^30 */
#define MOST ((size_t)1 << 30)
#define NEAR 8 /* blocks looked at when only those of the very list could do */

typedef struct block {
  uint64_t tag;
  uint32_t next, prev; /* when free: offsets in units of 8, 0 = none */
} block;

struct llmd__lua_arena {
  size_t bytes; /* of the whole, as the host gave it */
  size_t used, peak;
  uint32_t levels;          /* bit per level that has blocks */
  uint16_t lists[LEVELS];   /* bit per list that has */
  uint32_t head[LEVELS][SPLIT];
};

/* The first tag stands so that payloads are aligned. */
#define CONTROL ((sizeof(llmd__lua_arena) + ALIGN - 1) / ALIGN * ALIGN + ALIGN - TAG)

static block *at(llmd__lua_arena *a, uint32_t offset)
{
  return (block *)(void *)((char *)a + (size_t)offset * TAG);
}

static uint32_t offset_of(const llmd__lua_arena *a, const block *b)
{
  return (uint32_t)((size_t)((const char *)b - (const char *)a) / TAG);
}

static size_t size_of(const block *b)
{
  return (size_t)(b->tag & ~(uint64_t)FLAGS);
}

static block *after(block *b)
{
  return (block *)(void *)((char *)b + size_of(b));
}

static block *before(block *b)
{
  uint64_t size;
  memcpy(&size, (char *)b - TAG, sizeof size);
  return (block *)(void *)((char *)b - size);
}

static unsigned log2_of(size_t n)
{
  return 63u - (unsigned)__builtin_clzll((unsigned long long)n);
}

/* The list for blocks of that size. */
static void list_of(size_t size, unsigned *level, unsigned *list)
{
  if (size < SMALL) {
    *level = 0;
    *list = (unsigned)(size / ALIGN);
    return;
  }
  unsigned log = log2_of(size);
  *level = log - 7;
  *list = (unsigned)(size >> (log - 4)) & (SPLIT - 1);
}

static void link_block(llmd__lua_arena *a, block *b, size_t size)
{
  unsigned level, list;
  list_of(size, &level, &list);
  uint64_t end = size;
  memcpy((char *)b + size - TAG, &end, sizeof end);
  b->tag = size | FREE | (b->tag & FREE_BEFORE);
  after(b)->tag |= FREE_BEFORE;
  uint32_t self = offset_of(a, b);
  b->prev = 0;
  b->next = a->head[level][list];
  if (b->next != 0)
    at(a, b->next)->prev = self;
  a->head[level][list] = self;
  a->lists[level] = (uint16_t)(a->lists[level] | 1u << list);
  a->levels |= 1u << level;
}

static void unlink_block(llmd__lua_arena *a, block *b)
{
  unsigned level, list;
  list_of(size_of(b), &level, &list);
  if (b->next != 0)
    at(a, b->next)->prev = b->prev;
  if (b->prev != 0) {
    at(a, b->prev)->next = b->next;
  } else if ((a->head[level][list] = b->next) == 0) {
    a->lists[level] = (uint16_t)(a->lists[level] & ~(1u << list));
    if (a->lists[level] == 0)
      a->levels &= ~(1u << level);
  }
  b->tag &= ~(uint64_t)FREE;
  after(b)->tag &= ~(uint64_t)FREE_BEFORE;
}

/* A free block of at least size, from the first list all of whose blocks are large enough. */
static block *find_larger(llmd__lua_arena *a, size_t size)
{
  unsigned level, list;
  if (size >= SMALL)
    size += ((size_t)1 << (log2_of(size) - 4)) - 1;
  list_of(size, &level, &list);
  if (level >= LEVELS)
    return NULL;
  uint32_t lists = a->lists[level] & (0xffffffffu << list);
  if (lists == 0) {
    uint32_t levels = a->levels & (0xffffffffu << (level + 1));
    if (levels == 0)
      return NULL;
    level = (unsigned)__builtin_ctz(levels);
    lists = a->lists[level];
  }
  return at(a, a->head[level][__builtin_ctz(lists)]);
}

/* When memory is scarce: those of the list that holds sizes from a little below to a little above it. */
static block *find_near(llmd__lua_arena *a, size_t size)
{
  unsigned level, list;
  list_of(size, &level, &list);
  uint32_t offset = a->head[level][list];
  for (int i = 0; offset != 0 && i < NEAR; i++) {
    block *b = at(a, offset);
    if (size_of(b) >= size)
      return b;
    offset = b->next;
  }
  return NULL;
}

/* b is not in a list: its neighbours, when free, become part of it, and it goes into one. */
static void release(llmd__lua_arena *a, block *b)
{
  size_t size = size_of(b);
  block *next = after(b);
  if (next->tag & FREE) {
    unlink_block(a, next);
    size += size_of(next);
  }
  if (b->tag & FREE_BEFORE) {
    b = before(b);
    unlink_block(a, b);
    size += size_of(b);
  }
  link_block(a, b, size);
}

/* b, in use, keeps need bytes; what is left over becomes a free block if it is large enough for one. */
static void trim(llmd__lua_arena *a, block *b, size_t need)
{
  size_t rest = size_of(b) - need;
  if (rest < LEAST)
    return;
  b->tag = need | (b->tag & FREE_BEFORE);
  block *tail = after(b);
  tail->tag = rest;
  release(a, tail);
}

static void count(llmd__lua_arena *a, size_t gone, size_t come)
{
  a->used = a->used - gone + come;
  if (a->used > a->peak)
    a->peak = a->used;
}

static size_t block_for(size_t bytes)
{
  size_t size = (bytes + TAG + ALIGN - 1) / ALIGN * ALIGN;
  return size < LEAST ? LEAST : size;
}

static void *payload(block *b)
{
  return (char *)b + TAG;
}

static block *take(llmd__lua_arena *a, size_t need)
{
  block *b = find_larger(a, need);
  if (b == NULL)
    b = find_near(a, need);
  if (b == NULL)
    return NULL;
  unlink_block(a, b);
  trim(a, b, need);
  count(a, 0, size_of(b));
  return b;
}

/* b with its free neighbours, moved to the front of them; NULL: not enough even so. */
static block *spread(llmd__lua_arena *a, block *b, size_t need, int both_sides)
{
  size_t had = size_of(b), whole = had;
  block *next = after(b), *first = b;
  if (next->tag & FREE)
    whole += size_of(next);
  if (both_sides && (b->tag & FREE_BEFORE)) {
    first = before(b);
    whole += size_of(first);
  }
  if (whole < need)
    return NULL;
  if (next->tag & FREE)
    unlink_block(a, next);
  if (first != b) {
    unlink_block(a, first);
    memmove(payload(first), payload(b), had - TAG);
  }
  first->tag = whole | (first->tag & FREE_BEFORE);
  trim(a, first, need);
  count(a, had, size_of(first));
  return first;
}

static void *grow(llmd__lua_arena *a, block *b, size_t need)
{
  block *to = spread(a, b, need, 0);
  if (to != NULL)
    return payload(to);
  to = take(a, need);
  if (to == NULL) {
    to = spread(a, b, need, 1);
    return to == NULL ? NULL : payload(to);
  }
  memcpy(payload(to), payload(b), size_of(b) - TAG);
  count(a, size_of(b), 0);
  release(a, b);
  return payload(to);
}

void *llmd__lua_arena_realloc(llmd__lua_arena *a, void *ptr, size_t osize, size_t nsize)
{
  (void)osize; /* the tag knows */
  block *b = ptr == NULL ? NULL : (block *)(void *)((char *)ptr - TAG);
  if (nsize == 0) {
    if (b != NULL) {
      count(a, size_of(b), 0);
      release(a, b);
    }
    return NULL;
  }
  if (nsize > a->bytes)
    return NULL;
  size_t need = block_for(nsize);
  if (b == NULL) {
    b = take(a, need);
    return b == NULL ? NULL : payload(b);
  }
  if (need > size_of(b))
    return grow(a, b, need);
  size_t had = size_of(b);
  trim(a, b, need);
  count(a, had, size_of(b));
  return ptr;
}

void llmd__lua_arena_reset(llmd__lua_arena *a)
{
  size_t bytes = a->bytes;
  memset(a, 0, sizeof *a);
  a->bytes = bytes;
  size_t room = (bytes - CONTROL - TAG) / ALIGN * ALIGN;
  block *first = (block *)(void *)((char *)a + CONTROL);
  block *end = (block *)(void *)((char *)first + room);
  end->tag = 0;
  first->tag = 0;
  link_block(a, first, room);
  count(a, 0, bytes - room);
}

int llmd__lua_arena_create(llmd__lua_arena **out, const llmd_allocator *alloc, size_t bytes)
{
  if (bytes > MOST)
    return LLMD_E_LIMIT;
  if (bytes < CONTROL + LEAST + TAG)
    return LLMD_E_NOMEM;
  llmd__lua_arena *a = alloc->fn(alloc->ud, NULL, 0, bytes);
  if (a == NULL)
    return LLMD_E_NOMEM;
  a->bytes = bytes;
  llmd__lua_arena_reset(a);
  *out = a;
  return 0;
}

void llmd__lua_arena_free(llmd__lua_arena *a, const llmd_allocator *alloc)
{
  if (a != NULL)
    alloc->fn(alloc->ud, a, a->bytes, 0);
}

size_t llmd__lua_arena_used(const llmd__lua_arena *a)
{
  return a->used;
}

size_t llmd__lua_arena_peak(const llmd__lua_arena *a)
{
  return a->peak;
}
