/* Endpoints that somebody wants in the pool: copies of their own, in a list. */
#ifndef LLMD_UV_DISCOVER_ENTRY_H
#define LLMD_UV_DISCOVER_ENTRY_H

#include <llmd/pool.h>

typedef struct llmd__entry {
  llmd_endpoint e; /* name and space are never empty here; what it points to is in `block` */
  void *block;
  uint32_t hash;   /* of space, name, address, port, rank */
  uint32_t origin; /* the list's own, and so are the next two */
  llmd_endpoint_id id;
  uint64_t leaving;
} llmd__entry;

typedef struct llmd__entries {
  llmd__entry *at;
  uint32_t n, room;
} llmd__entries;

/* A copy of *e at the end; name and space as the pool fills them in. LLMD_E_NOMEM. */
int llmd__entries_add(llmd__entries *l, const llmd_endpoint *e, uint32_t origin);
/* Same space, name, address, port and rank: the same endpoint to the pool. NULL = none. */
llmd__entry *llmd__entries_find(const llmd__entries *l, const llmd__entry *like);
/* One that the pool would call a duplicate of it: the same name, or the same place. NULL = none. */
llmd__entry *llmd__entries_clash(const llmd__entries *l, const llmd__entry *with);
int llmd__entry_labels_same(const llmd__entry *a, const llmd__entry *b);
/* e takes over what the other one says, labels above all; its id and times stay. LLMD_E_NOMEM: as it was. */
int llmd__entry_become(llmd__entry *e, const llmd__entry *other);
/* The order of the others stays. */
void llmd__entries_remove(llmd__entries *l, uint32_t i);
void llmd__entries_clear(llmd__entries *l);

#endif
