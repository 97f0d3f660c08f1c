/* The region's file: opened and checked, or made. A new one has no name until it is whole, and gets it only if nobody
 * was faster; so whoever opens finds either no file or a complete one, and a maker that dies leaves nothing. */
#include "uv/share/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"

#define TRIES 16 /* rounds of "it is not there", "it is there": somebody removes it again and again */

static int fail_errno(llmd_err *err, const char *path, const char *what)
{
  int code = errno == EACCES || errno == EPERM || errno == ELOOP || errno == EROFS ? LLMD_E_DENIED
             : errno == ENOENT                                                     ? LLMD_E_NONE
             : errno == ENOMEM                                                     ? LLMD_E_NOMEM
             : errno == ENOSPC                                                     ? LLMD_E_LIMIT
                                                                                   : LLMD_E_IO;
  if (errno == ELOOP)
    return llmd__fail(err, code, 0, 0, NULL, "%s: is a symbolic link", path);
  return llmd__fail(err, code, 0, 0, NULL, "%s: %s: %s", path, what, strerror(errno));
}

static mode_t mode_of(uint32_t flags)
{
  return flags & LLMD_SHARE_GROUP ? 0660 : 0600;
}

/* ---- one that is there ------------------------------------------------------------------------------------------- */

static int check_rights(const struct stat *s, const llmd_share_options *o, llmd_err *err)
{
  unsigned more = (unsigned)s->st_mode & 07777u & ~(unsigned)mode_of(o->flags);
  if (!S_ISREG(s->st_mode))
    return llmd__fail(err, LLMD_E_DENIED, 0, 0, NULL, "%s: not a plain file", o->path);
  if (s->st_uid != geteuid() && s->st_uid != 0)
    return llmd__fail(err, LLMD_E_DENIED, 0, 0, NULL, "%s: belongs to user %lu; only user %lu or root may own it",
                      o->path, (unsigned long)s->st_uid, (unsigned long)geteuid());
  if (more)
    return llmd__fail(err, LLMD_E_DENIED, 0, 0, NULL, "%s: mode %04o gives more rights than %04o", o->path,
                      (unsigned)s->st_mode & 07777u, (unsigned)mode_of(o->flags));
  return 0;
}

static int open_existing(const llmd_share_options *o, int *fd, size_t *len, llmd_err *err)
{
  struct stat s;
  int rc, f = open(o->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f < 0)
    return fail_errno(err, o->path, errno == ENOENT ? "there is no region; an agent makes it" : "cannot be opened");
  rc = fstat(f, &s) ? fail_errno(err, o->path, "fstat") : check_rights(&s, o, err);
  if (rc) {
    close(f);
    return rc;
  }
  *fd = f;
  *len = (size_t)s.st_size;
  return 0;
}

/* ---- a new one --------------------------------------------------------------------------------------------------- */

/* A file without a name where the file system has that, else under a name that nobody guesses. */
static int open_nameless(const llmd_share_options *o, char *name, size_t cap)
{
  const char *slash = strrchr(o->path, '/');
  uint64_t random = 0;
  int fd;
  (void)snprintf(name, cap, "%.*s", slash == o->path ? 1 : (int)(slash - o->path), o->path);
  fd = open(name, O_TMPFILE | O_RDWR | O_CLOEXEC, mode_of(o->flags));
  name[0] = 0;
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
    return fd;
  if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
    return -1;
  (void)snprintf(name, cap, "%s.%016llx", o->path, (unsigned long long)random);
  return open(name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, mode_of(o->flags));
}

/* Pages of a full tmpfs are a SIGBUS later, for everybody: say it now. */
static int has_room(int fd, uint64_t bytes, const char *path, llmd_err *err)
{
  struct statvfs v;
  uint64_t room;
  if (fstatvfs(fd, &v) || !v.f_blocks) /* 0 blocks: without a limit */
    return 0;
  room = (uint64_t)v.f_bavail * v.f_frsize;
  if (room >= bytes)
    return 0;
  return llmd__fail(err, LLMD_E_LIMIT, 0, 0, NULL,
                    "%s: the region needs %llu MiB, its file system has %llu: ask for smaller caps, or give it more",
                    path, (unsigned long long)(bytes >> 20), (unsigned long long)(room >> 20));
}

