/* llmd policy repl: Lua line by line, as if it stood in the policy's file; decisions on made-up endpoints. */
#define _POSIX_C_SOURCE 200809L
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy_stage.h"

#define LINE 65536
#define WORDS 32
#define FIRST_ENDPOINTS 3u

static const char help[] =
  "Usage: llmd policy repl [OPTION]... [FILE]\n"
  "\n"
  "Reads lines from standard input. A line of Lua runs as if it stood in the policy's file: expressions\n"
  "print their values, statements run, and nothing of it lasts; p holds the policy's parameters,\n"
  "policy its functions. A line that begins with a colon is for endpoints that are made up (three at\n"
  "first) and a request to decide about. FILE is a policy, FILE.lua, or an EndpointPickerConfig;\n"
  "without it the policy is empty.\n"
  "\n"
  "  :endpoints N             so many endpoints, pod-1 to pod-N, idle: queue and cache are empty\n"
  "  :set I WORD=VALUE...     of endpoint I, or of all (*): what policies read, as in `reads`:\n"
  "                           waiting=3, kv_usage=0.5, label:zone=eu, attr:NAME/PRODUCER=7;\n"
  "                           waiting=unknown, label:zone= (nothing): it is not known\n"
  "  :request WORD=VALUE...   model, prompt, tokens, max_tokens, priority, tenant, session,\n"
  "                           slo_ttft_ms, slo_tpot_ms, stream, header:NAME\n"
  "  :run                     decides, and shows scores and picks\n"
  "  :explain                 why, in full\n"
  "  :commit [I]              it was sent there (to endpoint I): policies learn\n"
  "  :report KIND             first, done, failed or cancelled: what became of it\n"
  "  :seed N                  of the next decisions (default 1)\n"
  "  :now SECONDS             since 1970\n"
  "  :wait SECONDS            so much later\n"
  "  :policy [NAME]           whose Lua it is, when FILE names several\n"
  "  :reload                  reads FILE again; the old policy stays when it is not right\n"
  "  :help, :quit\n"
  "\n"
  "Values with blanks stand in double quotes: \"prompt=two words\".\n"
  "\n"
  "  --strict        decide as llm-d does where it is odd\n"
  "  --modules DIR   also load the plugins in DIR\n"
  "  --loaders DIR   what loads policies (llmd-lua.so) is in DIR\n"
  "  --help\n"
  "\n"
  "Exit code 1 when FILE is not right, or a line failed and standard input is no terminal.\n"
  "\n"
  "Examples:\n"
  "  llmd policy repl sticky.lua\n"
  "  printf ':set 1 waiting=3\\n:set 2 waiting=0\\n:run\\n' | llmd policy repl queue-and-kv.lua\n";

struct repl {
  struct session_options options;
  struct session session;
  struct stage stage;
  char instance[128];
  char *text; /* the configuration of the empty policy */
  int prompts; /* somebody sits there */
  int failed, over;
};

static void blame(struct repl *r, const char *text)
{
  fflush(stdout);
  fprintf(stderr, "%s\n", text);
  r->failed = 1;
}

static void blame_err(struct repl *r, const llmd_err *err)
{
  blame(r, err->text[0] ? err->text : llmd_strerror(err->code));
}

/* ---- Lua ---- */

/* 1: it wants another line. */
static int run_lua(struct repl *r, const char *text)
{
  struct json_text out = {0};
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_lane_eval(r->session.lane, r->instance, text, strlen(text), json_collect, &out, &err);
  int more = rc == LLMD_E_SYNTAX && strstr(err.text, "<eof>") != NULL;
  if (out.len)
    fwrite(out.text, 1, out.len, stdout);
  if (rc && !more)
    blame_err(r, &err);
  free(out.text);
  return more;
}

/* ---- a decision, shown ---- */

static void show(struct repl *r)
{
  struct json_text text = {0};
  cJSON *why;
  char failure[400];
  if (llmd_explain_json(r->session.lane, json_collect, &text) || !(why = cJSON_ParseWithLength(text.text, text.len))) {
    blame(r, "out of memory");
    free(text.text);
    return;
  }
  if (r->stage.decision.status != LLMD_ROUTED)
    printf("rejected: %s (HTTP %" PRIu32 ")\n", policy_text(policy_list(why, "decision"), "reason"),
           r->stage.decision.code);
  policy_print_scores(why);
  if (policy_failure(why, failure, sizeof failure))
    blame(r, failure);
  cJSON_Delete(why);
  free(text.text);
}

/* ---- commands ---- */

