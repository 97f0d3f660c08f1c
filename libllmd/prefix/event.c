/* A batch of an engine's events:
 *
 *   [ts, [event, event, ...], rank]                       or {"ts": .., "events": [..], "data_parallel_rank": ..}
 *   event: ["BlockStored", [hash, ..], parent, ...]       or {"type": "BlockStored", "block_hashes": [hash, ..], ...}
 *
 * The structure of the whole payload is checked before the first event is handed out: a message that is damaged does
 * nothing. After that every value can be passed over, so that a bad event costs only itself. Token ids, the bulk, are
 * read while the structure is checked. */
#include "prefix/event.h"

#include <math.h>
#include <string.h>

#include <llmd/error.h>

/* ---- limits and the buffer --------------------------------------------------------------------------------------- */

llmd_event_limits llmd__event_limits(const llmd_event_limits *given)
{
  llmd_event_limits l = {0};
  if (given)
    memcpy(&l, given, given->size < sizeof l ? given->size : sizeof l);
  l.size = sizeof l;
  l.payload = l.payload ? l.payload : 4u << 20;
  l.payload = l.payload < INT32_MAX ? l.payload : INT32_MAX; /* the number of events is an int */
  l.names = l.names ? l.names : 4096;
  l.tokens = l.tokens ? l.tokens : 262144;
  l.extras = l.extras ? l.extras : 4096;
  l.depth = l.depth ? l.depth : 8;
  return l;
}

static size_t round_up(size_t n)
{
  return (n + 7) & ~(size_t)7;
}

size_t llmd_events_buffer(const llmd_event_limits *limits)
{
  const llmd_event_limits l = llmd__event_limits(limits);
  return round_up(sizeof(uint64_t) * l.names) + round_up(sizeof(llmd_str) * l.names) +
         round_up(sizeof(llmd_event_extra) * l.extras) + round_up(sizeof(uint32_t) * l.tokens);
}

static void cut(llmd__event_reader *r, void *buffer)
{
  uint8_t *p = buffer;
  r->name = (uint64_t *)(void *)p;
  p += round_up(sizeof *r->name * r->limit.names);
  r->digest = (llmd_str *)(void *)p;
  p += round_up(sizeof *r->digest * r->limit.names);
  r->extra = (llmd_event_extra *)(void *)p;
  p += round_up(sizeof *r->extra * r->limit.extras);
  r->token.value = (uint32_t *)(void *)p;
  r->token.room = r->limit.tokens;
  r->token.used = r->token.n = 0;
}

/* ---- one event --------------------------------------------------------------------------------------------------- */

static int refuse(llmd__event_reader *r, const uint8_t *at, int code)
{
  r->fault = at;
  return code;
}

/* Reads the field's value, or passes over it when `which` is none. */
static int take_field(llmd__event_reader *r, const llmd__event_form *form, uint32_t which, uint32_t *fields)
{
  const uint8_t *at = r->in.at;
  int rc;
  if (which == form->n) {
    rc = llmd__msgpack_skip_within(&r->in, r->limit.depth);
    return rc ? refuse(r, r->in.at, rc) : 0;
  }
  if (*fields >> which & 1)
    return refuse(r, at, LLMD_E_DUPLICATE);
  *fields |= 1u << which;
  r->fault = at;
  return form->field[which].read(r);
}

/* A map's key: text, or nothing that anybody knows (ptr NULL). */
static int next_key(llmd__msgpack *in, llmd_str *key)
{
  llmd__msgpack ahead = *in;
  llmd__msgpack_value v;
  const int rc = llmd__msgpack_next(&ahead, &v);
  *key = (llmd_str){NULL, 0};
  if (rc || v.kind != LLMD__MSGPACK_STR)
    return rc ? rc : llmd__msgpack_skip(in);
  *in = ahead;
  *key = v.text;
  return 0;
}

/* What the event in front of the reader says its type is. The reader stays. */
static int find_type(const llmd__event_reader *r, const llmd__msgpack_value *event, llmd_str *type)
{
  llmd__msgpack in = r->in;
  llmd__msgpack_value v;
  int rc = event->n ? 0 : LLMD_E_MISSING;
  if (event->kind == LLMD__MSGPACK_MAP) {
    llmd_str key = {NULL, 0};
    uint32_t i = 0;
    for (; rc == 0 && i < event->n; i++) {
      rc = next_key(&in, &key);
      if (rc || llmd__event_is(key, "type"))
        break;
      rc = llmd__msgpack_skip(&in);
    }
    rc = rc ? rc : i == event->n ? LLMD_E_MISSING : 0;
  }
  rc = rc ? rc : llmd__msgpack_next(&in, &v);
  if (rc == 0 && v.kind == LLMD__MSGPACK_STR)
    *type = v.text;
  return rc ? rc : v.kind == LLMD__MSGPACK_STR ? 0 : LLMD_E_TYPE;
}

