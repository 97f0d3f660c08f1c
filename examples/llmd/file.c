#include "file.h"

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
