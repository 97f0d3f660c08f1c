/* Dynamo, and Mooncake's recommendation: XXH3-64, locals chained by pairs.
 *
 *   seed    = 1337 + XXH3(adapter, 0) + XXH3(namespace, 1), what is absent left out
 *   local i = XXH3(LE32 tokens ‖ LE64 numbers of its media, ascending; seed)
 *   name 0  = local 0,  name i = XXH3(LE64 name i-1 ‖ LE64 local i; 1337) */
#include <string.h>

#include "prefix/scheme.h"

#define SEED 1337u

static uint64_t seed_of(const llmd_hash_input *in)
{
  uint64_t seed = SEED;
  if (in->lora.len)
    seed += llmd__xxh3_64(in->lora.ptr, in->lora.len, 0);
  if (in->salt.len)
    seed += llmd__xxh3_64(in->salt.ptr, in->salt.len, 1);
  return seed;
}

static void sort(uint64_t *v, uint32_t n)
{
  for (uint32_t i = 1; i < n; i++)
    for (uint32_t k = i; k > 0 && v[k] < v[k - 1]; k--) {
      const uint64_t swap = v[k];
      v[k] = v[k - 1];
      v[k - 1] = swap;
    }
}

static uint64_t local_of(const llmd_hash_input *in, const llmd__foreign_block *b)
{
  uint64_t number[LLMD__SCHEME_PARTS];
  llmd__xxh x;
  llmd_key k;
  if (b->n_parts == 0)
    return llmd__xxh3_64(b->tokens, sizeof *b->tokens * b->n, seed_of(in));
  for (uint32_t i = 0; i < b->n_parts; i++)
    number[i] = b->parts[i].number;
  sort(number, b->n_parts);
  llmd__xxh_begin(&x, LLMD__XXH3_64, seed_of(in));
  llmd__xxh_add(&x, b->tokens, sizeof *b->tokens * b->n);
  llmd__xxh_add(&x, number, sizeof *number * b->n_parts);
  llmd__xxh_end(&x, &k);
  return k.lo;
}

static int root(const llmd_hash_input *in, llmd_digest *out)
{
  (void)in;
  memset(out, 0, sizeof *out);
  return 0;
}

static int block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent, llmd_digest *out)
{
  const uint64_t local = local_of(in, b);
  const uint64_t link[2] = {parent->len ? llmd__number_of(parent->bytes) : 0, local};
  llmd__digest_number(out, parent->len ? llmd__xxh3_64(link, sizeof link, SEED) : local);
  out->local = local;
  return 0;
}

const llmd__scheme llmd__scheme_dynamo = {LLMD__SCHEME_SALT | LLMD__SCHEME_LORA | LLMD__SCHEME_MEDIA, 8, root, block};
