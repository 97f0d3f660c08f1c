/* A region looked over from its head to its plugin state. What is where the rooms below know: model/inspect.c. */
#include "model/inspect.h"

#include <llmd/prefix.h>

#include <string.h>

#include "base/alloc.h"
#include "model/table.h"
#include "model/token_cache.h"
#include "sched/policy.h"
#include "sched/state.h"

static void inspect_head(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  uint64_t used = atomic_load(&g->state_used);
  uint32_t slot = atomic_load(&g->relabelled);
  if (used > g->caps.state_bytes || used % 64)
    llmd__fault(in, &g->state_used, "head", "%llu bytes of state are taken, there are %llu", (unsigned long long)used,
                (unsigned long long)g->caps.state_bytes);
  if (slot > g->caps.endpoints)
    llmd__fault(in, &g->relabelled, "head", "slot %u was being relabelled", slot);
}

static void inspect_lanes(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  for (uint32_t i = 0; i < g->caps.lanes && !in->enough; i++) {
    const llmd__lane_slot *slot = &llmd__region_lanes(g)[i];
    uint64_t tail = atomic_load(&slot->tail), head = atomic_load(&slot->head), at;
    uint32_t pin = atomic_load(&slot->pin);
    if (pin > LLMD__BUFFERS)
      llmd__fault(in, &slot->pin, "lanes", "lane %u pins buffer %u", i, pin);
    if (pin && !atomic_load(&slot->owner))
      llmd__fault(in, &slot->pin, "lanes", "lane %u is free and pins buffer %u", i, pin);
    if (tail > head || head - tail > g->caps.ring_bytes)
      llmd__fault(in, &slot->head, "lanes", "lane %u has posted %llu bytes, of which %llu are applied", i,
                  (unsigned long long)head, (unsigned long long)tail);
    else if ((at = llmd__post_fault(g, i)) != 0)
      llmd__fault(in, llmd__at(g, at), "rings", "lane %u: a post that cannot be", i);
  }
}

/* ---- plugin state ----------------------------------------------------------------------------------------------- */

typedef struct span {
  uint64_t off, bytes;
} span;

/* A piece of the room that belongs to somebody. */
static void add_span(llmd__inspector *in, span *all, uint32_t *n, uint64_t off, uint64_t bytes, const void *where)
{
  const llmd__region *g = in->g;
  uint64_t room = llmd__region_state_room(g), end = room + g->caps.state_bytes;
  if (off < room || off > end || bytes > end - off) {
    llmd__fault(in, where, "state", "%llu bytes at %llu lie outside", (unsigned long long)bytes,
                (unsigned long long)off);
    return;
  }
  for (uint32_t i = 0; i < *n; i++)
    if (off < all[i].off + all[i].bytes && all[i].off < off + bytes)
      llmd__fault(in, where, "state", "%llu bytes at %llu belong to two", (unsigned long long)bytes,
                  (unsigned long long)off);
  all[*n].off = off;
  all[(*n)++].bytes = bytes;
}

/* Can the exact index be opened? What is in it, it checks itself as it goes. */
static int is_index(llmd__inspector *in, const llmd__state *s)
{
  llmd_index *x = NULL;
  int rc = llmd_index_open(llmd__at(in->g, s->off), (size_t)s->bytes, in->alloc, &x, NULL);
  llmd_index_close(x);
  in->short_of_memory |= rc == LLMD_E_NOMEM;
  return rc == 0 || rc == LLMD_E_NOMEM;
}

static void inspect_content(llmd__inspector *in, const llmd__state *s)
{
  void *at = llmd__at(in->g, s->off);
  llmd__index ix;
  if (s->kind == LLMD__STATE_TABLE && !llmd__table_sound(at, (size_t)s->bytes))
    llmd__fault(in, at, "state", "%s: the table does not fit its room", s->name);
  else if (s->kind == LLMD__STATE_PREFIX && llmd__index_attach(&ix, at, (size_t)s->bytes))
    llmd__fault(in, at, "state", "%s: the prefix index is damaged", s->name);
  else if (s->kind == LLMD__STATE_INDEX && !is_index(in, s))
    llmd__fault(in, at, "state", "%s: the exact index is damaged", s->name);
  else if (s->kind == LLMD__STATE_TOKENS && !llmd__token_cache_sound(at, (size_t)s->bytes))
    llmd__fault(in, at, "state", "%s: the cache of tokens is damaged", s->name);
  else if (s->kind == LLMD__STATE_POLICY && !llmd__pool_policy_sound(at, (size_t)s->bytes))
    llmd__fault(in, at, "state", "%s: no text of a policy", s->name);
  else if (s->kind < LLMD__STATE_TABLE || s->kind > LLMD__STATE_POLICY)
    llmd__fault(in, at, "state", "%s: kind %u is none", s->name, s->kind);
}

