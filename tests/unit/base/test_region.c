/* The region's layout: sizes, damaged headers, and the directory of plugin state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/region.h"

static llmd_region_options small(void)
{
  llmd_region_options o = {.size = sizeof o, .max_endpoints = 4, .max_attributes = 16, .max_labels = 2, .max_models = 2,
                           .max_lanes = 1, .max_tickets = 2, .ring_bytes = 64, .string_bytes = 1024,
                           .state_bytes = 8192, .prefix_bytes = 1024};
  return o;
}

static llmd__region *make(const llmd_region_options *o, size_t *len)
{
  void *mem;
  *len = llmd_region_size(o);
  mem = aligned_alloc(64, (*len + 63) & ~(size_t)63);
  assert_non_null(mem);
  memset(mem, 0xa5, *len);
  assert_int_equal(llmd_region_format(mem, *len, o), 0);
  return mem;
}

static void sizes_follow_the_options(void **state)
{
  llmd_region_options o = small(), big = small(), most;
  size_t n = llmd_region_size(&o);
  (void)state;
  assert_true(llmd_region_size(NULL) > (80u << 20));
  big.state_bytes += 4096;
  assert_int_equal(llmd_region_size(&big), n + 4096);
  big = small();
  big.max_endpoints = 1000000; /* more than there may be */
  most = small();
  most.max_endpoints = 16384;
  assert_int_equal(llmd_region_size(&big), llmd_region_size(&most));
  big = small();
  big.ring_bytes = UINT32_MAX;
  assert_true(llmd_region_size(&big) > ((size_t)3 << 30)); /* three rings of a gigabyte; nothing wraps */
}

static void format_needs_room_and_alignment(void **state)
{
  llmd_region_options o = small();
  size_t len = llmd_region_size(&o);
  char *mem = aligned_alloc(64, ((len + 63) & ~(size_t)63) + 64);
  (void)state;
  assert_int_equal(llmd_region_format(NULL, len, &o), LLMD_E_INVALID);
  assert_int_equal(llmd_region_format(mem + 8, len, &o), LLMD_E_INVALID);
  assert_int_equal(llmd_region_format(mem, len - 1, &o), LLMD_E_LIMIT);
  assert_int_equal(llmd_region_format(mem, len, &o), 0);
  assert_int_equal(llmd_region_check(mem, len, NULL), 0);
  free(mem);
}

/* An older program's options end before the secret: what lies behind them is not theirs. */
static void shorter_options_are_not_read_past_their_end(void **state)
{
  llmd_region_options o = small();
  const uint8_t secret[LLMD_SECRET_BYTES] = {1, 2, 3};
  llmd__region *g;
  size_t len;
  (void)state;
  o.secret = secret;
  g = make(&o, &len);
  assert_memory_equal(g->secret, secret, sizeof secret);
  free(g);
  o.size = offsetof(llmd_region_options, secret);
  o.secret = (const uint8_t *)1;
  g = make(&o, &len);
  assert_memory_not_equal(g->secret, secret, sizeof secret);
  free(g);
}

static void every_damaged_word_of_the_layout_is_seen(void **state)
{
  llmd_region_options o = small();
  size_t len;
  llmd__region *g = make(&o, &len);
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  for (size_t at = 0; at < offsetof(llmd__region, secret); at += 4) {
    uint32_t *word = (uint32_t *)(void *)((char *)g + at);
    for (uint32_t bit = 0; bit < 32; bit += 7) {
      *word ^= 1u << bit;
      if (llmd_region_check(g, len, &err) != LLMD_E_MISMATCH)
        fail_msg("bit %u of the word at %zu", bit, at);
      *word ^= 1u << bit;
    }
  }
  assert_int_equal(llmd_region_check(g, len, &err), 0);
  free(g);
}

/* ---- state ------------------------------------------------------------------------------------------------------ */

static int fill(void *mem, size_t bytes, void *ud)
{
  memset(mem, *(const int *)ud, bytes);
  return 0;
}

static void state_is_made_once_and_found_by_name(void **state)
{
  llmd_region_options o = small();
  uint64_t a = 0, b = 0, c = 0, bytes = 0;
  int seven = 7, eight = 8;
  size_t len;
  llmd__region *g = make(&o, &len);
  (void)state;
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 100, fill, &seven, &a, &bytes), 0);
  assert_int_equal(bytes, 128);
  assert_int_equal(llmd__region_state(g, 7, "x/b/table", 1, 100, fill, &eight, &b, &bytes), 0);
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 5000, fill, &eight, &c, &bytes), 0);
  assert_true(a == c && a != b && a % 64 == 0);
  assert_int_equal(bytes, 128); /* as it was made */
  assert_int_equal(*(const char *)llmd__at(g, a), 7);
  assert_int_equal(*(const char *)llmd__at(g, b), 8);
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 2, 100, NULL, NULL, &c, &bytes), LLMD_E_TYPE);
  assert_string_equal(llmd__region_state_at(g, 0)->name, "x/a/table");
  assert_string_equal(llmd__region_state_at(g, 1)->name, "x/b/table");
  assert_null(llmd__region_state_at(g, 2));
  assert_null(llmd__region_state_at(g, LLMD__STATES));
  free(g);
}

