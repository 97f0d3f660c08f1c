/* Strict JSON (RFC 8259) into the tree. libyaml would read most of it too, but not all: it knows no surrogate pairs,
 * wants a key and its colon on one line and takes U+0085 in a string for a line break. What is refused here is tried as
 * YAML, so a slip in a JSON file is told by the YAML reader, which also takes comments and trailing commas. */
#include "base/tree_build.h"
#include "base/utf8.h"

#include <string.h>

struct input {
  llmd__builder *b;
  const char *p, *end, *line_start;
  uint32_t line;
};

static int read_value(struct input *in);

static llmd__place here(const struct input *in)
{
  llmd__place at = {in->line, (uint32_t)(in->p - in->line_start) + 1};
  return at;
}

static void skip_blanks(struct input *in)
{
  for (; in->p < in->end; in->p++) {
    if (*in->p == '\n') {
      in->line++;
      in->line_start = in->p + 1;
    } else if (*in->p != ' ' && *in->p != '\t' && *in->p != '\r') {
      return;
    }
  }
}

/* Takes c if it is next. */
static int accept(struct input *in, char c)
{
  if (in->p == in->end || *in->p != c)
    return 0;
  in->p++;
  return 1;
}

/* ==== strings ==== */

/* Four hexadecimal digits at p; 0xffffffff when they are not. */
static uint32_t hex4(const char *p, const char *end)
{
  uint32_t v = 0;
  if (end - p < 4)
    return UINT32_MAX;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    uint32_t d = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
                 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                 : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10 : 16;
    if (d > 15)
      return UINT32_MAX;
    v = v << 4 | d;
  }
  return v;
}

/* After "\u": one character, from one escape or a surrogate pair. 0 when malformed, else how many bytes it took. */
static size_t read_unicode(const char *p, const char *end, uint32_t *cp)
{
  uint32_t high = hex4(p, end), low;
  if (high > 0xffff || (high >= 0xdc00 && high <= 0xdfff))
    return 0;
  if (high < 0xd800 || high > 0xdbff) {
    *cp = high;
    return 4;
  }
  if (end - p < 10 || p[4] != '\\' || p[5] != 'u')
    return 0;
  low = hex4(p + 6, end);
  if (low < 0xdc00 || low > 0xdfff)
    return 0;
  *cp = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  return 10;
}

/* Resolves the escapes of p..end (the inside of a string) into `to`, which has room: no escape grows. */
static int unescape(const char *p, const char *end, char *to, size_t *len)
{
  static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
  char *start = to;
  while (p < end) {
    if (*p != '\\') {
      *to++ = *p++;
      continue;
    }
    const char *simple = memchr(from, p[1], sizeof from - 1);
    if (simple) {
      *to++ = into[simple - from];
      p += 2;
      continue;
    }
    uint32_t cp;
    size_t took = p[1] == 'u' ? read_unicode(p + 2, end, &cp) : 0;
    if (took == 0)
      return LLMD_E_SYNTAX;
    to += llmd__utf8_write(to, cp);
    p += 2 + took;
  }
  *len = (size_t)(to - start);
  return LLMD_OK;
}

/* After the opening quote. *text is a piece of the input or, if it had escapes, a copy that lives with the tree. */
static int read_string(struct input *in, llmd_str *text)
{
  const char *begin = in->p;
  int escapes = 0;
  for (; in->p < in->end && *in->p != '"'; in->p++) {
    if ((unsigned char)*in->p < 0x20)
      return LLMD_E_SYNTAX;
    if (*in->p == '\\') {
      escapes = 1;
      if (++in->p == in->end)
        return LLMD_E_SYNTAX;
    }
  }
  if (in->p == in->end)
    return LLMD_E_SYNTAX;
  text->ptr = begin;
  text->len = (size_t)(in->p++ - begin);
  if (!escapes)
    return LLMD_OK;
  char *copy = llmd__build_scratch(in->b, text->len);
  if (!copy)
    return llmd__build_fail(in->b, LLMD_E_NOMEM, here(in), "%s", llmd_strerror(LLMD_E_NOMEM));
  text->ptr = copy;
  return unescape(begin, begin + text->len, copy, &text->len);
}

