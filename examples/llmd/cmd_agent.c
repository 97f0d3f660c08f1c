/* llmd agent: the process that feeds a machine's shared region. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "service_file.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd agent [OPTION]... [FILE]\n"
  "\n"
  "Keeps the shared region of this machine fresh: finds the engines, reads their metrics and their KV\n"
  "events, gives back what dead processes held. Any number of processes attach to the region and\n"
  "decide by themselves, without I/O (llmd serve, or a program of yours: docs/service.md). There is\n"
  "one agent for a region; when it dies they go on, and the next one takes over.\n"
  "FILE is the service's file, the same as for llmd serve; what it leaves out has a default. Or it is a\n"
  "policy, FILE.lua, as if --policy had named it.\n"
  "\n"
  "  --endpoints FILE   the engines: a pool file, which is watched; or a list: '[10.0.0.1:8000]'\n"
  "  --region FILE      the shared region        [/dev/shm/llmd-UID]\n"
  "  --admin ADDRESS    /metrics, /healthz, /readyz, /endpoints, /policies, /explain, /records;\n"
  "                     \"\" = nowhere          [127.0.0.1:9090]\n"
  "  --policy FILE      an EndpointPickerConfig, or a policy in Lua  [the reference's default]\n"
  "  --set KEY=VALUE    any key of the file, over what the file says: metrics.period=20ms\n"
  "  --help\n"
  "\n"
  "SIGTERM and SIGINT stop it; the region's file stays, for the next one. SIGHUP, or a change of FILE\n"
  "or of the policy's file, makes it read them again; one that is not right is told of and changes\n"
  "nothing. Policies in Lua are tried first, and swapped while requests flow. Once the region is there it\n"
  "says so on standard error:\n"
  "\n"
  "  agent: ready region=/dev/shm/llmd-1000 admin=9090 pid=4711\n"
  "\n"
  "Examples:\n"
  "  llmd agent --endpoints '[10.0.0.1:8000, 10.0.0.2:8000]'\n"
  "  llmd agent --admin 0.0.0.0:9090 --set metrics.period=100ms service.yaml\n"
  "  curl -s localhost:9090/endpoints | jq\n"
  "\n"
  "Exit codes: 0 stopped by a signal, 1 could not start (or not stop in time), 2 wrong usage.\n";

#define WATCH_MS 1000

struct program {
  struct service_file file;
  llmd_service *service; /* the agent's now */
  llmd_agent *agent;
  uv_loop_t loop;
  uv_signal_t term, interrupt, hangup;
  uv_fs_poll_t watch[2]; /* of the file, of the policy's file */
  char watched[2][4096];
  uint32_t level;
  int stopping;
  uint64_t ready_fd; /* who started us waits there for a word; 0 = nobody does */
};

/* ---- reading it again -------------------------------------------------------------------------------------------- */

static void watch_files(struct program *p);

/* Whose fault is it: the policy's, or that of what surrounds it? */
static int blame(const struct program *p, const llmd_service *s, const llmd_err *err)
{
  return err->line || err->path[0] ? service_blame_policy(&p->file, s, err) : shell_blame(p->file.command, err);
}

static void reload(struct program *p)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_service *next = NULL;
  if (p->stopping || service_read(&p->file, &next))
    return;
  if (llmd_agent_reload(p->agent, next, &err)) {
    (void)blame(p, next, &err);
    llmd_service_free(next);
    return;
  }
  p->service = next;
  p->level = next->log.level;
  watch_files(p);
}

static void on_released(void *ud, const llmd_service *service)
{
  (void)ud;
  llmd_service_free((llmd_service *)(uintptr_t)service);
}

static void on_file(uv_fs_poll_t *watch, int status, const uv_stat_t *before, const uv_stat_t *after)
{
  (void)before;
  (void)after;
  if (!status) /* gone for a moment: an editor at work */
    reload(watch->data);
}

static void watch_file(struct program *p, int i, const char *path)
{
  if (!strcmp(p->watched[i], path) || strlen(path) >= sizeof p->watched[i])
    return;
  strcpy(p->watched[i], path);
  (void)uv_fs_poll_stop(&p->watch[i]);
  if (path[0])
    (void)uv_fs_poll_start(&p->watch[i], on_file, path, WATCH_MS);
}

