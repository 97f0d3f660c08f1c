/* A policy made from a text without a scheduler around it: the loader's own functions, a batch of eight endpoints, an
 * allocator that counts. For the tests that torment policies, and for the fuzzer. */
#ifndef TESTS_LUA_HOSTILE_H
#define TESTS_LUA_HOSTILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define VICTIM_ROWS 8u

const llmd_loader *llmd_loader_module(uint32_t abi);

typedef struct tally {
  size_t blocks, bytes;
  uint64_t calls; /* of the allocator, all kinds */
  uint64_t fail;  /* the allocation that fails, counted from 1; 0 = none */
  uint64_t made;
} tally;

static inline void *tally_fn(void *ud, void *ptr, size_t osize, size_t nsize)
{
  tally *t = ud;
  void *p;
  t->calls++;
  if (!nsize) {
    if (ptr) {
      t->blocks--;
      t->bytes -= osize;
    }
    free(ptr);
    return NULL;
  }
  if (t->fail && ++t->made == t->fail)
    return NULL;
  p = realloc(ptr, nsize);
  if (!p)
    return NULL;
  t->blocks += !ptr;
  t->bytes += nsize - (ptr ? osize : 0);
  return p;
}

typedef struct victim {
  tally tally;
  llmd_allocator alloc;
  llmd_host host;
  void *policy;
  const llmd_plugin *plugin;
  llmd__lua_self *self;
  void *own;
  llmd_err err;
  uint32_t n_reads;
  const double *f64[LLMD__LUA_READS];
  const uint32_t *id[LLMD__LUA_READS];
  llmd_read_value value[LLMD__LUA_READS];
  double cells[VICTIM_ROWS];
  uint32_t ids[VICTIM_ROWS];
  llmd_endpoint_id endpoint[VICTIM_ROWS];
  llmd_request_view view;
  llmd_batch batch;
  double *scratch;
  uint32_t gets; /* of the table, in this decision */
} victim;

static inline int victim_text(void *ctx, uint32_t id, llmd_str *out)
{
  (void)ctx;
  out->ptr = "text";
  out->len = id ? 4 : 0;
  return 0;
}

static inline int victim_get(void *ctx, const char *name, size_t len, uint64_t *value)
{
  victim *v = ctx;
  (void)name;
  if (v->gets++ == LLMD_HOST_READS)
    return LLMD_E_LIMIT;
  *value = len;
  return len % 2 == 0;
}

static inline int victim_put(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl)
{
  (void)ctx;
  (void)name;
  (void)len;
  (void)value;
  (void)ttl;
  return 0;
}

static inline int victim_del(void *ctx, const char *name, size_t len)
{
  return victim_put(ctx, name, len, 0, 0);
}

/* Loads and binds; memory: of a state, 0 = the default. v is all zero, but for tally.fail. */
static inline int victim_load(victim *v, const char *text, size_t len, int64_t memory)
{
  const llmd_loader *l = llmd_loader_module(LLMD_LOADER_ABI);
  llmd_program in;
  int rc;
  v->alloc.size = sizeof v->alloc;
  v->alloc.fn = tally_fn;
  v->alloc.ud = &v->tally;
  v->err.size = sizeof v->err;
  memset(&in, 0, sizeof in);
  in.size = sizeof in;
  in.alloc = &v->alloc;
  in.name.ptr = "victim";
  in.name.len = 6;
  in.text.ptr = text;
  in.text.len = len;
  rc = l->load(&in, &v->policy, &v->err);
  if (rc) {
    v->policy = NULL;
    return rc;
  }
  v->plugin = l->plugin(v->policy);
  v->self = calloc(1, v->plugin->self_size);
  v->self->memory = memory;
  v->self->time = 2000000;
  v->self->bypass = 30000000000;
  rc = v->plugin->validate ? v->plugin->validate(v->self, &v->err) : 0;
  return rc ? rc : l->bind(v->policy, v->self, &v->err);
}

static inline void victim_batch(victim *v)
{
  llmd_batch *b = &v->batch;
  while (v->plugin->reads && v->plugin->reads[v->n_reads].kind)
    v->n_reads++;
  for (uint32_t i = 0; i < VICTIM_ROWS; i++) {
    v->cells[i] = i;
    v->ids[i] = i % 3;
    v->endpoint[i] = i + 1;
  }
  for (uint32_t r = 0; r < v->n_reads; r++) {
    uint32_t kind = v->plugin->reads[r].kind;
    int is_id = kind >= LLMD_READ_ID && kind <= LLMD_READ_ADDRESS;
    v->f64[r] = is_id ? NULL : v->cells;
    v->id[r] = is_id ? v->ids : NULL;
  }
  v->view.size = sizeof v->view;
  v->view.model.ptr = "model";
  v->view.model.len = 5;
  v->view.max_tokens = v->view.slo_ttft_ms = v->view.slo_tpot_ms = 0.0 / 1;
  b->size = sizeof *b;
  b->n = VICTIM_ROWS;
  b->f64 = v->f64;
  b->id = v->id;
  b->value = v->value;
  b->endpoint = v->endpoint;
  b->request = &v->view;
  b->scratch = v->scratch;
  b->seed = 1;
  b->now = 1000000000;
  b->own = v->own;
}

static inline int victim_open(victim *v)
{
  llmd_host *h = &v->host;
  int rc;
  h->size = sizeof *h;
  h->rows = VICTIM_ROWS;
  h->alloc = &v->alloc;
  h->ctx = v;
  h->text = victim_text;
  h->get = victim_get;
  h->put = victim_put;
  h->del = victim_del;
  rc = v->plugin->open(v->self, h, &v->own);
  if (rc) {
    v->own = NULL;
    return rc;
  }
  v->scratch = calloc(1, v->plugin->scratch_fixed + (size_t)v->plugin->scratch_each * VICTIM_ROWS + 8);
  victim_batch(v);
  return 0;
}

static inline int victim_score(victim *v, int evil, double *out)
{
  v->view.priority = evil;
  v->gets = 0;
  for (uint32_t i = 0; i < VICTIM_ROWS; i++)
    out[i] = -1;
  v->batch.now += 100000000;
  return v->plugin->score(v->self, &v->batch, out);
}

static inline void victim_free(victim *v)
{
  const llmd_loader *l = llmd_loader_module(LLMD_LOADER_ABI);
  if (v->own)
    v->plugin->close(v->self, v->own);
  if (v->policy)
    l->unload(v->policy);
  free(v->self);
  free(v->scratch);
}

#endif
