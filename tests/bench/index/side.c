/* glibc and musl: affinity, shared anonymous memory. */
#define _GNU_SOURCE
#include "side.h"

#include <malloc.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BATCH (1u << 17)
#define EVENT_MAX 64u

side_setup side_set;
int side_wrong;

static void die(const char *what, int rc)
{
  fprintf(stderr, "bench_index: %s: %s\n", what, llmd_errname(rc));
  exit(2);
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

static llmd_index_options options_of(uint64_t bytes, uint32_t rows)
{
  const llmd_index_options o = {.size = sizeof o, .rows = rows, .bytes = bytes, .seed = 42};
  return o;
}

void side_format(side *s)
{
  const llmd_index_options o = options_of(s->bytes, s->rows);
  int rc;
  llmd_index_close(s->index);
  if ((rc = llmd_index_format(s->mem, s->len, &o)))
    die("index format", rc);
  if ((rc = llmd_index_open(s->mem, s->len, NULL, &s->index, NULL)))
    die("index open", rc);
  if ((rc = llmd_index_takeover(s->index)) < 0)
    die("index takeover", rc);
  s->secret = llmd_index_secret(s->index);
}

void side_open(side *s, uint64_t bytes, uint32_t rows)
{
  const llmd_index_options o = options_of(bytes, rows);
  memset(s, 0, sizeof *s);
  s->bytes = bytes;
  s->rows = rows;
  s->len = llmd_index_size(&o);
  if (!s->len)
    die("index size", LLMD_E_INVALID);
  s->mem = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s->mem == MAP_FAILED)
    die("mmap", LLMD_E_NOMEM);
  side_format(s);
  s->scratch = work_need(calloc(1, llmd_index_scratch(s->index)));
  s->hit = work_need(calloc(rows, sizeof *s->hit));
}

void side_close(side *s)
{
  if (s->errors) {
    fprintf(stderr, "# WRONG: %llu calls failed\n", (unsigned long long)s->errors);
    side_wrong++;
  }
  llmd_index_close(s->index);
  munmap(s->mem, s->len);
  free(s->scratch);
  free(s->hit);
  memset(s, 0, sizeof *s);
}

llmd_endpoint_id side_endpoint(uint32_t worker)
{
  return (llmd_endpoint_id)1 << 32 | worker;
}

static void failed(side *s)
{
  if (s->full)
    s->lost++;
  else
    s->errors++;
}

static void store(side *s, const work_batch *b, const work_event *e)
{
  static const llmd_chain_root root = {.size = sizeof root, .block_tokens = SIDE_BLOCK_TOKENS};
  const llmd_endpoint_id who = side_endpoint(e->worker);
  llmd_key key[EVENT_MAX];
  llmd_chain chain;
  llmd_block parent;
  for (uint32_t at = 0, n; at < e->n; at += n) {
    const llmd_block *after = e->has_parent || at ? &parent : NULL;
    n = e->n - at < EVENT_MAX ? e->n - at : EVENT_MAX;
    if (!at && e->has_parent && llmd_index_find(s->index, who, e->parent, &parent)) {
      failed(s);
      return;
    }
    if (after)
      chain = (llmd_chain){parent.key, SIDE_BLOCK_TOKENS, parent.depth + 1};
    else
      llmd_chain_begin(&chain, s->secret, &root);
    llmd_chain_extend(&chain, s->secret, b->token[e->at + at], (size_t)n * SIDE_BLOCK_TOKENS, NULL, 0, key, n);
    if (llmd_index_store(s->index, who, LLMD_TIER_GPU, after, key, b->name + e->at + at, n, &parent) != (int)n) {
      failed(s);
      return;
    }
  }
}

void side_apply(side *s, const work_batch *b, side_cost *cost)
{
  const uint64_t wall = side_now(), cpu = side_cpu();
  for (size_t i = 0; i < b->events; i++) {
    const work_event *e = &b->event[i];
    if (!e->remove)
      store(s, b, e);
    else if (llmd_index_drop(s->index, side_endpoint(e->worker), LLMD_TIER_GPU, b->name + e->at, e->n) < 0)
      s->errors++;
  }
  if (cost) {
    cost->cpu += (double)(side_cpu() - cpu) * 1e-9;
    cost->wall += (double)(side_now() - wall) * 1e-9;
  }
}

llmd_key *side_keys(const side *s, const work_chain *c)
{
  const llmd_chain_root root = {.size = sizeof root, .block_tokens = SIDE_BLOCK_TOKENS};
  llmd_key *out = work_need(malloc(c->n * sizeof *out));
  llmd_chain chain;
  llmd_chain_begin(&chain, s->secret, &root);
  for (uint32_t i = 0; i < c->n; i++) {
    const uint32_t token[2] = {(uint32_t)c->content[i], (uint32_t)(c->content[i] >> 32)};
    llmd_chain_extend(&chain, s->secret, token, 2, NULL, 0, &out[i], 1);
  }
  return out;
}

