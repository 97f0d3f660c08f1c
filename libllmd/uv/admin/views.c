/* /readyz, /endpoints, /policies, /explain, /records. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/loader.h>
#include <llmd/prefix.h>

#include "base/json_write.h"
#include "uv/admin/admin.h"
#include "uv/share/share.h"
#include "uv/stats/explain.h"
#include "uv/stats/records.h"

void llmd__admin_look(const llmd__admin_view *view, llmd__admin_state *out)
{
  llmd_scraper_stats s = {.size = sizeof s};
  memset(out, 0, sizeof *out);
  out->endpoints = llmd_pool_count(llmd_share_pool(view->share));
  if (!view->scraper)
    out->fresh = out->endpoints; /* nobody asks them, so nothing is too old */
  else if (!llmd_scraper_stats_get(view->scraper, &s))
    out->fresh = s.fresh;
  if (!out->endpoints)
    out->why = "no endpoint is published";
  else if (!out->fresh)
    out->why = "no endpoint's metrics are fresh";
}

static void finish(llmd__json *w, llmd__page *page)
{
  int rc = llmd__json_finish(w);
  if (rc && !page->rc)
    page->rc = rc;
  (void)llmd__page_write(page, "\n", 1);
}

uint32_t llmd__admin_ready(const llmd__admin_view *view, llmd__page *page)
{
  llmd__admin_state state;
  llmd__json w;
  llmd__admin_look(view, &state);
  llmd__json_init(&w, llmd__page_write, page);
  llmd__json_begin_map(&w);
  llmd__json_key(&w, "ready");
  llmd__json_bool(&w, !state.why);
  llmd__json_key(&w, "endpoints");
  llmd__json_uint(&w, state.endpoints);
  llmd__json_key(&w, "fresh");
  llmd__json_uint(&w, state.fresh);
  if (state.why) {
    llmd__json_key(&w, "why");
    llmd__json_text(&w, state.why);
  }
  llmd__json_end(&w);
  finish(&w, page);
  return state.why ? 503 : 200;
}

/* ---- endpoints --------------------------------------------------------------------------------------------------- */

typedef struct walk {
  const llmd__admin_view *view;
  llmd_pool *pool;
  llmd_index *index; /* NULL = the region has none */
  llmd__json w;
} walk;

static void put_str(llmd__json *w, const char *key, llmd_str v)
{
  llmd__json_key(w, key);
  llmd__json_str(w, v.ptr, v.len);
}

static void put_uint(llmd__json *w, const char *key, uint64_t v)
{
  llmd__json_key(w, key);
  llmd__json_uint(w, v);
}

static void put_labels(llmd__json *w, const llmd_endpoint *e)
{
  llmd__json_key(w, "labels");
  llmd__json_begin_map(w);
  for (uint32_t i = 0; i < e->n_labels; i++) {
    llmd__json_key_n(w, e->labels[i].key.ptr, e->labels[i].key.len);
    llmd__json_str(w, e->labels[i].value.ptr, e->labels[i].value.len);
  }
  llmd__json_end(w);
}

static void put_metrics(walk *k, llmd_endpoint_id id)
{
  static const struct {
    const char *key;
    uint32_t attribute;
  } columns[] = {{"waiting", LLMD_ATTR_WAITING},        {"running", LLMD_ATTR_RUNNING},
                 {"kv_usage", LLMD_ATTR_KV_USAGE},      {"max_adapters", LLMD_ATTR_MAX_MODELS},
                 {"block_size", LLMD_ATTR_BLOCK_SIZE},  {"blocks", LLMD_ATTR_NUM_BLOCKS}};
  llmd__json_key(&k->w, "metrics");
  llmd__json_begin_map(&k->w);
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    llmd__json_key(&k->w, columns[i].key);
    llmd__json_double(&k->w, llmd_pool_value(k->pool, id, columns[i].attribute));
  }
  llmd__json_end(&k->w);
}

