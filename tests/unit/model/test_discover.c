/* Pool files: the staging copy is made equal to the file, or nothing changes and the error has a place. */
#include "small_pool.h"

#include "model/pool.h"

static int load(llmd_pool *p, const char *text, llmd_err *err)
{
  static llmd_err none;
  memset(err, 0, sizeof *err);
  err->size = sizeof none;
  return llmd_pool_load(p, text, strlen(text), err);
}

static void load_ok(llmd_pool *p, const char *text, int n)
{
  llmd_err err;
  int rc = load(p, text, &err);
  if (rc != n)
    fail_msg("%d instead of %d: %u:%u %s %s", rc, n, err.line, err.column, err.path, err.text);
}

static int count_each(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  (void)id;
  *(uint32_t *)ud += 1 + e->n_labels;
  return 0;
}

/* Endpoints and labels together: tells whether anything changed. */
static uint32_t weight(llmd_pool *p)
{
  uint32_t n = 0;
  publish(p);
  llmd_pool_each(p, count_each, &n);
  return n;
}

static const char three[] = "endpoints:\n"
                            "- {name: a, address: 10.0.0.1, port: \"8000\", labels: {role: decode}}\n"
                            "- {name: b, namespace: prod, address: 10.0.0.2, port: 8000, rank: 1}\n"
                            "- address: \"fd00::1\"\n  port: \"9000\"\n";

static void adds_removes_and_relabels(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a, b, c;
  (void)state;
  load_ok(p, three, 3);
  a = find(p, "default/a");
  b = find(p, "prod/b");
  c = find(p, "[fd00::1]:9000");
  assert_true(a && b && c && find(p, "10.0.0.2:8000/1") == b);
  assert_int_equal(weight(p), 4);
  load_ok(p, three, 3); /* again: nothing new */
  assert_true(find(p, "default/a") == a && find(p, "prod/b") == b && find(p, "[fd00::1]:9000") == c);
  load_ok(p,
          "{\"endpoints\":[{\"name\":\"a\",\"address\":\"10.0.0.1\",\"port\":8000,\"labels\":{\"role\":\"prefill\","
          "\"zone\":\"z\"}},{\"name\":\"d\",\"address\":\"10.0.0.4\",\"port\":1}]}",
          2);
  assert_true(find(p, "default/a") == a); /* same endpoint with other labels */
  assert_true(find(p, "prod/b") == 0 && find(p, "[fd00::1]:9000") == 0 && find(p, "default/d") != 0);
  assert_int_equal(weight(p), 4);
  load_ok(p, "endpoints: []\n", 0);
  assert_int_equal(weight(p), 0);
  load_ok(p, "", 0);
  llmd_pool_close(p);
}

/* Another name or place is another endpoint; two may change places. */
static void names_and_places_move(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a;
  (void)state;
  load_ok(p, "endpoints:\n- {name: a, address: x, port: 1}\n- {name: b, address: y, port: 1}\n", 2);
  a = find(p, "default/a");
  load_ok(p, "endpoints:\n- {name: a, address: y, port: 1}\n- {name: b, address: x, port: 1}\n", 2);
  assert_true(find(p, "default/a") != a && find(p, "default/a") == find(p, "y:1"));
  tick(p);
  load_ok(p, "endpoints:\n- {address: y, port: 1}\n- {name: a, address: z, port: 1}\n", 2);
  assert_true(find(p, "default/a") == find(p, "z:1") && find(p, "default/y:1") == find(p, "y:1"));
  llmd_pool_close(p);
}

#define HEAD "endpoints:\n- {name: a, address: 10.0.0.9, port: 1}\n"

