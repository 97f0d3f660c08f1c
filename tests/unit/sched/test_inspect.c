/* Looking at a region from outside: figures are right, a sound one has no fault, and damage is told with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "busy_region.h"

#include "base/region.h"
#include "prefix/index.h"

typedef struct told {
  uint64_t at;
  char part[32], text[256];
  int n;
} told;

static int note(void *ud, uint64_t offset, const char *part, const char *text)
{
  told *t = ud;
  if (!t->n++) {
    t->at = offset;
    snprintf(t->part, sizeof t->part, "%s", part);
    snprintf(t->text, sizeof t->text, "%s", text);
  }
  return 0;
}

static void print_if(const told *t, int wanted)
{
  if ((t->n != 0) != wanted)
    print_message("# %s at %llu: %s\n", t->part, (unsigned long long)t->at, t->text);
}

static void figures_are_right(void **state)
{
  size_t len;
  void *mem = busy_region(&len);
  llmd_region_stats s = {.size = sizeof s};
  (void)state;
  assert_int_equal(llmd_region_stats_get(mem, len, &s, NULL), 0);
  assert_int_equal(s.bytes, len);
  assert_int_equal(s.endpoints, 5);
  assert_int_equal(s.staged, 5);
  assert_int_equal(s.max_endpoints, 8);
  assert_int_equal(s.lanes, 1);
  assert_int_equal(s.max_lanes, 3);
  assert_int_equal(s.pinned, 0);
  assert_int_equal(s.tickets, 1);
  assert_int_equal(s.halfway, 0);
  assert_int_equal(s.generation, 1);
  assert_int_equal(s.published, 4);
  assert_int_equal(s.states, 2);
  assert_int_equal(s.making, 0);
  assert_int_equal(s.writer_owner, 21);
  assert_true(s.writer != 0);
  assert_true(s.posts && s.posts == s.ring_most);
  assert_int_equal(s.strings, 2 * 6 + 3 + 1 + 2); /* places and names; labels; the note; models */
  assert_true(s.string_used > 200 && s.string_used < s.string_bytes);
  assert_int_equal(llmd_region_stats_get(mem, len - 1, &s, NULL), LLMD_E_MISMATCH);
  s.size = offsetof(llmd_region_stats, tickets_reclaimed); /* a caller that knows no more */
  s.tickets_reclaimed = 77;
  assert_int_equal(llmd_region_stats_get(mem, len, &s, NULL), 0);
  assert_true(s.tickets_reclaimed == 77 && s.size == offsetof(llmd_region_stats, tickets_reclaimed));
  s.size = 4;
  assert_int_equal(llmd_region_stats_get(mem, len, &s, NULL), LLMD_E_INVALID);
  free(mem);
}

static void parts_follow_each_other(void **state)
{
  size_t len;
  void *mem = busy_region(&len);
  llmd_region_part p = {.size = sizeof p};
  uint64_t at = 0;
  uint32_t n = 0;
  (void)state;
  for (; !llmd_region_part_at(mem, len, n, &p); n++) {
    assert_int_equal(p.offset, at);
    assert_true(p.bytes > 0);
    at += p.bytes;
  }
  assert_int_equal(n, 12);
  assert_int_equal(at, len);
  free(mem);
}

static void lanes_and_state_are_listed(void **state)
{
  size_t len;
  void *mem = busy_region(&len);
  llmd_region_lane l = {.size = sizeof l};
  llmd_region_state s = {.size = sizeof s};
  uint32_t n = 0;
  (void)state;
  assert_int_equal(llmd_region_lane_at(mem, len, 0, &l), 0);
  assert_int_equal(l.owner, 21);
  assert_true(l.posted > l.applied);
  while (!llmd_region_lane_at(mem, len, n, &l))
    n++;
  assert_int_equal(n, 5);
  assert_int_equal(llmd_region_state_at(mem, len, 0, &s), 0);
  assert_int_equal(s.kind, LLMD_STATE_PREFIX);
  assert_non_null(strstr(s.name, "/prefix"));
  assert_int_equal(llmd_region_state_at(mem, len, 1, &s), 0);
  assert_int_equal(s.kind, LLMD_STATE_INDEX);
  assert_string_equal(s.name, "prefix/exact");
  assert_int_equal(llmd_region_state_at(mem, len, 2, &s), LLMD_E_NONE);
  free(mem);
}

static void a_region_at_work_is_sound(void **state)
{
  size_t len;
  void *mem = busy_region(&len);
  told t = {0};
  int n = llmd_region_inspect(mem, len, NULL, note, &t);
  (void)state;
  print_if(&t, 0);
  assert_int_equal(n, 0);
  free(mem);
}

/* Each damages one thing; the first fault told must be in that part (NULL: of its place alone). */
typedef struct hurt {
  const char *part, *text;
  void (*fn)(llmd__region *g);
} hurt;

static llmd__row *row(llmd__region *g, uint32_t buffer, llmd__buffer_view *v)
{
  llmd__region_view(g, buffer, v);
  return &v->row[2];
}

