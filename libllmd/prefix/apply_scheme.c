#include "prefix/apply_scheme.h"

#include <string.h>

#define TRIES 4u

typedef struct way {
  uint32_t engine, scheme, has_seed;
} way;

/* The seed is PYTHONHASHSEED, which is not set, or "0" by everybody's habit. */
static const way ways[] = {
    {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_SHA256, 0},      {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_SHA256, 1},
    {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_SHA256_CBOR, 0}, {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_SHA256_CBOR, 1},
    {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_XXHASH, 1},      {LLMD_SOURCE_VLLM, LLMD_HASH_VLLM_XXHASH_CBOR, 1},
    {LLMD_SOURCE_SGLANG, LLMD_HASH_SGLANG, 0},
};

static int gives_its_name(const way *w, const llmd_event *v)
{
  llmd_hash_input in;
  llmd_digest d;
  memset(&in, 0, sizeof in);
  in.size = sizeof in;
  in.scheme = w->scheme;
  in.block_tokens = v->block_size;
  in.tokens = v->token;
  in.n_tokens = v->block_size;
  in.has_seed = w->has_seed;
  in.seed.ptr = "0";
  in.seed.len = w->has_seed;
  if (llmd_hash_blocks(&in, &d, 1) != 1)
    return 0;
  if (v->digest)
    return v->digest[0].len == d.len && memcmp(v->digest[0].ptr, d.bytes, d.len) == 0;
  return v->name[0] == d.name;
}

static void known(llmd_events *e, llmd__source *s, llmd_endpoint_id endpoint, uint32_t scheme)
{
  llmd__record_set32(&s->record->scheme, scheme);
  llmd__source_describe(e, s);
  if (!s->scheme || s->scheme == scheme)
    return;
  s->stats.mismatches++;
  if (!(s->warned & LLMD__WARNED_SCHEME))
    llmd__events_say(e, LLMD_LOG_WARN, "endpoint %llx: its engine names blocks by %s, configured is %s",
                     (unsigned long long)endpoint, llmd_hash_name(scheme),
                     llmd_hash_name(s->scheme) ? llmd_hash_name(s->scheme) : "?");
  s->warned |= LLMD__WARNED_SCHEME;
}

void llmd__apply_scheme(llmd_events *e, llmd__source *s, llmd_endpoint_id endpoint, const llmd_event *event)
{
  if (llmd__record_get32(&s->record->scheme) || s->roots >= TRIES)
    return;
  if (event->n_extra || event->lora.len || event->lora_id > 0 || event->salt.len || !event->n_names)
    return;
  s->roots++;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (ways[i].engine == s->engine && gives_its_name(&ways[i], event)) {
      known(e, s, endpoint, ways[i].scheme);
      return;
    }
}
