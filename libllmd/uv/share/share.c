/* A process's hold on a region's file: mapping, slot, writer's lock, pool. */
#include "uv/share/host.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "uv/log.h"
#include "uv/share/inner.h"

/* ---- the host area ----------------------------------------------------------------------------------------------- */

static uint64_t up(uint64_t n)
{
  return (n + LLMD__HOST_ALIGN - 1) / LLMD__HOST_ALIGN * LLMD__HOST_ALIGN;
}

void llmd__host_lay_out(llmd__host *out, uint64_t region_bytes)
{
  static const uint64_t bytes[LLMD__AREAS] = {
    [LLMD__AREA_STATS] = LLMD__AREA_STATS_BYTES,
    [LLMD__AREA_EXPLAIN] = (uint64_t)LLMD__EXPLAIN_SLOTS * LLMD__EXPLAIN_SLOT_BYTES,
    [LLMD__AREA_RECORDS] = (uint64_t)LLMD__RECORD_SLOTS * LLMD__RECORD_SLOT_BYTES,
  };
  uint64_t at = up(region_bytes);
  out->at = at;
  at += up(sizeof *out);
  for (uint32_t i = 0; i < LLMD__AREAS; i++) {
    out->area_at[i] = at;
    out->area_bytes[i] = bytes[i];
    at += up(bytes[i]);
  }
  out->bytes = at - out->at;
}

/* Everything is found through what this checks. */
static int check_head(const llmd__host *h, uint64_t region_bytes, size_t len, const char *path, llmd_err *err)
{
  llmd__host want;
  memset(&want, 0, sizeof want);
  llmd__host_lay_out(&want, region_bytes);
  if (h->magic != LLMD__HOST_MAGIC)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "%s: no host area: another program made this region", path);
  if (h->layout != LLMD__HOST_LAYOUT)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "%s: host area has layout %u, this library has layout %u",
                      path, h->layout, LLMD__HOST_LAYOUT);
  if (h->endian != LLMD__HOST_ENDIAN || h->at != want.at || h->bytes != want.bytes ||
      memcmp(h->area_at, want.area_at, sizeof h->area_at) ||
      memcmp(h->area_bytes, want.area_bytes, sizeof h->area_bytes) || h->at + h->bytes > len)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "%s: host area is damaged, or the file too short", path);
  return 0;
}

int llmd__host_check(const void *mem, size_t len, const char *path, llmd__host **host, llmd_err *err)
{
  llmd_err why = LLMD_ERR_INIT;
  llmd_region_stats s = {.size = sizeof s};
  llmd__host want;
  int rc = llmd_region_check(mem, len, &why);
  if (!rc)
    rc = llmd_region_stats_get(mem, len, &s, &why);
  if (rc)
    return llmd__fail(err, rc, 0, 0, NULL, "%s: %s", path, why.text);
  memset(&want, 0, sizeof want);
  llmd__host_lay_out(&want, s.bytes);
  if (want.at + sizeof want > len)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "%s: no host area: another program made this region", path);
  *host = (llmd__host *)(void *)((char *)(uintptr_t)mem + want.at);
  return check_head(*host, s.bytes, len, path, err);
}

/* ---- a slot ------------------------------------------------------------------------------------------------------ */

/* The lock first, then the number: whoever finds the number finds the lock held. Entries that still name a dead owner
 * are left to the reaper as long as there are others. */
static int take_slot(llmd_share *s, int even_used)
{
  for (uint32_t i = 0; i < LLMD__HOST_SLOTS; i++) {
    int got;
    if (!even_used && atomic_load(&s->host->owner[i]))
      continue;
    got = llmd__lock_take(s->fd, LLMD__LOCK_SLOT + i);
    if (got < 0)
      return got;
    if (!got)
      continue;
    if (!even_used && atomic_load(&s->host->owner[i])) { /* taken, used and left again in between */
      llmd__lock_drop(s->fd, LLMD__LOCK_SLOT + i);
      continue;
    }
    s->slot = i;
    s->owner = i + LLMD__HOST_SLOTS * (atomic_fetch_add(&s->host->given, 1) + 1);
    atomic_store(&s->host->pid[i], (uint32_t)getpid());
    atomic_store(&s->host->owner[i], s->owner);
    return 0;
  }
  return LLMD_E_FULL;
}

static int attach(llmd_share *s, const char *path, llmd_err *err)
{
  int rc = take_slot(s, 0);
  if (rc == LLMD_E_FULL)
    rc = take_slot(s, 1);
  if (rc == LLMD_E_FULL)
    return llmd__fail(err, rc, 0, 0, NULL, "%s: %u processes are attached; there is no slot left", path,
                      LLMD__HOST_SLOTS);
  return rc ? llmd__fail(err, rc, 0, 0, NULL, "%s: its file system gives no locks", path) : 0;
}

