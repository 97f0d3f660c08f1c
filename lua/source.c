/* The one place that reads a file: a policy's text. Nobody but root and the caller may be able to change what decides,
 * so the file is looked at after it was opened, and not through a link. The caller's own group may: where every user has
 * a group of his own, what he writes is open to it. */
#define _POSIX_C_SOURCE 200809L /* O_NOFOLLOW, O_CLOEXEC */
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module.h"

const char *llmd__lua_text_refuse(const char *text, size_t len)
{
  if (len > LLMD_POLICY_BYTES)
    return "a policy has at most 65536 bytes";
  if (len && text[0] == LUA_SIGNATURE[0])
    return "compiled code is not taken, only text";
  if (len && memchr(text, 0, len))
    return "a text has no NUL";
  return NULL;
}

static const char *untrusted(const struct stat *st)
{
  if (!S_ISREG(st->st_mode))
    return "it is not a regular file";
  if (st->st_uid != 0 && st->st_uid != geteuid())
    return "it is owned by somebody else";
  if (st->st_mode & S_IWOTH)
    return "it is writable by everybody";
  if (st->st_mode & S_IWGRP && st->st_gid != getegid())
    return "it is writable by another group";
  return NULL;
}

static const char *name_of(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Up to cap bytes; how many, or -1. */
static ssize_t read_all(int fd, char *to, size_t cap)
{
  size_t n = 0;
  while (n < cap) {
    ssize_t got = read(fd, to + n, cap - n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (!got)
      break;
    n += (size_t)got;
  }
  return (ssize_t)n;
}

/* One byte more than is allowed, so that a file which grows meanwhile is seen to be too long. */
static int read_fd(int fd, const llmd_allocator *a, const char *path, char **text, size_t *len, llmd_err *err)
{
  size_t room = LLMD_POLICY_BYTES + 1;
  char *all = a->fn(a->ud, NULL, 0, room), *kept;
  const char *why;
  ssize_t n;
  if (!all)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, path, "out of memory");
  n = read_all(fd, all, room);
  why = n < 0 ? NULL : llmd__lua_text_refuse(all, (size_t)n);
  kept = n < 0 || why ? NULL : a->fn(a->ud, NULL, 0, (size_t)n + 1);
  if (kept) {
    memcpy(kept, all, (size_t)n);
    kept[n] = 0;
  }
  a->fn(a->ud, all, room, 0);
  if (n < 0)
    return llmd__lua_say(err, LLMD_E_IO, 0, path, "the file cannot be read");
  if (why)
    return llmd__lua_say(err, n > (ssize_t)LLMD_POLICY_BYTES ? LLMD_E_LIMIT : LLMD_E_SYNTAX, 0, path, "%s", why);
  if (!kept)
    return llmd__lua_say(err, LLMD_E_NOMEM, 0, path, "out of memory");
  *text = kept;
  *len = (size_t)n;
  return 0;
}

int llmd__lua_read_file(const llmd_allocator *a, const char *path, char **text, size_t *len, llmd_err *err)
{
  struct stat st;
  const char *why;
  int rc, fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK) : -1;
  if (fd < 0)
    return llmd__lua_say(err, path && errno == ELOOP ? LLMD_E_DENIED : LLMD_E_IO, 0, path,
                         path && errno == ELOOP    ? "a link is not followed"
                         : path && errno == ENOENT ? "there is no such file"
                                                   : "the file cannot be opened");
  why = fstat(fd, &st) ? "it cannot be looked at" : untrusted(&st);
  if (why)
    rc = llmd__lua_say(err, LLMD_E_DENIED, 0, path, "no policy is read from here: %s%s%s", why,
                       strstr(why, "writable") ? ": chmod go-w " : "", strstr(why, "writable") ? name_of(path) : "");
  else
    rc = read_fd(fd, a, path, text, len, err);
  close(fd);
  return rc;
}
