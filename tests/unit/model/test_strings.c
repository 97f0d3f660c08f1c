/* Interned strings: the same text is the same id, ids give their text back, caps are caps. */
#include "small_pool.h"

#include "model/pool.h"
#include "model/strings.h"

static void the_same_text_is_the_same_id(void **state)
{
  llmd_pool *p = small_pool(4);
  uint32_t a = llmd__string_add(p->g, "alpha", 5), b = llmd__string_add(p->g, "alph", 4);
  llmd_str s;
  (void)state;
  assert_true(a && b && a != b);
  assert_int_equal(llmd__string_add(p->g, "alphabet", 5), a);
  assert_int_equal(llmd__string_find(p->g, "alpha", 5), a);
  assert_int_equal(llmd__string_find(p->g, "beta", 4), 0);
  s = llmd__string_text(p->g, a);
  assert_int_equal(s.len, 5);
  assert_memory_equal(s.ptr, "alpha", 6); /* a NUL follows */
  llmd_pool_close(p);
}

static void nothing_and_too_much_have_no_id(void **state)
{
  static char big[4097];
  llmd_region_options ro = small_region(4);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p;
  (void)state;
  memset(big, 'x', sizeof big);
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  assert_int_equal(llmd__string_add(p->g, "", 0), 0);
  assert_int_equal(llmd__string_add(p->g, NULL, 0), 0);
  assert_int_equal(llmd__string_find(p->g, NULL, 0), 0);
  assert_int_equal(llmd__string_add(p->g, big, 4097), 0);
  assert_int_equal(llmd__string_find(p->g, big, 4097), 0);
  assert_true(llmd__string_add(p->g, big, 4096) != 0);
  assert_int_equal(llmd__string_text(p->g, 0).len, 0);
  assert_int_equal(llmd__string_text(p->g, UINT32_MAX).len, 0);
  assert_non_null(llmd__string_text(p->g, 0).ptr);
  llmd_pool_close(p);
}

/* Bytes are the cap, or a quarter of the table that stays free, so that looking for what is not there ends soon. */
static uint32_t fill(uint64_t bytes, const char *before, int digits, uint32_t *slots)
{
  char text[64];
  llmd_region_options ro = small_region(4);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p;
  uint32_t n = 0, id = 1, first = 0, last = 0;
  ro.string_bytes = bytes;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  *slots = p->g->caps.string_slots;
  while (id) {
    int len = snprintf(text, sizeof text, "%s%0*u", before, digits, n);
    id = llmd__string_add(p->g, text, (size_t)len);
    first = n ? first : id;
    last = id ? id : last;
    n += id != 0;
  }
  assert_int_equal(atomic_load(&p->g->strings_refused), 1);
  assert_int_equal(llmd__string_find(p->g, text, strlen(text)), 0);
  snprintf(text, sizeof text, "%s%0*u", before, digits, n - 1);
  assert_int_equal(llmd__string_find(p->g, text, strlen(text)), last);
  snprintf(text, sizeof text, "%s%0*u", before, digits, 0u);
  assert_int_equal(llmd__string_add(p->g, text, strlen(text)), first); /* what is there stays findable */
  llmd_pool_close(p);
  return n;
}

static void bytes_are_the_cap(void **state)
{
  uint32_t slots, n = fill(4096, "a-label-of-some-length-", 8, &slots);
  (void)state;
  assert_int_equal(n, 4096 / 40); /* 8 + 31 + NUL */
}

static void a_quarter_of_the_table_stays_free(void **state)
{
  uint32_t slots, n = fill(1 << 16, "", 1, &slots);
  (void)state;
  assert_int_equal(slots, 4096);
  assert_int_equal(n, 3072);
}

static void ids_are_the_same_for_every_reader(void **state)
{
  llmd_region_options ro = small_region(4);
  size_t len = llmd_region_size(&ro);
  char *mem = aligned_alloc(64, (len + 63) & ~(size_t)63), *copy = aligned_alloc(64, (len + 63) & ~(size_t)63);
  uint32_t id;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  id = llmd__string_add((llmd__region *)(void *)mem, "somewhere", 9);
  memcpy(copy, mem, len); /* as if mapped at another address */
  assert_int_equal(llmd__string_find((llmd__region *)(void *)copy, "somewhere", 9), id);
  assert_memory_equal(llmd__string_text((llmd__region *)(void *)copy, id).ptr, "somewhere", 9);
  free(mem);
  free(copy);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_text_is_the_same_id), cmocka_unit_test(nothing_and_too_much_have_no_id),
      cmocka_unit_test(bytes_are_the_cap), cmocka_unit_test(a_quarter_of_the_table_stays_free),
      cmocka_unit_test(ids_are_the_same_for_every_reader)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
