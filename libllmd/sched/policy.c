#include "sched/policy.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "plugin/module.h"
#include "plugin/registry.h"
#include "sched/record.h"

/* ---- the loader ------------------------------------------------------------------------------------------------- */

/* Where loaders may be, in this order; returns how many folders. */
static uint32_t loader_dirs(const llmd__policy_source *from, const char *dir[2])
{
  const llmd_scheduler_options *o = from ? from->options : NULL;
  uint32_t n = 0;
  if (o && o->loader_dir) {
    dir[0] = o->loader_dir;
    return 1;
  }
  if (o && o->module_dir)
    dir[n++] = o->module_dir;
  dir[n++] = LLMD__LOADER_DIR;
  return n;
}

static int find_loader(const llmd__policy_source *from, const char *type, llmd_loader *out, llmd_err *err)
{
  const char *dir[2] = {NULL, NULL};
  uint32_t n = loader_dirs(from, dir);
  int rc = LLMD_E_NONE;
  for (uint32_t i = 0; i < n && rc == LLMD_E_NONE; i++)
    rc = llmd__loader_open(dir[i], type, out, err);
  return rc;
}

/* A type that nothing is called: most often a typing error, but the name may be that of a language. */
static int no_loader(const llmd__loader *l, const llmd__node *at, const char *type)
{
  const llmd__node *where = llmd__map_get(at, "type");
  const char *dir[2] = {NULL, NULL};
  uint32_t n = loader_dirs(l->options->policies, dir);
  if (!llmd__loader_is_name(type))
    return LLMD_E_UNKNOWN_TYPE;
  llmd__node_fail(where ? where : at, l->err, LLMD_E_UNKNOWN_TYPE,
                  "plugin type \"%s\" is not registered, and its engine llmd-%s.so is not in %s%s%s", type, type, dir[0],
                  n > 1 ? " or " : "", n > 1 ? dir[1] : "");
  return LLMD_E_UNKNOWN_TYPE;
}

/* ---- the text --------------------------------------------------------------------------------------------------- */

/* The file's whole name. */
static int make_path(llmd__loader *l, const llmd__node *at, llmd__policy *p)
{
  const char *dir = l->options->policies && l->options->policies->options ? l->options->policies->options->policy_dir
                                                                          : NULL;
  size_t n = strlen(p->file), d = dir ? strlen(dir) : 0;
  char *path;
  if (p->file[0] == '/') {
    p->path = p->file;
    return 0;
  }
  if (!dir)
    return 0; /* needed only when nobody else has the text */
  if (dir[0] != '/')
    return llmd__node_fail(at, l->err, LLMD_E_INVALID, "the folder of policies must be an absolute path");
  path = llmd__config_room(l, d + n + 2);
  if (!path)
    return LLMD_E_NOMEM;
  memcpy(path, dir, d);
  path[d] = '/';
  memcpy(path + d + 1, p->file, n);
  p->path = path;
  return 0;
}

/* The host's text, or the region's; else text.ptr stays NULL, and the loader reads the file. */
static int find_text(llmd__loader *l, llmd__policy *p, llmd_str *text)
{
  const llmd__policy_source *from = l->options->policies;
  llmd_str file = {p->file, strlen(p->file)};
  size_t len = 0;
  char *room;
  int rc = from && from->options && from->options->policy
               ? from->options->policy(from->options->policy_ud, &file, text) : 0;
  if (rc < 0)
    return llmd__fail(l->err, rc, 0, 0, p->file, "the host has no text for it: %s", llmd_strerror(rc));
  if (rc) {
    if (text->len > LLMD_POLICY_BYTES)
      return llmd__fail(l->err, LLMD_E_LIMIT, 0, 0, p->file, "the policy is longer than %u bytes", LLMD_POLICY_BYTES);
    text->ptr = text->len ? text->ptr : ""; /* an empty text is one */
    return 0;
  }
  text->ptr = NULL;
  text->len = 0;
  if (!from || !from->pool || !llmd__pool_policy_number(from->pool, file.ptr, file.len))
    return 0;
  room = llmd__config_room(l, LLMD_POLICY_BYTES);
  if (!room)
    return LLMD_E_NOMEM;
  rc = llmd_pool_get_policy(from->pool, file.ptr, file.len, room, LLMD_POLICY_BYTES, &len, &p->number);
  if (rc)
    return rc == LLMD_E_NONE ? 0 : llmd__fail(l->err, rc, 0, 0, p->file, "the region's text of it cannot be read");
  text->ptr = room;
  text->len = len;
  return 0;
}

