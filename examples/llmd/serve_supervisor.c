/* The supervisor: binds the socket, starts the agent and the workers, starts them again when they die, and hands on
 * what it is told by signals.
 *
 *   starting ──all workers ready──► serving ──TERM──► draining: workers ──all gone──► agent ──gone──► the end
 *      │ a child that gives up by itself                  second TERM, or too late: killed
 *      └──► the end, with its exit code */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "serve.h"
#include "shell.h"

#define WATCH_MS 1000
#define LATE_MS 5000        /* a drained worker's grace, and the agent's */
#define LIVED_MS 1000       /* who lived that long is started again at once */
#define FIRST_DELAY_MS 100u /* else, from the second time on; doubles */
#define MOST_DELAY_MS 5000u
#define SAME_MS 500         /* two signals so close to each other are one wish (timeout(1) sends two) */
#define MAX_ARGS (2 * SERVICE_SETTINGS + 16)

struct supervisor;

struct child {
  struct supervisor *s;
  int number; /* of a worker; -1 = the agent */
  int running; /* its handle is open */
  int alive;   /* its number is its own: it may be told something */
  int ready, piped;
  unsigned deaths;  /* since it last lived long */
  unsigned reloads; /* of the supervisor, when it was started or last told */
  uint64_t since;
  uv_process_t process;
  uv_pipe_t pipe; /* its "ready" */
  uv_timer_t again;
};

struct supervisor {
  struct serve *serve;
  struct serve_socket socket;
  uv_loop_t loop;
  uv_signal_t term, interrupt, hangup;
  uv_timer_t deadline;
  uv_fs_poll_t watch[2]; /* the file, the policy's file */
  char watched[2][4096];
  char *set[SERVICE_SETTINGS]; /* "KEY=VALUE" for the children */
  unsigned n_set;
  char region[64]; /* its own; "" = somebody else's */
  uint32_t n;      /* children; the agent is the first when there is one */
  struct child *child;
  int told, stopping, code;
  unsigned reloads;
  uint64_t stopped_at;
  struct stat mine; /* its region's file, while the port was still ours */
};

static void start_child(struct child *c);
static void stop(struct supervisor *s, int code);

static const char *name_of(const struct child *c, char text[32])
{
  if (c->number < 0)
    return "agent";
  (void)snprintf(text, 32, "worker %d", c->number);
  return text;
}

/* ---- a child ----------------------------------------------------------------------------------------------------- */

static void tell_ready(struct supervisor *s)
{
  for (uint32_t i = 0; i < s->n; i++)
    if (s->child[i].number >= 0 && !s->child[i].ready)
      return;
  if (s->told || s->stopping)
    return;
  s->told = 1;
  fprintf(stderr, "serve: listening on %s\n", s->socket.text);
}

static void tell_child(struct child *c, int signum)
{
  if (c->alive)
    (void)uv_process_kill(&c->process, signum);
}

/* One that is not ready yet would die of the signal, or has read the file and not heard of it: it is told later. */
static void tell_reload(struct child *c)
{
  if (!c->ready || c->reloads == c->s->reloads)
    return;
  c->reloads = c->s->reloads;
  tell_child(c, SIGHUP);
}

static void give_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
  static char room[16];
  (void)handle;
  (void)wanted;
  *buf = uv_buf_init(room, sizeof room);
}

static void on_ready(uv_stream_t *pipe, ssize_t n, const uv_buf_t *buf)
{
  struct child *c = pipe->data;
  (void)buf;
  if (n > 0) {
    c->ready = 1;
    tell_reload(c);
    tell_ready(c->s);
  } else if (n < 0 && !uv_is_closing((uv_handle_t *)pipe))
    uv_close((uv_handle_t *)pipe, NULL);
}

static void on_again(uv_timer_t *timer)
{
  start_child(timer->data);
}

