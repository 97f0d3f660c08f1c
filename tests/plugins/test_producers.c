/* The producers over a services table that only remembers what it was asked for. */
#include "self.h"

#include <math.h>

extern const llmd_plugin llmd__approx_prefix_cache_producer, llmd__multicluster_approx_prefix_cache_producer,
  llmd__inflight_load_producer, llmd__session_id_producer, llmd__token_producer;

#define N 3 /* candidates */

/* ---- fakes ------------------------------------------------------------------------------------------------------- */

typedef struct fake {
  /* what it answers */
  int chain_rc, match_rc, store_rc, inflight_rc;
  uint32_t total;
  /* what it was asked */
  uint32_t chains, block, max, chain_flags;
  uint32_t matches, match_flags;
  uint32_t stores;
  llmd_endpoint_id stored[4];
  uint32_t capacity[4];
  llmd_endpoint_id forgotten;
  uint32_t releases;
  char hashed[64];
} fake;

static int fake_chain(void *ctx, uint32_t block, uint32_t max, uint32_t flags, uint32_t *total)
{
  fake *f = ctx;
  f->chains++;
  f->block = block;
  f->max = max;
  f->chain_flags = flags;
  if (f->chain_rc == 0)
    *total = f->total;
  return f->chain_rc;
}

static int fake_match(void *ctx, uint32_t flags, double *blocks)
{
  fake *f = ctx;
  uint32_t i;
  f->matches++;
  f->match_flags = flags;
  for (i = 0; i < N; i++)
    blocks[i] = i;
  return f->match_rc;
}

static int fake_store(void *ctx, llmd_endpoint_id endpoint, uint32_t capacity)
{
  fake *f = ctx;
  assert_true(f->stores < 4);
  f->stored[f->stores] = endpoint;
  f->capacity[f->stores++] = capacity;
  return f->store_rc;
}

static int fake_forget(void *ctx, llmd_endpoint_id endpoint)
{
  ((fake *)ctx)->forgotten = endpoint;
  return 0;
}

static int fake_inflight(void *ctx, double *requests, double *tokens)
{
  uint32_t i;
  for (i = 0; i < N; i++) {
    requests[i] = i + 1;
    tokens[i] = 100 * (i + 1);
  }
  return ((fake *)ctx)->inflight_rc;
}

static int fake_release(void *ctx)
{
  ((fake *)ctx)->releases++;
  return 0;
}

static void fake_hash(void *ctx, const char *ptr, size_t len, llmd_key *out)
{
  fake *f = ctx;
  size_t i;
  snprintf(f->hashed, sizeof f->hashed, "%.*s", (int)len, ptr);
  out->lo = UINT64_MAX;
  out->hi = 0;
  for (i = 0; i < len; i++)
    out->lo = out->lo * 31 + (unsigned char)ptr[i];
}

static llmd_services services_of(fake *f)
{
  llmd_services s;
  memset(&s, 0, sizeof s);
  s.size = sizeof s;
  s.ctx = f;
  s.chain = fake_chain;
  s.prefix_match = fake_match;
  s.prefix_store = fake_store;
  s.prefix_forget = fake_forget;
  s.inflight = fake_inflight;
  s.release_tokens = fake_release;
  s.hash = fake_hash;
  return s;
}

/* A producer at work: N candidates, up to three columns read, up to four written. */
typedef struct bench {
  const llmd_plugin *plugin;
  test_self self;
  int checked; /* validate runs once */
  fake fake;
  llmd_services services;
  llmd_request_view request;
  double read[3][N], out[4][N];
  const double *reads[3];
  double *outs[4];
  const double *wrote[4];
  llmd_read_value value[1];
  llmd_endpoint_id endpoint[N];
  llmd_str profile[N];
  llmd_batch b;
  llmd_commit_info commit;
} bench;

