#define _GNU_SOURCE
#include "step.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_PTRACE 3

void *step_map(size_t len)
{
  void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mem == MAP_FAILED)
    abort();
  return mem;
}

static const char *end_of(int status)
{
  if (WIFEXITED(status))
    return WEXITSTATUS(status) == 0 ? NULL : WEXITSTATUS(status) == NO_PTRACE ? "ptrace" : "a child that succeeds";
  return "a child that is not killed";
}

static int look(step_watch *w, void *last)
{
  if (!memcmp(last, w->mem, w->len))
    return 0;
  memcpy(last, w->mem, w->len);
  w->changes++;
  w->changed(w->ud);
  return 1;
}

/* Stop 1 begins the walk, stop 2 ends it; a trap is one instruction of it. */
static const char *watch(step_watch *w, pid_t child, void *last)
{
  int status, stops = 0;
  while (waitpid(child, &status, 0) == child) {
    if (!WIFSTOPPED(status))
      return end_of(status);
    stops += WSTOPSIG(status) == SIGSTOP;
    if (WSTOPSIG(status) == SIGSTOP && stops == 1)
      memcpy(last, w->mem, w->len);
    else if (WSTOPSIG(status) == SIGTRAP && stops == 1) {
      w->instructions++;
      look(w, last);
    } else if (WSTOPSIG(status) != SIGSTOP) {
      kill(child, SIGKILL);
      continue;
    }
    if (ptrace(stops == 1 ? PTRACE_SINGLESTEP : PTRACE_CONT, child, NULL, NULL))
      kill(child, SIGKILL);
  }
  return "waitpid";
}

const char *step_run(step_watch *w)
{
  void *last = malloc(w->len);
  const char *why = last ? "fork" : "memory";
  pid_t child = last ? fork() : -1;
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
      _exit(NO_PTRACE);
    w->live(w->ud);
    _exit(0);
  }
  if (child > 0)
    why = watch(w, child, last);
  free(last);
  return why;
}
