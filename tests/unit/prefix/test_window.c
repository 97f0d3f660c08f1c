/* Sliding windows in the exact index, against an obvious model: for each endpoint and block a set of tiers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "prefix/exact.h"

#define ENDPOINTS 12u /* enough for cohorts */
#define SHARED ENDPOINTS /* its place in the model */
#define CHAINS 4u
#define DEPTH 100u
#define BYTES (4u << 20)
#define SPECULATIVE (1u << LLMD_TIER_SPECULATIVE)

typedef struct world {
  void *mem, *scratch;
  llmd_index *x;
  llmd_endpoint_id id[ENDPOINTS + 1];
  uint32_t window[ENDPOINTS + 1][2];
  uint8_t tiers[ENDPOINTS + 1][CHAINS * DEPTH]; /* bits */
  uint64_t random;
  uint64_t mono;
} world;

typedef struct answer {
  uint32_t blocks, lower[3];
} answer;

static uint32_t draw(world *w, uint32_t n)
{
  w->random ^= w->random << 13;
  w->random ^= w->random >> 7;
  w->random ^= w->random << 17;
  return (uint32_t)((w->random >> 16) % n);
}

/* ---- prompts ----------------------------------------------------------------------------------------------------- */

/* Where each chain turns off the first: blocks before are the first's. */
static const uint32_t turn[CHAINS] = {0, 0, 20, 64};

static uint32_t block_of(uint32_t chain, uint32_t i)
{
  return (i < turn[chain] ? 0 : chain) * DEPTH + i;
}

static llmd_key key_of(uint32_t block)
{
  const uint64_t h = (block + 1u) * UINT64_C(0x9e3779b97f4a7c15);
  return (llmd_key){h ^ h >> 29, h * UINT64_C(0xbf58476d1ce4e5b9)};
}

