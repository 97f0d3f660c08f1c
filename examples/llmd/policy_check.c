/* llmd policy check: does it compile, what is it, what stands out, and do its examples come out right? */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "policy_trial.h"

static const char help[] =
  "Usage: llmd policy check [OPTION]... FILE...\n"
  "\n"
  "Compiles policies and says what they are: kinds and verbs, parameters with defaults and ranges, what\n"
  "they read, what they keep. Then what stands out (remarks), and the examples that stand in them, each\n"
  "run. A few requests are made up, too: what fails on them is a remark. FILE is a policy, FILE.lua, or\n"
  "an EndpointPickerConfig: then all policies that it names, with the parameters that it gives them.\n"
  "What is wrong is said as file:line: text.\n"
  "\n"
  "  --modules DIR   also load the plugins in DIR\n"
  "  --loaders DIR   what loads policies (llmd-lua.so) is in DIR\n"
  "  --strict        remarks are errors\n"
  "  --json          one object: valid, and files with their policies, remarks, examples, error\n"
  "  --help\n"
  "\n"
  "Exit code 1 when a policy cannot be used, or an example came out differently; with --strict\n"
  "also when there is a remark.\n"
  "\n"
  "Examples:\n"
  "  llmd policy check sticky.lua\n"
  "  llmd policy check --json policies/*.lua | jq -e .valid\n";

struct check {
  struct session_options options;
  int json, strict;
  int trying;       /* made-up requests are under way */
  cJSON *remarks;   /* strings */
  cJSON *types;     /* all plugin types */
  cJSON *files;     /* with --json */
};

/* What one file came to. Everything but the flags is its own. */
struct result {
  cJSON *policies; /* descriptions, with "instance" and "file" */
  struct json_text examples;
  int n_examples;  /* -1 = not run */
  int failed;
  llmd_err err;    /* code 0 = nothing is wrong */
  char place[4096]; /* the file that the error is about */
};

static void remark(void *ud, int level, const char *component, const char *text, size_t len)
{
  struct check *c = ud;
  char line[600];
  (void)component;
  if (c->trying) {
    policy_trial_hear(c->remarks, level, text, len);
    return;
  }
  if (level > LLMD_LOG_INFO)
    return;
  (void)snprintf(line, sizeof line, "%.*s", (int)len, text);
  (void)cJSON_AddItemToArray(c->remarks, cJSON_CreateString(line));
}

/* ---- lint: does anybody write what it reads? ---- */

static int has_row(const cJSON *rows, const char *name)
{
  const cJSON *row;
  cJSON_ArrayForEach(row, rows)
    if (strcmp(policy_text(row, "name"), name) == 0)
      return 1;
  return 0;
}

static int is_written(const cJSON *plugins, const char *producer, const char *name)
{
  const cJSON *p;
  cJSON_ArrayForEach(p, plugins)
    if (strcmp(policy_text(p, "type"), producer) == 0)
      return has_row(policy_list(p, "writes"), name);
  return 0;
}

/* The pool's own attributes. */
static int is_own(const char *name)
{
  static const char *const names[] = {"WaitingQueueSize", "RunningRequestsSize", "KVCacheUsagePercent",
                                      "MaxActiveModels", "CacheBlockSize", "CacheNumBlocks", "ActiveModels",
                                      "WaitingModels", "CacheHashAlgorithm"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0)
      return 1;
  return 0;
}

/* Instances of the configuration may write what its types do not; only a file that is a policy is known whole. */
static void lint_read(struct check *c, const cJSON *read)
{
  const char *kind = policy_text(read, "kind"), *name = policy_text(read, "name"), *from = policy_text(read, "from");
  char who[200], line[500];
  if (strcmp(kind, "f64") && strcmp(kind, "id") && strcmp(kind, "has-model") && strcmp(kind, "set-size"))
    return;
  if (from[0] ? is_written(c->types, from, name) : is_own(name))
    return;
  (void)snprintf(line, sizeof line, "%s: nothing here writes it: unknown, unless the host sets it",
                 policy_read_name(read, who, sizeof who));
  (void)cJSON_AddItemToArray(c->remarks, cJSON_CreateString(line));
}

static void lint(struct check *c, const cJSON *policy)
{
  const cJSON *read;
  cJSON_ArrayForEach(read, policy_list(policy, "reads"))
    lint_read(c, read);
}

