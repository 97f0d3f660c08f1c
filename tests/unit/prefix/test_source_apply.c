/* What events do to the index: keys, tiers, groups of layers, copies, events whose parent comes later. Message numbers
 * do not matter here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "speaker.h"

#define BLOCKS 40u

static uint32_t tokens[BLOCKS * RIG_BLOCK];
static uint64_t names[BLOCKS];
static llmd_key keys[BLOCKS];
static batch_text text;

typedef struct talk {
  rig r;
  llmd_source_id s;
  uint64_t seq;
} talk;

static void open_talk(talk *t, uint32_t flags, const llmd_events_options *o)
{
  rig_open(&t->r, 8, o);
  for (uint32_t i = 0; i < BLOCKS * RIG_BLOCK; i++)
    tokens[i] = i * 7 + 3;
  for (uint32_t i = 0; i < BLOCKS; i++)
    names[i] = 1000 + i;
  rig_keys(&t->r, NULL, tokens, BLOCKS * RIG_BLOCK, NULL, 0, keys);
  t->s = rig_source(&t->r, 1, flags);
  t->seq = 0;
}

static void begin(talk *t)
{
  batch_begin(&text, 100 + (double)t->seq, -1);
}

static int send(talk *t)
{
  return rig_live(&t->r, t->s, t->seq++, batch_end(&text));
}

/* Blocks from..to of the prompt, after the block before. */
static stored_text part(uint32_t from, uint32_t to)
{
  return (stored_text){.name = &names[from], .n = to - from, .parent = from ? &names[from - 1] : NULL,
                       .token = &tokens[from * RIG_BLOCK], .n_tokens = (to - from) * RIG_BLOCK,
                       .block_size = RIG_BLOCK, .group = -1};
}

static int store(talk *t, uint32_t from, uint32_t to)
{
  const stored_text s = part(from, to);
  begin(t);
  batch_stored(&text, &s);
  return send(t);
}

static int by_name(talk *t, uint32_t from, uint32_t to, const char *medium)
{
  const stored_text s = {.name = &names[from], .n = to - from, .medium = medium, .group = -1};
  begin(t);
  batch_stored(&text, &s);
  return send(t);
}

static int drop(talk *t, uint32_t from, uint32_t to, const char *medium)
{
  begin(t);
  batch_removed(&text, &names[from], to - from, medium, -1);
  return send(t);
}

static void holds(talk *t, uint32_t blocks)
{
  assert_int_equal(rig_blocks(&t->r, 1, keys, BLOCKS, NULL), blocks);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void test_parts_of_a_prompt(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  assert_int_equal(store(&t, 0, 3), 1);
  holds(&t, 3);
  assert_int_equal(store(&t, 3, 10), 1);
  holds(&t, 10);
  assert_int_equal(drop(&t, 4, 6, "GPU"), 1);
  holds(&t, 4);
  assert_int_equal(store(&t, 4, 6), 1);
  holds(&t, 10);
  rig_close(&t.r);
}

static void test_order_within_a_batch(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  const stored_text s = part(0, 4);
  begin(&t);
  batch_stored(&text, &s);
  batch_removed(&text, &names[2], 2, "GPU", -1);
  const stored_text again = part(2, 3);
  batch_stored(&text, &again);
  assert_int_equal(send(&t), 3);
  holds(&t, 3);
  begin(&t);
  batch_cleared(&text);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 2);
  holds(&t, 4);
  begin(&t);
  batch_stored(&text, &s);
  batch_cleared(&text);
  assert_int_equal(send(&t), 2);
  holds(&t, 0);
  rig_close(&t.r);
}

