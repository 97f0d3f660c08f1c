/* Connections to engines: kept alive, taken most recently used first, watched by one sweeping timer.
 *
 *   send ──► kept connection, or a new one ──► head and body in one writev ──► on_head · on_body* · on_end
 *                                              └ what did not fit goes later        └ kept for the next, or closed
 *
 * An engine is named by its address and port, as they stand in the endpoint table. A host name is resolved off the
 * loop, remembered, and asked for again when it ages or stops answering. Connections that nobody uses are read all the
 * same, so one that its engine closes is never handed out.
 *
 * A connection that carries a request is a *leg*. It is the sender's until on_end, on_fail or cancel. Everything
 * belongs to the thread that runs the loop. */
#ifndef LLMD_UV_HTTP_CLIENT_H
#define LLMD_UV_HTTP_CLIENT_H

#include <llmd/alloc.h>
#include <uv.h>

#include "uv/http/reader.h"

typedef struct llmd__client llmd__client;
typedef struct llmd__leg llmd__leg;

#define LLMD__LEG_PIECES 96u /* of a request, at most */

/* Every field is set; times in ms, 0 = none. */
typedef struct llmd__client_options {
  uint32_t connect_ms;
  uint32_t first_byte_ms;   /* from the end of sending to the end of the answer's head */
  uint32_t idle_ms;         /* without a byte of an answer that has begun, or of the request that the engine takes */
  uint32_t keep_ms;         /* of an unused connection */
  uint32_t keep;            /* unused connections of one address */
  uint32_t max_head;        /* of an answer */
  uint32_t max_connections; /* all addresses together */
} llmd__client_options;

/* Why a leg failed. */
enum {
  LLMD__LEG_REFUSED = 1, /* no connection: refused, unreachable, a name that nobody knows */
  LLMD__LEG_NO_CONNECT,  /* no connection in connect_ms */
  LLMD__LEG_STALE,       /* a kept connection that was closed before a byte of the answer came */
  LLMD__LEG_RESET,       /* closed or reset before the answer's head was whole */
  LLMD__LEG_SILENT,      /* no answer in first_byte_ms */
  LLMD__LEG_BROKEN,      /* closed or reset in the midst of the answer */
  LLMD__LEG_STALLED,     /* idle_ms in the midst of the answer */
  LLMD__LEG_MALFORMED    /* no HTTP answer, or one beyond the limits */
};
/* "connection refused", ...; never NULL, static. */
const char *llmd__leg_text(int why);

/* All are called from the loop, never from within send. The leg is gone with on_end and on_fail. */
typedef struct llmd__leg_handler {
  /* Borrowed until on_end, unless the leg is released (llmd__leg_release_head). */
  void (*on_head)(void *ud, const llmd__http_head *head);
  /* Borrowed until on_flush or on_end, which follows before the loop goes on. */
  void (*on_body)(void *ud, llmd_str piece);
  /* All that one read brought has been told, and there will be more. */
  void (*on_flush)(void *ud);
  void (*on_end)(void *ud);
  void (*on_fail)(void *ud, int why);
} llmd__leg_handler;

typedef struct llmd__sending {
  llmd_str address;     /* numeric, or a name */
  uint32_t port;
  uint32_t head_method; /* 1: HEAD, the answer has no body */
  uint32_t fresh;       /* 1: on a new connection */
  uint32_t n;           /* pieces */
  const llmd_str *piece; /* [0]: the head, copied if it does not go at once; the others stay valid as long as the leg */
  const llmd__leg_handler *handler; /* stays valid */
  void *ud;
} llmd__sending;

/* options and alloc (NULL = malloc) are copied. */
int llmd__client_open(uv_loop_t *loop, const llmd__client_options *options, const llmd_allocator *alloc,
                      llmd__client **out);
/* For what is sent from now on. */
void llmd__client_tune(llmd__client *c, const llmd__client_options *options);
/* All legs must be gone. done (NULL allowed) comes from the loop, or at once if client is NULL. */
void llmd__client_close(llmd__client *c, void (*done)(void *ud), void *ud);

/* LLMD_E_LIMIT: max_connections. LLMD_E_NOMEM. LLMD_E_FULL: no descriptor or memory of the system is left. LLMD_E_IO:
 * this address cannot be reached. Nothing is called after an error. */
int llmd__client_send(llmd__client *c, const llmd__sending *what, llmd__leg **out);
/* Closes the connection; nothing is called any more. */
void llmd__leg_cancel(llmd__leg *leg);
/* Stops and goes on reading. */
void llmd__leg_pause(llmd__leg *leg);
void llmd__leg_resume(llmd__leg *leg);
/* 1: all pieces have been handed to the system: the sender's memory is not needed any more. */
int llmd__leg_sent(const llmd__leg *leg);
/* 1: it was in use before. */
int llmd__leg_reused(const llmd__leg *leg);
/* The answer's head is not needed any more: what on_head borrowed goes. */
void llmd__leg_release_head(llmd__leg *leg);

typedef struct llmd__client_stats {
  uint32_t legs, kept, addresses; /* now */
  uint64_t connected, reused, failed; /* ever */
} llmd__client_stats;
void llmd__client_stats_get(const llmd__client *c, llmd__client_stats *out);

#endif
