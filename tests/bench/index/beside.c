/* A reader on one core beside a writer that works flat out on the other. Wall-clock rows as the other programs take
 * them, and thread CPU time for the ratio, so that a busy machine does not count. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "side.h"

#define DOCUMENTS 1000u

struct questions {
  llmd_key **keys;
  uint32_t *length;
  uint32_t sets, all; /* the first `sets` are chains of Q2, the others documents */
};

static void add_question(struct questions *q, const side *s, const work_chain *c)
{
  q->keys[q->all] = side_keys(s, c);
  q->length[q->all++] = c->n;
}

static void open_questions(struct questions *q, const side *s, const work_fill *f, uint64_t seed)
{
  uint32_t n = side_set.quick ? (work_sets[1].chains + 7) / 8 : 0;
  work_query *set = work_queries(&work_sets[1], &n);
  work_rng r = {seed};
  work_chain c = {0};
  q->all = 0;
  q->keys = work_need(calloc(n + DOCUMENTS, sizeof *q->keys));
  q->length = work_need(calloc(n + DOCUMENTS, sizeof *q->length));
  for (uint32_t k = 0; k < n; k++)
    add_question(q, s, &set[k].chain);
  q->sets = n;
  for (uint32_t k = 0; k < DOCUMENTS; k++) {
    work_document_chain(work_below(&r, f->documents), &c);
    add_question(q, s, &c);
  }
  work_chain_free(&c);
  work_queries_free(set, n);
}

static void close_questions(struct questions *q)
{
  for (uint32_t i = 0; i < q->all; i++)
    free(q->keys[i]);
  free(q->keys);
  free(q->length);
}

struct reading {
  side *side;
  const struct questions *q;
  int by_cpu;
  side_samples sets, documents;
};

static void ask_one(struct reading *r, uint32_t i, side_samples *out)
{
  const uint64_t start = r->by_cpu ? side_cpu() : 0;
  const uint64_t wall = side_ask(r->side, r->q->keys[i], r->q->length[i]);
  side_sample(out, r->by_cpu ? side_cpu() - start : wall);
}

static void ask_both(struct reading *r, work_rng *rng)
{
  ask_one(r, (uint32_t)work_below(rng, r->q->sets), &r->sets);
  ask_one(r, r->q->sets + (uint32_t)work_below(rng, DOCUMENTS), &r->documents);
}

struct writing {
  side *side;
  const work_batch *batch;
  atomic_int done;
  double seconds;
};

static void *write_twice(void *ud)
{
  struct writing *w = ud;
  const uint64_t start = side_now();
  side_pin(1);
  for (int i = 0; i < 2; i++)
    side_apply(w->side, w->batch, NULL);
  w->seconds = (double)(side_now() - start) * 1e-9;
  atomic_store(&w->done, 1);
  return NULL;
}

/* Until the writer has removed and restored everything twice. Returns its seconds. */
static double read_beside(struct reading *r, const work_batch *batch)
{
  struct writing w = {.side = r->side, .batch = batch};
  work_rng rng = {7};
  pthread_t thread;
  side_pin(0);
  if (pthread_create(&thread, NULL, write_twice, &w))
    exit(2);
  while (!atomic_load_explicit(&w.done, memory_order_relaxed))
    ask_both(r, &rng);
  pthread_join(thread, NULL);
  return w.seconds;
}

static void read_alone(struct reading *r, uint32_t times)
{
  work_rng rng = {7};
  side_pin(0);
  while (times--)
    ask_both(r, &rng);
}

static void percentile_rows(const char *who, struct reading *r, const char *unit)
{
  side_row("%s_Q2_p50%s_ns", side_percentile(&r->sets, 0.5), who, unit);
  side_row("%s_Q2_p99%s_ns", side_percentile(&r->sets, 0.99), who, unit);
  side_row("%s_QD_p50%s_ns", side_percentile(&r->documents, 0.5), who, unit);
  side_row("%s_QD_p99%s_ns", side_percentile(&r->documents, 0.99), who, unit);
}

static void wall_rows(side *s, const struct questions *q, const work_batch *b)
{
  struct reading alone = {.side = s, .q = q}, beside = {.side = s, .q = q};
  double seconds, a, d;
  read_alone(&alone, side_set.quick ? 100 : 3000);
  percentile_rows("reader_alone", &alone, "");
  seconds = read_beside(&beside, b);
  side_row("conc_writer_blocks_per_s", 2 * (double)b->blocks / seconds);
  percentile_rows("conc_reader", &beside, "");
  a = side_percentile(&beside.sets, 1);
  d = side_percentile(&beside.documents, 1);
  side_row("conc_reader_max_ns", a > d ? a : d);
  side_row("conc_reader_queries_per_s", (double)(beside.sets.n + beside.documents.n) / seconds);
  side_samples_free(&alone.sets);
  side_samples_free(&alone.documents);
  side_samples_free(&beside.sets);
  side_samples_free(&beside.documents);
}

static void cpu_rows(side *s, const struct questions *q, const work_batch *b)
{
  struct reading alone = {.side = s, .q = q, .by_cpu = 1}, beside = alone;
  read_alone(&alone, side_set.quick ? 100 : 20000);
  percentile_rows("reader_alone", &alone, "_cpu");
  read_beside(&beside, b);
  percentile_rows("conc_reader", &beside, "_cpu");
  side_row("conc_over_alone_Q2_p99_cpu", side_percentile(&beside.sets, 0.99) / side_percentile(&alone.sets, 0.99));
  side_row("conc_over_alone_QD_p99_cpu",
           side_percentile(&beside.documents, 0.99) / side_percentile(&alone.documents, 0.99));
  side_samples_free(&alone.sets);
  side_samples_free(&alone.documents);
  side_samples_free(&beside.sets);
  side_samples_free(&beside.documents);
}

void part_beside(side *s, const work_fill *f, const work_pair *pair, uint32_t pairs)
{
  struct questions q;
  work_batch b = {0};
  work_chain c = {0};
  const uint64_t torn = side_stats(s).torn;
  for (int restore = 0; restore < 2; restore++)
    for (uint32_t i = 0; i < pairs; i++) {
      work_document_chain(pair[i].document, &c);
      if (restore)
        work_store(&b, pair[i].worker, &c, 32, c.n, pair[i].document);
      else
        work_remove(&b, pair[i].worker, &c, 32, c.n, pair[i].document);
    }
  open_questions(&q, s, f, 0xBE51DE);
  wall_rows(s, &q, &b);
  cpu_rows(s, &q, &b);
  side_row("conc_torn_queries", (double)(side_stats(s).torn - torn));
  close_questions(&q);
  work_batch_free(&b);
  work_chain_free(&c);
}
