/* Several processes decide on one region while one of them is killed with -9, again and again; now and then it is the
 * writer. The host (this process) tells the writer who is dead (llmd_pool_reclaim), or starts the next writer
 * (LLMD_POOL_TAKEOVER). The others' decisions go on, none is dropped, no lane is lost, and in the end all charges of
 * the dead have come back. Now and then the writer is only stopped: whoever would write is refused, and it goes on when
 * it is woken.
 *
 *   pool_kill [KILLS]     default 100; LLMD_LONG=1: 1,000 */
#define _GNU_SOURCE
#include <llmd/llmd.h>
#include <llmd/plugin.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DECIDERS 4u
#define ENDPOINTS 24u
#define GRAVES 64u
#define LANES 12u

static const char policy[] =
    "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n"
    "- type: prefix-cache-scorer\n- type: active-request-scorer\n- type: no-hit-lru-scorer\nschedulingProfiles:\n"
    "- name: default\n  plugins:\n  - pluginRef: queue-scorer\n  - pluginRef: prefix-cache-scorer\n    weight: 3\n"
    "  - pluginRef: active-request-scorer\n  - pluginRef: no-hit-lru-scorer\n";

typedef struct board {
  _Atomic uint64_t decided[DECIDERS], refused, ticks, reclaimed;
  _Atomic uint64_t grave[GRAVES]; /* owners that died; the writer takes them out */
  _Atomic int over, broken;
} board;

static board *said;
static void *mem;
static size_t len;
static uint64_t seed = 5;

static void *map(size_t bytes)
{
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    abort();
  return p;
}

static uint32_t roll(uint64_t *dice, uint32_t n)
{
  return (uint32_t)((llmd_random(dice) >> 32) % n);
}

static void nap(uint64_t ns)
{
  struct timespec t = {0, (long)ns};
  nanosleep(&t, NULL);
}

static llmd_now now(void)
{
  struct timespec t;
  llmd_now n;
  clock_gettime(CLOCK_MONOTONIC, &t);
  n.mono = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
  n.wall = n.mono;
  return n;
}

static void broken(const char *what, int rc)
{
  if (!atomic_exchange(&said->broken, 1))
    printf("# %s: %s\n", what, llmd_strerror(rc));
  fflush(stdout);
  _exit(1);
}

static llmd_pool *opened(uint32_t flags)
{
  llmd_pool_options po = {.size = sizeof po, .flags = flags, .mem = mem, .mem_len = len};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *pool = NULL;
  int rc;
  po.owner = (uint64_t)getpid();
  rc = llmd_pool_open(&po, &pool, &err);
  if (rc)
    broken(err.text, rc);
  return pool;
}

/* ---- deciders ---------------------------------------------------------------------------------------------------- */

typedef struct desk {
  llmd_pool *pool;
  llmd_scheduler *scheduler;
  llmd_lane *lane;
  llmd_request *request;
  llmd_decision d;
} desk;

static void sit_down(desk *k)
{
  llmd_err err = LLMD_ERR_INIT;
  void *room = malloc(llmd_request_size(NULL));
  int rc;
  memset(k, 0, sizeof *k);
  k->d.size = sizeof k->d;
  k->pool = opened(0);
  rc = llmd_scheduler_create(NULL, k->pool, policy, sizeof policy - 1, &k->scheduler, &err);
  if (rc)
    broken(err.text, rc);
  do /* as soon as the writer has reclaimed the lanes of the dead */
    rc = llmd_lane_create(k->scheduler, 0, &k->lane);
  while (rc == LLMD_E_FULL && (nap(200000), !atomic_load(&said->over)));
  if (rc && !atomic_load(&said->over))
    broken("lane", rc);
  if (rc || !room || llmd_request_init(room, llmd_request_size(NULL), NULL, &k->request))
    _exit(0);
}

static int one(desk *k, uint64_t dice)
{
  char body[700];
  llmd_now at = now();
  int n = snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"%llu", (unsigned long long)(dice % 17));
  for (; n < 600; n++)
    body[n] = (char)('a' + ((uint64_t)n * 7 + dice % 5) % 26);
  n += snprintf(body + n, sizeof body - (size_t)n, "\"}");
  llmd_request_reset(k->request);
  if (llmd_request_feed(k->request, body, (size_t)n, LLMD_FEED_KEEP | LLMD_FEED_FINAL) ||
      llmd_decide(k->lane, k->request, &at, dice, &k->d) || k->d.status != LLMD_ROUTED || !k->d.target[0].id)
    return 1;
  llmd_commit(k->lane, k->request, &k->d, 0, &at);
  if (k->d.ticket && dice % 3)
    llmd_report(k->lane, k->d.ticket, LLMD_REPORT_FIRST, NULL, &at);
  return k->d.ticket && llmd_report(k->lane, k->d.ticket, LLMD_REPORT_END, NULL, &at) != 0;
}

