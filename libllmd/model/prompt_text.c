/* The beginning of a prompt as people would read it, for policies that may see it. */
#include <string.h>

#include <llmd/error.h>

#include "base/utf8.h"
#include "model/layout.h"

/* A run that stops at a cap may stop within a character: that one is left out. */
static size_t whole_characters(const char *text, size_t n)
{
  size_t from = n;
  while (from && n - from < 4 && ((unsigned char)text[from - 1] & 0xc0) == 0x80)
    from--;
  if (!from || (unsigned char)text[from - 1] < 0x80)
    return n;
  from--;
  return llmd__utf8_valid(text + from, n - from) == n - from ? n : from;
}

int64_t llmd__request_prompt_text(const llmd_request *r, char *buf, size_t cap)
{
  const llmd__prompt *p = &r->reader.prompt;
  uint32_t n = llmd__prompt_count(p), found = 0;
  llmd__sink out = {(unsigned char *)buf, (unsigned char *)buf + cap, 0};
  for (uint32_t i = 0; i < n && !out.cut; i++) {
    const llmd__segment *s = llmd__prompt_at(p, i);
    llmd__span span = llmd__segment_span(s);
    if (s->kind != LLMD_SEGMENT_TEXT)
      continue;
    if (found++)
      llmd__sink_put(&out, "\n", 1);
    llmd__text_unescape(&r->reader.pieces, &span, &out);
  }
  if (!found)
    return LLMD_E_NONE;
  return (int64_t)whole_characters(buf, (size_t)(out.p - (unsigned char *)buf));
}
