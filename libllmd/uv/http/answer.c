/* Answers: heads, framing, the calls that a host makes. */
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "uv/http/head.h"
#include "uv/http/server.h"

#define PIECES_AT_ONCE 30

/* ---- the call -------------------------------------------------------------------------------------------------- */

const llmd_http_request *llmd_http_request_of(const llmd_http_call *call)
{
  return &call->request;
}

int llmd_http_header_of(const llmd_http_call *call, const char *name, llmd_str *out)
{
  size_t len = strlen(name);
  for (uint32_t i = 0; i < call->request.n_headers; i++) {
    const llmd_http_header *h = &call->request.header[i];
    size_t k = 0;
    while (h->name.len == len && k < len && ((h->name.ptr[k] ^ name[k]) & ~0x20) == 0)
      k++;
    if (h->name.len == len && k == len) {
      *out = h->value;
      return 0;
    }
  }
  return LLMD_E_NONE;
}

void llmd_http_set_data(llmd_http_call *call, void *data)
{
  call->data = data;
}

void *llmd_http_data(const llmd_http_call *call)
{
  return call->data;
}

void llmd_http_drop_body(llmd_http_call *call)
{
  if (call->of->phase != LLMD__ANSWER)
    return;
  llmd__http_body_drop(&call->of->server->bodies, &call->body);
  call->request.body = (llmd_str){ NULL, 0 };
}

uint64_t llmd_http_sent(const llmd_http_call *call)
{
  return call->sent;
}

/* ---- heads ----------------------------------------------------------------------------------------------------- */

