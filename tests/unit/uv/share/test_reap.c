/* Processes that are killed, at every step of attaching: what they held comes back, and nothing of the living goes. */
#include "rig.h"

static llmd_lane *lane;
static llmd_share *mine; /* of a child */

static void decide_three(void)
{
  mine = rig_decide(3, &lane);
}

static void write_region(void)
{
  if (rig_open(LLMD_SHARE_WRITER, &mine, NULL))
    _exit(1);
}

static int64_t in_flight(llmd_share *s, llmd_endpoint_id id)
{
  int64_t requests = -1, tokens = -1;
  assert_int_equal(llmd_pool_inflight(llmd_share_pool(s), id, &requests, &tokens), 0);
  return requests;
}

static uint32_t entries(llmd_share *s)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < LLMD__HOST_SLOTS; i++)
    n += atomic_load(&rig_host(s)->owner[i]) != 0;
  return n;
}

static void a_decider_is_killed(void **state)
{
  llmd_share *s = rig_must(WRITER);
  llmd_endpoint_id id = rig_endpoint(llmd_share_pool(s));
  pid_t a = rig_child(decide_three), b = rig_child(decide_three);
  (void)state;
  assert_int_equal(in_flight(s, id), 6);
  assert_int_equal(rig_lanes(s), 2);
  assert_int_equal(llmd_share_reap(s), 0); /* they live */
  rig_kill(a);
  assert_int_equal(llmd_share_reap(s), 1);
  assert_int_equal(rig_lanes(s), 1);
  assert_int_equal(in_flight(s, id), 3);
  assert_int_equal(llmd_share_reap(s), 0);
  rig_kill(b);
  assert_int_equal(llmd_share_reap(s), 1);
  assert_int_equal(in_flight(s, id), 0);
  assert_int_equal(entries(s), 1);
  llmd_share_close(s);
}

/* It leaves in order, with requests in flight: they come back too, and nobody is called dead. */
static void a_decider_leaves(void **state)
{
  llmd_share *s = rig_must(WRITER), *other = NULL;
  llmd_endpoint_id id = rig_endpoint(llmd_share_pool(s));
  llmd_scheduler *scheduler = NULL;
  llmd_lane *l = NULL;
  llmd_request *r = NULL;
  size_t size = llmd_request_size(NULL);
  void *mem = malloc(size);
  llmd_decision d = {.size = sizeof d};
  llmd_now now;
  (void)state;
  llmd_clock(&now);
  other = rig_must(0);
  assert_int_equal(llmd_scheduler_create(NULL, llmd_share_pool(other), "", 0, &scheduler, NULL), 0);
  assert_int_equal(llmd_lane_create(scheduler, 0, &l), 0);
  assert_int_equal(llmd_request_init(mem, size, NULL, &r), 0);
  assert_int_equal(llmd_request_feed(r, "{\"prompt\":\"x\"}", 14, LLMD_FEED_FINAL), 0);
  assert_int_equal(llmd_decide(l, r, &now, 1, &d), 0);
  assert_int_equal(llmd_commit(l, r, &d, 0, &now), 0);
  assert_int_equal(in_flight(s, id), 1);
  llmd_lane_free(l);
  llmd_scheduler_free(scheduler);
  llmd_share_close(other);
  assert_int_equal(entries(s), 2);
  assert_int_equal(llmd_share_reap(s), 0);
  assert_int_equal(entries(s), 1);
  assert_int_equal(in_flight(s, id), 0);
  free(mem);
  llmd_share_close(s);
}

static void the_writer_is_killed(void **state)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_share *s = rig_must(WRITER), *d;
  llmd_endpoint_id id = rig_endpoint(llmd_share_pool(s));
  pid_t pid;
  char text[64];
  (void)state;
  llmd_share_close(s);
  pid = rig_child(write_region);
  d = rig_must(0);
  assert_int_equal(llmd_share_has_writer(d), 1);
  s = NULL;
  assert_int_equal(rig_open(WRITER, &s, &err), LLMD_E_BUSY);
  (void)snprintf(text, sizeof text, "process %d writes", (int)pid);
  assert_non_null(strstr(err.text, text));
  rig_kill(pid);
  assert_int_equal(llmd_share_has_writer(d), 0);
  assert_int_equal(llmd_pool_count(llmd_share_pool(d)), 1); /* deciders go on */
  s = rig_must(WRITER);
  assert_int_equal(llmd_share_has_writer(d), 1);
  assert_int_equal(llmd_pool_find(llmd_share_pool(s), "10.0.0.1:8000", 13), id);
  assert_int_equal(llmd_share_reap(s), 1);
  llmd_share_close(d);
  llmd_share_close(s);
}

/* A fork that holds the file open, as a killed process that stood between two steps would have. */
static void lock_only(void)
{
  int fd = open(rig_path, O_RDWR);
  for (uint32_t i = 0; i < LLMD__HOST_SLOTS; i++)
    if (llmd__lock_take(fd, LLMD__LOCK_SLOT + i) == 1)
      return;
  _exit(1);
}

static void lock_and_owner(void)
{
  llmd_share *s = NULL;
  if (rig_open(0, &s, NULL)) /* its pool is left alone: as if it had not been opened */
    _exit(1);
}

