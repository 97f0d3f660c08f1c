#include "prefix/parked.h"

#include <string.h>

#include "base/alloc.h"

#define KIND_GONE 0u
#define KIND_EVENT 1u
#define KIND_MESSAGE 2u
#define KIND_HELD 3u /* a message that is being applied */

typedef struct entry {
  uint32_t units, kind;
  uint32_t owner, rank;
  llmd__parked_ref next;  /* event: of the same bucket by parent, then ready or done; message: of its owner */
  uint32_t tier;
  uint64_t order;         /* message: its number */
  uint64_t parent;        /* message: its length */
  uint32_t n_names, n_tokens, n_extra, block_tokens;
  /* event: node[n_names], tiers[n_names], token[n_tokens], text[n_extra], their bytes; message: its bytes */
} entry;

#define ENTRY_UNITS (sizeof(entry) / 8)

/* One block of an event, in the list of its name's bucket. */
typedef struct node {
  uint64_t name;
  llmd__parked_ref next; /* of a node */
  llmd__parked_ref of;
} node;

#define NODE_UNITS (sizeof(node) / 8)

typedef struct text {
  uint32_t block, len;
} text;

_Static_assert(sizeof(entry) % 8 == 0 && sizeof(node) % 8 == 0, "units");

static size_t units_of(size_t bytes)
{
  return (bytes + 7) / 8;
}

static entry *entry_at(const llmd__parked *p, llmd__parked_ref ref)
{
  return (entry *)(void *)(p->ring + (ref - 1));
}

static llmd__parked_ref ref_of(const llmd__parked *p, const entry *e)
{
  return (llmd__parked_ref)((const uint64_t *)(const void *)e - p->ring) + 1;
}

static node *node_at(const llmd__parked *p, llmd__parked_ref ref)
{
  return (node *)(void *)(p->ring + (ref - 1));
}

static node *nodes_of(entry *e)
{
  return (node *)(e + 1);
}

static uint8_t *tiers_of(entry *e)
{
  return (uint8_t *)(nodes_of(e) + e->n_names);
}

static uint32_t *tokens_of(entry *e)
{
  return (uint32_t *)(void *)((uint64_t *)(void *)(nodes_of(e) + e->n_names) + units_of(e->n_names));
}

static text *texts_of(entry *e)
{
  return (text *)(void *)((uint64_t *)(void *)tokens_of(e) + units_of(sizeof(uint32_t) * (size_t)e->n_tokens));
}

/* ---- open, close ------------------------------------------------------------------------------------------------- */

static uint32_t buckets_for(uint64_t bytes)
{
  uint32_t n = 64;
  while (n < (1u << 24) && n * UINT64_C(256) < bytes)
    n *= 2;
  return n;
}

/* The tables are part of the cap; the ring gets what they leave. */
int llmd__parked_open(llmd__parked *p, const llmd_allocator *alloc, uint64_t bytes, uint32_t owners)
{
  uint64_t units;
  memset(p, 0, sizeof *p);
  p->alloc = *alloc;
  p->owners = owners;
  p->buckets = buckets_for(bytes);
  units = bytes / 8 > p->buckets ? bytes / 8 - p->buckets : 0;
  if (units < 64)
    units = 64;
  p->units = units < (1u << 30) ? (uint32_t)units : 1u << 30;
  p->bytes = sizeof *p->ring * p->units + 2 * sizeof *p->by_parent * p->buckets;
  p->ring = llmd__calloc(alloc, 1, p->bytes);
  p->owner = llmd__calloc(alloc, owners, sizeof *p->owner);
  if (!p->ring || !p->owner) {
    llmd__parked_close(p);
    return LLMD_E_NOMEM;
  }
  p->by_parent = (llmd__parked_ref *)(void *)(p->ring + p->units);
  p->by_name = p->by_parent + p->buckets;
  return 0;
}

void llmd__parked_close(llmd__parked *p)
{
  llmd__free(&p->alloc, p->ring, p->bytes);
  llmd__free(&p->alloc, p->owner, sizeof *p->owner * p->owners);
  memset(p, 0, sizeof *p);
}

/* ---- buckets ----------------------------------------------------------------------------------------------------- */