static void bench_init(bench *t, const llmd_plugin *plugin)
{
  uint32_t i, r;
  memset(t, 0, sizeof *t);
  t->plugin = plugin;
  self_init(&t->self, plugin);
  t->services = services_of(&t->fake);
  t->request.size = sizeof t->request;
  t->request.max_tokens = NAN;
  for (r = 0; r < 3; r++)
    t->reads[r] = t->read[r];
  for (r = 0; r < 4; r++)
    t->wrote[r] = t->outs[r] = t->out[r];
  for (i = 0; i < N; i++) {
    t->endpoint[i] = 100 + i;
    t->read[0][i] = t->read[1][i] = t->read[2][i] = NAN;
  }
  t->b.size = sizeof t->b;
  t->b.n = N;
  t->b.f64 = t->reads;
  t->b.value = t->value;
  t->b.endpoint = t->endpoint;
  t->b.request = &t->request;
  t->commit.size = sizeof t->commit;
  t->commit.batch = &t->b;
  t->commit.profile = t->profile;
  t->commit.wrote = t->wrote;
}

static void set(bench *t, const char *path, const char *text)
{
  assert_int_equal(self_set(&t->self, t->plugin, path, text), 0);
}

static int produce(bench *t)
{
  uint32_t w, i;
  if (!t->checked)
    assert_int_equal(self_check(&t->self, t->plugin), 0);
  t->checked = 1;
  for (w = 0; w < 4; w++)
    for (i = 0; i < N; i++)
      t->out[w][i] = NAN;
  return t->plugin->produce(t->self.at.bytes, &t->services, &t->b, t->outs);
}

static int commit(bench *t)
{
  return t->plugin->commit(t->self.at.bytes, &t->services, &t->commit);
}

static void assert_column(const double *column, double a, double b, double c)
{
  assert_true(column[0] == a);
  assert_true(column[1] == b);
  assert_true(column[2] == c);
}

static void assert_unknown(const double *column)
{
  uint32_t i;
  for (i = 0; i < N; i++)
    assert_true(isnan(column[i]));
}

static uint32_t write_of(const llmd_plugin *p, const char *name)
{
  uint32_t w = 0;
  while (p->writes[w].name && strcmp(p->writes[w].name, name) != 0)
    w++;
  assert_non_null(p->writes[w].name);
  return w;
}

/* ---- approx-prefix-cache-producer -------------------------------------------------------------------------------- */

enum { ENGINE_BLOCK, ENGINE_BLOCKS };
enum { MATCH, CACHED, TOTAL, BLOCK };

static void descriptors(void **state)
{
  static const llmd_plugin *const all[] = {&llmd__approx_prefix_cache_producer,
                                           &llmd__multicluster_approx_prefix_cache_producer,
                                           &llmd__inflight_load_producer, &llmd__session_id_producer,
                                           &llmd__token_producer};
  const llmd_plugin *p = &llmd__approx_prefix_cache_producer;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all / sizeof all[0]; i++) {
    const llmd_read *r;
    check_descriptor(all[i]);
    assert_int_equal(all[i]->kind, LLMD_PRODUCER);
    for (r = all[i]->reads; r && r->kind; r++)
      if (r->kind == LLMD_READ_F64)
        assert_true(isnan(r->if_unknown) && isnan(r->if_unknown_strict));
  }
  assert_int_equal(write_of(p, "PrefixCacheMatchInfo.match"), MATCH);
  assert_int_equal(write_of(p, "PrefixCacheMatchInfo.cached"), CACHED);
  assert_int_equal(write_of(p, "PrefixCacheMatchInfo.total"), TOTAL);
  assert_int_equal(write_of(p, "PrefixCacheMatchInfo.block"), BLOCK);
  assert_int_equal(p->writes[MATCH].flags, LLMD_WRITE_DEFAULT);
  assert_int_equal(llmd__multicluster_approx_prefix_cache_producer.writes[MATCH].flags, 0);
  p = &llmd__inflight_load_producer;
  assert_int_equal(p->writes[write_of(p, "InFlightLoad.charge")].flags, LLMD_WRITE_DEFAULT | LLMD_WRITE_CHARGE);
  assert_int_equal(p->writes[write_of(p, "InFlightLoad.tokens")].flags, LLMD_WRITE_DEFAULT);
}

