#include "sched/policy.h"

#include <stdio.h>
#include <string.h>

#include "plugin/module.h"

#define MAX_PROFILES 16u /* LLMD_MAX_PROFILES */
#define MAX_NAME 128u    /* of a profile: all names together fit into a decision */

uint32_t llmd__config_find(const llmd__loader *l, const char *name, size_t len)
{
  for (uint32_t i = 0; i < l->c->n_instances; i++)
    if (strlen(l->c->instance[i].name) == len && !memcmp(l->c->instance[i].name, name, len))
      return i;
  return LLMD_NO_INDEX;
}

/* ---- plugins ---------------------------------------------------------------------------------------------------- */

static int check_type(llmd__loader *l, const llmd__node *at, const llmd_plugin *p, const char *type, int old)
{
  if (!p)
    return llmd__node_fail(at, l->err, LLMD_E_UNKNOWN_TYPE, "plugin type \"%s\" is not registered", type);
  if (!p->kind)
    return llmd__node_fail(at, l->err, LLMD_E_UNSUPPORTED, "plugin type \"%s\": %s", type, p->summary);
  if (p->stability == LLMD_ALPHA && l->options->refuse_alpha)
    return llmd__node_fail(at, l->err, LLMD_E_DENIED, "plugin type \"%s\" is alpha, and alpha types are refused", type);
  if (old)
    llmd__config_warn(l, at, "plugin type %s is deprecated, use %s", type, p->type);
  else if (p->stability == LLMD_DEPRECATED)
    llmd__config_warn(l, at, "plugin type %s is deprecated", type);
  return 0;
}

static int list_plugin(llmd__loader *l, const llmd__node *n)
{
  static const char *const names[] = {"type", "name", "parameters"};
  llmd__instance *in = &l->c->instance[l->c->n_instances];
  llmd_str type = {NULL, 0}, name = {NULL, 0};
  int old = 0, rc = llmd__node_expect(n, LLMD__MAP, l->err);
  if (!rc)
    rc = llmd__reject_unknown(n, names, 3, l->err);
  if (!rc)
    rc = llmd__get_str(n, "type", &type, l->err);
  if (rc >= 0)
    rc = llmd__get_str(n, "name", &name, l->err);
  if (rc < 0)
    return rc;
  if (!type.len)
    return llmd__node_fail(n, l->err, LLMD_E_MISSING, "a plugin needs a type");
  if (!name.len)
    name = type;
  if (llmd__config_find(l, name.ptr, name.len) != LLMD_NO_INDEX)
    return llmd__node_fail(n, l->err, LLMD_E_DUPLICATE, "duplicate plugin name \"%s\"", name.ptr);
  in->name = llmd__config_text(l, name.ptr, name.len);
  in->line = n->line;
  l->node[l->c->n_instances] = n;
  l->params[l->c->n_instances] = llmd__map_get(n, "parameters");
  if (!in->name)
    return LLMD_E_NOMEM;
  in->plugin = llmd__registry_find(l->registry, type.ptr, &old);
  rc = 0;
  if (!in->plugin)
    rc = llmd__policy_load(l, n, type.ptr, l->params[l->c->n_instances], in);
  if (in->policy)
    l->c->n_instances++; /* from here on it is unloaded with the others */
  if (rc && (rc != LLMD_E_UNKNOWN_TYPE || llmd__loader_is_name(type.ptr)))
    return rc;
  rc = check_type(l, llmd__map_get(n, "type"), in->plugin, type.ptr, in->plugin && old);
  if (!rc && !in->policy)
    l->c->n_instances++;
  return rc;
}

int llmd__config_list_plugins(llmd__loader *l)
{
  const llmd__node *list = NULL;
  int rc = llmd__get_list(l->root, "plugins", &list, l->err);
  if (rc < 0)
    return rc;
  l->cap = (list ? list->count : 0) + llmd__registry_count(l->registry) + 8;
  l->c->instance = llmd__config_room(l, l->cap * sizeof *l->c->instance);
  l->node = llmd__config_room(l, l->cap * sizeof *l->node);
  l->params = llmd__config_room(l, l->cap * sizeof *l->params);
  if (!l->c->instance || !l->node || !l->params)
    return LLMD_E_NOMEM;
  rc = 0;
  for (const llmd__node *n = list ? list->first : NULL; n && !rc; n = n->next)
    rc = list_plugin(l, n);
  l->n_file = l->c->n_instances;
  return rc;
}

/* ---- sections that belong to the host: references are checked, nothing else happens ----------------------------- */

