/* A worker of the proxy: what it is made of, reload, drain, and the one timer. */
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/error.h"
#include "uv/log.h"
#include "uv/policy/make.h"
#include "uv/proxy/inner.h"

#define HEAD_MORE 8192u      /* bytes of a forwarded head besides the client's own */
#define PROGRESS_NS 60000000000u
#define NO_BUDGET (UINT64_C(1) << 60) /* ns of a decision: here only policies have a limit of time, their own */
#define MOST_UPSTREAM 60000u /* connections to engines; descriptors run out before */

/* ---- small things ---- */

void llmd__proxy_random(llmd_proxy *p, void *out, size_t n)
{
  if (p->random_left < n) {
    /* One call where libuv's makes sixteen. It fails only where there is no generator: then ids repeat. */
    ssize_t got = getrandom(p->random, sizeof p->random, 0);
    p->random_left = got > (ssize_t)n ? (uint32_t)got : sizeof p->random;
  }
  p->random_left -= (uint32_t)n;
  memcpy(out, p->random + p->random_left, n);
}

static llmd__client_options client_options(const llmd_service *s)
{
  llmd__client_options o = {s->upstream.connect_ms, s->upstream.first_byte_ms, s->upstream.idle_ms,
                            s->upstream.keep_ms,    s->upstream.keep,          s->upstream.max_head,
                            MOST_UPSTREAM};
  return o;
}

static llmd_http_options http_options(const llmd_service *s)
{
  llmd_http_options o;
  memset(&o, 0, sizeof o);
  o.size = sizeof o;
  o.max_connections = s->limits.connections;
  o.max_head = s->limits.head;
  o.max_headers = s->limits.headers;
  o.max_body = s->limits.body;
  o.max_bodies = s->limits.bodies;
  o.head_ms = s->limits.head_ms;
  o.body_ms = s->limits.body_ms;
  o.body_rate = s->limits.body_rate;
  o.idle_ms = s->limits.idle_ms;
  o.write_ms = s->limits.write_ms;
  o.max_pending = s->limits.pending;
  return o;
}

static uint64_t read_clock(void *ud)
{
  (void)ud;
  return uv_hrtime();
}

/* A scheduler that is made in another thread says nothing: the agent, which tried the same text before, has said it. */
static void on_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  const llmd_proxy *p = ud;
  const uv_thread_t self = uv_thread_self();
  if (p->log && uv_thread_equal(&self, &p->thread))
    p->log(p->log_ud, level, component, text, len);
}

void llmd__proxy_scheduler_options(llmd_proxy *p, const llmd_service *s, llmd_scheduler_options *out)
{
  llmd__policy_options(s, out);
  out->explain = s->log.explain != 0;
  out->log = on_log;
  out->log_ud = p;
  out->clock = read_clock;
  out->budget_ns = NO_BUDGET;
}

/* Another process may be making state in the region at this moment. */
static int make_scheduler(llmd_proxy *p, const llmd_service *s, uint32_t tries, llmd_scheduler **out, llmd_err *err)
{
  llmd_scheduler_options o;
  int rc;
  llmd__proxy_scheduler_options(p, s, &o);
  while ((rc = llmd__policy_make(&o, s, p->pool, out, err)) == LLMD_E_BUSY && --tries)
    uv_sleep(5);
  return rc;
}

static int open_log(llmd_proxy *p, const llmd_service *s, llmd__access **out, llmd_err *err)
{
  *out = NULL;
  if (!s->log.access || !s->log.access[0])
    return 0;
  return llmd__access_open(s->log.access, s->log.buffer, &p->alloc, out, err);
}

/* ---- what the server tells ---- */

static void on_request(void *ud, llmd_http_call *call)
{
  llmd__exchange_begin(ud, call);
}

static void on_drain(void *ud, llmd_http_call *call)
{
  llmd__exchange *x = llmd_http_data(call);
  (void)ud;
  if (x)
    llmd__answer_drained(x);
}

static void on_gone(void *ud, llmd_http_call *call)
{
  llmd__exchange *x = llmd_http_data(call);
  (void)ud;
  if (x)
    llmd__exchange_gone(x);
}

static void on_refused(void *ud, const llmd_http_refusal *refusal)
{
  llmd_proxy *p = ud;
  llmd__counts_refused(p, refusal->status);
  llmd__log(p->log, p->log_ud, LLMD_LOG_INFO, "http", "%.*s: %u %s", (int)refusal->client.len, refusal->client.ptr,
            (unsigned)refusal->status, refusal->text);
}

/* ---- the timer ---- */

static void expire_old(llmd_proxy *p, uint64_t now)
{
  uint64_t most = (uint64_t)p->service->limits.total_ms * 1000000u;
  while (most && p->oldest && now - p->oldest->begun >= most) {
    llmd__counts_expired(p);
    llmd__exchange_expire(p->oldest);
  }
}

