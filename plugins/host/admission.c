/* Admission: who is let in (admitters), who they are (header processors), where they may go (screeners), what is said
 * about them afterwards (reporters). The host does that around a decision; here the parameters are checked. */
#include <llmd/plugin.h>

#include <float.h>
#include <stdio.h>
#include <string.h>

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
}

/* ---- admitters --------------------------------------------------------------------------------------------------- */
typedef struct latency_slo {
  llmd_str producer;
} latency_slo;

static const llmd_param latency_slo_params[] = {
  {.name = "latencyPredictionInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(latency_slo, producer),
   .doc = "producer of the predictions (predicted-latency-producer)"},
  {0}};

const llmd_plugin llmd__latency_slo_admitter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "latency-slo-admitter", .summary = "refuses sheddable requests whose objectives no endpoint can meet",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(latency_slo), .params = latency_slo_params};

typedef struct probabilistic {
  int64_t queue;
  double kv, power, k;
} probabilistic;

#define ABOVE_ZERO(called, kind_, field, preset_text, most, text)                                              \
  {.name = called, .type = (kind_), .flags = LLMD_PARAM_ABOVE_MIN, .offset = offsetof(probabilistic, field), \
   .preset = preset_text, .min = 0, .max = (most), .doc = text}
static const llmd_param probabilistic_params[] = {
  ABOVE_ZERO("queueDepthThreshold", LLMD_PARAM_INT, queue, "5", 9007199254740992.0, "queue length of a full endpoint"),
  ABOVE_ZERO("kvCacheUtilThreshold", LLMD_PARAM_FLOAT, kv, "0.8", DBL_MAX, "KV cache usage of a full endpoint"),
  ABOVE_ZERO("power", LLMD_PARAM_FLOAT, power, "5", DBL_MAX, "refused share = saturation ^ power * k"),
  ABOVE_ZERO("k", LLMD_PARAM_FLOAT, k, "300", DBL_MAX, "refused share = saturation ^ power * k"),
  {0}};

const llmd_plugin llmd__probabilistic_admitter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "probabilistic-admitter", .summary = "refuses a growing share of sheddable requests as load rises",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(probabilistic), .params = probabilistic_params};

/* ---- header processor -------------------------------------------------------------------------------------------- */
typedef struct identity {
  llmd_list headers;
} identity;

static const llmd_param identity_params[] = {
  {.name = "additionalSessionHeaders", .type = LLMD_PARAM_STRINGS, .offset = offsetof(identity, headers),
   .doc = "headers that name an agent's session, looked at before the known ones"},
  {0}};

const llmd_plugin llmd__agent_identity = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "agent-identity", .summary = "which agent session a request belongs to, from coding agents' headers",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = sizeof(identity), .params = identity_params};

/* ---- screener ---------------------------------------------------------------------------------------------------- */
typedef struct selector {
  llmd_str name, header, label;
  uint32_t mode;
} selector;

typedef struct scope {
  llmd_str labels;
} scope;

typedef struct roles {
  llmd_list values;
} roles;

typedef struct gating {
  llmd_str revision, role;
  uint32_t mode, has_roles;
  roles roles;
} gating;

typedef struct rollout {
  scope scope;
  llmd_list selectors; /* of selector */
  gating gating;
} rollout;

enum { GATE_SUM, GATE_MAX_ROLE, GATE_DISABLED };

static int check_selectors(const rollout *p, llmd_err *err)
{
  const selector *s = p->selectors.items;
  uint32_t i, j;
  for (i = 0; i < p->selectors.n; i++) {
    if (s[i].name.len == 0 || s[i].header.len == 0 || s[i].label.len == 0)
      return refuse(err, LLMD_E_MISSING, "headerSelectors", "name, headerName and labelKey must not be empty");
    for (j = 0; j < i; j++)
      if (same(&s[i].name, &s[j].name) || same(&s[i].header, &s[j].header))
        return refuse(err, LLMD_E_DUPLICATE, "headerSelectors", "name or headerName occurs twice");
  }
  return 0;
}

