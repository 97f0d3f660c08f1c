/* vLLM: H(serialised (parent digest, (tokens...), (extras...) or None)), chained over whole digests.
 *
 * Extras in their order: adapter, media, salt (first block only), prompt embeddings. */
#include <string.h>

#include "prefix/scheme.h"

static const llmd_str mm = {"mm", 2}, lora = {"lora", 4}, cache_salt = {"cache_salt", 10},
                      prompt_embeds = {"prompt_embeds", 13}, seed_of_none = {"vllm-none-hash", 14};

typedef struct algorithm {
  const llmd__codec *codec;
  uint32_t hash;
} algorithm;

/* What is serialised: one block, or the seed's text. */
typedef struct subject {
  const llmd_hash_input *in;
  const llmd__foreign_block *block;
  const llmd_digest *parent;
  const llmd_str *text;
} subject;

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void pair(llmd__writer *w, llmd_str tag, llmd_str value)
{
  w->codec->open(w, 2);
  w->codec->text(w, tag, 1);
  w->codec->text(w, value, 0);
  w->codec->close(w, 2);
}

static void write_adapter(llmd__writer *w, const llmd_hash_input *in)
{
  if (in->extras != LLMD_EXTRAS_TAGGED) {
    w->codec->text(w, in->lora, 0);
    return;
  }
  w->codec->open(w, 3);
  w->codec->text(w, lora, 1);
  w->codec->text(w, in->lora, 0);
  w->codec->text(w, in->lora_path, 0);
  w->codec->close(w, 3);
}

static void write_media(llmd__writer *w, uint32_t form, llmd_str id, int64_t offset)
{
  const uint32_t n = form == LLMD_EXTRAS_TAGGED ? 3 : 2;
  if (form == LLMD_EXTRAS_BARE) {
    w->codec->text(w, id, 0);
    return;
  }
  w->codec->open(w, n);
  if (form == LLMD_EXTRAS_TAGGED)
    w->codec->text(w, mm, 1);
  w->codec->text(w, id, 0);
  w->codec->integer(w, offset);
  w->codec->close(w, n);
}

static void write_salt(llmd__writer *w, const llmd_hash_input *in)
{
  if (in->extras == LLMD_EXTRAS_TAGGED)
    pair(w, cache_salt, in->salt);
  else
    w->codec->text(w, in->salt, 0);
}

static void write_embeds(llmd__writer *w, uint32_t form, llmd_str digest)
{
  if (form == LLMD_EXTRAS_TAGGED) {
    w->codec->open(w, 2);
    w->codec->text(w, prompt_embeds, 1);
  }
  w->codec->bytes(w, (const uint8_t *)digest.ptr, (uint32_t)digest.len);
  if (form == LLMD_EXTRAS_TAGGED)
    w->codec->close(w, 2);
}

static void write_extras(llmd__writer *w, const llmd_hash_input *in, const llmd__foreign_block *b)
{
  const uint32_t salted = b->first && in->salt.len, n = b->n_parts + (in->lora.len != 0) + salted;
  if (n == 0) {
    w->codec->none(w);
    return;
  }
  w->codec->open(w, n);
  if (in->lora.len)
    write_adapter(w, in);
  for (uint32_t i = 0; i < b->n_parts; i++)
    if (b->parts[i].kind == LLMD_PART_MEDIA)
      write_media(w, in->extras, b->parts[i].id, b->parts[i].offset - b->start);
  if (salted)
    write_salt(w, in);
  for (uint32_t i = 0; i < b->n_parts; i++)
    if (b->parts[i].kind == LLMD_PART_EMBEDS)
      write_embeds(w, in->extras, b->parts[i].id);
  w->codec->close(w, n);
}

static void write_subject(llmd__writer *w, const subject *what)
{
  if (what->text) {
    w->codec->text(w, *what->text, 0);
    return;
  }
  w->codec->open(w, 3);
  w->codec->bytes(w, what->parent->bytes, what->parent->len);
  w->codec->open(w, what->block->n);
  for (uint32_t i = 0; i < what->block->n; i++)
    w->codec->integer(w, what->block->tokens[i]);
  w->codec->close(w, what->block->n);
  write_extras(w, what->in, what->block);
  w->codec->close(w, 3);
}

/* ---- hashing ----------------------------------------------------------------------------------------------------- */

static void serialise(const llmd__codec *codec, llmd__sink *sink, const subject *what)
{
  llmd__writer w;
  w.codec = codec;
  w.sink = sink;
  w.memo = 0;
  w.n_shared = 0;
  write_subject(&w, what);
}

static int hash(algorithm a, const subject *what, llmd_digest *out)
{
  llmd__sink sink;
  uint64_t len = 0;
  if (a.codec->framed) {
    llmd__sink_begin(&sink, LLMD__SINK_COUNT);
    serialise(a.codec, &sink, what);
    len = sink.len + 1; /* and its end */
    if (len > LLMD__PICKLE_MOST)
      return LLMD_E_LIMIT;
  }
  llmd__sink_begin(&sink, a.hash);
  if (a.codec->framed)
    llmd__pickle_begin(&sink, len);
  serialise(a.codec, &sink, what);
  if (a.codec->framed)
    llmd__pickle_end(&sink);
  llmd__sink_end(&sink, out);
  out->name = llmd__number_of(out->bytes + out->len - 8);
  return 0;
}

static algorithm algorithm_of(uint32_t scheme)
{
  const algorithm a = {
    scheme == LLMD_HASH_VLLM_SHA256 || scheme == LLMD_HASH_VLLM_XXHASH ? &llmd__codec_pickle : &llmd__codec_cbor,
    scheme == LLMD_HASH_VLLM_SHA256 || scheme == LLMD_HASH_VLLM_SHA256_CBOR ? LLMD__SINK_SHA256 : LLMD__SINK_XXH3_128};
  return a;
}

/* Without PYTHONHASHSEED a hash that is not cryptographic is seeded at random, and so was every one before 0.32. */
static int root(const llmd_hash_input *in, llmd_digest *out)
{
  const algorithm a = algorithm_of(in->scheme);
  const subject what = {in, NULL, NULL, in->has_seed ? &in->seed : &seed_of_none};
  if (!in->has_seed && (a.hash != LLMD__SINK_SHA256 || in->extras != LLMD_EXTRAS_TAGGED))
    return LLMD_E_UNSUPPORTED;
  return hash(a, &what, out);
}

static int block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent, llmd_digest *out)
{
  const subject what = {in, b, parent, NULL};
  return hash(algorithm_of(in->scheme), &what, out);
}

#define ALL (LLMD__SCHEME_SALT | LLMD__SCHEME_LORA | LLMD__SCHEME_MEDIA | LLMD__SCHEME_EMBEDS)
const llmd__scheme llmd__scheme_vllm_sha256 = {ALL, 32, root, block};
const llmd__scheme llmd__scheme_vllm_sha256_cbor = {ALL, 32, root, block};
const llmd__scheme llmd__scheme_vllm_xxhash = {ALL, 16, root, block};
const llmd__scheme llmd__scheme_vllm_xxhash_cbor = {ALL, 16, root, block};
