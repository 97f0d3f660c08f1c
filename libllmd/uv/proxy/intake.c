/* A request as it comes in: its name, what the core is shown of it, and what is answered without an engine. */
#include <string.h>

#include "uv/proxy/inner.h"

#define LONGEST_PATH 2048u

/* A path that the core reads as one that has JSON but no prompt. */
#define SEARCHED_PATH "/v1/completions/render"

/* ---- its name ---- */

static int is_method(llmd_str method, const char *text)
{
  return method.len == strlen(text) && !memcmp(method.ptr, text, method.len);
}

void llmd__exchange_new_id(llmd__exchange *x)
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

/* The client's own request id if it may pass, else a new one. */
static void name_request(llmd__exchange *x)
{
  llmd_str id;
  if (!llmd_http_header_of(x->call, "x-request-id", &id) && llmd__forward_id_is_sane(id)) {
    memcpy(x->id, id.ptr, id.len);
    x->id_len = (uint8_t)id.len;
    x->id_given = 1;
  } else {
    llmd__exchange_new_id(x);
  }
}

/* ---- what the core is shown ---- */

/* A compressed body cannot be searched for what no client may set, and some servers unpack it unasked. */
static int is_coded(const llmd_http_call *call)
{
  const llmd_http_request *q = llmd_http_request_of(call);
  for (uint32_t i = 0; i < q->n_headers; i++) {
    const llmd_http_header *h = &q->header[i];
    if (llmd__http_is(h->name, "content-encoding") && h->value.len && !llmd__http_is(h->value, "identity"))
      return 1;
  }
  return 0;
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
  if (q->body.len && is_coded(x->call))
    return 415;
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

/* RFC 9110 §9.2.2. */
static int is_idempotent(llmd_str method)
{
  static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (is_method(method, names[i]))
      return 1;
  return 0;
}

/* As many bytes as fit, whole characters: a name is UTF-8 and goes into a line of JSON. */
static size_t fitting(llmd_str s, size_t cap)
{
  size_t n = s.len < cap ? s.len : cap;
  while (n && n < s.len && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
    n--;
  return n;
}

static void note_request(llmd__exchange *x, const llmd_request_info *info)
{
  const llmd_http_request *q = llmd_http_request_of(x->call);
  size_t n = fitting(info->model, sizeof x->model);
  if (n)
    memcpy(x->model, info->model.ptr, n);
  x->model_len = (uint8_t)n;
  x->dialect = info->dialect;
  x->anthropic = info->dialect == LLMD_DIALECT_ANTHROPIC_MESSAGES;
  x->repeatable = (info->dialect != LLMD_DIALECT_PASSTHROUGH && info->dialect != LLMD_DIALECT_OPENAI_OTHER) ||
                  is_idempotent(q->method);
  if (x->proxy->service->upstream.inject_usage)
    x->asked = llmd_request_ask_usage(x->work->request) == 1;
  llmd__counts_begin(x, info);
}

static void refuse_unread(llmd__exchange *x, uint32_t status)
{
  const char *message = status == 415   ? "a body must not be compressed, and JSON be in UTF-8"
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
  llmd__exchange_answer(x, 200, header, 1, body);
  return 1;
}

/* ---- the beginning ---- */

void llmd__exchange_begin(llmd_proxy *p, llmd_http_call *call)
{
  const llmd_http_request *q = llmd_http_request_of(call);
  llmd_request_info info = {.size = sizeof info};
  llmd__exchange *x = llmd__exchange_take(p);
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
  x->work = llmd__exchange_take_work(p);
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
