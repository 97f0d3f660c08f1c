/* Endpoints that do not hold the prefix, chains that came and went: memory and time must not know of them. */
#include <stdio.h>
#include <stdlib.h>

#include "side.h"

#define ROWS 16384u
#define HOLDERS 64u
#define LENGTH 512u

static void apply(side *s, work_batch *b)
{
  side_apply(s, b, NULL);
  b->events = b->blocks = 0;
}

static void make(work_chain *c, uint64_t segment, uint32_t n)
{
  work_chain_reset(c, n);
  work_chain_add(c, segment, n);
  work_chain_name(c);
}

static double median(side *s, const work_chain *c)
{
  llmd_key *keys = side_keys(s, c);
  side_samples t = {0};
  double p50;
  for (uint32_t i = 0; i < (side_set.quick ? 200u : 20000u); i++)
    side_sample(&t, side_ask(s, keys, c->n));
  p50 = side_percentile(&t, 0.5);
  side_samples_free(&t);
  free(keys);
  return p50;
}

/* ---- many endpoints ---------------------------------------------------------------------------------------------- */

/* 64 of the endpoints hold the chain, dropping out at 16 depths; returns the sum of those. */
static uint64_t store_some(side *s, const work_chain *c, uint32_t step)
{
  work_batch b = {0};
  uint64_t sum = 0;
  for (uint32_t i = 0; i < HOLDERS; i++) {
    const uint32_t depth = (i % 16 + 1) * (LENGTH / 16) - i % 16;
    work_store(&b, i * step, c, 0, depth, i);
    sum += depth;
  }
  apply(s, &b);
  work_batch_free(&b);
  return sum;
}

/* Whether these endpoints and no others are found, with their depths. */
static int all_found(side *s, const work_chain *c, uint32_t n, uint64_t sum)
{
  llmd_key *keys = side_keys(s, c);
  uint64_t got = 0;
  side_ask(s, keys, c->n);
  for (uint32_t i = 0; i < s->hits; i++)
    got += s->hit[i].blocks;
  free(keys);
  return s->hits == n && got == sum;
}

static void store_others(side *s, uint32_t step)
{
  work_batch b = {0};
  work_chain c = {0};
  for (uint32_t e = 0; e < ROWS; e += side_set.quick ? 64 : 1) {
    if (e % step == 0 && e / step < HOLDERS)
      continue;
    make(&c, 60000000 + e / 4, 64); /* four endpoints share a chain */
    work_store(&b, e, &c, 0, c.n, e);
    if (b.blocks > 4096)
      apply(s, &b);
  }
  apply(s, &b);
  work_chain_free(&c);
  work_batch_free(&b);
}

static void store_everywhere(side *s, const work_chain *c)
{
  work_batch b = {0};
  for (uint32_t e = 0; e < ROWS; e++) {
    work_store(&b, e, c, 0, c->n, e);
    if (b.blocks > 4096)
      apply(s, &b);
  }
  apply(s, &b);
  work_batch_free(&b);
}

static void many_rows(void)
{
  const uint64_t bytes = UINT64_C(256) << 20;
  work_chain c = {0}, everywhere = {0};
  side few, many;
  uint64_t sum;
  side_open(&few, bytes, WORK_SLOTS);
  side_open(&many, bytes, ROWS);
  side_row("rows1024_empty_used_bytes", (double)side_stats(&few).used);
  side_row("rows16384_empty_used_bytes", (double)side_stats(&many).used);
  side_row("rows1024_scratch_bytes", (double)llmd_index_scratch(few.index));
  side_row("rows16384_scratch_bytes", (double)llmd_index_scratch(many.index));
  make(&c, 61000000, LENGTH);
  make(&everywhere, 62000000, HOLDERS);
  sum = store_some(&few, &c, WORK_SLOTS / HOLDERS);
  store_some(&many, &c, ROWS / HOLDERS);
  side_row("rows1024_512x64x16_hot_p50_ns", median(&few, &c));
  side_row("rows16384_512x64x16_hot_p50_ns", median(&many, &c));
  store_others(&many, ROWS / HOLDERS);
  side_row("rows16384_512x64x16_hot_p50_ns_others_hold_theirs", median(&many, &c));
  store_everywhere(&many, &everywhere);
  side_row("rows16384_512x64x16_hot_p50_ns_all_hold_another", median(&many, &c));
  side_row("rows16384_64_blocks_held_by_all_hot_p50_ns", median(&many, &everywhere));
  side_must("rows16384_holders_right", all_found(&many, &c, HOLDERS, sum), 1);
  side_must("rows16384_all_right", all_found(&many, &everywhere, ROWS, (uint64_t)ROWS * HOLDERS), 1);
  side_close(&few);
  side_close(&many);
  work_chain_free(&c);
  work_chain_free(&everywhere);
}

