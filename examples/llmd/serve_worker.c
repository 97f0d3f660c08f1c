/* One worker: attached to the region, a proxy on the socket that the supervisor bound. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "serve.h"
#include "shell.h"

#define REGION_MS 15000  /* that the agent may take to make the region */
#define ENDPOINTS_MS 2000 /* that it may take to find its endpoints before requests are let in */
#define STEP_MS 10
#define MS UINT64_C(1000000)

struct worker {
  struct serve *serve;
  unsigned number;
  llmd_share *share;
  llmd_proxy *proxy;
  uv_loop_t loop;
  uv_signal_t term, hangup;
  int stopping;
};

int serve_follow(unsigned long parent, const char *name)
{
  sigset_t interrupt;
  (void)sigemptyset(&interrupt);
  (void)sigaddset(&interrupt, SIGINT);
  (void)sigprocmask(SIG_BLOCK, &interrupt, NULL);
  (void)prctl(PR_SET_NAME, name); /* else it is "exe", after /proc/self/exe */
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
  return (unsigned long)getppid() == parent ? 0 : EXIT_REFUSED; /* it died before we asked */
}

static void pause_ms(long ms)
{
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  (void)nanosleep(&t, NULL);
}

/* ---- the region -------------------------------------------------------------------------------------------------- */

static int attach(struct worker *w, llmd_err *err)
{
  const llmd_service *s = w->serve->service;
  llmd_share_options o = {.size = sizeof o, .path = s->region, .log = service_log, .log_ud = &w->serve->level,
                          .stale_ns = s->metrics.stale_ms * MS};
  o.flags = s->region_group ? LLMD_SHARE_GROUP : 0u;
  return llmd_share_open(&o, &w->share, err);
}

/* The agent makes the file, and may be at it still. What will not change by waiting is told at once. */
static int wait_for_region(struct worker *w)
{
  llmd_err err = LLMD_ERR_INIT;
  int rc = attach(w, &err);
  for (int waited = 0; rc && rc != LLMD_E_MISMATCH && rc != LLMD_E_DENIED && waited < REGION_MS; waited += STEP_MS) {
    pause_ms(STEP_MS);
    rc = attach(w, &err);
  }
  return rc ? shell_blame(w->serve->service->region, &err) : 0;
}

static void wait_for_endpoints(struct worker *w)
{
  for (int waited = 0; waited < ENDPOINTS_MS && !llmd_pool_count(llmd_share_pool(w->share)); waited += STEP_MS)
    pause_ms(STEP_MS);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void reload(struct worker *w)
{
  struct serve *serve = w->serve;
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *next = NULL;
  if (w->stopping || service_read(&serve->file, &next))
    return;
  if (llmd_proxy_reload(w->proxy, next, &err)) {
    (void)service_blame_policy(&serve->file, next, &err);
    llmd_service_free(next);
    return;
  }
  llmd_service_free(serve->service);
  serve->service = next;
  serve->level = next->log.level;
}

static void on_drained(void *ud)
{
  struct worker *w = ud;
  w->proxy = NULL;
  uv_close((uv_handle_t *)&w->term, NULL);
  uv_close((uv_handle_t *)&w->hangup, NULL);
}

static void on_term(uv_signal_t *handle, int signum)
{
  struct worker *w = handle->data;
  (void)signum;
  if (w->stopping)
    return; /* an init system tells everybody, and the supervisor tells us again; in a hurry it kills */
  w->stopping = 1;
  llmd_proxy_drain(w->proxy, on_drained, w);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
  (void)signum;
  reload(handle->data);
}

static void listen_to_signals(struct worker *w)
{
  (void)signal(SIGPIPE, SIG_IGN);
  (void)uv_signal_init(&w->loop, &w->term);
  (void)uv_signal_init(&w->loop, &w->hangup);
  w->term.data = w->hangup.data = w;
  (void)uv_signal_start(&w->term, on_term, SIGTERM);
  (void)uv_signal_start(&w->hangup, on_hangup, SIGHUP);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static int has_socket(void)
{
  int listens = 0;
  socklen_t len = sizeof listens;
  return getsockopt(SERVE_LISTEN_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
}

static int start(struct worker *w)
{
  llmd_proxy_options o = {.size = sizeof o, .fd = SERVE_LISTEN_FD, .loop = &w->loop, .share = w->share,
                          .service = w->serve->service, .log = service_log, .log_ud = &w->serve->level};
  llmd_err err = LLMD_ERR_INIT;
  if (!llmd_proxy_start(&o, &w->proxy, &err))
    return 0;
  return service_blame_policy(&w->serve->file, w->serve->service, &err);
}

static void say_ready(void)
{
  while (write(SERVE_READY_FD, "+", 1) < 0 && errno == EINTR)
    ;
  (void)close(SERVE_READY_FD);
}

static int run_loop(struct worker *w)
{
  int code = start(w);
  if (code)
    on_drained(w);
  else
    say_ready();
  (void)uv_run(&w->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&w->loop) && !code)
    code = shell_refuse(w->serve->file.command, "something is still open");
  return code;
}

int serve_work(struct serve *serve, unsigned number)
{
  struct worker w = {.serve = serve, .number = number};
  int code = has_socket() ? 0 : shell_usage(serve->file.command, "--worker is for the supervisor alone");
  if (!code)
    code = service_read(&serve->file, &serve->service);
  if (code)
    return code;
  serve->level = serve->service->log.level;
  shell_raise_limit();
  code = wait_for_region(&w);
  if (!code && (code = uv_loop_init(&w.loop)) != 0)
    code = shell_refuse(serve->file.command, "%s", uv_strerror(code));
  else if (!code) {
    wait_for_endpoints(&w);
    listen_to_signals(&w);
    code = run_loop(&w);
  }
  llmd_share_close(w.share);
  llmd_service_free(serve->service);
  return code;
}
