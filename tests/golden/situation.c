#include "situation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT "/v1/chat/completions"
#define LONG_TEXT                                                                                                      \
  "The scheduler reads what it knows of every endpoint, drops those that cannot serve, scores the rest and "           \
  "picks one; a prompt that an endpoint has seen before is cheaper there, so it is worth remembering where "           \
  "prompts went. The scheduler reads what it knows of every endpoint, drops those that cannot serve, scores "          \
  "the rest and picks one; a prompt that an endpoint has seen before is cheaper there, so it is worth "                \
  "remembering where prompts went. The scheduler reads what it knows of every endpoint, drops those that "             \
  "cannot serve, scores the rest and picks one."
#define TEXT_BODY                                                                                                      \
  "{\"model\":\"adapter-a\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"" LONG_TEXT "\"}]}"
#define COLD_BODY                                                                                                      \
  "{\"model\":\"adapter-a\",\"messages\":[{\"role\":\"user\",\"content\":\"@ is a number of its own.\"}]}"
#define IMAGE_BODY                                                                                                     \
  "{\"model\":\"base\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" LONG_TEXT "\"},"  \
  "{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://images.example/cat.png\"}}]}]}"

const situation situations[] = {
    {.name = "default", .path = CHAT, .body = TEXT_BODY, .seed = 1, .warm = 3},
    {.name = "default-stale", .path = CHAT, .body = TEXT_BODY, .seed = 2, .warm = 2, .stale = 1},
    {.name = "default-strict",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 3,
     .warm = 1,
     .stale = 1,
     .compat = LLMD_COMPAT_STRICT},
    {.name = "default-narrowed", .path = CHAT, .body = TEXT_BODY, .seed = 4, .narrowed = 1},
    {.name = "default-shed", .path = CHAT, .body = TEXT_BODY, .seed = 5, .priority = -1, .busy = 1},
    {.name = "default-uncached", .path = CHAT, .body = TEXT_BODY, .seed = 6, .header = {"prefer", "if-available"}},
    {.name = "default-nameless", .path = CHAT, .body = "{\"messages\":[]}", .seed = 7, .compat = LLMD_COMPAT_STRICT},
    {.name = "default-bodyless", .path = "/v1/models", .body = "", .seed = 8, .compat = LLMD_COMPAT_STRICT},
    {.name = "load",
     .config = "load",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 9,
     .warm = 5,
     .header = {"x-zone", "west"}},
    {.name = "disagg-prefill", .config = "disagg", .path = CHAT, .body = TEXT_BODY, .seed = 10},
    {.name = "disagg-decode", .config = "disagg", .path = CHAT, .body = TEXT_BODY, .seed = 17, .warm = 1},
    {.name = "disagg-image", .config = "disagg", .path = CHAT, .body = IMAGE_BODY, .seed = 11},
    {.name = "latency",
     .config = "latency",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 12,
     .predicted = 1,
     .header = {"x-llm-d-slo-ttft-ms", "200", "x-llm-d-slo-tpot-ms", "40"}},
    {.name = "session",
     .config = "session",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 13,
     .warm = 3,
     .warm_body = COLD_BODY,
     .header = {"x-session-token", "ZGVmYXVsdC9wb2QtNQ=="}},
    {.name = "random", .config = "random", .path = CHAT, .body = TEXT_BODY, .seed = 14, .warm = 1},
    {.name = "saturated", .config = "saturated", .path = CHAT, .body = TEXT_BODY, .seed = 15, .busy = 1},
    {.name = "saturated-open",
     .config = "saturated",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 16,
     .busy = 1,
     .warm = 3,
     .fail = LLMD_FAIL_OPEN},
    {.name = "precise", .config = "precise", .path = CHAT, .body = TEXT_BODY, .seed = 18, .warm = 2, .tokens = 170},
    {.name = "precise-text", .config = "precise", .path = CHAT, .body = TEXT_BODY, .seed = 19, .warm = 2},
    {.name = "precise-strict",
     .config = "precise",
     .path = CHAT,
     .body = TEXT_BODY,
     .seed = 20,
     .tokens = 100,
     .compat = LLMD_COMPAT_STRICT},
};
const unsigned n_situations = sizeof situations / sizeof *situations;
const char *situation_loaders;

static llmd_str str(const char *text)
{
  llmd_str s = {text, strlen(text)};
  return s;
}

/* ---- the pool --------------------------------------------------------------------------------------------------- */

static int add_endpoint(rig *r, unsigned i)
{
  static const char *const roles[] = {"decode", "prefill", "decode", "prefill-decode",
                                      "decode", "prefill", "encode", "decode"};
  static const char *const zones[] = {"east", "east", "west", "west", "north", "north", "east", "west"};
  static const char *const lengths[] = {"0-512",     "0-512",     "0-8192",  "0-8192",
                                        "512-32768", "512-32768", "0-32768", "0-32768"};
  char name[16], address[16];
  const llmd_label labels[] = {{str(LLMD_LABEL_ROLE), str(roles[i])},
                               {str("zone"), str(zones[i])},
                               {str("llm-d.ai/context-length-range"), str(lengths[i])}};
  llmd_endpoint e = {.size = sizeof e, .port = 8000, .n_labels = 3, .labels = labels};
  snprintf(name, sizeof name, "pod-%u", i + 1);
  snprintf(address, sizeof address, "10.0.0.%u", i + 1);
  e.name = str(name);
  e.address = str(address);
  return llmd_pool_add(r->pool, &e, &r->id[i]);
}