static int ends_with(const char *s, const char *tail)
{
  size_t n = strlen(s), t = strlen(tail);
  return n >= t && !strcmp(s + n - t, tail);
}

/* The instance a pluginRef-like node names; what = what it must be ("" = anything), told by the type's name. */
static int check_ref(llmd__loader *l, const llmd__node *n, const char *what, llmd_str *out)
{
  llmd_str s;
  uint32_t i;
  int old, rc = llmd__node_str(n, &s, l->err);
  const llmd_plugin *p;
  if (rc)
    return rc;
  i = llmd__config_find(l, s.ptr, s.len);
  p = i != LLMD_NO_INDEX ? l->c->instance[i].plugin : llmd__registry_find(l->registry, s.ptr, &old);
  if (!s.len || !p || (i == LLMD_NO_INDEX && strcmp(p->type, s.ptr)))
    return llmd__node_fail(n, l->err, LLMD_E_UNKNOWN_REF, "reference to undefined plugin \"%s\"", s.ptr);
  if (*what && !ends_with(p->type, what))
    return llmd__node_fail(n, l->err, LLMD_E_TYPE, "plugin \"%s\" (%s) cannot be used here: a %s is needed", s.ptr,
                           p->type, what[0] == '-' ? what + 1 : what);
  if (out)
    *out = s;
  return 0;
}

static int check_ref_at(llmd__loader *l, const llmd__node *map, const char *key, const char *what)
{
  const llmd__node *n = llmd__map_get(map, key);
  return !n || n->kind == LLMD__NULL ? 0 : check_ref(l, n, what, NULL);
}

static int check_ref_object(llmd__loader *l, const llmd__node *map, const char *key, const char *what)
{
  static const char *const names[] = {"pluginRef"};
  const llmd__node *n = NULL;
  int rc = llmd__get_map(map, key, &n, l->err);
  if (rc <= 0)
    return rc;
  rc = llmd__reject_unknown(n, names, 1, l->err);
  return rc ? rc : check_ref_at(l, n, "pluginRef", what);
}

static int check_extractors(llmd__loader *l, const llmd__node *source)
{
  static const char *const names[] = {"pluginRef"};
  const llmd__node *list = NULL;
  int rc = llmd__get_list(source, "extractors", &list, l->err);
  for (const llmd__node *n = rc > 0 ? list->first : NULL; n && rc >= 0; n = n->next) {
    rc = llmd__reject_unknown(n, names, 1, l->err);
    if (!rc)
      rc = llmd__require(n, "pluginRef", l->err);
    if (!rc)
      rc = check_ref_at(l, n, "pluginRef", "");
  }
  return rc < 0 ? rc : 0;
}

static int check_data_layer(llmd__loader *l)
{
  static const char *const names[] = {
      "injectDefaults",          "sources", "discovery", "peerDiscovery", "crossReplicaSyncerPluginRef",
      "crossReplicaSyncInterval"};
  static const char *const source_names[] = {"pluginRef", "extractors"};
  const llmd__node *d = NULL, *list = NULL;
  uint8_t flag;
  int64_t ns;
  int rc = llmd__get_map(l->root, "dataLayer", &d, l->err);
  if (rc <= 0)
    return rc;
  rc = llmd__reject_unknown(d, names, sizeof names / sizeof *names, l->err);
  if (!rc)
    rc = llmd__get_bool(d, "injectDefaults", &flag, l->err);
  if (rc >= 0)
    rc = llmd__get_duration(d, "crossReplicaSyncInterval", &ns, l->err);
  if (rc >= 0)
    rc = llmd__get_list(d, "sources", &list, l->err);
  for (const llmd__node *n = list ? list->first : NULL; n && rc >= 0; n = n->next) {
    rc = llmd__reject_unknown(n, source_names, 2, l->err);
    if (!rc)
      rc = llmd__require(n, "pluginRef", l->err);
    if (!rc)
      rc = check_ref_at(l, n, "pluginRef", "");
    if (!rc)
      rc = check_extractors(l, n);
  }
  if (rc >= 0)
    rc = check_ref_object(l, d, "discovery", "");
  if (rc >= 0)
    rc = check_ref_object(l, d, "peerDiscovery", "");
  if (rc >= 0)
    rc = check_ref_at(l, d, "crossReplicaSyncerPluginRef", "");
  return rc < 0 ? rc : 0;
}

