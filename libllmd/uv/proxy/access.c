#include "uv/proxy/access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

#define LEAST_BUFFER 16384u

struct llmd__access {
  llmd_allocator alloc;
  int fd;
  uint32_t own;     /* the descriptor is ours to close */
  uint32_t waits;   /* not a plain file: writing may block */
  uint32_t each;    /* a line at a time */
  uint64_t lost;
  size_t len, cap;
  char buffer[];
};

int llmd__access_open(const char *path, uint32_t buffer, const llmd_allocator *alloc, llmd__access **out, llmd_err *err)
{
  size_t cap = buffer > LEAST_BUFFER ? buffer : LEAST_BUFFER;
  int own = strcmp(path, "-") != 0;
  int fd = own ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640) : STDOUT_FILENO;
  struct stat st;
  llmd__access *a;
  if (fd < 0 || fstat(fd, &st))
    return llmd__fail(err, LLMD_E_IO, 0, 0, NULL, "%s: %s", path, strerror(errno));
  a = llmd__realloc(alloc, NULL, 0, sizeof *a + cap);
  if (!a) {
    if (own)
      (void)close(fd);
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "%s", llmd_strerror(LLMD_E_NOMEM));
  }
  memset(a, 0, sizeof *a);
  a->alloc = *alloc;
  a->fd = fd;
  a->own = (uint32_t)own;
  a->waits = !S_ISREG(st.st_mode);
  a->each = buffer == 0;
  a->cap = cap;
  *out = a;
  return 0;
}

void llmd__access_close(llmd__access *a)
{
  if (!a)
    return;
  llmd__access_flush(a);
  if (a->own)
    (void)close(a->fd);
  llmd_allocator alloc = a->alloc;
  llmd__free(&alloc, a, sizeof *a + a->cap);
}

/* As many whole lines as a pipe takes without waiting. */
static size_t slice(const llmd__access *a)
{
  size_t n = a->len;
  struct pollfd p = {a->fd, POLLOUT, 0};
  if (!a->waits)
    return n;
  if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
    return 0;
  if (n <= PIPE_BUF)
    return n;
  const char *line = memrchr(a->buffer, '\n', PIPE_BUF);
  return line ? (size_t)(line - a->buffer) + 1 : PIPE_BUF;
}

static void cut(llmd__access *a, size_t n)
{
  memmove(a->buffer, a->buffer + n, a->len - n);
  a->len -= n;
}

void llmd__access_flush(llmd__access *a)
{
  while (a->len) {
    size_t n = slice(a);
    ssize_t done = n ? write(a->fd, a->buffer, n) : 0;
    if (done <= 0 && !(done < 0 && errno == EINTR))
      return;
    if (done > 0)
      cut(a, (size_t)done);
  }
}

void llmd__access_put(llmd__access *a, const char *line, size_t len)
{
  if (len > a->cap - a->len)
    llmd__access_flush(a);
  if (len > a->cap - a->len) {
    a->lost++;
    return;
  }
  memcpy(a->buffer + a->len, line, len);
  a->len += len;
  if (a->each)
    llmd__access_flush(a);
}

uint64_t llmd__access_lost(llmd__access *a)
{
  uint64_t lost = a->lost;
  a->lost = 0;
  return lost;
}

static char *digits(char *out, unsigned v, unsigned n)
{
  for (unsigned i = n; i-- > 0; v /= 10)
    out[i] = (char)('0' + v % 10);
  return out + n;
}

void llmd__access_time(uint64_t wall, char out[25])
{
  time_t seconds = (time_t)(wall / 1000000000u);
  struct tm t;
  char *at = out;
  memset(&t, 0, sizeof t);
  (void)gmtime_r(&seconds, &t);
  at = digits(at, (unsigned)t.tm_year + 1900u, 4);
  *at++ = '-';
  at = digits(at, (unsigned)t.tm_mon + 1u, 2);
  *at++ = '-';
  at = digits(at, (unsigned)t.tm_mday, 2);
  *at++ = 'T';
  at = digits(at, (unsigned)t.tm_hour, 2);
  *at++ = ':';
  at = digits(at, (unsigned)t.tm_min, 2);
  *at++ = ':';
  at = digits(at, (unsigned)t.tm_sec, 2);
  *at++ = '.';
  at = digits(at, (unsigned)(wall / 1000000u % 1000u), 3);
  *at++ = 'Z';
  *at = 0;
}
