#include "uv/discover/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>
#include <llmd/uv.h>

#define SECOND 1000000000ull
#define TARGETS_MOST 256u
#define PLACES_MOST 4096u

typedef struct leg {
  struct llmd__round *round;
  uint32_t key;
  uint32_t port;
} leg;

typedef struct llmd__round {
  llmd__name *name;
  llmd__dns *dns;
  uint32_t pending; /* questions, and the one who asks them */
  uint32_t kept;    /* legs that failed: what they had stays */
  uint32_t ttl;
  uint32_t no_memory;
  const char *why;
  llmd__places found;
  leg *legs;
  uint32_t n_legs;
} turn;

static uint32_t key_of(const char *host, uint32_t port, uint32_t family)
{
  uint32_t h = 2166136261u;
  for (const char *p = host; *p; p++)
    h = (h ^ (unsigned char)*p) * 16777619u;
  return (h ^ port * 2654435761u) * 2u + (family == 6);
}

static int add_place(llmd__places *l, const char *address, uint32_t port, uint32_t key)
{
  for (uint32_t i = 0; i < l->n; i++)
    if (l->at[i].port == port && strcmp(l->at[i].address, address) == 0)
      return 0;
  if (l->n == PLACES_MOST)
    return 0;
  if (l->n == l->room) {
    const uint32_t room = l->room ? 2 * l->room : 8;
    llmd__place *p = realloc(l->at, room * sizeof *p);
    if (!p)
      return LLMD_E_NOMEM;
    l->at = p;
    l->room = room;
  }
  memset(&l->at[l->n], 0, sizeof *l->at);
  (void)snprintf(l->at[l->n].address, LLMD__DNS_ADDRESS, "%s", address);
  l->at[l->n].port = port;
  l->at[l->n++].leg = key;
  return 0;
}

static void keep_places(turn *r, uint32_t key)
{
  const llmd__places *had = &r->name->places;
  for (uint32_t i = 0; i < had->n; i++)
    if (had->at[i].leg == key && add_place(&r->found, had->at[i].address, had->at[i].port, key))
      r->no_memory = 1;
  r->kept++;
}

/* ---- the end of a round ------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
  const llmd__place *x = a, *y = b;
  const int six = (strchr(x->address, ':') != NULL) - (strchr(y->address, ':') != NULL);
  const int c = six ? six : strcmp(x->address, y->address);
  return c ? c : x->port < y->port ? -1 : x->port > y->port;
}

static int same_places(const llmd__places *a, const llmd__places *b)
{
  if (a->n != b->n)
    return 0;
  for (uint32_t i = 0; i < a->n; i++)
    if (compare(&a->at[i], &b->at[i]))
      return 0;
  return 1;
}

static uint64_t wait_of(const llmd__name *n, const turn *r, int failed)
{
  uint64_t most = n->refresh_ms * (SECOND / 1000), ns = r->ttl * SECOND;
  if (most < SECOND)
    most = SECOND;
  if (failed || r->kept) /* again soon, then less and less often */
    for (ns = SECOND; ns < most && ns < SECOND << n->failures;)
      ns *= 2;
  return ns < SECOND ? SECOND : ns < most ? ns : most;
}

static void take(llmd__name *n, turn *r)
{
  const llmd__places old = n->places;
  const int same = same_places(&old, &r->found);
  n->places = r->found;
  r->found = old; /* goes with the round */
  n->failures = r->kept && n->failures < 16 ? n->failures + 1 : 0;
  if (same && n->answered)
    return;
  n->answered = 1;
  n->changed(n->ud, n);
}

static void free_turn(turn *r)
{
  free(r->found.at);
  free(r->legs);
  free(r);
}

static void finish(turn *r)
{
  llmd__name *n = r->name;
  const int failed = r->no_memory || !r->found.n || r->kept == r->n_legs;
  llmd_now now;
  llmd_clock(&now);
  n->round = NULL;
  if (r->found.n)
    qsort(r->found.at, r->found.n, sizeof *r->found.at, compare);
  n->due = now.mono + wait_of(n, r, failed);
  if (!failed) {
    take(n, r);
  } else {
    if (n->failures < 16)
      n->failures++;
    if (n->failures == 1)
      n->failed(n->ud, n, r->why ? r->why : "no address in it");
  }
  free_turn(r);
}

static void one_less(turn *r)
{
  if (--r->pending == 0)
    finish(r);
}

/* ---- its questions ----------------------------------------------------------------------------------------------- */

static void on_addresses(void *ud, const llmd__dns_answer *a)
{
  leg *l = ud;
  turn *r = l->round;
  if (a->rc && a->rc != LLMD_E_NONE) {
    r->why = a->text;
    keep_places(r, l->key);
  } else if (a->rc) {
    r->why = a->text; /* many names have one kind of address only */
  }
  for (uint32_t i = 0; !a->rc && i < a->n; i++)
    if (add_place(&r->found, a->address[i], l->port, l->key))
      r->no_memory = 1;
  if (!a->rc && a->ttl < r->ttl)
    r->ttl = a->ttl;
  one_less(r);
}

static void ask_both(turn *r, const char *host, uint32_t port)
{
  for (int family = 4; family <= 6; family += 2) {
    leg *l = &r->legs[r->n_legs++];
    *l = (leg){r, key_of(host, port, (uint32_t)family), port};
    r->pending++;
    llmd__dns_ask(r->dns, host, family, on_addresses, l);
  }
}

static int seen_before(const llmd__dns_answer *a, uint32_t i)
{
  for (uint32_t k = 0; k < i; k++)
    if (a->target[k].port == a->target[i].port && strcmp(a->target[k].host, a->target[i].host) == 0)
      return 1;
  return 0;
}

static void on_targets(void *ud, const llmd__dns_answer *a)
{
  turn *r = ud;
  const uint32_t n = a->rc ? 0 : a->n < TARGETS_MOST ? a->n : TARGETS_MOST;
  r->why = a->text;
  if (n) {
    r->ttl = a->ttl;
    r->legs = calloc(2 * (size_t)n, sizeof *r->legs);
    r->no_memory = !r->legs;
  }
  for (uint32_t i = 0; r->legs && i < n; i++)
    if (!seen_before(a, i))
      ask_both(r, a->target[i].host, a->target[i].port);
  one_less(r);
}

void llmd__name_tick(llmd__name *n, llmd__dns *dns, uint64_t now)
{
  turn *r;
  if (n->round || now < n->due)
    return;
  n->due = now + SECOND;
  r = calloc(1, sizeof *r);
  if (r && !n->srv)
    r->legs = calloc(2, sizeof *r->legs);
  if (!r || (!n->srv && !r->legs)) {
    free(r);
    return; /* in a second there may be memory */
  }
  r->name = n;
  r->dns = dns;
  r->ttl = UINT32_MAX;
  r->pending = 1;
  n->round = r;
  if (n->srv) {
    r->pending++;
    llmd__dns_ask_srv(dns, n->host, on_targets, r);
  } else {
    ask_both(r, n->host, n->port);
  }
  one_less(r);
}

void llmd__name_clear(llmd__name *n)
{
  if (n->round)
    free_turn(n->round);
  n->round = NULL;
  free(n->places.at);
  memset(&n->places, 0, sizeof n->places);
}
