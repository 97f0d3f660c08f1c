/* What plugins learn: from commits, whoever makes them and whenever; what they forget; columns that the host fills. */
#include "small_rig.h"

#include "../module_dir.h"
#include "sched/scheduler.h"

#define PREFIX HEAD "- type: prefix-cache-scorer\n- type: max-score-picker\n"

/* A prompt of n times 256 bytes (64 tokens of the estimate, one block), told apart by `which`. */
static const char *prompt(unsigned which, unsigned n)
{
  static char body[8192];
  int len = snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"");
  for (unsigned i = 0; i < n * 256; i++)
    body[len++] = (char)('a' + (which * 7 + i / 256 * 3 + i % 256 % (which + 5)) % 26);
  snprintf(body + len, sizeof body - (size_t)len, "\"}");
  return body;
}

static void feed(llmd_request *r, const char *body)
{
  llmd_request_reset(r);
  assert_int_equal(llmd_request_feed(r, body, strlen(body), LLMD_FEED_COPY | LLMD_FEED_FINAL), 0);
}

static const llmd_request_options copying = {.size = sizeof copying, .copy_bytes = 16384, .max_values = 64};

static void open_prefix(rig *r, const char *config)
{
  llmd_request_options ro = copying;
  rig_open(r, 4, config, NULL, &ro);
}

/* How much of a prompt the scorers say is on endpoint i: the total when only that one may be chosen. */
static double known(rig *r, const char *body, uint32_t i)
{
  feed(r->request, body);
  assert_int_equal(llmd_request_set_subset(r->request, &r->id[i], 1), 0);
  assert_int_equal(rig_decide(r, 1), LLMD_ROUTED);
  llmd_report(r->lane, r->d.ticket, LLMD_REPORT_CANCEL, NULL, &r->now);
  return r->d.target[0].score;
}

static void send_to(rig *r, const char *body, uint32_t i)
{
  feed(r->request, body);
  assert_int_equal(rig_decide(r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_commit(r->lane, r->request, &r->d, r->id[i], &r->now), 0);
}

/* ---- by commits ------------------------------------------------------------------------------------------------- */

static void a_commit_teaches_where_it_really_went(void **state)
{
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  send_to(&r, prompt(1, 4), 2);
  for (uint32_t i = 0; i < 4; i++)
    assert_true(known(&r, prompt(1, 4), i) == (i == 2));
  assert_true(known(&r, prompt(2, 4), 2) == 0);
  assert_true(known(&r, prompt(1, 5), 2) == 0.8); /* four of five blocks */
  feed(r.request, prompt(1, 4));
  for (uint64_t seed = 0; seed < 8; seed++)
    assert_int_equal(rig_goes_to(&r, seed), 2);
  rig_close(&r);
}

static llmd_request *another(void)
{
  llmd_request_options ro = copying;
  llmd_request *r;
  assert_int_equal(llmd_request_init(malloc(llmd_request_size(&ro)), llmd_request_size(&ro), &ro, &r), 0);
  return r;
}

/* A proxy has many requests between decision and commit: the request itself keeps what is needed. */
static void commits_come_later_and_in_any_order(void **state)
{
  llmd_request *r2 = another();
  static llmd_decision first;
  llmd_now now;
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  now = r.now;
  feed(r.request, prompt(1, 4));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  first = r.d;
  feed(r2, prompt(2, 3));
  assert_int_equal(llmd_decide(r.lane, r2, &now, 2, &r.d), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &first, r.id[3], &now), 0);
  assert_int_equal(llmd_commit(r.lane, r2, &r.d, r.id[1], &now), 0);
  assert_true(known(&r, prompt(1, 4), 3) == 1 && known(&r, prompt(1, 4), 1) == 0);
  assert_true(known(&r, prompt(2, 3), 1) == 1 && known(&r, prompt(2, 3), 3) == 0);
  free(r2);
  rig_close(&r);
}

static void another_lane_may_commit(void **state)
{
  llmd_lane *lane;
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  assert_int_equal(llmd_lane_create(r.scheduler, LLMD_LANE_WRITER, &lane), 0);
  feed(r.request, prompt(1, 4));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_commit(lane, r.request, &r.d, r.id[1], &r.now), 0);
  assert_true(known(&r, prompt(1, 4), 1) == 1);
  llmd_lane_free(lane);
  rig_close(&r);
}

