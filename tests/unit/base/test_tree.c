/* What the getters answer, and the tree's memory. How text becomes a tree: test_yaml.c, test_json_read.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/tree.h"

#include "../failing_alloc.h"

#include <stdio.h>

static const char text[] = "name: pool\n"
                           "weight: 2.5\n"
                           "count: 3\n"
                           "strict: true\n"
                           "nothing: ~\n"
                           "list: [a, {b: 1, 'c d': [x, y]}]\n"
                           "parameters:\n"
                           "  ttl: 1m30s\n"
                           "  cap: 512Mi\n"
                           "  llm-d.ai/role: decode\n";

struct fixture {
  llmd__tree *tree;
  const llmd__node *root;
};

static int parse(void **state)
{
  static struct fixture f;
  if (llmd__tree_parse(NULL, text, sizeof text - 1, NULL, &f.tree, NULL) != LLMD_OK)
    return -1;
  f.root = llmd__tree_root(f.tree);
  *state = &f;
  return 0;
}

static int release(void **state)
{
  llmd__tree_free(((struct fixture *)*state)->tree);
  return 0;
}

/* A tree of one value, for getters that are given the value itself. */
static llmd__tree *one(const char *value)
{
  llmd__tree *t = NULL;
  assert_int_equal(llmd__tree_parse(NULL, value, strlen(value), NULL, &t, NULL), LLMD_OK);
  return t;
}

static void by_key(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root, *node = NULL;
  llmd_str s;
  uint8_t flag = 9;
  int64_t n = -1;
  double d = -1;
  assert_int_equal(llmd__get_str(root, "name", &s, NULL), 1);
  assert_string_equal(s.ptr, "pool");
  assert_int_equal(s.len, 4);
  assert_int_equal(llmd__get_bool(root, "strict", &flag, NULL), 1);
  assert_int_equal(flag, 1);
  assert_int_equal(llmd__get_int(root, "count", 0, 3, &n, NULL), 1);
  assert_int_equal(n, 3);
  assert_int_equal(llmd__get_double(root, "weight", &d, NULL), 1);
  assert_true(d == 2.5);
  assert_int_equal(llmd__get_double(root, "count", &d, NULL), 1);
  assert_true(d == 3);
  assert_int_equal(llmd__get_list(root, "list", &node, NULL), 1);
  assert_int_equal(node->count, 2);
  assert_int_equal(llmd__get_map(root, "parameters", &node, NULL), 1);
  assert_int_equal(llmd__get_duration(node, "ttl", &n, NULL), 1);
  assert_true(n == INT64_C(90000000000));
  assert_int_equal(llmd__get_quantity(node, "cap", &n, NULL), 1);
  assert_int_equal(n, 512 << 20);
  assert_int_equal(llmd__get_any(node, "llm-d.ai/role", &node, NULL), 1);
  assert_true(llmd__node_is(node, "decode"));
  assert_false(llmd__node_is(node, "decod"));
  assert_false(llmd__node_is(NULL, ""));
}

static void absent_and_null_keep_the_default(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root, *none = llmd__map_get(root, "nothing");
  const char *const keys[] = {"nothing", "missing", "Name", ""};
  assert_non_null(none);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    llmd_str s = {"default", 7};
    uint8_t flag = 9;
    int64_t n = 9;
    double d = 9;
    const llmd__node *node = root;
    assert_int_equal(llmd__get_str(root, keys[i], &s, NULL), 0);
    assert_int_equal(llmd__get_bool(root, keys[i], &flag, NULL), 0);
    assert_int_equal(llmd__get_int(root, keys[i], 0, 99, &n, NULL), 0);
    assert_int_equal(llmd__get_double(root, keys[i], &d, NULL), 0);
    assert_int_equal(llmd__get_duration(root, keys[i], &n, NULL), 0);
    assert_int_equal(llmd__get_quantity(none, keys[i], &n, NULL), 0);
    assert_int_equal(llmd__get_list(NULL, keys[i], &node, NULL), 0);
    assert_int_equal(llmd__get_map(root, keys[i], &node, NULL), 0);
    assert_int_equal(llmd__get_any(root, keys[i], &node, NULL), 0);
    assert_string_equal(s.ptr, "default");
    assert_true(flag == 9 && n == 9 && d == 9 && node == root);
  }
}

