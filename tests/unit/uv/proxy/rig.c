#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 30000

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
  static char buffer[65536];
  (void)h;
  (void)wanted;
  *out = uv_buf_init(buffer, sizeof buffer);
}

typedef struct sending {
  uv_write_t write;
  char bytes[];
} sending;

static void on_sent(uv_write_t *w, int status)
{
  (void)status;
  free(w);
}

static void send_bytes(uv_tcp_t *tcp, const char *text, size_t len)
{
  sending *s = malloc(sizeof *s + len);
  uv_buf_t buf;
  assert_non_null(s);
  memcpy(s->bytes, text, len);
  buf = uv_buf_init(s->bytes, (unsigned)len);
  if (uv_write(&s->write, (uv_stream_t *)tcp, &buf, 1, on_sent))
    free(s);
}

/* ---- engines ---- */

static void on_link_closed(uv_handle_t *h)
{
  rig_link *l = h->data;
  free(l->in);
  free(l);
}

static void close_link(rig_link *l)
{
  if (l->over)
    return;
  l->over = 1;
  l->engine->closed++;
  if (l->engine->link == l)
    l->engine->link = NULL;
  uv_close((uv_handle_t *)&l->tcp, on_link_closed);
}

static void flood(rig_link *l);

typedef struct wave {
  uv_write_t write;
  rig_link *link;
} wave;

static void on_wave(uv_write_t *w, int status)
{
  wave *v = (wave *)(void *)w;
  rig_link *l = v->link;
  free(v);
  if (!status && !l->over)
    flood(l);
}

static void flood(rig_link *l)
{
  static char chunk[65536 + 16];
  static size_t len;
  rig_engine *e = l->engine;
  uv_buf_t buf;
  wave *v;
  if (!len) {
    memcpy(chunk, "10000\r\n", 7);
    memset(chunk + 7, 'x', 65536);
    memcpy(chunk + 7 + 65536, "\r\n", 2);
    len = 65536 + 9;
  }
  if (e->flooded >= e->flood) {
    send_bytes(&l->tcp, "0\r\n\r\n", 5);
    return;
  }
  v = malloc(sizeof *v);
  assert_non_null(v);
  v->link = l;
  e->flooded += 65536;
  buf = uv_buf_init(chunk, (unsigned)len);
  if (uv_write(&v->write, (uv_stream_t *)&l->tcp, &buf, 1, on_wave))
    free(v);
}

static void reset_link(rig_link *l)
{
  struct linger now = {1, 0};
  uv_os_fd_t fd;
  if (!uv_fileno((uv_handle_t *)&l->tcp, &fd))
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close_link(l);
}

static void close_after(uv_write_t *w, int status)
{
  rig_link *l = w->data;
  (void)status;
  free(w);
  close_link(l);
}

static void send_last(rig_link *l, const char *text, size_t len)
{
  sending *s = malloc(sizeof *s + len);
  uv_buf_t buf;
  assert_non_null(s);
  memcpy(s->bytes, text, len);
  s->write.data = l;
  buf = uv_buf_init(s->bytes, (unsigned)len);
  assert_int_equal(uv_write(&s->write, (uv_stream_t *)&l->tcp, &buf, 1, close_after), 0);
}

static void react(rig_link *l)
{
  rig_engine *e = l->engine;
  e->requests++;
  switch (e->does) {
  case RIG_ANSWER:
    send_bytes(&l->tcp, e->answer, strlen(e->answer));
    break;
  case RIG_LAST:
    send_last(l, e->answer, strlen(e->answer));
    break;
  case RIG_CLOSE:
    close_link(l);
    break;
  case RIG_RESET:
    reset_link(l);
    break;
  case RIG_FLOOD:
    send_bytes(&l->tcp, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47);
    flood(l);
    break;
  default:
    break;
  }
}

/* Length of the first whole request, or 0. */
static size_t whole_request(const rig_link *l)
{
  const char *end = memmem(l->in, l->len, "\r\n\r\n", 4), *length;
  size_t head, body = 0;
  if (!end)
    return 0;
  head = (size_t)(end - l->in) + 4;
  length = memmem(l->in, head, "\r\nContent-Length: ", 18);
  if (length)
    body = strtoul(length + 18, NULL, 10);
  return l->len >= head + body ? head + body : 0;
}

static void on_link_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  rig_link *l = stream->data;
  size_t len;
  if (n < 0) {
    close_link(l);
    return;
  }
  if (l->engine->early) {
    if (!l->len)
      send_bytes(&l->tcp, l->engine->early, strlen(l->engine->early));
    l->len = 1;
    return;
  }
  if (l->len + (size_t)n > l->cap) {
    l->cap = 2 * (l->len + (size_t)n);
    l->in = realloc(l->in, l->cap);
    assert_non_null(l->in);
  }
  memcpy(l->in + l->len, buf->base, (size_t)n);
  l->len += (size_t)n;
  while (!l->over && (len = whole_request(l)) != 0) {
    rig_engine *e = l->engine;
    e->seen_len = len < sizeof e->seen ? len : sizeof e->seen - 1;
    memcpy(e->seen, l->in, e->seen_len);
    e->seen[e->seen_len] = 0;
    memmove(l->in, l->in + len, l->len - len);
    l->len -= len;
    react(l);
  }
}

