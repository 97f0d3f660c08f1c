#include "uv/policy/trial.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/tree.h"
#include "uv/stats/records.h"

#define EXPLAIN_MOST ((size_t)1 << 20)
#define ENOUGH 4u /* records that were routed: when a text routes none of so many, it is refused */

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
  uint32_t tried, routed_then, routed_now;
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

/* Decides the record; 0: it is no record for this configuration. */
static int decide(llmd_lane *lane, const char *record, size_t len, llmd_decision *out, llmd_decision *then,
                  uint32_t *missing)
{
  memset(out, 0, sizeof *out);
  memset(then, 0, sizeof *then);
  out->size = then->size = sizeof *out;
  return llmd_replay_other(lane, record, len, out, then, missing) > 0;
}

static int failed(const llmd_decision *d)
{
  return (d->ladder & LLMD_LADDER_PLUGIN) != 0;
}

/* A record without all that the text asks for does not tell whom it would refuse. */
static void count_routed(bench *b, const llmd_decision *then, const llmd_decision *now, uint32_t missing)
{
  if (missing || then->status != LLMD_ROUTED)
    return;
  b->routed_then++;
  b->routed_now += now->status == LLMD_ROUTED;
}

static int try_record(void *ud, uint64_t number, uint64_t wall, const char *record, size_t len)
{
  bench *b = ud;
  llmd_decision now, was, then;
  uint32_t missing = 0;
  (void)number;
  (void)wall;
  if (!decide(b->now, record, len, &now, &then, &missing))
    return 0;
  b->tried++;
  count_routed(b, &then, &now, missing);
  if (failed(&now) && !(decide(b->was, record, len, &was, &then, &missing) && failed(&was)))
    b->rc = blame(b->now, b->err);
  return b->rc;
}

/* A text under which nobody would be served any more has not failed anywhere: it is a mistake all the same. */
static int serves_nobody(const bench *b)
{
  if (b->rc || b->routed_then < ENOUGH || b->routed_now)
    return b->rc;
  return llmd__fail(b->err, LLMD_E_PLUGIN, 0, 0, NULL, "refuses all of %u recorded requests that were served",
                    b->routed_then);
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
  return serves_nobody(&b);
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
