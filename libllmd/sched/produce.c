/* Producers: state and request -> endpoint x request columns, over all candidates, before any profile runs. */
#include <math.h>
#include <string.h>

#include "sched/decision.h"

static int column_of_attribute(const llmd_lane *l, uint32_t attribute)
{
  for (uint32_t i = 0; i < l->s->n_columns; i++)
    if (l->column_attribute[i] == (int32_t)attribute)
      return (int)i;
  return -1;
}

static void blank(double *col, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    col[i] = (double)NAN;
}

/* Columns that the host set on the request. */
static void take_host_columns(llmd_lane *l)
{
  uint32_t n = llmd__request_columns(l->req);
  for (uint32_t k = 0; k < n; k++) {
    llmd__host_column h;
    int c;
    llmd__request_column(l->req, k, &h);
    c = column_of_attribute(l, h.attribute);
    if (c < 0)
      continue;
    if (!l->column_set[c])
      blank(l->column[c], l->snap.n);
    l->column_set[c] = 1;
    for (uint32_t i = 0; i < h.n; i++) {
      uint32_t slot = llmd__slot_of(h.ids[i]), row;
      row = slot < l->cap ? l->snap.view.row_of[slot] : LLMD__NO_ROW;
      if (row < l->snap.n && l->all_id[row] == h.ids[i])
        l->column[c][row] = h.values[i];
    }
  }
}

/* The host knows better: none of this producer's columns is produced. */
static int suppressed(const llmd_lane *l, uint32_t instance)
{
  const llmd__binding *b = &l->s->binding[instance];
  for (uint32_t w = 0; w < b->n_writes; w++)
    if (l->column_set[b->column[w]] == 1)
      return 1;
  return 0;
}

/* Where produce writes: the full columns themselves, or, over fewer candidates, a room that is spread out afterwards.
 */
static void prepare_out(llmd_lane *l, uint32_t instance, const llmd__candidates *c)
{
  const llmd__binding *b = &l->s->binding[instance];
  for (uint32_t w = 0; w < b->n_writes; w++) {
    uint32_t col = b->column[w];
    if (l->column_set[col] != 1)
      blank(l->column[col], l->snap.n);
    l->out[w] = c->identity && l->column_set[col] != 1 ? l->column[col] : l->temp + (size_t)w * l->cap;
    if (l->out[w] != l->column[col])
      blank(l->out[w], c->n);
  }
}

static void spread_out(llmd_lane *l, uint32_t instance, const llmd__candidates *c)
{
  const llmd__binding *b = &l->s->binding[instance];
  for (uint32_t w = 0; w < b->n_writes; w++) {
    double *col = l->column[b->column[w]];
    if (l->column_set[b->column[w]] == 1)
      continue;
    l->column_set[b->column[w]] = 2;
    if (l->out[w] != col)
      for (uint32_t i = 0; i < c->n; i++)
        col[c->row[i]] = l->out[w][i];
  }
}

/* A producer that reads its own columns was shown them before it wrote: they are read anew from now on. */
static void refresh_own(llmd_lane *l, uint32_t instance)
{
  const llmd__binding *b = &l->s->binding[instance];
  for (uint32_t r = 0; r < b->n_reads; r++) {
    uint32_t col = l->s->source[b->source[r]].column;
    if (col == LLMD__NONE || l->s->column[col].instance != instance)
      continue;
    l->full[b->source[r]].decision = 0;
    l->full[b->source[r]].gathered = 0;
  }
}

static void produce_one(llmd_lane *l, uint32_t instance)
{
  const llmd__instance *in = &l->s->config->instance[instance];
  const llmd__binding *b = &l->s->binding[instance];
  llmd__candidates c = llmd__lane_start(l);
  llmd__service_ctx ctx = {l, instance, &c, 0};
  llmd_services sv;
  llmd_batch batch;
  int rc;
  if (suppressed(l, instance) || !in->plugin->produce) {
    for (uint32_t w = 0; w < b->n_writes; w++)
      if (!l->column_set[b->column[w]])
        blank(l->column[b->column[w]], l->snap.n);
    return;
  }
  prepare_out(l, instance, &c);
  llmd__services_init(&sv, &ctx);
  llmd__batch_build(l, instance, &c, &batch);
  rc = in->plugin->produce(in->self.self, &sv, &batch, l->out);
  if (rc < 0 && rc != LLMD_E_NONE) {
    l->ladder |= LLMD_LADDER_PLUGIN;
    llmd__produce_ended(l, instance, rc);
    for (uint32_t w = 0; w < b->n_writes; w++)
      blank(l->out[w], c.n);
  }
  spread_out(l, instance, &c);
  refresh_own(l, instance);
}

void llmd__produce_all(llmd_lane *l)
{
  l->produced = l->decision;
  memset(l->column_set, 0, l->s->n_columns);
  take_host_columns(l);
  for (uint32_t i = 0; i < l->s->n_columns; i++)
    if (l->s->column[i].instance == LLMD__NONE && !l->column_set[i])
      blank(l->column[i], l->snap.n);
  for (uint32_t i = 0; i < l->s->config->n_producers; i++)
    produce_one(l, l->s->config->producer[i]);
}
