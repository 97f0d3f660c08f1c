/* What it costs to keep the metrics of a large pool fresh: the scraper alone, engines in a process of their own; and
 * what a process that decides on the same region feels of it.
 *
 *     bench_agent_metrics [--json] [--endpoints N] [--hz N] [--seconds N] [--page FILE]
 *
 * Engines are listeners on loopback that answer each GET with the same page: a recording of vLLM when there is one
 * ($LLMD_SHARED/data/vllm), else one made up in its likeness, padded or repeated to 60 KB either way. CPU time is that of
 * this process (user and system, the kernel's side of its sockets included); the engines' own is not counted. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <llmd/uv.h>

#include "decider.h"

#define PAGE_BYTES 60000u

typedef struct options {
  unsigned endpoints, hz, seconds;
  const char *page;
} options;

typedef struct page {
  char *text; /* with its head */
  size_t len;
} page;

static void die(const char *what)
{
  fprintf(stderr, "agent_metrics: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *len)
{
  FILE *f = fopen(path, "rb");
  char *p = malloc(1 << 20);
  if (!f || !p) {
    free(p);
    if (f)
      fclose(f);
    return NULL;
  }
  *len = fread(p, 1, 1 << 20, f);
  fclose(f);
  return p;
}

static char *recorded(const options *o, size_t *len)
{
  const char *shared = getenv("LLMD_SHARED");
  char path[1024];
  if (o->page)
    return read_file(o->page, len);
  if (!shared)
    return NULL;
  snprintf(path, sizeof path, "%s/data/vllm/sha256_cbor_seed0/metrics_load.txt", shared);
  return read_file(path, len);
}

static char *made_up(size_t *len)
{
  char *p = malloc(2 * PAGE_BYTES);
  int n;
  if (!p)
    die("memory");
  n = sprintf(p, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n"
                 "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 1.0\n"
                 "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n"
                 "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"8192\"} 1.0\n");
  *len = (size_t)n;
  return p;
}

/* Filled to PAGE_BYTES with histogram lines, which is what real pages are mostly made of. */
static page make_page(const options *o)
{
  page out;
  size_t len = 0;
  char *text = recorded(o, &len);
  const int is_recorded = text != NULL;
  if (!text)
    text = made_up(&len);
  text = realloc(text, len + PAGE_BYTES + 256);
  out.text = malloc(len + PAGE_BYTES + 512);
  if (!text || !out.text)
    die("memory");
  for (unsigned i = 0; len < PAGE_BYTES; i++)
    len += (size_t)sprintf(text + len,
                           "vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"%u.0\",model_name=\"m\"} %u.0\n",
                           i, 3 * i);
  out.len = (size_t)sprintf(out.text, "HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2000 00:00:00 GMT\r\nserver: uvicorn\r\n"
                                      "content-length: %zu\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\r\n",
                            len);
  memcpy(out.text + out.len, text, len);
  out.len += len;
  free(text);
  bench_row(is_recorded ? "a recorded page" : "a page made up", (double)len, "bytes");
  return out;
}

/* ---- engines, in a process of their own -------------------------------------------------------------------------- */

static int listen_any(unsigned *port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 8) || getsockname(fd, (struct sockaddr *)&a, &len))
    die("listen");
  *port = ntohs(a.sin_port);
  return fd;
}

static void watch(int ep, int fd, uint64_t is_listener)
{
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)(unsigned)fd | is_listener << 32};
  if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
    die("epoll");
}

/* The whole request comes in one piece: it is short, and nothing is asked before the answer is read. */
static void answer(int fd, const page *p)
{
  char in[4096];
  const ssize_t n = read(fd, in, sizeof in);
  if (n <= 0) {
    close(fd);
    return;
  }
  for (size_t at = 0; at < p->len;) {
    const ssize_t wrote = send(fd, p->text + at, p->len - at, MSG_NOSIGNAL);
    if (wrote <= 0) {
      close(fd);
      return;
    }
    at += (size_t)wrote;
  }
}

static void serve(const int *fds, unsigned n, const page *p)
{
  const int ep = epoll_create1(0);
  struct epoll_event e[64];
  for (unsigned i = 0; i < n; i++)
    watch(ep, fds[i], 1);
  for (;;) {
    const int got = epoll_wait(ep, e, 64, -1);
    for (int i = 0; i < got; i++) {
      const int fd = (int)(uint32_t)e[i].data.u64;
      if (!(e[i].data.u64 >> 32)) {
        answer(fd, p);
        continue;
      }
      const int client = accept(fd, NULL, NULL);
      if (client >= 0)
        watch(ep, client, 0);
    }
  }
}

