/* One region, several views: mapped twice in one process, and by a second process. All decide alike; what one lane
 * posts the writer applies for all; charges of one count for the others at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <llmd/llmd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 24u

static const char policy[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n"
    "- type: prefix-cache-scorer\n- type: active-request-scorer\nschedulingProfiles:\n"
    "- name: default\n  plugins:\n  - pluginRef: queue-scorer\n  - pluginRef: prefix-cache-scorer\n"
    "    weight: 3\n  - pluginRef: active-request-scorer\n";

typedef struct view {
  void *mem;
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  void *request_mem;
  llmd_decision d;
} view;

static llmd_region_options options(void)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 64, .prefix_bytes = 2 << 20, .state_bytes = 4 << 20};
  ro.seed = 99;
  return ro;
}

static void open_view(view *v, int fd, size_t len, uint32_t flags)
{
  llmd_pool_options po = {.size = sizeof po, .flags = flags};
  llmd_scheduler_options so = {.size = sizeof so};
  llmd_err err = LLMD_ERR_INIT;
  memset(v, 0, sizeof *v);
  v->d.size = sizeof v->d;
  v->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  assert_true(v->mem != MAP_FAILED);
  po.mem = v->mem;
  po.mem_len = len;
  assert_int_equal(llmd_pool_open(&po, &v->pool, &err), 0);
  assert_int_equal(llmd_scheduler_create(&so, v->pool, policy, sizeof policy - 1, &v->scheduler, &err), 0);
  assert_int_equal(llmd_lane_create(v->scheduler, 0, &v->lane), 0);
  v->request_mem = malloc(llmd_request_size(NULL));
  assert_int_equal(llmd_request_init(v->request_mem, llmd_request_size(NULL), NULL, &v->request), 0);
}

static void close_view(view *v, size_t len)
{
  llmd_lane_free(v->lane);
  llmd_scheduler_free(v->scheduler);
  llmd_pool_close(v->pool);
  free(v->request_mem);
  munmap(v->mem, len);
}

static void fill(view *v)
{
  llmd_now now = {1, 1};
  for (unsigned i = 0; i < N; i++) {
    char address[16];
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    llmd_endpoint_id id;
    e.address.ptr = address;
    e.address.len = (size_t)snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    assert_int_equal(llmd_pool_add(v->pool, &e, &id), 0);
    llmd_pool_set(v->pool, id, LLMD_ATTR_WAITING, (i * 5) % 7);
  }
  assert_int_equal(llmd_pool_publish(v->pool, &now), 0);
}

static llmd_endpoint_id decide(view *v, unsigned text, uint64_t seed)
{
  char body[1024];
  int n = snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"%u", text);
  llmd_now now = {2, 2};
  for (unsigned i = 0; i < 600; i++)
    body[n++] = (char)('a' + (i * (text + 3)) % 26);
  n += snprintf(body + n, sizeof body - (size_t)n, "\"}");
  llmd_request_reset(v->request);
  if (llmd_request_feed(v->request, body, (size_t)n, LLMD_FEED_FINAL))
    return 0;
  if (llmd_decide(v->lane, v->request, &now, seed, &v->d) || v->d.status != LLMD_ROUTED)
    return 0;
  return v->d.target[0].id;
}

static llmd_endpoint_id decide_and_leave(view *v, unsigned text, uint64_t seed, int commit)
{
  llmd_now now = {2, 2};
  llmd_endpoint_id id = decide(v, text, seed);
  if (commit)
    llmd_commit(v->lane, v->request, &v->d, 0, &now);
  llmd_report(v->lane, v->d.ticket, LLMD_REPORT_END, NULL, &now);
  return id;
}

static int shared_file(size_t *len)
{
  llmd_region_options ro = options();
  int fd = memfd_create("llmd-test", 0);
  void *mem;
  *len = llmd_region_size(&ro);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t)*len), 0);
  mem = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  assert_true(mem != MAP_FAILED);
  assert_int_equal(llmd_region_format(mem, *len, &ro), 0);
  munmap(mem, *len);
  return fd;
}

static void two_addresses(void **state)
{
  llmd_now now = {3, 3};
  size_t len;
  int fd = shared_file(&len);
  view a, b;
  (void)state;
  open_view(&a, fd, len, LLMD_POOL_WRITER);
  fill(&a);
  open_view(&b, fd, len, 0);
  assert_ptr_not_equal(a.mem, b.mem);
  for (unsigned i = 0; i < 200; i++)
    assert_int_equal(decide_and_leave(&a, i % 20, i, 0), decide_and_leave(&b, i % 20, i, 0));
  for (unsigned i = 0; i < 20; i++) { /* b learns by posting, a applies */
    llmd_endpoint_id home = decide_and_leave(&b, i, 7 * i, 1);
    assert_int_equal(decide_and_leave(&b, i, 500 + i, 0), home); /* before anybody has applied it */
    assert_int_equal(llmd_pool_tick(a.pool, &now, NULL), 0);
    assert_int_equal(decide_and_leave(&a, i, 1000 + i, 0), home);
    assert_int_equal(decide_and_leave(&b, i, 2000 + i, 0), home);
  }
  close_view(&b, len);
  close_view(&a, len);
  close(fd);
}

