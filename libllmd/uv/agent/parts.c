/* What feeds the pool: which parts a service wants, and which of them another service changes. */
#include <string.h>

#include "uv/agent/agent.h"
#include "uv/log.h"

static int same_text(const char *a, const char *b)
{
  return !strcmp(a, b);
}

static int same_str(llmd_str a, llmd_str b)
{
  return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

/* ---- discovery --------------------------------------------------------------------------------------------------- */

static int same_name(const llmd_service_dns *a, const llmd_service_dns *b)
{
  int same = same_text(a->name, b->name) && a->srv == b->srv && a->port == b->port && a->refresh_ms == b->refresh_ms &&
             a->n_labels == b->n_labels;
  for (uint32_t i = 0; same && i < a->n_labels; i++)
    same = same_str(a->labels[i].key, b->labels[i].key) && same_str(a->labels[i].value, b->labels[i].value);
  return same;
}

static int discovery_same(const llmd_service *a, const llmd_service *b)
{
  int same = same_str(a->endpoints, b->endpoints) && same_text(a->endpoints_file, b->endpoints_file) &&
             same_text(a->dns_servers, b->dns_servers) && a->n_dns == b->n_dns;
  for (uint32_t i = 0; same && i < a->n_dns; i++)
    same = same_name(&a->dns[i], &b->dns[i]);
  return same;
}

static int discovery_wanted(const llmd_agent *a)
{
  (void)a;
  return 1;
}

static int discovery_start(const llmd_feeder *f, void **out, llmd_err *err)
{
  llmd_discovery *d = NULL;
  int rc = llmd_discovery_start(f, &d, err);
  *out = d;
  return rc;
}

static void discovery_stop(void *it, llmd_done_fn done, void *ud)
{
  llmd_discovery_stop(it, done, ud);
}

/* ---- scraper ----------------------------------------------------------------------------------------------------- */

static int scraper_same(const llmd_service *x, const llmd_service *y)
{
  const struct llmd_service_metrics *a = &x->metrics, *b = &y->metrics;
  return a->enabled == b->enabled && a->period_ms == b->period_ms && a->timeout_ms == b->timeout_ms &&
         a->connect_ms == b->connect_ms && a->max_bytes == b->max_bytes && a->stale_ms == b->stale_ms &&
         a->unknown_ms == b->unknown_ms && a->models_ms == b->models_ms && a->parallel == b->parallel &&
         same_text(a->path, b->path) && same_text(a->models_path, b->models_path);
}

static int scraper_wanted(const llmd_agent *a)
{
  return a->service->metrics.enabled != 0;
}

static int scraper_start(const llmd_feeder *f, void **out, llmd_err *err)
{
  llmd_scraper *s = NULL;
  int rc = llmd_scraper_start(f, &s, err);
  *out = s;
  return rc;
}

static void scraper_stop(void *it, llmd_done_fn done, void *ud)
{
  llmd_scraper_stop(it, done, ud);
}

/* ---- subscriber -------------------------------------------------------------------------------------------------- */

static int subscriber_same(const llmd_service *x, const llmd_service *y)
{
  const struct llmd_service_events *a = &x->events, *b = &y->events;
  return a->enabled == b->enabled && a->port == b->port && a->replay_port == b->replay_port &&
         a->retry_ms == b->retry_ms && a->counted == b->counted && a->discover_ms == b->discover_ms &&
         same_text(a->bind, b->bind) && same_text(a->topic, b->topic);
}

static int subscriber_wanted(const llmd_agent *a)
{
  return a->service->events.enabled == 1 || (a->service->events.enabled == 2 && a->precise);
}

static int subscriber_start(const llmd_feeder *f, void **out, llmd_err *err)
{
  llmd_subscriber *s = NULL;
  int rc = llmd_subscriber_start(f, &s, err);
  *out = s;
  return rc;
}

static void subscriber_stop(void *it, llmd_done_fn done, void *ud)
{
  llmd_subscriber_stop(it, done, ud);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static int tokens_same(const llmd_service *a, const llmd_service *b)
{
  return same_text(a->tokens.socket, b->tokens.socket) && same_text(a->tokens.url, b->tokens.url) &&
         a->tokens.timeout_ms == b->tokens.timeout_ms;
}

static int tokens_wanted(const llmd_agent *a)
{
  return a->service->tokens.socket[0] != 0;
}

static int tokens_start(const llmd_feeder *f, void **out, llmd_err *err)
{
  llmd_tokens *t = NULL;
  int rc = llmd_tokens_start(f, &t, err);
  *out = t;
  return rc;
}

static void tokens_stop(void *it, llmd_done_fn done, void *ud)
{
  llmd_tokens_stop(it, done, ud);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  int (*wanted)(const llmd_agent *a);
  int (*same)(const llmd_service *a, const llmd_service *b);
  int (*start)(const llmd_feeder *f, void **out, llmd_err *err);
  void (*stop)(void *it, llmd_done_fn done, void *ud);
} kinds[LLMD__PARTS] = {
  [LLMD__PART_DISCOVERY] = {"discovery", discovery_wanted, discovery_same, discovery_start, discovery_stop},
  [LLMD__PART_SCRAPER] = {"scraper", scraper_wanted, scraper_same, scraper_start, scraper_stop},
  [LLMD__PART_SUBSCRIBER] = {"subscriber", subscriber_wanted, subscriber_same, subscriber_start, subscriber_stop},
  [LLMD__PART_TOKENS] = {"tokens", tokens_wanted, tokens_same, tokens_start, tokens_stop},
};

/* What the pages may look at. */
static void show(llmd_agent *a)
{
  const llmd__part *scraper = &a->part[LLMD__PART_SCRAPER], *subscriber = &a->part[LLMD__PART_SUBSCRIBER];
  const llmd__part *tokens = &a->part[LLMD__PART_TOKENS];
  a->view.scraper = scraper->leaving ? NULL : scraper->it;
  a->view.subscriber = subscriber->leaving ? NULL : subscriber->it;
  a->view.tokens = tokens->leaving ? NULL : tokens->it;
}

static void on_changed(void *ud)
{
  llmd_agent *a = ud;
  a->changed = 1;
}

static int start_part(llmd__part *p, llmd_err *err)
{
  llmd_agent *a = p->agent;
  llmd_feeder f = {.size = sizeof f, .loop = a->loop, .pool = llmd_share_pool(a->share), .service = a->service,
                   .log = a->log, .log_ud = a->log_ud, .changed = on_changed, .changed_ud = a};
  void *it = NULL;
  int rc = kinds[p->kind].start(&f, &it, err);
  if (rc)
    return rc;
  p->it = it;
  p->service = a->service;
  show(a);
  return 0;
}

int llmd__parts_start(llmd_agent *a, llmd_err *err)
{
  int first = 0;
  for (uint32_t i = 0; i < LLMD__PARTS; i++) {
    llmd__part *p = &a->part[i];
    int rc;
    p->agent = a;
    p->kind = i;
    if (p->it || !kinds[i].wanted(a))
      continue;
    rc = start_part(p, first ? NULL : err);
    first = first ? first : rc;
  }
  return first;
}

static void on_left(void *ud)
{
  llmd__part *p = ud;
  llmd_agent *a = p->agent;
  llmd_err why = LLMD_ERR_INIT;
  p->it = NULL;
  p->service = NULL;
  p->leaving = 0;
  if (a->closing) {
    llmd__agent_closed(a);
    return;
  }
  if (kinds[p->kind].wanted(a) && start_part(p, &why))
    llmd__log(a->log, a->log_ud, LLMD_LOG_ERROR, "agent", "%s does not start again: %s", kinds[p->kind].name, why.text);
  llmd__agent_release(a);
}

static void stop_part(llmd__part *p)
{
  p->leaving = 1;
  show(p->agent);
  kinds[p->kind].stop(p->it, on_left, p);
}

void llmd__parts_renew(llmd_agent *a)
{
  llmd_err why = LLMD_ERR_INIT;
  for (uint32_t i = 0; i < LLMD__PARTS; i++) {
    llmd__part *p = &a->part[i];
    if (!p->it || p->leaving)
      continue;
    if (!kinds[i].wanted(a) || !kinds[i].same(p->service, a->service))
      stop_part(p);
    else if (i == LLMD__PART_DISCOVERY)
      llmd_discovery_refresh(p->it);
  }
  if (llmd__parts_start(a, &why))
    llmd__log(a->log, a->log_ud, LLMD_LOG_ERROR, "agent", "not everything starts: %s", why.text);
}

void llmd__parts_stop(llmd_agent *a)
{
  for (uint32_t i = 0; i < LLMD__PARTS; i++) {
    llmd__part *p = &a->part[i];
    if (!p->it)
      continue;
    a->open++;
    if (!p->leaving)
      stop_part(p);
  }
}

int llmd__parts_hold(const llmd_agent *a, const llmd_service *service)
{
  for (uint32_t i = 0; i < LLMD__PARTS; i++)
    if (a->part[i].service == service)
      return 1;
  return 0;
}
