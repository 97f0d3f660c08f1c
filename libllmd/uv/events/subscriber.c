/* All speakers of a pool: which there are, what they are asked, what engines say that find us by themselves. */
#include "uv/events/speaker.h"

#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "base/error.h"
#include "base/tree.h"

#define TICK_MS 100u
#define TICKS_A_WALK 2u /* the table is looked through every so many ticks */
#define LEAST_SOURCES 1024u
#define MOST_SLOTS (1u << 16)
#define PARKED_BYTES (UINT64_C(32) << 20) /* touched only as far as it is needed */
#define COPIES_BYTES (UINT64_C(64) << 20)
#define REPLAY_NS UINT64_C(300000000000)
#define QUESTION_MS 2000u
#define MOST_ANSWER (256u << 10)

/* ---- who speaks -------------------------------------------------------------------------------------------------- */

static void add_stats(llmd_source_stats *sum, const llmd_source_stats *one)
{
  sum->events += one->events;
  sum->blocks += one->blocks;
  sum->gaps += one->gaps;
  sum->replays += one->replays;
  sum->restarts += one->restarts;
  sum->bad += one->bad + one->bad_messages + one->wrong_topic + one->wrong_rank;
}

static void take_stats(const llmd_subscriber *sub, const llmd__speaker *s, llmd_source_stats *sum, uint32_t *degraded)
{
  llmd_source_stats one = {.size = sizeof one};
  if (!s->known || llmd_events_stats(sub->events, s->source, &one))
    return;
  add_stats(sum, &one);
  *degraded += one.degraded;
}

static void let_go(llmd_subscriber *sub, uint32_t slot)
{
  llmd__speaker *s = sub->by_slot[slot];
  uint32_t degraded = 0;
  take_stats(sub, s, &sub->gone, &degraded);
  if (s->known) {
    sub->by_source[s->source] = NULL;
    (void)llmd_events_source_gone(sub->events, s->source);
  }
  llmd__speaker_close(s);
  sub->by_slot[slot] = NULL;
  sub->speakers--;
}

/* Room for that slot. */
static int make_room(llmd_subscriber *sub, uint32_t slot)
{
  uint32_t slots = sub->slots ? sub->slots : 64;
  llmd__speaker **more;
  if (slot < sub->slots)
    return 0;
  while (slots <= slot)
    slots *= 2;
  more = realloc(sub->by_slot, slots * sizeof *more);
  if (!more)
    return LLMD_E_NOMEM;
  memset(more + sub->slots, 0, (slots - sub->slots) * sizeof *more);
  sub->by_slot = more;
  sub->slots = slots;
  return 0;
}

/* What there is no memory for is tried again by the next walk. */
static int on_endpoint(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  llmd_subscriber *sub = ud;
  const uint32_t slot = (uint32_t)id;
  if (slot >= MOST_SLOTS || make_room(sub, slot))
    return 0;
  if (sub->by_slot[slot] && sub->by_slot[slot]->id != id)
    let_go(sub, slot);
  if (!sub->by_slot[slot]) {
    if (llmd__speaker_open(sub, id, e, &sub->by_slot[slot]))
      return 0;
    sub->speakers++;
  }
  sub->by_slot[slot]->epoch = sub->epoch;
  llmd__speaker_learn(sub->by_slot[slot], e);
  return 0;
}

static void walk(llmd_subscriber *sub)
{
  if (llmd_pool_each(sub->feeder.pool, on_endpoint, sub) < 0)
    return;
  for (uint32_t i = 0; i < sub->slots; i++)
    if (sub->by_slot[i] && sub->by_slot[i]->epoch != sub->epoch)
      let_go(sub, i);
}

void llmd__subscriber_pump(llmd_subscriber *sub, const llmd_now *now)
{
  llmd_ask ask = {.size = sizeof ask};
  llmd_source_id source;
  while (llmd_events_tick(sub->events, now, &source, &ask) == 1)
    if (source < sub->max_sources && sub->by_source[source])
      llmd__speaker_ask(sub->by_source[source], ask.from);
}

static void on_timer(uv_timer_t *timer)
{
  llmd_subscriber *sub = timer->data;
  llmd_now now;
  llmd_clock(&now);
  if (sub->epoch++ % TICKS_A_WALK == 0)
    walk(sub);
  for (uint32_t i = 0; i < sub->slots; i++)
    if (sub->by_slot[i])
      llmd__speaker_tick(sub->by_slot[i], &now);
  llmd__subscriber_pump(sub, &now);
}

/* ---- engines that find us ---------------------------------------------------------------------------------------- */

static int is_equal(llmd_str a, const char *text, size_t len)
{
  return a.len == len && !memcmp(a.ptr, text, len);
}

/* A topic cannot make somebody speak for an endpoint whose own connection we have. */
static int may_speak(const llmd__speaker *s)
{
  return s && s->known && !s->up && (s->where.kind == LLMD__WHERE_SPEAKS ||
                                     (s->where.kind == LLMD__WHERE_LISTENS && !s->where.told));
}