/* A ticket that nobody reports on would end with its lease. */
static void keep_alive(llmd_proxy *p, const llmd_now *now)
{
  for (llmd__exchange *x = p->oldest; x; x = x->next)
    if (x->ticket && now->mono - x->reported > PROGRESS_NS)
      llmd__exchange_report(x, LLMD_REPORT_PROGRESS, now);
}

static void shut(llmd_proxy *p);

static void on_tick(uv_timer_t *timer)
{
  llmd_proxy *p = timer->data;
  const llmd_service *s = p->service;
  uint32_t second = 1000 / LLMD__PROXY_TICK_MS, flush = s->log.flush_ms / LLMD__PROXY_TICK_MS;
  llmd_now now;
  llmd_clock(&now);
  p->ticks++;
  expire_old(p, now.mono);
  if (p->access && (flush < 2 || p->ticks % flush == 0))
    llmd__access_flush(p->access);
  llmd__swap_tick(p);
  if (p->ticks % second == 0) {
    p->explain_left = s->log.explain;
    llmd__recorder_tick(p);
    llmd__counts_tick(p);
    llmd__exchange_trim(p);
  }
  if (p->ticks % (10 * second) == 0)
    keep_alive(p, &now);
  if (p->draining && !p->closing && uv_now(p->loop) >= p->drain_until)
    shut(p);
}

/* ---- starting ---- */

static int size_memory(llmd_proxy *p, const llmd_service *s)
{
  p->request_options.size = sizeof p->request_options;
  p->request_options.max_headers = s->limits.headers;
  p->request_options.max_body = s->limits.body;
  p->request_options.text_bytes = s->limits.head + 8192;
  p->work_bytes = ((sizeof(llmd__work) + 15) & ~(size_t)15) + llmd_request_size(&p->request_options);
  p->head_cap = s->limits.head + HEAD_MORE;
  p->head = llmd__realloc(&p->alloc, NULL, 0, p->head_cap);
  return p->head ? 0 : LLMD_E_NOMEM;
}

static int open_stats(llmd_proxy *p)
{
  return p->share ? llmd__stats_open(p->share, &p->stats) : 0;
}

static int open_parts(llmd_proxy *p, const llmd_proxy_options *o, llmd_err *err)
{
  llmd_http_handler h = {.size = sizeof h, .ud = p, .on_request = on_request, .on_drain = on_drain, .on_gone = on_gone,
                         .on_refused = on_refused};
  const llmd_service *s = o->service;
  llmd__client_options client = client_options(s);
  llmd_http_options http = http_options(s);
  int rc = size_memory(p, s);
  if (!rc)
    rc = open_log(p, s, &p->access, err);
  if (!rc)
    rc = make_scheduler(p, s, 400, &p->scheduler, err);
  if (!rc)
    rc = llmd_lane_create(p->scheduler, 0, &p->lane);
  if (!rc)
    rc = open_stats(p);
  if (!rc)
    rc = llmd__client_open(p->loop, &client, &p->alloc, &p->client);
  if (!rc)
    rc = llmd__proxy_open_tokens(p, s);
  if (!rc)
    rc = llmd_http_listen(p->loop, s->listen, o->fd, &h, &http, &p->server, err);
  return rc;
}

static void free_parts(llmd_proxy *p)
{
  llmd__stats_close(p->stats);
  llmd_lane_free(p->lane);
  llmd_scheduler_free(p->scheduler);
  llmd__swap_free(p);
  llmd__recorder_free(p);
  llmd__access_close(p->access);
  llmd__catalog_free(&p->catalog, &p->alloc);
  llmd__exchange_free_spare(p);
  llmd__free(&p->alloc, p->head, p->head_cap);
}

static void free_proxy(llmd_proxy *p)
{
  llmd_allocator alloc = p->alloc;
  free_parts(p);
  llmd__free(&alloc, p, sizeof *p);
}

static void on_client_undone(void *ud)
{
  free_proxy(ud);
}

static void on_tokens_undone(void *ud)
{
  llmd_proxy *p = ud;
  llmd__client_close(p->client, on_client_undone, p);
}

/* Handles end with the loop's next turns. */
static void undo(llmd_proxy *p)
{
  llmd_token_client_close(p->tokens, on_tokens_undone, p);
}

