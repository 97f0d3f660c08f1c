/* Writers that change or die, and paths that are short of lines: states made by hand that chance seldom meets. */
#define _GNU_SOURCE 1 /* mmap, sigsetjmp */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "prefix/block.h"
#include "prefix/sets.h"

#define ROWS 60u
#define BYTES (4u << 20)
#define PAGE ((uintptr_t)sysconf(_SC_PAGESIZE))

typedef struct bench {
  void *mem, *scratch;
  size_t len;
  llmd_index *x;
  llmd_hit hit[ROWS];
} bench;

/* What was allocated last, for those who die before they free it. */
static void *from_last(void *ud, void *ptr, size_t osize, size_t nsize)
{
  void **last = ud;
  (void)osize;
  if (nsize != 0)
    return *last = realloc(ptr, nsize);
  free(ptr);
  return NULL;
}

static llmd_index *open_one(void *mem, size_t len, const llmd_allocator *alloc)
{
  llmd_index *x;
  assert_int_equal(llmd_index_open(mem, len, alloc, &x, NULL), 0);
  return x;
}

static void bench_make(bench *b, uint32_t rows)
{
  llmd_index_options o = {.size = sizeof o, .rows = rows, .bytes = BYTES, .seed = 3};
  b->len = llmd_index_size(&o);
  b->mem = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(b->mem != MAP_FAILED);
  assert_int_equal(llmd_index_format(b->mem, b->len, &o), 0);
  b->x = open_one(b->mem, b->len, NULL);
  b->scratch = calloc(1, llmd_index_scratch(b->x));
  assert_non_null(b->scratch);
}

static void bench_free(bench *b)
{
  llmd_index_close(b->x);
  free(b->scratch);
  munmap(b->mem, b->len);
}

static llmd_endpoint_id endpoint(uint32_t slot)
{
  return UINT64_C(1) << 32 | slot;
}

static llmd_key key_of(uint32_t prompt, uint32_t i)
{
  uint64_t z = ((uint64_t)prompt << 32 | i) * UINT64_C(0x9e3779b97f4a7c15) + 1u;
  llmd_key k = {(z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9), (z ^ z >> 31) * UINT64_C(0x94d049bb133111eb)};
  return k;
}

static uint64_t name_of(uint32_t prompt, uint32_t i)
{
  return key_of(prompt, i).lo ^ 77u;
}

/* Blocks from..from+n of a prompt. */
static int store(llmd_index *x, llmd_endpoint_id e, uint32_t prompt, const llmd_block *parent, uint32_t from,
                 uint32_t n)
{
  llmd_key key[256];
  uint64_t name[256];
  for (uint32_t i = 0; i < n; i++) {
    key[i] = key_of(prompt, from + i);
    name[i] = name_of(prompt, from + i);
  }
  return llmd_index_store(x, e, LLMD_TIER_GPU, parent, key, name, n, NULL);
}

static int drop(llmd_index *x, llmd_endpoint_id e, uint32_t prompt, uint32_t from, uint32_t n)
{
  uint64_t name[256];
  for (uint32_t i = 0; i < n; i++)
    name[i] = name_of(prompt, from + i);
  return llmd_index_drop(x, e, LLMD_TIER_GPU, name, n);
}

/* Blocks that the endpoint has of the prompt's first n. */
static uint32_t has(bench *b, llmd_endpoint_id e, uint32_t prompt, uint32_t n)
{
  llmd_key key[256];
  uint32_t blocks = 0;
  int hits;
  for (uint32_t i = 0; i < n; i++)
    key[i] = key_of(prompt, i);
  hits = llmd_index_query(b->x, b->scratch, key, n, b->hit, ROWS, NULL);
  for (int i = 0; i < hits; i++)
    blocks = b->hit[i].endpoint == e ? b->hit[i].blocks : blocks;
  return blocks;
}

static llmd__run *first_run(const bench *b, uint32_t prompt)
{
  llmd_key key = key_of(prompt, 0);
  uint32_t run = llmd__heads_find(b->x, &key, 1);
  assert_int_not_equal(run, 0);
  return llmd__run_at(b->x, run);
}

static uint64_t held(const bench *b)
{
  llmd_index_stats s = {.size = sizeof s};
  assert_int_equal(llmd_index_stats_get(b->x, &s), 0);
  assert_true(s.used <= s.bytes);
  return s.held;
}

