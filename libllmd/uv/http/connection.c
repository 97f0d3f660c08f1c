/* A connection: reading, requests in turn, the end of each, and its own end. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "uv/http/server.h"

#define BODY_AT_ONCE 524288u /* more is only held once it has come: an announcement costs no memory */
#define READS_AT_ONCE 8

static uint64_t now_of(const llmd__connection *c)
{
  return uv_now(c->server->loop);
}

/* ---- the end of a connection ---------------------------------------------------------------------------------------- */

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

void llmd__connection_gone(llmd__connection *c, int reset)
{
  llmd_http_server *s = c->server;
  if (c->closed)
    return;
  c->broken = 1; /* what the host still writes goes nowhere */
  if (c->call.open && c->call.known) {
    c->call.known = 0;
    if (s->handler.on_gone != NULL)
      s->handler.on_gone(s->handler.ud, &c->call);
  }
  llmd__connection_close(c, reset);
}

/* Closing while bytes of the client are unread would reset the connection, and the answer might never be seen. */
static void finish(llmd__connection *c)
{
  if (!c->unread && !c->stopped && c->in_begin == c->in_end) {
    llmd__connection_close(c, 0);
    return;
  }
  (void)shutdown(c->fd, SHUT_WR);
  c->phase = LLMD__LINGER;
  c->since = now_of(c);
  c->stopped = 0;
  llmd__connection_poll(c);
}

/* ---- the end of a call ---------------------------------------------------------------------------------------------- */

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

/* The server answers by itself and closes. A host that knows of the call loses it. */
static void refuse(llmd__connection *c, uint32_t status, const char *text)
{
  llmd_http_server *s = c->server;
  if (c->call.begun && c->call.open) {
    llmd__server_report(s, c, 0, text);
    llmd__connection_gone(c, 1);
    return;
  }
  llmd__answer_refusal(c, status, text);
  llmd__server_report(s, c, status, text);
  if (c->closed)
    return;
  if (c->call.open && c->call.known) {
    c->call.known = 0;
    if (s->handler.on_gone != NULL)
      s->handler.on_gone(s->handler.ud, &c->call);
  }
  if (c->closed)
    return;
  c->keep = 0;
  c->unread = 1;
  llmd__connection_end_call(c);
}

/* ---- requests -------------------------------------------------------------------------------------------------------- */

static void begin_request(llmd__connection *c)
{
  c->phase = LLMD__HEAD;
  c->since = now_of(c);
  c->first_byte = uv_hrtime();
}

static void open_call(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  llmd_http_call *call = &c->call;
  const llmd__http_head *head = &c->reader.head;
  memset(call, 0, sizeof *call);
  call->of = c;
  call->open = 1;
  call->request = (llmd_http_request){
    .size = sizeof call->request, .n_headers = head->n_headers, .header = head->header, .method = head->method,
    .target = head->target, .client = { c->client, c->client_len }, .number = ++s->number, .begun = c->first_byte,
    .minor = head->minor,
    .has_body = head->framing == LLMD__HTTP_CHUNKED || (head->framing == LLMD__HTTP_LENGTH && head->length != 0) };
  s->requests++;
  s->n_calls++;
  c->calls++;
  c->keep = 0;
}

static int reserve(llmd__connection *c, size_t need)
{
  int rc = llmd__http_body_reserve(&c->server->bodies, &c->call.body, need);
  if (rc == LLMD_E_LIMIT)
    refuse(c, 503, "too many bodies are held");
  else if (rc < 0)
    refuse(c, 503, "out of memory");
  return rc;
}

/* more: bytes of the body have come with the head. */
static void got_head(llmd__connection *c, int more)
{
  llmd_http_server *s = c->server;
  const llmd__http_head *head = &c->reader.head;
  open_call(c);
  c->phase = LLMD__BODY;
  c->since = c->byte_at = now_of(c);
  if (s->handler.on_head != NULL) {
    c->call.known = 1;
    s->handler.on_head(s->handler.ud, &c->call);
    if (c->closed || c->phase != LLMD__BODY)
      return;
    if (c->call.begun) {
      c->phase = LLMD__ANSWER;
      return;
    }
  }
  if (!c->call.request.has_body)
    return;
  uint64_t known = head->framing == LLMD__HTTP_LENGTH ? head->length : 0;
  if (known != 0 && reserve(c, known < BODY_AT_ONCE ? (size_t)known : BODY_AT_ONCE) < 0)
    return;
  if (head->expect && !more)
    llmd__answer_continue(c);
}

static void got_body(llmd__connection *c, llmd_str piece)
{
  llmd__http_body *body = &c->call.body;
  if (reserve(c, body->len + piece.len) < 0)
    return;
  memcpy(body->ptr + body->len, piece.ptr, piece.len);
  body->len += piece.len;
  c->byte_at = now_of(c);
}

static void got_request(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  c->phase = LLMD__ANSWER;
  if (c->call.begun) /* it was refused by its head */
    return;
  c->call.request.body = (llmd_str){ c->call.body.ptr, c->call.body.len };
  c->call.known = 1;
  s->handler.on_request(s->handler.ud, &c->call);
}

