#include "model/prompt.h"

#include <string.h>

#include <llmd/error.h>
#include <llmd/request.h>

void llmd__prompt_reset(llmd__prompt *p)
{
  p->n = 0;
  p->current = 0;
  p->prompts = 0;
  memset(p->section, 0, sizeof p->section);
}

void llmd__prompt_begin(llmd__prompt *p, uint32_t section)
{
  if (p->section[section].n && p->section[section].first + p->section[section].n == p->n)
    p->n = p->section[section].first;
  p->section[section].n = 0;
  p->current = section;
  p->prompts = 0;
}

uint32_t llmd__prompt_here(const llmd__prompt *p)
{
  return p->section[p->current].n;
}

/* Moves the live runs together over the holes that sections started anew have left, keeping their order. */
static void compact(llmd__prompt *p)
{
  uint32_t to = 0, from = 0;
  for (;;) {
    uint32_t best = LLMD__SECTIONS;
    for (uint32_t i = 0; i < LLMD__SECTIONS; i++)
      if (p->section[i].n && p->section[i].first >= from &&
          (best == LLMD__SECTIONS || p->section[i].first < p->section[best].first))
        best = i;
    if (best == LLMD__SECTIONS)
      break;
    from = p->section[best].first + p->section[best].n;
    memmove(&p->at[to], &p->at[p->section[best].first], p->section[best].n * sizeof *p->at);
    p->section[best].first = to;
    to += p->section[best].n;
  }
  p->n = to;
}

int llmd__prompt_insert(llmd__prompt *p, uint32_t at, const llmd__segment *s)
{
  if (p->n == p->max)
    compact(p);
  if (p->n == p->max)
    return LLMD_E_LIMIT;
  if (p->section[p->current].n == 0)
    p->section[p->current].first = p->n;
  llmd__segment *place = &p->at[p->section[p->current].first + at];
  memmove(place + 1, place, (llmd__prompt_here(p) - at) * sizeof *place);
  *place = *s;
  p->section[p->current].n++;
  p->n++;
  return 0;
}

int llmd__prompt_append(llmd__prompt *p, uint8_t kind, uint8_t media, const llmd__span *span)
{
  llmd__segment s = {span->offset, span->bytes, span->decoded, p->prompts, kind, media, span->escaped};
  return llmd__prompt_insert(p, llmd__prompt_here(p), &s);
}

void llmd__prompt_replace(llmd__prompt *p, uint32_t at, const llmd__segment *s)
{
  p->at[p->section[p->current].first + at] = *s;
}

void llmd__prompt_remove(llmd__prompt *p, uint32_t at)
{
  llmd__segment *place = &p->at[p->section[p->current].first + at];
  memmove(place, place + 1, (llmd__prompt_here(p) - at - 1) * sizeof *place);
  p->section[p->current].n--;
  p->n--;
}

void llmd__prompt_cut(llmd__prompt *p, uint32_t at)
{
  p->n -= llmd__prompt_here(p) - at;
  p->section[p->current].n = at;
}

/* First and last + 1 of the sections that count. */
static void visible(const llmd__prompt *p, uint32_t *first, uint32_t *end)
{
  uint32_t only = p->section[LLMD__SECTION_IDS].n ? LLMD__SECTION_IDS : LLMD__SECTION_TEXT;
  int single = p->section[only].n != 0;
  *first = single ? only : LLMD__SECTION_TOOLS;
  *end = single ? only + 1 : LLMD__SECTION_MESSAGES + 1;
}

uint32_t llmd__prompt_count(const llmd__prompt *p)
{
  uint32_t first, end, n = 0;
  visible(p, &first, &end);
  for (uint32_t i = first; i < end; i++)
    n += p->section[i].n;
  return n;
}

const llmd__segment *llmd__prompt_at(const llmd__prompt *p, uint32_t i)
{
  uint32_t first, end;
  visible(p, &first, &end);
  while (i >= p->section[first].n)
    i -= p->section[first++].n;
  return &p->at[p->section[first].first + i];
}

void llmd__prompt_sum(const llmd__prompt *p, llmd__prompt_totals *out)
{
  uint32_t first, end;
  memset(out, 0, sizeof *out);
  visible(p, &first, &end);
  for (; first < end; first++) {
    const llmd__segment *s = &p->at[p->section[first].first];
    for (uint32_t i = 0; i < p->section[first].n; i++, s++) {
      out->segments++;
      out->prompts = s->prompt + 1;
      out->media += s->kind == LLMD_SEGMENT_MEDIA;
      out->ids += s->kind == LLMD_SEGMENT_IDS ? s->decoded : 0;
      out->bytes += s->kind == LLMD_SEGMENT_IDS || s->kind == LLMD_SEGMENT_MEDIA ? 0 : s->bytes;
    }
  }
}

llmd__span llmd__segment_span(const llmd__segment *s)
{
  llmd__span span = {s->offset, s->bytes, s->decoded, s->escaped};
  return span;
}
