/* An allocator for tests. It refuses the call it is told to refuse, checks that every size it is given back is the one
 * it gave, moves on every resize, paints memory (0xa5 fresh, 0x5a freed), and knows what is still held.
 *
 *   static int load(const llmd_allocator *a, void *ctx) { ...; free everything; return rc; }
 *   ...
 *   fail_each_allocation(load, ctx);
 *
 * runs load with its 1st, 2nd, 3rd ... allocation refused until nothing is refused any more, and asserts that each
 * refusal is answered with LLMD_E_NOMEM, that nothing leaks on any way out and that the last run succeeds.
 * Include after cmocka.h. */
#ifndef LLMD_TESTS_FAILING_ALLOC_H
#define LLMD_TESTS_FAILING_ALLOC_H

#include <llmd/alloc.h>
#include <llmd/error.h>

#include <stdlib.h>
#include <string.h>

typedef struct failing_alloc {
  llmd_allocator a;      /* what to hand out */
  size_t fail_at;        /* refuse the call of this number, from 1; 0 = none */
  size_t calls, refused; /* calls that wanted memory; of these, refused */
  size_t blocks, bytes;  /* held now */
  size_t peak;           /* most bytes held at once */
} failing_alloc;

/* Before each block, keeping it aligned for any type. */
typedef union failing_alloc_head {
  size_t size;
  max_align_t align;
} failing_alloc_head;

static inline void *failing_alloc_take(failing_alloc *f, size_t size)
{
  if (++f->calls == f->fail_at) {
    f->refused++;
    return NULL;
  }
  failing_alloc_head *h = malloc(sizeof *h + size);
  assert_non_null(h);
  h->size = size;
  memset(h + 1, 0xa5, size);
  f->blocks++;
  f->bytes += size;
  if (f->bytes > f->peak)
    f->peak = f->bytes;
  return h + 1;
}

static inline void failing_alloc_drop(failing_alloc *f, void *ptr, size_t osize)
{
  failing_alloc_head *h = (failing_alloc_head *)ptr - 1;
  assert_int_equal(h->size, osize);
  memset(h, 0x5a, sizeof *h + osize);
  f->blocks--;
  f->bytes -= osize;
  free(h);
}

static inline void *failing_alloc_fn(void *ud, void *ptr, size_t osize, size_t nsize)
{
  failing_alloc *f = ud;
  void *p = nsize ? failing_alloc_take(f, nsize) : NULL;
  if (nsize && !p)
    return NULL;
  if (ptr && p)
    memcpy(p, ptr, osize < nsize ? osize : nsize);
  if (ptr)
    failing_alloc_drop(f, ptr, osize);
  return p;
}

static inline void failing_alloc_init(failing_alloc *f, size_t fail_at)
{
  memset(f, 0, sizeof *f);
  f->a.size = sizeof f->a;
  f->a.fn = failing_alloc_fn;
  f->a.ud = f;
  f->fail_at = fail_at;
}

/* Returns how many allocations the body makes when none is refused. */
static inline size_t fail_each_allocation(int (*body)(const llmd_allocator *a, void *ctx), void *ctx)
{
  for (size_t k = 1;; k++) {
    failing_alloc f;
    failing_alloc_init(&f, k);
    int rc = body(&f.a, ctx);
    assert_int_equal(f.blocks, 0);
    assert_int_equal(f.bytes, 0);
    if (!f.refused) {
      assert_int_equal(rc, LLMD_OK);
      return k - 1;
    }
    assert_int_equal(rc, LLMD_E_NOMEM);
  }
}

#endif
