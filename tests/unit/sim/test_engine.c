#include "sim_test.h"

#include <math.h>

#include "sim_cache.h"
#include "sim_engine.h"
#include "sim_rng.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static struct sim_model small_model(uint32_t kv_tokens)
{
  struct sim_model m;
  sim_model_default(&m);
  m.kv_tokens = kv_tokens;
  return m;
}

/* Runs until nothing is left; the clock goes on. Returns the steps made. */
static uint32_t run_dry(struct sim_engine *e, double *now)
{
  const struct sim_token *tokens;
  double duration;
  uint32_t steps = 0;
  while (sim_engine_begin(e, &duration)) {
    *now += duration;
    sim_engine_end(e, *now, &tokens, NULL);
    assert_true(++steps < 1000000);
  }
  return steps;
}

static void assert_all_free(const struct sim_engine *e)
{
  const struct sim_cache *c = sim_engine_cache(e);
  assert_int_equal(c->n_free, c->n_blocks);
  for (uint32_t i = 0; i < c->n_blocks; i++) {
    assert_int_equal(c->block[i].refs, 0);
    assert_int_equal(c->block[i].readers, 0);
  }
}

/* What the published coefficients say about an 8,192-token prompt, and about the size of the cache. */
static void prompt_of_8192_takes_468_ms(void **state)
{
  struct sim_model m;
  struct sim_engine *e;
  struct sim_request q = {.prompt_tokens = 8192, .output_tokens = 2};
  const struct sim_token *tokens;
  double duration;
  (void)state;
  sim_model_default(&m);
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_cache(e)->n_blocks, 307328 / 16);
  assert_int_equal(sim_engine_submit(e, &q, 7), 0);
  assert_int_equal(sim_engine_begin(e, &duration), 1);
  assert_true(fabs(duration - 0.468) < 0.0005);
  NEAR(duration, sim_model_prefill(&m, 0, 8192));
  assert_int_equal(sim_engine_end(e, duration, &tokens, NULL), 1);
  assert_int_equal(tokens[0].tag, 7);
  assert_int_equal(tokens[0].what, SIM_FIRST_TOKEN);
  assert_int_equal(sim_engine_begin(e, &duration), 1);
  NEAR(duration, m.tw + m.tc + m.tkv * 8193 + m.tb); /* one row reads its whole context, itself included */
  assert_int_equal(sim_engine_end(e, 1, &tokens, NULL), 1);
  assert_int_equal(tokens[0].what, SIM_LAST_TOKEN);
  assert_int_equal(sim_engine_begin(e, &duration), 0);
  assert_all_free(e);
  sim_engine_destroy(e);
}

static uint32_t cached_on_second_visit(uint32_t prompt)
{
  struct sim_model m = small_model(4096);
  struct sim_engine *e;
  struct sim_counters counters;
  uint64_t room[64];
  struct sim_request a = chain_request(0, 1, prompt, 1, 16, room), b = a;
  double now = 0;
  b.id = 1;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_match(e, &a), 0);
  assert_int_equal(sim_engine_submit(e, &a, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_match(e, &a), prompt / 16);
  assert_int_equal(sim_engine_submit(e, &b, 1), 0);
  run_dry(e, &now);
  sim_engine_counters(e, &counters);
  assert_int_equal(counters.prompt_tokens, 2 * prompt);
  assert_all_free(e);
  sim_engine_destroy(e);
  return (uint32_t)counters.cached_tokens;
}

static void last_prompt_token_is_always_computed(void **state)
{
  (void)state;
  for (uint32_t prompt = 1; prompt < 200; prompt++)
    assert_int_equal(cached_on_second_visit(prompt), (prompt - 1) / 16 * 16);
}

static void suffixes_are_evicted_first(void **state)
{
  struct sim_model m = small_model(8 * 16);
  struct sim_engine *e;
  uint64_t room[3][8];
  struct sim_request a = chain_request(0, 1, 64, 1, 16, room[0]);
  struct sim_request b = chain_request(1, 2, 32, 1, 16, room[1]);
  struct sim_request c = chain_request(2, 3, 64, 1, 16, room[2]);
  double now = 0;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &a, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_submit(e, &b, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_submit(e, &c, 0), 0); /* two blocks are unused, two are taken from the end of a */
  run_dry(e, &now);
  assert_int_equal(sim_engine_match(e, &a), 2);
  assert_int_equal(sim_engine_match(e, &b), 2);
  assert_int_equal(sim_engine_match(e, &c), 4);
  sim_engine_destroy(e);
}

