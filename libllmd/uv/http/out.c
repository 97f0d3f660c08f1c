/* What goes out: at once if the socket takes it, else through a queue. An empty queue costs no memory. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "uv/http/server.h"

size_t llmd__out_pending(const llmd__connection *c)
{
  return c->out_end - c->out_begin;
}

static char *first_queue(llmd_http_server *s)
{
  void *p = s->spare_queue;
  if (p == NULL)
    return llmd__realloc(&s->limits.alloc, NULL, 0, LLMD__HTTP_QUEUE);
  memcpy(&s->spare_queue, p, sizeof(void *));
  s->n_spare_queues--;
  return p;
}

void llmd__out_drop(llmd__connection *c)
{
  llmd_http_server *s = c->server;
  if (c->out_cap == LLMD__HTTP_QUEUE && s->n_spare_queues < LLMD__HTTP_KEPT) {
    memcpy(c->out, &s->spare_queue, sizeof(void *));
    s->spare_queue = c->out;
    s->n_spare_queues++;
  } else {
    llmd__free(&s->limits.alloc, c->out, c->out_cap);
  }
  c->out = NULL;
  c->out_begin = c->out_end = c->out_cap = 0;
}

static int grow(llmd__connection *c, size_t len)
{
  llmd_http_server *s = c->server;
  size_t pending = llmd__out_pending(c), cap = c->out_cap;
  if (c->out == NULL && len <= LLMD__HTTP_QUEUE) {
    c->out = first_queue(s);
    c->out_cap = c->out == NULL ? 0 : LLMD__HTTP_QUEUE;
    return c->out == NULL ? LLMD_E_NOMEM : 0;
  }
  if (pending != 0 && c->out_begin != 0)
    memmove(c->out, c->out + c->out_begin, pending);
  c->out_begin = 0;
  c->out_end = pending;
  if (len > SIZE_MAX / 4 - pending)
    return LLMD_E_NOMEM;
  for (cap = cap != 0 ? cap : LLMD__HTTP_QUEUE; cap < pending + len;)
    cap *= 2;
  char *p = cap == c->out_cap ? c->out : llmd__realloc(&s->limits.alloc, c->out, c->out_cap, cap);
  if (p == NULL)
    return LLMD_E_NOMEM;
  c->out = p;
  c->out_cap = cap;
  return 0;
}

int llmd__out_add(llmd__connection *c, const char *p, size_t len)
{
  if (len == 0)
    return 0;
  if (len > c->out_cap - c->out_end) {
    int rc = grow(c, len);
    if (rc < 0)
      return rc;
  }
  memcpy(c->out + c->out_end, p, len);
  c->out_end += len;
  return 0;
}

/* Bytes that the socket took; 0 = none now; LLMD_E_CLOSED. */
static ssize_t send_some(llmd__connection *c, struct iovec *vec, size_t n)
{
  struct msghdr m = { .msg_iov = vec, .msg_iovlen = n };
  ssize_t sent;
  do
    sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    c->server->bytes_out += (uint64_t)sent;
    return sent;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
    return 0;
  c->broken = 1;
  return LLMD_E_CLOSED;
}

static void block(llmd__connection *c)
{
  if (!c->blocked)
    c->written_at = uv_now(c->server->loop);
  c->blocked = 1;
  llmd__connection_poll(c);
}

/* Queues what lies behind the first `sent` bytes of vec. */
static int keep_rest(llmd__connection *c, const struct iovec *vec, int n, size_t sent)
{
  for (int i = 0; i < n; i++) {
    size_t gone = sent < vec[i].iov_len ? sent : vec[i].iov_len;
    sent -= gone;
    int rc = llmd__out_add(c, (const char *)vec[i].iov_base + gone, vec[i].iov_len - gone);
    if (rc < 0) {
      c->broken = 1;
      return rc;
    }
  }
  return 0;
}

int llmd__out_send(llmd__connection *c, struct iovec *vec, int n)
{
  size_t pending = llmd__out_pending(c), total = pending;
  if (c->broken)
    return LLMD_E_CLOSED;
  if (c->blocked)
    return keep_rest(c, vec + 1, n - 1, 0);
  for (int i = 1; i < n; i++)
    total += vec[i].iov_len;
  if (total == 0)
    return 0;
  int first = pending == 0;
  vec[0].iov_base = pending == 0 ? NULL : c->out + c->out_begin;
  vec[0].iov_len = pending;
  ssize_t sent = send_some(c, vec + first, (size_t)(n - first));
  if (sent < 0)
    return LLMD_E_CLOSED;
  size_t of_queue = (size_t)sent < pending ? (size_t)sent : pending;
  c->out_begin += of_queue;
  if (c->out_begin == c->out_end && c->out != NULL)
    llmd__out_drop(c);
  if ((size_t)sent == total)
    return 0;
  int rc = keep_rest(c, vec + 1, n - 1, (size_t)sent - of_queue);
  block(c);
  return rc;
}

int llmd__out_flush(llmd__connection *c)
{
  struct iovec vec = { c->out, llmd__out_pending(c) };
  if (vec.iov_len == 0)
    return 0;
  vec.iov_base = c->out + c->out_begin;
  ssize_t sent = send_some(c, &vec, 1);
  if (sent < 0)
    return LLMD_E_CLOSED;
  c->out_begin += (size_t)sent;
  if (sent > 0)
    c->written_at = uv_now(c->server->loop);
  if (c->out_begin < c->out_end)
    return 0;
  llmd__out_drop(c);
  c->blocked = 0;
  llmd__connection_poll(c);
  return 0;
}