/* ---- one file ---- */

static int describe_all(struct check *c, const struct session *s, struct result *r)
{
  llmd_policy_info info = {.size = sizeof info};
  for (uint32_t i = 0; llmd_scheduler_policy(s->scheduler, i, &info) == 0; i++) {
    cJSON *o = policy_describe(s->scheduler, i);
    if (!o || !cJSON_AddItemToArray(r->policies, o))
      return shell_refuse(c->options.command, "out of memory");
    if (!cJSON_AddStringToObject(o, "instance", info.instance.ptr) ||
        (info.file.ptr && !cJSON_AddStringToObject(o, "file", info.file.ptr)))
      return shell_refuse(c->options.command, "out of memory");
    if (s->config.is_policy)
      lint(c, o);
  }
  if (cJSON_GetArraySize(r->policies) == 0)
    return shell_refuse(c->options.config, "no policy in it ('llmd check' reads configurations)");
  return 0;
}

static void find_place(const struct session *s, struct result *r)
{
  char room[sizeof r->place];
  (void)snprintf(r->place, sizeof r->place, "%s", config_place(&s->config, &r->err, room, sizeof room));
}

static int run_examples(const struct session *s, struct result *r)
{
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_scheduler_examples(s->scheduler, json_collect, &r->examples, &err);
  r->n_examples = rc < 0 ? -1 : rc;
  if (rc >= 0)
    return 0;
  r->err = err;
  r->err.code = rc;
  if (!err.text[0])
    (void)snprintf(r->err.text, sizeof r->err.text, "%s", llmd_strerror(rc));
  find_place(s, r);
  return EXIT_REFUSED;
}

static int load_types(struct check *c)
{
  struct json_text text = {0};
  if (c->types)
    return 0;
  if (llmd_plugins_write(NULL, json_collect, &text) == 0)
    c->types = cJSON_ParseWithLength(text.text, text.len);
  free(text.text);
  return c->types ? 0 : shell_refuse(c->options.command, "out of memory");
}

/* A profile handler names profiles, and those stand in a configuration: a file that is a policy has none of them. */
static int needs_profiles(const struct session *s, const struct result *r)
{
  const cJSON *policy, *kind;
  cJSON_ArrayForEach(policy, r->policies)
    cJSON_ArrayForEach(kind, policy_list(policy, "kinds"))
      if (strcmp(kind->valuestring, "profile-handler") == 0)
        return s->config.is_policy;
  return 0;
}

static int try_out(struct check *c, struct session *s, const struct result *r)
{
  int code;
  if (needs_profiles(s, r))
    return 0;
  c->trying = 1;
  code = policy_trial(s, &c->options, r->policies, c->remarks);
  c->trying = 0;
  return code;
}

static int look_at(struct check *c, struct result *r)
{
  struct session s = {0};
  llmd_err err = LLMD_ERR_INIT;
  int code = session_open(&s, &c->options, &err);
  if (code && err.code) {
    r->err = err;
    find_place(&s, r);
  }
  if (code == 0)
    code = load_types(c);
  if (code == 0)
    code = describe_all(c, &s, r);
  if (code == 0)
    code = try_out(c, &s, r);
  if (code == 0)
    code = run_examples(&s, r);
  if (code == 0 && c->strict && cJSON_GetArraySize(c->remarks))
    code = EXIT_REFUSED;
  session_close(&s);
  r->failed = code != 0;
  return code;
}

/* ---- for people ---- */

static void print_list(const char *title, const cJSON *list)
{
  const cJSON *item;
  const char *sep = "";
  printf("  %-11s", title);
  cJSON_ArrayForEach(item, list) {
    printf("%s%s", sep, item->valuestring);
    sep = ", ";
  }
  putchar('\n');
}

static const char *range_of(const cJSON *p, char *text, size_t size)
{
  const cJSON *above = policy_list(p, "above"), *min = policy_list(p, "min"), *max = policy_list(p, "max"), *item;
  size_t n = 0;
  text[0] = 0;
  if (strcmp(policy_text(p, "type"), "duration") == 0)
    return text;
  if (above && max)
    (void)snprintf(text, size, "above %g, to %g", above->valuedouble, max->valuedouble);
  else if (min && max)
    (void)snprintf(text, size, "%g to %g", min->valuedouble, max->valuedouble);
  cJSON_ArrayForEach(item, policy_list(p, "values")) {
    int more = snprintf(text + n, size - n, "%s%s", n ? ", " : "", item->valuestring);
    n = more > 0 && n + (size_t)more < size ? n + (size_t)more : n;
  }
  return text;
}

