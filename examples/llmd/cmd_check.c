/* llmd check: is this configuration right, and what does it come to? */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "session.h"
#include "shell.h"

static const char help[] =
  "Usage: llmd check [OPTION]... CONFIG\n"
  "\n"
  "Reads an EndpointPickerConfig (YAML or JSON) as llm-d does. Prints the effective configuration\n"
  "after defaulting, with plugins that belong to the host marked inert; or what is wrong, as\n"
  "file:line:column: path: text. An empty file is the default policy; FILE.lua is a policy by itself\n"
  "(llmd policy check says more of it).\n"
  "\n"
  "  --modules DIR    also load the plugins in DIR\n"
  "  --loaders DIR    what loads policies (llmd-lua.so) is in DIR\n"
  "  --refuse-alpha   refuse alpha plugin types, as llm-d does without --allow-experimental-plugins\n"
  "  --json           one object: valid, warnings, and the configuration (as YAML text) or the error\n"
  "  --help\n"
  "\n"
  "Examples:\n"
  "  llmd check policy.yaml\n"
  "  kubectl get configmap epp -o jsonpath='{.data.config}' | llmd check -\n"
  "  llmd check --json policy.yaml | jq -e .valid\n";

struct check {
  struct session_options options;
  int json;
  cJSON *warnings; /* with --json */
};

static void collect_warning(void *ud, int level, const char *component, const char *text, size_t len)
{
  struct check *c = ud;
  cJSON *item;
  shell_log((void *)(uintptr_t)c->options.config, level, component, text, len);
  if (level > LLMD_LOG_WARN || !c->warnings)
    return;
  item = cJSON_CreateObject();
  if (!item || json_add_str(item, "text", (llmd_str){text, len}) || !cJSON_AddItemToArray(c->warnings, item))
    cJSON_Delete(item);
}

static int add_error(cJSON *root, const llmd_err *err)
{
  cJSON *o = cJSON_AddObjectToObject(root, "error");
  return o && cJSON_AddStringToObject(o, "code", llmd_errname(err->code)) &&
         cJSON_AddNumberToObject(o, "line", err->line) && cJSON_AddNumberToObject(o, "column", err->column) &&
         json_add_str(o, "path", (llmd_str){err->path, strlen(err->path)}) == 0 &&
         json_add_str(o, "text", (llmd_str){err->text, strlen(err->text)}) == 0;
}

static int print_json(struct check *c, const struct session *s, const llmd_err *err)
{
  cJSON *root = cJSON_CreateObject();
  const char *file = c->options.config;
  struct json_text text = {0};
  int ok = root && json_add_str(root, "file", (llmd_str){file, strlen(file)}) == 0 &&
           cJSON_AddBoolToObject(root, "valid", err->code == 0);
  if (ok && err->code)
    ok = add_error(root, err);
  else if (ok)
    ok = llmd_scheduler_write_config(s->scheduler, json_collect, &text) == 0 &&
         json_add_str(root, "effective", (llmd_str){text.text, text.len}) == 0;
  if (ok && cJSON_AddItemToObject(root, "warnings", c->warnings))
    c->warnings = NULL;
  free(text.text);
  if (!ok) {
    cJSON_Delete(root);
    return shell_refuse(c->options.command, "out of memory");
  }
  return json_print(stdout, root) ? shell_refuse(c->options.command, "out of memory") : 0;
}

static int check(struct check *c)
{
  struct session s = {0};
  llmd_err err = LLMD_ERR_INIT;
  int code;
  c->options.log = collect_warning;
  c->options.log_ud = c;
  code = session_open(&s, &c->options, &err);
  if (c->json && (code == 0 || err.code)) {
    int printed = print_json(c, &s, &err);
    code = code ? code : printed;
  } else if (code == 0 && llmd_scheduler_write_config(s.scheduler, shell_write, stdout))
    code = shell_refuse(c->options.command, "cannot write the configuration");
  session_close(&s);
  return code;
}

static int run(int argc, char **argv)
{
  enum { MODULES = 256, LOADERS, REFUSE_ALPHA, JSON };
  static const struct option long_options[] = {
    {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"refuse-alpha", 0, NULL, REFUSE_ALPHA},
    {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct check c = {.options = {.command = argv[0]}};
  int option, code;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_check);
    case MODULES: c.options.modules = optarg; break;
    case LOADERS: c.options.loaders = optarg; break;
    case REFUSE_ALPHA: c.options.refuse_alpha = 1; break;
    case JSON: c.json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 1)
    return shell_usage(argv[0], optind < argc ? "one configuration at a time" : "which configuration?");
  c.options.config = argv[optind];
  c.warnings = c.json ? cJSON_CreateArray() : NULL;
  code = c.json && !c.warnings ? shell_refuse(argv[0], "out of memory") : check(&c);
  cJSON_Delete(c.warnings);
  return code;
}

const struct command cmd_check = {
  .name = "check", .summary = "is this configuration right, and what does it come to?", .help = help, .run = run};