static void takes_over(bench *b)
{
  LLMD__PUT(&b->x->head->writing, 1u);
  assert_int_equal(llmd_index_takeover(b->x), 1);
}

static _Atomic uint64_t *cohort_in(const bench *b, llmd__run *r)
{
  _Atomic uint64_t *at = &r->odd;
  for (uint32_t i = 0; LLMD__E_TIER(LLMD__GET(at)) != LLMD__COHORT; i++) {
    assert_true(i < 7);
    at = &llmd__line_at(b->x, LLMD__GET(&r->more))->more.entry[i];
  }
  return at;
}

/* ---- a writer that died between two sets ------------------------------------------------------------------------- */

/* The run's set died, and a cohort became its set: the cohort was still there, too. */
static void whoever_is_in_two_sets_leaves_both(void **state)
{
  bench b;
  llmd__run *r;
  uint64_t word;
  (void)state;
  bench_make(&b, ROWS);
  for (uint32_t slot = 0; slot < 12; slot++)
    assert_int_equal(store(b.x, endpoint(slot), 1, NULL, 0, slot ? 8 : 20), slot ? 8 : 20);
  assert_int_equal(drop(b.x, endpoint(0), 1, 0, 20), 20);
  r = first_run(&b, 1);
  word = LLMD__GET(&r->set);
  assert_int_equal(LLMD__SET_KIND(word), LLMD__SET_INTERNED);
  assert_int_equal(LLMD__GET(&r->odd), 0);
  LLMD__PUT(&r->odd, llmd__cohort(LLMD__SET_LINE(word), llmd__low(8)));
  takes_over(&b);
  assert_int_equal(held(&b), 11 * 8);
  assert_int_equal(has(&b, endpoint(5), 1, 20), 8);
  assert_int_equal(drop(b.x, endpoint(5), 1, 0, 8), 8);
  assert_int_equal(has(&b, endpoint(5), 1, 20), 0);
  assert_int_equal(has(&b, endpoint(6), 1, 20), 8);
  bench_free(&b);
}

/* A holder lost its blocks from 8 on: it joined the cohort of 8, and had not left the set yet. */
static void whoever_went_from_set_to_cohort_is_in_one(void **state)
{
  bench b;
  llmd__run *r;
  _Atomic uint64_t *at;
  uint32_t holder;
  (void)state;
  bench_make(&b, ROWS);
  for (uint32_t slot = 0; slot < 30; slot++)
    assert_true(store(b.x, endpoint(slot), 1, NULL, 0, slot < 15 ? 20 : 8) > 0);
  r = first_run(&b, 1);
  at = cohort_in(&b, r);
  holder = LLMD__GET(&b.x->row[3].holder);
  LLMD__PUT(at, llmd__cohort(LLMD__SET_LINE(llmd__set_add(b.x, llmd__set_id(b.x, LLMD__E_SET(LLMD__GET(at))), holder)),
                             llmd__low(8)));
  takes_over(&b);
  assert_int_equal(held(&b), 15 * 20 + 15 * 8);
  assert_int_equal(has(&b, endpoint(3), 1, 20), 20);
  assert_int_equal(drop(b.x, endpoint(3), 1, 8, 12), 12);
  assert_int_equal(has(&b, endpoint(3), 1, 20), 8);
  assert_int_equal(drop(b.x, endpoint(3), 1, 0, 8), 8);
  assert_int_equal(has(&b, endpoint(3), 1, 20), 0);
  assert_int_equal(has(&b, endpoint(4), 1, 20), 20);
  assert_int_equal(has(&b, endpoint(25), 1, 20), 8);
  assert_int_equal(held(&b), 14 * 20 + 15 * 8);
  bench_free(&b);
}

/* A line had been taken out of the run, and its incarnation was about to change. */
static void runs_are_others_after_a_takeover(void **state)
{
  bench b;
  uint32_t inc;
  (void)state;
  bench_make(&b, ROWS);
  assert_int_equal(store(b.x, endpoint(1), 1, NULL, 0, 20), 20);
  inc = LLMD__GET(&first_run(&b, 1)->inc);
  takes_over(&b);
  assert_int_not_equal(LLMD__GET(&first_run(&b, 1)->inc), inc);
  assert_int_equal(has(&b, endpoint(1), 1, 20), 20);
  bench_free(&b);
}

/* ---- short of lines ---------------------------------------------------------------------------------------------- */

