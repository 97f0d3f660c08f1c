#include "uv/log.h"

#include <stdarg.h>
#include <stdio.h>

void llmd__log(llmd_log_fn log, void *ud, int level, const char *component, const char *fmt, ...)
{
  char line[512];
  va_list ap;
  int n;
  if (!log)
    return;
  va_start(ap, fmt);
  n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (n >= 0)
    log(ud, level, component, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}
