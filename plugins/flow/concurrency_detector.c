/* concurrency-detector: saturation by what the router itself has in flight.
 *
 *   requests, tokens  sum of the load / (endpoints * maximum)
 *   hybrid            mean over the endpoints of max(requests / maximum, tokens / maximum)
 *   no endpoints      1
 *   as filter         keeps load < int(maximum * (1 + headroom)), in hybrid mode both; fails closed: none may be left
 *
 * Unknown loads are 0 under compat = strict, as in the reference. Otherwise endpoints whose load is unknown, infinite
 * or negative are left out (0.5 when nothing is known), and the filter keeps them only when no endpoint is known to
 * have room. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

enum { REQUESTS, TOKENS }; /* modes and, in the same order, reads */
enum { HYBRID = 2 };
enum { DROP, PASS, UNKNOWN };

typedef struct concurrency_detector {
  llmd_str producer;
  int64_t max[2]; /* requests, tokens */
  double headroom;
  uint32_t mode;
} concurrency_detector;

static int counts(const concurrency_detector *p, uint32_t what)
{
  return p->mode == HYBRID || p->mode == what;
}

static int known(const concurrency_detector *p, const llmd_batch *b, uint32_t i)
{
  const double bottom = b->strict ? -DBL_MAX : 0;
  uint32_t what;
  for (what = REQUESTS; what <= TOKENS; what++)
    if (counts(p, what) && !(b->f64[what][i] >= bottom && b->f64[what][i] <= DBL_MAX))
      return 0;
  return 1;
}

static int saturation(const void *self, const llmd_batch *b, double *out)
{
  const concurrency_detector *p = self;
  double max[2] = {(double)p->max[REQUESTS], (double)p->max[TOKENS]}, sum = 0;
  uint32_t i, n = 0;
  for (i = 0; i < b->n; i++) {
    double requests = b->f64[REQUESTS][i] / max[REQUESTS], tokens = b->f64[TOKENS][i] / max[TOKENS];
    if (!known(p, b, i))
      continue;
    if (p->mode == HYBRID)
      sum += requests > tokens ? requests : tokens;
    else
      sum += b->f64[p->mode][i];
    n++;
  }
  if (n == 0)
    *out = b->n == 0 ? 1 : 0.5;
  else
    *out = sum / (p->mode == HYBRID ? n : n * max[p->mode]);
  return 0;
}

/* Whole load that is no longer admitted. */
static double limit(const concurrency_detector *p, uint32_t what)
{
  double x = (double)p->max[what] * (1 + p->headroom);
  return x < 9e18 ? (double)(int64_t)x : 9e18;
}

static int is_full(const concurrency_detector *p, const llmd_batch *b, uint32_t what, uint32_t i, double most)
{
  double load = b->f64[what][i];
  return counts(p, what) && load >= most && load <= DBL_MAX;
}

static int filter(const void *self, const llmd_batch *b, uint8_t *keep, uint32_t *order)
{
  const concurrency_detector *p = self;
  const double most[2] = {limit(p, REQUESTS), limit(p, TOKENS)};
  uint32_t n[3] = {0}, i;
  (void)order;
  for (i = 0; i < b->n; i++) {
    int full = is_full(p, b, REQUESTS, i, most[REQUESTS]) || is_full(p, b, TOKENS, i, most[TOKENS]);
    keep[i] = full ? DROP : known(p, b, i) ? PASS : UNKNOWN;
    n[keep[i]]++;
  }
  for (i = 0; i < b->n; i++)
    keep[i] = n[PASS] ? keep[i] == PASS : keep[i] == UNKNOWN;
  return 0;
}

static const llmd_enum modes[] = {{"requests", REQUESTS}, {"tokens", TOKENS}, {"hybrid", HYBRID}, {0}};

static const llmd_param params[] = {
  {.name = "maxConcurrency", .type = LLMD_PARAM_INT, .offset = offsetof(concurrency_detector, max[REQUESTS]),
   .preset = "100", .min = 1, .max = 9e18, .doc = "requests in flight at which an endpoint is saturated"},
  {.name = "maxTokenConcurrency", .type = LLMD_PARAM_INT, .offset = offsetof(concurrency_detector, max[TOKENS]),
   .preset = "1000000", .min = 1, .max = 9e18, .doc = "tokens in flight at which an endpoint is saturated"},
  {.name = "headroom", .type = LLMD_PARAM_FLOAT, .offset = offsetof(concurrency_detector, headroom), .preset = "0",
   .min = 0, .max = DBL_MAX, .doc = "as filter: fraction by which the maxima may be passed"},
  {.name = "concurrencyMode", .type = LLMD_PARAM_ENUM, .offset = offsetof(concurrency_detector, mode),
   .preset = "requests", .values = modes, .doc = "what is counted"},
  {.name = "inFlightLoadProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(concurrency_detector, producer),
   .doc = "producer of the load in flight (inflight-load-producer)"},
  {0}};

static const llmd_read reads[] = {
  [REQUESTS] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.requests",
                .from = "inflight-load-producer", .from_offset = offsetof(concurrency_detector, producer),
                .if_unknown = NAN, .if_unknown_strict = 0},
  [TOKENS] = {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.tokens",
              .from = "inflight-load-producer", .from_offset = offsetof(concurrency_detector, producer),
              .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__concurrency_detector = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "concurrency-detector", .summary = "saturation by requests and tokens in flight",
  .kind = LLMD_DETECTOR | LLMD_FILTER, .stability = LLMD_BETA, .self_size = sizeof(concurrency_detector),
  .params = params, .reads = reads,
  .filter = filter, .saturation = saturation};
LLMD_MODULE(&llmd__concurrency_detector);
