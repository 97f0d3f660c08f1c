/* One request's life up to the first byte of its answer, and everything's end. */
#include <string.h>

#include "base/alloc.h"
#include "uv/proxy/inner.h"
#include "uv/proxy/refusal.h"
#include "uv/proxy/text.h"

#define MOST_SPARE 1024u
#define MOST_SPARE_WORK 256u
#define MOST_EDITS 40u
#define LONGEST_PATH 2048u

/* A path that the core reads as one that has JSON but no prompt. */
#define SEARCHED_PATH "/v1/completions/render"

/* ---- memory ---- */

static llmd__work *take_work(llmd_proxy *p)
{
  llmd__work *w = p->spare_work;
  size_t head = (sizeof *w + 15) & ~(size_t)15;
  if (w) {
    p->spare_work = w->next;
    p->n_spare_work--;
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

static llmd__exchange *take_exchange(llmd_proxy *p)
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

/* ---- the end ---- */

void llmd__exchange_report(llmd__exchange *x, uint32_t kind, const llmd_now *now)
{
  if (!x->ticket)
    return;
  (void)llmd_report(x->proxy->lane, x->ticket, kind, &x->usage, now);
  x->reported = now->mono;
  if (kind >= LLMD_REPORT_END)
    x->ticket = 0;
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

/* A whole answer of our own, and the end. header: room for one more behind n. The answer goes before the memory that its
 * headers lie in. */
static void answer_self(llmd__exchange *x, uint32_t status, llmd_http_header *header, uint32_t n, llmd_str body)
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
  answer_self(x, status, with, k, body);
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

/* ---- sending ---- */

static llmd_str body_of(const llmd__exchange *x)
{
  return llmd_http_request_of(x->call)->body;
}

/* The body with its edits, as pieces of what is there. */
static int cut_body(const llmd__exchange *x, llmd_str *piece, uint32_t *n, uint64_t *bytes)
{
  llmd_edit edit[MOST_EDITS];
  llmd_str body = body_of(x);
  size_t at = 0;
  int edits = llmd_request_edits(x->work->request, edit, MOST_EDITS);
  if (edits < 0 || (uint32_t)edits > MOST_EDITS)
    return edits < 0 ? edits : LLMD_E_LIMIT;
  *bytes = 0;
  for (int i = 0; i <= edits; i++) {
    size_t to = i < edits ? (size_t)edit[i].offset : body.len;
    if (to > at)
      piece[(*n)++] = (llmd_str){body.ptr + at, to - at};
    *bytes += to - at;
    if (i == edits)
      break;
    if (edit[i].text.len)
      piece[(*n)++] = edit[i].text;
    *bytes += edit[i].text.len;
    at = to + (size_t)edit[i].removed;
  }
  return 0;
}

/* To the target in use. */
static int send_request(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd__work *w = x->work;
  const llmd_http_request *q = llmd_http_request_of(x->call);
  const llmd_target *t = &w->decision.target[w->at];
  llmd_str piece[LLMD__LEG_PIECES];
  llmd__forward f = {q, &w->decision, t, {x->id, x->id_len}, 0};
  llmd__sending s = {{w->decision.text + t->address.off, t->address.len}, t->port, 0, x->fresh, 1, piece,
                     &llmd__answer_handler, x};
  int rc = cut_body(x, piece, &s.n, &f.body_bytes);
  int64_t head = rc ? rc : llmd__forward_head(&f, p->head, p->head_cap);
  if (head < 0)
    return (int)head;
  piece[0] = (llmd_str){p->head, (size_t)head};
  s.head_method = q->method.len == 4 && !memcmp(q->method.ptr, "HEAD", 4);
  x->attempts += !x->fresh;
  rc = llmd__client_send(p->client, &s, &x->leg);
  if (rc)
    return rc == LLMD_E_LIMIT ? LLMD_E_FULL : rc;
  x->state = LLMD__X_SENT;
  llmd__counts_leg(p, x->leg, 0, 0);
  return 0;
}

static void tried(llmd__work *w)
{
  if (w->n_tried < LLMD__PROXY_TRIED)
    w->tried[w->n_tried++] = w->decision.target[w->at].id;
}

static int was_tried(const llmd__work *w, llmd_endpoint_id id)
{
  for (uint32_t i = 0; i < w->n_tried; i++)
    if (w->tried[i] == id)
      return 1;
  return 0;
}

/* The next of the decision's own fallbacks that is still there. */
static int take_fallback(llmd__exchange *x, const llmd_now *now)
{
  llmd__work *w = x->work;
  const llmd_decision *d = &w->decision;
  const llmd_profile_pick *pick = &d->profile[d->primary];
  for (uint32_t i = pick->first; i < pick->first + pick->n; i++) {
    if (was_tried(w, d->target[i].id))
      continue;
    w->at = i;
    tried(w);
    if (llmd_commit_routed(x->proxy->lane, w->request, d->target[i].id, now, &x->ticket) == 0)
      return 1;
  }
  return 0;
}

static uint64_t seed(llmd_proxy *p)
{
  uint64_t v;
  llmd__proxy_random(p, &v, sizeof v);
  return v;
}

/* Decides, on what there is; never NEED_TOKENS again. */
static int decide_on(llmd__exchange *x, const llmd_now *now)
{
  llmd_proxy *p = x->proxy;
  llmd_now after;
  int rc = llmd_decide(p->lane, x->work->request, now, seed(p), &x->work->decision);
  if (rc)
    return rc;
  llmd_clock(&after);
  x->decided_ns += after.mono - now->mono;
  x->ladder |= x->work->decision.ladder;
  if (x->work->decision.status == LLMD_ROUTED) {
    x->ticket = x->work->decision.ticket;
    x->work->at = x->work->decision.profile[x->work->decision.primary].first;
    x->prompt = x->work->decision.tokens;
  }
  return 0;
}

/* The decision is carried out: from here on the ticket is ours. */
static int take_destination(llmd__exchange *x, const llmd_now *now)
{
  llmd__work *w = x->work;
  tried(w);
  if (llmd_commit(x->proxy->lane, w->request, &w->decision, 0, now)) {
    llmd__exchange_report(x, LLMD_REPORT_CANCEL, now);
    return 0;
  }
  return 1;
}

/* Decided anew without those that have failed. */
static int take_another(llmd__exchange *x, const llmd_now *now)
{
  llmd__work *w = x->work;
  if (llmd_request_set_exclude(w->request, w->tried, w->n_tried) || decide_on(x, now) ||
      w->decision.status != LLMD_ROUTED)
    return 0;
  return take_destination(x, now);
}

static uint32_t status_of(int why)
{
  return why == LLMD__LEG_NO_CONNECT || why == LLMD__LEG_SILENT ? 504 : 502;
}

static void give_up(llmd__exchange *x, int why, int rc)
{
  char message[128];
  llmd__text t = {message, 0, sizeof message - 1, 0};
  if (rc == LLMD_E_LIMIT && !why) {
    llmd__exchange_refuse(x, 400, "too_many_edits", "the request cannot be passed on within the limits", NULL, 0);
    return;
  }
  llmd__text_add(&t, "no engine answered: ");
  llmd__text_add(&t, why ? llmd__leg_text(why) : llmd_strerror(rc));
  message[t.len] = 0;
  llmd__exchange_refuse(x, why ? status_of(why) : 503, "engine_unreachable", message, NULL, 0);
}

/* Sends to the target in use, and to others as long as that fails at once. */
static void send_or_retry(llmd__exchange *x, const llmd_now *now, int why)
{
  uint32_t most = 1 + x->proxy->service->upstream.retries;
  for (;;) {
    int rc = send_request(x);
    if (!rc) {
      llmd__line_note(x);
      return;
    }
    x->leg = NULL;
    x->fresh = 0;
    if (rc != LLMD_E_IO) {
      give_up(x, 0, rc);
      return;
    }
    why = LLMD__LEG_REFUSED;
    x->why = (uint32_t)why;
    llmd__exchange_report(x, LLMD_REPORT_ERROR, now);
    if (x->attempts >= most || (!take_fallback(x, now) && !take_another(x, now))) {
      give_up(x, why, 0);
      return;
    }
    llmd__counts_retry(x->proxy);
  }
}

void llmd__exchange_retry(llmd__exchange *x, int why)
{
  int known_good = why == LLMD__LEG_REFUSED || why == LLMD__LEG_NO_CONNECT; /* nothing was sent */
  llmd_now now;
  llmd_clock(&now);
  x->state = LLMD__X_NEW;
  if (why == LLMD__LEG_STALE && x->repeatable && !x->fresh) {
    x->fresh = 1; /* the same endpoint, on a new connection; its ticket stays */
    send_or_retry(x, &now, why);
    return;
  }
  x->fresh = 0;
  x->why = (uint32_t)why;
  llmd__exchange_report(x, LLMD_REPORT_ERROR, &now);
  if (!(known_good || (x->repeatable && (why == LLMD__LEG_RESET || why == LLMD__LEG_STALE))) ||
      x->attempts > x->proxy->service->upstream.retries || (!take_fallback(x, &now) && !take_another(x, &now))) {
    give_up(x, why, 0);
    return;
  }
  llmd__counts_retry(x->proxy);
  send_or_retry(x, &now, why);
}

/* ---- request ids ---- */

static void make_id(llmd__exchange *x)
{
  static const char hex[] = "0123456789abcdef";
  unsigned char random[16];
  llmd__proxy_random(x->proxy, random, sizeof random);
  for (size_t i = 0; i < sizeof random; i++) {
    x->id[2 * i] = hex[random[i] >> 4];
    x->id[2 * i + 1] = hex[random[i] & 15];
  }
  x->id_len = 2 * sizeof random;
  x->id_given = 0;
}

/* Engines that hand a KV cache to each other name it by the request's id: a client's could be another request's. */
static void rename_for_transfer(llmd__exchange *x)
{
  uint32_t ran = 0;
  for (uint32_t i = 0; i < x->work->decision.n_profiles; i++)
    ran += x->work->decision.profile[i].state == 1;
  if (ran < 2 || !x->id_given)
    return;
  memcpy(x->id_client, x->id, x->id_len);
  x->id_client_len = x->id_len;
  make_id(x);
}

/* ---- deciding ---- */

static void reject(llmd__exchange *x)
{
  const llmd_decision *d = &x->work->decision;
  llmd_http_header header[LLMD_MAX_HEADERS];
  llmd_request_info info = {.size = sizeof info};
  char message[160];
  llmd__text t = {message, 0, sizeof message - 1, 0};
  for (uint32_t i = 0; i < d->n_headers; i++) {
    header[i].name = (llmd_str){d->text + d->header[i].name.off, d->header[i].name.len};
    header[i].value = (llmd_str){d->text + d->header[i].value.off, d->header[i].value.len};
  }
  x->reason = d->reason;
  llmd__text_add(&t, llmd__refusal_message(d->reason));
  if (d->reason == LLMD_REASON_BAD_REQUEST && !llmd_request_get(x->work->request, &info) && info.error) {
    llmd__text_add(&t, ": ");
    llmd__text_add(&t, llmd_strerror(info.error));
    llmd__text_add(&t, " at byte ");
    llmd__text_uint(&t, info.error_offset);
  }
  message[t.len] = 0;
  llmd__exchange_refuse(x, d->code >= 400 ? d->code : 503, llmd__refusal_code(d->reason), message, header,
                        d->n_headers);
}

void llmd__exchange_decide(llmd__exchange *x)
{
  llmd_proxy *p = x->proxy;
  llmd_now now;
  int rc;
  llmd_clock(&now);
  x->state = LLMD__X_NEW;
  rc = decide_on(x, &now);
  if (!rc && x->work->decision.status == LLMD_NEED_TOKENS) {
    if (llmd__proxy_ask_tokens(x)) {
      x->state = LLMD__X_TOKENS;
      return;
    }
    rc = llmd_request_no_tokens(x->work->request);
    if (!rc)
      rc = decide_on(x, &now);
  }
  if (rc) {
    llmd__exchange_refuse(x, 500, "internal_error", llmd_strerror(rc), NULL, 0);
    return;
  }
  llmd__counts_decided(p, x->decided_ns);
  if (x->work->decision.status == LLMD_ROUTED)
    rename_for_transfer(x);
  llmd__proxy_explain(p, x, &now);
  if (x->work->decision.status != LLMD_ROUTED) {
    reject(x);
    return;
  }
  if (!take_destination(x, &now) && !take_fallback(x, &now) && !take_another(x, &now)) {
    give_up(x, 0, LLMD_E_STALE);
    return;
  }
  send_or_retry(x, &now, 0);
}

/* ---- reading the request ---- */

static int is_method(llmd_str method, const char *text)
{
  return method.len == strlen(text) && !memcmp(method.ptr, text, method.len);
}

/* The client's own request id if it may pass, else a new one. */
static void name_request(llmd__exchange *x)
{
  llmd_str id;
  if (!llmd_http_header_of(x->call, "x-request-id", &id) && llmd__forward_id_is_sane(id)) {
    memcpy(x->id, id.ptr, id.len);
    x->id_len = (uint8_t)id.len;
    x->id_given = 1;
  } else {
    make_id(x);
  }
}

/* Line, headers, body. A path is read as engines read it. 0, or the status to refuse with. */
static uint32_t read_request(llmd__exchange *x, llmd_request_info *info)
{
  const llmd_http_request *q = llmd_http_request_of(x->call);
  llmd_request *r = x->work->request;
  char path[LONGEST_PATH];
  int64_t n = llmd__forward_path(q->target, path, sizeof path);
  if (n <= 0)
    return n < 0 ? 414 : 400;
  if (llmd_request_line(r, q->method.ptr, q->method.len, path, (size_t)n) || llmd_request_get(r, info))
    return 500;
  if (info->dialect == LLMD_DIALECT_PASSTHROUGH && q->body.len) {
    int looks = llmd__guard_looks(q->body);
    if (looks < 0)
      return 415;
    if (looks) {
      llmd_request_reset(r);
      if (llmd_request_line(r, q->method.ptr, q->method.len, SEARCHED_PATH, sizeof SEARCHED_PATH - 1))
        return 500;
    }
  }
  for (uint32_t i = 0; i < q->n_headers; i++) /* what does not fit is nothing that policies read */
    (void)llmd_request_header(r, q->header[i].name.ptr, q->header[i].name.len, q->header[i].value.ptr,
                              q->header[i].value.len);
  (void)llmd_request_feed(r, q->body.ptr, q->body.len, LLMD_FEED_KEEP | LLMD_FEED_FINAL);
  return llmd_request_get(r, info) ? 500 : 0;
}

static void note_request(llmd__exchange *x, const llmd_request_info *info)
{
  const llmd_http_request *q = llmd_http_request_of(x->call);
  size_t n = info->model.len < sizeof x->model ? info->model.len : sizeof x->model;
  if (n)
    memcpy(x->model, info->model.ptr, n);
  x->model_len = (uint8_t)n;
  x->dialect = info->dialect;
  x->anthropic = info->dialect == LLMD_DIALECT_ANTHROPIC_MESSAGES;
  x->repeatable = (info->dialect != LLMD_DIALECT_PASSTHROUGH && info->dialect != LLMD_DIALECT_OPENAI_OTHER) ||
                  !(is_method(q->method, "POST") || is_method(q->method, "PATCH"));
  if (x->proxy->service->upstream.inject_usage)
    x->asked = llmd_request_ask_usage(x->work->request) == 1;
  llmd__counts_begin(x, info);
}

static void refuse_unread(llmd__exchange *x, uint32_t status)
{
  const char *message = status == 415   ? "JSON must be in UTF-8"
                        : status == 414 ? "the path is too long"
                        : status == 400 ? "the path cannot be used"
                                        : "the request cannot be read";
  llmd__exchange_refuse(x, status, status < 500 ? "bad_request" : "internal_error", message, NULL, 0);
}

/* ---- answers of our own ---- */

/* /v1/models, /v1/models/NAME. 0: nobody has said what engines serve: one of them is asked like for any other path. */
static int show_models(llmd__exchange *x)
{
  static const char path[] = "/v1/models";
  llmd_proxy *p = x->proxy;
  const llmd_http_request *q = llmd_http_request_of(x->call);
  char name[LONGEST_PATH], one[LLMD__CATALOG_NAME * 6 + 256];
  const size_t base = sizeof path - 1;
  llmd_http_header header[2];
  int64_t n;
  llmd_str body;
  llmd_now now;
  if (!is_method(q->method, "GET") || q->target.len < base || memcmp(q->target.ptr, path, base))
    return 0;
  n = llmd__forward_path(q->target, name, sizeof name);
  if (n < (int64_t)base || (n > (int64_t)base && name[base] != '/'))
    return 0;
  llmd_clock(&now);
  if (llmd__catalog_list(&p->catalog, p->pool, &p->alloc, &now, &body))
    return 0;
  if (n > (int64_t)base + 1) {
    llmd_str wanted = {name + base + 1, (size_t)n - base - 1};
    int64_t len = llmd__catalog_has(&p->catalog, wanted) ? llmd__catalog_one(wanted, now.wall, one, sizeof one) : -1;
    if (len < 0) {
      llmd__exchange_refuse(x, 404, "model_not_found", "no engine serves this model", NULL, 0);
      return 1;
    }
    body = (llmd_str){one, (size_t)len};
  }
  header[0] = (llmd_http_header){{"x-request-id", 12}, {x->id, x->id_len}};
  answer_self(x, 200, header, 1, body);
  return 1;
}

/* ---- the beginning ---- */

void llmd__exchange_begin(llmd_proxy *p, llmd_http_call *call)
{
  const llmd_http_request *q = llmd_http_request_of(call);
  llmd_request_info info = {.size = sizeof info};
  llmd__exchange *x = take_exchange(p);
  uint32_t status;
  if (!x) {
    llmd_http_abort(call);
    return;
  }
  x->call = call;
  x->begun = x->reported = q->begun;
  x->bytes_in = q->body.len;
  llmd_http_set_data(call, x);
  name_request(x);
  if (is_method(q->method, "CONNECT")) {
    llmd__exchange_refuse(x, 501, "not_implemented", "tunnels are not offered", NULL, 0);
    return;
  }
  if (show_models(x))
    return;
  x->work = take_work(p);
  if (!x->work) {
    llmd__exchange_refuse(x, 503, "out_of_memory", "too many requests at a time", NULL, 0);
    return;
  }
  status = read_request(x, &info);
  if (status) {
    refuse_unread(x, status);
    return;
  }
  note_request(x, &info);
  llmd__exchange_decide(x);
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
