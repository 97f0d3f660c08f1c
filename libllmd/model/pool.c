/* Opening and closing a pool; lane slots; pinning snapshots. Endpoints: endpoints.c. Columns: columns.c. */
#include "model/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/columns.h"
#include "model/ledger.h"
#include "model/strings.h"

#define REGION_ALIGN 64u
#define LONGEST_NS (UINT64_MAX / 4) /* added to any time of a clock it does not overflow */

void llmd__pool_log(const llmd_pool *p, int level, const char *component, const char *fmt, ...)
{
  char line[512];
  va_list ap;
  int n;
  if (!p->log)
    return;
  va_start(ap, fmt);
  n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (n < 0)
    return;
  p->log(p->log_ud, level, component, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* A heap block with a formatted region in it. */
static int make_region(llmd_pool *p, const llmd_region_options *o)
{
  size_t len = llmd_region_size(o);
  uintptr_t at;
  p->block_len = len + REGION_ALIGN;
  p->block = p->alloc.fn(p->alloc.ud, NULL, 0, p->block_len);
  if (!p->block)
    return LLMD_E_NOMEM;
  at = ((uintptr_t)p->block + REGION_ALIGN - 1) & ~(uintptr_t)(REGION_ALIGN - 1);
  p->g = (llmd__region *)at;
  return llmd_region_format(p->g, len, o);
}

static int find_region(llmd_pool *p, const llmd_pool_options *o, llmd_err *err)
{
  int rc;
  if (o->mem) {
    rc = llmd_region_check(o->mem, o->mem_len, err);
    p->g = o->mem;
    return rc;
  }
  rc = make_region(p, o->region);
  return rc ? llmd__fail(err, rc, 0, 0, NULL, "the region cannot be made: %s", llmd_strerror(rc)) : 0;
}

/* What a writer keeps in its own memory, and what its predecessor left half done. */
static int make_books(llmd_pool *p)
{
  int rc = llmd__strings_open(p);
  if (!rc)
    rc = llmd__attributes_init(p);
  p->drift = llmd__calloc(&p->alloc, (size_t)p->g->caps.endpoints * 4, sizeof *p->drift);
  if (!rc)
    llmd__staging_repair(p);
  return rc ? rc : p->drift ? 0 : LLMD_E_NOMEM;
}

static int become_writer(llmd_pool *p, uint32_t flags, llmd_err *err)
{
  uint64_t nobody = 0;
  if (!(flags & LLMD_POOL_WRITER))
    return 0;
  p->writer_tag = (uint64_t)(uintptr_t)p | 1; /* differs from any other live handle of this process */
  if (flags & LLMD_POOL_TAKEOVER) {
    if (atomic_exchange(&p->g->writer, p->writer_tag))
      llmd__pool_log(p, LLMD_LOG_WARN, "pool", "takes over a region whose writer left without closing it");
    llmd__region_state_reclaim(p->g, atomic_load(&p->g->writer_owner), p->owner);
  } else if (!atomic_compare_exchange_strong(&p->g->writer, &nobody, p->writer_tag)) {
    return llmd__fail(err, LLMD_E_BUSY, 0, 0, NULL, "the region has a writer already");
  }
  p->writer = 1;
  atomic_store(&p->g->writer_owner, p->owner);
  return make_books(p);
}

/* A span of time as the host gave it; UINT64_MAX means "for ever". */
static uint64_t span(uint64_t given, uint64_t preset)
{
  uint64_t ns = given ? given : preset;
  return ns < LONGEST_NS ? ns : LONGEST_NS;
}

static int open_parts(llmd_pool *p, const llmd_pool_options *o, llmd_err *err)
{
  int rc = find_region(p, o, err);
  if (!rc)
    rc = become_writer(p, o->mem ? o->flags : o->flags | LLMD_POOL_WRITER, err);
  if (!rc)
    rc = llmd__tables_init(p);
  if (rc == LLMD_E_NOMEM)
    llmd__fail(err, rc, 0, 0, NULL, "out of memory");
  return rc;
}

int llmd_pool_open(const llmd_pool_options *options, llmd_pool **out, llmd_err *err)
{
  llmd_pool_options o;
  llmd_allocator alloc;
  llmd_pool *p;
  int rc;
  memset(&o, 0, sizeof o);
  if (options)
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  llmd__alloc_init(&alloc, o.alloc);
  p = llmd__calloc(&alloc, 1, sizeof *p);
  if (!p)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  p->alloc = alloc;
  p->log = o.log;
  p->log_ud = o.log_ud;
  p->stale_ns = span(o.stale_ns, 2000000000u);
  p->lease_ns = span(o.lease_ns, 300000000000u);
  p->owner = o.owner ? o.owner : (uint64_t)(uintptr_t)p | 1;
  rc = open_parts(p, &o, err);
  if (rc) {
    llmd_pool_close(p);
    return rc;
  }
  *out = p;
  return 0;
}

void llmd_pool_close(llmd_pool *pool)
{
  if (!pool)
    return;
  if (atomic_load(&pool->index))
    atomic_load(&pool->index_close)(atomic_load(&pool->index));
  if (pool->writer) {
    uint64_t tag = pool->writer_tag;
    atomic_compare_exchange_strong(&pool->g->writer, &tag, 0);
  }
  llmd__tables_free(pool);
  llmd__strings_close(pool);
  if (pool->drift)
    llmd__free(&pool->alloc, pool->drift, (size_t)pool->g->caps.endpoints * 4 * sizeof *pool->drift);
  llmd__free(&pool->alloc, pool->block, pool->block_len);
  llmd__free(&pool->alloc, pool, sizeof *pool);
}

int llmd_pool_forked(llmd_pool *pool, uint64_t owner, uint32_t flags)
{
  if (!pool || !owner || (flags & ~LLMD_POOL_WRITER) || (flags && !pool->writer))
    return LLMD_E_INVALID;
  pool->owner = owner;
  pool->writer = flags != 0;
  return 0;
}

int llmd_pool_reclaim(llmd_pool *pool, uint64_t owner)
{
  llmd__lane_slot *slots = llmd__region_lanes(pool->g);
  int n = 0;
  if (!owner || owner == pool->owner)
    return LLMD_E_INVALID;
  if (!pool->writer)
    return LLMD_E_DENIED;
  llmd__ledger_reclaim(pool->g, owner);
  llmd__region_state_reclaim(pool->g, owner, pool->owner);
  for (uint32_t i = 0; i < pool->g->caps.lanes; i++) { /* last: by them the owner is found, should this writer die here */
    if (atomic_load(&slots[i].owner) != owner)
      continue;
    atomic_store(&slots[i].pin, 0);
    atomic_store(&slots[i].owner, 0);
    n++;
  }
  return n;
}

static int take_slot(const llmd_pool *p, uint32_t first, uint32_t end, uint32_t *lane)
{
  llmd__lane_slot *slots = llmd__region_lanes(p->g);
  for (uint32_t i = first; i < end; i++) {
    uint64_t nobody = 0;
    if (!atomic_compare_exchange_strong(&slots[i].owner, &nobody, p->owner))
      continue;
    atomic_store(&slots[i].pin, 0);
    *lane = i;
    return 0;
  }
  return LLMD_E_FULL;
}

int llmd__pool_lane_take(const llmd_pool *p, uint32_t *lane)
{
  return take_slot(p, 0, p->g->caps.lanes - LLMD__SPARE_LANES, lane);
}

int llmd__pool_lane_pins(const llmd_pool *p, uint32_t lane)
{
  const llmd__lane_slot *slot = &llmd__region_lanes(p->g)[lane];
  return atomic_load(&slot->pin) && atomic_load(&slot->owner) == p->owner;
}

void llmd__pool_lane_leave(const llmd_pool *p, uint32_t lane)
{
  llmd__lane_slot *slot = &llmd__region_lanes(p->g)[lane];
  atomic_store(&slot->pin, 0);
  atomic_store(&slot->owner, 0);
}

/* The pin is stored before `current` is read again: a writer that reuses the buffer either sees the pin, or has already
 * moved `current`, which this lane then sees. */
int llmd__pool_pin(const llmd_pool *p, uint32_t lane, llmd__snapshot *out)
{
  llmd__lane_slot *slot = &llmd__region_lanes(p->g)[lane];
  uint32_t at = atomic_load(&p->g->current);
  for (;;) {
    uint32_t again;
    if (!at)
      return LLMD_E_NONE;
    atomic_store(&slot->pin, at);
    again = atomic_load(&p->g->current);
    if (again == at)
      break;
    at = again;
  }
  llmd__region_view(p->g, at - 1, &out->view);
  out->generation = out->view.head->generation;
  out->shape = out->view.head->shape;
  out->n = out->view.head->n;
  return 0;
}

void llmd__pool_unpin(const llmd_pool *p, uint32_t lane)
{
  atomic_store_explicit(&llmd__region_lanes(p->g)[lane].pin, 0, memory_order_release);
}

int llmd__pool_glance(const llmd_pool *p, uint32_t *lane, llmd__snapshot *out)
{
  int rc;
  if (!atomic_load(&p->g->current))
    return LLMD_E_NONE;
  if (take_slot(p, p->g->caps.lanes - LLMD__SPARE_LANES, p->g->caps.lanes, lane) && llmd__pool_lane_take(p, lane))
    return LLMD_E_BUSY;
  rc = llmd__pool_pin(p, *lane, out);
  if (rc)
    llmd__pool_lane_leave(p, *lane);
  return rc;
}

void llmd__pool_glance_end(const llmd_pool *p, uint32_t lane)
{
  llmd__pool_unpin(p, lane);
  llmd__pool_lane_leave(p, lane);
}
