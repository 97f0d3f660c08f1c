/* llmd policy replay: recorded decisions, made again by a policy that did not make them. What would have changed? */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "moved.h"
#include "policy_tool.h"
#include "progress.h"
#include "recorded.h"

#define SHOWN 30u     /* endpoints in the table for people */
#define FAILURES 8u   /* different ones that are told */
#define MOST_LISTED 100000u

static const char help[] =
  "Usage: llmd policy replay [OPTION]... FILE RECORDS...\n"
  "\n"
  "Decides recorded decisions (llmd decide --record, llmd simulate --record) again by another policy,\n"
  "and says what would have changed: decisions, and the load of each endpoint. FILE is a policy,\n"
  "FILE.lua, or an EndpointPickerConfig. Each decision is made on its own, from what its record holds:\n"
  "a request that goes elsewhere does not change the next one. For what follows, llmd simulate.\n"
  "\n"
  "  --list N        show the first N decisions that changed\n"
  "  --strict        decide as llm-d does where it is odd\n"
  "  --fail-open     no candidate left: any endpoint rather than a rejection\n"
  "  --modules DIR   also load the plugins in DIR\n"
  "  --loaders DIR   what loads policies (llmd-lua.so) is in DIR\n"
  "  --json          one object: counts, endpoints, failures, changes\n"
  "  --help\n"
  "\n"
  "In the result, `same` is a request that goes to the same endpoint (of each profile that ran),\n"
  "`failed` one where a policy failed, so that it was left out. then and now are decisions, score the\n"
  "mean total of the endpoint when it was the destination. What no plugin read then is not in the\n"
  "records, and unknown to the policy; its llmd.store is empty. What made the records decides as it\n"
  "did.\n"
  "\n"
  "Exit code 1 when a policy failed, or a file cannot be read to its end.\n"
  "\n"
  "Examples:\n"
  "  llmd simulate --quick --policy default --record quick.rec\n"
  "  llmd policy replay --list 5 sticky.lua quick.rec\n"
  "  llmd policy replay --json sticky.lua *.rec | jq .changed\n";

static const char *const outcome_names[RECORDED_OUTCOMES] = {"same", "changed", "refused", "routed", "failed"};
static const char *const outcome_words[RECORDED_OUTCOMES] = {
  "same", "changed: another endpoint", "refused now", "routed now", "failed: the policy"};

struct failure {
  char text[400];
  uint32_t n;
};

struct replay {
  struct session_options options;
  uint64_t list;
  int json;
  uint32_t n, outcome[RECORDED_OUTCOMES];
  uint32_t missing, missing_most; /* records with columns that are missing; most in one */
  struct moved moved;
  struct failure failure[FAILURES];
  uint32_t n_failures;
  cJSON *changes; /* with --json */
  uint64_t listed;
};

/* ---- one record ---- */

static int count_load(struct replay *p, const struct recorded *r, const llmd_decision *d, int now)
{
  struct moved_row *row;
  if (d->status != LLMD_ROUTED || !d->n_targets)
    return 0;
  row = moved_row(&p->moved, recorded_name(r, d->target[0].id));
  if (!row)
    return LLMD_E_NOMEM;
  *(now ? &row->now : &row->then) += 1;
  *(now ? &row->score_now : &row->score_then) += d->target[0].score;
  return 0;
}

static void count_failure(struct replay *p, const struct recorded *r)
{
  char text[sizeof p->failure[0].text];
  uint32_t i = 0;
  if (!recorded_failure(r, text, sizeof text))
    return;
  while (i < p->n_failures && strcmp(p->failure[i].text, text))
    i++;
  if (i == FAILURES)
    return;
  if (i == p->n_failures)
    memcpy(p->failure[p->n_failures++].text, text, sizeof text);
  p->failure[i].n++;
}

static const char *place_text(const struct recorded *r, const llmd_decision *d, char *text, size_t size)
{
  if (d->status == LLMD_ROUTED && d->n_targets)
    (void)snprintf(text, size, "%s %.3f", recorded_name(r, d->target[0].id), d->target[0].score);
  else
    (void)snprintf(text, size, "rejected %" PRIu32, d->code);
  return text;
}

static int add_side(cJSON *change, const char *side, const struct recorded *r, const llmd_decision *d)
{
  cJSON *o = cJSON_AddObjectToObject(change, side);
  int routed = d->status == LLMD_ROUTED && d->n_targets;
  const char *name = routed ? recorded_name(r, d->target[0].id) : "";
  if (!o || !cJSON_AddStringToObject(o, "status", routed ? "routed" : "rejected"))
    return LLMD_E_NOMEM;
  if (!routed)
    return 0;
  return json_add_str(o, "endpoint", (llmd_str){name, strlen(name)}) || json_add_number(o, "score", d->target[0].score)
           ? LLMD_E_NOMEM
           : 0;
}

