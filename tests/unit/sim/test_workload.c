#include "sim_test.h"

#include <math.h>

#include "sim_rng.h"

static void guide_ladder(void **state)
{
  static const uint32_t counts[] = {750, 60, 200, 300, 760, 748, 750, 750, 735, 1520, 1548, 1518, 1470, 1508, 1485,
                                    1482, 1500};
  struct sim_ladder ladder;
  struct sim_workload w;
  (void)state;
  sim_ladder_default(&ladder);
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  assert_int_equal(w.n_stages, 17);
  assert_true(w.stages[0].warmup && !sim_workload_counts(&w, 0) && sim_workload_counts(&w, 1));
  for (uint32_t i = 0; i < 17; i++) {
    assert_int_equal(w.stages[i].count, counts[i]);
    for (uint32_t j = 0; j < counts[i]; j++) /* every stage starts at the first prompt again, and goes round */
      assert_int_equal(w.requests[w.stages[i].first + j].prompt, w.requests[j % 750].prompt);
  }
  assert_int_equal(w.requests[0].prompt_tokens, 7200);
  assert_int_equal(w.requests[0].output_tokens, 1000);
  assert_int_equal(w.requests[0].n_blocks, 450);
  sim_workload_free(&w);
}

static void prompts_share_what_they_should(void **state)
{
  struct sim_ladder ladder;
  struct sim_workload w;
  uint8_t met[750] = {0};
  const struct sim_request *by_prompt[750];
  (void)state;
  sim_ladder_default(&ladder);
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  for (uint32_t i = 0; i < 750; i++) {
    assert_int_equal(met[w.requests[i].prompt]++, 0); /* a permutation */
    assert_int_equal(w.requests[i].group, w.requests[i].prompt / 5);
    by_prompt[w.requests[i].prompt] = &w.requests[i];
  }
  for (uint32_t p = 0; p < 749; p++) {
    uint32_t same = 0;
    while (same < 450 && by_prompt[p]->blocks[same] == by_prompt[p + 1]->blocks[same])
      same++;
    assert_int_equal(same, p / 5 == (p + 1) / 5 ? 375 : 0);
    for (uint32_t i = same; i < 450; i++)
      assert_true(by_prompt[p]->blocks[i] != by_prompt[p + 1]->blocks[i]);
  }
  assert_int_equal(w.requests[0].ideal_tokens, 0);
  for (uint32_t i = 750; i < w.n_requests; i++)
    assert_int_equal(w.requests[i].ideal_tokens, 449 * 16); /* all but the block of the last token */
  sim_workload_free(&w);
}

static void arrivals_are_poisson_within_seconds(void **state)
{
  static const struct sim_rate rate = {50, 200, 0};
  struct sim_ladder ladder;
  struct sim_workload w, again, other;
  double last = 0, square = 0;
  uint32_t per_second[400] = {0}, seconds;
  (void)state;
  sim_ladder_default(&ladder);
  ladder.rates = &rate;
  ladder.n_rates = 1;
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  assert_int_equal(sim_workload_ladder(&again, &ladder, NULL), 0);
  ladder.seed = 2;
  assert_int_equal(sim_workload_ladder(&other, &ladder, NULL), 0);
  assert_int_equal(w.n_requests, 10000);
  for (uint32_t i = 0; i < w.n_requests; i++) {
    assert_true(w.requests[i].offset >= last);
    last = w.requests[i].offset;
    assert_true(last == again.requests[i].offset);
    assert_true(last < 400);
    per_second[(uint32_t)last]++;
  }
  assert_true(fabs(last - 200) < 10);
  seconds = (uint32_t)last;
  for (uint32_t i = 0; i < seconds; i++)
    square += (per_second[i] - 50.0) * (per_second[i] - 50.0);
  assert_true(square / seconds > 30 && square / seconds < 75); /* the variance of a Poisson count is its mean */
  assert_true(other.requests[5].offset != w.requests[5].offset);
  assert_true(other.requests[0].prompt != w.requests[0].prompt || other.requests[1].prompt != w.requests[1].prompt);
  sim_workload_free(&w);
  sim_workload_free(&again);
  sim_workload_free(&other);
}

static void odd_lengths(void **state)
{
  static const struct sim_rate rate = {2, 3, 0};
  struct sim_ladder ladder = {.groups = 2, .prompts_per_group = 1, .system_tokens = 40, .question_tokens = 9,
                              .output_tokens = 1, .block_size = 16, .rates = &rate, .n_rates = 1};
  struct sim_workload w;
  (void)state;
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  assert_int_equal(w.requests[0].n_blocks, 3); /* 49 tokens; the third block is shared by prompt, not by group */
  assert_int_equal(w.n_requests, 6);
  assert_int_equal(w.requests[5].ideal_tokens, 48);
  sim_workload_free(&w);
  ladder.system_tokens = 0;
  assert_int_equal(sim_workload_ladder(&w, &ladder, NULL), 0);
  assert_int_equal(w.requests[0].n_blocks, 0);
  assert_int_equal(w.requests[5].ideal_tokens, 0);
  sim_workload_free(&w);
}

