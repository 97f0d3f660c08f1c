/* llm-d's file-discovery format: the staging copy is made equal to what a file says.
 *
 *   endpoints:
 *   - {name: pod-0, namespace: default, address: 10.0.0.1, port: "8000", labels: {llm-d.ai/role: decode}}
 *
 * The whole file is checked before the first change; `rank` is ours (data-parallel rank, default 0). */
#include <string.h>

#include "base/tree.h"
#include "model/columns.h"
#include "model/strings.h"

#define MAX_LABELS 64u

typedef struct entry {
  llmd_endpoint e;
  const llmd__node *node;
  uint32_t name, address; /* ids */
} entry;

static int read_port(const llmd__node *n, uint32_t *out, llmd_err *err)
{
  int64_t v = 0;
  if (n && n->kind == LLMD__STR) {
    for (size_t i = 0; i < n->text.len && v <= 65535; i++) {
      if (n->text.ptr[i] < '0' || n->text.ptr[i] > '9')
        return llmd__node_fail(n, err, LLMD_E_RANGE, "port must be a number from 1 to 65535");
      v = v * 10 + (n->text.ptr[i] - '0');
    }
  } else {
    int rc = n ? llmd__node_int(n, INT64_MIN, INT64_MAX, &v, err) : 0;
    if (rc)
      return rc;
  }
  if (v < 1 || v > 65535)
    return llmd__node_fail(n, err, LLMD_E_RANGE, "port must be a number from 1 to 65535");
  *out = (uint32_t)v;
  return 0;
}

static int read_entry(const llmd_pool *p, const llmd__node *n, entry *out, llmd_err *err)
{
  static const char *const names[] = {"name", "namespace", "address", "port", "labels", "rank"};
  const llmd__node *labels = NULL;
  int64_t rank = 0;
  int rc = llmd__node_expect(n, LLMD__MAP, err);
  memset(out, 0, sizeof *out);
  out->e.size = sizeof out->e;
  out->node = n;
  if (!rc)
    rc = llmd__reject_unknown(n, names, sizeof names / sizeof *names, err);
  if (!rc)
    rc = llmd__get_str(n, "name", &out->e.name, err);
  if (rc >= 0)
    rc = llmd__get_str(n, "namespace", &out->e.space, err);
  if (rc >= 0)
    rc = llmd__get_str(n, "address", &out->e.address, err);
  if (rc >= 0)
    rc = llmd__get_int(n, "rank", 0, 65535, &rank, err);
  if (rc >= 0)
    rc = llmd__get_map(n, "labels", &labels, err);
  if (rc >= 0)
    rc = llmd__require(n, "port", err);
  if (rc >= 0)
    rc = read_port(llmd__map_get(n, "port"), &out->e.port, err);
  if (rc < 0)
    return rc;
  if (!out->e.address.len)
    return llmd__node_fail(n, err, LLMD_E_MISSING, "address is required");
  if (labels && labels->count > (p->g->caps.labels < MAX_LABELS ? p->g->caps.labels : MAX_LABELS))
    return llmd__node_fail(labels, err, LLMD_E_LIMIT, "more than %u labels", p->g->caps.labels);
  for (const llmd__node *l = labels ? labels->first : NULL; l && !rc; l = l->next)
    rc = llmd__node_expect(l, LLMD__STR, err);
  out->e.rank = (uint32_t)rank;
  return rc;
}

static int clash(const entry *a, const entry *b)
{
  return a->name == b->name || (a->address == b->address && a->e.port == b->e.port && a->e.rank == b->e.rank);
}

static uint32_t labels_of(const entry *e, llmd_label *out)
{
  const llmd__node *labels = llmd__map_get(e->node, "labels");
  uint32_t n = 0;
  for (const llmd__node *l = labels && labels->kind == LLMD__MAP ? labels->first : NULL; l && n < MAX_LABELS;
       l = l->next) {
    out[n].key = l->key;
    out[n++].value = l->text;
  }
  return n;
}

/* All that could fail later is tried now: room for its strings, and its labels. */
static int name_entry(llmd_pool *p, entry *e, llmd_err *err)
{
  llmd_label labels[MAX_LABELS];
  uint32_t ids[2 * MAX_LABELS];
  llmd__row row;
  int rc;
  e->e.labels = labels;
  e->e.n_labels = labels_of(e, labels);
  rc = llmd__endpoint_intern(p, &e->e, &row, ids);
  if (rc)
    return llmd__node_fail(e->node, err, rc, "the endpoint cannot be taken: %s", llmd_strerror(rc));
  e->name = row.name;
  e->address = row.address;
  return 0;
}

