/* llmd replay: recorded decisions, decided again. Same means every pick and every total, bit for bit. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "session.h"
#include "shell.h"

#define RECORDS_MAX ((size_t)1 << 30)

static const char help[] =
  "Usage: llmd replay [OPTION]... RECORDS\n"
  "\n"
  "Decides the records of a file (llmd decide --record) again, from what they hold and the\n"
  "configuration alone, and says of each whether the decision is the same, bit for bit. What another\n"
  "policy would have done with them, llmd policy replay says.\n"
  "\n"
  "  --config FILE   the EndpointPickerConfig, or policy (FILE.lua), they were made with (default:\n"
  "                  llm-d's default policy)\n"
  "  --strict        they were made with --strict\n"
  "  --fail-open     they were made with --fail-open\n"
  "  --modules DIR   also load the plugins in DIR\n"
  "  --loaders DIR   what loads policies (llmd-lua.so) is in DIR\n"
  "  --explain       the why of each replayed decision\n"
  "  --json          one object: counts, and a row for each record\n"
  "  --help\n"
  "\n"
  "Exit code 1 when a decision differs, or the file cannot be replayed.\n"
  "\n"
  "Examples:\n"
  "  llmd decide --pool pool.yaml --record today.rec chat.json && llmd replay today.rec\n"
  "  llmd replay --config policy.yaml --json today.rec | jq .differ\n";

struct replay {
  struct session_options options;
  int explain, json;
  cJSON *rows; /* with --json */
  uint32_t n, differ;
};

static const char *destination(const llmd_decision *d, char *text, size_t size)
{
  const llmd_target *t = &d->target[0];
  if (d->status == LLMD_ROUTED && d->n_targets)
    (void)snprintf(text, size, "%.*s:%" PRIu32, (int)t->address.len, d->text + t->address.off, t->port);
  else
    (void)snprintf(text, size, "%s", d->status == LLMD_REJECTED ? "rejected" : "-");
  return text;
}

static int add_row(struct replay *p, const llmd_decision *d, int same)
{
  char text[300];
  cJSON *o = cJSON_CreateObject();
  if (!o || !cJSON_AddItemToArray(p->rows, o)) {
    cJSON_Delete(o);
    return LLMD_E_NOMEM;
  }
  if (!cJSON_AddNumberToObject(o, "record", p->n) || !cJSON_AddBoolToObject(o, "same", same) ||
      !cJSON_AddStringToObject(o, "destination", destination(d, text, sizeof text)) ||
      !cJSON_AddNumberToObject(o, "code", d->code))
    return LLMD_E_NOMEM;
  return d->n_targets ? json_add_number(o, "score", d->target[0].score) : 0;
}

static int tell(struct replay *p, const llmd_decision *d, int same)
{
  char text[300];
  if (p->rows)
    return add_row(p, d, same);
  printf("%6" PRIu32 "  %-7s  %s", p->n, same ? "same" : "differs", destination(d, text, sizeof text));
  if (d->status == LLMD_ROUTED)
    printf("  %.6f", d->target[0].score);
  putchar('\n');
  return 0;
}

static const char *why_not(int64_t used)
{
  if (used == LLMD_E_MISMATCH)
    return "decided by another configuration, text of a policy, --strict or --fail-open, or written by another version "
           "(llmd policy replay decides by another configuration)";
  return used ? llmd_strerror((int)used) : "empty";
}

static int replay_all(struct replay *p, struct session *s, const char *path, const struct file *file)
{
  size_t at = 0;
  while (at < file->len) {
    llmd_decision d = {.size = sizeof d};
    int same = 0;
    int64_t used = llmd_replay(s->lane, file->text + at, file->len - at, &d, &same);
    if (used <= 0)
      return shell_refuse(path, "record %" PRIu32 " (byte %zu): %s", p->n + 1, at, why_not(used));
    at += (size_t)used;
    p->n++;
    p->differ += !same;
    if (tell(p, &d, same) || (p->explain && !p->json && llmd_explain_table(s->lane, shell_write, stdout)))
      return shell_refuse(p->options.command, "out of memory");
  }
  return p->n ? 0 : shell_refuse(path, "no record");
}

static int print_json(struct replay *p)
{
  cJSON *root = cJSON_CreateObject();
  if (!root || !cJSON_AddNumberToObject(root, "records", p->n) ||
      !cJSON_AddNumberToObject(root, "same", p->n - p->differ) || !cJSON_AddNumberToObject(root, "differ", p->differ) ||
      !cJSON_AddItemToObject(root, "results", p->rows)) {
    cJSON_Delete(root);
    return shell_refuse(p->options.command, "out of memory");
  }
  p->rows = NULL;
  return json_print(stdout, root) ? shell_refuse(p->options.command, "out of memory") : 0;
}

static int replay(struct replay *p, const char *path)
{
  struct session s = {0};
  struct file file = {0};
  int code = file_read(path, RECORDS_MAX, &file);
  if (code == 0 && p->json && !(p->rows = cJSON_CreateArray()))
    code = shell_refuse(p->options.command, "out of memory");
  if (code == 0)
    code = session_open(&s, &p->options, NULL);
  if (code == 0)
    code = replay_all(p, &s, path, &file);
  if (p->json && p->n)
    print_json(p);
  else if (p->n)
    printf("%" PRIu32 " same, %" PRIu32 " differ\n", p->n - p->differ, p->differ);
  session_close(&s);
  cJSON_Delete(p->rows);
  free(file.text);
  return code ? code : p->differ ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { CONFIG = 256, STRICT, FAIL_OPEN, MODULES, LOADERS, EXPLAIN, JSON };
  static const struct option long_options[] = {
    {"config", 1, NULL, CONFIG}, {"strict", 0, NULL, STRICT}, {"fail-open", 0, NULL, FAIL_OPEN},
    {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"explain", 0, NULL, EXPLAIN},
    {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct replay p = {.options = {.command = argv[0]}};
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_replay);
    case CONFIG: p.options.config = optarg; break;
    case STRICT: p.options.strict = 1; break;
    case FAIL_OPEN: p.options.fail_open = 1; break;
    case MODULES: p.options.modules = optarg; break;
    case LOADERS: p.options.loaders = optarg; break;
    case EXPLAIN: p.explain = 1; break;
    case JSON: p.json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 1)
    return shell_usage(argv[0], optind < argc ? "one file at a time" : "which records?");
  return replay(&p, argv[optind]);
}

const struct command cmd_replay = {
  .name = "replay", .summary = "recorded decisions, decided again, bit for bit", .help = help, .run = run};
