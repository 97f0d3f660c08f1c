/* llmd_explain_json: the why of the lane's last decision, for programs (docs/explain.md). */
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "sched/explain.h"
#include "sched/names.h"
#include "sched/policy.h"

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

static void put_str(llmd__json *w, llmd_str s)
{
  llmd__json_str(w, s.ptr ? s.ptr : "", s.len);
}

static void put_name(llmd__json *w, const llmd_lane *l, uint32_t row)
{
  put_str(w, llmd__why_name(l, row));
}

static void key_name(llmd__json *w, const llmd_lane *l, uint32_t row)
{
  llmd_str name = llmd__why_name(l, row);
  llmd__json_key_n(w, name.ptr, name.len);
}

static void put_span(llmd__json *w, const llmd_decision *d, llmd_span s)
{
  llmd__json_str(w, d->text + s.off, s.len);
}

static void key_text(llmd__json *w, const char *key, const char *text)
{
  llmd__json_key(w, key);
  llmd__json_text(w, text);
}

static void key_uint(llmd__json *w, const char *key, uint64_t v)
{
  llmd__json_key(w, key);
  llmd__json_uint(w, v);
}

static void key_double(llmd__json *w, const char *key, double v)
{
  llmd__json_key(w, key);
  llmd__json_double(w, v);
}

/* 64 bits do not survive every JSON reader as a number. */
static void key_id(llmd__json *w, const char *key, uint64_t v)
{
  char buf[24];
  snprintf(buf, sizeof buf, "%llu", (unsigned long long)v);
  key_text(w, key, buf);
}

static void key_rows(llmd__json *w, const llmd_lane *l, const char *key, const uint32_t *row, uint32_t n)
{
  llmd__json_key(w, key);
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < n; i++)
    put_name(w, l, row[i]);
  llmd__json_end(w);
}

static void put_plugin(llmd__json *w, const llmd_lane *l, const llmd__why *why)
{
  key_text(w, "name", llmd__why_plugin(l, why));
  key_text(w, "type", l->s->config->instance[why->instance].plugin->type);
  if (why->rc < 0)
    key_text(w, "error", llmd_errname(why->rc));
  if (why->rc < 0 && why->trouble.len) {
    llmd__json_key(w, "trouble");
    put_str(w, why->trouble);
  }
}

/* ---- one profile ------------------------------------------------------------------------------------------------ */

