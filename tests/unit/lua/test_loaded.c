/* Policies as the core has them: the built object, opened by the library, in whole decisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <math.h>

#include "../module_dir.h"

#define N 3u

/* A pool of three endpoints with metrics, the loader in a folder of its own, one lane. */
typedef struct world {
  module_dir dir;
  llmd_pool *pool;
  llmd_endpoint_id id[N];
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_request *r;
  void *mem;
  llmd_err err;
  const char *policy; /* what options.policy gives for every file; NULL = nothing */
  llmd_decision d;
} world;

static int give(void *ud, const llmd_str *file, llmd_str *text)
{
  const world *w = ud;
  assert_true(file->len > 0);
  if (!w->policy)
    return 0;
  text->ptr = w->policy;
  text->len = strlen(w->policy);
  return 1;
}

static void add_endpoints(world *w)
{
  static const double waiting[N] = {3, 1, 2}, usage[N] = {0.1, 0.9, 0.5};
  static const char *const zone[N] = {"eu", "us", "eu"};
  llmd_now now = {1, 1};
  for (unsigned i = 0; i < N; i++) {
    llmd_label label = {{"zone", 4}, {zone[i], 2}};
    llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}, .n_labels = 1, .labels = &label};
    e.port = 8000 + i;
    assert_int_equal(llmd_pool_add(w->pool, &e, &w->id[i]), 0);
    assert_int_equal(llmd_pool_set(w->pool, w->id[i], LLMD_ATTR_WAITING, waiting[i]), 0);
    assert_int_equal(llmd_pool_set(w->pool, w->id[i], LLMD_ATTR_KV_USAGE, usage[i]), 0);
  }
  assert_int_equal(llmd_pool_publish(w->pool, &now), 0);
}

static int open_world(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .prefix_bytes = 512 << 10, .state_bytes = 4 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  w->err.size = sizeof w->err;
  module_dir_make(&w->dir);
  module_dir_copy(&w->dir, "llmd-lua", "llmd-lua.so", 0700);
  assert_int_equal(llmd_pool_open(&po, &w->pool, &w->err), 0);
  add_endpoints(w);
  w->mem = malloc(llmd_request_size(NULL));
  assert_non_null(w->mem);
  assert_int_equal(llmd_request_init(w->mem, llmd_request_size(NULL), NULL, &w->r), 0);
  *state = w;
  return 0;
}

static int close_world(void **state)
{
  world *w = *state;
  llmd_lane_free(w->lane);
  llmd_scheduler_free(w->s);
  llmd_pool_close(w->pool);
  module_dir_remove(&w->dir);
  free(w->mem);
  free(w);
  return 0;
}

static int create(world *w, const char *plugins, llmd_scheduler **out)
{
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1, .loader_dir = w->dir.path, .policy_dir = w->dir.path,
                               .policy = give, .policy_ud = w};
  char text[4096];
  int n = snprintf(text, sizeof text, "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n%s", plugins);
  assert_true(n > 0 && (size_t)n < sizeof text);
  return llmd_scheduler_create(&so, w->pool, text, (size_t)n, out, &w->err);
}

static void configure(world *w, const char *plugins)
{
  if (create(w, plugins, &w->s))
    fail_msg("%s:%u: %s", w->err.path, w->err.line, w->err.text);
  assert_int_equal(llmd_lane_create(w->s, LLMD_LANE_WRITER, &w->lane), 0);
}

/* The endpoint that gets the request. */
static uint32_t decide(world *w)
{
  static const char body[] = "{\"model\":\"m\",\"prompt\":\"hello\"}";
  llmd_now now = {2, 2};
  llmd_request_reset(w->r);
  assert_int_equal(llmd_request_header(w->r, "x-want", 6, "us", 2), 0);
  assert_int_equal(llmd_request_feed(w->r, body, sizeof body - 1, LLMD_FEED_FINAL), 0);
  w->d.size = sizeof w->d;
  assert_int_equal(llmd_decide(w->lane, w->r, &now, 7, &w->d), 0);
  assert_int_equal(w->d.status, LLMD_ROUTED);
  return w->d.target[w->d.primary].port - 8000;
}

