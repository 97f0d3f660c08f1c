/* The deciders that disagg-profile-handler asks: is a stage of its own worth it for this request?
 *
 * prefix-based-pd-decider: yes when the picked decode endpoint would still have to compute enough of the prompt.
 * always-disagg-pd-decider: yes. always-disagg-multimodal-decider: yes when the prompt has an image, video or audio. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>

typedef struct prefix_based {
  int64_t non_cached; /* 0 = never */
  int64_t prompt;     /* 0 = no such condition */
} prefix_based;

enum { CACHED, MATCH, BLOCK };

static int not_negative(int64_t value, const char *name, llmd_err *err)
{
  if (value >= 0)
    return 0;
  snprintf(err->path, sizeof err->path, "%s", name);
  snprintf(err->text, sizeof err->text, "must not be negative, got %lld", (long long)value);
  return LLMD_E_RANGE;
}

static int validate(void *self, llmd_err *err)
{
  const prefix_based *p = self;
  int rc = not_negative(p->non_cached, "nonCachedTokens", err);
  return rc ? rc : not_negative(p->prompt, "promptTokens", err);
}

/* Cached blocks count as they are; a match weighted by cache tier is only the second choice, since it would understate
 * what lies in a slower tier. Nothing known of the endpoint's cache = no: half a plan is worse than none. */
static int decide_by_prefix(const void *self, const llmd_batch *b)
{
  const prefix_based *p = self;
  double tokens = b->request->tokens, wanted = (double)p->non_cached, blocks;
  if (p->non_cached == 0 || b->n == 0 || tokens < wanted || tokens < (double)p->prompt)
    return 0;
  blocks = b->f64[CACHED][0];
  if (blocks != blocks)
    blocks = b->f64[MATCH][0];
  return tokens - blocks * b->f64[BLOCK][0] >= wanted;
}

static int decide_always(const void *self, const llmd_batch *b)
{
  (void)self;
  (void)b;
  return 1;
}

static int decide_multimodal(const void *self, const llmd_batch *b)
{
  (void)self;
  return (b->request->flags & LLMD_VIEW_MULTIMODAL) != 0;
}

static const llmd_param params[] = {
  {.name = "nonCachedTokens", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_NO_RANGE,
   .offset = offsetof(prefix_based, non_cached), .preset = "0", .min = 0, .max = 9007199254740992.0,
   .doc = "tokens the decode endpoint would have to compute for a prefill stage to be worth it; 0 = never"},
  {.name = "promptTokens", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_NO_RANGE,
   .offset = offsetof(prefix_based, prompt), .preset = "0", .min = 0, .max = 9007199254740992.0,
   .doc = "shortest prompt that is considered at all; 0 = any"},
  {0}};

/* The reference reads the default producer, whatever the scorers read. */
#define PREFIX_READ(attribute)                                                                                \
  {.kind = LLMD_READ_F64, .name = attribute, .from = "approx-prefix-cache-producer", .if_unknown = NAN, \
   .if_unknown_strict = NAN}

static const llmd_read reads[] = {
  [CACHED] = PREFIX_READ("PrefixCacheMatchInfo.cached"),
  [MATCH] = PREFIX_READ("PrefixCacheMatchInfo.match"),
  [BLOCK] = PREFIX_READ("PrefixCacheMatchInfo.block"),
  {0}};

const llmd_plugin llmd__prefix_based_pd_decider = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "prefix-based-pd-decider",
  .summary = "a prefill stage when the decode endpoint has too little of the prompt cached",
  .kind = LLMD_DECIDER, .stability = LLMD_BETA,
  .self_size = sizeof(prefix_based), .params = params, .reads = reads,
  .validate = validate, .decide = decide_by_prefix};

const llmd_plugin llmd__always_disagg_pd_decider = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "always-disagg-pd-decider", .summary = "always a prefill stage",
  .kind = LLMD_DECIDER, .stability = LLMD_BETA, .self_size = 1, .decide = decide_always};

const llmd_plugin llmd__always_disagg_multimodal_decider = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "always-disagg-multimodal-decider", .summary = "an encode stage when the prompt has an image, video or audio",
  .kind = LLMD_DECIDER, .stability = LLMD_BETA, .self_size = 1, .decide = decide_multimodal};

LLMD_MODULE(&llmd__prefix_based_pd_decider, &llmd__always_disagg_pd_decider, &llmd__always_disagg_multimodal_decider);
