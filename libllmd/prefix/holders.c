#include "prefix/holders.h"

#include <llmd/plugin.h>

#include <string.h>

enum { HASH_LO, HASH_HI, REFS, COUNT, CHAIN, NEXT, FIRST };
#define FIRST_HOLDS 10u
#define OTHER_HOLDS 15u

static uint32_t get(const llmd__chunk *c, uint32_t i)
{
  return atomic_load_explicit(&c->word[i], memory_order_acquire);
}

static void put(llmd__chunk *c, uint32_t i, uint32_t value)
{
  atomic_store_explicit(&c->word[i], value, memory_order_release);
}

/* For readers, who may have read anything. */
static const llmd__chunk *checked(const llmd__holders *h, uint32_t number)
{
  return number && number <= h->n ? &h->chunk[number - 1] : NULL;
}

/* For the writer, who knows its own numbers. */
static llmd__chunk *chunk_at(const llmd__holders *h, uint32_t number)
{
  return &h->chunk[number - 1];
}

static int is_list(uint32_t word)
{
  return word && !(word & LLMD__ONE);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Walks the holders of a set. */
typedef struct cursor {
  const llmd__holders *h;
  const llmd__chunk *c;
  uint32_t left, at, next;
} cursor;

static void start(cursor *s, const llmd__holders *h, uint32_t word)
{
  s->h = h;
  s->c = word & LLMD__ONE ? NULL : checked(h, word);
  s->left = s->c ? get(s->c, COUNT) : 0;
  if (s->left > h->rows)
    s->left = h->rows;
  s->next = s->c ? get(s->c, NEXT) : 0;
  s->at = FIRST;
}

static int step(cursor *s, uint32_t *holder)
{
  if (s->left == 0)
    return 0;
  if (s->at == 16) {
    s->c = checked(s->h, s->next);
    if (!s->c)
      return 0;
    s->next = get(s->c, 0);
    s->at = 1;
  }
  *holder = get(s->c, s->at++);
  s->left--;
  return 1;
}

uint32_t llmd__holders_copy(const llmd__holders *h, uint32_t word, uint32_t *out)
{
  uint32_t n = 0, holder, last = 0;
  cursor s;
  if (word & LLMD__ONE) {
    *out = word & ~LLMD__ONE;
    return llmd__holder_live(h, *out) ? 1 : 0;
  }
  start(&s, h, word);
  while (step(&s, &holder)) {
    /* Ascending even if the chunk is being written over under our eyes. */
    if (!llmd__holder_live(h, holder) || (n && holder <= last))
      continue;
    out[n++] = last = holder;
  }
  return n;
}

/* ---- interning --------------------------------------------------------------------------------------------------- */

static void refer(llmd__chunk *c)
{
  put(c, REFS, get(c, REFS) + 1);
}

/* Order does not matter to it, sorted or not; the bijective mix keeps small sets apart. */
static uint64_t hash_of(const uint32_t *holder, uint32_t n)
{
  uint64_t hash = n;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t seed = holder[i];
    hash ^= llmd_random(&seed);
  }
  return hash;
}

static uint32_t chunks_for(uint32_t n)
{
  return n < 2 ? 0 : n <= FIRST_HOLDS ? 1 : 1 + (n - FIRST_HOLDS + OTHER_HOLDS - 1) / OTHER_HOLDS;
}

static uint32_t take_chunk(const llmd__holders *h)
{
  llmd__holders_state *st = h->state;
  uint32_t number = st->free;
  st->n_free--;
  if (number == 0)
    return ++st->fresh;
  st->free = get(chunk_at(h, number), 0);
  return number;
}

static void give_chunk(const llmd__holders *h, uint32_t number)
{
  put(chunk_at(h, number), 0, h->state->free);
  h->state->free = number;
  h->state->n_free++;
}

static int same_set(const llmd__holders *h, uint32_t number, uint64_t hash, const uint32_t *holder, uint32_t n)
{
  const llmd__chunk *c = chunk_at(h, number);
  uint32_t other, i = 0;
  cursor s;
  if (get(c, HASH_LO) != (uint32_t)hash || get(c, HASH_HI) != (uint32_t)(hash >> 32) || get(c, COUNT) != n)
    return 0;
  start(&s, h, number);
  while (i < n && step(&s, &other) && other == holder[i])
    i++;
  return i == n;
}

static uint32_t write_set(const llmd__holders *h, uint64_t hash, const uint32_t *holder, uint32_t n)
{
  uint32_t number = take_chunk(h), at = FIRST;
  llmd__chunk *c = chunk_at(h, number);
  put(c, HASH_LO, (uint32_t)hash);
  put(c, HASH_HI, (uint32_t)(hash >> 32));
  put(c, REFS, 1);
  put(c, COUNT, n);
  for (uint32_t i = 0, link = NEXT; i < n; i++) {
    if (at == 16) {
      uint32_t more = take_chunk(h);
      put(c, link, more);
      c = chunk_at(h, more);
      link = 0;
      at = 1;
    }
    put(c, at++, holder[i]);
    if (i + 1 == n)
      put(c, link, 0);
  }
  return number;
}

static uint32_t *bucket_of(const llmd__holders *h, uint64_t hash)
{
  return &h->bucket[(hash >> 32) * h->n >> 32];
}

