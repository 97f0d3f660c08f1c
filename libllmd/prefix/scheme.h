/* Other programs' names for blocks, each scheme behind one small interface (llmd__scheme).
 *
 *   llmd_hash_input ─► scheme.c: checks, cuts into blocks, finds the parts that touch each
 *                        └─► root, block of scheme_vllm.c │ scheme_sglang.c │ scheme_dynamo.c │ scheme_llmd.c
 *                              └─► scheme_cbor.c, scheme_pickle.c: bytes ─► llmd__sink: a hash, fed in pieces
 *
 * Nothing is allocated; what a block may hold is limited. */
#ifndef LLMD_PREFIX_SCHEME_H
#define LLMD_PREFIX_SCHEME_H

#include "base/sha256.h"
#include "prefix/block.h"

#define LLMD__SCHEME_BLOCK_TOKENS 8192u
#define LLMD__SCHEME_PARTS 64u /* that touch one block */

/* ---- a hash, fed in pieces --------------------------------------------------------------------------------------- */

#define LLMD__SINK_COUNT 0u /* only counts the bytes */
#define LLMD__SINK_SHA256 1u
#define LLMD__SINK_XXH3_128 2u
#define LLMD__SINK_XXH64 3u
#define LLMD__SINK_FNV 4u /* FNV-1a, 64 bits */
typedef struct llmd__sink {
  uint32_t kind;
  uint32_t n; /* bytes in wait */
  uint64_t len;
  uint8_t wait[256]; /* small pieces, gathered */
  union {
    llmd__sha256 sha;
    llmd__xxh xxh;
    uint64_t fnv;
  } u;
} llmd__sink;

void llmd__sink_begin(llmd__sink *s, uint32_t kind);
void llmd__sink_add(llmd__sink *s, const void *ptr, size_t len);
void llmd__sink_byte(llmd__sink *s, unsigned byte);
void llmd__sink_number(llmd__sink *s, uint64_t v, uint32_t bytes); /* lowest byte first */
/* The digest, as its program writes it; a 64-bit number is also the name. Fills bytes, len, name; local = 0. */
void llmd__sink_end(llmd__sink *s, llmd_digest *out);

/* A number as a digest, and back. */
void llmd__digest_number(llmd_digest *out, uint64_t v);
uint64_t llmd__number_of(const uint8_t *big_endian);

/* ---- a scheme ---------------------------------------------------------------------------------------------------- */

typedef struct llmd__foreign_block {
  const uint32_t *tokens;
  uint32_t n;
  uint32_t first; /* it begins the prompt */
  int64_t start;  /* its first token, as parts count */
  const llmd_hash_part *parts; /* those that touch it, in order */
  uint32_t n_parts;
} llmd__foreign_block;

#define LLMD__SCHEME_PARTIAL 1u /* hashes the last, partial block, too */
#define LLMD__SCHEME_SALT 2u    /* has a place for these, or its program ignores them as well */
#define LLMD__SCHEME_LORA 4u
#define LLMD__SCHEME_MEDIA 8u
#define LLMD__SCHEME_EMBEDS 16u

typedef struct llmd__scheme {
  uint32_t flags;
  uint32_t digest_len;
  int (*root)(const llmd_hash_input *in, llmd_digest *out);
  int (*block)(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent, llmd_digest *out);
} llmd__scheme;

extern const llmd__scheme llmd__scheme_vllm_sha256, llmd__scheme_vllm_sha256_cbor, llmd__scheme_vllm_xxhash,
  llmd__scheme_vllm_xxhash_cbor, llmd__scheme_sglang, llmd__scheme_dynamo, llmd__scheme_llmd_cbor_fnv,
  llmd__scheme_llmd_xxh64, llmd__scheme_llmd_approx;

/* NULL = there is none of that number (LLMD_HASH_NATIVE has none either). */
const llmd__scheme *llmd__scheme_of(uint32_t scheme);

/* ---- canonical CBOR (RFC 8949) ----------------------------------------------------------------------------------- */

#define LLMD__CBOR_UINT 0u
#define LLMD__CBOR_NEGATIVE 1u /* value: -1 - it */
#define LLMD__CBOR_BYTES 2u
#define LLMD__CBOR_TEXT 3u
#define LLMD__CBOR_ARRAY 4u
#define LLMD__CBOR_MAP 5u
#define LLMD__CBOR_NULL 0xf6u
void llmd__cbor_head(llmd__sink *s, uint32_t major, uint64_t value);
void llmd__cbor_text(llmd__sink *s, llmd_str text);

/* ---- Python values, as vLLM serialises them ---------------------------------------------------------------------- */

/* A text that Python keeps one object of, so that pickle writes it once: literals, and texts of at most one Latin-1
 * character. */
typedef struct llmd__shared_text {
  llmd_str text;
  uint32_t memo;
} llmd__shared_text;

typedef struct llmd__writer {
  const struct llmd__codec *codec;
  llmd__sink *sink;
  uint32_t memo; /* pickle: objects remembered so far */
  uint32_t n_shared;
  llmd__shared_text shared[LLMD__SCHEME_PARTS + 8];
} llmd__writer;

/* One way to serialise. A tuple is opened, gets its n elements, and is closed. */
typedef struct llmd__codec {
  void (*open)(llmd__writer *w, uint32_t n);
  void (*close)(llmd__writer *w, uint32_t n);
  void (*bytes)(llmd__writer *w, const uint8_t *ptr, uint32_t len);
  void (*text)(llmd__writer *w, llmd_str text, uint32_t literal);
  void (*integer)(llmd__writer *w, int64_t v);
  void (*none)(llmd__writer *w);
  uint32_t framed; /* pickle: the whole is preceded by its length */
} llmd__codec;
extern const llmd__codec llmd__codec_cbor, llmd__codec_pickle;

/* What pickle protocol 5 writes before len bytes. They end with llmd__pickle_end. */
#define LLMD__PICKLE_MOST 65535u /* from 64 KiB on CPython cuts into frames */
void llmd__pickle_begin(llmd__sink *s, uint64_t len);
void llmd__pickle_end(llmd__sink *s);

#endif
