/* llmd serve: a reverse proxy for engines that speak OpenAI's API. Options here; processes in serve_*.c. */
#define _POSIX_C_SOURCE 200809L
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd serve [OPTION]... [FILE]\n"
  "\n"
  "A reverse proxy for engines that speak OpenAI's API: each request goes where its prefix is cached and\n"
  "there is room, streams pass token by token. One port, any number of worker processes, an agent that\n"
  "feeds the region which they share. FILE is the service's file, YAML or JSON (docs/service.md); what it\n"
  "leaves out has a default, and without FILE all of it has. Or FILE is a policy, FILE.lua, as if --policy\n"
  "had named it.\n"
  "\n"
  "  --endpoints LIST   the engines: a pool file, which is watched; or 10.0.0.1:8000,10.0.0.2:8000\n"
  "  --listen ADDRESS   where clients come in     [127.0.0.1:8080]  port 0 = any, told when ready\n"
  "  --admin ADDRESS    /metrics, /healthz, /readyz, /endpoints, /policies, /explain, /records;\n"
  "                     \"\" = nowhere          [127.0.0.1:9090]\n"
  "  --policy FILE      an EndpointPickerConfig, or a policy in Lua  [the reference's default]\n"
  "  --workers N        processes that take requests  [1]\n"
  "  --region FILE      the shared region         [/dev/shm/llmd-UID-PORT, removed at the end]\n"
  "  --set KEY=VALUE    any key of the file, over what the file says: limits.body=4MiB\n"
  "  --check            say whether it is right and what would run, and end\n"
  "  --help\n"
  "\n"
  "SIGTERM and SIGINT: no new connections, requests under way end (limits.drain), then it ends; a second\n"
  "one ends it at once. SIGHUP, or a change of FILE or of the policy's file: read again; one that is not\n"
  "right is told of and changes nothing. A policy in Lua is tried first, and swapped while requests flow. A\n"
  "process that dies is started again. Once requests are taken it says so on standard error:\n"
  "\n"
  "  serve: listening on 127.0.0.1:8080\n"
  "\n"
  "There is no TLS: put a proxy in front that has it (docs/serve.md).\n"
  "\n"
  "Examples:\n"
  "  llmd serve --endpoints 10.0.0.1:8000,10.0.0.2:8000\n"
  "  llmd serve --endpoints 10.0.0.1:8000,10.0.0.2:8000 sticky.lua\n"
  "  llmd serve --listen 0.0.0.0:80 --workers 4 serve.yaml\n"
  "  llmd serve --check serve.yaml\n"
  "\n"
  "Exit codes: 0 stopped by a signal, 1 could not start, 2 wrong usage.\n";

enum mode { SUPERVISE, WORK, AGENT, CHECK };

struct asked {
  enum mode mode;
  uint64_t worker, parent;
};

static int has_endpoints(struct serve *serve)
{
  llmd_service *s = NULL;
  int there, code = service_read(&serve->file, &s);
  if (code)
    return code;
  there = s->endpoints.len || s->endpoints_file[0] || s->n_dns || s->external_agent;
  llmd_service_free(s);
  return there ? 0 : shell_usage(serve->file.command, "no endpoints: name a FILE that says where they are, or give "
                                                      "--endpoints");
}

/* What `llmd agent` does, in a child: the same options after its own name. */
static int run_agent(const struct serve *serve)
{
  static char name[] = "llmd agent", set[] = "--set", ready[] = "--ready", end[] = "--";
  char *arg[2 * SERVICE_SETTINGS + 6], number[16];
  int n = 0, code = 0;
  arg[n++] = name;
  for (uint32_t i = 0; i < serve->file.n && !code; i++) {
    size_t room = strlen(serve->file.set[i].key) + strlen(serve->file.set[i].value) + 2;
    char *pair = malloc(room); /* lives as long as the process */
    if (!pair)
      return shell_refuse(serve->file.command, "out of memory");
    (void)snprintf(pair, room, "%s=%s", serve->file.set[i].key, serve->file.set[i].value);
    arg[n++] = set;
    arg[n++] = pair;
  }
  (void)snprintf(number, sizeof number, "%d", SERVE_READY_FD);
  arg[n++] = ready;
  arg[n++] = number;
  arg[n++] = end;
  if (serve->file.path)
    arg[n++] = (char *)(uintptr_t)serve->file.path;
  arg[n] = NULL;
  optind = 0; /* getopt begins again */
  return cmd_agent.run(n, arg);
}

