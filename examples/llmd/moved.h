/* moved.h: how many decisions each endpoint got then and gets now. */
#ifndef MOVED_H
#define MOVED_H

#include <stdint.h>

struct moved_row {
  char *name;
  uint32_t then, now;
  double score_then, score_now; /* sums over these decisions */
};

struct moved {
  struct moved_row *row;
  uint32_t n, room;
  uint32_t *slot; /* by the name's hash: index + 1, 0 = free; twice as many as rows */
};

/* The endpoint's row, made when new. NULL: out of memory. Valid until the next. */
struct moved_row *moved_row(struct moved *m, const char *name);
/* Those whose load changes most come first; then by name. No row can be found any more. */
void moved_sort(struct moved *m);
void moved_free(struct moved *m);

#endif
