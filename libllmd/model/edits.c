#include "model/edits.h"

#include <string.h>

#include <llmd/error.h>

void llmd__edits_reset(llmd__edits *e)
{
  e->n = 0;
  e->levels = 0;
  e->brace = 0;
  e->root_kept = 0;
}

static int begins(const char *text, size_t len, const char *with)
{
  size_t n = strlen(with);
  return len >= n && memcmp(text, with, n) == 0;
}

static int equals(const char *text, size_t len, const char *other)
{
  return len == strlen(other) && begins(text, len, other);
}

/* mm_processor_kwargs is an honest parameter of vLLM (how to preprocess an image) and no part of a transfer. A rank names
 * a part of an engine, or another engine's: which one is decided here. */
int llmd__edits_forbids(const char *text, size_t len)
{
  if (len == 0)
    return 0;
  switch (text[0]) {
  case 'k':
    return equals(text, len, "kv_transfer_params");
  case 'e':
    return equals(text, len, "ec_transfer_params");
  case 'b':
    return begins(text, len, "bootstrap_");
  case 'd':
    return equals(text, len, "data_parallel_rank") || equals(text, len, "disagg_prefill_dp_rank") ||
           equals(text, len, "disaggregated_params");
  case 'r':
    return equals(text, len, "routed_dp_rank");
  case 'm':
    return begins(text, len, "mm_") && !equals(text, len, "mm_processor_kwargs");
  default:
    return 0;
  }
}

static llmd__level *top(llmd__edits *e)
{
  return &e->level[e->levels - 1];
}

int llmd__edits_open(llmd__edits *e, uint64_t offset)
{
  if (e->levels == LLMD__EDIT_LEVELS)
    return 0;
  if (e->levels == 0)
    e->brace = offset + 1;
  memset(&e->level[e->levels++], 0, sizeof *e->level);
  return 1;
}

void llmd__edits_close(llmd__edits *e)
{
  llmd__level *l = top(e);
  if (l->open) {
    llmd__splice *s = &e->at[l->open - 1];
    s->removed = l->end - s->offset;
    s->done = 1;
  }
  if (--e->levels == 0)
    e->root_kept = l->kept;
}

static int add(llmd__edits *e, uint64_t offset, uint64_t removed, uint8_t is_model)
{
  llmd__splice s = {offset, removed, is_model, is_model};
  if (e->n == e->max)
    return LLMD_E_LIMIT;
  e->at[e->n++] = s;
  return 0;
}

int llmd__edits_member(llmd__edits *e, uint64_t key, int remove)
{
  llmd__level *l = top(e);
  if (!remove) {
    l->kept = 1;
    l->open = l->last = 0;
    return 0;
  }
  uint32_t *splice = l->kept ? &l->last : &l->open;
  if (*splice)
    return 0;
  int rc = add(e, l->kept ? l->comma : key, 0, 0);
  if (rc == 0)
    *splice = e->n;
  return rc;
}

void llmd__edits_removed(llmd__edits *e, uint64_t end)
{
  llmd__level *l = top(e);
  l->end = end;
  if (l->last) {
    llmd__splice *s = &e->at[l->last - 1];
    s->removed = end - s->offset;
    s->done = 1;
  }
}

void llmd__edits_comma(llmd__edits *e, uint64_t offset)
{
  llmd__level *l = top(e);
  l->comma = offset;
  if (l->open) {
    llmd__splice *s = &e->at[l->open - 1];
    s->removed = offset + 1 - s->offset;
    s->done = 1;
  }
}

int llmd__edits_model(llmd__edits *e, uint64_t offset, uint64_t len)
{
  return add(e, offset, len, 1);
}
