#include "uv/http/reader.h"

#include <llhttp/llhttp.h>
#include <stdalign.h>
#include <string.h>

#include "base/alloc.h"
#include "uv/http/chunk.h"
#include "uv/http/head.h"

#define BLOCK_FIRST 1024u /* an ordinary head with its array */
#define BLOCK_KEPT 4096u  /* a larger block does not outlive its message */
#define PASSED_OVER_MOST 16u /* 1xx before an answer */

void llmd__http_reader_init(llmd__http_reader *r, int kind, const llmd__http_limits *limits)
{
  memset(r, 0, sizeof *r);
  r->kind = (uint8_t)kind;
  r->limits = limits;
  r->state = LLMD__HTTP_IN_HEAD;
}

void llmd__http_release(llmd__http_reader *r)
{
  llmd__http_head *h = &r->head;
  llmd__free(&r->limits->alloc, r->block, r->block_cap);
  r->block = NULL;
  r->block_cap = r->head_len = 0;
  h->method = h->target = h->reason = h->host = (llmd_str){ NULL, 0 };
  h->header = NULL;
  h->n_headers = 0;
}

void llmd__http_reader_free(llmd__http_reader *r)
{
  llmd__http_release(r);
  r->state = LLMD__HTTP_FAILED;
}

static void begin_head(llmd__http_reader *r)
{
  memset(&r->head, 0, sizeof r->head);
  r->head_len = r->line_begin = r->lines = 0;
  r->state = LLMD__HTTP_IN_HEAD;
}

void llmd__http_next(llmd__http_reader *r)
{
  if (r->block_cap > BLOCK_KEPT)
    llmd__http_release(r);
  begin_head(r);
  r->blank_lines = r->passed_over = r->trailer_len = 0;
  r->head_request = r->digits = 0;
  r->left = r->body_len = 0;
}

void llmd__http_answers_head(llmd__http_reader *r)
{
  r->head_request = 1;
}

/* ---- the head -------------------------------------------------------------------------------------------------- */

static int reserve(llmd__http_reader *r, size_t need)
{
  size_t cap = r->block_cap != 0 ? r->block_cap : BLOCK_FIRST;
  if (need <= r->block_cap)
    return 0;
  while (cap < need)
    cap *= 2;
  char *p = llmd__realloc(&r->limits->alloc, r->block, r->block_cap, cap);
  if (p == NULL)
    return llmd__http_fail(r, 500, LLMD_E_NOMEM, "out of memory");
  r->block = p;
  r->block_cap = (uint32_t)cap;
  return 0;
}

/* Copies bytes up to the end of a line. */
static int take_line(llmd__http_reader *r, const char *data, size_t len, size_t *used)
{
  const char *lf = memchr(data, '\n', len);
  size_t n = lf == NULL ? len : (size_t)(lf - data) + 1;
  if (r->head_len > r->limits->max_head || n > r->limits->max_head - r->head_len) /* the limit may have been lowered */
    return llmd__http_fail(r, r->lines == 0 ? 414 : 431, LLMD_E_LIMIT, "head is too large");
  int rc = reserve(r, r->head_len + n);
  if (rc < 0)
    return rc;
  memcpy(r->block + r->head_len, data, n);
  r->head_len += (uint32_t)n;
  *used = n;
  return lf != NULL;
}

static int at_headers_complete(llhttp_t *parser)
{
  (void)parser;
  return HPE_PAUSED;
}

static const llhttp_settings_t judge_settings = { .on_headers_complete = at_headers_complete };

/* The second opinion. */
static int judge_head(llmd__http_reader *r)
{
  const llmd__http_head *h = &r->head;
  llhttp_t parser;
  llhttp_init(&parser, r->kind == LLMD__HTTP_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &judge_settings);
  llhttp_errno_t err = llhttp_execute(&parser, r->block, r->head_len);
  if (err == HPE_INVALID_METHOD)
    return llmd__http_fail(r, 501, LLMD_E_UNSUPPORTED, "method is not known");
  if (err != HPE_PAUSED)
    return llmd__http_fail(r, 400, LLMD_E_SYNTAX, "malformed head");
  int chunked = (parser.flags & F_CHUNKED) != 0, sized = (parser.flags & F_CONTENT_LENGTH) != 0;
  int agrees = parser.http_major == 1 && parser.http_minor == h->minor && parser.status_code == h->status;
  if (h->framing == LLMD__HTTP_LENGTH)
    agrees = agrees && sized && !chunked && parser.content_length == h->length;
  else if (h->framing == LLMD__HTTP_CHUNKED)
    agrees = agrees && chunked && !sized;
  else if (r->kind == LLMD__HTTP_REQUEST || h->framing == LLMD__HTTP_CLOSE)
    agrees = agrees && !chunked && !sized;
  return agrees ? 0 : llmd__http_fail(r, 400, LLMD_E_SYNTAX, "head can be read in two ways");
}

/* Where an answer's interim head ends the next one begins. */
static int pass_over(llmd__http_reader *r)
{
  if (r->passed_over++ == PASSED_OVER_MOST)
    return llmd__http_fail(r, 502, LLMD_E_LIMIT, "too many interim answers");
  begin_head(r);
  return 0;
}

