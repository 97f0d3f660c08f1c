/* The prompts as tokens: real ids where the host or the body has them, else the reference's estimate, which takes the
 * prompt's bytes four at a time. */
#include <string.h>

#include <llmd/error.h>

#include "model/digits.h"
#include "model/layout.h"
#include "model/media.h"

/* Tokens being written; as bytes, since text goes in as bytes. */
typedef struct writer {
  llmd__sink sink;
  unsigned char *begin;
  uint32_t *end; /* of each prompt */
  uint32_t max_prompts, prompts;
  int cut;
} writer;

static uint32_t tokens_so_far(const writer *w)
{
  return (uint32_t)((size_t)(w->sink.p - w->begin) / sizeof(uint32_t));
}

static void pad(writer *w)
{
  static const unsigned char zero[3] = {0, 0, 0};
  size_t over = (size_t)(w->sink.p - w->begin) % sizeof(uint32_t);
  if (over)
    llmd__sink_put(&w->sink, zero, sizeof(uint32_t) - over);
}

/* The prompt is complete. 0 when no more prompts or tokens fit. */
static int end_prompt(writer *w)
{
  pad(w);
  w->end[w->prompts++] = tokens_so_far(w);
  w->cut |= w->sink.cut;
  return !w->cut;
}

static int begin_prompt(writer *w)
{
  if (w->prompts == w->max_prompts)
    w->cut = 1;
  return !w->cut;
}

/* ---- ids ---- */

/* A list of ids, known to be valid. The number may be spread over pieces. */
typedef struct id_reader {
  uint32_t value;
  int open;
} id_reader;

static void put_id(writer *w, uint32_t id)
{
  llmd__sink_put(&w->sink, &id, sizeof id);
}

static void id_byte(id_reader *ids, char c, writer *w)
{
  if (c >= '0' && c <= '9') {
    ids->value = ids->value * 10 + (uint32_t)(c - '0');
    ids->open = 1;
  } else if (ids->open) {
    put_id(w, ids->value);
    ids->value = 0;
    ids->open = 0;
  }
}

/* Ids of one to seven digits, one after the other, while whole words can be read and written. */
static const char *many_ids(const char *p, const char *end, writer *w)
{
  unsigned char *to = w->sink.p;
  while (end - p >= 16 && w->sink.end - to >= 4) {
    unsigned n = llmd__digits(p);
    if (n == 0 || n == 8)
      break;
    uint32_t id = llmd__digits_value(p, n);
    memcpy(to, &id, sizeof id);
    to += sizeof id;
    p += n + 1;
    if (*p == ' ')
      p++;
  }
  w->sink.p = to;
  return p;
}

static void ids_in_run(id_reader *ids, const char *p, const char *end, writer *w)
{
  while (p < end && !w->sink.cut) {
    if (!ids->open)
      p = many_ids(p, end, w);
    if (p < end)
      id_byte(ids, *p++, w);
  }
}

static void put_ids(writer *w, const llmd__pieces *ps, const llmd__segment *s)
{
  id_reader ids = {0, 0};
  for (uint64_t done = 0; done < s->bytes && !w->sink.cut;) {
    size_t avail;
    const char *run = llmd__pieces_run(ps, s->offset + done, &avail);
    size_t n = avail < s->bytes - done ? avail : (size_t)(s->bytes - done);
    ids_in_run(&ids, run, run + n, w);
    done += n;
  }
  id_byte(&ids, ']', w); /* a list that was cut off has no bracket of its own */
}

static void put_host_ids(writer *w, const llmd_request *r)
{
  llmd__sink_put(&w->sink, r->host_ids, r->n_host_ids * sizeof *r->host_ids);
}

/* ---- the estimate ---- */

static void video_of(const llmd_request *r, llmd__video *v)
{
  const llmd__copies *text = &r->reader.copies;
  llmd_str resolution = llmd__headers_known(&r->headers, text, LLMD__HEADER_VIDEO_RESOLUTION);
  double seconds = llmd__headers_number(&r->headers, text, LLMD__HEADER_VIDEO_SECONDS);
  memset(v, 0, sizeof *v);
  if (seconds > 0)
    v->seconds = seconds;
  if (resolution.ptr)
    llmd__media_resolution(resolution.ptr, resolution.len, v);
}

