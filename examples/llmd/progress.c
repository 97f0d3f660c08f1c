#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 40

void progress_start(struct progress *p)
{
  p->shown = isatty(STDERR_FILENO);
  p->last = -1;
  p->label[0] = 0;
}

void progress_show(struct progress *p, const char *label, double fraction)
{
  char bar[WIDTH + 1];
  int percent = (int)(fraction * 100), full = (int)(fraction * WIDTH);
  if (!p->shown || (percent == p->last && strncmp(label, p->label, sizeof p->label - 1) == 0))
    return;
  p->last = percent;
  (void)snprintf(p->label, sizeof p->label, "%s", label);
  memset(bar, '.', WIDTH);
  memset(bar, '#', (size_t)(full < 0 ? 0 : full > WIDTH ? WIDTH : full));
  bar[WIDTH] = 0;
  fprintf(stderr, "\r[%s] %3d%% %s\033[K", bar, percent, p->label);
  fflush(stderr);
}

void progress_end(struct progress *p)
{
  if (p->shown)
    fputs("\r\033[K", stderr);
}
