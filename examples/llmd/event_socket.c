#define _POSIX_C_SOURCE 200809L
#include "event_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

#include <llmd/error.h>

#define SLICE 64u       /* messages of an answer in one turn of the loop */
#define WAIT_MS 5u      /* until somebody who does not read is tried again */
#define PATIENCE 2000u  /* times that he is; then he gets no more */
#define ID_ROOM 256u    /* an identity has 255 bytes at most */
#define MOST_ASKED 256u /* replays that wait for their turn */

/* Somebody's replay under way. */
struct replay {
  struct replay *next;
  uint64_t from;
  uint32_t tried;
  size_t id_len;
  uint8_t id[ID_ROOM];
};

struct event_socket {
  uv_loop_t *loop;
  void *context, *pub, *router;
  uint32_t port, replay_port;
  event_answer_fn answer;
  void *ud;
  int old_way;
  struct replay *first, **last;
  uint32_t n_asked;
  uv_poll_t poll;   /* of the router's descriptor, which only says "look again" */
  uv_timer_t timer; /* the next slice */
  uint32_t handles;
  int closing;
  void (*done)(void *ud);
  void *done_ud;
};

static void put_u64(uint8_t out[8], uint64_t v)
{
  for (int i = 0; i < 8; i++)
    out[i] = (uint8_t)(v >> 8 * (7 - i));
}

static uint64_t get_u64(const uint8_t *p)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v = v << 8 | p[i];
  return v;
}

/* ---- answers ---- */

/* Sends the parts; only the first can be refused, all others go with it. 0, or -1 = no room now, 1 = he is gone. */
static int send_parts(struct event_socket *s, const struct replay *r, const struct event_message *parts, uint32_t n)
{
  int rc = zmq_send(s->router, r->id, r->id_len, ZMQ_SNDMORE | ZMQ_DONTWAIT);
  if (rc < 0)
    return errno == EAGAIN ? -1 : 1;
  for (uint32_t i = 0; i < n; i++)
    zmq_send(s->router, parts[i].payload, parts[i].len, ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0));
  return 0;
}

static struct event_message part(const void *ptr, size_t len)
{
  struct event_message m;
  memset(&m, 0, sizeof m);
  m.payload = ptr;
  m.len = len;
  return m;
}

static int send_answer(struct event_socket *s, const struct replay *r, const struct event_message *m)
{
  uint8_t seq[8];
  struct event_message parts[4];
  uint32_t n = 0;
  put_u64(seq, m->seq);
  parts[n++] = part("", 0);
  if (!s->old_way)
    parts[n++] = part(m->topic, m->topic_len);
  parts[n++] = part(seq, sizeof seq);
  parts[n++] = part(m->payload, m->len);
  return send_parts(s, r, parts, n);
}

static int send_end(struct event_socket *s, const struct replay *r)
{
  struct event_message none;
  memset(&none, 0, sizeof none);
  none.seq = UINT64_MAX;
  none.topic = "";
  none.payload = "";
  return send_answer(s, r, &none);
}

static void replay_ends(struct event_socket *s)
{
  struct replay *r = s->first;
  s->first = r->next;
  if (!s->first)
    s->last = &s->first;
  s->n_asked--;
  free(r);
}

/* A slice of the first replay. Milliseconds until the next one. */
static uint64_t answer_some(struct event_socket *s)
{
  struct replay *r = s->first;
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < SLICE; i++) {
    struct event_message m;
    memset(&m, 0, sizeof m);
    if (!s->answer(s->ud, r->from, &m)) {
      rc = send_end(s, r);
      rc = rc == 0 ? 1 : rc;
    } else {
      rc = send_answer(s, r, &m);
      if (rc == 0) {
        r->from = m.seq + 1;
        r->tried = 0;
      }
    }
  }
  if (rc > 0 || (rc < 0 && ++r->tried > PATIENCE)) {
    replay_ends(s);
    return 0;
  }
  if (rc < 0) { /* the others need not wait for him */
    s->first = r->next;
    if (!s->first)
      s->last = &s->first;
    r->next = NULL;
    *s->last = r;
    s->last = &r->next;
  }
  return rc < 0 ? WAIT_MS : 0;
}

/* ---- requests ---- */

/* [id, "", from]. Anything else is not answered. */
static void take_request(struct event_socket *s, struct replay *r)
{
  zmq_msg_t m;
  int more = 1, good = 1;
  for (uint32_t i = 0; more; i++) {
    size_t len;
    zmq_msg_init(&m);
    if (zmq_msg_recv(&m, s->router, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&m);
      good = 0;
      break;
    }
    len = zmq_msg_size(&m);
    more = zmq_msg_more(&m);
    if (i == 0 && len <= ID_ROOM)
      memcpy(r->id, zmq_msg_data(&m), r->id_len = len);
    if (i == 2 && len == 8)
      r->from = get_u64(zmq_msg_data(&m));
    good &= i == 0 ? len <= ID_ROOM && more : i == 1 ? len == 0 && more : i == 2 && len == 8;
    zmq_msg_close(&m);
  }
  if (!good || s->n_asked >= MOST_ASKED) {
    free(r);
    return;
  }
  *s->last = r;
  s->last = &r->next;
  s->n_asked++;
}

static int has_request(struct event_socket *s)
{
  int events = 0;
  size_t len = sizeof events;
  return zmq_getsockopt(s->router, ZMQ_EVENTS, &events, &len) == 0 && (events & ZMQ_POLLIN);
}

static void on_timer(uv_timer_t *timer);

/* The descriptor speaks once of what may be many things, and any call may swallow its word: so all is looked at after
 * everything that is done. */
