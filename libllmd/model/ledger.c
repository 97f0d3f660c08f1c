#include "model/ledger.h"

#include <string.h>

#define STATE(s) ((uint32_t)(s) & 0xffu)
#define GENERATION(s) ((uint32_t)((s) >> 8))
#define GRACE_NS 60000000000u
#define PROBES 256u /* records a decision looks at before it says that the ledger is full */

static llmd_ticket ticket_of(uint32_t index, uint32_t generation)
{
  return (uint64_t)generation << 32 | (index + 1);
}

/* The record of a ticket if it is in flight. */
static llmd__ticket *record_of(const llmd__region *g, llmd_ticket t, uint64_t *state)
{
  uint32_t index = (uint32_t)t - 1;
  llmd__ticket *r;
  if (!t || index >= g->caps.tickets)
    return NULL;
  r = &llmd__region_tickets(g)[index];
  *state = atomic_load_explicit(&r->state, memory_order_acquire);
  return STATE(*state) == LLMD__TICKET_LIVE && GENERATION(*state) == (uint32_t)(t >> 32) ? r : NULL;
}

/* The next state of a record, unless somebody was faster. */
static int advance(llmd__ticket *r, uint64_t state, uint64_t next)
{
  return atomic_compare_exchange_strong_explicit(&r->state, &state, (state & ~(uint64_t)0xff) | next,
                                                 memory_order_acq_rel, memory_order_relaxed);
}

static void add_total(llmd__region *g, llmd_endpoint_id e, int64_t requests, int64_t tokens)
{
  llmd__total *total = &llmd__region_totals(g)[(uint32_t)e];
  if ((uint32_t)e >= g->caps.endpoints ||
      atomic_load_explicit(&total->generation, memory_order_relaxed) != (uint32_t)(e >> 32))
    return; /* the endpoint is gone; its successor in the slot owes nothing */
  if (requests)
    atomic_fetch_add_explicit(&total->requests, requests, memory_order_relaxed);
  if (tokens)
    atomic_fetch_add_explicit(&total->tokens, tokens, memory_order_relaxed);
}

static uint32_t charges(const llmd__ticket *r)
{
  uint32_t n = atomic_load_explicit(&r->n, memory_order_relaxed);
  return n < LLMD__CHARGES ? n : LLMD__CHARGES;
}

static void give_back(llmd__region *g, llmd__charge *c, int request)
{
  llmd_endpoint_id endpoint = atomic_load_explicit(&c->endpoint, memory_order_relaxed);
  int64_t tokens = atomic_exchange_explicit(&c->tokens, 0, memory_order_relaxed);
  uint32_t requests = request ? atomic_exchange_explicit(&c->requests, 0, memory_order_relaxed) : 0;
  add_total(g, endpoint, -(int64_t)requests, -tokens);
}

/* A free record, searched from a place of the lane's own so that lanes seldom meet and full stretches are passed once.
 * A search that finds none in a stretch ends there; the lane's next one goes on behind it. */
static llmd__ticket *claim(llmd__region *g, llmd__charger *who, uint32_t *index, uint32_t *generation)
{
  uint32_t n = g->caps.tickets, most = n < PROBES ? n : PROBES;
  uint32_t start = who->hint % n;
  for (uint32_t i = 0; i < most; i++) {
    uint32_t at = start + i < n ? start + i : start + i - n;
    llmd__ticket *r = &llmd__region_tickets(g)[at];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_relaxed);
    uint64_t mine = (uint64_t)(GENERATION(s) + 1) << 8 | LLMD__TICKET_CLAIMED;
    if (STATE(s) != LLMD__TICKET_FREE)
      continue;
    if (!atomic_compare_exchange_strong_explicit(&r->state, &s, mine, memory_order_acquire, memory_order_relaxed))
      continue;
    who->hint = at + 1;
    *index = at;
    *generation = (uint32_t)(mine >> 8);
    return r;
  }
  who->hint = (start + most) % n;
  return NULL;
}

