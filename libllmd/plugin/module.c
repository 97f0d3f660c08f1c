#define _GNU_SOURCE /* RTLD_DEEPBIND */
#include "plugin/module.h"

#include <stdio.h>
#include <string.h>

#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#define MAX_MODULES 256u
#define LOADER_SYMBOL "llmd_loader_module"

/* What a loader needs it finds in itself and in what it was linked with, whatever the process carries besides. Not so
 * for plugins in C: past an allocator that the host put in place of the C library's, one would free what the other gave.
 * Sanitizers stop a process that asks for this; not every C library has it. */
#define MODULE_FLAGS (RTLD_NOW | RTLD_LOCAL)
#if defined(RTLD_DEEPBIND) && !defined(SANITIZED)
#define LOADER_FLAGS (MODULE_FLAGS | RTLD_DEEPBIND)
#else
#define LOADER_FLAGS MODULE_FLAGS
#endif

typedef struct opener {
  const llmd_allocator *a;
  const char *dir;
  int (*fn)(void *ud, const llmd_plugin *p, const char *file, llmd_err *err);
  void *ud;
  llmd_err *err;
} opener;

/* Nobody but root and the caller may be able to put code where we load it from. */
static const char *untrusted(const struct stat *st, mode_t kind)
{
  if ((st->st_mode & S_IFMT) != kind)
    return kind == S_IFDIR ? "not a directory" : "not a regular file";
  if (st->st_uid != 0 && st->st_uid != geteuid())
    return "owned by somebody else";
  if (st->st_mode & (S_IWGRP | S_IWOTH))
    return "writable by others (chmod go-w mends that)";
  return NULL;
}

static int check(const char *path, mode_t kind, llmd_err *err)
{
  struct stat st;
  const char *why = lstat(path, &st) ? "it cannot be looked at" : untrusted(&st, kind);
  return why ? llmd__fail(err, LLMD_E_DENIED, 0, 0, path, "no plugins are loaded from here: %s", why) : 0;
}

/* Opens the object at path, to stay open. */
static int open_object(const char *path, int flags, void **object, llmd_err *err)
{
  const char *text;
  int rc = check(path, S_IFREG, err);
  if (rc)
    return rc;
  *object = dlopen(path, flags);
  if (*object)
    return 0;
  text = dlerror();
  return llmd__fail(err, LLMD_E_PLUGIN, 0, 0, path, "cannot be loaded: %s", text ? text : "?");
}

static int open_one(const opener *o, const char *name)
{
  char path[1024];
  llmd_module_fn entry = NULL;
  const llmd_plugin *const *list;
  void *object = NULL, *symbol;
  int rc, n = snprintf(path, sizeof path, "%s/%s", o->dir, name);
  if (n < 0 || (size_t)n >= sizeof path)
    return llmd__fail(o->err, LLMD_E_LIMIT, 0, 0, name, "path too long");
  rc = open_object(path, MODULE_FLAGS, &object, o->err);
  if (rc)
    return rc;
  symbol = dlsym(object, "llmd_module");
  if (symbol)
    memcpy(&entry, &symbol, sizeof entry);
  list = entry ? entry(LLMD_PLUGIN_ABI) : NULL;
  if (!list)
    return llmd__fail(o->err, LLMD_E_MISMATCH, 0, 0, path, "no llmd_module for ABI %u", LLMD_PLUGIN_ABI);
  for (; *list && !rc; list++)
    rc = o->fn(o->ud, *list, path, o->err);
  return rc; /* the object stays open: its plugins are in use from here on */
}

/* Puts name into its place among the n sorted ones. */
static void insert(char **names, size_t n, char *name)
{
  for (; n && strcmp(names[n - 1], name) > 0; n--)
    names[n] = names[n - 1];
  names[n] = name;
}

