/* endpoint-attribute-filter: compares any number that is known of the endpoints with a threshold.
 *
 * onMissing says what becomes of endpoints without the value, in both modes; infinite values count as missing. When
 * nothing is left and fallbackOnEmpty is set, everything is kept. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, EQUAL, NOT_EQUAL };
enum { PASS, FAIL };

typedef struct threshold {
  double value;
  uint32_t op;
} threshold;

typedef struct algorithm {
  threshold limit;
  uint32_t type;
} algorithm;

typedef struct endpoint_attribute {
  llmd_str attribute, producer;
  algorithm how;
  uint32_t on_missing;
  uint32_t fallback;
} endpoint_attribute;

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  const endpoint_attribute *p = self;
  if (p->attribute.len == 0)
    return refuse(err, LLMD_E_MISSING, "attribute", "must not be empty");
  if (!p->producer.ptr && memchr(p->attribute.ptr, '/', p->attribute.len))
    return refuse(err, LLMD_E_INVALID, "attribute",
                  "contains \"/\" but no producer is set: write the two as two parameters, or set producer");
  return 0;
}

static int passes(const threshold *limit, double value)
{
  switch (limit->op) {
  case LESS:
    return value < limit->value;
  case LESS_OR_EQUAL:
    return value <= limit->value;
  case GREATER:
    return value > limit->value;
  case GREATER_OR_EQUAL:
    return value >= limit->value;
  case EQUAL:
    return value == limit->value;
  default:
    return value != limit->value;
  }
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const endpoint_attribute *p = self;
  const double *value = b->f64[0];
  uint32_t i, kept = 0;
  (void)order;
  for (i = 0; i < b->n; i++) {
    int known = value[i] >= -DBL_MAX && value[i] <= DBL_MAX;
    keep[i] = (uint8_t)(known ? passes(&p->how.limit, value[i]) : p->on_missing == PASS);
    kept += keep[i];
  }
  if (kept == 0 && p->fallback)
    memset(keep, 1, b->n);
  return 0;
}

static const llmd_enum operators[] = {
  {"LessThan", LESS}, {"LessThanOrEqual", LESS_OR_EQUAL}, {"GreaterThan", GREATER},
  {"GreaterThanOrEqual", GREATER_OR_EQUAL}, {"Equal", EQUAL}, {"NotEqual", NOT_EQUAL}, {0}};
static const llmd_enum types[] = {{"threshold", 0}, {0}};
static const llmd_enum missing[] = {{"Pass", PASS}, {"Fail", FAIL}, {"", PASS}, {0}};

static const llmd_param threshold_params[] = {
  {.name = "operator", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(threshold, op),
   .values = operators, .doc = "how the endpoint's value must compare"},
  {.name = "value", .type = LLMD_PARAM_FLOAT, .offset = offsetof(threshold, value), .doc = "with what"},
  {0}};

static const llmd_param algorithm_params[] = {
  {.name = "type", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(algorithm, type),
   .values = types, .doc = "the only one there is"},
  {.name = "threshold", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(algorithm, limit),
   .sub = threshold_params, .sub_size = sizeof(threshold), .doc = "the comparison"},
  {0}};

static const llmd_param params[] = {
  {.name = "attribute", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(endpoint_attribute, attribute), .doc = "name of the attribute"},
  {.name = "producer", .type = LLMD_PARAM_STRING, .offset = offsetof(endpoint_attribute, producer),
   .doc = "who produces it (core-metrics-extractor)"},
  {.name = "onMissing", .type = LLMD_PARAM_ENUM, .offset = offsetof(endpoint_attribute, on_missing), .preset = "Pass",
   .values = missing, .doc = "whether endpoints without the value are kept"},
  {.name = "fallbackOnEmpty", .type = LLMD_PARAM_BOOL, .offset = offsetof(endpoint_attribute, fallback),
   .preset = "false", .doc = "keep all when none passes"},
  {.name = "algorithm", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(endpoint_attribute, how), .sub = algorithm_params, .sub_size = sizeof(algorithm),
   .doc = "which endpoints pass"},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_NAME_PARAM | LLMD_READ_FROM_PARAM, .name = "",
   .from = "core-metrics-extractor", .name_offset = offsetof(endpoint_attribute, attribute),
   .from_offset = offsetof(endpoint_attribute, producer), .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__endpoint_attribute_filter = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "endpoint-attribute-filter", .summary = "keeps endpoints by any number known of them",
  .kind = LLMD_FILTER, .stability = LLMD_ALPHA, .self_size = sizeof(endpoint_attribute),
  .params = params, .reads = reads,
  .validate = validate, .filter = filter};
LLMD_MODULE(&llmd__endpoint_attribute_filter);
