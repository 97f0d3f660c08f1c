/* The hub and its lines. */
#include "uv/events/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>
#include <zmq.h>

#include <llmd/error.h>

#define TURN_NS UINT64_C(2000000) /* of one turn of the loop */
#define TURN_MESSAGES 256u
#define VISIT_MESSAGES 32u /* of one line before the next has its turn */
#define VISIT_NEWS 32u     /* about its connection */
#define MOST_NEWS 4096u    /* that libzmq can hold for us */
#define MOST_PARTS 6u      /* [identity, "", topic, seq, payload] are five */
#define MOST_SOCKETS 65535   /* a line is three */
#define MOST_BYTES (4 << 20) /* of a part; larger ones end the connection */
#define LIVE_ROOM 256        /* messages held for us before the sender is made to wait */
#define REPLAY_ROOM 2048     /* who answers a replay does not wait, he drops */
#define FIRST_RETRY_MS 100
#define CONNECT_MS 3000
#define HANDSHAKE_MS 3000
#define HEARTBEAT_MS 10000
#define HEARTBEAT_LOST_MS 30000

struct llmd__line {
  llmd__hub *hub;
  llmd__line *prev, *next;  /* all lines */
  llmd__line *ready;        /* the ready list */
  uint8_t queued, closing, skipping; /* skipping: the rest of a message with too many parts */
  uint8_t handles;
  void *socket, *news;      /* news: what happens to the connection */
  uv_poll_t poll, news_poll;
  const llmd__line_calls *calls;
  void *ud;
};

struct llmd__hub {
  uv_loop_t *loop;
  void *context;
  llmd__line *lines;
  llmd__line *first, **last; /* ready */
  uv_idle_t idle;            /* runs while somebody is ready: the loop then does not sleep */
  uv_work_t work;
  uint32_t handles, number;
  uint64_t messages, bytes;
  uint8_t closing;
  void (*done)(void *ud);
  void *done_ud;
};

/* ---- the ready list ---------------------------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle);

static void make_ready(llmd__line *line)
{
  llmd__hub *hub = line->hub;
  if (line->queued || line->closing)
    return;
  line->queued = 1;
  line->ready = NULL;
  *hub->last = line;
  hub->last = &line->ready;
  uv_idle_start(&hub->idle, on_idle);
}

static llmd__line *take_ready(llmd__hub *hub)
{
  llmd__line *line = hub->first;
  if (!line)
    return NULL;
  hub->first = line->ready;
  if (!hub->first)
    hub->last = &hub->first;
  line->queued = 0;
  return line;
}

static void drop_ready(llmd__line *line)
{
  llmd__hub *hub = line->hub;
  llmd__line **at = &hub->first;
  if (!line->queued)
    return;
  while (*at != line)
    at = &(*at)->ready;
  *at = line->ready;
  if (!*at)
    hub->last = at;
  line->queued = 0;
}

static void on_descriptor(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  make_ready(poll->data);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void close_parts(zmq_msg_t *part, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    zmq_msg_close(&part[i]);
}

/* The rest of a message that has too many parts, a bounded number of them. 1: it is at its end. */
static int skip(llmd__line *line)
{
  for (uint32_t i = 0; line->skipping && i < TURN_MESSAGES; i++) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, line->socket, ZMQ_DONTWAIT) < 0)
      line->skipping = 0;
    else
      line->skipping = (uint8_t)(zmq_msg_more(&part) != 0);
    zmq_msg_close(&part);
  }
  return !line->skipping;
}

static void deliver(llmd__line *line, zmq_msg_t *part, uint32_t n)
{
  llmd_str frame[MOST_PARTS];
  for (uint32_t i = 0; i < n; i++) {
    frame[i] = (llmd_str){zmq_msg_data(&part[i]), zmq_msg_size(&part[i])};
    line->hub->bytes += frame[i].len;
  }
  line->hub->messages++;
  line->calls->message(line->ud, frame, line->skipping ? 0 : n);
}