static void keys_of(uint32_t chain, uint32_t from, uint32_t n, llmd_key *key, uint64_t *name)
{
  for (uint32_t i = 0; i < n; i++) {
    key[i] = key_of(block_of(chain, from + i));
    name[i] = 5000u + block_of(chain, from + i);
  }
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static int is_held(const world *w, uint32_t e, uint32_t block, uint32_t tiers)
{
  return (w->tiers[e][block] & tiers) != 0;
}

static int counts(const world *w, uint32_t e, uint32_t block)
{
  return is_held(w, e, block, 31u) || w->tiers[SHARED][block] != 0;
}

static int content(const world *w, uint32_t e, uint32_t chain, uint32_t g, uint32_t p)
{
  const uint32_t k = w->window[e][g] < p ? w->window[e][g] : p;
  for (uint32_t i = p - k; i < p; i++) {
    const uint32_t block = block_of(chain, i);
    if (!is_held(w, e, block, SPECULATIVE | 1u << (LLMD_TIER_WINDOW + g)) && w->tiers[SHARED][block] == 0)
      return 0;
  }
  return 1;
}

static answer model_answer(const world *w, uint32_t e, uint32_t chain, uint32_t n)
{
  answer a = {0, {0, 0, 0}};
  uint32_t p = 0;
  while (p < n && counts(w, e, block_of(chain, p)))
    p++;
  while (!content(w, e, chain, 0, p) || !content(w, e, chain, 1, p))
    p--;
  a.blocks = p;
  for (uint32_t i = 0; i < p; i++) {
    const uint32_t have = w->tiers[e][block_of(chain, i)];
    if (have & (SPECULATIVE | 1u))
      continue;
    a.lower[have & 2u ? 0 : have & 4u ? 1 : 2]++;
  }
  return a;
}

static uint32_t model_shared(const world *w, uint32_t chain, uint32_t n)
{
  uint32_t p = 0;
  while (p < n && w->tiers[SHARED][block_of(chain, p)] != 0)
    p++;
  return p;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void ask(world *w, uint32_t chain, uint32_t n)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  llmd_hit hit[ENDPOINTS + 2];
  uint32_t shared, told[ENDPOINTS] = {0};
  int hits;
  keys_of(chain, 0, n, key, name);
  hits = llmd_index_query(w->x, w->scratch, key, n, hit, ENDPOINTS + 2u, &shared);
  assert_int_equal(shared, model_shared(w, chain, n));
  for (int i = 0; i < hits; i++) {
    const uint32_t e = (uint32_t)hit[i].endpoint - 1u;
    const answer a = model_answer(w, e, chain, n);
    assert_int_equal(hit[i].endpoint, w->id[e]);
    assert_int_equal(told[e]++, 0);
    if (hit[i].blocks != a.blocks || memcmp(hit[i].lower, a.lower, sizeof a.lower) != 0)
      fail_msg("endpoint %u, chain %u of %u: %u blocks, lower %u %u %u; the model has %u, lower %u %u %u", e, chain, n,
               hit[i].blocks, hit[i].lower[0], hit[i].lower[1], hit[i].lower[2], a.blocks, a.lower[0], a.lower[1],
               a.lower[2]);
  }
  for (uint32_t e = 0; e < ENDPOINTS; e++) {
    const answer a = model_answer(w, e, chain, n);
    if (!told[e] && (a.blocks != shared || a.lower[2] != shared))
      fail_msg("endpoint %u, chain %u of %u: not told, the model has %u", e, chain, n, a.blocks);
  }
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static void store(world *w, uint32_t e, uint32_t chain, uint32_t from, uint32_t n, uint32_t tier)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  llmd_block parent;
  int known = 0;
  keys_of(chain, 0, from + n, key, name);
  if (from != 0 && draw(w, 2))
    known = llmd_index_find(w->x, w->id[e], name[from - 1], &parent) == 0;
  if (known)
    assert_int_equal(llmd_index_store(w->x, w->id[e], tier, &parent, key + from, name + from, n, NULL), (int)n);
  else
    assert_int_equal(llmd__index_store_tail(w->x, w->id[e], tier, NULL, key, from, name + from, n, NULL), (int)n);
  for (uint32_t i = from; i < from + n; i++)
    w->tiers[e][block_of(chain, i)] |= (uint8_t)(1u << tier);
}

static void hold(world *w, uint32_t e, uint32_t chain, uint32_t from, uint32_t n, uint32_t tier)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  int known = 0;
  keys_of(chain, from, n, key, name);
  for (uint32_t i = from; i < from + n; i++) {
    uint8_t *have = &w->tiers[e][block_of(chain, i)];
    if ((*have & ~SPECULATIVE) == 0)
      continue;
    *have |= (uint8_t)(1u << tier);
    known++;
  }
  assert_int_equal(llmd_index_hold(w->x, w->id[e], tier, name, n), known);
}

static void drop(world *w, uint32_t e, uint32_t chain, uint32_t from, uint32_t n, uint32_t tier)
{
  const uint32_t gone = tier == LLMD_TIER_ANY ? 255u : 1u << tier;
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  keys_of(chain, from, n, key, name);
  /* what is only promised has a name when others gave it one */
  for (uint32_t i = from; tier == LLMD_TIER_ANY && i < from + n; i++)
    if (w->tiers[e][block_of(chain, i)] & SPECULATIVE)
      return;
  for (uint32_t i = from; i < from + n; i++)
    w->tiers[e][block_of(chain, i)] &= (uint8_t)~gone;
  assert_true(llmd_index_drop(w->x, w->id[e], tier, name, n) >= 0);
}

static void forget(world *w, uint32_t e)
{
  memset(w->tiers[e], 0, sizeof w->tiers[e]);
}

static void no_promises(world *w)
{
  for (uint32_t e = 0; e < ENDPOINTS; e++)
    for (uint32_t i = 0; i < CHAINS * DEPTH; i++)
      w->tiers[e][i] &= (uint8_t)~SPECULATIVE;
}

