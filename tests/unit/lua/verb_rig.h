/* A policy made from a text, one lane's object of it, and a batch made by hand, around the descriptor's verbs. Include
 * after cmocka.h. */
#ifndef TESTS_LUA_VERB_RIG_H
#define TESTS_LUA_VERB_RIG_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

#define RIG_ROWS 40u
#define UNKNOWN ((double)NAN)

const llmd_loader *llmd_loader_module(uint32_t abi);

typedef struct rig {
  llmd_allocator alloc;
  uint64_t allocations;
  llmd_host host;
  void *policy, *own;
  llmd__lua_self *self;
  const llmd_plugin *d;
  const llmd__lua_policy *p;
  /* the batch */
  double cell[LLMD__LUA_READS][RIG_ROWS];
  uint32_t id_cell[LLMD__LUA_READS][RIG_ROWS];
  const double *f64[LLMD__LUA_READS];
  const uint32_t *id[LLMD__LUA_READS];
  llmd_read_value value[LLMD__LUA_READS];
  llmd_endpoint_id endpoint[RIG_ROWS];
  llmd_request_view view;
  llmd_batch b;
  /* results */
  double out[RIG_ROWS], wrote[2][RIG_ROWS];
  uint8_t keep[RIG_ROWS];
  uint32_t order[RIG_ROWS], pick[RIG_ROWS];
  double total[RIG_ROWS];
  /* what the host was asked for */
  const char *text[16]; /* of ids 1.. */
  char log[512];
  unsigned logs;
  char put_name[64];
  uint64_t put_value;
  unsigned puts;
  uint64_t ticks, tick; /* the clock, and what it goes on by at each look */
} rig;

static inline void *rig_realloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
  rig *r = ud;
  (void)osize;
  r->allocations++;
  if (!nsize) {
    free(ptr);
    return NULL;
  }
  return realloc(ptr, nsize);
}

static inline int rig_text(void *ctx, uint32_t id, llmd_str *out)
{
  const rig *r = ctx;
  out->ptr = id && id < 16 && r->text[id] ? r->text[id] : "";
  out->len = strlen(out->ptr);
  return 0;
}

static inline int rig_get(void *ctx, const char *name, size_t len, uint64_t *value)
{
  const rig *r = ctx;
  *value = r->put_value;
  return strlen(r->put_name) == len && !memcmp(r->put_name, name, len);
}

static inline int rig_put(void *ctx, const char *name, size_t len, uint64_t value, uint64_t ttl)
{
  rig *r = ctx;
  (void)ttl;
  snprintf(r->put_name, sizeof r->put_name, "%.*s", (int)len, name);
  r->put_value = value;
  r->puts++;
  return 0;
}

static inline int rig_del(void *ctx, const char *name, size_t len)
{
  rig *r = ctx;
  (void)name;
  (void)len;
  r->put_name[0] = 0;
  return 0;
}

static inline void rig_log(void *ctx, int level, const char *text, size_t len)
{
  rig *r = ctx;
  (void)level;
  snprintf(r->log, sizeof r->log, "%.*s", (int)len, text);
  r->logs++;
}

static inline uint64_t rig_clock(void *ctx)
{
  rig *r = ctx;
  return r->ticks += r->tick;
}

/* Where the policy shows that field. */
static inline uint32_t rig_read(const rig *r, const char *field)
{
  uint32_t i = 0;
  while (i < r->p->n_reads && strcmp(r->p->read[i].field, field))
    i++;
  if (i == r->p->n_reads)
    fail_msg("the policy does not read %s", field);
  return i;
}

static inline void rig_load(rig *r, const char *text)
{
  const llmd_loader *l = llmd_loader_module(LLMD_LOADER_ABI);
  llmd_program in = {.size = sizeof in, .alloc = &r->alloc, .name = {"rig", 3}, .text = {text, strlen(text)}};
  llmd_err err = LLMD_ERR_INIT;
  memset(r, 0, sizeof *r);
  r->alloc.size = sizeof r->alloc;
  r->alloc.fn = rig_realloc;
  r->alloc.ud = r;
  if (l->load(&in, &r->policy, &err))
    fail_msg("line %u: %s", err.line, err.text);
  r->p = r->policy;
  r->d = l->plugin(r->policy);
  r->self = calloc(1, r->d->self_size);
  assert_non_null(r->self);
  r->self->bypass = 30000000000;
  r->self->prompt = 1;
  if (r->d->validate && r->d->validate(r->self, &err))
    fail_msg("%s", err.text);
  if (l->bind(r->policy, r->self, &err))
    fail_msg("%s", err.text);
}

