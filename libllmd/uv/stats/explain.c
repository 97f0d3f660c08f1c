#include "uv/stats/explain.h"

#include <stdatomic.h>
#include <string.h>

#include "uv/share/share.h"

#define WORDS (LLMD__EXPLAIN_SLOT_BYTES / 8 - 5)

/* state: number * 2, + 1 while it is written; 0 = nothing ever. The rest counts only when the check fits. */
typedef struct slot {
  _Atomic uint64_t state;
  _Atomic uint64_t wall;
  _Atomic uint64_t len;
  _Atomic uint64_t check;
  _Atomic uint64_t word[WORDS + 1];
} slot;

_Static_assert(sizeof(slot) == LLMD__EXPLAIN_SLOT_BYTES, "a slot fills its room");
_Static_assert(LLMD__EXPLAIN_MOST <= WORDS * 8, "the longest text fits");

typedef struct copy {
  uint64_t number, wall, len, check;
  uint64_t word[WORDS + 1];
} copy;

static uint64_t check_of(const copy *c)
{
  uint64_t h = UINT64_C(0xcbf29ce484222325) ^ c->number;
  uint64_t words = (c->len + 7) / 8;
  h = (h ^ c->wall) * UINT64_C(0x100000001b3);
  h = (h ^ c->len) * UINT64_C(0x100000001b3);
  for (uint64_t i = 0; i < words; i++)
    h = ((h ^ c->word[i]) * UINT64_C(0x100000001b3)) ^ (h >> 29);
  return h;
}

/* The slot that was written longest ago, claimed for the next number; NULL when others are faster again and again. */
static slot *claim(slot *s, size_t n, uint64_t *number)
{
  for (int attempt = 0; attempt < 8; attempt++) {
    uint64_t newest = 0, oldest = UINT64_MAX;
    slot *victim = NULL;
    for (size_t i = 0; i < n; i++) {
      uint64_t state = atomic_load(&s[i].state);
      newest = state / 2 > newest ? state / 2 : newest;
      if (state < oldest) {
        oldest = state;
        victim = &s[i];
      }
    }
    if (victim && atomic_compare_exchange_strong(&victim->state, &oldest, (newest + 1) * 2 + 1)) {
      *number = newest + 1;
      return victim;
    }
  }
  return NULL;
}

int llmd__explain_put(void *area, size_t bytes, uint64_t wall, const char *text, size_t len)
{
  copy c;
  slot *s;
  uint64_t claimed;
  if (len > LLMD__EXPLAIN_MOST)
    return LLMD_E_LIMIT;
  s = claim(area, bytes / sizeof *s, &c.number);
  if (!s)
    return LLMD_E_BUSY;
  c.wall = wall;
  c.len = len;
  c.word[len / 8] = 0;
  memcpy(c.word, text, len);
  atomic_store_explicit(&s->wall, wall, memory_order_relaxed);
  atomic_store_explicit(&s->len, len, memory_order_relaxed);
  atomic_store_explicit(&s->check, check_of(&c), memory_order_relaxed);
  for (size_t i = 0; i < (len + 7) / 8; i++)
    atomic_store_explicit(&s->word[i], c.word[i], memory_order_relaxed);
  claimed = c.number * 2 + 1;
  (void)atomic_compare_exchange_strong(&s->state, &claimed, c.number * 2); /* else somebody has overtaken us */
  return LLMD_OK;
}

/* 1: whole and of this number. The state is read again after all else: acquiring loads are not passed by later ones. */
static int read_slot(const slot *s, uint64_t number, copy *c)
{
  if (atomic_load(&s->state) != number * 2)
    return 0;
  c->number = number;
  c->wall = atomic_load_explicit(&s->wall, memory_order_acquire);
  c->len = atomic_load_explicit(&s->len, memory_order_acquire);
  c->check = atomic_load_explicit(&s->check, memory_order_acquire);
  if (c->len > LLMD__EXPLAIN_MOST)
    return 0;
  for (size_t i = 0; i < (c->len + 7) / 8; i++)
    c->word[i] = atomic_load_explicit(&s->word[i], memory_order_acquire);
  return atomic_load(&s->state) == number * 2 && c->check == check_of(c);
}

/* The newest slot that is older than `before`. */
static const slot *next(const slot *s, size_t n, uint64_t before, uint64_t *number)
{
  const slot *found = NULL;
  *number = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t state = atomic_load(&s[i].state);
    if (!(state & 1) && state / 2 > *number && state / 2 < before) {
      *number = state / 2;
      found = &s[i];
    }
  }
  return found;
}

int llmd__explain_visit(const void *area, size_t bytes, llmd__explain_fn fn, void *ud)
{
  const slot *s = area, *found;
  uint64_t number = UINT64_MAX;
  int shown = 0;
  copy c;
  while ((found = next(s, bytes / sizeof *s, number, &number))) {
    if (!read_slot(found, number, &c))
      continue;
    shown++;
    if (fn(ud, c.number, c.wall, (const char *)c.word, (size_t)c.len))
      break;
  }
  return shown;
}
