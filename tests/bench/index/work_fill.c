/* Documents: who holds them, their chains, the right answers. */
#include "work.h"

#include <stdlib.h>
#include <string.h>

static uint32_t context_of(uint64_t d)
{
  return (uint32_t)(work_mix(4 * d + 1) % 256);
}

static uint32_t tail_of(uint64_t d)
{
  return 64 + (uint32_t)(work_mix(4 * d + 2) % 385);
}

uint32_t work_document_chain(uint64_t d, work_chain *out)
{
  const uint32_t context = context_of(d), tail = tail_of(d);
  work_chain_reset(out, 32 + tail);
  work_chain_add(out, 1000000 + context / 16, 8);
  work_chain_add(out, 2000000 + context, 24);
  work_chain_add(out, 10000000 + d, tail);
  work_chain_name(out);
  return context;
}

static int holds_document(const work_document *doc, uint32_t worker)
{
  for (uint32_t i = 0; i < doc->holders; i++)
    if (doc->holder[i] == worker)
      return 1;
  return 0;
}

static void draw_holders(work_document *doc, uint64_t d)
{
  const uint32_t n = work_mix(4 * d + 3) % 20 < 13 ? 4 : 3;
  work_rng r = {work_mix(d ^ 0xD0C)};
  while (doc->holders < n) {
    const uint32_t w = (uint32_t)work_below(&r, WORK_WORKERS);
    if (!holds_document(doc, w))
      doc->holder[doc->holders++] = w;
  }
}

static void add_pair(work_fill *f, const work_document *doc, uint32_t d, uint32_t worker)
{
  uint8_t *system = &f->system[doc->context / 16][worker], *context = &f->context[doc->context][worker];
  f->held += doc->tail + (*system ? 0 : 8u) + (*context ? 0 : 24u);
  *system = *context = 1;
  if (f->pairs == f->cap_pairs) {
    f->cap_pairs = 2 * f->cap_pairs + 1024;
    f->pair = work_need(realloc(f->pair, f->cap_pairs * sizeof *f->pair));
  }
  f->pair[f->pairs++] = (work_pair){d, worker};
}

static void add_document(work_fill *f)
{
  const uint32_t d = f->documents;
  work_document *doc;
  if (d == f->cap_documents) {
    f->cap_documents = 2 * f->cap_documents + 1024;
    f->document = work_need(realloc(f->document, f->cap_documents * sizeof *f->document));
  }
  doc = &f->document[f->documents++];
  *doc = (work_document){.context = context_of(d), .tail = tail_of(d)};
  draw_holders(doc, d);
  for (uint32_t i = 0; i < doc->holders; i++)
    add_pair(f, doc, d, doc->holder[i]);
  f->distinct += doc->tail;
}

void work_fill_open(work_fill *f, uint64_t held)
{
  work_rng r = {0x5487FF1E};
  memset(f, 0, sizeof *f);
  f->system = work_need(calloc(16, sizeof *f->system));
  f->context = work_need(calloc(256, sizeof *f->context));
  f->distinct = 16 * 8 + 256 * 24;
  while (f->held < held)
    add_document(f);
  for (uint32_t i = f->pairs; i-- > 1;) {
    const uint32_t j = (uint32_t)work_below(&r, (uint64_t)i + 1);
    const work_pair p = f->pair[i];
    f->pair[i] = f->pair[j];
    f->pair[j] = p;
  }
}

void work_fill_close(work_fill *f)
{
  free(f->document);
  free(f->pair);
  free(f->system);
  free(f->context);
  memset(f, 0, sizeof *f);
}

uint32_t work_document_answer(const work_fill *f, uint32_t d, work_depth *out)
{
  const work_document *doc = &f->document[d];
  uint32_t n = 0;
  for (uint32_t w = 0; w < WORK_WORKERS; w++) {
    const uint32_t depth = holds_document(doc, w)            ? 32 + doc->tail
                           : f->context[doc->context][w]     ? 32
                           : f->system[doc->context / 16][w] ? 8
                                                             : 0;
    if (depth)
      out[n++] = (work_depth){w, depth};
  }
  return n;
}

uint32_t work_shared_take(work_shared *s, uint32_t worker, uint32_t context)
{
  const uint32_t from = s->context[context][worker] ? 32 : s->system[context / 16][worker] ? 8 : 0;
  s->system[context / 16][worker] = s->context[context][worker] = 1;
  return from;
}
