#include "uv/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include <llmd/error.h>

struct llmd__watch {
  uv_poll_t poll;
  llmd__watches *all;
  int fd;
  ino_t socket; /* what the descriptor is */
};

/* What the descriptor is now; 0 = closed. */
static ino_t socket_of(int fd)
{
  struct stat s;
  return fstat(fd, &s) ? 0 : s.st_ino;
}

static void on_handle_closed(uv_handle_t *h)
{
  llmd__watch *one = h->data;
  llmd__watches *w = one->all;
  free(one);
  w->open--;
  w->on_closed(w->ud);
}

void llmd__watches_drop(llmd__watches *w, int fd)
{
  if (fd < 0 || (size_t)fd >= w->n || !w->at[fd])
    return;
  uv_close((uv_handle_t *)&w->at[fd]->poll, on_handle_closed);
  w->at[fd] = NULL;
}

static int make_room(llmd__watches *w, int fd)
{
  size_t n = w->n ? w->n : 64;
  llmd__watch **p;
  if ((size_t)fd < w->n)
    return 0;
  while (n <= (size_t)fd)
    n *= 2;
  p = realloc(w->at, n * sizeof *p);
  if (!p)
    return LLMD_E_NOMEM;
  memset(p + w->n, 0, (n - w->n) * sizeof *p);
  w->at = p;
  w->n = n;
  return 0;
}

static llmd__watch *new_watch(llmd__watches *w, int fd)
{
  llmd__watch *one = calloc(1, sizeof *one);
  if (!one || uv_poll_init(w->loop, &one->poll, fd)) {
    free(one);
    return NULL;
  }
  one->poll.data = one;
  one->all = w;
  one->fd = fd;
  one->socket = socket_of(fd);
  w->open++;
  return w->at[fd] = one;
}

static void on_poll(uv_poll_t *p, int status, int events)
{
  const llmd__watch *one = p->data;
  const int wrong = status < 0;
  one->all->on_ready(one->all->ud, one->fd, wrong || (events & UV_READABLE), wrong || (events & UV_WRITABLE));
}

int llmd__watches_set(llmd__watches *w, int fd, int readable, int writable)
{
  llmd__watch *one;
  if (fd < 0 || make_room(w, fd))
    return fd < 0 ? LLMD_E_INVALID : LLMD_E_NOMEM;
  if (w->at[fd] && w->at[fd]->socket != socket_of(fd))
    llmd__watches_drop(w, fd);
  one = w->at[fd] ? w->at[fd] : new_watch(w, fd);
  if (!one)
    return LLMD_E_NOMEM;
  return uv_poll_start(&one->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll) ? LLMD_E_IO : 0;
}

void llmd__watches_rest(llmd__watches *w, int fd)
{
  if (fd < 0 || (size_t)fd >= w->n || !w->at[fd])
    return;
  if (socket_of(fd) == w->at[fd]->socket)
    (void)uv_poll_stop(&w->at[fd]->poll);
  else
    llmd__watches_drop(w, fd);
}

void llmd__watches_drop_all(llmd__watches *w)
{
  for (size_t i = 0; i < w->n; i++)
    llmd__watches_drop(w, (int)i);
}

void llmd__watches_free(llmd__watches *w)
{
  free(w->at);
  w->at = NULL;
  w->n = 0;
}
