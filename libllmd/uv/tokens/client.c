/* A decider's side: one connection to the agent, questions that wait on it, and a timer for those that wait too long.
 *
 *   DOWN ── back-off ──► connecting ─► the peer is the agent's user ─► UP ── lost ──► DOWN, all questions fail
 *
 * A question is a slot: its number is counter << 12 | slot, so an answer that comes too late finds nobody. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <llmd/uv.h>

#include "uv/tokens/socket.h"
#include "uv/tokens/wire.h"

#define SLOT_BITS 12u
#define MOST_QUESTIONS (1u << SLOT_BITS)
#define MOST_PENDING ((size_t)64 << 20) /* of questions that the agent does not take */
#define FIRST_ROOM ((size_t)64 << 10)
#define KEEP_ROOM ((size_t)1 << 20)
#define RETRY_MS 20u
#define RETRY_MOST_MS 1000u
#define NOBODY UINT32_MAX

typedef struct slot {
  uint64_t number; /* 0 = free */
  uint64_t until;  /* ms */
  llmd_tokens_fn fn;
  void *ud;
  uint32_t next;   /* of the free ones */
} slot;

/* A connection outlives the client's interest in it until it has closed. */
typedef struct line {
  uv_pipe_t pipe;
  uv_connect_t connect;
  llmd_token_client *c; /* NULL: nobody's any more */
  uint32_t up;
  char *in;
  size_t len, room;
} line;

struct llmd_token_client {
  uv_loop_t *loop;
  char *path;
  line *line; /* NULL = down */
  uv_timer_t retry, deadline;
  uint32_t retry_ms;
  uint32_t closing, parts;
  slot *slots;
  uint32_t n_slots, free, waiting;
  uint64_t counter;
  uint64_t armed; /* ms: the deadline's time, 0 = stopped */
  llmd_feature *feature;
  llmd_done_fn done;
  void *done_ud;
};

typedef struct sending {
  uv_write_t write;
  char bytes[];
} sending;

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static slot *find(llmd_token_client *c, uint64_t number)
{
  uint32_t i = (uint32_t)number & (MOST_QUESTIONS - 1);
  return number && i < c->n_slots && c->slots[i].number == number ? &c->slots[i] : NULL;
}

static slot *take_slot(llmd_token_client *c)
{
  slot *s;
  if (c->free == NOBODY) {
    uint32_t n = c->n_slots ? 2 * c->n_slots : 64;
    if (n > MOST_QUESTIONS || !(s = realloc(c->slots, n * sizeof *s)))
      return NULL;
    memset(s + c->n_slots, 0, (n - c->n_slots) * sizeof *s);
    for (uint32_t i = c->n_slots; i < n; i++)
      s[i].next = i + 1 < n ? i + 1 : NOBODY;
    c->free = c->n_slots;
    c->slots = s;
    c->n_slots = n;
  }
  s = &c->slots[c->free];
  s->number = ++c->counter << SLOT_BITS | c->free;
  c->free = s->next;
  c->waiting++;
  return s;
}

static void give_slot(llmd_token_client *c, slot *s)
{
  s->number = 0;
  s->next = c->free;
  c->free = (uint32_t)(s - c->slots);
  c->waiting--;
}

/* The slot is free before its owner is told: he may ask, cancel and close. */
static void answer(llmd_token_client *c, slot *s, int rc, const llmd__wire_answer *a)
{
  llmd_tokens_fn fn = s->fn;
  void *ud = s->ud;
  give_slot(c, s);
  if (rc)
    fn(ud, rc, NULL, 0, NULL, 0);
  else
    fn(ud, 0, a->ids, a->n, a->n_features ? c->feature : NULL, a->n_features);
}

/* All that wait, or those whose time is over. Nobody who comes meanwhile. */
static void answer_all(llmd_token_client *c, int rc, uint64_t now)
{
  uint64_t last = c->counter;
  for (uint32_t i = 0; i < c->n_slots && !c->closing; i++) {
    slot *s = &c->slots[i];
    if (s->number && s->number >> SLOT_BITS <= last && s->until <= now)
      answer(c, s, rc, NULL);
  }
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer);

static void arm(llmd_token_client *c, uint64_t until)
{
  uint64_t now = uv_now(c->loop);
  if (c->armed && c->armed <= until)
    return;
  c->armed = until;
  (void)uv_timer_start(&c->deadline, on_deadline, until > now ? until - now : 0, 0);
}

