#include "uv/policy/trial.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/tree.h"
#include "uv/stats/records.h"

#define EXPLAIN_MOST ((size_t)1 << 20)

/* ---- examples ---------------------------------------------------------------------------------------------------- */

static int say_nothing(void *ud, const char *ptr, size_t len)
{
  (void)ud;
  (void)ptr;
  (void)len;
  return 0;
}

/* ---- recorded requests ------------------------------------------------------------------------------------------- */

typedef struct bench {
  llmd_lane *was, *now;
  uint32_t tried;
  int rc;
  llmd_err *err;
} bench;

typedef struct page {
  char *text;
  size_t len;
} page;

static int collect(void *ud, const char *ptr, size_t len)
{
  page *p = ud;
  if (len > EXPLAIN_MOST - p->len)
    return LLMD_E_LIMIT;
  memcpy(p->text + p->len, ptr, len);
  p->len += len;
  return 0;
}

/* The first policy's word on what went wrong, wherever it stands in an explanation. */
static const llmd__node *find_trouble(const llmd__node *n)
{
  const llmd__node *found = n->kind == LLMD__MAP ? llmd__map_get(n, "trouble") : NULL;
  if (found && found->kind == LLMD__STR && found->text.len)
    return found;
  found = NULL;
  if (n->kind == LLMD__MAP || n->kind == LLMD__LIST)
    for (const llmd__node *c = n->first; c && !found; c = c->next)
      found = find_trouble(c);
  return found;
}

/* Why did a policy fail in the lane's last decision? */
static int blame(const llmd_lane *lane, llmd_err *err)
{
  page p = {malloc(EXPLAIN_MOST), 0};
  const llmd__node *trouble = NULL;
  llmd__tree *tree = NULL;
  int rc;
  if (p.text && !llmd_explain_json(lane, collect, &p) && !llmd__tree_parse(NULL, p.text, p.len, NULL, &tree, NULL))
    trouble = find_trouble(llmd__tree_root(tree));
  rc = llmd__fail(err, LLMD_E_PLUGIN, 0, 0, NULL, "fails on a recorded request: %.*s",
                  trouble ? (int)trouble->text.len : 13, trouble ? trouble->text.ptr : "no word of it");
  llmd__tree_free(tree);
  free(p.text);
  return rc;
}

/* 1: a policy fails on the record; 0: none does, or it is no record for this configuration. */
static int fails(llmd_lane *lane, const char *record, size_t len, int *tried)
{
  llmd_decision d = {.size = sizeof d};
  *tried = llmd_replay_other(lane, record, len, &d, NULL, NULL) > 0;
  return *tried && (d.ladder & LLMD_LADDER_PLUGIN) != 0;
}

static int try_record(void *ud, uint64_t number, uint64_t wall, const char *record, size_t len)
{
  bench *b = ud;
  int tried, before;
  (void)number;
  (void)wall;
  if (fails(b->now, record, len, &tried) && !fails(b->was, record, len, &before))
    b->rc = blame(b->now, b->err);
  b->tried += (uint32_t)tried;
  return b->rc;
}

/* Without lanes, or memory, for it there is no trial: that is no fault of the policy. */
static int try_records(llmd_share *share, llmd_scheduler *was, llmd_scheduler *now, llmd__trial *out, llmd_err *err)
{
  const llmd__ring ring = llmd__records_of(share);
  bench b = {.err = err};
  void *room = malloc(ring.slot);
  if (room && !llmd_lane_create(was, 0, &b.was) && !llmd_lane_create(now, 0, &b.now))
    (void)llmd__ring_visit(&ring, room, try_record, &b);
  llmd_lane_free(b.was);
  llmd_lane_free(b.now);
  free(room);
  out->records = b.tried;
  return b.rc;
}

int llmd__trial_run(llmd_share *share, llmd_scheduler *was, llmd_scheduler *now, llmd__trial *out, llmd_err *err)
{
  int n = llmd_scheduler_examples(now, say_nothing, NULL, err);
  *out = (llmd__trial){0, 0};
  if (n < 0)
    return n;
  out->examples = (uint32_t)n;
  return was ? try_records(share, was, now, out, err) : 0;
}
