/* token-load-scorer: prefers endpoints with few tokens in flight, counting what this request would add.
 *
 *   t = tokens in flight there + tokens of this request that are not cached there
 *   score = 1 - min(t, threshold) / threshold;  t <= 0: 1
 *
 * Both parts are 0 when unknown under compat = strict, as in the reference. Otherwise an unknown (infinite, negative)
 * load gets 0.5, and an unknown uncached part is the whole prompt. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

#define THRESHOLD 4194304 /* 128 requests of 32,768 tokens */

typedef struct token_load {
  llmd_str producer;
  int64_t threshold;
} token_load;

enum { TOKENS, UNCACHED };

static int validate(void *self, llmd_err *err)
{
  token_load *p = self;
  (void)err;
  if (p->threshold <= 0)
    p->threshold = THRESHOLD;
  return 0;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const token_load *p = self;
  const double *tokens = b->f64[TOKENS], *uncached = b->f64[UNCACHED];
  const double threshold = (double)p->threshold, bottom = b->strict ? -DBL_MAX : 0;
  uint32_t i;
  for (i = 0; i < b->n; i++) {
    int known = tokens[i] >= bottom && tokens[i] <= DBL_MAX;
    int sized = uncached[i] >= bottom && uncached[i] <= DBL_MAX;
    double load = tokens[i] + (sized ? uncached[i] : b->request->tokens);
    load = load < threshold ? load : threshold;
    out[i] = !known ? 0.5 : load <= 0 ? 1 : 1 - load / threshold;
  }
  return 0;
}

static const llmd_param params[] = {
  {.name = "queueThresholdTokens", .type = LLMD_PARAM_INT, .offset = offsetof(token_load, threshold),
   .preset = "4194304", .doc = "tokens in flight at which the score reaches 0; 0 or less means the default"},
  {.name = "inFlightLoadProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(token_load, producer),
   .doc = "producer of the load in flight (inflight-load-producer)"},
  {0}};

static const llmd_read reads[] = {
  [TOKENS] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.tokens",
              .from = "inflight-load-producer", .from_offset = offsetof(token_load, producer),
              .if_unknown = NAN, .if_unknown_strict = 0},
  [UNCACHED] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.uncached",
                .from = "inflight-load-producer", .from_offset = offsetof(token_load, producer),
                .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__token_load_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "token-load-scorer", .summary = "prefers endpoints with few tokens in flight",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(token_load), .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__token_load_scorer);
