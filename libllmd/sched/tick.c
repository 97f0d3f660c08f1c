/* The writer's turn: posts, leases, endpoints that left, slices of sweeping. */
#include <string.h>

#include "model/health.h"
#include "model/ledger.h"
#include "model/strings.h"
#include "sched/state.h"

#define PERIOD_NS 10000000u        /* posts wait at most this long */
#define RECOUNT_NS 1000000000u
#define SWEEP_SLICE 1024u
#define INDEX_SLICE 4096u

static void forget_in(const llmd__index *ix, llmd_endpoint_id id)
{
  llmd__index_forget(ix, id);
}

static void sweep_in(const llmd__index *ix, llmd_endpoint_id id)
{
  (void)id;
  llmd__index_tick(ix, INDEX_SLICE);
}

/* Endpoints that left: no index counts them any more, then their slots may be used again. */
static void forget_gone(llmd_pool *p)
{
  uint32_t slot, from = 0;
  while (llmd__pool_next_forgotten(p, from, &slot)) {
    uint32_t generation = atomic_load(&llmd__region_totals(p->g)[slot].generation);
    llmd__state_each_index(p->g, forget_in, (uint64_t)generation << 32 | slot);
    llmd__pool_index_forget(p, (uint64_t)generation << 32 | slot);
    llmd__pool_forgotten(p, slot);
    from = slot + 1;
  }
}

int llmd_pool_tick(llmd_pool *pool, const llmd_now *now, uint64_t *next)
{
  if (!pool->writer)
    return LLMD_E_DENIED;
  llmd__state_take_over(pool);
  llmd__post_apply_all(pool, now->mono);
  forget_gone(pool);
  llmd__state_each_index(pool->g, sweep_in, 0);
  llmd__pool_index_tick(pool, now->mono);
  llmd__strings_tick(pool, now->mono);
  llmd__ledger_sweep(pool->g, &pool->sweep, SWEEP_SLICE, now->mono);
  if (now->mono - pool->recounted >= RECOUNT_NS) {
    llmd__ledger_recount(pool->g, pool->drift, pool->drift + (size_t)pool->g->caps.endpoints * 2);
    llmd__health_recount(pool->g, &pool->health_drift);
    llmd__pool_index_compare(pool);
    pool->recounted = now->mono;
  }
  if (next)
    *next = now->mono + PERIOD_NS;
  return 0;
}
