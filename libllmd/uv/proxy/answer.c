/* An engine's answer on its way to the client: its head written anew, its body in our own framing, one write for each
 * read, and a look at what passes. */
#include <string.h>

#include "base/number.h"
#include "uv/http/leg.h"
#include "uv/proxy/inner.h"

_Static_assert(LLMD__PROXY_GATHER >= LLMD__LEG_BUFFER, "one read");

#define PIECES (sizeof((llmd_proxy *)0)->piece / sizeof(llmd_str))

/* ---- the head ---- */

static llmd_str value_of(const llmd__http_head *head, const char *name)
{
  const llmd_http_header *h = llmd__http_find(head, name);
  return h ? h->value : (llmd_str){"", 0};
}

static int begins(llmd_str s, const char *text)
{
  size_t n = strlen(text);
  if (s.len < n)
    return 0;
  for (size_t i = 0; i < n; i++)
    if ((s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]) != text[i])
      return 0;
  return 1;
}

/* What will be looked at: events, or the end of a JSON body. Nothing that is compressed. */
static void look_at_head(llmd__exchange *x, const llmd__http_head *head)
{
  llmd_str type = value_of(head, "content-type"), coding = value_of(head, "content-encoding");
  const char *key = x->dialect == LLMD_DIALECT_SGLANG_GENERATE ? LLMD__USAGE_META : LLMD__USAGE_KEY;
  int known = x->dialect != LLMD_DIALECT_PASSTHROUGH;
  x->stream = (uint8_t)begins(type, "text/event-stream");
  llmd__sse_init(&x->sse, key, x->proxy->service->limits.event, x->asked);
  if (coding.len && !begins(coding, "identity"))
    x->sse.raw = 1;
  x->looks = !x->stream && !x->sse.raw && known && begins(type, "application/json");
}

/* Of the body that follows, or would follow if this were no HEAD; -1 = not known. */
static int64_t length_of(const llmd__exchange *x, const llmd__http_head *head)
{
  uint64_t n;
  llmd_str said;
  if (head->framing == LLMD__HTTP_LENGTH)
    return x->stream && x->asked ? -1 : (int64_t)head->length;
  if (head->framing != LLMD__HTTP_NONE)
    return -1;
  said = value_of(head, "content-length");
  if (!said.len)
    return -1;
  return llmd__parse_u64(said.ptr, said.len, &n) == 0 && n < INT64_MAX ? (int64_t)n : 0;
}

/* The engine's headers, the request's id, and what stateful plugins want the client to have. */
static int gather_headers(llmd__exchange *x, const llmd__http_head *head, const llmd_response *response)
{
  llmd_http_header *out = x->proxy->header;
  int n = llmd__forward_answer(head->header, head->n_headers, out, LLMD__PROXY_HEADERS - LLMD_MAX_HEADERS - 1);
  if (n < 0)
    return n;
  out[n++] = (llmd_http_header){{"x-request-id", 12}, {x->id, x->id_len}};
  for (uint32_t i = 0; i < response->n_headers; i++) {
    out[n].name = (llmd_str){response->text + response->header[i].name.off, response->header[i].name.len};
    out[n++].value = (llmd_str){response->text + response->header[i].value.off, response->header[i].value.len};
  }
  return n;
}

static int begin(llmd__exchange *x, const llmd__http_head *head, const llmd_now *now)
{
  llmd_response response;
  int n;
  response.size = sizeof response;
  response.n_headers = 0;
  if (x->ticket && llmd_respond(x->proxy->lane, x->ticket, 0, now, &response))
    response.n_headers = 0;
  n = gather_headers(x, head, &response);
  if (n < 0)
    return n;
  return llmd_http_begin(x->call, head->status, x->proxy->header, (uint32_t)n, length_of(x, head));
}

/* The engine has all of the request, and answers: nothing will be sent again. */
static void let_go(llmd__exchange *x)
{
  if (!x->work || !x->leg || !llmd__leg_sent(x->leg))
    return;
  llmd__exchange_drop_work(x);
  llmd_http_drop_body(x->call);
}

static void on_head(void *ud, const llmd__http_head *head)
{
  llmd__exchange *x = ud;
  llmd_now now;
  int rc;
  llmd_clock(&now);
  look_at_head(x, head);
  rc = head->status > 599 ? LLMD_E_RANGE : begin(x, head, &now);
  if (rc) {
    llmd__leg_cancel(x->leg);
    x->leg = NULL;
    x->why = LLMD__LEG_MALFORMED;
    llmd__exchange_report(x, LLMD_REPORT_ERROR, &now);
    llmd__exchange_refuse(x, 502, "bad_answer", "the engine's answer cannot be passed on", NULL, 0);
    return;
  }
  x->status = head->status;
  x->why = 0;
  x->state = LLMD__X_PASSING;
  x->proxy->n_pieces = 0;
  x->proxy->gathered = 0;
  let_go(x);
}

/* ---- the body ---- */

/* A JSON body that comes in one piece is read as it lies; of others the end is copied. */
static void keep_tail(llmd__exchange *x, const llmd_str *piece, uint32_t n)
{
  for (uint32_t i = 0; x->looks && i < n; i++)
    (void)llmd__tail_add(&x->tail, &x->proxy->alloc, piece[i]);
}

