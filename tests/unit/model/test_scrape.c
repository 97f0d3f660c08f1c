#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model/scrape.h"

#ifndef LLMD_SHARED_DEFAULT
#define LLMD_SHARED_DEFAULT "../shared"
#endif

static llmd__scrape_result result;

static int scrape(const char *engine, const char *page)
{
  const llmd__engine_spec *e = llmd__engine_find(engine, strlen(engine));
  assert_non_null(e);
  memset(&result, 0xa5, sizeof result);
  return llmd__scrape(e, page, strlen(page), &result);
}

static void assert_names(const llmd__lora_names *got, uint32_t n, const char *const *expected)
{
  assert_int_equal(got->n, n);
  for (uint32_t i = 0; i < n; i++)
    if (got->name[i].len != strlen(expected[i]) || memcmp(got->name[i].ptr, expected[i], got->name[i].len) != 0)
      fail_msg("'%.*s' instead of '%s'", (int)got->name[i].len, got->name[i].ptr, expected[i]);
}

static void reads_a_vllm_page(void **state)
{
  (void)state;
  assert_int_equal(scrape("vllm", "# TYPE vllm:num_requests_running gauge\n"
                                  "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 7.0\n"
                                  "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 4.0\n"
                                  "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9.0\n"
                                  "vllm:kv_cache_usage_perc{engine=\"0\"} 0.2947368421052632\n"
                                  "vllm:cache_config_info{block_size=\"32\",num_cpu_blocks=\"None\","
                                  "num_gpu_blocks=\"96\"} 1.0\n"),
                   5);
  assert_true(result.running == 7);
  assert_true(result.waiting == 4);
  assert_true(result.kv_usage == 0.2947368421052632);
  assert_true(result.block_size == 32);
  assert_true(result.num_blocks == 96);
  assert_true(isnan(result.max_lora));
  assert_true(isnan(result.custom[0]) && isnan(result.custom[LLMD__CUSTOM_MAX - 1]));
  assert_int_equal(result.lora_found, 0);
  assert_int_equal(result.running_lora.n, 0);
  assert_int_equal(result.bad_sample, 0);
  assert_int_equal(result.samples, 4);
  assert_int_equal(result.lines_refused, 0);
}

static void reads_how_blocks_are_named(void **state)
{
  (void)state;
#define NAMED(algo) "vllm:cache_config_info{block_size=\"16\",prefix_caching_hash_algo=\"" algo "\"} 1\n"
  assert_int_equal(scrape("vllm", NAMED("xxhash")), 2);
  assert_true(result.hash_algo.len == 6 && !memcmp(result.hash_algo.ptr, "xxhash", 6));
  assert_int_equal(scrape("vllm", NAMED("a\\\"b")), 2);
  assert_true(result.hash_algo.len == 3 && !memcmp(result.hash_algo.ptr, "a\"b", 3));
  assert_int_equal(scrape("vllm", NAMED("")), 1);
  assert_int_equal(scrape("vllm", NAMED("None")), 1);
  assert_int_equal(result.hash_algo.len, 0);
  assert_int_equal(result.values_refused, 0);
  assert_int_equal(scrape("vllm", NAMED("sixty-five bytes is more than any name has had until now, so no.x")), 1);
  assert_int_equal(result.values_refused, 1);
  assert_int_equal(scrape("sglang", "sglang:cache_config_info{page_size=\"64\",prefix_caching_hash_algo=\"x\"} 1\n"), 1);
#undef NAMED
}

