#include "engine.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_NS 30000000000ull

struct caller {
  uv_tcp_t tcp;
  uv_timer_t timer;
  engine *engine;
  caller *next;
  char in[70000];
  size_t len;
  const char *drip;
  size_t drip_len;
  int closing, waiting;
  unsigned handles;
};

typedef struct sending {
  uv_write_t write;
  char bytes[];
} sending;

engine *caller_engine(caller *c)
{
  return c->engine;
}

static void on_closed(uv_handle_t *h)
{
  caller *c = h->data;
  if (--c->handles)
    return;
  c->engine->handles--;
  free(c);
}

static void forget(caller *c)
{
  c->engine->open--;
  if (c->waiting)
    c->engine->busy--;
  c->waiting = 0;
  for (caller **p = &c->engine->callers; *p; p = &(*p)->next)
    if (*p == c) {
      *p = c->next;
      break;
    }
}

static int leave(caller *c)
{
  if (c->closing)
    return 0;
  c->closing = 1;
  forget(c);
  uv_close((uv_handle_t *)&c->timer, on_closed);
  return 1;
}

void caller_hang_up(caller *c)
{
  if (leave(c))
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void caller_reset(caller *c)
{
  if (leave(c) && uv_tcp_close_reset(&c->tcp, on_closed))
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_sent(uv_write_t *w, int status)
{
  (void)status;
  free(w);
}

void caller_send(caller *c, const void *bytes, size_t len)
{
  sending *s = malloc(sizeof *s + len);
  uv_buf_t buf;
  assert_non_null(s);
  memcpy(s->bytes, bytes, len);
  buf = uv_buf_init(s->bytes, (unsigned)len);
  if (c->closing || uv_write(&s->write, (uv_stream_t *)&c->tcp, &buf, 1, on_sent))
    free(s);
}

void caller_text(caller *c, const char *text)
{
  caller_send(c, text, strlen(text));
}

void caller_answer(caller *c, const char *head, const char *body, size_t len)
{
  char line[1024];
  snprintf(line, sizeof line, "%sContent-Length: %zu\r\n\r\n", head, len);
  caller_text(c, line);
  caller_send(c, body, len);
  if (c->waiting)
    c->engine->busy--;
  c->waiting = 0;
}

static void on_drip(uv_timer_t *t)
{
  caller *c = t->data;
  if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) < 1 << 20)
    caller_send(c, c->drip, c->drip_len);
}

void caller_drip(caller *c, const char *bytes, size_t len, unsigned ms)
{
  c->drip = bytes;
  c->drip_len = len;
  uv_timer_start(&c->timer, on_drip, ms, ms);
}

/* Length of the first whole request in the buffer; 0 = not yet. */
static size_t whole(const caller *c)
{
  const char *end = memmem(c->in, c->len, "\r\n\r\n", 4), *length;
  size_t head;
  if (!end)
    return 0;
  head = (size_t)(end - c->in) + 4;
  length = strcasestr(c->in, "content-length:");
  if (length && length < end)
    head += strtoul(length + 15, NULL, 10);
  return head <= c->len ? head : 0;
}

static void take_request(caller *c, size_t len)
{
  engine *e = c->engine;
  char *request = malloc(len + 1);
  assert_non_null(request);
  memcpy(request, c->in, len);
  request[len] = 0;
  memmove(c->in, c->in + len, c->len - len + 1);
  c->len -= len;
  if (e->requests < sizeof e->asked / sizeof *e->asked)
    e->asked[e->requests] = uv_hrtime();
  e->requests++;
  snprintf(e->last, sizeof e->last, "%s", request);
  c->waiting = 1;
  if (++e->busy > e->most_busy)
    e->most_busy = e->busy;
  e->on_request(c, request, len);
  free(request);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  caller *c = stream->data;
  size_t len;
  (void)buf;
  if (n < 0) {
    caller_hang_up(c);
    return;
  }
  c->len += (size_t)n;
  c->in[c->len] = 0;
  while (!c->closing && (len = whole(c)) > 0)
    take_request(c, len);
}

static void on_room(uv_handle_t *h, size_t want, uv_buf_t *out)
{
  caller *c = h->data;
  (void)want;
  *out = uv_buf_init(c->in + c->len, (unsigned)(sizeof c->in - c->len - 1));
}

static void on_connection(uv_stream_t *listener, int status)
{
  engine *e = listener->data;
  caller *c = calloc(1, sizeof *c);
  assert_int_equal(status, 0);
  assert_non_null(c);
  c->engine = e;
  c->handles = 2;
  uv_tcp_init(listener->loop, &c->tcp);
  uv_timer_init(listener->loop, &c->timer);
  c->tcp.data = c->timer.data = c;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->tcp), 0);
  e->connections++;
  e->open++;
  e->handles++;
  c->next = e->callers;
  e->callers = c;
  uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

void engine_start(engine *e, uv_loop_t *loop, engine_fn fn, void *ud)
{
  struct sockaddr_in a;
  int len = sizeof a;
  memset(e, 0, sizeof *e);
  e->on_request = fn;
  e->ud = ud;
  e->handles = 1;
  uv_tcp_init(loop, &e->tcp);
  e->tcp.data = e;
  assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &a), 0);
  assert_int_equal(uv_tcp_bind(&e->tcp, (const struct sockaddr *)&a, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&e->tcp, 128, on_connection), 0);
  assert_int_equal(uv_tcp_getsockname(&e->tcp, (struct sockaddr *)&a, &len), 0);
  e->port = ntohs(a.sin_port);
}

static void on_listener_closed(uv_handle_t *h)
{
  engine *e = h->data;
  e->handles--;
}

static int all_gone(void *ud)
{
  return ((engine *)ud)->handles == 0;
}

void engine_stop(engine *e)
{
  uv_loop_t *loop = e->tcp.loop;
  while (e->callers)
    caller_hang_up(e->callers);
  uv_close((uv_handle_t *)&e->tcp, on_listener_closed);
  engine_until(loop, all_gone, e, "the engine's connections close");
}

static void on_wake(uv_timer_t *t)
{
  (void)t;
}

static int is_closed(void *ud)
{
  return uv_handle_get_data(ud) == ud;
}

static void mark_closed(uv_handle_t *h)
{
  h->data = h;
}

void engine_until(uv_loop_t *loop, int (*met)(void *ud), void *ud, const char *what)
{
  const uint64_t last = uv_hrtime() + DEADLINE_NS;
  uv_timer_t wake;
  uv_timer_init(loop, &wake);
  wake.data = NULL;
  uv_timer_start(&wake, on_wake, 5, 5);
  while (!met(ud)) {
    if (uv_hrtime() > last)
      fail_msg("this did not happen: %s", what);
    uv_run(loop, UV_RUN_ONCE);
  }
  uv_close((uv_handle_t *)&wake, mark_closed);
  while (!is_closed(&wake))
    uv_run(loop, UV_RUN_NOWAIT);
}

static int time_is_over(void *ud)
{
  return uv_hrtime() >= *(const uint64_t *)ud;
}

void engine_pass(uv_loop_t *loop, unsigned ms)
{
  uint64_t end = uv_hrtime() + ms * 1000000ull;
  engine_until(loop, time_is_over, &end, "time goes by");
}

void engine_loop_end(uv_loop_t *loop)
{
  uv_run(loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(loop), 0);
}
