#include "uv/admin/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int grow(llmd__page *p, size_t need)
{
  size_t room = p->room ? p->room : 16384;
  char *text;
  if (need > LLMD__PAGE_MOST)
    return LLMD_E_LIMIT;
  while (room < need)
    room *= 2;
  text = realloc(p->text, room);
  if (!text)
    return LLMD_E_NOMEM;
  p->text = text;
  p->room = room;
  return 0;
}

int llmd__page_write(void *ud, const char *ptr, size_t len)
{
  llmd__page *p = ud;
  if (!p->rc && (len > LLMD__PAGE_MOST || p->len + len > p->room))
    p->rc = len > LLMD__PAGE_MOST ? LLMD_E_LIMIT : grow(p, p->len + len);
  if (p->rc)
    return p->rc;
  if (len)
    memcpy(p->text + p->len, ptr, len);
  p->len += len;
  return 0;
}

void llmd__page_print(llmd__page *page, const char *fmt, ...)
{
  char line[512];
  va_list ap;
  int n;
  va_start(ap, fmt);
  n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (n < 0 || (size_t)n >= sizeof line)
    page->rc = page->rc ? page->rc : LLMD_E_LIMIT;
  else
    (void)llmd__page_write(page, line, (size_t)n);
}

void llmd__page_free(llmd__page *page)
{
  free(page->text);
  memset(page, 0, sizeof *page);
}
