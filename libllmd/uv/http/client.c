/* Which connection a request takes, what is kept, names, and the timer that sweeps. */
#include "uv/http/client.h"

#include <string.h>

#include "base/alloc.h"
#include "uv/http/leg.h"

#define BUCKETS 1024u
#define MAX_PEERS 65536u
#define MAX_NAME 253u       /* libuv 1.44 cuts longer ones */
#define TICK_MS 100u        /* connecting legs are looked at */
#define ROUND 10u           /* every so many ticks the others, too */
#define NAME_MS 30000u      /* a resolved name is asked for again */
#define UNUSED_MS 60000u    /* a peer that nobody uses goes */

/* ---- addresses ---- */

static uint32_t hash_of(llmd_str name, uint32_t port)
{
  uint32_t h = 2166136261u ^ port;
  for (size_t i = 0; i < name.len; i++)
    h = (h ^ (uint8_t)name.ptr[i]) * 16777619u;
  return h ^ (h >> 15);
}

static llmd__peer *new_peer(llmd__client *c, llmd_str name, uint32_t port, uint32_t hash)
{
  llmd__peer *p = llmd__calloc(&c->alloc, 1, sizeof *p + name.len + 1);
  if (!p)
    return NULL;
  p->client = c;
  p->hash = hash;
  p->port = port;
  p->name_len = (uint32_t)name.len;
  memcpy(p->name, name.ptr, name.len);
  llmd__link_init(&p->kept);
  llmd__link_init(&p->naming);
  p->numeric = uv_ip4_addr(p->name, (int)port, (struct sockaddr_in *)(void *)p->to) == 0 ||
               uv_ip6_addr(p->name, (int)port, (struct sockaddr_in6 *)(void *)p->to) == 0;
  p->n_addresses = p->numeric;
  p->next = c->bucket[hash % c->n_buckets];
  c->bucket[hash % c->n_buckets] = p;
  c->n_peers++;
  return p;
}

static llmd__peer *peer_of(llmd__client *c, llmd_str name, uint32_t port)
{
  uint32_t hash = hash_of(name, port);
  for (llmd__peer *p = c->bucket[hash % c->n_buckets]; p; p = p->next)
    if (p->hash == hash && p->port == port && p->name_len == name.len && !memcmp(p->name, name.ptr, name.len))
      return p;
  return c->n_peers < MAX_PEERS ? new_peer(c, name, port, hash) : NULL;
}

static void free_peer(llmd__client *c, llmd__peer *p)
{
  c->n_peers--;
  llmd__free(&c->alloc, p, sizeof *p + p->name_len + 1);
}

static int is_unused(const llmd__client *c, const llmd__peer *p, uint64_t now)
{
  return !p->n_legs && !p->resolving && (c->closing || now - p->used > UNUSED_MS);
}

static void free_unused(llmd__client *c)
{
  uint64_t now = uv_now(c->loop);
  for (uint32_t b = 0; b < c->n_buckets; b++)
    for (llmd__peer **at = &c->bucket[b], *p; (p = *at) != NULL;)
      if (is_unused(c, p, now)) {
        *at = p->next;
        free_peer(c, p);
      } else {
        at = &p->next;
      }
}

/* ---- names ---- */

static void connect_or_fail(llmd__leg *leg, int known)
{
  if (!known || llmd__leg_connect(leg))
    llmd__leg_fail(leg, LLMD__LEG_REFUSED);
}

/* The address in use stays in use as long as the name has it. */
static void take_addresses(llmd__peer *p, const struct addrinfo *found)
{
  struct sockaddr_storage had = p->to[p->at];
  uint32_t n = 0, at = 0;
  for (; found && n < LLMD__PEER_ADDRESSES; found = found->ai_next) {
    if (found->ai_addrlen > sizeof *p->to)
      continue;
    memset(&p->to[n], 0, sizeof *p->to);
    memcpy(&p->to[n], found->ai_addr, found->ai_addrlen);
    if (!memcmp(&p->to[n], &had, sizeof had))
      at = n;
    n++;
  }
  if (!n)
    return;
  p->n_addresses = n;
  p->at = at;
  p->resolved = uv_now(p->client->loop);
}

/* A name that cannot be resolved again keeps its addresses. */
static void on_name(uv_getaddrinfo_t *question, int status, struct addrinfo *found)
{
  llmd__peer *p = question->data;
  llmd__client *c = p->client;
  p->resolving = 0;
  c->questions--;
  if (!status)
    take_addresses(p, found);
  uv_freeaddrinfo(found);
  while (p->naming.next != &p->naming)
    connect_or_fail((llmd__leg *)(void *)p->naming.next, p->n_addresses && !c->closing);
  llmd__client_left(c);
}

