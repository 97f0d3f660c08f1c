/* Inside the server. A connection has one call at a time; requests that follow it wait in `in` or in the socket.
 *
 *   IDLE ─ first byte ─► HEAD ─► BODY ─► ANSWER ─ end ─► FLUSH ─ all gone ─► IDLE, or LINGER ─► closed
 *
 * Polled, not streamed: the descriptor is read and written here (recvmsg straight into a body, sendmsg without SIGPIPE),
 * and what libuv's poll is asked for changes only when a client is slow or pipelines. */
#ifndef LLMD_UV_HTTP_SERVER_H
#define LLMD_UV_HTTP_SERVER_H

#include <llmd/http.h>
#include <uv.h>

#include "uv/http/bodies.h"
#include "uv/http/reader.h"
#include "uv/http/socket.h"

#define LLMD__HTTP_READ 65536u    /* the server's reading buffer */
#define LLMD__HTTP_QUEUE 4096u    /* first size of a queue; emptied ones of this size are kept */
#define LLMD__HTTP_KEPT 256u      /* of connections and queues that wait for another use */
#define LLMD__HTTP_LINGER_MS 5000u /* for the client to read why it was refused */

typedef struct llmd__connection llmd__connection;
struct iovec;

enum { LLMD__IDLE, LLMD__HEAD, LLMD__BODY, LLMD__ANSWER, LLMD__FLUSH, LLMD__LINGER };

struct llmd_http_call {
  llmd__connection *of;
  llmd_http_request request;
  void *data;
  llmd__http_body body;
  uint8_t open;    /* between its head and its end */
  uint8_t known;   /* the host has seen it */
  uint8_t begun;   /* its answer's head is made */
  uint8_t chunked, bodyless; /* of the answer */
  int64_t length;  /* of the answer's body, -1 = not known */
  uint64_t body_sent, sent;
};

struct llmd__connection {
  uv_poll_t poll;
  llmd_http_server *server;
  llmd__connection *next, *prev;
  llmd__connection *later; /* in the server's list for the next turn of the loop */
  llmd__http_reader reader;
  llmd_http_call call;
  int fd;
  int events;       /* that libuv polls for now */
  uint8_t phase;
  uint8_t closed;   /* the descriptor is; memory goes with libuv's callback */
  uint8_t broken;   /* sending failed: on_gone follows */
  uint8_t stopped;  /* not reading: bytes of the next request wait, or nobody wants them */
  uint8_t keep;     /* after this answer */
  uint8_t running;  /* requests are being read further up the stack */
  uint8_t blocked;  /* the socket took no more; out waits for it */
  uint8_t drained;  /* 1: on_drain is due */
  uint8_t half;     /* the client sends no more; its last answer is still going out */
  uint8_t unread;   /* it may be sending what nobody wants: linger before closing */
  uint8_t is_later;
  uint32_t calls;
  uint32_t client_len;
  char *out;        /* bytes of answers that wait: [out_begin, out_end) */
  size_t out_begin, out_end, out_cap;
  char *in;         /* bytes of requests that wait: [in_begin, in_end) */
  size_t in_begin, in_end, in_cap;
  uint64_t since;       /* ms: the phase's beginning; LINGER, HEAD, IDLE */
  uint64_t byte_at;     /* ms: last byte of the body */
  uint64_t written_at;  /* ms: last byte that the client took, or the first that waited */
  uint64_t first_byte;  /* ns: of the request */
  char client[LLMD__SOCKET_TEXT];
};