static inline void rig_open(rig *r)
{
  const llmd_host host = {.size = sizeof host, .rows = RIG_ROWS, .alloc = &r->alloc, .ctx = r, .clock = rig_clock,
                          .text = rig_text, .get = rig_get, .put = rig_put, .del = rig_del, .log = rig_log};
  r->host = host;
  assert_int_equal(r->d->open(r->self, &r->host, &r->own), 0);
  r->b.size = sizeof r->b;
  r->b.f64 = r->f64;
  r->b.id = r->id;
  r->b.value = r->value;
  r->b.endpoint = r->endpoint;
  r->b.request = &r->view;
  r->b.seed = 7;
  r->b.now = 5000000000;
  r->b.wall = 1600000000500000000;
  r->b.own = r->own;
  r->view.size = sizeof r->view;
  r->view.max_tokens = r->view.slo_ttft_ms = r->view.slo_tpot_ms = UNKNOWN;
  for (uint32_t i = 0; i < r->p->n_reads; i++) {
    int text = r->p->read[i].shows == LLMD__LUA_SHOWS_TEXT;
    r->f64[i] = text ? NULL : r->cell[i];
    r->id[i] = text ? r->id_cell[i] : NULL;
  }
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    r->endpoint[i] = 100 + i;
}

/* *r need not be initialised. */
static inline void rig_make(rig *r, const char *text)
{
  rig_load(r, text);
  rig_open(r);
}

static inline void rig_free(rig *r)
{
  r->d->close(r->self, r->own);
  llmd_loader_module(LLMD_LOADER_ABI)->unload(r->policy);
  free(r->self);
}

static inline void rig_set(rig *r, const char *field, uint32_t i, double v)
{
  r->cell[rig_read(r, field)][i] = v;
}

static inline void rig_set_id(rig *r, const char *field, uint32_t i, uint32_t id)
{
  r->id_cell[rig_read(r, field)][i] = id;
}

static inline void rig_header(rig *r, const char *field, const char *text)
{
  llmd_str *s = &r->value[rig_read(r, field)].str;
  s->ptr = text;
  s->len = text ? strlen(text) : 0;
}

static inline const char *rig_trouble(const rig *r)
{
  static char line[256];
  int n = r->d->trouble(r->self, r->own, line, sizeof line - 1);
  line[n > 0 ? n : 0] = 0;
  return line;
}

/* The verbs over n candidates. */
static inline int rig_score(rig *r, uint32_t n)
{
  r->b.n = n;
  for (uint32_t i = 0; i < RIG_ROWS; i++)
    r->out[i] = -77;
  return r->d->score(r->self, &r->b, r->out);
}

static inline int rig_filter(rig *r, uint32_t n)
{
  r->b.n = n;
  memset(r->keep, 1, sizeof r->keep);
  return r->d->filter(r->self, &r->b, r->keep, r->order);
}

static inline int rig_pick(rig *r, uint32_t n, uint32_t cap)
{
  r->b.n = n;
  return r->d->pick(r->self, &r->b, r->total, r->pick, cap);
}

static inline int rig_produce(rig *r, uint32_t n)
{
  double *const wrote[2] = {r->wrote[0], r->wrote[1]};
  r->b.n = n;
  return r->d->produce(r->self, NULL, &r->b, wrote);
}

/* A call that must end well. */
static inline void rig_well(const rig *r, int rc)
{
  if (rc < 0)
    fail_msg("%d: %s", rc, rig_trouble(r));
}

/* A call that must fail so; part of its text. */
static inline void rig_ill(const rig *r, int rc, int code, const char *part)
{
  assert_int_equal(rc, code);
  if (!strstr(rig_trouble(r), part))
    fail_msg("\"%s\" does not say \"%s\"", rig_trouble(r), part);
}

#endif
