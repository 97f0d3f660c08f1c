/* From llmd_decision and llmd_explain_json to the oracle's shape: endpoints by their index in the case. */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "situation_inner.h"

/* ---- explain ------------------------------------------------------------------------------------------------------------ */

typedef struct buffer {
  char *at;
  size_t len, cap;
} buffer;

static int append(void *ud, const char *ptr, size_t len)
{
  buffer *t = ud;
  if (t->len + len + 1 > t->cap) {
    size_t cap = 2 * (t->len + len + 1);
    char *more = realloc(t->at, cap);
    if (!more)
      return 1;
    t->at = more;
    t->cap = cap;
  }
  memcpy(t->at + t->len, ptr, len);
  t->len += len;
  t->at[t->len] = 0;
  return 0;
}

static cJSON *explain(const llmd_lane *lane)
{
  buffer t = {NULL, 0, 0};
  cJSON *out = NULL;
  if (!llmd_explain_json(lane, append, &t) && t.at)
    out = cJSON_Parse(t.at);
  free(t.at);
  return out;
}

/* ---- one profile -------------------------------------------------------------------------------------------------------- */

static cJSON *indices(const situation *s, const cJSON *names)
{
  cJSON *out = cJSON_CreateArray();
  const cJSON *v;
  cJSON_ArrayForEach(v, names)
    cJSON_AddItemToArray(out, cJSON_CreateNumber(situation_index_by_name(s, v->valuestring)));
  return out;
}

/* {"ns/name": number} by index. What is null in explain (a scorer without opinion) the reference leaves out. */
static cJSON *by_index(const situation *s, const cJSON *by_name)
{
  cJSON *out = cJSON_CreateObject();
  const cJSON *v;
  cJSON_ArrayForEach(v, by_name) {
    char key[16];
    snprintf(key, sizeof key, "%d", situation_index_by_name(s, v->string));
    if (cJSON_IsNumber(v))
      cJSON_AddNumberToObject(out, key, v->valuedouble);
  }
  return out;
}

static cJSON *filters(const situation *s, const cJSON *ran)
{
  cJSON *out = cJSON_CreateArray();
  const cJSON *f;
  cJSON_ArrayForEach(f, ran) {
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToObject(one, "name", cJSON_Duplicate(item(f, "name"), 1));
    cJSON_AddItemToObject(one, "kept", indices(s, item(f, "kept")));
    cJSON_AddItemToArray(out, one);
  }
  return out;
}

static cJSON *scorers(const situation *s, const cJSON *ran)
{
  cJSON *out = cJSON_CreateArray();
  const cJSON *f;
  cJSON_ArrayForEach(f, ran) {
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToObject(one, "name", cJSON_Duplicate(item(f, "name"), 1));
    cJSON_AddItemToObject(one, "weight", cJSON_Duplicate(item(f, "weight"), 1));
    cJSON_AddItemToObject(one, "scores", by_index(s, item(f, "scores")));
    cJSON_AddItemToArray(out, one);
  }
  return out;
}

/* Every endpoint with the highest total, in the order of the case. */
static cJSON *best(const situation *s, const cJSON *totals)
{
  cJSON *out = cJSON_CreateArray();
  const cJSON *v, *most = totals ? totals->child : NULL;
  cJSON_ArrayForEach(v, totals)
    most = v->valuedouble > most->valuedouble ? v : most;
  for (uint32_t i = 0; i < s->n; i++) {
    v = item(totals, s->name[i]);
    if (v && !(v->valuedouble < most->valuedouble))
      cJSON_AddItemToArray(out, cJSON_CreateNumber(i));
  }
  return out;
}

static cJSON *picked(const situation *s, const llmd_decision *d, uint32_t profile)
{
  cJSON *out = cJSON_CreateArray();
  const llmd_profile_pick *p = &d->profile[profile];
  for (uint32_t i = 0; i < p->n; i++)
    cJSON_AddItemToArray(out, cJSON_CreateNumber(situation_index(s, d->target[p->first + i].id)));
  return out;
}

static void add_if_any(cJSON *to, const char *key, cJSON *list)
{
  if (list->child)
    cJSON_AddItemToObject(to, key, list);
  else
    cJSON_Delete(list);
}

static cJSON *profile(const situation *s, const llmd_decision *d, uint32_t index, const cJSON *why)
{
  cJSON *out = cJSON_CreateObject();
  add_if_any(out, "filters", filters(s, item(why, "filters")));
  if (d->profile[index].state != 1) {
    cJSON_AddTrueToObject(out, "nil");
    return out;
  }
  add_if_any(out, "scorers", scorers(s, item(why, "scorers")));
  cJSON_AddItemToObject(out, "totals", by_index(s, item(why, "totals")));
  cJSON_AddItemToObject(out, "best", best(s, item(why, "totals")));
  cJSON_AddItemToObject(out, "picked", picked(s, d, index));
  return out;
}

/* ---- the decision ------------------------------------------------------------------------------------------------------- */

static char *span_text(const llmd_decision *d, llmd_span s)
{
  char *out = malloc((size_t)s.len + 1);
  if (!out)
    return NULL;
  memcpy(out, d->text + s.off, s.len);
  out[s.len] = 0;
  return out;
}

static const cJSON *why_of(const cJSON *explained, const char *name)
{
  const cJSON *p;
  cJSON_ArrayForEach(p, item(explained, "profiles")) {
    const char *n = cJSON_GetStringValue(item(p, "name"));
    if (n && !strcmp(n, name))
      return p;
  }
  return NULL;
}

