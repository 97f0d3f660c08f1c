/* Layout, birth and inspection of a prefix index. */
#include <stdalign.h>
#include <string.h>

#include "prefix/layout.h"

#define MAX_NODES 0x3fffffffu /* a cell's number still fits in 32 bits */
#define MIN_NODES 64u

/* Places of the parts, from the start of the memory. */
typedef struct plan {
  uint64_t tag, slot, work, line, node, bucket, chunk, set_bucket, total;
  uint32_t rows, nodes, buckets, lines, chunks;
} plan;

static uint64_t place(uint64_t *end, uint64_t n, size_t size)
{
  uint64_t at = (*end + 63) & ~(uint64_t)63;
  *end = at + n * size;
  return at;
}

/* Two thirds full at worst, when every pair is a block of its own. A chunk for four pairs is more than sets take unless
 * they are small and nearly all different; then the least recent pairs go earlier. */
static void lay_out(plan *p)
{
  uint64_t end = sizeof(llmd__index_head);
  p->lines = p->nodes / 2 + 2 * LLMD__MAX_HOPS;
  p->buckets = p->nodes * 2;
  p->chunks = p->nodes / 4 + 2 * (p->rows / 15 + 2);
  p->tag = place(&end, p->rows, sizeof(llmd__tag));
  p->slot = place(&end, p->rows, sizeof(llmd__index_slot));
  p->work = place(&end, p->rows, sizeof(uint32_t));
  p->line = place(&end, p->lines, sizeof(llmd__line));
  p->node = place(&end, p->nodes, sizeof(llmd__node));
  p->bucket = place(&end, p->buckets, sizeof(uint32_t));
  p->chunk = place(&end, p->chunks, sizeof(llmd__chunk));
  p->set_bucket = place(&end, p->chunks, sizeof(uint32_t));
  p->total = (end + 63) & ~(uint64_t)63;
}

/* As many nodes as the bytes hold. */
static int make_plan(uint64_t bytes, uint32_t rows, plan *p)
{
  const uint64_t each =
    sizeof(llmd__node) + 2 * sizeof(uint32_t) + sizeof(llmd__line) / 2 + sizeof(llmd__chunk) / 4 + 1;
  uint64_t n = bytes / each;
  p->rows = rows;
  p->nodes = n < MAX_NODES ? (uint32_t)n : MAX_NODES;
  for (;;) {
    uint64_t over;
    lay_out(p);
    if (p->total <= bytes && p->total <= SIZE_MAX)
      return 0;
    over = (p->total - bytes) / each + 1;
    if (over + MIN_NODES > p->nodes)
      return LLMD_E_LIMIT;
    p->nodes -= (uint32_t)over;
  }
}

static int options_of(const llmd__index_options *given, llmd__index_options *o, plan *p)
{
  *o = given ? *given : (llmd__index_options){0, 0, 0, 0};
  if (o->bytes == 0)
    o->bytes = 64u << 20;
  if (o->rows == 0)
    o->rows = 1024;
  if (o->capacity == 0)
    o->capacity = 31250;
  if (o->rows > LLMD__INDEX_MAX_ROWS)
    return LLMD_E_RANGE;
  return make_plan(o->bytes, o->rows, p);
}

size_t llmd__index_size(const llmd__index_options *options)
{
  llmd__index_options o;
  plan p;
  return options_of(options, &o, &p) ? 0 : (size_t)p.total;
}

static void view(llmd__index *ix, void *mem, const plan *p)
{
  char *base = mem;
  ix->head = (llmd__index_head *)mem;
  ix->slot = (llmd__index_slot *)(void *)(base + p->slot);
  ix->node = (llmd__node *)(void *)(base + p->node);
  ix->bucket = (uint32_t *)(void *)(base + p->bucket);
  ix->cells.line = (llmd__line *)(void *)(base + p->line);
  ix->cells.n = p->lines;
  ix->holders.chunk = (llmd__chunk *)(void *)(base + p->chunk);
  ix->holders.bucket = (uint32_t *)(void *)(base + p->set_bucket);
  ix->holders.work = (uint32_t *)(void *)(base + p->work);
  ix->holders.tag = (llmd__tag *)(void *)(base + p->tag);
  ix->holders.state = &ix->head->sets;
  ix->holders.n = p->chunks;
  ix->holders.rows = p->rows;
  ix->n_nodes = p->nodes;
  ix->n_buckets = p->buckets;
  ix->rows = p->rows;
}

