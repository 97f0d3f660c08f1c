/* The locks of the region's file: bytes far beyond its end, so that no size of it matters. */
#include "uv/share/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BASE (INT64_C(1) << 62)

static struct flock byte_of(uint32_t lock, short type)
{
  struct flock f;
  memset(&f, 0, sizeof f); /* l_pid must be 0 */
  f.l_type = type;
  f.l_whence = SEEK_SET;
  f.l_start = (off_t)(BASE + lock);
  f.l_len = 1;
  return f;
}

static int call(int fd, int command, struct flock *f)
{
  int rc;
  do
    rc = fcntl(fd, command, f);
  while (rc < 0 && errno == EINTR);
  return rc;
}

int llmd__lock_take(int fd, uint32_t lock)
{
  struct flock f = byte_of(lock, F_WRLCK);
  if (!call(fd, F_OFD_SETLK, &f))
    return 1;
  return errno == EAGAIN || errno == EACCES ? 0 : LLMD_E_IO;
}

void llmd__lock_drop(int fd, uint32_t lock)
{
  struct flock f = byte_of(lock, F_UNLCK);
  (void)call(fd, F_OFD_SETLK, &f);
}

int llmd__lock_held(int fd, uint32_t lock)
{
  struct flock f = byte_of(lock, F_WRLCK);
  return call(fd, F_OFD_GETLK, &f) < 0 || f.l_type != F_UNLCK;
}