/* The policy's own: those of the object `params`. The others each policy has. */
static const cJSON *own_parameters(const cJSON *policy)
{
  const cJSON *p;
  cJSON_ArrayForEach(p, policy_list(policy, "parameters"))
    if (strcmp(policy_text(p, "name"), "params") == 0)
      return policy_list(p, "fields");
  return NULL;
}

static void print_parameters(const cJSON *policy)
{
  const cJSON *p;
  int titled = 0;
  cJSON_ArrayForEach(p, own_parameters(policy)) {
    char range[200];
    if (!titled++)
      printf("  %-11s%-20s %-8s %-12s %-20s %s\n", "parameters", "name", "type", "default", "range", "what it is");
    printf("  %-11s%-20s %-8s %-12s %-20s %s\n", "", policy_text(p, "name"), policy_text(p, "type"),
           policy_text(p, "default"), range_of(p, range, sizeof range), policy_text(p, "doc"));
  }
  if (!titled)
    printf("  %-11snone\n", "parameters");
}

static void print_reads(const cJSON *policy)
{
  const cJSON *r;
  const char *title = "reads";
  cJSON_ArrayForEach(r, policy_list(policy, "reads")) {
    char text[300];
    printf("  %-11s%s\n", title, policy_read_name(r, text, sizeof text));
    title = "";
  }
  if (title[0])
    printf("  %-11snothing\n", title);
}

static void print_policy(const struct check *c, const cJSON *p)
{
  const cJSON *store = policy_list(p, "table_entries"), *w;
  const char *file = policy_text(p, "file"), *title = "writes";
  int named = !(file[0] && config_is_policy(c->options.config)); /* else nobody gave it the instance's name */
  printf("%s%s%s: %s\n", named ? policy_text(p, "instance") : "", named && file[0] ? ", " : "", file,
         policy_text(p, "summary"));
  if (cJSON_GetArraySize(policy_list(p, "aliases")))
    print_list("name", policy_list(p, "aliases"));
  print_list("kinds", policy_list(p, "kinds"));
  print_list("verbs", policy_list(p, "verbs"));
  print_parameters(p);
  print_reads(p);
  cJSON_ArrayForEach(w, policy_list(p, "writes")) {
    printf("  %-11s%s\n", title, policy_text(w, "name"));
    title = "";
  }
  if (store)
    printf("  %-11s%.0f entries\n", "store", store->valuedouble);
}

/* Each line of text, set in. */
static void print_indented(const struct json_text *t)
{
  for (const char *p = t->text; p && *p;) {
    size_t n = strcspn(p, "\n");
    printf("  %.*s\n", (int)n, p);
    p += n + (p[n] == '\n');
  }
}

static void print_file(const struct check *c, const struct result *r, int titled)
{
  const cJSON *item;
  if (titled)
    printf("== %s\n", c->options.config);
  cJSON_ArrayForEach(item, r->policies)
    print_policy(c, item);
  if (cJSON_GetArraySize(c->remarks))
    puts("remarks");
  cJSON_ArrayForEach(item, c->remarks)
    printf("  %s\n", item->valuestring);
  if (r->examples.len)
    puts("examples");
  print_indented(&r->examples);
  if (r->n_examples == 0)
    puts("no examples: add examples = {...}");
  else if (r->n_examples > 0)
    printf("%d example%s, all right\n", r->n_examples, r->n_examples == 1 ? "" : "s");
}

/* ---- for programs ---- */

static int add_error(cJSON *o, const struct result *r)
{
  cJSON *e = cJSON_AddObjectToObject(o, "error");
  return e && cJSON_AddStringToObject(e, "code", llmd_errname(r->err.code)) &&
         json_add_str(e, "file", (llmd_str){r->place, strlen(r->place)}) == 0 &&
         cJSON_AddNumberToObject(e, "line", r->err.line) && cJSON_AddNumberToObject(e, "column", r->err.column) &&
         json_add_str(e, "path", (llmd_str){r->err.path, strlen(r->err.path)}) == 0 &&
         json_add_str(e, "text", (llmd_str){r->err.text, strlen(r->err.text)}) == 0;
}