static int add_change(struct replay *p, const struct recorded *r, int outcome)
{
  cJSON *o = cJSON_CreateObject();
  if (!o || !cJSON_AddItemToArray(p->changes, o)) {
    cJSON_Delete(o);
    return LLMD_E_NOMEM;
  }
  return json_add_str(o, "file", (llmd_str){r->path, strlen(r->path)}) ||
             !cJSON_AddNumberToObject(o, "record", r->number) ||
             !cJSON_AddStringToObject(o, "outcome", outcome_names[outcome]) || add_side(o, "then", r, &r->was) ||
             add_side(o, "now", r, &r->now)
           ? LLMD_E_NOMEM
           : 0;
}

static int list_change(struct replay *p, struct progress *bar, const struct recorded *r, int outcome)
{
  char then[400], now[400];
  if (outcome == RECORDED_SAME || p->listed == p->list)
    return 0;
  p->listed++;
  if (p->changes)
    return add_change(p, r, outcome);
  progress_end(bar);
  printf("%s record %" PRIu32 ": %s -> %s%s\n", r->path, r->number, place_text(r, &r->was, then, sizeof then),
         place_text(r, &r->now, now, sizeof now), outcome == RECORDED_FAILED ? " (failed)" : "");
  return 0;
}

static int count(struct replay *p, struct progress *bar, const struct recorded *r)
{
  int outcome = recorded_outcome(r);
  p->n++;
  p->outcome[outcome]++;
  p->missing += r->missing > 0;
  p->missing_most = r->missing > p->missing_most ? r->missing : p->missing_most;
  count_failure(p, r);
  if (count_load(p, r, &r->was, 0) || count_load(p, r, &r->now, 1) || list_change(p, bar, r, outcome))
    return shell_refuse(p->options.command, "out of memory");
  return 0;
}

static int replay_file(struct replay *p, struct recorded *r, struct progress *bar, const char *path, int i, int n)
{
  uint32_t before = p->n;
  int code = recorded_file(r, path), rc = 0;
  while (code == 0 && (rc = recorded_next(r)) > 0) {
    code = count(p, bar, r);
    progress_show(bar, path, ((double)i + recorded_done(r)) / n);
  }
  if (code == 0 && rc == 0 && p->n == before)
    code = shell_refuse(path, "no record");
  return code ? code : -rc;
}

/* ---- for people ---- */

static void print_counts(const struct replay *p)
{
  printf("%" PRIu32 " records, decided again by %s\n\n", p->n, p->options.config);
  for (int i = 0; i < RECORDED_OUTCOMES; i++)
    printf("%-28s %8" PRIu32 "  %5.1f %%\n", outcome_words[i], p->outcome[i], 100.0 * p->outcome[i] / p->n);
  for (uint32_t i = 0; i < p->n_failures; i++)
    printf("  %" PRIu32 " x %s\n", p->failure[i].n, p->failure[i].text);
}

static void print_mean(double sum, uint32_t n)
{
  if (n)
    printf(" %10.3f", sum / n);
  else
    printf(" %10s", "-");
}

static void print_load(const struct replay *p)
{
  uint64_t away = 0;
  printf("\n%-36s %8s %8s %8s %10s %10s\n", "endpoint", "then", "now", "moved", "score then", "score now");
  for (uint32_t i = 0; i < p->moved.n; i++) {
    const struct moved_row *r = &p->moved.row[i];
    away += r->then > r->now ? r->then - r->now : 0;
    if (i >= SHOWN)
      continue;
    printf("%-36s %8" PRIu32 " %8" PRIu32, r->name, r->then, r->now);
    printf(r->now == r->then ? " %8" PRId64 : " %+8" PRId64, (int64_t)r->now - r->then);
    print_mean(r->score_then, r->then);
    print_mean(r->score_now, r->now);
    putchar('\n');
  }
  if (p->moved.n > SHOWN)
    printf("%" PRIu32 " more whose load changes less\n", p->moved.n - SHOWN);
  printf("load moved: %" PRIu64 " of %" PRIu32 " decisions\n", away, p->n);
}

static void print_text(const struct replay *p)
{
  if (p->listed)
    putchar('\n');
  print_counts(p);
  if (p->moved.n)
    print_load(p);
  if (p->missing)
    printf("\n%" PRIu32 " records lack columns that this policy reads (at most %" PRIu32 "): these are unknown to it\n",
           p->missing, p->missing_most);
}

/* ---- for programs ---- */

