/* llmd engine: engines to try a router on. The simulator's model in real time, speaking vLLM. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <llmd/prefix.h>

#include "engine.h"
#include "shell.h"

#define MOST_ENGINES 256u
#define MOST_LORAS 64u

static const char help[] =
  "Usage: llmd engine [OPTION]...\n"
  "\n"
  "Engines without a model, to try a router on: they speak as vLLM does, take as long as the simulator\n"
  "says, keep a cache of blocks and tell of it. It is no language model: answers are filler text, the\n"
  "tokenizer is a stand-in (four bytes are a token, hashed into a vocabulary of 131,072). A prompt\n"
  "has the same tokens, blocks and answer on every engine.\n"
  "\n"
  "  --port N             of the first one (default 8000); 0: any\n"
  "  --host ADDRESS       default 127.0.0.1\n"
  "  --count N            N engines, on ports in a row\n"
  "  --speed X            X times as fast as the model says (default 1)\n"
  "  --instant            answers at once: no model, no tokens, no cache, no events; usage counts a\n"
  "                       token for four bytes of the request. For measuring what is in front of it\n"
  "  --model NAME         default llmd-filler\n"
  "  --lora NAME          an adapter; again for each\n"
  "  --max-model-len N    tokens of prompt and answer (default: what the cache holds, at most 131072)\n"
  "  --answer-tokens N    of an answer, when the request does not say (default 64)\n"
  "  --block-size N       tokens in a block (default 16)\n"
  "  --kv-tokens N        tokens that the cache holds\n"
  "  --cpu-tokens N       a tier in CPU memory, N tokens large\n"
  "  --max-num-seqs N     requests computed at a time\n"
  "  --coefficients FILE[:SET]\n"
  "                       step times, a set of a JSON file (built in: Qwen3-32B, TP2, H100)\n"
  "  --hash-algo NAME     sha256 (default), sha256_cbor, xxhash, xxhash_cbor\n"
  "  --hash-seed TEXT     vLLM's PYTHONHASHSEED; xxhash needs one\n"
  "  --kv-events          tells of its cache over ZMQ, on any ports\n"
  "  --kv-events-port N, --kv-events-replay-port N\n"
  "                       on these; 0: any\n"
  "  --kv-events-connect tcp://HOST:PORT\n"
  "                       to a subscriber that listens there\n"
  "  --kv-events-keep N   messages kept for replays (default 10000)\n"
  "  --page-bytes N       a metrics page of at least N bytes\n"
  "  --idle-ms N          hangs up on connections that are idle for N ms\n"
  "  --max-requests N     and on those that carried N requests\n"
  "  --fault KIND[:NAME=VALUE,...]\n"
  "                       what it does wrong, see below; again for more\n"
  "  --fault-seed N       of those with a probability\n"
  "  --record             keeps the last POST for GET /received\n"
  "  --ready-fd N         says where it is to descriptor N, too, and closes it\n"
  "  --help\n"
  "\n"
  "Each says on standard error where it is: \"engine: listening on 127.0.0.1:8000 [events tcp://...\n"
  "replay tcp://...]\". They end with SIGTERM or SIGINT.\n"
  "\n"
  "Pages: /v1/chat/completions, /v1/completions (one prompt, n 1; functions are called when tool_choice\n"
  "says so or the last message names one), .../render, /tokenize, /v1/models, /metrics, /health,\n"
  "/version, /load, /kv_event_sources, /reset_prefix_cache; from this machine only: /fault, /received.\n"
  "Not done: stop, logprobs, response_format, images (16 equal tokens each).\n"
  "\n"
  "Faults, by the option or by POST /fault {\"kind\": KIND, NAME: VALUE}; GET lists them:\n"
  "  slow      first_ms (default 1000) before the answer, token_ms before each further token\n"
  "  hang      no answer, ever\n"
  "  reset     the connection breaks after `bytes` of the answer's body\n"
  "  half      after half of the answer\n"
  "  500, 503  or any other status of an error\n"
  "  junk      200, and bytes that mean nothing\n"
  "  close     a connection that was used before is gone with the request, as if it had been idle\n"
  "  nan, lie, huge (bytes), binary (bytes), endless, drip (token_ms a byte), empty\n"
  "            metrics that are wrong\n"
  "  Each with count (requests that it strikes; default: all), probability, and path (the beginning of\n"
  "  paths that it strikes; default: completions, or /metrics).\n"
  "By POST alone, at once:\n"
  "  gap       the next `count` event messages never arrive; \"lost\": true: nor are they kept\n"
  "  restart   all requests are reset, the cache is empty, numbers of events and counters begin at 0\n"
  "  none      no faults any more\n"
  "\n"
  "Examples:\n"
  "  llmd engine --port 8000 --count 8 --speed 10 --kv-events\n"
  "  llmd engine --fault slow:first_ms=5000 --fault 503:count=3\n"
  "  curl -d '{\"kind\": \"reset\", \"bytes\": 100, \"count\": 1}' http://127.0.0.1:8000/fault\n";

struct job {
  const char *command;
  struct engine_options options;
  const char *lora[MOST_LORAS];
  struct engine_faults faults;
  const char *coefficients;
  uint64_t port, count, kv_tokens, cpu_tokens, max_seqs, most_tokens, answer_tokens, block, fault_seed, ready_fd;
  uint64_t events_port, replay_port, keep, page_bytes, idle_ms, max_requests;
  uv_loop_t loop;
  uv_signal_t signal[2];
  struct engine *engine[MOST_ENGINES];
  uint32_t n_engines;
};

/* ---- options ---- */