static void work(struct event_socket *s)
{
  uint64_t wait = 0;
  for (uint32_t i = 0; i < SLICE && has_request(s); i++) {
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
      break;
    take_request(s, r);
  }
  if (s->first)
    wait = answer_some(s);
  if (s->first || has_request(s))
    uv_timer_start(&s->timer, on_timer, wait, 0);
}

static void on_timer(uv_timer_t *timer)
{
  work(timer->data);
}

static void on_descriptor(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  work(poll->data);
}

/* ---- life ---- */

static void finish(struct event_socket *s)
{
  void (*done)(void *ud) = s->done;
  void *ud = s->done_ud;
  while (s->first)
    replay_ends(s);
  if (s->context)
    zmq_ctx_term(s->context);
  free(s);
  if (done)
    done(ud);
}

static void on_closed(uv_handle_t *handle)
{
  struct event_socket *s = handle->data;
  if (--s->handles == 0)
    finish(s);
}

void event_socket_close(struct event_socket *s, void (*done)(void *ud), void *ud)
{
  if (!s || s->closing)
    return;
  s->closing = 1;
  s->done = done;
  s->done_ud = ud;
  if (s->handles == 2)
    uv_close((uv_handle_t *)&s->poll, on_closed); /* before its descriptor goes */
  if (s->pub)
    zmq_close(s->pub);
  if (s->router)
    zmq_close(s->router);
  if (s->handles)
    uv_close((uv_handle_t *)&s->timer, on_closed);
  else
    finish(s);
}

/* libzmq's word for a free port is a star. */
static int spell_address(const char *address, char *out, size_t room)
{
  const size_t len = strlen(address);
  const char *colon = strrchr(address, ':');
  if (!colon || len + 2 > room)
    return LLMD_E_INVALID;
  snprintf(out, room, "%s", address);
  if (!strcmp(colon, ":0"))
    out[len - 1] = '*';
  return 0;
}

static uint32_t port_of(void *socket)
{
  char where[256] = "";
  size_t len = sizeof where;
  const char *colon;
  if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, where, &len))
    return 0;
  colon = strrchr(where, ':');
  return colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
}

static int open_socket(struct event_socket *s, int type, const char *address, void **out, uint32_t *port)
{
  char where[256];
  const int connects = address[0] == '>', none = 0, yes = 1, room = 100000;
  int rc = spell_address(address + connects, where, sizeof where);
  void *socket = rc ? NULL : zmq_socket(s->context, type);
  if (!socket)
    return rc ? rc : LLMD_E_NOMEM;
  *out = socket;
  zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
  if (type == ZMQ_ROUTER)
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
  else
    zmq_setsockopt(socket, ZMQ_SNDHWM, &room, sizeof room); /* as vLLM */
  if (strchr(where, '['))
    zmq_setsockopt(socket, ZMQ_IPV6, &yes, sizeof yes);
  rc = connects ? zmq_connect(socket, where) : zmq_bind(socket, where);
  if (rc)
    return errno == EINVAL || errno == EPROTONOSUPPORT ? LLMD_E_INVALID : LLMD_E_IO;
  *port = connects ? 0 : port_of(socket);
  return 0;
}

static int watch(struct event_socket *s)
{
  uv_os_sock_t fd;
  size_t len = sizeof fd;
  s->timer.data = s->poll.data = s;
  if (uv_timer_init(s->loop, &s->timer))
    return LLMD_E_IO;
  s->handles = 1;
  if (!s->router)
    return 0;
  if (zmq_getsockopt(s->router, ZMQ_FD, &fd, &len) || uv_poll_init_socket(s->loop, &s->poll, fd))
    return LLMD_E_IO;
  s->handles = 2;
  if (uv_poll_start(&s->poll, UV_READABLE, on_descriptor))
    return LLMD_E_IO;
  uv_timer_start(&s->timer, on_timer, 0, 0); /* what came before the descriptor was watched */
  return 0;
}

int event_socket_open(uv_loop_t *loop, const char *pub_address, const char *replay_address, event_answer_fn answer,
                      void *ud, struct event_socket **out)
{
  struct event_socket *s = calloc(1, sizeof *s);
  int rc;
  if (!s)
    return LLMD_E_NOMEM;
  s->loop = loop;
  s->answer = answer;
  s->ud = ud;
  s->last = &s->first;
  s->context = zmq_ctx_new();
  rc = s->context ? open_socket(s, ZMQ_PUB, pub_address, &s->pub, &s->port) : LLMD_E_NOMEM;
  if (rc == 0 && replay_address && *replay_address)
    rc = open_socket(s, ZMQ_ROUTER, replay_address, &s->router, &s->replay_port);
  if (rc == 0)
    rc = watch(s);
  if (rc) {
    event_socket_close(s, NULL, NULL);
    return rc;
  }
  *out = s;
  return 0;
}

void event_socket_answer_old_way(struct event_socket *s, int on)
{
  s->old_way = on;
}

int event_socket_publish(struct event_socket *s, const char *topic, size_t topic_len, uint64_t seq,
                         const void *payload, size_t len)
{
  uint8_t number[8];
  put_u64(number, seq);
  if (zmq_send(s->pub, topic, topic_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
      zmq_send(s->pub, number, sizeof number, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
      zmq_send(s->pub, payload, len, ZMQ_DONTWAIT) < 0)
    return errno == ENOMEM ? LLMD_E_NOMEM : LLMD_E_IO;
  return 0;
}

uint32_t event_socket_port(const struct event_socket *s)
{
  return s->port;
}

uint32_t event_socket_replay_port(const struct event_socket *s)
{
  return s->replay_port;
}
