/* The built-in plugins once more, as a stranger's modules through the registry: every one loads from a directory, takes
 * the built-in's place, and decides the same.
 *
 *   test_plugins_loaded MODULE.so...      (copied into a directory that nobody else can write) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char **modules;
static int n_modules;
static char dir[] = "/tmp/llmd-modules-XXXXXX";

static const char policy[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: prefill-filter\n- type: decode-filter\n"
    "- type: prefix-cache-scorer\n- type: token-load-scorer\n- type: no-hit-lru-scorer\n- type: weighted-random-picker\n"
    "- type: always-disagg-pd-decider\n- type: disagg-profile-handler\n"
    "  parameters: {deciders: {prefill: always-disagg-pd-decider}}\nschedulingProfiles:\n- name: prefill\n"
    "  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer}]\n- name: decode\n"
    "  plugins: [{pluginRef: decode-filter}, {pluginRef: token-load-scorer}, {pluginRef: no-hit-lru-scorer, weight: 2},\n"
    "            {pluginRef: weighted-random-picker}]\n";

static void copy(const char *from, const char *to)
{
  char buf[65536];
  size_t n;
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  assert_non_null(in);
  assert_non_null(out);
  while ((n = fread(buf, 1, sizeof buf, in)) > 0)
    assert_int_equal(fwrite(buf, 1, n, out), n);
  fclose(in);
  assert_int_equal(fclose(out), 0);
  assert_int_equal(chmod(to, 0700), 0);
}

static void module_path(char *path, size_t cap, int i)
{
  const char *base = strrchr(modules[i], '/');
  snprintf(path, cap, "%s/%s", dir, base ? base + 1 : modules[i]);
}

static unsigned replaced;

static void count_replaced(void *ud, int level, const char *component, const char *text, size_t len)
{
  (void)ud;
  (void)level;
  if (!strcmp(component, "plugins") && len && strstr(text, "takes the place"))
    replaced++;
}

static llmd_pool *small_pool(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .prefix_bytes = 512 << 10, .state_bytes = 4 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_label role = {{"llm-d.ai/role", 13}, {"prefill", 7}};
  llmd_now now = {1, 1};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *p;
  assert_int_equal(llmd_pool_open(&po, &p, &err), 0);
  for (unsigned i = 0; i < 9; i++) {
    llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}, .n_labels = i < 3, .labels = &role};
    llmd_endpoint_id id;
    e.port = 8000 + i;
    assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  }
  assert_int_equal(llmd_pool_publish(p, &now), 0);
  return p;
}

/* Forty decisions of a fresh pool: ports and totals of all targets. */
static size_t decide(const char *module_dir, double *out)
{
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = module_dir, .log = count_replaced};
  llmd_pool *p = small_pool();
  llmd_err err = LLMD_ERR_INIT;
  llmd_scheduler *s;
  llmd_lane *lane;
  void *mem = malloc(llmd_request_size(NULL));
  static llmd_decision d;
  size_t n = 0;
  int rc = llmd_scheduler_create(&so, p, policy, sizeof policy - 1, &s, &err);
  if (rc)
    fail_msg("%s: %s", err.path, err.text);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  for (unsigned k = 0; k < 40; k++) {
    char body[400];
    llmd_now now = {2 + k, 2};
    llmd_request *r;
    int len = snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"%u %0300u\"}", k % 7, k % 7);
    assert_int_equal(llmd_request_init(mem, llmd_request_size(NULL), NULL, &r), 0);
    assert_int_equal(llmd_request_feed(r, body, (size_t)len, LLMD_FEED_FINAL), 0);
    d.size = sizeof d;
    assert_int_equal(llmd_decide(lane, r, &now, k, &d), 0);
    assert_int_equal(d.status, LLMD_ROUTED);
    assert_int_equal(d.n_targets, 2);
    for (unsigned i = 0; i < d.n_targets; i++) {
      out[n++] = d.target[i].port;
      out[n++] = d.target[i].score;
    }
    assert_int_equal(llmd_commit(lane, r, &d, 0, &now), 0);
  }
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(p);
  free(mem);
  return n;
}

static void decides_the_same(void **state)
{
  static double built_in[512], loaded[512];
  size_t n = decide(NULL, built_in);
  (void)state;
  replaced = 0;
  assert_int_equal(decide(dir, loaded), n);
  assert_true(replaced >= (unsigned)n_modules);
  assert_memory_equal(built_in, loaded, n * sizeof *loaded);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(decides_the_same)};
  char path[1024];
  int rc;
  modules = argv + 1;
  n_modules = argc - 1;
  if (!n_modules || !mkdtemp(dir))
    return 1;
  for (int i = 0; i < n_modules; i++) {
    module_path(path, sizeof path, i);
    copy(modules[i], path);
  }
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int i = 0; i < n_modules; i++) {
    module_path(path, sizeof path, i);
    remove(path);
  }
  rmdir(dir);
  return rc;
}
