/* Producers whose columns the host sets: predictions of latency come from a model that learns from traffic, what an
 * encoder has cached comes from whoever watches the encoders. A producer without the verb `produce` says just that: the
 * column has this name, and unless the host fills it for a request it is unknown. */
#include <llmd/plugin.h>

#include <float.h>

/* ---- predicted-latency-producer ---------------------------------------------------------------------------------- */
typedef struct predicted {
  double sampling, slo_buffer;
  int64_t samples, context_ttl;
  uint32_t streaming, predict, encoder;
  llmd_str role_label, prefixes, inflight, encoders;
} predicted;

#define NAMED(called, field, text) \
  {.name = called, .type = LLMD_PARAM_STRING, .offset = offsetof(predicted, field), .doc = text}
static const llmd_param predicted_params[] = {
  {.name = "samplingMean", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_OLD | LLMD_PARAM_IGNORED,
   .offset = offsetof(predicted, sampling), .preset = "1000", .doc = "without effect"},
  {.name = "maxDecodeTokenSamplesForPrediction", .type = LLMD_PARAM_INT, .flags = LLMD_PARAM_OLD | LLMD_PARAM_IGNORED,
   .offset = offsetof(predicted, samples), .preset = "0", .doc = "without effect"},
  {.name = "sloBufferFactor", .type = LLMD_PARAM_FLOAT, .flags = LLMD_PARAM_ABOVE_MIN,
   .offset = offsetof(predicted, slo_buffer), .preset = "1", .min = 0, .max = DBL_MAX,
   .doc = "objectives are multiplied by it"},
  {.name = "contextTTL", .type = LLMD_PARAM_INT, .offset = offsetof(predicted, context_ttl), .preset = "300000000000",
   .doc = "nanoseconds a request is remembered"},
  {.name = "streamingMode", .type = LLMD_PARAM_BOOL, .offset = offsetof(predicted, streaming), .preset = "false",
   .doc = "learn from streamed tokens"},
  NAMED("endpointRoleLabel", role_label, "label of an endpoint's role"),
  {.name = "predictInProduce", .type = LLMD_PARAM_BOOL, .offset = offsetof(predicted, predict), .preset = "true",
   .doc = "false: learn, but predict nothing"},
  NAMED("prefixMatchInfoProducerName", prefixes, "producer of the match information"),
  NAMED("inFlightLoadProducerName", inflight, "producer of the load in flight"),
  {.name = "useEncoderCacheFeatures", .type = LLMD_PARAM_BOOL, .offset = offsetof(predicted, encoder),
   .preset = "false", .doc = "use what encoders have cached"},
  NAMED("encoderCacheMatchInfoProducerName", encoders, "producer of that"),
  {0}};

static const llmd_write predicted_writes[] = {
  {"LatencyPredictionInfo.valid", "0/1", LLMD_WRITE_DEFAULT}, /* known = there is a prediction */
  {"LatencyPredictionInfo.ttft_valid", "0/1", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.tpot_valid", "0/1", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.ttft_headroom", "ms", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.tpot_headroom", "ms", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.ttft", "ms", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.tpot", "ms", LLMD_WRITE_DEFAULT},
  {"LatencyPredictionInfo.dispatched", "requests", LLMD_WRITE_DEFAULT},
  {0}};

const llmd_plugin llmd__predicted_latency_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "predicted-latency-producer",
  .summary = "predicted latency of this request at each endpoint (the host sets it)",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(predicted), .params = predicted_params, .writes = predicted_writes};

/* ---- mm-embeddings-cache-producer -------------------------------------------------------------------------------- */
typedef struct embeddings {
  int64_t megabytes;
} embeddings;

static const llmd_param embeddings_params[] = {
  {.name = "cacheSizeInMBPerServer", .type = LLMD_PARAM_INT, .offset = offsetof(embeddings, megabytes),
   .preset = "4096", .doc = "MiB of embeddings an encoder keeps"},
  {0}};

static const llmd_write embeddings_writes[] = {
  {"EncoderCacheMatchInfo.matched", "bytes", LLMD_WRITE_DEFAULT},
  {"EncoderCacheMatchInfo.total", "bytes", LLMD_WRITE_DEFAULT},
  {0}};

const llmd_plugin llmd__mm_embeddings_cache_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "mm-embeddings-cache-producer",
  .summary = "how much of the request's images each endpoint has encoded already (the host sets it)",
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(embeddings), .params = embeddings_params, .writes = embeddings_writes};

LLMD_MODULE(&llmd__predicted_latency_producer, &llmd__mm_embeddings_cache_producer);