static int check_band(llmd__loader *l, const llmd__node *n, int needs_priority)
{
  static const char *const names[] = {"priority", "maxBytes", "maxRequests", "fairnessPolicyRef", "orderingPolicyRef"};
  int64_t v;
  int rc = llmd__reject_unknown(n, names, sizeof names / sizeof *names, l->err);
  if (!rc && needs_priority)
    rc = llmd__require(n, "priority", l->err);
  if (!rc)
    rc = llmd__get_int(n, "priority", INT32_MIN, INT32_MAX, &v, l->err);
  if (rc >= 0)
    rc = llmd__get_quantity(n, "maxBytes", &v, l->err);
  if (rc >= 0)
    rc = llmd__get_quantity(n, "maxRequests", &v, l->err);
  if (rc >= 0)
    rc = check_ref_at(l, n, "fairnessPolicyRef", "");
  if (rc >= 0)
    rc = check_ref_at(l, n, "orderingPolicyRef", "-ordering-policy");
  return rc < 0 ? rc : 0;
}

/* A reference to the saturation detector; both spellings of the section mean it. */
static int take_detector(llmd__loader *l, const llmd__node *map, const char *key)
{
  static const char *const names[] = {"pluginRef"};
  const llmd__node *n = NULL, *ref;
  int rc = llmd__get_map(map, key, &n, l->err);
  if (rc <= 0)
    return rc;
  rc = llmd__reject_unknown(n, names, 1, l->err);
  ref = llmd__map_get(n, "pluginRef");
  if (rc || !ref || ref->kind == LLMD__NULL)
    return rc;
  l->detector_at = ref;
  return check_ref(l, ref, "-detector", &l->detector);
}

static int check_bands(llmd__loader *l, const llmd__node *f)
{
  const llmd__node *list = NULL, *one = NULL;
  int rc = llmd__get_list(f, "priorityBands", &list, l->err);
  for (const llmd__node *n = list ? list->first : NULL; n && rc >= 0; n = n->next)
    rc = check_band(l, n, 1);
  if (rc >= 0 && (rc = llmd__get_map(f, "defaultPriorityBand", &one, l->err)) > 0)
    rc = check_band(l, one, 0);
  if (rc >= 0 && (rc = llmd__get_map(f, "defaultNegativePriorityBand", &one, l->err)) > 0)
    rc = check_band(l, one, 0);
  return rc < 0 ? rc : 0;
}

static int check_flow(llmd__loader *l)
{
  static const char *const names[] = {"maxBytes", "maxRequests", "defaultRequestTTL", "noEndpointRequestTTL",
                                      "defaultPriorityBand", "defaultNegativePriorityBand", "priorityBands",
                                      "usageLimitPolicyPluginRef", "saturationDetector", "enableEviction"};
  const llmd__node *f = NULL;
  int64_t v;
  uint8_t flag;
  int rc = llmd__get_map(l->root, "flowControl", &f, l->err);
  if (rc <= 0)
    return rc;
  rc = llmd__reject_unknown(f, names, sizeof names / sizeof *names, l->err);
  if (!l->c->flow)
    llmd__config_warn(l, f, "flowControl is ignored but for saturationDetector: the feature gate is off");
  if (!rc)
    rc = llmd__get_quantity(f, "maxBytes", &v, l->err);
  if (rc >= 0)
    rc = llmd__get_quantity(f, "maxRequests", &v, l->err);
  if (rc >= 0)
    rc = llmd__get_duration(f, "defaultRequestTTL", &v, l->err);
  if (rc >= 0)
    rc = llmd__get_duration(f, "noEndpointRequestTTL", &v, l->err);
  if (rc >= 0)
    rc = llmd__get_bool(f, "enableEviction", &flag, l->err);
  if (rc >= 0)
    rc = check_bands(l, f);
  if (rc >= 0)
    rc = check_ref_at(l, f, "usageLimitPolicyPluginRef", "-policy");
  return rc < 0 ? rc : take_detector(l, f, "saturationDetector");
}

static int check_handler_section(llmd__loader *l)
{
  static const char *const names[] = {"parsers"}, *const parser_names[] = {"pluginRef"};
  const llmd__node *h = NULL, *list = NULL;
  int rc = llmd__get_map(l->root, "requestHandler", &h, l->err);
  if (rc > 0) {
    rc = llmd__reject_unknown(h, names, 1, l->err);
    if (!rc)
      rc = llmd__get_list(h, "parsers", &list, l->err);
    for (const llmd__node *n = list ? list->first : NULL; n && rc >= 0; n = n->next) {
      rc = llmd__reject_unknown(n, parser_names, 1, l->err);
      if (!rc)
        rc = llmd__require(n, "pluginRef", l->err);
      if (!rc)
        rc = check_ref_at(l, n, "pluginRef", "-parser");
    }
  }
  return rc < 0 ? rc : check_ref_object(l, l->root, "parser", "-parser");
}