/* ---- come and gone ----------------------------------------------------------------------------------------------- */

#define BASE 64u

/* Chain k: stored by, or taken from, `workers` of them. */
static void move(side *s, work_chain *c, uint32_t workers, int remove)
{
  work_batch b = {0};
  for (uint32_t w = 0; w < workers; w++) {
    if (remove)
      work_remove(&b, w, c, 0, c->n, w);
    else
      work_store(&b, w, c, 0, c->n, w);
  }
  apply(s, &b);
  work_batch_free(&b);
}

static void store_base(side *s)
{
  work_chain c = {0};
  for (uint32_t k = 0; k < BASE; k++) {
    make(&c, 63000000 + k, LENGTH);
    move(s, &c, 8, 0);
  }
  work_chain_free(&c);
}

/* Median over all chains of the base, one after the other. */
static double ask_base(side *s)
{
  llmd_key *keys[BASE];
  work_chain c = {0};
  side_samples t = {0};
  double p50;
  for (uint32_t k = 0; k < BASE; k++) {
    make(&c, 63000000 + k, LENGTH);
    keys[k] = side_keys(s, &c);
  }
  for (uint32_t i = 0; i < (side_set.quick ? 4u : 400u) * BASE; i++)
    side_sample(&t, side_ask(s, keys[i % BASE], LENGTH));
  p50 = side_percentile(&t, 0.5);
  for (uint32_t k = 0; k < BASE; k++)
    free(keys[k]);
  side_samples_free(&t);
  work_chain_free(&c);
  return p50;
}

static void come_and_go(side *s)
{
  work_chain c = {0};
  for (uint32_t round = 0; round < (side_set.quick ? 2u : 20u); round++)
    for (int remove = 0; remove < 2; remove++)
      for (uint32_t k = 0; k < 200; k++) {
        make(&c, 64000000 + round * 1000 + k, LENGTH);
        move(s, &c, 4, remove);
      }
  work_chain_free(&c);
}

/* Chains fork off each chain of the base and go. */
static void fork_and_go(side *s)
{
  work_chain c = {0};
  for (uint32_t k = 0; k < BASE; k++)
    for (uint32_t at = 1; at < LENGTH; at += side_set.quick ? 101 : 7) {
      make(&c, 63000000 + k, LENGTH);
      c.n = at;
      for (uint32_t j = at; j < LENGTH; j++)
        c.content[c.n++] = work_content(65000000 + at, j);
      work_chain_name(&c);
      /* A holder of its own, so that what it takes away is only what it brought. */
      for (int remove = 0; remove < 2; remove++) {
        work_batch b = {0};
        if (remove)
          work_remove(&b, 900, &c, 0, c.n, at);
        else
          work_store(&b, 900, &c, 0, c.n, at);
        apply(s, &b);
        work_batch_free(&b);
      }
    }
  work_chain_free(&c);
}

static void gone_rows(void)
{
  const uint64_t bytes = UINT64_C(256) << 20;
  double used, p50;
  side never, churned, branched;
  side_open(&never, bytes, WORK_SLOTS);
  side_open(&churned, bytes, WORK_SLOTS);
  side_open(&branched, bytes, WORK_SLOTS);
  store_base(&never);
  store_base(&churned);
  store_base(&branched);
  come_and_go(&churned);
  fork_and_go(&branched);
  side_settle(&churned);
  side_settle(&branched);
  used = (double)side_stats(&never).used;
  p50 = ask_base(&never);
  side_row("never_saw_512x8_p50_ns", p50);
  side_row("after_churn_512x8_p50_ns", ask_base(&churned));
  side_row("after_branches_512x8_p50_ns", ask_base(&branched));
  side_row("after_churn_used_over_never_saw", (double)side_stats(&churned).used / used);
  side_row("after_branches_used_over_never_saw", (double)side_stats(&branched).used / used);
  side_must("after_churn_held", (double)side_stats(&churned).held, (double)side_stats(&never).held);
  side_must("after_branches_held", (double)side_stats(&branched).held, (double)side_stats(&never).held);
  side_close(&never);
  side_close(&churned);
  side_close(&branched);
}

void part_rows(void)
{
  side_pin(0);
  many_rows();
  gone_rows();
}