static int run_mode(struct serve *serve, const struct asked *asked)
{
  int child = asked->mode == WORK || asked->mode == AGENT, code;
  if (child && !asked->parent)
    return shell_usage(serve->file.command, "--worker and --agent are for the supervisor alone");
  code = child ? serve_follow((unsigned long)asked->parent, asked->mode == WORK ? "llmd-worker" : "llmd-agent")
               : has_endpoints(serve);
  if (code)
    return code;
  switch (asked->mode) {
  case WORK: return serve_work(serve, (unsigned)asked->worker);
  case AGENT: return run_agent(serve);
  case CHECK: return serve_check(serve);
  default: return serve_supervise(serve);
  }
}

static int run(int argc, char **argv)
{
  enum { ENDPOINTS = 256, LISTEN, ADMIN, POLICY, WORKERS, REGION, SET, CHECK_IT, WORKER, AS_AGENT, PARENT };
  static const struct option long_options[] = {
    {"endpoints", 1, NULL, ENDPOINTS}, {"listen", 1, NULL, LISTEN},   {"admin", 1, NULL, ADMIN},
    {"policy", 1, NULL, POLICY},       {"workers", 1, NULL, WORKERS}, {"region", 1, NULL, REGION},
    {"set", 1, NULL, SET},             {"check", 0, NULL, CHECK_IT},  {"help", 0, NULL, 'h'},
    {"worker", 1, NULL, WORKER},       {"agent", 0, NULL, AS_AGENT},  {"parent", 1, NULL, PARENT}, {0},
  };
  static struct serve serve;
  struct asked asked = {.mode = SUPERVISE};
  int option, code = 0;
  serve.file.command = argv[0];
  opterr = 0;
  while (!code && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_serve);
    case ENDPOINTS: code = service_set(&serve.file, "endpoints", optarg); break;
    case LISTEN: code = service_set(&serve.file, "listen", optarg); break;
    case ADMIN: code = service_set(&serve.file, "admin", optarg); break;
    case POLICY: code = service_set(&serve.file, "policy", optarg); break;
    case WORKERS: code = service_set(&serve.file, "workers", optarg); break;
    case REGION: code = service_set(&serve.file, "region", optarg); break;
    case SET: code = service_set_pair(&serve.file, optarg); break;
    case CHECK_IT: asked.mode = CHECK; break;
    case WORKER:
      asked.mode = WORK;
      code = shell_count(argv[0], "--worker", optarg, 0, 255, &asked.worker);
      break;
    case AS_AGENT: asked.mode = AGENT; break;
    case PARENT: code = shell_count(argv[0], "--parent", optarg, 1, UINT32_MAX, &asked.parent); break;
    default: return shell_option(argv[0], option, argv);
    }
  if (code)
    return code;
  if (argc - optind > 1)
    return shell_usage(argv[0], "one FILE at a time");
  code = service_take_file(&serve.file, argv[optind]);
  if (code)
    return code;
  if (serve.file.path && strcmp(serve.file.path, "-") == 0)
    return shell_usage(argv[0], "a file is needed here, not standard input: each process reads it, also again");
  return run_mode(&serve, &asked);
}

const struct command cmd_serve = {
  .name = "serve", .summary = "a reverse proxy that sends each request where it is best served", .help = help,
  .run = run};
