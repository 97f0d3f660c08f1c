/* Who can be asked to render: one place for each published endpoint, or one for the renderer that the service names.
 *
 *   pick ─► the next in turn that is well, answers, and is not busy ─► begin ... end
 *             └ not: gone, out for its failures (health), failed a moment ago, silent on what it was asked before
 *
 * Each remembers which door works: /render, else /tokenize, else neither; after a while it is tried again. */
#ifndef LLMD_UV_TOKENS_PLACE_H
#define LLMD_UV_TOKENS_PLACE_H

#include <llmd/pool.h>

#define LLMD__PLACE_ADDRESS 64u
#define LLMD__PLACE_BASE 256u

enum { LLMD__DOOR_CHAT, LLMD__DOOR_COMPLETIONS, LLMD__DOORS };
enum { LLMD__WAY_RENDER, LLMD__WAY_TOKENIZE, LLMD__WAY_NONE };

typedef struct llmd__place {
  llmd_endpoint_id id; /* 0 = the renderer that the service names */
  char address[LLMD__PLACE_ADDRESS]; /* numeric; "" = has none */
  uint32_t port;
  uint32_t round;     /* the last look that saw it */
  uint32_t busy;      /* requests under way */
  uint32_t gone;      /* from the table: freed when no more are */
  uint64_t since;     /* ms: of the oldest thing it owes an answer, or its last answer */
  uint64_t bad_until; /* ms */
  struct {
    uint32_t way;
    uint64_t until;   /* ms: a way that is not the first one is forgotten */
  } door[LLMD__DOORS];
} llmd__place;

typedef struct llmd__places {
  const llmd_pool *pool;
  llmd__place **at;
  uint32_t n, room, round, turn;
  uint32_t named;       /* only the one that the service names */
  uint64_t looked;      /* ms: at the pool */
  char base[LLMD__PLACE_BASE]; /* what its paths begin with */
} llmd__places;

/* url "" = the pool's endpoints; else "http://ADDRESS:PORT[/BASE]", numeric or localhost. */
int llmd__places_open(llmd__places *p, const llmd_pool *pool, const char *url, llmd_err *err);
/* Nothing may be under way. */
void llmd__places_close(llmd__places *p);

/* Whom to ask for what goes through that door; NULL = nobody. now in ms. */
llmd__place *llmd__places_pick(llmd__places *p, uint32_t door, uint64_t now);
void llmd__place_begin(llmd__place *place, uint64_t now);
/* It answered, or did not. It may be freed by this. */
void llmd__place_end(llmd__place *place, uint64_t now);
/* It does not work: not asked for a second. */
void llmd__place_blame(llmd__place *place, uint64_t now);
/* What goes through that door cannot go this way: another one from now on. */
void llmd__place_divert(llmd__place *place, uint32_t door, uint32_t way, uint64_t now);

#endif