static int ask_name(llmd__peer *p)
{
  struct addrinfo hints;
  char port[16];
  size_t at = sizeof port - 1;
  uint32_t rest = p->port;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  port[at] = 0;
  do
    port[--at] = (char)('0' + rest % 10);
  while (rest /= 10);
  p->question.data = p;
  if (uv_getaddrinfo(p->client->loop, &p->question, on_name, p->name, port + at, &hints))
    return LLMD_E_IO;
  p->resolving = 1;
  p->client->questions++;
  return 0;
}

static int has_address(const llmd__peer *p)
{
  return p->numeric || (p->resolved && uv_now(p->client->loop) - p->resolved < NAME_MS);
}

/* ---- sending ---- */

/* The unused connection of any peer that was unused longest in its own. */
static int drop_one_kept(llmd__client *c)
{
  for (uint32_t b = 0; b < c->n_buckets && c->n_kept; b++)
    for (llmd__peer *p = c->bucket[b]; p; p = p->next)
      if (p->n_kept) {
        llmd__leg_close((llmd__leg *)(void *)p->kept.prev);
        return 1;
      }
  return 0;
}

static void on_tick(uv_timer_t *timer);

static void start_ticking(llmd__client *c)
{
  if (!c->ticking && !uv_timer_start(&c->timer, on_tick, TICK_MS, TICK_MS))
    c->ticking = 1;
}

static int try_fresh(llmd__client *c, llmd__peer *p, const llmd__sending *what, llmd__leg **out)
{
  llmd__leg *leg;
  int rc = 0;
  leg = llmd__leg_new(p, what);
  if (!leg)
    return LLMD_E_NOMEM;
  if (has_address(p)) {
    rc = llmd__leg_connect(leg);
  } else {
    llmd__link_add(p->naming.prev, &leg->link);
    rc = p->resolving ? 0 : ask_name(p);
  }
  if (rc) {
    llmd__leg_close(leg);
    return rc;
  }
  start_ticking(c);
  *out = leg;
  return 0;
}

static int send_fresh(llmd__client *c, llmd__peer *p, const llmd__sending *what, llmd__leg **out)
{
  int rc;
  if (c->n_legs >= c->opt.max_connections && !drop_one_kept(c))
    return LLMD_E_LIMIT;
  rc = try_fresh(c, p, what, out);
  return rc == LLMD_E_FULL && drop_one_kept(c) ? try_fresh(c, p, what, out) : rc; /* its descriptor is free at once */
}

int llmd__client_send(llmd__client *c, const llmd__sending *what, llmd__leg **out)
{
  llmd__peer *p;
  if (c->closing || !what->n || what->n > LLMD__LEG_PIECES || !what->address.len || what->address.len > MAX_NAME ||
      !what->port || what->port > 65535)
    return LLMD_E_INVALID;
  p = peer_of(c, what->address, what->port);
  if (!p)
    return LLMD_E_NOMEM;
  p->used = uv_now(c->loop);
  while (!what->fresh && p->n_kept) {
    llmd__leg *leg = (llmd__leg *)(void *)p->kept.next;
    if (!llmd__leg_take(leg, what)) {
      *out = leg;
      return 0;
    }
  }
  return send_fresh(c, p, what, out);
}

/* ---- the sweep ---- */

static void sweep_connecting(llmd__client *c, uint64_t now)
{
  while (c->connecting.next != &c->connecting) {
    llmd__leg *leg = (llmd__leg *)(void *)c->connecting.next; /* the oldest */
    if (!c->opt.connect_ms || now - leg->since < c->opt.connect_ms)
      return;
    leg->peer->resolved = 0;
    leg->peer->at = (leg->peer->at + 1) % leg->peer->n_addresses;
    llmd__leg_fail(leg, LLMD__LEG_NO_CONNECT);
  }
}

/* A name that takes longer than a connection may: what waits for it goes, the question stays. */
static void sweep_naming(llmd__client *c, uint64_t now)
{
  for (uint32_t b = 0; b < c->n_buckets && c->opt.connect_ms; b++)
    for (llmd__peer *p = c->bucket[b]; p; p = p->next)
      while (p->naming.next != &p->naming) {
        llmd__leg *leg = (llmd__leg *)(void *)p->naming.next; /* the oldest */
        if (now - leg->since < c->opt.connect_ms)
          break;
        llmd__leg_fail(leg, LLMD__LEG_NO_CONNECT);
      }
}

/* How far an engine has taken a request is only seen by what is left. */
static int sending_stalls(llmd__leg *leg, const llmd__client_options *opt, uint64_t now)
{
  size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&leg->tcp);
  if (queued != leg->queued) {
    leg->queued = queued;
    leg->since = now;
  }
  return opt->idle_ms && now - leg->since >= opt->idle_ms;
}

static int overdue(llmd__leg *leg, const llmd__client_options *opt, uint64_t now)
{
  uint32_t allowed = leg->state == LLMD__LEG_FLOWING ? opt->idle_ms : opt->first_byte_ms;
  if (leg->paused)
    return 0;
  if (leg->writing)
    return sending_stalls(leg, opt, now);
  return allowed && now - leg->since >= allowed;
}

