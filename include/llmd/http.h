/* llmd/http.h: HTTP/1.1 served on a libuv loop, bounded and strict. In libllmd-uv.
 *
 *   client ══► head ─► body (buffered to its end) ─► on_request ─► reply, or begin · write* · end ══► client
 *                │                                                      ▲ on_drain: what was written has gone
 *                └─ malformed, too large, too slow: answered here, on_refused for the log
 *
 * What smuggles or splits is refused before anybody sees it: bare CR or LF, folded lines, any transfer coding but exactly
 * `chunked`, Content-Length together with a transfer coding or more than once, control bytes in a head, no Host or two
 * (RFC 9112 §3.2, §6.3, §11). Keep-alive and pipelining are answered in order, `Expect: 100-continue` by itself. All of
 * it belongs to the thread that runs the loop. TLS is left to a proxy in front. */
#ifndef LLMD_HTTP_H
#define LLMD_HTTP_H

#include <llmd/error.h>
#include <llmd/log.h>
#include <llmd/types.h>

LLMD_BEGIN

struct uv_loop_s; /* libuv's uv_loop_t */

typedef struct llmd_http_server llmd_http_server;
typedef struct llmd_http_call llmd_http_call; /* one request and its answer */

typedef struct llmd_http_header {
  llmd_str name, value; /* as they came; value without blanks around it */
} llmd_http_header;

/* A request. Borrowed until the call ends. */
typedef struct llmd_http_request {
  uint32_t size;
  uint32_t n_headers;
  const llmd_http_header *header; /* in the order of arrival; framing headers (Content-Length, ...) among them */
  llmd_str method;
  llmd_str target; /* path and query, as they came */
  llmd_str client; /* "address:port" of the connection, "[address]:port" for IPv6 */
  llmd_str body;   /* decoded from chunks; empty in on_head */
  uint64_t number; /* of the call, from 1, of this server */
  uint64_t begun;  /* mono ns: its first byte */
  uint32_t minor;  /* HTTP/1.minor */
  uint32_t has_body; /* it announced one */
} llmd_http_request;

/* Why the server answered by itself, or hung up. */
typedef struct llmd_http_refusal {
  uint32_t size;
  uint32_t status;  /* answered: 400, 408, 413, 414, 417, 431, 501, 503, 505 with an error body as OpenAI's; 0 = hung up */
  const char *text; /* "bare CR in a header", ...; NUL-terminated, static */
  llmd_str client;  /* borrowed for the call */
} llmd_http_refusal;

typedef struct llmd_http_handler {
  uint32_t size;
  uint32_t reserved;
  void *ud;
  /* The request is complete. Answer now or later. */
  void (*on_request)(void *ud, llmd_http_call *call);
  /* The head is complete, the body not read yet: answering here refuses the body (the connection closes after the
   * answer, unless there is no body). NULL: every head is welcome. */
  void (*on_head)(void *ud, llmd_http_call *call);
  /* After llmd_http_write returned 1: less than half the mark is pending now. NULL allowed. */
  void (*on_drain)(void *ud, llmd_http_call *call);
  /* The client has gone, or was too slow, before the answer was whole. The call is invalid after this. NULL allowed. One
   * that ends its sending side while an answer is due counts as gone; if it has sent more requests ahead than its socket
   * holds, that is only seen after this answer. Never comes from within a function of a call. */
  void (*on_gone)(void *ud, llmd_http_call *call);
  /* NULL allowed. */
  void (*on_refused)(void *ud, const llmd_http_refusal *refusal);
} llmd_http_handler;

/* Limits; 0 = the default in brackets. */
typedef struct llmd_http_options {
  uint32_t size;
  uint32_t max_connections; /* [20000] more are accepted and closed at once with 503 */
  uint32_t max_head;        /* [32768] bytes of request line and headers together: 431, 414 */
  uint32_t max_headers;     /* [128] 431 */
  uint64_t max_body;        /* [16 MiB] 413 */
  uint64_t max_bodies;      /* [1 GiB] bodies held at a time, all connections together: 503 */
  uint32_t head_ms;         /* [10000] from a request's first byte to the end of its head: 408 */
  uint32_t body_ms;         /* [30000] without a byte of the body: 408 */
  uint32_t body_rate;       /* [1024] bytes a second that a body must make on average after body_ms: 408 */
  uint32_t idle_ms;         /* [75000] between requests of a connection, and before its first: hang up */
  uint32_t write_ms;        /* [60000] without the client taking a byte: reset */
  uint32_t max_pending;     /* [256 KiB] the mark: bytes of an answer that wait for the client */
  uint32_t max_calls;       /* [0 = no end] requests on one connection, then it closes */
  uint32_t reserved;
} llmd_http_options;

