/* An engine for tests, on the test's own loop: it reads a request and does what the test tells it to, well-behaved or
 * not. Tests wait for conditions with engine_until, never for time. */
#ifndef LLMD_TESTS_UV_ENGINE_H
#define LLMD_TESTS_UV_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct engine engine;
typedef struct caller caller; /* a connection */

/* A whole request has come: head and, with Content-Length, its body. */
typedef void (*engine_fn)(caller *c, const char *request, size_t len);

struct engine {
  uv_tcp_t tcp;
  unsigned port;
  engine_fn on_request;
  void *ud;
  unsigned connections; /* ever */
  unsigned requests;
  unsigned open; /* connections now */
  unsigned busy, most_busy; /* requests that were not answered yet */
  uint64_t asked[64]; /* uv_hrtime of the first requests */
  char last[8192];    /* the last request, NUL-terminated */
  caller *callers;
  unsigned handles;
};

/* Listens on a port of 127.0.0.1 that the kernel chooses. */
void engine_start(engine *e, uv_loop_t *loop, engine_fn fn, void *ud);
/* Closes everything, waits for it. */
void engine_stop(engine *e);

engine *caller_engine(caller *c);
/* Bytes as they are. */
void caller_send(caller *c, const void *bytes, size_t len);
void caller_text(caller *c, const char *text);
/* A whole answer with Content-Length; the request counts as answered. */
void caller_answer(caller *c, const char *head, const char *body, size_t len);
/* The connection goes: politely, or by a reset. */
void caller_hang_up(caller *c);
void caller_reset(caller *c);
/* The same bytes over and over, every ms, until the connection goes. */
void caller_drip(caller *c, const char *bytes, size_t len, unsigned ms);

/* Runs the loop until met(ud). After half a minute the test fails. */
void engine_until(uv_loop_t *loop, int (*met)(void *ud), void *ud, const char *what);
/* Runs the loop for so long: only for things that are not to happen. */
void engine_pass(uv_loop_t *loop, unsigned ms);
/* Runs the loop to its end, and closes it; fails when handles were left. */
void engine_loop_end(uv_loop_t *loop);

#endif
