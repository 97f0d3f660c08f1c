/* One name that is asked again and again: which places it stands for.
 *
 *   round ─► A, AAAA of the name          ─┐
 *        └─► SRV ─► A, AAAA of each target ┴─► places; again after the least time to live, 1 s .. refresh
 *
 * What fails keeps what it had, down to one kind of address of one target; a name that answers with nothing at all has
 * failed. */
#ifndef LLMD_UV_DISCOVER_NAME_H
#define LLMD_UV_DISCOVER_NAME_H

#include "uv/discover/dns.h"

#define LLMD__NAME_MOST 256u /* bytes of a host name */

typedef struct llmd__place {
  char address[LLMD__DNS_ADDRESS];
  uint32_t port;
  uint32_t leg; /* which question it came from */
} llmd__place;

typedef struct llmd__places {
  llmd__place *at;
  uint32_t n, room;
} llmd__places;

typedef struct llmd__name llmd__name;
struct llmd__name {
  char host[LLMD__NAME_MOST];
  uint32_t srv;  /* 1: SRV records say host and port */
  uint32_t port; /* else this one */
  uint32_t refresh_ms;
  uint32_t number; /* the owner's own */
  void (*changed)(void *ud, llmd__name *n); /* the places are others, or there are some for the first time */
  void (*failed)(void *ud, llmd__name *n, const char *why); /* the first time after it had answered, or ever */
  void *ud;
  /* From here on not the owner's. */
  llmd__places places; /* sorted: IPv4 first */
  uint32_t answered; /* it has, once at least */
  uint32_t failures; /* rounds in a row */
  uint64_t due;      /* mono ns: the next round */
  struct llmd__round *round; /* under way, or NULL */
};

/* Begins a round when one is due. */
void llmd__name_tick(llmd__name *n, llmd__dns *dns, uint64_t now);
/* Frees what it holds, not the name itself. Only between rounds, or when the dns has been closed. */
void llmd__name_clear(llmd__name *n);

#endif
