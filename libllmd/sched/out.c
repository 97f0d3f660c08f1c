#include "sched/out.h"

#include <llmd/error.h>

#include <stdio.h>
#include <string.h>

#include "base/number.h"

void llmd__out_init(llmd__out *o, llmd_write_fn fn, void *ud)
{
  memset(o, 0, offsetof(llmd__out, buf));
  o->fn = fn;
  o->ud = ud;
}

static void flush(llmd__out *o)
{
  size_t n = o->used;
  o->used = 0;
  if (n && !o->rc && o->fn(o->ud, o->buf, n))
    o->rc = LLMD_E_STOPPED;
}

void llmd__out_n(llmd__out *o, const char *p, size_t n)
{
  o->bytes += n;
  while (n && !o->rc) {
    size_t room = sizeof o->buf - o->used, part = n < room ? n : room;
    memcpy(o->buf + o->used, p, part);
    o->used += part;
    p += part;
    n -= part;
    if (o->used == sizeof o->buf)
      flush(o);
  }
}

void llmd__out_text(llmd__out *o, const char *text)
{
  llmd__out_n(o, text, strlen(text));
}

void llmd__out_uint(llmd__out *o, uint64_t v)
{
  char buf[24];
  int n = snprintf(buf, sizeof buf, "%llu", (unsigned long long)v);
  llmd__out_n(o, buf, (size_t)n);
}

void llmd__out_double(llmd__out *o, double v)
{
  char buf[LLMD__NUMBER_ROOM];
  llmd__out_n(o, buf, llmd__format_double(v, buf));
}

void llmd__out_blank(llmd__out *o, size_t n)
{
  static const char blanks[] = "                                ";
  for (; n; n -= n < 32 ? n : 32)
    llmd__out_n(o, blanks, n < 32 ? n : 32);
}

int llmd__out_finish(llmd__out *o)
{
  flush(o);
  return o->rc;
}