static int set_metrics(rig *r, const situation *s, unsigned i)
{
  static const double waiting[] = {3, 0, 7, 1, 12, 0, 2, 5}, running[] = {8, 2, 5, 9, 1, 4, 3, 7};
  static const double kv[] = {0.5, 0.125, 0.7, 0.3, 0.05, 0.9, 0.45, 0.61};
  static const char *const zones[] = {"east", "east", "west", "west", "north", "north", "east", "west"};
  llmd_str models[] = {str("base"), str("adapter-a"), str("adapter-b")};
  int zone = llmd_pool_attribute(r->pool, "Topology.zone", "topology-extractor", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  int load = llmd_pool_attribute(r->pool, "gpu_temperature", NULL, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
  int rc = zone < 0 ? zone : load < 0 ? load : 0;
  double more = s->busy ? 200 : 0;
  if (rc)
    return rc;
  rc |= llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_WAITING, waiting[i] + more);
  rc |= llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_RUNNING, running[i] + more);
  rc |= llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_KV_USAGE, s->busy ? 0.99 : kv[i]);
  rc |= llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_MAX_MODELS, 2);
  rc |= llmd_pool_set(r->pool, r->id[i], (uint32_t)load, i == 3 ? (double)__builtin_nan("") : 40 + 3.5 * i);
  rc |= llmd_pool_set_models(r->pool, r->id[i], LLMD_ATTR_ACTIVE_MODELS, models, 1 + i % 3);
  rc |= llmd_pool_set_text(r->pool, r->id[i], (uint32_t)zone, zones[i], strlen(zones[i]));
  return rc | llmd_pool_touch(r->pool, r->id[i], s->stale ? 1 : r->now.mono);
}

static int open_pool(rig *r, const situation *s)
{
  llmd_region_options ro = {.size = sizeof ro,
                            .max_endpoints = 16,
                            .max_tickets = 64,
                            .max_lanes = 4,
                            .prefix_bytes = 1 << 20,
                            .state_bytes = 4 << 20,
                            .index_bytes = 1 << 20,
                            .seed = 7};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  int rc = llmd_pool_open(&po, &r->pool, NULL);
  for (unsigned i = 0; i < SITUATION_ENDPOINTS && !rc; i++) {
    rc = add_endpoint(r, i);
    if (!rc)
      rc = set_metrics(r, s, i);
  }
  if (!rc && s->narrowed)
    rc = llmd_pool_drain(r->pool, r->id[0], 1);
  return rc ? rc : llmd_pool_publish(r->pool, &r->now);
}

/* Ids of the prompts that the host renders. */
static const uint32_t *ids(void)
{
  static uint32_t id[SITUATION_IDS];
  for (uint32_t i = 0; i < SITUATION_IDS; i++)
    id[i] = i * 3 + 1;
  return id;
}

/* What the engines have told of their caches: each a little more than the one before, some of it in lower tiers. */
static int hear(rig *r)
{
  llmd_chain_root root = {.size = sizeof root, .block_tokens = 16};
  llmd_key key[SITUATION_IDS / 16];
  llmd_index *index;
  llmd_chain chain;
  int rc = llmd_pool_index(r->pool, &index);
  rc = rc ? rc : llmd_chain_begin(&chain, llmd_index_secret(index), &root);
  rc = rc ? rc : llmd_chain_extend(&chain, llmd_index_secret(index), ids(), SITUATION_IDS, NULL, 0, key,
                                   SITUATION_IDS / 16);
  for (uint32_t i = 1; i < SITUATION_ENDPOINTS && rc >= 0; i++) {
    llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
    llmd_block last;
    row.flags |= i == 5 ? LLMD_INDEX_DEGRADED : 0;
    rc = llmd_index_store(index, r->id[i], LLMD_TIER_GPU, NULL, key, NULL, i, &last);
    if (rc >= 0)
      rc = llmd_index_store(index, r->id[i], i % 3, &last, key + i, NULL, 2, NULL);
    if (rc >= 0)
      rc = llmd_index_describe(index, r->id[i], &row);
  }
  return rc < 0 ? rc : 0;
}

/* ---- the scheduler ---------------------------------------------------------------------------------------------- */

static int read_config(rig *r, const char *folder, const char *name, size_t *len)
{
  char path[4096];
  FILE *f;
  snprintf(path, sizeof path, "%s/%s.yaml", folder, name);
  f = fopen(path, "rb");
  r->config = calloc(1, 65536);
  if (!f || !r->config) {
    if (f)
      fclose(f);
    return LLMD_E_IO;
  }
  *len = fread(r->config, 1, 65535, f);
  fclose(f);
  return 0;
}

