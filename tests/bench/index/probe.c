/* Small questions with known answers, and what is left after everything went. */
#include <stdio.h>
#include <stdlib.h>

#include "side.h"

#define BYTES (UINT64_C(128) << 20)
#define BLOCKS 256u
#define ASKED 5000u

static void apply(side *s, work_batch *b)
{
  side_apply(s, b, NULL);
  b->events = b->blocks = 0;
}

static void put(side *s, uint32_t worker, const work_chain *c, uint32_t from, uint32_t to)
{
  work_batch b = {0};
  work_store(&b, worker, c, from, to, 1);
  apply(s, &b);
  work_batch_free(&b);
}

static void take_one(side *s, uint32_t worker, const work_chain *c, uint32_t at)
{
  work_batch b = {0};
  work_remove_some(&b, worker, c, &at, 1);
  apply(s, &b);
  work_batch_free(&b);
}

/* One event, leaf first. */
static void take_all(side *s, uint32_t worker, const work_chain *c)
{
  work_batch b = {0};
  uint32_t *at = work_need(malloc(c->n * sizeof *at));
  for (uint32_t i = 0; i < c->n; i++)
    at[i] = c->n - 1 - i;
  work_remove_some(&b, worker, c, at, c->n);
  apply(s, &b);
  work_batch_free(&b);
  free(at);
}

static double ask(side *s, const work_chain *c, uint32_t worker)
{
  llmd_key *keys = side_keys(s, c);
  side_ask(s, keys, c->n);
  free(keys);
  return side_depth(s, worker);
}

/* `shared` blocks of one segment, then another's with its own count. */
static void make(work_chain *c, uint64_t segment, uint32_t shared, uint64_t tail)
{
  work_chain_reset(c, BLOCKS);
  for (uint32_t j = 0; j < BLOCKS; j++)
    c->content[c->n++] = work_content(j < shared ? segment : tail, j);
  work_chain_name(c);
}

static void hole(void)
{
  work_chain c = {0};
  side s;
  side_open(&s, BYTES, WORK_SLOTS);
  make(&c, 1, BLOCKS, 0);
  for (uint32_t w = 0; w < 8; w++)
    put(&s, w, &c, 0, BLOCKS);
  take_one(&s, 1, &c, 100);
  side_must("probe_hole_at_100_expect_100", ask(&s, &c, 1), 100);
  side_must("probe_hole_other_expect_256", ask(&s, &c, 0), 256);
  put(&s, 1, &c, 100, 101);
  side_must("probe_hole_healed_expect_256", ask(&s, &c, 1), 256);
  side_close(&s);
  work_chain_free(&c);
}

/* Sets of equal size that differ: A and B hold the prefix, A and C the branch, C lost its head. */
static void equal_size(void)
{
  work_chain c = {0}, d = {0};
  side s;
  side_open(&s, BYTES, WORK_SLOTS);
  make(&c, 2, 128, 3);
  make(&d, 2, 128, 4);
  put(&s, 0, &c, 0, BLOCKS);
  put(&s, 1, &d, 0, BLOCKS);
  put(&s, 2, &c, 0, BLOCKS);
  take_one(&s, 2, &c, 0);
  side_must("probe_equal_size_B_expect_128", ask(&s, &c, 1), 128);
  side_must("probe_equal_size_C_expect_0", ask(&s, &c, 2), 0);
  side_close(&s);
  work_chain_free(&c);
  work_chain_free(&d);
}

/* Names that no rolling hash makes. */
static void foreign_names(void)
{
  work_chain c = {0};
  side s;
  side_open(&s, BYTES, WORK_SLOTS);
  make(&c, 1, BLOCKS, 0);
  for (uint32_t i = 0; i < c.n; i++)
    c.name[i] = work_mix(c.name[i]);
  put(&s, 0, &c, 0, BLOCKS);
  side_must("probe_foreign_hash_expect_256", ask(&s, &c, 0), 256);
  side_close(&s);
  work_chain_free(&c);
}

/* 200 chains of 512 blocks by four workers; stored, or removed. */
static void round_of(side *s, uint64_t round, int remove)
{
  work_chain c = {0};
  for (uint64_t k = 0; k < 200; k++) {
    work_chain_reset(&c, 512);
    work_chain_add(&c, 5000000 + round * 1000 + k, 512);
    work_chain_name(&c);
    for (uint32_t w = 0; w < 4; w++) {
      if (remove)
        take_all(s, w, &c);
      else
        put(s, w, &c, 0, 512);
    }
  }
  work_chain_free(&c);
}

static void churn(void)
{
  double peak = 0, empty, rss = side_rss();
  side s;
  side_open(&s, BYTES, WORK_SLOTS);
  empty = (double)side_stats(&s).used;
  for (uint64_t round = 0; round < (side_set.quick ? 2u : 20u); round++) {
    double used;
    round_of(&s, round, 0);
    used = (double)side_stats(&s).used - empty;
    peak = used > peak ? used : peak;
    round_of(&s, round, 1);
  }
  side_row("probe_churn_peak_malloc_MiB", peak / 1048576);
  side_row("probe_churn_end_malloc_MiB", ((double)side_stats(&s).used - empty) / 1048576);
  side_row("probe_churn_end_rss_MiB", (side_rss() - rss) / 1048576);
  side_settle(&s);
  side_row("probe_churn_after_maintenance_malloc_MiB", ((double)side_stats(&s).used - empty) / 1048576);
  side_must("probe_churn_end_held", (double)side_stats(&s).held, 0);
  side_close(&s);
}

static double median_of_asking(side *s, const work_chain *c)
{
  llmd_key *keys = side_keys(s, c);
  side_samples t = {0};
  double p50;
  for (uint32_t i = 0; i < ASKED; i++)
    side_sample(&t, side_ask(s, keys, c->n));
  p50 = side_percentile(&t, 0.5);
  side_samples_free(&t);
  free(keys);
  return p50;
}

/* Other chains fork off a chain at many points and go away. */
static void branches(void)
{
  work_chain c = {0}, d = {0};
  side s, never;
  side_open(&s, BYTES, WORK_SLOTS);
  side_open(&never, BYTES, WORK_SLOTS);
  make(&c, 1, BLOCKS, 0);
  for (uint32_t w = 0; w < 8; w++) {
    put(&s, w, &c, 0, BLOCKS);
    put(&never, w, &c, 0, BLOCKS);
  }
  for (uint32_t k = 1; k <= 200; k++) {
    make(&d, 1, k + 20, 6000 + k);
    put(&s, 9, &d, 0, BLOCKS);
    take_all(&s, 9, &d);
  }
  side_row("probe_after_branches_gone_p50_ns", median_of_asking(&s, &c));
  side_settle(&s);
  side_row("probe_after_branches_gone_and_maintenance_p50_ns", median_of_asking(&s, &c));
  side_row("probe_never_branched_p50_ns", median_of_asking(&never, &c));
  side_row("probe_after_branches_gone_used_over_never", (double)side_stats(&s).used / (double)side_stats(&never).used);
  side_close(&s);
  side_close(&never);
  work_chain_free(&c);
  work_chain_free(&d);
}

void part_probe(void)
{
  side_pin(0);
  hole();
  equal_size();
  foreign_names();
  churn();
  branches();
}
