/* The exact index of a pool: one for all processes on the region, kept right by the writer's tick. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/pool.h>
#include <llmd/prefix.h>

#include "../failing_alloc.h"
#include "model/pool.h"
#include "prefix/exact.h"

typedef struct rig {
  void *mem;
  size_t len;
  llmd_pool *p;
  llmd_endpoint_id a, b;
  llmd_now now;
} rig;

static const llmd_key keys[3] = {{1, 11}, {2, 22}, {3, 33}};
static const uint64_t names[3] = {101, 102, 103};

static llmd_pool *open_pool(const rig *r, uint32_t flags, uint64_t owner)
{
  llmd_pool_options po = {.size = sizeof po, .mem = r->mem, .mem_len = r->len, .flags = flags, .owner = owner};
  llmd_pool *p;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  return p;
}

static llmd_endpoint_id add(llmd_pool *p, const char *address)
{
  llmd_endpoint e = {.size = sizeof e, .port = 80, .address = {address, strlen(address)}};
  llmd_endpoint_id id;
  assert_int_equal(llmd_pool_add(p, &e, &id), 0);
  return id;
}

static void tick(rig *r)
{
  r->now.mono += 1000;
  assert_int_equal(llmd_pool_tick(r->p, &r->now, NULL), 0);
}

static rig make_rig(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .max_lanes = 2, .max_tickets = 16,
                            .ring_bytes = 1024, .string_bytes = 16384, .state_bytes = 1 << 20,
                            .prefix_bytes = 65536, .index_bytes = 256 << 10, .seed = 3};
  rig r;
  memset(&r, 0, sizeof r);
  r.len = llmd_region_size(&ro);
  r.mem = aligned_alloc(64, (r.len + 63) & ~(size_t)63);
  assert_int_equal(llmd_region_format(r.mem, r.len, &ro), 0);
  r.p = open_pool(&r, LLMD_POOL_WRITER, 1);
  r.a = add(r.p, "a");
  r.b = add(r.p, "b");
  r.now.mono = 1;
  assert_int_equal(llmd_pool_publish(r.p, &r.now), 0);
  return r;
}

static void close_rig(rig *r)
{
  llmd_pool_close(r->p);
  free(r->mem);
}

static void store(llmd_index *x, llmd_endpoint_id id)
{
  assert_int_equal(llmd_index_store(x, id, LLMD_TIER_GPU, NULL, keys, names, 3, NULL), 3);
}

/* Blocks that the endpoint holds; of those who hold some, how many there are. */
static uint32_t held(const llmd_index *x, llmd_endpoint_id id, int *holders)
{
  void *scratch = calloc(1, llmd_index_scratch(x));
  llmd_hit hit[17];
  uint32_t blocks = 0;
  *holders = llmd_index_query(x, scratch, keys, 3, hit, 17, NULL);
  for (int i = 0; i < *holders; i++)
    blocks = hit[i].endpoint == id ? hit[i].blocks : blocks;
  free(scratch);
  return blocks;
}

static void it_is_one_for_all(void **state)
{
  rig r = make_rig();
  llmd_pool *q = open_pool(&r, 0, 2);
  llmd_index *x, *again, *theirs;
  int n;
  (void)state;
  assert_int_equal(llmd_pool_index(q, &theirs), 0); /* a reader may be the first to ask */
  assert_int_equal(llmd_pool_index(r.p, &x), 0);
  assert_int_equal(llmd_pool_index(r.p, &again), 0);
  assert_ptr_equal(x, again);
  assert_ptr_not_equal(x, theirs);
  assert_memory_equal(llmd_index_secret(x), r.p->g->secret, LLMD_SECRET_BYTES);
  store(x, r.a);
  assert_int_equal(held(theirs, r.a, &n), 3);
  assert_int_equal(n, 1);
  llmd_pool_close(q);
  assert_int_equal(held(x, r.a, &n), 3);
  close_rig(&r);
}

static void what_leaves_holds_nothing(void **state)
{
  rig r = make_rig();
  llmd_index *x;
  llmd_endpoint_id c;
  int n;
  (void)state;
  assert_int_equal(llmd_pool_index(r.p, &x), 0);
  store(x, r.a);
  store(x, r.b);
  assert_int_equal(llmd_pool_remove(r.p, r.a), 0);
  tick(&r);
  assert_int_equal(held(x, r.a, &n), 0);
  assert_int_equal(n, 1);
  assert_int_equal(held(x, r.b, &n), 3);
  c = add(r.p, "c");
  assert_int_equal((uint32_t)c, (uint32_t)r.a); /* the slot again */
  assert_int_equal(held(x, c, &n), 0);
  store(x, c);
  assert_int_equal(held(x, c, &n), 3);
  assert_int_equal(n, 2);
  close_rig(&r);
}

/* The writer's process has not asked for the index; its tick keeps it right all the same. */
static void the_tick_finds_it(void **state)
{
  rig r = make_rig();
  llmd_pool *q;
  llmd_index *x;
  int n;
  (void)state;
  assert_int_equal(llmd_pool_index(r.p, &x), 0);
  store(x, r.a);
  llmd_pool_close(r.p);
  r.p = open_pool(&r, LLMD_POOL_WRITER, 3);
  q = open_pool(&r, 0, 2);
  assert_int_equal(llmd_pool_index(q, &x), 0);
  assert_int_equal(held(x, r.a, &n), 3);
  assert_null(atomic_load(&r.p->index));
  assert_int_equal(llmd_pool_remove(r.p, r.a), 0);
  tick(&r);
  assert_int_equal(held(x, r.a, &n), 0);
  assert_non_null(atomic_load(&r.p->index));
  llmd_pool_close(q);
  close_rig(&r);
}

