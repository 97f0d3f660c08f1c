/* Interned strings: the same text is the same id, ids give their text back, caps are caps. */
#include "small_pool.h"

#include "model/pool.h"
#include "model/strings.h"

static void the_same_text_is_the_same_id(void **state)
{
  llmd_pool *p = small_pool(4);
  uint32_t a = llmd__string_add(p, "alpha", 5), b = llmd__string_add(p, "alph", 4);
  llmd_str s;
  (void)state;
  assert_true(a && b && a != b);
  assert_int_equal(llmd__string_add(p, "alphabet", 5), a);
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
  assert_int_equal(llmd__string_add(p, "", 0), 0);
  assert_int_equal(llmd__string_add(p, NULL, 0), 0);
  assert_int_equal(llmd__string_find(p->g, NULL, 0), 0);
  assert_int_equal(llmd__string_add(p, big, 4097), 0);
  assert_int_equal(llmd__string_find(p->g, big, 4097), 0);
  assert_true(llmd__string_add(p, big, 4096) != 0);
  assert_int_equal(llmd__string_text(p->g, 0).len, 0);
  assert_int_equal(llmd__string_text(p->g, UINT32_MAX).len, 0);
  assert_non_null(llmd__string_text(p->g, 0).ptr);
  llmd_pool_close(p);
}

/* Fills the room with names of one length; returns how many there were. */
static uint32_t fill(llmd_pool *p, const char *before, int digits)
{
  char text[64];
  uint32_t n = 0, id = 1, first = 0, last = 0;
  while (id) {
    int len = snprintf(text, sizeof text, "%s%0*u", before, digits, n);
    id = llmd__string_add(p, text, (size_t)len);
    first = n ? first : id;
    last = id ? id : last;
    n += id != 0;
  }
  assert_int_equal(llmd__string_find(p->g, text, strlen(text)), 0);
  snprintf(text, sizeof text, "%s%0*u", before, digits, n - 1);
  assert_int_equal(llmd__string_find(p->g, text, strlen(text)), last);
  snprintf(text, sizeof text, "%s%0*u", before, digits, 0u);
  assert_int_equal(llmd__string_add(p, text, strlen(text)), first); /* what is there stays findable */
  return n;
}

static llmd_pool *pool_with(uint64_t string_bytes)
{
  llmd_region_options ro = small_region(4);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p;
  ro.string_bytes = string_bytes;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  return p;
}

static void bytes_are_the_cap(void **state)
{
  llmd_pool *p = pool_with(4096);
  (void)state;
  assert_int_equal(fill(p, "a-label-of-some-length-", 8), 4096 / 40); /* 8 + 31 + NUL */
  assert_int_equal(atomic_load(&p->g->strings_refused), 1);
  assert_int_equal(atomic_load(&p->g->string_used), 4096 / 40 * 40);
  llmd_pool_close(p);
  p = pool_with(1 << 16);
  assert_int_equal(fill(p, "", 1), 4096); /* sixteen bytes each, and the table has a chain for each */
  llmd_pool_close(p);
}

/* ---- the sweep -------------------------------------------------------------------------------------------------- */

static int is_there(const llmd_pool *p, const char *text)
{
  return llmd__string_find(p->g, text, strlen(text)) != 0;
}

static void what_nobody_names_goes(void **state)
{
  llmd_pool *p = pool_with(4096);
  uint32_t n, names = 2; /* place and name of the one endpoint */
  (void)state;
  add(p, "stays", 1);
  publish(p);
  n = fill(p, "forgotten-", 6);
  assert_true(n > 100);
  assert_int_equal(llmd__strings_make_room(p), n);
  assert_int_equal(atomic_load(&p->g->string_count), names);
  assert_true(is_there(p, "stays") && is_there(p, "default/stays:1"));
  assert_false(is_there(p, "forgotten-000000"));
  assert_true(find(p, "stays:1") != 0);
  assert_int_equal(fill(p, "again-----", 6), n); /* all of it can be used again */
  llmd_pool_close(p);
}