/* Each getter against each kind it must refuse, with the words a person reads. */
static void wrong_kinds_are_told(void **state)
{
  static const char yes_no[] = "expected a boolean, found text; write true or false (yes, no, on and off are text in "
                               "YAML 1.2)";
  static const char digits[] = "expected a whole number, found text; write plain digits, without leading zeros, "
                               "underscores or units";
  static const struct {
    char getter;
    const char *value, *message;
    int code;
  } rows[] = {
      {'s', "5", "expected text, found a whole number (put it in quotes)", LLMD_E_TYPE},
      {'s', "true", "expected text, found a boolean (put it in quotes)", LLMD_E_TYPE},
      {'s', "~", "expected text, found null", LLMD_E_TYPE},
      {'s', "[a]", "expected text, found a list", LLMD_E_TYPE},
      {'b', "yes", yes_no, LLMD_E_TYPE},
      {'b', "OFF", yes_no, LLMD_E_TYPE},
      {'b', "'true'", "expected a boolean, found text in quotes; write true or false without them", LLMD_E_TYPE},
      {'b', "maybe", "expected a boolean, found text", LLMD_E_TYPE},
      {'b', "1", "expected a boolean, found a whole number", LLMD_E_TYPE},
      {'i', "x", "expected a whole number, found text", LLMD_E_TYPE},
      {'i', "010", digits, LLMD_E_TYPE},
      {'i', "-1_000", digits, LLMD_E_TYPE},
      {'i', "'7'", "expected a whole number, found text in quotes; write the number without them", LLMD_E_TYPE},
      {'i', "1.5", "expected a whole number, found a number", LLMD_E_TYPE},
      {'i', "1e17", "expected a whole number, found a number", LLMD_E_TYPE},
      {'i', ".nan", "expected a whole number, found a number", LLMD_E_TYPE},
      {'i', "-11", "must be between -10 and 10", LLMD_E_RANGE},
      {'i', "11", "must be between -10 and 10", LLMD_E_RANGE},
      {'i', "11.0", "must be between -10 and 10", LLMD_E_RANGE},
      {'i', "99999999999999999999", "must be between -10 and 10", LLMD_E_RANGE},
      {'d', ".inf", "must be a finite number", LLMD_E_RANGE},
      {'d', ".nan", "must be a finite number", LLMD_E_RANGE},
      {'d', "1e999", "must be a finite number", LLMD_E_RANGE},
      {'d', "'1.5'", "expected a number, found text in quotes; write the number without them", LLMD_E_TYPE},
      {'d', "{}", "expected a number, found a map", LLMD_E_TYPE},
      {'t', "60", "expected a duration such as 60s, 1m30s or 200ms, found a whole number without a unit", LLMD_E_TYPE},
      {'t', "1 h", "expected a duration such as 60s, 1m30s or 200ms", LLMD_E_TYPE},
      {'t', "9999999h", "longer than a duration can be (292 years)", LLMD_E_RANGE},
      {'q', "[1]", "expected a quantity such as 5000, 1G or 512Mi, found a list", LLMD_E_TYPE},
      {'q', "1GB", "expected a quantity such as 5000, 1G or 512Mi", LLMD_E_TYPE},
      {'q', ".inf", "expected a quantity such as 5000, 1G or 512Mi", LLMD_E_TYPE},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__tree *t = one(rows[i].value);
    const llmd__node *root = llmd__tree_root(t);
    llmd_err err = LLMD_ERR_INIT;
    llmd_str s = {NULL, 0};
    uint8_t flag = 9;
    int64_t n = 99;
    double d = 99;
    int rc = rows[i].getter == 's'   ? llmd__node_str(root, &s, &err)
             : rows[i].getter == 'b' ? llmd__node_bool(root, &flag, &err)
             : rows[i].getter == 'i' ? llmd__node_int(root, -10, 10, &n, &err)
             : rows[i].getter == 'd' ? llmd__node_double(root, &d, &err)
             : rows[i].getter == 't' ? llmd__node_duration(root, &n, &err)
                                     : llmd__node_quantity(root, &n, &err);
    assert_string_equal(err.text, rows[i].message);
    assert_int_equal(rc, rows[i].code);
    assert_int_equal(err.code, rc);
    assert_true(!s.ptr && flag == 9 && n == 99 && d == 99);
    llmd__tree_free(t);
  }
}

static void whole_numbers_may_be_written_as_floats(void **state)
{
  static const struct {
    const char *value;
    int64_t n;
  } rows[] = {{"2.0", 2}, {"1e3", 1000}, {"-0.0", 0}, {"9007199254740992.0", INT64_C(9007199254740992)},
              {"-9223372036854775808", INT64_MIN}, {"9223372036854775807", INT64_MAX}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__tree *t = one(rows[i].value);
    int64_t n = 99;
    assert_int_equal(llmd__node_int(llmd__tree_root(t), INT64_MIN, INT64_MAX, &n, NULL), LLMD_OK);
    assert_true(n == rows[i].n);
    llmd__tree_free(t);
  }
}

