/* token-producer: length of the prompt in tokens, as a column.
 *
 * The tokens themselves are the core's affair: from the request, from the region's cache, from whoever tokenizes for
 * the host, else the estimate (four bytes of text are one token). So the parameters of the real tokenizers are checked
 * here and otherwise left to the host, which is asked when there is a vLLM server to render; those of the multimodal
 * estimate likewise. */
#include <llmd/plugin.h>

#include <math.h>
#include <stdio.h>

typedef struct resolution {
  int64_t width, height;
} resolution;

/* An object with one number in it. */
typedef struct number {
  int64_t value;
} number;

typedef struct image {
  uint32_t mode;
  resolution size;
  number fixed, dynamic;
} image;

typedef struct frame_tokens {
  uint32_t mode;
  number fixed, dynamic;
} frame_tokens;

typedef struct sampled {
  double fps;
  int64_t patch;
} sampled;

typedef struct strided {
  double fps;
  int64_t stride;
} strided;

typedef struct frames {
  uint32_t mode;
  int64_t least, most;
  sampled sampled;
  strided strided;
} frames;

typedef struct video {
  resolution size;
  double seconds;
  frame_tokens tokens;
  frames frames;
  int64_t most;
} video;

typedef struct estimate {
  image image;
  video video;
} estimate;

typedef struct vllm {
  llmd_str url;
  int64_t timeout, mm_timeout;
} vllm;

typedef struct uds {
  llmd_str socket;
  uint32_t tcp;
  llmd_list models;
} uds;

typedef struct token {
  llmd_str model;
  vllm vllm;
  uds uds;
  estimate estimate;
  uint32_t has_vllm, has_estimate;
} token;

static int refuse(llmd_err *err, int code, const char *path, const char *text)
{
  snprintf(err->path, sizeof err->path, "%s", path);
  snprintf(err->text, sizeof err->text, "%s", text);
  return code;
}

static int validate(void *self, llmd_err *err)
{
  const token *p = self;
  int remote = p->has_vllm || p->model.len > 0, local = p->uds.socket.len > 0;
  if ((p->has_estimate && (remote || local)) || (p->has_vllm && local))
    return refuse(err, LLMD_E_INVALID, "", "only one of estimate, vllm and udsTokenizerConfig may be set");
  if ((remote || local) && p->model.len == 0)
    return refuse(err, LLMD_E_MISSING, "modelName", "is required by a real tokenizer");
  return 0;
}

/* A service on a Unix socket is the reference's older way, and nobody's to ask here. */
static uint32_t needs(const void *self)
{
  const token *p = self;
  return p->model.len && !p->uds.socket.len ? LLMD_NEEDS_TOKENS : 0;
}

static int produce(const void *self, const llmd_services *s, const llmd_batch *b, double *const *out)
{
  double tokens = b->request->tokens > 0 ? b->request->tokens : NAN;
  uint32_t i;
  (void)self;
  (void)s;
  for (i = 0; i < b->n; i++)
    out[0][i] = tokens;
  return 0;
}

static const llmd_enum by_pixels[] = {{"dynamic", 0}, {"", 0}, {"static", 1}, {0}};
static const llmd_enum by_frames[] = {{"sampled", 0}, {"", 0}, {"strided", 1}, {0}};

#define AT(type, field) .offset = offsetof(type, field)

static const llmd_param resolution_params[] = {
  {.name = "width", .type = LLMD_PARAM_INT, AT(resolution, width), .doc = "pixels"},
  {.name = "height", .type = LLMD_PARAM_INT, AT(resolution, height), .doc = "pixels"},
  {0}};
static const llmd_param static_image_params[] = {
  {.name = "staticToken", .type = LLMD_PARAM_INT, AT(number, value), .doc = "tokens per image"}, {0}};
static const llmd_param static_frame_params[] = {
  {.name = "numTokensPerFrame", .type = LLMD_PARAM_INT, AT(number, value), .doc = "tokens per frame"}, {0}};
static const llmd_param dynamic_params[] = {
  {.name = "factor", .type = LLMD_PARAM_INT, AT(number, value), .doc = "pixels per token"}, {0}};

#define OBJECT(called, owner, field, table, type_, text)                                                          \
  {.name = called, .type = LLMD_PARAM_OBJECT, AT(owner, field), .sub = table, .sub_size = sizeof(type_), .doc = text}

static const llmd_param image_params[] = {
  {.name = "mode", .type = LLMD_PARAM_ENUM, AT(image, mode), .preset = "dynamic", .values = by_pixels,
   .doc = "by pixels, or the same for every image"},
  OBJECT("defaultResolution", image, size, resolution_params, resolution, "of images whose own is not known"),
  OBJECT("static", image, fixed, static_image_params, number, "of mode static"),
  OBJECT("dynamic", image, dynamic, dynamic_params, number, "of mode dynamic"),
  {0}};

static const llmd_param frame_tokens_params[] = {
  {.name = "mode", .type = LLMD_PARAM_ENUM, AT(frame_tokens, mode), .preset = "dynamic", .values = by_pixels,
   .doc = "by pixels, or the same for every frame"},
  OBJECT("static", frame_tokens, fixed, static_frame_params, number, "of mode static"),
  OBJECT("dynamic", frame_tokens, dynamic, dynamic_params, number, "of mode dynamic"),
  {0}};