static llmd__speaker *by_told_topic(const llmd_subscriber *sub, llmd_str topic)
{
  for (uint32_t i = 0; i < sub->slots; i++) {
    llmd__speaker *s = sub->by_slot[i];
    if (may_speak(s) && s->where.told && s->where.topic_len && is_equal(topic, s->where.topic, s->where.topic_len))
      return s;
  }
  return NULL;
}

/* host, or host:port when port is not 0. Of several endpoints with one host a topic without port names none. */
static llmd__speaker *by_address(const llmd_subscriber *sub, llmd_str host, uint32_t port)
{
  llmd__speaker *found = NULL;
  if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
    host = (llmd_str){host.ptr + 1, host.len - 2};
  for (uint32_t i = 0; i < sub->slots; i++) {
    llmd__speaker *s = sub->by_slot[i];
    if (!s || s->rank || !is_equal(host, s->address, strlen(s->address)) || (port && s->port != port))
      continue;
    if (found)
      return NULL;
    found = s;
  }
  return may_speak(found) && !(found->where.told && found->where.topic_len) ? found : NULL;
}

/* Digits at the end of text, after a colon; the host is what is before. 0 = there are none. */
static uint32_t split_port(llmd_str *text)
{
  uint32_t port = 0, unit = 1;
  size_t at = text->len;
  while (at && text->ptr[at - 1] >= '0' && text->ptr[at - 1] <= '9' && text->len - at < 5) {
    port += unit * (uint32_t)(text->ptr[--at] - '0');
    unit *= 10;
  }
  if (at < 2 || at == text->len || text->ptr[at - 1] != ':')
    return 0;
  text->len = at - 1;
  return port;
}

/* "kv@<address[:port]>@<model>" */
static llmd__speaker *by_topic(const llmd_subscriber *sub, llmd_str topic)
{
  const char *end;
  llmd_str host;
  llmd__speaker *s = by_told_topic(sub, topic);
  uint32_t port;
  if (s || topic.len < 4 || memcmp(topic.ptr, "kv@", 3))
    return s;
  end = memchr(topic.ptr + 3, '@', topic.len - 3);
  host = (llmd_str){topic.ptr + 3, end ? (size_t)(end - topic.ptr - 3) : topic.len - 3};
  s = by_address(sub, host, 0);
  if (s)
    return s;
  port = split_port(&host);
  return port ? by_address(sub, host, port) : NULL;
}

static void on_bound(void *ud, const llmd_str *frame, uint32_t n)
{
  llmd_subscriber *sub = ud;
  llmd__speaker *s = n == 3 ? by_topic(sub, frame[0]) : NULL;
  if (!s) {
    sub->bad++;
    return;
  }
  llmd__speaker_speaks(s);
  llmd__speaker_hear(s, frame, n);
}

static const llmd__line_calls bound_calls = {on_bound, NULL};

static int bind_line(llmd_subscriber *sub, llmd_err *err)
{
  llmd__line_options o = {sub->config->bind, 1, 0, &bound_calls, sub};
  const llmd_str topic = {sub->config->topic, strlen(sub->config->topic)};
  int rc;
  if (!*sub->config->bind)
    return 0;
  rc = llmd__line_subscribe(sub->hub, &o, topic, &sub->bound);
  return rc ? llmd__fail(err, rc, 0, 0, "events.bind", "cannot listen on %s", sub->config->bind) : 0;
}

/* ---- is anything wanted? ----------------------------------------------------------------------------------------- */

static int wants_index(const llmd__node *root)
{
  const llmd__node *plugins = root->kind == LLMD__MAP ? llmd__map_get(root, "plugins") : NULL;
  for (const llmd__node *p = plugins ? plugins->first : NULL; p; p = p->next) {
    const llmd__node *type = p->kind == LLMD__MAP ? llmd__map_get(p, "type") : NULL;
    if (type && (llmd__node_is(type, "precise-prefix-cache-producer") ||
                 llmd__node_is(type, "precise-prefix-cache-scorer")))
      return 1;
  }
  return 0;
}

