#include "uv/tokens/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define BACKLOG 128
#define MOST_GROUPS 1024

static int fail(llmd_err *err, int code, const char *path, const char *text)
{
  return llmd__fail(err, code, 0, 0, "tokens.socket", "%s: %s", path, text);
}

int llmd__local_check(const char *path)
{
  struct sockaddr_un a;
  size_t n = path ? strlen(path) : 0;
  return n && n < sizeof a.sun_path ? 0 : LLMD_E_INVALID;
}

static void address_of(const char *path, struct sockaddr_un *a)
{
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  memcpy(a->sun_path, path, strlen(path) + 1);
}

/* In a folder where anybody may write, only the sticky bit keeps them from replacing our file. */
static int check_folder(const char *path, llmd_err *err)
{
  char folder[sizeof((struct sockaddr_un *)0)->sun_path];
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  struct stat s;
  memcpy(folder, path, n);
  folder[n] = 0;
  if (stat(slash ? n ? folder : "/" : ".", &s))
    return fail(err, errno == EACCES ? LLMD_E_DENIED : LLMD_E_IO, path, strerror(errno));
  if (s.st_mode & (S_IWOTH | S_IWGRP) && !(s.st_mode & S_ISVTX) && (s.st_mode & S_IWOTH || s.st_gid != getegid()))
    return fail(err, LLMD_E_DENIED, path, "others may replace files in its folder");
  return 0;
}

/* 1: a process listens there. */
static int is_answered(const struct sockaddr_un *a)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), answered;
  if (fd < 0)
    return 1;
  answered = !connect(fd, (const struct sockaddr *)a, sizeof *a) || errno != ECONNREFUSED;
  (void)close(fd);
  return answered;
}

static int make_room(const char *path, const struct sockaddr_un *a, llmd_err *err)
{
  struct stat s;
  if (lstat(path, &s))
    return errno == ENOENT ? 0 : fail(err, LLMD_E_IO, path, strerror(errno));
  if (!S_ISSOCK(s.st_mode))
    return fail(err, LLMD_E_DENIED, path, "is there, and is no socket");
  if (s.st_uid != geteuid() && geteuid())
    return fail(err, LLMD_E_DENIED, path, "belongs to somebody else");
  if (is_answered(a))
    return fail(err, LLMD_E_BUSY, path, "another process answers there");
  return unlink(path) && errno != ENOENT ? fail(err, LLMD_E_IO, path, strerror(errno)) : 0;
}

/* The mode is there from the beginning: a socket's inode gives it to the file. */
static int bind_to(int fd, const char *path, const struct sockaddr_un *a, int group, llmd__local_file *file,
                   llmd_err *err)
{
  mode_t mode = group ? 0660 : 0600;
  struct stat s;
  if (fchmod(fd, mode) || bind(fd, (const struct sockaddr *)a, sizeof *a))
    return fail(err, errno == EADDRINUSE ? LLMD_E_BUSY : errno == EACCES ? LLMD_E_DENIED : LLMD_E_IO, path,
                strerror(errno));
  if (lstat(path, &s) || !S_ISSOCK(s.st_mode))
    return fail(err, LLMD_E_IO, path, "was removed at once");
  *file = (llmd__local_file){(uint64_t)s.st_dev, (uint64_t)s.st_ino};
  if ((s.st_mode & 0777) != mode && chmod(path, mode)) /* umask took some */
    return fail(err, LLMD_E_IO, path, strerror(errno));
  return listen(fd, BACKLOG) ? fail(err, LLMD_E_IO, path, strerror(errno)) : 0;
}

int llmd__local_listen(const char *path, int group, llmd__local_file *file, llmd_err *err)
{
  struct sockaddr_un a;
  llmd__local_file made = {0, 0};
  int fd, rc;
  if (llmd__local_check(path))
    return fail(err, LLMD_E_INVALID, path, "too long for a socket (107 bytes)");
  address_of(path, &a);
  rc = check_folder(path, err);
  if (!rc)
    rc = make_room(path, &a, err);
  if (rc)
    return rc;
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return fail(err, LLMD_E_IO, path, strerror(errno));
  rc = bind_to(fd, path, &a, group, &made, err);
  if (rc) {
    llmd__local_remove(path, &made);
    (void)close(fd);
    return rc;
  }
  *file = made;
  return fd;
}

void llmd__local_remove(const char *path, const llmd__local_file *file)
{
  struct stat s;
  if (file->number && !lstat(path, &s) && (uint64_t)s.st_ino == file->number && (uint64_t)s.st_dev == file->device)
    (void)unlink(path);
}

/* ---- who is there ------------------------------------------------------------------------------------------------ */

static int has_group(int fd, gid_t first)
{
#ifdef SO_PEERGROUPS
  gid_t group[MOST_GROUPS];
  socklen_t len = sizeof group;
  if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, group, &len))
    for (size_t i = 0; i < len / sizeof *group; i++)
      if (group[i] == getegid())
        return 1;
#else
  (void)fd;
#endif
  return first == getegid();
}

int llmd__local_is_friend(int fd, int group)
{
  struct ucred peer;
  socklen_t len = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || len != sizeof peer)
    return 0;
  return peer.uid == geteuid() || peer.uid == 0 || (group && has_group(fd, peer.gid));
}
