#include "model/columns.h"

#include <stdio.h>
#include <string.h>

#include "model/strings.h"

#define CORE "core-metrics-extractor"
#define MOST 2147483647.0 /* counts above this are absurd */

static const struct {
  const char *name;
  uint32_t type;
} core[] = {
    {"WaitingQueueSize", LLMD_TYPE_F64}, {"RunningRequestsSize", LLMD_TYPE_F64}, {"KVCacheUsagePercent", LLMD_TYPE_F64},
    {"MaxActiveModels", LLMD_TYPE_F64},  {"CacheBlockSize", LLMD_TYPE_F64},      {"CacheNumBlocks", LLMD_TYPE_F64},
    {"ActiveModels", LLMD_TYPE_SET},     {"WaitingModels", LLMD_TYPE_SET},       {"CacheHashAlgorithm", LLMD_TYPE_ID},
};
#define N_CORE (sizeof core / sizeof *core)

/* The number of one of the pool's own attributes; -1 = it is none. They have their numbers from the start. */
static int core_number(const char *name, const char *producer)
{
  if (producer && *producer && strcmp(producer, CORE))
    return -1;
  for (uint32_t i = 0; i < N_CORE; i++)
    if (!strcmp(core[i].name, name))
      return (int)i;
  return -1;
}

static int full_name(char *out, size_t cap, const char *name, const char *producer)
{
  int n = snprintf(out, cap, "%s/%s", name, producer && *producer ? producer : CORE);
  return n > 0 && (size_t)n < cap ? 0 : LLMD_E_LIMIT;
}

int llmd__pool_find_attribute(const llmd_pool *p, const char *name, const char *producer, uint32_t *type,
                              uint32_t *scope)
{
  char full[sizeof((llmd__attribute *)0)->name];
  const llmd__attribute *a = llmd__region_attributes(p->g);
  uint32_t n = atomic_load_explicit(&p->g->n_attributes, memory_order_acquire);
  int own = core_number(name, producer);
  if (own >= 0) { /* even where no writer has been yet */
    *type = core[own].type;
    *scope = LLMD_SCOPE_ENDPOINT;
    return own;
  }
  if (full_name(full, sizeof full, name, producer))
    return LLMD_E_NONE;
  for (uint32_t i = 0; i < n; i++) {
    if (strcmp(a[i].name, full))
      continue;
    *type = a[i].type;
    *scope = a[i].scope;
    return (int)i;
  }
  return LLMD_E_NONE;
}

/* A new column starts unknown in the staging copy; buffers copy it at the next publish. */
static void blank_column(llmd_pool *p, uint32_t attribute, uint32_t type)
{
  llmd__buffer_view v;
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  if (type == LLMD_TYPE_F64)
    for (uint32_t i = 0; i < p->g->caps.endpoints; i++)
      llmd__column_f64(&v, p->g, attribute)[i] = (double)__builtin_nan("");
}

static uint32_t count_sets(const llmd_pool *p, uint32_t n)
{
  uint32_t sets = 0;
  for (uint32_t i = 0; i < n; i++)
    sets += llmd__region_attributes(p->g)[i].type == LLMD_TYPE_SET;
  return sets;
}

static int add_attribute(llmd_pool *p, const char *name, const char *producer, uint32_t type, uint32_t scope)
{
  uint32_t n = atomic_load(&p->g->n_attributes), sets = count_sets(p, n);
  llmd__attribute *a = &llmd__region_attributes(p->g)[n];
  if (n >= p->g->caps.attributes || (type == LLMD_TYPE_SET && sets >= LLMD__SETS))
    return LLMD_E_FULL;
  if (full_name(a->name, sizeof a->name, name, producer))
    return LLMD_E_LIMIT;
  a->type = type;
  a->scope = scope;
  a->set = type == LLMD_TYPE_SET ? sets : 0;
  blank_column(p, n, type);
  atomic_store_explicit(&p->g->n_attributes, n + 1, memory_order_release);
  return (int)n;
}

int llmd_pool_attribute(llmd_pool *pool, const char *name, const char *producer, uint32_t type, uint32_t scope)
{
  uint32_t have_type = 0, have_scope = 0;
  int i;
  if (!name || !*name || type < LLMD_TYPE_F64 || type > LLMD_TYPE_SET || scope < LLMD_SCOPE_ENDPOINT ||
      scope > LLMD_SCOPE_ENDPOINT_REQUEST || (scope == LLMD_SCOPE_ENDPOINT_REQUEST && type != LLMD_TYPE_F64))
    return LLMD_E_INVALID;
  i = llmd__pool_find_attribute(pool, name, producer, &have_type, &have_scope);
  if (i >= 0)
    return have_type == type && have_scope == scope ? i : LLMD_E_TYPE;
  if (!pool->writer)
    return LLMD_E_NONE;
  return add_attribute(pool, name, producer, type, scope);
}