static void prompts_are_cut_to_the_budget(void **state)
{
  struct sim_model m = small_model(65536);
  struct sim_engine *e;
  struct sim_request a = {.id = 0, .prompt_tokens = 10000, .output_tokens = 5};
  struct sim_request b = {.id = 1, .prompt_tokens = 8000, .output_tokens = 5};
  struct sim_metrics seen;
  const struct sim_token *tokens;
  double d;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &a, 0), 0);
  assert_int_equal(sim_engine_submit(e, &b, 1), 0);
  assert_int_equal(sim_engine_begin(e, &d), 1);
  NEAR(d, m.tw + m.tc * 8192 + m.ta * 8192 * 4096.0 + m.tb);
  sim_engine_metrics(e, &seen);
  assert_int_equal(seen.running, 1);
  assert_int_equal(seen.waiting, 1);
  NEAR(seen.kv_usage, 8192 / 65536.0); /* blocks for the chunk only */
  assert_int_equal(sim_engine_end(e, 1, &tokens, NULL), 0);
  assert_int_equal(sim_engine_begin(e, &d), 1); /* the rest of a, and what the budget leaves for b */
  NEAR(d, m.tw + m.tc * 8192 + m.ta * (1808 * (8192 + 904.0) + 6384 * 3192.0) + 2 * m.tb);
  assert_int_equal(sim_engine_end(e, 2, &tokens, NULL), 1);
  assert_int_equal(sim_engine_begin(e, &d), 1); /* a decodes while b goes on */
  NEAR(d, m.tw + m.tc * 1617 + m.tkv * 10001 + m.ta * 1616 * (6384 + 808.0) + 2 * m.tb);
  sim_engine_end(e, 3, &tokens, NULL);
  sim_engine_destroy(e);
}

static void no_more_rows_than_max_seqs(void **state)
{
  struct sim_model m = small_model(65536);
  struct sim_engine *e;
  struct sim_request q[5];
  struct sim_metrics seen;
  double d, now = 0;
  (void)state;
  m.max_seqs = 3;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  for (uint32_t i = 0; i < 5; i++) {
    q[i] = (struct sim_request){.id = i, .prompt_tokens = 10, .output_tokens = 3};
    assert_int_equal(sim_engine_submit(e, &q[i], i), 0);
  }
  const struct sim_token *tokens;
  assert_int_equal(sim_engine_begin(e, &d), 1);
  sim_engine_metrics(e, &seen);
  assert_int_equal(seen.running, 3);
  assert_int_equal(seen.waiting, 2);
  sim_engine_end(e, d, &tokens, NULL);
  run_dry(e, &now);
  assert_all_free(e);
  sim_engine_destroy(e);
}

/* Two rows that share four blocks: those count once, and beta of them for the second reader. */
static void shared_blocks_are_read_once(void **state)
{
  struct sim_model m = small_model(4096);
  struct sim_engine *e;
  uint64_t room[2][8];
  struct sim_request a = chain_request(0, 1, 70, 9, 16, room[0]);
  struct sim_request b = chain_request(1, 1, 70, 4, 16, room[1]);
  const struct sim_token *tokens;
  double d;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &a, 0), 0);
  assert_int_equal(sim_engine_submit(e, &b, 1), 0);
  assert_int_equal(sim_engine_begin(e, &d), 1); /* b finds what a is computing in the same step, as in vLLM */
  NEAR(d, m.tw + m.tc * (70 + 6) + m.ta * (70 * 35.0 + 6 * 67.0) + 2 * m.tb);
  assert_int_equal(sim_engine_end(e, 1, &tokens, NULL), 2);
  for (uint32_t done = 1; done < 4; done++) {
    double context = 2 * (70.0 + done), distinct = 64 + 2 * (6.0 + done);
    assert_int_equal(sim_engine_begin(e, &d), 1);
    NEAR(d, m.tw + m.tc * 2 + m.tkv * (m.beta * context + (1 - m.beta) * distinct) + 2 * m.tb);
    sim_engine_end(e, 1 + done, &tokens, NULL);
  }
  assert_int_equal(sim_engine_begin(e, &d), 1); /* b is done: a alone reads its 74 tokens */
  NEAR(d, m.tw + m.tc + m.tkv * 74 + m.tb);
  sim_engine_end(e, 9, &tokens, NULL);
  sim_engine_destroy(e);
}

