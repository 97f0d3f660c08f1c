/* The types a process knows: complete, without doubles, found by name and alias. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "../failing_alloc.h"
#include "plugin/registry.h"

static llmd__registry *built_in(void)
{
  llmd_allocator a;
  llmd__registry *r = NULL;
  llmd__alloc_init(&a, NULL);
  assert_int_equal(llmd__registry_create(&a, NULL, NULL, NULL, &r, NULL), 0);
  return r;
}

static void every_built_in_is_found_by_its_names(void **state)
{
  llmd__registry *r = built_in();
  uint32_t n = 0;
  int old;
  (void)state;
  while (llmd__builtins()[n])
    n++;
  assert_true(n > 80);
  assert_int_equal(llmd__registry_count(r), n);
  for (uint32_t i = 0; i < n; i++) {
    const llmd_plugin *p = llmd__registry_at(r, i);
    assert_int_equal(p->size, sizeof *p);
    assert_ptr_equal(llmd__registry_find(r, p->type, &old), p);
    assert_int_equal(old, 0);
    for (const char *const *a = p->aliases; a && *a; a++) {
      assert_ptr_equal(llmd__registry_find(r, *a, &old), p); /* no alias belongs to two, none hides a type */
      assert_int_equal(old, 1);
    }
  }
  llmd__registry_free(r);
}

static void unknown_names_are_unknown(void **state)
{
  llmd__registry *r = built_in();
  int old;
  (void)state;
  assert_null(llmd__registry_find(r, "no-such-scorer", &old));
  assert_null(llmd__registry_find(r, "", &old));
  assert_null(llmd__registry_find(r, "Queue-Scorer", &old));
  llmd__registry_free(r);
}

static void the_reference_s_old_names(void **state)
{
  static const char *const pairs[][2] = {{"tokenizer", "token-producer"}};
  llmd__registry *r = built_in();
  int old;
  (void)state;
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const llmd_plugin *p = llmd__registry_find(r, pairs[i][0], &old);
    assert_non_null(p);
    assert_string_equal(p->type, pairs[i][1]);
    assert_int_equal(old, 1);
  }
  llmd__registry_free(r);
}

/* What a verb needs is there: the core calls it without looking. */
static void built_ins_have_the_verbs_of_their_kinds(void **state)
{
  (void)state;
  for (const llmd_plugin *const *i = llmd__builtins(); *i; i++) {
    const llmd_plugin *p = *i;
    assert_non_null(p->summary);
    assert_true(p->self_size > 0 || !p->kind);
    assert_true(!(p->kind & LLMD_FILTER) || p->filter);
    assert_true(!(p->kind & LLMD_SCORER) || p->score);
    assert_true(!(p->kind & LLMD_DETECTOR) || p->saturation);
    if (p->commit || p->report || p->forget || p->table_entries)
      assert_true(p->kind & LLMD_PRODUCER); /* only producers are given services */
  }
}

static int create(const llmd_allocator *a, void *ctx)
{
  llmd__registry *r = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd__registry_create(a, NULL, NULL, NULL, &r, &err);
  (void)ctx;
  if (!rc)
    llmd__registry_free(r);
  else
    assert_int_equal(err.code, LLMD_E_NOMEM);
  return rc;
}

static void every_allocation_fails_once(void **state)
{
  (void)state;
  llmd__registry_free(NULL);
  assert_true(fail_each_allocation(create, NULL) >= 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_built_in_is_found_by_its_names), cmocka_unit_test(unknown_names_are_unknown),
      cmocka_unit_test(the_reference_s_old_names), cmocka_unit_test(built_ins_have_the_verbs_of_their_kinds),
      cmocka_unit_test(every_allocation_fails_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
