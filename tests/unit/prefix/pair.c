#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pair.h"

pair *pair_make(uint32_t rows, uint64_t bytes, int capped, uint64_t seed)
{
  llmd_index_options o = {.size = sizeof o, .rows = rows, .bytes = bytes, .seed = seed};
  llmd_err err = LLMD_ERR_INIT;
  pair *p = calloc(1, sizeof *p);
  assert_non_null(p);
  p->seed = seed;
  p->rows = rows;
  p->capped = capped;
  p->len = llmd_index_size(&o);
  assert_true(p->len > 0 && p->len <= bytes);
  p->mem = aligned_alloc(64, (p->len + 63) & ~(size_t)63);
  assert_non_null(p->mem);
  assert_int_equal(llmd_index_format(p->mem, p->len, &o), 0);
  assert_int_equal(llmd_index_open(p->mem, p->len, NULL, &p->index, &err), 0);
  p->scratch = calloc(1, llmd_index_scratch(p->index));
  p->hit = calloc(rows + 1, sizeof *p->hit);
  p->want = calloc(rows, sizeof *p->want);
  p->got = calloc(rows, sizeof *p->got);
  p->listed = calloc(rows, 1);
  p->m = model_make(rows);
  assert_true(p->scratch && p->hit && p->want && p->got && p->listed);
  return p;
}

void pair_free(pair *p)
{
  llmd_index_close(p->index);
  model_free(p->m);
  free(p->scratch);
  free(p->hit);
  free(p->want);
  free(p->got);
  free(p->listed);
  free(p->mem);
  free(p);
}

void pair_fail(pair *p, const char *what, int64_t got, int64_t want)
{
  uint64_t from = p->step > PAIR_NOTES ? p->step - PAIR_NOTES : 0;
  for (uint64_t i = from; i < p->step; i++)
    print_message("# %llu: %s\n", (unsigned long long)i, p->note[i % PAIR_NOTES]);
  print_message("# seed %llu, call %llu: %s: index %lld, model %lld\n", (unsigned long long)p->seed,
                (unsigned long long)p->step, what, (long long)got, (long long)want);
  fail();
}

static void note(pair *p, const char *what, llmd_endpoint_id e, uint64_t first, uint32_t n, uint64_t more)
{
  snprintf(p->note[p->step++ % PAIR_NOTES], PAIR_NOTE, "%s endpoint %llu.%u, n %u, first %016llx, %llu", what,
           (unsigned long long)(e >> 32), (unsigned)e, n, (unsigned long long)first, (unsigned long long)more);
}

/* A count of blocks, or the same error. */
static int alike(pair *p, const char *what, int got, int want)
{
  int less = p->capped && got >= 0 && got < want, other = p->capped == 2 && got >= 0 && want >= 0;
  if (got != want && !less && !other)
    pair_fail(p, what, got, want);
  return got;
}

int pair_store(pair *p, llmd_endpoint_id e, uint32_t tier, const llmd_block *parent, const llmd_key *keys,
               const uint64_t *names, uint32_t n, llmd_block *last)
{
  llmd_block at = {.key = {0, 0}};
  int want, got;
  note(p, parent ? "store on" : "store", e, keys[0].lo, n, tier);
  got = llmd_index_store(p->index, e, tier, parent, keys, names, n, &at);
  want = model_store(p->m, e, tier, keys, names, n);
  if (alike(p, "stored", got, want) > 0) {
    uint32_t end = (uint32_t)got - 1;
    if (at.key.lo != keys[end].lo || at.key.hi != keys[end].hi)
      pair_fail(p, "last block", (int64_t)at.key.lo, (int64_t)keys[end].lo);
    if (at.depth != end + (parent ? parent->depth + 1 : 0))
      pair_fail(p, "its depth", at.depth, end + (parent ? parent->depth + 1 : 0));
    if (last)
      *last = at;
  }
  return got;
}

int pair_find(pair *p, llmd_endpoint_id e, uint64_t name, llmd_block *out)
{
  llmd_key key = {0, 0};
  int got, want;
  note(p, "find", e, name, 1, 0);
  got = llmd_index_find(p->index, e, name, out);
  want = model_find(p->m, e, name, &key);
  if (got != want && want != LLMD_E_NONE && !(p->capped && got == LLMD_E_NONE))
    pair_fail(p, "find", got, want); /* it may know the name from others where the model does not */
  if (!got && !want && !p->capped && (key.lo != out->key.lo || key.hi != out->key.hi))
    pair_fail(p, "block found", (int64_t)out->key.lo, (int64_t)key.lo);
  return got;
}

int pair_hold(pair *p, llmd_endpoint_id e, uint32_t tier, const uint64_t *names, uint32_t n)
{
  note(p, "hold", e, names[0], n, tier);
  return alike(p, "hold", llmd_index_hold(p->index, e, tier, names, n), model_hold(p->m, e, tier, names, n));
}

int pair_drop(pair *p, llmd_endpoint_id e, uint32_t tier, const uint64_t *names, uint32_t n)
{
  note(p, "drop", e, names[0], n, tier);
  return alike(p, "drop", llmd_index_drop(p->index, e, tier, names, n), model_drop(p->m, e, tier, names, n));
}

/* The count of an accepted promise is the index's own affair. */
int pair_expect(pair *p, llmd_endpoint_id e, const llmd_key *keys, uint32_t n, uint64_t until)
{
  int got, want;
  note(p, "expect", e, keys[0].lo, n, until);
  got = llmd_index_expect(p->index, e, keys, n, until);
  want = model_expect(p->m, e, keys, n, until);
  if ((got < 0 || want < 0) && got != want && !(p->capped && got == LLMD_E_FULL))
    pair_fail(p, "expect", got, want);
  return got;
}