enum {
  PORT = 256, HOST, COUNT, SPEED, INSTANT, MODEL, LORA, MAX_MODEL_LEN, ANSWER_TOKENS, BLOCK_SIZE, KV_TOKENS, CPU_TOKENS,
  MAX_NUM_SEQS, COEFFICIENTS, HASH_ALGO, HASH_SEED, KV_EVENTS, KV_EVENTS_CONNECT, KV_EVENTS_PORT,
  KV_EVENTS_REPLAY_PORT, KV_EVENTS_KEEP, PAGE_BYTES, IDLE_MS, MAX_REQUESTS, FAULT, FAULT_SEED, RECORD, READY_FD,
};

static const struct option long_options[] = {
  {"port", 1, NULL, PORT}, {"host", 1, NULL, HOST}, {"count", 1, NULL, COUNT}, {"speed", 1, NULL, SPEED},
  {"instant", 0, NULL, INSTANT}, {"model", 1, NULL, MODEL}, {"lora", 1, NULL, LORA},
  {"max-model-len", 1, NULL, MAX_MODEL_LEN}, {"answer-tokens", 1, NULL, ANSWER_TOKENS},
  {"block-size", 1, NULL, BLOCK_SIZE}, {"kv-tokens", 1, NULL, KV_TOKENS}, {"cpu-tokens", 1, NULL, CPU_TOKENS},
  {"max-num-seqs", 1, NULL, MAX_NUM_SEQS}, {"coefficients", 1, NULL, COEFFICIENTS}, {"hash-algo", 1, NULL, HASH_ALGO},
  {"hash-seed", 1, NULL, HASH_SEED}, {"kv-events", 0, NULL, KV_EVENTS}, {"kv-events-port", 1, NULL, KV_EVENTS_PORT},
  {"kv-events-connect", 1, NULL, KV_EVENTS_CONNECT},
  {"kv-events-replay-port", 1, NULL, KV_EVENTS_REPLAY_PORT}, {"kv-events-keep", 1, NULL, KV_EVENTS_KEEP},
  {"page-bytes", 1, NULL, PAGE_BYTES}, {"idle-ms", 1, NULL, IDLE_MS}, {"max-requests", 1, NULL, MAX_REQUESTS},
  {"fault", 1, NULL, FAULT}, {"fault-seed", 1, NULL, FAULT_SEED}, {"record", 0, NULL, RECORD},
  {"ready-fd", 1, NULL, READY_FD}, {"help", 0, NULL, 'h'}, {0},
};

