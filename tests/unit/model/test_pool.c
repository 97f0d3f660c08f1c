/* Endpoints: added, found, published, removed; what is refused and leaves everything as it was. */
#include "small_pool.h"

#include <math.h>

#include "model/pool.h"

static void adds_and_finds(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint e = at("10.0.0.2", 8000);
  llmd_endpoint_id a = add(p, "10.0.0.1", 8000), b;
  (void)state;
  e.name = str("pod-b");
  e.space = str("prod");
  e.rank = 3;
  assert_int_equal(llmd_pool_add(p, &e, &b), 0);
  assert_true(find(p, "10.0.0.1:8000") == a);
  assert_true(find(p, "default/10.0.0.1:8000") == a);
  assert_true(find(p, "prod/pod-b") == b);
  assert_true(find(p, "10.0.0.2:8000/3") == b);
  assert_true(find(p, "10.0.0.2:8000") == 0); /* rank 0 is another one */
  assert_true(find(p, "default/pod-b") == 0);
  assert_true(find(p, "10.0.0.1:800000") == 0);
  assert_true(find(p, "10.0.0.1:") == 0 && find(p, ":") == 0 && find(p, "") == 0 && find(p, "8000") == 0);
  assert_true(find(p, "10.0.0.1:8000/") == 0 && find(p, "/3") == 0);
  llmd_pool_close(p);
}

static void finds_ipv6_with_and_without_brackets(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "fd00::1", 8000), b;
  llmd_endpoint e = at("fd00::1", 8000);
  (void)state;
  e.rank = 2;
  assert_int_equal(llmd_pool_add(p, &e, &b), 0);
  assert_true(find(p, "[fd00::1]:8000") == a);
  assert_true(find(p, "fd00::1:8000") == a);
  assert_true(find(p, "[fd00::1]:8000/2") == b);
  assert_true(find(p, "[fd00::1]") == 0);
  llmd_pool_close(p);
}

static void ranks_of_any_size_have_names_of_their_own(void **state)
{
  static const uint32_t ranks[] = {1, 10, 1000, 1001, 2000, 65535};
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id id[6];
  (void)state;
  for (uint32_t i = 0; i < 6; i++) {
    llmd_endpoint e = at("10.0.0.1", 8000);
    e.rank = ranks[i];
    assert_int_equal(llmd_pool_add(p, &e, &id[i]), 0);
  }
  assert_true(find(p, "default/10.0.0.1:8000/1000") == id[2]);
  assert_true(find(p, "10.0.0.1:8000/2000") == id[4]);
  llmd_pool_close(p);
}

static void the_same_twice_is_refused(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id id = 77;
  llmd_endpoint e = at("10.0.0.1", 8000);
  (void)state;
  e.name = str("a");
  assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  id = 77;
  e.name = str("b"); /* same place */
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_DUPLICATE);
  e = at("10.0.0.2", 8000); /* same name */
  e.name = str("a");
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_DUPLICATE);
  e.space = str("other");
  assert_true(id == 77);
  assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  llmd_pool_close(p);
}