static void on_deadline(uv_timer_t *timer)
{
  llmd_token_client *c = timer->data;
  c->armed = 0;
  answer_all(c, LLMD_E_TIMEOUT, uv_now(c->loop));
  for (uint32_t i = 0; i < c->n_slots && !c->closing; i++)
    if (c->slots[i].number)
      arm(c, c->slots[i].until);
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer);

static void part_closed(llmd_token_client *c)
{
  llmd_done_fn done = c->done;
  void *done_ud = c->done_ud;
  if (--c->parts)
    return;
  free(c->slots);
  free(c->feature);
  free(c->path);
  free(c);
  if (done)
    done(done_ud);
}

static void on_link_closed(uv_handle_t *handle)
{
  line *l = handle->data;
  llmd_token_client *c = l->c;
  free(l->in);
  free(l);
  part_closed(c);
}

static void drop_link(llmd_token_client *c)
{
  line *l = c->line;
  c->line = NULL;
  uv_close((uv_handle_t *)&l->pipe, on_link_closed);
}

static void lose(llmd_token_client *c)
{
  drop_link(c);
  (void)uv_timer_start(&c->retry, on_retry, c->retry_ms, 0);
  c->retry_ms = 2 * c->retry_ms < RETRY_MOST_MS ? 2 * c->retry_ms : RETRY_MOST_MS;
  answer_all(c, LLMD_E_CLOSED, UINT64_MAX);
}

static int code_of(uint32_t status)
{
  return status == LLMD__WIRE_OK ? 0 : LLMD_E_NONE;
}

/* The frame at the buffer's beginning: its size, 0 when it is not all there (*need: what it takes), or a code. */
static int64_t take_frame(llmd_token_client *c, line *l, size_t *need)
{
  llmd__wire_head head;
  llmd__wire_answer a;
  char version;
  slot *s;
  int rc;
  *need = LLMD__WIRE_HEAD;
  if (l->len < LLMD__WIRE_HEAD)
    return 0;
  rc = llmd__wire_read_head(l->in, &head, &version);
  if (!rc && (head.kind != LLMD__WIRE_TELL || head.len > LLMD__WIRE_ANSWER_MOST))
    rc = LLMD_E_SYNTAX;
  if (rc)
    return rc;
  *need = LLMD__WIRE_HEAD + (size_t)head.len;
  if (l->len < *need)
    return 0;
  rc = llmd__wire_read_answer(l->in + LLMD__WIRE_HEAD, head.len, &a, c->feature);
  if (rc)
    return rc;
  c->retry_ms = RETRY_MS;
  s = find(c, head.id);
  if (s)
    answer(c, s, code_of(a.status), &a);
  return (int64_t)*need;
}

static int make_room(line *l, size_t need)
{
  size_t room = need > FIRST_ROOM ? need : FIRST_ROOM;
  char *p;
  if (need <= l->room && (l->len || l->room <= KEEP_ROOM) && l->room)
    return 0;
  p = realloc(l->in, room);
  if (!p)
    return LLMD_E_NOMEM;
  l->in = p;
  l->room = room;
  return 0;
}

static void on_room(uv_handle_t *handle, size_t want, uv_buf_t *out)
{
  line *l = handle->data;
  (void)want;
  *out = l->room || !make_room(l, FIRST_ROOM) ? uv_buf_init(l->in + l->len, (unsigned)(l->room - l->len))
                                              : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  line *l = stream->data;
  llmd_token_client *c = l->c;
  size_t need = 0;
  int64_t took = 0;
  (void)buf;
  if (n > 0) {
    l->len += (size_t)n;
    while (c->line == l && (took = take_frame(c, l, &need)) > 0) {
      l->len -= (size_t)took;
      memmove(l->in, l->in + took, l->len);
    }
  }
  if (c->line == l && (n < 0 || took < 0 || (n > 0 && make_room(l, need))))
    lose(c);
}

/* Somebody else may have made a socket of that name: prompts are for the agent's eyes. */
static int is_agent(const line *l)
{
  uv_os_fd_t fd;
  return !uv_fileno((const uv_handle_t *)&l->pipe, &fd) && llmd__local_is_friend(fd, 0);
}

static void on_connected(uv_connect_t *connect, int status)
{
  line *l = connect->data;
  llmd_token_client *c = l->c;
  if (c->line != l)
    return;
  if (status || !is_agent(l) || uv_read_start((uv_stream_t *)&l->pipe, on_room, on_read)) {
    lose(c);
    return;
  }
  l->up = 1;
}

