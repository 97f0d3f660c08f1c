/* One connection to an engine: connect, send, read the answer, be kept or closed. */
#include "uv/http/leg.h"

#include <string.h>

#include "base/alloc.h"

const char *llmd__leg_text(int why)
{
  static const char *const texts[] = {
    [LLMD__LEG_REFUSED] = "connection refused",
    [LLMD__LEG_NO_CONNECT] = "no connection in time",
    [LLMD__LEG_STALE] = "kept connection was closed",
    [LLMD__LEG_RESET] = "connection closed before an answer",
    [LLMD__LEG_SILENT] = "no answer in time",
    [LLMD__LEG_BROKEN] = "connection closed within the answer",
    [LLMD__LEG_STALLED] = "answer stalled",
    [LLMD__LEG_MALFORMED] = "malformed answer",
  };
  return why > 0 && (size_t)why < sizeof texts / sizeof *texts ? texts[why] : "";
}

/* ---- memory ---- */

static uv_stream_t *stream_of(llmd__leg *leg)
{
  return (uv_stream_t *)&leg->tcp;
}

static void drop_hold(llmd__leg *leg)
{
  llmd__free(&leg->client->alloc, leg->hold, leg->hold_len);
  leg->hold = NULL;
  leg->hold_len = 0;
  leg->n_pieces = 0;
}

/* What is to be sent later: the list of pieces, the first of them copied behind it. */
static int hold_pieces(llmd__leg *leg, const uv_buf_t *piece, uint32_t n)
{
  size_t list = n * sizeof *piece, len = list + piece[0].len;
  char *block = llmd__realloc(&leg->client->alloc, NULL, 0, len);
  uv_buf_t first;
  if (!block)
    return LLMD_E_NOMEM;
  memcpy(block, piece, list);
  if (piece[0].len)
    memcpy(block + list, piece[0].base, piece[0].len);
  first = uv_buf_init(block + list, (unsigned)piece[0].len);
  memcpy(block, &first, sizeof first);
  leg->hold = block;
  leg->hold_len = len;
  leg->n_pieces = n;
  return 0;
}

static uint32_t to_bufs(const llmd__sending *what, uv_buf_t *out)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < what->n; i++)
    if (what->piece[i].len || i == 0) {
      out[n].base = (char *)(uintptr_t)what->piece[i].ptr;
      out[n++].len = what->piece[i].len;
    }
  return n;
}

static void take_over(llmd__leg *leg, const llmd__sending *what)
{
  leg->handler = what->handler;
  leg->ud = what->ud;
  leg->head_method = what->head_method != 0;
  leg->since = uv_now(leg->client->loop);
}

llmd__leg *llmd__leg_new(llmd__peer *peer, const llmd__sending *what)
{
  llmd__client *c = peer->client;
  llmd__leg *leg = llmd__calloc(&c->alloc, 1, sizeof *leg);
  uv_buf_t buf[LLMD__LEG_PIECES];
  if (!leg)
    return NULL;
  leg->client = c;
  leg->peer = peer;
  llmd__link_init(&leg->link);
  if (hold_pieces(leg, buf, to_bufs(what, buf))) {
    llmd__free(&c->alloc, leg, sizeof *leg);
    return NULL;
  }
  if (uv_tcp_init(c->loop, &leg->tcp)) {
    drop_hold(leg);
    llmd__free(&c->alloc, leg, sizeof *leg);
    return NULL;
  }
  leg->tcp.data = leg;
  llmd__http_reader_init(&leg->reader, LLMD__HTTP_ANSWER, &c->limits);
  take_over(leg, what);
  peer->n_legs++;
  c->n_legs++;
  return leg;
}

static void on_closed(uv_handle_t *handle)
{
  llmd__leg *leg = handle->data;
  llmd__client *c = leg->client;
  drop_hold(leg);
  llmd__http_reader_free(&leg->reader);
  llmd__free(&c->alloc, leg, sizeof *leg);
  c->n_legs--;
  llmd__client_left(c);
}

void llmd__leg_close(llmd__leg *leg)
{
  int reopening = leg->state == LLMD__LEG_REOPENING;
  if (leg->state == LLMD__LEG_CLOSED)
    return;
  if (leg->state == LLMD__LEG_KEPT) {
    leg->peer->n_kept--;
    leg->client->n_kept--;
  }
  leg->state = LLMD__LEG_CLOSED;
  leg->handler = NULL;
  if (leg->client->cursor == &leg->link)
    leg->client->cursor = leg->link.next;
  llmd__link_drop(&leg->link);
  leg->peer->n_legs--;
  leg->peer = NULL;
  if (!reopening) /* else that is under way */
    uv_close((uv_handle_t *)&leg->tcp, on_closed);
}

void llmd__leg_fail(llmd__leg *leg, int why)
{
  const llmd__leg_handler *handler = leg->handler;
  void *ud = leg->ud;
  leg->client->failed++;
  llmd__leg_close(leg);
  if (handler)
    handler->on_fail(ud, why);
}