static void approx_writes_what_the_index_has(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__approx_prefix_cache_producer);
  t.fake.total = 7;
  assert_int_equal(produce(&t), 0);
  assert_column(t.out[MATCH], 0, 1, 2);
  assert_column(t.out[CACHED], 0, 1, 2);
  assert_column(t.out[TOTAL], 7, 7, 7);
  assert_column(t.out[BLOCK], 64, 64, 64);
  assert_int_equal(t.fake.chain_flags, LLMD_PREFIX_PARTIAL);
  assert_int_equal(t.fake.max, 131072 / 64);
  assert_int_equal(t.fake.match_flags, 0);
  t.b.strict = 1;
  assert_int_equal(produce(&t), 0);
  assert_int_equal(t.fake.match_flags, LLMD_PREFIX_ANY);
}

static void approx_without_prompt(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__approx_prefix_cache_producer);
  t.fake.chain_rc = LLMD_E_NONE;
  assert_int_equal(produce(&t), 0);
  assert_int_equal(t.fake.matches, 0);
  assert_column(t.out[MATCH], 0, 0, 0);
  assert_column(t.out[TOTAL], 0, 0, 0);
  assert_column(t.out[BLOCK], 64, 64, 64);
}

static void approx_failures(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__approx_prefix_cache_producer);
  t.fake.chain_rc = LLMD_E_LIMIT;
  assert_int_equal(produce(&t), LLMD_E_LIMIT);
  t.fake.chain_rc = 0;
  t.fake.total = 1;
  t.fake.match_rc = LLMD_E_STATE;
  assert_int_equal(produce(&t), LLMD_E_STATE);
}

static void approx_block_size(void **state)
{
  static const struct {
    const char *tune, *wanted, *old;
    double engine;
    uint32_t block;
  } rows[] = {{"true", "16", "0", 16, 64},     {"true", "16", "0", 128, 128},  {"true", "256", "0", 128, 128},
              {"true", "256", "0", NAN, 256},  {"true", "256", "0", 0, 256},   {"true", "0", "0", NAN, 64},
              {"false", "200", "0", 128, 200}, {"false", "1", "0", NAN, 64},   {"false", "16", "96", NAN, 96},
              {"false", "80", "96", NAN, 80},  {"true", "256", "0", 1e18, 256}, {"true", "-5", "0", INFINITY, 64}};
  bench t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench_init(&t, &llmd__approx_prefix_cache_producer);
    set(&t, "autoTune", rows[i].tune);
    set(&t, "blockSizeTokens", rows[i].wanted);
    set(&t, "blockSize", rows[i].old);
    t.read[ENGINE_BLOCK][0] = rows[i].engine;
    t.read[ENGINE_BLOCK][1] = 512; /* the first candidate alone counts */
    t.fake.total = 1;
    assert_int_equal(produce(&t), 0);
    assert_int_equal(t.fake.block, rows[i].block);
    assert_column(t.out[BLOCK], rows[i].block, rows[i].block, rows[i].block);
  }
}

static void approx_caps(void **state)
{
  static const struct {
    const char *tokens, *blocks;
    uint32_t chains, max;
  } rows[] = {{"640", "2048", 1, 10}, {"0", "5", 1, 5},  {"0", "0", 1, 0},
              {"63", "2048", 0, 0},   {"0", "-1", 0, 0}, {"9000000000000", "1", 1, 0}};
  bench t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench_init(&t, &llmd__approx_prefix_cache_producer);
    set(&t, "maxPrefixTokensToMatch", rows[i].tokens);
    set(&t, "maxPrefixBlocksToMatch", rows[i].blocks);
    t.fake.total = 3;
    assert_int_equal(produce(&t), 0);
    assert_int_equal(t.fake.chains, rows[i].chains);
    assert_int_equal(t.fake.max, rows[i].max);
    assert_true(t.out[TOTAL][0] == (rows[i].chains ? 3 : 0));
  }
}

