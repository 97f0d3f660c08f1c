/* After a writer that died at work: what readers see is the truth, and everything else is made again from it.
 *
 * A run counts when a slot of the heads table names it; a line is in use when a run, its lists or its set name it; all
 * others are free. Promises are forgotten. Readers go on all the while. */
#include <string.h>

#include "prefix/sets.h"

/* Calls fn for each run in the heads table; a slot goes when fn says 0. Returns how many went. */
static uint32_t each_run(llmd_index *x, int (*fn)(llmd_index *x, uint32_t run))
{
  uint32_t gone = 0;
  for (uint32_t line = 0; line < x->heads.lines; line++)
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
      _Atomic uint64_t *slot = &x->heads.word[(uint64_t)line * 8 + i];
      uint64_t s = LLMD__GET(slot);
      if (s != 0 && !fn(x, LLMD__HEAD_RUN(s))) {
        LLMD__PUT(slot, 0);
        gone++;
      }
    }
  return gone;
}

/* ---- books ------------------------------------------------------------------------------------------------------- */

static void reset_books(llmd_index *x)
{
  llmd__x_head *h = x->head;
  memset(x->mark, 0, ((size_t)x->lines + 63u) / 64u * 8u);
  memset(x->bucket, 0, (size_t)h->buckets * sizeof *x->bucket);
  memset(x->owned, 0, (size_t)x->holders * sizeof *x->owned);
  memset(h->step, 0, sizeof h->step);
  for (uint64_t i = 0; i < (uint64_t)x->names.lines * 8u; i++)
    if (LLMD__GET(&x->names.word[i]) != 0)
      LLMD__PUT(&x->names.word[i], 0);
  for (uint32_t i = 0; i < LLMD__X_RINGS; i++)
    h->ring[i].older = h->ring[i].newer = i;
  h->free = h->free_runs = h->n_free = h->page = h->page_end = 0;
  memset(h->free_rows, 0, sizeof h->free_rows);
  h->n_names = h->n_promises = h->promise_first = 0;
  LLMD__PUT(&h->n_runs, 0);
  LLMD__PUT(&h->n_blocks, 0);
  LLMD__PUT(&h->n_held, 0);
  LLMD__PUT(&h->n_sets, 0);
  if (h->epoch_left > x->lines)
    h->epoch_left = 0;
}

/* A holder lives when a row says so; the rest is swept. */
static void mend_holders(llmd_index *x)
{
  llmd__x_head *h = x->head;
  uint32_t top = h->fresh_holder < x->holders ? h->fresh_holder : x->holders, windows = 0;
  uint64_t bits;
  for (uint32_t i = 1; i < x->holders; i++)
    LLMD__PUT(&x->state[i], (uint8_t)(i < top ? LLMD__HOLDER_DEAD : LLMD__HOLDER_FREE));
  for (uint32_t i = 0; i < h->rows; i++) {
    uint32_t holder = LLMD__GET(&x->row[i].holder);
    windows += (LLMD__GET(&x->row[i].window[0]) | LLMD__GET(&x->row[i].window[1])) != 0;
    if (holder == 0 || holder >= x->holders)
      continue;
    LLMD__PUT(&x->state[holder], (uint8_t)LLMD__HOLDER_LIVE);
    LLMD__PUT(&x->who[holder], LLMD__GET(&x->row[i].endpoint));
    top = holder >= top ? holder + 1 : top;
  }
  if (LLMD__GET(&h->shared) != 0 && LLMD__GET(&h->shared) < x->holders) {
    LLMD__PUT(&x->state[LLMD__GET(&h->shared)], (uint8_t)LLMD__HOLDER_LIVE);
    top = LLMD__GET(&h->shared) >= top ? LLMD__GET(&h->shared) + 1u : top;
  }
  h->fresh_holder = top;
  LLMD__PUT(&h->windows, windows);
  h->n_dead = h->n_swept = h->sweeping = 0;
  for (uint32_t i = 0; i < x->holders; i += 64) {
    bits = 0;
    for (uint32_t j = i; j < i + 64; j++) {
      if (LLMD__GET(&x->state[j]) == LLMD__HOLDER_LIVE && j != LLMD__GET(&h->shared))
        bits |= UINT64_C(1) << (j - i);
      else
        LLMD__PUT(&x->who[j], 0);
      h->n_dead += LLMD__GET(&x->state[j]) == LLMD__HOLDER_DEAD;
    }
    LLMD__PUT(&x->live[i / 64], bits);
  }
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static int lines_ok(const llmd_index *x, const llmd__body *b, uint32_t len)
{
  for (uint32_t i = 0; i < (len + 3) / 4; i++)
    if (!llmd__line_ok(x, LLMD__GET(&b->key[i])))
      return 0;
  for (uint32_t i = 0; i < (len + 7) / 8; i++)
    if (!llmd__line_ok(x, LLMD__GET(&b->name[i])))
      return 0;
  return 1;
}

/* Sound, and nobody else's line. Its tree links and lists are begun anew. */
static int mend_run(llmd_index *x, uint32_t run)
{
  llmd__run *r;
  llmd__body *b;
  uint32_t body, len;
  if (!llmd__line_ok(x, run) || llmd__marked(x, run))
    return 0;
  r = llmd__run_at(x, run);
  body = LLMD__GET(&r->body);
  len = llmd__run_len(r);
  if (!llmd__line_ok(x, body) || len == 0 || len + llmd__run_start(r) > LLMD__X_WINDOW)
    return 0;
  b = &llmd__line_at(x, body)->body;
  if (!lines_ok(x, b, len))
    return 0;
  llmd__mark(x, run);
  LLMD__PUT(&r->shape, LLMD__GET(&r->shape) & ~LLMD__MANY);
  LLMD__PUT(&r->inc, ++x->head->inc); /* what its writer took out of it last will be used again */
  LLMD__PUT(&r->child, 0u);
  LLMD__PUT(&r->next, 0u);
  LLMD__PUT(&b->prev, 0u);
  return 1;
}

static int has_parent(llmd_index *x, uint32_t run)
{
  uint32_t parent = LLMD__GET(&llmd__run_at(x, run)->parent);
  if (parent == 0 || (llmd__line_ok(x, parent) && llmd__marked(x, parent)))
    return 1;
  x->mark[(run - LLMD__X_RINGS) / 64] &= ~(UINT64_C(1) << (run - LLMD__X_RINGS) % 64);
  return 0;
}

/* Slots keep their places; who is away from home is counted again. `far` may stay too large, never too small. */
static void mend_away(llmd_index *x, uint32_t run, uint32_t line)
{
  llmd_key key = llmd__run_key(x, llmd__body_of(x, llmd__run_at(x, run)), 0);
  uint32_t home = llmd__head_home(x, &key);
  _Atomic uint64_t *away = &x->heads.word[(uint64_t)home * 8 + LLMD__SLOTS];
  if (home != line)
    LLMD__PUT(away, LLMD__GET(away) + 1u);
}

static void mend_heads(llmd_index *x)
{
  for (uint32_t i = 0; i < x->heads.lines; i++) {
    _Atomic uint64_t *away = &x->heads.word[(uint64_t)i * 8 + LLMD__SLOTS];
    LLMD__PUT(away, LLMD__GET(away) & UINT64_C(0xffffffff00000000));
  }
  for (uint32_t line = 0; line < x->heads.lines; line++)
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
      uint64_t s = LLMD__GET(&x->heads.word[(uint64_t)line * 8 + i]);
      if (s != 0)
        mend_away(x, LLMD__HEAD_RUN(s), line);
    }
  for (uint32_t i = 0; i < x->heads.lines; i++) {
    _Atomic uint64_t *away = &x->heads.word[(uint64_t)i * 8 + LLMD__SLOTS];
    if ((uint32_t)LLMD__GET(away) == 0)
      LLMD__PUT(away, 0);
  }
}

