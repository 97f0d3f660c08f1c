#include "server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine.h"

typedef struct message {
  unsigned char b[4096];
  size_t n;
} message;

static void put16(message *m, unsigned v)
{
  m->b[m->n++] = (unsigned char)(v >> 8);
  m->b[m->n++] = (unsigned char)v;
}

static void put_name(message *m, const char *name)
{
  while (*name) {
    const size_t n = strcspn(name, ".");
    m->b[m->n++] = (unsigned char)n;
    memcpy(m->b + m->n, name, n);
    m->n += n;
    name += n + (name[n] == '.');
  }
  m->b[m->n++] = 0;
}

/* The name at 12, as text; returns where it ends. */
static size_t read_name(const unsigned char *b, size_t len, char *out, size_t cap)
{
  size_t at = 12, n = 0;
  while (at < len && b[at] && n + b[at] + 2 < cap) {
    memcpy(out + n, b + at + 1, b[at]);
    n += b[at];
    out[n++] = '.';
    at += 1u + b[at];
  }
  out[n ? n - 1 : 0] = 0;
  return at + 1;
}

static void put_data(message *m, const record *r)
{
  const size_t at = m->n;
  char host[256];
  put16(m, 0);
  if (r->type == TYPE_A) {
    assert_int_equal(inet_pton(AF_INET, r->data, m->b + m->n), 1);
    m->n += 4;
  } else if (r->type == TYPE_AAAA) {
    assert_int_equal(inet_pton(AF_INET6, r->data, m->b + m->n), 1);
    m->n += 16;
  } else if (r->type == TYPE_CNAME) {
    put_name(m, r->data);
  } else {
    put16(m, 1); /* priority, weight */
    put16(m, 1);
    put16(m, (unsigned)strtoul(strchr(r->data, ':') + 1, NULL, 10));
    snprintf(host, sizeof host, "%.*s", (int)strcspn(r->data, ":"), r->data);
    put_name(m, host);
  }
  m->b[at] = (unsigned char)((m->n - at - 2) >> 8);
  m->b[at + 1] = (unsigned char)(m->n - at - 2);
}

static void put_record(message *m, const record *r)
{
  put_name(m, r->name);
  put16(m, r->type);
  put16(m, 1);
  put16(m, r->ttl >> 16);
  put16(m, r->ttl);
  put_data(m, r);
}

/* Records of the name and type; those of the name that a CNAME leads to behind it. */
static unsigned put_answers(message *m, const name_server *s, const char *name, unsigned type)
{
  unsigned n = 0;
  for (unsigned i = 0; i < s->n; i++) {
    const record *r = &s->zone[i];
    if (strcasecmp(r->name, name) || (r->type != type && r->type != TYPE_CNAME))
      continue;
    put_record(m, r);
    n += 1 + (r->type == TYPE_CNAME ? put_answers(m, s, r->data, type) : 0);
  }
  return n;
}

static int knows(const name_server *s, const char *name)
{
  for (unsigned i = 0; i < s->n; i++)
    if (!strcasecmp(s->zone[i].name, name))
      return 1;
  return 0;
}

