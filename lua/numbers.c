/* Numbers as text, whatever the locale: shortest where that is easy to know, else with all 17 digits.
 *
 * m / 10^k with m < 2^53 and k <= 22 is rounded once, so it is exactly what a reader makes of the digits m with the
 * point k places from the right. The least such k gives the shortest text. */
#include <stdio.h>
#include <string.h>

#include "module.h"

#define EXACT 9007199254740992.0 /* 2^53 */

static int short_text(double v, char *buf)
{
  double power = 1;
  for (int k = 0; k <= 17; k++, power *= 10) {
    double m = v * power;
    uint64_t digits;
    if (!(m < EXACT))
      return 0;
    digits = (uint64_t)(m + 0.5);
    if ((double)digits / power != v)
      continue;
    if (!k)
      return snprintf(buf, LLMD__LUA_PLAIN_ROOM - 1, "%llu", (unsigned long long)digits);
    {
      uint64_t unit = (uint64_t)power;
      return snprintf(buf, LLMD__LUA_PLAIN_ROOM - 1, "%llu.%0*llu", (unsigned long long)(digits / unit), k,
                      (unsigned long long)(digits % unit));
    }
  }
  return 0;
}

/* Some locales write another point, of one or more bytes. */
static void plain_point(char *buf)
{
  char *to = buf;
  int pointed = 0;
  for (const char *p = buf; *p; p++) {
    if (strchr("0123456789+-e", *p))
      *to++ = *p;
    else if (!pointed++)
      *to++ = '.';
  }
  *to = 0;
}

const char *llmd__lua_plain_number(double v, char buf[LLMD__LUA_PLAIN_ROOM])
{
  char *at = buf;
  if (v != v || v - v != 0) {
    memcpy(buf, v != v ? "nan" : v > 0 ? "inf" : "-inf", v < 0 ? 5 : 4);
    return buf;
  }
  if (v < 0) {
    *at++ = '-';
    v = -v;
  }
  if (!short_text(v, at)) {
    snprintf(at, LLMD__LUA_PLAIN_ROOM - 1, "%.17g", v);
    plain_point(at);
  }
  return buf;
}
