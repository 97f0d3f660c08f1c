/* precise-prefix-cache-producer and -scorer over a services table that answers as it is told to. */
#include "self.h"

#include <math.h>

extern const llmd_plugin llmd__precise_prefix_cache_producer, llmd__precise_prefix_cache_scorer;

#define N 3      /* candidates */
#define READS 6
#define WRITES 11

enum { MATCH, CACHED, TOTAL, BLOCK, WEIGHTED, GPU, CPU, DISK, REMOTE, EXACT, DEGRADED };

static const llmd_plugin *const both[] = {&llmd__precise_prefix_cache_producer, &llmd__precise_prefix_cache_scorer};

typedef struct fake {
  int match_rc, expect_rc;
  uint32_t on_cpu; /* the last endpoint has just these */
  llmd_precise asked;
  uint32_t expects, block;
  uint64_t ttl;
  llmd_endpoint_id expected[4];
} fake;

/* Endpoint i: 4 * i blocks of 20, a quarter of them in each tier. */
static int fake_match(void *ctx, const llmd_precise *out)
{
  fake *f = ctx;
  f->asked = *out;
  for (uint32_t i = 0; i < N && f->match_rc >= 0; i++) {
    out->blocks[i] = 4 * i;
    out->total[i] = 20;
    out->tokens[i] = 32;
    out->lower[0][i] = out->lower[1][i] = out->lower[2][i] = i;
    out->degraded[i] = i == 1;
  }
  if (f->on_cpu) {
    out->blocks[N - 1] = out->lower[0][N - 1] = f->on_cpu;
    out->lower[1][N - 1] = out->lower[2][N - 1] = 0;
  }
  return f->match_rc;
}

static int fake_expect(void *ctx, llmd_endpoint_id endpoint, uint32_t block, uint64_t ttl)
{
  fake *f = ctx;
  assert_true(f->expects < 4);
  f->expected[f->expects++] = endpoint;
  f->block = block;
  f->ttl = ttl;
  return f->expect_rc;
}

typedef struct bench {
  const llmd_plugin *plugin;
  test_self self;
  fake fake;
  llmd_services services;
  double read[READS][N], out[WRITES][N];
  const double *reads[READS];
  double *outs[WRITES];
  llmd_endpoint_id endpoint[N];
  llmd_str profile[N];
  llmd_batch b;
} bench;

static void bench_init(bench *t, const llmd_plugin *plugin)
{
  memset(t, 0, sizeof *t);
  t->plugin = plugin;
  self_init(&t->self, plugin);
  t->services.size = sizeof t->services;
  t->services.ctx = &t->fake;
  t->services.precise_match = fake_match;
  t->services.precise_expect = fake_expect;
  for (uint32_t r = 0; r < READS; r++) {
    t->reads[r] = t->read[r];
    for (uint32_t i = 0; i < N; i++)
      t->read[r][i] = 10 * r + i;
  }
  for (uint32_t w = 0; w < WRITES; w++)
    t->outs[w] = t->out[w];
  for (uint32_t i = 0; i < N; i++)
    t->endpoint[i] = 100 + i;
  t->b.size = sizeof t->b;
  t->b.n = N;
  t->b.f64 = t->reads;
  t->b.endpoint = t->endpoint;
}

static int produce(bench *t)
{
  assert_int_equal(self_check(&t->self, t->plugin), 0);
  return t->plugin->produce(t->self.at.bytes, &t->services, &t->b, t->outs);
}

static void column(const double *got, double a, double b, double c)
{
  const double want[N] = {a, b, c};
  for (uint32_t i = 0; i < N; i++)
    if (fabs(got[i] - want[i]) > 1e-12)
      fail_msg("candidate %u: %g, not %g", i, got[i], want[i]);
}

static void descriptors(void **state)
{
  (void)state;
  for (int k = 0; k < 2; k++) {
    uint32_t writes = 0, reads = 0;
    check_descriptor(both[k]);
    while (both[k]->writes[writes].name)
      assert_false(both[k]->writes[writes++].flags & LLMD_WRITE_DEFAULT);
    while (both[k]->reads[reads].kind)
      reads++;
    assert_int_equal(writes, WRITES);
    assert_int_equal(reads, k ? READS : READS - 2);
    assert_true(both[k]->writes[MATCH].flags & LLMD_WRITE_EXACT);
  }
  assert_int_equal(both[0]->kind, LLMD_PRODUCER);
  assert_int_equal(both[1]->kind, LLMD_PRODUCER | LLMD_SCORER);
}