/* One record. next: the ticket that has the charges before these. */
static llmd_ticket reserve(llmd__region *g, llmd__charger *who, const llmd__charge_in *charge, uint32_t n,
                           uint64_t lease, llmd_ticket next)
{
  uint32_t index = 0, generation = 0;
  llmd__ticket *r = claim(g, who, &index, &generation);
  if (!r) {
    atomic_fetch_add_explicit(&g->tickets_full, 1, memory_order_relaxed);
    return 0;
  }
  atomic_store_explicit(&r->next, next, memory_order_relaxed);
  atomic_store_explicit(&r->owner, who->owner, memory_order_relaxed);
  atomic_store_explicit(&r->lane, who->lane, memory_order_relaxed);
  atomic_store_explicit(&r->n, n, memory_order_relaxed);
  for (uint32_t i = 0; i < n; i++) {
    atomic_store_explicit(&r->charge[i].endpoint, charge[i].endpoint, memory_order_relaxed);
    atomic_store_explicit(&r->charge[i].early, charge[i].early, memory_order_relaxed);
    atomic_store_explicit(&r->charge[i].tokens, charge[i].tokens, memory_order_relaxed);
    atomic_store_explicit(&r->charge[i].requests, 1, memory_order_relaxed);
  }
  atomic_store_explicit(&r->lease, lease, memory_order_relaxed);
  if (!advance(r, (uint64_t)generation << 8 | LLMD__TICKET_CLAIMED, LLMD__TICKET_LIVE))
    return 0; /* this thread slept so long that the writer took the record for a dead one's */
  for (uint32_t i = 0; i < n; i++)
    add_total(g, charge[i].endpoint, 1, charge[i].tokens);
  return ticket_of(index, generation);
}

/* The last charges first, so that the ticket that is told is the one with the primary's. When a record more is not to
 * be had, what was charged goes back. */
llmd_ticket llmd__ledger_reserve(llmd__region *g, llmd__charger *who, const llmd__charge_in *charge, uint32_t n,
                                 uint64_t lease)
{
  uint32_t first = n ? (n - 1) / LLMD__CHARGES * LLMD__CHARGES : 0;
  llmd_ticket t = 0;
  for (;;) {
    uint32_t here = n - first < LLMD__CHARGES ? n - first : LLMD__CHARGES;
    llmd_ticket more = reserve(g, who, charge + first, here, lease, t);
    if (!more)
      llmd__ledger_release(g, t);
    if (!more || !first)
      return more;
    t = more;
    first -= LLMD__CHARGES;
  }
}

int llmd__ledger_move(llmd__region *g, llmd_ticket t, llmd_endpoint_id used)
{
  uint64_t state;
  llmd__ticket *r = record_of(g, t, &state);
  llmd__charge *c;
  llmd_endpoint_id was;
  if (!r)
    return LLMD_E_STALE;
  c = &r->charge[0];
  was = atomic_exchange_explicit(&c->endpoint, used, memory_order_relaxed);
  if (was != used) {
    int64_t tokens = atomic_load_explicit(&c->tokens, memory_order_relaxed);
    int64_t requests = atomic_load_explicit(&c->requests, memory_order_relaxed);
    add_total(g, was, -requests, -tokens);
    add_total(g, used, requests, tokens);
  }
  return 0;
}

/* The record after r: of the same request. */
static llmd_ticket after(const llmd__ticket *r)
{
  return atomic_load_explicit(&r->next, memory_order_relaxed);
}

int llmd__ledger_renew(llmd__region *g, llmd_ticket t, uint64_t owner, uint64_t lease)
{
  uint64_t state;
  llmd__ticket *first = record_of(g, t, &state);
  for (llmd__ticket *r = first; r; r = record_of(g, after(r), &state)) {
    atomic_store_explicit(&r->lease, lease, memory_order_relaxed);
    atomic_store_explicit(&r->owner, owner, memory_order_relaxed);
  }
  return first ? 0 : LLMD_E_STALE;
}

