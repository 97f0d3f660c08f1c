/* The big index: 16 M blocks held by 1,000 workers, the query sets on top, removes, a reader beside a writer, a worker
 * that goes. */
#include <stdio.h>
#include <stdlib.h>

#include "side.h"

/* ---- filling ----------------------------------------------------------------------------------------------------- */

/* All pairs of the fill in their order. Returns blocks held. */
static uint64_t store_documents(side *s, const work_fill *f, const char *row)
{
  work_shared *shared = work_need(calloc(1, sizeof *shared));
  side_feeder feeder = {.side = s};
  work_chain c = {0};
  uint64_t held = 0;
  for (uint32_t i = 0; i < f->pairs; i++) {
    const uint32_t d = f->pair[i].document, w = f->pair[i].worker;
    const uint32_t from = work_shared_take(shared, w, work_document_chain(d, &c));
    held += c.n - from;
    work_store(&feeder.batch, w, &c, from, c.n, d);
    side_feed(&feeder);
  }
  side_fed(&feeder, row);
  work_chain_free(&c);
  free(shared);
  return held;
}

static void fill(side *s, const work_fill *f, double rss_before)
{
  const double held = (double)store_documents(s, f, "fill_store");
  const llmd_index_stats st = side_stats(s);
  side_must("held_blocks", (double)st.held, (double)f->held);
  side_row("holders_per_distinct", held / (double)f->distinct);
  side_row("rss_bytes_per_held", (side_rss() - rss_before) / held);
  side_row("malloc_bytes_per_held", (double)st.used / held);
  side_row("rss_bytes_per_distinct", (side_rss() - rss_before) / (double)f->distinct);
}

/* ---- query sets -------------------------------------------------------------------------------------------------- */

struct asking {
  side *side;
  const work_query *query;
  llmd_key **keys;
  uint32_t n;
  const uint64_t *flush;
  size_t flush_n;
};

/* Whole answers, and pairs of worker and depth that are too long or too short. */
static void check_answers(const struct asking *a, const char *name)
{
  uint64_t bad = 0, over = 0, under = 0, strange = 0, pairs = 0;
  char row[64];
  for (uint32_t k = 0; k < a->n; k++) {
    const work_query *q = &a->query[k];
    uint32_t known = 0;
    side_ask(a->side, a->keys[k], q->chain.n);
    bad += !side_right(a->side, q->answer, q->answers);
    for (uint32_t i = 0; i < q->answers; i++) {
      const uint32_t got = side_depth(a->side, q->answer[i].worker);
      over += got > q->answer[i].depth;
      under += got < q->answer[i].depth;
      known += got > 0;
    }
    strange += a->side->hits - known;
    pairs += q->answers;
  }
  snprintf(row, sizeof row, "%s_wrong_queries_pct", name);
  side_must(row, 100.0 * (double)bad / a->n, 0);
  snprintf(row, sizeof row, "%s_workers_over_pct", name);
  side_must(row, 100.0 * (double)(over + strange) / (double)pairs, 0);
  snprintf(row, sizeof row, "%s_workers_under_pct", name);
  side_must(row, 100.0 * (double)under / (double)pairs, 0);
}

static void ask_hot(const struct asking *a, const char *name)
{
  const uint64_t end = side_now() + (side_set.quick ? 10 : 700) * UINT64_C(1000000);
  side_samples t = {0}, rest;
  while (t.n < 200 || (side_now() < end && t.n < 50000))
    side_sample(&t, side_ask(a->side, a->keys[0], a->query[0].chain.n));
  rest = (side_samples){.v = t.v + t.n / 10, .n = t.n - t.n / 10};
  side_row("%s_hot_p50_ns", side_percentile(&rest, 0.5), name);
  side_row("%s_hot_p99_ns", side_percentile(&rest, 0.99), name);
  side_samples_free(&t);
}

static void ask_cold(const struct asking *a, const char *name)
{
  side_samples t = {0};
  work_rng r = {0xC01D};
  volatile uint64_t sink = 0;
  for (uint32_t i = 0; i < side_set.cold; i++) {
    const uint32_t k = (uint32_t)work_below(&r, a->n), n = a->query[k].chain.n;
    uint64_t sum = 0;
    for (size_t j = 0; j < a->flush_n; j += 8)
      sum += a->flush[j];
    for (uint32_t j = 0; j < n; j++)
      sum ^= a->keys[k][j].lo;
    sink = sink + sum;
    side_sample(&t, side_ask(a->side, a->keys[k], n));
  }
  side_row("%s_cold_p50_ns", side_percentile(&t, 0.5), name);
  side_row("%s_cold_p99_ns", side_percentile(&t, 0.99), name);
  side_samples_free(&t);
}

