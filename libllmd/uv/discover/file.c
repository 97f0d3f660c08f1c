#include "uv/discover/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <llmd/uv.h>

#define MS 1000000ull
#define QUIET (50 * MS)   /* after an event, before it is read */
#define LATEST (500 * MS) /* a file that never comes to rest is read nevertheless */
#define STAT_EVERY (1000 * MS)

/* What tells one state of a file from another. */
typedef struct print {
  uint64_t device, inode, size;
  int64_t changed_s, changed_ns, written_s, written_ns;
} print;

struct llmd__file {
  llmd__file_options o;
  char *path, *folder;
  uv_fs_event_t events;
  uv_fs_t stat;
  uint32_t has_events, stat_busy, closing, open;
  uint64_t noticed, first; /* mono ns: the last sign of a change, and the first that was not acted on; 0 = none */
  uint64_t stat_due;
  print print; /* of what was read last; zero = nothing */
  uint64_t sum;  /* of its text */
  const char *trouble; /* that was told */
  void (*done)(void *ud);
  void *done_ud;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void trouble(llmd__file *f, const char *what)
{
  if (f->trouble && strcmp(f->trouble, what) == 0)
    return;
  f->trouble = what;
  f->o.on_trouble(f->o.ud, what);
}

static void print_of(const struct stat *s, print *out)
{
  *out = (print){(uint64_t)s->st_dev,       (uint64_t)s->st_ino,      (uint64_t)s->st_size,    s->st_ctim.tv_sec,
                 s->st_ctim.tv_nsec, s->st_mtim.tv_sec, s->st_mtim.tv_nsec};
}

/* All of it, or NULL. One byte more than `most` is tried for. */
static char *read_all(int fd, size_t most, size_t *len)
{
  size_t room = 16384, n = 0;
  char *p = malloc(room);
  while (p) {
    const ssize_t got = read(fd, p + n, room - n);
    char *more;
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      break;
    n += (size_t)got;
    *len = n;
    if (!got || n > most)
      return p;
    if (n < room)
      continue;
    more = realloc(p, 2 * room);
    if (!more)
      break;
    p = more;
    room *= 2;
  }
  free(p);
  return NULL;
}

static const char *distrusted(const struct stat *s)
{
  if (s->st_uid != 0 && s->st_uid != geteuid())
    return "belongs to somebody else";
  if (s->st_mode & S_IWOTH)
    return "everybody may write it (chmod go-w mends that)";
  return s->st_mode & S_IWGRP && s->st_gid != getegid() ? "another group may write it (chmod go-w mends that)" : NULL;
}

/* NULL, or what is wrong. The print is taken first: what is written while we read makes another one. */
static const char *read_open(int fd, size_t most, uint32_t flags, print *now, char **text, size_t *len)
{
  const char *why = NULL;
  struct stat s;
  if (fstat(fd, &s) || !S_ISREG(s.st_mode))
    return "not a plain file";
  print_of(&s, now);
  if (flags & LLMD__FILE_TRUSTED)
    why = distrusted(&s);
  if (why)
    return why;
  *text = read_all(fd, most, len);
  if (*text && *len <= most)
    return NULL;
  if (!*text)
    memset(now, 0, sizeof *now); /* tried again, changed or not */
  why = *text ? "too long" : "cannot be read";
  free(*text);
  *text = NULL;
  return why;
}

static const char *load(const char *path, size_t most, uint32_t flags, print *now, char **text, size_t *len)
{
  const int follow = flags & LLMD__FILE_TRUSTED ? O_NOFOLLOW : 0;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow);
  const char *why;
  memset(now, 0, sizeof *now);
  *text = NULL;
  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR ? "not there" : errno == ELOOP ? "a link" : strerror(errno);
  why = read_open(fd, most, flags, now, text, len);
  close(fd);
  return why;
}

char *llmd__file_load(const char *path, size_t most, uint32_t flags, size_t *len, const char **why)
{
  print now;
  char *text;
  *why = load(path, most, flags, &now, &text, len);
  return text;
}

