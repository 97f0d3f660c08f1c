#define _XOPEN_SOURCE 700
#include "config_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/scheduler.h>

#include "shell.h"

#define ENDING ".lua"
#define LOADER "lua"

int config_is_policy(const char *name)
{
  size_t n = strlen(name), e = sizeof ENDING - 1;
  return n > e && strcmp(name + n - e, ENDING) == 0;
}

static int refuse(const char *name, const char *why)
{
  fprintf(stderr, "%s: %s\n", name, why);
  return EXIT_REFUSED;
}

/* Splits the whole name of the file into its folder and *base, which is in real. */
static int find_folder(struct config_file *c, char *real, char **base)
{
  char *slash = strrchr(real, '/');
  size_t len = (size_t)(slash - real);
  if (len >= sizeof c->dir)
    return refuse(c->name, "the name of its folder is too long");
  memcpy(c->dir, real, len);
  c->dir[len] = 0;
  if (!len)
    (void)snprintf(c->dir, sizeof c->dir, "/");
  *base = slash + 1;
  return 0;
}

static int wrap_policy(struct config_file *c, const char *base)
{
  char text[1024];
  int n = llmd_policy_config(LOADER, base, text, sizeof text);
  if (n < 0)
    return refuse(c->name, "the file's name is too long, or has characters that a configuration cannot hold");
  c->text.text = malloc((size_t)n + 1);
  if (!c->text.text)
    return refuse(c->name, "out of memory");
  memcpy(c->text.text, text, (size_t)n + 1);
  c->text.len = (size_t)n;
  return 0;
}

int config_read(const char *name, struct config_file *out)
{
  char *real, *base;
  int code = 0;
  memset(out, 0, sizeof *out);
  out->name = name;
  if (!name)
    return 0;
  out->is_policy = config_is_policy(name);
  real = strcmp(name, "-") == 0 ? NULL : realpath(name, NULL);
  if (real)
    code = find_folder(out, real, &base);
  else if (out->is_policy)
    code = refuse(name, strerror(errno));
  if (code == 0)
    code = out->is_policy ? wrap_policy(out, base) : file_read(name, CONFIG_MAX, &out->text);
  free(real);
  return code;
}

void config_free(struct config_file *c)
{
  free(c->text.text);
  c->text.text = NULL;
  c->text.len = 0;
}

const char *config_policy_dir(const struct config_file *c)
{
  return c->dir[0] ? c->dir : NULL;
}

const char *config_place(const struct config_file *c, llmd_err *err, char *room, size_t size)
{
  const char *name = c->name ? c->name : "default policy", *slash = strrchr(name, '/');
  if (!config_is_policy(err->path)) {
    if (c->is_policy) { /* places in a configuration that nobody wrote */
      err->line = err->column = 0;
      err->path[0] = 0;
    }
    return name;
  }
  if (c->is_policy)
    (void)snprintf(room, size, "%s", name);
  else if (err->path[0] == '/' || !slash)
    (void)snprintf(room, size, "%s", err->path);
  else
    (void)snprintf(room, size, "%.*s/%s", (int)(slash - name), name, err->path);
  err->path[0] = 0;
  return room;
}

int config_blame(const struct config_file *c, const llmd_err *err)
{
  llmd_err fitting = *err;
  char room[4096];
  return shell_blame(config_place(c, &fitting, room, sizeof room), &fitting);
}