/* An adapter's blocks are its own; what the engine publishes as its name is not an extra. */
static void test_adapter_and_extras(void **state)
{
  static const char *const extra[2] = {"image-1", NULL};
  const llmd_extra want[1] = {{0, 0, {"image-1", 7}}};
  llmd_key own[2];
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(0, 2);
  s.lora = "poet";
  s.lora_id = 7;
  s.extra = extra;
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 1);
  holds(&t, 0);
  assert_int_equal(rig_keys(&t.r, "poet", tokens, 8, NULL, 0, own), 2);
  assert_int_equal(rig_blocks(&t.r, 1, own, 2, NULL), 0);
  rig_keys(&t.r, "poet", tokens, 8, want, 1, own);
  assert_int_equal(rig_blocks(&t.r, 1, own, 2, NULL), 2);
  rig_keys(&t.r, NULL, tokens, 8, want, 1, own);
  assert_int_equal(rig_blocks(&t.r, 1, own, 2, NULL), 0);
  assert_int_equal(llmd_index_is_adapter(t.r.index, "poet", 4), 1);
  rig_close(&t.r);
}

/* A salt that reads like the adapter's name is still a salt. */
static void test_salt_like_the_adapter(void **state)
{
  static const char *const extra[2] = {"poet", NULL};
  const llmd_extra want[1] = {{0, 0, {"poet", 4}}};
  llmd_key own[2];
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(0, 2);
  s.lora = "poet";
  s.extra = extra;
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 1);
  rig_keys(&t.r, "poet", tokens, 8, NULL, 0, own);
  assert_int_equal(rig_blocks(&t.r, 1, own, 2, NULL), 0);
  rig_keys(&t.r, "poet", tokens, 8, want, 1, own);
  assert_int_equal(rig_blocks(&t.r, 1, own, 2, NULL), 2);
  rig_close(&t.r);
}

/* Older engines give the adapter's number alone: nobody's blocks then, above all not the base model's. */
static void test_adapter_without_name(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(0, 2);
  s.lora_id = 7;
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 1);
  assert_int_equal(rig_stats(&t.r, t.s).blocks, 2);
  holds(&t, 0);
  rig_close(&t.r);
}

static void test_block_size_learned(void **state)
{
  llmd_index_row row = {.size = sizeof row};
  llmd_source c;
  llmd_source_id s;
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(1);
  c.block_tokens = 16;
  assert_int_equal(llmd_events_source(t.r.events, &c, &s), 0);
  store(&t, 0, 2);
  store(&t, 2, 4);
  holds(&t, 4); /* the engine knows best */
  assert_int_equal(rig_stats(&t.r, t.s).mismatches, 2);
  assert_int_equal(t.r.lines, 1);
  assert_string_equal(t.r.log, "endpoint 100000001: its engine's blocks are of 4 tokens, configured are 16");
  assert_int_equal(llmd_index_row_of(t.r.index, rig_endpoint(1), &row), 0);
  assert_int_equal(row.block_tokens, 4);
  rig_close(&t.r);
}

/* The name that sha256_cbor gives to these tokens with PYTHONHASHSEED=0. */
static void test_scheme_learned(void **state)
{
  llmd_index_row row = {.size = sizeof row};
  llmd_hash_input in;
  llmd_digest d;
  llmd_source c;
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.endpoint = rig_endpoint(1);
  c.scheme = LLMD_HASH_VLLM_SHA256;
  assert_int_equal(llmd_events_source(t.r.events, &c, &t.s), 0);
  memset(&in, 0, sizeof in);
  in.size = sizeof in;
  in.scheme = LLMD_HASH_VLLM_SHA256_CBOR;
  in.block_tokens = RIG_BLOCK;
  in.tokens = tokens;
  in.n_tokens = RIG_BLOCK;
  in.seed = (llmd_str){"0", 1};
  in.has_seed = 1;
  assert_int_equal(llmd_hash_blocks(&in, &d, 1), 1);
  names[0] = d.name;
  store(&t, 0, 1);
  store(&t, 0, 1);
  assert_int_equal(llmd_index_row_of(t.r.index, rig_endpoint(1), &row), 0);
  assert_int_equal(row.scheme, LLMD_HASH_VLLM_SHA256_CBOR);
  assert_int_equal(rig_stats(&t.r, t.s).mismatches, 1);
  assert_string_equal(t.r.log, "endpoint 100000001: its engine names blocks by vllm-sha256-cbor, configured is "
                               "vllm-sha256");
  rig_close(&t.r);
}

