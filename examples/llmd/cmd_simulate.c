/* llmd simulate: what a policy is worth. Engines are simulated; every decision is made by libllmd. */
#define _POSIX_C_SOURCE 200809L
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config_file.h"
#include "json.h"
#include "loader_dir.h"
#include "progress.h"
#include "shell.h"
#include "sim_compare.h"
#include "sim_router_llmd.h"

#define MOST_POLICIES 16
#define RECORDS 1000

static const char help[] =
  "Usage: llmd simulate [OPTION]...\n"
  "\n"
  "Sends a workload to a simulated cluster of vLLM engines and shows what each policy makes of it.\n"
  "Every decision is made by libllmd, fed with what a real proxy would see: metrics with their delay,\n"
  "and its own record of what is in flight.\n"
  "\n"
  "  --policy P         random, round-robin, default (llm-d's default policy), a file with an\n"
  "                     EndpointPickerConfig, or a policy, FILE.lua. Several run side by side on the\n"
  "                     same arrivals. Default: random, round-robin, default\n"
  "  --workload W       ladder (default): llm-d's shared-prefix benchmark, 150 x 5 prompts of\n"
  "                     6,000 + 1,200 tokens, 1,000 out; tiered: llm-d's benchmark of tiered caches,\n"
  "                     250 x 5 prompts of 16,000 + 256 tokens, 256 out, on engines of 298,000\n"
  "                     tokens; or mooncake:FILE, a trace in Mooncake's JSONL\n"
  "  --quick            five rungs of the ladder\n"
  "  --rates LIST       other rungs: RATE:SECONDS,...; with a w behind it a rung is warm-up:\n"
  "                     15:50w,20:38,40:38\n"
  "  --speed X          a trace X times as fast\n"
  "  --limit N          the first N requests of a trace\n"
  "  --engines N        engines (default 8)\n"
  "  --index KIND       what the prefix scorers see: approx (default), libllmd's own guess; or exact,\n"
  "                     the engines' caches as they are\n"
  "  --cpu-tokens N     a tier in each engine's CPU memory, N tokens large\n"
  "  --event-lag MS     what engines tell of their caches arrives MS later (default 10); policies with\n"
  "                     a precise-prefix-cache-producer listen\n"
  "  --event-loss P     a message is lost with probability P\n"
  "  --event-keep N     an engine can repeat its last N messages (default 10000)\n"
  "  --restart S        every S seconds one engine's cache is emptied: by a new process, by a\n"
  "                     reset, and so on\n"
  "  --metrics-ms N     engines are scraped every N ms (default 50); 0: seen as they are each time\n"
  "  --lag-ms N         a scrape arrives N ms later (default 10)\n"
  "  --coefficients FILE[:SET]\n"
  "                     step times of an engine, a set of a JSON file (built in: Qwen3-32B, TP2,\n"
  "                     H100; for traces without gain from shared blocks in decoding)\n"
  "  --seed N           seed of arrivals and decisions (default 1)\n"
  "  --seeds N          N seeds, from --seed on; the table shows medians\n"
  "  --strict           decide as llm-d does where it is odd\n"
  "  --modules DIR      also load the plugins in DIR\n"
  "  --loaders DIR      what loads policies (llmd-lua.so) is in DIR\n"
  "  --record FILE      write decisions there, for llmd policy replay: of one --policy and one seed\n"
  "  --records N        so many of them, evenly spread (default 1000)\n"
  "  --json             one object: {\"simulated\": true, \"runs\": [...]}, each run in the shape of\n"
  "                     inference-perf's reports\n"
  "  --requests         with --json: every request, too\n"
  "  --help\n"
  "\n"
  "In the table, TTFT is the time to the first token, /floor what it is beside an idle cluster with\n"
  "an endless cache, hit the cached part of all prompts, imbal the busiest engine's work beside the\n"
  "average, decide the time of one decision.\n"
  "\n"
  "Of policies that listen to the engines two more tables tell what came (events and megabytes a\n"
  "second of this machine's time), and whether the index is right: at each decision its answer is\n"
  "held against the engines' caches. missed: blocks that it does not know (yet); wrong: blocks that\n"
  "are there no more; promised: on their way with a request that was sent there.\n"
  "\n"
  "Examples:\n"
  "  llmd simulate --quick --policy random --policy default\n"
  "  llmd simulate --index exact --policy my.yaml --seeds 3 --rates 15:50w,30:25,40:38\n"
  "  llmd simulate --policy default --policy precise.yaml --event-loss 0.01 --restart 60\n"
  "  llmd simulate --quick --policy default --policy mine.lua\n"
  "  llmd simulate --quick --policy default --record quick.rec && llmd policy replay mine.lua quick.rec\n"
  "  llmd simulate --workload tiered --cpu-tokens 1312000 --policy precise.yaml\n"
  "  llmd simulate --workload mooncake:conversation.jsonl --policy default --json >run.json\n";

