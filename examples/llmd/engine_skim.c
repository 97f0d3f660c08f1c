#include "engine_skim.h"

#include <string.h>

#include <llmd/error.h>

static const char *skip_blanks(const char *p, const char *end)
{
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
    p++;
  return p;
}

/* Behind the quote that ends the string that begins before p; NULL: it does not end. */
static const char *skip_string(const char *p, const char *end)
{
  for (;;) {
    const char *quote = memchr(p, '"', (size_t)(end - p)), *slash = quote;
    if (!quote)
      return NULL;
    while (slash > p && slash[-1] == '\\')
      slash--;
    if ((quote - slash) % 2 == 0)
      return quote + 1;
    p = quote + 1;
  }
}

/* Behind a value, whatever it is. */
static const char *skip_value(const char *p, const char *end)
{
  int depth = 0;
  while (p < end) {
    const char c = *p;
    if (c == '"') {
      p = skip_string(p + 1, end);
      if (!p)
        return NULL;
      if (depth == 0)
        return p;
      continue;
    }
    if (c == '{' || c == '[')
      depth++;
    else if (c == '}' || c == ']') {
      if (depth == 0)
        return p;
      if (--depth == 0)
        return p + 1;
    } else if (c == ',' && depth == 0)
      return p;
    p++;
  }
  return depth ? NULL : p;
}

static int is(llmd_str s, const char *text)
{
  return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

static int holds(llmd_str s, const char *text)
{
  const size_t len = strlen(text);
  for (size_t i = 0; i + len <= s.len; i++)
    if (memcmp(s.ptr + i, text, len) == 0)
      return 1;
  return 0;
}

static double digits(llmd_str s)
{
  double n = 0;
  for (size_t i = 0; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
    n = n * 10 + (s.ptr[i] - '0');
  return n;
}

static void take(struct engine_skim *s, llmd_str name, llmd_str value)
{
  if (is(name, "model") && value.len >= 2 && *value.ptr == '"') {
    s->model.ptr = value.ptr + 1;
    s->model.len = value.len - 2;
  } else if (is(name, "stream"))
    s->stream = *value.ptr == 't';
  else if (is(name, "stream_options"))
    s->include_usage = holds(value, "\"include_usage\":true") || holds(value, "\"include_usage\": true");
  else if (is(name, "max_tokens") || is(name, "max_completion_tokens"))
    s->max_tokens = digits(value);
}

/* One member, and the comma behind it: where the next begins, or NULL. */
static const char *skip_member(const char *p, const char *end, struct engine_skim *s)
{
  llmd_str name = {p + 1, 0}, value;
  if (*p != '"' || !(p = skip_string(p + 1, end)))
    return NULL;
  name.len = (size_t)(p - 1 - name.ptr);
  p = skip_blanks(p, end);
  if (p == end || *p != ':')
    return NULL;
  value.ptr = p = skip_blanks(p + 1, end);
  p = skip_value(p, end);
  if (!p || p == value.ptr)
    return NULL;
  value.len = (size_t)(p - value.ptr);
  take(s, name, value);
  return skip_blanks(p, end);
}

int engine_skim(llmd_str body, struct engine_skim *out)
{
  struct engine_skim s = {0};
  const char *p = body.ptr, *end = body.ptr + body.len;
  if (body.len == 0)
    return LLMD_E_SYNTAX;
  p = skip_blanks(p, end);
  if (p == end || *p++ != '{')
    return LLMD_E_SYNTAX;
  p = skip_blanks(p, end);
  while (p < end && *p != '}') {
    p = skip_member(p, end, &s);
    if (!p || p == end || (*p != ',' && *p != '}'))
      return LLMD_E_SYNTAX;
    if (*p == ',')
      p = skip_blanks(p + 1, end);
  }
  if (p == end)
    return LLMD_E_SYNTAX;
  *out = s;
  return 0;
}
