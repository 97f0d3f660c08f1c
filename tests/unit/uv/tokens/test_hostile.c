/* Processes on the agent's socket that are no deciders, or bad ones: they are hung up on, and nobody else notices. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FLOOD 3000
#define CROWD 400

static int dial(const rig *r)
{
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  assert_true(fd >= 0);
  strcpy(a.sun_path, r->path);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) && errno != EAGAIN)
    fail_msg("%s", strerror(errno));
  return fd;
}

typedef struct reading {
  int fd;
  size_t got;
  int over;
} reading;

static int is_over(void *ud)
{
  reading *x = ud;
  char bytes[65536];
  ssize_t n = recv(x->fd, bytes, sizeof bytes, 0);
  if (n > 0)
    x->got += (size_t)n;
  else if (n == 0 || errno != EAGAIN)
    x->over = 1;
  return x->over;
}

static void hung_up_on(rig *r, const char *bytes, size_t len)
{
  reading x = {.fd = dial(r)};
  assert_int_equal(send(x.fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
  engine_until(&r->loop, is_over, &x, "it is hung up on");
  assert_int_equal(x.got, 0);
  close(x.fd);
}

static void put32(char *at, uint32_t v)
{
  for (int i = 0; i < 4; i++)
    at[i] = (char)(v >> 8 * i);
}

static void put_head(char *at, uint32_t kind, uint32_t id, uint32_t len)
{
  memset(at, 0, 24);
  memcpy(at, "LTK1", 4);
  put32(at + 4, kind);
  put32(at + 8, id);
  put32(at + 16, len);
}

static size_t put_question(char *at, uint32_t id, const char *body)
{
  size_t path = strlen(COMPLETIONS), len = strlen(body);
  put_head(at, 1, id, (uint32_t)(8 + path + len));
  put32(at + 24, (uint32_t)path);
  put32(at + 28, 0);
  memcpy(at + 32, COMPLETIONS, path);
  memcpy(at + 32 + path, body, len);
  return 32 + path + len;
}

static void what_is_no_question(void **state)
{
  char at[300];
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  hung_up_on(&r, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
  assert_non_null(strstr(r.said, "no question"));
  memset(at, 0, sizeof at);
  hung_up_on(&r, at, sizeof at);
  put_head(at, 2, 1, 16); /* an answer */
  hung_up_on(&r, at, 24);
  put_head(at, 1, 1, UINT32_MAX);
  hung_up_on(&r, at, 24);
  put_head(at, 1, 1, (16u << 20) + 2048 + 8 + 1);
  hung_up_on(&r, at, 24);
  put_head(at, 1, 1, 8); /* a path that is longer than all of it */
  put32(at + 24, 1);
  put32(at + 28, 0);
  hung_up_on(&r, at, 32);
  put_head(at, 1, 1, 7);
  hung_up_on(&r, at, 31);
  put_head(at, 1, 1, 0);
  hung_up_on(&r, at, 24);
  put_question(at, 1, "{}");
  at[20] = 1;
  hung_up_on(&r, at, 60);
  assert_int_equal(rig_stats(&r).strangers, 9);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("x")), 0);
  rig_close(&r);
}

static void another_version(void **state)
{
  char at[24];
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  put_head(at, 1, 1, 0);
  at[3] = '2';
  hung_up_on(&r, at, 24);
  assert_non_null(strstr(r.said, "speaks version 2"));
  assert_non_null(strstr(r.said, "speaks 1"));
  rig_close(&r);
}

static void half_a_question(void **state)
{
  char at[300];
  size_t len = put_question(at, 1, rig_prompt("x"));
  int fd[50];
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  for (size_t i = 0; i < 50; i++) { /* each is left somewhere else */
    fd[i] = dial(&r);
    assert_int_equal(send(fd[i], at, i % len, MSG_NOSIGNAL), (ssize_t)(i % len));
    uv_run(&r.loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("y")), 0);
  for (size_t i = 0; i < 50; i++)
    close(fd[i]);
  while (rig_stats(&r).connections > 1)
    uv_run(&r.loop, UV_RUN_ONCE);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("z")), 0);
  rig_close(&r);
}