/* Between the two, reports on other requests pass through the lane. */
static void reports_do_not_come_between(void **state)
{
  llmd_ticket other;
  rig r;
  (void)state;
  open_prefix(&r, HEAD "- type: prefix-cache-scorer\n- {type: token-load-scorer, name: t}\n- type: max-score-picker\n"
                       "schedulingProfiles:\n- name: default\n  plugins:\n  - pluginRef: prefix-cache-scorer\n"
                       "  - {pluginRef: t, weight: 0}\n");
  send_to(&r, prompt(3, 2), 0);
  other = r.d.ticket;
  feed(r.request, prompt(1, 4));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(llmd_report(r.lane, other, LLMD_REPORT_FIRST, NULL, &r.now), 0);
  assert_int_equal(llmd_report(r.lane, other, LLMD_REPORT_END, NULL, &r.now), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[2], &r.now), 0);
  assert_true(known(&r, prompt(1, 4), 2) == 1);
  rig_close(&r);
}

/* The lane itself sees what it posted at once, the others after the writer's tick. */
static void other_lanes_post_and_the_tick_applies(void **state)
{
  llmd_lane *writer, *mine;
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  writer = r.lane;
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &mine), 0);
  r.lane = mine;
  send_to(&r, prompt(1, 4), 1);
  assert_true(known(&r, prompt(1, 4), 1) == 1 && known(&r, prompt(1, 5), 1) == 0.8);
  r.lane = writer;
  assert_true(known(&r, prompt(1, 4), 1) == 0);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  assert_true(known(&r, prompt(1, 4), 1) == 1);
  llmd_lane_free(mine);
  rig_close(&r);
}

/* A ring that nobody empties: what does not fit is lost and counted, nothing else happens. */
static void a_full_ring_drops_posts(void **state)
{
  uint64_t dropped;
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  llmd_lane_free(r.lane);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &r.lane), 0);
  for (unsigned i = 0; i < 60; i++)
    send_to(&r, prompt(i, 20), i % 4);
  dropped = atomic_load(&r.pool->g->posts_dropped);
  assert_true(dropped > 20 && dropped < 60);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  assert_true(known(&r, prompt(0, 20), 0) == 1 && known(&r, prompt(59, 20), 3) == 0);
  send_to(&r, prompt(59, 20), 3); /* there is room again, across the ring's end */
  send_to(&r, prompt(58, 20), 2);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  assert_true(known(&r, prompt(59, 20), 3) == 1 && known(&r, prompt(58, 20), 2) == 1);
  assert_int_equal(atomic_load(&r.pool->g->posts_dropped), dropped);
  rig_close(&r);
}

/* A process that died while it wrote, or one with other ideas: what cannot be is dropped, the lane goes on. */
static void nonsense_in_a_ring_is_dropped(void **state)
{
  llmd__lane_slot *slot;
  uint32_t *ring;
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  llmd_lane_free(r.lane);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &r.lane), 0);
  slot = &llmd__region_lanes(r.pool->g)[r.lane->slot];
  ring = llmd__at(r.pool->g, r.pool->g->ring_off + (size_t)r.lane->slot * r.pool->g->caps.ring_bytes);
  for (uint32_t word = 0; word < 5; word++) {
    uint64_t dropped = atomic_load(&r.pool->g->posts_dropped), before;
    uint32_t *frame;
    assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
    before = atomic_load(&slot->head);
    send_to(&r, prompt(20 + word, 4), 2);
    frame = ring + before % r.pool->g->caps.ring_bytes / 4;
    assert_int_equal(frame[1], LLMD__POST_STORE); /* bytes, op, place of the index, endpoint, capacity, n, ... */
    if (word == 0)
      frame[0] = 8;
    else if (word == 1)
      frame[1] = 99;
    else if (word == 2)
      memset(&frame[2], 0xff, 8);
    else if (word == 3)
      frame[7] = 1000000; /* more keys than there are */
    else
      memset(&frame[8], 0xff, 8); /* an index larger than the region */
    assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
    assert_int_equal(atomic_load(&r.pool->g->posts_dropped), dropped + 1);
    assert_true(known(&r, prompt(20 + word, 4), 2) == 0);
  }
  send_to(&r, prompt(1, 4), 2);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  assert_true(known(&r, prompt(1, 4), 2) == 1);
  rig_close(&r);
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

