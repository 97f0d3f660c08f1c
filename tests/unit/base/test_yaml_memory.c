/* libyaml takes its memory from malloc. Here its own allocation functions are replaced by ones that refuse the k-th
 * call: every refusal must come back as LLMD_E_NOMEM, with nothing kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/tree.h"

#include "../failing_alloc.h"

#include <stdlib.h>
#include <string.h>

static size_t calls, fail_at, refused, held;

void *yaml_malloc(size_t size);
void *yaml_realloc(void *ptr, size_t size);
void yaml_free(void *ptr);
unsigned char *yaml_strdup(const unsigned char *text);

static int refuse(void)
{
  refused += ++calls == fail_at;
  return calls == fail_at;
}

void *yaml_malloc(size_t size)
{
  void *p = refuse() ? NULL : malloc(size ? size : 1);
  held += p != NULL;
  return p;
}

void *yaml_realloc(void *ptr, size_t size)
{
  void *p = refuse() ? NULL : realloc(ptr, size ? size : 1);
  held += p != NULL && ptr == NULL;
  return p;
}

void yaml_free(void *ptr)
{
  held -= ptr != NULL;
  free(ptr);
}

unsigned char *yaml_strdup(const unsigned char *text)
{
  size_t n = text ? strlen((const char *)text) + 1 : 0;
  unsigned char *copy = text ? yaml_malloc(n) : NULL;
  if (copy)
    memcpy(copy, text, n);
  return copy;
}

static size_t fail_each(const char *doc, int final)
{
  for (fail_at = 1;; fail_at++) {
    failing_alloc f;
    llmd__tree *t = NULL;
    llmd_err err = LLMD_ERR_INIT;
    failing_alloc_init(&f, 0);
    calls = refused = 0;
    int rc = llmd__tree_parse(&f.a, doc, strlen(doc), NULL, &t, &err);
    if (rc == LLMD_OK)
      llmd__tree_free(t);
    assert_int_equal(held, 0);
    assert_int_equal(f.blocks, 0);
    if (!refused) {
      assert_int_equal(rc, final);
      return fail_at - 1;
    }
    assert_int_equal(rc, LLMD_E_NOMEM);
    assert_int_equal(err.code, LLMD_E_NOMEM);
  }
}

static void every_allocation_of_libyaml_fails_once(void **state)
{
  static char longer[40000];
  (void)state;
  assert_true(fail_each("a: 1\n", LLMD_OK) > 10);
  assert_true(fail_each("- {type: queue-scorer, parameters: {a: [1, 'two', \"three\"]}}\n- |\n  text\n  lines\n",
                        LLMD_OK) > 30);
  assert_true(fail_each("a: [1, 2\nb: 3\n", LLMD_E_SYNTAX) > 10);
  assert_true(fail_each("a: &anchor 1\nb: *anchor\n", LLMD_E_UNSUPPORTED) > 10);
  assert_true(fail_each("%TAG ! tag:x,2000:\n---\n!a b\n", LLMD_E_UNSUPPORTED) > 10);
  for (size_t i = 0; i + 1 < sizeof longer; i++) /* one word that outgrows every buffer */
    longer[i] = 'x';
  assert_true(fail_each(longer, LLMD_OK) > 10);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_of_libyaml_fails_once)};
  return cmocka_run_group_tests_name("yaml_memory", tests, NULL, NULL);
}