static void quantities_may_be_numbers(void **state)
{
  static const struct {
    const char *value;
    int64_t n;
  } rows[] = {{"5000", 5000}, {"0x10", 16}, {"1e3", 1000}, {"1.5", 2}, {"'1G'", 1000000000}, {"1Gi", 1 << 30}};
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    llmd__tree *t = one(rows[i].value);
    int64_t n = 99;
    assert_int_equal(llmd__node_quantity(llmd__tree_root(t), &n, NULL), LLMD_OK);
    assert_true(n == rows[i].n);
    llmd__tree_free(t);
  }
}

static void errors_have_place_and_path(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root, *node;
  llmd_err err = LLMD_ERR_INIT;
  double d;
  assert_int_equal(llmd__get_double(llmd__map_get(root, "parameters"), "ttl", &d, &err), LLMD_E_TYPE);
  assert_string_equal(err.path, "parameters.ttl");
  assert_int_equal(err.line, 8);
  assert_int_equal(err.column, 8);
  assert_int_equal(llmd__get_str(llmd__map_get(root, "list"), "x", NULL, &err), LLMD_E_TYPE);
  assert_string_equal(err.text, "expected a map, found a list");
  assert_string_equal(err.path, "list");
  assert_int_equal(llmd__get_map(root, "list", &node, &err), LLMD_E_TYPE);
  assert_string_equal(err.text, "expected a map, found a list");
  assert_int_equal(llmd__get_list(root, "parameters", &node, &err), LLMD_E_TYPE);
  assert_string_equal(err.text, "expected a list, found a map");
  assert_int_equal(llmd__node_fail(NULL, &err, LLMD_E_STATE, "%d%%", 5), LLMD_E_STATE);
  assert_string_equal(err.text, "5%");
  assert_string_equal(err.path, "");
  assert_int_equal(err.line, 0);
}

static void required_keys(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root;
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(llmd__require(root, "name", &err), LLMD_OK);
  assert_int_equal(llmd__require(root, "nothing", &err), LLMD_E_MISSING);
  assert_string_equal(err.text, "\"nothing\" is required");
  assert_int_equal(llmd__require(llmd__map_get(root, "parameters"), "window", &err), LLMD_E_MISSING);
  assert_string_equal(err.path, "parameters");
  assert_int_equal(err.line, 8);
  assert_int_equal(err.column, 3);
  assert_int_equal(llmd__require(llmd__map_get(root, "name"), "x", &err), LLMD_E_TYPE);
}

static void unknown_fields(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root;
  const char *const all[] = {"name", "weight", "count", "strict", "nothing", "list", "parameters"};
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(llmd__reject_unknown(root, all, 7, &err), LLMD_OK);
  assert_int_equal(llmd__reject_unknown(root, all, 3, &err), LLMD_E_UNKNOWN_FIELD);
  assert_string_equal(err.text, "unknown field \"strict\"");
  assert_string_equal(err.path, "strict");
  assert_int_equal(err.line, 4);
  assert_int_equal(err.column, 1);
  assert_int_equal(llmd__reject_unknown(llmd__map_get(root, "parameters"), all, 7, &err), LLMD_E_UNKNOWN_FIELD);
  assert_string_equal(err.path, "parameters.ttl");
  assert_int_equal(llmd__reject_unknown(NULL, all, 7, &err), LLMD_OK);
  assert_int_equal(llmd__reject_unknown(llmd__map_get(root, "nothing"), all, 7, &err), LLMD_OK);
  assert_int_equal(llmd__reject_unknown(llmd__map_get(root, "list"), all, 7, &err), LLMD_E_TYPE);
}

static void paths(void **state)
{
  const llmd__node *root = ((struct fixture *)*state)->root;
  const llmd__node *deep = llmd__map_get(llmd__map_get(root, "list")->last, "c d")->last;
  const llmd__node *role = llmd__map_get(llmd__map_get(root, "parameters"), "llm-d.ai/role");
  static const char expected[] = "list[1][\"c d\"][1]";
  char buf[64];
  assert_int_equal(llmd__node_path(root, buf, sizeof buf), 0);
  assert_string_equal(buf, "");
  assert_int_equal(llmd__node_path(deep, buf, sizeof buf), strlen(expected));
  assert_string_equal(buf, expected);
  llmd__node_path(role, buf, sizeof buf);
  assert_string_equal(buf, "parameters[\"llm-d.ai/role\"]");
  for (size_t n = 0; n <= sizeof expected; n++) {
    memset(buf, '#', sizeof buf);
    assert_int_equal(llmd__node_path(deep, buf, n), strlen(expected));
    assert_int_equal(buf[n], '#'); /* nothing beyond */
    if (n == 0)
      continue;
    size_t kept = n - 1 < strlen(expected) ? n - 1 : strlen(expected);
    assert_memory_equal(buf, expected, kept);
    assert_int_equal(buf[kept], 0);
  }
}