static void test_bad_events_cost_themselves(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  const stored_text good = part(0, 2), more = part(2, 4);
  stored_text odd = part(4, 6), few = part(6, 8);
  odd.n_tokens--;
  few.n = 1;
  begin(&t);
  batch_bad(&text);
  batch_stored(&text, &good);
  batch_unknown(&text);
  batch_stored(&text, &odd);
  batch_stored(&text, &few);
  batch_stored(&text, &more);
  assert_int_equal(send(&t), 2);
  holds(&t, 4);
  assert_int_equal(rig_stats(&t.r, t.s).bad, 3);
  assert_int_equal(rig_stats(&t.r, t.s).unknown, 1);
  rig_close(&t.r);
}

/* The same name for other tokens: the newest wins. */
static void test_name_in_conflict(void **state)
{
  llmd_key other[2];
  uint32_t others[8];
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  for (uint32_t i = 0; i < 8; i++)
    others[i] = 5000 + i;
  rig_keys(&t.r, NULL, others, 8, NULL, 0, other);
  store(&t, 0, 2);
  stored_text s = part(0, 2);
  s.token = others;
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 1);
  assert_int_equal(rig_blocks(&t.r, 1, other, 2, NULL), 2);
  drop(&t, 0, 2, "GPU");
  assert_int_equal(rig_blocks(&t.r, 1, other, 2, NULL), 0);
  rig_close(&t.r);
}

/* ---- tiers ------------------------------------------------------------------------------------------------------- */

static void test_tiers(void **state)
{
  uint32_t lower;
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 0, 6);
  by_name(&t, 2, 5, "CPU");
  drop(&t, 0, 6, "GPU");
  holds(&t, 0);
  store(&t, 0, 2);
  assert_int_equal(rig_blocks(&t.r, 1, keys, 6, &lower), 5);
  assert_int_equal(lower, 3);
  drop(&t, 2, 5, "CPU");
  holds(&t, 2);
  rig_close(&t.r);
}

static void test_shared_store(void **state)
{
  llmd_source c;
  llmd_hit hit[4];
  uint32_t shared = 0;
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.flags = LLMD_SOURCE_SHARED;
  assert_int_equal(llmd_events_source(t.r.events, &c, &t.s), 0);
  assert_int_equal(store(&t, 0, 3), 1);
  assert_int_equal(rig_stats(&t.r, t.s).blocks, 3);
  llmd_index_query(t.r.index, t.r.scratch, keys, 6, hit, 4, &shared);
  assert_int_equal(shared, 3);
  drop(&t, 1, 3, "GPU");
  llmd_index_query(t.r.index, t.r.scratch, keys, 6, hit, 4, &shared);
  assert_int_equal(shared, 1);
  rig_close(&t.r);
}

/* ---- groups of layers -------------------------------------------------------------------------------------------- */

static void test_groups(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(0, 4);
  s.group = 0;
  s.kind = "full_attention";
  begin(&t);
  batch_stored(&text, &s);
  s.group = 1;
  s.kind = "sliding_window"; /* hashes for its tail alone */
  s.name = &names[2];
  s.n = 2;
  batch_stored(&text, &s);
  batch_removed(&text, &names[2], 2, "GPU", 1);
  batch_removed(&text, &names[3], 1, "GPU", 2);
  assert_int_equal(send(&t), 1);
  holds(&t, 4);
  assert_int_equal(rig_stats(&t.r, t.s).other_groups, 3);
  assert_int_equal(rig_stats(&t.r, t.s).bad, 0);
  begin(&t);
  batch_removed(&text, &names[3], 1, "GPU", 0);
  assert_int_equal(send(&t), 1);
  holds(&t, 3);
  rig_reopen(&t.r, NULL); /* what the groups are is known to a successor */
  t.s = rig_source(&t.r, 1, LLMD_SOURCE_NO_REPLAY);
  begin(&t);
  batch_removed(&text, &names[2], 1, "GPU", 0);
  batch_removed(&text, &names[1], 1, "GPU", 1);
  assert_int_equal(send(&t), 1);
  holds(&t, 2);
  rig_close(&t.r);
}

