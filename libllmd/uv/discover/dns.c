/* The one file that touches c-ares. Its sockets are watched on the loop; its clock is llmd__dns_tick. */
#include "uv/discover/dns.h"

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/error.h>

#include "uv/watch.h"

#define TRY_MS 1000
#define TRIES 2

struct llmd__dns {
  ares_channel channel;
  llmd__watches watches;
  uint32_t closing; /* 1 = being closed, 2 = c-ares is gone */
  void (*done)(void *ud);
  void *done_ud;
};

typedef struct question {
  llmd__dns *dns;
  llmd__dns_fn fn;
  void *ud;
} question;

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static void end(void *ud)
{
  llmd__dns *d = ud;
  if (d->closing < 2 || d->watches.open)
    return;
  if (d->done)
    d->done(d->done_ud);
  llmd__watches_free(&d->watches);
  free(d);
}

static void on_ready(void *ud, int fd, int readable, int writable)
{
  llmd__dns *d = ud;
  ares_process_fd(d->channel, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
}

/* A socket that cannot be watched: its question ends by time. */
static void on_state(void *ud, ares_socket_t fd, int readable, int writable)
{
  llmd__dns *d = ud;
  if (!readable && !writable)
    llmd__watches_drop(&d->watches, fd);
  else
    (void)llmd__watches_set(&d->watches, fd, readable, writable);
}

void llmd__dns_tick(llmd__dns *d)
{
  ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static int code_of(int status)
{
  switch (status) {
  case ARES_SUCCESS: return 0;
  case ARES_ENODATA:
  case ARES_ENOTFOUND:
  case ARES_ENONAME: return LLMD_E_NONE;
  case ARES_ETIMEOUT: return LLMD_E_TIMEOUT;
  case ARES_EBADRESP:
  case ARES_EFORMERR:
  case ARES_EBADNAME:
  case ARES_EBADSTR: return LLMD_E_SYNTAX;
  case ARES_ENOMEM: return LLMD_E_NOMEM;
  default: return LLMD_E_IO;
  }
}

static question *new_question(llmd__dns *d, llmd__dns_fn fn, void *ud)
{
  const llmd__dns_answer none = {.rc = LLMD_E_NOMEM, .text = "out of memory"};
  question *q = malloc(sizeof *q);
  if (!q)
    fn(ud, &none);
  else
    *q = (question){d, fn, ud};
  return q;
}

/* The answer goes out, unless nobody waits for it any more. */
static void tell(question *q, int status, llmd__dns_answer *a)
{
  a->rc = code_of(status);
  if (!a->rc && !a->n)
    a->rc = LLMD_E_NONE;
  a->text = status ? ares_strerror(status) : "no address in it";
  if (!q->dns->closing)
    q->fn(q->ud, a);
  free(q);
}

/* An address that one host can have. */
static int is_somebody(const struct sockaddr *a)
{
  static const unsigned char zero[16];
  if (a->sa_family == AF_INET) {
    const uint32_t v = ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr);
    return v >> 24 != 0 && v >> 28 < 14;
  }
  if (a->sa_family == AF_INET6) {
    const unsigned char *v = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
    return v[0] != 0xff && memcmp(v, zero, 16) != 0;
  }
  return 0;
}

static int add_address(llmd__dns_answer *a, const struct sockaddr *s)
{
  const void *raw = s->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)s)->sin_addr
                                            : (const void *)&((const struct sockaddr_in6 *)(const void *)s)->sin6_addr;
  char text[LLMD__DNS_ADDRESS];
  if (!is_somebody(s) || !inet_ntop(s->sa_family, raw, text, sizeof text))
    return 0;
  for (uint32_t i = 0; i < a->n; i++)
    if (strcmp(a->address[i], text) == 0)
      return 0;
  memcpy(a->address[a->n++], text, sizeof text);
  return 1;
}

static void least(uint32_t *ttl, int other)
{
  const uint32_t v = other > 0 ? (uint32_t)other : 0;
  if (v < *ttl)
    *ttl = v;
}

static void on_addresses(void *ud, int status, int timeouts, struct ares_addrinfo *info)
{
  question *q = ud;
  llmd__dns_answer a = {.ttl = UINT32_MAX};
  (void)timeouts;
  if (!status && info)
    a.address = malloc(LLMD__DNS_MOST * sizeof *a.address);
  if (!status && !a.address)
    status = ARES_ENOMEM;
  for (struct ares_addrinfo_node *n = status ? NULL : info->nodes; n && a.n < LLMD__DNS_MOST; n = n->ai_next)
    if (add_address(&a, n->ai_addr))
      least(&a.ttl, n->ai_ttl);
  for (struct ares_addrinfo_cname *c = status ? NULL : info->cnames; c; c = c->next)
    least(&a.ttl, c->ttl);
  tell(q, status, &a);
  free(a.address);
  ares_freeaddrinfo(info);
}

