/* For tests of the pool: a region that is small enough to be formatted for each test, and short ways to fill it. */
#ifndef LLMD_TESTS_SMALL_POOL_H
#define LLMD_TESTS_SMALL_POOL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/pool.h>

static const llmd_now small_now = {1000000000, 1};

static inline llmd_str str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

static inline llmd_region_options small_region(uint32_t endpoints)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = endpoints, .max_attributes = 16, .max_labels = 4,
                           .max_models = 4, .max_lanes = 2, .max_tickets = 16, .ring_bytes = 1024,
                           .string_bytes = 16384, .state_bytes = 4096, .prefix_bytes = 4096, .seed = 7};
  return o;
}

static inline llmd_pool *small_pool(uint32_t endpoints)
{
  llmd_region_options ro = small_region(endpoints);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p = NULL;
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(llmd_pool_open(&po, &p, &err), 0);
  return p;
}

static inline llmd_endpoint at(const char *address, uint32_t port)
{
  llmd_endpoint e;
  memset(&e, 0, sizeof e);
  e.size = sizeof e;
  e.address = str(address);
  e.port = port;
  return e;
}

static inline llmd_endpoint_id add(llmd_pool *p, const char *address, uint32_t port)
{
  llmd_endpoint e = at(address, port);
  llmd_endpoint_id id = 0;
  assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  assert_true(id != 0);
  return id;
}

static inline llmd_endpoint_id find(const llmd_pool *p, const char *text)
{
  return llmd_pool_find(p, text, strlen(text));
}

static inline void publish(llmd_pool *p)
{
  assert_int_equal(llmd_pool_publish(p, &small_now), 0);
}

static inline void tick(llmd_pool *p)
{
  assert_int_equal(llmd_pool_tick(p, &small_now, NULL), 0);
}

#endif
