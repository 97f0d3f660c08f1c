/* llmd_replay, llmd_replay_other: a record decided again. */
#include <math.h>
#include <string.h>

#include "sched/record_read.h"

/* Of the ladder's steps those that the outside forced. The others are the configuration's own. */
#define OUTSIDE (LLMD_LADDER_NO_INDEX | LLMD_LADDER_STALE | LLMD_LADDER_EJECTED)

/* ---- deciding --------------------------------------------------------------------------------------------------- */

/* The sources as the cycle wants them. By f->decision is told, with another configuration, what its plugins read. */
static void arm_sources(llmd_lane *l, int other)
{
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    llmd__full *f = &l->full[i];
    const llmd__kept_source *k = &l->kept.source[i];
    f->decision = other ? 0 : l->decision;
    f->gathered = 0;
    memset(&f->value, 0, sizeof f->value);
    f->value.num = (double)NAN;
    if (llmd__source_cell(l->s->source[i].kind)) {
      f->col = k->cells;
      continue;
    }
    f->value.str = k->text;
    f->value.ids = k->n_ids ? k->cells : NULL;
    f->value.n_ids = k->n_ids;
  }
}

/* Producers do not run; that one failed belongs to the why all the same. */
static void tell_producers(llmd_lane *l)
{
  for (uint32_t i = 0; i < l->kept.n_failed; i++) {
    const llmd__failed *f = &l->kept.failed[i];
    if (f->call >= LLMD__FAILED_PRODUCE)
      llmd__why_failed(l, LLMD__WHY_PRODUCER, f->call - LLMD__FAILED_PRODUCE, f->rc, f->trouble);
  }
}

static void run(llmd_lane *l, llmd_decision *d, uint32_t ladder, uint32_t how)
{
  llmd_endpoint_id *ids = l->all_id;
  memset(&l->snap, 0, sizeof l->snap);
  l->snap.n = l->kept.n;
  l->snap.view.row = l->kept.row;
  l->view = l->kept.view;
  l->peer_row = l->facts.peer;
  memcpy(l->column_set, l->kept.column_set, l->s->n_columns);
  arm_sources(l, how == LLMD__REPLAY_OTHER);
  l->ladder = ladder & OUTSIDE;
  if (how == LLMD__REPLAY_SAME)
    l->ladder |= ladder & (LLMD_LADDER_PLUGIN | LLMD_LADDER_BUDGET);
  l->replaying = how;
  l->all_id = l->kept.id;
  d->tokens = l->view.tokens;
  d->flags = l->view.flags & LLMD_VIEW_TRUNCATED ? LLMD_DECISION_TRUNCATED : 0;
  tell_producers(l);
  llmd__decision_run(l, d);
  d->ladder = l->ladder;
  llmd__why_keep(l, d);
  l->all_id = ids;
  l->replaying = 0;
}

