#include "sched/explain.h"

#include <string.h>

const llmd__why *llmd__why_next(const llmd_lane *l, uint32_t *at, uint32_t kind, uint32_t profile)
{
  while (*at < l->n_why) {
    const llmd__why *w = &l->why[(*at)++];
    if (w->kind == kind && w->profile == profile)
      return w;
  }
  return NULL;
}

llmd_str llmd__why_name(const llmd_lane *l, uint32_t row)
{
  return llmd__kept_string(l, row, l->kept.row[row].name);
}

const char *llmd__why_plugin(const llmd_lane *l, const llmd__why *w)
{
  return l->s->config->instance[w->instance].name;
}

/* Candidates that the filter entry w was given: what the filter before it in the same run left, or all. */
static uint32_t given_to(const llmd_lane *l, const llmd__why *w, const uint32_t **rows)
{
  const llmd__why *p = w > l->why ? w - 1 : NULL;
  llmd__candidates start = llmd__lane_start(l);
  if (p && p->kind == LLMD__WHY_FILTER && p->profile == w->profile && p->n == w->n_before) {
    *rows = p->row;
    return p->n;
  }
  *rows = start.row;
  return start.n;
}

uint32_t llmd__why_dropped(const llmd_lane *l, const llmd__why *w, const uint32_t **out)
{
  const uint32_t *before;
  uint32_t n = given_to(l, w, &before), dropped = 0;
  memset(l->keep, 0, l->kept.n);
  for (uint32_t i = 0; i < w->n; i++)
    l->keep[w->row[i]] = 1;
  for (uint32_t i = 0; i < n; i++)
    if (!l->keep[before[i]])
      l->order[dropped++] = before[i];
  *out = l->order;
  return dropped;
}

const llmd__why *llmd__why_picker(const llmd_lane *l, uint32_t profile)
{
  const llmd__why *last = NULL, *w;
  uint32_t at = 0;
  while ((w = llmd__why_next(l, &at, LLMD__WHY_PICKER, profile)))
    last = w;
  return last;
}

uint32_t llmd__why_picked(const llmd_lane *l, uint32_t profile, uint32_t row)
{
  const llmd__result *r = &l->result[profile];
  for (uint32_t i = 0; i < r->n; i++)
    if (r->row[i] == row)
      return i + 1;
  return 0;
}

int64_t llmd__why_runner_up(const llmd_lane *l, const llmd__why *w)
{
  int64_t best = -1;
  for (uint32_t i = 0; i < w->n; i++)
    if ((best < 0 || w->value[i] > w->value[best]) && !llmd__why_picked(l, w->profile, w->row[i]))
      best = i;
  return best;
}

int llmd__why_scored(const llmd__why *w, uint32_t i, double *weighted)
{
  double s = w->value[i];
  if (w->rc < 0 || s != s)
    return 0;
  s = s > 0 ? s : 0;
  *weighted = (s < 1 ? s : 1) * w->weight;
  return 1;
}

int llmd__why_note(const llmd_lane *l, uint32_t column)
{
  const llmd__column *col = &l->s->column[column];
  const llmd_plugin *p = col->instance != LLMD__NONE ? l->s->config->instance[col->instance].plugin : NULL;
  return p && l->kept.column_set[column] && (p->writes[col->write].flags & LLMD_WRITE_NOTE);
}
