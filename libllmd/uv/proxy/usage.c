#include "uv/proxy/usage.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"

#define MAX_DEPTH 8u

void llmd__usage_init(llmd_usage *u)
{
  u->size = sizeof *u;
  u->reserved = 0;
  u->prompt_tokens = u->output_tokens = u->cached_tokens = (double)NAN;
}

/* ---- a small reader of one object ---- */

typedef struct cursor {
  const char *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
    c->at++;
}

/* Past a string, whose inside is *out. */
static int take_string(cursor *c, llmd_str *out)
{
  const char *from = ++c->at;
  while (c->at < c->end && *c->at != '"')
    c->at += *c->at == '\\' ? 2 : 1;
  if (c->at >= c->end)
    return 0;
  out->ptr = from;
  out->len = (size_t)(c->at++ - from);
  return 1;
}

static int take_number(cursor *c, double *out)
{
  const char *from = c->at;
  while (c->at < c->end && strchr("+-.0123456789eE", *c->at) && *c->at)
    c->at++;
  return c->at > from && llmd__parse_double(from, (size_t)(c->at - from), out) == 0;
}

static int is(llmd_str s, const char *text)
{
  return s.len == strlen(text) && !memcmp(s.ptr, text, s.len);
}

typedef struct found {
  double prompt, output, cached, read, created;
} found;

/* A whole number of tokens that can be believed. */
static void note(found *f, llmd_str key, double v, uint32_t depth)
{
  if (!(v >= 0 && v < 1e15))
    return;
  if (depth == 2) {
    if (is(key, "cached_tokens"))
      f->cached = v;
    return;
  }
  if (is(key, "prompt_tokens") || is(key, "input_tokens"))
    f->prompt = v;
  else if (is(key, "completion_tokens") || is(key, "output_tokens"))
    f->output = v;
  else if (is(key, "cached_tokens"))
    f->cached = v;
  else if (is(key, "cache_read_input_tokens"))
    f->read = v;
  else if (is(key, "cache_creation_input_tokens"))
    f->created = v;
}

/* From the brace of an object to its end. 0: it is cut off or nested too deep. */
static int read_object(cursor *c, found *f)
{
  uint32_t depth = 0;
  llmd_str key = {"", 0}, inner = {"", 0}, s;
  for (;;) {
    skip_blanks(c);
    if (c->at >= c->end)
      return 0;
    char b = *c->at;
    if (b == '{' || b == '[') {
      if (++depth > MAX_DEPTH)
        return 0;
      inner = depth == 2 ? key : inner;
      c->at++;
    } else if (b == '}' || b == ']') {
      c->at++;
      if (--depth == 0)
        return 1;
    } else if (b == '"') {
      if (!take_string(c, &s))
        return 0;
      key = s;
    } else {
      double v;
      if (b != ',' && b != ':' && take_number(c, &v)) {
        if (depth == 1 || (depth == 2 && (is(inner, "prompt_tokens_details") || is(inner, "input_tokens_details"))))
          note(f, key, v, depth);
      } else {
        c->at++;
      }
    }
  }
}

/* ---- finding it ---- */

/* The object behind a key at `at`, or NULL: a string's inside, another type, ... */
static const char *object_behind(llmd_str text, const char *at, size_t key_len)
{
  cursor c = {at + key_len, text.ptr + text.len};
  if (at > text.ptr && at[-1] == '\\')
    return NULL;
  skip_blanks(&c);
  if (c.at >= c.end || *c.at++ != ':')
    return NULL;
  skip_blanks(&c);
  return c.at < c.end && *c.at == '{' ? c.at : NULL;
}

/* Anthropic counts what was cached apart from the rest. */
static void take(llmd_usage *u, const found *f)
{
  double prompt = f->prompt;
  if (!isnan(f->read) || !isnan(f->created)) {
    prompt += isnan(f->read) ? 0 : f->read;
    prompt += isnan(f->created) ? 0 : f->created;
  }
  if (!isnan(prompt))
    u->prompt_tokens = prompt;
  if (!isnan(f->output))
    u->output_tokens = f->output;
  if (!isnan(f->cached))
    u->cached_tokens = f->cached;
  else if (!isnan(f->read))
    u->cached_tokens = f->read;
}

int llmd__usage_read(llmd_str text, const char *key, llmd_usage *u)
{
  size_t key_len = strlen(key);
  const char *end = text.ptr + text.len;
  int any = 0;
  for (const char *at = text.ptr; at && at < end; at++) {
    const double nan = (double)NAN;
    found f = {nan, nan, nan, nan, nan};
    cursor c = {NULL, end};
    at = memmem(at, (size_t)(end - at), key, key_len);
    if (!at)
      break;
    c.at = object_behind(text, at, key_len);
    if (c.at && read_object(&c, &f)) {
      take(u, &f);
      any = 1;
    }
  }
  return any;
}

int llmd__usage_no_choices(llmd_str text)
{
  static const char key[] = "\"choices\"";
  const char *at = memmem(text.ptr, text.len, key, sizeof key - 1);
  cursor c = {at, text.ptr + text.len};
  if (!at || (at > text.ptr && at[-1] == '\\'))
    return 0;
  c.at += sizeof key - 1;
  for (const char *want = ":[]"; *want; want++) {
    skip_blanks(&c);
    if (c.at >= c.end || *c.at++ != *want)
      return 0;
  }
  return 1;
}

/* ---- the end of a body ---- */

static int grow(llmd__tail *t, const llmd_allocator *alloc, size_t wanted)
{
  size_t cap = t->cap ? t->cap : 4096;
  char *at;
  while (cap < wanted)
    cap *= 2;
  if (cap == t->cap)
    return 0;
  at = llmd__realloc(alloc, t->at, t->cap, cap);
  if (!at)
    return LLMD_E_NOMEM;
  t->at = at;
  t->cap = cap;
  return 0;
}

int llmd__tail_add(llmd__tail *t, const llmd_allocator *alloc, llmd_str piece)
{
  if (piece.len > LLMD__TAIL) {
    piece.ptr += piece.len - LLMD__TAIL;
    piece.len = LLMD__TAIL;
    t->len = 0;
  }
  if (t->len + piece.len > 2 * (size_t)LLMD__TAIL) {
    memmove(t->at, t->at + t->len - LLMD__TAIL, LLMD__TAIL);
    t->len = LLMD__TAIL;
  }
  if (grow(t, alloc, t->len + piece.len)) {
    t->len = 0;
    return LLMD_E_NOMEM;
  }
  memcpy(t->at + t->len, piece.ptr, piece.len);
  t->len += piece.len;
  return 0;
}

void llmd__tail_free(llmd__tail *t, const llmd_allocator *alloc)
{
  llmd__free(alloc, t->at, t->cap);
  memset(t, 0, sizeof *t);
}