static void publishes_what_the_index_knows(void **state)
{
  bench t;
  (void)state;
  bench_init(&t, both[0]);
  assert_int_equal(produce(&t), 0);
  assert_int_equal(t.fake.asked.block_tokens, 16);
  assert_int_equal(t.fake.asked.flags, 0);
  column(t.out[CACHED], 0, 4, 8);
  column(t.out[TOTAL], 20, 20, 20);
  column(t.out[BLOCK], 32, 32, 32);
  column(t.out[GPU], 0, 1, 2);
  column(t.out[WEIGHTED], 0, 1 + 3 * 0.8, 2 + 6 * 0.8);
  column(t.out[MATCH], 0, 3, 6);
  column(t.out[EXACT], 1, 1, 1);
  column(t.out[DEGRADED], 0, 1, 0);
  bench_init(&t, both[0]);
  t.b.strict = 1; /* the reference: what has no weight counts 1 */
  assert_int_equal(self_set(&t.self, t.plugin, "speculativeIndexing", "true"), 0);
  assert_int_equal(self_set(&t.self, t.plugin, "tokenProcessorConfig.blockSizeTokens", "64"), 0);
  assert_int_equal(produce(&t), 0);
  assert_int_equal(t.fake.asked.block_tokens, 64);
  assert_int_equal(t.fake.asked.flags, LLMD_PRECISE_ALWAYS | LLMD_PRECISE_EXPECTED | LLMD_PRECISE_CONFIGURED);
  column(t.out[WEIGHTED], 0, 3.8, 7.6);
}

/* Ten blocks of 0.8 are eight: no block is lost to a rounding. */
static void whole_numbers_stay(void **state)
{
  double sum = 0;
  bench t;
  (void)state;
  for (int i = 0; i < 10; i++)
    sum += 0.8;
  assert_true(sum < 8);
  for (uint32_t n = 5; n <= 1000; n += 5) {
    bench_init(&t, both[0]);
    t.fake.on_cpu = n;
    assert_int_equal(produce(&t), 0);
    assert_true(t.out[MATCH][2] == n / 5 * 4);
  }
}

static void others_guess_when_it_cannot(void **state)
{
  static const int codes[] = {LLMD_E_NONE, LLMD_E_LIMIT};
  bench t;
  (void)state;
  for (int k = 0; k < 2; k++) {
    bench_init(&t, both[0]);
    t.fake.match_rc = codes[k];
    assert_int_equal(produce(&t), 0);
    column(t.out[MATCH], 0, 1, 2);
    column(t.out[WEIGHTED], 0, 1, 2);
    column(t.out[CACHED], 10, 11, 12);
    column(t.out[TOTAL], 20, 21, 22);
    column(t.out[BLOCK], 30, 31, 32);
    column(t.out[EXACT], 0, 0, 0);
    assert_true(t.out[CPU][0] != t.out[CPU][0] && t.out[DEGRADED][0] != t.out[DEGRADED][0]);
    t.b.strict = 1;
    assert_int_equal(t.plugin->produce(t.self.at.bytes, &t.services, &t.b, t.outs), codes[k]);
  }
}

static int commit(bench *t, uint32_t primary)
{
  llmd_commit_info c = {.size = sizeof c, .primary = primary, .batch = &t->b, .profile = t->profile};
  return t->plugin->commit(t->self.at.bytes, &t->services, &c);
}

static void promises(void **state)
{
  static const char *const names[] = {"encode", "decode", "prefill"};
  bench t;
  (void)state;
  bench_init(&t, both[0]);
  for (uint32_t i = 0; i < N; i++)
    t.profile[i] = (llmd_str){names[i], strlen(names[i])};
  assert_int_equal(produce(&t), 0);
  assert_int_equal(commit(&t, 1), 0);
  assert_int_equal(t.fake.expects, 0);
  self_init(&t.self, t.plugin);
  assert_int_equal(self_set(&t.self, t.plugin, "speculativeIndexing", "true"), 0);
  assert_int_equal(self_check(&t.self, t.plugin), 0);
  assert_int_equal(commit(&t, 1), 0);
  assert_int_equal(t.fake.expects, 2);
  assert_int_equal(t.fake.expected[0], 101);
  assert_int_equal(t.fake.expected[1], 102);
  assert_int_equal(t.fake.block, 16);
  t.endpoint[2] = 101; /* both stages on one endpoint */
  assert_int_equal(commit(&t, 1), 0);
  assert_int_equal(t.fake.expects, 3);
  assert_int_equal(commit(&t, N), 0);
  assert_int_equal(t.fake.expects, 3);
  t.fake.expects = 0;
  t.fake.expect_rc = LLMD_E_NONE; /* no tokens: nothing to promise, nothing wrong */
  assert_int_equal(commit(&t, 1), 0);
  t.fake.expect_rc = LLMD_E_FULL;
  assert_int_equal(commit(&t, 1), LLMD_E_FULL);
}