/* One run's sweep makes four new sets while other runs still have the old ones. */
static void a_sweep_takes_no_more_than_there_is(void **state)
{
  enum { prompts = 40 };
  bench b;
  uint32_t spare;
  (void)state;
  bench_make(&b, ROWS);
  for (uint32_t prompt = 0; prompt < prompts; prompt++)
    for (uint32_t slot = 0; slot < 48; slot++)
      assert_true(store(b.x, endpoint(slot), prompt, NULL, 0, 20 - slot / 12 * 4) > 0);
  for (uint32_t slot = 0; slot < 48; slot += 12)
    assert_int_equal(llmd_index_clear(b.x, endpoint(slot)), 0);
  for (spare = b.x->set_most; b.x->head->n_free + (b.x->lines - b.x->head->fresh) > spare;)
    assert_true(llmd__line_take(b.x) != 0);
  while (llmd_index_tick(b.x, 1, 1) == 1) {
    held(&b);
    while (b.x->head->n_free + (b.x->lines - b.x->head->fresh) > spare)
      assert_true(llmd__line_take(b.x) != 0);
  }
  held(&b);
  for (uint32_t prompt = 0; prompt < prompts; prompt++) {
    assert_int_equal(has(&b, endpoint(0), prompt, 20), 0);
    assert_true(has(&b, endpoint(1), prompt, 20) <= 20);
  }
  bench_free(&b);
}

/* Holders' numbers run out, and a sweep in the middle of a store takes what the store was to go on from. */
static void a_parent_that_is_swept_is_no_parent(void **state)
{
  bench b;
  llmd_block parent;
  (void)state;
  bench_make(&b, 1);
  assert_int_equal(store(b.x, endpoint(0), 0, NULL, 0, 10), 10);
  for (uint32_t i = 1; i < 1000; i++) {
    int rc;
    assert_int_equal(llmd_index_find(b.x, endpoint(0), name_of(i - 1, 9), &parent), 0);
    assert_int_equal(llmd_index_clear(b.x, endpoint(0)), 0);
    rc = store(b.x, endpoint(0), i - 1, &parent, 10, 10);
    assert_true(rc == 10 || rc == LLMD_E_FULL);
    assert_true(has(&b, endpoint(0), i - 1, 20) == 0); /* its beginning is not there any more */
    assert_int_equal(store(b.x, endpoint(0), i, NULL, 0, 10), 10);
    assert_int_equal(has(&b, endpoint(0), i, 10), 10);
    held(&b);
  }
  takes_over(&b);
  while (llmd_index_tick(b.x, 1, 0) == 1)
    ;
  assert_int_equal(held(&b), 20);
  bench_free(&b);
}

/* The line of a run that went is used for something else, which looks like that run. */
static void a_line_that_was_a_run_is_forgotten(void **state)
{
  bench b;
  llmd_block at;
  llmd_key key = key_of(1, 0);
  uint32_t run, inc;
  (void)state;
  bench_make(&b, ROWS);
  assert_int_equal(store(b.x, endpoint(1), 1, NULL, 0, 20), 20);
  run = llmd__heads_find(b.x, &key, 1);
  inc = LLMD__GET(&llmd__run_at(b.x, run)->inc);
  assert_int_equal(drop(b.x, endpoint(1), 1, 0, 20), 20);
  while (llmd__line_take(b.x) != run)
    assert_true(b.x->head->n_free + (b.x->lines - b.x->head->fresh) != 0);
  for (uint32_t i = inc; i < inc + 4; i++) {
    LLMD__PUT(&llmd__run_at(b.x, run)->inc, i);
    LLMD__PUT(&llmd__run_at(b.x, run)->shape, 20u);
    LLMD__PUT(&llmd__run_at(b.x, run)->body, 0xffffffffu);
    assert_int_equal(llmd_index_find(b.x, endpoint(1), name_of(1, 19), &at), LLMD_E_NONE);
  }
  bench_free(&b);
}

/* One prompt takes the names of many that end: what those held is gone, and they are, too. */
static void names_that_move_leave_nothing_behind(void **state)
{
  enum { n = 200 };
  bench b;
  llmd_key key[n];
  uint64_t name[n];
  llmd_index_stats s = {.size = sizeof s};
  (void)state;
  bench_make(&b, ROWS);
  for (uint32_t i = 0; i < n; i++) {
    assert_int_equal(store(b.x, endpoint(1), 1 + i, NULL, 0, 1), 1);
    key[i] = key_of(0, i);
    name[i] = name_of(1 + i, 0);
  }
  assert_int_equal(llmd_index_store(b.x, endpoint(1), LLMD_TIER_GPU, NULL, key, name, n, NULL), n);
  assert_int_equal(has(&b, endpoint(1), 0, n), n);
  assert_int_equal(held(&b), n);
  assert_int_equal(llmd_index_stats_get(b.x, &s), 0);
  assert_int_equal(s.blocks, n);
  bench_free(&b);
}

