#include "model/integral.h"

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* The exponent behind 'e', held within +-100,000: beyond that the answer no longer changes. */
static int64_t exponent(const char *p, const char *end)
{
  int64_t v = 0;
  int negative = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+'))
    p++;
  for (; p < end && is_digit(*p); p++)
    v = v > 9999 ? v : v * 10 + (*p - '0');
  return negative ? -v : v;
}

/* Digits before the point, counting from the first one: 12.5e1 has 3. */
static int64_t whole_digits(const char *p, const char *end)
{
  int64_t n = 0;
  while (p < end && is_digit(*p))
    p++, n++;
  while (p < end && *p != 'e' && *p != 'E')
    p++;
  return p < end ? n + exponent(p + 1, end) : n;
}

int llmd__integral(const char *text, size_t len, int64_t *out, int *saturated)
{
  const char *p = text, *end = text + len;
  int negative = p < end && *p == '-';
  uint64_t v = 0, most = (uint64_t)INT64_MAX + (uint64_t)negative;
  int64_t place;
  int over = 0;
  p += negative;
  place = whole_digits(p, end);
  for (; p < end && *p != 'e' && *p != 'E'; p++) {
    uint64_t digit = (uint64_t)(*p - '0');
    if (*p == '.')
      continue;
    if (place-- <= 0) {
      if (digit)
        return 0;
      continue;
    }
    over |= v > (most - digit) / 10;
    v = over ? 0 : v * 10 + digit;
  }
  for (; place > 0 && v && !over; place--) {
    over = v > most / 10;
    v *= 10;
  }
  *saturated = over;
  *out = over ? (negative ? INT64_MIN : INT64_MAX) : negative ? (int64_t)(0 - v) : (int64_t)v;
  return 1;
}
