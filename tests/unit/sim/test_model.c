#define SIM_TEST_TEMPORARY "test_sim_model.tmp"
#include "sim_test.h"

#include <math.h>

#include "sim_histogram.h"
#include "sim_model.h"

#define SET "\"tw\": 0.01, \"tc\": 1e-5, \"tkv\": 5e-8, \"ta\": 2e-9, \"tb\": 1e-5"

static int load(const char *text, const char *name, struct sim_model *m, llmd_err *err)
{
  int code = sim_model_load(m, temporary_file(text, strlen(text)), name, err);
  (void)remove(SIM_TEST_TEMPORARY);
  return code;
}

static void assert_same(const struct sim_model *a, const struct sim_model *b)
{
  assert_string_equal(a->name, b->name);
  assert_true(a->tw == b->tw && a->tc == b->tc && a->tkv == b->tkv && a->ta == b->ta && a->tb == b->tb);
  assert_true(a->beta == b->beta && a->t_in == b->t_in && a->t_out == b->t_out && a->kv_tokens == b->kv_tokens);
  assert_true(a->max_batched_tokens == b->max_batched_tokens && a->max_seqs == b->max_seqs);
}

static void a_file_of_sets(void **state)
{
  struct sim_model m;
  (void)state;
  assert_int_equal(load("{\"sets\": {\"a\": {" SET "}, \"b\": {" SET ", \"beta\": 0.5, \"mbt\": 2048, \"max_num_seqs\":"
                        " 128, \"kv_tokens\": 41408, \"tin_each_way\": 0.001, \"source\": \"x\"}}}", "b", &m, NULL), 0);
  assert_string_equal(m.name, "b");
  assert_true(m.tw == 0.01 && m.tc == 1e-5 && m.tkv == 5e-8 && m.ta == 2e-9 && m.tb == 1e-5 && m.beta == 0.5);
  assert_true(m.t_in == 0.001 && m.t_out == 0.001);
  assert_true(m.max_batched_tokens == 2048 && m.max_seqs == 128 && m.kv_tokens == 41408);
  assert_int_equal(load("{\"sets\": {\"a\": {" SET "}}}", "a", &m, NULL), 0);
  assert_true(m.beta == 1 && m.max_batched_tokens == 8192 && m.max_seqs == 1024 && m.kv_tokens == 307328);
}

static void bad_files(void **state)
{
  static const struct { const char *text; int code; } bad[] = {
    {"", LLMD_E_SYNTAX},
    {"{\"sets\": {\"a\": {" SET "}}} x", LLMD_E_SYNTAX},
    {"[]", LLMD_E_UNKNOWN_REF},
    {"{\"sets\": {\"b\": {" SET "}}}", LLMD_E_UNKNOWN_REF},
    {"{\"sets\": {\"a\": 3}}", LLMD_E_UNKNOWN_REF},
    {"{\"sets\": {\"a\": {\"tw\": 1}}}", LLMD_E_MISSING},
    {"{\"sets\": {\"a\": {" SET ", \"beta\": \"1\"}}}", LLMD_E_TYPE},
    {"{\"sets\": {\"a\": {" SET ", \"beta\": 1.5}}}", LLMD_E_RANGE},
    {"{\"sets\": {\"a\": {" SET ", \"kv_tokens\": 10.5}}}", LLMD_E_RANGE},
    {"{\"sets\": {\"a\": {" SET ", \"mbt\": 0}}}", LLMD_E_RANGE},
    {"{\"sets\": {\"a\": {" SET ", \"mbt\": 100, \"max_num_seqs\": 200}}}", LLMD_E_RANGE},
    {"{\"sets\": {\"a\": {" SET ", \"tw\": -1}}}", LLMD_OK}, /* the first of two keys counts */
    {"{\"sets\": {\"a\": {\"tw\": -1, \"tc\": 0, \"tkv\": 0, \"ta\": 0, \"tb\": 0}}}", LLMD_E_RANGE},
    {"{\"sets\": {\"a\": {\"tw\": 0, \"tc\": 0, \"tkv\": 0, \"ta\": 0, \"tb\": 0}}}", LLMD_E_RANGE},
  };
  struct sim_model m, before;
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  sim_model_default(&m);
  before = m;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(load(bad[i].text, "a", &m, &err), bad[i].code);
    if (bad[i].code) {
      assert_int_equal(err.code, bad[i].code);
      assert_same(&m, &before);
    }
    m = before;
  }
  assert_int_equal(load("{\"sets\":\n {\n oops}}", "a", &m, &err), LLMD_E_SYNTAX);
  assert_int_equal(err.line, 3);
  assert_int_equal(sim_model_load(&m, "no/such/file", "a", &err), LLMD_E_IO);
}

/* The built-in set is the one of the project's coefficients. */
static void built_in_is_the_published_set(void **state)
{
  const char *path = shared_file("data/engine_model/coefficients.json");
  struct sim_model built_in, m;
  (void)state;
  sim_model_default(&built_in);
  assert_int_equal(sim_model_load(&m, path, SIM_MODEL_DEFAULT, NULL), 0);
  assert_same(&m, &built_in);
  assert_int_equal(sim_model_load(&m, path, "gpt-oss-120b_h200_tp1_prefill_only", NULL), LLMD_E_MISSING);
}

static void prefill_in_chunks(void **state)
{
  struct sim_model m;
  (void)state;
  sim_model_default(&m);
  assert_true(sim_model_prefill(&m, 100, 100) == 0);
  assert_true(fabs(sim_model_prefill(&m, 0, 7200) - 0.405) < 0.0005);
  assert_true(fabs(sim_model_prefill(&m, 6000, 7200) - 0.085) < 0.0005);
  assert_true(fabs(sim_model_prefill(&m, 0, 16384) - sim_model_prefill(&m, 0, 8192) -
                   sim_model_prefill(&m, 8192, 16384)) < 1e-12);
}

static void histogram_quantiles(void **state)
{
  struct sim_histogram *h = calloc(2, sizeof *h);
  (void)state;
  assert_non_null(h);
  assert_true(sim_histogram_mean(h) == 0 && sim_histogram_quantile(h, 0.5) == 0);
  for (int i = 1; i <= 10000; i++)
    sim_histogram_add(h, i * 1e-4, 1);
  assert_true(fabs(sim_histogram_mean(h) - 0.50005) < 1e-9);
  for (int i = 1; i < 100; i++)
    assert_true(fabs(sim_histogram_quantile(h, i / 100.0) / (i / 100.0) - 1) < 0.01);
  assert_true(sim_histogram_quantile(h, 0) == 1e-4 && sim_histogram_quantile(h, 1) <= 1);
  sim_histogram_add(h, 0, 0);
  assert_int_equal(h->count, 10000);
  sim_histogram_add(h + 1, 0, 3);
  sim_histogram_add(h + 1, 1e9, 1);
  sim_histogram_add(h + 1, -1, 1);
  sim_histogram_merge(h, h + 1);
  assert_int_equal(h->count, 10005);
  assert_true(h->min == 0 && h->max == 1e9);
  free(h);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_file_of_sets),
    cmocka_unit_test(bad_files),
    cmocka_unit_test(built_in_is_the_published_set),
    cmocka_unit_test(prefill_in_chunks),
    cmocka_unit_test(histogram_quantiles),
  };
  return cmocka_run_group_tests_name("sim/model", tests, NULL, NULL);
}
