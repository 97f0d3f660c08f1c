/* A source's messages: whose turn it is, what is missing, what to ask for. source.h draws it. */
#include "prefix/source.h"

#include <math.h>
#include <string.h>

#include "prefix/apply.h"

#define ATTEMPTS 3u /* replays in a row without anything new, then it failed */
#define BACK_RUN 16u /* live messages in a row that were there before: a new process whose clock is behind */

typedef struct message {
  uint64_t seq;
  llmd_str payload;
  double time; /* when its engine made it; NaN = not said */
} message;

static uint64_t next_of(const llmd__source *s)
{
  return llmd__record_get(&s->record->next);
}

static void set_next(llmd__source *s, uint64_t next, double time)
{
  uint64_t bits;
  memcpy(&bits, &time, sizeof bits);
  if (isnan(time))
    bits = UINT64_MAX;
  llmd__record_set(&s->record->time, bits);
  llmd__record_set(&s->record->next, next);
}

static void see_time(llmd__source *s, double time)
{
  if (!isnan(time) && !(s->seen >= time))
    s->seen = time;
}

static void set_degraded(llmd_events *e, llmd__source *s, uint32_t on)
{
  if (s->stats.degraded == on)
    return;
  s->stats.degraded = on;
  llmd__source_note(s);
  llmd__source_describe(e, s);
}

static int cooling(const llmd__source *s, const llmd_now *now)
{
  return now->mono < s->cool_until;
}

/* Everything it holds is in doubt; what to ask for is written down before it is cleared. */
static void start_over(llmd_events *e, llmd__source *s, uint32_t want)
{
  s->want = s->flags & LLMD_SOURCE_NO_REPLAY ? LLMD__WANT_NOTHING : want;
  llmd__source_note(s);
  if (!s->empty)
    llmd__source_clear(e, s);
}

/* ---- one message ------------------------------------------------------------------------------------------------- */

/* Applies it: it is the next one. Returns the number of events, or what is wrong: the payload (then it still is the
 * next), or the endpoint (then it is done with). */
static int take(llmd_events *e, llmd__source *s, const message *m)
{
  const int first = s->stats.batches == 0;
  int failed, n;
  s->empty = 0;
  llmd__record_set32(&s->record->applying, 1);
  n = llmd__apply_batch(e, s, m->payload, &failed);
  if (n >= 0) {
    set_next(s, m->seq + 1, m->time);
    see_time(s, m->time);
    if (m->seq == 0)
      s->floor = m->time;
  }
  llmd__record_set32(&s->record->applying, 0);
  if (n < 0) {
    s->stats.bad_messages++;
    return n;
  }
  if (first)
    llmd__source_describe(e, s);
  return failed ? failed : n;
}

static int wait(llmd_events *e, llmd__source *s, const message *m)
{
  see_time(s, m->time);
  llmd__parked_wait(&e->parked, llmd__source_number(e, s), m->seq, m->payload);
  return 0;
}

/* A live message with a number that was seen. One that was sent earlier is a copy, or was in a replay already; one
 * that was sent later comes from a process that counts anew. Where times do not tell, numbers that go back on one
 * connection do. A copy taken for a new process costs a replay, the reverse would leave what is not true. */
static int is_restart(llmd__source *s, const message *m, double *floor)
{
  const int back = m->seq < s->live_next;
  const double had = back ? s->live_time : s->seen;
  const double time = m->time;
  *floor = NAN;
  if (!back && m->seq >= next_of(s))
    return 0;
  if (isnan(time) || isnan(had))
    return back;
  if (time > had) {
    *floor = had;
    return 1;
  }
  if (!back)
    return 0;
  s->back_run = m->seq == s->back_next ? s->back_run + 1 : 1;
  s->back_next = m->seq + 1;
  return (m->seq == 0 && time < had && s->live_next > 1) || s->back_run >= BACK_RUN;
}

/* The numbers begin anew: nothing that was said before holds. floor: the process before spoke at that time, as far as
 * is known; some of what it said may still be on its way. */
