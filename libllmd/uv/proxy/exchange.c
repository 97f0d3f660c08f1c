/* An exchange's memory, and its end however it comes. */
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/inner.h"
#include "uv/proxy/refusal.h"

#define MOST_SPARE 1024u
#define MOST_SPARE_WORK 256u

/* ---- memory ---- */

llmd__work *llmd__exchange_take_work(llmd_proxy *p)
{
  llmd__work *w = p->spare_work;
  size_t head = (sizeof *w + 15) & ~(size_t)15;
  if (w) {
    p->spare_work = w->next;
    if (--p->n_spare_work < p->least_spare_work)
      p->least_spare_work = p->n_spare_work;
  } else {
    w = llmd__realloc(&p->alloc, NULL, 0, p->work_bytes);
    if (!w)
      return NULL;
    w->tokens = NULL;
    w->tokens_len = 0;
    if (llmd_request_init((char *)w + head, p->work_bytes - head, &p->request_options, &w->request)) {
      llmd__free(&p->alloc, w, p->work_bytes);
      return NULL;
    }
  }
  w->next = NULL;
  w->at = w->n_tried = 0;
  w->decision.size = sizeof w->decision;
  w->decision.status = 0;
  return w;
}

static void free_work(llmd_proxy *p, llmd__work *w)
{
  llmd__free(&p->alloc, w, p->work_bytes);
}

void llmd__exchange_drop_work(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd__work *w = x->work;
  if (!w)
    return;
  x->work = NULL;
  llmd_request_reset(w->request);
  llmd__free(&p->alloc, w->tokens, w->tokens_len);
  w->tokens = NULL;
  w->tokens_len = 0;
  if (p->n_spare_work >= MOST_SPARE_WORK) {
    free_work(p, w);
    return;
  }
  w->next = p->spare_work;
  p->spare_work = w;
  p->n_spare_work++;
}

llmd__exchange *llmd__exchange_take(llmd_proxy *p)
{
  llmd__exchange *x = p->spare;
  if (x) {
    p->spare = x->next;
    p->n_spare--;
  } else {
    x = llmd__realloc(&p->alloc, NULL, 0, sizeof *x);
    if (!x)
      return NULL;
  }
  memset(x, 0, offsetof(llmd__exchange, id));
  x->proxy = p;
  x->prev = p->newest;
  *(p->newest ? &p->newest->next : &p->oldest) = x;
  p->newest = x;
  p->n_exchanges++;
  llmd__usage_init(&x->usage);
  return x;
}

static void drop_exchange(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd__exchange_drop_work(x);
  llmd__sse_free(&x->sse, &p->alloc);
  llmd__tail_free(&x->tail, &p->alloc);
  *(x->prev ? &x->prev->next : &p->oldest) = x->next;
  *(x->next ? &x->next->prev : &p->newest) = x->prev;
  p->n_exchanges--;
  if (p->n_spare >= MOST_SPARE) {
    llmd__free(&p->alloc, x, sizeof *x);
    return;
  }
  x->next = p->spare;
  p->spare = x;
  p->n_spare++;
}

void llmd__exchange_free_spare(llmd_proxy *p)
{
  for (llmd__exchange *x; (x = p->spare) != NULL;) {
    p->spare = x->next;
    llmd__free(&p->alloc, x, sizeof *x);
  }
  for (llmd__work *w; (w = p->spare_work) != NULL;) {
    p->spare_work = w->next;
    free_work(p, w);
  }
  p->n_spare = p->n_spare_work = 0;
}

void llmd__exchange_trim(llmd_proxy *p)
{
  for (uint32_t n = p->least_spare_work; n && p->spare_work; n--) {
    llmd__work *w = p->spare_work;
    p->spare_work = w->next;
    p->n_spare_work--;
    free_work(p, w);
  }
  p->least_spare_work = p->n_spare_work;
}

/* ---- the end ---- */