/* `file` or `source`: exactly one. */
static int read_params(llmd__loader *l, const llmd__node *at, const llmd__node *params, llmd__policy *p,
                       llmd_program *in)
{
  llmd_str file = {NULL, 0}, source = {NULL, 0};
  const llmd__node *where = params ? params : at;
  int rc = 0;
  if (params && params->kind != LLMD__NULL) {
    rc = llmd__node_expect(params, LLMD__MAP, l->err);
    if (!rc)
      rc = llmd__get_str(params, "file", &file, l->err);
    if (rc >= 0)
      rc = llmd__get_str(params, "source", &source, l->err);
  }
  if (rc < 0)
    return rc;
  if (!file.len == !source.len)
    return llmd__node_fail(where, l->err, file.len ? LLMD_E_DUPLICATE : LLMD_E_MISSING,
                           "a policy has either a file or a source");
  if (source.len > LLMD_POLICY_BYTES)
    return llmd__node_fail(where, l->err, LLMD_E_LIMIT, "a policy has at most %u bytes", LLMD_POLICY_BYTES);
  if (source.len) {
    in->text = source;
    return 0;
  }
  if (memchr(file.ptr, 0, file.len))
    return llmd__node_fail(where, l->err, LLMD_E_INVALID, "a policy's file name holds no NUL");
  if (file.len > 255)
    return llmd__node_fail(where, l->err, LLMD_E_LIMIT, "a policy's file name has at most 255 bytes");
  p->file = llmd__config_text(l, file.ptr, file.len);
  if (!p->file)
    return LLMD_E_NOMEM;
  in->file = file;
  rc = make_path(l, where, p);
  if (!rc)
    rc = find_text(l, p, &in->text);
  if (!rc && !in->text.ptr && !p->path)
    return llmd__node_fail(where, l->err, LLMD_E_INVALID,
                           "\"%s\" is a relative name, and no folder of policies is set", p->file);
  in->path.ptr = p->path;
  in->path.len = p->path ? strlen(p->path) : 0;
  return rc;
}

/* ---- load, bind, unload ----------------------------------------------------------------------------------------- */

static int take_plugin(llmd__loader *l, const llmd__node *at, llmd__policy *p)
{
  const llmd_plugin *d = p->loader.plugin(p->policy);
  const char *why;
  if (!d || !d->type || strcmp(d->type, p->loader.type))
    return llmd__node_fail(at, l->err, LLMD_E_PLUGIN, "the loader of %s made something else of this policy",
                           p->loader.type);
  memcpy(&p->plugin, d, d->size < sizeof p->plugin ? d->size : sizeof p->plugin);
  p->plugin.size = sizeof p->plugin;
  why = p->plugin.kind ? llmd__plugin_refuse(&p->plugin) : "it has no verb";
  return why ? llmd__node_fail(at, l->err, LLMD_E_PLUGIN, "this policy cannot be used: %s", why) : 0;
}

/* A text of the configuration has no file whose line 3 anybody could open: the place is that of `source`. */
static void blame_source(llmd__loader *l, const llmd__node *params)
{
  const llmd__node *source = llmd__map_get(params, "source");
  llmd_err said;
  if (!l->err || !source)
    return;
  said = *l->err;
  if (said.line)
    llmd__node_fail(source, l->err, said.code, "line %u of the text: %s", (unsigned)said.line, said.text);
  else
    llmd__node_fail(source, l->err, said.code, "%s", said.text);
}

