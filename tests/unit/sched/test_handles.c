/* What handles refuse or survive: caps beyond all measure, spans of time without end, a lane that says it writes where
 * nobody does, a request that wanders from one pool to another, workers that start together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/region.h"

#define BODY "{\"model\":\"m\",\"prompt\":\"hello\"}"

typedef struct host {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_endpoint_id id;
} host;

static const llmd_now start = {1000000000, 0};

static void open_host(host *h, const llmd_pool_options *given)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  llmd_pool_options po = {.size = sizeof po};
  llmd_endpoint e = {.size = sizeof e, .port = 8000, .address = {"10.0.0.1", 8}};
  if (given)
    po = *given;
  po.region = &ro;
  assert_int_equal(llmd_pool_open(&po, &h->pool, NULL), 0);
  assert_int_equal(llmd_pool_add(h->pool, &e, &h->id), 0);
  assert_int_equal(llmd_pool_touch(h->pool, h->id, 1), 0);
  assert_int_equal(llmd_pool_publish(h->pool, &start), 0);
  assert_int_equal(llmd_scheduler_create(NULL, h->pool, NULL, 0, &h->scheduler, NULL), 0);
  assert_int_equal(llmd_lane_create(h->scheduler, LLMD_LANE_WRITER, &h->lane), 0);
}

static void close_host(host *h)
{
  llmd_lane_free(h->lane);
  llmd_scheduler_free(h->scheduler);
  llmd_pool_close(h->pool);
}

static llmd_request *new_request(void)
{
  size_t len = llmd_request_size(NULL);
  llmd_request *r;
  assert_int_equal(llmd_request_init(malloc(len), len, NULL, &r), 0);
  assert_int_equal(llmd_request_feed(r, BODY, sizeof BODY - 1, LLMD_FEED_FINAL), 0);
  return r;
}

static void caps_have_a_most(void **state)
{
  llmd_region_options all, one[7];
  size_t normal = llmd_region_size(NULL);
  (void)state;
  memset(&all, 0xff, sizeof all);
  all.size = sizeof all;
  all.secret = NULL;
  assert_true(llmd_region_size(&all) > (size_t)1 << 45);
  memset(one, 0, sizeof one);
  one[0].max_labels = one[1].max_models = one[2].max_attributes = one[3].max_tickets = UINT32_MAX;
  one[4].string_bytes = one[5].state_bytes = one[6].state_bytes = UINT64_MAX;
  one[6].string_bytes = (uint64_t)1 << 63;
  for (int i = 0; i < 7; i++) {
    one[i].size = sizeof *one;
    assert_true(llmd_region_size(&one[i]) > normal);
  }
}

/* A header that was written with other caps than its places: nothing is looked up through it. */
static void absurd_caps_are_refused(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  size_t len = llmd_region_size(&ro);
  llmd__region *g = aligned_alloc(64, (len + 63) & ~(size_t)63);
  llmd_err err = LLMD_ERR_INIT;
  (void)state;
  assert_int_equal(llmd_region_format(g, len, &ro), 0);
  assert_int_equal(llmd_region_check(g, len, &err), 0);
  assert_int_equal(llmd_region_check(g, len - 1, &err), LLMD_E_MISMATCH);
  g->caps.models = UINT32_MAX; /* 1 + models would be 0 */
  assert_int_equal(llmd_region_check(g, len, &err), LLMD_E_MISMATCH);
  free(g);
}

static void spans_may_be_endless(void **state)
{
  llmd_pool_options po = {.size = sizeof po, .stale_ns = UINT64_MAX, .lease_ns = UINT64_MAX};
  llmd_decision d = {.size = sizeof d};
  llmd_now now = start;
  llmd_request *r = new_request();
  host h;
  (void)state;
  open_host(&h, &po);
  assert_int_equal(llmd_decide(h.lane, r, &now, 1, &d), 0);
  assert_int_equal(d.status, LLMD_ROUTED);
  assert_int_equal(d.ladder & LLMD_LADDER_STALE, 0);
  for (int i = 0; i < 32; i++) { /* the sweep has passed every ticket */
    now.mono += 1000000000;
    assert_int_equal(llmd_pool_tick(h.pool, &now, NULL), 0);
  }
  assert_int_equal(llmd_report(h.lane, d.ticket, LLMD_REPORT_END, NULL, &now), 0);
  close_host(&h);
  free(r);
}