int pair_clear(pair *p, llmd_endpoint_id e)
{
  note(p, "clear", e, 0, 0, 0);
  return alike(p, "clear", llmd_index_clear(p->index, e), model_clear(p->m, e));
}

int pair_tick(pair *p, uint64_t mono, uint32_t budget)
{
  int got;
  note(p, "tick", 0, mono, budget, 0);
  got = llmd_index_tick(p->index, mono, budget);
  model_tick(p->m, mono);
  if (got < 0 || got > 1)
    pair_fail(p, "tick", got, 0);
  return got;
}

void pair_settle(pair *p, uint64_t mono)
{
  uint32_t turns = 0;
  while (pair_tick(p, mono, 0))
    if (++turns > 1u << 20)
      pair_fail(p, "a sweep without end", turns, 0);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* For a report: each block's tiers at the slot and in the shared store (bits), and what is listed. */
static void show(const pair *p, const llmd_key *keys, uint32_t n, int hits, uint32_t slot)
{
  char line[1600];
  size_t at = 0;
  for (uint32_t b = 0; b < n && b < 200; b++)
    at += (size_t)snprintf(line + at, sizeof line - at, " %x/%x", model_tiers(p->m, slot, &keys[b]),
                           model_tiers(p->m, p->rows, &keys[b]));
  print_message("# query of %u, slot %u:%s\n", n, slot, line);
  for (int i = 0; i < hits && i < 20; i++)
    print_message("# hit %llx: %u blocks, %u %u %u lower\n", (unsigned long long)p->hit[i].endpoint, p->hit[i].blocks,
                  p->hit[i].lower[0], p->hit[i].lower[1], p->hit[i].lower[2]);
}

/* Who is not listed has what the shared store has. */
static void take_hits(pair *p, const llmd_key *keys, uint32_t n, int hits, uint32_t shared)
{
  memset(p->listed, 0, p->rows);
  for (uint32_t slot = 0; slot < p->rows; slot++)
    p->got[slot] = (model_answer){shared, {0, 0, shared}};
  for (int i = 0; i < hits; i++) {
    const llmd_hit *h = &p->hit[i];
    uint32_t slot = (uint32_t)h->endpoint, own = 0;
    if (slot >= p->rows || h->endpoint != model_endpoint(p->m, slot))
      pair_fail(p, "an endpoint that is not", (int64_t)h->endpoint, 0);
    if (p->listed[slot])
      show(p, keys, n, hits, slot);
    if (p->listed[slot]++)
      pair_fail(p, "an endpoint listed twice", slot, 0);
    if (!h->blocks || h->blocks > n || h->lower[0] + h->lower[1] + h->lower[2] > h->blocks)
      pair_fail(p, "blocks of a hit", h->blocks, n);
    for (uint32_t b = 0; b < h->blocks && !own; b++)
      own = model_tiers(p->m, slot, &keys[b]);
    if (!own)
      show(p, keys, n, hits, slot);
    if (!own)
      pair_fail(p, "listed without a block of its own, slot", slot, 0);
    memcpy(p->got[slot].lower, h->lower, sizeof h->lower);
    p->got[slot].blocks = h->blocks;
  }
}

static void compare(pair *p, const llmd_key *keys, uint32_t n, int hits, uint32_t slot)
{
  static const char *const tier[3] = {"blocks in CPU tier", "blocks in disk tier", "blocks in remote tier"};
  const model_answer *got = &p->got[slot], *want = &p->want[slot];
  char what[64];
  if (p->capped ? got->blocks > want->blocks : memcmp(got, want, sizeof *got) != 0)
    show(p, keys, n, hits, slot);
  if (p->capped ? got->blocks > want->blocks : got->blocks != want->blocks) {
    snprintf(what, sizeof what, "blocks of slot %u", slot);
    pair_fail(p, what, got->blocks, want->blocks);
  }
  for (int i = 0; i < 3; i++)
    if (!p->capped && got->lower[i] != want->lower[i]) {
      snprintf(what, sizeof what, "%s of slot %u", tier[i], slot);
      pair_fail(p, what, got->lower[i], want->lower[i]);
    }
  p->hits += got->blocks != 0;
  p->misses += got->blocks == 0;
  p->wanted += want->blocks != 0;
}

void pair_query(pair *p, const llmd_key *keys, uint32_t n)
{
  uint32_t shared = 12345, want = model_query(p->m, keys, n, p->want);
  int hits;
  note(p, "query", 0, keys[0].lo, n, 0);
  hits = llmd_index_query(p->index, p->scratch, keys, n, p->hit, p->rows, &shared);
  if (hits < 0 || (uint32_t)hits > p->rows)
    pair_fail(p, "query", hits, p->rows);
  if (p->capped ? shared > want : shared != want)
    pair_fail(p, "shared blocks", shared, want);
  take_hits(p, keys, n, hits, shared);
  for (uint32_t slot = 0; slot < p->rows; slot++)
    compare(p, keys, n, hits, slot);
}

void pair_count(pair *p)
{
  llmd_index_stats s = {.size = sizeof s};
  model_count c;
  model_counted(p->m, &c);
  assert_int_equal(llmd_index_stats_get(p->index, &s), 0);
  if (s.used > s.bytes || s.bytes > p->len)
    pair_fail(p, "bytes used", (int64_t)s.used, (int64_t)s.bytes);
  if (p->capped || s.dead)
    return;
  if (s.held != c.held)
    pair_fail(p, "held", (int64_t)s.held, (int64_t)c.held);
  if (s.evicted || s.dropped || s.torn || s.repaired)
    pair_fail(p, "evicted, dropped, torn or repaired", (int64_t)(s.evicted + s.dropped + s.torn + s.repaired), 0);
}
