#include "model_index.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* One block at one endpoint. */
typedef struct cell {
  uint64_t name, until;
  uint8_t tiers, named;
} cell;

typedef struct block {
  llmd_key key;
  UT_hash_handle hh;
  cell at[]; /* [rows + 1] */
} block;

typedef struct naming {
  struct {
    uint64_t slot, name;
  } of;
  block *block;
  UT_hash_handle hh;
} naming;

struct model {
  uint32_t rows;
  uint64_t renamed;
  llmd_endpoint_id *endpoint; /* [rows + 1] */
  block *blocks;
  naming *names;
};

static void *must(void *ptr)
{
  if (!ptr)
    abort();
  return ptr;
}

model *model_make(uint32_t rows)
{
  model *m = must(calloc(1, sizeof *m));
  m->rows = rows;
  m->endpoint = must(calloc(rows + 1, sizeof *m->endpoint));
  m->endpoint[rows] = LLMD_INDEX_SHARED;
  return m;
}

void model_free(model *m)
{
  block *b, *next_b;
  naming *n, *next_n;
  HASH_ITER(hh, m->blocks, b, next_b) {
    HASH_DEL(m->blocks, b);
    free(b);
  }
  HASH_ITER(hh, m->names, n, next_n) {
    HASH_DEL(m->names, n);
    free(n);
  }
  free(m->endpoint);
  free(m);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static naming *naming_of(const model *m, uint32_t slot, uint64_t name)
{
  naming *found, want;
  memset(&want, 0, sizeof want);
  want.of.slot = slot;
  want.of.name = name;
  HASH_FIND(hh, m->names, &want.of, sizeof want.of, found);
  return found;
}

static void unname(model *m, uint32_t slot, cell *c)
{
  naming *n = c->named ? naming_of(m, slot, c->name) : NULL;
  c->named = 0;
  if (n) {
    HASH_DEL(m->names, n);
    free(n);
  }
}

/* Takes tiers away; the last one that the engine told of takes the name with it. Returns whether any was there. */
static int take(model *m, uint32_t slot, block *b, uint32_t tiers)
{
  cell *c = &b->at[slot];
  int had = (c->tiers & tiers) != 0;
  c->tiers = (uint8_t)(c->tiers & ~tiers);
  if (!(c->tiers & ~(1u << LLMD_TIER_SPECULATIVE)))
    unname(m, slot, c);
  return had;
}

static void give_name(model *m, uint32_t slot, block *b, uint64_t name)
{
  naming *n = naming_of(m, slot, name);
  if (n && n->block == b)
    return;
  if (n) {
    m->renamed++;
    take(m, slot, n->block, 0xffu & ~(1u << LLMD_TIER_SPECULATIVE));
  }
  unname(m, slot, &b->at[slot]);
  n = must(calloc(1, sizeof *n));
  n->of.slot = slot;
  n->of.name = name;
  n->block = b;
  HASH_ADD(hh, m->names, of, sizeof n->of, n);
  b->at[slot].named = 1;
  b->at[slot].name = name;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static block *block_of(const model *m, const llmd_key *key)
{
  block *b;
  HASH_FIND(hh, m->blocks, key, sizeof *key, b);
  return b;
}

static block *block_made(model *m, const llmd_key *key)
{
  block *b = block_of(m, key);
  if (!b) {
    b = must(calloc(1, sizeof *b + (m->rows + 1) * sizeof *b->at));
    b->key = *key;
    HASH_ADD(hh, m->blocks, key, sizeof b->key, b);
  }
  return b;
}

uint32_t model_tiers(const model *m, uint32_t slot, const llmd_key *key)
{
  const block *b = block_of(m, key);
  return b ? b->at[slot].tiers : 0;
}

llmd_endpoint_id model_endpoint(const model *m, uint32_t slot)
{
  return m->endpoint[slot];
}

/* ---- endpoints --------------------------------------------------------------------------------------------------- */

static void forget(model *m, uint32_t slot)
{
  for (block *b = m->blocks; b; b = b->hh.next)
    take(m, slot, b, 0xffu);
}

/* The slot of an endpoint that may write; a new generation starts with nothing. */
static int slot_of(model *m, llmd_endpoint_id endpoint, uint32_t *slot)
{
  *slot = endpoint == LLMD_INDEX_SHARED ? m->rows : (uint32_t)endpoint;
  if (*slot > m->rows || (*slot == m->rows && endpoint != LLMD_INDEX_SHARED))
    return LLMD_E_RANGE;
  if (endpoint < m->endpoint[*slot])
    return LLMD_E_STALE;
  if (endpoint > m->endpoint[*slot])
    forget(m, *slot);
  m->endpoint[*slot] = endpoint;
  return 0;
}

int model_find(const model *m, llmd_endpoint_id endpoint, uint64_t name, llmd_key *out)
{
  uint32_t slot = endpoint == LLMD_INDEX_SHARED ? m->rows : (uint32_t)endpoint;
  const naming *n = slot <= m->rows && m->endpoint[slot] == endpoint ? naming_of(m, slot, name) : NULL;
  if (!n)
    return LLMD_E_NONE;
  *out = n->block->key;
  return 0;
}

int model_store(model *m, llmd_endpoint_id endpoint, uint32_t tier, const llmd_key *keys, const uint64_t *names,
                uint32_t n)
{
  uint32_t slot;
  int rc = slot_of(m, endpoint, &slot);
  if (rc)
    return rc;
  for (uint32_t i = 0; i < n; i++) {
    block *b = block_made(m, &keys[i]);
    b->at[slot].tiers = (uint8_t)(b->at[slot].tiers | 1u << tier);
    if (names)
      give_name(m, slot, b, names[i]);
  }
  return (int)n;
}

int model_hold(model *m, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n)
{
  uint32_t slot;
  int rc = slot_of(m, endpoint, &slot), known = 0;
  for (uint32_t i = 0; !rc && i < n; i++) {
    naming *found = naming_of(m, slot, names[i]);
    if (found)
      found->block->at[slot].tiers = (uint8_t)(found->block->at[slot].tiers | 1u << tier);
    known += found != NULL;
  }
  return rc ? rc : known;
}

int model_drop(model *m, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names, uint32_t n)
{
  uint32_t slot, tiers = tier == LLMD_TIER_ANY ? 0xffu : 1u << tier;
  int rc = slot_of(m, endpoint, &slot), held = 0;
  for (uint32_t i = 0; !rc && i < n; i++) {
    naming *found = naming_of(m, slot, names[i]);
    if (found)
      held += take(m, slot, found->block, tiers);
  }
  return rc ? rc : held;
}

int model_expect(model *m, llmd_endpoint_id endpoint, const llmd_key *keys, uint32_t n, uint64_t until)
{
  uint32_t slot;
  int rc = slot_of(m, endpoint, &slot);
  for (uint32_t i = 0; !rc && i < n; i++) {
    cell *c = &block_made(m, &keys[i])->at[slot];
    c->until = (c->tiers >> LLMD_TIER_SPECULATIVE & 1) && c->until > until ? c->until : until;
    c->tiers |= 1u << LLMD_TIER_SPECULATIVE;
  }
  return rc;
}

int model_clear(model *m, llmd_endpoint_id endpoint)
{
  uint32_t slot;
  int rc = slot_of(m, endpoint, &slot);
  if (!rc)
    forget(m, slot);
  return rc;
}

void model_tick(model *m, uint64_t mono)
{
  for (block *b = m->blocks; b; b = b->hh.next)
    for (uint32_t slot = 0; slot <= m->rows; slot++)
      if ((b->at[slot].tiers >> LLMD_TIER_SPECULATIVE & 1) && b->at[slot].until <= mono)
        take(m, slot, b, 1u << LLMD_TIER_SPECULATIVE);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* 0 = GPU, 1..3 = lower. */
static uint32_t best_tier(uint32_t tiers)
{
  uint32_t tier = 0;
  if (tiers & (1u << LLMD_TIER_GPU | 1u << LLMD_TIER_SPECULATIVE))
    return 0;
  while (!(tiers >> tier & 1))
    tier++;
  return tier;
}

uint32_t model_query(const model *m, const llmd_key *keys, uint32_t n, model_answer *out)
{
  uint32_t shared = 0;
  memset(out, 0, m->rows * sizeof *out);
  for (uint32_t i = 0; i < n; i++) {
    const block *b = block_of(m, &keys[i]);
    uint32_t everywhere = b ? b->at[m->rows].tiers : 0;
    for (uint32_t slot = 0; b && slot < m->rows; slot++) {
      uint32_t tiers = b->at[slot].tiers | everywhere, tier;
      if (out[slot].blocks < i || !tiers)
        continue;
      tier = best_tier(tiers);
      out[slot].blocks++;
      if (tier)
        out[slot].lower[tier - 1]++;
    }
    shared += shared == i && everywhere;
  }
  return shared;
}

void model_counted(const model *m, model_count *out)
{
  memset(out, 0, sizeof *out);
  out->renamed = m->renamed;
  out->names = HASH_COUNT(m->names);
  for (const block *b = m->blocks; b; b = b->hh.next) {
    uint32_t any = 0;
    for (uint32_t slot = 0; slot <= m->rows; slot++) {
      any |= b->at[slot].tiers;
      for (uint32_t tier = 0; tier < LLMD_TIERS; tier++)
        out->held += b->at[slot].tiers >> tier & 1;
    }
    out->blocks += any != 0;
  }
}
