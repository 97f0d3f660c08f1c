#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORTEST (LOAD_GAP + 8u + LOAD_TAIL)

/* The first class is a crowd: its sets of holders are large. Endpoint 0 has class 5 for itself. */
static uint32_t class_of_slot(uint32_t slot)
{
  return slot == 0 ? 5 : slot < 26 ? 0 : 1 + slot % 4;
}

static uint32_t class_of_document(uint32_t d)
{
  return d == 0 ? 5 : d % 5;
}

/* Within a class prompts branch off its first ones. */
int load_make(load *l)
{
  uint64_t seed = 99;
  l->d = calloc(LOAD_DOCUMENTS, sizeof *l->d);
  if (!l->d)
    return LLMD_E_NOMEM;
  for (uint32_t i = 0; i < LOAD_DOCUMENTS; i++) {
    document *d = &l->d[i];
    d->n = i == 0 ? LOAD_KEPT + LOAD_TAIL : SHORTEST + roll(&seed, LOAD_LONGEST - SHORTEST);
    for (uint32_t b = 0; b < d->n; b++) {
      d->key[b].lo = llmd_random(&seed);
      d->key[b].hi = llmd_random(&seed);
      d->name[b] = llmd_random(&seed);
    }
    if (i > 10) {
      const document *from = &l->d[i % 5 + 5]; /* same class */
      uint32_t most = (from->n < d->n ? from->n : d->n) - LOAD_TAIL;
      d->depth = roll(&seed, most);
      memcpy(d->key, from->key, d->depth * sizeof *d->key);
      memcpy(d->name, from->name, d->depth * sizeof *d->name);
    }
  }
  return 0;
}

void load_free(load *l)
{
  free(l->d);
  l->d = NULL;
}

