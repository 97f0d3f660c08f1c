#include "uv/proxy/forward.h"

#include <llmd/request.h>

#include "uv/proxy/text.h"

#define LONGEST_OWNED 64u /* names that are longer are looked at as they stand */

/* Lengths first: most names are told apart by them. */
typedef struct dropped {
  uint8_t len;
  const char *name;
} dropped;
#define DROPPED(text) {sizeof(text) - 1, text}

/* Hop-by-hop (RFC 9110 §7.6.1), and those that the sender of a message writes itself. */
static const dropped framing[] = {
  DROPPED("te"), DROPPED("trailer"), DROPPED("upgrade"), DROPPED("keep-alive"), DROPPED("connection"),
  DROPPED("http2-settings"), DROPPED("content-length"), DROPPED("proxy-connection"), DROPPED("transfer-encoding"),
  DROPPED("proxy-authenticate"), DROPPED("proxy-authorization"), DROPPED("proxy-authentication-info"),
  DROPPED("x-request-id"),
};
static const dropped from_client[] = {
  DROPPED("host"), DROPPED("expect"), DROPPED("accept-encoding"), DROPPED("x-forwarded-for"),
  DROPPED("x-data-parallel-rank"),
};

static char lower(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '_' ? '-' : c;
}

/* name in any case, '_' as good as '-'. */
static int is(llmd_str name, const char *text, size_t len)
{
  if (name.len != len)
    return 0;
  for (size_t i = 0; i < len; i++)
    if (lower(name.ptr[i]) != text[i])
      return 0;
  return 1;
}

static int among(llmd_str name, const dropped *list, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (list[i].len == name.len && is(name, list[i].name, list[i].len))
      return 1;
  return 0;
}

static int is_owned(llmd_str name)
{
  char plain[LONGEST_OWNED];
  if (!name.len || lower(name.ptr[0]) != 'x')
    return llmd_header_owned(name.ptr, name.len);
  if (name.len > sizeof plain || !memchr(name.ptr, '_', name.len))
    return llmd_header_owned(name.ptr, name.len);
  for (size_t i = 0; i < name.len; i++)
    plain[i] = lower(name.ptr[i]);
  return llmd_header_owned(plain, name.len);
}

/* ---- what Connection names ---- */

static int blank(char c)
{
  return c == ' ' || c == '\t' || c == ',';
}

static int lists(llmd_str value, llmd_str name)
{
  size_t i = 0;
  while (i < value.len) {
    size_t from, k = 0;
    while (i < value.len && blank(value.ptr[i]))
      i++;
    from = i;
    while (i < value.len && !blank(value.ptr[i]))
      i++;
    while (k < name.len && k < i - from && lower(value.ptr[from + k]) == lower(name.ptr[k]))
      k++;
    if (k == name.len && i - from == k && k)
      return 1;
  }
  return 0;
}

/* The Connection headers that name others: `close` and `keep-alive` do not. */
static uint32_t naming(const llmd_http_header *h, uint32_t n, const llmd_http_header **first)
{
  uint32_t found = 0;
  for (uint32_t i = 0; i < n; i++)
    if (is(h[i].name, "connection", 10) && !is(h[i].value, "keep-alive", 10) && !is(h[i].value, "close", 5) && !found++)
      *first = &h[i];
  return found;
}

static int is_named(const llmd_http_header *from, const llmd_http_header *end, llmd_str name)
{
  for (; from < end; from++)
    if (is(from->name, "connection", 10) && lists(from->value, name))
      return 1;
  return 0;
}

/* ---- the request's head ---- */

int64_t llmd__forward_host(llmd_str address, uint32_t port, char *out, size_t cap)
{
  llmd__text t = {out, 0, cap, 0};
  int six = memchr(address.ptr, ':', address.len) != NULL;
  if (six)
    llmd__text_put(&t, "[", 1);
  llmd__text_str(&t, address);
  llmd__text_put(&t, "]:", 2);
  if (!six && !t.full) {
    t.len -= 2;
    llmd__text_put(&t, ":", 1);
  }
  llmd__text_uint(&t, port);
  return t.full ? LLMD_E_LIMIT : (int64_t)t.len;
}

static void put_host(llmd__text *t, const llmd__forward *f)
{
  llmd_str address = {f->decision->text + f->target->address.off, f->target->address.len};
  int64_t n = llmd__forward_host(address, f->target->port, t->at + t->len, t->cap - t->len);
  if (n < 0)
    t->full = 1;
  else
    t->len += (size_t)n;
}

static void put_header(llmd__text *t, const char *name, llmd_str value)
{
  llmd__text_add(t, name);
  llmd__text_put(t, ": ", 2);
  llmd__text_str(t, value);
  llmd__text_put(t, "\r\n", 2);
}

static void put_line(llmd__text *t, const llmd__forward *f)
{
  llmd__text_str(t, f->request->method);
  llmd__text_put(t, " ", 1);
  llmd__text_str(t, f->request->target);
  llmd__text_add(t, " HTTP/1.1\r\nHost: ");
  put_host(t, f);
  llmd__text_put(t, "\r\n", 2);
}