static void add_all_kinds(llmd_pool *p, llmd_endpoint_id *id)
{
  llmd_label label = {str("role"), str("decode")};
  llmd_endpoint e = at("place", 9);
  llmd_str model = str("an-adapter");
  int column = llmd_pool_attribute(p, "Note", "tests", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  e.labels = &label;
  e.n_labels = 1;
  assert_int_equal(llmd_pool_add(p, &e, id), 0);
  assert_int_equal(llmd_pool_set_text(p, *id, (uint32_t)column, "a-note", 6), 0);
  assert_int_equal(llmd_pool_set_models(p, *id, LLMD_ATTR_ACTIVE_MODELS, &model, 1), 0);
}

static const char *const all_kinds[] = {"place", "default/place:9", "role", "decode", "a-note", "an-adapter"};

static uint32_t how_many_there(const llmd_pool *p)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < 6; i++)
    n += (uint32_t)is_there(p, all_kinds[i]);
  return n;
}

/* Names, labels, text columns and sets hold a string; so does a buffer that a lane pins, when the endpoint is long
 * gone. */
static void whatever_is_named_stays(void **state)
{
  llmd_pool *p = pool_with(16384);
  llmd_endpoint_id id;
  llmd__snapshot snap;
  uint32_t lane;
  (void)state;
  add_all_kinds(p, &id);
  assert_int_equal(llmd__strings_make_room(p), 0); /* staged only */
  publish(p);
  assert_int_equal(llmd__pool_lane_take(p, &lane), 0);
  assert_int_equal(llmd__pool_pin(p, lane, &snap), 0);
  assert_int_equal(llmd_pool_remove(p, id), 0);
  for (uint32_t i = 0; i < 6; i++)
    publish(p);
  assert_int_equal(llmd__strings_make_room(p), 0); /* pinned only */
  assert_int_equal(how_many_there(p), 6);
  assert_string_equal(llmd__string_text(p->g, snap.view.row[0].name).ptr, "default/place:9");
  llmd__pool_unpin(p, lane);
  for (uint32_t i = 0; i < 6; i++)
    publish(p);
  assert_int_equal(llmd__strings_make_room(p), 6);
  assert_int_equal(how_many_there(p), 0);
  assert_int_equal(atomic_load(&p->g->string_used), 0);
  llmd__pool_lane_leave(p, lane);
  llmd_pool_close(p);
}

/* With room to spare a string that nobody names is left alone for ten seconds, between two looks. */
static void text_stays_a_while(void **state)
{
  llmd_pool *p = pool_with(4096);
  llmd_now now = {1, 1};
  (void)state;
  for (uint32_t i = 0; i < 30; i++) {
    char text[32];
    assert_true(llmd__string_add(p, text, (size_t)snprintf(text, sizeof text, "some-name-of-length-%04u", i)));
  }
  now.mono = 11000000000u;
  for (uint32_t i = 0; i < 50; i++)
    assert_int_equal(llmd_pool_tick(p, &now, NULL), 0);
  assert_int_equal(atomic_load(&p->g->string_count), 30);
  now.mono += 9999999999u;
  for (uint32_t i = 0; i < 50; i++)
    assert_int_equal(llmd_pool_tick(p, &now, NULL), 0);
  assert_int_equal(atomic_load(&p->g->string_count), 30);
  now.mono += 2;
  for (uint32_t i = 0; i < 50; i++)
    assert_int_equal(llmd_pool_tick(p, &now, NULL), 0);
  assert_int_equal(atomic_load(&p->g->string_count), 0);
  llmd_pool_close(p);
}

/* Pods come and go under ever new names: nothing is ever refused, and what is published can be read. */
static void new_names_for_ever(void **state)
{
  llmd_region_options ro = small_region(128);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  const char *wanted = getenv("LLMD_REPLACEMENTS");
  uint32_t total = wanted ? (uint32_t)strtoul(wanted, NULL, 10) : 100000;
  llmd_endpoint_id id[64] = {0};
  llmd_now now = {1, 1};
  char name[64], full[80];
  llmd_pool *p;
  (void)state;
  ro.string_bytes = 32768; /* 64 endpoints name some 8 KiB */
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  for (uint32_t i = 0; i < total; i++) {
    llmd_endpoint e = at(name, 8000);
    int len = snprintf(name, sizeof name, "vllm-deployment-%08x.pods.example", i * 2654435761u);
    e.address.len = (size_t)len;
    snprintf(full, sizeof full, "%s:8000", name);
    if (id[i % 64])
      assert_int_equal(llmd_pool_remove(p, id[i % 64]), 0);
    assert_int_equal(llmd_pool_add(p, &e, &id[i % 64]), 0);
    now.mono += 1000;
    assert_int_equal(llmd_pool_publish(p, &now), 0);
    assert_int_equal(llmd_pool_tick(p, &now, NULL), 0);
    assert_true(find(p, full) == id[i % 64]);
  }
  assert_int_equal(atomic_load(&p->g->strings_refused), 0); /* the ticks were enough: nobody had to sweep at once */
  llmd_pool_close(p);
}