static void watch_files(struct program *p)
{
  watch_file(p, 0, p->file.path ? p->file.path : "");
  watch_file(p, 1, p->service->policy_is_text ? "" : p->service->policy_file); /* the agent itself watches texts */
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void close_handles(struct program *p)
{
  uv_close((uv_handle_t *)&p->term, NULL);
  uv_close((uv_handle_t *)&p->interrupt, NULL);
  uv_close((uv_handle_t *)&p->hangup, NULL);
  for (int i = 0; i < 2; i++)
    uv_close((uv_handle_t *)&p->watch[i], NULL);
}

static void on_stopped(void *ud)
{
  close_handles(ud);
}

static void on_stop(uv_signal_t *handle, int signum)
{
  struct program *p = handle->data;
  (void)signum;
  if (p->stopping)
    _exit(EXIT_REFUSED); /* asked twice: now */
  p->stopping = 1;
  llmd_agent_stop(p->agent, on_stopped, p);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
  (void)signum;
  reload(handle->data);
}

static void open_handles(struct program *p)
{
  (void)signal(SIGPIPE, SIG_IGN);
  (void)uv_signal_init(&p->loop, &p->term);
  (void)uv_signal_init(&p->loop, &p->interrupt);
  (void)uv_signal_init(&p->loop, &p->hangup);
  p->term.data = p->interrupt.data = p->hangup.data = p;
  for (int i = 0; i < 2; i++) {
    (void)uv_fs_poll_init(&p->loop, &p->watch[i]);
    p->watch[i].data = p;
  }
}

static void listen_to_signals(struct program *p)
{
  (void)uv_signal_start(&p->term, on_stop, SIGTERM);
  (void)uv_signal_start(&p->interrupt, on_stop, SIGINT);
  (void)uv_signal_start(&p->hangup, on_hangup, SIGHUP);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static int start(struct program *p)
{
  llmd_agent_options o = {.size = sizeof o, .loop = &p->loop, .service = p->service, .log = service_log,
                          .log_ud = &p->level, .released = on_released};
  llmd_err err = LLMD_ERR_INIT;
  if (!llmd_agent_start(&o, &p->agent, &err))
    return 0;
  return blame(p, p->service, &err);
}

static void say_ready(const struct program *p)
{
  fprintf(stderr, "agent: ready region=%s admin=%u pid=%ld\n", p->service->region, llmd_agent_admin_port(p->agent),
          (long)getpid());
  if (!p->ready_fd)
    return;
  while (write((int)p->ready_fd, "+", 1) < 0 && errno == EINTR)
    ;
  (void)close((int)p->ready_fd);
}

/* What is left over when it did not start: handles close on the loop, and nobody releases the service. */
static int give_up(struct program *p)
{
  close_handles(p);
  (void)uv_run(&p->loop, UV_RUN_DEFAULT);
  llmd_service_free(p->service);
  (void)uv_loop_close(&p->loop);
  return EXIT_REFUSED;
}

static int run_agent(struct program *p)
{
  int rc = uv_loop_init(&p->loop);
  if (rc) {
    llmd_service_free(p->service);
    return shell_refuse(p->file.command, "%s", uv_strerror(rc));
  }
  p->level = p->service->log.level;
  shell_raise_limit();
  open_handles(p);
  listen_to_signals(p);
  if (start(p))
    return give_up(p);
  watch_files(p);
  say_ready(p);
  (void)uv_run(&p->loop, UV_RUN_DEFAULT);
  rc = uv_loop_close(&p->loop);
  return rc ? shell_refuse(p->file.command, "something is still open: %s", uv_strerror(rc)) : EXIT_RIGHT;
}

static int has_endpoints(const llmd_service *s)
{
  return s->endpoints.len || s->endpoints_file[0] || s->n_dns;
}

static int run_file(struct program *p)
{
  int code = service_read(&p->file, &p->service);
  if (code)
    return code;
  if (has_endpoints(p->service))
    return run_agent(p);
  llmd_service_free(p->service);
  return shell_usage(p->file.command, "no endpoints: name a FILE that says where they are, or give --endpoints");
}

static int run(int argc, char **argv)
{
  enum { ENDPOINTS = 256, REGION, ADMIN, POLICY, SET, READY };
  static const struct option long_options[] = {
    {"endpoints", 1, NULL, ENDPOINTS}, {"region", 1, NULL, REGION}, {"admin", 1, NULL, ADMIN},
    {"policy", 1, NULL, POLICY},       {"set", 1, NULL, SET},       {"help", 0, NULL, 'h'},
    {"ready", 1, NULL, READY}, {0},
  };
  static struct program p;
  int option, code = 0;
  p.file.command = argv[0];
  opterr = 0;
  while (!code && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_agent);
    case ENDPOINTS: code = service_set(&p.file, "endpoints", optarg); break;
    case REGION: code = service_set(&p.file, "region", optarg); break;
    case ADMIN: code = service_set(&p.file, "admin", optarg); break;
    case POLICY: code = service_set(&p.file, "policy", optarg); break;
    case SET: code = service_set_pair(&p.file, optarg); break;
    case READY: code = shell_count(argv[0], "--ready", optarg, 3, 1023, &p.ready_fd); break;
    default: return shell_option(argv[0], option, argv);
    }
  if (code)
    return code;
  if (argc - optind > 1)
    return shell_usage(argv[0], "one FILE at a time");
  code = service_take_file(&p.file, argv[optind]);
  return code ? code : run_file(&p);
}

const struct command cmd_agent = {
  .name = "agent", .summary = "feed this machine's shared region: engines, metrics, KV events", .help = help,
  .run = run};
