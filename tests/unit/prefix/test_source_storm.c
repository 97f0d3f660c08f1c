/* An engine whose messages get lost, doubled and out of order on their way, that restarts, and a host that does what it
 * is asked to; some hosts die. When the storm is over, the index must hold what the engine holds: never more, and no
 * less where the engine's buffer still had what was lost.
 *
 *   test_source_storm [STORMS [SEED]]     LLMD_LONG=1: fifty times as many */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "speaker.h"

#define NODES 160u
#define HISTORY 1024u
#define QUEUE 4096u
#define DEPTH 24u
#define SECOND UINT64_C(1000000000)

static uint32_t storms = 60;
static uint64_t first_seed = 1;

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 20) % n;
}

/* ---- the engine -------------------------------------------------------------------------------------------------- */

/* One block of one of the prompts, which form a tree. */
typedef struct block_node {
  uint32_t parent; /* NODES = none */
  uint32_t depth;
  uint32_t token[RIG_BLOCK];
  uint64_t name;
  llmd_key key;
  uint32_t copies;
} block_node;

typedef struct told {
  uint64_t seq;
  uint8_t *bytes;
  size_t len;
} told;

typedef struct engine {
  block_node node[NODES];
  told history[HISTORY]; /* what it keeps for replays */
  uint32_t n_history, keeps;
  uint64_t seq, life;
  double time;
  int counted;
} engine;

/* On its way: a message of history, copied. end: of a replay. */
typedef struct parcel {
  told what;
  int end;
} parcel;

typedef struct wire {
  parcel queue[QUEUE];
  uint32_t n, handed; /* handed: of this replay */
} wire;

typedef struct storm {
  rig r;
  llmd_source_id s;
  engine e;
  wire live, replay;
  int older;         /* framing of replays */
  uint32_t loss;     /* per thousand */
  uint32_t flags;
  batch_text text;
} storm;

static void grow_tree(storm *st)
{
  engine *e = &st->e;
  for (uint32_t i = 0; i < NODES; i++) {
    block_node *b = &e->node[i];
    llmd_key key[DEPTH + 1];
    uint32_t path[(DEPTH + 1) * RIG_BLOCK];
    b->parent = i < 3 ? NODES : below(4) ? i - 1 : below(i);
    if (b->parent != NODES && e->node[b->parent].depth == DEPTH - 1)
      b->parent = NODES;
    b->depth = b->parent == NODES ? 0 : e->node[b->parent].depth + 1;
    for (uint32_t k = 0; k < RIG_BLOCK; k++)
      b->token[k] = below(50000);
    for (uint32_t at = i; at != NODES; at = e->node[at].parent)
      memcpy(path + e->node[at].depth * RIG_BLOCK, e->node[at].token, sizeof b->token);
    rig_keys(&st->r, NULL, path, (b->depth + 1) * RIG_BLOCK, NULL, 0, key);
    b->key = key[b->depth];
  }
}

/* A new process: other names, nothing held, numbers from 0. */
static void start_engine(engine *e)
{
  for (uint32_t i = 0; i < e->n_history; i++)
    free(e->history[i].bytes);
  e->n_history = 0;
  e->seq = 0;
  e->life++;
  e->time += 1 + below(5);
  for (uint32_t i = 0; i < NODES; i++) {
    e->node[i].copies = 0;
    e->node[i].name = below(4) ? e->life << 32 | (i + 1) : i + 1; /* some names it had before, for other blocks */
    if (below(4) == 0)
      e->node[i].name = (i + e->life) % NODES + 1 + (e->life << 20);
  }
}

static void send(wire *w, const told *t, int end)
{
  parcel *p = &w->queue[w->n];
  assert_true(w->n < QUEUE);
  w->n++;
  p->end = end;
  memset(&p->what, 0, sizeof p->what);
  if (end)
    return;
  p->what = *t;
  p->what.bytes = malloc(t->len);
  assert_non_null(p->what.bytes);
  memcpy(p->what.bytes, t->bytes, t->len);
}

