#include "base/json_write.h"

#include "base/number.h"
#include "base/utf8.h"

#include <llmd/error.h>

#include <math.h>
#include <string.h>

static void fail(llmd__json *w, int code)
{
  if (w->rc == LLMD_OK)
    w->rc = code;
}

static void flush(llmd__json *w)
{
  size_t n = w->used;
  w->used = 0;
  if (n && w->rc == LLMD_OK && w->fn(w->ud, w->buf, n) != 0)
    fail(w, LLMD_E_STOPPED);
}

static void put(llmd__json *w, const char *p, size_t n)
{
  while (n && w->rc == LLMD_OK) {
    size_t room = sizeof w->buf - w->used;
    size_t part = n < room ? n : room;
    memcpy(w->buf + w->used, p, part);
    w->used += part;
    p += part;
    n -= part;
    if (w->used == sizeof w->buf)
      flush(w);
  }
}

void llmd__json_init(llmd__json *w, llmd_write_fn fn, void *ud)
{
  memset(w, 0, offsetof(llmd__json, buf));
  w->fn = fn;
  w->ud = ud;
}

int llmd__json_finish(llmd__json *w)
{
  if (w->depth || w->after_key || !w->root_done)
    fail(w, LLMD_E_STATE);
  flush(w);
  return w->rc;
}

static uint64_t level(const llmd__json *w)
{
  return UINT64_C(1) << (w->depth - 1);
}

static int in_map(const llmd__json *w)
{
  return w->depth && (w->maps & level(w));
}

static void separate(llmd__json *w)
{
  if (w->begun & level(w))
    put(w, ",", 1);
  w->begun |= level(w);
}

/* Before every value: 1 when it may come. */
static int before_value(llmd__json *w)
{
  if (in_map(w) ? !w->after_key : w->depth == 0 && w->root_done)
    fail(w, LLMD_E_STATE);
  if (w->rc)
    return 0;
  if (w->depth == 0)
    w->root_done = 1;
  else if (!w->after_key)
    separate(w);
  w->after_key = 0;
  return 1;
}

static void begin(llmd__json *w, int map)
{
  if (w->depth == LLMD__JSON_MAX_DEPTH)
    fail(w, LLMD_E_DEPTH);
  if (!before_value(w))
    return;
  put(w, map ? "{" : "[", 1);
  w->depth++;
  w->begun &= ~level(w);
  w->maps = map ? w->maps | level(w) : w->maps & ~level(w);
}

void llmd__json_begin_map(llmd__json *w)
{
  begin(w, 1);
}

void llmd__json_begin_list(llmd__json *w)
{
  begin(w, 0);
}

void llmd__json_end(llmd__json *w)
{
  if (w->depth == 0 || w->after_key)
    fail(w, LLMD_E_STATE);
  if (w->rc)
    return;
  put(w, in_map(w) ? "}" : "]", 1);
  w->depth--;
}

/* One character of a string that cannot stand as it is. */
static void put_escape(llmd__json *w, unsigned char c)
{
  static const char hex[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t", into[] = "\"\\bfnrt";
  const char *simple = memchr(from, c, sizeof from - 1);
  char code[6] = {'\\', 'u', '0', '0', 0, 0};
  if (simple) {
    code[1] = into[simple - from];
    put(w, code, 2);
    return;
  }
  code[4] = hex[c >> 4];
  code[5] = hex[c & 15];
  put(w, code, 6);
}

static void put_string(llmd__json *w, const char *p, size_t n)
{
  size_t start = 0, i = 0;
  put(w, "\"", 1);
  while (i < n) {
    unsigned char c = (unsigned char)p[i];
    uint32_t cp;
    size_t len = c < 0x80 ? 1 : llmd__utf8_read(p + i, n - i, &cp);
    if (len && c >= 0x20 && c != '"' && c != '\\') {
      i += len;
      continue;
    }
    put(w, p + start, i - start);
    if (len)
      put_escape(w, c);
    else
      put(w, "\xef\xbf\xbd", 3);
    start = ++i;
  }
  put(w, p + start, n - start);
  put(w, "\"", 1);
}

void llmd__json_key_n(llmd__json *w, const char *key, size_t n)
{
  if (!in_map(w) || w->after_key)
    fail(w, LLMD_E_STATE);
  if (w->rc)
    return;
  separate(w);
  put_string(w, key, n);
  put(w, ":", 1);
  w->after_key = 1;
}

void llmd__json_key(llmd__json *w, const char *key)
{
  llmd__json_key_n(w, key, strlen(key));
}

void llmd__json_str(llmd__json *w, const char *p, size_t n)
{
  if (before_value(w))
    put_string(w, p, n);
}

void llmd__json_raw(llmd__json *w, const char *p, size_t n)
{
  if (before_value(w))
    put(w, p, n);
}

void llmd__json_null(llmd__json *w)
{
  llmd__json_raw(w, "null", 4);
}

void llmd__json_text(llmd__json *w, const char *text)
{
  if (text)
    llmd__json_str(w, text, strlen(text));
  else
    llmd__json_null(w);
}

void llmd__json_bool(llmd__json *w, int v)
{
  llmd__json_raw(w, v ? "true" : "false", v ? 4 : 5);
}

static void write_number(llmd__json *w, int negative, uint64_t v)
{
  char digits[21];
  size_t i = sizeof digits;
  do {
    digits[--i] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  if (negative)
    digits[--i] = '-';
  llmd__json_raw(w, digits + i, sizeof digits - i);
}

void llmd__json_uint(llmd__json *w, uint64_t v)
{
  write_number(w, 0, v);
}

void llmd__json_int(llmd__json *w, int64_t v)
{
  write_number(w, v < 0, v < 0 ? (uint64_t)-(v + 1) + 1 : (uint64_t)v);
}

void llmd__json_double(llmd__json *w, double v)
{
  char text[LLMD__NUMBER_ROOM];
  if (isfinite(v))
    llmd__json_raw(w, text, llmd__format_double(v, text));
  else
    llmd__json_null(w);
}