static void on_link(uv_stream_t *listener, int status)
{
  rig_engine *e = listener->data;
  rig_link *l = calloc(1, sizeof *l);
  assert_int_equal(status, 0);
  assert_non_null(l);
  l->engine = e;
  uv_tcp_init(&e->rig->loop, &l->tcp);
  l->tcp.data = l;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&l->tcp), 0);
  e->connections++;
  e->link = l;
  if (!e->deaf)
    uv_read_start((uv_stream_t *)&l->tcp, on_room, on_link_read);
}

void rig_engine_send(rig_engine *e, const char *text, size_t len, int close)
{
  assert_non_null(e->link);
  if (close)
    send_last(e->link, text, len);
  else
    send_bytes(&e->link->tcp, text, len);
}

static void start_engine(rig *r, uint32_t i)
{
  rig_engine *e = &r->engine[i];
  struct sockaddr_in at;
  int len = sizeof at;
  llmd_endpoint row = {.size = sizeof row};
  char address[] = "127.0.0.1";
  e->rig = r;
  e->answer = RIG_JSON_ANSWER "2\r\n\r\n{}";
  uv_tcp_init(&r->loop, &e->listener);
  e->listener.data = e;
  uv_ip4_addr("127.0.0.1", 0, &at);
  assert_int_equal(uv_tcp_bind(&e->listener, (struct sockaddr *)&at, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&e->listener, 128, on_link), 0);
  assert_int_equal(uv_tcp_getsockname(&e->listener, (struct sockaddr *)&at, &len), 0);
  e->open = 1;
  e->port = ntohs(at.sin_port);
  row.address = (llmd_str){address, strlen(address)};
  row.port = e->port;
  assert_int_equal(llmd_pool_add(r->pool, &row, &e->id), 0);
}

void rig_engine_down(rig *r, uint32_t i)
{
  rig_engine *e = &r->engine[i];
  if (e->open)
    uv_close((uv_handle_t *)&e->listener, NULL);
  e->open = 0;
  if (e->link)
    close_link(e->link);
}

/* ---- the loop ---- */

static void on_beat(uv_timer_t *t)
{
  rig *r = t->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  (void)llmd_pool_tick(r->pool, &now, &next);
}

void rig_until(rig *r, int (*holds)(void *ud), void *ud)
{
  uint64_t begun = uv_hrtime() / 1000000;
  while (!holds(ud)) {
    uv_run(&r->loop, UV_RUN_ONCE);
    if (uv_hrtime() / 1000000 - begun > DEADLINE_MS)
      fail_msg("nothing happened for %d ms", DEADLINE_MS);
  }
}

llmd_service *rig_service(const char *yaml)
{
  char text[4096];
  llmd_service *s;
  llmd_err err = LLMD_ERR_INIT;
  int n = snprintf(text, sizeof text, "listen: 127.0.0.1:0\n%s", yaml);
  if (llmd_service_read(text, (size_t)n, NULL, &s, &err))
    fail_msg("%u: %s %s", err.line, err.path, err.text);
  return s;
}

static void log_line(void *ud, int level, const char *component, const char *text, size_t len)
{
  (void)ud;
  if (level <= LLMD_LOG_WARN && getenv("RIG_LOG"))
    fprintf(stderr, "# %s: %.*s\n", component, (int)len, text);
}

static void publish(rig *r)
{
  llmd_now now;
  llmd_clock(&now);
  assert_int_equal(llmd_pool_publish(r->pool, &now), 0);
}

void rig_start(rig *r, uint32_t engines, const char *yaml)
{
  llmd_proxy_options o = {.size = sizeof o, .fd = -1, .log = log_line};
  llmd_err err = LLMD_ERR_INIT;
  char with_log[4096];
  int fd;
  memset(r, 0, sizeof *r);
  uv_loop_init(&r->loop);
  uv_timer_init(&r->loop, &r->beat);
  r->beat.data = r;
  uv_timer_start(&r->beat, on_beat, 10, 10);
  assert_int_equal(llmd_pool_open(NULL, &r->pool, &err), 0);
  r->n_engines = engines;
  for (uint32_t i = 0; i < engines; i++)
    start_engine(r, i);
  publish(r);
  strcpy(r->log_path, "/tmp/llmd-rig-XXXXXX");
  fd = mkstemp(r->log_path);
  assert_true(fd >= 0);
  close(fd);
  snprintf(with_log, sizeof with_log, "log: {access: %s, buffer: 0}\n%s", r->log_path, yaml);
  r->service = rig_service(with_log);
  o.loop = &r->loop;
  o.service = r->service;
  if (llmd__proxy_start(&o, r->pool, &r->proxy, &err))
    fail_msg("%s", err.text);
}