/* Reads the inputs and decides in l->last, then reads what the record says came out. */
static int replay(llmd_lane *l, llmd__record_reader *r, const llmd__prologue *p, uint32_t how, llmd__told *told)
{
  llmd_decision *d = &l->last;
  llmd_now now = p->now;
  int rc;
  d->size = sizeof *d;
  llmd__decision_begin(l, d, &now, p->seed);
  l->now = &l->kept.now;
  l->facts = p->facts;
  l->kept.replayed = 1;
  l->decided = 0;
  l->req = NULL;
  rc = llmd__record_inputs(r, l, how == LLMD__REPLAY_OTHER);
  if (rc)
    return rc;
  run(l, d, p->ladder, how);
  rc = llmd__record_result(r, l, told);
  l->last_valid = !rc;
  return rc;
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int same_profile(const llmd__result *was, const llmd__result *now)
{
  return was->state == now->state && was->n == now->n && !memcmp(was->row, now->row, now->n * sizeof *now->row) &&
         !memcmp(was->total, now->total, now->n * sizeof *now->total);
}

static int same_result(const llmd_lane *l, const llmd__prologue *p, const llmd__told *t)
{
  const llmd_decision *d = &l->last;
  int same = d->ladder == p->ladder && d->status == t->status && d->reason == t->reason && d->code == t->code &&
             d->primary == t->primary && llmd__fnv(LLMD__FNV_BASIS, d->text, d->text_len) == t->text;
  for (uint32_t i = 0; i < t->n && same; i++)
    same = same_profile(&t->profile[i], &l->result[i]);
  return same;
}

static void add_targets(const llmd_lane *l, const llmd__told *t, uint32_t p, llmd_decision *was)
{
  const llmd__result *r = &t->profile[p];
  was->profile[p].first = was->n_targets;
  for (uint32_t i = 0; i < r->n && was->n_targets < LLMD_MAX_TARGETS; i++) {
    const llmd__row *row = &l->kept.row[r->row[i]];
    llmd_target *to = &was->target[was->n_targets++];
    memset(to, 0, sizeof *to);
    to->id = row->id;
    to->profile = p;
    to->port = row->port;
    to->rank = row->rank;
    to->score = r->total[i];
  }
  was->profile[p].n = was->n_targets - was->profile[p].first;
}

/* The decision that the record tells of, without its text. */
static void tell(const llmd_lane *l, const llmd__prologue *p, const llmd__told *t, llmd_decision *was)
{
  uint32_t size = was->size;
  memset(was, 0, sizeof *was);
  was->size = size;
  was->status = t->status;
  was->reason = t->reason;
  was->code = t->code;
  was->ladder = p->ladder;
  was->primary = t->primary;
  was->seed = p->seed;
  was->tokens = l->view.tokens;
  was->n_profiles = t->n;
  for (uint32_t i = 0; i < t->n; i++)
    was->profile[i].state = t->profile[i].state;
  if (t->status != LLMD_ROUTED)
    return;
  if (t->primary < t->n)
    add_targets(l, t, t->primary, was);
  for (uint32_t i = 0; i < t->n; i++)
    if (i != t->primary)
      add_targets(l, t, i, was);
}

/* ---- the two ---------------------------------------------------------------------------------------------------- */

static void give(const llmd_lane *l, llmd_decision *out)
{
  uint32_t size = out->size;
  *out = l->last;
  out->size = size;
}

static int begin(const llmd_lane *l, llmd__record_reader *r, const void *record, size_t len, uint64_t *bytes,
                 llmd__prologue *p)
{
  int rc;
  if (!l->s->options.explain)
    return LLMD_E_STATE;
  rc = llmd__record_open(r, record, len, bytes);
  if (rc)
    return rc;
  llmd__record_prologue(r, p);
  return r->rc;
}

int64_t llmd_replay(llmd_lane *lane, const void *record, size_t len, llmd_decision *out, int *same)
{
  const llmd_scheduler_options *o;
  llmd__record_reader r;
  llmd__prologue p;
  llmd__told told;
  uint64_t bytes;
  int rc;
  if (!lane || !record || !out || out->size < sizeof *out)
    return LLMD_E_INVALID;
  o = &lane->s->options;
  rc = begin(lane, &r, record, len, &bytes, &p);
  if (rc)
    return rc;
  if (p.identity != lane->s->identity || p.compat != o->compat || p.fail != o->fail)
    return LLMD_E_MISMATCH;
  rc = replay(lane, &r, &p, LLMD__REPLAY_SAME, &told);
  if (!rc && told.n != lane->s->config->n_profiles)
    rc = LLMD_E_SYNTAX;
  if (rc) {
    lane->last_valid = 0;
    return rc;
  }
  give(lane, out);
  if (same)
    *same = same_result(lane, &p, &told);
  return (int64_t)bytes;
}

/* What the plugins asked for just now, and the record had not. */
static uint32_t note_reads(llmd_lane *l)
{
  uint32_t missing = 0;
  for (uint32_t i = 0; i < l->s->n_sources; i++) {
    llmd__kept_source *k = &l->kept.source[i];
    int read = l->full[i].decision == l->decision;
    k->filled |= (uint32_t)read;
    missing += read && !k->match;
  }
  return missing;
}

int64_t llmd_replay_other(llmd_lane *lane, const void *record, size_t len, llmd_decision *out, llmd_decision *was,
                          uint32_t *missing)
{
  llmd__record_reader r;
  llmd__prologue p;
  llmd__told told;
  uint64_t bytes;
  uint32_t unknown;
  int rc;
  if (!lane || !record || !out || out->size < sizeof *out || (was && was->size < sizeof *was))
    return LLMD_E_INVALID;
  rc = begin(lane, &r, record, len, &bytes, &p);
  if (!rc)
    rc = replay(lane, &r, &p, LLMD__REPLAY_OTHER, &told);
  if (rc)
    return rc;
  unknown = note_reads(lane);
  give(lane, out);
  if (was)
    tell(lane, &p, &told, was);
  if (missing)
    *missing = unknown;
  return (int64_t)bytes;
}