static int append(void *ud, const char *ptr, size_t len)
{
  char *out = ud;
  size_t n = strlen(out);
  assert_true(n + len < 16384);
  memcpy(out + n, ptr, len);
  out[n + len] = 0;
  return 0;
}

static char output[16384];

/* ---- decisions -------------------------------------------------------------------------------------------------- */

#define MODULE(more) "- type: lua\n  name: mine\n  parameters:\n    source: |\n" more

static void a_scorer(void **state)
{
  world *w = *state;
  configure(w, MODULE("      return {name = 'free', score = function(kv_usage) return 1 - kv_usage end}\n"));
  assert_int_equal(decide(w), 0);
  assert_true(fabs(w->d.target[w->d.primary].score - 0.9) < 1e-12);
  output[0] = 0;
  assert_int_equal(llmd_explain_json(w->lane, append, output), 0);
  assert_non_null(strstr(output, "mine"));
}

static void batches_filters_and_texts(void **state)
{
  world *w = *state;
  configure(w, MODULE("      return {reads = {'waiting', zone = 'label:zone', 'header:x-want'},\n"
                      "        filter = function(req, cols, keep)\n"
                      "          for i = 1, cols.n do keep[i] = cols.zone[i] == req.headers['x-want'] end\n"
                      "        end}\n"));
  assert_int_equal(decide(w), 1);
}

static void beside_plugins_in_c(void **state)
{
  world *w = *state;
  configure(w, MODULE("      return {params = {only = 0}, score = function(n, p, waiting)\n"
                      "        return waiting == p.only and 1 or 0 end}\n")
               "    params: {only: 2}\n- type: queue-scorer\nschedulingProfiles:\n- name: default\n  plugins:\n"
               "  - {pluginRef: mine, weight: 3}\n  - {pluginRef: queue-scorer}\n");
  assert_int_equal(decide(w), 2);
  assert_true(fabs(w->d.target[w->d.primary].score - 3.5) < 1e-12);
}

static void parameters_of_all_types(void **state)
{
  world *w = *state;
  configure(w, MODULE("      return {params = {w = {default = 1, min = 0, max = 5},\n"
                      "        mode = {default = 'a', values = {'a', 'b'}}, dry = false, tag = 'x'},\n"
                      "        score = function(ep, p) return p.w / 10 end}\n")
               "    params: {w: 2.5, mode: b, dry: true, tag: hello}\n    memory: 1Mi\n    time: 5ms\n"
               "    instructions: 5000\n");
  decide(w);
  output[0] = 0;
  assert_int_equal(llmd_lane_eval(w->lane, "mine", "p.w, p.mode, p.dry, p.tag", 25, append, output, &w->err), 0);
  assert_string_equal(output, "2.5\t\"b\"\ttrue\t\"hello\"\n");
}

