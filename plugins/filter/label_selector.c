/* Filters by label. label-selector-filter (and its former name by-label-selector) takes a Kubernetes label selector:
 * all of matchLabels and matchExpressions must hold; a selector without any keeps everything.
 *
 *   In            the label is there and its value is listed
 *   NotIn         the label is not there, or its value is not listed
 *   Exists        the label is there
 *   DoesNotExist  it is not
 *
 * by-label, older: the value of one label is listed, or the label is missing and that is allowed.
 *
 * Selectors are applied when labels change; a decision reads one number per endpoint. Both modes agree. */
#include <llmd/plugin.h>

#include <stdio.h>
#include <string.h>

enum { IN, NOT_IN, EXISTS, DOES_NOT_EXIST };

typedef struct expression {
  llmd_str key;
  llmd_list values; /* of llmd_str */
  uint32_t op;
} expression;

typedef struct selector {
  llmd_list labels;      /* of llmd_pair */
  llmd_list expressions; /* of expression */
} selector;

typedef struct by_label {
  llmd_str label;
  llmd_list values; /* of llmd_str */
  uint32_t allow_none;
} by_label;

/* ---- what Kubernetes allows as keys and values
 * ------------------------------------------------------------------------- */
static int is_lower_or_digit(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static int is_alphanumeric(char c)
{
  return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/* Letters and digits, with '-', '_' and '.' between them; at most 63 bytes. */
static int is_name(const char *p, size_t len)
{
  size_t i;
  if (len == 0 || len > 63 || !is_alphanumeric(p[0]) || !is_alphanumeric(p[len - 1]))
    return 0;
  for (i = 0; i < len; i++)
    if (!is_alphanumeric(p[i]) && p[i] != '-' && p[i] != '_' && p[i] != '.')
      return 0;
  return 1;
}

/* A DNS subdomain: parts of lower-case letters and digits, with '-' between them, joined by '.'. */
static int is_subdomain(const char *p, size_t len)
{
  size_t i;
  if (len == 0 || len > 253)
    return 0;
  for (i = 0; i < len; i++) {
    int inside = i > 0 && i + 1 < len;
    int joint = p[i] == '.' && inside && is_lower_or_digit(p[i - 1]) && is_lower_or_digit(p[i + 1]);
    int dash = p[i] == '-' && inside && p[i - 1] != '.' && p[i + 1] != '.';
    if (!is_lower_or_digit(p[i]) && !joint && !dash)
      return 0;
  }
  return 1;
}

static int is_key(const llmd_str *s)
{
  const char *slash = s->len ? memchr(s->ptr, '/', s->len) : NULL;
  size_t prefix = slash ? (size_t)(slash - s->ptr) : 0;
  if (!slash)
    return is_name(s->ptr, s->len);
  return is_subdomain(s->ptr, prefix) && is_name(slash + 1, s->len - prefix - 1);
}

static int is_value(const llmd_str *s)
{
  return s->len == 0 || is_name(s->ptr, s->len);
}

static int refuse(llmd_err *err, int code, const char *list, uint32_t i, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s[%u]", list, (unsigned)i);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int check_expression(const expression *e, uint32_t i, llmd_err *err)
{
  static const char list[] = "matchExpressions";
  const llmd_str *value = e->values.items;
  uint32_t v;
  if (!is_key(&e->key))
    return refuse(err, LLMD_E_INVALID, list, i, "key is not a label key");
  if (e->op <= NOT_IN && e->values.n == 0)
    return refuse(err, LLMD_E_MISSING, list, i, "In and NotIn need values");
  if (e->op > NOT_IN && e->values.n > 0)
    return refuse(err, LLMD_E_INVALID, list, i, "Exists and DoesNotExist take no values");
  for (v = 0; v < e->values.n; v++)
    if (!is_value(&value[v]))
      return refuse(err, LLMD_E_INVALID, list, i, "values has one that is not a label value");
  return 0;
}

static int validate_selector(void *self, llmd_err *err)
{
  const selector *p = self;
  const llmd_pair *label = p->labels.items;
  const expression *e = p->expressions.items;
  uint32_t i;
  int rc = 0;
  for (i = 0; i < p->labels.n; i++) {
    if (!is_key(&label[i].key))
      return refuse(err, LLMD_E_INVALID, "matchLabels", i, "key is not a label key");
    if (!is_value(&label[i].value))
      return refuse(err, LLMD_E_INVALID, "matchLabels", i, "value is not a label value");
  }
  for (i = 0; i < p->expressions.n && rc == 0; i++)
    rc = check_expression(&e[i], i, err);
  return rc;
}

static int validate_by_label(void *self, llmd_err *err)
{
  const by_label *p = self;
  if (p->label.len && (p->values.n || p->allow_none))
    return 0;
  snprintf(err->path, sizeof err->path, "%s", p->label.len ? "validValues" : "label");
  snprintf(err->text, sizeof err->text, "must not be empty%s", p->label.len ? " unless allowsNoLabel is true" : "");
  return LLMD_E_MISSING;
}

/* ---- matching
 * ---------------------------------------------------------------------------------------------------------- */
static int same(const llmd_str *a, const llmd_str *b)
{
  return a->len == b->len && (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
}

/* The label's value, NULL when it is not there. */
static const llmd_str *find(const llmd_identity *who, const llmd_str *key)
{
  uint32_t i;
  for (i = 0; i < who->n_labels; i++)
    if (same(&who->label[i].key, key))
      return &who->label[i].value;
  return NULL;
}

static int listed(const llmd_list *values, const llmd_str *value)
{
  const llmd_str *v = values->items;
  uint32_t i;
  for (i = 0; i < values->n; i++)
    if (same(&v[i], value))
      return 1;
  return 0;
}

static int holds(const expression *e, const llmd_identity *who)
{
  const llmd_str *value = find(who, &e->key);
  switch (e->op) {
  case IN:
    return value && listed(&e->values, value);
  case NOT_IN:
    return !value || !listed(&e->values, value);
  case EXISTS:
    return value != NULL;
  default:
    return !value;
  }
}

static double derive_selector(const void *self, uint32_t read, const llmd_identity *who)
{
  const selector *p = self;
  const llmd_pair *label = p->labels.items;
  const expression *e = p->expressions.items;
  uint32_t i;
  (void)read;
  for (i = 0; i < p->labels.n; i++) {
    const llmd_str *value = find(who, &label[i].key);
    if (!value || !same(value, &label[i].value))
      return 0;
  }
  for (i = 0; i < p->expressions.n; i++)
    if (!holds(&e[i], who))
      return 0;
  return 1;
}

static double derive_by_label(const void *self, uint32_t read, const llmd_identity *who)
{
  const by_label *p = self;
  const llmd_str *value = find(who, &p->label);
  (void)read;
  return value ? listed(&p->values, value) : p->allow_none != 0;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const double *matches = b->f64[0];
  uint32_t i;
  (void)self;
  (void)order;
  for (i = 0; i < b->n; i++)
    keep[i] = matches[i] > 0;
  return 0;
}

static const llmd_enum operators[] = {
  {"In", IN}, {"NotIn", NOT_IN}, {"Exists", EXISTS}, {"DoesNotExist", DOES_NOT_EXIST}, {0}};

static const llmd_param expression_params[] = {
  {.name = "key", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(expression, key),
   .doc = "label key"},
  {.name = "operator", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(expression, op),
   .values = operators, .doc = "what must hold of it"},
  {.name = "values", .type = LLMD_PARAM_STRINGS, .offset = offsetof(expression, values),
   .doc = "the values of In and NotIn"},
  {0}};

static const llmd_param selector_params[] = {
  {.name = "matchLabels", .type = LLMD_PARAM_MAP, .offset = offsetof(selector, labels),
   .doc = "labels that must have exactly these values"},
  {.name = "matchExpressions", .type = LLMD_PARAM_LIST, .offset = offsetof(selector, expressions),
   .sub = expression_params, .sub_size = sizeof(expression), .doc = "conditions that must hold too"},
  {0}};

static const llmd_param by_label_params[] = {
  {.name = "label", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(by_label, label),
   .doc = "label key"},
  {.name = "validValues", .type = LLMD_PARAM_STRINGS, .offset = offsetof(by_label, values),
   .doc = "values that are kept"},
  {.name = "allowsNoLabel", .type = LLMD_PARAM_BOOL, .offset = offsetof(by_label, allow_none), .preset = "false",
   .doc = "endpoints without the label are kept too"},
  {0}};

static const llmd_read reads[] = {{.kind = LLMD_READ_DERIVED, .name = "selected"}, {0}};

#define SELECTOR_FILTER                                                                                    \
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI, .kind = LLMD_FILTER, .self_size = sizeof(selector),  \
  .params = selector_params, .reads = reads, .validate = validate_selector, .derive = derive_selector,     \
  .filter = filter

const llmd_plugin llmd__label_selector_filter = {
  .type = "label-selector-filter", .summary = "keeps endpoints that a Kubernetes label selector matches",
  .stability = LLMD_BETA, SELECTOR_FILTER};
const llmd_plugin llmd__by_label_selector = {
  .type = "by-label-selector", .summary = "former name of label-selector-filter",
  .stability = LLMD_DEPRECATED, SELECTOR_FILTER};
const llmd_plugin llmd__by_label = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "by-label", .summary = "keeps endpoints by the value of one label; use label-selector-filter",
  .kind = LLMD_FILTER, .stability = LLMD_DEPRECATED, .self_size = sizeof(by_label),
  .params = by_label_params, .reads = reads,
  .validate = validate_by_label, .derive = derive_by_label, .filter = filter};
LLMD_MODULE(&llmd__label_selector_filter, &llmd__by_label_selector, &llmd__by_label);