static void decider(uint32_t i)
{
  desk k;
  uint64_t dice = (uint64_t)getpid();
  sit_down(&k);
  while (!atomic_load(&said->over) && getppid() != 1) {
    atomic_fetch_add(&said->refused, (uint64_t)one(&k, llmd_random(&dice)));
    atomic_fetch_add(&said->decided[i], 1);
  }
  llmd_lane_free(k.lane);
  llmd_scheduler_free(k.scheduler);
  llmd_pool_close(k.pool);
  _exit(0);
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

static void add_endpoints(llmd_pool *pool)
{
  for (unsigned i = 0; i < ENDPOINTS; i++) {
    char address[24];
    llmd_endpoint e = {.size = sizeof e, .port = 8000};
    llmd_endpoint_id id = 0;
    int rc;
    e.address.ptr = address;
    e.address.len = (size_t)snprintf(address, sizeof address, "10.0.0.%u", i + 1);
    rc = llmd_pool_add(pool, &e, &id);
    if (rc && rc != LLMD_E_DUPLICATE)
      broken("add", rc);
  }
}

static int set_queue(void *ud, llmd_endpoint_id id, const llmd_endpoint *e)
{
  llmd_pool_set(ud, id, LLMD_ATTR_WAITING, (double)(e->address.len % 3));
  llmd_pool_touch(ud, id, now().mono);
  return 0;
}

static void bury(llmd_pool *pool)
{
  for (uint32_t g = 0; g < GRAVES; g++) {
    uint64_t owner = atomic_load(&said->grave[g]);
    if (!owner)
      continue;
    if (llmd_pool_reclaim(pool, owner) >= 0)
      atomic_fetch_add(&said->reclaimed, 1);
    atomic_store(&said->grave[g], 0);
  }
}

static void write_on(uint32_t flags)
{
  llmd_pool *pool = opened(LLMD_POOL_WRITER | flags);
  add_endpoints(pool);
  while (!atomic_load(&said->over) && getppid() != 1) {
    llmd_now at = now();
    bury(pool);
    llmd_pool_each(pool, set_queue, pool);
    llmd_pool_publish(pool, &at);
    llmd_pool_tick(pool, &at, NULL);
    atomic_fetch_add(&said->ticks, 1);
    nap(200000);
  }
  llmd_pool_close(pool);
  _exit(0);
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

static pid_t start(void (*what)(uint32_t), uint32_t with)
{
  pid_t pid;
  fflush(stdout);
  pid = fork();
  if (pid == 0)
    what(with);
  if (pid < 0)
    abort();
  return pid;
}

static void dead(pid_t pid)
{
  for (;;) {
    for (uint32_t g = 0; g < GRAVES; g++) {
      uint64_t none = 0;
      if (atomic_compare_exchange_strong(&said->grave[g], &none, (uint64_t)pid))
        return;
    }
    nap(200000);
  }
}

/* Everybody but `except` decides on, and the writer ticks. */
static int all_go_on(uint32_t except)
{
  uint64_t from[DECIDERS], ticks = atomic_load(&said->ticks);
  for (uint32_t i = 0; i < DECIDERS; i++)
    from[i] = atomic_load(&said->decided[i]);
  for (uint32_t tries = 0; tries < 20000 && !atomic_load(&said->broken); tries++) {
    uint32_t on = 0;
    for (uint32_t i = 0; i < DECIDERS; i++)
      on += i == except || atomic_load(&said->decided[i]) > from[i] + 3;
    if (on == DECIDERS && (except == DECIDERS || atomic_load(&said->ticks) > ticks))
      return 1;
    nap(500000);
  }
  return 0;
}

/* A writer that does nothing is not a dead one. */
static int stopped_and_woken(pid_t writer)
{
  llmd_pool_options po = {.size = sizeof po, .flags = LLMD_POOL_WRITER, .mem = mem, .mem_len = len};
  llmd_pool *pool = NULL;
  int status, refused, on;
  po.owner = (uint64_t)getpid();
  kill(writer, SIGSTOP);
  if (waitpid(writer, &status, WUNTRACED) != writer || !WIFSTOPPED(status))
    return 0;
  refused = llmd_pool_open(&po, &pool, NULL) == LLMD_E_BUSY;
  llmd_pool_close(pool);
  on = all_go_on(DECIDERS); /* but for it */
  kill(writer, SIGCONT);
  return refused && on && all_go_on(DECIDERS + 1);
}

/* No lease ends here: what the dead were charged is given back because they are known to be dead. */
static int64_t left_in_flight(void)
{
  llmd_pool *pool = opened(LLMD_POOL_WRITER | LLMD_POOL_TAKEOVER);
  llmd_now at = now();
  int64_t sum = 0;
  bury(pool);
  for (int i = 0; i < 3; i++) { /* what one died in the middle of is the recount's */
    at.mono += 1000000001;
    llmd_pool_tick(pool, &at, NULL);
  }
  for (uint32_t i = 0; i < ENDPOINTS; i++) {
    char text[24];
    int64_t requests = 0, tokens = 0;
    int n = snprintf(text, sizeof text, "10.0.0.%u:8000", i + 1);
    if (llmd_pool_inflight(pool, llmd_pool_find(pool, text, (size_t)n), &requests, &tokens))
      sum += 1000000;
    sum += (requests < 0 ? -requests : requests) + (tokens < 0 ? -tokens : tokens);
  }
  llmd_pool_close(pool);
  return sum;
}

static int check(int n, int ok, const char *what)
{
  printf("%sok %d - %s\n", ok ? "" : "not ", n, what);
  return !ok;
}

int main(int argc, char **argv)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 64, .max_lanes = LANES, .max_tickets = 2048,
                            .prefix_bytes = 1 << 20, .state_bytes = 8 << 20};
  uint64_t kills = argc > 1 ? strtoull(argv[1], NULL, 10) : getenv("LLMD_LONG") ? 1000 : 100, writers = 0, decided = 0;
  pid_t worker[DECIDERS], writer;
  int stuck = 0, asleep = 0, bad = 0, status;
  int64_t left;
  printf("1..5\n");
  len = llmd_region_size(&ro);
  mem = map(len);
  said = map(sizeof *said);
  if (llmd_region_format(mem, len, &ro))
    return 1;
  writer = start(write_on, 0);
  while (!atomic_load(&said->ticks) && !atomic_load(&said->broken))
    nap(200000);
  for (uint32_t i = 0; i < DECIDERS; i++)
    worker[i] = start(decider, i);
  for (uint64_t k = 0; k < kills && !stuck && !atomic_load(&said->broken); k++) {
    uint32_t who = roll(&seed, 5) ? roll(&seed, DECIDERS) : DECIDERS;
    pid_t *victim = who < DECIDERS ? &worker[who] : &writer;
    nap(100000 + llmd_random(&seed) % 3000000);
    kill(*victim, SIGKILL);
    waitpid(*victim, &status, 0);
    if (k % 4 == 0)
      stuck += !all_go_on(who); /* without it, before anybody is told */
    if (who < DECIDERS) {
      dead(*victim);
      *victim = start(decider, who);
    } else {
      writers++;
      *victim = start(write_on, LLMD_POOL_TAKEOVER);
    }
    if (k % 25 == 24)
      asleep += !stopped_and_woken(writer);
  }
  stuck += !all_go_on(DECIDERS + 1);
  atomic_store(&said->over, 1);
  for (uint32_t i = 0; i < DECIDERS; i++) {
    if (stuck)
      kill(worker[i], SIGKILL);
    waitpid(worker[i], &status, 0);
    decided += atomic_load(&said->decided[i]);
  }
  waitpid(writer, &status, 0);
  left = left_in_flight();
  printf("# %llu kills, %llu of them writers; %llu decisions, %llu refused, %llu reclaimed\n",
         (unsigned long long)kills, (unsigned long long)writers, (unsigned long long)decided,
         (unsigned long long)atomic_load(&said->refused),
         (unsigned long long)atomic_load(&said->reclaimed));
  bad += check(1, !stuck, "the others go on");
  bad += check(2, !atomic_load(&said->broken), "everybody opens, and gets a lane");
  bad += check(3, decided && !atomic_load(&said->refused), "no decision is dropped");
  if (left)
    printf("# %lld in flight\n", (long long)left);
  bad += check(4, left == 0, "what the dead had in flight comes back");
  bad += check(5, !asleep, "nobody takes over from a writer that is stopped, and it goes on");
  return bad != 0;
}
