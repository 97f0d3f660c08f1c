#include "script.h"

#include <stdlib.h>
#include <string.h>

const char *step_name(uint32_t kind)
{
  static const char *const name[STEP_KINDS] = {
      "store", "store without names", "store under other names", "hold", "drop", "drop from the end", "expect", "clear",
      "tick", "restart"};
  return kind < STEP_KINDS ? name[kind] : "?";
}

static void add(script *s, step a)
{
  if (s->n == s->room) {
    s->room = s->room ? 2 * s->room : 256;
    s->step = realloc(s->step, s->room * sizeof *s->step);
    if (!s->step)
      abort();
  }
  s->step[s->n++] = a;
}

/* Every sixth engine has names of its own. */
static void make_names(script *s)
{
  s->name = calloc(SCRIPT_ROWS + 1, sizeof *s->name);
  if (!s->name)
    abort();
  for (uint32_t slot = 0; slot <= SCRIPT_ROWS; slot++)
    for (uint32_t d = 0; d < SCRIPT_DOCUMENTS; d++)
      for (uint32_t i = 0; i < s->document[d].n; i++)
        s->name[slot][d][i] = slot % 6 == 4 ? document_private_name(s->document[d].name[i], slot)
                                            : s->document[d].name[i];
}

/* Document `to` shares `depth` blocks with `from` and has n. */
static void branch(script *s, uint32_t to, uint32_t from, uint32_t depth, uint32_t n, uint64_t *seed)
{
  document *d = &s->document[to];
  memcpy(d->key, s->document[from].key, depth * sizeof *d->key);
  memcpy(d->name, s->document[from].name, depth * sizeof *d->name);
  for (uint32_t i = depth; i < n; i++) {
    d->key[i].lo = llmd_random(seed);
    d->key[i].hi = llmd_random(seed);
    d->name[i] = llmd_random(seed);
  }
  d->depth = depth;
  d->n = n;
}

/* ---- the day that visits everything ------------------------------------------------------------------------------ */

static void store(script *s, uint32_t slot, uint32_t d, uint32_t from, uint32_t to, uint32_t fast)
{
  uint32_t tier = slot == SCRIPT_SHARED ? LLMD_TIER_REMOTE : LLMD_TIER_GPU;
  add(s, (step){STEP_STORE, slot, tier, d, from, to - from, 0, fast});
}

static void some(script *s, uint32_t kind, uint32_t slot, uint32_t tier, uint32_t d, uint32_t from, uint32_t to)
{
  add(s, (step){kind, slot, tier, d, from, to - from, 0, 0});
}

static void tick(script *s, uint32_t mono, uint32_t budget, uint32_t times)
{
  while (times--)
    add(s, (step){STEP_TICK, 0, 0, 0, 0, budget, mono, 0});
}

static void chains(script *s)
{
  store(s, 0, 0, 0, 3, 0); /* grows, over the window's edge */
  store(s, 0, 0, 3, 10, 0);
  store(s, 0, 0, 10, 31, 1);
  store(s, 0, 0, 31, 34, 0);
  store(s, 0, 0, 34, 70, 1);
  store(s, 1, 0, 0, 10, 0); /* a second holder, of less */
  store(s, 2, 0, 0, 40, 0);
  store(s, 3, 0, 0, 10, 0);
  store(s, 4, 0, 0, 10, 0); /* names of its own */
  store(s, 1, 1, 0, 45, 0); /* turns off in the middle of a window */
  store(s, 1, 2, 0, 12, 0);
  store(s, 2, 3, 0, 67, 1); /* turns off at its edge */
  store(s, 2, 2, 3, 8, 0);
  store(s, 0, 0, 5, 20, 0); /* again */
}

