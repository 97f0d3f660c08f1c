/* Discovery: which endpoints there are.
 *
 *   text in the service's file ─┐
 *   pool file (file.h) ─────────┼─► entries; host names among them become addresses (name.h) ─► wanted ─► table.h ─► pool
 *   DNS names (name.h) ─────────┘
 *
 * A pool file is judged by the pool itself: it is loaded into a pool that is thrown away, which says line and column of
 * what is wrong, or lists what is there. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <llmd/uv.h>

#include "uv/discover/file.h"
#include "uv/discover/name.h"
#include "uv/discover/table.h"
#include "uv/log.h"

#define TICK_MS 100u
#define FILE_MOST ((size_t)1 << 20)
#define HOST_REFRESH_MS 30000u
#define NAMES_MOST 4096u
#define OF_FILE UINT32_MAX /* llmd__name.number: a host name out of a pool file; else a place in service->dns */

struct llmd_discovery {
  llmd_feeder feed;
  uv_timer_t timer;
  llmd__file *file;
  llmd__dns *dns;
  llmd__entries fixed; /* text of the service's file */
  llmd__entries listed; /* of the pool file */
  llmd__name **name;
  uint32_t n_names;
  uint32_t file_spoke; /* it was read, and was good, once at least */
  uint32_t dirty;      /* what is wanted has changed */
  llmd__table table;
  uint32_t open; /* parts that are being closed */
  llmd_done_fn done;
  void *done_ud;
};

#define NOTE(d, level, ...) llmd__log((d)->feed.log, (d)->feed.log_ud, level, "discovery", __VA_ARGS__)

static int is_numeric(const char *address)
{
  unsigned char raw[16];
  return inet_pton(AF_INET, address, raw) == 1 || inet_pton(AF_INET6, address, raw) == 1;
}

/* The address as text with an end; 0 when it is too long for a host name. */
static int host_of(const llmd_endpoint *e, char out[LLMD__NAME_MOST])
{
  if (e->address.len >= LLMD__NAME_MOST)
    return 0;
  memcpy(out, e->address.ptr, e->address.len);
  out[e->address.len] = 0;
  return 1;
}

/* ---- reading a pool file's text ---------------------------------------------------------------------------------- */

typedef struct gathering {
  llmd__entries *list;
  int rc;
} gathering;

static int gather(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  gathering *g = ud;
  (void)id;
  g->rc = llmd__entries_add(g->list, e, LLMD__FROM_FILE);
  return g->rc;
}

static int load_into(llmd_pool *judge, const char *text, size_t len, llmd__entries *out, llmd_err *err)
{
  gathering g = {out, 0};
  llmd_now now;
  int rc = llmd_pool_load(judge, text, len, err);
  if (rc < 0)
    return rc;
  llmd_clock(&now);
  rc = llmd_pool_publish(judge, &now);
  if (!rc)
    rc = llmd_pool_each(judge, gather, &g);
  rc = g.rc ? g.rc : rc;
  return rc < 0 ? llmd__fail(err, rc, 0, 0, NULL, "%s", llmd_strerror(rc)) : 0;
}

/* On failure *list is untouched. */
static int read_text(const llmd_discovery *d, const char *text, size_t len, llmd__entries *list, llmd_err *err)
{
  const llmd_region_options *caps = &d->feed.service->caps;
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = caps->max_endpoints,
                                      .max_labels = caps->max_labels, .string_bytes = caps->string_bytes,
                                      .max_attributes = 16, .max_models = 1, .max_lanes = 1, .max_tickets = 64,
                                      .ring_bytes = 4096, .state_bytes = 1 << 20, .prefix_bytes = 1 << 16};
  const llmd_pool_options options = {.size = sizeof options, .flags = LLMD_POOL_WRITER, .region = &region};
  llmd__entries found = {0};
  llmd_pool *judge;
  int rc = llmd_pool_open(&options, &judge, err);
  if (rc)
    return rc;
  rc = load_into(judge, text, len, &found, err);
  llmd_pool_close(judge);
  if (rc) {
    llmd__entries_clear(&found);
    return rc;
  }
  llmd__entries_clear(list);
  *list = found;
  return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void on_places(void *ud, llmd__name *n)
{
  llmd_discovery *d = ud;
  NOTE(d, LLMD_LOG_INFO, "%s: %u places", n->host, (unsigned)n->places.n);
  d->dirty = 1;
}