static void build_set(side *s, const work_set *set, const work_query *q, uint32_t n)
{
  const uint32_t all = n * set->holders;
  side_feeder feeder = {.side = s};
  uint32_t *order = work_need(malloc(all * sizeof *order));
  work_rng r = {set->segment};
  char row[32];
  for (uint32_t i = 0; i < all; i++)
    order[i] = i;
  for (uint32_t i = all; i-- > 1;) {
    const uint32_t j = (uint32_t)work_below(&r, (uint64_t)i + 1), o = order[i];
    order[i] = order[j];
    order[j] = o;
  }
  for (uint32_t i = 0; i < all; i++) {
    const uint32_t k = order[i] / set->holders;
    const work_depth *d = &q[k].stored[order[i] % set->holders];
    work_store(&feeder.batch, d->worker, &q[k].chain, 0, d->depth, set->segment + k);
    side_feed(&feeder);
  }
  snprintf(row, sizeof row, "%s_build", set->name);
  side_fed(&feeder, row);
  free(order);
}

/* heal 0: takes the holes' blocks away, at most 32 an event; 1: stores them again, one an event. */
static void touch_holes(side *s, const work_set *set, const work_query *q, uint32_t n, int heal)
{
  side_feeder feeder = {.side = s};
  char row[32];
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t i = 0; i < q[k].holders; i++) {
      const uint32_t w = q[k].stored[i].worker, *hole = q[k].hole[i], m = q[k].n_holes[i];
      for (uint32_t j = 0; j < m; j += heal ? 1 : 32) {
        if (heal)
          work_store_one(&feeder.batch, w, &q[k].chain, hole[j], hole[j] + 1);
        else
          work_remove_some(&feeder.batch, w, &q[k].chain, hole + j, m - j < 32 ? m - j : 32);
      }
      side_feed(&feeder);
    }
  snprintf(row, sizeof row, "%s_%s", set->name, heal ? "heal" : "punch");
  side_fed(&feeder, row);
}

/* Every holder has all of its part again. */
static void check_healed(const struct asking *a, const char *name)
{
  uint64_t over = 0, under = 0, pairs = 0;
  char row[64];
  for (uint32_t k = 0; k < a->n; k++) {
    const work_query *q = &a->query[k];
    side_ask(a->side, a->keys[k], q->chain.n);
    for (uint32_t i = 0; i < q->holders; i++) {
      const uint32_t got = side_depth(a->side, q->stored[i].worker);
      over += got > q->stored[i].depth;
      under += got < q->stored[i].depth;
    }
    pairs += q->holders;
  }
  snprintf(row, sizeof row, "%s_healed_under_pct", name);
  side_must(row, 100.0 * (double)under / (double)pairs, 0);
  snprintf(row, sizeof row, "%s_healed_over_pct", name);
  side_must(row, 100.0 * (double)over / (double)pairs, 0);
}

static void query_set(side *s, const work_set *set, const uint64_t *flush, size_t flush_n)
{
  uint32_t n = side_set.quick ? (set->chains + 7) / 8 : 0;
  work_query *q = work_queries(set, &n);
  struct asking a = {s, q, work_need(calloc(n, sizeof *a.keys)), n, flush, flush_n};
  for (uint32_t k = 0; k < n; k++)
    a.keys[k] = side_keys(s, &q[k].chain);
  build_set(s, set, q, n);
  if (set->holes)
    touch_holes(s, set, q, n, 0);
  check_answers(&a, set->name);
  ask_hot(&a, set->name);
  ask_cold(&a, set->name);
  if (set->holes) {
    touch_holes(s, set, q, n, 1);
    check_healed(&a, set->name);
    ask_hot(&a, "Q4_healed");
    ask_cold(&a, "Q4_healed");
  }
  for (uint32_t k = 0; k < n; k++)
    free(a.keys[k]);
  free(a.keys);
  work_queries_free(q, n);
}

