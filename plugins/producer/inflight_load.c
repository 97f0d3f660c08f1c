/* inflight-load-producer: what each endpoint has in flight from us, and what this request would add.
 *
 *   requests, tokens   the ledger's counts
 *   uncached           tokens of this prompt the endpoint must compute; with addEstimatedOutputTokens also what
 *                      the answer may take: round(prompt * outputRatio), but not above maxEstimatedOutputTokens, nor
 *                      above the client's max_tokens
 *   charge             the same number: what the ledger adds to the endpoint that gets the request
 *
 * Without output tokens the charge stands for prefill work only and is given back at the first token; with them it
 * stays to the end. (The request itself counts to the end either way.)
 *
 * compat = strict counts uncached tokens in whole blocks, so a prompt of 10 tokens is worth a block of 64. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

typedef struct inflight_load {
  uint32_t add_output;
  uint32_t capped; /* max_output is given */
  double ratio;
  int64_t max_output;
  llmd_str prefixes; /* producer */
  uint32_t sync;
} inflight_load;

enum { MATCH, TOTAL, BLOCK };
enum { REQUESTS, TOKENS, UNCACHED, CHARGE };

/* Halves go up. */
static double nearest(double x)
{
  double whole;
  if (!(x < 4503599627370496.0))
    return x;
  whole = (double)(int64_t)x;
  return x - whole >= 0.5 ? whole + 1 : whole;
}

/* client_max: NaN = the client said nothing. */
static double output_tokens(const inflight_load *p, double input, double client_max)
{
  double output;
  if (!(input > 0))
    return 0;
  output = nearest(input * p->ratio);
  if (client_max >= 0 && client_max < output)
    output = client_max;
  if (p->capped && (double)p->max_output < output)
    output = (double)p->max_output;
  return output;
}

static double not_negative(double x)
{
  return x > 0 ? x : 0;
}

static double uncached_tokens(const llmd_batch *b, uint32_t i, double input)
{
  double block = b->f64[BLOCK][i], matched = b->f64[MATCH][i] * block, indexed = b->f64[TOTAL][i] * block;
  if (!(block > 0) || !(matched >= 0) || !(indexed >= 0))
    return not_negative(input);
  if (!b->strict && input > 0)
    return not_negative(input - matched);
  return not_negative(indexed - matched) + not_negative(input - indexed);
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  const inflight_load *p = self;
  double input = b->request->tokens;
  double output = p->add_output ? output_tokens(p, input, b->request->max_tokens) : 0;
  uint32_t i;
  int rc = s->inflight(s->ctx, out[REQUESTS], out[TOKENS]);
  if (rc < 0)
    return rc;
  for (i = 0; i < b->n; i++)
    out[UNCACHED][i] = out[CHARGE][i] = uncached_tokens(b, i, input) + output;
  return 0;
}

static int report(const void *self, const llmd_services *s, const llmd_report_info *r)
{
  const inflight_load *p = self;
  if (r->kind != LLMD_REPORT_FIRST_TOKEN || p->add_output)
    return 0;
  return s->release_tokens(s->ctx);
}

static const llmd_param params[] = {
  {.name = "addEstimatedOutputTokens", .type = LLMD_PARAM_BOOL, .offset = offsetof(inflight_load, add_output),
   .preset = "false", .doc = "count the answer's estimated tokens too"},
  {.name = "outputRatio", .type = LLMD_PARAM_FLOAT, .offset = offsetof(inflight_load, ratio), .preset = "1.5", .min = 0,
   .max = DBL_MAX, .doc = "estimated output tokens per prompt token"},
  {.name = "maxEstimatedOutputTokens", .type = LLMD_PARAM_INT, .offset = offsetof(inflight_load, max_output),
   .given = offsetof(inflight_load, capped), .min = 0, .max = 9007199254740992.0,
   .doc = "no estimate is higher than this; absent = no cap"},
  {.name = "prefixMatchInfoProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(inflight_load, prefixes),
   .doc = "producer of the match information (approx-prefix-cache-producer)"},
  {.name = "syncCrossReplicaState", .type = LLMD_PARAM_BOOL, .flags = LLMD_PARAM_IGNORED,
   .offset = offsetof(inflight_load, sync), .preset = "true", .doc = "share the counts with other routers"},
  {0}};

#define MATCH_INFO(what)                                                                                     \
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_OPTIONAL | LLMD_READ_FROM_PARAM, .name = "PrefixCacheMatchInfo." what, \
   .from = "approx-prefix-cache-producer", .from_offset = offsetof(inflight_load, prefixes), .if_unknown = NAN,    \
   .if_unknown_strict = NAN}
static const llmd_read reads[] = {
  [MATCH] = MATCH_INFO("match"), [TOTAL] = MATCH_INFO("total"), [BLOCK] = MATCH_INFO("block"), {0}};

static const llmd_write writes[] = {
  [REQUESTS] = {"InFlightLoad.requests", "requests", LLMD_WRITE_DEFAULT},
  [TOKENS] = {"InFlightLoad.tokens", "tokens", LLMD_WRITE_DEFAULT},
  [UNCACHED] = {"InFlightLoad.uncached", "tokens", LLMD_WRITE_DEFAULT},
  [CHARGE] = {"InFlightLoad.charge", "tokens", LLMD_WRITE_DEFAULT | LLMD_WRITE_CHARGE},
  {0}};

const llmd_plugin llmd__inflight_load_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "inflight-load-producer", .summary = "requests and tokens in flight on each endpoint",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(inflight_load), .params = params, .reads = reads, .writes = writes,
  .produce = produce, .report = report};

LLMD_MODULE(&llmd__inflight_load_producer);
