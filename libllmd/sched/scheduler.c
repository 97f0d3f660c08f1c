/* Making a scheduler: configuration -> sources, columns, bindings, state in the region. */
#include "sched/scheduler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "sched/policy.h"
#include "sched/record.h"
#include "sched/state.h"

#define CORE "core-metrics-extractor"

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

static int same_text(const char *a, const char *b)
{
  return !strcmp(a ? a : "", b ? b : "");
}

static int is_core(const char *producer)
{
  return !producer || !*producer || !strcmp(producer, CORE);
}

static int find_column(const llmd_scheduler *s, const char *name, const char *producer)
{
  for (uint32_t i = 0; i < s->n_columns; i++)
    if (same_text(s->column[i].name, name) && same_text(s->column[i].producer, producer))
      return (int)i;
  return -1;
}

/* ---- counting and making room ----------------------------------------------------------------------------------- */

static int make_room(llmd_scheduler *s)
{
  const llmd__config *c = s->config;
  uint32_t reads = 0, writes = 0;
  for (uint32_t i = 0; i < c->n_instances; i++) {
    reads += count_reads(c->instance[i].plugin);
    writes += count_writes(c->instance[i].plugin);
  }
  s->n_index_room = reads + writes;
  s->column_room = reads + writes; /* a read may need one that nobody writes: see hosted_column */
  s->source = llmd__calloc(&s->alloc, reads, sizeof *s->source);
  s->column = llmd__calloc(&s->alloc, s->column_room, sizeof *s->column);
  s->binding = llmd__calloc(&s->alloc, c->n_instances, sizeof *s->binding);
  s->index_room = llmd__calloc(&s->alloc, s->n_index_room, sizeof *s->index_room);
  return s->source && s->column && s->binding && s->index_room ? 0 : LLMD_E_NOMEM;
}

static void free_room(llmd_scheduler *s)
{
  const llmd__config *c = s->config;
  uint32_t reads = 0;
  for (uint32_t i = 0; c && i < c->n_instances; i++)
    reads += count_reads(c->instance[i].plugin);
  if (!c)
    return;
  llmd__free(&s->alloc, s->source, reads * sizeof *s->source);
  llmd__free(&s->alloc, s->column, s->column_room * sizeof *s->column);
  llmd__free(&s->alloc, s->binding, c->n_instances * sizeof *s->binding);
  llmd__free(&s->alloc, s->index_room, s->n_index_room * sizeof *s->index_room);
}

/* ---- columns and sources ---------------------------------------------------------------------------------------- */

/* The pool's number of an attribute, registered when this process writes; -1 = not there. */
static int32_t attribute_of(llmd_scheduler *s, const char *name, const char *producer, uint32_t type, uint32_t scope)
{
  int i = llmd_pool_attribute(s->pool, name, producer, type, scope);
  return i >= 0 ? i : -1;
}

/* How much a column of matches is worth asking: see match_column. */
static int trust(const llmd_scheduler *s, const llmd__column *col)
{
  const llmd_write *w = &s->config->instance[col->instance].plugin->writes[col->write];
  if ((w->flags & LLMD_WRITE_EXACT) && s->options.compat != LLMD_COMPAT_STRICT)
    return 2;
  return !strcmp(col->producer, "approx-prefix-cache-producer");
}

static void note_match(llmd_scheduler *s, uint32_t column)
{
  const llmd__column *col = &s->column[column];
  if (!strcmp(col->name, "PrefixCacheMatchInfo.match") &&
      (s->match_column == LLMD__NONE || trust(s, col) > trust(s, &s->column[s->match_column])))
    s->match_column = column;
  if (!strcmp(col->name, "PrefixCacheMatchInfo.total") && s->match_column != LLMD__NONE &&
      s->column[s->match_column].instance == col->instance)
    s->total_column = trust(s, &s->column[s->match_column]) == 2 ? column : LLMD__NONE;
}

