/* Interned strings of a region: name, label, model -> id. An id is the string's place, so its text costs one addition;
 * id 0 = none. Only the writer adds; anybody looks up, without a lock.
 *
 *   table: chain heads by hash ──► entry {next, hash, length} text, padded with zeros to 8 ──► next entry ...
 *
 * What no endpoint names any more is freed by a sweep (string_sweep.c): nothing staged, nothing in a published buffer,
 * pinned ones included. So a lane may use an id as long as it pins the buffer it has the id from; what it looks up while
 * it pins is either an id of that buffer, or equal to none in it. A text that was read stays readable for about ten
 * seconds after the last buffer with it, unless room is short. */
#ifndef LLMD_MODEL_STRINGS_H
#define LLMD_MODEL_STRINGS_H

#include "model/pool.h"

#define LLMD__STRING_UNIT 8u
#define LLMD__STRING_MOST 4096u

/* What an entry begins with, in one word: next id | hash | length. Length 0: not an entry any more. */
static inline uint64_t llmd__string_word(uint32_t next, uint32_t hash, uint32_t len)
{
  return (uint64_t)next | (uint64_t)(hash & 0x7ffffu) << 32 | (uint64_t)len << 51;
}

static inline uint32_t llmd__string_next(uint64_t word)
{
  return (uint32_t)word;
}

static inline uint32_t llmd__string_len(uint64_t word)
{
  return (uint32_t)(word >> 51);
}

static inline uint32_t llmd__string_hash(uint64_t word)
{
  return (uint32_t)(word >> 32) & 0x7ffffu;
}

/* Bytes an entry takes. */
static inline uint64_t llmd__string_need(uint32_t len)
{
  return (sizeof(uint64_t) + len + 1 + LLMD__STRING_UNIT - 1) / LLMD__STRING_UNIT * LLMD__STRING_UNIT;
}

/* Is there room in the string bytes for an entry of this length at this id? */
static inline int llmd__string_fits(const llmd__region *g, uint32_t id, uint32_t len)
{
  uint64_t at = ((uint64_t)id - 1) * LLMD__STRING_UNIT;
  return id && len <= LLMD__STRING_MOST && at < g->caps.string_bytes &&
         llmd__string_need(len) <= g->caps.string_bytes - at;
}

static inline _Atomic uint64_t *llmd__string_at(const llmd__region *g, uint32_t id)
{
  return (_Atomic uint64_t *)llmd__at(g, g->string_off + ((uint64_t)id - 1) * LLMD__STRING_UNIT);
}

static inline _Atomic uint32_t *llmd__string_table(const llmd__region *g)
{
  return (_Atomic uint32_t *)llmd__at(g, g->table_off);
}

/* Of the text as the table is ordered by. */
uint32_t llmd__string_hash_of(const llmd__region *g, const char *ptr, size_t len);

/* The id of a string that is there, or 0. No lock; any process. */
uint32_t llmd__string_find(const llmd__region *g, const char *ptr, size_t len);
/* The same, added when new (writer). 0 when there is no room (counted) or len > 4096. */
uint32_t llmd__string_add(llmd_pool *p, const char *ptr, size_t len);
/* Text of an id; empty for 0 or a foreign id. Borrowed as said above. Followed by a NUL. */
llmd_str llmd__string_text(const llmd__region *g, uint32_t id);

/* The writer's books: which units are taken, which strings are named. In its own memory, made anew from the table by
 * each writer, so that a writer that died in between leaves nothing to repair. */
typedef struct llmd__books {
  uint64_t units, words; /* of LLMD__STRING_UNIT; of the maps below */
  uint64_t cursor;       /* where the next free unit is looked for */
  uint64_t *taken;       /* bit per unit */
  uint64_t *named;       /* bit per entry: seen by the sweep that is on, or added since it began */
  uint64_t *doubted;     /* bit per entry: the last sweep saw nobody name it */
  uint64_t began;        /* mono ns of the last sweep */
  uint64_t added, n_doubted; /* since then; in doubt */
  uint64_t rescues;      /* sweeps at once that a call without room asked for */
  uint64_t barren;       /* what was published when such a sweep last found nothing; 0 = it did */
  uint32_t phase;        /* of the sweep, 0 = none is on */
  uint32_t view, row, bucket;
} llmd__books;

/* (writer) Makes the books. LLMD_E_NOMEM. */
int llmd__strings_open(llmd_pool *p);
void llmd__strings_close(llmd_pool *p);
/* (writer) A slice of the sweep, begun when there is enough to gain. */
void llmd__strings_tick(llmd_pool *p, uint64_t now);
/* (writer) Sweeps at once, as far as it goes; no id may be held but what staging and buffers name. Returns how many
 * strings went. */
uint64_t llmd__strings_make_room(llmd_pool *p);
/* (writer) The same for a call that finds no room. Returns 1 when there may be some now. After a sweep in vain the next
 * one waits until much has been published: a pool that is full is not swept for each name that is refused. */
int llmd__strings_rescue(llmd_pool *p);
/* string_sweep.c's way to take a string out: it follows `before` (0 = it is the first of its chain). */
void llmd__string_drop(llmd_pool *p, uint32_t bucket, uint32_t before, uint32_t id);

static inline int llmd__bit(const uint64_t *map, uint64_t i)
{
  return (int)(map[i / 64] >> (i % 64) & 1);
}

static inline void llmd__bit_set(uint64_t *map, uint64_t i)
{
  map[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void llmd__bit_clear(uint64_t *map, uint64_t i)
{
  map[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

#endif