/* A failure may end other legs, too: the cursor knows of those that leave. */
static void sweep_active(llmd__client *c, uint64_t now)
{
  c->cursor = c->active.next;
  while (c->cursor != &c->active) {
    llmd__leg *leg = (llmd__leg *)(void *)c->cursor;
    c->cursor = leg->link.next;
    if (overdue(leg, &c->opt, now))
      llmd__leg_fail(leg, leg->state == LLMD__LEG_FLOWING ? LLMD__LEG_STALLED : LLMD__LEG_SILENT);
  }
  c->cursor = NULL;
}

static void sweep_kept(llmd__client *c, uint64_t now)
{
  for (uint32_t b = 0; b < c->n_buckets && c->n_kept; b++)
    for (llmd__peer *p = c->bucket[b]; p; p = p->next)
      while (p->n_kept) {
        llmd__leg *leg = (llmd__leg *)(void *)p->kept.prev;
        if (now - leg->since < c->opt.keep_ms)
          break;
        llmd__leg_close(leg);
      }
}

static int is_short(uint32_t ms)
{
  return ms && ms < ROUND * TICK_MS;
}

static void on_tick(uv_timer_t *timer)
{
  llmd__client *c = timer->data;
  uint64_t now = uv_now(c->loop);
  sweep_connecting(c, now);
  if (++c->rounds % ROUND == 0 || is_short(c->opt.first_byte_ms) || is_short(c->opt.idle_ms))
    sweep_active(c, now);
  if (c->rounds % ROUND == 0 || is_short(c->opt.connect_ms))
    sweep_naming(c, now);
  if (c->rounds % ROUND == 0) {
    sweep_kept(c, now);
    free_unused(c);
  }
  if (!c->n_legs && !c->n_peers) {
    (void)uv_timer_stop(timer);
    c->ticking = 0;
  }
}

/* ---- life ---- */

void llmd__client_tune(llmd__client *c, const llmd__client_options *options)
{
  c->opt = *options;
  c->limits.max_head = options->max_head;
}

int llmd__client_open(uv_loop_t *loop, const llmd__client_options *options, const llmd_allocator *alloc,
                      llmd__client **out)
{
  llmd_allocator a;
  llmd__client *c;
  llmd__alloc_init(&a, alloc);
  c = llmd__calloc(&a, 1, sizeof *c);
  if (!c)
    return LLMD_E_NOMEM;
  c->alloc = c->limits.alloc = a;
  c->loop = loop;
  c->limits.max_headers = 256;
  c->limits.max_body = UINT64_MAX;
  llmd__client_tune(c, options);
  llmd__link_init(&c->connecting);
  llmd__link_init(&c->active);
  c->n_buckets = BUCKETS;
  c->bucket = llmd__calloc(&a, BUCKETS, sizeof(llmd__peer *));
  if (!c->bucket || uv_timer_init(loop, &c->timer)) {
    llmd__free(&a, c->bucket, BUCKETS * sizeof(llmd__peer *));
    llmd__free(&a, c, sizeof *c);
    return LLMD_E_NOMEM;
  }
  c->timer.data = c;
  c->timer_open = 1;
  *out = c;
  return 0;
}

/* The memory goes when nothing of the loop's refers to it any more. */
void llmd__client_left(llmd__client *c)
{
  void (*done)(void *ud) = c->done;
  void *ud = c->done_ud;
  llmd_allocator a = c->alloc;
  if (!c->closing || c->timer_open || c->n_legs || c->questions)
    return;
  free_unused(c);
  llmd__free(&a, c->bucket, c->n_buckets * sizeof(llmd__peer *));
  llmd__free(&a, c, sizeof *c);
  if (done)
    done(ud);
}

static void on_timer_closed(uv_handle_t *handle)
{
  llmd__client *c = handle->data;
  c->timer_open = 0;
  llmd__client_left(c);
}

void llmd__client_close(llmd__client *c, void (*done)(void *ud), void *ud)
{
  if (!c) {
    if (done)
      done(ud);
    return;
  }
  c->closing = 1;
  c->done = done;
  c->done_ud = ud;
  for (uint32_t b = 0; b < c->n_buckets; b++)
    for (llmd__peer *p = c->bucket[b]; p; p = p->next) {
      while (p->n_kept)
        llmd__leg_close((llmd__leg *)(void *)p->kept.next);
      if (p->resolving)
        (void)uv_cancel((uv_req_t *)&p->question);
    }
  uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

void llmd__client_stats_get(const llmd__client *c, llmd__client_stats *out)
{
  out->legs = c->n_legs - c->n_kept;
  out->kept = c->n_kept;
  out->addresses = c->n_peers;
  out->connected = c->connected;
  out->reused = c->reused;
  out->failed = c->failed;
}
