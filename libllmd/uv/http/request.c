/* Requests out of bytes: heads shown, bodies gathered, one asked after the other. */
#include <string.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "uv/http/server.h"

#define BODY_AT_ONCE 524288u /* of a larger body more is only held once it has come */
#define READS_AT_ONCE 8
#define FIRST_READ 24576u /* what comes with a head is copied: an ordinary request comes whole, of a large body little does */

/* The server answers by itself and closes. A host that knows of the call loses it. */
void llmd__request_refuse(llmd__connection *c, uint32_t status, const char *text)
{
  llmd_http_server *s = c->server;
  if (c->call.begun && c->call.open) {
    llmd__server_report(s, c, 0, text);
    llmd__connection_gone(c, 1);
    return;
  }
  llmd__answer_refusal(c, status, text);
  llmd__server_report(s, c, status, text);
  if (!c->closed)
    llmd__connection_tell_gone(c);
  if (c->closed)
    return;
  c->keep = 0;
  c->unread = 1;
  llmd__connection_end_call(c);
}

/* ---- heads, bodies, ends --------------------------------------------------------------------------------------- */

static void begin_request(llmd__connection *c)
{
  c->phase = LLMD__HEAD;
  c->since = uv_now(c->server->loop);
  c->first_byte = uv_hrtime();
}

static void open_call(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  llmd_http_call *call = &c->call;
  const llmd__http_head *head = &c->reader.head;
  memset(call, 0, sizeof *call);
  call->of = c;
  call->open = 1;
  call->request = (llmd_http_request){
    .size = sizeof call->request, .n_headers = head->n_headers, .header = head->header, .method = head->method,
    .target = head->target, .client = { c->client, c->client_len }, .number = ++s->number, .begun = c->first_byte,
    .minor = head->minor,
    .has_body = head->framing == LLMD__HTTP_CHUNKED || (head->framing == LLMD__HTTP_LENGTH && head->length != 0) };
  s->requests++;
  s->n_calls++;
  c->calls++;
  c->keep = 0;
}

static int reserve(llmd__connection *c, size_t need)
{
  int rc = llmd__http_body_reserve(&c->server->bodies, &c->call.body, need);
  if (rc == LLMD_E_LIMIT)
    llmd__request_refuse(c, 503, "too many bodies are held");
  else if (rc < 0)
    llmd__request_refuse(c, 503, "out of memory");
  return rc;
}

/* more: bytes of the body have come with the head. */
static void got_head(llmd__connection *c, int more)
{
  llmd_http_server *s = c->server;
  const llmd__http_head *head = &c->reader.head;
  open_call(c);
  c->phase = LLMD__BODY;
  c->since = c->byte_at = uv_now(c->server->loop);
  if (s->handler.on_head != NULL) {
    c->call.known = 1;
    s->handler.on_head(s->handler.ud, &c->call);
    if (c->closed || c->phase != LLMD__BODY)
      return;
    if (c->call.begun) {
      c->phase = LLMD__ANSWER;
      return;
    }
  }
  if (!c->call.request.has_body)
    return;
  uint64_t known = head->framing == LLMD__HTTP_LENGTH ? head->length : 0;
  if (known != 0 && reserve(c, known < BODY_AT_ONCE ? (size_t)known : BODY_AT_ONCE) < 0)
    return;
  if (head->expect && !more)
    llmd__answer_continue(c);
}

static void got_body(llmd__connection *c, llmd_str piece)
{
  llmd__http_body *body = &c->call.body;
  if (reserve(c, body->len + piece.len) < 0)
    return;
  memcpy(body->ptr + body->len, piece.ptr, piece.len);
  body->len += piece.len;
  c->byte_at = uv_now(c->server->loop);
}

static void got_request(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  c->phase = LLMD__ANSWER;
  if (c->call.begun) /* it was refused by its head */
    return;
  c->call.request.body = (llmd_str){ c->call.body.ptr, c->call.body.len };
  c->call.known = 1;
  s->handler.on_request(s->handler.ud, &c->call);
}

