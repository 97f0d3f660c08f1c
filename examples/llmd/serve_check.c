/* Is a service's file right, policy and all, and what would run? */
#define _POSIX_C_SOURCE 200809L
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "serve.h"
#include "shell.h"

#define POOL_MAX ((size_t)4 << 20)

void serve_say(const struct serve *serve, int level, const char *format, ...)
{
  char text[512];
  va_list args;
  int n;
  va_start(args, format);
  n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n > 0)
    service_log((void *)(uintptr_t)&serve->level, level, "serve", text,
                (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* Whose lines an error's place is about. */
static const char *source_of(const struct serve *serve, const char *named, int is_inline)
{
  if (named[0])
    return named;
  return is_inline && serve->file.path ? serve->file.path : serve->file.command;
}

static int drop(void *ud, const char *text, size_t len)
{
  (void)ud;
  (void)text;
  (void)len;
  return 0;
}

/* Policies in Lua show by their examples that they do what they are for. */
static int check_policy(const struct serve *serve, const llmd_service *s, llmd_pool *pool)
{
  const char *source = source_of(serve, s->policy_file, s->policy.len > 0);
  llmd_scheduler_options o = {
    .size = sizeof o, .compat = s->compat, .fail = s->fail_open ? LLMD_FAIL_OPEN : LLMD_FAIL_CLOSED,
    .log = shell_log, .log_ud = (void *)(uintptr_t)source, .module_dir = s->module_dir[0] ? s->module_dir : NULL,
    .loader_dir = s->loader_dir[0] ? s->loader_dir : NULL, .policy_dir = s->policy_dir[0] ? s->policy_dir : NULL,
    .max_tokens = s->max_tokens_seen};
  llmd_err err = LLMD_ERR_INIT;
  llmd_scheduler *scheduler = NULL;
  int rc = llmd_scheduler_create(&o, pool, s->policy.ptr, s->policy.len, &scheduler, &err);
  if (!rc)
    rc = llmd_scheduler_examples(scheduler, drop, NULL, &err);
  llmd_scheduler_free(scheduler);
  return rc < 0 ? service_blame_policy(&serve->file, s, &err) : 0;
}

/* On a pool of its own that nobody else sees. */
static int with_pool(const struct serve *serve, const llmd_service *s,
                     int (*fn)(const struct serve *serve, const llmd_service *s, llmd_pool *pool))
{
  llmd_pool_options o = {.size = sizeof o, .flags = LLMD_POOL_WRITER, .region = &s->caps};
  llmd_err err = LLMD_ERR_INIT;
  llmd_pool *pool = NULL;
  int code;
  if (llmd_pool_open(&o, &pool, &err))
    return shell_blame(serve->file.command, &err);
  code = fn(serve, s, pool);
  llmd_pool_close(pool);
  return code;
}

int serve_read(const struct serve *serve, llmd_service **out)
{
  llmd_service *s = NULL;
  int code = service_read(&serve->file, &s);
  if (code)
    return code;
  code = with_pool(serve, s, check_policy);
  if (code)
    llmd_service_free(s);
  else
    *out = s;
  return code;
}

static int load_pool(const struct serve *serve, const llmd_service *s, llmd_pool *pool)
{
  const char *source = source_of(serve, s->endpoints_file, s->endpoints.len > 0);
  struct file file = {0};
  llmd_err err = LLMD_ERR_INIT;
  int n, code = s->endpoints_file[0] ? file_read(s->endpoints_file, POOL_MAX, &file) : 0;
  if (code)
    return code;
  n = file.text ? llmd_pool_load(pool, file.text, file.len, &err)
                : llmd_pool_load(pool, s->endpoints.ptr, s->endpoints.len, &err);
  free(file.text);
  if (n < 0)
    return shell_blame(source, &err);
  printf("endpoints  %d from %s%s\n", n, source, s->endpoints_file[0] ? ", which is watched" : "");
  return 0;
}

static void print_endpoint_names(const llmd_service *s)
{
  for (uint32_t i = 0; i < s->n_dns; i++)
    printf("endpoints  %s, asked every %u s or sooner\n", s->dns[i].name, s->dns[i].refresh_ms / 1000);
}

static int print_plan(const struct serve *serve, const llmd_service *s, llmd_pool *pool)
{
  int code;
  printf("listen     %s, %u worker%s\n", s->listen, s->workers, s->workers == 1 ? "" : "s");
  printf("admin      %s\n", s->admin[0] ? s->admin : "nowhere");
  if (s->region_is_default && !s->external_agent)
    printf("region     /dev/shm/llmd-%u-PORT, its own\n", (unsigned)geteuid());
  else
    printf("region     %s\n", s->region);
  printf("agent      %s\n", s->external_agent ? "runs already" : "its own");
  printf("policy     %s\n", s->policy.len ? source_of(serve, s->policy_file, 1) : "the reference's default");
  code = s->endpoints.len || s->endpoints_file[0] ? load_pool(serve, s, pool) : 0;
  if (!code)
    print_endpoint_names(s);
  return code;
}

int serve_check(const struct serve *serve)
{
  llmd_service *s = NULL;
  int code = serve_read(serve, &s);
  if (code)
    return code;
  code = with_pool(serve, s, print_plan);
  llmd_service_free(s);
  return code;
}
