/* Changes of plugin state. The writer's lane applies them at once. Any other lane puts them into its ring in the
 * region, and the writer applies them at its tick: one writer, so no lock.
 *
 *   ring: ... │ frame │ frame │ free ...     frame = {bytes, op, state_off} head tail, padded to 16
 *             tail (writer)   head (lane)
 *
 * A frame never wraps: what does not fit before the end of the ring starts again at its beginning. */
#include <string.h>

#include "model/table.h"
#include "sched/state.h"

typedef struct frame {
  uint32_t bytes; /* of the whole frame; op 0 = filler up to the end of the ring */
  uint32_t op;
  uint64_t state_off;
} frame;

static char *ring_of(const llmd__region *g, uint32_t lane)
{
  return (char *)llmd__at(g, g->ring_off) + (size_t)lane * g->caps.ring_bytes;
}

/* ---- applying --------------------------------------------------------------------------------------------------- */

static void apply_prefix(llmd__region *g, uint32_t op, uint64_t off, const llmd__post_store *head, const llmd_key *keys)
{
  llmd__index ix;
  if (llmd__index_attach(&ix, llmd__at(g, off), (size_t)head->bytes))
    return;
  if (op == LLMD__POST_FORGET) {
    llmd__index_forget(&ix, head->endpoint);
    return;
  }
  if (head->capacity)
    llmd__index_set_capacity(&ix, head->endpoint, head->capacity);
  llmd__index_store(&ix, head->endpoint, keys, head->n);
}

static void apply_expect(llmd_pool *p, const void *head, const void *tail, uint64_t now)
{
  llmd__post_expect h;
  llmd_index *index;
  memcpy(&h, head, sizeof h);
  if (h.until > now && !llmd_pool_index(p, &index))
    llmd_index_expect(index, h.endpoint, tail, (uint32_t)h.n, h.until);
}

static void apply_one(llmd_pool *p, uint32_t op, uint64_t off, const void *head, const void *tail, uint64_t now)
{
  llmd__region *g = p->g;
  if (op == LLMD__POST_EXPECT) {
    apply_expect(p, head, tail, now);
    return;
  }
  if (op == LLMD__POST_STORE || op == LLMD__POST_FORGET) {
    llmd__post_store h;
    memcpy(&h, head, sizeof h);
    apply_prefix(g, op, off, &h, tail);
  } else {
    llmd__post_put h;
    memcpy(&h, head, sizeof h);
    if (op == LLMD__POST_PUT)
      llmd__table_put(llmd__at(g, off), h.key.lo, h.key.hi, h.value, now, h.ttl);
    else if (op == LLMD__POST_DEL)
      llmd__table_del(llmd__at(g, off), h.key.lo, h.key.hi);
  }
}

static size_t head_bytes(uint32_t op)
{
  if (op == LLMD__POST_EXPECT)
    return sizeof(llmd__post_expect);
  return op == LLMD__POST_STORE || op == LLMD__POST_FORGET ? sizeof(llmd__post_store) : sizeof(llmd__post_put);
}

/* A frame written by another process: its numbers are believed only within the ring and the state room. */
static int sane(const llmd__region *g, const frame *f, const void *body, size_t left)
{
  size_t need;
  if (left < sizeof *f || f->bytes < sizeof *f || f->bytes > left || (f->bytes & 15))
    return 0;
  if (!f->op)
    return 1;
  need = sizeof *f + head_bytes(f->op);
  if (f->op > LLMD__POST_EXPECT || f->bytes < need)
    return 0;
  if (f->op == LLMD__POST_EXPECT) {
    llmd__post_expect h;
    memcpy(&h, body, sizeof h);
    return h.n <= (f->bytes - need) / sizeof(llmd_key);
  }
  if (f->state_off < g->state_off || f->state_off >= g->bytes)
    return 0;
  if (f->op == LLMD__POST_STORE) {
    llmd__post_store h;
    memcpy(&h, body, sizeof h);
    return h.n <= (f->bytes - need) / sizeof(llmd_key) && h.bytes <= g->bytes - f->state_off;
  }
  return 1;
}

static uint32_t apply_ring(llmd_pool *p, uint32_t lane, uint64_t now)
{
  llmd__region *g = p->g;
  llmd__lane_slot *slot = &llmd__region_lanes(g)[lane];
  uint64_t head = atomic_load_explicit(&slot->head, memory_order_acquire);
  uint64_t tail = atomic_load_explicit(&slot->tail, memory_order_relaxed);
  uint32_t cap = g->caps.ring_bytes, n = 0;
  while (tail < head) {
    uint32_t at = (uint32_t)(tail % cap);
    const frame *f = (const frame *)(void *)(ring_of(g, lane) + at);
    if (!sane(g, f, f + 1, cap - at)) {
      tail = head; /* a frame that cannot be: drop what is there */
      atomic_fetch_add_explicit(&g->posts_dropped, 1, memory_order_relaxed);
      break;
    }
    if (f->op) {
      const char *body = (const char *)(f + 1);
      apply_one(p, f->op, f->state_off, body, body + head_bytes(f->op), now);
      n++;
    }
    tail += f->bytes;
  }
  atomic_store_explicit(&slot->tail, tail, memory_order_release);
  return n;
}

