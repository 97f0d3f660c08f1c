/* Snapshots: what is written and read again answers as before, by key and by name, and goes on; what is damaged or cut
 * off is refused and changes nothing; only an empty index takes one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pair.h"

#define ROWS 24u
#define DOCUMENTS 30u

typedef struct saved {
  char *ptr;
  size_t len, room, stop; /* stop: refuse to take more than that; 0 = never */
} saved;

static int to_bytes(void *ud, const char *ptr, size_t len)
{
  saved *b = ud;
  if (b->stop && b->len + len > b->stop)
    return 1;
  if (b->len + len > b->room) {
    b->room = 2 * (b->len + len);
    b->ptr = realloc(b->ptr, b->room);
    assert_non_null(b->ptr);
  }
  memcpy(b->ptr + b->len, ptr, len);
  b->len += len;
  return 0;
}

static llmd_endpoint_id endpoint(uint32_t slot)
{
  return (uint64_t)(1 + slot % 3) << 32 | slot;
}

/* Shared and private names, holes, tiers, a crowd, a cleared endpoint that is not swept, the shared store. */
static void fill(pair *p, const document *d, uint32_t documents, uint64_t seed)
{
  uint64_t names[DOCUMENT_BLOCKS];
  for (uint32_t k = 0; k < documents * 6; k++) {
    const document *at = &d[roll(&seed, documents)];
    uint32_t slot = roll(&seed, ROWS), n = 1 + roll(&seed, at->n), from = roll(&seed, n);
    for (uint32_t i = 0; i < at->n; i++)
      names[i] = slot % 4 == 3 ? document_private_name(at->name[i], slot) : at->name[i];
    pair_store(p, endpoint(slot), LLMD_TIER_GPU, NULL, at->key, names, n, NULL);
    if (k % 3 == 0)
      pair_drop(p, endpoint(slot), LLMD_TIER_ANY, names + from, 1);
    if (k % 4 == 0)
      pair_hold(p, endpoint(slot), 1 + k % 3, names, 1 + roll(&seed, n) / 2);
    if (k % 5 == 0)
      pair_drop(p, endpoint(slot), LLMD_TIER_GPU, names, 1 + roll(&seed, n) / 3);
  }
  for (uint32_t slot = 0; slot < ROWS; slot++)
    pair_store(p, endpoint(slot), LLMD_TIER_GPU, NULL, d[0].key, NULL, d[0].n, NULL);
  pair_store(p, LLMD_INDEX_SHARED, LLMD_TIER_REMOTE, NULL, d[1].key, d[1].name, d[1].n / 2 + 1, NULL);
  pair_clear(p, endpoint(2));
}

static saved snapshot(pair *p)
{
  saved b = {NULL, 0, 0, 0};
  assert_int_equal(llmd_index_snapshot(p->index, to_bytes, &b), 0);
  assert_true(b.len > 0);
  return b;
}

/* Another index takes the bytes, and the model of the first. */
static void adopt(pair *to, pair *from, const saved *b)
{
  llmd_err err = LLMD_ERR_INIT;
  assert_int_equal(llmd_index_restore(to->index, b->ptr, b->len, &err), 0);
  model_free(to->m);
  to->m = from->m;
  from->m = model_make(from->rows);
}

static void ask_all(pair *p, const document *d, uint32_t documents)
{
  for (uint32_t i = 0; i < documents; i++)
    pair_query(p, d[i].key, d[i].n);
}

static void comes_back_the_same(void **state)
{
  document *d = documents_make(DOCUMENTS, 200, 4, 3);
  pair *a = pair_make(ROWS, 8 << 20, 0, 7), *b = pair_make(ROWS, 8 << 20, 0, 8);
  uint8_t secret[LLMD_SECRET_BYTES];
  llmd_err err = LLMD_ERR_INIT;
  saved bytes;
  (void)state;
  fill(a, d, DOCUMENTS, 1);
  memcpy(secret, llmd_index_secret(a->index), sizeof secret);
  assert_memory_not_equal(llmd_index_secret(b->index), secret, sizeof secret);
  bytes = snapshot(a);
  adopt(b, a, &bytes);
  assert_memory_equal(llmd_index_secret(b->index), secret, sizeof secret);
  ask_all(b, d, DOCUMENTS);
  pair_settle(b, 1);
  pair_count(b);
  assert_true(b->hits > 100);
  fill(b, d, DOCUMENTS, 2); /* by the names it knew, too */
  ask_all(b, d, DOCUMENTS);
  assert_int_equal(llmd_index_restore(b->index, bytes.ptr, bytes.len, &err), LLMD_E_STATE);
  ask_all(b, d, DOCUMENTS);
  print_message("# %zu bytes\n", bytes.len);
  free(bytes.ptr);
  pair_free(a);
  pair_free(b);
  free(d);
}

