/* sim_events.h: what happens next: a binary heap ordered by time, then by order of insertion. */
#ifndef SIM_EVENTS_H
#define SIM_EVENTS_H

#include <stddef.h>
#include <stdint.h>

struct sim_event {
  double time;
  uint64_t order; /* set by sim_events_push */
  uint32_t kind;
  uint32_t subject;
};

struct sim_events {
  struct sim_event *heap;
  size_t n;
  size_t room;
  uint64_t pushed;
};

/* A zeroed queue is empty. LLMD_E_NOMEM leaves it as it was. */
int sim_events_push(struct sim_events *events, double time, uint32_t kind, uint32_t subject);
int sim_events_pop(struct sim_events *events, struct sim_event *next); /* 1, or 0 when empty */
void sim_events_free(struct sim_events *events);

#endif