static llmd__parked_ref *bucket(const llmd__parked *p, llmd__parked_ref *table, uint32_t owner, uint32_t rank,
                                uint64_t name)
{
  uint64_t h = name ^ ((uint64_t)owner << 32 | rank) * UINT64_C(0x9e3779b97f4a7c15);
  h = (h ^ h >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
  return &table[(h ^ h >> 29) & (p->buckets - 1)];
}

static int is_of(const entry *e, uint32_t owner, uint32_t rank)
{
  return e->owner == owner && (rank == LLMD__PARKED_ANY || e->rank == rank);
}

static void link_parent(llmd__parked *p, entry *e)
{
  llmd__parked_ref *b = bucket(p, p->by_parent, e->owner, e->rank, e->parent);
  e->next = *b;
  *b = ref_of(p, e);
}

/* Not there when the event is ready or done already. */
static void unlink_parent(llmd__parked *p, entry *e)
{
  llmd__parked_ref *at = bucket(p, p->by_parent, e->owner, e->rank, e->parent);
  const llmd__parked_ref ref = ref_of(p, e);
  while (*at && *at != ref)
    at = &entry_at(p, *at)->next;
  if (*at)
    *at = e->next;
}

static void link_names(llmd__parked *p, entry *e)
{
  const llmd__parked_ref ref = ref_of(p, e);
  node *n = nodes_of(e);
  for (uint32_t i = 0; i < e->n_names; i++) {
    llmd__parked_ref *b = bucket(p, p->by_name, e->owner, e->rank, n[i].name);
    n[i].of = ref;
    n[i].next = *b;
    *b = ref + (uint32_t)(ENTRY_UNITS + i * NODE_UNITS);
  }
}

static void unlink_names(llmd__parked *p, entry *e)
{
  const llmd__parked_ref first = ref_of(p, e) + (uint32_t)ENTRY_UNITS;
  node *n = nodes_of(e);
  for (uint32_t i = 0; i < e->n_names; i++) {
    llmd__parked_ref *at = bucket(p, p->by_name, e->owner, e->rank, n[i].name);
    while (*at && *at != first + (uint32_t)(i * NODE_UNITS))
      at = &node_at(p, *at)->next;
    if (*at)
      *at = n[i].next;
  }
}

static void unlink_from(llmd__parked *p, llmd__parked_ref *list, llmd__parked_ref ref)
{
  while (*list && *list != ref)
    list = &entry_at(p, *list)->next;
  if (*list)
    *list = entry_at(p, ref)->next;
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

static void release_event(llmd__parked *p, entry *e)
{
  unlink_parent(p, e);
  unlink_names(p, e);
  p->owner[e->owner].events--;
  e->kind = KIND_GONE;
}

static void release_message(llmd__parked *p, entry *e)
{
  llmd__parked_owner *o = &p->owner[e->owner];
  const llmd__parked_ref ref = ref_of(p, e);
  unlink_from(p, &o->first, ref);
  if (o->last == ref) {
    o->last = o->first;
    while (o->last && entry_at(p, o->last)->next)
      o->last = entry_at(p, o->last)->next;
  }
  o->messages--;
  e->kind = KIND_GONE;
}

/* Makes the oldest go. 0: there is none, or it is in use. */
static int lose_oldest(llmd__parked *p)
{
  entry *e = entry_at(p, p->head + 1);
  if (p->used == 0 || e->kind == KIND_HELD)
    return 0;
  if (e->kind == KIND_EVENT) {
    p->owner[e->owner].events_lost++;
    release_event(p, e);
  } else if (e->kind == KIND_MESSAGE) {
    release_message(p, e);
  }
  p->used -= e->units;
  p->head += e->units;
  if (p->head == p->units)
    p->head = 0;
  return 1;
}

static void drop_gone(llmd__parked *p)
{
  while (p->used && entry_at(p, p->head + 1)->kind == KIND_GONE)
    lose_oldest(p);
}

/* Place for n units in a row behind the newest; what is left at the ring's end is filled with an entry of nothing. */
static entry *make_room(llmd__parked *p, size_t n)
{
  for (;;) {
    uint32_t at = (p->head + p->used) % p->units;
    const uint32_t row = p->used == 0 ? 0 : at >= p->head ? p->units - at : p->head - at;
    if (p->used == 0) {
      p->head = at = 0;
      if (n > p->units)
        return NULL;
      p->used = (uint32_t)n;
      return entry_at(p, 1);
    }
    if (p->used < p->units && n <= row) {
      p->used += (uint32_t)n;
      return entry_at(p, at + 1);
    }
    if (p->used < p->units && at >= p->head && at != 0) {
      entry_at(p, at + 1)->units = row;
      entry_at(p, at + 1)->kind = KIND_GONE;
      p->used += row;
    } else if (!lose_oldest(p)) {
      return NULL;
    }
  }
}

static entry *new_entry(llmd__parked *p, uint32_t kind, uint32_t owner, size_t body)
{
  const size_t n = ENTRY_UNITS + body;
  entry *e = n <= p->units ? make_room(p, n) : NULL;
  if (!e)
    return NULL;
  memset(e, 0, sizeof *e);
  e->units = (uint32_t)n;
  e->kind = kind;
  e->owner = owner;
  return e;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static size_t text_bytes(const llmd_extra *extra, uint32_t n)
{
  size_t bytes = 0;
  for (uint32_t i = 0; i < n; i++)
    bytes += extra[i].text.len;
  return bytes;
}

static void copy_parts(entry *e, const llmd_event *event, const llmd_extra *extra)
{
  char *bytes = (char *)(texts_of(e) + e->n_extra);
  node *n = nodes_of(e);
  for (uint32_t i = 0; i < e->n_names; i++)
    n[i].name = event->name[i];
  memset(tiers_of(e), 1 << e->tier, e->n_names);
  if (e->n_tokens)
    memcpy(tokens_of(e), event->token, sizeof *event->token * e->n_tokens);
  for (uint32_t i = 0; i < e->n_extra; i++) {
    texts_of(e)[i].block = extra[i].block;
    texts_of(e)[i].len = (uint32_t)extra[i].text.len;
    if (extra[i].text.len)
      memcpy(bytes, extra[i].text.ptr, extra[i].text.len);
    bytes += extra[i].text.len;
  }
}

int llmd__parked_add(llmd__parked *p, uint32_t owner, uint32_t rank, const llmd_event *event, uint32_t tier,
                     const llmd_extra *extra, uint32_t n_extra)
{
  const size_t body = event->n_names * NODE_UNITS + units_of(event->n_names) +
                      units_of(sizeof(uint32_t) * (size_t)event->n_tokens) + n_extra +
                      units_of(text_bytes(extra, n_extra));
  llmd__parked_owner *o = &p->owner[owner];
  entry *e = new_entry(p, KIND_EVENT, owner, body);
  o->events_ever++;
  if (!e) {
    o->events_lost++;
    return 0;
  }
  e->rank = rank;
  e->tier = tier;
  e->order = p->order++;
  e->parent = event->parent;
  e->n_names = event->n_names;
  e->n_tokens = event->n_tokens;
  e->n_extra = n_extra;
  e->block_tokens = event->block_size;
  copy_parts(e, event, extra);
  link_parent(p, e);
  link_names(p, e);
  o->events++;
  return 1;
}

/* The block of an event that a node is: its byte of tiers. */
static uint8_t *tiers_at(const llmd__parked *p, const node *n)
{
  entry *e = entry_at(p, n->of);
  return tiers_of(e) + (n - nodes_of(e));
}

void llmd__parked_held(llmd__parked *p, uint32_t owner, uint32_t rank, uint32_t tier, const uint64_t *names, uint32_t n,
                       uint64_t order)
{
  for (uint32_t i = 0; i < n && p->owner[owner].events; i++) {
    llmd__parked_ref at = *bucket(p, p->by_name, owner, rank, names[i]);
    for (; at; at = node_at(p, at)->next) {
      const node *own = node_at(p, at);
      const entry *e = entry_at(p, own->of);
      if (own->name == names[i] && is_of(e, owner, rank) && e->order < order)
        *tiers_at(p, own) = (uint8_t)(*tiers_at(p, own) | 1u << tier);
    }
  }
}

uint32_t llmd__parked_removed(llmd__parked *p, uint32_t owner, uint32_t rank, uint32_t tier, const uint64_t *names,
                              uint32_t n)
{
  const uint32_t gone = tier == LLMD_TIER_ANY ? 0xffu : 1u << tier;
  uint32_t known = 0;
  for (uint32_t i = 0; i < n && p->owner[owner].events; i++) {
    llmd__parked_ref at = *bucket(p, p->by_name, owner, rank, names[i]);
    uint32_t found = 0;
    for (; at; at = node_at(p, at)->next) {
      const node *own = node_at(p, at);
      if (own->name != names[i] || !is_of(entry_at(p, own->of), owner, rank))
        continue;
      found |= *tiers_at(p, own) & gone;
      *tiers_at(p, own) = (uint8_t)(*tiers_at(p, own) & ~gone);
    }
    known += found != 0;
  }
  return known;
}

static void make_ready(llmd__parked *p, entry *e)
{
  llmd__parked_ref *at = &p->ready;
  unlink_parent(p, e);
  while (*at && entry_at(p, *at)->order < e->order)
    at = &entry_at(p, *at)->next;
  e->next = *at;
  *at = ref_of(p, e);
}

void llmd__parked_wake(llmd__parked *p, uint32_t owner, uint32_t rank, const uint64_t *names, uint32_t n)
{
  for (uint32_t i = 0; i < n && p->owner[owner].events; i++) {
    llmd__parked_ref at = *bucket(p, p->by_parent, owner, rank, names[i]);
    while (at) {
      entry *e = entry_at(p, at);
      at = e->next;
      if (e->parent == names[i] && is_of(e, owner, rank))
        make_ready(p, e);
    }
  }
}

static void show_event(const llmd__parked *p, llmd__parked_ref ref, llmd__parked_event *out)
{
  entry *e = entry_at(p, ref);
  memset(out, 0, sizeof *out);
  out->ref = ref;
  out->owner = e->owner;
  out->rank = e->rank;
  out->tier = e->tier;
  out->block_tokens = e->block_tokens;
  out->n_names = e->n_names;
  out->n_tokens = e->n_tokens;
  out->n_extra = e->n_extra;
  out->parent = e->parent;
  out->order = e->order;
  out->token = tokens_of(e);
}

int llmd__parked_next(llmd__parked *p, llmd__parked_event *out)
{
  if (!p->ready)
    return 0;
  show_event(p, p->ready, out);
  return 1;
}

void llmd__parked_name(const llmd__parked *p, const llmd__parked_event *e, uint32_t i, uint64_t *name, uint32_t *tiers)
{
  entry *own = entry_at(p, e->ref);
  *name = nodes_of(own)[i].name;
  *tiers = tiers_of(own)[i];
}

void llmd__parked_extras(const llmd__parked *p, const llmd__parked_event *e, llmd_extra *out)
{
  entry *own = entry_at(p, e->ref);
  const text *t = texts_of(own);
  const char *bytes = (const char *)(t + own->n_extra);
  for (uint32_t i = 0; i < own->n_extra; i++) {
    out[i].block = t[i].block;
    out[i].reserved = 0;
    out[i].text.ptr = bytes;
    out[i].text.len = t[i].len;
    bytes += t[i].len;
  }
}

void llmd__parked_done(llmd__parked *p, const llmd__parked_event *e, int lost)
{
  entry *own = entry_at(p, e->ref);
  unlink_from(p, &p->ready, e->ref);
  if (lost) {
    p->owner[e->owner].events_lost++;
    own->next = 0;
    release_event(p, own);
    drop_gone(p);
  } else {
    own->next = p->done;
    p->done = e->ref;
  }
}

int llmd__parked_take(llmd__parked *p, llmd__parked_event *out)
{
  if (!p->done)
    return 0;
  show_event(p, p->done, out);
  p->done = entry_at(p, out->ref)->next;
  return 1;
}

void llmd__parked_free(llmd__parked *p, const llmd__parked_event *e)
{
  release_event(p, entry_at(p, e->ref));
  drop_gone(p);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

int llmd__parked_wait(llmd__parked *p, uint32_t owner, uint64_t seq, llmd_str payload)
{
  llmd__parked_owner *o = &p->owner[owner];
  entry *e = new_entry(p, KIND_MESSAGE, owner, units_of(payload.len));
  if (!e)
    return 0;
  e->order = seq;
  e->parent = payload.len;
  if (payload.len)
    memcpy(e + 1, payload.ptr, payload.len);
  if (o->last)
    entry_at(p, o->last)->next = ref_of(p, e);
  else
    o->first = ref_of(p, e);
  o->last = ref_of(p, e);
  o->messages++;
  return 1;
}

/* Mostly the first is it: messages come in order. */
int llmd__parked_lowest(const llmd__parked *p, uint32_t owner, uint64_t enough, llmd__parked_message *out)
{
  llmd__parked_ref at = p->owner[owner].first, best = at;
  if (!at)
    return 0;
  for (; at && entry_at(p, best)->order > enough; at = entry_at(p, at)->next)
    if (entry_at(p, at)->order < entry_at(p, best)->order)
      best = at;
  out->ref = best;
  out->seq = entry_at(p, best)->order;
  out->payload.ptr = (const char *)(entry_at(p, best) + 1);
  out->payload.len = (size_t)entry_at(p, best)->parent;
  return 1;
}

void llmd__parked_hold(llmd__parked *p, const llmd__parked_message *m)
{
  release_message(p, entry_at(p, m->ref));
  entry_at(p, m->ref)->kind = KIND_HELD;
}

void llmd__parked_drop(llmd__parked *p, const llmd__parked_message *m)
{
  entry_at(p, m->ref)->kind = KIND_GONE;
  drop_gone(p);
}

/* ---- a source's all ---------------------------------------------------------------------------------------------- */

void llmd__parked_forget_events(llmd__parked *p, uint32_t owner, uint32_t rank)
{
  uint32_t at = p->head;
  for (uint32_t seen = 0; seen < p->used && p->owner[owner].events;) {
    entry *e = entry_at(p, at + 1);
    if (e->kind == KIND_EVENT && is_of(e, owner, rank))
      release_event(p, e);
    seen += e->units;
    at += e->units;
    if (at == p->units)
      at = 0;
  }
  drop_gone(p);
}

void llmd__parked_forget_messages(llmd__parked *p, uint32_t owner)
{
  while (p->owner[owner].first)
    release_message(p, entry_at(p, p->owner[owner].first));
  drop_gone(p);
}