/* ---- writers take turns ------------------------------------------------------------------------------------------ */

/* One begins a sweep, another ends it and begins the next, the first ends that. */
static void sweeps_that_change_hands_miss_nobody(void **state)
{
  enum { prompts = 200 };
  bench b;
  llmd_index *other;
  (void)state;
  bench_make(&b, 8);
  other = open_one(b.mem, b.len, NULL);
  for (uint32_t prompt = 0; prompt < prompts; prompt++)
    for (uint32_t slot = 0; slot < 6; slot++)
      assert_int_equal(store(b.x, endpoint(slot), prompt, NULL, 0, 4), 4);
  assert_int_equal(llmd_index_clear(b.x, endpoint(0)), 0);
  assert_int_equal(llmd_index_tick(b.x, 1, 1), 1);
  assert_int_equal(llmd_index_takeover(other), 0);
  while (llmd_index_tick(other, 1, 0) == 1)
    ;
  assert_int_equal(llmd_index_clear(other, endpoint(1)), 0);
  assert_int_equal(llmd_index_tick(other, 1, 1), 1);
  assert_int_equal(llmd_index_takeover(b.x), 0);
  while (llmd_index_tick(b.x, 1, 0) == 1)
    ;
  assert_int_equal(held(&b), prompts * 4 * 4);
  llmd_index_close(other);
  bench_free(&b);
}

/* ---- deaths where memory is touched ------------------------------------------------------------------------------ */

static sigjmp_buf died;

static void on_fault(int sig)
{
  (void)sig;
  siglongjmp(died, 1);
}

static void guard(bench *b, uint64_t from, uint64_t to, int how)
{
  uintptr_t first = ((uintptr_t)b->mem + from + PAGE - 1u) / PAGE * PAGE, end = ((uintptr_t)b->mem + to) / PAGE * PAGE;
  assert_true(first < end);
  assert_int_equal(mprotect((void *)first, end - first, how), 0);
}

static void on_faults(void (*fn)(int))
{
  struct sigaction a;
  memset(&a, 0, sizeof a);
  a.sa_handler = fn;
  assert_int_equal(sigaction(SIGSEGV, &a, NULL), 0);
  assert_int_equal(sigaction(SIGBUS, &a, NULL), 0);
}

/* Whoever takes over dies while the tree is made again: readers still find all windows. */
static void prompts_are_whole_while_somebody_takes_over(void **state)
{
  enum { prompts = 500 };
  bench b;
  (void)state;
  if (PAGE > 4096)
    skip(); /* no whole page of marks */
  bench_make(&b, ROWS);
  for (uint32_t prompt = 0; prompt < prompts; prompt++)
    assert_int_equal(store(b.x, endpoint(1), prompt, NULL, 0, 96), 96);
  LLMD__PUT(&b.x->head->writing, 1u);
  guard(&b, b.x->head->hit_off, b.x->head->head_off, PROT_NONE);
  on_faults(on_fault);
  if (sigsetjmp(died, 1) == 0) {
    llmd_index_takeover(b.x);
    fail_msg("it did not come to the marks");
  }
  on_faults(SIG_DFL);
  guard(&b, b.x->head->hit_off, b.x->head->head_off, PROT_READ | PROT_WRITE);
  for (uint32_t prompt = 0; prompt < prompts; prompt++)
    assert_int_equal(has(&b, endpoint(1), prompt, 96), 96);
  assert_int_equal(llmd_index_takeover(b.x), 1);
  for (uint32_t prompt = 0; prompt < prompts; prompt++)
    assert_int_equal(has(&b, endpoint(1), prompt, 96), 96);
  assert_int_equal(held(&b), prompts * 96);
  bench_free(&b);
}

typedef struct saved {
  size_t len;
  char ptr[1 << 20];
} saved;

static int to_bytes(void *ud, const char *ptr, size_t len)
{
  saved *s = ud;
  assert_true(s->len + len <= sizeof s->ptr);
  memcpy(s->ptr + s->len, ptr, len);
  s->len += len;
  return 0;
}