uint64_t llmd__post_fault(const llmd__region *g, uint32_t lane)
{
  const llmd__lane_slot *slot = &llmd__region_lanes(g)[lane];
  uint64_t tail = atomic_load_explicit(&slot->tail, memory_order_acquire);
  uint64_t head = atomic_load_explicit(&slot->head, memory_order_acquire);
  uint32_t cap = g->caps.ring_bytes;
  while (tail < head) {
    uint32_t at = (uint32_t)(tail % cap);
    frame f;
    if (at % 16 || head - tail > cap)
      return g->ring_off + (uint64_t)lane * cap + at;
    memcpy(&f, ring_of(g, lane) + at, sizeof f);
    if (!sane(g, &f, ring_of(g, lane) + at + sizeof f, cap - at))
      return g->ring_off + (uint64_t)lane * cap + at;
    tail += f.bytes;
  }
  return 0;
}

uint32_t llmd__post_apply_all(llmd_pool *p, uint64_t now)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < p->g->caps.lanes; i++)
    n += apply_ring(p, i, now);
  return n;
}

/* ---- posting
 * -------------------------------------------------------------------------------------------------------------------
 */

/* Where a frame of `bytes` goes, *head moved past a filler if one is needed; NULL = the ring is full. */
static frame *place(const llmd__region *g, uint32_t lane, uint64_t tail, uint64_t *head, uint32_t bytes)
{
  uint32_t cap = g->caps.ring_bytes;
  uint32_t at = (uint32_t)(*head % cap);
  if (at + bytes > cap) {
    frame *filler = (frame *)(void *)(ring_of(g, lane) + at);
    if (*head + (cap - at) + bytes - tail > cap)
      return NULL;
    filler->bytes = cap - at; /* frames and ring are multiples of 16, a frame's head takes 16: there is room */
    filler->op = 0;
    *head += cap - at;
    at = 0;
  }
  return *head + bytes - tail > cap ? NULL : (frame *)(void *)(ring_of(g, lane) + at);
}

int llmd__post(llmd_lane *l, uint32_t op, uint64_t state_off, const void *head, size_t head_len, const void *tail,
               size_t tail_len)
{
  llmd__region *g = l->pool->g;
  llmd__lane_slot *slot = &llmd__region_lanes(g)[l->slot];
  uint32_t bytes = (uint32_t)((sizeof(frame) + head_len + tail_len + 15u) & ~(size_t)15u);
  uint64_t at, done;
  frame *f;
  if (l->flags & LLMD_LANE_WRITER) {
    apply_one(l->pool, op, state_off, head, tail, l->now->mono);
    return 0;
  }
  at = atomic_load_explicit(&slot->head, memory_order_relaxed);
  done = atomic_load_explicit(&slot->tail, memory_order_acquire);
  f = place(g, l->slot, done, &at, bytes);
  if (!f) {
    atomic_fetch_add_explicit(&g->posts_dropped, 1, memory_order_relaxed);
    return LLMD_E_FULL;
  }
  f->bytes = bytes;
  f->op = op;
  f->state_off = state_off;
  memcpy(f + 1, head, head_len);
  if (tail_len)
    memcpy((char *)(f + 1) + head_len, tail, tail_len);
  atomic_store_explicit(&slot->head, at + bytes, memory_order_release);
  return 0;
}

void llmd__post_pending(const llmd_lane *l, uint64_t state_off, llmd__post_fn fn, void *ud)
{
  const llmd__region *g = l->pool->g;
  const llmd__lane_slot *slot = &llmd__region_lanes(g)[l->slot];
  uint64_t head = atomic_load_explicit(&slot->head, memory_order_relaxed); /* the lane's own */
  uint64_t tail = atomic_load_explicit(&slot->tail, memory_order_acquire);
  uint32_t cap = g->caps.ring_bytes;
  while (tail < head) {
    uint32_t at = (uint32_t)(tail % cap);
    const frame *f = (const frame *)(void *)(ring_of(g, l->slot) + at);
    const char *body = (const char *)(f + 1);
    if (!sane(g, f, f + 1, cap - at))
      return;
    if (f->op && f->state_off == state_off)
      fn(ud, f->op, body, (const llmd_key *)(const void *)(body + head_bytes(f->op)));
    tail += f->bytes;
  }
}
