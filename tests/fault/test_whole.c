/* Every allocation of a whole life fails once: pool, pool file, configuration, lane, decision, tables, reload. Each
 * refusal gives LLMD_E_NOMEM, leaks nothing, and leaves what was there working. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/failing_alloc.h"

static const char pool_file[] =
    "endpoints:\n- {name: a, address: 10.0.0.1, port: \"8000\", labels: {llm-d.ai/role: decode}}\n"
    "- {name: b, address: 10.0.0.2, port: \"8000\", labels: {llm-d.ai/role: prefill}}\n"
    "- {name: c, address: 10.0.0.3, port: \"8000\"}\n";
static const char pd[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: prefill-filter\n- type: "
    "decode-filter\n"
    "- type: prefix-cache-scorer\n- type: precise-prefix-cache-producer\n  parameters: {speculativeIndexing: true, "
    "indexerConfig: {kvCacheBackendConfigs: [{name: gpu, weight: 1}]}}\n- type: active-request-scorer\n"
    "- type: prefix-based-pd-decider\n"
    "  parameters: {nonCachedTokens: 4}\n- type: disagg-profile-handler\n"
    "  parameters: {deciders: {prefill: prefix-based-pd-decider}}\n- type: label-selector-filter\n  name: extra\n"
    "  parameters: {matchExpressions: [{key: zone, operator: DoesNotExist}]}\nschedulingProfiles:\n- name: prefill\n"
    "  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer, weight: 2}]\n- name: decode\n"
    "  plugins: [{pluginRef: decode-filter}, {pluginRef: extra}, {pluginRef: active-request-scorer}]\n";
static const char body[] =
    "{\"model\":\"m\",\"prompt\":\"tell me a story about a scheduler that never ran out of memory\"}";

typedef struct life {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  void *mem;
} life;

static void decide_works(life *w, uint32_t want)
{
  static llmd_decision d;
  llmd_now now = {5, 5};
  llmd_request *r;
  assert_int_equal(llmd_request_init(w->mem, llmd_request_size(NULL), NULL, &r), 0);
  assert_int_equal(llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
  d.size = sizeof d;
  assert_int_equal(llmd_decide(w->lane, r, &now, 1, &d), 0);
  assert_int_equal(d.status, LLMD_ROUTED);
  assert_int_equal(d.n_targets, want);
  assert_int_equal(llmd_commit(w->lane, r, &d, 0, &now), 0);
  assert_int_equal(llmd_report(w->lane, d.ticket, LLMD_REPORT_END, NULL, &now), 0);
}

static int drop(void *ud, const char *ptr, size_t len)
{
  *(size_t *)ud += len + (ptr == NULL);
  return 0;
}

static void explain_works(life *w)
{
  size_t n = 0;
  assert_int_equal(llmd_explain_json(w->lane, drop, &n), 0);
  assert_true(n > 100);
  n = 0;
  assert_int_equal(llmd_explain_table(w->lane, drop, &n), 0);
  assert_true(n > 100);
}

static int tables(life *w)
{
  int32_t priority = -3;
  llmd_rewrite_target to = {{"n", 1}, 1, 0};
  int rc = llmd_pool_objective(w->pool, "batch", 5, &priority);
  return rc ? rc : llmd_pool_rewrite(w->pool, "m", 1, &to, 1);
}

static int reload(life *w, const llmd_scheduler_options *so)
{
  llmd_scheduler *next;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_scheduler_create(so, w->pool, pd, sizeof pd - 1, &next, &err);
  if (!rc) {
    rc = llmd_lane_switch(w->lane, next);
    if (rc) {
      llmd_scheduler_free(next);
    } else {
      llmd_scheduler_free(w->scheduler);
      w->scheduler = next;
    }
  }
  decide_works(w, rc ? 1 : 2); /* refused: by the old configuration; else by the new one */
  return rc;
}

static int live(life *w, const llmd_allocator *a)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .prefix_bytes = 256 << 10, .state_bytes = 2 << 20,
                            .index_bytes = 256 << 10,
                            .max_tickets = 64, .max_lanes = 4, .ring_bytes = 4096, .string_bytes = 65536};
  llmd_pool_options po = {.size = sizeof po, .alloc = a, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .alloc = a, .explain = 1};
  llmd_err err = LLMD_ERR_INIT;
  llmd_now now = {1, 1};
  int rc = llmd_pool_open(&po, &w->pool, &err);
  if (!rc)
    rc = llmd_pool_load(w->pool, pool_file, sizeof pool_file - 1, &err);
  if (rc < 0)
    return rc;
  assert_int_equal(llmd_pool_publish(w->pool, &now), 0);
  rc = llmd_scheduler_create(&so, w->pool, NULL, 0, &w->scheduler, &err);
  if (!rc)
    rc = llmd_lane_create(w->scheduler, LLMD_LANE_WRITER, &w->lane);
  if (rc)
    return rc;
  decide_works(w, 1);
  explain_works(w);
  rc = tables(w);
  return rc ? rc : reload(w, &so);
}

static int whole(const llmd_allocator *a, void *ctx)
{
  life w = {NULL, NULL, NULL, ctx};
  int rc = live(&w, a);
  llmd_lane_free(w.lane);
  llmd_scheduler_free(w.scheduler);
  llmd_pool_close(w.pool);
  return rc;
}

static void every_allocation_fails_once(void **state)
{
  void *mem = malloc(llmd_request_size(NULL));
  size_t n = fail_each_allocation(whole, mem);
  (void)state;
  print_message("# %zu allocations\n", n);
  assert_true(n > 40);
  free(mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
