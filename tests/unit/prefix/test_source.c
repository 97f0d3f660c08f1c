/* The numbers of a source's messages: order, gaps, replays, restarts, what a successor finds. Each message here stores
 * one block more of one prompt, so that what the index says tells which messages were applied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../failing_alloc.h"
#include "prefix/exact.h"
#include "prefix/source.h"
#include "speaker.h"

#define BLOCKS 40u
#define SECOND UINT64_C(1000000000)

static uint32_t tokens[BLOCKS * RIG_BLOCK];
static uint64_t names[BLOCKS];
static llmd_key keys[BLOCKS];
static batch_text text;

/* Message `seq` of an engine that began at `time`: stores block seq of the prompt. */
static llmd_str message(double time, uint64_t seq)
{
  const stored_text s = {.name = &names[seq], .n = 1, .parent = seq ? &names[seq - 1] : NULL, .group = -1,
                         .token = &tokens[seq * RIG_BLOCK], .n_tokens = RIG_BLOCK, .block_size = RIG_BLOCK};
  batch_begin(&text, time > 0 ? time + (double)seq : 0, -1);
  batch_stored(&text, &s);
  return batch_end(&text);
}

static llmd_str removal(double time, uint64_t block)
{
  batch_begin(&text, time, -1);
  batch_removed(&text, &names[block], 1, "GPU", -1);
  return batch_end(&text);
}

static void open_rig(rig *r, const llmd_events_options *o)
{
  rig_open(r, 8, o);
  for (uint32_t i = 0; i < BLOCKS * RIG_BLOCK; i++)
    tokens[i] = i * 7 + 3;
  for (uint32_t i = 0; i < BLOCKS; i++)
    names[i] = 1000 + i;
  rig_keys(r, NULL, tokens, BLOCKS * RIG_BLOCK, NULL, 0, keys);
}

static void holds(rig *r, uint32_t blocks)
{
  assert_int_equal(rig_blocks(r, 1, keys, BLOCKS, NULL), blocks);
}

static void asks(const rig *r, uint64_t from)
{
  assert_int_equal(r->ask.what, LLMD_ASK_REPLAY);
  assert_int_equal(r->ask.from, from);
}

static void asks_nothing(const rig *r)
{
  assert_int_equal(r->ask.what, LLMD_ASK_NOTHING);
}

static uint32_t row_flags(const rig *r)
{
  llmd_index_row row;
  memset(&row, 0, sizeof row);
  row.size = sizeof row;
  return llmd_index_row_of(r->index, rig_endpoint(1), &row) == 0 ? row.flags : 0;
}

static void live_run(rig *r, llmd_source_id s, double time, uint64_t from, uint64_t to)
{
  for (uint64_t i = from; i < to; i++) {
    assert_int_equal(rig_live(r, s, i, message(time, i)), 1);
    asks_nothing(r);
  }
}