static void expect(world *w, uint32_t e, uint32_t chain, uint32_t n)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  keys_of(chain, 0, n, key, name);
  assert_int_equal(llmd_index_expect(w->x, w->id[e], key, n, w->mono + 10), (int)n);
  for (uint32_t i = 0; i < n; i++)
    w->tiers[e][block_of(chain, i)] |= (uint8_t)SPECULATIVE;
}

static void describe(world *w, uint32_t e)
{
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16}, back = {.size = sizeof back};
  for (uint32_t g = 0; g < 2; g++) {
    w->window[e][g] = draw(w, 3) ? draw(w, draw(w, 4) ? 8 : 120) : 0;
    row.window_blocks[g] = w->window[e][g];
  }
  assert_int_equal(llmd_index_describe(w->x, w->id[e], &row), 0);
  assert_int_equal(llmd_index_row_of(w->x, w->id[e], &back), 0);
  assert_memory_equal(back.window_blocks, row.window_blocks, sizeof row.window_blocks);
}

static int take(void *ud, const char *ptr, size_t len)
{
  llmd_str *to = ud;
  to->ptr = realloc((void *)(uintptr_t)to->ptr, to->len + len);
  assert_non_null(to->ptr);
  memcpy((char *)(uintptr_t)to->ptr + to->len, ptr, len);
  to->len += len;
  return 0;
}

static void empty(world *w)
{
  llmd_index_options o = {.size = sizeof o, .rows = ENDPOINTS + 2, .bytes = BYTES};
  assert_int_equal(llmd_index_format(w->mem, BYTES, &o), 0);
  assert_int_equal(llmd_index_open(w->mem, BYTES, NULL, &w->x, NULL), 0);
}

/* Out, and in again. */
static void restart(world *w)
{
  llmd_str bytes = {NULL, 0};
  assert_int_equal(llmd_index_snapshot(w->x, take, &bytes), 0);
  llmd_index_close(w->x);
  empty(w);
  assert_int_equal(llmd_index_restore(w->x, bytes.ptr, bytes.len, NULL), 0);
  free((void *)(uintptr_t)bytes.ptr);
  no_promises(w);
}

static void die(world *w)
{
  LLMD__PUT(&w->x->head->writing, 1u);
  assert_int_equal(llmd_index_takeover(w->x), 1);
  no_promises(w);
}

static uint32_t some_tier(world *w)
{
  static const uint8_t of[] = {0, 0, 0, 1, 2, 3, 5, 5, 5, 6, 6};
  return of[draw(w, sizeof of)];
}

static void rare(world *w, uint32_t e)
{
  switch (draw(w, 7)) {
  case 0:
    assert_int_equal(llmd_index_clear(w->x, w->id[e]), 0);
    forget(w, e);
    break;
  case 1:
    w->id[e] += UINT64_C(1) << 32; /* another endpoint in its slot */
    forget(w, e);
    w->window[e][0] = w->window[e][1] = 0;
    store(w, e, 0, 0, 3, LLMD_TIER_GPU);
    break;
  case 2:
    restart(w);
    break;
  case 3:
    die(w);
    break;
  case 4:
    w->mono += 20;
    no_promises(w);
    break;
  case 5:
    assert_int_equal(llmd_index_clear(w->x, LLMD_INDEX_SHARED), 0);
    forget(w, SHARED);
    break;
  default:
    describe(w, e);
  }
}