/* Three rows of 32 + 33 tokens want 12 blocks of 10: the last one is put back, and finishes all the same. */
static void out_of_blocks_preempts_the_last_row(void **state)
{
  struct sim_model m = small_model(10 * 16);
  struct sim_engine *e;
  uint64_t room[3][2];
  struct sim_request q[3];
  struct sim_counters counters;
  struct sim_metrics seen;
  const struct sim_token *tokens;
  uint32_t first[3] = {0}, last[3] = {0}, order = 0;
  double d, now = 0;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  for (uint32_t i = 0; i < 3; i++) {
    q[i] = chain_request(i, i + 1, 32, 33, 16, room[i]);
    assert_int_equal(sim_engine_submit(e, &q[i], i), 0);
  }
  while (sim_engine_begin(e, &d)) {
    uint32_t n = sim_engine_end(e, now += d, &tokens, NULL);
    for (uint32_t i = 0; i < n; i++)
      if (tokens[i].what == SIM_FIRST_TOKEN)
        assert_int_equal(first[tokens[i].tag]++, 0); /* once, whatever happens later */
      else
        last[tokens[i].tag] = ++order;
    sim_engine_counters(e, &counters);
    if (counters.preemptions == 1 && counters.output_tokens < 90 && last[0] == 0) {
      sim_engine_metrics(e, &seen);
      assert_int_equal(seen.running, 2);
      assert_int_equal(seen.waiting, 1);
    }
  }
  assert_int_equal(counters.preemptions, 1);
  assert_int_equal(counters.output_tokens, 3 * 33);
  assert_int_equal(counters.prompt_tokens, 3 * 32); /* admission is counted once */
  assert_true(last[2] == 3 && last[0] < 3 && last[1] < 3);
  assert_all_free(e);
  sim_engine_destroy(e);
}

static void what_can_never_fit_is_refused(void **state)
{
  struct sim_model m = small_model(10 * 16);
  struct sim_engine *e;
  struct sim_request fits = {.prompt_tokens = 100, .output_tokens = 61};
  struct sim_request big = {.prompt_tokens = 100, .output_tokens = 62};
  struct sim_request none = {.prompt_tokens = 100};
  double now = 0;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &big, 0), LLMD_E_LIMIT);
  assert_int_equal(sim_engine_submit(e, &none, 0), LLMD_E_INVALID);
  assert_int_equal(sim_engine_submit(e, &fits, 0), 0);
  assert_int_equal(run_dry(e, &now), 61);
  assert_all_free(e);
  sim_engine_destroy(e);
  assert_int_equal(sim_engine_create(&e, &m, 0), LLMD_E_INVALID);
  assert_int_equal(sim_engine_create(&e, &m, 1000), LLMD_E_INVALID);
  sim_engine_destroy(NULL);
}

/* Many requests over few chains in a cache that is far too small. Nothing leaks, nobody starves, and afterwards the
 * engine behaves like a new one: its running sums are back at zero. */
static uint64_t churn(uint64_t seed)
{
  enum { N = 300 };
  struct sim_model m = small_model(60 * 16);
  struct sim_engine *e;
  static uint64_t room[N][32];
  static struct sim_request q[N];
  struct sim_request probe = {.id = N, .prompt_tokens = 40, .output_tokens = 3};
  struct sim_counters counters;
  struct sim_rng rng;
  const struct sim_token *tokens;
  uint64_t digest = 0, wanted = 0;
  uint32_t sent = 0;
  double d, now = 0;
  sim_rng_init(&rng, seed, 0);
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  while (sent < N || sim_engine_begin(e, &d)) {
    if (sent < N) {
      q[sent] = chain_request(sent, 1 + sim_rng_below(&rng, 6), 1 + sim_rng_below(&rng, 500),
                              1 + sim_rng_below(&rng, 90), 16, room[sent]);
      wanted += q[sent].output_tokens;
      assert_int_equal(sim_engine_submit(e, &q[sent], sent), 0);
      sent++;
      if (!sim_engine_begin(e, &d))
        continue;
    }
    now += d;
    for (uint32_t i = 0, n = sim_engine_end(e, now, &tokens, NULL); i < n; i++)
      digest = sim_mix(digest ^ tokens[i].tag ^ (uint64_t)(now * 1e9));
    const struct sim_cache *c = sim_engine_cache(e);
    for (uint32_t i = 0; i < c->n_blocks; i++)
      assert_true(c->block[i].readers <= c->block[i].refs);
  }
  sim_engine_counters(e, &counters);
  assert_int_equal(counters.output_tokens, wanted);
  assert_true(counters.preemptions > 10 && counters.cached_tokens > 1000 && counters.evictions > 100);
  assert_all_free(e);
  assert_int_equal(sim_engine_submit(e, &probe, 0), 0);
  assert_int_equal(sim_engine_begin(e, &d), 1);
  sim_engine_end(e, now, &tokens, NULL);
  assert_int_equal(sim_engine_begin(e, &d), 1);
  NEAR(d, m.tw + m.tc + m.tkv * 41 + m.tb);
  sim_engine_end(e, now, &tokens, NULL);
  sim_engine_destroy(e);
  return digest;
}