static const char two_sizes[] =
    HEAD "- {type: approx-prefix-cache-producer, name: small, parameters: {autoTune: false, blockSizeTokens: 64}}\n"
         "- {type: approx-prefix-cache-producer, name: large, parameters: {autoTune: false, blockSizeTokens: 256}}\n"
         "- {type: approx-prefix-cache-producer, name: short, parameters: {maxPrefixTokensToMatch: 128}}\n"
         "- {type: prefix-cache-scorer, name: a, parameters: {prefixMatchInfoProducerName: small}}\n"
         "- {type: prefix-cache-scorer, name: b, parameters: {prefixMatchInfoProducerName: large}}\n"
         "- {type: prefix-cache-scorer, name: c, parameters: {prefixMatchInfoProducerName: short}}\n"
         "- type: max-score-picker\n"
         "schedulingProfiles:\n- name: default\n  plugins:\n  - {pluginRef: a, weight: 1}\n"
         "  - {pluginRef: b, weight: 10}\n  - {pluginRef: c, weight: 100}\n";

static void each_producer_cuts_in_its_own_way(void **state)
{
  static llmd_decision first;
  llmd_request *r2 = another();
  rig r;
  (void)state;
  open_prefix(&r, two_sizes);
  feed(r.request, prompt(1, 8));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(r.lane->n_chains, 3);
  assert_int_equal(r.lane->chain[0].n, 8);
  assert_int_equal(r.lane->chain[1].n, 2);
  assert_int_equal(r.lane->chain[2].n, 2); /* the first 128 tokens only */
  first = r.d;
  feed(r2, prompt(2, 8));
  assert_int_equal(llmd_decide(r.lane, r2, &r.now, 1, &r.d), 0);
  assert_int_equal(llmd_commit(r.lane, r2, &r.d, r.id[0], &r.now), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &first, r.id[3], &r.now), 0);
  assert_true(known(&r, prompt(1, 8), 3) == 111);
  assert_true(known(&r, prompt(2, 8), 0) == 111);
  assert_true(known(&r, prompt(1, 12), 3) == 8.0 / 12 + 10 * 2.0 / 3 + 100);
  free(r2);
  rig_close(&r);
}

static void limits_count_for_each_prompt(void **state)
{
  char body[8192];
  rig r;
  (void)state;
  open_prefix(&r, HEAD "- {type: approx-prefix-cache-producer, parameters: {maxPrefixTokensToMatch: 128}}\n"
                       "- type: prefix-cache-scorer\n- type: max-score-picker\n");
  snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":[\"%01024d\",\"%0300d\",\"%02048d\"]}", 1, 2, 3);
  feed(r.request, body);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_int_equal(r.lane->n_prompts, 3);
  assert_int_equal(r.lane->chain[0].n, 6); /* two blocks of each; the second prompt ends with a partial one */
  assert_true(r.lane->chain[0].end[0] == 2 && r.lane->chain[0].end[1] == 4 && r.lane->chain[0].end[2] == 6);
  rig_close(&r);
}

/* ---- reloading, tables, forgetting ------------------------------------------------------------------------------ */

/* Decided by one configuration, committed after the lane went over to another: its keys are not the other's. */
static void a_commit_across_a_reload_teaches_nothing_wrong(void **state)
{
  llmd_scheduler *next;
  rig r;
  (void)state;
  open_prefix(&r, two_sizes);
  feed(r.request, prompt(1, 8));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  next = rig_schedule(&r, PREFIX, NULL);
  assert_int_equal(llmd_lane_switch(r.lane, next), 0);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, r.id[1], &r.now), 0);
  assert_true(rig_inflight(&r, 1) == 1);
  assert_true(known(&r, prompt(1, 8), 1) == 0);
  llmd_scheduler_free(next);
  rig_close(&r);
}

