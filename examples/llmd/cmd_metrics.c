/* llmd metrics: what an engine's metrics page comes to. It goes through a pool, as in a proxy, and is read back. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/pool.h>

#include "file.h"
#include "json.h"
#include "shell.h"

#define PAGE_MAX ((size_t)64 << 20)

static const char help[] =
  "Usage: llmd metrics [OPTION]... FILE\n"
  "\n"
  "Reads a metrics page of an engine (Prometheus text, as served on /metrics) and prints the columns\n"
  "that libllmd takes from it as JSON. null is unknown: not on the page, or not believable.\n"
  "\n"
  "  --engine NAME   whose page it is: vllm (default), sglang, or another name that llm-d knows\n"
  "  --json          what is printed anyway\n"
  "  --help\n"
  "\n"
  "Exit code 1 when no metric of the engine was found.\n"
  "\n"
  "Examples:\n"
  "  curl -s http://10.0.0.1:8000/metrics | llmd metrics -\n"
  "  llmd metrics --engine sglang page.txt\n";

/* ---- a pool of one endpoint ---- */

static int add_endpoint(llmd_pool *pool, const char *engine, llmd_endpoint_id *id)
{
  llmd_label label = {{LLMD_LABEL_ENGINE, strlen(LLMD_LABEL_ENGINE)}, {engine, strlen(engine)}};
  llmd_endpoint e = {.size = sizeof e, .name = {"page", 4}, .address = {"127.0.0.1", 9}, .port = 8000, .n_labels = 1,
                     .labels = &label};
  return llmd_pool_add(pool, &e, id);
}

static cJSON *columns_of(const llmd_pool *pool, llmd_endpoint_id id)
{
  static const struct { const char *name; uint32_t attribute; } rows[] = {
    {"WaitingQueueSize", LLMD_ATTR_WAITING}, {"RunningRequestsSize", LLMD_ATTR_RUNNING},
    {"KVCacheUsagePercent", LLMD_ATTR_KV_USAGE}, {"MaxActiveModels", LLMD_ATTR_MAX_MODELS},
    {"CacheBlockSize", LLMD_ATTR_BLOCK_SIZE}, {"CacheNumBlocks", LLMD_ATTR_NUM_BLOCKS},
  };
  cJSON *o = cJSON_CreateObject();
  for (size_t i = 0; o && i < sizeof rows / sizeof rows[0]; i++)
    if (json_add_number(o, rows[i].name, llmd_pool_value(pool, id, rows[i].attribute))) {
      cJSON_Delete(o);
      return NULL;
    }
  return o;
}

/* The adapters of a set, as a list of names. */
static int add_models(cJSON *o, const char *name, const llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute)
{
  llmd_str model[64];
  cJSON *list = cJSON_AddArrayToObject(o, name);
  int n = llmd_pool_models(pool, id, attribute, model, 64);
  for (int i = 0; list && i < n && i < 64; i++) {
    cJSON *item = cJSON_CreateString(model[i].ptr); /* interned text ends with a NUL */
    if (!cJSON_AddItemToArray(list, item)) {
      cJSON_Delete(item);
      return LLMD_E_NOMEM;
    }
  }
  return list ? 0 : LLMD_E_NOMEM;
}

static int print_columns(const llmd_pool *pool, llmd_endpoint_id id, const char *engine, int set)
{
  cJSON *root = cJSON_CreateObject(), *columns = columns_of(pool, id);
  if (columns && (add_models(columns, "ActiveModels", pool, id, LLMD_ATTR_ACTIVE_MODELS) ||
                  add_models(columns, "WaitingModels", pool, id, LLMD_ATTR_WAITING_MODELS))) {
    cJSON_Delete(columns);
    columns = NULL;
  }
  if (!root || !columns || !cJSON_AddStringToObject(root, "engine", engine) ||
      !cJSON_AddNumberToObject(root, "columns_set", set) || !cJSON_AddItemToObject(root, "columns", columns)) {
    cJSON_Delete(root);
    return LLMD_E_NOMEM;
  }
  return json_print(stdout, root);
}

static int read_page(const char *command, llmd_pool *pool, const char *engine, const char *path)
{
  const llmd_now now = {1, 1};
  llmd_endpoint_id id = 0;
  struct file page;
  int set, rc, code = file_read(path, PAGE_MAX, &page);
  if (code)
    return code;
  rc = add_endpoint(pool, engine, &id);
  set = rc ? rc : llmd_pool_scrape(pool, id, page.text, page.len, now.mono);
  free(page.text);
  if (set < 0)
    return shell_refuse(command, "%s: %s", path, llmd_strerror(set));
  rc = llmd_pool_publish(pool, &now);
  if (rc == 0)
    rc = print_columns(pool, id, engine, set);
  if (rc)
    return shell_refuse(command, "%s", llmd_strerror(rc));
  return set ? 0 : shell_refuse(command, "%s: no metric of %s on this page", path, engine);
}

static int run(int argc, char **argv)
{
  enum { ENGINE = 256, JSON };
  static const struct option long_options[] = {
    {"engine", 1, NULL, ENGINE}, {"json", 0, NULL, JSON}, {"help", 0, NULL, 'h'}, {0},
  };
  const char *engine = "vllm";
  llmd_pool *pool = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int option, code;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1)
    switch (option) {
    case 'h': return shell_help(&cmd_metrics);
    case ENGINE: engine = optarg; break;
    case JSON: break;
    default: return shell_option(argv[0], option, argv);
    }
  if (argc - optind != 1)
    return shell_usage(argv[0], optind < argc ? "one page at a time" : "which page?");
  if (llmd_pool_open(NULL, &pool, &err))
    return shell_blame(argv[0], &err);
  code = read_page(argv[0], pool, engine, argv[optind]);
  llmd_pool_close(pool);
  return code;
}

const struct command cmd_metrics = {
  .name = "metrics", .summary = "what an engine's metrics page comes to", .help = help, .run = run};