/* The error has the place in the policy's text, when that is to blame; else the place in the configuration. */
static int load(llmd__loader *l, const llmd__node *at, const llmd__node *params, const llmd_program *program,
                llmd__policy *p)
{
  llmd_err own = LLMD_ERR_INIT, *err = l->err ? l->err : &own;
  int32_t before = err->code;
  int rc;
  err->code = 0;
  rc = p->loader.load(program, &p->policy, err);
  if (!rc && !p->policy)
    rc = LLMD_E_PLUGIN;
  if (rc && (err->code != rc || !err->text[0]))
    llmd__node_fail(at, l->err, rc, "this policy cannot be loaded: %s", llmd_strerror(rc));
  else if (rc && !p->file)
    blame_source(l, params);
  if (rc)
    p->policy = NULL;
  else
    err->code = before;
  return rc;
}

int llmd__policy_load(llmd__loader *l, const llmd__node *at, const char *type, const llmd__node *params,
                      llmd__instance *in)
{
  llmd__policy *p = llmd__config_room(l, sizeof *p);
  llmd_program program;
  int rc;
  if (!p)
    return LLMD_E_NOMEM;
  rc = find_loader(l->options->policies, type, &p->loader, l->err);
  if (rc == LLMD_E_NONE)
    return no_loader(l, at, type);
  if (rc)
    return rc;
  memset(&program, 0, sizeof program);
  program.size = sizeof program;
  program.alloc = &l->c->alloc;
  program.name.ptr = in->name;
  program.name.len = strlen(in->name);
  program.log = l->options->log;
  program.log_ud = l->options->log_ud;
  rc = read_params(l, at, params, p, &program);
  if (!rc)
    rc = load(l, at, params, &program, p);
  if (rc)
    return rc;
  in->policy = p;
  in->plugin = &p->plugin;
  return take_plugin(l, at, p);
}

int llmd__policy_bind(llmd__loader *l, llmd__instance *in)
{
  llmd_err own = LLMD_ERR_INIT, *err = l->err ? l->err : &own;
  int32_t before = err->code;
  int rc;
  err->code = 0;
  rc = in->policy->loader.bind(in->policy->policy, in->self.self, err);
  if (rc && err->code != rc)
    llmd__fail(err, rc, in->line, 0, in->name, "this policy cannot be used: %s", llmd_strerror(rc));
  if (!rc)
    err->code = before;
  return rc;
}

void llmd__policy_unload(llmd__policy *p)
{
  if (p->policy)
    p->loader.unload(p->policy);
  p->policy = NULL;
}

uint64_t llmd__policy_hash(const llmd__policy *p)
{
  llmd_str text;
  p->loader.text(p->policy, &text);
  return llmd__fnv(LLMD__FNV_BASIS, text.ptr, text.len);
}

/* ---- what others may know of them ------------------------------------------------------------------------------- */

static const llmd__instance *policy_at(const llmd_scheduler *s, uint32_t i)
{
  for (uint32_t k = 0; k < s->config->n_instances; k++)
    if (s->config->instance[k].policy && !i--)
      return &s->config->instance[k];
  return NULL;
}

static llmd_str text_of(const char *s)
{
  llmd_str t = {s, s ? strlen(s) : 0};
  return t;
}

int llmd_scheduler_policy(const llmd_scheduler *s, uint32_t i, llmd_policy_info *out)
{
  const llmd__instance *in;
  llmd_policy_info info;
  if (!s || !out || out->size < sizeof info)
    return LLMD_E_INVALID;
  in = policy_at(s, i);
  if (!in)
    return LLMD_E_NONE;
  memset(&info, 0, sizeof info);
  info.size = out->size;
  info.kind = in->plugin->kind;
  info.number = in->policy->number;
  info.instance = text_of(in->name);
  info.type = text_of(in->plugin->type);
  info.file = text_of(in->policy->file);
  info.path = text_of(in->policy->path);
  in->policy->loader.text(in->policy->policy, &info.text);
  *out = info;
  return 0;
}

