/* Descriptors as JSON: everything that is built in is there, and says what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/scheduler.h>

#include <string.h>

#include "base/tree.h"
#include "plugin/registry.h"

typedef struct bytes {
  size_t len, stop_at;
  char data[1 << 20];
} bytes;

static bytes text;

static int to_text(void *ud, const char *ptr, size_t len)
{
  bytes *b = ud;
  if (len > sizeof b->data - b->len || (b->stop_at && b->len + len > b->stop_at))
    return 1;
  memcpy(b->data + b->len, ptr, len);
  b->len += len;
  return 0;
}

static llmd__tree *described(const char *type)
{
  llmd__tree_limits limits = {sizeof text.data, 1000000, 32};
  llmd_err err = LLMD_ERR_INIT;
  llmd__tree *tree = NULL;
  text.len = text.stop_at = 0;
  assert_int_equal(llmd_plugins_write(type, to_text, &text), 0);
  if (llmd__tree_parse(NULL, text.data, text.len, &limits, &tree, &err))
    fail_msg("not JSON: %s at column %u", err.text, err.column);
  return tree;
}

/* The element of a list whose `key` is this. */
static const llmd__node *element(const llmd__node *list, const char *key, const char *value)
{
  for (const llmd__node *n = list ? list->first : NULL; n; n = n->next)
    if (llmd__map_get(n, key) && llmd__node_is(llmd__map_get(n, key), value))
      return n;
  fail_msg("no %s %s", key, value);
  return NULL;
}

static const char *text_of(const llmd__node *map, const char *key)
{
  const llmd__node *n = llmd__map_get(map, key);
  assert_non_null(n);
  return n->kind == LLMD__NULL ? NULL : n->text.ptr;
}

static void all_of_them(void **state)
{
  llmd__tree *tree = described(NULL);
  const llmd__node *root = llmd__tree_root(tree), *n = root->first;
  (void)state;
  for (const llmd_plugin *const *p = llmd__builtins(); *p; p++, n = n->next) {
    uint32_t params = 0, reads = 0, writes = 0;
    while ((*p)->params && (*p)->params[params].name)
      params++;
    while ((*p)->reads && (*p)->reads[reads].kind)
      reads++;
    while ((*p)->writes && (*p)->writes[writes].name)
      writes++;
    assert_non_null(n);
    assert_string_equal(text_of(n, "type"), (*p)->type);
    assert_string_equal(text_of(n, "summary"), (*p)->summary);
    assert_int_equal(llmd__map_get(n, "parameters")->count, params);
    assert_int_equal(llmd__map_get(n, "reads")->count, reads);
    assert_int_equal(llmd__map_get(n, "writes")->count, writes);
    assert_int_equal(llmd__map_get(n, "inert")->integer, ((*p)->kind & LLMD_INERT) != 0);
    assert_int_equal(llmd__map_get(n, "supported")->integer, (*p)->kind != 0);
    for (const llmd__node *q = llmd__map_get(n, "parameters")->first; q; q = q->next)
      assert_true(text_of(q, "doc") && *text_of(q, "doc"));
  }
  assert_null(n);
  llmd__tree_free(tree);
}

static void one_of_them(void **state)
{
  llmd__tree *tree = described("no-hit-lru-scorer");
  const llmd__node *root = llmd__tree_root(tree), *n;
  (void)state;
  assert_string_equal(text_of(root, "type"), "no-hit-lru-scorer");
  assert_int_equal(llmd__map_get(root, "kinds")->count, 2);
  assert_string_equal(llmd__map_get(root, "kinds")->first->text.ptr, "scorer");
  assert_string_equal(llmd__map_get(root, "kinds")->last->text.ptr, "producer");
  assert_string_equal(llmd__map_get(root, "verbs")->first->text.ptr, "score");
  assert_true(llmd__map_get(root, "table_entries")->integer > 0);
  n = element(llmd__map_get(root, "parameters"), "name", "lruSize");
  assert_string_equal(text_of(n, "type"), "int");
  assert_string_equal(text_of(n, "default"), "1024");
  n = element(llmd__map_get(root, "reads"), "name", "PrefixCacheMatchInfo.match");
  assert_string_equal(text_of(n, "kind"), "f64");
  assert_string_equal(text_of(n, "from"), "approx-prefix-cache-producer");
  assert_string_equal(text_of(n, "from_parameter"), "prefixMatchInfoProducerName");
  llmd__tree_free(tree);

  tree = described("inflight-load-producer");
  n = element(llmd__map_get(llmd__tree_root(tree), "writes"), "name", "InFlightLoad.requests");
  assert_int_equal(llmd__map_get(n, "created_by_itself")->integer, 1);
  assert_int_equal(llmd__map_get(n, "charged")->integer, 0);
  llmd__tree_free(tree);
}

static void nested_parameters(void **state)
{
  llmd__tree *tree = described("endpoint-attribute-filter");
  const llmd__node *n = element(llmd__map_get(llmd__tree_root(tree), "parameters"), "name", "algorithm");
  (void)state;
  assert_string_equal(text_of(n, "type"), "object");
  n = element(llmd__map_get(n, "fields"), "name", "threshold");
  n = element(llmd__map_get(n, "fields"), "name", "operator");
  assert_string_equal(text_of(n, "type"), "enum");
  assert_true(llmd__map_get(n, "values")->count > 2);
  llmd__tree_free(tree);
}

static void ranges(void **state)
{
  llmd__tree *tree = described("concurrency-detector");
  const llmd__node *n = element(llmd__map_get(llmd__tree_root(tree), "parameters"), "name", "maxConcurrency");
  (void)state;
  assert_int_equal(llmd__map_get(n, "min")->integer, 1);
  assert_non_null(llmd__map_get(n, "max"));
  n = element(llmd__map_get(llmd__tree_root(tree), "parameters"), "name", "inFlightLoadProducerName");
  assert_null(llmd__map_get(n, "max"));
  assert_null(text_of(n, "default"));
  llmd__tree_free(tree);
}

static void by_alias(void **state)
{
  uint32_t aliases = 0;
  (void)state;
  for (const llmd_plugin *const *p = llmd__builtins(); *p; p++)
    for (const char *const *a = (*p)->aliases; a && *a; a++, aliases++) {
      llmd__tree *tree = described(*a);
      assert_string_equal(text_of(llmd__tree_root(tree), "type"), (*p)->type);
      llmd__tree_free(tree);
    }
  assert_true(aliases > 0);
}

static void refusals(void **state)
{
  (void)state;
  text.len = text.stop_at = 0;
  assert_int_equal(llmd_plugins_write("no-such-thing", to_text, &text), LLMD_E_UNKNOWN_TYPE);
  assert_int_equal(text.len, 0);
  assert_int_equal(llmd_plugins_write("queue-scorer", NULL, NULL), LLMD_E_INVALID);
  text.stop_at = 1000;
  assert_int_equal(llmd_plugins_write(NULL, to_text, &text), LLMD_E_STOPPED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_of_them), cmocka_unit_test(one_of_them), cmocka_unit_test(nested_parameters),
      cmocka_unit_test(ranges),      cmocka_unit_test(by_alias),    cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