static int check_roles(const gating *g, llmd_err *err)
{
  const llmd_str *role = g->roles.values.items;
  uint32_t i, j;
  if (g->mode == GATE_DISABLED)
    return 0;
  if (!g->has_roles || g->roles.values.n == 0)
    return refuse(err, LLMD_E_MISSING, "revisionGating.requireRoles.values", "needs at least one role");
  for (i = 0; i < g->roles.values.n; i++) {
    if (role[i].len == 0)
      return refuse(err, LLMD_E_INVALID, "revisionGating.requireRoles.values", "a role must not be empty");
    for (j = 0; j < i; j++)
      if (same(&role[i], &role[j]))
        return refuse(err, LLMD_E_DUPLICATE, "revisionGating.requireRoles.values", "a role occurs twice");
  }
  return 0;
}

static int validate_rollout(void *self, llmd_err *err)
{
  const rollout *p = self;
  int rc;
  if (p->scope.labels.len == 0)
    return refuse(err, LLMD_E_MISSING, "scope.labelSelector", "must not be empty");
  rc = check_selectors(p, err);
  return rc ? rc : check_roles(&p->gating, err);
}

static const llmd_enum selector_modes[] = {{"strict", 0}, {"prefer", 1}, {0}};
static const llmd_enum gating_modes[] = {
  {"sum", GATE_SUM}, {"max-role", GATE_MAX_ROLE}, {"disabled", GATE_DISABLED}, {0}};

static const llmd_param scope_params[] = {
  {.name = "labelSelector", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(scope, labels),
   .doc = "Kubernetes selector of the pods that count"},
  {0}};
static const llmd_param selector_params[] = {
  {.name = "name", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(selector, name),
   .doc = "name of the selector"},
  {.name = "headerName", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(selector, header),
   .doc = "header that holds the wanted value"},
  {.name = "labelKey", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(selector, label),
   .doc = "label that must have it"},
  {.name = "mode", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(selector, mode),
   .values = selector_modes, .doc = "strict drops the others, prefer leaves them to a scorer"},
  {0}};
static const llmd_param roles_params[] = {
  {.name = "values", .type = LLMD_PARAM_STRINGS, .offset = offsetof(roles, values), .doc = "roles"}, {0}};
static const llmd_param gating_params[] = {
  {.name = "revisionLabelKey", .type = LLMD_PARAM_STRING, .offset = offsetof(gating, revision),
   .preset = "disaggregatedset.x-k8s.io/revision", .doc = "label of a pod's revision"},
  {.name = "roleLabelKey", .type = LLMD_PARAM_STRING, .offset = offsetof(gating, role),
   .preset = "disaggregatedset.x-k8s.io/role", .doc = "label of a pod's role"},
  {.name = "mode", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(gating, mode),
   .values = gating_modes, .doc = "how one revision is chosen"},
  {.name = "requireRoles", .type = LLMD_PARAM_OBJECT, .offset = offsetof(gating, roles),
   .given = offsetof(gating, has_roles), .sub = roles_params, .sub_size = sizeof(roles),
   .doc = "roles a revision must have ready pods of"},
  {0}};
static const llmd_param rollout_params[] = {
  {.name = "scope", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(rollout, scope),
   .sub = scope_params, .sub_size = sizeof(scope), .doc = "which pods count"},
  {.name = "headerSelectors", .type = LLMD_PARAM_LIST, .offset = offsetof(rollout, selectors), .sub = selector_params,
   .sub_size = sizeof(selector), .doc = "choices the client makes by header"},
  {.name = "revisionGating", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(rollout, gating), .sub = gating_params, .sub_size = sizeof(gating),
   .doc = "choice among revisions during a rollout"},
  {0}};

