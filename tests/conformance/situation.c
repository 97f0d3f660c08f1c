/* How the fields of a situation become calls of the library. */
#include "situation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_NS UINT64_C(3600000000000)
#define PREFIX "approx-prefix-cache-producer"
#define INFLIGHT "inflight-load-producer"
#define LATENCY "predicted-latency-producer"
#define ENCODER "mm-embeddings-cache-producer"

#define TRY(call, text) \
  do {                  \
    int rc_ = (call);   \
    if (rc_ < 0) {      \
      *what = (text);   \
      return rc_;       \
    }                   \
  } while (0)

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static const char *text_of(const cJSON *o, const char *key, const char *preset)
{
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
  return s ? s : preset;
}

/* NaN = not there: unknown. */
static double number_of(const cJSON *o, const char *key)
{
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
  return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

/* ---- endpoints ---------------------------------------------------------------------------------------------------------- */

static int add_endpoint(llmd_pool *pool, const cJSON *e, llmd_endpoint_id *out)
{
  llmd_label label[16];
  llmd_endpoint in;
  const cJSON *l;
  memset(&in, 0, sizeof in);
  in.size = sizeof in;
  in.name = str(text_of(e, "name", ""));
  in.space = str(text_of(e, "ns", "default"));
  in.address = str(text_of(e, "address", ""));
  in.port = (uint32_t)atoi(text_of(e, "port", "8000"));
  in.labels = label;
  cJSON_ArrayForEach(l, cJSON_GetObjectItemCaseSensitive(e, "labels")) {
    if (in.n_labels == 16)
      return LLMD_E_LIMIT;
    label[in.n_labels].key = str(l->string);
    label[in.n_labels++].value = str(l->valuestring);
  }
  return llmd_pool_add(pool, &in, out);
}

static int set_number(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, double value)
{
  return value == value ? llmd_pool_set(pool, id, attribute, value) : 0;
}

static int set_models(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const cJSON *list)
{
  llmd_str name[32];
  uint32_t n = 0;
  const cJSON *v;
  cJSON_ArrayForEach(v, list) {
    if (n == 32)
      return LLMD_E_LIMIT;
    name[n++] = str(v->valuestring);
  }
  return list ? llmd_pool_set_models(pool, id, attribute, name, n) : 0;
}

static int set_places(llmd_pool *pool, llmd_endpoint_id id, const cJSON *topology)
{
  static const char *const name[4][2] = {{"Hostname", "Topology.hostname"}, {"Rack", "Topology.rack"},
                                         {"Zone", "Topology.zone"}, {"Region", "Topology.region"}};
  for (int i = 0; topology && i < 4; i++) {
    const char *value = text_of(topology, name[i][0], "");
    int rc = llmd_pool_attribute(pool, name[i][1], "topology-extractor", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
    if (rc >= 0)
      rc = llmd_pool_set_text(pool, id, (uint32_t)rc, value, strlen(value));
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int set_scalars(llmd_pool *pool, llmd_endpoint_id id, const cJSON *scalars)
{
  const cJSON *v;
  cJSON_ArrayForEach(v, scalars) {
    int rc = llmd_pool_attribute(pool, v->string, NULL, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
    if (rc >= 0)
      rc = llmd_pool_set(pool, id, (uint32_t)rc, v->valuedouble);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int set_metrics(const situation *s, llmd_endpoint_id id, const cJSON *e, const char **what)
{
  uint64_t age = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(e, "stale")) ? HOUR_NS : 0;
  TRY(set_number(s->pool, id, LLMD_ATTR_WAITING, number_of(e, "waiting")), "waiting");
  TRY(set_number(s->pool, id, LLMD_ATTR_RUNNING, number_of(e, "running")), "running");
  TRY(set_number(s->pool, id, LLMD_ATTR_KV_USAGE, number_of(e, "kv")), "kv");
  TRY(set_number(s->pool, id, LLMD_ATTR_MAX_MODELS, number_of(e, "maxActive")), "maxActive");
  TRY(set_models(s->pool, id, LLMD_ATTR_ACTIVE_MODELS, cJSON_GetObjectItemCaseSensitive(e, "active")), "active");
  TRY(set_models(s->pool, id, LLMD_ATTR_WAITING_MODELS, cJSON_GetObjectItemCaseSensitive(e, "waitingModels")),
      "waitingModels");
  TRY(set_places(s->pool, id, cJSON_GetObjectItemCaseSensitive(e, "topology")), "topology");
  TRY(set_scalars(s->pool, id, cJSON_GetObjectItemCaseSensitive(e, "scalars")), "scalars");
  TRY(llmd_pool_touch(s->pool, id, s->now.mono - age), "stale");
  return 0;
}

static int keep_name(situation *s, uint32_t i, const cJSON *e)
{
  const char *space = text_of(e, "ns", "default"), *name = text_of(e, "name", "");
  size_t len = strlen(space) + strlen(name) + 2;
  s->name[i] = malloc(len);
  if (!s->name[i])
    return LLMD_E_NOMEM;
  snprintf(s->name[i], len, "%s/%s", space, name);
  return 0;
}

/* The peer goes into the pool last, so that rows keep the order of the case; each request excludes it. */
static int fill_pool(situation *s, const char **what)
{
  const cJSON *e, *peer = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(s->json, "request"), "peer");
  cJSON_ArrayForEach(e, cJSON_GetObjectItemCaseSensitive(s->json, "endpoints")) {
    *what = "endpoints";
    if (s->n == SITUATION_ENDPOINTS)
      return LLMD_E_LIMIT;
    TRY(keep_name(s, s->n, e), "memory");
    TRY(add_endpoint(s->pool, e, &s->id[s->n]), "endpoint");
    TRY(set_metrics(s, s->id[s->n++], e, what), *what);
  }
  if (peer) {
    TRY(add_endpoint(s->pool, peer, &s->peer), "peer");
    TRY(set_metrics(s, s->peer, peer, what), *what);
  }
  TRY(llmd_pool_publish(s->pool, &s->now), "publish");
  return 0;
}

static int open_pool(situation *s, llmd_err *err)
{
  llmd_region_options region;
  llmd_pool_options options;
  memset(&region, 0, sizeof region);
  memset(&options, 0, sizeof options);
  region.size = sizeof region;
  region.max_endpoints = SITUATION_ENDPOINTS + 1;
  region.max_lanes = 2;
  region.max_tickets = 64;
  region.ring_bytes = 4096;
  region.string_bytes = 65536;
  region.state_bytes = 12u << 20;
  region.prefix_bytes = 1u << 20;
  region.seed = 1;
  options.size = sizeof options;
  options.flags = LLMD_POOL_WRITER;
  options.region = &region;
  return llmd_pool_open(&options, &s->pool, err);
}

/* ---- the request -------------------------------------------------------------------------------------------------------- */

/* What a case says about one endpoint's part of the request; NaN = nothing. */
typedef double (*cell_fn)(const cJSON *endpoint, const char *key);

static double prefix_cell(const cJSON *e, const char *key)
{
  const cJSON *p = cJSON_GetObjectItemCaseSensitive(e, "prefix");
  double v = number_of(p, key);
  return p && v != v && !strcmp(key, "cached") ? number_of(p, "match") : v;
}

static double inflight_cell(const cJSON *e, const char *key)
{
  return number_of(cJSON_GetObjectItemCaseSensitive(e, "inflight"), key);
}

static double latency_cell(const cJSON *e, const char *key)
{
  const cJSON *l = cJSON_GetObjectItemCaseSensitive(e, "latency");
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(l, key);
  if (l && !*key)
    return 1;
  return cJSON_IsBool(v) ? cJSON_IsTrue(v) : number_of(l, key);
}

static double encoder_cell(const cJSON *e, const char *key)
{
  const cJSON *m = cJSON_GetObjectItemCaseSensitive(e, "mm"), *item;
  double sum = 0;
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(m, key))
    sum += number_of(item, "Size");
  return m ? sum : (double)NAN;
}

typedef struct column {
  const char *attribute, *producer, *key;
  cell_fn cell;
} column;

static const column columns[] = {
  {"PrefixCacheMatchInfo.match", PREFIX, "match", prefix_cell},
  {"PrefixCacheMatchInfo.total", PREFIX, "total", prefix_cell},
  {"PrefixCacheMatchInfo.block", PREFIX, "block", prefix_cell},
  {"PrefixCacheMatchInfo.cached", PREFIX, "cached", prefix_cell},
  {"InFlightLoad.requests", INFLIGHT, "requests", inflight_cell},
  {"InFlightLoad.tokens", INFLIGHT, "tokens", inflight_cell},
  {"InFlightLoad.uncached", INFLIGHT, "uncached", number_of},
  {"LatencyPredictionInfo.valid", LATENCY, "", latency_cell},
  {"LatencyPredictionInfo.ttft_headroom", LATENCY, "ttftHeadroom", latency_cell},
  {"LatencyPredictionInfo.tpot_headroom", LATENCY, "tpotHeadroom", latency_cell},
  {"LatencyPredictionInfo.ttft", LATENCY, "ttft", latency_cell},
  {"LatencyPredictionInfo.dispatched", LATENCY, "dispatched", latency_cell},
  {"EncoderCacheMatchInfo.matched", ENCODER, "matched", encoder_cell},
  {"EncoderCacheMatchInfo.total", ENCODER, "items", encoder_cell}};

/* Every column is set, with no value at all where the case is silent: no producer of ours may speak in its place. */
static int set_columns(const situation *s, int cold)
{
  const cJSON *endpoints = cJSON_GetObjectItemCaseSensitive(s->json, "endpoints"), *e;
  for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
    llmd_endpoint_id id[SITUATION_ENDPOINTS];
    double value[SITUATION_ENDPOINTS];
    uint32_t n = 0, i = 0;
    int rc = llmd_pool_attribute(s->pool, columns[c].attribute, columns[c].producer, LLMD_TYPE_F64,
                                 LLMD_SCOPE_ENDPOINT_REQUEST);
    cJSON_ArrayForEach(e, endpoints) {
      value[n] = cold ? (double)NAN : columns[c].cell(e, columns[c].key);
      id[n] = s->id[i++];
      n += value[n] == value[n];
    }
    if (rc >= 0)
      rc = llmd_request_set_column(s->request, (uint32_t)rc, id, value, n);
    if (rc < 0)
      return rc;
  }
  return 0;
}

/* The reference's map of headers has lower-case names, as Envoy gives them: a name with a capital is found by nobody. */
static int is_lower(const char *name)
{
  while (*name && !(*name >= 'A' && *name <= 'Z'))
    name++;
  return !*name;
}

static int set_headers(const situation *s, const cJSON *headers)
{
  const cJSON *h;
  int rc = 0;
  cJSON_ArrayForEach(h, headers)
    if (rc >= 0 && is_lower(h->string))
      rc = llmd_request_header(s->request, h->string, strlen(h->string), h->valuestring, strlen(h->valuestring));
  return rc;
}

static int feed_body(const situation *s, const char *model, int image)
{
  static const char path[] = "/v1/chat/completions";
  char body[1024];
  int n = snprintf(body, sizeof body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":[%s]}]}", model,
                   image ? "{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://images/1.png\"}}" : "");
  int rc = llmd_request_line(s->request, "POST", 4, path, sizeof path - 1);
  if (n < 0 || (size_t)n >= sizeof body)
    return LLMD_E_LIMIT;
  return rc < 0 ? rc : llmd_request_feed(s->request, body, (size_t)n, LLMD_FEED_COPY | LLMD_FEED_FINAL);
}

static int open_request(situation *s)
{
  llmd_request_options o;
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.copy_bytes = 1024;
  o.max_segments = 16;
  o.max_blocks = 64;
  o.max_values = SITUATION_ENDPOINTS * (uint32_t)(sizeof columns / sizeof *columns);
  s->memory = malloc(llmd_request_size(&o));
  return s->memory ? llmd_request_init(s->memory, llmd_request_size(&o), &o, &s->request) : LLMD_E_NOMEM;
}

static int fill_request(situation *s, const char **what)
{
  static uint32_t ids[SITUATION_TOKENS];
  const cJSON *r = cJSON_GetObjectItemCaseSensitive(s->json, "request");
  double tokens = number_of(r, "tokens");
  llmd_request_reset(s->request);
  *what = "request.tokens";
  if (!(tokens >= 0 && tokens <= SITUATION_TOKENS))
    return LLMD_E_RANGE;
  TRY(set_headers(s, cJSON_GetObjectItemCaseSensitive(r, "headers")), "request.headers");
  TRY(feed_body(s, text_of(r, "model", ""), cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(r, "mm"))), "request body");
  TRY(llmd_request_set_tokens(s->request, ids, (size_t)tokens), "request.tokens");
  TRY(set_columns(s, 0), "columns");
  if (s->peer) {
    TRY(llmd_request_set_peer(s->request, s->peer), "request.peer");
    TRY(llmd_request_set_exclude(s->request, &s->peer, 1), "request.peer");
  }
  return 0;
}

/* ---- earlier requests --------------------------------------------------------------------------------------------------- */

/* The other profiles' picks are taken out: the case says of the destination alone where the request went. */
static void keep_primary(llmd_decision *d)
{
  for (uint32_t p = 0; p < d->n_profiles; p++)
    if (p != d->primary)
      d->profile[p].n = 0;
}

static int run_earlier(const situation *s, llmd_lane *lane, const cJSON *h, uint64_t seed)
{
  static llmd_decision d;
  const char *session = text_of(h, "session", NULL);
  double ep = number_of(h, "ep");
  int rc;
  llmd_request_reset(s->request);
  if (!(ep >= 0 && ep < s->n))
    return LLMD_E_RANGE;
  rc = session ? llmd_request_header(s->request, "x-session-id", 12, session, strlen(session)) : 0;
  if (rc >= 0)
    rc = feed_body(s, "earlier", 0);
  if (rc >= 0)
    rc = set_columns(s, 1);
  if (rc >= 0 && s->peer)
    rc = llmd_request_set_exclude(s->request, &s->peer, 1);
  d.size = sizeof d;
  if (rc >= 0)
    rc = llmd_decide(lane, s->request, &s->now, seed, &d);
  if (rc >= 0 && d.status != LLMD_ROUTED)
    rc = LLMD_E_STATE;
  if (rc < 0)
    return rc;
  keep_primary(&d);
  rc = llmd_commit(lane, s->request, &d, s->id[(uint32_t)ep], &s->now);
  return rc < 0 || !d.ticket ? rc : llmd_report(lane, d.ticket, LLMD_REPORT_END, NULL, &s->now);
}

/* They run under a scheduler of the same configuration that fails open, because without attributes its filters may leave
 * nothing. State belongs to the pool, so the situation's own scheduler finds what they left. */
static int run_history(situation *s, const llmd_scheduler_options *strict, const char *config, llmd_err *err,
                       const char **what)
{
  const cJSON *history = cJSON_GetObjectItemCaseSensitive(s->json, "history"), *h;
  llmd_scheduler_options open = *strict;
  llmd_scheduler *scheduler = NULL;
  llmd_lane *lane = NULL;
  uint64_t seed = 1;
  int rc;
  if (!cJSON_GetArraySize(history))
    return 0;
  *what = "history";
  open.fail = LLMD_FAIL_OPEN;
  rc = llmd_scheduler_create(&open, s->pool, config, strlen(config), &scheduler, err);
  if (!rc)
    rc = llmd_lane_create(scheduler, LLMD_LANE_WRITER, &lane);
  cJSON_ArrayForEach(h, history)
    if (rc >= 0)
      rc = run_earlier(s, lane, h, seed++);
  llmd_lane_free(lane);
  llmd_scheduler_free(scheduler);
  return rc < 0 ? rc : 0;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

int situation_open(situation *s, const cJSON *json, llmd_err *err, const char **what)
{
  const char *config = text_of(json, "config", "");
  llmd_scheduler_options options;
  memset(s, 0, sizeof *s);
  memset(&options, 0, sizeof options);
  s->json = json;
  s->now.mono = 2 * HOUR_NS;
  s->now.wall = UINT64_C(1800000000) * 1000000000u;
  TRY(open_pool(s, err), "pool");
  TRY(fill_pool(s, what), *what);
  options.size = sizeof options;
  options.compat = LLMD_COMPAT_STRICT;
  options.explain = 1;
  if (llmd_scheduler_create(&options, s->pool, config, strlen(config), &s->scheduler, err))
    return 1;
  TRY(open_request(s), "request");
  TRY(run_history(s, &options, config, err, what), *what);
  TRY(llmd_lane_create(s->scheduler, LLMD_LANE_WRITER, &s->lane), "lane");
  return fill_request(s, what);
}

void situation_close(situation *s)
{
  for (uint32_t i = 0; i < s->n; i++)
    free(s->name[i]);
  llmd_lane_free(s->lane);
  llmd_scheduler_free(s->scheduler);
  llmd_pool_close(s->pool);
  free(s->memory);
}

int situation_index(const situation *s, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < s->n; i++)
    if (s->id[i] == id)
      return (int)i;
  return -1;
}

int situation_index_by_name(const situation *s, const char *name)
{
  for (uint32_t i = 0; i < s->n; i++)
    if (!strcmp(s->name[i], name))
      return (int)i;
  return -1;
}
