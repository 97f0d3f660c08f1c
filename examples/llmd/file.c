#define _POSIX_C_SOURCE 200809L
#include "file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <llmd/error.h>

#include "shell.h"
#include "sim_text.h"

int file_read(const char *path, size_t most, struct file *out)
{
  llmd_err err = LLMD_ERR_INIT;
  struct file f = {0};
  if (sim_text_read(path, most, &f.text, &f.len, &err)) {
    err.path[0] = 0; /* the file's own name */
    return shell_blame(path, &err);
  }
  *out = f;
  return 0;
}

void file_place(const struct file *file, size_t offset, unsigned *line, unsigned *column)
{
  size_t start = 0;
  *line = 1;
  for (size_t i = 0; i < offset && i < file->len; i++)
    if (file->text[i] == '\n') {
      ++*line;
      start = i + 1;
    }
  *column = (unsigned)(offset - start) + 1;
}

int file_map(const char *command, const char *path, struct mapping *out)
{
  struct stat st;
  void *mem = MAP_FAILED;
  size_t len;
  int fd;
  if (strcmp(path, "-") == 0)
    return shell_refuse(command, "-: a file is needed here, not standard input");
  fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &st)) {
    perror(path);
    if (fd >= 0)
      close(fd);
    return EXIT_REFUSED;
  }
  len = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 0;
  if (len)
    mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  close(fd);
  if (mem == MAP_FAILED)
    return shell_refuse(command, "%s: %s", path, len ? "it cannot be mapped" : "empty, or not a file");
  *out = (struct mapping){mem, len};
  return 0;
}

void file_unmap(struct mapping *m)
{
  if (m->mem)
    munmap(m->mem, m->len);
  m->mem = NULL;
}