static int read_all(llmd_pool *p, const llmd__node *list, entry *all, llmd_err *err)
{
  uint32_t n = 0;
  for (const llmd__node *c = list ? list->first : NULL; c; c = c->next, n++) {
    int rc = read_entry(p, c, &all[n], err);
    if (!rc)
      rc = name_entry(p, &all[n], err);
    if (rc)
      return rc;
    for (uint32_t i = 0; i < n; i++)
      if (clash(&all[i], &all[n]))
        return llmd__node_fail(c, err, LLMD_E_DUPLICATE, "the same endpoint as in line %u", all[i].node->line);
  }
  return 0;
}

/* The live endpoint that the entry describes: same name and same place. */
static llmd_endpoint_id existing(const llmd_pool *p, const entry *e)
{
  llmd__buffer_view v;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  for (uint32_t i = 0; i < v.head->n; i++) {
    const llmd__row *r = &v.row[i];
    if (r->id && r->name == e->name && r->address == e->address && r->port == e->e.port && r->rank == e->e.rank)
      return r->id;
  }
  return 0;
}

static int wanted(const llmd_endpoint_id *ids, uint32_t n, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < n; i++)
    if (ids[i] == id)
      return 1;
  return 0;
}

static int apply_one(llmd_pool *p, entry *e, llmd_endpoint_id id, llmd_err *err)
{
  llmd_label labels[MAX_LABELS];
  llmd_endpoint_id added;
  int rc;
  e->e.labels = labels;
  e->e.n_labels = labels_of(e, labels);
  rc = id ? llmd_pool_set_labels(p, id, labels, e->e.n_labels) : llmd_pool_add(p, &e->e, &added);
  return rc ? llmd__node_fail(e->node, err, rc, "the endpoint cannot be added: %s", llmd_strerror(rc)) : 0;
}

/* Removes what the file does not have, then adds and relabels. Room was checked before. */
static int apply(llmd_pool *p, entry *all, llmd_endpoint_id *ids, uint32_t n, llmd_err *err)
{
  llmd__buffer_view v;
  uint32_t live = 0, kept = 0;
  int rc = 0;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  for (uint32_t i = 0; i < n; i++) {
    ids[i] = existing(p, &all[i]);
    kept += ids[i] != 0;
  }
  for (uint32_t i = 0; i < v.head->n; i++)
    live += v.row[i].id != 0 || v.row[i].flags;
  if (live + (n - kept) > p->g->caps.endpoints)
    return llmd__fail(err, LLMD_E_FULL, 0, 0, "endpoints", "%u endpoints do not fit into the %u slots of the region"
                      " (a slot that an endpoint left is free after the next tick)",
                      n, p->g->caps.endpoints);
  for (uint32_t i = 0; i < v.head->n; i++)
    if (v.row[i].id && !wanted(ids, n, v.row[i].id))
      llmd_pool_remove(p, v.row[i].id);
  for (uint32_t i = 0; i < n && !rc; i++)
    rc = apply_one(p, &all[i], ids[i], err);
  return rc;
}

static int load_tree(llmd_pool *p, const llmd__node *root, llmd_err *err)
{
  static const char *const names[] = {"endpoints"};
  const llmd__node *list = NULL;
  llmd_endpoint_id *ids;
  entry *all;
  uint32_t n;
  int rc = llmd__reject_unknown(root, names, 1, err);
  if (!rc)
    rc = llmd__get_list(root, "endpoints", &list, err);
  if (rc < 0)
    return rc;
  n = list ? list->count : 0;
  all = llmd__calloc(&p->alloc, n, sizeof *all);
  ids = llmd__calloc(&p->alloc, n, sizeof *ids);
  rc = all && ids ? read_all(p, list, all, err) : llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  if (rc == LLMD_E_FULL && llmd__strings_rescue(p))
    rc = read_all(p, list, all, err);
  if (!rc)
    rc = apply(p, all, ids, n, err);
  llmd__free(&p->alloc, all, n * sizeof *all);
  llmd__free(&p->alloc, ids, n * sizeof *ids);
  return rc ? rc : (int)n;
}

int llmd_pool_load(llmd_pool *pool, const char *text, size_t len, llmd_err *err)
{
  llmd__tree *tree = NULL;
  int rc;
  if (!pool->writer)
    return llmd__fail(err, LLMD_E_DENIED, 0, 0, NULL, "only the writer loads endpoints");
  rc = llmd__tree_parse(&pool->alloc, text, len, NULL, &tree, err);
  if (rc)
    return rc;
  rc = load_tree(pool, llmd__tree_root(tree), err);
  llmd__tree_free(tree);
  return rc;
}