static int connect_to(llmd_token_client *c)
{
  line *l = calloc(1, sizeof *l);
  if (!l || uv_pipe_init(c->loop, &l->pipe, 0)) {
    free(l);
    return LLMD_E_NOMEM;
  }
  l->c = c;
  l->pipe.data = l->connect.data = l;
  c->line = l;
  c->parts++;
  uv_pipe_connect(&l->connect, &l->pipe, c->path, on_connected);
  return 0;
}

static void on_retry(uv_timer_t *timer)
{
  llmd_token_client *c = timer->data;
  if (connect_to(c))
    (void)uv_timer_start(&c->retry, on_retry, RETRY_MOST_MS, 0);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void on_written(uv_write_t *write, int status)
{
  (void)status; /* reading tells the same */
  free(write);
}

static int write_question(llmd_token_client *c, uint64_t number, llmd_str path, const char *body, size_t len)
{
  llmd__wire_head head = {LLMD__WIRE_ASK, (uint32_t)(LLMD__WIRE_QUESTION + path.len + len), number};
  size_t size = LLMD__WIRE_HEAD + (size_t)head.len;
  sending *s = malloc(sizeof *s + size);
  uv_buf_t buf;
  if (!s)
    return LLMD_E_NOMEM;
  llmd__wire_put_head(s->bytes, &head);
  llmd__wire_put_question(s->bytes + LLMD__WIRE_HEAD, path);
  if (len)
    memcpy(s->bytes + size - len, body, len);
  buf = uv_buf_init(s->bytes, (unsigned)size);
  if (!uv_write(&s->write, (uv_stream_t *)&c->line->pipe, &buf, 1, on_written))
    return 0;
  free(s);
  return LLMD_E_CLOSED;
}

int llmd_token_client_ask(llmd_token_client *c, const char *path, size_t path_len, const char *body, size_t len,
                          uint32_t timeout_ms, llmd_tokens_fn fn, void *ud, uint64_t *question)
{
  slot *s;
  int rc;
  if (!c || !fn || (!path && path_len) || (!body && len))
    return LLMD_E_INVALID;
  if (path_len > LLMD__WIRE_PATH_MOST || len > LLMD__WIRE_BODY_MOST)
    return LLMD_E_LIMIT;
  if (c->closing || !c->line || !c->line->up)
    return LLMD_E_CLOSED;
  if (uv_stream_get_write_queue_size((uv_stream_t *)&c->line->pipe) > MOST_PENDING)
    return LLMD_E_FULL;
  s = take_slot(c);
  if (!s)
    return LLMD_E_FULL;
  rc = write_question(c, s->number, (llmd_str){path, path_len}, body, len);
  if (rc) {
    give_slot(c, s);
    return rc;
  }
  s->fn = fn;
  s->ud = ud;
  s->until = uv_now(c->loop) + timeout_ms;
  if (question)
    *question = s->number;
  arm(c, s->until);
  return 0;
}

void llmd_token_client_cancel(llmd_token_client *c, uint64_t question)
{
  slot *s = c ? find(c, question) : NULL;
  if (s)
    give_slot(c, s);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

int llmd_token_client_open(struct uv_loop_s *loop, const char *path, llmd_token_client **out)
{
  llmd_token_client *c;
  int rc = LLMD_E_NOMEM;
  if (!loop || !out || llmd__local_check(path))
    return LLMD_E_INVALID;
  c = calloc(1, sizeof *c);
  if (c) {
    c->loop = loop;
    c->free = NOBODY;
    c->retry_ms = RETRY_MS;
    c->parts = 2;
    c->path = strdup(path);
    c->feature = malloc(LLMD__WIRE_FEATURES_MOST * sizeof *c->feature);
    rc = c->path && c->feature ? connect_to(c) : LLMD_E_NOMEM;
  }
  if (rc) {
    free(c ? c->path : NULL);
    free(c ? c->feature : NULL);
    free(c);
    return rc;
  }
  (void)uv_timer_init(loop, &c->retry);
  (void)uv_timer_init(loop, &c->deadline);
  c->retry.data = c->deadline.data = c;
  *out = c;
  return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
  part_closed(handle->data);
}

void llmd_token_client_close(llmd_token_client *c, llmd_done_fn done, void *ud)
{
  if (!c) {
    if (done)
      done(ud);
    return;
  }
  c->closing = 1;
  c->done = done;
  c->done_ud = ud;
  if (c->line)
    drop_link(c);
  uv_close((uv_handle_t *)&c->retry, on_timer_closed);
  uv_close((uv_handle_t *)&c->deadline, on_timer_closed);
}
