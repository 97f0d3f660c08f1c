/* A server and its clients in one thread: clients are plain sockets, and whoever waits for one turns the server's loop
 * meanwhile. Nothing sleeps and hopes; a wait ends with what it waits for, or the test fails after 30 seconds. */
#ifndef RIG_H
#define RIG_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include <llmd/http.h>

#define FLOOD (16u << 20) /* more than sockets hold */

typedef struct rig {
  uv_loop_t loop;
  llmd_http_server *server;
  llmd_http_call *waiting; /* the last call of /later */
  uint32_t requests, heads, gone, refusals, drains, done;
  uint32_t status;         /* of the last refusal */
  char why[64], client[64], target[64], method[16];
  uint64_t flooded, number;
  int rc;                  /* what the handler's calls said */
} rig;

static const llmd_str piece_hello = { "hello", 5 };

static void flood_on(rig *r, llmd_http_call *call)
{
  static char block[16384];
  llmd_str piece = { block, sizeof block };
  r->rc = 0;
  while (r->flooded < FLOOD && r->rc == 0) {
    r->rc = llmd_http_write(call, &piece, 1);
    if (r->rc >= 0)
      r->flooded += sizeof block;
  }
  if (r->flooded >= FLOOD)
    r->rc = llmd_http_end(call, NULL, 0);
}

static void write_chunks(llmd_http_call *call)
{
  llmd_str two[2] = { { "he", 2 }, { "llo", 3 } };
  assert_int_equal(llmd_http_begin(call, 200, NULL, 0, -1), 0);
  assert_int_equal(llmd_http_write(call, NULL, 0), 0); /* the head alone */
  assert_int_equal(llmd_http_write(call, two, 2), 0);
  assert_int_equal(llmd_http_write(call, &piece_hello, 1), 0);
  assert_int_equal(llmd_http_end(call, &piece_hello, 1), 0);
}

static void write_less(rig *r, llmd_http_call *call, int abort)
{
  assert_int_equal(llmd_http_begin(call, 200, NULL, 0, 10), 0);
  assert_int_equal(llmd_http_write(call, &piece_hello, 1), 0);
  if (abort)
    llmd_http_abort(call);
  else
    r->rc = llmd_http_end(call, NULL, 0);
}

static int path_is(const llmd_http_request *q, const char *path)
{
  return q->target.len == strlen(path) && memcmp(q->target.ptr, path, q->target.len) == 0;
}

static inline void rig_on_request(void *ud, llmd_http_call *call)
{
  rig *r = ud;
  const llmd_http_request *q = llmd_http_request_of(call);
  r->requests++;
  r->number = q->number;
  (void)snprintf(r->client, sizeof r->client, "%.*s", (int)q->client.len, q->client.ptr);
  (void)snprintf(r->target, sizeof r->target, "%.*s", (int)q->target.len, q->target.ptr);
  (void)snprintf(r->method, sizeof r->method, "%.*s", (int)q->method.len, q->method.ptr);
  if (path_is(q, "/later"))
    r->waiting = call;
  else if (path_is(q, "/chunks"))
    write_chunks(call);
  else if (path_is(q, "/flood") && llmd_http_begin(call, 200, NULL, 0, -1) == 0)
    flood_on(r, call);
  else if (path_is(q, "/abort") || path_is(q, "/short"))
    write_less(r, call, path_is(q, "/abort"));
  else
    r->rc = llmd_http_reply(call, 200, "text/plain", NULL, 0, q->has_body ? q->body.ptr : q->target.ptr,
                            q->has_body ? q->body.len : q->target.len);
}

static inline void rig_on_head(void *ud, llmd_http_call *call)
{
  rig *r = ud;
  r->heads++;
  assert_int_equal(llmd_http_request_of(call)->body.len, 0);
  if (path_is(llmd_http_request_of(call), "/denied"))
    r->rc = llmd_http_reply(call, 403, NULL, NULL, 0, "no", 2);
  else if (path_is(llmd_http_request_of(call), "/early"))
    r->waiting = call;
}

static inline void rig_on_drain(void *ud, llmd_http_call *call)
{
  rig *r = ud;
  r->drains++;
  flood_on(r, call);
}

static inline void rig_on_gone(void *ud, llmd_http_call *call)
{
  rig *r = ud;
  assert_non_null(llmd_http_request_of(call)->method.ptr);
  r->gone++;
  if (r->waiting == call)
    r->waiting = NULL;
}

static inline void rig_on_refused(void *ud, const llmd_http_refusal *refusal)
{
  rig *r = ud;
  r->refusals++;
  r->status = refusal->status;
  (void)snprintf(r->why, sizeof r->why, "%s", refusal->text);
}

static inline void rig_done(void *ud)
{
  ((rig *)ud)->done++;
}