static void what_is_no_endpoint_is_refused(void **state)
{
  static char longer[1100];
  llmd_pool *p = small_pool(8);
  llmd_label label = {{"", 0}, {"x", 1}};
  llmd_label five[5] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {"1", 1}}, {{"c", 1}, {"1", 1}}, {{"d", 1}, {"1", 1}},
                        {{"e", 1}, {"1", 1}}};
  llmd_endpoint_id id;
  llmd_endpoint e = at("", 8000);
  (void)state;
  memset(longer, 'x', sizeof longer);
  assert_int_equal(llmd_pool_add(p, NULL, &id), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_INVALID);
  static const char *const forged[] = {"10.0.0.1\r\nx-evil: 1", "10.0.0.1,10.0.0.2", "[fe80::1]", "10.0.0.1 ", "a\x7f"};
  for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) { /* it would go into a header's list */
    e = at(forged[i], 1);
    assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_INVALID);
  }
  e = at("10.0.0.1", 65536);
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_INVALID);
  e = at("10.0.0.1", 1);
  e.space = str("a/b");
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_INVALID);
  e = at("10.0.0.1", 1);
  e.n_labels = 1;
  e.labels = &label;
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_INVALID);
  e.n_labels = 5; /* the region has room for four */
  e.labels = five;
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_LIMIT);
  e = at("10.0.0.1", 1);
  e.address.ptr = longer;
  e.address.len = 256;
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_LIMIT);
  e = at("10.0.0.1", 1);
  e.name.ptr = longer;
  e.name.len = sizeof longer;
  assert_int_equal(llmd_pool_add(p, &e, &id), LLMD_E_LIMIT);
  publish(p);
  assert_int_equal(llmd_pool_count(p), 0);
  llmd_pool_close(p);
}

static void an_id_dies_with_its_endpoint(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1), b;
  llmd_str model = {"adapter", 7};
  int64_t requests, tokens;
  (void)state;
  assert_int_equal(llmd_pool_set(p, a, LLMD_ATTR_WAITING, 4), 0);
  assert_int_equal(llmd_pool_set_models(p, a, LLMD_ATTR_ACTIVE_MODELS, &model, 1), 0);
  publish(p);
  assert_int_equal(llmd_pool_models(p, a, LLMD_ATTR_ACTIVE_MODELS, &model, 1), 1);
  assert_int_equal(llmd_pool_remove(p, a), 0);
  assert_int_equal(llmd_pool_remove(p, a), LLMD_E_STALE);
  assert_int_equal(llmd_pool_set(p, a, LLMD_ATTR_WAITING, 5), LLMD_E_STALE);
  assert_int_equal(llmd_pool_set_text(p, a, 8, "x", 1), LLMD_E_STALE);
  assert_int_equal(llmd_pool_set_models(p, a, LLMD_ATTR_ACTIVE_MODELS, NULL, 0), LLMD_E_STALE);
  assert_int_equal(llmd_pool_touch(p, a, 1), LLMD_E_STALE);
  assert_int_equal(llmd_pool_drain(p, a, 1), LLMD_E_STALE);
  assert_int_equal(llmd_pool_set_labels(p, a, NULL, 0), LLMD_E_STALE);
  assert_int_equal(llmd_pool_scrape(p, a, "", 0, 1), LLMD_E_STALE);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_WAITING) == 4); /* still published */
  publish(p);
  assert_true(isnan(llmd_pool_value(p, a, LLMD_ATTR_WAITING)));
  assert_int_equal(llmd_pool_inflight(p, a, &requests, &tokens), LLMD_E_STALE);
  tick(p);
  b = add(p, "10.0.0.9", 1);
  publish(p);
  assert_int_equal((uint32_t)b, (uint32_t)a); /* the slot again, */
  assert_true(b != a);                        /* under another id, */
  assert_true(isnan(llmd_pool_value(p, b, LLMD_ATTR_WAITING))); /* knowing nothing */
  assert_int_equal(llmd_pool_models(p, b, LLMD_ATTR_ACTIVE_MODELS, &model, 1), 0);
  assert_int_equal(llmd_pool_remove(p, a), LLMD_E_STALE);
  assert_int_equal(llmd_pool_count(p), 1);
  llmd_pool_close(p);
}