static void churn_leaves_nothing_behind(void **state)
{
  (void)state;
  assert_true(churn(1) == churn(1));
  assert_true(churn(2) != churn(1));
}

static void gaps_are_counted_for_every_token_but_the_first(void **state)
{
  struct sim_model m = small_model(65536);
  struct sim_engine *e;
  struct sim_histogram gaps = {0};
  struct sim_request q[4];
  const struct sim_token *tokens;
  double d, now = 0, least = 1;
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  for (uint32_t i = 0; i < 4; i++) {
    q[i] = (struct sim_request){.id = i, .prompt_tokens = 5000, .output_tokens = 10 + i};
    assert_int_equal(sim_engine_submit(e, &q[i], i), 0);
  }
  while (sim_engine_begin(e, &d)) {
    least = d < least ? d : least;
    sim_engine_end(e, now += d, &tokens, &gaps);
  }
  assert_int_equal(gaps.count, 9 + 10 + 11 + 12);
  NEAR(gaps.min, least);
  assert_true(gaps.max > 0.3); /* the first row waits while the others' prompts are computed */
  sim_engine_destroy(e);
}

/* Two prompts that do not fit side by side; the first comes again: its blocks are loaded, not computed. */
static void what_is_evicted_comes_back_from_cpu_memory(void **state)
{
  struct sim_model m = small_model(640);
  struct sim_engine *e;
  struct sim_counters c;
  const struct sim_token *tokens;
  uint64_t room[2][64];
  double now = 0, duration;
  (void)state;
  m.cpu_tokens = 6400;
  m.t_load = 1e-3; /* longer than computing the rest */
  struct sim_request first = chain_request(1, 1, 512, 1, 16, room[0]);
  struct sim_request second = chain_request(2, 2, 512, 1, 16, room[1]);
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &first, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_held(e), 2 * 32);
  assert_int_equal(sim_engine_submit(e, &second, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_match(e, &first), 32); /* in whatever tier */
  assert_int_equal(sim_engine_submit(e, &first, 0), 0);
  assert_int_equal(sim_engine_begin(e, &duration), 1);
  sim_engine_counters(e, &c);
  uint32_t in_gpu = (uint32_t)c.cached_tokens - (uint32_t)c.loaded_tokens;
  assert_true(c.loaded_tokens > 0 && c.cached_tokens == 496 && in_gpu < 496);
  NEAR(duration, (double)c.loaded_tokens * 1e-3);
  sim_engine_end(e, now + duration, &tokens, NULL);
  assert_int_equal(tokens[0].cached_tokens, 496); /* all but the block of the last token */
  assert_all_free(e);
  sim_engine_destroy(e);
}

static void a_tier_without_room_forgets_the_oldest(void **state)
{
  struct sim_model m = small_model(640);
  struct sim_engine *e;
  uint64_t room[2][64];
  double now = 0;
  (void)state;
  m.cpu_tokens = 512;
  struct sim_request first = chain_request(1, 1, 512, 1, 16, room[0]);
  struct sim_request second = chain_request(2, 2, 640, 1, 16, room[1]);
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &first, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_submit(e, &second, 0), 0);
  run_dry(e, &now);
  assert_int_equal(sim_engine_match(e, &first), 0);
  assert_int_equal(sim_engine_match(e, &second), 40);
  assert_int_equal(sim_engine_held(e), 40 + 32);
  sim_engine_destroy(e);
}

static void a_reset_forgets_all_and_loses_nobody(void **state)
{
  struct sim_model m = small_model(6400);
  struct sim_engine *e;
  struct sim_metrics seen;
  struct sim_counters c;
  const struct sim_token *tokens;
  uint64_t room[2][64];
  double now = 0, duration;
  (void)state;
  m.cpu_tokens = 6400;
  struct sim_request first = chain_request(1, 1, 512, 5, 16, room[0]);
  struct sim_request second = chain_request(2, 2, 512, 5, 16, room[1]);
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  assert_int_equal(sim_engine_submit(e, &first, 1), 0);
  assert_int_equal(sim_engine_submit(e, &second, 2), 0);
  assert_int_equal(sim_engine_begin(e, &duration), 1);
  sim_engine_end(e, now += duration, &tokens, NULL);
  assert_true(sim_engine_held(e) == 128 && sim_engine_match(e, &first) == 32);
  sim_engine_reset(e);
  assert_true(sim_engine_held(e) == 0 && sim_engine_match(e, &first) == 0);
  assert_all_free(e);
  sim_engine_metrics(e, &seen);
  assert_true(seen.waiting == 2 && seen.running == 0);
  run_dry(e, &now);
  sim_engine_counters(e, &c);
  assert_true(c.output_tokens == 10 && c.preemptions == 0);
  assert_int_equal(sim_engine_match(e, &second), 32);
  assert_all_free(e);
  sim_engine_destroy(e);
}

