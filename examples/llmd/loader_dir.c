#define _XOPEN_SOURCE 700
#include "loader_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shell.h"

/* In a build tree the program is BUILD/examples/llmd/llmd and the loader BUILD/plugins/llmd-lua.so. */
static const char beside[] = "/../../plugins";
static const char known[] = "/llmd-lua.so";

/* 0, or -1: there is no such folder, or its name is too long. */
static int make_absolute(const char *dir, char *path)
{
  char *real = realpath(dir, NULL);
  int n = real ? snprintf(path, LOADER_DIR_ROOM, "%s", real) : -1;
  free(real);
  return n < 0 || (size_t)n >= LOADER_DIR_ROOM ? -1 : 0;
}

static void look_beside(char *path)
{
  char file[LOADER_DIR_ROOM], *slash;
  ssize_t n = readlink("/proc/self/exe", file, sizeof file - sizeof beside - sizeof known);
  size_t dir;
  path[0] = 0;
  if (n <= 0)
    return;
  file[n] = 0;
  slash = strrchr(file, '/');
  if (!slash)
    return;
  dir = (size_t)(slash - file);
  memcpy(file + dir, beside, sizeof beside);
  memcpy(file + dir + sizeof beside - 1, known, sizeof known);
  if (access(file, R_OK))
    return;
  file[dir + sizeof beside - 1] = 0;
  if (make_absolute(file, path))
    path[0] = 0;
}

int loader_dir_find(const char *command, const char *asked, char *path)
{
  if (!asked) {
    look_beside(path);
    return 0;
  }
  if (make_absolute(asked, path)) {
    path[0] = 0;
    return shell_refuse(command, "--loaders: there is no folder '%s'", asked);
  }
  return 0;
}

const char *loader_dir_option(const char *path)
{
  return path[0] ? path : NULL;
}
