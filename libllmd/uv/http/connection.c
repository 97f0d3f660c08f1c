/* A connection: its beginning and end, what libuv tells of it, what takes too long. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "uv/http/server.h"

static uint64_t now_of(const llmd__connection *c)
{
  return uv_now(c->server->loop);
}

/* ---- the end of a connection ----------------------------------------------------------------------------------- */

static void unlink_later(llmd__connection *c)
{
  llmd__connection **at = &c->server->later;
  if (!c->is_later)
    return;
  while (*at != c)
    at = &(*at)->later;
  *at = c->later;
  c->is_later = 0;
}

static void on_closed(uv_handle_t *handle)
{
  llmd__connection *c = handle->data;
  llmd_http_server *s = c->server;
  llmd__free(&s->limits.alloc, c->in, c->in_cap);
  s->n_closing--;
  if (s->n_spare < LLMD__HTTP_KEPT && !s->closing) {
    c->next = s->spare;
    s->spare = c;
    s->n_spare++;
  } else {
    llmd__free(&s->limits.alloc, c, sizeof *c);
  }
  llmd__server_left(s);
}

void llmd__connection_free_spare(llmd_http_server *s)
{
  while (s->spare != NULL) {
    llmd__connection *c = s->spare;
    s->spare = c->next;
    llmd__free(&s->limits.alloc, c, sizeof *c);
  }
  while (s->spare_queue != NULL) {
    void *p = s->spare_queue;
    memcpy(&s->spare_queue, p, sizeof(void *));
    llmd__free(&s->limits.alloc, p, LLMD__HTTP_QUEUE);
  }
}

static void drop_call(llmd__connection *c)
{
  if (!c->call.open)
    return;
  llmd__http_body_drop(&c->server->bodies, &c->call.body);
  c->call.open = c->call.known = 0;
  c->server->n_calls--;
}

static void unlink_connection(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  if (s->sweep_next == c)
    s->sweep_next = c->next;
  *(c->prev != NULL ? &c->prev->next : &s->first) = c->next;
  if (c->next != NULL)
    c->next->prev = c->prev;
  s->n_connections--;
}

void llmd__connection_close(llmd__connection *c, int reset)
{
  llmd_http_server *s = c->server;
  if (c->closed)
    return;
  c->closed = 1;
  unlink_later(c);
  unlink_connection(c);
  drop_call(c);
  llmd__http_reader_free(&c->reader);
  llmd__out_drop(c);
  if (reset) {
    struct linger at_once = { 1, 0 };
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  s->n_closing++;
  uv_close((uv_handle_t *)&c->poll, on_closed);
  (void)close(c->fd);
}

void llmd__connection_tell_gone(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  if (!c->call.open || !c->call.known)
    return;
  c->call.known = 0;
  if (s->handler.on_gone != NULL)
    s->handler.on_gone(s->handler.ud, &c->call);
}

void llmd__connection_gone(llmd__connection *c, int reset)
{
  if (c->closed)
    return;
  c->broken = 1; /* what the host still writes goes nowhere */
  llmd__connection_tell_gone(c);
  llmd__connection_close(c, reset);
}

/* Closing while bytes of the client are unread would reset the connection, and the answer might never be seen. */
static void finish(llmd__connection *c)
{
  if (c->half || (!c->unread && !c->stopped && c->in_begin == c->in_end)) {
    llmd__connection_close(c, 0);
    return;
  }
  (void)shutdown(c->fd, SHUT_WR);
  c->phase = LLMD__LINGER;
  c->since = now_of(c);
  c->stopped = 0;
  llmd__connection_poll(c);
}

/* ---- the end of a call ----------------------------------------------------------------------------------------- */

void llmd__connection_flushed(llmd__connection *c)
{
  if (!c->keep || c->server->draining || c->half) {
    finish(c);
    return;
  }
  llmd__http_next(&c->reader);
  c->phase = LLMD__IDLE;
  c->since = now_of(c);
  if (c->running)
    return;
  if (c->in_begin != c->in_end) {
    llmd__connection_later(c);
  } else if (c->stopped) {
    c->stopped = 0;
    llmd__connection_poll(c);
  }
}

void llmd__connection_end_call(llmd__connection *c)
{
  const llmd__http_head *head = &c->reader.head;
  if (!c->keep && head->framing != LLMD__HTTP_NONE && llmd__http_midway(&c->reader))
    c->unread = 1;
  drop_call(c);
  c->drained = 0;
  if (c->broken) {
    llmd__connection_close(c, 1);
  } else if (c->blocked) {
    c->phase = LLMD__FLUSH;
    c->since = now_of(c);
  } else {
    llmd__connection_flushed(c);
  }
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

size_t llmd__connection_receive(llmd__connection *c, struct iovec *vec, size_t n)
{
  struct msghdr m = { .msg_iov = vec, .msg_iovlen = n };
  ssize_t got;
  do
    got = recvmsg(c->fd, &m, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got > 0) {
    c->server->bytes_in += (uint64_t)got;
    return (size_t)got;
  }
  if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
    llmd__connection_gone(c, 0);
  return 0;
}

/* While an answer is due: has the client gone, or does it send more than we want now? */
static void look(llmd__connection *c)
{
  char byte;
  ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n > 0) {
    c->stopped = 1;
    llmd__connection_poll(c);
  } else if (n == 0 && c->phase == LLMD__FLUSH) {
    c->half = 1;
    llmd__connection_poll(c);
  } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
    llmd__connection_gone(c, 0);
  }
}

static void discard(llmd__connection *c)
{
  struct iovec vec = { c->server->buffer, LLMD__HTTP_READ };
  (void)llmd__connection_receive(c, &vec, 1);
}

