#include "harness_inner.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_die(const char *format, ...)
{
  va_list ap;
  va_start(ap, format);
  fprintf(stderr, "# bench: ");
  vfprintf(stderr, format, ap);
  fprintf(stderr, "\n");
  va_end(ap);
  abort();
}

/* ---- endpoints and columns ------------------------------------------------------------------------------------- */
uint32_t bench_intern(bench *b, const char *text, size_t len)
{
  uint32_t i;
  for (i = 0; i < b->n_strings; i++)
    if (strlen(b->string[i]) == len && memcmp(b->string[i], text, len) == 0)
      return i + 1;
  if (b->n_strings == BENCH_STRINGS)
    bench_die("too many strings");
  b->string[b->n_strings++] = text;
  return b->n_strings;
}

static uint32_t known_string(const bench *b, const llmd_str *s)
{
  uint32_t i;
  for (i = 0; i < b->n_strings; i++)
    if (strlen(b->string[i]) == s->len && memcmp(b->string[i], s->ptr, s->len) == 0)
      return i + 1;
  return 0;
}

static llmd_str parameter(const bench *b, uint32_t offset)
{
  llmd_str s;
  memcpy(&s, (const char *)b->self + offset, sizeof s);
  return s;
}

static const char *read_name(const bench *b, const llmd_read *r)
{
  if (r->flags & LLMD_READ_NAME_PARAM) {
    llmd_str s = parameter(b, r->name_offset);
    if (s.len && s.ptr[s.len])
      bench_die("the name of a read is not terminated");
    if (s.len)
      return s.ptr;
  }
  return r->name ? r->name : "";
}

static uint32_t count_reads(const llmd_plugin *p)
{
  uint32_t n = 0;
  while (p->reads && p->reads[n].kind)
    n++;
  return n;
}

static uint32_t count_writes(const llmd_plugin *p)
{
  uint32_t n = 0;
  while (p->writes && p->writes[n].name)
    n++;
  return n;
}

static uint32_t find_read(const bench *b, uint32_t kind, const char *name)
{
  uint32_t r;
  for (r = 0; r < count_reads(b->plugin); r++)
    if (b->plugin->reads[r].kind == kind && strcmp(read_name(b, &b->plugin->reads[r]), name) == 0)
      return r;
  bench_die("%s does not read %s", b->plugin->type, name);
  return 0;
}

void bench_fill(bench *b, uint32_t kind, const char *name, uint32_t n, const double *values)
{
  memcpy(b->column[find_read(b, kind, name)], values, n * sizeof *values);
  b->n = n;
}

void bench_fill_ids(bench *b, uint32_t kind, const char *name, uint32_t n, const char *const *values)
{
  uint32_t *ids = b->ids[find_read(b, kind, name)], i;
  for (i = 0; i < n; i++)
    ids[i] = values[i] && *values[i] ? bench_intern(b, values[i], strlen(values[i])) : 0;
  b->n = n;
}

void bench_peer(bench *b, uint32_t kind, const char *name, const char *value)
{
  b->value[find_read(b, kind, name)].id = value && *value ? bench_intern(b, value, strlen(value)) : 0;
  b->has_peer = 1;
}

void bench_label(bench *b, uint32_t endpoint, const char *key, const char *value)
{
  bench_host *h = &b->host[endpoint];
  if (h->n_labels == BENCH_LABELS)
    bench_die("too many labels");
  h->label[h->n_labels].key = (llmd_str){key, strlen(key)};
  h->label[h->n_labels++].value = (llmd_str){value, strlen(value)};
}

static void cut_header(bench *b, uint32_t r)
{
  llmd_read_value *v = &b->value[r];
  llmd_str out[BENCH_MOST] = {{NULL, 0}};
  char buf[1024];
  int n = 1, i;
  out[0] = v->str;
  if (b->plugin->split)
    n = b->plugin->split(b->self, r, &v->str, buf, out, BENCH_MOST);
  for (i = 0; i < n; i++)
    b->ids[r][i] = known_string(b, &out[i]);
  v->ids = b->ids[r];
  v->n_ids = n > 0 ? (uint32_t)n : 0;
}