static void reads_the_other_engines(void **state)
{
  (void)state;
  assert_int_equal(scrape("sglang", "sglang:num_queue_reqs 3\nsglang:num_running_reqs 2\nsglang:token_usage 0.5\n"
                                    "sglang:cache_config_info{page_size=\"64\",num_pages=\"1000\",block_size=\"1\"}"
                                    " 1\n"),
                   5);
  assert_true(result.waiting == 3 && result.running == 2 && result.kv_usage == 0.5);
  assert_true(result.block_size == 64 && result.num_blocks == 1000);
  assert_int_equal(scrape("triton-tensorrt-llm", "nv_trt_llm_request_metrics{request_type=\"context\"} 1\n"
                                                 "nv_trt_llm_request_metrics{request_type=\"waiting\"} 5\n"
                                                 "nv_trt_llm_request_metrics{request_type=\"scheduled\"} 6\n"
                                                 "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 700\n"
                                                 "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"}"
                                                 " 128\n"),
                   4);
  assert_true(result.waiting == 5 && result.running == 6 && isnan(result.kv_usage));
  assert_true(result.block_size == 128 && result.num_blocks == 700);
  assert_int_equal(scrape("vllm", "sglang:num_queue_reqs 3\n"), 0);
  assert_int_equal(scrape("vllm", ""), 0);
}

static void newest_timestamp_wins_else_the_first(void **state)
{
  (void)state;
  scrape("vllm", "vllm:num_requests_waiting{e=\"0\"} 1\nvllm:num_requests_waiting{e=\"1\"} 2\n");
  assert_true(result.waiting == 1);
  scrape("vllm", "vllm:num_requests_waiting{e=\"0\"} 1 1000\nvllm:num_requests_waiting{e=\"1\"} 2 2000\n"
                 "vllm:num_requests_waiting{e=\"2\"} 3 2000\nvllm:num_requests_waiting{e=\"3\"} 4 500\n");
  assert_true(result.waiting == 2);
  scrape("vllm", "vllm:num_requests_waiting{e=\"0\"} 1\nvllm:num_requests_waiting{e=\"1\"} 2 1\n");
  assert_true(result.waiting == 2);
  assert_int_equal(scrape("vllm", "vllm:num_requests_waiting 1 -1000\n"), 0);
}

static void bad_numbers_are_refused(void **state)
{
  static const char *bad[] = {"NaN", "+Inf", "-Inf", "-1", "-0.001"};
  char page[256];
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(page, sizeof page, "vllm:num_requests_waiting %s\nvllm:num_requests_running 1\n", bad[i]);
    assert_int_equal(scrape("vllm", page), 1);
    assert_true(isnan(result.waiting));
    assert_int_equal(result.values_refused, 1);
    assert_int_equal(result.bad_sample, 1);
  }
  /* The newest speaks, even when what it says is refused: an old number is no better. */
  assert_int_equal(scrape("vllm", "vllm:num_requests_waiting 3 1\nvllm:num_requests_waiting NaN 2\n"), 0);
}

static void numbers_are_brought_into_range(void **state)
{
  (void)state;
  scrape("vllm", "vllm:num_requests_waiting 1e300\nvllm:num_requests_running 2.9\nvllm:kv_cache_usage_perc 1.01\n");
  assert_true(result.waiting == 2147483647.0);
  assert_true(result.running == 2);
  assert_true(result.kv_usage == 1);
  assert_int_equal(result.bad_sample, 0);
  scrape("vllm", "vllm:num_requests_waiting -0\nvllm:kv_cache_usage_perc 29.5\n");
  assert_true(result.waiting == 0 && !signbit(result.waiting));
  assert_true(isnan(result.kv_usage));
  assert_int_equal(result.values_refused, 1);
}

static void cache_labels_are_numbers_or_unknown(void **state)
{
  (void)state;
  assert_int_equal(scrape("vllm", "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1\n"), 1);
  assert_true(isnan(result.num_blocks));
  assert_int_equal(result.bad_sample, 0);
  assert_int_equal(scrape("vllm", "vllm:cache_config_info{block_size=\"\"} 1\n"), 0);
  assert_int_equal(result.bad_sample, 0);
  assert_int_equal(scrape("vllm", "vllm:cache_config_info{block_size=\"0\",num_gpu_blocks=\"many\"} 1\n"), 0);
  assert_int_equal(result.values_refused, 2);
  assert_int_equal(scrape("vllm", "vllm:cache_config_info{block_size=\"16.0\",num_gpu_blocks=\"-5\"} 1\n"), 0);
  assert_int_equal(result.values_refused, 2);
  assert_int_equal(scrape("vllm", "vllm:cache_config_info{num_gpu_blocks=\"99999999999\"} 1\n"), 0);
  assert_int_equal(result.values_refused, 1);
}