static void on_failed(void *ud, llmd__name *n, const char *why)
{
  llmd_discovery *d = ud;
  NOTE(d, LLMD_LOG_WARN, "%s: %s; %s", n->host, why, n->answered ? "what it had stays" : "it has no places yet");
}

static llmd__name *find_host(const llmd_discovery *d, const char *host)
{
  for (uint32_t i = 0; i < d->n_names; i++)
    if (d->name[i]->number == OF_FILE && strcmp(d->name[i]->host, host) == 0)
      return d->name[i];
  return NULL;
}

static int add_name(llmd_discovery *d, const char *host, uint32_t number, const llmd_service_dns *of)
{
  const size_t len = strlen(host);
  const int fits = len < LLMD__NAME_MOST && d->n_names < NAMES_MOST;
  llmd__name **all = fits ? realloc(d->name, (d->n_names + 1) * sizeof *all) : NULL;
  llmd__name *n = all ? calloc(1, sizeof *n) : NULL;
  if (all)
    d->name = all;
  if (!n)
    return fits ? LLMD_E_NOMEM : LLMD_E_LIMIT;
  memcpy(n->host, host, len + 1);
  n->number = number;
  n->srv = of ? of->srv : 0;
  n->port = of ? of->port : 0;
  n->refresh_ms = of ? of->refresh_ms : HOST_REFRESH_MS;
  n->changed = on_places;
  n->failed = on_failed;
  n->ud = d;
  d->name[d->n_names++] = n;
  return 0;
}

/* Hosts that the lists name, and are not asked for yet. */
static int want_hosts(llmd_discovery *d, const llmd__entries *list)
{
  char host[LLMD__NAME_MOST];
  int rc = 0;
  for (uint32_t i = 0; i < list->n && !rc; i++)
    if (host_of(&list->at[i].e, host) && !is_numeric(host) && !find_host(d, host))
      rc = add_name(d, host, OF_FILE, NULL);
  if (rc)
    NOTE(d, LLMD_LOG_ERROR, "too many host names, or no memory: some endpoints are not found");
  return rc;
}

static int names_host(const llmd__entries *list, const char *host)
{
  for (uint32_t i = 0; i < list->n; i++)
    if (list->at[i].e.address.len == strlen(host) && memcmp(list->at[i].e.address.ptr, host, strlen(host)) == 0)
      return 1;
  return 0;
}

/* Hosts that no list names any more, once their questions have ended. */
static void drop_hosts(llmd_discovery *d)
{
  for (uint32_t i = 0; i < d->n_names;) {
    llmd__name *n = d->name[i];
    if (n->number != OF_FILE || n->round || names_host(&d->fixed, n->host) || names_host(&d->listed, n->host)) {
      i++;
      continue;
    }
    llmd__name_clear(n);
    free(n);
    d->name[i] = d->name[--d->n_names];
  }
}

/* ---- what is wanted ---------------------------------------------------------------------------------------------- */

/* The first to name a place or a name has it. */
static int want(llmd_discovery *d, llmd__entries *wanted, const llmd_endpoint *e, uint32_t origin)
{
  llmd__entry *other, added;
  int rc = llmd__entries_add(wanted, e, origin);
  if (rc)
    return rc;
  added = wanted->at[--wanted->n];
  other = llmd__entries_clash(wanted, &added);
  wanted->n++;
  if (!other)
    return 0;
  NOTE(d, LLMD_LOG_DEBUG, "%.*s port %u is named twice", (int)e->address.len, e->address.ptr, (unsigned)e->port);
  llmd__entries_remove(wanted, wanted->n - 1);
  return 0;
}

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && (!a->len || memcmp(a->ptr, b->ptr, a->len) == 0);
}

static int is_held(const llmd_discovery *d, const llmd_endpoint *e)
{
  const llmd__entries *held = &d->table.held;
  for (uint32_t i = 0; i < held->n; i++)
    if (held->at[i].e.port == e->port && held->at[i].e.rank == e->rank && same(&held->at[i].e.address, &e->address) &&
        same(&held->at[i].e.name, &e->name) && same(&held->at[i].e.space, &e->space))
      return 1;
  return 0;
}

/* An endpoint by host name: at the address where it is held already, if the name still says so; else at the first. */
static int want_host(llmd_discovery *d, llmd__entries *wanted, const llmd_endpoint *e, const char *host)
{
  const llmd__name *n = find_host(d, host);
  llmd_endpoint there = *e;
  for (uint32_t i = 0; n && i < n->places.n; i++) {
    there.address = (llmd_str){n->places.at[i].address, strlen(n->places.at[i].address)};
    if (is_held(d, &there))
      return want(d, wanted, &there, LLMD__FROM_FILE);
  }
  if (!n || !n->places.n)
    return 0;
  there.address = (llmd_str){n->places.at[0].address, strlen(n->places.at[0].address)};
  return want(d, wanted, &there, LLMD__FROM_FILE);
}