static void a_slot_is_free_after_the_next_tick(void **state)
{
  llmd_pool *p = small_pool(2);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1), id;
  llmd_endpoint third = at("10.0.0.3", 1);
  (void)state;
  add(p, "10.0.0.2", 1);
  assert_int_equal(llmd_pool_add(p, &third, &id), LLMD_E_FULL);
  assert_int_equal(llmd_pool_remove(p, a), 0);
  assert_int_equal(llmd_pool_add(p, &third, &id), LLMD_E_FULL); /* plugins have not forgotten the first one yet */
  tick(p);
  assert_int_equal(llmd_pool_add(p, &third, &id), 0);
  assert_int_equal(llmd_pool_remove(p, id), 0);
  assert_int_equal(llmd_pool_remove(p, find(p, "10.0.0.2:1")), 0);
  tick(p); /* neighbours, both */
  add(p, "10.0.0.4", 1);
  add(p, "10.0.0.5", 1);
  llmd_pool_close(p);
}

/* ---- publishing ------------------------------------------------------------------------------------------------- */

static void nothing_is_seen_before_publish(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  (void)state;
  assert_int_equal(llmd_pool_count(p), 0);
  publish(p);
  assert_int_equal(llmd_pool_count(p), 1);
  assert_int_equal(llmd_pool_set(p, a, LLMD_ATTR_RUNNING, 3), 0);
  assert_true(isnan(llmd_pool_value(p, a, LLMD_ATTR_RUNNING)));
  publish(p);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_RUNNING) == 3);
  assert_true(isnan(llmd_pool_value(p, a, 999)));
  llmd_pool_close(p);
}

/* Two lanes' slots and the two spare ones can pin; each of the buffers but the current one by one of them. */
static void publish_waits_for_nobody(void **state)
{
  llmd_pool *p = small_pool(8);
  uint32_t lane[2], spare;
  llmd__snapshot snap[2], more;
  (void)state;
  add(p, "10.0.0.1", 1);
  publish(p);
  for (uint32_t i = 0; i < 2; i++) {
    assert_int_equal(llmd__pool_lane_take(p, &lane[i]), 0);
    assert_int_equal(llmd__pool_pin(p, lane[i], &snap[i]), 0);
    publish(p);
  }
  assert_int_equal(llmd__pool_lane_take(p, &spare), LLMD_E_FULL);
  assert_int_equal(llmd_pool_count(p), 1); /* a reader without a lane still finds a slot */
  assert_int_equal(llmd__pool_glance(p, &spare, &more), 0);
  publish(p);
  assert_int_equal(llmd_pool_publish(p, &small_now), LLMD_E_BUSY);
  assert_int_equal(snap[0].n, 1);
  assert_true(snap[0].generation == 1 && snap[1].generation == 2 && more.generation == 3);
  llmd__pool_unpin(p, lane[0]);
  publish(p);
  llmd__pool_glance_end(p, spare);
  llmd__pool_lane_leave(p, lane[0]);
  llmd__pool_lane_leave(p, lane[1]);
  llmd_pool_close(p);
}

struct seen {
  uint32_t n;
  char text[256];
};

static int note(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  struct seen *s = ud;
  size_t len = strlen(s->text);
  int n = snprintf(s->text + len, sizeof s->text - len, "%.*s/%.*s %.*s:%u/%u", (int)e->space.len, e->space.ptr,
                   (int)e->name.len, e->name.ptr, (int)e->address.len, e->address.ptr, e->port, e->rank);
  assert_true(id != 0 && n > 0);
  for (uint32_t i = 0; i < e->n_labels; i++) {
    len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, " %.*s=%.*s", (int)e->labels[i].key.len, e->labels[i].key.ptr,
             (int)e->labels[i].value.len, e->labels[i].value.ptr);
  }
  strcat(s->text, ";");
  return ++s->n == 2;
}

