#include "base/quantity.h"

#include <llmd/error.h>

#include <string.h>

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* Reads a sign; returns how many characters it took. */
static size_t read_sign(const char *p, size_t n, int *negative)
{
  *negative = n && p[0] == '-';
  return n && (p[0] == '-' || p[0] == '+');
}

/* Applies the sign to a magnitude of at most 2^63. */
static int64_t with_sign(uint64_t magnitude, int negative)
{
  if (!negative)
    return (int64_t)magnitude;
  return magnitude == UINT64_C(1) << 63 ? INT64_MIN : -(int64_t)magnitude;
}

/* ==== durations ==== */

#define MAX_MAGNITUDE (UINT64_C(1) << 63)

static const struct {
  char name[4];
  uint64_t ns;
} units[] = {
    {"ns", 1},         {"us", 1000},         {"\xc2\xb5s", 1000},       {"\xce\xbcs", 1000},
    {"ms", 1000000},   {"s", 1000000000},    {"m", UINT64_C(60000000000)}, {"h", UINT64_C(3600000000000)},
};

static uint64_t unit_ns(const char *p, size_t n)
{
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (strlen(units[i].name) == n && memcmp(units[i].name, p, n) == 0)
      return units[i].ns;
  return 0;
}

/* Digits after the point as number and power of ten. Digits that no longer fit are dropped, as in Go. */
static size_t read_fraction(const char *p, size_t n, uint64_t *number, double *scale)
{
  size_t i = 0;
  int full = 0;
  *number = 0;
  *scale = 1;
  for (; i < n && is_digit(p[i]); i++) {
    uint64_t longer = full ? 0 : *number * 10 + (uint64_t)(p[i] - '0');
    full = full || longer > MAX_MAGNITUDE;
    if (full)
      continue;
    *number = longer;
    *scale *= 10;
    full = longer > (MAX_MAGNITUDE - 1) / 10;
  }
  return i;
}

/* One "<number><unit>" at p: adds it to *sum, returns the characters it took or an error. */
static int read_part(const char *p, size_t n, uint64_t *sum)
{
  uint64_t whole = 0, fraction = 0;
  double scale = 1;
  size_t i = 0, digits = 0;
  for (; i < n && is_digit(p[i]); i++, digits++) {
    if (whole > MAX_MAGNITUDE / 10)
      return LLMD_E_RANGE;
    whole = whole * 10 + (uint64_t)(p[i] - '0');
    if (whole > MAX_MAGNITUDE)
      return LLMD_E_RANGE;
  }
  if (i < n && p[i] == '.') {
    size_t after = read_fraction(p + i + 1, n - i - 1, &fraction, &scale);
    i += 1 + after;
    digits += after;
  }
  size_t start = i;
  while (i < n && p[i] != '.' && !is_digit(p[i]))
    i++;
  uint64_t unit = unit_ns(p + start, i - start);
  if (digits == 0 || unit == 0)
    return LLMD_E_SYNTAX;
  if (whole > MAX_MAGNITUDE / unit)
    return LLMD_E_RANGE;
  /* Go's own arithmetic, so that the last nanosecond agrees. */
  uint64_t value = whole * unit + (uint64_t)((double)fraction * ((double)unit / scale));
  if (value > MAX_MAGNITUDE || *sum > MAX_MAGNITUDE - value)
    return LLMD_E_RANGE;
  *sum += value;
  return (int)i;
}

int llmd__parse_duration(const char *p, size_t n, int64_t *out)
{
  uint64_t sum = 0;
  int negative;
  if (n > INT32_MAX)
    return LLMD_E_SYNTAX;
  size_t i = read_sign(p, n, &negative);
  if (n - i == 1 && p[i] == '0') {
    *out = 0;
    return LLMD_OK;
  }
  if (i == n)
    return LLMD_E_SYNTAX;
  while (i < n) {
    int took = read_part(p + i, n - i, &sum);
    if (took < 0)
      return took;
    i += (size_t)took;
  }
  if (sum == MAX_MAGNITUDE && !negative)
    return LLMD_E_RANGE;
  *out = with_sign(sum, negative);
  return LLMD_OK;
}

