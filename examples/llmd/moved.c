#include "moved.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *name)
{
  uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *name; name++)
    h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h;
}

/* Where the name is, or the free place where it belongs. */
static uint32_t *slot_of(const struct moved *m, const char *name)
{
  uint32_t cap = m->room * 2;
  for (uint64_t i = hash_of(name);; i++) {
    uint32_t *slot = &m->slot[i % cap];
    if (!*slot || strcmp(m->row[*slot - 1].name, name) == 0)
      return slot;
  }
}

static int grow(struct moved *m)
{
  uint32_t room = m->room ? m->room * 2 : 64;
  struct moved_row *row = realloc(m->row, room * sizeof *row);
  uint32_t *slot;
  if (!row)
    return -1;
  m->row = row;
  slot = calloc((size_t)room * 2, sizeof *slot);
  if (!slot)
    return -1;
  free(m->slot);
  m->slot = slot;
  m->room = room;
  for (uint32_t i = 0; i < m->n; i++)
    *slot_of(m, m->row[i].name) = i + 1;
  return 0;
}

struct moved_row *moved_row(struct moved *m, const char *name)
{
  uint32_t *slot;
  size_t len = strlen(name) + 1;
  char *copy;
  if (m->n == m->room && grow(m))
    return NULL;
  slot = slot_of(m, name);
  if (*slot)
    return &m->row[*slot - 1];
  copy = malloc(len);
  if (!copy)
    return NULL;
  memcpy(copy, name, len);
  m->row[m->n] = (struct moved_row){.name = copy};
  *slot = ++m->n;
  return &m->row[m->n - 1];
}

static uint32_t by_how_much(const struct moved_row *r)
{
  return r->now > r->then ? r->now - r->then : r->then - r->now;
}

static int compare(const void *a, const void *b)
{
  const struct moved_row *x = a, *y = b;
  uint32_t p = by_how_much(x), q = by_how_much(y);
  return p != q ? (p < q ? 1 : -1) : strcmp(x->name, y->name);
}

void moved_sort(struct moved *m)
{
  if (m->n)
    qsort(m->row, m->n, sizeof *m->row, compare);
}

void moved_free(struct moved *m)
{
  for (uint32_t i = 0; i < m->n; i++)
    free(m->row[i].name);
  free(m->row);
  free(m->slot);
}
