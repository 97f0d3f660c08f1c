/* Loadable plugins, from a directory of our own: what is taken, and what is refused before or after it is opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>

#include <llmd/llmd.h>

#include "../module_dir.h"
#include "plugin/registry.h"

static module_dir dir;
static char said[512];

/* The library's way to open an object, looked at as it passes. */
static int opened, flags_then;

void *dlopen(const char *file, int flags)
{
  static void *(*next)(const char *, int);
  void *symbol = next ? NULL : dlsym(RTLD_NEXT, "dlopen");
  if (symbol)
    memcpy(&next, &symbol, sizeof next);
  opened++;
  flags_then = flags;
  return next(file, flags);
}

static const char *in_dir(const char *name)
{
  static char path[600];
  snprintf(path, sizeof path, "%s/%s", dir.path, name);
  return path;
}

static void put(const char *module, const char *to, mode_t mode)
{
  module_dir_copy(&dir, module, to, mode);
}

static int set_up(void **state)
{
  (void)state;
  module_dir_make(&dir);
  said[0] = 0;
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  module_dir_remove(&dir);
  return 0;
}

static void note(void *ud, int level, const char *component, const char *text, size_t len)
{
  (void)ud;
  (void)component;
  if (level <= LLMD_LOG_WARN)
    snprintf(said, sizeof said, "%.*s", (int)len, text);
}

static int load(const char *from, llmd__registry **out, llmd_err *err)
{
  llmd_allocator a;
  llmd__alloc_init(&a, NULL);
  *out = NULL;
  return llmd__registry_create(&a, from, note, NULL, out, err);
}

static void refused(int code, const char *path, const char *text)
{
  llmd__registry *r;
  llmd_err err = LLMD_ERR_INIT;
  int rc = load(dir.path, &r, &err);
  if (rc != code || !strstr(err.path, path) || !strstr(err.text, text))
    fail_msg("%s %s: %s", llmd_errname(rc), err.path, err.text);
  assert_null(r);
  assert_int_equal(err.code, code);
}

/* ---- taken ------------------------------------------------------------------------------------------------------ */

static void a_module_is_loaded(void **state)
{
  llmd__registry *r;
  const llmd_plugin *p;
  int old;
  (void)state;
  put("stranger", "a.so", 0600);
  module_dir_write(&dir, "notes.txt", "no module", 9, 0666); /* not looked at */
  assert_int_equal(load(dir.path, &r, NULL), 0);
  p = llmd__registry_find(r, "strangers-scorer", &old);
  assert_non_null(p);
  assert_int_equal(p->kind, LLMD_SCORER);
  assert_ptr_equal(llmd__registry_find(r, "odd-scorer", &old), p);
  assert_int_equal(old, 1);
  assert_non_null(llmd__registry_find(r, "strangers-producer", &old));
  assert_string_equal(said, "");
  llmd__registry_free(r);
}

/* A module shares with its host what the host put in place of the C library's: it frees what the host's malloc gave. */
static void a_module_is_opened_as_others_are(void **state)
{
  llmd__registry *r;
  (void)state;
  put("stranger", "a.so", 0600);
  opened = 0;
  assert_int_equal(load(dir.path, &r, NULL), 0);
  llmd__registry_free(r);
  assert_int_equal(opened, 1);
  assert_int_equal(flags_then, RTLD_NOW | RTLD_LOCAL);
}

/* Loaders of policies may lie there, too: they, and what they are linked with, are not opened before they are named. */
static void loaders_stay_closed(void **state)
{
  static const char *const others[] = {"llmd-.so", "llmd-a-b.so", "llmd-Toy.so"};
  llmd__registry *r;
  (void)state;
  put("stranger", "llmd-a-scorer.so", 0600);
  module_dir_write(&dir, "llmd-toy.so", "no object at all", 16, 0600);
  opened = 0;
  assert_int_equal(load(dir.path, &r, NULL), 0);
  llmd__registry_free(r);
  assert_int_equal(opened, 1);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    module_dir_write(&dir, others[i], "no object at all", 16, 0600);
    refused(LLMD_E_PLUGIN, others[i], "cannot be loaded");
    assert_int_equal(remove(in_dir(others[i])), 0);
  }
}

static void an_empty_directory_is_fine(void **state)
{
  llmd__registry *r;
  (void)state;
  assert_int_equal(load(dir.path, &r, NULL), 0);
  llmd__registry_free(r);
}

static void a_module_takes_the_place_of_a_built_in(void **state)
{
  llmd__registry *r;
  int old;
  (void)state;
  put("twin", "a.so", 0600);
  assert_int_equal(load(dir.path, &r, NULL), 0);
  assert_string_equal(llmd__registry_find(r, "queue-scorer", &old)->summary, "for tests");
  assert_non_null(strstr(said, "queue-scorer"));
  llmd__registry_free(r);
}

/* ---- refused ---------------------------------------------------------------------------------------------------- */

static void no_two_modules_with_one_type(void **state)
{
  (void)state;
  put("stranger", "a.so", 0600);
  put("stranger", "b.so", 0600);
  refused(LLMD_E_DUPLICATE, "b.so", "strangers-scorer");
}

static void no_two_modules_for_one_built_in(void **state)
{
  (void)state;
  put("twin", "a.so", 0600);
  put("twin", "c.so", 0600);
  refused(LLMD_E_DUPLICATE, "c.so", "queue-scorer");
}

