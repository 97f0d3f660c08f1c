/* llmd policy explain: one recorded decision, made by another policy, and why. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "policy_tool.h"
#include "recorded.h"

static const char help[] =
  "Usage: llmd policy explain [OPTION]... FILE RECORD\n"
  "\n"
  "Decides one recorded decision (llmd decide --record, llmd simulate --record) again by another\n"
  "policy and says why it comes out so, and what came out then. FILE is a policy, FILE.lua, or an\n"
  "EndpointPickerConfig; RECORD is a file of records. What the record does not hold is unknown to the\n"
  "policy, and its llmd.store is empty; but what made the record decides as it did.\n"
  "\n"
  "  --index K       the K-th record of the file (default 1)\n"
  "  --strict        decide as llm-d does where it is odd\n"
  "  --fail-open     no candidate left: any endpoint rather than a rejection\n"
  "  --modules DIR   also load the plugins in DIR\n"
  "  --loaders DIR   what loads policies (llmd-lua.so) is in DIR\n"
  "  --json          one object: record, then, missing, and now (docs/explain.md)\n"
  "  --help\n"
  "\n"
  "Exit code 1 when there is no such record, or a policy failed.\n"
  "\n"
  "Example:\n"
  "  llmd policy explain --index 7 sticky.lua quick.rec\n";

struct explain {
  struct session_options options;
  uint64_t index;
  int json;
};

static int is_routed(const llmd_decision *d)
{
  return d->status == LLMD_ROUTED && d->n_targets;
}

static int print_table(const struct explain *e, const struct recorded *r, int failed, const char *failure)
{
  printf("record %" PRIu32 " of %s\n", r->number, r->path);
  if (is_routed(&r->was))
    printf("then: routed to %s, score %.3f\n", recorded_name(r, r->was.target[0].id), r->was.target[0].score);
  else
    printf("then: rejected (HTTP %" PRIu32 ")\n", r->was.code);
  if (r->missing)
    printf("%" PRIu32 " column%s that this policy reads: not in the record\n", r->missing, r->missing == 1 ? "" : "s");
  if (failed)
    printf("failed: %s\n", failure);
  printf("now: ");
  return llmd_explain_table(r->session.lane, shell_write, stdout) ? shell_refuse(e->options.command, "out of memory")
                                                                  : 0;
}

static int print_json(const struct explain *e, struct recorded *r)
{
  cJSON *root = cJSON_CreateObject(), *then = root ? cJSON_AddObjectToObject(root, "then") : NULL;
  int routed = is_routed(&r->was);
  const char *name = routed ? recorded_name(r, r->was.target[0].id) : "";
  int ok = then && cJSON_AddNumberToObject(root, "record", r->number) &&
           cJSON_AddNumberToObject(root, "missing", r->missing) &&
           cJSON_AddStringToObject(then, "status", routed ? "routed" : "rejected") &&
           (!routed || (json_add_str(then, "endpoint", (llmd_str){name, strlen(name)}) == 0 &&
                        json_add_number(then, "score", r->was.target[0].score) == 0)) &&
           cJSON_AddItemToObject(root, "now", r->why);
  if (!ok) {
    cJSON_Delete(root);
    return shell_refuse(e->options.command, "out of memory");
  }
  r->why = NULL;
  return json_print(stdout, root) ? shell_refuse(e->options.command, "out of memory") : 0;
}

static int find_record(const struct explain *e, struct recorded *r, const char *path)
{
  int code = recorded_file(r, path), rc = 1;
  for (uint64_t i = 0; code == 0 && rc > 0 && i < e->index; i++) {
    rc = recorded_next(r);
    code = rc < 0 ? -rc : 0;
  }
  if (code == 0 && rc == 0)
    code = shell_refuse(path, "it has %" PRIu32 " records", r->number);
  return code;
}

static int explain(const struct explain *e, const char *path)
{
  struct recorded r;
  char failure[400];
  int code = recorded_open(&r, &e->options), failed = 0;
  if (code == 0)
    code = find_record(e, &r, path);
  if (code == 0) {
    failed = recorded_failure(&r, failure, sizeof failure);
    code = e->json ? print_json(e, &r) : print_table(e, &r, failed, failure);
  }
  recorded_close(&r);
  return code ? code : failed ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { INDEX = 256, STRICT, FAIL_OPEN, MODULES, LOADERS, JSON };
  static const struct option long_options[] = {
    {"index", 1, NULL, INDEX}, {"strict", 0, NULL, STRICT}, {"fail-open", 0, NULL, FAIL_OPEN},
    {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct explain e = {.options = {.command = argv[0]}, .index = 1};
  int option, code = 0;
  opterr = 0;
  optind = 1;
  while (code == 0 && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&policy_explain);
    case INDEX: code = shell_count(argv[0], "--index", optarg, 1, UINT32_MAX, &e.index); break;
    case STRICT: e.options.strict = 1; break;
    case FAIL_OPEN: e.options.fail_open = 1; break;
    case MODULES: e.options.modules = optarg; break;
    case LOADERS: e.options.loaders = optarg; break;
    case JSON: e.json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (code)
    return code;
  if (argc - optind != 2)
    return shell_usage(argv[0], argc - optind > 2 ? "one file of records at a time"
                                                  : optind < argc ? "which record?" : "which policy?");
  e.options.config = argv[optind];
  return explain(&e, argv[optind + 1]);
}

const struct command policy_explain = {
  .name = "explain", .summary = "one recorded decision, and why", .help = help, .run = run};
