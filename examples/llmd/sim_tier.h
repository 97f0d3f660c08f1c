/* sim_tier.h: caches whose changes somebody may want to hear of; the lower one, in CPU memory, is used by nobody
 * directly: all of its blocks are always on its list. */
#ifndef SIM_TIER_H
#define SIM_TIER_H

#include "sim_cache.h"

struct sim_publisher;

/* sim_cache_take; whoever listens (publisher may be NULL) hears of the end of the block that was there. */
uint32_t sim_tier_take(struct sim_cache *cache, struct sim_publisher *publisher, int cpu);
/* The lower tier has this block from now on, and it is its newest. */
void sim_tier_keep(struct sim_cache *cpu, struct sim_publisher *publisher, uint64_t name);

#endif
