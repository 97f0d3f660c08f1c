/* At the cap: bytes of the cap for each block held when the first one is evicted; stores while something goes for each
 * that comes; answers then (never too long). */
#include <stdio.h>
#include <stdlib.h>

#include "side.h"

#define ASKED 1000u

struct stream {
  side side;
  work_fill first, all; /* the pairs of `first`, shuffled; then the documents that only `all` has, one by one */
  work_shared *shared;
  work_chain chain;
  work_batch batch;
  int own_names; /* every engine has its own names for blocks */
  uint32_t pair, document, holder;
  uint64_t held;
  size_t at_once; /* blocks that are collected before they are applied */
};

static int next_pair(struct stream *t, work_pair *out)
{
  const work_document *d;
  if (t->pair < t->first.pairs) {
    *out = t->first.pair[t->pair++];
    return 1;
  }
  if (t->document == t->all.documents)
    return 0;
  d = &t->all.document[t->document];
  *out = (work_pair){t->document, d->holder[t->holder++]};
  if (t->holder == d->holders) {
    t->document++;
    t->holder = 0;
  }
  return 1;
}

static void make_own_names(work_batch *b, size_t first)
{
  for (size_t i = first; i < b->events; i++) {
    work_event *e = &b->event[i];
    const uint64_t salt = work_mix(e->worker);
    e->parent = work_mix(e->parent ^ salt);
    for (uint32_t k = 0; k < e->n; k++)
      b->name[e->at + k] = work_mix(b->name[e->at + k] ^ salt);
  }
}

static void pump(struct stream *t, side_cost *cost)
{
  side_apply(&t->side, &t->batch, cost);
  t->held += t->batch.blocks;
  t->batch.events = t->batch.blocks = 0;
}

/* Stores one more pair. 0 at the end of the stream. */
static int step(struct stream *t, side_cost *cost)
{
  work_pair p;
  uint32_t from;
  size_t first = t->batch.events;
  if (!next_pair(t, &p))
    return 0;
  from = work_shared_take(t->shared, p.worker, work_document_chain(p.document, &t->chain));
  work_store(&t->batch, p.worker, &t->chain, from, t->chain.n, p.document);
  if (t->own_names)
    make_own_names(&t->batch, first);
  if (t->batch.blocks >= t->at_once)
    pump(t, cost);
  return 1;
}

static uint64_t too_long(struct stream *t, uint64_t *pairs)
{
  work_depth *most = work_need(malloc(WORK_WORKERS * sizeof *most));
  work_rng r = {0xCA9};
  uint64_t bad = 0;
  for (uint32_t i = 0; i < (side_set.quick ? ASKED / 10 : ASKED); i++) {
    const uint32_t d = (uint32_t)work_below(&r, t->all.documents);
    uint32_t n = work_document_answer(&t->all, d, most), allowed[WORK_WORKERS] = {0};
    llmd_key *keys;
    work_document_chain(d, &t->chain);
    keys = side_keys(&t->side, &t->chain);
    side_ask(&t->side, keys, t->chain.n);
    while (n--)
      allowed[most[n].worker] = most[n].depth;
    for (uint32_t k = 0; k < t->side.hits; k++)
      bad += t->side.hit[k].blocks > allowed[(uint32_t)t->side.hit[k].endpoint % WORK_WORKERS];
    *pairs += t->side.hits;
    free(keys);
  }
  free(most);
  return bad;
}

/* A tenth of the stream more: something goes for each block that comes. */
static void full_rows(struct stream *t, const char *names)
{
  const uint64_t held = t->held;
  uint64_t pairs = 0, bad;
  side_cost cost = {0};
  llmd_index_stats st;
  char row[64];
  t->at_once = 1 << 17;
  while (t->held - held < side_set.held / 10 && step(t, &cost))
    ;
  pump(t, &cost);
  st = side_stats(&t->side);
  side_row("cap_%s_store_when_full_blocks_per_cpu_s", (double)(t->held - held) / cost.cpu, names);
  side_row("cap_%s_held_when_full_pct", 100.0 * (double)st.held / (double)held, names);
  bad = too_long(t, &pairs);
  snprintf(row, sizeof row, "cap_%s_workers_over", names);
  side_must(row, (double)bad, 0);
  side_row("cap_%s_workers_found", (double)pairs, names);
  side_row("cap_%s_dropped_blocks", (double)st.dropped, names);
  side_row("cap_%s_lost_events", (double)t->side.lost, names);
  snprintf(row, sizeof row, "cap_%s_used_over_cap", names);
  side_must(row, st.used > t->side.len, 0);
}

static void cap_rows(const char *names, int own_names, uint64_t bytes)
{
  struct stream t = {.own_names = own_names};
  llmd_index_stats st;
  work_fill_open(&t.first, side_set.held);
  work_fill_open(&t.all, 2 * side_set.held);
  t.document = t.first.documents;
  t.shared = work_need(calloc(1, sizeof *t.shared));
  side_open(&t.side, bytes, WORK_SLOTS);
  t.side.full = 1;
  do
    st = side_stats(&t.side);
  while (!st.evicted && !st.dropped && step(&t, NULL));
  if (!st.evicted && !st.dropped)
    fprintf(stderr, "# nothing was evicted: the stream is too short for a cap of %zu bytes\n", t.side.len);
  side_row("cap_%s_names_bytes_per_held_at_first_eviction", (double)t.side.len / (double)(t.held - st.evicted), names);
  side_row("cap_%s_names_held_at_first_eviction", (double)(t.held - st.evicted), names);
  full_rows(&t, names);
  side_close(&t.side);
  work_fill_close(&t.first);
  work_fill_close(&t.all);
  work_chain_free(&t.chain);
  work_batch_free(&t.batch);
  free(t.shared);
}

/* Caps at which about the whole fill goes in. */
void part_cap(void)
{
  side_pin(0);
  cap_rows("shared", 0, side_set.held * 24);
  cap_rows("private", 1, side_set.held * 40);
}
