/* A situation as a whole: pool, scheduler, what happened before, the request. */
#include "situation_inner.h"

#include <stdlib.h>

static int open_pool(situation *s, llmd_err *err)
{
  llmd_region_options region;
  llmd_pool_options options;
  double stale = number_of(s->json, "staleMs");
  memset(&region, 0, sizeof region);
  memset(&options, 0, sizeof options);
  region.size = sizeof region;
  region.max_endpoints = SITUATION_ENDPOINTS + 1;
  region.max_lanes = 2;
  region.max_tickets = 64;
  region.ring_bytes = 4096;
  region.string_bytes = 65536;
  region.state_bytes = 12u << 20;
  region.prefix_bytes = 1u << 20;
  region.index_bytes = 1u << 20;
  region.seed = 1;
  options.size = sizeof options;
  options.flags = LLMD_POOL_WRITER;
  options.region = &region;
  options.stale_ns = stale > 0 ? (uint64_t)(stale * 1e6) : 0;
  return llmd_pool_open(&options, &s->pool, err);
}

/* ---- earlier requests --------------------------------------------------------------------------------------------------- */

/* The case says where an earlier request went: its destination is committed as such, a prefill target put in its place,
 * and other profiles' picks are taken out. */
static void keep_targets(const situation *s, llmd_decision *d, const cJSON *h)
{
  double prefill = number_of(h, "prefill");
  for (uint32_t p = 0; p < d->n_profiles; p++) {
    const llmd_profile_pick *pick = &d->profile[p];
    int named = pick->name.len == 7 && !memcmp(d->text + pick->name.off, "prefill", 7);
    if (p == d->primary)
      continue;
    if (named && pick->n && prefill >= 0 && prefill < s->n)
      d->target[pick->first].id = s->id[(uint32_t)prefill];
    else
      d->profile[p].n = 0;
  }
}

/* An earlier request is cold: nothing is known of any endpoint for it, unless the case says otherwise. */
static int run_earlier(situation *s, llmd_lane *lane, const cJSON *h, uint64_t seed, const char **what)
{
  static llmd_decision d;
  double ep = number_of(h, "ep");
  *what = "history";
  if (!(ep >= 0 && ep < s->n))
    return LLMD_E_RANGE;
  TRY(situation_ask(s, h, item(h, "endpoints") ? 0 : ASK_COLD, what), *what);
  d.size = sizeof d;
  TRY(llmd_decide(lane, s->request, &s->now, seed, &d), "history: decide");
  if (d.status != LLMD_ROUTED)
    return LLMD_E_STATE;
  keep_targets(s, &d, h);
  TRY(llmd_commit(lane, s->request, &d, s->id[(uint32_t)ep], &s->now), "history: commit");
  return d.ticket ? llmd_report(lane, d.ticket, LLMD_REPORT_END, NULL, &s->now) : 0;
}

/* They run under a scheduler of the same configuration that fails open, because without attributes its filters may leave
 * nothing. State belongs to the pool, so the situation's own scheduler finds what they left. */
static int run_history(situation *s, const llmd_scheduler_options *strict, const char *config, llmd_err *err,
                       const char **what)
{
  const cJSON *history = item(s->json, "history"), *h;
  llmd_scheduler_options open = *strict;
  llmd_scheduler *scheduler = NULL;
  llmd_lane *lane = NULL;
  uint64_t seed = 1;
  int rc;
  if (!cJSON_GetArraySize(history))
    return 0;
  *what = "history";
  open.fail = LLMD_FAIL_OPEN;
  rc = llmd_scheduler_create(&open, s->pool, config, strlen(config), &scheduler, err);
  if (!rc)
    rc = llmd_lane_create(scheduler, LLMD_LANE_WRITER, &lane);
  cJSON_ArrayForEach(h, history)
    if (rc >= 0)
      rc = run_earlier(s, lane, h, seed++, what);
  llmd_lane_free(lane);
  llmd_scheduler_free(scheduler);
  return rc < 0 ? rc : 0;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

int situation_open(situation *s, const cJSON *json, llmd_err *err, const char **what)
{
  const char *config = text_of(json, "config", "");
  llmd_scheduler_options options;
  memset(s, 0, sizeof *s);
  memset(&options, 0, sizeof options);
  s->json = json;
  s->now.mono = 2 * SITUATION_HOUR_NS;
  s->now.wall = UINT64_C(1800000000) * 1000000000u;
  TRY(open_pool(s, err), "pool");
  TRY(situation_fill_pool(s, what), *what);
  options.size = sizeof options;
  options.compat = LLMD_COMPAT_STRICT;
  options.explain = 1;
  options.refuse_alpha = (uint32_t)is_true(json, "refuseAlpha");
  if (llmd_scheduler_create(&options, s->pool, config, strlen(config), &s->scheduler, err))
    return 1;
  TRY(situation_open_request(s), "request");
  TRY(situation_tell_index(s), "holds");
  TRY(run_history(s, &options, config, err, what), *what);
  TRY(llmd_lane_create(s->scheduler, LLMD_LANE_WRITER, &s->lane), "lane");
  return situation_ask(s, item(json, "request"), 0, what);
}

void situation_close(situation *s)
{
  for (uint32_t i = 0; i < s->n; i++)
    free(s->name[i]);
  llmd_lane_free(s->lane);
  llmd_scheduler_free(s->scheduler);
  llmd_pool_close(s->pool);
  free(s->memory);
}

int situation_index(const situation *s, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < s->n; i++)
    if (s->id[i] == id)
      return (int)i;
  return -1;
}

int situation_index_by_name(const situation *s, const char *name)
{
  for (uint32_t i = 0; i < s->n; i++)
    if (!strcmp(s->name[i], name))
      return (int)i;
  return -1;
}