static void charges_count_at_once(void **state)
{
  size_t len;
  int fd = shared_file(&len);
  int64_t requests = 0, tokens = 0;
  llmd_now now = {3, 3};
  llmd_endpoint_id id;
  view a, b;
  (void)state;
  open_view(&a, fd, len, LLMD_POOL_WRITER);
  fill(&a);
  open_view(&b, fd, len, 0);
  id = decide(&b, 1, 1);
  assert_int_equal(llmd_pool_inflight(a.pool, id, &requests, &tokens), 0);
  assert_int_equal(requests, 1);
  assert_true(tokens > 0);
  assert_int_equal(llmd_report(a.lane, b.d.ticket, LLMD_REPORT_END, NULL, &now), 0); /* from another lane */
  assert_int_equal(llmd_report(b.lane, b.d.ticket, LLMD_REPORT_END, NULL, &now), LLMD_E_STALE);
  assert_int_equal(llmd_pool_inflight(a.pool, id, &requests, &tokens), 0);
  assert_int_equal(requests, 0);
  assert_int_equal(tokens, 0);
  close_view(&b, len);
  close_view(&a, len);
  close(fd);
}

static void two_processes(void **state)
{
  size_t len;
  int fd = shared_file(&len), status, tube[2];
  llmd_endpoint_id theirs[100];
  pid_t child;
  view a;
  (void)state;
  open_view(&a, fd, len, LLMD_POOL_WRITER);
  fill(&a);
  assert_int_equal(pipe(tube), 0);
  child = fork();
  if (!child) {
    view b;
    open_view(&b, fd, len, 0);
    for (unsigned i = 0; i < 100; i++)
      theirs[i] = decide_and_leave(&b, i % 10, i, 0);
    _exit(write(tube[1], theirs, sizeof theirs) == (ssize_t)sizeof theirs ? 0 : 1);
  }
  assert_int_equal(read(tube[0], theirs, sizeof theirs), (int)sizeof theirs);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal(decide_and_leave(&a, i % 10, i, 0), theirs[i]);
  close_view(&a, len);
  close(fd);
}

static void note_takeover(void *ud, int level, const char *component, const char *text, size_t len)
{
  *(int *)ud += level == LLMD_LOG_WARN && !strcmp(component, "pool") && len == strlen(text) && strstr(text, "takes over");
}

static void refuses_what_is_no_region(void **state)
{
  int told = 0;
  llmd_err err = LLMD_ERR_INIT;
  llmd_region_options ro = options();
  size_t len = llmd_region_size(&ro);
  char *mem = aligned_alloc(64, (len + 63) & ~(size_t)63);
  llmd_pool_options po = {.size = sizeof po, .mem = mem, .mem_len = len, .flags = LLMD_POOL_WRITER};
  llmd_pool *p, *q;
  (void)state;
  memset(mem, 0, 4096);
  assert_int_equal(llmd_pool_open(&po, &p, &err), LLMD_E_MISMATCH);
  assert_int_equal(llmd_region_format(mem, len, &ro), 0);
  assert_int_equal(llmd_region_check(mem, len - 1, &err), LLMD_E_MISMATCH);
  assert_int_equal(llmd_region_check(mem + 8, len - 8, &err), LLMD_E_INVALID);
  mem[8] = 9; /* layout version */
  assert_int_equal(llmd_region_check(mem, len, &err), LLMD_E_MISMATCH);
  assert_non_null(strstr(err.text, "layout 9"));
  assert_non_null(strstr(err.text, "layout 4"));
  mem[8] = 4;
  assert_int_equal(llmd_pool_open(&po, &p, &err), 0);
  assert_int_equal(llmd_pool_open(&po, &q, &err), LLMD_E_BUSY);
  po.flags |= LLMD_POOL_TAKEOVER;
  po.log = note_takeover;
  po.log_ud = &told;
  assert_int_equal(llmd_pool_open(&po, &q, &err), 0);
  assert_int_equal(told, 1);
  llmd_pool_close(q);
  llmd_pool_close(p);
  free(mem);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(two_addresses), cmocka_unit_test(charges_count_at_once),
                                     cmocka_unit_test(two_processes), cmocka_unit_test(refuses_what_is_no_region)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
