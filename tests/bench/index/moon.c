/* A conversation trace replayed: request i asks, then worker i % n stores what it lacks. */
#include <stdio.h>
#include <stdlib.h>

#include "side.h"

#define EVENT_BLOCKS 64u

struct replay {
  side side;
  const work_trace *trace;
  llmd_key **keys; /* ready before */
  side_samples took;
  side_cost cost;
  uint64_t wrong, stored;
};

static int right(const side *s, uint64_t digest)
{
  uint64_t got = 0;
  for (uint32_t i = 0; i < s->hits; i++) {
    const work_depth d = {(uint32_t)s->hit[i].endpoint, s->hit[i].blocks};
    got += work_digest(&d, 1);
  }
  return got == digest;
}

static void replay(struct replay *r, const work_replay *model, uint32_t workers)
{
  work_batch b = {0};
  for (uint32_t i = 0; i < r->trace->requests; i++) {
    const work_chain *c = &r->trace->request[i];
    side_sample(&r->took, side_ask(&r->side, r->keys[i], c->n));
    r->wrong += !right(&r->side, model->digest[i]);
    for (uint32_t at = model->have[i]; at < c->n; at += EVENT_BLOCKS)
      work_store_one(&b, i % workers, c, at, c->n - at < EVENT_BLOCKS ? c->n : at + EVENT_BLOCKS);
    if (b.events)
      side_apply(&r->side, &b, &r->cost);
    r->stored += b.blocks;
    b.events = b.blocks = 0;
  }
  work_batch_free(&b);
}

static void report(struct replay *r, uint32_t workers, double rss)
{
  double seconds = 0;
  char row[64];
  const double held = (double)r->stored, n = (double)r->took.n;
  for (size_t i = 0; i < r->took.n; i++)
    seconds += (double)r->took.v[i] * 1e-9;
  side_row("moon_W%u_queries_per_s", n / seconds, workers);
  side_row("moon_W%u_requests_per_s", n / (seconds + r->cost.cpu), workers);
  side_row("moon_W%u_query_p50_ns", side_percentile(&r->took, 0.5), workers);
  side_row("moon_W%u_query_p99_ns", side_percentile(&r->took, 0.99), workers);
  side_row("moon_W%u_store_blocks_per_cpu_s", held / r->cost.cpu, workers);
  snprintf(row, sizeof row, "moon_W%u_wrong_queries_pct", workers);
  side_must(row, 100.0 * (double)r->wrong / n, 0);
  side_row("moon_W%u_held_blocks", held, workers);
  side_row("moon_W%u_rss_MiB", rss / 1048576, workers);
  side_row("moon_W%u_malloc_MiB", (double)side_stats(&r->side).used / 1048576, workers);
  side_row("moon_W%u_rss_bytes_per_held", rss / held, workers);
}

/* The secret comes from the seed, so keys made with one index serve all. */
static llmd_key **ready_keys(const work_trace *t)
{
  llmd_key **keys = work_need(calloc(t->requests, sizeof *keys));
  side s;
  side_open(&s, 1 << 20, WORK_SLOTS);
  for (uint32_t k = 0; k < t->requests; k++)
    keys[k] = side_keys(&s, &t->request[k]);
  side_close(&s);
  return keys;
}

static void replay_rows(const work_trace *t, llmd_key **keys, uint32_t workers)
{
  const uint64_t bytes = (side_set.quick ? UINT64_C(64) : UINT64_C(512)) << 20;
  struct replay r = {.trace = t, .keys = keys};
  work_replay model;
  double rss;
  work_replay_open(&model, t, workers);
  rss = side_rss();
  side_open(&r.side, bytes, WORK_SLOTS);
  replay(&r, &model, workers);
  report(&r, workers, side_rss() - rss);
  side_samples_free(&r.took);
  side_close(&r.side);
  work_replay_close(&model);
}

void part_moon(void)
{
  static const uint32_t workers[3] = {8, 64, 256};
  llmd_key **keys;
  work_trace t;
  if (!work_trace_open(&t, side_set.trace, side_set.quick ? 500 : UINT32_MAX)) {
    fprintf(stderr, "# skipped: the replay needs the trace %s\n", side_set.trace);
    return;
  }
  side_pin(0);
  keys = ready_keys(&t);
  for (int i = 0; i < 3; i++)
    replay_rows(&t, keys, workers[i]);
  for (uint32_t k = 0; k < t.requests; k++)
    free(keys[k]);
  free(keys);
  work_trace_close(&t);
}
