/* One writer and three readers on one prefix index, for as many operations as the writer is told (argument, default
 * 40000). Meant for a build with -Db_sanitize=thread; without it, it still checks what readers see:
 *  - answers are well-formed and name each endpoint once;
 *  - a chain that nobody stored is nobody's;
 *  - a chain is only ever credited to the endpoints that store it (a hint may be false only when memory was used again
 *    under a reader's eyes more than once, which is next to never);
 *  - a chain that one endpoint keeps refreshing is found. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prefix/index.h"

#define ROWS 24u
#define CHAINS 96u
#define LENGTH 40u
#define READERS 3

static llmd_key chain[CHAINS + 1][LENGTH]; /* the last is never stored */
static llmd__index shared;
static _Atomic int over;

typedef struct reader {
  pthread_t thread;
  uint64_t seed;
  uint64_t answers, wrong, steady, steady_found;
} reader;

static void fail(const char *what)
{
  fprintf(stderr, "index: %s\n", what);
  abort();
}

/* Chain c belongs to five endpoints; chain 0 to endpoint 0, which keeps it. */
static uint32_t owner(uint32_t c, uint32_t k)
{
  return c == 0 ? 0 : 1 + (c * 5 + k * 3) % (ROWS - 1);
}

static int owns(uint32_t c, uint32_t slot)
{
  for (uint32_t k = 0; k < 5; k++)
    if (owner(c, k) == slot)
      return 1;
  return 0;
}

static void *read_on(void *arg)
{
  reader *r = arg;
  uint32_t *scratch = calloc(1, llmd__index_scratch_size(&shared));
  llmd_endpoint_id who[ROWS];
  uint32_t blocks[ROWS];
  if (!scratch)
    fail("no memory");
  while (!atomic_load(&over)) {
    uint64_t dice = llmd_random(&r->seed);
    uint32_t c = dice % 16 ? (uint32_t)((dice >> 8) % (CHAINS + 1)) : 0;
    uint32_t flags = dice & 1u << 30 ? LLMD_PREFIX_ANY : 0;
    uint32_t n = llmd__index_match(&shared, scratch, chain[c], LENGTH, flags, who, blocks, ROWS);
    uint32_t seen = 0;
    if (n > ROWS || (c == CHAINS && n))
      fail("an answer that cannot be");
    for (uint32_t i = 0; i < n; i++) {
      uint32_t slot = (uint32_t)who[i];
      if (slot >= ROWS || seen >> slot & 1 || blocks[i] == 0 || blocks[i] > LENGTH)
        fail("a malformed answer");
      seen |= 1u << slot;
      r->answers++;
      r->wrong += !owns(c, slot);
      r->steady_found += c == 0 && slot == 0 && blocks[i] == LENGTH;
    }
    r->steady += c == 0;
  }
  free(scratch);
  return NULL;
}

static void write_on(uint32_t operations)
{
  uint64_t seed = 7;
  for (uint32_t i = 0; i < operations; i++) {
    uint64_t dice = llmd_random(&seed);
    uint32_t c = 1 + (uint32_t)((dice >> 8) % (CHAINS - 1)), slot = owner(c, (uint32_t)((dice >> 20) % 5));
    llmd_endpoint_id id = (uint64_t)1 << 32 | slot;
    if (i % 32 == 0)
      llmd__index_store(&shared, (uint64_t)1 << 32, chain[0], LENGTH);
    if (dice % 64 == 0)
      llmd__index_forget(&shared, id);
    else if (dice % 64 == 1)
      llmd__index_tick(&shared, 50);
    else
      llmd__index_store(&shared, id, chain[c], 1 + (uint32_t)((dice >> 40) % LENGTH));
  }
}

int main(int argc, char **argv)
{
  llmd__index_options o = {160 << 10, ROWS, 150, 0};
  uint32_t operations = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 40000;
  size_t size = llmd__index_size(&o);
  void *mem = aligned_alloc(64, size);
  reader r[READERS];
  llmd__index_stats s;
  uint64_t seed = 1, answers = 0, wrong = 0, steady = 0, found = 0;
  if (!mem || llmd__index_format(mem, size, &o) || llmd__index_attach(&shared, mem, size))
    fail("no index");
  for (uint32_t i = 0; i < (CHAINS + 1) * LENGTH; i++) {
    chain[i / LENGTH][i % LENGTH].lo = llmd_random(&seed);
    chain[i / LENGTH][i % LENGTH].hi = llmd_random(&seed);
  }
  llmd__index_store(&shared, (uint64_t)1 << 32, chain[0], LENGTH);
  memset(r, 0, sizeof r);
  for (uint64_t i = 0; i < READERS; i++) {
    r[i].seed = 100 + i;
    if (pthread_create(&r[i].thread, NULL, read_on, &r[i]))
      fail("no thread");
  }
  write_on(operations);
  atomic_store(&over, 1);
  for (int i = 0; i < READERS; i++) {
    pthread_join(r[i].thread, NULL);
    answers += r[i].answers;
    wrong += r[i].wrong;
    steady += r[i].steady;
    found += r[i].steady_found;
  }
  llmd__index_stats_get(&shared, &s);
  printf("1..1\n# %llu answers, %llu wrong; kept chain found %llu of %llu times; %llu + %llu evicted\n",
         (unsigned long long)answers, (unsigned long long)wrong, (unsigned long long)found, (unsigned long long)steady,
         (unsigned long long)s.evicted_own, (unsigned long long)s.evicted_all);
  free(mem);
  if (answers == 0 || steady == 0)
    fail("the readers had nothing to read");
  if (wrong * 10000 > answers)
    fail("too many false hints");
  if (found * 100 < steady * 99)
    fail("the kept chain was missed too often");
  puts("ok 1 - readers beside a writer");
  return 0;
}
