#include "base/exposition.h"

#include <math.h>
#include <string.h>

#include <llmd/error.h>

#include "base/number.h"

/* What is left of one line. Every parser below takes its part off the front, or returns 0 and the line is refused. */
struct cursor {
  const char *p, *end;
};

static int is_blank(char c)
{
  return c == ' ' || c == '\t';
}

static int is_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static void skip_blanks(struct cursor *c)
{
  while (c->p < c->end && is_blank(*c->p))
    c->p++;
}

static int take(struct cursor *c, char wanted)
{
  if (c->p == c->end || *c->p != wanted)
    return 0;
  c->p++;
  return 1;
}

size_t llmd__metric_name_len(const char *p, size_t n)
{
  size_t i = 0;
  if (n && is_digit(*p))
    return 0;
  while (i < n && (is_word(p[i]) || p[i] == ':'))
    i++;
  return i;
}

size_t llmd__label_name_len(const char *p, size_t n)
{
  size_t i = 0;
  if (n && is_digit(*p))
    return 0;
  while (i < n && is_word(p[i]))
    i++;
  return i;
}

size_t llmd__quoted_len(const char *p, size_t n, llmd__label *out)
{
  size_t i = 1;
  int escaped = 0;
  if (n == 0 || *p != '"')
    return 0;
  for (; i < n && p[i] != '"'; i++) {
    if (p[i] != '\\')
      continue;
    escaped = 1;
    i++;
    if (i == n || (p[i] != '\\' && p[i] != '"' && p[i] != 'n'))
      return 0;
  }
  if (i == n)
    return 0;
  out->raw.ptr = p + 1;
  out->raw.len = i - 1;
  out->escaped = escaped;
  return i + 1;
}

/* ==== labels ==== */

/* name = "value" and the comma behind it, if any. */
static int take_label(struct cursor *c, llmd__label *out)
{
  size_t quoted;
  skip_blanks(c);
  out->name.ptr = c->p;
  out->name.len = llmd__label_name_len(c->p, (size_t)(c->end - c->p));
  c->p += out->name.len;
  skip_blanks(c);
  if (out->name.len == 0 || !take(c, '='))
    return 0;
  skip_blanks(c);
  quoted = llmd__quoted_len(c->p, (size_t)(c->end - c->p), out);
  if (quoted == 0)
    return 0;
  c->p += quoted;
  skip_blanks(c);
  return take(c, ',') || c->p == c->end || *c->p == '}';
}

/* { labels }, or nothing. */
static int take_labels(struct cursor *c, llmd_str *out)
{
  llmd__label label;
  out->ptr = c->p;
  out->len = 0;
  if (!take(c, '{'))
    return 1;
  out->ptr = c->p;
  for (int n = 0;; n++) {
    skip_blanks(c);
    out->len = (size_t)(c->p - out->ptr);
    if (take(c, '}'))
      return 1;
    if (n == LLMD__EXPOSITION_LABELS_MAX || !take_label(c, &label))
      return 0;
  }
}

int llmd__label_next(llmd_str *labels, llmd__label *out)
{
  struct cursor c = {labels->ptr, labels->ptr + labels->len};
  if (labels->len == 0 || !take_label(&c, out))
    return 0;
  skip_blanks(&c);
  labels->len = (size_t)(c.end - c.p);
  labels->ptr = c.p;
  return 1;
}

int llmd__label_find(llmd_str labels, const char *name, size_t len, llmd__label *out)
{
  llmd__label label;
  while (llmd__label_next(&labels, &label))
    if (label.name.len == len && memcmp(label.name.ptr, name, len) == 0) {
      *out = label;
      return 1;
    }
  return 0;
}

/* One byte of a value whose escapes are known to be good. */
static char next_byte(const char **p)
{
  char c = *(*p)++;
  if (c != '\\')
    return c;
  c = *(*p)++;
  return c == 'n' ? '\n' : c;
}

int llmd__label_value(const llmd__label *label, char *buf, size_t cap, llmd_str *out)
{
  const char *p = label->raw.ptr, *end = p + label->raw.len;
  size_t n = 0;
  if (!label->escaped) {
    *out = label->raw;
    return 0;
  }
  while (p < end) {
    if (n == cap)
      return LLMD_E_LIMIT;
    buf[n++] = next_byte(&p);
  }
  out->ptr = buf;
  out->len = n;
  return 0;
}

int llmd__label_same(const llmd__label *a, const llmd__label *b)
{
  const char *p = a->raw.ptr, *p_end = p + a->raw.len, *q = b->raw.ptr, *q_end = q + b->raw.len;
  if (!a->escaped && !b->escaped)
    return a->raw.len == b->raw.len && memcmp(p, q, a->raw.len) == 0;
  while (p < p_end && q < q_end) {
    const char c = a->escaped ? next_byte(&p) : *p++;
    const char d = b->escaped ? next_byte(&q) : *q++;
    if (c != d)
      return 0;
  }
  return p == p_end && q == q_end;
}