static void refused_ladder(const struct sim_ladder *ladder, int code)
{
  struct sim_workload w;
  llmd_err err = LLMD_ERR_INIT;
  memset(&w, 0x5a, sizeof w);
  assert_int_equal(sim_workload_ladder(&w, ladder, &err), code);
  assert_int_equal(err.code, code);
  assert_true(err.text[0] != 0);
  assert_int_equal(((unsigned char *)&w)[0], 0x5a); /* untouched */
}

static void bad_ladders(void **state)
{
  struct sim_rate nan_rate = {NAN, 3, 0}, zero = {0.1, 1, 0}, huge = {1e5, 1e6, 0};
  struct sim_ladder ladder;
  (void)state;
  sim_ladder_default(&ladder);
  ladder.groups = 0;
  refused_ladder(&ladder, LLMD_E_INVALID);
  sim_ladder_default(&ladder);
  ladder.output_tokens = 0;
  refused_ladder(&ladder, LLMD_E_INVALID);
  sim_ladder_default(&ladder);
  ladder.question_tokens = UINT32_MAX;
  refused_ladder(&ladder, LLMD_E_LIMIT);
  sim_ladder_default(&ladder);
  ladder.pause = NAN;
  refused_ladder(&ladder, LLMD_E_INVALID);
  ladder.pause = 0;
  ladder.n_rates = 1;
  ladder.rates = &nan_rate;
  refused_ladder(&ladder, LLMD_E_INVALID);
  ladder.rates = &zero;
  refused_ladder(&ladder, LLMD_E_LIMIT);
  ladder.rates = &huge;
  refused_ladder(&ladder, LLMD_E_LIMIT);
}

static void rungs_as_text(void **state)
{
  static const struct { const char *text; uint32_t column; } bad[] = {
    {"", 1}, {"15", 3}, {"15:", 4}, {"15:50,", 7}, {"15:50x", 6}, {"15:50w3", 7}, {"-3:4", 1}, {"0:5", 1},
    {"3:0", 1}, {"1:1,9e9:1", 6}, {"inf:3", 1}, {"1:1,,2:2", 5}, {"100001:1", 1}, {"1:12345678901234567", 20},
  };
  struct sim_rate *rates = NULL;
  uint32_t n = 0;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(sim_rates_parse("15:50w,3.5:20,.25:8", &rates, &n, &err), 0);
  assert_int_equal(n, 3);
  assert_true(rates[0].rate == 15 && rates[0].duration == 50 && rates[0].warmup == 1);
  assert_true(rates[1].rate == 3.5 && rates[1].duration == 20 && rates[1].warmup == 0);
  assert_true(rates[2].rate == 0.25);
  free(rates);
  rates = NULL;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_true(sim_rates_parse(bad[i].text, &rates, &n, &err) < 0);
    assert_int_equal(err.column, bad[i].column);
    assert_null(rates);
  }
}

static void random_numbers(void **state)
{
  struct sim_rng a, b;
  double sum = 0, poisson = 0;
  uint32_t hits[7] = {0};
  (void)state;
  sim_rng_init(&a, 1, 1);
  sim_rng_init(&b, 1, 2);
  assert_true(sim_rng_next(&a) != sim_rng_next(&b));
  for (int i = 0; i < 70000; i++) {
    double u = sim_rng_unit(&a);
    assert_true(u > 0 && u <= 1);
    sum += sim_rng_exponential(&a);
    hits[sim_rng_below(&a, 7)]++;
  }
  assert_true(fabs(sum / 70000 - 1) < 0.02);
  for (int i = 0; i < 7; i++)
    assert_true(hits[i] > 9600 && hits[i] < 10400);
  for (int i = 0; i < 2000; i++)
    poisson += sim_rng_poisson(&a, 20);
  assert_true(fabs(poisson / 2000 - 20) < 0.5);
  assert_int_equal(sim_rng_poisson(&a, 0), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(guide_ladder), cmocka_unit_test(prompts_share_what_they_should),
    cmocka_unit_test(arrivals_are_poisson_within_seconds), cmocka_unit_test(odd_lengths),
    cmocka_unit_test(bad_ladders), cmocka_unit_test(rungs_as_text), cmocka_unit_test(random_numbers),
  };
  return cmocka_run_group_tests_name("sim/workload", tests, NULL, NULL);
}
