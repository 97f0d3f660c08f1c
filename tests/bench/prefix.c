/* What prefixes cost: keys of a prompt, the walk of a match, a store.
 *
 * The index is the default one (64 MiB), full, with 100 endpoints that were sent chains of 860 blocks (220 KB of text
 * in blocks of 64 tokens), each beginning with the same 94. Hot: the same chain again and again. Cold: another chain
 * each time, after reading through more memory than the caches hold. Reports are medians. */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <llmd/prefix.h>

#include "prefix/index.h"

#define TOKENS 10240u
#define CONVERSATION 241000u
#define BLOCKS 860u
#define COMMON 94u
#define ENDPOINTS 100u
#define QUERIES 64u
#define SWEEP ((size_t)128 << 20)

struct hashing {
  uint32_t scheme, block_tokens;
  size_t known, n; /* tokens that are vouched for, tokens in all */
  llmd_chain start; /* behind the known ones */
  uint8_t secret[LLMD_SECRET_BYTES];
  uint32_t tokens[CONVERSATION];
  llmd_key keys[CONVERSATION / 16];
  llmd_digest digests[TOKENS / 16];
};

struct table {
  llmd__index ix;
  void *mem, *scratch;
  char *sweep;
  uint32_t flags;
  uint32_t query;
  uint64_t seed;
  llmd_key common[COMMON], fresh[BLOCKS];
  llmd_key chain[QUERIES][BLOCKS];
  llmd_endpoint_id who[1024];
  uint32_t blocks[1024];
};

static void *need(void *p)
{
  if (!p) {
    fputs("bench_prefix: out of memory\n", stderr);
    exit(1);
  }
  return p;
}

static void hash_native(void *ud)
{
  struct hashing *h = ud;
  const llmd_chain_root root = {sizeof root, h->block_tokens, {"a-model", 7}, {0}, {0}, {0}, {0}};
  llmd_chain c = h->start;
  if (h->known == 0)
    llmd_chain_begin(&c, h->secret, &root);
  llmd_chain_extend(&c, h->secret, h->tokens + h->known, h->n - h->known, NULL, 0, h->keys, CONVERSATION / 16);
}

static void hash_foreign(void *ud)
{
  struct hashing *h = ud;
  const llmd_hash_input in = {.size = sizeof in, .scheme = h->scheme, .block_tokens = h->block_tokens,
                              .tokens = h->tokens, .n_tokens = h->n, .model = {"a-model", 7}, .seed = {"0", 1},
                              .has_seed = 1};
  llmd_hash_blocks(&in, h->digests, TOKENS / 16);
}

static void scheme_row(struct hashing *h, uint32_t scheme)
{
  char name[80];
  h->scheme = scheme;
  for (h->block_tokens = 16; h->block_tokens <= 64; h->block_tokens *= 4) {
    snprintf(name, sizeof name, "hash 10,240 tokens, %u per block, %s", h->block_tokens, llmd_hash_name(scheme));
    bench_row(name, bench_time(scheme == LLMD_HASH_NATIVE ? hash_native : hash_foreign, h, 200) / 1e3, "us");
  }
}

/* 240,000 tokens that were hashed before, and 1,000 new ones. Verified: all of them again. */
static void conversation_rows(struct hashing *h)
{
  const llmd_chain_root root = {sizeof root, 16, {"a-model", 7}, {0}, {0}, {0}, {0}};
  h->block_tokens = 16;
  h->n = CONVERSATION;
  bench_row("conversation of 240,000 + 1,000 tokens, 16 per block, verified", bench_time(hash_native, h, 50) / 1e3, "us");
  llmd_chain_begin(&h->start, h->secret, &root);
  llmd_chain_extend(&h->start, h->secret, h->tokens, CONVERSATION - 1000, NULL, 0, h->keys, CONVERSATION / 16);
  h->known = (size_t)h->start.blocks * 16;
  bench_row("conversation of 240,000 + 1,000 tokens, 16 per block, vouched for", bench_time(hash_native, h, 200) / 1e3,
            "us");
}

static void hash_rows(void)
{
  struct hashing *h = need(calloc(1, sizeof *h));
  uint64_t seed = 1;
  for (size_t i = 0; i < sizeof h->secret; i++)
    h->secret[i] = (uint8_t)llmd_random(&seed);
  for (uint32_t i = 0; i < CONVERSATION; i++)
    h->tokens[i] = (uint32_t)(llmd_random(&seed) % 150000);
  h->n = TOKENS;
  scheme_row(h, LLMD_HASH_NATIVE);
  for (uint32_t s = LLMD_HASH_VLLM_SHA256; s < LLMD_HASH_NATIVE; s++)
    scheme_row(h, s);
  conversation_rows(h);
  free(h);
}