/* All parts of a message are there when its first is. 0: there is none. */
static int take_message(llmd__line *line)
{
  zmq_msg_t part[MOST_PARTS];
  uint32_t n = 0;
  int more = 1;
  while (more && n < MOST_PARTS) {
    zmq_msg_init(&part[n]);
    if (zmq_msg_recv(&part[n], line->socket, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&part[n]);
      break;
    }
    more = zmq_msg_more(&part[n++]);
  }
  if (n) {
    line->skipping = more && n == MOST_PARTS;
    deliver(line, part, n);
  }
  close_parts(part, n);
  return n > 0;
}

/* At most so many, none begun after `until`. 1: there may be more. */
static int take_messages(llmd__line *line, uint32_t *left, uint64_t until)
{
  uint32_t most = *left < VISIT_MESSAGES ? *left : VISIT_MESSAGES;
  for (uint32_t i = 0; i < most; i++) {
    if (!skip(line))
      return 1;
    if (!take_message(line))
      return 0;
    --*left;
    if (line->closing)
      return 0;
    if (uv_hrtime() >= until)
      return 1;
  }
  return 1;
}

/* ---- news of the connection -------------------------------------------------------------------------------------- */

static int meaning(uint16_t event)
{
  switch (event) {
  case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
    return LLMD__LINE_UP;
  case ZMQ_EVENT_DISCONNECTED:
  case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
  case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
  case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    return LLMD__LINE_DOWN;
  case ZMQ_EVENT_CONNECT_RETRIED:
    return LLMD__LINE_FAILED;
  default:
    return 0;
  }
}

/* [event and value, address]. 0: none. */
static int take_news(llmd__line *line)
{
  zmq_msg_t part;
  uint16_t event = 0;
  int more;
  zmq_msg_init(&part);
  if (zmq_msg_recv(&part, line->news, ZMQ_DONTWAIT) < 0) {
    zmq_msg_close(&part);
    return 0;
  }
  if (zmq_msg_size(&part) >= sizeof event)
    memcpy(&event, zmq_msg_data(&part), sizeof event);
  for (more = zmq_msg_more(&part); more; more = zmq_msg_more(&part))
    if (zmq_msg_recv(&part, line->news, ZMQ_DONTWAIT) < 0)
      break;
  zmq_msg_close(&part);
  if (meaning(event) && !line->closing)
    line->calls->state(line->ud, meaning(event));
  return 1;
}

/* What happened to the connection comes before what was said on it. 1: there may be more. */
static int visit(llmd__line *line, uint32_t *left, uint64_t until)
{
  uint32_t news = 0;
  while (line->news && news < VISIT_NEWS && !line->closing && take_news(line))
    news++;
  if (line->closing)
    return 0;
  return take_messages(line, left, until) || news == VISIT_NEWS;
}

static void on_idle(uv_idle_t *idle)
{
  llmd__hub *hub = idle->data;
  uint64_t until = uv_hrtime() + TURN_NS;
  uint32_t left = TURN_MESSAGES;
  llmd__line *line;
  while (left && (line = take_ready(hub)) != NULL) {
    if (visit(line, &left, until))
      make_ready(line);
    if (uv_hrtime() >= until)
      break;
  }
  if (!hub->first)
    uv_idle_stop(&hub->idle);
}

/* ---- making a line ----------------------------------------------------------------------------------------------- */

static void set(void *socket, int option, int value)
{
  (void)zmq_setsockopt(socket, option, &value, sizeof value);
}

static int failure(void)
{
  switch (errno) {
  case ENOMEM:
    return LLMD_E_NOMEM;
  case EMFILE:
  case ENFILE:
    return LLMD_E_LIMIT;
  case EINVAL:
  case EPROTONOSUPPORT:
    return LLMD_E_INVALID;
  default:
    return LLMD_E_IO;
  }
}