static int refuse(void *mem, size_t bytes, void *ud)
{
  (void)mem;
  (void)bytes;
  return *(const int *)ud;
}

static void refused_state_leaves_no_trace(void **state)
{
  char name[200];
  llmd_region_options o = small();
  int rc = LLMD_E_MISMATCH;
  uint64_t off = 3, bytes = 4;
  size_t len;
  llmd__region *g = make(&o, &len);
  (void)state;
  for (int i = 0; i < 1000; i++)
    assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 4096, refuse, &rc, &off, &bytes), LLMD_E_MISMATCH);
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 8192, NULL, NULL, &off, &bytes), LLMD_E_FULL);
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, UINT64_MAX, NULL, NULL, &off, &bytes), LLMD_E_FULL);
  memset(name, 'n', sizeof name);
  name[199] = 0;
  assert_int_equal(llmd__region_state(g, 7, name, 1, 64, NULL, NULL, &off, &bytes), LLMD_E_LIMIT);
  assert_true(off == 3 && bytes == 4);
  assert_null(llmd__region_state_at(g, 0));
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 4096, NULL, NULL, &off, &bytes), 0);
  free(g);
}

static void the_directory_fills_up(void **state)
{
  char name[32];
  llmd_region_options o = small();
  uint64_t off, bytes;
  size_t len;
  llmd__region *g;
  (void)state;
  o.state_bytes = 1 << 20;
  g = make(&o, &len);
  for (uint32_t i = 0; i < LLMD__STATES; i++) {
    snprintf(name, sizeof name, "x/%u/table", i);
    assert_int_equal(llmd__region_state(g, 7, name, 1, 64, NULL, NULL, &off, &bytes), 0);
  }
  assert_int_equal(llmd__region_state(g, 7, "one/more", 1, 64, NULL, NULL, &off, &bytes), LLMD_E_FULL);
  assert_int_equal(llmd__region_state(g, 7, "x/63/table", 1, 64, NULL, NULL, &off, &bytes), 0);
  free(g);
}

/* While one process makes its state, another has made the same: both go on with the one that was there first. */
static int note_zero(void *mem, size_t bytes, void *ud)
{
  int *zero = ud;
  *zero = llmd__region_state_is_zero(mem);
  memset(mem, 1, bytes);
  return *zero ? LLMD_E_MISMATCH : 0;
}

/* Room that somebody has had before is not zero any more, nor is any in a region that was made of any memory. */
static void new_room_of_a_new_file_is_zero(void **state)
{
  llmd_region_options o = small();
  uint64_t off, bytes;
  (void)state;
  for (int zeroed = 0; zeroed < 2; zeroed++) {
    int zero = -1;
    size_t len;
    llmd__region *g = make(&o, &len);
    memset(g, !zeroed, len);
    o.zeroed = (uint32_t)zeroed;
    assert_int_equal(llmd_region_format(g, len, &o), 0);
    assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 64, note_zero, &zero, &off, &bytes),
                     zeroed ? LLMD_E_MISMATCH : 0);
    assert_int_equal(zero, zeroed);
    assert_int_equal(llmd__region_state(g, 7, "x/b/table", 1, 640, note_zero, &zero, &off, &bytes), 0);
    assert_int_equal(zero, 0);
    assert_int_equal(llmd__region_state(g, 7, "x/c/table", 1, 64, note_zero, &zero, &off, &bytes),
                     zeroed ? LLMD_E_MISMATCH : 0);
    assert_int_equal(zero, zeroed);
    free(g);
  }
}

typedef struct race {
  llmd__region *g;
  uint64_t theirs;
} race;

static int overtaken(void *mem, size_t bytes, void *ud)
{
  race *r = ud;
  uint64_t got;
  memset(mem, 1, bytes);
  return llmd__region_state(r->g, 7, "x/a/table", 1, 64, NULL, NULL, &r->theirs, &got);
}

static void two_that_make_the_same_share_it(void **state)
{
  llmd_region_options o = small();
  uint64_t mine = 0, again = 0, bytes;
  size_t len;
  race r = {make(&o, &len), 0};
  (void)state;
  assert_int_equal(llmd__region_state(r.g, 7, "x/a/table", 1, 64, overtaken, &r, &mine, &bytes), 0);
  assert_true(mine != 0 && mine == r.theirs);
  assert_int_equal(llmd__region_state(r.g, 7, "x/a/table", 1, 64, NULL, NULL, &again, &bytes), 0);
  assert_true(again == mine);
  assert_null(llmd__region_state_at(r.g, 1));
  free(r.g);
}

/* Makers die: before they note their room, in the making, after the state was entered. */
typedef struct death {
  llmd__region *g, *copy;
  size_t len;
} death;

static int die_in_it(void *mem, size_t bytes, void *ud)
{
  death *d = ud;
  memset(mem, 2, bytes);
  memcpy(d->copy, d->g, d->len); /* as it stands when the maker is killed here */
  return 0;
}