static void time_to_live(void **state)
{
  static const struct {
    const char *text; /* nanoseconds */
    uint64_t ttl;
  } rows[] = {{"5000000000", 5000000000u}, {"0", 2000000000u}, {"-1", 2000000000u}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench t;
    bench_init(&t, both[0]);
    assert_int_equal(self_set(&t.self, t.plugin, "speculativeIndexing", "true"), 0);
    assert_int_equal(self_set(&t.self, t.plugin, "speculativeTTL", rows[i].text), 0);
    assert_int_equal(self_check(&t.self, t.plugin), 0);
    assert_int_equal(commit(&t, 1), 0);
    assert_true(t.fake.ttl == rows[i].ttl);
  }
}

static void block_sizes(void **state)
{
  static const struct {
    const char *now, *old;
    int rc;
    uint32_t block;
  } rows[] = {{"0", "0", 0, 16},   {"64", "0", 0, 64},           {"0", "64", 0, 64},          {"32", "64", 0, 32},
              {"32", "-1", 0, 32}, {"-1", "0", LLMD_E_RANGE, 0}, {"0", "-1", LLMD_E_RANGE, 0},
              {"-1", "64", LLMD_E_RANGE, 0}, {"2000000", "0", LLMD_E_RANGE, 0}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bench t;
    bench_init(&t, both[1]);
    assert_int_equal(self_set(&t.self, t.plugin, "tokenProcessorConfig.blockSizeTokens", rows[i].now), 0);
    assert_int_equal(self_set(&t.self, t.plugin, "tokenProcessorConfig.blockSize", rows[i].old), 0);
    assert_int_equal(self_check(&t.self, t.plugin), rows[i].rc);
    if (rows[i].rc)
      continue;
    t.plugin->produce(t.self.at.bytes, &t.services, &t.b, t.outs);
    assert_int_equal(t.fake.asked.block_tokens, rows[i].block);
  }
}

static void index_parameters(void **state)
{
  static const struct {
    const char *path, *text;
    int rc;
  } rows[] = {{"inMemoryConfig.size", "1", 0},
              {"inMemoryConfig.size", "0", LLMD_E_RANGE},
              {"costAwareMemoryConfig.size", "2GiB", 0},
              {"costAwareMemoryConfig.size", "1.5 gb", 0},
              {"costAwareMemoryConfig.size", "12", 0},
              {"costAwareMemoryConfig.size", "GiB", LLMD_E_SYNTAX},
              {"costAwareMemoryConfig.size", "2 Gibs", LLMD_E_SYNTAX},
              {"costAwareMemoryConfig.size", "2 parsecs", LLMD_E_SYNTAX},
              {"redisConfig.address", "redis://x:1", 0},
              {"metricsLoggingInterval", "60000000000", 0},
              {"enableMetrics", "true", 0}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char path[128];
    test_self self;
    self_init(&self, both[0]);
    snprintf(path, sizeof path, "indexerConfig.kvBlockIndexConfig.%s", rows[i].path);
    assert_int_equal(self_set(&self, both[0], path, rows[i].text), 0);
    assert_int_equal(self_check(&self, both[0]), rows[i].rc);
  }
}

static void the_scorer_reads_its_own(void **state)
{
  double score[N];
  bench t;
  (void)state;
  bench_init(&t, both[1]);
  t.read[4][0] = 3;
  t.read[5][0] = 4;
  t.read[4][1] = NAN;
  t.read[5][2] = 0;
  assert_int_equal(t.plugin->score(t.self.at.bytes, &t.b, score), 0);
  column(score, 0.75, 0, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(descriptors),
    cmocka_unit_test(publishes_what_the_index_knows),
    cmocka_unit_test(whole_numbers_stay),
    cmocka_unit_test(others_guess_when_it_cannot),
    cmocka_unit_test(promises),
    cmocka_unit_test(time_to_live),
    cmocka_unit_test(block_sizes),
    cmocka_unit_test(index_parameters),
    cmocka_unit_test(the_scorer_reads_its_own),
  };
  return cmocka_run_group_tests_name("precise", tests, NULL, NULL);
}
