#include "base/scalar.h"

#include "base/number.h"
#include "base/tree.h"

#include <math.h>
#include <string.h>

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static size_t digits(const char *p, size_t n)
{
  size_t i = 0;
  while (i < n && is_digit(p[i]))
    i++;
  return i;
}

static size_t sign(const char *p, size_t n)
{
  return n && (p[0] == '-' || p[0] == '+');
}

static int among(const char *p, size_t n, const char *const *words)
{
  for (; *words; words++)
    if (strlen(*words) == n && memcmp(*words, p, n) == 0)
      return 1;
  return 0;
}

/* null, booleans, .inf, .nan */
static int read_word(const char *p, size_t n, llmd__scalar *out)
{
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
  static const char *const trues[] = {"true", "True", "TRUE", NULL};
  static const char *const falses[] = {"false", "False", "FALSE", NULL};
  static const char *const infs[] = {".inf", ".Inf", ".INF", NULL};
  static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
  size_t s = sign(p, n);
  if (among(p, n, nulls)) {
    out->kind = LLMD__NULL;
  } else if (among(p, n, trues) || among(p, n, falses)) {
    out->kind = LLMD__BOOL;
    out->integer = p[0] == 't' || p[0] == 'T';
  } else if (among(p + s, n - s, infs)) {
    out->kind = LLMD__FLOAT;
    out->real = p[0] == '-' ? -INFINITY : INFINITY;
  } else if (among(p, n, nans)) {
    out->kind = LLMD__FLOAT;
    out->real = NAN;
  } else {
    return 0;
  }
  return 1;
}

static int digit_value(char c)
{
  if (is_digit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* 0x1f, 0o17, within int64. */
static int read_based(const char *p, size_t n, llmd__scalar *out)
{
  int base = n > 2 && p[0] == '0' ? (p[1] == 'x' ? 16 : p[1] == 'o' ? 8 : 0) : 0;
  int64_t v = 0;
  if (base == 0)
    return 0;
  for (size_t i = 2; i < n; i++) {
    int d = digit_value(p[i]);
    if (d >= base || v > (INT64_MAX - d) / base)
      return 0;
    v = v * base + d;
  }
  out->kind = LLMD__INT;
  out->integer = v;
  out->real = (double)v;
  return 1;
}

/* Digits alone. With a leading zero they are octal in YAML 1.1 and decimal in 1.2: left as text. */
static int read_integer(const char *p, size_t n, llmd__scalar *out)
{
  size_t s = sign(p, n);
  if (n - s > 1 && p[s] == '0')
    return 0;
  if (p[0] == '+') {
    p++;
    n--;
  }
  if (llmd__parse_double(p, n, &out->real) != LLMD_OK)
    out->real = p[0] == '-' ? -INFINITY : INFINITY;
  if (llmd__parse_i64(p, n, &out->integer) == LLMD_OK) {
    out->kind = LLMD__INT;
    return 1;
  }
  out->kind = LLMD__FLOAT;
  out->flags = LLMD__NODE_BIG;
  return 1;
}

/* [-+] digits [. digits] [e [-+] digits], digits on at least one side of the point. */
static int read_number(const char *p, size_t n, llmd__scalar *out)
{
  size_t start = sign(p, n), i = start;
  size_t whole = digits(p + i, n - i), fraction = 0;
  i += whole;
  if (whole && i == n)
    return read_integer(p, n, out);
  if (i < n && p[i] == '.') {
    i++;
    fraction = digits(p + i, n - i);
    i += fraction;
  }
  if (whole + fraction == 0)
    return 0;
  if (i < n && (p[i] == 'e' || p[i] == 'E')) {
    i++;
    i += sign(p + i, n - i);
    size_t exponent = digits(p + i, n - i);
    i += exponent;
    if (exponent == 0)
      return 0;
  }
  if (i < n)
    return 0;
  out->kind = LLMD__FLOAT;
  if (llmd__parse_double(p, n, &out->real) != LLMD_OK)
    out->real = p[0] == '-' ? -INFINITY : INFINITY;
  return 1;
}

void llmd__scalar_read(const char *p, size_t n, llmd__scalar *out)
{
  memset(out, 0, sizeof *out);
  if (!read_word(p, n, out) && !read_based(p, n, out) && !read_number(p, n, out))
    out->kind = LLMD__STR;
}
