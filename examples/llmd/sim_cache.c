#include "sim_cache.h"

#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "sim_rng.h"

static void append(struct sim_cache *cache, uint32_t i)
{
  struct sim_block *b = &cache->block[i];
  b->prev = cache->tail;
  b->next = SIM_NO_BLOCK;
  if (cache->tail == SIM_NO_BLOCK)
    cache->head = i;
  else
    cache->block[cache->tail].next = i;
  cache->tail = i;
  cache->n_free++;
}

static void detach(struct sim_cache *cache, uint32_t i)
{
  struct sim_block *b = &cache->block[i];
  if (b->prev == SIM_NO_BLOCK)
    cache->head = b->next;
  else
    cache->block[b->prev].next = b->next;
  if (b->next == SIM_NO_BLOCK)
    cache->tail = b->prev;
  else
    cache->block[b->next].prev = b->prev;
  cache->n_free--;
}

int sim_cache_init(struct sim_cache *cache, uint32_t n_blocks)
{
  uint32_t n_buckets = 1;
  memset(cache, 0, sizeof *cache);
  if (n_blocks == 0 || n_blocks > (uint32_t)1 << 30)
    return LLMD_E_INVALID;
  while (n_buckets < n_blocks * 2)
    n_buckets *= 2;
  cache->block = calloc(n_blocks, sizeof *cache->block);
  cache->bucket = malloc(n_buckets * sizeof *cache->bucket);
  if (!cache->block || !cache->bucket) {
    sim_cache_free(cache);
    return LLMD_E_NOMEM;
  }
  memset(cache->bucket, 0xff, n_buckets * sizeof *cache->bucket); /* SIM_NO_BLOCK */
  cache->mask = n_buckets - 1;
  cache->n_blocks = n_blocks;
  cache->head = cache->tail = SIM_NO_BLOCK;
  for (uint32_t i = 0; i < n_blocks; i++)
    append(cache, i);
  return 0;
}

void sim_cache_free(struct sim_cache *cache)
{
  free(cache->block);
  free(cache->bucket);
  memset(cache, 0, sizeof *cache);
}

static uint32_t *bucket_of(const struct sim_cache *cache, uint64_t name)
{
  return &cache->bucket[(uint32_t)sim_mix(name) & cache->mask];
}

uint32_t sim_cache_find(const struct sim_cache *cache, uint64_t name)
{
  uint32_t i = *bucket_of(cache, name);
  while (i != SIM_NO_BLOCK && cache->block[i].name != name)
    i = cache->block[i].same;
  return i;
}

static void forget(struct sim_cache *cache, uint32_t i)
{
  uint32_t *link = bucket_of(cache, cache->block[i].name);
  while (*link != i)
    link = &cache->block[*link].same;
  *link = cache->block[i].same;
  cache->block[i].named = 0;
  cache->evictions++;
}

uint32_t sim_cache_take(struct sim_cache *cache)
{
  uint32_t i = cache->head;
  if (i == SIM_NO_BLOCK)
    return i;
  detach(cache, i);
  if (cache->block[i].named)
    forget(cache, i);
  cache->block[i].refs = 1;
  return i;
}

void sim_cache_hold(struct sim_cache *cache, uint32_t block)
{
  if (cache->block[block].refs++ == 0)
    detach(cache, block);
}

void sim_cache_drop(struct sim_cache *cache, uint32_t block)
{
  if (--cache->block[block].refs == 0)
    append(cache, block);
}

void sim_cache_name(struct sim_cache *cache, uint32_t block, uint64_t name)
{
  uint32_t *link = bucket_of(cache, name);
  while (*link != SIM_NO_BLOCK) /* at the end: the first named one keeps being found */
    link = &cache->block[*link].same;
  *link = block;
  cache->block[block].name = name;
  cache->block[block].same = SIM_NO_BLOCK;
  cache->block[block].named = 1;
}

void sim_cache_clear(struct sim_cache *cache)
{
  memset(cache->bucket, 0xff, ((size_t)cache->mask + 1) * sizeof *cache->bucket);
  for (uint32_t i = 0; i < cache->n_blocks; i++)
    cache->block[i].named = 0;
}

uint32_t sim_cache_distinct(const struct sim_cache *cache)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < cache->n_blocks; i++)
    n += cache->block[i].named && sim_cache_find(cache, cache->block[i].name) == i;
  return n;
}
