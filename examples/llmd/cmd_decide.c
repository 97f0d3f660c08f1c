/* llmd decide: where would these requests go, and why? */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "shell.h"

#define PAGE_MAX ((size_t)64 << 20)

static const char help[] =
  "Usage: llmd decide [OPTION]... BODY...\n"
  "\n"
  "Decides where requests go, as a proxy with libllmd would, and says why. Several bodies are decided\n"
  "in turn and committed: the second sees what the first left behind (requests in flight, cached\n"
  "prefixes).\n"
  "\n"
  "  --config FILE    EndpointPickerConfig, or a policy, FILE.lua (default: llm-d's default policy)\n"
  "  --pool FILE      endpoints, in llm-d's file-discovery format\n"
  "  --metrics DIR    metrics pages of the endpoints, Prometheus text: DIR/NAME, DIR/NAME.txt or\n"
  "                   DIR/NAME.prom\n"
  "  --headers FILE   request headers, a line each: Name: value\n"
  "  -H HEADER        one more header\n"
  "  --path PATH      the request's path (default /v1/chat/completions)\n"
  "  --seed N         seed of the first decision (default 1); each further body has the next one\n"
  "  --strict         decide as llm-d does where it is odd\n"
  "  --fail-open      no candidate left: any endpoint rather than a rejection\n"
  "  --modules DIR    also load the plugins in DIR\n"
  "  --loaders DIR    what loads policies (llmd-lua.so) is in DIR\n"
  "  --record FILE    write each decision there, for llmd replay and llmd policy\n"
  "  --json           one JSON object a line for each body\n"
  "  --help\n"
  "\n"
  "Exit code 1 when a body was refused or a request rejected.\n"
  "\n"
  "Examples:\n"
  "  llmd decide --pool pool.yaml --metrics pages/ chat.json\n"
  "  llmd decide --config policy.yaml --pool pool.yaml -H 'x-session-id: 7' turn1.json turn2.json\n"
  "  llmd decide --pool pool.yaml --json chat.json | jq .decision.status\n";

struct decide {
  struct session_options options;
  struct headers headers;
  const char *metrics;
  const char *path;
  const char *record;
  uint64_t seed;
  int json;
};

/* ---- metrics pages ---- */

struct names {
  llmd_endpoint_id *id;
  char (*name)[256];
  uint32_t n, room;
};

static int take_name(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  struct names *names = ud;
  if (names->n == names->room)
    return 1;
  names->id[names->n] = id;
  (void)snprintf(names->name[names->n++], sizeof names->name[0], "%.*s", (int)e->name.len, e->name.ptr);
  return 0;
}

static int list_names(const llmd_pool *pool, struct names *names)
{
  names->room = llmd_pool_count(pool);
  names->id = calloc(names->room + 1u, sizeof *names->id);
  names->name = calloc(names->room + 1u, sizeof *names->name);
  if (!names->id || !names->name)
    return LLMD_E_NOMEM;
  return llmd_pool_each(pool, take_name, names);
}

/* Finds DIR/NAME with any of the endings. 0 = none. */
static int page_path(const char *dir, const char *name, char *path, size_t size)
{
  static const char *const endings[] = {"", ".txt", ".prom"};
  if (strchr(name, '/') || name[0] == '.')
    return 0;
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    int n = snprintf(path, size, "%s/%s%s", dir, name, endings[i]);
    FILE *file = n > 0 && (size_t)n < size ? fopen(path, "rb") : NULL;
    if (file) {
      fclose(file);
      return 1;
    }
  }
  return 0;
}

/* One endpoint's page, if there is one. Returns 1 when there was, 0, or minus an exit code. */
static int load_page(struct session *s, const struct decide *d, llmd_endpoint_id id, const char *name)
{
  char path[4096];
  struct file page;
  int rc;
  if (!page_path(d->metrics, name, path, sizeof path))
    return 0;
  if (file_read(path, PAGE_MAX, &page))
    return -EXIT_REFUSED;
  rc = llmd_pool_scrape(s->pool, id, page.text, page.len, s->now.mono);
  free(page.text);
  if (rc < 0)
    return -shell_refuse(path, "%s", llmd_strerror(rc));
  if (rc == 0)
    fprintf(stderr, "%s: warning: no metric of the engine on this page\n", path);
  return 1;
}

static int load_pages(struct session *s, const struct decide *d)
{
  struct names names = {0};
  uint32_t found = 0;
  int code = list_names(s->pool, &names) ? shell_refuse(d->options.command, "out of memory") : 0;
  for (uint32_t i = 0; code == 0 && i < names.n; i++) {
    int rc = load_page(s, d, names.id[i], names.name[i]);
    if (rc < 0)
      code = -rc;
    found += rc > 0;
  }
  if (code == 0 && found == 0)
    code = shell_refuse(d->options.command, "%s: no file there is named after an endpoint", d->metrics);
  if (code == 0 && llmd_pool_publish(s->pool, &s->now))
    code = shell_refuse(d->options.command, "the metrics cannot be published");
  free(names.id);
  free(names.name);
  return code;
}

/* ---- decisions ---- */

static int print_decision(const struct session *s, const struct decide *d)
{
  int rc = d->json ? llmd_explain_json(s->lane, shell_write, stdout) : llmd_explain_table(s->lane, shell_write, stdout);
  if (rc)
    return shell_refuse(d->options.command, "explain: %s", llmd_strerror(rc));
  if (d->json)
    putchar('\n');
  return 0;
}

