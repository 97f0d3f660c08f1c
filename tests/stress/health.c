/* Threads whose requests fail and work at the same endpoints: never more of them are out than may be, and in the end
 * the count is that of the words. First without anybody coming back, so that who is seen out is out; then with.
 *
 *   health [TURNS]     default 40,000 for each thread; LLMD_LONG=1: 1,000,000 */
#include "model/health.h"
#include "model/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 6u
#define ENDPOINTS 30u
#define MOST 15u

static llmd_pool *pool;
static llmd_endpoint_id id[ENDPOINTS];
static uint64_t turns;
static _Atomic uint64_t mono;
static _Atomic int over, come_back, wrong;
static _Atomic uint64_t tried;

static uint32_t roll(uint64_t *x, uint32_t n)
{
  *x = *x * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*x >> 33) % n;
}

static void *requests(void *arg)
{
  llmd__region *g = pool->g;
  uint64_t dice = (uint64_t)(uintptr_t)arg;
  for (uint64_t i = 0; i < turns; i++) {
    llmd_endpoint_id e = id[roll(&dice, ENDPOINTS)];
    uint64_t now = atomic_fetch_add(&mono, 300000);
    if (llmd__health_look(g, e, now) == LLMD__HEALTH_DUE && llmd__health_try(g, e, now)) {
      atomic_fetch_add(&tried, 1);
      if (roll(&dice, 4) == 0)
        llmd__health_untry(g, e, 0, now);
    }
    if (atomic_load(&come_back) && roll(&dice, 3))
      llmd__health_worked(g, e, now);
    else
      llmd__health_failed(g, e, ENDPOINTS, now);
    if (llmd__health_any(g) > MOST)
      atomic_store(&wrong, 1);
  }
  return NULL;
}

static uint32_t seen_out(void)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < ENDPOINTS; i++)
    n += llmd__health_unwell(pool->g, id[i]) != 0;
  return n;
}

static void *watch(void *unused)
{
  (void)unused;
  while (!atomic_load(&over))
    if (seen_out() > MOST)
      atomic_store(&wrong, 1);
  return NULL;
}

static uint32_t run(int back)
{
  pthread_t t[THREADS], w;
  atomic_store(&come_back, back);
  atomic_store(&over, 0);
  for (uintptr_t i = 0; i < THREADS; i++)
    pthread_create(&t[i], NULL, requests, (void *)(i + 1));
  if (!back)
    pthread_create(&w, NULL, watch, NULL);
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(t[i], NULL);
  atomic_store(&over, 1);
  if (!back)
    pthread_join(w, NULL);
  return seen_out();
}

static int check(int n, int ok, const char *what)
{
  printf("%sok %d - %s\n", ok ? "" : "not ", n, what);
  return !ok;
}

int main(int argc, char **argv)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 64, .prefix_bytes = 4096, .state_bytes = 8192};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  llmd_health_options o = {.size = sizeof o, .failures = 2, .first_ns = UINT64_C(3600000000000),
                           .longest_ns = UINT64_C(3600000000000)};
  llmd_endpoint e = {.size = sizeof e, .address = {"10.0.0.1", 8}};
  llmd_now now = {1, 1};
  uint32_t out;
  int bad = 0;
  turns = argc > 1 ? strtoull(argv[1], NULL, 10) : getenv("LLMD_LONG") ? 1000000 : 40000;
  if (llmd_pool_open(&po, &pool, NULL))
    return 1;
  for (uint32_t i = 0; i < ENDPOINTS; i++) {
    e.port = i + 1;
    if (llmd_pool_add(pool, &e, &id[i]))
      return 1;
  }
  if (llmd_pool_publish(pool, &now) || llmd_pool_set_health(pool, &o))
    return 1;
  atomic_store(&mono, UINT64_C(1000000000));
  printf("1..4\n");
  out = run(0);
  bad += check(1, out == MOST && !atomic_load(&wrong), "half of the pool is out, and never more");
  bad += check(2, llmd__health_any(pool->g) == out, "all that are out are counted");
  o.first_ns = o.longest_ns = 2000000;
  if (llmd_pool_set_health(pool, &o))
    return 1;
  atomic_fetch_add(&mono, UINT64_C(7200000000000));
  out = run(1);
  printf("# %u are out, %llu ejections, %llu trials\n", out, (unsigned long long)atomic_load(&pool->g->ejections),
         (unsigned long long)atomic_load(&tried));
  bad += check(3, !atomic_load(&wrong) && out <= MOST && atomic_load(&tried), "never more when they come back");
  bad += check(4, llmd__health_any(pool->g) == out, "all that are out are counted when they come back");
  llmd_pool_close(pool);
  return bad != 0;
}