/* How long to wait before it starts again: not at all, then longer and longer. */
static uint64_t delay_of(struct child *c)
{
  uint64_t delay = FIRST_DELAY_MS;
  if (uv_now(&c->s->loop) - c->since >= LIVED_MS)
    c->deaths = 0;
  if (c->deaths++ == 0)
    return 0;
  for (unsigned i = 2; i < c->deaths && delay < MOST_DELAY_MS; i++)
    delay *= 2;
  return delay < MOST_DELAY_MS ? delay : MOST_DELAY_MS;
}

static uint32_t count_running(const struct supervisor *s)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->n; i++)
    n += s->child[i].running != 0;
  return n;
}

static void end_loop(struct supervisor *s)
{
  uv_handle_t *const handle[] = {
    (uv_handle_t *)&s->term,     (uv_handle_t *)&s->interrupt, (uv_handle_t *)&s->hangup,
    (uv_handle_t *)&s->deadline, (uv_handle_t *)&s->watch[0],  (uv_handle_t *)&s->watch[1]};
  for (size_t i = 0; i < sizeof handle / sizeof *handle; i++)
    uv_close(handle[i], NULL);
  for (uint32_t i = 0; i < s->n; i++) {
    uv_close((uv_handle_t *)&s->child[i].again, NULL);
    if (s->child[i].piped && !uv_is_closing((uv_handle_t *)&s->child[i].pipe))
      uv_close((uv_handle_t *)&s->child[i].pipe, NULL);
  }
}

static void kill_all(struct supervisor *s)
{
  for (uint32_t i = 0; i < s->n; i++)
    tell_child(&s->child[i], SIGKILL);
}

static void on_late(uv_timer_t *timer)
{
  struct supervisor *s = timer->data;
  serve_say(s->serve, LLMD_LOG_WARN, "%u processes took too long to end, and are killed", count_running(s));
  kill_all(s);
}

/* While it stops: the agent goes when the workers have. */
static void stop_on(struct supervisor *s)
{
  uint32_t running = count_running(s);
  if (!running) {
    end_loop(s);
    return;
  }
  if (running > 1 || s->child[0].number >= 0 || !s->child[0].running)
    return;
  tell_child(&s->child[0], SIGTERM);
  (void)uv_timer_start(&s->deadline, on_late, LATE_MS, 0);
}

/* It ended by itself, before anything worked: it has said why, and another one would say the same. */
static int gave_up(const struct supervisor *s, int64_t status, int signal)
{
  return !s->told && !signal && (status == EXIT_REFUSED || status == EXIT_USAGE);
}

static void on_closed(uv_handle_t *process)
{
  struct child *c = process->data;
  c->running = 0;
  if (c->s->stopping)
    stop_on(c->s);
  else
    (void)uv_timer_start(&c->again, on_again, delay_of(c), 0);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
  struct child *c = process->data;
  struct supervisor *s = c->s;
  char text[32];
  c->alive = 0; /* its number may be anybody's from now on */
  if (!s->stopping && signal)
    serve_say(s->serve, LLMD_LOG_WARN, "%s (process %d) was ended by signal %d", name_of(c, text), process->pid,
              signal);
  else if (!s->stopping)
    serve_say(s->serve, LLMD_LOG_WARN, "%s (process %d) ended with code %" PRId64, name_of(c, text), process->pid,
              status);
  if (!s->stopping && gave_up(s, status, signal))
    stop(s, (int)status);
  if (c->piped && !uv_is_closing((uv_handle_t *)&c->pipe))
    uv_close((uv_handle_t *)&c->pipe, NULL);
  uv_close((uv_handle_t *)process, on_closed);
}

/* ---- starting one ------------------------------------------------------------------------------------------------ */