const llmd_plugin llmd__disaggregatedset_rollout_screener = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "disaggregatedset-rollout-screener", .summary = "keeps a request within one revision during a rollout",
  .kind = LLMD_INERT, .stability = LLMD_ALPHA, .self_size = sizeof(rollout), .params = rollout_params,
  .validate = validate_rollout};

/* ---- reporters --------------------------------------------------------------------------------------------------- */
typedef struct key {
  llmd_str space, name;
} key;

typedef struct attribute {
  key key;
  llmd_str expression, condition;
} attribute;

typedef struct reporter {
  llmd_list attributes; /* of attribute */
} reporter;

static int validate_reporter(void *self, llmd_err *err)
{
  const reporter *p = self;
  const attribute *a = p->attributes.items;
  if (p->attributes.n != 1)
    return refuse(err, LLMD_E_RANGE, "attributes", "exactly one is wanted");
  if (a->key.name.len == 0)
    return refuse(err, LLMD_E_MISSING, "attributes[0].key.name", "must not be empty");
  return a->expression.len > 0 ? 0 : refuse(err, LLMD_E_MISSING, "attributes[0].expression", "must not be empty");
}

static const llmd_param key_params[] = {
  {.name = "namespace", .type = LLMD_PARAM_STRING, .offset = offsetof(key, space), .preset = "envoy.lb",
   .doc = "metadata namespace"},
  {.name = "name", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(key, name),
   .doc = "key in that namespace"},
  {0}};
static const llmd_param attribute_params[] = {
  {.name = "key", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(attribute, key),
   .sub = key_params, .sub_size = sizeof(key), .doc = "where the value is reported"},
  {.name = "expression", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(attribute, expression), .doc = "CEL expression over usage (not checked here)"},
  {.name = "condition", .type = LLMD_PARAM_STRING, .offset = offsetof(attribute, condition),
   .doc = "CEL expression: report at all?"},
  {0}};
static const llmd_param reporter_params[] = {
  {.name = "attributes", .type = LLMD_PARAM_LIST, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(reporter, attributes), .sub = attribute_params, .sub_size = sizeof(attribute),
   .doc = "what is reported"},
  {0}};

const llmd_plugin llmd__request_attribute_reporter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "request-attribute-reporter", .summary = "reports a number computed from a response's usage",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = sizeof(reporter), .params = reporter_params,
  .validate = validate_reporter};

const llmd_plugin llmd__destination_endpoint_served_verifier = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "destination-endpoint-served-verifier", .summary = "says which endpoint answered (for tests of gateways)",
  .kind = LLMD_INERT, .stability = LLMD_BETA, .self_size = 1};

/* Once set the headers that disagg-profile-handler now sets by itself. */
typedef struct disagg_headers {
  llmd_str prefill, encode;
} disagg_headers;

static const llmd_param disagg_headers_params[] = {
  {.name = "prefillProfile", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_IGNORED,
   .offset = offsetof(disagg_headers, prefill), .preset = "prefill", .doc = "profile of the prefill stage"},
  {.name = "encodeProfile", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_IGNORED,
   .offset = offsetof(disagg_headers, encode), .preset = "encode", .doc = "profile of the encode stage"},
  {0}};

static const char *const disagg_headers_aliases[] = {"prefill-header-handler", NULL};

const llmd_plugin llmd__disagg_headers_handler = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "disagg-headers-handler", .aliases = disagg_headers_aliases,
  .summary = "without effect: disagg-profile-handler sets the headers",
  .kind = LLMD_INERT, .stability = LLMD_DEPRECATED, .self_size = sizeof(disagg_headers),
  .params = disagg_headers_params};

LLMD_MODULE(&llmd__latency_slo_admitter, &llmd__probabilistic_admitter, &llmd__agent_identity,
            &llmd__disaggregatedset_rollout_screener, &llmd__request_attribute_reporter,
            &llmd__destination_endpoint_served_verifier, &llmd__disagg_headers_handler);
