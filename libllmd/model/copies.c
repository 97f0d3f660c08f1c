#include "model/copies.h"

#include <string.h>

#include <llmd/error.h>

void llmd__copies_reset(llmd__copies *c)
{
  c->low = 0;
  c->high = c->cap;
  memset(c->body, 0, sizeof c->body);
}

int64_t llmd__copies_take(llmd__copies *c, size_t n)
{
  uint32_t at = c->low;
  if (n > c->high - c->low)
    return LLMD_E_LIMIT;
  c->low += (uint32_t)n;
  return at;
}

void llmd__copies_drop(llmd__copies *c, unsigned which)
{
  uint32_t at = c->body[which].offset, len = c->body[which].len;
  if (!c->body[which].set)
    return;
  memmove(c->text + c->high + len, c->text + c->high, at - c->high);
  for (unsigned i = 0; i < LLMD__BODY_STRINGS; i++)
    if (c->body[i].set && c->body[i].offset <= at) /* an empty string may stand where this one begins */
      c->body[i].offset += len;
  c->high += len;
  memset(&c->body[which], 0, sizeof c->body[which]);
}

char *llmd__copies_place(llmd__copies *c, unsigned which, size_t n)
{
  if (n > c->high - c->low)
    return NULL;
  c->high -= (uint32_t)n;
  c->body[which].offset = c->high;
  c->body[which].len = (uint32_t)n;
  c->body[which].set = 1;
  return c->text + c->high;
}

llmd_str llmd__copies_body(const llmd__copies *c, unsigned which)
{
  llmd_str s = {NULL, 0};
  if (c->body[which].set) {
    s.ptr = c->text + c->body[which].offset;
    s.len = c->body[which].len;
  }
  return s;
}
