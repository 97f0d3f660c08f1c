/* What a decision costs: the stock policy over 100, 1,000 and 10,000 endpoints, and a 220 KB body from bytes to
 * endpoint. */
#include "cluster.h"

static void decide(void *ud)
{
  cluster_decide(ud);
}

static void feed_and_decide(void *ud)
{
  cluster_feed(ud);
  cluster_decide(ud);
}

static void whole_turn(void *ud)
{
  cluster *c = ud;
  cluster_feed(c);
  cluster_decide(c);
  llmd_commit(c->lane, c->request, &c->decision, 0, &c->now);
  llmd_report(c->lane, c->decision.ticket, LLMD_REPORT_FIRST, NULL, &c->now);
  llmd_report(c->lane, c->decision.ticket, LLMD_REPORT_END, NULL, &c->now);
}

static void stock(uint32_t n, unsigned calls)
{
  char row[96];
  cluster c;
  cluster_open(&c, n, NULL, 0);
  cluster_body(&c, 1200, 1);
  whole_turn(&c);
  cluster_feed(&c);
  snprintf(row, sizeof row, "stock policy, %u endpoints, columns produced", n);
  bench_row(row, bench_time(decide, &c, calls) / 1e3, "us");
  if (n == 100)
    bench_row("1 KB body to reports: feed, decide, commit, first, end", bench_time(whole_turn, &c, calls) / 1e3, "us");
  cluster_close(&c);
}

/* Each time other text: nothing of it is in the index nor, mostly, in the CPU's caches. */
static double cold(cluster *c)
{
  static char junk[64 << 20];
  double t[9];
  for (unsigned i = 0; i < 9; i++) {
    double start;
    cluster_body(c, 220 << 10, 1000 + i);
    for (size_t k = 0; k < sizeof junk; k += 64)
      junk[k]++;
    start = bench_now();
    feed_and_decide(c);
    t[i] = bench_now() - start;
  }
  return bench_median(t, 9);
}

static void large_body(void)
{
  cluster c;
  cluster_open(&c, 100, NULL, 0);
  cluster_body(&c, 220 << 10, 7);
  for (int i = 0; i < 40; i++)
    whole_turn(&c);
  bench_row("220 KB body to a decision, 100 endpoints, index hot", bench_time(feed_and_decide, &c, 100) / 1e3, "us");
  cluster_feed(&c);
  bench_row("  of these: the decision (hash, walk, score)", bench_time(decide, &c, 100) / 1e3, "us");
  bench_row("220 KB body to a decision, everything cold", cold(&c) / 1e3, "us");
  cluster_close(&c);
}

static const char precise_policy[] =
  "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: precise-prefix-cache-producer\n"
  "- type: prefix-cache-scorer\n  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n"
  "- type: queue-scorer\n- type: kv-cache-utilization-scorer\n- type: max-score-picker\n";

#define IDS 8192u

/* Every endpoint's engine tells that it has the prompt's blocks of 16, one more than the endpoint before it. */
static void tell(cluster *c, const uint32_t *ids)
{
  static llmd_key key[IDS / 16];
  llmd_chain_root root = {.size = sizeof root, .block_tokens = 16};
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
  llmd_index *index;
  llmd_chain chain;
  if (llmd_pool_index(c->pool, &index) || llmd_chain_begin(&chain, llmd_index_secret(index), &root) ||
      llmd_chain_extend(&chain, llmd_index_secret(index), ids, IDS, NULL, 0, key, IDS / 16) < 0)
    cluster_die("index", LLMD_E_STATE, NULL);
  for (uint32_t i = 0; i < c->n; i++) {
    llmd_index_store(index, c->id[i], LLMD_TIER_GPU, NULL, key, NULL, 1 + i % (IDS / 16), NULL);
    llmd_index_describe(index, c->id[i], &row);
  }
}

/* Hashing, both walks (the approximate index is kept beside the exact one), scores. */
static void precise(uint32_t n, unsigned calls, uint32_t used)
{
  static uint32_t ids[IDS];
  char row[96];
  cluster c;
  for (uint32_t i = 0; i < IDS; i++)
    ids[i] = i * 7;
  cluster_open(&c, n, precise_policy, 0);
  tell(&c, ids);
  cluster_body(&c, 1200, 1);
  cluster_feed(&c);
  llmd_request_set_tokens(c.request, ids, used);
  c.now.mono += 1000000000;
  snprintf(row, sizeof row, "precise policy, %u endpoints, %u token ids", n, used);
  bench_row(row, bench_time(decide, &c, calls) / 1e3, "us");
  cluster_close(&c);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  stock(100, 5000);
  stock(1000, 500);
  stock(10000, 50);
  precise(100, 2000, 1024);
  precise(100, 1000, IDS);
  precise(1000, 200, IDS);
  large_body();
  return 0;
}