static void put_client_headers(llmd__text *t, const llmd_http_request *q)
{
  const llmd_http_header *naming_from = NULL;
  uint32_t named = naming(q->header, q->n_headers, &naming_from);
  for (uint32_t i = 0; i < q->n_headers; i++) {
    const llmd_http_header *h = &q->header[i];
    if (among(h->name, framing, sizeof framing / sizeof *framing) ||
        among(h->name, from_client, sizeof from_client / sizeof *from_client) || is_owned(h->name) ||
        (named && is_named(naming_from, q->header + q->n_headers, h->name)))
      continue;
    llmd__text_str(t, h->name);
    llmd__text_put(t, ": ", 2);
    llmd__text_str(t, h->value);
    llmd__text_put(t, "\r\n", 2);
  }
}

/* The client's address without port; none of a unix socket. */
static llmd_str bare_address(llmd_str client)
{
  llmd_str none = {NULL, 0};
  size_t n = client.len;
  while (n && client.ptr[n - 1] != ':')
    n--;
  if (n < 2)
    return none;
  client.len = n - 1;
  if (client.ptr[0] == '[' && client.len > 2) {
    client.ptr++;
    client.len -= 2;
  }
  return client;
}

/* Who it came from, and through whom before. */
static void put_forwarded(llmd__text *t, const llmd_http_request *q)
{
  llmd_str address = bare_address(q->client);
  int begun = 0;
  for (uint32_t i = 0; i < q->n_headers; i++)
    if (is(q->header[i].name, "x-forwarded-for", 15) && q->header[i].value.len) {
      llmd__text_add(t, begun++ ? ", " : "X-Forwarded-For: ");
      llmd__text_str(t, q->header[i].value);
    }
  if (address.len) {
    llmd__text_add(t, begun++ ? ", " : "X-Forwarded-For: ");
    llmd__text_str(t, address);
  }
  if (begun)
    llmd__text_put(t, "\r\n", 2);
}

/* The decision's headers. Sent to a fallback, the destination is the fallback. */
static void put_decided(llmd__text *t, const llmd__forward *f)
{
  static const char destination[] = "x-gateway-destination-endpoint";
  const llmd_decision *d = f->decision;
  for (uint32_t i = 0; i < d->n_headers; i++) {
    llmd_str name = {d->text + d->header[i].name.off, d->header[i].name.len};
    llmd_str value = {d->text + d->header[i].value.off, d->header[i].value.len};
    llmd__text_str(t, name);
    llmd__text_put(t, ": ", 2);
    if (f->target != d->target && is(name, destination, sizeof destination - 1))
      put_host(t, f);
    else
      llmd__text_str(t, value);
    llmd__text_put(t, "\r\n", 2);
  }
  if (f->target->rank) {
    llmd__text_add(t, "X-Data-Parallel-Rank: ");
    llmd__text_uint(t, f->target->rank);
    llmd__text_put(t, "\r\n", 2);
  }
}

static int takes_body(llmd_str method)
{
  return is(method, "post", 4) || is(method, "put", 3) || is(method, "patch", 5);
}

int64_t llmd__forward_head(const llmd__forward *f, char *out, size_t cap)
{
  llmd__text t = {out, 0, cap, 0};
  put_line(&t, f);
  put_client_headers(&t, f->request);
  put_forwarded(&t, f->request);
  put_header(&t, "x-request-id", f->request_id);
  put_decided(&t, f);
  if (f->request->has_body || f->body_bytes || takes_body(f->request->method)) {
    llmd__text_add(&t, "Content-Length: ");
    llmd__text_uint(&t, f->body_bytes);
    llmd__text_put(&t, "\r\n", 2);
  }
  llmd__text_put(&t, "\r\n", 2);
  return t.full ? LLMD_E_LIMIT : (int64_t)t.len;
}

int llmd__forward_id_is_sane(llmd_str id)
{
  static const char addr[] = "addr";
  if (!id.len || id.len > LLMD__REQUEST_ID)
    return 0;
  for (size_t i = 0; i < id.len; i++) {
    char c = id.ptr[i];
    int fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    llmd_str rest = {id.ptr + i, sizeof addr - 1};
    if (!fine || (id.len - i >= rest.len && is(rest, addr, rest.len)))
      return 0;
  }
  return 1;
}

/* ---- the answer's head ---- */

int llmd__forward_answer(const llmd_http_header *header, uint32_t n, llmd_http_header *out, uint32_t cap)
{
  const llmd_http_header *naming_from = NULL;
  uint32_t named = naming(header, n, &naming_from), k = 0;
  for (uint32_t i = 0; i < n; i++) {
    const llmd_http_header *h = &header[i];
    if (among(h->name, framing, sizeof framing / sizeof *framing) || is_owned(h->name) ||
        (named && is_named(naming_from, header + n, h->name)))
      continue;
    if (k == cap)
      return LLMD_E_LIMIT;
    out[k++] = *h;
  }
  return (int)k;
}

/* ---- the path ---- */

static int hex(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int64_t llmd__forward_path(llmd_str target, char *out, size_t cap)
{
  size_t k = 0;
  for (size_t i = 0; i < target.len && target.ptr[i] != '?' && target.ptr[i] != '#'; i++) {
    char c = target.ptr[i];
    if (c == '%' && target.len - i > 2 && hex(target.ptr[i + 1]) >= 0 && hex(target.ptr[i + 2]) >= 0) {
      c = (char)(hex(target.ptr[i + 1]) * 16 + hex(target.ptr[i + 2]));
      i += 2;
    }
    if (k == cap)
      return LLMD_E_LIMIT;
    out[k++] = c;
  }
  return (int64_t)k;
}
