/* hello: llm-d's configuration and a real OpenAI request in, an endpoint and the reasons out.
 *
 *   hello policy.yaml pool.yaml chat.json */
#include <stdio.h>
#include <stdlib.h>

#include <llmd/llmd.h>

struct text {
  char bytes[65536];
  size_t len;
};

static void read_file(const char *path, struct text *out)
{
  FILE *file = fopen(path, "rb");
  out->len = file ? fread(out->bytes, 1, sizeof out->bytes, file) : 0;
  if (!file || fclose(file)) {
    perror(path);
    exit(1);
  }
}

static void must(int rc, const llmd_err *err)
{
  if (rc >= 0)
    return;
  fprintf(stderr, "hello: line %u: %s %s\n", err->line, err->path, err->text[0] ? err->text : llmd_strerror(rc));
  exit(1);
}

static int print(void *file, const char *ptr, size_t len)
{
  return fwrite(ptr, 1, len, file) != len;
}

/* The endpoints, and what their engines say about themselves. */
static void fill_pool(llmd_pool *pool, const struct text *endpoints, const llmd_now *now, llmd_err *err)
{
  static const char busy[] = "vllm:num_requests_waiting 3\nvllm:kv_cache_usage_perc 0.8\n";
  static const char idle[] = "vllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.1\n";
  must(llmd_pool_load(pool, endpoints->bytes, endpoints->len, err), err);
  must(llmd_pool_scrape(pool, llmd_pool_find(pool, "default/alpha", 13), busy, sizeof busy - 1, now->mono), err);
  must(llmd_pool_scrape(pool, llmd_pool_find(pool, "default/beta", 12), idle, sizeof idle - 1, now->mono), err);
  must(llmd_pool_publish(pool, now), err);
}

int main(int argc, char **argv)
{
  static struct text policy, endpoints, body;
  llmd_scheduler_options options = {.size = sizeof options, .explain = 1};
  llmd_decision decision = {.size = sizeof decision};
  llmd_now now = {1000000000, 0}; /* the host's clock; the library has none */
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *memory;
  if (argc != 4)
    return fprintf(stderr, "usage: hello POLICY POOL BODY\n"), 2;
  read_file(argv[1], &policy);
  read_file(argv[2], &endpoints);
  read_file(argv[3], &body);

  must(llmd_pool_open(NULL, &pool, &err), &err);
  fill_pool(pool, &endpoints, &now, &err);
  must(llmd_scheduler_create(&options, pool, policy.bytes, policy.len, &scheduler, &err), &err);
  must(llmd_lane_create(scheduler, LLMD_LANE_WRITER, &lane), &err);
  memory = malloc(llmd_request_size(NULL));
  must(llmd_request_init(memory, llmd_request_size(NULL), NULL, &request), &err);
  must(llmd_request_line(request, "POST", 4, "/v1/chat/completions", 20), &err);
  must(llmd_request_feed(request, body.bytes, body.len, LLMD_FEED_KEEP | LLMD_FEED_FINAL), &err);
  must(llmd_decide(lane, request, &now, 1, &decision), &err);
  must(llmd_explain_table(lane, print, stdout), &err);

  llmd_lane_free(lane);
  llmd_scheduler_free(scheduler);
  llmd_pool_close(pool);
  free(memory);
  return decision.status == LLMD_ROUTED ? 0 : 1;
}