static void drop_parcel(wire *w, uint32_t i)
{
  free(w->queue[i].what.bytes);
  w->n--;
  memmove(w->queue + i, w->queue + i + 1, sizeof *w->queue * (w->n - i));
}

/* The blocks from a random one's root down to it that are not there: stored in one event, as far as they hang on what
 * is. */
static void engine_stores(storm *st)
{
  engine *e = &st->e;
  uint32_t path[DEPTH], n = 0, at = below(NODES), token[DEPTH * RIG_BLOCK];
  uint64_t name[DEPTH];
  stored_text s = {.block_size = RIG_BLOCK, .group = -1, .name = name, .token = token};
  const uint32_t depth = e->node[at].depth;
  for (; at != NODES; at = e->node[at].parent)
    path[e->node[at].depth] = at;
  while (n <= depth && e->node[path[n]].copies && !(e->counted && below(6) == 0))
    n++;
  if (n)
    s.parent = &e->node[path[n - 1]].name;
  for (; n <= depth && (e->counted || !e->node[path[n]].copies) && s.n < 6; n++) {
    block_node *b = &e->node[path[n]];
    name[s.n] = b->name;
    memcpy(token + s.n * RIG_BLOCK, b->token, sizeof b->token);
    b->copies++;
    s.n++;
  }
  s.n_tokens = s.n * RIG_BLOCK;
  if (s.n)
    batch_stored(&st->text, &s);
}

/* Mostly blocks that nothing hangs on; a copy of each. */
static void engine_removes(storm *st)
{
  engine *e = &st->e;
  uint64_t name[4];
  uint32_t n = 0;
  for (uint32_t tries = 0; tries < 8 && n < 4; tries++) {
    const uint32_t at = below(NODES);
    int leaf = 1;
    for (uint32_t i = 0; i < NODES; i++)
      leaf &= !(e->node[i].parent == at && e->node[i].copies);
    if (!e->node[at].copies || (!leaf && below(5)))
      continue;
    name[n++] = e->node[at].name;
    e->node[at].copies--;
  }
  if (n)
    batch_removed(&st->text, name, n, "GPU", -1);
}

static void engine_speaks(storm *st)
{
  engine *e = &st->e;
  told *t;
  llmd_str bytes;
  e->time += 0.01;
  batch_begin(&st->text, e->time, -1);
  for (uint32_t k = 1 + below(3); k; k--) {
    if (below(60) == 0) {
      batch_cleared(&st->text);
      for (uint32_t i = 0; i < NODES; i++)
        e->node[i].copies = 0;
    } else if (below(3)) {
      engine_stores(st);
    } else {
      engine_removes(st);
    }
  }
  bytes = batch_end(&st->text);
  if (e->n_history == e->keeps) {
    free(e->history[0].bytes);
    memmove(e->history, e->history + 1, sizeof *e->history * --e->n_history);
  }
  t = &e->history[e->n_history++];
  t->seq = e->seq++;
  t->len = bytes.len;
  t->bytes = malloc(bytes.len);
  assert_non_null(t->bytes);
  memcpy(t->bytes, bytes.ptr, bytes.len);
  send(&st->live, t, 0);
}

/* A connection of its own for each replay: what is left of the one before goes with it. */
static void engine_replays(storm *st, uint64_t from)
{
  while (st->replay.n)
    drop_parcel(&st->replay, 0);
  st->replay.handed = 0;
  for (uint32_t i = 0; i < st->e.n_history; i++)
    if (st->e.history[i].seq >= from)
      send(&st->replay, &st->e.history[i], 0);
  send(&st->replay, NULL, 1);
}

/* ---- the way ----------------------------------------------------------------------------------------------------- */

static void do_as_asked(storm *st)
{
  if (st->r.ask.what == LLMD_ASK_NOTHING)
    return;
  if (st->loss && below(20) == 0)
    llmd_events_replay_failed(st->r.events, st->s, &st->r.now);
  else
    engine_replays(st, st->r.ask.from);
}