int llmd__ledger_first(llmd__region *g, llmd_ticket t)
{
  uint64_t state;
  llmd__ticket *first = record_of(g, t, &state);
  for (llmd__ticket *r = first; r; r = record_of(g, after(r), &state))
    for (uint32_t i = 0; i < charges(r); i++)
      if (atomic_load_explicit(&r->charge[i].early, memory_order_relaxed))
        give_back(g, &r->charge[i], 1);
  return first ? 0 : LLMD_E_STALE;
}

int llmd__ledger_release_tokens(llmd__region *g, llmd_ticket t)
{
  uint64_t state;
  llmd__ticket *first = record_of(g, t, &state);
  for (llmd__ticket *r = first; r; r = record_of(g, after(r), &state))
    for (uint32_t i = 0; i < charges(r); i++)
      give_back(g, &r->charge[i], 0);
  return first ? 0 : LLMD_E_STALE;
}

/* Gives one record back; *next is the ticket after it. */
static int release_one(llmd__region *g, llmd_ticket t, llmd_ticket *next)
{
  uint64_t state;
  llmd__ticket *r = record_of(g, t, &state);
  if (!r || !advance(r, state, LLMD__TICKET_LEAVING))
    return LLMD_E_STALE; /* nobody has it, or somebody else is giving it back */
  *next = after(r);
  for (uint32_t i = 0; i < charges(r); i++)
    give_back(g, &r->charge[i], 1);
  advance(r, (state & ~(uint64_t)0xff) | LLMD__TICKET_LEAVING, LLMD__TICKET_FREE);
  return 0;
}

int llmd__ledger_release(llmd__region *g, llmd_ticket t)
{
  llmd_ticket next = 0;
  int rc = release_one(g, t, &next);
  while (!rc && next) {
    llmd_ticket more = 0;
    if (release_one(g, next, &more))
      break;
    next = more;
  }
  return rc;
}

llmd_endpoint_id llmd__ledger_endpoint(const llmd__region *g, llmd_ticket t)
{
  uint64_t state;
  const llmd__ticket *r = record_of(g, t, &state);
  return r ? atomic_load_explicit(&r->charge[0].endpoint, memory_order_relaxed) : 0;
}

uint32_t llmd__ledger_endpoints(const llmd__region *g, llmd_ticket t, llmd_endpoint_id *out, uint32_t cap)
{
  uint64_t state;
  uint32_t n = 0;
  for (const llmd__ticket *r = record_of(g, t, &state); r && n < cap; r = record_of(g, after(r), &state))
    for (uint32_t i = 0; i < charges(r) && n < cap; i++)
      out[n++] = atomic_load_explicit(&r->charge[i].endpoint, memory_order_relaxed);
  return n;
}

/* A record between two states: somebody is at it, or died there. It gets GRACE_NS from when the writer first sees it;
 * then it is free again, and what its totals lack or have too much the recount puts right. */
static void reclaim(llmd__ticket *r, uint64_t state, uint64_t now)
{
  uint64_t lease = atomic_load_explicit(&r->lease, memory_order_relaxed), mark = now + GRACE_NS;
  if (lease > now)
    return;
  if (atomic_load_explicit(&r->doubted, memory_order_relaxed) != state) {
    atomic_store_explicit(&r->doubted, state, memory_order_relaxed);
    atomic_compare_exchange_strong_explicit(&r->lease, &lease, mark, memory_order_relaxed, memory_order_relaxed);
  } else {
    advance(r, state, LLMD__TICKET_FREE);
  }
}

