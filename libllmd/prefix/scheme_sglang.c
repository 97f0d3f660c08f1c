/* SGLang: SHA-256(digest of the page before ‖ LE32 tokens). Its salted roots differ between versions: not made here. */
#include <string.h>

#include "prefix/scheme.h"

static int root(const llmd_hash_input *in, llmd_digest *out)
{
  (void)in;
  memset(out, 0, sizeof *out);
  return 0;
}

static int block(const llmd_hash_input *in, const llmd__foreign_block *b, const llmd_digest *parent, llmd_digest *out)
{
  llmd__sha256 s;
  llmd_digest made;
  (void)in;
  memset(&made, 0, sizeof made);
  llmd__sha256_begin(&s);
  llmd__sha256_add(&s, parent->bytes, parent->len);
  llmd__sha256_add(&s, b->tokens, sizeof *b->tokens * b->n);
  llmd__sha256_end(&s, made.bytes);
  made.len = LLMD__SHA256_BYTES;
  made.name = llmd__number_of(made.bytes);
  *out = made;
  return 0;
}

const llmd__scheme llmd__scheme_sglang = {0, 32, root, block};
