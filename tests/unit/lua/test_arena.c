#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "state.h"

#include "../failing_alloc.h"

#define HELD 400u

static uint64_t next_random(uint64_t *s)
{
  *s ^= *s << 13;
  *s ^= *s >> 7;
  *s ^= *s << 17;
  return *s;
}

typedef struct held {
  unsigned char *p;
  size_t n;
  unsigned char fill;
} held;

typedef struct model {
  failing_alloc mem;
  llmd__lua_arena *a;
  unsigned char *low, *high;
  held at[HELD];
  size_t bytes; /* asked for */
  uint64_t seed;
} model;

static void open_model(model *m, size_t bytes)
{
  memset(m, 0, sizeof *m);
  failing_alloc_init(&m->mem, 0);
  assert_int_equal(llmd__lua_arena_create(&m->a, &m->mem.a, bytes), 0);
  assert_int_equal(m->mem.bytes, bytes);
  m->low = (unsigned char *)m->a;
  m->high = m->low + bytes;
  m->seed = 88172645463325252u;
}

static void close_model(model *m)
{
  assert_int_equal(m->mem.calls, 1);
  llmd__lua_arena_free(m->a, &m->mem.a);
  assert_int_equal(m->mem.blocks, 0);
}

static void assert_filled(const held *h, size_t n)
{
  for (size_t i = 0; i < n; i++)
    assert_int_equal(h->p[i], h->fill);
}

/* Blocks keep what is in them, so they do not overlap, whatever happens around them. */
static void resize(model *m, held *h, size_t n)
{
  size_t had = h->n, used = llmd__lua_arena_used(m->a);
  if (h->p != NULL)
    assert_filled(h, had);
  unsigned char *p = llmd__lua_arena_realloc(m->a, h->p, had, n);
  if (n == 0) {
    assert_null(p);
    m->bytes -= had;
    *h = (held){NULL, 0, 0};
    return;
  }
  if (p == NULL) {
    assert_true(n > had);
    assert_int_equal(llmd__lua_arena_used(m->a), used);
    if (h->p != NULL)
      assert_filled(h, had);
    return;
  }
  assert_int_equal((uintptr_t)p % 16, 0);
  assert_true(p >= m->low && p + n <= m->high);
  h->p = p;
  assert_filled(h, had < n ? had : n);
  m->bytes += n - had;
  h->n = n;
  h->fill = (unsigned char)next_random(&m->seed);
  memset(p, h->fill, n);
}

static size_t some_size(model *m)
{
  uint64_t r = next_random(&m->seed);
  switch (r % 8) {
  case 0: return 1 + (r >> 8) % 4000;
  case 1: return 1 + (r >> 8) % 600;
  case 2: return 0;
  default: return 1 + (r >> 8) % 100;
  }
}

static void release_all(model *m)
{
  for (size_t i = 0; i < HELD; i++)
    if (m->at[i].p != NULL)
      resize(m, &m->at[i], 0);
}

static void behaves_as_malloc_does(size_t bytes, int rounds)
{
  model m;
  open_model(&m, bytes);
  size_t empty = llmd__lua_arena_used(m.a);
  for (int i = 0; i < rounds; i++) {
    resize(&m, &m.at[next_random(&m.seed) % HELD], some_size(&m));
    assert_true(llmd__lua_arena_used(m.a) >= m.bytes);
    assert_true(llmd__lua_arena_used(m.a) <= bytes);
    assert_true(llmd__lua_arena_peak(m.a) >= llmd__lua_arena_used(m.a));
    if (i % 5000 == 4999) {
      release_all(&m);
      assert_int_equal(llmd__lua_arena_used(m.a), empty);
    }
  }
  release_all(&m);
  /* all joined again: one block as large as at the beginning can be had */
  void *all = llmd__lua_arena_realloc(m.a, NULL, 0, bytes - empty - 16);
  assert_non_null(all);
  close_model(&m);
}

static void random_operations_with_room(void **state)
{
  (void)state;
  behaves_as_malloc_does(1 << 20, getenv("LLMD_LONG") ? 2000000 : 100000);
}