static void hand_over(storm *st, wire *w, uint32_t i)
{
  const parcel p = w->queue[i];
  const llmd_str payload = {(const char *)p.what.bytes, p.what.len};
  if (w == &st->live)
    assert_true(rig_live(&st->r, st->s, p.what.seq, payload) >= 0);
  else if (p.end)
    assert_true(rig_end(&st->r, st->s, st->older) >= 0);
  else
    assert_true(rig_replayed(&st->r, st->s, p.what.seq, payload, st->older) >= 0);
}

/* One message of one direction, maybe lost, maybe twice, maybe before its turn. A replay's first is not lost: what gets
 * lost there is what a full queue has no room for. */
static void deliver(storm *st, wire *w)
{
  const int first = w == &st->replay && w->handed == 0;
  uint32_t i = 0;
  if (w->n == 0)
    return;
  if (!first && below(1000) < st->loss)
    i = below(w->n < 4 ? w->n : 4);
  if (!first && below(1000) < st->loss) {
    drop_parcel(w, i);
    return;
  }
  w->handed++;
  hand_over(st, w, i);
  if (below(1000) >= st->loss)
    drop_parcel(w, i);
  do_as_asked(st);
}

static void tick(storm *st)
{
  llmd_source_id which;
  while (llmd_events_tick(st->r.events, &st->r.now, &which, &st->r.ask) == 1)
    do_as_asked(st);
}

static void add_source(storm *st)
{
  st->s = rig_source(&st->r, 1, st->flags);
}

static void new_host(storm *st)
{
  while (st->replay.n)
    drop_parcel(&st->replay, 0);
  rig_reopen(&st->r, NULL);
  add_source(st);
}

/* ---- what must hold ---------------------------------------------------------------------------------------------- */

static uint32_t truth(const engine *e, const uint32_t *path, uint32_t n)
{
  uint32_t i = 0;
  while (i < n && e->node[path[i]].copies)
    i++;
  return i;
}

/* Returns how many leading blocks the index misses. */
static uint32_t compare(storm *st, uint64_t seed)
{
  uint32_t missed = 0;
  for (uint32_t i = 0; i < NODES; i++) {
    const uint32_t n = st->e.node[i].depth + 1;
    uint32_t path[DEPTH], has, says;
    llmd_key key[DEPTH];
    for (uint32_t at = i; at != NODES; at = st->e.node[at].parent) {
      path[st->e.node[at].depth] = at;
      key[st->e.node[at].depth] = st->e.node[at].key;
    }
    has = truth(&st->e, path, n);
    says = rig_blocks(&st->r, 1, key, n, NULL);
    if (says > has)
      fail_msg("storm %llu: the index says %u blocks, there are %u", (unsigned long long)seed, says, has);
    missed += has - says;
  }
  return missed;
}

/* No more losses; the engine says one thing more, so that a last one that was lost shows. */
static void calm(storm *st)
{
  st->loss = 0;
  engine_speaks(st);
  for (int round = 0; round < 12; round++) {
    while (st->live.n || st->replay.n)
      deliver(st, st->live.n ? &st->live : &st->replay);
    st->r.now.mono += 150 * SECOND;
    tick(st);
  }
}

static storm *make_storm(uint64_t seed, uint32_t keeps, uint32_t flags)
{
  llmd_events_options o = {.size = sizeof o};
  storm *st = calloc(1, sizeof *st);
  assert_non_null(st);
  random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  o.parked_bytes = below(3) ? 0 : 4096;
  rig_open(&st->r, 8, &o);
  st->e.time = 1000;
  st->e.keeps = keeps;
  st->e.counted = (flags & LLMD_SOURCE_COUNTED) != 0;
  st->flags = flags;
  st->older = (int)below(2);
  st->loss = below(3) * 40;
  grow_tree(st);
  start_engine(&st->e);
  return st;
}

