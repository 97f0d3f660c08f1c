/* Extractors: how the host turns what a source brought into attributes of endpoints. The host's exposition reader and
 * the pool do that; here the parameters are checked and nothing runs. */
#include <llmd/plugin.h>

#include <stdio.h>
#include <string.h>

typedef struct custom {
  llmd_str attribute, spec;
} custom;

enum { QUEUED, RUNNING, KV_USAGE, LORA, CACHE_INFO, BLOCK_SIZE, BLOCKS, SPECS };

typedef struct engine {
  llmd_str name;
  llmd_str spec[SPECS];
  llmd_str block_label, blocks_label;
  llmd_list customs; /* of custom */
} engine;

typedef struct core_metrics {
  llmd_str label, preset;
  llmd_list engines; /* of engine */
} core_metrics;

typedef struct pool_metrics {
  llmd_str kv, queue;
} pool_metrics;

static int refuse(llmd_err *err, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return LLMD_E_INVALID;
}

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
}

static int is(const llmd_str *a, const char *text)
{
  llmd_str b = {text, strlen(text)};
  return same(a, &b);
}

/* ---- metric specifications: name, or name{label=value, label="value"} -------------------------------------------- */
typedef struct cursor {
  const char *at, *end;
} cursor;

static int blank(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blank(cursor *c)
{
  while (c->at < c->end && blank(*c->at))
    c->at++;
}

static int take(cursor *c, char wanted)
{
  skip_blank(c);
  if (c->at == c->end || *c->at != wanted)
    return 0;
  c->at++;
  return 1;
}

static int take_name(cursor *c, int colons)
{
  const char *start;
  skip_blank(c);
  for (start = c->at; c->at < c->end; c->at++) {
    char x = *c->at;
    int letter = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || x == '_' || (colons && x == ':');
    if (!letter && !(x >= '0' && x <= '9' && c->at > start))
      break;
  }
  return c->at > start;
}

static int take_value(cursor *c)
{
  const char *start;
  int quoted = take(c, '"');
  skip_blank(c);
  for (start = c->at; c->at < c->end; c->at++)
    if (*c->at == '"' || *c->at == '}' || *c->at == ',' || (!quoted && blank(*c->at)))
      break;
  return quoted ? c->at < c->end && *c->at++ == '"' : c->at > start;
}

static int spec_ok(const llmd_str *spec)
{
  cursor c;
  if (spec->len == 0)
    return 1;
  c.at = spec->ptr;
  c.end = spec->ptr + spec->len;
  if (!take_name(&c, 1))
    return 0;
  if (take(&c, '{') && !take(&c, '}')) {
    do
      if (!take_name(&c, 0) || !take(&c, '=') || !take_value(&c))
        return 0;
    while (take(&c, ','));
    if (!take(&c, '}'))
      return 0;
  }
  skip_blank(&c);
  return c.at == c.end;
}

/* ---- core-metrics-extractor -------------------------------------------------------------------------------------- */
static int check_customs(const engine *e, const char *path, llmd_err *err)
{
  const custom *list = e->customs.items;
  uint32_t i, j;
  for (i = 0; i < e->customs.n; i++) {
    if (list[i].attribute.len == 0)
      return refuse(err, path, "customMetrics: attributeKey must not be empty");
    if (list[i].spec.len == 0 || !spec_ok(&list[i].spec))
      return refuse(err, path, "customMetrics: metricSpec is not a metric specification");
    for (j = 0; j < i; j++)
      if (same(&list[i].attribute, &list[j].attribute))
        return refuse(err, path, "customMetrics: attributeKey occurs twice");
  }
  return 0;
}

static int check_engine(const engine *list, uint32_t i, llmd_err *err)
{
  const engine *e = &list[i];
  char path[64];
  uint32_t j;
  snprintf(path, sizeof path, "engineConfigs[%u]", (unsigned)i);
  if (e->name.len == 0)
    return refuse(err, path, "name must not be empty");
  if (is(&e->name, "default"))
    return refuse(err, path, "the name \"default\" is reserved");
  for (j = 0; j < i; j++)
    if (same(&e->name, &list[j].name))
      return refuse(err, path, "name occurs twice");
  for (j = 0; j < SPECS; j++)
    if (!spec_ok(&e->spec[j]))
      return refuse(err, path, "not a metric specification");
  return check_customs(e, path, err);
}

static int validate_core(void *self, llmd_err *err)
{
  static const char *const known[] = {"vllm", "sglang", "trtllm-serve", "triton-tensorrt-llm", "triton"};
  const core_metrics *p = self;
  const engine *list = p->engines.items;
  uint32_t i, found = p->preset.len == 0;
  int rc = 0;
  for (i = 0; i < p->engines.n && !rc; i++) {
    rc = check_engine(list, i, err);
    found |= (uint32_t)same(&p->preset, &list[i].name);
  }
  for (i = 0; i < sizeof known / sizeof known[0]; i++)
    found |= (uint32_t)is(&p->preset, known[i]);
  return rc ? rc : found ? 0 : refuse(err, "defaultEngine", "no such engine");
}

#define TEXT(called, owner, field, text) \
  {.name = called, .type = LLMD_PARAM_STRING, .offset = offsetof(owner, field), .doc = text}
#define SPEC(called, which, text)                                                                              \
  {.name = called, .type = LLMD_PARAM_STRING, .offset = offsetof(engine, spec) + (which) * sizeof(llmd_str), \
   .doc = "metric of " text}

static const llmd_param custom_params[] = {
  TEXT("attributeKey", custom, attribute, "attribute that takes the value"),
  TEXT("metricSpec", custom, spec, "metric: name{label=value}"),
  {0}};

static const llmd_param engine_params[] = {
  TEXT("name", engine, name, "value of the engine label"),
  SPEC("queuedRequestsSpec", QUEUED, "requests waiting"),
  SPEC("runningRequestsSpec", RUNNING, "requests running"),
  SPEC("kvUsageSpec", KV_USAGE, "KV cache used, 0..1"),
  SPEC("loraSpec", LORA, "adapters loaded"),
  SPEC("cacheInfoSpec", CACHE_INFO, "the cache, with block size and count as labels"),
  TEXT("cacheBlockSizeLabelName", engine, block_label, "label of the block size (block_size)"),
  TEXT("cacheNumBlocksLabelName", engine, blocks_label, "label of the number of blocks (num_gpu_blocks)"),
  SPEC("cacheBlockSizeSpec", BLOCK_SIZE, "tokens per block"),
  SPEC("cacheNumBlocksSpec", BLOCKS, "the number of blocks"),
  {.name = "customMetrics", .type = LLMD_PARAM_LIST, .offset = offsetof(engine, customs), .sub = custom_params,
   .sub_size = sizeof(custom), .doc = "further metrics as attributes"},
  {0}};

static const llmd_param core_params[] = {
  {.name = "engineLabelKey", .type = LLMD_PARAM_STRING, .offset = offsetof(core_metrics, label),
   .preset = "llm-d.ai/engine-type", .doc = "label that names an endpoint's engine"},
  {.name = "defaultEngine", .type = LLMD_PARAM_STRING, .offset = offsetof(core_metrics, preset), .preset = "vllm",
   .doc = "engine of endpoints without the label"},
  {.name = "engineConfigs", .type = LLMD_PARAM_LIST, .offset = offsetof(core_metrics, engines), .sub = engine_params,
   .sub_size = sizeof(engine), .doc = "engines, besides or in place of the known ones"},
  {0}};

const llmd_plugin llmd__core_metrics_extractor = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "core-metrics-extractor", .summary = "the endpoints' own attributes, from their metrics pages",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(core_metrics), .params = core_params,
  .validate = validate_core};