static void describes_what_was_published(void **state)
{
  llmd_label labels[2] = {{{"role", 4}, {"decode", 6}}, {{"empty", 5}, {NULL, 0}}};
  llmd_pool *p = small_pool(8);
  llmd_endpoint e = at("10.0.0.1", 8000);
  llmd_endpoint_id id;
  struct seen seen = {0, ""};
  (void)state;
  e.name = str("pod/0");
  e.labels = labels;
  e.n_labels = 2;
  assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  add(p, "10.0.0.2", 1);
  add(p, "10.0.0.3", 1);
  assert_int_equal(llmd_pool_each(p, note, &seen), 0); /* nothing published */
  assert_int_equal(seen.n, 0);
  publish(p);
  assert_int_equal(llmd_pool_each(p, note, &seen), 1); /* stopped after two */
  assert_string_equal(seen.text, "default/pod/0 10.0.0.1:8000/0 role=decode empty=;"
                                 "default/10.0.0.2:1 10.0.0.2:1/0;");
  labels[0].value = str("prefill");
  assert_int_equal(llmd_pool_set_labels(p, id, labels, 1), 0);
  assert_int_equal(llmd_pool_set_labels(p, id, labels, 5), LLMD_E_LIMIT);
  publish(p);
  memset(&seen, 0, sizeof seen);
  llmd_pool_each(p, note, &seen);
  assert_string_equal(seen.text, "default/pod/0 10.0.0.1:8000/0 role=prefill;default/10.0.0.2:1 10.0.0.2:1/0;");
  llmd_pool_close(p);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static void absurd_values_become_unknown(void **state)
{
  static const struct {
    uint32_t attribute;
    double good, bad;
  } rows[] = {
      {LLMD_ATTR_WAITING, 0, -1},           {LLMD_ATTR_WAITING, 2147483647.0, 2147483648.0},
      {LLMD_ATTR_RUNNING, 7, INFINITY},     {LLMD_ATTR_KV_USAGE, 1.5, 1.6},
      {LLMD_ATTR_KV_USAGE, 0.25, -INFINITY}, {LLMD_ATTR_NUM_BLOCKS, 1e6, 1e12},
  };
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  uint64_t refused = 0;
  (void)state;
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(llmd_pool_set(p, a, rows[i].attribute, rows[i].good), 0);
    publish(p);
    assert_true(llmd_pool_value(p, a, rows[i].attribute) == rows[i].good);
    assert_int_equal(llmd_pool_set(p, a, rows[i].attribute, rows[i].bad), LLMD_E_RANGE);
    publish(p);
    assert_true(isnan(llmd_pool_value(p, a, rows[i].attribute)));
    assert_int_equal(atomic_load(&p->g->samples_refused), ++refused);
  }
  assert_int_equal(llmd_pool_set(p, a, LLMD_ATTR_WAITING, NAN), 0); /* unknown is no offence */
  assert_int_equal(atomic_load(&p->g->samples_refused), refused);
  llmd_pool_close(p);
}