int rig_open(rig *r, const situation *s, const char *folder)
{
  llmd_scheduler_options so = {.size = sizeof so, .compat = s->compat, .fail = s->fail, .explain = 1,
                               .loader_dir = situation_loaders};
  llmd_err err = LLMD_ERR_INIT;
  size_t len = 0;
  int rc;
  memset(r, 0, sizeof *r);
  r->decision.size = sizeof r->decision;
  r->now.mono = 60000000000u;
  r->now.wall = 1750000000000000000u;
  rc = open_pool(r, s);
  if (!rc && s->config)
    rc = read_config(r, folder, s->config, &len);
  if (!rc) {
    rc = llmd_scheduler_create(&so, r->pool, r->config, len, &r->scheduler, &err);
    if (rc)
      fprintf(stderr, "%s.yaml:%u:%u: %s (%s)\n", s->config ? s->config : "default", err.line, err.column, err.text,
              err.path);
  }
  if (!rc && s->tokens)
    rc = hear(r);
  if (!rc)
    rc = llmd_lane_create(r->scheduler, LLMD_LANE_WRITER, &r->lane);
  return rc;
}

/* ---- the request ------------------------------------------------------------------------------------------------ */

/* What a latency predictor would say. */
static int set_predictions(rig *r)
{
  static const char *const names[] = {"LatencyPredictionInfo.valid", "LatencyPredictionInfo.ttft_headroom",
                                      "LatencyPredictionInfo.tpot_headroom", "LatencyPredictionInfo.ttft",
                                      "LatencyPredictionInfo.dispatched"};
  static const double values[][SITUATION_ENDPOINTS] = {{1, 1, 1, 0, 1, 1, 1, 1},
                                                       {35.5, -12, 80.25, 0, 7, 61, -3, 20},
                                                       {4.5, 2, -1, 0, 9, 3.25, 1, 0.5},
                                                       {164.5, 212, 119.75, 0, 193, 139, 203, 180},
                                                       {3, 1, 0, 0, 2, 5, 0, 1}};
  int rc = 0;
  for (unsigned k = 0; k < 5 && !rc; k++) {
    int a = llmd_pool_attribute(r->pool, names[k], "predicted-latency-producer", LLMD_TYPE_F64,
                                LLMD_SCOPE_ENDPOINT_REQUEST);
    rc = a < 0 ? a : llmd_request_set_column(r->request, (uint32_t)a, r->id, values[k], SITUATION_ENDPOINTS);
  }
  return rc;
}

static const char *warm_body(rig *r, const situation *s, uint32_t k)
{
  char *at;
  if (!s->warm_body)
    return s->body;
  snprintf(r->warm, sizeof r->warm, "%s", s->warm_body);
  at = strchr(r->warm, '@');
  if (at)
    *at = (char)('0' + k % 10);
  return r->warm;
}

static int make_request(rig *r, const situation *s, const char *body)
{
  int rc = 0;
  llmd_request_reset(r->request);
  rc |= llmd_request_line(r->request, "POST", 4, s->path, strlen(s->path));
  for (unsigned i = 0; i + 1 < 6 && s->header[i]; i += 2)
    rc |=
        llmd_request_header(r->request, s->header[i], strlen(s->header[i]), s->header[i + 1], strlen(s->header[i + 1]));
  if (s->priority)
    rc |= llmd_request_set_priority(r->request, s->priority);
  if (s->narrowed) {
    rc |= llmd_request_set_subset(r->request, r->id, 5);
    rc |= llmd_request_set_exclude(r->request, &r->id[3], 1);
  }
  if (s->predicted)
    rc |= set_predictions(r);
  if (s->tokens)
    rc |= llmd_request_set_tokens(r->request, ids(), s->tokens);
  llmd_request_feed(r->request, body, strlen(body), LLMD_FEED_FINAL); /* its error is the decision's to tell */
  return rc;
}

int rig_decide(rig *r, const situation *s)
{
  llmd_request_options ro = {.size = sizeof ro, .max_values = 64};
  size_t bytes = llmd_request_size(&ro);
  int rc;
  r->memory = malloc(bytes);
  rc = r->memory ? llmd_request_init(r->memory, bytes, &ro, &r->request) : LLMD_E_NOMEM;
  for (uint32_t k = 0; k <= s->warm && !rc; k++) {
    rc = make_request(r, s, k < s->warm ? warm_body(r, s, k) : s->body);
    if (!rc)
      rc = llmd_decide(r->lane, r->request, &r->now, s->seed + k, &r->decision);
    if (!rc && k < s->warm && r->decision.status == LLMD_ROUTED)
      rc = llmd_commit(r->lane, r->request, &r->decision, 0, &r->now);
    if (!rc && k < s->warm)
      r->now.mono += 1000000;
  }
  return rc;
}

void rig_close(rig *r)
{
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->memory);
  free(r->config);
}