static int take_pen(llmd_share *s, const char *path, llmd_err *err)
{
  int got = llmd__lock_take(s->fd, LLMD__LOCK_WRITER);
  if (got < 0)
    return llmd__fail(err, got, 0, 0, NULL, "%s: its file system gives no locks", path);
  if (!got)
    return llmd__fail(err, LLMD_E_BUSY, 0, 0, NULL, "%s: process %u writes this region", path,
                      llmd__share_writer_pid(s));
  s->writer = 1;
  atomic_store(&s->host->writer_pid, (uint32_t)getpid());
  return 0;
}

/* ---- open, close ------------------------------------------------------------------------------------------------- */

static int map(llmd_share *s, const llmd_share_options *o, llmd_err *err)
{
  int rc = llmd__share_file(o, &s->fd, &s->len, err);
  if (rc)
    return rc;
  if (!s->len)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, NULL, "%s: is empty, not a region", o->path);
  s->mem = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
  if (s->mem == MAP_FAILED) {
    s->mem = NULL;
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "%s: cannot be mapped", o->path);
  }
  rc = llmd__host_check(s->mem, s->len, o->path, &s->host, err);
  if (!rc && o->region && o->flags & LLMD_SHARE_CREATE && s->host->at != up(llmd_region_size(o->region)))
    llmd__log(s->log, s->log_ud, LLMD_LOG_WARN, "share", "%s has other caps than asked for, and keeps them", o->path);
  return rc;
}

static int open_pool(llmd_share *s, const llmd_share_options *o, llmd_err *err)
{
  llmd_region_stats now = {.size = sizeof now};
  llmd_pool_options p = {.size = sizeof p, .alloc = &s->alloc, .log = o->log, .log_ud = o->log_ud,
                         .mem = s->mem, .mem_len = s->len, .stale_ns = o->stale_ns, .lease_ns = o->lease_ns,
                         .owner = s->owner};
  int rc = llmd_region_stats_get(s->mem, s->len, &now, err);
  if (rc)
    return rc;
  if (s->writer) /* with the lock in hand, whoever stands there is dead */
    p.flags = LLMD_POOL_WRITER | (now.writer ? LLMD_POOL_TAKEOVER : 0u);
  return llmd_pool_open(&p, &s->pool, err);
}

static int open_parts(llmd_share *s, const llmd_share_options *o, llmd_err *err)
{
  int rc = map(s, o, err);
  if (!rc && o->flags & LLMD_SHARE_WRITER)
    rc = take_pen(s, o->path, err);
  if (!rc)
    rc = attach(s, o->path, err);
  return rc ? rc : open_pool(s, o, err);
}

int llmd_share_open(const llmd_share_options *options, llmd_share **out, llmd_err *err)
{
  llmd_share_options o;
  llmd_allocator alloc;
  llmd_share *s;
  int rc;
  if (!options || !out)
    return LLMD_E_INVALID;
  memset(&o, 0, sizeof o);
  memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
  llmd__alloc_init(&alloc, o.alloc);
  s = llmd__calloc(&alloc, 1, sizeof *s);
  if (!s)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  s->alloc = alloc;
  s->fd = -1;
  s->log = o.log;
  s->log_ud = o.log_ud;
  rc = open_parts(s, &o, err);
  if (rc) {
    llmd_share_close(s);
    return rc;
  }
  *out = s;
  return 0;
}

/* The entry stays, marked: requests that this process left in flight are the reaper's to give back. */
void llmd_share_close(llmd_share *share)
{
  if (!share)
    return;
  llmd_pool_close(share->pool);
  if (share->owner)
    atomic_store(&share->host->owner[share->slot], share->owner | LLMD__OWNER_LEFT);
  if (share->writer)
    atomic_store(&share->host->writer_pid, 0);
  if (share->mem)
    munmap(share->mem, share->len);
  if (share->fd >= 0)
    close(share->fd); /* and with it the locks */
  llmd__free(&share->alloc, share, sizeof *share);
}

llmd_pool *llmd_share_pool(llmd_share *share)
{
  return share->pool;
}

int llmd_share_has_writer(const llmd_share *share)
{
  return share->writer || llmd__lock_held(share->fd, LLMD__LOCK_WRITER);
}

void *llmd_share_memory(llmd_share *share, size_t *len)
{
  llmd_region_stats s = {.size = sizeof s};
  (void)llmd_region_stats_get(share->mem, share->len, &s, NULL);
  *len = (size_t)s.bytes;
  return share->mem;
}

void *llmd__share_area(llmd_share *share, uint32_t which, size_t *bytes)
{
  if (which >= LLMD__AREAS)
    return NULL;
  *bytes = (size_t)share->host->area_bytes[which];
  return share->mem + share->host->area_at[which];
}

uint64_t llmd__share_owner(const llmd_share *share)
{
  return share->owner;
}

int llmd__share_attached(const llmd_share *share, uint64_t owner)
{
  return owner && atomic_load(&share->host->owner[owner % LLMD__HOST_SLOTS]) == owner;
}

uint32_t llmd__share_writer_pid(const llmd_share *share)
{
  return atomic_load(&share->host->writer_pid);
}

int llmd__share_leads(const llmd_share *share, const char *path)
{
  struct stat mine, there;
  return !fstat(share->fd, &mine) && !stat(path, &there) && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}