/* Blocks from..to have a part in group 0, of which the last from `kept` on are in the window of group 1, too. */
static void store_groups(talk *t, uint32_t from, uint32_t to, uint32_t kept, uint32_t window)
{
  stored_text s = part(from, to);
  begin(t);
  s.group = 1; /* comes first, as it may */
  s.kind = "sliding_window";
  s.window = window;
  s.name = &names[kept];
  s.n = to - kept;
  batch_stored(&text, &s);
  s = part(from, to);
  s.group = 0;
  s.kind = "full_attention";
  batch_stored(&text, &s);
  assert_int_equal(send(t), 2);
}

static void drop_group(talk *t, uint32_t from, uint32_t to, const char *medium, int group)
{
  begin(t);
  batch_removed(&text, &names[from], to - from, medium, group);
  send(t);
}

static void windows(const talk *t, uint32_t first, uint32_t second)
{
  llmd_index_row row = {.size = sizeof row};
  assert_int_equal(llmd_index_row_of(t->r.index, rig_endpoint(1), &row), 0);
  assert_int_equal(row.window_blocks[0], first);
  assert_int_equal(row.window_blocks[1], second);
}

static void test_sliding_window(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store_groups(&t, 0, 12, 8, 3 * RIG_BLOCK + 1);
  windows(&t, 3, 0);
  holds(&t, 12);
  store_groups(&t, 12, 40, 33, 3 * RIG_BLOCK + 1); /* across the ends of runs, after blocks that have gone */
  holds(&t, 40);
  drop_group(&t, 38, 39, "GPU", 1);
  holds(&t, 38);
  drop_group(&t, 35, 36, "CPU", 1); /* from elsewhere: it is here still */
  holds(&t, 38);
  drop_group(&t, 35, 36, "GPU", 0); /* the dense part decides, and before it there is too little of the window */
  holds(&t, 12);
  drop_group(&t, 8, 12, "GPU", 1);
  holds(&t, 0);
  assert_int_equal(rig_stats(&t.r, t.s).other_groups, 1);
  assert_int_equal(rig_stats(&t.r, t.s).bad, 0);
  rig_reopen(&t.r, NULL); /* a successor knows */
  t.s = rig_source(&t.r, 1, 0);
  windows(&t, 3, 0);
  rig_close(&t.r);
}

/* By name, without tokens. */
static void test_sliding_window_by_name(void **state)
{
  stored_text s = {.name = &names[6], .n = 2, .group = 1};
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store_groups(&t, 0, 12, 10, 2 * RIG_BLOCK + 1);
  windows(&t, 2, 0);
  assert_int_equal(rig_blocks(&t.r, 1, keys, 9, NULL), 0);
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 1);
  assert_int_equal(rig_blocks(&t.r, 1, keys, 9, NULL), 8);
  rig_close(&t.r);
}

static void test_sliding_window_parked(void **state)
{
  stored_text s = part(4, 12);
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  begin(&t);
  batch_stored(&text, &s); /* no group: counts; its parent is not known yet */
  s.group = 1;
  s.kind = "sliding_window";
  s.window = 3 * RIG_BLOCK;
  s.name = &names[8];
  s.n = 4;
  batch_stored(&text, &s);
  batch_removed(&text, &names[11], 1, "GPU", 1);
  send(&t);
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 2);
  assert_int_equal(store(&t, 0, 4), 3);
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 0);
  windows(&t, 3, 0);
  holds(&t, 11);
  rig_close(&t.r);
}

