/* After warm-up a decision allocates nothing and makes no system call: decide, commit, report, publish and tick run in
 * a child that the kernel kills at the first call but read, write and exit, with an allocator that refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int refuse;
static unsigned long allocations;

static void *counting(void *ud, void *ptr, size_t osize, size_t nsize)
{
  (void)ud;
  (void)osize;
  if (!nsize) {
    free(ptr);
    return NULL;
  }
  allocations++;
  return refuse ? NULL : realloc(ptr, nsize);
}

static const char body[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Count to ten, slowly, and then "
    "count back again, so that there is enough text to fill more than one block of sixty-four "
    "tokens, which are four bytes each when they are estimated, and one more sentence for luck: "
    "the quick brown fox jumps over the lazy dog, again and again and again and again.\"}]}";

typedef struct rig {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *mem;
  llmd_endpoint_id id[16];
  llmd_decision d;
  uint32_t ids[512], n_ids; /* the prompt's real tokens, when the exact index is to be asked */
} rig;

static void open_rig(rig *r, const char *config)
{
  llmd_allocator a = {sizeof a, 0, counting, NULL};
  llmd_region_options ro = {.size = sizeof ro, .prefix_bytes = 4 << 20, .index_bytes = 1 << 20,
                            .state_bytes = 8 << 20};
  llmd_pool_options po = {.size = sizeof po, .alloc = &a, .region = &ro};
  llmd_scheduler_options so = {.size = sizeof so, .alloc = &a};
  llmd_now now = {1, 1};
  llmd_err err = LLMD_ERR_INIT;
  memset(r, 0, sizeof *r);
  r->d.size = sizeof r->d;
  assert_int_equal(llmd_pool_open(&po, &r->pool, &err), 0);
  for (unsigned i = 0; i < 16; i++) {
    char address[16];
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    e.address.ptr = address;
    e.address.len = (size_t)snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    assert_int_equal(llmd_pool_add(r->pool, &e, &r->id[i]), 0);
    llmd_pool_set(r->pool, r->id[i], LLMD_ATTR_WAITING, i);
  }
  assert_int_equal(llmd_pool_publish(r->pool, &now), 0);
  assert_int_equal(llmd_scheduler_create(&so, r->pool, config, config ? strlen(config) : 0, &r->scheduler, &err), 0);
  assert_int_equal(llmd_lane_create(r->scheduler, LLMD_LANE_WRITER, &r->lane), 0);
  r->mem = malloc(llmd_request_size(NULL));
  assert_int_equal(llmd_request_init(r->mem, llmd_request_size(NULL), NULL, &r->request), 0);
}

static void close_rig(rig *r)
{
  llmd_lane_free(r->lane);
  llmd_scheduler_free(r->scheduler);
  llmd_pool_close(r->pool);
  free(r->mem);
}

/* One whole turn of a request and of the writer. 0 = as it should be. */
static int turn(rig *r, uint64_t k)
{
  llmd_now now = {1000 + k * 1000000, 1};
  llmd_request_reset(r->request);
  if (llmd_request_feed(r->request, body, sizeof body - 1, LLMD_FEED_FINAL))
    return 1;
  for (uint32_t i = 0; i < r->n_ids; i++)
    r->ids[i] = i < 256 ? i : (uint32_t)(k % 50) + i;
  if (r->n_ids && llmd_request_set_tokens(r->request, r->ids, r->n_ids))
    return 1;
  if (llmd_decide(r->lane, r->request, &now, k, &r->d) || r->d.status != LLMD_ROUTED)
    return 2;
  if (llmd_commit(r->lane, r->request, &r->d, 0, &now) ||
      llmd_report(r->lane, r->d.ticket, LLMD_REPORT_FIRST, NULL, &now) ||
      llmd_report(r->lane, r->d.ticket, LLMD_REPORT_END, NULL, &now))
    return 3;
  llmd_pool_set(r->pool, r->id[k % 16], LLMD_ATTR_WAITING, (double)(k % 9));
  return llmd_pool_publish(r->pool, &now) || llmd_pool_tick(r->pool, &now, NULL) ? 4 : 0;
}

static int in_cage(rig *r)
{
  int rc = 0, status = 0;
  pid_t child = fork();
  if (!child) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
      syscall(SYS_exit, 77);
    for (uint64_t k = 10; k < 2000 && !rc; k++)
      rc = turn(r, k);
    syscall(SYS_exit, rc);
  }
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    return -WTERMSIG(status);
  return WEXITSTATUS(status);
}

static void no_cage(void)
{
  print_message("skipped: needs seccomp of the kernel\n");
  skip();
}

/* Every endpoint's engine tells of its cache: in blocks of 16 tokens or of 64. */
static void feed_index(rig *r)
{
  llmd_index *index;
  r->n_ids = 512;
  assert_int_equal(llmd_pool_index(r->pool, &index), 0);
  for (uint32_t i = 0; i < 16; i++) {
    llmd_index_row row = {.size = sizeof row, .flags = LLMD_INDEX_FED, .block_tokens = i % 2 ? 16 : 64};
    assert_int_equal(llmd_index_describe(index, r->id[i], &row), 0);
  }
}

static void no_call_no_allocation(const char *config, int exact)
{
  rig r;
  unsigned long before;
  int rc;
  open_rig(&r, config);
  if (exact)
    feed_index(&r);
  for (uint64_t k = 0; k < 10; k++)
    assert_int_equal(turn(&r, k), 0);
  before = allocations;
  refuse = 1;
  rc = in_cage(&r);
  for (uint64_t k = 10; k < 100; k++)
    assert_int_equal(turn(&r, k), 0);
  refuse = 0;
  assert_int_equal(allocations, before);
  close_rig(&r);
  if (rc == 77)
    no_cage();
  assert_int_equal(rc, 0);
}

static void default_policy(void **state)
{
  (void)state;
  no_call_no_allocation(NULL, 0);
}

static void loads_and_ties(void **state)
{
  (void)state;
  no_call_no_allocation(
      "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: decode-filter\n"
      "- type: token-load-scorer\n- type: active-request-scorer\n- type: no-hit-lru-scorer\n"
      "- type: lora-affinity-scorer\n- type: weighted-random-picker\nschedulingProfiles:\n- name: default\n"
      "  plugins:\n  - pluginRef: decode-filter\n  - pluginRef: token-load-scorer\n"
      "  - pluginRef: active-request-scorer\n  - pluginRef: no-hit-lru-scorer\n"
      "  - pluginRef: lora-affinity-scorer\n  - pluginRef: weighted-random-picker\n", 0);
}

static void precise(void **state)
{
  (void)state;
  no_call_no_allocation(
      "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: precise-prefix-cache-producer\n"
      "  parameters: {speculativeIndexing: true}\n- type: prefix-cache-scorer\n"
      "  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n- type: no-hit-lru-scorer\n"
      "  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n- type: queue-scorer\n", 1);
}

/* The cage itself: a call in it is noticed. */
static void cage_works(void **state)
{
  int status = 0;
  pid_t child = fork();
  (void)state;
  if (!child) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
      syscall(SYS_exit, 77);
    syscall(SYS_getpid);
    syscall(SYS_exit, 0);
  }
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    no_cage();
  assert_true(WIFSIGNALED(status));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(cage_works), cmocka_unit_test(default_policy),
                                     cmocka_unit_test(loads_and_ties), cmocka_unit_test(precise)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
