#include "sim_events.h"

#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

static int before(const struct sim_event *a, const struct sim_event *b)
{
  return a->time < b->time || (a->time == b->time && a->order < b->order);
}

int sim_events_push(struct sim_events *q, double time, uint32_t kind, uint32_t subject)
{
  struct sim_event event = {.time = time, .order = q->pushed, .kind = kind, .subject = subject};
  size_t i = q->n;
  if (q->n == q->room) {
    size_t room = q->room ? q->room * 2 : 256;
    void *more = realloc(q->heap, room * sizeof *q->heap);
    if (!more)
      return LLMD_E_NOMEM;
    q->heap = more;
    q->room = room;
  }
  for (; i > 0 && before(&event, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
    q->heap[i] = q->heap[(i - 1) / 2];
  q->heap[i] = event;
  q->n++;
  q->pushed++;
  return 0;
}

int sim_events_pop(struct sim_events *q, struct sim_event *next)
{
  struct sim_event last;
  size_t i = 0;
  if (q->n == 0)
    return 0;
  *next = q->heap[0];
  last = q->heap[--q->n];
  for (size_t child; (child = 2 * i + 1) < q->n; i = child) {
    if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
      child++;
    if (!before(&q->heap[child], &last))
      break;
    q->heap[i] = q->heap[child];
  }
  q->heap[i] = last;
  return 1;
}

void sim_events_free(struct sim_events *q)
{
  free(q->heap);
  memset(q, 0, sizeof *q);
}
