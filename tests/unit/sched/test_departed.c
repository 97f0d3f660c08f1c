/* What is still said of endpoints that have left. */
#include "small_rig.h"

#include "model/strings.h"

static const char policy[] = HEAD "- type: queue-scorer\n";

static int to_text(void *ud, const char *ptr, size_t len)
{
  char *text = ud;
  size_t at = strlen(text);
  assert_true(at + len < 8192);
  memcpy(text + at, ptr, len);
  text[at + len] = 0;
  return 0;
}

/* The why outlives the endpoints it speaks of: where their names have become others' names, it says that they left. */
static void the_why_of_endpoints_that_left(void **state)
{
  static char before[8192], after[8192];
  llmd_scheduler_options so = {.size = sizeof so, .explain = 1};
  rig r;
  (void)state;
  before[0] = after[0] = 0;
  rig_open(&r, 2, policy, &so, NULL);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"hello\"}");
  assert_true(rig_goes_to(&r, 1) >= 0);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[1]), 0);
  for (unsigned i = 0; i < 6; i++)
    rig_publish(&r);
  assert_int_equal(llmd_explain_json(r.lane, to_text, before), 0);
  assert_non_null(strstr(before, "default/10.0.0.2:8000")); /* nothing was freed yet */
  assert_int_equal(llmd__strings_make_room(r.pool), 2);
  rig_add(&r, "10.0.0.9", 8000); /* takes their place */
  rig_publish(&r);
  assert_int_equal(llmd_explain_json(r.lane, to_text, after), 0);
  assert_null(strstr(after, "default/10.0.0.2"));
  assert_null(strstr(after, "10.0.0.9"));
  assert_non_null(strstr(after, "(gone)"));
  assert_non_null(strstr(after, "default/10.0.0.1:8000"));
  rig_close(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_why_of_endpoints_that_left)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
