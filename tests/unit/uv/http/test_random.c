/* Clients and a host that do anything in any order, the same for the same seed as far as sockets allow. What must hold:
 * nobody crashes, a call that the host knows ends exactly once, and nothing is held when all have gone. */
#include "rig.h"
#include "messages.h"

#define CLIENTS 12
#define CALLS 64

typedef struct crowd {
  rig r; /* its loop and server */
  llmd_http_call *open[CALLS];
  uint32_t n_open, begun[CALLS];
  uint32_t shown, ended, gone;
  uint32_t noise;
} crowd;

static uint32_t dice(crowd *c, uint32_t below)
{
  c->noise = c->noise * 1664525u + 1013904223u;
  return (c->noise >> 8) % below;
}

static void forget(crowd *c, uint32_t i)
{
  c->n_open--;
  c->open[i] = c->open[c->n_open];
  c->begun[i] = c->begun[c->n_open];
}

static void must_know(const llmd_http_call *call)
{
  const llmd_http_request *q = llmd_http_request_of(call);
  assert_true(q->size == sizeof *q && q->number != 0 && q->method.len != 0 && q->target.len != 0);
  for (uint32_t i = 0; i < q->n_headers; i++)
    assert_true(q->header[i].name.len != 0);
}

/* One step with an open call; it may end. */
static void answer(crowd *c, uint32_t i)
{
  static char block[70000];
  llmd_http_call *call = c->open[i];
  llmd_str piece[2] = { { block, dice(c, sizeof block) }, { block, dice(c, 300) } };
  uint32_t what = dice(c, 8);
  int rc = 0;
  must_know(call);
  if (what == 0) {
    llmd_http_abort(call);
  } else if (what <= 3 && !c->begun[i]) {
    rc = llmd_http_reply(call, dice(c, 4) == 0 ? 204 : 200, "x/y", NULL, 0, block, piece[1].len);
  } else if (what <= 5 && !c->begun[i]) {
    assert_int_equal(llmd_http_begin(call, 200, NULL, 0, dice(c, 2) == 0 ? -1 : 60000), 0);
    c->begun[i] = 1;
    return;
  } else if (!c->begun[i]) {
    llmd_http_drop_body(call);
    return;
  } else if (what <= 5) {
    rc = llmd_http_write(call, piece, 1 + dice(c, 2));
    assert_true(rc == 0 || rc == 1 || rc == LLMD_E_CLOSED || rc == LLMD_E_RANGE);
    return;
  } else {
    rc = llmd_http_end(call, piece, dice(c, 2));
    if (rc == LLMD_E_RANGE)
      return;
  }
  assert_true(rc == 0 || rc == LLMD_E_CLOSED);
  c->ended++;
  forget(c, i);
}

static uint32_t find(const crowd *c, const llmd_http_call *call)
{
  uint32_t i = 0;
  while (i < c->n_open && c->open[i] != call)
    i++;
  return i;
}

static void show(crowd *c, llmd_http_call *call)
{
  if (find(c, call) < c->n_open) /* by its head already */
    return;
  assert_true(c->n_open < CALLS);
  c->begun[c->n_open] = 0;
  c->open[c->n_open++] = call;
  c->shown++;
}

static void on_head(void *ud, llmd_http_call *call)
{
  crowd *c = ud;
  must_know(call);
  show(c, call);
  if (dice(c, 6) == 0)
    answer(c, find(c, call));
}

static void on_request(void *ud, llmd_http_call *call)
{
  crowd *c = ud;
  show(c, call);
  if (dice(c, 2) == 0)
    answer(c, find(c, call));
}

static void on_gone(void *ud, llmd_http_call *call)
{
  crowd *c = ud;
  uint32_t i = find(c, call);
  assert_true(i < c->n_open);
  must_know(call);
  c->gone++;
  forget(c, i);
}