static void step(world *w, int shared)
{
  const uint32_t e = draw(w, ENDPOINTS), chain = draw(w, CHAINS), tier = some_tier(w);
  const uint32_t from = draw(w, 4) ? draw(w, DEPTH) : 0, most = DEPTH - from;
  const uint32_t n = 1u + draw(w, draw(w, 2) ? most : most < 6 ? most : 6);
  const uint32_t what = draw(w, 100);
  if (what < 35)
    store(w, e, chain, from, n, tier);
  else if (what < 45)
    store(w, e, chain, 0, from + n, tier);
  else if (what < 55)
    hold(w, e, chain, from, n, tier);
  else if (what < 80)
    drop(w, e, chain, from, n < 9 ? n : 9, draw(w, 8) ? tier : LLMD_TIER_ANY);
  else if (what < 84)
    expect(w, e, chain, from + n);
  else if (what < 90 && shared)
    store(w, SHARED, chain, draw(w, 2) ? 0 : from, n, LLMD_TIER_REMOTE);
  else if (what < 94 && shared)
    drop(w, SHARED, chain, from, n < 9 ? n : 9, LLMD_TIER_REMOTE);
  else if (what >= 98)
    rare(w, e);
  llmd_index_tick(w->x, w->mono, 0);
}

static void run(uint64_t seed, uint32_t steps, int shared)
{
  static world w;
  memset(&w, 0, sizeof w);
  w.random = seed;
  w.mono = 1;
  w.mem = aligned_alloc(64, BYTES);
  assert_non_null(w.mem);
  empty(&w);
  w.scratch = calloc(1, llmd_index_scratch(w.x));
  assert_non_null(w.scratch);
  for (uint32_t e = 0; e < ENDPOINTS; e++)
    w.id[e] = UINT64_C(1) << 32 | (e + 1u);
  w.id[SHARED] = LLMD_INDEX_SHARED;
  for (uint32_t e = 0; e < ENDPOINTS; e += 2)
    describe(&w, e);
  for (uint32_t i = 0; i < steps; i++) {
    step(&w, shared);
    ask(&w, draw(&w, CHAINS), 1u + draw(&w, DEPTH));
  }
  llmd_index_close(w.x);
  free(w.scratch);
  free(w.mem);
}

static void test_as_the_model_says(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++)
    run(seed * 7919, 8000, 0);
}

static void test_with_a_store_for_all(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed <= 4; seed++)
    run(seed * 104729, 8000, 1);
}

/* ---- by example -------------------------------------------------------------------------------------------------- */

static void small(world *w, uint32_t first, uint32_t second)
{
  llmd_index_row row = {.size = sizeof row, .window_blocks = {first, second}};
  memset(w, 0, sizeof *w);
  w->mem = aligned_alloc(64, BYTES);
  assert_non_null(w->mem);
  empty(w);
  w->scratch = calloc(1, llmd_index_scratch(w->x));
  w->id[0] = UINT64_C(1) << 32 | 1u;
  assert_int_equal(llmd_index_describe(w->x, w->id[0], &row), 0);
}

static uint32_t blocks(world *w, uint32_t n)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  llmd_hit hit[2] = {{0, 0, {0, 0, 0}}, {0, 0, {0, 0, 0}}};
  keys_of(1, 0, n, key, name);
  return llmd_index_query(w->x, w->scratch, key, n, hit, 2, NULL) == 1 ? hit[0].blocks : 0;
}

static void over(world *w)
{
  llmd_index_close(w->x);
  free(w->scratch);
  free(w->mem);
}

static void test_the_last_blocks_must_be_there(void **state)
{
  world w;
  (void)state;
  w.random = 1;
  small(&w, 3, 0);
  w.random = 1;
  store(&w, 0, 1, 0, 40, LLMD_TIER_GPU);
  assert_int_equal(blocks(&w, 40), 0); /* nothing of the window yet */
  store(&w, 0, 1, 30, 10, LLMD_TIER_WINDOW);
  assert_int_equal(blocks(&w, 40), 40);
  assert_int_equal(blocks(&w, 36), 36);
  assert_int_equal(blocks(&w, 33), 33); /* 30, 31, 32: across a run's end */
  assert_int_equal(blocks(&w, 32), 0);
  drop(&w, 0, 1, 36, 1, LLMD_TIER_WINDOW);
  assert_int_equal(blocks(&w, 40), 40); /* 37, 38, 39 */
  assert_int_equal(blocks(&w, 39), 36);
  drop(&w, 0, 1, 20, 1, LLMD_TIER_GPU); /* a hole: the window must be before it */
  assert_int_equal(blocks(&w, 40), 0);
  store(&w, 0, 1, 0, 2, LLMD_TIER_WINDOW); /* fewer than three are enough where there are no more */
  assert_int_equal(blocks(&w, 40), 2);
  over(&w);
}

