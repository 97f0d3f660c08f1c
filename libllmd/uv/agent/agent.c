/* One process's work for a machine: it begins, ticks, reloads and ends here. Its parts: parts.c. */
#include "uv/agent/agent.h"

#include <stdlib.h>
#include <string.h>

#include "uv/log.h"
#include "uv/share/share.h"

#define TICK_MS 10u
#define SECOND_MS 1000u
#define MS UINT64_C(1000000)
#define STEP_MS 10u
#define TRIES 100u      /* somebody else makes state in the region, or died in it */
#define RELOAD_TRIES 5u /* the loop waits meanwhile: workers, told of a new policy at the same time, make its state */

#define SAY(a, level, ...) llmd__log((a)->log, (a)->log_ud, level, "agent", __VA_ARGS__)

/* ---- the writer's work ------------------------------------------------------------------------------------------- */

static void publish(llmd_agent *a, const llmd_now *now)
{
  int rc = llmd_pool_publish(llmd_share_pool(a->share), now);
  if (rc) {
    a->view.held_up++;
    return;
  }
  a->changed = 0;
  a->view.published++;
}

static void on_tick(uv_timer_t *timer)
{
  llmd_agent *a = timer->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  (void)llmd_pool_tick(llmd_share_pool(a->share), &now, &next);
  a->view.ticks++;
  llmd__policies_tick(a, now.mono);
  if (a->changed)
    publish(a, &now);
}

/* What a person wants to know when it changes: can requests be decided? */
static void tell(llmd_agent *a)
{
  llmd__admin_state s;
  llmd__admin_look(&a->view, &s);
  if (a->told == s.endpoints + 1 && a->told_why == s.why)
    return;
  a->told = s.endpoints + 1;
  a->told_why = s.why;
  if (s.why)
    SAY(a, LLMD_LOG_WARN, "%u endpoints: not ready: %s", s.endpoints, s.why);
  else
    SAY(a, LLMD_LOG_INFO, "%u endpoints, %u of them fresh", s.endpoints, s.fresh);
}

static void check_file(llmd_agent *a)
{
  if (a->replaced || llmd__share_leads(a->share, a->region))
    return;
  a->replaced = 1;
  SAY(a, LLMD_LOG_ERROR, "%s was removed or replaced: who attaches now does not find this agent; start it again",
      a->region);
}