/* Some bytes: good messages, bad ones, parts and floods. */
static void send_something(crowd *c, int fd)
{
  static char body[200000];
  char head[128];
  uint32_t n_good = sizeof good_requests / sizeof *good_requests, n_bad = sizeof bad_requests / sizeof *bad_requests;
  uint32_t what = dice(c, 12);
  const char *text = good_requests[what % n_good].text;
  size_t len = good_requests[what % n_good].len;
  if (what == 0) {
    const struct bad_message *m = &bad_requests[dice(c, n_bad)];
    text = m->text;
    len = m->len;
  } else if (what < 8) {
    uint32_t k = dice(c, n_good);
    text = good_requests[k].text;
    len = good_requests[k].len - (what < 7 ? good_requests[k].rest : 0);
  } else if (what < 10) {
    size_t n = dice(c, sizeof body);
    int k = snprintf(head, sizeof head, POST HOST "Content-Length: %zu\r\n\r\n", n);
    (void)send(fd, head, (size_t)k, MSG_NOSIGNAL | MSG_DONTWAIT);
    text = body;
    len = n;
  } else {
    len = dice(c, (uint32_t)len + 1);
  }
  (void)send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void act(crowd *c, int *fd)
{
  static char sink[100000];
  uint32_t what = dice(c, 20);
  if (*fd < 0) {
    *fd = rig_connect(&c->r);
  } else if (what < 10) {
    send_something(c, *fd);
  } else if (what < 16) {
    (void)recv(*fd, sink, sizeof sink, MSG_DONTWAIT);
  } else if (what == 16) {
    (void)shutdown(*fd, SHUT_WR);
  } else if (what < 19) {
    struct linger at_once = { 1, 0 };
    if (what == 17)
      (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(*fd);
    *fd = -1;
  }
}

static void open_crowd(crowd *c, uint32_t seed)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_http_options o = { .size = sizeof o, .max_body = 300000, .max_pending = 50000, .max_bodies = 2000000,
                          .max_connections = CLIENTS - 1, .max_head = 600, .max_headers = 8, .head_ms = 40,
                          .body_ms = 40, .idle_ms = 60, .write_ms = 40, .max_calls = 1 + seed % 9 };
  llmd_http_handler h = { .size = sizeof h, .ud = c, .on_request = on_request, .on_gone = on_gone };
  memset(c, 0, sizeof *c);
  c->noise = seed;
  if (seed % 2 == 0)
    h.on_head = on_head;
  assert_int_equal(uv_loop_init(&c->r.loop), 0);
  assert_int_equal(llmd_http_listen(&c->r.loop, "127.0.0.1:0", -1, &h, &o, &c->r.server, &err), 0);
}

static void close_crowd(crowd *c, const int *fd, uint32_t seed)
{
  if (seed % 3 == 0) {
    llmd_http_drain(c->r.server, rig_done, &c->r);
    for (; c->n_open > 0; turn(&c->r, -1, 0))
      answer(c, dice(c, c->n_open));
  }
  for (int i = 0; i < CLIENTS && seed % 3 == 1; i++)
    if (fd[i] >= 0)
      (void)shutdown(fd[i], SHUT_RDWR);
  if (seed % 3 == 1) {
    uint64_t stop = deadline();
    while (stats_of(&c->r).connections != 0 && uv_hrtime() < stop) {
      turn(&c->r, -1, 0);
      /* An end that queues behind more requests than the socket holds is not seen before they are read. */
      if (c->n_open > 0)
        answer(c, dice(c, c->n_open));
    }
    assert_int_equal(stats_of(&c->r).connections, 0);
    assert_int_equal(stats_of(&c->r).body_bytes, 0);
    assert_int_equal(stats_of(&c->r).calls, 0);
    assert_int_equal(c->n_open, 0);
  }
  rig_close(&c->r);
  assert_int_equal(c->n_open, 0);
  assert_int_equal(c->shown, c->ended + c->gone);
}

static void test_crowds(void **state)
{
  uint32_t seeds = getenv("LLMD_LONG") != NULL ? 2000 : 40;
  (void)state;
  for (uint32_t seed = 1; seed <= seeds; seed++) {
    crowd c;
    int fd[CLIENTS];
    memset(fd, 0xff, sizeof fd);
    open_crowd(&c, seed);
    for (int step = 0; step < 600; step++) {
      act(&c, &fd[dice(&c, CLIENTS)]);
      if (c.n_open > 0 && dice(&c, 3) == 0)
        answer(&c, dice(&c, c.n_open));
      (void)uv_run(&c.r.loop, UV_RUN_NOWAIT);
    }
    close_crowd(&c, fd, seed);
    for (int i = 0; i < CLIENTS; i++)
      if (fd[i] >= 0)
        (void)close(fd[i]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_crowds) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