/* Runs in which it has nothing of the window are not looked at, and still are between those before and after. */
static void test_a_run_without_anything_breaks_the_row(void **state)
{
  world w;
  (void)state;
  small(&w, 10, 0);
  w.random = 1;
  store(&w, 0, 1, 0, 100, LLMD_TIER_GPU);
  store(&w, 0, 1, 20, 12, LLMD_TIER_WINDOW);
  store(&w, 0, 1, 64, 9, LLMD_TIER_WINDOW);
  assert_int_equal(blocks(&w, 72), 32);
  assert_int_equal(blocks(&w, 100), 32);
  store(&w, 0, 1, 73, 1, LLMD_TIER_WINDOW);
  assert_int_equal(blocks(&w, 100), 74);
  over(&w);
}

static void test_two_groups_must_agree(void **state)
{
  world w;
  (void)state;
  small(&w, 2, 4);
  w.random = 1;
  store(&w, 0, 1, 0, 50, LLMD_TIER_GPU);
  store(&w, 0, 1, 0, 50, LLMD_TIER_WINDOW);
  store(&w, 0, 1, 0, 12, LLMD_TIER_WINDOW_2);
  assert_int_equal(blocks(&w, 50), 12);
  drop(&w, 0, 1, 11, 1, LLMD_TIER_WINDOW);
  assert_int_equal(blocks(&w, 50), 11);
  drop(&w, 0, 1, 9, 1, LLMD_TIER_WINDOW_2);
  assert_int_equal(blocks(&w, 50), 9);
  over(&w);
}

/* The newest meaning of a name wins, also where only a window's part had the old one. */
static void test_a_name_means_one_block(void **state)
{
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  world w;
  (void)state;
  small(&w, 2, 2);
  w.random = 1;
  store(&w, 0, 1, 0, 20, LLMD_TIER_GPU);
  store(&w, 0, 1, 18, 2, LLMD_TIER_WINDOW);
  store(&w, 0, 1, 18, 2, LLMD_TIER_WINDOW_2);
  assert_int_equal(blocks(&w, 20), 20);
  drop(&w, 0, 1, 19, 1, LLMD_TIER_GPU);
  keys_of(0, 0, 1, key, name);
  name[0] = 5000u + block_of(1, 19);
  assert_int_equal(llmd_index_store(w.x, w.id[0], LLMD_TIER_GPU, NULL, key, name, 1, NULL), 1);
  keys_of(1, 19, 1, key, name);
  store(&w, 0, 1, 19, 1, LLMD_TIER_GPU);
  assert_int_equal(blocks(&w, 20), 0);
  over(&w);
}

/* Blocks on the way are nobody's, and go when nobody comes. */
static void test_blocks_on_the_way_go_again(void **state)
{
  llmd_index_stats stats = {.size = sizeof stats};
  llmd_key key[DEPTH];
  uint64_t name[DEPTH];
  llmd_block last;
  world w;
  (void)state;
  small(&w, 2, 0);
  w.random = 1;
  keys_of(1, 0, DEPTH, key, name);
  assert_int_equal(llmd__index_store_tail(w.x, w.id[0], LLMD_TIER_WINDOW, NULL, key, 70, name + 70, 5, &last), 5);
  assert_int_equal(last.depth, 74);
  assert_memory_equal(&last.key, &key[74], sizeof last.key);
  assert_int_equal(blocks(&w, 75), 0);
  llmd_index_stats_get(w.x, &stats);
  assert_int_equal(stats.blocks, 75);
  assert_int_equal(stats.held, 5);
  assert_int_equal(llmd_index_drop(w.x, w.id[0], LLMD_TIER_WINDOW, name + 70, 5), 5);
  llmd_index_stats_get(w.x, &stats);
  assert_int_equal(stats.blocks, 0);
  assert_int_equal(stats.names, 0);
  assert_int_equal(llmd__index_store_tail(w.x, w.id[0], LLMD_TIER_WINDOW, NULL, key, 40, name, 0, NULL), 0);
  llmd_index_stats_get(w.x, &stats);
  assert_int_equal(stats.blocks, 0);
  assert_int_equal(stats.used, 0);
  over(&w);
}