/* Empties the tables; those of readers first. */
static void clear(const llmd__index *ix)
{
  llmd__cells_reset(&ix->cells);
  llmd__holders_clear(&ix->holders);
  for (uint32_t i = 0; i < ix->n_buckets; i++)
    if (ix->bucket[i])
      ix->bucket[i] = 0;
}

/* Empty tables make an empty index: the writer's lists, and figures. Tags, capacities and counters of the past stay. */
static void reset(const llmd__index *ix)
{
  llmd__index_head *h = ix->head;
  llmd__holders_reset(&ix->holders);
  for (uint32_t i = 0; i < ix->rows; i++) {
    ix->slot[i].list = (llmd__list){0, 0};
    ix->slot[i].n = 0;
  }
  h->fresh = h->free = 0;
  h->all = h->dead = (llmd__list){0, 0};
  atomic_store_explicit(&h->blocks, 0, memory_order_relaxed);
  atomic_store_explicit(&h->holders, 0, memory_order_relaxed);
  atomic_store_explicit(&h->dead_holders, 0, memory_order_relaxed);
  atomic_store_explicit(&h->n_sets, 0, memory_order_relaxed);
}

int llmd__index_format(void *mem, size_t size, const llmd__index_options *options)
{
  llmd__index_options o;
  llmd__index ix;
  plan p;
  int err = options_of(options, &o, &p);
  if (err)
    return err;
  if (!mem || (uintptr_t)mem % 64 || size < p.total)
    return LLMD_E_INVALID;
  view(&ix, mem, &p);
  memset(ix.head, 0, sizeof *ix.head);
  memset(ix.slot, 0, sizeof *ix.slot * p.rows);
  memset(ix.holders.tag, 0, sizeof *ix.holders.tag * p.rows);
  if (!o.zero)
    clear(&ix);
  reset(&ix);
  ix.head->bytes = o.bytes;
  ix.head->rows = o.rows;
  ix.head->capacity = o.capacity;
  ix.head->nodes = p.nodes;
  ix.head->magic = LLMD__INDEX_MAGIC;
  return 0;
}

int llmd__index_attach(llmd__index *ix, void *mem, size_t size)
{
  const llmd__index_head *h = mem;
  plan p;
  if (!mem || (uintptr_t)mem % 64 || size < sizeof *h)
    return LLMD_E_INVALID;
  p.rows = h->rows;
  p.nodes = h->nodes;
  if (h->magic != LLMD__INDEX_MAGIC || p.rows == 0 || p.rows > LLMD__INDEX_MAX_ROWS || p.nodes < MIN_NODES ||
      p.nodes > MAX_NODES)
    return LLMD_E_MISMATCH;
  lay_out(&p);
  if (p.total > size)
    return LLMD_E_MISMATCH;
  view(ix, mem, &p);
  return 0;
}

int llmd__index_takeover(const llmd__index *ix)
{
  llmd__index_head *h = ix->head;
  if (!atomic_load_explicit(&h->dirty, memory_order_acquire))
    return 0;
  clear(ix);
  reset(ix);
  atomic_fetch_add_explicit(&h->resets, 1, memory_order_relaxed);
  atomic_store_explicit(&h->dirty, 0, memory_order_release);
  return 1;
}

void llmd__index_stats_get(const llmd__index *ix, llmd__index_stats *out)
{
  const llmd__index_head *h = ix->head;
  out->bytes = h->bytes;
  out->max_holders = ix->n_nodes;
  out->blocks = atomic_load_explicit(&h->blocks, memory_order_relaxed);
  out->holders = atomic_load_explicit(&h->holders, memory_order_relaxed);
  out->dead = atomic_load_explicit(&h->dead_holders, memory_order_relaxed);
  out->sets = atomic_load_explicit(&h->n_sets, memory_order_relaxed);
  out->evicted_own = atomic_load_explicit(&h->evicted_own, memory_order_relaxed);
  out->evicted_all = atomic_load_explicit(&h->evicted_all, memory_order_relaxed);
  out->dropped = atomic_load_explicit(&h->dropped, memory_order_relaxed);
  out->resets = atomic_load_explicit(&h->resets, memory_order_relaxed);
}
