/* llmd/events.h: what engines tell about their caches, read and applied.
 *
 *   frames of a KV-event socket ─► llmd_events_feed ─► index (prefix.h)
 *                                        │
 *                                        └─► ask: the replay request that the host should make
 *
 * No sockets here: the host receives frames and sends what it is asked to. vLLM's and SGLang's batches are read in both
 * encodings (positional arrays, maps). Nothing in a message is trusted: lengths are checked against the bytes that are
 * there, everything has a limit, and one bad event costs only itself. */
#ifndef LLMD_EVENTS_H
#define LLMD_EVENTS_H

#include <llmd/log.h>
#include <llmd/prefix.h>

LLMD_BEGIN

/* ---- reading one batch ------------------------------------------------------------------------------------------- */

#define LLMD_EVENT_STORED 1u
#define LLMD_EVENT_REMOVED 2u
#define LLMD_EVENT_CLEARED 3u
#define LLMD_EVENT_UNKNOWN 4u /* a type that this library does not know: nothing but `type` is set */
#define LLMD_EVENT_BAD 5u     /* malformed: code and offset say how and where; the events after it are read */

/* What group of layers the blocks belong to (vLLM's kv_cache_spec_kind). */
#define LLMD_ATTENTION_UNKNOWN 0u
#define LLMD_ATTENTION_FULL 1u    /* full_attention, mla_attention, sink_full_attention */
#define LLMD_ATTENTION_SLIDING 2u /* sliding_window, sliding_window_mla */
#define LLMD_ATTENTION_OTHER 3u   /* mamba, chunked_local_attention, encoder_only_attention, cross_attention */

/* How a hash was written. */
#define LLMD_NAME_INT 1u    /* an integer, negative ones as their two's complement */
#define LLMD_NAME_DIGEST 2u /* bytes; name = XXH3-64 of them unless they are eight, then these, big-endian */

/* The texts of one block's extra keys, in the engine's order; the adapter's name is not among them. */
typedef struct llmd_event_extra {
  uint32_t block, reserved;
  llmd_str text;
} llmd_event_extra;

/* One event. Arrays and texts live in the payload or in the decoder's buffer until the next event. */
typedef struct llmd_event {
  uint32_t size;
  uint32_t kind;         /* LLMD_EVENT_* */
  llmd_str type;         /* as it was written */
  int32_t code;          /* BAD: LLMD_E_* */
  uint32_t offset;       /* of the event in the payload; BAD: of the fault */
  const uint64_t *name;  /* [n_names] engine hashes */
  const llmd_str *digest; /* [n_names] their bytes, with LLMD_NAME_DIGEST; else NULL */
  uint32_t n_names;
  uint32_t name_form;    /* LLMD_NAME_* */
  uint64_t parent;
  llmd_str parent_digest;
  uint32_t has_parent;
  uint32_t n_tokens;
  const uint32_t *token; /* [n_tokens]; pairs (SGLang's EAGLE) are given by their first member */
  const llmd_event_extra *extra; /* [n_extra] */
  uint32_t n_extra;
  uint32_t block_size;   /* 0 = not said (token-less) */
  uint32_t tier;         /* LLMD_TIER_* after `medium` and `locality`; nil = GPU */
  uint32_t has_group, group;
  uint32_t attention;    /* LLMD_ATTENTION_* */
  uint32_t window;       /* sliding window, tokens; 0 = not said */
  int64_t lora_id;       /* -1 = none */
  llmd_str lora, medium, locality, ownership, session, salt;
} llmd_event;

typedef struct llmd_batch_head {
  uint32_t size;
  uint32_t n;    /* events announced */
  double ts;     /* NaN = not said */
  int64_t rank;  /* -1 = nil */
} llmd_batch_head;

/* Limits, 0 = the default in brackets. */
typedef struct llmd_event_limits {
  uint32_t size;
  uint32_t payload;  /* [4 MiB] */
  uint32_t names;    /* [4096] per event */
  uint32_t tokens;   /* [262144] per event */
  uint32_t extras;   /* [4096] per event */
  uint32_t depth;    /* [8] of nesting in what is skipped */
} llmd_event_limits;

/* Bytes of buffer that decoding with these limits (NULL = defaults) needs, aligned to 8. */
LLMD_API size_t llmd_events_buffer(const llmd_event_limits *limits);

/* Gets each event of a batch, in order. Not 0 = stop. */
typedef int (*llmd_event_fn)(void *ud, const llmd_batch_head *head, const llmd_event *event);
/* Reads one msgpack payload. Returns the number of events handed out, LLMD_E_STOPPED, or what is wrong with the batch
 * itself; *offset (may be NULL) is then where. Bad and unknown events are handed out as such. Any thread. */
LLMD_API int llmd_events_decode(const void *payload, size_t len, const llmd_event_limits *limits, void *buffer,
                                llmd_event_fn fn, void *ud, uint32_t *offset);

/* ---- frames ------------------------------------------------------------------------------------------------------ */

#define LLMD_FRAMES_LIVE 1u   /* [topic, seq, payload] of a subscription */
#define LLMD_FRAMES_REPLAY 2u /* an answer to a replay request, as DEALER or ROUTER side see it, either framing */

typedef struct llmd_frames {
  uint32_t size;
  uint32_t end;     /* 1: the end mark of a replay */
  uint32_t has_topic;
  uint32_t reserved;
  llmd_str topic;
  uint64_t seq;
  llmd_str payload;
} llmd_frames;
/* Takes the parts out of a message. LLMD_E_SYNTAX: no known shape. */
LLMD_API int llmd_frames_read(uint32_t what, const llmd_str *frame, uint32_t n, llmd_frames *out);

