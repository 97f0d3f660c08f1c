/* The simulator's engine in real time: one timer, for the end of the step under way.
 *
 *   submit ─► begin ─► [timer until due] ─► end ─► tokens to calls, events out, those who left forgotten ─► begin ...
 *
 * Timers have milliseconds; `due` is exact and goes on from step to step, so a fast engine makes several steps in one
 * turn and keeps its pace. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define TURN_NS 10000000u /* of steps in one turn of the loop; others want theirs */
#define FALLS_BACK_NS 1000000000u /* further behind than this it does not try to catch up */

static void on_timer(uv_timer_t *timer);

/* ---- life ---- */

int engine_model_open(struct engine *e)
{
  int rc = sim_engine_create(&e->sim, &e->options.model, e->options.block_size);
  if (rc)
    return rc;
  sim_engine_tell_all(e->sim);
  if (e->events)
    sim_engine_publish(e->sim, engine_events_publisher(e->events));
  return 0;
}

void engine_model_close(struct engine *e)
{
  sim_engine_destroy(e->sim);
  e->sim = NULL;
  free(e->token);
  e->token = NULL;
}

/* ---- steps ---- */

static void begin(struct engine *e, uint64_t now)
{
  double seconds;
  e->step = sim_engine_begin(e->sim, &seconds);
  if (!e->step)
    return;
  if (e->due < now && (now - e->due > FALLS_BACK_NS || !e->delivering))
    e->due = now;
  e->due += (uint64_t)(seconds / e->options.speed * 1e9);
}

/* Sleeps until the step ends: rounded up, it must be over then. */
static void arm(struct engine *e)
{
  const uint64_t now = engine_mono(), wait = e->due > now ? (e->due - now + 999999) / 1000000 : 0;
  if (!e->step)
    return;
  uv_update_time(e->options.loop);
  uv_timer_start(&e->timer, on_timer, wait, 0);
}

static void forget(struct engine *e)
{
  struct engine_call *next;
  if (e->gone == 0)
    return;
  e->gone = 0;
  for (struct engine_call *call = e->calls; call; call = next) {
    next = call->next;
    if (call->http || !call->computing)
      continue;
    sim_engine_cancel(e->sim, call->tag);
    e->table[call->tag] = NULL;
    call->computing = 0;
    e->figures.aborted++;
    engine_call_release(call);
  }
}

/* Calls may come and go while tokens are handed out, so they are copied. */
static uint32_t take_tokens(struct engine *e)
{
  const struct sim_token *token;
  const uint32_t n = sim_engine_end(e->sim, (double)e->due / 1e9, &token, NULL);
  if (n > e->token_room) {
    struct sim_token *more = realloc(e->token, n * 2 * sizeof *more);
    if (!more)
      abort(); /* answers would never end */
    e->token = more;
    e->token_room = n * 2;
  }
  if (n)
    memcpy(e->token, token, n * sizeof *token);
  return n;
}

static void end(struct engine *e, uint64_t now)
{
  const uint32_t n = take_tokens(e);
  e->step = 0;
  if (e->events)
    engine_events_send(e->events);
  for (uint32_t i = 0; i < n; i++) {
    const struct sim_token t = e->token[i];
    struct engine_call *call = e->table[t.tag];
    const int first_and_last = call && t.what == SIM_FIRST_TOKEN && call->ask.n_answer == 1;
    if (call && !first_and_last) /* its second record follows */
      engine_call_token(call, t.cached_tokens, t.what == SIM_LAST_TOKEN, now);
  }
  forget(e);
}

static void on_timer(uv_timer_t *timer)
{
  struct engine *e = timer->data;
  const uint64_t start = engine_mono();
  uint64_t now = start;
  e->delivering = 1;
  while (e->step && e->due <= now && now - start < TURN_NS) {
    end(e, now);
    begin(e, now);
    now = engine_mono();
  }
  e->delivering = 0;
  arm(e);
}

/* ---- from outside ---- */

static int find_tag(struct engine *e, struct engine_call *call)
{
  uint32_t room = e->n_table ? e->n_table * 2 : 64, tag = 0;
  struct engine_call **more;
  while (tag < e->n_table && e->table[tag])
    tag++;
  if (tag == e->n_table) {
    more = realloc(e->table, room * sizeof *more);
    if (!more)
      return LLMD_E_NOMEM;
    memset(more + e->n_table, 0, (room - e->n_table) * sizeof *more);
    e->table = more;
    e->n_table = room;
  }
  e->table[tag] = call;
  call->tag = tag;
  return 0;
}

int engine_model_submit(struct engine *e, struct engine_call *call)
{
  int rc = find_tag(e, call);
  if (rc)
    return rc;
  rc = sim_engine_submit(e->sim, &call->request, call->tag);
  if (rc) {
    e->table[call->tag] = NULL;
    return rc;
  }
  call->computing = 1;
  if (!e->step && !e->delivering) {
    begin(e, engine_mono());
    arm(e);
  }
  return 0;
}

void engine_model_restart(struct engine *e)
{
  if (e->step)
    (void)take_tokens(e); /* nobody is to hear of them */
  e->step = 0;
  uv_timer_stop(&e->timer);
  for (const struct engine_call *call = e->calls; call; call = call->next)
    if (call->computing) {
      sim_engine_cancel(e->sim, call->tag);
      e->table[call->tag] = NULL;
    }
  engine_calls_drop(e);
  e->gone = 0;
  sim_engine_reset(e->sim);
}

void engine_model_abandon(struct engine *e)
{
  e->gone++;
  if (!e->step && !e->delivering)
    forget(e);
}