static void on_done(void *ud)
{
  ((rig *)ud)->done = 1;
}

static int is_done(void *ud)
{
  return ((rig *)ud)->done;
}

static void close_all(uv_handle_t *h, void *ud)
{
  (void)ud;
  if (uv_is_closing(h))
    return;
  if (h->type == UV_TCP && h->data && (void *)&((rig_link *)h->data)->tcp == (void *)h && ((rig_link *)h->data)->engine)
    close_link(h->data);
  else
    uv_close(h, NULL);
}

int64_t rig_inflight(rig *r)
{
  int64_t sum = 0, requests, tokens;
  for (uint32_t i = 0; i < r->n_engines; i++)
    if (!llmd_pool_inflight(r->pool, r->engine[i].id, &requests, &tokens))
      sum += requests;
  return sum;
}

void rig_stop(rig *r)
{
  if (r->proxy && !r->done) {
    llmd_proxy_close(r->proxy, on_done, r);
    rig_until(r, is_done, r);
  }
  assert_int_equal(rig_inflight(r), 0);
  uv_walk(&r->loop, close_all, NULL);
  while (uv_run(&r->loop, UV_RUN_DEFAULT))
    ;
  assert_int_equal(uv_loop_close(&r->loop), 0);
  llmd_pool_close(r->pool);
  llmd_service_free(r->service);
  unlink(r->log_path);
}

char *rig_log(rig *r)
{
  FILE *f = fopen(r->log_path, "r");
  char *text = calloc(1, 1 << 20);
  assert_non_null(f);
  assert_non_null(text);
  (void)!fread(text, 1, (1 << 20) - 1, f);
  fclose(f);
  return text;
}

/* ---- clients ---- */

static void on_client_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  rig_client *c = stream->data;
  if (n < 0) {
    c->ended = 1;
    return;
  }
  c->total += (uint64_t)n;
  if (!c->keep)
    return;
  if (c->len + (size_t)n + 1 > c->cap) {
    c->cap = 2 * (c->len + (size_t)n + 1);
    c->got = realloc(c->got, c->cap);
    assert_non_null(c->got);
  }
  memcpy(c->got + c->len, buf->base, (size_t)n);
  c->len += (size_t)n;
  c->got[c->len] = 0;
}

static void on_client_connected(uv_connect_t *connect, int status)
{
  rig_client *c = connect->data;
  if (status)
    c->ended = 1;
  else if (c->keep >= 0)
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_client_read);
}

void rig_client_open(rig *r, rig_client *c, const char *text, size_t len)
{
  struct sockaddr_in at;
  memset(c, 0, sizeof *c);
  c->rig = r;
  c->keep = 1;
  c->got = calloc(1, 1);
  c->cap = 1;
  uv_tcp_init(&r->loop, &c->tcp);
  c->tcp.data = c;
  c->connect.data = c;
  uv_ip4_addr("127.0.0.1", (int)llmd_proxy_port(r->proxy), &at);
  assert_int_equal(uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *)&at, on_client_connected), 0);
  if (len)
    send_bytes(&c->tcp, text, len);
}

void rig_client_send(rig_client *c, const char *text, size_t len)
{
  send_bytes(&c->tcp, text, len);
}

static void on_client_closed(uv_handle_t *h)
{
  ((rig_client *)h->data)->closed = 1;
}

static int is_closed(void *ud)
{
  return ((rig_client *)ud)->closed;
}

static int has_ended(void *ud)
{
  return ((rig_client *)ud)->ended;
}

void rig_client_close(rig_client *c)
{
  uv_close((uv_handle_t *)&c->tcp, on_client_closed);
  rig_until(c->rig, is_closed, c);
}

void rig_client_finish(rig_client *c)
{
  rig_until(c->rig, has_ended, c);
  rig_client_close(c);
}

char *rig_ask(rig *r, const char *text, size_t len)
{
  rig_client c;
  rig_client_open(r, &c, text, len);
  rig_client_finish(&c);
  return c.got;
}

char *rig_post(rig *r, const char *path, const char *headers, const char *body, size_t len)
{
  size_t cap = strlen(path) + strlen(headers) + len + 256;
  char *text = malloc(cap), *got;
  int n;
  assert_non_null(text);
  n = snprintf(text, cap, "POST %s HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n", path, len,
               headers);
  memcpy(text + n, body, len);
  got = rig_ask(r, text, (size_t)n + len);
  free(text);
  return got;
}