static void producers_and_stores(void **state)
{
  world *w = *state;
  llmd_now now = {3, 3};
  configure(w, MODULE("      return {store = 16, writes = {'Last'}, reads = {last = 'attr:Last/mine', 'id'},\n"
                      "        produce = function(id) return llmd.store.get('last') == id and 1 or 0 end,\n"
                      "        score = function(last) return last end,\n"
                      "        commit = function(target) llmd.store.put('last', target) end}\n"));
  decide(w);
  assert_int_equal(llmd_commit(w->lane, w->r, &w->d, w->id[2], &now), 0);
  assert_int_equal(decide(w), 2);
  assert_true(w->d.target[w->d.primary].score == 1);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

#define FILED "- type: lua\n  name: mine\n  parameters: {file: mine.lua}\n"

static void a_file_and_a_swap(void **state)
{
  static const char text[] = "return {score = function(waiting) return 1 - waiting / 10 end}";
  world *w = *state;
  llmd_scheduler *next;
  llmd_spare *spare;
  llmd_policy_info info = {.size = sizeof info};
  module_dir_write(&w->dir, "mine.lua", text, sizeof text - 1, 0600);
  configure(w, FILED);
  assert_int_equal(decide(w), 1);
  assert_int_equal(llmd_scheduler_policy(w->s, 0, &info), 0);
  assert_true(info.text.len == sizeof text - 1 && !memcmp(info.text.ptr, text, info.text.len));
  assert_int_equal(info.kind, 2);
  w->policy = "return {score = function(waiting) return waiting / 10 end}";
  assert_int_equal(create(w, FILED, &next), 0);
  assert_int_equal(llmd_lane_prepare(w->lane, next, &spare), 0);
  llmd_lane_take(w->lane, spare);
  llmd_spare_free(spare);
  llmd_scheduler_free(w->s);
  w->s = next;
  assert_int_equal(decide(w), 0);
}

static void examples_by_the_core(void **state)
{
  world *w = *state;
  w->policy = "return {score = function(waiting) return 1 / waiting end,\n"
              "  examples = {{name = 'one', endpoints = {{waiting = 2}}, scores = {0.5}},\n"
              "  {name = 'two', endpoints = {{waiting = 4}}, scores = {0.5}}}}";
  configure(w, FILED);
  output[0] = 0;
  assert_int_equal(llmd_scheduler_examples(w->s, append, output, &w->err), LLMD_E_PLUGIN);
  assert_string_equal(output, "ok 1 one\nnot ok 2 two: scores[1] is 0.25, expected 0.5\n");
  assert_string_equal(w->err.path, "mine.lua");
  assert_int_equal(w->err.line, 3);
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

static void refused(world *w, const char *plugins, int code, const char *path, uint32_t line, const char *words)
{
  llmd_scheduler *s;
  int rc = create(w, plugins, &s);
  if (rc != code || strcmp(w->err.path, path) || w->err.line != line || !strstr(w->err.text, words))
    fail_msg("%d %s:%u: %s", rc, w->err.path, w->err.line, w->err.text);
}

static void what_is_refused(void **state)
{
  world *w = *state;
  w->policy = "return {\n  scores = function(n) end}";
  refused(w, FILED, LLMD_E_UNKNOWN_FIELD, "mine.lua", 2, "did you mean score?");
  w->policy = "return {\n  score = function(n) return 1 +";
  refused(w, FILED, LLMD_E_SYNTAX, "mine.lua", 2, "");
  w->policy = "return {reads = {'prompt'}, score = function(req) return 1 end}";
  refused(w, FILED, LLMD_E_DENIED, "mine.lua", 1, "prompt: true");
  w->policy = "return {params = {w = {default = 1, min = 0, max = 5}}, score = function(p) return 1 end}";
  refused(w, "- type: lua\n  parameters: {file: a.lua, params: {w: 6}}\n", LLMD_E_RANGE, "plugins[0].parameters.params.w", 5,
          "at least 0 and at most 5");
  refused(w, "- type: lua\n  parameters: {file: a.lua, params: {v: 6}}\n", LLMD_E_UNKNOWN_FIELD,
          "plugins[0].parameters.params.v", 5, "v");
  refused(w, "- type: lua\n  parameters: {file: a.lua, params: {w: many}}\n", LLMD_E_TYPE, "plugins[0].parameters.params.w", 5,
          "");
  refused(w, "- type: lua\n  parameters: {file: a.lua, memory: 4Ki}\n", LLMD_E_NOMEM, "a.lua", 0, "too few");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
#define WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    WORLD(a_scorer),
    WORLD(batches_filters_and_texts),
    WORLD(beside_plugins_in_c),
    WORLD(parameters_of_all_types),
    WORLD(producers_and_stores),
    WORLD(a_file_and_a_swap),
    WORLD(examples_by_the_core),
    WORLD(what_is_refused),
  };
  return cmocka_run_group_tests_name("loaded", tests, NULL, NULL);
}