struct number {
  int option;
  const char *name;
  uint64_t *value, least, most;
};

static int set_number(struct job *j, int option)
{
  const struct number numbers[] = {
    {PORT, "--port", &j->port, 0, 65535}, {COUNT, "--count", &j->count, 1, MOST_ENGINES},
    {MAX_MODEL_LEN, "--max-model-len", &j->most_tokens, 2, 1u << 30},
    {ANSWER_TOKENS, "--answer-tokens", &j->answer_tokens, 1, 1u << 20},
    {BLOCK_SIZE, "--block-size", &j->block, 1, 8192}, {KV_TOKENS, "--kv-tokens", &j->kv_tokens, 1, 1u << 30},
    {CPU_TOKENS, "--cpu-tokens", &j->cpu_tokens, 0, 1u << 30},
    {MAX_NUM_SEQS, "--max-num-seqs", &j->max_seqs, 1, 65536},
    {KV_EVENTS_PORT, "--kv-events-port", &j->events_port, 0, 65535},
    {KV_EVENTS_REPLAY_PORT, "--kv-events-replay-port", &j->replay_port, 0, 65535},
    {KV_EVENTS_KEEP, "--kv-events-keep", &j->keep, 0, 1u << 20},
    {PAGE_BYTES, "--page-bytes", &j->page_bytes, 0, 64u << 20}, {IDLE_MS, "--idle-ms", &j->idle_ms, 1, 1u << 30},
    {MAX_REQUESTS, "--max-requests", &j->max_requests, 1, 1u << 30},
    {FAULT_SEED, "--fault-seed", &j->fault_seed, 0, UINT64_MAX}, {READY_FD, "--ready-fd", &j->ready_fd, 0, 1023},
  };
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i].option == option) {
      j->options.events |= option == KV_EVENTS_PORT || option == KV_EVENTS_REPLAY_PORT;
      return shell_count(j->command, numbers[i].name, optarg, numbers[i].least, numbers[i].most, numbers[i].value);
    }
  return EXIT_USAGE;
}

static int add_lora(struct job *j, const char *name)
{
  if (j->options.models.n_lora == MOST_LORAS)
    return shell_usage(j->command, "--lora: at most %u of them", MOST_LORAS);
  if (!*name || strpbrk(name, ",\"\\\n"))
    return shell_usage(j->command, "--lora: '%s' is no name", name);
  j->lora[j->options.models.n_lora++] = name;
  return 0;
}

static int add_fault(struct job *j, const char *text)
{
  struct engine_fault fault;
  char why[160];
  if (engine_fault_parse(text, &fault, why, sizeof why))
    return shell_usage(j->command, "--fault: %s", why);
  if (engine_fault_add(&j->faults, &fault))
    return shell_usage(j->command, "--fault: at most %d of them", ENGINE_MOST_FAULTS);
  return 0;
}

static int set_connect(struct job *j, const char *address)
{
  if (strncmp(address, "tcp://", 6) || strlen(address) > 255)
    return shell_usage(j->command, "--kv-events-connect: '%s' is no tcp://HOST:PORT", address);
  j->options.events = 1;
  j->options.events_connect = address;
  return 0;
}

static int set_algorithm(struct job *j, const char *name)
{
  j->options.scheme = llmd_hash_by_name(name, strlen(name));
  j->options.algorithm = name;
  if (strchr(name, '-') || j->options.scheme < LLMD_HASH_VLLM_SHA256 || j->options.scheme > LLMD_HASH_VLLM_XXHASH_CBOR)
    return shell_usage(j->command, "--hash-algo: '%s' is none of sha256, sha256_cbor, xxhash, xxhash_cbor", name);
  return 0;
}

