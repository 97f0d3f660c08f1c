#include "uv/http/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

typedef union any_address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un local;
} any_address;

static int explain(llmd_err *err, int code, const char *address, const char *text)
{
  if (err != NULL) {
    err->code = code;
    err->line = err->column = 0;
    err->path[0] = '\0';
    (void)snprintf(err->text, sizeof err->text, "%s: %s", address, text);
  }
  return code;
}

static int parse_port(const char *text, uint16_t *port)
{
  uint32_t n = 0;
  size_t len = strlen(text);
  if (len == 0 || len > 5)
    return LLMD_E_INVALID;
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9')
      return LLMD_E_INVALID;
    n = n * 10 + (uint32_t)(text[i] - '0');
  }
  *port = (uint16_t)n;
  return n <= 65535 ? 0 : LLMD_E_RANGE;
}

static int parse_local(const char *path, any_address *out, socklen_t *len)
{
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof out->local.sun_path)
    return LLMD_E_INVALID;
  memset(out, 0, sizeof *out);
  out->local.sun_family = AF_UNIX;
  memcpy(out->local.sun_path, path, n + 1);
  *len = (socklen_t)sizeof out->local;
  return 0;
}

static int parse_address(const char *text, any_address *out, socklen_t *len)
{
  char host[INET6_ADDRSTRLEN];
  const char *colon = strrchr(text, ':');
  uint16_t port;
  if (strncmp(text, "unix:", 5) == 0)
    return parse_local(text + 5, out, len);
  if (colon == NULL || parse_port(colon + 1, &port) < 0)
    return LLMD_E_INVALID;
  int bracket = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
  size_t n = (size_t)(colon - text) - (bracket ? 2 : 0);
  if (n == 0 || n >= sizeof host)
    return LLMD_E_INVALID;
  memcpy(host, text + (bracket ? 1 : 0), n);
  host[n] = '\0';
  memset(out, 0, sizeof *out);
  if (bracket) {
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    *len = (socklen_t)sizeof out->v6;
    return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1 ? 0 : LLMD_E_INVALID;
  }
  out->v4.sin_family = AF_INET;
  out->v4.sin_port = htons(port);
  *len = (socklen_t)sizeof out->v4;
  return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 ? 0 : LLMD_E_INVALID;
}

/* A socket file whose process is gone is in the way of its successor. */
static void remove_dead(const any_address *a, socklen_t len)
{
  struct stat st;
  if (lstat(a->local.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
    return;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  if (connect(fd, &a->any, len) != 0 && errno == ECONNREFUSED)
    (void)unlink(a->local.sun_path);
  (void)close(fd);
}

static int bind_and_listen(int fd, const any_address *a, socklen_t len)
{
  int on = 1;
  if (a->any.sa_family == AF_UNIX)
    remove_dead(a, len);
  else
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (a->any.sa_family == AF_INET6)
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  return bind(fd, &a->any, len) == 0 && listen(fd, BACKLOG) == 0 ? 0 : -1;
}

int llmd__socket_listen(const char *address, llmd_err *err)
{
  any_address a;
  socklen_t len;
  if (parse_address(address, &a, &len) < 0)
    return explain(err, LLMD_E_INVALID, address, "not \"address:port\", \"[address]:port\" or \"unix:PATH\"");
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return explain(err, LLMD_E_IO, address, strerror(errno));
  if (bind_and_listen(fd, &a, len) == 0)
    return fd;
  int why = errno;
  (void)close(fd);
  return explain(err, why == EADDRINUSE ? LLMD_E_BUSY : why == EACCES ? LLMD_E_DENIED : LLMD_E_IO, address,
                 strerror(why));
}

uint32_t llmd__socket_port(int fd)
{
  any_address a;
  socklen_t len = (socklen_t)sizeof a;
  if (getsockname(fd, &a.any, &len) != 0)
    return 0;
  if (a.any.sa_family == AF_INET)
    return ntohs(a.v4.sin_port);
  return a.any.sa_family == AF_INET6 ? ntohs(a.v6.sin6_port) : 0;
}

size_t llmd__socket_text(const struct sockaddr *address, char text[LLMD__SOCKET_TEXT])
{
  char host[INET6_ADDRSTRLEN];
  int n;
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    n = snprintf(text, LLMD__SOCKET_TEXT, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    n = snprintf(text, LLMD__SOCKET_TEXT, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
  } else {
    n = snprintf(text, LLMD__SOCKET_TEXT, "unix:");
  }
  return (size_t)n;
}
