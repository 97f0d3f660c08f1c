#include "base/number.h"

#include <float.h>
#include <string.h>

#include <llmd/error.h>

#include "base/bignum.h"

/* More digits than this cannot change a rounding: no halfway point between two doubles has more than 767. */
#define DIGITS_MAX 768
#define MANTISSA_MAX ((uint64_t)1 << 53)

/* Powers of ten that a double holds exactly. */
static const double exact_pow10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static uint64_t to_bits(double v)
{
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static double from_bits(uint64_t bits)
{
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* ==== integers ==== */

int llmd__parse_u64(const char *p, size_t n, uint64_t *out)
{
  uint64_t v = 0;
  if (n == 0)
    return LLMD_E_SYNTAX;
  for (size_t i = 0; i < n; i++)
    if (!is_digit(p[i]))
      return LLMD_E_SYNTAX;
  for (size_t i = 0; i < n; i++) {
    const uint64_t d = (uint64_t)(p[i] - '0');
    if (v > (UINT64_MAX - d) / 10)
      return LLMD_E_RANGE;
    v = v * 10 + d;
  }
  *out = v;
  return 0;
}

int llmd__parse_i64(const char *p, size_t n, int64_t *out)
{
  int negative, rc;
  uint64_t v;
  if (n == 0)
    return LLMD_E_SYNTAX;
  negative = p[0] == '-';
  rc = llmd__parse_u64(p + negative, n - (size_t)negative, &v);
  if (rc < 0)
    return rc;
  if (v > (uint64_t)INT64_MAX + (uint64_t)negative)
    return LLMD_E_RANGE;
  *out = !negative ? (int64_t)v : v > INT64_MAX ? INT64_MIN : -(int64_t)v;
  return 0;
}

/* ==== text to double ==== */

/* The number taken apart: value = digits * 10^exponent, the digits read as one integer from the first that is not 0
 * (a point may lie between them). `head` holds the first 19 of them, which always fit. */
struct decimal {
  const char *digits;
  int64_t n_digits;
  uint64_t head;
  int64_t exponent;
  int negative;
};

/* [e [+-] digits] at p. Exponents of absurd size saturate: with 2^40 no length of digits can bring them back. */
static int split_exponent(const char *p, const char *end, int64_t *exponent)
{
  const int64_t saturated = (int64_t)1 << 40;
  int64_t e = 0;
  int negative = 0;
  if (p == end)
    return 0;
  if (*p != 'e' && *p != 'E')
    return LLMD_E_SYNTAX;
  p++;
  if (p < end && (*p == '+' || *p == '-'))
    negative = *p++ == '-';
  if (p == end)
    return LLMD_E_SYNTAX;
  for (; p < end; p++) {
    if (!is_digit(*p))
      return LLMD_E_SYNTAX;
    if (e < saturated)
      e = e * 10 + (*p - '0');
  }
  *exponent += negative ? -e : e;
  return 0;
}

static int split(const char *p, size_t n, struct decimal *d)
{
  const char *end = p + n;
  int seen = 0, point = 0;
  memset(d, 0, sizeof *d);
  if (p < end && (*p == '+' || *p == '-'))
    d->negative = *p++ == '-';
  for (; p < end; p++) {
    if (*p == '.' && !point) {
      point = 1;
      continue;
    }
    if (!is_digit(*p))
      break;
    seen = 1;
    d->exponent -= point;
    if (d->n_digits == 0 && *p == '0')
      continue;
    if (d->n_digits++ == 0)
      d->digits = p;
    if (d->n_digits <= 19)
      d->head = d->head * 10 + (uint64_t)(*p - '0');
  }
  return seen ? split_exponent(p, end, &d->exponent) : LLMD_E_SYNTAX;
}

/* The common case: both the digits and the power of ten are exact doubles, so one operation rounds once, correctly. */
static int convert_exact(const struct decimal *d, double *out)
{
  int64_t e = d->exponent;
  uint64_t w = d->head;
  if (FLT_EVAL_METHOD != 0 || d->n_digits > 19 || w > MANTISSA_MAX || e < -22 || e > 22 + 15)
    return 0;
  for (; e > 22; e--) {
    if (w > MANTISSA_MAX / 10)
      return 0;
    w *= 10;
  }
  *out = e < 0 ? (double)w / exact_pow10[-e] : (double)w * exact_pow10[e];
  return 1;
}

static int any_nonzero(const char *p, int64_t n_digits)
{
  for (; n_digits; p++) {
    if (*p != '0' && *p != '.')
      return 1;
    n_digits -= *p != '.';
  }
  return 0;
}

/* The digits as one big number. When there are more than DIGITS_MAX, what is cut off only matters as "nothing" or
 * "more": one digit 0 or 1 stands for it. *dropped = how many powers of ten that took out of the number. */
static void load_digits(const struct decimal *d, llmd__bignum *n, int64_t *dropped)
{
  static const uint32_t pow10[10] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
  const int64_t keep = d->n_digits > DIGITS_MAX ? DIGITS_MAX : d->n_digits;
  const char *p = d->digits;
  int64_t taken = 0;
  llmd__bignum_set(n, 0);
  while (taken < keep) {
    uint32_t chunk = 0, len = 0;
    for (; taken < keep && len < 9; p++)
      if (*p != '.') {
        chunk = chunk * 10 + (uint32_t)(*p - '0');
        len++;
        taken++;
      }
    llmd__bignum_muladd(n, pow10[len], chunk);
  }
  *dropped = d->n_digits - keep;
  if (*dropped) {
    llmd__bignum_muladd(n, 10, (uint32_t)any_nonzero(p, *dropped));
    *dropped -= 1;
  }
}

/* 64 bits of n / d, which must lie between 1/2 and 2: floor(n * 2^63 / d). *more = something is left over. */
static uint64_t divide(llmd__bignum *n, const llmd__bignum *d, int *more)
{
  uint64_t q = 0;
  for (int i = 0; i < 64; i++) {
    q <<= 1;
    if (llmd__bignum_cmp(n, d) >= 0) {
      llmd__bignum_sub(n, d);
      q |= 1;
    }
    llmd__bignum_shl(n, 1);
  }
  *more = n->n != 0;
  return q;
}

/* q * 2^e to the nearest double, ties to even; `more` = a little above q. Returns bits of a positive double or
 * infinity. */
static uint64_t round_to_double(uint64_t q, int64_t e, int more)
{
  int64_t drop = 11, top;
  uint64_t mantissa, rest, half;
  for (; !(q >> 63); q <<= 1)
    e--;
  top = e + 63; /* value is in [2^top, 2^(top + 1)) */
  if (top > 1023)
    return (uint64_t)0x7ff << 52;
  if (top < -1022)
    drop += -1022 - top; /* subnormal: fewer bits are kept */
  if (drop > 64)
    return 0;
  mantissa = drop == 64 ? 0 : q >> drop;
  half = (uint64_t)1 << (drop - 1);
  rest = drop == 64 ? q : q & (half * 2 - 1);
  mantissa += rest > half || (rest == half && (more || (mantissa & 1)));
  /* Adding instead of joining lets a mantissa that rounded up to 2^53 carry into the exponent. */
  return top < -1022 ? mantissa : ((uint64_t)(top + 1022) << 52) + mantissa;
}

/* Any decimal: divide exactly with big numbers, keep 64 bits and whether there was more, round once. */
static int convert_exactly_rounded(const struct decimal *d, double *out)
{
  llmd__bignum num, den;
  int64_t dropped, e, shift;
  uint64_t q;
  int more;
  if (d->n_digits + d->exponent > 310)
    return LLMD_E_RANGE;
  if (d->n_digits + d->exponent < -330) {
    *out = 0;
    return 0;
  }
  load_digits(d, &num, &dropped);
  e = d->exponent + dropped; /* value = num * 10^e = num * 5^e * 2^e */
  llmd__bignum_set(&den, 1);
  llmd__bignum_mul_pow5(e < 0 ? &den : &num, (uint32_t)(e < 0 ? -e : e));
  shift = (int64_t)llmd__bignum_bits(&den) - (int64_t)llmd__bignum_bits(&num);
  llmd__bignum_shl(shift < 0 ? &den : &num, (uint32_t)(shift < 0 ? -shift : shift));
  q = divide(&num, &den, &more);
  q = round_to_double(q, e - shift - 63, more);
  if (q >= (uint64_t)0x7ff << 52)
    return LLMD_E_RANGE;
  *out = from_bits(q);
  return 0;
}

int llmd__parse_double(const char *p, size_t n, double *out)
{
  struct decimal d;
  double v = 0;
  int rc = n ? split(p, n, &d) : LLMD_E_SYNTAX;
  if (rc == 0 && d.n_digits && !convert_exact(&d, &v))
    rc = convert_exactly_rounded(&d, &v);
  if (rc < 0)
    return rc;
  *out = d.negative ? -v : v;
  return 0;
}

/* ==== double to text ==== */

/* Significant digits without trailing zeros; value = 0.DIGITS * 10^point. */
struct shortest {
  char digit[24];
  int n, point;
};

/* Whole numbers below 2^53, and up to 15 digits: the smallest p for which v * 10^p, rounded to an integer w, gives v
 * back as w / 10^p. Two decimals of that length never share a double, so the first that fits is the shortest. */
static int shorten_exact(double v, struct shortest *s)
{
  if (FLT_EVAL_METHOD != 0 || v < 1e-5 || v >= (double)MANTISSA_MAX)
    return 0;
  for (int p = 0; p <= 22 && (p == 0 || v * exact_pow10[p] < 1e15 - 1); p++) {
    uint64_t w = (uint64_t)(v * exact_pow10[p] + 0.5);
    if ((double)w / exact_pow10[p] != v)
      continue;
    s->n = 0;
    for (uint64_t rest = w; rest; rest /= 10)
      s->n++;
    s->point = s->n - p;
    for (int i = s->n; i-- > 0; w /= 10)
      s->digit[i] = (char)('0' + w % 10);
    return 1;
  }
  return 0;
}

/* value = r / s; the digits may stop as soon as what is left out is less than `below` downwards or `above` upwards,
 * half the way to the neighbouring doubles. All four share one scale. (Steele and White; Dragon4.) */
struct dragon {
  llmd__bignum r, s, below, above;
  int closed; /* an even mantissa owns its halfway points */
};

static void dragon_start(struct dragon *g, uint64_t bits)
{
  const int biased = (int)(bits >> 52);
  const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
  const uint64_t f = biased ? fraction | (uint64_t)1 << 52 : fraction;
  const int e = (biased ? biased : 1) - 1075;
  const uint32_t wide = fraction == 0 && biased > 1; /* a power of two: the double below is only half as far */
  const uint32_t up = e > 0 ? (uint32_t)e : 0, down = e < 0 ? (uint32_t)-e : 0;
  llmd__bignum_set(&g->r, f);
  llmd__bignum_set(&g->s, 1);
  llmd__bignum_set(&g->below, 1);
  llmd__bignum_set(&g->above, 1);
  llmd__bignum_shl(&g->r, up + 1 + wide);
  llmd__bignum_shl(&g->s, down + 1 + wide);
  llmd__bignum_shl(&g->below, up);
  llmd__bignum_shl(&g->above, up + wide);
  g->closed = !(f & 1);
}

static int dragon_high(const struct dragon *g)
{
  llmd__bignum sum;
  int c;
  llmd__bignum_copy(&sum, &g->r);
  llmd__bignum_add(&sum, &g->above);
  c = llmd__bignum_cmp(&sum, &g->s);
  return g->closed ? c >= 0 : c > 0;
}

static int dragon_low(const struct dragon *g)
{
  const int c = llmd__bignum_cmp(&g->r, &g->below);
  return g->closed ? c <= 0 : c < 0;
}

static void dragon_mul10(struct dragon *g)
{
  llmd__bignum_muladd(&g->r, 10, 0);
  llmd__bignum_muladd(&g->below, 10, 0);
  llmd__bignum_muladd(&g->above, 10, 0);
}

/* Scales so that r / s is in [1/10, 1) and returns the place of the point: 10^(point - 1) <= value < 10^point. */
static int dragon_scale(struct dragon *g)
{
  /* floor(log2(value)); r carries the same extra factors of two as s. */
  const int64_t log2 = (int64_t)llmd__bignum_bits(&g->r) - (int64_t)llmd__bignum_bits(&g->s);
  const int64_t scaled = log2 * 1262611; /* log10(2) * 2^22 */
  int point = (int)(scaled >= 0 ? scaled >> 22 : -((-scaled + (1 << 22) - 1) >> 22)) + 1;
  if (point > 0) {
    llmd__bignum_mul_pow10(&g->s, (uint32_t)point);
  } else {
    llmd__bignum_mul_pow10(&g->r, (uint32_t)-point);
    llmd__bignum_mul_pow10(&g->below, (uint32_t)-point);
    llmd__bignum_mul_pow10(&g->above, (uint32_t)-point);
  }
  if (dragon_high(g)) { /* the logarithm was of the power of two below */
    point++;
    llmd__bignum_muladd(&g->s, 10, 0);
  }
  return point;
}

static void shorten_any(uint64_t bits, struct shortest *s)
{
  struct dragon g;
  int digit, low, high;
  dragon_start(&g, bits);
  s->point = dragon_scale(&g);
  s->n = 0;
  do {
    dragon_mul10(&g);
    for (digit = 0; llmd__bignum_cmp(&g.r, &g.s) >= 0; digit++)
      llmd__bignum_sub(&g.r, &g.s);
    low = dragon_low(&g);
    high = dragon_high(&g);
    s->digit[s->n++] = (char)('0' + digit);
  } while (!low && !high);
  if (low && high) {
    llmd__bignum_shl(&g.r, 1);
    high = llmd__bignum_cmp(&g.r, &g.s) >= 0;
  }
  s->digit[s->n - 1] = (char)(s->digit[s->n - 1] + high);
}

static char *put(char *p, const char *text, int n)
{
  memcpy(p, text, (size_t)n);
  return p + n;
}

static char *put_zeros(char *p, int n)
{
  memset(p, '0', (size_t)n);
  return p + n;
}

static char *put_exponent(char *p, int e)
{
  *p++ = 'e';
  *p++ = e < 0 ? '-' : '+';
  e = e < 0 ? -e : e;
  if (e >= 100)
    *p++ = (char)('0' + e / 100);
  if (e >= 10)
    *p++ = (char)('0' + e / 10 % 10);
  *p++ = (char)('0' + e % 10);
  return p;
}

static char *put_digits(char *p, const struct shortest *s)
{
  if (s->point > 21 || s->point <= -6) {
    *p++ = s->digit[0];
    if (s->n > 1) {
      *p++ = '.';
      p = put(p, s->digit + 1, s->n - 1);
    }
    return put_exponent(p, s->point - 1);
  }
  if (s->point <= 0) {
    p = put(p, "0.", 2);
    p = put_zeros(p, -s->point);
    return put(p, s->digit, s->n);
  }
  if (s->n <= s->point) {
    p = put(p, s->digit, s->n);
    return put_zeros(p, s->point - s->n);
  }
  p = put(p, s->digit, s->point);
  *p++ = '.';
  return put(p, s->digit + s->point, s->n - s->point);
}

static size_t format_special(const char *text, char *out)
{
  const size_t n = strlen(text);
  memcpy(out, text, n + 1);
  return n;
}

size_t llmd__format_double(double v, char out[LLMD__NUMBER_ROOM])
{
  const uint64_t infinity = (uint64_t)0x7ff << 52;
  const uint64_t bits = to_bits(v), magnitude = bits & ~((uint64_t)1 << 63);
  struct shortest s;
  char *p = out;
  if (magnitude > infinity)
    return format_special("NaN", out);
  if (magnitude == infinity)
    return format_special(bits == infinity ? "+Inf" : "-Inf", out);
  if (magnitude == 0)
    return format_special(bits ? "-0" : "0", out);
  if (bits != magnitude)
    *p++ = '-';
  if (!shorten_exact(from_bits(magnitude), &s))
    shorten_any(magnitude, &s);
  p = put_digits(p, &s);
  *p = 0;
  return (size_t)(p - out);
}
