/* Numbers as text, whatever the locale: as few digits as read back as the same number.
 *
 * 14 digits are Lua's own; a number that fewer give back shows with those, because zeros at the end are left out (but
 * for those below 1e-300). 17 give back every number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

#define WORK 10u /* what it costs in instructions, roughly */

/* Some locales write another point, of one or more bytes. */
static size_t copy_plain(const char *text, char out[LLMD__LUA_NUMBER_ROOM])
{
  char *to = out;
  int pointed = 0;
  for (const char *p = text; *p; p++) {
    if (strchr("0123456789+-e" "inf" "nan", *p))
      *to++ = *p;
    else if (!pointed++)
      *to++ = '.';
  }
  *to = 0;
  return (size_t)(to - out);
}

size_t llmd__lua_real_text(double v, char out[LLMD__LUA_NUMBER_ROOM])
{
  static const char *const formats[] = {"%.14g", "%.15g", "%.16g", "%.17g"};
  char text[LLMD__LUA_NUMBER_ROOM]; /* longest: -1.7976931348623157e+308 */
  if (v != v || v - v != 0)
    return copy_plain(v != v ? "nan" : v > 0 ? "inf" : "-inf", out);
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    snprintf(text, sizeof text, formats[i], v);
    if (strtod(text, NULL) == v) /* of the same locale */
      break;
  }
  return copy_plain(text, out);
}

size_t llmd__lua_number_text(lua_State *L, int idx, char out[LLMD__LUA_NUMBER_ROOM])
{
  size_t len;
  llmd__lua_charge(L, WORK);
  if (lua_isinteger(L, idx))
    return (size_t)snprintf(out, LLMD__LUA_NUMBER_ROOM, LUA_INTEGER_FMT, lua_tointeger(L, idx));
  len = llmd__lua_real_text(lua_tonumber(L, idx), out);
  if (out[strspn(out, "-0123456789")] != 0)
    return len;
  memcpy(out + len, ".0", 3);
  return len + 2;
}
