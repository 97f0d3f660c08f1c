#include "sim_tier.h"

#include "sim_publisher.h"

uint32_t sim_tier_take(struct sim_cache *cache, struct sim_publisher *publisher, int cpu)
{
  uint64_t evictions = cache->evictions;
  uint32_t block = sim_cache_take(cache);
  if (publisher && cache->evictions != evictions)
    sim_publisher_removed(publisher, cache->block[block].name, cpu);
  return block;
}

void sim_tier_keep(struct sim_cache *cpu, struct sim_publisher *publisher, uint64_t name)
{
  uint32_t block = sim_cache_find(cpu, name);
  if (block != SIM_NO_BLOCK) {
    sim_cache_hold(cpu, block);
    sim_cache_drop(cpu, block);
    return;
  }
  block = sim_tier_take(cpu, publisher, 1);
  sim_cache_name(cpu, block, name);
  sim_cache_drop(cpu, block);
  if (publisher)
    sim_publisher_offloaded(publisher, name);
}