static void put_args(const struct child *c, char *arg[MAX_ARGS], char number[16], char parent[24])
{
  static char program[] = "llmd", command[] = "serve", agent[] = "--agent", worker[] = "--worker", set[] = "--set",
              follow[] = "--parent", end[] = "--";
  const struct supervisor *s = c->s;
  unsigned n = 0;
  (void)snprintf(number, 16, "%d", c->number);
  (void)snprintf(parent, 24, "%ld", (long)getpid());
  arg[n++] = program;
  arg[n++] = command;
  arg[n++] = c->number < 0 ? agent : worker;
  if (c->number >= 0)
    arg[n++] = number;
  arg[n++] = follow;
  arg[n++] = parent;
  for (unsigned i = 0; i < s->n_set; i++) {
    arg[n++] = set;
    arg[n++] = s->set[i];
  }
  arg[n++] = end;
  if (s->serve->file.path)
    arg[n++] = (char *)(uintptr_t)s->serve->file.path;
  arg[n] = NULL;
}

static void inherit(uv_stdio_container_t *to, int fd)
{
  to->flags = UV_INHERIT_FD;
  to->data.fd = fd;
}

static int spawn(struct child *c)
{
  static char self[] = "/proc/self/exe";
  char *arg[MAX_ARGS], number[16], parent[24];
  uv_stdio_container_t io[5] = {{.flags = UV_IGNORE}};
  uv_process_options_t o = {.file = self, .args = arg, .stdio = io, .stdio_count = 5, .exit_cb = on_exit_of};
  int rc;
  put_args(c, arg, number, parent);
  inherit(&io[1], STDOUT_FILENO);
  inherit(&io[2], STDERR_FILENO);
  if (c->number >= 0)
    inherit(&io[SERVE_LISTEN_FD], c->s->socket.fd);
  io[SERVE_READY_FD].flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
  io[SERVE_READY_FD].data.stream = (uv_stream_t *)&c->pipe;
  (void)uv_pipe_init(&c->s->loop, &c->pipe, 0);
  c->pipe.data = c;
  c->piped = 1;
  c->process.data = c;
  rc = uv_spawn(&c->s->loop, &c->process, &o);
  c->alive = !rc;
  if (!rc)
    (void)uv_read_start((uv_stream_t *)&c->pipe, give_room, on_ready);
  return rc;
}

static void start_child(struct child *c)
{
  struct supervisor *s = c->s;
  char text[32];
  int rc;
  if (s->stopping)
    return;
  c->since = uv_now(&s->loop);
  c->ready = 0;
  c->reloads = s->reloads;
  rc = spawn(c);
  c->running = 1; /* also when it could not be started: its handle closes as the others' do */
  if (!rc) {
    serve_say(s->serve, LLMD_LOG_INFO, "%s started pid=%d", name_of(c, text), c->process.pid);
    return;
  }
  serve_say(s->serve, LLMD_LOG_ERROR, "%s cannot be started: %s", name_of(c, text), uv_strerror(rc));
  uv_close((uv_handle_t *)&c->pipe, NULL);
  uv_close((uv_handle_t *)&c->process, on_closed);
}

/* ---- what it is told --------------------------------------------------------------------------------------------- */

static void stop(struct supervisor *s, int code)
{
  uint64_t patience = (uint64_t)s->serve->service->limits.drain_ms + LATE_MS;
  s->stopping = 1;
  s->stopped_at = uv_now(&s->loop);
  s->code = code;
  for (uint32_t i = 0; i < s->n; i++) {
    (void)uv_timer_stop(&s->child[i].again);
    if (s->child[i].number >= 0)
      tell_child(&s->child[i], SIGTERM);
  }
  if (stat(s->region, &s->mine))
    memset(&s->mine, 0, sizeof s->mine);
  serve_unlisten(&s->socket); /* who comes now is told at once that there is nobody */
  (void)uv_timer_start(&s->deadline, on_late, patience, 0);
  stop_on(s);
}

