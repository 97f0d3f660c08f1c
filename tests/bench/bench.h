/* What the programs of tests/bench share: a clock, a median, a row.
 *
 *     int main(int argc, char **argv)
 *     {
 *       bench_start(argc, argv);                                  --json: rows as JSON, one a line
 *       bench_row("decide, 100 endpoints", bench_time(run, &state, 1000) / 1e3, "us");
 *     }
 *
 * Nothing here judges: a bench prints and never fails on time. */
#ifndef LLMD_TESTS_BENCH_H
#define LLMD_TESTS_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_REPEATS 31

static int bench_json;

static inline void bench_start(int argc, char **argv)
{
  for (int i = 1; i < argc; i++)
    bench_json |= strcmp(argv[i], "--json") == 0;
}

/* Monotonic nanoseconds. */
static inline double bench_now(void)
{
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts v. */
static inline double bench_median(double *v, size_t n)
{
  qsort(v, n, sizeof *v, bench_compare);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Nanoseconds of one call of run: the median of BENCH_REPEATS rounds of `calls` calls each, after one round to warm
 * up. */
static inline double bench_time(void (*run)(void *ud), void *ud, unsigned calls)
{
  double rounds[BENCH_REPEATS];
  for (int r = -1; r < BENCH_REPEATS; r++) {
    const double start = bench_now();
    for (unsigned i = 0; i < calls; i++)
      run(ud);
    if (r >= 0)
      rounds[r] = (bench_now() - start) / calls;
  }
  return bench_median(rounds, BENCH_REPEATS);
}

/* name and unit stand in quotes as they are: no quotes or backslashes in them. */
static inline void bench_row(const char *name, double value, const char *unit)
{
  if (bench_json)
    printf("{\"row\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
  else
    printf("%-56s %12.6g %s\n", name, value, unit);
  fflush(stdout);
}

#endif