/* Returns 0 when nothing is to be sent. */
static int answer(name_server *s, const unsigned char *q, size_t len, int tcp, message *m)
{
  char name[300];
  const size_t end = read_name(q, len, name, sizeof name);
  unsigned type, code = 0, n;
  s->questions++;
  s->over_tcp += tcp != 0;
  if (s->behaviour == SILENT || end + 4 > len || (s->behaviour == CUT_FOR_GOOD && tcp))
    return 0;
  type = (unsigned)q[end] << 8 | q[end + 1];
  memset(m, 0, sizeof *m);
  memcpy(m->b, q, end + 4);
  m->n = end + 4;
  m->b[2] = 0x84; /* an answer, with authority */
  m->b[3] = 0;
  m->b[8] = m->b[9] = m->b[10] = m->b[11] = 0;
  if (s->behaviour == OTHER_ID)
    m->b[0] ^= 0xff;
  if (s->behaviour == OTHER_QUESTION)
    m->b[13] ^= 1;
  if (!tcp && (s->behaviour == TRUNCATED || s->behaviour == CUT_FOR_GOOD)) {
    m->b[2] |= 2;
    return 1;
  }
  if (s->behaviour == GARBAGE) {
    m->b[7] = 3;
    memset(m->b + m->n, 0xc1, 40);
    m->n += 40;
    return 1;
  }
  if (s->behaviour == FAILING || (s->silent_type && s->silent_type == type))
    code = 2;
  else if (s->behaviour == NO_SUCH_NAME || !knows(s, name))
    code = 3;
  n = code ? 0 : put_answers(m, s, name, type);
  m->b[3] = (unsigned char)code;
  m->b[7] = (unsigned char)n;
  return 1;
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static void on_room(uv_handle_t *h, size_t want, uv_buf_t *out)
{
  name_server *s = h->data;
  (void)want;
  *out = uv_buf_init(s->room, sizeof s->room);
}

static void on_question(uv_udp_t *u, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
  message m;
  uv_buf_t out;
  (void)flags;
  if (n < 12 || !from || !answer(u->data, (const unsigned char *)buf->base, (size_t)n, 0, &m))
    return;
  out = uv_buf_init((char *)m.b, (unsigned)m.n);
  (void)uv_udp_try_send(u, &out, 1, from);
}

static void on_caller_closed(uv_handle_t *h)
{
  name_server *s = h->data;
  s->handles--;
  free(h);
}

static void answer_by_tcp(uv_stream_t *stream, const unsigned char *q, size_t len)
{
  message m;
  unsigned char head[2];
  uv_buf_t out[2];
  if (!answer(stream->data, q, len, 1, &m)) {
    if (!uv_is_closing((uv_handle_t *)stream))
      uv_close((uv_handle_t *)stream, on_caller_closed);
    return;
  }
  head[0] = (unsigned char)(m.n >> 8);
  head[1] = (unsigned char)m.n;
  out[0] = uv_buf_init((char *)head, 2);
  out[1] = uv_buf_init((char *)m.b, (unsigned)m.n);
  (void)uv_try_write(stream, out, 2);
}

/* Questions come whole here, one or more at a time: they are short. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  const unsigned char *b = (const unsigned char *)buf->base;
  if (n < 0)
    uv_close((uv_handle_t *)stream, on_caller_closed);
  for (size_t at = 0; n > 0 && at + 14 < (size_t)n && !uv_is_closing((uv_handle_t *)stream);) {
    const size_t len = (size_t)b[at] << 8 | b[at + 1];
    if (len < 12 || at + 2 + len > (size_t)n)
      return;
    answer_by_tcp(stream, b + at + 2, len);
    at += 2 + len;
  }
}

static void on_caller(uv_stream_t *listener, int status)
{
  name_server *s = listener->data;
  uv_tcp_t *c = malloc(sizeof *c);
  assert_int_equal(status, 0);
  assert_non_null(c);
  uv_tcp_init(listener->loop, c);
  c->data = s;
  s->handles++;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)c), 0);
  uv_read_start((uv_stream_t *)c, on_room, on_read);
}

static int bind_both(name_server *s, uv_loop_t *loop)
{
  struct sockaddr_in a;
  int len = sizeof a;
  uv_ip4_addr("127.0.0.1", 0, &a);
  uv_tcp_init(loop, &s->tcp);
  uv_udp_init(loop, &s->udp);
  s->tcp.data = s->udp.data = s;
  assert_int_equal(uv_udp_bind(&s->udp, (const struct sockaddr *)&a, 0), 0);
  assert_int_equal(uv_udp_getsockname(&s->udp, (struct sockaddr *)&a, &len), 0);
  s->port = ntohs(a.sin_port);
  return uv_tcp_bind(&s->tcp, (const struct sockaddr *)&a, 0) ||
         uv_listen((uv_stream_t *)&s->tcp, 16, on_caller);
}

static void on_closed(uv_handle_t *h)
{
  name_server *s = h->data;
  s->handles--;
}

static int all_closed(void *ud)
{
  return ((name_server *)ud)->handles == 0;
}

static void close_both(name_server *s)
{
  uv_close((uv_handle_t *)&s->udp, on_closed);
  uv_close((uv_handle_t *)&s->tcp, on_closed);
  engine_until(s->udp.loop, all_closed, s, "the name server closes");
}

void server_start(name_server *s, uv_loop_t *loop)
{
  memset(s, 0, sizeof *s);
  s->handles = 2;
  for (int tries = 0; bind_both(s, loop); tries++) { /* somebody else's TCP may have the port */
    assert_in_range(tries, 0, 20);
    close_both(s);
    s->handles = 2;
  }
  assert_int_equal(uv_udp_recv_start(&s->udp, on_room, on_question), 0);
}

void server_stop(name_server *s)
{
  close_both(s);
}
