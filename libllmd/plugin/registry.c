#include "plugin/registry.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "plugin/module.h"

struct llmd__registry {
  llmd_allocator alloc;
  llmd_log_fn log;
  void *log_ud;
  uint32_t n, cap, built_in; /* the first built_in rows came with the library, or took such a row's place */
  llmd_plugin *plugin; /* full-size copies; plugins loaded later come later */
};

/* A descriptor that can be used: named, of this ABI, and with the verbs of its kinds. */
const char *llmd__plugin_refuse(const llmd_plugin *p)
{
  if (p->abi != LLMD_PLUGIN_ABI)
    return "another ABI version";
  if (!p->type || !*p->type || !p->summary)
    return "no type or summary";
  if (((p->kind & LLMD_FILTER) && !p->filter) || ((p->kind & LLMD_SCORER) && !p->score) ||
      ((p->kind & LLMD_PICKER) && !p->pick) || ((p->kind & LLMD_PROFILE_HANDLER) && (!p->next || !p->finish)) ||
      ((p->kind & LLMD_DECIDER) && !p->decide) || ((p->kind & LLMD_DETECTOR) && !p->saturation) ||
      !p->open != !p->close)
    return "a verb of its kind is missing";
  return NULL;
}

static int grow(llmd__registry *r)
{
  uint32_t cap = r->cap ? r->cap * 2 : 128;
  llmd_plugin *p = llmd__realloc(&r->alloc, r->plugin, r->cap * sizeof *p, cap * sizeof *p);
  if (!p)
    return LLMD_E_NOMEM;
  r->plugin = p;
  r->cap = cap;
  return 0;
}

static llmd_plugin *find_type(llmd__registry *r, const char *type, uint32_t from, uint32_t to)
{
  for (uint32_t i = from; i < to; i++)
    if (!strcmp(r->plugin[i].type, type))
      return &r->plugin[i];
  return NULL;
}

static void tell_replaced(const llmd__registry *r, const char *type, const char *file)
{
  char line[320];
  int n = snprintf(line, sizeof line, "%.80s from %.200s takes the place of the built-in one", type, file);
  if (r->log && n > 0)
    r->log(r->log_ud, LLMD_LOG_WARN, "plugins", line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* A module's plugin may take the place of a built-in one (the operator put it there), but not of another module's. */
static int add(void *ud, const llmd_plugin *p, const char *file, llmd_err *err)
{
  llmd__registry *r = ud;
  llmd_plugin *to, *same;
  const char *why;
  if (r->n == r->cap && grow(r))
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  to = &r->plugin[r->n];
  memset(to, 0, sizeof *to);
  memcpy(to, p, p->size < sizeof *to ? p->size : sizeof *to);
  to->size = sizeof *to;
  why = llmd__plugin_refuse(to);
  if (why)
    return llmd__fail(err, LLMD_E_PLUGIN, 0, 0, file, "plugin %s cannot be used: %s", to->type ? to->type : "?", why);
  same = find_type(r, to->type, 0, r->built_in);
  if (find_type(r, to->type, r->built_in, r->n) || (same && same->type != llmd__builtins()[same - r->plugin]->type))
    return llmd__fail(err, LLMD_E_DUPLICATE, 0, 0, file, "plugin type %s exists already", to->type);
  if (same) {
    tell_replaced(r, to->type, file);
    *same = *to;
  } else {
    r->n++;
  }
  return 0;
}

int llmd__registry_create(const llmd_allocator *a, const char *module_dir, llmd_log_fn log, void *log_ud,
                          llmd__registry **out, llmd_err *err)
{
  llmd__registry *r = llmd__calloc(a, 1, sizeof *r);
  int rc = 0;
  if (!r)
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  r->alloc = *a;
  r->log = log;
  r->log_ud = log_ud;
  for (const llmd_plugin *const *p = llmd__builtins(); *p && !rc; p++)
    rc = add(r, *p, NULL, err);
  r->built_in = r->n;
  if (!rc && module_dir)
    rc = llmd__modules_open(a, module_dir, add, r, err);
  if (rc) {
    llmd__registry_free(r);
    return rc;
  }
  *out = r;
  return 0;
}

void llmd__registry_free(llmd__registry *r)
{
  llmd_allocator a;
  if (!r)
    return;
  a = r->alloc;
  llmd__free(&a, r->plugin, r->cap * sizeof *r->plugin);
  llmd__free(&a, r, sizeof *r);
}

const llmd_plugin *llmd__registry_find(const llmd__registry *r, const char *type, int *old)
{
  *old = 0;
  for (uint32_t i = 0; i < r->n; i++)
    if (!strcmp(r->plugin[i].type, type))
      return &r->plugin[i];
  for (uint32_t i = 0; i < r->n; i++)
    for (const char *const *alias = r->plugin[i].aliases; alias && *alias; alias++)
      if (!strcmp(*alias, type)) {
        *old = 1;
        return &r->plugin[i];
      }
  return NULL;
}

uint32_t llmd__registry_count(const llmd__registry *r)
{
  return r->n;
}

const llmd_plugin *llmd__registry_at(const llmd__registry *r, uint32_t i)
{
  return &r->plugin[i];
}
