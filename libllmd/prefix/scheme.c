#include "prefix/scheme.h"

#include <string.h>

static const struct {
  const char *name;
  const char *alias; /* what its own program calls it */
  const llmd__scheme *scheme;
} schemes[] = {
  {NULL, NULL, NULL},
  {"vllm-sha256", "sha256", &llmd__scheme_vllm_sha256},
  {"vllm-sha256-cbor", "sha256_cbor", &llmd__scheme_vllm_sha256_cbor},
  {"vllm-xxhash", "xxhash", &llmd__scheme_vllm_xxhash},
  {"vllm-xxhash-cbor", "xxhash_cbor", &llmd__scheme_vllm_xxhash_cbor},
  {"sglang", NULL, &llmd__scheme_sglang},
  {"dynamo", "mooncake", &llmd__scheme_dynamo},
  {"llmd-cbor-fnv", "cbor-fnv", &llmd__scheme_llmd_cbor_fnv},
  {"llmd-xxh64", "xxh64", &llmd__scheme_llmd_xxh64},
  {"llmd-approx", NULL, &llmd__scheme_llmd_approx},
  {"native", NULL, NULL},
};
#define N_SCHEMES (sizeof schemes / sizeof schemes[0])

const char *llmd_hash_name(uint32_t scheme)
{
  return scheme < N_SCHEMES ? schemes[scheme].name : NULL;
}

static int is(const char *known, const char *name, size_t len)
{
  return known && strlen(known) == len && memcmp(known, name, len) == 0;
}

uint32_t llmd_hash_by_name(const char *name, size_t len)
{
  for (uint32_t i = 1; name && i < N_SCHEMES; i++)
    if (is(schemes[i].name, name, len) || is(schemes[i].alias, name, len))
      return i;
  return LLMD_HASH_UNKNOWN;
}

const llmd__scheme *llmd__scheme_of(uint32_t scheme)
{
  return scheme < N_SCHEMES ? schemes[scheme].scheme : NULL;
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static int check_part(const llmd__scheme *s, const llmd_hash_part *p, const llmd_hash_part *before)
{
  if (p->kind > LLMD_PART_EMBEDS || (p->kind == LLMD_PART_EMBEDS && p->id.len != 32))
    return LLMD_E_INVALID;
  if (!(s->flags & (p->kind == LLMD_PART_EMBEDS ? LLMD__SCHEME_EMBEDS : LLMD__SCHEME_MEDIA)))
    return LLMD_E_UNSUPPORTED;
  if (p->offset > INT64_MAX / 2 || p->offset < -(INT64_MAX / 2) || (before && p->offset < before->offset))
    return LLMD_E_RANGE;
  return 0;
}

static int check_parts(const llmd__scheme *s, const llmd_hash_part *parts, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    const int rc = check_part(s, &parts[i], i ? &parts[i - 1] : NULL);
    if (rc)
      return rc;
  }
  return 0;
}

/* The input that the caller knows, the rest 0; and its scheme. */
static int accept(const llmd_hash_input *given, llmd_hash_input *in, const llmd__scheme **s)
{
  memset(in, 0, sizeof *in);
  memcpy(in, given, given->size < sizeof *in ? given->size : sizeof *in);
  *s = llmd__scheme_of(in->scheme);
  if (!*s)
    return in->scheme == LLMD_HASH_NATIVE ? LLMD_E_UNSUPPORTED : LLMD_E_INVALID;
  if (in->extras > LLMD_EXTRAS_BARE || (in->parent_len && in->parent_len != (*s)->digest_len))
    return LLMD_E_INVALID;
  if ((in->salt.len && !((*s)->flags & LLMD__SCHEME_SALT)) || (in->lora.len && !((*s)->flags & LLMD__SCHEME_LORA)))
    return LLMD_E_UNSUPPORTED;
  return check_parts(*s, in->parts, in->n_parts);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static int start(const llmd_hash_input *in, const llmd__scheme *s, llmd_digest *out)
{
  if (in->parent_len == 0)
    return s->root(in, out);
  memset(out, 0, sizeof *out);
  memcpy(out->bytes, in->parent, in->parent_len);
  out->len = in->parent_len;
  return 0;
}

static int is_over(const llmd_hash_part *p, int64_t at)
{
  return p->offset + (int64_t)p->length <= at;
}

/* Gathers the parts that touch the block. *from passes over those that no later block touches either. */
static int gather(const llmd_hash_input *in, size_t *from, llmd__foreign_block *b, llmd_hash_part *found)
{
  const int64_t end = b->start + (int64_t)b->n;
  b->parts = found;
  b->n_parts = 0;
  while (*from < in->n_parts && is_over(&in->parts[*from], b->start))
    ++*from;
  for (size_t i = *from; i < in->n_parts && in->parts[i].offset < end; i++) {
    if (is_over(&in->parts[i], b->start))
      continue;
    if (b->n_parts == LLMD__SCHEME_PARTS)
      return LLMD_E_LIMIT;
    found[b->n_parts++] = in->parts[i];
  }
  return 0;
}

static uint32_t blocks_of(const llmd_hash_input *in, const llmd__scheme *s, uint32_t cap)
{
  const size_t whole = in->n_tokens / in->block_tokens;
  const size_t all = whole + ((s->flags & LLMD__SCHEME_PARTIAL) && in->n_tokens % in->block_tokens);
  const uint32_t most = cap < INT32_MAX ? cap : INT32_MAX;
  return all < most ? (uint32_t)all : most;
}

static int hash_blocks(const llmd_hash_input *in, const llmd__scheme *s, llmd_digest *out, uint32_t n)
{
  llmd_hash_part found[LLMD__SCHEME_PARTS];
  llmd_digest parent;
  size_t from = 0, at = 0;
  int rc = n ? start(in, s, &parent) : 0;
  for (uint32_t i = 0; rc == 0 && i < n; i++) {
    const size_t left = in->n_tokens - at;
    llmd__foreign_block b = {in->tokens + at, left < in->block_tokens ? (uint32_t)left : in->block_tokens,
                             i == 0 && in->parent_len == 0, (int64_t)at, NULL, 0};
    rc = gather(in, &from, &b, found);
    if (rc == 0)
      rc = s->block(in, &b, &parent, &out[i]);
    if (rc)
      return rc;
    parent = out[i];
    at += b.n;
  }
  return rc ? rc : (int)n;
}

int llmd_hash_root(const llmd_hash_input *given, llmd_digest *out)
{
  const llmd__scheme *s;
  llmd_hash_input in;
  const int rc = accept(given, &in, &s);
  return rc ? rc : s->root(&in, out);
}

int llmd_hash_blocks(const llmd_hash_input *given, llmd_digest *out, uint32_t cap)
{
  const llmd__scheme *s;
  llmd_hash_input in;
  const int rc = accept(given, &in, &s);
  if (rc)
    return rc;
  if (in.block_tokens == 0)
    return LLMD_E_INVALID;
  if (in.block_tokens > LLMD__SCHEME_BLOCK_TOKENS)
    return LLMD_E_LIMIT;
  return hash_blocks(&in, s, out, blocks_of(&in, s, cap));
}