static void holes_and_tiers(script *s)
{
  some(s, STEP_DROP, 0, LLMD_TIER_ANY, 0, 4, 6);
  some(s, STEP_DROP, 1, LLMD_TIER_GPU, 0, 8, 10);
  some(s, STEP_HOLD, 2, LLMD_TIER_CPU, 0, 0, 6);
  some(s, STEP_DROP, 2, LLMD_TIER_GPU, 0, 0, 6);
  some(s, STEP_HOLD, 2, LLMD_TIER_DISK, 0, 3, 4);
  some(s, STEP_DROP, 2, LLMD_TIER_CPU, 0, 2, 5);
  store(s, 0, 0, 4, 6, 0);
  store(s, 2, 0, 0, 6, 0);
  some(s, STEP_DROP_BACK, 1, LLMD_TIER_ANY, 1, 36, 45);
  some(s, STEP_DROP_BACK, 1, LLMD_TIER_ANY, 1, 0, 36);
  some(s, STEP_DROP, 4, LLMD_TIER_ANY, 0, 2, 5);
  store(s, 1, 1, 0, 5, 0);
}

static void names_and_promises(script *s)
{
  add(s, (step){STEP_RENAME, 3, LLMD_TIER_GPU, 4, 0, 2, 0, 0}); /* the names of blocks it has elsewhere */
  add(s, (step){STEP_RENAME, 3, LLMD_TIER_GPU, 4, 0, 2, 5, 0}); /* other names for blocks it has */
  some(s, STEP_NAMELESS, 5, LLMD_TIER_GPU, 5, 0, 5);
  add(s, (step){STEP_EXPECT, 0, 0, 5, 0, 34, 5, 0});
  add(s, (step){STEP_EXPECT, 2, 0, 5, 0, 3, 7, 0});
  store(s, 0, 5, 0, 2, 0);
  tick(s, 6, 50, 1);
  some(s, STEP_CLEAR, 2, 0, 0, 0, 0);
  tick(s, 8, 2, 6);
  store(s, SCRIPT_SHARED, 5, 0, 6, 0);
  some(s, STEP_DROP, SCRIPT_SHARED, LLMD_TIER_REMOTE, 5, 2, 4);
}

/* Sets of holders grow from three to four and from 18 to 19, and shrink again. */
static void crowds(script *s)
{
  for (uint32_t slot = 6; slot < SCRIPT_ROWS; slot++)
    store(s, slot, 6, 0, 34, slot != 9 && slot != 10 && slot != SCRIPT_ROWS - 1);
  store(s, 0, 6, 0, 10, 0);
  store(s, 1, 6, 0, 34, 0);
  store(s, 2, 6, 0, 34, 0);
  some(s, STEP_DROP_BACK, 7, LLMD_TIER_ANY, 6, 30, 34);
  some(s, STEP_CLEAR, 8, 0, 0, 0, 0);
  some(s, STEP_CLEAR, 9, 0, 0, 0, 0);
  some(s, STEP_CLEAR, SCRIPT_SHARED, 0, 0, 0, 0);
  tick(s, 9, 4, 8);
  store(s, 9, 6, 0, 3, 0);
  add(s, (step){STEP_RESTART, 10, LLMD_TIER_GPU, 0, 0, 3, 0, 0});
}

static void at_the_cap(script *s)
{
  for (uint32_t d = 7; d < SCRIPT_DOCUMENTS - 6; d++)
    for (uint32_t k = 0; k < 3; k++)
      store(s, (d * 5 + k * 7) % SCRIPT_ROWS, d, 0, s->document[d].n, 1);
  for (uint32_t d = SCRIPT_DOCUMENTS - 6; d < SCRIPT_DOCUMENTS - 2; d++)
    store(s, d % 5, d, 0, 24, 0);
  store(s, 4, SCRIPT_DOCUMENTS - 6, 0, 24, 0);
  some(s, STEP_DROP_BACK, 1, LLMD_TIER_ANY, SCRIPT_DOCUMENTS - 4, 0, 24);
  some(s, STEP_HOLD, 2, LLMD_TIER_CPU, SCRIPT_DOCUMENTS - 3, 0, 24);
  some(s, STEP_CLEAR, 4, 0, 0, 0, 0);
  tick(s, 10, 3, 10);
  store(s, 4, SCRIPT_DOCUMENTS - 1, 0, 40, 0);
}