/* Two groups have a tier each, others of the same window share; of one with another window we only know that there are
 * events; one with other blocks is not taken for a part of these; one that turns out to have full attention decides. */
static void test_sliding_windows_of_many_groups(void **state)
{
  stored_text s = part(0, 8);
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  assert_int_equal(store(&t, 0, 8), 1);
  begin(&t);
  s.kind = "sliding_window";
  for (int g = 1; g <= 3; g++) {
    s.group = g;
    s.window = (uint32_t)g * RIG_BLOCK;
    s.name = &names[8 - g];
    s.n = (uint32_t)g;
    batch_stored(&text, &s);
  }
  assert_int_equal(send(&t), 2);
  windows(&t, 1, 2);
  assert_int_equal(rig_stats(&t.r, t.s).other_groups, 1);
  holds(&t, 8);
  begin(&t);
  s.group = 4;
  s.window = 2 * RIG_BLOCK;
  batch_stored(&text, &s);
  batch_removed(&text, &names[6], 1, "GPU", 4);
  assert_int_equal(send(&t), 2);
  windows(&t, 1, 2);
  holds(&t, 0); /* that part of block 6 is gone in one of the two */
  begin(&t);
  s = part(0, 8);
  s.kind = "sliding_window";
  s.group = 1;
  s.window = RIG_BLOCK;
  s.block_size = 2 * RIG_BLOCK;
  s.n = 4;
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 0);
  windows(&t, 0, 2);
  s = part(0, 8);
  s.kind = "full_attention";
  begin(&t);
  for (int g = 2; g <= 4; g += 2) {
    s.group = g;
    batch_stored(&text, &s);
  }
  assert_int_equal(send(&t), 2);
  windows(&t, 0, 0);
  holds(&t, 8);
  rig_close(&t.r);
}

/* All that is known of layers goes with the process that told of it. */
static void test_sliding_window_of_another_process(void **state)
{
  llmd_source_id s;
  talk t;
  (void)state;
  open_talk(&t, LLMD_SOURCE_NO_REPLAY, NULL);
  store_groups(&t, 0, 4, 0, 2 * RIG_BLOCK);
  windows(&t, 2, 0);
  assert_int_equal(llmd_events_source_gone(t.r.events, t.s), 0);
  windows(&t, 0, 0);
  s = rig_source(&t.r, 1, LLMD_SOURCE_NO_REPLAY);
  t.s = s;
  t.seq = 0;
  assert_int_equal(store(&t, 0, 4), 1);
  holds(&t, 4);
  begin(&t);
  batch_cleared(&text); /* the same process: its layers are what they were */
  send(&t);
  store_groups(&t, 0, 4, 2, 2 * RIG_BLOCK);
  begin(&t);
  batch_cleared(&text);
  send(&t);
  windows(&t, 2, 0);
  assert_int_equal(store(&t, 0, 4), 1);
  holds(&t, 0);
  rig_close(&t.r);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static void test_copies(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, LLMD_SOURCE_COUNTED, NULL);
  store(&t, 0, 4);
  store(&t, 0, 4);
  drop(&t, 0, 4, "GPU");
  holds(&t, 4);
  by_name(&t, 0, 4, "CPU");
  drop(&t, 2, 4, "GPU");
  holds(&t, 4);
  drop(&t, 2, 4, "CPU");
  holds(&t, 2);
  begin(&t);
  batch_cleared(&text);
  send(&t);
  store(&t, 0, 4);
  drop(&t, 3, 4, "GPU"); /* one copy again */
  holds(&t, 3);
  rig_close(&t.r);
}

static void test_sets_without_counts(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 0, 4);
  store(&t, 0, 4);
  drop(&t, 2, 4, "GPU");
  holds(&t, 2);
  rig_close(&t.r);
}

