/* Numbers, chains, answers, events: what the parts of the workload are made of. */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define STEP UINT64_C(0x9E3779B97F4A7C15)

void *work_need(void *p)
{
  if (!p) {
    fputs("bench_index: out of memory\n", stderr);
    exit(2);
  }
  return p;
}

uint64_t work_mix(uint64_t z)
{
  z += STEP;
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

uint64_t work_next(work_rng *r)
{
  r->state += STEP;
  return work_mix(r->state);
}

uint64_t work_below(work_rng *r, uint64_t n)
{
  return work_next(r) % n;
}

uint64_t work_content(uint64_t segment, uint64_t j)
{
  return work_mix(work_mix(segment ^ UINT64_C(0x5EED000000000000)) + j * UINT64_C(0xD1342543DE82EF95));
}

uint64_t work_hash(const uint32_t *token, uint32_t n)
{
  uint8_t bytes[64 * 4];
  for (uint32_t i = 0; i < 4 * n; i++)
    bytes[i] = (uint8_t)(token[i / 4] >> 8 * (i % 4));
  return XXH3_64bits_withSeed(bytes, 4 * n, 1337);
}

/* ---- chains ------------------------------------------------------------------------------------------------------ */

void work_chain_reset(work_chain *c, uint32_t n)
{
  if (n > c->cap) {
    c->content = work_need(realloc(c->content, n * sizeof *c->content));
    c->name = work_need(realloc(c->name, n * sizeof *c->name));
    c->cap = n;
  }
  c->n = 0;
}

void work_chain_add(work_chain *c, uint64_t segment, uint32_t n)
{
  for (uint32_t j = 0; j < n; j++)
    c->content[c->n++] = work_content(segment, j);
}

static void put64(uint8_t *out, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)(v >> 8 * i);
}

void work_chain_name(work_chain *c)
{
  for (uint32_t i = 0; i < c->n; i++) {
    uint8_t both[16];
    if (i == 0) {
      c->name[0] = c->content[0];
      continue;
    }
    put64(both, c->name[i - 1]);
    put64(both + 8, c->content[i]);
    c->name[i] = XXH3_64bits_withSeed(both, sizeof both, 1337);
  }
}

void work_chain_free(work_chain *c)
{
  free(c->content);
  free(c->name);
  memset(c, 0, sizeof *c);
}

uint64_t work_digest(const work_depth *d, uint32_t n)
{
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; i++)
    if (d[i].depth)
      sum += work_mix((uint64_t)d[i].worker << 32 | d[i].depth);
  return sum;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

void work_batch_free(work_batch *b)
{
  free(b->event);
  free(b->name);
  free(b->token);
  memset(b, 0, sizeof *b);
}

static work_event *new_event(work_batch *b, uint32_t worker, uint32_t n)
{
  work_event *e;
  if (b->events == b->cap_events) {
    b->cap_events = 2 * b->cap_events + 64;
    b->event = work_need(realloc(b->event, b->cap_events * sizeof *b->event));
  }
  if (b->blocks + n > b->cap_blocks) {
    b->cap_blocks = 2 * b->cap_blocks + 4096 + n;
    b->name = work_need(realloc(b->name, b->cap_blocks * sizeof *b->name));
    b->token = work_need(realloc(b->token, b->cap_blocks * sizeof *b->token));
  }
  e = &b->event[b->events++];
  *e = (work_event){.worker = worker, .n = n, .at = b->blocks};
  b->blocks += n;
  return e;
}

static void put_block(work_batch *b, size_t at, const work_chain *c, uint32_t i)
{
  b->name[at] = c->name[i];
  b->token[at][0] = (uint32_t)c->content[i];
  b->token[at][1] = (uint32_t)(c->content[i] >> 32);
}

void work_store_one(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to)
{
  work_event *e = new_event(b, worker, to - from);
  if (from) {
    e->has_parent = 1;
    e->parent = c->name[from - 1];
  }
  for (uint32_t i = from; i < to; i++)
    put_block(b, e->at + i - from, c, i);
}

void work_remove_some(work_batch *b, uint32_t worker, const work_chain *c, const uint32_t *at, uint32_t n)
{
  work_event *e = new_event(b, worker, n);
  e->remove = 1;
  for (uint32_t i = 0; i < n; i++)
    put_block(b, e->at + i, c, at[i]);
}

/* Sizes of events: 16 to 64 blocks. */
static uint32_t event_size(work_rng *r, uint32_t rest)
{
  const uint32_t n = 16 + (uint32_t)work_below(r, 49);
  return n < rest ? n : rest;
}

void work_store(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to, uint64_t salt)
{
  work_rng r = {work_mix(salt ^ (uint64_t)worker << 40)};
  while (from < to) {
    const uint32_t n = event_size(&r, to - from);
    work_store_one(b, worker, c, from, from + n);
    from += n;
  }
}

void work_remove(work_batch *b, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to, uint64_t salt)
{
  work_rng r = {work_mix(salt ^ (uint64_t)worker << 40 ^ 0xDE1)};
  while (to > from) {
    const uint32_t n = event_size(&r, to - from);
    uint32_t at[64];
    for (uint32_t i = 0; i < n; i++)
      at[i] = to - 1 - i;
    work_remove_some(b, worker, c, at, n);
    to -= n;
  }
}