static void query_sets(side *s)
{
  const size_t n = (side_set.quick ? (size_t)1 : (size_t)256) << 17;
  uint64_t *flush = work_need(malloc(n * sizeof *flush));
  for (size_t i = 0; i < n; i++)
    flush[i] = 1;
  for (int i = 0; i < 4; i++)
    query_set(s, &work_sets[i], flush, n);
  free(flush);
}

/* ---- random documents -------------------------------------------------------------------------------------------- */

/* Asks for `n` random documents and compares the first `checked` answers; returns how many were wrong. */
static uint64_t random_documents(side *s, const work_fill *f, uint64_t seed, uint32_t n, uint32_t checked,
                                 side_samples *t)
{
  work_depth *want = work_need(malloc(WORK_WORKERS * sizeof *want));
  work_rng r = {seed};
  work_chain c = {0};
  uint64_t bad = 0;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t d = (uint32_t)work_below(&r, f->documents);
    llmd_key *keys;
    work_document_chain(d, &c);
    keys = side_keys(s, &c);
    side_sample(t, side_ask(s, keys, c.n));
    if (i < checked)
      bad += !side_right(s, want, work_document_answer(f, d, want));
    free(keys);
  }
  work_chain_free(&c);
  free(want);
  return bad;
}

static void document_rows(side *s, const work_fill *f)
{
  const uint32_t n = side_set.quick ? 200 : 20000, checked = side_set.quick ? 200 : 3000;
  side_samples t = {0};
  const uint64_t bad = random_documents(s, f, 0xD0C5, n, checked, &t);
  side_row("QD_randdoc_p50_ns", side_percentile(&t, 0.5));
  side_row("QD_randdoc_p99_ns", side_percentile(&t, 0.99));
  side_must("QD_wrong_queries_pct", 100.0 * (double)bad / checked, 0);
  side_samples_free(&t);
}

/* ---- removes ----------------------------------------------------------------------------------------------------- */

/* The tails of these pairs, removed or stored again. */
static void tails(side *s, const work_pair *pair, uint32_t pairs, int remove)
{
  side_feeder feeder = {.side = s};
  work_chain c = {0};
  for (uint32_t i = 0; i < pairs; i++) {
    work_document_chain(pair[i].document, &c);
    if (remove)
      work_remove(&feeder.batch, pair[i].worker, &c, 32, c.n, pair[i].document);
    else
      work_store(&feeder.batch, pair[i].worker, &c, 32, c.n, pair[i].document);
    side_feed(&feeder);
  }
  side_fed(&feeder, remove ? "remove" : "restore");
  work_chain_free(&c);
}

/* Different pairs whose tails are 1 M blocks together. */
static work_pair *some_pairs(const work_fill *f, uint32_t *out_n)
{
  const uint64_t want = side_set.held / 4 < 1000000 ? side_set.held / 4 : 1000000;
  work_pair *out = work_need(malloc(f->pairs * sizeof *out));
  uint8_t *seen = work_need(calloc(f->pairs, 1));
  work_rng r = {0x2E0};
  uint32_t n = 0;
  for (uint64_t blocks = 0; blocks < want && n < f->pairs;) {
    const uint32_t k = (uint32_t)work_below(&r, f->pairs);
    if (seen[k])
      continue;
    seen[k] = 1;
    out[n++] = f->pair[k];
    blocks += f->document[f->pair[k].document].tail;
  }
  free(seen);
  *out_n = n;
  return out;
}

static void remove_rows(side *s, const work_fill *f)
{
  const uint32_t asked = side_set.quick ? 200 : 1000;
  side_samples t = {0};
  uint32_t n;
  work_pair *pair = some_pairs(f, &n);
  tails(s, pair, n, 1);
  tails(s, pair, n, 0);
  part_beside(s, f, pair, n);
  side_must("after_churn_wrong_queries_pct", 100.0 * (double)random_documents(s, f, 11, asked, asked, &t) / asked, 0);
  side_samples_free(&t);
  free(pair);
}

/* ---- a worker goes ----------------------------------------------------------------------------------------------- */

#define PROBES 1024u
struct big {
  side_feeder feeder;
  work_shared shared;
  work_chain probe[PROBES];
  uint32_t probes;
};

static uint64_t join(struct big *b, work_chain *c, uint64_t document, uint64_t salt, int probe)
{
  const uint32_t from = work_shared_take(&b->shared, WORK_BIG, work_document_chain(document, c));
  work_store(&b->feeder.batch, WORK_BIG, c, from, c->n, salt);
  side_feed(&b->feeder);
  if (probe && b->probes < PROBES)
    work_document_chain(document, &b->probe[b->probes++]);
  return c->n - from;
}