static void approx_parameters(void **state)
{
  static const struct {
    const char *tune, *block, *old, *tokens;
    int rc;
  } rows[] = {{"false", "0", "0", "0", LLMD_E_RANGE}, {"false", "-1", "0", "0", LLMD_E_RANGE},
              {"false", "1", "0", "0", 0},            {"true", "0", "0", "0", 0},
              {"true", "1", "0", "-1", LLMD_E_RANGE}, {"false", "16", "24", "0", 0},
              {"false", "0", "1", "0", LLMD_E_RANGE}};
  const llmd_plugin *p = &llmd__approx_prefix_cache_producer;
  test_self self;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    assert_int_equal(self_set(&self, p, "autoTune", rows[i].tune), 0);
    assert_int_equal(self_set(&self, p, "blockSizeTokens", rows[i].block), 0);
    assert_int_equal(self_set(&self, p, "blockSize", rows[i].old), 0);
    assert_int_equal(self_set(&self, p, "maxPrefixTokensToMatch", rows[i].tokens), 0);
    assert_int_equal(self_check(&self, p), rows[i].rc);
  }
}

static void name_targets(bench *t, const char *a, const char *b, const char *c)
{
  const char *const name[N] = {a, b, c};
  uint32_t i;
  for (i = 0; i < N; i++) {
    t->profile[i].ptr = name[i];
    t->profile[i].len = strlen(name[i]);
  }
}

static void approx_commit(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__approx_prefix_cache_producer);
  t.fake.total = 1;
  assert_int_equal(produce(&t), 0);
  name_targets(&t, "decode", "prefill", "encode");
  assert_int_equal(commit(&t), 0);
  assert_int_equal(t.fake.stores, 2);
  assert_int_equal(t.fake.stored[0], 100);
  assert_int_equal(t.fake.stored[1], 101);
  assert_int_equal(t.fake.capacity[0], 31250);

  t.fake.stores = 0;
  t.commit.primary = 2;
  name_targets(&t, "decode", "prefills", "encode");
  assert_int_equal(commit(&t), 0);
  assert_int_equal(t.fake.stores, 1);
  assert_int_equal(t.fake.stored[0], 102);

  t.fake.stores = 0;
  t.commit.primary = 0;
  t.endpoint[1] = t.endpoint[0]; /* both stages on one endpoint */
  name_targets(&t, "decode", "prefill", "encode");
  assert_int_equal(commit(&t), 0);
  assert_int_equal(t.fake.stores, 1);

  t.fake.stores = 0;
  t.fake.store_rc = LLMD_E_NONE; /* no chain: nothing to learn, nothing wrong */
  assert_int_equal(commit(&t), 0);
  t.fake.store_rc = LLMD_E_FULL;
  assert_int_equal(commit(&t), LLMD_E_FULL);
}

static void approx_capacity(void **state)
{
  static const struct {
    const char *tune, *capacity;
    double blocks, engine;
    uint32_t strict, wanted;
  } rows[] = {{"true", "31250", 1000, 128, 0, 1000}, {"true", "31250", 1000, 16, 0, 250},
              {"true", "31250", 1000, 16, 1, 1000},  {"true", "5", NAN, NAN, 0, 5},
              {"true", "5", 0, 16, 0, 5},            {"false", "7", 1000, 128, 0, 7},
              {"false", "0", 1000, 128, 0, 31250},   {"true", "5", 1, 16, 0, 1},
              {"true", "5", 1e300, NAN, 0, UINT32_MAX}, {"true", "5", 1000, NAN, 0, 1000}};
  bench t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench_init(&t, &llmd__approx_prefix_cache_producer);
    set(&t, "autoTune", rows[i].tune);
    set(&t, "lruCapacityPerServer", rows[i].capacity);
    t.b.strict = rows[i].strict;
    t.fake.total = 1;
    t.read[ENGINE_BLOCK][0] = rows[i].engine;
    t.read[ENGINE_BLOCKS][0] = rows[i].blocks;
    assert_int_equal(produce(&t), 0);
    name_targets(&t, "default", "", "");
    assert_int_equal(commit(&t), 0);
    assert_int_equal(t.fake.capacity[0], rows[i].wanted);
  }
}