static int want_list(llmd_discovery *d, llmd__entries *wanted, const llmd__entries *list)
{
  char host[LLMD__NAME_MOST];
  int rc = 0;
  for (uint32_t i = 0; i < list->n && !rc; i++) {
    const llmd_endpoint *e = &list->at[i].e;
    if (!host_of(e, host))
      continue;
    rc = is_numeric(host) ? want(d, wanted, e, LLMD__FROM_FILE) : want_host(d, wanted, e, host);
  }
  return rc;
}

static int want_names(llmd_discovery *d, llmd__entries *wanted)
{
  int rc = 0;
  for (uint32_t i = 0; i < d->n_names; i++) {
    const llmd__name *n = d->name[i];
    const llmd_service_dns *of = n->number == OF_FILE ? NULL : &d->feed.service->dns[n->number];
    for (uint32_t k = 0; of && k < n->places.n && !rc; k++) {
      const llmd_endpoint e = {.size = sizeof e,
                               .address = {n->places.at[k].address, strlen(n->places.at[k].address)},
                               .port = n->places.at[k].port,
                               .labels = of->labels,
                               .n_labels = of->n_labels};
      rc = want(d, wanted, &e, LLMD__FROM_DNS);
    }
  }
  return rc;
}

static int settled(const llmd_discovery *d)
{
  int all = d->file ? d->file_spoke != 0 : d->fixed.n || d->n_names; /* without sources the pool is somebody else's */
  for (uint32_t i = 0; i < d->n_names; i++)
    all = all && d->name[i]->answered;
  return all;
}

static void apply(llmd_discovery *d, uint64_t now)
{
  llmd__entries wanted = {0};
  int rc = want_list(d, &wanted, &d->fixed);
  if (!rc)
    rc = want_list(d, &wanted, &d->listed);
  if (!rc)
    rc = want_names(d, &wanted);
  if (!rc && d->table.retry)
    rc = llmd__table_adopt(&d->table); /* what was in the way may be something that a former agent had not published */
  d->dirty = rc != 0;
  if (rc)
    NOTE(d, LLMD_LOG_ERROR, "out of memory: the endpoints stay as they are");
  else if (llmd__table_apply(&d->table, &wanted, settled(d), now) && d->feed.changed)
    d->feed.changed(d->feed.changed_ud);
  llmd__entries_clear(&wanted);
}

/* ---- the pool file ----------------------------------------------------------------------------------------------- */

/* A file that is being written in place is empty for a moment: nobody is told to go by nothing. */
static int is_blank(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if (!strchr(" \t\r\n", text[i]) || !text[i])
      return 0;
  return 1;
}

static void on_text(void *ud, const char *text, size_t len)
{
  llmd_discovery *d = ud;
  llmd_err err = LLMD_ERR_INIT;
  const char *path = d->feed.service->endpoints_file;
  if (is_blank(text, len)) {
    NOTE(d, LLMD_LOG_WARN, "%s: empty: the endpoints stay (write `endpoints: []` for none)", path);
    return;
  }
  if (read_text(d, text, len, &d->listed, &err)) {
    NOTE(d, LLMD_LOG_ERROR, "%s:%u:%u: %s%s%s; the endpoints stay", path, (unsigned)err.line, (unsigned)err.column,
         err.path, err.path[0] ? ": " : "", err.text);
    return;
  }
  NOTE(d, LLMD_LOG_INFO, "%s: %u endpoints", path, (unsigned)d->listed.n);
  (void)want_hosts(d, &d->listed);
  d->file_spoke = 1;
  d->dirty = 1;
}

static void on_trouble(void *ud, const char *what)
{
  llmd_discovery *d = ud;
  NOTE(d, LLMD_LOG_WARN, "%s: %s; the endpoints stay", d->feed.service->endpoints_file, what);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
  llmd_discovery *d = timer->data;
  llmd_now now;
  llmd_clock(&now);
  if (d->file)
    llmd__file_tick(d->file, now.mono);
  for (uint32_t i = 0; i < d->n_names; i++)
    llmd__name_tick(d->name[i], d->dns, now.mono);
  llmd__dns_tick(d->dns);
  if (llmd__table_tick(&d->table, now.mono) && d->feed.changed)
    d->feed.changed(d->feed.changed_ud);
  if (d->dirty || (d->table.retry && now.mono >= d->table.retry)) {
    drop_hosts(d);
    apply(d, now.mono);
  }
}

