/* string: what has a bounded price. There are no patterns, no rep and no format: one call of theirs can run for minutes.
 * Texts are at most LLMD__LUA_STRING bytes long (state.h), so that what clients send can make nothing fail here. */
#include "api.h"

#include <string.h>

#include <lauxlib.h>

#define SHORT_NEEDLE 8u
#define RESULTS 4096 /* values that one call gives back */

/* Positions from 1; negative ones count from the end. */
static size_t first_of(lua_Integer i, size_t len)
{
  if (i > 0)
    return (size_t)i;
  return i < -(lua_Integer)len || i == 0 ? 1 : len + (size_t)(i + 1);
}

static size_t last_of(lua_Integer i, size_t len)
{
  if (i >= 0)
    return i > (lua_Integer)len ? len : (size_t)i;
  return i < -(lua_Integer)len ? 0 : len + (size_t)(i + 1);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

int llmd__lua_string_len(lua_State *L)
{
  size_t len;
  llmd__lua_arg_text(L, 1, &len);
  lua_pushinteger(L, (lua_Integer)len);
  return 1;
}

int llmd__lua_string_sub(lua_State *L)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  size_t i = first_of(llmd__lua_arg_integer(L, 2), len), j = last_of(llmd__lua_arg_integer_or(L, 3, -1), len);
  size_t n = i > j ? 0 : j - i + 1;
  llmd__lua_charge(L, n / 16);
  lua_pushlstring(L, n ? text + i - 1 : "", n);
  return 1;
}

int llmd__lua_string_byte(lua_State *L)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  lua_Integer from = llmd__lua_arg_integer_or(L, 2, 1);
  size_t i = first_of(from, len), j = last_of(llmd__lua_arg_integer_or(L, 3, from), len);
  if (i > j)
    return 0;
  if (j - i >= RESULTS)
    return llmd__lua_misused(L, "more than %d results", RESULTS);
  llmd__lua_stack(L, (int)(j - i + 1));
  llmd__lua_charge(L, (j - i) / 4);
  for (size_t k = i; k <= j; k++)
    lua_pushinteger(L, (unsigned char)text[k - 1]);
  return (int)(j - i + 1);
}

/* Room for a result, collected like everything else. */
static char *room(lua_State *L, size_t n)
{
  llmd__lua_charge(L, n / 16);
  return lua_newuserdatauv(L, n ? n : 1, 0);
}

int llmd__lua_string_char(lua_State *L)
{
  int n = lua_gettop(L);
  char *out;
  if (n > RESULTS)
    return llmd__lua_misused(L, "more than %d bytes", RESULTS);
  llmd__lua_stack(L, 4);
  out = room(L, (size_t)n * 4);
  for (int i = 1; i <= n; i++) {
    lua_Integer code = llmd__lua_arg_integer(L, i);
    if (code < 0 || code > 255)
      return llmd__lua_misused(L, "%I is no byte", (LUAI_UACINT)code);
    out[i - 1] = (char)code;
  }
  lua_pushlstring(L, out, (size_t)n);
  return 1;
}

int llmd__lua_string_reverse(lua_State *L)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  char *out = room(L, len);
  for (size_t i = 0; i < len; i++)
    out[i] = text[len - 1 - i];
  lua_pushlstring(L, out, len);
  return 1;
}

/* Letters from first to first + 25 change by 32. */
static int change_case(lua_State *L, char first)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  char *out = room(L, len);
  for (size_t i = 0; i < len; i++)
    out[i] = text[i] >= first && text[i] <= first + 25 ? (char)(text[i] ^ 0x20) : text[i];
  lua_pushlstring(L, out, len);
  return 1;
}

int llmd__lua_string_upper(lua_State *L)
{
  return change_case(L, 'a');
}