static void approx_forget(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__approx_prefix_cache_producer);
  assert_int_equal(t.plugin->forget(t.self.at.bytes, &t.services, 55), 0);
  assert_int_equal(t.fake.forgotten, 55);
}

/* ---- inflight-load-producer -------------------------------------------------------------------------------------- */

enum { LOAD_MATCH, LOAD_TOTAL, LOAD_BLOCK };
enum { REQUESTS, TOKENS, UNCACHED, CHARGE };

static void inflight_counts(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__inflight_load_producer);
  t.request.tokens = 500;
  assert_int_equal(produce(&t), 0);
  assert_column(t.out[REQUESTS], 1, 2, 3);
  assert_column(t.out[TOKENS], 100, 200, 300);
  assert_column(t.out[UNCACHED], 500, 500, 500);
  assert_column(t.out[CHARGE], 500, 500, 500);
  t.fake.inflight_rc = LLMD_E_STATE;
  assert_int_equal(produce(&t), LLMD_E_STATE);
}

static void inflight_uncached(void **state)
{
  static const struct {
    double input, match, total, block;
    double sensible, strict;
  } rows[] = {{1000, 0, 16, 64, 1000, 1024}, {1000, 10, 16, 64, 360, 384}, {1000, 16, 16, 64, 0, 0},
              {5000, 10, 16, 64, 4360, 384 + 3976}, {10, 0, 1, 64, 10, 64}, {1000, 20, 16, 64, 0, 0},
              {0, 4, 16, 64, 768, 768}, {1000, 5, 16, 0, 1000, 1000}, {1000, NAN, NAN, NAN, 1000, 1000},
              {-3, NAN, NAN, NAN, 0, 0}, {1000, -2, 16, 64, 1000, 1000}};
  bench t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench_init(&t, &llmd__inflight_load_producer);
    t.request.tokens = rows[i].input;
    t.read[LOAD_MATCH][1] = rows[i].match;
    t.read[LOAD_TOTAL][1] = rows[i].total;
    t.read[LOAD_BLOCK][1] = rows[i].block;
    assert_int_equal(produce(&t), 0);
    if (t.out[UNCACHED][1] != rows[i].sensible)
      fail_msg("row %u: %g", (unsigned)i, t.out[UNCACHED][1]);
    t.b.strict = 1;
    assert_int_equal(produce(&t), 0);
    if (t.out[UNCACHED][1] != rows[i].strict || t.out[CHARGE][1] != rows[i].strict)
      fail_msg("strict, row %u: %g", (unsigned)i, t.out[UNCACHED][1]);
  }
}

static void inflight_output(void **state)
{
  static const struct {
    const char *ratio, *most;
    double input, client, output;
  } rows[] = {{NULL, NULL, 0, NAN, 0},     {NULL, NULL, 10, NAN, 15},     {NULL, NULL, 10, 3, 3},
              {"2.0", NULL, 10, NAN, 20},  {"2.0", NULL, -5, NAN, 0},     {"2.0", NULL, 8, NAN, 16},
              {"1.5", NULL, 100, 500, 150}, {"1.5", NULL, 100, 0, 0},     {"1.5", "40", 100, NAN, 40},
              {"1.5", "80", 100, 30, 30},  {"1.5", "30", 100, 80, 30},    {"1.5", "500", 100, 500, 150},
              {"1.5", "0", 100, NAN, 0},   {"1.5", NULL, 100, -1, 150},   {"1.5", NULL, 1, NAN, 2},
              {"0.1", NULL, 4, NAN, 0},    {"0", NULL, 100, NAN, 0}};
  bench t;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    double input = rows[i].input > 0 ? rows[i].input : 0;
    bench_init(&t, &llmd__inflight_load_producer);
    set(&t, "addEstimatedOutputTokens", "true");
    if (rows[i].ratio)
      set(&t, "outputRatio", rows[i].ratio);
    if (rows[i].most)
      set(&t, "maxEstimatedOutputTokens", rows[i].most);
    t.request.tokens = rows[i].input;
    t.request.max_tokens = rows[i].client;
    assert_int_equal(produce(&t), 0);
    if (t.out[CHARGE][0] != input + rows[i].output)
      fail_msg("row %u: %g", (unsigned)i, t.out[CHARGE][0]);
  }
  assert_int_equal(self_set(&t.self, t.plugin, "outputRatio", "-0.5"), LLMD_E_RANGE);
  assert_int_equal(self_set(&t.self, t.plugin, "maxEstimatedOutputTokens", "-1"), LLMD_E_RANGE);
}

