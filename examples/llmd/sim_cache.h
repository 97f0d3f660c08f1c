/* sim_cache.h: the block cache of one vLLM engine.
 *
 *   used (refs > 0)  --drop, refs reaches 0-->  tail of the LRU list
 *   LRU list:  head [oldest] <-> ... <-> [newest] tail
 *   take:  the head is evicted (its name forgotten) and handed out
 *   hold:  a named block on the list comes back into use, content and all
 *
 * A block without use keeps its name (the 64-bit id of its content and of everything before it) until it is taken, so
 * a later request can find it. As in vLLM two blocks may carry the same name, computed side by side; the first named
 * one is found first. Callers drop the blocks of a request in reverse order, so that suffixes are evicted first. */
#ifndef SIM_CACHE_H
#define SIM_CACHE_H

#include <stdint.h>

#define SIM_NO_BLOCK UINT32_MAX

struct sim_block {
  uint64_t name; /* meaningful while named */
  uint32_t refs;
  uint32_t readers; /* decoding rows that read it: the engine's count, see sim_engine.c */
  uint32_t prev;    /* LRU list, while refs == 0 */
  uint32_t next;
  uint32_t same; /* next in the hash bucket, while named */
  uint32_t named;
};

struct sim_cache {
  struct sim_block *block;
  uint32_t *bucket;
  uint32_t mask;
  uint32_t n_blocks;
  uint32_t n_free; /* length of the LRU list */
  uint32_t head;
  uint32_t tail;
  uint64_t evictions; /* named blocks taken */
};

/* All blocks start on the list, unnamed. Returns 0, LLMD_E_INVALID (n_blocks is 0 or above 2^30) or LLMD_E_NOMEM. */
int sim_cache_init(struct sim_cache *cache, uint32_t n_blocks);
void sim_cache_free(struct sim_cache *cache); /* a zeroed cache may be freed */

/* The block that carries the name, or SIM_NO_BLOCK. */
uint32_t sim_cache_find(const struct sim_cache *cache, uint64_t name);
/* Evicts and returns the oldest block, refs 1, unnamed; SIM_NO_BLOCK when all are in use. */
uint32_t sim_cache_take(struct sim_cache *cache);
void sim_cache_hold(struct sim_cache *cache, uint32_t block);
void sim_cache_drop(struct sim_cache *cache, uint32_t block);
/* Forgets all names; nothing may be in use. */
void sim_cache_clear(struct sim_cache *cache);
/* How many different names there are. */
uint32_t sim_cache_distinct(const struct sim_cache *cache);
void sim_cache_name(struct sim_cache *cache, uint32_t block, uint64_t name);

#endif