static int take_run(llmd_index *x, uint32_t run)
{
  llmd__run *r = llmd__run_at(x, run);
  llmd__body *b = llmd__body_of(x, r);
  uint32_t len = llmd__run_len(r);
  llmd__mark(x, LLMD__GET(&r->body));
  for (uint32_t i = 0; i < (len + 3) / 4; i++)
    llmd__mark(x, LLMD__GET(&b->key[i]));
  for (uint32_t i = 0; i < (len + 7) / 8; i++)
    llmd__mark(x, LLMD__GET(&b->name[i]));
  llmd__holders_adopt(x, run);
  llmd__names_adopt(x, run);
  llmd__run_adopt(x, run);
  return 1;
}

/* Where there are free lines again. */
static int part_holders(llmd_index *x, uint32_t run)
{
  llmd__holders_part(x, run);
  return 1;
}

static void free_lines(llmd_index *x)
{
  llmd__x_head *h = x->head;
  uint32_t top = x->lines;
  while (top != 0 && !llmd__marked(x, LLMD__X_RINGS + top - 1u))
    top--;
  h->fresh = top;
  while (top-- != 0)
    if (!llmd__marked(x, LLMD__X_RINGS + top))
      llmd__line_give(x, LLMD__X_RINGS + top);
}

/* Runs that lost what kept them go, leaves first: a run may go in somebody else's wake, so begin again. */
static void trim_all(llmd_index *x)
{
  for (uint32_t line = 0; line < x->heads.lines; line++)
    for (uint32_t i = 0; i < LLMD__SLOTS; i++) {
      uint64_t s = LLMD__GET(&x->heads.word[(uint64_t)line * 8 + i]);
      if (s != 0)
        llmd__run_trim(x, LLMD__HEAD_RUN(s));
    }
}

int llmd_index_takeover(llmd_index *x)
{
  x->n_stale = x->n_few = 0; /* another process may have written since this one did */
  memset(x->lately, 0, sizeof x->lately);
  x->keep = 0;
  if (LLMD__GET(&x->head->writing) == 0)
    return 0;
  LLMD__PUT(&x->head->mending, 1u);
  reset_books(x);
  mend_holders(x);
  each_run(x, mend_run);
  while (each_run(x, has_parent) != 0)
    ;
  mend_heads(x);
  each_run(x, take_run);
  free_lines(x);
  each_run(x, part_holders);
  trim_all(x);
  LLMD__PUT(&x->head->mending, 0u);
  LLMD__ADD(&x->head->repaired, 1u);
  llmd__write_end(x);
  return 1;
}