/* The words of a line, in place; blanks inside double quotes belong to the word. */
static int cut(char *line, char **word, int most)
{
  int n = 0;
  for (char *p = line, *out;; ) {
    int quoted = 0;
    while (*p == ' ' || *p == '\t')
      p++;
    if (!*p)
      return n;
    if (n == most)
      return -1;
    word[n++] = out = p;
    for (; *p && (quoted || (*p != ' ' && *p != '\t')); p++)
      if (*p == '"')
        quoted = !quoted;
      else
        *out++ = *p;
    if (*p)
      p++;
    *out = 0;
  }
}

static int take_count(struct repl *r, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
  char *end = NULL, what[120];
  unsigned long long v = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
  if (end && !*end && v >= least && v <= most) {
    *out = v;
    return 0;
  }
  (void)snprintf(what, sizeof what, "'%.40s' is not a number from %" PRIu64 " to %" PRIu64, text, least, most);
  blame(r, what);
  return 1;
}

static int take_seconds(struct repl *r, const char *text, uint64_t *ns)
{
  char *end = NULL;
  double v = *text >= '0' && *text <= '9' ? strtod(text, &end) : -1;
  if (end && !*end && v >= 0 && v < 1e10) {
    *ns = (uint64_t)(v * 1e9);
    return 0;
  }
  blame(r, "seconds are a number");
  return 1;
}

/* WORD=VALUE: cuts it at the last '=' before the value begins. */
static char *value_of(char *pair)
{
  char *equals = strchr(pair, '=');
  if (equals)
    *equals++ = 0;
  return equals;
}

static void do_endpoints(struct repl *r, char **arg, int n)
{
  llmd_err err = LLMD_ERR_INIT;
  uint64_t count;
  if (n == 1 && take_count(r, arg[0], 0, STAGE_ENDPOINTS, &count) == 0 &&
      stage_endpoints(&r->stage, (uint32_t)count, &err))
    blame_err(r, &err);
  if (n != 1)
    printf("%" PRIu32 " endpoints\n", r->stage.n);
}

static int set_pair(struct repl *r, uint32_t from, uint32_t to, char *pair)
{
  llmd_err err = LLMD_ERR_INIT;
  char *value = value_of(pair);
  int rc = 0;
  if (!value) {
    blame(r, ":set: WORD=VALUE is expected");
    return 1;
  }
  for (uint32_t i = from; rc == 0 && i < to; i++)
    rc = stage_set(&r->stage, i, pair, value, &err);
  if (rc)
    blame_err(r, &err);
  return rc;
}

static void do_set(struct repl *r, char **arg, int n)
{
  uint32_t from = 0, to = r->stage.n;
  uint64_t which;
  if (n < 2) {
    blame(r, ":set I WORD=VALUE...");
    return;
  }
  if (strcmp(arg[0], "*")) {
    if (take_count(r, arg[0], 1, r->stage.n, &which))
      return;
    from = (uint32_t)which - 1;
    to = from + 1;
  }
  for (int i = 1; i < n; i++)
    if (set_pair(r, from, to, arg[i]))
      return;
}

static void do_request(struct repl *r, char **arg, int n)
{
  for (int i = 0; i < n; i++) {
    llmd_err err = LLMD_ERR_INIT;
    char *value = value_of(arg[i]);
    if (!value) {
      blame(r, ":request WORD=VALUE...");
      return;
    }
    if (stage_request(&r->stage, arg[i], value, &err)) {
      blame_err(r, &err);
      return;
    }
  }
}

static void do_run(struct repl *r, char **arg, int n)
{
  llmd_err err = LLMD_ERR_INIT;
  (void)arg;
  (void)n;
  if (stage_decide(&r->stage, &err))
    blame_err(r, &err);
  else
    show(r);
}

static void do_explain(struct repl *r, char **arg, int n)
{
  (void)arg;
  (void)n;
  if (llmd_explain_table(r->session.lane, shell_write, stdout))
    blame(r, "nothing was decided yet: :run");
}

/* What fails in a decision is in its explanation; in commit and report it is told here alone, at the finest level. */
static void hear(void *ud, int level, const char *component, const char *text, size_t len)
{
  struct repl *r = ud;
  char line[600];
  if (level != LLMD_LOG_DEBUG) {
    shell_log((void *)(uintptr_t)r->options.config, level, component, text, len);
    return;
  }
  (void)snprintf(line, sizeof line, "%.*s", (int)len, text);
  blame(r, line);
}

