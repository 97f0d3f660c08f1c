#include "engine_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void engine_text_reset(struct engine_text *t)
{
  t->len = 0;
  t->failed = 0;
}

void engine_text_free(struct engine_text *t)
{
  free(t->ptr);
  memset(t, 0, sizeof *t);
}

static int make_room(struct engine_text *t, size_t n)
{
  size_t room = t->room ? t->room : 1024;
  char *more;
  while (room < t->len + n + 1)
    room *= 2;
  if (room == t->room)
    return 1;
  more = t->failed ? NULL : realloc(t->ptr, room);
  if (!more) {
    t->failed = 1;
    return 0;
  }
  t->ptr = more;
  t->room = room;
  return 1;
}

void engine_text_put(struct engine_text *t, const char *ptr, size_t len)
{
  if (!make_room(t, len))
    return;
  if (len)
    memcpy(t->ptr + t->len, ptr, len);
  t->len += len;
  t->ptr[t->len] = 0;
}

void engine_text_add(struct engine_text *t, const char *format, ...)
{
  char small[512], *text = small;
  va_list args;
  int n;
  va_start(args, format);
  n = vsnprintf(small, sizeof small, format, args);
  va_end(args);
  if (n >= (int)sizeof small) {
    text = malloc((size_t)n + 1);
    if (!text) {
      t->failed = 1;
      return;
    }
    va_start(args, format);
    (void)vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
  }
  engine_text_put(t, text, (size_t)n);
  if (text != small)
    free(text);
}

void engine_text_quote(struct engine_text *t, const char *ptr, size_t len)
{
  for (size_t i = 0, plain = 0; i <= len; i++) {
    const unsigned char c = i < len ? (unsigned char)ptr[i] : 0;
    if (i < len && c >= 0x20 && c != '"' && c != '\\')
      continue;
    engine_text_put(t, ptr + plain, i - plain);
    plain = i + 1;
    if (i == len)
      return;
    if (c == '"' || c == '\\')
      engine_text_add(t, "\\%c", c);
    else
      engine_text_add(t, "\\u%04x", (unsigned)c);
  }
}
