#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  int code;
  const char *name, *text;
} table[] = {
#define ROW(name, value, text) {value, "LLMD_E_" #name, text},
    LLMD_ERROR_MAP(ROW)
#undef ROW
};

const char *llmd_strerror(int code)
{
  if (code >= 0)
    return "success";
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].code == code)
      return table[i].text;
  return "unknown error";
}

const char *llmd_errname(int code)
{
  if (code >= 0)
    return "LLMD_OK";
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].code == code)
      return table[i].name;
  return "LLMD_E_UNKNOWN";
}

static void printable(char *s)
{
  for (; *s; s++)
    if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f)
      *s = '?';
}

int llmd__fail(llmd_err *err, int code, uint32_t line, uint32_t column, const char *path, const char *fmt, ...)
{
  va_list ap;
  if (!err || err->size < sizeof *err)
    return code;
  err->code = code;
  err->line = line;
  err->column = column;
  snprintf(err->path, sizeof err->path, "%s", path ? path : "");
  va_start(ap, fmt);
  vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
  printable(err->path);
  printable(err->text);
  return code;
}
