/* llm-d's keys: two of its precise index, one of its approximate one. An adapter's name stands in for the model's.
 *
 *   cbor-fnv  root = F([F(seed), null, model]),           key i = F([key i-1, [tokens], null or [{"Hash": text}...]])
 *   xxh64     root = X(LE64 X(seed) ‖ LE64 len ‖ model),  key i = X(LE64 key i-1 ‖ LE32 tokens ‖ (LE64 len ‖ text)*)
 *   approx    root = X(model ‖ salt),                     key i = X(LE64 X(LE32 tokens) ‖ LE64 key i-1)
 *
 * F: FNV-1a-64 over canonical CBOR. X: XXH64, seed 0. Texts: media, then in the first block the salt. No secret: never
 * for an index that strangers can fill. */
#include <string.h>

#include "prefix/scheme.h"

static llmd_str model_of(const llmd_hash_input *in)
{
  return in->lora.len ? in->lora : in->model;
}

static uint64_t fnv_of(llmd_str text)
{
  llmd_digest d;
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_FNV);
  llmd__sink_add(&s, text.ptr, text.len);
  llmd__sink_end(&s, &d);
  return d.name;
}

/* Text i of a block; NULL behind the last. */
static const llmd_str *text_at(const llmd_hash_input *in, const llmd__foreign_block *b, uint32_t i)
{
  if (i < b->n_parts)
    return &b->parts[i].id;
  return i == b->n_parts && b->first && in->salt.len ? &in->salt : NULL;
}

/* ---- cbor-fnv ---------------------------------------------------------------------------------------------------- */

static int cbor_root(const llmd_hash_input *in, llmd_digest *out)
{
  const uint64_t start = fnv_of(in->seed);
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_FNV);
  llmd__cbor_head(&s, LLMD__CBOR_ARRAY, 3);
  llmd__cbor_head(&s, LLMD__CBOR_UINT, start);
  llmd__sink_byte(&s, LLMD__CBOR_NULL);
  llmd__cbor_text(&s, model_of(in));
  llmd__sink_end(&s, out);
  return 0;
}

static void cbor_texts(llmd__sink *s, const llmd_hash_input *in, const llmd__foreign_block *b)
{
  const llmd_str field = {"Hash", 4};
  const uint32_t n = b->n_parts + (text_at(in, b, b->n_parts) != NULL);
  if (n == 0) {
    llmd__sink_byte(s, LLMD__CBOR_NULL);
    return;
  }
  llmd__cbor_head(s, LLMD__CBOR_ARRAY, n);
  for (uint32_t i = 0; i < n; i++) {
    llmd__cbor_head(s, LLMD__CBOR_MAP, 1);
    llmd__cbor_text(s, field);
    llmd__cbor_text(s, *text_at(in, b, i));
  }
}

static int cbor_block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent,
                      llmd_digest *out)
{
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_FNV);
  llmd__cbor_head(&s, LLMD__CBOR_ARRAY, 3);
  llmd__cbor_head(&s, LLMD__CBOR_UINT, llmd__number_of(parent->bytes));
  llmd__cbor_head(&s, LLMD__CBOR_ARRAY, b->n);
  for (uint32_t i = 0; i < b->n; i++)
    llmd__cbor_head(&s, LLMD__CBOR_UINT, b->tokens[i]);
  cbor_texts(&s, in, b);
  llmd__sink_end(&s, out);
  return 0;
}

/* ---- xxh64 ------------------------------------------------------------------------------------------------------- */

static void add_text(llmd__sink *s, llmd_str text)
{
  llmd__sink_number(s, text.len, 8);
  llmd__sink_add(s, text.ptr, text.len);
}

static int xxh64_root(const llmd_hash_input *in, llmd_digest *out)
{
  const uint64_t start = llmd__xxh64(in->seed.ptr, in->seed.len);
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_XXH64);
  llmd__sink_number(&s, start, 8);
  add_text(&s, model_of(in));
  llmd__sink_end(&s, out);
  return 0;
}

static int xxh64_block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent,
                       llmd_digest *out)
{
  const llmd_str *text;
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_XXH64);
  llmd__sink_number(&s, llmd__number_of(parent->bytes), 8);
  llmd__sink_add(&s, b->tokens, sizeof *b->tokens * b->n);
  for (uint32_t i = 0; (text = text_at(in, b, i)) != NULL; i++)
    add_text(&s, *text);
  llmd__sink_end(&s, out);
  return 0;
}

/* ---- approximate ------------------------------------------------------------------------------------------------- */

static int approx_root(const llmd_hash_input *in, llmd_digest *out)
{
  llmd__sink s;
  llmd__sink_begin(&s, LLMD__SINK_XXH64);
  llmd__sink_add(&s, in->model.ptr, in->model.len);
  llmd__sink_add(&s, in->salt.ptr, in->salt.len);
  llmd__sink_end(&s, out);
  return 0;
}

static int approx_block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent,
                        llmd_digest *out)
{
  const uint64_t pair[2] = {llmd__xxh64(b->tokens, sizeof *b->tokens * b->n), llmd__number_of(parent->bytes)};
  (void)in;
  llmd__digest_number(out, llmd__xxh64(pair, sizeof pair));
  return 0;
}

#define COMMON (LLMD__SCHEME_SALT | LLMD__SCHEME_LORA | LLMD__SCHEME_MEDIA)
const llmd__scheme llmd__scheme_llmd_cbor_fnv = {COMMON, 8, cbor_root, cbor_block};
const llmd__scheme llmd__scheme_llmd_xxh64 = {COMMON, 8, xxh64_root, xxh64_block};
const llmd__scheme llmd__scheme_llmd_approx = {COMMON | LLMD__SCHEME_PARTIAL, 8, approx_root, approx_block};