static void restart(llmd_events *e, llmd__source *s, double floor, const llmd_now *now)
{
  s->stats.restarts++;
  llmd__events_say(e, LLMD_LOG_INFO, "endpoint %llx: a new process speaks, what it held is cleared",
                   (unsigned long long)llmd__record_get(&s->record->endpoint));
  start_over(e, s, LLMD__WANT_ALL);
  llmd__parked_forget_messages(&e->parked, llmd__source_number(e, s));
  llmd__record_set32(&s->record->scheme, 0);
  set_next(s, 0, NAN);
  s->replaying = s->attempts = s->back_run = s->roots = 0;
  s->loose = !s->want;
  s->live_next = s->cool_until = 0;
  s->seen = NAN;
  s->floor = floor;
  s->floor_until = now->mono + e->replay_ns;
  s->first = UINT64_MAX;
}

static int is_leftover(const llmd__source *s, const message *m, const llmd_now *now)
{
  return now->mono < s->floor_until && !isnan(s->floor) && m->time < s->floor;
}

/* Events are missing and nobody can be asked: what is left from here on is true at least. */
static int go_on_from(llmd_events *e, llmd__source *s, const message *m)
{
  start_over(e, s, s->want);
  set_next(s, m->seq, NAN);
  return take(e, s, m);
}

static int gap(llmd_events *e, llmd__source *s, const message *m, const llmd_now *now)
{
  s->stats.gaps++;
  set_degraded(e, s, 1);
  if (cooling(s, now))
    return go_on_from(e, s, m);
  if (s->flags & LLMD_SOURCE_NO_REPLAY) {
    s->cool_until = now->mono + e->cooldown_ns;
    return go_on_from(e, s, m);
  }
  s->want = next_of(s) ? LLMD__WANT_REST : LLMD__WANT_ALL;
  llmd__source_note(s);
  return wait(e, s, m);
}

/* No replay runs. */
static int arrive(llmd_events *e, llmd__source *s, const message *m, const llmd_now *now)
{
  const int asks = s->want && !cooling(s, now);
  if (asks && !(m->seq == 0 && next_of(s) == 0))
    return wait(e, s, m);
  if (asks) { /* its very first message: nothing is missing */
    s->want = LLMD__WANT_NOTHING;
    set_degraded(e, s, 0);
  }
  if (s->loose && m->seq >= next_of(s)) {
    set_next(s, m->seq, NAN);
    s->loose = 0;
  }
  if (m->seq > next_of(s))
    return gap(e, s, m, now);
  if (m->seq < next_of(s)) {
    s->stats.old++;
    return 0;
  }
  llmd__source_note(s);
  return take(e, s, m);
}

static int live(llmd_events *e, llmd__source *s, const message *m, const llmd_now *now)
{
  double floor;
  if (is_leftover(s, m, now)) {
    s->stats.old++;
    return 0;
  }
  if (is_restart(s, m, &floor)) {
    restart(e, s, floor, now);
    set_degraded(e, s, m->seq > 0);
  }
  if (m->seq >= s->live_next) {
    s->live_next = m->seq + 1;
    s->live_time = m->time;
  }
  if (s->replaying)
    return wait(e, s, m);
  return arrive(e, s, m, now);
}

/* ---- replays ----------------------------------------------------------------------------------------------------- */

/* What waited, as far as it goes on from here. Out of order or with one missing, the rest stays. */
static int drain(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  const uint32_t who = llmd__source_number(e, s);
  llmd__parked_message m;
  int applied = 0;
  while (llmd__parked_lowest(&e->parked, who, next_of(s), &m)) {
    const message as = {m.seq, m.payload, llmd__apply_time(m.payload)};
    int n;
    if (!cooling(s, now) && (s->want || (m.seq > next_of(s) && !s->loose)))
      break;
    llmd__parked_hold(&e->parked, &m);
    n = arrive(e, s, &as, now);
    llmd__parked_drop(&e->parked, &m);
    if (n > 0)
      applied += n;
  }
  return applied;
}

/* It could not be repaired: what is held is forgotten, and the next message is where it goes on. */
static int fail(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  s->stats.replays_failed++;
  llmd__events_say(e, LLMD_LOG_WARN, "endpoint %llx: events are missing and were not replayed; what it held is cleared",
                   (unsigned long long)llmd__record_get(&s->record->endpoint));
  s->replaying = s->attempts = 0;
  s->first = UINT64_MAX;
  s->cool_until = now->mono + e->cooldown_ns;
  s->loose = 1;
  set_degraded(e, s, 1);
  start_over(e, s, LLMD__WANT_ALL);
  return drain(e, s, now);
}