/* Placeholders begin at a token's boundary. They repeat the name of the bytes, 128 bits of it. */
static void put_media(writer *w, const llmd_request *r, const llmd__segment *s, const llmd__video *v)
{
  uint32_t name[4], n = llmd__media_tokens(&r->reader.pieces, s, v);
  llmd__media_name(&r->reader.pieces, s, name);
  pad(w);
  for (uint32_t i = 0; i < n && !w->sink.cut; i++)
    llmd__sink_put(&w->sink, &name[i % 4], sizeof *name);
}

static void put_segment(writer *w, const llmd_request *r, const llmd__segment *s, const llmd__video *v)
{
  llmd__span span = llmd__segment_span(s);
  if (s->kind == LLMD_SEGMENT_IDS)
    put_ids(w, &r->reader.pieces, s);
  else if (s->kind == LLMD_SEGMENT_MEDIA)
    put_media(w, r, s, v);
  else
    llmd__text_unescape(&r->reader.pieces, &span, &w->sink);
}

static void put_prompts(writer *w, const llmd_request *r)
{
  uint32_t n = llmd__prompt_count(&r->reader.prompt), i = 0;
  llmd__video v;
  video_of(r, &v);
  while (i < n && begin_prompt(w)) {
    uint32_t prompt = llmd__prompt_at(&r->reader.prompt, i)->prompt;
    for (; i < n && llmd__prompt_at(&r->reader.prompt, i)->prompt == prompt; i++)
      put_segment(w, r, llmd__prompt_at(&r->reader.prompt, i), &v);
    if (!end_prompt(w))
      break;
  }
}

/* Pseudo tokens are little-endian words of the text, whatever the machine. */
static void fix_byte_order(uint32_t *out, uint32_t n)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  for (uint32_t i = 0; i < n; i++)
    out[i] = __builtin_bswap32(out[i]);
#else
  (void)out;
  (void)n;
#endif
}

int llmd__request_tokens(const llmd_request *r, uint32_t *out, size_t cap, uint32_t *end, uint32_t max_prompts,
                         uint32_t *n_prompts, int *cut)
{
  const llmd__prompt *p = &r->reader.prompt;
  int real = r->host_ids || p->section[LLMD__SECTION_IDS].n;
  cap = cap > UINT32_MAX ? UINT32_MAX : cap;
  writer w = {{(unsigned char *)out, (unsigned char *)(out + cap), 0}, (unsigned char *)out, end, max_prompts, 0, 0};
  if (r->host_ids) {
    if (begin_prompt(&w)) {
      put_host_ids(&w, r);
      end_prompt(&w);
    }
  } else {
    if (llmd__prompt_count(p) == 0)
      return LLMD_E_NONE;
    real = real || llmd__prompt_at(p, 0)->kind == LLMD_SEGMENT_IDS;
    put_prompts(&w, r);
    if (!real)
      fix_byte_order(out, tokens_so_far(&w));
  }
  *n_prompts = w.prompts;
  *cut = w.cut;
  return real ? LLMD__TOKENS_REAL : LLMD__TOKENS_PSEUDO;
}

/* ---- counting ---- */

static uint64_t whole_tokens(uint64_t bytes)
{
  return bytes / 4 + (bytes % 4 != 0);
}

uint64_t llmd__request_token_count(const llmd_request *r)
{
  const llmd__prompt *p = &r->reader.prompt;
  uint32_t n = llmd__prompt_count(p), prompt = 0;
  uint64_t tokens = 0, bytes = 0;
  llmd__video v;
  if (r->host_ids)
    return r->n_host_ids;
  video_of(r, &v);
  for (uint32_t i = 0; i < n; i++) {
    const llmd__segment *s = llmd__prompt_at(p, i);
    if (s->prompt != prompt || s->kind == LLMD_SEGMENT_MEDIA) {
      tokens += whole_tokens(bytes);
      bytes = 0;
      prompt = s->prompt;
    }
    if (s->kind == LLMD_SEGMENT_IDS)
      tokens += s->decoded;
    else if (s->kind == LLMD_SEGMENT_MEDIA)
      tokens += llmd__media_tokens(&r->reader.pieces, s, &v);
    else
      bytes += s->decoded;
  }
  return tokens + whole_tokens(bytes);
}
