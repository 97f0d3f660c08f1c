/* event_socket.h: an engine's two event sockets, on a libuv loop: live messages out, replays answered.
 *
 *   event_socket_publish ─► PUB ─► [topic, seq, payload]
 *   request [id, "", from] ─► ROUTER ─► answer_fn(from), answer_fn(next), ... ─► [id, "", topic, seq, payload]... end mark
 *
 * As vLLM has them. libzmq stays inside. Everything happens on the loop's thread; answers are sent in slices, so that a
 * long replay, or somebody who does not read, stops nothing. */
#ifndef LLMD_EXAMPLES_EVENT_SOCKET_H
#define LLMD_EXAMPLES_EVENT_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct event_socket;

/* One message that is kept; borrowed until the next call. */
struct event_message {
  uint64_t seq;
  const char *topic;
  size_t topic_len;
  const void *payload;
  size_t len;
};

/* Finds the oldest message kept with a number of at least `from`: 1, or 0 when there is none. */
typedef int (*event_answer_fn)(void *ud, uint64_t from, struct event_message *out);

/* Addresses: "tcp://127.0.0.1:5557"; port 0 or "*" = any free one. pub_address with '>' in front is connected to, as
 * vLLM does with an explicit address ("the subscriber binds"); it has no port then. replay_address NULL or "": no
 * replays. LLMD_E_NOMEM; LLMD_E_INVALID, LLMD_E_IO: not an address, or it is taken. */
int event_socket_open(uv_loop_t *loop, const char *pub_address, const char *replay_address, event_answer_fn answer,
                      void *ud, struct event_socket **out);

/* Answers as vLLM gave them before they had a topic, and SGLang gives them: [id, "", seq, payload]. */
void event_socket_answer_old_way(struct event_socket *s, int on);

/* Nobody connected, or somebody too slow: the message is lost to him, as with any PUB socket. The bytes are copied. */
int event_socket_publish(struct event_socket *s, const char *topic, size_t topic_len, uint64_t seq,
                         const void *payload, size_t len);

/* Where it listens; 0 = nowhere. */
uint32_t event_socket_port(const struct event_socket *s);
uint32_t event_socket_replay_port(const struct event_socket *s);

/* Handles end on the loop; the ports are free when done is called (NULL allowed). s may be NULL: then nothing is
 * called. */
void event_socket_close(struct event_socket *s, void (*done)(void *ud), void *ud);

#endif