/* A table far too small: blocks may go early, and never stay. */
static void test_copies_beyond_the_table(void **state)
{
  const llmd_events_options o = {.size = sizeof o, .copies_bytes = 1};
  talk t;
  (void)state;
  open_talk(&t, LLMD_SOURCE_COUNTED, &o);
  for (uint32_t k = 0; k < 4; k++) {
    for (uint32_t i = 0; i < BLOCKS; i++)
      names[i] = 1000 * (k + 1) + i;
    store(&t, 0, BLOCKS);
    store(&t, 0, BLOCKS);
    drop(&t, 0, BLOCKS, "GPU");
    drop(&t, 0, BLOCKS, "GPU");
    holds(&t, 0);
  }
  rig_close(&t.r);
}

/* ---- the parent comes later -------------------------------------------------------------------------------------- */

static void test_parked(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  assert_int_equal(store(&t, 6, 8), 0);
  assert_int_equal(store(&t, 3, 6), 0);
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 2);
  holds(&t, 0);
  assert_int_equal(store(&t, 0, 3), 3);
  holds(&t, 8);
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 0);
  assert_int_equal(rig_stats(&t.r, t.s).parked, 2);
  assert_int_equal(rig_stats(&t.r, t.s).parked_lost, 0);
  assert_int_equal(rig_stats(&t.r, t.s).blocks, 8);
  rig_close(&t.r);
}

static void test_parked_extras_kept(void **state)
{
  static const char *const extra[3] = {NULL, "image", "image"};
  const llmd_extra want[2] = {{3, 0, {"image", 5}}, {4, 0, {"image", 5}}};
  llmd_key own[5];
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(2, 5);
  s.extra = extra;
  begin(&t);
  batch_stored(&text, &s);
  send(&t);
  store(&t, 0, 2);
  rig_keys(&t.r, NULL, tokens, 5 * RIG_BLOCK, want, 2, own);
  assert_int_equal(rig_blocks(&t.r, 1, own, 5, NULL), 5);
  rig_close(&t.r);
}

/* What happens to its blocks while an event waits. */
static void test_parked_and_removed(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 2, 6);
  drop(&t, 4, 5, "GPU");
  store(&t, 0, 2);
  holds(&t, 4);
  store(&t, 4, 5);
  holds(&t, 6);
  rig_close(&t.r);
}

static void test_parked_child_of_a_removed_block(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 2, 4);
  store(&t, 4, 6);
  drop(&t, 3, 4, "GPU");
  store(&t, 0, 2);
  holds(&t, 3);
  store(&t, 3, 4);
  holds(&t, 6);
  rig_close(&t.r);
}

static void test_parked_removed_and_stored_again(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 2, 4);
  drop(&t, 3, 4, "GPU");
  store(&t, 3, 4);
  store(&t, 0, 2);
  holds(&t, 4);
  drop(&t, 0, 4, "GPU");
  holds(&t, 0);
  rig_close(&t.r);
}

/* Stored through a parent that is known, while an older event that lost it still waits for another. */
static void test_parked_older_event_loses(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  stored_text s = part(2, 4);
  s.parent = &names[20];
  begin(&t);
  batch_stored(&text, &s);
  send(&t); /* waits for 20 */
  drop(&t, 3, 4, "GPU");
  store(&t, 0, 4);
  holds(&t, 4);
  s = part(0, 2); /* block 20 is another name of block 1 */
  const uint64_t alias[2] = {names[0], names[20]};
  s.name = alias;
  begin(&t);
  batch_stored(&text, &s);
  assert_int_equal(send(&t), 2);
  holds(&t, 4);
  rig_close(&t.r);
}

static void test_parked_in_another_tier(void **state)
{
  uint32_t lower;
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 2, 6);
  by_name(&t, 3, 6, "CPU");
  drop(&t, 4, 6, "GPU");
  store(&t, 0, 2);
  assert_int_equal(rig_blocks(&t.r, 1, keys, 8, &lower), 6);
  assert_int_equal(lower, 2);
  rig_close(&t.r);
}

