/* The server: its socket, its clock, its beginning and end. */
#include "uv/http/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define ACCEPT_AT_ONCE 16

/* ---- options --------------------------------------------------------------------------------------------------- */

static void set32(uint32_t *field, uint32_t value)
{
  if (*field == 0)
    *field = value;
}

static void set64(uint64_t *field, uint64_t value)
{
  if (*field == 0)
    *field = value;
}

static void resolve(llmd_http_options *out, const llmd_http_options *given)
{
  memset(out, 0, sizeof *out);
  if (given != NULL)
    memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
  out->size = sizeof *out;
  set32(&out->max_connections, 20000);
  set32(&out->max_head, 32768);
  set32(&out->max_headers, 128);
  set64(&out->max_body, 16u << 20);
  set64(&out->max_bodies, 1u << 30);
  set32(&out->head_ms, 10000);
  set32(&out->body_ms, 30000);
  set32(&out->body_rate, 1024);
  set32(&out->idle_ms, 75000);
  set32(&out->write_ms, 60000);
  set32(&out->max_pending, 256u << 10);
}

/* Often enough for the shortest of the times, never busy. */
static uint32_t period_of(const llmd_http_options *o)
{
  const uint32_t times[] = { o->head_ms, o->body_ms, o->idle_ms, o->write_ms };
  uint32_t least = 4000;
  for (size_t i = 0; i < sizeof times / sizeof *times; i++)
    least = times[i] < least ? times[i] : least;
  return least / 4 > 10 ? least / 4 : 10;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
  llmd_http_server *s = handle->data;
  s->handles--;
  llmd__server_left(s);
}

static void free_server(llmd_http_server *s)
{
  llmd_allocator alloc = s->limits.alloc;
  llmd__connection_free_spare(s);
  llmd__http_bodies_free(&s->bodies);
  llmd__free(&alloc, s->buffer, LLMD__HTTP_READ);
  llmd__free(&alloc, s->path, s->path != NULL ? strlen(s->path) + 1 : 0);
  llmd__free(&alloc, s, sizeof *s);
}

void llmd__server_left(llmd_http_server *s)
{
  void (*done)(void *ud) = s->done;
  void *ud = s->done_ud;
  if (s->n_connections != 0 || s->n_closing != 0)
    return;
  if (s->closing && s->handles == 0) {
    free_server(s);
  } else if (s->draining && !s->closing) {
    s->done = NULL;
  } else {
    return;
  }
  if (done != NULL)
    done(ud);
}

static void close_handle(uv_handle_t *handle)
{
  if (!uv_is_closing(handle))
    uv_close(handle, on_handle_closed);
}

static void stop_listening(llmd_http_server *s)
{
  if (!s->listening)
    return;
  s->listening = 0;
  close_handle((uv_handle_t *)&s->listener);
  (void)close(s->fd);
  s->fd = -1;
  if (s->path != NULL)
    (void)unlink(s->path);
}

void llmd_http_drain(llmd_http_server *server, void (*done)(void *ud), void *ud)
{
  if (server->closing)
    return;
  server->draining = 1;
  server->done = done;
  server->done_ud = ud;
  stop_listening(server);
  llmd__connection *next;
  for (llmd__connection *c = server->first; c != NULL; c = next) {
    next = c->next;
    if (c->phase == LLMD__IDLE && !c->running)
      llmd__connection_close(c, 0);
  }
  llmd__server_turn(server); /* done comes from the loop, even if nobody is there */
}

void llmd_http_close(llmd_http_server *server, void (*done)(void *ud), void *ud)
{
  if (server == NULL) {
    if (done != NULL)
      done(ud);
    return;
  }
  if (server->closing)
    return;
  server->closing = 1;
  server->done = done;
  server->done_ud = ud;
  stop_listening(server);
  while (server->first != NULL)
    llmd__connection_gone(server->first, 1);
  close_handle((uv_handle_t *)&server->sweep);
  close_handle((uv_handle_t *)&server->turn);
}

/* ---- the clock ------------------------------------------------------------------------------------------------- */

static void on_accept(uv_poll_t *poll, int status, int events);

static void on_sweep(uv_timer_t *timer)
{
  llmd_http_server *s = timer->data;
  uint64_t now = uv_now(s->loop);
  if (s->paused && s->listening) {
    s->paused = 0;
    (void)uv_poll_start(&s->listener, UV_READABLE, on_accept);
  }
  for (llmd__connection *c = s->first; c != NULL; c = s->sweep_next) {
    s->sweep_next = c->next;
    llmd__connection_check(c, now);
  }
  llmd__http_bodies_trim(&s->bodies);
  if (s->first == NULL && s->bodies.kept_bytes == 0 && !s->paused && !s->closing) {
    (void)uv_timer_stop(&s->sweep);
    s->sweeping = 0;
  }
}

void llmd__server_watch(llmd_http_server *s)
{
  if (s->sweeping || s->closing)
    return;
  s->sweeping = 1;
  (void)uv_timer_start(&s->sweep, on_sweep, s->sweep_ms, s->sweep_ms);
}

/* ---- clients --------------------------------------------------------------------------------------------------- */

static void report(llmd_http_server *s, llmd_str client, uint32_t status, const char *text)
{
  llmd_http_refusal r = { .size = sizeof r, .status = status, .text = text, .client = client };
  s->refused++;
  if (s->handler.on_refused != NULL)
    s->handler.on_refused(s->handler.ud, &r);
}