int llmd__config_check_sections(llmd__loader *l)
{
  int rc = check_data_layer(l);
  if (!rc)
    rc = check_flow(l);
  if (!rc)
    rc = check_handler_section(l);
  if (!rc && !l->detector.ptr)
    rc = take_detector(l, l->root, "saturationDetector");
  return rc < 0 ? rc : 0;
}

/* ---- profiles --------------------------------------------------------------------------------------------------- */

static int list_profile(llmd__loader *l, const llmd__node *n)
{
  static const char *const names[] = {"name", "plugins"};
  llmd__profile *p = &l->c->profile[l->c->n_profiles];
  llmd_str name = {NULL, 0};
  const llmd__node *list = NULL;
  int rc = llmd__reject_unknown(n, names, 2, l->err);
  if (!rc)
    rc = llmd__get_str(n, "name", &name, l->err);
  if (rc >= 0 && !name.len)
    return llmd__node_fail(n, l->err, LLMD_E_MISSING, "a scheduling profile needs a name");
  if (rc >= 0 && name.len > MAX_NAME)
    return llmd__node_fail(llmd__map_get(n, "name"), l->err, LLMD_E_LIMIT, "longer than %u bytes", MAX_NAME);
  if (rc >= 0)
    rc = llmd__get_list(n, "plugins", &list, l->err);
  if (rc < 0)
    return rc;
  for (uint32_t i = 0; i < l->c->n_profiles; i++)
    if (!strcmp(l->c->profile[i].name, name.ptr))
      return llmd__node_fail(n, l->err, LLMD_E_DUPLICATE, "duplicate scheduling profile \"%s\"", name.ptr);
  p->name = llmd__config_text(l, name.ptr, name.len);
  p->picker = LLMD_NO_INDEX;
  l->uses[l->c->n_profiles++] = list;
  return p->name ? 0 : LLMD_E_NOMEM;
}

int llmd__config_list_profiles(llmd__loader *l)
{
  const llmd__node *list = NULL;
  int rc = llmd__get_list(l->root, "schedulingProfiles", &list, l->err);
  uint32_t n = rc > 0 ? list->count : 0;
  if (rc < 0)
    return rc;
  if (n > MAX_PROFILES)
    return llmd__node_fail(list, l->err, LLMD_E_LIMIT, "at most %u scheduling profiles", MAX_PROFILES);
  l->profiles = list;
  l->c->profile = llmd__config_room(l, (n ? n : 1) * sizeof *l->c->profile);
  l->uses = llmd__config_room(l, (n ? n : 1) * sizeof *l->uses);
  if (!l->c->profile || !l->uses)
    return LLMD_E_NOMEM;
  rc = 0;
  for (const llmd__node *p = n ? list->first : NULL; p && !rc; p = p->next)
    rc = list_profile(l, p);
  if (!n) {
    l->c->implicit_profile = 1;
    l->c->profile[0].name = "default";
    l->c->profile[0].picker = LLMD_NO_INDEX;
    l->c->n_profiles = 1;
  }
  return rc;
}

/* ---- selves
 * ----------------------------------------------------------------------------------------------------------------------
 */

static uint32_t name_of_plugin(void *ud, const char *name, size_t len)
{
  return llmd__config_find(ud, name, len);
}

static uint32_t name_of_profile(void *ud, const char *name, size_t len)
{
  const llmd__loader *l = ud;
  for (uint32_t i = 0; i < l->c->n_profiles; i++)
    if (strlen(l->c->profile[i].name) == len && !memcmp(l->c->profile[i].name, name, len))
      return i;
  return LLMD_NO_INDEX;
}

static uint32_t kind_of_plugin(void *ud, uint32_t plugin)
{
  const llmd__loader *l = ud;
  return l->c->instance[plugin].plugin->kind;
}

static void old_parameter(void *ud, const llmd__node *at)
{
  llmd__config_warn(ud, at, "parameter %s is deprecated", at->key.ptr);
}

int llmd__config_load_self(llmd__loader *l, uint32_t instance)
{
  llmd__instance *in = &l->c->instance[instance];
  llmd__names names = {name_of_plugin, name_of_profile, kind_of_plugin, old_parameter, l};
  char base[64];
  int rc;
  snprintf(base, sizeof base, "plugins[%u].parameters", instance);
  rc = llmd__params_load(&l->c->alloc, in->plugin, l->params[instance], instance < l->n_file ? base : in->name,
                         &names, &in->self, l->err);
  return !rc && in->policy ? llmd__policy_bind(l, in) : rc;
}

