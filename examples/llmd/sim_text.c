#include "sim_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sim_fail(llmd_err *err, int code, const char *path, uint32_t line, const char *format, ...)
{
  va_list args;
  if (!err)
    return code;
  err->code = code;
  err->line = line;
  err->column = 0;
  (void)snprintf(err->path, sizeof err->path, "%s", path ? path : "");
  va_start(args, format);
  (void)vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  return code;
}

/* Appends what is left of the file to *text. */
static int read_all(FILE *file, size_t max, char **text, size_t *len)
{
  size_t room = 0;
  for (;;) {
    if (*len + 1 >= room) {
      char *more = realloc(*text, room = room ? room * 2 : 65536);
      if (!more)
        return LLMD_E_NOMEM;
      *text = more;
    }
    *len += fread(*text + *len, 1, room - *len - 1, file);
    (*text)[*len] = 0;
    if (ferror(file))
      return LLMD_E_IO;
    if (*len > max)
      return LLMD_E_LIMIT;
    if (feof(file))
      return 0;
  }
}

int sim_text_read(const char *path, size_t max, char **text, size_t *len, llmd_err *err)
{
  int is_stdin = strcmp(path, "-") == 0;
  FILE *file = is_stdin ? stdin : fopen(path, "rb");
  char *buffer = NULL;
  size_t n = 0;
  int code;
  if (!file)
    return sim_fail(err, errno == ENOMEM ? LLMD_E_NOMEM : LLMD_E_IO, path, 0, "%s", strerror(errno));
  errno = 0;
  code = read_all(file, max, &buffer, &n);
  if (code == LLMD_E_LIMIT)
    sim_fail(err, code, path, 0, "larger than %zu bytes", max);
  else if (code)
    sim_fail(err, code, path, 0, "cannot be read: %s", errno ? strerror(errno) : "input or output failed");
  if (!is_stdin)
    fclose(file);
  if (code) {
    free(buffer);
    return code;
  }
  *text = buffer;
  *len = n;
  return 0;
}
