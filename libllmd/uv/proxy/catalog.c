#include "uv/proxy/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/text.h"

#define FRESH_NS 1000000000u
#define SET_NAMES 256u /* of one endpoint */
#define ONE_MODEL 128u /* bytes of JSON besides the name */

void llmd__catalog_free(llmd__catalog *c, const llmd_allocator *alloc)
{
  llmd__free(alloc, c->name, c->max * sizeof *c->name);
  llmd__free(alloc, c->names, c->names_cap);
  llmd__free(alloc, c->text, c->text_cap);
  memset(c, 0, sizeof *c);
}

static int grow(const llmd_allocator *alloc, char **at, size_t *cap, size_t wanted)
{
  size_t more = *cap ? *cap : 1024;
  char *p;
  while (more < wanted)
    more *= 2;
  if (more == *cap)
    return 0;
  p = llmd__realloc(alloc, *at, *cap, more);
  if (!p)
    return LLMD_E_NOMEM;
  *at = p;
  *cap = more;
  return 0;
}

/* ---- gathering ---- */

typedef struct gathering {
  llmd__catalog *c;
  const llmd_pool *pool;
  const llmd_allocator *alloc;
  uint32_t attribute[3], n;
  int rc;
} gathering;

/* Names are kept by offset until all are there: names may move. */
static int add_name(gathering *g, llmd_str name)
{
  llmd__catalog *c = g->c;
  if (!name.len || name.len > LLMD__CATALOG_NAME || c->n == LLMD__CATALOG_NAMES)
    return 0;
  if (c->n == c->max) {
    uint32_t max = c->max ? 2 * c->max : 64;
    llmd_str *more = llmd__realloc(g->alloc, c->name, c->max * sizeof *more, max * sizeof *more);
    if (!more)
      return LLMD_E_NOMEM;
    c->name = more;
    c->max = max;
  }
  if (grow(g->alloc, &c->names, &c->names_cap, c->names_len + name.len))
    return LLMD_E_NOMEM;
  memcpy(c->names + c->names_len, name.ptr, name.len);
  c->name[c->n].ptr = NULL;
  c->name[c->n++].len = name.len;
  c->names_len += name.len;
  return 0;
}

static int gather(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  gathering *g = ud;
  llmd_str name[SET_NAMES];
  (void)e;
  for (uint32_t a = 0; a < g->n; a++) {
    int n = llmd_pool_models(g->pool, id, g->attribute[a], name, SET_NAMES);
    for (int i = 0; i < n && i < (int)SET_NAMES && !g->rc; i++)
      g->rc = add_name(g, name[i]);
  }
  return g->rc;
}

static int by_bytes(const void *left, const void *right)
{
  const llmd_str *a = left, *b = right;
  int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
  return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

/* In order, each once. */
static void settle(llmd__catalog *c)
{
  size_t at = 0;
  uint32_t k = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    c->name[i].ptr = c->names + at;
    at += c->name[i].len;
  }
  if (c->n)
    qsort(c->name, c->n, sizeof *c->name, by_bytes);
  for (uint32_t i = 0; i < c->n; i++)
    if (!k || by_bytes(&c->name[k - 1], &c->name[i]))
      c->name[k++] = c->name[i];
  c->n = k;
}

/* ---- as JSON ---- */

static void put_model(llmd__text *t, llmd_str name, uint64_t wall)
{
  llmd__text_add(t, "{\"id\":");
  llmd__text_json(t, name);
  llmd__text_add(t, ",\"object\":\"model\",\"created\":");
  llmd__text_uint(t, wall / 1000000000u);
  llmd__text_add(t, ",\"owned_by\":\"llmd\"}");
}

static int write_list(llmd__catalog *c, const llmd_allocator *alloc, uint64_t wall)
{
  llmd__text t = {NULL, 0, 0, 0};
  if (grow(alloc, &c->text, &c->text_cap, 64 + 6 * c->names_len + c->n * (size_t)ONE_MODEL))
    return LLMD_E_NOMEM;
  t.at = c->text;
  t.cap = c->text_cap;
  llmd__text_add(&t, "{\"object\":\"list\",\"data\":[");
  for (uint32_t i = 0; i < c->n; i++) {
    if (i)
      llmd__text_put(&t, ",", 1);
    put_model(&t, c->name[i], wall);
  }
  llmd__text_add(&t, "]}");
  c->text_len = t.len;
  return t.full ? LLMD_E_LIMIT : 0;
}

static int make(llmd__catalog *c, const llmd_pool *pool, const llmd_allocator *alloc, const llmd_now *now)
{
  gathering g = {c, pool, alloc, {LLMD_ATTR_ACTIVE_MODELS, LLMD_ATTR_WAITING_MODELS, 0}, 2, 0};
  int served = llmd_pool_attribute((llmd_pool *)(uintptr_t)pool, "Models", "llmd", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT);
  if (served < 0)
    return LLMD_E_NONE;
  g.attribute[g.n++] = (uint32_t)served;
  c->n = 0;
  c->names_len = 0;
  c->made = 0;
  (void)llmd_pool_each(pool, gather, &g);
  if (!g.rc) {
    settle(c);
    g.rc = c->n ? write_list(c, alloc, now->wall) : LLMD_E_NONE;
  }
  if (!g.rc)
    c->made = now->mono;
  return g.rc;
}

int llmd__catalog_list(llmd__catalog *c, const llmd_pool *pool, const llmd_allocator *alloc, const llmd_now *now,
                       llmd_str *out)
{
  if (!c->made || now->mono - c->made >= FRESH_NS) {
    int rc = make(c, pool, alloc, now);
    if (rc)
      return rc;
  }
  out->ptr = c->text;
  out->len = c->text_len;
  return 0;
}

int llmd__catalog_has(const llmd__catalog *c, llmd_str name)
{
  return c->n && bsearch(&name, c->name, c->n, sizeof *c->name, by_bytes) != NULL;
}

int64_t llmd__catalog_one(llmd_str name, uint64_t wall, char *out, size_t cap)
{
  llmd__text t = {out, 0, cap, 0};
  put_model(&t, name, wall);
  return t.full ? LLMD_E_LIMIT : (int64_t)t.len;
}