static void free_storm(storm *st)
{
  while (st->live.n)
    drop_parcel(&st->live, 0);
  while (st->replay.n)
    drop_parcel(&st->replay, 0);
  for (uint32_t i = 0; i < st->e.n_history; i++)
    free(st->e.history[i].bytes);
  rig_close(&st->r);
  free(st);
}

static uint32_t rage(uint64_t seed, uint32_t keeps, uint32_t flags, uint32_t steps, llmd_source_stats *total)
{
  storm *st = make_storm(seed, keeps, flags);
  llmd_source_stats stats;
  uint32_t missed;
  for (uint32_t k = below(20); k; k--) /* before anybody listens */
    engine_speaks(st);
  while (st->live.n)
    drop_parcel(&st->live, 0);
  add_source(st);
  for (uint32_t i = 0; i < steps; i++) {
    const uint32_t what = below(100);
    st->r.now.mono += below(20) ? SECOND / 100 : below(20) * SECOND;
    if (what < 25 && st->e.seq < HISTORY - 10)
      engine_speaks(st);
    else if (what < 60)
      deliver(st, &st->live);
    else if (what < 95)
      deliver(st, &st->replay);
    else if (what < 98 || i % 8)
      tick(st);
    else if (what < 99)
      start_engine(&st->e);
    else
      new_host(st);
  }
  calm(st);
  missed = compare(st, seed);
  stats = rig_stats(&st->r, st->s);
  total->restarts += stats.restarts;
  total->gaps += stats.gaps;
  total->replays += stats.replays;
  total->replays_failed += stats.replays_failed;
  total->parked_lost += stats.parked_lost;
  total->batches += stats.batches;
  if (!(flags & LLMD_SOURCE_NO_REPLAY))
    assert_int_equal(stats.degraded, 0);
  free_storm(st);
  return missed;
}

static llmd_source_stats all(uint32_t keeps, uint32_t flags, int covers)
{
  llmd_source_stats total;
  memset(&total, 0, sizeof total);
  for (uint64_t seed = first_seed; seed < first_seed + storms; seed++) {
    const uint32_t missed = rage(seed, keeps, flags, 600, &total);
    if (covers && missed)
      fail_msg("storm %llu: %u blocks missed", (unsigned long long)seed, missed);
  }
  print_message("# %llu batches, %llu gaps, %llu restarts, %llu replays, %llu failed\n",
                (unsigned long long)total.batches, (unsigned long long)total.gaps, (unsigned long long)total.restarts,
                (unsigned long long)total.replays, (unsigned long long)total.replays_failed);
  return total;
}

static void test_buffer_covers(void **state)
{
  (void)state;
  const llmd_source_stats t = all(HISTORY, 0, 1);
  assert_true(t.gaps > 0 && t.restarts > 0 && t.replays > t.gaps && t.replays_failed > 0);
}

static void test_buffer_covers_counted(void **state)
{
  (void)state;
  all(HISTORY, LLMD_SOURCE_COUNTED, 1);
}

static void test_buffer_is_short(void **state)
{
  (void)state;
  const llmd_source_stats t = all(5, 0, 0);
  assert_true(t.replays_failed > 0);
}

static void test_buffer_is_short_counted(void **state)
{
  (void)state;
  all(5, LLMD_SOURCE_COUNTED, 0);
}

static void test_no_buffer(void **state)
{
  (void)state;
  all(1, LLMD_SOURCE_NO_REPLAY, 0);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_buffer_covers),
      cmocka_unit_test(test_buffer_covers_counted),
      cmocka_unit_test(test_buffer_is_short),
      cmocka_unit_test(test_buffer_is_short_counted),
      cmocka_unit_test(test_no_buffer),
  };
  const char *longer = getenv("LLMD_LONG");
  if (longer && strcmp(longer, "1") == 0)
    storms *= 50;
  if (argc > 1)
    storms = (uint32_t)strtoul(argv[1], NULL, 10);
  if (argc > 2)
    first_seed = strtoull(argv[2], NULL, 10);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
