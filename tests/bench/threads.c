/* Deciding beside others: a reader's tail beside a writer that updates 1,000 endpoints 20 times a second, and what a
 * second deciding thread adds. Times of the reader are CPU time of its thread, so that a busy machine does not count.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "cluster.h"

#define SAMPLES 20000u

static atomic_int stop;

static double cpu_now(void)
{
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void nap(long ns)
{
  struct timespec t = {0, ns};
  nanosleep(&t, NULL);
}

static void *writer(void *ud)
{
  cluster *c = ud;
  for (uint32_t turn = 1; !atomic_load(&stop); turn++) {
    llmd_now now = {1000000 + turn, 0};
    for (uint32_t i = 0; i < c->n; i++)
      cluster_metrics(c, i, turn);
    llmd_pool_publish(c->pool, &now);
    llmd_pool_tick(c->pool, &now, NULL);
    nap(50000000);
  }
  return NULL;
}

static double p99(cluster *c)
{
  double *t = malloc(SAMPLES * sizeof *t), v;
  for (uint32_t i = 0; i < SAMPLES; i++) {
    double start = cpu_now();
    cluster_decide(c);
    t[i] = cpu_now() - start;
  }
  bench_median(t, SAMPLES);
  v = t[SAMPLES * 99 / 100];
  free(t);
  return v;
}

static void beside_writer(void)
{
  cluster c;
  pthread_t w;
  double alone, beside;
  cluster_open(&c, 1000, NULL, 0);
  cluster_body(&c, 1200, 1);
  cluster_feed(&c);
  p99(&c);
  alone = p99(&c);
  atomic_store(&stop, 0);
  pthread_create(&w, NULL, writer, &c);
  beside = p99(&c);
  atomic_store(&stop, 1);
  pthread_join(w, NULL);
  bench_row("reader p99 alone, 1,000 endpoints", alone / 1e3, "us");
  bench_row("reader p99 beside a writer at 20 Hz", beside / 1e3, "us");
  bench_row("reader p99 beside a writer, ratio", beside / alone, "x");
  cluster_close(&c);
}

typedef struct decider {
  cluster *c;
  llmd_lane *lane;
  llmd_request *request;
  uint64_t seed; /* each thread has seeds of its own */
  unsigned long done;
} decider;

static void *decide_on(void *ud)
{
  decider *d = ud;
  llmd_decision *out = calloc(1, sizeof *out);
  out->size = sizeof *out;
  for (uint64_t seed = d->seed; !atomic_load_explicit(&stop, memory_order_relaxed); seed++) {
    llmd_decide(d->lane, d->request, &d->c->now, seed, out);
    d->done++;
  }
  free(out);
  return NULL;
}

static double rate(cluster *c, unsigned threads)
{
  decider d[2];
  pthread_t t[2];
  void *mem[2];
  double start, sum = 0;
  atomic_store(&stop, 0);
  memset(d, 0, sizeof d);
  for (unsigned i = 0; i < threads; i++) {
    d[i].c = c;
    d[i].seed = (uint64_t)i << 32;
    mem[i] = malloc(llmd_request_size(NULL));
    llmd_lane_create(c->scheduler, 0, &d[i].lane);
    llmd_request_init(mem[i], llmd_request_size(NULL), NULL, &d[i].request);
    llmd_request_line(d[i].request, "POST", 4, "/v1/chat/completions", 20);
    llmd_request_feed(d[i].request, c->body, c->body_len, LLMD_FEED_FINAL);
  }
  start = bench_now();
  for (unsigned i = 0; i < threads; i++)
    pthread_create(&t[i], NULL, decide_on, &d[i]);
  nap(700000000);
  atomic_store(&stop, 1);
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(t[i], NULL);
    sum += (double)d[i].done;
    llmd_lane_free(d[i].lane);
    free(mem[i]);
  }
  return sum / (bench_now() - start) * 1e9;
}

/* equal: all endpoints are alike, so that decisions spread over them as they do in a balanced pool. Else one endpoint is
 * the best all the time, and every thread charges that one: the worst case for the ledger's counters. */
static void two_threads(int equal)
{
  double one[3], two[3], a, b;
  cluster c;
  cluster_open(&c, 100, NULL, 0);
  for (uint32_t i = 0; equal && i < c.n; i++) {
    llmd_pool_set(c.pool, c.id[i], LLMD_ATTR_WAITING, 1);
    llmd_pool_set(c.pool, c.id[i], LLMD_ATTR_KV_USAGE, 0.5);
  }
  llmd_pool_publish(c.pool, &c.now);
  cluster_body(&c, 1200, 1);
  for (int i = 0; i < 3; i++) {
    one[i] = rate(&c, 1);
    two[i] = rate(&c, 2);
  }
  a = bench_median(one, 3);
  b = bench_median(two, 3);
  bench_row(equal ? "decisions a second, one thread, equal endpoints" : "decisions a second, one thread, one best", a, "1/s");
  bench_row(equal ? "decisions a second, two threads" : "decisions a second, two threads, one best", b, "1/s");
  bench_row(equal ? "two threads, ratio" : "two threads, one best, ratio", b / a, "x");
  cluster_close(&c);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  beside_writer();
  two_threads(1);
  two_threads(0);
  return 0;
}