static void an_empty_one_too(void **state)
{
  document *d = documents_make(3, 40, 2, 3);
  pair *a = pair_make(ROWS, 1 << 20, 0, 7), *b = pair_make(ROWS, 1 << 20, 0, 8);
  saved bytes = snapshot(a);
  (void)state;
  adopt(b, a, &bytes);
  ask_all(b, d, 3);
  fill(b, d, 3, 5);
  ask_all(b, d, 3);
  free(bytes.ptr);
  pair_free(a);
  pair_free(b);
  free(d);
}

static void refused(pair *p, const saved *b, size_t len, int other)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_index_stats s = {.size = sizeof s};
  int rc = llmd_index_restore(p->index, b->ptr, len, &err);
  assert_true(rc == LLMD_E_SYNTAX || rc == LLMD_E_TRUNCATED || (other && rc == LLMD_E_MISMATCH));
  assert_int_equal(llmd_index_stats_get(p->index, &s), 0);
  assert_int_equal(s.blocks, 0);
  assert_int_equal(s.names, 0);
}

/* Every byte changed, every length: and then the whole is still taken. */
static void damage_is_refused(void **state)
{
  document *d = documents_make(3, 40, 2, 3);
  pair *a = pair_make(ROWS, 256 << 10, 0, 7), *b = pair_make(ROWS, 256 << 10, 0, 8);
  saved bytes;
  char *exact;
  (void)state;
  fill(a, d, 3, 4);
  bytes = snapshot(a);
  for (size_t i = 0; i < bytes.len; i++) {
    bytes.ptr[i] = (char)(bytes.ptr[i] ^ (1 << i % 8));
    refused(b, &bytes, bytes.len, 1);
    bytes.ptr[i] = (char)(bytes.ptr[i] ^ (1 << i % 8));
  }
  exact = malloc(bytes.len); /* so that a read behind the end is seen */
  assert_non_null(exact);
  for (size_t len = 0; len < bytes.len; len += len < 300 ? 1 : 7) {
    saved cut = {exact + (bytes.len - len), len, len, 0};
    memcpy(cut.ptr, bytes.ptr, len);
    refused(b, &cut, len, 1);
  }
  print_message("# %zu bytes, each changed\n", bytes.len);
  adopt(b, a, &bytes);
  ask_all(b, d, 3);
  free(exact);
  free(bytes.ptr);
  pair_free(a);
  pair_free(b);
  free(d);
}

static void too_small_an_index_is_told(void **state)
{
  document *d = documents_make(DOCUMENTS, 200, 4, 3);
  pair *a = pair_make(ROWS, 8 << 20, 0, 7), *b = pair_make(ROWS, 64 << 10, 1, 8), *c = pair_make(4, 8 << 20, 0, 8);
  llmd_index_stats s = {.size = sizeof s};
  llmd_err err = LLMD_ERR_INIT;
  saved bytes;
  (void)state;
  fill(a, d, DOCUMENTS, 1);
  bytes = snapshot(a);
  assert_int_equal(llmd_index_restore(b->index, bytes.ptr, bytes.len, &err), LLMD_E_FULL);
  assert_int_equal(llmd_index_restore(c->index, bytes.ptr, bytes.len, &err), LLMD_E_FULL);
  assert_int_equal(llmd_index_stats_get(b->index, &s), 0);
  assert_int_equal(s.blocks, 0);
  fill(b, d, 3, 1);
  ask_all(b, d, 3);
  free(bytes.ptr);
  pair_free(a);
  pair_free(b);
  pair_free(c);
  free(d);
}

static void a_writer_that_stops_is_told(void **state)
{
  document *d = documents_make(3, 40, 2, 3);
  pair *a = pair_make(ROWS, 1 << 20, 0, 7);
  saved whole, part = {NULL, 0, 0, 0};
  (void)state;
  fill(a, d, 3, 4);
  whole = snapshot(a);
  for (part.stop = 1; part.stop < whole.len; part.stop += 97) {
    part.len = 0;
    assert_int_equal(llmd_index_snapshot(a->index, to_bytes, &part), LLMD_E_STOPPED);
  }
  ask_all(a, d, 3);
  free(whole.ptr);
  free(part.ptr);
  pair_free(a);
  free(d);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(comes_back_the_same),        cmocka_unit_test(an_empty_one_too),
    cmocka_unit_test(damage_is_refused),          cmocka_unit_test(too_small_an_index_is_told),
    cmocka_unit_test(a_writer_that_stops_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
