/* Figures of a region for those who look at it from outside. Whatever is read may be damaged or change meanwhile: each
 * number is read once, and checked before it is used. */
#include "base/region.h"

#include <string.h>

/* ---- parts ------------------------------------------------------------------------------------------------------ */

int llmd_region_part_at(const void *mem, size_t len, uint32_t i, llmd_region_part *out)
{
  static const char *const names[] = {"head",    "attributes", "string table", "strings", "buffers", "staging",
                                      "totals",  "health",     "tickets",      "lanes",   "rings",   "state"};
  const uint32_t n = sizeof names / sizeof *names;
  const llmd__region *g = mem;
  uint64_t at[sizeof names / sizeof *names + 1];
  if (!out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  if (llmd_region_check(mem, len, NULL))
    return LLMD_E_MISMATCH;
  if (i >= n)
    return LLMD_E_NONE;
  at[0] = 0;
  at[1] = g->attr_off;
  at[2] = g->table_off;
  at[3] = g->string_off;
  at[4] = g->buffer_off;
  at[5] = g->staging_off;
  at[6] = g->total_off;
  at[7] = g->health_off;
  at[8] = g->ticket_off;
  at[9] = g->lane_off;
  at[10] = g->ring_off;
  at[11] = g->state_off;
  at[12] = g->bytes;
  out->name = names[i];
  out->offset = at[i];
  out->bytes = at[i + 1] - at[i];
  return 0;
}

int llmd_region_lane_at(const void *mem, size_t len, uint32_t i, llmd_region_lane *out)
{
  const llmd__region *g = mem;
  const llmd__lane_slot *slot;
  if (!out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  if (llmd_region_check(mem, len, NULL))
    return LLMD_E_MISMATCH;
  if (i >= g->caps.lanes)
    return LLMD_E_NONE;
  slot = &llmd__region_lanes(g)[i];
  out->owner = atomic_load(&slot->owner);
  out->pin = atomic_load(&slot->pin);
  out->applied = atomic_load(&slot->tail);
  out->posted = atomic_load(&slot->head);
  return 0;
}

/* ---- plugin state ----------------------------------------------------------------------------------------------- */

int llmd__region_state_sound(const llmd__region *g, uint64_t at, llmd__state *copy)
{
  uint64_t head = llmd__region_state_head(), room = llmd__region_state_room(g);
  if (at < room || at % 64 || at >= g->bytes || g->bytes - at < head)
    return 0;
  memcpy(copy, llmd__at(g, at), sizeof *copy);
  return copy->off == at + head && copy->bytes <= g->bytes - at - head && !(copy->bytes % 64) &&
         memchr(copy->name, 0, sizeof copy->name) && *copy->name;
}

uint64_t llmd__region_state_offset(const llmd__region *g, uint32_t i)
{
  const _Atomic uint64_t *directory = (const _Atomic uint64_t *)llmd__at(g, g->state_off);
  return i < LLMD__STATES ? atomic_load_explicit(&directory[i], memory_order_acquire) : 0;
}

int llmd_region_state_at(const void *mem, size_t len, uint32_t i, llmd_region_state *out)
{
  const llmd__region *g = mem;
  llmd__state s;
  uint64_t at;
  if (!out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  if (llmd_region_check(mem, len, NULL))
    return LLMD_E_MISMATCH;
  at = llmd__region_state_offset(g, i);
  if (!at)
    return LLMD_E_NONE;
  if (!llmd__region_state_sound(g, at, &s))
    return LLMD_E_SYNTAX;
  out->kind = s.kind;
  out->offset = s.off;
  out->bytes = s.bytes;
  memcpy(out->name, s.name, sizeof out->name);
  out->name[sizeof out->name - 1] = 0;
  return 0;
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static void add_endpoints(const llmd__region *g, llmd_region_stats *s)
{
  llmd__buffer_view v;
  uint32_t at = atomic_load(&g->current), n;
  llmd__region_view((llmd__region *)(uintptr_t)g, LLMD__BUFFERS, &v);
  n = v.head->n < g->caps.endpoints ? v.head->n : g->caps.endpoints;
  for (uint32_t i = 0; i < n; i++)
    s->staged += v.row[i].id != 0;
  s->buffer = at <= LLMD__BUFFERS ? at : 0;
  if (!s->buffer)
    return;
  llmd__region_view((llmd__region *)(uintptr_t)g, at - 1, &v);
  s->endpoints = v.head->n;
  s->published = v.head->published;
}

static void add_lanes(const llmd__region *g, llmd_region_stats *s)
{
  const llmd__lane_slot *slot = llmd__region_lanes(g);
  for (uint32_t i = 0; i < g->caps.lanes; i++) {
    uint64_t tail = atomic_load(&slot[i].tail), head = atomic_load(&slot[i].head);
    uint64_t fill = head > tail ? head - tail : 0;
    s->lanes += atomic_load(&slot[i].owner) != 0;
    s->pinned += atomic_load(&slot[i].pin) != 0;
    s->posts += fill;
    s->ring_most = fill > s->ring_most ? fill : s->ring_most;
  }
}

static void add_tickets(const llmd__region *g, llmd_region_stats *s)
{
  const llmd__ticket *r = llmd__region_tickets(g);
  for (uint32_t i = 0; i < g->caps.tickets; i++) {
    uint32_t state = (uint32_t)atomic_load_explicit(&r[i].state, memory_order_relaxed) & 0xff;
    s->tickets += state == LLMD__TICKET_LIVE;
    s->halfway += state != LLMD__TICKET_LIVE && state != LLMD__TICKET_FREE;
  }
}

static void add_state(const llmd__region *g, llmd_region_stats *s)
{
  const llmd__claim *c = llmd__region_claims(g);
  while (llmd__region_state_offset(g, s->states))
    s->states++;
  for (uint32_t i = 0; i < LLMD__CLAIMS; i++) {
    uint64_t owner = atomic_load(&c[i].owner);
    s->making += owner != 0;
    s->state_free += owner || !atomic_load(&c[i].off) ? 0 : atomic_load(&c[i].bytes);
  }
  s->state_used = atomic_load(&g->state_used);
}

static void add_caps(const llmd__region *g, llmd_region_stats *s)
{
  const llmd__caps *c = &g->caps;
  s->layout = g->layout;
  s->bytes = g->bytes;
  s->max_endpoints = c->endpoints;
  s->max_attributes = c->attributes;
  s->max_labels = c->labels;
  s->max_models = c->models;
  s->max_lanes = c->lanes - LLMD__SPARE_LANES;
  s->max_tickets = c->tickets;
  s->max_states = LLMD__STATES;
  s->string_bytes = c->string_bytes;
  s->state_bytes = c->state_bytes;
  s->prefix_bytes = c->prefix_bytes;
  s->index_bytes = c->index_bytes;
  s->token_bytes = c->token_bytes;
  s->ring_bytes = c->ring_bytes;
}

static void add_counters(const llmd__region *g, llmd_region_stats *s)
{
  s->writer = atomic_load(&g->writer);
  s->writer_owner = atomic_load(&g->writer_owner);
  s->generation = atomic_load(&g->generation);
  s->attributes = atomic_load(&g->n_attributes);
  s->strings = atomic_load(&g->string_count);
  s->string_used = atomic_load(&g->string_used);
  s->strings_refused = atomic_load(&g->strings_refused);
  s->strings_freed = atomic_load(&g->strings_freed);
  s->posts_dropped = atomic_load(&g->posts_dropped);
  s->tickets_full = atomic_load(&g->tickets_full);
  s->tickets_expired = atomic_load(&g->tickets_expired);
  s->samples_refused = atomic_load(&g->samples_refused);
  s->ejected = atomic_load(&g->unwell);
  s->ejections = atomic_load(&g->ejections);
  s->tickets_reclaimed = atomic_load(&g->tickets_reclaimed);
}

int llmd_region_stats_get(const void *mem, size_t len, llmd_region_stats *out, llmd_err *err)
{
  const llmd__region *g = mem;
  llmd_region_stats s;
  int rc;
  if (!out || out->size < offsetof(llmd_region_stats, tickets_reclaimed)) /* what the first version had */
    return LLMD_E_INVALID;
  rc = llmd_region_check(mem, len, err);
  if (rc)
    return rc;
  memset(&s, 0, sizeof s);
  s.size = out->size;
  add_caps(g, &s);
  add_counters(g, &s);
  add_endpoints(g, &s);
  add_lanes(g, &s);
  add_tickets(g, &s);
  add_state(g, &s);
  memcpy(out, &s, out->size < sizeof s ? out->size : sizeof s);
  return 0;
}
