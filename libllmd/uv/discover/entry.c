#include "uv/discover/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && (!a->len || memcmp(a->ptr, b->ptr, a->len) == 0);
}

static uint32_t mix(uint32_t h, const llmd_str *s)
{
  for (size_t i = 0; i < s->len; i++)
    h = (h ^ (unsigned char)s->ptr[i]) * 16777619u;
  return (h ^ 0x100u) * 16777619u;
}

static uint32_t hash_of(const llmd_endpoint *e)
{
  uint32_t h = mix(mix(mix(2166136261u, &e->space), &e->name), &e->address);
  return h ^ e->port * 2654435761u ^ e->rank * 2246822519u;
}

static size_t bytes_of(const llmd_endpoint *e)
{
  size_t n = e->name.len + e->space.len + e->address.len + e->n_labels * sizeof(llmd_label);
  for (uint32_t i = 0; i < e->n_labels; i++)
    n += e->labels[i].key.len + e->labels[i].value.len;
  return n;
}

static llmd_str put(char **at, const llmd_str *s)
{
  const llmd_str out = {*at, s->len};
  if (s->len)
    memcpy(*at, s->ptr, s->len);
  *at += s->len;
  return out;
}

/* e's own copy of everything it points to. */
static int copy(llmd__entry *out, const llmd_endpoint *e)
{
  llmd_label *labels = malloc(bytes_of(e) + 1);
  char *at = (char *)(labels + e->n_labels);
  if (!labels)
    return LLMD_E_NOMEM;
  out->block = labels;
  out->e = *e;
  out->e.labels = labels;
  out->e.name = put(&at, &e->name);
  out->e.space = put(&at, &e->space);
  out->e.address = put(&at, &e->address);
  for (uint32_t i = 0; i < e->n_labels; i++) {
    labels[i].key = put(&at, &e->labels[i].key);
    labels[i].value = put(&at, &e->labels[i].value);
  }
  out->hash = hash_of(&out->e);
  return 0;
}

int llmd__entries_add(llmd__entries *l, const llmd_endpoint *e, uint32_t origin)
{
  llmd_endpoint whole = *e;
  char name[300];
  if (l->n == l->room) {
    const uint32_t room = l->room ? 2 * l->room : 32;
    llmd__entry *p = realloc(l->at, room * sizeof *p);
    if (!p)
      return LLMD_E_NOMEM;
    l->at = p;
    l->room = room;
  }
  if (!whole.space.len)
    whole.space = (llmd_str){"default", 7};
  if (!whole.name.len) {
    int n = snprintf(name, sizeof name, "%.*s:%u", (int)(e->address.len < 256 ? e->address.len : 256), e->address.ptr,
                     (unsigned)e->port);
    if (e->rank)
      n += snprintf(name + n, sizeof name - (size_t)n, "/%u", (unsigned)e->rank);
    whole.name = (llmd_str){name, (size_t)n};
  }
  memset(&l->at[l->n], 0, sizeof *l->at);
  l->at[l->n].origin = origin;
  return copy(&l->at[l->n], &whole) ? LLMD_E_NOMEM : (l->n++, 0);
}

int llmd__entry_become(llmd__entry *e, const llmd__entry *other)
{
  void *old = e->block;
  if (copy(e, &other->e))
    return LLMD_E_NOMEM;
  free(old);
  return 0;
}

static int same_name(const llmd_endpoint *a, const llmd_endpoint *b)
{
  return same(&a->name, &b->name) && same(&a->space, &b->space);
}

static int same_place(const llmd_endpoint *a, const llmd_endpoint *b)
{
  return a->port == b->port && a->rank == b->rank && same(&a->address, &b->address);
}

llmd__entry *llmd__entries_find(const llmd__entries *l, const llmd__entry *like)
{
  for (uint32_t i = 0; i < l->n; i++)
    if (l->at[i].hash == like->hash && same_place(&l->at[i].e, &like->e) && same_name(&l->at[i].e, &like->e))
      return &l->at[i];
  return NULL;
}

llmd__entry *llmd__entries_clash(const llmd__entries *l, const llmd__entry *with)
{
  for (uint32_t i = 0; i < l->n; i++)
    if (same_place(&l->at[i].e, &with->e) || same_name(&l->at[i].e, &with->e))
      return &l->at[i];
  return NULL;
}

/* In the same order: files are written by programs, and a reordering costs no more than a relabelling. */
int llmd__entry_labels_same(const llmd__entry *a, const llmd__entry *b)
{
  if (a->e.n_labels != b->e.n_labels)
    return 0;
  for (uint32_t i = 0; i < a->e.n_labels; i++)
    if (!same(&a->e.labels[i].key, &b->e.labels[i].key) || !same(&a->e.labels[i].value, &b->e.labels[i].value))
      return 0;
  return 1;
}

void llmd__entries_remove(llmd__entries *l, uint32_t i)
{
  free(l->at[i].block);
  memmove(l->at + i, l->at + i + 1, (l->n - i - 1) * sizeof *l->at);
  l->n--;
}

void llmd__entries_clear(llmd__entries *l)
{
  for (uint32_t i = 0; i < l->n; i++)
    free(l->at[i].block);
  free(l->at);
  memset(l, 0, sizeof *l);
}
