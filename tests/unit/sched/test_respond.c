/* What goes back to the client: the session token of the endpoint that served leads the next request there; a refusal
 * names its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char policy[] = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
                             "- type: session-affinity-scorer\nschedulingProfiles:\n- name: default\n  plugins:\n"
                             "  - pluginRef: session-affinity-scorer\n";

static llmd_pool *open_pool(unsigned n)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .prefix_bytes = 256 << 10, .state_bytes = 8 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_now now = {1, 1};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *p;
  assert_int_equal(llmd_pool_open(&po, &p, &err), 0);
  for (unsigned i = 0; i < n; i++) {
    char name[16];
    llmd_endpoint e = {.size = sizeof e, .port = 8000, .address = {"10.0.0.1", 8}};
    llmd_endpoint_id id;
    e.port += i;
    e.name.ptr = name;
    e.name.len = (size_t)snprintf(name, sizeof name, "pod-%u", i);
    assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  }
  assert_int_equal(llmd_pool_publish(p, &now), 0);
  return p;
}

static void decide(llmd_lane *lane, void *mem, const char *token, size_t len, uint64_t seed, llmd_decision *d)
{
  llmd_request *r;
  llmd_now now = {2, 2};
  assert_int_equal(llmd_request_init(mem, llmd_request_size(NULL), NULL, &r), 0);
  if (len)
    assert_int_equal(llmd_request_header(r, "X-Session-Token", 15, token, len), 0);
  assert_int_equal(llmd_request_feed(r, "{\"model\":\"m\",\"prompt\":\"x\"}", 26, LLMD_FEED_FINAL), 0);
  d->size = sizeof *d;
  assert_int_equal(llmd_decide(lane, r, &now, seed, d), 0);
}

static void token_leads_back(void **state)
{
  llmd_pool *p = open_pool(5);
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_err err = LLMD_ERR_INIT;
  llmd_now now = {3, 3};
  llmd_response r = {.size = sizeof r};
  void *mem = malloc(llmd_request_size(NULL));
  static llmd_decision d;
  (void)state;
  assert_int_equal(llmd_scheduler_create(NULL, p, policy, sizeof policy - 1, &s, &err), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  for (uint64_t seed = 0; seed < 10; seed++) {
    llmd_endpoint_id home;
    decide(lane, mem, NULL, 0, seed, &d);
    home = d.target[0].id;
    assert_int_equal(llmd_respond(lane, d.ticket, 0, &now, &r), 0);
    assert_int_equal(r.n_headers, 1);
    assert_memory_equal(r.text + r.header[0].name.off, "x-session-token", 15);
    for (uint64_t k = 0; k < 5; k++) {
      decide(lane, mem, r.text + r.header[0].value.off, r.header[0].value.len, 100 * seed + k, &d);
      assert_true(d.target[0].id == home);
    }
  }
  assert_int_equal(llmd_respond(lane, d.ticket, d.target[0].id + 999, &now, &r), LLMD_E_STALE);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(p);
  free(mem);
}

static void refusal_names_its_reason(void **state)
{
  llmd_pool *p = open_pool(0);
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_err err = LLMD_ERR_INIT;
  void *mem = malloc(llmd_request_size(NULL));
  static llmd_decision d;
  (void)state;
  assert_int_equal(llmd_scheduler_create(NULL, p, policy, sizeof policy - 1, &s, &err), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  decide(lane, mem, NULL, 0, 1, &d);
  assert_int_equal(d.status, LLMD_REJECTED);
  assert_int_equal(d.code, 503);
  assert_int_equal(d.n_headers, 1);
  assert_memory_equal(d.text + d.header[0].name.off, "x-llm-d-request-dropped-reason", 30);
  assert_int_equal(d.header[0].value.len, 21);
  assert_memory_equal(d.text + d.header[0].value.off, "rejected-no-endpoints", 21);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(p);
  free(mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(token_leads_back), cmocka_unit_test(refusal_names_its_reason)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