static int read_caps(const llmd_share_options *o, llmd_region_options *caps, uint8_t *secret, llmd_err *err)
{
  memset(caps, 0, sizeof *caps);
  if (o->region)
    memcpy(caps, o->region, o->region->size && o->region->size < sizeof *caps ? o->region->size : sizeof *caps);
  caps->size = sizeof *caps;
  caps->zeroed = 1; /* a new file */
  if (caps->secret)
    return 0;
  if (getrandom(secret, LLMD_SECRET_BYTES, 0) != (ssize_t)LLMD_SECRET_BYTES)
    return fail_errno(err, o->path, "getrandom");
  caps->secret = secret;
  return 0;
}

static int format(int fd, const llmd_share_options *o, llmd_err *err)
{
  llmd_region_options caps;
  uint8_t secret[LLMD_SECRET_BYTES];
  llmd__host host;
  uint64_t region;
  char *mem;
  int rc = read_caps(o, &caps, secret, err);
  if (rc)
    return rc;
  region = llmd_region_size(&caps);
  memset(&host, 0, sizeof host);
  llmd__host_lay_out(&host, region);
  host.magic = LLMD__HOST_MAGIC;
  host.layout = LLMD__HOST_LAYOUT;
  host.endian = LLMD__HOST_ENDIAN;
  rc = has_room(fd, host.at + host.bytes, o->path, err);
  if (rc)
    return rc;
  if (ftruncate(fd, (off_t)(host.at + host.bytes)))
    return fail_errno(err, o->path, "cannot grow");
  mem = mmap(NULL, (size_t)(host.at + host.bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mem == MAP_FAILED)
    return fail_errno(err, o->path, "cannot be mapped");
  rc = llmd_region_format(mem, (size_t)region, &caps);
  memcpy(mem + host.at, &host, sizeof host);
  munmap(mem, (size_t)(host.at + host.bytes));
  return rc ? llmd__fail(err, rc, 0, 0, NULL, "%s: the region cannot be made: %s", o->path, llmd_strerror(rc)) : 0;
}

static int name_it(int fd, const char *path, llmd_err *err)
{
  char link[64];
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (!linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW))
    return 0;
  return errno == EEXIST ? LLMD_E_DUPLICATE : fail_errno(err, path, "cannot be given its name");
}

/* LLMD_E_DUPLICATE: somebody else made one meanwhile. */
static int make(const llmd_share_options *o, llmd_err *err)
{
  char name[PATH_MAX];
  int rc, fd = open_nameless(o, name, sizeof name);
  if (fd < 0)
    return fail_errno(err, o->path, "cannot be made");
  rc = fchmod(fd, mode_of(o->flags)) ? fail_errno(err, o->path, "its mode cannot be set") : 0; /* umask */
  if (!rc)
    rc = format(fd, o, err);
  if (!rc)
    rc = name_it(fd, o->path, err);
  if (name[0])
    (void)unlink(name);
  close(fd);
  return rc;
}

/* The first look usually finds no file: that is no failure when it can be made. */
static int find_or_make(const llmd_share_options *o, int *fd, size_t *len, llmd_err *err)
{
  int rc = open_existing(o, fd, len, err);
  for (int i = 0; i < TRIES && rc == LLMD_E_NONE && o->flags & LLMD_SHARE_CREATE; i++) {
    rc = make(o, err);
    if (rc && rc != LLMD_E_DUPLICATE)
      return rc;
    rc = open_existing(o, fd, len, err);
  }
  return rc;
}

int llmd__share_file(const llmd_share_options *o, int *fd, size_t *len, llmd_err *err)
{
  llmd_err why = LLMD_ERR_INIT;
  int rc;
  if (!o->path || o->path[0] != '/' || strlen(o->path) + 32 > PATH_MAX)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "the path of a region is absolute: %s", o->path ? o->path : "");
  rc = find_or_make(o, fd, len, &why);
  return rc ? llmd__fail(err, rc, 0, 0, NULL, "%s", why.text) : 0;
}
