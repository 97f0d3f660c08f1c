/* Query sets: long chains, their holders, where those end, and what they lost. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

const work_set work_sets[4] = {
  {.name = "Q1", .segment = 100000000, .length = 64, .holders = 32, .cuts = 1, .chains = 256},
  {.name = "Q2", .segment = 200000000, .length = 512, .holders = 64, .cuts = 16, .chains = 64},
  {.name = "Q3", .segment = 300000000, .length = 4096, .holders = 96, .cuts = 64, .chains = 8},
  {.name = "Q4", .segment = 400000000, .length = 4096, .holders = 96, .cuts = 64, .chains = 8, .holes = 1},
};

static int by_number(const void *a, const void *b)
{
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static int listed(const uint32_t *v, uint32_t n, uint32_t x)
{
  while (n--)
    if (v[n] == x)
      return 1;
  return 0;
}

static void draw_holders(work_query *q, const work_set *set, work_rng *r)
{
  q->stored = work_need(calloc(set->holders, sizeof *q->stored));
  while (q->holders < set->holders) {
    const uint32_t w = (uint32_t)work_below(r, WORK_WORKERS);
    uint32_t i = 0;
    while (i < q->holders && q->stored[i].worker != w)
      i++;
    if (i == q->holders)
      q->stored[q->holders++].worker = w;
  }
}

static void draw_cuts(work_query *q, const work_set *set, work_rng *r)
{
  const uint32_t slice = set->length / set->cuts;
  uint32_t cut[64];
  for (uint32_t i = 0; i < set->cuts; i++)
    cut[i] = i + 1 == set->cuts ? set->length : (i + 1) * slice - (uint32_t)work_below(r, slice / 2);
  for (uint32_t i = 0; i < q->holders; i++)
    q->stored[i].depth = cut[i % set->cuts];
}

static void draw_holes(work_query *q, work_rng *r)
{
  q->n_holes = work_need(calloc(q->holders, sizeof *q->n_holes));
  q->hole = work_need(calloc(q->holders, sizeof *q->hole));
  for (uint32_t i = 0; i < q->holders; i++) {
    const uint32_t depth = q->stored[i].depth, n = (depth * 2 + 99) / 100;
    uint32_t *hole = q->hole[i] = work_need(malloc(n * sizeof *hole)), m = 0;
    while (m < n) {
      const uint32_t p = depth / 4 + (uint32_t)work_below(r, depth / 2 ? depth / 2 : 1);
      if (!listed(hole, m, p))
        hole[m++] = p;
    }
    qsort(hole, n, sizeof *hole, by_number);
    q->n_holes[i] = n;
  }
}

static void find_answer(work_query *q)
{
  q->answer = work_need(calloc(q->holders, sizeof *q->answer));
  for (uint32_t i = 0; i < q->holders; i++) {
    const uint32_t depth = q->hole ? q->hole[i][0] : q->stored[i].depth;
    if (depth)
      q->answer[q->answers++] = (work_depth){q->stored[i].worker, depth};
  }
}

work_query *work_queries(const work_set *set, uint32_t *chains)
{
  const uint32_t n = *chains && *chains < set->chains ? *chains : set->chains;
  work_query *all = work_need(calloc(n, sizeof *all));
  for (uint32_t k = 0; k < n; k++) {
    work_query *q = &all[k];
    work_rng r = {work_mix(set->segment + k)};
    work_chain_reset(&q->chain, set->length);
    work_chain_add(&q->chain, set->segment + k, set->length);
    work_chain_name(&q->chain);
    draw_holders(q, set, &r);
    draw_cuts(q, set, &r);
    if (set->holes)
      draw_holes(q, &r);
    find_answer(q);
  }
  *chains = n;
  return all;
}

void work_queries_free(work_query *q, uint32_t chains)
{
  for (uint32_t k = 0; k < chains; k++) {
    for (uint32_t i = 0; q[k].hole && i < q[k].holders; i++)
      free(q[k].hole[i]);
    free(q[k].hole);
    free(q[k].n_holes);
    free(q[k].stored);
    free(q[k].answer);
    work_chain_free(&q[k].chain);
  }
  free(q);
}