static void replay_run(rig *r, llmd_source_id s, double time, uint64_t from, uint64_t to, int older)
{
  for (uint64_t i = from; i < to; i++)
    assert_true(rig_replayed(r, s, i, message(time, i), older) >= 0);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static void test_in_order(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  assert_int_equal(rig_stats(&r, s).last_seq, UINT64_MAX);
  live_run(&r, s, 100, 0, 5);
  holds(&r, 5);
  assert_int_equal(rig_live(&r, s, 4, message(100, 4)), 0);
  assert_int_equal(rig_live(&r, s, 2, message(100, 2)), 0);
  asks_nothing(&r);
  const llmd_source_stats stats = rig_stats(&r, s);
  assert_int_equal(stats.old, 2);
  assert_int_equal(stats.last_seq, 4);
  assert_int_equal(stats.batches, 5);
  assert_int_equal(stats.events, 5);
  assert_int_equal(stats.blocks, 5);
  assert_int_equal(stats.degraded + stats.gaps + stats.restarts + stats.replays, 0);
  assert_int_equal(row_flags(&r), LLMD_INDEX_FED);
  rig_close(&r);
}

static void gap_is_filled(int older)
{
  rig r;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  assert_int_equal(rig_live(&r, s, 5, message(100, 5)), 0);
  asks(&r, 2);
  assert_int_equal(rig_live(&r, s, 6, message(100, 6)), 0);
  asks_nothing(&r);
  holds(&r, 3);
  assert_int_equal(row_flags(&r), LLMD_INDEX_FED | LLMD_INDEX_DEGRADED);
  replay_run(&r, s, 100, 2, 6, older);
  holds(&r, 6);
  assert_int_equal(rig_end(&r, s, older), 1);
  asks_nothing(&r);
  holds(&r, 7);
  assert_int_equal(row_flags(&r), LLMD_INDEX_FED);
  live_run(&r, s, 100, 7, 9);
  holds(&r, 9);
  const llmd_source_stats stats = rig_stats(&r, s);
  assert_int_equal(stats.gaps, 1);
  assert_int_equal(stats.replays, 1);
  assert_int_equal(stats.replays_failed + stats.restarts, 0);
  assert_int_equal(stats.old, 1); /* 5 came twice */
  assert_int_equal(stats.blocks, 9);
  rig_close(&r);
}

static void test_gap(void **state)
{
  (void)state;
  gap_is_filled(0);
  gap_is_filled(1);
}

static void test_join_in_the_middle(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  assert_int_equal(rig_live(&r, s, 4, message(100, 4)), 0);
  asks(&r, 0);
  replay_run(&r, s, 100, 0, 5, 0);
  rig_end(&r, s, 0);
  holds(&r, 5);
  assert_int_equal(rig_stats(&r, s).degraded, 0);
  rig_close(&r);
}

/* A source that says nothing is asked too. */
static void test_quiet_engine(void **state)
{
  rig r;
  llmd_source_id which = 9;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  assert_int_equal(which, s);
  asks(&r, 0);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  replay_run(&r, s, 100, 0, 3, 0);
  rig_end(&r, s, 0);
  holds(&r, 3);
  rig_close(&r);
}

/* What the engine keeps begins after what is missing: asked twice, then what is left is taken on an empty endpoint. */
static void test_replay_begins_too_late(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 9, message(100, 9));
  asks(&r, 2);
  replay_run(&r, s, 100, 6, 10, 0);
  holds(&r, 3);
  rig_end(&r, s, 0);
  asks(&r, 2);
  replay_run(&r, s, 100, 6, 10, 0);
  holds(&r, 0);
  rig_end(&r, s, 0);
  asks_nothing(&r);
  const llmd_source_stats stats = rig_stats(&r, s);
  assert_int_equal(stats.replays_failed, 1);
  assert_int_equal(stats.last_seq, 9);
  assert_int_equal(stats.parked_now, 4); /* they hang on block 5, which nobody told of */
  assert_int_equal(stats.degraded, 0);
  rig_close(&r);
}

static void test_replay_with_a_hole(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 2);
  rig_live(&r, s, 8, message(100, 8));
  asks(&r, 1);
  replay_run(&r, s, 100, 1, 4, 0);
  replay_run(&r, s, 100, 5, 8, 0);
  rig_end(&r, s, 0);
  asks(&r, 3);
  holds(&r, 4);
  replay_run(&r, s, 100, 3, 9, 0);
  rig_end(&r, s, 0);
  asks_nothing(&r);
  holds(&r, 9);
  rig_close(&r);
}

static void test_replay_fails(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 5, message(100, 5));
  asks(&r, 2);
  assert_int_equal(llmd_events_replay_failed(r.events, s, &r.now), 0);
  holds(&r, 0);
  assert_int_equal(rig_stats(&r, s).last_seq, 5); /* gone on from what waited */
  assert_int_equal(row_flags(&r) & LLMD_INDEX_DEGRADED, LLMD_INDEX_DEGRADED);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  rig_live(&r, s, 8, message(100, 8)); /* another gap: not asked for yet */
  asks_nothing(&r);
  assert_int_equal(rig_stats(&r, s).last_seq, 8);
  r.now.mono += 30 * SECOND;
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  asks(&r, 0);
  replay_run(&r, s, 100, 0, 9, 1);
  rig_end(&r, s, 1);
  holds(&r, 9);
  assert_int_equal(row_flags(&r), LLMD_INDEX_FED);
  assert_int_equal(rig_stats(&r, s).replays_failed, 1);
  rig_close(&r);
}

