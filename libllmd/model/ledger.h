/* The ledger of requests in flight. A record (ticket) holds what each endpoint was charged; the totals per endpoint are
 * one atomic each and count for every lane of every process at once.
 *
 *   reserve ──► live ──► first token: early charges go back ──► release: all goes back
 *                 └─ move: the primary's charge changes endpoint     └─ lease over: the writer releases
 *
 * A record has room for LLMD__CHARGES charges; a request with more has several, each with the ticket of the next.
 * Every part of a charge is given back by an atomic exchange with zero, so giving back twice does nothing. */
#ifndef LLMD_MODEL_LEDGER_H
#define LLMD_MODEL_LEDGER_H

#include "base/region.h"

typedef struct llmd__charge_in {
  llmd_endpoint_id endpoint;
  int64_t tokens;
  uint32_t early;
} llmd__charge_in;

/* Who charges: a process (llmd_pool_options.owner) and its lane. */
typedef struct llmd__charger {
  uint64_t owner;
  uint32_t lane;
  uint32_t hint; /* where it looks for a free record first */
} llmd__charger;

/* Charges n endpoints; charge[0] is the primary's. Returns the ticket, or 0 when the ledger is full there (counted):
 * the next call looks further on. */
llmd_ticket llmd__ledger_reserve(llmd__region *g, llmd__charger *who, const llmd__charge_in *charge, uint32_t n,
                                 uint64_t lease);
/* The primary's charge moves. */
int llmd__ledger_move(llmd__region *g, llmd_ticket t, llmd_endpoint_id used);
/* owner, who reports on it, has it in hand now: it goes when that process does. */
int llmd__ledger_renew(llmd__region *g, llmd_ticket t, uint64_t owner, uint64_t lease);
/* The first token came: early charges go back whole. */
int llmd__ledger_first(llmd__region *g, llmd_ticket t);
int llmd__ledger_release_tokens(llmd__region *g, llmd_ticket t);
int llmd__ledger_release(llmd__region *g, llmd_ticket t);
/* Where the record of a released ticket was: the best place to look for a free one, since it is still in the cache. */
static inline uint32_t llmd__ledger_place(llmd_ticket t)
{
  return (uint32_t)t - 1;
}
/* Endpoint of the primary charge, 0 when the ticket is not live. */
llmd_endpoint_id llmd__ledger_endpoint(const llmd__region *g, llmd_ticket t);
/* All that it charges, the primary's first: at most cap. Returns how many, 0 when it is not in flight. */
uint32_t llmd__ledger_endpoints(const llmd__region *g, llmd_ticket t, llmd_endpoint_id *out, uint32_t cap);
/* Writer: releases tickets whose lease is over, looking at `slice` records from *cursor on. Returns how many. */
uint32_t llmd__ledger_sweep(llmd__region *g, uint32_t *cursor, uint32_t slice, uint64_t now);
/* Writer: gives back all that the dead process `owner` has in flight. Returns how many records. One that it left between
 * two states is the sweep's. */
uint32_t llmd__ledger_reclaim(llmd__region *g, uint64_t owner);
/* Writer: takes out of the totals what no record stands for (a process died between the two), once the same difference
 * was seen twice. drift = [endpoints][2]. */
void llmd__ledger_recount(llmd__region *g, int64_t *drift, int64_t *scratch);
/* A new endpoint in this slot. */
void llmd__ledger_slot(llmd__region *g, llmd_endpoint_id id);

#endif