uint32_t llmd__ledger_sweep(llmd__region *g, uint32_t *cursor, uint32_t slice, uint64_t now)
{
  uint32_t released = 0;
  if (slice > g->caps.tickets)
    slice = g->caps.tickets;
  for (uint32_t i = 0; i < slice; i++) {
    uint32_t at = *cursor;
    llmd__ticket *r = &llmd__region_tickets(g)[at];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    *cursor = at + 1 < g->caps.tickets ? at + 1 : 0;
    if (STATE(s) == LLMD__TICKET_CLAIMED || STATE(s) == LLMD__TICKET_LEAVING)
      reclaim(r, s, now);
    if (STATE(s) != LLMD__TICKET_LIVE || atomic_load_explicit(&r->lease, memory_order_relaxed) >= now)
      continue;
    if (!llmd__ledger_release(g, ticket_of(at, GENERATION(s)))) {
      atomic_fetch_add_explicit(&g->tickets_expired, 1, memory_order_relaxed);
      released++;
    }
  }
  return released;
}

uint32_t llmd__ledger_reclaim(llmd__region *g, uint64_t owner)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < g->caps.tickets; i++) {
    llmd__ticket *r = &llmd__region_tickets(g)[i];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    llmd_ticket next;
    if (STATE(s) != LLMD__TICKET_LIVE || atomic_load_explicit(&r->owner, memory_order_relaxed) != owner)
      continue;
    n += !release_one(g, ticket_of(i, GENERATION(s)), &next); /* the others of a request are found by themselves */
  }
  atomic_fetch_add_explicit(&g->tickets_reclaimed, n, memory_order_relaxed);
  return n;
}

static void sum_records(const llmd__region *g, int64_t *sum)
{
  memset(sum, 0, g->caps.endpoints * 2 * sizeof *sum);
  for (uint32_t i = 0; i < g->caps.tickets; i++) {
    llmd__ticket *r = &llmd__region_tickets(g)[i];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    if (STATE(s) != LLMD__TICKET_LIVE)
      continue;
    for (uint32_t k = 0; k < charges(r); k++) {
      llmd_endpoint_id e = atomic_load_explicit(&r->charge[k].endpoint, memory_order_relaxed);
      if ((uint32_t)e >= g->caps.endpoints ||
          atomic_load(&llmd__region_totals(g)[(uint32_t)e].generation) != (uint32_t)(e >> 32))
        continue;
      sum[2 * (uint32_t)e] += atomic_load_explicit(&r->charge[k].requests, memory_order_relaxed);
      sum[2 * (uint32_t)e + 1] += atomic_load_explicit(&r->charge[k].tokens, memory_order_relaxed);
    }
  }
}

void llmd__ledger_recount(llmd__region *g, int64_t *drift, int64_t *scratch)
{
  sum_records(g, scratch);
  for (uint32_t slot = 0; slot < g->caps.endpoints; slot++) {
    llmd__total *total = &llmd__region_totals(g)[slot];
    int64_t requests = atomic_load_explicit(&total->requests, memory_order_relaxed) - scratch[2 * slot];
    int64_t tokens = atomic_load_explicit(&total->tokens, memory_order_relaxed) - scratch[2 * slot + 1];
    if ((requests || tokens) && requests == drift[2 * slot] && tokens == drift[2 * slot + 1]) {
      atomic_fetch_sub_explicit(&total->requests, requests, memory_order_relaxed);
      atomic_fetch_sub_explicit(&total->tokens, tokens, memory_order_relaxed);
      requests = tokens = 0;
    }
    drift[2 * slot] = requests;
    drift[2 * slot + 1] = tokens;
  }
}

void llmd__ledger_slot(llmd__region *g, llmd_endpoint_id id)
{
  llmd__total *total = &llmd__region_totals(g)[(uint32_t)id];
  atomic_store_explicit(&total->requests, 0, memory_order_relaxed);
  atomic_store_explicit(&total->tokens, 0, memory_order_relaxed);
  atomic_store_explicit(&total->generation, (uint32_t)(id >> 32), memory_order_release);
}