static void test_replay_takes_too_long(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 5, message(100, 5));
  r.now.mono += 119 * SECOND;
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  holds(&r, 3);
  r.now.mono += 2 * SECOND;
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  holds(&r, 0);
  assert_int_equal(rig_stats(&r, s).replays_failed, 1);
  r.now.mono += 30 * SECOND;
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  rig_close(&r);
}

/* An engine that keeps no messages answers with the end mark alone. */
static void test_replay_brings_nothing(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  rig_live(&r, s, 5, message(100, 5));
  for (int i = 0; i < 3; i++) {
    asks(&r, 0);
    rig_end(&r, s, 0);
  }
  asks_nothing(&r);
  assert_int_equal(rig_stats(&r, s).replays_failed, 1);
  assert_int_equal(rig_stats(&r, s).last_seq, 5);
  assert_int_equal(rig_live(&r, s, 6, message(100, 6)), 0);
  assert_int_equal(rig_stats(&r, s).last_seq, 6);
  rig_close(&r);
}

static void test_without_replay(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, LLMD_SOURCE_NO_REPLAY);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 5, message(100, 5));
  asks_nothing(&r);
  holds(&r, 0);
  assert_int_equal(rig_stats(&r, s).degraded, 1);
  assert_int_equal(rig_stats(&r, s).last_seq, 5);
  r.now.mono += 31 * SECOND;
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 0);
  assert_int_equal(rig_stats(&r, s).degraded, 0);
  rig_close(&r);
}

/* ---- restarts ---------------------------------------------------------------------------------------------------- */

static void test_restart(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 6);
  assert_int_equal(rig_live(&r, s, 0, message(500, 0)), 1);
  asks_nothing(&r); /* its first message: nothing came before */
  holds(&r, 1);
  live_run(&r, s, 500, 1, 3);
  holds(&r, 3);
  assert_int_equal(rig_stats(&r, s).restarts, 1);
  assert_int_equal(rig_stats(&r, s).degraded, 0);
  rig_close(&r);
}

static void test_restart_joined_late(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 6);
  assert_int_equal(rig_live(&r, s, 3, message(500, 3)), 0);
  asks(&r, 0);
  holds(&r, 0);
  replay_run(&r, s, 500, 0, 4, 0);
  rig_end(&r, s, 0);
  holds(&r, 4);
  assert_int_equal(rig_stats(&r, s).restarts, 1);
  rig_close(&r);
}

/* The new process is beyond the old one's last number already: its messages only look like a gap. */
static void test_restart_behind_a_gap(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 7, message(500, 7));
  asks(&r, 2);
  rig_replayed(&r, s, 2, message(500, 2), 0); /* not the message that was applied */
  asks(&r, 0);
  holds(&r, 0);
  replay_run(&r, s, 500, 0, 8, 0);
  rig_end(&r, s, 0);
  holds(&r, 8);
  assert_int_equal(rig_stats(&r, s).restarts, 1);
  rig_close(&r);
}

static void test_restart_during_a_replay(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 3);
  rig_live(&r, s, 5, message(100, 5));
  asks(&r, 2);
  rig_live(&r, s, 1, message(500, 1));
  asks(&r, 0);
  replay_run(&r, s, 500, 0, 2, 0);
  rig_end(&r, s, 0);
  holds(&r, 2);
  assert_int_equal(rig_stats(&r, s).last_seq, 1);
  rig_close(&r);
}

/* Without times only numbers that go back on the connection tell. */
static void test_restart_without_times(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 0, 0, 6);
  rig_live(&r, s, 0, message(0, 0));
  holds(&r, 1);
  assert_int_equal(rig_stats(&r, s).restarts, 1);
  rig_close(&r);
}

/* The new process's clock is behind: number 0 tells, or a long row of numbers that were there before. */
static void test_restart_with_a_clock_behind(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 500, 0, 30);
  rig_live(&r, s, 0, message(100, 0));
  holds(&r, 1);
  live_run(&r, s, 100, 1, 30);
  r.now.mono += 180 * SECOND;
  for (uint64_t i = 2; i < 18; i++)
    rig_live(&r, s, i, message(50, i));
  asks(&r, 0);
  assert_int_equal(rig_stats(&r, s).restarts, 2);
  holds(&r, 0);
  rig_close(&r);
}