struct policy {
  const char *spec;
  char label[64];
  char words[80];
  int own; /* the simulator's, not libllmd's */
  struct config_file config;
};

struct options {
  struct policy policy[MOST_POLICIES];
  uint32_t n_policies;
  const char *workload;
  const char *rates;
  const char *coefficients;
  const char *modules, *loaders;
  char loader_dir[LOADER_DIR_ROOM];
  const char *record;
  uint64_t records;
  int quick, exact, strict, json, requests;
  uint64_t engines, seed, seeds, limit, cpu_tokens, event_keep;
  double speed, metrics_ms, lag_ms, event_lag, event_loss, restart;
};

struct simulation {
  const struct options *o;
  struct sim_model model;
  struct sim_compare compare;
  const char *labels[MOST_POLICIES], *words[MOST_POLICIES];
  cJSON *runs;                             /* with --json */
  FILE *records;                           /* with --record */
  struct sim_result result[MOST_POLICIES]; /* with one seed, for its table */
  struct progress progress;
  uint32_t done; /* runs */
  const char *now; /* policy that runs */
};

/* ---- options ---- */

enum {
  POLICY = 256, WORKLOAD, QUICK, RATES, SPEED, LIMIT, ENGINES, INDEX, METRICS_MS, LAG_MS, COEFFICIENTS, SEED, SEEDS,
  STRICT, MODULES, LOADERS, RECORD, HOW_MANY, JSON, REQUESTS, CPU_TOKENS, EVENT_LAG, EVENT_LOSS, EVENT_KEEP, RESTART,
};

static const struct option long_options[] = {
  {"policy", 1, NULL, POLICY}, {"workload", 1, NULL, WORKLOAD}, {"quick", 0, NULL, QUICK}, {"rates", 1, NULL, RATES},
  {"speed", 1, NULL, SPEED}, {"limit", 1, NULL, LIMIT}, {"engines", 1, NULL, ENGINES}, {"index", 1, NULL, INDEX},
  {"metrics-ms", 1, NULL, METRICS_MS}, {"lag-ms", 1, NULL, LAG_MS}, {"coefficients", 1, NULL, COEFFICIENTS},
  {"seed", 1, NULL, SEED}, {"seeds", 1, NULL, SEEDS}, {"strict", 0, NULL, STRICT}, {"modules", 1, NULL, MODULES},
  {"loaders", 1, NULL, LOADERS}, {"record", 1, NULL, RECORD}, {"records", 1, NULL, HOW_MANY},
  {"json", 0, NULL, JSON}, {"requests", 0, NULL, REQUESTS}, {"cpu-tokens", 1, NULL, CPU_TOKENS},
  {"event-lag", 1, NULL, EVENT_LAG}, {"event-loss", 1, NULL, EVENT_LOSS}, {"event-keep", 1, NULL, EVENT_KEEP},
  {"restart", 1, NULL, RESTART}, {"help", 0, NULL, 'h'}, {0},
};

/* "dir/my-policy.yaml" as "my-policy". */
static void name_after_file(struct policy *p, const char *spec)
{
  const char *slash = strrchr(spec, '/');
  const char *base = slash ? slash + 1 : spec;
  const char *dot = strrchr(base, '.');
  int len = (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base));
  (void)snprintf(p->label, sizeof p->label, "%.*s", len, base);
  (void)snprintf(p->words, sizeof p->words, "%.*s", len, base);
}

static int add_policy(const char *me, struct options *o, const char *spec)
{
  struct policy *p = &o->policy[o->n_policies];
  if (o->n_policies == MOST_POLICIES)
    return shell_usage(me, "more than %d policies", MOST_POLICIES);
  *p = (struct policy){.spec = spec, .own = strcmp(spec, "round-robin") == 0};
  name_after_file(p, spec);
  if (p->own)
    (void)snprintf(p->label, sizeof p->label, "round-robin*");
  if (p->own)
    (void)snprintf(p->words, sizeof p->words, "round robin");
  if (strcmp(spec, "default") == 0)
    (void)snprintf(p->words, sizeof p->words, "llm-d's default policy");
  o->n_policies++;
  return 0;
}

