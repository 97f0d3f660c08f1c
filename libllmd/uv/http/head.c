#include "uv/http/head.h"

#include <string.h>

#define T LLMD__HTTP_TOKEN
#define U LLMD__HTTP_TARGET
#define H LLMD__HTTP_HOST
#define V LLMD__HTTP_VALUE
#define ALL (T | U | H | V)
#define HIGH8 V, V, V, V, V, V, V, V
#define HIGH32 HIGH8, HIGH8, HIGH8, HIGH8
#define LETTERS26 ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, \
                  ALL, ALL, ALL, ALL, ALL

/* RFC 9110 §5.6.2 (token), RFC 3986 §3.3 and §3.4, a host without lists and sub-delimiters, RFC 9110 §5.5. */
const uint8_t llmd__http_bytes[256] = {
  0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  V, T | U | V, V, T | V, T | U | V, ALL, T | U | V, T | U | V, /*   ! " # $ % & ' */
  U | V, U | V, T | U | V, T | U | V, U | V, ALL, ALL, U | V,   /* ( ) * + , - . / */
  ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, U | V, U | V, V, U | V, V, U | V, /* 0-9 : ; < = > ? */
  U | V, LETTERS26, V, V, V, T | V, ALL,  /* @ A-Z [ \ ] ^ _ */
  T | V, LETTERS26, V, T | V, V, ALL, 0,  /* ` a-z { | } ~ DEL */
  HIGH32, HIGH32, HIGH32, HIGH32
};
#undef T
#undef U
#undef H
#undef V

int llmd__http_fail(llmd__http_reader *r, uint32_t status, int code, const char *text)
{
  r->status = r->kind == LLMD__HTTP_ANSWER ? 502 : status;
  r->text = text;
  r->state = 0; /* every state of the reader is more */
  return code;
}

static int malformed(llmd__http_reader *r, const char *text)
{
  return llmd__http_fail(r, 400, LLMD_E_SYNTAX, text);
}

/* ---- small readers --------------------------------------------------------------------------------------------- */

static size_t run_of(llmd_str s, uint8_t which)
{
  size_t n = 0;
  while (n < s.len && (llmd__http_bytes[(uint8_t)s.ptr[n]] & which) != 0)
    n++;
  return n;
}