/* ---- the pool and the scraper ------------------------------------------------------------------------------------ */

typedef struct bench {
  options o;
  uv_loop_t loop;
  uv_timer_t publish, phase;
  void *region;
  size_t region_len;
  llmd_pool *pool;
  decider decider;
  decider_figures alone;
  llmd_scraper *scraper;
  llmd_scraper_stats at;
  struct rusage used;
  double begun;
  unsigned phases;
} bench;

static void must(int rc, const char *what)
{
  if (rc >= 0)
    return;
  fprintf(stderr, "agent_metrics: %s: %s\n", what, llmd_strerror(rc));
  exit(1);
}

static void make_pool(bench *b, const unsigned *ports, unsigned n)
{
  const llmd_region_options region = {.size = sizeof region, .max_endpoints = n + 8, .max_lanes = 2, .zeroed = 1};
  llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .owner = 1};
  llmd_pool *pool;
  llmd_now now;
  b->region_len = o.mem_len = llmd_region_size(&region);
  b->region = o.mem = mmap(NULL, o.mem_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (o.mem == MAP_FAILED)
    die("memory");
  must(llmd_region_format(o.mem, o.mem_len, &region), "region");
  must(llmd_pool_open(&o, &pool, NULL), "pool");
  for (unsigned i = 0; i < n; i++) {
    const llmd_endpoint e = {.size = sizeof e, .address = {"127.0.0.1", 9}, .port = ports[i]};
    llmd_endpoint_id id;
    must(llmd_pool_add(pool, &e, &id), "add");
  }
  llmd_clock(&now);
  must(llmd_pool_publish(pool, &now), "publish");
  b->pool = pool;
}

static void on_publish(uv_timer_t *t)
{
  bench *b = t->data;
  llmd_now now;
  uint64_t next;
  llmd_clock(&now);
  (void)llmd_pool_tick(b->pool, &now, &next);
  (void)llmd_pool_publish(b->pool, &now);
}