static void new_chain(struct table *t, llmd_key *out, int with_common)
{
  for (uint32_t i = 0; i < BLOCKS; i++) {
    out[i].lo = llmd_random(&t->seed);
    out[i].hi = llmd_random(&t->seed);
  }
  if (with_common)
    memcpy(out, t->common, sizeof t->common);
}

static void store(struct table *t, uint32_t endpoint, const llmd_key *chain, uint32_t n)
{
  llmd__index_store(&t->ix, (uint64_t)1 << 32 | endpoint % ENDPOINTS, chain, n);
}

/* Queries with an even number: five holders that end at different depths. Odd: all endpoints hold the common part. */
static void fill(struct table *t)
{
  llmd__index_stats s;
  llmd__index_stats_get(&t->ix, &s);
  for (uint64_t i = 0; i < s.max_holders / BLOCKS + ENDPOINTS; i++) {
    new_chain(t, t->fresh, 1);
    store(t, (uint32_t)i, t->fresh, BLOCKS);
  }
  for (uint32_t q = 0; q < QUERIES; q++) {
    new_chain(t, t->chain[q], q % 2);
    for (uint32_t k = 0; k < 5; k++)
      store(t, q * 7 + k, t->chain[q], BLOCKS - k * 100);
  }
}

static void match(void *ud)
{
  struct table *t = ud;
  llmd__index_match(&t->ix, t->scratch, t->chain[t->query], BLOCKS, t->flags, t->who, t->blocks, 1024);
}

static void match_rows(struct table *t, const char *who, uint32_t parity)
{
  double cold[QUERIES / 2];
  char name[80];
  volatile char sink = 0;
  t->query = parity;
  for (t->flags = 0; t->flags <= LLMD_PREFIX_ANY; t->flags += LLMD_PREFIX_ANY) {
    snprintf(name, sizeof name, "walk 860 blocks, %s%s, hot", who, t->flags ? ", gaps allowed" : "");
    bench_row(name, bench_time(match, t, 200) / 1e3, "us");
  }
  t->flags = 0;
  for (uint32_t i = 0; i < QUERIES / 2; i++) {
    double start;
    for (size_t k = 0; k < SWEEP; k += 64)
      sink = (char)(sink + t->sweep[k]);
    t->query = 2 * i + parity;
    start = bench_now();
    match(t);
    cold[i] = bench_now() - start;
  }
  snprintf(name, sizeof name, "walk 860 blocks, %s, cold", who);
  bench_row(name, bench_median(cold, QUERIES / 2) / 1e3, "us");
}

static double store_new(struct table *t, uint32_t times)
{
  double *took = need(malloc(sizeof *took * times)), median;
  for (uint32_t i = 0; i < times; i++) {
    double start;
    new_chain(t, t->fresh, 1);
    start = bench_now();
    store(t, i, t->fresh, BLOCKS);
    took[i] = bench_now() - start;
  }
  median = bench_median(took, times);
  free(took);
  return median / 1e3;
}

static void refresh(void *ud)
{
  struct table *t = ud;
  store(t, 7, t->chain[1], BLOCKS);
}

static void open_table(struct table *t, uint32_t capacity)
{
  const llmd__index_options o = {.rows = 1024, .capacity = capacity};
  const size_t size = llmd__index_size(&o);
  free(t->mem);
  t->mem = need(aligned_alloc(64, size));
  memset(t->mem, 0, size);
  if (llmd__index_format(t->mem, size, &o) || llmd__index_attach(&t->ix, t->mem, size))
    exit(1);
}

static void table_rows(void)
{
  struct table *t = need(calloc(1, sizeof *t));
  llmd__index_stats s;
  t->sweep = need(malloc(SWEEP));
  memset(t->sweep, 1, SWEEP);
  for (uint32_t i = 0; i < COMMON; i++)
    t->common[i].lo = llmd_random(&t->seed), t->common[i].hi = llmd_random(&t->seed);
  open_table(t, 0);
  t->scratch = need(calloc(1, llmd__index_scratch_size(&t->ix)));
  bench_row("store 860 blocks, room left", store_new(t, 300), "us");
  fill(t);
  match_rows(t, "5 holders", 0);
  match_rows(t, "100 holders of the first 94", 1);
  bench_row("store 860 blocks that are there", bench_time(refresh, t, 100) / 1e3, "us");
  bench_row("store 860 blocks, index full", store_new(t, 600), "us");
  llmd__index_stats_get(&t->ix, &s);
  bench_row("bytes per block and endpoint, index full", (double)s.bytes / (double)s.holders, "B");
  open_table(t, 3000);
  store_new(t, 1000);
  bench_row("store 860 blocks, endpoints at their capacity", store_new(t, 600), "us");
  free(t->sweep);
  free(t->scratch);
  free(t->mem);
  free(t);
}

int main(int argc, char **argv)
{
  bench_start(argc, argv);
  hash_rows();
  table_rows();
  return 0;
}