/* ---- applying ---------------------------------------------------------------------------------------------------- */

/* Sources: one per connection. A source's last sequence number lives in the region, so that a new writer goes on. */
typedef struct llmd_events llmd_events;
typedef uint32_t llmd_source_id;

typedef struct llmd_events_options {
  uint32_t size;
  uint32_t max_sources;        /* [1024] */
  const llmd_allocator *alloc; /* NULL = malloc */
  llmd_index *index;           /* is fed; the books of sources lie in its memory. Kept open until close */
  uint64_t parked_bytes;       /* [4 MiB] events whose parent is not known yet, all sources together */
  uint64_t cooldown_ns;        /* [30 s] after a replay that failed, before the next is asked for */
  uint64_t replay_ns;          /* [2 min] a replay that is not finished by then failed */
  llmd_event_limits limits;
  llmd_log_fn log;             /* NULL = silent */
  void *log_ud;
  uint64_t copies_bytes;       /* [16 MiB] copies of blocks, 16 bytes each, once a LLMD_SOURCE_COUNTED comes */
} llmd_events_options;

/* (writer) Attaches to the index's books of sources; after a dead writer it asks for what that one was applying. */
LLMD_API int llmd_events_open(const llmd_events_options *options, llmd_events **out, llmd_err *err);
LLMD_API void llmd_events_close(llmd_events *events);

#define LLMD_SOURCE_VLLM 0u
#define LLMD_SOURCE_SGLANG 1u
#define LLMD_SOURCE_COUNTED 1u  /* flags: the engine reports each copy of a block: a block goes with its last copy */
#define LLMD_SOURCE_NO_REPLAY 2u /* flags: nothing to ask: a gap clears the endpoint */
#define LLMD_SOURCE_SHARED 4u    /* flags: a store that all endpoints read; endpoint is ignored */
typedef struct llmd_source {
  uint32_t size;
  uint32_t engine; /* LLMD_SOURCE_* */
  uint32_t flags;
  uint32_t n_ranks;
  llmd_endpoint_id endpoint;     /* who speaks on this connection: never taken from the message */
  const llmd_endpoint_id *ranks; /* [n_ranks] endpoint of each data-parallel rank; none: all ranks are `endpoint` */
  llmd_str topic;                /* what the topic must be; "" = any. Another topic: dropped and counted */
  llmd_str model;                /* the model of the keys' root; "" in pools of one base model */
  uint32_t block_tokens;         /* configured block size; 0 = learn it from events */
  uint32_t scheme;               /* configured LLMD_HASH_*; 0 = learn */
} llmd_source;
/* (writer) The same endpoint again: the same source, its numbers kept, unless what its keys are made of changed.
 * LLMD_E_FULL: max_sources. */
LLMD_API int llmd_events_source(llmd_events *events, const llmd_source *source, llmd_source_id *out);
/* (writer) Nobody will tell about this endpoint any more: it is cleared, and its number is free for another. */
LLMD_API int llmd_events_source_gone(llmd_events *events, llmd_source_id source);

/* What the host is asked to do. */
#define LLMD_ASK_NOTHING 0u
#define LLMD_ASK_REPLAY 1u /* ask the engine for its events from `from` on; feed the answers, then the end mark */
typedef struct llmd_ask {
  uint32_t size;
  uint32_t what;
  uint64_t from;
} llmd_ask;

/* (writer) A message as it came. what: LLMD_FRAMES_*. Live messages that come while a replay runs wait for its end.
 * Returns the number of events applied (0 also for a message that was seen before), or what is wrong with the message
 * (the source stays as it was). *ask is always written. */
LLMD_API int llmd_events_feed(llmd_events *events, llmd_source_id source, uint32_t what, const llmd_str *frame,
                              uint32_t n, const llmd_now *now, llmd_ask *ask);
/* (writer) The host could not make the replay; or, with none under way, the connection is new: what was missed is then
 * asked for, and a restart is seen by its numbers. */
LLMD_API int llmd_events_replay_failed(llmd_events *events, llmd_source_id source, const llmd_now *now);
/* (writer) Deadlines of replays and parked events. Writes what a source wants to be asked now: call until it returns 0.
 * 1: *source and *ask are set. */
LLMD_API int llmd_events_tick(llmd_events *events, const llmd_now *now, llmd_source_id *source, llmd_ask *ask);

typedef struct llmd_source_stats {
  uint32_t size;
  uint32_t degraded;      /* events are missing */
  uint64_t last_seq;      /* applied; UINT64_MAX = none yet */
  uint64_t batches, events, blocks; /* applied */
  uint64_t old;           /* messages at or below last_seq */
  uint64_t gaps, restarts, replays, replays_failed;
  uint64_t bad, unknown;  /* events */
  uint64_t bad_messages, wrong_topic, wrong_rank;
  uint64_t parked, parked_now, parked_lost;
  uint64_t other_groups;  /* events of layers that do not decide */
  uint64_t mismatches;    /* block size or scheme not as configured */
} llmd_source_stats;
/* The writer's thread only. LLMD_E_INVALID: no such source. */
LLMD_API int llmd_events_stats(const llmd_events *events, llmd_source_id source, llmd_source_stats *out);

LLMD_END
#endif