/* Sends the pieces gathered. 0: the exchange is over. */
static int write_pieces(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd_http_call *call = x->call;
  llmd_now now;
  int rc;
  keep_tail(x, p->piece, p->n_pieces);
  rc = llmd_http_write(call, p->piece, p->n_pieces);
  p->n_pieces = 0;
  llmd__sse_sent(&x->sse, &p->alloc);
  if (rc > 0 && x->leg)
    llmd__leg_pause(x->leg);
  if (rc >= 0)
    return 1;
  if (rc == LLMD_E_CLOSED) /* on_gone follows, or has been */
    return 0;
  llmd_clock(&now);
  if (x->leg)
    llmd__leg_cancel(x->leg);
  x->leg = NULL;
  llmd__exchange_report(x, LLMD_REPORT_CANCEL, &now);
  x->why = LLMD__LEG_MALFORMED;
  llmd__exchange_end(x, &now, NULL, 0);
  llmd_http_set_data(call, NULL);
  llmd_http_abort(call);
  return 0;
}

static int add_piece(llmd__exchange *x, llmd_str piece)
{
  llmd_proxy *p = x->proxy;
  x->bytes_out += piece.len;
  p->piece[p->n_pieces++] = piece;
  return p->n_pieces < PIECES || write_pieces(x);
}

/* Looks at the events gathered. 0: the exchange is over. */
static int add_events(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd_str out[LLMD__SSE_PIECES], in = {p->gather, p->gathered};
  p->gathered = 0;
  while (in.len) {
    int n;
    if (x->sse.emitted && !write_pieces(x))
      return 0;
    n = llmd__sse_feed(&x->sse, &p->alloc, &in, out);
    for (int i = 0; i < n; i++)
      if (!add_piece(x, out[i]))
        return 0;
  }
  return 1;
}

/* Engines send an event a chunk, and one read brings many: side by side they are looked at and sent at once. */
static void on_body(void *ud, llmd_str piece)
{
  llmd__exchange *x = ud;
  llmd_proxy *p = x->proxy;
  if (!x->stream) {
    (void)add_piece(x, piece);
    return;
  }
  memcpy(p->gather + p->gathered, piece.ptr, piece.len);
  p->gathered += piece.len;
}

/* An answer by which the engine says that it could not: it passes like any other, and counts as a failure of the
 * engine. */
static int is_failure(const llmd__exchange *x)
{
  return x->status >= 500;
}

/* The first token, and how far apart they come. There is none in a failure. */
static void note_time(llmd__exchange *x, const llmd_now *now)
{
  if (is_failure(x) || (x->stream && !x->sse.data))
    return;
  if (!x->first) {
    x->first = now->mono;
    llmd__exchange_report(x, LLMD_REPORT_FIRST, now);
  } else if (x->stream) {
    llmd__counts_flush(x, now->mono - x->last);
  }
  x->last = now->mono;
}

static void on_flush(void *ud)
{
  llmd__exchange *x = ud;
  llmd_now now;
  if (!add_events(x))
    return;
  if (x->proxy->n_pieces) {
    llmd_clock(&now);
    note_time(x, &now);
  }
  let_go(x); /* an early answer begins before the engine has all */
  if (!x->flushed) {
    x->flushed = 1;
    llmd__leg_release_head(x->leg);
  }
  if (x->proxy->n_pieces || !x->bytes_out)
    (void)write_pieces(x);
}

/* ---- the end ---- */

static void note_usage(llmd__exchange *x, const llmd_str *piece, uint32_t n)
{
  llmd_str end = {x->tail.at, x->tail.len};
  if (x->stream)
    x->usage = x->sse.usage;
  if (!x->looks)
    return;
  if (n == 1 && !end.len) {
    end = *piece;
  } else {
    keep_tail(x, piece, n);
    end = (llmd_str){x->tail.at, x->tail.len};
  }
  if (end.len)
    (void)llmd__usage_read(end, x->sse.key, &x->usage);
}

static void on_end(void *ud)
{
  llmd__exchange *x = ud;
  llmd_proxy *p = x->proxy;
  llmd_str rest, piece[PIECES];
  uint32_t n;
  llmd_now now;
  x->leg = NULL;
  if (!add_events(x))
    return;
  rest = llmd__sse_rest(&x->sse);
  n = p->n_pieces;
  llmd_clock(&now);
  if (n)
    memcpy(piece, p->piece, n * sizeof *piece); /* another request may begin within the end of this one */
  p->n_pieces = 0;
  if (rest.len) {
    piece[n++] = rest;
    x->bytes_out += rest.len;
    (void)llmd__usage_read(rest, x->sse.key, &x->sse.usage); /* the last event may lack its end */
  }
  note_usage(x, piece, n);
  if (!x->first && !is_failure(x))
    x->first = x->bytes_out ? now.mono : 0;
  llmd__exchange_report(x, is_failure(x) ? LLMD_REPORT_ERROR : LLMD_REPORT_END, &now);
  llmd__exchange_end(x, &now, piece, n);
}

static void on_fail(void *ud, int why)
{
  llmd__exchange *x = ud;
  llmd_http_call *call = x->call;
  llmd_now now;
  llmd__counts_leg(x->proxy, NULL, why, x->state == LLMD__X_PASSING);
  x->leg = NULL;
  if (x->state != LLMD__X_PASSING) {
    llmd__exchange_retry(x, why);
    return;
  }
  llmd_clock(&now);
  note_usage(x, NULL, 0);
  x->why = (uint32_t)why;
  x->proxy->n_pieces = 0;
  x->proxy->gathered = 0;
  llmd__exchange_report(x, LLMD_REPORT_ERROR, &now);
  llmd__exchange_end(x, &now, NULL, 0);
  llmd_http_set_data(call, NULL);
  llmd_http_abort(call);
}

void llmd__answer_drained(llmd__exchange *x)
{
  if (x->leg)
    llmd__leg_resume(x->leg);
}

const llmd__leg_handler llmd__answer_handler = {on_head, on_body, on_flush, on_end, on_fail};