static void put_set(walk *k, const char *key, llmd_endpoint_id id, uint32_t attribute)
{
  llmd_str name[64];
  int n = llmd_pool_models(k->pool, id, attribute, name, 64);
  llmd__json_key(&k->w, key);
  llmd__json_begin_list(&k->w);
  for (int i = 0; i < n && i < 64; i++)
    llmd__json_str(&k->w, name[i].ptr, name[i].len);
  llmd__json_end(&k->w);
}

static void put_in_flight(walk *k, llmd_endpoint_id id)
{
  int64_t requests = 0, tokens = 0;
  llmd__json_key(&k->w, "in_flight");
  llmd__json_begin_map(&k->w);
  if (!llmd_pool_inflight(k->pool, id, &requests, &tokens)) {
    llmd__json_key(&k->w, "requests");
    llmd__json_int(&k->w, requests);
    llmd__json_key(&k->w, "tokens");
    llmd__json_int(&k->w, tokens);
  }
  llmd__json_end(&k->w);
}

static void put_health(walk *k, llmd_endpoint_id id)
{
  static const char *const states[] = {
    [LLMD_HEALTH_WELL] = "well", [LLMD_HEALTH_EJECTED] = "ejected", [LLMD_HEALTH_HALF_OPEN] = "half-open"};
  uint32_t state = 0;
  uint64_t until = 0;
  if (llmd_pool_health(k->pool, id, &state, &until) || state >= sizeof states / sizeof *states)
    return;
  llmd__json_key(&k->w, "health");
  llmd__json_text(&k->w, states[state]);
}

static void put_index(walk *k, llmd_endpoint_id id)
{
  llmd_index_row r = {.size = sizeof r};
  if (!k->index || llmd_index_row_of(k->index, id, &r))
    return;
  llmd__json_key(&k->w, "index");
  llmd__json_begin_map(&k->w);
  llmd__json_key(&k->w, "fed");
  llmd__json_bool(&k->w, (r.flags & LLMD_INDEX_FED) != 0);
  llmd__json_key(&k->w, "degraded");
  llmd__json_bool(&k->w, (r.flags & LLMD_INDEX_DEGRADED) != 0);
  put_uint(&k->w, "block_tokens", r.block_tokens);
  put_uint(&k->w, "scheme", r.scheme);
  llmd__json_end(&k->w);
}

static int put_endpoint(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  walk *k = ud;
  llmd__json_begin_map(&k->w);
  put_str(&k->w, "name", e->name);
  put_str(&k->w, "space", e->space);
  put_str(&k->w, "address", e->address);
  put_uint(&k->w, "port", e->port);
  put_uint(&k->w, "rank", e->rank);
  put_uint(&k->w, "slot", (uint32_t)id);
  put_uint(&k->w, "generation", id >> 32);
  put_labels(&k->w, e);
  put_metrics(k, id);
  put_set(k, "adapters", id, LLMD_ATTR_ACTIVE_MODELS);
  put_set(k, "adapters_waiting", id, LLMD_ATTR_WAITING_MODELS);
  put_in_flight(k, id);
  put_health(k, id);
  put_index(k, id);
  llmd__json_end(&k->w);
  return 0;
}

void llmd__admin_endpoints(const llmd__admin_view *view, llmd__page *page)
{
  walk k = {.view = view, .pool = llmd_share_pool(view->share)};
  if (view->subscriber && llmd_pool_index(k.pool, &k.index))
    k.index = NULL;
  llmd__json_init(&k.w, llmd__page_write, page);
  llmd__json_begin_map(&k.w);
  llmd__json_key(&k.w, "endpoints");
  llmd__json_begin_list(&k.w);
  (void)llmd_pool_each(k.pool, put_endpoint, &k);
  llmd__json_end(&k.w);
  llmd__json_end(&k.w);
  finish(&k.w, page);
}

/* ---- policies ---------------------------------------------------------------------------------------------------- */

/* FNV-1a: enough to see whether two texts are the same. */
static uint64_t hash_of(llmd_str text)
{
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < text.len; i++)
    h = (h ^ (unsigned char)text.ptr[i]) * UINT64_C(0x100000001b3);
  return h;
}

static void put_hash(llmd__json *w, llmd_str text)
{
  char hex[20];
  (void)snprintf(hex, sizeof hex, "%016" PRIx64, hash_of(text));
  llmd__json_key(w, "hash");
  llmd__json_text(w, hex);
}

