/* Short hands for tests of scorers and filters on the bench: columns in, scores or kept positions out. */
#ifndef TESTS_PLUGINS_EXPECT_H
#define TESTS_PLUGINS_EXPECT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness.h"

#define COUNT(type, ...) (sizeof((type[]){__VA_ARGS__}) / sizeof(type))
#define FILL(b, name, ...) \
  bench_fill(b, LLMD_READ_F64, name, COUNT(double, __VA_ARGS__), (const double[]){__VA_ARGS__})
#define FILL_KIND(b, kind, name, ...) \
  bench_fill(b, kind, name, COUNT(double, __VA_ARGS__), (const double[]){__VA_ARGS__})
#define FILL_IDS(b, kind, name, ...) \
  bench_fill_ids(b, kind, name, COUNT(const char *, __VA_ARGS__), (const char *const[]){__VA_ARGS__})
#define SCORES(b, mode, ...) \
  expect_scores(b, mode, COUNT(double, __VA_ARGS__), (const double[]){__VA_ARGS__}, __LINE__)
#define KEEPS(b, mode, ...) \
  expect_kept(b, mode, COUNT(uint32_t, __VA_ARGS__), (const uint32_t[]){__VA_ARGS__}, __LINE__)
#define KEEPS_NONE(b, mode) expect_kept(b, mode, 0, NULL, __LINE__)

static inline void expect_near(const char *what, uint32_t i, double got, double want, int line)
{
  if (!(fabs(got - want) <= 1e-9) && !(got != got && want != want))
    fail_msg("line %d, %s: [%u] is %.12g, expected %.12g", line, what, (unsigned)i, got, want);
}

static inline void expect_scores(bench *b, uint32_t mode, uint32_t n, const double *want, int line)
{
  double got[BENCH_MOST];
  uint32_t i;
  assert_int_equal(n, b->n);
  for (i = 0; i < n; i++)
    got[i] = 77; /* must be overwritten */
  bench_score(b, mode, got);
  for (i = 0; i < n; i++)
    expect_near(b->plugin->type, i, got[i], want[i], line);
}

static inline void expect_kept(bench *b, uint32_t mode, uint32_t n, const uint32_t *want, int line)
{
  uint32_t got[BENCH_MOST], i, kept = bench_filter(b, mode, got);
  if (kept != n)
    fail_msg("line %d, %s: %u kept, expected %u", line, b->plugin->type, (unsigned)kept, (unsigned)n);
  for (i = 0; i < n; i++)
    if (got[i] != want[i])
      fail_msg("line %d, %s: [%u] is %u, expected %u", line, b->plugin->type, (unsigned)i, (unsigned)got[i],
               (unsigned)want[i]);
}

/* validate refuses, and says where and why. */
static inline void expect_refused(bench *b, int code, const char *path)
{
  assert_int_equal(bench_validate(b), code);
  assert_string_equal(b->err.path, path);
  assert_true(b->err.text[0] != 0);
}

#endif