/* Messages that a replay brought before they came live are not a restart. */
static void test_replay_overtakes_live(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  rig_live(&r, s, 3, message(100, 3));
  asks(&r, 0);
  replay_run(&r, s, 100, 0, 20, 0);
  rig_end(&r, s, 0);
  holds(&r, 20);
  for (uint64_t i = 4; i < 20; i++)
    assert_int_equal(rig_live(&r, s, i, message(100, i)), 0);
  live_run(&r, s, 100, 20, 22);
  assert_int_equal(rig_stats(&r, s).restarts, 0);
  assert_int_equal(rig_stats(&r, s).old, 17);
  holds(&r, 22);
  rig_close(&r);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void test_more_waits_than_fits(void **state)
{
  const llmd_events_options o = {.size = sizeof o, .parked_bytes = 2048};
  rig r;
  (void)state;
  open_rig(&r, &o);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 2);
  for (uint64_t i = 3; i < 30; i++)
    rig_live(&r, s, i, message(100, i));
  replay_run(&r, s, 100, 1, 10, 0);
  rig_end(&r, s, 0);
  asks(&r, 9); /* what came next is lost */
  replay_run(&r, s, 100, 9, 30, 0);
  rig_end(&r, s, 0);
  asks_nothing(&r);
  holds(&r, 30);
  rig_close(&r);
}

/* What waits for a parent goes with the process that told of it, also when nothing else was told. */
static void test_restart_drops_parked(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, LLMD_SOURCE_NO_REPLAY);
  rig_live(&r, s, 4, message(100, 4));
  assert_int_equal(rig_stats(&r, s).parked_now, 1);
  live_run(&r, s, 500, 0, 4);
  assert_int_equal(rig_stats(&r, s).parked_now, 0);
  holds(&r, 4);
  rig_close(&r);
}

static void test_waiting_out_of_order(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 2);
  rig_live(&r, s, 4, message(100, 4));
  rig_live(&r, s, 3, message(100, 3));
  rig_live(&r, s, 5, message(100, 5));
  rig_live(&r, s, 3, message(100, 3));
  replay_run(&r, s, 100, 1, 3, 0);
  assert_int_equal(rig_end(&r, s, 0), 3);
  asks_nothing(&r);
  holds(&r, 6);
  rig_close(&r);
}

/* ---- messages that are wrong ------------------------------------------------------------------------------------- */

static void test_wrong_messages(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  const llmd_str two[2] = {{"a", 1}, {"b", 1}};
  live_run(&r, s, 100, 0, 2);
  r.ask.what = 77;
  assert_int_equal(llmd_events_feed(r.events, s, LLMD_FRAMES_LIVE, two, 2, &r.now, &r.ask), LLMD_E_SYNTAX);
  asks_nothing(&r);
  assert_true(rig_live(&r, s, 2, (llmd_str){"\xc1", 1}) < 0);
  assert_int_equal(rig_stats(&r, s).bad_messages, 2);
  assert_int_equal(rig_stats(&r, s).last_seq, 1);
  rig_live(&r, s, 3, message(100, 3));
  asks(&r, 1);
  rig_replayed(&r, s, 1, message(100, 1), 0);
  assert_true(rig_replayed(&r, s, 2, (llmd_str){"\xc1", 1}, 0) < 0); /* will not get better: what it said is lost */
  holds(&r, 0);
  rig_replayed(&r, s, 3, message(100, 3), 0);
  rig_end(&r, s, 0);
  asks_nothing(&r);
  assert_int_equal(rig_stats(&r, s).last_seq, 3);
  assert_int_equal(llmd_events_feed(r.events, 55, LLMD_FRAMES_LIVE, two, 2, &r.now, &r.ask), LLMD_E_INVALID);
  assert_int_equal(llmd_events_feed(r.events, s, 3, two, 2, &r.now, &r.ask), LLMD_E_INVALID);
  rig_close(&r);
}

static void test_wrong_topic(void **state)
{
  rig r;
  llmd_source c;
  llmd_source_id s;
  (void)state;
  open_rig(&r, NULL);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(1);
  c.topic = (llmd_str){"kv@pod@other", 12};
  assert_int_equal(llmd_events_source(r.events, &c, &s), 0);
  assert_int_equal(rig_live(&r, s, 0, message(100, 0)), 0);
  assert_int_equal(rig_stats(&r, s).wrong_topic, 1);
  assert_int_equal(rig_stats(&r, s).last_seq, UINT64_MAX);
  c.topic = (llmd_str){"kv@pod@model", 12};
  assert_int_equal(llmd_events_source(r.events, &c, &s), 0);
  live_run(&r, s, 100, 0, 2);
  holds(&r, 2);
  rig_close(&r);
}