static void the_sum(llmd__region *g) { g->caps.models++; }
static void an_attribute(llmd__region *g) { llmd__region_attributes(g)[3].type = 9; }
static void too_many_attributes(llmd__region *g) { atomic_store(&g->n_attributes, 17); }
static void a_buffer(llmd__region *g) { atomic_store(&g->current, 7); }
static void a_pin(llmd__region *g) { atomic_store(&llmd__region_lanes(g)[1].pin, 1); }
static void a_ring(llmd__region *g) { atomic_fetch_add(&llmd__region_lanes(g)[0].head, 1025); }
static void a_post(llmd__region *g) { memset(llmd__at(g, g->ring_off), 0xee, 4); }
static void a_ticket(llmd__region *g) { atomic_store(&llmd__region_tickets(g)[3].state, 5); }
static void a_directory(llmd__region *g) { *(uint64_t *)llmd__at(g, g->state_off) = 1; }
static void a_claim(llmd__region *g) { atomic_store(&llmd__region_claims(g)[1].off, 64); }
static void the_room(llmd__region *g) { atomic_store(&g->state_used, g->caps.state_bytes + 64); }
static void a_count(llmd__region *g) { atomic_fetch_add(&g->string_count, 1); }

static void a_name(llmd__region *g)
{
  llmd__buffer_view v;
  row(g, LLMD__BUFFERS, &v)->name++;
}

static void a_slot(llmd__region *g)
{
  llmd__buffer_view v;
  row(g, 0, &v)->slot = 77;
}

static void two_names(llmd__region *g)
{
  llmd__buffer_view v;
  llmd__row *r = row(g, LLMD__BUFFERS, &v);
  r[1].name = r->name;
}

static void a_label(llmd__region *g)
{
  llmd__buffer_view v;
  row(g, 0, &v);
  v.label[2] = 1u << 30;
}

static void a_set(llmd__region *g)
{
  llmd__buffer_view v;
  row(g, 0, &v);
  v.set[0] = 5;
}

static void a_text(llmd__region *g)
{
  ((char *)llmd__at(g, g->string_off))[9] ^= 1; /* the first string's first letters */
}

static void a_chain(llmd__region *g)
{
  uint32_t *table = llmd__at(g, g->table_off);
  uint32_t at = 0;
  while (!table[at])
    at++;
  table[at] = UINT32_MAX;
}

static void an_exact_index(llmd__region *g)
{
  memset(llmd__at(g, llmd__region_state_at(g, 1)->off), 0, 64);
}

static void an_index(llmd__region *g)
{
  memset(llmd__at(g, llmd__region_state_at(g, 0)->off), 0, 64);
}

static void damage_is_told_with_its_place(void **state)
{
  static const hurt all[] = {
      {"head", "damaged", the_sum}, {"attributes", "type 9", an_attribute},
      {"head", "17 attributes", too_many_attributes},
      {"head", "buffer 7", a_buffer}, {"lanes", "is free and pins", a_pin}, {"lanes", "lane 0", a_ring},
      {"rings", "lane 0", a_post}, {"tickets", "state 5", a_ticket}, {"state", "entry 0", a_directory},
      {"state", "outside", a_claim}, {"head", "of state are taken", the_room}, {"head", "strings are counted", a_count},
      {"staging", "name", a_name}, {"buffers", "in slot 77", a_slot}, {"staging", "two endpoints", two_names},
      {"buffers", "label", a_label}, {"buffers", "members", a_set}, {"strings", "hash", a_text},
      {"string table", "outside", a_chain}, {"state", "prefix index", an_index},
      {"state", "exact index", an_exact_index},
  };
  size_t len;
  void *mem = busy_region(&len), *copy = aligned_alloc(64, (len + 63) & ~(size_t)63);
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    told t = {0};
    int n;
    memcpy(copy, mem, len);
    all[i].fn(copy);
    n = llmd_region_inspect(copy, len, NULL, note, &t);
    if (n < 1 || strcmp(t.part, all[i].part) || !strstr(t.text, all[i].text) || t.at >= len)
      fail_msg("%s, %s: %d faults, the first: %s at %llu: %s", all[i].part, all[i].text, n, t.part,
               (unsigned long long)t.at, t.text);
  }
  free(copy);
  free(mem);
}

static int enough(void *ud, uint64_t offset, const char *part, const char *text)
{
  (void)offset;
  (void)part;
  (void)text;
  return ++*(int *)ud == 2;
}

static void the_caller_says_when_it_is_enough(void **state)
{
  size_t len;
  llmd__region *g = busy_region(&len);
  int n = 0;
  (void)state;
  for (uint32_t i = 0; i < 6; i++)
    llmd__region_attributes(g)[i].type = 9;
  assert_int_equal(llmd_region_inspect(g, len, NULL, enough, &n), 2);
  assert_int_equal(n, 2);
  assert_true(llmd_region_inspect(g, len, NULL, NULL, NULL) >= 6);
  free(g);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(figures_are_right),         cmocka_unit_test(parts_follow_each_other),
      cmocka_unit_test(lanes_and_state_are_listed), cmocka_unit_test(a_region_at_work_is_sound),
      cmocka_unit_test(damage_is_told_with_its_place), cmocka_unit_test(the_caller_says_when_it_is_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