static void report(bench *t, uint32_t kind)
{
  llmd_report_info r;
  memset(&r, 0, sizeof r);
  r.size = sizeof r;
  r.kind = kind;
  assert_int_equal(t->plugin->report(t->self.at.bytes, &t->services, &r), 0);
}

static void inflight_gives_prefill_back(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__inflight_load_producer);
  report(&t, LLMD_REPORT_RESPONSE_HEADERS);
  report(&t, LLMD_REPORT_TOKENS);
  report(&t, LLMD_REPORT_DONE);
  assert_int_equal(t.fake.releases, 0);
  report(&t, LLMD_REPORT_FIRST_TOKEN);
  assert_int_equal(t.fake.releases, 1);
  set(&t, "addEstimatedOutputTokens", "true");
  report(&t, LLMD_REPORT_FIRST_TOKEN);
  assert_int_equal(t.fake.releases, 1);
}

/* ---- session-id-producer ----------------------------------------------------------------------------------------- */

static const char *session_of(bench *t, const char *header)
{
  t->fake.hashed[0] = 0;
  t->value[0].str.ptr = header;
  t->value[0].str.len = header ? strlen(header) : 0;
  assert_int_equal(produce(t), 0);
  if (!t->fake.hashed[0])
    assert_unknown(t->out[0]);
  else
    assert_true(t->out[0][0] == t->out[0][2] && t->out[0][0] >= 0 && t->out[0][0] < 4503599627370496.0);
  return t->fake.hashed;
}

static const char *read_name(const bench *t)
{
  llmd_str name;
  memcpy(&name, t->self.at.bytes + t->plugin->reads[0].name_offset, sizeof name);
  assert_int_equal(name.len, strlen(name.ptr));
  return name.ptr;
}

static void session_from_header(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__session_id_producer);
  set(&t, "headerName", " X-Session-ID ");
  assert_string_equal(session_of(&t, "  abc "), "abc");
  assert_string_equal(read_name(&t), "x-session-id");
  assert_string_equal(session_of(&t, "a=1; b=2"), "a=1; b=2");
  assert_string_equal(session_of(&t, NULL), "");
  assert_string_equal(session_of(&t, "  "), "");
}

static void session_from_cookie(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__session_id_producer);
  set(&t, "cookieName", "sid");
  assert_string_equal(session_of(&t, "a=1; sid=xyz; b=2"), "xyz");
  assert_string_equal(read_name(&t), "cookie");
  assert_string_equal(session_of(&t, "sid=one; sid=two"), "one");
  assert_string_equal(session_of(&t, ";;sid=a=b ;"), "a=b");
  assert_string_equal(session_of(&t, "sid=last"), "last");
  assert_string_equal(session_of(&t, "SID=x; xsid=y; sidx=z; sid"), "");
  assert_string_equal(session_of(&t, "sid="), "");
  assert_string_equal(session_of(&t, "sid"), "");
  assert_string_equal(session_of(&t, NULL), "");
}

