#include "uv/proxy/sse.h"

#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/usage.h"

#define KEEP_HELD 4096u /* a larger buffer goes as soon as it is empty */

void llmd__sse_init(llmd__sse *s, const char *key, size_t max, int take_out)
{
  memset(s, 0, sizeof *s);
  s->key = key;
  s->max = max;
  s->take_out = take_out != 0;
  llmd__usage_init(&s->usage);
}

void llmd__sse_free(llmd__sse *s, const llmd_allocator *alloc)
{
  llmd__free(alloc, s->held, s->cap);
  s->held = NULL;
  s->len = s->cap = 0;
}

void llmd__sse_sent(llmd__sse *s, const llmd_allocator *alloc)
{
  if (!s->emitted)
    return;
  s->emitted = 0;
  s->len = 0;
  if (s->cap > KEEP_HELD)
    llmd__sse_free(s, alloc);
}

llmd_str llmd__sse_rest(const llmd__sse *s)
{
  llmd_str rest = {s->held, s->emitted ? 0 : s->len};
  return rest;
}

/* ---- where events end: at a line with nothing on it; lines end in LF or CR LF ---- */

/* Past the first blank line, or 0. fresh: the text begins a line. */
static size_t find_end(llmd_str text, int fresh)
{
  const char *p = text.ptr, *end = text.ptr + text.len;
  while (p < end) {
    if (fresh && *p == '\n')
      return (size_t)(p - text.ptr) + 1;
    if (fresh && *p == '\r' && end - p > 1 && p[1] == '\n')
      return (size_t)(p - text.ptr) + 2;
    p = memchr(p, '\n', (size_t)(end - p));
    if (!p)
      return 0;
    p++;
    fresh = 1;
  }
  return 0;
}

/* The same for bytes that go on where the held ones end. */
static size_t find_end_of_held(const llmd__sse *s, llmd_str in)
{
  char last = s->held[s->len - 1], before = s->len > 1 ? s->held[s->len - 2] : '\n';
  if (last == '\r' && before == '\n' && in.ptr[0] == '\n')
    return 1;
  return find_end(in, last == '\n');
}

static int ends_whole(llmd_str text)
{
  const char *end = text.ptr + text.len;
  if (text.len < 2 || end[-1] != '\n')
    return 0;
  return end[-2] == '\n' || (text.len > 2 && end[-2] == '\r' && end[-3] == '\n');
}

/* CR alone ends a line, too; no engine writes that, and it is not worth looking for. */
static int has_lone_cr(llmd_str text)
{
  const char *end = text.ptr + text.len;
  for (const char *p = text.ptr; (p = memchr(p, '\r', (size_t)(end - p))) != NULL && ++p < end;)
    if (*p != '\n')
      return 1;
  return 0;
}

/* ---- what events say ---- */

/* Comments (": ping") are no data. */
static int has_data(llmd_str text)
{
  return text.len && (text.ptr[0] != ':' || memmem(text.ptr, text.len, "\ndata:", 6));
}

/* Reads one event. 1: it is not for the client. */
static int is_ours(llmd__sse *s, llmd_str event)
{
  if (!memmem(event.ptr, event.len, s->key, strlen(s->key)) || !llmd__usage_read(event, s->key, &s->usage))
    return 0;
  if (!s->take_out || !llmd__usage_no_choices(event))
    return 0;
  s->removed = 1;
  return 1;
}

/* ---- passing on ---- */

static int hold(llmd__sse *s, const llmd_allocator *alloc, llmd_str in)
{
  if (in.len > s->max - s->len)
    return LLMD_E_LIMIT;
  if (in.len > s->cap - s->len) {
    size_t cap = s->cap ? s->cap : 512;
    char *held;
    while (cap < s->len + in.len)
      cap *= 2;
    held = llmd__realloc(alloc, s->held, s->cap, cap);
    if (!held)
      return LLMD_E_NOMEM;
    s->held = held;
    s->cap = cap;
  }
  memcpy(s->held + s->len, in.ptr, in.len);
  s->len += in.len;
  return 0;
}

/* No more looking: what is held, then all of the input. */
static int give_up(llmd__sse *s, llmd_str *in, llmd_str *out)
{
  int n = 0;
  s->raw = s->data = 1;
  if (s->len) {
    out[n].ptr = s->held;
    out[n++].len = s->len;
    s->emitted = 1;
  }
  if (in->len)
    out[n++] = *in;
  in->len = 0;
  return n;
}

static void cut(llmd_str *in, size_t n)
{
  in->ptr += n;
  in->len -= n;
}

/* The held event goes on. */
static int feed_held(llmd__sse *s, const llmd_allocator *alloc, llmd_str *in, llmd_str *out)
{
  size_t end = find_end_of_held(s, *in);
  llmd_str more = {in->ptr, end ? end : in->len};
  if (hold(s, alloc, more))
    return give_up(s, in, out);
  cut(in, more.len);
  if (!end)
    return 0;
  out->ptr = s->held;
  out->len = s->len;
  s->data |= (uint8_t)has_data(*out);
  s->emitted = 1;
  if (!is_ours(s, *out))
    return 1;
  llmd__sse_sent(s, alloc);
  return 0;
}

/* Event by event: those that stay side by side are one piece. */
static int feed_events(llmd__sse *s, const llmd_allocator *alloc, llmd_str *in, llmd_str *out)
{
  llmd_str run = {in->ptr, 0};
  int n = 0;
  size_t end;
  while ((end = find_end(*in, 1)) != 0) {
    llmd_str event = {in->ptr, end};
    int ours = is_ours(s, event);
    s->data |= (uint8_t)has_data(event);
    cut(in, end);
    if (!ours) {
      run.len += end;
      continue;
    }
    if (run.len)
      out[n++] = run;
    run.ptr = in->ptr;
    run.len = 0;
    if (n == LLMD__SSE_PIECES - 2)
      return n;
  }
  if (run.len)
    out[n++] = run;
  if (in->len && hold(s, alloc, *in))
    return n + give_up(s, in, out + n);
  in->len = 0;
  return n;
}

int llmd__sse_feed(llmd__sse *s, const llmd_allocator *alloc, llmd_str *in, llmd_str out[LLMD__SSE_PIECES])
{
  if (!in->len)
    return 0;
  if (s->raw || has_lone_cr(*in))
    return give_up(s, in, out);
  if (s->len)
    return feed_held(s, alloc, in, out);
  if (ends_whole(*in) && !memmem(in->ptr, in->len, s->key, strlen(s->key))) {
    s->data |= (uint8_t)has_data(*in);
    *out = *in;
    in->len = 0;
    return 1;
  }
  return feed_events(s, alloc, in, out);
}
