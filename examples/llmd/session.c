#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shell.h"

#define HEADERS_MAX ((size_t)1 << 20)

/* ---- pool and scheduler ---- */

static int load_pool(struct session *s, const struct session_options *o)
{
  llmd_err err = LLMD_ERR_INIT;
  struct file file;
  int code = file_read(o->pool, POOL_MAX, &file);
  if (code)
    return code;
  if (llmd_pool_load(s->pool, file.text, file.len, &err) < 0)
    code = shell_blame(o->pool, &err);
  free(file.text);
  return code;
}

static int open_pool(struct session *s, const struct session_options *o)
{
  llmd_err err = LLMD_ERR_INIT;
  llmd_region_options region = {.size = sizeof region, .max_endpoints = o->max_endpoints};
  llmd_pool_options options = {
    .size = sizeof options, .flags = LLMD_POOL_WRITER, .region = &region, .log = o->log ? o->log : shell_log,
    .log_ud = o->log ? o->log_ud : (void *)(uintptr_t)o->pool,
  };
  int code = llmd_pool_open(&options, &s->pool, &err) ? shell_blame(o->command, &err) : 0;
  if (code == 0 && o->pool)
    code = load_pool(s, o);
  if (code)
    return code;
  code = llmd_pool_publish(s->pool, &s->now);
  return code ? shell_refuse(o->command, "%s", llmd_strerror(code)) : 0;
}

int session_scheduler(struct session *s, const struct session_options *o, llmd_scheduler **out, llmd_err *err)
{
  llmd_err own = LLMD_ERR_INIT;
  llmd_scheduler_options options = {
    .size = sizeof options, .compat = o->strict ? LLMD_COMPAT_STRICT : LLMD_COMPAT_SENSIBLE,
    .fail = o->fail_open ? LLMD_FAIL_OPEN : LLMD_FAIL_CLOSED, .explain = 1, .refuse_alpha = o->refuse_alpha != 0,
    .log = o->log ? o->log : shell_log, .log_ud = o->log ? o->log_ud : (void *)(uintptr_t)o->config,
    .module_dir = o->modules,
  };
  const char *text;
  size_t len;
  int code;
  err = err ? err : &own;
  config_free(&s->config);
  code = config_read(o->config, &s->config);
  if (code == 0)
    code = loader_dir_find(o->command, o->loaders, s->loaders);
  if (code)
    return code;
  options.loader_dir = loader_dir_option(s->loaders);
  options.policy_dir = config_policy_dir(&s->config);
  text = o->config || !o->text ? s->config.text.text : o->text;
  len = o->config || !o->text ? s->config.text.len : strlen(o->text);
  return llmd_scheduler_create(&options, s->pool, text, len, out, err)
           ? config_blame(&s->config, err)
           : 0;
}

int session_open(struct session *s, const struct session_options *o, llmd_err *err)
{
  int code;
  memset(s, 0, sizeof *s);
  s->now.mono = 1000000000;
  s->now.wall = (uint64_t)time(NULL) * 1000000000;
  code = open_pool(s, o);
  if (code == 0)
    code = session_scheduler(s, o, &s->scheduler, err);
  if (code)
    return code;
  code = llmd_lane_create(s->scheduler, LLMD_LANE_WRITER, &s->lane);
  return code ? shell_refuse(o->command, "%s", llmd_strerror(code)) : 0;
}

void session_close(struct session *s)
{
  llmd_lane_free(s->lane);
  llmd_scheduler_free(s->scheduler);
  llmd_pool_close(s->pool);
  config_free(&s->config);
  memset(s, 0, sizeof *s);
}

/* ---- a request ---- */

static int is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r';
}

/* One line "Name: value", blanks around the value left out. LLMD_E_SYNTAX without a name and a colon. */
static int add_header(llmd_request *r, const char *line, size_t len)
{
  const char *colon = memchr(line, ':', len), *value, *end = line + len;
  if (!colon || colon == line)
    return LLMD_E_SYNTAX;
  for (value = colon + 1; value < end && is_blank(*value); value++)
    ;
  while (end > value && is_blank(end[-1]))
    end--;
  return llmd_request_header(r, line, (size_t)(colon - line), value, (size_t)(end - value));
}

static int add_header_file(llmd_request *r, const char *path)
{
  struct file file;
  unsigned number = 0;
  int code = file_read(path, HEADERS_MAX, &file);
  if (code)
    return code;
  for (const char *p = file.text, *end = file.text + file.len; code == 0 && p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    size_t len = (size_t)((stop ? stop : end) - p);
    while (len && is_blank(p[len - 1]))
      len--;
    llmd_err err = LLMD_ERR_INIT;
    err.line = number + 1;
    err.code = len ? add_header(r, p, len) : 0;
    if (err.code == LLMD_E_SYNTAX)
      (void)snprintf(err.text, sizeof err.text, "a header is \"Name: value\"");
    if (err.code)
      code = shell_blame(path, &err);
    p = stop ? stop + 1 : end;
  }
  free(file.text);
  return code;
}

static int add_headers(llmd_request *r, const char *command, const struct headers *h)
{
  int code = h->file ? add_header_file(r, h->file) : 0;
  for (unsigned i = 0; code == 0 && i < h->n_lines; i++) {
    int rc = add_header(r, h->line[i], strlen(h->line[i]));
    if (rc == LLMD_E_SYNTAX)
      return shell_usage(command, "-H: '%s' is not \"Name: value\"", h->line[i]);
    if (rc)
      return shell_refuse(command, "-H '%s': %s", h->line[i], llmd_strerror(rc));
  }
  return code;
}

int request_make(const char *command, const char *path, const struct headers *headers, const struct file *body,
                 unsigned feed_flags, llmd_request **out)
{
  llmd_request_options options = {.size = sizeof options, .max_body = body->len + 1, .text_bytes = 1u << 20};
  size_t bytes = llmd_request_size(&options);
  void *mem = malloc(bytes);
  llmd_request *r;
  int rc = mem ? llmd_request_init(mem, bytes, &options, &r) : LLMD_E_NOMEM, code = 0;
  if (rc == 0)
    rc = llmd_request_line(r, "POST", 4, path, strlen(path));
  if (rc)
    code = shell_refuse(command, "%s", llmd_strerror(rc));
  if (code == 0)
    code = add_headers(r, command, headers);
  if (code) {
    free(mem);
    return code;
  }
  (void)llmd_request_feed(r, body->text, body->len, feed_flags); /* what is wrong stays in the request */
  *out = r;
  return 0;
}

void request_free(llmd_request *r)
{
  free(r);
}

int request_blame(const llmd_request *r, const char *file, const struct file *body)
{
  llmd_request_info info = {.size = sizeof info};
  llmd_err err = LLMD_ERR_INIT;
  int rc = llmd_request_get(r, &info);
  if (rc == 0 && info.error == 0)
    return 0;
  err.code = rc ? rc : info.error;
  if (rc == 0)
    file_place(body, info.error_offset, &err.line, &err.column);
  return shell_blame(file, &err);
}
