/* What client.c and leg.c share: an address and its connections. */
#ifndef LLMD_UV_HTTP_LEG_H
#define LLMD_UV_HTTP_LEG_H

#include <sys/socket.h>

#include "uv/http/client.h"

#define LLMD__LEG_BUFFER 65536u /* one for all connections: what a read brings is handled before the next */

#define LLMD__PEER_ADDRESSES 4u

/* A ring through what is listed; the list itself is one of its links. */
typedef struct llmd__link {
  struct llmd__link *prev, *next;
} llmd__link;

/* An address that engines are reached at. */
typedef struct llmd__peer {
  struct llmd__peer *next; /* in its bucket */
  llmd__client *client;
  llmd__link kept;         /* legs; most recently used first */
  llmd__link naming;       /* legs that wait for its name to be resolved */
  uint32_t hash, port;
  uint32_t n_kept, n_legs; /* n_legs: all of them, the kept ones too */
  uint64_t used, resolved; /* ms; resolved 0 = never */
  uint8_t numeric, resolving;
  uint32_t n_addresses, at;  /* of its name; the one in use */
  struct sockaddr_storage to[LLMD__PEER_ADDRESSES];
  uv_getaddrinfo_t question;
  uint32_t name_len;
  char name[]; /* NUL-terminated */
} llmd__peer;

enum {
  LLMD__LEG_NAMING,
  LLMD__LEG_CONNECTING,
  LLMD__LEG_REOPENING, /* one of several addresses has failed: its socket is closed, the next is tried */
  LLMD__LEG_WAITING,
  LLMD__LEG_FLOWING,
  LLMD__LEG_KEPT,
  LLMD__LEG_CLOSED
};

struct llmd__leg {
  llmd__link link; /* first: a link is its leg. In client.connecting, client.active, peer.kept or peer.naming */
  uv_tcp_t tcp;
  union {
    uv_connect_t connect;
    uv_write_t write;
  } call;
  llmd__client *client;
  llmd__peer *peer;
  const llmd__leg_handler *handler; /* NULL: nobody's */
  void *ud;
  uint64_t since; /* ms: connecting began, sending ended, the last byte came, unused */
  uint8_t state, reused, paused, writing, head_method;
  uint8_t failed;   /* addresses that did not answer */
  size_t queued;    /* bytes that waited to be sent when the sweep came by */
  llmd__http_reader reader;
  char *hold; /* pieces and head that wait for a connection, or the rest of a head that did not go at once */
  size_t hold_len;
  uint32_t n_pieces;
};

struct llmd__client {
  uv_loop_t *loop;
  llmd__client_options opt;
  llmd_allocator alloc;
  llmd__http_limits limits;
  uv_timer_t timer;
  llmd__link connecting, active;
  llmd__link *cursor; /* of the sweep through active: a leg that leaves moves it on */
  llmd__peer **bucket;
  uint32_t n_buckets, n_peers, n_legs, n_kept;
  uint32_t ticking, timer_open, closing, rounds;
  uint32_t questions; /* names being resolved */
  uint64_t connected, reused, failed;
  void (*done)(void *ud);
  void *done_ud;
  char buffer[LLMD__LEG_BUFFER];
};

static inline void llmd__link_init(llmd__link *l)
{
  l->prev = l->next = l;
}

static inline void llmd__link_drop(llmd__link *l)
{
  l->prev->next = l->next;
  l->next->prev = l->prev;
  llmd__link_init(l);
}

/* Behind `at`: first of a list when `at` is the list. */
static inline void llmd__link_add(llmd__link *at, llmd__link *l)
{
  l->prev = at;
  l->next = at->next;
  at->next->prev = l;
  at->next = l;
}

/* ---- leg.c ---- */
/* A new leg of the peer with its request held, in no list yet. NULL: no memory. */
llmd__leg *llmd__leg_new(llmd__peer *peer, const llmd__sending *what);
/* Connects to the peer's address. */
int llmd__leg_connect(llmd__leg *leg);
/* A kept leg gets a request. An error: it is closed, nothing was sent that anybody read. */
int llmd__leg_take(llmd__leg *leg, const llmd__sending *what);
/* Closes it and tells its owner. */
void llmd__leg_fail(llmd__leg *leg, int why);
void llmd__leg_close(llmd__leg *leg);

/* ---- client.c ---- */
/* A handle or question has gone: the last one lets the closed client go. */
void llmd__client_left(llmd__client *c);

#endif