static void test_ranks(void **state)
{
  const llmd_endpoint_id ranks[2] = {rig_endpoint(1), rig_endpoint(2)};
  rig r;
  llmd_source c;
  llmd_source_id s;
  (void)state;
  open_rig(&r, NULL);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.ranks = ranks;
  c.n_ranks = 2;
  assert_int_equal(llmd_events_source(r.events, &c, &s), 0);
  const stored_text st = {.name = names, .n = 2, .token = tokens, .n_tokens = 8, .block_size = 4, .group = -1};
  for (int64_t rank = -1; rank < 3; rank++) {
    batch_begin(&text, 100 + (double)rank, rank);
    batch_stored(&text, &st);
    rig_live(&r, s, (uint64_t)(rank + 1), batch_end(&text));
    assert_int_equal(rig_blocks(&r, 1, keys, 2, NULL), rank >= 0 ? 2 : 0);
    assert_int_equal(rig_blocks(&r, 2, keys, 2, NULL), rank >= 1 ? 2 : 0);
  }
  assert_int_equal(rig_stats(&r, s).wrong_rank, 2);
  batch_begin(&text, 200, 0);
  batch_cleared(&text);
  rig_live(&r, s, 4, batch_end(&text));
  assert_int_equal(rig_blocks(&r, 1, keys, 2, NULL), 0);
  assert_int_equal(rig_blocks(&r, 2, keys, 2, NULL), 2);
  rig_close(&r);
}

/* ---- successors -------------------------------------------------------------------------------------------------- */

