/* Opening, closing; which sources there are; their records in the index's memory. What happens to their messages:
 * source_feed.c. */
#include "prefix/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "prefix/block.h"
#include "prefix/event.h"
#include "prefix/exact.h"

#define MAX_SOURCES (1u << 19)

static uint64_t or_default(uint64_t v, uint64_t fallback)
{
  return v ? v : fallback;
}

void llmd__events_say(const llmd_events *e, int level, const char *fmt, ...)
{
  char line[256];
  va_list ap;
  int n;
  if (!e->log)
    return;
  va_start(ap, fmt);
  n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (n > 0)
    e->log(e->log_ud, level, "events", line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- open, close ------------------------------------------------------------------------------------------------- */

static void take_options(llmd_events *e, const llmd_events_options *o)
{
  llmd_event_limits limits = o->limits;
  e->index = o->index;
  e->secret = llmd_index_secret(o->index);
  e->log = o->log;
  e->log_ud = o->log_ud;
  e->max_sources = (uint32_t)or_default(o->max_sources, 1024);
  e->cooldown_ns = or_default(o->cooldown_ns, UINT64_C(30000000000));
  e->replay_ns = or_default(o->replay_ns, UINT64_C(120000000000));
  e->copies_bytes = or_default(o->copies_bytes, UINT64_C(16) << 20);
  limits.size = limits.size ? limits.size : sizeof limits;
  e->limits = llmd__event_limits(&limits);
}

static int take_memory(llmd_events *e, uint64_t parked_bytes)
{
  size_t book;
  e->book = llmd__exact_book(e->index, &book);
  e->records = (uint32_t)(book / sizeof *e->book);
  e->source = llmd__calloc(&e->alloc, e->max_sources, sizeof *e->source);
  e->buffer_len = llmd_events_buffer(&e->limits);
  e->buffer = llmd__calloc(&e->alloc, 1, e->buffer_len);
  e->key = llmd__calloc(&e->alloc, e->limits.names, sizeof *e->key);
  e->name = llmd__calloc(&e->alloc, e->limits.names, sizeof *e->name);
  e->extra = llmd__calloc(&e->alloc, (size_t)e->limits.extras + 1, sizeof *e->extra);
  if (!e->source || !e->buffer || !e->key || !e->name || !e->extra)
    return LLMD_E_NOMEM;
  return llmd__parked_open(&e->parked, &e->alloc, or_default(parked_bytes, UINT64_C(4) << 20), e->max_sources);
}

int llmd_events_open(const llmd_events_options *options, llmd_events **out, llmd_err *err)
{
  llmd_events_options o;
  llmd_allocator alloc;
  llmd_events *e;
  memset(&o, 0, sizeof o);
  if (!options || !out)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "options and a place for the result are needed");
  memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  if (!o.index || o.max_sources > MAX_SOURCES)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, o.index ? "at most 524288 sources" : "an index is needed");
  llmd__alloc_init(&alloc, o.alloc);
  e = llmd__calloc(&alloc, 1, sizeof *e);
  if (!e)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  e->alloc = alloc;
  take_options(e, &o);
  if (take_memory(e, o.parked_bytes) != 0) {
    llmd_events_close(e);
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  }
  *out = e;
  return 0;
}

static void free_block(llmd_events *e, llmd__source *s)
{
  llmd__free(&e->alloc, s->ranks, s->block_len);
  s->ranks = NULL;
}

