#include "recorded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "policy_tool.h"

#define MOST_ENDPOINTS 16384u

int recorded_open(struct recorded *r, const struct session_options *options)
{
  memset(r, 0, sizeof *r);
  r->options = options;
  return session_open(&r->session, options, NULL);
}

void recorded_close(struct recorded *r)
{
  session_close(&r->session);
  cJSON_Delete(r->why);
  free(r->file.text);
}

int recorded_file(struct recorded *r, const char *path)
{
  free(r->file.text);
  r->file = (struct file){0};
  r->path = path;
  r->at = 0;
  r->number = 0;
  return file_read(path, RECORDS_MAX, &r->file);
}

/* Few have more endpoints than the library's default has room for. */
static int grow(struct recorded *r)
{
  struct session_options larger = *r->options;
  r->grown = 1;
  larger.max_endpoints = MOST_ENDPOINTS;
  session_close(&r->session);
  return session_open(&r->session, &larger, NULL);
}

static int explain(struct recorded *r)
{
  struct json_text text = {0};
  int rc = llmd_explain_json(r->session.lane, json_collect, &text);
  cJSON_Delete(r->why);
  r->why = rc ? NULL : cJSON_ParseWithLength(text.text, text.len);
  free(text.text);
  return r->why ? 0 : shell_refuse(r->options->command, "%s", llmd_strerror(rc ? rc : LLMD_E_NOMEM));
}

/* By the very policy that made the record, and as it was asked then: failures and llmd.store as they were, too, of which
 * another policy could make nothing. */
static void replay_same(struct recorded *r)
{
  llmd_decision now = {.size = sizeof now};
  if (llmd_replay(r->session.lane, r->file.text + r->at, r->file.len - r->at, &now, NULL) <= 0)
    return;
  r->now = now;
  r->missing = 0;
}

int recorded_next(struct recorded *r)
{
  int64_t used = LLMD_E_LIMIT;
  int code = 0;
  if (r->at >= r->file.len)
    return 0;
  r->number++;
  r->was.size = r->now.size = sizeof r->now;
  while (code == 0) {
    used = llmd_replay_other(r->session.lane, r->file.text + r->at, r->file.len - r->at, &r->now, &r->was,
                             &r->missing);
    if (used != LLMD_E_LIMIT || r->grown)
      break;
    code = grow(r);
  }
  if (code)
    return -code;
  if (used <= 0)
    return -shell_refuse(r->path, "record %" PRIu32 " (byte %zu): %s", r->number, r->at,
                         used ? llmd_strerror((int)used) : "empty");
  replay_same(r);
  r->at += (size_t)used;
  code = explain(r);
  return code ? -code : 1;
}

double recorded_done(const struct recorded *r)
{
  return r->file.len ? (double)r->at / (double)r->file.len : 1;
}

const char *recorded_name(const struct recorded *r, llmd_endpoint_id id)
{
  const cJSON *e;
  char text[24];
  (void)snprintf(text, sizeof text, "%" PRIu64, id);
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(r->why, "endpoints")) {
    const cJSON *its = cJSON_GetObjectItem(e, "id"), *name = cJSON_GetObjectItem(e, "name");
    if (cJSON_IsString(its) && cJSON_IsString(name) && strcmp(its->valuestring, text) == 0)
      return name->valuestring;
  }
  return "?";
}

int recorded_failure(const struct recorded *r, char *text, size_t size)
{
  return policy_failure(r->why, text, size);
}

/* ---- what came of it ---- */

/* The first target of each profile, when there are as many as then: what else is picked are fallbacks. */
static int same_targets(const llmd_decision *was, const llmd_decision *now)
{
  if (was->target[0].id != now->target[0].id)
    return 0;
  if (was->n_profiles != now->n_profiles)
    return 1;
  for (uint32_t i = 0; i < now->n_profiles; i++) {
    const llmd_profile_pick *a = &was->profile[i], *b = &now->profile[i];
    if (a->n && b->n && was->target[a->first].id != now->target[b->first].id)
      return 0;
  }
  return 1;
}

static int is_routed(const llmd_decision *d)
{
  return d->status == LLMD_ROUTED && d->n_targets;
}

int recorded_outcome(const struct recorded *r)
{
  char text[8];
  int was = is_routed(&r->was), now = is_routed(&r->now);
  if (recorded_failure(r, text, sizeof text))
    return RECORDED_FAILED;
  if (was && now)
    return same_targets(&r->was, &r->now) ? RECORDED_SAME : RECORDED_CHANGED;
  return was ? RECORDED_REFUSED : now ? RECORDED_ROUTED : RECORDED_SAME;
}
