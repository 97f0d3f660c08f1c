/* The examples of docs/lua.md work: every Lua block that returns a policy is one, and its examples come out; every whole
 * configuration can be made, and so can those in the heads of lua/policies/FILE.lua.
 *
 *   test_policies_guide FOLDER ENGINE GUIDE */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *page;

/* The next block of that language behind *at, as text of its own; NULL = no more. */
static char *next_block(const char **at, const char *language)
{
  char fence[32];
  const char *begin, *end;
  char *block;
  size_t len;
  snprintf(fence, sizeof fence, "\n```%s\n", language);
  begin = strstr(*at, fence);
  if (!begin)
    return NULL;
  begin += strlen(fence);
  end = strstr(begin, "\n```");
  assert_non_null(end);
  len = (size_t)(end + 1 - begin);
  block = malloc(len + 1);
  assert_non_null(block);
  memcpy(block, begin, len);
  block[len] = 0;
  *at = end;
  return block;
}

/* ---- Lua -------------------------------------------------------------------------------------------------------- */

static const char *offered;

static int offer(void *ud, const llmd_str *file, llmd_str *text)
{
  (void)ud;
  (void)file;
  text->ptr = offered;
  text->len = strlen(offered);
  return 1;
}

static int to_stderr(void *ud, const char *ptr, size_t len)
{
  (void)ud;
  return fwrite(ptr, 1, len, stderr) != len;
}

static void check_policy(const char *text)
{
  char config[1024];
  llmd_scheduler_options so;
  llmd_scheduler *s;
  llmd_err err = LLMD_ERR_INIT;
  rig r;
  int n = llmd_policy_config("lua", "guide.lua", config, sizeof config);
  assert_true(n > 0);
  offered = text;
  rig_open(&r, 1);
  rig_options(&so);
  so.policy = offer;
  if (llmd_scheduler_create(&so, r.pool, config, (size_t)n, &s, &err))
    fail_msg("%s:%u: %s\n%s", err.path, err.line, err.text, text);
  if (llmd_scheduler_examples(s, to_stderr, NULL, &err) < 0)
    fail_msg("%s\n%s", err.text, text);
  llmd_scheduler_free(s);
  rig_close(&r);
}

static void lua_blocks_are_policies(void **state)
{
  const char *at = page;
  uint32_t n = 0;
  char *block;
  (void)state;
  while ((block = next_block(&at, "lua"))) {
    if (strstr(block, "return {")) {
      check_policy(block);
      n++;
    }
    free(block);
  }
  assert_true(n >= 4);
}

/* ---- YAML ------------------------------------------------------------------------------------------------------- */

static void yaml_blocks_are_configurations(void **state)
{
  const char *at = page;
  uint32_t n = 0;
  char *block;
  rig r;
  (void)state;
  rig_open(&r, 2);
  while ((block = next_block(&at, "yaml"))) {
    if (strstr(block, "kind: EndpointPickerConfig")) {
      rig_configure(&r, block);
      n++;
    }
    free(block);
  }
  rig_close(&r);
  assert_true(n >= 1);
}

static char *read_page(const char *path)
{
  size_t cap = 1 << 20, len;
  char *text = malloc(cap);
  FILE *f = fopen(path, "rb");
  if (!f || !text)
    return NULL;
  len = fread(text, 1, cap - 1, f);
  text[len] = 0;
  fclose(f);
  return text;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lua_blocks_are_policies),
      cmocka_unit_test(yaml_blocks_are_configurations),
  };
  int rc;
  if (argc != 4 || !(page = read_page(argv[3])))
    return 2;
  rig_start(argc, argv);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  rig_end();
  free(page);
  return rc;
}
