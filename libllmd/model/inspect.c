#include "model/inspect.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/columns.h"
#include "model/strings.h"

void llmd__fault(llmd__inspector *in, const void *where, const char *part, const char *fmt, ...)
{
  char text[256];
  va_list ap;
  if (in->enough)
    return;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  in->faults++;
  if (in->fn)
    in->enough = in->fn(in->ud, (uint64_t)((const char *)where - (const char *)in->g), part, text);
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static void inspect_attribute(llmd__inspector *in, const llmd__attribute *at)
{
  llmd__attribute a;
  memcpy(&a, at, sizeof a);
  if (a.type < LLMD_TYPE_F64 || a.type > LLMD_TYPE_SET)
    llmd__fault(in, &at->type, "attributes", "type %u is none", a.type);
  if (a.scope < LLMD_SCOPE_ENDPOINT || a.scope > LLMD_SCOPE_ENDPOINT_REQUEST)
    llmd__fault(in, &at->scope, "attributes", "scope %u is none", a.scope);
  if (a.type == LLMD_TYPE_SET && a.set >= LLMD__SETS)
    llmd__fault(in, &at->set, "attributes", "set %u, there are %u", a.set, LLMD__SETS);
  if (!*a.name || !memchr(a.name, 0, sizeof a.name))
    llmd__fault(in, at->name, "attributes", "the name is empty or does not end");
}

static uint32_t attributes(const llmd__region *g)
{
  uint32_t n = atomic_load_explicit(&g->n_attributes, memory_order_acquire);
  return n < g->caps.attributes ? n : g->caps.attributes;
}

void llmd__inspect_attributes(llmd__inspector *in)
{
  uint32_t n = atomic_load(&in->g->n_attributes);
  if (n > in->g->caps.attributes)
    llmd__fault(in, &in->g->n_attributes, "head", "%u attributes, the cap is %u", n, in->g->caps.attributes);
  for (uint32_t i = 0; i < attributes(in->g); i++)
    inspect_attribute(in, &llmd__region_attributes(in->g)[i]);
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */

static int take_units(llmd__inspector *in, uint32_t id, uint64_t n)
{
  for (uint64_t i = 0; i < n; i++)
    if (llmd__bit(in->taken, id - 1 + i))
      return 0;
  for (uint64_t i = 0; i < n; i++)
    llmd__bit_set(in->taken, id - 1 + i);
  llmd__bit_set(in->entry, id - 1);
  return 1;
}

/* One entry of a chain; *bytes = what it takes, 0 = the chain cannot be followed. Returns the next one. */
static uint32_t inspect_entry(llmd__inspector *in, uint32_t bucket, uint32_t id, const void *from, uint64_t *bytes)
{
  const llmd__region *g = in->g;
  uint32_t mask = g->caps.string_slots - 1, hash, len;
  const char *text;
  uint64_t word;
  *bytes = 0;
  if (!llmd__string_fits(g, id, 0)) {
    llmd__fault(in, from, "string table", "string %u lies outside", id);
    return 0;
  }
  word = atomic_load_explicit(llmd__string_at(g, id), memory_order_acquire);
  len = llmd__string_len(word);
  text = (const char *)(const void *)(llmd__string_at(g, id) + 1);
  if (!len || !llmd__string_fits(g, id, len) || !take_units(in, id, llmd__string_need(len) / LLMD__STRING_UNIT)) {
    llmd__fault(in, llmd__string_at(g, id), "strings", "string %u of length %u: empty, too long, or part of another",
                id, len);
    return 0;
  }
  hash = llmd__string_hash_of(g, text, len);
  if ((hash & mask) != bucket || (hash & 0x7ffffu) != llmd__string_hash(word) || text[len])
    llmd__fault(in, llmd__string_at(g, id), "strings", "string %u does not have the hash it is filed under", id);
  *bytes = llmd__string_need(len);
  return llmd__string_next(word);
}

void llmd__inspect_strings(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  uint64_t used = 0, bytes;
  uint32_t count = 0;
  for (uint32_t b = 0; b < g->caps.string_slots && !in->enough; b++) {
    const void *from = &llmd__string_table(g)[b];
    uint32_t id = atomic_load_explicit(&llmd__string_table(g)[b], memory_order_acquire);
    while (id) { /* ends: each step takes units that were free */
      const void *here = from;
      uint32_t next = inspect_entry(in, b, id, here, &bytes);
      if (!bytes)
        break;
      used += bytes;
      count++;
      from = llmd__string_at(g, id);
      id = next;
    }
  }
  if (count != atomic_load(&g->string_count))
    llmd__fault(in, &g->string_count, "head", "%u strings are counted, %u are there", atomic_load(&g->string_count),
                count);
  if (used != atomic_load(&g->string_used))
    llmd__fault(in, &g->string_used, "head", "strings are counted as %llu bytes, and take %llu",
                (unsigned long long)atomic_load(&g->string_used), (unsigned long long)used);
}

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

static int is_string(const llmd__inspector *in, uint32_t id)
{
  return id && id <= in->units && llmd__bit(in->entry, id - 1);
}

static void inspect_text(llmd__inspector *in, const uint32_t *where, const char *part, const char *what, int optional)
{
  uint32_t id;
  memcpy(&id, where, sizeof id);
  if (!is_string(in, id) && !(optional && !id))
    llmd__fault(in, where, part, "%s %u is not a string", what, id);
}

static void inspect_labels(llmd__inspector *in, const llmd__buffer_view *v, uint32_t i, const char *part)
{
  uint32_t n = v->row[i].n_labels, most = in->g->caps.labels;
  const uint32_t *pair = v->label + (size_t)i * most * 2;
  if (n > most)
    llmd__fault(in, &v->row[i].n_labels, part, "%u labels, the cap is %u", n, most);
  for (uint32_t k = 0; k < n && k < most; k++) {
    inspect_text(in, pair + 2 * k, part, "label", 0);
    inspect_text(in, pair + 2 * k + 1, part, "label value", 1);
  }
}

static void inspect_columns(llmd__inspector *in, const llmd__buffer_view *v, uint32_t i, uint32_t n, const char *part)
{
  const llmd__region *g = in->g;
  for (uint32_t k = 0; k < n; k++) {
    const llmd__attribute *a = &llmd__region_attributes(g)[k];
    if (a->type == LLMD_TYPE_ID && a->scope == LLMD_SCOPE_ENDPOINT)
      inspect_text(in, &llmd__column_id(v, g, k)[i], part, "value", 1);
  }
  for (uint32_t s = 0; s < LLMD__SETS; s++) {
    const uint32_t *set = llmd__column_set(v, g, s, i);
    uint32_t members = set[0];
    if (members > g->caps.models)
      llmd__fault(in, set, part, "%u members of a set, the cap is %u", members, g->caps.models);
    for (uint32_t k = 1; k <= members && k <= g->caps.models; k++)
      inspect_text(in, set + k, part, "member", 0);
  }
}

/* What staging and buffers have in common. */
static void inspect_row(llmd__inspector *in, const llmd__buffer_view *v, uint32_t i, uint32_t n_attributes,
                        const char *part)
{
  llmd__row r;
  memcpy(&r, &v->row[i], sizeof r);
  inspect_text(in, &v->row[i].name, part, "name", 0);
  inspect_text(in, &v->row[i].address, part, "address", 0);
  if (r.port > 65535)
    llmd__fault(in, &v->row[i].port, part, "port %u", r.port);
  if ((uint32_t)r.id != r.slot || r.slot >= in->g->caps.endpoints)
    llmd__fault(in, &v->row[i], part, "endpoint %llx in slot %u", (unsigned long long)r.id, r.slot);
  if (is_string(in, r.name)) {
    if (llmd__bit(in->named, r.name - 1))
      llmd__fault(in, &v->row[i].name, part, "two endpoints have the name %u", r.name);
    llmd__bit_set(in->named, r.name - 1);
  }
  inspect_labels(in, v, i, part);
  inspect_columns(in, v, i, n_attributes, part);
}

static uint32_t rows(llmd__inspector *in, const llmd__buffer_view *v, const char *part)
{
  uint32_t n = v->head->n;
  if (n > in->g->caps.endpoints)
    llmd__fault(in, &v->head->n, part, "%u rows, the cap is %u", n, in->g->caps.endpoints);
  memset(in->named, 0, (size_t)((in->units + 63) / 64) * sizeof *in->named);
  return n < in->g->caps.endpoints ? n : in->g->caps.endpoints;
}

static void inspect_staging(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  llmd__buffer_view v;
  uint32_t n;
  llmd__region_view((llmd__region *)(uintptr_t)g, LLMD__BUFFERS, &v);
  n = rows(in, &v, "staging");
  for (uint32_t i = 0; i < n && !in->enough; i++) {
    uint64_t id = v.row[i].id;
    if (!id)
      continue;
    if (atomic_load(&llmd__region_totals(g)[i].generation) != (uint32_t)(id >> 32) || v.row[i].slot != i)
      llmd__fault(in, &v.row[i], "staging", "endpoint %llx is not the one of slot %u", (unsigned long long)id, i);
    inspect_row(in, &v, i, attributes(g), "staging");
  }
}

static void inspect_buffer(llmd__inspector *in, uint32_t b)
{
  const llmd__region *g = in->g;
  llmd__buffer_view v;
  uint32_t n, known;
  llmd__region_view((llmd__region *)(uintptr_t)g, b, &v);
  n = rows(in, &v, "buffers");
  known = v.head->n_attributes;
  if (!v.head->generation)
    llmd__fault(in, v.head, "buffers", "buffer %u is in use and was never finished", b);
  if (known > attributes(g))
    llmd__fault(in, &v.head->n_attributes, "buffers", "%u columns, there are %u attributes", known, attributes(g));
  for (uint32_t i = 0; i < n && !in->enough; i++) {
    uint32_t slot = v.row[i].slot;
    inspect_row(in, &v, i, known < attributes(g) ? known : attributes(g), "buffers");
    if (slot < g->caps.endpoints && v.row_of[slot] != i)
      llmd__fault(in, &v.row_of[slot], "buffers", "slot %u is in row %u, not in row %u", slot, i, v.row_of[slot]);
  }
  for (uint32_t slot = 0; slot < g->caps.endpoints && !in->enough; slot++)
    if (v.row_of[slot] != LLMD__NO_ROW && v.row_of[slot] >= n)
      llmd__fault(in, &v.row_of[slot], "buffers", "slot %u is in row %u of %u", slot, v.row_of[slot], n);
}

/* Bit per buffer that somebody may read. */
static uint32_t read_buffers(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  uint32_t bits = 0, current = atomic_load(&g->current);
  if (current > LLMD__BUFFERS)
    llmd__fault(in, &g->current, "head", "buffer %u is published, there are %u", current, LLMD__BUFFERS);
  else if (current)
    bits = 1u << (current - 1);
  for (uint32_t i = 0; i < g->caps.lanes; i++) {
    uint32_t pin = atomic_load(&llmd__region_lanes(g)[i].pin);
    if (pin && pin <= LLMD__BUFFERS)
      bits |= 1u << (pin - 1);
  }
  return bits;
}

void llmd__inspect_endpoints(llmd__inspector *in)
{
  uint32_t bits = read_buffers(in);
  inspect_staging(in);
  for (uint32_t b = 0; b < LLMD__BUFFERS; b++)
    if (bits >> b & 1)
      inspect_buffer(in, b);
}

/* ---- tickets ---------------------------------------------------------------------------------------------------- */

static void inspect_charge(llmd__inspector *in, const llmd__charge *c)
{
  uint64_t endpoint = atomic_load_explicit(&c->endpoint, memory_order_relaxed);
  int64_t tokens = atomic_load_explicit(&c->tokens, memory_order_relaxed);
  uint32_t requests = atomic_load_explicit(&c->requests, memory_order_relaxed);
  if ((uint32_t)endpoint >= in->g->caps.endpoints)
    llmd__fault(in, c, "tickets", "a charge to endpoint %llx", (unsigned long long)endpoint);
  if (tokens < 0 || requests > 1)
    llmd__fault(in, c, "tickets", "a charge of %u requests and %lld tokens", requests, (long long)tokens);
}

/* Of the two bits that say how an endpoint is, one value is none. */
static void inspect_health(llmd__inspector *in)
{
  for (uint32_t i = 0; i < in->g->caps.endpoints && !in->enough; i++) {
    const llmd__health *h = &llmd__region_healths(in->g)[i];
    uint64_t life = atomic_load_explicit(&h->life, memory_order_relaxed);
    if ((life >> 46 & 3) == 3)
      llmd__fault(in, h, "health", "state %llx is none", (unsigned long long)life);
  }
}

void llmd__inspect_tickets(llmd__inspector *in)
{
  const llmd__region *g = in->g;
  inspect_health(in);
  for (uint32_t i = 0; i < g->caps.tickets && !in->enough; i++) {
    const llmd__ticket *r = &llmd__region_tickets(g)[i];
    uint64_t state = atomic_load_explicit(&r->state, memory_order_acquire);
    uint32_t n = atomic_load_explicit(&r->n, memory_order_relaxed);
    uint32_t next = (uint32_t)atomic_load_explicit(&r->next, memory_order_relaxed);
    if ((state & 0xff) > LLMD__TICKET_LEAVING || state >> 40)
      llmd__fault(in, &r->state, "tickets", "state %llx is none", (unsigned long long)state);
    if ((state & 0xff) != LLMD__TICKET_LIVE)
      continue;
    if (n > LLMD__CHARGES || next > g->caps.tickets)
      llmd__fault(in, r, "tickets", "%u charges, and the next record is %u", n, next);
    for (uint32_t k = 0; k < n && k < LLMD__CHARGES; k++)
      inspect_charge(in, &r->charge[k]);
  }
}
