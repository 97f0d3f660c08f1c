/* For tests of the scheduler: a small region with a few endpoints, one lane, one request, short ways to use them. */
#ifndef LLMD_TESTS_SMALL_RIG_H
#define LLMD_TESTS_SMALL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#define RIG_MOST 40u
#define HEAD "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
#define SECOND UINT64_C(1000000000)

typedef struct rig {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *memory;
  llmd_endpoint_id id[RIG_MOST];
  llmd_now now;
  llmd_decision d;
  char said[1024]; /* warnings, one per line */
} rig;

static inline llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

static inline void rig_note(void *ud, int level, const char *component, const char *text, size_t len)
{
  rig *r = ud;
  size_t at = strlen(r->said);
  (void)component;
  if (level <= LLMD_LOG_WARN)
    snprintf(r->said + at, sizeof r->said - at, "%.*s\n", (int)len, text);
}

static inline llmd_pool *rig_pool(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = RIG_MOST + 8, .max_lanes = 6, .max_tickets = 64,
                            .ring_bytes = 8192, .string_bytes = 65536, .state_bytes = 2 << 20,
                            .prefix_bytes = 256 << 10, .index_bytes = 512 << 10, .token_bytes = 64 << 10,
                            .seed = 3};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *p = NULL;
  assert_int_equal(llmd_pool_open(&po, &p, &err), 0);
  return p;
}

static inline llmd_endpoint_id rig_add(rig *r, const char *address, uint32_t port)
{
  llmd_endpoint e = {.size = sizeof e, .address = str(address), .port = port};
  llmd_endpoint_id id = 0;
  assert_int_equal(llmd_pool_add(r->pool, &e, &id), 0);
  return id;
}

static inline void rig_publish(rig *r)
{
  assert_int_equal(llmd_pool_publish(r->pool, &r->now), 0);
}

static inline llmd_scheduler *rig_schedule(rig *r, const char *config, llmd_scheduler_options *so)
{
  llmd_scheduler_options plain = {.size = sizeof plain};
  llmd_scheduler *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  so = so ? so : &plain;
  so->log = rig_note;
  so->log_ud = r;
  if (llmd_scheduler_create(so, r->pool, config, config ? strlen(config) : 0, &s, &err))
    fail_msg("%u:%u %s: %s", err.line, err.column, err.path, err.text);
  return s;
}

/* n endpoints 10.0.0.1:8000 ... with 0, 1, 2, ... requests waiting; published. */
static inline void rig_open(rig *r, uint32_t n, const char *config, llmd_scheduler_options *so,
                            llmd_request_options *ro)
{
  memset(r, 0, sizeof *r);
  r->d.size = sizeof r->d;
  r->now.mono = 100 * SECOND;
  r->pool = rig_pool();
  for (uint32_t i = 0; i < n; i++) {
    char address[24];
    snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    r->id[i] = rig_add(r, address, 8000);
    assert_int_equal(llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_WAITING, i), 0);
  }
  if (n)
    rig_publish(r);
  r->scheduler = rig_schedule(r, config, so);
  assert_int_equal(llmd_lane_create(r->scheduler, LLMD_LANE_WRITER, &r->lane), 0);
  r->memory = malloc(llmd_request_size(ro));
  assert_int_equal(llmd_request_init(r->memory, llmd_request_size(ro), ro, &r->request), 0);
}

static inline void rig_close(rig *r)
{
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->memory);
}

static inline void rig_body(rig *r, const char *body)
{
  llmd_request_reset(r->request);
  assert_int_equal(llmd_request_feed(r->request, body, strlen(body), LLMD_FEED_FINAL), 0);
}

static inline void rig_header(rig *r, const char *name, const char *value)
{
  assert_int_equal(llmd_request_header(r->request, name, strlen(name), value, strlen(value)), 0);
}

static inline uint32_t rig_decide(rig *r, uint64_t seed)
{
  assert_int_equal(llmd_decide(r->lane, r->request, &r->now, seed, &r->d), 0);
  return r->d.status;
}

/* Number of the endpoint it goes to, from 0; -1 = it is not routed. */
static inline int rig_goes_to(rig *r, uint64_t seed)
{
  if (rig_decide(r, seed) != LLMD_ROUTED)
    return -1;
  for (uint32_t i = 0; i < RIG_MOST; i++)
    if (r->id[i] && r->id[i] == r->d.target[0].id)
      return (int)i;
  return -2;
}

/* The value of a header of the decision, or NULL. */
static inline const char *rig_sets(const rig *r, const char *name)
{
  static char text[1100];
  for (uint32_t i = 0; i < r->d.n_headers; i++) {
    const llmd_header *h = &r->d.header[i];
    if (h->name.len != strlen(name) || memcmp(r->d.text + h->name.off, name, h->name.len))
      continue;
    snprintf(text, sizeof text, "%.*s", (int)h->value.len, r->d.text + h->value.off);
    return text;
  }
  return NULL;
}

static inline int64_t rig_inflight(const rig *r, uint32_t i)
{
  int64_t requests = -1, tokens = -1;
  assert_int_equal(llmd_pool_inflight(r->pool, r->id[i], &requests, &tokens), 0);
  return requests;
}

#endif
