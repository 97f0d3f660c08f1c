/* active-request-scorer: prefers endpoints with few requests in flight, as the router itself counts them.
 *
 *   n <= idle: 1;  else (most - n) / most * busy      most = the highest n among the candidates
 *
 * So idle endpoints can be set apart from the rest by busy < 1. An endpoint without a count has 0 requests under
 * compat = strict, as in the reference. Otherwise one whose count is unknown, infinite or negative gets busy / 2. */
#include <llmd/plugin.h>

#include <float.h>
#include <math.h>

typedef struct active_request {
  llmd_str producer;
  llmd_str timeout; /* accepted, not used */
  int64_t idle;
  double busy;
} active_request;

static int validate(void *self, llmd_err *err)
{
  active_request *p = self;
  (void)err;
  if (p->idle < 0)
    p->idle = 0;
  if (!(p->busy >= 0 && p->busy <= 1))
    p->busy = 1;
  return 0;
}

static int score(const void *self, const llmd_batch *b, double *out)
{
  const active_request *p = self;
  const double *requests = b->f64[0];
  const double idle = (double)p->idle, bottom = b->strict ? -DBL_MAX : 0;
  double most = 0;
  uint32_t i;
  for (i = 0; i < b->n; i++) {
    int higher = requests[i] > most && requests[i] <= DBL_MAX;
    most = higher ? requests[i] : most;
  }
  for (i = 0; i < b->n; i++) {
    int known = requests[i] >= bottom && requests[i] <= DBL_MAX;
    if (!known)
      out[i] = p->busy / 2;
    else
      out[i] = requests[i] <= idle ? 1 : (most - requests[i]) / most * p->busy;
  }
  return 0;
}

static const llmd_param params[] = {
  {.name = "requestTimeout", .type = LLMD_PARAM_STRING, .flags = LLMD_PARAM_IGNORED | LLMD_PARAM_OLD,
   .offset = offsetof(active_request, timeout), .doc = "has no effect: requests are counted by inflight-load-producer"},
  {.name = "idleThreshold", .type = LLMD_PARAM_INT, .offset = offsetof(active_request, idle), .preset = "0",
   .doc = "up to this many requests an endpoint is idle and gets 1; negative means 0"},
  {.name = "maxBusyScore", .type = LLMD_PARAM_FLOAT, .offset = offsetof(active_request, busy), .preset = "1",
   .doc = "highest score of an endpoint that is not idle, 0..1; outside of it means 1"},
  {.name = "inFlightLoadProducerName", .type = LLMD_PARAM_STRING, .offset = offsetof(active_request, producer),
   .doc = "producer of the load in flight (inflight-load-producer)"},
  {0}};

static const llmd_read reads[] = {
  {.kind = LLMD_READ_F64, .flags = LLMD_READ_FROM_PARAM, .name = "InFlightLoad.requests",
   .from = "inflight-load-producer", .from_offset = offsetof(active_request, producer),
   .if_unknown = NAN, .if_unknown_strict = 0},
  {0}};

const llmd_plugin llmd__active_request_scorer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "active-request-scorer", .summary = "prefers endpoints with few requests in flight",
  .kind = LLMD_SCORER, .stability = LLMD_BETA, .self_size = sizeof(active_request), .params = params, .reads = reads,
  .validate = validate, .score = score};
LLMD_MODULE(&llmd__active_request_scorer);