void script_make(script *s)
{
  uint64_t seed = 11;
  memset(s, 0, sizeof *s);
  s->document = documents_make(SCRIPT_DOCUMENTS, SCRIPT_LONGEST, 3, seed);
  if (!s->document)
    abort();
  branch(s, 0, 0, 0, 70, &seed);
  branch(s, 1, 0, 40, 60, &seed);
  branch(s, 2, 0, 5, 15, &seed);
  branch(s, 3, 0, 64, 67, &seed);
  branch(s, 4, 0, 0, 4, &seed);
  branch(s, 5, 0, 0, 34, &seed);
  branch(s, 6, 0, 0, 34, &seed);
  for (uint32_t d = 7; d < SCRIPT_DOCUMENTS; d++)
    branch(s, d, d - 1, d % 3 ? 0 : 20 + d % 13, 60 + d % 36, &seed);
  make_names(s);
  chains(s);
  holes_and_tiers(s);
  names_and_promises(s);
  crowds(s);
  at_the_cap(s);
}

/* ---- a day by chance --------------------------------------------------------------------------------------------- */

/* Some engines tell no names; nobody can hold or drop by name there. */
static step without_names(step a)
{
  if (a.slot % 6 != 5)
    return a;
  if (a.kind == STEP_STORE || a.kind == STEP_RENAME)
    a.kind = STEP_NAMELESS;
  if (a.kind == STEP_HOLD || a.kind == STEP_DROP || a.kind == STEP_DROP_BACK)
    a.kind = STEP_CLEAR;
  if (a.kind == STEP_NAMELESS)
    a.from = 0;
  return a;
}

#define PROMISED 100000u

/* Promises that overlap end together, late in the day. */
static step any_step(const script *s, uint64_t *seed, uint32_t at, int late)
{
  step a = {.slot = roll(seed, SCRIPT_ROWS), .document = roll(seed, SCRIPT_DOCUMENTS)};
  uint32_t kind = roll(seed, 100), n = s->document[a.document].n;
  a.slot = roll(seed, 2) ? a.slot % 4 : a.slot;
  a.from = roll(seed, 3) ? 0 : roll(seed, n);
  a.n = 1 + roll(seed, n - a.from);
  a.tier = roll(seed, 5) ? LLMD_TIER_GPU : roll(seed, 4);
  a.kind = kind < 45 ? STEP_STORE : kind < 48 ? STEP_NAMELESS : kind < 50 ? STEP_RENAME : kind < 60 ? STEP_HOLD
           : kind < 70 ? STEP_DROP : kind < 80 ? STEP_DROP_BACK : kind < 86 ? STEP_EXPECT : kind < 89 ? STEP_CLEAR
           : kind < 98 ? STEP_TICK : STEP_RESTART;
  if (a.kind == STEP_STORE && roll(seed, 25) == 0) {
    a.slot = SCRIPT_SHARED;
    a.tier = LLMD_TIER_REMOTE;
  }
  if (a.kind == STEP_RENAME || a.kind == STEP_NAMELESS || a.kind == STEP_RESTART)
    a.from = 0;
  if (a.slot % 6 != 5 && a.kind == STEP_NAMELESS)
    a.kind = STEP_STORE;
  if (a.kind == STEP_HOLD) { /* a name that only others told is known, too: the model does not say so */
    a.kind = STEP_STORE;
    a.tier = 1 + roll(seed, 3);
  }
  if (a.kind == STEP_DROP || a.kind == STEP_DROP_BACK)
    a.tier = roll(seed, 3) ? LLMD_TIER_ANY : a.tier;
  if (a.kind == STEP_EXPECT && late)
    a.kind = STEP_TICK;
  if (a.kind == STEP_EXPECT)
    a.as = PROMISED;
  if (a.kind == STEP_TICK) {
    a.as = late ? PROMISED : at;
    a.n = 1 + roll(seed, 40);
  }
  if (a.kind == STEP_RENAME) { /* of another prompt altogether: on one chain the answer could go up and down */
    a.as = roll(seed, SCRIPT_DOCUMENTS);
    a.n = a.n < 3 ? a.n : 3;
    if (s->document[a.as].n < a.n || s->document[a.as].key[0].lo == s->document[a.document].key[0].lo)
      a.kind = STEP_STORE;
  }
  return without_names(a);
}