/* The array's first member is the type. */
static int read_positions(llmd__event_reader *r, const llmd__event_form *form, uint32_t n, uint32_t *fields)
{
  int rc = llmd__msgpack_skip(&r->in);
  for (uint32_t i = 1; rc == 0 && i < n; i++)
    rc = take_field(r, form, i <= form->positions ? i - 1 : form->n, fields);
  return rc;
}

static int read_keys(llmd__event_reader *r, const llmd__event_form *form, uint32_t n, uint32_t *fields)
{
  uint32_t hint = 0, types = 0;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *at = r->in.at;
    llmd_str key;
    uint32_t which;
    int rc = next_key(&r->in, &key);
    if (rc)
      return refuse(r, r->in.at, rc);
    which = llmd__event_field_of(form, key, hint);
    hint = which + 1;
    if (which == form->n && llmd__event_is(key, "type") && types++)
      return refuse(r, at, LLMD_E_DUPLICATE);
    rc = take_field(r, form, which, fields);
    if (rc)
      return rc;
  }
  return 0;
}

/* Reads the event in front of the reader as far as it goes. */
static int read_event(llmd__event_reader *r)
{
  const uint8_t *at = r->in.at;
  const llmd__event_form *form;
  llmd__msgpack_value v;
  uint32_t fields = 0;
  int rc = llmd__msgpack_next(&r->in, &v);
  r->fault = at;
  if (rc == 0 && v.kind != LLMD__MSGPACK_ARRAY && v.kind != LLMD__MSGPACK_MAP)
    rc = LLMD_E_TYPE;
  rc = rc ? rc : find_type(r, &v, &r->event.type);
  if (rc)
    return rc;
  form = llmd__event_form_of(r->event.type);
  if (!form) {
    r->event.kind = LLMD_EVENT_UNKNOWN;
    r->in.at = at;
    return llmd__msgpack_skip(&r->in);
  }
  r->event.kind = form->kind;
  rc = v.kind == LLMD__MSGPACK_MAP ? read_keys(r, form, v.n, &fields) : read_positions(r, form, v.n, &fields);
  if (rc)
    return rc;
  r->fault = at;
  return llmd__event_finish(r, form, fields);
}

static void start_event(llmd__event_reader *r)
{
  r->event = (llmd_event){.size = sizeof r->event, .offset = (uint32_t)llmd__msgpack_offset(&r->in), .lora_id = -1,
                          .name = r->name, .token = r->token.value, .extra = r->extra};
}

/* What is left of an event that is refused. */
static void make_bad(llmd__event_reader *r, int code)
{
  const llmd_str type = r->event.type;
  r->event = (llmd_event){.size = sizeof r->event, .kind = LLMD_EVENT_BAD, .type = type, .code = code, .lora_id = -1,
                          .offset = (uint32_t)(r->fault - r->in.begin)};
}

/* ---- the batch --------------------------------------------------------------------------------------------------- */

typedef struct batch {
  llmd_batch_head head;
  const uint8_t *events; /* the first one; NULL: none were announced */
} batch;

static int take_time(llmd__msgpack *in, batch *b)
{
  llmd__msgpack_value v;
  const int rc = llmd__msgpack_next(in, &v);
  if (rc)
    return rc;
  switch (v.kind) {
  case LLMD__MSGPACK_NIL: return 0;
  case LLMD__MSGPACK_FLOAT: b->head.ts = v.f; return 0;
  case LLMD__MSGPACK_UINT: b->head.ts = (double)v.u; return 0;
  case LLMD__MSGPACK_INT: b->head.ts = -(double)(0 - v.u); return 0;
  default: return LLMD_E_TYPE;
  }
}

static int take_events(llmd__event_reader *r, batch *b)
{
  llmd__msgpack ahead = r->in;
  llmd__msgpack_value v;
  int rc = llmd__msgpack_next(&ahead, &v);
  if (rc)
    return rc;
  if (v.kind != LLMD__MSGPACK_ARRAY)
    return LLMD_E_TYPE;
  b->head.n = v.n;
  b->events = ahead.at;
  return llmd__msgpack_skip_keeping(&r->in, &r->token);
}