/* ==== numbers ==== */

/* The word at the cursor, up to a blank or the end of the line. */
static llmd_str take_word(struct cursor *c)
{
  llmd_str word = {c->p, 0};
  while (c->p < c->end && !is_blank(*c->p))
    c->p++;
  word.len = (size_t)(c->p - word.ptr);
  return word;
}

static int word_is(llmd_str word, const char *text)
{
  return word.len == strlen(text) && memcmp(word.ptr, text, word.len) == 0;
}

static int take_value(struct cursor *c, double *out)
{
  const llmd_str word = take_word(c);
  if (word_is(word, "NaN"))
    *out = (double)NAN;
  else if (word_is(word, "+Inf") || word_is(word, "Inf"))
    *out = (double)INFINITY;
  else if (word_is(word, "-Inf"))
    *out = -(double)INFINITY;
  else
    return llmd__parse_double(word.ptr, word.len, out) == 0;
  return 1;
}

/* Whole numbers are milliseconds. A point means seconds, as OpenMetrics counts. */
static int take_timestamp(struct cursor *c, llmd__sample *out)
{
  const llmd_str word = take_word(c);
  double seconds;
  out->has_timestamp = 1;
  if (llmd__parse_i64(word.ptr, word.len, &out->timestamp) == 0)
    return 1;
  if (llmd__parse_double(word.ptr, word.len, &seconds) < 0 || !(seconds > -1e12 && seconds < 1e12))
    return 0;
  out->timestamp = (int64_t)(seconds * 1000);
  return 1;
}

/* ==== lines ==== */

/* [labels] value [timestamp] [# exemplar], behind the name. */
static int read_rest(struct cursor *c, llmd__sample *out)
{
  const char *start = c->p;
  skip_blanks(c);
  if (!take_labels(c, &out->labels))
    return 0;
  skip_blanks(c);
  if (c->p == start || !take_value(c, &out->value))
    return 0;
  out->timestamp = 0;
  out->has_timestamp = 0;
  skip_blanks(c);
  if (c->p < c->end && *c->p != '#' && !take_timestamp(c, out))
    return 0;
  skip_blanks(c);
  return c->p == c->end || *c->p == '#';
}

/* The length of the wanted name that the line begins with, 0 if none. Looking first at the byte behind the place where
 * the name would end settles nearly all lines without a comparison. */
static size_t wanted_name(const llmd__exposition *x, struct cursor c)
{
  const size_t n = (size_t)(c.end - c.p);
  for (uint32_t i = 0; i < x->n_only; i++) {
    const size_t len = x->only[i].len;
    if (len < n && (c.p[len] == '{' || is_blank(c.p[len])) && memcmp(c.p, x->only[i].ptr, len) == 0)
      return len;
  }
  return 0;
}

/* 1: *out is a sample; 0: nothing for the caller here; -1: refused. */
static int read_line(const llmd__exposition *x, struct cursor c, int finished, llmd__sample *out)
{
  llmd__sample s = {.offset = (size_t)(c.p - x->page)};
  const size_t len = (size_t)(c.end - c.p);
  skip_blanks(&c);
  if (c.p == c.end || *c.p == '#' || *c.p == '\r')
    return 0;
  if (len > LLMD__EXPOSITION_LINE_MAX)
    return -1;
  s.name.ptr = c.p;
  if (x->n_only) {
    s.name.len = wanted_name(x, c);
    if (s.name.len == 0)
      return 0;
  } else {
    s.name.len = llmd__metric_name_len(c.p, (size_t)(c.end - c.p));
    if (s.name.len == 0)
      return -1;
  }
  c.p += s.name.len;
  while (c.end > c.p && (is_blank(c.end[-1]) || c.end[-1] == '\r'))
    c.end--;
  if (!finished || !read_rest(&c, &s))
    return -1;
  *out = s;
  return 1;
}

void llmd__exposition_init(llmd__exposition *x, const char *page, size_t len, const llmd_str *only, uint32_t n_only)
{
  memset(x, 0, sizeof *x);
  x->page = page;
  x->len = len;
  x->only = only;
  x->n_only = n_only;
}

int llmd__exposition_next(llmd__exposition *x, llmd__sample *out)
{
  while (x->at < x->len) {
    const char *line = x->page + x->at, *end = memchr(line, '\n', x->len - x->at);
    const struct cursor c = {line, end ? end : x->page + x->len};
    const int rc = read_line(x, c, end != NULL, out);
    x->at = (size_t)(c.end - x->page) + (end != NULL);
    if (rc > 0) {
      x->samples++;
      return 1;
    }
    if (rc < 0 && x->refused++ == 0)
      x->first_refused = (size_t)(line - x->page);
  }
  return 0;
}