static int set_option(struct job *j, int option)
{
  switch (option) {
  case HOST: j->options.host = optarg; break;
  case SPEED: return shell_number(j->command, "--speed", optarg, 1e-3, 1e6, &j->options.speed);
  case INSTANT: j->options.instant = 1; break;
  case MODEL: j->options.models.name = optarg; break;
  case LORA: return add_lora(j, optarg);
  case COEFFICIENTS: j->coefficients = optarg; break;
  case HASH_ALGO: return set_algorithm(j, optarg);
  case HASH_SEED: j->options.seed = optarg; break;
  case KV_EVENTS: j->options.events = 1; break;
  case KV_EVENTS_CONNECT: return set_connect(j, optarg);
  case FAULT: return add_fault(j, optarg);
  case RECORD: j->options.record = 1; break;
  default: return set_number(j, option);
  }
  return 0;
}

static int load_model(struct job *j)
{
  llmd_err err = LLMD_ERR_INIT;
  char path[4096];
  const char *set = SIM_MODEL_DEFAULT, *colon = j->coefficients ? strrchr(j->coefficients, ':') : NULL;
  struct sim_model *model = &j->options.model;
  sim_model_default(model);
  if (j->coefficients) {
    (void)snprintf(path, sizeof path, "%.*s", colon ? (int)(colon - j->coefficients) : (int)strlen(j->coefficients),
                   j->coefficients);
    if (colon)
      set = colon + 1;
    if (sim_model_load(model, path, set, &err)) {
      if (strcmp(err.path, path) == 0)
        err.path[0] = 0;
      return shell_blame(path, &err);
    }
  }
  if (j->kv_tokens)
    model->kv_tokens = (uint32_t)j->kv_tokens;
  if (j->max_seqs)
    model->max_seqs = (uint32_t)j->max_seqs;
  model->cpu_tokens = (uint32_t)j->cpu_tokens;
  if (sim_model_check(model, &err))
    return shell_blame(j->command, &err);
  return 0;
}

/* What options mean together. */
static int settle(struct job *j)
{
  struct engine_options *o = &j->options;
  const uint64_t most = 131072;
  int code = load_model(j);
  if (code)
    return code;
  if (o->model.kv_tokens < 2 * j->block)
    return shell_usage(j->command, "--kv-tokens: less than two blocks");
  if (j->most_tokens > o->model.kv_tokens && !o->instant)
    return shell_usage(j->command, "--max-model-len: more than the cache holds, %" PRIu32, o->model.kv_tokens);
  if (j->most_tokens == 0)
    j->most_tokens = o->model.kv_tokens < most ? o->model.kv_tokens : most;
  if (o->events && o->instant)
    return shell_usage(j->command, "--instant: there is no cache to tell of; take --speed for events");
  if (j->count > 1 && (j->events_port || j->replay_port))
    return shell_usage(j->command, "ports of events are for one engine; with --count they are any");
  if (!o->seed && o->scheme >= LLMD_HASH_VLLM_XXHASH)
    return shell_usage(j->command, "--hash-algo %s needs --hash-seed: without, it is random", o->algorithm);
  if (j->port && j->port + j->count - 1 > 65535)
    return shell_usage(j->command, "--count: there are no more ports than 65535");
  o->models.lora = j->lora;
  o->models.most_tokens = (uint32_t)j->most_tokens;
  o->models.answer_tokens = (uint32_t)j->answer_tokens;
  o->block_size = (uint32_t)j->block;
  o->events_port = (uint32_t)j->events_port;
  o->replay_port = (uint32_t)j->replay_port;
  o->events_keep = (uint32_t)j->keep;
  o->page_bytes = (size_t)j->page_bytes;
  o->idle_ms = (uint32_t)j->idle_ms;
  o->most_calls = (uint32_t)j->max_requests;
  o->loop = &j->loop;
  o->faults = &j->faults;
  return 0;
}