static void on_second(uv_timer_t *timer)
{
  llmd_agent *a = timer->data;
  int n = llmd_share_reap(a->share);
  a->view.reaped += n > 0 ? (uint64_t)n : 0;
  (void)llmd__parts_start(a, NULL); /* those that did not start when they were told to */
  check_file(a);
  tell(a);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void release(llmd_agent *a, const llmd_service *service)
{
  if (a->released)
    a->released(a->released_ud, service);
}

void llmd__agent_release(llmd_agent *a)
{
  for (llmd__former **at = &a->former; *at;) {
    llmd__former *f = *at;
    if (llmd__parts_hold(a, f->service)) {
      at = &f->next;
      continue;
    }
    *at = f->next;
    release(a, f->service);
    free(f);
  }
}

static void leave(llmd_agent *a)
{
  llmd_scheduler_free(a->scheduler);
  llmd__stats_close(a->stats);
  llmd_share_close(a->share);
}

void llmd__agent_closed(void *ud)
{
  llmd_agent *a = ud;
  if (--a->open)
    return;
  leave(a);
  llmd__agent_release(a);
  if (a->done) {
    release(a, a->service);
    a->done(a->done_ud);
  }
  free(a->region);
  free(a);
}

static void on_closed(uv_handle_t *handle)
{
  llmd__agent_closed(handle->data);
}

void llmd_agent_stop(llmd_agent *agent, llmd_done_fn done, void *ud)
{
  llmd_agent *a = agent;
  a->closing = 1;
  a->done = done;
  a->done_ud = ud;
  a->open = 2;
  uv_close((uv_handle_t *)&a->tick, on_closed);
  uv_close((uv_handle_t *)&a->second, on_closed);
  if (a->admin) {
    a->open++;
    llmd__admin_stop(a->admin, llmd__agent_closed, a);
    a->admin = NULL;
  }
  llmd__policies_stop(a);
  llmd__parts_stop(a);
}

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

static int open_share(llmd_agent *a, llmd_err *err)
{
  const llmd_service *s = a->service;
  llmd_share_options o = {.size = sizeof o, .path = s->region, .region = &s->caps, .log = a->log, .log_ud = a->log_ud,
                          .stale_ns = s->metrics.stale_ms * MS};
  int rc;
  o.flags = LLMD_SHARE_WRITER | LLMD_SHARE_CREATE | (s->region_group ? LLMD_SHARE_GROUP : 0u);
  rc = llmd_share_open(&o, &a->share, err);
  if (rc)
    return rc;
  rc = llmd_share_reap(a->share);
  a->view.reaped = rc > 0 ? (uint64_t)rc : 0;
  return llmd__stats_open(a->share, &a->stats);
}

static int create_at_last(llmd_agent *a, const llmd_service *s, uint32_t tries, llmd_scheduler **out, llmd_err *err)
{
  int rc = llmd__policies_make(a, s, out, err);
  for (uint32_t i = 0; i < tries && rc == LLMD_E_BUSY; i++) {
    uv_sleep(STEP_MS);
    (void)llmd_share_reap(a->share);
    rc = llmd__policies_make(a, s, out, err);
  }
  return rc;
}

/* Does a policy read engines' events? The effective one says it: plugins that others need are in it, too. */
static uint32_t is_precise(const llmd_scheduler *s)
{
  static const char type[] = "precise-prefix-cache-"; /* producer, or the older scorer that is both in one */
  llmd__page page = {0};
  uint32_t found = !llmd_scheduler_write_config(s, llmd__page_write, &page) && page.len &&
                   memmem(page.text, page.len, type, sizeof type - 1);
  llmd__page_free(&page);
  return found;
}

void llmd__agent_adopt(llmd_agent *a, llmd_scheduler *s)
{
  if (a->scheduler != s)
    llmd_scheduler_free(a->scheduler);
  a->scheduler = s;
  a->precise = is_precise(s);
  a->view.scheduler = s;
  a->view.service = a->service;
}

/* For all deciders of the region. */
static void set_health(llmd_agent *a)
{
  const struct llmd_service_health *h = &a->service->health;
  llmd_health_options o = {.size = sizeof o, .failures = h->failures, .window_ns = h->window_ms * MS,
                           .first_ns = h->eject_ms * MS, .longest_ns = h->eject_max_ms * MS,
                           .most_percent = h->most_percent};
  if (!h->most_percent) /* nobody may be out: then nobody is ejected */
    o.failures = 0;
  if (llmd_pool_set_health(llmd_share_pool(a->share), &o))
    SAY(a, LLMD_LOG_WARN, "health: these limits are refused, and stay as they were; failures is 8 at most");
}

static void start_timers(llmd_agent *a)
{
  (void)uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
  (void)uv_timer_start(&a->second, on_second, SECOND_MS, SECOND_MS);
}

static void say_begun(llmd_agent *a)
{
  size_t len;
  (void)llmd_share_memory(a->share, &len);
  SAY(a, LLMD_LOG_INFO, "region %s, %zu MiB; %u endpoints in it already", a->region, len >> 20,
      llmd_pool_count(llmd_share_pool(a->share)));
}

static int begin(llmd_agent *a, llmd_err *err)
{
  int rc = open_share(a, err);
  if (!rc)
    rc = create_at_last(a, a->service, TRIES, &a->scheduler, err);
  if (rc)
    return rc;
  a->view.share = a->share;
  a->view.stats = a->stats;
  a->view.refused = llmd__policies_refused;
  a->view.refused_ud = a;
  llmd__agent_adopt(a, a->scheduler);
  set_health(a);
  say_begun(a);
  llmd__policies_watch(a);
  if (a->service->admin[0])
    rc = llmd__admin_start(a->loop, a->service->admin, &a->view, &a->admin, err);
  if (!rc)
    rc = llmd__parts_start(a, err);
  if (!rc)
    start_timers(a);
  return rc;
}

int llmd_agent_start(const llmd_agent_options *options, llmd_agent **out, llmd_err *err)
{
  llmd_agent_options o;
  llmd_agent *a;
  llmd_now now;
  int rc;
  if (!options || !out)
    return LLMD_E_INVALID;
  memset(&o, 0, sizeof o);
  memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  if (!o.loop || !o.service)
    return LLMD_E_INVALID;
  a = calloc(1, sizeof *a);
  if (a)
    a->region = strdup(o.service->region);
  if (!a || !a->region) {
    free(a);
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  }
  a->loop = o.loop;
  a->service = o.service;
  a->log = o.log;
  a->log_ud = o.log_ud;
  a->changed = 1; /* also what a predecessor had not published */
  llmd_clock(&now);
  a->view.begun = now.mono;
  (void)uv_timer_init(a->loop, &a->tick);
  (void)uv_timer_init(a->loop, &a->second);
  a->tick.data = a->second.data = a;
  rc = begin(a, err);
  if (rc) {
    llmd_agent_stop(a, NULL, NULL);
    return rc;
  }
  a->released = o.released;
  a->released_ud = o.released_ud;
  *out = a;
  return 0;
}

uint32_t llmd_agent_admin_port(const llmd_agent *agent)
{
  return agent->admin ? llmd__admin_port(agent->admin) : 0;
}

/* ---- another service --------------------------------------------------------------------------------------------- */

/* What it would take another process to change. */
static void tell_fixed(llmd_agent *a, const llmd_service *s)
{
  const llmd_service *was = a->service;
  const struct {
    const char *name;
    int same;
  } fixed[] = {
    {"admin", !strcmp(s->admin, was->admin)},
    {"region", !strcmp(s->region, was->region)},
    {"region_group", s->region_group == was->region_group},
    {"caps", !memcmp(&s->caps, &was->caps, sizeof s->caps)},
    {"metrics.stale (for this process)", s->metrics.stale_ms == was->metrics.stale_ms},
  };
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    if (!fixed[i].same)
      SAY(a, LLMD_LOG_WARN, "reload: %s stays as it was until the agent is started again", fixed[i].name);
}

int llmd_agent_reload(llmd_agent *agent, const llmd_service *service, llmd_err *err)
{
  llmd_agent *a = agent;
  llmd_scheduler *s = NULL;
  llmd__former *former = calloc(1, sizeof *former);
  int rc = former ? create_at_last(a, service, RELOAD_TRIES, &s, err)
                  : llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  if (rc) {
    a->view.reloads_failed++;
    free(former);
    return rc;
  }
  tell_fixed(a, service);
  former->service = a->service;
  former->next = a->former;
  a->former = former;
  a->service = service;
  llmd__agent_adopt(a, s);
  llmd__policies_watch(a);
  set_health(a);
  a->view.reloads++;
  llmd__parts_renew(a);
  llmd__agent_release(a);
  a->changed = 1;
  SAY(a, LLMD_LOG_INFO, "reloaded");
  return 0;
}