static int named_before(const llmd__region *g, uint32_t i, const char *name)
{
  llmd__state s;
  for (uint32_t k = 0; k < i; k++)
    if (llmd__region_state_sound(g, llmd__region_state_offset(g, k), &s) && !strcmp(s.name, name))
      return 1;
  return 0;
}

static void inspect_directory(llmd__inspector *in, span *all, uint32_t *n)
{
  const llmd__region *g = in->g;
  const uint64_t *directory = llmd__at(g, g->state_off);
  uint32_t ended = 0;
  for (uint32_t i = 0; i < LLMD__STATES && !in->enough; i++) {
    uint64_t at = llmd__region_state_offset(g, i);
    llmd__state s;
    if (!at) {
      ended = 1;
      continue;
    }
    if (ended)
      llmd__fault(in, &directory[i], "state", "entry %u comes after an empty one", i);
    if (!llmd__region_state_sound(g, at, &s)) {
      llmd__fault(in, &directory[i], "state", "entry %u: there is no state at %llu", i, (unsigned long long)at);
      continue;
    }
    if (named_before(g, i, s.name))
      llmd__fault(in, &directory[i], "state", "%s is there twice", s.name);
    add_span(in, all, n, at, s.bytes + llmd__region_state_head(), &directory[i]);
    inspect_content(in, &s);
  }
}

/* A maker that has entered its state and not yet left its claim has the same room twice: that is no fault. */
static int is_entered(const span *all, uint32_t n, uint64_t off)
{
  for (uint32_t i = 0; i < n; i++)
    if (all[i].off == off)
      return 1;
  return 0;
}

static void inspect_state(llmd__inspector *in)
{
  span all[LLMD__STATES + LLMD__CLAIMS];
  const llmd__claim *c = llmd__region_claims(in->g);
  uint32_t n = 0, entered;
  inspect_directory(in, all, &n);
  entered = n;
  for (uint32_t i = 0; i < LLMD__CLAIMS && !in->enough; i++) {
    uint64_t off = atomic_load(&c[i].off), bytes = atomic_load(&c[i].bytes);
    if (off && !(atomic_load(&c[i].owner) && is_entered(all, entered, off)))
      add_span(in, all, &n, off, bytes, &c[i]);
  }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void inspect_all(llmd__inspector *in)
{
  inspect_head(in);
  llmd__inspect_attributes(in);
  llmd__inspect_strings(in);
  llmd__inspect_endpoints(in);
  llmd__inspect_tickets(in);
  inspect_lanes(in);
  inspect_state(in);
}

int llmd_region_inspect(const void *mem, size_t len, const llmd_allocator *given, llmd_fault_fn fn, void *ud)
{
  llmd_allocator alloc;
  llmd__inspector in;
  llmd_err err = LLMD_ERR_INIT;
  size_t words;
  if (llmd_region_check(mem, len, &err)) {
    if (fn)
      fn(ud, 0, "head", err.text);
    return 1;
  }
  llmd__alloc_init(&alloc, given);
  memset(&in, 0, sizeof in);
  in.g = mem;
  in.alloc = &alloc;
  in.fn = fn;
  in.ud = ud;
  in.units = in.g->caps.string_bytes / 8;
  words = (size_t)(in.units + 63) / 64;
  in.taken = llmd__calloc(&alloc, words * 3, sizeof *in.taken);
  if (!in.taken)
    return LLMD_E_NOMEM;
  in.entry = in.taken + words;
  in.named = in.entry + words;
  inspect_all(&in);
  llmd__free(&alloc, in.taken, words * 3 * sizeof *in.taken);
  return in.short_of_memory ? LLMD_E_NOMEM : in.faults;
}