int llmd_scheduler_policy_write(const llmd_scheduler *s, uint32_t i, llmd_write_fn fn, void *ud)
{
  const llmd__instance *in = s ? policy_at(s, i) : NULL;
  if (!s || !fn)
    return LLMD_E_INVALID;
  return in ? llmd__plugin_describe(in->plugin, fn, ud) : LLMD_E_NONE;
}

int llmd_scheduler_outdated(const llmd_scheduler *s)
{
  const llmd__instance *in;
  if (!s)
    return LLMD_E_INVALID;
  for (uint32_t i = 0; (in = policy_at(s, i)) != NULL; i++) {
    uint64_t n = in->policy->file ? llmd__pool_policy_number(s->pool, in->policy->file, strlen(in->policy->file)) : 0;
    if (n && n != in->policy->number)
      return 1;
  }
  return 0;
}

/* As blame_source, when the configuration's nodes are gone: the line where the instance begins. */
static void blame_instance(const llmd__instance *in, llmd_err *err)
{
  llmd_err said;
  if (!err || in->policy->file)
    return;
  said = *err;
  if (said.line)
    llmd__fail(err, said.code, in->line, 0, in->name, "line %u of the text: %s", (unsigned)said.line, said.text);
  else
    llmd__fail(err, said.code, in->line, 0, in->name, "%s", said.text);
}

int llmd_scheduler_examples(const llmd_scheduler *s, llmd_write_fn fn, void *ud, llmd_err *err)
{
  const llmd__instance *in;
  int n = 0;
  if (!s || !fn)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "a scheduler and somewhere to write to are needed");
  for (uint32_t i = 0; (in = policy_at(s, i)) != NULL; i++) {
    int rc = in->policy->loader.examples ? in->policy->loader.examples(in->self.self, fn, ud, err) : 0;
    if (rc < 0)
      blame_instance(in, err);
    if (rc < 0)
      return rc;
    n += rc;
  }
  return n;
}

int llmd_lane_eval(llmd_lane *lane, const char *instance, const char *text, size_t len, llmd_write_fn fn, void *ud,
                   llmd_err *err)
{
  if (!lane || !instance || (!text && len) || !fn)
    return llmd__fail(err, LLMD_E_INVALID, 0, 0, NULL, "a lane, a policy's name and a text are needed");
  for (uint32_t i = 0; i < lane->s->config->n_instances; i++) {
    const llmd__instance *in = &lane->s->config->instance[i];
    if (strcmp(in->name, instance) || !in->policy)
      continue;
    if (!in->policy->loader.eval)
      return llmd__fail(err, LLMD_E_UNSUPPORTED, 0, 0, NULL, "%s has no such thing", in->plugin->type);
    lane->now = &lane->kept.now; /* of the last decision: whoever gave it has it no more */
    return in->policy->loader.eval(in->self.self, lane->own[i].own, text, len, fn, ud, err);
  }
  return llmd__fail(err, LLMD_E_NONE, 0, 0, NULL, "there is no policy called \"%s\"", instance);
}

int llmd_policy_config(const char *type, const char *file, char *buf, size_t cap)
{
  char quoted[520];
  size_t n = 0;
  int len;
  if (!type || !file || !buf)
    return LLMD_E_INVALID;
  for (const char *p = file; *p; p++) {
    if (n + 3 > sizeof quoted)
      return LLMD_E_LIMIT;
    if ((unsigned char)*p < 0x20)
      return LLMD_E_INVALID;
    if (*p == '"' || *p == '\\')
      quoted[n++] = '\\';
    quoted[n++] = *p;
  }
  quoted[n] = 0;
  len = snprintf(buf, cap,
                 "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: %s\n  name: policy\n"
                 "  parameters: {file: \"%s\"}\nschedulingProfiles:\n- name: default\n  plugins:\n"
                 "  - pluginRef: policy\n",
                 type, quoted);
  return len < 0 || (size_t)len >= cap ? LLMD_E_LIMIT : len;
}
