#include "ids.h"

#include <stdio.h>
#include <stdlib.h>

#include "file.h"
#include "shell.h"

#define FILE_MAX ((size_t)256 << 20)

static const char *skip_blanks(const char *p)
{
  while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
    p++;
  return p;
}

/* Numbers with blanks or one comma between them, all in brackets or not. Returns where it stopped; *ok = at the end. */
static const char *scan(const char *p, uint32_t *out, size_t *n, int *ok)
{
  int open = 0;
  p = skip_blanks(p);
  if (*p == '[') {
    open = 1;
    p = skip_blanks(p + 1);
  }
  while (*p >= '0' && *p <= '9') {
    char *end;
    const unsigned long long v = strtoull(p, &end, 10);
    if (v > UINT32_MAX)
      return p;
    out[(*n)++] = (uint32_t)v;
    p = skip_blanks(end);
    if (*p == ',') {
      p = skip_blanks(p + 1);
      if (*p < '0' || *p > '9')
        return p;
    } else if (p == end && *p && *p != ']')
      return p;
  }
  if (open && *p == ']') {
    open = 0;
    p = skip_blanks(p + 1);
  }
  *ok = !open && *p == 0;
  return p;
}

int ids_read(const char *command, const char *path, uint32_t **out, size_t *n)
{
  struct file file;
  const char *stop;
  int ok = 0, code;
  *out = NULL;
  *n = 0;
  code = file_read(path, FILE_MAX, &file);
  if (code)
    return code;
  *out = malloc((file.len / 2 + 1) * sizeof **out);
  stop = *out ? scan(file.text, *out, n, &ok) : file.text;
  if (!*out)
    code = shell_refuse(command, "%s", llmd_strerror(LLMD_E_NOMEM));
  else if (!ok || (size_t)(stop - file.text) != file.len) {
    unsigned line, column;
    file_place(&file, (size_t)(stop - file.text), &line, &column);
    fprintf(stderr, "%s:%u:%u: a token id is expected, below 2^32\n", path, line, column);
    code = EXIT_REFUSED;
  }
  free(file.text);
  return code;
}
