#include "uv/discover/table.h"

#include "uv/log.h"

#define SECOND 1000000000ull
#define GRACE (30 * SECOND)

static void note(const llmd__table *t, int level, const llmd__entry *e, const char *what)
{
  llmd__log(t->log, t->log_ud, level, "discovery", "%.*s/%.*s (%.*s port %u): %s", (int)e->e.space.len, e->e.space.ptr,
            (int)e->e.name.len, e->e.name.ptr, (int)e->e.address.len, e->e.address.ptr, (unsigned)e->e.port, what);
}

/* ---- adopting ---------------------------------------------------------------------------------------------------- */

typedef struct adoption {
  llmd__table *table;
  int rc;
} adoption;

static int adopt(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  adoption *a = ud;
  llmd__entries *held = &a->table->held;
  for (uint32_t i = 0; i < held->n; i++)
    if (held->at[i].id == id)
      return 0;
  a->rc = llmd__entries_add(held, e, LLMD__ADOPTED);
  if (!a->rc)
    held->at[held->n - 1].id = id;
  return a->rc;
}

int llmd__table_adopt(llmd__table *t)
{
  adoption a = {t, 0};
  const int rc = llmd_pool_each(t->pool, adopt, &a);
  return a.rc ? a.rc : rc < 0 ? rc : 0;
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

static void remove_at(llmd__table *t, uint32_t i, const char *why)
{
  note(t, LLMD_LOG_INFO, &t->held.at[i], why);
  (void)llmd_pool_remove(t->pool, t->held.at[i].id); /* LLMD_E_STALE: gone already, which is what we want */
  llmd__entries_remove(&t->held, i);
}

/* 1: it is held no more. */
static int let_go(llmd__table *t, uint32_t i, const llmd__entries *wanted, int settled, uint64_t now, uint32_t *changes)
{
  llmd__entry *e = &t->held.at[i];
  if (e->origin == LLMD__FROM_FILE || llmd__entries_clash(wanted, e)) {
    remove_at(t, i, "removed");
    ++*changes;
    return 1;
  }
  if (!e->leaving && (e->origin != LLMD__ADOPTED || settled)) {
    note(t, LLMD_LOG_INFO, e, "no longer named: drained");
    (void)llmd_pool_drain(t->pool, e->id, 1);
    e->leaving = now;
    ++*changes;
  }
  return 0;
}

/* Labels are the pool's business only when they have changed: each change makes what is published be copied anew. */
static void hold_on(llmd__table *t, llmd__entry *held, const llmd__entry *want, uint32_t *changes)
{
  if (held->leaving || held->origin == LLMD__ADOPTED) {
    (void)llmd_pool_drain(t->pool, held->id, 0);
    held->leaving = 0;
    ++*changes;
  }
  held->origin = want->origin;
  if (llmd__entry_labels_same(held, want))
    return;
  if (llmd_pool_set_labels(t->pool, held->id, want->e.labels, want->e.n_labels)) {
    note(t, LLMD_LOG_ERROR, held, "its labels cannot be changed");
    t->refused++;
    return;
  }
  ++*changes;
  (void)llmd__entry_become(held, want);
}

static void add(llmd__table *t, const llmd__entry *want, uint32_t *changes)
{
  llmd_endpoint_id id;
  llmd__entry *e;
  int rc = llmd__entries_add(&t->held, &want->e, want->origin);
  if (!rc && (rc = llmd_pool_add(t->pool, &want->e, &id)) != 0)
    llmd__entries_remove(&t->held, t->held.n - 1);
  if (rc) {
    note(t, t->retry ? LLMD_LOG_DEBUG : LLMD_LOG_ERROR, want, llmd_strerror(rc));
    t->refused++;
    return;
  }
  e = &t->held.at[t->held.n - 1];
  e->id = id;
  note(t, LLMD_LOG_INFO, e, "added");
  ++*changes;
}

uint32_t llmd__table_apply(llmd__table *t, const llmd__entries *wanted, int settled, uint64_t now)
{
  uint32_t changes = 0;
  t->refused = 0;
  for (uint32_t i = 0; i < t->held.n;) {
    const llmd__entry *want = llmd__entries_find(wanted, &t->held.at[i]);
    if (want)
      hold_on(t, &t->held.at[i], want, &changes);
    else if (let_go(t, i, wanted, settled, now, &changes))
      continue;
    i++;
  }
  for (uint32_t i = 0; i < wanted->n; i++)
    if (!llmd__entries_find(&t->held, &wanted->at[i]))
      add(t, &wanted->at[i], &changes);
  t->retry = t->refused ? now + SECOND : 0;
  return changes;
}

uint32_t llmd__table_tick(llmd__table *t, uint64_t now)
{
  uint32_t gone = 0;
  for (uint32_t i = 0; i < t->held.n;) {
    if (!t->held.at[i].leaving || now < t->held.at[i].leaving + GRACE) {
      i++;
      continue;
    }
    remove_at(t, i, "did not come back: removed");
    gone++;
  }
  return gone;
}

void llmd__table_clear(llmd__table *t)
{
  llmd__entries_clear(&t->held);
}