/* llmd-TYPE.so is a loader: opened when a configuration names its type, in its own way. */
static int is_loader(const char *name, size_t n)
{
  char type[64];
  if (n <= 8 || n - 8 >= sizeof type || memcmp(name, "llmd-", 5))
    return 0;
  memcpy(type, name + 5, n - 8);
  type[n - 8] = 0;
  return llmd__loader_is_name(type);
}

static int is_module(const char *name)
{
  size_t n = strlen(name);
  return n > 3 && !strcmp(name + n - 3, ".so") && !is_loader(name, n);
}

static int open_all(const opener *o, DIR *d)
{
  char *names[MAX_MODULES], *name;
  size_t n = 0;
  int rc = 0;
  for (const struct dirent *e = readdir(d); e && !rc; e = readdir(d)) {
    if (!is_module(e->d_name))
      continue;
    if (n == MAX_MODULES) {
      rc = llmd__fail(o->err, LLMD_E_LIMIT, 0, 0, o->dir, "more than %u modules", MAX_MODULES);
      break;
    }
    name = llmd__strdup(o->a, e->d_name, strlen(e->d_name));
    if (!name) {
      rc = llmd__fail(o->err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
      break;
    }
    insert(names, n++, name);
  }
  for (size_t i = 0; i < n; i++) {
    if (!rc)
      rc = open_one(o, names[i]);
    llmd__free(o->a, names[i], strlen(names[i]) + 1);
  }
  return rc;
}

int llmd__modules_open(const llmd_allocator *a, const char *dir,
                       int (*fn)(void *ud, const llmd_plugin *p, const char *file, llmd_err *err), void *ud,
                       llmd_err *err)
{
  opener o = {a, dir, fn, ud, err};
  DIR *d;
  int rc;
  if (dir[0] != '/')
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, dir, "the module directory must be an absolute path");
  rc = check(dir, S_IFDIR, err);
  if (rc)
    return rc;
  d = opendir(dir);
  if (!d)
    return llmd__fail(err, LLMD_E_IO, 0, 0, dir, "cannot be read");
  rc = open_all(&o, d);
  closedir(d);
  return rc;
}

/* ---- loaders ---------------------------------------------------------------------------------------------------- */

int llmd__loader_is_name(const char *type)
{
  size_t n = strlen(type);
  return n && n <= 32 && strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

static const char *refuse_loader(const llmd_loader *l, int has_symbol, const char *type)
{
  if (!has_symbol)
    return "no " LOADER_SYMBOL " in it";
  if (!l || l->abi != LLMD_LOADER_ABI)
    return "another ABI version";
  if (!l->type || strcmp(l->type, type))
    return "it is of another type";
  return l->load && l->plugin && l->text && l->bind && l->unload ? NULL : "a verb is missing";
}

int llmd__loader_open(const char *dir, const char *type, llmd_loader *out, llmd_err *err)
{
  char path[1024];
  llmd_loader_fn entry = NULL;
  const llmd_loader *loader;
  const char *why;
  struct stat st;
  void *object = NULL, *symbol;
  int rc, n = snprintf(path, sizeof path, "%s/llmd-%s.so", dir, type);
  if (!llmd__loader_is_name(type) || dir[0] != '/' || n < 0 || (size_t)n >= sizeof path || lstat(path, &st))
    return LLMD_E_NONE;
  rc = check(dir, S_IFDIR, err);
  if (!rc)
    rc = open_object(path, LOADER_FLAGS, &object, err);
  if (rc)
    return rc;
  symbol = dlsym(object, LOADER_SYMBOL);
  if (symbol)
    memcpy(&entry, &symbol, sizeof entry);
  loader = entry ? entry(LLMD_LOADER_ABI) : NULL;
  why = refuse_loader(loader, symbol != NULL, type);
  if (why)
    return llmd__fail(err, LLMD_E_MISMATCH, 0, 0, path, "not a loader that can be used: %s", why);
  memset(out, 0, sizeof *out);
  memcpy(out, loader, loader->size < sizeof *out ? loader->size : sizeof *out);
  out->size = sizeof *out;
  return 0;
}
