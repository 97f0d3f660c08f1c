/* For tests of the request: one that is made, fed and spelled out in one line. */
#ifndef LLMD_TESTS_READ_REQUEST_H
#define LLMD_TESTS_READ_REQUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <llmd/request.h>

#include "model/request.h"

#define CHAT "/v1/chat/completions"
#define COMPLETIONS "/v1/completions"
#define LEN(text) (text), sizeof(text) - 1

static inline llmd_request *new_request(const llmd_request_options *o)
{
  llmd_request *r = NULL;
  size_t n = llmd_request_size(o);
  void *mem = malloc(n);
  assert_non_null(mem);
  memset(mem, 0xa5, n);
  assert_int_equal(llmd_request_init(mem, n, o, &r), 0);
  return r;
}

/* Text with ' in place of ", which is easier on the eye. One of a few buffers, used in turn. */
static inline const char *json(const char *text)
{
  static char room[8][4096];
  static unsigned turn;
  char *out = room[turn++ % 8];
  size_t n = strlen(text);
  assert_in_range(n, 0, sizeof room[0] - 1);
  for (size_t i = 0; i <= n; i++)
    out[i] = (char)(text[i] == '\'' ? '"' : text[i]);
  return out;
}

/* Starts over and reads a body given whole. */
static inline int read_whole(llmd_request *r, const char *path, const char *body, size_t len, uint32_t flags)
{
  llmd_request_reset(r);
  assert_int_equal(llmd_request_line(r, LEN("POST"), path, strlen(path)), 0);
  return llmd_request_feed(r, body, len, LLMD_FEED_FINAL | flags);
}

/* body may have ' in place of ". It stays readable for as long as json() says. */
static inline int read_text(llmd_request *r, const char *path, const char *body)
{
  body = json(body);
  return read_whole(r, path, body, strlen(body), 0);
}

static inline llmd_request_info info_of(const llmd_request *r)
{
  llmd_request_info i = {.size = sizeof i};
  assert_int_equal(llmd_request_get(r, &i), 0);
  return i;
}

static inline void assert_text(llmd_str s, const char *want, size_t len)
{
  assert_non_null(s.ptr);
  assert_int_equal(s.len, len);
  assert_memory_equal(s.ptr, want, len);
}

/* The segments as "role:user text:hi ...", raw; a new prompt is marked with '|'. */
static inline const char *spell(const llmd_request *r)
{
  static const char *const kinds[] = {"?", "text", "role", "tools", "ids", "media"};
  static char out[8192];
  char buf[4096];
  uint32_t prompt = 0, i = 0;
  size_t n = 0;
  out[0] = 0;
  for (llmd_segment s = {.size = sizeof s}; llmd_request_segment(r, i, &s) == 0; i++) {
    const char *bytes;
    assert_int_equal(llmd__request_bytes(r, s.offset, s.bytes, buf, sizeof buf, &bytes), 0);
    n += (size_t)snprintf(out + n, sizeof out - n, "%s%s%s:%.*s", i ? " " : "", s.prompt != prompt ? "| " : "",
        kinds[s.kind],
                          (int)s.bytes, bytes);
    prompt = s.prompt;
  }
  return out;
}

static inline void assert_spelled(const llmd_request *r, const char *body, const char *want)
{
  if (strcmp(spell(r), json(want)) != 0)
    fail_msg("%s: %s", body, spell(r));
}

/* The body with its edits applied, NUL-terminated. */
static inline const char *edited(const llmd_request *r, const char *body)
{
  static char out[8192];
  llmd_edit e[64];
  size_t at = 0, n = 0;
  int count = llmd_request_edits(r, e, 64);
  assert_in_range(count, 0, 64);
  for (int i = 0; i < count; i++) {
    assert_true(e[i].offset >= at);
    n += (size_t)snprintf(out + n, sizeof out - n, "%.*s%.*s", (int)(e[i].offset - at), body + at, (int)e[i].text.len,
                          e[i].text.ptr ? e[i].text.ptr : "");
    at = (size_t)(e[i].offset + e[i].removed);
  }
  snprintf(out + n, sizeof out - n, "%s", body + at);
  return out;
}

#endif