static void killed_while_attaching(void **state)
{
  llmd_share *s = rig_must(WRITER), *d;
  pid_t pid = rig_child(lock_only);
  (void)state;
  d = rig_must(0); /* passes by the slot */
  assert_int_equal(llmd__share_owner(d) % LLMD__HOST_SLOTS, 2);
  assert_int_equal(llmd_share_reap(s), 0);
  rig_kill(pid);
  assert_int_equal(llmd_share_reap(s), 0); /* it had nothing */
  llmd_share_close(d);
  d = rig_must(0);
  assert_int_equal(llmd__share_owner(d) % LLMD__HOST_SLOTS, 1);
  pid = rig_child(lock_and_owner);
  assert_int_equal(llmd_share_reap(s), 0);
  rig_kill(pid);
  assert_int_equal(llmd_share_reap(s), 1);
  assert_int_equal(entries(s), 2);
  llmd_share_close(d);
  llmd_share_close(s);
}

/* The dead one's slot goes to somebody else before anybody looked. */
static void a_slot_is_taken_again_at_once(void **state)
{
  llmd_share *s = rig_must(WRITER);
  llmd_endpoint_id id = rig_endpoint(llmd_share_pool(s));
  llmd__host *host = rig_host(s);
  pid_t a = rig_child(decide_three), b;
  uint64_t dead;
  (void)state;
  rig_kill(a);
  dead = atomic_load(&host->owner[1]);
  for (uint32_t i = 2; i < LLMD__HOST_SLOTS; i++) /* no slot is clean */
    atomic_store(&host->owner[i], LLMD__OWNER_LEFT | i);
  b = rig_child(decide_three);
  assert_true(dead && atomic_load(&host->owner[1]) != dead);
  assert_int_equal(rig_lanes(s), 2);
  assert_int_equal(llmd_share_reap(s), 1);
  assert_int_equal(rig_lanes(s), 1);
  assert_int_equal(in_flight(s, id), 3); /* of the living one */
  assert_int_equal(entries(s), 2);
  rig_kill(b);
  assert_int_equal(llmd_share_reap(s), 1);
  assert_int_equal(in_flight(s, id), 0);
  llmd_share_close(s);
}

/* Lanes of a host that came in by another way are nobody's to reap. */
static void strangers_are_left_alone(void **state)
{
  llmd_share *s = rig_must(WRITER);
  size_t len;
  llmd_pool_options o = {.size = sizeof o, .mem = llmd_share_memory(s, &len)};
  llmd_pool *pool = NULL;
  llmd_scheduler *scheduler = NULL;
  llmd_lane *l = NULL;
  (void)state;
  o.mem_len = len;
  rig_endpoint(llmd_share_pool(s));
  assert_int_equal(llmd_pool_open(&o, &pool, NULL), 0);
  assert_int_equal(llmd_scheduler_create(NULL, pool, "", 0, &scheduler, NULL), 0);
  assert_int_equal(llmd_lane_create(scheduler, 0, &l), 0);
  assert_int_equal(llmd_share_reap(s), 0);
  assert_int_equal(rig_lanes(s), 1);
  llmd_lane_free(l);
  llmd_scheduler_free(scheduler);
  llmd_pool_close(pool);
  llmd_share_close(s);
}

static void all_slots_taken(void **state)
{
  llmd_share *s = rig_must(WRITER), *more = NULL;
  llmd_err err = LLMD_ERR_INIT;
  int fd = open(rig_path, O_RDWR);
  (void)state;
  for (uint32_t i = 1; i < LLMD__HOST_SLOTS; i++)
    assert_int_equal(llmd__lock_take(fd, LLMD__LOCK_SLOT + i), 1);
  assert_int_equal(rig_open(0, &more, &err), LLMD_E_FULL);
  close(fd);
  assert_int_equal(rig_open(0, &more, &err), 0);
  llmd_share_close(more);
  llmd_share_close(s);
}

static void come_and_go(void)
{
  for (;;) {
    llmd_share *s = rig_decide(1, &lane);
    llmd_share_close(s); /* with its lane still there: the harder case */
  }
}

/* Killed at any moment of coming, deciding and going. */
static void killed_at_any_moment(void **state)
{
  int rounds = getenv("LLMD_LONG") ? 1000 : 40;
  llmd_share *s = rig_must(WRITER);
  llmd_endpoint_id id = rig_endpoint(llmd_share_pool(s));
  int64_t left = -1;
  llmd_now now;
  uint64_t next;
  (void)state;
  for (int i = 0; i < rounds; i++) {
    pid_t pid = fork();
    if (!pid)
      come_and_go();
    (void)poll(NULL, 0, i * 7 % 20);
    rig_kill(pid);
    assert_true(llmd_share_reap(s) >= 0);
    assert_int_equal(entries(s), 1);
    assert_int_equal(rig_lanes(s), 0);
  }
  for (int i = 0; i < 10000 && left; i++) { /* what stood between ticket and total is put right by recounting */
    llmd_clock(&now);
    now.mono += (uint64_t)i * 100000000u;
    assert_int_equal(llmd_pool_tick(llmd_share_pool(s), &now, &next), 0);
    left = in_flight(s, id);
  }
  assert_int_equal(left, 0);
  llmd_share_close(s);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_decider_is_killed, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(a_decider_leaves, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(the_writer_is_killed, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(killed_while_attaching, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(a_slot_is_taken_again_at_once, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(strangers_are_left_alone, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(all_slots_taken, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(killed_at_any_moment, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