static void session_numbers(void **state)
{
  bench t;
  double a;
  (void)state;
  bench_init(&t, &llmd__session_id_producer);
  set(&t, "headerName", "h");
  session_of(&t, "a");
  a = t.out[0][1];
  session_of(&t, "a");
  assert_true(t.out[0][1] == a);
  session_of(&t, "something else");
  assert_true(t.out[0][1] != a);
}

static void session_parameters(void **state)
{
  const llmd_plugin *p = &llmd__session_id_producer;
  test_self self;
  (void)state;
  self_init(&self, p);
  assert_int_equal(self_check(&self, p), LLMD_E_MISSING);
  assert_int_equal(self_set(&self, p, "headerName", "  "), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_MISSING);
  assert_int_equal(self_set(&self, p, "headerName", "h"), 0);
  assert_int_equal(self_set(&self, p, "cookieName", "c"), 0);
  assert_int_equal(self_check(&self, p), LLMD_E_INVALID);
}

/* ---- token-producer ---------------------------------------------------------------------------------------------- */

static void token_column(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, &llmd__token_producer);
  t.request.tokens = 321;
  assert_int_equal(produce(&t), 0);
  assert_column(t.out[0], 321, 321, 321);
  t.request.tokens = 0;
  assert_int_equal(produce(&t), 0);
  assert_unknown(t.out[0]);
  assert_string_equal(t.plugin->writes[0].name, "TokenizedPrompt.tokens");
  assert_string_equal(t.plugin->aliases[0], "tokenizer");
  assert_null(t.plugin->aliases[1]);
}

static void token_parameters(void **state)
{
  static const struct {
    const char *path[3], *text[3];
    int rc;
  } rows[] = {{{NULL}, {NULL}, 0},
              {{"modelName"}, {"m"}, 0},
              {{"modelName", "vllm.url"}, {"m", "http://x"}, 0},
              {{"vllm.url"}, {"http://x"}, LLMD_E_MISSING},
              {{"estimate.image.mode"}, {"static"}, 0},
              {{"estimate.image.mode", "modelName"}, {"static", "m"}, LLMD_E_INVALID},
              {{"estimate.video.frames.mode", "vllm.url", "modelName"}, {"strided", "u", "m"}, LLMD_E_INVALID},
              {{"udsTokenizerConfig.socketFile"}, {"/s"}, LLMD_E_MISSING},
              {{"udsTokenizerConfig.socketFile", "modelName"}, {"/s", "m"}, 0},
              {{"udsTokenizerConfig.socketFile", "modelName", "vllm.url"}, {"/s", "m", "u"}, LLMD_E_INVALID}};
  const llmd_plugin *p = &llmd__token_producer;
  test_self self;
  size_t i, j;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    self_init(&self, p);
    for (j = 0; j < 3 && rows[i].path[j]; j++)
      assert_int_equal(self_set(&self, p, rows[i].path[j], rows[i].text[j]), 0);
    assert_int_equal(self_check(&self, p), rows[i].rc);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors),
    cmocka_unit_test(approx_writes_what_the_index_has),
    cmocka_unit_test(approx_without_prompt),
    cmocka_unit_test(approx_failures),
    cmocka_unit_test(approx_block_size),
    cmocka_unit_test(approx_caps),
    cmocka_unit_test(approx_parameters),
    cmocka_unit_test(approx_commit),
    cmocka_unit_test(approx_capacity),
    cmocka_unit_test(approx_forget),
    cmocka_unit_test(inflight_counts),
    cmocka_unit_test(inflight_uncached),
    cmocka_unit_test(inflight_output),
    cmocka_unit_test(inflight_gives_prefill_back),
    cmocka_unit_test(session_from_header),
    cmocka_unit_test(session_from_cookie),
    cmocka_unit_test(session_numbers),
    cmocka_unit_test(session_parameters),
    cmocka_unit_test(token_column),
    cmocka_unit_test(token_parameters),
  };
  return cmocka_run_group_tests_name("producers", tests, NULL, NULL);
}