/* ---- at the cap -------------------------------------------------------------------------------------------------- */

/* A small index, far more tails than it has room for: when all is cleared nothing is left over, no line is lost. */
static void test_at_the_cap_no_line_is_lost(void **state)
{
  llmd_index_options o = {.size = sizeof o, .rows = ENDPOINTS + 2, .bytes = 96u << 10};
  llmd_index_stats stats = {.size = sizeof stats};
  llmd_key key[300];
  uint64_t name[300];
  llmd_hit hit[ENDPOINTS + 2];
  world w;
  (void)state;
  small(&w, 4, 0);
  llmd_index_close(w.x);
  free(w.scratch);
  assert_int_equal(llmd_index_format(w.mem, BYTES, &o), 0);
  assert_int_equal(llmd_index_open(w.mem, BYTES, NULL, &w.x, NULL), 0);
  w.scratch = calloc(1, llmd_index_scratch(w.x));
  w.random = 4242;
  for (uint32_t e = 0; e < ENDPOINTS; e++) {
    w.id[e] = UINT64_C(1) << 32 | (e + 1u);
    describe(&w, e);
  }
  for (uint32_t i = 0; i < 12000; i++) {
    const uint32_t seed = draw(&w, 30), n = 1u + draw(&w, 280), before = draw(&w, n + 1u), e = draw(&w, ENDPOINTS);
    for (uint32_t k = 0; k < n; k++) {
      key[k] = key_of((k < 40 ? 0 : seed) * 1000u + k);
      name[k] = 1u + (k < 40 ? 0 : seed) * 1000u + k;
    }
    if (draw(&w, 4))
      assert_true(llmd__index_store_tail(w.x, w.id[e], some_tier(&w), NULL, key, before, name + before, n - before,
                                         NULL) >= 0);
    else
      assert_true(llmd_index_drop(w.x, w.id[e], draw(&w, 3) ? some_tier(&w) : LLMD_TIER_ANY, name, n) >= 0);
    if (draw(&w, 100) == 0)
      assert_int_equal(llmd_index_clear(w.x, w.id[e]), 0);
    llmd_index_tick(w.x, 1, 0);
    for (int left = llmd_index_query(w.x, w.scratch, key, n, hit, ENDPOINTS + 2u, NULL); left-- > 0;)
      assert_in_range(hit[left].blocks, 1, n);
  }
  for (uint32_t e = 0; e < ENDPOINTS; e++)
    assert_int_equal(llmd_index_clear(w.x, w.id[e]), 0);
  while (llmd_index_tick(w.x, 1, 100000))
    ;
  llmd_index_stats_get(w.x, &stats);
  assert_true(stats.evicted > 100000);
  assert_int_equal(stats.used + stats.blocks + stats.held + stats.names, 0);
  over(&w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_last_blocks_must_be_there), cmocka_unit_test(test_two_groups_must_agree),
      cmocka_unit_test(test_a_name_means_one_block),        cmocka_unit_test(test_blocks_on_the_way_go_again),
      cmocka_unit_test(test_a_run_without_anything_breaks_the_row),
      cmocka_unit_test(test_at_the_cap_no_line_is_lost),
      cmocka_unit_test(test_as_the_model_says),
      cmocka_unit_test(test_with_a_store_for_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
