/* step.h: a child that works on shared memory, watched instruction by instruction (ptrace). Between the two stops that
 * the child makes itself (raise(SIGSTOP)) it is stepped; after each instruction that changed the memory the watcher is
 * told, as if the child had been killed there. */
#ifndef STRESS_STEP_H
#define STRESS_STEP_H

#include <stddef.h>
#include <stdint.h>

typedef struct step_watch {
  void *mem; /* shared with the child */
  size_t len;
  void (*live)(void *ud);    /* in the child; returns at the end of its life */
  void (*changed)(void *ud); /* in the parent; the memory stands still meanwhile */
  void *ud;
  uint64_t instructions, changes; /* seen */
} step_watch;

/* Memory that a child shares. Aborts when there is none. */
void *step_map(size_t len);
/* Returns 0; or what it needs and has not ("ptrace"), and then nothing was watched; or what became of the child. */
const char *step_run(step_watch *w);

#endif
