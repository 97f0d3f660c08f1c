#include "model/block.h"

#include <string.h>

enum {
  TYPE_NONE,
  TYPE_TEXT,
  TYPE_IMAGE,
  TYPE_VIDEO,
  TYPE_AUDIO,
  TYPE_FILE,
  TYPE_THINKING,
  TYPE_CALL,
  TYPE_RESULT,
  TYPE_OTHER
};

#define TYPE(name, type) {name, sizeof name - 1, type}

static const struct {
  char name[14];
  uint8_t len, type;
} types[] = {
    TYPE("text", TYPE_TEXT), TYPE("input_text", TYPE_TEXT), TYPE("output_text", TYPE_TEXT),
    TYPE("image_url", TYPE_IMAGE), TYPE("image", TYPE_IMAGE), TYPE("input_image", TYPE_IMAGE),
    TYPE("video_url", TYPE_VIDEO), TYPE("video", TYPE_VIDEO), TYPE("input_audio", TYPE_AUDIO),
    TYPE("audio_url", TYPE_AUDIO), TYPE("audio", TYPE_AUDIO), TYPE("file", TYPE_FILE),
    TYPE("input_file", TYPE_FILE), TYPE("document", TYPE_FILE), TYPE("thinking", TYPE_THINKING),
    TYPE("tool_use", TYPE_CALL), TYPE("tool_result", TYPE_RESULT),
};

void llmd__block_begin(llmd__block *b, uint32_t first)
{
  b->first = first;
  b->set = 0;
  b->type = TYPE_NONE;
}

void llmd__block_type(llmd__block *b, const char *type, size_t len)
{
  b->type = type ? TYPE_OTHER : TYPE_NONE;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (type && types[i].len == len && memcmp(types[i].name, type, len) == 0)
      b->type = types[i].type;
}

void llmd__block_set(llmd__block *b, uint8_t meaning, const llmd__span *span)
{
  b->slot[meaning - MEAN_TEXT] = *span;
  b->set |= 1u << (meaning - MEAN_TEXT);
}

void llmd__block_forget(llmd__block *b, uint8_t meaning)
{
  b->set &= ~(1u << (meaning - MEAN_TEXT));
}

static const llmd__span *slot(const llmd__block *b, uint8_t meaning)
{
  return b->set >> (meaning - MEAN_TEXT) & 1 ? &b->slot[meaning - MEAN_TEXT] : NULL;
}

static int put_text(const llmd__block *b, llmd__prompt *p, uint8_t meaning, uint8_t kind)
{
  const llmd__span *span = slot(b, meaning);
  return span && span->bytes ? llmd__prompt_append(p, kind, LLMD__MEDIA_NONE, span) : 0;
}

static int put_media(const llmd__block *b, llmd__prompt *p, uint8_t meaning, uint8_t media)
{
  const llmd__span *span = slot(b, meaning);
  if (!span)
    span = slot(b, MEAN_SOURCE);
  return span && span->bytes ? llmd__prompt_append(p, LLMD_SEGMENT_MEDIA, media, span) : 0;
}

static int put_call(const llmd__block *b, llmd__prompt *p)
{
  int rc = put_text(b, p, MEAN_CALL_ID, LLMD_SEGMENT_TEXT);
  if (rc == 0)
    rc = put_text(b, p, MEAN_CALL_NAME, LLMD_SEGMENT_TEXT);
  return rc ? rc : put_text(b, p, MEAN_CALL, LLMD_SEGMENT_TOOLS);
}

/* A client of Anthropic's puts a line of billing data, new with each request, before the system prompt. Engines drop
 * it, and so does the reference: it would make every prompt unlike the others from its first block on. */
static int is_billing_line(const llmd__block *b, const llmd__pieces *ps, const llmd__prompt *p)
{
  static const char prefix[] = "x-anthropic-billing-header";
  char begin[sizeof prefix - 1];
  const llmd__span *span = slot(b, MEAN_TEXT);
  llmd__sink out = {(unsigned char *)begin, (unsigned char *)begin + sizeof begin, 0};
  if (p->current != LLMD__SECTION_SYSTEM || !span || span->decoded < sizeof begin)
    return 0;
  llmd__text_unescape(ps, span, &out);
  return memcmp(begin, prefix, sizeof begin) == 0;
}

/* Engines take a block without a type for what it holds. */
static uint8_t implied_type(const llmd__block *b)
{
  static const struct {
    uint8_t meaning, type;
  } order[] = {{MEAN_TEXT, TYPE_TEXT}, {MEAN_IMAGE, TYPE_IMAGE}, {MEAN_VIDEO, TYPE_VIDEO}, {MEAN_AUDIO, TYPE_AUDIO}};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (slot(b, order[i].meaning))
      return order[i].type;
  return TYPE_OTHER;
}

int llmd__block_end(const llmd__block *b, const llmd__pieces *ps, llmd__prompt *p)
{
  uint8_t type = b->type == TYPE_NONE ? implied_type(b) : b->type;
  if (type == TYPE_RESULT)
    return 0;
  llmd__prompt_cut(p, b->first);
  switch (type) {
  case TYPE_TEXT:
    return is_billing_line(b, ps, p) ? 0 : put_text(b, p, MEAN_TEXT, LLMD_SEGMENT_TEXT);
  case TYPE_THINKING:
    return put_text(b, p, MEAN_THINKING, LLMD_SEGMENT_TEXT);
  case TYPE_CALL:
    return put_call(b, p);
  case TYPE_IMAGE:
    return put_media(b, p, MEAN_IMAGE, LLMD__MEDIA_IMAGE);
  case TYPE_VIDEO:
    return put_media(b, p, MEAN_VIDEO, LLMD__MEDIA_VIDEO);
  case TYPE_AUDIO:
    return put_media(b, p, MEAN_AUDIO, LLMD__MEDIA_AUDIO);
  case TYPE_FILE:
    return put_media(b, p, MEAN_FILE, LLMD__MEDIA_FILE);
  default:
    return 0;
  }
}
