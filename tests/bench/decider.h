/* A process that decides on a region that another one writes: CPU time of llmd_decide, as often as asked for.
 *
 *   parent ── 'm' ──► decides SAMPLES times, naps in between ──► figures          the pipe's end: it ends */
#ifndef LLMD_TESTS_BENCH_DECIDER_H
#define LLMD_TESTS_BENCH_DECIDER_H

#include <sys/wait.h>
#include <unistd.h>

#include "cluster.h"

#define DECIDER_SAMPLES 5000u
#define DECIDER_NAP_NS 500000

typedef struct decider_figures {
  double median, p99; /* us */
} decider_figures;

typedef struct decider {
  pid_t pid;
  int ask, tell;
} decider;

static inline double decider_cpu(void)
{
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One request from its body to its end; only deciding is timed. */
static inline double decider_once(cluster *c, unsigned salt)
{
  const llmd_usage usage = {.size = sizeof usage};
  double from, took;
  cluster_body(c, 1200, salt % 64);
  cluster_feed(c);
  llmd_clock(&c->now);
  from = decider_cpu();
  cluster_decide(c);
  took = decider_cpu() - from;
  (void)llmd_commit(c->lane, c->request, &c->decision, 0, &c->now);
  (void)llmd_report(c->lane, c->decision.ticket, LLMD_REPORT_END, &usage, &c->now);
  return took;
}

static inline decider_figures decider_measure(cluster *c)
{
  static double took[DECIDER_SAMPLES];
  const struct timespec nap = {0, DECIDER_NAP_NS};
  decider_figures f;
  for (unsigned i = 0; i < DECIDER_SAMPLES; i++) {
    took[i] = decider_once(c, i);
    nanosleep(&nap, NULL);
  }
  f.median = bench_median(took, DECIDER_SAMPLES) / 1e3;
  f.p99 = took[DECIDER_SAMPLES * 99 / 100] / 1e3;
  return f;
}

static inline void decider_attach(cluster *c, void *region, size_t len)
{
  const llmd_pool_options po = {.size = sizeof po, .mem = region, .mem_len = len, .owner = 2};
  const llmd_scheduler_options so = {.size = sizeof so};
  const llmd_request_options qo = {.size = sizeof qo};
  llmd_err err = LLMD_ERR_INIT;
  int rc;
  memset(c, 0, sizeof *c);
  c->decision.size = sizeof c->decision;
  if ((rc = llmd_pool_open(&po, &c->pool, &err)) ||
      (rc = llmd_scheduler_create(&so, c->pool, NULL, 0, &c->scheduler, &err)))
    cluster_die("decider", rc, &err);
  c->mem = malloc(llmd_request_size(&qo));
  if ((rc = llmd_lane_create(c->scheduler, 0, &c->lane)) ||
      (rc = llmd_request_init(c->mem, llmd_request_size(&qo), &qo, &c->request)))
    cluster_die("decider", rc, NULL);
}

/* In the child; does not come back. */
static inline void decider_live(void *region, size_t len, int asked, int tell)
{
  static cluster c;
  char what;
  decider_attach(&c, region, len);
  while (read(asked, &what, 1) == 1) {
    const decider_figures f = decider_measure(&c);
    if (write(tell, &f, sizeof f) != (ssize_t)sizeof f)
      break;
  }
  cluster_close(&c);
  _exit(0);
}

static inline void decider_start(decider *d, void *region, size_t len)
{
  int ask[2], tell[2];
  if (pipe(ask) || pipe(tell) || (d->pid = fork()) < 0) {
    perror("decider");
    exit(1);
  }
  if (d->pid == 0) {
    close(ask[1]);
    close(tell[0]);
    decider_live(region, len, ask[0], tell[1]);
  }
  close(ask[0]);
  close(tell[1]);
  d->ask = ask[1];
  d->tell = tell[0];
}

static inline void decider_ask(const decider *d)
{
  if (write(d->ask, "m", 1) != 1)
    perror("decider");
}

/* Waits for the figures. */
static inline decider_figures decider_answer(const decider *d)
{
  decider_figures f = {0, 0};
  if (read(d->tell, &f, sizeof f) != (ssize_t)sizeof f)
    perror("decider");
  return f;
}

static inline void decider_stop(const decider *d)
{
  close(d->ask);
  close(d->tell);
  waitpid(d->pid, NULL, 0);
}

#endif