/* Byte by byte a question is a question, and two at once are two. */
static void slowly_and_at_once(void **state)
{
  char at[300];
  size_t len = put_question(at, 7, rig_prompt("x")), two = put_question(at + len, 8, "{}");
  reading x;
  rig r;
  (void)state;
  rig_open(&r, 1, render_well);
  x = (reading){.fd = dial(&r)};
  for (size_t i = 0; i + 1 < len; i++) {
    assert_int_equal(send(x.fd, at + i, 1, MSG_NOSIGNAL), 1);
    uv_run(&r.loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(send(x.fd, at + len - 1, 1 + two, MSG_NOSIGNAL), (ssize_t)(1 + two));
  while (x.got < 2 * 40 + 4 * strlen(rig_prompt("x"))) {
    assert_false(is_over(&x));
    uv_run(&r.loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(x.got, 2 * 40 + 4 * strlen(rig_prompt("x")));
  close(x.fd);
  rig_close(&r);
}

/* Many questions, and nobody who takes the answers. */
static void a_flood(void **state)
{
  char at[300];
  size_t sent = 0;
  rig r;
  int fd;
  (void)state;
  rig_open(&r, 1, render_later);
  fd = dial(&r);
  for (uint32_t i = 0; i < FLOOD; i++) {
    char text[32];
    size_t len;
    snprintf(text, sizeof text, "flood %u", i % 200);
    len = put_question(at, i, rig_prompt(text));
    if (send(fd, at, len, MSG_NOSIGNAL) != (ssize_t)len)
      break;
    sent++;
    uv_run(&r.loop, UV_RUN_NOWAIT);
  }
  while (rig_stats(&r).questions < sent) /* one more came from the rig itself */
    uv_run(&r.loop, UV_RUN_NOWAIT);
  assert_true(rig_stats(&r).waiting <= 1024);
  assert_true(rig_stats(&r).under_way <= 128);
  assert_true(rig_stats(&r).refused + rig_stats(&r).failed + rig_stats(&r).waiting >= sent / 2);
  close(fd);
  while (rig_stats(&r).connections > 1)
    uv_run(&r.loop, UV_RUN_NOWAIT);
  assert_int_equal(rig_stats(&r).waiting, 0); /* its questions went with it */
  while (r.n_held)
    caller_hang_up(r.held[--r.n_held]);
  rig_close(&r);
}

static void a_crowd(void **state)
{
  int *fd = malloc(CROWD * sizeof *fd);
  rig r;
  (void)state;
  assert_non_null(fd);
  rig_open(&r, 1, render_well);
  for (size_t i = 0; i < CROWD; i++) {
    fd[i] = dial(&r);
    uv_run(&r.loop, UV_RUN_NOWAIT);
    assert_true(rig_stats(&r).connections <= 256);
  }
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("x")), 0); /* who was there before stays */
  for (size_t i = 0; i < CROWD; i++)
    close(fd[i]);
  while (rig_stats(&r).connections > 1)
    uv_run(&r.loop, UV_RUN_ONCE);
  free(fd);
  rig_close(&r);
}

/* ---- an agent that is none --------------------------------------------------------------------------------------- */

typedef struct fake {
  uv_pipe_t listener, pipe;
  const char *answer;
  size_t len;
  unsigned came;
} fake;

static void on_room(uv_handle_t *h, size_t want, uv_buf_t *out)
{
  static char room[65536];
  (void)h;
  (void)want;
  *out = uv_buf_init(room, sizeof room);
}

static void on_fake_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
  fake *f = s->data;
  uv_buf_t out = uv_buf_init((char *)(uintptr_t)f->answer, (unsigned)f->len);
  (void)buf;
  if (n > 0)
    (void)uv_try_write(s, &out, 1);
  else if (n < 0)
    uv_close((uv_handle_t *)s, NULL);
}

static void on_fake(uv_stream_t *s, int status)
{
  fake *f = s->data;
  assert_int_equal(status, 0);
  f->came++;
  assert_int_equal(uv_pipe_init(s->loop, &f->pipe, 0), 0);
  f->pipe.data = f;
  assert_int_equal(uv_accept(s, (uv_stream_t *)&f->pipe), 0);
  assert_int_equal(uv_read_start((uv_stream_t *)&f->pipe, on_room, on_fake_read), 0);
}

static int try_fake(void *ud)
{
  rig *r = ud;
  asked *a = &r->a[0];
  extern void count_fake(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf);
  memset(a, 0, sizeof *a);
  return !llmd_token_client_ask(r->client, "/", 1, "", 0, 60000, count_fake, a, NULL);
}

void count_fake(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf);
void count_fake(void *ud, int rc, const uint32_t *ids, size_t n, const llmd_feature *f, size_t nf)
{
  asked *a = ud;
  (void)ids;
  (void)f;
  a->rc = rc;
  a->n = n + nf;
  a->told++;
}

static void an_agent_that_lies(void **state)
{
  char answers[5][64];
  static const size_t lens[5] = {24, 24, 40, 40, 64};
  rig r;
  (void)state;
  memset(answers, 0, sizeof answers);
  memcpy(answers[0], "HTTP/1.1 400 Bad Request", 24);
  put_head(answers[1], 2, 1, UINT32_MAX);
  put_head(answers[2], 2, 1, 16);
  put32(answers[2] + 28, 1000); /* ids that are not there */
  put_head(answers[3], 1, 1, 16); /* a question */
  put_head(answers[4], 2, 1, 40);
  put32(answers[4] + 32, 1); /* a feature whose name is not there */
  put32(answers[4] + 56, 100);
  rig_open(&r, 1, render_well);
  rig_stop(&r);
  for (int i = 0; i < 5; i++) {
    fake f = {.answer = answers[i], .len = lens[i]};
    asked *a = &r.a[0];
    assert_int_equal(uv_pipe_init(&r.loop, &f.listener, 0), 0);
    f.listener.data = &f;
    assert_int_equal(uv_pipe_bind(&f.listener, r.path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&f.listener, 8, on_fake), 0);
    engine_until(&r.loop, try_fake, &r, "the client connects");
    rig_wait(&r, a);
    assert_int_equal(a->rc, LLMD_E_CLOSED);
    assert_int_equal(a->n, 0);
    uv_close((uv_handle_t *)&f.listener, NULL); /* libuv removes the file */
    while (uv_is_active((uv_handle_t *)&f.pipe))
      uv_run(&r.loop, UV_RUN_NOWAIT);
    uv_run(&r.loop, UV_RUN_NOWAIT);
  }
  rig_start(&r);
  rig_connect(&r);
  assert_int_equal(rig_get(&r, COMPLETIONS, rig_prompt("x")), 0);
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_no_question), cmocka_unit_test(another_version), cmocka_unit_test(half_a_question),
      cmocka_unit_test(slowly_and_at_once),  cmocka_unit_test(a_flood),         cmocka_unit_test(a_crowd),
      cmocka_unit_test(an_agent_that_lies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