int llmd__config_load_selves(llmd__loader *l)
{
  int rc = 0;
  for (uint32_t i = 0; i < l->c->n_instances && !rc; i++)
    if (!l->c->instance[i].self.self)
      rc = llmd__config_load_self(l, i);
  return rc;
}

/* ---- profiles from their uses ----------------------------------------------------------------------------------- */

static int use_plugin(llmd__loader *l, llmd__profile *p, uint32_t instance, double weight, const llmd__node *at)
{
  uint32_t kind = l->c->instance[instance].plugin->kind;
  llmd__use use = {instance, 0, weight};
  if (kind & LLMD_FILTER)
    p->filter[p->n_filters++] = use;
  if (kind & LLMD_SCORER)
    p->scorer[p->n_scorers++] = use;
  if (kind & LLMD_PICKER) {
    if (p->picker != LLMD_NO_INDEX && !l->c->implicit_profile)
      return llmd__node_fail(at, l->err, LLMD_E_DUPLICATE, "profile \"%s\" has two pickers, \"%s\" and \"%s\"", p->name,
                             l->c->instance[p->picker].name, l->c->instance[instance].name);
    if (p->picker == LLMD_NO_INDEX)
      p->picker = instance;
  }
  return 0;
}

static int read_use(llmd__loader *l, llmd__profile *p, const llmd__node *n)
{
  static const char *const names[] = {"pluginRef", "weight"};
  llmd_str ref = {NULL, 0};
  double weight = 1;
  uint32_t i;
  int rc = llmd__reject_unknown(n, names, 2, l->err);
  if (!rc)
    rc = llmd__get_str(n, "pluginRef", &ref, l->err);
  if (rc >= 0)
    rc = llmd__get_double(n, "weight", &weight, l->err);
  if (rc < 0)
    return rc;
  if (!ref.len)
    return llmd__node_fail(n, l->err, LLMD_E_MISSING, "pluginRef is required");
  i = llmd__config_find(l, ref.ptr, ref.len);
  if (i == LLMD_NO_INDEX)
    return llmd__node_fail(llmd__map_get(n, "pluginRef"), l->err, LLMD_E_UNKNOWN_REF,
                           "profile \"%s\" references undefined plugin \"%s\"", p->name, ref.ptr);
  if (l->c->instance[i].plugin->kind & LLMD_INERT)
    llmd__config_warn(l, n, "plugin %s belongs to the host and has no part in profile %s", ref.ptr, p->name);
  return use_plugin(l, p, i, weight, n);
}

static int build_profile(llmd__loader *l, uint32_t index, uint32_t default_picker)
{
  llmd__profile *p = &l->c->profile[index];
  const llmd__node *list = l->uses[index];
  uint32_t most = list ? list->count : l->n_file;
  int rc = 0;
  p->filter = llmd__config_room(l, (most + 1) * sizeof *p->filter);
  p->scorer = llmd__config_room(l, (most + 1) * sizeof *p->scorer);
  if (!p->filter || !p->scorer)
    return LLMD_E_NOMEM;
  for (const llmd__node *n = list ? list->first : NULL; n && !rc; n = n->next)
    rc = read_use(l, p, n);
  for (uint32_t i = 0; l->c->implicit_profile && i < l->n_file && !rc; i++)
    rc = use_plugin(l, p, i, 1, NULL);
  if (!rc && p->picker == LLMD_NO_INDEX)
    p->picker = default_picker;
  return rc;
}

/* A profile without picker takes the first one that the file has, else max-score-picker. */
int llmd__config_build_profiles(llmd__loader *l)
{
  uint32_t picker = LLMD_NO_INDEX;
  int rc = 0;
  for (uint32_t i = 0; i < l->c->n_instances && picker == LLMD_NO_INDEX; i++)
    if (l->c->instance[i].plugin->kind & LLMD_PICKER)
      picker = i;
  if (picker == LLMD_NO_INDEX) {
    picker = llmd__config_add(l, "max-score-picker");
    if (picker == LLMD_NO_INDEX)
      return l->rc;
    rc = llmd__config_load_self(l, picker);
  }
  for (uint32_t i = 0; i < l->c->n_profiles && !rc; i++)
    rc = build_profile(l, i, picker);
  return rc;
}