/* FNV-1a. */
static uint64_t sum_of(const char *text, size_t len)
{
  uint64_t sum = UINT64_C(14695981039346656037);
  for (size_t i = 0; text && i < len; i++)
    sum = (sum ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
  return sum;
}

/* Events are the folder's: without `always` a file that is as it was is not spoken of. Two writes in one tick of the file
 * system's clock leave one print, so the text counts as well. */
static void read_file(llmd__file *f, int always)
{
  print now;
  size_t len = 0;
  char *text;
  const char *why = load(f->path, f->o.most, f->o.flags, &now, &text, &len);
  const uint64_t sum = sum_of(text, len);
  const int same = !why && !f->trouble && sum == f->sum && memcmp(&now, &f->print, sizeof now) == 0;
  f->noticed = f->first = 0;
  f->print = now;
  f->sum = sum;
  if (why) {
    trouble(f, why);
  } else if (always || !same) {
    f->trouble = NULL;
    f->o.on_text(f->o.ud, text, len);
  }
  free(text);
}

void llmd__file_read(llmd__file *f)
{
  read_file(f, 1);
}

/* ---- noticing ---------------------------------------------------------------------------------------------------- */

static void notice(llmd__file *f)
{
  llmd_now now;
  llmd_clock(&now);
  f->noticed = now.mono;
  if (!f->first)
    f->first = now.mono;
}

/* Any name in the folder: the link that changes need not be called like the file. */
static void on_event(uv_fs_event_t *e, const char *name, int events, int status)
{
  (void)name;
  (void)events;
  (void)status;
  notice(e->data);
}

static void end(llmd__file *f)
{
  if (!f->closing || f->open || f->stat_busy)
    return;
  if (f->done)
    f->done(f->done_ud);
  free(f->path);
  free(f->folder);
  free(f);
}

static void on_stat(uv_fs_t *r)
{
  llmd__file *f = r->data;
  const uv_stat_t *s = &r->statbuf;
  const print now = {s->st_dev,           s->st_ino,           s->st_size,          s->st_ctim.tv_sec,
                     s->st_ctim.tv_nsec, s->st_mtim.tv_sec, s->st_mtim.tv_nsec};
  const int gone = r->result < 0;
  const int is_new = !gone && memcmp(&now, &f->print, sizeof now) != 0;
  uv_fs_req_cleanup(r);
  f->stat_busy = 0;
  if (f->closing)
    end(f);
  else if (is_new || (gone && !f->trouble))
    notice(f);
}

static void look(llmd__file *f, uint64_t now)
{
  if (f->stat_busy || now < f->stat_due)
    return;
  f->stat_due = now + STAT_EVERY;
  f->stat.data = f;
  f->stat_busy = uv_fs_stat(f->events.loop, &f->stat, f->path, on_stat) == 0;
}

/* The folder may come later than we do. Without events (too many watches, a strange file system) stat does it. */
static void watch_folder(llmd__file *f)
{
  f->has_events = uv_fs_event_start(&f->events, on_event, f->folder, 0) == 0;
}

static int settled(const llmd__file *f, uint64_t now)
{
  return f->noticed && (now >= f->noticed + QUIET || now >= f->first + LATEST);
}

void llmd__file_tick(llmd__file *f, uint64_t now)
{
  if (settled(f, now)) {
    const print before = f->print;
    read_file(f, 0);
    if (f->has_events && memcmp(&before, &f->print, sizeof before) != 0) {
      (void)uv_fs_event_stop(&f->events); /* the folder may be another one of the same name */
      f->has_events = 0;
    }
  }
  if (!f->has_events)
    watch_folder(f);
  look(f, now);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static char *folder_of(const char *path)
{
  const char *slash = strrchr(path, '/');
  if (!slash)
    return strdup(".");
  return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static void on_closed(uv_handle_t *h)
{
  llmd__file *f = h->data;
  f->open--;
  end(f);
}

int llmd__file_open(struct uv_loop_s *loop, const llmd__file_options *options, llmd__file **out)
{
  llmd__file *f = calloc(1, sizeof *f);
  if (f) {
    f->o = *options;
    f->path = strdup(options->path);
    f->folder = folder_of(options->path);
  }
  if (!f || !f->path || !f->folder || uv_fs_event_init(loop, &f->events)) {
    if (f) {
      free(f->path);
      free(f->folder);
    }
    free(f);
    return LLMD_E_NOMEM;
  }
  f->events.data = f;
  f->open = 1;
  watch_folder(f);
  llmd__file_read(f);
  *out = f;
  return 0;
}

void llmd__file_close(llmd__file *f, void (*done)(void *ud), void *ud)
{
  f->closing = 1;
  f->done = done;
  f->done_ud = ud;
  if (f->stat_busy)
    (void)uv_cancel((uv_req_t *)&f->stat);
  uv_close((uv_handle_t *)&f->events, on_closed);
}