/* single-profile-handler hands a failed profile on as nil; the handlers of several leave failed stages out of the result,
 * and give none at all when they refuse. */
static int is_shown(const llmd_decision *d, uint32_t profile)
{
  return d->n_profiles > 1 ? d->status == LLMD_ROUTED && d->profile[profile].state == 1 : d->profile[profile].state != 0;
}

static int add_profiles(const situation *s, const llmd_decision *d, const cJSON *explained, cJSON *out)
{
  cJSON *profiles = cJSON_CreateObject();
  int rc = 0;
  for (uint32_t i = 0; i < d->n_profiles; i++) {
    char *name = span_text(d, d->profile[i].name);
    const cJSON *why = name ? why_of(explained, name) : NULL;
    if (is_shown(d, i) && why)
      cJSON_AddItemToObject(profiles, name, profile(s, d, i, why));
    else if (is_shown(d, i))
      rc = LLMD_E_NONE;
    free(name);
  }
  add_if_any(out, "profiles", profiles);
  return rc;
}

/* What the handler's PreRequest adds: not the destination itself, which the reference's director writes, nor
 * x-data-parallel-host-port, which its handler writes earlier, in ProcessResults. */
static void add_headers(const llmd_decision *d, cJSON *out)
{
  cJSON *added = cJSON_CreateObject();
  for (uint32_t i = 0; i < d->n_headers; i++) {
    char *name = span_text(d, d->header[i].name), *value = span_text(d, d->header[i].value);
    if (name && value && strcmp(name, "x-gateway-destination-endpoint") && strcmp(name, "x-data-parallel-host-port"))
      cJSON_AddStringToObject(added, name, value);
    free(name);
    free(value);
  }
  add_if_any(out, "headersAdded", added);
}

/* The reference's scheduler gives a code when filters left nothing; "no profile ran" is a plain error. */
static void add_error(const llmd_decision *d, cJSON *out)
{
  if (d->reason == LLMD_REASON_SATURATED) {
    cJSON_AddStringToObject(out, "error", "no endpoints available for the given request");
    cJSON_AddStringToObject(out, "code", "ResourceExhausted");
    cJSON_AddStringToObject(out, "reason", llmd_reason_text(d->reason));
  } else {
    char text[64];
    snprintf(text, sizeof text, "status %u, reason %u", d->status, d->reason);
    cJSON_AddStringToObject(out, "error", text);
  }
}

/* ---- what a case may ask for beside the oracle's shape ------------------------------------------------------------------ */

/* "show": ["producers"]: the request's columns that plugins have read, {"attribute": {"index": value}}. */
static void add_producers(const situation *s, const cJSON *explained, cJSON *out)
{
  cJSON *columns = cJSON_AddObjectToObject(out, "producers");
  const cJSON *c;
  cJSON_ArrayForEach(c, item(explained, "producers"))
    cJSON_AddItemToObject(columns, text_of(c, "name", ""), by_index(s, item(c, "values")));
}

/* "show": ["config"]: the configuration after defaulting. */
static void add_config(const situation *s, cJSON *out)
{
  buffer t = {NULL, 0, 0};
  if (!llmd_scheduler_write_config(s->scheduler, append, &t) && t.at)
    cJSON_AddStringToObject(out, "config", t.at);
  free(t.at);
}

/* "show": ["decision"]: numbers as llmd/scheduler.h has them, and the profiles that ran, {"name": state}. */
static void add_numbers(const llmd_decision *d, cJSON *out)
{
  cJSON *ran = cJSON_AddObjectToObject(out, "ran");
  cJSON_AddNumberToObject(out, "status", d->status);
  cJSON_AddNumberToObject(out, "reasonNumber", d->reason);
  cJSON_AddNumberToObject(out, "http", d->code);
  for (uint32_t i = 0; i < d->n_profiles; i++) {
    char *name = span_text(d, d->profile[i].name);
    if (name && d->profile[i].state)
      cJSON_AddNumberToObject(ran, name, d->profile[i].state);
    free(name);
  }
}

static void add_shown(const situation *s, const llmd_decision *d, const cJSON *explained, cJSON *out)
{
  const cJSON *v;
  cJSON_ArrayForEach(v, item(s->json, "show")) {
    if (!strcmp(v->valuestring, "producers"))
      add_producers(s, explained, out);
    else if (!strcmp(v->valuestring, "config"))
      add_config(s, out);
    else if (!strcmp(v->valuestring, "decision"))
      add_numbers(d, out);
  }
}

/* ---- a result ----------------------------------------------------------------------------------------------------------- */

cJSON *answer_decided(const situation *s, const llmd_decision *d)
{
  cJSON *out = cJSON_CreateObject(), *explained = explain(s->lane);
  int rc = LLMD_E_NONE;
  if (d->status == LLMD_ROUTED) {
    char *primary = span_text(d, d->profile[d->primary].name);
    cJSON_AddStringToObject(out, "primary", primary ? primary : "");
    free(primary);
    add_headers(d, out);
  } else {
    add_error(d, out);
  }
  if (explained)
    rc = add_profiles(s, d, explained, out);
  add_shown(s, d, explained, out);
  cJSON_Delete(explained);
  if (!rc)
    return out;
  cJSON_Delete(out);
  return NULL;
}

cJSON *answer_refused(const llmd_err *err)
{
  char text[480];
  cJSON *out = cJSON_CreateObject();
  snprintf(text, sizeof text, "%u:%u: %s: %s", err->line, err->column, err->path, err->text);
  cJSON_AddStringToObject(out, "configError", text);
  return out;
}
