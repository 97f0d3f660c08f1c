/* Keys of prompts: native ones, 128 bits with a secret of 192 bytes. The other programs' rows beside these are 64 bits
 * without a secret: `_local_and_seq` is blocks hashed and chained, which is what a query needs. */
#include <stdlib.h>

#include "side.h"

#define TOKENS 10240u
#define TALK 240000u
#define TURN 1000u
#define BLOCK 16u

struct hashing {
  uint8_t secret[LLMD_SECRET_BYTES];
  uint32_t *token;
  llmd_key *key;
  llmd_chain chain; /* where the conversation stands */
};

/* Median of 3,000 calls after 50, in microseconds. */
static double median(void (*run)(struct hashing *h, uint32_t n), struct hashing *h, uint32_t n)
{
  const uint32_t times = side_set.quick ? 20 : 3000;
  side_samples t = {0};
  double p50;
  for (uint32_t i = 0; i < times + 50; i++) {
    const uint64_t start = side_now();
    run(h, n);
    if (i >= 50)
      side_sample(&t, side_now() - start);
  }
  p50 = side_percentile(&t, 0.5);
  side_samples_free(&t);
  return p50 * 1e-3;
}

static void whole(struct hashing *h, uint32_t block_tokens)
{
  const llmd_chain_root root = {.size = sizeof root, .block_tokens = block_tokens, .model = {"a-model", 7}};
  llmd_chain c;
  llmd_chain_begin(&c, h->secret, &root);
  llmd_chain_extend(&c, h->secret, h->token, TOKENS, NULL, 0, h->key, TOKENS / block_tokens);
}

static void begin(struct hashing *h, uint32_t n)
{
  const llmd_chain_root root = {.size = sizeof root, .block_tokens = BLOCK, .model = {"a-model", 7}};
  llmd_chain c;
  llmd_chain_begin(&c, h->secret, &root);
  if (n)
    llmd_chain_extend(&c, h->secret, h->token, n, NULL, 0, h->key, n / BLOCK);
  h->chain = c;
}

static void vouched(struct hashing *h, uint32_t n)
{
  llmd_chain c = h->chain;
  llmd_chain_extend(&c, h->secret, h->token + TALK, n, NULL, 0, h->key + TALK / BLOCK, n / BLOCK);
}

void part_hash(void)
{
  struct hashing *h = work_need(calloc(1, sizeof *h));
  work_rng r = {42}, secret = {43};
  side_pin(0);
  h->token = work_need(malloc((TALK + TURN) * sizeof *h->token));
  h->key = work_need(malloc((TALK + TURN) / BLOCK * sizeof *h->key));
  for (uint32_t i = 0; i < TALK + TURN; i++)
    h->token[i] = (uint32_t)work_below(&r, 150000);
  for (size_t i = 0; i < sizeof h->secret; i++)
    h->secret[i] = (uint8_t)work_next(&secret);
  for (uint32_t size = 16; size <= 64; size *= 4)
    side_row("hash10240_%u_local_and_seq_p50_us", median(whole, h, size), size);
  begin(h, TALK);
  side_row("hash240000_grows_by_1000_vouched_p50_us", median(vouched, h, TURN));
  side_row("hash240000_grows_by_1000_verified_p50_us", median(begin, h, TALK + TURN));
  free(h->token);
  free(h->key);
  free(h);
}
