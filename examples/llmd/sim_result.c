/* The ends of a run: is its configuration sound, and the room for what comes out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "sim_cluster.h"

int sim_config_check(const struct sim_config *k)
{
  if (!k->model || !k->workload || k->n_engines == 0 || k->n_engines > 1u << 16)
    return LLMD_E_INVALID;
  if (k->workload->n_requests == 0 || k->workload->n_stages == 0)
    return LLMD_E_INVALID;
  if (!(k->metrics_period >= 0 && k->metrics_lag >= 0) || (k->metrics_period == 0 && k->metrics_lag > 0))
    return LLMD_E_INVALID;
  if (k->metrics_period > 0 && !(k->metrics_period >= 1e-4 && k->metrics_lag / k->metrics_period <= 1e4))
    return LLMD_E_INVALID;
  if (!(k->event_lag >= 0 && k->event_lag <= 60 && k->event_loss >= 0 && k->event_loss < 1))
    return LLMD_E_INVALID;
  if (k->restart_period != 0 && !(k->restart_period >= 0.1))
    return LLMD_E_INVALID;
  return 0;
}

void sim_result_free(struct sim_result *r)
{
  for (uint32_t i = 0; r->spans && i < r->config.workload->n_stages; i++) {
    free(r->spans[i].busy);
    free(r->spans[i].work);
    free(r->spans[i].gaps);
    free(r->spans[i].decisions);
  }
  free(r->spans);
  free(r->records);
  memset(r, 0, sizeof *r);
}

int sim_result_make(struct sim_result *r, const struct sim_config *config, const char *name)
{
  const struct sim_workload *w = config->workload;
  r->config = *config;
  (void)snprintf(r->router, sizeof r->router, "%s", name ? name : "");
  r->records = calloc(w->n_requests, sizeof *r->records);
  r->spans = calloc(w->n_stages, sizeof *r->spans);
  if (!r->records || !r->spans)
    return LLMD_E_NOMEM;
  for (uint32_t i = 0; i < w->n_stages; i++) {
    struct sim_span *s = &r->spans[i];
    s->busy = calloc(config->n_engines, sizeof *s->busy);
    s->work = calloc(config->n_engines, sizeof *s->work);
    s->gaps = calloc(1, sizeof *s->gaps);
    s->decisions = calloc(1, sizeof *s->decisions);
    if (!s->busy || !s->work || !s->gaps || !s->decisions)
      return LLMD_E_NOMEM;
  }
  return 0;
}
