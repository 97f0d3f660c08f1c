/* The pool's exact index: made at first need in the region, one for all; fed by whoever has it from llmd_pool_index,
 * and kept right by the writer's tick.
 *
 * The pool's handle holds the index's handle, but knows nothing of it: the room with the index is a neighbour of the
 * pool's. So this room, which sees both, opens it, and leaves word how to close it. */
#include <llmd/prefix.h>

#include <string.h>

#include "model/columns.h"
#include "model/strings.h"
#include "sched/state.h"

#define NAME "prefix/exact"

static void index_options(const llmd__region *g, llmd_index_options *o)
{
  memset(o, 0, sizeof *o);
  o->size = sizeof *o;
  o->rows = g->caps.endpoints;
  o->bytes = g->caps.index_bytes;
  o->secret = g->secret;
}

static int format(void *mem, size_t bytes, void *ud)
{
  return llmd_index_format(mem, bytes, ud);
}

/* Finds the index in the region, or makes it. */
static int place(llmd_pool *p, uint64_t *off, uint64_t *bytes)
{
  llmd_index_options o;
  index_options(p->g, &o);
  size_t need = llmd_index_size(&o);
  if (!need)
    return LLMD_E_RANGE;
  return llmd__region_state(p->g, p->owner, NAME, LLMD__STATE_INDEX, need, format, &o, off, bytes);
}

/* Two threads may be here at once: the later one's handle is closed again. */
static int open_index(llmd_pool *p, uint64_t off, uint64_t bytes, llmd_index **out)
{
  llmd_index *mine = NULL, *first = NULL;
  int rc = llmd_index_open(llmd__at(p->g, off), (size_t)bytes, &p->alloc, &mine, NULL);
  if (!rc && p->writer)
    rc = llmd_index_takeover(mine); /* before its first write */
  if (rc < 0) {
    llmd_index_close(mine);
    return rc;
  }
  if (rc == 1)
    llmd__pool_log(p, LLMD_LOG_WARN, "index", "its last writer died at work: its books were made again");
  atomic_store(&p->index_close, llmd_index_close);
  if (!atomic_compare_exchange_strong(&p->index, &first, mine)) {
    llmd_index_close(mine);
    mine = first;
  }
  *out = mine;
  return 0;
}

int llmd_pool_index(llmd_pool *pool, llmd_index **out)
{
  llmd_index *have;
  uint64_t off, bytes;
  int rc;
  if (!pool || !out)
    return LLMD_E_INVALID;
  have = atomic_load(&pool->index);
  if (have) {
    *out = have;
    return 0;
  }
  rc = place(pool, &off, &bytes);
  return rc ? rc : open_index(pool, off, bytes, out);
}

/* The index if somebody has made it: a process that only decides, or the writer's predecessor. */
static llmd_index *made(llmd_pool *p)
{
  llmd_index *x = atomic_load(&p->index);
  const llmd__state *s;
  for (uint32_t i = 0; !x && (s = llmd__region_state_at(p->g, i)) != NULL; i++)
    if (s->kind == LLMD__STATE_INDEX && !strcmp(s->name, NAME) && open_index(p, s->off, s->bytes, &x)) {
      llmd__pool_log(p, LLMD_LOG_ERROR, "index", "the region's exact index cannot be used");
      return NULL;
    }
  return x;
}

void llmd__pool_index_forget(llmd_pool *p, llmd_endpoint_id id)
{
  llmd_index *x = made(p);
  if (x)
    llmd_index_clear(x, id);
}

void llmd__pool_index_tick(llmd_pool *p, uint64_t mono)
{
  llmd_index *x = made(p);
  if (x)
    llmd_index_tick(x, mono, 0);
}

/* ---- block sizes ------------------------------------------------------------------------------------------------- */

int llmd__pool_sizes_differ(double told, const llmd_index_row *known)
{
  return known->block_tokens && told >= 1 && told != known->block_tokens; /* NaN: its metrics do not tell */
}

/* How many endpoints' metrics tell another size than the index has; *first: the first of them, as it was compared. */
static uint32_t count_mismatched(const llmd_pool *p, const llmd_index *x, const llmd__buffer_view *staged,
                                 uint32_t *first, uint32_t *tokens)
{
  const double *told = llmd__column_f64(staged, p->g, LLMD_ATTR_BLOCK_SIZE);
  uint32_t n = 0;
  for (uint32_t slot = 0; slot < p->g->caps.endpoints; slot++) {
    llmd_index_row r = {.size = sizeof r};
    if (!staged->row[slot].id || llmd_index_row_of(x, staged->row[slot].id, &r) ||
        !llmd__pool_sizes_differ(told[slot], &r) || n++)
      continue;
    *first = slot;
    *tokens = r.block_tokens;
  }
  return n;
}

void llmd__pool_index_compare(llmd_pool *p)
{
  const llmd_index *x = made(p);
  llmd__buffer_view v;
  uint32_t first = 0, tokens = 0, n;
  llmd_str name;
  if (!x)
    return;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  n = count_mismatched(p, x, &v, &first, &tokens);
  if (n > p->mismatched) {
    name = llmd__string_text(p->g, v.row[first].name);
    llmd__pool_log(p, LLMD_LOG_WARN, "index",
                   "%.*s: blocks of %u tokens by its metrics, of %u by its events or configuration; endpoints so: %u",
                   (int)name.len, name.ptr ? name.ptr : "",
                   (uint32_t)llmd__column_f64(&v, p->g, LLMD_ATTR_BLOCK_SIZE)[first], tokens, n);
  }
  p->mismatched = n;
}