static void the_adapter_series_of_the_largest_value_counts(void **state)
{
  static const char *const newest[] = {"b", "c d"}, *const waiting[] = {"e"};
  (void)state;
  assert_int_equal(
      scrape("vllm", "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"a\","
                     "waiting_lora_adapters=\"\"} 5\n"
                     "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\" b,,c d ,b\","
                     "waiting_lora_adapters=\"e,\"} 1.7e9\n"
                     "vllm:lora_requests_info{max_lora=\"8\",running_lora_adapters=\"z\"} 1.6e9 99999\n"),
      2);
  assert_int_equal(result.lora_found, 1);
  assert_true(result.max_lora == 4);
  assert_names(&result.running_lora, 2, newest);
  assert_names(&result.waiting_lora, 1, waiting);
}

static void an_absurd_adapter_time_does_not_win(void **state)
{
  static const char *const sane[] = {"a"};
  (void)state;
  scrape("vllm", "vllm:lora_requests_info{running_lora_adapters=\"x\"} +Inf\n"
                 "vllm:lora_requests_info{running_lora_adapters=\"y\"} NaN\n"
                 "vllm:lora_requests_info{running_lora_adapters=\"a\"} 1.7e9\n");
  assert_names(&result.running_lora, 1, sane);
  assert_int_equal(result.values_refused, 2);
  assert_true(isnan(result.max_lora));
}

static void no_adapters_is_an_answer(void **state)
{
  (void)state;
  assert_int_equal(scrape("vllm", "vllm:lora_requests_info{other=\"value\"} 5\n"), 1);
  assert_int_equal(result.lora_found, 1);
  assert_int_equal(result.running_lora.n, 0);
  assert_int_equal(result.waiting_lora.n, 0);
}

static void adapter_names_lose_their_escapes(void **state)
{
  static const char *const names[] = {"a\"b", "c\\d"}, *const other[] = {"\"w\""};
  (void)state;
  scrape("vllm", "vllm:lora_requests_info{running_lora_adapters=\"a\\\"b,c\\\\d\","
                 "waiting_lora_adapters=\"\\\"w\\\"\"} 5\n");
  assert_names(&result.running_lora, 2, names);
  assert_names(&result.waiting_lora, 1, other);
}

/* n names, each one with `pad` bytes behind its number. */
static void adapter_page(char *page, int n, const char *pad)
{
  page += sprintf(page, "vllm:lora_requests_info{running_lora_adapters=\"");
  for (int i = 0; i < n; i++)
    page += sprintf(page, "n%d%s,", i, pad);
  sprintf(page, "\"} 1\n");
}

static void adapter_names_are_bounded(void **state)
{
  static char page[8192];
  (void)state;
  adapter_page(page, LLMD__LORA_MAX + 3, "");
  scrape("vllm", page);
  assert_int_equal(result.running_lora.n, LLMD__LORA_MAX);
  assert_int_equal(result.running_lora.dropped, 3);
  adapter_page(page, 60, "\\\\pppppppppppppppppppppppppppppppp");
  scrape("vllm", page);
  assert_int_equal(result.running_lora.n, 0);
  assert_int_equal(result.values_refused, 1);
}

static void reads_custom_metrics(void **state)
{
  llmd__metric_spec custom[3];
  llmd__engine_spec e;
  const char *page = "temp{gpu=\"0\"} 40\ntemp{gpu=\"1\"} 60.5\nbroken NaN\n";
  (void)state;
  memset(&e, 0, sizeof e);
  assert_int_equal(llmd__metric_spec_parse("temp{gpu=1}", 11, &custom[0]), 0);
  assert_int_equal(llmd__metric_spec_parse("temp", 4, &custom[1]), 0);
  assert_int_equal(llmd__metric_spec_parse("broken", 6, &custom[2]), 0);
  e.custom = custom;
  e.n_custom = 3;
  assert_int_equal(llmd__scrape(&e, page, strlen(page), &result), 2);
  assert_true(result.custom[0] == 60.5);
  assert_true(result.custom[1] == 40);
  assert_true(isnan(result.custom[2]));
  assert_int_equal(result.values_refused, 1);
}

