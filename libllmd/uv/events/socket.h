/* libzmq's sockets on a libuv loop. The only place that knows libzmq.
 *
 *   hub: one context with its one thread ─┬─ line: SUB, connected or bound   ┐
 *                                         ├─ line: SUB                       ├─► ready list ─► a slice per turn of the loop
 *                                         └─ line: DEALER, a replay          ┘
 *
 * A socket's descriptor only says that there may be something; then the line waits in the ready list until a turn of the
 * loop has found nothing more in it. A turn takes a bounded number of messages and of time for all lines together, line
 * by line, so that one who floods holds up neither the others nor the host's timers.
 *
 * Calls come from the loop, never from within a function of this header. A line may be closed in its own call. */
#ifndef LLMD_UV_EVENTS_SOCKET_H
#define LLMD_UV_EVENTS_SOCKET_H

#include <llmd/types.h>

struct uv_loop_s;

typedef struct llmd__hub llmd__hub;
typedef struct llmd__line llmd__line;

#define LLMD__LINE_UP 1     /* somebody answers, and speaks the protocol */
#define LLMD__LINE_DOWN 2   /* he is gone, or breaks the protocol. After the latter libzmq never tries again: whoever is
                             * not up for long opens another line */
#define LLMD__LINE_FAILED 3 /* nobody there; the line tries again */

typedef struct llmd__line_calls {
  /* The parts of a message, borrowed for the call. n 0: it had more parts than any message that we know. */
  void (*message)(void *ud, const llmd_str *frame, uint32_t n);
  void (*state)(void *ud, int what); /* LLMD__LINE_*; not of a bound line, which may have many others */
} llmd__line_calls;

typedef struct llmd__line_options {
  const char *address; /* "tcp://10.0.0.1:5557", "tcp://[::1]:5557"; port * to bind to any */
  int bind;            /* 1: others connect to us */
  uint32_t retry_ms;   /* at most between two tries to connect; the first come quickly */
  const llmd__line_calls *calls; /* kept */
  void *ud;
} llmd__line_options;

int llmd__hub_open(struct uv_loop_s *loop, llmd__hub **out);
/* Closes every line; done (NULL allowed) comes from the loop when nothing of it is left. */
void llmd__hub_close(llmd__hub *hub, void (*done)(void *ud), void *ud);

/* Gets what others publish under topics that begin with `topic`. LLMD_E_INVALID: no address that libzmq takes,
 * LLMD_E_IO: it cannot be bound, LLMD_E_LIMIT: no descriptors left. */
int llmd__line_subscribe(llmd__hub *hub, const llmd__line_options *options, llmd_str topic, llmd__line **out);
/* Asks for a replay from number `from` on. */
int llmd__line_ask(llmd__hub *hub, const llmd__line_options *options, uint64_t from, llmd__line **out);
/* No more calls. What it had received and nobody had read is gone. NULL allowed. */
void llmd__line_close(llmd__line *line);
/* Where a bound one listens. */
uint32_t llmd__line_port(const llmd__line *line);
/* Bytes and messages of all lines so far. */
void llmd__hub_count(const llmd__hub *hub, uint64_t *messages, uint64_t *bytes);

#endif