void script_random(script *s, uint64_t seed, uint32_t fast, uint32_t slow)
{
  memset(s, 0, sizeof *s);
  s->document = documents_make(SCRIPT_DOCUMENTS, SCRIPT_LONGEST, 4, seed);
  if (!s->document)
    abort();
  make_names(s);
  for (uint32_t i = 0; i < fast + slow; i++) {
    step a = any_step(s, &seed, i + 1, i + 20 > fast + slow);
    a.fast = i < fast;
    add(s, a);
  }
}

void script_free(script *s)
{
  free(s->step);
  free(s->document);
  free(s->name);
  memset(s, 0, sizeof *s);
}

/* ---- playing ----------------------------------------------------------------------------------------------------- */

llmd_endpoint_id script_endpoint(const uint32_t *generation, uint32_t slot)
{
  return slot == SCRIPT_SHARED ? LLMD_INDEX_SHARED : (uint64_t)(generation[slot] + 1) << 32 | slot;
}

/* names NULL = none. A parent that is not known there: nothing is stored. */
static int play_store(const script *s, const step *a, llmd_endpoint_id e, const uint64_t *names, llmd_index *index,
                      model *m)
{
  llmd_block parent;
  const llmd_key *key = s->document[a->document].key + a->from;
  int rc = a->from ? llmd_index_find(index, e, s->name[a->slot][a->document][a->from - 1], &parent) : 0;
  if (rc)
    return rc;
  rc = llmd_index_store(index, e, a->tier, a->from ? &parent : NULL, key, names, a->n, NULL);
  if (m)
    model_store(m, e, a->tier, key, names, a->n);
  return rc;
}

static int play_drop(const step *a, llmd_endpoint_id e, const uint64_t *names, llmd_index *index, model *m)
{
  uint64_t back[SCRIPT_LONGEST];
  for (uint32_t i = 0; a->kind == STEP_DROP_BACK && i < a->n; i++)
    back[i] = names[a->n - 1 - i];
  names = a->kind == STEP_DROP_BACK ? back : names;
  if (m)
    model_drop(m, e, a->tier, names, a->n);
  return llmd_index_drop(index, e, a->tier, names, a->n);
}

int script_play(const script *s, const step *a, uint32_t *generation, llmd_index *index, model *m)
{
  llmd_endpoint_id e;
  const uint64_t *names = s->name[a->slot][a->document] + a->from;
  const llmd_key *key = s->document[a->document].key;
  if (a->kind == STEP_RESTART)
    generation[a->slot]++;
  e = script_endpoint(generation, a->slot);
  switch (a->kind) {
    case STEP_RENAME: names = s->name[a->slot][a->as]; return play_store(s, a, e, names, index, m);
    case STEP_NAMELESS: return play_store(s, a, e, NULL, index, m);
    case STEP_HOLD:
      if (m)
        model_hold(m, e, a->tier, names, a->n);
      return llmd_index_hold(index, e, a->tier, names, a->n);
    case STEP_DROP:
    case STEP_DROP_BACK: return play_drop(a, e, names, index, m);
    case STEP_EXPECT:
      if (m)
        model_expect(m, e, key, a->n, a->as);
      return llmd_index_expect(index, e, key, a->n, a->as);
    case STEP_CLEAR:
      if (m)
        model_clear(m, e);
      return llmd_index_clear(index, e);
    case STEP_TICK:
      if (m)
        model_tick(m, a->as);
      return llmd_index_tick(index, a->as, a->n);
    default: return play_store(s, a, e, names, index, m);
  }
}
