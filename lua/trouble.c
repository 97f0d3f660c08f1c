/* The text of a failure: where it happened and why, as it may stand in a log or an answer. One line, valid UTF-8
 * without control characters, no addresses, at most LLMD__LUA_TROUBLE bytes. Nothing here allocates or raises. */
#include "state.h"

#include <string.h>

/* Bytes of the UTF-8 character at p, 0 = it is none, or a control character. */
static size_t character(const unsigned char *p, size_t n)
{
  if (p[0] < 0x80)
    return p[0] >= 0x20 && p[0] != 0x7f;
  size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
    return 0;
  for (size_t i = 1; i < len; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
      (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return len;
}

static int is_hex(unsigned char c)
{
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Bytes of an address ("0x7f..."): two programs never agree on one, and nobody is to learn it. */
static size_t address(const unsigned char *p, size_t n)
{
  if (n < 3 || p[0] != '0' || (p[1] | 0x20) != 'x' || !is_hex(p[2]))
    return 0;
  size_t len = 3;
  while (len < n && is_hex(p[len]))
    len++;
  return len;
}

/* "sticky.lua:12: message": the number between the first two colons that enclose one. */
static uint32_t line_of(const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++) {
    if (text[i] != ':')
      continue;
    uint32_t line = 0;
    size_t digit = i + 1;
    while (digit < len && text[digit] >= '0' && text[digit] <= '9' && line < 100000000u)
      line = line * 10 + (uint32_t)(text[digit++] - '0');
    if (digit > i + 1 && digit < len && text[digit] == ':')
      return line;
  }
  return 0;
}

void llmd__lua_trouble(llmd__lua *s, const char *text, size_t len)
{
  const unsigned char *p = (const unsigned char *)text;
  size_t to = 0;
  for (size_t i = 0; i < len && to < LLMD__LUA_TROUBLE;) {
    size_t skip = address(p + i, len - i);
    if (skip != 0) {
      i += skip;
      continue;
    }
    size_t bytes = character(p + i, len - i);
    if (to + bytes > LLMD__LUA_TROUBLE)
      break;
    if (bytes == 0)
      s->trouble[to++] = p[i] < 0x20 ? ' ' : '?';
    for (size_t k = 0; k < bytes; k++)
      s->trouble[to++] = (char)p[i + k];
    i += bytes == 0 ? 1 : bytes;
  }
  s->trouble[to] = '\0';
  s->trouble_len = (uint32_t)to;
  s->trouble_line = line_of(s->trouble, to);
}

static size_t put_text(char *out, size_t at, size_t cap, const char *text)
{
  size_t n = strlen(text);
  if (n > cap - at)
    n = cap - at;
  memcpy(out + at, text, n);
  return at + n;
}

static size_t put_number(char *out, size_t at, size_t cap, uint64_t n)
{
  char digits[24];
  size_t i = sizeof digits - 1;
  digits[i] = '\0';
  do {
    digits[--i] = (char)('0' + n % 10);
  } while ((n /= 10) != 0);
  return put_text(out, at, cap, digits + i);
}

/* Why the budget ended the call, and where. Allocates nothing. */
void llmd__lua_trouble_stop(llmd__lua *s, lua_State *L)
{
  char text[LLMD__LUA_TROUBLE];
  size_t at = 0, cap = sizeof text;
  lua_Debug ar;
  for (int level = 0; L != NULL && level < 4 && lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0)
      continue;
    at = put_text(text, at, cap, ar.short_src);
    at = put_text(text, at, cap, ":");
    at = put_number(text, at, cap, (uint64_t)ar.currentline);
    at = put_text(text, at, cap, ": ");
    break;
  }
  if (s->stop == LLMD_E_LIMIT) {
    at = put_text(text, at, cap, "more than ");
    at = put_number(text, at, cap, s->given_instructions);
    at = put_text(text, at, cap, " instructions");
  } else if (s->stop == LLMD_E_TIMEOUT) {
    at = put_text(text, at, cap, "took longer than ");
    at = put_number(text, at, cap, s->given_ns / 1000);
    at = put_text(text, at, cap, " us");
  } else if (s->long_string) {
    at = put_text(text, at, cap, "a string longer than ");
    at = put_number(text, at, cap, LLMD__LUA_STRING);
    at = put_text(text, at, cap, " bytes");
  } else {
    at = put_number(text, at, cap, s->memory);
    at = put_text(text, at, cap, " bytes of memory are not enough");
  }
  llmd__lua_trouble(s, text, at);
}

void llmd__lua_trouble_variable(llmd__lua *s, const char *name)
{
  static const char why[] = "' was changed: variables of the policy are read-only after load, use llmd.store";
  char text[LLMD__LUA_TROUBLE];
  size_t at = put_text(text, 0, sizeof text, "'");
  at = put_text(text, at, sizeof text - sizeof why, name);
  llmd__lua_trouble(s, text, put_text(text, at, sizeof text, why));
}

/* An error's value is never asked to describe itself. */
void llmd__lua_trouble_error(llmd__lua *s, lua_State *L)
{
  size_t len = 0;
  const char *text = NULL;
  if (lua_type(L, -1) == LUA_TSTRING)
    text = lua_tolstring(L, -1, &len);
  if (text == NULL) {
    text = "an error without a text";
    len = strlen(text);
  }
  llmd__lua_trouble(s, text, len);
}

int llmd__lua_fail(const llmd__lua *s, int code, const char *chunk, llmd_err *err)
{
  if (err == NULL)
    return code;
  /* the place has fields of its own: the text is what follows it */
  size_t from = 0, n = strlen(chunk);
  if (s->trouble_line != 0 && s->trouble_len > n && memcmp(s->trouble, chunk, n) == 0 && s->trouble[n] == ':') {
    from = n + 1;
    while (s->trouble[from] >= '0' && s->trouble[from] <= '9')
      from++;
    from += s->trouble[from] == ':';
    from += s->trouble[from] == ' ';
  }
  err->code = code;
  err->line = s->trouble_line;
  err->column = 0;
  err->path[put_text(err->path, 0, sizeof err->path - 1, chunk)] = '\0';
  err->text[put_text(err->text, 0, sizeof err->text - 1, s->trouble + from)] = '\0';
  return code;
}