static void many_keys_are_all_found(void **state)
{
  static char big[3000 * 16];
  size_t n = 0;
  llmd__tree *t = NULL;
  (void)state;
  for (int i = 0; i < 3000; i++)
    n += (size_t)sprintf(big + n, "key%d: %d\n", i, i * 7);
  assert_int_equal(llmd__tree_parse(NULL, big, n, NULL, &t, NULL), LLMD_OK);
  const llmd__node *root = llmd__tree_root(t), *child = root->first;
  assert_int_equal(root->count, 3000);
  for (int i = 0; i < 3000; i++, child = child->next) {
    char key[16];
    sprintf(key, "key%d", i);
    assert_ptr_equal(llmd__map_get(root, key), child); /* in the order written too */
    assert_int_equal(child->integer, i * 7);
    assert_int_equal(child->index, i);
  }
  assert_null(child);
  assert_null(llmd__map_get(root, "key3000"));
  assert_null(llmd__map_find(root, "key30001", 0));
  assert_non_null(llmd__map_find(root, "key30001", 6));
  llmd__tree_free(t);
}

/* ==== memory ==== */

static int parse_and_free(const llmd_allocator *a, void *ctx)
{
  const llmd_str *doc = ctx;
  llmd__tree *t = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd__tree_parse(a, doc->ptr, doc->len, NULL, &t, &err);
  if (rc) {
    assert_null(t);
    assert_int_equal(err.code, rc);
  } else {
    llmd__tree_free(t);
  }
  return rc;
}

/* Chunks double, so a large document exercises several: list of maps with texts, quotes and escapes. */
static void every_allocation_fails_once(void **state)
{
  static char yaml[60000], json[60000];
  size_t n = 0, m = 0;
  (void)state;
  m += (size_t)sprintf(json + m, "[");
  for (int i = 0; i < 700; i++) {
    n += (size_t)sprintf(yaml + n, "- {name: 'plugin %d', weight: %d.5, on: [true, ~]}\n", i, i);
    m += (size_t)sprintf(json + m, "%s{\"name\":\"plugin\\u0020%d\\n\",\"weight\":[%d.5,true]}", i ? "," : "", i, i);
  }
  m += (size_t)sprintf(json + m, "]");
  llmd_str docs[] = {{yaml, n}, {json, m}, {"", 0}, {"{}", 2}};
  size_t calls[4];
  for (size_t i = 0; i < 4; i++)
    calls[i] = fail_each_allocation(parse_and_free, &docs[i]);
  assert_true(calls[0] > 5 && calls[1] > 5 && calls[2] == 2 && calls[3] == 2);
}

static void refused_documents_leak_nothing(void **state)
{
  static const char *const bad[] = {"a: [1, 2", "{\"a\": [1, 2}", "a: &x 1", "a: 1\na: 2", "{\"a\":1,\"a\":2}",
                                    "a: \xff",
                                    "{\"a\":\"\\ud800\"}", "[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]", "a: \x01",
                                        "a: 1\n---\n"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    failing_alloc f;
    llmd__tree *t = NULL;
    failing_alloc_init(&f, 0);
    assert_true(llmd__tree_parse(&f.a, bad[i], strlen(bad[i]), NULL, &t, NULL) < 0);
    assert_null(t);
    assert_int_equal(f.blocks, 0);
  }
}

static void held_bytes_are_counted(void **state)
{
  failing_alloc f;
  llmd__tree *t = NULL;
  (void)state;
  failing_alloc_init(&f, 0);
  assert_int_equal(llmd__tree_parse(&f.a, text, sizeof text - 1, NULL, &t, NULL), LLMD_OK);
  assert_int_equal(llmd__tree_bytes(t), f.bytes);
  llmd__tree_free(t);
  llmd__tree_free(NULL);
  assert_int_equal(f.bytes, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(by_key),
      cmocka_unit_test(absent_and_null_keep_the_default),
      cmocka_unit_test(wrong_kinds_are_told),
      cmocka_unit_test(whole_numbers_may_be_written_as_floats),
      cmocka_unit_test(quantities_may_be_numbers),
      cmocka_unit_test(errors_have_place_and_path),
      cmocka_unit_test(required_keys),
      cmocka_unit_test(unknown_fields),
      cmocka_unit_test(paths),
      cmocka_unit_test(many_keys_are_all_found),
      cmocka_unit_test(every_allocation_fails_once),
      cmocka_unit_test(refused_documents_leak_nothing),
      cmocka_unit_test(held_bytes_are_counted),
  };
  return cmocka_run_group_tests_name("tree", tests, parse, release);
}