static int add_endpoints(cJSON *root, const struct replay *p)
{
  cJSON *list = cJSON_AddArrayToObject(root, "endpoints");
  for (uint32_t i = 0; list && i < p->moved.n; i++) {
    const struct moved_row *r = &p->moved.row[i];
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o) || json_add_str(o, "name", (llmd_str){r->name, strlen(r->name)}) ||
        !cJSON_AddNumberToObject(o, "then", r->then) || !cJSON_AddNumberToObject(o, "now", r->now) ||
        !cJSON_AddNumberToObject(o, "moved", (double)r->now - r->then) ||
        json_add_number(o, "score_then", r->score_then / r->then) ||
        json_add_number(o, "score_now", r->score_now / r->now))
      return LLMD_E_NOMEM;
  }
  return list ? 0 : LLMD_E_NOMEM;
}

static int add_failures(cJSON *root, const struct replay *p)
{
  cJSON *list = cJSON_AddArrayToObject(root, "failures");
  for (uint32_t i = 0; list && i < p->n_failures; i++) {
    const struct failure *f = &p->failure[i];
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o) || json_add_str(o, "text", (llmd_str){f->text, strlen(f->text)}) ||
        !cJSON_AddNumberToObject(o, "records", f->n))
      return LLMD_E_NOMEM;
  }
  return list ? 0 : LLMD_E_NOMEM;
}

static int add_counts(cJSON *root, const struct replay *p)
{
  cJSON *missing;
  if (!cJSON_AddNumberToObject(root, "records", p->n))
    return LLMD_E_NOMEM;
  for (int i = 0; i < RECORDED_OUTCOMES; i++)
    if (!cJSON_AddNumberToObject(root, outcome_names[i], p->outcome[i]))
      return LLMD_E_NOMEM;
  missing = cJSON_AddObjectToObject(root, "missing");
  return missing && cJSON_AddNumberToObject(missing, "records", p->missing) &&
             cJSON_AddNumberToObject(missing, "columns", p->missing_most)
           ? 0
           : LLMD_E_NOMEM;
}

static int print_json(struct replay *p)
{
  cJSON *root = cJSON_CreateObject();
  const char *file = p->options.config;
  int ok = root && json_add_str(root, "policy", (llmd_str){file, strlen(file)}) == 0 && !add_counts(root, p) &&
           !add_endpoints(root, p) && !add_failures(root, p) && cJSON_AddItemToObject(root, "changes", p->changes);
  if (!ok) {
    cJSON_Delete(root);
    return shell_refuse(p->options.command, "out of memory");
  }
  p->changes = NULL;
  return json_print(stdout, root) ? shell_refuse(p->options.command, "out of memory") : 0;
}

/* ---- the command ---- */

static int replay(struct replay *p, char **files, int n)
{
  struct recorded r;
  struct progress bar;
  int code = recorded_open(&r, &p->options), worst = 0;
  if (code == 0 && p->json && !(p->changes = cJSON_CreateArray()))
    code = shell_refuse(p->options.command, "out of memory");
  progress_start(&bar);
  for (int i = 0; code == 0 && i < n; i++) {
    int told = replay_file(p, &r, &bar, files[i], i, n);
    worst = told ? told : worst;
  }
  progress_end(&bar);
  if (p->n) {
    moved_sort(&p->moved);
    if (p->json)
      code = print_json(p);
    else
      print_text(p);
  }
  recorded_close(&r);
  moved_free(&p->moved);
  cJSON_Delete(p->changes);
  return code ? code : worst ? worst : p->outcome[RECORDED_FAILED] ? EXIT_REFUSED : EXIT_RIGHT;
}

static int run(int argc, char **argv)
{
  enum { LIST = 256, STRICT, FAIL_OPEN, MODULES, LOADERS, JSON };
  static const struct option long_options[] = {
    {"list", 1, NULL, LIST}, {"strict", 0, NULL, STRICT}, {"fail-open", 0, NULL, FAIL_OPEN},
    {"modules", 1, NULL, MODULES}, {"loaders", 1, NULL, LOADERS}, {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  struct replay p = {.options = {.command = argv[0]}};
  int option, code = 0;
  opterr = 0;
  optind = 1;
  while (code == 0 && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&policy_replay);
    case LIST: code = shell_count(argv[0], "--list", optarg, 0, MOST_LISTED, &p.list); break;
    case STRICT: p.options.strict = 1; break;
    case FAIL_OPEN: p.options.fail_open = 1; break;
    case MODULES: p.options.modules = optarg; break;
    case LOADERS: p.options.loaders = optarg; break;
    case JSON: p.json = 1; break;
    default: return shell_option(argv[0], option, argv);
    }
  if (code)
    return code;
  if (argc - optind < 2)
    return shell_usage(argv[0], optind < argc ? "which records?" : "which policy?");
  p.options.config = argv[optind];
  return replay(&p, argv + optind + 1, argc - optind - 1);
}

const struct command policy_replay = {
  .name = "replay", .summary = "what would a policy have changed?", .help = help, .run = run};
