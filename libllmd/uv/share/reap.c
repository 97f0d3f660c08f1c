/* Who is dead, and what they held. The kernel's word alone counts (share/host.h), never time. */
#include "uv/log.h"
#include "uv/share/inner.h"

static uint64_t bare(uint64_t entry)
{
  return entry & ~LLMD__OWNER_LEFT;
}

/* What `entry` held goes back. Its number is not given again, so nobody alive is meant, whoever has the slot now. */
static int bury(llmd_share *s, uint32_t slot, uint64_t entry)
{
  uint32_t pid = atomic_load(&s->host->pid[slot]);
  int lanes = llmd_pool_reclaim(s->pool, bare(entry));
  if (entry & LLMD__OWNER_LEFT)
    return 0;
  llmd__log(s->log, s->log_ud, LLMD_LOG_WARN, "share",
            "process %u died; its %d lanes and what it had in flight are free", pid, lanes > 0 ? lanes : 0);
  return 1;
}

static int reap_slots(llmd_share *s)
{
  int n = 0;
  for (uint32_t i = 0; i < LLMD__HOST_SLOTS; i++) {
    uint64_t entry = atomic_load(&s->host->owner[i]);
    if (!entry || i == s->slot || llmd__lock_held(s->fd, LLMD__LOCK_SLOT + i))
      continue;
    n += bury(s, i, entry);
    atomic_compare_exchange_strong(&s->host->owner[i], &entry, 0); /* unless the slot has a new owner already */
  }
  return n;
}

/* A lane's owner whose slot went to somebody else before it was reaped. Numbers that were never given are of hosts that
 * came in by another way: not ours to judge. */
static int is_replaced(const llmd_share *s, uint64_t owner)
{
  return owner && owner / LLMD__HOST_SLOTS && owner / LLMD__HOST_SLOTS <= atomic_load(&s->host->given) &&
         bare(atomic_load(&s->host->owner[owner % LLMD__HOST_SLOTS])) != owner;
}

static int reap_lanes(llmd_share *s)
{
  llmd_region_lane lane = {.size = sizeof lane};
  int n = 0;
  for (uint32_t i = 0; !llmd_region_lane_at(s->mem, s->len, i, &lane); i++) {
    if (!is_replaced(s, lane.owner) || llmd_pool_reclaim(s->pool, lane.owner) < 0)
      continue;
    llmd__log(s->log, s->log_ud, LLMD_LOG_WARN, "share",
              "a process died whose slot is in use again; its lanes are free");
    n++;
  }
  return n;
}

int llmd_share_reap(llmd_share *share)
{
  int n;
  if (!share->writer)
    return LLMD_E_DENIED;
  n = reap_slots(share);
  return n + reap_lanes(share);
}