void llmd__dns_ask(llmd__dns *d, const char *name, int family, llmd__dns_fn fn, void *ud)
{
  const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = family == 6 ? AF_INET6 : AF_INET,
                                            .ai_socktype = SOCK_STREAM};
  question *q = new_question(d, fn, ud);
  if (q)
    ares_getaddrinfo(d->channel, name, NULL, &hints, on_addresses, q);
}

/* ---- SRV --------------------------------------------------------------------------------------------------------- */

static uint32_t u16(const unsigned char *p)
{
  return (uint32_t)p[0] << 8 | p[1];
}

/* Past the name at `at`; 0 = it does not end. */
static size_t skip_name(const unsigned char *p, size_t len, size_t at)
{
  while (at < len) {
    if (!p[at])
      return at + 1;
    if ((p[at] & 0xc0) == 0xc0)
      return at + 2;
    at += 1u + p[at];
  }
  return 0;
}

/* The least time to live among the answers: what c-ares' reader of SRV records leaves out. The message has been read by
 * c-ares; nothing is believed here nevertheless. */
static uint32_t ttl_of(const unsigned char *p, size_t len)
{
  uint32_t ttl = UINT32_MAX;
  size_t at = 12;
  if (len < 12)
    return 0;
  for (uint32_t i = 0; i < u16(p + 4); i++) {
    at = skip_name(p, len, at);
    if (!at || (at += 4) > len)
      return 0;
  }
  for (uint32_t i = 0; i < u16(p + 6); i++) {
    uint32_t v;
    at = skip_name(p, len, at);
    if (!at || at + 10 > len)
      return 0;
    v = u16(p + at + 4) << 16 | u16(p + at + 6);
    ttl = v < ttl ? v : ttl;
    at += 10 + u16(p + at + 8);
  }
  return ttl;
}

static void on_srv(void *ud, int status, int timeouts, unsigned char *message, int len)
{
  question *q = ud;
  struct ares_srv_reply *reply = NULL;
  llmd__dns_answer a = {0};
  llmd__dns_target *t = NULL;
  (void)timeouts;
  if (!status)
    status = ares_parse_srv_reply(message, len, &reply);
  if (!status && !(t = malloc(LLMD__DNS_MOST * sizeof *t)))
    status = ARES_ENOMEM;
  for (struct ares_srv_reply *r = status ? NULL : reply; r && a.n < LLMD__DNS_MOST; r = r->next)
    if (r->host && r->host[0] && strcmp(r->host, ".") != 0 && r->port) /* "." : the service is not there */
      t[a.n++] = (llmd__dns_target){r->host, r->port};
  a.target = t;
  a.ttl = status ? 0 : ttl_of(message, (size_t)len);
  tell(q, status, &a);
  free(t);
  ares_free_data(reply);
}

void llmd__dns_ask_srv(llmd__dns *d, const char *name, llmd__dns_fn fn, void *ud)
{
  question *q = new_question(d, fn, ud);
  if (q)
    ares_search(d->channel, name, ns_c_in, ns_t_srv, on_srv, q);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int set_servers(llmd__dns *d, const char *servers)
{
  const int rc = servers && *servers ? ares_set_servers_ports_csv(d->channel, servers) : 0;
  return rc == ARES_ENOMEM ? LLMD_E_NOMEM : rc ? LLMD_E_INVALID : 0;
}

int llmd__dns_open(struct uv_loop_s *loop, const char *servers, llmd__dns **out)
{
  const int named = servers && *servers;
  char only_servers[] = "b";
  struct ares_options o = {.timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_state, .lookups = only_servers};
  const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | (named ? ARES_OPT_LOOKUPS : 0);
  llmd__dns *d;
  int rc;
  if (ares_library_init(ARES_LIB_INIT_ALL))
    return LLMD_E_IO;
  d = calloc(1, sizeof *d);
  o.sock_state_cb_data = d;
  rc = !d ? LLMD_E_NOMEM : ares_init_options(&d->channel, &o, mask) ? LLMD_E_IO : 0;
  if (!rc && (rc = set_servers(d, servers)) != 0)
    ares_destroy(d->channel);
  if (rc) {
    free(d);
    ares_library_cleanup();
    return rc;
  }
  d->watches = (llmd__watches){.loop = loop, .on_ready = on_ready, .on_closed = end, .ud = d};
  *out = d;
  return 0;
}

void llmd__dns_close(llmd__dns *d, void (*done)(void *ud), void *ud)
{
  d->closing = 1;
  d->done = done;
  d->done_ud = ud;
  ares_destroy(d->channel); /* closes its sockets, each with a word to on_state */
  ares_library_cleanup();
  llmd__watches_drop_all(&d->watches);
  d->closing = 2;
  end(d);
}