static void on_stop(uv_signal_t *handle, int signum)
{
  struct supervisor *s = handle->data;
  if (s->stopping && uv_now(&s->loop) - s->stopped_at < SAME_MS)
    return;
  if (s->stopping) {
    serve_say(s->serve, LLMD_LOG_WARN, "signal %d again: stopping at once", signum);
    kill_all(s);
    return;
  }
  serve_say(s->serve, LLMD_LOG_INFO, "signal %d: draining", signum);
  stop(s, EXIT_RIGHT);
}

static void tell_what_stays(const struct serve *serve, const llmd_service *next)
{
  const llmd_service *now = serve->service;
  if (strcmp(now->listen, next->listen) || strcmp(now->admin, next->admin) || now->workers != next->workers ||
      strcmp(now->region, next->region) || now->external_agent != next->external_agent)
    serve_say(serve, LLMD_LOG_WARN,
              "listen, admin, workers, region and external_agent stay as they are until the next start");
}

static void watch_files(struct supervisor *s);

/* A file that is not right is told of here, once, and nobody else gets to see it. */
static void reload(struct supervisor *s)
{
  llmd_service *next = NULL;
  if (s->stopping)
    return;
  if (serve_read(s->serve, &next)) {
    serve_say(s->serve, LLMD_LOG_ERROR, "not reloaded: everything stays as it was");
    return;
  }
  tell_what_stays(s->serve, next);
  llmd_service_free(s->serve->service);
  s->serve->service = next;
  s->serve->level = next->log.level;
  s->reloads++;
  for (uint32_t i = 0; i < s->n; i++)
    tell_reload(&s->child[i]);
  watch_files(s);
  serve_say(s->serve, LLMD_LOG_INFO, "reloaded");
}

static void on_hangup(uv_signal_t *handle, int signum)
{
  (void)signum;
  reload(handle->data);
}

static void on_file(uv_fs_poll_t *watch, int status, const uv_stat_t *before, const uv_stat_t *after)
{
  (void)before;
  (void)after;
  if (!status) /* gone for a moment: an editor at work */
    reload(watch->data);
}

static void watch_file(struct supervisor *s, int i, const char *path)
{
  if (!strcmp(s->watched[i], path) || strlen(path) >= sizeof s->watched[i])
    return;
  strcpy(s->watched[i], path);
  (void)uv_fs_poll_stop(&s->watch[i]);
  if (path[0])
    (void)uv_fs_poll_start(&s->watch[i], on_file, path, WATCH_MS);
}