static char lower(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static int same(llmd_str a, llmd_str b)
{
  if (a.len != b.len)
    return 0;
  for (size_t i = 0; i < a.len; i++)
    if (lower(a.ptr[i]) != lower(b.ptr[i]))
      return 0;
  return 1;
}

int llmd__http_is(llmd_str s, const char *name)
{
  return same(s, (llmd_str){ name, strlen(name) });
}

static llmd_str trim(const char *begin, const char *end)
{
  while (begin < end && (*begin == ' ' || *begin == '\t'))
    begin++;
  while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
    end--;
  return (llmd_str){ begin, (size_t)(end - begin) };
}

int llmd__http_lists(llmd_str value, const char *token)
{
  const char *p = value.ptr, *end = value.ptr + value.len;
  while (p < end) {
    const char *comma = memchr(p, ',', (size_t)(end - p));
    const char *stop = comma == NULL ? end : comma;
    if (llmd__http_is(trim(p, stop), token))
      return 1;
    p = stop + 1;
  }
  return 0;
}

const llmd_http_header *llmd__http_find(const llmd__http_head *head, const char *name)
{
  for (uint32_t i = 0; i < head->n_headers; i++)
    if (llmd__http_is(head->header[i].name, name))
      return &head->header[i];
  return NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

/* Every line ends with CR LF already, so a CR too many stands alone. Counting instead of branching lets the compiler take
 * sixteen bytes at a time. */
static int check_bytes(llmd__http_reader *r)
{
  const uint8_t *p = (const uint8_t *)r->block;
  uint32_t n = r->head_len, cr = 0, low = 0, del = 0, tab = 0;
  for (uint32_t i = 0; i < n; i++) {
    cr += p[i] == '\r';
    low += p[i] < 0x20;
    tab += p[i] == '\t';
    del += p[i] == 0x7f;
  }
  if (cr != r->lines)
    return malformed(r, "bare CR in the head");
  if (low != 2 * r->lines + tab || del != 0)
    return malformed(r, "control byte in the head");
  return 0;
}

/* ---- first lines ----------------------------------------------------------------------------------------------- */

/* "HTTP/1.0" or "HTTP/1.1". */
static int read_version(llmd__http_reader *r, llmd_str s)
{
  if (s.len != 8 || memcmp(s.ptr, "HTTP/", 5) != 0 || s.ptr[5] < '0' || s.ptr[5] > '9' || s.ptr[6] != '.' ||
      s.ptr[7] < '0' || s.ptr[7] > '9')
    return malformed(r, "no protocol version");
  if (s.ptr[5] != '1' || s.ptr[7] > '1')
    return llmd__http_fail(r, 505, LLMD_E_UNSUPPORTED, "protocol version is neither 1.0 nor 1.1");
  r->head.minor = (uint32_t)(s.ptr[7] - '0');
  return 0;
}

static int read_request_line(llmd__http_reader *r, const char *line, const char *end)
{
  llmd__http_head *h = &r->head;
  h->method = (llmd_str){ line, run_of((llmd_str){ line, (size_t)(end - line) }, LLMD__HTTP_TOKEN) };
  const char *p = line + h->method.len;
  if (h->method.len == 0 || p == end || *p != ' ')
    return malformed(r, "malformed method");
  p++;
  const char *blank = memchr(p, ' ', (size_t)(end - p));
  if (blank == NULL)
    return malformed(r, "no protocol version");
  h->target = (llmd_str){ p, (size_t)(blank - p) };
  int rc = read_version(r, (llmd_str){ blank + 1, (size_t)(end - blank - 1) });
  if (rc < 0)
    return rc;
  if (h->target.len == 0 || run_of(h->target, LLMD__HTTP_TARGET) != h->target.len)
    return malformed(r, "byte in the target that must be encoded");
  if (llmd__http_is(h->method, "connect"))
    return llmd__http_fail(r, 501, LLMD_E_UNSUPPORTED, "CONNECT is not offered");
  return 0;
}

static int read_status_line(llmd__http_reader *r, const char *line, const char *end)
{
  llmd__http_head *h = &r->head;
  if (end - line < 12 || line[8] != ' ')
    return malformed(r, "malformed status line");
  int rc = read_version(r, (llmd_str){ line, 8 });
  if (rc < 0)
    return rc;
  for (const char *p = line + 9; p < line + 12; p++) {
    if (*p < '0' || *p > '9')
      return malformed(r, "malformed status");
    h->status = h->status * 10 + (uint32_t)(*p - '0');
  }
  if (h->status < 100 || h->status > 599 || (end - line > 12 && line[12] != ' '))
    return malformed(r, "malformed status");
  if (end - line > 13)
    h->reason = (llmd_str){ line + 13, (size_t)(end - line - 13) };
  return 0;
}

/* ---- headers --------------------------------------------------------------------------------------------------- */

static int read_header(llmd__http_reader *r, const char *line, const char *end, llmd_http_header *out)
{
  if (*line == ' ' || *line == '\t')
    return malformed(r, "folded header");
  size_t n = run_of((llmd_str){ line, (size_t)(end - line) }, LLMD__HTTP_TOKEN);
  const char *p = line + n;
  if (p == end)
    return malformed(r, "header without a colon");
  if (*p == ' ' || *p == '\t')
    return malformed(r, "blank in or after a header's name");
  if (n == 0 || *p != ':')
    return malformed(r, "malformed header name");
  out->name = (llmd_str){ line, n };
  out->value = trim(p + 1, end);
  return 0;
}

/* ---- what headers mean ----------------------------------------------------------------------------------------- */

/* The headers that decide where a message ends and whom it is for. */
typedef struct framers {
  uint32_t n_length, n_coding, n_host, n_upgrade;
  uint32_t close, keep;
  llmd_str length, coding, host, expect;
} framers;

static void note_header(framers *f, const llmd_http_header *h)
{
  switch (h->name.len) {
  case 4:
    if (llmd__http_is(h->name, "host")) {
      f->n_host++;
      f->host = h->value;
    }
    break;
  case 6:
    if (llmd__http_is(h->name, "expect"))
      f->expect = h->value;
    break;
  case 7:
    /* An offer of h2c may be passed over (RFC 9110 §7.8), and common clients make it with every request. */
    f->n_upgrade += llmd__http_is(h->name, "upgrade") && !llmd__http_is(h->value, "h2c") ? 1 : 0;
    break;
  case 10:
    if (llmd__http_is(h->name, "connection")) {
      f->close |= (uint32_t)llmd__http_lists(h->value, "close");
      f->keep |= (uint32_t)llmd__http_lists(h->value, "keep-alive");
    }
    break;
  case 14:
    if (llmd__http_is(h->name, "content-length")) {
      f->n_length++;
      f->length = h->value;
    }
    break;
  case 17:
    if (llmd__http_is(h->name, "transfer-encoding")) {
      f->n_coding++;
      f->coding = h->value;
    }
    break;
  default:
    break;
  }
}

static int read_length(llmd__http_reader *r, llmd_str s)
{
  uint64_t n = 0;
  if (s.len == 0 || s.len > 19)
    return malformed(r, "malformed Content-Length");
  for (size_t i = 0; i < s.len; i++) {
    if (s.ptr[i] < '0' || s.ptr[i] > '9')
      return malformed(r, "malformed Content-Length");
    n = n * 10 + (uint64_t)(s.ptr[i] - '0'); /* 19 digits fit */
  }
  r->head.framing = LLMD__HTTP_LENGTH;
  r->head.length = n;
  return 0;
}

static int read_framing(llmd__http_reader *r, const framers *f)
{
  llmd__http_head *h = &r->head;
  if (f->n_length > 1)
    return malformed(r, "Content-Length more than once");
  if (f->n_coding > 1)
    return malformed(r, "Transfer-Encoding more than once");
  if (f->n_coding != 0 && f->n_length != 0)
    return malformed(r, "Content-Length together with Transfer-Encoding");
  if (f->n_coding != 0 && h->minor == 0)
    return malformed(r, "Transfer-Encoding in HTTP/1.0");
  if (f->n_coding != 0) {
    if (!llmd__http_is(f->coding, "chunked"))
      return llmd__http_fail(r, 501, LLMD_E_UNSUPPORTED, "transfer coding is not chunked");
    h->framing = LLMD__HTTP_CHUNKED;
  }
  return f->n_length != 0 ? read_length(r, f->length) : 0;
}

/* name, IPv4 address or [IPv6 address]; with or without :port. */
static int host_is_good(llmd_str s)
{
  size_t n;
  if (s.len > 0 && s.ptr[0] == '[') {
    for (n = 1; n < s.len && s.ptr[n] != ']'; n++)
      if (s.ptr[n] != ':' && s.ptr[n] != '.' && memchr("0123456789abcdefABCDEF", s.ptr[n], 22) == NULL)
        return 0;
    if (n < 3 || n == s.len)
      return 0;
    n++;
  } else {
    n = run_of(s, LLMD__HTTP_HOST);
  }
  if (n == 0 || n > 255)
    return 0;
  if (n == s.len)
    return 1;
  if (s.ptr[n] != ':' || s.len - n > 6)
    return 0;
  for (n++; n < s.len; n++)
    if (s.ptr[n] < '0' || s.ptr[n] > '9')
      return 0;
  return 1;
}

static int read_host(llmd__http_reader *r, const framers *f)
{
  if (f->n_host > 1)
    return malformed(r, "Host more than once");
  if (f->n_host == 0)
    return r->head.minor == 0 ? 0 : malformed(r, "no Host");
  if (!host_is_good(f->host))
    return malformed(r, "malformed Host");
  r->head.host = f->host;
  return 0;
}

/* Path and query, or '*' of OPTIONS; http://HOST/... loses its beginning, so that nobody behind us sees two hosts. */
static int reduce_target(llmd__http_reader *r)
{
  llmd__http_head *h = &r->head;
  if (h->target.ptr[0] == '/')
    return 0;
  if (h->target.len == 1 && h->target.ptr[0] == '*')
    return llmd__http_is(h->method, "options") ? 0 : malformed(r, "target * is for OPTIONS");
  if (h->target.len < 8 || !llmd__http_is((llmd_str){ h->target.ptr, 7 }, "http://"))
    return malformed(r, "target is neither a path nor http://");
  const char *p = h->target.ptr + 7, *end = h->target.ptr + h->target.len;
  const char *path = memchr(p, '/', (size_t)(end - p));
  llmd_str authority = { p, (size_t)((path == NULL ? end : path) - p) };
  if (!same(authority, h->host))
    return malformed(r, "target and Host differ");
  h->target = path == NULL ? (llmd_str){ "/", 1 } : (llmd_str){ path, (size_t)(end - path) };
  return 0;
}

static int apply_to_request(llmd__http_reader *r, const framers *f)
{
  llmd__http_head *h = &r->head;
  int rc = read_host(r, f);
  if (rc == 0)
    rc = reduce_target(r);
  if (rc < 0)
    return rc;
  if (f->n_upgrade != 0)
    return llmd__http_fail(r, 501, LLMD_E_UNSUPPORTED, "Upgrade is not offered");
  if (f->expect.len != 0) {
    if (!llmd__http_is(f->expect, "100-continue"))
      return llmd__http_fail(r, 417, LLMD_E_UNSUPPORTED, "expectation is not 100-continue");
    h->expect = h->minor == 1;
  }
  return 0;
}

/* RFC 9112 §6.3. */
static int apply_to_answer(llmd__http_reader *r)
{
  llmd__http_head *h = &r->head;
  if (h->status == 101)
    return llmd__http_fail(r, 502, LLMD_E_UNSUPPORTED, "switches protocols");
  if (r->head_request || h->status < 200 || h->status == 204 || h->status == 304) {
    h->framing = LLMD__HTTP_NONE;
    h->length = 0;
  } else if (h->framing == LLMD__HTTP_NONE) {
    h->framing = LLMD__HTTP_CLOSE;
  }
  return 0;
}

static int apply_headers(llmd__http_reader *r, const framers *f)
{
  llmd__http_head *h = &r->head;
  int rc = read_framing(r, f);
  if (rc == 0)
    rc = r->kind == LLMD__HTTP_REQUEST ? apply_to_request(r, f) : apply_to_answer(r);
  if (rc < 0)
    return rc;
  if (h->framing == LLMD__HTTP_LENGTH && h->length > r->limits->max_body)
    return llmd__http_fail(r, 413, LLMD_E_LIMIT, "body is too large");
  h->keep = h->framing != LLMD__HTTP_CLOSE && f->close == 0 && (h->minor == 1 || f->keep != 0);
  return 0;
}

int llmd__http_head_read(llmd__http_reader *r, llmd_http_header *array, uint32_t max)
{
  framers f = { 0 };
  const char *line = r->block, *stop = r->block + r->head_len - 2;
  int rc = check_bytes(r);
  const char *end = (const char *)memchr(line, '\n', r->head_len) - 1;
  if (rc == 0)
    rc = r->kind == LLMD__HTTP_REQUEST ? read_request_line(r, line, end) : read_status_line(r, line, end);
  uint32_t n = 0;
  for (line = end + 2; rc == 0 && line < stop; line = end + 2) {
    end = (const char *)memchr(line, '\n', (size_t)(stop - line)) - 1;
    if (n == max)
      return llmd__http_fail(r, 431, LLMD_E_LIMIT, "too many headers");
    rc = read_header(r, line, end, &array[n]);
    if (rc == 0)
      note_header(&f, &array[n++]);
  }
  if (rc < 0)
    return rc;
  r->head.header = array;
  r->head.n_headers = n;
  return apply_headers(r, &f);
}