/* One runs, two wait; the second one and then the first one leave. */
static void a_request_given_up_leaves_nothing_behind(void **state)
{
  struct sim_model m = small_model(4096);
  struct sim_engine *e;
  struct sim_request q[3];
  const struct sim_token *tokens;
  struct sim_metrics metrics;
  double duration, now = 0;
  uint32_t waiting[3] = {9, 9, 9};
  (void)state;
  m.max_seqs = 1;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  for (uint32_t i = 0; i < 3; i++) {
    q[i] = (struct sim_request){.id = i, .prompt_tokens = 100, .output_tokens = 10};
    assert_int_equal(sim_engine_submit(e, &q[i], i), 0);
  }
  for (int i = 0; i < 4; i++) {
    assert_int_equal(sim_engine_begin(e, &duration), 1);
    now += duration;
    (void)sim_engine_end(e, now, &tokens, NULL);
  }
  assert_int_equal(sim_engine_waiting(e, waiting, 1), 2);
  assert_int_equal(waiting[0], 1);
  assert_int_equal(waiting[1], 9);
  assert_int_equal(sim_engine_cancel(e, 2), 1); /* the last one in the queue */
  assert_int_equal(sim_engine_cancel(e, 2), 0);
  assert_int_equal(sim_engine_cancel(e, 0), 1); /* in the middle of its answer */
  sim_engine_metrics(e, &metrics);
  assert_int_equal(metrics.running, 0);
  assert_int_equal(metrics.waiting, 1);
  assert_all_free(e);
  assert_int_equal(sim_engine_submit(e, &q[2], 2), 0);
  assert_int_equal(run_dry(e, &now), 20);
  assert_all_free(e);
  sim_engine_destroy(e);
}

static void every_token_is_told_when_asked_for(void **state)
{
  struct sim_model m = small_model(4096);
  struct sim_engine *e;
  struct sim_request q = {.prompt_tokens = 100, .output_tokens = 4};
  const struct sim_token *tokens;
  double duration;
  const uint32_t what[] = {SIM_FIRST_TOKEN, SIM_NEXT_TOKEN, SIM_NEXT_TOKEN, SIM_LAST_TOKEN};
  (void)state;
  assert_int_equal(sim_engine_create(&e, &m, 16), 0);
  sim_engine_tell_all(e);
  assert_int_equal(sim_engine_submit(e, &q, 5), 0);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(sim_engine_begin(e, &duration), 1);
    assert_int_equal(sim_engine_end(e, i, &tokens, NULL), 1);
    assert_int_equal(tokens[0].what, what[i]);
    assert_int_equal(tokens[0].tag, 5);
  }
  assert_int_equal(sim_engine_begin(e, &duration), 0);
  sim_engine_destroy(e);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(prompt_of_8192_takes_468_ms),
    cmocka_unit_test(last_prompt_token_is_always_computed),
    cmocka_unit_test(suffixes_are_evicted_first),
    cmocka_unit_test(prompts_are_cut_to_the_budget),
    cmocka_unit_test(no_more_rows_than_max_seqs),
    cmocka_unit_test(shared_blocks_are_read_once),
    cmocka_unit_test(out_of_blocks_preempts_the_last_row),
    cmocka_unit_test(what_can_never_fit_is_refused),
    cmocka_unit_test(churn_leaves_nothing_behind),
    cmocka_unit_test(gaps_are_counted_for_every_token_but_the_first),
    cmocka_unit_test(what_is_evicted_comes_back_from_cpu_memory),
    cmocka_unit_test(a_tier_without_room_forgets_the_oldest),
    cmocka_unit_test(a_reset_forgets_all_and_loses_nobody),
    cmocka_unit_test(a_request_given_up_leaves_nothing_behind),
    cmocka_unit_test(every_token_is_told_when_asked_for),
  };
  return cmocka_run_group_tests_name("sim/engine", tests, NULL, NULL);
}