static void errors_have_a_place_and_change_nothing(void **state)
{
  static const struct {
    const char *text;
    int code;
    uint32_t line, column;
    const char *path;
  } rows[] = {
      {"endpoints: 7\n", LLMD_E_TYPE, 1, 12, "endpoints"},
      {"pods: []\n", LLMD_E_UNKNOWN_FIELD, 1, 1, "pods"},
      {"endpoints: [\n", LLMD_E_SYNTAX, 2, 1, "endpoints"},
      {HEAD "- 5\n", LLMD_E_TYPE, 3, 3, "endpoints[1]"},
      {HEAD "- {name: b, port: 1}\n", LLMD_E_MISSING, 3, 3, "endpoints[1]"},
      {HEAD "- {address: x}\n", LLMD_E_MISSING, 3, 3, "endpoints[1]"},
      {HEAD "- {address: x, port: 0}\n", LLMD_E_RANGE, 3, 22, "endpoints[1].port"},
      {HEAD "- {address: x, port: \"65536\"}\n", LLMD_E_RANGE, 3, 22, "endpoints[1].port"},
      {HEAD "- {address: x, port: http}\n", LLMD_E_RANGE, 3, 22, "endpoints[1].port"},
      {HEAD "- {address: x, port: \"\"}\n", LLMD_E_RANGE, 3, 22, "endpoints[1].port"},
      {HEAD "- {address: x, port: 1.5}\n", LLMD_E_TYPE, 3, 22, "endpoints[1].port"},
      {HEAD "- {address: x, port: 1, rank: -1}\n", LLMD_E_RANGE, 3, 31, "endpoints[1].rank"},
      {HEAD "- {address: x, port: 1, weight: 2}\n", LLMD_E_UNKNOWN_FIELD, 3, 25, "endpoints[1].weight"},
      {HEAD "- {address: x, port: 1, labels: [a]}\n", LLMD_E_TYPE, 3, 33, "endpoints[1].labels"},
      {HEAD "- {address: x, port: 1, labels: {a: 1}}\n", LLMD_E_TYPE, 3, 37, "endpoints[1].labels.a"},
      {HEAD "- {address: x, port: 1, labels: {\"\": v}}\n", LLMD_E_INVALID, 3, 3, "endpoints[1]"},
      {HEAD "- {address: x, port: 1, labels: {a: b, c: d, e: f, g: h, i: j}}\n", LLMD_E_LIMIT, 3, 33,
       "endpoints[1].labels"},
      {HEAD "- {name: a, address: x, port: 1}\n", LLMD_E_DUPLICATE, 3, 3, "endpoints[1]"},
      {HEAD "- {name: b, address: 10.0.0.9, port: 1}\n", LLMD_E_DUPLICATE, 3, 3, "endpoints[1]"},
      {HEAD "- {name: \"x:1\", address: y, port: 1}\n- {address: x, port: 1}\n", LLMD_E_DUPLICATE, 4, 3,
       "endpoints[2]"},
      {HEAD "- {address: x, port: 1, namespace: a/b}\n", LLMD_E_INVALID, 3, 3, "endpoints[1]"},
  };
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a;
  (void)state;
  load_ok(p, three, 3);
  a = find(p, "default/a");
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd_err err;
    int rc = load(p, rows[i].text, &err);
    if (rc != rows[i].code || err.line != rows[i].line || err.column != rows[i].column ||
        strcmp(err.path, rows[i].path) || err.code != rc)
      fail_msg("%s gives %s %u:%u '%s' %s", rows[i].text, llmd_errname(rc), err.line, err.column, err.path, err.text);
    assert_true(find(p, "default/a") == a && find(p, "10.0.0.9:1") == 0);
    assert_int_equal(weight(p), 4);
  }
  llmd_pool_close(p);
}

static void too_many_for_the_region(void **state)
{
  llmd_pool *p = small_pool(3);
  llmd_err err;
  (void)state;
  load_ok(p, three, 3);
  assert_int_equal(load(p, "endpoints:\n- {address: e, port: 1}\n- {address: f, port: 1}\n", &err), LLMD_E_FULL);
  assert_non_null(strstr(err.text, "3 slots"));
  assert_true(find(p, "default/a") && find(p, "prod/b"));
  load_ok(p, "endpoints: []\n", 0);
  assert_int_equal(load(p, "endpoints:\n- {address: e, port: 1}\n", &err), LLMD_E_FULL);
  tick(p); /* now the slots are free */
  load_ok(p, "endpoints:\n- {address: e, port: 1}\n", 1);
  llmd_pool_close(p);
}

/* The strings of the last entry do not fit: the first ones are not there either, and nobody was removed. */
static void no_room_for_strings(void **state)
{
  char text[4096];
  llmd_region_options ro = small_region(64);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p;
  llmd_err err;
  size_t n;
  (void)state;
  ro.string_bytes = 1024;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  load_ok(p, three, 3);
  n = (size_t)snprintf(text, sizeof text, "endpoints:\n");
  for (int i = 0; i < 40; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "- {address: another-host-%d, port: 1}\n", i);
  assert_int_equal(load(p, text, &err), LLMD_E_FULL);
  assert_true(err.line > 2 && !strncmp(err.path, "endpoints[", 10));
  assert_true(find(p, "default/a") && find(p, "prod/b") && !find(p, "another-host-0:1"));
  assert_int_equal(weight(p), 4);
  llmd_pool_close(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adds_removes_and_relabels), cmocka_unit_test(names_and_places_move),
      cmocka_unit_test(errors_have_a_place_and_change_nothing), cmocka_unit_test(too_many_for_the_region),
      cmocka_unit_test(no_room_for_strings)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
