/* endpoint-attribute-scorer: scores by any number that is known of the endpoints, higher or lower being better.
 *
 *   fixedRange     share = (v - min) / (max - min), cut to 0..1
 *   adaptiveRange  the same with the lowest and highest value of the candidates; all equal: score 1
 *   score = share, or 1 - share when lower is better
 *
 * Endpoints without the value get 0, in both modes; infinite values count as missing. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LOWER_IS_BETTER, HIGHER_IS_BETTER };

typedef struct fixed_range {
  double min, max;
} fixed_range;

typedef struct normalization {
  fixed_range fixed;
  uint32_t has_fixed, has_adaptive;
} normalization;

typedef struct algorithm {
  normalization range;
  uint32_t type;
} algorithm;

typedef struct endpoint_attribute {
  llmd_str attribute, producer;
  algorithm how;
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
  const normalization *range = &p->how.range;
  if (p->attribute.len == 0)
    return refuse(err, LLMD_E_MISSING, "attributeKey", "must not be empty");
  if (!p->producer.ptr && memchr(p->attribute.ptr, '/', p->attribute.len))
    return refuse(err, LLMD_E_INVALID, "attributeKey",
                  "contains \"/\" but no producer is set: write the two as two parameters, or set producer");
  if (range->has_fixed && range->has_adaptive)
    return refuse(err, LLMD_E_INVALID, "algorithm.normalization", "fixedRange and adaptiveRange exclude each other");
  if (range->has_fixed && !(range->fixed.min < range->fixed.max))
    return refuse(err, LLMD_E_RANGE, "algorithm.normalization.fixedRange", "min must be less than max");
  return 0;
}

static void lowest_and_highest(const double *value, uint32_t n, fixed_range *out)
{
  uint32_t i;
  out->min = INFINITY;
  out->max = -INFINITY;
  for (i = 0; i < n; i++) {
    int known = value[i] >= -DBL_MAX && value[i] <= DBL_MAX;
    out->min = known && value[i] < out->min ? value[i] : out->min;
    out->max = known && value[i] > out->max ? value[i] : out->max;
  }
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const endpoint_attribute *p = self;
  const double *value = b->f64[0];
  fixed_range range = p->how.range.fixed;
  uint32_t i;
  if (!p->how.range.has_fixed)
    lowest_and_highest(value, b->n, &range);
  for (i = 0; i < b->n; i++) {
    int known = value[i] >= -DBL_MAX && value[i] <= DBL_MAX;
    double share = (value[i] - range.min) / (range.max - range.min);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    if (p->how.type == LOWER_IS_BETTER)
      share = 1 - share;
    out[i] = !known ? 0 : range.min == range.max ? 1 : share;
  }
  return 0;
}

static const llmd_param fixed_params[] = {
  {.name = "min", .type = LLMD_PARAM_FLOAT, .offset = offsetof(fixed_range, min), .doc = "value at the lower end"},
  {.name = "max", .type = LLMD_PARAM_FLOAT, .offset = offsetof(fixed_range, max), .doc = "value at the upper end"},
  {0}};
static const llmd_param adaptive_params[] = {{0}};

static const llmd_param range_params[] = {
  {.name = "fixedRange", .type = LLMD_PARAM_OBJECT, .offset = offsetof(normalization, fixed),
   .given = offsetof(normalization, has_fixed), .doc = "normalise by these two values",
   .sub = fixed_params, .sub_size = sizeof(fixed_range)},
  {.name = "adaptiveRange", .type = LLMD_PARAM_OBJECT, .offset = offsetof(normalization, fixed),
   .given = offsetof(normalization, has_adaptive), .sub = adaptive_params, .sub_size = 0,
   .doc = "normalise by the candidates' lowest and highest value (default)"},
  {0}};

static const llmd_enum types[] = {
  {"linear_lower_is_better", LOWER_IS_BETTER}, {"linear_higher_is_better", HIGHER_IS_BETTER}, {0}};

static const llmd_param algorithm_params[] = {
  {.name = "type", .type = LLMD_PARAM_ENUM, .flags = LLMD_PARAM_REQUIRED, .offset = offsetof(algorithm, type),
   .values = types, .doc = "which end of the range is good"},
  {.name = "normalization", .type = LLMD_PARAM_OBJECT, .offset = offsetof(algorithm, range),
   .doc = "how values become 0..1", .sub = range_params, .sub_size = sizeof(normalization)},
  {0}};

static const llmd_param params[] = {
  {.name = "attributeKey", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(endpoint_attribute, attribute), .doc = "name of the attribute"},
  {.name = "producer", .type = LLMD_PARAM_STRING, .offset = offsetof(endpoint_attribute, producer),
   .doc = "who produces it (core-metrics-extractor)"},
  {.name = "algorithm", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_REQUIRED,
   .offset = offsetof(endpoint_attribute, how), .doc = "how values become scores",
   .sub = algorithm_params, .sub_size = sizeof(algorithm)},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_NAME_PARAM | LLMD_READ_FROM_PARAM, .name = "",
   .from = "core-metrics-extractor", .name_offset = offsetof(endpoint_attribute, attribute),
   .from_offset = offsetof(endpoint_attribute, producer), .if_unknown = NAN, .if_unknown_strict = NAN},
  {0}};

const llmd_plugin llmd__endpoint_attribute_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "endpoint-attribute-scorer", .summary = "scores by any number known of the endpoints",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = sizeof(endpoint_attribute),
  .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__endpoint_attribute_scorer);