void llmd__leg_cancel(llmd__leg *leg)
{
  llmd__leg_close(leg);
}

/* ---- sending ---- */

/* A write that failed is not told: the read that follows says what the engine thought of it, which may be an answer. */
static void on_written(uv_write_t *write, int status)
{
  llmd__leg *leg = write->data;
  (void)status;
  if (leg->state == LLMD__LEG_CLOSED)
    return;
  leg->writing = 0;
  drop_hold(leg);
  if (leg->state == LLMD__LEG_WAITING)
    leg->since = uv_now(leg->client->loop);
}

/* Cuts off what has gone. */
static uint32_t advance(uv_buf_t *buf, uint32_t n, size_t gone)
{
  uint32_t k = 0;
  while (k < n && gone >= buf[k].len)
    gone -= buf[k++].len;
  if (k < n) {
    buf[k].base += gone;
    buf[k].len -= gone;
  }
  return k;
}

/* The rest, when the socket takes it. */
static int write_later(llmd__leg *leg, uv_buf_t *buf, uint32_t n, int head_left)
{
  if (head_left && !leg->hold) {
    int rc = hold_pieces(leg, buf, n);
    if (rc)
      return rc;
    buf = (uv_buf_t *)(void *)leg->hold;
  }
  leg->call.write.data = leg;
  leg->writing = 1;
  return uv_write(&leg->call.write, stream_of(leg), buf, n, on_written) ? LLMD_E_IO : 0;
}

static int send_pieces(llmd__leg *leg, uv_buf_t *buf, uint32_t n)
{
  int sent = uv_try_write(stream_of(leg), buf, n);
  uint32_t k;
  if (sent < 0 && sent != UV_EAGAIN)
    return LLMD_E_IO;
  k = advance(buf, n, sent < 0 ? 0 : (size_t)sent);
  if (k < n)
    return write_later(leg, buf + k, n - k, k == 0);
  drop_hold(leg);
  return 0;
}

int llmd__leg_sent(const llmd__leg *leg)
{
  return !leg->writing && leg->state >= LLMD__LEG_WAITING;
}

int llmd__leg_reused(const llmd__leg *leg)
{
  return leg->reused;
}

/* ---- reading ---- */

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
  llmd__leg *leg = handle->data;
  (void)wanted;
  *out = uv_buf_init(leg->client->buffer, LLMD__LEG_BUFFER);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static int read_on(llmd__leg *leg)
{
  leg->paused = 0;
  return uv_read_start(stream_of(leg), on_room, on_read) ? LLMD_E_IO : 0;
}

void llmd__leg_pause(llmd__leg *leg)
{
  if (leg->paused || leg->state == LLMD__LEG_CLOSED)
    return;
  leg->paused = 1;
  (void)uv_read_stop(stream_of(leg));
}

void llmd__leg_resume(llmd__leg *leg)
{
  if (!leg->paused || leg->state == LLMD__LEG_CLOSED)
    return;
  leg->since = uv_now(leg->client->loop);
  if (read_on(leg))
    llmd__leg_fail(leg, LLMD__LEG_BROKEN);
}

void llmd__leg_release_head(llmd__leg *leg)
{
  if (leg->state == LLMD__LEG_FLOWING)
    llmd__http_release(&leg->reader);
}

static int can_keep(const llmd__leg *leg, size_t surplus)
{
  const llmd__client *c = leg->client;
  return leg->reader.head.keep && leg->reader.head.framing != LLMD__HTTP_CLOSE && !surplus && !leg->writing &&
         !c->closing && c->opt.keep_ms && leg->peer->n_kept < c->opt.keep;
}

static int keep(llmd__leg *leg)
{
  llmd__client *c = leg->client;
  if (leg->paused && read_on(leg))
    return LLMD_E_IO;
  llmd__http_next(&leg->reader);
  leg->state = LLMD__LEG_KEPT;
  leg->since = uv_now(c->loop);
  leg->handler = NULL;
  llmd__link_drop(&leg->link);
  llmd__link_add(&leg->peer->kept, &leg->link);
  leg->peer->n_kept++;
  c->n_kept++;
  return 0;
}

static void finish(llmd__leg *leg, size_t surplus)
{
  const llmd__leg_handler *handler = leg->handler;
  void *ud = leg->ud;
  if (!can_keep(leg, surplus) || keep(leg))
    llmd__leg_close(leg);
  handler->on_end(ud);
}

/* What one read has brought. The owner may cancel in any of its functions. */
static void take_bytes(llmd__leg *leg, const char *data, size_t len)
{
  leg->since = uv_now(leg->client->loop);
  for (;;) {
    llmd_str piece = {NULL, 0};
    size_t used = 0;
    int seen = llmd__http_feed(&leg->reader, data, len, &used, &piece);
    data += used;
    len -= used;
    switch (seen) {
    case LLMD__HTTP_HEAD:
      leg->state = LLMD__LEG_FLOWING;
      leg->handler->on_head(leg->ud, &leg->reader.head);
      break;
    case LLMD__HTTP_BODY:
      leg->handler->on_body(leg->ud, piece);
      break;
    case LLMD__HTTP_END:
      finish(leg, len);
      return;
    case LLMD__HTTP_MORE:
      if (leg->state == LLMD__LEG_FLOWING)
        leg->handler->on_flush(leg->ud);
      return;
    default:
      llmd__leg_fail(leg, LLMD__LEG_MALFORMED);
      return;
    }
    if (leg->state == LLMD__LEG_CLOSED)
      return;
  }
}