/* no-hit-lru-scorer: the list is state in a table, moved by commits of cold requests, here also late ones. */
static void cold_requests_go_round(void **state)
{
  uint32_t seen = 0;
  rig r;
  (void)state;
  open_prefix(&r, HEAD "- type: no-hit-lru-scorer\n- type: max-score-picker\n");
  for (unsigned i = 0; i < 4; i++) {
    llmd_request *late = another();
    static llmd_decision d;
    d.size = sizeof d;
    feed(late, prompt(10 + i, 2));
    assert_int_equal(llmd_decide(r.lane, late, &r.now, 1, &d), 0);
    feed(r.request, prompt(50, 2)); /* the lane is at something else meanwhile */
    assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
    assert_int_equal(llmd_commit(r.lane, late, &d, 0, &r.now), 0);
    for (uint32_t k = 0; k < 4; k++)
      seen |= d.target[0].id == r.id[k] ? 1u << k : 0;
    free(late);
  }
  assert_int_equal(seen, 15); /* four cold ones, four endpoints */
  rig_close(&r);
}

static module_dir dir;

static int with_strangers(void **state)
{
  (void)state;
  module_dir_make(&dir);
  module_dir_copy(&dir, "stranger", "stranger.so", 0600);
  return 0;
}

static int without_strangers(void **state)
{
  (void)state;
  module_dir_remove(&dir);
  return 0;
}

/* The stranger's producer writes value + a number it keeps in its table: commits count up, a departure makes it 100. */
static void producers_keep_state_and_hear_of_departures(void **state)
{
  llmd_scheduler_options so = {.size = sizeof so, .module_dir = dir.path};
  llmd_request_options ro = copying;
  rig r;
  (void)state;
  rig_open(&r, 4,
           HEAD "- {type: strangers-producer, name: s, parameters: {value: 5}}\n- type: queue-scorer\n"
                "- type: max-score-picker\n",
           &so, &ro);
  feed(r.request, prompt(1, 1));
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.lane->column[0][0] == 5 && r.lane->column[0][3] == 5);
  for (int i = 0; i < 3; i++)
    assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.lane->column[0][0] == 8);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[3]), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.lane->column[0][0] == 8); /* not published yet */
  rig_publish(&r);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.lane->column[0][0] == 105);
  assert_int_equal(llmd_commit(r.lane, r.request, &r.d, 0, &r.now), 0);
  assert_int_equal(rig_decide(&r, 1), LLMD_ROUTED);
  assert_true(r.lane->column[0][0] == 106); /* told once */
  rig_close(&r);
}

static void an_endpoint_that_left_is_not_remembered(void **state)
{
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  send_to(&r, prompt(1, 4), 1);
  assert_int_equal(llmd_pool_remove(r.pool, r.id[1]), 0);
  rig_publish(&r);
  assert_int_equal(llmd_pool_tick(r.pool, &r.now, NULL), 0);
  r.id[1] = rig_add(&r, "10.0.0.2", 8000); /* the same place, a new process */
  rig_publish(&r);
  assert_true(known(&r, prompt(1, 4), 1) == 0);
  rig_close(&r);
}

/* ---- columns ---------------------------------------------------------------------------------------------------- */

static uint32_t column(rig *r, const char *name)
{
  int a = llmd_pool_attribute(r->pool, name, "approx-prefix-cache-producer", LLMD_TYPE_F64,
                              LLMD_SCOPE_ENDPOINT_REQUEST);
  assert_true(a >= 0);
  return (uint32_t)a;
}

static void what_the_host_says_is_not_produced(void **state)
{
  static const double match[] = {3, 6}, total[] = {6, 6};
  rig r;
  (void)state;
  open_prefix(&r, PREFIX);
  send_to(&r, prompt(1, 4), 1);
  feed(r.request, prompt(1, 4));
  assert_int_equal(rig_goes_to(&r, 1), 1);
  assert_int_equal(llmd_request_set_column(r.request, column(&r, "PrefixCacheMatchInfo.match"), &r.id[2], match, 2), 0);
  assert_int_equal(llmd_request_set_column(r.request, column(&r, "PrefixCacheMatchInfo.total"), &r.id[2], total, 2), 0);
  assert_int_equal(rig_goes_to(&r, 1), 3);
  assert_true(r.d.target[0].score == 1);
  assert_int_equal(r.lane->n_chains, 0); /* nobody hashed */
  assert_int_equal(llmd_request_set_exclude(r.request, &r.id[3], 1), 0);
  assert_int_equal(rig_goes_to(&r, 1), 2);
  assert_true(r.d.target[0].score == 0.5);
  feed(r.request, prompt(1, 4)); /* forgotten by reset */
  assert_int_equal(rig_goes_to(&r, 1), 1);
  rig_close(&r);
}