static double seconds(const struct timeval *t)
{
  return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void report(const bench *b, const llmd_scraper_stats *s, const struct rusage *used, double took)
{
  const double pages = (double)(s->pages - b->at.pages);
  const double user = seconds(&used->ru_utime) - seconds(&b->used.ru_utime);
  const double sys = seconds(&used->ru_stime) - seconds(&b->used.ru_stime);
  bench_row("endpoints", s->endpoints, "endpoints");
  bench_row("endpoints that are fresh", s->fresh, "endpoints");
  bench_row("pages", pages / took, "1/s");
  bench_row("pages wanted", (double)b->o.endpoints * b->o.hz, "1/s");
  bench_row("no answer, or refused", (double)(s->failed + s->refused - b->at.failed - b->at.refused), "pages");
  bench_row("CPU of 1,000 pages", (user + sys) / pages * 1e3, "s");
  bench_row("of these in the kernel", sys / pages * 1e3, "s");
  bench_row("cores", (user + sys) / took, "cores");
  bench_row("most memory resident", (double)used->ru_maxrss / 1024, "MiB");
}

static void report_decider(const bench *b, const decider_figures *beside)
{
  bench_row("decide, CPU, alone, median", b->alone.median, "us");
  bench_row("decide, CPU, alone, p99", b->alone.p99, "us");
  bench_row("decide, CPU, beside the scraper, median", beside->median, "us");
  bench_row("decide, CPU, beside the scraper, p99", beside->p99, "us");
  bench_row("decide, CPU, beside the scraper, p99, ratio", beside->p99 / b->alone.p99, "x");
}

/* A second to warm up, then the measurement. */
static void on_phase(uv_timer_t *t)
{
  bench *b = t->data;
  llmd_scraper_stats s = {.size = sizeof s};
  struct rusage used;
  must(llmd_scraper_stats_get(b->scraper, &s), "stats");
  (void)getrusage(RUSAGE_SELF, &used);
  if (b->phases++ == 0) {
    b->at = s;
    b->used = used;
    b->begun = bench_now();
    decider_ask(&b->decider);
    (void)uv_timer_start(t, on_phase, b->o.seconds * 1000u, 0);
    return;
  }
  report(b, &s, &used, (bench_now() - b->begun) / 1e9);
  uv_stop(&b->loop);
}

static void on_alone(uv_poll_t *poll, int status, int events)
{
  bench *b = poll->data;
  (void)status;
  (void)events;
  b->alone = decider_answer(&b->decider);
  uv_stop(&b->loop);
}

/* The decider with a writer that publishes and applies what it posts, but scrapes nothing. */
static void run_alone(bench *b)
{
  uv_poll_t answer;
  uv_timer_start(&b->publish, on_publish, 10, 10);
  must(uv_poll_init(&b->loop, &answer, b->decider.tell), "poll");
  answer.data = b;
  uv_poll_start(&answer, UV_READABLE, on_alone);
  decider_ask(&b->decider); /* to warm up */
  uv_run(&b->loop, UV_RUN_DEFAULT);
  decider_ask(&b->decider);
  uv_run(&b->loop, UV_RUN_DEFAULT);
  uv_close((uv_handle_t *)&answer, NULL);
  uv_run(&b->loop, UV_RUN_NOWAIT);
}

static void run(bench *b)
{
  const llmd_service service = {.size = sizeof service,
                                .metrics = {.enabled = 1, .period_ms = 1000 / b->o.hz, .timeout_ms = 1000,
                                            .connect_ms = 250, .max_bytes = 1 << 20, .stale_ms = 2000,
                                            .unknown_ms = 10000, .parallel = 64, .path = "/metrics",
                                            .models_path = "/v1/models"}};
  const llmd_feeder feeder = {.size = sizeof feeder, .loop = &b->loop, .pool = b->pool, .service = &service};
  llmd_err err = LLMD_ERR_INIT;
  uv_loop_init(&b->loop);
  uv_timer_init(&b->loop, &b->publish);
  uv_timer_init(&b->loop, &b->phase);
  b->publish.data = b->phase.data = b;
  run_alone(b);
  must(llmd_scraper_start(&feeder, &b->scraper, &err), err.text);
  uv_timer_start(&b->phase, on_phase, 1500, 0);
  uv_run(&b->loop, UV_RUN_DEFAULT);
  llmd_scraper_stop(b->scraper, NULL, NULL);
  uv_close((uv_handle_t *)&b->publish, NULL);
  uv_close((uv_handle_t *)&b->phase, NULL);
  uv_run(&b->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&b->loop))
    die("the scraper left handles behind");
}

static options read_options(int argc, char **argv)
{
  options o = {200, 20, 10, NULL};
  bench_start(argc, argv);
  for (int i = 1; i + 1 < argc; i++) {
    const unsigned v = (unsigned)strtoul(argv[i + 1], NULL, 10);
    if (!strcmp(argv[i], "--endpoints"))
      o.endpoints = v;
    else if (!strcmp(argv[i], "--hz"))
      o.hz = v;
    else if (!strcmp(argv[i], "--seconds"))
      o.seconds = v;
    else if (!strcmp(argv[i], "--page"))
      o.page = argv[i + 1];
  }
  if (o.endpoints < 1 || o.endpoints > 900 || o.hz < 1 || o.hz > 1000 || o.seconds < 1) {
    fprintf(stderr, "usage: bench_agent_metrics [--json] [--endpoints 1..900] [--hz 1..1000] [--seconds N] [--page FILE]\n");
    exit(2);
  }
  return o;
}

int main(int argc, char **argv)
{
  static bench b;
  static unsigned ports[900];
  static int fds[900];
  decider_figures beside;
  page p;
  pid_t engines;
  b.o = read_options(argc, argv);
  p = make_page(&b.o);
  for (unsigned i = 0; i < b.o.endpoints; i++)
    fds[i] = listen_any(&ports[i]);
  engines = fork();
  if (engines < 0)
    die("fork");
  if (engines == 0)
    serve(fds, b.o.endpoints, &p);
  for (unsigned i = 0; i < b.o.endpoints; i++)
    close(fds[i]);
  make_pool(&b, ports, b.o.endpoints);
  decider_start(&b.decider, b.region, b.region_len);
  run(&b);
  beside = decider_answer(&b.decider);
  report_decider(&b, &beside);
  decider_stop(&b.decider);
  llmd_pool_close(b.pool);
  munmap(b.region, b.region_len);
  free(p.text);
  kill(engines, SIGKILL);
  waitpid(engines, NULL, 0);
  return 0;
}
