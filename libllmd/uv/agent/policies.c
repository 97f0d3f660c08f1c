#include "uv/agent/policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd/loader.h>

#include "uv/agent/agent.h"
#include "uv/log.h"
#include "uv/policy/make.h"
#include "uv/policy/trial.h"

#define LOOK_EVERY 10u /* ticks */

#define SAY(a, level, ...) llmd__log((a)->log, (a)->log_ud, level, "policy", __VA_ARGS__)

static int is_file(const llmd_policy_info *p, const char *name)
{
  return p->file.ptr && p->file.len == strlen(name) && !memcmp(p->file.ptr, name, p->file.len);
}

/* The scheduler's policy of that file. */
static int find(const llmd_scheduler *s, const char *name, llmd_policy_info *out)
{
  out->size = sizeof *out;
  for (uint32_t i = 0; !llmd_scheduler_policy(s, i, out); i++)
    if (is_file(out, name))
      return 1;
  return 0;
}

static int same_text(llmd_str a, const char *text, size_t len)
{
  return a.len == len && (!len || !memcmp(a.ptr, text, len));
}

/* ---- a scheduler ------------------------------------------------------------------------------------------------- */

static void options_of(llmd_agent *a, const llmd_service *s, llmd_scheduler_options *o)
{
  llmd__policy_options(s, o);
  o->explain = 1; /* recorded requests are tried by it */
  o->log = a->log;
  o->log_ud = a->log_ud;
}

static int put_text(llmd_agent *a, const llmd_policy_info *p, uint64_t *number, llmd_err *err)
{
  int rc = llmd_pool_put_policy(llmd_share_pool(a->share), p->file.ptr, p->file.len, p->text.ptr, p->text.len, number);
  return rc ? llmd__fail(err, rc, 0, 0, NULL, "%.*s: its text cannot be put into the region: %s", (int)p->file.len,
                         p->file.ptr, llmd_strerror(rc))
            : 0;
}

/* Texts that came from files are tried and put into the region. */
static int settle(llmd_agent *a, llmd_scheduler *s, llmd_err *err)
{
  llmd_policy_info p = {.size = sizeof p};
  llmd__trial trial;
  uint32_t fresh = 0;
  int rc = 0;
  for (uint32_t i = 0; !llmd_scheduler_policy(s, i, &p); i++)
    fresh += !p.number;
  if (fresh)
    rc = llmd__trial_run(a->share, NULL, s, &trial, err);
  for (uint32_t i = 0; !rc && !llmd_scheduler_policy(s, i, &p); i++)
    if (p.file.ptr && !p.number)
      rc = put_text(a, &p, NULL, err);
  return rc;
}

int llmd__policies_make(llmd_agent *a, const llmd_service *s, llmd_scheduler **out, llmd_err *err)
{
  llmd_scheduler_options o;
  llmd_scheduler *made = NULL;
  int rc;
  options_of(a, s, &o);
  rc = llmd__policy_make(&o, s, llmd_share_pool(a->share), &made, err);
  if (rc)
    return rc;
  rc = settle(a, made, err);
  if (rc)
    llmd_scheduler_free(made);
  else
    *out = made;
  return rc;
}

/* ---- another text ------------------------------------------------------------------------------------------------ */

static void drop_text(llmd__policy_file *f)
{
  free(f->text);
  f->text = NULL;
}

static void forgive(llmd__policy_file *f)
{
  free(f->bad);
  f->bad = NULL;
  f->refused[0] = 0;
}

/* Loaders give the file as the place (cut, when it is long), by the one name or the other. Any other place is one of the
 * configuration: the text may be right, and the configuration's parameters not fit it. */
static int is_place_in(const llmd__policy_file *f, const llmd_err *err)
{
  const size_t most = sizeof err->path - 1;
  return !strncmp(err->path, f->path, most) || !strncmp(err->path, f->name, most);
}

static const char *without(const char *text, const char *name)
{
  const size_t n = strlen(name);
  return !strncmp(text, name, n) && !strncmp(text + n, ": ", 2) ? text + n + 2 : text;
}