static llmd_endpoint_id endpoint(uint32_t slot)
{
  return UINT64_C(1) << 32 | slot;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const uint64_t *names_of(const document *d, uint32_t slot, uint64_t *room)
{
  if (slot % 5 != 3)
    return d->name;
  for (uint32_t i = 0; i < d->n; i++)
    room[i] = document_private_name(d->name[i], slot);
  return room;
}

/* Odd slots leave out the gap: what is behind goes on from the block of somebody who has it. */
static void store(llmd_index *ix, const document *d, uint32_t slot, uint32_t n, uint32_t tier)
{
  uint64_t room[LOAD_LONGEST];
  const uint64_t *names = names_of(d, slot, room);
  llmd_block gap;
  if (slot % 2 == 0 || n <= LOAD_GAP) {
    llmd_index_store(ix, endpoint(slot), tier, NULL, d->key, names, n, NULL);
    return;
  }
  llmd_index_store(ix, endpoint(slot), tier, NULL, d->key, names, LOAD_GAP, NULL);
  for (uint32_t other = 2; other < LOAD_ROWS; other += 2) {
    if (other % 5 == 3 || n == LOAD_GAP + 1 || llmd_index_find(ix, endpoint(other), d->name[LOAD_GAP], &gap))
      continue;
    llmd_index_store(ix, endpoint(slot), tier, &gap, d->key + LOAD_GAP + 1, names + LOAD_GAP + 1, n - LOAD_GAP - 1,
                     NULL);
    return;
  }
}

static void some_of_it(llmd_index *ix, const document *d, uint32_t slot, uint64_t *seed, uint32_t kind)
{
  uint64_t room[LOAD_LONGEST];
  uint32_t from = roll(seed, d->n), n = 1 + roll(seed, d->n - from);
  const uint64_t *names = names_of(d, slot, room) + from;
  if (kind < 4 && slot % 2 && from <= LOAD_GAP && from + n > LOAD_GAP)
    return; /* a name that others told is known, too */
  if (kind < 4)
    llmd_index_hold(ix, endpoint(slot), kind, names, n);
  else
    llmd_index_drop(ix, endpoint(slot), roll(seed, 3) ? LLMD_TIER_ANY : kind % 2, names, n);
}

void load_write(const load *l, llmd_index *ix, uint64_t *seed, uint64_t turn)
{
  uint32_t slot = 1 + roll(seed, LOAD_ROWS - 1), d = 1 + roll(seed, LOAD_DOCUMENTS - 1), kind = roll(seed, 100), n;
  while (class_of_document(d) != class_of_slot(slot))
    slot = 1 + roll(seed, LOAD_ROWS - 1);
  n = 1 + roll(seed, l->d[d].n - LOAD_TAIL);
  if (turn % 32 == 0)
    llmd_index_store(ix, endpoint(0), LLMD_TIER_GPU, NULL, l->d[0].key, l->d[0].name, LOAD_KEPT, NULL);
  if (kind < 60)
    store(ix, &l->d[d], slot, n, kind < 50 ? LLMD_TIER_GPU : kind % 4);
  else if (kind < 80)
    some_of_it(ix, &l->d[d], slot, seed, kind - 60 < 8 ? (kind - 60) / 2 : kind);
  else if (kind < 88)
    llmd_index_expect(ix, endpoint(slot), l->d[d].key, slot % 2 && n > LOAD_GAP ? LOAD_GAP : n, turn + 20);
  else if (kind < 90)
    llmd_index_clear(ix, endpoint(slot));
  else
    llmd_index_tick(ix, turn, 1 + roll(seed, 60));
}

uint64_t load_clear(llmd_index *ix)
{
  llmd_index_stats s = {.size = sizeof s};
  for (uint32_t slot = 0; slot < LOAD_ROWS; slot++)
    llmd_index_clear(ix, endpoint(slot));
  while (llmd_index_tick(ix, UINT64_MAX, 1u << 20) == 1)
    ;
  llmd_index_stats_get(ix, &s);
  return s.used;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int refuse(char what[160], const char *why, uint32_t d, const llmd_hit *h)
{
  snprintf(what, 160, "%s: document %u, endpoint %llx, %u blocks", why, d, (unsigned long long)h->endpoint, h->blocks);
  return -1;
}

static int check(const load *l, uint32_t d, const llmd_hit *h, uint64_t *listed, char what[160])
{
  uint32_t slot = (uint32_t)h->endpoint, stored = l->d[d].n - LOAD_TAIL;
  if (slot >= LOAD_ROWS || h->endpoint >> 32 != 1)
    return refuse(what, "no such endpoint", d, h);
  if (*listed >> slot & 1)
    return refuse(what, "listed twice", d, h);
  *listed |= UINT64_C(1) << slot;
  if (class_of_slot(slot) != class_of_document(d))
    return refuse(what, "never stored there", d, h);
  if (!h->blocks || h->lower[0] + h->lower[1] + h->lower[2] > h->blocks)
    return refuse(what, "malformed", d, h);
  if (h->blocks > stored)
    return refuse(what, "blocks nobody stored", d, h);
  if (slot % 2 && h->blocks > LOAD_GAP)
    return refuse(what, "over a gap", d, h);
  return 0;
}

static int query(const load *l, const llmd_index *ix, void *scratch, uint32_t d, llmd_hit *hit)
{
  return llmd_index_query(ix, scratch, l->d[d].key, l->d[d].n, hit, LOAD_ROWS, NULL);
}

int load_read(const load *l, const llmd_index *ix, void *scratch, uint64_t *seed, char what[160])
{
  llmd_hit hit[LOAD_ROWS];
  uint32_t d = roll(seed, LOAD_DOCUMENTS);
  uint64_t listed = 0;
  int n = query(l, ix, scratch, d, hit);
  if (n < 0 || n > (int)LOAD_ROWS) {
    snprintf(what, 160, "query: %d", n);
    return -1;
  }
  for (int i = 0; i < n; i++)
    if (check(l, d, &hit[i], &listed, what))
      return -1;
  return n;
}

uint32_t load_kept(const load *l, const llmd_index *ix, void *scratch)
{
  llmd_hit hit[LOAD_ROWS];
  int n = query(l, ix, scratch, 0, hit);
  return n == 1 && hit[0].endpoint == endpoint(0) ? hit[0].blocks : 0;
}