static const llmd_param sampled_params[] = {
  {.name = "sampleFPS", .type = LLMD_PARAM_FLOAT, AT(sampled, fps), .doc = "frames taken per second"},
  {.name = "temporalPatchSize", .type = LLMD_PARAM_INT, AT(sampled, patch), .doc = "frames merged into one"},
  {0}};
static const llmd_param strided_params[] = {
  {.name = "defaultSourceFPS", .type = LLMD_PARAM_FLOAT, AT(strided, fps), .doc = "frames per second of the video"},
  {.name = "frameStride", .type = LLMD_PARAM_INT, AT(strided, stride), .doc = "every n-th frame is taken"},
  {0}};

static const llmd_param frames_params[] = {
  {.name = "mode", .type = LLMD_PARAM_ENUM, AT(frames, mode), .preset = "sampled", .values = by_frames,
   .doc = "so many per second, or every n-th"},
  {.name = "minFrames", .type = LLMD_PARAM_INT, AT(frames, least), .doc = "at least; 0 = no floor"},
  {.name = "maxFrames", .type = LLMD_PARAM_INT, AT(frames, most), .doc = "at most; 0 = no cap"},
  OBJECT("sampled", frames, sampled, sampled_params, sampled, "of mode sampled"),
  OBJECT("strided", frames, strided, strided_params, strided, "of mode strided"),
  {0}};

static const llmd_param video_params[] = {
  OBJECT("defaultResolution", video, size, resolution_params, resolution, "of a frame"),
  {.name = "defaultDuration", .type = LLMD_PARAM_FLOAT, AT(video, seconds), .doc = "seconds"},
  OBJECT("tokensPerFrame", video, tokens, frame_tokens_params, frame_tokens, "tokens of one frame"),
  OBJECT("frames", video, frames, frames_params, frames, "how many frames are taken"),
  {.name = "maxVideoTokens", .type = LLMD_PARAM_INT, AT(video, most), .doc = "cap per video; 0 = none"},
  {0}};

static const llmd_param estimate_params[] = {
  OBJECT("image", estimate, image, image_params, image, "tokens of an image"),
  OBJECT("video", estimate, video, video_params, video, "tokens of a video"),
  {0}};

static const llmd_param vllm_params[] = {
  {.name = "url", .type = LLMD_PARAM_STRING, AT(vllm, url), .preset = "http://localhost:8000",
   .doc = "server that renders prompts into tokens"},
  {.name = "timeout", .type = LLMD_PARAM_DURATION, AT(vllm, timeout), .preset = "5s", .doc = "per text request"},
  {.name = "mmTimeout", .type = LLMD_PARAM_DURATION, AT(vllm, mm_timeout), .preset = "30s",
   .doc = "per request with images or video"},
  {0}};

static const llmd_param uds_params[] = {
  {.name = "socketFile", .type = LLMD_PARAM_STRING, AT(uds, socket), .doc = "socket of the tokenizer service"},
  {.name = "useTCP", .type = LLMD_PARAM_BOOL, AT(uds, tcp), .doc = "socketFile is host:port"},
  {.name = "modelTokenizerMap", .type = LLMD_PARAM_MAP, AT(uds, models), .doc = "tokenizer files by model"},
  {0}};

static const llmd_param params[] = {
  {.name = "modelName", .type = LLMD_PARAM_STRING, AT(token, model), .doc = "model whose tokenizer is used"},
  {.name = "vllm", .type = LLMD_PARAM_OBJECT, AT(token, vllm), .given = offsetof(token, has_vllm), .sub = vllm_params,
   .sub_size = sizeof(vllm), .doc = "tokens from a vLLM server's render calls (the host makes them)"},
  {.name = "udsTokenizerConfig", .type = LLMD_PARAM_OBJECT, .flags = LLMD_PARAM_OLD, AT(token, uds), .sub = uds_params,
   .sub_size = sizeof(uds), .doc = "tokens from a service on a Unix socket"},
  {.name = "estimate", .type = LLMD_PARAM_OBJECT, AT(token, estimate), .given = offsetof(token, has_estimate),
   .sub = estimate_params, .sub_size = sizeof(estimate), .doc = "no tokenizer: four bytes are one token"},
  {0}};

static const llmd_write writes[] = {{"TokenizedPrompt.tokens", "tokens", LLMD_WRITE_DEFAULT}, {0}};
static const char *const aliases[] = {"tokenizer", NULL};

const llmd_plugin llmd__token_producer = {
  .size = sizeof(llmd_plugin), .abi = LLMD_PLUGIN_ABI,
  .type = "token-producer", .summary = "length of the prompt in tokens", .aliases = aliases,
  .kind = LLMD_PRODUCER, .stability = LLMD_BETA,
  .self_size = sizeof(token), .params = params, .writes = writes, .validate = validate, .produce = produce, .needs = needs};

LLMD_MODULE(&llmd__token_producer);