static int decide_one(struct session *s, const struct decide *d, llmd_request *r, uint32_t number, FILE *records)
{
  llmd_decision decision = {.size = sizeof decision};
  int rc = llmd_decide(s->lane, r, &s->now, d->seed + number, &decision), code;
  if (rc == 0 && decision.status == LLMD_NEED_TOKENS && !llmd_request_no_tokens(r)) /* nobody here renders prompts */
    rc = llmd_decide(s->lane, r, &s->now, d->seed + number, &decision);
  if (rc)
    return shell_refuse(d->options.command, "%s", llmd_strerror(rc));
  code = print_decision(s, d);
  if (code)
    return code;
  rc = records ? llmd_record_write(s->lane, shell_write, records) : 0;
  if (rc)
    return shell_refuse(d->options.command, "%s: %s", d->record, llmd_strerror(rc));
  if (decision.status != LLMD_ROUTED)
    return EXIT_REFUSED;
  rc = llmd_commit(s->lane, r, &decision, 0, &s->now);
  return rc ? shell_refuse(d->options.command, "%s", llmd_strerror(rc)) : 0;
}

static int decide_file(struct session *s, const struct decide *d, const char *path, uint32_t number, FILE *records)
{
  struct file body;
  llmd_request *r;
  int refused, code = file_read(path, BODY_MAX, &body);
  if (code)
    return code;
  code = request_make(d->options.command, d->path, &d->headers, &body, LLMD_FEED_KEEP | LLMD_FEED_FINAL, &r);
  if (code == 0) {
    refused = request_blame(r, path, &body);
    code = decide_one(s, d, r, number, records);
    code = code ? code : refused;
    request_free(r);
  }
  free(body.text);
  return code;
}

static int decide_all(struct session *s, const struct decide *d, char **bodies, uint32_t n)
{
  FILE *records = d->record ? fopen(d->record, "wb") : NULL;
  int worst = 0;
  if (d->record && !records)
    return shell_refuse(d->options.command, "%s: cannot be written", d->record);
  for (uint32_t i = 0; i < n && worst != EXIT_USAGE; i++) {
    int code;
    if (n > 1 && !d->json)
      printf("%s== %s\n", i ? "\n" : "", bodies[i]);
    code = decide_file(s, d, bodies[i], i, records);
    worst = code ? code : worst;
  }
  if (records && fclose(records))
    worst = shell_refuse(d->options.command, "%s: cannot be written", d->record);
  return worst;
}

/* ---- options ---- */

enum { CONFIG = 256, POOL, METRICS, HEADERS, PATH, SEED, STRICT, FAIL_OPEN, MODULES, LOADERS, RECORD, JSON };

static const struct option long_options[] = {
  {"config", 1, NULL, CONFIG}, {"pool", 1, NULL, POOL}, {"metrics", 1, NULL, METRICS}, {"headers", 1, NULL, HEADERS},
  {"path", 1, NULL, PATH}, {"seed", 1, NULL, SEED}, {"strict", 0, NULL, STRICT}, {"fail-open", 0, NULL, FAIL_OPEN},
  {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"record", 1, NULL, RECORD}, {"json", 0, NULL, JSON},
  {"help", 0, NULL, 'h'}, {0},
};

static int set_option(struct decide *d, int option)
{
  switch (option) {
  case CONFIG: d->options.config = optarg; return 0;
  case POOL: d->options.pool = optarg; return 0;
  case METRICS: d->metrics = optarg; return 0;
  case HEADERS: d->headers.file = optarg; return 0;
  case PATH: d->path = optarg; return 0;
  case SEED: return shell_count(d->options.command, "--seed", optarg, 0, UINT64_MAX, &d->seed);
  case STRICT: d->options.strict = 1; return 0;
  case FAIL_OPEN: d->options.fail_open = 1; return 0;
  case MODULES: d->options.modules = optarg; return 0;
  case LOADERS: d->options.loaders = optarg; return 0;
  case RECORD: d->record = optarg; return 0;
  case JSON: d->json = 1; return 0;
  default:
    if (d->headers.n_lines == sizeof d->headers.line / sizeof d->headers.line[0])
      return shell_usage(d->options.command, "-H: too many; use --headers FILE");
    d->headers.line[d->headers.n_lines++] = optarg;
    return 0;
  }
}

static int run(int argc, char **argv)
{
  struct decide d = {.options = {.command = argv[0]}, .path = "/v1/chat/completions", .seed = 1};
  struct session s = {0};
  int option, code = 0;
  opterr = 0;
  while (code == 0 && (option = getopt_long(argc, argv, ":hH:", long_options, NULL)) != -1) {
    if (option == 'h')
      return shell_help(&cmd_decide);
    code = option == '?' || option == ':' ? shell_option(argv[0], option, argv) : set_option(&d, option);
  }
  if (code)
    return code;
  if (!d.options.pool)
    return shell_usage(argv[0], "which endpoints? (--pool)");
  if (optind == argc)
    return shell_usage(argv[0], "which body?");
  code = session_open(&s, &d.options, NULL);
  if (code == 0 && d.metrics)
    code = load_pages(&s, &d);
  if (code == 0)
    code = decide_all(&s, &d, argv + optind, (uint32_t)(argc - optind));
  session_close(&s);
  return code;
}

const struct command cmd_decide = {
  .name = "decide", .summary = "where would these requests go, and why?", .help = help, .run = run};