uint64_t side_ask(side *s, const llmd_key *keys, uint32_t n)
{
  const uint64_t start = side_now();
  const int hits = llmd_index_query(s->index, s->scratch, keys, n, s->hit, s->rows, NULL);
  const uint64_t took = side_now() - start;
  s->hits = hits > 0 ? (uint32_t)hits : 0;
  s->errors += hits < 0;
  return took;
}

uint32_t side_answer(const side *s, work_depth *out)
{
  for (uint32_t i = 0; i < s->hits; i++)
    out[i] = (work_depth){(uint32_t)s->hit[i].endpoint, s->hit[i].blocks};
  return s->hits;
}

int side_right(const side *s, const work_depth *want, uint32_t n)
{
  uint64_t got = 0;
  for (uint32_t i = 0; i < s->hits; i++) {
    const work_depth d = {(uint32_t)s->hit[i].endpoint, s->hit[i].blocks};
    got += work_digest(&d, 1);
  }
  return s->hits == n && got == work_digest(want, n);
}

uint32_t side_depth(const side *s, uint32_t worker)
{
  for (uint32_t i = 0; i < s->hits; i++)
    if (s->hit[i].endpoint == side_endpoint(worker))
      return s->hit[i].blocks;
  return 0;
}

llmd_index_stats side_stats(const side *s)
{
  llmd_index_stats st = {.size = sizeof st};
  int rc = llmd_index_stats_get(s->index, &st);
  if (rc)
    die("stats", rc);
  return st;
}

void side_settle(side *s)
{
  while (llmd_index_tick(s->index, 1, 0) == 1)
    ;
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static void pump(side_feeder *f)
{
  side_apply(f->side, &f->batch, &f->cost);
  f->blocks += f->batch.blocks;
  f->batch.events = f->batch.blocks = 0;
}

void side_feed(side_feeder *f)
{
  if (f->batch.blocks >= BATCH)
    pump(f);
}

void side_fed(side_feeder *f, const char *name)
{
  pump(f);
  if (name) {
    side_row("%s_blocks_per_s", (double)f->blocks / f->cost.wall, name);
    side_row("%s_blocks_per_cpu_s", (double)f->blocks / f->cost.cpu, name);
  }
  work_batch_free(&f->batch);
}

/* ---- clocks and rows --------------------------------------------------------------------------------------------- */

static uint64_t read_clock(clockid_t id)
{
  struct timespec t;
  (void)clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t side_now(void)
{
  return read_clock(CLOCK_MONOTONIC);
}

uint64_t side_cpu(void)
{
  return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void side_pin(int core)
{
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < 2; i++)
    if (core < 0 || core == i)
      CPU_SET((unsigned)i, &set);
  (void)sched_setaffinity(0, sizeof set, &set); /* a machine with one core measures on that */
}

double side_rss(void)
{
  unsigned long all = 0, resident = 0;
  FILE *f;
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  f = fopen("/proc/self/statm", "r");
  if (f) {
    if (fscanf(f, "%lu %lu", &all, &resident) != 2)
      resident = 0;
    fclose(f);
  }
  return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

void side_sample(side_samples *s, uint64_t v)
{
  if (s->n == s->cap) {
    s->cap = 2 * s->cap + 4096;
    s->v = work_need(realloc(s->v, s->cap * sizeof *s->v));
  }
  s->v[s->n++] = v;
}

static int by_size(const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

double side_percentile(side_samples *s, double p)
{
  const size_t at = (size_t)((double)s->n * p);
  if (!s->n)
    return 0;
  qsort(s->v, s->n, sizeof *s->v, by_size);
  return (double)s->v[at < s->n ? at : s->n - 1];
}

void side_samples_free(side_samples *s)
{
  free(s->v);
  memset(s, 0, sizeof *s);
}

void side_row(const char *fmt, double value, ...)
{
  va_list args;
  char name[96];
  va_start(args, value);
  vsnprintf(name, sizeof name, fmt, args);
  va_end(args);
  printf("{\"side\":\"llmd\",\"row\":\"%s\",\"value\":%.*f}\n", name, value >= 100 || value <= -100 ? 0 : 3, value);
  fflush(stdout);
}

void side_must(const char *row, double value, double right)
{
  side_row("%s", value, row);
  if (value >= right && value <= right)
    return;
  fprintf(stderr, "# WRONG: %s is %g, must be %g\n", row, value, right);
  side_wrong++;
}
