/* How a situation's request is asked: headers, body, tokens, and the columns that the reference's producers would fill. */
#include "situation_inner.h"

#include <stdio.h>
#include <stdlib.h>

#define PREFIX "approx-prefix-cache-producer"
#define INFLIGHT "inflight-load-producer"
#define LATENCY "predicted-latency-producer"
#define ENCODER "mm-embeddings-cache-producer"
#define BODY_MAX 16384

/* ---- columns ------------------------------------------------------------------------------------------------------------ */

/* What a case says about one endpoint's part of the request; NaN = nothing. */
typedef double (*cell_fn)(const cJSON *endpoint, const char *key);

static double prefix_cell(const cJSON *e, const char *key)
{
  const cJSON *p = item(e, "prefix");
  double v = number_of(p, key);
  return p && v != v && !strcmp(key, "cached") ? number_of(p, "match") : v;
}

static double inflight_cell(const cJSON *e, const char *key)
{
  return number_of(item(e, "inflight"), key);
}

static double latency_cell(const cJSON *e, const char *key)
{
  const cJSON *l = item(e, "latency");
  return l && !*key ? 1 : number_of(l, key);
}

static double encoder_cell(const cJSON *e, const char *key)
{
  const cJSON *m = item(e, "mm"), *one;
  double sum = 0;
  cJSON_ArrayForEach(one, item(m, key))
    sum += number_of(one, "Size");
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
#define COLUMNS (sizeof columns / sizeof *columns)

static int set_column(const situation *s, const column *c, const cJSON *endpoints)
{
  llmd_endpoint_id id[SITUATION_ENDPOINTS];
  double value[SITUATION_ENDPOINTS];
  uint32_t n = 0, i = 0;
  const cJSON *e;
  int rc = llmd_pool_attribute(s->pool, c->attribute, c->producer, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
  cJSON_ArrayForEach(e, endpoints) {
    value[n] = c->cell(e, c->key);
    id[n] = s->id[i++];
    n += value[n] == value[n];
  }
  return rc < 0 ? rc : llmd_request_set_column(s->request, (uint32_t)rc, id, value, n);
}

/* Every column is set, with no value at all where the case is silent: no producer of ours may speak in its place. */
static int set_columns(const situation *s, const cJSON *json, uint32_t flags)
{
  const cJSON *endpoints = item(json, "endpoints") ? item(json, "endpoints") : item(s->json, "endpoints");
  int rc = 0;
  for (size_t c = 0; c < COLUMNS && rc >= 0; c++)
    rc = set_column(s, &columns[c], flags & ASK_COLD ? NULL : endpoints);
  return rc;
}

/* ---- headers, body ------------------------------------------------------------------------------------------------------ */

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

/* A chat of no words, with an image if the case has one. */
static int feed_chat(const situation *s, const cJSON *json)
{
  char body[1024];
  int n = snprintf(body, sizeof body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":[%s]}]}",
                   text_of(json, "model", "none"),
                   is_true(json, "mm") ? "{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://images/1.png\"}}" : "");
  if (n < 0 || (size_t)n >= sizeof body)
    return LLMD_E_LIMIT;
  return llmd_request_feed(s->request, body, (size_t)n, LLMD_FEED_COPY | LLMD_FEED_FINAL);
}

static int feed_body(const situation *s, const cJSON *json)
{
  const char *path = text_of(json, "path", "/v1/chat/completions");
  char *text;
  int rc = llmd_request_line(s->request, "POST", 4, path, strlen(path));
  if (rc < 0 || !item(json, "body"))
    return rc < 0 ? rc : feed_chat(s, json);
  text = cJSON_PrintUnformatted(item(json, "body"));
  rc = text ? llmd_request_feed(s->request, text, strlen(text), LLMD_FEED_COPY | LLMD_FEED_FINAL) : LLMD_E_NOMEM;
  cJSON_free(text);
  return rc;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

int situation_open_request(situation *s)
{
  llmd_request_options o;
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.copy_bytes = BODY_MAX;
  o.max_segments = 16;
  o.max_blocks = 64;
  o.max_values = SITUATION_ENDPOINTS * (uint32_t)COLUMNS;
  s->memory = malloc(llmd_request_size(&o));
  return s->memory ? llmd_request_init(s->memory, llmd_request_size(&o), &o, &s->request) : LLMD_E_NOMEM;
}

/* Ids that the case names, else so many of no meaning. */
static int set_tokens(const situation *s, const cJSON *named, double tokens)
{
  static uint32_t ids[SITUATION_TOKENS];
  const cJSON *v;
  size_t n = 0;
  memset(ids, 0, sizeof ids);
  cJSON_ArrayForEach(v, named)
    if (n < SITUATION_TOKENS)
      ids[n++] = (uint32_t)v->valuedouble;
  if (named)
    return llmd_request_set_tokens(s->request, ids, n);
  if (tokens != tokens)
    return 0;
  return tokens >= 0 && tokens <= SITUATION_TOKENS ? llmd_request_set_tokens(s->request, ids, (size_t)tokens) : LLMD_E_RANGE;
}

int situation_ask(situation *s, const cJSON *json, uint32_t flags, const char **what)
{
  const char *session = text_of(json, "session", NULL);
  double priority = number_of(json, "priority");
  llmd_request_reset(s->request);
  TRY(set_headers(s, item(json, "headers")), "headers");
  if (session)
    TRY(llmd_request_header(s->request, "x-session-id", 12, session, strlen(session)), "session");
  TRY(feed_body(s, json), "body");
  TRY(set_tokens(s, item(json, "ids"), number_of(json, "tokens")), "tokens");
  if (priority == priority)
    TRY(llmd_request_set_priority(s->request, (int32_t)priority), "priority");
  if (!is_true(json, "produce"))
    TRY(set_columns(s, json, flags), "columns");
  if (s->peer) {
    TRY(llmd_request_set_peer(s->request, s->peer), "peer");
    TRY(llmd_request_set_exclude(s->request, &s->peer, 1), "peer");
  }
  return 0;
}