static void an_engine_without_specifications_reads_nothing(void **state)
{
  llmd__engine_spec e;
  (void)state;
  memset(&e, 0, sizeof e);
  assert_int_equal(llmd__scrape(&e, "a 1\nb {\n", 8, &result), 0);
  assert_int_equal(result.samples, 0);
}

static void refused_lines_are_reported(void **state)
{
  (void)state;
  assert_int_equal(scrape("vllm", "a 1\nvllm:num_requests_waiting{x} 1\nvllm:num_requests_running 1\n"
                                  "vllm:kv_cache_usage_perc 0.1"),
                   1);
  assert_int_equal(result.lines_refused, 2);
  assert_int_equal(result.first_refused, 4);
  assert_true(isnan(result.kv_usage));
}

/* ==== recorded pages, where they are at hand ==== */

static size_t load(const char *folder, const char *name, char *out, size_t cap)
{
  const char *shared = getenv("LLMD_SHARED");
  char path[1024];
  FILE *f;
  size_t n;
  snprintf(path, sizeof path, "%s/data/vllm/%s/%s", shared && *shared ? shared : LLMD_SHARED_DEFAULT, folder, name);
  f = fopen(path, "rb");
  if (!f)
    return 0;
  n = fread(out, 1, cap, f);
  fclose(f);
  return n;
}

static void real_pages_are_read_without_a_refusal(void **state)
{
  static const struct {
    const char *folder, *name;
    double waiting, running, kv_usage;
  } pages[] = {{"sha256_cbor_seed0", "metrics_idle.txt", 0, 0, 0},
               {"sha256_cbor_seed0", "metrics_load.txt", 4, 4, 0.231578947368421},
               {"sha256_noseed_bytes", "metrics_load.txt", 4, 7, 0.2947368421052632},
               {"sha256_noseed_bytes", "metrics_after.txt", 0, 0, 0}};
  static char page[1 << 20];
  (void)state;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    const size_t n = load(pages[i].folder, pages[i].name, page, sizeof page);
    llmd__exposition x;
    llmd__sample s;
    if (n == 0) {
      print_message("skipped: needs the recorded pages (LLMD_SHARED)\n");
      skip();
    }
    assert_int_equal(llmd__scrape(llmd__engine_find("vllm", 4), page, n, &result), 6);
    assert_true(result.hash_algo.len == (strstr(pages[i].folder, "cbor") ? 11u : 6u));
    assert_true(result.waiting == pages[i].waiting && result.running == pages[i].running);
    assert_true(fabs(result.kv_usage - pages[i].kv_usage) < 1e-12);
    assert_true(result.block_size == 32 && result.num_blocks == 96);
    assert_int_equal(result.lines_refused + result.values_refused, 0);
    llmd__exposition_init(&x, page, n, NULL, 0);
    while (llmd__exposition_next(&x, &s) > 0)
      assert_true(s.name.len > 0);
    assert_true(x.samples > 400);
    assert_int_equal(x.refused, 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(reads_a_vllm_page),
                                     cmocka_unit_test(reads_how_blocks_are_named), cmocka_unit_test(reads_the_other_engines),
                                     cmocka_unit_test(newest_timestamp_wins_else_the_first),
                                     cmocka_unit_test(bad_numbers_are_refused),
                                     cmocka_unit_test(numbers_are_brought_into_range),
                                     cmocka_unit_test(cache_labels_are_numbers_or_unknown),
                                     cmocka_unit_test(the_adapter_series_of_the_largest_value_counts),
                                     cmocka_unit_test(an_absurd_adapter_time_does_not_win),
                                     cmocka_unit_test(no_adapters_is_an_answer),
                                     cmocka_unit_test(adapter_names_lose_their_escapes),
                                     cmocka_unit_test(adapter_names_are_bounded),
                                     cmocka_unit_test(reads_custom_metrics),
                                     cmocka_unit_test(an_engine_without_specifications_reads_nothing),
                                     cmocka_unit_test(refused_lines_are_reported),
                                     cmocka_unit_test(real_pages_are_read_without_a_refusal)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