/* Reads requests from bytes until they are used up or an answer must come first. Returns how many were used. */
static size_t process(llmd__connection *c, const char *data, size_t len)
{
  size_t at = 0;
  c->running = 1;
  while (!c->closed && c->phase <= LLMD__BODY) {
    size_t used = 0;
    llmd_str piece;
    if (c->phase == LLMD__IDLE && at < len)
      begin_request(c);
    int rc = llmd__http_feed(&c->reader, data + at, len - at, &used, &piece);
    at += used;
    if (rc == LLMD__HTTP_MORE)
      break;
    if (rc < 0)
      llmd__request_refuse(c, c->reader.status, c->reader.text);
    else if (rc == LLMD__HTTP_HEAD)
      got_head(c, at < len);
    else if (rc == LLMD__HTTP_BODY)
      got_body(c, piece);
    else
      got_request(c);
  }
  if (!c->closed && c->phase == LLMD__HEAD && !llmd__http_midway(&c->reader))
    c->phase = LLMD__IDLE; /* a blank line before a request */
  c->running = 0;
  if (!c->closed && c->phase == LLMD__IDLE && c->server->draining) /* since a moment ago */
    llmd__connection_close(c, 0);
  return at;
}

/* ---- bytes that wait ------------------------------------------------------------------------------------------- */

static void keep_input(llmd__connection *c, const char *data, size_t len)
{
  char *p = llmd__realloc(&c->server->limits.alloc, c->in, c->in_cap, len);
  if (p == NULL) {
    llmd__connection_gone(c, 1);
    return;
  }
  memcpy(p, data, len);
  c->in = p;
  c->in_begin = 0;
  c->in_end = c->in_cap = len;
}

void llmd__request_resume(llmd__connection *c)
{
  c->in_begin += process(c, c->in + c->in_begin, c->in_end - c->in_begin);
  if (c->closed || c->phase > LLMD__BODY)
    return;
  llmd__free(&c->server->limits.alloc, c->in, c->in_cap); /* all is used: an unfinished head is the reader's */
  c->in = NULL;
  c->in_begin = c->in_end = c->in_cap = 0;
  if (c->stopped) {
    c->stopped = 0;
    llmd__connection_poll(c);
  }
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Where the next bytes of a body of known length go. */
static size_t room_of_body(llmd__connection *c)
{
  llmd__http_body *body = &c->call.body;
  uint64_t left = c->phase == LLMD__BODY ? llmd__http_body_left(&c->reader) : 0;
  if (left == 0)
    return 0;
  if (body->len == body->cap) {
    size_t more = left < body->len ? (size_t)left : body->len;
    if (reserve(c, body->len + (more != 0 ? more : 1)) < 0)
      return 0;
  }
  size_t room = body->cap - body->len;
  return room < left ? room : (size_t)left;
}

void llmd__request_read(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  for (int i = 0; i < READS_AT_ONCE; i++) {
    size_t room = room_of_body(c);
    if (c->closed || c->phase > LLMD__BODY)
      return;
    size_t behind = room != 0 ? LLMD__HTTP_READ : FIRST_READ;
    struct iovec vec[2] = { { NULL, room }, { s->buffer, behind } };
    if (room != 0)
      vec[0].iov_base = c->call.body.ptr + c->call.body.len;
    size_t n = room != 0 ? llmd__connection_receive(c, vec, 2) : llmd__connection_receive(c, vec + 1, 1);
    if (n == 0)
      return;
    size_t direct = n < room ? n : room;
    if (direct != 0) {
      c->call.body.len += direct;
      c->byte_at = uv_now(c->server->loop);
      llmd__http_body_skip(&c->reader, direct);
    }
    size_t used = process(c, s->buffer, n - direct);
    if (!c->closed && used < n - direct && (c->phase == LLMD__ANSWER || c->phase == LLMD__FLUSH))
      keep_input(c, s->buffer + used, n - direct - used);
    if (n < room + behind || c->closed || c->phase > LLMD__BODY)
      return;
  }
}
