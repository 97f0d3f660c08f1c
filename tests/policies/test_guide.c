/* What the guide and the README show works: every Lua block is a policy, and its examples come out; every whole
 * configuration can be made.
 *
 *   test_policies_guide FOLDER ENGINE PAGE... */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX (1u << 20)

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
    check_policy(block);
    free(block);
    n++;
  }
  assert_true(n >= 5);
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

/* All pages, one behind the other. */
static int read_pages(int n, char **paths)
{
  size_t len = 0;
  page = malloc(PAGES_MAX);
  for (int i = 0; i < n && page; i++) {
    FILE *f = fopen(paths[i], "rb");
    if (!f)
      return -1;
    len += fread(page + len, 1, PAGES_MAX - 1 - len, f);
    fclose(f);
  }
  if (page)
    page[len] = 0;
  return page && len < PAGES_MAX - 1 ? 0 : -1;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lua_blocks_are_policies),
      cmocka_unit_test(yaml_blocks_are_configurations),
  };
  int rc;
  if (argc < 4 || read_pages(argc - 3, argv + 3))
    return 2;
  rig_start(argc, argv);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  rig_end();
  free(page);
  return rc;
}
