/* EndpointPickerConfig: read strictly, then completed as the reference completes it (facts: llm-d-router.md §4).
 *
 *   text ─► tree ─► instances (named, parameters parsed) ─► profiles ─► defaults ─► producers in order */
#include "sched/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/tree.h"
#include "sched/policy.h"

#define API "llm-d.ai/v1alpha1"
#define OLD_API "inference.networking.x-k8s.io/v1alpha1"
#define KIND "EndpointPickerConfig"

/* The reference's policy when there is no file. */
static const char default_policy[] =
    "apiVersion: " API "\nkind: " KIND "\nplugins:\n- type: queue-scorer\n- type: kv-cache-utilization-scorer\n"
    "- type: prefix-cache-scorer\n- type: max-score-picker\nschedulingProfiles:\n- name: default\n  plugins:\n"
    "  - pluginRef: queue-scorer\n    weight: 2\n  - pluginRef: kv-cache-utilization-scorer\n    weight: 2\n"
    "  - pluginRef: prefix-cache-scorer\n    weight: 3\n  - pluginRef: max-score-picker\n";

/* ---- memory, messages ------------------------------------------------------------------------------------------- */

typedef struct block {
  struct block *next;
  size_t bytes;
  uint64_t align;
} block;

void *llmd__config_room(llmd__loader *l, size_t bytes)
{
  block *b = llmd__calloc(&l->c->alloc, 1, sizeof *b + bytes);
  if (!b) {
    llmd__fail(l->err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
    return NULL;
  }
  b->bytes = sizeof *b + bytes;
  b->next = l->c->blocks;
  l->c->blocks = b;
  return b + 1;
}

const char *llmd__config_text(llmd__loader *l, const char *ptr, size_t len)
{
  char *p = llmd__config_room(l, len + 1);
  if (p && len)
    memcpy(p, ptr, len);
  return p;
}

void llmd__config_warn(const llmd__loader *l, const llmd__node *at, const char *fmt, ...)
{
  char text[320], line[400];
  va_list ap;
  int n;
  if (!l->options->log)
    return;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  n = at ? snprintf(line, sizeof line, "line %u: %s", at->line, text) : snprintf(line, sizeof line, "%s", text);
  if (n > 0)
    l->options->log(l->options->log_ud, LLMD_LOG_WARN, "config", line,
                    (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- top level -------------------------------------------------------------------------------------------------- */

static int check_head(llmd__loader *l)
{
  static const char *const names[] = {"apiVersion", "kind",         "metadata",           "featureGates",  "plugins",
                                      "schedulingProfiles", "dataLayer", "flowControl", "requestHandler",
                                      "saturationDetector", "parser"};
  llmd_str api = {NULL, 0}, kind = {NULL, 0};
  int rc = llmd__node_expect(l->root, LLMD__MAP, l->err);
  if (!rc)
    rc = llmd__reject_unknown(l->root, names, sizeof names / sizeof *names, l->err);
  if (!rc)
    rc = llmd__get_str(l->root, "apiVersion", &api, l->err);
  if (rc >= 0)
    rc = llmd__get_str(l->root, "kind", &kind, l->err);
  if (rc < 0)
    return rc;
  if (!api.ptr || !kind.ptr)
    return llmd__node_fail(l->root, l->err, LLMD_E_MISSING, "apiVersion and kind are required");
  if (strcmp(api.ptr, API) && strcmp(api.ptr, OLD_API))
    return llmd__node_fail(llmd__map_get(l->root, "apiVersion"), l->err, LLMD_E_MISMATCH,
                           "apiVersion is \"%s\", known are " API " and " OLD_API, api.ptr);
  if (!strcmp(api.ptr, OLD_API))
    llmd__config_warn(l, llmd__map_get(l->root, "apiVersion"), "apiVersion " OLD_API " is deprecated, use " API);
  if (strcmp(kind.ptr, KIND))
    return llmd__node_fail(llmd__map_get(l->root, "kind"), l->err, LLMD_E_MISMATCH, "kind is \"%s\", must be " KIND,
                           kind.ptr);
  return 0;
}

static int read_gate(llmd__loader *l, const llmd__node *n)
{
  llmd_str s;
  const char *eq;
  size_t len;
  int on = 1, rc = llmd__node_str(n, &s, l->err);
  if (rc)
    return rc;
  eq = memchr(s.ptr, '=', s.len);
  len = eq ? (size_t)(eq - s.ptr) : s.len;
  if (eq && strcmp(eq + 1, "true") && strcmp(eq + 1, "false"))
    return llmd__node_fail(n, l->err, LLMD_E_RANGE, "feature gate \"%s\" must be NAME, NAME=true or NAME=false", s.ptr);
  if (eq)
    on = eq[1] == 't';
  if (len == 11 && !memcmp(s.ptr, "flowControl", 11))
    l->c->flow = (uint32_t)on;
  else if (len != 28 || memcmp(s.ptr, "haPopulateNonLeaderDatastore", 28))
    return llmd__node_fail(n, l->err, LLMD_E_UNKNOWN_FIELD, "unknown feature gate \"%.*s\"", (int)len, s.ptr);
  return 0;
}

static int read_gates(llmd__loader *l)
{
  const llmd__node *list = NULL;
  int rc = llmd__get_list(l->root, "featureGates", &list, l->err);
  for (const llmd__node *n = rc > 0 ? list->first : NULL; n && rc >= 0; n = n->next)
    rc = read_gate(l, n);
  return rc < 0 ? rc : 0;
}

static int load_tree(llmd__loader *l)
{
  int rc = check_head(l);
  if (!rc)
    rc = read_gates(l);
  if (!rc)
    rc = llmd__config_list_plugins(l);
  if (!rc)
    rc = llmd__config_check_sections(l);
  if (!rc)
    rc = llmd__config_list_profiles(l);
  if (!rc)
    rc = llmd__config_add_defaults(l);
  if (!rc)
    rc = llmd__config_load_selves(l);
  if (!rc)
    rc = llmd__config_build_profiles(l);
  if (!rc)
    rc = llmd__config_order_producers(l);
  return rc;
}

int llmd__config_load(const llmd_allocator *a, const llmd__registry *registry, const char *text, size_t len,
                      const llmd__config_options *options, llmd__config **out, llmd_err *err)
{
  llmd__loader l;
  llmd__tree *tree = NULL;
  int rc;
  memset(&l, 0, sizeof l);
  if (!len) {
    text = default_policy;
    len = sizeof default_policy - 1;
  }
  rc = llmd__tree_parse(a, text, len, NULL, &tree, err);
  if (rc)
    return rc;
  l.c = llmd__calloc(a, 1, sizeof *l.c);
  if (!l.c) {
    llmd__tree_free(tree);
    return llmd__fail(err, LLMD_E_NOMEM, 0, 0, NULL, "out of memory");
  }
  l.c->alloc = *a;
  l.root = llmd__tree_root(tree);
  l.registry = registry;
  l.options = options;
  l.err = err;
  rc = load_tree(&l);
  llmd__tree_free(tree);
  if (rc) {
    llmd__config_free(l.c);
    return rc;
  }
  *out = l.c;
  return 0;
}

void llmd__config_free(llmd__config *c)
{
  llmd_allocator a;
  block *b;
  if (!c)
    return;
  a = c->alloc;
  for (uint32_t i = 0; i < c->n_instances; i++) {
    if (c->instance[i].policy)
      llmd__policy_unload(c->instance[i].policy);
    if (c->instance[i].self.self)
      llmd__params_free(&a, &c->instance[i].self);
  }
  b = c->blocks;
  while (b) {
    block *next = b->next;
    llmd__free(&a, b, b->bytes);
    b = next;
  }
  llmd__free(&a, c, sizeof *c);
}

/* ---- what a read means ------------------------------------------------------------------------------------------ */

static const char *param_text(const llmd__instance *in, uint32_t offset)
{
  const llmd_str *s = (const llmd_str *)(const void *)((const char *)in->self.self + offset);
  return s->ptr && s->len ? s->ptr : NULL;
}

const char *llmd__read_name(const llmd__instance *in, const llmd_read *r)
{
  const char *name = r->flags & LLMD_READ_NAME_PARAM ? param_text(in, r->name_offset) : NULL;
  return name ? name : r->name ? r->name : "";
}

const char *llmd__read_producer(const llmd__instance *in, const llmd_read *r)
{
  const char *from = r->flags & LLMD_READ_FROM_PARAM ? param_text(in, r->from_offset) : NULL;
  from = from ? from : r->from ? r->from : "";
  return strcmp(from, "@self") ? from : in->name;
}