static void set_options(void *socket, const llmd__line_options *o, int room)
{
  set(socket, ZMQ_LINGER, 0);
  set(socket, ZMQ_RCVHWM, room);
  set(socket, ZMQ_RECONNECT_IVL, FIRST_RETRY_MS);
  set(socket, ZMQ_RECONNECT_IVL_MAX, o->retry_ms > FIRST_RETRY_MS ? (int)o->retry_ms : FIRST_RETRY_MS);
  set(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
  set(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
  set(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
  set(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_LOST_MS);
  set(socket, ZMQ_IPV6, strchr(o->address, '[') != NULL);
  int64_t most = MOST_BYTES;
  (void)zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
}

/* The socket's pair on which libzmq tells what happens to the connection. */
static int open_news(llmd__line *line)
{
  const int wanted = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED |
                     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  char where[32];
  snprintf(where, sizeof where, "inproc://news-%u", line->hub->number++);
  if (zmq_socket_monitor(line->socket, where, wanted) < 0)
    return failure();
  line->news = zmq_socket(line->hub->context, ZMQ_PAIR);
  if (!line->news)
    return failure();
  set(line->news, ZMQ_LINGER, 0);
  return zmq_connect(line->news, where) ? failure() : 0;
}

static int watch(llmd__line *line, void *socket, uv_poll_t *poll)
{
  uv_os_sock_t fd;
  size_t len = sizeof fd;
  if (zmq_getsockopt(socket, ZMQ_FD, &fd, &len))
    return failure();
  if (uv_poll_init_socket(line->hub->loop, poll, fd))
    return LLMD_E_IO;
  poll->data = line;
  line->handles++;
  return uv_poll_start(poll, UV_READABLE, on_descriptor) ? LLMD_E_IO : 0;
}

static void on_closed(uv_handle_t *handle)
{
  llmd__line *line = handle->data;
  if (--line->handles == 0)
    free(line);
}

/* libzmq says goodbye on it, and would wait for ever for room there. */
static void close_news(llmd__line *line)
{
  for (uint32_t i = 0; i < MOST_NEWS && take_news(line); i++)
    ;
  (void)zmq_socket_monitor(line->socket, NULL, 0);
  zmq_close(line->news);
}

void llmd__line_close(llmd__line *line)
{
  if (!line || line->closing)
    return;
  drop_ready(line);
  line->closing = 1;
  if (line->prev)
    line->prev->next = line->next;
  else
    line->hub->lines = line->next;
  if (line->next)
    line->next->prev = line->prev;
  /* The loop lets go of the descriptors before they are closed. */
  if (line->handles > 1)
    uv_close((uv_handle_t *)&line->news_poll, on_closed);
  if (line->handles)
    uv_close((uv_handle_t *)&line->poll, on_closed);
  if (line->news)
    close_news(line);
  if (line->socket)
    zmq_close(line->socket);
  if (!line->handles)
    free(line);
}

static int open_line(llmd__hub *hub, int type, int room, const llmd__line_options *o, llmd__line **out)
{
  llmd__line *line = calloc(1, sizeof *line);
  int rc;
  if (!line)
    return LLMD_E_NOMEM;
  line->hub = hub;
  line->calls = o->calls;
  line->ud = o->ud;
  line->next = hub->lines;
  if (line->next)
    line->next->prev = line;
  hub->lines = line;
  line->socket = zmq_socket(hub->context, type);
  rc = line->socket ? 0 : failure();
  if (rc == 0) {
    set_options(line->socket, o, room);
    rc = watch(line, line->socket, &line->poll);
  }
  if (rc == 0 && !o->bind)
    rc = open_news(line);
  if (rc == 0 && line->news)
    rc = watch(line, line->news, &line->news_poll);
  if (rc) {
    llmd__line_close(line);
    return rc;
  }
  *out = line;
  return 0;
}

static int join(llmd__line *line, const llmd__line_options *o)
{
  const int rc = o->bind ? zmq_bind(line->socket, o->address) : zmq_connect(line->socket, o->address);
  return rc ? failure() : 0;
}

int llmd__line_subscribe(llmd__hub *hub, const llmd__line_options *options, llmd_str topic, llmd__line **out)
{
  llmd__line *line;
  int rc = open_line(hub, ZMQ_SUB, LIVE_ROOM, options, &line);
  if (rc)
    return rc;
  if (zmq_setsockopt(line->socket, ZMQ_SUBSCRIBE, topic.ptr ? topic.ptr : "", topic.len))
    rc = failure();
  else
    rc = join(line, options);
  if (rc) {
    llmd__line_close(line);
    return rc;
  }
  make_ready(line);
  *out = line;
  return 0;
}

int llmd__line_ask(llmd__hub *hub, const llmd__line_options *options, uint64_t from, llmd__line **out)
{
  uint8_t start[8];
  llmd__line *line;
  int rc = open_line(hub, ZMQ_DEALER, REPLAY_ROOM, options, &line);
  if (rc)
    return rc;
  for (int i = 0; i < 8; i++)
    start[i] = (uint8_t)(from >> 8 * (7 - i));
  rc = join(line, options);
  if (rc == 0 && (zmq_send(line->socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
                  zmq_send(line->socket, start, sizeof start, ZMQ_DONTWAIT) < 0))
    rc = failure();
  if (rc) {
    llmd__line_close(line);
    return rc;
  }
  make_ready(line); /* sending may have swallowed what the descriptor had to say */
  *out = line;
  return 0;
}

uint32_t llmd__line_port(const llmd__line *line)
{
  char where[256] = "";
  size_t len = sizeof where;
  const char *colon;
  if (zmq_getsockopt(line->socket, ZMQ_LAST_ENDPOINT, where, &len))
    return 0;
  colon = strrchr(where, ':');
  return colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
}

/* ---- the hub ----------------------------------------------------------------------------------------------------- */

int llmd__hub_open(struct uv_loop_s *loop, llmd__hub **out)
{
  llmd__hub *hub = calloc(1, sizeof *hub);
  if (!hub)
    return LLMD_E_NOMEM;
  hub->loop = loop;
  hub->last = &hub->first;
  hub->context = zmq_ctx_new();
  if (!hub->context) {
    free(hub);
    return failure();
  }
  (void)zmq_ctx_set(hub->context, ZMQ_MAX_SOCKETS, MOST_SOCKETS);
  uv_idle_init(loop, &hub->idle);
  hub->idle.data = hub;
  hub->work.data = hub;
  *out = hub;
  return 0;
}

/* libzmq waits here for its thread to put everything away: not on the loop's time. */
static void end_context(uv_work_t *work)
{
  llmd__hub *hub = work->data;
  (void)zmq_ctx_term(hub->context);
}

static void on_ended(uv_work_t *work, int status)
{
  llmd__hub *hub = work->data;
  void (*done)(void *ud) = hub->done;
  void *ud = hub->done_ud;
  (void)status;
  free(hub);
  if (done)
    done(ud);
}

static void on_idle_closed(uv_handle_t *handle)
{
  llmd__hub *hub = handle->data;
  if (uv_queue_work(hub->loop, &hub->work, end_context, on_ended)) {
    end_context(&hub->work);
    on_ended(&hub->work, 0);
  }
}

void llmd__hub_close(llmd__hub *hub, void (*done)(void *ud), void *ud)
{
  if (!hub || hub->closing)
    return;
  hub->closing = 1;
  hub->done = done;
  hub->done_ud = ud;
  while (hub->lines)
    llmd__line_close(hub->lines);
  uv_close((uv_handle_t *)&hub->idle, on_idle_closed); /* after the lines' handles, which were closed before */
}

void llmd__hub_count(const llmd__hub *hub, uint64_t *messages, uint64_t *bytes)
{
  *messages = hub->messages;
  *bytes = hub->bytes;
}