static void put_filters(llmd__json *w, const llmd_lane *l, uint32_t profile)
{
  const llmd__why *why;
  uint32_t at = 0;
  llmd__json_key(w, "filters");
  llmd__json_begin_list(w);
  while ((why = llmd__why_next(l, &at, LLMD__WHY_FILTER, profile))) {
    const uint32_t *dropped;
    uint32_t n = llmd__why_dropped(l, why, &dropped);
    llmd__json_begin_map(w);
    put_plugin(w, l, why);
    key_uint(w, "before", why->n_before);
    key_rows(w, l, "kept", why->row, why->n);
    key_rows(w, l, "dropped", dropped, n);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static void put_scores(llmd__json *w, const llmd_lane *l, const llmd__why *why, int weigh)
{
  llmd__json_key(w, weigh ? "weighted" : "scores");
  llmd__json_begin_map(w);
  for (uint32_t i = 0; i < why->n; i++) {
    double weighted;
    if (!llmd__why_scored(why, i, &weighted))
      continue;
    key_name(w, l, why->row[i]);
    llmd__json_double(w, weigh ? weighted : why->value[i]);
  }
  llmd__json_end(w);
}

static void put_scorers(llmd__json *w, const llmd_lane *l, uint32_t profile)
{
  const llmd__why *why;
  uint32_t at = 0;
  llmd__json_key(w, "scorers");
  llmd__json_begin_list(w);
  while ((why = llmd__why_next(l, &at, LLMD__WHY_SCORER, profile))) {
    llmd__json_begin_map(w);
    put_plugin(w, l, why);
    key_double(w, "weight", why->weight);
    put_scores(w, l, why, 0);
    put_scores(w, l, why, 1);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static void put_picker(llmd__json *w, const llmd_lane *l, const llmd__why *why)
{
  llmd__json_key(w, "picker");
  llmd__json_begin_map(w);
  put_plugin(w, l, why);
  llmd__json_end(w);
  llmd__json_key(w, "totals");
  llmd__json_begin_map(w);
  for (uint32_t i = 0; i < why->n; i++) {
    key_name(w, l, why->row[i]);
    llmd__json_double(w, why->value[i]);
  }
  llmd__json_end(w);
}

static void put_runner_up(llmd__json *w, const llmd_lane *l, const llmd__why *why)
{
  const llmd__result *r = &l->result[why->profile];
  int64_t second = llmd__why_runner_up(l, why);
  if (second < 0 || !r->n)
    return;
  llmd__json_key(w, "runner_up");
  llmd__json_begin_map(w);
  llmd__json_key(w, "endpoint");
  put_name(w, l, why->row[second]);
  key_double(w, "total", why->value[second]);
  llmd__json_end(w);
  key_double(w, "margin", r->total[0] - why->value[second]);
}

static void put_profile(llmd__json *w, const llmd_lane *l, uint32_t profile)
{
  const llmd__result *r = &l->result[profile];
  const llmd__why *picker = llmd__why_picker(l, profile);
  llmd__json_begin_map(w);
  key_text(w, "name", l->s->config->profile[profile].name);
  key_text(w, "state", llmd__run_name(r->state));
  put_filters(w, l, profile);
  put_scorers(w, l, profile);
  if (picker)
    put_picker(w, l, picker);
  key_rows(w, l, "picked", r->row, r->n);
  if (picker)
    put_runner_up(w, l, picker);
  llmd__json_end(w);
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

static void put_decision(llmd__json *w, const llmd_decision *d, const llmd_request_view *view)
{
  key_text(w, "status", llmd__status_name(d->status));
  key_text(w, "reason", llmd__reason_name(d->reason));
  key_text(w, "reference_reason", llmd_reason_text(d->reason));
  key_uint(w, "code", d->code);
  llmd__json_key(w, "ladder");
  llmd__json_begin_list(w);
  for (uint32_t bit = 0; bit < LLMD__LADDER_BITS; bit++)
    if (d->ladder >> bit & 1)
      llmd__json_text(w, llmd__ladder_name(bit));
  llmd__json_end(w);
  key_id(w, "seed", d->seed);
  key_id(w, "ticket", d->ticket);
  key_double(w, "tokens", d->tokens);
  key_text(w, "tokens_from", view->flags & LLMD_VIEW_REAL_TOKENS ? "ids" : "estimate");
  llmd__json_key(w, "primary");
  if (d->primary < d->n_profiles)
    put_span(w, d, d->profile[d->primary].name);
  else
    llmd__json_null(w);
}

static void put_deciders(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < l->n_why; i++) {
    const llmd__why *why = &l->why[i];
    if (why->kind != LLMD__WHY_DECIDER)
      continue;
    llmd__json_begin_map(w);
    put_plugin(w, l, why);
    llmd__json_key(w, "answer");
    llmd__json_bool(w, why->rc > 0);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

/* Producers and handlers that failed: no profile shows them. */
static void put_failed(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < l->n_why; i++) {
    if (l->why[i].kind != LLMD__WHY_PRODUCER && l->why[i].kind != LLMD__WHY_HANDLER)
      continue;
    llmd__json_begin_map(w);
    put_plugin(w, l, &l->why[i]);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

/* Which text each policy decided by. */
static void put_policies(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < l->s->config->n_instances; i++) {
    const llmd__instance *in = &l->s->config->instance[i];
    char hash[24];
    if (!in->policy)
      continue;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)llmd__policy_hash(in->policy));
    llmd__json_begin_map(w);
    key_text(w, "name", in->name);
    key_text(w, "type", in->plugin->type);
    key_text(w, "file", in->policy->file ? in->policy->file : "");
    key_id(w, "number", in->policy->number);
    key_text(w, "text", hash);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static int column_read(const llmd_lane *l, uint32_t column)
{
  for (uint32_t i = 0; i < l->s->n_sources; i++)
    if (l->s->source[i].column == column && l->kept.source[i].filled)
      return 1;
  return 0;
}

/* Columns that were made or set for this request, and that a plugin read, or that are there to be shown. */
static void put_producers(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t c = 0; c < l->s->n_columns; c++) {
    const llmd__column *col = &l->s->column[c];
    if (!l->kept.column_set[c] || !(column_read(l, c) || llmd__why_note(l, c)))
      continue;
    llmd__json_begin_map(w);
    key_text(w, "name", col->name);
    key_text(w, "producer", col->producer);
    key_text(w, "set_by", l->kept.column_set[c] == 1 ? "host" : "producer");
    llmd__json_key(w, "values");
    llmd__json_begin_map(w);
    for (uint32_t i = 0; i < l->kept.n; i++) {
      key_name(w, l, i);
      llmd__json_double(w, l->kept.column[c][i]);
    }
    llmd__json_end(w);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static void put_headers(llmd__json *w, const llmd_decision *d)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < d->n_headers; i++) {
    llmd__json_begin_map(w);
    llmd__json_key(w, "name");
    put_span(w, d, d->header[i].name);
    llmd__json_key(w, "value");
    put_span(w, d, d->header[i].value);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static llmd_str name_of(const llmd_lane *l, llmd_endpoint_id id)
{
  llmd_str none = {"", 0};
  for (uint32_t i = 0; i < l->kept.n; i++)
    if (l->kept.row[i].id == id)
      return llmd__why_name(l, i);
  return none;
}

static void put_targets(llmd__json *w, const llmd_lane *l, const llmd_decision *d)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < d->n_targets; i++) {
    const llmd_target *t = &d->target[i];
    llmd__json_begin_map(w);
    llmd__json_key(w, "endpoint");
    put_str(w, name_of(l, t->id));
    llmd__json_key(w, "profile");
    put_span(w, d, d->profile[t->profile].name);
    llmd__json_key(w, "address");
    put_span(w, d, t->address);
    key_uint(w, "port", t->port);
    key_uint(w, "rank", t->rank);
    key_double(w, "score", t->score);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static void put_endpoints(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < l->kept.n; i++) {
    const llmd__row *r = &l->kept.row[i];
    llmd__json_begin_map(w);
    llmd__json_key(w, "name");
    put_name(w, l, i);
    key_id(w, "id", r->id);
    llmd__json_key(w, "address");
    put_str(w, llmd__kept_string(l, i, r->address));
    key_uint(w, "port", r->port);
    key_uint(w, "rank", r->rank);
    llmd__json_end(w);
  }
  llmd__json_end(w);
}

static void put_ejected(llmd__json *w, const llmd_lane *l)
{
  llmd__json_begin_list(w);
  for (uint32_t i = 0; i < l->kept.n; i++)
    if (l->kept.row[i].flags & LLMD__ROW_EJECTED)
      put_name(w, l, i);
  llmd__json_end(w);
}

static void put_all(llmd__json *w, const llmd_lane *l)
{
  const llmd_decision *d = &l->last;
  llmd__json_key(w, "decision");
  llmd__json_begin_map(w);
  put_decision(w, d, &l->kept.view);
  llmd__json_end(w);
  llmd__json_key(w, "model");
  put_str(w, l->kept.view.model);
  llmd__json_key(w, "profiles");
  llmd__json_begin_list(w);
  for (uint32_t p = 0; p < l->s->config->n_profiles; p++)
    put_profile(w, l, p);
  llmd__json_end(w);
  llmd__json_key(w, "deciders");
  put_deciders(w, l);
  llmd__json_key(w, "failed");
  put_failed(w, l);
  llmd__json_key(w, "policies");
  put_policies(w, l);
  llmd__json_key(w, "producers");
  put_producers(w, l);
  llmd__json_key(w, "headers");
  put_headers(w, d);
  llmd__json_key(w, "targets");
  put_targets(w, l, d);
  llmd__json_key(w, "ejected");
  put_ejected(w, l);
  llmd__json_key(w, "endpoints");
  put_endpoints(w, l);
}

int llmd_explain_json(const llmd_lane *lane, llmd_write_fn fn, void *ud)
{
  llmd__json w;
  if (!lane || !fn)
    return LLMD_E_INVALID;
  if (!lane->last_valid)
    return LLMD_E_NONE;
  llmd__json_init(&w, fn, ud);
  llmd__json_begin_map(&w);
  put_all(&w, lane);
  llmd__json_end(&w);
  return llmd__json_finish(&w);
}
