/* How long one metrics page of a vLLM engine takes, from bytes to the numbers of the columns.
 *
 * The page is made here in the shape of a recorded one: a few gauges, then histograms with their buckets (most of it),
 * then the long line of cache settings. With LLMD_SHARED set, a recorded page is measured too. */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <stdarg.h>

#include "model/scrape.h"

#define PAGE_ROOM (1 << 20)
#define PAGE_SIZE 60000
#define LABELS "engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\""

struct page {
  char *text;
  size_t len;
  llmd__scrape_result result;
  uint32_t samples;
};

__attribute__((format(printf, 2, 3))) static void add(struct page *p, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  p->len += (size_t)vsnprintf(p->text + p->len, PAGE_ROOM - p->len, format, args);
  va_end(args);
}

static void add_head(struct page *p, const char *name, const char *type)
{
  add(p, "# HELP vllm:%s What an engine says about its %s.\n", name, name);
  add(p, "# TYPE vllm:%s %s\n", name, type);
}

static void add_gauge(struct page *p, const char *name, double value)
{
  add_head(p, name, "gauge");
  add(p, "vllm:%s{" LABELS "} %.16g\n", name, value);
}

static void add_histogram(struct page *p, int number)
{
  char name[64];
  snprintf(name, sizeof name, "request_phase_%d_time_seconds", number);
  add_head(p, name, "histogram");
  for (int i = 0; i < 20; i++)
    add(p, "vllm:%s_bucket{le=\"%g\"," LABELS "} %d.0\n", name, 0.1 * (1 << i), 100 + i);
  add(p, "vllm:%s_count{" LABELS "} 119.0\n", name);
  add(p, "vllm:%s_sum{" LABELS "} 0.9140491485595703\n", name);
}

static void make_page(struct page *p)
{
  p->len = 0;
  add_gauge(p, "num_requests_running", 17);
  add_gauge(p, "num_requests_waiting", 4);
  add_gauge(p, "engine_sleep_state", 0);
  add_gauge(p, "kv_cache_usage_perc", 0.2947368421052632);
  for (int i = 0; p->len < PAGE_SIZE - 1200; i++)
    add_histogram(p, i);
  add_head(p, "cache_config_info", "gauge");
  add(p, "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",calculate_kv_scales=\"False\","
         "cpu_offload_gb=\"0\",enable_prefix_caching=\"True\",engine=\"0\",gpu_memory_utilization=\"0.92\","
         "is_attention_free=\"False\",kv_cache_memory_bytes=\"None\",mamba_block_size=\"None\","
         "num_cpu_blocks=\"None\",num_gpu_blocks=\"27819\",num_gpu_blocks_override=\"None\","
         "prefix_caching_hash_algo=\"sha256\",sliding_window=\"None\",swap_space=\"4\"} 1.0\n");
}

static int load_page(struct page *p)
{
  const char *shared = getenv("LLMD_SHARED");
  char path[4096];
  FILE *f;
  if (!shared)
    return 0;
  snprintf(path, sizeof path, "%s/data/vllm/sha256_noseed_bytes/metrics_load.txt", shared);
  f = fopen(path, "rb");
  if (!f)
    return 0;
  p->len = fread(p->text, 1, PAGE_ROOM, f);
  fclose(f);
  return p->len > 0;
}

static void scrape_page(void *ud)
{
  struct page *p = ud;
  llmd__scrape(llmd__engine_find("vllm", 4), p->text, p->len, &p->result);
}

static void read_every_sample(void *ud)
{
  struct page *p = ud;
  llmd__exposition x;
  llmd__sample s;
  llmd__exposition_init(&x, p->text, p->len, NULL, 0);
  while (llmd__exposition_next(&x, &s) > 0)
    p->samples++;
}

int main(int argc, char **argv)
{
  struct page p = {.text = malloc(PAGE_ROOM)};
  if (!p.text)
    return 1;
  bench_start(argc, argv);
  make_page(&p);
  bench_row("metrics page 60 KB (vllm)", bench_time(scrape_page, &p, 200) / 1e3, "us");
  bench_row("metrics page 60 KB (vllm), every sample", bench_time(read_every_sample, &p, 50) / 1e3, "us");
  if (load_page(&p))
    bench_row("metrics page 60 KB (vllm, recorded)", bench_time(scrape_page, &p, 200) / 1e3, "us");
  free(p.text);
  return 0;
}
