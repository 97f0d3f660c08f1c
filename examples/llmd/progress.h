/* progress.h: a bar on standard error, when that is a terminal; nothing otherwise. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdint.h>

struct progress {
  int shown; /* standard error is a terminal */
  int last;  /* percent drawn last, -1 before the first time */
  char label[48];
};

void progress_start(struct progress *p);
/* fraction of the whole work that is done, 0 to 1. Draws when the label or the percentage has changed. */
void progress_show(struct progress *p, const char *label, double fraction);
void progress_end(struct progress *p); /* wipes the bar */

#endif
