#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shell.h"

#define BACKLOG 4096 /* the system's own limit counts */

static int refuse(const char *command, const char *address, int fd)
{
  int code = errno;
  if (fd >= 0)
    close(fd);
  return shell_refuse(command, "cannot listen on %s: %s", address, strerror(code));
}

/* A socket file that nobody answers on was left by somebody who died. */
static void sweep_path(const struct sockaddr_un *where)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  if (connect(fd, (const struct sockaddr *)where, sizeof *where) && errno == ECONNREFUSED)
    (void)unlink(where->sun_path);
  close(fd);
}

static int listen_on_path(const char *command, const char *address, struct serve_socket *out)
{
  struct sockaddr_un where = {.sun_family = AF_UNIX};
  const char *path = address + strlen("unix:");
  int fd;
  if (strlen(path) >= sizeof where.sun_path || strlen(path) >= sizeof out->path)
    return shell_refuse(command, "cannot listen on %s: the name is too long", address);
  strcpy(where.sun_path, path);
  sweep_path(&where);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof where) || listen(fd, BACKLOG))
    return refuse(command, address, fd);
  strcpy(out->path, path);
  (void)snprintf(out->text, sizeof out->text, "%s", address);
  out->fd = fd;
  return 0;
}

static unsigned port_of(int fd)
{
  struct sockaddr_storage where;
  socklen_t len = sizeof where;
  if (getsockname(fd, (struct sockaddr *)&where, &len))
    return 0;
  if (where.ss_family == AF_INET6)
    return ntohs(((struct sockaddr_in6 *)(void *)&where)->sin6_port);
  return ntohs(((struct sockaddr_in *)(void *)&where)->sin_port);
}

static int bound(const struct addrinfo *a)
{
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1, no = 0;
  if (fd < 0)
    return -1;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (a->ai_family == AF_INET6)
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
    return fd;
  yes = errno;
  close(fd);
  errno = yes;
  return -1;
}

static int listen_on_address(const char *command, const char *address, struct serve_socket *out)
{
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
  const char *colon = strrchr(address, ':');
  char host[128];
  size_t n = colon ? (size_t)(colon - address) : sizeof host;
  int rc;
  if (n >= sizeof host)
    return shell_refuse(command, "cannot listen on %s: it is no address", address);
  (void)snprintf(host, sizeof host, "%.*s", (int)n, address);
  if (host[0] == '[' && host[n - 1] == ']') {
    host[n - 1] = 0;
    memmove(host, host + 1, n - 1);
  }
  rc = getaddrinfo(host, colon + 1, &hints, &found);
  if (rc)
    return shell_refuse(command, "cannot listen on %s: %s", address, gai_strerror(rc));
  out->fd = bound(found);
  freeaddrinfo(found);
  if (out->fd < 0)
    return refuse(command, address, -1);
  out->port = port_of(out->fd);
  (void)snprintf(out->text, sizeof out->text, "%.*s:%u", (int)n, address, out->port);
  return 0;
}

int serve_listen(const char *command, const char *address, struct serve_socket *out)
{
  *out = (struct serve_socket){.fd = -1};
  if (strncmp(address, "unix:", 5) == 0)
    return listen_on_path(command, address, out);
  return listen_on_address(command, address, out);
}

void serve_unlisten(struct serve_socket *s)
{
  if (s->fd >= 0)
    close(s->fd);
  if (s->path[0])
    (void)unlink(s->path);
  *s = (struct serve_socket){.fd = -1};
}