static int read_head(llmd__http_reader *r)
{
  const size_t align = alignof(llmd_http_header);
  uint32_t most = r->lines - 2; /* but the first line and the empty one */
  uint32_t max = r->limits->max_headers;
  size_t array = (r->head_len + align - 1) / align * align;
  most = most < max ? most : max;
  int rc = reserve(r, array + most * sizeof(llmd_http_header));
  if (rc == 0)
    rc = llmd__http_head_read(r, (llmd_http_header *)(void *)(r->block + array), max);
  if (rc == 0)
    rc = judge_head(r);
  if (rc < 0)
    return rc;
  if (r->kind == LLMD__HTTP_ANSWER && r->head.status < 200)
    return pass_over(r);
  static const uint8_t state_of[] = { LLMD__HTTP_AT_END, LLMD__HTTP_IN_LENGTH, LLMD__HTTP_SIZE_FIRST,
                                      LLMD__HTTP_UNTIL_CLOSE };
  r->left = r->head.length;
  r->state = r->head.framing == LLMD__HTTP_LENGTH && r->left == 0 ? LLMD__HTTP_AT_END : state_of[r->head.framing];
  return LLMD__HTTP_HEAD;
}

/* A line is complete in the block. */
static int end_line(llmd__http_reader *r)
{
  uint32_t begin = r->line_begin, len = r->head_len - begin;
  if (len == 1 || r->block[r->head_len - 2] != '\r')
    return llmd__http_fail(r, 400, LLMD_E_SYNTAX, "bare LF in the head");
  r->line_begin = r->head_len;
  r->lines++;
  if (len > 2)
    return 0;
  if (begin != 0)
    return read_head(r);
  if (r->kind == LLMD__HTTP_ANSWER || r->blank_lines++ != 0)
    return llmd__http_fail(r, 400, LLMD_E_SYNTAX, "blank lines before a message");
  begin_head(r);
  return 0;
}

static int feed_head(llmd__http_reader *r, const char *data, size_t len, size_t *used)
{
  size_t done = 0;
  int rc = 0;
  while (rc == 0 && done < len) {
    size_t n = 0;
    char c = data[done];
    /* Whatever speaks another protocol is told so by its first byte. */
    if (r->head_len == 0 && c != '\r' && c != '\n' && (llmd__http_bytes[(uint8_t)c] & LLMD__HTTP_TOKEN) == 0)
      return llmd__http_fail(r, 400, LLMD_E_SYNTAX, "no message begins with this byte");
    rc = take_line(r, data + done, len - done, &n);
    if (rc == 1)
      rc = end_line(r);
    done += n;
  }
  *used = done;
  return rc;
}

/* ---- the body -------------------------------------------------------------------------------------------------- */

static int take_body(llmd__http_reader *r, const char *data, size_t len, size_t *used, llmd_str *piece)
{
  size_t n = len < r->left ? len : (size_t)r->left;
  if (n == 0)
    return LLMD__HTTP_MORE;
  *used += n;
  *piece = (llmd_str){ data, n };
  llmd__http_body_skip(r, n);
  return LLMD__HTTP_BODY;
}

static int feed_chunked(llmd__http_reader *r, const char *data, size_t len, size_t *used, llmd_str *piece)
{
  if (r->state >= LLMD__HTTP_SIZE_FIRST) {
    int n = llmd__http_chunk_lines(r, data, len);
    if (n < 0)
      return n;
    *used = (size_t)n;
  }
  if (r->state == LLMD__HTTP_IN_CHUNK)
    return take_body(r, data + *used, len - *used, used, piece);
  if (r->state != LLMD__HTTP_AT_END)
    return LLMD__HTTP_MORE;
  r->state = LLMD__HTTP_IS_OVER;
  return LLMD__HTTP_END;
}

int llmd__http_feed(llmd__http_reader *r, const char *data, size_t len, size_t *used, llmd_str *piece)
{
  *used = 0;
  switch (r->state) {
  case LLMD__HTTP_FAILED:
    return LLMD_E_STATE;
  case LLMD__HTTP_IN_HEAD:
    return feed_head(r, data, len, used);
  case LLMD__HTTP_IN_LENGTH:
    return take_body(r, data, len, used, piece);
  case LLMD__HTTP_UNTIL_CLOSE:
    if (len > r->limits->max_body - r->body_len)
      return llmd__http_fail(r, 413, LLMD_E_LIMIT, "body is too large");
    if (len == 0)
      return LLMD__HTTP_MORE;
    r->body_len += len;
    *used = len;
    *piece = (llmd_str){ data, len };
    return LLMD__HTTP_BODY;
  case LLMD__HTTP_AT_END:
    r->state = LLMD__HTTP_IS_OVER;
    return LLMD__HTTP_END;
  case LLMD__HTTP_IS_OVER:
    return LLMD__HTTP_END;
  default:
    return feed_chunked(r, data, len, used, piece);
  }
}

int llmd__http_finish(llmd__http_reader *r)
{
  if (r->state == LLMD__HTTP_UNTIL_CLOSE || r->state == LLMD__HTTP_AT_END) {
    r->state = LLMD__HTTP_IS_OVER;
    return LLMD__HTTP_END;
  }
  if (r->state == LLMD__HTTP_IS_OVER || (r->state == LLMD__HTTP_IN_HEAD && r->head_len == 0 && r->passed_over == 0))
    return LLMD__HTTP_NONE;
  return llmd__http_fail(r, 400, LLMD_E_TRUNCATED, "message ends too early");
}

int llmd__http_midway(const llmd__http_reader *r)
{
  return r->state == LLMD__HTTP_IN_HEAD ? r->head_len != 0 || r->passed_over != 0
                                        : r->state != LLMD__HTTP_FAILED && r->state != LLMD__HTTP_IS_OVER;
}

uint64_t llmd__http_body_left(const llmd__http_reader *r)
{
  return r->state == LLMD__HTTP_IN_LENGTH ? r->left : 0;
}

void llmd__http_body_skip(llmd__http_reader *r, uint64_t n)
{
  r->left -= n;
  if (r->left != 0)
    return;
  r->state = r->state == LLMD__HTTP_IN_CHUNK ? LLMD__HTTP_DATA_CR : LLMD__HTTP_AT_END;
}