static void test_parked_goes_with_clear(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  store(&t, 2, 6);
  begin(&t);
  batch_cleared(&text);
  send(&t);
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 0);
  store(&t, 0, 2);
  holds(&t, 2);
  rig_close(&t.r);
}

static void test_parked_cap(void **state)
{
  const llmd_events_options o = {.size = sizeof o, .parked_bytes = 2048};
  talk t;
  (void)state;
  open_talk(&t, 0, &o);
  for (uint32_t i = BLOCKS; i-- > 1;)
    store(&t, i, i + 1); /* block 1 is the newest */
  const llmd_source_stats stats = rig_stats(&t.r, t.s);
  assert_true(stats.parked_lost > 10 && stats.parked_now > 5);
  assert_int_equal(stats.parked_lost + stats.parked_now, BLOCKS - 1);
  store(&t, 0, 1);
  holds(&t, 1 + (uint32_t)stats.parked_now);
  /* one that never fits */
  stored_text s = part(0, BLOCKS);
  static uint32_t many[512 * RIG_BLOCK];
  static uint64_t many_names[512];
  const uint64_t nobody = 77777;
  s.name = many_names;
  s.n = 512;
  s.token = many;
  s.n_tokens = 512 * RIG_BLOCK;
  s.parent = &nobody;
  begin(&t);
  batch_stored(&text, &s);
  send(&t);
  assert_int_equal(rig_stats(&t.r, t.s).parked_lost, stats.parked_lost + 1);
  rig_close(&t.r);
}

/* Sources do not see each other's. */
static void test_parked_by_source(void **state)
{
  talk t;
  (void)state;
  open_talk(&t, 0, NULL);
  const llmd_source_id other = rig_source(&t.r, 2, 0);
  store(&t, 2, 4);
  const stored_text s = part(0, 2);
  batch_begin(&text, 100, -1);
  batch_stored(&text, &s);
  rig_live(&t.r, other, 0, batch_end(&text));
  assert_int_equal(rig_stats(&t.r, t.s).parked_now, 1);
  assert_int_equal(rig_blocks(&t.r, 2, keys, 8, NULL), 2);
  store(&t, 0, 2);
  holds(&t, 4);
  rig_close(&t.r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parts_of_a_prompt),
      cmocka_unit_test(test_order_within_a_batch),
      cmocka_unit_test(test_adapter_and_extras),
      cmocka_unit_test(test_salt_like_the_adapter),
      cmocka_unit_test(test_adapter_without_name),
      cmocka_unit_test(test_block_size_learned),
      cmocka_unit_test(test_scheme_learned),
      cmocka_unit_test(test_bad_events_cost_themselves),
      cmocka_unit_test(test_name_in_conflict),
      cmocka_unit_test(test_tiers),
      cmocka_unit_test(test_shared_store),
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_sliding_window),
      cmocka_unit_test(test_sliding_window_by_name),
      cmocka_unit_test(test_sliding_window_parked),
      cmocka_unit_test(test_sliding_windows_of_many_groups),
      cmocka_unit_test(test_sliding_window_of_another_process),
      cmocka_unit_test(test_copies),
      cmocka_unit_test(test_sets_without_counts),
      cmocka_unit_test(test_copies_beyond_the_table),
      cmocka_unit_test(test_parked),
      cmocka_unit_test(test_parked_extras_kept),
      cmocka_unit_test(test_parked_and_removed),
      cmocka_unit_test(test_parked_child_of_a_removed_block),
      cmocka_unit_test(test_parked_removed_and_stored_again),
      cmocka_unit_test(test_parked_older_event_loses),
      cmocka_unit_test(test_parked_in_another_tier),
      cmocka_unit_test(test_parked_goes_with_clear),
      cmocka_unit_test(test_parked_cap),
      cmocka_unit_test(test_parked_by_source),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