/* Without ticks the call that finds no room sweeps by itself. */
static void a_name_that_finds_no_room_sweeps(void **state)
{
  llmd_pool *p = pool_with(2048);
  int note = llmd_pool_attribute(p, "Note", "tests", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  char name[32];
  (void)state;
  for (uint32_t i = 0; i < 300; i++) {
    llmd_endpoint e = at(name, 1);
    llmd_endpoint_id id;
    e.address.len = (size_t)snprintf(name, sizeof name, "a-name-that-is-new-%05u", i);
    assert_int_equal(llmd_pool_add(p, &e, &id), 0);
    assert_int_equal(llmd_pool_set_text(p, id, (uint32_t)note, name, 10 + i % 9), 0);
    for (uint32_t k = 0; k < 4; k++)
      publish(p);
    assert_int_equal(llmd_pool_remove(p, id), 0);
    llmd__pool_forgotten(p, llmd__slot_of(id));
  }
  assert_true(atomic_load(&p->g->strings_freed) > 300);
  llmd_pool_close(p);
}

/* Names that can only be refused cost a sweep now and then, not one each. */
static void a_full_pool_is_not_swept_for_each_name(void **state)
{
  llmd_pool *p = pool_with(1024);
  llmd_endpoint_id id = 0;
  llmd_str name = str("a-name-that-no-sweep-makes-room-for");
  int note = llmd_pool_attribute(p, "Note", "tests", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT);
  (void)state;
  id = add(p, "x", 1);
  for (uint32_t i = 0; atomic_load(&p->g->string_used) < 1000; i++) { /* labels hold the rest */
    char text[4][120];
    llmd_label label[4];
    for (uint32_t k = 0; k < 4; k++) {
      snprintf(text[k], sizeof text[k], "%0*u", 100 + (int)i, k);
      label[k].key = label[k].value = str(text[k]);
    }
    if (llmd_pool_set_labels(p, id, label, 4))
      break;
    publish(p);
    id = add(p, i % 2 ? "y" : "z", 2 + i);
  }
  for (uint32_t i = 0; i < 320; i++) {
    assert_int_equal(llmd_pool_set_text(p, id, (uint32_t)note, name.ptr, name.len), LLMD_E_FULL);
    if (i % 2)
      publish(p);
  }
  assert_true(p->books->rescues >= 10 && p->books->rescues <= 14); /* 160 publishes */
  llmd_pool_close(p);
}

static void ids_are_the_same_for_every_reader(void **state)
{
  llmd_region_options ro = small_region(4);
  size_t len = llmd_region_size(&ro);
  char *mem = aligned_alloc(64, (len + 63) & ~(size_t)63), *copy = aligned_alloc(64, (len + 63) & ~(size_t)63);
  llmd_pool_options po = {.size = sizeof po, .mem = mem, .mem_len = len, .flags = LLMD_POOL_WRITER};
  llmd_pool *p;
  uint32_t id;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  id = llmd__string_add(p, "somewhere", 9);
  memcpy(copy, mem, len); /* as if mapped at another address */
  assert_int_equal(llmd__string_find((llmd__region *)(void *)copy, "somewhere", 9), id);
  assert_memory_equal(llmd__string_text((llmd__region *)(void *)copy, id).ptr, "somewhere", 9);
  llmd_pool_close(p);
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0); /* the next writer counts what is there */
  assert_int_equal(llmd__string_add(p, "somewhere", 9), id);
  assert_true(llmd__string_add(p, "elsewhere", 9) > id);
  assert_string_equal(llmd__string_text(p->g, id).ptr, "somewhere");
  llmd_pool_close(p);
  free(mem);
  free(copy);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_text_is_the_same_id), cmocka_unit_test(nothing_and_too_much_have_no_id),
      cmocka_unit_test(bytes_are_the_cap), cmocka_unit_test(what_nobody_names_goes),
      cmocka_unit_test(whatever_is_named_stays), cmocka_unit_test(text_stays_a_while),
      cmocka_unit_test(new_names_for_ever), cmocka_unit_test(a_name_that_finds_no_room_sweeps),
      cmocka_unit_test(a_full_pool_is_not_swept_for_each_name),
      cmocka_unit_test(ids_are_the_same_for_every_reader)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