/* The word of a sorted list, with a reference. */
static int intern(const llmd__holders *h, const uint32_t *holder, uint32_t n, uint32_t *out)
{
  uint64_t hash = hash_of(holder, n);
  uint32_t *bucket = bucket_of(h, hash), number;
  if (n < 2) {
    *out = n ? LLMD__ONE | holder[0] : 0;
    return 0;
  }
  for (number = *bucket; number; number = get(chunk_at(h, number), CHAIN)) {
    llmd__chunk *c = chunk_at(h, number);
    if (!same_set(h, number, hash, holder, n))
      continue;
    refer(c);
    *out = number;
    return 0;
  }
  if (chunks_for(n) > h->state->n_free)
    return LLMD_E_FULL;
  number = write_set(h, hash, holder, n);
  put(chunk_at(h, number), CHAIN, *bucket);
  *bucket = number;
  h->state->n_sets++;
  *out = number;
  return 0;
}

static void free_set(const llmd__holders *h, uint32_t number)
{
  llmd__chunk *c = chunk_at(h, number);
  uint64_t hash = (uint64_t)get(c, HASH_HI) << 32 | get(c, HASH_LO);
  uint32_t *bucket = bucket_of(h, hash), at = *bucket, next = get(c, NEXT);
  llmd__holders_state *st = h->state;
  if (at == number) {
    *bucket = get(c, CHAIN);
  } else {
    while (get(chunk_at(h, at), CHAIN) != number)
      at = get(chunk_at(h, at), CHAIN);
    put(chunk_at(h, at), CHAIN, get(c, CHAIN));
  }
  give_chunk(h, number);
  while (next) {
    uint32_t more = get(chunk_at(h, next), 0);
    give_chunk(h, next);
    next = more;
  }
  st->n_sets--;
  if (st->added.from == number || st->added.to == number)
    st->added.valid = 0;
  if (st->removed.from == number || st->removed.to == number)
    st->removed.valid = 0;
}

void llmd__holders_release(const llmd__holders *h, uint32_t word)
{
  uint32_t refs;
  if (!is_list(word))
    return;
  refs = get(chunk_at(h, word), REFS);
  if (refs > 1)
    put(chunk_at(h, word), REFS, refs - 1);
  else
    free_set(h, word);
}

/* ---- one more, one less ------------------------------------------------------------------------------------------ */

/* The remembered step from `word` by `holder`, with a reference taken. */
static int step_again(const llmd__holders *h, const llmd__step *s, uint32_t word, uint32_t holder, uint32_t *out)
{
  if (!s->valid || s->from != word || s->holder != holder)
    return 0;
  *out = s->to;
  if (is_list(s->to))
    refer(chunk_at(h, s->to));
  return 1;
}

static void remember(llmd__step *s, uint32_t word, uint32_t holder, uint32_t to)
{
  s->from = word;
  s->holder = holder;
  s->to = to;
  s->valid = 1;
}

int llmd__holders_add(const llmd__holders *h, uint32_t word, uint32_t holder, uint32_t *out)
{
  uint32_t n, at;
  int err;
  if (word == 0) {
    *out = LLMD__ONE | holder;
    return 0;
  }
  if (step_again(h, &h->state->added, word, holder, out))
    return 0;
  n = llmd__holders_copy(h, word, h->work);
  for (at = n; at && h->work[at - 1] > holder; at--)
    ;
  if (at && h->work[at - 1] == holder)
    at--, n--;
  else
    memmove(h->work + at + 1, h->work + at, (n - at) * sizeof *h->work);
  h->work[at] = holder;
  err = intern(h, h->work, n + 1, out);
  if (!err)
    remember(&h->state->added, word, holder, *out);
  return err;
}

static int has(const llmd__holders *h, uint32_t word, uint32_t holder)
{
  uint32_t other;
  cursor s;
  if (word & LLMD__ONE)
    return word == (LLMD__ONE | holder);
  start(&s, h, word);
  while (step(&s, &other))
    if (other >= holder)
      return other == holder;
  return 0;
}

int llmd__holders_remove(const llmd__holders *h, uint32_t word, uint32_t holder, uint32_t *out)
{
  uint32_t n, kept = 0;
  int err;
  if (step_again(h, &h->state->removed, word, holder, out))
    return 0;
  if (!has(h, word, holder))
    return LLMD_E_NONE;
  n = llmd__holders_copy(h, word, h->work);
  for (uint32_t i = 0; i < n; i++)
    if (h->work[i] != holder)
      h->work[kept++] = h->work[i];
  err = intern(h, h->work, kept, out);
  if (!err)
    remember(&h->state->removed, word, holder, *out);
  return err;
}

uint32_t llmd__holders_need(const llmd__holders *h, uint32_t word)
{
  return chunks_for(is_list(word) ? get(chunk_at(h, word), COUNT) + 1 : word ? 2 : 1);
}

void llmd__holders_clear(const llmd__holders *h)
{
  for (uint32_t i = 0; i < h->n; i++)
    if (h->bucket[i])
      h->bucket[i] = 0;
}

void llmd__holders_reset(const llmd__holders *h)
{
  memset(h->state, 0, sizeof *h->state);
  h->state->n_free = h->n;
}