static void do_commit(struct repl *r, char **arg, int n)
{
  uint64_t which = 0;
  int rc;
  if (!r->stage.decided || r->stage.decision.status != LLMD_ROUTED) {
    blame(r, "nothing was routed yet: :run");
    return;
  }
  if (n && take_count(r, arg[0], 1, r->stage.n, &which))
    return;
  rc = llmd_commit(r->session.lane, r->stage.request, &r->stage.decision,
                   which ? r->stage.endpoint[which - 1].id : 0, &r->session.now);
  if (rc)
    blame(r, llmd_strerror(rc));
}

static void do_report(struct repl *r, char **arg, int n)
{
  static const struct { const char *name; uint32_t kind; } kinds[] = {
    {"first", LLMD_REPORT_FIRST}, {"done", LLMD_REPORT_END}, {"failed", LLMD_REPORT_ERROR},
    {"cancelled", LLMD_REPORT_CANCEL}};
  size_t i = 0;
  int rc;
  while (n == 1 && i < sizeof kinds / sizeof *kinds && strcmp(arg[0], kinds[i].name))
    i++;
  if (n != 1 || i == sizeof kinds / sizeof *kinds) {
    blame(r, ":report first, done, failed or cancelled");
    return;
  }
  rc = r->stage.decided ? llmd_report(r->session.lane, r->stage.decision.ticket, kinds[i].kind, NULL, &r->session.now)
                        : LLMD_E_STALE;
  if (rc)
    blame(r, rc == LLMD_E_STALE ? "no request is under way: :run, :commit" : llmd_strerror(rc));
}

static void do_seed(struct repl *r, char **arg, int n)
{
  if (n != 1)
    printf("seed %" PRIu64 "\n", r->stage.seed);
  else
    (void)take_count(r, arg[0], 0, UINT64_MAX, &r->stage.seed);
}

static void do_now(struct repl *r, char **arg, int n)
{
  if (n != 1)
    printf("now %.3f\n", (double)r->session.now.wall / 1e9);
  else
    (void)take_seconds(r, arg[0], &r->session.now.wall);
}

static void do_wait(struct repl *r, char **arg, int n)
{
  uint64_t ns = 0, next;
  if (n != 1 || take_seconds(r, arg[0], &ns)) {
    if (n != 1)
      blame(r, ":wait SECONDS");
    return;
  }
  r->session.now.mono += ns;
  r->session.now.wall += ns;
  (void)llmd_pool_tick(r->session.pool, &r->session.now, &next);
}

static int choose(struct repl *r, const char *name)
{
  llmd_policy_info info = {.size = sizeof info};
  for (uint32_t i = 0; llmd_scheduler_policy(r->session.scheduler, i, &info) == 0; i++)
    if (!name || (strlen(name) == info.instance.len && !memcmp(name, info.instance.ptr, info.instance.len))) {
      (void)snprintf(r->instance, sizeof r->instance, "%.*s", (int)info.instance.len, info.instance.ptr);
      return 0;
    }
  return LLMD_E_NONE;
}

static void do_policy(struct repl *r, char **arg, int n)
{
  llmd_policy_info info = {.size = sizeof info};
  if (n) {
    if (choose(r, arg[0]))
      blame(r, "there is no policy of that name: :policy lists them");
    return;
  }
  for (uint32_t i = 0; llmd_scheduler_policy(r->session.scheduler, i, &info) == 0; i++)
    printf("%.*s%s%.*s\n", (int)info.instance.len, info.instance.ptr, info.file.len ? ", " : "", (int)info.file.len,
           info.file.len ? info.file.ptr : "");
}

static void do_reload(struct repl *r, char **arg, int n)
{
  llmd_scheduler *fresh = NULL, *old = r->session.scheduler;
  int rc;
  (void)arg;
  (void)n;
  fflush(stdout);
  if (session_scheduler(&r->session, &r->options, &fresh, NULL)) {
    r->failed = 1;
    return;
  }
  rc = llmd_lane_switch(r->session.lane, fresh);
  r->session.scheduler = rc ? old : fresh;
  llmd_scheduler_free(rc ? fresh : old);
  if (rc)
    blame(r, llmd_strerror(rc));
  else if (choose(r, r->instance))
    (void)choose(r, NULL);
}

static void do_help(struct repl *r, char **arg, int n)
{
  const char *from = strstr(help, "  :endpoints"), *to = strstr(help, "  --strict");
  (void)r;
  (void)arg;
  (void)n;
  fwrite(from, 1, (size_t)(to - from), stdout);
}

static void do_quit(struct repl *r, char **arg, int n)
{
  (void)arg;
  (void)n;
  r->over = 1;
}

