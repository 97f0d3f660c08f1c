#include "uv/stats/ring.h"

#include <stdatomic.h>
#include <string.h>

/* state: number * 2, + 1 while it is written; 0 = nothing ever. The rest counts only when the check fits. */
typedef struct slot {
  _Atomic uint64_t state;
  _Atomic uint64_t wall;
  _Atomic uint64_t len;
  _Atomic uint64_t check;
  _Atomic uint64_t word[];
} slot;

_Static_assert(sizeof(slot) == LLMD__RING_HEAD, "the head of a slot");

static slot *slot_at(const llmd__ring *r, size_t i)
{
  return (slot *)(void *)((char *)r->area + i * r->slot);
}

static size_t count(const llmd__ring *r)
{
  return r->bytes / r->slot;
}

/* ---- what tells a whole text from a torn one --------------------------------------------------------------------- */

static uint64_t check_begin(uint64_t number, uint64_t wall, uint64_t len)
{
  uint64_t h = UINT64_C(0xcbf29ce484222325) ^ number;
  h = (h ^ wall) * UINT64_C(0x100000001b3);
  return (h ^ len) * UINT64_C(0x100000001b3);
}

static uint64_t check_word(uint64_t h, uint64_t word)
{
  return ((h ^ word) * UINT64_C(0x100000001b3)) ^ (h >> 29);
}

/* The text's words, the last one filled up with zeros. */
static uint64_t word_at(const char *text, size_t len, size_t i)
{
  uint64_t w = 0;
  memcpy(&w, text + i, len - i < 8 ? len - i : 8);
  return w;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The slot that was written longest ago, claimed for the next number; NULL when others are faster again and again. */
static slot *claim(const llmd__ring *r, uint64_t *number)
{
  for (int attempt = 0; attempt < 8; attempt++) {
    uint64_t newest = 0, oldest = UINT64_MAX;
    slot *victim = NULL;
    for (size_t i = 0; i < count(r); i++) {
      slot *s = slot_at(r, i);
      uint64_t state = atomic_load(&s->state);
      newest = state / 2 > newest ? state / 2 : newest;
      if (state < oldest) {
        oldest = state;
        victim = s;
      }
    }
    if (victim && atomic_compare_exchange_strong(&victim->state, &oldest, (newest + 1) * 2 + 1)) {
      *number = newest + 1;
      return victim;
    }
  }
  return NULL;
}

int llmd__ring_put(const llmd__ring *ring, uint64_t wall, const void *text, size_t len)
{
  uint64_t number, claimed, check;
  slot *s;
  if (len > LLMD__RING_MOST(ring->slot))
    return LLMD_E_LIMIT;
  s = claim(ring, &number);
  if (!s)
    return LLMD_E_BUSY;
  check = check_begin(number, wall, len);
  atomic_store_explicit(&s->wall, wall, memory_order_relaxed);
  atomic_store_explicit(&s->len, len, memory_order_relaxed);
  for (size_t i = 0; i < len; i += 8) {
    uint64_t w = word_at(text, len, i);
    check = check_word(check, w);
    atomic_store_explicit(&s->word[i / 8], w, memory_order_relaxed);
  }
  atomic_store_explicit(&s->check, check, memory_order_relaxed);
  claimed = number * 2 + 1;
  (void)atomic_compare_exchange_strong(&s->state, &claimed, number * 2); /* else somebody has overtaken us */
  return LLMD_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* 1: whole and of this number. The state is read again after all else: acquiring loads are not passed by later ones. */
static int read_slot(const llmd__ring *r, const slot *s, uint64_t number, char *room, uint64_t *wall, uint64_t *len)
{
  uint64_t check, sum;
  if (atomic_load(&s->state) != number * 2)
    return 0;
  *wall = atomic_load_explicit(&s->wall, memory_order_acquire);
  *len = atomic_load_explicit(&s->len, memory_order_acquire);
  check = atomic_load_explicit(&s->check, memory_order_acquire);
  if (*len > LLMD__RING_MOST(r->slot))
    return 0;
  sum = check_begin(number, *wall, *len);
  for (size_t i = 0; i < *len; i += 8) {
    uint64_t w = atomic_load_explicit(&s->word[i / 8], memory_order_acquire);
    sum = check_word(sum, w);
    memcpy(room + i, &w, 8);
  }
  return atomic_load(&s->state) == number * 2 && check == sum;
}

/* The newest slot that is older than `before`. */
static const slot *next(const llmd__ring *r, uint64_t before, uint64_t *number)
{
  const slot *found = NULL;
  *number = 0;
  for (size_t i = 0; i < count(r); i++) {
    const slot *s = slot_at(r, i);
    uint64_t state = atomic_load(&s->state);
    if (!(state & 1) && state / 2 > *number && state / 2 < before) {
      *number = state / 2;
      found = s;
    }
  }
  return found;
}

int llmd__ring_visit(const llmd__ring *ring, void *room, llmd__ring_fn fn, void *ud)
{
  uint64_t number = UINT64_MAX, wall, len;
  const slot *found;
  int shown = 0;
  while ((found = next(ring, number, &number))) {
    if (!read_slot(ring, found, number, room, &wall, &len))
      continue;
    shown++;
    if (fn(ud, number, wall, room, (size_t)len))
      break;
  }
  return shown;
}
