#define _POSIX_C_SOURCE 200809L
#include "service_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_file.h"
#include "file.h"
#include "loader_dir.h"
#include "shell.h"

#define FILE_MOST ((size_t)4 << 20)

int service_set(struct service_file *f, const char *key, const char *value)
{
  if (f->n == SERVICE_SETTINGS)
    return shell_usage(f->command, "more than %d options", SERVICE_SETTINGS);
  f->set[f->n].key = key;
  f->set[f->n++].value = value;
  return 0;
}

int service_set_pair(struct service_file *f, char *pair)
{
  char *equal = strchr(pair, '=');
  if (!equal || equal == pair)
    return shell_usage(f->command, "--set wants KEY=VALUE, not '%s'", pair);
  *equal = 0;
  return service_set(f, pair, equal + 1);
}

int service_take_file(struct service_file *f, const char *path)
{
  if (path && config_is_policy(path))
    return service_set(f, "policy", path);
  f->path = path;
  return 0;
}

/* The folder that a path lies in, malloc'ed; NULL = the current one. */
static char *folder_of(const char *path)
{
  const char *slash = path ? strrchr(path, '/') : NULL;
  size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
  char *folder = n ? malloc(n + 1) : NULL;
  if (folder) {
    memcpy(folder, path, n);
    folder[n] = 0;
  }
  return folder;
}

static int blame_option(const struct service_file *f, uint32_t i, const llmd_err *err)
{
  return shell_refuse(f->command, "%s = %s: %s", f->set[i].key, f->set[i].value,
                      err->text[0] ? err->text : llmd_strerror(err->code));
}

/* Loaders of the tree that this program was built in, unless somebody said where they are. */
static int find_loaders(const struct service_file *f, llmd_service *s)
{
  char path[LOADER_DIR_ROOM];
  llmd_err err = LLMD_ERR_INIT;
  int code = s->loader_dir[0] ? 0 : loader_dir_find(f->command, NULL, path);
  if (code || s->loader_dir[0] || !path[0])
    return code;
  return llmd_service_set(s, "loader_dir", path, &err) ? shell_blame(f->command, &err) : 0;
}

int service_read(const struct service_file *f, llmd_service **out)
{
  llmd_err err = LLMD_ERR_INIT;
  struct file text = {0};
  llmd_service *s = NULL;
  char *folder;
  int code = f->path ? file_read(f->path, FILE_MOST, &text) : 0;
  if (code)
    return code;
  folder = folder_of(f->path);
  if (llmd_service_read(text.text ? text.text : "", text.len, folder, &s, &err))
    code = shell_blame(f->path ? f->path : f->command, &err);
  free(folder);
  free(text.text);
  for (uint32_t i = 0; i < f->n && !code; i++)
    if (llmd_service_set(s, f->set[i].key, f->set[i].value, &err))
      code = blame_option(f, i, &err);
  if (!code)
    code = find_loaders(f, s);
  if (code) {
    llmd_service_free(s);
    return code;
  }
  *out = s;
  return 0;
}

/* Loaders give the file's name as the place, readers of configurations a path of keys. */
static int is_policy_file(const char *place)
{
  return place[0] == '/' || config_is_policy(place);
}

int service_blame_policy(const struct service_file *f, const llmd_service *s, const llmd_err *err)
{
  const char *place = s->policy_file[0] ? s->policy_file : s->policy.len && f->path ? f->path : f->command;
  llmd_err fitting = *err;
  char room[4096];
  if (is_policy_file(err->path)) {
    (void)snprintf(room, sizeof room, "%s%s%s", err->path[0] == '/' ? "" : s->policy_dir,
                   err->path[0] == '/' ? "" : "/", err->path);
    place = s->policy_is_text ? s->policy_file : room;
    fitting.path[0] = 0;
  } else if (s->policy_is_text) { /* a place in a configuration that nobody wrote */
    fitting.line = fitting.column = 0;
    fitting.path[0] = 0;
  }
  return shell_blame(place, &fitting);
}

/* A name out of somebody's file or answer makes no lines of its own, nor tells a terminal what to do. */
static void make_plain(char *line, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
      line[i] = '?';
}

void service_log(void *ud, int level, const char *component, const char *text, size_t len)
{
  const uint32_t *wanted = ud;
  const char *what = level == LLMD_LOG_ERROR ? "error: " : level == LLMD_LOG_WARN ? "warning: " : "";
  char line[1024];
  int n;
  if (level > (int)*wanted)
    return;
  n = snprintf(line, sizeof line, "%s: %s%.*s\n", component, what, (int)len, text);
  if (n >= (int)sizeof line)
    n = (int)sizeof line - 1;
  if (n > 0) {
    make_plain(line, (size_t)n - 1);
    line[n - 1] = '\n';
  }
  if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
    return; /* there is nowhere to say so */
}
