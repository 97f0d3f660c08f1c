/* For tests that look at a region from outside: one with something in every part of it, as it stands while its
 * processes are at work. */
#ifndef LLMD_TESTS_BUSY_REGION_H
#define LLMD_TESTS_BUSY_REGION_H

#include <llmd/llmd.h>
#include <llmd/prefix.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void busy_must(int ok)
{
  if (!ok)
    abort();
}

static inline llmd_str busy_str(const char *s)
{
  llmd_str out = {s, strlen(s)};
  return out;
}

static inline llmd_region_options busy_options(void)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = 8, .max_attributes = 16, .max_labels = 4, .max_models = 4,
                           .max_lanes = 3, .max_tickets = 8, .ring_bytes = 1024, .string_bytes = 2048,
                           .state_bytes = 80 << 10, .prefix_bytes = 16 << 10, .index_bytes = 40 << 10, .seed = 11};
  return o;
}

static inline void busy_endpoints(llmd_pool *p)
{
  llmd_label label[2] = {{busy_str("zone"), busy_str("a")}, {busy_str("empty"), busy_str("")}};
  llmd_str model[2] = {busy_str("one"), busy_str("two")};
  llmd_endpoint_id id = 0;
  int note = llmd_pool_attribute(p, "Note", "tests", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  busy_must(note >= 0);
  for (uint32_t i = 0; i < 6; i++) {
    char address[32];
    llmd_endpoint e = {.size = sizeof e, .port = 8000 + i, .n_labels = 2, .labels = label};
    e.address.ptr = address;
    e.address.len = (size_t)snprintf(address, sizeof address, "10.0.0.%u", i);
    busy_must(!llmd_pool_add(p, &e, &id));
    busy_must(!llmd_pool_set(p, id, LLMD_ATTR_WAITING, i));
    busy_must(!llmd_pool_set_text(p, id, (uint32_t)note, "a note", 6));
    busy_must(!llmd_pool_set_models(p, id, LLMD_ATTR_ACTIVE_MODELS, model, 2));
  }
  busy_must(!llmd_pool_remove(p, id));
}

static inline void busy_index(llmd_pool *p)
{
  static const llmd_key key[3] = {{1, 1}, {2, 2}, {3, 3}};
  static const uint64_t name[3] = {11, 12, 13};
  llmd_index *x;
  busy_must(!llmd_pool_index(p, &x));
  busy_must(llmd_index_store(x, (llmd_endpoint_id)1 << 32, LLMD_TIER_GPU, NULL, key, name, 3, NULL) == 3);
}

static inline void busy_decide(llmd_lane *lane)
{
  static const char body[] = "{\"model\":\"one\",\"prompt\":\"some text that is long enough to have a few blocks of "
                             "sixty-four characters each, and so leaves something to learn for the prefix index, "
                             "whatever its blocks may be, as long as there are some of them in the end\"}";
  llmd_request_options ro = {.size = sizeof ro, .max_body = 4096};
  llmd_now now = {5, 5};
  llmd_decision *d = calloc(1, sizeof *d);
  void *mem = malloc(llmd_request_size(&ro));
  llmd_request *r = NULL;
  busy_must(d && mem && !llmd_request_init(mem, llmd_request_size(&ro), &ro, &r));
  d->size = sizeof *d;
  busy_must(!llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_FINAL));
  busy_must(!llmd_decide(lane, r, &now, 1, d) && d->status == LLMD_ROUTED && d->ticket);
  busy_must(!llmd_commit(lane, r, d, 0, &now));
  free(mem);
  free(d);
}

/* A copy of such a region, aligned; *len bytes. The caller frees it. */
static inline void *busy_region(size_t *len)
{
  static const char policy[] = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
                               "- type: prefix-cache-scorer\n- type: queue-scorer\n";
  llmd_region_options ro = busy_options();
  llmd_now now = {4, 4};
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .owner = 21};
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_pool *p;
  void *mem, *copy;
  *len = llmd_region_size(&ro);
  mem = aligned_alloc(64, (*len + 63) & ~(size_t)63);
  copy = aligned_alloc(64, (*len + 63) & ~(size_t)63);
  busy_must(mem && copy);
  memset(mem, 0, *len);
  busy_must(!llmd_region_format(mem, *len, &ro));
  po.mem = mem;
  po.mem_len = *len;
  busy_must(!llmd_pool_open(&po, &p, NULL));
  busy_endpoints(p);
  busy_must(!llmd_pool_publish(p, &now));
  busy_must(!llmd_scheduler_create(NULL, p, policy, sizeof policy - 1, &s, NULL));
  busy_must(!llmd_lane_create(s, 0, &lane));
  busy_decide(lane);
  busy_index(p);
  memcpy(copy, mem, *len);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(p);
  free(mem);
  return copy;
}

#endif