/* Worker 1000 stores `want` blocks: half of them documents of others, half its own. */
static void grow_big(struct big *b, const work_fill *f, uint64_t want)
{
  const uint64_t own_first = 50000000;
  uint64_t d = 0, own = own_first;
  work_chain c = {0};
  for (uint64_t n = 0; n < want;) {
    const int theirs = n < want / 2 && d < f->documents;
    if (theirs)
      d++;
    else
      own++;
    n += join(b, &c, theirs ? d - 1 : own, d, b->probes < 4 || own % 512 == 1);
  }
  side_fed(&b->feeder, "bigworker_store");
  work_chain_free(&c);
}

/* Whole: chains it has from end to end. Else: chains of which it has anything. */
static uint32_t count_big(struct big *b, int whole)
{
  side *s = b->feeder.side;
  uint32_t n = 0;
  for (uint32_t i = 0; i < b->probes; i++) {
    llmd_key *keys = side_keys(s, &b->probe[i]);
    uint32_t depth;
    side_ask(s, keys, b->probe[i].n);
    depth = side_depth(s, WORK_BIG);
    n += whole ? depth == b->probe[i].n : depth > 0;
    free(keys);
  }
  return n;
}

static void sweep_rows(side *s)
{
  side_samples wall = {0}, cpu = {0};
  const uint64_t start = side_cpu();
  int more;
  do {
    const uint64_t c = side_cpu(), w = side_now();
    more = llmd_index_tick(s->index, 1, 0);
    side_sample(&wall, side_now() - w);
    side_sample(&cpu, side_cpu() - c);
  } while (more == 1);
  side_row("clear_sweep_ms", (double)(side_cpu() - start) * 1e-6);
  side_row("clear_sweep_slices", (double)wall.n);
  side_row("clear_sweep_slice_p50_us", side_percentile(&wall, 0.5) * 1e-3);
  side_row("clear_sweep_slice_p99_us", side_percentile(&wall, 0.99) * 1e-3);
  side_row("clear_sweep_slice_max_us", side_percentile(&wall, 1) * 1e-3);
  side_row("clear_sweep_slice_max_cpu_us", side_percentile(&cpu, 1) * 1e-3);
  side_samples_free(&wall);
  side_samples_free(&cpu);
}

static void clear_rows(side *s, const work_fill *f)
{
  const uint64_t want = side_set.held / 8 < 1000000 ? side_set.held / 8 : 1000000;
  const uint64_t held = side_stats(s).held;
  struct big *b = work_need(calloc(1, sizeof *b));
  uint64_t wall, cpu;
  b->feeder.side = s;
  grow_big(b, f, want);
  side_must("clear_probe_before_ok_pct", 100.0 * count_big(b, 1) / b->probes, 100);
  cpu = side_cpu();
  wall = side_now();
  if (llmd_index_clear(s->index, side_endpoint(WORK_BIG)))
    s->errors++;
  wall = side_now() - wall;
  cpu = side_cpu() - cpu;
  side_row("clear_1M_worker_ms", (double)wall * 1e-6);
  side_row("clear_1M_worker_cpu_ms", (double)cpu * 1e-6);
  side_row("clear_1M_worker_us", (double)wall * 1e-3);
  side_must("clear_probe_left_over", count_big(b, 0), 0);
  sweep_rows(s);
  side_must("clear_probe_left_over_after_sweep", count_big(b, 0), 0);
  side_must("clear_held_after_sweep_minus_before", (double)side_stats(s).held - (double)held, 0);
  for (uint32_t i = 0; i < b->probes; i++)
    work_chain_free(&b->probe[i]);
  free(b);
}

void part_index(void)
{
  work_fill f;
  double rss;
  side s;
  side_pin(0);
  work_fill_open(&f, side_set.held);
  rss = side_rss();
  side_open(&s, side_set.bytes, WORK_SLOTS);
  fill(&s, &f, rss);
  query_sets(&s);
  document_rows(&s, &f);
  remove_rows(&s, &f);
  clear_rows(&s, &f);
  side_format(&s); /* the same in memory that is mapped already: what the system takes for giving pages is not in it */
  store_documents(&s, &f, "fill_store_mapped");
  side_close(&s);
  work_fill_close(&f);
}
