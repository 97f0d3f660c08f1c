/* The agent's side: deciders ask on a unix socket, a renderer answers.
 *
 *   listener ─► peer checked ─► connection: bytes ─► frames ─► question ─► llmd__renderer_ask ─► answer
 *
 * A connection that says what is no question, stops in the middle of one, or does not take its answers is closed: its
 * questions go with it, what is being rendered for them is filed all the same. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <llmd/uv.h>

#include "uv/log.h"
#include "uv/tokens/render.h"
#include "uv/tokens/socket.h"
#include "uv/tokens/wire.h"

#define MOST_CONNECTIONS 256u
#define MOST_QUESTIONS 1024u            /* waiting, of one connection */
#define MOST_HELD ((size_t)256 << 20)   /* of questions that are being read */
#define MOST_PENDING ((size_t)64 << 20) /* of answers that one connection does not take */
#define FIRST_ROOM ((size_t)64 << 10)
#define KEEP_ROOM ((size_t)256 << 10)   /* of a connection between two questions */
#define SWEEP_MS 1000u
#define FRAME_MS 30000u                 /* from the first byte of a question to the last */

#define SAY(t, level, ...) llmd__log((t)->log, (t)->log_ud, level, "tokens", __VA_ARGS__)

typedef struct connection connection;

typedef struct question {
  llmd__ask ask; /* first: it is found by this */
  struct question *next, **back;
  connection *c;
  uint64_t id;
} question;

struct connection {
  uv_pipe_t pipe;
  llmd_tokens *t;
  connection *next, **back;
  question *questions;
  uint32_t n_questions;
  uint32_t closing;
  char *in;
  size_t len, room;
  uint64_t begun; /* ms: the first byte of what is in `in` came */
};

typedef struct answer {
  uv_write_t write;
  char bytes[];
} answer;

struct llmd_tokens {
  uv_loop_t *loop;
  llmd_log_fn log;
  void *log_ud;
  char *path;
  int group;
  uv_pipe_t listener;
  uv_timer_t sweep;
  llmd__local_file file;
  llmd__renderer *renderer;
  connection *connections;
  uint32_t n_connections, waiting;
  uint32_t parts;        /* what still has to close */
  uint64_t told;         /* ms: of a stranger */
  size_t held;
  uint64_t questions, refused, strangers;
  llmd_done_fn done;
  void *done_ud;
};