static int left_out(uint64_t used, const llmd__region *g)
{
  return (int)(atomic_load(&g->state_used) - used);
}

static void what_a_dead_maker_took_comes_back(void **state)
{
  llmd_region_options o = small();
  uint64_t off, bytes, used;
  death d;
  (void)state;
  d.g = make(&o, &d.len);
  d.copy = aligned_alloc(64, (d.len + 63) & ~(size_t)63);
  assert_int_equal(llmd__region_state(d.g, 7, "x/a/table", 1, 64, NULL, NULL, &off, &bytes), 0);
  used = atomic_load(&d.g->state_used);
  assert_int_equal(llmd__region_state(d.g, 8, "x/b/table", 1, 6000, die_in_it, &d, &off, &bytes), 0);
  assert_true(left_out(used, d.copy) > 6000);
  assert_null(llmd__region_state_at(d.copy, 1));
  assert_int_equal(llmd__region_state(d.copy, 7, "x/c/table", 1, 6000, NULL, NULL, &off, &bytes), LLMD_E_BUSY);
  assert_int_equal(llmd__region_state(d.copy, 7, "x/d/table", 1, 64, NULL, NULL, &off, &bytes), 0); /* it fits */
  llmd__region_state_reclaim(d.copy, 9, 7); /* somebody else is dead */
  assert_int_equal(llmd__region_state(d.copy, 7, "x/c/table", 1, 6000, NULL, NULL, &off, &bytes), LLMD_E_BUSY);
  llmd__region_state_reclaim(d.copy, 8, 7);
  assert_int_equal(llmd__region_state(d.copy, 7, "x/c/table", 1, 6000, NULL, NULL, &off, &bytes), 0);
  assert_string_equal(llmd__region_state_at(d.copy, 2)->name, "x/c/table");
  free(d.copy);
  free(d.g);
}

static void room_that_was_taken_and_not_noted_comes_back(void **state)
{
  llmd_region_options o = small();
  uint64_t a, b, c, bytes;
  size_t len;
  llmd__region *g = make(&o, &len);
  (void)state;
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 64, NULL, NULL, &a, &bytes), 0);
  atomic_fetch_add(&g->state_used, 1024); /* killed here; it holds a claim */
  atomic_store(&llmd__region_claims(g)[3].owner, 8);
  assert_int_equal(llmd__region_state(g, 7, "x/b/table", 1, 64, NULL, NULL, &b, &bytes), 0);
  assert_true(b > a + 1024);
  atomic_fetch_add(&g->state_used, 1024); /* and another */
  llmd__region_state_reclaim(g, 8, 7);
  c = 1024 - llmd__region_state_head();
  assert_int_equal(llmd__region_state(g, 7, "x/c/table", 1, c, NULL, NULL, &c, &bytes), 0);
  assert_true(c > a && c < b); /* in the gap */
  assert_int_equal(llmd__region_state(g, 7, "x/d/table", 1, 64, NULL, NULL, &c, &bytes), 0);
  assert_true(c == b + 64 + llmd__region_state_head()); /* the last gap went back whence it came */
  free(g);
}

/* Two pieces were left one after the other, the upper one last: both go back whence they came. */
static void free_room_grows_together(void **state)
{
  llmd_region_options o = small();
  uint64_t a, b, bytes, most;
  size_t len;
  llmd__region *g = make(&o, &len);
  llmd__claim *c = llmd__region_claims(g);
  (void)state;
  assert_int_equal(llmd__region_state(g, 7, "x/a/table", 1, 64, NULL, NULL, &a, &bytes), 0);
  for (uint32_t i = 0; i < 2; i++) {
    atomic_store(&c[5 - i].bytes, 1024);
    atomic_store(&c[5 - i].off, llmd__region_state_room(g) + atomic_load(&g->state_used));
    atomic_fetch_add(&g->state_used, 1024);
  }
  most = o.state_bytes - 64 - 2 * llmd__region_state_head();
  assert_int_equal(llmd__region_state(g, 7, "x/b/table", 1, most, NULL, NULL, &b, &bytes), 0);
  assert_true(b == a + 64 + llmd__region_state_head());
  assert_int_equal(atomic_load(&c[4].off) + atomic_load(&c[5].off), 0);
  free(g);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_follow_the_options),
      cmocka_unit_test(format_needs_room_and_alignment),
      cmocka_unit_test(shorter_options_are_not_read_past_their_end),
      cmocka_unit_test(every_damaged_word_of_the_layout_is_seen),
      cmocka_unit_test(state_is_made_once_and_found_by_name),
      cmocka_unit_test(refused_state_leaves_no_trace),
      cmocka_unit_test(the_directory_fills_up),
      cmocka_unit_test(new_room_of_a_new_file_is_zero),
      cmocka_unit_test(two_that_make_the_same_share_it),
      cmocka_unit_test(what_a_dead_maker_took_comes_back),
      cmocka_unit_test(room_that_was_taken_and_not_noted_comes_back),
      cmocka_unit_test(free_room_grows_together),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
