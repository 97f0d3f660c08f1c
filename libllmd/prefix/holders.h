/* Sets of holders, interned: cells whose blocks are on the same endpoints share one set, so that a reader who meets the
 * same set word again knows that nothing changed, and a system prompt on a thousand endpoints costs one list, not many.
 *
 * A set word names a set:   0 = empty │ LLMD__ONE | holder = just that holder │ else number of its first chunk
 * A holder is slot << 17 | epoch of the slot; moving the slot's epoch on empties it everywhere at once. Holders of
 * older epochs stay in sets until these change, and are skipped.
 *
 *   first chunk  │ hash hash │ refs │ n │ chain │ next │ holder x 10 │   sorted; n >= 2; 64 bytes
 *   others       │ next │ holder x 15 │
 *
 * One writer, any number of readers. A set never changes; its chunks are used again when no cell names it. So a reader
 * copies the set, then looks whether the cell still names it. */
#ifndef LLMD_PREFIX_HOLDERS_H
#define LLMD_PREFIX_HOLDERS_H

#include <stdatomic.h>
#include <stdint.h>

#define LLMD__ONE 0x80000000u
#define LLMD__EPOCH_BITS 17u
#define LLMD__EPOCH_MASK ((1u << LLMD__EPOCH_BITS) - 1u)

typedef struct llmd__chunk {
  _Atomic uint32_t word[16];
} llmd__chunk;

/* What readers need to know of a slot. */
typedef struct llmd__tag {
  _Atomic uint32_t epoch;
  _Atomic uint32_t generation; /* of the endpoint in this slot */
} llmd__tag;

/* The writer's last steps: a run of blocks takes the same one again and again. */
typedef struct llmd__step {
  uint32_t from, holder, to;
  uint32_t valid;
} llmd__step;

/* The writer's book-keeping; lives in the region. All zero = nothing used. */
typedef struct llmd__holders_state {
  uint32_t fresh;  /* chunks ever taken; those behind were never used */
  uint32_t free;   /* list of free chunks */
  uint32_t n_free; /* chunks that can be had */
  uint32_t n_sets;
  llmd__step added, removed;
} llmd__holders_state;

typedef struct llmd__holders {
  llmd__chunk *chunk; /* [n]; chunk number i is chunk[i - 1] */
  uint32_t *bucket;   /* [n] first chunks by hash */
  uint32_t *work;     /* [rows] */
  llmd__tag *tag;     /* [rows] */
  llmd__holders_state *state;
  uint32_t n;
  uint32_t rows;
} llmd__holders;

static inline uint32_t llmd__holder_of(const llmd__holders *h, uint32_t slot)
{
  return slot << LLMD__EPOCH_BITS | atomic_load_explicit(&h->tag[slot].epoch, memory_order_relaxed);
}

/* Is it a holder of its slot's present epoch? Any value may be asked. */
static inline int llmd__holder_live(const llmd__holders *h, uint32_t holder)
{
  uint32_t slot = holder >> LLMD__EPOCH_BITS;
  return slot < h->rows && llmd__holder_of(h, slot) == holder;
}

/* Any thread. Copies the live holders of a set in ascending order; returns how many (at most h->rows). Whatever the
 * word and the chunks hold, it stays in bounds and ends. */
uint32_t llmd__holders_copy(const llmd__holders *h, uint32_t word, uint32_t *out);

/* Writer only. *out = the set of `word` and one more holder, or one less (and less those that died), with a reference
 * taken on it; `word` keeps its own. LLMD_E_FULL: no chunks. removing what is not in the set: LLMD_E_NONE. */
int llmd__holders_add(const llmd__holders *h, uint32_t word, uint32_t holder, uint32_t *out);
int llmd__holders_remove(const llmd__holders *h, uint32_t word, uint32_t holder, uint32_t *out);

/* Writer only. Gives one reference back. */
void llmd__holders_release(const llmd__holders *h, uint32_t word);

/* Writer only. Chunks that a set of one more holder than `word` has would take. */
uint32_t llmd__holders_need(const llmd__holders *h, uint32_t word);

/* Empties the table of sets; also makes one of any bytes. */
void llmd__holders_clear(const llmd__holders *h);
/* Forgets all sets, once the table is empty; also makes the book-keeping of any bytes. Chunks need no reset. */
void llmd__holders_reset(const llmd__holders *h);

#endif