/* 0, an exit code, or -1 when help was asked for. */
static int read_options(struct job *j, int argc, char **argv)
{
  int option;
  j->command = argv[0];
  j->port = 8000;
  j->count = 1;
  j->answer_tokens = 64;
  j->block = 16;
  j->keep = 10000;
  j->fault_seed = 1;
  j->options.host = "127.0.0.1";
  j->options.speed = 1;
  j->options.models.name = "llmd-filler";
  j->options.scheme = LLMD_HASH_VLLM_SHA256;
  j->options.algorithm = "sha256";
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
    int code;
    if (option == 'h')
      return -1;
    if (option == '?' || option == ':')
      return shell_option(argv[0], option, argv);
    code = set_option(j, option);
    if (code)
      return code;
  }
  if (optind < argc)
    return shell_usage(argv[0], "'%s': it takes options alone", argv[optind]);
  return settle(j);
}

/* ---- running ---- */

static void close_all(struct job *j)
{
  for (uint32_t i = 0; i < j->n_engines; i++)
    engine_close(j->engine[i], NULL, NULL);
  j->n_engines = 0;
  for (int i = 0; i < 2; i++)
    if (!uv_is_closing((uv_handle_t *)&j->signal[i]))
      uv_close((uv_handle_t *)&j->signal[i], NULL);
}

static void on_signal(uv_signal_t *signal, int number)
{
  (void)number;
  close_all(signal->data);
}

static void watch_signals(struct job *j)
{
  static const int numbers[] = {SIGTERM, SIGINT};
  for (int i = 0; i < 2; i++) {
    (void)uv_signal_init(&j->loop, &j->signal[i]);
    j->signal[i].data = j;
    (void)uv_signal_start(&j->signal[i], on_signal, numbers[i]);
  }
  (void)signal(SIGPIPE, SIG_IGN);
}

static void tell(const struct job *j, const struct engine *e)
{
  char line[1200], live[300], replay[300];
  int n;
  if (e->events) {
    engine_events_address(e->events, 0, live, sizeof live);
    engine_events_address(e->events, 1, replay, sizeof replay);
    n = snprintf(line, sizeof line, "engine: listening on %s events %s replay %s\n", e->address, live, replay);
  } else
    n = snprintf(line, sizeof line, "engine: listening on %s\n", e->address);
  fputs(line, stderr);
  if (j->ready_fd && write((int)j->ready_fd, line, (size_t)n) < 0)
    fprintf(stderr, "%s: --ready-fd: %s\n", j->command, strerror(errno));
}

static int open_all(struct job *j)
{
  for (uint32_t i = 0; i < j->count; i++) {
    llmd_err err = LLMD_ERR_INIT;
    struct engine_options options = j->options;
    char name[64];
    int rc;
    options.port = j->port ? (uint32_t)j->port + i : 0;
    sim_rng_init(&j->faults.rng, j->fault_seed, i);
    rc = engine_open(&options, &j->engine[j->n_engines], &err);
    if (rc) {
      err.code = rc;
      (void)snprintf(name, sizeof name, "%s: port %" PRIu32, j->command, options.port);
      return shell_blame(name, &err);
    }
    j->n_engines++;
  }
  for (uint32_t i = 0; i < j->n_engines; i++)
    tell(j, j->engine[i]);
  if (j->ready_fd > 2)
    (void)close((int)j->ready_fd);
  return 0;
}

static int run_loop(struct job *j)
{
  int code;
  if (uv_loop_init(&j->loop))
    return shell_refuse(j->command, "there is no loop to be had");
  shell_raise_limit();
  watch_signals(j);
  code = open_all(j);
  if (code)
    close_all(j);
  (void)uv_run(&j->loop, UV_RUN_DEFAULT);
  (void)uv_loop_close(&j->loop);
  return code;
}

static int run(int argc, char **argv)
{
  struct job *j = calloc(1, sizeof *j);
  int code;
  if (!j)
    return shell_refuse(argv[0], "%s", llmd_strerror(LLMD_E_NOMEM));
  code = read_options(j, argc, argv);
  if (code == 0)
    code = run_loop(j);
  free(j);
  return code < 0 ? shell_help(&cmd_engine) : code;
}

const struct command cmd_engine = {
  .name = "engine", .summary = "engines without a model, to try a router on", .help = help, .run = run};
