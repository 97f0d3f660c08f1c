/* For tests that load plugins: a directory of our own that nobody else may write to, and modules of the build in it.
 * LLMD_STRANGERS is where the build leaves what it makes of plugin/stranger.c and plugin/broken.c.
 * Include after cmocka.h; wants _GNU_SOURCE. */
#ifndef LLMD_TESTS_MODULE_DIR_H
#define LLMD_TESTS_MODULE_DIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct module_dir {
  char path[256];
} module_dir;

static inline void module_dir_make(module_dir *d)
{
  const char *tmp = getenv("TMPDIR");
  snprintf(d->path, sizeof d->path, "%s/llmd-modules-XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null(mkdtemp(d->path));
}

/* Removes it with everything in it. */
static inline void module_dir_remove(module_dir *d)
{
  char file[600];
  DIR *open;
  chmod(d->path, 0700);
  open = opendir(d->path);
  assert_non_null(open);
  for (struct dirent *e = readdir(open); e; e = readdir(open)) {
    snprintf(file, sizeof file, "%s/%s", d->path, e->d_name);
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
      assert_int_equal(remove(file), 0);
  }
  closedir(open);
  assert_int_equal(rmdir(d->path), 0);
}

static inline void module_dir_write(const module_dir *d, const char *name, const void *bytes, size_t n, mode_t mode)
{
  char file[600];
  FILE *out;
  snprintf(file, sizeof file, "%s/%s", d->path, name);
  out = fopen(file, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(bytes, 1, n, out), n);
  assert_int_equal(fclose(out), 0);
  assert_int_equal(chmod(file, mode), 0);
}

/* A module of the build under another name. */
static inline void module_dir_copy(const module_dir *d, const char *module, const char *name, mode_t mode)
{
  char from[600], *bytes;
  long n;
  FILE *in;
  snprintf(from, sizeof from, "%s/%s.so", LLMD_STRANGERS, module);
  in = fopen(from, "rb");
  if (!in)
    fail_msg("%s is not built", from);
  assert_int_equal(fseek(in, 0, SEEK_END), 0);
  n = ftell(in);
  rewind(in);
  bytes = malloc((size_t)n);
  assert_non_null(bytes);
  assert_int_equal(fread(bytes, 1, (size_t)n, in), n);
  fclose(in);
  module_dir_write(d, name, bytes, (size_t)n, mode);
  free(bytes);
}

#endif
