/* Where a request goes: decided, sent, and sent again elsewhere as long as the client has not got a byte. */
#include <string.h>

#include "uv/proxy/inner.h"
#include "uv/proxy/refusal.h"
#include "uv/proxy/text.h"

#define MOST_EDITS 40u

/* ---- sending ---- */

static llmd_str body_of(const llmd__exchange *x)
{
  return llmd_http_request_of(x->call)->body;
}

int llmd__route_body(const llmd__exchange *x, llmd_str *piece, uint32_t *n, uint64_t *bytes)
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
  int rc = llmd__route_body(x, piece, &s.n, &f.body_bytes);
  int64_t head = rc ? rc : llmd__forward_head(&f, p->head, p->head_cap);
  if (head < 0)
    return (int)head;
  piece[0] = (llmd_str){p->head, (size_t)head};
  s.head_method = q->method.len == 4 && !memcmp(q->method.ptr, "HEAD", 4);
  x->attempts += !x->fresh;
  x->target = t->id;
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
  /* Engines close what is unused: a kept connection that was closed says nothing of its engine's health. */
  llmd__exchange_report(x, why == LLMD__LEG_STALE ? LLMD_REPORT_CANCEL : LLMD_REPORT_ERROR, &now);
  if (!(known_good || (x->repeatable && (why == LLMD__LEG_RESET || why == LLMD__LEG_STALE))) ||
      x->attempts > x->proxy->service->upstream.retries || (!take_fallback(x, &now) && !take_another(x, &now))) {
    give_up(x, why, 0);
    return;
  }
  llmd__counts_retry(x->proxy);
  send_or_retry(x, &now, why);
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
  llmd__exchange_new_id(x);
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
  llmd__recorder_put(p, &now);
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