static void only_a_writer_has_writing_lanes(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  size_t len = llmd_region_size(&ro);
  llmd_pool_options po = {.size = sizeof po, .mem = aligned_alloc(64, (len + 63) & ~(size_t)63), .mem_len = len};
  llmd_pool *pool;
  llmd_scheduler *s;
  llmd_lane *lane = NULL;
  (void)state;
  assert_int_equal(llmd_region_format(po.mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  assert_int_equal(llmd_scheduler_create(NULL, pool, NULL, 0, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), LLMD_E_DENIED);
  assert_int_equal(llmd_lane_create(s, 0x80u, &lane), LLMD_E_INVALID);
  assert_null(lane);
  assert_int_equal(llmd_lane_create(s, 0, &lane), 0);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  free(po.mem);
}

/* Tickets of two pools have the same numbers. The one that the request was decided on first is not given back in the
 * other's ledger. */
static void a_ticket_is_given_back_where_it_is_from(void **state)
{
  llmd_decision here = {.size = sizeof here}, there = {.size = sizeof there}, again = {.size = sizeof again};
  llmd_request *wanders = new_request(), *stays = new_request();
  int64_t requests = 0, tokens = 0;
  host a, b;
  (void)state;
  open_host(&a, NULL);
  open_host(&b, NULL);
  assert_int_equal(llmd_decide(a.lane, wanders, &start, 1, &here), 0);
  assert_int_equal(llmd_decide(b.lane, stays, &start, 1, &there), 0);
  assert_true(here.ticket == there.ticket);
  assert_int_equal(llmd_decide(b.lane, wanders, &start, 1, &again), 0);
  assert_int_equal(llmd_pool_inflight(b.pool, b.id, &requests, &tokens), 0);
  assert_int_equal(requests, 2);
  assert_int_equal(llmd_report(b.lane, there.ticket, LLMD_REPORT_END, NULL, &start), 0);
  assert_int_equal(llmd_report(a.lane, here.ticket, LLMD_REPORT_CANCEL, NULL, &start), 0);
  close_host(&a);
  close_host(&b);
  free(wanders);
  free(stays);
}

#define WORKERS 4

/* One worker: waits for the start, makes a scheduler. */
static int work(void *mem, size_t len, atomic_int *go)
{
  llmd_pool_options po = {.size = sizeof po, .mem = mem, .mem_len = len};
  llmd_scheduler *s;
  llmd_pool *pool;
  int rc = llmd_pool_open(&po, &pool, NULL);
  while (!atomic_load(go))
    ;
  if (rc)
    return rc;
  do /* whoever makes the index may not have been given a turn for so long that the others say so */
    rc = llmd_scheduler_create(NULL, pool, NULL, 0, &s, NULL);
  while (rc == LLMD_E_BUSY);
  return rc;
}

/* The region has room for one prefix index. All workers of a proxy start at once and share it. */
static void workers_start_together(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 24 << 20, .state_bytes = 30 << 20};
  size_t len = llmd_region_size(&ro);
  char *mem = mmap(NULL, len + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  atomic_int *go = (atomic_int *)(void *)(mem + (len + 63) / 64 * 64);
  pid_t child[WORKERS];
  (void)state;
  assert_true(mem != MAP_FAILED);
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  for (int i = 0; i < WORKERS; i++)
    if ((child[i] = fork()) == 0)
      _exit(work(mem, len, go) ? 1 : 0);
  atomic_store(go, 1);
  for (int i = 0; i < WORKERS; i++) {
    int status = -1;
    assert_int_equal(waitpid(child[i], &status, 0), child[i]);
    assert_int_equal(status, 0);
  }
  munmap(mem, len + 4096);
}

/* ---- processes that die ----------------------------------------------------------------------------------------- */

static uint64_t die_late(void *calls)
{
  if (++*(int *)calls > 1) /* the first is before the pin */
    raise(SIGKILL);
  return 1;
}

/* A worker that is killed in the middle of a decision. */
static void killed_worker(llmd_pool *pool, uint64_t owner)
{
  int calls = 0, status = 0;
  llmd_scheduler_options so = {.size = sizeof so, .clock = die_late, .clock_ud = &calls};
  llmd_decision d = {.size = sizeof d};
  llmd_scheduler *s;
  llmd_lane *lane;
  pid_t child = fork();
  if (child == 0) {
    if (!llmd_pool_forked(pool, owner, 0) && !llmd_scheduler_create(&so, pool, NULL, 0, &s, NULL) &&
        !llmd_lane_create(s, 0, &lane))
      llmd_decide(lane, new_request(), &start, 1, &d);
    _exit(1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
}

static void the_dead_stop_nobody(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  size_t len = llmd_region_size(&ro);
  char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .mem = mem, .mem_len = len, .owner = 1};
  llmd_endpoint e = {.size = sizeof e, .port = 8000, .address = {"10.0.0.1", 8}};
  llmd_pool *pool;
  llmd_endpoint_id id;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  assert_int_equal(llmd_pool_add(pool, &e, &id), 0);
  for (uint64_t owner = 2; owner < 6; owner++) {
    llmd_pool_publish(pool, &start); /* so that each pins another buffer, while there are any */
    killed_worker(pool, owner);
  }
  assert_int_equal(llmd_pool_publish(pool, &start), LLMD_E_BUSY);
  assert_int_equal(llmd_pool_reclaim(pool, 1), LLMD_E_INVALID); /* that is the writer itself */
  assert_int_equal(llmd_pool_reclaim(pool, 99), 0);
  for (uint64_t owner = 2; owner < 6; owner++)
    assert_int_equal(llmd_pool_reclaim(pool, owner), 1);
  assert_int_equal(llmd_pool_publish(pool, &start), 0);
  llmd_pool_close(pool);
  munmap(mem, len);
}

/* Decides, sends some of it, is killed with all of it in flight. */
static void killed_in_flight(llmd_pool *pool, uint64_t owner, int n)
{
  llmd_decision d = {.size = sizeof d};
  llmd_scheduler *s;
  llmd_lane *lane;
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    if (llmd_pool_forked(pool, owner, 0) || llmd_scheduler_create(NULL, pool, NULL, 0, &s, NULL) ||
        llmd_lane_create(s, 0, &lane))
      _exit(1);
    for (int i = 0; i < n; i++) {
      llmd_request *r = new_request();
      if (llmd_decide(lane, r, &start, 1, &d) || !d.ticket || (i % 2 && llmd_commit(lane, r, &d, 0, &start)) ||
          (i % 3 == 1 && llmd_report(lane, d.ticket, LLMD_REPORT_FIRST, NULL, &start)))
        _exit(1);
    }
    kill(getpid(), SIGKILL);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
}

/* What the dead had in flight is given back as soon as the writer is told, and nothing else is: the slot of its lane may
 * be a living process's by then. */
static void the_dead_have_nothing_in_flight(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  size_t len = llmd_region_size(&ro);
  char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .mem = mem, .mem_len = len, .owner = 1};
  llmd_endpoint e = {.size = sizeof e, .port = 8000, .address = {"10.0.0.1", 8}};
  llmd_decision d = {.size = sizeof d};
  int64_t requests = 0, tokens = 0;
  llmd_endpoint_id id;
  llmd_request *r = new_request();
  llmd_scheduler *s;
  llmd_lane *lane;
  llmd_pool *pool;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  assert_int_equal(llmd_pool_add(pool, &e, &id), 0);
  assert_int_equal(llmd_pool_publish(pool, &start), 0);
  killed_in_flight(pool, 2, 7);
  killed_in_flight(pool, 3, 5);
  assert_int_equal(llmd_scheduler_create(NULL, pool, NULL, 0, &s, NULL), 0);
  assert_int_equal(llmd_lane_create(s, LLMD_LANE_WRITER, &lane), 0);
  assert_int_equal(llmd_decide(lane, r, &start, 1, &d), 0);
  assert_int_equal(llmd_pool_inflight(pool, id, &requests, &tokens), 0);
  assert_int_equal(requests, 13);
  assert_int_equal(llmd_pool_reclaim(pool, 2), 1);
  assert_int_equal(llmd_pool_inflight(pool, id, &requests, &tokens), 0);
  assert_int_equal(requests, 6);
  assert_int_equal(llmd_pool_reclaim(pool, 3), 1);
  assert_int_equal(llmd_pool_inflight(pool, id, &requests, &tokens), 0);
  assert_int_equal(requests, 1);
  assert_int_equal(llmd_report(lane, d.ticket, LLMD_REPORT_END, NULL, &start), 0);
  assert_int_equal(llmd_pool_inflight(pool, id, &requests, &tokens), 0);
  assert_true(requests == 0 && tokens == 0);
  llmd_lane_free(lane);
  llmd_scheduler_free(s);
  llmd_pool_close(pool);
  munmap(mem, len);
  free(r);
}

/* A child that only reads does not take the writer's place, nor gives it up. */
static void a_child_reads(void **state)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 8, .prefix_bytes = 1 << 20, .state_bytes = 2 << 20};
  size_t len = llmd_region_size(&ro);
  char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .mem = mem, .mem_len = len};
  llmd_pool *pool, *other;
  int status = -1;
  pid_t child;
  (void)state;
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_pool_open(&po, &pool, NULL), 0);
  assert_int_equal(llmd_pool_forked(pool, 0, 0), LLMD_E_INVALID);
  child = fork();
  if (child == 0) {
    int denied = !llmd_pool_forked(pool, 7, 0) && llmd_pool_publish(pool, &start) == LLMD_E_DENIED &&
                 llmd_pool_reclaim(pool, 8) == LLMD_E_DENIED;
    llmd_pool_close(pool);
    _exit(denied ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(llmd_pool_open(&po, &other, NULL), LLMD_E_BUSY);
  assert_int_equal(llmd_pool_publish(pool, &start), 0);
  llmd_pool_close(pool);
  munmap(mem, len);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(caps_have_a_most),
    cmocka_unit_test(absurd_caps_are_refused),
    cmocka_unit_test(spans_may_be_endless),
    cmocka_unit_test(only_a_writer_has_writing_lanes),
    cmocka_unit_test(a_ticket_is_given_back_where_it_is_from),
    cmocka_unit_test(workers_start_together),
    cmocka_unit_test(the_dead_stop_nobody),
    cmocka_unit_test(the_dead_have_nothing_in_flight),
    cmocka_unit_test(a_child_reads),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