static void watch_files(struct supervisor *s)
{
  watch_file(s, 0, s->serve->file.path ? s->serve->file.path : "");
  watch_file(s, 1, s->serve->service->policy_is_text ? "" : s->serve->service->policy_file); /* the agent watches texts */
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static int keep_pair(struct supervisor *s, const char *key, const char *value)
{
  size_t n = strlen(key) + strlen(value) + 2;
  char *pair = s->n_set < SERVICE_SETTINGS ? malloc(n) : NULL;
  if (!pair)
    return shell_refuse(s->serve->file.command, "too many options, or out of memory");
  (void)snprintf(pair, n, "%s=%s", key, value);
  s->set[s->n_set++] = pair;
  return 0;
}

/* Does an agent feed the region of that name? */
static int in_use(const char *path)
{
  llmd_share_options o = {.size = sizeof o, .path = path};
  llmd_share *share = NULL;
  int used;
  if (llmd_share_open(&o, &share, NULL))
    return 0;
  used = llmd_share_has_writer(share);
  llmd_share_close(share);
  return used;
}

/* A region that nobody named is this supervisor's own, called after its port. What is left there is of somebody who has
 * gone; unless he is draining still, or has the same port of another address: then it is called after the process. */
static void name_region(struct supervisor *s)
{
  const unsigned user = (unsigned)geteuid();
  (void)snprintf(s->region, sizeof s->region, "/dev/shm/llmd-%u-%u", user, s->socket.port);
  if (s->socket.port && in_use(s->region))
    serve_say(s->serve, LLMD_LOG_WARN, "%s is in use: taking another name", s->region);
  else if (s->socket.port)
    return;
  (void)snprintf(s->region, sizeof s->region, "/dev/shm/llmd-%u-pid%ld", user, (long)getpid());
}

/* Options for the children. */
static int settle(struct supervisor *s)
{
  struct service_file *f = &s->serve->file;
  int code = 0;
  if (s->serve->service->region_is_default && !s->serve->service->external_agent) {
    name_region(s);
    code = service_set(f, "region", s->region);
    (void)unlink(s->region);
  }
  for (uint32_t i = 0; i < f->n && !code; i++)
    code = keep_pair(s, f->set[i].key, f->set[i].value);
  return code;
}

static int make_children(struct supervisor *s)
{
  const llmd_service *service = s->serve->service;
  uint32_t n = service->workers + !service->external_agent;
  s->child = calloc(n, sizeof *s->child);
  if (!s->child)
    return shell_refuse(s->serve->file.command, "out of memory");
  s->n = n;
  for (uint32_t i = 0; i < n; i++) {
    s->child[i].s = s;
    s->child[i].number = (int)i - !service->external_agent;
    (void)uv_timer_init(&s->loop, &s->child[i].again);
    s->child[i].again.data = &s->child[i];
  }
  return 0;
}

static void open_handles(struct supervisor *s)
{
  (void)signal(SIGPIPE, SIG_IGN);
  (void)uv_signal_init(&s->loop, &s->term);
  (void)uv_signal_init(&s->loop, &s->interrupt);
  (void)uv_signal_init(&s->loop, &s->hangup);
  (void)uv_timer_init(&s->loop, &s->deadline);
  s->term.data = s->interrupt.data = s->hangup.data = s->deadline.data = s;
  for (int i = 0; i < 2; i++) {
    (void)uv_fs_poll_init(&s->loop, &s->watch[i]);
    s->watch[i].data = s;
  }
  (void)uv_signal_start(&s->term, on_stop, SIGTERM);
  (void)uv_signal_start(&s->interrupt, on_stop, SIGINT);
  (void)uv_signal_start(&s->hangup, on_hangup, SIGHUP);
}

static void run_loop(struct supervisor *s)
{
  open_handles(s);
  watch_files(s);
  for (uint32_t i = 0; i < s->n; i++)
    start_child(&s->child[i]);
  (void)uv_run(&s->loop, UV_RUN_DEFAULT);
  (void)uv_loop_close(&s->loop);
}

/* A successor on our port may have made a region of that name while we drained. */
static int is_mine(const struct supervisor *s)
{
  struct stat now;
  if (!s->region[0] || stat(s->region, &now))
    return 0;
  if (!s->mine.st_ino)
    return !in_use(s->region);
  return now.st_dev == s->mine.st_dev && now.st_ino == s->mine.st_ino;
}

static void sweep(struct supervisor *s)
{
  char text[80];
  if (is_mine(s)) {
    (void)unlink(s->region);
    (void)snprintf(text, sizeof text, "%s.sock", s->region);
    (void)unlink(text);
  }
  serve_unlisten(&s->socket);
  while (s->n_set)
    free(s->set[--s->n_set]);
  free(s->child);
  llmd_service_free(s->serve->service);
}

int serve_supervise(struct serve *serve)
{
  struct supervisor s = {.serve = serve};
  int code = serve_read(serve, &serve->service);
  if (code)
    return code;
  serve->level = serve->service->log.level;
  code = serve_listen(serve->file.command, serve->service->listen, &s.socket);
  if (!code)
    code = settle(&s);
  if (!code && uv_loop_init(&s.loop))
    code = shell_refuse(serve->file.command, "no event loop");
  if (!code && (code = make_children(&s)) == 0) {
    run_loop(&s);
    code = s.code;
  }
  sweep(&s);
  return code;
}