struct llmd_http_server {
  uv_loop_t *loop;
  uv_poll_t listener;
  uv_timer_t sweep;
  uv_timer_t turn; /* fires once, at the next turn of the loop */
  llmd_http_handler handler;
  llmd_http_options options;
  llmd__http_limits limits;
  llmd__http_bodies bodies;
  int fd;
  uint32_t port;
  uint32_t sweep_ms;
  uint32_t handles; /* of the server, open */
  uint8_t draining, closing;
  uint8_t listening; /* the listener is a handle */
  uint8_t paused;    /* no descriptor or memory for more connections; tried again at the next sweep */
  uint8_t sweeping;  /* the timer runs */
  llmd__connection *first, *later, *spare;
  llmd__connection *sweep_next; /* while sweeping: whoever is checked may end others */
  char *path; /* of a unix socket that was made here, else NULL */
  uint32_t n_spare, n_spare_queues;
  void *spare_queue;
  uint32_t n_connections, n_calls, n_closing;
  uint64_t number, accepted, requests, refused, bytes_in, bytes_out;
  void (*done)(void *ud);
  void *done_ud;
  uint64_t date_at; /* ms */
  char date[40];    /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */
  char *buffer;     /* LLMD__HTTP_READ bytes */
};

/* ---- connection.c ---------------------------------------------------------------------------------------------- */
void llmd__connection_open(llmd_http_server *s, int fd, const struct sockaddr *address);
/* Closes the descriptor, frees what it holds. The memory of the connection itself stays until libuv's callback. */
void llmd__connection_close(llmd__connection *c, int reset);
/* on_gone, if the host knows of a call. The connection may be closed after it. */
void llmd__connection_tell_gone(llmd__connection *c);
/* The client is not there any more: on_gone if the host knows of a call, then closed. */
void llmd__connection_gone(llmd__connection *c, int reset);
/* The call's answer is whole: on to the next, once everything is sent. */
void llmd__connection_end_call(llmd__connection *c);
/* The queue is empty after an answer's end. */
void llmd__connection_flushed(llmd__connection *c);
/* Asks libuv for what is needed now. */
void llmd__connection_poll(llmd__connection *c);
/* Comes back at the next turn of the loop. */
void llmd__connection_later(llmd__connection *c);
/* What takes too long ends. now: ms. */
void llmd__connection_check(llmd__connection *c, uint64_t now);
/* The server goes: memory that waits for another use. */
void llmd__connection_free_spare(llmd_http_server *s);

/* Bytes read, 0 = none now; the connection may be closed after it. */
size_t llmd__connection_receive(llmd__connection *c, struct iovec *vec, size_t n);

/* ---- request.c ------------------------------------------------------------------------------------------------- */
/* Reads what the socket has, and asks the host. */
void llmd__request_read(llmd__connection *c);
/* The same with bytes that have waited for an answer to end. */
void llmd__request_resume(llmd__connection *c);
/* The server answers by itself and closes. A host that knows of the call loses it. */
void llmd__request_refuse(llmd__connection *c, uint32_t status, const char *text);

/* ---- answer.c -------------------------------------------------------------------------------------------------- */
/* The server's own answer; the connection closes behind it. */
void llmd__answer_refusal(llmd__connection *c, uint32_t status, const char *text);
/* "100 Continue" */
void llmd__answer_continue(llmd__connection *c);

/* ---- out.c ----------------------------------------------------------------------------------------------------- */
/* Appends to the queue. LLMD_E_NOMEM. */
int llmd__out_add(llmd__connection *c, const char *p, size_t len);
/* Sends the queue and, behind it, these; what the socket does not take is queued. vec[0] is left free for the queue; vec
 * is changed. LLMD_E_CLOSED. */
int llmd__out_send(llmd__connection *c, struct iovec *vec, int n);
/* The socket takes bytes again. LLMD_E_CLOSED. */
int llmd__out_flush(llmd__connection *c);
/* Gives the queue's memory back. */
void llmd__out_drop(llmd__connection *c);
/* Bytes that wait. */
size_t llmd__out_pending(const llmd__connection *c);

/* ---- server.c -------------------------------------------------------------------------------------------------- */
void llmd__server_report(llmd_http_server *s, const llmd__connection *c, uint32_t status, const char *text);
/* Connections have gone: is anybody waiting for that? */
void llmd__server_left(llmd_http_server *s);
/* There is something to sweep. */
void llmd__server_watch(llmd_http_server *s);
/* (connection.c) Another turn of the loop, please. */
void llmd__server_turn(llmd_http_server *s);

#endif
