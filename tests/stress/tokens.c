/* One writer stores tokens of prompts in a small cache, again and again, while others look for them: whoever finds a
 * prompt finds what was stored under its name, whole.
 *
 *   tokens [TURNS]     of the writer, default 60,000; LLMD_LONG=1: 2,000,000 */
#include "model/token_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READERS 3u
#define KEYS 40u
#define MOST 900u
#define BYTES 40960u

static llmd__token_cache *cache;
static uint64_t turns;
static _Atomic int over;
static _Atomic uint64_t found, missed, wrong;

static uint32_t roll(uint64_t *x, uint32_t n)
{
  *x = *x * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*x >> 33) % n;
}

/* The first id says how many there are, and all others follow from it and the key. */
static llmd_key key_of(uint32_t k)
{
  llmd_key key = {k * UINT64_C(0x9e3779b97f4a7c15), k};
  return key;
}

static uint32_t id_of(uint32_t k, uint32_t version, uint32_t i)
{
  return k * 7919 + version * 104729 + i;
}

static void *reads(void *arg)
{
  uint32_t *ids = malloc(MOST * sizeof *ids);
  llmd_feature *feature = malloc(LLMD__TOKENS_FEATURES * sizeof *feature);
  char *text = malloc(LLMD__TOKENS_TEXT);
  uint64_t dice = (uint64_t)(uintptr_t)arg;
  while (!atomic_load(&over)) {
    uint32_t k = roll(&dice, KEYS), bad = 0;
    llmd__cached_tokens got = {ids, MOST, feature, text, 0, 0};
    llmd_key key = key_of(k);
    if (!llmd__token_cache_find(cache, BYTES, &key, &got)) {
      atomic_fetch_add(&missed, 1);
      continue;
    }
    for (uint32_t i = 1; i < got.n; i++)
      bad |= ids[i] != id_of(k, ids[0], i);
    bad |= got.n_features != 1 || feature[0].offset != ids[0] || feature[0].hash.len != ids[0] % 30;
    for (size_t i = 0; i < feature[0].hash.len && got.n_features == 1; i++)
      bad |= text[i] != (char)('a' + (k + i) % 26);
    atomic_fetch_add(&found, 1);
    atomic_fetch_add(&wrong, bad);
  }
  free(ids);
  free(feature);
  free(text);
  return NULL;
}

static int writes(void)
{
  static uint32_t ids[MOST];
  uint64_t dice = 99;
  for (uint64_t turn = 0; turn < turns; turn++) {
    uint32_t k = roll(&dice, KEYS), n = 1 + roll(&dice, MOST - 1), version = (uint32_t)turn;
    llmd_key key = key_of(k);
    llmd_feature f = {version, 3, {NULL, version % 30}};
    char name[32];
    ids[0] = version;
    for (uint32_t i = 1; i < n; i++)
      ids[i] = id_of(k, version, i);
    for (uint32_t i = 0; i < 30; i++)
      name[i] = (char)('a' + (k + i) % 26);
    f.hash.ptr = name;
    if (llmd__token_cache_put(cache, BYTES, &key, ids, n, &f, 1))
      return 0;
  }
  return 1;
}

static int check(int n, int ok, const char *what)
{
  printf("%sok %d - %s\n", ok ? "" : "not ", n, what);
  return !ok;
}

int main(int argc, char **argv)
{
  pthread_t t[READERS];
  int stored, bad = 0;
  turns = argc > 1 ? strtoull(argv[1], NULL, 10) : getenv("LLMD_LONG") ? 2000000 : 60000;
  cache = aligned_alloc(64, BYTES);
  if (!cache || llmd__token_cache_init(cache, BYTES, NULL))
    return 1;
  printf("1..3\n");
  for (uintptr_t i = 0; i < READERS; i++)
    pthread_create(&t[i], NULL, reads, (void *)(i + 1));
  stored = writes();
  while (!atomic_load(&found)) /* a busy machine may not have let anybody read yet */
    ;
  atomic_store(&over, 1);
  for (uint32_t i = 0; i < READERS; i++)
    pthread_join(t[i], NULL);
  printf("# %llu found, %llu not\n", (unsigned long long)atomic_load(&found), (unsigned long long)atomic_load(&missed));
  bad += check(1, stored, "everything is stored");
  bad += check(2, atomic_load(&found) > 0, "something is found");
  bad += check(3, !atomic_load(&wrong), "nothing false is found");
  return bad != 0;
}