static void random_operations_when_full(void **state)
{
  (void)state;
  for (size_t bytes = 4096; bytes <= 40000; bytes += 3001)
    behaves_as_malloc_does(bytes, getenv("LLMD_LONG") ? 200000 : 10000);
}

static void grows_in_place(void **state)
{
  model m;
  (void)state;
  open_model(&m, 65536);
  void *p = llmd__lua_arena_realloc(m.a, NULL, 0, 100);
  assert_ptr_equal(llmd__lua_arena_realloc(m.a, p, 100, 30000), p);
  assert_ptr_equal(llmd__lua_arena_realloc(m.a, p, 30000, 40), p);
  void *q = llmd__lua_arena_realloc(m.a, NULL, 0, 40);
  assert_true((char *)q - (char *)p <= 64);
  close_model(&m);
}

/* In a full arena a block takes the room before it, too: what is in it moves down. */
static void grows_to_both_sides(void **state)
{
  model m;
  (void)state;
  open_model(&m, 8192);
  size_t room = 8192 - llmd__lua_arena_used(m.a);
  size_t third = room / 3 / 16 * 16 - 16;
  void *a = llmd__lua_arena_realloc(m.a, NULL, 0, third);
  unsigned char *b = llmd__lua_arena_realloc(m.a, NULL, 0, third);
  assert_non_null(llmd__lua_arena_realloc(m.a, NULL, 0, third));
  memset(b, 7, third);
  llmd__lua_arena_realloc(m.a, a, third, 0);
  b = llmd__lua_arena_realloc(m.a, b, third, 2 * third);
  assert_ptr_equal(b, a);
  for (size_t i = 0; i < third; i++)
    assert_int_equal(b[i], 7);
  close_model(&m);
}

static void shrinking_never_fails(void **state)
{
  model m;
  (void)state;
  open_model(&m, 4096);
  size_t n = 8;
  void *p, *last = NULL;
  while ((p = llmd__lua_arena_realloc(m.a, NULL, 0, n)) != NULL)
    last = p;
  assert_non_null(last);
  assert_ptr_equal(llmd__lua_arena_realloc(m.a, last, n, 1), last);
  assert_null(llmd__lua_arena_realloc(m.a, last, 1, SIZE_MAX));
  assert_null(llmd__lua_arena_realloc(m.a, last, 1, SIZE_MAX - 20));
  close_model(&m);
}

static void a_reset_takes_everything_back(void **state)
{
  model m;
  (void)state;
  open_model(&m, 20000);
  size_t empty = llmd__lua_arena_used(m.a);
  while (llmd__lua_arena_realloc(m.a, NULL, 0, 333) != NULL)
    ;
  assert_true(llmd__lua_arena_used(m.a) > 18000);
  llmd__lua_arena_reset(m.a);
  assert_int_equal(llmd__lua_arena_used(m.a), empty);
  assert_int_equal(llmd__lua_arena_peak(m.a), empty);
  assert_non_null(llmd__lua_arena_realloc(m.a, NULL, 0, 20000 - empty - 16));
  close_model(&m);
}

static void sizes_that_cannot_be(void **state)
{
  failing_alloc mem;
  llmd__lua_arena *a = NULL;
  (void)state;
  failing_alloc_init(&mem, 0);
  for (size_t n = 0; n < 1000; n += 8)
    assert_int_equal(llmd__lua_arena_create(&a, &mem.a, n), LLMD_E_NOMEM);
  assert_int_equal(llmd__lua_arena_create(&a, &mem.a, (size_t)5 << 30), LLMD_E_LIMIT);
  assert_null(a);
  assert_int_equal(mem.calls, 0);
  failing_alloc_init(&mem, 1);
  assert_int_equal(llmd__lua_arena_create(&a, &mem.a, 4096), LLMD_E_NOMEM);
  llmd__lua_arena_free(NULL, &mem.a);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_operations_with_room), cmocka_unit_test(random_operations_when_full),
      cmocka_unit_test(grows_in_place),              cmocka_unit_test(grows_to_both_sides),
      cmocka_unit_test(shrinking_never_fails),       cmocka_unit_test(a_reset_takes_everything_back),
      cmocka_unit_test(sizes_that_cannot_be)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
