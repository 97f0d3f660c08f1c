/* Rungs as a person writes them: "15:50w,3:20,10:20". */
#include "sim_workload.h"

#include <stdlib.h>
#include <string.h>

#include "sim_text.h"

#define MOST_RATES 1000

/* A decimal number; *p moves behind it. Returns 0 when there is none. */
static int read_decimal(const char **p, double *value)
{
  const char *s = *p;
  double v = 0, unit = 1;
  uint32_t digits = 0;
  for (; *s >= '0' && *s <= '9'; s++, digits++)
    v = v * 10 + (*s - '0');
  if (*s == '.')
    for (s++; *s >= '0' && *s <= '9'; s++, digits++)
      v += (*s - '0') * (unit /= 10);
  *value = v;
  *p = s;
  return digits > 0 && digits < 16;
}

static int bad(llmd_err *err, int code, const char *text, const char *at, const char *what)
{
  code = sim_fail(err, code, NULL, 0, "%s", what);
  if (err)
    err->column = (uint32_t)(at - text) + 1;
  return code;
}

static int read_rate(const char **p, const char *text, struct sim_rate *rate, llmd_err *err)
{
  const char *start = *p;
  if (!read_decimal(p, &rate->rate) || **p != ':')
    return bad(err, LLMD_E_SYNTAX, text, *p, "expected RATE:SECONDS");
  ++*p;
  if (!read_decimal(p, &rate->duration))
    return bad(err, LLMD_E_SYNTAX, text, *p, "expected RATE:SECONDS");
  rate->warmup = **p == 'w';
  *p += rate->warmup;
  if (!(rate->rate > 0 && rate->rate <= 1e5 && rate->duration > 0 && rate->duration <= 1e6))
    return bad(err, LLMD_E_RANGE, text, start, "rate or duration out of range");
  return 0;
}

int sim_rates_parse(const char *text, struct sim_rate **rates, uint32_t *n_rates, llmd_err *err)
{
  struct sim_rate *list;
  uint32_t n = 1, i = 0;
  int code = 0;
  for (const char *p = text; *p; p++)
    n += *p == ',';
  if (n > MOST_RATES)
    return bad(err, LLMD_E_LIMIT, text, text, "more than 1000 rungs");
  list = calloc(n, sizeof *list);
  if (!list)
    return sim_fail(err, LLMD_E_NOMEM, NULL, 0, "out of memory");
  for (const char *p = text; code == 0 && i < n; i++) {
    code = read_rate(&p, text, &list[i], err);
    if (code == 0 && *p != (i + 1 < n ? ',' : '\0'))
      code = bad(err, LLMD_E_SYNTAX, text, p, "expected a comma between rungs");
    p++;
  }
  if (code) {
    free(list);
    return code;
  }
  *rates = list;
  *n_rates = n;
  return 0;
}
