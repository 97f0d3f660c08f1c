/* llhttp 8.1 takes any byte after a CR in a size line, and extensions: so these lines are read here, strictly. */
#include "uv/http/chunk.h"

#include <limits.h>

#include "uv/http/head.h"

static int malformed(llmd__http_reader *r, const char *text)
{
  return llmd__http_fail(r, 400, LLMD_E_SYNTAX, text);
}

static int digit_of(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(llmd__http_reader *r, char c)
{
  int digit = digit_of(c);
  if (digit >= 0) {
    if (r->digits == 16)
      return malformed(r, "chunk size is too long");
    r->digits++;
    r->left = r->left << 4 | (uint64_t)digit; /* 16 digits fit */
    r->state = LLMD__HTTP_SIZE;
    return 0;
  }
  if (r->state == LLMD__HTTP_SIZE && c == '\r') {
    r->state = LLMD__HTTP_SIZE_LF;
    return 0;
  }
  return malformed(r, c == ';' ? "chunk extension" : c == '\n' ? "bare LF in a chunk's size" : "malformed chunk size");
}

static int size_end(llmd__http_reader *r, char c)
{
  if (c != '\n')
    return malformed(r, "bare CR in a chunk's size");
  if (r->left > r->limits->max_body - r->body_len)
    return llmd__http_fail(r, 413, LLMD_E_LIMIT, "body is too large");
  r->body_len += r->left;
  r->digits = 0;
  r->lines = 0;
  r->state = r->left != 0 ? LLMD__HTTP_IN_CHUNK : LLMD__HTTP_TRAILER_FIRST;
  return 0;
}

static int trailer_first(llmd__http_reader *r, char c)
{
  if (c == '\r') {
    r->state = LLMD__HTTP_TRAILER_LAST_LF;
    return 0;
  }
  if ((llmd__http_bytes[(uint8_t)c] & LLMD__HTTP_TOKEN) == 0)
    return malformed(r, "malformed trailer");
  if (r->lines++ == r->limits->max_headers)
    return llmd__http_fail(r, 431, LLMD_E_LIMIT, "too many trailers");
  r->state = LLMD__HTTP_TRAILER_NAME;
  return 0;
}

static int trailer_byte(llmd__http_reader *r, char c)
{
  uint8_t bits = llmd__http_bytes[(uint8_t)c];
  if (r->trailer_len++ >= r->limits->max_head)
    return llmd__http_fail(r, 431, LLMD_E_LIMIT, "trailers are too large");
  switch (r->state) {
  case LLMD__HTTP_TRAILER_FIRST:
    return trailer_first(r, c);
  case LLMD__HTTP_TRAILER_NAME:
    if (c == ':')
      r->state = LLMD__HTTP_TRAILER_VALUE;
    else if ((bits & LLMD__HTTP_TOKEN) == 0)
      return malformed(r, "malformed trailer");
    return 0;
  case LLMD__HTTP_TRAILER_VALUE:
    if (c == '\r')
      r->state = LLMD__HTTP_TRAILER_LF;
    else if ((bits & LLMD__HTTP_VALUE) == 0)
      return malformed(r, "malformed trailer");
    return 0;
  default:
    if (c != '\n')
      return malformed(r, "bare CR in a trailer");
    r->state = r->state == LLMD__HTTP_TRAILER_LF ? LLMD__HTTP_TRAILER_FIRST : LLMD__HTTP_AT_END;
    return 0;
  }
}

static int line_byte(llmd__http_reader *r, char c)
{
  switch (r->state) {
  case LLMD__HTTP_SIZE_FIRST:
  case LLMD__HTTP_SIZE:
    return size_byte(r, c);
  case LLMD__HTTP_SIZE_LF:
    return size_end(r, c);
  case LLMD__HTTP_DATA_CR:
    if (c != '\r')
      return malformed(r, "chunk is longer than its size");
    r->state = LLMD__HTTP_DATA_LF;
    return 0;
  case LLMD__HTTP_DATA_LF:
    if (c != '\n')
      return malformed(r, "bare CR behind a chunk");
    r->state = LLMD__HTTP_SIZE_FIRST;
    return 0;
  default:
    return trailer_byte(r, c);
  }
}

int llmd__http_chunk_lines(llmd__http_reader *r, const char *data, size_t len)
{
  int n = 0;
  size_t most = len < INT_MAX ? len : INT_MAX;
  while ((size_t)n < most && r->state >= LLMD__HTTP_SIZE_FIRST) {
    int rc = line_byte(r, data[n]);
    if (rc < 0)
      return rc;
    n++;
  }
  return n;
}