static const char *reason_of(uint32_t status)
{
  static const struct { uint32_t status; const char *text; } known[] = {
    { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 206, "Partial Content" },
    { 301, "Moved Permanently" }, { 302, "Found" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" },
    { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
    { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 413, "Content Too Large" },
    { 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" },
    { 422, "Unprocessable Content" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
    { 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" } };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].status == status)
      return known[i].text;
  return "-";
}

static const char *date_line(llmd_http_server *s)
{
  static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  uint64_t now = uv_now(s->loop);
  if (s->date[0] != '\0' && now - s->date_at < 1000)
    return s->date;
  struct tm t;
  time_t wall = time(NULL);
  if (gmtime_r(&wall, &t) == NULL)
    return "";
  (void)snprintf(s->date, sizeof s->date, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n", days + 3 * t.tm_wday,
                 t.tm_mday, months + 3 * t.tm_mon, (t.tm_year + 1900) % 10000, t.tm_hour, t.tm_min, t.tm_sec);
  s->date_at = now;
  return s->date;
}

/* The server's own headers are not taken from a host. */
static int is_ours(llmd_str name)
{
  switch (name.len) {
  case 4:
    return llmd__http_is(name, "date");
  case 10:
    return llmd__http_is(name, "connection");
  case 14:
    return llmd__http_is(name, "content-length");
  case 17:
    return llmd__http_is(name, "transfer-encoding");
  default:
    return 0;
  }
}

static int has_only(llmd_str s, uint8_t which)
{
  for (size_t i = 0; i < s.len; i++)
    if ((llmd__http_bytes[(uint8_t)s.ptr[i]] & which) == 0)
      return 0;
  return 1;
}

static int headers_are_good(const llmd_http_header *h, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    if (h[i].name.len == 0 || !has_only(h[i].name, LLMD__HTTP_TOKEN) || !has_only(h[i].value, LLMD__HTTP_VALUE))
      return 0;
  return 1;
}

static int add_header(llmd__connection *c, llmd_str name, llmd_str value)
{
  int rc = llmd__out_add(c, name.ptr, name.len);
  if (rc == 0)
    rc = llmd__out_add(c, ": ", 2);
  if (rc == 0)
    rc = llmd__out_add(c, value.ptr, value.len);
  return rc == 0 ? llmd__out_add(c, "\r\n", 2) : rc;
}

static const char *connection_line(const llmd__connection *c)
{
  if (!c->keep)
    return "Connection: close\r\n";
  return c->call.request.minor == 0 ? "Connection: keep-alive\r\n" : "";
}

static char *put_text(char *at, const char *text)
{
  size_t n = strlen(text);
  memcpy(at, text, n);
  return at + n;
}

static char *put_number(char *at, uint64_t v, uint64_t base)
{
  char digit[20];
  size_t n = 0;
  do
    digit[n++] = "0123456789abcdef"[v % base];
  while (v /= base);
  while (n > 0)
    *at++ = digit[--n];
  return at;
}

/* The first lines: status, date, what the body is, what becomes of the connection. */
static int add_first(llmd__connection *c, uint32_t status)
{
  const llmd_http_call *call = &c->call;
  char text[256], *at = put_text(text, "HTTP/1.1 ");
  at = put_number(at, status, 10);
  *at++ = ' ';
  at = put_text(at, reason_of(status));
  at = put_text(at, "\r\n");
  at = put_text(at, date_line(c->server));
  if (call->length >= 0 && status != 204 && status != 304) {
    at = put_text(at, "Content-Length: ");
    at = put_number(at, (uint64_t)call->length, 10);
    at = put_text(at, "\r\n");
  }
  if (call->chunked)
    at = put_text(at, "Transfer-Encoding: chunked\r\n");
  at = put_text(at, connection_line(c));
  return llmd__out_add(c, text, (size_t)(at - text));
}

/* Everything is queued, or nothing. */
static int queue_head(llmd__connection *c, uint32_t status, const char *type, const llmd_http_header *h, uint32_t n)
{
  size_t before = llmd__out_pending(c);
  int rc = add_first(c, status);
  if (rc == 0 && type != NULL)
    rc = add_header(c, (llmd_str){ "Content-Type", 12 }, (llmd_str){ type, strlen(type) });
  for (uint32_t i = 0; rc == 0 && i < n; i++)
    if (!is_ours(h[i].name))
      rc = add_header(c, h[i].name, h[i].value);
  if (rc == 0)
    rc = llmd__out_add(c, "\r\n", 2);
  if (rc < 0)
    c->out_end = c->out_begin + before;
  return rc;
}

/* What the head says of body and connection. */
static void settle(llmd__connection *c, uint32_t status, int64_t length)
{
  llmd_http_call *call = &c->call;
  llmd_http_server *s = c->server;
  const llmd__http_head *head = &c->reader.head;
  call->length = length;
  call->bodyless = llmd__http_is(call->request.method, "head") || status == 204 || status == 304;
  call->chunked = length < 0 && call->request.minor == 1 && status != 204 && status != 304;
  call->body_sent = 0;
  int whole = !llmd__http_midway(&c->reader) || head->framing == LLMD__HTTP_NONE ||
              (head->framing == LLMD__HTTP_LENGTH && head->length == 0);
  c->keep = head->keep && whole && !s->draining && (length >= 0 || call->chunked || call->bodyless) &&
            (s->options.max_calls == 0 || c->calls < s->options.max_calls);
}

static int begin(llmd_http_call *call, uint32_t status, const char *type, const llmd_http_header *h, uint32_t n,
                 int64_t length)
{
  llmd__connection *c = call->of;
  if (!call->open || call->begun)
    return LLMD_E_STATE;
  if (status < 200 || status > 599 || length < -1 || !headers_are_good(h, n) ||
      (type != NULL && !has_only((llmd_str){ type, strlen(type) }, LLMD__HTTP_VALUE)))
    return LLMD_E_INVALID;
  settle(c, status, length);
  size_t before = llmd__out_pending(c);
  int rc = queue_head(c, status, type, h, n);
  if (rc < 0)
    return rc;
  call->begun = 1;
  call->sent = llmd__out_pending(c) - before;
  return 0;
}

int llmd_http_begin(llmd_http_call *call, uint32_t status, const llmd_http_header *headers, uint32_t n, int64_t length)
{
  return begin(call, status, NULL, headers, n, length);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------- */

static int send_pieces(llmd__connection *c, llmd_str first, const llmd_str *piece, uint32_t n, llmd_str last)
{
  struct iovec vec[PIECES_AT_ONCE + 3];
  int rc = 0;
  uint32_t i = 0;
  do {
    int k = 1;
    if (i == 0 && first.len != 0)
      vec[k++] = (struct iovec){ (void *)(uintptr_t)first.ptr, first.len };
    for (uint32_t stop = n - i < PIECES_AT_ONCE ? n : i + PIECES_AT_ONCE; i < stop; i++)
      if (piece[i].len != 0)
        vec[k++] = (struct iovec){ (void *)(uintptr_t)piece[i].ptr, piece[i].len };
    if (i == n && last.len != 0)
      vec[k++] = (struct iovec){ (void *)(uintptr_t)last.ptr, last.len };
    rc = llmd__out_send(c, vec, k);
  } while (rc == 0 && i < n);
  return rc;
}

/* Sends pieces as the answer's next bytes, framed; `end`: its last. */
static int put(llmd_http_call *call, const llmd_str *piece, uint32_t n, int end)
{
  llmd__connection *c = call->of;
  char size[24];
  llmd_str first = { size, 0 }, last = { "", 0 };
  uint64_t total = 0;
  if (!call->begun)
    return LLMD_E_STATE;
  for (uint32_t i = 0; i < n; i++)
    total += piece[i].len;
  if (call->length >= 0 && total > (uint64_t)call->length - call->body_sent)
    return LLMD_E_RANGE;
  call->body_sent += total;
  if (call->bodyless) {
    n = 0;
    total = 0;
  } else if (call->chunked) {
    if (total != 0) {
      first.len = (size_t)(put_text(put_number(size, total, 16), "\r\n") - size);
      last = (llmd_str){ "\r\n", 2 };
    }
    if (end)
      last = total != 0 ? (llmd_str){ "\r\n0\r\n\r\n", 7 } : (llmd_str){ "0\r\n\r\n", 5 };
  }
  call->sent += first.len + total + last.len;
  return send_pieces(c, first, piece, n, last);
}

int llmd_http_write(llmd_http_call *call, const llmd_str *piece, uint32_t n)
{
  llmd__connection *c = call->of;
  int rc = put(call, piece, n, 0);
  if (c->broken)
    llmd__connection_later(c);
  if (rc < 0 || llmd__out_pending(c) <= c->server->options.max_pending)
    return rc;
  c->drained = 1;
  return 1;
}

int llmd_http_end(llmd_http_call *call, const llmd_str *piece, uint32_t n)
{
  llmd__connection *c = call->of;
  int rc = put(call, piece, n, 1);
  if (rc == LLMD_E_STATE || rc == LLMD_E_RANGE)
    return rc;
  if (call->length >= 0 && !call->bodyless && call->body_sent < (uint64_t)call->length) {
    llmd_http_abort(call);
    return rc;
  }
  llmd__connection_end_call(c);
  return rc;
}

int llmd_http_reply(llmd_http_call *call, uint32_t status, const char *type, const llmd_http_header *headers,
                    uint32_t n, const char *body, size_t len)
{
  llmd_str piece = { body, len };
  int none = status == 204 || status == 304;
  int rc = begin(call, status, type, headers, n, none ? 0 : (int64_t)len);
  return rc < 0 ? rc : llmd_http_end(call, &piece, len != 0 && !none ? 1 : 0);
}

void llmd_http_abort(llmd_http_call *call)
{
  llmd__connection *c = call->of;
  call->known = 0; /* no on_gone */
  llmd__connection_gone(c, 1);
}

/* ---- the server's own ------------------------------------------------------------------------------------------ */

static void send_text(llmd__connection *c, const char *text, size_t len)
{
  struct iovec vec[2];
  vec[1] = (struct iovec){ (void *)(uintptr_t)text, len };
  (void)llmd__out_send(c, vec, 2); /* a failure shows in c->broken */
}

void llmd__answer_continue(llmd__connection *c)
{
  static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  send_text(c, text, sizeof text - 1);
}

void llmd__answer_refusal(llmd__connection *c, uint32_t status, const char *text)
{
  char body[256], head[384];
  int n = snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%u}}\n", text,
                   status < 500 ? "invalid_request_error" : "server_error", status);
  int k = snprintf(head, sizeof head,
                   "HTTP/1.1 %u %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
                   status, reason_of(status), date_line(c->server), n);
  struct iovec vec[3];
  vec[1] = (struct iovec){ head, (size_t)k };
  vec[2] = (struct iovec){ body, (size_t)n };
  (void)llmd__out_send(c, vec, 3);
}