void llmd__exchange_report(llmd__exchange *x, uint32_t kind, const llmd_now *now)
{
  if (x->ticket)
    (void)llmd_report(x->proxy->lane, x->ticket, kind, &x->usage, now);
  else if (x->target)
    (void)llmd_report_endpoint(x->proxy->lane, x->target, kind, now);
  x->reported = now->mono;
  if (kind >= LLMD_REPORT_END)
    x->ticket = x->target = 0;
}

void llmd__exchange_end(llmd__exchange *x, const llmd_now *now, const llmd_str *piece, uint32_t n)
{
  llmd_http_call *call = x->call;
  llmd__counts_end(x, now);
  llmd__line_put(x, now);
  x->state = LLMD__X_OVER;
  x->call = NULL;
  if (piece) {
    /* The next request of the connection may begin within this. */
    int rc;
    llmd_http_set_data(call, NULL);
    rc = llmd_http_end(call, piece, n);
    if (rc == LLMD_E_STATE || rc == LLMD_E_RANGE)
      llmd_http_abort(call);
  }
  drop_exchange(x);
}

void llmd__exchange_answer(llmd__exchange *x, uint32_t status, llmd_http_header *header, uint32_t n, llmd_str body)
{
  llmd_http_call *call = x->call;
  llmd_now now;
  llmd_clock(&now);
  llmd__exchange_report(x, LLMD_REPORT_CANCEL, &now);
  x->status = status;
  x->own = 1;
  x->bytes_out = body.len;
  llmd__counts_end(x, &now);
  llmd__line_put(x, &now);
  x->state = LLMD__X_OVER;
  x->call = NULL;
  llmd_http_set_data(call, NULL);
  header[n++] = (llmd_http_header){{"Content-Type", 12}, {"application/json", 16}};
  if (llmd_http_begin(call, status, header, n, (int64_t)body.len))
    llmd_http_abort(call);
  else
    (void)llmd_http_end(call, &body, 1);
  drop_exchange(x);
}

void llmd__exchange_refuse(llmd__exchange *x, uint32_t status, const char *code, const char *message,
                           const llmd_http_header *header, uint32_t n)
{
  llmd_http_header with[LLMD_MAX_HEADERS + 3];
  char text[LLMD__REFUSAL_ROOM];
  llmd_str body = {text, llmd__refusal_body(status, code, message, x->anthropic, text)};
  uint32_t k = 0;
  for (; k < n && k < LLMD_MAX_HEADERS; k++)
    with[k] = header[k];
  with[k++] = (llmd_http_header){{"x-request-id", 12}, {x->id, x->id_len}};
  if (status == 429 || status == 503)
    with[k++] = (llmd_http_header){{"retry-after", 11}, {"1", 1}};
  llmd__exchange_answer(x, status, with, k, body);
}

void llmd__exchange_gone(llmd__exchange *x)
{
  llmd_now now;
  llmd_clock(&now);
  if (x->leg)
    llmd__leg_cancel(x->leg);
  llmd__proxy_forget_tokens(x);
  llmd__exchange_report(x, LLMD_REPORT_CANCEL, &now);
  x->status = 499;
  llmd__exchange_end(x, &now, NULL, 0);
}

void llmd__exchange_expire(llmd__exchange *x)
{
  llmd_http_call *call = x->call;
  llmd_now now;
  if (x->leg)
    llmd__leg_cancel(x->leg);
  x->leg = NULL;
  llmd__proxy_forget_tokens(x);
  if (x->state != LLMD__X_PASSING) {
    x->why = x->state == LLMD__X_SENT ? LLMD__LEG_SILENT : x->why;
    llmd__exchange_refuse(x, 504, "timeout", "the request took too long", NULL, 0);
    return;
  }
  llmd_clock(&now);
  llmd__exchange_report(x, LLMD_REPORT_CANCEL, &now);
  x->why = LLMD__LEG_STALLED;
  llmd__exchange_end(x, &now, NULL, 0);
  llmd_http_set_data(call, NULL);
  llmd_http_abort(call);
}