static int set_index(const char *me, struct options *o, const char *kind)
{
  o->exact = strcmp(kind, "exact") == 0;
  if (!o->exact && strcmp(kind, "approx") != 0)
    return shell_usage(me, "--index: '%s' is neither exact nor approx", kind);
  return 0;
}

static int set_option(const char *me, struct options *o, int option)
{
  switch (option) {
  case POLICY: return add_policy(me, o, optarg);
  case WORKLOAD: o->workload = optarg; return 0;
  case QUICK: o->quick = 1; return 0;
  case RATES: o->rates = optarg; return 0;
  case SPEED: return shell_number(me, "--speed", optarg, 1e-3, 1e3, &o->speed);
  case LIMIT: return shell_count(me, "--limit", optarg, 1, 1u << 24, &o->limit);
  case ENGINES: return shell_count(me, "--engines", optarg, 1, 16384, &o->engines);
  case INDEX: return set_index(me, o, optarg);
  case METRICS_MS: return shell_number(me, "--metrics-ms", optarg, 0, 1e6, &o->metrics_ms);
  case LAG_MS: return shell_number(me, "--lag-ms", optarg, 0, 1e6, &o->lag_ms);
  case COEFFICIENTS: o->coefficients = optarg; return 0;
  case SEED: return shell_count(me, "--seed", optarg, 0, UINT64_MAX / 2, &o->seed);
  case SEEDS: return shell_count(me, "--seeds", optarg, 1, 1000, &o->seeds);
  case STRICT: o->strict = 1; return 0;
  case MODULES: o->modules = optarg; return 0;
  case LOADERS: o->loaders = optarg; return 0;
  case RECORD: o->record = optarg; return 0;
  case HOW_MANY: return shell_count(me, "--records", optarg, 1, 1u << 24, &o->records);
  case JSON: o->json = 1; return 0;
  case CPU_TOKENS: return shell_count(me, "--cpu-tokens", optarg, 0, 1u << 30, &o->cpu_tokens);
  case EVENT_LAG: return shell_number(me, "--event-lag", optarg, 0, 6e4, &o->event_lag);
  case EVENT_LOSS: return shell_number(me, "--event-loss", optarg, 0, 0.99, &o->event_loss);
  case EVENT_KEEP: return shell_count(me, "--event-keep", optarg, 1, 1u << 24, &o->event_keep);
  case RESTART: return shell_number(me, "--restart", optarg, 0.1, 1e6, &o->restart);
  default: o->requests = 1; return 0;
  }
}

static int is_tiered(const struct options *o)
{
  return strcmp(o->workload, "tiered") == 0;
}

static int is_ladder(const struct options *o)
{
  return strcmp(o->workload, "ladder") == 0 || is_tiered(o);
}

/* What does not go together, and what is left to itself. */
static int settle(const char *me, struct options *o, int lag_given)
{
  static const char *const usual[] = {"random", "round-robin", "default"};
  int ladder = is_ladder(o);
  if (!ladder && strncmp(o->workload, "mooncake:", 9) != 0)
    return shell_usage(me, "--workload: '%s' is not ladder, tiered or mooncake:FILE", o->workload);
  if ((!ladder && (o->quick || o->rates)) || (o->quick && is_tiered(o)))
    return shell_usage(me, "--quick and --rates belong to the ladder");
  if (ladder && (o->speed != 1 || o->limit))
    return shell_usage(me, "--speed and --limit belong to a trace");
  if (o->quick && o->rates)
    return shell_usage(me, "--quick and --rates name different rungs");
  if (o->requests && !o->json)
    return shell_usage(me, "--requests needs --json");
  if (o->record && (o->n_policies != 1 || o->seeds != 1 || o->policy[0].own))
    return shell_usage(me, "--record goes with one --policy that is not round-robin, and one seed");
  if (o->records && !o->record)
    return shell_usage(me, "--records needs --record");
  if (o->metrics_ms > 0 && (o->metrics_ms < 0.1 || o->lag_ms / o->metrics_ms > 1e4))
    return shell_usage(me, "--metrics-ms: 0, or at least 0.1 and a ten-thousandth of --lag-ms");
  if (o->metrics_ms == 0 && lag_given && o->lag_ms > 0)
    return shell_usage(me, "--lag-ms goes with a period: --metrics-ms is 0");
  if (o->metrics_ms == 0)
    o->lag_ms = 0;
  if (o->n_policies == 0)
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
      add_policy(me, o, usual[i]);
  return 0;
}