static void run_command(struct repl *r, char *line)
{
  static const struct {
    const char *name;
    void (*run)(struct repl *r, char **arg, int n);
  } commands[] = {
    {"endpoints", do_endpoints}, {"set", do_set},       {"request", do_request}, {"run", do_run},
    {"explain", do_explain},     {"commit", do_commit}, {"report", do_report},   {"seed", do_seed},
    {"now", do_now},             {"wait", do_wait},     {"policy", do_policy},   {"reload", do_reload},
    {"help", do_help},           {"quit", do_quit},
  };
  char *word[WORDS];
  int n = cut(line, word, WORDS);
  if (n < 0) {
    blame(r, "too many words");
    return;
  }
  for (size_t i = 0; n && i < sizeof commands / sizeof *commands; i++)
    if (strcmp(word[0], commands[i].name) == 0) {
      commands[i].run(r, word + 1, n - 1);
      return;
    }
  blame(r, "no such command; :help lists them");
}

/* ---- lines ---- */

/* One more line behind what is there; 0 at the end of input. */
static int read_line(const struct repl *r, char *line, size_t at)
{
  size_t n;
  if (r->prompts)
    fputs(at ? ">> " : "> ", stdout);
  fflush(stdout); /* whoever sends the next line may wait for this */
  if (LINE - at < 3 || !fgets(line + at, (int)(LINE - at), stdin))
    return 0;
  n = strlen(line + at);
  while (n && (line[at + n - 1] == '\n' || line[at + n - 1] == '\r'))
    line[at + --n] = 0;
  return 1;
}

static int is_blank(const char *line)
{
  return line[strspn(line, " \t")] == 0;
}

/* Lua may take several lines; an empty one ends it. */
static void read_lua(struct repl *r, char *line)
{
  while (run_lua(r, line)) {
    size_t n = strlen(line);
    line[n] = '\n';
    line[n + 1] = 0;
    if (!read_line(r, line, n + 1) || is_blank(line + n + 1)) {
      blame(r, "the Lua before this line is not complete");
      return;
    }
  }
}

static void read_all(struct repl *r)
{
  char *line = malloc(LINE);
  if (!line)
    blame(r, "out of memory");
  while (line && !r->over && read_line(r, line, 0)) {
    if (line[0] == ':')
      run_command(r, line + 1);
    else if (!is_blank(line))
      read_lua(r, line);
  }
  if (r->prompts && !r->over)
    putchar('\n');
  free(line);
}

static int repl(struct repl *r)
{
  llmd_err err = LLMD_ERR_INIT;
  int code = 0;
  r->prompts = isatty(STDIN_FILENO);
  if (!r->options.config)
    r->options.text = r->text = policy_wrap("return {score = function() return 0 end}");
  if (!r->options.config && !r->text)
    code = shell_refuse(r->options.command, "out of memory");
  r->options.log = hear;
  r->options.log_ud = r;
  if (code == 0)
    code = session_open(&r->session, &r->options, NULL);
  if (code == 0 && choose(r, NULL))
    code = shell_refuse(r->options.config, "no policy in it");
  if (code == 0 && stage_open(&r->stage, &r->session, &r->options, FIRST_ENDPOINTS, &err))
    code = shell_refuse(r->options.command, "%s", err.text);
  if (code == 0)
    read_all(r);
  stage_close(&r->stage);
  session_close(&r->session);
  free(r->text);
  return code ? code : r->failed && !r->prompts ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { STRICT = 256, MODULES, LOADERS };
  static const struct option long_options[] = {
    {"strict", 0, NULL, STRICT}, {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"help", 0, NULL, 'h'},
    {0},
  };
  struct repl *r = calloc(1, sizeof *r);
  int option, code = r ? 0 : shell_refuse(argv[0], "out of memory");
  opterr = 0;
  optind = 1;
  if (r)
    r->options.command = argv[0];
  while (code == 0 && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': free(r); return shell_help(&policy_repl);
    case STRICT: r->options.strict = 1; break;
    case MODULES: r->options.modules = optarg; break;
    case LOADERS: r->options.loaders = optarg; break;
    default: code = shell_option(argv[0], option, argv);
    }
  if (code == 0 && argc - optind > 1)
    code = shell_usage(argv[0], "one FILE at a time");
  if (code == 0) {
    r->options.config = argv[optind]; /* NULL behind the last */
    code = repl(r);
  }
  free(r);
  return code;
}

const struct command policy_repl = {
  .name = "repl", .summary = "Lua line by line, on endpoints that are made up", .help = help, .run = run};