/* The records stay: a successor goes on from them. */
void llmd_events_close(llmd_events *events)
{
  llmd_allocator alloc;
  if (!events)
    return;
  alloc = events->alloc;
  for (uint32_t i = 0; events->source && i < events->max_sources; i++)
    free_block(events, &events->source[i]);
  if (events->parked.ring)
    llmd__parked_close(&events->parked);
  llmd__block_copies_close(&events->copies);
  llmd__free(&alloc, events->source, sizeof *events->source * events->max_sources);
  llmd__free(&alloc, events->buffer, events->buffer_len);
  llmd__free(&alloc, events->key, sizeof *events->key * events->limits.names);
  llmd__free(&alloc, events->name, sizeof *events->name * events->limits.names);
  llmd__free(&alloc, events->extra, sizeof *events->extra * ((size_t)events->limits.extras + 1));
  llmd__free(&alloc, events, sizeof *events);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static llmd__source_record *record_of(const llmd_events *e, llmd_endpoint_id endpoint)
{
  for (uint32_t i = 0; i < e->records; i++)
    if (llmd__record_get(&e->book[i].endpoint) == endpoint)
      return &e->book[i];
  return NULL;
}

static void forget_lanes(llmd__source_record *r)
{
  for (uint32_t i = 0; i < 2; i++) {
    llmd__record_set32(&r->lane[i], 0);
    llmd__record_set32(&r->window[i], 0);
  }
}

static void reset_record(llmd__source_record *r, llmd_endpoint_id endpoint)
{
  llmd__record_set(&r->endpoint, 0);
  llmd__record_set(&r->next, 0);
  llmd__record_set(&r->time, UINT64_MAX);
  llmd__record_set32(&r->applying, 0);
  llmd__record_set32(&r->flags, 0);
  llmd__record_set32(&r->config, 0);
  llmd__record_set32(&r->dense, 0);
  forget_lanes(r);
  llmd__record_set32(&r->block_tokens, 0);
  llmd__record_set32(&r->scheme, 0);
  llmd__record_set(&r->endpoint, endpoint);
}

/* A source of an older generation of the slot, which nobody took away yet: it goes on without a successor. */
static void take_from_others(llmd_events *e, const llmd__source_record *r)
{
  for (uint32_t i = 0; i < e->max_sources; i++)
    if (e->source[i].used && e->source[i].record == r) {
      memcpy(&e->source[i].own, r, sizeof *r);
      e->source[i].record = &e->source[i].own;
    }
}

/* An endpoint's place is its slot's, which an older generation of the slot may have. The shared store, and whoever
 * finds his place taken by it, look for a free one from the end. 1: it was there. */
static int find_record(llmd_events *e, llmd__source *s, llmd_endpoint_id endpoint)
{
  const uint32_t slot = (uint32_t)endpoint;
  llmd__source_record *r = slot < e->records ? &e->book[slot] : NULL;
  uint64_t has = r ? llmd__record_get(&r->endpoint) : 0;
  if (r && has == endpoint) {
    s->record = r;
    return 1;
  }
  if (!r || (has && (uint32_t)has != slot)) {
    r = record_of(e, endpoint);
    s->record = r ? r : &s->own;
    if (r)
      return 1;
    for (uint32_t i = e->records; i-- > 0 && s->record == &s->own;)
      if (!llmd__record_get(&e->book[i].endpoint))
        s->record = &e->book[i];
  } else {
    take_from_others(e, r);
    s->record = r;
  }
  reset_record(s->record, endpoint);
  return 0;
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

llmd__source *llmd__source_at(const llmd_events *e, llmd_source_id id)
{
  return e && id < e->max_sources && e->source[id].used ? &e->source[id] : NULL;
}

void llmd__source_note(llmd__source *s)
{
  uint32_t flags = s->flags & LLMD_SOURCE_COUNTED ? LLMD__RECORD_COUNTED : 0;
  if (s->stats.degraded)
    flags |= LLMD__RECORD_REPAIR;
  if (s->want == LLMD__WANT_ALL || s->replaying == LLMD__WANT_ALL)
    flags |= LLMD__RECORD_REFILL;
  if (llmd__record_get32(&s->record->flags) != flags)
    llmd__record_set32(&s->record->flags, flags);
}

double llmd__source_time(const llmd__source *s)
{
  const uint64_t bits = llmd__record_get(&s->record->time);
  double time;
  memcpy(&time, &bits, sizeof time);
  return time;
}

/* Blocks that the window of lane i reaches back from the token that comes next. */
static uint32_t window_blocks(const llmd__source *s, uint32_t i, uint32_t block_tokens)
{
  const uint32_t tokens = llmd__record_get32(&s->record->lane[i]) ? llmd__record_get32(&s->record->window[i]) : 0;
  return tokens > 1 && block_tokens ? (tokens - 2) / block_tokens + 1 : 0;
}

void llmd__source_describe(llmd_events *e, const llmd__source *s)
{
  llmd_index_row row;
  memset(&row, 0, sizeof row);
  row.size = sizeof row;
  row.flags = (s->stats.degraded ? LLMD_INDEX_DEGRADED : 0) | (s->stats.batches ? LLMD_INDEX_FED : 0);
  row.block_tokens = llmd__record_get32(&s->record->block_tokens);
  row.scheme = llmd__record_get32(&s->record->scheme);
  for (uint32_t i = 0; i < 2; i++)
    row.window_blocks[i] = window_blocks(s, i, row.block_tokens);
  for (uint32_t i = 0; i <= s->n_ranks; i++)
    if (llmd__source_endpoint(s, i))
      llmd_index_describe(e->index, llmd__source_endpoint(s, i), &row);
}

/* Another process may have other layers; if they are the same, the first store of theirs says so. */
static void forget_windows(llmd_events *e, llmd__source *s)
{
  if (!(llmd__record_get32(&s->record->lane[0]) | llmd__record_get32(&s->record->lane[1])))
    return;
  forget_lanes(s->record);
  llmd__source_describe(e, s);
}

void llmd__source_clear(llmd_events *e, llmd__source *s)
{
  const uint32_t who = llmd__source_number(e, s);
  for (uint32_t i = 0; i <= s->n_ranks; i++) {
    if (llmd__source_endpoint(s, i))
      llmd_index_clear(e->index, llmd__source_endpoint(s, i));
    llmd__block_copies_forget(&e->copies, llmd__source_who(e, s, i));
  }
  llmd__parked_forget_events(&e->parked, who, LLMD__PARKED_ANY);
  forget_windows(e, s);
  s->empty = 1;
}

/* What the index has of this source is good for nothing when this changes. */
static uint32_t config_of(const llmd_source *c)
{
  const uint64_t model = llmd__xxh3_64(c->model.ptr, c->model.len, c->flags & (LLMD_SOURCE_COUNTED | LLMD_SOURCE_SHARED));
  const uint32_t h = (uint32_t)llmd__xxh3_64(c->ranks, sizeof *c->ranks * c->n_ranks, model);
  return h ? h : 1;
}

static int copy_config(llmd_events *e, llmd__source *s, const llmd_source *c)
{
  const size_t ranks = sizeof *c->ranks * c->n_ranks;
  char *text;
  llmd_endpoint_id *block = llmd__calloc(&e->alloc, 1, ranks + c->topic.len + c->model.len + 1);
  if (!block)
    return LLMD_E_NOMEM;
  if (s->used && llmd__record_get32(&s->record->config) != config_of(c))
    llmd__source_clear(e, s); /* of the ranks that it had */
  text = (char *)block + ranks;
  free_block(e, s);
  if (ranks)
    memcpy(block, c->ranks, ranks);
  if (c->topic.len)
    memcpy(text, c->topic.ptr, c->topic.len);
  if (c->model.len)
    memcpy(text + c->topic.len, c->model.ptr, c->model.len);
  s->ranks = block;
  s->block_len = ranks + c->topic.len + c->model.len + 1;
  s->topic = (llmd_str){text, c->topic.len};
  s->model = (llmd_str){text + c->topic.len, c->model.len};
  s->engine = c->engine;
  s->flags = c->flags;
  s->n_ranks = c->n_ranks;
  s->endpoint = c->flags & LLMD_SOURCE_SHARED ? LLMD_INDEX_SHARED : c->endpoint;
  s->block_tokens = c->block_tokens;
  s->scheme = c->scheme;
  return 0;
}

static int is_possible(const llmd_source *c)
{
  if (c->engine > LLMD_SOURCE_SGLANG || c->flags > 7u || c->n_ranks > LLMD__MAX_RANKS || (c->n_ranks && !c->ranks))
    return 0;
  if (c->flags & LLMD_SOURCE_SHARED)
    return c->n_ranks == 0;
  return c->endpoint || c->n_ranks;
}

/* By what a source is known again. */
static llmd_endpoint_id identity(const llmd_source *c)
{
  if (c->flags & LLMD_SOURCE_SHARED)
    return LLMD_INDEX_SHARED;
  return c->endpoint ? c->endpoint : c->ranks[0];
}

static llmd__source *find_source(const llmd_events *e, llmd_endpoint_id endpoint)
{
  llmd__source *unused = NULL;
  for (uint32_t i = 0; i < e->max_sources; i++) {
    llmd__source *s = &e->source[i];
    if (s->used && llmd__record_get(&s->record->endpoint) == endpoint)
      return s;
    if (!s->used && !unused)
      unused = s;
  }
  return unused;
}

/* Where it goes on. What a dead writer was applying, and what a living one missed since, are asked for alike; where
 * nothing can be asked for, what is not sure is forgotten. */
static void begin_source(llmd_events *e, llmd__source *s, int known, uint32_t config)
{
  llmd__source_record *r = s->record;
  const uint32_t flags = llmd__record_get32(&r->flags);
  const int torn = llmd__record_get32(&r->applying) || (flags & LLMD__RECORD_REPAIR);
  const int asks = !(s->flags & LLMD_SOURCE_NO_REPLAY);
  const uint32_t useless = LLMD__RECORD_REFILL | LLMD__RECORD_COUNTED;
  const int keep = known && llmd__record_get32(&r->config) == config && !(flags & useless) &&
                   !(s->flags & LLMD_SOURCE_COUNTED) && (asks || !torn);
  s->used = 1;
  s->empty = 0;
  s->first = UINT64_MAX;
  s->stats.size = sizeof s->stats;
  s->stats.degraded = asks && known && (torn || !keep);
  s->want = !asks ? LLMD__WANT_NOTHING : keep && llmd__record_get(&r->next) ? LLMD__WANT_REST : LLMD__WANT_ALL;
  s->loose = !asks && !keep;
  llmd__source_note(s);
  if (!keep) {
    llmd__source_clear(e, s); /* a new one's endpoints too: somebody else may have spoken for them */
    llmd__record_set(&r->next, 0);
    llmd__record_set(&r->time, UINT64_MAX);
    llmd__record_set32(&r->applying, 0);
  }
  s->seen = s->floor = llmd__source_time(s);
  s->floor_until = 0;
  llmd__record_set32(&r->config, config);
}

/* A change of what its keys are made of: as if it were new, but what is held is cleared. */
static void change_source(llmd_events *e, llmd__source *s, uint32_t config)
{
  if (llmd__record_get32(&s->record->config) == config)
    return;
  llmd__parked_forget_messages(&e->parked, llmd__source_number(e, s));
  s->replaying = s->attempts = 0;
  begin_source(e, s, 1, config);
}

static int add_source(llmd_events *e, llmd__source *s, const llmd_source *c)
{
  int rc;
  memset(s, 0, sizeof *s);
  e->parked.owner[llmd__source_number(e, s)].events_ever = 0;
  e->parked.owner[llmd__source_number(e, s)].events_lost = 0;
  rc = copy_config(e, s, c);
  if (rc == 0)
    begin_source(e, s, find_record(e, s, identity(c)), config_of(c));
  return rc;
}

int llmd_events_source(llmd_events *events, const llmd_source *source, llmd_source_id *out)
{
  llmd_source c;
  llmd__source *s;
  int rc = 0;
  memset(&c, 0, sizeof c);
  if (!events || !source || !out)
    return LLMD_E_INVALID;
  memcpy(&c, source, source->size < sizeof c ? source->size : sizeof c);
  if (!is_possible(&c))
    return LLMD_E_INVALID;
  s = find_source(events, identity(&c));
  if (!s)
    return LLMD_E_FULL;
  if (c.flags & LLMD_SOURCE_COUNTED && !events->copies.slots)
    rc = llmd__block_copies_open(&events->copies, &events->alloc, events->copies_bytes);
  if (rc == 0 && !s->used) {
    rc = add_source(events, s, &c);
  } else if (rc == 0) {
    rc = copy_config(events, s, &c);
    if (rc == 0)
      change_source(events, s, config_of(&c));
  }
  if (rc == 0)
    llmd__source_describe(events, s);
  if (rc == 0)
    *out = llmd__source_number(events, s);
  return rc;
}

int llmd_events_source_gone(llmd_events *events, llmd_source_id source)
{
  llmd__source *s = llmd__source_at(events, source);
  if (!s)
    return LLMD_E_INVALID;
  llmd__source_clear(events, s);
  llmd__parked_forget_messages(&events->parked, source);
  s->stats.degraded = 0;
  s->stats.batches = 0;
  llmd__source_describe(events, s);
  reset_record(s->record, 0);
  free_block(events, s);
  memset(s, 0, sizeof *s);
  return 0;
}

int llmd_events_stats(const llmd_events *events, llmd_source_id source, llmd_source_stats *out)
{
  const llmd__source *s = llmd__source_at(events, source);
  llmd_source_stats all;
  uint64_t next;
  uint32_t size;
  if (!s || !out || out->size < sizeof out->size)
    return LLMD_E_INVALID;
  all = s->stats;
  next = llmd__record_get(&s->record->next);
  all.last_seq = next ? next - 1 : UINT64_MAX;
  all.parked = events->parked.owner[source].events_ever;
  all.parked_now = events->parked.owner[source].events;
  all.parked_lost = events->parked.owner[source].events_lost;
  size = out->size < sizeof all ? out->size : (uint32_t)sizeof all;
  memcpy(out, &all, size);
  out->size = size;
  return 0;
}