static void begin_replay(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  s->replaying = s->want;
  s->want = LLMD__WANT_NOTHING;
  s->got = s->verified = s->hole = 0;
  s->begun = next_of(s);
  s->deadline = now->mono + e->replay_ns;
  s->stats.replays++;
}

/* The first message of a replay. A replay of all begins with nothing held. One that begins too late is made once
 * more, since its beginning may have been lost; when that begins too late as well, what came before is gone. */
static int begins_well(llmd_events *e, llmd__source *s, uint64_t seq)
{
  const uint64_t wanted = s->replaying == LLMD__WANT_ALL ? 0 : next_of(s);
  s->got = 1;
  if (seq > wanted && s->first == UINT64_MAX) {
    s->first = seq;
    s->hole = 1;
    return 0;
  }
  if (s->replaying == LLMD__WANT_ALL || seq > wanted) {
    llmd__source_note(s);
    if (!s->empty)
      llmd__source_clear(e, s);
    set_next(s, seq, NAN);
    s->begun = 0;
    s->replaying = LLMD__WANT_REST; /* from here on it can be taken up again where it stops */
  }
  s->stats.replays_failed += seq > wanted;
  s->first = UINT64_MAX;
  return 1;
}

/* The last message applied comes back: is it the same? */
static int is_other_process(llmd__source *s, const message *m)
{
  const double had = llmd__source_time(s), time = m->time;
  if (s->verified || s->replaying != LLMD__WANT_REST || m->seq + 1 != s->begun || m->seq + 1 != next_of(s))
    return 0;
  s->verified = 1;
  return !isnan(had) && !isnan(time) && (had < time || had > time);
}

static int replayed(llmd_events *e, llmd__source *s, const message *m, const llmd_now *now)
{
  int n;
  if (!s->replaying || is_leftover(s, m, now)) {
    s->stats.old++;
    return 0;
  }
  if (s->hole)
    return 0;
  if (is_other_process(s, m)) {
    const double had = llmd__source_time(s);
    restart(e, s, m->time > had ? had : NAN, now);
    set_degraded(e, s, 1);
    return 0;
  }
  if (!s->got && !begins_well(e, s, m->seq))
    return 0;
  if (m->seq < next_of(s)) {
    s->stats.old += !(s->verified && m->seq + 1 == s->begun);
    return 0;
  }
  if (m->seq > next_of(s)) {
    s->hole = 1;
    return 0;
  }
  n = take(e, s, m);
  if (n < 0 && next_of(s) == m->seq) { /* its payload is no batch, and never will be */
    start_over(e, s, LLMD__WANT_NOTHING);
    set_next(s, m->seq + 1, NAN);
  }
  return n;
}

/* Nothing came back at all: after a message that was applied, at least that one should have. Twice, and it is another
 * process that never sent it. */
static int came_empty(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  if (s->got)
    return 0;
  if (s->replaying == LLMD__WANT_REST) {
    s->replaying = LLMD__WANT_NOTHING;
    s->want = LLMD__WANT_REST;
    if (s->attempts++)
      restart(e, s, NAN, now);
    set_degraded(e, s, 1);
    return 1;
  }
  start_over(e, s, LLMD__WANT_NOTHING);
  set_next(s, 0, NAN);
  return 0;
}

static int ended(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  const uint32_t want = s->replaying;
  int applied;
  if (!s->replaying || came_empty(e, s, now))
    return 0;
  s->attempts = next_of(s) > s->begun ? 0 : s->attempts + 1;
  s->replaying = LLMD__WANT_NOTHING;
  applied = drain(e, s, now);
  if (!s->hole && next_of(s) >= s->live_next && !e->parked.owner[llmd__source_number(e, s)].messages) {
    s->attempts = 0;
    llmd__source_note(s);
    set_degraded(e, s, 0);
    return applied;
  }
  if (s->attempts >= ATTEMPTS)
    return applied + fail(e, s, now);
  s->want = next_of(s) ? want : LLMD__WANT_ALL;
  llmd__source_note(s);
  return applied;
}

