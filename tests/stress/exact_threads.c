/* One writer and three readers on one exact index: stores, holds, removals, promises, clears, sweeps and evictions
 * beside queries. Meant for a build with -Db_sanitize=thread (no suppressions); anywhere, what readers see is checked
 * (load.h): no false hit, no malformed answer, and what is kept is found.
 *
 *   exact_threads [WRITES]     default 200000, under ThreadSanitizer 6000 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define READERS 3u
#if defined(__SANITIZE_THREAD__)
#define WRITES 6000u
#else
#define WRITES 200000u
#endif

typedef struct reader {
  pthread_t thread;
  uint64_t seed, queries, hits, kept, kept_whole;
} reader;

static load the_load;
static llmd_index *ix;
static atomic_int over;

static void fail(const char *what)
{
  printf("1..1\nnot ok 1 - readers beside a writer\n# %s\n", what);
  fflush(stdout);
  _Exit(1);
}

static void *read_on(void *ud)
{
  reader *r = ud;
  void *scratch = calloc(1, llmd_index_scratch(ix));
  char what[160];
  if (!scratch)
    fail("no memory");
  while (!atomic_load(&over)) {
    int n = load_read(&the_load, ix, scratch, &r->seed, what);
    if (n < 0)
      fail(what);
    r->hits += (uint64_t)n;
    r->queries++;
    if (r->queries % 8 == 0) {
      r->kept++;
      r->kept_whole += load_kept(&the_load, ix, scratch) == LOAD_KEPT;
    }
  }
  free(scratch);
  return NULL;
}

int main(int argc, char **argv)
{
  llmd_index_options o = {.size = sizeof o, .rows = LOAD_ROWS, .bytes = 128 << 10, .seed = 4};
  uint64_t writes = argc > 1 ? strtoull(argv[1], NULL, 10) : WRITES, seed = 1, empty;
  size_t len = llmd_index_size(&o);
  void *mem = aligned_alloc(64, (len + 63) & ~(size_t)63);
  reader r[READERS], sum;
  llmd_index_stats s = {.size = sizeof s};
  if (!mem || load_make(&the_load) || llmd_index_format(mem, len, &o) || llmd_index_open(mem, len, NULL, &ix, NULL))
    fail("no index");
  empty = load_clear(ix);
  load_write(&the_load, ix, &seed, 0);
  memset(r, 0, sizeof r);
  memset(&sum, 0, sizeof sum);
  for (uint32_t i = 0; i < READERS; i++) {
    r[i].seed = 100 + i;
    if (pthread_create(&r[i].thread, NULL, read_on, &r[i]))
      fail("no thread");
  }
  for (uint64_t turn = 1; turn <= writes; turn++)
    load_write(&the_load, ix, &seed, turn);
  atomic_store(&over, 1);
  for (uint32_t i = 0; i < READERS; i++) {
    pthread_join(r[i].thread, NULL);
    sum.queries += r[i].queries;
    sum.hits += r[i].hits;
    sum.kept += r[i].kept;
    sum.kept_whole += r[i].kept_whole;
  }
  llmd_index_stats_get(ix, &s);
  printf("# %llu queries, %llu hits, kept found whole %llu of %llu times; %llu torn, %llu evicted, %llu sets, %llu "
         "used\n",
         (unsigned long long)sum.queries, (unsigned long long)sum.hits, (unsigned long long)sum.kept_whole,
         (unsigned long long)sum.kept, (unsigned long long)s.torn, (unsigned long long)s.evicted,
         (unsigned long long)s.sets, (unsigned long long)s.used);
  if (!sum.hits || !sum.kept || !s.evicted)
    fail("nothing was to be seen");
  if (sum.kept_whole * 10 < sum.kept * 9) /* where all is asked for all the time, it may go for a moment, too */
    fail("what was kept was not found");
  if (load_clear(ix) != empty)
    fail("bytes are left when all is cleared");
  printf("1..1\nok 1 - readers beside a writer\n");
  llmd_index_close(ix);
  load_free(&the_load);
  free(mem);
  return 0;
}