static size_t put_number(char *out, uint64_t v)
{
  char digits[20];
  size_t n = 0, len = 0;
  do {
    digits[n++] = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  while (n)
    out[len++] = digits[--n];
  return len;
}

/* v units and below ("1.5" of 1500000000 / 1000000000), without trailing zeros. */
static size_t put_decimal(char *out, uint64_t v, uint64_t unit)
{
  size_t len = put_number(out, v / unit);
  uint64_t rest = v % unit;
  if (rest)
    out[len++] = '.';
  while (rest) {
    unit /= 10;
    out[len++] = (char)('0' + rest / unit);
    rest %= unit;
  }
  return len;
}

static size_t put_text(char *out, const char *text)
{
  size_t n = strlen(text);
  memcpy(out, text, n);
  return n;
}

/* What is left below a minute. Seconds when a larger unit stands before it, else the largest unit that fits. */
static size_t put_below_minute(char *out, uint64_t ns, int after_larger)
{
  const char *name = "s";
  uint64_t unit = 1000000000;
  if (ns < unit && ns && !after_larger) {
    unit = ns >= 1000000 ? 1000000 : ns >= 1000 ? 1000 : 1;
    name = ns >= 1000000 ? "ms" : ns >= 1000 ? "us" : "ns";
  }
  size_t len = put_decimal(out, ns, unit);
  return len + put_text(out + len, name);
}

size_t llmd__format_duration(int64_t ns, char out[LLMD__DURATION_LEN])
{
  static const uint64_t minute = UINT64_C(60000000000), hour = UINT64_C(3600000000000);
  uint64_t left = ns < 0 ? (uint64_t)-(ns + 1) + 1 : (uint64_t)ns;
  int larger = left >= minute;
  size_t len = 0;
  if (ns < 0)
    out[len++] = '-';
  if (left >= hour) {
    len += put_number(out + len, left / hour);
    out[len++] = 'h';
    left %= hour;
  }
  if (left >= minute) {
    len += put_number(out + len, left / minute);
    out[len++] = 'm';
    left %= minute;
  }
  if (left || !larger)
    len += put_below_minute(out + len, left, larger);
  out[len] = 0;
  return len;
}

/* ==== quantities ==== */

/* 19 decimal digits times 2^60 ("Ei") needs 124 bits. */
__extension__ typedef unsigned __int128 wide;

/* A decimal number on its way: (digits + a little more if rest) * 10^exp10. */
struct decimal {
  wide digits;
  int rest;
  int64_t exp10;
  size_t seen;
};

/* Takes up to 19 significant digits; further ones only say that there is a little more. */
static size_t read_digits(const char *p, size_t n, struct decimal *d, int after_point)
{
  static const wide full = UINT64_C(1000000000000000000);
  size_t i = 0;
  for (; i < n && is_digit(p[i]); i++) {
    int kept = d->digits < full;
    if (kept)
      d->digits = d->digits * 10 + (unsigned char)(p[i] - '0');
    else
      d->rest |= p[i] != '0';
    d->exp10 += (kept ? 0 : 1) - (after_point ? 1 : 0);
  }
  d->seen += i;
  return i;
}

/* "e3", "E-2": adds to the exponent. Far beyond any use it stops counting. */
static int read_exponent(const char *p, size_t n, int64_t *exp10)
{
  int negative;
  int64_t v = 0;
  size_t i = 1 + read_sign(p + 1, n - 1, &negative);
  if (i == n)
    return LLMD_E_SYNTAX;
  for (; i < n; i++) {
    if (!is_digit(p[i]))
      return LLMD_E_SYNTAX;
    if (v < 1000000)
      v = v * 10 + (p[i] - '0');
  }
  *exp10 += negative ? -v : v;
  return LLMD_OK;
}

/* What follows the number: a power of two in *shift or a power of ten added to *exp10. */
static int read_suffix(const char *p, size_t n, int64_t *exp10, int *shift)
{
  static const char decimal[] = "num\0kMGTPE", binary[] = "KMGTPE";
  const char *at;
  *shift = 0;
  if (n == 0)
    return LLMD_OK;
  if (n == 1 && p[0] && (at = memchr(decimal, p[0], sizeof decimal - 1)) != NULL) {
    *exp10 += 3 * (at - decimal) - 9;
    return LLMD_OK;
  }
  if (n == 2 && p[1] == 'i' && p[0] && (at = strchr(binary, p[0])) != NULL) {
    *shift = 10 * (int)(at - binary + 1);
    return LLMD_OK;
  }
  return p[0] == 'e' || p[0] == 'E' ? read_exponent(p, n, exp10) : LLMD_E_SYNTAX;
}

/* The value rounded up, at most INT64_MAX. */
static int64_t to_integer(struct decimal d, int shift)
{
  wide v = d.digits << shift;
  for (; d.exp10 > 0 && v && v <= INT64_MAX; d.exp10--)
    v *= 10;
  for (; d.exp10 < 0 && v; d.exp10++) {
    d.rest |= v % 10 != 0;
    v /= 10;
  }
  if (d.rest)
    v++;
  return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

int llmd__parse_quantity(const char *p, size_t n, int64_t *out)
{
  struct decimal d = {0, 0, 0, 0};
  int negative, shift;
  size_t i = read_sign(p, n, &negative);
  i += read_digits(p + i, n - i, &d, 0);
  if (i < n && p[i] == '.') {
    i++;
    i += read_digits(p + i, n - i, &d, 1);
  }
  if (d.seen == 0)
    return LLMD_E_SYNTAX;
  int rc = read_suffix(p + i, n - i, &d.exp10, &shift);
  if (rc)
    return rc;
  int64_t v = to_integer(d, shift);
  *out = negative ? -v : v;
  return LLMD_OK;
}
