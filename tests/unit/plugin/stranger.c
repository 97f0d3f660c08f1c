/* A stranger's module, for tests: plugins that do what their parameters say, failing included. */
#include <llmd/plugin.h>

#include <math.h>
#include <string.h>

typedef struct stranger {
  uint32_t fail; /* every verb fails */
  uint32_t wild; /* filter and picker answer with positions that do not exist */
  double value;
  int64_t order; /* the filter reverses the candidates */
  llmd_str from; /* the producer also reads what that one writes */
} stranger;

static int score(const void *self, const llmd_batch *b, double *out)
{
  const stranger *s = self;
  for (uint32_t i = 0; i < b->n; i++)
    out[i] = b->f64[0][i] == s->value;
  return s->fail ? LLMD_E_PLUGIN : 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const stranger *s = self;
  memset(keep, 1, b->n);
  if (s->fail)
    return LLMD_E_PLUGIN;
  for (uint32_t i = 0; i < b->n; i++)
    order[i] = s->wild ? b->n + 1000000000 : b->n - 1 - i;
  return s->order || s->wild ? (int)b->n : 0;
}

static int pick(const void *self, const llmd_batch *b, const double *total, uint32_t *out, uint32_t cap)
{
  const stranger *s = self;
  uint32_t n = b->n < cap ? b->n : cap;
  (void)total;
  for (uint32_t i = 0; i < n; i++)
    out[i] = s->wild ? b->n + i : i;
  return s->fail ? LLMD_E_PLUGIN : (int)n;
}

static int next(const void *self, const llmd_stages *s, llmd_next *out)
{
  const stranger *me = self;
  if (s->run[0].state == LLMD_RUN_NOT || me->wild) /* wild: never comes to an end */
    out->run = 1;
  return me->fail ? LLMD_E_PLUGIN : 0;
}

static int finish(const void *self, const llmd_stages *s, llmd_outcome *out)
{
  (void)s;
  out->primary = ((const stranger *)self)->order ? 77 : 0; /* order: a profile that is not there */
  return 0;
}

/* Writes value to every candidate; remembers commits and departures in its table under fixed keys. */
static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const stranger *me = self;
  uint64_t n = 0;
  llmd_key key = {1, 0};
  int there = s->get(s->ctx, &key, &n);
  for (uint32_t i = 0; i < b->n; i++)
    out[0][i] = me->value + b->f64[0][i] + (there > 0 ? (double)n : 0);
  return me->fail ? LLMD_E_PLUGIN : 0;
}

static int commit(const void *self, const llmd_services *s, const llmd_commit_info *c)
{
  const stranger *me = self;
  uint64_t n = 0;
  llmd_key key = {1, 0};
  s->get(s->ctx, &key, &n);
  if (c->primary < c->batch->n && !isnan(c->wrote[0][c->primary]))
    n += c->batch->n;
  return me->fail ? LLMD_E_PLUGIN : s->put(s->ctx, &key, n, 0);
}

static int forget(const void *self, const llmd_services *s, llmd_endpoint_id endpoint)
{
  llmd_key key = {1, 0};
  (void)self;
  (void)endpoint;
  return s->put(s->ctx, &key, 100, 0);
}

static const llmd_param params[] = {
    {.name = "fail", .type = LLMD_PARAM_BOOL, .offset = offsetof(stranger, fail), .doc = "every verb fails"},
    {.name = "wild", .type = LLMD_PARAM_BOOL, .offset = offsetof(stranger, wild), .doc = "positions out of range"},
    {.name = "value", .type = LLMD_PARAM_FLOAT, .offset = offsetof(stranger, value), .preset = "0",
     .doc = "the queue length that scores 1"},
    {.name = "order", .type = LLMD_PARAM_INT, .offset = offsetof(stranger, order), .preset = "0", .doc = "reverse"},
    {.name = "from", .type = LLMD_PARAM_STRING, .offset = offsetof(stranger, from), .doc = "another producer"},
    {0}};
static const llmd_read reads[] = {
    {.kind = LLMD_READ_F64, .name = "WaitingQueueSize", .if_unknown = NAN, .if_unknown_strict = NAN}, {0}};
static const llmd_read producer_reads[] = {
    {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_FROM_PARAM, .name = "Strange.value",
     .from = "nobody", .from_offset = offsetof(stranger, from), .if_unknown = 0, .if_unknown_strict = 0},
    {0}};
static const llmd_write writes[] = {{"Strange.value", "things", LLMD_WRITE_DEFAULT}, {0}};

#define STRANGER(type_, kind_, ...)                                                                             \
  {.size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .type = type_, .summary = "for tests", .kind = (kind_), \
   .stability = LLMD_STABLE, .self_size = sizeof(stranger), .params = params, __VA_ARGS__}

static const char *const old_names[] = {"odd-scorer", NULL};
static const llmd_plugin scorer = STRANGER("strangers-scorer", LLMD_SCORER, .aliases = old_names, .reads = reads,
                                           .score = score);
static const llmd_plugin filtering = STRANGER("strangers-filter", LLMD_FILTER, .filter = filter);
static const llmd_plugin picker = STRANGER("strangers-picker", LLMD_PICKER, .pick = pick);
static const llmd_plugin handler = STRANGER("strangers-handler", LLMD_PROFILE_HANDLER, .next = next, .finish = finish);
static const llmd_plugin producer = STRANGER("strangers-producer", LLMD_PRODUCER, .table_entries = 64,
                                             .reads = producer_reads, .writes = writes, .produce = produce,
                                             .commit = commit, .forget = forget);
LLMD_MODULE(&scorer, &filtering, &picker, &handler, &producer);
