/* Whose files a policy is read from, and what a text may not be. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>


#define LLMD_STRANGERS "" /* no modules here */
#include "../failing_alloc.h"
#include "../module_dir.h"
#include "policy_rig.h"

static module_dir dir;
static char path[600];

static const char *at(const char *name)
{
  snprintf(path, sizeof path, "%s/%s", dir.path, name);
  return path;
}

static int make_dir(void **state)
{
  (void)state;
  module_dir_make(&dir);
  return 0;
}

static int remove_dir(void **state)
{
  (void)state;
  module_dir_remove(&dir);
  return 0;
}

static void reads(const char *file, int code, const char *words)
{
  llmd_err err = LLMD_ERR_INIT;
  failing_alloc f;
  char *text = NULL;
  size_t len = 77;
  int rc;
  failing_alloc_init(&f, 0);
  rc = llmd__lua_read_file(&f.a, file, &text, &len, &err);
  assert_int_equal(rc, code);
  if (rc) {
    assert_null(text);
    assert_int_equal(len, 77);
    assert_non_null(strstr(err.text, words));
    assert_int_equal(err.code, code);
  } else {
    assert_string_equal(text, words);
    assert_int_equal(len, strlen(words));
    f.a.fn(f.a.ud, text, len + 1, 0);
  }
  assert_int_equal(f.blocks, 0);
}

static void a_file_is_read(void **state)
{
  (void)state;
  module_dir_write(&dir, "a.lua", "return {}\n", 10, 0600);
  reads(at("a.lua"), 0, "return {}\n");
  module_dir_write(&dir, "empty.lua", "", 0, 0444);
  reads(at("empty.lua"), 0, "");
}

static void others_files_are_not(void **state)
{
  (void)state;
  module_dir_write(&dir, "world.lua", "return {}", 9, 0602);
  reads(at("world.lua"), LLMD_E_DENIED, "it is writable by everybody: chmod go-w world.lua");
  module_dir_write(&dir, "all.lua", "return {}", 9, 0666);
  reads(at("all.lua"), LLMD_E_DENIED, "it is writable by everybody: chmod go-w all.lua");
  if (geteuid() == 0) { /* nobody else can give files away */
    module_dir_write(&dir, "theirs.lua", "return {}", 9, 0600);
    assert_int_equal(chown(at("theirs.lua"), 12345, 12345), 0);
    reads(at("theirs.lua"), LLMD_E_DENIED, "owned by somebody else");
    module_dir_write(&dir, "group.lua", "return {}", 9, 0640);
    assert_int_equal(chown(at("group.lua"), geteuid(), 12345), 0);
    reads(at("group.lua"), 0, "return {}");
    assert_int_equal(chmod(at("group.lua"), 0660), 0);
    reads(at("group.lua"), LLMD_E_DENIED, "it is writable by another group: chmod go-w group.lua");
  }
}

/* As umask 002 makes them, where every user has a group of his own. */
static void our_group_may_write(void **state)
{
  (void)state;
  module_dir_write(&dir, "ours.lua", "return {}", 9, 0664);
  assert_int_equal(chown(at("ours.lua"), geteuid(), getegid()), 0);
  reads(at("ours.lua"), 0, "return {}");
}

static void what_is_no_file(void **state)
{
  char to[600];
  (void)state;
  reads(at("nothing.lua"), LLMD_E_IO, "no such file");
  reads(NULL, LLMD_E_IO, "cannot be opened");
  reads(dir.path, LLMD_E_DENIED, "not a regular file");
  module_dir_write(&dir, "b.lua", "return {}", 9, 0600);
  snprintf(to, sizeof to, "%s", at("b.lua"));
  assert_int_equal(symlink(to, at("link.lua")), 0);
  reads(at("link.lua"), LLMD_E_DENIED, "a link is not followed");
  assert_int_equal(mkfifo(at("pipe.lua"), 0600), 0);
  reads(at("pipe.lua"), LLMD_E_DENIED, "not a regular file"); /* and nobody waits for a writer */
}

static void what_is_no_text(void **state)
{
  static char big[LLMD_POLICY_BYTES + 1];
  llmd_err err = LLMD_ERR_INIT;
  failing_alloc f;
  char *text;
  size_t len;
  (void)state;
  memset(big, ' ', sizeof big);
  module_dir_write(&dir, "big.lua", big, sizeof big, 0600);
  reads(at("big.lua"), LLMD_E_LIMIT, "at most 65536 bytes");
  module_dir_write(&dir, "most.lua", big, LLMD_POLICY_BYTES, 0600);
  failing_alloc_init(&f, 0);
  assert_int_equal(llmd__lua_read_file(&f.a, at("most.lua"), &text, &len, &err), 0);
  assert_int_equal(len, LLMD_POLICY_BYTES);
  f.a.fn(f.a.ud, text, len + 1, 0);
  module_dir_write(&dir, "nul.lua", "return\0{}", 9, 0600);
  reads(at("nul.lua"), LLMD_E_SYNTAX, "no NUL");
  module_dir_write(&dir, "code.lua", "\x1bLuaT", 5, 0600);
  reads(at("code.lua"), LLMD_E_SYNTAX, "compiled code");
}

static int read_with(const llmd_allocator *a, void *ctx)
{
  llmd_err err = LLMD_ERR_INIT;
  char *text;
  size_t len;
  int rc = llmd__lua_read_file(a, ctx, &text, &len, &err);
  if (!rc)
    a->fn(a->ud, text, len + 1, 0);
  return rc;
}

static void refused_memory(void **state)
{
  (void)state;
  module_dir_write(&dir, "a.lua", "return {}\n", 10, 0600);
  assert_int_equal(fail_each_allocation(read_with, (void *)at("a.lua")), 2);
}

/* By the loader: the path is read, the file's name is what messages say. */
static void a_policy_is_loaded_from_its_file(void **state)
{
  static const char text[] = "return {\nscores = 1}";
  llmd_err err = LLMD_ERR_INIT;
  failing_alloc f;
  llmd_program in = {.size = sizeof in, .name = {"mine", 4}, .file = {"wrong.lua", 9}};
  void *policy = NULL;
  (void)state;
  module_dir_write(&dir, "wrong.lua", text, sizeof text - 1, 0600);
  failing_alloc_init(&f, 0);
  in.alloc = &f.a;
  in.path.ptr = at("wrong.lua");
  in.path.len = strlen(path);
  assert_int_equal(llmd_loader_module(LLMD_LOADER_ABI)->load(&in, &policy, &err), LLMD_E_UNKNOWN_FIELD);
  assert_int_equal(err.line, 2);
  assert_string_equal(err.path, "wrong.lua");
  assert_null(policy);
  assert_int_equal(f.blocks, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_file_is_read),   cmocka_unit_test(others_files_are_not),
    cmocka_unit_test(our_group_may_write),
    cmocka_unit_test(what_is_no_file),  cmocka_unit_test(what_is_no_text),
    cmocka_unit_test(refused_memory),   cmocka_unit_test(a_policy_is_loaded_from_its_file),
  };
  return cmocka_run_group_tests_name("source", tests, make_dir, remove_dir);
}
