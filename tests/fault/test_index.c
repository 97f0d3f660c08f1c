/* Every allocation around an exact index fails once: opening it, snapshot, restore. A refusal gives LLMD_E_NOMEM, leaks
 * nothing, and leaves the index in the memory as it was: the next handle finds all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/prefix.h>

#include <stdlib.h>
#include <string.h>

#include "../unit/failing_alloc.h"

#define BLOCKS 100u

static const llmd_index_options options = {.size = sizeof options, .rows = 8, .bytes = 256 << 10, .seed = 1};
static const llmd_endpoint_id endpoint = UINT64_C(1) << 32 | 3;
static llmd_key key[BLOCKS];
static uint64_t name[BLOCKS];

typedef struct ground {
  void *full, *empty; /* one index holds the blocks, one is made anew each time */
  size_t len, n_bytes;
  char bytes[1 << 16];
} ground;

static int to_bytes(void *ud, const char *ptr, size_t len)
{
  ground *g = ud;
  if (len > sizeof g->bytes - g->n_bytes)
    return 1;
  memcpy(g->bytes + g->n_bytes, ptr, len);
  g->n_bytes += len;
  return 0;
}

static uint32_t blocks_of(const llmd_index *ix)
{
  void *scratch = calloc(1, llmd_index_scratch(ix));
  llmd_hit hit[8];
  int n;
  assert_non_null(scratch);
  n = llmd_index_query(ix, scratch, key, BLOCKS, hit, 8, NULL);
  free(scratch);
  assert_true(n == 0 || (n == 1 && hit[0].endpoint == endpoint));
  return n ? hit[0].blocks : 0;
}

/* The full index is written; an empty one reads it, when it could be opened. */
static int copy(const llmd_allocator *a, void *ctx)
{
  ground *g = ctx;
  llmd_index *from = NULL, *to = NULL, *plain;
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_index_open(g->full, g->len, a, &from, &err), held = 0;
  assert_int_equal(llmd_index_format(g->empty, g->len, &options), 0);
  g->n_bytes = 0;
  if (!rc)
    rc = llmd_index_snapshot(from, to_bytes, g);
  if (!rc)
    rc = llmd_index_open(g->empty, g->len, a, &to, &err);
  if (!rc)
    rc = llmd_index_restore(to, g->bytes, g->n_bytes, &err);
  held = !rc;
  llmd_index_close(to);
  llmd_index_close(from);
  assert_int_equal(llmd_index_open(g->full, g->len, NULL, &plain, &err), 0);
  assert_int_equal(blocks_of(plain), BLOCKS);
  llmd_index_close(plain);
  assert_int_equal(llmd_index_open(g->empty, g->len, NULL, &plain, &err), 0);
  assert_int_equal(blocks_of(plain), held ? BLOCKS : 0);
  llmd_index_close(plain);
  return rc;
}

/* Once open, nothing allocates: stores, removals, takeover, sweeps, queries. */
static void an_open_index_allocates_nothing(void **state)
{
  ground *g = *state;
  failing_alloc f;
  llmd_index *ix;
  llmd_err err = LLMD_ERR_INIT;
  size_t calls;
  assert_int_equal(llmd_index_format(g->empty, g->len, &options), 0);
  failing_alloc_init(&f, 0);
  assert_int_equal(llmd_index_open(g->empty, g->len, &f.a, &ix, &err), 0);
  calls = f.calls;
  assert_int_equal(llmd_index_takeover(ix), 0);
  for (uint32_t k = 0; k < 200; k++) {
    key[0].hi = k;
    assert_int_equal(llmd_index_store(ix, endpoint, LLMD_TIER_GPU, NULL, key, name, BLOCKS, NULL), BLOCKS);
    llmd_index_drop(ix, endpoint, LLMD_TIER_ANY, name + 7, 3);
    llmd_index_expect(ix, endpoint, key, BLOCKS, k);
    llmd_index_tick(ix, k, 0);
    blocks_of(ix);
  }
  assert_int_equal(llmd_index_clear(ix, endpoint), 0);
  while (llmd_index_tick(ix, UINT64_MAX, 0) == 1)
    ;
  assert_int_equal(f.calls, calls);
  llmd_index_close(ix);
  assert_int_equal(f.blocks, 0);
  key[0].hi = 0;
}

static void every_allocation_fails_once(void **state)
{
  size_t n = fail_each_allocation(copy, *state);
  print_message("# %zu allocations\n", n);
  assert_true(n >= 2);
}

static int set_up(void **state)
{
  ground *g = calloc(1, sizeof *g);
  llmd_index *ix;
  llmd_err err = LLMD_ERR_INIT;
  assert_non_null(g);
  g->len = (llmd_index_size(&options) + 63) & ~(size_t)63;
  g->full = aligned_alloc(64, g->len);
  g->empty = aligned_alloc(64, g->len);
  assert_true(g->full && g->empty);
  for (uint32_t i = 0; i < BLOCKS; i++) {
    key[i].lo = i + 1;
    name[i] = 1000 + i;
  }
  assert_int_equal(llmd_index_format(g->full, g->len, &options), 0);
  assert_int_equal(llmd_index_open(g->full, g->len, NULL, &ix, &err), 0);
  assert_int_equal(llmd_index_store(ix, endpoint, LLMD_TIER_GPU, NULL, key, name, BLOCKS, NULL), BLOCKS);
  llmd_index_close(ix);
  *state = g;
  return 0;
}

static int tear_down(void **state)
{
  ground *g = *state;
  free(g->full);
  free(g->empty);
  free(g);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(an_open_index_allocates_nothing),
                                     cmocka_unit_test(every_allocation_fails_once)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
