/* prefix-cache-scorer: prefers endpoints that hold much of the prompt in their KV cache. The same code is
 * multicluster-prefix-cache-scorer, whose endpoints are whole clusters.
 *
 *   ratio  = matched blocks / all blocks
 *   length = min(1, matched tokens / scale)^2         long matches are worth more than their share of the prompt
 *   score  = weight * length + (1 - weight) * ratio   weight 0: the ratio alone
 *
 * No match information, or a prompt without blocks: 0, in both modes. Outside compat = strict a match that is infinite,
 * negative or longer than the prompt counts as none. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>
#include <stdio.h>

typedef struct prefix {
  llmd_str producer;
  double weight;
  int64_t scale; /* tokens at which the length score is full */
} prefix;

enum { MATCH, TOTAL, BLOCK };

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  const prefix *p = self;
  if (p->weight > 0 && p->scale <= 0)
    return refuse(err, LLMD_E_RANGE, "matchLengthScaleTokens", "must be greater than 0 when matchLengthWeight is");
  return 0;
}

static double length_score(const prefix *p, double match, double block)
{
  double tokens, share;
  if (!(p->weight > 0 && block > 0))
    return 0;
  tokens = match * block;
  share = tokens / (double)p->scale;
  share = share < 1 ? share : 1;
  return share * share;
}

/* No length share, the usual case: one division each, nothing that a compiler cannot do two or more at a time. */
static void score_ratio(const llmd_batch *b, const double *match, const double *total, double *out)
{
  const double slack = b->strict ? DBL_MAX : 0;
  for (uint32_t i = 0; i < b->n; i++) {
    double most = total[i] > slack ? total[i] : slack;
    double ratio = match[i] / total[i];
    ratio = match[i] >= 0 ? ratio : 0;
    ratio = match[i] <= most ? ratio : 0;
    ratio = total[i] > 0 ? ratio : 0;
    out[i] = total[i] <= DBL_MAX ? ratio : 0;
  }
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const prefix *p = self;
  const double *match = b->f64[MATCH], *total = b->f64[TOTAL], *block = b->f64[BLOCK];
  uint32_t i;
  if (p->weight == 0) {
    score_ratio(b, match, total, out);
    return 0;
  }
  for (i = 0; i < b->n; i++) {
    double most = b->strict ? DBL_MAX : total[i];
    int usable = total[i] > 0 && total[i] <= DBL_MAX && match[i] >= 0 && match[i] <= most;
    out[i] = usable ? p->weight * length_score(p, match[i], block[i]) + (1 - p->weight) * (match[i] / total[i]) : 0;
  }
  return 0;
}

static const llmd_param params[] = {
  {.name = "prefixMatchInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(prefix, producer),
   .doc = "producer of the match information (approx-prefix-cache-producer)"},
  {.name = "matchLengthWeight", .type = LLMD_PARAM_FLOAT, .offset = offsetof(prefix, weight), .preset = "0",
   .min = 0, .max = 1, .doc = "share of the score that comes from the length of the match, the rest from its ratio"},
  {.name = "matchLengthScaleTokens", .type = LLMD_PARAM_INT, .offset = offsetof(prefix, scale), .preset = "8192",
   .doc = "tokens at which the length score is full"},
  {0}};

#define MATCH_INFO(what)                                                                                            \
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo." what,                       \
   .from = "approx-prefix-cache-producer", .from_offset = offsetof(prefix, producer), .if_unknown = NAN,            \
   .if_unknown_strict = NAN}
static const llmd_read reads[] = {
  [MATCH] = MATCH_INFO("match"), [TOTAL] = MATCH_INFO("total"), [BLOCK] = MATCH_INFO("block"), {0}};

const llmd_plugin llmd__prefix_cache_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "prefix-cache-scorer", .summary = "prefers endpoints that hold the prompt's prefix in their KV cache",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(prefix), .params = params, .reads = reads,
  .validate = validate, .score = score};

const llmd_plugin llmd__multicluster_prefix_cache_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "multicluster-prefix-cache-scorer", .summary = "prefix-cache-scorer over endpoints that are clusters",
  .kind = LLMD_SCORER, .stability = LLMD_ALPHA, .self_size = sizeof(prefix), .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__prefix_cache_scorer, &llmd__multicluster_prefix_cache_scorer);