void bench_header(bench *b, const char *name, const char *value)
{
  uint32_t r, seen = 0;
  for (r = 0; r < count_reads(b->plugin); r++) {
    uint32_t kind = b->plugin->reads[r].kind;
    if ((kind != LLMD_READ_HEADER && kind != LLMD_READ_HEADER_IDS) || strcmp(read_name(b, &b->plugin->reads[r]), name))
      continue;
    memset(&b->value[r], 0, sizeof b->value[r]);
    b->value[r].str = (llmd_str){value, value ? strlen(value) : 0};
    if (value && kind == LLMD_READ_HEADER_IDS)
      cut_header(b, r);
    seen = 1;
  }
  if (!seen)
    bench_die("%s does not read header %s", b->plugin->type, name);
}

/* ---- bench ----------------------------------------------------------------------------------------------------- */
bench *bench_new(const llmd_plugin *plugin)
{
  static const char *const name[BENCH_MOST] = {
    "default/pod-0", "default/pod-1", "default/pod-2", "default/pod-3", "default/pod-4", "default/pod-5",
    "default/pod-6", "default/pod-7", "default/pod-8", "default/pod-9", "default/pod-10", "default/pod-11",
    "default/pod-12", "default/pod-13", "default/pod-14", "default/pod-15"};
  static const char *const address[BENCH_MOST] = {
    "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7",
    "10.0.0.8", "10.0.0.9", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14", "10.0.0.15"};
  bench *b = calloc(1, sizeof *b);
  uint32_t i, r;
  if (!b || count_reads(plugin) > BENCH_READS || count_writes(plugin) > BENCH_WRITES)
    bench_die("no room for a bench");
  b->plugin = plugin;
  b->self = calloc(1, plugin->self_size);
  if (!b->self)
    bench_die("no room for self");
  b->request.size = sizeof b->request;
  for (i = 0; i < BENCH_MOST; i++) {
    b->host[i].name = name[i];
    b->host[i].address = address[i];
    b->host[i].port = 8000;
    for (r = 0; r < BENCH_READS; r++)
      b->column[r][i] = NAN;
  }
  bench_presets(b, plugin->params, b->self);
  return b;
}

void bench_free(bench *b)
{
  while (b->n_owned)
    free(b->owned[--b->n_owned]);
  free(b->self);
  free(b);
}

/* ---- verbs ----------------------------------------------------------------------------------------------------- */
typedef struct call {
  double column[BENCH_READS][BENCH_MOST];
  uint32_t ids[BENCH_READS][BENCH_MOST];
  const double *f64[BENCH_READS];
  const uint32_t *id[BENCH_READS];
  llmd_endpoint_id endpoint[BENCH_MOST];
  llmd_batch batch;
  void *scratch;
} call;

static double derived(const bench *b, uint32_t r, uint32_t i)
{
  const bench_host *h = &b->host[i];
  const char *slash = strchr(h->name, '/');
  llmd_identity who;
  memset(&who, 0, sizeof who);
  who.size = sizeof who;
  who.n_labels = h->n_labels;
  who.label = h->label;
  who.space = (llmd_str){h->name, (size_t)(slash - h->name)};
  who.name = (llmd_str){slash + 1, strlen(slash + 1)};
  who.address = (llmd_str){h->address, strlen(h->address)};
  who.port = h->port;
  return b->plugin->derive(b->self, r, &who);
}

/* Value of F64-like read r at endpoint i, before unknown ones are replaced. */
static double cell(const bench *b, const llmd_read *read, uint32_t r, uint32_t i)
{
  uint32_t w;
  if (read->kind == LLMD_READ_DERIVED)
    return derived(b, r, i);
  if (read->from && strcmp(read->from, "@self") == 0)
    for (w = 0; w < count_writes(b->plugin); w++)
      if (strcmp(b->plugin->writes[w].name, read->name) == 0)
        return b->wrote[w][i];
  return b->column[r][i];
}

static void fill_read(bench *b, call *c, uint32_t mode, uint32_t r, uint32_t n, const uint32_t *from)
{
  const llmd_read *read = &b->plugin->reads[r];
  const double instead = mode == STRICT ? read->if_unknown_strict : read->if_unknown;
  uint32_t k;
  for (k = 0; k < n; k++) {
    uint32_t i = from ? from[k] : k;
    const char *text = read->kind == LLMD_READ_NAME ? b->host[i].name : b->host[i].address;
    if (read->kind == LLMD_READ_NAME || read->kind == LLMD_READ_ADDRESS) {
      c->ids[r][k] = bench_intern(b, text, strlen(text));
    } else if (read->kind == LLMD_READ_ID || read->kind == LLMD_READ_LABEL) {
      c->ids[r][k] = b->ids[r][i];
    } else if (read->kind < LLMD_READ_HEADER) {
      double v = cell(b, read, r, i);
      c->column[r][k] = v != v && instead == instead ? instead : v;
    }
  }
}

/* from: positions of the candidates, NULL = all. */
static call *begin(bench *b, uint32_t mode, uint32_t n, const uint32_t *from)
{
  call *c = calloc(1, sizeof *c);
  uint32_t r, k;
  if (!c)
    bench_die("no memory");
  for (r = 0; r < count_reads(b->plugin); r++) {
    fill_read(b, c, mode, r, n, from);
    c->f64[r] = c->column[r];
    c->id[r] = c->ids[r];
  }
  for (k = 0; k < n; k++)
    c->endpoint[k] = (from ? from[k] : k) + 1;
  c->scratch = malloc(b->plugin->scratch_fixed + (size_t)n * b->plugin->scratch_each + 1);
  if (!c->scratch)
    bench_die("no memory");
  memset(c->scratch, 0xa5, b->plugin->scratch_fixed + (size_t)n * b->plugin->scratch_each);
  c->batch.size = sizeof c->batch;
  c->batch.n = n;
  c->batch.f64 = c->f64;
  c->batch.id = c->id;
  c->batch.value = b->value;
  c->batch.endpoint = c->endpoint;
  c->batch.request = &b->request;
  c->batch.scratch = c->scratch;
  c->batch.seed = b->seed;
  c->batch.strict = mode == STRICT;
  c->batch.has_peer = b->has_peer;
  return c;
}

static void end(call *c)
{
  free(c->scratch);
  free(c);
}

void bench_score(bench *b, uint32_t mode, double *out)
{
  call *c = begin(b, mode, b->n, NULL);
  if (b->plugin->score(b->self, &c->batch, out) != 0)
    bench_die("score failed");
  end(c);
}

uint32_t bench_filter(bench *b, uint32_t mode, uint32_t *kept)
{
  call *c = begin(b, mode, b->n, NULL);
  uint8_t keep[BENCH_MOST];
  uint32_t order[BENCH_MOST], n = 0, i;
  int rc;
  memset(keep, 1, sizeof keep);
  rc = b->plugin->filter(b->self, &c->batch, keep, order);
  for (i = 0; i < b->n; i++)
    if (keep[i])
      kept[n++] = i;
  if (rc < 0 || (rc > 0 && (uint32_t)rc != n))
    bench_die("filter returned %d for %u kept", rc, (unsigned)n);
  for (i = 0; i < (uint32_t)rc; i++) {
    if (order[i] >= b->n || !keep[order[i]])
      bench_die("filter ordered one that it dropped, or one twice");
    keep[order[i]] = 0;
    kept[i] = order[i];
  }
  end(c);
  return n;
}

double bench_saturation(bench *b, uint32_t mode)
{
  call *c = begin(b, mode, b->n, NULL);
  double out = NAN;
  if (b->plugin->saturation(b->self, &c->batch, &out) != 0)
    bench_die("saturation failed");
  end(c);
  return out;
}

/* ---- services -------------------------------------------------------------------------------------------------- */
static bench_entry *lookup(bench *b, const llmd_key *key)
{
  uint32_t i;
  for (i = 0; i < b->n_entries; i++)
    if (b->entry[i].key.lo == key->lo && b->entry[i].key.hi == key->hi)
      return &b->entry[i];
  return NULL;
}

static int table_get(void *ctx, const llmd_key *key, uint64_t *value)
{
  bench_entry *e = lookup(ctx, key);
  if (e)
    *value = e->value;
  return e != NULL;
}

static int table_del(void *ctx, const llmd_key *key)
{
  bench *b = ctx;
  bench_entry *e = lookup(b, key);
  if (!e)
    return LLMD_E_NONE;
  memmove(e, e + 1, (size_t)(b->entry + b->n_entries - e - 1) * sizeof *e);
  b->n_entries--;
  return 0;
}

static int table_put(void *ctx, const llmd_key *key, uint64_t value, uint64_t ttl_ns)
{
  bench *b = ctx;
  table_del(b, key);
  if (b->n_entries == BENCH_ENTRIES)
    bench_die("the table is full");
  b->entry[b->n_entries].key = *key;
  b->entry[b->n_entries].value = value;
  b->entry[b->n_entries++].ttl = ttl_ns;
  return 0;
}

static void table_hash(void *ctx, const char *ptr, size_t len, llmd_key *out)
{
  size_t i;
  (void)ctx;
  out->lo = 0xcbf29ce484222325u;
  for (i = 0; i < len; i++)
    out->lo = (out->lo ^ (unsigned char)ptr[i]) * 0x100000001b3u;
  out->hi = ~out->lo;
}

static llmd_services services(bench *b)
{
  llmd_services s;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  s.ctx = b;
  s.get = table_get;
  s.put = table_put;
  s.del = table_del;
  s.hash = table_hash;
  return s;
}

void bench_produce(bench *b, uint32_t mode)
{
  llmd_services s = services(b);
  double *out[BENCH_WRITES];
  uint32_t w, i;
  call *c;
  for (w = 0; w < BENCH_WRITES; w++) {
    out[w] = b->wrote[w];
    for (i = 0; i < BENCH_MOST; i++)
      b->wrote[w][i] = NAN;
  }
  c = begin(b, mode, b->n, NULL);
  if (b->plugin->produce(b->self, &s, &c->batch, out) < 0)
    bench_die("produce failed");
  end(c);
}

void bench_commit(bench *b, uint32_t n, const uint32_t *target, const char *const *profile)
{
  llmd_services s = services(b);
  call *c = begin(b, STRICT, n, target);
  double wrote[BENCH_WRITES][BENCH_MOST];
  const double *at[BENCH_WRITES];
  llmd_str names[BENCH_MOST];
  llmd_commit_info info;
  uint32_t w, k;
  for (w = 0; w < BENCH_WRITES; w++) {
    at[w] = wrote[w];
    for (k = 0; k < n; k++)
      wrote[w][k] = b->wrote[w][target[k]];
  }
  for (k = 0; k < n; k++)
    names[k] = (llmd_str){profile[k], strlen(profile[k])};
  memset(&info, 0, sizeof info);
  info.size = sizeof info;
  info.batch = &c->batch;
  info.profile = names;
  info.wrote = at;
  if (b->plugin->commit(b->self, &s, &info) < 0)
    bench_die("commit failed");
  end(c);
}

void bench_forget(bench *b, uint32_t endpoint)
{
  llmd_services s = services(b);
  if (b->plugin->forget(b->self, &s, endpoint + 1) < 0)
    bench_die("forget failed");
}
