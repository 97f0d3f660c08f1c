/* The region's file: made whole or not at all, and refused when it is not what it should be. */
#include "rig.h"

static uint32_t layout_of(off_t at, int add)
{
  int fd = open(rig_path, O_RDWR);
  uint32_t v = 0;
  assert_int_equal(pread(fd, &v, sizeof v, at), sizeof v);
  v += (uint32_t)add;
  assert_int_equal(pwrite(fd, &v, sizeof v, at), sizeof v);
  close(fd);
  return v;
}

static void refused(uint32_t flags, int code, const char *text)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_share *s = NULL;
  int rc = rig_open(flags, &s, &err);
  if (rc != code || !strstr(err.text, text))
    fail_msg("%s: '%s', wanted %s: '%s'", llmd_errname(rc), err.text, llmd_errname(code), text);
  assert_null(s);
}

static void makes_a_file_that_others_attach_to(void **state)
{
  llmd_share *a, *b;
  struct stat st;
  size_t bytes, len;
  char *mine, *theirs;
  mode_t mask = umask(0277); /* must not matter */
  (void)state;
  refused(0, LLMD_E_NONE, "there is no region");
  a = rig_must(WRITER);
  umask(mask);
  assert_int_equal(stat(rig_path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(rig_files(), 1);
  b = rig_must(0);
  assert_true(llmd__share_owner(a) != llmd__share_owner(b));
  assert_int_equal(llmd_share_has_writer(a), 1);
  assert_int_equal(llmd_share_has_writer(b), 1);
  assert_int_equal(llmd__share_writer_pid(b), getpid());
  rig_endpoint(llmd_share_pool(a));
  assert_int_equal(llmd_pool_count(llmd_share_pool(b)), 1);
  mine = llmd__share_area(a, LLMD__AREA_EXPLAIN, &bytes);
  theirs = llmd__share_area(b, LLMD__AREA_EXPLAIN, &len);
  assert_int_equal(bytes, LLMD__EXPLAIN_SLOTS * LLMD__EXPLAIN_SLOT_BYTES);
  assert_int_equal(len, bytes);
  assert_true(mine != theirs && !theirs[bytes - 1]);
  mine[bytes - 1] = 7;
  assert_int_equal(theirs[bytes - 1], 7);
  assert_null(llmd__share_area(a, LLMD__AREAS, &bytes));
  assert_int_equal(llmd_share_reap(b), LLMD_E_DENIED);
  llmd_share_close(b);
  llmd_share_close(a);
  b = rig_must(0); /* what was there stays */
  assert_int_equal(llmd_share_has_writer(b), 0);
  assert_int_equal(llmd_pool_count(llmd_share_pool(b)), 1);
  llmd_share_close(b);
  llmd_share_close(NULL);
}

static void secrets_are_random(void **state)
{
  uint8_t seen[2][4096];
  (void)state;
  for (int i = 0; i < 2; i++) {
    int fd;
    llmd_share_close(rig_must(WRITER));
    fd = open(rig_path, O_RDONLY);
    assert_int_equal(read(fd, seen[i], sizeof *seen), sizeof *seen);
    close(fd);
    unlink(rig_path);
  }
  assert_memory_equal(seen[0], seen[1], 64); /* the same region ... */
  assert_true(memcmp(seen[0], seen[1], sizeof *seen) != 0); /* ... but for the secret */
}

static void other_layouts_are_named(void **state)
{
  llmd_share *s = rig_must(WRITER);
  off_t host = (off_t)rig_host(s)->at;
  char text[64];
  uint32_t v;
  (void)state;
  llmd_share_close(s);
  v = layout_of(8, 5);
  (void)snprintf(text, sizeof text, "layout %u, this library has layout %u", v, v - 5);
  refused(WRITER, LLMD_E_MISMATCH, text);
  refused(0, LLMD_E_MISMATCH, text);
  layout_of(8, -5);
  v = layout_of(host + 8, 3);
  (void)snprintf(text, sizeof text, "host area has layout %u, this library has layout %u", v, v - 3);
  refused(WRITER, LLMD_E_MISMATCH, text);
  layout_of(host + 8, -3);
  layout_of(host + 16, 64);
  refused(0, LLMD_E_MISMATCH, "damaged");
  layout_of(host + 16, -64);
  llmd_share_close(rig_must(WRITER));
}

static void short_and_strange_files_are_refused(void **state)
{
  llmd_share *s;
  off_t host, end;
  FILE *f;
  (void)state;
  s = rig_must(WRITER);
  host = (off_t)rig_host(s)->at;
  end = host + (off_t)rig_host(s)->bytes;
  llmd_share_close(s);
  assert_int_equal(truncate(rig_path, end - 1), 0);
  refused(WRITER, LLMD_E_MISMATCH, "too short");
  assert_int_equal(truncate(rig_path, host), 0); /* a region alone */
  refused(WRITER, LLMD_E_MISMATCH, "no host area");
  assert_int_equal(truncate(rig_path, host - 8192), 0);
  refused(WRITER, LLMD_E_MISMATCH, "");
  assert_int_equal(truncate(rig_path, 0), 0);
  refused(WRITER, LLMD_E_MISMATCH, "empty");
  f = fopen(rig_path, "w");
  for (int i = 0; i < 9999; i++)
    fputs("not a region ", f);
  fclose(f);
  refused(WRITER, LLMD_E_MISMATCH, "not a region");
}

static void who_may_and_what_it_is(void **state)
{
  char other[100];
  (void)state;
  llmd_share_close(rig_must(WRITER));
  for (unsigned i = 0; i < 3; i++) {
    static const mode_t more[] = {0644, 0602, 04600};
    assert_int_equal(chmod(rig_path, more[i]), 0);
    refused(0, LLMD_E_DENIED, "more rights");
  }
  assert_int_equal(chmod(rig_path, 0660), 0);
  refused(WRITER, LLMD_E_DENIED, "0660 gives more rights than 0600");
  llmd_share_close(rig_must(WRITER | LLMD_SHARE_GROUP));
  assert_int_equal(chmod(rig_path, 0600), 0);
  llmd_share_close(rig_must(LLMD_SHARE_GROUP)); /* fewer are welcome */
  (void)snprintf(other, sizeof other, "%s/other", rig_folder);
  assert_int_equal(rename(rig_path, other), 0);
  assert_int_equal(symlink(other, rig_path), 0);
  refused(WRITER, LLMD_E_DENIED, "symbolic link");
  unlink(rig_path);
  assert_int_equal(mkfifo(rig_path, 0600), 0);
  refused(WRITER, LLMD_E_DENIED, "plain file");
  unlink(rig_path);
  assert_int_equal(mkdir(rig_path, 0700), 0);
  refused(WRITER, LLMD_E_IO, "");
  rmdir(rig_path);
  assert_int_equal(rig_files(), 1);
}

static void anothers_file(void **state)
{
  (void)state;
  if (geteuid() != 0) {
    printf("# skipped: needs root, to give a file away\n");
    skip();
  }
  llmd_share_close(rig_must(WRITER));
  assert_int_equal(chown(rig_path, 12345, 0), 0);
  refused(WRITER, LLMD_E_DENIED, "belongs to user 12345");
}

static void nonsense_is_refused(void **state)
{
  llmd_share_options o = {.size = sizeof o, .flags = WRITER, .path = "region"};
  llmd_region_options huge = {.size = sizeof huge, .state_bytes = UINT64_C(1) << 43};
  llmd_share *s = NULL;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd_share_open(NULL, &s, NULL), LLMD_E_INVALID);
  assert_int_equal(llmd_share_open(&o, &s, &err), LLMD_E_INVALID);
  o.path = rig_path;
  o.region = &huge;
  assert_int_equal(llmd_share_open(&o, &s, &err), LLMD_E_LIMIT);
  assert_non_null(strstr(err.text, "MiB"));
  o.path = "/nowhere/at/all";
  assert_int_equal(llmd_share_open(&o, &s, &err), LLMD_E_NONE);
  assert_null(s);
  assert_int_equal(rig_files(), 0);
}

/* Many want to make it at once: they all get the same one. */
static void one_race_one_file(void **state)
{
  enum { RACERS = 8, ROUNDS = 10 };
  (void)state;
  for (int round = 0; round < ROUNDS; round++) {
    int gate[2], met[2], failed = 0;
    pid_t pid[RACERS];
    uint64_t owner, seen[RACERS];
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(met), 0);
    for (int i = 0; i < RACERS; i++) {
      pid[i] = fork();
      if (!pid[i]) {
        llmd_share *s = NULL;
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) < 0 || rig_open(LLMD_SHARE_CREATE, &s, NULL))
          _exit(1);
        owner = llmd__share_owner(s);
        _exit(write(met[1], &owner, sizeof owner) != sizeof owner);
      }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < RACERS; i++) {
      int status;
      assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
      failed += status != 0;
    }
    assert_int_equal(failed, 0);
    for (int i = 0; i < RACERS; i++) {
      assert_int_equal(read(met[0], &seen[i], sizeof owner), sizeof owner);
      for (int k = 0; k < i; k++)
        assert_true(seen[i] != seen[k]); /* numbers of one file */
    }
    close(met[0]);
    close(met[1]);
    assert_int_equal(rig_files(), 1);
    assert_int_equal(unlink(rig_path), 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(makes_a_file_that_others_attach_to, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(secrets_are_random, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(other_layouts_are_named, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(short_and_strange_files_are_refused, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(who_may_and_what_it_is, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(anothers_file, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(nonsense_is_refused, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(one_race_one_file, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
