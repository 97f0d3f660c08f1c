/* The conversation trace: each request is a list of ids, an id stands for 512 tokens, which are 32 blocks here. */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS_PER_ID 32u

static char *read_file(const char *path)
{
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  size_t n = 0, cap = 0, got;
  if (!f)
    return NULL;
  do {
    if (n + 65536 > cap)
      text = work_need(realloc(text, cap = 2 * cap + 131072));
    got = fread(text + n, 1, 65535, f);
    n += got;
  } while (got);
  fclose(f);
  text[n] = 0;
  return text;
}

/* The ids between the brackets at `at` as a chain. */
static void read_ids(const char *at, const char *end, work_chain *out)
{
  uint32_t n = 1;
  for (const char *p = at; p < end; p++)
    n += *p == ',';
  work_chain_reset(out, n * BLOCKS_PER_ID);
  while (at < end) {
    char *next;
    const unsigned long long id = strtoull(at, &next, 10);
    if (next == at)
      break;
    work_chain_add(out, 900000000 + id, BLOCKS_PER_ID);
    for (at = next; at < end && (*at == ',' || *at == ' '); at++)
      ;
  }
  work_chain_name(out);
}

int work_trace_open(work_trace *t, const char *path, uint32_t most)
{
  char *text = read_file(path), *line = text;
  uint32_t cap = 0;
  memset(t, 0, sizeof *t);
  if (!text)
    return 0;
  while (t->requests < most && (line = strstr(line, "\"hash_ids\""))) {
    char *open = strchr(line, '['), *end = open ? strchr(open, ']') : NULL;
    if (!end)
      break;
    if (t->requests == cap) {
      cap = 2 * cap + 1024;
      t->request = work_need(realloc(t->request, cap * sizeof *t->request));
    }
    memset(&t->request[t->requests], 0, sizeof *t->request);
    read_ids(open + 1, end, &t->request[t->requests++]);
    line = end;
  }
  free(text);
  return t->requests > 0;
}

void work_trace_close(work_trace *t)
{
  for (uint32_t i = 0; i < t->requests; i++)
    work_chain_free(&t->request[i]);
  free(t->request);
  memset(t, 0, sizeof *t);
}

/* ---- the right answers ------------------------------------------------------------------------------------------- */

/* A plain map from names to sets of workers. The blocks of an id are stored together always, so its last one stands for
 * all of them. */
struct holders {
  uint64_t name; /* 0 = free */
  uint64_t worker[4];
};
struct map {
  struct holders *slot;
  size_t mask, n;
};

static struct holders *find(const struct map *m, uint64_t name)
{
  size_t i = work_mix(name) & m->mask;
  while (m->slot[i].name && m->slot[i].name != name)
    i = (i + 1) & m->mask;
  return &m->slot[i];
}

static void grow(struct map *m)
{
  struct map bigger = {.mask = 2 * m->mask + 1};
  bigger.slot = work_need(calloc(bigger.mask + 1, sizeof *bigger.slot));
  bigger.n = m->n;
  for (size_t i = 0; i <= m->mask; i++)
    if (m->slot[i].name)
      *find(&bigger, m->slot[i].name) = m->slot[i];
  free(m->slot);
  *m = bigger;
}

/* Depth of each worker along the chain; returns the digest. */
static uint64_t walk(const struct map *m, const work_chain *c, uint32_t workers, uint32_t *depth)
{
  uint64_t active[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}, sum = 0;
  memset(depth, 0, 256 * sizeof *depth);
  for (uint32_t p = BLOCKS_PER_ID - 1; p < c->n; p += BLOCKS_PER_ID) {
    const struct holders *h = find(m, c->name[p]);
    int any = 0;
    for (int k = 0; h->name && k < 4; k++) {
      active[k] &= h->worker[k];
      any |= active[k] != 0;
      for (uint32_t b = 0; b < 64; b++)
        if (active[k] >> b & 1)
          depth[64 * (uint32_t)k + b] = p + 1;
    }
    if (!any)
      break;
  }
  for (uint32_t w = 0; w < workers; w++)
    if (depth[w])
      sum += work_mix((uint64_t)w << 32 | depth[w]);
  return sum;
}

static uint64_t hold(struct map *m, const work_chain *c, uint32_t worker)
{
  const uint64_t bit = UINT64_C(1) << worker % 64;
  uint64_t fresh = 0;
  for (uint32_t p = BLOCKS_PER_ID - 1; p < c->n; p += BLOCKS_PER_ID) {
    struct holders *h = find(m, c->name[p]);
    if (!h->name) {
      h->name = c->name[p];
      m->n++;
    }
    fresh += h->worker[worker / 64] & bit ? 0 : BLOCKS_PER_ID;
    h->worker[worker / 64] |= bit;
    if (2 * m->n > m->mask)
      grow(m);
  }
  return fresh;
}

void work_replay_open(work_replay *r, const work_trace *t, uint32_t workers)
{
  struct map m = {.mask = 65535};
  uint32_t depth[256];
  memset(r, 0, sizeof *r);
  r->have = work_need(calloc(t->requests, sizeof *r->have));
  r->digest = work_need(calloc(t->requests, sizeof *r->digest));
  m.slot = work_need(calloc(m.mask + 1, sizeof *m.slot));
  for (uint32_t i = 0; i < t->requests; i++) {
    r->digest[i] = walk(&m, &t->request[i], workers, depth);
    r->have[i] = depth[i % workers];
    r->held += hold(&m, &t->request[i], i % workers);
  }
  free(m.slot);
}

void work_replay_close(work_replay *r)
{
  free(r->have);
  free(r->digest);
  memset(r, 0, sizeof *r);
}