static void note(void *ud, int level, const char *component, const char *text, size_t len)
{
  (void)len;
  *(int *)ud += level == LLMD_LOG_WARN && !strcmp(component, "index") && strstr(text, "died");
}

static void collect(void *ud, int level, const char *component, const char *text, size_t len)
{
  char *last = ud;
  if (level != LLMD_LOG_WARN || strcmp(component, "index"))
    return;
  last[0]++; /* how often, then what it said last */
  snprintf(last + 1, 255, "%.*s", (int)len, text);
}

static void page(rig *r, llmd_endpoint_id id, uint32_t tokens)
{
  char text[128];
  int n = snprintf(text, sizeof text, "vllm:cache_config_info{block_size=\"%u\",num_gpu_blocks=\"96\"} 1.0\n", tokens);
  assert_int_equal(llmd_pool_scrape(r->p, id, text, (size_t)n, r->now.mono), 2);
}

static void a_second_later(rig *r)
{
  r->now.mono += 1000000000;
  tick(r);
}

/* What metrics say of blocks is held against what the index knows: told once, with both sizes, not at each tick. */
static void other_sizes_are_told(void **state)
{
  rig r = make_rig();
  llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = 16};
  char said[256] = {0};
  llmd_index *x;
  (void)state;
  r.p->log = collect;
  r.p->log_ud = said;
  assert_int_equal(llmd_pool_index(r.p, &x), 0);
  page(&r, r.a, 16);
  page(&r, r.b, 32);
  a_second_later(&r);
  assert_int_equal(said[0], 0); /* nothing to compare with */
  assert_int_equal(llmd_index_describe(x, r.a, &row), 0);
  a_second_later(&r);
  assert_int_equal(said[0], 0);
  assert_int_equal(llmd_index_describe(x, r.b, &row), 0);
  a_second_later(&r);
  assert_int_equal(said[0], 1);
  assert_non_null(strstr(said + 1, ": blocks of 32 tokens by its metrics, of 16 by its events or configuration;"));
  a_second_later(&r);
  assert_int_equal(said[0], 1);
  page(&r, r.a, 64);
  a_second_later(&r);
  assert_int_equal(said[0], 2);
  assert_non_null(strstr(said + 1, "endpoints so: 2"));
  page(&r, r.a, 16);
  page(&r, r.b, 16);
  a_second_later(&r);
  assert_int_equal(r.p->mismatched, 0);
  close_rig(&r);
}

/* The new writer's first handle puts right what the last one left. */
static void a_dead_writers_books_are_made_again(void **state)
{
  rig r = make_rig();
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER, .owner = 9, .log = note};
  llmd_index_stats s = {.size = sizeof s};
  llmd_index *x, *later;
  llmd_pool *q;
  int n, told = 0;
  (void)state;
  assert_int_equal(llmd_pool_index(r.p, &x), 0);
  store(x, r.a);
  LLMD__PUT(&x->head->writing, 1u);
  po.mem = r.mem;
  po.mem_len = r.len;
  po.log_ud = &told;
  assert_int_equal(llmd_pool_open(&po, &q, NULL), 0);
  assert_int_equal(llmd_pool_tick(q, &r.now, NULL), 0);
  assert_int_equal(told, 1);
  assert_int_equal(llmd_pool_index(q, &later), 0);
  assert_int_equal(llmd_index_stats_get(later, &s), 0);
  assert_int_equal(s.repaired, 1);
  assert_int_equal(held(later, r.a, &n), 3);
  llmd_pool_close(q);
  close_rig(&r);
}

static void an_index_without_room_is_refused(void **state)
{
  rig r = make_rig();
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 16, .max_lanes = 2, .string_bytes = 4096,
                            .state_bytes = 65536, .index_bytes = 1 << 20};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_index *x;
  llmd_pool *p;
  (void)state;
  assert_int_equal(llmd_pool_open(&po, &p, NULL), 0);
  assert_int_equal(llmd_pool_index(p, &x), LLMD_E_FULL);
  assert_int_equal(llmd_pool_index(NULL, &x), LLMD_E_INVALID);
  llmd_pool_close(p);
  close_rig(&r);
}

static int open_and_look(const llmd_allocator *a, void *ud)
{
  const rig *r = ud;
  llmd_pool_options po = {.size = sizeof po, .mem = r->mem, .mem_len = r->len, .alloc = a, .owner = 5,
                          .flags = LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER};
  llmd_index *x;
  llmd_pool *p = NULL;
  int rc = llmd_pool_open(&po, &p, NULL);
  if (!rc)
    rc = llmd_pool_index(p, &x);
  if (!rc)
    rc = llmd_region_inspect(r->mem, r->len, a, NULL, NULL);
  llmd_pool_close(p);
  return rc;
}

static void memory_runs_out(void **state)
{
  rig r = make_rig();
  (void)state;
  fail_each_allocation(open_and_look, &r);
  close_rig(&r);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_one_for_all), cmocka_unit_test(what_leaves_holds_nothing),
      cmocka_unit_test(the_tick_finds_it), cmocka_unit_test(other_sizes_are_told),
      cmocka_unit_test(a_dead_writers_books_are_made_again), cmocka_unit_test(an_index_without_room_is_refused),
      cmocka_unit_test(memory_runs_out)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