static void on_readable(llmd__connection *c)
{
  if (c->phase == LLMD__LINGER)
    discard(c);
  else if (c->phase > LLMD__BODY)
    look(c);
  else if (c->in_begin != c->in_end)
    llmd__request_resume(c);
  else
    llmd__request_read(c);
}

static void on_writable(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  if (llmd__out_flush(c) < 0) {
    llmd__connection_gone(c, 1);
    return;
  }
  if (!c->blocked && c->phase == LLMD__FLUSH) {
    llmd__connection_flushed(c);
  } else if (c->drained && llmd__out_pending(c) < s->options.max_pending / 2) {
    c->drained = 0;
    if (s->handler.on_drain != NULL && c->call.open && c->call.known)
      s->handler.on_drain(s->handler.ud, &c->call);
  }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
  llmd__connection *c = poll->data;
  if (status < 0) {
    llmd__connection_gone(c, 1);
    return;
  }
  if ((events & UV_WRITABLE) != 0 && c->blocked)
    on_writable(c);
  if (c->closed)
    return;
  if ((events & UV_READABLE) != 0) {
    if (!c->stopped && !c->half)
      on_readable(c);
  } else if ((events & UV_DISCONNECT) != 0) {
    if (c->phase != LLMD__FLUSH) {
      llmd__connection_gone(c, 0);
    } else if (!c->half) {
      c->half = 1;
      llmd__connection_poll(c);
    }
  }
}

void llmd__connection_poll(llmd__connection *c)
{
  int want = c->blocked ? UV_WRITABLE : 0;
  if (!c->half)
    want |= UV_DISCONNECT | (c->stopped ? 0 : UV_READABLE);
  if (want == c->events || c->closed)
    return;
  c->events = want;
  (void)uv_poll_start(&c->poll, want, on_event); /* cannot fail for an open handle */
}

/* ---- turns and time -------------------------------------------------------------------------------------------- */

static void on_turn(uv_timer_t *timer)
{
  llmd_http_server *s = timer->data;
  /* Bounded: one that is put in again waits for the next turn at the latest. */
  for (uint32_t n = s->n_connections; n > 0 && s->later != NULL; n--) {
    llmd__connection *c = s->later;
    s->later = c->later;
    c->is_later = 0;
    if (c->broken)
      llmd__connection_gone(c, 1);
    else if (c->phase <= LLMD__BODY && c->in_begin != c->in_end)
      llmd__request_resume(c);
  }
  if (s->later != NULL && !s->closing)
    llmd__server_turn(s);
  llmd__server_left(s);
}

void llmd__server_turn(llmd_http_server *s)
{
  (void)uv_timer_start(&s->turn, on_turn, 0, 0);
}

void llmd__connection_later(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  if (c->is_later || s->closing || c->closed)
    return;
  c->is_later = 1;
  c->later = s->later;
  s->later = c;
  llmd__server_turn(s);
}

static void check_body(llmd__connection *c, uint64_t now)
{
  const llmd_http_options *o = &c->server->options;
  uint64_t took = now - c->since;
  uint64_t got = c->call.body.len;
  if (now - c->byte_at >= o->body_ms)
    llmd__request_refuse(c, 408, "no more of the body came");
  else if (took >= o->body_ms && got < took / 1000 * o->body_rate)
    llmd__request_refuse(c, 408, "the body came too slowly");
}

void llmd__connection_check(llmd__connection *c, uint64_t now)
{
  const llmd_http_options *o = &c->server->options;
  if (c->blocked && now - c->written_at >= o->write_ms) {
    llmd__server_report(c->server, c, 0, "the client takes nothing");
    llmd__connection_gone(c, 1);
  } else if (c->phase == LLMD__BODY) {
    check_body(c, now);
  } else if (c->phase == LLMD__HEAD && now - c->since >= o->head_ms) {
    llmd__request_refuse(c, 408, "the head came too slowly");
  } else if (c->phase == LLMD__IDLE && now - c->since >= o->idle_ms) {
    llmd__connection_close(c, 0);
  } else if (c->phase == LLMD__LINGER && now - c->since >= LLMD__HTTP_LINGER_MS) {
    llmd__connection_close(c, 0);
  }
}

/* ---- the beginning --------------------------------------------------------------------------------------------- */

static llmd__connection *new_connection(llmd_http_server *s)
{
  llmd__connection *c = s->spare;
  if (c == NULL)
    return llmd__calloc(&s->limits.alloc, 1, sizeof *c);
  s->spare = c->next;
  s->n_spare--;
  memset(c, 0, sizeof *c);
  return c;
}

void llmd__connection_open(llmd_http_server *s, int fd, const struct sockaddr *address)
{
  int on = 1;
  llmd__connection *c = new_connection(s);
  if (c == NULL || uv_poll_init(s->loop, &c->poll, fd) != 0) {
    llmd__free(&s->limits.alloc, c, sizeof *c);
    (void)close(fd);
    return;
  }
  c->server = s;
  c->fd = fd;
  c->call.of = c;
  c->poll.data = c;
  c->since = now_of(c);
  c->client_len = (uint32_t)llmd__socket_text(address, c->client);
  llmd__http_reader_init(&c->reader, LLMD__HTTP_REQUEST, &s->limits);
  if (address->sa_family != AF_UNIX)
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->next = s->first;
  if (s->first != NULL)
    s->first->prev = c;
  s->first = c;
  s->n_connections++;
  s->accepted++;
  llmd__connection_poll(c);
  llmd__server_watch(s);
}