/* Listens on "address:port" ("[::1]:80", port 0 = any), on a descriptor that is bound and listening already (fd >= 0;
 * it is taken over), or on "unix:PATH". handler and options are copied. LLMD_E_BUSY: the address is taken. */
LLMD_API int llmd_http_listen(struct uv_loop_s *loop, const char *address, int fd, const llmd_http_handler *handler,
                              const llmd_http_options *options, llmd_http_server **out, llmd_err *err);
/* The port that it listens on, 0 = none. */
LLMD_API uint32_t llmd_http_port(const llmd_http_server *server);
/* No new connections; those that wait between requests are closed, others after their answer ("Connection: close").
 * done(ud) once nobody is left. */
LLMD_API void llmd_http_drain(llmd_http_server *server, void (*done)(void *ud), void *ud);
/* Everything is reset; on_gone for each open call; done(ud) (NULL allowed) when the memory is about to go. NULL server
 * allowed: done at once. */
LLMD_API void llmd_http_close(llmd_http_server *server, void (*done)(void *ud), void *ud);

typedef struct llmd_http_stats {
  uint32_t size;
  uint32_t connections, calls, reserved; /* now */
  uint64_t accepted, requests, refused, bytes_in, bytes_out;
  uint64_t body_bytes; /* held now */
} llmd_http_stats;
/* Of the server, as of now. */
LLMD_API int llmd_http_stats_get(const llmd_http_server *server, llmd_http_stats *out);

/* ---- a call ------------------------------------------------------------------------------------------------------ */
/* What was asked. */
LLMD_API const llmd_http_request *llmd_http_request_of(const llmd_http_call *call);
/* The first header of this name, in any case. LLMD_E_NONE. */
LLMD_API int llmd_http_header_of(const llmd_http_call *call, const char *name, llmd_str *out);
/* The host's own pointer. */
LLMD_API void llmd_http_set_data(llmd_http_call *call, void *data);
LLMD_API void *llmd_http_data(const llmd_http_call *call);
/* The body is not needed any more: its memory goes now instead of at the end of the call. */
LLMD_API void llmd_http_drop_body(llmd_http_call *call);

/* Headers are written as they are given: no CR, LF or NUL in them (LLMD_E_INVALID). Content-Length, Transfer-Encoding,
 * Connection and Date are the server's and left out if given. Everything is copied or sent before a call returns. */

/* LLMD_E_INVALID, LLMD_E_STATE and LLMD_E_RANGE change nothing: the call goes on. So does it after LLMD_E_NOMEM, but of
 * write and end. */

/* The whole answer; the call ends. type NULL: no Content-Type. LLMD_E_CLOSED: it ended, nobody was there to see it. */
LLMD_API int llmd_http_reply(llmd_http_call *call, uint32_t status, const char *type, const llmd_http_header *headers,
                             uint32_t n, const char *body, size_t len);
/* Begins an answer. length: of its body, -1 = not known (chunked; for HTTP/1.0 it ends with the connection). The head
 * goes out with the first write, or with a write of nothing. */
LLMD_API int llmd_http_begin(llmd_http_call *call, uint32_t status, const llmd_http_header *headers, uint32_t n,
                             int64_t length);
/* The next bytes of its body, in pieces, sent as one chunk. 1: more than the mark is pending: wait for on_drain before
 * the next (0 otherwise). LLMD_E_RANGE: more than `length`. LLMD_E_CLOSED: nobody takes it, on_gone follows. */
LLMD_API int llmd_http_write(llmd_http_call *call, const llmd_str *piece, uint32_t n);
/* The answer is whole; the call is invalid. A shorter body than announced resets the connection. Trailing bytes may be
 * given with it (NULL, 0 = none), so that one system call does. LLMD_E_CLOSED as of reply. */
LLMD_API int llmd_http_end(llmd_http_call *call, const llmd_str *piece, uint32_t n);
/* Resets the connection: the client must see that the answer is not whole. The call is invalid; no on_gone. */
LLMD_API void llmd_http_abort(llmd_http_call *call);
/* Bytes of the answer that have gone into the connection's socket or wait to. */
LLMD_API uint64_t llmd_http_sent(const llmd_http_call *call);

LLMD_END
#endif
