/* Sources of events: one per connection. Where each one stands in its stream of numbered messages, what is missing, and
 * what the host is asked to do about it.
 *
 *   live message ─► source_feed.c: is it its turn? ─► apply.c ─► index
 *                        │ no: it waits (parked.h), and a replay is asked for
 *   replay ──────────────┘ fills the gap, then what waited is applied
 *
 * A number is "next" when it is the one expected now: everything below was applied, nothing above was. Replays are
 * asked for from the message before that, which was applied already: when it comes back with another time in it, or
 * not at all, another process is speaking, and what the index knows of its endpoint is not true any more.
 *
 * What a successor must know lies in the index's memory, one record of 64 bytes per source. */
#ifndef LLMD_PREFIX_SOURCE_H
#define LLMD_PREFIX_SOURCE_H

#include <llmd/events.h>

#include <stdatomic.h>

#include "base/error.h"
#include "prefix/apply_copies.h"
#include "prefix/parked.h"

#define LLMD__RECORD_REPAIR 1u  /* the writer knew that events were missing */
#define LLMD__RECORD_REFILL 2u  /* ... and that all must be asked for again */
#define LLMD__RECORD_COUNTED 4u

/* In the index's memory; all zero is free. A field is one word, so that a dying writer leaves the old or the new. */
typedef struct llmd__source_record {
  _Atomic uint64_t endpoint;
  _Atomic uint64_t next;
  _Atomic uint64_t time;     /* bits of the time in the message before next; NaN = not known */
  _Atomic uint32_t applying; /* 1: message `next` is being applied, or its writer died in it */
  _Atomic uint32_t flags;
  _Atomic uint32_t config;   /* hash of what the keys depend on besides the tokens */
  _Atomic uint32_t dense;    /* bit: this group of layers has full attention; its events are applied */
  _Atomic uint32_t block_tokens, scheme;
  _Atomic uint32_t lane[2];   /* bit: this group has a sliding window, and LLMD_TIER_WINDOW, or _2, is its tier */
  _Atomic uint32_t window[2]; /* of such a lane, in tokens */
} llmd__source_record;

_Static_assert(sizeof(llmd__source_record) == 64, "a record is what the index keeps per row");

#define LLMD__WANT_NOTHING 0u
#define LLMD__WANT_REST 1u /* what came after the last applied */
#define LLMD__WANT_ALL 2u

typedef struct llmd__source {
  uint32_t used;
  uint32_t engine, flags, n_ranks;
  llmd_endpoint_id endpoint;
  llmd_endpoint_id *ranks; /* begins the block of memory in which topic and model lie too */
  size_t block_len;
  llmd_str topic, model;
  uint32_t block_tokens, scheme; /* configured */
  llmd__source_record *record;   /* `own` when the book has no place */
  llmd__source_record own;

  uint64_t live_next;  /* 1 + the highest live number; 0 = none came */
  double live_time;    /* in that message */
  double seen;         /* latest in any message; NaN = none */
  double floor;        /* until floor_until: what is earlier than this comes from the process before */
  uint64_t floor_until;
  uint64_t back_next;  /* a row of live messages that were there before: they may be a new process's */
  uint32_t back_run;

  uint32_t want;       /* LLMD__WANT_*: what to ask for */
  uint32_t loose;      /* the next message, whatever its number, is the first that counts */
  uint32_t empty;      /* nothing was applied since the endpoint was cleared */
  uint32_t replaying;  /* LLMD__WANT_* that was asked for */
  uint32_t got, verified, hole; /* of this replay: messages; the one before next came back; one is missing */
  uint32_t attempts;   /* replays in a row that brought nothing new */
  uint64_t begun;      /* next when it was asked for */
  uint64_t first;      /* first number of a replay that began too late; UINT64_MAX = none did */
  uint64_t deadline, cool_until;
  uint32_t warned, roots; /* LLMD__WARNED_*; first blocks of prompts whose scheme was tried */
  llmd_source_stats stats;
} llmd__source;

#define LLMD__WARNED_SIZE 1u
#define LLMD__WARNED_SCHEME 2u

struct llmd_events {
  llmd_allocator alloc;
  llmd_index *index;
  const uint8_t *secret;
  llmd_log_fn log;
  void *log_ud;
  uint64_t cooldown_ns, replay_ns, copies_bytes;
  llmd_event_limits limits;
  uint32_t max_sources, cursor;
  llmd__source *source;         /* [max_sources] */
  llmd__source_record *book;    /* [records], in the index's memory */
  uint32_t records;
  llmd__parked parked;
  llmd__block_copies copies;
  /* for one batch, one event */
  size_t buffer_len;
  void *buffer;
  llmd_key *key;                /* [limits.names] */
  uint64_t *name;               /* [limits.names] */
  llmd_extra *extra;            /* [limits.extras + 1] */
};

void llmd__events_say(const llmd_events *e, int level, const char *fmt, ...) LLMD__PRINTF(3, 4);

static inline uint64_t llmd__record_get(const _Atomic uint64_t *p)
{
  return atomic_load_explicit(p, memory_order_acquire);
}

static inline void llmd__record_set(_Atomic uint64_t *p, uint64_t v)
{
  atomic_store_explicit(p, v, memory_order_release);
}

static inline uint32_t llmd__record_get32(const _Atomic uint32_t *p)
{
  return atomic_load_explicit(p, memory_order_acquire);
}

static inline void llmd__record_set32(_Atomic uint32_t *p, uint32_t v)
{
  atomic_store_explicit(p, v, memory_order_release);
}

static inline uint32_t llmd__source_number(const llmd_events *e, const llmd__source *s)
{
  return (uint32_t)(s - e->source);
}

/* Ranks 0..n_ranks-1, and n_ranks for events that name none. 0 = no endpoint. */
static inline llmd_endpoint_id llmd__source_endpoint(const llmd__source *s, uint32_t rank)
{
  return rank < s->n_ranks ? s->ranks[rank] : s->endpoint;
}

#define LLMD__MAX_RANKS 4094u

/* Who the copies of a block are counted for. */
static inline uint32_t llmd__source_who(const llmd_events *e, const llmd__source *s, uint32_t rank)
{
  return llmd__source_number(e, s) << 12 | rank;
}

/* source.c. NULL: no such source. */
llmd__source *llmd__source_at(const llmd_events *e, llmd_source_id id);
/* Writes down for a successor what is missing. Before anything is cleared: he must not take it for whole. */
void llmd__source_note(llmd__source *s);
/* Of the last message applied; NaN = not known. */
double llmd__source_time(const llmd__source *s);
/* Tells the index what is known of the source's endpoints. */
void llmd__source_describe(llmd_events *e, const llmd__source *s);
/* Nothing is known of what they hold, nor of their sliding windows; what waited for a parent is dropped too. */
void llmd__source_clear(llmd_events *e, llmd__source *s);

#endif