/* 0, an exit code, or -1 when help was asked for. */
static int read_options(int argc, char **argv, struct options *o)
{
  int option, lag_given = 0;
  *o = (struct options){.workload = "ladder", .engines = 8, .seed = 1, .seeds = 1, .speed = 1, .metrics_ms = 50,
                        .lag_ms = 10, .event_lag = 10, .event_keep = SIM_EVENT_KEEP};
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
    int code;
    if (option == 'h')
      return -1;
    if (option == '?' || option == ':')
      return shell_option(argv[0], option, argv);
    lag_given |= option == LAG_MS;
    code = set_option(argv[0], o, option);
    if (code)
      return code;
  }
  if (optind < argc)
    return shell_usage(argv[0], "'%s': policies are given with --policy", argv[optind]);
  return settle(argv[0], o, lag_given);
}

/* ---- what is run ---- */

static int load_model(const struct options *o, struct sim_model *model)
{
  llmd_err err = LLMD_ERR_INIT;
  char path[4096];
  const char *set = SIM_MODEL_DEFAULT, *colon = o->coefficients ? strrchr(o->coefficients, ':') : NULL;
  sim_model_default(model);
  model->cpu_tokens = (uint32_t)o->cpu_tokens;
  if (!is_ladder(o))
    model->beta = 1; /* the gain of shared blocks in decoding is known for the ladder alone */
  if (is_tiered(o))
    model->kv_tokens = SIM_TIERED_KV_TOKENS;
  if (!o->coefficients)
    return 0;
  (void)snprintf(path, sizeof path, "%.*s", colon ? (int)(colon - o->coefficients) : (int)strlen(o->coefficients),
                 o->coefficients);
  if (colon)
    set = colon + 1;
  if (sim_model_load(model, path, set, &err) == 0) {
    model->cpu_tokens = (uint32_t)o->cpu_tokens;
    return 0;
  }
  if (strcmp(err.path, path) == 0)
    err.path[0] = 0;
  return shell_blame(path, &err);
}

static int load_ladder(const struct options *o, uint64_t seed, struct sim_workload *workload)
{
  llmd_err err = LLMD_ERR_INIT;
  struct sim_ladder ladder;
  struct sim_rate *rates = NULL;
  int code;
  if (o->quick)
    sim_ladder_quick(&ladder);
  else if (is_tiered(o))
    sim_ladder_tiered(&ladder);
  else
    sim_ladder_default(&ladder);
  if (o->rates) {
    if (sim_rates_parse(o->rates, &rates, &ladder.n_rates, &err))
      return shell_usage("llmd simulate", "--rates: %s (at character %u)", err.text, err.column);
    ladder.rates = rates;
  }
  ladder.seed = seed;
  code = sim_workload_ladder(workload, &ladder, &err);
  free(rates);
  return code ? shell_blame("--rates", &err) : 0;
}

static int load_trace(const struct options *o, uint64_t seed, struct sim_workload *workload)
{
  llmd_err err = LLMD_ERR_INIT;
  struct sim_trace trace;
  const char *path = o->workload + strlen("mooncake:");
  sim_trace_default(&trace);
  trace.speed = o->speed;
  trace.limit = (uint32_t)o->limit;
  trace.seed = seed;
  if (sim_workload_mooncake(workload, path, &trace, &err) == 0)
    return 0;
  err.path[0] = 0;
  return shell_blame(path, &err);
}