static inline void rig_open_at(rig *r, const llmd_http_options *options, const char *address, int fd)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_http_handler h = { .size = sizeof h, .ud = r, .on_request = rig_on_request, .on_head = rig_on_head,
                          .on_drain = rig_on_drain, .on_gone = rig_on_gone, .on_refused = rig_on_refused };
  memset(r, 0, sizeof *r);
  assert_int_equal(uv_loop_init(&r->loop), 0);
  if (llmd_http_listen(&r->loop, address, fd, &h, options, &r->server, &err) < 0)
    fail_msg("%s", err.text);
}

static inline void rig_open(rig *r, const llmd_http_options *options)
{
  rig_open_at(r, options, "127.0.0.1:0", -1);
}

/* One turn; at most a millisecond of waiting for fd (-1 = none). */
static inline void turn(rig *r, int fd, short events)
{
  struct pollfd p = { fd, events, 0 };
  (void)uv_run(&r->loop, UV_RUN_NOWAIT);
  (void)poll(&p, 1, 1);
}

static uint64_t deadline(void)
{
  return uv_hrtime() + 30000000000u;
}

/* Turns until the condition holds. */
#define WAIT(r, condition)                                        \
  do {                                                            \
    uint64_t stop_ = deadline();                                  \
    while (!(condition)) {                                        \
      turn(r, -1, 0);                                             \
      if (uv_hrtime() > stop_)                                    \
        fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition); \
    }                                                             \
  } while (0)

static inline int rig_connect(rig *r)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  a.sin_port = htons((uint16_t)llmd_http_port(r->server));
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
  return fd;
}

static inline void give(rig *r, int fd, const char *text, size_t len)
{
  uint64_t stop = deadline();
  while (len > 0 && uv_hrtime() < stop) {
    ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
      return; /* the server has closed: what it said shows why */
    if (n > 0) {
      text += n;
      len -= (size_t)n;
    }
    turn(r, fd, POLLIN);
  }
  assert_int_equal(len, 0);
}

static inline void say(rig *r, int fd, const char *text)
{
  give(r, fd, text, strlen(text));
}

/* Bytes of an answer, NUL behind them. */
typedef struct heard {
  char *text;
  size_t len, cap;
  int ended; /* 1: closed, 2: reset */
} heard;

/* Takes what is there. Returns 0 if nothing was. */
static inline int hear_some(rig *r, int fd, heard *h)
{
  if (h->cap - h->len < 65537) {
    h->cap = h->cap * 2 + 131072;
    h->text = realloc(h->text, h->cap);
    assert_non_null(h->text);
  }
  turn(r, fd, POLLIN);
  ssize_t n = recv(fd, h->text + h->len, 65536, MSG_DONTWAIT);
  if (n == 0)
    h->ended = 1;
  else if (n < 0 && errno != EAGAIN)
    h->ended = 2;
  h->len += n > 0 ? (size_t)n : 0;
  h->text[h->len] = '\0';
  return n > 0;
}

/* Hears until the text is in what came behind `from`. Returns the place behind it. */
static inline size_t hear(rig *r, int fd, heard *h, size_t from, const char *text)
{
  uint64_t stop = deadline();
  for (;;) {
    const char *at = h->text != NULL && h->len > from ? memmem(h->text + from, h->len - from, text, strlen(text)) : NULL;
    if (at != NULL)
      return (size_t)(at - h->text) + strlen(text);
    if (h->ended || uv_hrtime() > stop)
      fail_msg("no \"%s\" in \"%s\"", text, h->text + (h->len < 2000 ? 0 : h->len - 2000));
    (void)hear_some(r, fd, h);
  }
}

/* Hears until the connection has ended. */
static inline void hear_end(rig *r, int fd, heard *h)
{
  uint64_t stop = deadline();
  while (!h->ended) {
    (void)hear_some(r, fd, h);
    if (uv_hrtime() > stop)
      fail_msg("still open behind \"%s\"", h->text);
  }
}

/* Sends, hears to the end, compares how the answer begins. */
static inline void must_say(rig *r, int fd, const char *ask, size_t len, const char *answer)
{
  heard h = { NULL, 0, 0, 0 };
  give(r, fd, ask, len);
  hear_end(r, fd, &h);
  if (strncmp(h.text, answer, strlen(answer)) != 0)
    fail_msg("\"%s\", not \"%s\", to: %s", h.text, answer, ask);
  free(h.text);
}

static llmd_http_stats stats_of(rig *r)
{
  llmd_http_stats s = { .size = sizeof s };
  assert_int_equal(llmd_http_stats_get(r->server, &s), 0);
  return s;
}

/* The server goes, and leaves nothing in the loop. */
static inline void rig_close(rig *r)
{
  uint32_t done = r->done;
  llmd_http_close(r->server, rig_done, r);
  WAIT(r, r->done == done + 1);
  assert_int_equal(uv_run(&r->loop, UV_RUN_NOWAIT), 0);
  assert_int_equal(uv_loop_close(&r->loop), 0);
}

#endif
