/* A line of the access log: what was asked, what became of it, and why it went where it went. */
#include "uv/proxy/inner.h"
#include "uv/proxy/refusal.h"
#include "uv/proxy/text.h"

#define LONGEST_PATH 512u

static uint8_t copy_cut(char *out, size_t cap, llmd_str s)
{
  size_t n = s.len < cap ? s.len : cap;
  if (n)
    memcpy(out, s.ptr, n);
  return (uint8_t)n;
}

void llmd__line_note(llmd__exchange *x)
{
  const llmd_decision *d = &x->work->decision;
  const llmd_target *t = &d->target[x->work->at];
  llmd_str address = {d->text + t->address.off, t->address.len};
  int64_t n = llmd__forward_host(address, t->port, x->endpoint, sizeof x->endpoint);
  x->endpoint_len = n < 0 ? copy_cut(x->endpoint, sizeof x->endpoint, address) : (uint8_t)n;
  x->score = t->score;
}

static void key(llmd__text *t, const char *name)
{
  llmd__text_add(t, ",\"");
  llmd__text_add(t, name);
  llmd__text_put(t, "\":", 2);
}

static void put_str(llmd__text *t, const char *name, llmd_str s)
{
  key(t, name);
  llmd__text_json(t, s);
}

static void put_uint(llmd__text *t, const char *name, uint64_t v)
{
  key(t, name);
  llmd__text_uint(t, v);
}

static void put_tokens(llmd__text *t, const char *name, double v)
{
  if (v >= 0 && v < 9e15)
    put_uint(t, name, (uint64_t)v);
}

static void put_score(llmd__text *t, double v)
{
  if (v < 0)
    llmd__text_put(t, "-", 1);
  v = v < 0 ? -v : v;
  llmd__text_milli(t, v < 1e12 ? (uint64_t)(v * 1000 + 0.5) : 0);
}

static void put_ms(llmd__text *t, const char *name, uint64_t ns)
{
  key(t, name);
  llmd__text_milli(t, ns / 1000);
}

static void put_request(llmd__text *t, const llmd__exchange *x)
{
  const llmd_http_request *q = llmd_http_request_of(x->call);
  llmd_str id = {x->id, x->id_len}, model = {x->model, x->model_len}, path = q->target;
  const char *query = memchr(path.ptr, '?', path.len);
  if (query)
    path.len = (size_t)(query - path.ptr);
  if (path.len > LONGEST_PATH)
    path.len = LONGEST_PATH;
  put_str(t, "id", id);
  if (x->id_client_len)
    put_str(t, "client_id", (llmd_str){x->id_client, x->id_client_len});
  put_str(t, "client", q->client);
  put_str(t, "method", q->method);
  put_str(t, "path", path);
  put_uint(t, "status", x->status);
  if (model.len)
    put_str(t, "model", model);
  if (x->stream)
    llmd__text_add(t, ",\"stream\":true");
  put_uint(t, "bytes_in", x->bytes_in);
  put_uint(t, "bytes_out", x->bytes_out);
}

static void put_bits(llmd__text *t, uint32_t ladder)
{
  static const char *const names[] = {"plugin", "no-index", "stale", "robin", "budget", "open", "ejected"};
  const char *between = "";
  if (!ladder)
    return;
  key(t, "ladder");
  llmd__text_put(t, "[", 1);
  for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
    if (ladder & 1u << i) {
      llmd__text_add(t, between);
      llmd__text_put(t, "\"", 1);
      llmd__text_add(t, names[i]);
      llmd__text_put(t, "\"", 1);
      between = ",";
    }
  llmd__text_put(t, "]", 1);
}

static void put_decision(llmd__text *t, const llmd__exchange *x)
{
  llmd_str endpoint = {x->endpoint, x->endpoint_len};
  if (endpoint.len) {
    put_str(t, "endpoint", endpoint);
    key(t, "score");
    put_score(t, x->score);
  }
  put_bits(t, x->ladder);
  if (x->attempts)
    put_uint(t, "attempts", x->attempts);
  if (x->decided_ns)
    put_ms(t, "decide_ms", x->decided_ns);
}

static void put_reason(llmd__text *t, const llmd__exchange *x)
{
  const char *text = x->reason ? llmd_reason_text(x->reason) : x->why ? llmd__leg_text((int)x->why) : "";
  if (x->reason && !text[0])
    text = llmd__refusal_code(x->reason);
  if (x->status == 499)
    text = "client left";
  llmd_str s = {text, strlen(text)};
  if (s.len)
    put_str(t, "reason", s);
}

void llmd__line_put(llmd__exchange *x, const llmd_now *now)
{
  llmd_proxy *p = x->proxy;
  llmd__text t = {p->text, 0, sizeof p->text, 0};
  char time[25];
  if (!p->access)
    return;
  llmd__access_time(now->wall, time);
  llmd__text_add(&t, "{\"time\":\"");
  llmd__text_put(&t, time, 24);
  llmd__text_put(&t, "\"", 1);
  put_request(&t, x);
  put_tokens(&t, "prompt_tokens", x->usage.prompt_tokens);
  put_tokens(&t, "output_tokens", x->usage.output_tokens);
  put_tokens(&t, "cached_tokens", x->usage.cached_tokens);
  if (x->first)
    put_ms(&t, "ttft_ms", x->first - x->begun);
  put_ms(&t, "duration_ms", now->mono - x->begun);
  put_decision(&t, x);
  put_reason(&t, x);
  llmd__text_put(&t, "}\n", 2);
  if (!t.full)
    llmd__access_put(p->access, t.at, t.len);
}