/* Whoever reads a snapshot dies at its first run: the next writer knows. */
static void a_death_in_a_restore_is_seen(void **state)
{
  static saved s;
  bench a, b;
  void *last = NULL;
  llmd_allocator alloc = {.size = sizeof alloc, .fn = from_last, .ud = &last};
  (void)state;
  s.len = 0;
  bench_make(&a, ROWS);
  bench_make(&b, ROWS);
  llmd_index_close(b.x);
  b.x = open_one(b.mem, b.len, &alloc);
  assert_int_equal(store(a.x, endpoint(1), 1, NULL, 0, 96), 96);
  assert_int_equal(llmd_index_snapshot(a.x, to_bytes, &s), 0);
  guard(&b, b.x->head->line_off, b.len, PROT_NONE);
  on_faults(on_fault);
  if (sigsetjmp(died, 1) == 0) {
    llmd_index_restore(b.x, s.ptr, s.len, NULL);
    fail_msg("it did not come to the lines");
  }
  on_faults(SIG_DFL);
  guard(&b, b.x->head->line_off, b.len, PROT_READ | PROT_WRITE);
  free(last);
  llmd_index_close(b.x);
  b.x = open_one(b.mem, b.len, NULL);
  assert_int_equal(llmd_index_takeover(b.x), 1);
  bench_free(&a);
  bench_free(&b);
}

/* The sum that snapshots end with, over all before it: by pieces of 4096. */
static uint64_t sum_of(const char *p, size_t n)
{
  static const uint8_t none[LLMD_SECRET_BYTES];
  uint64_t sum = 0;
  llmd_key k;
  for (size_t at = 0; at < n; at += 4096) {
    llmd__hash_bytes(none, p + at, n - at < 4096 ? n - at : 4096, &k);
    sum = (sum ^ k.lo) * UINT64_C(0x9e3779b97f4a7c15) + k.hi;
  }
  return sum;
}

/* One run of three blocks, one holder: named so many times over, and summed again. */
static void a_set_that_says_one_thing_often_is_refused(void **state)
{
  enum { times = 200000, blocks = 3, names_end = blocks * (16 + 8) };
  static saved s;
  bench a, b;
  llmd_key key = key_of(1, 0);
  uint32_t n = times;
  uint64_t sum;
  char *at;
  (void)state;
  s.len = 0;
  bench_make(&a, ROWS);
  bench_make(&b, ROWS);
  assert_int_equal(store(a.x, endpoint(1), 1, NULL, 0, blocks), blocks);
  assert_int_equal(llmd_index_snapshot(a.x, to_bytes, &s), 0);
  for (at = s.ptr; memcmp(at, &key, sizeof key) != 0; at++)
    assert_true(at < s.ptr + s.len);
  memcpy(at - 32, &n, sizeof n);
  at += names_end;
  memmove(at + 2 * times, at + 2, (size_t)(s.ptr + s.len - at) - 2u);
  for (uint32_t i = 1; i < times; i++)
    memcpy(at + (size_t)i * 2u, at, 2);
  s.len += 2u * (times - 1u);
  sum = sum_of(s.ptr, s.len - sizeof sum);
  memcpy(s.ptr + s.len - sizeof sum, &sum, sizeof sum);
  assert_int_equal(llmd_index_restore(b.x, s.ptr, s.len, NULL), LLMD_E_SYNTAX);
  assert_int_equal(store(b.x, endpoint(1), 1, NULL, 0, blocks), blocks);
  bench_free(&a);
  bench_free(&b);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whoever_is_in_two_sets_leaves_both),
    cmocka_unit_test(whoever_went_from_set_to_cohort_is_in_one),
    cmocka_unit_test(runs_are_others_after_a_takeover),
    cmocka_unit_test(a_line_that_was_a_run_is_forgotten),
    cmocka_unit_test(a_sweep_takes_no_more_than_there_is),
    cmocka_unit_test(a_parent_that_is_swept_is_no_parent),
    cmocka_unit_test(names_that_move_leave_nothing_behind),
    cmocka_unit_test(sweeps_that_change_hands_miss_nobody),
    cmocka_unit_test(prompts_are_whole_while_somebody_takes_over),
    cmocka_unit_test(a_death_in_a_restore_is_seen),
    cmocka_unit_test(a_set_that_says_one_thing_often_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