static int take_rank(llmd__msgpack *in, batch *b)
{
  llmd__msgpack_value v;
  const int rc = llmd__msgpack_next(in, &v);
  if (rc)
    return rc;
  if (v.kind != LLMD__MSGPACK_NIL && v.kind != LLMD__MSGPACK_UINT)
    return v.kind == LLMD__MSGPACK_INT ? LLMD_E_RANGE : LLMD_E_TYPE;
  if (v.kind == LLMD__MSGPACK_UINT && v.u > INT64_MAX)
    return LLMD_E_RANGE;
  b->head.rank = v.kind == LLMD__MSGPACK_UINT ? (int64_t)v.u : -1;
  return 0;
}

#define PARTS 3u
static int take_part(llmd__event_reader *r, batch *b, uint32_t which)
{
  switch (which) {
  case 0: return take_time(&r->in, b);
  case 1: return take_events(r, b);
  case 2: return take_rank(&r->in, b);
  default: return llmd__msgpack_skip(&r->in);
  }
}

static uint32_t part_of(llmd_str key)
{
  if (llmd__event_is(key, "ts"))
    return 0;
  if (llmd__event_is(key, "events"))
    return 1;
  return llmd__event_is(key, "data_parallel_rank") || llmd__event_is(key, "attn_dp_rank") ? 2 : PARTS;
}

/* Part i of a batch in this form. On failure the reader stands at the fault. */
static int find_part(llmd__event_reader *r, batch *b, uint32_t form, uint32_t i, uint32_t *seen)
{
  const uint8_t *at = r->in.at;
  uint32_t which = i;
  llmd_str key;
  int rc = form == LLMD__MSGPACK_MAP ? next_key(&r->in, &key) : 0;
  if (rc)
    return rc;
  if (form == LLMD__MSGPACK_MAP)
    which = part_of(key);
  if (which < PARTS && *seen >> which & 1)
    rc = LLMD_E_DUPLICATE;
  if (rc == 0) {
    *seen |= which < PARTS ? 1u << which : 0;
    at = r->in.at;
    rc = take_part(r, b, which);
  }
  if (rc == LLMD_E_TYPE || rc == LLMD_E_RANGE || rc == LLMD_E_DUPLICATE)
    r->in.at = at;
  return rc;
}

/* Checks the structure of all of it and finds the parts. On failure the reader stands at the fault. */
static int find_parts(llmd__event_reader *r, batch *b)
{
  llmd__msgpack_value v;
  uint32_t seen = 0;
  int rc = llmd__msgpack_next(&r->in, &v);
  if (rc == 0 && v.kind != LLMD__MSGPACK_ARRAY && v.kind != LLMD__MSGPACK_MAP) {
    r->in.at = r->in.begin;
    return LLMD_E_TYPE;
  }
  for (uint32_t i = 0; rc == 0 && i < v.n; i++)
    rc = find_part(r, b, v.kind, i, &seen);
  if (rc)
    return rc;
  if (r->in.at != r->in.end)
    return LLMD_E_SYNTAX;
  return b->events ? 0 : LLMD_E_MISSING;
}

static int hand_out(llmd__event_reader *r, const llmd_batch_head *head, llmd_event_fn fn, void *ud)
{
  for (uint32_t i = 0; i < head->n; i++) {
    const uint8_t *at = r->in.at;
    int rc;
    start_event(r);
    rc = read_event(r);
    if (rc) {
      make_bad(r, rc);
      r->in.at = at;
      rc = llmd__msgpack_skip(&r->in);
      if (rc)
        return rc;
    }
    if (fn(ud, head, &r->event))
      return LLMD_E_STOPPED;
  }
  return (int)head->n;
}

int llmd_events_decode(const void *payload, size_t len, const llmd_event_limits *limits, void *buffer,
                       llmd_event_fn fn, void *ud, uint32_t *offset)
{
  llmd__event_reader r;
  batch b = {.head = {.size = sizeof b.head, .ts = NAN, .rank = -1}};
  int rc;
  if ((!payload && len) || !buffer || !fn)
    return LLMD_E_INVALID;
  r.limit = llmd__event_limits(limits);
  llmd__msgpack_init(&r.in, payload, len);
  cut(&r, buffer);
  rc = len > r.limit.payload ? LLMD_E_LIMIT : find_parts(&r, &b);
  if (rc) {
    if (offset)
      *offset = (uint32_t)llmd__msgpack_offset(&r.in);
    return rc;
  }
  r.in.at = b.events;
  return hand_out(&r, &b.head, fn, ud);
}