void llmd__server_report(llmd_http_server *s, const llmd__connection *c, uint32_t status, const char *text)
{
  report(s, (llmd_str){ c->client, c->client_len }, status, text);
}

static void turn_away(llmd_http_server *s, int fd, const struct sockaddr *address)
{
  static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  char client[LLMD__SOCKET_TEXT];
  size_t len = llmd__socket_text(address, client);
  (void)recv(fd, s->buffer, LLMD__HTTP_READ, MSG_DONTWAIT); /* unread bytes would turn the answer into a reset */
  (void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)close(fd);
  report(s, (llmd_str){ client, len }, 503, "too many connections");
}

/* Without descriptors or memory for more, the socket would be readable for ever. */
static void pause_accepting(llmd_http_server *s)
{
  s->paused = 1;
  (void)uv_poll_stop(&s->listener);
  llmd__server_watch(s);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
  llmd_http_server *s = poll->data;
  (void)events;
  for (int i = 0; i < ACCEPT_AT_ONCE && s->listening; i++) {
    struct sockaddr_storage address;
    socklen_t len = (socklen_t)sizeof address;
    memset(&address, 0, sizeof address);
    int fd = status < 0 ? -1 : accept4(s->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (s->n_connections < s->options.max_connections)
        llmd__connection_open(s, fd, (const struct sockaddr *)&address);
      else
        turn_away(s, fd, (const struct sockaddr *)&address);
    } else if (status == 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    } else if (status < 0 || (errno != EINTR && errno != ECONNABORTED)) {
      pause_accepting(s);
      return;
    }
  }
}

/* ---- the beginning --------------------------------------------------------------------------------------------- */

static int start_handles(llmd_http_server *s)
{
  if (uv_poll_init(s->loop, &s->listener, s->fd) != 0)
    return LLMD_E_IO;
  (void)uv_timer_init(s->loop, &s->sweep);
  (void)uv_timer_init(s->loop, &s->turn);
  s->listener.data = s->sweep.data = s->turn.data = s;
  s->handles = 3;
  s->listening = 1;
  (void)uv_poll_start(&s->listener, UV_READABLE, on_accept);
  return 0;
}

static llmd_http_server *new_server(uv_loop_t *loop, const llmd_http_handler *handler, const llmd_http_options *options)
{
  llmd_allocator alloc;
  llmd__alloc_init(&alloc, NULL);
  llmd_http_server *s = llmd__calloc(&alloc, 1, sizeof *s);
  if (s == NULL)
    return NULL;
  s->loop = loop;
  s->fd = -1;
  memcpy(&s->handler, handler, handler->size < sizeof s->handler ? handler->size : sizeof s->handler);
  resolve(&s->options, options);
  s->sweep_ms = period_of(&s->options);
  s->limits = (llmd__http_limits){ .max_head = s->options.max_head, .max_headers = s->options.max_headers,
                                   .max_body = s->options.max_body, .alloc = alloc };
  llmd__http_bodies_init(&s->bodies, &s->limits.alloc, s->options.max_bodies);
  s->buffer = llmd__realloc(&alloc, NULL, 0, LLMD__HTTP_READ);
  if (s->buffer == NULL) {
    free_server(s);
    return NULL;
  }
  return s;
}

static int open_socket(llmd_http_server *s, const char *address, int fd, llmd_err *err)
{
  if (fd < 0 && strncmp(address, "unix:", 5) == 0) {
    s->path = llmd__strdup(&s->limits.alloc, address + 5, strlen(address + 5));
    if (s->path == NULL)
      return LLMD_E_NOMEM;
  }
  s->fd = fd >= 0 ? fd : llmd__socket_listen(address, err);
  if (s->fd < 0)
    return s->fd;
  s->port = llmd__socket_port(s->fd);
  int rc = start_handles(s);
  if (rc < 0 && fd < 0)
    (void)close(s->fd);
  return rc;
}

int llmd_http_listen(uv_loop_t *loop, const char *address, int fd, const llmd_http_handler *handler,
                     const llmd_http_options *options, llmd_http_server **out, llmd_err *err)
{
  if (handler->on_request == NULL || (address == NULL && fd < 0))
    return LLMD_E_INVALID;
  llmd_http_server *s = new_server(loop, handler, options);
  if (s == NULL)
    return LLMD_E_NOMEM;
  int rc = open_socket(s, address, fd, err);
  if (rc < 0) {
    free_server(s);
    return rc;
  }
  *out = s;
  return 0;
}

uint32_t llmd_http_port(const llmd_http_server *server)
{
  return server->port;
}

int llmd_http_stats_get(const llmd_http_server *server, llmd_http_stats *out)
{
  llmd_http_stats now = { .size = out->size, .connections = server->n_connections, .calls = server->n_calls,
                          .accepted = server->accepted, .requests = server->requests, .refused = server->refused,
                          .bytes_in = server->bytes_in, .bytes_out = server->bytes_out,
                          .body_bytes = server->bodies.held };
  if (out->size < sizeof out->size)
    return LLMD_E_INVALID;
  memcpy(out, &now, out->size < sizeof now ? out->size : sizeof now);
  return 0;
}