int llmd__lua_string_lower(lua_State *L)
{
  return change_case(L, 'A');
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */

static const char *find_short(const char *text, size_t len, const char *needle, size_t n)
{
  const char *end = text + len;
  while ((size_t)(end - text) >= n) {
    const char *at = memchr(text, needle[0], (size_t)(end - text) - n + 1);
    if (!at || !memcmp(at, needle, n))
      return at;
    text = at + 1;
  }
  return NULL;
}

/* Rabin and Karp: a hash of n bytes that rolls along. Texts made to have equal hashes cost comparisons, which are
 * charged. */
static const char *find_long(lua_State *L, const char *text, size_t len, const char *needle, size_t n)
{
  const uint64_t base = 0x9e3779b97f4a7c15u;
  uint64_t want = 0, have = 0, out = 1;
  for (size_t i = 0; i < n; i++) {
    want = want * base + (unsigned char)needle[i];
    have = have * base + (unsigned char)text[i];
    out *= i ? base : 1;
  }
  for (size_t i = 0;; i++) {
    if (have == want) {
      llmd__lua_charge(L, n / 16);
      if (!memcmp(text + i, needle, n))
        return text + i;
    }
    if (i + n >= len)
      return NULL;
    have = (have - out * (unsigned char)text[i]) * base + (unsigned char)text[i + n];
  }
}

static const char *find(lua_State *L, const char *text, size_t len, const char *needle, size_t n)
{
  if (n > len)
    return NULL;
  if (!n)
    return text;
  llmd__lua_charge(L, len / (n <= SHORT_NEEDLE ? 8 : 4));
  return n <= SHORT_NEEDLE ? find_short(text, len, needle, n) : find_long(L, text, len, needle, n);
}

int llmd__lua_string_find(lua_State *L)
{
  size_t len, n;
  const char *text = llmd__lua_arg_text(L, 1, &len), *needle = llmd__lua_arg_text(L, 2, &n), *at = NULL;
  size_t from = first_of(llmd__lua_arg_integer_or(L, 3, 1), len);
  if (!lua_isnoneornil(L, 4) && !(lua_isboolean(L, 4) && lua_toboolean(L, 4)))
    return llmd__lua_misused(L, "there are no patterns, the needle is plain text: the 4th argument may only be true");
  if (from <= len + 1)
    at = find(L, text + from - 1, len - (from - 1), needle, n);
  if (!at) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, at - text + 1);
  lua_pushinteger(L, at - text + (lua_Integer)n);
  return 2;
}

int llmd__lua_string_starts_with(lua_State *L)
{
  size_t len, n;
  const char *text = llmd__lua_arg_text(L, 1, &len), *start = llmd__lua_arg_text(L, 2, &n);
  llmd__lua_charge(L, n / 16);
  lua_pushboolean(L, n <= len && !memcmp(text, start, n));
  return 1;
}

int llmd__lua_string_ends_with(lua_State *L)
{
  size_t len, n;
  const char *text = llmd__lua_arg_text(L, 1, &len), *ending = llmd__lua_arg_text(L, 2, &n);
  llmd__lua_charge(L, n / 16);
  lua_pushboolean(L, n <= len && !memcmp(text + (len - n), ending, n));
  return 1;
}

static int is_space(char c)
{
  return c == ' ' || (c >= '\t' && c <= '\r');
}

int llmd__lua_string_trim(lua_State *L)
{
  size_t len;
  const char *text = llmd__lua_arg_text(L, 1, &len);
  llmd__lua_charge(L, len / 8);
  for (; len && is_space(text[0]); len--)
    text++;
  while (len && is_space(text[len - 1]))
    len--;
  lua_pushlstring(L, text, len);
  return 1;
}

int llmd__lua_string_split(lua_State *L)
{
  size_t len, n;
  const char *text = llmd__lua_arg_text(L, 1, &len), *separator = llmd__lua_arg_text(L, 2, &n), *at;
  lua_Integer most = llmd__lua_arg_integer_or(L, 3, LUA_MAXINTEGER), pieces = 1;
  if (!n)
    return llmd__lua_misused(L, "the separator is empty");
  if (most < 1)
    return llmd__lua_misused(L, "max is less than 1");
  llmd__lua_stack(L, 4);
  lua_newtable(L);
  while (pieces < most && (at = find(L, text, len, separator, n)) != NULL) {
    llmd__lua_charge(L, 2 + (size_t)(at - text) / 16);
    lua_pushlstring(L, text, (size_t)(at - text));
    lua_rawseti(L, -2, pieces++);
    len -= (size_t)(at - text) + n;
    text = at + n;
  }
  lua_pushlstring(L, text, len);
  lua_rawseti(L, -2, pieces);
  return 1;
}
