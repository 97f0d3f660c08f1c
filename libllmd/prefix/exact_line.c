/* Lines, and what goes when there are no more: the run hit or stored least recently.
 *
 * Recency is kept by epochs, about 48 of them per turnover of the whole. A run stands in the list of the epoch in which
 * it was made or last looked at here; hits are only marked (one byte per run), and honoured when the run comes up.
 * Whoever hits a run marks only the deepest one: a run with children never goes, and hands its mark on to its parent
 * when it goes itself. */
#include "prefix/exact.h"

#include <string.h>

#define EPOCHS 48u

#define PAGE 64u

static uint32_t pop(llmd_index *x, uint32_t *list)
{
  uint32_t n = *list;
  *list = (uint32_t)LLMD__GET(&llmd__line_at(x, n)->w[0]);
  x->head->n_free--;
  return n;
}

static uint32_t clean(llmd_index *x, uint32_t n)
{
  llmd__line64 *l = llmd__line_at(x, n);
  for (uint32_t i = 0; i < 8; i++)
    LLMD__PUT(&l->w[i], 0);
  if (x->head->epoch_left != 0)
    x->head->epoch_left--;
  return n;
}

static uint32_t from_page(llmd_index *x)
{
  x->head->n_free--;
  return x->head->page++;
}

/* A row that nobody needs whole becomes single lines. */
static void break_row(llmd_index *x)
{
  llmd__x_head *h = x->head;
  uint32_t n = LLMD__X_ROW, first;
  while (n > 1 && h->free_rows[n] == 0)
    n--;
  first = h->free_rows[n];
  h->free_rows[n] = (uint32_t)LLMD__GET(&llmd__line_at(x, first)->w[0]);
  h->n_free -= n;
  for (uint32_t i = 0; i < n; i++)
    llmd__line_give(x, first + i);
}

uint32_t llmd__row_take(llmd_index *x, uint32_t n)
{
  llmd__x_head *h = x->head;
  uint32_t first = n <= LLMD__X_ROW ? h->free_rows[n] : 0;
  if (first != 0) {
    h->free_rows[n] = (uint32_t)LLMD__GET(&llmd__line_at(x, first)->w[0]);
    h->n_free -= n;
  } else if (n <= LLMD__X_ROW && x->lines - h->fresh >= n) {
    first = LLMD__X_RINGS + h->fresh;
    h->fresh += n;
  } else {
    return 0;
  }
  for (uint32_t i = 0; i < n; i++)
    clean(x, first + i);
  return first;
}

void llmd__row_give(llmd_index *x, uint32_t first, uint32_t n)
{
  llmd__x_head *h = x->head;
  LLMD__PUT(&llmd__line_at(x, first)->w[0], h->free_rows[n]);
  h->free_rows[n] = first;
  h->n_free += n;
}

uint32_t llmd__line_take(llmd_index *x)
{
  llmd__x_head *h = x->head;
  if (h->free != 0)
    return clean(x, pop(x, &h->free));
  if (h->fresh < x->lines)
    return clean(x, LLMD__X_RINGS + h->fresh++);
  if (h->page != h->page_end)
    return clean(x, from_page(x));
  if (h->free_runs != 0) {
    memset(x->lately, 0, sizeof x->lately); /* it may name this line, which is no run any more */
    return clean(x, pop(x, &h->free_runs));
  }
  break_row(x);
  return clean(x, pop(x, &h->free));
}

uint32_t llmd__line_take_run(llmd_index *x)
{
  llmd__x_head *h = x->head;
  if (h->free_runs != 0)
    return clean(x, pop(x, &h->free_runs));
  if (h->page == h->page_end && x->lines - h->fresh >= PAGE) {
    h->page = LLMD__X_RINGS + h->fresh;
    h->page_end = h->page + PAGE;
    h->fresh += PAGE;
    h->n_free += PAGE;
  }
  if (h->page != h->page_end)
    return clean(x, from_page(x));
  return llmd__line_take(x);
}

static void push(llmd_index *x, uint32_t *list, uint32_t n)
{
  LLMD__PUT(&llmd__line_at(x, n)->w[0], *list);
  *list = n;
  x->head->n_free++;
}

void llmd__line_give(llmd_index *x, uint32_t n)
{
  push(x, &x->head->free, n);
}

void llmd__line_give_run(llmd_index *x, uint32_t n)
{
  push(x, &x->head->free_runs, n);
}

/* ---- recency ----------------------------------------------------------------------------------------------------- */

static uint32_t older(const llmd_index *x, uint32_t n)
{
  return n < LLMD__X_RINGS ? x->head->ring[n].older : LLMD__GET(&llmd__body_of(x, llmd__run_at(x, n))->older);
}

static uint32_t newer(const llmd_index *x, uint32_t n)
{
  return n < LLMD__X_RINGS ? x->head->ring[n].newer : LLMD__GET(&llmd__body_of(x, llmd__run_at(x, n))->newer);
}

static void set_older(llmd_index *x, uint32_t n, uint32_t to)
{
  if (n < LLMD__X_RINGS)
    x->head->ring[n].older = to;
  else
    LLMD__PUT(&llmd__body_of(x, llmd__run_at(x, n))->older, to);
}

static void set_newer(llmd_index *x, uint32_t n, uint32_t to)
{
  if (n < LLMD__X_RINGS)
    x->head->ring[n].newer = to;
  else
    LLMD__PUT(&llmd__body_of(x, llmd__run_at(x, n))->newer, to);
}