/* ---- what the host calls ----------------------------------------------------------------------------------------- */

static void put_ask(llmd_ask *ask, uint32_t what, uint64_t from)
{
  ask->what = what;
  ask->from = from;
}

/* Hands out what is wanted, unless it must wait. */
static int hand_out(llmd_events *e, llmd__source *s, const llmd_now *now, llmd_ask *ask)
{
  const uint64_t next = next_of(s);
  if (!s->want || s->replaying || cooling(s, now))
    return 0;
  put_ask(ask, LLMD_ASK_REPLAY, s->want == LLMD__WANT_ALL || next == 0 ? 0 : next - 1);
  begin_replay(e, s, now);
  llmd__source_note(s);
  return 1;
}

static int read_message(llmd__source *s, uint32_t what, const llmd_str *frame, uint32_t n, llmd_frames *f)
{
  int rc;
  memset(f, 0, sizeof *f);
  f->size = sizeof *f;
  rc = llmd_frames_read(what, frame, n, f);
  if (rc < 0) {
    s->stats.bad_messages++;
    return rc;
  }
  if (f->end || !f->has_topic || !s->topic.len)
    return 0;
  if (f->topic.len == s->topic.len && memcmp(f->topic.ptr, s->topic.ptr, f->topic.len) == 0)
    return 0;
  s->stats.wrong_topic++;
  return 1;
}

int llmd_events_feed(llmd_events *events, llmd_source_id source, uint32_t what, const llmd_str *frame, uint32_t n,
                     const llmd_now *now, llmd_ask *ask)
{
  llmd__source *s = llmd__source_at(events, source);
  llmd_frames f;
  message m;
  int rc;
  if (ask)
    put_ask(ask, LLMD_ASK_NOTHING, 0);
  if (!s || !now || !ask || (what != LLMD_FRAMES_LIVE && what != LLMD_FRAMES_REPLAY))
    return LLMD_E_INVALID;
  rc = read_message(s, what, frame, n, &f);
  if (rc)
    return rc < 0 ? rc : 0;
  m.seq = f.seq;
  m.payload = f.payload;
  m.time = llmd__apply_time(f.payload);
  if (what == LLMD_FRAMES_LIVE)
    rc = live(events, s, &m, now);
  else
    rc = f.end ? ended(events, s, now) : replayed(events, s, &m, now);
  hand_out(events, s, now, ask);
  return rc;
}

int llmd_events_replay_failed(llmd_events *events, llmd_source_id source, const llmd_now *now)
{
  llmd__source *s = llmd__source_at(events, source);
  if (!s || !now)
    return LLMD_E_INVALID;
  s->live_next = 0; /* the next one may follow a replay */
  if (s->replaying)
    fail(events, s, now);
  else if (!s->want && !(s->flags & LLMD_SOURCE_NO_REPLAY))
    s->want = next_of(s) ? LLMD__WANT_REST : LLMD__WANT_ALL;
  llmd__source_note(s);
  return 0;
}

/* A source that cannot ask is as good as it gets when its time is over. */
static void cool_down(llmd_events *e, llmd__source *s, const llmd_now *now)
{
  if (s->stats.degraded && s->flags & LLMD_SOURCE_NO_REPLAY && !cooling(s, now))
    set_degraded(e, s, 0);
}

int llmd_events_tick(llmd_events *events, const llmd_now *now, llmd_source_id *source, llmd_ask *ask)
{
  if (!events || !now || !source || !ask)
    return LLMD_E_INVALID;
  for (uint32_t i = 0; i < events->max_sources; i++) {
    const uint32_t at = (events->cursor + i) % events->max_sources;
    llmd__source *s = &events->source[at];
    if (!s->used)
      continue;
    if (s->replaying && now->mono > s->deadline)
      fail(events, s, now);
    cool_down(events, s, now);
    if (hand_out(events, s, now, ask)) {
      events->cursor = (at + 1) % events->max_sources;
      *source = at;
      return 1;
    }
  }
  return 0;
}