static void custom_values_may_be_anything_finite(void **state)
{
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  int i = llmd_pool_attribute(p, "Temperature", "dcgm-extractor", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
  (void)state;
  assert_int_equal(i, 9);
  assert_int_equal(llmd_pool_set(p, a, 9, -40), 0);
  publish(p);
  assert_true(llmd_pool_value(p, a, 9) == -40);
  assert_int_equal(llmd_pool_set(p, a, 9, INFINITY), LLMD_E_RANGE);
  llmd_pool_close(p);
}

static void attributes_have_one_type_and_one_scope(void **state)
{
  char name[24], longer[128];
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  (void)state;
  memset(longer, 'x', sizeof longer);
  longer[127] = 0;
  assert_int_equal(llmd_pool_attribute(p, "WaitingQueueSize", NULL, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 0);
  assert_int_equal(llmd_pool_attribute(p, "WaitingModels", "", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT), 7);
  assert_int_equal(llmd_pool_attribute(p, "WaitingModels", "", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_attribute(p, "CacheHashAlgorithm", NULL, LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT), 8);
  assert_int_equal(llmd_pool_attribute(p, "A", "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 9);
  assert_int_equal(llmd_pool_attribute(p, "A", "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 9);
  assert_int_equal(llmd_pool_attribute(p, "A", "y", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT), 10);
  assert_int_equal(llmd_pool_attribute(p, "A", "x", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_attribute(p, "A", "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT_REQUEST), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_attribute(p, "S", "x", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT), 11);
  assert_int_equal(llmd_pool_attribute(p, "S", "x", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT), 11);
  assert_int_equal(llmd_pool_attribute(p, "T", "x", LLMD_TYPE_SET, LLMD_SCOPE_ENDPOINT), LLMD_E_FULL);
  assert_int_equal(llmd_pool_attribute(p, "B", "x", LLMD_TYPE_ID, LLMD_SCOPE_ENDPOINT_REQUEST), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_attribute(p, "", "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), LLMD_E_INVALID);
  assert_int_equal(llmd_pool_attribute(p, longer, "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), LLMD_E_LIMIT);
  assert_int_equal(llmd_pool_set(p, a, 10, 1), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_set(p, a, LLMD_ATTR_ACTIVE_MODELS, 1), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_set(p, a, 15, 1), LLMD_E_TYPE); /* no such attribute */
  assert_int_equal(llmd_pool_set_text(p, a, 9, "x", 1), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_set_text(p, a, 10, "x", 1), 0);
  assert_int_equal(llmd_pool_set_text(p, a, 10, NULL, 0), 0);
  for (int i = 12; i < 16; i++) {
    snprintf(name, sizeof name, "N%d", i);
    assert_int_equal(llmd_pool_attribute(p, name, "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), i);
  }
  assert_int_equal(llmd_pool_attribute(p, "one-more", "x", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), LLMD_E_FULL);
  llmd_pool_close(p);
}

static void sets_have_a_cap(void **state)
{
  llmd_str five[5] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}};
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  (void)state;
  assert_int_equal(llmd_pool_set_models(p, a, LLMD_ATTR_ACTIVE_MODELS, five, 4), 0);
  assert_int_equal(llmd_pool_set_models(p, a, LLMD_ATTR_ACTIVE_MODELS, five, 5), LLMD_E_LIMIT);
  assert_int_equal(llmd_pool_set_models(p, a, LLMD_ATTR_WAITING, five, 1), LLMD_E_TYPE);
  llmd_pool_close(p);
}

static void strings_run_out(void **state)
{
  char name[40];
  llmd_region_options ro = small_region(1000);
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_pool *p;
  llmd_endpoint_id id;
  uint32_t n = 0;
  int rc = 0;
  (void)state;
  ro.string_bytes = 1024;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  while (!rc && n < 1000) {
    llmd_endpoint e = at(name, 8000);
    snprintf(name, sizeof name, "host-number-%u.example", n);
    e.address = str(name);
    rc = llmd_pool_add(p, &e, &id);
    n += !rc;
  }
  assert_int_equal(rc, LLMD_E_FULL);
  publish(p);
  assert_int_equal(llmd_pool_count(p), n);
  assert_true(atomic_load(&p->g->strings_refused) > 0);
  llmd_pool_close(p);
}

/* ---- readers, writers ------------------------------------------------------------------------------------------- */

static void only_the_writer_writes(void **state)
{
  llmd_region_options ro = small_region(8);
  size_t len = llmd_region_size(&ro);
  void *mem = aligned_alloc(64, (len + 63) & ~(size_t)63);
  llmd_pool_options po = {.size = sizeof po, .mem = mem, .mem_len = len};
  llmd_pool *reader, *writer;
  llmd_endpoint e = at("10.0.0.2", 1);
  llmd_endpoint_id a, id;
  llmd_label label = {{"k", 1}, {"v", 1}};
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &reader, &err), 0);
  assert_int_equal(llmd_pool_attribute(reader, "KVCacheUsagePercent", NULL, LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 2);
  assert_int_equal(llmd_pool_attribute(reader, "X", "y", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), LLMD_E_NONE);
  po.flags = LLMD_POOL_WRITER;
  assert_int_equal(llmd_pool_open(&po, &writer, &err), 0);
  a = add(writer, "10.0.0.1", 1);
  assert_true(find(reader, "10.0.0.1:1") == 0);
  publish(writer);
  assert_true(find(reader, "10.0.0.1:1") == a);
  assert_int_equal(llmd_pool_attribute(writer, "X", "y", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 9);
  assert_int_equal(llmd_pool_attribute(reader, "X", "y", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT), 9);
  assert_int_equal(llmd_pool_add(reader, &e, &id), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_remove(reader, a), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_drain(reader, a, 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_set_labels(reader, a, &label, 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_set(reader, a, 0, 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_set_text(reader, a, 0, "x", 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_set_models(reader, a, 6, NULL, 0), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_touch(reader, a, 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_scrape(reader, a, "", 0, 1), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_publish(reader, &small_now), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_tick(reader, &small_now, NULL), LLMD_E_DENIED);
  assert_int_equal(llmd_pool_load(reader, "", 0, &err), LLMD_E_DENIED);
  llmd_pool_close(writer);
  assert_int_equal(llmd_pool_open(&po, &writer, &err), 0); /* the place is free again */
  assert_true(find(writer, "10.0.0.1:1") == a);
  llmd_pool_close(writer);
  llmd_pool_close(reader);
  free(mem);
}

/* ---- metrics pages ---------------------------------------------------------------------------------------------- */

static void scrapes_by_the_label_of_the_engine(void **state)
{
  static const char vllm[] = "vllm:num_requests_waiting{model_name=\"m\"} 4\nvllm:num_requests_running 7\n"
                             "vllm:kv_cache_usage_perc 0.5\n"
                             "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"a,b\","
                             "waiting_lora_adapters=\"\"} 1\n"
                             "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"100\","
                             "prefix_caching_hash_algo=\"sha256_cbor\"} 1\n";
  static const char silent[] = "vllm:cache_config_info{block_size=\"16\",prefix_caching_hash_algo=\"None\"} 1\n";
  static const char sglang[] = "sglang:num_queue_reqs 2\nsglang:num_running_reqs 3\nsglang:token_usage 0.25\n"
                               "sglang:cache_config_info{page_size=\"64\",num_pages=\"10\"} 1\n";
  llmd_label engine[2] = {{{"zone", 4}, {"vllm", 4}}, {{"llm-d.ai/engine-type", 20}, {"sglang", 6}}};
  llmd_label old = {{"inference.networking.k8s.io/engine-type", 39}, {"sglang", 6}};
  llmd_str algo;
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1), b = add(p, "10.0.0.2", 1), c = add(p, "10.0.0.3", 1);
  (void)state;
  assert_int_equal(llmd_pool_set_labels(p, b, engine, 2), 0);
  assert_int_equal(llmd_pool_set_labels(p, c, &old, 1), 0);
  assert_int_equal(llmd_pool_scrape(p, a, vllm, sizeof vllm - 1, 5), 9);
  assert_int_equal(llmd_pool_scrape(p, b, sglang, sizeof sglang - 1, 5), 5);
  assert_int_equal(llmd_pool_scrape(p, c, sglang, sizeof sglang - 1, 5), 5);
  assert_int_equal(llmd_pool_scrape(p, a, sglang, sizeof sglang - 1, 6), 0); /* not its engine: stays as it was */
  assert_int_equal(llmd_pool_scrape(p, a, silent, sizeof silent - 1, 6), 1); /* so does what it is silent about */
  publish(p);
  assert_int_equal(llmd_pool_text(p, a, LLMD_ATTR_HASH_ALGO, &algo), 0);
  assert_true(algo.len == 11 && !strcmp(algo.ptr, "sha256_cbor"));
  assert_int_equal(llmd_pool_text(p, b, LLMD_ATTR_HASH_ALGO, &algo), LLMD_E_NONE);
  assert_int_equal(llmd_pool_text(p, 999, LLMD_ATTR_HASH_ALGO, &algo), LLMD_E_STALE);
  assert_int_equal(llmd_pool_text(p, a, LLMD_ATTR_WAITING, &algo), LLMD_E_TYPE);
  assert_int_equal(llmd_pool_text(p, a, 4000000000u, &algo), LLMD_E_TYPE);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_WAITING) == 4 && llmd_pool_value(p, a, LLMD_ATTR_RUNNING) == 7);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_KV_USAGE) == 0.5 && llmd_pool_value(p, a, LLMD_ATTR_MAX_MODELS) == 4);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_BLOCK_SIZE) == 16 && llmd_pool_value(p, a, LLMD_ATTR_NUM_BLOCKS) == 100);
  assert_true(llmd_pool_value(p, b, LLMD_ATTR_WAITING) == 2 && llmd_pool_value(p, c, LLMD_ATTR_BLOCK_SIZE) == 64);
  llmd_pool_close(p);
}

static uint64_t updated(llmd_pool *p, const char *place)
{
  uint32_t lane;
  llmd__snapshot snap;
  uint64_t at_mono = 0;
  publish(p);
  assert_int_equal(llmd__pool_glance(p, &lane, &snap), 0);
  for (uint32_t i = 0; i < snap.n; i++)
    if (snap.view.row[i].id == find(p, place))
      at_mono = snap.view.row[i].updated;
  llmd__pool_glance_end(p, lane);
  return at_mono;
}

/* A page that says the impossible of one thing is not fresh news about the others. */
static void a_bad_page_does_not_refresh(void **state)
{
  static const char good[] = "vllm:num_requests_waiting 4\nvllm:num_requests_running 7\n";
  static const char bad[] = "vllm:num_requests_waiting -1\nvllm:num_requests_running 0\n";
  llmd_pool *p = small_pool(8);
  llmd_endpoint_id a = add(p, "10.0.0.1", 1);
  (void)state;
  assert_int_equal(llmd_pool_scrape(p, a, good, sizeof good - 1, 5), 2);
  assert_int_equal(updated(p, "10.0.0.1:1"), 5);
  assert_int_equal(llmd_pool_scrape(p, a, bad, sizeof bad - 1, 9), 1);
  assert_int_equal(updated(p, "10.0.0.1:1"), 5);
  assert_true(llmd_pool_value(p, a, LLMD_ATTR_WAITING) == 4);
  assert_int_equal(atomic_load(&p->g->samples_refused), 1);
  assert_int_equal(llmd_pool_scrape(p, a, good, sizeof good - 1, 11), 2);
  assert_int_equal(updated(p, "10.0.0.1:1"), 11);
  llmd_pool_close(p);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adds_and_finds),
      cmocka_unit_test(finds_ipv6_with_and_without_brackets),
      cmocka_unit_test(ranks_of_any_size_have_names_of_their_own),
      cmocka_unit_test(the_same_twice_is_refused),
      cmocka_unit_test(what_is_no_endpoint_is_refused),
      cmocka_unit_test(an_id_dies_with_its_endpoint),
      cmocka_unit_test(a_slot_is_free_after_the_next_tick),
      cmocka_unit_test(nothing_is_seen_before_publish),
      cmocka_unit_test(publish_waits_for_nobody),
      cmocka_unit_test(describes_what_was_published),
      cmocka_unit_test(absurd_values_become_unknown),
      cmocka_unit_test(custom_values_may_be_anything_finite),
      cmocka_unit_test(attributes_have_one_type_and_one_scope),
      cmocka_unit_test(sets_have_a_cap),
      cmocka_unit_test(strings_run_out),
      cmocka_unit_test(only_the_writer_writes),
      cmocka_unit_test(scrapes_by_the_label_of_the_engine),
      cmocka_unit_test(a_bad_page_does_not_refresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
