/* Endpoints come and go under ever new names, whose strings are freed and used again, while other threads read what is
 * published: as long as a thread pins a buffer, every name in it can be read and found, and is whole.
 *
 *   names [REPLACEMENTS]    default 30,000 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/pool.h"
#include "model/strings.h"

#define READERS 3u
#define LIVE 16u

static llmd_pool *pool;
static _Atomic int over;
static _Atomic uint64_t seen, wrong;

static void must(int ok)
{
  if (!ok)
    abort();
}

/* "default/ADDRESS:80", and the address is ten times the same number. */
static int is_whole(llmd_str name, llmd_str address)
{
  char text[160];
  int n = snprintf(text, sizeof text, "default/%.*s:80", (int)address.len, address.ptr);
  if (address.len < 16 || name.len != (size_t)n || memcmp(name.ptr, text, name.len) || name.ptr[name.len])
    return 0;
  for (size_t i = 8; i + 8 <= address.len; i += 8)
    if (memcmp(address.ptr, address.ptr + i, 8))
      return 0;
  return 1;
}

static void read_all(const llmd__snapshot *s)
{
  const llmd__region *g = pool->g;
  for (uint32_t i = 0; i < s->n; i++) {
    const llmd__row *r = &s->view.row[i];
    llmd_str name = llmd__string_text(g, r->name), address = llmd__string_text(g, r->address);
    int ok = is_whole(name, address) && llmd__string_find(g, name.ptr, name.len) == r->name &&
             llmd__string_find(g, address.ptr, address.len) == r->address;
    atomic_fetch_add_explicit(ok ? &seen : &wrong, 1, memory_order_relaxed);
  }
}

static void *reader(void *ud)
{
  uint32_t lane;
  (void)ud;
  must(!llmd__pool_lane_take(pool, &lane));
  while (!atomic_load(&over)) {
    llmd__snapshot s;
    must(!llmd__pool_pin(pool, lane, &s));
    read_all(&s);
    llmd__pool_unpin(pool, lane);
  }
  llmd__pool_lane_leave(pool, lane);
  return NULL;
}

static llmd_endpoint_id add(uint32_t number)
{
  char address[104];
  llmd_endpoint e = {.size = sizeof e, .port = 80};
  llmd_endpoint_id id = 0;
  uint32_t parts = 2 + number % 10; /* all lengths */
  for (uint32_t i = 0; i < parts; i++)
    snprintf(address + (size_t)i * 8, 9, "%08x", number);
  e.address.ptr = address;
  e.address.len = (size_t)parts * 8;
  must(!llmd_pool_add(pool, &e, &id));
  return id;
}

static void work(uint32_t replacements)
{
  llmd_endpoint_id id[LIVE] = {0};
  llmd_now now = {1, 1};
  for (uint32_t i = 0; i < replacements; i++) {
    if (id[i % LIVE])
      must(!llmd_pool_remove(pool, id[i % LIVE]));
    id[i % LIVE] = add(i);
    now.mono += 1000000;
    llmd_pool_publish(pool, &now); /* busy: the next one shows it */
    must(!llmd_pool_tick(pool, &now, NULL));
  }
}

int main(int argc, char **argv)
{
  llmd_region_options ro = {.size = sizeof ro, .max_endpoints = 2 * LIVE, .max_lanes = READERS, .max_tickets = 16,
                            .ring_bytes = 1024, .string_bytes = 16384, .state_bytes = 65536, .seed = 7};
  llmd_pool_options po = {.size = sizeof po, .region = &ro};
  uint32_t replacements = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 30000;
  llmd_now now = {1, 1};
  pthread_t thread[READERS];
  llmd_region_stats s = {.size = sizeof s};
  must(!llmd_pool_open(&po, &pool, NULL) && !llmd_pool_publish(pool, &now));
  for (uint32_t i = 0; i < READERS; i++)
    must(!pthread_create(&thread[i], NULL, reader, NULL));
  work(replacements);
  atomic_store(&over, 1);
  for (uint32_t i = 0; i < READERS; i++)
    pthread_join(thread[i], NULL);
  must(!llmd_region_stats_get(pool->g, pool->g->bytes, &s, NULL));
  printf("1..1\n# %llu names read, %llu freed, %llu refused\n", (unsigned long long)seen,
         (unsigned long long)s.strings_freed, (unsigned long long)s.strings_refused);
  printf("%sok 1 - names stay readable while their buffer is pinned\n",
         wrong || !seen || s.strings_freed < replacements ? "not " : "");
  llmd_pool_close(pool);
  return wrong != 0;
}