static int load_configs(struct options *o)
{
  static const char random[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: random-picker\n"
    "schedulingProfiles:\n- name: default\n  plugins:\n  - pluginRef: random-picker\n";
  for (uint32_t i = 0; i < o->n_policies; i++) {
    struct policy *p = &o->policy[i];
    if (p->own || strcmp(p->spec, "default") == 0)
      continue;
    if (strcmp(p->spec, "random") == 0) {
      p->config.text = (struct file){malloc(sizeof random), sizeof random - 1};
      if (!p->config.text.text)
        return shell_refuse("llmd simulate", "out of memory");
      memcpy(p->config.text.text, random, sizeof random);
    } else if (config_read(p->spec, &p->config))
      return EXIT_REFUSED;
  }
  return loader_dir_find("llmd simulate", o->loaders, o->loader_dir);
}

static int blame_policy(const struct policy *p, const llmd_err *err)
{
  return p->config.name ? config_blame(&p->config, err) : shell_blame(p->spec, err);
}

static int open_router(const struct simulation *s, const struct policy *p, uint64_t seed,
                       const struct sim_workload *workload, struct sim_router *router)
{
  llmd_err err = LLMD_ERR_INIT;
  struct sim_llmd_options options = {
    .name = p->label, .config = p->config.text.text, .config_len = p->config.text.len, .workload = workload,
    .model = &s->model, .loaders = loader_dir_option(s->o->loader_dir), .policies = config_policy_dir(&p->config),
    .n_engines = (uint32_t)s->o->engines, .seed = seed, .exact = s->o->exact, .strict = s->o->strict,
    .log = seed == s->o->seed ? shell_log : NULL, .log_ud = (void *)(uintptr_t)p->spec,
    .modules = s->o->modules,
    .record = s->records ? shell_write : NULL, .record_ud = s->records,
    .n_records = s->o->records ? (uint32_t)s->o->records : RECORDS,
  };
  if (!p->own)
    return sim_router_llmd(router, &options, &err) ? blame_policy(p, &err) : 0;
  if (sim_router_round_robin(router))
    return shell_refuse("llmd simulate", "out of memory");
  router->name = p->label;
  return 0;
}

/* ---- running ---- */

static uint64_t clock_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int show_progress(void *ud, double fraction)
{
  struct simulation *s = ud;
  progress_show(&s->progress, s->now, (s->done + fraction) / (double)(s->o->n_policies * s->o->seeds));
  return 0;
}

/* Takes what is wanted of a run; the run itself is kept only for the table of one seed. */
static int keep(struct simulation *s, uint32_t policy, uint32_t seed, struct sim_result *run)
{
  cJSON *json;
  int code = sim_compare_add(&s->compare, policy, seed, run);
  if (code == 0 && s->runs) {
    json = sim_report_json(run, s->o->requests);
    if (!json || !cJSON_AddItemToArray(s->runs, json))
      code = LLMD_E_NOMEM;
  }
  if (code == 0 && s->o->seeds == 1 && !s->o->json)
    s->result[policy] = *run;
  else
    sim_result_free(run);
  return code;
}

static int run_policy(struct simulation *s, uint32_t policy, uint32_t seed, const struct sim_workload *workload)
{
  const struct options *o = s->o;
  struct sim_config config = {
    .model = &s->model, .workload = workload, .n_engines = (uint32_t)o->engines, .seed = o->seed + seed,
    .metrics_period = o->metrics_ms / 1e3, .metrics_lag = o->lag_ms / 1e3, .event_lag = o->event_lag / 1e3,
    .event_loss = o->event_loss, .event_keep = (uint32_t)o->event_keep, .restart_period = o->restart,
    .clock_ns = o->policy[policy].own ? NULL : clock_ns, /* what is timed is libllmd */
  };
  struct sim_router router = {0};
  struct sim_result run = {0};
  int code = open_router(s, &o->policy[policy], o->seed + seed, workload, &router);
  if (code)
    return code;
  s->now = o->policy[policy].words;
  show_progress(s, 0);
  code = sim_run(&config, &router, &run, show_progress, s);
  if (code == 0)
    code = keep(s, policy, seed, &run);
  router.destroy(router.self);
  s->done++;
  return code ? shell_refuse("llmd simulate", "%s: %s", o->policy[policy].spec, llmd_strerror(code)) : 0;
}

/* ---- results ---- */

static void print_title(const struct simulation *s, const struct sim_workload *w)
{
  const struct options *o = s->o;
  printf("Simulated: %u engines (%s, %u cached tokens each", (unsigned)o->engines, s->model.name, s->model.kv_tokens);
  if (s->model.cpu_tokens)
    printf(", %u in CPU memory", s->model.cpu_tokens);
  printf("); %s, %u requests", w->name, w->n_requests);
  if (o->seeds > 1)
    printf(", %u seeds", (unsigned)o->seeds);
  printf("\n%s prefix index; ", o->exact ? "Exact" : "Approximate");
  if (o->metrics_ms > 0)
    printf("engines scraped every %g ms, seen %g ms later\n\n", o->metrics_ms, o->lag_ms);
  else
    printf("engines seen as they are\n\n");
}

static int print_result(struct simulation *s, const struct sim_workload *w)
{
  int code = 0;
  print_title(s, w);
  if (s->o->seeds == 1) {
    code = sim_report_table(stdout, s->result, s->o->n_policies);
    sim_report_heard(stdout, s->result, s->o->n_policies);
  }
  else
    sim_compare_table(stdout, &s->compare, w);
  for (uint32_t i = 0; i < s->o->n_policies; i++)
    if (s->o->policy[i].own) {
      printf("* the simulator's own: llm-d has no round robin\n");
      break;
    }
  printf("\n");
  if (w->stages[0].rate > 0) {
    sim_compare_knees(stdout, &s->compare, w);
    printf("\n");
  }
  sim_compare_words(stdout, &s->compare, w);
  return code ? shell_refuse("llmd simulate", "%s", llmd_strerror(code)) : 0;
}

static int print_json(struct simulation *s)
{
  cJSON *root = cJSON_CreateObject();
  if (!root || !cJSON_AddTrueToObject(root, "simulated") ||
      !cJSON_AddStringToObject(root, "index", s->o->exact ? "exact" : "approx") ||
      !cJSON_AddItemToObject(root, "runs", s->runs)) {
    cJSON_Delete(root);
    return shell_refuse("llmd simulate", "out of memory");
  }
  s->runs = NULL;
  return json_print(stdout, root) ? shell_refuse("llmd simulate", "out of memory") : 0;
}

/* All policies on one seed's arrivals. */
static int run_seed(struct simulation *s, uint32_t seed)
{
  struct sim_workload w = {0};
  uint64_t number = s->o->seed + seed;
  int code = is_ladder(s->o) ? load_ladder(s->o, number, &w) : load_trace(s->o, number, &w);
  if (code)
    return code;
  if (seed == 0 && sim_compare_init(&s->compare, s->o->n_policies, (uint32_t)s->o->seeds, w.n_stages))
    code = shell_refuse("llmd simulate", "out of memory");
  s->compare.policy = s->labels;
  s->compare.words = s->words;
  for (uint32_t i = 0; code == 0 && i < s->o->n_policies; i++)
    code = run_policy(s, i, seed, &w);
  if (code == 0 && seed + 1 == s->o->seeds) {
    progress_end(&s->progress);
    code = s->o->json ? print_json(s) : print_result(s, &w);
  }
  for (uint32_t i = 0; i < s->o->n_policies; i++)
    sim_result_free(&s->result[i]);
  sim_workload_free(&w);
  return code;
}

static int simulate(struct simulation *s)
{
  int code = load_model(s->o, &s->model);
  for (uint32_t i = 0; i < s->o->n_policies; i++) {
    s->labels[i] = s->o->policy[i].label;
    s->words[i] = s->o->policy[i].words;
  }
  if (code == 0 && s->o->json && !(s->runs = cJSON_CreateArray()))
    code = shell_refuse("llmd simulate", "out of memory");
  progress_start(&s->progress);
  for (uint32_t seed = 0; code == 0 && seed < s->o->seeds; seed++)
    code = run_seed(s, seed);
  if (code)
    progress_end(&s->progress);
  sim_compare_free(&s->compare);
  cJSON_Delete(s->runs);
  return code;
}

static int run(int argc, char **argv)
{
  struct options o;
  struct simulation s = {.o = &o};
  int code = read_options(argc, argv, &o);
  if (code == -1)
    return shell_help(&cmd_simulate);
  if (code == 0)
    code = load_configs(&o);
  if (code == 0 && o.record && !(s.records = fopen(o.record, "wb")))
    code = shell_refuse(argv[0], "%s: cannot be written", o.record);
  if (code == 0)
    code = simulate(&s);
  if (s.records && fclose(s.records) && code == 0)
    code = shell_refuse(argv[0], "%s: cannot be written", o.record);
  for (uint32_t i = 0; i < o.n_policies; i++)
    config_free(&o.policy[i].config);
  return code;
}

const struct command cmd_simulate = {
  .name = "simulate", .summary = "what a policy is worth on a simulated cluster", .help = help, .run = run};
