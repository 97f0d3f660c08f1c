/* For tests of the events room: engines with real sockets, a pool, and a subscriber, all on one loop.
 *
 *   engine: HTTP (/kv_event_sources) · PUB · ROUTER ──loopback── subscriber ─► the pool's index
 *
 * A document is a prompt of four blocks that nothing else begins like. Engines say that they have it, or have it no
 * more; the test asks the index. */
#ifndef LLMD_TESTS_UV_EVENTS_STAND_H
#define LLMD_TESTS_UV_EVENTS_STAND_H

#include <uv.h>

#include <llmd/events.h>
#include <llmd/uv.h>

#include "event_socket.h"

#define ENGINES 4u
#define DOC_BLOCKS 4u
#define BLOCK 4u /* tokens */
#define KEEP 4096u

typedef struct stand stand;

typedef struct engine {
  stand *stand;
  uv_tcp_t http;
  uint32_t port;      /* of HTTP: it stays the same for ever, as an engine's does */
  int status;         /* of its answer; 0 = closes without one */
  char answer[512];
  uint32_t asked;     /* questions over HTTP */
  struct event_socket *socket;
  const char *topic;
  llmd_str kept[KEEP]; /* payloads by number */
  uint64_t seq;
  double time;
  uint64_t from;      /* the lowest number that a replay was asked from; UINT64_MAX = none was since it opened */
  llmd_endpoint_id id;
} engine;

struct stand {
  uv_loop_t loop;
  uv_timer_t pulse; /* so that waiting never hangs */
  llmd_pool *pool;
  llmd_index *index;
  void *scratch;
  llmd_service service;
  llmd_feeder feeder;
  llmd_subscriber *subscriber;
  engine engine[ENGINES];
  uint32_t closing;
  char log[4096]; /* the last lines */
};

void stand_open(stand *t);
void stand_close(stand *t);
void stand_start(stand *t); /* the subscriber */
void stand_stop(stand *t);
/* The loop, once round. 0: the deadline (a generous one, from the last success on) has passed. */
int stand_turn(stand *t, uint64_t began);
/* Goes round until the condition holds; a test fails where it never does. */
#define stand_until(t, condition)                                                                                       \
  for (uint64_t began_ = uv_hrtime(); !(condition);)                                                                    \
  assert_true(stand_turn(t, began_))
llmd_subscriber_stats stand_stats(const stand *t);
/* How many of the document's blocks the endpoint has by the index. */
uint32_t stand_blocks(stand *t, const engine *e, uint32_t document);

/* In the pool, and listening for HTTP (answers 404). */
engine *engine_add(stand *t, uint32_t i);
void engine_remove(engine *e); /* from the pool */
/* Its event sockets, on free ports; replays: 0 = none. bind_at NULL = it listens, else it connects there. It then tells
 * of them when it is asked. */
void engine_open(engine *e, int replays, const char *bind_at);
void engine_close(engine *e);
/* Another process from now on, which counts anew: closed, nothing kept. */
void engine_restart(engine *e);
/* What the documents' messages are; published, or only kept. */
void engine_say(engine *e, uint32_t document);
void engine_drop(engine *e, uint32_t document);
void engine_lose(engine *e, uint32_t document);
/* What is said before a subscription has arrived, or at the end of a connection, is lost, and nobody knows until the next
 * message: says it again and again until the index has it. */
void engine_say_until_heard(engine *e, uint32_t document);
/* A payload of whatever kind. */
void engine_send(engine *e, const void *payload, size_t len, int lose);

#endif