static int is_wanted(const llmd_service *service)
{
  llmd__tree *tree;
  int wanted;
  if (service->events.enabled != 2)
    return service->events.enabled == 1;
  if (!service->policy.len || llmd__tree_parse(NULL, service->policy.ptr, service->policy.len, NULL, &tree, NULL))
    return 0;
  wanted = wants_index(llmd__tree_root(tree));
  llmd__tree_free(tree);
  return wanted;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void finish(llmd_subscriber *sub)
{
  llmd_done_fn done = sub->done;
  void *ud = sub->done_ud;
  free(sub->by_slot);
  free(sub->by_source);
  free(sub);
  if (done)
    done(ud);
}

static void on_part_closed(void *ud)
{
  llmd_subscriber *sub = ud;
  if (--sub->parts == 0)
    finish(sub);
}

static void on_timer_closed(uv_handle_t *handle)
{
  llmd_subscriber *sub = handle->data;
  free(handle);
  on_part_closed(sub);
}

static int open_events(llmd_subscriber *sub, llmd_err *err)
{
  llmd_events_options o = {.size = sizeof o, .max_sources = sub->max_sources, .index = sub->index,
                           .parked_bytes = PARKED_BYTES, .replay_ns = REPLAY_NS, .copies_bytes = COPIES_BYTES,
                           .log = sub->feeder.log, .log_ud = sub->feeder.log_ud};
  int rc = llmd_pool_index(sub->feeder.pool, &sub->index);
  if (rc)
    return llmd__fail(err, rc, 0, 0, "events", "the region has no exact index: %s", llmd_strerror(rc));
  o.index = sub->index;
  sub->by_source = calloc(sub->max_sources, sizeof *sub->by_source);
  if (!sub->by_source)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  return llmd_events_open(&o, &sub->events, err);
}

static int open_timer(llmd_subscriber *sub)
{
  uv_timer_t *timer = calloc(1, sizeof *timer);
  if (!timer)
    return LLMD_E_NOMEM;
  uv_timer_init(sub->feeder.loop, timer);
  timer->data = sub;
  sub->timer = timer;
  return 0;
}

static int open_parts(llmd_subscriber *sub, llmd_err *err)
{
  const llmd__fetch_options o = {.total_ms = QUESTION_MS, .max_bytes = MOST_ANSWER};
  int rc = open_events(sub, err);
  if (rc)
    return rc;
  rc = llmd__hub_open(sub->feeder.loop, &sub->hub);
  if (rc == 0)
    rc = llmd__fetch_open(sub->feeder.loop, &o, &sub->fetch);
  if (rc)
    return llmd__fail(err, rc, 0, 0, NULL, "events: %s", llmd_strerror(rc));
  rc = bind_line(sub, err);
  if (rc == 0)
    uv_timer_start(sub->timer, on_timer, 0, TICK_MS);
  return rc;
}

static uint32_t most(uint32_t a, uint32_t b)
{
  return a > b ? a : b;
}

int llmd_subscriber_start(const llmd_feeder *feeder, llmd_subscriber **out, llmd_err *err)
{
  llmd_subscriber *sub;
  int rc;
  if (!feeder || !out || !feeder->loop || !feeder->pool || !feeder->service)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "a loop, a pool and a service are needed");
  sub = calloc(1, sizeof *sub);
  if (!sub)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  memcpy(&sub->feeder, feeder, feeder->size < sizeof sub->feeder ? feeder->size : sizeof sub->feeder);
  sub->config = &feeder->service->events;
  sub->max_sources = most(most(LEAST_SOURCES, feeder->service->caps.max_endpoints), llmd_pool_count(feeder->pool));
  sub->on = (uint32_t)is_wanted(feeder->service);
  rc = open_timer(sub);
  if (rc)
    rc = llmd__fail(err, rc, 0, 0, NULL, "out of memory");
  else if (sub->on)
    rc = open_parts(sub, err);
  if (rc) {
    llmd_subscriber_stop(sub, NULL, NULL);
    return rc;
  }
  *out = sub;
  return 0;
}

int llmd_subscriber_stats_get(const llmd_subscriber *s, llmd_subscriber_stats *out)
{
  llmd_subscriber_stats all;
  llmd_source_stats sum;
  uint32_t size;
  if (!s || !out || out->size < sizeof out->size)
    return LLMD_E_INVALID;
  memset(&all, 0, sizeof all);
  sum = s->gone;
  for (uint32_t i = 0; i < s->slots; i++)
    if (s->by_slot[i]) {
      all.connected += s->by_slot[i]->up;
      take_stats(s, s->by_slot[i], &sum, &all.degraded);
    }
  all.sources = s->speakers;
  all.events = sum.events;
  all.blocks = sum.blocks;
  all.gaps = sum.gaps;
  all.replays = sum.replays;
  all.restarts = sum.restarts;
  all.bad = sum.bad + s->bad;
  if (s->hub)
    llmd__hub_count(s->hub, &all.messages, &all.bytes);
  size = out->size < sizeof all ? out->size : (uint32_t)sizeof all;
  all.size = size;
  memcpy(out, &all, size);
  return 0;
}

/* The sources stay as they are: a successor, or this process started again, goes on from them. The pool is not touched
 * any more once this has returned. */
void llmd_subscriber_stop(llmd_subscriber *s, llmd_done_fn done, void *ud)
{
  if (!s)
    return;
  s->done = done;
  s->done_ud = ud;
  s->parts = 1; /* this call */
  for (uint32_t i = 0; i < s->slots; i++)
    if (s->by_slot[i])
      llmd__speaker_close(s->by_slot[i]);
  llmd_events_close(s->events);
  if (s->timer) {
    s->parts++;
    uv_close(s->timer, on_timer_closed);
  }
  if (s->fetch) {
    s->parts++;
    llmd__fetch_close(s->fetch, on_part_closed, s);
  }
  if (s->hub) {
    s->parts++;
    llmd__hub_close(s->hub, on_part_closed, s);
  }
  on_part_closed(s);
}
