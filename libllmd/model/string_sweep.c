/* Frees strings that nobody names any more.
 *
 *   mark: the rows of the staging copy, then those of each published buffer, pinned or not
 *   free: chain by chain; what is not marked is doubted, what was doubted by the sweep before goes
 *
 * Slices of it may be far apart. The order makes that right: what leaves the staging copy before its row is marked is
 * in a buffer if it was ever published, and buffers come after; what comes new into the staging copy comes through
 * llmd__string_add, which marks it. So at the end every string that a buffer names, or that may be copied to one, is
 * marked. */
#include <string.h>

#include "model/columns.h"
#include "model/strings.h"

#define IDLE 0u
#define MARK 1u
#define FREE 2u
#define GRACE_NS 10000000000u /* between sweeps while there is room: how long an unnamed string stays at least */
#define ROWS 256u             /* of a slice, with few columns */
#define BUCKETS 2048u
#define BARREN 16u            /* publishes after a sweep at once that found nothing */

/* ---- marking ---------------------------------------------------------------------------------------------------- */

static void mark(llmd_pool *p, uint32_t id)
{
  if (id && id <= p->books->units)
    llmd__bit_set(p->books->named, id - 1);
}

static void mark_labels(llmd_pool *p, const llmd__buffer_view *v, uint32_t i)
{
  uint32_t n = v->row[i].n_labels, most = p->g->caps.labels;
  const uint32_t *pair = v->label + (size_t)i * most * 2;
  for (uint32_t k = 0; k < 2 * (n < most ? n : most); k++)
    mark(p, pair[k]);
}

static void mark_columns(llmd_pool *p, const llmd__buffer_view *v, uint32_t i)
{
  const llmd__attribute *a = llmd__region_attributes(p->g);
  uint32_t n = atomic_load(&p->g->n_attributes);
  for (uint32_t k = 0; k < n; k++)
    if (a[k].type == LLMD_TYPE_ID && a[k].scope == LLMD_SCOPE_ENDPOINT)
      mark(p, llmd__column_id(v, p->g, k)[i]);
  for (uint32_t s = 0; s < LLMD__SETS; s++) {
    const uint32_t *set = llmd__column_set(v, p->g, s, i);
    for (uint32_t k = 1; k <= set[0] && k <= p->g->caps.models; k++)
      mark(p, set[k]);
  }
}

/* View 0 is the staging copy, then come the buffers. Marks at most n rows; returns the rows that are left over of n. */
static uint32_t mark_rows(llmd_pool *p, uint32_t n)
{
  llmd__books *b = p->books;
  llmd__buffer_view v;
  uint32_t rows;
  llmd__region_view(p->g, b->view ? b->view - 1 : LLMD__BUFFERS, &v);
  rows = v.head->n < p->g->caps.endpoints ? v.head->n : p->g->caps.endpoints;
  for (; n && b->row < rows; n--, b->row++) {
    if (!v.row[b->row].id)
      continue;
    mark(p, v.row[b->row].name);
    mark(p, v.row[b->row].address);
    mark_labels(p, &v, b->row);
    mark_columns(p, &v, b->row);
  }
  if (b->row < rows)
    return 0;
  b->row = 0;
  if (++b->view > LLMD__BUFFERS) {
    b->phase = FREE;
    b->bucket = 0;
    b->n_doubted = 0;
  }
  return n;
}

/* ---- freeing ---------------------------------------------------------------------------------------------------- */

/* One chain. Returns how many went. */
static uint64_t free_chain(llmd_pool *p, uint32_t bucket)
{
  llmd__books *b = p->books;
  uint32_t id = atomic_load_explicit(&llmd__string_table(p->g)[bucket], memory_order_relaxed), before = 0;
  uint64_t gone = 0;
  while (id) {
    uint32_t next = llmd__string_next(atomic_load_explicit(llmd__string_at(p->g, id), memory_order_relaxed));
    int named = llmd__bit(b->named, id - 1), doubted = llmd__bit(b->doubted, id - 1);
    llmd__bit_clear(b->doubted, id - 1);
    if (!named && doubted) {
      llmd__string_drop(p, bucket, before, id);
      gone++;
    } else {
      if (!named) {
        llmd__bit_set(b->doubted, id - 1);
        b->n_doubted++;
      }
      before = id;
    }
    id = next;
  }
  return gone;
}

static uint64_t free_slice(llmd_pool *p, uint32_t buckets)
{
  llmd__books *b = p->books;
  uint64_t gone = 0;
  for (; buckets && b->bucket < p->g->caps.string_slots; buckets--)
    gone += free_chain(p, b->bucket++);
  if (b->bucket == p->g->caps.string_slots)
    b->phase = IDLE;
  return gone;
}

/* ---- the sweep -------------------------------------------------------------------------------------------------- */

static void begin(llmd__books *b, uint64_t now)
{
  memset(b->named, 0, (size_t)b->words * sizeof *b->named);
  b->phase = MARK;
  b->view = b->row = 0;
  b->began = now;
  b->added = 0;
}

/* Nothing new and nothing in doubt: nothing to gain. A quarter of the room may lie there without being looked at. */
static int due(const llmd_pool *p, uint64_t now)
{
  const llmd__books *b = p->books;
  uint64_t used = atomic_load_explicit(&p->g->string_used, memory_order_relaxed), cap = p->g->caps.string_bytes;
  if ((!b->added && !b->n_doubted) || used < cap / 4)
    return 0;
  return used > cap / 4 * 3 || now - b->began >= GRACE_NS;
}

void llmd__strings_tick(llmd_pool *p, uint64_t now)
{
  llmd__books *b = p->books;
  uint32_t rows = 1 + ROWS * 16 / (16 + atomic_load(&p->g->n_attributes));
  if (b->phase == IDLE && due(p, now))
    begin(b, now);
  while (b->phase == MARK && rows)
    rows = mark_rows(p, rows);
  if (b->phase == FREE && rows)
    free_slice(p, BUCKETS);
}

/* To the end of the sweep that is on. */
static uint64_t finish(llmd_pool *p)
{
  while (p->books->phase == MARK)
    mark_rows(p, UINT32_MAX);
  return p->books->phase == FREE ? free_slice(p, UINT32_MAX) : 0;
}

uint64_t llmd__strings_make_room(llmd_pool *p)
{
  uint64_t gone = finish(p);
  for (uint32_t i = 0; i < 2; i++) {
    begin(p->books, p->books->began);
    gone += finish(p);
  }
  return gone;
}

int llmd__strings_rescue(llmd_pool *p)
{
  llmd__books *b = p->books;
  uint64_t generation = atomic_load(&p->g->generation);
  if (b->barren && generation + 1 - b->barren < BARREN)
    return 0;
  b->rescues++;
  b->barren = llmd__strings_make_room(p) ? 0 : generation + 1;
  return !b->barren;
}