/* What is wrong. A text may begin with the file's name, which is told anyway. */
static const char *words_of(const llmd__policy_file *f, const llmd_err *err)
{
  const char *text = err->text[0] ? err->text : llmd_strerror(err->code);
  return without(without(text, f->path), f->name);
}

static void refuse(llmd__policy_file *f, const llmd_err *err)
{
  llmd_agent *a = f->agent;
  const char *text = words_of(f, err);
  const int has_line = err->line && is_place_in(f, err);
  if (has_line && err->column)
    (void)snprintf(f->refused, sizeof f->refused, "%u:%u: %s", err->line, err->column, text);
  else if (has_line)
    (void)snprintf(f->refused, sizeof f->refused, "%u: %s", err->line, text);
  else if (err->line)
    (void)snprintf(f->refused, sizeof f->refused, "the configuration does not fit it, line %u%s%s: %s", err->line,
                   err->path[0] ? ", " : "", err->path, text);
  else
    (void)snprintf(f->refused, sizeof f->refused, "%s", text);
  SAY(a, LLMD_LOG_ERROR, "%s:%s%s; the former text stays", f->path, has_line ? "" : " ", f->refused);
  a->view.policies_refused++;
  free(f->bad);
  f->bad = f->text;
  f->bad_len = f->len;
  f->text = NULL;
}

static int ask_new(void *ud, const llmd_str *file, llmd_str *text)
{
  const llmd__policy_file *f = ud;
  if (file->len != strlen(f->name) || memcmp(file->ptr, f->name, file->len) != 0)
    return 0;
  *text = (llmd_str){f->text, f->len};
  return 1;
}

static int make_candidate(llmd__policy_file *f, llmd_scheduler **out, llmd_err *err)
{
  llmd_agent *a = f->agent;
  llmd_scheduler_options o;
  options_of(a, a->service, &o);
  o.policy = ask_new;
  o.policy_ud = f;
  return llmd_scheduler_create(&o, llmd_share_pool(a->share), a->service->policy.ptr, a->service->policy.len, out, err);
}

static void tell_taken(const llmd__policy_file *f, uint64_t number, const llmd__trial *trial)
{
  SAY(f->agent, LLMD_LOG_INFO, "%s: text %llu is in use; tried: examples %u, recorded requests %u", f->path,
      (unsigned long long)number, trial->examples, trial->records);
}

/* The waiting text is compiled, tried and put into the region; or stays where it is until there is room to. */
static void try_text(llmd__policy_file *f)
{
  llmd_agent *a = f->agent;
  llmd_err err = LLMD_ERR_INIT;
  llmd_policy_info p;
  llmd_scheduler *candidate = NULL;
  llmd__trial trial;
  uint64_t number = 0;
  int rc = make_candidate(f, &candidate, &err);
  if (rc == LLMD_E_BUSY)
    return;
  if (!rc)
    rc = llmd__trial_run(a->share, a->scheduler, candidate, &trial, &err);
  if (!rc && find(candidate, f->name, &p))
    rc = put_text(a, &p, &number, &err);
  if (rc) {
    err.code = rc;
    llmd_scheduler_free(candidate);
    refuse(f, &err);
    return;
  }
  llmd__agent_adopt(a, candidate);
  a->view.policies_taken++;
  forgive(f);
  drop_text(f);
  tell_taken(f, number, &trial);
}