/* ---- multicluster-metrics-extractor ------------------------------------------------------------------------------ */
static int validate_pool(void *self, llmd_err *err)
{
  const pool_metrics *p = self;
  if (!spec_ok(&p->kv))
    return refuse(err, "kvCacheUtilizationMetric", "not a metric specification");
  return spec_ok(&p->queue) ? 0 : refuse(err, "queueSizeMetric", "not a metric specification");
}

static const llmd_param pool_params[] = {
  {.name = "kvCacheUtilizationMetric", .type = LLMD_PARAM_STRING, .offset = offsetof(pool_metrics, kv),
   .preset = "llm_d_epp_average_kv_cache_utilization", .doc = "metric of a cluster's mean KV cache usage"},
  {.name = "queueSizeMetric", .type = LLMD_PARAM_STRING, .offset = offsetof(pool_metrics, queue),
   .preset = "llm_d_epp_average_queue_size", .doc = "metric of a cluster's mean queue length"},
  {0}};

const llmd_plugin llmd__multicluster_metrics_extractor = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "multicluster-metrics-extractor", .summary = "load of other clusters, from their routers' metrics pages",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = sizeof(pool_metrics), .params = pool_params,
  .validate = validate_pool};

/* ---- the rest ---------------------------------------------------------------------------------------------------- */
typedef struct topology {
  llmd_str level[4];
} topology;

#define LEVEL(called, i, preset_text)                                                                              \
  {.name = called, .type = LLMD_PARAM_STRING, .offset = offsetof(topology, level) + (i) * sizeof(llmd_str), \
   .preset = preset_text, .doc = "label of an endpoint's " called}
static const llmd_param topology_params[] = {
  LEVEL("hostname", 0, "kubernetes.io/hostname"),
  LEVEL("rack", 1, "topology.kubernetes.io/rack"),
  LEVEL("zone", 2, "topology.kubernetes.io/zone"),
  LEVEL("region", 3, "topology.kubernetes.io/region"),
  {0}};

/* The host sets the text attributes Topology.hostname, .rack, .zone and .region of its endpoints. */
const llmd_plugin llmd__topology_extractor = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "topology-extractor", .summary = "host, rack, zone and region of the endpoints (the host sets them)",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = sizeof(topology), .params = topology_params};

const llmd_plugin llmd__models_data_extractor = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "models-data-extractor", .summary = "the models an endpoint serves",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = 1};

const llmd_plugin llmd__dcgm_extractor = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "dcgm-extractor", .summary = "how busy an endpoint's GPUs are",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = 1};

LLMD_MODULE(&llmd__core_metrics_extractor, &llmd__multicluster_metrics_extractor, &llmd__topology_extractor,
            &llmd__models_data_extractor, &llmd__dcgm_extractor);