static int add_examples(cJSON *o, const struct result *r)
{
  cJSON *e = cJSON_AddObjectToObject(o, "examples"), *lines = e ? cJSON_AddArrayToObject(e, "lines") : NULL;
  if (!lines || (r->n_examples >= 0 && !cJSON_AddNumberToObject(e, "count", r->n_examples)))
    return 0;
  for (const char *p = r->examples.text; p && *p;) {
    size_t n = strcspn(p, "\n");
    char line[600];
    (void)snprintf(line, sizeof line, "%.*s", (int)n, p);
    if (!cJSON_AddItemToArray(lines, cJSON_CreateString(line)))
      return 0;
    p += n + (p[n] == '\n');
  }
  return 1;
}

static int add_file(struct check *c, struct result *r)
{
  cJSON *o = cJSON_CreateObject();
  const char *file = c->options.config;
  if (!o || !cJSON_AddItemToArray(c->files, o)) {
    cJSON_Delete(o);
    return LLMD_E_NOMEM;
  }
  if (json_add_str(o, "file", (llmd_str){file, strlen(file)}) || !cJSON_AddBoolToObject(o, "valid", !r->failed) ||
      !add_examples(o, r) || (r->err.code && !add_error(o, r)))
    return LLMD_E_NOMEM;
  if (!cJSON_AddItemToObject(o, "remarks", c->remarks))
    return LLMD_E_NOMEM;
  c->remarks = NULL;
  if (!cJSON_AddItemToObject(o, "policies", r->policies))
    return LLMD_E_NOMEM;
  r->policies = NULL;
  return 0;
}

/* ---- the command ---- */

static int check_file(struct check *c, const char *file, int titled)
{
  struct result r = {.policies = cJSON_CreateArray(), .n_examples = -1, .err = LLMD_ERR_INIT};
  int code;
  c->options.config = file;
  c->remarks = cJSON_CreateArray();
  code = r.policies && c->remarks ? look_at(c, &r) : shell_refuse(c->options.command, "out of memory");
  if (!c->json) {
    print_file(c, &r, titled);
    fflush(stdout);
  }
  if (r.n_examples < 0 && r.err.code && cJSON_GetArraySize(r.policies))
    shell_blame(r.place, &r.err); /* the session has told of the others */
  if (c->json && add_file(c, &r))
    code = shell_refuse(c->options.command, "out of memory");
  cJSON_Delete(r.policies);
  cJSON_Delete(c->remarks);
  c->remarks = NULL;
  free(r.examples.text);
  return code;
}

static int print_json(struct check *c, int valid)
{
  cJSON *root = cJSON_CreateObject();
  if (!root || !cJSON_AddBoolToObject(root, "valid", valid) || !cJSON_AddItemToObject(root, "files", c->files)) {
    cJSON_Delete(root);
    return shell_refuse(c->options.command, "out of memory");
  }
  c->files = NULL;
  return json_print(stdout, root) ? shell_refuse(c->options.command, "out of memory") : 0;
}

static int check_all(struct check *c, char **files, int n)
{
  int worst = 0;
  if (c->json && !(c->files = cJSON_CreateArray()))
    return shell_refuse(c->options.command, "out of memory");
  c->options.log = remark;
  c->options.log_ud = c;
  for (int i = 0; i < n; i++) {
    int code = check_file(c, files[i], n > 1);
    worst = code ? code : worst;
  }
  if (c->json) {
    int code = print_json(c, worst == 0);
    worst = worst ? worst : code;
  }
  cJSON_Delete(c->files);
  cJSON_Delete(c->types);
  return worst;
}

static int run(int argc, char **argv)
{
  enum { MODULES = 256, LOADERS, STRICT, JSON };
  static const struct option long_options[] = {
    {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"strict", 0, NULL, STRICT},
    {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct check c = {.options = {.command = argv[0]}};
  int option;
  opterr = 0;
  optind = 1;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&policy_check);
    case MODULES: c.options.modules = optarg; break;
    case LOADERS: c.options.loaders = optarg; break;
    case STRICT: c.strict = 1; break;
    case JSON: c.json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (optind == argc)
    return shell_usage(argv[0], "which policy?");
  return check_all(&c, argv + optind, argc - optind);
}

const struct command policy_check = {
  .name = "check", .summary = "compiles policies, says what they are, runs their examples", .help = help, .run = run};