static void only_what_nobody_else_can_write(void **state)
{
  static const mode_t modes[] = {0620, 0602, 0666};
  llmd__registry *r;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    put("stranger", "a.so", modes[i]);
    refused(LLMD_E_DENIED, "a.so", "writable by others (chmod go-w mends that)");
  }
  put("stranger", "a.so", 0644);
  assert_int_equal(chmod(dir.path, 0770), 0);
  refused(LLMD_E_DENIED, dir.path, "writable by others");
  assert_int_equal(chmod(dir.path, 0707), 0);
  refused(LLMD_E_DENIED, dir.path, "writable by others");
  assert_int_equal(chmod(dir.path, 0755), 0);
  assert_int_equal(load(dir.path, &r, &err), 0);
  llmd__registry_free(r);
}

static void no_links_and_no_folders(void **state)
{
  (void)state;
  put("stranger", "notes.txt", 0600);
  assert_int_equal(symlink("notes.txt", in_dir("link.so")), 0);
  refused(LLMD_E_DENIED, "link.so", "not a regular file");
  assert_int_equal(unlink(in_dir("link.so")), 0);
  assert_int_equal(mkdir(in_dir("sub.so"), 0700), 0);
  refused(LLMD_E_DENIED, "sub.so", "not a regular file");
}

static void the_directory_is_named_in_full_and_is_one(void **state)
{
  char file[600], link[600];
  llmd__registry *r;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(load("modules", &r, &err), LLMD_E_INVALID);
  assert_int_equal(load("", &r, &err), LLMD_E_INVALID);
  assert_int_equal(load("/no/such/directory", &r, &err), LLMD_E_DENIED);
  module_dir_write(&dir, "notes.txt", "x", 1, 0600);
  snprintf(file, sizeof file, "%s", in_dir("notes.txt"));
  assert_int_equal(load(file, &r, &err), LLMD_E_DENIED);
  snprintf(link, sizeof link, "%s", in_dir("link.so"));
  assert_int_equal(symlink(dir.path, link), 0);
  assert_int_equal(load(link, &r, &err), LLMD_E_DENIED);
  assert_string_equal(err.path, link);
}

static void what_is_no_module(void **state)
{
  (void)state;
  module_dir_write(&dir, "a.so", "these are not the bytes of an object", 36, 0600);
  refused(LLMD_E_PLUGIN, "a.so", "cannot be loaded");
}

static void what_is_no_module_of_ours(void **state)
{
  (void)state;
  put("broken_none", "a.so", 0600);
  refused(LLMD_E_MISMATCH, "a.so", "no llmd_module");
  assert_int_equal(unlink(in_dir("a.so")), 0);
  put("broken_list", "b.so", 0600);
  refused(LLMD_E_MISMATCH, "b.so", "ABI 1");
}

static void broken_one(const char *module, const char *file, const char *text)
{
  put(module, file, 0600); /* each under a name of its own: what is open stays open under its path */
  refused(LLMD_E_PLUGIN, file, text);
  assert_int_equal(unlink(in_dir(file)), 0);
}

static void descriptors_that_cannot_work(void **state)
{
  (void)state;
  broken_one("broken_abi", "a.so", "another ABI");
  broken_one("broken_verb", "b.so", "a verb of its kind is missing");
  broken_one("broken_name", "c.so", "no type");
  broken_one("broken_short", "link.so", "no type");
}

/* ---- all the way ------------------------------------------------------------------------------------------------ */

static void a_policy_of_a_stranger_decides(void **state)
{
  static const char policy[] =
      "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: strangers-scorer\n"
      "  parameters: {value: 4}\n- type: max-score-picker\n";
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello\"}";
  static llmd_decision d;
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 4, .state_bytes = 1 << 20, .prefix_bytes = 1 << 16};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  llmd_now now = {1, 1};
  llmd_endpoint_id id[3];
  llmd_scheduler *s;
  llmd_request *r;
  llmd_pool *pool;
  llmd_lane *lane;
  void *mem = malloc(llmd_request_size(NULL));
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  put("stranger", "a.so", 0600);
  assert_int_equal(llmd_pool_open(&po, &pool, &err), 0);
  for (uint32_t i = 0; i < 3; i++) {
    llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}, .port = 8000 + i};
    assert_int_equal(llmd_pool_add(pool, &e, &id[i]), 0);
    assert_int_equal(llmd_pool_set(pool, id[i], LLMD_ATTR_WAITING, 3 + i), 0);
  }
  assert_int_equal(llmd_pool_publish(pool, &now), 0);
  if (llmd_scheduler_create(&so, pool, policy, sizeof policy - 1, &s, &err))
    fail_msg("%s: %s", err.path, err.text);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  assert_int_equal(llmd_request_init(mem, llmd_request_size(NULL), NULL, &r), 0);
  assert_int_equal(llmd_request_feed(r, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
  d.size = sizeof d;
  for (uint64_t seed = 0; seed < 10; seed++) {
    assert_int_equal(llmd_decide(lane, r, &now, seed, &d), 0);
    assert_int_equal(d.status, LLMD_ROUTED);
    assert_true(d.target[0].id == id[1] && d.target[0].score == 1);
  }
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(mem);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(a_module_is_loaded),
      CASE(a_module_is_opened_as_others_are),
      CASE(loaders_stay_closed),
      CASE(an_empty_directory_is_fine),
      CASE(a_module_takes_the_place_of_a_built_in),
      CASE(no_two_modules_with_one_type),
      CASE(no_two_modules_for_one_built_in),
      CASE(only_what_nobody_else_can_write),
      CASE(no_links_and_no_folders),
      CASE(the_directory_is_named_in_full_and_is_one),
      CASE(what_is_no_module),
      CASE(what_is_no_module_of_ours),
      CASE(descriptors_that_cannot_work),
      CASE(a_policy_of_a_stranger_decides),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
