/* lua/policies/default.lua against the C plugins it stands for: 10,000 requests over pools of 1 to 64 endpoints, some
 * of whose metrics nobody knows, with prompts that share beginnings. Each is decided by both schedulers on the same
 * pool by the same seed; picks, totals' bits and all text must be equal, the C one's record decided by the Lua one must
 * come out as the record says, and the Lua one's own record must replay.
 *
 *   test_policies_default FOLDER ENGINE */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POOLS 100u
#define REQUESTS 100u /* of each pool */
#define RECORD_MAX 262144u
#define STALE_AFTER 3000000000u

static const char in_c[] = ""; /* the library's default */
static const char in_lua[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
    "- {type: lua, name: queue,  parameters: {file: default.lua, params: {term: queue}}}\n"
    "- {type: lua, name: kv,     parameters: {file: default.lua, params: {term: kv}}}\n"
    "- {type: lua, name: prefix, parameters: {file: default.lua, params: {term: prefix}}}\n"
    "- type: max-score-picker\n"
    "schedulingProfiles:\n- name: default\n  plugins:\n"
    "  - {pluginRef: queue, weight: 2}\n  - {pluginRef: kv, weight: 2}\n  - {pluginRef: prefix, weight: 3}\n"
    "  - pluginRef: max-score-picker\n";

typedef struct record {
  size_t len;
  char data[RECORD_MAX];
} record;

/* What the whole run has met: a run that met none of something proves nothing about it. */
typedef struct met {
  uint32_t matches, unknown, stale, lone, replayed;
} met;

/* ---- chance ----------------------------------------------------------------------------------------------------- */

static uint64_t dice = 1;

static uint32_t below(uint32_t n)
{
  uint64_t z = (dice += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

/* ---- the pool --------------------------------------------------------------------------------------------------- */

static double sometimes_unknown(double value, met *m)
{
  if (below(12))
    return value;
  m->unknown++;
  return (double)NAN;
}

static void change_endpoint(rig *r, uint32_t i, met *m)
{
  static const double scales[] = {1, 3, 50, 1e6};
  double scale = scales[below(4)];
  rig_set(r, i, LLMD_ATTR_WAITING, sometimes_unknown(floor(below(1000) * scale / 1000), m));
  rig_set(r, i, LLMD_ATTR_RUNNING, below(40));
  rig_set(r, i, LLMD_ATTR_KV_USAGE, sometimes_unknown(below(7919) / 7919.0, m));
}

/* Some of the endpoints report, or nobody does until all that is known of them is stale. */
static void change_pool(rig *r, met *m)
{
  uint32_t all = !below(3), silent = !below(12);
  r->now.mono += silent ? STALE_AFTER : 50000000u;
  r->now.wall = r->now.mono + 1700000000000000000u;
  for (uint32_t i = 0; i < r->n; i++) {
    if (silent || (!all && below(4)))
      continue;
    change_endpoint(r, i, m);
    assert_int_equal(llmd_pool_touch(r->pool, r->id[i], r->now.mono), 0);
  }
  assert_int_equal(llmd_pool_publish(r->pool, &r->now), 0);
  assert_true(llmd_pool_tick(r->pool, &r->now, &(uint64_t){0}) >= 0);
}

/* One of four beginnings, as long as it likes, then an end of its own for half of them. */
static void make_prompt(char *out, size_t cap)
{
  uint32_t begin = below(4), blocks = below(12), own = below(2) ? below(1000) : 0, n = 0;
  for (uint32_t b = 0; b < blocks && n + 300 < cap; b++)
    for (uint32_t k = 0; k < 256; k++)
      out[n++] = (char)('a' + (begin * 7 + b * 3 + k) % 26);
  for (uint32_t k = 0; own && k < 90; k++)
    out[n++] = (char)('A' + (own + k * k) % 26);
  out[n] = 0;
}

/* ---- comparing -------------------------------------------------------------------------------------------------- */

static int to_record(void *ud, const char *ptr, size_t len)
{
  record *b = ud;
  if (len > sizeof b->data - b->len)
    return 1;
  memcpy(b->data + b->len, ptr, len);
  b->len += len;
  return 0;
}

static void write_record(const llmd_lane *lane, record *b)
{
  b->len = 0;
  assert_int_equal(llmd_record_write(lane, to_record, b), 0);
}

static void assert_same(const llmd_decision *a, const llmd_decision *b)
{
  assert_int_equal(a->status, b->status);
  assert_int_equal(a->reason, b->reason);
  assert_int_equal(a->ladder, b->ladder);
  assert_int_equal(a->primary, b->primary);
  assert_int_equal(a->n_targets, b->n_targets);
  for (uint32_t i = 0; i < a->n_targets; i++) {
    assert_int_equal(a->target[i].id, b->target[i].id);
    assert_memory_equal(&a->target[i].score, &b->target[i].score, sizeof a->target[i].score);
  }
}

static void assert_same_text(const llmd_decision *a, const llmd_decision *b)
{
  assert_int_equal(a->n_headers, b->n_headers);
  assert_int_equal(a->text_len, b->text_len);
  assert_memory_equal(a->text, b->text, a->text_len);
}

/* The record of the C decision, decided in Lua; the Lua one's own, again. */
static void replay(rig *r, llmd_lane *c, met *m)
{
  static record rec;
  static llmd_decision again, was;
  uint32_t missing = 1;
  int same = 0;
  again.size = was.size = sizeof again;
  write_record(r->lane[0], &rec);
  assert_int_equal(llmd_replay(r->lane[0], rec.data, rec.len, &again, &same), rec.len);
  assert_true(same);
  write_record(c, &rec);
  assert_int_equal(llmd_replay_other(r->lane[0], rec.data, rec.len, &again, &was, &missing), rec.len);
  assert_int_equal(missing, 0);
  assert_same(&again, &was);
  m->replayed++;
}

/* ---- one pool --------------------------------------------------------------------------------------------------- */

static void count(const rig *r, const llmd_decision *d, met *m)
{
  m->stale += (d->ladder & LLMD_LADDER_STALE) != 0;
  m->lone += r->n == 1;
  /* two and two are the most that queue and cache give: the rest is prefix */
  m->matches += d->n_targets && d->target[0].score > 4;
}

static void decide_both(rig *r, llmd_lane *c, uint32_t k, met *m)
{
  static llmd_decision first;
  static char prompt[4096];
  make_prompt(prompt, sizeof prompt);
  r->prompt = prompt;
  rig_request(r);
  first.size = sizeof first;
  r->seed = dice;
  assert_int_equal(llmd_decide(c, r->request, &r->now, r->seed, &first), 0);
  assert_int_equal(llmd_decide(r->lane[0], r->request, &r->now, r->seed, &r->decision), 0);
  assert_int_equal(first.status, LLMD_ROUTED);
  assert_same(&first, &r->decision);
  assert_same_text(&first, &r->decision);
  count(r, &first, m);
  replay(r, c, m);
  rig_commit(r);
  if (k % 3)
    assert_int_equal(llmd_report(r->lane[0], r->decision.ticket, LLMD_REPORT_END, NULL, &r->now), 0);
}

static void one_pool(uint32_t n, met *m)
{
  llmd_scheduler_options so;
  llmd_scheduler *s;
  llmd_lane *c;
  rig r;
  rig_open(&r, n);
  rig_options(&so);
  assert_int_equal(llmd_scheduler_create(&so, r.pool, in_c, 0, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, 0, &c), 0);
  rig_configure(&r, in_lua);
  for (uint32_t k = 0; k < REQUESTS; k++) {
    if (!below(3))
      change_pool(&r, m);
    decide_both(&r, c, k, m);
  }
  llmd_lane_free(c);
  llmd_scheduler_free(s);
  rig_close(&r);
}

static void lua_decides_as_c_does(void **state)
{
  met m = {0};
  (void)state;
  one_pool(1, &m);
  one_pool(RIG_ENDPOINTS, &m);
  for (uint32_t i = 2; i < POOLS; i++)
    one_pool(1 + below(RIG_ENDPOINTS), &m);
  print_message("# %u replayed, %u by prefix, %u unknown values, %u stale, %u with one endpoint\n",
                m.replayed, m.matches, m.unknown, m.stale, m.lone);
  assert_int_equal(m.replayed, POOLS * REQUESTS);
  assert_true(m.matches > 1000 && m.unknown > 1000 && m.stale > 100 && m.lone >= REQUESTS);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(lua_decides_as_c_does)};
  int rc;
  rig_start(argc, argv);
  rc = cmocka_run_group_tests(tests, NULL, NULL);
  rig_end();
  return rc;
}