static void part_closed(llmd_tokens *t)
{
  llmd_done_fn done = t->done;
  void *done_ud = t->done_ud;
  if (--t->parts)
    return;
  free(t->path);
  free(t);
  if (done)
    done(done_ud);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void drop_question(question *q)
{
  connection *c = q->c;
  llmd__ask_drop(&q->ask);
  *q->back = q->next;
  if (q->next)
    q->next->back = q->back;
  c->n_questions--;
  c->t->waiting--;
  free(q);
}

static void on_closed(uv_handle_t *handle)
{
  connection *c = handle->data;
  llmd_tokens *t = c->t;
  t->held -= c->room;
  free(c->in);
  free(c);
  part_closed(t);
}

static void hang_up(connection *c)
{
  if (c->closing)
    return;
  c->closing = 1;
  while (c->questions)
    drop_question(c->questions);
  *c->back = c->next;
  if (c->next)
    c->next->back = c->back;
  c->t->n_connections--;
  uv_close((uv_handle_t *)&c->pipe, on_closed);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
  connection *c = write->handle->data;
  free(write);
  if (status)
    hang_up(c);
}

static void tell(connection *c, uint64_t id, uint32_t status, const uint32_t *ids, size_t n, const llmd_feature *f,
                 size_t nf)
{
  size_t size = llmd__wire_answer_size(n, f, nf);
  answer *a = size ? malloc(sizeof *a + size) : NULL;
  uv_buf_t buf;
  if (!a || uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > MOST_PENDING) {
    free(a);
    hang_up(c);
    return;
  }
  llmd__wire_put_answer(a->bytes, size, id, status, ids, n, f, nf);
  buf = uv_buf_init(a->bytes, (unsigned)size);
  if (uv_write(&a->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written)) {
    free(a);
    hang_up(c);
  }
}

static void on_rendered(llmd__ask *ask, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf)
{
  question *q = (question *)(void *)ask;
  connection *c = q->c;
  uint64_t id = q->id;
  drop_question(q);
  if (rc)
    tell(c, id, LLMD__WIRE_NONE, NULL, 0, NULL, 0);
  else
    tell(c, id, LLMD__WIRE_OK, ids, n, f, nf);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static void take_question(connection *c, uint64_t id, llmd_str path, llmd_str body)
{
  llmd_tokens *t = c->t;
  question *q = c->n_questions < MOST_QUESTIONS ? calloc(1, sizeof *q) : NULL;
  int rc = q ? 0 : LLMD_E_FULL;
  t->questions++;
  if (q) {
    q->ask.fn = on_rendered;
    q->c = c;
    q->id = id;
    rc = llmd__renderer_ask(t->renderer, path, body, &q->ask);
  }
  if (rc) {
    free(q);
    t->refused += rc == LLMD_E_FULL;
    tell(c, id, rc == LLMD_E_FULL ? LLMD__WIRE_FULL : LLMD__WIRE_NONE, NULL, 0, NULL, 0);
    return;
  }
  q->next = c->questions;
  q->back = &c->questions;
  if (q->next)
    q->next->back = &q->next;
  c->questions = q;
  c->n_questions++;
  t->waiting++;
}

static void tell_stranger(llmd_tokens *t, int rc, char version)
{
  uint64_t now = uv_now(t->loop);
  t->strangers++;
  if (t->told && now - t->told < 60000)
    return;
  t->told = now ? now : 1;
  if (rc == LLMD_E_MISMATCH)
    SAY(t, LLMD_LOG_WARN, "a process speaks version %d of this socket's protocol; this agent speaks %d", version - '0',
        LLMD__WIRE_VERSION - '0');
  else
    SAY(t, LLMD_LOG_WARN, "a process says what is no question, and is hung up on");
}

/* The frame at `at`: its whole size, 0 when it is not all there (*need: what it takes), or a code. */
static int64_t take_frame(connection *c, char *at, size_t len, size_t *need)
{
  llmd__wire_head head;
  llmd_str path, body;
  char version = 0;
  int rc;
  *need = LLMD__WIRE_HEAD;
  if (len < LLMD__WIRE_HEAD)
    return 0;
  rc = llmd__wire_read_head(at, &head, &version);
  if (!rc && (head.kind != LLMD__WIRE_ASK || head.len > LLMD__WIRE_QUESTION_MOST))
    rc = LLMD_E_SYNTAX;
  *need = LLMD__WIRE_HEAD + (rc ? 0 : (size_t)head.len);
  if (!rc && len < *need)
    return 0;
  if (!rc)
    rc = llmd__wire_read_question(at + LLMD__WIRE_HEAD, head.len, &path, &body);
  if (rc) {
    tell_stranger(c->t, rc, version);
    return rc;
  }
  take_question(c, head.id, path, body);
  return (int64_t)*need;
}

static int grow(connection *c, size_t room)
{
  llmd_tokens *t = c->t;
  char *p;
  if (room > c->room && t->held + (room - c->room) > MOST_HELD)
    return LLMD_E_FULL;
  p = realloc(c->in, room);
  if (!p)
    return LLMD_E_NOMEM;
  t->held = t->held - c->room + room;
  c->in = p;
  c->room = room;
  return 0;
}

static void take_frames(connection *c)
{
  size_t at = 0, need = 0;
  int64_t n = 0;
  while (!c->closing && (n = take_frame(c, c->in + at, c->len - at, &need)) > 0)
    at += (size_t)n;
  if (c->closing)
    return;
  if (n < 0) {
    hang_up(c);
    return;
  }
  if (at) {
    memmove(c->in, c->in + at, c->len - at);
    c->len -= at;
    c->begun = uv_now(c->t->loop);
  }
  if ((need > c->room || (!c->len && c->room > KEEP_ROOM)) && grow(c, need > FIRST_ROOM ? need : FIRST_ROOM))
    hang_up(c);
}

static void on_room(uv_handle_t *handle, size_t want, uv_buf_t *out)
{
  connection *c = handle->data;
  (void)want;
  if (!c->in && grow(c, FIRST_ROOM)) {
    *out = uv_buf_init(NULL, 0);
    return;
  }
  *out = uv_buf_init(c->in + c->len, (unsigned)(c->room - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  connection *c = stream->data;
  (void)buf;
  if (n < 0) {
    hang_up(c);
    return;
  }
  if (!n)
    return;
  if (!c->len)
    c->begun = uv_now(c->t->loop);
  c->len += (size_t)n;
  take_frames(c);
}

/* ---- who comes --------------------------------------------------------------------------------------------------- */

static int may_stay(const connection *c)
{
  uv_os_fd_t fd;
  return c->t->n_connections <= MOST_CONNECTIONS && !uv_fileno((const uv_handle_t *)&c->pipe, &fd) &&
         llmd__local_is_friend(fd, c->t->group);
}

static void on_connection(uv_stream_t *listener, int status)
{
  llmd_tokens *t = listener->data;
  connection *c = status ? NULL : calloc(1, sizeof *c);
  if (!c)
    return;
  c->t = t;
  c->pipe.data = c;
  if (uv_pipe_init(t->loop, &c->pipe, 0)) {
    free(c);
    return;
  }
  t->parts++;
  t->n_connections++;
  c->next = t->connections;
  c->back = &t->connections;
  if (c->next)
    c->next->back = &c->next;
  t->connections = c;
  if (uv_accept(listener, (uv_stream_t *)&c->pipe) || !may_stay(c) ||
      uv_read_start((uv_stream_t *)&c->pipe, on_room, on_read))
    hang_up(c);
}

static void on_sweep(uv_timer_t *timer)
{
  llmd_tokens *t = timer->data;
  uint64_t now = uv_now(t->loop);
  for (connection *c = t->connections, *next; c; c = next) {
    next = c->next;
    if (c->len && now - c->begun > FRAME_MS)
      hang_up(c);
  }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void on_part_closed(uv_handle_t *handle)
{
  part_closed(handle->data);
}

static void on_renderer_closed(void *ud)
{
  part_closed(ud);
}

void llmd_tokens_stop(llmd_tokens *t, llmd_done_fn done, void *ud)
{
  if (!t) {
    if (done)
      done(ud);
    return;
  }
  t->done = done;
  t->done_ud = ud;
  llmd__local_remove(t->path, &t->file);
  while (t->connections)
    hang_up(t->connections);
  uv_close((uv_handle_t *)&t->listener, on_part_closed);
  uv_close((uv_handle_t *)&t->sweep, on_part_closed);
  llmd__renderer_close(t->renderer, on_renderer_closed, t);
}

static int listen_there(llmd_tokens *t, llmd_err *err)
{
  int fd = llmd__local_listen(t->path, t->group, &t->file, err);
  if (fd < 0)
    return fd;
  if (uv_pipe_open(&t->listener, fd)) {
    (void)close(fd);
    return llmd__fail(err, LLMD_E_IO, 0, 0, "tokens.socket", "%s cannot be watched", t->path);
  }
  if (uv_listen((uv_stream_t *)&t->listener, 128, on_connection) ||
      uv_timer_start(&t->sweep, on_sweep, SWEEP_MS, SWEEP_MS))
    return llmd__fail(err, LLMD_E_IO, 0, 0, "tokens.socket", "%s cannot be listened on", t->path);
  return 0;
}

int llmd_tokens_start(const llmd_feeder *feeder, llmd_tokens **out, llmd_err *err)
{
  llmd_tokens *t;
  int rc;
  if (!feeder || !out || !feeder->loop || !feeder->pool || !feeder->service)
    return LLMD_E_INVALID;
  t = calloc(1, sizeof *t);
  if (t)
    t->path = strdup(feeder->service->tokens.socket);
  rc = t && t->path ? llmd__renderer_open(feeder, &t->renderer, err)
                    : llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  if (rc) {
    free(t ? t->path : NULL);
    free(t);
    return rc;
  }
  t->loop = feeder->loop;
  t->log = feeder->log;
  t->log_ud = feeder->log_ud;
  t->group = feeder->service->region_group != 0;
  t->parts = 3;
  (void)uv_pipe_init(t->loop, &t->listener, 0);
  (void)uv_timer_init(t->loop, &t->sweep);
  t->listener.data = t->sweep.data = t;
  rc = listen_there(t, err);
  if (rc) {
    llmd_tokens_stop(t, NULL, NULL);
    return rc;
  }
  SAY(t, LLMD_LOG_INFO, "deciders ask at %s", t->path);
  *out = t;
  return 0;
}

int llmd_tokens_stats_get(const llmd_tokens *t, llmd_tokens_stats *out)
{
  llmd__render_counts r;
  if (!t || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  llmd__renderer_count(t->renderer, &r);
  out->connections = t->n_connections;
  out->waiting = t->waiting;
  out->under_way = r.under_way;
  out->questions = t->questions;
  out->joined = r.joined;
  out->rendered = r.rendered;
  out->failed = r.failed;
  out->refused = t->refused;
  out->strangers = t->strangers;
  out->bytes = r.bytes;
  return 0;
}
