/* A proxy, engines and clients on one loop, in one process. Engines are sockets that say what a test tells them to; a
 * client sends bytes and keeps what comes back. Nothing sleeps: rig_run goes on until a condition holds, and fails the
 * test after a deadline that only a hang reaches. */
#ifndef RIG_H
#define RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>
#include <llmd/uv.h>
#include <uv.h>

#include "uv/proxy/inner.h"

#define RIG_ENGINES 4

struct rig;

/* What an engine does with a whole request. */
enum {
  RIG_ANSWER, /* sends `answer`, keeps the connection */
  RIG_LAST,   /* sends `answer`, closes */
  RIG_CLOSE,  /* closes without a word */
  RIG_RESET,  /* the same with a reset */
  RIG_SILENT, /* says nothing until told */
  RIG_FLOOD   /* sends a chunked answer of `flood` bytes as fast as it goes */
};

typedef struct rig_engine {
  struct rig *rig;
  uv_tcp_t listener;
  int open;
  uint32_t port;
  llmd_endpoint_id id;
  int does;
  const char *answer;
  const char *early; /* sent as soon as a connection brings a byte; what it brings then is not read on */
  int deaf;          /* connections are not read */
  uint64_t flood, flooded;
  uint32_t connections, requests, closed; /* ever */
  struct rig_link *link;   /* the newest connection */
  char seen[1 << 20];      /* the last request, head and body */
  size_t seen_len;
} rig_engine;

typedef struct rig_link { /* a connection to an engine */
  uv_tcp_t tcp;
  rig_engine *engine;
  char *in;
  size_t len, cap;
  int over;
} rig_link;

typedef struct rig_client {
  struct rig *rig;
  uv_tcp_t tcp;
  uv_connect_t connect;
  char *got;
  size_t len, cap;
  uint64_t total; /* bytes, also those not kept */
  int ended, closed, keep; /* keep: what comes is kept (default) */
} rig_client;

typedef struct rig {
  uv_loop_t loop;
  uv_timer_t beat;
  llmd_pool *pool;
  llmd_service *service;
  llmd_proxy *proxy;
  rig_engine engine[RIG_ENGINES];
  uint32_t n_engines;
  int done; /* the proxy has ended */
  char log_path[64];
} rig;

/* yaml: over `listen: 127.0.0.1:0`. */
void rig_start(rig *r, uint32_t engines, const char *yaml);
/* Closes all; every request's charge has been given back (checked). */
void rig_stop(rig *r);
llmd_service *rig_service(const char *yaml);
/* The engine no longer listens, and its connections close. */
void rig_engine_down(rig *r, uint32_t i);
/* The engine sends this on its newest connection; close = 1: and closes. */
void rig_engine_send(rig_engine *e, const char *text, size_t len, int close);
/* Until *flag, or the deadline. */
void rig_until(rig *r, int (*holds)(void *ud), void *ud);

void rig_client_open(rig *r, rig_client *c, const char *text, size_t len);
/* More bytes. */
void rig_client_send(rig_client *c, const char *text, size_t len);
void rig_client_close(rig_client *c);
/* Until it has ended (the server closes), then closed; what came is NUL-terminated in c->got. */
void rig_client_finish(rig_client *c);
/* One request with "Connection: close": the answer, to be freed. */
char *rig_ask(rig *r, const char *text, size_t len);
/* POST of a body to a path, headers ("Name: value\r\n...") or "". */
char *rig_post(rig *r, const char *path, const char *headers, const char *body, size_t len);
int64_t rig_inflight(rig *r);
/* The access log so far, to be freed. */
char *rig_log(rig *r);

#define RIG_JSON_ANSWER "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "

#endif
