#include "uv/policy/make.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/loader.h>

#include "uv/discover/file.h"

typedef struct llmd__disk_text {
  struct llmd__disk_text *next;
  char *text;
} disk_text;

char *llmd__policy_read(const char *path, size_t *len, const char **why)
{
  return llmd__file_load(path, LLMD_POLICY_BYTES, LLMD__FILE_TRUSTED, len, why);
}

/* 1: the text is kept. */
static int keep(llmd__disk *d, char *text)
{
  disk_text *t = malloc(sizeof *t);
  if (!t) {
    free(text);
    return 0;
  }
  *t = (disk_text){d->read, text};
  d->read = t;
  return 1;
}

static void forget(llmd__disk *d)
{
  while (d->read) {
    disk_text *t = d->read;
    d->read = t->next;
    free(t->text);
    free(t);
  }
}

/* A file that cannot be read is the loader's to tell of. */
static int ask_disk(void *ud, const llmd_str *file, llmd_str *text)
{
  llmd__disk *d = ud;
  char path[PATH_MAX], *found;
  const char *why;
  size_t len = 0;
  int absolute = file->len && file->ptr[0] == '/', n;
  d->asked++;
  if (d->silent || (!absolute && !d->folder[0]))
    return 0;
  n = snprintf(path, sizeof path, "%s%s%.*s", absolute ? "" : d->folder, absolute ? "" : "/", (int)file->len, file->ptr);
  found = n > 0 && (size_t)n < sizeof path ? llmd__policy_read(path, &len, &why) : NULL;
  if (!found || !keep(d, found))
    return 0;
  *text = (llmd_str){found, len};
  return 1;
}

void llmd__policy_options(const llmd_service *s, llmd_scheduler_options *out)
{
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->compat = s->compat;
  out->fail = s->fail_open;
  out->max_tokens = s->max_tokens_seen;
  out->module_dir = s->module_dir && s->module_dir[0] ? s->module_dir : NULL;
  out->loader_dir = s->loader_dir && s->loader_dir[0] ? s->loader_dir : NULL;
  out->policy_dir = s->policy_dir && s->policy_dir[0] ? s->policy_dir : NULL;
}

int llmd__policy_make(const llmd_scheduler_options *o, const llmd_service *s, llmd_pool *pool, llmd_scheduler **out,
                      llmd_err *err)
{
  llmd__disk disk = {.folder = o->policy_dir ? o->policy_dir : "", .silent = 1};
  llmd_scheduler_options all = *o;
  llmd_err first = LLMD_ERR_INIT;
  int rc;
  all.policy = ask_disk;
  all.policy_ud = &disk;
  rc = llmd_scheduler_create(&all, pool, s->policy.ptr, s->policy.len, out, &first);
  if (!rc || rc == LLMD_E_BUSY || !disk.asked) {
    if (rc && err && err->size >= sizeof *err)
      *err = first;
    return rc;
  }
  disk.silent = 0;
  rc = llmd_scheduler_create(&all, pool, s->policy.ptr, s->policy.len, out, err);
  forget(&disk);
  return rc;
}
