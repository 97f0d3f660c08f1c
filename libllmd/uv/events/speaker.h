/* One endpoint and how its engine is heard.
 *
 *   endpoint ─► where? (where.h) ─► live line ──┐
 *                                └► replay line ┴─► llmd_events_feed ─► ask ─► replay line
 *
 * A speaker belongs to a subscriber (subscriber.c), which lets it be when its endpoint is gone. */
#ifndef LLMD_UV_EVENTS_SPEAKER_H
#define LLMD_UV_EVENTS_SPEAKER_H

#include <llmd/events.h>
#include <llmd/uv.h>

#include "uv/events/socket.h"
#include "uv/events/where.h"
#include "uv/fetch/fetch.h"

typedef struct llmd__speaker llmd__speaker;

struct llmd_subscriber {
  llmd_feeder feeder;
  const struct llmd_service_events *config;
  uint32_t on;            /* 0: nobody wants events; all functions do nothing */
  llmd_events *events;
  llmd_index *index;
  llmd__hub *hub;
  llmd__fetch *fetch;
  llmd__line *bound;      /* where engines find us */
  void *timer;            /* uv_timer_t */
  llmd__speaker **by_slot;
  uint32_t slots;
  llmd__speaker **by_source; /* [max_sources] */
  uint32_t max_sources;
  uint32_t speakers, epoch;
  uint32_t replays;       /* under way */
  uint64_t bad;           /* messages that were nobody's */
  llmd_source_stats gone; /* of sources that are no more */
  uint32_t parts;         /* that are still closing */
  llmd_done_fn done;
  void *done_ud;
};

struct llmd__speaker {
  llmd_subscriber *sub;
  llmd_endpoint_id id;
  char address[64]; /* numeric */
  uint32_t port, rank;
  uint32_t engine;       /* LLMD_SOURCE_* */
  uint32_t block_tokens, scheme; /* by its metrics; 0 = not known */
  llmd_source_id source; /* once it is known to libllmd */
  uint32_t known;
  uint32_t epoch;        /* of the subscriber, when it was last seen in the table */
  llmd__where where;
  uint64_t question;     /* under way; 0 = none */
  uint64_t ask_at;       /* mono ns */
  llmd__line *live;
  uint32_t up;           /* its live line is connected */
  uint64_t reopen_at;    /* mono ns, when it still is not */
  uint64_t settles_at;   /* mono ns, until the new connection has settled; then 0 */
  uint32_t warned;
  /* the replay that libllmd asked for */
  uint32_t wanted;       /* it has not begun yet */
  uint64_t from;
  llmd__line *replay;
  uint64_t replay_begun, replay_seen; /* mono ns; seen: something came of it */
  uint32_t replay_got, replay_refused;
  uint32_t strikes;      /* replays in a row of which nothing came */
  uint32_t mute;         /* it does not answer replays: libllmd knows */
};

/* e: as llmd_pool_each has it. */
int llmd__speaker_open(llmd_subscriber *sub, llmd_endpoint_id id, const llmd_endpoint *e, llmd__speaker **out);
/* The source stays: what is known of it may be a successor's. */
void llmd__speaker_close(llmd__speaker *s);
/* What its labels and metrics say now. */
void llmd__speaker_learn(llmd__speaker *s, const llmd_endpoint *e);
/* Questions that are due, replays that do not come. */
void llmd__speaker_tick(llmd__speaker *s, const llmd_now *now);
/* libllmd wants a replay. */
void llmd__speaker_ask(llmd__speaker *s, uint64_t from);
/* A message of its live line, or one that came on the line which engines find us by. */
void llmd__speaker_hear(llmd__speaker *s, const llmd_str *frame, uint32_t n);
/* It turned out to be one that connects to us. */
void llmd__speaker_speaks(llmd__speaker *s);

/* subscriber.c: asks libllmd what it wants replayed, until it wants nothing. */
void llmd__subscriber_pump(llmd_subscriber *sub, const llmd_now *now);

#endif