/* A worker makes its scheduler before the agent has said what there is to know. */
static void attributes_come_when_the_writer_comes(void **state)
{
  static const char config[] =
      HEAD "- type: endpoint-attribute-scorer\n  parameters: {attributeKey: Free, producer: nvidia,\n"
           "    algorithm: {type: linear_higher_is_better}}\n- {type: queue-scorer, name: q}\n"
           "- type: max-score-picker\n";
  llmd_region_options o = {.size = sizeof o, .max_endpoints = 8, .max_lanes = 4, .state_bytes = 1 << 20};
  size_t len = llmd_region_size(&o);
  llmd_pool_options po = {.size = sizeof po, .mem = aligned_alloc(64, (len + 63) & ~(size_t)63), .mem_len = len};
  llmd_pool *agent;
  int free_memory;
  rig r;
  (void)state;
  memset(&r, 0, sizeof r);
  r.d.size = sizeof r.d;
  assert_int_equal(llmd_region_format(po.mem, len, &o), 0);
  assert_int_equal(llmd_pool_open(&po, &r.pool, NULL), 0);
  r.scheduler = rig_schedule(&r, config, NULL);
  assert_int_equal(llmd_lane_create(r.scheduler, 0, &r.lane), 0);
  r.memory = malloc(llmd_request_size(NULL));
  assert_int_equal(llmd_request_init(r.memory, llmd_request_size(NULL), NULL, &r.request), 0);
  rig_body(&r, "{\"model\":\"m\",\"prompt\":\"hello\"}");
  assert_int_equal(rig_decide(&r, 1), LLMD_REJECTED);
  po.flags = LLMD_POOL_WRITER;
  assert_int_equal(llmd_pool_open(&po, &agent, NULL), 0);
  {
    llmd_pool *worker = r.pool;
    r.pool = agent;
    for (uint32_t i = 0; i < 3; i++) {
      r.id[i] = rig_add(&r, "10.0.0.1", 8000 + i);
      assert_int_equal(llmd_pool_set(agent, r.id[i], LLMD_ATTR_WAITING, (double)i), 0);
    }
    rig_publish(&r);
    assert_int_equal(rig_goes_to(&r, 1), 0); /* by its queue: the pool's own attributes are known from the start */
    free_memory = llmd_pool_attribute(agent, "Free", "nvidia", LLMD_TYPE_F64, LLMD_SCOPE_ENDPOINT);
    assert_true(free_memory >= 0);
    assert_int_equal(rig_goes_to(&r, 1), 0); /* not published yet */
    for (uint32_t i = 0; i < 3; i++) {
      assert_int_equal(llmd_pool_set(agent, r.id[i], (uint32_t)free_memory, i == 1 ? 80 : 10), 0);
      assert_int_equal(llmd_pool_set(agent, r.id[i], LLMD_ATTR_WAITING, 1), 0);
    }
    rig_publish(&r);
    assert_int_equal(rig_goes_to(&r, 1), 1);
    assert_true(r.d.target[0].score == 2);
    r.pool = worker;
  }
  llmd_pool_close(agent);
  rig_close(&r);
  free(po.mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_commit_teaches_where_it_really_went),
      cmocka_unit_test(commits_come_later_and_in_any_order),
      cmocka_unit_test(another_lane_may_commit),
      cmocka_unit_test(reports_do_not_come_between),
      cmocka_unit_test(other_lanes_post_and_the_tick_applies),
      cmocka_unit_test(a_full_ring_drops_posts),
      cmocka_unit_test(nonsense_in_a_ring_is_dropped),
      cmocka_unit_test(each_producer_cuts_in_its_own_way),
      cmocka_unit_test(limits_count_for_each_prompt),
      cmocka_unit_test(a_commit_across_a_reload_teaches_nothing_wrong),
      cmocka_unit_test(cold_requests_go_round),
      cmocka_unit_test_setup_teardown(producers_keep_state_and_hear_of_departures, with_strangers, without_strangers),
      cmocka_unit_test(an_endpoint_that_left_is_not_remembered),
      cmocka_unit_test(what_the_host_says_is_not_produced),
      cmocka_unit_test(attributes_come_when_the_writer_comes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
