/* A pool of n endpoints with plausible metrics, a scheduler and a lane on it, and a request: what decision benches
 * share. */
#ifndef LLMD_TESTS_BENCH_CLUSTER_H
#define LLMD_TESTS_BENCH_CLUSTER_H

#include <llmd/llmd.h>

#include "bench.h"

typedef struct cluster {
  uint32_t n;
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *mem;
  char *body;
  size_t body_len;
  llmd_endpoint_id *id;
  llmd_now now;
  uint64_t seed;
  llmd_decision decision;
} cluster;

static inline void cluster_die(const char *what, int rc, const llmd_err *err)
{
  fprintf(stderr, "%s: %s %s\n", what, llmd_errname(rc), err ? err->text : "");
  exit(1);
}

static inline void cluster_metrics(cluster *c, uint32_t i, uint32_t turn)
{
  llmd_pool_set(c->pool, c->id[i], LLMD_ATTR_WAITING, (i * 7 + turn) % 8);
  llmd_pool_set(c->pool, c->id[i], LLMD_ATTR_RUNNING, (i * 5 + turn) % 13);
  llmd_pool_set(c->pool, c->id[i], LLMD_ATTR_KV_USAGE, (double)((i * 3 + turn) % 100) / 100);
  llmd_pool_touch(c->pool, c->id[i], c->now.mono);
}

/* config NULL = llm-d's default policy. */
static inline void cluster_open(cluster *c, uint32_t n, const char *config, uint32_t explain)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = n < 64 ? 64 : n};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .explain = explain};
  llmd_request_options qo = {.size = sizeof qo, .max_blocks = 4096};
  llmd_err err = LLMD_ERR_INIT;
  int rc;
  memset(c, 0, sizeof *c);
  c->n = n;
  c->now.mono = 1000000;
  c->decision.size = sizeof c->decision;
  c->id = calloc(n, sizeof *c->id);
  if ((rc = llmd_pool_open(&po, &c->pool, &err)))
    cluster_die("pool", rc, &err);
  for (uint32_t i = 0; i < n; i++) {
    char a[32];
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    e.address.ptr = a;
    e.address.len = (size_t)snprintf(a, sizeof a, "10.%u.%u.%u", i / 62500, i / 250 % 250, i % 250 + 1);
    if ((rc = llmd_pool_add(c->pool, &e, &c->id[i])))
      cluster_die("add", rc, NULL);
    cluster_metrics(c, i, 0);
  }
  llmd_pool_publish(c->pool, &c->now);
  if ((rc = llmd_scheduler_create(&so, c->pool, config, config ? strlen(config) : 0, &c->scheduler, &err)))
    cluster_die("scheduler", rc, &err);
  if ((rc = llmd_lane_create(c->scheduler, LLMD_LANE_WRITER, &c->lane)))
    cluster_die("lane", rc, NULL);
  c->mem = malloc(llmd_request_size(&qo));
  if ((rc = llmd_request_init(c->mem, llmd_request_size(&qo), &qo, &c->request)))
    cluster_die("request", rc, NULL);
}

/* A chat body with `bytes` of user text, different for each salt from its first words on. */
static inline void cluster_body(cluster *c, size_t bytes, unsigned salt)
{
  static const char words[] = "the quick brown fox jumps over the lazy dog while engines batch their prompts ";
  size_t at;
  c->body = realloc(c->body, bytes + 256);
  at = (size_t)sprintf(c->body, "{\"model\":\"qwen\",\"messages\":[{\"role\":\"user\",\"content\":\"%08x ", salt);
  for (size_t i = 0; i < bytes; i++)
    c->body[at++] = words[i % (sizeof words - 1)];
  at += (size_t)sprintf(c->body + at, "\"}]}");
  c->body_len = at;
}

static inline void cluster_feed(cluster *c)
{
  llmd_request_reset(c->request);
  llmd_request_line(c->request, "POST", 4, "/v1/chat/completions", 20);
  int rc = llmd_request_feed(c->request, c->body, c->body_len, LLMD_FEED_KEEP | LLMD_FEED_FINAL);
  if (rc)
    cluster_die("feed", rc, NULL);
}

static inline void cluster_decide(cluster *c)
{
  int rc = llmd_decide(c->lane, c->request, &c->now, c->seed++, &c->decision);
  if (rc || c->decision.status != LLMD_ROUTED)
    cluster_die("decide", rc, NULL);
}

static inline void cluster_close(cluster *c)
{
  llmd_lane_free(c->lane);
  llmd_scheduler_free(c->scheduler);
  llmd_pool_close(c->pool);
  free(c->mem);
  free(c->body);
  free(c->id);
}

#endif
