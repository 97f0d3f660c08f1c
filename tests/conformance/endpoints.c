/* How the endpoints of a situation become rows and columns of a pool. */
#include "situation_inner.h"

#include <stdio.h>
#include <stdlib.h>

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
  cJSON_ArrayForEach(l, item(e, "labels")) {
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

static int touch(const situation *s, llmd_endpoint_id id, const cJSON *e)
{
  double ms = number_of(e, "ageMs");
  uint64_t age = is_true(e, "stale") ? SITUATION_HOUR_NS : ms > 0 ? (uint64_t)(ms * 1e6) : 0;
  return is_true(e, "silent") ? 0 : llmd_pool_touch(s->pool, id, s->now.mono - age);
}

static int set_metrics(const situation *s, llmd_endpoint_id id, const cJSON *e, const char **what)
{
  const char *page = text_of(e, "page", NULL);
  TRY(set_number(s->pool, id, LLMD_ATTR_WAITING, number_of(e, "waiting")), "waiting");
  TRY(set_number(s->pool, id, LLMD_ATTR_RUNNING, number_of(e, "running")), "running");
  TRY(set_number(s->pool, id, LLMD_ATTR_KV_USAGE, number_of(e, "kv")), "kv");
  TRY(set_number(s->pool, id, LLMD_ATTR_MAX_MODELS, number_of(e, "maxActive")), "maxActive");
  TRY(set_number(s->pool, id, LLMD_ATTR_BLOCK_SIZE, number_of(e, "blockSize")), "blockSize");
  TRY(set_models(s->pool, id, LLMD_ATTR_ACTIVE_MODELS, item(e, "active")), "active");
  TRY(set_models(s->pool, id, LLMD_ATTR_WAITING_MODELS, item(e, "waitingModels")), "waitingModels");
  TRY(set_places(s->pool, id, item(e, "topology")), "topology");
  TRY(set_scalars(s->pool, id, item(e, "scalars")), "scalars");
  TRY(touch(s, id, e), "stale");
  if (page)
    TRY(llmd_pool_scrape(s->pool, id, page, strlen(page), s->now.mono), "page");
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
int situation_fill_pool(situation *s, const char **what)
{
  const cJSON *e, *peer = item(item(s->json, "request"), "peer");
  cJSON_ArrayForEach(e, item(s->json, "endpoints")) {
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