/* ==== words ==== */

static size_t digits(const char *p, const char *end)
{
  const char *start = p;
  while (p < end && *p >= '0' && *p <= '9')
    p++;
  return (size_t)(p - start);
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? ; the length, or 0. */
static size_t number_len(const char *start, const char *end)
{
  const char *p = start;
  size_t n;
  if (p < end && *p == '-')
    p++;
  n = digits(p, end);
  if (n == 0 || (n > 1 && *p == '0'))
    return 0;
  p += n;
  if (p < end && *p == '.') {
    n = digits(p + 1, end);
    if (n == 0)
      return 0;
    p += 1 + n;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    p++;
    if (p < end && (*p == '+' || *p == '-'))
      p++;
    n = digits(p, end);
    if (n == 0)
      return 0;
    p += n;
  }
  return (size_t)(p - start);
}

static int read_word(struct input *in)
{
  static const char *const words[] = {"true", "false", "null"};
  size_t n = number_len(in->p, in->end);
  llmd__place at = here(in);
  for (size_t i = 0; n == 0 && i < 3; i++)
    if ((size_t)(in->end - in->p) >= strlen(words[i]) && memcmp(in->p, words[i], strlen(words[i])) == 0)
      n = strlen(words[i]);
  if (n == 0)
    return LLMD_E_SYNTAX;
  in->p += n;
  return llmd__build_scalar(in->b, in->p - n, n, 1, at);
}

/* ==== lists and maps: recursion ends at the builder's limit on depth ==== */

static int read_list(struct input *in)
{
  int rc;
  skip_blanks(in);
  if (accept(in, ']'))
    return LLMD_OK;
  do {
    if ((rc = read_value(in)) != LLMD_OK)
      return rc;
    skip_blanks(in);
  } while (accept(in, ','));
  return accept(in, ']') ? LLMD_OK : LLMD_E_SYNTAX;
}

static int read_key(struct input *in)
{
  llmd_str key;
  int rc;
  skip_blanks(in);
  llmd__place at = here(in);
  if (!accept(in, '"'))
    return LLMD_E_SYNTAX;
  if ((rc = read_string(in, &key)) != LLMD_OK)
    return rc;
  skip_blanks(in);
  if (!accept(in, ':'))
    return LLMD_E_SYNTAX;
  return llmd__build_key(in->b, key.ptr, key.len, at);
}

static int read_map(struct input *in)
{
  int rc;
  skip_blanks(in);
  if (accept(in, '}'))
    return LLMD_OK;
  do {
    if ((rc = read_key(in)) != LLMD_OK || (rc = read_value(in)) != LLMD_OK)
      return rc;
    skip_blanks(in);
  } while (accept(in, ','));
  return accept(in, '}') ? LLMD_OK : LLMD_E_SYNTAX;
}

static int read_value(struct input *in)
{
  llmd_str text;
  int rc;
  skip_blanks(in);
  llmd__place at = here(in);
  if (accept(in, '"')) {
    rc = read_string(in, &text);
    return rc ? rc : llmd__build_scalar(in->b, text.ptr, text.len, 0, at);
  }
  int list = accept(in, '[');
  if (!list && !accept(in, '{'))
    return read_word(in);
  rc = llmd__build_open(in->b, list ? LLMD__LIST : LLMD__MAP, at);
  if (rc == LLMD_OK)
    rc = list ? read_list(in) : read_map(in);
  if (rc == LLMD_OK)
    llmd__build_close(in->b);
  return rc;
}

int llmd__json_read(llmd__builder *b, const char *text, size_t len)
{
  struct input in = {b, text, text + len, text, 1};
  int rc = read_value(&in);
  skip_blanks(&in);
  return rc ? rc : in.p == in.end ? LLMD_OK : LLMD_E_SYNTAX;
}