int llmd__attributes_init(llmd_pool *p)
{
  if (atomic_load(&p->g->n_attributes) >= N_CORE)
    return 0;
  for (uint32_t i = 0; i < N_CORE; i++) {
    int rc = add_attribute(p, core[i].name, CORE, core[i].type, LLMD_SCOPE_ENDPOINT);
    if (rc < 0)
      return rc;
  }
  return 0;
}

llmd__row *llmd__staging_row(const llmd_pool *p, llmd_endpoint_id id, llmd__buffer_view *view)
{
  uint32_t slot = llmd__slot_of(id);
  llmd__region_view(p->g, LLMD__BUFFERS, view);
  return id && slot < p->g->caps.endpoints && view->row[slot].id == id ? &view->row[slot] : NULL;
}

void llmd__columns_clear(llmd_pool *p, uint32_t slot)
{
  llmd__buffer_view v;
  uint32_t n = atomic_load(&p->g->n_attributes);
  llmd__region_view(p->g, LLMD__BUFFERS, &v);
  for (uint32_t a = 0; a < n; a++) {
    uint32_t type = llmd__region_attributes(p->g)[a].type;
    if (type == LLMD_TYPE_F64)
      llmd__column_f64(&v, p->g, a)[slot] = (double)__builtin_nan("");
    else if (type == LLMD_TYPE_ID)
      llmd__column_id(&v, p->g, a)[slot] = 0;
  }
  for (uint32_t s = 0; s < LLMD__SETS; s++)
    llmd__column_set(&v, p->g, s, slot)[0] = 0;
}

/* The attribute if it is of the type and has a column. */
static const llmd__attribute *writable(const llmd_pool *p, uint32_t attribute, uint32_t type)
{
  const llmd__attribute *a = &llmd__region_attributes(p->g)[attribute];
  if (attribute >= atomic_load_explicit(&p->g->n_attributes, memory_order_relaxed))
    return NULL;
  return a->type == type && a->scope == LLMD_SCOPE_ENDPOINT ? a : NULL;
}

/* A sample of the pool's own attributes that cannot be true never improves an endpoint: it makes the value unknown. */
static int absurd(uint32_t attribute, double value)
{
  if (attribute > LLMD_ATTR_NUM_BLOCKS)
    return value - value != 0; /* infinite */
  if (!(value >= 0) || value > MOST)
    return 1;
  return attribute == LLMD_ATTR_KV_USAGE && value > 1.5;
}

int llmd_pool_set(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, double value)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  double *cell;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  if (!writable(pool, attribute, LLMD_TYPE_F64))
    return LLMD_E_TYPE;
  cell = &llmd__column_f64(&v, pool->g, attribute)[row->slot];
  if (value == value && absurd(attribute, value)) {
    *cell = (double)__builtin_nan("");
    atomic_fetch_add_explicit(&pool->g->samples_refused, 1, memory_order_relaxed);
    return LLMD_E_RANGE;
  }
  *cell = value;
  return 0;
}

int llmd_pool_set_text(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const char *ptr, size_t len)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  uint32_t text = 0;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  if (!writable(pool, attribute, LLMD_TYPE_ID))
    return LLMD_E_TYPE;
  if (len && !(text = llmd__string_add(pool, ptr, len)) && llmd__strings_rescue(pool))
    text = llmd__string_add(pool, ptr, len);
  if (len && !text)
    return LLMD_E_FULL;
  llmd__column_id(&v, pool->g, attribute)[row->slot] = text;
  return 0;
}

/* Empty while it changes: a writer that dies leaves no set of old and new members, and the next page fills it. */
static uint32_t write_set(llmd_pool *pool, uint32_t *set, const llmd_str *names, uint32_t n)
{
  uint32_t kept = 0;
  set[0] = 0;
  atomic_signal_fence(memory_order_seq_cst);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t text = llmd__string_add(pool, names[i].ptr, names[i].len);
    if (text)
      set[1 + kept++] = text;
  }
  atomic_signal_fence(memory_order_seq_cst);
  set[0] = kept;
  return kept;
}

int llmd_pool_set_models(llmd_pool *pool, llmd_endpoint_id id, uint32_t attribute, const llmd_str *names, uint32_t n)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  const llmd__attribute *a;
  uint32_t *set, kept;
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  a = writable(pool, attribute, LLMD_TYPE_SET);
  if (!a)
    return LLMD_E_TYPE;
  if (n > pool->g->caps.models)
    return LLMD_E_LIMIT;
  set = llmd__column_set(&v, pool->g, a->set, row->slot);
  kept = write_set(pool, set, names, n);
  if (kept < n && llmd__strings_rescue(pool))
    kept = write_set(pool, set, names, n);
  return kept < n ? LLMD_E_FULL : 0;
}

int llmd_pool_touch(llmd_pool *pool, llmd_endpoint_id id, uint64_t mono)
{
  llmd__buffer_view v;
  llmd__row *row = llmd__staging_row(pool, id, &v);
  if (!pool->writer)
    return LLMD_E_DENIED;
  if (!row)
    return LLMD_E_STALE;
  row->updated = mono;
  return 0;
}