static void put_policy(llmd__json *w, const llmd__admin_view *view, const llmd_policy_info *p, char *room)
{
  const char *refused = view->refused && p->file.ptr ? view->refused(view->refused_ud, &p->file) : NULL;
  llmd_str text = p->text;
  uint64_t number = 0;
  size_t len = 0;
  if (p->file.ptr && !llmd_pool_get_policy(llmd_share_pool(view->share), p->file.ptr, p->file.len, room,
                                           LLMD_POLICY_BYTES, &len, &number))
    text = (llmd_str){room, len};
  llmd__json_begin_map(w);
  put_str(w, "instance", p->instance);
  put_str(w, "type", p->type);
  if (p->file.ptr)
    put_str(w, "file", p->file);
  if (p->path.ptr)
    put_str(w, "path", p->path);
  put_uint(w, "number", number);
  put_uint(w, "bytes", text.len);
  put_hash(w, text);
  if (refused) {
    llmd__json_key(w, "refused");
    llmd__json_text(w, refused);
  }
  llmd__json_end(w);
}

void llmd__admin_policies(const llmd__admin_view *view, llmd__page *page)
{
  char room[LLMD_POLICY_BYTES];
  llmd_policy_info p = {.size = sizeof p};
  llmd__json w;
  llmd__json_init(&w, llmd__page_write, page);
  llmd__json_begin_map(&w);
  llmd__json_key(&w, "policies");
  llmd__json_begin_list(&w);
  for (uint32_t i = 0; !llmd_scheduler_policy(view->scheduler, i, &p); i++)
    put_policy(&w, view, &p, room);
  llmd__json_end(&w);
  llmd__json_end(&w);
  finish(&w, page);
}

/* ---- explain ----------------------------------------------------------------------------------------------------- */

/* The text is an object of its own: its members stand beside ours. */
static int put_decision(void *ud, uint64_t number, uint64_t wall, const char *text, size_t len)
{
  char entry[LLMD__EXPLAIN_MOST + 96];
  llmd__json *w = ud;
  int n = snprintf(entry, sizeof entry, "{\"number\":%" PRIu64 ",\"wall_ns\":%" PRIu64 ",", number, wall);
  if (len < 3 || text[0] != '{')
    return 0;
  memcpy(entry + n, text + 1, len - 1);
  llmd__json_raw(w, entry, (size_t)n + len - 1);
  return w->rc;
}

void llmd__admin_explain(const llmd__admin_view *view, llmd__page *page)
{
  size_t bytes = 0;
  const void *area = llmd__share_area(view->share, LLMD__AREA_EXPLAIN, &bytes);
  llmd__json w;
  llmd__json_init(&w, llmd__page_write, page);
  llmd__json_begin_map(&w);
  llmd__json_key(&w, "decisions");
  llmd__json_begin_list(&w);
  (void)llmd__explain_visit(area, bytes, put_decision, &w);
  llmd__json_end(&w);
  llmd__json_end(&w);
  finish(&w, page);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* The ring shows the newest first, and the oldest shall come first: filled from its end. */
typedef struct tail {
  char *begin, *at;
} tail;

static int put_before(void *ud, uint64_t number, uint64_t wall, const char *record, size_t len)
{
  tail *t = ud;
  (void)number;
  (void)wall;
  if (len > (size_t)(t->at - t->begin))
    return 1;
  t->at -= len;
  memcpy(t->at, record, len);
  return 0;
}

void llmd__admin_records(const llmd__admin_view *view, llmd__page *page)
{
  const llmd__ring ring = llmd__records_of(view->share);
  char *room = malloc(ring.slot + ring.bytes); /* a slot, then all that the ring can hold */
  tail t;
  if (!room) {
    page->rc = LLMD_E_NOMEM;
    return;
  }
  t.begin = room + ring.slot;
  t.at = t.begin + ring.bytes;
  (void)llmd__ring_visit(&ring, room, put_before, &t);
  (void)llmd__page_write(page, t.at, (size_t)(t.begin + ring.bytes - t.at));
  free(room);
}