/* A text that is in use already needs no trial, nor does one that has failed. */
static void try_waiting(llmd__policy_file *f)
{
  llmd_policy_info p;
  if (!f->text)
    return;
  if (find(f->agent->scheduler, f->name, &p) && same_text(p.text, f->text, f->len)) {
    forgive(f);
    drop_text(f);
  } else if (f->bad && same_text((llmd_str){f->bad, f->bad_len}, f->text, f->len)) {
    drop_text(f);
  } else {
    try_text(f);
  }
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static void on_text(void *ud, const char *text, size_t len)
{
  llmd__policy_file *f = ud;
  char *copy = malloc(len + 1);
  if (!copy)
    return; /* its next change is noticed, too */
  memcpy(copy, text, len);
  copy[len] = 0;
  drop_text(f);
  f->text = copy;
  f->len = len;
}

static void on_trouble(void *ud, const char *what)
{
  llmd__policy_file *f = ud;
  forgive(f);
  (void)snprintf(f->refused, sizeof f->refused, "%s", what);
  SAY(f->agent, LLMD_LOG_WARN, "%s: %s; its last text stays", f->path, what);
}

static void free_file(llmd__policy_file *f)
{
  free(f->name);
  free(f->path);
  free(f->text);
  free(f->bad);
  free(f);
}

static llmd__policy_file *open_file(llmd_agent *a, const llmd_policy_info *p)
{
  llmd__policy_file *f = calloc(1, sizeof *f);
  llmd__file_options o = {.most = LLMD_POLICY_BYTES, .flags = LLMD__FILE_TRUSTED, .on_text = on_text,
                          .on_trouble = on_trouble, .ud = f};
  if (!f)
    return NULL;
  f->agent = a;
  f->name = strndup(p->file.ptr, p->file.len);
  f->path = strndup(p->path.ptr, p->path.len);
  o.path = f->path;
  if (!f->name || !f->path || llmd__file_open(a->loop, &o, &f->watch)) {
    free_file(f);
    return NULL;
  }
  a->policies.open++;
  return f;
}

static void on_closed(void *ud)
{
  llmd__policy_file *f = ud;
  llmd_agent *a = f->agent;
  free_file(f);
  if (!--a->policies.open && a->policies.stopping)
    llmd__agent_closed(a);
}

static void close_file(llmd__policy_file *f)
{
  llmd__file_close(f->watch, on_closed, f);
}

static llmd__policy_file *is_watched(const llmd_agent *a, const llmd_policy_info *p)
{
  llmd__policy_file *f = a->policies.first;
  while (f && !(is_file(p, f->name) && !strcmp(p->path.ptr, f->path)))
    f = f->next;
  return f;
}

static void open_missing(llmd_agent *a)
{
  llmd_policy_info p = {.size = sizeof p};
  for (uint32_t i = 0; !llmd_scheduler_policy(a->scheduler, i, &p); i++) {
    llmd__policy_file *f;
    if (!p.file.ptr || !p.path.ptr || is_watched(a, &p))
      continue;
    f = open_file(a, &p);
    if (!f) {
      SAY(a, LLMD_LOG_ERROR, "%.*s cannot be watched: out of memory", (int)p.file.len, p.file.ptr);
      continue;
    }
    f->next = a->policies.first;
    a->policies.first = f;
  }
}

static void close_needless(llmd_agent *a)
{
  llmd_policy_info p;
  for (llmd__policy_file **at = &a->policies.first; *at;) {
    llmd__policy_file *f = *at;
    if (find(a->scheduler, f->name, &p) && p.path.ptr && !strcmp(p.path.ptr, f->path)) {
      at = &f->next;
      continue;
    }
    *at = f->next;
    close_file(f);
  }
}

static void try_all(llmd_agent *a)
{
  for (llmd__policy_file *f = a->policies.first; f; f = f->next)
    try_waiting(f);
}

void llmd__policies_watch(llmd_agent *a)
{
  close_needless(a);
  for (llmd__policy_file *f = a->policies.first; f; f = f->next) {
    forgive(f);
    llmd__file_read(f->watch);
  }
  open_missing(a);
  try_all(a);
}

void llmd__policies_tick(llmd_agent *a, uint64_t now)
{
  if (++a->policies.turns % LOOK_EVERY)
    return;
  for (llmd__policy_file *f = a->policies.first; f; f = f->next)
    llmd__file_tick(f->watch, now);
  try_all(a);
}

void llmd__policies_stop(llmd_agent *a)
{
  llmd__policy_file *f = a->policies.first;
  a->policies.stopping = 1;
  a->policies.first = NULL;
  if (a->policies.open)
    a->open++;
  while (f) {
    llmd__policy_file *next = f->next;
    close_file(f);
    f = next;
  }
}

const char *llmd__policies_refused(const void *agent, const llmd_str *file)
{
  const llmd_agent *a = agent;
  const llmd__policy_file *f = a->policies.first;
  while (f && (file->len != strlen(f->name) || memcmp(file->ptr, f->name, file->len)))
    f = f->next;
  return f && f->refused[0] ? f->refused : NULL;
}