/* The engine has closed, or the connection broke. */
static void take_end(llmd__leg *leg, ssize_t why)
{
  switch (leg->state) {
  case LLMD__LEG_KEPT:
    llmd__leg_close(leg);
    return;
  case LLMD__LEG_WAITING:
    llmd__leg_fail(leg, leg->reused && !llmd__http_midway(&leg->reader) ? LLMD__LEG_STALE : LLMD__LEG_RESET);
    return;
  case LLMD__LEG_FLOWING:
    if (why == UV_EOF && llmd__http_finish(&leg->reader) == LLMD__HTTP_END)
      finish(leg, 1);
    else
      llmd__leg_fail(leg, LLMD__LEG_BROKEN);
    return;
  default:
    return;
  }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  llmd__leg *leg = stream->data;
  if (n < 0)
    take_end(leg, n);
  else if (n > 0 && leg->state == LLMD__LEG_KEPT)
    llmd__leg_close(leg); /* bytes that nobody has asked for */
  else if (n > 0 && leg->state != LLMD__LEG_CLOSED)
    take_bytes(leg, buf->base, (size_t)n);
}

/* ---- connecting ---- */

static int connect_next(llmd__leg *leg);

/* The socket of an address that did not answer has gone. */
static void on_reopened(uv_handle_t *handle)
{
  llmd__leg *leg = handle->data;
  if (leg->state == LLMD__LEG_CLOSED) {
    on_closed(handle);
    return;
  }
  leg->state = LLMD__LEG_CONNECTING;
  if (uv_tcp_init(leg->client->loop, &leg->tcp) == 0) {
    leg->tcp.data = leg;
    if (connect_next(leg) == 0)
      return;
  }
  llmd__leg_fail(leg, LLMD__LEG_REFUSED);
}

static void connect_failed(llmd__leg *leg)
{
  llmd__peer *p = leg->peer;
  p->at = (p->at + 1) % p->n_addresses;
  if (++leg->failed < p->n_addresses) {
    leg->state = LLMD__LEG_REOPENING;
    uv_close((uv_handle_t *)&leg->tcp, on_reopened);
    return;
  }
  p->resolved = 0;
  llmd__leg_fail(leg, LLMD__LEG_REFUSED);
}

static void on_connected(uv_connect_t *connect, int status)
{
  llmd__leg *leg = connect->data;
  llmd__client *c = leg->client;
  if (leg->state != LLMD__LEG_CONNECTING)
    return;
  if (status) {
    connect_failed(leg);
    return;
  }
  c->connected++;
  leg->state = LLMD__LEG_WAITING;
  leg->since = uv_now(c->loop);
  llmd__link_drop(&leg->link);
  llmd__link_add(&c->active, &leg->link);
  if (leg->head_method)
    llmd__http_answers_head(&leg->reader);
  (void)uv_tcp_nodelay(&leg->tcp, 1);
  if (read_on(leg) || send_pieces(leg, (uv_buf_t *)(void *)leg->hold, leg->n_pieces))
    llmd__leg_fail(leg, LLMD__LEG_RESET);
}

/* What we have run out of is not the engine's fault. */
static int is_shortage(int rc)
{
  return rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_ENOBUFS || rc == UV_ENOMEM;
}

static int connect_next(llmd__leg *leg)
{
  const llmd__peer *p = leg->peer;
  int rc;
  leg->call.connect.data = leg;
  rc = uv_tcp_connect(&leg->call.connect, &leg->tcp, (const struct sockaddr *)&p->to[p->at], on_connected);
  return !rc ? 0 : is_shortage(rc) ? LLMD_E_FULL : LLMD_E_IO;
}

int llmd__leg_connect(llmd__leg *leg)
{
  leg->state = LLMD__LEG_CONNECTING;
  llmd__link_drop(&leg->link);
  llmd__link_add(leg->client->connecting.prev, &leg->link);
  return connect_next(leg);
}

int llmd__leg_take(llmd__leg *leg, const llmd__sending *what)
{
  llmd__client *c = leg->client;
  uv_buf_t buf[LLMD__LEG_PIECES];
  leg->peer->n_kept--;
  c->n_kept--;
  c->reused++;
  llmd__link_drop(&leg->link);
  llmd__link_add(&c->active, &leg->link);
  leg->state = LLMD__LEG_WAITING;
  leg->reused = 1;
  take_over(leg, what);
  if (leg->head_method)
    llmd__http_answers_head(&leg->reader);
  int rc = send_pieces(leg, buf, to_bufs(what, buf));
  if (rc)
    llmd__leg_close(leg);
  return rc;
}