static void test_successor_goes_on(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  live_run(&r, rig_source(&r, 1, 0), 100, 0, 5);
  rig_reopen(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  holds(&r, 5);
  assert_int_equal(rig_stats(&r, s).last_seq, 4);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  asks(&r, 4);
  replay_run(&r, s, 100, 4, 7, 0);
  rig_end(&r, s, 0);
  holds(&r, 7);
  assert_int_equal(rig_stats(&r, s).blocks, 2);
  rig_close(&r);
}

/* The engine was started anew while nobody listened. */
static void test_successor_finds_another_process(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  live_run(&r, rig_source(&r, 1, 0), 100, 0, 5);
  rig_reopen(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  asks(&r, 4);
  rig_end(&r, s, 0);
  asks(&r, 4);
  rig_end(&r, s, 0);
  asks(&r, 0);
  holds(&r, 0);
  replay_run(&r, s, 900, 0, 2, 0);
  rig_end(&r, s, 0);
  holds(&r, 2);
  rig_close(&r);
}

static llmd__source_record *record_of_slot(rig *r, uint32_t slot)
{
  size_t bytes;
  llmd__source_record *book = llmd__exact_book(r->index, &bytes);
  assert_true((slot + 1) * sizeof *book <= bytes);
  return &book[slot];
}

/* Killed within a batch: half of it is in the index, the number is not moved. */
static void test_writer_killed_in_a_batch(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  live_run(&r, rig_source(&r, 1, 0), 100, 0, 5);
  assert_int_equal(record_of_slot(&r, 1)->applying, 0);
  record_of_slot(&r, 1)->applying = 1;
  assert_int_equal(llmd_index_drop(r.index, rig_endpoint(1), LLMD_TIER_GPU, &names[4], 1), 1);
  rig_reopen(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  assert_int_equal(rig_stats(&r, s).degraded, 1);
  assert_int_equal(rig_live(&r, s, 6, message(100, 6)), 0);
  asks(&r, 4);
  rig_replayed(&r, s, 4, message(100, 4), 0);
  rig_replayed(&r, s, 5, removal(105, 4), 0);
  rig_end(&r, s, 0);
  holds(&r, 4);
  assert_int_equal(rig_stats(&r, s).degraded, 0);
  assert_int_equal(rig_stats(&r, s).last_seq, 6);
  rig_close(&r);
}

static void test_counted_source_is_refilled(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  live_run(&r, rig_source(&r, 1, LLMD_SOURCE_COUNTED), 100, 0, 5);
  rig_reopen(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, LLMD_SOURCE_COUNTED);
  holds(&r, 0);
  assert_int_equal(rig_live(&r, s, 5, message(100, 5)), 0);
  asks(&r, 0);
  replay_run(&r, s, 100, 0, 6, 0);
  rig_end(&r, s, 0);
  holds(&r, 6);
  rig_close(&r);
}

static void test_successor_without_replay(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  live_run(&r, rig_source(&r, 1, LLMD_SOURCE_NO_REPLAY), 100, 0, 5);
  rig_reopen(&r, NULL);
  live_run(&r, rig_source(&r, 1, LLMD_SOURCE_NO_REPLAY), 100, 5, 7);
  holds(&r, 7);
  record_of_slot(&r, 1)->applying = 1;
  rig_reopen(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, LLMD_SOURCE_NO_REPLAY);
  holds(&r, 0);
  rig_live(&r, s, 9, message(100, 9)); /* wherever it goes on */
  asks_nothing(&r);
  assert_int_equal(rig_stats(&r, s).last_seq, 9);
  assert_int_equal(rig_stats(&r, s).gaps, 0);
  rig_close(&r);
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static void test_same_source_again(void **state)
{
  rig r;
  llmd_source c;
  llmd_source_id again;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 5);
  assert_int_equal(rig_source(&r, 1, 0), s);
  assert_int_equal(rig_stats(&r, s).last_seq, 4);
  holds(&r, 5);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(1);
  c.model = (llmd_str){"another", 7};
  assert_int_equal(llmd_events_source(r.events, &c, &again), 0);
  assert_int_equal(again, s);
  holds(&r, 0);
  assert_int_equal(rig_stats(&r, s).last_seq, UINT64_MAX);
  rig_close(&r);
}

static void test_source_gone(void **state)
{
  rig r;
  llmd_source_stats stats = {.size = sizeof stats};
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 5);
  assert_int_equal(llmd_events_source_gone(r.events, s), 0);
  holds(&r, 0);
  assert_int_equal(row_flags(&r), 0);
  assert_int_equal(llmd_events_source_gone(r.events, s), LLMD_E_INVALID);
  assert_int_equal(llmd_events_stats(r.events, s, &stats), LLMD_E_INVALID);
  assert_int_equal(rig_stats(&r, rig_source(&r, 1, 0)).last_seq, UINT64_MAX);
  rig_close(&r);
}

/* A slot's next endpoint has a source before the last one's is taken away. */
static void test_next_generation(void **state)
{
  rig r;
  llmd_source c;
  llmd_source_id s;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id old = rig_source(&r, 1, 0);
  live_run(&r, old, 100, 0, 5);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(1) + (UINT64_C(1) << 32);
  assert_int_equal(llmd_events_source(r.events, &c, &s), 0);
  assert_int_not_equal(s, old);
  live_run(&r, s, 500, 0, 3);
  holds(&r, 3);
  assert_int_equal(rig_live(&r, old, 5, removal(105, 0)), LLMD_E_STALE);
  assert_int_equal(rig_stats(&r, old).last_seq, 5);
  assert_int_equal(rig_stats(&r, s).last_seq, 2);
  assert_int_equal(llmd_events_source_gone(r.events, old), 0);
  holds(&r, 3);
  live_run(&r, s, 500, 3, 4);
  rig_reopen(&r, NULL);
  assert_int_equal(llmd_events_source(r.events, &c, &s), 0);
  assert_int_equal(rig_stats(&r, s).last_seq, 3);
  rig_close(&r);
}

static void test_reconnected(void **state)
{
  rig r;
  llmd_source_id which;
  (void)state;
  open_rig(&r, NULL);
  const llmd_source_id s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 5);
  assert_int_equal(llmd_events_replay_failed(r.events, s, &r.now), 0);
  holds(&r, 5);
  assert_int_equal(llmd_events_tick(r.events, &r.now, &which, &r.ask), 1);
  asks(&r, 4);
  replay_run(&r, s, 100, 4, 6, 0);
  rig_end(&r, s, 0);
  holds(&r, 6);
  rig_close(&r);
}

static void test_limits(void **state)
{
  const llmd_events_options o = {.size = sizeof o, .max_sources = 2};
  rig r;
  llmd_source c;
  llmd_source_id s;
  (void)state;
  open_rig(&r, &o);
  rig_source(&r, 1, 0);
  rig_source(&r, 2, 0);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  assert_int_equal(llmd_events_source(r.events, &c, &s), LLMD_E_INVALID);
  c.endpoint = rig_endpoint(3);
  assert_int_equal(llmd_events_source(r.events, &c, &s), LLMD_E_FULL);
  c.engine = 2;
  assert_int_equal(llmd_events_source(r.events, &c, &s), LLMD_E_INVALID);
  rig_close(&r);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static int open_and_add(const llmd_allocator *a, void *ctx)
{
  llmd_events_options o = {.size = sizeof o, .alloc = a, .index = ctx, .max_sources = 4, .parked_bytes = 4096};
  llmd_source c;
  llmd_source_id s;
  llmd_events *e = NULL;
  int rc = llmd_events_open(&o, &e, NULL);
  if (rc)
    return rc;
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(3);
  c.flags = LLMD_SOURCE_COUNTED;
  rc = llmd_events_source(e, &c, &s);
  llmd_events_close(e);
  return rc;
}

static void test_every_allocation_refused(void **state)
{
  rig r;
  (void)state;
  open_rig(&r, NULL);
  assert_true(fail_each_allocation(open_and_add, r.index) >= 8);
  llmd_events_close(NULL);
  rig_close(&r);
}

/* A change that finds no memory leaves the source, and what is known of it, as they were. */
static void test_change_refused(void **state)
{
  failing_alloc f;
  rig r;
  llmd_source_id s;
  (void)state;
  failing_alloc_init(&f, 0);
  open_rig(&r, &(llmd_events_options){.size = sizeof(llmd_events_options), .alloc = &f.a});
  s = rig_source(&r, 1, 0);
  live_run(&r, s, 100, 0, 5);
  const llmd_source c = {.size = sizeof c, .endpoint = rig_endpoint(1), .model = {"another", 7}};
  f.fail_at = f.calls + 1;
  assert_int_equal(llmd_events_source(r.events, &c, &s), LLMD_E_NOMEM);
  holds(&r, 5);
  live_run(&r, s, 100, 5, 7);
  holds(&r, 7);
  rig_close(&r);
  assert_int_equal(f.blocks, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_in_order),
      cmocka_unit_test(test_gap),
      cmocka_unit_test(test_join_in_the_middle),
      cmocka_unit_test(test_quiet_engine),
      cmocka_unit_test(test_replay_begins_too_late),
      cmocka_unit_test(test_replay_with_a_hole),
      cmocka_unit_test(test_replay_fails),
      cmocka_unit_test(test_replay_takes_too_long),
      cmocka_unit_test(test_replay_brings_nothing),
      cmocka_unit_test(test_without_replay),
      cmocka_unit_test(test_restart),
      cmocka_unit_test(test_restart_joined_late),
      cmocka_unit_test(test_restart_behind_a_gap),
      cmocka_unit_test(test_restart_during_a_replay),
      cmocka_unit_test(test_restart_without_times),
      cmocka_unit_test(test_restart_with_a_clock_behind),
      cmocka_unit_test(test_replay_overtakes_live),
      cmocka_unit_test(test_more_waits_than_fits),
      cmocka_unit_test(test_restart_drops_parked),
      cmocka_unit_test(test_waiting_out_of_order),
      cmocka_unit_test(test_wrong_messages),
      cmocka_unit_test(test_wrong_topic),
      cmocka_unit_test(test_ranks),
      cmocka_unit_test(test_successor_goes_on),
      cmocka_unit_test(test_successor_finds_another_process),
      cmocka_unit_test(test_writer_killed_in_a_batch),
      cmocka_unit_test(test_counted_source_is_refilled),
      cmocka_unit_test(test_successor_without_replay),
      cmocka_unit_test(test_same_source_again),
      cmocka_unit_test(test_source_gone),
      cmocka_unit_test(test_next_generation),
      cmocka_unit_test(test_reconnected),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_every_allocation_refused),
      cmocka_unit_test(test_change_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