/* Lists are rings through their number: its `older` is the most recent run, its `newer` the least recent. */
static void link_after(llmd_index *x, uint32_t at, uint32_t run)
{
  uint32_t next = older(x, at);
  set_newer(x, run, at);
  set_older(x, run, next);
  set_newer(x, next, run);
  set_older(x, at, run);
}

void llmd__recency_add(llmd_index *x, uint32_t run)
{
  link_after(x, LLMD__GET(&x->head->epoch) % LLMD__X_RINGS, run);
}

void llmd__recency_adopt(llmd_index *x, uint32_t run)
{
  uint32_t now = LLMD__GET(&x->head->epoch);
  uint32_t age = (uint8_t)((uint8_t)now - LLMD__GET(&x->hit[run - LLMD__X_RINGS]));
  link_after(x, (now - (age < LLMD__X_RINGS ? age : LLMD__X_RINGS - 1u)) % LLMD__X_RINGS, run);
}

void llmd__recency_remove(llmd_index *x, uint32_t run)
{
  uint32_t o = older(x, run), n = newer(x, run);
  set_newer(x, o, n);
  set_older(x, n, o);
}

/* The next epoch takes over a ring: what still stands there, 64 epochs old, joins the next older. */
static void next_epoch(llmd_index *x)
{
  llmd__x_head *h = x->head;
  uint32_t e = LLMD__GET(&h->epoch) + 1u, ring = e % LLMD__X_RINGS, into = (e + 1u) % LLMD__X_RINGS;
  uint32_t first = older(x, ring), last = newer(x, ring);
  if (first != ring) {
    uint32_t end = newer(x, into); /* the least recent of the next list comes before the most recent of this */
    set_older(x, end, first);
    set_newer(x, first, end);
    set_older(x, last, into);
    set_newer(x, into, last);
    h->ring[ring].older = h->ring[ring].newer = ring;
  }
  h->epoch_left = x->lines / EPOCHS + 1u;
  LLMD__PUT(&h->epoch, e);
}

/* ---- eviction ---------------------------------------------------------------------------------------------------- */

static int is_above(const llmd_index *x, uint32_t run, uint32_t keep)
{
  return run == keep || (keep != 0 && LLMD__GET(&llmd__run_at(x, keep)->parent) == run);
}

static uint32_t age_of(const llmd_index *x, uint32_t run)
{
  uint8_t now = (uint8_t)LLMD__GET(&x->head->epoch);
  uint32_t age = (uint8_t)(now - LLMD__GET(&x->hit[run - LLMD__X_RINGS]));
  return age < LLMD__X_RINGS ? age : LLMD__X_RINGS - 1u;
}

/* A run of this age's list that may not go yet: into the list of its last hit; or, since others hang on it, into a newer
 * list at least as new as its child, at the old end, so that children come up before their parents. */
static void move_on(llmd_index *x, uint32_t run, uint32_t age)
{
  uint32_t now = LLMD__GET(&x->head->epoch), child = LLMD__GET(&llmd__run_at(x, run)->child), to = age_of(x, run);
  llmd__recency_remove(x, run);
  if (to < age) {
    link_after(x, (now - to) % LLMD__X_RINGS, run);
    return;
  }
  to = age == 0 ? 0 : age - 1u;
  if (child != 0 && age_of(x, child) < to)
    to = age_of(x, child);
  link_after(x, newer(x, (now - to) % LLMD__X_RINGS), run);
}

/* The run that goes next, 0 = none may. */
static uint32_t victim(llmd_index *x, uint32_t keep)
{
  uint32_t now = LLMD__GET(&x->head->epoch);
  uint64_t tries = LLMD__X_RINGS * (LLMD__GET(&x->head->n_runs) + 1u);
  for (uint32_t age = LLMD__X_RINGS; age-- != 0;) {
    uint32_t ring = (now - age) % LLMD__X_RINGS, run;
    while ((run = older(x, ring)) != ring) {
      if (age_of(x, run) >= age && LLMD__GET(&llmd__run_at(x, run)->child) == 0 && !is_above(x, run, keep))
        return run;
      if (tries-- == 0)
        return 0;
      move_on(x, run, age);
    }
  }
  return 0;
}

static int evict(llmd_index *x, uint32_t keep)
{
  uint32_t run = victim(x, keep);
  if (run == 0)
    return 0;
  LLMD__ADD(&x->head->evicted, llmd__run_len(llmd__run_at(x, run)));
  llmd__run_free(x, run);
  return 1;
}

static int room(const llmd_index *x, uint32_t lines, uint32_t names)
{
  const llmd__x_head *h = x->head;
  uint64_t slots = (uint64_t)h->name_lines * LLMD__SLOTS;
  return (uint64_t)h->n_free + (x->lines - h->fresh) >= lines && h->n_names + names <= slots - slots / 4u;
}

int llmd__reserve(llmd_index *x, uint32_t lines, uint32_t names, uint32_t keep)
{
  int rc = 0;
  if (x->head->epoch_left == 0)
    next_epoch(x);
  x->keep = keep;
  while (rc == 0 && !room(x, lines, names))
    rc = evict(x, keep) ? 0 : LLMD_E_FULL;
  x->keep = 0;
  return rc;
}