int llmd__proxy_start(const llmd_proxy_options *o, llmd_pool *pool, llmd_proxy **out, llmd_err *err)
{
  llmd_allocator alloc;
  llmd_proxy *p;
  int rc;
  llmd__alloc_init(&alloc, NULL);
  p = llmd__calloc(&alloc, 1, sizeof *p);
  if (!p)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "%s", llmd_strerror(LLMD_E_NOMEM));
  p->alloc = alloc;
  p->loop = o->loop;
  p->share = o->share;
  p->pool = pool;
  p->service = o->service;
  p->log = o->log;
  p->log_ud = o->log_ud;
  p->explain_left = o->service->log.explain;
  p->thread = uv_thread_self();
  if (err)
    err->text[0] = 0;
  rc = open_parts(p, o, err);
  if (rc) {
    if (err && !err->text[0])
      (void)llmd__fail(err, rc, 0, 0, NULL, "proxy: %s", llmd_strerror(rc));
    undo(p);
    return rc;
  }
  (void)uv_timer_init(p->loop, &p->timer);
  p->timer.data = p;
  p->timer_open = 1;
  (void)uv_timer_start(&p->timer, on_tick, LLMD__PROXY_TICK_MS, LLMD__PROXY_TICK_MS);
  llmd__counts_tick(p);
  llmd__recorder_tick(p);
  *out = p;
  return 0;
}

int llmd_proxy_start(const llmd_proxy_options *options, llmd_proxy **out, llmd_err *err)
{
  if (!options || !out || !options->loop || !options->share || !options->service)
    return LLMD_E_INVALID;
  return llmd__proxy_start(options, llmd_share_pool(options->share), out, err);
}

uint32_t llmd_proxy_port(const llmd_proxy *p)
{
  return llmd_http_port(p->server);
}

/* ---- reload ---- */

static int same(const char *a, const char *b)
{
  return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What the server and the requests' memory were made for stays. */
static void warn_of_fixed(llmd_proxy *p, const llmd_service *now)
{
  const llmd_service *was = p->service;
  llmd_http_options a = http_options(was), b = http_options(now);
  if (!same(was->listen, now->listen))
    llmd__log(p->log, p->log_ud, LLMD_LOG_WARN, "proxy", "listen: takes a restart, stays %s", was->listen);
  if (memcmp(&a, &b, sizeof a))
    llmd__log(p->log, p->log_ud, LLMD_LOG_WARN, "proxy", "limits of clients: take a restart");
}

int llmd_proxy_reload(llmd_proxy *p, const llmd_service *service, llmd_err *err)
{
  llmd__client_options client = client_options(service);
  llmd_scheduler *scheduler;
  llmd__access *access;
  int rc;
  if (p->closing)
    return LLMD_E_STATE;
  rc = open_log(p, service, &access, err);
  if (rc)
    return rc;
  llmd__swap_forget(p);
  rc = make_scheduler(p, service, 4, &scheduler, err);
  if (!rc) {
    rc = llmd_lane_switch(p->lane, scheduler);
    if (rc)
      llmd_scheduler_free(scheduler);
  }
  if (rc) {
    llmd__access_close(access);
    return rc;
  }
  if (llmd__proxy_open_tokens(p, service))
    llmd__log(p->log, p->log_ud, LLMD_LOG_WARN, "proxy", "%s: cannot ask for tokens there", service->tokens.socket);
  warn_of_fixed(p, service);
  llmd_scheduler_free(p->scheduler);
  p->scheduler = scheduler;
  llmd__access_close(p->access);
  p->access = access;
  llmd__client_tune(p->client, &client);
  p->service = service;
  p->explain_left = service->log.explain;
  return 0;
}

/* ---- the end ---- */

void llmd__proxy_left(llmd_proxy *p)
{
  llmd_done_fn done = p->done;
  void *ud = p->done_ud;
  if (--p->parts)
    return;
  free_proxy(p);
  if (done)
    done(ud);
}

static void on_part_closed(void *ud)
{
  llmd__proxy_left(ud);
}

static void on_timer_closed(uv_handle_t *handle)
{
  llmd__proxy_left(handle->data);
}

/* All calls are over: their legs are, too. */
static void on_server_closed(void *ud)
{
  llmd_proxy *p = ud;
  p->server = NULL;
  p->parts = 3 + (llmd__swap_busy(p) ? 1u : 0u);
  llmd_token_client_close(p->tokens, on_part_closed, p);
  llmd__client_close(p->client, on_part_closed, p);
  uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void shut(llmd_proxy *p)
{
  p->closing = 1;
  llmd_http_close(p->server, on_server_closed, p);
}

/* Closing said so already, if drain_ms were over before the last request. */
static void on_drained(void *ud)
{
  llmd_proxy *p = ud;
  if (!p->closing)
    shut(p);
}

void llmd_proxy_drain(llmd_proxy *p, llmd_done_fn done, void *ud)
{
  if (p->draining || p->closing)
    return;
  p->draining = 1;
  p->done = done;
  p->done_ud = ud;
  p->drain_until = uv_now(p->loop) + p->service->limits.drain_ms;
  llmd__counts_tick(p);
  llmd_http_drain(p->server, on_drained, p);
}

void llmd_proxy_close(llmd_proxy *p, llmd_done_fn done, void *ud)
{
  if (!p) {
    if (done)
      done(ud);
    return;
  }
  p->done = done;
  p->done_ud = ud;
  if (!p->closing)
    shut(p);
}