/* Reads requests from bytes until they are used up or an answer must come first. Returns how many were used. */
static size_t process(llmd__connection *c, const char *data, size_t len)
{
  size_t at = 0;
  c->running = 1;
  while (!c->closed && c->phase <= LLMD__BODY) {
    size_t used = 0;
    llmd_str piece;
    if (c->phase == LLMD__IDLE && at < len)
      begin_request(c);
    int rc = llmd__http_feed(&c->reader, data + at, len - at, &used, &piece);
    at += used;
    if (rc == LLMD__HTTP_MORE)
      break;
    if (rc < 0)
      refuse(c, c->reader.status, c->reader.text);
    else if (rc == LLMD__HTTP_HEAD)
      got_head(c, at < len);
    else if (rc == LLMD__HTTP_BODY)
      got_body(c, piece);
    else
      got_request(c);
  }
  if (!c->closed && c->phase == LLMD__HEAD && !llmd__http_midway(&c->reader))
    c->phase = LLMD__IDLE; /* a blank line before a request */
  c->running = 0;
  return at;
}

/* ---- bytes that wait ------------------------------------------------------------------------------------------------- */

static void keep_input(llmd__connection *c, const char *data, size_t len)
{
  char *p = llmd__realloc(&c->server->limits.alloc, c->in, c->in_cap, len);
  if (p == NULL) {
    llmd__connection_gone(c, 1);
    return;
  }
  memcpy(p, data, len);
  c->in = p;
  c->in_begin = 0;
  c->in_end = c->in_cap = len;
}

static void resume(llmd__connection *c)
{
  c->in_begin += process(c, c->in + c->in_begin, c->in_end - c->in_begin);
  if (c->closed || c->phase > LLMD__BODY)
    return;
  llmd__free(&c->server->limits.alloc, c->in, c->in_cap); /* all is used: an unfinished head is the reader's */
  c->in = NULL;
  c->in_begin = c->in_end = c->in_cap = 0;
  if (c->stopped) {
    c->stopped = 0;
    llmd__connection_poll(c);
  }
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

/* Bytes read, 0 = none now; the connection may be closed after it. */
static size_t receive(llmd__connection *c, struct iovec *vec, size_t n)
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

/* Where the next bytes of a body of known length go. */
static size_t room_of_body(llmd__connection *c)
{
  llmd__http_body *body = &c->call.body;
  uint64_t left = c->phase == LLMD__BODY ? llmd__http_body_left(&c->reader) : 0;
  if (left == 0)
    return 0;
  if (body->len == body->cap) {
    size_t more = left < body->len ? (size_t)left : body->len;
    if (reserve(c, body->len + (more != 0 ? more : 1)) < 0)
      return 0;
  }
  size_t room = body->cap - body->len;
  return room < left ? room : (size_t)left;
}

static void read_some(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  for (int i = 0; i < READS_AT_ONCE; i++) {
    size_t room = room_of_body(c);
    if (c->closed || c->phase > LLMD__BODY)
      return;
    struct iovec vec[2] = { { NULL, room }, { s->buffer, LLMD__HTTP_READ } };
    if (room != 0)
      vec[0].iov_base = c->call.body.ptr + c->call.body.len;
    size_t n = room != 0 ? receive(c, vec, 2) : receive(c, vec + 1, 1);
    if (n == 0)
      return;
    size_t direct = n < room ? n : room;
    if (direct != 0) {
      c->call.body.len += direct;
      c->byte_at = now_of(c);
      llmd__http_body_skip(&c->reader, direct);
    }
    size_t used = process(c, s->buffer, n - direct);
    if (!c->closed && used < n - direct && (c->phase == LLMD__ANSWER || c->phase == LLMD__FLUSH))
      keep_input(c, s->buffer + used, n - direct - used);
    if (n < room + LLMD__HTTP_READ || c->closed || c->phase > LLMD__BODY)
      return;
  }
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
  (void)receive(c, &vec, 1);
}

static void on_readable(llmd__connection *c)
{
  if (c->phase == LLMD__LINGER)
    discard(c);
  else if (c->phase > LLMD__BODY)
    look(c);
  else if (c->in_begin != c->in_end)
    resume(c);
  else
    read_some(c);
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

/* ---- turns and time -------------------------------------------------------------------------------------------------- */

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
      resume(c);
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
    refuse(c, 408, "no more of the body came");
  else if (took >= o->body_ms && got < took / 1000 * o->body_rate)
    refuse(c, 408, "the body came too slowly");
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
    refuse(c, 408, "the head came too slowly");
  } else if (c->phase == LLMD__IDLE && now - c->since >= o->idle_ms) {
    llmd__connection_close(c, 0);
  } else if (c->phase == LLMD__LINGER && now - c->since >= LLMD__HTTP_LINGER_MS) {
    llmd__connection_close(c, 0);
  }
}

/* ---- the beginning --------------------------------------------------------------------------------------------------- */

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
