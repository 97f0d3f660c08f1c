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

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  stock(100, 5000);
  stock(1000, 500);
  stock(10000, 50);
  large_body();
  return 0;
}