static void add_columns(llmd_scheduler *s, uint32_t instance, uint32_t **room)
{
  const llmd__instance *in = &s->config->instance[instance];
  llmd__binding *b = &s->binding[instance];
  b->n_writes = count_writes(in->plugin);
  b->column = *room;
  *room += b->n_writes;
  for (uint32_t w = 0; w < b->n_writes; w++) {
    llmd__column *col = &s->column[s->n_columns];
    col->name = in->plugin->writes[w].name;
    col->producer = in->name;
    col->instance = instance;
    col->write = w;
    col->charge = in->plugin->writes[w].flags & LLMD_WRITE_CHARGE;
    col->attribute = attribute_of(s, col->name, col->producer, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
    if (col->charge)
      s->charge_column = s->n_columns;
    note_match(s, s->n_columns);
    b->column[w] = s->n_columns++;
  }
}

/* A column without a producer in this configuration: an optional read of what a known producer type would write. Only
 * the host fills it, on a request. -1 = the read is of no such thing. */
static int hosted_column(llmd_scheduler *s, const llmd__source *src)
{
  int old;
  const llmd_plugin *p = src->producer ? llmd__registry_find(s->registry, src->producer, &old) : NULL;
  llmd__column *col = &s->column[s->n_columns];
  uint32_t w = 0;
  while (p && p->writes && p->writes[w].name && strcmp(p->writes[w].name, src->name))
    w++;
  if (!p || !p->writes || !p->writes[w].name)
    return -1;
  col->name = src->name;
  col->producer = src->producer;
  col->instance = LLMD__NONE;
  col->attribute = attribute_of(s, col->name, col->producer, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST);
  return (int)s->n_columns++;
}

static uint32_t load_of(const llmd__source *src)
{
  if (src->kind == LLMD_READ_F64 && src->attribute >= 0 && src->column == LLMD__NONE) {
    if (src->attribute == (int32_t)LLMD_ATTR_WAITING || src->attribute == (int32_t)LLMD_ATTR_RUNNING)
      return 2;
    if (src->attribute == (int32_t)LLMD_ATTR_KV_USAGE)
      return 1;
  }
  return 0;
}

static void resolve_source(llmd_scheduler *s, llmd__source *src)
{
  int col;
  src->attribute = -1;
  src->column = LLMD__NONE;
  switch (src->kind) {
  case LLMD_READ_F64:
    col = find_column(s, src->name, src->producer);
    if (col < 0)
      col = hosted_column(s, src);
    if (col >= 0)
      src->column = (uint32_t)col;
    else
      src->attribute = attribute_of(s, src->name, src->producer, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
    break;
  case LLMD_READ_ID:
    src->attribute = attribute_of(s, src->name, src->producer, LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
    break;
  case LLMD_READ_HAS_MODEL:
  case LLMD_READ_SET_SIZE:
    src->attribute = attribute_of(s, src->name, src->producer, LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT);
    break;
  default:
    break;
  }
  src->load = load_of(src);
}

static int same_source(const llmd__source *a, const llmd__source *b)
{
  int fills = a->fill == b->fill || (a->fill != a->fill && b->fill != b->fill);
  if (a->kind != b->kind || !same_text(a->name, b->name) || !fills)
    return 0;
  if (a->kind == LLMD_READ_DERIVED || a->kind == LLMD_READ_HEADER_IDS)
    return a->instance == b->instance && a->read == b->read;
  if (is_core(a->producer) && is_core(b->producer))
    return 1;
  return same_text(a->producer, b->producer);
}

static uint32_t add_source(llmd_scheduler *s, const llmd__source *want)
{
  for (uint32_t i = 0; i < s->n_sources; i++) {
    if (!same_source(&s->source[i], want))
      continue;
    s->source[i].text |= want->text;
    return i;
  }
  s->source[s->n_sources] = *want;
  resolve_source(s, &s->source[s->n_sources]);
  return s->n_sources++;
}

/* What stands in NaN's place; only numbers have such. */
static double fill_of(const llmd_scheduler *s, const llmd_read *r)
{
  if (r->kind != LLMD_READ_F64 && r->kind != LLMD_READ_DERIVED)
    return (double)NAN;
  return s->options.compat == LLMD_COMPAT_STRICT ? r->if_unknown_strict : r->if_unknown;
}

static void add_sources(llmd_scheduler *s, uint32_t instance, uint32_t **room)
{
  const llmd__instance *in = &s->config->instance[instance];
  llmd__binding *b = &s->binding[instance];
  b->n_reads = count_reads(in->plugin);
  b->source = *room;
  *room += b->n_reads;
  for (uint32_t r = 0; r < b->n_reads; r++) {
    const llmd_read *read = &in->plugin->reads[r];
    llmd__source want;
    memset(&want, 0, sizeof want);
    want.kind = read->kind;
    want.instance = instance;
    want.read = r;
    want.name = llmd__read_name(in, read);
    want.producer = llmd__read_producer(in, read);
    want.fill = fill_of(s, read);
    want.text = llmd__source_cell(read->kind) == 4 && (read->flags & LLMD_READ_TEXT);
    b->source[r] = add_source(s, &want);
  }
}

/* What derive and split make of an endpoint, or of a header, depends on whose they are. */
void llmd__source_name_of(const llmd_scheduler *s, uint32_t source, llmd__source_name *out)
{
  const llmd__source *src = &s->source[source];
  const llmd__instance *in = &s->config->instance[src->instance];
  const char *producer = is_core(src->producer) ? "" : src->producer;
  if (src->kind == LLMD_READ_DERIVED || (src->kind == LLMD_READ_HEADER_IDS && in->plugin->split)) {
    snprintf(out->buf, sizeof out->buf, "%.64s/%.80s", in->plugin->type, in->name);
    producer = out->buf;
  }
  out->name.ptr = src->name ? src->name : "";
  out->name.len = strlen(out->name.ptr);
  out->producer.ptr = producer;
  out->producer.len = strlen(producer);
}

/* ---- state ------------------------------------------------------------------------------------------------------ */

static int bind_states(llmd_scheduler *s, llmd_err *err)
{
  llmd__state_take_over(s->pool);
  for (uint32_t i = 0; i < s->config->n_instances; i++) {
    const llmd__instance *in = &s->config->instance[i];
    int rc = llmd__state_bind(s, i);
    if (rc)
      return llmd__fail(err, rc, in->line, 0, NULL, "no room in the region for the state of %s: %s", in->name,
                        llmd_strerror(rc));
  }
  return 0;
}

/* ---- create, free ----------------------------------------------------------------------------------------------- */

/* Does a plugin want real tokens? Without room for their cache they are asked for each time. */
static int bind_tokens(llmd_scheduler *s, llmd_err *err)
{
  static const char text[] = "the region has no room for a cache of tokens: they are asked for each time";
  int rc = 0;
  for (uint32_t i = 0; i < s->config->n_instances; i++) {
    const llmd__instance *in = &s->config->instance[i];
    s->wants_tokens |= in->plugin->needs && (in->plugin->needs(in->self.self) & LLMD_NEEDS_TOKENS);
  }
  if (s->wants_tokens)
    rc = llmd__pool_tokens(s->pool, &s->token_off, &s->token_bytes);
  if (rc && rc != LLMD_E_FULL)
    return llmd__fail(err, rc, 0, 0, NULL, "no cache of tokens in the region: %s", llmd_strerror(rc));
  if (rc && s->options.log)
    s->options.log(s->options.log_ud, LLMD_LOG_WARN, "config", text, sizeof text - 1);
  return 0;
}

static int compile(llmd_scheduler *s, llmd_err *err)
{
  uint32_t *room;
  int rc = make_room(s);
  if (rc)
    return llmd__fail(err, rc, 0, 0, NULL, "out of memory");
  room = s->index_room;
  s->match_column = s->total_column = s->charge_column = LLMD__NONE;
  for (uint32_t i = 0; i < s->config->n_instances; i++)
    add_columns(s, i, &room);
  for (uint32_t i = 0; i < s->config->n_instances; i++) {
    const llmd_plugin *p = s->config->instance[i].plugin;
    add_sources(s, i, &room);
    s->scratch_fixed = p->scratch_fixed > s->scratch_fixed ? p->scratch_fixed : s->scratch_fixed;
    s->scratch_each = p->scratch_each > s->scratch_each ? p->scratch_each : s->scratch_each;
  }
  s->identity = llmd__config_identity(s->config) + s->options.compat;
  rc = bind_states(s, err);
  return rc ? rc : bind_tokens(s, err);
}

static void destroy(llmd_scheduler *s)
{
  llmd_allocator alloc = s->alloc;
  free_room(s);
  llmd__config_free(s->config);
  llmd__registry_free(s->registry);
  llmd__free(&alloc, s, sizeof *s);
}

static int load(llmd_scheduler *s, const char *text, size_t len, llmd_err *err)
{
  llmd__policy_source policies = {&s->options, s->pool};
  llmd__config_options co = {s->options.refuse_alpha, s->options.log, s->options.log_ud, &policies};
  int rc =
      llmd__registry_create(&s->alloc, s->options.module_dir, s->options.log, s->options.log_ud, &s->registry, err);
  if (!rc)
    rc = llmd__config_load(&s->alloc, s->registry, text, len, &co, &s->config, err);
  if (!rc)
    rc = compile(s, err);
  return rc;
}

int llmd_scheduler_create(const llmd_scheduler_options *options, llmd_pool *pool, const char *text, size_t len,
                          llmd_scheduler **out, llmd_err *err)
{
  llmd_scheduler_options o;
  llmd_allocator alloc;
  llmd_scheduler *s;
  int rc;
  if (!pool || !out || (!text && len))
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "a scheduler needs a pool and a configuration");
  memset(&o, 0, sizeof o);
  if (options)
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  llmd__alloc_init(&alloc, o.alloc);
  s = llmd__calloc(&alloc, 1, sizeof *s);
  if (!s)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  s->alloc = alloc;
  s->options = o;
  s->options.max_tokens = o.max_tokens ? o.max_tokens : 131072;
  s->options.budget_ns = o.budget_ns ? o.budget_ns : 1000000;
  s->pool = pool;
  atomic_store(&s->refs, 1);
  rc = load(s, text, len, err);
  s->options.module_dir = s->options.loader_dir = s->options.policy_dir = NULL;
  s->options.policy = NULL;
  if (rc) {
    destroy(s);
    return rc;
  }
  *out = s;
  return 0;
}

void llmd__scheduler_hold(llmd_scheduler *s)
{
  atomic_fetch_add(&s->refs, 1);
}

void llmd_scheduler_free(llmd_scheduler *s)
{
  if (s && atomic_fetch_sub(&s->refs, 1) == 1)
    destroy(s);
}

int llmd_scheduler_write_config(const llmd_scheduler *s, llmd_write_fn fn, void *ud)
{
  return llmd__config_write(s->config, fn, ud);
}

const char *llmd_reason_text(uint32_t reason)
{
  switch (reason) {
  case LLMD_REASON_NO_ENDPOINTS:
    return "rejected-no-endpoints";
  case LLMD_REASON_SATURATED:
    return "rejected-saturated";
  default:
    return "";
  }
}