void llmd_discovery_refresh(llmd_discovery *d)
{
  if (d->file)
    llmd__file_read(d->file);
  for (uint32_t i = 0; i < d->n_names; i++)
    d->name[i]->due = 0;
  on_tick(&d->timer);
}

static void free_all(llmd_discovery *d)
{
  for (uint32_t i = 0; i < d->n_names; i++) {
    llmd__name_clear(d->name[i]);
    free(d->name[i]);
  }
  free(d->name);
  llmd__entries_clear(&d->fixed);
  llmd__entries_clear(&d->listed);
  llmd__table_clear(&d->table);
  free(d);
}

static void part_closed(void *ud)
{
  llmd_discovery *d = ud;
  if (--d->open)
    return;
  if (d->done)
    d->done(d->done_ud);
  free_all(d);
}

static void on_timer_closed(uv_handle_t *h)
{
  part_closed(h->data);
}

void llmd_discovery_stop(llmd_discovery *d, llmd_done_fn done, void *ud)
{
  if (!d) {
    if (done)
      done(ud);
    return;
  }
  d->done = done;
  d->done_ud = ud;
  d->open = 2 + (d->file != NULL);
  uv_close((uv_handle_t *)&d->timer, on_timer_closed);
  if (d->file)
    llmd__file_close(d->file, part_closed, d);
  llmd__dns_close(d->dns, part_closed, d);
}

/* What a former agent had put in, unpublished things included. */
static int adopt_all(llmd_discovery *d, llmd_err *err)
{
  llmd_now now;
  int rc;
  llmd_clock(&now);
  (void)llmd_pool_publish(d->feed.pool, &now); /* LLMD_E_BUSY: what is missing is adopted when it is in the way */
  rc = llmd__table_adopt(&d->table);
  return rc ? llmd__fail(err, rc, 0, 0, "endpoints", "%s", llmd_strerror(rc)) : 0;
}

static int read_service(llmd_discovery *d, llmd_err *err)
{
  const llmd_service *s = d->feed.service;
  int rc = 0;
  if (s->endpoints.len)
    rc = read_text(d, s->endpoints.ptr, s->endpoints.len, &d->fixed, err);
  for (uint32_t i = 0; i < s->n_dns && !rc; i++)
    rc = add_name(d, s->dns[i].name, i, &s->dns[i]);
  if (!rc)
    rc = want_hosts(d, &d->fixed);
  return rc;
}

static int open_file(llmd_discovery *d)
{
  const llmd__file_options o = {d->feed.service->endpoints_file, FILE_MOST, 0, on_text, on_trouble, d};
  return o.path && *o.path ? llmd__file_open(d->feed.loop, &o, &d->file) : 0;
}

static int open_names(llmd_discovery *d, llmd_err *err)
{
  const int rc = llmd__dns_open(d->feed.loop, d->feed.service->dns_servers, &d->dns);
  return rc ? llmd__fail(err, rc, 0, 0, "dns_servers", "name servers: %s", llmd_strerror(rc)) : 0;
}

int llmd_discovery_start(const llmd_feeder *feeder, llmd_discovery **out, llmd_err *err)
{
  llmd_discovery *d = calloc(1, sizeof *d);
  int rc;
  if (!d)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, "endpoints", "out of memory");
  d->feed = *feeder;
  d->table.pool = feeder->pool;
  d->table.log = feeder->log;
  d->table.log_ud = feeder->log_ud;
  rc = read_service(d, err);
  if (!rc)
    rc = adopt_all(d, err);
  if (!rc)
    rc = open_names(d, err);
  if (rc) {
    free_all(d);
    return rc;
  }
  d->timer.data = d;
  (void)uv_timer_init(d->feed.loop, &d->timer);
  rc = open_file(d);
  if (rc) {
    llmd_discovery_stop(d, NULL, NULL);
    return llmd__fail(err, rc, 0, 0, "endpoints", "%s", llmd_strerror(rc));
  }
  d->dirty = 1;
  (void)uv_timer_start(&d->timer, on_tick, TICK_MS, TICK_MS);
  on_tick(&d->timer); /* what is known without waiting is in the pool now */
  *out = d;
  return 0;
}
