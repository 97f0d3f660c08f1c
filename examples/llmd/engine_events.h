/* engine_events.h: what an engine tells of its cache: spelled as vLLM does, sent, and kept for replays.
 *
 *   prompt: tokens + names ──► known while it runs ──┐
 *   cache ──► sim_publisher ──► batch of a step ─────┴─► payload ──► event_socket, and the last N are kept
 *
 * Names are the engine's hashes: what they stand for is looked up among the prompts that run, for only those store. */
#ifndef ENGINE_EVENTS_H
#define ENGINE_EVENTS_H

#include <uv.h>

#include "engine_text.h"
#include "sim_publisher.h"

struct engine_events;
struct engine_blocks;

struct engine_block { /* a name's place among all that are known */
  struct engine_block *next, **back;
  const struct engine_blocks *owner;
};

struct engine_blocks { /* of one prompt and its answer; the caller owns the arrays */
  uint64_t *name;
  struct engine_block *block;
  uint32_t n;
  const uint32_t *tokens;
  const char *lora, *salt; /* NULL = none */
};

struct engine_events_options {
  uv_loop_t *loop;
  const char *host;  /* that sockets are bound to; "[::1]" for IPv6 */
  const char *topic;
  const char *connect; /* "tcp://...": live messages go there, to somebody who listens; NULL = it listens itself */
  uint32_t port;     /* 0 = any */
  uint32_t replay_port;
  uint32_t keep;     /* messages */
  uint32_t block_size;
  uint32_t n_blocks; /* of the cache */
};

/* LLMD_E_NOMEM, LLMD_E_IO, LLMD_E_INVALID. */
int engine_events_open(const struct engine_events_options *options, struct engine_events **out);
void engine_events_close(struct engine_events *ev, void (*done)(void *ud), void *ud); /* NULL: nothing is called */

struct sim_publisher *engine_events_publisher(struct engine_events *ev);
void engine_events_know(struct engine_events *ev, struct engine_blocks *blocks);
void engine_events_forget(struct engine_blocks *blocks); /* zeroed ones, too */
/* What has changed since the last call becomes a message. */
void engine_events_send(struct engine_events *ev);
/* The next n messages never arrive; lost: nor are they kept. */
void engine_events_skip(struct engine_events *ev, uint32_t n, int lost);
/* Another process from now on. */
void engine_events_restart(struct engine_events *ev);

/* {"0": {"endpoint": ...}}; NULL: "{}". */
void engine_events_sources(const struct engine_events *ev, struct engine_text *out);
/* "tcp://...", the replay socket's with replay not 0. */
void engine_events_address(const struct engine_events *ev, int replay, char *out, size_t room);

#endif
